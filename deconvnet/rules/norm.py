"""Normalisation: batch norm as a scale; norms whose statistics come from the image as a scale that is held.

Local response normalisation is passed over, as the paper does, or derived.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tape import CallContext, Saved
from .activation import derivative
from .base import Placewise, check_only_first


class BatchNorm(Placewise):
    """(N, C, ...): a scale for each channel, as if folded into the convolution before it; its shift is a bias, left out.

    With batch statistics in eval mode (`track_running_stats=False`) the scale comes from the image and is held.
    """

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Saved]:
        """Keep the statistics; the model's own are kept as they are."""
        check_only_first(asked)
        kept = Saved(size=input.shape, variance=running_var, weight=weight, eps=eps)
        if training or running_var is None:
            axes = [0, *range(2, input.dim())]
            kept.variance, kept.status = _precise(input).var(axes, unbiased=False), "held"
        return asked(), kept

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, C, ...) -> (K, C, ...)."""
        return signal * self.scale(kept, signal)

    @staticmethod
    def scale(kept: Saved, like: Tensor | None = None) -> Tensor:
        """Return each channel's factor, (C,); with a signal, in its type and as (1, C, 1, ...). Worked out once."""
        if not hasattr(kept, "factor"):
            kept.factor = torch.rsqrt(kept.variance + kept.eps) * (1 if kept.weight is None else kept.weight)
        scale: Tensor = kept.factor
        return scale if like is None else scale.to(like.dtype).view(1, -1, *[1] * (like.dim() - 2))


class AtenBatchNorm(BatchNorm):
    """`torch.batch_norm`, whose arguments come in another order."""

    def run(self, asked: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Saved]:
        """Put the arguments in `F.batch_norm`'s order."""
        weight, bias, mean, variance, training, momentum, eps = args[:7]
        return super().run(asked, input, mean, variance, weight, bias, training, momentum, eps)


class HeldNorm(Placewise):
    """A norm whose statistics come from the image: its scale is taken as a constant, its shift is left out."""

    status = "held"

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...)."""
        return signal * kept.scale.to(signal.dtype) * (1 if kept.weight is None else kept.weight.to(signal.dtype))


class LayerNorm(HeldNorm):
    """Over the last axes; one scale for each place that is left."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enable: bool = True,
    ) -> tuple[Tensor, Saved]:
        """Keep the scales, 1/C of the activations."""
        check_only_first(asked)
        axes = tuple(range(-len(tuple(normalized_shape)), 0))
        scale = torch.rsqrt(_precise(input).var(axes, unbiased=False, keepdim=True) + eps)
        return asked(), Saved({"scale": scale}, size=input.shape, weight=weight)


class RMSNorm(HeldNorm):
    """Over the last axes, without taking off a mean."""

    def run(
        self, asked: CallContext, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
    ) -> tuple[Tensor, Saved]:
        """Keep the scales."""
        check_only_first(asked)
        axes = tuple(range(-len(tuple(normalized_shape)), 0))
        eps = torch.finfo(input.dtype).eps if eps is None else eps
        scale = torch.rsqrt(_precise(input).square().mean(axes, keepdim=True) + eps)
        return asked(), Saved({"scale": scale}, size=input.shape, weight=weight)


class GroupNorm(HeldNorm):
    """(N, C, ...) in groups of channels; one scale a channel and image."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> tuple[Tensor, Saved]:
        """Keep the scales."""
        check_only_first(asked)
        return asked(), _group_scales(input, num_groups, weight, eps)


class InstanceNorm(HeldNorm):
    """(N, C, ...), each channel of each image by itself, or by running statistics."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Saved]:
        """Keep the scales."""
        check_only_first(asked)
        if use_input_stats or running_var is None:
            return asked(), _group_scales(input, input.shape[1], weight, eps)
        scale = _by_channel(torch.rsqrt(running_var + eps), input)
        return asked(), Saved(size=input.shape, scale=scale, weight=_by_channel(weight, input), status="exact")


def _group_scales(input: Tensor, groups: int, weight: Tensor | None, eps: float) -> Saved:
    count, channels = input.shape[:2]
    variance = _precise(input).reshape(count, groups, -1).var(2, unbiased=False)
    scale = torch.rsqrt(variance + eps).repeat_interleave(channels // groups, 1)  # (N, C)
    scale = scale.view(count, channels, *[1] * (input.dim() - 2))
    return Saved({"scale": scale}, size=input.shape, weight=_by_channel(weight, input))


def _by_channel(values: Tensor | None, like: Tensor) -> Tensor | None:
    return None if values is None else values.view(1, -1, *[1] * (like.dim() - 2))


@dataclasses.dataclass(frozen=True)
class LocalResponseNorm(Placewise):
    """(N, C, ...): each value divided by its neighbours in channel order.

    "identity" passes the signal on: "contrast normalization operations are not used" (Zeiler & Fergus, ECCV 2014).
    "derivative" is its vector-Jacobian product at the input, as autograd would have it.
    """

    lrn: str = "identity"

    @property
    def status(self) -> str:  # type: ignore[override]
        """The paper's own way, or the exact derivative."""
        return "paper" if self.lrn == "identity" else "exact"

    @property
    def needs_values(self) -> bool:  # type: ignore[override]
        """The derivative is taken at the input."""
        return self.lrn == "derivative"

    def run(
        self, asked: CallContext, input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> tuple[Any, Saved]:
        """Keep the input only where its derivative is asked for."""
        check_only_first(asked)
        values = {"input": input.clone()} if self.needs_values else None
        return asked(), Saved(values, size=input.shape, arguments=(size, alpha, beta, k))

    def mirror(self, kept: Saved, signal: Tensor) -> Tensor:
        """(K, C, ...) -> (K, C, ...)."""
        if self.lrn == "identity":
            return signal
        return derivative(lambda x: F.local_response_norm(x, *kept.arguments), kept.input, signal)


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
