"""A scan on disk: one SQLite file that anyone can read, with SQL, pandas, or DB Browser.

| table | a row for each | columns |
|---|---|---|
| settings | setting | name, json_text: model, weights, preprocess, size, layers, top, shard, and what the scan ran with |
| layers | scanned layer | layer_number, layer, channels, height, width (of its maps) |
| pictures | picture | picture (its number), path (from `root`), bytes, sha256, problem (why it was skipped, or null) |
| shards | shard | shard, first_picture, picture_count, done (0 or 1) |
| hits | top picture of a channel | layer, channel, hit_rank (1: strongest), picture, activation, map_row, map_col, \
window_top, window_left, window_height, window_width (of the unit's window) |
| channels | channel | layer, channel, pictures (read), fired (on how many it was above 0), total (of the maxima, in 2^-24) |

A shard is one transaction: after a kill the file holds what had been committed. Totals are integers, since sums of floats would
depend on the order of the shards. Nothing depends on the time or the machine's name.

    sqlite3 net.scan "select path, activation, map_row, map_col from hits join pictures using (picture)
                      where layer = 'features.10' and channel = 151 order by hit_rank"
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from ..errors import StoreError
from .formats import FORMAT, READABLE_FORMATS, TABLES, migrate_format_1, read_format, view_format_1

FIXED_POINT = 2**24  # of which totals are multiples
LOCK_TIMEOUT = 5.0  # seconds to wait for another process that writes

#: Settings that must agree before a scan is continued.
MUST_AGREE = ("model", "weights", "preprocess", "size", "layers", "top", "shard")

#: Rows of the tables: pictures without their path, hits, and what is added to channels.
PictureRow: TypeAlias = tuple[int, "int | None", "str | None", "str | None"]  # number, bytes, sha256, problem
HitRow: TypeAlias = tuple[str, int, int, int, float, int, int, int, int, int, int]
CountRow: TypeAlias = tuple[str, int, int, int, int]  # layer, channel, pictures, fired, total


class Statistics(TypedDict):
    """What is known of each of C channels: arrays (C,)."""

    pictures: npt.NDArray[np.int64]
    fired: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    maximum: npt.NDArray[np.float64]


class Store:
    """A scan's file. A context manager, which closes it; every method reads or writes whole transactions.

    Args:
        path: the file.
        create: whether there may be no scan in it yet.

    Raises:
        StoreError: there is no such file, or it is not a scan.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = os.fspath(path)
        self._check_path(create)
        with self._store_errors():
            self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=LOCK_TIMEOUT)
            self.connection.execute("pragma synchronous = full")
            tables = {name for (name,) in self.connection.execute("select name from sqlite_master where type = 'table'")}
            self._data_version = self._read_data_version()
        self.is_new = not tables
        self._check_tables(tables, create)

    def _check_path(self, create: bool) -> None:
        is_new = not os.path.exists(self.path) or not os.path.getsize(self.path)
        if os.path.isdir(self.path):
            raise StoreError(f"{self.path!r} is a folder. Name a file in it.")
        if is_new and not create:
            raise StoreError(f"there is no scan at {self.path!r}. Make one: deconvnet scan PICTURES --out {self.path}")
        if is_new and not os.path.isdir(os.path.dirname(os.path.abspath(self.path))):
            raise StoreError(f"cannot write {self.path!r}: there is no folder {os.path.dirname(self.path)!r}. Make it first.")

    def _check_tables(self, tables: set[str], create: bool) -> None:
        if self.is_new and not create:
            raise StoreError(f"{self.path!r} is an empty scan: it was stopped before it began. Scan again.")
        if tables and "settings" not in tables:
            raise StoreError(f"{self.path!r} is an SQLite file, but not a scan. Choose another name.")
        with self._store_errors():
            self.format = read_format(self.connection) if tables else FORMAT
            if self.format == 1:
                view_format_1(self.connection)
        if self.format not in READABLE_FORMATS:
            known = " and ".join(map(str, READABLE_FORMATS))
            raise StoreError(f"{self.path!r} has format {self.format}, this version reads {known}. Scan again.")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def __del__(self) -> None:
        with suppress(AttributeError, sqlite3.ProgrammingError):  # never opened, or opened in another thread
            self.close()

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into `StoreError`."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise self._in_use() from error
            raise StoreError(f"cannot use {self.path!r}: {error}. Check the path and the disk.") from error
        except sqlite3.ProgrammingError as error:
            if "closed" not in str(error):
                raise  # used in another thread
            raise StoreError(f"{self.path!r} is closed. Open it again: Scan.open(path).") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path!r} is not a scan: {error}. Choose another name.") from error

    def _in_use(self) -> StoreError:
        return StoreError(f"{self.path!r} is in use by another scan. Wait for it, or choose another name.")

    def _read_data_version(self) -> int:
        """Return a number that changes when another process writes: https://sqlite.org/pragma.html#pragma_data_version."""
        return int(self.connection.execute("pragma data_version").fetchone()[0])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all writes of the block, or none.

        Raises:
            StoreError: another process has written: what was read before no longer holds.
        """
        with self._store_errors():
            self.connection.execute("begin immediate")
            try:
                if self._read_data_version() != self._data_version:
                    raise self._in_use()
                yield
            except BaseException:
                self.connection.execute("rollback")
                raise
            self.connection.execute("commit")

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._store_errors():
            return self.connection.execute(query, values).fetchall()

    def settings(self) -> dict[str, Any]:
        """Return the settings by name."""
        return {name: json.loads(text) for name, text in self.rows("select name, json_text from settings")}

    def begin(self, settings: Mapping[str, Any], layers: Sequence[tuple[str, int, int, int]]) -> None:
        """Write down what is scanned and how; if the file holds a scan already, check that it is the same one.

        A file of a former format is brought up to date.

        Args:
            settings: of the scan.
            layers: name, channels, height and width of each.

        Raises:
            StoreError: the file's scan has other settings.
        """
        if not self.is_new:
            check_same(self.path, self.settings(), settings)
            self._migrate()
            return
        with self.transaction():
            for statement in TABLES.values():
                self.connection.execute(statement)
            rows = [(name, json.dumps(value)) for name, value in {"format": FORMAT, **settings}.items()]
            self.connection.executemany("insert into settings values (?, ?)", rows)
            numbered = [(number, *layer) for number, layer in enumerate(layers)]
            self.connection.executemany("insert into layers values (?, ?, ?, ?, ?)", numbered)
            self.connection.executemany(
                "insert into channels select layer, ?2, 0, 0, 0 from layers where layer = ?1",
                [(name, channel) for name, count, _, _ in layers for channel in range(count)],
            )
        self.is_new = False

    def _migrate(self) -> None:
        if self.format == 1:
            with self.transaction():
                migrate_format_1(self.connection)
            self.format = FORMAT

    def extend(self, names: Sequence[str], shard: int) -> dict[str, int]:
        """Add the pictures that are new, in shards of their own; return the numbers of all pictures by path."""
        known: dict[str, int] = dict(self.rows("select path, picture from pictures"))
        new = [name for name in dict.fromkeys(names) if name not in known]
        if new:
            first, end = len(known), len(known) + len(new)
            numbered = dict(zip(new, range(first, end), strict=True))
            shards = [(start, min(shard, end - start)) for start in range(first, end, shard)]
            with self.transaction():
                self.connection.executemany("insert into pictures (path, picture) values (?, ?)", numbered.items())
                self.connection.executemany("insert into shards (first_picture, picture_count) values (?, ?)", shards)
            known.update(numbered)
        return known

    def set_root(self, root: str) -> None:
        """Write down where the pictures are now."""
        with self.transaction():
            self.connection.execute("update settings set json_text = ? where name = 'root'", (json.dumps(root),))

    def waiting(self) -> list[tuple[int, int, int]]:
        """Return the shards that are not done: number, first picture, number of pictures."""
        return self.rows("select shard, first_picture, picture_count from shards where not done order by shard")

    def hits(self) -> list[tuple[str, int, int, int, float, int, int]]:
        """Return all entries: layer, channel, rank, picture, activation, row, col."""
        return self.rows("select layer, channel, hit_rank, picture, activation, map_row, map_col from hits")

    def commit(
        self, shard: int, pictures: Iterable[PictureRow], hits: Iterable[HitRow], statistics: Iterable[CountRow]
    ) -> bool:
        """Write one shard in one transaction.

        Args:
            shard: its number.
            pictures: number, bytes, sha256 and problem of each.
            hits: whole rows, which replace those of their ranks.
            statistics: layer, channel, pictures, fired and total, to be added.

        Returns:
            False if the shard was done before; then nothing is written.
        """
        with self.transaction():
            if not self.connection.execute("update shards set done = 1 where shard = ? and not done", (shard,)).rowcount:
                return False
            self.connection.executemany(
                "update pictures set bytes = ?2, sha256 = ?3, problem = ?4 where picture = ?1", pictures
            )
            self.connection.executemany("insert or replace into hits values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", hits)
            self.connection.executemany(
                "update channels set pictures = pictures + ?3, fired = fired + ?4, total = total + ?5"
                " where layer = ?1 and channel = ?2",
                statistics,
            )
        return True

    def statistics(self, layer: str) -> Statistics:
        """Return what was counted for each of a layer's channels; the maximum is -inf where there is none."""
        rows = self.rows(
            "select pictures, fired, total, activation from channels left join"
            " (select layer, channel, activation from hits where hit_rank = 1) using (layer, channel)"
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
    """Refuse to continue a scan with other settings.

    Raises:
        StoreError: which shows the difference.
    """
    differing = [name for name in MUST_AGREE if found.get(name) != json.loads(json.dumps(asked.get(name)))]
    if differing:
        difference = "; ".join(f"{name} {_short(found.get(name))}, not {_short(asked.get(name))}" for name in differing)
        raise StoreError(f"{path!r} was scanned with other settings: {difference}. Give the same ones, or choose another name.")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 90 else f"{text[:60]}...{text[-25:]}"
