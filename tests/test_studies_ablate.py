"""Promises about ablate: the eight settings of mask, switches and rectification, and how alike they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import (
    ablate,
)
from deconvnet.units import Unit
from support.studies import Small


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(Small().eval())


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5


def test_ablate_projects_the_unit_by_all_eight_settings(net):
    """Each picture is what `project` makes of the unit by that rule, and the tables are numpy's own correlations of them."""
    result = ablate.run(net, draw("face", seed=3), layer="features.9", signals=2)
    recording = net.record(draw("face", seed=3).picture)
    assert sorted(result.rules) == sorted({f"{a}{b}{c}" for a in "FT" for b in "FT" for c in "FT"})
    unit = deconvnet.units.parse_unit(result.unit)
    flat, sizes = [], []
    for number, rule in enumerate(result.rules):
        [crop] = net.project(recording, "features.9", units=[unit], rule=rule).crops()
        np.testing.assert_allclose(result.pixels[number, 0], crop.numpy(), atol=1e-4 * float(crop.abs().max()))
        flat.append(crop.double().flatten())
        sizes.append(crop.double().abs().amax(0).flatten())
    for row in range(8):
        for col in range(8):
            cosine = float(flat[row] @ flat[col] / flat[row].norm() / flat[col].norm())
            assert result.cosine[row, col] == pytest.approx(cosine, abs=1e-4)
    np.testing.assert_allclose(result.correlation, np.corrcoef(torch.stack(sizes).numpy()), atol=1e-4)


def test_ablate_random_signals_are_positive_at_the_units_place(net):
    """Without rectification a projection is linear: the random signal's is the sum of its channels' by themselves."""
    result = ablate.run(net, draw("face", seed=3), layer="features.5", signals=2, seed=4)
    unit = deconvnet.units.parse_unit(result.unit)
    recording = net.record(draw("face", seed=3).picture)
    numbers = np.abs(np.random.default_rng(4).standard_normal((2, 64)))
    units = [Unit("features.5", channel, unit.row, unit.col) for channel in range(64)]
    for rule in ("TTF", "FFF"):
        alone = net.project(recording, "features.5", units=units, rule=rule, start="one").crops()
        added = sum(float(number) * crop.double() for number, crop in zip(numbers[0], alone, strict=True))
        made = result.pixels[result.rules.index(rule), 1]
        np.testing.assert_allclose(made, added.numpy(), atol=1e-4 * np.abs(made).max())
        size, other = np.abs(result.pixels[result.rules.index(rule)]).max(1)
        expected = np.corrcoef(size.ravel(), other.ravel())[0, 1]
        assert result.random_correlation[result.rules.index(rule), 0] == pytest.approx(expected, abs=1e-4)


def test_ablate_takes_classes(small, image):
    """A layer without positions works too."""
    result = ablate.run(small, image, layer="classifier")
    assert result.unit.startswith("classifier:")
    assert result.plot().axes


def test_ablate_shows_what_the_paper_leaves_open(tiny):
    """Each other choice is what a net that was made with it projects; its likeness is numpy's own cosine and correlation."""
    others = {"silent": "first", "overlap": "last", "lrn": "derivative"}
    result = ablate.run(deconvnet.DeconvNet(tiny), draw("face", seed=3), layer="features.9", signals=2)
    assert result.choices == ("silent=first", "overlap=last", "lrn=derivative")
    unit = deconvnet.units.parse_unit(result.unit)
    paper = result.pixels[result.rules.index("FTT"), 0].astype(float)
    for number, (name, other) in enumerate(others.items()):
        net = deconvnet.DeconvNet(tiny, **{name: other})
        [crop] = net.project(net.record(draw("face", seed=3)), "features.9", units=[unit]).crops()
        made = result.choice_pixels[number, 0].astype(float)
        np.testing.assert_allclose(made, crop.numpy(), atol=1e-4 * float(crop.abs().max()))
        cosine = (made * paper).sum() / np.linalg.norm(made) / np.linalg.norm(paper)
        assert result.choice_cosine[number] == pytest.approx(cosine, abs=1e-4)
        assert cosine < 0.999
        sizes = [np.abs(pixels).max(0).ravel() for pixels in (made, paper)]
        assert result.choice_correlation[number] == pytest.approx(np.corrcoef(sizes)[0, 1], abs=1e-4)


def test_ablate_of_a_net_with_another_choice_shows_the_default(tiny):
    """What is changed is the net's own choice, to its other value."""
    result = ablate.run(deconvnet.DeconvNet(tiny, silent="first"), draw("face", seed=3), layer="features.9", signals=2)
    assert result.choices[0] == "silent=drop"
    assert result.settings["silent"] == "first"
