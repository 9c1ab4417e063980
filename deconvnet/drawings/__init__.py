"""Drawings made on demand: scenes of named parts among clutter, each with masks of its parts.

The model `tiny` was trained on them. They need no download, and since the pixels of every part are known, projections can be
compared with them: does a channel that eyes excite also project to eyes?

    >>> drawing = draw("face", seed=3)
    >>> drawing.picture.size, sorted(drawing.parts)[:3]
    ((96, 96), ['hair', 'head', 'left brow'])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import check_option
from .canvas import Canvas, Pose
from .clutter import make_ground, scatter_behind, scatter_in_front
from .living import draw_bird, draw_butterfly, draw_cat, draw_face, draw_fish, draw_flower, draw_tree
from .patterns import draw_checks, draw_dots, draw_letters, draw_stripes
from .things import draw_bicycle, draw_boat, draw_car, draw_clock, draw_cup, draw_house, draw_train

__all__ = ["CLASSES", "Drawing", "draw"]

#: class -> what draws its scene.
SCENES: dict[str, Callable[[Canvas], None]] = {
    "face": draw_face,
    "cat": draw_cat,
    "bird": draw_bird,
    "fish": draw_fish,
    "butterfly": draw_butterfly,
    "flower": draw_flower,
    "tree": draw_tree,
    "house": draw_house,
    "car": draw_car,
    "bicycle": draw_bicycle,
    "train": draw_train,
    "boat": draw_boat,
    "clock": draw_clock,
    "cup": draw_cup,
    "letters": draw_letters,
    "checks": draw_checks,
    "stripes": draw_stripes,
    "dots": draw_dots,
}

#: The classes; a drawing's label is the index of its class.
CLASSES: tuple[str, ...] = tuple(SCENES)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture and what is in it.

    Attributes:
        picture: RGB, size x size.
        label: the index of its class in `CLASSES`.
        name: its class.
        parts: name -> mask of the part's visible pixels, (size, size). "left" and "right" are sides of the picture; parts that
            are not visible at all are left out.
        seed: what it was drawn from; None where that is not known.
        source: what files and captions call it; empty: "drawing of a ..." with its class.
    """

    picture: Image.Image
    label: int
    name: str
    parts: dict[str, npt.NDArray[np.bool_]]
    seed: int | None = None
    source: str = ""


def draw(name: str | None = None, *, seed: int = 0, size: int = 96) -> Drawing:
    """Draw a scene; the same arguments give the same bytes.

    Args:
        name: one of `CLASSES`; None: the seed picks one.
        seed: 0 or more.
        size: the picture's side in pixels. Another size shows the same scene with another grain.

    Raises:
        OptionError: there is no such class.

        >>> draw(seed=1).name == draw(seed=1, size=224).name
        True
    """
    if name is not None:
        check_option("name", name, CLASSES)
    rng = np.random.default_rng(seed)
    random_name = CLASSES[int(rng.integers(len(CLASSES)))]  # drawn in any case, so that naming it changes nothing
    name = random_name if name is None else name
    canvas = Canvas(size, _random_pose(rng), make_ground(rng), rng)
    scatter_behind(canvas)
    SCENES[name](canvas)
    scatter_in_front(canvas)
    return Drawing(canvas.render(), CLASSES.index(name), name, canvas.masks(), seed)


def _random_pose(rng: np.random.Generator) -> Pose:
    """Return a pose in which the scene fills half to nine tenths of the picture, nearly upright and nearly all in view."""
    scale = rng.uniform(0.52, 0.9)
    x, y = rng.uniform(-1, 1, 2) * (0.98 - scale)
    return Pose(x, y, scale, turn=rng.uniform(-18, 18), mirrored=bool(rng.random() < 0.5))
