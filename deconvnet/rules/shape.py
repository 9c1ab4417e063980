"""Calls that move values about without computing: reshaping, permuting, taking parts, padding, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..receptive_field import NOTHING, Layout, default_layout, resized_window
from ..tape import CallContext, Saved, UnsupportedCall, tensors_in
from ..units import Window
from .arithmetic import sum_to
from .base import Adjoint, Rule, Same, check_batch, check_only_first


class Dropout(Same):
    """Dropout in eval mode passes everything on."""

    def run(
        self, asked: CallContext, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> tuple[Any, Saved]:
        """Refuse dropout that stays active in eval mode: its noise is not the net's."""
        if training and p > 0:
            raise UnsupportedCall("it drops values at random even in eval mode")
        return super().run(asked, input)


class Reshape(Rule):
    """flatten, view, squeeze and their kin: mirrored by the opposite reshape; the batch axis must stay what it is."""

    moves = True

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep the input's size. A tensor given for its size alone (`view_as`) takes no signal."""
        output = asked()
        check_batch(asked, input.shape, output.shape)
        # rows and columns stay where they are if they are the last two axes before and after
        kept = Saved(size=input.shape, others=asked.inputs - 1, places=min(input.dim(), output.dim()) >= 4)
        kept.places = kept.places and input.shape[-2:] == output.shape[-2:]
        return output, kept

    def mirror(self, kept: Saved, signal: Tensor) -> Any:
        """(K, *output) -> (K, *input)."""
        return self.only(kept, signal.reshape(signal.shape[0], *kept.size[1:]))

    def window(self, kept: Saved, window: Window) -> Any:
        """The same place if rows and columns stay; else all."""
        return self.only(kept, window if kept.places else None, NOTHING)

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """torch's convention again; places stay only where that is the input's as well."""
        kept.places = kept.places and layouts[0][1:] == default_layout(kept.size)[1:]
        return default_layout(shape)

    def only(self, kept: Saved, first: Any, rest: Any = None) -> Any:
        """Give something to the first input, and `rest` to those that were there for their size."""
        return (first, *[rest] * kept.others) if kept.others else first


class Expand(Reshape):
    """expand, expand_as: the signal is summed where the value was repeated."""

    def mirror(self, kept: Saved, signal: Tensor) -> Any:
        """(K, *output) -> (K, *input)."""
        return self.only(kept, sum_to(signal, kept.size))

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Refuse new leading axes: they would come before the batch."""
        output, kept = super().run(asked, input, *args, **kwargs)
        if output.dim() != input.dim():
            raise UnsupportedCall("it adds axes before the batch")
        return output, kept


class Permute(Rule):
    """permute, transpose, movedim: mirrored by the opposite permutation."""

    moves = True

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep the permutation, found on sizes that tell the axes apart."""
        check_only_first(asked)
        labels = torch.empty(tuple(range(2, 2 + input.dim())), device="meta")
        order = [size - 2 for size in asked.func(labels, *args, **kwargs).shape]
        if order[0] != 0:
            raise UnsupportedCall("it moves the batch axis")
        return asked(), Saved(size=input.shape, order=order)

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, *output) -> (K, *input)."""
        return signal.permute([kept.order.index(axis) for axis in range(len(kept.order))])

    def window(self, kept: Saved, window: Window) -> Window:
        """The same place: rows and columns keep their meaning on other axes."""
        return window

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """The same axes, where they went."""
        channels, rows, cols = (None if axis is None else kept.order.index(axis) for axis in layouts[0])
        return channels, rows, cols


class Parts(Adjoint):
    """chunk, split, indexing, sums and means: the true adjoint. Places stay where rows and columns are untouched."""

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Keep whether rows and columns are untouched."""
        output, kept = super().run(asked, input, *args, **kwargs)
        first = tensors_in(output)[0]
        kept.places = min(input.dim(), first.dim()) >= 4 and input.shape[-2:] == first.shape[-2:]
        return output, kept

    def window(self, kept: Saved, window: Window) -> Window | None:
        """The same place, or all."""
        return window if kept.places else None

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """Those of the input where the axes are as many."""
        kept.places = kept.places and layouts[0][1:] == (len(kept.size) - 2, len(kept.size) - 1)
        return layouts[0] if len(shape) == len(kept.size) else default_layout(shape)


class IndexSelect(Parts):
    """index_select: places stay where channels are picked."""

    def run(self, asked: CallContext, input: Tensor, dim: int, index: Tensor) -> tuple[Any, Saved]:
        """Refuse to pick images."""
        if dim % input.dim() == 0:
            raise UnsupportedCall("it mixes the images of the batch")
        output, kept = super().run(asked, input, dim, index)
        kept.places = kept.places and dim % input.dim() < input.dim() - 2
        return output, kept


def _all_images(index: Any, count: int) -> tuple[Any, ...]:
    """Return an index that takes the batch axis whole, however many signals there are; refuse one that does not."""
    index = index if isinstance(index, tuple) else (index,)
    first = index[0] if index else slice(None)
    if isinstance(first, slice) and first.indices(count) == (0, count, 1):
        return (slice(None), *index[1:])
    if first is not Ellipsis:
        raise UnsupportedCall("it mixes the images of the batch")
    return index


class GetItem(Parts):
    """x[...]: as other parts; the batch axis must be taken whole."""

    def run(self, asked: CallContext, input: Tensor, index: Any) -> tuple[Any, Saved]:
        """Refuse to index the batch. Rows or columns picked by a list may come in any order."""
        index = _all_images(index, input.shape[0])
        output, kept = super().run(asked, input, index)
        kept.places = kept.places and all(item is None or isinstance(item, (int, slice, type(...))) for item in index)
        return output, kept


class SetItem(Rule):
    """x[...] = y: the signal of what was written over goes to y alone, the rest stays x's."""

    def run(self, asked: CallContext, input: Tensor, index: Any, value: Any) -> tuple[Any, Saved]:
        """Keep where it wrote, and which of the two descend from the image."""
        index = _all_images(index, input.shape[0])
        check_batch(asked, input.shape)
        kept = Saved(index=index, shape=getattr(value, "shape", None), both=(asked.descends(input), asked.descends(value)))
        if kept.both[1] and value.dim() != input[index].dim():
            raise UnsupportedCall("it writes a value of fewer axes")
        return asked(), kept

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, *x) -> (K, *x) for x and (K, *y) for y, of those that descend from the image."""
        parts = []
        if kept.both[0]:
            rest = signal.clone()
            rest[kept.index] = 0
            parts.append(rest)
        if kept.both[1]:
            parts.append(sum_to(signal[kept.index], kept.shape))
        return tuple(parts)


class Pad(Adjoint):
    """F.pad in every mode: the true adjoint (zeros are cut off, reflected and repeated pixels are added up)."""

    def run(
        self, asked: CallContext, input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
    ) -> tuple[Any, Saved]:
        """Keep the margins. What they are filled with is a constant, and takes no signal."""
        check_only_first(asked)
        if len(pad) > 4 and any(pad[2 * (input.dim() - 1) :]):
            raise UnsupportedCall("it pads the batch")
        kept = Saved(size=input.shape, func=torch.nn.functional.pad, args=(pad, mode), kwargs={}, pad=list(pad), mode=mode)
        return asked(), kept

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """The same axes."""
        kept.axes = layouts[0][1:]
        return layouts[0]

    def window(self, kept: Saved, window: Window) -> Window | None:
        """The same place, moved; where it reaches into a margin, also the pixels that fill it."""
        edges = []
        for axis, first, length in zip(kept.axes, (window.top, window.left), (window.height, window.width), strict=True):
            if axis is None:
                return None
            place = 2 * (len(kept.size) - 1 - axis)  # F.pad counts margins from the last axis
            near = kept.pad[place] if place < len(kept.pad) else 0
            edges.append(_reach(first - near, length, kept.size[axis], kept.mode))
        return Window(edges[0][0], edges[1][0], edges[0][1], edges[1][1])


class Interpolate(Adjoint):
    """F.interpolate, (N, C, H, W) -> (N, C, H', W'): the true adjoint of nearest, bilinear, bicubic and area resizing."""

    REACH = {"nearest": 0, "nearest-exact": 0, "bilinear": 1, "bicubic": 2}  # noqa: RUF012

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> tuple[Any, Saved]:
        """Keep both sizes."""
        arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
        output, kept = super().run(asked, input, *arguments)
        kept.result, kept.align = output.shape, bool(align_corners)
        kept.reach = None if antialias or input.dim() != 4 else self.REACH.get(mode)
        return output, kept

    def window(self, kept: Saved, window: Window) -> Window | None:
        """The pixels that the place is drawn from, one more on each side, for rounding."""
        if kept.reach is None:
            return None
        reach = kept.reach + 1
        return resized_window(window, kept.size[2:], kept.result[2:], reach, kept.align)


class PixelShuffle(Adjoint):
    """(N, C r^2, H, W) -> (N, C, H r, W r) and back: the true adjoint."""

    def run(self, asked: CallContext, input: Tensor, factor: int) -> tuple[Any, Saved]:
        """Keep how much larger, or smaller, it gets."""
        output, kept = super().run(asked, input, factor)
        kept.factor, kept.larger = factor, output.shape[-1] > input.shape[-1]
        return output, kept

    def window(self, kept: Saved, window: Window) -> Window:
        """The pixels whose channels the place was taken from, or the block that its channels were."""
        r = kept.factor
        if not kept.larger:
            return Window(window.top * r, window.left * r, window.height * r, window.width * r)
        top, left = window.top // r, window.left // r
        return Window(top, left, -(-window.bottom // r) - top, -(-window.right // r) - left)


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
