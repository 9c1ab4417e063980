"""Units, maps and channels become signals, signals become projections.

A unit's signal is its activation at its place, zero in all other channels and positions (Zeiler & Fergus 2014, 2.1). A
whole map's signal is the map. What arrives in pixel space is signed: it is not rectified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .choices import Tone
from .errors import OptionError, UnitError, UnknownLayerError
from .images import ShownImage
from .memory import batch_bytes
from .mirror import project_value
from .progress import is_hidden
from .receptive_field import Layout, map_size, pixel_window, whole
from .recording import LayerRecord, Recording
from .rules.activation import Activation
from .rules.arithmetic import GATES, Cat
from .sheets import draw_projections, save_sheet
from .tape import Call, Tape
from .units import Unit, Window
from .windowed import batch_size, can_start, is_worthwhile, project_patches, to_async, unit_windows

if TYPE_CHECKING:
    from PIL.Image import Image

#: Seconds after which a bar tells how it goes.
PROGRESS_DELAY = 2

UnitLike = Unit | tuple[int, int, int]


@dataclass(frozen=True)
class Projection:
    """Units of one layer, each projected to pixel space by itself. Shows itself as a picture in Jupyter."""

    layer: str
    units: list[Unit]
    windows: list[Window]  # unclipped: what each projection can reach
    frame: tuple[int, int, int]  # (C, H, W) of the images
    settings: dict[str, Any]  # model, weights, rule, ...: all that is needed to make it again
    seen: dict[int, ShownImage]  # by image, of those that have units
    note: str = ""  # of the layer: maps, receptive field
    _parts: list[Tensor] = field(repr=False, default_factory=list)  # (C, h, w) inside window and frame, where they were made

    @property
    def activations(self) -> Tensor:
        """(K,): the units' activations; of a whole map, its maximum."""
        return torch.tensor([unit.activation for unit in self.units])

    @property
    def pixels(self) -> Tensor:
        """(K, C, H, W), signed, on the CPU: the projections in the whole frame, built anew at each call."""
        frame = self._parts[0].new_zeros((len(self.units), *self.frame)) if self._parts else torch.zeros((0, *self.frame))
        for number, part in enumerate(self._parts):
            inside = self.windows[number].clip(*self.frame[1:])
            frame[number, :, inside.top : inside.bottom, inside.left : inside.right] = part
        return frame.cpu()

    def crops(self) -> list[Tensor]:
        """Return each projection within its window, (C, h, w), on the CPU, zero where the window leaves the frame."""
        return [self._crop(part, window) for part, window in zip(self._parts, self.windows, strict=True)]

    def _crop(self, part: Tensor, window: Window) -> Tensor:
        inside = window.clip(*self.frame[1:])
        crop = torch.zeros((self.frame[0], window.height, window.width), dtype=part.dtype)
        top, left = inside.top - window.top, inside.left - window.left
        crop[:, top : top + inside.height, left : left + inside.width] = part
        return crop

    def figure(self, *, tone: Tone = "symmetric", crop: bool | None = None) -> Image:
        """Draw the sheet: the input with the windows on it, and a tile for each unit.

        Args:
            tone: how signed values become pixels.
            crop: True draws each unit's window, False the whole frame, None the window where it is smaller than the frame.

        Returns:
            The sheet as an RGB picture of Pillow's.

        Raises:
            OptionError: the units are of several images.
        """
        return draw_projections([self], tone=tone, crop=crop)

    def save(self, path: str | PathLike[str], *, tone: Tone = "symmetric", crop: bool | None = None) -> list[Path]:
        """Save the sheet as .png, .jpg or .pdf, with the settings inside, or the arrays as .npz.

        `tone` and `crop` are those of `figure`. Returns the path written. See `deconvnet.save_sheet` for several layers.
        """
        return save_sheet([self], path, tone=tone, crop=crop)

    def to_json(self) -> list[dict[str, Any]]:
        """Return a dictionary for each unit: path, layer, channel, row, col, activation, window, and the settings."""
        rows = []
        for unit, window in zip(self.units, self.windows, strict=True):
            place = {"path": self.seen[unit.image].source, "layer": unit.layer, "channel": unit.channel}
            place |= {"row": unit.row, "col": unit.col, "activation": unit.activation, "window": window.to_list()}
            rows.append({**place, **{key: value for key, value in self.settings.items() if key not in ("channels", "units")}})
        return rows

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return what .npz files hold: pixels, activations, channels, rows, cols (-1: whole map), windows, images."""
        places = [
            (unit.channel, -1 if unit.row is None else unit.row, -1 if unit.col is None else unit.col) for unit in self.units
        ]
        channels, rows, cols = np.array(places, dtype=np.int64).reshape(-1, 3).T
        windows = np.array([window.to_list() for window in self.windows], dtype=np.int64).reshape(-1, 4)
        images = np.array([unit.image for unit in self.units], dtype=np.int64)
        pixels, activations = self.pixels.cpu().numpy(), self.activations.numpy()
        places_of = {"channels": channels, "rows": rows, "cols": cols, "images": images}
        return {"pixels": pixels, "activations": activations, "windows": windows, **places_of}

    def _repr_png_(self) -> bytes:
        from io import BytesIO

        buffer = BytesIO()
        self.figure().save(buffer, "PNG")
        return buffer.getvalue()

    def __len__(self) -> int:
        return len(self.units)


def choose_units(
    maps: Tensor,
    layer: str,
    *,
    channels: Sequence[int] | None = None,
    top: int = 9,
    unit: str | tuple[int, int] = "max",
    image: int = 0,
) -> list[Unit]:
    """Choose a unit in each channel asked for, or in the `top` strongest channels; maps: (C, H', W') of one image.

    `unit` is "max" (the strongest position, the first in row-major order among equals), "map", or (row, col). Channels
    are ranked by their value at that unit - for "map" by their maximum - ties by number.
    """
    values = maps.detach().float().cpu().numpy()
    count, height, width = values.shape
    if isinstance(unit, str) and unit not in ("max", "map"):
        raise OptionError(f"unit cannot be {unit!r}: it is 'max', 'map', or a position (row, col).")
    if isinstance(unit, tuple):
        check_unit(Unit(layer, 0, *unit), (count, height, width))
        places = np.full(count, unit[0] * width + unit[1])
    else:
        places = values.reshape(count, -1).argmax(1)
    strength = values.reshape(count, -1)[np.arange(count), places]
    if channels is None:
        if top < 1:
            raise OptionError(f"top cannot be {top}: it is the number of channels to show, 1 or more.")
        channels = np.argsort(-strength, kind="stable")[:top].tolist()
    for channel in channels:
        check_unit(Unit(layer, channel), (count, height, width))
    chosen = []
    for channel in channels:
        row, col = (None, None) if unit == "map" else divmod(int(places[channel]), width)
        chosen.append(Unit(layer, channel, row, col, activation=float(strength[channel]), image=image))
    return chosen


def named_units(maps: Tensor, layer: str, units: Sequence[UnitLike], image: int) -> list[Unit]:
    """Complete units given by the user - Unit or (channel, row, col) - with their activations; maps: (N, C, H', W')."""
    named = [given if isinstance(given, Unit) else _unit(layer, given, image) for given in units]
    for unit in named:
        if unit.layer != layer:
            raise UnitError(f"unit {unit} is not of layer {layer!r}. Project each layer by itself.")
        check_unit(unit, maps.shape[1:], images=len(maps))
    values = [
        float(maps[unit.image, unit.channel].max()) if unit.row is None else value
        for unit, value in zip(named, values_at(maps, named).tolist(), strict=True)
    ]
    return [replace(unit, activation=value) for unit, value in zip(named, values, strict=True)]


def _unit(layer: str, place: tuple[int, int, int], image: int) -> Unit:
    channel, row, col = place
    return Unit(layer, channel, row, col, image=image)


def values_at(maps: Tensor, units: Sequence[Unit]) -> Tensor:
    """Return the activations (K,) at units of maps (N, C, H', W'), read at once; of a whole map, that of its first place."""
    places = [(unit.image, unit.channel, unit.row or 0, unit.col or 0) for unit in units]
    return maps[to_async(torch.tensor(places, dtype=torch.int64).view(-1, 4).T, maps.device).unbind(0)]


def check_unit(unit: Unit, size: Sequence[int], images: int = 1) -> None:
    """Refuse a unit that a layer of size (C, H', W') does not have."""
    count, height, width = size
    if not 0 <= unit.channel < count:
        raise UnitError(f"layer {unit.layer!r} has no channel {unit.channel}: it has {count}, numbered from 0.")
    if unit.row is not None and not (0 <= unit.row < height and unit.col is not None and 0 <= unit.col < width):
        raise UnitError(f"layer {unit.layer!r} has no position {unit.row},{unit.col}: its maps are {height}x{width}, from 0,0.")
    if images > 1 and not 0 <= unit.image < images:
        raise UnitError(f"the recording has no image {unit.image}: it has {images}, numbered from 0.")


def as_maps(activations: Tensor, layout: Layout, layer: str) -> Tensor:
    """Return activations as (N, C, H', W'), whichever their axes are; an (N, F) layer counts as F channels of 1x1."""
    if layout[0] is None or activations.dim() not in (2, 4):
        size = "x".join(map(str, activations.shape[1:]))
        raise UnitError(f"layer {layer!r} has no maps: its output is {size}, not channels x rows x columns.")
    return activations[:, :, None, None] if activations.dim() == 2 else activations.permute(0, *layout)  # type: ignore[arg-type]


def from_maps(maps: Tensor, layout: Layout) -> Tensor:
    """Return (K, C, H', W') with the axes of the layer: the opposite of `as_maps`."""
    if layout[1] is None:
        return maps.flatten(1)
    return maps.permute(0, *(1 + layout.index(axis) for axis in (1, 2, 3)))


def start_signal(maps: Tensor, units: Sequence[Unit], start: str) -> Tensor:
    """Return the signal (K, C, H', W') that starts each projection: the unit's activation, or 1, and zero elsewhere."""
    signal = torch.zeros((len(units), *maps.shape[1:]), dtype=mirror_type(maps), device=maps.device)
    single = [(number, unit.channel, unit.row, unit.col) for number, unit in enumerate(units) if unit.row is not None]
    values = values_at(maps, [unit for unit in units if unit.row is not None]).to(signal.dtype)
    places = to_async(torch.tensor(single, dtype=torch.int64).view(-1, 4).T, maps.device)
    signal[places.unbind(0)] = values if start == "activation" else torch.ones_like(values)
    for number, unit in enumerate(units):
        if unit.row is None:
            own = maps[unit.image, unit.channel]
            signal[number, unit.channel] = own if start == "activation" else (own > 0)
    return signal


def project_units(
    recording: Recording,
    layer: str,
    units: Sequence[Unit],
    table: Mapping[Callable[..., Any], Any],
    start: str = "activation",
    *,
    windowed: bool = True,
    memory: int | None = None,
    progress: bool = False,
) -> tuple[list[Window], list[Tensor]]:
    """Project each unit by itself; return their windows and what arrived within window and frame, (C, h, w) each.

    `windowed` computes single units inside their windows only, which is the same and faster; False takes the full frame.
    `memory`: bytes that a batch may take, by default a quarter of what is free. `progress`: a bar, if it takes long.
    """
    tape, value = recording.tape_for(layer, table), recording.value(layer)
    maps = as_maps(recording.kept_activations(layer), tape.layouts[value], layer)
    windows = _windows(tape, value, units)
    inner = [window.clip(*recording.images.shape[2:]) for window in windows]
    single = windowed and can_start(tape, value) and all(unit.row is not None for unit in units)
    single = single and is_worthwhile(tape, value, len(units))
    most = batch_bytes(tape.device, memory)
    size = _even(len(units), batch_size(tape, value, most) if single else _full_batch_size(tape, value, most))
    parts: list[Tensor] = []
    bar = tqdm(total=len(units), desc=layer, unit="unit", delay=PROGRESS_DELAY, leave=False, disable=is_hidden(progress))
    for first in range(0, len(units), size):
        some, inside = units[first : first + size], inner[first : first + size]
        rows = _shared(torch.tensor([unit.image for unit in some]))
        if single:
            places = [(unit.channel, unit.row or 0, unit.col or 0) for unit in some]
            values = values_at(maps, some).to(mirror_type(maps))
            starts = values if start == "activation" else torch.ones_like(values)
            patch = project_patches(tape, value, places, starts, table, rows)
            pixels, tops, lefts = patch.signal, patch.tops.tolist(), patch.lefts.tolist()
        else:
            signal = from_maps(start_signal(maps, some, start), tape.layouts[value])
            pixels, tops, lefts = project_value(tape, value, signal, table, rows), [0] * len(some), [0] * len(some)
        if len(units) > size:  # one batch may stay where it is; all together would not be bounded by a GPU's memory
            pixels = pixels.cpu()
        parts += [_part(*each) for each in zip(pixels, inside, tops, lefts, strict=True)]
        bar.update(len(some))
    bar.close()
    return windows, parts


def _part(pixels: Tensor, inside: Window, top: int, left: int) -> Tensor:
    """Cut a window out of pixels (C, h, w) that begin at top, left, zero beyond them: a view where it lies within them."""
    there, wanted = Window(0, 0, *pixels.shape[1:]), Window(inside.top - top, inside.left - left, inside.height, inside.width)
    shared = wanted.clip(there.height, there.width)
    part = pixels[:, shared.top : shared.bottom, shared.left : shared.right]
    if shared == wanted:
        return part
    result = pixels.new_zeros((pixels.shape[0], inside.height, inside.width))
    down, right = shared.top - wanted.top, shared.left - wanted.left
    result[:, down : down + shared.height, right : right + shared.width] = part
    return result


def unit_window(tape: Tape, value: int, unit: Unit) -> Window:
    """Return the pixels that a unit's projection can reach; for a whole map, all that its units reach."""
    if unit.row is None or unit.col is None or tape.layouts[value][1] is None:
        return pixel_window(tape, value, whole(tape.shapes[value], tape.layouts[value]))
    return pixel_window(tape, value, Window(unit.row, unit.col, 1, 1))


def _windows(tape: Tape, value: int, units: Sequence[Unit]) -> list[Window]:
    places = [(unit.row, unit.col) for unit in units]
    if tape.layouts[value][1] is None or any(None in place for place in places):
        known = {unit: unit_window(tape, value, unit) for unit in set(units)}
        return [known[unit] for unit in units]
    return unit_windows(tape, value, places)  # type: ignore[arg-type]


def _full_batch_size(tape: Tape, value: int, most: int) -> int:
    """Return how many signals in the full frame make a batch of a bounded size."""
    largest = max(shape[1:].numel() for shape in tape.shapes[: value + 1])
    return max(1, most // (4 * largest))


def _even(count: int, most: int) -> int:
    """Return a size for batches of nearly one size, none of them larger than `most`: filters are laid out for one."""
    batches = max(1, -(-count // most))
    return max(1, -(-count // batches))


def _shared(rows: Tensor) -> int | Tensor:
    """Return one number where all signals belong to one image: they then share its switches."""
    return int(rows[0]) if bool((rows == rows[0]).all()) else rows


def mirror_type(maps: Tensor) -> torch.dtype:
    """Return the type that signals go down in: double for a double net, float32 for all others."""
    return torch.float64 if maps.dtype == torch.float64 else torch.float32


def default_layer(recording: Recording) -> str:
    """Return the last rectified layer with more than one position, before pooling or the classifier.

    The classifier is the last of the model's own children to be called. Where a block returns the rectified value as it
    is, the block names it (`layer4`, not `layer4.2.relu_2`), unless it is the whole trunk of the net.
    """
    places = [place for place in recording.places().values() if place.value is not None]
    tape, rectified = recording.tape, rectified_values(recording.tape)
    with_maps = [place for place in places if tape.layouts[_value(place)][0] is not None]
    spatial = [place for place in with_maps if place.value in rectified and _positions(tape, place) > 1]
    children = [place for place in places if "." not in place.name and not place.is_call]
    head = max(children, key=lambda place: place.last).name if children else ""
    body = [place for place in spatial if not f"{place.name}.".startswith(f"{head}.")]
    candidates = body or spatial or [place for place in with_maps if _positions(tape, place) > 1]
    if not candidates:
        raise UnknownLayerError(f"{recording.name} has no layer with feature maps. Name one: see deconvnet layers.")
    candidates = [place for place in candidates if place.first or place.last == 1] or candidates
    return max(candidates, key=lambda place: (_value(place), -place.first, -len(place.name))).name


def _positions(tape: Tape, place: LayerRecord) -> int:
    height, width = map_size(tape.shapes[_value(place)], tape.layouts[_value(place)])
    return height * width


def _value(place: LayerRecord) -> int:
    return -1 if place.value is None else place.value


def _is_rectifier(call: Call, rule: Any) -> bool:
    """Say whether a call is an activation, x * sigmoid(x) among them, and not a gate."""
    return hasattr(call.kept, "silu") or (isinstance(rule, Activation) and call.name not in GATES | {"log_softmax"})


def rectified_values(tape: Tape) -> set[int]:
    """Return the values on a tape that hold what rectifiers let through: also joined or passed on."""
    rectified: set[int] = set()
    for call in tape.calls:
        rule = tape.table.get(call.func)
        passes = isinstance(rule, Cat) or getattr(rule, "moves", False)
        if _is_rectifier(call, rule) or (passes and call.inputs and rectified.issuperset(call.inputs)):
            rectified.update(call.outputs)
    return rectified
