"""Text: how numbers are written, and words on a figure.

Figures are set in DejaVu Sans, which comes with matplotlib, so that a page looks the same on every machine and like the plots
of the studies. A letter that it lacks is replaced by its plain form or its code, never by an empty box. Text is cut to the
width that it has, with an ellipsis, so it can neither overlap nor run off the page.
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from ..visible import letter_code

TITLE, HEADING, BODY, SMALL = 16, 14, 12, 11  # type sizes, in pixels

#: A projection of which less is of its own picture is the same for any picture, as far as one can see.
SAME_BELOW = 0.05
SAME_PICTURE = "the same for any picture"

_ELLIPSIS = "…"
_MISSING = "\U0010ffff"  # no font has it: an empty box is drawn for it
_FONT = Path("mpl-data", "fonts", "ttf", "DejaVuSans.ttf")


@lru_cache(maxsize=1)
def font_file() -> Path:
    """Return the file of DejaVu Sans; matplotlib is asked only where it keeps its data elsewhere: loading it takes long."""
    package = find_spec("matplotlib")
    beside = Path(package.origin).parent if package and package.origin else Path()
    if (beside / _FONT).is_file():
        return beside / _FONT
    from matplotlib import get_data_path

    return Path(get_data_path(), *_FONT.parts[1:])


@lru_cache(maxsize=32)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans; `size` is in pixels. Pillow's own layout is the one that all of its builds have."""
    return ImageFont.truetype(font_file(), size, layout_engine=ImageFont.Layout.BASIC)


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


def number_text(value: float) -> str:
    """Write a number with three significant digits, as people write it.

    >>> [number_text(value) for value in (12.345, 0.5, 12345, -0.00012, 2.5e7)]
    ['12.3', '0.500', '12300', '-1.2e-4', '2.5e7']
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.3g}")
    if not 0.001 <= abs(rounded) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{rounded:.{max(0, 2 - math.floor(math.log10(abs(rounded))))}f}"


def activation_text(activation: float | None) -> str:
    """Write an activation with three significant digits; a unit that is not above zero sends no signal down: it is inactive.

    >>> activation_text(12.345), activation_text(0.0), activation_text(None)
    ('12.3', 'inactive', '')
    """
    if activation is None:
        return ""
    return "inactive" if activation <= 0 else number_text(activation)


def own_text(own: float | None) -> str:
    """Return *own* as a caption says it: "own 0.93", or that it is too small to be seen; "" where it was not measured."""
    if own is None:
        return ""
    return SAME_PICTURE if own < SAME_BELOW else f"own {own:.2f}"


def source_title(source: str) -> str:
    """Return a picture's name without the folders that it lies in; that of a sample as it is typed.

    >>> source_title("photos/cat.jpg"), source_title("sample:drawing/face")
    ('cat.jpg', 'sample:drawing/face')
    """
    return source if source.startswith("sample:") else os.path.basename(source) or source


def printable(text: str) -> str:
    r"""Return the text on one line, in letters that the font has; of others, their plain form or their code.

    >>> print(printable("Žižkov – 图.jpg"))
    Žižkov – \u56fe.jpg
    """
    return "".join(map(_printable_letter, unicodedata.normalize("NFC", " ".join(text.split()))))


def fit(text: str, size: int, width: int, *, keep_end: bool = False) -> str:
    """Return printable text that fits into a width, with "…" for what is cut.

    Args:
        text: the text.
        size: the type size, in pixels.
        width: the width, in pixels; where not even "…" fits, the result is "".
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
    """Return the letter; where the font lacks it, its plain form, or its code: names that differ look different."""
    if unicodedata.combining(letter):
        return ""  # Pillow's layout would set it beside its letter, not over it
    if _has_glyph(letter):
        return letter
    plain = unicodedata.normalize("NFKD", letter)
    return "".join(part for part in plain if not unicodedata.combining(part) and _has_glyph(part)) or letter_code(letter)


def _has_glyph(letter: str) -> bool:
    """Return whether the font draws the letter as something else than the empty box."""
    if letter == " ":
        return True
    large = font(32)  # large enough for two glyphs to differ
    glyph, box = large.getmask(letter), large.getmask(_MISSING)
    return glyph.size != (0, 0) and (glyph.size, bytes(glyph)) != (box.size, bytes(box))
