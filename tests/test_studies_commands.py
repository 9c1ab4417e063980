"""Promises about the commands of studies: from nothing to a figure and numbers, on drawings and on photographs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import deconvnet
from deconvnet import cli
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import draw
from deconvnet.studies import (
    ablate,
    correspond,
    faithful,
    filters,
    invariance,
    occlude,
)
from support.studies import Viewing

LAYER = "features.13"


def test_commands_without_a_picture(tmp_path, monkeypatch):
    """Each command draws its figure and writes its numbers without a picture; the table goes to stdout."""
    monkeypatch.chdir(tmp_path)
    quick = {
        "occlude": ["--stride", "28"],
        "invariance": ["--layer", "features.1"],
        "correspond": ["--count", "2", "--trials", "1"],
        "evolve": ["--layer", LAYER, "--count", "1"],
    }
    monkeypatch.setattr("deconvnet.cli.evolve.draw_several", lambda count, first=0: [draw(seed=first).picture])
    monkeypatch.setattr("deconvnet.cli.occlude.draw_several", lambda count, first=0: [draw(seed=first).picture])
    figures = {
        "occlude": "occlude-tiny-features.13-soft.png",
        "invariance": "invariance-tiny-features.1.png",
        "correspond": "correspond-tiny-features.13+classifier.3.png",
        "evolve": "evolve-tiny-features.13-soft.png",
    }
    for name, options in quick.items():
        asked = [name, *options, "--json", f"{name}.json", "--npz", f"{name}.npz"]
        done = CliRunner().invoke(cli.deconvnet, asked, catch_exceptions=False)
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-3:] == [figures[name], f"{name}.npz", f"{name}.json"]
        assert (name == "correspond") == ("disagreement where both changed" in done.stdout)
        numbers = json.loads((tmp_path / f"{name}.json").read_text())
        assert numbers["settings"]["study"] == name
        assert numbers["settings"]["model"] == "tiny"
        with Image.open(tmp_path / figures[name]) as figure:
            assert figure.width > 700
            assert json.loads(figure.info["deconvnet"])["study"] == name
        with np.load(tmp_path / f"{name}.npz") as arrays:
            assert len(arrays.files) > 5


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["ablate", "--layer", "features.5", "--signals", "2"], "random_correlation"),
        (["filters", "--top", "2"], "dominance"),
        (["faithful", "--top", "1", "--seeds", "2"], "scores"),
    ],
)
def test_commands_of_one_picture(arguments, key, tmp_path, monkeypatch, picture, capsys):
    """Each draws its figure of one picture, the same bytes twice, and writes its numbers as JSON and arrays."""
    monkeypatch.chdir(tmp_path)
    for out in ("a.png", "b.png"):
        command.main(
            [*arguments[:1], str(picture), *arguments[1:], "-o", out, "--json=-", "--npz", "x.npz"], standalone_mode=False
        )
        numbers = json.loads(capsys.readouterr().out)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert numbers["settings"]["study"] == arguments[0]
    assert numbers[key] == np.load(tmp_path / "x.npz")[key].tolist()


def test_on_photographs(shared, tmp_path):
    """On the real SqueezeNet: hiding the hen's head costs its class; features move most in the lowest layer; boxes work."""
    weights = str(shared / "weights" / "squeezenet1_0.safetensors")
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=weights))
    photographs = sorted((shared / "images" / "imagenet-sample").iterdir())
    hen = next(path for path in photographs if "hen" in path.name)
    result = occlude.run(net, hen, square=60, stride=54)
    assert result.probabilities.shape == (5, 5)  # 0, 54, 108, 162 and 164
    assert result.probabilities.min() < result.probability
    values = {"translation": [-20, 0, 20], "scale": [1.2], "rotation": [90]}
    moved = invariance.run(net, [hen], values=values)
    assert list(moved.translation.distances) == ["features.1", "features.12"]
    assert moved.translation.distances["features.12"][0, 1] < 1e-4
    assert moved.translation.probabilities[0, 0] < moved.translation.probabilities[0, 1]
    pair = correspond.run(net, photographs[:2], [{"spot": [100, 100, 60, 60]}] * 2, trials=1)
    assert 0 < pair.rows[0].means["features.12"].mean < 1


@pytest.mark.parametrize("study", [filters, faithful])
def test_on_the_real_squeezenet(study, shared, tmp_path):
    """Each runs on real weights and photographs: SqueezeNet has dead filters of none, and its units are faithful on the whole."""
    weights = shared / "weights" / "squeezenet1_0.safetensors"
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=str(weights)))
    photos = sorted((shared / "images" / "imagenet-sample").iterdir())[::250]
    if study is filters:
        result = filters.run(net, photos, top=4)
        assert (result.layer, result.stride, len(result.rms)) == ("features.0", (2, 2), 96)
    else:
        result = faithful.run(net, photos, layer="features.8", top=1, seeds=2)
        assert result.scores[:, 0].mean() > 0
    assert result.save(tmp_path / "numbers.npz") == [tmp_path / "numbers.npz"]
    assert result.plot().axes


def test_any_number_of_channels(tmp_path):
    """Images of one and of five channels are measured and drawn; five are shown as the grey of their mean."""
    for channels in (1, 5):
        torch.manual_seed(0)
        net, images = deconvnet.DeconvNet(Viewing(channels).eval()), torch.randn(2, channels, 18, 16)
        figures = [
            occlude.run(net, images[:1], layer="relu", square=6, stride=6, others=images).plot(),
            invariance.run(net, images, layers=["relu"], values={"rotation": [0, 20]}).plot(),
            correspond.run(net, images, [{"spot": [2, 3, 5, 4]}] * 2, layers=["relu"], trials=1).plot(),
            ablate.run(net, images[:1], layer="relu", signals=2).plot(),
            faithful.run(net, images, layer="relu", top=1, seeds=2).plot(),
            filters.run(net, images, second="relu", top=2).plot(),
        ]
        for number, figure in enumerate(figures):
            figure.savefig(tmp_path / f"{number}.png", dpi=20)
