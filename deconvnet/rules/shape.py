"""Calls that move values about without changing them: reshaping and padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..tape import Asked, Kept, Unmirrorable
from ..units import Window
from .rule import Adjoint, Rule, Same, check_only_first, whole


class Reshape(Rule):
    """flatten, view, reshape: mirrored by the opposite reshape; the batch axis must stay what it is."""

    def run(self, asked: Asked, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Kept]:
        """Keep the input's size. The call runs on shapes first, without data, to see what becomes of the batch axis."""
        check_only_first(asked)
        shape = asked.func(torch.empty(input.shape, device="meta"), *args, **kwargs).shape
        if not shape or shape[0] != input.shape[0] or input.shape[0] != asked.batch:
            raise Unmirrorable("it mixes the images of the batch")
        return asked(), Kept(size=input.shape)

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, *output) -> (K, *input)."""
        return signal.reshape(signal.shape[0], *kept.size[1:])


class Dropout(Same):
    """Dropout in eval mode passes everything on."""

    def run(
        self, asked: Asked, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> tuple[Any, Kept]:
        """Refuse dropout that stays active in eval mode: its noise is not the net's."""
        if training and p > 0:
            raise Unmirrorable("it drops values at random even in eval mode")
        return super().run(asked, input)


class Pad(Adjoint):
    """F.pad in every mode: the true adjoint (zeros are cut off, reflected and repeated pixels are added up)."""

    def run(
        self, asked: Asked, input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
    ) -> tuple[Any, Kept]:
        """Keep the margins."""
        check_only_first(asked)
        kept = Kept(size=input.shape, func=torch.nn.functional.pad, args=(pad, mode), kwargs={}, pad=list(pad), mode=mode)
        if len(pad) > 4 and any(pad[4:]):
            raise Unmirrorable("it pads channels or the batch")
        return asked(), kept

    def window(self, kept: Kept, window: Window) -> Window:
        """The same place, moved; where it reaches into a margin, also the pixels that fill it."""
        if len(kept.size) != 4:
            return whole(kept.size)
        left, _, top, _ = (*kept.pad, 0, 0, 0)[:4]
        rows = _reach(window.top - top, window.height, kept.size[2], kept.mode)
        cols = _reach(window.left - left, window.width, kept.size[3], kept.mode)
        return Window(rows[0], cols[0], rows[1], cols[1])


def _reach(first: int, length: int, size: int, mode: str) -> tuple[int, int]:
    """Return (first, length) of the pixels of an axis that first .. first + length - 1 are filled from."""
    last = first + length - 1
    if mode == "constant" or (first >= 0 and last < size):
        return first, length
    if mode == "circular":
        return min(first, 0), max(last, size - 1) - min(first, 0) + 1
    mirror = 1 if mode == "reflect" else 0  # "replicate" needs the border pixel alone
    low = min(first, size - 1 - (last - size + 1) * mirror) if last >= size else first
    high = max(last, -first * mirror) if first < 0 else last
    return low, high - low + 1
