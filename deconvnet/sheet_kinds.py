"""What a sheet shows of signals and volumes: curves over the samples, and the slices where projections are strongest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .choices import Crop
from .crops import energy_boxes, recut
from .images import ShownImage, to_rgb
from .render import Tile
from .render.curve import draw_curves, strips_shown
from .render.text import own_text, size_text
from .render.tone import Pixels
from .units import Unit, Window

SIGNAL_WIDTH = 448  # pixels of a drawn signal, at least
LARGEST_WIDTH = 1344  # and at most
STRIP_HEIGHT = {True: 150, False: 36}  # of one channel alone; of one of several
TILE_WIDTH = 224

#: What a figure says of its tiles.
SIGNAL_WORDS = "blue: the projection, grey: the input, each on a scale of its own about zero"
PART_WORDS = "each tile is the {part} with most energy"


class KindSource(Protocol):
    """What is drawn: the public side of `deconvnet.Projection`, where each member is described."""

    @property
    def units(self) -> Sequence[Unit]:
        """The K units."""

    @property
    def windows(self) -> Sequence[Window]:
        """The K windows."""

    @property
    def boxes(self) -> Sequence[Window]:
        """The K boxes, all of one size, that hold most of the energy."""

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The images' own shape: (C, H, W), (C, L) or (C, D, H, W)."""

    @property
    def own(self) -> Sequence[float | None] | None:
        """How much of each projection is of this picture."""

    def crops(self) -> list[Any]:
        """Return the K projections on their windows, (C, h, w) each."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What a sheet shows of one input.

    Attributes:
        picture: (h, w, 3): the input.
        note: its size in words.
        tiles: a tile for each unit.
    """

    picture: Pixels
    note: str
    tiles: list[Tile]


def is_signal(projection: KindSource) -> bool:
    """Say whether the projections are of signals, (C, L)."""
    return len(projection.image_shape) == 2


def is_volume(projection: KindSource) -> bool:
    """Say whether the projections are of volumes or videos, (C, D, H, W)."""
    return len(projection.image_shape) == 4


# ---- signals


def draw_signal(projection: KindSource, shown: ShownImage, crop: Crop) -> Kind:
    """Draw the input as curves, and each projection as curves over the samples that its tile holds, before the input's."""
    values = _values(shown)
    count, length = values.shape
    width = min(max(SIGNAL_WIDTH, length), LARGEST_WIDTH)
    channels = strips_shown(values)
    height = STRIP_HEIGHT[len(channels) == 1] * len(channels)
    picture = draw_curves(values, width, height, channels=channels)
    names = "" if len(channels) == count else f", {len(channels)} of {count} channels"
    note = f"{length} samples, as the net sees them{names}"
    drawn = height, width / length
    parts = projection.crops()
    tiles = [_signal_tile(projection, number, np.asarray(part), values, crop, drawn) for number, part in enumerate(parts)]
    return Kind(picture, note, tiles)


def _signal_tile(
    projection: KindSource,
    number: int,
    part: npt.NDArray[np.floating],
    values: npt.NDArray[np.floating],
    crop: Crop,
    drawn: tuple[int, float],
) -> Tile:
    """Draw one projection: `part` of it lies in its window; `drawn`: the picture's height, and its pixels for a sample."""
    unit, window = projection.units[number], projection.windows[number]
    length, (height, scale) = values.shape[1], drawn
    box = {"energy": projection.boxes[number], "window": window, "whole": Window(0, 0, 1, length)}[crop].clip(1, length)
    shown = recut(part, window, box)[:, 0]
    channels = strips_shown(shown)
    curves = draw_curves(
        shown,
        TILE_WIDTH,
        STRIP_HEIGHT[len(channels) == 1] * len(channels),
        behind=values[:, box.left : box.right],
        channels=channels,
    )
    inside = window.clip(1, length)
    outline = Window(0, round(inside.left * scale), height, max(round(inside.width * scale), 1))
    measured = projection.own[number] if projection.own else None
    note = "; ".join(filter(None, [f"samples {box.left} to {box.right - 1}", own_text(measured)]))
    return Tile(
        pixels=shown[:, None],
        window=None if unit.col is None else outline,
        label=str(unit.channel) if unit.col is None else f"{unit.channel}@{unit.col}",
        activation=unit.activation,
        note=note,
        drawn=curves,
    )


def _values(shown: ShownImage) -> npt.NDArray[np.floating]:
    """Return the input's own values, (C, L); those of its pixels where it was not kept."""
    if shown.values is not None:
        return shown.values
    return np.moveaxis(shown.pixels.astype(np.float32), -1, 0)[:, 0]


# ---- volumes


def part_word(projection: KindSource) -> str:
    """Return what a volume's parts are called: frames of a video, which has three colours; else slices."""
    return "frame" if projection.image_shape[0] == 3 else "slice"


def draw_volume(projection: KindSource, shown: ShownImage, crop: Crop) -> Kind:
    """Draw the slice of the input where the first unit's projection is strongest, and each projection's strongest slice.

    Of a video they are frames.
    """
    word = part_word(projection)
    count, depth, height, width = projection.image_shape
    frame = Window(0, 0, depth * height, width)
    parts = zip(projection.crops(), projection.windows, strict=True)
    volumes = [recut(np.asarray(part), at, frame).reshape(count, depth, height, width) for part, at in parts]
    chosen = [strongest_slice(volume) for volume in volumes]
    slices = [volume[:, number] for volume, number in zip(volumes, chosen, strict=True)]
    whole = Window(0, 0, height, width)
    boxes = energy_boxes(slices, [whole] * len(slices), (height, width)) if crop == "energy" else [whole] * len(slices)
    owns = projection.own or [None] * len(projection.units)
    tiles = [
        Tile(
            pixels=recut(values, whole, box),
            window=box if number == chosen[0] else None,
            label=str(unit.channel),
            activation=unit.activation,
            note="; ".join(filter(None, [f"{word} {number} of {depth}", own_text(own)])),
        )
        for unit, values, box, number, own in zip(projection.units, slices, boxes, chosen, owns, strict=True)
    ]
    first = chosen[0] if chosen else depth // 2
    picture = to_rgb(shown.pixels.reshape(depth, height, width, -1)[first])
    return Kind(picture, f"{word} {first} of {depth}, {size_text((height, width))} pixels, as the net sees it", tiles)


def strongest_slice(volume: npt.NDArray[np.floating]) -> int:
    """Return the slice of a volume (C, D, H, W) with most energy; the middle one of an empty volume."""
    energy = np.square(np.nan_to_num(volume.astype(np.float64))).sum((0, 2, 3))
    return int(energy.argmax()) if energy.any() else volume.shape[1] // 2
