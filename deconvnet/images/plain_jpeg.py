"""Which JPEGs another decoder than Pillow may take: those of which all decoders make the same picture, up to rounding."""

from __future__ import annotations

from io import BytesIO

from PIL import ExifTags, Image, JpegImagePlugin

from .limits import MAX_PASSED_PIXELS, MAX_PIXELS

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"

_START_OF_SCAN = b"\xff\xda"
_LEAST_SCAN = 10  # bytes of a scan's header, of one component
_RGB_BANDS = (ord("R"), ord("G"), ord("B"))


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) of a JPEG that is whole, grey or in YCbCr, upright, alone in its file, and within limits.

    For any other file, or if its header cannot be read, return None: `open_picture` then reads it, or says what is wrong. This
    takes some tens of microseconds; it runs under the interpreter's lock, for every picture that a GPU decodes.
    """
    if not (data.startswith(START_OF_IMAGE) and data.endswith(END_OF_IMAGE)):
        return None
    try:
        # not `Image.open`, which would warn of bombs, and take a JPEG of several pictures apart
        header = JpegImagePlugin.JpegImageFile(BytesIO(data))
        return header.size if _is_plain(header) and _is_small(header.size, data) else None
    except Exception:  # a damaged header raises anything: OSError, SyntaxError, struct.error, ...
        return None


def _is_plain(header: JpegImagePlugin.JpegImageFile) -> bool:
    if header.mode not in ("L", "RGB") or "mp" in header.info:  # CMYK; several pictures
        return False
    bands = tuple(band[0] for band in header.layer)
    if header.mode == "RGB" and (header.info.get("adobe_transform") == 0 or bands == _RGB_BANDS):  # stored without YCbCr
        return False
    return not ("exif" in header.info or "xmp" in header.info) or _orientation(header) == 1


def _orientation(header: Image.Image) -> int:
    try:
        return int(header.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # what Pillow cannot read, another decoder might
        return 0


def _is_small(size: tuple[int, int], data: bytes) -> bool:
    """Say whether a picture has some pixels, and no more passes over them than are decoded."""
    pixels = size[0] * size[1]
    if not 0 < pixels <= MAX_PIXELS:
        return False
    most_passes = len(data) // _LEAST_SCAN  # to count them takes longer than all else
    return most_passes * pixels <= MAX_PASSED_PIXELS or data.count(_START_OF_SCAN) * pixels <= MAX_PASSED_PIXELS
