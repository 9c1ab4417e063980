"""Pictures of any mode of 8 bits become grey or RGB; transparency is laid over mid-grey."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from ..errors import PictureError

_MID_GREY = (128, 128, 128, 255)
_BAND_PIXELS = 2**22  # transparency is laid down a band of rows at a time: four pictures at once would fill the memory

#: Formats in which a fourth band is often a measurement that is merely tagged as transparency.
_MEASURED = ("TIFF", "JPEG2000")


def to_grey_or_rgb(picture: Image.Image, name: str, on_note: Callable[[str], object]) -> Image.Image:
    """Convert a picture of 8 bits to mode L, where it is grey, or RGB.

    Args:
        picture: of any mode; `picture.format` tells where it comes from.
        name: for errors and notes.
        on_note: is told what became of a fourth band that may be a measurement.
    """
    if picture.mode == "La":  # premultiplied: Pillow has no direct way to RGBA
        picture = _with_format(picture.convert("LA"), picture.format)
    try:
        if picture.has_transparency_data:
            if picture.format in _MEASURED and not _is_transparency(picture, name, on_note):
                return _without_last_band(picture)
            return _over_grey(picture)
        return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
    except ValueError as error:
        raise PictureError(f"cannot open {name}: its colours are {picture.mode}. Convert it to RGB, as PNG or JPEG.") from error


def _with_format(picture: Image.Image, picture_format: str | None) -> Image.Image:
    picture.format = picture_format
    return picture


def _is_transparency(picture: Image.Image, name: str, on_note: Callable[[str], object]) -> bool:
    """Say whether a last band is transparency by its values, and tell what it was taken for.

    Transparency is mostly all or nothing, with soft edges; a band of a satellite is mostly in between.
    """
    if "A" not in picture.getbands() and "a" not in picture.getbands():
        return True  # a transparent colour
    counts = picture.getchannel(len(picture.getbands()) - 1).histogram()
    total = picture.width * picture.height
    if counts[255] == total:
        return True
    is_transparency = 2 * (counts[0] + counts[255]) >= total
    what = "was taken as transparency" if is_transparency else "is left out: by its values it is no transparency"
    on_note(f"{name}: its last band {what}.")
    return is_transparency


def _without_last_band(picture: Image.Image) -> Image.Image:
    bands = picture.split()[:-1]
    return bands[0] if len(bands) == 1 else Image.merge("RGB", bands)


def _over_grey(picture: Image.Image) -> Image.Image:
    rows = max(1, _BAND_PIXELS // picture.width)
    if rows >= picture.height:
        return _part_over_grey(picture)
    result = Image.new("RGB", picture.size)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        result.paste(_part_over_grey(picture.crop(box)), box)
    return result


def _part_over_grey(picture: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, _MID_GREY), picture.convert("RGBA")).convert("RGB")
