"""A scan's file, checked when it is opened: it may be a stranger's, or damaged.

One look says whether it is a scan at all: its tables, the form of every row and setting, and the digests of what every reader
needs. The digests of the rest are looked at where it is read, so that a channel's pictures are shown at once, however large
the scan is.
"""

from __future__ import annotations

import json
import os
import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ..errors import StoreError
from .digests import Digests
from .form import malformed_table, settings_fault
from .formats import FORMAT, READABLE_FORMATS, read_format, view_format_1
from .opening import check_file, connect, other_table, schema_fault

File = TypeVar("File", bound="CheckedFile")

LONGEST_REASON = 200  # characters

#: What to do with a file that is no scan, where one is to be written, and where one is to be read.
ADVICE = {True: "Choose another name.", False: "Give a file that deconvnet scan has written."}


class CheckedFile:
    """A scan's file, whose tables are those of a scan. A context manager, which closes it.

    A file is checked when it is opened: it may be a stranger's, or damaged.

    Args:
        path: the file.
        create: whether there may be no scan in it yet; without it, the file is only read.

    Raises:
        StoreError: there is no such file, or it is not a scan.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path, self._advice = os.fspath(path), ADVICE[create]
        self._check_path(create)
        self._checked: dict[str, int] = {}  # parts -> the data version in which they were found whole
        self._known_shards: tuple[int, list[int], list[int]] | None = None
        with self._store_errors():
            self.connection = connect(self.path)
            tables = {name for (name,) in self.connection.execute("select name from sqlite_master")}
            self._data_version = self._read_data_version()
        self.digests = Digests(self.connection)
        self.is_new = not tables
        self._check_tables(tables, create)
        if not self.is_new:
            self._check_contents()
        if not create:
            self.connection.execute("pragma query_only = on")

    def _check_path(self, create: bool) -> None:
        if os.path.isdir(self.path):
            raise StoreError(f"{self.path!r} is a folder. Name a file in it.")
        if os.path.exists(self.path):
            check_file(self.path, self._advice)
        is_new = not os.path.exists(self.path) or not os.path.getsize(self.path)
        if is_new and not create:
            raise StoreError(f"there is no scan at {self.path!r}. Make one: deconvnet scan PICTURES --out {self.path}")
        if is_new and not os.path.isdir(os.path.dirname(os.path.abspath(self.path))):
            raise StoreError(f"cannot write {self.path!r}: there is no folder {os.path.dirname(self.path)!r}. Make it first.")

    def _check_tables(self, tables: set[str], create: bool) -> None:
        """Check that the file has the tables of a format, and nothing else."""
        if self.is_new and not create:
            raise StoreError(f"{self.path!r} is an empty scan: it was stopped before it began. Scan again.")
        if tables and "settings" not in tables:
            raise StoreError(f"{self.path!r} is an SQLite file, but not a scan. {self._advice}")
        with self._store_errors():
            if fault := schema_fault(self.connection):
                raise StoreError(f"{self.path!r} has {fault}: a scan has tables only. Drop it, or get a fresh copy.")
            number = read_format(self.connection) if tables else FORMAT
        if number not in READABLE_FORMATS:
            known = f"{', '.join(map(str, READABLE_FORMATS[:-1]))} and {READABLE_FORMATS[-1]}"
            raise StoreError(f"{self.path!r} has format {number}, this version reads {known}. Scan again.")
        self.format: int = number
        with self._store_errors():
            table = other_table(self.connection, self.format) if tables else None
            if table:
                raise StoreError(
                    f"{self.path!r} has a table {table!r} that is not that of a scan. Drop what was added, or get a fresh copy."
                )
            if self.format == 1:
                view_format_1(self.connection)

    def _check_contents(self) -> None:
        """Check the form of all rows, and the digests of what every reader needs."""
        with self.snapshot():
            if malformed_table(self.connection):
                raise self._malformed("settings")
            settings = self.settings()
            fault = settings_fault(settings)
            if fault:
                raise StoreError(f"{self.path!r} has no usable setting {fault!r}. Get a fresh copy, or scan again.")
            table = malformed_table(self.connection, settings)
            if table:
                raise self._malformed(table)
            self.check("settings", "layers")
            damaged = self.digests.damaged_shard() if self.format >= 3 else None
            if damaged:
                raise self._damaged(damaged)

    def _malformed(self, table: str) -> StoreError:
        return StoreError(f"{self.path!r} has rows in its table {table!r} that no scan has. Get a fresh copy, or scan again.")

    def _damaged(self, part: str) -> StoreError:
        return StoreError(
            f"{self.path!r} is damaged: {part!r} does not have the digest that it was written with."
            " Get a fresh copy, or scan again."
        )

    def check(self, *parts: str) -> None:
        """Check that parts of the file are as they were written; files of former formats cannot tell.

        Raises:
            StoreError: one is not.
        """
        if self.format < 3:
            return
        with self.snapshot():
            version = self._read_data_version()
            for part in parts:
                if self._checked.get(part) != version:
                    if not self.digests.is_whole(part):
                        raise self._damaged(part)
                    self._checked[part] = version

    def check_all(self) -> None:
        """Check all parts of the file."""
        with self.snapshot():
            layers = [name for (name,) in self.rows("select layer from layers")]
            self.check("settings", "layers", *self.digests.shard_parts(), *(f"layer {name}" for name in layers))

    def check_pictures(self, numbers: Iterable[int] | None = None) -> None:
        """Check the rows of the pictures with these numbers, None: of all, and of those that share a shard with one."""
        if self.format < 3:
            return
        with self.snapshot():
            shards, firsts = self._shards()
            if numbers is None:
                self.check(*(f"pictures {shard}" for shard in shards))
            else:
                places = sorted({bisect_right(firsts, number) - 1 for number in numbers})
                self.check(*(f"pictures {shards[place]}" for place in places))

    def _shards(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the numbers of all shards, and of the first picture of each."""
        version = self._read_data_version()
        if self._known_shards is None or self._known_shards[0] != version:
            rows = self.rows("select shard, first_picture from shards order by first_picture")
            self._known_shards = (version, [number for number, _ in rows], [first for _, first in rows])
        return self._known_shards[1:]

    def __enter__(self: File) -> File:
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
        """Turn SQLite's errors into `StoreError`, and what Ctrl-C has stopped into `KeyboardInterrupt`."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise self._in_use() from error
            if "interrupted" in str(error):
                raise KeyboardInterrupt from None
            if "decode to UTF-8" in str(error):
                raise StoreError(
                    f"{self.path!r} is damaged: it has text that is none. Get a fresh copy, or scan again."
                ) from error
            raise StoreError(f"cannot use {self.path!r}: {_reason(error)}. Check the path and the disk.") from error
        except sqlite3.ProgrammingError as error:
            if "closed" not in str(error):
                raise  # used in another thread
            raise StoreError(f"{self.path!r} is closed. Open it again: Scan.open(path).") from error
        except sqlite3.DatabaseError as error:
            if "malformed" in str(error):
                raise StoreError(f"{self.path!r} is damaged: {_reason(error)}. Get a fresh copy, or scan again.") from error
            raise StoreError(f"{self.path!r} is not a scan: {_reason(error)}. {self._advice}") from error

    def _in_use(self) -> StoreError:
        return StoreError(f"{self.path!r} is in use by another scan. Wait for it, or choose another name.")

    def _read_data_version(self) -> int:
        """Return a number that changes when another process writes: https://sqlite.org/pragma.html#pragma_data_version."""
        return int(self.connection.execute("pragma data_version").fetchone()[0])

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that the block reads be of one state of the file, whatever another process writes meanwhile."""
        with self._store_errors():
            if self.connection.in_transaction:
                yield
                return
            self.connection.execute("begin")
            try:
                yield
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("rollback")

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

    def each(self, query: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query one by one, where they are too many to be kept. To be called in a snapshot."""
        with self._store_errors():
            yield from self.connection.execute(query)

    def settings(self) -> dict[str, Any]:
        """Return the settings by name.

        Raises:
            StoreError: one is not JSON.
        """
        rows = self.rows("select name, json_text from settings")
        try:
            return {name: json.loads(text) for name, text in rows}
        except (ValueError, RecursionError) as error:
            raise self._malformed("settings") from error


def _reason(error: sqlite3.Error) -> str:
    """Return what SQLite says, in one line: it may repeat names that are in the file."""
    text = " ".join(str(error).split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:LONGEST_REASON]
