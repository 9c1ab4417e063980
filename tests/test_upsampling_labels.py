"""Part labels and the overlap measures, against counting pixel by pixel."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from deconvnet.drawings import draw
from deconvnet.upsampling.iou import boundary_iou, iou
from deconvnet.upsampling.part_labels import LABELLED_SCENES, LABELS, LINE_PARTS, draw_labelled, label_of, label_parts
from support.upsampling import looped_iou


def test_every_part_of_a_line_is_drawn_somewhere():
    """No name among the thin parts is misspelt, and eyes, ears, wheels and windows get their labels whatever has them."""
    drawn = {part for name, seed in product(LABELLED_SCENES, range(6)) for part in draw(name, seed=seed, size=48).parts}
    kinds = {part.removeprefix("left ").removeprefix("right ") for part in drawn}
    assert kinds >= LINE_PARTS
    named = {part: LABELS[label_of(part)] for part in drawn}
    assert (named["left wheel"], named["wheels"], named["windows"], named["right eye"]) == ("wheel", "wheel", "window", "eye")
    assert (named["hull"], named["whiskers"], named["left ear"]) == ("thing", "line", "ear")


def test_labels_are_the_masks():
    """A pixel has the highest label among the parts that cover it, 0 where none does: pixel by pixel."""
    drawing = draw("cat", seed=4, size=40)
    labels = label_parts(drawing)
    for row, col in product(range(40), range(40)):
        covering = [label_of(part) for part, mask in drawing.parts.items() if mask[row, col]]
        assert labels[row, col] == max(covering, default=0)
    pictures, many = draw_labelled(range(len(LABELLED_SCENES)), 24)
    assert (pictures.shape, many.shape, many.dtype) == ((14, 3, 24, 24), (14, 24, 24), torch.int64)
    assert 0 <= pictures.min() < pictures.max() <= 1


def test_overlaps_against_counting():
    """IoU and boundary IoU equal a count by hand over all pictures together; a label that occurs nowhere is NaN."""
    truth = torch.zeros(2, 12, 15, dtype=torch.int64)
    truth[0, 2:9, 3:12], truth[1, :6, 5:], truth[1, 8:, 2:4] = 1, 2, 1
    predicted = truth.roll((1, 1), (1, 2))
    predicted[0, 4, 4] = 2
    whole, borders, wide = (
        iou(predicted, truth, 4),
        boundary_iou(predicted, truth, 4, width=1),
        boundary_iou(predicted, truth, 4, width=2),
    )
    for label in range(4):
        assert whole[label].item() == pytest.approx(looped_iou(predicted, truth, label), nan_ok=True)
        assert borders[label].item() == pytest.approx(looped_iou(predicted, truth, label, 1), nan_ok=True)
        assert wide[label].item() == pytest.approx(looped_iou(predicted, truth, label, 2), nan_ok=True)
    assert whole[3].isnan()
    assert torch.equal(boundary_iou(truth, truth, 3), torch.ones(3, dtype=torch.float64))
    assert 0.02 * math.hypot(64, 64) == pytest.approx(1.81, abs=0.01)  # so that 64 pixels have a band of two
    large = torch.zeros(1, 64, 64, dtype=torch.int64)
    large[:, 10:40, 10:50] = 1
    moved = large.roll(1, 1)
    assert torch.equal(boundary_iou(moved, large, 2), boundary_iou(moved, large, 2, width=2))
