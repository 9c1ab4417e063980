"""A shard's table on the device of the net: nothing waits for the device until the shard is done.

On a CPU a maximum is compared with the floor as it is made, which saves most of the work (`maxima.py`). On a GPU that
comparison would wait for the device at every layer. Here maxima, places, counts and the best entries stay where they are made,
as tensors, and one transfer brings the shard's table back. It is the table that `ShardResult` makes: the same order, the same
ties.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .engine import ShardResult
from .maxima import MaximaReducer, say_nan
from .store import FIXED_POINT, MOST_FIXED
from .topk import EMPTY, TopK


class DeviceTable:
    """The best entries of a shard so far, and its counts, as tensors on a device.

    Args:
        reducer: runs the net.
        top: how many entries each of the C channels has.
    """

    def __init__(self, reducer: MaximaReducer, top: int) -> None:
        self.reducer = reducer
        self.device = reducer.device if reducer.device.type == "cuda" else torch.device("cpu")  # Apple's has no float64
        size = (reducer.channels, top)
        self.scores = torch.full(size, -torch.inf, device=self.device)
        self.pictures = torch.full(size, EMPTY, dtype=torch.int64, device=self.device)
        self.positions = torch.full(size, -1, dtype=torch.int64, device=self.device)
        self.fired, self.total, self.nans = (
            torch.zeros(reducer.channels, dtype=torch.int64, device=self.device) for _ in range(3)
        )
        self.readable = 0

    def add(self, images: Tensor, numbers: Sequence[int]) -> None:
        """Add a batch of B pictures (B, C, H, W), whose numbers rise."""
        scores, positions = (values.to(self.device) for values in self.reducer.tensors(images))
        is_nan = scores.isnan()
        self.nans += is_nan.sum(0)
        scores = scores.masked_fill(is_nan, -torch.inf) + 0.0  # -0.0 and 0.0 are one value, but not to every sort
        self.fired += (scores > 0).sum(0)
        finite = scores.masked_fill(scores.isinf(), 0).double()
        self.total += (finite * FIXED_POINT).round().clamp(-MOST_FIXED, MOST_FIXED).long().sum(0)
        self._merge(scores.T, _numbers(numbers, self.device), positions.T)
        self.readable += len(numbers)

    def _merge(self, scores: Tensor, numbers: Tensor, positions: Tensor) -> None:
        """Keep the best of the entries so far and of (C, B) more; of equal ones the earlier picture, which stands before."""
        is_entry = scores > -torch.inf
        joined = torch.cat([self.scores, scores], 1)
        order = joined.sort(dim=1, descending=True, stable=True).indices[:, : self.scores.shape[1]]
        pictures = torch.cat([self.pictures, torch.where(is_entry, numbers, EMPTY)], 1)
        places = torch.cat([self.positions, torch.where(is_entry, positions, -1)], 1)
        self.scores, self.pictures, self.positions = (values.gather(1, order) for values in (joined, pictures, places))

    def result(self, shard: int) -> ShardResult:
        """Bring the table of a shard back from the device."""
        scores, pictures, positions, fired, total, nans = (
            values.cpu().numpy() for values in (self.scores, self.pictures, self.positions, self.fired, self.total, self.nans)
        )
        for layer in self.reducer.layers:
            at = layer.span
            places = layer.positions(positions[at])
            positions[at] = np.where(positions[at] >= 0, places, -1)
            if nans[at].any():
                say_nan(layer.name)
        return ShardResult(shard, TopK(scores, pictures, positions.astype(np.int32)), fired, total, self.readable)


def _numbers(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Return numbers as a tensor, without waiting for the device."""
    values = torch.tensor(numbers, dtype=torch.int64)
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)
