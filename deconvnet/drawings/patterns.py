"""Scenes of letters and of three textures."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Colour, colour, shade
from .shapes import Points, box, ellipse, rotate

LETTERS = "ABCDEFGHJKLMNPRSTUVXYZ"


def _pair(canvas: Canvas) -> tuple[Colour, Colour]:
    """Return two inks that differ in brightness, in either order."""
    rng = canvas.rng
    dark, bright = shade(colour(rng, grey=0.3), rng.uniform(0.3, 0.6)), shade(colour(rng, grey=0.3), rng.uniform(1.2, 1.8))
    return (dark, bright) if rng.random() < 0.5 else (bright, dark)


def _draw_sheet(canvas: Canvas, paper: Colour) -> bool:
    """Draw the sheet under a texture, a disc or a square; return whether it is the disc."""
    disc = bool(canvas.rng.random() < 0.5)
    canvas.fill("ground", ellipse(0, 0, 1.0) if disc else box(0, 0, 1.96, 1.96), paper)
    return disc


def _fits(points: Points, disc: bool) -> bool:
    """Return whether a shape lies wholly on its sheet."""
    reach = np.hypot(*points.T) if disc else abs(points)
    return bool((reach <= 1.0).all())


def draw_letters(canvas: Canvas) -> None:
    """Write one to three letters, some of them on a label."""
    rng = canvas.rng
    ink, paper = _pair(canvas)
    count = int(rng.integers(1, 4))
    height = {1: 1.3, 2: 0.9, 3: 0.66}[count]
    if rng.random() < 0.6:
        canvas.fill("label", box(0, 0, 1.96, 1.25 * height + 0.1, corner=0.1), paper)
    for index, letter in enumerate(rng.choice(list(LETTERS), count)):
        canvas.write(f"letter {index + 1}", str(letter), (index - (count - 1) / 2) * 1.9 / count, height, ink)


def draw_checks(canvas: Canvas) -> None:
    """Draw a checkerboard."""
    ink, paper = _pair(canvas)
    disc = _draw_sheet(canvas, paper)
    count = int(canvas.rng.integers(7, 11)) if disc else int(canvas.rng.integers(4, 9))
    step = 1.96 / count
    for row in range(count):
        for col in range(row % 2, count, 2):
            square = box(-0.98 + step * (col + 0.5), -0.98 + step * (row + 0.5), step, step)
            if _fits(square, disc):
                canvas.fill("squares", square, ink, outlined=False)


def draw_stripes(canvas: Canvas) -> None:
    """Draw parallel stripes, straight or wavy; on a disc they run in any direction."""
    rng = canvas.rng
    ink, paper = _pair(canvas)
    disc = _draw_sheet(canvas, paper)
    count, swing, turn = int(rng.integers(4, 10)), rng.choice([0.0, 0.06]), rng.uniform(0, 180)
    for y in np.linspace(-0.98, 0.98, 2 * count + 1)[1::2]:
        half = np.sqrt(max(1.0 - (abs(y) + swing) ** 2, 0.05)) - 0.06 if disc else 0.93
        x = np.linspace(-half, half, 60 if swing else 2)
        line = np.stack([x, y + swing * np.sin(9 * x)], axis=1)
        canvas.stroke("stripes", rotate(line, turn) if disc else line, ink, 0.98 / count)


def draw_dots(canvas: Canvas) -> None:
    """Draw a field of dots or of small rings, in rows or staggered."""
    rng = canvas.rng
    ink, paper = _pair(canvas)
    disc, count, staggered, hollow = _draw_sheet(canvas, paper), int(rng.integers(4, 8)), rng.random() < 0.5, rng.random() < 0.3
    step = 1.96 / count
    for row in range(count):
        for col in range(count):
            aside = 0.25 * step * (1 if row % 2 else -1) if staggered else 0.0
            x, y = -0.98 + step * (col + 0.5) + aside, -0.98 + step * (row + 0.5)
            if _fits(ellipse(x, y, 0.3 * step), disc):
                canvas.fill("dots", ellipse(x, y, 0.3 * step), ink, outlined=False)
                if hollow:
                    canvas.fill("ground", ellipse(x, y, 0.15 * step), paper, outlined=False)
