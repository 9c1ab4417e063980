"""Text: how numbers are written, and words on a figure.

Figures are set in the one font that comes with Pillow (Aileron), so that a page looks the same on every machine. It has few
glyphs beyond Latin-1: a letter that it lacks is replaced by a plain relative or by "?", never by an empty box. Text is cut to
the width that it has, with an ellipsis, so it can neither overlap nor run off the page.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from PIL import ImageFont

Colour: TypeAlias = tuple[int, int, int]  # RGB, 0..255 each

TITLE, HEADING, BODY, SMALL = 16, 14, 12, 11  # type sizes, in pixels
INK, FAINT = (32, 32, 32), (112, 112, 112)  # colours: of text, and of text that matters less

_ELLIPSIS = "..."
_MISSING = "\U0010ffff"  # no font has it: an empty box is drawn for it
_RELATIVES = {
    "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i",
    "–": "-", "—": "-", "−": "-", "→": "->", "μ": "u", "µ": "u",
}  # fmt: skip


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font; `size` is in pixels."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    """Return the width of one line of text, rounded up to whole pixels."""
    return -int(-font(size).getlength(text) // 1)


def line_height(size: int) -> int:
    """Return the height of one line and the space below it, in pixels."""
    return round(size * 1.45)


def size_text(size: Iterable[int]) -> str:
    """Write sizes as (64, 55, 55) -> "64x55x55"."""
    return "x".join(map(str, size))


def percent(share: float, *, decimals: int | None = None) -> str:
    """Write a share in percent.

    Args:
        share: 0..1.
        decimals: digits after the point, with "<" where they would all be 0. None: two significant digits, or whole percents.

        >>> percent(0.034), percent(0.349), percent(0.849, decimals=1), percent(0.0001, decimals=1)
        ('3.4 %', '35 %', '84.9 %', '< 0.1 %')
    """
    if decimals is None:
        return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"
    smallest = 10.0**-decimals
    return f"< {smallest:.{decimals}f} %" if 0 < 100 * share < smallest / 2 else f"{100 * share:.{decimals}f} %"


def activation_text(activation: float | None) -> str:
    """Write an activation with three digits; a unit that is not above zero sends no signal down and is called inactive.

    >>> activation_text(12.345), activation_text(0.0), activation_text(None)
    ('12.3', 'inactive', '')
    """
    if activation is None:
        return ""
    if activation <= 0:
        return "inactive"
    if not math.isfinite(activation) or not 0.001 <= activation < 99_999.5:
        return f"{activation:.2g}"
    return f"{activation:.{max(0, 2 - math.floor(math.log10(activation)))}f}" if activation >= 1 else f"{activation:.3g}"


def printable(text: str) -> str:
    """Return the text on one line, in letters that the font has.

    >>> printable("Žižkov – 图.jpg")
    'Zizkov - ?.jpg'
    """
    return "".join(map(_printable_letter, " ".join(text.split())))


def fit(text: str, size: int, width: int, *, keep_end: bool = False) -> str:
    """Return printable text that fits into a width, with "..." for what is cut.

    Args:
        text: the text.
        size: the type size, in pixels.
        width: the width, in pixels; where not even "..." fits, the result is "".
        keep_end: cut the middle instead of the end, for names that differ at their end, such as files and layers.
    """
    text = printable(text)
    if text_width(text, size) <= width:
        return text
    fits, fails = 0, len(text)  # numbers of letters: halve the gap between one that fits and one that does not
    while fails - fits > 1:
        length = (fits + fails) // 2
        if text_width(_shortened(text, length, keep_end), size) <= width:
            fits = length
        else:
            fails = length
    shortest = _shortened(text, fits, keep_end)
    return shortest if text_width(shortest, size) <= width else ""


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break printable text into lines that fit into `width` pixels; a single word that is wider is cut."""
    lines: list[str] = []
    for word in printable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fit(word, size, width, keep_end=True))
    return lines


def _shortened(text: str, length: int, keep_end: bool) -> str:
    """Return `length` letters of the text, and an ellipsis for the others."""
    tail = length // 2 if keep_end else 0
    return text[: length - tail].rstrip() + _ELLIPSIS + text[len(text) - tail :].lstrip()


@lru_cache(maxsize=4096)
def _printable_letter(letter: str) -> str:
    """Return the letter, or what stands in for it where the font lacks it."""
    if _has_glyph(letter):
        return letter
    plain = _RELATIVES.get(letter) or unicodedata.normalize("NFKD", letter)
    letters = "".join(part for part in plain if not unicodedata.combining(part) and _has_glyph(part))
    return letters or ("" if unicodedata.combining(letter) else "?")


def _has_glyph(letter: str) -> bool:
    """Return whether the font draws the letter as something else than the empty box."""
    if letter == " ":
        return True
    large = font(32)  # large enough for two glyphs to differ
    glyph, box = large.getmask(letter), large.getmask(_MISSING)
    return glyph.size != (0, 0) and (glyph.size, bytes(glyph)) != (box.size, bytes(box))
