"""The units that a study of many pictures measures: those that fire."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..errors import OptionError
from ..select import choose_units
from ..units import Unit


def firing_units(maps: Tensor, layer: str, channels: Sequence[int] | None, top: int) -> list[Unit]:
    """Return each channel's strongest unit in each picture, if it fires; maps: (N, C', H', W')."""
    units = [
        unit
        for image in range(len(maps))
        for unit in choose_units(maps[image], layer, channels=channels, top=top, image=image)
        if (unit.activation or 0) > 0
    ]
    if not units:
        raise OptionError(f"none of these channels of {layer!r} fires on these pictures: nothing could drop. Take others.")
    return units
