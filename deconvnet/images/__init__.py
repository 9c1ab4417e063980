"""Pictures: opened safely, turned into what a net expects, and back into the pixels that it saw."""

from __future__ import annotations

from .answer import FoundObject, Segments
from .arrays import is_array_file, read_array
from .depth import ValueRange
from .finding import find_pictures
from .formats import FORMATS, SUFFIXES
from .limits import MAX_BYTES, MAX_PIXELS
from .opening import OnNote, Picture, open_picture
from .own_preprocess import OwnPreprocess
from .preprocess import Preprocess, ShownImage, to_rgb
from .reading_process import stop_readers

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "SUFFIXES",
    "FoundObject",
    "OnNote",
    "OwnPreprocess",
    "Picture",
    "Preprocess",
    "Segments",
    "ShownImage",
    "ValueRange",
    "find_pictures",
    "is_array_file",
    "open_picture",
    "read_array",
    "stop_readers",
    "to_rgb",
]
