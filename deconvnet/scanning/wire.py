"""A shard's result as Arrow tables, to travel between machines. Only entries travel that can still enter the table.

A shard of C channels has up to C x k entries, but most of them are weaker than those that earlier pictures have left in the
table: the more shards are done, the fewer entries reach the floor, and the less is sent. Only the counts stay C rows long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt

from .engine import ShardResult
from .topk import EMPTY, TopK

if TYPE_CHECKING:
    from pyarrow import RecordBatch


class Packed(TypedDict):
    """A shard's result, packed."""

    shard: int
    readable: int
    size: tuple[int, int]  # (C, k) of the table of entries
    entries: RecordBatch
    counts: RecordBatch
    pictures: RecordBatch


def pack(result: ShardResult, floor: npt.NDArray[np.float32]) -> Packed:
    """Turn a shard's result into Arrow tables; entries below `floor` (C,) are left out."""
    import pyarrow as pa

    top = result.top
    channels, ranks = np.nonzero((top.pictures != EMPTY) & (top.scores >= floor[:, None]))
    entries = {
        "channel": channels.astype(np.int32),
        "rank": ranks.astype(np.int32),
        "score": top.scores[channels, ranks],
        "picture": top.pictures[channels, ranks],
        "position": top.positions[channels, ranks],
    }
    kinds = {"picture": pa.int64(), "bytes": pa.int64(), "sha256": pa.utf8(), "problem": pa.utf8()}
    columns = zip(*result.files, strict=True) if result.files else ((),) * len(kinds)
    files = [pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)]
    return {
        "shard": result.shard,
        "readable": result.readable,
        "size": (top.scores.shape[0], top.scores.shape[1]),
        "entries": pa.RecordBatch.from_arrays([pa.array(column) for column in entries.values()], list(entries)),
        "counts": pa.RecordBatch.from_arrays([pa.array(result.fired), pa.array(result.total)], ["fired", "total"]),
        "pictures": pa.RecordBatch.from_arrays(files, list(kinds)),
    }


def unpack(packed: Packed) -> ShardResult:
    """Turn Arrow tables back into a shard's result."""
    channels, ranks, scores, pictures, positions = (column.to_numpy() for column in packed["entries"].columns)
    top = TopK.empty(*packed["size"])
    top.scores[channels, ranks], top.pictures[channels, ranks], top.positions[channels, ranks] = scores, pictures, positions
    fired, total = (column.to_numpy() for column in packed["counts"].columns)
    files = list(zip(*(column.to_pylist() for column in packed["pictures"].columns), strict=True))
    return ShardResult(packed["shard"], top, fired, total, packed["readable"], files)


def size_of(packed: Packed) -> int:
    """Return how many bytes travel."""
    return int(packed["entries"].nbytes + packed["counts"].nbytes + packed["pictures"].nbytes)
