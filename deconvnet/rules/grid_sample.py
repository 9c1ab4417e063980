"""Sampling at places that a net works out: deformable attention, spatial transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..batch_axis import MIXES, BatchAxis
from .base import Rule, Signals
from .call import CallContext, Saved, UnsupportedCall, per_image


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedSampling(Saved):
    """The places of each image's samples, (N, H', W', 2), and how values between pixels are found."""

    grid: Tensor | None = per_image()
    options: tuple[str, str, bool | None] = ("bilinear", "zeros", None)


class GridSample(Rule[SavedSampling]):
    """F.grid_sample, (N, C, H, W) -> (N, C, H', W'), of volumes too: where this image is sampled is held, as switches are.

    The signal goes to the pixels that each sample was drawn from, by the share that each had.
    """

    def run(
        self,
        call: CallContext,
        input: Tensor,
        grid: Tensor,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
        align_corners: bool | None = None,
    ) -> tuple[Any, SavedSampling]:
        """Save the places."""
        if not call.descends(input):
            raise UnsupportedCall("its values do not descend from the image")
        batch, moves = call.batch_axis(input), call.descends(grid)
        if batch.axis or (moves and call.batch_axis(grid) != batch):
            raise UnsupportedCall(MIXES)
        return call(), SavedSampling(
            size=input.shape,
            held=(False, True) if moves else (),
            status="held" if moves else None,
            grid=grid.detach().clone(),
            options=(mode, padding_mode, align_corners),
        )

    def batch(self, saved: SavedSampling, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The first axis, with what is folded into it."""
        return batches[0]

    def mirror(self, saved: SavedSampling, signal: Tensor) -> Signals:
        """(K, C, H', W') -> (K, C, H, W), None for the places: the product with the transposed Jacobian."""
        assert saved.grid is not None  # for the types: it is saved
        grid = saved.grid.to(signal.dtype).expand(len(signal), *saved.grid.shape[1:])
        with torch.enable_grad():
            below = signal.new_zeros((len(signal), *saved.size[1:])).requires_grad_()
            (result,) = torch.autograd.grad(F.grid_sample(below, grid, *saved.options), below, signal)
        return (result, None) if saved.held else result
