"""The transposed convolution by oneDNN's own calls: filters laid out once, the rectification in the same pass over memory.

`F.conv_transpose2d` lays its filters out anew at each call, which takes as long as the sums where a signal is small: a deep
layer's map, a batch of windows. These calls are what torch's compiler emits for a convolution on a CPU; they give the same
bits. Where torch lacks them, or the numbers are not float32 on a CPU, `Conv` goes the public way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Geometry(NamedTuple):
    """The numbers of a transposed convolution, in the order in which oneDNN's calls take them."""

    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


_SignalKind = tuple[torch.Size, int, Geometry]


@dataclass
class FilterLayout:
    """A convolution's filters as oneDNN wants them for signals of one size; made at their second use in a row."""

    last: _SignalKind | None = None  # what the last signals were like
    filters: dict[_SignalKind, Tensor] = field(default_factory=dict)  # of one kind at most: they take as much as the weights

    def laid_out(self, weight: Tensor, signal: Tensor, geometry: Geometry) -> Tensor | None:
        """Return the filters for a signal (K, C', H', W'), or None where laying them out would not pay yet."""
        kind = (signal.shape[1:], signal.shape[0].bit_length(), geometry)  # a few signals more or less change nothing
        if kind not in self.filters and kind == self.last:
            self.filters.clear()
            padding, output_padding, stride, dilation, groups = geometry
            self.filters[kind] = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                weight.detach().contiguous(), padding, output_padding, stride, dilation, groups, signal.shape
            )
        self.last = kind
        return self.filters.get(kind)


def serves(signal: Tensor, weight: Tensor) -> bool:
    """Say whether oneDNN's calls take this signal."""
    both = signal.dtype == weight.dtype == torch.float32 and signal.device.type == weight.device.type == "cpu"
    return both and signal.dim() == 4 and bool(torch.backends.mkldnn.is_available()) and _has_calls()  # type: ignore[no-untyped-call]


def _has_calls() -> bool:
    calls = torch.ops.mkldnn
    return hasattr(calls, "_convolution_transpose_pointwise") and hasattr(calls, "_reorder_convolution_transpose_weight")


def conv_transpose(signal: Tensor, filters: Tensor, geometry: Geometry, *, rectify: bool) -> Tensor:
    """(K, C', H', W') -> (K, C, H, W), rectified in the same pass where asked for."""
    inside = rectify and geometry.groups == 1  # with groups oneDNN has only a slow way to do both
    result: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
        signal, filters, None, *geometry, "relu" if inside else "none", [], ""
    )
    return result.clamp_(min=0) if rectify and not inside else result
