"""The scan's file: killed and resumed, stopped, shared, extended, refused, and readable by anybody."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps

import deconvnet
from deconvnet.errors import StoreError
from deconvnet.scanning import store as store_module
from deconvnet.scanning.store import Store
from support.scans import drawing, drawings, dump, rows

TABLES = ("hits", "channels", "pictures", "shards", "digests")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("drawings"), 12)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of 192 pictures: 24 drawings, mirrored and turned."""
    folder = tmp_path_factory.mktemp("many")
    for seed in range(24):
        for turn in range(4):
            picture = drawing(seed).rotate(90 * turn)
            picture.save(folder / f"{seed:02d}-{turn}.png")
            ImageOps.mirror(picture).save(folder / f"{seed:02d}-{turn}m.png")
    return folder


SHARDS = {"shard": 4, "batch": 4, "workers": 2}


@pytest.fixture(scope="module")
def undisturbed(net, many, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "a.scan"
    deconvnet.scan(net, many, path, **SHARDS)
    return dump(path, *TABLES)


def scan_one(net, paths, path, **options):
    return deconvnet.scan(net, paths, path, layers=["features.1"], **options)


# Killed and stopped


def start(many: Path, path: Path) -> subprocess.Popen[str]:
    """Start the command as people do."""
    options = [f"--{name}={value}" for name, value in SHARDS.items()]
    command = [sys.executable, "-m", "deconvnet", "scan", str(many), "--out", str(path), "--device", "cpu", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def shards_done(path: Path) -> int:
    """Look from outside how many shards are done; -1 where there is no table yet."""
    try:
        return rows(path, "select count(*) from shards where done")[0][0]
    except sqlite3.OperationalError:  # no file, no table, or just being written
        return -1


def wait_until(process: subprocess.Popen[str], ready) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_five_times_it_ends_in_the_same_bytes(net, many, undisturbed, tmp_path):
    """kill -9 at random moments loses at most the shard in progress; continued each time, every table ends as if undisturbed."""
    path, chance, before = tmp_path / "a.scan", random.Random(0), -1
    for attempt in range(5):
        process = start(many, path)
        wait_until(process, path.exists if attempt == 0 else lambda seen=before: shards_done(path) > max(seen, 0))
        time.sleep(chance.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it was done before it was killed"
        with closing(sqlite3.connect(path)) as base:  # rolls back the unfinished transaction, as any reader does
            assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
        done = shards_done(path)
        assert done >= before
        before = done
    assert 0 < before < 48
    scan = deconvnet.scan(net, many, path, **SHARDS)
    assert scan.progress() == (192, 192)
    assert dump(path, *TABLES) == undisturbed


def test_ctrl_c_leaves_a_good_file_and_says_how_to_continue(net, many, undisturbed, tmp_path):
    """SIGINT: exit code 130, a line on what is done and how to continue, no traceback; continued, the file ends as if undisturbed."""
    for attempt in range(5):  # a fast machine may be done before the signal arrives
        path = tmp_path / f"{attempt}.scan"
        process = start(many, path)
        wait_until(process, lambda: shards_done(path) > 0)  # noqa: B023
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if process.returncode:
            break
    assert process.returncode == 130
    assert out == ""
    match = re.fullmatch(
        r"\n(\d+) of 192 pictures are done and kept in (.*)\. The same command continues from there\.\n+stopped\.\n", err
    )
    assert match, err
    assert match[2] == str(path)
    assert int(match[1]) == 4 * shards_done(path) < 192
    deconvnet.scan(net, many, path, **SHARDS)
    assert dump(path, *TABLES) == undisturbed


def test_stopped_from_within_it_keeps_whole_shards(net, paths, tmp_path):
    """If the dataset itself stops everything, the shards before are kept, and the one in progress is not."""

    class Stops(torch.utils.data.Dataset):
        stops = True

        def __len__(self):
            return len(paths)

        def __getitem__(self, number):
            if self.stops and number == 7:
                raise KeyboardInterrupt
            with Image.open(paths[number]) as picture:
                return picture.convert("RGB")

    pictures = Stops()
    options = {"shard": 3, "batch": 2, "workers": 2}
    with pytest.raises(KeyboardInterrupt):
        scan_one(net, pictures, tmp_path / "a.scan", **options)
    assert rows(tmp_path / "a.scan", "select done from shards") == [(1,), (1,), (0,), (0,)]
    assert deconvnet.Scan.open(tmp_path / "a.scan").progress() == (6, 12)
    pictures.stops = False
    assert scan_one(net, pictures, tmp_path / "a.scan", **options).progress() == (12, 12)
    scan_one(net, pictures, tmp_path / "b.scan", **options)
    assert dump(tmp_path / "a.scan", *TABLES) == dump(tmp_path / "b.scan", *TABLES)


def test_a_shard_is_one_transaction(net, paths, tmp_path, monkeypatch):
    """If the last write of a shard fails, nothing of the shard is in the file."""
    commit, calls = Store.commit, []

    def failing(self, shard, pictures, hits, statistics, digests):
        calls.append(shard)
        bad = ((None,) * 4 for _ in range(1)) if len(calls) == 2 else statistics
        return commit(self, shard, pictures, hits, bad, digests)

    monkeypatch.setattr(Store, "commit", failing)
    with pytest.raises(sqlite3.ProgrammingError, match="Incorrect number of bindings"):
        scan_one(net, paths, tmp_path / "a.scan", shard=6)
    monkeypatch.undo()
    scan_one(net, paths[:6], tmp_path / "half.scan", shard=6)
    assert dump(tmp_path / "a.scan", "hits", "channels") == dump(tmp_path / "half.scan", "hits", "channels")
    assert rows(tmp_path / "a.scan", "select picture from pictures where sha256 is null") == [
        (number,) for number in range(6, 12)
    ]


# Shared


def test_two_scans_on_one_file(net, paths, tmp_path):
    """The scan that finds that another has written stops with a line; what the other wrote is whole."""
    path, pixels = tmp_path / "a.scan", torch.stack([net.preprocess(one) for one in paths])

    class Interfering(torch.utils.data.Dataset):
        begun = False

        def __len__(self):
            return len(paths)

        def __getitem__(self, number):
            if number == 3 and not self.begun:
                self.begun = True
                scan_one(net, pixels, path, shard=4)
            return pixels[number]

    with pytest.raises(StoreError) as error:
        scan_one(net, Interfering(), path, shard=4, workers=1)
    assert str(error.value) == f"{str(path)!r} is in use by another scan. Wait for it, or choose another name."
    scan_one(net, pixels, tmp_path / "b.scan", shard=4)
    assert dump(path, *TABLES) == dump(tmp_path / "b.scan", *TABLES)


def test_a_locked_file(net, paths, tmp_path):
    """While another process writes, other writes are refused in the same words; reading is possible."""
    path = tmp_path / "a.scan"
    scan_one(net, paths[:2], path)
    with Store(path, create=True) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        store.connection.execute("pragma busy_timeout = 0")
        other.execute("begin immediate")
        assert len(deconvnet.Scan.open(path).top("features.1", 0)) == 2
        with pytest.raises(StoreError) as error:
            store.extend(["new.png"], 4)
    assert str(error.value) == f"{str(path)!r} is in use by another scan. Wait for it, or choose another name."


# Extended


def count_images(net, monkeypatch):
    """Count the pictures that go through the model; images of zeros, which tell its layers, are none."""
    counts = []
    handle = net.model.features[0].register_forward_pre_hook(
        lambda module, inputs: counts.append(int(inputs[0].flatten(1).any(1).sum()))
    )
    return counts, handle


def test_only_new_pictures_are_run(net, paths, tmp_path, monkeypatch):
    """The same command again runs nothing; of new pictures, only these are run, whatever their names, and get the next numbers."""
    folder = tmp_path / "photos"
    drawings(folder, 10, first=2)
    scan_one(net, folder, tmp_path / "a.scan", shard=4)
    counts, handle = count_images(net, monkeypatch)
    with handle:
        scan_one(net, folder, tmp_path / "a.scan", shard=4)
        assert sum(counts) == 0
        drawings(folder, 2)
        scan = scan_one(net, folder, tmp_path / "a.scan", shard=4)
        assert sum(counts) == 2
    assert rows(scan.path, "select picture, path from pictures where picture > 8") == [
        (9, "11.png"),
        (10, "00.png"),
        (11, "01.png"),
    ]
    assert scan.notes == []
    assert scan.progress() == (12, 12)
    assert (scan.statistics("features.1")["pictures"] == 12).all()


def test_gone_and_changed_pictures_are_named(net, tmp_path):
    """A second run names pictures that are gone, have another size, are not asked for, or could not be read and have changed."""
    folder = tmp_path / "photos"
    names = drawings(folder, 5)
    (folder / "bad.png").write_bytes(b"")
    before = dump(scan_one(net, folder, tmp_path / "a.scan").path, "hits")
    names[0].unlink()
    drawing(0).resize((50, 60)).save(names[1])
    drawing(7).save(folder / "bad.png")
    scan = scan_one(net, folder, tmp_path / "a.scan")
    assert scan.notes == [
        "00.png is gone; its entries are kept.",
        "01.png has changed; the entries of the old picture are kept. To scan the new one, use a new file.",
        "bad.png was skipped and has changed. To scan it, use a new file.",
    ]
    assert dump(scan.path, "hits") == before
    assert scan.summary().splitlines()[-3:] == scan.notes
    narrowed = scan_one(net, names[3:], tmp_path / "a.scan")
    assert "02.png is no longer asked for; its entries are kept." in narrowed.notes


def test_another_folder_adds_its_pictures(net, tmp_path):
    """Pictures of a second folder are added under their whole paths, also if they have names of the first."""
    drawings(tmp_path / "one", 2)
    drawing(9).save(drawings(tmp_path / "two", 1)[0])
    scan_one(net, tmp_path / "one", tmp_path / "a.scan")
    scan = scan_one(net, tmp_path / "two", tmp_path / "a.scan")
    assert scan.paths() == {0: "00.png", 1: "01.png", 2: str(tmp_path / "two/00.png")}
    assert scan.progress() == (3, 3)
    assert scan.plate("features.1", [0]).figure()
    assert not scan.plate("features.1", [0]).changed


def test_a_folder_that_was_moved_is_known_again(net, tmp_path):
    """If the first folder is gone, the same command for its new place runs nothing, and notes the new place."""
    drawings(tmp_path / "one", 3)
    scan_one(net, tmp_path / "one", tmp_path / "a.scan")
    os.rename(tmp_path / "one", tmp_path / "two")
    scan = scan_one(net, tmp_path / "two", tmp_path / "a.scan")
    assert (scan.progress(), scan.notes) == ((3, 3), [])
    again = deconvnet.Scan.open(tmp_path / "a.scan", net=net)
    assert again.settings["root"] == str(tmp_path / "two")
    plate = again.plate("features.1", [0])
    assert plate.figure()
    assert plate.changed == []


# Refused


def test_other_settings_are_refused_with_the_difference(net, tiny, paths, tmp_path):
    """Another model, weights, preprocessing, layers, count or shard on the same file: each difference is shown."""
    path = tmp_path / "a.scan"
    scan_one(net, paths[:2], path)
    before, start = path.read_bytes(), f"{str(path)!r} was scanned with other settings: "
    end = ". Give the same ones, or choose another name."
    random_net = deconvnet.DeconvNet(deconvnet.load_model("tiny", weights="none"))
    larger = deconvnet.DeconvNet(tiny.with_preprocess(mean=(0.4, 0.5, 0.6)))
    reduced = deconvnet.DeconvNet(tiny.with_preprocess(decode="reduced"))
    cases = [
        (net, {"layers": ["features.1", "features.5"]}, 'layers ["features.1"], not ["features.1", "features.5"]'),
        (net, {"layers": ["features.1"], "top": 5, "shard": 8}, "top 9, not 5; shard 512, not 8"),
        (random_net, {"layers": ["features.1"]}, f'weights "{net.loaded.weights_hash()[:19]}...", not "random"'),
        (larger, {"layers": ["features.1"]}, "mean [0.5, 0.5, 0.5], not [0.4, 0.5, 0.6]"),
        (
            net,
            {"layers": ["features.1"], "precision": "bf16", "inside": True},
            'inside false, not true; precision "fp32", not "bf16"',
        ),
        (
            reduced,
            {"layers": ["features.1"]},
            'decode "exact", not "reduced"',
        ),
    ]
    for other_net, options, difference in cases:
        with pytest.raises(StoreError) as error:
            deconvnet.scan(other_net, paths[:2], path, **options)
        assert str(error.value) == start + difference + end
    assert path.read_bytes() == before


def test_what_is_no_scan_is_refused(net, paths, tmp_path):
    """A text file, another database, a scan of another format, a folder, a missing folder: one line each, nothing touched."""
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at\n" * 20)
    with closing(sqlite3.connect(tmp_path / "other.db")) as base:
        base.execute("create table films (title text)")
    scan_one(net, paths[:2], tmp_path / "old.scan")
    with closing(sqlite3.connect(tmp_path / "old.scan")) as base, base:
        base.execute("update settings set json_text = '0' where name = 'format'")
    (tmp_path / "folder").mkdir()
    text = {
        "notes.txt": "is not a scan: it is a text. {advice}",
        "other.db": "is an SQLite file, but not a scan. {advice}",
        "old.scan": "has format 0, this version reads 1, 2 and 3. Scan again.",
        "folder": "is a folder. Name a file in it.",
    }
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name, rest in text.items():
        written, read = "Choose another name.", "Give a file that deconvnet scan has written."
        for do, advice in ((lambda path: scan_one(net, paths, path), written), (deconvnet.Scan.open, read)):
            with pytest.raises(StoreError) as error:
                do(tmp_path / name)
            assert str(error.value) == f"{str(tmp_path / name)!r} {rest.format(advice=advice)}"
    missing = tmp_path / "no" / "a.scan"
    with pytest.raises(StoreError) as error:
        scan_one(net, paths, missing)
    assert str(error.value) == f"cannot write {str(missing)!r}: there is no folder {str(missing.parent)!r}. Make it first."
    with pytest.raises(StoreError) as error:
        deconvnet.Scan.open(missing)
    assert str(error.value) == f"there is no scan at {str(missing)!r}. Make one: deconvnet scan PICTURES --out {missing}"
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_an_empty_file_becomes_a_scan_and_is_none_yet(net, paths, tmp_path):
    """The file of a scan that was killed before it began can be scanned into; to open it is refused, with the reason."""
    path = tmp_path / "a.scan"
    path.touch()
    with pytest.raises(StoreError) as error:
        deconvnet.Scan.open(path)
    assert str(error.value) == f"there is no scan at {str(path)!r}. Make one: deconvnet scan PICTURES --out {path}"
    assert scan_one(net, paths[:2], path).progress() == (2, 2)
    with closing(sqlite3.connect(tmp_path / "b.scan")) as base:
        base.execute("vacuum")  # a database without a table
    with pytest.raises(StoreError) as error:
        deconvnet.Scan.open(tmp_path / "b.scan")
    assert str(error.value) == f"{str(tmp_path / 'b.scan')!r} is an empty scan: it was stopped before it began. Scan again."


def test_a_file_that_may_not_be_written(net, paths, tmp_path):
    """A file that may only be read can be opened; to scan into it is refused in one line."""
    if os.geteuid() == 0:
        pytest.skip("root may write everything")
    path = tmp_path / "a.scan"
    scan_one(net, paths[:2], path)
    path.chmod(0o400)
    assert deconvnet.Scan.open(path).progress() == (2, 2)
    with pytest.raises(StoreError) as error:
        scan_one(net, paths[:3], path)
    assert str(error.value) == f"cannot use {str(path)!r}: attempt to write a readonly database. Check the path and the disk."


# Documented


def documented() -> dict[str, list[str]]:
    """Read tables and columns from the table in the file's docstring."""
    documented = {}
    for name, _, columns in re.findall(r"^\| (\w+) \| ([^|]+) \| (.+) \|$", store_module.__doc__, re.M):
        if name != "table":
            documented[name] = re.sub(r" \([^)]*\)", "", columns).partition(":")[0].split(", ")
    return documented


def test_the_file_has_the_documented_tables(net, paths, tmp_path):
    """Tables and columns are those of the documentation, in its order; nothing else is in the file."""
    scan = scan_one(net, paths[:2], tmp_path / "a.scan")
    tables = [name for (name,) in rows(scan.path, "select name from sqlite_master where type = 'table' order by rowid")]
    known = documented()
    assert sorted(tables) == sorted(known)
    for name in tables:
        assert [row[1] for row in rows(scan.path, f"pragma table_info({name})")] == known[name]
    line = re.search(r"\| settings \| .*: (.*), and what", store_module.__doc__)[1]
    assert set(line.split(", ")) <= set(scan.settings)


def test_the_documented_query_works(net, paths, tmp_path):
    """The query that the documentation shows prints a channel's pictures, strongest first."""
    scan = scan_one(net, paths, tmp_path / "a.scan")
    query = " ".join(re.search(r'sqlite3 net\.scan "(select.*?)"', store_module.__doc__, re.S)[1].split())
    assert "'features.10'" in query
    printed = rows(scan.path, query.replace("features.10", "features.1").replace("151", "7"))
    assert printed == [(hit.path, hit.activation, hit.row, hit.col) for hit in scan.top("features.1", 7)]
    assert len(printed) == 9


def test_the_file_does_not_tell_of_time_or_machine(net, paths, tmp_path):
    """Two scans of the same pictures are the same file, byte for byte."""
    for name in ("a.scan", "b.scan"):
        scan_one(net, paths, tmp_path / name, shard=5).close()
    assert (tmp_path / "a.scan").read_bytes() == (tmp_path / "b.scan").read_bytes()
