"""Which units? The strongest of the strongest channels, those at a position, or those that the user names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import DeconvnetWarning, OptionError, UnitError
from .units import Unit, Window

#: A unit, or its (channel, row, col).
UnitLike: TypeAlias = "Unit | tuple[int, int, int]"

#: Where in a map: its strongest position, the whole map, or (row, col).
Position: TypeAlias = "Literal['max', 'map'] | tuple[int, int]"


def choose_units(
    maps: Tensor,
    layer: str,
    *,
    channels: Sequence[int] | None = None,
    top: int = 9,
    at: Position = "max",
    image: int = 0,
    inside: Window | None = None,
) -> list[Unit]:
    """Choose a unit in each channel asked for, or in the `top` strongest channels.

    Args:
        maps: (C, H', W') of one image.
        layer: the layer that they are of.
        channels: their numbers; None: the `top` strongest, ranked by their value at the unit - for "map" by their maximum -
            and among equals by number.
        top: how many, 1 or more.
        at: "max" (the strongest position, the first in row-major order among equals), "map", or (row, col).
            NaN and infinite activations are left out, which a `DeconvnetWarning` says.
        image: the number of the image, which the units get.
        inside: the part of the maps whose units count, in rows and columns; None: all of it. For `at="max"` alone.

    Raises:
        OptionError: `at` or `top` is none of these, or no unit lies in the part.
        UnitError: the layer has no such channel or position, or its activation there is not finite.
    """
    values = maps.detach().float().cpu().numpy()
    if inside is not None:
        values = _part(values, layer, at, inside)
    count, height, width = values.shape
    values = _without_non_finite(values, layer)
    if isinstance(at, str) and at not in ("max", "map"):
        raise OptionError(f"at cannot be {at!r}: it is 'max', 'map', or a position (row, col).")
    if isinstance(at, tuple):
        check_unit(Unit(layer, 0, *at), (count, height, width))
        positions = np.full(count, at[0] * width + at[1])
    else:
        positions = values.reshape(count, -1).argmax(1)
    strength = values.reshape(count, -1)[np.arange(count), positions]
    if channels is None:
        if top < 1:
            raise OptionError(f"top cannot be {top}: it is the number of channels to show, 1 or more.")
        strongest = np.argsort(-strength, kind="stable")[:top]
        channels = strongest[np.isfinite(strength[strongest])].tolist()
    for channel in channels:
        check_unit(Unit(layer, channel), (count, height, width))
        _check_finite(Unit(layer, channel), float(values[channel].min() if at == "map" else strength[channel]))
    units = []
    for channel in channels:
        row, col = (None, None) if at == "map" else divmod(int(positions[channel]), width)
        if inside is not None and row is not None and col is not None:
            row, col = row + inside.top, col + inside.left
        units.append(Unit(layer, channel, row, col, activation=float(strength[channel]), image=image))
    return units


def _part(values: npt.NDArray[np.float32], layer: str, at: Position, inside: Window) -> npt.NDArray[np.float32]:
    """Return the part of maps (C, H', W') whose units count."""
    if at != "max":
        raise OptionError(f"inside is for the strongest position of each map, and at is {at!r}. Leave one of them out.")
    if not inside.height:
        raise OptionError(
            f"no unit of layer {layer!r} has a window inside the picture. Name an earlier layer, or leave `inside` out."
        )
    return values[:, inside.top : inside.bottom, inside.left : inside.right]


def complete_units(maps: Tensor, layer: str, units: Sequence[UnitLike], image: int) -> list[Unit]:
    """Complete units that the user named with their activations.

    Args:
        maps: (N, C, H', W') of all images.
        layer: the layer that they are of.
        units: `Unit`, or (channel, row, col).
        image: the number of the image of those that do not say it.

    Raises:
        UnitError: a unit is of another layer, or the layer has no such unit.
    """
    named = [unit if isinstance(unit, Unit) else _unit(layer, unit, image) for unit in units]
    for unit in named:
        if unit.layer != layer:
            raise UnitError(f"unit {unit} is not of layer {layer!r}. Project each layer by itself.")
        check_unit(unit, maps.shape[1:], images=len(maps))
    values = [
        float(maps[unit.image, unit.channel].max()) if unit.row is None else value
        for unit, value in zip(named, values_at(maps, named).tolist(), strict=True)
    ]
    for unit, value in zip(named, values, strict=True):
        _check_finite(unit, value)
    return [replace(unit, activation=value) for unit, value in zip(named, values, strict=True)]


def _without_non_finite(values: npt.NDArray[np.float32], layer: str) -> npt.NDArray[np.float32]:
    """Return activations with -inf in place of NaN and infinity, and say how many there are."""
    is_finite = np.isfinite(values)
    if is_finite.all():
        return values
    count = values.size - int(is_finite.sum())
    warnings.warn(
        f"{count} of {values.size} activations of layer {layer!r} are NaN or infinite: they are left out.",
        DeconvnetWarning,
        stacklevel=3,
    )
    return np.where(is_finite, values, -np.inf)


def _check_finite(unit: Unit, value: float) -> None:
    if not math.isfinite(value):
        raise UnitError(f"the activation of {unit} is NaN or infinite: nothing can be projected. Look for what overflows.")


def _unit(layer: str, position: tuple[int, int, int], image: int) -> Unit:
    channel, row, col = position
    return Unit(layer, channel, row, col, image=image)


def values_at(maps: Tensor, units: Sequence[Unit]) -> Tensor:
    """Return the activations (K,) at units of maps (N, C, H', W'), read at once; of a whole map, that of its first position."""
    positions = [(unit.image, unit.channel, unit.row or 0, unit.col or 0) for unit in units]
    index = torch.tensor(positions, dtype=torch.int64).view(-1, 4).T.to(maps.device, non_blocking=True)
    return maps[index.unbind(0)]


def check_unit(unit: Unit, size: Sequence[int], images: int = 1) -> None:
    """Raise `UnitError` for a unit that a layer of size (C, H', W') does not have."""
    count, height, width = size
    if not 0 <= unit.channel < count:
        raise UnitError(f"layer {unit.layer!r} has no channel {unit.channel}: it has {count}, numbered from 0.")
    if unit.row is not None and not (0 <= unit.row < height and unit.col is not None and 0 <= unit.col < width):
        raise UnitError(f"layer {unit.layer!r} has no position {unit.row},{unit.col}: its maps are {height}x{width}, from 0,0.")
    if images > 1 and not 0 <= unit.image < images:
        raise UnitError(f"the recording has no image {unit.image}: it has {images}, numbered from 0.")
