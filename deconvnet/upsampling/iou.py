"""How well labelled pixels agree with the truth: intersection over union, of whole areas and of their borders.

Large areas forgive a border that is off by a pixel, so the second measure looks at borders alone: boundary IoU (Cheng,
Girshick, Dollar, Berg & Kirillov 2021) is the IoU of the bands just inside the outlines. Sums go over all pictures before
dividing, as PASCAL VOC does: a label that a picture lacks costs nothing there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def iou(predicted: Tensor, truth: Tensor, labels: int) -> Tensor:
    """Return the intersection over union of each label.

    Args:
        predicted, truth: (N, H, W), integers from 0 to labels - 1.
        labels: how many there are.

    Returns:
        (labels,) float64, 0..1; NaN for a label that occurs in neither.

    >>> iou(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]), 2)
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    pairs = torch.bincount(truth.flatten() * labels + predicted.flatten(), minlength=labels**2).view(labels, labels).double()
    intersection = pairs.diagonal()
    return intersection / (pairs.sum(0) + pairs.sum(1) - intersection)


def boundary_iou(predicted: Tensor, truth: Tensor, labels: int, *, width: int | None = None) -> Tensor:
    """Return the IoU of each label within `width` pixels of its outlines; the picture's edge counts as outline.

    Args:
        predicted, truth: (N, H, W), integers from 0 to labels - 1.
        labels: how many there are.
        width: in pixels; by default, as Cheng et al. have it, 2 % of the picture's diagonal and at least 1.

    Returns:
        (labels,) float64, 0..1; NaN for a label that occurs in neither.
    """
    width = width or max(1, round(0.02 * math.hypot(*truth.shape[1:])))
    band, true_band = (inner_band(_one_hot(picture, labels), width) for picture in (predicted, truth))
    return (band & true_band).sum((0, 2, 3)).double() / (band | true_band).sum((0, 2, 3)).double()


def inner_band(mask: Tensor, width: int) -> Tensor:
    """Keep the pixels of each mask that lie within `width` of its outside, diagonal steps counted as one.

    Args:
        mask: (N, C, H, W), bool.
        width: in pixels.

    Returns:
        (N, C, H, W), bool.
    """
    outside = F.pad((~mask).float(), (width,) * 4, value=1.0)
    return mask & (F.max_pool2d(outside, 2 * width + 1, stride=1) > 0)


def _one_hot(picture: Tensor, labels: int) -> Tensor:
    """(N, H, W) labels -> (N, labels, H, W) bool."""
    return picture[:, None] == torch.arange(labels, device=picture.device).view(1, -1, 1, 1)
