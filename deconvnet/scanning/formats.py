"""The format of a scan's file: its tables, and how files of the former format are read and brought up to date.

No table or column has the name of a reserved word of SQL, so that queries need no quotes, in any database. Format 1 had such
names (`top`, `rank`, `left`, ...). Its files are read through temporary views, which leave them as they are, and are brought up
to date when their scan is continued.
"""

from __future__ import annotations

import json
import sqlite3

FORMAT = 2
READABLE_FORMATS = (1, 2)

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
}

#: The tables that were different in format 1: the name there, and today's names of its columns, in their order there.
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
    columns = [name for _, name, *_ in connection.execute("pragma table_info(settings)")]
    if "name" not in columns or len(columns) != 2:
        return None
    row = connection.execute(f"select {columns[1]} from settings where name = 'format'").fetchone()
    number: int | None = None if row is None else json.loads(row[0])
    return number


def view_format_1(connection: sqlite3.Connection) -> None:
    """Show this connection the tables of a file of format 1 by today's names; the file stays as it is."""
    connection.execute("pragma temp_store = memory")  # the views, too, are not to be written anywhere
    for table, (former, columns) in FORMAT_1.items():
        connection.execute(f"create temp view {table} ({columns}) as select * from main.{former}")


def migrate_format_1(connection: sqlite3.Connection) -> None:
    """Bring a file of format 1, shown by `view_format_1`, up to date. To be called in a transaction."""
    for table, (former, columns) in FORMAT_1.items():
        connection.execute(f"drop view temp.{table}")
        connection.execute(f"alter table main.{former} rename to former_{former}")
        connection.execute(TABLES[table])
        connection.execute(f"insert into {table} ({columns}) select * from former_{former}")
        connection.execute(f"drop table former_{former}")
    connection.execute("update settings set json_text = ? where name = 'format'", (json.dumps(FORMAT),))
