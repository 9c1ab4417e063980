"""Nets that unpool differently: only the unpooling differs, and what their comparison holds."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

from deconvnet.cli.segment import segment as command
from deconvnet.upsampling import segment
from deconvnet.upsampling.part_labels import LABELS, draw_labelled
from deconvnet.upsampling.segmenter import UNPOOL, Segmenter, label_weights, predict_labels, train
from support.upsampling import looped_iou


@pytest.fixture(scope="module")
def labelled():
    """Sixteen drawings of 32 pixels and their labels."""
    return draw_labelled(range(500, 516), 32)


def test_fixed_unpooling_is_strided_deconvolution():
    """Into the top left corner and a transposed convolution of stride 1: one transposed convolution of stride 2."""
    small, conv = torch.randn(2, 5, 4, 6, dtype=torch.double), nn.ConvTranspose2d(5, 3, 3, padding=1).double()
    unpooled = UNPOOL["fixed"](small, (8, 12), None)
    strided = F.conv_transpose2d(small, conv.weight, conv.bias, stride=2, padding=1, output_padding=1)
    assert torch.allclose(conv(unpooled), strided, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 40), (27, 35)])
def test_the_net_against_torch(size):
    """The net that unpools by switches is torch's own pools and unpools in a row; sizes need not be multiples of eight."""
    model = Segmenter("switch").eval()
    pictures = torch.rand(2, 3, *size)
    signal, pools = 4 * pictures - 2, []
    for block in model.down:
        signal = block(signal)
        pools.append(signal.shape)
        signal, switches = F.max_pool2d(signal, 2, ceil_mode=True, return_indices=True)
        pools.append(switches)
    signal = model.waist(signal)
    for block in model.up:
        switches, large = pools.pop(), pools.pop()
        signal = block(F.max_unpool2d(signal, switches, 2, output_size=large[2:]))
    with torch.no_grad():
        assert torch.allclose(model(pictures), model.scores(signal), atol=1e-5)
        assert model(pictures).shape == (2, 7, *size)
    assert torch.equal(predict_labels(model, pictures), model(pictures).argmax(1))


def test_only_the_unpooling_differs(labelled):
    """Each net has the same parameters and first weights, the same seed trains the same net, and its loss falls."""
    pictures, labels = labelled
    before = torch.random.get_rng_state()
    firsts, first_losses = [], []
    for unpooling in UNPOOL:
        torch.manual_seed(3)
        firsts.append(nn.utils.parameters_to_vector(Segmenter(unpooling).parameters()))
    torch.random.set_rng_state(before)
    assert all(torch.equal(first, firsts[0]) for first in firsts)
    for unpooling in UNPOOL:
        model, losses = train(unpooling, pictures, labels, seed=3, steps=16)
        assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
        assert not model.training
        first_losses.append(losses[0])
    assert len(set(first_losses)) == 3  # one net, three unpoolings
    again, _ = train(unpooling, pictures, labels, seed=3, steps=16)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_any_number_of_steps(labelled):
    """A training may be as short as one step."""
    for steps in (1, 2, 3, 4, 9):
        assert len(train("nearest", *labelled, steps=steps)[1]) == steps


def test_label_weights(labelled):
    """A label's weight falls with the root of its share, and the weights of all pixels average 1."""
    weights = label_weights(labelled[1])
    counts = [(labelled[1] == label).sum().item() for label in range(7)]
    assert all(counts)
    assert torch.allclose(weights[1:] / weights[:1], torch.tensor([math.sqrt(counts[0] / count) for count in counts[1:]]))
    assert weights[labelled[1]].mean().item() == pytest.approx(1)


@pytest.fixture(scope="module")
def compared():
    """Nets with two unpoolings and two seeds, trained for a moment."""
    return segment.run(
        unpoolings=("switch", "nearest"), seeds=(0, 5), steps=24, drawings=16, test_drawings=14, size=32, shown=3
    )


def test_comparison(compared):
    """A comparison holds what its docstring says; its measures are means over labels, its differences are seed by seed."""
    assert compared.iou.shape == compared.boundary.shape == (2, 2, 7)
    assert (compared.losses.shape, compared.answers.shape, compared.pictures.shape) == (
        (2, 2, 24),
        (2, 3, 32, 32),
        (3, 32, 32, 3),
    )
    assert compared.parameters == sum(parameter.numel() for parameter in Segmenter("fixed").parameters())
    pictures, labels = draw_labelled(range(segment.TRAINING_SEEDS, segment.TRAINING_SEEDS + 16), 32)
    fresh, truth = draw_labelled(range(segment.TEST_SEEDS, segment.TEST_SEEDS + 14), 32)
    model, _ = train("nearest", pictures, labels, seed=5, steps=24)
    predicted = predict_labels(model, fresh)
    expected = [looped_iou(predicted, truth, label) for label in range(7)]
    assert compared.iou[1, 1] == pytest.approx(np.array(expected), abs=0.02)  # a pixel may flip with the memory's layout
    assert compared.measures()["mean IoU"][1, 1] == pytest.approx(np.nanmean(compared.iou[1, 1]))
    lines = compared.iou[:, :, LABELS.index("line")]
    assert compared.differences("switch", "nearest")["IoU of lines"] == pytest.approx(lines[0] - lines[1])


def test_comparison_as_json_and_arrays(compared, tmp_path):
    """The JSON has the numbers without the pictures, and calls the unpoolings ways, as the flag does; .npz has all arrays."""
    numbers = compared.to_json()
    assert numbers["ways"] == ["switch", "nearest"]
    assert np.shape(numbers["iou"]) == (2, 2, 7)
    assert numbers["settings"] == compared.settings
    compared.save(tmp_path / "compared.npz")
    with np.load(tmp_path / "compared.npz") as arrays:
        assert arrays["ways"].tolist() == ["switch", "nearest"]
        assert np.array_equal(arrays["answers"], compared.answers)


def test_figure_of_the_comparison(compared):
    """The figure shows a row per drawing with its truth and a column per net, and a dot per seed."""
    figure = compared.plot()
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert titles[:4] == ["drawing", "truth", "switch", "nearest"]
    assert {"mean IoU", "boundary IoU", "IoU of lines"} <= set(titles)
    assert len(figure.get_axes()) == 3 * 4 + 3
    dots = [line for line in figure.get_axes()[-1].get_lines() if len(line.get_xdata()) == 1]
    assert len(dots) == 4


def test_command(tmp_path, monkeypatch):
    """`deconvnet segment` trains, prints the table, and writes figure and numbers."""
    monkeypatch.chdir(tmp_path)
    options = ["--ways", "switch,fixed", "--seeds", "2", "--steps", "1", "--drawings", "8", "--size", "16", "--device", "cpu"]
    done = CliRunner().invoke(command, [*options, "--json", "table.json"], catch_exceptions=False)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["unpooling", "mean", "IoU", "boundary", "IoU", "IoU", "of", "lines"]
    assert [line.split()[0] for line in lines[1:3]] == ["switch", "fixed"]
    assert lines[3:] == ["segment.png", "table.json"]
    numbers = json.loads((tmp_path / "table.json").read_text())
    assert numbers["ways"] == ["switch", "fixed"]
    assert np.shape(numbers["iou"]) == (2, 2, 7)
    assert numbers["settings"]["steps"] == 1
