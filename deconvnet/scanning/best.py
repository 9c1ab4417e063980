"""The best entries of a scan so far, in memory as they are in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

from ..recording import Recording
from .engine import ShardResult
from .maxima import ScannedLayer, find_windows
from .store import HitRow, Store
from .topk import EMPTY, TopK, merge


class BestEntries:
    """Merges the results of shards into a store.

    Args:
        store: the scan's file; its entries are read.
        recording: of the scanned net, for the windows of units.
        layers: those that are scanned.
        top: how many entries each channel has.
    """

    def __init__(self, store: Store, recording: Recording, layers: Sequence[ScannedLayer], top: int) -> None:
        self.store, self.recording, self.layers = store, recording, layers
        self.channels = [(layer, channel) for layer in layers for channel in range(layer.channels)]
        self.top = TopK.empty(len(self.channels), top)
        by_name = {layer.name: layer for layer in layers}
        for name, channel, rank, picture, activation, row, col in store.hits():
            layer = by_name[name]
            at = layer.first + channel, rank - 1
            self.top.scores[at], self.top.pictures[at], self.top.positions[at] = activation, picture, row * layer.width + col

    @property
    def floor(self) -> npt.NDArray[np.float32]:
        """(C,): the score that a channel's entry must reach to enter."""
        return self.top.floor

    def commit(self, result: ShardResult) -> None:
        """Merge the result of one shard, and write what it changed in one transaction."""
        after = merge(self.top, result.top)
        changed = (after.pictures != self.top.pictures) & (after.pictures != EMPTY)
        counts = zip(self.channels, result.fired.tolist(), result.total.tolist(), strict=True)
        statistics = [(layer.name, channel, result.readable, fired, total) for (layer, channel), fired, total in counts]
        if self.store.commit(result.shard, result.files, self._rows(after, changed), statistics):
            self.top = after

    def _rows(self, top: TopK, changed: npt.NDArray[np.bool_]) -> Iterator[HitRow]:
        for layer in self.layers:
            at = np.nonzero(changed[layer.span])  # channels and ranks, (E,) each
            scores, pictures = top.scores[layer.span][at], top.pictures[layer.span][at]
            positions = top.positions[layer.span][at]
            row, col = np.divmod(positions, layer.width)
            windows = find_windows(self.recording, layer, positions)
            columns = (at[0], at[1] + 1, pictures, scores.astype(np.float64), row, col, *windows.T)
            yield from zip(repeat(layer.name), *(column.tolist() for column in columns), strict=False)
