"""Pictures for a preprocessing of the user's own: as they are in the file, with all their bits, bands and pages."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import PictureError
from ..user_code import failing_in_a_line
from .depth import deep_colours
from .limits import TimedFile, decoding
from .opening import OnNote, Picture, decode_file, open_file, open_picture, read_header

if TYPE_CHECKING:
    from torch import Tensor

#: Modes of 8 bits or fewer. Of these, a net of three channels expects RGB; deeper ones would lose by it.
_SHALLOW = ("1", "L", "P", "PA", "LA", "La", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


@dataclass(frozen=True)
class OwnPreprocess:
    """A preprocessing of the user's own, with what is done before it is called.

    It gets a PIL picture as the file has it: deep, with a fourth band, with further pages that it can seek. A picture of 8 bits
    becomes RGB if the net takes three channels, as grey, CMYK and palette pictures among photographs must. A file that Pillow
    cannot read (five bands, say) is handed over by its path.

    Attributes:
        function: turns the picture into an image (C, H, W).
        channels: how many the net takes.
    """

    function: Callable[[Any], Tensor]
    channels: int

    def __call__(self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None) -> Tensor:
        """Return the image (C, H, W) of a picture.

        Args:
            picture: a path or a PIL picture.
            data: the file's bytes, if they were read already.
            on_note: is told of what was left out; None: that is a warning.

        Raises:
            PictureError: the picture cannot be opened.
        """
        if isinstance(picture, Image.Image):
            is_plain = self._becomes_rgb(picture) or picture.mode == "RGB"
            return self._call(open_picture(picture, on_note=on_note) if is_plain else picture)
        with open_file(picture, data) as (handle, name):
            try:
                lazy = read_header(handle, name)
            except PictureError as error:
                # bytes that were read by a relative name are no file of this machine
                is_here = os.path.isfile(picture) and (data is None or os.path.isabs(picture))
                if isinstance(error.__cause__, UnidentifiedImageError) and is_here:
                    return self._call(os.fspath(picture))
                raise
            with lazy:
                if not self._becomes_rgb(lazy):
                    with decoding(lazy):
                        decoded = _first_page(lazy, handle, name)
                    return self._call(decoded)
            handle.seek(0)
            return self._call(open_picture(picture, data=handle, on_note=on_note))

    def _call(self, picture: Image.Image | str) -> Tensor:
        with failing_in_a_line("the preprocessing", _form(picture)):
            return self.function(picture)

    def _becomes_rgb(self, picture: Image.Image) -> bool:
        is_shallow = picture.mode in _SHALLOW or (picture.mode == "RGB" and deep_colours(picture))
        return self.channels == 3 and is_shallow


def _form(picture: Image.Image | str) -> str:
    form = f"the path {picture!r}" if isinstance(picture, str) else f"a PIL picture of mode {picture.mode}"
    return f"It was given {form}."


def _first_page(lazy: Image.Image, handle: IO[bytes], name: str) -> Image.Image:
    """Decode the first page; a picture of one page is turned upright, one of several can still go to the others."""
    picture = decode_file(lazy, handle, name)
    for file in (lazy.fp, getattr(lazy, "_fp", None)):  # type: ignore[attr-defined]
        if isinstance(file, TimedFile):  # the other pages are read in the function's own time
            file.release()
    if not getattr(lazy, "is_animated", False):
        try:
            ImageOps.exif_transpose(picture, in_place=True)
        except Exception:  # EXIF that cannot be read says nothing of a rotation
            return picture
    return picture
