"""The surroundings of a scene: a ground of soft colours, strokes and small shapes that belong to no part."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image

from .canvas import Canvas, Colour, Pose, colour, shade
from .shapes import Points, box, ellipse, polygon, shift, smooth


def make_ground(rng: np.random.Generator) -> Image.Image:
    """Return a small picture of soft colours around one hue, 2 to 7 pixels a side, to be enlarged."""
    cells, hue, spread = int(rng.integers(2, 8)), rng.random(), rng.uniform(0.02, 0.2)
    hues = (hue + spread * rng.standard_normal((cells, cells))) % 1
    saturations, base = rng.uniform(0, 0.55, (cells, cells)), rng.uniform(0.3, 0.95)
    values = np.clip(base + rng.uniform(0.02, 0.16) * rng.standard_normal((cells, cells)), 0, 1)
    colours = [colorsys.hsv_to_rgb(*hsv) for hsv in zip(hues.flat, saturations.flat, values.flat, strict=True)]
    return Image.fromarray(np.uint8(255 * np.array(colours)).reshape(cells, cells, 3))


def scatter_behind(canvas: Canvas) -> None:
    """Scatter strokes and small shapes over the picture, before the scene is drawn."""
    rng, pose = canvas.rng, canvas.pose
    canvas.pose = Pose()  # clutter ignores where the scene stands
    for _ in range(int(rng.integers(0, 6))):
        canvas.stroke(None, _squiggle(rng), _dull(rng), rng.uniform(0.02, 0.08))
    for _ in range(int(rng.integers(2, 10))):
        canvas.fill(None, _scrap(rng), _dull(rng), outlined=rng.random() < 0.4)
    for _ in range(int(rng.integers(0, 3))):
        (x, y), radius = rng.uniform(-1, 1, 2), rng.uniform(0.1, 0.3)
        canvas.stroke(None, ellipse(x, y, radius), _dull(rng), rng.uniform(0.02, 0.06))
    canvas.pose = pose


def scatter_in_front(canvas: Canvas) -> None:
    """Put a thin stroke or a small shape over the finished scene now and then."""
    rng, pose = canvas.rng, canvas.pose
    canvas.pose = Pose()  # clutter ignores where the scene stands
    if rng.random() < 0.2:
        canvas.stroke(None, _squiggle(rng), _dull(rng), rng.uniform(0.02, 0.05))
    if rng.random() < 0.2:
        canvas.fill(None, _scrap(rng), _dull(rng))
    canvas.pose = pose


def _dull(rng: np.random.Generator) -> Colour:
    return shade(colour(rng, grey=0.3), rng.uniform(0.6, 1.4))


def _squiggle(rng: np.random.Generator) -> Points:
    x, y = rng.uniform(-1, 1, 2)
    steps = shift(rng.uniform(-0.6, 0.6, (3, 2)).cumsum(axis=0), x, y)
    return smooth((x, y), *[(float(u), float(v)) for u, v in steps], closed=False)


def _scrap(rng: np.random.Generator) -> Points:
    """Return the outline of a small disc, box, triangle or blob anywhere in the picture."""
    (x, y), radius = rng.uniform(-1, 1, 2), rng.uniform(0.04, 0.2)
    kind = rng.integers(4)
    if kind == 0:
        return ellipse(x, y, radius)
    if kind == 1:
        return box(x, y, 2 * radius, rng.uniform(0.6, 1.4) * radius)
    corners = [(x + radius * u, y + radius * v) for u, v in rng.uniform(-1.2, 1.2, (3 + int(kind), 2))]
    return polygon(*corners[:3]) if kind == 2 else smooth(*corners)
