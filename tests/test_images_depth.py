"""Deep pictures keep what they show: whatever their bit depth, bands and pages, from files and for a preprocessing of one's own."""

from __future__ import annotations

import io
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvnet
from deconvnet.errors import OptionError, PictureError, PictureWarning
from deconvnet.images import OwnPreprocess, Preprocess, open_picture
from deconvnet.images.depth import DEPTHS, find_range
from support.pngs import png

BITS = (8, 10, 12, 14, 16)
HALF = ((0.5,) * 3, (0.5,) * 3)


def ramp(bits, shape=(8, 32)):
    """Values from 0 to the largest of so many bits."""
    return np.linspace(0, 2**bits - 1, shape[0] * shape[1]).round().astype(np.uint16).reshape(shape)


def scaled(values, low, high):
    """The slow twin: each value by itself."""
    return [[round(min(max((int(v) - low) * 255 / (high - low), 0), 255)) for v in row] for row in values.tolist()]


@pytest.mark.parametrize("form", ["png", "tif", "deflate.tif", "pgm", "PIL"])
@pytest.mark.parametrize("bits", BITS)
def test_greys_fill_the_range_that_they_use(tmp_path, bits, form):
    """A ramp of 8 to 14 bits in a file of 16 becomes a ramp from black to white."""
    values = ramp(bits)
    picture = Image.fromarray(values)
    if form != "PIL":
        path = tmp_path / f"a.{form}"
        picture.save(path, **({"compression": "tiff_adobe_deflate"} if form == "deflate.tif" else {}))
        picture = path
    assert np.asarray(open_picture(picture))[..., 1].tolist() == scaled(values, 0, 2**bits - 1)


FORMS = ("colours.png", "clear.png", "grey-clear.png", "raw.tif", "deflate.tif", "big-endian.tif", "colours.ppm")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", BITS)
def test_colours_fill_the_range_that_they_use(tmp_path, bits, form):
    """Colours of 16 bits, of which Pillow keeps the upper 8, are scaled by all of them; what is opaque stays opaque."""
    full = 2**bits - 1
    channels = {"clear.png": 4, "grey-clear.png": 2}.get(form, 3)
    values = np.stack([ramp(bits), ramp(bits)[::-1], ramp(bits) // 2, np.full_like(ramp(bits), 65535)], axis=-1)
    values = values[..., [0, 3]] if channels == 2 else values[..., :channels]
    path = tmp_path / form
    if form.endswith(".png"):
        path.write_bytes(png(values))
    elif form.endswith(".ppm"):
        path.write_bytes(b"P6 32 8 65535\n" + values.astype(">u2").tobytes())
    else:
        tifffile = pytest.importorskip("tifffile")
        options = {"compression": "zlib"} if form == "deflate.tif" else {}
        tifffile.imwrite(path, values, photometric="rgb", byteorder=">" if form == "big-endian.tif" else "<", **options)
    shown = np.asarray(open_picture(path))
    if not form.endswith(".ppm"):
        assert np.array_equal(np.asarray(open_picture(Image.open(path))), shown)
    if bits == 16:
        assert np.array_equal(shown, np.asarray(Image.open(path).convert("RGB"))) or channels in (2, 4)
    if bits == 16 and not form.endswith(".ppm"):  # as Pillow does: the upper 8 bits
        assert np.array_equal(shown[..., 0], values[..., 0] >> 8)
        return
    for channel in range(1 if channels == 2 else 3):
        assert shown[..., channel].tolist() == scaled(values[..., channel], 0, full)


@pytest.mark.parametrize(
    ("low", "high", "floats", "expected"),
    [
        (0, 0, False, (0, 255)),
        (0, 256, False, (0, 1023)),
        (0, 4095, False, (0, 4095)),
        (0, 4096, False, (0, 16383)),
        (0, 0.5, True, (0, 1)),
        (0, 300.0, True, (0, 1023)),
        (-5, 100, False, (-5, 100)),
        (0, 65536, False, (0, 65536)),
        (70_000, 70_000, False, (0, 140_000)),
        (-3, -3, False, (-6, 0)),
    ],
)
def test_the_range_is_the_smallest_depth_that_holds_all(low, high, floats, expected):
    """1, 255, 1023, 4095, 16383 or 65535, whichever is enough; otherwise the values' own ends."""
    assert find_range(low, high, floats=floats) == expected
    assert [2**bits - 1 for bits in BITS] == list(DEPTHS)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "RGB"])
def test_a_range_that_is_given_holds_for_every_picture(tmp_path, mode):
    """Black and white as the user says, whatever a picture's values; beyond them, black and white; 8 bits are left alone."""
    values = ramp(12)
    path = tmp_path / ("a.png" if mode == "RGB" else "a.tif")
    if mode == "RGB":
        path.write_bytes(png(np.stack([values] * 3, axis=-1)))
    else:
        Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])).save(path)
    expected = scaled(values, 1000, 3000)
    assert np.asarray(open_picture(path, value_range=(1000, 3000)))[..., 0].tolist() == expected
    preprocess = Preprocess(8, (8, 8), *HALF, value_range=(1000, 3000))
    assert np.asarray(preprocess.crop_picture(path))[..., 2].tolist() == [row[12:20] for row in expected]
    shallow = Image.fromarray((values // 16).astype(np.uint8))
    assert open_picture(shallow, value_range=(1000, 3000)).getpixel((31, 7)) == (255, 255, 255)


@pytest.mark.parametrize("ends", [(3, 3), (4, 1), (0, float("nan")), (float("-inf"), 1)])
def test_a_range_begins_with_black(ends):
    """A range whose white is not above its black is refused."""
    with pytest.raises(OptionError) as caught:
        Preprocess(8, 8, *HALF, value_range=ends)
    assert str(caught.value) == f"a range cannot be {ends[0]:g}..{ends[1]:g}: black comes first, white is above it."
    with pytest.raises(OptionError) as caught:
        Preprocess(8, 8, *HALF, value_range=(1,))  # type: ignore[arg-type]
    assert str(caught.value) == "a range cannot be (1,): it is (black, white)."


def test_bands_of_rows_give_what_the_whole_gives(monkeypatch):
    """A large picture is converted some rows at a time, to the same pixels, NaN and infinities included."""
    rng = np.random.default_rng(0)
    floats = rng.normal(0, 500, (37, 11)).astype(np.float32)
    floats[3, 4], floats[20, 1], floats[36, 10] = np.nan, np.inf, -np.inf
    clear = Image.fromarray(rng.integers(0, 256, (37, 11, 4), dtype=np.uint8))
    pictures = [Image.fromarray(floats), Image.fromarray(ramp(12, (37, 11))), clear]
    whole = [open_picture(picture).tobytes() for picture in pictures]
    for rows in (1, 5):
        monkeypatch.setattr("deconvnet.images.depth._BAND_PIXELS", 11 * rows)
        monkeypatch.setattr("deconvnet.images.colours._BAND_PIXELS", 11 * rows)
        assert [open_picture(picture).tobytes() for picture in pictures] == whole


# A fourth band


def rgbn(path, values, **options):
    """Write red, green, blue and a band that is tagged as transparency."""
    Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize("form", ["tif", "jp2"])
def test_a_measured_fourth_band_leaves_the_others_alone(tmp_path, form):
    """Near infrared that is tagged as alpha is left out, and a warning says so."""
    values = np.random.default_rng(0).integers(0, 250, (16, 20, 4), dtype=np.uint8)
    path = rgbn(tmp_path / f"a.{form}", values)
    text = f"{str(path)!r}: its last band is left out: by its values it is no transparency."
    with pytest.warns(PictureWarning) as warned:
        shown = np.asarray(open_picture(path))
    assert [str(warning.message) for warning in warned] == [text]
    assert np.array_equal(shown, values[..., :3])


def test_transparency_of_a_tiff_is_laid_over_grey_with_a_word(tmp_path):
    """A band that is mostly all or nothing is transparency; a note says that it was taken as such, unless all is opaque."""
    values = np.full((8, 8, 4), 200, np.uint8)
    values[..., 3] = 255
    values[:3, :, 3] = 0
    values[3, :, 3] = 128
    path = rgbn(tmp_path / "a.tif", values)
    notes = []
    assert open_picture(path, on_note=notes.append).getpixel((0, 0)) == (128, 128, 128)
    assert notes == [f"{str(path)!r}: its last band was taken as transparency."]
    values[..., 3] = 255
    open_picture(rgbn(path, values), on_note=notes.append)
    rgbn(tmp_path / "a.png", values[:, :, [0, 1, 2, 2]])
    open_picture(tmp_path / "a.png", on_note=notes.append)  # in a PNG, a fourth band is transparency
    assert len(notes) == 1


def test_the_first_of_several_pages_is_named(tmp_path):
    """Of a stack of pages the first is taken, and that is said; a picture of one page needs no word."""
    pages = [Image.new("L", (6, 5), colour) for colour in (10, 200)]
    path = tmp_path / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    notes = []
    assert open_picture(path, on_note=notes.append).getpixel((0, 0)) == (10, 10, 10)
    assert notes == [f"{str(path)!r} has several pages: the first one is taken."]
    pages[0].save(path)
    open_picture(path, on_note=notes.append)
    assert len(notes) == 1


# A preprocessing of one's own


def handed(picture, channels=3, **options):
    """Return what a preprocessing of the user's own is called with."""
    got = []
    OwnPreprocess(lambda given: got.append(given) or torch.zeros(1, 2, 2), channels)(picture, **options)
    return got[0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_it_gets_deep_pictures_as_they_are(tmp_path, channels):
    """16-bit greys, floats and signed numbers reach it with all their bits, whatever the net takes."""
    for number, kind in enumerate((np.uint16, np.int32, np.float32)):
        values = (ramp(12) * (1 if kind is np.uint16 else -1.0)).astype(kind)
        path = tmp_path / f"{number}.tif"
        Image.fromarray(values).save(path)
        assert np.array_equal(np.asarray(handed(path, channels)), values)
        assert np.array_equal(np.asarray(handed(Image.fromarray(values), channels)), values)
        data = io.BytesIO(path.read_bytes())
        assert np.array_equal(np.asarray(handed("elsewhere.tif", channels, data=data)), values)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "RGB"])
def test_it_gets_photographs_as_the_net_takes_them(tmp_path, mode):
    """For a net of three channels, pictures of 8 bits are RGB, as they always were; for others, as the file has them."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert handed(path).tobytes() == open_picture(path).tobytes()
        assert handed(Image.open(path)).tobytes() == open_picture(path).tobytes()
        for channels in (1, 4):
            assert (handed(path, channels).mode, handed(path, channels).tobytes()) == (picture.mode, picture.tobytes())


def test_it_gets_pages_that_it_can_turn(tmp_path, monkeypatch):
    """A picture of several pages comes at its first one, and can seek the others while the function runs."""
    pages = [Image.new("I;16", (6, 5), colour) for colour in (10, 3000)]
    path = tmp_path / "stack.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    seen = []
    monkeypatch.setattr("deconvnet.images.opening.MAX_SECONDS", 0.05)  # to open it: the function may take longer

    def both(picture):
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        for page in range(picture.n_frames):
            picture.seek(page)
            seen.append(int(np.asarray(picture).max()))
        return torch.zeros(2, 5, 6)

    assert OwnPreprocess(both, 2)(path).shape == (2, 5, 6)
    assert seen == [10, 3000]


def test_it_gets_the_path_of_what_pillow_cannot_read(tmp_path):
    """A TIFF of five bands is handed over by its path; bytes from elsewhere, or a file that is not there, are refused."""
    tifffile = pytest.importorskip("tifffile")
    bands = np.random.default_rng(0).integers(0, 255, (8, 9, 5), dtype=np.uint8)
    path = tmp_path / "five.tif"
    tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"] * 4)
    assert handed(path, 5) == handed(str(path), 5) == str(path)
    text = "is a TIFF with bands or numbers that Pillow does not know. Convert it to PNG or JPEG."
    with pytest.raises(PictureError) as caught:
        handed("five.tif", 5, data=io.BytesIO(path.read_bytes()))
    assert str(caught.value) == f"cannot open 'five.tif': it {text}"
    with pytest.raises(PictureError) as caught:
        open_picture(path)
    assert str(caught.value) == f"cannot open {str(path)!r}: it {text}"
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU()), lambda where: five_bands(tifffile, where))
    assert net.record([path]).images.shape == (1, 5, 8, 9)


def five_bands(tifffile, where):
    return torch.from_numpy(tifffile.imread(where).transpose(2, 0, 1)).float() / 255


def test_a_scan_notes_what_it_left_out(tmp_path):
    """Pages and frames that a scan does not take are noted for the first pictures, and counted for the others."""
    (tmp_path / "in").mkdir()
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "blue")]
    for number in range(7):
        frames[0].save(tmp_path / "in" / f"{number}.gif", save_all=True, append_images=frames[1:])
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    with deconvnet.scan(net, tmp_path / "in", tmp_path / "a.scan", layers=["features.1"]) as scan:
        path = str(tmp_path / "in" / "0.gif")
        assert scan.notes[0] == f"{path!r} has several frames: the first one is taken."
        assert scan.notes[5:] == ["... and 2 more pictures of which only a part was taken."]


def test_a_scan_hands_it_the_same(tmp_path):
    """A scan's preprocessing of one's own gets deep pictures as they are, as recording does."""
    seen = []

    def own(picture):
        seen.append(np.asarray(picture).max())
        return torch.from_numpy(np.asarray(picture, dtype=np.float32))[None] / 4095

    (tmp_path / "in").mkdir()
    Image.fromarray(ramp(12)).save(tmp_path / "in" / "a.png")
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), own)
    with deconvnet.scan(net, tmp_path / "in", tmp_path / "a.scan") as scan:
        assert not scan.skipped()
    assert set(seen) == {4095}
