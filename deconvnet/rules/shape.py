"""Calls that move values about without computing: reshaping, permuting, taking parts, padding, resizing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..axes import SIGNAL, Axes, FoldedTokens, SplitAxes, TokenAxes, default_axes, reshaped_axes
from ..batch_axis import FIRST, MIXES, BatchAxis
from ..receptive_field import NOTHING, resized_window
from ..units import Window
from .arithmetic import sum_to
from .base import Rule, Same, SavedAdjoint, Signals, VectorJacobian, Windows, check_batch, check_only_first
from .call import CallContext, Saved, UnsupportedCall, plain_name, tensors_in


class Dropout(Same):
    """Dropout in eval mode passes everything on."""

    def run(
        self, call: CallContext, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> tuple[Any, Saved]:
        """Refuse dropout that stays active in eval mode: its noise is not the net's."""
        if training and p > 0:
            raise UnsupportedCall("it drops values at random even in eval mode")
        return super().run(call, input)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedReshape(Saved):
    """Which of the tensors from the image takes the signal, and whether rows and columns stay where they are."""

    takes_signal: tuple[bool, ...]  # a tensor given for its size alone (`view_as`) takes none
    keeps_rows: bool
    above: BatchAxis = FIRST  # where the images are in what it makes
    output_axes: Axes | None = None  # where that is not torch's convention


class Reshape(Rule[SavedReshape]):
    """flatten, view, squeeze and their kin: mirrored by the opposite reshape; the batch axis must stay what it is."""

    moves = True

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedReshape]:
        """Save the input's size."""
        size, axes = input.shape, call.axes(input)
        descends = call.descends(input)
        takes_signal = (True,) * descends + (False,) * (call.input_count - descends)
        output, below = call(), call.batch_axis(input)
        if plain_name(call.func) in ("squeeze", "unsqueeze"):  # of one image alone, sizes could not tell where they are
            above = below.moved(call.func, size, args, kwargs)
        else:
            above = below.reshaped(size, output.shape)
        if above is None or above.axis >= output.dim() or above.count(output.shape) != call.batch:
            raise UnsupportedCall(MIXES)
        # rows and columns stay where they are if they are the last two axes before and after
        keeps_rows = min(len(size), output.dim()) >= 4 and size[-2:] == output.shape[-2:] and axes[1:] == default_axes(size)[1:]
        keeps_rows = keeps_rows and below.axis == above.axis == 0
        output_axes = None if keeps_rows else reshaped_axes(axes, size, output.shape)
        is_grid = any(isinstance(each, TokenAxes) or each == SIGNAL for each in (axes, output_axes))
        is_grid = is_grid and output_axes != (None, None, None)
        is_grid = is_grid and not any(isinstance(each, FoldedTokens) for each in (axes, output_axes))  # which have no rows
        return output, SavedReshape(
            size=size,
            takes_signal=takes_signal,
            keeps_rows=keeps_rows or (is_grid and output_axes is not None and output_axes[0] is not None),
            above=above,
            output_axes=output_axes,
        )

    def axes(self, saved: SavedReshape, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Maps that become tokens, or tokens that become maps, keep their rows and columns."""
        return default_axes(shape) if saved.output_axes is None else saved.output_axes

    def mirror(self, saved: SavedReshape, signal: Tensor) -> Signals:
        """(K, *output) -> (K, *input)."""
        below = signal.reshape(saved.batch.resized(saved.size, saved.above.count(signal.shape)))
        signals: Signals = self.for_inputs(saved, below, None)
        return signals

    def batch(self, saved: SavedReshape, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the reshape put them."""
        return saved.above

    def window(self, saved: SavedReshape, window: Window) -> Windows:
        """The same position if rows and columns stay; else all."""
        windows: Windows = self.for_inputs(saved, window if saved.keeps_rows else None, NOTHING)
        return windows

    @staticmethod
    def for_inputs(saved: SavedReshape, first: Any, rest: Any) -> Any:
        """Give something to the input, and `rest` to the tensors that were there for their size."""
        return first if saved.takes_signal == (True,) else tuple(first if takes else rest for takes in saved.takes_signal)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedPermutation(Saved):
    """Which axis of the input stands where."""

    order: tuple[int, ...]


class Permute(Rule[SavedPermutation]):
    """permute, transpose, movedim: mirrored by the opposite permutation."""

    moves = True

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedPermutation]:
        """Save the permutation, found on sizes that tell the axes apart."""
        check_only_first(call)
        labels = torch.empty(tuple(range(2, 2 + input.dim())), device="meta")
        order = tuple(size - 2 for size in call.func(labels, *args, **kwargs).shape)
        return call(), SavedPermutation(size=input.shape, order=order)

    def mirror(self, saved: SavedPermutation, signal: Tensor) -> Signals:
        """(K, *output) -> (K, *input)."""
        return signal.permute([saved.order.index(axis) for axis in range(len(saved.order))])

    def batch(self, saved: SavedPermutation, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where they went."""
        return dataclasses.replace(batches[0], axis=saved.order.index(batches[0].axis))

    def window(self, saved: SavedPermutation, window: Window) -> Windows:
        """The same position: rows and columns keep their meaning on other axes."""
        return window

    def axes(self, saved: SavedPermutation, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The same axes, where they went."""
        channels, rows, cols = (None if axis is None else saved.order.index(axis) for axis in axes[0])
        first = axes[0]
        if isinstance(first, SplitAxes):
            return first.permuted((channels, rows, cols), saved.order)
        return first.at(channels, rows) if isinstance(first, TokenAxes) and rows is not None else (channels, rows, cols)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedParts(SavedAdjoint):
    """The call, and whether rows and columns are untouched."""

    keeps_rows: bool


class Parts(VectorJacobian[SavedParts]):
    """chunk, split, indexing, sums and means: the true adjoint. Positions stay where rows and columns are untouched."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedParts]:
        """Save whether rows and columns are untouched."""
        return self.make_parts(call, input, *args, **kwargs)

    def make_parts(
        self, call: CallContext, input: Tensor, *args: Any, keeps_rows: bool = True, **kwargs: Any
    ) -> tuple[Any, SavedParts]:
        """Make the call; rows and columns are untouched where `keeps_rows` says so and their sizes agree."""
        axes = call.axes(input)
        output, saved = self.make(call, input, *args, **kwargs)
        first = tensors_in(output)[0]
        keeps_rows = keeps_rows and min(input.dim(), first.dim()) >= 4 and input.shape[-2:] == first.shape[-2:]
        keeps_rows = keeps_rows and axes[1:] == (input.dim() - 2, input.dim() - 1)
        return output, SavedParts(**saved, keeps_rows=keeps_rows)

    def window(self, saved: SavedParts, window: Window) -> Windows:
        """The same position, or all."""
        return window if saved.keeps_rows else None

    def axes(self, saved: SavedParts, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Those of the input where the axes are as many, or where its tokens went."""
        if isinstance(axes[0], TokenAxes):
            return _tokens_of_part(saved, axes[0], shape)
        return axes[0] if len(shape) == len(saved.size) else default_axes(shape)


def _tokens_of_part(saved: SavedParts, axes: TokenAxes, shape: Sequence[int]) -> Axes:
    """Return the axes of a part of tokens: all of them, or those of the grid alone, as `x[:, 1:]` takes them."""
    if len(shape) == len(saved.size) and shape[axes.tokens] == saved.size[axes.tokens]:
        return axes
    if len(shape) == len(saved.size):
        index = saved.args[0] if saved.args and plain_name(saved.func) == "getitem" else None
        items = index if isinstance(index, tuple) else ()
        cut = items[axes.tokens] if len(items) > axes.tokens and all(isinstance(item, slice) for item in items) else None
        takes_grid = isinstance(cut, slice) and cut.start == axes.prefix and cut.step is None
        is_grid = takes_grid and shape[axes.tokens] == axes.height * axes.width
        return axes.at(axes[0], axes.tokens, prefix=0) if is_grid else default_axes(shape)
    tokens, channels = (
        None if axis is None else BatchAxis(axis).moved(saved.func, saved.size, saved.args, saved.kwargs)
        for axis in (axes.tokens, axes[0])
    )
    return default_axes(shape) if tokens is None else axes.at(None if channels is None else channels.axis, tokens.axis)


class IndexSelect(Parts):
    """index_select: positions stay where channels are picked."""

    def run(self, call: CallContext, input: Tensor, dim: int, index: Tensor) -> tuple[Any, SavedParts]:
        """Refuse to pick images."""
        axis = dim % input.dim()
        if axis == call.batch_axis(input).axis:
            raise UnsupportedCall("it mixes the images of the batch")
        return self.make_parts(call, input, dim, index, keeps_rows=axis < input.dim() - 2)


def _all_images(index: Any, count: int) -> tuple[Any, ...]:
    """Return an index that takes the batch axis whole, however many signals there are; refuse one that does not."""
    items: tuple[Any, ...] = index if isinstance(index, tuple) else (index,)
    if items and items[0] is None:
        return (None, *_all_images(items[1:], count))
    first = items[0] if items else slice(None)
    if isinstance(first, slice) and first.indices(count) == (0, count, 1):
        return (slice(None), *items[1:])
    if first is not Ellipsis:
        raise UnsupportedCall("it mixes the images of the batch")
    return items


class GetItem(Parts):
    """x[...]: as other parts; the batch axis must be taken whole."""

    def run(self, call: CallContext, input: Tensor, index: Any) -> tuple[Any, SavedParts]:
        """Refuse to index the batch. Rows or columns picked by a list may come in any order."""
        if call.batch_axis(input).axis == 0:
            index = _all_images(index, input.shape[0])
        items = index if isinstance(index, tuple) else (index,)
        plain = all(item is None or isinstance(item, (int, slice, type(...))) for item in items)
        return self.make_parts(call, input, index, keeps_rows=plain)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedSetItem(Saved):
    """Where it wrote, and which of the two descend from the image."""

    index: tuple[Any, ...]
    written: torch.Size | None
    descend: tuple[bool, bool]


class SetItem(Rule[SavedSetItem]):
    """x[...] = y: the signal of what was written over goes to y alone, the rest stays x's."""

    def run(self, call: CallContext, input: Tensor, index: Any, value: Any) -> tuple[Any, SavedSetItem]:
        """Save where it wrote, and which of the two descend from the image."""
        index = _all_images(index, input.shape[0])
        if index and index[0] is None:
            raise UnsupportedCall("it writes to a part with a new first axis")
        check_batch(call, input.shape)
        descend = call.descends(input), call.descends(value)
        if descend[1] and value.dim() != input[index].dim():
            raise UnsupportedCall("it writes a value of fewer axes")
        saved = SavedSetItem(size=input.shape, index=index, written=getattr(value, "shape", None), descend=descend)
        return call(), saved

    def mirror(self, saved: SavedSetItem, signal: Tensor) -> Signals:
        """(K, *x) -> (K, *x) for x and (K, *y) for y, of those that descend from the image."""
        parts = []
        if saved.descend[0]:
            rest = signal.clone()
            rest[saved.index] = 0
            parts.append(rest)
        if saved.descend[1] and saved.written is not None:
            parts.append(sum_to(signal[saved.index], saved.written))
        return tuple(parts)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedPad(SavedAdjoint):
    """The margins, how they are filled, and which axes are rows and columns."""

    margins: tuple[int, ...]
    mode: str
    fill: float  # of the margins, where the mode is "constant"
    rows_cols: tuple[int | None, int | None]


class Pad(VectorJacobian[SavedPad]):
    """F.pad in every mode: the true adjoint (zeros are cut off, reflected and repeated pixels are added up)."""

    def run(
        self, call: CallContext, input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
    ) -> tuple[Any, SavedPad]:
        """Save the margins. What they are filled with is a constant, and takes no signal."""
        check_only_first(call)
        if len(pad) > 4 and any(pad[2 * (input.dim() - 1) :]):
            raise UnsupportedCall("it pads the batch")
        saved = SavedPad(
            size=input.shape,
            func=torch.nn.functional.pad,
            args=(pad, mode),
            margins=tuple(pad),
            mode=mode,
            fill=value or 0.0,
            rows_cols=call.axes(input)[1:],
        )
        return call(), saved

    def axes(self, saved: SavedPad, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The same axes."""
        return axes[0]

    def window(self, saved: SavedPad, window: Window) -> Windows:
        """The same position, moved; where it reaches into a margin, also the pixels that fill it."""
        edges = []
        for axis, first, length in zip(saved.rows_cols, (window.top, window.left), (window.height, window.width), strict=True):
            if axis is None:
                edges.append((first, length))
                continue
            place = 2 * (len(saved.size) - 1 - axis)  # F.pad counts margins from the last axis
            near = saved.margins[place] if place < len(saved.margins) else 0
            edges.append(_reach(first - near, length, saved.size[axis], saved.mode))
        return Window(edges[0][0], edges[1][0], edges[0][1], edges[1][1])

    def shift(self, saved: SavedPad) -> tuple[int, int] | None:
        """By the top and left margins, where they hold a constant and only rows and columns have any."""
        if saved.mode != "constant" or any(saved.margins[4:]):
            return None
        left, _, top, _ = (*saved.margins, 0, 0, 0)[:4]
        return top, left


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedInterpolation(SavedAdjoint):
    """The output's size, and how far the resizing reaches; None: not known."""

    output: torch.Size
    align_corners: bool
    reach: int | None


class Interpolate(VectorJacobian[SavedInterpolation]):
    """F.interpolate, (N, C, H, W) -> (N, C, H', W'): the true adjoint of nearest, bilinear, bicubic and area resizing."""

    #: Pixels beyond its own that a pixel of the output is drawn from, on each side.
    REACH: ClassVar[dict[str, int]] = {"nearest": 0, "nearest-exact": 0, "bilinear": 1, "bicubic": 2}

    def run(
        self,
        call: CallContext,
        input: Tensor,
        size: Any = None,
        scale_factor: Any = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
        antialias: bool = False,
    ) -> tuple[Any, SavedInterpolation]:
        """Save both sizes."""
        arguments = (size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)
        output, saved = self.make(call, input, *arguments)
        reach = None if antialias or input.dim() != 4 else self.REACH.get(mode)
        return output, SavedInterpolation(**saved, output=output.shape, align_corners=bool(align_corners), reach=reach)

    def window(self, saved: SavedInterpolation, window: Window) -> Windows:
        """The pixels that the position is drawn from, one more on each side, for rounding."""
        if saved.reach is None:
            return None
        return resized_window(window, pair_of(saved.size), pair_of(saved.output), saved.reach + 1, saved.align_corners)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedShuffle(SavedAdjoint):
    """How much larger, or smaller, it gets."""

    factor: int
    enlarges: bool


class PixelShuffle(VectorJacobian[SavedShuffle]):
    """(N, C r^2, H, W) -> (N, C, H r, W r) and back: the true adjoint."""

    def run(self, call: CallContext, input: Tensor, factor: int) -> tuple[Any, SavedShuffle]:
        """Save how much larger, or smaller, it gets."""
        output, saved = self.make(call, input, factor)
        return output, SavedShuffle(**saved, factor=factor, enlarges=output.shape[-1] > input.shape[-1])

    def window(self, saved: SavedShuffle, window: Window) -> Windows:
        """The pixels whose channels the position was taken from, or the block that its channels were."""
        r = saved.factor
        if not saved.enlarges:
            return Window(window.top * r, window.left * r, window.height * r, window.width * r)
        top, left = window.top // r, window.left // r
        return Window(top, left, -(-window.bottom // r) - top, -(-window.right // r) - left)


def pair_of(size: torch.Size) -> tuple[int, int]:
    """Return the rows and columns of (N, C, H, W)."""
    return size[2], size[3]


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
