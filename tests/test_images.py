"""Pictures of any kind are opened or refused in one line; preprocessing equals torchvision's, and can be undone."""

from __future__ import annotations

import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deconvnet.choices import INTERPOLATIONS
from deconvnet.errors import OptionError, PictureError, PictureWarning
from deconvnet.images import Preprocess, find_pictures, limits, open_picture, opening, to_rgb

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def refusal(path: object) -> str:
    with pytest.raises(PictureError) as caught:
        open_picture(path)  # type: ignore[arg-type]
    assert len(caught.value.args) == 1
    return str(caught.value)


# Converted, never refused


MODES = ["1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16", "I;16B", "RGBX", "La", "RGBa"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb_of_the_same_size(mode: str) -> None:
    """A picture of any mode becomes 8-bit RGB and keeps its height and width."""
    picture = open_picture(Image.new(mode, (5, 3)))
    assert (picture.mode, picture.size) == ("RGB", (5, 3))


@pytest.mark.parametrize(
    ("mode", "colour", "shown"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 7, (7, 7, 7)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (128, 128, 128)),
        ("LA", (200, 0), (128, 128, 128)),
        ("LA", (200, 255), (200, 200, 200)),
        ("RGBA", (255, 255, 255, 128), (192, 192, 192)),
    ],
)
def test_colours_are_kept_and_transparency_lies_over_grey(mode: str, colour: object, shown: tuple[int, ...]) -> None:
    """Opaque colours stay as they are; transparent pixels show mid-grey, 128."""
    assert open_picture(Image.new(mode, (2, 2), colour)).getpixel((1, 1)) == shown  # type: ignore[arg-type]


def test_transparent_palette_colours_lie_over_grey(tmp_path: Path) -> None:
    """A palette picture with a transparent colour is laid over grey, from a GIF or a PNG."""
    picture = Image.new("P", (4, 2), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.putpixel((0, 0), 0)
    for suffix in ("gif", "png"):
        picture.save(tmp_path / f"a.{suffix}", transparency=0)
        opened = open_picture(tmp_path / f"a.{suffix}")
        assert (opened.getpixel((0, 0)), opened.getpixel((3, 1))) == ((128, 128, 128), (10, 200, 30))


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [
        ([0, 257, 32768, 65535], np.uint16, [0, 1, 128, 255]),  # a 16-bit file: / 257
        ([0, 100, 255, 7], np.int32, [0, 100, 255, 7]),  # fits 0..255
        ([0, 257, 65535, 514], np.int32, [0, 1, 255, 2]),  # fits 0..65535
        ([-100, 0, 100, 100], np.int32, [0, 128, 255, 255]),  # neither: its minimum..maximum
        ([70000, 70000, 70000, 70000], np.int32, [128, 128, 128, 128]),  # one value: mid-grey
        ([0, 0.5, 1, 0.2], np.float32, [0, 128, 255, 51]),  # fits 0..1
        ([0, 100, 200, 2], np.float32, [0, 100, 200, 2]),  # fits 0..255
        ([0.2, 1, np.inf, -np.inf], np.float32, [51, 255, 255, 51]),  # infinite is the finite extreme
        ([np.nan, 1, 0.2, 0.2], np.float32, [0, 255, 51, 51]),  # not a number is 0
    ],
)
def test_deep_greys_are_scaled_not_clipped(values: list[float], kind: type, shown: list[int]) -> None:
    """16-bit, 32-bit and float greys reach 0..255 by scaling."""
    picture = open_picture(Image.fromarray(np.array([values], dtype=kind)))
    assert [picture.getpixel((x, 0)) for x in range(4)] == [(value,) * 3 for value in shown]


def test_16_bit_files_are_scaled(tmp_path: Path) -> None:
    """A 16-bit PNG or TIFF, grey or in colour, is scaled to 8 bits."""
    grey = Image.fromarray(np.array([[0, 51400, 65535]], dtype=np.uint16))
    for suffix in ("png", "tif"):
        grey.save(tmp_path / f"a.{suffix}")
        assert [open_picture(tmp_path / f"a.{suffix}").getpixel((x, 0))[0] for x in range(3)] == [0, 200, 255]
    row = b"\0" + struct.pack(">6H", 65535, 0, 257 * 9, 0, 257 * 200, 0)  # two pixels of 16-bit RGB
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
    body = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(body))
    opened = open_picture(tmp_path / "c.png")
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 0))) == ((255, 0, 9), (0, 200, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_camera_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    """The pixels come out upright, for all eight EXIF orientations."""
    upright = noise(4, 6)
    stored = {  # what a camera writes that is held at this angle
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(open_picture(tmp_path / "a.png")), upright)


def test_damaged_exif_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture with unreadable EXIF is opened as it is stored, also where Pillow raises."""
    path = tmp_path / "a.jpg"
    Image.fromarray(noise(4, 6)).save(path, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert open_picture(path).size == (6, 4)
    monkeypatch.setattr(opening.ImageOps, "exif_transpose", lambda _: struct.unpack(">I", b""))
    assert open_picture(path).size == (6, 4)


def test_animations_give_their_first_frame(tmp_path: Path) -> None:
    """An animation is opened as its first frame, and a warning says so."""
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = tmp_path / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(PictureWarning) as warned:
        assert open_picture(path).getpixel((0, 0)) == (255, 0, 0)
    assert [str(warning.message) for warning in warned] == [f"{str(path)!r} has several frames: the first one is taken."]


def test_one_pixel_is_a_picture() -> None:
    """A picture of one pixel is opened, enlarged and cropped."""
    pixel = Image.new("RGB", (1, 1), (10, 20, 30))
    assert open_picture(pixel).size == (1, 1)
    assert Preprocess(256, 224, *IMAGENET).crop_picture(pixel).getcolors() == [(224 * 224, (10, 20, 30))]


def test_a_picture_is_decoded_and_its_file_closed(tmp_path: Path) -> None:
    """The file can be deleted once the picture is open, and a picture that is passed in is never changed."""
    path = tmp_path / "a.png"
    Image.fromarray(noise(3, 4)).save(path)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    opened = open_picture(str(path))
    assert not before or len(os.listdir("/proc/self/fd")) == before
    path.unlink()
    assert np.array_equal(np.asarray(opened), noise(3, 4))
    opened.putpixel((0, 0), (0, 0, 0))
    copy = open_picture(opened)
    copy.putpixel((0, 0), (9, 9, 9))
    assert opened.getpixel((0, 0)) == (0, 0, 0)


def test_pictures_open_from_many_threads(tmp_path: Path) -> None:
    """Opening from several threads leaves Python's warning filters as they were."""
    Image.fromarray(noise(3, 4)).save(tmp_path / "a.png")
    filters = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [open_picture(tmp_path / "a.png") for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters


# Refused in one line


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a folder, an empty file and a pipe each get their own message."""
    gone, empty, pipe = tmp_path / "gone's.jpg", tmp_path / "empty.jpg", tmp_path / "pipe"
    empty.touch()
    assert refusal(gone) == f"cannot open {str(gone)!r}: there is no such file. Check the path."
    assert refusal(tmp_path) == f"cannot open {str(tmp_path)!r} as a picture: it is a folder. Name a picture in it."
    assert refusal(empty) == f"cannot open {str(empty)!r}: the file is empty. Get a fresh copy."
    assert refusal(3) == "a picture must be a path or a PIL picture, found int."
    long = "x" * 5000
    assert refusal(long) == f"cannot open {long!r}: File name too long. Check the path."
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
        message = f"cannot open {str(pipe)!r} as a picture: it is a pipe or a device. Save the picture to a file first."
        assert refusal(pipe) == message


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is refused for that reason."""
    path = tmp_path / "a.png"
    path.write_bytes(b"x")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so permissions cannot be tried for real
    assert refusal(path) == f"cannot open {str(path)!r}: reading it is not permitted. Change its permissions."


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    """A file that is cut anywhere is refused, whatever Pillow's decoder does with it."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(40, 30)).save(path)
    data = path.read_bytes()
    damaged = f"cannot open {str(path)!r}: the picture is damaged or cut short. Get a fresh copy."
    unread = "is in none of the formats that are read: AVIF, BMP, GIF, JPEG, JPEG 2000, PNG, PGM, PPM, TIFF and WebP"
    kinds = (unread, "is a TIFF with bands or numbers that Pillow does not know", "is a text, which is not read as a picture")
    unknown = [f"cannot open {str(path)!r}: it {kind}. Convert it to PNG or JPEG." for kind in kinds]
    for length in (3, 20, len(data) // 2, len(data) * 3 // 4):
        path.write_bytes(data[:length])
        assert refusal(path) in (damaged, *unknown)
    assert length < 100 or refusal(path) == damaged


def test_truncated_jpeg_and_text_are_refused_with_these_words(tmp_path: Path) -> None:
    """Half a JPEG is damaged; a text file is not a picture."""
    jpeg, text = tmp_path / "a.jpg", tmp_path / "b.jpg"
    Image.fromarray(noise(40, 30)).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:-200])
    text.write_text("not a picture")
    assert refusal(jpeg) == f"cannot open {str(jpeg)!r}: the picture is damaged or cut short. Get a fresh copy."
    assert (
        refusal(text) == f"cannot open {str(text)!r}: it is a text, which is not read as a picture. Convert it to PNG or JPEG."
    )


@pytest.mark.parametrize("limit", [10, 7, 3])
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """More pixels than the limit are refused at Pillow's warning level, at its error level, and where its limit was lifted."""
    path = tmp_path / "a.png"
    Image.fromarray(noise(3, 4)).save(path)  # 12 pixels: above 10 and 7 Pillow warns, above twice 3 it raises
    message = f"cannot open {str(path)!r}: it has more than {limits.MAX_PIXELS:,} pixels, too many to be safe. Shrink it first."
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert refusal(path) == message
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(limits, "MAX_PIXELS", limit)
    assert refusal(path) == message.replace("89,478,485", str(limit))


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (Image.DecompressionBombError("big"), "it has more than 89,478,485 pixels, too many to be safe. Shrink it first."),
        (struct.error("unpack"), "the picture is damaged or cut short. Get a fresh copy."),
    ],
)
def test_failures_while_decoding_are_refusals(monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: str) -> None:
    """What a decoder raises late, over a frame inside the file, is a refusal as well."""

    def load(_: object) -> None:
        raise raised

    picture = Image.new("RGB", (3, 4))
    monkeypatch.setattr(Image.Image, "load", load)
    assert refusal(picture) == f"cannot open the PIL picture: {reason}"


def test_the_limit_is_pillows_own() -> None:
    """The documented limit is where Pillow starts to warn."""
    assert Image.MAX_IMAGE_PIXELS == limits.MAX_PIXELS


def test_a_picture_without_pixels_is_refused() -> None:
    """A PIL picture with no row or column is refused; it has nothing to enlarge."""
    assert (
        refusal(Image.new("RGB", (0, 4)))
        == "cannot use the PIL picture: it has 4 x 0 pixels. Give a picture with at least one pixel."
    )


def test_colours_without_a_way_to_rgb_are_refused() -> None:
    """LAB, which Pillow cannot convert by itself, is refused with the way out."""
    try:
        Image.new("LAB", (2, 2)).convert("RGB")
    except ValueError:
        message = "cannot open the PIL picture: its colours are LAB. Convert it to RGB, as PNG or JPEG."
        assert refusal(Image.new("LAB", (2, 2))) == message


# Folders


def test_find_pictures_lists_files_and_folders_in_order(tmp_path: Path) -> None:
    """Files stay as named; a folder gives its pictures and those below, sorted, without hidden ones."""
    for name in ("b.PNG", "a.jpg", "sub/c.webp", ".hidden.png", ".git/d.png", "notes.txt"):
        path = tmp_path / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "f" / "folder.png").mkdir()
    named = tmp_path / "f" / "notes.txt"
    below = [tmp_path / "f" / name for name in ("a.jpg", "b.PNG", "sub/c.webp")]
    assert find_pictures([named, tmp_path / "f"]) == [named, *below]
    assert find_pictures(str(tmp_path / "f")) == below


def test_find_pictures_takes_a_hidden_folder_that_is_named(tmp_path: Path) -> None:
    """Hidden means hidden below the folder: naming a hidden folder is asking for it."""
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "a.png").touch()
    assert find_pictures([tmp_path / ".cache"]) == [tmp_path / ".cache" / "a.png"]


def test_find_pictures_refuses_empty_folders_and_missing_paths(tmp_path: Path) -> None:
    """A folder without pictures and a path that does not exist are errors."""
    with pytest.raises(PictureError) as caught:
        find_pictures([tmp_path])
    suffixes = (
        ".apng, .avif, .bmp, .gif, .j2k, .jfif, .jp2, .jpe, .jpeg, .jpg, .pbm, .pgm, .png, .pnm, .ppm, .tif, .tiff, .webp"
    )
    assert str(caught.value) == f"no pictures in {str(tmp_path)!r}. Looked in it and below for {suffixes}."
    with pytest.raises(PictureError) as caught:
        find_pictures([tmp_path / "gone"])
    path = str(tmp_path / "gone")
    assert str(caught.value) == f"cannot open {path!r}: there is no such file or folder. Check the path."
    with pytest.raises(PictureError):
        find_pictures("x" * 5000)


# Preprocessing


@pytest.mark.parametrize("size", [(37, 53), (53, 37), (300, 301), (231, 500), (8, 3), (64, 64)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_preprocess_equals_torchvision(size: tuple[int, int], interpolation: str) -> None:
    """The tensor equals, bit for bit, that of torchvision's Resize, CenterCrop, ToTensor and Normalize, sizes odd or even, up or down."""
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchvision.transforms")
    picture = Image.fromarray(noise(*size))
    theirs = transforms.Compose(
        [
            transforms.Resize(64, interpolation=transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop((57, 50)),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET),
        ]
    )
    ours = Preprocess(64, (57, 50), *IMAGENET, interpolation=interpolation)(picture)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, theirs(picture))


@pytest.mark.parametrize(("mean", "std"), [IMAGENET, ((0.5,), (0.5,)), ((0.0,) * 3, (1 / 255,) * 3)])
def test_denormalising_is_exact(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Denormalising gives exactly the pixels that the net saw, for every value of a pixel."""
    pytest.importorskip("torch")
    preprocess = Preprocess(16, 16, mean, std)
    channels = len(mean)
    levels = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")
    pixels = preprocess.denormalise(preprocess(levels))
    assert (pixels.shape, pixels.dtype) == ((16, 16, channels), np.uint8)
    assert np.array_equal(pixels, np.asarray(preprocess.crop_picture(levels)).reshape(16, 16, channels))


def test_denormalising_clips_and_takes_arrays_and_tensors_with_gradients() -> None:
    """Values no pixel has are clipped, NaN is 0, and any array or tensor will do."""
    torch = pytest.importorskip("torch")
    preprocess = Preprocess(1, 1, (0.5,), (0.5,))
    values = [[[-9.0, -1.0, 0.0, 1.0, 9.0, np.nan]]]
    expected = [0, 0, 128, 255, 255, 0]
    assert preprocess.denormalise(np.array(values))[0, :, 0].tolist() == expected
    assert preprocess.denormalise(torch.tensor(values, requires_grad=True).bfloat16())[0, :, 0].tolist() == expected


def test_the_cropped_picture_is_what_the_net_sees() -> None:
    """A net with one channel gets a grey picture; a path works as well as a picture."""
    cropped = Preprocess(8, 8, (0.5,), (0.5,)).crop_picture(Image.fromarray(noise(8, 8)))
    assert (cropped.mode, cropped.size) == ("L", (8, 8))
    assert np.array_equal(np.asarray(Preprocess(8, 8, *IMAGENET).crop_picture(Image.fromarray(noise(8, 8)))), noise(8, 8))


def test_preprocess_refusals() -> None:
    """Each refusal says what was asked, what was found, what to do."""
    cases = [
        (lambda: Preprocess(8, 8, (0.5,) * 2, (1.0,) * 2)(Image.new("RGB", (8, 8))),
         "a picture has 1 or 3 channels, the net takes 2. Give a tensor (N, C, H, W)."),
        (lambda: Preprocess(256, 224, *IMAGENET)(Image.new("L", (1, 5000))),
         "a picture of 5000 x 1 pixels is too long to resize to 256. Crop it first."),
        (lambda: Preprocess(8, 8, *IMAGENET).denormalise(np.zeros((1, 3, 8, 8))),
         "cannot denormalise an image of shape (1, 3, 8, 8). Give (3, H, W)."),
        (lambda: to_rgb(np.zeros((3, 4), np.uint8)), "pixels of shape (3, 4) cannot be shown. Give (H, W, C)."),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(PictureError) as caught:
            call()
        assert str(caught.value) == message


def test_preprocess_options_that_cannot_be() -> None:
    """A crop beyond the resize would need padding, and there is none; each channel needs a mean and a std."""
    cases: list[tuple[tuple, str]] = [
        ((8, 9, (0.5,), (0.5,)), "cannot crop 9 x 9 from a short side of 8. Give a smaller crop."),
        ((8, (8, 0), (0.5,), (0.5,)), "cannot crop 8 x 0 from a short side of 8. Give a smaller crop."),
        ((8, 8, (0.5,), (0.0,)), "mean (0.5,) and std (0.0,) do not fit. Give one of each for a channel, std above 0."),
        ((8, 8, (0.5, 0.5), (1.0,)), "mean (0.5, 0.5) and std (1.0,) do not fit. Give one of each for a channel, std above 0."),
        (
            (8, 8, (0.5,), (0.5,), "bilinaer"),
            "interpolation cannot be 'bilinaer': it is one of nearest, bilinear, bicubic, lanczos. Did you mean 'bilinear'?",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(OptionError) as caught:
            Preprocess(*arguments)
        assert str(caught.value) == message


def test_to_rgb_shows_any_number_of_channels() -> None:
    """Three channels stay, one becomes grey, others become the grey of their mean."""
    pixels = noise(2, 3)
    assert to_rgb(pixels) is pixels
    assert to_rgb(pixels[:, :, :1]).tolist() == np.repeat(pixels[:, :, :1], 3, axis=2).tolist()
    two = np.array([[[10, 21]]], dtype=np.uint8)
    assert to_rgb(two).tolist() == [[[16, 16, 16]]]
    assert to_rgb(np.full((1, 1, 5), 9, np.uint8)).tolist() == [[[9, 9, 9]]]


# Large JPEGs, decoded at a part of their size


@pytest.mark.parametrize(
    ("size", "divisor"),
    [
        ((31, 40), 1),
        ((127, 200), 1),
        ((128, 200), 2),
        ((255, 400), 2),
        ((256, 300), 4),
        ((511, 600), 4),
        ((512, 700), 8),
        ((3000, 2000), 8),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_reduced_decoding_keeps_twice_the_short_side(tmp_path, size, divisor, mode):
    """A JPEG is decoded at the least of its sides that leaves twice `resize` of the short one; other files in full."""
    small = Image.fromarray(noise(30, 40)).resize(size, Image.Resampling.BICUBIC).convert(mode)
    small.save(tmp_path / "a.jpg", quality=90)
    reduced, exact = (Preprocess(32, 24, *IMAGENET, decode=decode) for decode in ("reduced", "exact"))
    with Image.open(tmp_path / "a.jpg") as twin:
        if divisor > 1:
            twin.draft(None, (size[0] // divisor, size[1] // divisor))
        assert twin.size == (-(-size[0] // divisor), -(-size[1] // divisor))
        whole = (32, 32 * size[1] // size[0]) if size[0] < size[1] else (32 * size[0] // size[1], 32)
        box = (0, 0, size[0] / divisor, size[1] / divisor)
        resized = twin.convert("L" if mode == "L" else "RGB").resize(whole, Image.Resampling.BILINEAR, box).convert("RGB")
        left, top = round((whole[0] - 24) / 2), round((whole[1] - 24) / 2)
        assert reduced.crop_picture(tmp_path / "a.jpg").tobytes() == resized.crop((left, top, left + 24, top + 24)).tobytes()
    crops = [np.asarray(preprocess.crop_picture(tmp_path / "a.jpg"), float) for preprocess in (reduced, exact)]
    assert np.abs(crops[0] - crops[1]).mean() < (5 if divisor > 1 else 1e-9)
    small.convert("RGB").save(tmp_path / "a.png")
    assert reduced.crop_picture(tmp_path / "a.png").tobytes() == exact.crop_picture(tmp_path / "a.png").tobytes()


def test_reduced_decoding_is_kept_where_it_is_used():
    """It is among the settings only where it is used; other words are refused."""
    assert Preprocess(32, 24, *IMAGENET, decode="reduced").settings()["decode"] == "reduced"
    assert "decode" not in Preprocess(32, 24, *IMAGENET).settings()
    with pytest.raises(OptionError) as caught:
        Preprocess(32, 24, *IMAGENET, decode="half")
    assert str(caught.value) == "decode cannot be 'half': it is one of exact, reduced, gpu."


def test_reduced_decoding_turns_upright(tmp_path):
    """EXIF turns a picture that is decoded at a part of its size, too."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(noise(30, 40)).resize((400, 300), Image.Resampling.BICUBIC)
    picture.save(tmp_path / "turned.jpg", quality=90, exif=exif)
    picture.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.jpg", quality=90)
    crops = [
        np.asarray(Preprocess(32, 24, *IMAGENET, decode="reduced").crop_picture(tmp_path / f"{name}.jpg"), float)
        for name in ("turned", "upright")
    ]
    assert np.abs(crops[0] - crops[1]).mean() < 3
