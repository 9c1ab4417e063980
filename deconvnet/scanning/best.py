"""The best entries of a scan so far, in memory as they are in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ..recording import Recording
from .digests import HIT_COLUMNS, layer_digest
from .engine import ShardResult
from .maxima import ScannedLayer, find_windows
from .store import Store
from .topk import EMPTY, TopK, merge

ACTIVATION = HIT_COLUMNS.split(", ").index("activation")


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
        self.windows = np.zeros((len(self.channels), top, 4), np.int64)  # of the entries: top, left, height, width
        counts = [row for layer in layers for row in store.counts(layer.name)]
        self.counts = np.array(counts, np.int64).reshape(-1, 3)  # of each channel: pictures, fired, total
        by_name = {layer.name: layer for layer in layers}
        for name, channel, rank, picture, activation, row, col, *window in store.hits():
            layer = by_name[name]
            at = layer.first + channel, rank - 1
            self.top.scores[at], self.top.pictures[at], self.top.positions[at] = activation, picture, row * layer.width + col
            self.windows[at] = window

    @property
    def floor(self) -> npt.NDArray[np.float32]:
        """(C,): the score that a channel's entry must reach to enter."""
        return self.top.floor

    def commit(self, result: ShardResult) -> None:
        """Merge the result of one shard, and write what it changed in one transaction."""
        top = merge(self.top, result.top)
        changed = (top.pictures != self.top.pictures) & (top.pictures != EMPTY)
        windows = self._windows(top, changed)
        added = np.stack([np.full_like(result.fired, result.readable), result.fired, result.total], 1)
        counts = self.counts + added
        statistics = [(layer.name, channel, *row) for (layer, channel), row in zip(self.channels, added.tolist(), strict=True)]
        digests = {
            layer.name: layer_digest(_entries(layer, top, windows, top.pictures != EMPTY), _numbered(counts[layer.span]))
            for layer in self.layers
        }
        rows = chain.from_iterable(_rows(layer.name, _entries(layer, top, windows, changed)) for layer in self.layers)
        if self.store.commit(result.shard, result.files, rows, statistics, digests):
            self.top, self.windows, self.counts = top, windows, counts

    def _windows(self, top: TopK, changed: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the windows of all entries, those of changed ones by their new positions."""
        windows = self.windows.copy()
        for layer in self.layers:
            here = changed[layer.span]
            windows[layer.span][here] = find_windows(self.recording, layer, top.positions[layer.span][here])
        return windows


class Committing:
    """Commits results in a thread of its own, one after another, while the next shard is run.

    Leaving the block waits for the last one. An error is raised at the next result, or on leaving.

    Args:
        commit: takes a result.
    """

    def __init__(self, commit: Callable[[ShardResult], object]) -> None:
        self.commit = commit
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self.last: Future[object] | None = None

    def __call__(self, result: ShardResult) -> None:
        """Wait for the result before, and begin with this one."""
        if self.last is not None:
            self.last.result()
        self.last = self.pool.submit(self.commit, result)

    def __enter__(self) -> Committing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.pool.shutdown(wait=True)
        if kind is None and self.last is not None:
            self.last.result()


def _entries(
    layer: ScannedLayer, top: TopK, windows: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return a layer's chosen entries (E, 10), by channel and rank; whole numbers, except for the activations.

    The columns are those of `HIT_COLUMNS`. A float64 holds all of them exactly.
    """
    at = np.nonzero(chosen[layer.span])  # channels and ranks, (E,) each
    scores, pictures, positions = (values[layer.span][at] for values in (top.scores, top.pictures, top.positions))
    scores = scores + 0.0  # SQLite keeps -0.0 as 0.0
    entries = np.empty((len(scores), 10))
    columns = (at[0], at[1] + 1, pictures, scores, *np.divmod(positions, layer.width), *windows[layer.span][at].T)
    for number, values in enumerate(columns):
        entries[:, number] = values
    return entries


def _rows(layer: str, entries: npt.NDArray[np.float64]) -> Iterator[tuple[Any, ...]]:
    """Return a layer's entries as rows of the table."""
    columns = [
        values.tolist() if number == ACTIVATION else values.astype(np.int64).tolist() for number, values in enumerate(entries.T)
    ]
    return zip([layer] * len(entries), *columns, strict=True)


def _numbered(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Put the number of each channel before its counts: (C, 3) -> (C, 4)."""
    return np.column_stack([np.arange(len(counts)), counts])
