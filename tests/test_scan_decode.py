"""JPEGs decoded by the device of a scan: by the same code on a CPU, whose decoder stands in for a GPU's."""

from __future__ import annotations

import functools
import io
import json
import sqlite3
import threading
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import deconvnet
from deconvnet.drawings import draw
from deconvnet.errors import EngineError, MissingPackageError, OptionError, StoreError
from deconvnet.images import Preprocess
from deconvnet.images import plain_jpeg as plain
from deconvnet.images.plain_jpeg import plain_jpeg_size
from deconvnet.scanning import device_jpegs
from deconvnet.scanning.device_jpegs import DeviceCrops, crop_ahead, find_decoder
from deconvnet.scanning.device_resize import columns_first, crop_frames
from deconvnet.scanning.jpegs import Jpeg, LeavesJpegs
from deconvnet.scanning.maxima import MaximaReducer
from deconvnet.scanning.pictures import collate, load_file
from deconvnet.scanning.precision import TOLERANCES, tolerance
from deconvnet.scanning.ray_engine import RayEngine
from deconvnet.scanning.source import LocalFiles
from support.scans import check_top, drawing, dump, rows, slow_maxima

CPU = torch.device("cpu")
TABLES = ("layers", "pictures", "shards", "hits", "channels", "digests")
LAYERS = ["features.1", "features.4"]
PLAIN = Preprocess(48, 40, (0.5,) * 3, (0.25,) * 3, decode="gpu")


@pytest.fixture(autouse=True)
def on_device(monkeypatch):
    """Let a CPU be a device that decodes, and torch compute with one thread, whose last digits are always the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(MaximaReducer, "is_on_device", True)
    monkeypatch.setattr(device_jpegs, "DEVICES", ("cpu",))
    find_decoder.cache_clear()
    yield
    find_decoder.cache_clear()
    torch.set_num_threads(threads)


def jpeg(picture, **options):
    data = io.BytesIO()
    picture.save(data, "JPEG", **options)
    return data.getvalue()


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def decode_slowly(data):
    """Decode with Pillow, one by one: a stand-in for a device's decoder."""
    pictures = [Image.open(io.BytesIO(bytes(values.numpy()))).convert("RGB") for values in data]
    return [torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures]


def use(monkeypatch, decode):
    """Let a function decode on the device, under the name of torchvision."""
    monkeypatch.setattr(device_jpegs, "DECODERS", {"torchvision": lambda device: decode})
    find_decoder.cache_clear()


def decode_roughly(data):
    """Decode with errors of some levels, which depend on the place alone."""
    decoded = []
    for pixels in decode_slowly(data):
        place = torch.arange(pixels.numel()).view(pixels.shape)
        decoded.append((pixels.int() + place % 7 - 3).clamp(0, 255).byte())
    return decoded


# Which pictures


def header_patched(data, width, height):
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


@functools.cache
def files():
    """Files by name, with whether a device may decode them."""
    picture = draw("face", seed=1).picture.resize((90, 60))
    plain_file = jpeg(picture)
    mpo, rgb_ids = io.BytesIO(), jpeg(picture, keep_rgb=True)
    picture.save(mpo, "MPO", save_all=True, append_images=[picture])
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    return {
        "plain": (plain_file, True),
        "grey": (jpeg(picture.convert("L")), True),
        "progressive": (jpeg(picture, progressive=True), True),
        "4:4:4": (jpeg(picture, subsampling=0), True),
        "upright": (jpeg(picture, exif=exif(1)), True),
        "other EXIF": (jpeg(picture, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"), True),
        "turned": (jpeg(picture, exif=exif(6)), False),
        "mirrored": (jpeg(picture, exif=exif(2)), False),
        "turned by XMP": (jpeg(picture, xmp=xmp), False),
        "CMYK": (jpeg(picture.convert("CMYK")), False),
        "RGB": (rgb_ids, False),
        "several": (mpo.getvalue(), False),
        "truncated": (plain_file[:-300], False),
        "truncated to its header": (plain_file[:100] + b"\xff\xd9", False),
        "trailing bytes": (plain_file + b"\0", False),
        "empty": (b"", False),
        "no pixels": (header_patched(plain_file, 90, 0), False),
        "a bomb": (header_patched(plain_file, 60_000, 60_000), False),
        "PNG": (b"\x89PNG" + plain_file[4:], False),
    }


@pytest.mark.parametrize("name", files())
def test_only_plain_jpegs_are_left_to_a_device(name):
    """Whole, upright, grey or YCbCr, alone in their file, not too large: the size is Pillow's; all others are Pillow's own."""
    data, may = files()[name]
    assert plain_jpeg_size(data) == ((90, 60) if may else None)


def test_passes_are_bounded(monkeypatch):
    """A JPEG with more passes over its pixels than are decoded is left to Pillow, which says so."""
    data = files()["progressive"][0]
    passes = data.count(b"\xff\xda")
    for most, size in ((passes * 90 * 60, (90, 60)), (passes * 90 * 60 - 1, None)):
        monkeypatch.setattr(plain, "MAX_PASSED_PIXELS", most)
        assert plain_jpeg_size(data) == size


def test_large_files_are_decoded_where_they_are_read(monkeypatch):
    """A few hundred files wait for the device at once, so that none may be very large."""
    data = files()["plain"][0]
    leaves = LeavesJpegs.of(PLAIN)
    for most, is_left in ((len(data), True), (len(data) - 1, False)):
        monkeypatch.setattr("deconvnet.scanning.jpegs.MOST_BYTES", most)
        loaded = load_file(lambda: data, "a.jpg", leaves)
        assert (loaded.jpeg is not None, loaded.pixels is None) == (is_left, is_left)


def test_a_picture_that_is_too_long_is_named_as_ever():
    """A row of 60,000 pixels cannot be resized: the same line, though nothing was decoded."""
    data = jpeg(Image.new("RGB", (60_000, 1)))
    problems = [load_file(lambda: data, "a.jpg", way).problem for way in (LeavesJpegs.of(PLAIN), PLAIN)]
    assert problems[0] == problems[1]
    assert problems[0] == "a picture of 1 x 60000 pixels is too long to resize to 48. Crop it first."


# Their pixels


@st.composite
def photographs(draw_from):
    """JPEGs of all kinds: sizes, qualities, subsamplings, grey, progressive."""
    width, height = draw_from(st.integers(1, 300)), draw_from(st.integers(1, 300))
    picture = drawing(draw_from(st.integers(0, 5))).resize((width, height))
    picture = picture.convert(draw_from(st.sampled_from(["RGB", "L"])))
    options = {
        "quality": draw_from(st.integers(5, 100)),
        "progressive": draw_from(st.booleans()),
        "subsampling": draw_from(st.sampled_from([0, 1, 2])),
    }
    return jpeg(picture, **options)


@st.composite
def preprocesses(draw_from):
    resize = draw_from(st.integers(8, 80))
    crop = (draw_from(st.integers(1, resize)), draw_from(st.integers(1, resize)))
    channels = draw_from(st.sampled_from([1, 3]))
    interpolation = draw_from(st.sampled_from(["bilinear", "bicubic", "lanczos"]))
    return Preprocess(resize, crop, (0.5,) * channels, (0.25,) * channels, interpolation, decode="gpu")


def crops_of(data, preprocess):
    """Return the pixels of JPEGs by the device, (H, W, C) each."""
    jpegs = [Jpeg(f"{number}.jpg", bytearray(values), plain_jpeg_size(values)) for number, values in enumerate(data)]
    return [pixels.numpy() for pixels in DeviceCrops(preprocess, CPU).crop(jpegs)]


@settings(max_examples=120, deadline=None)
@given(st.lists(photographs(), min_size=1, max_size=4), preprocesses())
def test_pixels_are_pillow_s(data, preprocess):
    """Any size, quality, subsampling, grey, filter: the very bytes, where the decoder has Pillow's; alone or together."""
    together = crops_of(data, preprocess)
    exact = [preprocess.crop_pixels("a.jpg", data=io.BytesIO(values)) for values in data]
    for ours, theirs, values in zip(together, exact, data, strict=True):
        assert np.array_equal(ours, theirs)
        assert np.array_equal(ours, crops_of([values], preprocess)[0])


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1700, 1200), (60, 1999), (256, 341)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_photographs_are_resized_to_pillow_s_bytes(size, interpolation):
    """Usual sizes, a large one, a strip and one that is not resized, with all levels at once; within autocast, too."""
    chance = np.random.default_rng(0)
    picture = Image.fromarray(chance.choice(np.array([0, 1, 128, 254, 255], np.uint8), (size[1], size[0], 3)))
    preprocess = Preprocess(256, 224, (0.5,) * 3, (0.25,) * 3, interpolation)
    frames = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    with torch.autocast("cpu", torch.bfloat16):
        ours = crop_frames(frames, preprocess)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(ours, preprocess.crop_pixels(picture))


@pytest.mark.parametrize("package", ["torchcodec", "torchvision"])
def test_decoders_have_pillow_s_pixels(monkeypatch, package):
    """Each package that decodes gives Pillow's pixels on a CPU, without a warning; a damaged file is an error of it."""
    pytest.importorskip(package)
    monkeypatch.setattr(device_jpegs, "DECODERS", {package: device_jpegs.DECODERS[package]})
    name, decode = find_decoder(CPU)
    assert name.startswith(f"{package} ")
    data = [torch.frombuffer(bytearray(values), dtype=torch.uint8) for values, may in files().values() if may]
    for ours, theirs in zip(decode(data), decode_slowly(data), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises((RuntimeError, ValueError)):
        decode([torch.zeros(50, dtype=torch.uint8)])


def test_what_is_decoded_together_is_bounded_by_pixels(monkeypatch, tmp_path):
    """As many pictures at a time as fit by their pixels, or a single larger one; in order, with the same pixels."""
    sizes = [(40, 40), (40, 40), (90, 90), (40, 41), (30, 30), (200, 20)]
    for number, size in enumerate(sizes):
        drawing(number).resize(size).save(tmp_path / f"{number}.jpg")
    counts = []

    def decode(data):
        counts.append(len(data))
        return decode_slowly(data)

    use(monkeypatch, decode)
    source = LocalFiles(str(tmp_path), tuple(f"{number}.jpg" for number in range(6)))
    loaded = [source.load(number, name, LeavesJpegs.of(PLAIN)) for number, name in enumerate(source.names)]
    whole = DeviceCrops(PLAIN, CPU)(loaded)
    monkeypatch.setattr(device_jpegs, "TOGETHER_PIXELS", 3300)
    parts = DeviceCrops(PLAIN, CPU)(loaded)
    assert counts == [1, 6, 2, 1, 2, 1]
    assert all(torch.equal(ours.pixels, theirs.pixels) for ours, theirs in zip(whole, parts, strict=True))
    assert [picture.sha256 for picture in parts] == [picture.sha256 for picture in loaded]


def test_batches_of_both_kinds_are_in_order():
    """Pixels that the device has, among those that Pillow read, are normalised alike, each in its place."""
    pixels = [PLAIN.crop_pixels(drawing(seed)) for seed in range(5)]
    mixed = [torch.from_numpy(values.copy()) if number in (1, 2, 4) else values for number, values in enumerate(pixels)]
    assert torch.equal(collate(mixed, PLAIN), collate(pixels, PLAIN))
    everywhere = [torch.from_numpy(values.copy()) for values in pixels]
    assert torch.equal(collate(everywhere, PLAIN), collate(pixels, PLAIN))


# Scans


@pytest.fixture(scope="module")
def net(tiny):
    return deconvnet.DeconvNet(tiny.with_preprocess(decode="gpu"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Fifteen JPEGs and a PNG, among all kinds of files that a device may not decode."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(15):
        picture = drawing(number).resize((150 + 7 * number, 131 + 11 * (number % 5)))
        picture.save(folder / f"{number:02}.jpg", quality=60 + 2 * number, subsampling=number % 3)
    drawing(20).save(folder / "05.png")
    for name, (data, _) in files().items():
        (folder / f"{name.replace(':', '')}.jpg").write_bytes(data)
    return folder


def scan(net, photos, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return deconvnet.scan(net, photos, path, **{"layers": LAYERS, "shard": 7, "batch": 4, **options})


def test_the_table_is_that_of_the_same_pixels(net, photos, tmp_path):
    """All maxima, taken slowly from pixels that are decoded one by one, give the scan's table; problems are word for word exact."""
    with scan(net, photos, tmp_path / "net.scan") as found:
        names = found.paths()
        problems = dict(found.skipped())
        sizes = found.sizes
    pixels = []
    for number in sorted(names):
        path = str(photos / names[number])
        loaded = load_file((photos / names[number]).read_bytes, path, replace(net.preprocess, decode="exact"))
        assert problems.get(names[number]) == loaded.problem
        if loaded.problem is None:
            data = (photos / names[number]).read_bytes()
            pixels.append(loaded.pixels if plain_jpeg_size(data) is None else crops_of([data], net.preprocess)[0])
    assert 4 <= len(problems) == len(names) - len(pixels)
    readable = [number for number in sorted(names) if names[number] not in problems]
    maxima = slow_maxima(net.model, collate(pixels, net.preprocess), LAYERS)
    for layer in LAYERS:
        values, positions = (np.zeros((len(names), column.shape[1]), column.dtype) for column in maxima[layer])
        values[:] = -np.inf
        values[readable], positions[readable] = maxima[layer]
        values[~np.isin(np.arange(len(names)), readable)] = -1e9
        assert not check_top(tmp_path / "net.scan", layer, (values, positions), sizes[layer][2])


def test_where_decoders_agree_the_table_is_the_exact_one(monkeypatch, net, tiny, photos, tmp_path):
    """With Pillow's own decoder on the device, the scan's bytes are those of the exact scan on the same device."""
    use(monkeypatch, decode_slowly)
    with scan(net, photos, tmp_path / "device") as found:
        measured = found.settings["decode_difference"]
    scan(deconvnet.DeconvNet(tiny), photos, tmp_path / "exact").close()
    parts = ("layers", "pictures", "shards", "hits", "channels")
    assert dump(tmp_path / "device", *parts) == dump(tmp_path / "exact", *parts)
    assert measured["pixels"] == {"mean": 0, "percentile_99": 0, "maximum": 0}
    assert (measured["maxima"], measured["other_best"]) == ({"median": 0, "percentile_99": 0}, 0)


def test_two_runs_have_the_same_bytes(monkeypatch, net, photos, tmp_path):
    """Whole, stopped and continued, read by threads or processes: the same file, with what was measured at its start."""
    monkeypatch.setattr("deconvnet.scanning.decode_difference.MEASURED", 9)
    scan(net, photos, tmp_path / "a").close()
    for limit in (14, None):
        scan(net, photos, tmp_path / "b", limit=limit, workers=1).close()
    scan(net, photos, tmp_path / "c", readers="processes", workers=3).close()
    whole, kept = dump(tmp_path / "a", *TABLES), rows(tmp_path / "a", "select * from settings order by name")
    assert json.loads(dict(kept)["decode_difference"])["pictures"] == 9
    for name in ("b", "c"):
        assert dump(tmp_path / name, *TABLES) == whole
        assert rows(tmp_path / name, "select * from settings order by name") == kept


def test_a_scan_is_not_continued_with_another_decoder(net, tiny, photos, tmp_path):
    """What decoded the pictures is a setting that must agree, in both directions."""
    exact = deconvnet.DeconvNet(tiny)
    for first, second, words in ((net, exact, '"gpu", not "exact"'), (exact, net, '"exact", not "gpu"')):
        path = tmp_path / words[1:4]
        scan(first, photos, path, limit=3).close()
        before = path.read_bytes()
        with pytest.raises(StoreError) as caught:
            scan(second, photos, path)
        text = f"was scanned with other settings: decode {words}. Give the same ones, or choose another name."
        assert str(caught.value) == f"{str(path)!r} {text}"
        assert path.read_bytes() == before


def test_plates_see_exact_pixels_and_allow_for_the_difference(monkeypatch, net, photos, tmp_path):
    """Activations by a rough decoder are near enough for a plate, which reads by Pillow; a net that is another one is not."""
    use(monkeypatch, decode_roughly)
    with scan(net, photos, tmp_path / "net.scan") as found:
        assert found.settings["preprocess"]["decode"] == found.net.preprocess.decode == "gpu"
        plate = found.plate("features.4", channels=range(8))
        assert sum(len(examples) for _, examples in plate.examples()) == 72
        assert plate.changed == []
    assert tolerance({"preprocess": {"decode": "gpu"}, "precision": "tf32"}) == 0.25
    for precision, allowed in TOLERANCES.items():
        assert tolerance({"preprocess": None, "precision": precision}) == allowed
    assert tolerance({"preprocess": {}}) == 1e-3


# Beside the net


class Stream:
    """Stands in for a stream of CUDA."""

    def __init__(self, events):
        self.events = events

    def synchronize(self):
        self.events.append("wait")


def test_pixels_are_there_before_another_stream_uses_them(monkeypatch):
    """Decoding runs on a stream of its own, which is waited for; memory stays until the stream that computes has used it."""
    events = []

    def decode(data):
        events.append("decode")
        return decode_slowly(data)

    @contextmanager
    def entered(stream):
        events.append("enter")
        yield stream
        events.append("leave")

    use(monkeypatch, decode)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(events))
    monkeypatch.setattr(torch.cuda, "stream", entered)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the net's")
    crops = DeviceCrops(PLAIN, torch.device("cuda"))
    events.clear()
    loaded = [load_file(lambda: files()["plain"][0], f"{number}.jpg", LeavesJpegs.of(PLAIN)) for number in range(2)]
    done = crops([*loaded, load_file(lambda: files()["PNG"][0], "a.png", LeavesJpegs.of(PLAIN))])
    assert events == ["enter", "decode", "leave", "wait"]
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: events.append((tuple(self.shape), stream)))
    crops.release(done)
    assert events[4:] == [((40, 40, 3), "the net's")] * 2


def test_one_batch_is_decoded_ahead():
    """While a batch is used the next one is decoded, and no more; in their order, and the thread ends with who takes them."""
    taken, threads = [], set()

    class Crops:
        def __call__(self, batch):
            threads.add(threading.current_thread())
            return batch

        def release(self, batch):
            pass

    def batches():
        for number in range(5):
            taken.append(number)
            yield [2 * number, 2 * number + 1]

    pictures = crop_ahead(Crops(), batches())
    assert [next(pictures), next(pictures)] == [0, 1]
    assert taken == [0, 1]
    assert next(pictures) == 2
    assert taken == [0, 1, 2]
    pictures.close()
    (thread,) = threads
    assert thread is not threading.current_thread()
    assert not thread.is_alive()
    assert list(crop_ahead(Crops(), batches())) == list(range(10))


# Where a device fails


def failing_on(marks, decode=decode_slowly, error=RuntimeError):
    """Return a decoder that fails as a whole where one of the files holds one of these bytes."""

    def fails(data):
        if any(mark in bytes(values.numpy()) for values in data for mark in marks):
            raise error("nvJPEG error 6")
        return decode(data)

    return fails


def test_a_picture_that_fails_costs_no_other(monkeypatch, net, tmp_path):
    """Where decoding a batch fails, others have the device's pixels, whatever they lie beside; the failing ones Pillow's."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(9):
        drawing(number).resize((150, 140)).save(folder / f"{number}.jpg", comment=b"mark" if number in (2, 7) else None)
    data = jpeg(drawing(9).resize((150, 140)), comment=b"mark")
    (folder / "9.jpg").write_bytes(header_patched(data, 150, 140)[:400] + b"\xff\xd9")  # Pillow cannot decode it either
    use(monkeypatch, failing_on([b"mark"], decode_roughly))
    names = tuple(f"{number}.jpg" for number in range(10))
    source = LocalFiles(str(folder), names)
    loaded = [source.load(number, name, LeavesJpegs.of(net.preprocess)) for number, name in enumerate(names)]
    assert sum(picture.jpeg is not None for picture in loaded) >= 9
    done = DeviceCrops(LeavesJpegs.of(net.preprocess), CPU)(loaded)
    exact = [source.load(number, name, net.preprocess) for number, name in enumerate(names)]
    assert [picture.problem for picture in done] == [picture.problem for picture in exact]
    assert [picture.problem is None for picture in done] == [True] * 9 + [False]
    for number, (ours, theirs) in enumerate(zip(done[:9], exact[:9], strict=True)):
        assert np.array_equal(np.asarray(ours.pixels), theirs.pixels) == (number in (2, 7))
    scan(net, folder, tmp_path / "a", batch=3).close()
    scan(net, folder, tmp_path / "b", batch=3, limit=7).close()
    scan(net, folder, tmp_path / "b", batch=3).close()
    assert dump(tmp_path / "a", "pictures", "hits", "channels") == dump(tmp_path / "b", "pictures", "hits", "channels")
    assert rows(tmp_path / "a", "select max(pictures) from channels") == [(9,)]


def test_another_size_than_pillow_s_is_a_failure(monkeypatch):
    """A decoder that turns a picture by itself does not get to the net."""
    use(monkeypatch, lambda data: [pixels.transpose(1, 2) for pixels in decode_slowly(data)])
    find_decoder(CPU)
    assert DeviceCrops(PLAIN, CPU).crop([Jpeg("a.jpg", bytearray(files()["plain"][0]), (90, 60))]) == [None]


def test_a_full_device_is_no_fault_of_a_picture(monkeypatch):
    """Without memory for one picture the scan stops: another run must not have other pixels."""
    decode = failing_on([b"mark"], error=torch.OutOfMemoryError)
    use(monkeypatch, decode)
    picture = draw("face", seed=1).picture.resize((90, 60))
    jpegs = [Jpeg("a.jpg", bytearray(jpeg(picture, comment=comment)), (90, 60)) for comment in (b"mark", b"none")]
    crops = DeviceCrops(PLAIN, CPU)
    with pytest.raises(torch.OutOfMemoryError):
        crops.crop(jpegs)
    assert crops.crop(jpegs[1:])[0].shape == (40, 40, 3)


def test_a_scan_that_was_stopped_by_its_decoder_is_continued(monkeypatch, net, tmp_path):
    """What was committed before the device ran full stays; the same scan again gives the bytes of one that was never stopped."""
    monkeypatch.setattr("deconvnet.scanning.decode_difference.MEASURED", 3)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(12):
        drawing(number).resize((150, 140)).save(folder / f"{number:02}.jpg", comment=b"mark" if number == 9 else None)
    use(monkeypatch, failing_on([b"mark"], error=torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        scan(net, folder, tmp_path / "a", shard=4, batch=2)
    assert [done for (done,) in rows(tmp_path / "a", "select done from shards order by shard")] in ([1, 0, 0], [1, 1, 0])
    use(monkeypatch, decode_slowly)
    for name in ("a", "b"):
        scan(net, folder, tmp_path / name, shard=4, batch=2).close()
    assert dump(tmp_path / "a", *TABLES) == dump(tmp_path / "b", *TABLES)


# What is measured


def test_the_difference_is_measured_and_kept(monkeypatch, net, tmp_path):
    """Pixels and maxima of the first pictures, both ways, compared number by number: the settings hold that, and a line."""
    monkeypatch.setattr("deconvnet.scanning.decode_difference.MEASURED", 11)
    use(monkeypatch, decode_roughly)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(15):
        name = f"{number:02}.{'png' if number % 5 == 4 else 'jpg'}"
        drawing(number).resize((150, 131 + number)).save(folder / name)
    with scan(net, folder, tmp_path / "net.scan", limit=14) as found:
        measured, summary, layers = found.settings["decode_difference"], found.summary(), found.layers
    paths = sorted(folder.glob("*.jpg"))[:11]
    exact = [net.preprocess.crop_pixels(path) for path in paths]
    rough = [crops_of([path.read_bytes()], net.preprocess)[0] for path in paths]
    levels = sorted(
        abs(ours - theirs)
        for pixels, changed in zip(exact, rough, strict=True)
        for ours, theirs in zip(pixels.ravel().tolist(), changed.ravel().tolist(), strict=True)
    )
    assert measured["pixels"]["mean"] == pytest.approx(sum(levels) / len(levels), rel=0.006)
    assert measured["pixels"]["percentile_99"] == levels[int(0.99 * len(levels))]
    assert measured["pixels"]["maximum"] == levels[-1]
    maxima = [slow_maxima(net.model, collate(pixels, net.preprocess), layers) for pixels in (exact, rough)]
    ours, theirs = (np.concatenate([part[layer][0] for layer in layers], 1).T.tolist() for part in maxima)
    relative, other, firing = [], 0, 0
    for channel, changed in zip(ours, theirs, strict=True):
        relative += [abs(b - a) / a for a, b in zip(channel, changed, strict=True) if a > 0]
        firing += max(channel) > 0
        other += max(channel) > 0 and channel.index(max(channel)) != changed.index(max(changed))
    assert measured["maxima"]["median"] == pytest.approx(np.median(relative), rel=0.006)
    assert measured["maxima"]["percentile_99"] == pytest.approx(np.percentile(relative, 99), rel=0.006)
    assert measured["other_best"] == pytest.approx(other / firing, abs=1.01 / firing)
    assert measured["pictures"] == 11
    assert measured["decoder"].startswith("torchvision ")
    assert 0 < measured["maxima"]["median"] < measured["maxima"]["percentile_99"]
    line = next(line for line in summary.splitlines() if line.startswith("JPEGs"))
    pixels, shares = measured["pixels"], measured["maxima"]
    assert line == (
        f"JPEGs were decoded on the GPU by {measured['decoder']}: 11 compared with the exact pixels differ by"
        f" {pixels['mean']:g} of 255 levels on average (99 % by at most {pixels['percentile_99']:g}, all by at most"
        f" {pixels['maximum']:g}), maxima by {100 * shares['median']:.2g} % in the median (99 % by at most"
        f" {100 * shares['percentile_99']:.2g} %); {100 * measured['other_best']:.2g} % of the channels have another"
        " strongest picture."
    )
    use(monkeypatch, decode_slowly)
    with scan(net, folder, tmp_path / "net.scan") as continued:
        assert continued.progress() == (15, 15)
        assert continued.settings["decode_difference"] == measured


def test_without_jpegs_nothing_is_measured(net, tmp_path):
    """A folder of other pictures is scanned as ever, and a line says that nothing was compared."""
    (tmp_path / "in").mkdir()
    for number in range(4):
        drawing(number).save(tmp_path / "in" / f"{number}.png")
    exact = deconvnet.DeconvNet(net.loaded.with_preprocess(decode="exact"))
    with scan(net, tmp_path / "in", tmp_path / "a") as found, scan(exact, tmp_path / "in", tmp_path / "b"):
        measured = found.settings["decode_difference"]
        assert measured == {"decoder": find_decoder(CPU)[0], "pictures": 0}
        assert found.summary().splitlines()[-1] == (
            f"JPEGs were decoded on the GPU by {measured['decoder']}: none of the first pictures,"
            " so that it was not compared with the exact pixels."
        )
    assert dump(tmp_path / "a", "hits", "channels") == dump(tmp_path / "b", "hits", "channels")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"speed": 1},
        {"decoder": "a\nb"},
        {"decoder": 3},
        {"pictures": "many"},
        {"pixels": 3},
        {"pixels": {"mean": 1}},
        {"pixels": {"mean": 1, "percentile_99": float("nan"), "maximum": 1}},
        {"maxima": {"median": "0", "percentile_99": 0}},
    ],
    ids=str,
)
def test_a_difference_that_no_scan_has(net, photos, tmp_path, value):
    """What a scan's file says of a decoder is names and numbers, or it is no scan's."""
    path = tmp_path / "net.scan"
    scan(net, photos, path, limit=2, layers=["features.1"]).close()
    base = sqlite3.connect(path)
    base.execute("update settings set json_text = ? where name = 'decode_difference'", (json.dumps(value),))
    base.commit()
    base.close()
    with pytest.raises(StoreError) as caught:
        deconvnet.Scan.open(path)
    assert str(caught.value) == f"{str(path)!r} has no usable setting 'decode_difference'. Get a fresh copy, or scan again."


# Refused


def test_a_device_that_cannot_decode_is_refused(monkeypatch, net, photos, tmp_path):
    """Only NVIDIA's GPUs decode JPEGs; said before any work, and no file is left."""
    monkeypatch.setattr(device_jpegs, "DEVICES", ("cuda",))
    with pytest.raises(OptionError) as caught:
        scan(net, photos, tmp_path / "net.scan")
    assert str(caught.value) == "decode cannot be 'gpu' on cpu: only NVIDIA's GPUs decode JPEGs. Choose exact or reduced."
    assert not (tmp_path / "net.scan").exists()


def test_without_a_decoder_one_line_says_what_to_install(monkeypatch, net, photos, tmp_path):
    """Packages that are missing, or decode on no GPU, are named with their reasons."""

    def missing(device):
        raise ImportError("No module named 'torchcodec'")

    def without_cuda(device):
        def decode(data):
            raise RuntimeError("decode_jpegs_cuda: not\n  compiled with GPU support")

        return decode

    monkeypatch.setattr(device_jpegs, "DECODERS", {"torchcodec": missing, "torchvision": without_cuda})
    with pytest.raises(MissingPackageError) as caught:
        scan(net, photos, tmp_path / "net.scan")
    assert str(caught.value) == (
        "decode 'gpu' needs torchcodec 0.16 or newer, with CUDA; nothing here decodes JPEGs on cpu (torchcodec: No module named"
        " 'torchcodec'; torchvision: decode_jpegs_cuda: not compiled with GPU support). In a checkout: pip install -e \".[gpu]\""
    )
    assert not (tmp_path / "net.scan").exists()


def test_an_interpolation_that_no_gpu_has():
    """A GPU resizes as Pillow does where that sums neighbours up."""
    with pytest.raises(OptionError) as caught:
        replace(PLAIN, interpolation="nearest")
    text = "decode cannot be 'gpu' with 'nearest': GPUs resize by bilinear, bicubic, lanczos. Choose exact or reduced."
    assert str(caught.value) == text


class Own(Preprocess):
    """A preprocessing with code of its own."""


def test_preprocessings_of_their_own_kind_decode_by_themselves(tiny, photos, tmp_path):
    """A device cannot do what code of a user's does."""
    own = replace(tiny, preprocess=Own(96, 96, (0.5,) * 3, (0.25,) * 3, decode="gpu"))
    with pytest.raises(OptionError) as caught:
        scan(deconvnet.DeconvNet(own), photos, tmp_path / "net.scan")
    assert str(caught.value) == "decode cannot be 'gpu' with a preprocessing of its own kind. Choose exact."
    with pytest.raises(OptionError) as caught:
        replace(tiny, preprocess=lambda picture: None).with_preprocess(decode="gpu")
    assert str(caught.value) == "tiny has a preprocessing of its own kind, which decodes in full. Leave `decode` out."


def test_workers_without_a_gpu_are_refused(net):
    """On Ray, a worker without a GPU would read exactly what the scan's settings say a GPU decoded."""

    class Given:
        preprocess = net.preprocess

    with pytest.raises(EngineError) as caught:
        next(RayEngine(gpus=0).run(Given(), [None], floor=None, on_progress=None))
    assert str(caught.value) == "decode 'gpu' needs a GPU in each worker, these have none. Choose exact, or ask for GPUs."


def test_everywhere_else_it_is_exact(net, tiny, photos):
    """A picture that is opened by itself has Pillow's pixels."""
    path = photos / "03.jpg"
    assert torch.equal(net.preprocess(path), tiny.preprocess(path))
    assert net.preprocess.settings() == {**tiny.preprocess.settings(), "decode": "gpu"}


def test_the_order_of_passes_is_pillow_s(monkeypatch):
    """From Pillow 13 on, columns come first if that loses more than twice as many lines; before, rows always did."""
    cases = [((80, 100), (40, 20), False), ((80, 101), (40, 20), True), ((80, 90), (99, 89), True), ((80, 90), (99, 90), False)]
    for version, is_new in (("13.0.0", True), ("12.3.0", False), ("14.1.0.dev0", True)):
        monkeypatch.setattr("PIL.__version__", version)
        assert [columns_first(size, new) for size, new, _ in cases] == [is_new and first for *_, first in cases]
