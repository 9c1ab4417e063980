"""Outlines as arrays of points (K, 2): x to the right and y down, in a scene that reaches from -1 to 1."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.float64]


def ellipse(
    x: float, y: float, rx: float, ry: float | None = None, *, turn: float = 0.0, start: float = 0.0, stop: float = 360.0
) -> Points:
    """Return an ellipse around (x, y), or its arc from `start` to `stop`; angles are in degrees, clockwise from the right."""
    angle = np.radians(np.linspace(start, stop, 49))
    around = np.stack([rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)], axis=1)
    return shift(rotate(around, turn), x, y)


def box(x: float, y: float, width: float, height: float, *, corner: float = 0.0) -> Points:
    """Return a box centred on (x, y); `corner` is the radius of its corners."""
    a, b = width / 2 - corner, height / 2 - corner
    if corner == 0:
        return polygon((x - a, y - b), (x + a, y - b), (x + a, y + b), (x - a, y + b))
    quarters = [(a, b, 0), (-a, b, 90), (-a, -b, 180), (a, -b, 270)]
    return np.concatenate([ellipse(x + u, y + v, corner, start=angle, stop=angle + 90) for u, v, angle in quarters])


def polygon(*points: tuple[float, float]) -> Points:
    """Return the points as an outline with straight sides."""
    return np.array(points, dtype=float)


def smooth(*points: tuple[float, float], closed: bool = True) -> Points:
    """Return a smooth curve through the points, a Catmull-Rom spline."""
    knots = np.array(points, dtype=float)
    knots = np.concatenate([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, 10, endpoint=False)[:, None]
    pieces = []
    for p, q, r, s in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        pieces.append(0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t**2 + (3 * q - p - 3 * r + s) * t**3))
    return np.concatenate([*pieces, knots[-2:-1]])


def rotate(points: Points, degrees: float) -> Points:
    """Return the points turned clockwise around (0, 0)."""
    angle = np.radians(degrees)
    turned: Points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return turned


def shift(points: Points, x: float, y: float) -> Points:
    """Return the points moved by x to the right and y down."""
    moved: Points = points + np.array([x, y])
    return moved


def mirror(points: Points, sign: int) -> Points:
    """Return the points as they are for sign 1, with left and right swapped for -1."""
    mirrored: Points = points * np.array([sign, 1])
    return mirrored
