"""JPEGs that are read, but not yet decoded: a GPU decodes them, many at a time (`device_jpegs.py`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import IO

import numpy as np
import numpy.typing as npt

from ..images import OnNote, Picture, Preprocess
from ..images.plain_jpeg import plain_jpeg_size

#: A larger file is decoded where it is read: a few hundred wait for the GPU at once.
MOST_BYTES = 2**23


@dataclass(frozen=True, eq=False)
class Jpeg:
    """A JPEG as it is in its file.

    Attributes:
        path: of the file, for what is said of it.
        data: its bytes.
        size: (width, height), in pixels.
    """

    path: str
    data: bytearray
    size: tuple[int, int]

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True, eq=False)
class LeavesJpegs(Preprocess):
    """A preprocessing that leaves plain JPEGs as they are; of all else the pixels are those of `reader`.

    Attributes:
        reader: crops what is no plain JPEG.
    """

    reader: Preprocess | None = None

    @classmethod
    def of(cls, reader: Preprocess) -> LeavesJpegs:
        """Return one with the fields of `reader`."""
        return cls(**{field.name: getattr(reader, field.name) for field in fields(Preprocess)}, reader=reader)

    def jpeg(self, data: bytes, path: str) -> Jpeg | None:
        """Return a file's JPEG, None where there is none that a GPU may take.

        Raises:
            PictureError: it is too long to be resized.
        """
        size = plain_jpeg_size(data) if len(data) <= MOST_BYTES else None
        if size is None:
            return None
        self.crop_geometry(size)
        return Jpeg(path, bytearray(data), size)

    def crop_pixels(
        self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None
    ) -> npt.NDArray[np.uint8]:
        """Return the pixels of a picture, as `reader` does."""
        if self.reader is None:
            return super().crop_pixels(picture, data=data, on_note=on_note)
        return self.reader.crop_pixels(picture, data=data, on_note=on_note)
