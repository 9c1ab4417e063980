"""Promises about options that many commands share: how many pictures, how fine, where a tone ends, channels by their classes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deconvnet
from deconvnet.drawings import draw
from deconvnet.errors import OptionError
from deconvnet.render import read_settings
from deconvnet.render.tone import tone_text


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Four drawings in a folder, with the working folder above it."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for seed in range(4):
        draw(seed=seed).picture.save(f"photos/{seed}.png")
    return "photos"


def test_a_limit_takes_the_first_pictures(run, photos):
    """In project and in studies: the first in the folder's order."""
    out = run("project", photos, "--limit", 2, "--top", 1, "--out", "sheets/")[1]
    assert [Path(name).name[:2] for name in out.split()] == ["0-", "1-"]
    numbers = json.loads(run("filters", photos, "--limit", 3, "--top", 1, "--json")[1])
    assert numbers["settings"]["pictures"] == [f"photos/{seed}.png" for seed in range(3)]


def test_a_scan_with_a_limit_can_be_extended(run, photos, net):
    """The first pictures, then all of them by a later scan of the same file: as one scan of all."""
    assert run("scan", photos, "--layer", "conv2", "--limit", 2, "--out", "a.scan")[0] == 0
    with deconvnet.Scan.open("a.scan") as scan:
        assert scan.progress() == (2, 2)
    with (
        deconvnet.scan(net, photos, "a.scan", layers=["conv2"]) as scan,
        deconvnet.scan(net, photos, "b.scan", layers=["conv2"]) as whole,
    ):
        assert scan.progress() == (4, 4)
        assert [scan.top("conv2", channel) for channel in range(64)] == [whole.top("conv2", channel) for channel in range(64)]


def test_a_limit_is_a_count_of_files(net, photos):
    """None at all, and pictures of a kind of one's own, are refused."""

    class Own:
        root, names = None, ["a", "b"]
        path = size = exists = load = lambda self, *_: None

    with pytest.raises(OptionError) as caught:
        deconvnet.scan(net, photos, "a.scan", limit=0)
    assert str(caught.value) == "limit cannot be 0: it is a number, 1 or more."
    with pytest.raises(OptionError) as caught:
        deconvnet.scan(net, Own(), "a.scan", limit=1)
    assert str(caught.value) == "limit cannot be 1 for pictures of type Own. Give fewer of them."


def test_a_percentile_ends_the_tones_scale(run, photos):
    """In project and plate: other pixels, the number in the settings, and on the figure itself."""
    pixels = {}
    for percentile in (None, 60):
        options = [] if percentile is None else ["--percentile", percentile]
        run("project", f"{photos}/0.png", "--top", 1, *options, "--out", f"{percentile}.png")
        with Image.open(f"{percentile}.png") as sheet:
            pixels[percentile] = np.asarray(sheet)
        assert read_settings(f"{percentile}.png")["percentile"] == (percentile or 98)
    assert pixels[None].shape != pixels[60].shape or (pixels[None] != pixels[60]).any()
    assert tone_text("soft", 60).endswith(", the scale ends at 60 % of the values")
    run("scan", photos, "--layer", "conv2", "--out", "a.scan")
    run("plate", "a.scan", "--layer", "conv2", "--channel", 3, "--percentile", 60, "--out", "p.png")
    assert read_settings("p.png")["percentile"] == 60


def test_a_percentile_out_of_range_is_refused(net):
    """In Python, too."""
    projection = net.project(net.record("sample:drawing/cat"), top=1)
    for value in (0, 101):
        with pytest.raises(OptionError) as caught:
            deconvnet.save_sheet([projection], "a.png", percentile=value)
        assert str(caught.value) == f"percentile cannot be {value}: it is above 0 and at most 100."


def test_studies_are_drawn_finer(run, photos):
    """--scale 2 has twice the pixels, down and across."""
    for scale in (1, 2):
        assert run("filters", f"{photos}/0.png", "--top", 1, "--scale", scale, "--out", f"{scale}.png")[0] == 0
    with Image.open("1.png") as plain, Image.open("2.png") as finer:
        assert finer.size == tuple(2 * side for side in plain.size)


def test_a_channel_can_be_a_class(run, photos, net):
    """In the layer of the class scores, which is then the default; in upper or lower case, among numbers."""
    recording = net.record("sample:drawing/cat")
    by_name = net.project(recording, channels=["Cat", 3])
    assert by_name.layer == "classifier.5"
    assert [unit.channel for unit in by_name.units] == [net.loaded.classes.index("cat"), 3]
    torch.testing.assert_close(by_name.pixels, net.project(recording, "classifier.5", channels=[1, 3]).pixels)
    rows = json.loads(run("project", f"{photos}/0.png", "--channel", "cat", "--json")[1])
    assert [(row["layer"], row["channel"]) for row in rows] == [("classifier.5", 1)]


@pytest.mark.parametrize(
    ("layer", "channel", "message"),
    [
        ("features.9", "cat", "channels of layer 'features.9' have no names, and 'cat' is one. Take --layer classifier.5, or a number."),
        (None, "cta", "'cta' is neither channels, such as 3 or 1,4-6, nor a class of tiny. Did you mean 'cat' or 'car'? Give numbers or a class."),
    ],
)  # fmt: skip
def test_a_class_elsewhere_is_refused(net, layer, channel, message):
    """Other layers' channels have no names, and there is no such class."""
    with pytest.raises(OptionError) as caught:
        net.project(net.record("sample:drawing/cat"), layer, channels=[channel])
    assert str(caught.value) == message


def test_csv_is_no_formula(run, photos):
    """What a spreadsheet would take for a formula stands behind an apostrophe; numbers stay numbers."""
    draw(seed=9).picture.save("photos/=1+1.png")
    run("scan", photos, "--layer", "conv2", "--out", "a.scan")
    table = list(csv.DictReader(io.StringIO(run("top", "a.scan", "-l", "conv2", "-c", "0-63", "--csv")[1])))
    assert "'=1+1.png" in {row["path"] for row in table}
    assert all(float(row["activation"]) >= 0 for row in table)


def test_stopping_an_atlas_says_that_it_goes_on(run, photos, monkeypatch):
    """Ctrl-C while it draws: what is drawn is kept."""
    pytest.importorskip("jinja2")
    run("scan", photos, "--layer", "conv2", "--out", "a.scan")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("deconvnet.atlas.write_atlas", stop)
    code, out, err = run("atlas", "a.scan", "--out", "site")
    assert (code, out) == (130, "")
    assert err == "What is drawn is kept in site. The same command continues from there.\n\nstopped.\n"
