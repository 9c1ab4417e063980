"""Normalisation: batch norm as a scale; norms whose statistics come from the image as a scale that is held.

Local response normalisation is passed over, as the paper does, or derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch_axis import MIXES, BatchAxis
from ..choices import LRN
from .activation import derivative
from .base import Placewise, Signals, Status, check_only_first, on_first_axis
from .call import CallContext, Saved, UnsupportedCall, per_image


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedBatchNorm(Saved):
    """Each channel's variance and weight."""

    variance: Tensor  # (C,)
    weight: Tensor | None  # (C,)
    eps: float
    cache: dict[Any, Any] = field(default_factory=dict)  # the factor that they make

    @property
    def factor(self) -> Tensor:
        """Each channel's factor, (C,)."""
        if "factor" not in self.cache:
            scale = torch.rsqrt(self.variance + self.eps) * (1 if self.weight is None else self.weight)
            self.cache["factor"] = scale
        factor: Tensor = self.cache["factor"]
        return factor

    def factor_like(self, signal: Tensor) -> Tensor:
        """The factors in a signal's type, (1, C, 1, ...)."""
        return self.factor.to(signal.dtype).view(1, -1, *[1] * (signal.dim() - 2))


class BatchNorm(Placewise[SavedBatchNorm]):
    """(N, C, ...): a scale for each channel, as if folded into the convolution before it; its shift is a bias, left out.

    With batch statistics in eval mode (`track_running_stats=False`) the scale comes from the image and is held.
    """

    def run(
        self,
        call: CallContext,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, SavedBatchNorm]:
        """Save the statistics: the model's own, or those of the batch."""
        check_only_first(call)
        from_batch = training or running_var is None
        if from_batch or running_var is None:
            variance = _precise(input).var([0, *range(2, input.dim())], unbiased=False)
        else:
            variance = call.as_used(running_var)
        saved = SavedBatchNorm(
            size=input.shape,
            variance=variance,
            weight=None if weight is None else call.as_used(weight),
            eps=eps,
            status="held" if from_batch else None,
            cache=call.cache,
        )
        return call(), saved

    def batch(self, saved: SavedBatchNorm, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedBatchNorm, signal: Tensor) -> Signals:
        """(K, C, ...) -> (K, C, ...)."""
        return signal * saved.factor_like(signal)

    def mirror_inplace(self, saved: SavedBatchNorm, signal: Tensor) -> Signals:
        """The same in the signal's own memory."""
        return signal.mul_(saved.factor_like(signal))

    def channel_scale(self, saved: SavedBatchNorm) -> Tensor | None:
        """The factors, unless they are the batch's own."""
        return None if saved.status == "held" else saved.factor

    def returns_new(self) -> bool:
        """The product is new memory."""
        return True

    def keeps_channels(self) -> bool:
        """Zero stays zero."""
        return True


class AtenBatchNorm(BatchNorm):
    """`torch.batch_norm`, whose arguments come in another order."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, SavedBatchNorm]:
        """Put the arguments in `F.batch_norm`'s order."""
        weight, bias, mean, variance, training, momentum, eps = args[:7]
        return super().run(call, input, mean, variance, weight, bias, training, momentum, eps)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedNorm(Saved):
    """The scale that the statistics make, and the weight."""

    scale: Tensor = per_image()  # broadcasts to the input
    weight: Tensor | None = None


class HeldNorm(Placewise[SavedNorm]):
    """A norm whose statistics come from the image: its scale is taken as a constant, its shift is left out."""

    @property
    def status(self) -> Status:
        """Its statistics are held."""
        return "held"

    def batch(self, saved: SavedNorm, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The same axis, if each image has statistics of its own."""
        if not batches[0].is_first and saved.scale.shape[batches[0].axis] != shape[batches[0].axis]:
            raise UnsupportedCall(MIXES)
        return batches[0]

    def mirror(self, saved: SavedNorm, signal: Tensor) -> Signals:
        """(K, ...) -> (K, ...)."""
        return signal * saved.scale.to(signal.dtype) * (1 if saved.weight is None else saved.weight.to(signal.dtype))


class LayerNorm(HeldNorm):
    """Over the last axes; one scale for each place that is left."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        normalized_shape: Any,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enable: bool = True,
    ) -> tuple[Tensor, SavedNorm]:
        """Save the scales, 1/C of the activations."""
        check_only_first(call)
        axes = tuple(range(-len(tuple(normalized_shape)), 0))
        scale = torch.rsqrt(_precise(input).var(axes, unbiased=False, keepdim=True) + eps)
        return call(), SavedNorm(size=input.shape, scale=scale, weight=_as_used(call, weight))


class RMSNorm(HeldNorm):
    """Over the last axes, without taking off a mean."""

    def run(
        self, call: CallContext, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
    ) -> tuple[Tensor, SavedNorm]:
        """Save the scales."""
        check_only_first(call)
        axes = tuple(range(-len(tuple(normalized_shape)), 0))
        eps = torch.finfo(input.dtype).eps if eps is None else eps
        scale = torch.rsqrt(_precise(input).square().mean(axes, keepdim=True) + eps)
        return call(), SavedNorm(size=input.shape, scale=scale, weight=_as_used(call, weight))


class Normalize(HeldNorm):
    """F.normalize: division by a vector's length, which is held."""

    def run(
        self, call: CallContext, input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None
    ) -> tuple[Tensor, SavedNorm]:
        """Save the lengths' inverses."""
        check_only_first(call)
        axes = dim if isinstance(dim, (tuple, list)) else (dim,)
        if out is not None or any(axis % input.dim() == 0 for axis in axes):
            raise UnsupportedCall("it mixes the images of the batch" if out is None else "it writes into out=")
        lengths = torch.linalg.vector_norm(_precise(input), p, axes, keepdim=True).clamp(min=eps)
        return call(), SavedNorm(size=input.shape, scale=1 / lengths)


class GroupNorm(HeldNorm):
    """(N, C, ...) in groups of channels; one scale for each channel and image."""

    def batch(self, saved: SavedNorm, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def run(
        self,
        call: CallContext,
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        cudnn_enabled: bool = True,
    ) -> tuple[Tensor, SavedNorm]:
        """Save the scales."""
        check_only_first(call)
        return call(), _group_scales(input, num_groups, _as_used(call, weight), eps)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedFixedNorm(Saved):
    """The scale that running statistics make: all images share it."""

    scale: Tensor
    weight: Tensor | None = None


class InstanceNorm(HeldNorm):
    """(N, C, ...), each channel of each image by itself, or by running statistics."""

    def batch(self, saved: SavedNorm, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def run(  # type: ignore[override]  # what is saved is one of two kinds, with fields of the same names
        self,
        call: CallContext,
        input: Tensor,
        running_mean: Tensor | None = None,
        running_var: Tensor | None = None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, SavedNorm | SavedFixedNorm]:
        """Save the scales."""
        check_only_first(call)
        weight = _as_used(call, weight)
        if use_input_stats or running_var is None:
            return call(), _group_scales(input, input.shape[1], weight, eps)
        scale = _by_channel(torch.rsqrt(running_var + eps), input)
        weight = None if weight is None else _by_channel(weight, input)
        return call(), SavedFixedNorm(size=input.shape, scale=scale, weight=weight, status="exact")


def _group_scales(input: Tensor, groups: int, weight: Tensor | None, eps: float) -> SavedNorm:
    count, channels = input.shape[:2]
    variance = _precise(input).reshape(count, groups, -1).var(2, unbiased=False)
    scale = torch.rsqrt(variance + eps).repeat_interleave(channels // groups, 1)  # (N, C)
    scale = scale.view(count, channels, *[1] * (input.dim() - 2))
    return SavedNorm(size=input.shape, scale=scale, weight=None if weight is None else _by_channel(weight, input))


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.dim() - 2))


def _as_used(call: CallContext, weight: Tensor | None) -> Tensor | None:
    return None if weight is None else call.as_used(weight)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedLocalResponse(Saved):
    """The call's numbers, and its input where the derivative is taken."""

    arguments: tuple[Any, ...]
    input: Tensor | None = per_image()


@dataclass(frozen=True)
class LocalResponseNorm(Placewise[SavedLocalResponse]):
    """(N, C, ...): each value divided by its neighbours in channel order.

    "identity" passes the signal on: the ECCV text of Zeiler & Fergus (2014) says that, unlike backpropagation, their deconvnet
    leaves contrast normalisation out.
    "derivative" is its vector-Jacobian product at the input, as autograd would have it.
    """

    lrn: LRN = "identity"

    @property
    def status(self) -> Status:
        """The paper's own way, or the exact derivative."""
        return "paper" if self.lrn == "identity" else "exact"

    @property
    def needs_values(self) -> bool:
        """The derivative is taken at the input."""
        return self.lrn == "derivative"

    def run(
        self, call: CallContext, input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> tuple[Any, SavedLocalResponse]:
        """Save the input only where its derivative is asked for."""
        check_only_first(call)
        values = input.clone() if self.needs_values else None
        return call(), SavedLocalResponse(size=input.shape, arguments=(size, alpha, beta, k), input=values)

    def batch(self, saved: SavedLocalResponse, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, whatever else is in it."""
        return on_first_axis(batches)

    def mirror(self, saved: SavedLocalResponse, signal: Tensor) -> Signals:
        """(K, C, ...) -> (K, C, ...)."""
        if saved.input is None or self.lrn == "identity":
            return signal
        return derivative(lambda x: F.local_response_norm(x, *saved.arguments), saved.input, signal)


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
