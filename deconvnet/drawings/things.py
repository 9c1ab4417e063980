"""Scenes of things that people make, one function each, drawn from back to front."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, Colour, colour, shade
from .shapes import box, ellipse, polygon, rotate, shift, smooth

BLACK, WHITE, STEEL = (25, 22, 28), (245, 244, 238), (165, 170, 178)


def _glass(canvas: Canvas) -> Colour:
    """Return the colour of a window: daylight, or a lamp behind it."""
    rng = canvas.rng
    if rng.random() < 0.25:
        return colour(rng, (40, 55), stray=0)
    return shade(colour(rng, (190, 220), stray=0), rng.uniform(0.6, 1.6))


def _draw_wheel(canvas: Canvas, part: str, x: float, y: float, radius: float) -> None:
    """Draw a wheel with a black tyre and a light hub."""
    canvas.fill(part, ellipse(x, y, radius), BLACK)
    canvas.fill(part, ellipse(x, y, 0.58 * radius), STEEL, outlined=False)
    canvas.fill(part, ellipse(x, y, 0.2 * radius), (70, 70, 76), outlined=False)


def draw_house(canvas: Canvas) -> None:
    """Draw a house from the front."""
    rng = canvas.rng
    wall, roof, wood = shade(colour(rng, (10, 60), grey=0.3), 1.3), colour(rng, (0, 30), grey=0.2), colour(rng)
    glass, half = _glass(canvas), rng.uniform(0.62, 0.78)
    canvas.fill("chimney", box(0.45, -0.62, 0.18, 0.5), shade(roof, 0.7))
    canvas.fill("wall", box(0, 0.4, 2 * half, 1.1), wall)
    canvas.fill("roof", polygon((-half - 0.18, -0.12), (0, -rng.uniform(0.75, 0.95)), (half + 0.18, -0.12)), roof)
    door = rng.choice([-0.36, 0.0, 0.36])
    canvas.fill("door", box(door, 0.62, 0.3, 0.66), wood)
    canvas.fill("door", ellipse(door + 0.09, 0.62, 0.03), WHITE, outlined=False)
    for x in sorted({-0.36, 0.0, 0.36} - {float(door)}):
        canvas.fill("windows", box(x, 0.24, 0.3, 0.32), WHITE)
        canvas.fill("windows", box(x, 0.24, 0.24, 0.26), glass, outlined=False)
        canvas.stroke("windows", polygon((x, 0.1), (x, 0.38)), WHITE, 0.035)
        canvas.stroke("windows", polygon((x - 0.13, 0.24), (x + 0.13, 0.24)), WHITE, 0.035)


def draw_car(canvas: Canvas) -> None:
    """Draw a car from the side."""
    rng = canvas.rng
    paint, glass = colour(rng, grey=0.2), _glass(canvas)
    top, bonnet = rng.uniform(-0.55, -0.42), rng.uniform(0.28, 0.42)
    canvas.fill("body", polygon((-0.7, -0.02), (-0.5, top), (bonnet - 0.15, top), (bonnet + 0.2, -0.02)), paint)
    canvas.fill("body", box(0, 0.18, 1.92, 0.46, corner=0.14), paint)
    lintel = top + 0.08
    canvas.fill("left window", polygon((-0.56, -0.05), (-0.43, lintel), (-0.14, lintel), (-0.14, -0.05)), glass)
    canvas.fill("right window", polygon((-0.05, -0.05), (-0.05, lintel), (bonnet - 0.2, lintel), (bonnet + 0.05, -0.05)), glass)
    canvas.stroke("body", polygon((-0.095, 0.02), (-0.095, 0.36)), shade(paint, 0.5), 0.03)
    canvas.stroke("body", polygon((0.0, 0.1), (0.12, 0.1)), shade(paint, 0.4), 0.04)
    canvas.fill("headlight", ellipse(0.87, 0.1, 0.07, 0.1), (255, 240, 170))
    canvas.stroke("bumper", polygon((-0.92, 0.36), (0.92, 0.36)), (90, 92, 98), 0.07)
    for side, x in (("left", -0.52), ("right", 0.54)):
        _draw_wheel(canvas, f"{side} wheel", x, 0.42, 0.24)


def draw_bicycle(canvas: Canvas) -> None:
    """Draw a bicycle from the side."""
    rng = canvas.rng
    paint, rubber, radius = colour(rng, grey=0.1), shade(colour(rng, grey=0.8), 0.3), rng.uniform(0.36, 0.43)
    rear, front, pedals, seat, head = (-0.55, 0.35), (0.55, 0.35), (-0.08, 0.38), (-0.25, -0.2), (0.38, -0.22)
    for side, (x, y) in (("left", rear), ("right", front)):
        for angle in range(0, 180, 30):
            spoke = rotate(polygon((-radius, 0), (radius, 0)), angle)
            canvas.stroke(f"{side} wheel", shift(spoke, x, y), STEEL, 0.015)
        canvas.stroke(f"{side} wheel", ellipse(x, y, radius), rubber, 0.075)
    for line in ((rear, pedals, head, seat, rear), (seat, pedals), (head, front)):
        canvas.stroke("frame", polygon(*line), paint, 0.075)
    canvas.stroke("frame", polygon(seat, (-0.3, -0.38)), STEEL, 0.06)
    canvas.fill("saddle", smooth((-0.5, -0.42), (-0.3, -0.48), (-0.12, -0.4), (-0.3, -0.36)), rubber)
    canvas.stroke("handlebar", polygon(head, (0.34, -0.45)), STEEL, 0.06)
    canvas.stroke("handlebar", smooth((0.2, -0.5), (0.36, -0.47), (0.52, -0.42), (0.5, -0.3), closed=False), rubber, 0.07)
    canvas.fill("pedals", ellipse(*pedals, 0.1), STEEL)
    canvas.stroke("pedals", polygon((-0.16, 0.24), pedals, (0.0, 0.54)), rubber, 0.05)


def draw_train(canvas: Canvas) -> None:
    """Draw a steam engine from the side."""
    rng = canvas.rng
    paint, roof, glass = colour(rng, grey=0.1), colour(rng, grey=0.2), _glass(canvas)
    puff = shade(STEEL, rng.uniform(1.1, 1.7))
    for x, y, radius in ((0.5, -0.72, 0.12), (0.26, -0.84, 0.16), (-0.02, -0.88, 0.12)):
        canvas.fill("smoke", ellipse(x, y, radius), puff, outlined=False)
    canvas.fill("chimney", polygon((0.5, -0.15), (0.44, -0.62), (0.78, -0.62), (0.7, -0.15)), BLACK)
    canvas.fill("boiler", box(0.2, 0.1, 1.4, 0.5, corner=0.1), paint)
    for x in (0.1, 0.38):
        canvas.stroke("boiler", polygon((x, -0.12), (x, 0.32)), shade(paint, 1.6), 0.05)
    canvas.fill("cab", box(-0.55, -0.02, 0.62, 0.84), shade(paint, 0.8))
    canvas.fill("cab", box(-0.55, -0.47, 0.8, 0.12), roof)
    canvas.fill("window", box(-0.55, -0.17, 0.34, 0.3), glass)
    canvas.fill("lamp", ellipse(0.9, 0.0, 0.08), (255, 240, 170))
    canvas.fill("bumper", polygon((0.75, 0.38), (1.0, 0.7), (0.7, 0.7)), roof)
    for x, y, radius in ((-0.58, 0.52, 0.25), (-0.05, 0.52, 0.25), (0.42, 0.6, 0.17)):
        canvas.fill("wheels", ellipse(x, y, radius), BLACK)
        canvas.stroke("wheels", ellipse(x, y, 0.68 * radius), roof, 0.05)
        canvas.fill("wheels", ellipse(x, y, 0.25 * radius), roof, outlined=False)
    canvas.stroke("rod", polygon((-0.58, 0.56), (-0.05, 0.56)), STEEL, 0.06)


def draw_boat(canvas: Canvas) -> None:
    """Draw a sailing boat on its waves."""
    rng = canvas.rng
    paint, cloth, sea = colour(rng, grey=0.2), shade(colour(rng, grey=0.5), 1.5), colour(rng, (180, 230), stray=0.05)
    canvas.stroke("mast", polygon((0, -0.98), (0, 0.35)), (105, 72, 45), 0.065)
    belly = rng.uniform(0.5, 0.75)
    canvas.fill("main sail", smooth((0.06, -0.9), (0.35, -0.5), (belly, 0.12), (0.3, 0.17), (0.06, 0.15)), cloth)
    canvas.fill("jib", polygon((-0.06, -0.8), (-0.06, 0.15), (-rng.uniform(0.4, 0.6), 0.15)), shade(cloth, 0.85))
    canvas.fill("flag", polygon((0, -0.98), (-0.24, -0.9), (0, -0.82)), colour(rng))
    canvas.fill("hull", smooth((-0.9, 0.28), (-0.6, 0.3), (0.6, 0.3), (0.9, 0.28), (0.68, 0.6), (0, 0.76), (-0.68, 0.6)), paint)
    canvas.stroke("hull", polygon((-0.74, 0.42), (0.74, 0.42)), shade(paint, 1.7), 0.06)
    for y in (0.7, 0.84):
        crests = [(x, y + (0.05 if index % 2 else -0.05)) for index, x in enumerate(np.linspace(-0.98, 0.98, 11))]
        canvas.stroke("waves", smooth(*crests, closed=False), shade(sea, 1.0 if y < 0.8 else 0.75), 0.1)


def draw_clock(canvas: Canvas) -> None:
    """Draw a clock with its hands at any hour; some are alarm clocks with bells and feet."""
    rng = canvas.rng
    rim, dial, hands = colour(rng, grey=0.3), shade(colour(rng, grey=0.7), 1.7), shade(colour(rng, grey=0.7), 0.35)
    if rng.random() < 0.5:
        for sign in (-1, 1):
            canvas.stroke("feet", polygon((sign * 0.45, 0.6), (sign * 0.62, 0.95)), shade(rim, 0.6), 0.12)
            canvas.fill("bells", ellipse(sign * 0.46, -0.72, 0.27, 0.2, turn=sign * 33), shade(rim, 1.3))
    canvas.fill("rim", ellipse(0, 0, 0.84), rim)
    canvas.fill("dial", ellipse(0, 0, 0.68), dial)
    for hour in range(12):
        inner = 0.5 if hour % 3 == 0 else 0.56
        canvas.stroke("marks", rotate(polygon((inner, 0), (0.61, 0)), 30 * hour), hands, 0.06 if hour % 3 == 0 else 0.035)
    time = rng.uniform(0, 12)
    canvas.stroke("hands", rotate(polygon((0, 0.06), (0, -0.33)), 30 * time), hands, 0.1)
    canvas.stroke("hands", rotate(polygon((0, 0.08), (0, -0.52)), 360 * time), hands, 0.065)
    canvas.fill("hands", ellipse(0, 0, 0.07), hands)


def draw_cup(canvas: Canvas) -> None:
    """Draw a cup on its saucer, some of them steaming."""
    rng = canvas.rng
    china, drink = shade(colour(rng, grey=0.3), rng.uniform(1.0, 1.6)), shade(colour(rng, (15, 35), stray=0.1), 0.6)
    half, foot, band = rng.uniform(0.5, 0.6), rng.uniform(0.3, 0.5), colour(rng)
    canvas.fill("saucer", ellipse(-0.05, 0.72, 0.85, 0.17), shade(china, 0.85))
    canvas.stroke("handle", ellipse(half, 0.12, 0.28, 0.26), shade(china, 0.75), 0.14)
    side = [(half, 0.1), (half, -0.3), (0, -0.2)]
    canvas.fill("body", smooth((-half, -0.3), (-half, 0.1), (-foot, 0.66), (0, 0.74), (foot, 0.66), *side), china)
    if rng.random() < 0.5:
        canvas.stroke("body", ellipse(0, 0.1, half - 0.06, 0.12, start=8, stop=172), band, 0.12)
    else:
        for x in (-0.26, 0.0, 0.26):
            canvas.fill("body", ellipse(x, 0.24, 0.09), band, outlined=False)
    canvas.fill("rim", ellipse(0, -0.3, half, 0.15), shade(china, 1.3))
    canvas.fill("drink", ellipse(0, -0.28, half - 0.08, 0.1), drink, outlined=False)
    if rng.random() < 0.6:
        for x in (-0.2, 0.05, 0.3):
            wisp = smooth((x, -0.5), (x + 0.08, -0.65), (x - 0.06, -0.8), (x + 0.04, -0.95), closed=False)
            canvas.stroke("steam", wisp, WHITE, 0.045)
