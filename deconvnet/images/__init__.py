"""Pictures: opened safely, turned into what a net expects, and back into the pixels that it saw."""

from __future__ import annotations

from .opening import MAX_PIXELS, SUFFIXES, Picture, find_pictures, open_picture
from .preprocess import Preprocess, ShownImage, to_rgb

__all__ = ["MAX_PIXELS", "SUFFIXES", "Picture", "Preprocess", "ShownImage", "find_pictures", "open_picture", "to_rgb"]
