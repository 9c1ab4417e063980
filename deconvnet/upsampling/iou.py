"""How well labelled pixels agree with the truth: intersection over union, of whole areas and of their borders.

Large areas forgive a border that is off by a pixel, so the second measure looks at the borders alone: boundary IoU (Cheng,
Girshick, Dollar, Berg & Kirillov 2021), the IoU of the bands just inside the outlines. Sums go over all pictures before
dividing, as PASCAL VOC does: a label that one picture lacks costs nothing there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def iou(answer: Tensor, truth: Tensor, labels: int) -> Tensor:
    """Return each label's intersection over union, (labels,) float64; NaN for a label that neither has.

    `answer` and `truth` are labels (N, H, W), integers from 0 to labels - 1.

        >>> iou(torch.tensor([[[0, 1, 1]]]), torch.tensor([[[0, 0, 1]]]), 2)
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    counts = torch.bincount(truth.flatten() * labels + answer.flatten(), minlength=labels**2).view(labels, labels).double()
    both = counts.diagonal()
    return both / (counts.sum(0) + counts.sum(1) - both)


def boundary_iou(answer: Tensor, truth: Tensor, labels: int, *, width: int | None = None) -> Tensor:
    """Return each label's IoU within `width` pixels of its outlines, (labels,) float64; NaN where neither has any.

    `width` None is the measure's own: 2 % of the picture's diagonal, at least one pixel. The picture's edge counts as outline.
    """
    width = width or max(1, round(0.02 * math.hypot(*truth.shape[1:])))
    here, there = (band(_one_hot(picture, labels), width) for picture in (answer, truth))
    return (here & there).sum((0, 2, 3)).double() / (here | there).sum((0, 2, 3)).double()


def band(mask: Tensor, width: int) -> Tensor:
    """Keep the pixels of each mask that lie within `width` of its outside, diagonals counted as one: bool (N, C, H, W)."""
    outside = F.pad((~mask).float(), (width,) * 4, value=1.0)
    return mask & (F.max_pool2d(outside, 2 * width + 1, stride=1) > 0)


def _one_hot(picture: Tensor, labels: int) -> Tensor:
    """(N, H, W) labels -> (N, labels, H, W) bool."""
    return picture[:, None] == torch.arange(labels, device=picture.device).view(1, -1, 1, 1)
