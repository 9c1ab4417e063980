"""A scan's plates: each example is the unit of a picture, projected by itself, beside what the net saw there."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

import deconvnet
from deconvnet.errors import OptionError, PictureError, StoreError, UnitError, UnknownLayerError
from deconvnet.layers import default_layer
from deconvnet.render import Example, Panel, plate_shape, read_settings
from deconvnet.scanning import plates
from deconvnet.scanning.ranking import selectivities, sort_channels
from deconvnet.units import Window
from support.pdf import read_pdf
from support.scans import drawing, drawings

LAYERS = [
    "features.1",
    "features.5",
    "features.13",
    "features.14",
]  # fields of 7, 27 and 83 pixels, and of 99: beyond the frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    drawings(folder, 24)
    return folder


@pytest.fixture(scope="module")
def scan(net, folder, tmp_path_factory):
    return deconvnet.scan(net, folder, tmp_path_factory.mktemp("scan") / "a.scan", layers=LAYERS)


@pytest.fixture
def panels(monkeypatch):
    """Return the panels of a plate before they are drawn."""
    kept: list[Panel] = []
    draw = plates.draw_panel
    monkeypatch.setattr(
        plates, "draw_panel", lambda panel, *rest, **options: kept.append(panel) or draw(panel, *rest, **options)
    )

    def undrawn(plate) -> list[Panel]:
        kept.clear()
        for _ in plate.panels(24):
            pass
        return list(kept)

    return undrawn


@dataclass
class Whole:
    """A unit's projection and its picture, both in the whole frame."""

    projection: np.ndarray  # (3, 96, 96)
    pixels: np.ndarray  # (96, 96, 3)
    window: Window


def whole(net, folder, layer, channel, hit, rule="deconvnet") -> Whole:
    recording = net.record([folder / hit.path])
    projection = net.project(recording, layer, units=[(channel, hit.row, hit.col)], rule=rule)
    return Whole(projection.pixels[0].numpy(), net.preprocess.denormalise(recording.images[0]), projection.windows[0])


def cut(pixels: np.ndarray, window: Window, beyond: float) -> np.ndarray:
    """Take each pixel (row, col, channel) of a window, or `beyond` where it leaves the frame: slow and plain."""
    height, width, channels = pixels.shape
    return np.array(
        [
            [
                pixels[row, col] if 0 <= row < height and 0 <= col < width else [beyond] * channels
                for col in range(window.left, window.right)
            ]
            for row in range(window.top, window.bottom)
        ]
    )


def inside(window: Window, side: int = 96) -> np.ndarray:
    """Say which pixels of a window lie in the frame, (h, w)."""
    rows = np.arange(window.top, window.bottom)
    cols = np.arange(window.left, window.right)
    return ((rows >= 0) & (rows < side))[:, None] & ((cols >= 0) & (cols < side))


def marked(window: Window, shape: tuple[int, ...]) -> np.ndarray:
    marks = np.zeros(shape, bool)
    marks[window.top : window.bottom, window.left : window.right] = True
    return marks


@pytest.mark.parametrize("rule", ["deconvnet", "gradient"])
@pytest.mark.parametrize("layer", ["features.1", "features.13"])
def test_examples_are_projections_and_what_the_net_saw(net, folder, scan, panels, layer, rule):
    """Cropped to windows, each example is what its window holds, padded where it leaves the frame; all have one size."""
    channels = [0, 5, 17, 31]
    sizes, padded = set(), 0
    for panel, channel in zip(panels(scan.plate(layer, channels, rule=rule, crop="window")), channels, strict=True):
        hits = scan.top(layer, channel)
        assert (panel.layer, panel.channel) == (layer, channel)
        assert [example.activation for example in panel.examples] == [hit.activation for hit in hits]
        assert [example.source for example in panel.examples] == [hit.path for hit in hits]
        for example, hit in zip(panel.examples, hits, strict=True):
            alone = whole(net, folder, layer, channel, hit, rule)
            assert alone.window == hit.window
            wanted = cut(alone.projection.transpose(1, 2, 0), hit.window, 0).transpose(2, 0, 1)
            np.testing.assert_allclose(example.projection, wanted, atol=1e-4 * np.abs(wanted).max() + 1e-9)
            assert (example.patch == cut(alone.pixels, hit.window, 128)).all()
            assert (marked(example.inside, example.patch.shape[:2]) == inside(hit.window)).all()
            sizes.add(example.patch.shape)
            padded += not inside(hit.window).all()
    assert len(sizes) == 1
    assert padded or layer == "features.1"  # whose windows are small


def test_whole_frames_are_shown_on_demand(net, folder, scan, panels):
    """`crop="whole"` shows the frame, patch and projection alike."""
    (panel,) = panels(scan.plate("features.13", [5], crop="whole"))
    for example, hit in zip(panel.examples, scan.top("features.13", 5), strict=True):
        alone = whole(net, folder, "features.13", 5, hit)
        np.testing.assert_allclose(example.projection, alone.projection, atol=1e-4 * np.abs(alone.projection).max())
        assert (example.patch == alone.pixels).all()
        assert example.inside == Window(0, 0, 96, 96)


@pytest.mark.parametrize("layer", ["features.5", "features.14"])
def test_a_box_holds_the_energy(net, folder, scan, panels, layer):
    """By default the nine are cut to one square inside the frame, with nearly all of the energy, and with one place each."""
    for panel in panels(scan.plate(layer, range(0, 32, 8))):
        hits = scan.top(layer, panel.channel)
        assert len({example.patch.shape for example in panel.examples}) == 1
        side, across, _ = panel.examples[0].patch.shape
        assert side == across <= 96
        for example, hit in zip(panel.examples, hits, strict=True):
            assert example.inside == Window(0, 0, side, side)
            alone = whole(net, folder, layer, panel.channel, hit)
            energy = float((alone.projection**2).sum())
            assert float((example.projection**2).sum()) >= 0.9499 * energy
            corners = [
                (top, left)
                for top in range(97 - side)
                for left in range(97 - side)
                if (alone.pixels[top : top + side, left : left + side] == example.patch).all()
            ]
            assert any(
                np.allclose(
                    alone.projection[:, top : top + side, left : left + side], example.projection, atol=1e-3 * energy**0.5
                )
                for top, left in corners
            ), "projection and patch are not of one place"


def test_a_box_in_a_frame_that_is_no_square(tmp_path, panels):
    """In a low, wide frame the box is as low as the frame and still holds the energy."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 5, padding=2), nn.ReLU()) for _ in range(9)))
    net = deconvnet.DeconvNet(model)
    images = torch.randn(5, 3, 12, 40)
    scan = deconvnet.scan(net, images, tmp_path / "a.scan", layers=["8"])
    alive = [channel for channel in range(3) if channel not in scan.dead("8")]
    for panel in panels(scan.plate("8", alive)):
        for example, hit in zip(panel.examples, scan.top("8", panel.channel), strict=True):
            assert example.patch.shape[0] <= 12
            pixels = net.project(net.record(images[hit.picture, None]), "8", units=[(panel.channel, hit.row, hit.col)]).pixels
            assert float((example.projection**2).sum()) >= 0.9499 * float((pixels**2).sum())


def test_units_of_flat_layers_have_plates(net, folder, panels, tmp_path):
    """A layer (N, C) has plates too: its units see the whole frame."""
    scan = deconvnet.scan(net, folder, tmp_path / "a.scan", layers=["classifier.5"], top=4)
    (panel,) = panels(scan.plate("classifier.5", [3]))
    assert [example.source for example in panel.examples] == [hit.path for hit in scan.top("classifier.5", 3)]
    assert len({example.projection.shape for example in panel.examples}) == 1
    assert all(np.abs(example.projection).max() > 0 for example in panel.examples)


def test_windows_are_those_of_the_store_whatever_else_is_on_the_page(scan, panels):
    """A channel's panel does not depend on which others are drawn with it, nor on how much memory there is."""
    (alone,) = panels(scan.plate("features.5", [40]))
    among = panels(scan.plate("features.5", [3, 40, 3, 12], memory=2**20))
    assert [panel.channel for panel in among] == [3, 40, 3, 12]
    for first, second in zip(alone.examples, among[1].examples, strict=True):
        limit = np.abs(first.projection).max()
        np.testing.assert_allclose(first.projection, second.projection, atol=1e-4 * limit)
        assert (first.patch == second.patch).all()


def test_notes_say_how_often_a_channel_fires(scan, panels):
    """A panel's note is the share of the pictures on which the channel fired, or that it is dead; and *own* if it fired."""
    fired = scan.statistics("features.13")["fired"]
    chosen = [int(fired.argmin()), int(fired.argmax())]
    notes = [panel.note for panel in panels(scan.plate("features.13", chosen))]
    for channel, note in zip(chosen, notes, strict=True):
        share = 100 * fired[channel] / 24
        expected = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
        note, _, own = note.partition(" · ")
        assert own.startswith("own ") if fired[channel] else not own
        assert note == (f"fires on {expected} % of the pictures" if fired[channel] else "dead: fired on no picture")


# Pages


def test_a_layer_goes_on_pages(scan, tmp_path):
    """Without channels the whole layer is drawn, twelve panels per page, as numbered files or one PDF, with the settings inside."""
    plate = scan.plate("features.1")
    assert plate.channels == {"features.1": tuple(range(32))}
    files = plate.save(tmp_path / "layer.png")
    assert files == [tmp_path / f"layer-00{page}.png" for page in (1, 2, 3)]
    settings = read_settings(files[1])
    assert settings["page"] == 2
    assert settings["channels"] == {"features.1": list(range(32))}
    assert (settings["crop"], settings["layout"], settings["inside"]) == ("energy", "panels", False)
    assert (settings["rule"], settings["tone"], settings["model"]) == ("deconvnet", "soft", "tiny")
    assert str(tmp_path) not in str(settings), "a path of this machine"
    (pdf,) = plate.save(tmp_path / "layer.pdf", per_page=16)
    assert pdf.read_bytes().count(b"/Type /Page ") == 2


def test_the_same_plate_has_the_same_bytes(scan, tmp_path):
    """Drawn twice, a plate is the same file; in a notebook it shows its first page."""
    for name in ("a.png", "b.png"):
        scan.plate("features.5", [1, 2]).save(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert scan.plate("features.5", [1, 2])._repr_png_().startswith(b"\x89PNG")
    with Image.open(tmp_path / "a.png") as page:
        assert page.size == scan.plate("features.5", [1, 2]).figure().size


def test_a_plate_as_text_and_as_json(scan):
    """It prints in a line, also with many channels; its JSON has the settings, and each channel's counts and top pictures."""
    plate = scan.plate("features.13", [7, 3], rule="guided")
    assert repr(plate) == f"Plate({scan.path!r}, {{'features.13': (7, 3)}}, rule='guided', tone='soft')"
    assert "{'features.1': (32 of them)}" in repr(scan.plate("features.1"))
    data = json.loads(json.dumps(plate.to_json()))
    assert data["settings"] == plate.settings()
    assert [(row["layer"], row["channel"]) for row in data["channels"]] == [("features.13", 7), ("features.13", 3)]
    for row in data["channels"]:
        assert row["pictures"] == 24
        assert row["fired"] == scan.statistics("features.13")["fired"][row["channel"]]
        assert row["top"] == [hit.to_json() for hit in scan.top("features.13", row["channel"])]


def test_several_layers_are_blocks_of_one_plate(scan, panels, tmp_path):
    """Each layer has its own channels or the same ones, in the order that was asked for, on pages together."""
    plate = scan.plate({"features.13": [7, 3], "features.1": [5]})
    assert [(panel.layer, panel.channel) for panel in panels(plate)] == [
        ("features.13", 7), ("features.13", 3), ("features.1", 5)
    ]  # fmt: skip
    assert scan.plate(["features.5", "features.1"], [2]).channels == {"features.5": (2,), "features.1": (2,)}
    assert scan.plate(["features.5"]).count == scan.size("features.5")[0]
    assert [len(list(plate.pages(per_page=count))) for count in (1, 2, 3, None)] == [3, 2, 1, 1]
    alone = panels(scan.plate("features.1", [5]))[0]
    assert np.array_equal(panels(plate)[2].examples[0].projection, alone.examples[0].projection)


def test_a_plate_in_the_paper_s_layout(scan, tmp_path):
    """Many channels go on one page, at the scale and with the tiles that were asked for."""
    plate = scan.plate(["features.1", "features.5"], range(12), layout="paper")
    (page,) = plate.pages()
    (large,) = plate.pages(scale=2)
    assert large.size == (2 * page.width, 2 * page.height)
    assert page.width <= 1800
    (small,) = plate.pages(tile=24)
    assert small.width < page.width
    (path,) = plate.save(tmp_path / "a.pdf", scale=2)
    (read,), subject, _ = read_pdf(path)
    assert json.loads(subject)["layout"] == "paper"
    assert len(read.images) == 48
    assert "features.1" in [line.text for line in read.lines]


def test_units_whose_window_leaves_the_picture_are_left_out(scan, panels):
    """With `inside` the hits whose window lies in the frame remain, in their order; a channel may have none."""
    kept = 0
    for layer in ("features.5", "features.13"):
        for panel in panels(scan.plate(layer, range(8), inside=True)):
            hits = [hit for hit in scan.top(layer, panel.channel) if hit.window.clip(96, 96) == hit.window]
            assert [example.activation for example in panel.examples] == [hit.activation for hit in hits]
            kept += len(hits)
    assert 0 < kept < 9 * 16
    (panel,) = panels(scan.plate("features.14", [int(scan.statistics("features.14")["fired"].argmax())], inside=True))
    assert not panel.examples
    assert panel.empty == "no unit's window lies inside the picture"


def slow_selectivity(scan, layer, channel) -> float:
    """The index once more: the mean of the top activations against the mean of the maxima over all pictures."""
    tops = [hit.activation for hit in scan.top(layer, channel)]
    strength = max(sum(tops) / len(tops), 0) if tops else 0
    mean = min(max(float(scan.statistics(layer)["mean"][channel]), 0), strength)
    return (strength - mean) / (strength + mean) if strength else 0


@pytest.mark.parametrize("layer", ["features.5", "features.13"])
def test_the_best_channels_are_neither_dead_nor_faint(scan, layer):
    """They are sorted by selectivity or strength, have all nine pictures, and half of the median strength."""
    count = scan.size(layer)[0]
    tops = {channel: [hit.activation for hit in scan.top(layer, channel)] for channel in range(count)}
    strength = {channel: sum(values) / len(values) if values else 0 for channel, values in tops.items()}
    limit = np.median([value for value in strength.values() if value > 0]) / 2
    fired = scan.statistics(layer)["fired"]
    worthy = [channel for channel in range(count) if fired[channel] >= 9 and strength[channel] >= limit]
    by_selectivity = sorted(worthy, key=lambda channel: -slow_selectivity(scan, layer, channel))
    assert scan.best(layer, count) == by_selectivity
    assert scan.best(layer) == by_selectivity[:12]
    assert scan.best(layer, 5, by="strength") == sorted(worthy, key=lambda channel: -strength[channel])[:5]
    np.testing.assert_allclose(
        selectivities(scan, layer), [slow_selectivity(scan, layer, channel) for channel in range(count)], atol=1e-6
    )
    assert sorted(sort_channels(scan, layer)) == list(range(count))


def test_channels_sorted_by_how_much_is_of_their_own_pictures(scan):
    """The most selective channels are projected, and those whose projections share least with other pictures come first."""
    candidates = scan.best("features.13", 12)
    plate = scan.plate("features.13", candidates)
    list(plate.examples())
    expected = sorted(candidates, key=lambda channel: -(plate.owns["features.13", channel] or 0))
    assert scan.best("features.13", 3, by="own") == expected[:3]
    assert scan.sort_channels("features.13", candidates, by="own") == expected
    by_strength = scan.sort_channels("features.13", candidates, by="strength")
    assert by_strength == [channel for channel in sort_channels(scan, "features.13", "strength") if channel in candidates]


def test_rankings_that_cannot_be(scan):
    """A count below 1, an order that does not exist and a layer that was not scanned are refused in one line."""
    with pytest.raises(OptionError) as caught:
        scan.best("features.5", 0)
    assert str(caught.value) == "best cannot be 0: it is how many channels to choose, 1 or more."
    with pytest.raises(OptionError) as caught:
        scan.best("features.5", by="beauty")
    assert str(caught.value) == "sort cannot be 'beauty': it is one of selectivity, strength, own."
    with pytest.raises(UnknownLayerError):
        scan.best("features.99")


@pytest.mark.parametrize(
    ("layers", "first"),
    [(LAYERS, "features.5"), (["features.14", "features.13"], "features.13"), (["features.1"], "features.1")],
)
def test_the_layer_worth_seeing_first(net, folder, tmp_path, layers, first):
    """It is the last whose units see less than two fifths of the picture; where none do, the one whose units see least."""
    with deconvnet.scan(net, folder, tmp_path / "a.scan", layers=layers, limit=2) as scan:
        assert scan.default_layer() == first


@pytest.mark.parametrize("name", ["tiny", "torchvision:squeezenet1_0"])
def test_a_scan_shows_the_layer_first_that_project_does(name, folder, tmp_path):
    """What a scan says by the windows that it wrote down is what the net's own fields say."""
    net = deconvnet.DeconvNet(deconvnet.load_model(name, weights="DEFAULT" if name == "tiny" else None))
    with deconvnet.scan(net, folder, tmp_path / "a.scan", limit=1) as scan:
        assert scan.default_layer() == default_layer(net.record(drawing(0)))


def test_tiles_have_the_size_of_the_page(scan):
    """Examples are drawn at the size that they have on the page; their arrays are released."""
    columns, side = plate_shape(4)
    for panel in scan.plate("features.1", [0, 1]).panels(side):
        assert all(not isinstance(example, Example) and example.side == side for example in panel.examples)


def test_a_random_sample_is_of_channels_that_fired(scan):
    """The same seed gives the same channels, in order, and another seed others; dead ones are left out; a count too large gives all."""
    first = scan.sample("features.13", 6, seed=1)
    assert first == scan.sample("features.13", 6, seed=1) == sorted(set(first))
    assert first != scan.sample("features.13", 6, seed=2)
    alive = sorted(set(range(64)) - set(scan.dead("features.13")))
    assert scan.sample("features.13", 999) == alive


# What has changed since


@pytest.fixture
def moving(net, folder, tmp_path):
    """A scan whose pictures a test may change."""
    shutil.copytree(folder, tmp_path / "photos")
    return deconvnet.scan(net, tmp_path / "photos", tmp_path / "a.scan", layers=["features.5"])


def test_a_changed_picture_is_not_shown(moving, panels, tmp_path):
    """A picture whose file has another SHA-256 is named once and left out; the others are as before."""
    hits = moving.top("features.5", 7)
    before = panels(moving.plate("features.5", [7], crop="window"))[0].examples
    changed = tmp_path / "photos" / hits[2].path
    with Image.open(changed) as picture:
        ImageOps.invert(picture.convert("RGB")).save(changed)
    plate = moving.plate("features.5", [7, 7], crop="window")
    after = panels(plate)[0].examples
    assert plate.changed == [f"{hits[2].path} has changed since the scan: its SHA-256 is another. It is not shown."]
    assert plate._footer().endswith(" 1 picture is gone or has changed since the scan")
    assert len(after) == 8
    for old, new in zip([example for rank, example in enumerate(before) if rank != 2], after, strict=True):
        assert (old.patch == new.patch).all()


def test_a_changed_item_is_noticed(net, panels, tmp_path):
    """An item of a dataset, which has no file, is named if it gives another activation than the recorded one, with both."""
    images = torch.stack([net.preprocess(drawing(seed)) for seed in range(3)])
    scan = deconvnet.scan(net, images, tmp_path / "a.scan", layers=["features.5"])
    hits = scan.top("features.5", 7)
    images[hits[1].picture] *= -1
    plate = deconvnet.Scan.open(scan.path, net=net, pictures=images).plate("features.5", [7, 7])
    assert len(panels(plate)[0].examples) == 3
    (line,) = plate.changed
    assert line.startswith(f"{hits[1].path} gives ")
    assert line.endswith(f" where {hits[1].activation:.4g} was recorded: it has changed.")


def test_a_picture_that_is_gone_or_damaged_is_named_and_left_out(moving, panels, tmp_path):
    """A picture that can no longer be read is missing from the panel, and named with the reason; so may be all of a channel's."""
    hits = moving.top("features.5", 7)
    (tmp_path / "photos" / hits[0].path).unlink()
    (tmp_path / "photos" / hits[4].path).write_bytes(b"broken")
    plate = moving.plate("features.5", [7])
    (panel,) = panels(plate)
    assert [example.source for example in panel.examples] == [hit.path for rank, hit in enumerate(hits) if rank not in (0, 4)]
    gone, broken = (str(tmp_path / "photos" / hits[rank].path) for rank in (0, 4))
    assert sorted(plate.changed) == sorted(
        [
            f"{hits[0].path} is gone or cannot be read: cannot open {gone!r}: there is no such file. Check the path.",
            f"{hits[4].path} is gone or cannot be read: cannot open {broken!r}: it is a text, which is not read"
            " as a picture. Convert it to PNG or JPEG.",
        ]
    )
    shutil.rmtree(tmp_path / "photos")
    plate = moving.plate("features.5", [7])
    assert [len(panel.examples) for panel in panels(plate)] == [0]
    assert len(plate.changed) == 9


def test_a_plate_whose_pictures_are_all_gone_is_not_drawn(moving, tmp_path):
    """Nothing is written; one line names the first picture, and where it was looked for."""
    shutil.rmtree(tmp_path / "photos")
    plate = moving.plate("features.5", [7])
    path = moving.top("features.5", 7)[0].path
    with pytest.raises(PictureError) as error:
        plate.save(tmp_path / "plate.png")
    (line,) = [line for line in plate.changed if str(error.value).endswith(line)]
    assert str(error.value) == f"none of the 9 pictures of this plate can be shown. The first: {line}"
    assert path in "".join(plate.changed)
    assert not list(tmp_path.glob("plate*"))
    (tmp_path / "one").mkdir()
    drawing(3).save(tmp_path / "one" / "a.png")
    scan = deconvnet.scan(moving.net, tmp_path / "one", tmp_path / "one.scan", layers=["features.5"])
    (tmp_path / "one" / "a.png").unlink()
    with pytest.raises(PictureError, match=r"^the one picture of this plate cannot be shown\. The first: a\.png is gone"):
        scan.plate("features.5", [7]).figure()


def test_channels_that_are_classes_are_named(net, folder, panels, tmp_path):
    """A caption names the class, beside its number; channels of other layers have no names."""
    scan = deconvnet.scan(net, folder, tmp_path / "a.scan", layers=["features.5", "classifier.5"])
    notes = [panel.note for panel in panels(scan.plate({"classifier.5": [1, 0], "features.5": [1]}))]
    assert [note.split(" · ")[0] for note in notes[:2]] == ["cat", "face"]
    assert notes[2].startswith("fires on")


def test_pictures_of_like_names_are_told_apart(net, tmp_path, panels):
    """A picture whose name begins like another's is named as well."""
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(["a.png", "a.png (copy).png"]):
        drawing(seed).save(tmp_path / "photos" / name)
    scan = deconvnet.scan(net, tmp_path / "photos", tmp_path / "a.scan", layers=["features.1"])
    shutil.rmtree(tmp_path / "photos")
    plate = scan.plate("features.1", [0])
    assert panels(plate)[0].examples == []
    assert len(plate.changed) == 2


def test_moved_pictures_are_found_by_their_new_root(scan, folder, panels, net, tmp_path):
    """With root= the pictures are read from there; only those that are missing there are named."""
    shutil.copytree(folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / scan.top("features.1", 2)[0].path).unlink()
    opened = deconvnet.Scan.open(scan.path, root=tmp_path / "elsewhere", net=net)
    plate = opened.plate("features.1", [2])
    (panel,) = panels(plate)
    assert len(panel.examples) == 8
    assert len(plate.changed) == 1
    assert str(tmp_path / "elsewhere") in plate.changed[0]


# Its net


def test_a_scan_that_is_opened_loads_its_net(scan, panels):
    """The net is loaded by its name and weights, with the scan's preprocessing: its plates are the same."""
    opened = deconvnet.Scan.open(scan.path)
    assert opened.net.preprocess == scan.net.preprocess
    assert opened.layers == scan.layers
    for first, second in zip(*(panels(each.plate("features.5", [9]))[0].examples for each in (scan, opened)), strict=True):
        assert (first.projection == second.projection).all()
        assert (first.patch == second.patch).all()


def test_a_net_with_its_own_preprocessing_is_opened_with_it(tiny, folder, tmp_path):
    """The mean that was given is kept with the scan, and used again."""
    net = deconvnet.DeconvNet(tiny.with_preprocess(mean=(0.4, 0.5, 0.6)))
    scan = deconvnet.scan(net, folder, tmp_path / "a.scan", layers=["features.5"])
    opened = deconvnet.Scan.open(tmp_path / "a.scan")
    plate = opened.plate("features.5", [4])
    assert plate.figure().size == scan.plate("features.5", [4]).figure().size
    assert plate.changed == []
    assert opened.net.preprocess == net.preprocess


def test_the_caller_s_net_stays_as_it_is(tiny, scan):
    """A net with another preprocessing is not changed: the scan uses a copy with its own, of the same model."""
    other = deconvnet.DeconvNet(tiny.with_preprocess(mean=(0.4, 0.5, 0.6)))
    before = other.preprocess
    opened = deconvnet.Scan.open(scan.path, net=other)
    assert other.preprocess is before
    assert opened.net.preprocess == scan.net.preprocess != before
    assert opened.net.model is other.model
    opened.net = other
    assert (other.preprocess, opened.net.preprocess) == (before, scan.net.preprocess)
    same = deconvnet.DeconvNet(tiny)
    assert deconvnet.Scan.open(scan.path, net=same).net is same


def test_other_weights_are_refused(scan, tiny):
    """A net with other weights is refused, whether it is given at once or later."""
    other = deconvnet.DeconvNet(deconvnet.load_model("tiny", weights="none"))
    text = f"{scan.path!r} was scanned with weights {tiny.weights}, found random for tiny. Give the weights of the scan."
    with pytest.raises(StoreError) as error:
        deconvnet.Scan.open(scan.path, net=other)
    assert str(error.value) == text
    opened = deconvnet.Scan.open(scan.path)
    with pytest.raises(StoreError) as error:
        opened.net = other
    assert str(error.value) == text


def test_a_user_s_net_has_to_be_given(tmp_path, panels):
    """A module without a name to load it by has to be given again, and so has a dataset; then the plates are as before."""
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU())
    images = torch.randn(6, 3, 20, 30)
    scan = deconvnet.scan(deconvnet.DeconvNet(model), images, tmp_path / "a.scan", layers=["1"])
    path = str(tmp_path / "a.scan")
    with pytest.raises(StoreError) as error:
        _ = deconvnet.Scan.open(path).plate("1", [0]).figure()
    assert str(error.value) == f"{path!r} was scanned with your own net, Sequential. Give it: Scan.open(path, net=net)."
    with pytest.raises(StoreError) as error:
        _ = deconvnet.Scan.open(path, net=deconvnet.DeconvNet(model)).plate("1", [0]).figure()
    assert str(error.value) == f"{path!r} was made from a dataset. Give it: Scan.open(path, pictures=dataset)."
    opened = deconvnet.Scan.open(path, net=deconvnet.DeconvNet(model), pictures=images)
    plate = opened.plate("1", [0])
    for first, second in zip(*(panels(each)[0].examples for each in (scan.plate("1", [0]), plate)), strict=True):
        assert (first.projection == second.projection).all()
    assert plate.changed == []


def test_weights_from_a_file_are_found_from_anywhere(shared, tmp_path, monkeypatch):
    """The file's whole path is kept: a scan opens in another folder too."""
    monkeypatch.chdir(shared / "weights")
    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights="squeezenet1_0.safetensors")
    pictures = sorted((shared / "images/imagenet-sample").glob("*.jpg"))[:3]
    deconvnet.scan(deconvnet.DeconvNet(loaded), pictures, tmp_path / "a.scan", layers=["features.1"])
    monkeypatch.chdir(tmp_path)
    assert deconvnet.Scan.open("a.scan").net.name == "torchvision:squeezenet1_0"


# Wrong requests

WRONG = [
    ({"layer": "features.5", "channels": [64]}, UnitError, "layer 'features.5' has no channel 64: it has 64, numbered from 0."),
    ({"layer": "features.5", "channels": [-1]}, UnitError, "layer 'features.5' has no channel -1: it has 64, numbered from 0."),
    ({"layer": "features.5", "channels": []}, OptionError, "a plate shows one channel or more. Give at least one."),
    ({"layer": "features.5", "rule": "guide"}, OptionError, "rule cannot be 'guide': it is one of auto, deconvnet, guided, gradient, or three bits such as FTT. Did you mean 'guided'?"),
    ({"layer": "features.5", "tone": "loud"}, OptionError, "tone cannot be 'loud': it is one of soft, symmetric, shared, grey, minmax, positive, magnitude, sigmoid."),
    ({"layer": "features.5", "memory": 0}, OptionError, "memory cannot be 0: it is a number of bytes, 1 or more."),
]  # fmt: skip


@pytest.mark.parametrize(("options", "kind", "text"), WRONG, ids=[str(options) for options, _, _ in WRONG])
def test_what_a_plate_cannot_show(scan, options, kind, text):
    """Channels, rules, tones and memory that do not exist are refused at once, in one line."""
    with pytest.raises(kind) as error:
        scan.plate(**options)
    assert str(error.value) == text
