"""Promises about occlude: each position's numbers are those of that one picture, occluded and run by itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import (
    occlude,
)
from deconvnet.studies.fill import fill_colour
from deconvnet.studies.forward import Forward
from support.studies import Viewing, plain, sequential


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    """A net for images of 18 x 25 without a preprocessing."""
    return deconvnet.DeconvNet(sequential())


@pytest.fixture
def viewing() -> deconvnet.DeconvNet:
    torch.manual_seed(5)
    return deconvnet.DeconvNet(Viewing().eval())


def test_occlude_is_the_slow_loop(small):
    """Every position's total, probability and class are those of that one picture, occluded and run by itself."""
    image = torch.randn(1, 3, 18, 25)
    result = occlude.run(small, image, layer="4", square=5, stride=4, label=2, batch=7)
    assert result.tops.tolist() == [0, 4, 8, 12, 13]
    assert result.lefts.tolist() == [0, 4, 8, 12, 16, 20]
    maps, shares = plain(small.model, image[0], "4")
    channel = int(maps.sum((1, 2)).argmax())
    assert result.settings["channel"] == channel
    assert result.total == pytest.approx(float(maps[channel].sum()), rel=1e-5)
    assert result.probability == pytest.approx(float(shares[2]), rel=1e-5)
    for (row, top), (col, left) in itertools.product(enumerate(result.tops), enumerate(result.lefts)):
        hidden = image[0].clone()
        hidden[:, top : top + 5, left : left + 5] = 0
        maps, shares = plain(small.model, hidden, "4")
        assert result.totals[row, col] == pytest.approx(float(maps[channel].sum()), rel=1e-4, abs=1e-5)
        assert result.probabilities[row, col] == pytest.approx(float(shares[2]), rel=1e-4)
        assert result.top_classes[row, col] == int(shares.argmax())
    signal = torch.zeros(1, 5, *maps.shape[1:])
    recording = small.record(image)
    signal[:, channel] = recording.activations("4")[:, channel]
    expected = small.project_signal(recording, "4", signal)[0].numpy()
    np.testing.assert_allclose(result.projection, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("length", "square", "stride"), [(224, 27, 7), (96, 12, 3), (10, 10, 3), (11, 3, 4), (9, 1, 1), (7, 2, 9)]
)
def test_squares_cover_the_picture_once(length, square, stride):
    """Positions are all different, lie inside, cover the last pixel and, with a stride up to the square's side, all pixels."""
    starts = occlude.square_starts(length, square, stride)
    assert len(set(starts.tolist())) == len(starts)
    assert starts.min() == 0
    assert starts.max() + square == length
    covered = {pixel for start in starts.tolist() for pixel in range(start, start + square)}
    assert stride > square or covered == set(range(length))


def test_occlude_computes_each_position_once(net, monkeypatch):
    """As many pictures go through the net as there are positions: none twice."""
    seen = []
    call = Forward.__call__
    monkeypatch.setattr(
        Forward, "__call__", lambda self, images, keep: (seen.append(images.clone()), call(self, images, keep))[1]
    )
    result = occlude.run(net, draw("fish", seed=5).picture, stride=16)
    images = torch.cat(seen)
    assert len(images) == result.totals.size == 7 * 7
    assert len(torch.unique(images.flatten(1), dim=0)) == len(images)


def test_occlude_has_the_papers_grey_in_proportion(net):
    """At 96 pixels the square is 12 and the stride 3; the mean becomes 0, and other fills are what they say."""
    image = net.preprocess(draw("fish", seed=5).picture)
    assert occlude._default_sizes(None, None, 224, 300) == (27, 7)
    assert occlude._default_sizes(None, None, 96, 96) == (12, 3)
    assert fill_colour(net, image, "mean").flatten().tolist() == [0, 0, 0]
    assert fill_colour(net, image, "white").flatten().tolist() == [2, 2, 2]
    assert fill_colour(net, image, "black").flatten().tolist() == [-2, -2, -2]
    assert fill_colour(net, image, (0.5, 0.75, 0.25)).flatten().tolist() == [0, 1, -1]
    torch.testing.assert_close(fill_colour(net, image, "picture").flatten(), image.mean((1, 2)))


def test_occlude_shows_other_pictures_only(small):
    """The picture itself, in the folder it was taken from, is not one of its others; those are the strongest that are left."""
    torch.manual_seed(3)
    images = torch.randn(5, 3, 18, 25)
    own = int(small.record(images, layers=["4"]).activations("4")[:, 2].amax((1, 2)).argmax())
    result = occlude.run(small, images[own : own + 1], layer="4", channel=2, square=6, stride=6, others=images)
    found = [(round(one.activation, 4), one.source) for one in result.others]
    maxima = small.record(images, layers=["4"]).activations("4")[:, 2].amax((1, 2))
    best = [number for number in maxima.argsort(descending=True).tolist() if number != own and maxima[number] > 0][:3]
    assert found == [(round(float(maxima[number]), 4), f"image {number}") for number in best]
    assert best


def test_occlude_without_classes(small):
    """A net that is no classifier still has the map's totals; probabilities are left out, in the figure too."""
    bare = deconvnet.DeconvNet(small.model[:5])
    result = occlude.run(bare, torch.randn(1, 3, 18, 25), square=6, stride=6)
    assert result.probabilities is None
    assert result.top_classes is None
    assert result.to_json()["shares"] is None
    assert len(result.plot().axes) == 2 * 3  # panels, and below each what its colours mean


class Functional(nn.Module):
    """Views its maps as rows, which fails where channels come last in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 7 * 9, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.conv(images))
        return self.linear(maps.view(len(maps), -1))


def test_a_net_that_views_its_maps_is_run_again_and_counted_once():
    """Where a batch fails in one order of memory it is run in the other, and nothing of the first try is kept."""
    torch.manual_seed(1)
    net = deconvnet.DeconvNet(Functional().eval())
    image = torch.randn(1, 3, 16, 20)
    result = occlude.run(net, image, layer="relu", square=5, stride=4)
    hidden = image[0].clone()
    hidden[:, 4:9, 8:13] = 0
    with torch.no_grad():
        maps, output = torch.relu(net.model.conv(hidden[None]))[0], net.model(hidden[None])[0]
    assert result.totals.shape == (4, 5)
    assert result.totals[1, 2] == pytest.approx(float(maps[result.settings["channel"]].sum()), rel=1e-4)
    assert result.probabilities[1, 2] == pytest.approx(float(output.softmax(0)[result.settings["label"]]), rel=1e-4)


def test_no_batch_is_counted_twice(viewing):
    """A net that cannot take channels_last images has every position once, and its totals are the slow loop's."""
    image = torch.randn(1, 3, 18, 16)
    result = occlude.run(viewing, image, layer="relu", square=4, stride=5, batch=3)
    model, channel = viewing.model, result.settings["channel"]
    for (row, top), (col, left) in itertools.product(enumerate(result.tops), enumerate(result.lefts)):
        hidden = image.clone()
        hidden[:, :, top : top + 4, left : left + 4] = 0
        with torch.no_grad():
            expected = model.relu(model.conv(hidden))[0, channel].sum()
        assert result.totals[row, col] == pytest.approx(float(expected), rel=1e-4)
