"""What reads the pictures of a scan: threads or processes give the same, and whatever ends a process ends well."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deconvnet
from deconvnet.errors import DeconvnetWarning, OptionError, PictureError
from deconvnet.images import Preprocess, limits, reading_process
from deconvnet.scanning import reading
from support.scans import drawing, drawings, dump

TABLES = ("layers", "pictures", "shards", "hits", "channels", "digests")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of many kinds: good ones, an animation, 16 bits, transparency, turned, damaged, empty, huge, a text."""
    folder = tmp_path_factory.mktemp("photos")
    drawings(folder, 8)
    picture = drawing(8)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=exif)
    picture.convert("L").save(folder / "grey.png")
    picture.convert("RGBA").save(folder / "clear.webp")
    picture.save(folder / "moving.gif", save_all=True, append_images=[drawing(9)])
    picture.save(folder / "waves.jp2")
    Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 16).save(folder / "deep.png")
    (folder / "cut.jpg").write_bytes((folder / "turned.jpg").read_bytes()[:700])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return folder


@pytest.fixture
def children(monkeypatch):
    """Reading processes of this test's own, and their pool."""
    pool = reading_process._Pool()
    monkeypatch.setattr(reading_process, "_pool", pool)
    yield pool
    pool.stop_all()


def saved(picture: Image.Image, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    picture.save(data, form)
    return data.getvalue()


def scan_with(net, photos, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return deconvnet.scan(net, photos, path, layers=["features.1", "features.4"], shard=7, **options)


# The same, whatever reads


def test_processes_do_not_change_a_byte(net, photos, tmp_path):
    """Threads and processes, one and several: the same table, the same digests of files, the same lines on bad pictures."""
    tables = {}
    for kind, workers in (("threads", 1), ("processes", 1), ("processes", 3)):
        with scan_with(net, photos, tmp_path / f"{kind}-{workers}.scan", readers=kind, workers=workers) as scan:
            tables[kind, workers] = dump(scan.path, *TABLES), scan.notes, scan.skipped()
    first, *others = tables.values()
    assert all(other == first for other in others)
    assert len(first[2]) == 4  # cut, empty, text, bomb
    assert any("several frames" in note for note in first[1])


def test_pixels_equal_those_of_this_process(children):
    """Grey and colour, a range of values, another filter: what a child crops is what `crop_pixels` gives."""
    deep = io.BytesIO()
    Image.fromarray(np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)).save(deep, "PNG")
    for mean, extra in (((0.5,), {}), ((0.5,) * 3, {"interpolation": "bicubic"}), ((0.1,) * 3, {"value_range": (0.0, 900.0)})):
        preprocess = Preprocess(32, (20, 24), mean, mean, **extra)
        for data in (deep.getvalue(), saved(drawing(1))):
            pixels, notes = reading_process.crop(data, "a.png", asdict(preprocess))
            assert np.array_equal(pixels, preprocess.crop_pixels("a.png", data=io.BytesIO(data)))
            assert pixels.shape == (20, 24, len(mean))
            assert notes == []
    assert len(children._idle) == 1


@pytest.mark.parametrize(
    ("kind", "workers", "cores", "expected"),
    [
        (None, None, 2, "threads 2"),
        (None, None, 4, "threads 4"),
        (None, None, 5, "processes 5"),
        (None, None, 128, "processes 32"),
        (None, 4, 128, "threads 4"),
        (None, 6, 2, "processes 6"),
        ("threads", None, 128, "threads 16"),
        ("processes", None, 1, "processes 2"),
    ],
)
def test_what_reads_follows_the_number_of_workers(monkeypatch, kind, workers, cores, expected):
    """Up to four pictures at once are read by threads, more by processes, unless something else is asked for."""
    monkeypatch.setattr(reading, "usable_cores", lambda: cores)
    preprocess = Preprocess(8, 8, (0.5,), (0.5,))
    with reading.reading(preprocess, workers, kind) as (_, used, count):
        assert f"{'processes' if isinstance(used, reading.CropsInProcesses) else 'threads'} {count}" == expected


def test_other_readers_are_refused(net, photos, tmp_path):
    """Readers have two names; they are of this process's scans."""
    for options, text in (
        ({"readers": "forks"}, "readers cannot be 'forks': it is one of threads, processes."),
        (
            {"readers": "threads", "engine": "ray"},
            "readers is for scans by this process, this one is on Ray. Leave it out, or take the engine 'local'.",
        ),
    ):
        with pytest.raises(OptionError) as caught:
            scan_with(net, photos, tmp_path / "net.scan", **options)
        assert str(caught.value) == text
    assert not (tmp_path / "net.scan").exists()


# What may happen to a process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_killed_processes_lose_no_picture(net, tmp_path, children, monkeypatch):
    """`kill -9`, or the system that runs out of memory, ends the first process that has each picture: the next one reads it."""
    drawings(tmp_path / "in", 12)
    crop, seen = reading_process.ReadingProcess.crop, set()

    def crop_or_die(self, data, name, preprocess):
        if name not in seen:
            seen.add(name)
            os.kill(self._child.pid, signal.SIGKILL)
        return crop(self, data, name, preprocess)

    monkeypatch.setattr(reading_process.ReadingProcess, "crop", crop_or_die)
    for kind in ("processes", "threads"):
        with scan_with(net, tmp_path / "in", tmp_path / kind, readers=kind, workers=2) as scan:
            assert scan.skipped() == []
    assert len(seen) == 12
    assert dump(tmp_path / "processes", *TABLES) == dump(tmp_path / "threads", *TABLES)


def test_a_picture_that_ends_two_processes_is_named(children, monkeypatch):
    """A picture with which one process after another dies is damaged; the next one is read."""
    monkeypatch.setattr(reading_process, "_START", "import os, sys; sys.stdin.buffer.read(9); os.abort()")
    preprocess = asdict(Preprocess(32, 24, (0.5,), (0.5,)))
    with pytest.raises(PictureError) as caught:
        reading_process.crop(saved(drawing(1)), "a.png", preprocess)
    assert str(caught.value) == "cannot open 'a.png': the picture is damaged or cut short. Get a fresh copy."
    assert not children._idle
    monkeypatch.undo()
    monkeypatch.setattr(reading_process, "_pool", children)
    assert reading_process.crop(saved(drawing(1)), "a.png", preprocess)[0].shape == (24, 24, 1)


def test_a_process_that_hangs_is_ended(children, monkeypatch):
    """A process that hangs on a picture is ended by the clock; the picture is named, and is not tried again."""
    monkeypatch.setattr(reading_process, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(reading_process, "PATIENCE", 0.2 / limits.MAX_SECONDS)
    started = time.monotonic()
    with pytest.raises(PictureError) as caught:
        reading_process.crop(saved(drawing(1)), "a.png", asdict(Preprocess(32, 24, (0.5,), (0.5,))))
    text = "cannot open 'a.png': decoding it takes more than 30 seconds. Save it anew, as PNG or JPEG."
    assert str(caught.value) == text
    assert time.monotonic() - started < 10
    assert not children._idle
    assert not children._busy


def test_without_processes_threads_read(net, photos, tmp_path, children, monkeypatch):
    """Where no process can be started, or what is started is no Python, one line says that threads read."""

    def forbidden(*args, **kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    with pytest.warns(DeconvnetWarning, match="^processes cannot be started here, so threads read the pictures.$"):
        deconvnet.scan(net, photos, tmp_path / "a.scan", layers=["features.1"], readers="processes").close()
    monkeypatch.undo()
    monkeypatch.setattr(reading_process, "_pool", children)
    monkeypatch.setattr(reading_process, "_START", "print('this is no reader')")
    with pytest.warns(DeconvnetWarning, match="^processes cannot be started here, so threads read the pictures.$"):
        deconvnet.scan(net, photos, tmp_path / "b.scan", layers=["features.1"], readers="processes").close()
    assert dump(tmp_path / "a.scan", *TABLES) == dump(tmp_path / "b.scan", *TABLES)


def test_processes_that_can_no_longer_be_started(children, monkeypatch):
    """Where the system has no more processes in the middle of a scan, pictures are read here, and a line says so."""
    preprocess = reading.CropsInProcesses.of(Preprocess(32, 24, (0.5,) * 3, (0.5,) * 3))

    def forbidden(*args, **kwargs):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", forbidden)
    text = "^no more processes can be started here, so threads read the pictures.$"
    with pytest.warns(DeconvnetWarning, match=text):
        pixels = preprocess.crop_pixels("a.png", data=io.BytesIO(saved(drawing(1))), on_note=print)
    assert np.array_equal(pixels, Preprocess(32, 24, (0.5,) * 3, (0.5,) * 3).crop_pixels(drawing(1)))


def test_a_preprocessing_of_ones_own_is_read_by_threads(tiny, photos, tmp_path):
    """Code of a user's is not sent to a process: asked for processes, a line says that threads read."""

    class Mirrored(Preprocess):
        def crop_picture(self, picture, **options):
            return super().crop_picture(picture, **options).transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    own = deconvnet.DeconvNet(tiny, preprocess=Mirrored(**asdict(deconvnet.DeconvNet(tiny).preprocess)))
    text = "^this net's preprocessing is code of its own, so threads read the pictures.$"
    with pytest.warns(DeconvnetWarning, match=text):
        deconvnet.scan(own, photos, tmp_path / "a.scan", layers=["features.1"], readers="processes").close()


def test_large_pictures_ask_for_memory(children, monkeypatch):
    """A picture beyond a child's share waits until what others decode leaves room for it; others do not wait."""
    monkeypatch.setattr(limits, "_budget", limits._Budget(10_000_000))
    preprocess = asdict(Preprocess(32, 24, (0.5,), (0.5,)))
    large, done = saved(Image.new("L", (5000, 4000))), []
    with limits.taking(1):  # somebody decodes
        waiting = threading.Thread(target=lambda: done.append(reading_process.crop(large, "large.png", preprocess)))
        waiting.start()
        assert reading_process.crop(saved(drawing(1)), "a.png", preprocess)[0].shape == (24, 24, 1)
        waiting.join(0.5)
        assert not done
    waiting.join(60)
    assert done[0][0].shape == (24, 24, 1)


def test_no_process_outlives_its_scan(net, photos, tmp_path, children):
    """After a scan no reading process is left, also when it ends by an error."""
    scan_with(net, photos, tmp_path / "a.scan", readers="processes", workers=2).close()
    assert not children._idle
    assert not children._busy
    with pytest.raises(RuntimeError, match="stop"):
        read_and_stop(net.preprocess)
    assert not children._idle
    assert not children._busy


def read_and_stop(preprocess: Preprocess) -> None:
    with reading.reading(preprocess, 2, "processes") as (pool, used, _):
        list(pool.map(lambda path: used.crop_pixels(path, data=io.BytesIO(saved(drawing(1))), on_note=print), ["a", "b"]))
        raise RuntimeError("stop")


SCRIPT = """
import multiprocessing, sys
import deconvnet
print("begin")
net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
for number, method in enumerate(multiprocessing.get_all_start_methods()):
    multiprocessing.set_start_method(method, force=True)
    path = f"{sys.argv[2]}-{number}.scan"
    scan = deconvnet.scan(net, sys.argv[1], path, layers=["features.1"], readers="processes", workers=2)
    print(len(scan.paths()), len(scan.skipped()))
sys.ps1, sys.modules["__main__"].__file__ = ">>> ", None  # as in a notebook
scan = deconvnet.scan(net, sys.argv[1], sys.argv[2], layers=["features.1"], readers="processes", workers=2)
print(len(scan.paths()), len(scan.skipped()))
"""


def test_a_script_without_a_main_guard(photos, tmp_path):
    """Processes read for a plain script and a notebook, whatever `multiprocessing` starts processes by; nothing is run twice."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(script), str(photos), str(tmp_path / "net.scan")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    runs = 1 + len(multiprocessing.get_all_start_methods())
    assert (done.stdout, done.returncode) == ("begin\n" + runs * "18 4\n", 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_leaves_the_processes_to_its_parent(children):
    """A process that is forked while children wait starts its own, and does not stop its parent's."""
    preprocess, data = asdict(Preprocess(32, 24, (0.5,), (0.5,))), saved(drawing(1))
    reading_process.crop(data, "a.png", preprocess)
    script = (
        "import os, sys, io; from PIL import Image; from deconvnet.images import reading_process as readers\n"
        "data = io.BytesIO(); Image.new('L', (40, 40)).save(data, 'PNG')\n"
        f"crop = lambda: readers.crop(data.getvalue(), 'a.png', {preprocess!r})[0].shape\n"
        "first = crop()\n"
        "child = os.fork()\n"
        "if not child: print(crop(), flush=True); sys.exit()\n"
        "os.waitpid(child, 0); print(crop() == first, len(readers._pool._idle))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "(24, 24, 1)\nTrue 1\n", done.stderr


def test_reduced_decoding_is_a_setting_of_the_scan(tmp_path):
    """A scan with reduced decoding says so, gives the same by threads and processes, and its plates see the same pixels."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        drawing(number).resize((800, 800), Image.Resampling.BICUBIC).save(tmp_path / "in" / f"{number}.jpg", quality=90)
    loaded = deconvnet.load_model("tiny")
    net = deconvnet.DeconvNet(loaded.with_preprocess(decode="reduced"))
    for kind in ("processes", "threads"):
        scan_with(net, tmp_path / "in", tmp_path / kind, readers=kind).close()
    assert dump(tmp_path / "processes", *TABLES) == dump(tmp_path / "threads", *TABLES)
    scan_with(deconvnet.DeconvNet(loaded), tmp_path / "in", tmp_path / "exact").close()
    assert dump(tmp_path / "exact", *TABLES) != dump(tmp_path / "threads", *TABLES)
    with deconvnet.Scan.open(tmp_path / "threads") as scan:
        assert scan.settings["preprocess"]["decode"] == "reduced"
        assert scan.net.preprocess.decode == "reduced"
        plate = scan.plate("features.4", channels=[0, 1])
        assert all(len(examples) == 4 for _, examples in plate.examples())
        assert not plate.changed
    with pytest.raises(deconvnet.errors.StoreError, match='was scanned with other settings: decode "reduced", not "exact"'):
        scan_with(deconvnet.DeconvNet(loaded), tmp_path / "in", tmp_path / "threads")


def test_a_preprocessing_of_another_library_decodes_in_full():
    """Reduced decoding of a preprocessing that is code of its own is refused."""
    loaded = replace(deconvnet.load_model("tiny"), preprocess=lambda picture: None)
    with pytest.raises(OptionError) as caught:
        loaded.with_preprocess(decode="reduced")
    assert str(caught.value).endswith(" has a preprocessing of its own kind, which decodes in full. Leave `decode` out.")
