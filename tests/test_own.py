"""*own*: how much of a projection is of its picture, against a slow twin: the same unit by autograd on each other picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet import Unit
from deconvnet.drawings import draw
from deconvnet.own import OTHERS
from deconvnet.render.text import own_text
from support.oracle import project_by_autograd

PICTURES = [draw(seed=seed) for seed in range(40, 45)]


@pytest.fixture(scope="module")
def recording(net):
    return net.record(PICTURES)


def strided() -> nn.Sequential:
    """A net without pools."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 8), (8, 12), (12, 16)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def cosine(first, second):
    lengths = first.norm() * second.norm()
    return float((first * second).sum() / lengths) if lengths > 0 else 0.0


def slow_own(model, images, image, others, layer, signal, rule):
    """1 - the mean cosine of autograd's projections: of this image, and of each other one, from the same signal."""
    projected = [project_by_autograd(model, images[[number]], layer, signal, rule)[0] for number in (image, *others)]
    return 1 - sum(cosine(projected[0], other) for other in projected[1:]) / len(others)


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize(("layer", "below"), [("features.5", "features.4"), ("features.13", "features.12")])
def test_a_unit_against_autograd(net, recording, layer, below, rule):
    """Each unit against the other pictures of its batch. The twin starts below the unit's ReLU: the unit counts as firing."""
    projection = net.project(recording, layer, top=3, rule=rule, own=True)
    assert len(projection.own) == 15
    for unit, own in zip(projection.units, projection.own, strict=True):
        signal = torch.zeros_like(recording.activations(below)[:1])
        signal[0, unit.channel, unit.row, unit.col] = unit.activation
        others = [number for number in range(5) if number != unit.image]
        expected = slow_own(net.model, recording.images, unit.image, others, below, signal, rule)
        assert own == pytest.approx(expected, abs=1e-4)


def test_a_whole_map_against_autograd(net, recording):
    """A whole map goes down from its own values by the other pictures' switches."""
    projection = net.project(recording, "features.13", channels=[4], at="map", image=1, own=True)
    activations = recording.activations("features.13")[[1]]
    signal = torch.zeros_like(activations)
    signal[:, 4] = activations[:, 4]
    expected = slow_own(net.model, recording.images, 1, [2, 3, 4, 0], "features.13", signal, "deconvnet")
    assert projection.own == [pytest.approx(expected, abs=1e-4)]


def test_alone_a_picture_is_compared_with_drawings(net, recording):
    """With eight bundled drawings, the same each time; or with the pictures that are given."""
    alone = net.record(PICTURES[0])
    drawings = [draw(seed=seed) for seed in range(OTHERS)]
    first, second, named = (net.project(alone, "features.13", own=True, others=others).own for others in (None, None, drawings))
    assert first == second == named
    pair = net.project(alone, "features.13", others=PICTURES[3:]).own
    batch = net.record([PICTURES[0], *PICTURES[3:]])
    assert pair == pytest.approx(net.project(batch, "features.13", image=0, own=True).own, abs=1e-4)
    assert net.project(alone, "features.13").own is None


def test_without_pools_the_deconvnet_shows_no_picture():
    """By the deconvnet rule own is 0.00 in every layer; guided, which is what "auto" takes there, has some."""
    net = deconvnet.DeconvNet(strided())
    recording = net.record(torch.randn(4, 3, 32, 32))
    for layer in ("1", "3", "5"):
        assert np.abs(net.project(recording, layer, rule="deconvnet", own=True).own).max() < 1e-6
    assert np.mean(net.project(recording, "5", own=True).own) > 0.1


def test_first_filters_are_no_picture(net, recording):
    """Below the first filters nothing is of the picture, by any rule."""
    for rule in ("deconvnet", "guided", "gradient"):
        assert np.abs(net.project(recording, "features.1", rule=rule, own=True).own).max() < 1e-6


def test_an_empty_projection_has_none(net, recording):
    """A unit that does not fire sends nothing down: there is nothing to compare, which is no number."""
    maps = recording.maps("features.13")
    image, channel, row, col = (maps == 0).nonzero()[0].tolist()
    projection = net.project(recording, "features.13", units=[Unit("features.13", channel, row, col, image=image)], own=True)
    assert projection.own == [None]
    assert np.isnan(projection.arrays()["own"]).all()
    assert projection.to_json()[0]["own"] is None


def test_it_stands_in_files(net, recording):
    """In JSON, in arrays, and with the image that it belongs to."""
    projection = net.project(recording, "features.13", top=2, own=True)
    assert [row["own"] for row in projection.to_json()] == projection.own == projection.arrays()["own"].tolist()
    assert projection.of_image(3).own == projection.own[6:8]
    plain = net.project(recording, "features.13", top=2)
    assert torch.equal(plain.pixels, projection.pixels)
    assert (plain.of_image(3).own, plain.to_json()[0]["own"]) == (None, None)


def test_the_text():
    """A number, or in words that any picture would do."""
    assert [own_text(own) for own in (0.934, 0.05, 0.0499, 0.0, None)] == [
        "own 0.93",
        "own 0.05",
        "the same for any picture",
        "the same for any picture",
        "",
    ]


def test_other_pictures_of_another_size_are_refused(net, recording):
    """They must have the size of the image that they are compared with."""
    with pytest.raises(deconvnet.OptionError) as error:
        net.project(recording, "features.13", others=torch.randn(1, 3, 64, 96))
    assert str(error.value) == ("the other pictures must have the size of this one, 3x96x96; found 3x64x96. Resize them.")


def test_the_command(tmp_path, monkeypatch, capsys):
    """`--own` measures against drawings, `--others` against pictures."""
    from deconvnet.cli import main

    monkeypatch.chdir(tmp_path)
    for number, drawing in enumerate(PICTURES[:3]):
        drawing.picture.save(f"{number}.png")
    owns = {}
    for name, options in {"none": [], "own": ["--own"], "others": ["--others", "1.png", "--others", "2.png"]}.items():
        command = ["deconvnet", "project", "0.png", "-l", "features.13", "--top", "2", *options]
        monkeypatch.setattr("sys.argv", [*command, "--out", "sheet.png", f"--json={name}.json"])
        main()
        owns[name] = [row["own"] for row in json.loads((tmp_path / f"{name}.json").read_text())]
    assert owns["none"] == [None, None]
    assert all(0.5 < own < 1.3 for name in ("own", "others") for own in owns[name])
    assert owns["own"] != owns["others"]


def test_a_plate_measures_its_strongest(net, tmp_path):
    """Of each channel the two strongest units, each against the next picture of its batch; projections stay as they are."""
    for number, drawing in enumerate(PICTURES):
        drawing.picture.save(tmp_path / f"{number}.png")
    with deconvnet.scan(net, tmp_path, tmp_path / "tiny.scan", layers=["features.13"]) as scan:
        plate, plain = (scan.plate("features.13", [3, 7], own=own) for own in (True, False))
        examples, without = dict(plate.examples()), dict(plain.examples())
        batch = net.record([tmp_path / f"{number}.png" for number in range(5)])
        for channel in (3, 7):
            owns = [example.own for example in examples["features.13", channel]]
            assert owns[2:] == [None] * (len(owns) - 2)
            for example in examples["features.13", channel][:2]:
                hit, image = example.hit, int(example.hit.path.partition(".")[0])
                crops = []
                for number in (image, (image + 1) % 5):
                    signal = torch.zeros_like(batch.activations("features.13")[:1])
                    signal[0, channel, hit.row, hit.col] = 1
                    one = net.record(batch.images[[number]])
                    crops.append(net.project_signal(one, "features.13", signal)[0])
                assert example.own == pytest.approx(1 - cosine(*crops), abs=1e-4)
            assert plate.owns["features.13", channel] == pytest.approx(np.mean(owns[:2]))
            for example, other in zip(examples["features.13", channel], without["features.13", channel], strict=True):
                assert np.array_equal(example.example.projection, other.example.projection)
        assert plain.owns == {("features.13", 3): None, ("features.13", 7): None}
        notes = [panel.note for panel in plate.panels()]
        assert [note.split(" · ")[-1] for note in notes] == [own_text(plate.owns["features.13", channel]) for channel in (3, 7)]
        assert [row["own"] for row in plate.to_json()["channels"]] == list(plate.owns.values())


def test_a_plate_of_one_picture_has_none(net, tmp_path):
    """There is no other picture to compare with, and nothing is said."""
    PICTURES[0].picture.save(tmp_path / "only.png")
    with deconvnet.scan(net, tmp_path, tmp_path / "tiny.scan", layers=["features.13"]) as scan:
        plate = scan.plate("features.13", [3])
        (panel,) = plate.panels()
        assert plate.owns == {("features.13", 3): None}
        assert "own" not in panel.note
