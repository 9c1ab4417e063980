"""Promises about faithful: drops, regions, scores and the ground truth of drawings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import (
    faithful,
    masking,
)
from deconvnet.units import Unit, Window
from support.studies import Small


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(Small().eval())


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5


def test_drops_against_the_plain_forward_pass(small, image):
    """A drop is what a forward pass of the covered picture says, one at a time."""
    rng = np.random.default_rng(0)
    masks = rng.random((5, 32, 32)) < 0.3
    maps = small.model.features(image).detach()
    channel = int(maps[0].amax((1, 2)).argmax())
    row, col = divmod(int(maps[0, channel].argmax()), 7)
    unit = Unit("features.4", channel, row, col, activation=float(maps[0, channel, row, col]))
    found = masking.measure_drops(small, image[0], masks, unit)
    for mask, drop in zip(masks, found, strict=True):
        covered = image.clone()
        covered[:, :, torch.from_numpy(mask)] = 0
        left = small.model.features(covered).detach()[0, channel, row, col]
        assert drop == pytest.approx(1 - float(left / maps[0, channel, row, col]), abs=1e-5)


def test_regions_hold_their_share_of_the_window():
    """A region lies in its window, has the share asked for, and keeps it when moved; the middle one is in the middle."""
    inside = Window(4, 6, 20, 30)
    values = np.zeros((40, 50))
    values[10:14, 20:24] = 1.0
    region = masking.strongest_region(values, inside, 0.1)
    assert region.sum() == 60
    assert region[10:14, 20:24].all()
    outside = region.copy()
    outside[4:24, 6:36] = False
    assert not outside.any()
    rng = np.random.default_rng(0)
    others = [masking.randomly_moved(region, inside, rng) for _ in range(6)]
    assert {int(one.sum()) for one in others} == {60}
    assert len({one.tobytes() for one in others}) > 3
    assert not any(one[:4].any() or one[24:].any() or one[:, :6].any() or one[:, 36:].any() for one in others)
    rows, cols = np.nonzero(masking.middle_region(Window(-4, 6, 28, 30), (40, 50), 0.1))
    assert (rows.mean(), cols.mean()) == (pytest.approx(9.5, abs=0.5), pytest.approx(20.5, abs=0.5))


def test_blur_against_a_plain_sum():
    """The blur is the Gaussian's weighted sum, zero beyond the edge."""
    values = np.random.default_rng(0).random((6, 7))
    taps = {step: np.exp(-0.5 * (step / 1.2) ** 2) for step in range(-4, 5)}
    total = sum(taps.values())
    for row, col in ((0, 0), (3, 4), (5, 6)):
        expected = sum(
            taps[down] * taps[across] * values[row + down, col + across] / total**2
            for down in taps
            for across in taps
            if 0 <= row + down < 6 and 0 <= col + across < 7
        )
        assert masking.blurred(values, 1.2)[row, col] == pytest.approx(expected)


def test_faithful_score_of_a_unit_that_hears_one_corner():
    """A unit that hears only its window's upper left pixels: covering them takes all, other regions nothing, and so it scores."""
    conv = nn.Conv2d(1, 1, 9, padding=4, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, :3, :3] = 1.0
    net = deconvnet.DeconvNet(nn.Sequential(conv, nn.ReLU()).eval())
    result = faithful.run(net, torch.ones(1, 1, 24, 24), layer="1", top=1, area=9 / 81, seeds=12)
    first = result.methods.index("deconvnet")
    assert result.drops[0, first] == pytest.approx(1.0)
    assert result.drops[0, result.methods.index("centre")] == pytest.approx(0.0)
    assert 0.6 < result.scores[0, first] <= 1.0
    np.testing.assert_allclose(result.scores, result.drops - result.random_drops.mean(2))
    assert result.plot().axes


def test_faithful_sorts_units_and_knows_the_parts(net):
    """Units come by score; on drawings the exciting part is the one whose loss costs most, and the shares lie on it."""
    drawings = [draw("face", seed=3), draw("car", seed=1)]
    result = faithful.run(net, drawings, top=2, seeds=2)
    assert (np.diff(result.scores[:, 0]) <= 0).all()
    assert result.truth is not None
    images = torch.cat([net.record(one.picture).images for one in drawings])
    for number, text in enumerate(result.units):
        unit, drawing = deconvnet.units.parse_unit(text), drawings[int(result.images[number])]
        image = images[result.images[number]][None]
        lost = {}
        for name, mask in drawing.parts.items():
            covered = image.clone()
            covered[:, :, torch.from_numpy(mask)] = 0
            maps = net.record(covered).activations("features.13")
            lost[name] = 1 - float(maps[0, unit.channel, unit.row, unit.col]) / result.activations[number]
        part = max(lost, key=lost.__getitem__)
        if lost[part] < 0.1:
            assert result.truth.parts[number] == ""
            continue
        assert result.truth.parts[number] == part
        assert result.truth.drops[number] == pytest.approx(lost[part], abs=1e-4)
        weight = np.square(result.projections[number].astype(float)).sum(0)
        on = np.zeros((96, 96), bool)
        for row, col in np.argwhere(drawing.parts[part]):
            on[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = True
        assert result.truth.shares[number, 0] == pytest.approx(weight[on].sum() / weight.sum(), rel=1e-4)
    rows = result.to_json()
    assert rows["truth"]["parts"] == list(result.truth.parts)
    assert "projections" not in rows
    at = {method: number for number, method in enumerate(result.truth.methods)}
    for number in range(len(result.units)):
        if result.truth.parts[number]:
            assert result.truth.shares[number, at["no net"]] <= 1
    assert set(result.means) == set(result.methods) == {"deconvnet", "guided", "gradient", "centre", "no net", "random net"}
    assert set(result.share_means) == set(result.truth.methods)
    assert [comparison.name for comparison in result.comparisons if comparison.primary] == [faithful.PRIMARY]


def test_means_of_scores_are_over_pictures(net):
    """Two units of a picture are averaged before pictures are: the mean score, and each difference, is that of a plain loop."""
    result = faithful.run(net, [draw(seed=seed) for seed in range(6)], top=3, seeds=2)
    by_picture = {
        image: [at for at, other in enumerate(result.images) if other == image] for image in set(result.images.tolist())
    }
    for number, method in enumerate(result.methods):
        means = [np.mean([result.scores[at, number] for at in units]) for units in by_picture.values()]
        assert result.means[method].mean == pytest.approx(np.mean(means))
    named = {comparison.name: comparison.difference for comparison in result.comparisons}
    apart = result.scores[:, 0] - result.scores[:, result.methods.index("no net")]
    means = [np.mean([apart[at] for at in units]) for units in by_picture.values()]
    assert named["score: deconvnet - no net"].mean == pytest.approx(np.mean(means))
    assert named["score: deconvnet - no net"].text("+.3f") in result.summary()


def test_faithful_on_pictures(net, picture):
    """Photographs have no ground truth."""
    assert faithful.run(net, picture, top=1, seeds=2).truth is None
