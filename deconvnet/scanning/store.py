"""A scan on disk: one SQLite file that anyone can read, with SQL, pandas, or DB Browser.

| table | a row for each | columns |
|---|---|---|
| settings | setting | name, value (JSON): model, weights, preprocess, size, layers, top, shard, and what the scan ran with |
| layers | scanned layer | position, layer, channels, height, width (of its maps) |
| pictures | picture | picture (its number), path (from `root`), bytes, sha256, problem (why it was skipped, or null) |
| shards | shard | shard, first, count (of its pictures), done (0 or 1) |
| top | entry | layer, channel, rank (1: strongest), picture, activation, row, col; its window: top, left, height, width |
| channels | channel | layer, channel, pictures (seen), fired (on how many it was above 0), total (of the maxima, in 2^-24) |

A shard is one transaction: what a killed run leaves is what it had committed. Totals are whole numbers, since sums of
floats would depend on the order of the shards. Nothing depends on the time or the machine's name.

    sqlite3 net.scan "select path, activation, row, col from top join pictures using (picture)
                      where layer = 'features.10' and channel = 151 order by rank"
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import StoreError

FORMAT = 1  # of the tables below; a file of another format is refused
FIXED_POINT = 2**24  # of which totals are multiples

SCHEMA = """
create table settings (name text primary key, value text not null);
create table layers (position integer primary key, layer text unique, channels integer, height integer, width integer);
create table pictures (picture integer primary key, path text unique, bytes integer, sha256 text, problem text);
create table shards (shard integer primary key, first integer, count integer, done integer not null default 0);
create table top (layer text, channel integer, rank integer, picture integer references pictures, activation real,
    row integer, col integer, top integer, left integer, height integer, width integer,
    primary key (layer, channel, rank)) without rowid;
create table channels (layer text, channel integer, pictures integer, fired integer, total integer,
    primary key (layer, channel)) without rowid;
"""

#: Settings that must agree before a scan goes on.
MUST_AGREE = ("model", "weights", "preprocess", "size", "layers", "top", "shard")


class Store:
    """One scan's file. Use it as a context manager; every method reads or writes whole transactions."""

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = os.fspath(path)
        is_new = not os.path.exists(self.path) or not os.path.getsize(self.path)
        if os.path.isdir(self.path):
            raise StoreError(f"{self.path!r} is a folder. Name a file in it.")
        if is_new and not create:
            raise StoreError(f"there is no scan at {self.path!r}. Make one: deconvnet scan PICTURES --out {self.path}")
        if is_new and not os.path.isdir(os.path.dirname(os.path.abspath(self.path))):
            raise StoreError(f"cannot write {self.path!r}: there is no folder {os.path.dirname(self.path)!r}. Make it first.")
        with self._told():
            self.base = sqlite3.connect(self.path, isolation_level=None, timeout=5)
            self.base.execute("pragma synchronous = full")
            tables = {name for (name,) in self.base.execute("select name from sqlite_master where type = 'table'")}
            self._others = self._writes_of_others()
        self.is_new = not tables
        if tables and "settings" not in tables:
            raise StoreError(f"{self.path!r} is an SQLite file, but not a scan. Choose another name.")
        if tables and self.settings().get("format") != FORMAT:
            raise StoreError(
                f"{self.path!r} has format {self.settings().get('format')}, this version reads {FORMAT}. Scan again."
            )
        if self.is_new and not create:
            raise StoreError(f"{self.path!r} is an empty scan: it was stopped before it began. Scan again.")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.base.close()

    def __del__(self) -> None:
        with suppress(AttributeError, sqlite3.ProgrammingError):  # never opened, or opened in another thread
            self.base.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise self._in_use() from error
            raise StoreError(f"cannot use {self.path!r}: {error}. Check the path and the disk.") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path!r} is not a scan: {error}. Choose another name.") from error

    def _in_use(self) -> StoreError:
        return StoreError(f"{self.path!r} is in use by another scan. Wait for it, or choose another name.")

    def _writes_of_others(self) -> int:
        """Return a number that changes when another process writes to the file: https://sqlite.org/pragma.html#pragma_data_version."""
        return int(self.base.execute("pragma data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's writes, or none; refused where others wrote: what was read before would no longer hold."""
        with self._told():
            self.base.execute("begin immediate")
            try:
                if self._writes_of_others() != self._others:
                    raise self._in_use()
                yield
            except BaseException:
                self.base.execute("rollback")
                raise
            self.base.execute("commit")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._told():
            return self.base.execute(query, values).fetchall()

    def settings(self) -> dict[str, Any]:
        """Return the settings by name."""
        return {name: json.loads(value) for name, value in self.rows("select name, value from settings")}

    def begin(self, settings: Mapping[str, Any], layers: Sequence[tuple[str, int, int, int]]) -> None:
        """Write down what is scanned with what; where the file has a scan already, check that it is the same one.

        `layers`: (name, channels, height, width) of each.
        """
        if not self.is_new:
            check_same(self.path, self.settings(), settings)
            return
        with self.transaction():
            for statement in SCHEMA.strip().split(";")[:-1]:
                self.base.execute(statement)
            rows = [(name, json.dumps(value)) for name, value in {"format": FORMAT, **settings}.items()]
            self.base.executemany("insert into settings values (?, ?)", rows)
            self.base.executemany("insert into layers values (?, ?, ?, ?, ?)", [(at, *row) for at, row in enumerate(layers)])
            self.base.executemany(
                "insert into channels select layer, ?2, 0, 0, 0 from layers where layer = ?1",
                [(name, channel) for name, count, _, _ in layers for channel in range(count)],
            )
        self.is_new = False

    def extend(self, names: Sequence[str], shard: int) -> dict[str, int]:
        """Add the pictures that are new, in shards of their own; return the numbers of all pictures by path."""
        known = dict(self.rows("select path, picture from pictures"))
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            first = len(known)
            numbers = range(first, first + len(new))
            with self.transaction():
                self.base.executemany("insert into pictures (picture, path) values (?, ?)", zip(numbers, new, strict=True))
                starts = [(start, min(shard, first + len(new) - start)) for start in range(first, first + len(new), shard)]
                self.base.executemany("insert into shards (first, count) values (?, ?)", starts)
            known.update(zip(new, numbers, strict=True))
        return known

    def set_root(self, root: str) -> None:
        """Write down where the pictures lie now."""
        with self.transaction():
            self.base.execute("update settings set value = ? where name = 'root'", (json.dumps(root),))

    def waiting(self) -> list[tuple[int, int, int]]:
        """Return (shard, first, count) of the shards that are not done."""
        return self.rows("select shard, first, count from shards where not done order by shard")

    def commit(
        self,
        shard: int,
        pictures: Iterable[tuple[int, int | None, str | None, str | None]],
        entries: Iterable[tuple[Any, ...]],
        statistics: Iterable[tuple[str, int, int, int, int]],
    ) -> bool:
        """Write one shard in one transaction; False, and nothing written, where it was done before.

        `pictures`: (number, bytes, sha256, problem). `entries`: whole rows of `top`, which replace what stands at their ranks.
        `statistics`: (layer, channel, pictures, fired, total) to be added.
        """
        with self.transaction():
            if not self.base.execute("update shards set done = 1 where shard = ? and not done", (shard,)).rowcount:
                return False
            self.base.executemany("update pictures set bytes = ?2, sha256 = ?3, problem = ?4 where picture = ?1", pictures)
            self.base.executemany("insert or replace into top values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)
            self.base.executemany(
                "update channels set pictures = pictures + ?3, fired = fired + ?4, total = total + ?5"
                " where layer = ?1 and channel = ?2",
                statistics,
            )
        return True

    def arrays(self, layer: str) -> dict[str, npt.NDArray[Any]]:
        """Return a layer's columns of `channels`, and the strongest activation of each (-inf where there is none)."""
        rows = self.rows(
            "select pictures, fired, total, activation from channels left join"
            " (select layer, channel, activation from top where rank = 1) using (layer, channel)"
            " where layer = ? order by channel",
            (layer,),
        )
        pictures, fired, total, maximum = zip(*rows, strict=True) if rows else ((), (), (), ())
        return {
            "pictures": np.array(pictures, np.int64),
            "fired": np.array(fired, np.int64),
            "mean": np.array(total, np.float64) / FIXED_POINT / np.maximum(np.array(pictures, np.int64), 1),
            "maximum": np.array([-np.inf if value is None else value for value in maximum]),
        }


def check_same(path: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings, showing the difference."""
    differing = [name for name in MUST_AGREE if found.get(name) != json.loads(json.dumps(asked.get(name)))]
    if differing:
        shown = "; ".join(f"{name} {_short(found.get(name))} there, {_short(asked.get(name))} now" for name in differing)
        raise StoreError(f"{path!r} was scanned with other settings: {shown}. Choose another name, or ask for the same.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 90 else f"{text[:60]}...{text[-25:]}"
