"""Convolutions: the transposed convolution with the same filters, biases left out (Zeiler & Fergus 2014, 2.1)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..field import pair, sliding_window
from ..tape import Asked, Kept
from ..units import Window
from .rule import Rule, check_only_first


class Conv2d(Rule):
    """(N, C, H, W) -> (N, C', H', W'); mirrored by the transposed convolution, which flips each filter by itself.

    Zeiler & Fergus 2014, 2.1: "transposed versions of the same filters". The bias is not mentioned there; it is left
    out, which makes a projection linear in its signal up to the rectification.
    """

    def run(
        self,
        asked: Asked,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> tuple[Tensor, Kept]:
        """Keep the filters that were really used (some nets normalise theirs in the forward pass)."""
        check_only_first(asked)
        dilation = pair(dilation)
        kernel = (weight.shape[2], weight.shape[3])
        reach = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
        # "same" pads by half the reach, the odd pixel at the far edge; only the near edge counts for the way down
        named = {"same": (reach[0] // 2, reach[1] // 2), "valid": (0, 0)}
        near = named[padding] if isinstance(padding, str) else pair(padding)
        kept = Kept(size=input.shape, weight=weight, kernel=kernel, stride=pair(stride), padding=near)
        kept.dilation, kept.groups = dilation, groups
        return asked(), kept

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, C', H', W') -> (K, C, H, W)."""
        height, width = kept.size[2:]
        spare = [  # rows and columns at the far edge that no window reached, or (negative) that "same" padded
            size - ((out - 1) * stride - 2 * pad + dilation * (kernel - 1) + 1)
            for size, out, stride, pad, dilation, kernel in zip(
                kept.size[2:], signal.shape[2:], kept.stride, kept.padding, kept.dilation, kept.kernel, strict=True
            )
        ]
        result = F.conv_transpose2d(
            signal,
            kept.weight.to(signal.dtype),
            stride=kept.stride,
            padding=kept.padding,
            output_padding=[max(extra, 0) for extra in spare],
            groups=kept.groups,
            dilation=kept.dilation,
        )
        return result[..., :height, :width]

    def window(self, kept: Kept, window: Window) -> Window:
        """Every output pixel sees a kernel's reach."""
        return sliding_window(window, kept.kernel, kept.stride, kept.padding, kept.dilation)
