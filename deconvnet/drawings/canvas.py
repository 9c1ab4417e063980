"""The canvas that a scene is drawn on. It paints colours, and keeps track of which pixels each part still covers.

Everything is drawn `OVERSAMPLE` times larger and reduced at the end, which makes the edges smooth. A second picture, of labels,
is painted together with the colours, so that a later part hides an earlier one in both.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from .shapes import Points, rotate, shift

OVERSAMPLE = 3
MIN_COVERAGE = 0.3  # of a pixel: it belongs to the part's mask from there on; small, so that thin lines keep their pixels

Colour: TypeAlias = tuple[int, int, int]
Mask: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.floating]


def colour(rng: np.random.Generator, hues: tuple[float, float] = (0, 360), *, grey: float = 0.0, stray: float = 0.2) -> Colour:
    """Return a random strong colour.

    Args:
        rng: where the random numbers come from.
        hues: the range of its hue, in degrees.
        grey: the probability of a grey instead.
        stray: the probability of any other hue.
    """
    low, high = (0.0, 360.0) if rng.random() < stray else hues
    hue, saturation, value = rng.uniform(low, high) % 360 / 360, rng.uniform(0.45, 0.95), rng.uniform(0.5, 1.0)
    if rng.random() < grey:
        saturation, value = rng.uniform(0, 0.15), rng.uniform(0.1, 1.0)
    return _bytes(colorsys.hsv_to_rgb(hue, saturation, value))


def shade(base: Colour, factor: float) -> Colour:
    """Return a darker colour (factor below 1) or one mixed with white (above 1)."""
    rgb = np.array(base) / 255
    rgb = rgb * factor if factor <= 1 else 1 - (1 - rgb) * (2 - min(factor, 2.0))
    return _bytes(tuple(rgb))


def _bytes(rgb: tuple[float, ...]) -> Colour:
    red, green, blue = (round(255 * float(value)) for value in rgb)
    return red, green, blue


@dataclass(frozen=True)
class Pose:
    """Where a scene stands in its picture.

    Attributes:
        x, y: the scene's centre, -1..1 from edge to edge.
        scale: 1 fills the picture.
        turn: clockwise, in degrees.
        mirrored: whether left and right are swapped.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    turn: float = 0.0
    mirrored: bool = False

    def to_pixels(self, points: Points, side: int) -> list[tuple[float, float]]:
        """Turn points of the scene, (K, 2) in -1..1, into pixels of a picture of side x side."""
        flip = np.array([-1.0 if self.mirrored else 1.0, 1.0])
        moved = shift(self.scale * rotate(points * flip, self.turn), self.x, self.y)
        return [(float(x), float(y)) for x, y in (moved + 1) * (side / 2)]


class Canvas:
    """A picture in the making; parts of the same name share one mask.

    Args:
        size: the side of the finished picture, in pixels.
        pose: where the scene stands; shapes are given in the scene's coordinates.
        ground: a small picture that is enlarged to the background.
        rng: where the random numbers come from.
    """

    def __init__(self, size: int, pose: Pose, ground: Image.Image, rng: np.random.Generator) -> None:
        self.size, self.side, self.pose, self.rng = size, size * OVERSAMPLE, pose, rng
        self.names: list[str] = []
        self.paper = ground.resize((self.side, self.side), Image.Resampling.BICUBIC)
        self.labels = Image.new("L", (self.side, self.side))
        self._brush, self._marker = ImageDraw.Draw(self.paper), ImageDraw.Draw(self.labels)
        self.outline = float(rng.choice([0.0, 0.02, 0.035]))  # width of the dark line around each shape, in scene units

    def fill(self, part: str | None, points: Points, ink: Colour, *, outlined: bool = True) -> None:
        """Paint the inside of an outline; with `part` None it belongs to no part and hides what it covers."""
        corners = self.pose.to_pixels(points, self.side)
        for brush, value in self._brushes(part, ink):
            brush.polygon(corners, fill=value)
        if outlined and self.outline:
            self.stroke(part, np.concatenate([points, points[:2]]), shade(ink, 0.35), self.outline)

    def stroke(self, part: str | None, points: Points, ink: Colour, width: float) -> None:
        """Paint a line through the points with round ends; `width` is in scene units."""
        points_in_pixels = self.pose.to_pixels(points, self.side)
        pixels = max(round(width * self.pose.scale * self.side / 2), 2)
        radius = pixels / 2
        for brush, value in self._brushes(part, ink):
            brush.line(points_in_pixels, fill=value, width=pixels, joint="curve")
            for x, y in (points_in_pixels[0], points_in_pixels[-1]):
                brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)

    def write(self, part: str, letter: str, x: float, height: float, ink: Colour) -> None:
        """Paint an upright letter centred on (x, 0). It is never mirrored, since that would make another shape."""
        pixels = round(height * self.pose.scale * self.side / 2)
        stamp = Image.new("L", (2 * pixels, 2 * pixels))
        font, bold = ImageFont.load_default(size=1.3 * pixels), max(pixels // 22, 1)
        ImageDraw.Draw(stamp).text((pixels, pixels), letter, fill=255, font=font, anchor="mm", stroke_width=bold)
        stamp = stamp.rotate(-self.pose.turn, Image.Resampling.BICUBIC)
        flip = -1.0 if self.pose.mirrored else 1.0
        [(left, top)] = self.pose.to_pixels(np.array([(x * flip, 0.0)]), self.side)
        corner = (round(left - pixels), round(top - pixels))
        self.paper.paste(ink, corner, stamp)
        self.labels.paste(self._label(part), corner, stamp.point(lambda value: 255 if value > 127 else 0))

    def _brushes(self, part: str | None, ink: Colour) -> list[tuple[ImageDraw.ImageDraw, Colour | int]]:
        """Return the brush that paints colours and the one that paints labels, each with its value."""
        return [(self._brush, ink), (self._marker, self._label(part))]

    def _label(self, part: str | None) -> int:
        if part is None:
            return 0
        if self.pose.mirrored:  # left and right are the picture's, not the scene's
            side, _, rest = part.partition(" ")
            part = {"left": f"right {rest}", "right": f"left {rest}"}.get(side, part)
        if part not in self.names:
            self.names.append(part)
        return 1 + self.names.index(part)

    def masks(self) -> dict[str, Mask]:
        """Return the visible pixels of each part that has any, (size, size)."""
        labels = np.asarray(self.labels)
        masks = {name: self._reduce(labels == 1 + index) >= MIN_COVERAGE for index, name in enumerate(self.names)}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def _reduce(self, mask: Mask) -> Floats:
        """Average a mask over blocks: (side, side) -> (size, size), 0..1."""
        return np.asarray(Image.fromarray(np.uint8(255 * mask)).reduce(OVERSAMPLE), dtype=np.float32) / 255

    def render(self) -> Image.Image:
        """Return the finished picture, reduced and lit: a shadow, soft modelling, a gradient, brightness and grain."""
        rng, size = self.rng, self.size
        pixels: Floats = np.asarray(self.paper.reduce(OVERSAMPLE), dtype=np.float32)
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
