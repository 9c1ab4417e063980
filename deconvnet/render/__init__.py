"""Arrays in, pictures out: one renderer for PNG, JPEG and PDF, with no plotting library behind it."""

from __future__ import annotations

from .example import Drawn, Example, Panel, draw_examples
from .grid import Block, Sheet, draw_sheet
from .overlay import COLOURS, draw_windows
from .pages import save_plates
from .plate import draw_plate, plate_shape
from .save import read_settings, save_arrays, save_picture, write_atomic
from .tile import Tile
from .tone import TONES, apply_tone

__all__ = [
    "COLOURS",
    "TONES",
    "Block",
    "Drawn",
    "Example",
    "Panel",
    "Sheet",
    "Tile",
    "apply_tone",
    "draw_examples",
    "draw_plate",
    "draw_sheet",
    "draw_windows",
    "plate_shape",
    "read_settings",
    "save_arrays",
    "save_picture",
    "save_plates",
    "write_atomic",
]
