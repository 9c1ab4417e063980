"""The canvas a scene is drawn on: it paints, and keeps which pixels every part still shows.

Everything is drawn `OVERSAMPLE` times larger than asked and reduced at the end, which is what makes the edges smooth.
A second picture of labels is painted in step with the colours: a later part hides an earlier one in both alike.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .shapes import Points, rotate, shift

OVERSAMPLE = 3
SHOWN = 0.3  # share of a pixel that a part covers, from which on the pixel counts as the part's: thin lines keep their pixels

Colour = tuple[int, int, int]


def colour(rng: np.random.Generator, hues: tuple[float, float] = (0, 360), *, grey: float = 0.0, stray: float = 0.2) -> Colour:
    """Pick a strong colour with its hue in the range (degrees); `stray` is the chance of any hue, `grey` that of a grey."""
    low, high = (0.0, 360.0) if rng.random() < stray else hues
    hue, saturation, value = rng.uniform(low, high) % 360 / 360, rng.uniform(0.45, 0.95), rng.uniform(0.5, 1.0)
    if rng.random() < grey:
        saturation, value = rng.uniform(0, 0.15), rng.uniform(0.1, 1.0)
    return _bytes(colorsys.hsv_to_rgb(hue, saturation, value))


def shade(base: Colour, factor: float) -> Colour:
    """Return the colour made darker (factor below 1) or mixed with white (above 1)."""
    rgb = np.array(base) / 255
    rgb = rgb * factor if factor <= 1 else 1 - (1 - rgb) * (2 - min(factor, 2.0))
    return _bytes(tuple(rgb))


def _bytes(rgb: tuple[float, ...]) -> Colour:
    red, green, blue = (round(255 * float(value)) for value in rgb)
    return red, green, blue


@dataclass(frozen=True)
class Frame:
    """Where a scene stands in its picture: `scale` 1 fills it, `x` and `y` in the picture's halves, `turn` in degrees."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    turn: float = 0.0
    mirrored: bool = False

    def place(self, points: Points, side: int) -> list[tuple[float, float]]:
        """Move points of the scene, (K, 2) in -1 .. 1, to pixels of a picture of side x side."""
        flip = np.array([-1.0 if self.mirrored else 1.0, 1.0])
        moved = shift(self.scale * rotate(points * flip, self.turn), self.x, self.y)
        return [(float(x), float(y)) for x, y in (moved + 1) * (side / 2)]


class Canvas:
    """A picture in the making, `size` pixels a side once reduced; parts of the same name share one mask."""

    def __init__(self, size: int, frame: Frame, ground: Image.Image, rng: np.random.Generator) -> None:
        self.size, self.side, self.frame, self.rng = size, size * OVERSAMPLE, frame, rng
        self.names: list[str] = []
        self.paper = ground.resize((self.side, self.side), Image.Resampling.BICUBIC)
        self.labels = Image.new("L", (self.side, self.side))
        self._brush, self._marker = ImageDraw.Draw(self.paper), ImageDraw.Draw(self.labels)
        self.outline = float(rng.choice([0.0, 0.02, 0.035]))  # width of the dark line around each shape, in scene units

    def fill(self, part: str | None, points: Points, ink: Colour, *, outlined: bool = True) -> None:
        """Paint the inside of an outline; `part` None belongs to no part and hides what it covers."""
        places = self.frame.place(points, self.side)
        for brush, value in self._brushes(part, ink):
            brush.polygon(places, fill=value)
        if outlined and self.outline:
            self.stroke(part, np.concatenate([points, points[:2]]), shade(ink, 0.35), self.outline)

    def stroke(self, part: str | None, points: Points, ink: Colour, width: float) -> None:
        """Paint a line through the points with round ends; `width` in scene units."""
        places = self.frame.place(points, self.side)
        pixels = max(round(width * self.frame.scale * self.side / 2), 2)
        radius = pixels / 2
        for brush, value in self._brushes(part, ink):
            brush.line(places, fill=value, width=pixels, joint="curve")
            for x, y in (places[0], places[-1]):
                brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)

    def write(self, part: str, letter: str, x: float, height: float, ink: Colour) -> None:
        """Paint one upright letter centred on (x, 0); never mirrored, since a mirrored letter is another shape."""
        pixels = round(height * self.frame.scale * self.side / 2)
        stamp = Image.new("L", (2 * pixels, 2 * pixels))
        font, bold = ImageFont.load_default(size=1.3 * pixels), max(pixels // 22, 1)
        ImageDraw.Draw(stamp).text((pixels, pixels), letter, fill=255, font=font, anchor="mm", stroke_width=bold)
        stamp = stamp.rotate(-self.frame.turn, Image.Resampling.BICUBIC)
        flip = -1.0 if self.frame.mirrored else 1.0
        [(left, top)] = self.frame.place(np.array([(x * flip, 0.0)]), self.side)
        corner = (round(left - pixels), round(top - pixels))
        self.paper.paste(ink, corner, stamp)
        self.labels.paste(self._label(part), corner, stamp.point(lambda value: 255 if value > 127 else 0))

    def _brushes(self, part: str | None, ink: Colour) -> list[tuple[ImageDraw.ImageDraw, Colour | int]]:
        """Return what paints the colours and what paints the labels, each with its value."""
        return [(self._brush, ink), (self._marker, self._label(part))]

    def _label(self, part: str | None) -> int:
        if part is None:
            return 0
        if self.frame.mirrored:  # left and right are the picture's, not the scene's
            side, _, rest = part.partition(" ")
            part = {"left": f"right {rest}", "right": f"left {rest}"}.get(side, part)
        if part not in self.names:
            self.names.append(part)
        return 1 + self.names.index(part)

    def masks(self) -> dict[str, np.ndarray]:
        """Return for each part that still shows: its visible pixels, bool (size, size)."""
        labels = np.asarray(self.labels)
        shares = {name: self._reduce(labels == 1 + index) for index, name in enumerate(self.names)}
        return {name: share >= SHOWN for name, share in shares.items() if (share >= SHOWN).any()}

    def _reduce(self, mask: np.ndarray) -> np.ndarray:
        """Average (side, side) over blocks -> (size, size)."""
        return np.asarray(Image.fromarray(np.uint8(255 * mask)).reduce(OVERSAMPLE), dtype=np.float32) / 255

    def develop(self) -> Image.Image:
        """Return the reduced picture under its light: a shadow, soft modelling, a gradient, brightness and grain."""
        rng, size = self.rng, self.size
        pixels: np.ndarray = np.asarray(self.paper.reduce(OVERSAMPLE), dtype=np.float32)
        solid = self._reduce(np.asarray(self.labels) > 0)
        blurred = Image.fromarray(np.uint8(255 * solid)).filter(ImageFilter.GaussianBlur(size / 18))
        soft = np.asarray(blurred, dtype=np.float32) / 255
        angle, reach = rng.uniform(0, 2 * np.pi), max(round(size / 24), 1)
        dx, dy = round(reach * np.cos(angle)), round(reach * np.sin(angle))
        away = np.roll(soft, (dy, dx), axis=(0, 1))  # the silhouette, moved away from the light
        towards = np.roll(soft, (-dy, -dx), axis=(0, 1))
        light = 1 + rng.uniform(0, 0.5) * solid * (away - towards) - rng.uniform(0, 0.5) * (1 - solid) * away
        row, col = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        light *= 1 + rng.uniform(0, 0.3) * (col * np.cos(angle) + row * np.sin(angle))
        light *= rng.uniform(0.7, 1.1)
        pixels = pixels * light[..., None] * rng.uniform(0.9, 1.1, 3) + rng.uniform(-15, 15)
        pixels += rng.uniform(0, 6) * rng.standard_normal(pixels.shape)
        return Image.fromarray(np.uint8(np.clip(pixels, 0, 255)))
