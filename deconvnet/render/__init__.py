"""Arrays in, pictures out: one renderer for PNG, JPEG and PDF, with no plotting library behind it."""

from __future__ import annotations

from ..choices import TONES
from .example import DrawnExample, Example, Panel, draw_examples
from .overlay import draw_windows
from .palette import COLOURS
from .plate import draw_plate, plate_shape
from .plate_files import save_plates
from .save import read_settings, save_arrays, save_picture, write_atomic
from .sheet import LayerTiles, Sheet, draw_sheet
from .tile import Tile
from .tone import apply_tone

__all__ = [
    "COLOURS",
    "TONES",
    "DrawnExample",
    "Example",
    "LayerTiles",
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
