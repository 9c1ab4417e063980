"""Pictures to begin with: what `sample:cat` or `sample:drawing/face` stands for, wherever a picture is taken.

The photographs are those that scikit-image's package brings along, so that nothing is downloaded; all are in the public domain.
The drawings are this package's own, of the kind that the model `tiny` was trained on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

from PIL import Image

from .drawings import CLASSES, Drawing, draw
from .errors import MissingPackageError, PictureError, did_you_mean
from .optional import require
from .visible import visible

__all__ = ["PREFIX", "Sample", "is_sample", "list_samples", "open_sample"]

#: What the name of a sample begins with.
PREFIX = "sample:"

#: The seed of drawings whose name gives none.
DEFAULT_SEED = 7

_DRAWING = re.compile(r"drawing/(?P<name>[a-z]+)(/(?P<seed>\d{1,9}))?")


@dataclass(frozen=True)
class Sample:
    """A picture that comes with a package.

    Attributes:
        name: as it is typed: "sample:cat".
        shows: what is on it.
        origin: who made it, and which package brings it.
        licence: "CC0" or "public domain" for photographs, "MIT" for drawings.
    """

    name: str
    shows: str
    origin: str
    licence: str


@dataclass(frozen=True)
class _Photograph:
    file: str  # in scikit-image's folder `data`, in every version from 0.22 on
    shows: str
    maker: str
    licence: str


#: name -> the photograph. What scikit-image says of each was read in its documentation; what it says nothing of is left out.
_PHOTOGRAPHS = {
    "astronaut": _Photograph("astronaut.png", "the astronaut Eileen Collins", "NASA", "public domain"),
    "brick": _Photograph("brick.png", "a brick wall, grey", "CC0Textures", "CC0"),
    "camera": _Photograph("camera.png", "a photographer with a camera, grey", "Lav Varshney", "CC0"),
    "cat": _Photograph("chelsea.png", "the head of the cat Chelsea", "Stefan van der Walt", "CC0"),
    "clock": _Photograph("clock_motion.png", "a wall clock, blurred, grey", "Stefan van der Walt", "public domain"),
    "coffee": _Photograph("coffee.png", "a cup of coffee on a table", "Rachel Michetti", "CC0"),
    "coins": _Photograph("coins.png", "coins from Pompeii, grey", "Brooklyn Museum", "public domain"),
    "grass": _Photograph("grass.png", "grass, grey", "linolafett", "CC0"),
    "gravel": _Photograph("gravel.png", "gravel, grey", "CC0Textures", "CC0"),
    "hubble": _Photograph("hubble_deep_field.jpg", "galaxies in the Hubble eXtreme Deep Field", "NASA", "public domain"),
    "retina": _Photograph("retina.jpg", "the retina of an eye", "Mikael Häggström", "CC0"),
    "rocket": _Photograph("rocket.jpg", "a rocket at its launch", "SpaceX", "public domain"),
}


def list_samples() -> list[Sample]:
    """Return all samples: the photographs, then a drawing of each class.

    >>> [sample.name for sample in list_samples()][:3]
    ['sample:astronaut', 'sample:brick', 'sample:camera']
    """
    photographs = [
        Sample(f"{PREFIX}{name}", photograph.shows, f"{photograph.maker}, in scikit-image", photograph.licence)
        for name, photograph in _PHOTOGRAPHS.items()
    ]
    drawings = [Sample(f"{PREFIX}drawing/{name}", f"a drawing: {name}", "deconvnet", "MIT") for name in CLASSES]
    return photographs + drawings


def is_sample(picture: object) -> TypeGuard[str]:
    """Say whether a picture is given as the name of a sample: `sample:` and more. A file of such a name is `./sample:...`."""
    return isinstance(picture, str) and picture.startswith(PREFIX)


def open_sample(name: str) -> Image.Image | Drawing:
    """Return the picture that a sample's name stands for.

    Args:
        name: "sample:cat", a photograph that scikit-image brings; or "sample:drawing/face", our drawing of that class with seed
            7; "sample:drawing/face/3" has another seed.

    Returns:
        A PIL picture whose `filename` is the name, or a drawing whose `source` is.

    Raises:
        PictureError: there is no sample of that name.
        MissingPackageError: scikit-image is not installed, or its package lacks the file.

        >>> open_sample("sample:drawing/face").picture.size
        (96, 96)
    """
    key = name.removeprefix(PREFIX)
    drawing = _DRAWING.fullmatch(key)
    if drawing and drawing["name"] in CLASSES:
        return replace(draw(drawing["name"], seed=int(drawing["seed"] or DEFAULT_SEED)), source=name)
    if key not in _PHOTOGRAPHS:
        hint = did_you_mean(key, [sample.name.removeprefix(PREFIX) for sample in list_samples()])
        raise PictureError(f"{name!r} is not a sample.{hint} See: deconvnet samples")
    with Image.open(_photograph_file(name)) as opened:
        picture: Image.Image = opened.copy()
    picture.filename = name  # type: ignore[attr-defined]
    return picture


def _photograph_file(name: str) -> Path:
    """Return the file of a photograph in scikit-image's own folder, which asks no network as its functions may."""
    package = require("skimage", needed_by=name, extra="studies")
    file = Path(package.__file__).parent / "data" / _PHOTOGRAPHS[name.removeprefix(PREFIX)].file
    if not file.is_file():
        raise MissingPackageError(
            f"{name} is not among the pictures of this scikit-image {visible(package.__version__)}: there is no {file.name}."
            " Take another one: deconvnet samples"
        )
    return file
