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
from deconvnet.units import Window
from support.studies import plain

LAYER = "features.13"


def test_correspond_is_the_slow_loop(net):
    """Disagreement is the share of differing signs where both masks changed a feature, distance that of three signs, pair by pair."""
    drawings = [draw("face", seed=seed) for seed in range(3)]
    parts = [correspond.boxes_of(drawing, ["nose", "left eye"]) for drawing in drawings]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=[LAYER, "classifier.3"], trials=2)
    assert [row.name for row in result.rows] == ["nose", "left eye", "random", "on the object"]
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
            apart, three_signs = [], []
            for i, j in ((0, 1), (0, 2), (1, 2)):
                both = [
                    (float(a), float(b)) for a, b in zip(signs[i], signs[j], strict=True) if float(a) != 0 and float(b) != 0
                ]
                apart.append(sum(a != b for a, b in both) / len(both))
                three_signs.append(float((signs[i] != signs[j]).double().mean()))
            found = row.disagreements[layer][np.triu_indices(3, 1)]
            np.testing.assert_allclose(found, apart, atol=5e-3)  # a sign may hang on the last bit
            assert row.means[layer].mean == pytest.approx(np.mean(apart), abs=5e-3)
            assert row.distance[layer] == pytest.approx(np.mean(three_signs), abs=2e-3)
            assert str(row.means[layer]) in result.table()
    assert [row.disagreements[LAYER].shape for row in result.rows] == [(3, 3)] * 4


def test_controls_lie_on_the_object(net):
    """Masks on the object lie in the box called "object", or around all parts; random ones anywhere; each as large as a part."""
    rng, size = np.random.default_rng(0), (90, 80)
    boxes = {"a": Window(30, 20, 10, 12), "b": Window(50, 40, 6, 4)}
    for place, around in ((Window(10, 15, 60, 50), {"object": Window(10, 15, 60, 50)}), (Window(30, 20, 26, 24), {})):
        masks = correspond._masks(rng, {**boxes, **around}, ["a", "b"], 40, size)
        assert masks[:2] == list(boxes.values())
        assert len(masks) == 2 + 40 + 40
        for number, mask in enumerate(masks[2:]):
            assert (mask.height, mask.width) == ((10, 12), (6, 4))[number % 2]
            within = Window(0, 0, *size) if number < 40 else place
            assert within.union(mask) == within
        assert any(place.union(mask) != place for mask in masks[2:42])  # anywhere is more than the object


def test_the_matched_control_changes_as_many_features():
    """For each picture and part, the mask on the object is taken whose share of changed features is nearest to the part's."""
    generator = torch.Generator().manual_seed(0)
    trials, pictures, features = 5, 6, 400
    shares = torch.rand(1 + 2 * trials, pictures, 1, generator=generator)
    changed = torch.rand(1 + 2 * trials, pictures, features, generator=generator) < shares
    signs = (changed * (torch.randint(2, changed.shape, generator=generator) * 2 - 1)).to(torch.int8)
    found = correspond._Measured.of(signs, 1, trials).matched[0]
    chosen = []
    for picture in range(pictures):
        own = int((signs[0, picture] != 0).sum())
        masks = signs[1 + trials :, picture]
        chosen.append(min(masks, key=lambda mask: abs(int((mask != 0).sum()) - own)))
    for i in range(pictures):
        for j in range(pictures):
            both = [(a, b) for a, b in zip(chosen[i].tolist(), chosen[j].tolist(), strict=True) if a and b]
            assert found[i, j] == pytest.approx(sum(a != b for a, b in both) / len(both))


def test_faces_correspond_more_than_random_places(net):
    """At tiny's top the eyes of faces move features more alike than masks do that change as many on the face, as in the paper."""
    drawings = [draw("face", seed=seed) for seed in range(16)]
    parts = [correspond.boxes_of(drawing, ["left eye", "right eye"]) for drawing in drawings]
    parts = [{**boxes, "object": correspond.object_box(drawing)} for boxes, drawing in zip(parts, drawings, strict=True)]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=[LAYER, "classifier.3"])
    left, right, *controls = (row.means["classifier.3"].mean for row in result.rows)
    assert max(left, right) + 0.1 < min(controls)
    assert all(comparison.difference.mean < -0.05 for comparison in result.comparisons)
    assert [comparison.name for comparison in result.comparisons if comparison.primary] == ["left eye, classifier.3"]


def test_unchanged_features_have_no_sign(net):
    """A mask that changes nothing leaves all signs 0: there is nothing to disagree about, and that is said."""
    images = torch.zeros(2, 3, 96, 96)  # the fill itself
    result = correspond.run(net, images, [{"spot": [3, 4, 20, 30]}] * 2, layers=[LAYER], trials=1)
    assert result.rows[0].distance[LAYER] == result.rows[0].changed[LAYER] == result.rows[1].distance[LAYER] == 0
    assert [str(row.means[LAYER]) for row in result.rows] == ["- (1 of 1 missing)"] * 3


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
