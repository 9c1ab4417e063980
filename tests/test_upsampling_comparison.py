"""The comparison: every method from one small map, and the command."""

from __future__ import annotations

import io
import json
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import deconvnet
from deconvnet import cli
from deconvnet.drawings import draw
from deconvnet.render import read_settings
from deconvnet.upsampling import UPSAMPLERS, interpolation, unpooling
from deconvnet.upsampling.checkerboard import checkerboard_energy
from deconvnet.upsampling.comparison import COMPARABLE_METHODS, DEFAULT_METHODS, compare, map_of
from deconvnet.upsampling.metrics import psnr, ssim
from deconvnet.upsampling.round_trip import METHOD_INPUTS, downsample
from support.upsampling import noise


@pytest.mark.parametrize("method", COMPARABLE_METHODS)
def test_every_method_has_the_one_signature(method):
    """A small map and a size go in, a map of that size comes out, of the same type; what went in stays as it was."""
    pytest.importorskip("skimage")
    large = noise(1, 3, 12, 18, positive=True)
    downsampled = downsample(large, 3)
    inputs = METHOD_INPUTS.get(method, lambda _: {})(downsampled)
    before = downsampled.small.clone()
    for dtype in (torch.float64, torch.float32):
        result = UPSAMPLERS[method](downsampled.small.to(dtype), (12, 18), **inputs)
        assert result.shape == large.shape
        assert result.dtype == dtype
        assert result.isfinite().all()
    assert torch.equal(downsampled.small, before)


def test_comparison_goes_down_once_and_up_by_each_method():
    """Each factor has its small map, the max or the mean over windows, and each result is what its method returns."""
    pytest.importorskip("skimage")
    large = noise(1, 3, 26, 25, positive=True).float()
    for name, pool in (("max", F.max_pool2d), ("mean", F.avg_pool2d)):
        comparison = compare(large, methods=["nearest", "unpool-switches"], factors=[2, 3], pool=name)
        for trip, factor in zip(comparison.round_trips, (2, 3), strict=True):
            cut, small = large[:, :, :24, :24], trip.downsampled.small
            assert torch.equal(small, pool(cut, factor))
            assert torch.equal(trip.upsampled[0].large, interpolation.nearest(small, (24, 24)))
            _, switches = unpooling.max_pool(cut, factor)
            assert torch.equal(trip.upsampled[1].large, unpooling.to_switches(small, (24, 24), switches=switches))
            span = float(cut.max() - cut.min())
            for upsampled in trip.upsampled:
                assert upsampled.psnr == psnr(cut, upsampled.large, span)
                assert upsampled.ssim == ssim(cut, upsampled.large, span)
                assert upsampled.checkerboard == checkerboard_energy(upsampled.large, factor)


def test_overlapping_windows_in_the_comparison():
    """With a kernel larger than the factor windows overlap; there are as many as blocks, and "sum" and "last" differ."""
    pytest.importorskip("skimage")
    large = noise(1, 1, 24, 24, positive=True)
    for factor, kernel in [(2, 3), (2, 4), (3, 4), (3, 7), (4, 5)]:
        [trip] = compare(large, methods=["unpool-switches", "unpool-last"], factors=[factor], kernel=kernel).round_trips
        added, last = trip.upsampled
        assert trip.downsampled.small.shape[2:] == (24 // factor, 24 // factor)
        assert added.large.sum() > last.large.sum()
        assert last.psnr > added.psnr
        downsample(large, factor, pool="mean", kernel=kernel)


def test_an_exact_method_is_said_to_be_exact():
    """If nothing differs, the PSNR is infinite, and None in the rows, so that JSON can hold it."""
    pytest.importorskip("skimage")
    flat = interpolation.nearest(noise(1, 1, 4, 4), (8, 8))
    comparison = compare(flat, methods=["nearest"], factors=[2])
    assert comparison.round_trips[0].upsampled[0].psnr == math.inf
    (row,) = comparison.rows()
    assert row["psnr"] is None
    assert row["ssim"] == 1
    json.dumps(comparison.to_json(), allow_nan=False)


def test_a_flat_picture_can_be_compared():
    """A picture of one colour, within the limits of pictures, has numbers for every method; only nails have a checkerboard."""
    pytest.importorskip("skimage")
    [trip] = compare(torch.full((1, 3, 16, 16), 0.5), factors=[2], limits=(0.0, 1.0)).round_trips
    results = {upsampled.method: upsampled for upsampled in trip.upsampled}
    assert results["nearest"].psnr == math.inf
    assert results["bilinear"].checkerboard == 0
    assert results["unpool-top-left"].checkerboard == pytest.approx(1)
    assert all(math.isfinite(upsampled.ssim) for upsampled in trip.upsampled)


def test_a_comparison_saves_itself(tmp_path):
    """The suffix decides: the page with settings and numbers, but no times; maps as arrays; the numbers as JSON."""
    pytest.importorskip("skimage")
    comparison = compare(
        noise(1, 1, 12, 12, positive=True).float(), methods=["nearest"], factors=[2], source={"picture": "noise"}
    )
    for suffix in (".png", ".npz", ".json"):
        path = tmp_path / f"noise{suffix}"
        assert comparison.save(path) == [path]
    settings = read_settings(tmp_path / "noise.png")
    (row,) = settings.pop("results")
    assert settings == comparison.settings == json.loads((tmp_path / "noise.json").read_text())["settings"]
    assert "milliseconds" not in row
    assert {**comparison.rows()[0], **row} == comparison.rows()[0]
    with np.load(tmp_path / "noise.npz") as arrays:
        upsampled = comparison.round_trips[0].upsampled[0].large.numpy()
        assert np.array_equal(arrays["round_trips/0/upsampled/0/large"], upsampled)


def test_a_comparison_plots_its_page():
    """The figure has the page's pixels."""
    pytest.importorskip("skimage")
    comparison = compare(noise(1, 1, 12, 12, positive=True).float(), methods=["nearest"], factors=[2])
    drawn = io.BytesIO()
    comparison.plot().savefig(drawn, format="png")
    with Image.open(drawn) as figure:
        assert np.array_equal(np.asarray(figure.convert("RGB")), np.asarray(comparison.draw()))


def test_a_map_of_a_real_layer(tiny):
    """By default the last rectified layer's strongest map is taken; layer and channel can be named."""
    net, picture = deconvnet.DeconvNet(tiny), draw("face", seed=3).picture
    maps, layer, channel = map_of(net, picture)
    assert layer == "features.13"
    activations = net.record([picture]).activations("features.13")[0]
    assert channel == int(activations.amax((1, 2)).argmax())
    assert torch.equal(maps[0, 0], activations[channel])
    assert torch.equal(map_of(net, picture, "features.4", 3)[0][0, 0], net.record([picture]).activations("features.4")[0, 3])


def test_switches_keep_the_structure_of_real_maps(shared):
    """On maps of the real SqueezeNet, switched unpooling is nearer than fixed by decibels, and far nearer in structure."""
    pytest.importorskip("skimage")
    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights/squeezenet1_0.safetensors"))
    picture = min((shared / "images/imagenet-sample").iterdir())
    net = deconvnet.DeconvNet(loaded)
    for layer in ("features.1", "features.7"):
        large, _, _ = map_of(net, picture, layer)
        [trip] = compare(large, methods=["unpool-top-left", "unpool-switches"], factors=[2]).round_trips
        fixed, switched = trip.upsampled
        assert switched.psnr > fixed.psnr + 1
        assert switched.ssim > fixed.ssim + 0.1
        assert switched.checkerboard < fixed.checkerboard / 10


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in this process and in an empty folder; return (exit code, stdout, stderr)."""
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["deconvnet", "upsample", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_command_without_a_picture(run, tmp_path):
    """A drawing is used; the table goes to stdout, and the page is named last."""
    code, out, _ = run("--factor", "2", "--size", "48")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == list(DEFAULT_METHODS)
    assert lines[0].split() == ["factor", "way", "PSNR", "dB", "SSIM", "multiply-adds", "ms", "checkerboard"]
    assert lines[-1] == "upsample-drawing.png"
    with Image.open(tmp_path / lines[-1]) as image:
        assert image.width > 1000
    assert read_settings(tmp_path / lines[-1])["picture"] == "drawing of a face"


def test_command_on_a_picture(run, picture, tmp_path):
    """Methods, factors, kernel and pool are those asked for, and JSON alone goes to stdout."""
    arguments = ["--factor", "2,3", "--ways", "unpool-last,nearest", "--down", "mean", "--kernel", "3", "--size", "60"]
    code, out, err = run(picture, *arguments, "--out", "page.jpg", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["factor"], row["way"]) for row in rows] == [
        (2, "unpool-last"), (2, "nearest"), (3, "unpool-last"), (3, "nearest"),
    ]  # fmt: skip
    assert {(row["down"], row["kernel"], row["picture"]) for row in rows} == {("mean", 3, str(picture))}
    assert rows[0]["size"] == [60, 60]
    assert err.strip() == "page.jpg"
    assert read_settings(tmp_path / "page.jpg")["kernel"] == [3, 3]


def test_command_on_a_map(run, picture):
    """With a layer the map of a model is taken down, by default the strongest; a layer without a model is tiny's."""
    code, out, _ = run(
        picture, "--layer", "features.4", "--channel", "2", "--ways", "unpool-switches", "--factor", "2", "--json"
    )
    assert code == 0
    (row,) = json.loads(out)
    assert (row["model"], row["layer"], row["channel"]) == ("tiny", "features.4", 2)
    code, out, _ = run(picture, "--model", "tiny", "--ways", "nearest", "--factor", "2")
    assert code == 0
    assert out.splitlines()[-1].startswith("upsample-face-tiny-features.13-")


def test_command_lists_the_methods(run):
    """`--ways list` names every method that can be compared."""
    code, out, _ = run("--ways", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(COMPARABLE_METHODS)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--factor", "1"), 2, "'1' is not whole numbers of at least 2, such as 2,4."),
        (("--factor", "2,x"), 2, "'2,x' is not whole numbers of at least 2, such as 2,4."),
        (("--mean", "0.5"), 2, "--mean and --std belong to a model's pictures: give --model, or leave them out."),
        (("--ways", "nearest,sparse"), 1, "OptionError: method cannot be 'sparse': it is one of nearest,"),
        (
            ("--out", "page.gif"),
            1,
            "OptionError: cannot save 'page.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf.",
        ),
        (("missing.jpg",), 1, "PictureError: cannot open 'missing.jpg': there is no such file. Check the path."),
        (("--layer", "features.99"), 1, "UnknownLayerError: 'features.99' is not a layer of tiny."),
    ],
)
def test_command_refusals(run, arguments, code, text, tmp_path):
    """Wrong usage exits with 2, what fails with 1, each with one line on stderr, and nothing is written."""
    found, out, err = run(*arguments)
    assert found == code
    assert text in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.glob("upsample*"))
