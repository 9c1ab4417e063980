"""Boxes around the parts of pictures: read from a file, taken from a drawing, brought to the pixels that a net sees."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

from ..drawings import Drawing
from ..errors import OptionError, PictureError
from ..file_kinds import HEAD_BYTES, picture_kind_of
from ..images import Preprocess, open_picture
from ..inputs import PictureInput
from ..net import DeconvNet
from ..samples import is_sample
from ..units import Window
from .arrays import Mask

OBJECT = "object"  # the box that is not masked: where masks of the control lie
#: A part's box in pixels of a picture: a window, or its top, left, height and width.
Box: TypeAlias = "Window | Sequence[int]"
#: The box of each part of a picture, by the part's name.
Boxes: TypeAlias = "Mapping[str, Box]"


def read_boxes(path: str | os.PathLike[str]) -> tuple[list[str | Path], list[dict[str, list[int]]]]:
    """Read the boxes of the parts of several pictures from a JSON file.

        {"dog1.jpg": {"right eye": [88, 60, 20, 26], "nose": [120, 84, 30, 34]},
         "dog2.jpg": {"right eye": [70, 95, 18, 24], "nose": [99, 120, 28, 30]}}

    Args:
        path: the file. Boxes are [top, left, height, width], in pixels of the picture as it is shown, upright. One called
            "object" says where masks of the control lie; without it they lie in the box around all parts.

    Returns:
        The pictures, paths from the file's folder or names of samples, and the boxes of each.

    Raises:
        OptionError: the file cannot be read, or does not hold boxes.
    """
    path, form = Path(path), 'Write {"picture.jpg": {"part": [top, left, height, width]}}'
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"cannot read boxes from {str(path)!r}: {error.strerror}. Check the path.") from error
    except ValueError as error:
        kind = picture_kind_of(path.read_bytes()[:HEAD_BYTES])
        if kind:
            raise OptionError(f"cannot read boxes from {str(path)!r}: it is {kind}. {form}.") from error
        raise OptionError(f"cannot read boxes from {str(path)!r}: it is not JSON ({error}). {form}.") from error
    if not isinstance(content, dict) or not all(isinstance(parts, dict) and parts for parts in content.values()):
        raise OptionError(f"{str(path)!r} holds no boxes of parts. {form}.")
    for name, parts in content.items():
        for part, box in parts.items():
            if not (isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)):
                raise OptionError(f"{str(path)!r}: the box of {part!r} in {name!r} is {box!r}. {form}, in whole pixels.")
    return [name if is_sample(name) else path.parent / name for name in content], list(content.values())


def boxes_of(drawing: Drawing, parts: Sequence[str]) -> dict[str, Window]:
    """Return the smallest boxes around parts of a drawing, which knows its parts.

    Raises:
        OptionError: the drawing does not show one of the parts.
    """
    boxes = {}
    for part in parts:
        if part not in drawing.parts:
            raise OptionError(f"this {drawing.name} shows no {part!r}. It shows {', '.join(sorted(drawing.parts))}.")
        boxes[part] = _bounds(drawing.parts[part])
    return boxes


def object_box(drawing: Drawing) -> Window:
    """Return the smallest box around all parts of a drawing: where the object is."""
    return _bounds(np.logical_or.reduce(list(drawing.parts.values())))


def shown_box(net: DeconvNet, picture: PictureInput, box: Box, size: Sequence[int], where: str) -> Window:
    """Return a box of a picture's pixels in the pixels that the net sees.

    Args:
        net: the net.
        picture: the picture; the boxes of a tensor are in its own pixels.
        box: the box.
        size: (H, W) of what the net sees.
        where: the box's part and picture, as errors name them.

    Raises:
        OptionError: the box is not in what the net sees.
        PictureError: what the net does to a picture is not known.
    """
    numbers = box.to_list() if isinstance(box, Window) else list(box)
    if len(numbers) != 4:
        raise OptionError(f"{where}: its box {numbers} is not [top, left, height, width].")
    window = Window(*numbers)
    if not isinstance(picture, Tensor):
        window = _cropped_box(net, picture.picture if isinstance(picture, Drawing) else open_picture(picture), window)
    inside = window.clip(size[0], size[1])
    if not inside.height * inside.width:
        raise OptionError(f"{where}: its box {numbers} is not in what the net sees.")
    return inside


def _cropped_box(net: DeconvNet, picture: Image.Image, window: Window) -> Window:
    """Resize and crop a mask as the picture is; return an empty window where nothing is left of it."""
    if not isinstance(net.preprocess, Preprocess):
        raise PictureError(f"{net.name} has a preprocessing of its own kind: give images as a tensor, and boxes in them.")
    mask = Image.new("RGB", picture.size)
    mask.paste((255, 255, 255), (window.left, window.top, window.right, window.bottom))
    return _bounds(np.asarray(net.preprocess.crop_picture(mask).convert("L")) > 127)


def _bounds(mask: Mask) -> Window:
    """Return the smallest window around the pixels of a mask (H, W)."""
    rows, cols = np.nonzero(mask)
    if not len(rows):
        return Window(0, 0, 0, 0)
    return Window(int(rows.min()), int(cols.min()), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)
