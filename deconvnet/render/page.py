"""The layout of a page: texts and pictures are put beside or below each other, then painted.

The layout is data before it is a picture, so that a test can ask whether any text overlaps or runs off the page. All lengths
are in pixels of a page that is painted at scale 1; at another scale everything is drawn anew, not enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias

from PIL import Image, ImageDraw

from .palette import INK, Colour
from .text import fit, font, line_height, text_width

PAPER = (255, 255, 255)


@dataclass(frozen=True)
class TextItem:
    """One line of text.

    Attributes:
        text: printable text.
        size: the type size.
        ink: the text's colour.
        left, top: the corner of the text's box.
        align: at which end of the box the text stays if it is drawn at another scale, where it is a little wider or narrower.
    """

    text: str
    size: int
    ink: Colour = INK
    left: int = 0
    top: int = 0
    align: Literal["left", "right"] = "left"

    @property
    def width(self) -> int:
        """The width of the text's box."""
        return text_width(self.text, self.size)

    @property
    def height(self) -> int:
        """The height of the text's box, with room for descenders."""
        return line_height(self.size)

    @property
    def baseline(self) -> int:
        """The line that the letters stand on."""
        return self.top + self.height - self.size // 3


#: Draws a picture for a page whose lengths are so many times larger.
Drawing: TypeAlias = Callable[[float], Image.Image]


@dataclass(frozen=True, eq=False)
class ImageItem:
    """A picture, drawn when the page is painted, at the page's scale.

    Attributes:
        width, height: its size on the page.
        draw: draws it, for a scale.
        left, top: its top left corner.
    """

    width: int
    height: int
    draw: Drawing
    left: int = 0
    top: int = 0

    @property
    def image(self) -> Image.Image:
        """The picture at scale 1."""
        return self.draw(1)


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
    return Box(width, item.height, (replace(item, left=left, align=align),) if item.text else ())


def image_box(image: Image.Image) -> Box:
    """Return a box of a picture's size that holds it; at another scale it is resized."""
    return drawing_box(image.width, image.height, partial(_resized, image))


def drawing_box(width: int, height: int, draw: Drawing) -> Box:
    """Return a box that holds a picture of its size."""
    return Box(width, height, (ImageItem(width, height, draw),))


def _resized(image: Image.Image, scale: float) -> Image.Image:
    size = round(image.width * scale), round(image.height * scale)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


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


def paint(box: Box, scale: float = 1) -> Image.Image:
    """Return the box painted on white paper, all lengths `scale` times larger, as an RGB picture."""
    image = Image.new("RGB", (max(round(box.width * scale), 1), max(round(box.height * scale), 1)), PAPER)
    pen = ImageDraw.Draw(image)
    for item in box.items:
        if isinstance(item, TextItem):
            end = item.left + (item.width if item.align == "right" else 0)
            place, anchor = (round(end * scale), round(item.baseline * scale)), "rs" if item.align == "right" else "ls"
            pen.text(place, item.text, item.ink, font(_type_size(item, scale)), anchor=anchor)
        else:
            image.paste(item.draw(scale), (round(item.left * scale), round(item.top * scale)))
    return image


def _type_size(item: TextItem, scale: float) -> int:
    """Return the type size at a scale, a little smaller where hinting would make the line wider than its box."""
    size = round(item.size * scale)
    while size > 1 and text_width(item.text, size) > item.width * scale + 1:
        size -= 1
    return size
