"""Promises about filters: what is measured of first-layer filters and of second-layer projections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import (
    filters,
    spectrum,
)


def test_filters_of_a_net_made_by_hand():
    """A dominant, a faint and a silent filter are found, the others not; RMS and shares are those of the weights."""
    net = nn.Sequential(nn.Conv2d(1, 5, 8, stride=4), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.ReLU()).eval()
    x = torch.arange(8.0)
    with torch.no_grad():
        net[0].weight[0] = 0.9  # a blob: low
        net[0].weight[1] = torch.cos(2 * np.pi * 3 / 16 * x).expand(8, 8) * 0.09  # between 1/8 and 1/4
        net[0].weight[2] = torch.cos(np.pi * x).expand(8, 8) * 0.09  # as high as it gets
        net[0].weight[3] = torch.cos(np.pi * x).expand(8, 8) * 1e-4
        net[0].weight[4] = -torch.ones(8, 8) * 0.09
        net[0].bias.zero_()
        net[0].bias[4] = -1.0
        net[2].weight.abs_()
    result = filters.run(deconvnet.DeconvNet(net), torch.rand(2, 1, 64, 64), top=2)
    slow = [np.sqrt(sum(value**2 for value in one.flatten().tolist()) / one.numel()) for one in net[0].weight.detach()]
    np.testing.assert_allclose(result.rms, slow, rtol=1e-5)
    assert result.dominance == pytest.approx(max(slow) / sorted(slow)[2])
    assert (result.layer, result.second, result.stride) == ("0", "3", (4, 4))
    assert result.over_cap.tolist() == [at for at, one in enumerate(slow) if one > 0.1]
    assert (result.faint.tolist(), result.silent.tolist()) == ([3], [4])
    assert result.shares.argmax(1).tolist() == [0, 1, 2, 2, 0]
    assert result.plot().axes


def test_band_shares_against_a_plain_fourier_sum():
    """The shares are those of the discrete Fourier transform, summed term by term, over 64 x 64 frequencies."""
    weight = np.random.default_rng(0).standard_normal((2, 3, 4))
    energy = np.zeros(3)
    rows, cols = np.mgrid[0:3, 0:4]
    for down in np.arange(-32, 32) / 64:
        for across in np.arange(-32, 32) / 64:
            wave = np.exp(-2j * np.pi * (down * rows + across * cols))
            radius = np.hypot(down, across)
            band = 0 if radius < 0.1 else 1 if radius < 0.3 else 2
            energy[band] += sum(abs((one * wave).sum()) ** 2 for one in weight)
    np.testing.assert_allclose(spectrum.band_shares(weight, (0.1, 0.3)), energy / energy.sum(), rtol=1e-9)


def test_grid_measures_what_repeats_with_the_stride():
    """Dots at every fourth pixel are nearly all grid, a smooth blob none, noise the flat share; stride 1 makes no grid."""
    dots = np.zeros((1, 64, 64))
    dots[:, ::4, ::4] = 1
    assert spectrum.measure_grid(dots, (4, 4)) > 0.85
    assert spectrum.measure_grid(dots, (1, 1)) == 0
    rows, cols = np.mgrid[-32:32, -32:32]
    assert spectrum.measure_grid(np.exp(-(rows**2 + cols**2) / 100.0)[None], (4, 4)) < 1e-6
    noise = np.random.default_rng(0).standard_normal((64, 64, 64))
    for stride in (2, 4):
        assert spectrum.flat_grid((stride, stride)) == pytest.approx((stride**2 - 1) / (16 * stride**2))
        assert spectrum.measure_grid(noise, (stride, stride)) == pytest.approx(spectrum.flat_grid((stride, stride)), rel=0.05)


def test_second_layer_units_are_the_strongest_over_all_pictures(net):
    """Each channel is projected where it fires most, in whichever picture: as a plain loop finds."""
    drawings = [draw(seed=seed) for seed in range(3)]
    result = filters.run(net, drawings, top=4)
    maps = torch.cat([net.record(one.picture).activations("features.5") for one in drawings])
    best = {}
    for image, channel, row, col in np.argwhere(maps.numpy() > 0):
        value = float(maps[image, channel, row, col])
        if value > best.get(int(channel), (0.0, ""))[0]:
            best[int(channel)] = (value, f"features.5:{channel}@{row},{col}")
    assert set(result.units) == {name for _, name in sorted(best.values(), reverse=True)[:4]}


def test_shares_stand_beside_those_of_white_noise(net):
    """Noise filters have the shares that are said of noise; the table divides by them, and the grid's mean is one over pictures."""
    noise = np.random.default_rng(0).standard_normal((3000, 1, 7, 7))
    found = np.mean([spectrum.band_shares(filter_, (1 / 8, 1 / 4)) for filter_ in noise], axis=0)
    np.testing.assert_allclose(spectrum.noise_shares((1 / 8, 1 / 4)), found, atol=0.01)
    result = filters.run(net, [draw(seed=seed) for seed in range(3)], top=4)
    over = result.shares.mean(0) / result.noise_shares
    rows = [line.split("  ") for line in result.table().splitlines()[1:4]]
    assert [float(row[-1]) for row in rows] == pytest.approx(over.tolist(), abs=0.006)
    assert result.grid_mean.values == 4
    assert result.grid_mean.pictures <= 3
