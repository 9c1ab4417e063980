"""Convolutions: the transposed convolution with the same filters, biases left out (Zeiler & Fergus 2014, 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch_axis import BatchAxis
from ..receptive_field import sliding_window, spreading_window
from ..units import Window
from . import onednn
from .base import Rule, Signals, SlidingSaved, Windows, check_only_first, on_first_axis
from .call import CallContext, UnsupportedCall

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

#: What is wrong with a picture (C, H, W).
UNBATCHED = "its input has no batch axis"

#: A first layer has at most this many input channels: what `by_phases` is faster for.
MAX_PHASE_CHANNELS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedConv(SlidingSaved):
    """The filters that were really used (some nets normalise theirs in the forward pass), and the convolution's geometry."""

    weight: Tensor  # (C', C / groups, k, ...)
    groups: int = 1
    cache: dict[Any, Any] = field(default_factory=dict)  # filters laid out for mirroring

    def with_weight(self, weight: Tensor) -> SavedConv:
        """Return the same with other filters, whose layouts are kept apart."""
        return replace(self, weight=weight, cache={})


class Conv(Rule[SavedConv]):
    """(N, C, H, W) -> (N, C', H', W'); mirrored by the transposed convolution, which flips each filter by itself.

    Zeiler & Fergus 2014, 2.1: "transposed versions of the same filters". The bias is not mentioned there; it is left
    out, which makes a projection linear in its signal up to the rectification. The same for one and three axes.
    """

    def run(
        self,
        call: CallContext,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[Tensor, SavedConv]:
        """Save the filters and the geometry."""
        check_only_first(call)
        if input.dim() < weight.dim():
            raise UnsupportedCall(UNBATCHED)
        axes = weight.dim() - 2
        kernel, dilation = tuple(weight.shape[2:]), per_axis(dilation, axes)
        if isinstance(padding, str):
            # "same" pads by half the reach, the odd pixel at the far edge; only the near edge counts for the way down
            reach = [step * (size - 1) if padding == "same" else 0 for step, size in zip(dilation, kernel, strict=True)]
            padding = tuple(size // 2 for size in reach)
        saved = SavedConv(
            size=input.shape,
            weight=call.as_used(weight),
            kernel=kernel,
            stride=per_axis(stride, axes),
            padding=per_axis(padding, axes),
            dilation=dilation,
            groups=groups,
            cache=call.cache,
        )
        return call(), saved

    def batch(self, saved: SavedConv, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedConv, signal: Tensor) -> Signals:
        """(K, C', H', W') -> (K, C, H, W)."""
        return _mirrored(saved, signal, rectify=False)

    def window(self, saved: SavedConv, window: Window) -> Windows:
        """Every output pixel sees a kernel's reach."""
        if len(saved.kernel) > 2:
            return None
        return sliding_window(window, *in_rows_and_columns(saved))

    def slides(self, saved: SavedConv) -> bool:
        """Over rows and columns."""
        return len(saved.kernel) == 2

    def returns_new(self) -> bool:
        """A transposed convolution writes to new memory."""
        return True

    def can_rectify(self) -> bool:
        """Where the sums are made."""
        return True

    def mirror_rectified(self, saved: SavedConv, signal: Tensor) -> Tensor:
        """(K, C', H', W') -> (K, C, H, W), rectified in the same pass over memory."""
        return _mirrored(saved, signal, rectify=True)

    def scaled(self, saved: SavedConv, scale: Tensor) -> SavedConv:
        """With the scale in the filters: the sums are the same."""
        by_filter = scale.to(saved.weight.dtype).view(-1, *[1] * (saved.weight.dim() - 1))
        return saved.with_weight(saved.weight.detach() * by_filter)

    def sliced(self, saved: SavedConv, channels: Tensor) -> SavedConv | None:
        """With the filters of these channels only."""
        return saved.with_weight(saved.weight[channels]) if saved.groups == 1 else None

    def mirror_position(self, saved: SavedConv, signal: Tensor) -> Tensor | None:
        """(K, C') -> (K, C, h, w): a sum of filters; of a single unit, its own filter."""
        if saved.groups != 1 or saved.dilation != (1, 1):
            return None
        weight = saved.weight.to(signal.dtype)
        # a GPU would have to be waited for
        if signal.device.type != "cpu" or int((signal != 0).sum(1).max()) > 1:
            total: Tensor = torch.tensordot(signal, weight, 1)
            return total
        channels = (signal != 0).to(torch.uint8).argmax(1)
        filters: Tensor = weight[channels] * signal.gather(1, channels[:, None])[:, :, None, None]
        return filters


def _mirrored(saved: SavedConv, signal: Tensor, rectify: bool) -> Tensor:
    size = saved.size[2:]
    if _is_strided_stem(saved):
        result = by_phases(signal, saved)
        return result.clamp(min=0) if rectify else result
    spare = [  # rows and columns at the far edge that no window reached, or (negative) that "same" padded
        length - ((out - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
        for length, out, stride, pad, dilation, kernel in zip(
            size, signal.shape[2:], saved.stride, saved.padding, saved.dilation, saved.kernel, strict=True
        )
    ]
    output_padding = tuple(max(extra, 0) for extra in spare)
    geometry = onednn.Geometry(saved.padding, output_padding, saved.stride, saved.dilation, saved.groups)
    return cut(_transposed(signal, saved, geometry, rectify), size)


def _transposed(signal: Tensor, saved: SavedConv, geometry: onednn.Geometry, rectify: bool) -> Tensor:
    """The transposed convolution by the fastest way that there is; the same sums."""
    if onednn.serves(signal, saved.weight):
        layout: onednn.FilterLayout = saved.cache.setdefault("layout", onednn.FilterLayout())
        filters = layout.laid_out(saved.weight, signal, geometry)
        if filters is not None:
            return onednn.conv_transpose(signal, filters, geometry, rectify=rectify)
    padding, output_padding, stride, dilation, groups = geometry
    result = TRANSPOSED[signal.dim() - 2](
        signal, saved.weight.to(signal.dtype), None, stride, padding, output_padding, groups, dilation
    )
    return result.clamp_(min=0) if rectify else result


def _is_strided_stem(saved: SavedConv) -> bool:
    """Say whether a convolution is a first layer that `by_phases` mirrors faster."""
    strided = len(saved.kernel) == 2 and saved.stride[0] == saved.stride[1] > 1 and saved.weight.shape[1] <= MAX_PHASE_CHANNELS
    return strided and saved.groups == 1 and saved.dilation == (1, 1)


def by_phases(signal: Tensor, saved: SavedConv) -> Tensor:
    """The transposed convolution of a strided first layer, two to four times faster: (K, C', H', W') -> (K, C, H, W).

    Output pixels of one phase, row and column modulo the stride, come from the same taps of a filter. So one convolution
    without stride makes the phases as channels, and `pixel_shuffle` puts them in their places: the same sums.
    """
    stride, key = saved.stride[0], ("phases", signal.dtype)
    if key not in saved.cache:
        saved.cache[key] = _phase_filters(saved.weight.detach().to(signal.dtype), stride)
    filters: Tensor = saved.cache[key]
    reach = (filters.shape[2] - 1, filters.shape[3] - 1)
    result = F.pixel_shuffle(F.conv2d(signal, filters, padding=reach), stride)
    top, left = saved.padding
    (height, width), (tall, wide) = saved.size[2:], result.shape[2:]
    if tall < top + height or wide < left + width:  # rows and columns that no window reached
        result = F.pad(result, (0, max(left + width - wide, 0), 0, max(top + height - tall, 0)))
    return result[:, :, top : top + height, left : left + width]


def _phase_filters(weight: Tensor, stride: int) -> Tensor:
    """(C', C, k, k) -> (C stride^2, C', t, t): the taps of each phase, flipped as a convolution needs them."""
    outputs, inputs, tall, wide = weight.shape
    rows, cols = -(-tall // stride), -(-wide // stride)
    weight = F.pad(weight, (0, cols * stride - wide, 0, rows * stride - tall))
    taps = weight.view(outputs, inputs, rows, stride, cols, stride).permute(1, 3, 5, 0, 2, 4).flip(4, 5)
    return taps.reshape(inputs * stride * stride, outputs, rows, cols).contiguous(memory_format=torch.channels_last)


class ConvTranspose(Rule[SavedConv]):
    """The way up that is a way down already: mirrored by the convolution with the same filters, the bias left out."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> tuple[Tensor, SavedConv]:
        """Save the filters and the geometry."""
        check_only_first(call)
        axes = weight.dim() - 2
        saved = SavedConv(
            size=input.shape,
            weight=call.as_used(weight),
            kernel=tuple(weight.shape[2:]),
            stride=per_axis(stride, axes),
            padding=per_axis(padding, axes),
            dilation=per_axis(dilation, axes),
            groups=groups,
        )
        return call(), saved

    def batch(self, saved: SavedConv, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedConv, signal: Tensor) -> Signals:
        """(K, C', H', W') -> (K, C, H, W)."""
        size = saved.size[2:]
        result = FORWARD[len(size)](
            signal,
            saved.weight.to(signal.dtype),
            stride=saved.stride,
            padding=saved.padding,
            dilation=saved.dilation,
            groups=saved.groups,
        )
        return cut(result, size)  # output padding longer than the stride gives windows that no input made

    def window(self, saved: SavedConv, window: Window) -> Windows:
        """Every input pixel paints a kernel's reach."""
        if len(saved.kernel) > 2:
            return None
        return spreading_window(window, *in_rows_and_columns(saved))

    def returns_new(self) -> bool:
        """A convolution writes to new memory."""
        return True


def per_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Read 3, (3,), [3, 5] as torch does: one number serves all axes."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def in_rows_and_columns(saved: SlidingSaved) -> tuple[tuple[int, ...], ...]:
    """Return kernel, stride, padding and dilation along rows and columns; a signal counts as a picture of one row."""
    geometry = saved.kernel, saved.stride, saved.padding, saved.dilation
    if len(saved.kernel) == 2:
        return geometry
    return tuple((alone, *lengths) for alone, lengths in zip((1, 1, 0, 1), geometry, strict=True))


def cut(values: Tensor, size: Sequence[int]) -> Tensor:
    """Cut values (K, C, ...) to a size of their last axes."""
    for axis, length in enumerate(size, start=2):
        values = values.narrow(axis, 0, length)
    return values
