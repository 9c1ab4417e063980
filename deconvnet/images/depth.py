"""Deep pictures, of more than 8 bits: scaled to 0..255 by the values that they use.

X-rays, CT, microscopes, depth cameras and satellites use 10, 12 or 14 bits of the 16 that their files have. Taken as 16 bits,
such a picture is all but black. The range is therefore the smallest of those bit depths that holds all values, or what the
user says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import OptionError

#: The values that stand for black and for white.
ValueRange: TypeAlias = tuple[float, float]

#: The largest values of 8, 10, 12, 14 and 16 bits.
DEPTHS = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)

_BAND_PIXELS = 2**22  # a band of rows is converted at a time, so that a large picture is not held as floats
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}

Reopen: TypeAlias = Callable[[], Image.Image]


def is_deep_grey(picture: Image.Image) -> bool:
    """Say whether a picture has one band of more than 8 bits."""
    return picture.mode.startswith("I") or picture.mode == "F"


def deep_colours(picture: Image.Image) -> bool:
    """Say whether a picture that is not decoded yet has colours of 16 bits, of which Pillow keeps the upper 8."""
    return any(";16" in _raw_mode(tile.args) for tile in getattr(picture, "tile", ())) and not is_deep_grey(picture)


def unpack_colours(picture: Image.Image) -> None:
    """Let a PPM of 16 bits, which Pillow scales number by number, be decoded as the 16-bit colours of other formats are."""
    for tile in picture.tile if picture.format == "PPM" and picture.mode == "RGB" else ():  # type: ignore[attr-defined]
        if tile.codec_name == "ppm" and tile.args[-1] == 65535:
            picture.tile = [tile._replace(codec_name="raw", args=("RGB;16B", 0, 1))]  # type: ignore[attr-defined]


def grey_to_8_bits(picture: Image.Image, value_range: ValueRange | None = None) -> Image.Image:
    """Scale a deep grey picture, modes I;16, I and F, to mode L."""
    smallest, largest = _finite_extremes(picture)

    def bands() -> Iterator[npt.NDArray]:
        return (_without_infinities(band, smallest, largest) for band in _bands(picture))

    if value_range is None:
        ends = [(float(band.min()), float(band.max())) for band in bands()]
        low, high = min(low for low, _ in ends), max(high for _, high in ends)
        value_range = find_range(low, high, floats=picture.mode == "F")
    result, row = Image.new("L", picture.size), 0
    for band in bands():
        result.paste(Image.fromarray(_scaled(band, value_range)), (0, row))
        row += len(band)
    return result


def colours_to_8_bits(picture: Image.Image, reopen: Reopen, value_range: ValueRange | None = None) -> Image.Image:
    """Scale a picture with colours of 16 bits, of which Pillow decoded the upper 8.

    Args:
        picture: as Pillow decodes it.
        reopen: opens it again, to decode the lower 8 bits, where they matter: where fewer than 16 are used, and in a PPM,
            which is rounded and not cut.
        value_range: what is black and white; None: by the values.
    """
    is_cut = picture.format != "PPM"
    if value_range is None and is_cut and max(high for _, high in _band_extrema(picture)[:3]) >= 64:
        return picture
    lower = _lower_bytes(reopen())
    bands = []
    for number, name in enumerate(picture.getbands()):
        values = np.asarray(picture.getchannel(number)).astype(np.uint16) * 256 + np.asarray(lower.getchannel(number))
        bands.append((name, values))
    colour_range = value_range or find_range(0, float(max(values.max() for name, values in bands if name != "A")))
    ranges = [find_range(0, float(values.max())) if name == "A" else colour_range for name, values in bands]
    scaled = [Image.fromarray(_scaled(values, ends)) for (_, values), ends in zip(bands, ranges, strict=True)]
    return Image.merge(picture.mode, scaled)


def check_range(value_range: ValueRange) -> None:
    """Raise `OptionError` unless this is black and white, two finite numbers, the smaller one first."""
    if len(value_range) != 2:
        raise OptionError(f"a range cannot be {value_range!r}: it is (black, white).")
    low, high = value_range
    if not -np.inf < low < high < np.inf:  # refuses NaN too
        raise OptionError(f"a range cannot be {low:g}..{high:g}: black comes first, white is above it.")


def find_range(low: float, high: float, *, floats: bool = False) -> ValueRange:
    """Return the smallest of the ranges 0..1 (floats only) and `DEPTHS` that holds all values, else their minimum and maximum.

    A constant outside these ranges becomes mid-grey.
    """
    for limit in (1.0, *DEPTHS) if floats else DEPTHS:
        if low >= 0 and high <= limit:
            return 0.0, limit
    return (low, high) if high > low else (min(2 * low, 0.0), max(2 * low, 0.0))


def _scaled(values: npt.NDArray, value_range: ValueRange) -> npt.NDArray[np.uint8]:
    """Return 0..255 for values between the ends of a range; of 16 bits, each value that there can be is computed once."""
    if values.dtype == np.uint16:
        return _scaled(np.arange(65536.0), value_range)[values]
    low, high = value_range
    return np.rint(((values - low) * 255 / (high - low)).clip(0, 255)).astype(np.uint8)


def _bands(picture: Image.Image) -> Iterator[npt.NDArray]:
    """Yield the rows of a picture, some at a time: uint16, int32 or float32."""
    rows = max(1, _BAND_PIXELS // picture.width)
    for top in range(0, picture.height, rows):
        box = (0, top, picture.width, min(top + rows, picture.height))
        band = np.asarray(picture.crop(box))
        yield band.astype(np.uint16, copy=False) if picture.mode.startswith("I;16") else band


def _without_infinities(band: npt.NDArray, smallest: float, largest: float) -> npt.NDArray:
    """Return whole numbers as they are, floats as float64 with NaN as 0 and infinities as the finite extremes."""
    if band.dtype == np.uint16:
        return band
    return np.nan_to_num(band.astype(np.float64), nan=0.0, posinf=largest, neginf=smallest)


def _finite_extremes(picture: Image.Image) -> tuple[float, float]:
    """Return what stands in for infinities: the smallest and the largest finite value."""
    if picture.mode != "F":
        return 0.0, 0.0
    finite = (band[np.isfinite(band)] for band in _bands(picture))
    ends = [(float(values.min()), float(values.max())) for values in finite if values.size]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0.0, 0.0)


def _band_extrema(picture: Image.Image) -> list[tuple[int, int]]:
    return [picture.getchannel(number).getextrema() for number in range(len(picture.getbands()))]  # type: ignore[misc]


def _lower_bytes(picture: Image.Image) -> Image.Image:
    """Decode the lower bytes of 16-bit colours, by reading the same file in the other order of bytes."""
    picture.tile = [tile._replace(args=_swap(tile.args)) for tile in picture.tile]  # type: ignore[attr-defined]
    grey = any(_raw_mode(tile.args) == "RGBA" for tile in picture.tile)  # type: ignore[attr-defined]
    picture.load()
    if grey:  # of a PNG with grey and transparency: upper and lower byte of each, in turn
        _, low, _, low_alpha = picture.split()
        return Image.merge("RGBA", (low, low, low, low_alpha))
    return picture


def _raw_mode(args: object) -> str:
    return str(args[0]) if isinstance(args, tuple) and args else str(args)


def _swap(args: object) -> object:
    if isinstance(args, tuple):
        return (_swap(args[0]), *args[1:])
    mode = str(args)
    if mode == "LA;16B":
        return "RGBA"
    return mode[:-1] + _OTHER_ORDER[mode[-1]]
