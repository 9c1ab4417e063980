"""The colours of all figures: one palette, which readers with any colour vision can tell apart.

Okabe & Ito's palette (2008) without its yellow, which is too faint on white paper, and three of Paul Tol's muted colours.
"""

from __future__ import annotations

from typing import TypeAlias

Colour: TypeAlias = tuple[int, int, int]  # RGB, 0..255 each

VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY = (
    (213, 94, 0), (0, 114, 178), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
)  # fmt: skip
WINE, OLIVE = (136, 34, 85), (153, 153, 51)
INK, FAINT = (32, 32, 32), (112, 112, 112)  # of text, and of text that matters less
PALE = (205, 205, 205)  # of lines that matter less

#: Colours of windows and of the frames of their tiles, in order.
COLOURS: tuple[Colour, ...] = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY, WINE, (40, 40, 40), OLIVE)


def colour_text(number: int) -> str:
    """Return the colour of the line or frame of that number, from 0 on, as matplotlib and CSS read it."""
    return hex_text(COLOURS[number % len(COLOURS)])


def hex_text(colour: Colour, paler: float = 0) -> str:
    """Write a colour as matplotlib and CSS read it, mixed with white by a share.

    >>> hex_text(BLUE), hex_text(BLUE, 0.5)
    ('#0072b2', '#80b8d8')
    """
    return "#" + "".join(f"{round(part + (255 - part) * paler):02x}" for part in colour)
