"""Promises about invariance: transforms and distances equal a slow, plain re-computation."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import deconvnet
from deconvnet.choices import DISTANCES
from deconvnet.drawings import draw
from deconvnet.studies import (
    invariance,
)
from deconvnet.studies.transform import Transform
from support.studies import plain, sequential


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    """A net for images of 18 x 25 without a preprocessing."""
    return deconvnet.DeconvNet(sequential())


@pytest.mark.parametrize("axis", ["vertical", "horizontal"])
def test_translation_by_whole_pixels_is_exact(small, axis):
    """A picture moved by whole pixels is that picture's rows or columns elsewhere, and the fill beside them."""
    image = torch.randn(3, 18, 25)
    moved = Transform(axis)(small, image, "translation", [4, 0, -7])
    expected = torch.zeros(3, *image.shape)
    if axis == "vertical":
        expected[0, :, 4:], expected[1], expected[2, :, :-7] = image[:, :-4], image, image[:, 7:]
    else:
        expected[0, :, :, 4:], expected[1], expected[2, :, :, :-7] = image[:, :, :-4], image, image[:, :, 7:]
    torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-6)


def test_rotation_by_a_quarter_is_exact(small):
    """A quarter turn counter-clockwise is `rot90`; so are two and three."""
    image = torch.randn(3, 19, 19)
    turned = Transform()(small, image, "rotation", [0, 90, 180, 270])
    for quarters, one in enumerate(turned):
        torch.testing.assert_close(one, torch.rot90(image, quarters, (1, 2)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "value"), [("scale", 1.6), ("scale", 0.7), ("rotation", 33), ("translation", 2.25)])
def test_transforms_are_the_slow_loop(small, kind, value):
    """Each pixel is the bilinear mean of the four around the place that it comes from, with the fill beyond the border."""
    image = torch.rand(3, 9, 14, dtype=torch.float64)
    moved = Transform()(small, image, kind, [value])[0]
    middle = (4.0, 6.5)
    for row, col in itertools.product(range(9), range(14)):
        down, right = row - middle[0], col - middle[1]
        if kind == "translation":
            down -= value
        elif kind == "scale":
            down, right = down / value, right / value
        else:
            cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
            down, right = cosine * down + sine * right, cosine * right - sine * down
        y, x = down + middle[0], right + middle[1]
        total = torch.zeros(3, dtype=torch.float64)
        for j, i in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
            if 0 <= j < 9 and 0 <= i < 14:
                total += (1 - abs(y - j)) * (1 - abs(x - i)) * image[:, j, i]
        torch.testing.assert_close(moved[:, row, col], total, rtol=1e-9, atol=1e-9)


def test_invariance_is_the_slow_loop(net):
    """Distances and probabilities are those of each transformed picture, run by itself."""
    drawings = [draw("clock", seed=5), draw("car", seed=5)]
    values = {"translation": [-9, 0, 26], "scale": [1.0, 1.45], "rotation": [90]}
    layers = ["features.1", "classifier.3"]
    pictures = [drawing.picture for drawing in drawings]
    results = {
        how: invariance.run(net, pictures, layers=layers, labels=["clock", "car"], values=values, distance=how)
        for how in DISTANCES
    }
    assert results["plain"].classes == ("clock", "car")
    for number, drawing in enumerate(drawings):
        image = net.preprocess(drawing.picture)
        for kind, at in itertools.product(values, range(3)):
            if at >= len(values[kind]):
                continue
            moved = Transform()(net, image, kind, values[kind])[at]
            for layer in layers:
                still, _ = plain(net.model, image, layer)
                features, shares = plain(net.model, moved, layer)
                length = float((features - still).double().pow(2).sum().sqrt())
                expected = {"plain": length, "rms": length / still.numel() ** 0.5, "relative": length / float(still.norm())}
                for how, result in results.items():
                    found = getattr(result, kind).distances[layer][number, at]
                    assert found == pytest.approx(expected[how], rel=1e-4, abs=1e-5)
            assert getattr(results["rms"], kind).probabilities[number, at] == pytest.approx(
                float(shares[drawing.label]), rel=1e-4
            )


def test_invariance_has_the_papers_ranges():
    """-60..60 pixels of 224, 1..1.8, 0..350 degrees; translations in proportion, whole pixels, each once, 0 among them."""
    paper, ours = invariance.swept_values((224, 224)), invariance.swept_values((96, 96))
    assert (paper["translation"][0], paper["translation"][-1]) == (-60, 60)
    assert (paper["scale"][0], round(paper["scale"][-1], 9)) == (1, 1.8)
    assert paper["rotation"].tolist() == list(range(0, 360, 10))
    assert (ours["translation"][0], ours["translation"][-1]) == (-26, 26)
    assert 0 in ours["translation"]
    assert (ours["translation"] == ours["translation"].round()).all()


def test_edge_fill_goes_on_with_the_border(small):
    """With fill="edge" what comes in is the border's own pixels."""
    image = torch.randn(3, 8, 9)
    moved = Transform(fill="edge")(small, image, "translation", [3])[0]
    torch.testing.assert_close(moved[:, :3], image[:, :1].expand(3, 3, 9), rtol=1e-6, atol=1e-6)
