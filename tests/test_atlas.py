"""The atlas: every page says what the scan holds, the same bytes every time, and files of others are not touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torch import nn

import deconvnet
from deconvnet.atlas import build, manifest, pages, paths
from deconvnet.atlas.sheet import MIDDLE, SheetLayout, draw_tile_sheet
from deconvnet.atlas.similar import similar_channels
from deconvnet.cli.atlas import atlas as command
from deconvnet.errors import MissingPackageError, OptionError, StoreError, UnknownLayerError
from deconvnet.images import Preprocess
from deconvnet.render import draw_examples
from deconvnet.render.text import number_text
from deconvnet.scanning.plates import Plate
from support.scans import drawing, drawings

LAYERS = ["features.1", "features.13", "features.14"]  # windows of 7 and 83 pixels, and one as large as the frame
NAMED = "<img src=x onerror=document.title='broken'>&\"'.png"  # a name that a file may have
SMALL = {"tile": 16}


@pytest.fixture
def jinja():
    pytest.importorskip("jinja2", reason='jinja2 is missing: pip install -e ".[atlas]"')


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    photos = tmp_path_factory.mktemp("photos")
    drawings(photos, 12)
    (photos / "11.png").rename(photos / NAMED)
    return photos


@pytest.fixture(scope="module")
def scan(net, photos, tmp_path_factory):
    return deconvnet.scan(net, photos, tmp_path_factory.mktemp("scan") / "a.scan", layers=LAYERS)


@pytest.fixture(scope="module")
def site(scan, tmp_path_factory):
    """An atlas that no test changes."""
    pytest.importorskip("jinja2", reason='jinja2 is missing: pip install -e ".[atlas]"')
    return deconvnet.write_atlas(scan, tmp_path_factory.mktemp("atlas") / "site", **SMALL).index.parent


def tree(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


class Read(HTMLParser):
    """Collects what a page links to and loads, and its text."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links, self.tags, self.text = [], Counter(), ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.text += " " if tag == "br" else ""
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data):
        self.text += data


def test_every_link_leads_to_a_file_of_the_atlas(scan, site):
    """No page names a file that is not there, nothing comes from elsewhere, and every file is listed."""
    links = 0
    for page in site.rglob("*.html"):
        for link in Read(page).links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            assert (parts.scheme, parts.netloc) == ("", "")
            target = page.parent / unquote(parts.path) if parts.path else page
            assert target.resolve().is_file(), (page, link)
            if parts.fragment and parts.fragment != "main" and target.resolve().parent != site:
                assert f'id="{parts.fragment}"' in target.read_text()
            links += 1
    assert links > 1000
    listed = json.loads((site / "atlas.json").read_text())["files"]
    assert set(listed) | {"atlas.json"} == set(tree(site))
    assert sum(name.endswith(".webp") and name[0].isdigit() for name in listed) == sum(size[0] for size in scan.sizes.values())


@pytest.mark.parametrize(("layer", "channel"), [("features.1", 3), ("features.13", 7)])
def test_a_page_says_what_the_scan_holds(scan, site, layer, channel):
    """A channel's page names its pictures in order, with activation, place and window, and the statistics."""
    number = LAYERS.index(layer) + 1
    text = " ".join(Read(site / f"{number}-{layer}" / f"{channel}.html").text.split())
    at = 0
    for hit in scan.top(layer, channel):
        window = hit.window.clip(96, 96)
        place = f"at {channel}@{hit.row},{hit.col}; window: rows {window.top} to {window.bottom - 1}, columns {window.left} to "
        at = text.index(place + f"{window.right - 1} {hit.path}", at)
    counted = scan.statistics(layer)
    assert number_text(counted["mean"][channel]) in text
    assert number_text(scan.top(layer, channel)[0].activation) in text
    assert f"{100 * counted['fired'][channel] / 12:.0f} % of the pictures" in text


def test_windows_are_drawn_where_they_lie(scan, site):
    """The rectangles over a picture are the unit's window within the frame and, dashed, the part that tiles show."""
    for folder, layer in (("1-features.1", "features.1"), ("3-features.14", "features.14")):
        page = (site / folder / "5.html").read_text()
        rectangles = re.findall(r'<rect( class="box")? x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"/>', page)
        examples = [example for _, examples in scan.plate(layer, [5]).examples() for example in examples]
        wanted = []
        for example in examples:
            for name, window in (("", example.hit.window.clip(96, 96)), (' class="box"', example.box)):
                wanted.append((name, *map(str, (window.left, window.top, window.width, window.height))))
        assert rectangles == wanted
        assert "95 % of the projection" in page


def test_pictures_are_what_the_net_saw(net, photos, scan, site):
    """Each picture is saved once, as the net saw it, except for what WebP loses."""
    used = {
        hit.picture: hit.path for layer in LAYERS for channel in range(scan.size(layer)[0]) for hit in scan.top(layer, channel)
    }
    assert {int(path.stem) for path in (site / "pictures").iterdir()} == set(used)
    for number, name in used.items():
        with Image.open(site / "pictures" / f"{number}.webp") as saved:
            pixels = np.asarray(saved.convert("RGB"), float)
        expected = np.asarray(net.preprocess.crop_picture(photos / name), float)
        assert pixels.shape == expected.shape
        assert np.abs(pixels - expected).mean() < 6


def test_sheets_hold_the_tiles_of_plates(scan):
    """Projections are left and patches right, each where its rank belongs; a missing one leaves its tile clear."""
    ((_, shown),) = scan.plate("features.13", [7]).examples()
    layout = SheetLayout(32, 9)
    sheet = np.asarray(draw_tile_sheet([*shown[:4], *shown[5:]], layout, "soft"))
    tiles = draw_examples([example.example for example in (*shown[:4], *shown[5:])], 32)
    assert sheet.shape == (3 * 32 + 2 * 2, 2 * (3 * 32 + 2 * 2) + MIDDLE, 4)
    corners = [(34 * (rank // 3), 34 * (rank % 3)) for rank in range(9)]
    for (top, left), tile in zip([*corners[:4], *corners[5:]], tiles, strict=True):
        right = left + layout.half + MIDDLE
        assert (sheet[top : top + 32, left : left + 32, :3] == tile.projection).all()
        assert (sheet[top : top + 32, right : right + 32, :3] == tile.patch).all()
    assert not sheet[34:66, 34:66].any()
    assert sheet[..., 3].sum() == 255 * 16 * 32 * 32


def test_similar_channels_share_most_pictures():
    """Channels that share most come first, then by number; those that share fewer than two pictures are not similar."""
    rng = np.random.default_rng(0)
    tops = [rng.permutation(40)[: rng.integers(0, 10)].tolist() for _ in range(60)]
    for channel, similar in enumerate(similar_channels(tops, 5)):
        shared = [(-len({*tops[channel]} & {*other}), number) for number, other in enumerate(tops) if number != channel]
        assert similar == [(number, -count) for count, number in sorted(shared) if count <= -2][:5]


def test_similar_channels_stand_on_the_page(scan, site):
    """The page links the channels that share most of its pictures, whatever their layer, with how many they share."""
    tops = {
        (layer, channel): {hit.picture for hit in scan.top(layer, channel)}
        for layer in LAYERS
        for channel in range(scan.size(layer)[0])
    }
    mine = tops["features.13", 7]
    order = sorted((key for key in tops if key != ("features.13", 7)), key=lambda key: -len(tops[key] & mine))[:8]
    text = " ".join(Read(site / "2-features.13" / "7.html").text.split("Similar channels")[1].split())
    assert " ".join(f"{layer}:{channel} shares {len(tops[layer, channel] & mine)}" for layer, channel in order) in text


def test_names_are_escaped(site):
    """A file's name is text on every page, and never an element."""
    for page in (site / "index.html", *(site / "2-features.13").glob("*.html")):
        read = Read(page)
        assert "<img src=x" not in page.read_text()
        assert not any(link == "x" for link in read.links)
    assert any(NAMED in Read(page).text for page in (site / "2-features.13").glob("*.html"))
    data = json.loads((site / "find.js").read_text().removeprefix("window.atlas = ").removesuffix(";\n"))
    assert NAMED in [name for _, name, _ in data["pictures"]]


def test_search_data_is_the_top_table(scan, site):
    """The script that search loads lists for each picture exactly the entries of the scan."""
    data = json.loads((site / "find.js").read_text().removeprefix("window.atlas = ").removesuffix(";\n"))
    entries = set()
    for picture, name, numbers in data["pictures"]:
        for layer, channel, rank in zip(*[iter(numbers)] * 3, strict=True):
            entries.add((data["layers"][layer][0], channel, rank, picture, name))
    wanted = scan.store.rows("select layer, channel, hit_rank, picture, path from hits join pictures using (picture)")
    assert entries == set(wanted)


def test_same_bytes_in_another_place(scan, site, tmp_path):
    """The same scan gives the same files, byte for byte."""
    deconvnet.write_atlas(scan, tmp_path / "again", **SMALL)
    assert tree(tmp_path / "again") == tree(site)


def test_again_draws_nothing(scan, site, monkeypatch):
    """The same call again writes no file and projects nothing."""
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file() and path.name != "atlas.json"}
    monkeypatch.setattr(Plate, "examples", lambda *rest: pytest.fail("projected again"))
    monkeypatch.setattr("deconvnet.atlas.draw.read_pictures", lambda *rest: pytest.fail("read again"))
    built = deconvnet.write_atlas(scan, site, **SMALL)
    assert (built.written, built.removed, built.kept) == (0, 0, len(before))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert str(built) == f"0 files written, {len(before)} kept: {built.size / 1e6:.1f} MB"


def test_only_what_changed_is_drawn(net, tmp_path, jinja, monkeypatch):
    """After new pictures only the channels whose top changed are drawn, and the atlas is that of a new folder."""
    drawings(tmp_path / "photos", 14)
    few = deconvnet.scan(net, tmp_path / "photos", tmp_path / "a.scan", layers=["features.13"], top=4)
    deconvnet.write_atlas(few, tmp_path / "site", **SMALL)
    before = {channel: few.top("features.13", channel) for channel in range(64)}
    drawings(tmp_path / "photos", 2, first=14)
    more = deconvnet.scan(net, tmp_path / "photos", tmp_path / "a.scan", layers=["features.13"], top=4)
    changed = [channel for channel in before if more.top("features.13", channel) != before[channel]]
    assert 0 < len(changed) < 60
    drawn = []
    examples = Plate.examples
    monkeypatch.setattr(
        Plate, "examples", lambda plate, *rest: drawn.extend(*plate.channels.values()) or examples(plate, *rest)
    )
    deconvnet.write_atlas(more, tmp_path / "site", **SMALL)
    assert drawn == changed
    deconvnet.write_atlas(more, tmp_path / "fresh", **SMALL)
    assert tree(tmp_path / "site") == tree(tmp_path / "fresh")


@pytest.mark.slow
def test_killed_and_run_again_continues(scan, tmp_path, jinja, monkeypatch):
    """A kill leaves whole files and no first page; the next call draws the rest, and the atlas is that of one run."""
    code = f"""
import os, signal, sys
import deconvnet
from deconvnet.atlas import draw, manifest
draw.SHEETS_PER_SAVE = 4
write, count = manifest.write_atomic, [0]
def counting(path):
    count[0] += path.parent.name == "2-features.13"
    if count[0] == 17:
        open(path.parent / ".0123456789abcdef.tmp", "wb").write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return write(path)
manifest.write_atomic = counting
deconvnet.write_atlas(deconvnet.Scan.open({scan.path!r}), {str(tmp_path / "site")!r}, tile=16, memory={2**20})
"""
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=here, capture_output=True, check=False).returncode == -9
    left = tree(tmp_path / "site")
    assert "index.html" not in left
    listed = json.loads(left["atlas.json"])["files"]
    keyed = {(LAYERS[int(name[0]) - 1], int(Path(name).stem)) for name, notes in listed.items() if "key" in notes}
    assert len(keyed) >= 40
    drawn = []
    examples = Plate.examples

    def noted(plate, *rest):
        drawn.extend((layer, channel) for layer, channels in plate.channels.items() for channel in channels)
        return examples(plate, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Plate, "examples", noted)
        deconvnet.write_atlas(scan, tmp_path / "site", memory=2**20, **SMALL)
    assert {(layer, channel) for layer in LAYERS for channel in range(scan.size(layer)[0])} == keyed | set(drawn)
    assert 0 < len(keyed & set(drawn)) < 8  # of the block in progress
    deconvnet.write_atlas(scan, tmp_path / "fresh", memory=2**20, **SMALL)
    whole = tree(tmp_path / "fresh")
    assert all(left[name] == whole[name] for name in left if name.endswith(".webp"))
    assert tree(tmp_path / "site") == whole


def test_stopped_by_hand_keeps_what_is_drawn(scan, tmp_path, jinja, monkeypatch):
    """Ctrl-C leaves a list of all that was drawn."""
    write, count = manifest.AtlasFolder.write, [0]

    def stop(self, *rest, **notes):
        count[0] += 1
        if count[0] == 11:
            raise KeyboardInterrupt
        write(self, *rest, **notes)

    monkeypatch.setattr(manifest.AtlasFolder, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        deconvnet.write_atlas(scan, tmp_path / "site", **SMALL)
    listed = json.loads((tmp_path / "site" / "atlas.json").read_text())["files"]
    assert sum("key" in notes for notes in listed.values()) == 10


def test_pictures_that_are_gone_or_changed(net, tmp_path, jinja):
    """They are reported, and named on the page; once they are back, the same call makes the atlas whole."""
    photos = tmp_path / "photos"
    drawings(photos, 6)
    scan = deconvnet.scan(net, photos, tmp_path / "a.scan", layers=["features.13"], top=3)
    deconvnet.write_atlas(scan, tmp_path / "whole", **SMALL)
    rows = {hit.path: (channel, hit.rank) for channel in range(64) for hit in scan.top("features.13", channel)}
    (gone, (gone_channel, rank)), (changed, (changed_channel, _)) = list(rows.items())[:2]
    (photos / gone).rename(tmp_path / "kept")
    shutil.copy(photos / changed, tmp_path / "other")
    drawing(40).save(photos / changed)
    built = deconvnet.write_atlas(scan, tmp_path / "site", **SMALL)
    assert len(built.changed) == 2  # each once, however many channels it excites
    assert {line.split()[0] for line in built.changed} == {gone, changed}
    assert "this picture is gone" in Read(tmp_path / "site" / "1-features.13" / f"{gone_channel}.html").text
    assert "changed since the scan" in Read(tmp_path / "site" / "1-features.13" / f"{changed_channel}.html").text
    assert not list((tmp_path / "site" / "pictures").glob(f"{scan.top('features.13', gone_channel)[rank - 1].picture}.webp"))
    (tmp_path / "kept").rename(photos / gone)
    shutil.copy(tmp_path / "other", photos / changed)
    assert deconvnet.write_atlas(scan, tmp_path / "site", **SMALL).changed == []
    assert tree(tmp_path / "site") == tree(tmp_path / "whole")


def test_other_layers_stay_unless_they_are_pruned(scan, site, tmp_path, jinja):
    """Naming one layer adds it to what the atlas has: byte for byte what a call for both writes."""
    deconvnet.write_atlas(scan, tmp_path / "site", layers=["features.13"], **SMALL)
    built = deconvnet.write_atlas(scan, tmp_path / "site", layers=["features.1"], **SMALL)
    assert built.removed == 0
    deconvnet.write_atlas(scan, tmp_path / "both", layers=["features.1", "features.13"], **SMALL)
    assert tree(tmp_path / "site") == tree(tmp_path / "both")
    again = deconvnet.write_atlas(scan, tmp_path / "site", layers=["features.1"], **SMALL)
    assert (again.written, again.removed) == (0, 0)


def test_other_layers_are_removed_and_other_files_stay(scan, site, tmp_path, jinja):
    """With prune, what a former call wrote and this one does not is removed; somebody else's file stays as it is."""
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "notes.txt").write_text("mine")
    (tmp_path / "site" / "1-features.1" / "notes.txt").write_text("mine")
    built = deconvnet.write_atlas(scan, tmp_path / "site", layers=["features.13"], prune=True, **SMALL)
    assert built.removed >= 32 * 2 + 1
    assert {path.name for path in (tmp_path / "site").iterdir() if path.is_dir()} == {
        "1-features.1",
        "2-features.13",
        "pictures",
    }
    assert [path.name for path in (tmp_path / "site" / "1-features.1").iterdir()] == ["notes.txt"]
    (tmp_path / "site" / "notes.txt").unlink()
    shutil.rmtree(tmp_path / "site" / "1-features.1")
    deconvnet.write_atlas(scan, tmp_path / "fresh", layers=["features.13"], **SMALL)
    assert tree(tmp_path / "site") == tree(tmp_path / "fresh")


KEPT = " Name another folder: nothing in this one was touched."


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"index.html": "mine"}, "'{}' has files in it and no atlas."),
        ({"atlas.json": "{}"}, "'{}/atlas.json' is not the list of an atlas."),
        (
            {"atlas.json": '{"atlas": 9, "scan": {}, "files": {}}'},
            "'{}' has an atlas of a format that this version does not know.",
        ),
        (
            {"atlas.json": '{"atlas": 1, "scan": {"model": "a", "weights": "b"}, "files": {}}'},
            "'{}' has the atlas of a with weights b, this one is of tiny with weights {weights}.",
        ),
        (
            {"atlas.json": '{"atlas": 1, "scan": {}, "files": {"../index.html": {}}}'},
            "'{}' has an atlas of a format that this version does not know.",
        ),
        ({"atlas.json": '{"atlas": 1, "scan": SCAN, "files": {}}', "atlas.js": "mine"}, "'{}/atlas.js' is not of this atlas."),
    ],
)
def test_what_is_not_ours_is_refused(scan, tmp_path, jinja, files, found):
    """A folder with somebody else's files in the way is refused in one line, and stays as it is."""
    mine = {name: scan.settings[name] for name in ("model", "weights", "preprocess", "size")}
    site = tmp_path / "site"
    site.mkdir()
    for name, text in files.items():
        (site / name).write_text(text.replace("SCAN", json.dumps(mine)))
    before = tree(tmp_path)
    with pytest.raises(OptionError) as error:
        deconvnet.write_atlas(scan, site, **SMALL)
    assert str(error.value) == found.format(site, weights=mine["weights"]) + KEPT
    assert tree(tmp_path) == before


def test_bad_places_and_options(scan, tmp_path, jinja):
    """A file's name, a folder in none, a layer that was not scanned, and values out of range are refused before any work."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OptionError, match=r"^cannot write an atlas to '.*file': it is a file\. Name a folder\.$"):
        deconvnet.write_atlas(scan, tmp_path / "file")
    with pytest.raises(OptionError, match=r"^cannot write '.*a/b': there is no folder '.*a'\. Make it first\.$"):
        deconvnet.write_atlas(scan, tmp_path / "a" / "b")
    with pytest.raises(UnknownLayerError, match=r"has no layer 'features\.2'"):
        deconvnet.write_atlas(scan, tmp_path / "site", layers=["features.2"])
    with pytest.raises(OptionError, match=r"^tile cannot be 4: a tile has 8 to 512 pixels\.$"):
        deconvnet.write_atlas(scan, tmp_path / "site", tile=4)
    with pytest.raises(OptionError, match=r"^memory cannot be 0: it is a number of bytes, 1 or more\.$"):
        deconvnet.write_atlas(scan, tmp_path / "site", memory=0)
    with pytest.raises(OptionError, match=r"^tone cannot be 'bright': it is one of "):
        deconvnet.write_atlas(scan, tmp_path / "site", tone="bright")
    assert not (tmp_path / "site").exists()


def test_without_jinja_the_install_line(scan, tmp_path, monkeypatch):
    """If Jinja2 is missing, the error says how to install it, and nothing is written."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(
        MissingPackageError,
        match=r'^an atlas needs jinja2, which cannot be imported \(.*\)\. In a checkout: pip install -e "\.\[atlas\]"$',
    ):
        deconvnet.write_atlas(scan, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_layers_get_folders_of_their_own(net, tmp_path):
    """Names that differ in case alone, or that no folder may have, get folders that every system knows."""
    model = nn.Sequential()
    for name in ("<b>", "A", "a", "aux"):
        model.add_module(name, nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()))
        model.add_module(f"{name}-back", nn.Conv2d(2, 3, 1))
    drawings(tmp_path / "photos", 2)
    odd = deconvnet.DeconvNet(model.eval(), preprocess=net.preprocess)
    scan = deconvnet.scan(odd, tmp_path / "photos", tmp_path / "a.scan", layers=["<b>", "A", "a", "aux"])
    places = paths.layer_pages(scan, None)
    assert [place.folder for place in places] == ["1-_b_", "2-A", "3-a", "4-aux"]
    assert [place.name for place in places] == ["<b>", "A", "a", "aux"]
    assert all(manifest._OURS.fullmatch(place.sheet(0)) for place in places)
    assert [place.folder for place in paths.layer_pages(scan, ["a"])] == ["3-a"]


def test_a_dataset_of_grey_pictures_that_are_not_square(tmp_path, jinja):
    """One channel, a low frame and no files: pictures have the frame's size, grey, and windows lie within it."""
    pictures = [Image.fromarray(np.asarray(drawing(seed).convert("L"))) for seed in range(4)]
    mean, std = (0.5,), (0.25,)
    net = deconvnet.DeconvNet(
        nn.Sequential(nn.Conv2d(1, 3, 9, stride=2), nn.ReLU()).eval(), preprocess=Preprocess(96, (40, 96), mean, std)
    )
    scan = deconvnet.scan(net, pictures, tmp_path / "a.scan", layers=["1"], top=2)
    site = deconvnet.write_atlas(scan, tmp_path / "site", **SMALL).index.parent
    assert scan.settings["size"] == [1, 40, 96]
    with Image.open(next((site / "pictures").iterdir())) as picture:
        assert picture.size == (96, 40)
    with Image.open(site / "1-1" / "0.webp") as sheet:
        assert sheet.size == (SheetLayout(16, 2).width, SheetLayout(16, 2).half)
    text = Read(site / "1-1" / "0.html").text
    hit = scan.top("1", 0)[0]
    assert f"rows {hit.window.top} to {hit.window.bottom - 1}" in text
    assert "item " in text


def test_the_command(scan, tmp_path, site):
    """It prints the page to open on stdout and the rest on stderr; a missing scan is refused."""
    shutil.copytree(site, tmp_path / "site")
    done = CliRunner().invoke(command, [scan.path, "--out", str(tmp_path / "site"), "--tile", "16"], catch_exceptions=False)
    assert done.stdout == f"{tmp_path / 'site' / 'index.html'}\n"
    assert done.stderr.startswith("0 files written, ")
    with pytest.raises(StoreError, match="there is no scan"):
        CliRunner().invoke(command, [str(tmp_path / "no.scan"), "--out", str(tmp_path / "x")], catch_exceptions=False)
    assert not (tmp_path / "x").exists()


def test_a_scan_without_pictures_is_refused(scan, tmp_path, jinja, monkeypatch):
    """Before the first shard is done there is nothing to show."""
    monkeypatch.setattr(type(scan), "progress", lambda self: (0, 12))
    with pytest.raises(OptionError) as error:
        deconvnet.write_atlas(scan, tmp_path / "site")
    assert str(error.value) == f"{scan.path!r} has no picture yet. Let the scan run first."


def test_templates_come_with_the_package():
    """Every file that pages are made from is in the package."""
    inside = Path(pages.__file__).parent
    assert {path.name for path in (inside / "templates").iterdir()} == {"base.html", "first.html", "layer.html", "channel.html"}
    assert {path.name for path in (inside / "static").iterdir()} == set(build.STATIC)
