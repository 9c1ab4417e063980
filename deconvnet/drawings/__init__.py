"""Drawings made on demand: scenes built of named parts, over clutter, each with masks of its parts.

The model `tiny` learned from these. They need no download, and since every part's pixels are known, a projection can be held
against them: does this channel, which likes eyes, paint eyes?

    >>> drawing = draw("face", seed=3)
    >>> drawing.picture.size, sorted(drawing.parts)[:3]
    ((96, 96), ['hair', 'head', 'left brow'])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..errors import check_option
from . import clutter
from .canvas import Canvas, Frame
from .living import bird, butterfly, cat, face, fish, flower, tree
from .patterns import checks, dots, letters, stripes
from .things import bicycle, boat, car, clock, cup, house, train

__all__ = ["CLASSES", "Drawing", "draw"]

SCENES: dict[str, Callable[[Canvas], None]] = {
    "face": face,
    "cat": cat,
    "bird": bird,
    "fish": fish,
    "butterfly": butterfly,
    "flower": flower,
    "tree": tree,
    "house": house,
    "car": car,
    "bicycle": bicycle,
    "train": train,
    "boat": boat,
    "clock": clock,
    "cup": cup,
    "letters": letters,
    "checks": checks,
    "stripes": stripes,
    "dots": dots,
}

CLASSES: tuple[str, ...] = tuple(SCENES)  # a drawing's label is its class's place here


@dataclass(frozen=True)
class Drawing:
    """One picture and what is in it.

    `picture`: RGB, size x size. `label`: index in `CLASSES`. `parts`: name -> visible pixels, bool (size, size);
    left and right are the picture's; a part that nothing is seen of is left out.
    """

    picture: Image.Image
    label: int
    name: str
    parts: dict[str, np.ndarray]


def draw(name: str | None = None, *, seed: int = 0, size: int = 96) -> Drawing:
    """Draw a scene of class `name`, or of a class that the seed picks; the same seed gives the same bytes.

    `size`: pixels a side; another size shows the same scene with other grain.

        >>> draw(seed=1).name == draw(seed=1, size=224).name
        True
    """
    if name is not None:
        check_option("name", name, CLASSES)
    rng = np.random.default_rng(seed)
    picked = CLASSES[int(rng.integers(len(CLASSES)))]  # picked even when a name is given, so that both ways draw alike
    name = picked if name is None else name
    canvas = Canvas(size, _frame(rng), clutter.ground(rng), rng)
    clutter.behind(canvas)
    SCENES[name](canvas)
    clutter.before(canvas)
    return Drawing(canvas.develop(), CLASSES.index(name), name, canvas.masks())


def _frame(rng: np.random.Generator) -> Frame:
    """Pick a place: half to nine tenths of the picture, nearly upright, always wholly in view or nearly so."""
    scale = rng.uniform(0.52, 0.9)
    x, y = rng.uniform(-1, 1, 2) * (0.98 - scale)
    return Frame(x, y, scale, turn=rng.uniform(-18, 18), mirrored=bool(rng.random() < 0.5))
