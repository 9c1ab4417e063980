"""Pictures that the browser uploads."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

from PIL import Image

from ..errors import PictureError
from ..images import open_picture
from ..inputs import named_picture

#: The largest upload, in bytes: Jupyter's server drops a connection that sends messages over 10 MiB.
LARGEST_UPLOAD = 9 * 2**20


def open_upload(file: Mapping[str, object]) -> Image.Image:
    """Open an uploaded picture; its size is bounded in bytes here, and in pixels as for every picture.

    Args:
        file: what ipywidgets' FileUpload gives: "name" and "content", the file's bytes.

    Raises:
        PictureError: the file is too large, empty, or no picture.
    """
    name, content = str(file["name"]), bytes(file["content"])  # type: ignore[call-overload]
    if len(content) > LARGEST_UPLOAD:
        size, most = len(content) / 2**20, LARGEST_UPLOAD / 2**20
        raise PictureError(f"cannot take {name!r}: it has {size:.1f} MiB, more than {most:.0f}. Shrink it first.")
    if not content:
        raise PictureError(f"cannot open {name!r}: the file is empty. Get a fresh copy.")
    return named_picture(open_picture(name, data=BytesIO(content)), name)
