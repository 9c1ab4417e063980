"""Drawings with a planted cause: one small part decides the class, and everything else says nothing of it.

A net that tells the classes apart must look at that part, wherever it is. So what its answer rests on is known beforehand,
which it is for no photograph.
"""

from __future__ import annotations

import numpy as np

from . import Drawing
from .canvas import Canvas, Pose, colour, shade
from .clutter import make_ground, scatter_behind
from .shapes import ellipse, rotate

#: The classes, which differ in the shape of the cause alone.
PLANTED = ("ring", "cross")
CAUSE = "cause"  # the part's name


def draw_planted(*, seed: int = 0, size: int = 64) -> Drawing:
    """Draw clutter with a small ring or a small cross in it; the same arguments give the same bytes.

    Args:
        seed: 0 or more; it decides the class, the place, the colours and the clutter, each by itself.
        size: the picture's side in pixels.

    Returns:
        The drawing, whose only part is "cause".

        >>> drawing = draw_planted(seed=1)
        >>> drawing.name in PLANTED, list(drawing.parts)
        (True, ['cause'])
    """
    rng = np.random.default_rng(seed)
    label = int(rng.integers(len(PLANTED)))
    scale = rng.uniform(0.18, 0.26)
    x, y = rng.uniform(-1, 1, 2) * (0.95 - scale)
    canvas = Canvas(size, Pose(x, y, scale, turn=rng.uniform(-45, 45)), make_ground(rng), rng)
    canvas.outline = 0.0
    scatter_behind(canvas)
    paper, ink = shade(colour(rng), rng.uniform(1.4, 1.7)), shade(colour(rng), rng.uniform(0.2, 0.5))
    canvas.fill(CAUSE, ellipse(0, 0, 1.0), paper)
    if PLANTED[label] == "ring":
        canvas.stroke(CAUSE, ellipse(0, 0, 0.5), ink, 0.32)
    else:
        for turn in (0.0, 90.0):
            canvas.stroke(CAUSE, rotate(np.array([[-0.6, 0.0], [0.6, 0.0]]), turn), ink, 0.32)
    return Drawing(canvas.render(), label, PLANTED[label], canvas.masks(), seed)
