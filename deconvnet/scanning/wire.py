"""What a shard gave, as Arrow tables: what travels between machines. Only entries travel that can still enter the table.

A shard of C channels has C x k places, most of which the pictures before it have filled better already: the more shards are
done, the fewer entries reach the floor, and the less a shard sends. Only what is counted of each channel stays C rows long.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .engine_local import ShardResult
from .topk import EMPTY, TopK

Packed = dict[str, Any]  # entries, channels, pictures: each a pyarrow.RecordBatch; shard, first, seen: int; size: (C, k)


def pack(found: ShardResult, floor: npt.NDArray[np.float32]) -> Packed:
    """Turn what a shard gave into Arrow; entries below `floor` (C,) are left out."""
    import pyarrow as pa

    top = found.top
    channels, ranks = np.nonzero((top.pictures != EMPTY) & (top.scores >= floor[:, None]))
    columns = {
        "channel": channels.astype(np.int32),
        "rank": ranks.astype(np.int32),
        "score": top.scores[channels, ranks],
        "picture": top.pictures[channels, ranks],
        "place": top.places[channels, ranks],
    }
    number, size, sha256, problem = zip(*found.files, strict=True) if found.files else ((), (), (), ())
    pictures = [
        pa.array(number, pa.int64()),
        pa.array(size, pa.int64()),
        pa.array(sha256, pa.utf8()),
        pa.array(problem, pa.utf8()),
    ]
    return {
        "entries": pa.RecordBatch.from_arrays([pa.array(column) for column in columns.values()], list(columns)),
        "channels": pa.RecordBatch.from_arrays([pa.array(found.fired), pa.array(found.total)], ["fired", "total"]),
        "pictures": pa.RecordBatch.from_arrays(pictures, ["picture", "bytes", "sha256", "problem"]),
        "shard": found.shard,
        "first": found.first,
        "seen": found.seen,
        "size": top.scores.shape,
    }


def unpack(packed: Packed) -> ShardResult:
    """Turn Arrow back into what a shard gave."""
    entries, channels = packed["entries"], packed["channels"]
    channel, rank, score, picture, place = (column.to_numpy() for column in entries.columns)
    top = TopK.empty(*packed["size"])
    top.scores[channel, rank], top.pictures[channel, rank], top.places[channel, rank] = score, picture, place
    fired, total = (column.to_numpy() for column in channels.columns)
    files = list(zip(*(column.to_pylist() for column in packed["pictures"].columns), strict=True))
    return ShardResult(packed["shard"], packed["first"], top, packed["seen"], fired, total, files)


def size_of(packed: Packed) -> int:
    """Return how many bytes travel."""
    return sum(packed[name].nbytes for name in ("entries", "channels", "pictures"))
