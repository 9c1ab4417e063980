"""Promises about correspond: the paper's Table 1 equals a slow, plain re-computation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import deconvnet
from deconvnet.drawings import draw
from deconvnet.studies import (
    correspond,
)
from support.studies import plain

LAYER = "features.13"


@pytest.fixture(scope="module")
def net(tiny) -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(tiny)


def test_correspond_is_the_slow_loop(net):
    """Distances are the share of features whose sign of change differs, pair by pair; the table holds mean and deviation."""
    drawings = [draw("face", seed=seed) for seed in range(3)]
    parts = [correspond.boxes_of(drawing, ["nose", "left eye"]) for drawing in drawings]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=[LAYER, "classifier.3"], trials=2)
    assert [row.name for row in result.rows] == ["nose", "left eye", "random"]
    for row in result.rows[:2]:
        for layer in result.layers:
            signs = []
            for drawing in drawings:
                image = net.preprocess(drawing.picture)
                ys, xs = np.nonzero(drawing.parts[row.name])
                hidden = image.clone()
                hidden[:, ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = 0
                whole, masked = plain(net.model, image, layer)[0], plain(net.model, hidden, layer)[0]
                change = whole - masked
                signs.append(torch.where(change.abs() <= 1e-5 * whole.abs().max(), 0.0, change.sign()).flatten())
            expected = [float((signs[i] != signs[j]).double().mean()) for i, j in ((0, 1), (0, 2), (1, 2))]
            np.testing.assert_allclose(row.distances[layer][0], expected, atol=2e-3)  # a sign may hang on the last bit
            assert row.mean[layer] == pytest.approx(np.mean(expected), abs=2e-3)
            assert row.spread[layer] == pytest.approx(np.std(expected), abs=2e-3)
            assert f"{row.mean[layer]:.3f} ± {row.spread[layer]:.3f}" in result.table()
    assert result.rows[2].distances[LAYER].shape == (2, 3)


def test_faces_correspond_more_than_random_places(net):
    """In tiny's layer 5 the same part of five faces moves features more alike than random places do, as in the paper."""
    drawings = [draw("face", seed=seed) for seed in range(5)]
    parts = [correspond.boxes_of(drawing, ["left eye", "right eye"]) for drawing in drawings]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=["classifier.3"])
    left, right, control = (row.mean["classifier.3"] for row in result.rows)
    assert max(left, right) < control


def test_unchanged_features_have_no_sign(net):
    """A mask that changes nothing leaves all signs 0: distances are 0, and nothing is said to have changed."""
    images = torch.zeros(2, 3, 96, 96)  # the fill itself
    result = correspond.run(net, images, [{"spot": [3, 4, 20, 30]}] * 2, layers=[LAYER], trials=1)
    assert result.rows[0].mean[LAYER] == result.rows[0].changed[LAYER] == result.rows[1].mean[LAYER] == 0


def test_boxes_go_the_pictures_way(tiny, tmp_path):
    """A box in a JSON file is in the picture's pixels; what is masked are the pixels that it becomes by resizing and cropping."""
    Image.new("RGB", (384, 192)).save(tmp_path / "wide.png")
    Image.new("RGB", (96, 288)).save(tmp_path / "tall.png")
    boxes = {"wide.png": {"spot": [50, 150, 40, 100]}, "tall.png": {"spot": [150, 0, 25, 50]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    pictures, parts = correspond.read_boxes(tmp_path / "boxes.json")
    assert [path.name for path in pictures] == ["wide.png", "tall.png"]
    result = correspond.run(deconvnet.DeconvNet(tiny), pictures, parts, layers=[LAYER], trials=1)
    assert result.boxes["spot"].tolist() == [[25, 27, 20, 50], [54, 0, 25, 50]]  # halved and 48 off; as it is and 96 off


def test_the_same_study_gives_the_same_bytes(net, tmp_path):
    """Two runs have equal numbers and figures, byte by byte."""
    pictures, parts = [draw("cat", seed=seed).picture for seed in (1, 2)], [{"spot": [30, 40, 20, 20]}] * 2
    files = []
    for name in ("a.png", "b.png"):
        result = correspond.run(net, pictures, parts, layers=[LAYER], trials=2)
        [path] = result.save(tmp_path / name)
        files.append((path.read_bytes(), {key: value.tobytes() for key, value in result.to_arrays().items()}))
    assert files[0] == files[1]
