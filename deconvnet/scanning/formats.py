"""The formats of a scan's file: its tables, how files of former formats are read, and how they are brought up to date.

No table or column has the name of a reserved word of SQL, so that queries need no quotes, in any database. Format 1 had such
names (`top`, `rank`, `left`, ...). Its files are read through temporary views, which leave them as they are. Formats 1 and 2
had no digests. Files of both are brought up to date when their scan is continued.
"""

from __future__ import annotations

import json
import re
import sqlite3

FORMAT = 3
READABLE_FORMATS = (1, 2, 3)

#: The statement that creates each table.
TABLES = {
    "settings": "create table settings (name text primary key, json_text text not null)",
    "layers": (
        "create table layers (layer_number integer primary key, layer text unique, channels integer,"
        " height integer, width integer)"
    ),
    "pictures": (
        "create table pictures (picture integer primary key, path text unique, bytes integer, sha256 text, problem text)"
    ),
    "shards": (
        "create table shards (shard integer primary key, first_picture integer, picture_count integer,"
        " done integer not null default 0)"
    ),
    "hits": (
        "create table hits (layer text, channel integer, hit_rank integer, picture integer references pictures,"
        " activation real, map_row integer, map_col integer,"
        " window_top integer, window_left integer, window_height integer, window_width integer,"
        " primary key (layer, channel, hit_rank)) without rowid"
    ),
    "channels": (
        "create table channels (layer text, channel integer, pictures integer, fired integer, total integer,"
        " primary key (layer, channel)) without rowid"
    ),
    "digests": "create table digests (part text primary key, sha256 text not null) without rowid",
}

#: The statements of the tables that were different in format 1.
FORMAT_1_TABLES = {
    "settings": "create table settings (name text primary key, value text not null)",
    "layers": (
        "create table layers (position integer primary key, layer text unique, channels integer, height integer, width integer)"
    ),
    "shards": (
        "create table shards (shard integer primary key, first integer, count integer, done integer not null default 0)"
    ),
    "top": (
        "create table top (layer text, channel integer, rank integer, picture integer references pictures, activation real,"
        " row integer, col integer, top integer, left integer, height integer, width integer,"
        " primary key (layer, channel, rank)) without rowid"
    ),
}

#: The same tables by today's names: the name in format 1, and today's names of its columns, in their order there.
FORMAT_1 = {
    "settings": ("settings", "name, json_text"),
    "layers": ("layers", "layer_number, layer, channels, height, width"),
    "shards": ("shards", "shard, first_picture, picture_count, done"),
    "hits": (
        "top",
        "layer, channel, hit_rank, picture, activation, map_row, map_col, window_top, window_left, window_height, window_width",
    ),
}


def read_format(connection: sqlite3.Connection) -> int | None:
    """Return the format of a file that has a table `settings`, None if that names none."""
    forms = {
        plain_statement(tables["settings"]): column for tables, column in ((TABLES, "json_text"), (FORMAT_1_TABLES, "value"))
    }
    statement = connection.execute("select sql from sqlite_master where name = 'settings'").fetchone()[0]
    column = forms.get(plain_statement(statement or ""))
    row = connection.execute(f"select {column} from settings where name = 'format'").fetchone() if column else None
    try:
        return int(row[0]) if row else None  # JSON's integers are Python's
    except (TypeError, ValueError):
        return None


def tables_of(number: int) -> dict[str, str]:
    """Return the statements that make the tables of a format, by name, each as `same_statement` compares it."""
    tables = {name: statement for name, statement in TABLES.items() if number == FORMAT or name != "digests"}
    if number == 1:
        tables = {**{name: tables[name] for name in ("pictures", "channels")}, **FORMAT_1_TABLES}
    return {name: plain_statement(statement) for name, statement in tables.items()}


def plain_statement(statement: str) -> str:
    """Return a statement with its words in one form: white space says nothing, and neither do capitals."""
    return re.sub(r"\s*([(),])\s*", r"\1", " ".join(statement.split())).casefold()


def view_format_1(connection: sqlite3.Connection) -> None:
    """Show this connection the tables of a file of format 1 by today's names; the file stays as it is."""
    for table, (former, columns) in FORMAT_1.items():
        connection.execute(f"create temp view {table} ({columns}) as select * from main.{former}")


def migrate(connection: sqlite3.Connection, number: int) -> None:
    """Bring a file of a former format up to date, except for its digests. To be called in a transaction."""
    if number == 1:
        _migrate_format_1(connection)
    connection.execute(TABLES["digests"])
    connection.execute("update settings set json_text = ? where name = 'format'", (json.dumps(FORMAT),))


def _migrate_format_1(connection: sqlite3.Connection) -> None:
    """Rename the tables of a file that is shown by `view_format_1`."""
    for table, (former, columns) in FORMAT_1.items():
        connection.execute(f"drop view temp.{table}")
        connection.execute(f"alter table main.{former} rename to former_{former}")
        connection.execute(TABLES[table])
        connection.execute(f"insert into {table} ({columns}) select * from former_{former}")
        connection.execute(f"drop table former_{former}")
