"""The layout of a page: texts and pictures are put beside or below each other, then painted.

The layout is data before it is a picture, so that a test can ask whether any text overlaps or runs off the page. All lengths
are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from PIL import Image, ImageDraw

from .text import INK, fit, font, line_height, text_width

PAPER = (255, 255, 255)


@dataclass(frozen=True)
class Words:
    """One line of text; `left` and `top` are those of its box, `size` is the type's, all in pixels."""

    text: str
    size: int
    ink: tuple[int, int, int] = INK
    left: int = 0
    top: int = 0

    @property
    def width(self) -> int:
        """The width of the text's box."""
        return text_width(self.text, self.size)

    @property
    def height(self) -> int:
        """The height of the text's box, with room for the letters' tails."""
        return line_height(self.size)


@dataclass(frozen=True)
class Drawing:
    """A picture at its place."""

    image: Image.Image
    left: int = 0
    top: int = 0

    @property
    def width(self) -> int:
        """The picture's width."""
        return self.image.width

    @property
    def height(self) -> int:
        """The picture's height."""
        return self.image.height


Item: TypeAlias = "Words | Drawing"


@dataclass(frozen=True)
class Box:
    """Items in a rectangle of width x height pixels, their places counted from its top left corner."""

    width: int
    height: int
    items: tuple[Item, ...] = ()

    def moved(self, left: int, top: int) -> tuple[Item, ...]:
        """Return the items as they stand when the box stands at (left, top)."""
        return tuple(replace(item, left=item.left + left, top=item.top + top) for item in self.items)


def line(
    text: str, size: int, width: int, *, ink: tuple[int, int, int] = INK, align: str = "left", keep_end: bool = False
) -> Box:
    """Set one line of text in a box of `width` pixels; what does not fit is cut with an ellipsis."""
    words = Words(fit(text, size, width, keep_end=keep_end), size, ink)
    left = {"left": 0, "right": width - words.width}[align]
    return Box(width, words.height, (replace(words, left=left),) if words.text else ())


def drawing(image: Image.Image) -> Box:
    """Put a picture in a box of its own size."""
    return Box(image.width, image.height, (Drawing(image),))


def beside(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Put boxes next to each other, their tops in one line."""
    items: list[Item] = []
    left = 0
    for box in boxes:
        items += box.moved(left, 0)
        left += box.width + gap
    return Box(max(left - gap, 0), max((box.height for box in boxes), default=0), tuple(items))


def below(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Put boxes under each other, their left sides in one line."""
    items: list[Item] = []
    top = 0
    for box in boxes:
        items += box.moved(0, top)
        top += box.height + gap
    return Box(max((box.width for box in boxes), default=0), max(top - gap, 0), tuple(items))


def over(*boxes: Box) -> Box:
    """Put boxes on top of each other, their top left corners in one place."""
    items = tuple(item for box in boxes for item in box.items)
    return Box(max(box.width for box in boxes), max(box.height for box in boxes), items)


def framed(box: Box, margin: int) -> Box:
    """Return the box with an empty margin all around."""
    return Box(box.width + 2 * margin, box.height + 2 * margin, box.moved(margin, margin))


def paint(box: Box) -> Image.Image:
    """Paint the items on white paper: an RGB picture of the box's size."""
    image = Image.new("RGB", (max(box.width, 1), max(box.height, 1)), PAPER)
    pen = ImageDraw.Draw(image)
    for item in box.items:
        if isinstance(item, Words):
            pen.text((item.left, item.top + item.height - item.size // 3), item.text, item.ink, font(item.size), anchor="ls")
        else:
            image.paste(item.image, (item.left, item.top))
    return image
