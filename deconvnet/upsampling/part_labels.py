"""The parts of drawings as labels, one per pixel: what a net for segmentation learns and is measured by.

Parts are grouped by kind - every eye, whatever has it, is an `eye` - and the thin ones, drawn with a stroke, share a label of
their own: whiskers, masts and clock hands are a pixel or two wide, so the effect of an upsampling method on position shows
there first.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..drawings import Drawing, draw

#: A label is an index here; where parts share a pixel, the later label wins: lines lie on what they cross.
LABELS = ("background", "thing", "window", "wheel", "ear", "eye", "line")

#: Scenes whose parts are kinds of things; letters, checks, stripes and dots have none.
LABELLED_SCENES = (
    "face", "cat", "bird", "fish", "butterfly", "flower", "tree", "house", "car", "bicycle", "train", "boat", "clock", "cup",
)  # fmt: skip

#: Parts drawn with a stroke.
LINE_PARTS = frozenset({
    "antennae", "bumper", "brow", "frame", "gill", "handlebar", "hands", "legs", "marks", "mast", "mouth", "nose", "pedals",
    "rod", "steam", "stem", "whiskers",
})  # fmt: skip
_SINGULARS = {"windows": "window", "wheels": "wheel"}


def label_of(part: str) -> int:
    """Return the label of a part by its name, without its side.

    >>> LABELS[label_of("left wheel")], LABELS[label_of("whiskers")], LABELS[label_of("hull")]
    ('wheel', 'line', 'thing')
    """
    kind = part.removeprefix("left ").removeprefix("right ")
    kind = "line" if kind in LINE_PARTS else _SINGULARS.get(kind, kind)
    return LABELS.index(kind) if kind in LABELS[2:] else LABELS.index("thing")


def label_parts(drawing: Drawing) -> npt.NDArray[np.uint8]:
    """Return the label of every pixel of a drawing, (size, size)."""
    labels = np.zeros(drawing.picture.size[::-1], np.uint8)
    for mask, label in sorted(((mask, label_of(part)) for part, mask in drawing.parts.items()), key=lambda pair: pair[1]):
        labels[mask] = label
    return labels


def draw_labelled(seeds: Iterable[int], size: int = 64) -> tuple[Tensor, Tensor]:
    """Draw one scene for each seed, with its labels.

    Args:
        seeds: consecutive seeds take the scenes in turn, so that a run of them holds each about equally often.
        size: the side of the drawings, in pixels.

    Returns:
        Pictures (N, 3, size, size) float32 in 0..1, and labels (N, size, size) int64, indices in `LABELS`.
    """
    drawings = [draw(LABELLED_SCENES[seed % len(LABELLED_SCENES)], seed=seed, size=size) for seed in seeds]
    pictures = np.stack([np.asarray(drawing.picture) for drawing in drawings])
    labels = np.stack([label_parts(drawing) for drawing in drawings])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels).long()
