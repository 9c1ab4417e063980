"""The digests of a scan's file: a SHA-256 for each part of it, written in the same transaction as the part itself.

They show damage, such as a flipped bit that SQLite reads as another number. They do not show who wrote a file: whoever edits
one on purpose can write the digests anew.

| part | what it covers |
|---|---|
| settings | all settings |
| layers | the list of layers |
| shard N | the row of a shard |
| pictures N | the rows of its pictures |
| layer NAME | the hits and counts of a layer |
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

HIT_COLUMNS = "channel, hit_rank, picture, activation, map_row, map_col, window_top, window_left, window_height, window_width"


def rows_digest(rows: Sequence[Sequence[Any]]) -> str:
    """Return the digest of rows: text, whole numbers and nulls."""
    return hashlib.sha256(json.dumps(rows, separators=(",", ":")).encode()).hexdigest()


def layer_digest(hits: npt.ArrayLike, counts: npt.ArrayLike) -> str:
    """Return the digest of a layer.

    Args:
        hits: (E, 10), the columns `HIT_COLUMNS` of its entries, by channel and rank.
        counts: (C, 4), of its channels: number, pictures, fired, total.
    """
    digest = hashlib.sha256(np.ascontiguousarray(hits, "<f8").reshape(-1, 10).data)
    digest.update(np.ascontiguousarray(counts, "<i8").reshape(-1, 4).data)
    return digest.hexdigest()


class Digests:
    """The digests of one file. Its methods neither begin nor end a transaction.

    Args:
        connection: to the file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def write(self, digests: Iterable[tuple[str, str]]) -> None:
        """Write digests, (part, digest) each, in place of former ones."""
        self.connection.executemany("insert or replace into digests values (?, ?)", digests)

    def renew(self, *parts: str) -> None:
        """Write the digests of parts as they are now in the file."""
        self.write((part, self.compute(part)) for part in parts)

    def renew_all(self) -> None:
        """Write the digests of all parts."""
        self.renew("settings", "layers", *self.shard_parts(), *(f"layer {name}" for name in self._layers()))

    def shard_parts(self) -> list[str]:
        """Return the parts that belong to shards."""
        numbers = [number for (number,) in self.connection.execute("select shard from shards order by shard")]
        return [f"{kind} {number}" for number in numbers for kind in ("shard", "pictures")]

    def is_whole(self, part: str) -> bool:
        """Say whether a part is as it was written."""
        row = self.connection.execute("select sha256 from digests where part = ?", (part,)).fetchone()
        return row is not None and row[0] == self.compute(part)

    def damaged_shard(self) -> str | None:
        """Return the first shard whose row is not as it was written, or is missing, as a part."""
        rows = self.connection.execute("select shard, first_picture, picture_count, done from shards").fetchall()
        computed = {f"shard {row[0]}": rows_digest([row]) for row in rows}
        written = dict(self.connection.execute("select part, sha256 from digests where part glob 'shard *'"))
        differing = [part for part in {**written, **computed} if written.get(part) != computed.get(part)]
        return differing[0] if differing else None

    def compute(self, part: str) -> str:
        """Return the digest of a part as it is now in the file."""
        kind, _, name = part.partition(" ")
        if kind == "layer":
            hits = f"select {HIT_COLUMNS} from hits where layer = ? order by channel, hit_rank"
            counts = "select channel, pictures, fired, total from channels where layer = ? order by channel"
            return layer_digest(*(self.connection.execute(query, (name,)).fetchall() for query in (hits, counts)))
        query, values = self._query(kind, name)
        return rows_digest(self.connection.execute(query, values).fetchall())

    def _query(self, kind: str, name: str) -> tuple[str, tuple[int, ...]]:
        """Return what selects the rows of a part that is no layer's."""
        if kind == "settings":
            return "select name, json_text from settings order by name", ()
        if kind == "layers":
            return "select layer_number, layer, channels, height, width from layers order by layer_number", ()
        if kind == "shard":
            return "select shard, first_picture, picture_count, done from shards where shard = ?", (int(name),)
        first, count = self.connection.execute(
            "select first_picture, picture_count from shards where shard = ?", (int(name),)
        ).fetchone()
        query = "select picture, path, bytes, sha256, problem from pictures where picture >= ? and picture < ? order by picture"
        return query, (first, first + count)

    def _layers(self) -> list[str]:
        return [name for (name,) in self.connection.execute("select layer from layers order by layer_number")]
