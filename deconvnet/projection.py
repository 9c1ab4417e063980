"""Units, maps and channels become signals, signals become projections.

A unit's signal is its activation at its position, zero in all other channels and positions (Zeiler & Fergus 2014, 2.1). A
whole map's signal is the map. What arrives in pixel space is signed: it is not rectified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .axes import as_maps, from_maps, has_positions, map_size, whole_frame
from .choices import Crop, Start, Tone
from .crops import energy_boxes, recut
from .images import ShownImage
from .memory import batch_bytes
from .mirror import project_value
from .progress import counting
from .recording import Recording
from .render.sheet import OUTLINES
from .rules import Table
from .select import values_at
from .sheets import draw_projections, save_sheet
from .tape import Tape
from .units import Unit, Window
from .windowed import batch_size, can_start, is_worthwhile, project_patches, to_async, unit_windows

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, eq=False)
class Projection:
    """Units of one layer, each projected to pixel space by itself. Shows itself as a picture in Jupyter.

    Attributes:
        layer: the layer's name.
        units: the K units, with their activations.
        windows: the K windows of pixels that they can reach, unclipped: `top` and `left` may be negative.
        frame: (C, H, W) of the images; a signal has one row, and the slices of a volume are stacked: H is depth x height.
        image_shape: the images' own shape: (C, H, W), (C, L) of signals, (C, D, H, W) of volumes.
        settings: model, weights, rule, ...: all that is needed to make it again.
        shown: by number, the images that have units, as the net saw them.
        note: what a sheet says of the layer.
        own: how much of each projection is of this picture: from 0, the same for any picture, to 1, nothing shared; None for
            an empty one. None as a whole where it was not measured. See `deconvnet.own`.
    """

    layer: str
    units: list[Unit]
    windows: list[Window]
    frame: tuple[int, int, int]
    image_shape: tuple[int, ...]
    settings: dict[str, Any]
    shown: dict[int, ShownImage]
    note: str = ""
    own: Sequence[float | None] | None = None
    _parts: list[Tensor] = field(repr=False, default_factory=list)  # (C, h, w) inside window and frame, where they were made

    @property
    def rule(self) -> str:
        """The rule that they were made by: never "auto", but what that stands for in this layer."""
        return str(self.settings["rule"])

    @property
    def rule_reason(self) -> str:
        """One sentence on the rule, where there is something to say: why it is guided, or what it cannot show; else ""."""
        return str(self.settings["rule_reason"])

    @property
    def activations(self) -> Tensor:
        """(K,): the units' activations; of a whole map, its maximum."""
        return torch.tensor([unit.activation for unit in self.units])

    @property
    def pixels(self) -> Tensor:
        """(K, C, H, W), signed, on the CPU: the projections in the whole frame, built anew at each call.

        Of signals (K, C, L), of volumes (K, C, D, H, W).
        """
        frame = self._parts[0].new_zeros((len(self.units), *self.frame)) if self._parts else torch.zeros((0, *self.frame))
        for number, part in enumerate(self._parts):
            inside = self.windows[number].clip(*self.frame[1:])
            frame[number, :, inside.top : inside.bottom, inside.left : inside.right] = part
        return frame.cpu().view(len(self.units), *self.image_shape)

    def crops(self) -> list[Tensor]:
        """Return each projection within its window, (C, h, w), on the CPU, zero where the window leaves the frame."""
        height, width = self.frame[1:]
        return [
            recut(part, window.clip(height, width), window)
            for part, window in zip(fetch(self._parts), self.windows, strict=True)
        ]

    @cached_property
    def boxes(self) -> list[Window]:
        """The K squares of pixels, all of one size, that hold 95 % of each projection's energy: what tiles show."""
        return energy_boxes([part.numpy() for part in fetch(self._parts)], self.windows, self.frame[1:])

    def of_image(self, image: int) -> Projection:
        """Return the projections of one image's units."""
        numbers = [number for number, unit in enumerate(self.units) if unit.image == image]
        return replace(
            self,
            units=[self.units[number] for number in numbers],
            windows=[self.windows[number] for number in numbers],
            shown={image: self.shown[image]},
            own=None if self.own is None else [self.own[number] for number in numbers],
            _parts=[self._parts[number] for number in numbers],
        )

    def figure(self, *, tone: Tone = "soft", crop: Crop = "energy", outlines: int = OUTLINES) -> Image:
        """Draw the sheet: the input with the windows on it, and a tile for each unit.

        Args:
            tone: how signed values become pixels.
            crop: which part of pixel space tiles show: "energy", the square with 95 % of the projection's energy, of one size
                for all units; "window", all that the unit can reach; "whole", the frame.
            outlines: how many windows are drawn on the picture, 0 to 9: those of the strongest units.

        Returns:
            The sheet as an RGB picture of Pillow's.

        Raises:
            OptionError: the units are of several images.
        """
        return draw_projections([self], tone=tone, crop=crop, outlines=outlines)

    def save(
        self,
        path: str | PathLike[str],
        *,
        tone: Tone = "soft",
        crop: Crop = "energy",
        outlines: int = OUTLINES,
        tile: int | None = None,
        scale: float = 1,
    ) -> list[Path]:
        """Save the sheet as .png, .jpg or .pdf, with the settings inside, or the arrays as .npz.

        The options are those of `deconvnet.save_sheet`, which saves several layers. Returns the path written.
        """
        return save_sheet([self], path, tone=tone, crop=crop, outlines=outlines, tile=tile, scale=scale)

    def to_json(self) -> list[dict[str, Any]]:
        """Return a dictionary for each unit: path, layer, channel, row, col, activation, window, box, own, and the settings."""
        owns = self.own or [None] * len(self.units)
        shared = {key: value for key, value in self.settings.items() if key not in ("channels", "units")}
        return [
            {
                "path": self.shown[unit.image].source,
                "layer": unit.layer,
                "channel": unit.channel,
                "row": unit.row,
                "col": unit.col,
                "activation": unit.activation,
                "window": window.to_list(),
                "box": box.to_list(),
                "own": own,
                **shared,
            }
            for unit, window, box, own in zip(self.units, self.windows, self.boxes, owns, strict=True)
        ]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what .npz files hold: pixels, activations, channels, rows, cols (-1: whole map), windows, boxes, images, own.

        What is not known of *own* is NaN.
        """
        positions = [
            (unit.channel, -1 if unit.row is None else unit.row, -1 if unit.col is None else unit.col) for unit in self.units
        ]
        channels, rows, cols = np.array(positions, dtype=np.int64).reshape(-1, 3).T
        return {
            "pixels": self.pixels.numpy(),
            "activations": self.activations.numpy(),
            "windows": np.array([window.to_list() for window in self.windows], dtype=np.int64).reshape(-1, 4),
            "boxes": np.array([box.to_list() for box in self.boxes], dtype=np.int64).reshape(-1, 4),
            "channels": channels,
            "rows": rows,
            "cols": cols,
            "images": np.array([unit.image for unit in self.units], dtype=np.int64),
            "own": np.array([np.nan if own is None else own for own in self.own or [None] * len(self.units)], dtype=float),
        }

    def _repr_png_(self) -> bytes | None:
        if len(self.shown) > 1:
            return None  # a sheet shows one image: `of_image` chooses it
        buffer = BytesIO()
        self.figure().save(buffer, "PNG")
        return buffer.getvalue()

    def __repr__(self) -> str:
        size, images = "x".join(map(str, self.frame)), len(self.shown)
        return f"Projection({len(self.units)} units of {self.layer!r} in {images} image{'s' * (images != 1)} of {size})"

    def __len__(self) -> int:
        return len(self.units)


def start_signal(maps: Tensor, units: Sequence[Unit], start: Start) -> Tensor:
    """Return the signal (K, C', H', W') that starts each projection: the unit's activation, or 1, and zero elsewhere."""
    signal = torch.zeros((len(units), *maps.shape[1:]), dtype=signal_dtype(maps), device=maps.device)
    single = [(number, unit.channel, unit.row, unit.col) for number, unit in enumerate(units) if unit.row is not None]
    values = values_at(maps, [unit for unit in units if unit.row is not None]).to(signal.dtype)
    index = to_async(torch.tensor(single, dtype=torch.int64).view(-1, 4).T, maps.device)
    signal[index.unbind(0)] = values if start == "activation" else torch.ones_like(values)
    for number, unit in enumerate(units):
        if unit.row is None:
            whole_map = maps[unit.image, unit.channel]
            signal[number, unit.channel] = whole_map if start == "activation" else (whole_map > 0)
    return signal


def project_units(
    recording: Recording,
    layer: str,
    units: Sequence[Unit],
    table: Table,
    start: Start = "activation",
    *,
    windowed: bool = True,
    memory: int | None = None,
    progress: bool = False,
) -> tuple[list[Window], list[Tensor]]:
    """Project each unit by itself.

    Args:
        recording: of the units' images.
        layer: the layer that the units are of.
        units: the K units, with their activations.
        table: the rules to mirror by.
        start: what a signal begins as: the unit's activation, or 1.
        windowed: compute single units inside their windows only, which is the same and faster; False takes the full frame.
        memory: bytes that a batch may take; None: a quarter of what is free.
        progress: show a bar, if it takes long.

    Returns:
        The K windows, and what arrived within window and frame, (C, h, w) each.

    Raises:
        NoRuleError: the way down meets a call that cannot be mirrored.
    """
    tape, value = recording.tape_for(layer, table), recording.value(layer)
    maps = recording.stored_maps(layer)
    windows = _windows(tape, value, units)
    inner = [window.clip(*recording.frame) for window in windows]
    single = windowed and can_start(tape, value) and all(unit.row is not None for unit in units)
    single = single and is_worthwhile(tape, value, len(units))
    largest = batch_bytes(tape.device, memory)
    size = _even(len(units), batch_size(tape, value, largest) if single else _full_batch_size(tape, value, largest))
    parts: list[Tensor] = []
    with counting(len(units), f"projecting {layer}", "unit", wanted=progress) as counter:
        for first in range(0, len(units), size):
            batch, inside = units[first : first + size], inner[first : first + size]
            rows = _shared(torch.tensor([unit.image for unit in batch]))
            if single:
                positions = [(unit.channel, unit.row or 0, unit.col or 0) for unit in batch]
                values = values_at(maps, batch).to(signal_dtype(maps))
                starts = values if start == "activation" else torch.ones_like(values)
                patch = project_patches(tape, value, positions, starts, table, rows)
                pixels, tops, lefts = patch.signal, patch.tops.tolist(), patch.lefts.tolist()
            else:
                signal = from_maps(start_signal(maps, batch, start), tape.axes[value])
                pixels = as_maps(project_value(tape, value, signal, table, rows), tape.axes[0], "")
                tops = lefts = [0] * len(batch)
            if len(units) > size:  # one batch may stay where it is; all together would not be bounded by a GPU's memory
                pixels = pixels.cpu()
            parts += [_part(*each) for each in zip(pixels, inside, tops, lefts, strict=True)]
            counter.update(len(batch))
    return windows, parts


def fetch(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of one type on the CPU; from a device in one transfer, since each one would be waited for."""
    if not parts or parts[0].device.type == "cpu":
        return list(parts)
    values = torch.cat([part.reshape(-1) for part in parts]).cpu()
    flat = torch.split(values, [part.numel() for part in parts])
    return [each.view(part.shape) for each, part in zip(flat, parts, strict=True)]


def _part(pixels: Tensor, inside: Window, top: int, left: int) -> Tensor:
    """Cut a window out of pixels (C, h, w) that begin at top, left, zero beyond them: a view where it lies within them."""
    at = Window(top, left, *pixels.shape[1:])
    if at.union(inside) == at:
        return pixels[:, inside.top - top : inside.bottom - top, inside.left - left : inside.right - left]
    part: Tensor = recut(pixels, at, inside)
    return part


def unit_window(tape: Tape, value: int, unit: Unit) -> Window:
    """Return the pixels that a unit's projection can reach; for a whole map, all that its units reach."""
    if unit.row is None or unit.col is None or not has_positions(tape.axes[value]):
        return tape.pixel_window(value, whole_frame(tape.shapes[value], tape.axes[value]))
    return tape.pixel_window(value, Window(unit.row, unit.col, 1, 1))


def inside_part(tape: Tape, value: int, size: tuple[int, int]) -> Window:
    """Return which units of a value have a window inside the picture: their first row and column, and how many of each.

    A window's edges depend on a unit's row or on its column alone, and only grow with it, so these units are a rectangle.

    Args:
        tape: of the recording.
        value: the number of the value.
        size: (H', W') of its maps.
    """
    frame = map_size(tape.shapes[0], tape.axes[0])
    rows = [unit_window(tape, value, Unit("", 0, row, 0)) for row in range(size[0])]
    cols = [unit_window(tape, value, Unit("", 0, 0, col)) for col in range(size[1])]
    down = [row for row, window in enumerate(rows) if window.top >= 0 and window.bottom <= frame[0]]
    across = [col for col, window in enumerate(cols) if window.left >= 0 and window.right <= frame[1]]
    if not down or not across:
        return Window(0, 0, 0, 0)
    return Window(down[0], across[0], down[-1] - down[0] + 1, across[-1] - across[0] + 1)


def _windows(tape: Tape, value: int, units: Sequence[Unit]) -> list[Window]:
    positions = [(unit.row, unit.col) for unit in units if unit.row is not None and unit.col is not None]
    if not has_positions(tape.axes[value]) or len(positions) < len(units):
        known = {unit: unit_window(tape, value, unit) for unit in set(units)}
        return [known[unit] for unit in units]
    return unit_windows(tape, value, positions)


def _full_batch_size(tape: Tape, value: int, largest_bytes: int) -> int:
    """Return how many signals in the full frame make a batch of a bounded size."""
    largest = max(shape[1:].numel() for shape in tape.shapes[: value + 1])
    return max(1, largest_bytes // (4 * largest))


def _even(count: int, most: int) -> int:
    """Return a size for batches of nearly one size, none of them larger than `most`: filters are laid out for one."""
    batches = max(1, -(-count // most))
    return max(1, -(-count // batches))


def _shared(rows: Tensor) -> int | Tensor:
    """Return one number where all signals belong to one image: they then share its switches."""
    return int(rows[0]) if bool((rows == rows[0]).all()) else rows


def signal_dtype(maps: Tensor) -> torch.dtype:
    """Return the type that signals go down in: double for a double net, float32 for all others."""
    return torch.float64 if maps.dtype == torch.float64 else torch.float32
