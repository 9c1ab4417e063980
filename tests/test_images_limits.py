"""Small files that ask for a lot are refused, or opened within bounds of memory and time; other programs never start."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from PIL import Image

import deconvnet
from deconvnet.errors import PictureError
from deconvnet.file_kinds import kind_of
from deconvnet.images import Preprocess, find_pictures, limits, open_picture, reading_child, reading_process, stop_readers
from deconvnet.images.formats import FORMAT_NAMES, FORMATS, SUFFIXES, UNREAD_SUFFIXES
from support.pngs import png_of
from support.scans import drawing


def refusal(path, **options):
    with pytest.raises(PictureError) as caught:
        open_picture(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


# Content, not names


def postscript():
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(touched) (w) file closefile\n"


OTHERS = {
    "postscript": (postscript(), "is a PostScript program, which is not read as a picture"),
    "photoshop": (b"8BPS\0\1" + bytes(90), "is a Photoshop document, which is not read as a picture"),
    "fits": (b"SIMPLE  =" + b" " * 2900, "is a FITS file, which is not read as a picture"),
    "mcidas": (bytes(7) + b"\4" + bytes(400), "is a McIdas area file, which is not read as a picture"),
    "html": (b"<!DOCTYPE html><title>Sign in</title>", "is a web page (HTML), which is not read as a picture"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        "is a pointer of Git LFS, in place of the file itself (git lfs pull fetches it), which is not read as a picture",
    ),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(90), "is a HEIC picture, which is not read as a picture"),
    "dicom": (bytes(128) + b"DICM" + bytes(90), "is a DICOM file, which is not read as a picture"),
    "svg": (b"<?xml version='1.0'?>\n<svg xmlns='x'/>", "is an SVG drawing, which is not read as a picture"),
    "nothing": (bytes(range(1, 200)), f"is in none of the formats that are read: {FORMAT_NAMES}"),
}


@pytest.mark.parametrize("suffix", ["jpg", "png", "eps", ""])
@pytest.mark.parametrize("kind", OTHERS)
def test_content_decides_what_is_read(tmp_path, monkeypatch, kind, suffix):
    """Whatever it is called, a file of another format reaches none of Pillow's readers for it, and is called what it is."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was started"))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    content, what = OTHERS[kind]
    path = tmp_path / f"photo.{suffix}"
    path.write_bytes(content)
    assert refusal(path) == f"cannot open {str(path)!r}: it {what}. Convert it to PNG or JPEG."
    assert refusal("given.jpg", data=io.BytesIO(content)) == f"cannot open 'given.jpg': it {what}. Convert it to PNG or JPEG."


@pytest.mark.parametrize("form", ["EPS", "PSD", "FITS", "ICO", "TGA", "PCX", "SGI", "ICNS", "PDF"])
def test_formats_that_are_not_listed_are_not_read(tmp_path, form):
    """What Pillow could read beyond the listed formats is refused, called photo.jpg or not."""
    try:
        data = saved(drawing(1).resize((32, 32)), form)
    except KeyError:  # Pillow reads it, and does not write it
        pytest.skip(f"Pillow writes no {form}")
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    assert refusal(path).startswith(f"cannot open {str(path)!r}: it is ")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_listed_suffix_is_read(tmp_path, suffix):
    """A picture with each suffix that is looked for in folders is found, and opened."""
    form = Image.registered_extensions()[suffix]
    picture = drawing(2).resize((20, 30))
    if form == "PPM" and suffix == ".pbm":
        picture = picture.convert("1")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(saved(picture, form))
    assert find_pictures(tmp_path) == [path]
    assert open_picture(path).size == (20, 30)
    assert form in FORMATS
    assert not set(SUFFIXES) & set(UNREAD_SUFFIXES)


def test_the_kinds_of_files():
    """What a file begins with tells its kind; a text may be cut in the middle of a letter; bytes tell nothing."""
    assert kind_of("ж".encode() * 256) == kind_of(("x" + "ж" * 300).encode()[:512]) == "a text"
    assert kind_of(b'{"a": 1}') == "a JSON text"
    assert kind_of(b"<?xml version='1.0'?><a/>") == "an XML document"
    for head in (b"", b"\xff\xd8\xff", b"\x89PN", bytes(600), b"ab\0c"):
        assert kind_of(head) is None


# Passes


def many_passes(count, side=64):
    """Return a progressive JPEG whose last pass is repeated."""
    data = saved(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def test_passes_are_bounded_by_pixels(tmp_path, monkeypatch):
    """Passes times pixels have a bound, whatever stands behind the picture's end, or within it as a thumbnail."""
    path = tmp_path / "a.jpg"
    path.write_bytes(many_passes(100))
    assert open_picture(path).size == (64, 64)
    monkeypatch.setattr(limits, "MAX_PASSED_PIXELS", 100 * 64 * 64)
    text = f"cannot open {str(path)!r}: its 64 x 64 pixels come in 106 passes, too many to decode. Save it anew."
    assert refusal(path) == text
    assert refusal("a.jpg", data=io.BytesIO(many_passes(100))) == text.replace(repr(str(path)), "'a.jpg'")
    ordinary = saved(drawing(1), "JPEG", progressive=True)
    monkeypatch.setattr(limits, "MAX_PASSED_PIXELS", 20 * drawing(1).width * drawing(1).height)
    path.write_bytes(ordinary + b"\xff\xda\0\x02" * 500)
    assert open_picture(path).tobytes() == Image.open(io.BytesIO(ordinary)).convert("RGB").tobytes()


def test_a_small_picture_that_would_take_minutes_is_refused_at_once(tmp_path):
    """600 KB that go 2,000 times over 88 megapixels are refused in well under a second, and named by a scan, not met again."""
    path = tmp_path / "in" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(many_passes(2000, side=9400))
    assert path.stat().st_size < 1_000_000
    start = time.thread_time()
    assert "its 9400 x 9400 pixels come in 2,006 passes" in refusal(path)
    assert time.thread_time() - start < 1
    drawing(1).save(tmp_path / "in" / "b.png")
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    with deconvnet.scan(net, tmp_path / "in", tmp_path / "a.scan", layers=["features.1"]) as scan:
        assert [name for name, _ in scan.skipped()] == ["a.jpg"]
        assert scan.progress() == (2, 2)


# Memory


def zeros(side):
    """Return a PNG of 16-bit zeros: small, whatever its size."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 2 * side)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return png_of(side, side, 0, rows)


def test_a_small_deep_picture_takes_little_memory(tmp_path):
    """A 16-bit picture of 36 megapixels in 70 KB is shrunk without being held as floats: under 5 bytes a pixel, not 28."""
    pytest.importorskip("resource")
    path = tmp_path / "a.png"
    path.write_bytes(zeros(6000))
    code = (
        "import resource, sys; from deconvnet.images import Preprocess\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "preprocess = Preprocess(256, 224, (0.5,) * 3, (0.5,) * 3); before = peak()\n"
        "preprocess.crop_picture(sys.argv[1]); print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 5 * 6000 * 6000


def test_pictures_that_are_decoded_together_share_a_bound():
    """Threads wait until their pictures fit; one that is larger than the bound is decoded alone; nobody is overtaken for ever."""
    budget = limits._Budget(100)
    now, most, order = [], [], []
    lock = threading.Lock()

    def decode(cost):
        with budget.take(cost):
            with lock:
                now.append(cost)
                most.append(list(now))
            time.sleep(0.005)
            with lock:
                now.remove(cost)
                order.append(cost)

    threads = [threading.Thread(target=decode, args=(cost,)) for cost in [40, 40, 40, 250, 30, 60] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(order) == sorted([40, 40, 40, 250, 30, 60] * 5)
    assert all(sum(costs) <= 100 or costs == [250] for costs in most)
    assert any(len(costs) > 1 for costs in most)


def test_the_bound_is_asked_for_every_picture(tmp_path, monkeypatch):
    """Every picture is decoded within the common bound, at eight bytes a pixel."""
    taken = []

    class Noting(limits._Budget):
        def take(self, cost):
            taken.append(cost)
            return super().take(cost)

    monkeypatch.setattr(limits, "_budget", Noting(10))
    drawing(1).resize((20, 30)).save(tmp_path / "a.png")
    open_picture(tmp_path / "a.png")
    open_picture(Image.new("L", (5, 4)))
    assert taken == [20 * 30 * 8, 5 * 4 * 8]


# Time


class Slow(io.BytesIO):
    """A file of a picture that takes long to decode between its pieces."""

    def read(self, size=-1):
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        return super().read(size)


def test_a_picture_that_takes_long_is_named(monkeypatch):
    """Decoders that ask for pieces are stopped at the first piece after their time."""
    monkeypatch.setattr("deconvnet.images.opening.MAX_SECONDS", 0.01)
    text = "cannot open 'a.png': decoding it takes more than 30 seconds. Save it anew, as PNG or JPEG."
    assert refusal("a.png", data=Slow(saved(drawing(1), "PNG"))) == text


@pytest.fixture
def readers(monkeypatch):
    """Child processes of this test's own."""
    pool = reading_process._Pool()
    monkeypatch.setattr(reading_process, "_pool", pool)
    yield pool
    pool.stop_all()


@pytest.mark.parametrize(("form", "options"), [("AVIF", {"quality": 100}), ("JPEG2000", {}), ("TIFF", {"compression": "jpeg"})])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_a_child_decodes_what_pillow_does(readers, form, mode, options):
    """What a child process decodes has the pixels that Pillow decodes here; the next picture has the same child."""
    if form == "TIFF" and mode == "RGBA":
        pytest.skip("JPEG knows no transparency")
    picture = drawing(3).resize((50, 40)).convert(mode)
    data = saved(picture, form, **options)
    expected = Image.open(io.BytesIO(data))
    expected.load()
    for _ in range(2):
        decoded = reading_process.decode(data, form)
        assert (decoded.mode, decoded.size, decoded.tobytes()) == (expected.mode, expected.size, expected.tobytes())
    assert len(readers._idle) == 1
    assert open_picture("a", data=io.BytesIO(data)).tobytes() == open_picture(expected).tobytes()


def test_pictures_of_children_are_turned_upright(readers):
    """EXIF of an AVIF picture turns it, as it turns a JPEG."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(drawing(3).resize((50, 40)), "AVIF", exif=exif)
    assert open_picture("a.avif", data=io.BytesIO(data)).size == (40, 50)


def test_a_damaged_picture_leaves_its_child_alive(readers):
    """A damaged picture is refused as such, and the process that told so decodes the next one."""
    data = saved(drawing(3), "JPEG2000")
    broken = data[: len(data) // 2]
    assert refusal("a.jp2", data=io.BytesIO(broken)) == (
        "cannot open 'a.jp2': the picture is damaged or cut short. Get a fresh copy."
    )
    (child,) = readers._idle
    assert open_picture("b.jp2", data=io.BytesIO(data)).size == drawing(3).size
    assert readers._idle == [child]


def test_a_child_that_takes_too_long_is_ended_and_replaced(readers, monkeypatch):
    """A child that hangs is killed by the clock, its picture is named, and the next picture gets a new child."""
    data = saved(drawing(3), "JPEG2000")
    monkeypatch.setattr(reading_process, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(reading_process, "PATIENCE", 0.2 / limits.MAX_SECONDS)
    assert refusal("a.jp2", data=io.BytesIO(data)).startswith("cannot open 'a.jp2': decoding it takes more than 30 seconds.")
    monkeypatch.undo()
    monkeypatch.setattr(reading_process, "_pool", readers)
    assert open_picture("a.jp2", data=io.BytesIO(data)).size == drawing(3).size


def test_a_picture_that_crashes_its_decoder_is_damaged(readers, monkeypatch):
    """A child that crashes takes nothing with it: its picture is damaged, and the next one gets a new child."""
    data = saved(drawing(3), "JPEG2000")
    monkeypatch.setattr(reading_process, "_START", "import os, sys; sys.stdin.buffer.read(9); os.abort()")
    for _ in range(2):
        assert refusal("a.jp2", data=io.BytesIO(data)) == (
            "cannot open 'a.jp2': the picture is damaged or cut short. Get a fresh copy."
        )
        assert readers._idle == []
    monkeypatch.undo()
    monkeypatch.setattr(reading_process, "_pool", readers)
    assert open_picture("a.jp2", data=io.BytesIO(data)).size == drawing(3).size


@pytest.mark.slow
def test_the_seconds_of_a_child_end_it(readers, monkeypatch):
    """A child that computes for longer than its seconds is ended by the system, and its picture takes too long."""
    pytest.importorskip("resource")
    source = "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (1, 2)); sys.stdin.buffer.read(9)\nwhile True: pass"
    monkeypatch.setattr(reading_process, "_START", source)
    text = "cannot open 'a.jp2': decoding it takes more than 30 seconds. Save it anew, as PNG or JPEG."
    assert refusal("a.jp2", data=io.BytesIO(saved(drawing(3), "JPEG2000"))) == text


def test_a_child_has_bounds_of_its_own(readers):
    """Each picture gives the child so many seconds more, and memory up to a bound, where the system can bound them."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("this system does not tell another process's limits")
    reading_process.decode(saved(drawing(3), "JPEG2000"), "JPEG2000")
    child = readers._idle[0]._child.pid
    assert 30 <= resource.prlimit(child, resource.RLIMIT_CPU)[0] <= 40
    assert resource.prlimit(child, resource.RLIMIT_AS)[0] == reading_child.MEMORY_BYTES


def test_readers_can_be_stopped(readers):
    """Whoever waits for a child that is stopped is told that the picture took too long, at once."""
    told = []
    monkey = saved(drawing(3), "JPEG2000")
    with readers.process() as process:
        waiting = threading.Thread(target=lambda: told.append(refusal_of(process, monkey)))
        process._child.stdin.write((5).to_bytes(8, "big"))  # it waits for the rest
        waiting.start()
        stop_readers()
        waiting.join(timeout=10)
    assert told == ["TooSlowError"]
    assert process._child.returncode is not None


def refusal_of(process, data):
    try:
        process.decode(data, "JPEG2000")
    except Exception as error:
        return type(error).__name__


def test_shrinking_before_converting_gives_the_same_pixels(tmp_path):
    """Grey pictures stay grey until they are shrunk; the crop has the pixels of one that was RGB all along."""
    preprocess = Preprocess(40, 32, (0.5,) * 3, (0.5,) * 3, "bicubic")
    values = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)
    grey = Image.fromarray(values)
    for mode in ("L", "1"):
        picture = grey.convert(mode)
        assert preprocess.crop_picture(picture).tobytes() == preprocess.crop_picture(picture.convert("RGB")).tobytes()
