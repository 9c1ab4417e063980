"""Scans that somebody sends: nothing in them runs, is read, written or sent unless the user says so; damage is told, not shown."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deconvnet
from deconvnet.atlas.manifest import AtlasFolder
from deconvnet.cli import scan_options
from deconvnet.errors import OptionError, StoreError
from deconvnet.images import MAX_PIXELS
from deconvnet.scanning import places
from deconvnet.scanning.digests import Digests
from deconvnet.scanning.form import scanned_preprocess, settings_fault
from deconvnet.scanning.opening import _SUPER_JOURNAL
from deconvnet.scanning.report import layer_report, plot
from deconvnet.scanning.source import source_at
from deconvnet.scanning.store import Store
from support.hostile import damages, edits, run, tell, tree, watch
from support.scans import drawing, drawings, dump, rows

pytestmark = pytest.mark.slow

LAYERS = ["features.1", "features.5"]
ATLAS = ["--layer", "features.1", "--tile", "16"]


@pytest.fixture(scope="module")
def original(net, tmp_path_factory):
    """A finished scan of twelve drawings in three shards, with a copy and a file that is no picture."""
    folder = tmp_path_factory.mktemp("original")
    drawings(folder / "photos", 10)
    shutil.copy(folder / "photos" / "03.png", folder / "photos" / "again.png")
    (folder / "photos" / "bad.png").write_text("no picture")
    deconvnet.scan(net, folder / "photos", folder / "a.scan", layers=LAYERS, shard=4).close()
    return folder / "a.scan"


@pytest.fixture
def account(tmp_path, monkeypatch):
    """An account from which nothing has been scanned; return the file of its list."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(places, "_scanned_here", set())
    return tmp_path / "state" / "deconvnet" / "scanned"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which a scan is opened: private pictures beside it, and a Python file that leaves a trace."""
    here = tmp_path / "here"
    (here / "private").mkdir(parents=True)
    drawing(50).save(here / "private" / "secret.png")
    (here / "keep").mkdir()
    (here / "keep" / "evil.webp").write_bytes(b"mine")
    (here / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\ndef make(): ...\n")
    monkeypatch.chdir(here)
    return here


def edit(path: Path, *statements: str, digests: bool = True) -> None:
    """Change a scan's file as a forger would: digests fit."""
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        for statement in statements:
            base.execute(statement)
        if digests:
            Digests(base).renew_all()


def set_to(**settings: object) -> list[str]:
    return [f"insert or replace into settings values ('{name}', '{json.dumps(value)}')" for name, value in settings.items()]


def refused(kind, call, *arguments, **options) -> str:
    """Return what a call is refused with."""
    with pytest.raises(kind) as error:
        call(*arguments, **options)
    return str(error.value)


# A scan from another machine

OUTSIDE = "which was not scanned from this account. If you trust that, name it: "
FRESH = "Get a fresh copy, or scan again."
HOSTILE = {
    "code": (
        set_to(model="file:evil.py:make"),
        "'a.scan' was scanned with the net of a Python file, 'file:evil.py:make', which would run as you. If you trust the file,"
        " name it: --model file:PATH.py:FUNCTION, or Scan.open(path, net=net).",
    ),
    "a module": (set_to(model="module:evil:make"), "'a.scan' was scanned with 'module:evil:make', which is no published net. Name it: --model MODEL."),
    "a net of anybody's": (
        set_to(model="timm:hf-hub:evil/evil"),
        "'a.scan' was scanned with 'timm:hf-hub:evil/evil', which is no published net. Name it: --model MODEL.",
    ),
    "weights": (
        set_to(weights_from="{here}/private/secret.png"),
        f"'a.scan' has its weights from '{{here}}/private/secret.png', {OUTSIDE}--weights FILE, or Scan.open(path, net=net).",
    ),
    "an address": (
        set_to(root="s3://bucket/photos?endpoint_override=127.0.0.1:9&scheme=http"),
        "'a.scan' has its pictures at 's3://bucket/photos?endpoint_override=127.0.0.1:9&scheme=http', "
        f"{OUTSIDE}--root FOLDER, or Scan.open(path, root=folder).",
    ),
    "a folder": (
        [*set_to(root="{here}/private"), "update pictures set path = 'secret.png' where picture = 0"],
        f"'a.scan' has its pictures at '{{here}}/private', {OUTSIDE}--root FOLDER, or Scan.open(path, root=folder).",
    ),
    "the folder above": (
        set_to(root="../private"),
        f"'a.scan' has its pictures at '../private', {OUTSIDE}--root FOLDER, or Scan.open(path, root=folder).",
    ),
    "numbers that are text": (
        ["update hits set picture = '../../keep/evil'"],
        f"'a.scan' has rows in its table 'hits' that no scan has. {FRESH}",
    ),
    "an endless view": (
        ["drop table hits", "create view hits as with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"],
        "'a.scan' has a view 'hits': a scan has tables only. Drop it, or get a fresh copy.",
    ),
    "a trigger": (
        ["create trigger more after update on pictures begin delete from hits; end"],
        "'a.scan' has a trigger 'more': a scan has tables only. Drop it, or get a fresh copy.",
    ),
    "ten million channels": (
        ["update layers set channels = 10000000"],
        f"'a.scan' has rows in its table 'layers' that no scan has. {FRESH}",
    ),
    "a gigantic frame": (set_to(size=[3, 100_000, 100_000]), f"'a.scan' has no usable setting 'size'. {FRESH}"),
    "a gigantic picture": (
        set_to(preprocess={"resize": 90_000, "crop": 90_000, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}),
        f"'a.scan' has no usable setting 'preprocess'. {FRESH}",
    ),
    "deep JSON": ([f"update settings set json_text = '{'[' * 100_000}' where name = 'size'"], f"'a.scan' has rows in its table 'settings' that no scan has. {FRESH}"),
    "WAL": (
        ["pragma journal_mode = wal"],
        "'a.scan' writes to files beside it (WAL), as no scan does. If it is yours, change that:"
        ' sqlite3 a.scan "pragma journal_mode = delete"',
    ),
}  # fmt: skip

#: These say where a net or pictures are: tables are read all the same.
TABLES_ARE_READ = ("code", "a module", "a net of anybody's", "weights", "an address", "a folder", "the folder above")


def hostile_scan(name: str, original: Path, here: Path) -> str:
    """Write a scan with a hostile setting; return what is said of it."""
    statements, text = HOSTILE[name]
    if "model" in text or "weights" in text:
        places.remember([str(original.parent / "photos")])  # the pictures are known, the net is not
    shutil.copy(original, here / "a.scan")
    edit(
        here / "a.scan", *(statement.replace("{here}", str(here)) for statement in statements), digests=name in TABLES_ARE_READ
    )
    return text.replace("{here}", str(here))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_scan_from_another_machine(name, original, here, account):
    """Opened by every command and the API, it runs nothing, reads, writes and sends nothing, and says so in one line."""
    text = hostile_scan(name, original, here)
    before = tree(here)
    commands = {
        "top": ["top", "a.scan", "-l", "features.1", "-c", "0", "--json"],
        "report": ["report", "a.scan", "--json"],
        "plate": ["plate", "a.scan", "-l", "features.1", "-c", "0", "--out", "plate.png"],
        "atlas": ["atlas", "a.scan", "--out", "site", *ATLAS],
        "explore": ["explore", "a.scan", "--no-browser"],
    }
    with watch(here / "private", here / "evil.py", here / "keep") as seen:
        outcomes = {command: run(words) for command, words in commands.items()}
        for call in (lambda scan: scan.plate("features.1", [0]).figure(), lambda scan: deconvnet.write_atlas(scan, "site")):
            with pytest.raises(StoreError) as error, deconvnet.Scan.open("a.scan") as scan:
                call(scan)
            assert str(error.value) == text
    assert (seen.sent, seen.ran, seen.opened) == ([], [], [])
    assert tree(here) == before
    for command, outcome in outcomes.items():
        assert outcome.fault == ""
        if command == "explore":
            assert outcome.code == 1
        elif command in ("top", "report") and name in TABLES_ARE_READ:
            assert outcome.code == 0
        else:
            assert (outcome.code, outcome.out, outcome.err) == (1, "", f"StoreError: {text}\n")


#: What is refused at opening besides, each with what is said of it.
OTHER_FILES = {
    "an index": (["create index more on hits (activation)"], "has an index 'more': a scan has tables only. Drop it, or get a fresh copy."),
    "a virtual table": (
        ["create virtual table more using fts5 (a)"],
        "has a virtual table 'more': a scan has tables only. Drop it, or get a fresh copy.",
    ),
    "a table": (["create table more (a text)"], "has a table 'more' that is not that of a scan. Drop what was added, or get a fresh copy."),
    "a column": (
        ["alter table hits add column more text"],
        "has a table 'hits' that is not that of a scan. Drop what was added, or get a fresh copy.",
    ),
    "a table less": (["drop table digests"], "has a table 'digests' that is not that of a scan. Drop what was added, or get a fresh copy."),
    "another name": (
        ["alter table channels rename to more"],
        "has a table 'channels' that is not that of a scan. Drop what was added, or get a fresh copy.",
    ),
    "a long name": (
        [f"create table {'m' * 5000} (a text)"],
        f"has a table '{'m' * 80}' that is not that of a scan. Drop what was added, or get a fresh copy.",
    ),
    "text that is none": (
        ["update settings set json_text = cast(x'ff61' as text) where name = 'version'"],
        "is damaged: it has text that is none. Get a fresh copy, or scan again.",
    ),
    "a shard less": (["delete from shards where shard = 2"], "has rows in its table 'shards' that no scan has. Get a fresh copy, or scan again."),
    "a picture more": (
        ["insert into pictures values (12, 'x.png', 1, null, null)"],
        "has rows in its table 'shards' that no scan has. Get a fresh copy, or scan again.",
    ),
    "a layer in another place": (
        ["update layers set layer_number = 2 - layer_number", "update layers set layer_number = layer_number - 1 where layer_number > 0"],
        "has rows in its table 'layers' that no scan has. Get a fresh copy, or scan again.",
    ),
    "a newline in a name": (
        ["insert or replace into settings values ('model', '\"a\\nb\"')"],
        "has no usable setting 'model'. Get a fresh copy, or scan again.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_that_are_no_scan(name, original, here):
    """What a scan does not have is refused, by its name; a name that is endless is cut."""
    statements, text = OTHER_FILES[name]
    shutil.copy(original, here / "a.scan")
    edit(here / "a.scan", *statements, digests=False)
    for call in (deconvnet.Scan.open, lambda path: Store(path, create=True)):
        assert refused(StoreError, call, "a.scan") == f"'a.scan' {text}"


def test_a_file_whose_end_is_missing(original, here):
    """It is called damaged, in SQLite's words."""
    (here / "a.scan").write_bytes(original.read_bytes()[:8192])
    text = "'a.scan' is damaged: database disk image is malformed. Get a fresh copy, or scan again."
    assert refused(StoreError, deconvnet.Scan.open, "a.scan") == text


def test_what_sqlite_s_own_analysis_leaves_is_no_harm(original, here):
    """ANALYZE and VACUUM, which tools offer, leave a scan."""
    shutil.copy(original, here / "a.scan")
    edit(here / "a.scan", "analyze", "vacuum", digests=False)
    assert tell(here / "a.scan") == tell(original)


def test_a_setting_that_no_scan_can_keep(here):
    """What could not be opened again is not written."""
    with Store("a.scan", create=True) as store:
        text = refused(StoreError, store.begin, {"model": "a\nb"}, [])
    assert text == "a scan cannot keep weights null. Give another one."


def test_what_lies_beside_a_scan(original, here, account):
    """A journal that names another file, or is none, is not given to SQLite, which would remove that file."""
    shutil.copy(original, here / "a.scan")
    journal = here / "a.scan-journal"
    name = str(here / "keep" / "evil.webp").encode()
    page, count, total = 0x40000000 // 4096 + 1, len(name), sum(name)
    tail = struct.pack(">I", page) + name + struct.pack(">II", count, total) + _SUPER_JOURNAL
    journal.write_bytes(bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 0, 0, 1, 512, 4096) + bytes(484) + tail)
    before = tree(here)
    text = f"{str(journal)!r} leads to another file, as no scan's journal does. Remove it, or get a fresh copy."
    assert refused(StoreError, deconvnet.Scan.open, here / "a.scan") == text
    assert tree(here) == before
    journal.unlink()
    os.mkfifo(journal)
    assert refused(StoreError, deconvnet.Scan.open, here / "a.scan") == text
    journal.unlink()
    os.mkfifo(here / "b.scan")
    text = f"{str(here / 'b.scan')!r} is a pipe or a device, not a scan. Name a file."
    assert refused(StoreError, deconvnet.Scan.open, here / "b.scan") == text


def test_a_journal_that_another_process_has_just_removed(original, here, monkeypatch):
    """While a scan runs, its journal comes and goes: one that is gone between two looks at it is none."""
    shutil.copy(original, here / "a.scan")
    (here / "a.scan-journal").write_bytes(b"")
    lstat = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: (lstat(path), str(path).endswith("-journal") and os.unlink(path))[0])
    with deconvnet.Scan.open(here / "a.scan") as scan:
        assert scan.progress() == (12, 12)
    assert not (here / "a.scan-journal").exists()


@pytest.mark.slow
def test_a_scan_is_read_while_it_is_written(original, here):
    """Opened again and again while another process scans into it, a file is never called damaged, and a reader stops no scan."""
    for number in range(2):
        shutil.copytree(original.parent / "photos", here / "photos" / str(number))
    words = ["scan", "photos", "--layer", "features.5", "--shard", "1", "--batch", "1", "--out", "live.scan", "--device", "cpu"]
    seen = set()
    with subprocess.Popen([sys.executable, "-m", "deconvnet", *words], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if Path("live.scan").exists() and shards("live.scan"):
                with deconvnet.Scan.open("live.scan") as scan:
                    scan.store.check_all()
                    seen.add(scan.progress()[0])
        assert process.returncode == 0, process.stderr.read()
    assert len(seen) > 3


def shards(path: str) -> int:
    """Return how many shards a file lists, 0 where it has no table yet."""
    try:
        return rows(path, "select count(*) from shards")[0][0]
    except sqlite3.OperationalError:
        return 0


def test_pictures_elsewhere_are_not_read(original, here, account):
    """With --root, names that lead out of that folder are not followed: absolute ones, and those with '..'."""
    shutil.copytree(original.parent / "photos", here / "photos")
    shutil.copy(original, here / "a.scan")
    with deconvnet.Scan.open("a.scan") as scan:
        first, second = (hit.picture for hit in scan.top("features.1", 0)[:2])
    secret = here / "private" / "secret.png"
    digest = sha256(secret.read_bytes()).hexdigest()
    names = {first: str(secret), second: "../private/secret.png"}
    edit(
        here / "a.scan",
        *(
            f"update pictures set path = '{name}', sha256 = '{digest}' where picture = {number}"
            for number, name in names.items()
        ),
    )
    before = secret.read_bytes()
    with watch(here / "private") as seen, deconvnet.Scan.open("a.scan", root="photos") as scan:
        plate = scan.plate("features.1", [0])
        assert plate.figure()
        built = deconvnet.write_atlas(scan, "site", layers=["features.1"], tile=16)
    assert (seen.opened, secret.read_bytes()) == ([], before)
    said = [
        f"{name} is gone or cannot be read: {name!r} is not below 'photos', and this user has scanned nothing there. It is not read."
        for name in names.values()
    ]
    assert sorted(plate.changed) == sorted(said)
    assert set(said) <= set(built.changed)
    assert not {f"{number}.webp" for number in names} & set(os.listdir("site/pictures"))


def test_only_the_picture_that_was_scanned_is_shown(original, here, account):
    """A picture with another SHA-256, or without one in the scan, is read and not shown: it may be any of the user's."""
    shutil.copytree(original.parent / "photos", here / "photos")
    shutil.copy(original, here / "a.scan")
    drawing(50).save(here / "photos" / "secret.png")
    with deconvnet.Scan.open("a.scan") as scan:
        hits = scan.top("features.1", 0)
    edit(
        here / "a.scan",
        f"update pictures set path = 'secret.png' where picture = {hits[0].picture}",
        f"update pictures set sha256 = null where picture = {hits[1].picture}",
    )
    with deconvnet.Scan.open("a.scan", root="photos") as scan:
        plate = scan.plate("features.1", [0])
        ((_, examples),) = plate.examples()
    assert set(plate.changed) == {
        f"{hits[1].path} has no SHA-256 in the scan to compare it with. It is not shown.",
        "secret.png has changed since the scan: its SHA-256 is another. It is not shown.",
    }
    assert [example.hit.rank for example in examples] == [hit.rank for hit in hits[2:]]


@given(
    st.lists(st.sampled_from(["..", ".", "", "a", "b.png", "...", "~", "C:", "\\", "a..b"]), min_size=1, max_size=6).map(
        "/".join
    )
)
def test_a_name_that_is_inside_stays_inside(name):
    """What counts as a name below a folder leads below it, whatever it is made of; what `scan` itself writes counts."""
    if places.is_inside(name):
        assert os.path.normpath(f"/pictures/{name}/").startswith("/pictures")
    else:
        assert name == "" or name.startswith("/") or ".." in name.split("/")


def test_names_at_an_address_do_not_lead_out_of_it(here):
    """Below a URI there are no names with '..', nor absolute ones."""
    pytest.importorskip("pyarrow.fs", reason='pyarrow is missing: pip install -e ".[ray]"')
    (here / "photos").mkdir()
    uri = (here / "photos").as_uri()
    for name in ("../private/secret.png", str(here / "private" / "secret.png")):
        loaded = source_at(uri).load(0, name, None)
        assert loaded.problem == f"{name!r} is not below {uri!r}, and this user has scanned nothing there. It is not read."
        assert loaded.sha256 is None


# What is the user's own


def test_what_was_scanned_here_is_opened_without_asking(net, here, account):
    """A scan of this account needs no flag; the list holds the folder, and nothing else."""
    drawings(here / "photos", 3)
    deconvnet.scan(net, "photos", "a.scan", layers=["features.1"]).close()
    assert account.read_text() == json.dumps(str(here / "photos")) + "\n"
    assert account.stat().st_mode & 0o077 == 0
    places._scanned_here.clear()  # as in another process
    outcome = run(["plate", "a.scan", "-l", "features.1", "-c", "0", "--out", "plate.png"])
    assert (outcome.code, outcome.out) == (0, "plate.png\n"), outcome.err
    deconvnet.scan(net, "photos", "b.scan", layers=["features.1"]).close()
    assert len(account.read_text().splitlines()) == 1


def test_pictures_from_anywhere_are_known_by_their_folders(net, here, account):
    """Of pictures that are not below one folder, the folders are noted."""
    files = [*drawings(here.parent / "one", 2), *drawings(here.parent / "two", 2, first=2)]
    deconvnet.scan(net, files, "a.scan", layers=["features.1"]).close()
    places._scanned_here.clear()
    assert {json.loads(line) for line in account.read_text().splitlines()} == {
        str(here),
        str(here.parent / "one"),
        str(here.parent / "two"),
    }
    plate = deconvnet.Scan.open("a.scan").plate("features.1", [0])
    assert plate.figure()
    assert plate.changed == []


def test_a_place_is_noted_as_it_was_scanned(here, account):
    """Neither a folder inside a place, nor the one above, nor another way to write it is in the list."""
    assert places.remember([str(here / "photos")])
    places._scanned_here.clear()
    for other in ("photos/private", "photos/..", "photos/", ".", "photos/../private"):
        assert not places.is_remembered(f"{here}/{other}")
    assert places.is_remembered(str(here / "photos"))


def test_a_list_with_broken_lines(account):
    """A line that was cut short, or is something else, is passed over."""
    places.remember(["/a"])
    with open(account, "a") as handle:
        handle.write('"/cut\n{"b": 1}\n\n"/c"\n')
    places._scanned_here.clear()
    assert [place for place in ("/a", "/cut", "/b", "/c") if places.is_remembered(place)] == ["/a", "/c"]


def test_a_home_that_may_only_be_read(net, here, account, monkeypatch):
    """The scan is made all the same; it says that later commands have to be told where its pictures are."""
    (here.parent / "state").write_text("a file in the place of a folder")
    drawings(here / "photos", 3)
    with deconvnet.scan(net, "photos", "a.scan", layers=["features.1"]) as scan:
        assert scan.notes == [
            f"{str(account)!r} cannot be written, so later commands have to be told where pictures and weights are: --root."
        ]
    places._scanned_here.clear()
    command = ["plate", "a.scan", "-l", "features.1", "-c", "0", "--out", "plate.png"]
    assert run(command).code == 1
    assert run([*command, "--root", "photos"]).code == 0


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_is_asked_once(original, here, account, monkeypatch, answer):
    """At a terminal, a yes opens the place and is noted; a no refuses it."""
    questions = []
    monkeypatch.setattr(scan_options, "_is_somebody_there", lambda: True)
    monkeypatch.setattr(scan_options.click, "confirm", lambda text, err: questions.append(text) or answer)
    command = ["plate", str(original), "-l", "features.1", "-c", "0", "--out", "plate.png"]
    photos = str(original.parent / "photos")
    assert run(command).code == (0 if answer else 1)
    assert questions == [
        f"{str(original)!r} has its pictures at {photos!r}, which was not scanned from this account. Read them there?"
    ]
    assert places.is_remembered(photos) == answer
    assert run(command).code == (0 if answer else 1)
    assert len(questions) == (1 if answer else 2)


def test_somebody_s_scan_is_not_continued_into_their_folder(original, net, here, account):
    """Where a scan's folder exists and was not scanned from this account, new pictures are not named from there."""
    shutil.copy(original, here / "a.scan")
    drawings(here / "more", 1, first=40)
    photos = str(original.parent / "photos")
    text = refused(StoreError, deconvnet.scan, net, "more", "a.scan", layers=LAYERS, shard=4)
    assert text == (
        f"'a.scan' has its pictures at {photos!r}, which was not scanned from this account."
        " If it is yours, scan that folder again first, or else choose another name."
    )
    deconvnet.scan(net, photos, "a.scan", layers=LAYERS, shard=4).close()
    with deconvnet.scan(net, "more", "a.scan", layers=LAYERS, shard=4) as scan:
        assert scan.progress() == (13, 13)


# A net in a Python file

NET = """
import pathlib, torch
pathlib.Path({trace!r}).touch()
def make():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()).eval(), pre
from deconvnet.images import Preprocess
pre = Preprocess(32, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""


@pytest.fixture
def own(here, account):
    """A scan of this account with a net from a file, and the file's trace removed."""
    (here / "net.py").write_text(NET.format(trace=str(here / "ran")))
    drawings(here / "photos", 3)
    outcome = run(["scan", "photos", "--model", "file:net.py:make", "--layer", "1", "--out", "a.scan"])
    assert outcome.code == 0, outcome.err
    (here / "ran").unlink()
    return here


PLATE = ["plate", "a.scan", "-l", "1", "-c", "0", "--out", "plate.png"]


def test_a_python_file_runs_only_if_the_user_names_it(own):
    """Not even for one's own scan is a file run because the scan names it."""
    outcome = run(PLATE)
    assert (outcome.code, outcome.fault, (own / "ran").exists()) == (1, "", False)
    outcome = run([*PLATE, "--model", "file:net.py:make"])
    assert (outcome.code, (own / "ran").exists()) == (0, True), outcome.err


def test_a_python_file_that_has_changed_is_not_run(own):
    """The scan keeps the file's SHA-256, and compares it before anything runs; a net that is given needs no file."""
    scanned = sha256((own / "net.py").read_bytes()).hexdigest()
    assert json.loads(rows("a.scan", "select json_text from settings where name = 'model_sha256'")[0][0]) == scanned
    with open("net.py", "a") as handle:
        handle.write("# changed\n")
    found = sha256((own / "net.py").read_bytes()).hexdigest()
    outcome = run([*PLATE, "--model", "file:net.py:make"])
    assert outcome.err == (
        f"StoreError: 'a.scan' was scanned with a Python file of SHA-256 {scanned[:12]}..., file:net.py:make has {found[:12]}..."
        " It was not run. Give the file of the scan, or Scan.open(path, net=net).\n"
    )
    assert not (own / "ran").exists()
    net = deconvnet.DeconvNet(deconvnet.load_model("file:net.py:make"))
    assert deconvnet.Scan.open("a.scan", net=net).plate("1", [0]).figure()


def test_a_net_of_another_size(original, here, net):
    """A scan whose maps are smaller than the net's is refused, where a unit would be looked up in them, or added to them."""
    shutil.copy(original, here / "a.scan")
    edit(
        here / "a.scan",
        "update layers set height = 400, width = 400 where layer_number = 0",
        "update hits set map_row = 300 where layer = 'features.1'",
    )
    sizes = "32x400x400 and 32x46x46"
    text = refused(StoreError, lambda: deconvnet.Scan.open("a.scan").plate("features.1", [0]).figure())
    assert text == f"'a.scan' has layer 'features.1' of another size than the net: {sizes}. Give the net of the scan."
    photos = original.parent / "photos"
    text = refused(StoreError, deconvnet.scan, net, photos, "a.scan", layers=LAYERS, shard=4)
    assert text == f"'a.scan' has layer 'features.1' of another size than the net: {sizes}. Choose another name."


# Edited and damaged files


def commands_of(original: Path, path: str) -> dict[str, list[str]]:
    photos = str(original.parent / "photos")
    return {
        "top": ["top", path, "-l", "features.1", "-c", "0-3", "--csv"],
        "report": ["report", path, "--json", "--out", "report.png"],
        "plate": ["plate", path, "-l", "features.1", "-c", "0", "--out", "plate.png"],
        "atlas": ["atlas", path, "--out", "site", *ATLAS],
        "scan": ["scan", photos, "--layer", "features.1", "--layer", "features.5", "--shard", "4", "--out", path],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=4) | st.dictionaries(st.sampled_from(["resize", "crop", "mean", "std", "x"]), values)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["model", "weights", "weights_from", "size", "preprocess", "layers", "top", "shard", "root"]),
    value=JSON,
)
def test_whatever_a_setting_is_its_form_is_told(name, value):
    """Any JSON in the place of a setting is found faulty, or is one that a scan can have; nothing is raised."""
    good = {
        "model": "tiny",
        "weights": "random",
        "weights_from": "none",
        "size": [3, 96, 96],
        "layers": ["features.1"],
        "top": 9,
        "shard": 512,
        "root": None,
        "preprocess": None,
    }
    assert settings_fault(good) is None
    fault = settings_fault({**good, name: value})
    assert fault in (None, name)
    if fault is None and name in ("top", "shard"):
        assert type(value) is int
        assert value >= 1
    if fault is None and name == "preprocess" and value is not None:
        assert scanned_preprocess(value).resize ** 2 <= MAX_PIXELS
    assert settings_fault({key: kept for key, kept in good.items() if key != name}) == name


@pytest.mark.slow
def test_edited_scans(original, here):
    """A share of the edited scans, each opened by five commands: no traceback, no hang, no file elsewhere, nothing sent or run.

    All of them: benchmarks/hostile_scans.py.
    """
    faults, before, opened = [], tree(here), []
    for change in edits(20):
        for name, words in commands_of(original, "a.scan").items():
            change.write(original, here / "a.scan")
            with watch(here / "private", here / "evil.py", here / "keep") as seen:
                outcome = run(words)
            opened += seen.sent + seen.ran + seen.opened
            if outcome.fault:
                faults.append(f"{name} {change.name} ({change.finish}): {outcome.fault}")
        for made in ("a.scan", "report.png", "plate.png"):
            (here / made).unlink(missing_ok=True)
        shutil.rmtree(here / "site", ignore_errors=True)
        assert tree(here) == before
    assert faults == []
    assert opened == []


@pytest.mark.slow
def test_damaged_scans(original, here):
    """A file with flipped bits or a missing end shows what was scanned, or says that it is damaged."""
    known, refusals, faults = tell(original), 0, []
    for name, data in damages(original.read_bytes(), 40):
        (here / "a.scan").write_bytes(data)
        try:
            if tell(here / "a.scan") != known:
                faults.append(name)
        except StoreError as error:
            refusals += 1
            faults += [f"{name}: {error}"] if "\n" in str(error) else []
        outcome = run(["report", "a.scan"])
        if outcome.fault:
            faults.append(f"{name}: {outcome.fault}")
    assert faults == []
    assert refusals > 20


#: What changes values of each column, in SQL, to others that it could have.
CHANGES = {
    "hits.activation": "activation = activation * 1.001 where hit_rank = 2",
    "hits.map_row": "map_row = map_row + 1 where map_row = (select min(map_row) from hits)",
    "hits.map_col": "map_col = map_col + 1 where map_col = (select min(map_col) from hits)",
    "hits.window_top": "window_top = window_top + 1",
    "hits.window_left": "window_left = window_left + 1",
    "hits.window_height": "window_height = window_height + 1",
    "hits.window_width": "window_width = window_width + 1",
    "hits.picture": "picture = 11 - picture where channel = 5",
    "channels.pictures": "pictures = 12 where channel = 5",
    "channels.fired": "fired = 0 where fired = (select max(fired) from channels)",
    "channels.total": "total = total + 1 where channel = 5",
    "pictures.path": "path = 'x.png' where picture = 6",
    "pictures.bytes": "bytes = bytes + 1 where picture = 6",
    "pictures.sha256": f"sha256 = '{'0' * 64}' where picture = 6",
    "pictures.problem": "problem = 'gone' where picture = 6",
    "layers.height": "height = height + 1",
    "layers.width": "width = width + 1",
    "shards.done": "done = 0 where shard = 2",
    "settings.json_text": "json_text = '\"none\"' where name = 'weights_from'",
    "digests.sha256": f"sha256 = '{'0' * 64}' where part = 'layer features.5'",
    "digests.part": "part = 'layer features.6' where part = 'layer features.5'",
}


@pytest.mark.parametrize("column", CHANGES)
def test_every_value_in_the_file_is_covered(original, tmp_path, column):
    """Whichever value of whichever table is another one, a reader of all of it is told."""
    shutil.copy(original, tmp_path / "a.scan")
    edit(tmp_path / "a.scan", f"update {column.partition('.')[0]} set {CHANGES[column]}", digests=False)
    assert (tmp_path / "a.scan").read_bytes() != original.read_bytes()
    with pytest.raises(
        StoreError, match=r"is damaged: '(settings|layers|shard 2|pictures 2|layer features\.[15])' does not have"
    ):
        tell(tmp_path / "a.scan")


def test_digests_equal_those_of_another_program(original):
    """The digests are SHA-256 sums that anybody can compute: of JSON, and of a layer's numbers as float64 and int64."""

    def of_rows(query: str) -> str:
        return sha256(json.dumps([list(row) for row in rows(original, query)], separators=(",", ":")).encode()).hexdigest()

    written = dict(rows(original, "select part, sha256 from digests"))
    assert len(written) == 2 + 2 * 3 + len(LAYERS)
    assert written["settings"] == of_rows("select * from settings order by name")
    assert written["layers"] == of_rows("select * from layers order by layer_number")
    for number, first in ((1, 0), (2, 4), (3, 8)):
        assert written[f"shard {number}"] == of_rows(f"select * from shards where shard = {number}")
        assert written[f"pictures {number}"] == of_rows(
            f"select * from pictures where picture between {first} and {first + 3} order by picture"
        )
    for layer in LAYERS:
        hits = rows(original, f"select * from hits where layer = '{layer}' order by channel, hit_rank")
        counts = rows(original, f"select * from channels where layer = '{layer}' order by channel")
        packed = b"".join(struct.pack("<10d", *row[1:]) for row in hits) + b"".join(
            struct.pack("<4q", *row[1:]) for row in counts
        )
        assert written[f"layer {layer}"] == sha256(packed).hexdigest()


def test_a_scan_in_parts_has_the_digests_of_one(net, original, tmp_path):
    """Scanned in one run or continued, the digests are the same, and those of a file that is read back."""
    photos = sorted((original.parent / "photos").iterdir())
    for count in (4, 8, 12):
        deconvnet.scan(net, photos[:count], tmp_path / "a.scan", layers=LAYERS, shard=4).close()
    deconvnet.scan(net, photos, tmp_path / "b.scan", layers=LAYERS, shard=4).close()
    assert dump(tmp_path / "a.scan", "digests", "hits") == dump(tmp_path / "b.scan", "digests", "hits")
    before = dump(tmp_path / "a.scan", "digests")
    edit(tmp_path / "a.scan")
    assert dump(tmp_path / "a.scan", "digests") == before


def test_a_damaged_scan_is_not_continued(net, original, here):
    """What was damaged would otherwise be merged and written with new digests."""
    shutil.copy(original, "a.scan")
    edit(
        here / "a.scan",
        "update hits set activation = 99.0 where hit_rank = 1 and channel = 3 and layer = 'features.5'",
        digests=False,
    )
    text = refused(StoreError, deconvnet.scan, net, original.parent / "photos", "a.scan", layers=LAYERS, shard=4)
    assert text == (
        "'a.scan' is damaged: 'layer features.5' does not have the digest that it was written with."
        " Get a fresh copy, or scan again."
    )
    with deconvnet.Scan.open("a.scan") as scan:
        assert len(scan.top("features.1", 3)) == 9  # of a part that is whole
        assert refused(StoreError, scan.top, "features.5", 3) == text
        assert refused(StoreError, scan.statistics, "features.5") == text


def test_a_scan_without_digests_says_so(original, here):
    """A file of a former format is read, and its summary says that damage might not be noticed."""
    shutil.copy(original, "a.scan")
    edit(here / "a.scan", "drop table digests", "update settings set json_text = '2' where name = 'format'", digests=False)
    line = "This file has no digests, as a former version wrote it: damage might not be noticed. To add them, scan again."
    with deconvnet.Scan.open("a.scan") as scan:
        assert scan.summary().splitlines()[-1] == line
    with deconvnet.Scan.open(original) as scan:
        assert line not in scan.summary()


# Ctrl-C, time, names


def test_ctrl_c_reaches_sqlite(original):
    """A query that takes long is stopped as soon as somebody wants it."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n"
    with Store(original) as store:
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        begun = time.perf_counter()
        with pytest.raises(KeyboardInterrupt):
            store.rows(endless)
        assert time.perf_counter() - begun < 5
        timer.join()
        assert store.rows("select 1") == [(1,)]


def made_up(path: Path, original: Path, pictures: int, kinds: int) -> None:
    """Write a scan of made-up pictures, of which each `kinds`-th is the same file."""
    shutil.copy(original, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("begin")
        for table in ("pictures", "shards", "hits"):
            base.execute(f"delete from {table}")
        base.execute("delete from digests")
        base.execute("update channels set pictures = 0, fired = 0, total = 0")
        base.executemany(
            "insert into pictures values (?, ?, 1, ?, ?)",
            (
                (number, f"{number}.jpg", f"{number % kinds:064x}", "bad" if number % 1000 == 7 else None)
                for number in range(pictures)
            ),
        )
        base.executemany(
            "insert into shards values (?, ?, ?, 1)",
            ((1 + first // 512, first, min(512, pictures - first)) for first in range(0, pictures, 512)),
        )
        Digests(base).renew_all()
        base.execute("commit")


@pytest.mark.parametrize(("pictures", "kinds"), [(3000, 2900), (3000, 700), (3000, 1), (3000, 3000)])
def test_copies_are_those_that_a_slow_search_finds(original, tmp_path, pictures, kinds):
    """Each later picture with the digest of an earlier one stands beside the first of them; what was skipped is neither."""
    made_up(tmp_path / "a.scan", original, pictures, kinds)
    first: dict[int, int] = {}
    slow = []
    for number in range(pictures):
        if number % 1000 != 7 and first.setdefault(number % kinds, number) != number:
            slow.append((f"{number}.jpg", f"{first[number % kinds]}.jpg"))
    with deconvnet.Scan.open(tmp_path / "a.scan") as scan:
        assert scan.copies() == slow


def test_copies_take_no_quadratic_time(original, tmp_path):
    """Among 100,000 pictures they are found in about a second; in benchmarks/scan.py, among 3,000,000."""
    made_up(tmp_path / "a.scan", original, 100_000, 99_000)
    with deconvnet.Scan.open(tmp_path / "a.scan") as scan:
        begun = time.perf_counter()
        assert len(scan.copies()) == 999
        assert time.perf_counter() - begun < 10  # 0.4 s where it was measured; it took 280 s


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t"])
def test_csv_cells_are_no_formulas(net, here, account, begin):
    """A name that a spreadsheet would take for a formula stands behind an apostrophe; numbers stay numbers."""
    name = f"{begin}cmd|' calc'!A0.png"
    drawings(here / "photos", 2)
    (here / "photos" / "00.png").rename(here / "photos" / name)
    deconvnet.scan(net, "photos", "a.scan", layers=["features.0"]).close()
    table = list(csv.DictReader(io.StringIO(run(["top", "a.scan", "-l", "features.0", "-c", "0-31", "--csv"]).out)))
    assert {row["path"] for row in table} == {f"'{name}", "01.png"}
    assert any("-1" in (row["top"], row["left"]) for row in table)


# The atlas


def test_names_are_checked_when_they_are_written(original, here, tmp_path):
    """Whatever name reaches the folder, only an atlas's own are written, read or removed, and through no link."""
    folder = AtlasFolder(here / "site", {})
    folder.claim(["index.html", "pictures/1.webp"])
    for name in ("../keep/evil.webp", "pictures/../../keep/evil.webp", "/etc/passwd", "pictures/evil.webp", "keep/1.webp", ""):
        text = f"{name!r} is no name of an atlas's file. Name another folder: nothing in this one was touched."
        for call in (folder.place, lambda name: folder.write(name, b"theirs"), folder.drop):
            assert refused(OptionError, call, name) == text
    (here / "site" / "pictures").rmdir()
    (here / "site" / "pictures").symlink_to(here / "keep")
    link = str(here / "site" / "pictures")
    text = f"{link!r} is a link, and an atlas has none. Name another folder: nothing in this one was touched."
    assert refused(OptionError, folder.write, "pictures/1.webp", b"theirs") == text
    (here / "site" / "index.html").symlink_to(here / "keep" / "evil.webp")
    assert refused(OptionError, folder.write, "index.html", b"theirs").startswith(
        f"{str(here / 'site' / 'index.html')!r} is a link"
    )
    assert (here / "keep" / "evil.webp").read_bytes() == b"mine"


def test_a_figure_of_too_many_layers(original):
    """A figure has a row for each layer, up to what can be drawn."""
    with deconvnet.Scan.open(original) as scan:
        reports = [layer_report(scan, "features.1")] * 251
        text = refused(OptionError, plot, scan, reports)
    assert text == "a figure of 251 layers would be too tall: 250 at most. Choose layers: --layer."


def test_dollar_signs_in_names_are_letters(original, here):
    """A name that would be a faulty formula for Matplotlib is drawn as it is."""
    shutil.copy(original, here / "a.scan")
    name = "$\\frac$"
    changes = [f"update {table} set layer = '{name}' where layer = 'features.1'" for table in ("layers", "hits", "channels")]
    edit(here / "a.scan", *changes, *set_to(model=name, layers=[name, "features.5"]), "delete from digests")
    outcome = run(["report", "a.scan", "--out", "report.png"])
    assert (outcome.code, outcome.fault) == (0, ""), outcome.err


def test_a_sheet_that_would_fill_the_memory(original, here):
    """A scan with a huge `top` makes no huge sheets."""
    shutil.copy(original, "a.scan")
    edit(here / "a.scan", *set_to(top=65_536))
    with deconvnet.Scan.open("a.scan") as scan:
        text = refused(OptionError, deconvnet.write_atlas, scan, "site", tile=96)
    assert text == "tile cannot be 96: the sheet of 65,536 tiles would be too large. Give a smaller tile."


def test_too_many_pictures_per_channel(net, original, here):
    """What no file may hold is not scanned either."""
    text = refused(OptionError, deconvnet.scan, net, original.parent / "photos", "a.scan", top=65_537)
    assert text == "top cannot be 65537: it is at most 65,536 pictures per channel."
