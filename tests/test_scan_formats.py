"""Scans in files of the former formats: read as they are, continued, and brought up to date whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import deconvnet
from deconvnet.errors import StoreError
from deconvnet.scanning import opening
from deconvnet.scanning import store as store_module
from deconvnet.scanning.store import Store
from support.scans import drawings, dump, rows
from support.sql_words import RESERVED

TABLES = ("hits", "channels", "pictures", "shards", "layers", "digests")
OPTIONS = {"layers": ["features.1", "features.5"], "shard": 4, "batch": 4}

FORMAT_1 = """
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


def write_format_1(path: Path, current: Path) -> Path:
    """Write the rows of a scan as deconvnet wrote them before the tables had today's names."""
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.executescript(FORMAT_1)
        base.execute("attach ? as current", (str(current),))
        for table in ("settings", "layers", "pictures", "shards", "channels"):
            base.execute(f"insert into main.{table} select * from current.{table}")
        base.execute("insert into top select * from current.hits")
        base.execute("update main.settings set value = '1' where name = 'format'")
    return path


def write_format_2(path: Path, current: Path) -> Path:
    """Write a scan as deconvnet wrote it before there were digests."""
    path.write_bytes(current.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("drop table digests")
        base.execute("update settings set json_text = '2' where name = 'format'")
    return path


WRITE = {1: write_format_1, 2: write_format_2}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Ten drawings, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos")
    drawings(folder, 10)
    (folder / "bad.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def current(net, photos, tmp_path_factory):
    """A finished scan."""
    path = tmp_path_factory.mktemp("current") / "a.scan"
    deconvnet.scan(net, photos, path, **OPTIONS).close()
    return path


@pytest.fixture(params=WRITE, ids="format {}".format)
def former(request, current, tmp_path):
    """The same scan in a file of a former format."""
    return WRITE[request.param](tmp_path / "former.scan", current)


def hits_of(former: Path) -> str:
    """Return the name of the table of hits."""
    return "top" if "top" in tables_of(former) else "hits"


def tables_of(path: Path) -> set[str]:
    return {name for (name,) in rows(path, "select name from sqlite_master where type = 'table'")}


def test_no_name_is_reserved(current):
    """Tables and columns can be named in a query without quotes, in any common database."""
    names = tables_of(current)
    names |= {column for table in names for _, column, *_ in rows(current, f"pragma table_info({table})")}
    assert not names & RESERVED
    assert {"top", "rank", "left", "row", "count", "first", "position", "value"} <= RESERVED


def test_a_former_file_is_read_as_it_is(net, current, former, tmp_path):
    """Tables, counts and plates are those of a new file, and not a byte of the old one changes."""
    before = former.read_bytes()
    with deconvnet.Scan.open(former, net=net) as old, deconvnet.Scan.open(current, net=net) as new:
        assert {**old.settings, "format": 3} == new.settings
        assert (old.sizes, old.progress(), old.paths()) == (new.sizes, (11, 11), new.paths())
        assert old.skipped() == new.skipped() != []
        assert [old.top("features.5", channel) for channel in range(64)] == [new.top("features.5", c) for c in range(64)]
        for name, values in new.statistics("features.1").items():
            assert np.array_equal(old.statistics("features.1")[name], values)
        assert old.top_numbers("features.1") == new.top_numbers("features.1")
        plates = [scan.plate("features.5", [3]).figure().tobytes() for scan in (old, new)]
        assert plates[0] == plates[1]
    assert former.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [former.name]


def test_a_former_file_that_may_only_be_read(former, monkeypatch):
    """A file on a read-only disk is read like any other."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        opening.sqlite3, "connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options)
    )
    with deconvnet.Scan.open(former) as scan:
        assert len(scan.top("features.1", 0)) == 9


def test_a_former_file_is_continued(net, photos, current, former):
    """An unfinished scan is continued, and ends in the tables of today's format, byte for byte."""
    with closing(sqlite3.connect(former, isolation_level=None)) as base:  # as a kill after the first shard leaves it
        base.execute(f"delete from {hits_of(former)}")
        base.execute("update channels set pictures = 0, fired = 0, total = 0")
        base.execute("update pictures set bytes = null, sha256 = null, problem = null")
        base.execute("update shards set done = 0")
    half = write_first_shard(former, current)
    with deconvnet.Scan.open(half) as scan:
        assert scan.progress() == (4, 11)
    with deconvnet.scan(net, photos, half, **OPTIONS) as scan:
        assert scan.progress() == (11, 11)
        assert scan.settings["format"] == 3
    assert dump(half, *TABLES) == dump(current, *TABLES)
    assert tables_of(half) == tables_of(current)


def write_first_shard(former: Path, current: Path) -> Path:
    """Give a file of format 1 without results those of its first shard, from a scan of its four pictures alone."""
    alone = current.parent / "first.scan"
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    with deconvnet.Scan.open(current) as scan:
        files = [scan.pictures.path(scan.paths()[number]) for number in range(4)]
    deconvnet.scan(net, files, alone, **OPTIONS).close()
    with closing(sqlite3.connect(former, isolation_level=None)) as base:
        base.execute("attach ? as alone", (str(alone),))
        base.execute(f"insert into main.{hits_of(former)} select * from alone.hits")
        base.execute("replace into main.channels select * from alone.channels")
        for values in base.execute("select bytes, sha256, problem, picture from alone.pictures").fetchall():
            base.execute("update main.pictures set bytes = ?, sha256 = ?, problem = ? where picture = ?", values)
        base.execute("update main.shards set done = 1 where shard = 1")
    return former


def test_a_former_file_that_is_finished_takes_new_pictures(net, photos, former, tmp_path):
    """Nothing of the old pictures is run again; the new ones are added."""
    more = tmp_path / "more"
    drawings(more, 2, first=30)
    with deconvnet.scan(net, photos, former, **OPTIONS) as scan:
        assert scan.progress() == (11, 11)
    with deconvnet.scan(net, more, former, **OPTIONS) as scan:
        assert scan.progress() == (13, 13)
        assert scan.paths()[11] == str(more / "30.png")


def test_other_settings_leave_a_former_file_as_it_is(net, photos, former):
    """A refused scan does not bring its file up to date."""
    before = former.read_bytes()
    with pytest.raises(StoreError) as error:
        deconvnet.scan(net, photos, former, **{**OPTIONS, "top": 5})
    assert str(error.value) == (
        f"{str(former)!r} was scanned with other settings: top 9, not 5. Give the same ones, or choose another name."
    )
    assert former.read_bytes() == before


def test_a_kill_in_the_middle_leaves_the_former_format(net, photos, current, former, monkeypatch):
    """Bringing a file up to date is one transaction: if it fails, everything is as before, and the next try succeeds."""
    before = {table: rows(former, f"select * from {table}") for table in tables_of(former)}
    migrate = store_module.migrate

    def failing(connection, number):
        migrate(connection, number)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "migrate", failing)
        with pytest.raises(KeyboardInterrupt):
            deconvnet.scan(net, photos, former, **OPTIONS)
    assert {table: rows(former, f"select * from {table}") for table in tables_of(former)} == before
    deconvnet.scan(net, photos, former, **OPTIONS).close()
    assert dump(former, *TABLES) == dump(current, *TABLES)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("update settings set json_text = '4' where name = 'format'", "4"),
        ("update settings set json_text = '{}' where name = 'format'", "None"),
        ("delete from settings where name = 'format'", "None"),
        ("alter table settings add column extra text", "None"),
    ],
)
def test_a_format_that_is_not_known_is_refused(current, tmp_path, statement, found):
    """A file of a later version, or one whose settings cannot be read, is refused in one line."""
    path = tmp_path / "a.scan"
    path.write_bytes(current.read_bytes())
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(statement)
    with pytest.raises(StoreError) as error:
        Store(path)
    assert str(error.value) == f"{str(path)!r} has format {found}, this version reads 1, 2 and 3. Scan again."


def test_settings_are_json(current):
    """Each setting is JSON, as the column's name says."""
    settings = {name: json.loads(text) for name, text in rows(current, "select name, json_text from settings")}
    assert settings["layers"] == OPTIONS["layers"]
