"""Arrays in, pictures out: one renderer for PNG, JPEG and PDF, with no plotting library behind it."""

from __future__ import annotations

from .grid import Block, Sheet, draw_sheet
from .overlay import COLOURS, draw_windows
from .save import read_settings, save_arrays, save_picture, write_atomic
from .tile import Tile
from .tone import TONES, apply_tone

__all__ = [
    "COLOURS",
    "TONES",
    "Block",
    "Sheet",
    "Tile",
    "apply_tone",
    "draw_sheet",
    "draw_windows",
    "read_settings",
    "save_arrays",
    "save_picture",
    "write_atomic",
]
