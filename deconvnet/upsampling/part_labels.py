"""The parts of drawings as labels, one a pixel: what a net that segments learns and is measured by.

Parts are put together by kind - every eye, whatever has it, is an `eye` - and the thin ones, drawn with a stroke, make a
label of their own: whiskers, masts and clock hands are a pixel or two wide, and what a way of going up does to position shows
there first.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..drawings import Drawing, draw

#: A drawing's label is its part's place here; where parts share a pixel, the later one has it: lines lie on what they cross.
LABELS = ("background", "thing", "window", "wheel", "ear", "eye", "line")

#: Scenes whose parts make sense as kinds of things; letters, checks, stripes and dots have none.
SCENES = (
    "face", "cat", "bird", "fish", "butterfly", "flower", "tree", "house", "car", "bicycle", "train", "boat", "clock", "cup",
)  # fmt: skip

LINES = frozenset({
    "antennae", "bumper", "brow", "frame", "gill", "handlebar", "hands", "legs", "marks", "mast", "mouth", "nose", "pedals",
    "rod", "steam", "stem", "whiskers",
})  # fmt: skip
_PLURALS = {"windows": "window", "wheels": "wheel"}


def label_of(part: str) -> int:
    """Return the label of a part by its name, the side left out.

    >>> LABELS[label_of("left wheel")], LABELS[label_of("whiskers")], LABELS[label_of("hull")]
    ('wheel', 'line', 'thing')
    """
    kind = part.removeprefix("left ").removeprefix("right ")
    kind = "line" if kind in LINES else _PLURALS.get(kind, kind)
    return LABELS.index(kind) if kind in LABELS[2:] else LABELS.index("thing")


def label_parts(drawing: Drawing) -> npt.NDArray[np.uint8]:
    """Return the label of every pixel of a drawing, (size, size)."""
    labels = np.zeros(drawing.picture.size[::-1], np.uint8)
    for mask, label in sorted(((mask, label_of(part)) for part, mask in drawing.parts.items()), key=lambda pair: pair[1]):
        labels[mask] = label
    return labels


def draw_labelled(seeds: Iterable[int], size: int = 64) -> tuple[Tensor, Tensor]:
    """Draw one scene for each seed: pictures (N, 3, size, size) float32 in 0..1, and labels (N, size, size) int64.

    The seeds take the scenes in turn, so that a run of them holds each about equally often.
    """
    drawings = [draw(SCENES[seed % len(SCENES)], seed=seed, size=size) for seed in seeds]
    pictures = np.stack([np.asarray(drawing.picture) for drawing in drawings])
    labels = np.stack([label_parts(drawing) for drawing in drawings])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(labels).long()
