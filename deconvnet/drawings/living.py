"""Scenes of people, animals and plants, one function each, drawn from back to front."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, colour, shade
from .shapes import box, ellipse, mirror, polygon, rotate, shift, smooth

BLACK, WHITE, PINK = (25, 22, 28), (245, 244, 238), (225, 150, 150)


def draw_face(canvas: Canvas) -> None:
    """Draw a human face from the front."""
    rng = canvas.rng
    skin = shade(colour(rng, (12, 35), stray=0.1), rng.uniform(0.75, 1.6))
    hair, iris, lips = colour(rng, (15, 50), grey=0.4), colour(rng, (20, 240)), colour(rng, (340, 370), stray=0.1)
    width, length = rng.uniform(0.58, 0.72), rng.choice([0.0, 0.35, 0.75])
    canvas.fill("hair", ellipse(0, -0.18, width + 0.14, 0.8), hair)
    if length:
        canvas.fill("hair", box(0, length / 2, 2 * width + 0.26, 0.5 + length, corner=0.15), hair)
    canvas.fill("left ear", ellipse(-width, 0.05, 0.11, 0.17), shade(skin, 0.92))
    canvas.fill("right ear", ellipse(width, 0.05, 0.11, 0.17), shade(skin, 0.92))
    canvas.fill("head", ellipse(0, 0.08, width, 0.85), skin)
    gaze, opening = rng.uniform(-0.05, 0.05), rng.uniform(0.09, 0.14)
    for side, x in (("left", -0.29), ("right", 0.29)):
        canvas.fill(f"{side} eye", ellipse(x, -0.06, 0.17, opening), WHITE)
        canvas.fill(f"{side} eye", ellipse(x + gaze, -0.06, 0.095), iris, outlined=False)
        canvas.fill(f"{side} eye", ellipse(x + gaze, -0.06, 0.05), BLACK, outlined=False)
        canvas.stroke(f"{side} brow", ellipse(x, -0.2, 0.19, 0.08, start=200, stop=340), shade(hair, 0.6), 0.06)
    canvas.stroke("nose", smooth((0.02, 0.02), (-0.1, 0.28), (0.06, 0.31), closed=False), shade(skin, 0.6), 0.06)
    _draw_mouth(canvas, lips)
    fringe = rng.uniform(-0.4, 0.4)
    edge = width + 0.02
    canvas.fill("hair", smooth((-edge, -0.2), (-0.5, -0.72), (0, -0.95), (0.5, -0.72), (edge, -0.2), (fringe, -0.42)), hair)


def _draw_mouth(canvas: Canvas, lips: tuple[int, int, int]) -> None:
    """Draw a mouth that smiles, laughs or looks earnest."""
    kind = canvas.rng.integers(3)
    if kind == 0:
        canvas.stroke("mouth", ellipse(0, 0.38, 0.27, 0.2, start=15, stop=165), lips, 0.09)
    elif kind == 1:
        canvas.fill("mouth", ellipse(0, 0.46, 0.26, 0.2, start=0, stop=180), shade(lips, 0.6))
        canvas.fill("mouth", box(0, 0.49, 0.42, 0.07), WHITE, outlined=False)
    else:
        canvas.fill("mouth", smooth((-0.24, 0.55), (-0.08, 0.49), (0, 0.52), (0.08, 0.49), (0.24, 0.55), (0, 0.64)), lips)


def draw_cat(canvas: Canvas) -> None:
    """Draw a cat's face from the front."""
    rng = canvas.rng
    fur, iris = colour(rng, (15, 45), grey=0.5), colour(rng, (40, 150), stray=0.1)
    tall = rng.uniform(0.85, 1.05)
    for side, sign in (("left", -1), ("right", 1)):
        canvas.fill(f"{side} ear", mirror(polygon((0.74, -0.1), (0.68, -tall), (0.12, -0.5)), sign), fur)
        canvas.fill(f"{side} ear", mirror(polygon((0.62, -0.3), (0.6, 0.2 - tall), (0.3, -0.5)), sign), PINK, outlined=False)
    canvas.fill("head", ellipse(0, 0.1, 0.8, 0.68), fur)
    for sign in (-1, 1):
        canvas.stroke("head", polygon((sign * 0.13, -0.52), (sign * 0.1, -0.3)), shade(fur, 0.5), 0.07)
    canvas.fill("muzzle", ellipse(0, 0.42, 0.36, 0.25), shade(fur, 1.6), outlined=False)
    for side, x in (("left", -0.34), ("right", 0.34)):
        canvas.fill(f"{side} eye", ellipse(x, -0.02, 0.19, 0.15, turn=25 if x < 0 else -25), iris)
        canvas.fill(f"{side} eye", ellipse(x, -0.02, 0.05, 0.14), BLACK, outlined=False)
    canvas.fill("nose", polygon((-0.1, 0.24), (0.1, 0.24), (0, 0.37)), (215, 110, 120))
    canvas.stroke("mouth", smooth((-0.2, 0.5), (-0.08, 0.53), (0, 0.38), (0.08, 0.53), (0.2, 0.5), closed=False), BLACK, 0.045)
    for sign in (-1, 1):
        for rise in (-0.12, 0.0, 0.12):
            canvas.stroke("whiskers", polygon((sign * 0.3, 0.42 + rise / 3), (sign * 0.98, 0.38 + rise)), WHITE, 0.028)


def draw_bird(canvas: Canvas) -> None:
    """Draw a bird from the side."""
    rng = canvas.rng
    feathers, beak = colour(rng, grey=0.2), colour(rng, (25, 55), stray=0.05)
    lift = rng.uniform(-0.15, 0.15)
    for x in (-0.1, 0.12):
        canvas.stroke("legs", polygon((x, 0.4), (x + 0.04, 0.85)), shade(beak, 0.8), 0.05)
        canvas.stroke("legs", polygon((x - 0.08, 0.88), (x + 0.04, 0.84), (x + 0.17, 0.88)), shade(beak, 0.8), 0.05)
    canvas.fill("tail", polygon((-0.4, 0.05), (-0.98, -0.18 + lift), (-1.0, 0.12 + lift), (-0.45, 0.32)), shade(feathers, 0.75))
    canvas.fill("beak", polygon((0.72, -0.5), (1.05, -0.38 + lift / 4), (0.7, -0.28)), beak)
    canvas.fill("body", smooth((-0.55, 0.08), (-0.1, -0.25), (0.3, -0.3), (0.5, 0.1), (0.15, 0.5), (-0.3, 0.42)), feathers)
    canvas.fill("head", ellipse(0.5, -0.4, 0.3), feathers)
    canvas.fill("body", ellipse(0.25, -0.12, 0.28, 0.2, turn=-40), feathers, outlined=False)  # hides the line of the neck
    canvas.fill("breast", ellipse(0.22, 0.2, 0.2, 0.24, turn=30), shade(feathers, 1.5), outlined=False)
    wing = smooth((0.2, -0.12), (-0.2, -0.05), (-0.72, 0.1 + lift), (-0.3, 0.3), (0.1, 0.22))
    canvas.fill("wing", wing, shade(feathers, 0.6))
    for step in (0.0, 0.13):
        canvas.stroke("wing", polygon((-0.45, 0.08 + step + lift / 2), (-0.08, 0.02 + step)), shade(feathers, 0.4), 0.03)
    canvas.fill("eye", ellipse(0.57, -0.45, 0.09), WHITE)
    canvas.fill("eye", ellipse(0.58, -0.45, 0.05), BLACK, outlined=False)


def draw_fish(canvas: Canvas) -> None:
    """Draw a fish from the side."""
    rng = canvas.rng
    scales, fins = colour(rng, grey=0.1), colour(rng)
    belly, fork = rng.uniform(0.38, 0.55), rng.uniform(0.6, 0.8)
    canvas.fill("tail", polygon((-0.5, 0), (-0.98, -0.42), (-fork, 0), (-0.98, 0.42)), fins)
    canvas.fill("fin", smooth((-0.3, -0.25), (-0.15, -0.72), (0.35, -0.58), (0.4, -0.25)), fins)
    canvas.fill("fin", polygon((-0.1, 0.3), (-0.25, 0.66), (0.2, 0.38)), fins)
    canvas.fill("body", smooth((-0.62, 0), (-0.1, -belly), (0.5, -0.36), (0.95, 0.02), (0.5, 0.34), (-0.1, belly)), scales)
    if rng.random() < 0.5:
        for x in (-0.2, 0.1):
            canvas.stroke("body", ellipse(x - 0.5, 0, 0.5, 0.6, start=-35, stop=35), shade(scales, 1.6), 0.1)
    else:
        for x, y in ((-0.3, -0.1), (-0.3, 0.12), (-0.08, -0.22), (-0.08, 0.0), (-0.08, 0.22), (0.14, -0.1), (0.14, 0.12)):
            canvas.stroke("body", ellipse(x, y, 0.1, 0.11, start=-80, stop=80), shade(scales, 0.6), 0.035)
    canvas.stroke("gill", ellipse(0.25, 0, 0.2, 0.3, start=-60, stop=60), shade(scales, 0.5), 0.05)
    canvas.fill("side fin", polygon((0.28, 0.08), (-0.02, 0.2), (0.05, 0.02)), fins)
    canvas.stroke("mouth", smooth((0.92, 0.12), (0.8, 0.13), (0.72, 0.09), closed=False), BLACK, 0.04)
    canvas.fill("eye", ellipse(0.62, -0.12, 0.12), WHITE)
    canvas.fill("eye", ellipse(0.64, -0.12, 0.06), BLACK, outlined=False)


def draw_butterfly(canvas: Canvas) -> None:
    """Draw a butterfly from above, wings spread."""
    rng = canvas.rng
    upper, spot = colour(rng), colour(rng)
    lower = upper if rng.random() < 0.5 else colour(rng)
    wide, tall = rng.uniform(0.85, 1.0), rng.uniform(0.7, 0.95)
    hind = smooth((0, 0.05), (0.55, 0.12), (wide * 0.8, 0.5), (0.45, 0.85), (0.12, 0.5))
    fore = smooth((0, -0.1), (0.35, -tall * 0.8), (wide, -tall), (wide * 0.9, -0.1), (0.4, 0.12))
    for side, sign in (("left", -1), ("right", 1)):
        canvas.fill(f"{side} wing", mirror(hind, sign), lower)
        canvas.fill(f"{side} wing", mirror(fore, sign), upper)
        canvas.fill(f"{side} wing", ellipse(sign * 0.62, -0.42, 0.17), spot)
        canvas.fill(f"{side} wing", ellipse(sign * 0.62, -0.42, 0.08), BLACK, outlined=False)
        canvas.fill(f"{side} wing", ellipse(sign * 0.45, 0.45, 0.13), shade(spot, 1.4), outlined=False)
        canvas.stroke("antennae", smooth((0, -0.42), (sign * 0.12, -0.75), (sign * 0.32, -0.95), closed=False), BLACK, 0.04)
        canvas.fill("antennae", ellipse(sign * 0.32, -0.95, 0.045), BLACK, outlined=False)
    canvas.fill("body", ellipse(0, 0.1, 0.09, 0.55), shade(upper, 0.3))
    canvas.fill("body", ellipse(0, -0.42, 0.11), shade(upper, 0.3))


def draw_flower(canvas: Canvas) -> None:
    """Draw a flower on its stem."""
    rng = canvas.rng
    petals, centre, green = colour(rng, (270, 420), stray=0.4), colour(rng, (30, 60)), colour(rng, (80, 150), stray=0.05)
    count, reach = int(rng.integers(5, 10)), rng.uniform(0.36, 0.44)
    bend = rng.uniform(-0.15, 0.15)
    canvas.stroke("stem", smooth((0, -0.25), (bend, 0.4), (0, 1.0), closed=False), green, 0.08)
    leaf = rotate(smooth((0, 0), (0.22, -0.13), (0.5, -0.02), (0.22, 0.11)), -30)
    vein = rotate(polygon((0, 0), (0.4, -0.02)), -30)
    for sign in (-1, 1):
        canvas.fill("leaves", shift(mirror(leaf, sign), bend, 0.62), green)
        canvas.stroke("leaves", shift(mirror(vein, sign), bend, 0.62), shade(green, 0.6), 0.03)
    plump = min(1.5 * reach * np.pi / count, 0.26)
    start = rng.uniform(0, 360)
    for index in range(count):
        petal = rotate(ellipse(reach, 0, 0.3, plump), start + 360 * index / count)
        canvas.fill("petals", shift(petal, 0, -0.3), shade(petals, 1.0 if index % 2 else 0.88))
    canvas.fill("centre", ellipse(0, -0.3, 0.21), centre)
    for angle in np.radians(np.arange(0, 360, 60)):
        seed = ellipse(0.11 * np.cos(angle), -0.3 + 0.11 * np.sin(angle), 0.03)
        canvas.fill("centre", seed, shade(centre, 0.6), outlined=False)


def draw_tree(canvas: Canvas) -> None:
    """Draw a tree, round or a fir, some of the round ones with fruit."""
    rng = canvas.rng
    bark, leaves = shade(colour(rng, (20, 35), stray=0.05), 0.7), colour(rng, (70, 150), stray=0.25)
    canvas.fill("trunk", polygon((-0.1, -0.1), (0.1, -0.1), (0.16, 0.98), (-0.16, 0.98)), bark)
    if rng.random() < 0.4:
        for y, half in ((0.5, 0.68), (0.1, 0.55), (-0.3, 0.42)):
            canvas.fill("crown", polygon((-half, y), (half, y), (0, y - 0.72)), leaves)
        return
    for sign in (-1, 1):
        canvas.stroke("trunk", polygon((0, 0.4), (sign * 0.35, 0.1)), bark, 0.08)
    lobes = [(-0.42, -0.1), (0.42, -0.1), (-0.3, -0.5), (0.3, -0.5), (0, -0.62), (0, -0.2)]
    for x, y in lobes:
        dx, dy = rng.uniform(-0.06, 0.06, 2)
        canvas.fill("crown", ellipse(x + dx, y + dy, rng.uniform(0.32, 0.4)), shade(leaves, rng.uniform(0.85, 1.1)))
    if rng.random() < 0.5:
        fruit = colour(rng, (340, 410))
        for x, y in rng.uniform((-0.5, -0.75), (0.5, 0.05), (6, 2)):
            canvas.fill("fruit", ellipse(x, y, 0.075), fruit)
