"""The layout of a page: texts and pictures are put beside or below each other, then painted.

The layout is data before it is a picture, so that a test can ask whether any text overlaps or runs off the page. All lengths
are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw

from .text import INK, Colour, fit, font, line_height, text_width

PAPER = (255, 255, 255)


@dataclass(frozen=True)
class TextItem:
    """One line of text.

    Attributes:
        text: printable text.
        size: the type size.
        ink: the text's colour.
        left, top: the corner of the text's box.
    """

    text: str
    size: int
    ink: Colour = INK
    left: int = 0
    top: int = 0

    @property
    def width(self) -> int:
        """The width of the text's box."""
        return text_width(self.text, self.size)

    @property
    def height(self) -> int:
        """The height of the text's box, with room for descenders."""
        return line_height(self.size)


@dataclass(frozen=True)
class ImageItem:
    """A picture and its top left corner."""

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


Item: TypeAlias = "TextItem | ImageItem"


@dataclass(frozen=True)
class Box:
    """A rectangle with items in it; their corners are counted from its top left corner."""

    width: int
    height: int
    items: tuple[Item, ...] = ()

    def moved(self, left: int, top: int) -> tuple[Item, ...]:
        """Return the items as they lie when the box lies at (left, top)."""
        return tuple(replace(item, left=item.left + left, top=item.top + top) for item in self.items)


def text_line(
    text: str,
    size: int,
    width: int,
    *,
    ink: Colour = INK,
    align: Literal["left", "right"] = "left",
    keep_end: bool = False,
) -> Box:
    """Return a box `width` pixels wide with one line of text, cut as by `fit`."""
    item = TextItem(fit(text, size, width, keep_end=keep_end), size, ink)
    left = {"left": 0, "right": width - item.width}[align]
    return Box(width, item.height, (replace(item, left=left),) if item.text else ())


def image_box(image: Image.Image) -> Box:
    """Return a box of a picture's size that holds it."""
    return Box(image.width, image.height, (ImageItem(image),))


def hstack(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Put boxes beside each other, their tops aligned, `gap` pixels apart."""
    items: list[Item] = []
    left = 0
    for box in boxes:
        items += box.moved(left, 0)
        left += box.width + gap
    return Box(max(left - gap, 0), max((box.height for box in boxes), default=0), tuple(items))


def vstack(boxes: Sequence[Box], gap: int = 0) -> Box:
    """Put boxes below each other, their left sides aligned, `gap` pixels apart."""
    items: list[Item] = []
    top = 0
    for box in boxes:
        items += box.moved(0, top)
        top += box.height + gap
    return Box(max((box.width for box in boxes), default=0), max(top - gap, 0), tuple(items))


def superimpose(*boxes: Box) -> Box:
    """Put boxes over each other, their top left corners aligned."""
    items = tuple(item for box in boxes for item in box.items)
    return Box(max(box.width for box in boxes), max(box.height for box in boxes), items)


def with_margin(box: Box, margin: int) -> Box:
    """Return a box with an empty margin around it."""
    return Box(box.width + 2 * margin, box.height + 2 * margin, box.moved(margin, margin))


def paint(box: Box) -> Image.Image:
    """Return the box painted on white paper, as an RGB picture."""
    image = Image.new("RGB", (max(box.width, 1), max(box.height, 1)), PAPER)
    pen = ImageDraw.Draw(image)
    for item in box.items:
        if isinstance(item, TextItem):
            pen.text((item.left, item.top + item.height - item.size // 3), item.text, item.ink, font(item.size), anchor="ls")
        else:
            image.paste(item.image, (item.left, item.top))
    return image
