"""Where a scan's pictures come from, and what happens to those that cannot be used: each is named, none is lost."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvnet
from deconvnet.errors import PictureError
from deconvnet.images import SUFFIXES, limits
from deconvnet.images.formats import FORMAT_NAMES
from deconvnet.scanning.pictures import MAX_BYTES, collate, prepare
from support.scans import check_top, drawing, drawings, dump, images_of, rows, slow_maxima


def scan_into(net, pictures, path, **options):
    return deconvnet.scan(net, pictures, path, layers=["features.1"], **options)


def names_of(scan) -> list[str]:
    return list(scan.paths().values())


# Where they come from


@pytest.fixture
def nested(tmp_path):
    """Pictures in folders, some of which are to be left out."""
    places = ["b.png", "a.png", "dogs/2.png", "dogs/small/1.png", "cats/3.png"]
    for seed, name in enumerate(places):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        drawing(seed).save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.md").write_text("not a picture")
    (tmp_path / "in" / ".hidden").mkdir()
    drawing(9).save(tmp_path / "in" / ".hidden" / "x.png")
    drawing(9).save(tmp_path / "in" / "dogs" / ".y.png")
    return tmp_path / "in"


NESTED = ["a.png", "b.png", "cats/3.png", "dogs/2.png", "dogs/small/1.png"]


def test_every_way_of_naming_gives_one_table(net, nested, tmp_path, monkeypatch):
    """A folder, a glob, a list file, a list of paths and a dataset of the same pictures: the same entries, byte for byte."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "list.txt").write_text("\ufeff" + "\n\n".join(NESTED) + "\r\n  \n", encoding="utf-8")
    files = [nested / name for name in NESTED]

    class Labelled(torch.utils.data.Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, number):
            return Image.open(files[number]).convert("RGB"), 7

    pixels = images_of(files, net.preprocess)
    ways = {
        "folder": (nested, NESTED),
        "text": ("in", NESTED),
        "glob": ("in/**/*.png", [f"in/{name}" for name in NESTED]),
        "list": (nested / "list.txt", NESTED),
        "paths": ([str(path) for path in files], [f"in/{name}" for name in NESTED]),
        "labelled": (Labelled(), [f"item {number}" for number in range(5)]),
        "pictures": ([Image.open(path) for path in files], [f"item {number}" for number in range(5)]),
        "tensor": (pixels, [f"item {number}" for number in range(5)]),
        "tensors": (torch.utils.data.TensorDataset(pixels, torch.arange(5)), [f"item {number}" for number in range(5)]),
    }
    tables = {}
    for name, (pictures, names) in ways.items():
        scan = scan_into(net, pictures, tmp_path / f"{name}.scan", batch=2)
        assert names_of(scan) == names, name
        tables[name] = dump(scan.path, "hits", "channels")
    assert len(set(tables.values())) == 1, tables.keys()


def test_a_glob_of_one_folder_and_of_all_below(net, nested, tmp_path, monkeypatch):
    """* stays in its folder, ** goes below; hidden files are left out; a folder whose name looks like a glob is a folder."""
    monkeypatch.chdir(tmp_path)
    assert names_of(scan_into(net, "in/*.png", "a.scan")) == ["in/a.png", "in/b.png"]
    assert names_of(scan_into(net, "in/dogs/**/*.png", "b.scan")) == ["in/dogs/2.png", "in/dogs/small/1.png"]
    os.rename("in/dogs", "in/dogs [new]")
    assert names_of(scan_into(net, "in/dogs [new]", "c.scan")) == ["2.png", "small/1.png"]
    assert names_of(scan_into(net, "in/b.png", "d.scan")) == ["b.png"]


def test_a_list_may_name_files_from_anywhere(net, nested, tmp_path):
    """Lines are paths from the list's folder, or whole ones; a picture that is listed twice counts once, a missing one is named."""
    drawing(7).save(tmp_path / "outside.png")
    listed = tmp_path / "in" / "some.lst"
    listed.write_text(f"b.png\n{tmp_path}/outside.png\n./b.png\nnone.png\ndogs/../a.png\n")
    scan = scan_into(net, listed, tmp_path / "a.scan")
    assert names_of(scan) == ["b.png", str(tmp_path / "outside.png"), "none.png", "a.png"]
    missing = str(tmp_path / "in" / "none.png")
    assert scan.skipped() == [("none.png", f"cannot open {missing!r}: there is no such file. Check the path.")]


def test_a_dataset_of_files_names_them(net, nested, tmp_path):
    """The items of a dataset with `samples`, such as torchvision's ImageFolder, are named by their files, and read from them later."""

    class Folder(torch.utils.data.Dataset):
        samples = tuple((str(nested / name), 0) for name in [*NESTED, NESTED[0]])

        def __len__(self):
            return len(self.samples)

        def __getitem__(self, number):
            return net.preprocess(self.samples[number][0]), self.samples[number][1]

    scan = scan_into(net, Folder(), tmp_path / "a.scan")
    assert names_of(scan) == [str(nested / name) for name in NESTED]  # the one that comes twice once
    plate = deconvnet.Scan.open(tmp_path / "a.scan").plate("features.1", [4])
    assert plate.figure()
    assert plate.changed == []


def test_items_that_raise_are_named(net, tmp_path):
    """Whatever a dataset raises for an item is kept with the item, on one line; the others are scanned."""

    class Faulty(torch.utils.data.Dataset):
        def __len__(self):
            return 9

        def __getitem__(self, number):
            bad = {
                1: lambda: 1 / 0,
                2: lambda: {}["pixels"],
                3: lambda: torch.zeros(96, 96),
                4: lambda: torch.zeros(3, 96, 96, dtype=torch.uint8),
                5: lambda: torch.zeros(3, 80, 96),
                6: lambda: "no-such-file.png",
                7: lambda: None,
            }
            return bad[number]() if number in bad else net.preprocess(drawing(number))

    scan = scan_into(net, Faulty(), tmp_path / "a.scan", batch=4)
    assert scan.skipped() == [
        ("item 1", "ZeroDivisionError: division by zero"),
        ("item 2", "KeyError: 'pixels'"),
        ("item 3", "an image must be a float tensor (C, H, W), found (96, 96) of float32."),
        ("item 4", "an image must be a float tensor (C, H, W), found (3, 96, 96) of uint8."),
        ("item 5", "it is 3x80x96, the scan's pictures are 3x96x96. Crop them alike."),
        ("item 6", "cannot open 'no-such-file.png': there is no such file. Check the path."),
        ("item 7", "a picture must be a path or a PIL picture, found NoneType."),
    ]
    assert scan.progress() == (9, 9)
    assert (scan.statistics("features.1")["pictures"] == 2).all()
    assert {hit.picture for hit in scan.top("features.1", 3)} == {0, 8}
    assert scan.summary().splitlines()[:2] == [
        f"2 of 9 pictures, 1 layer, 32 channels: {tmp_path / 'a.scan'}",
        "skipped: item 1: ZeroDivisionError: division by zero",
    ]


def test_a_dataset_that_has_shrunk(net, tmp_path):
    """Items that an unfinished scan still needs and that no longer exist are named, and not replaced by others."""
    pixels = torch.stack([net.preprocess(drawing(seed)) for seed in range(6)])

    class Stops(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, number):
            if number == 3:
                raise KeyboardInterrupt
            return pixels[number]

    with pytest.raises(KeyboardInterrupt):
        scan_into(net, Stops(), tmp_path / "a.scan", shard=2)
    scan = scan_into(net, pixels[:5], tmp_path / "a.scan", shard=2)
    assert scan.skipped() == [("item 5", "the dataset no longer has this item. Give the one that the scan began with.")]


def test_other_sizes_than_the_model_s_own(net, tmp_path):
    """Tensors may have any size that the model takes: rows and columns are those of their maps, also on plates."""
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU())
    pixels = torch.randn(12, 2, 17, 31)
    scan = deconvnet.scan(deconvnet.DeconvNet(model), pixels, tmp_path / "a.scan", layers=["1"])
    assert scan.settings["size"] == [2, 17, 31]
    assert scan.size("1") == (5, 15, 29)
    assert not check_top(scan.path, "1", slow_maxima(model, pixels, ["1"])["1"], 29)
    assert scan.plate("1", [2]).figure()


def test_a_function_as_preprocessing(tiny, nested, tmp_path):
    """Any function from a picture to a tensor serves; pictures that it refuses are named; a net without one is refused."""

    def prepared(picture):
        assert picture.mode == "RGB"
        if picture.width == 7:
            raise ValueError("too small\nfor me")
        return torch.from_numpy(np.asarray(picture.resize((40, 30)), np.float32) / 255).permute(2, 0, 1)

    drawing(1).resize((7, 7)).save(nested / "c.png")
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    scan = deconvnet.scan(deconvnet.DeconvNet(model, preprocess=prepared), nested, tmp_path / "a.scan", layers=["1"])
    [(name, problem)] = scan.skipped()
    line = prepared.__code__.co_firstlineno + 3
    assert (name, problem.partition(" in ")[0]) == ("c.png", "the preprocessing failed")
    assert problem.endswith(f"{Path(__file__).name}, line {line} (ValueError: too small).")
    assert scan.size("1") == (4, 28, 38)
    pixels = torch.stack([prepared(Image.open(nested / name)) for name in NESTED])
    values, places = slow_maxima(model, pixels, ["1"])["1"]
    values, places = (np.insert(part, 2, fill, axis=0) for part, fill in ((values, -np.inf), (places, 0)))  # its empty slot
    assert {hit.path for hit in scan.top("1", 0)} == set(NESTED)
    assert [hit.picture for hit in scan.top("1", 2)] == np.argsort(-values[:, 2], kind="stable")[:5].tolist()
    with pytest.raises(PictureError) as error:
        deconvnet.scan(deconvnet.DeconvNet(model), nested, tmp_path / "b.scan")
    assert str(error.value) == "Sequential has no preprocessing for pictures. Pass preprocess=, or a Dataset of tensors."
    bare = deconvnet.scan(deconvnet.DeconvNet(model), [drawing(0)], tmp_path / "c.scan", layers=["1"])
    assert bare.skipped() == [
        (
            "item 0",
            "cannot prepare a picture of type Image: the net has no preprocessing. Pass preprocess= to DeconvNet, or give tensors.",
        )
    ]


def test_pictures_are_normalised_in_batches_bit_for_bit(net):
    """What the net gets is what its preprocessing gives, one by one; grey nets get one channel; mixed batches work too."""
    grey = deconvnet.Preprocess(32, 24, (0.4,), (0.3,))
    for preprocess in (net.preprocess, deconvnet.Preprocess(80, (40, 64), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), grey):
        alone = [preprocess(drawing(seed)) for seed in range(3)]
        pixels = [prepare(drawing(seed), preprocess) for seed in range(3)]
        assert all(picture.dtype == np.uint8 for picture in pixels)
        assert torch.equal(collate(pixels, preprocess), torch.stack(alone))
        assert torch.equal(collate([alone[0], *pixels[1:]], preprocess), torch.stack(alone))


WRONG = [
    (5, "pictures cannot be of type int. Give a folder, a glob, a list file, paths, or a Dataset."),
    (iter([]), "pictures cannot be of type list_iterator. Give a folder, a glob, a list file, paths, or a Dataset."),
    ("none", "cannot open 'none': there is no such file or folder. Check the path."),
    ("none/*.png", "no pictures match 'none/*.png'. Check the pattern."),
    (["none.png"], "cannot open 'none.png': there is no such file or folder. Check the path."),
    ("empty", f"no pictures in 'empty'. Looked in it and below for {', '.join(SUFFIXES)}."),
    ("blank.txt", "the list 'blank.txt' names no picture. Give one path per line."),
    ("latin.txt", "cannot read the list 'latin.txt': 'utf-8' codec can't decode byte 0xfc in position 0: invalid start byte. Give a text file with one path per line, in UTF-8."),
    ([], "there is no picture to scan: the list is empty. Give at least one."),
    (torch.zeros(0, 3, 96, 96), "there is no picture to scan: the list is empty. Give at least one."),
]  # fmt: skip


@pytest.mark.parametrize(("pictures", "text"), WRONG, ids=[str(pictures)[:20] for pictures, _ in WRONG])
def test_what_are_no_pictures(net, tmp_path, monkeypatch, pictures, text):
    """Each is refused in one line, and no file is left behind."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("blank.txt").write_text("\n  \n")
    Path("latin.txt").write_bytes(b"\xfc.png\n")
    with pytest.raises(PictureError) as error:
        scan_into(net, pictures, "a.scan")
    assert str(error.value) == text
    assert not Path("a.scan").exists()


# What cannot be used


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header says that it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def odd_but_good(folder: Path) -> list[str]:
    """Save drawings in all forms that pictures have, and return their names."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter
    frames = [drawing(seed).convert("P") for seed in (40, 41)]
    grey16 = Image.fromarray(np.asarray(drawing(42).convert("L"), np.uint16) * 257)
    see_through = drawing(43).convert("RGBA")
    see_through.putalpha(90)
    save = {
        "animated.gif": lambda path: frames[0].save(path, save_all=True, append_images=frames[1:]),
        "cmyk.jpg": lambda path: drawing(30).convert("CMYK").save(path),
        "deep.png": grey16.save,
        "grey.png": lambda path: drawing(31).convert("L").save(path),
        "line\nbreak.png": drawing(32).save,
        "one.png": lambda path: Image.new("RGB", (1, 1), (200, 30, 90)).save(path),
        "palette.png": lambda path: drawing(33).quantize(40).save(path),
        "see-through.png": see_through.save,
        "space and 'quotes\".png": drawing(34).save,
        "turned.jpg": lambda path: drawing(35).save(path, exif=exif),
        "ümläut 漢字 🐈.png": drawing(36).save,
        "wide.bmp": lambda path: drawing(37).resize((300, 20)).save(path),
    }
    for name, write in save.items():
        write(folder / name)
    return sorted(save)


def bad(folder: Path) -> dict[str, str]:
    """Write files that cannot be used; return the reason for each, with {} for the path."""
    data = (folder / "grey.png").read_bytes()
    broken = bytearray(data)
    broken[len(data) // 3] ^= 0xFF
    contents = {
        "cut.png": data[: len(data) // 2],
        "broken.png": bytes(broken),
        "empty.jpg": b"",
        "text.jpg": b"<html>404 not found</html>",
        "bomb.png": bomb(30_000, 30_000),
        "large.png": bomb(9_000, 9_999),
        "long.png": (1).to_bytes(1, "big"),
        "zeros.jpg": bytes(1000),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    Image.new("RGB", (60_000, 1)).save(folder / "long.png")
    damaged = "cannot open {}: the picture is damaged or cut short. Get a fresh copy."
    unknown = f"cannot open {{}}: it is in none of the formats that are read: {FORMAT_NAMES}. Convert it to PNG or JPEG."
    many = "cannot open {}: it has more than 89,478,485 pixels, too many to be safe. Shrink it first."
    return {
        "cut.png": damaged,
        "broken.png": damaged,
        "empty.jpg": "cannot open {}: the file is empty. Get a fresh copy.",
        "text.jpg": "cannot open {}: it is a web page (HTML), which is not read as a picture. Convert it to PNG or JPEG.",
        "bomb.png": many,
        "large.png": many,
        "long.png": "a picture of 1 x 60000 pixels is too long to resize to 96. Crop it first.",
        "zeros.jpg": unknown,
    }


def test_nothing_is_lost_and_each_is_named(net, tmp_path):
    """Twelve odd and eight bad pictures among good ones: those that can be shown are scanned, the others named with the reason.

    With one picture a forward pass, the good ones' entries have the bits that they have without the bad ones; in larger
    batches they agree within 1e-4. A bad picture keeps its number, and has no entry.
    """
    folder = tmp_path / "photos"
    drawings(folder, 12)
    odd_but_good(folder)
    (folder / "copies").mkdir()
    for name in ("00.png", "03.png"):
        (folder / "copies" / name).write_bytes((folder / name).read_bytes())
    for batch in (1, 8):
        scan_into(net, folder, tmp_path / f"good{batch}.scan", batch=batch)
    reasons = bad(folder)
    scans = {batch: scan_into(net, folder, tmp_path / f"all{batch}.scan", batch=batch, shard=7) for batch in (1, 8)}
    for scan in scans.values():
        assert scan.progress() == (34, 34)
        expected = {name: text.format(repr(str(folder / name))) for name, text in reasons.items()}
        assert dict(scan.skipped()) == expected
        assert scan.copies() == [("copies/00.png", "00.png"), ("copies/03.png", "03.png")]
        assert (scan.statistics("features.1")["pictures"] == 26).all()
        top = rows(scan.path, "select problem from hits join pictures using (picture)")
        assert len(top) == 9 * 32
        assert set(top) == {(None,)}
    query = "select * from (select channel, hit_rank, path, activation, map_row, map_col, window_top, window_left, window_height, window_width from hits join pictures using (picture)) order by 1, 2"
    assert rows(scans[1].path, query) == rows(tmp_path / "good1.scan", query)
    assert rows(scans[1].path, "select * from channels") == rows(tmp_path / "good1.scan", "select * from channels")
    names = [path for path in scans[8].paths().values() if path not in reasons]
    maxima = slow_maxima(net.model, images_of([folder / name for name in names], net.preprocess), ["features.1"])["features.1"]
    check_top(tmp_path / "good8.scan", "features.1", maxima, 46)
    ours, without = ([row[3] for row in rows(path, query)] for path in (scans[8].path, tmp_path / "good8.scan"))
    np.testing.assert_allclose(ours, without, rtol=1e-4)


def test_a_summary_is_no_longer_than_a_screen_or_two(net, tmp_path):
    """Of thousands of pictures that were skipped, and of copies, the first are named, and how all of them are found."""
    folder = tmp_path / "photos"
    drawings(folder, 1)
    for number in range(23):
        (folder / f"broken-{number:02}.png").write_bytes(b"no picture")
        shutil.copy(folder / "00.png", folder / f"copy-{number:02}.png")
    path = tmp_path / "a.scan"
    lines = deconvnet.scan(net, folder, path, layers=["features.1"]).summary().splitlines()
    assert [line.partition(":")[0] for line in lines[1:]] == ["skipped"] * 21 + ["a copy"] * 21
    assert [lines[21], lines[42]] == [
        "skipped: 3 more. All of them, by sqlite3: select path, problem from pictures where problem is not null",
        "a copy: 3 more. All of them, by sqlite3: select path, sha256 from pictures order by sha256",
    ]
    assert len(rows(path, lines[21].rpartition(": ")[2])) == 23
    assert len(rows(path, lines[42].rpartition(": ")[2])) == 47


def test_a_summary_names_each_picture(net, tmp_path):
    """A line on pictures, layers and channels, and one for each picture that was skipped, and for each copy."""
    folder = tmp_path / "photos"
    paths = drawings(folder, 3)
    (folder / "copy.png").write_bytes(paths[1].read_bytes())
    (folder / "empty.png").touch()
    scan = scan_into(net, folder, tmp_path / "a.scan")
    assert scan.summary().splitlines() == [
        f"4 of 5 pictures, 1 layer, 32 channels: {tmp_path / 'a.scan'}",
        f"skipped: cannot open {str(folder / 'empty.png')!r}: the file is empty. Get a fresh copy.",
        "a copy: copy.png equals 01.png",
    ]


def test_pictures_too_large_to_be_read(net, tmp_path, monkeypatch):
    """A file or a picture beyond the limits is named before it can fill the memory."""
    paths = drawings(tmp_path, 3)
    with open(tmp_path / "hole.png", "wb") as handle:
        handle.truncate(2**40)  # takes no room on the disk
    monkeypatch.setattr(limits, "MAX_PIXELS", 96 * 96 - 1)
    drawing(0).resize((50, 50)).save(tmp_path / "small.png")
    monkeypatch.setattr(net.preprocess.__class__, "_resized_size", lambda self, width, height: (96, 96))
    scan = scan_into(net, tmp_path, tmp_path / "a.scan")
    text = "cannot open {!r}: it has more than {:,} {}, too many to be safe. Shrink it first."
    assert dict(scan.skipped()) == {
        **{path.name: text.format(str(path), 9215, "pixels") for path in paths},
        "hole.png": text.format(str(tmp_path / "hole.png"), MAX_BYTES, "bytes"),
    }
    assert [hit.path for hit in scan.top("features.1", 0)] == ["small.png"]


def test_names_that_are_not_text(net, tmp_path):
    """A file name with bytes that are not UTF-8 is written with escapes, scanned, continued and projected like any other.

    A file whose name reads as such an escape has another name.
    """
    folder = os.fsencode(tmp_path / "photos")
    os.mkdir(folder)
    try:
        for name, seed in ((b"gr\xfcn.png", 1), (b"gr\\xfcn.png", 2), (b"a\\x5c.png", 3)):
            with open(os.path.join(folder, name), "wb") as handle:
                drawing(seed).save(handle, "PNG")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    for _ in range(2):
        scan = scan_into(net, tmp_path / "photos", tmp_path / "a.scan")
        assert names_of(scan) == ["a\\x5cx5c.png", "gr\\x5cxfcn.png", "gr\\xfcn.png"]
        assert (scan.skipped(), scan.notes) == ([], [])
    plate = deconvnet.Scan.open(scan.path, net=net).plate("features.1", [0])
    assert plate.figure()
    assert plate.changed == []


def test_odd_pictures_are_seen_as_people_see_them(net, tmp_path):
    """Turned upright, the first frame, over grey: what is scanned is what `open_picture` returns."""
    folder = tmp_path / "photos"
    folder.mkdir()
    names = odd_but_good(folder)
    scan = scan_into(net, folder, tmp_path / "a.scan", batch=1)
    pixels = images_of([folder / name for name in names], net.preprocess)
    assert not check_top(scan.path, "features.1", slow_maxima(net.model, pixels, ["features.1"], batch=1)["features.1"], 46)
    assert scan.skipped() == []
