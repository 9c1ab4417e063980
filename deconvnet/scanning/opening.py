"""Opening a scan's file, which may be anybody's: what is on the disk is looked at before SQLite acts on it.

SQLite does what a file tells it: it runs the code of views and triggers, creates files beside one in WAL mode, and finishes
what a journal beside it has begun, which may include the removal of another file that the journal names. A scan needs none of
it.
"""

from __future__ import annotations

import os
import sqlite3
import stat

from ..errors import StoreError
from ..file_kinds import HEAD_BYTES, kind_of, picture_kind_of
from .formats import plain_statement, tables_of

LOCK_TIMEOUT = 60.0  # seconds to wait for another process: the report of a large scan reads for a while
STEPS = 100_000  # of a query, after which Python looks for Ctrl-C; some milliseconds

_MAGIC = b"SQLite format 3\0"
_NO_WAL = b"\1\1"  # bytes 18 and 19 of a file whose changes go through a journal
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # ends a journal that names another file
_MOST_OBJECTS = 100  # that are looked at
LONGEST_NAME = 80  # characters, of what a file calls its tables, in messages


def check_file(path: str, advice: str) -> None:
    """Refuse a file that SQLite is not to be given.

    Args:
        path: the file.
        advice: what to do where it is something else than a scan.

    Raises:
        StoreError: it is a pipe or a device, a picture or a text, it is in WAL mode, or a journal beside it names another file.
    """
    _check_regular(path)
    try:
        with open(path, "rb") as handle:
            header = handle.read(HEAD_BYTES)
        _check_journal(path)
    except OSError as error:
        raise StoreError(f"cannot use {path!r}: {error.strerror}. Check the path and the disk.") from error
    kind = picture_kind_of(header) or kind_of(header)
    if kind and not header.startswith(_MAGIC):
        raise StoreError(f"{path!r} is not a scan: it is {kind}. {advice}")
    if header.startswith(_MAGIC) and header[18:20] != _NO_WAL:
        raise StoreError(
            f"{path!r} writes to files beside it (WAL), as no scan does. If it is yours, change that:"
            f' sqlite3 {path} "pragma journal_mode = delete"'
        )


def _check_regular(path: str) -> None:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise StoreError(f"{path!r} is a pipe or a device, not a scan. Name a file.")


def _check_journal(path: str) -> None:
    """Look at what a write that was stopped, or is in progress, has left beside the file."""
    journal = f"{path}-journal"
    try:
        is_plain = stat.S_ISREG(os.lstat(journal).st_mode)
        if is_plain:
            with open(journal, "rb") as handle:
                size = handle.seek(0, os.SEEK_END)
                handle.seek(max(0, size - len(_SUPER_JOURNAL)))
                is_plain = handle.read() != _SUPER_JOURNAL or size == len(_SUPER_JOURNAL)  # which also begins a journal
    except FileNotFoundError:  # there is none, or no longer
        return
    if not is_plain:
        raise StoreError(f"{journal!r} leads to another file, as no scan's journal does. Remove it, or get a fresh copy.")


def connect(path: str) -> sqlite3.Connection:
    """Connect to a file that `check_file` has passed, or to a new one; what its schema says is not trusted."""
    # a scan commits in a thread of its own; two threads never use a connection at once
    connection = sqlite3.connect(path, isolation_level=None, timeout=LOCK_TIMEOUT, check_same_thread=False)
    connection.set_progress_handler(lambda: 0, STEPS)  # in it, Python raises KeyboardInterrupt
    for pragma in ("trusted_schema = off", "cell_size_check = on", "temp_store = memory", "synchronous = full"):
        connection.execute(f"pragma {pragma}")
    return connection


def schema_fault(connection: sqlite3.Connection) -> str | None:
    """Return what a file has besides tables, such as "a view 'top'"; None if it has only tables."""
    query = "select type, name, coalesce(sql, '') from sqlite_master where not (type = 'index' and sql is null) limit ?"
    for kind, name, statement in connection.execute(query, (_MOST_OBJECTS,)):
        if kind != "table" or plain_statement(statement).startswith("create virtual"):
            what = {"table": "a virtual table", "index": "an index"}.get(kind, f"a {kind}")
            return f"{what} {name[:LONGEST_NAME]!r}"
    return None


def other_table(connection: sqlite3.Connection, number: int) -> str | None:
    """Return the first table that files of a format do not have, or have in another form; what ANALYZE writes is left out."""
    query = "select name, coalesce(sql, '') from sqlite_master where type = 'table' and name not glob 'sqlite_stat*' limit ?"
    tables = {name: plain_statement(statement) for name, statement in connection.execute(query, (_MOST_OBJECTS,))}
    known = tables_of(number)
    differing = [name for name in {**known, **tables} if known.get(name) != tables.get(name)]
    return differing[0][:LONGEST_NAME] if differing else None
