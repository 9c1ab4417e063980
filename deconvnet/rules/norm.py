"""Normalisation: batch norm as a scale, local response normalisation as nothing or as its derivative."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tape import Asked, Kept
from ..units import Window
from .rule import Rule, Same, check_only_first, whole


class BatchNorm(Same):
    """(N, C, ...): a scale for each channel, as if folded into the convolution before it; its shift is a bias, left out.

    With batch statistics in eval mode (`track_running_stats=False`) the scale comes from the image and is held.
    """

    def run(
        self,
        asked: Asked,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> tuple[Tensor, Kept]:
        """Keep one scale a channel."""
        check_only_first(asked)
        axes = [0, *range(2, input.dim())]
        held = training or running_var is None
        values = input if input.dtype == torch.float64 else input.float()
        variance = values.var(axes, unbiased=False) if held else running_var
        assert variance is not None
        scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
        kept = Kept(size=input.shape, scale=scale)
        if held:
            kept.status = "held"
        return asked(), kept

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, C, ...) -> (K, C, ...)."""
        return signal * kept.scale.to(signal.dtype).view(1, -1, *[1] * (signal.dim() - 2))


@dataclasses.dataclass(frozen=True)
class LocalResponseNorm(Rule):
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
        self, asked: Asked, input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> tuple[Any, Kept]:
        """Keep the input only where its derivative is asked for."""
        check_only_first(asked)
        values = {"input": input.clone()} if self.needs_values else None
        return asked(), Kept(values, size=input.shape, arguments=(size, alpha, beta, k))

    def mirror(self, kept: Kept, signal: Tensor) -> Tensor:
        """(K, C, ...) -> (K, C, ...)."""
        if self.lrn == "identity":
            return signal
        with torch.enable_grad():
            at = kept.input.to(signal.dtype).expand(signal.shape).detach().requires_grad_()
            above = F.local_response_norm(at, *kept.arguments)
            (result,) = torch.autograd.grad(above, at, signal)
        return result

    def window(self, kept: Kept, window: Window) -> Window:
        """The same place: its neighbours are channels."""
        return window if len(kept.size) == 4 else whole(kept.size)
