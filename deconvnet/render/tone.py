"""From projections, which are signed and have no scale of their own, to pixels that can be shown.

How a projection is toned decides what a reader believes to see, so it is a named option and never left to the data. By default
zero is mid-grey, as in the paper's figures, and each tile has a scale of its own. The scale is a percentile, because one bright
pixel would otherwise flatten all the others, and it is taken inside the frame only: what lies beyond the picture's edge is
padding, not signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import OptionError, check_option
from ..units import Window

Pixels: TypeAlias = npt.NDArray[np.uint8]
Values: TypeAlias = npt.NDArray[np.float64]

MISSING = (255, 0, 255)  # a NaN is shown in magenta: it must not pass for a grey


def apply_tone(
    crops: Sequence[npt.NDArray[np.floating]],
    tone: str = "symmetric",
    *,
    percentile: float = 99.5,
    inside: Sequence[Window | None] | None = None,
) -> list[Pixels]:
    """Turn projections into pixels: (C, h, w) floats of any sign and size -> (h, w, 3), 0..255, for each crop.

    Three channels are shown as colour; any other count as the grey of its mean. `inside` tells for each crop which part of it,
    in its own rows and columns, lies in the frame (None: all of it). The scale is the `percentile` of |x| there, or the largest
    |x| where that percentile is zero: a few pixels on nothing. Infinities are clipped to the ends, a NaN is magenta.

        >>> apply_tone([np.array([[[-2.0, 0.0, 2.0]]])])[0][0, :, 0]
        array([  0, 128, 255], dtype=uint8)
    """
    check_option("tone", tone, TONES)
    if not 0 < percentile <= 100:
        raise OptionError(f"percentile cannot be {percentile!r}: it is above 0 and at most 100.")
    values = [_channels_to_show(crop, grey=tone == "grey") for crop in crops]
    seen = [_finite_inside(crop, part) for crop, part in zip(values, inside or [None] * len(values), strict=True)]
    if tone == "shared" and seen:
        seen = [np.concatenate(seen)] * len(values)
    return [_to_pixels(TONES[tone](crop, inner, percentile)) for crop, inner in zip(values, seen, strict=True)]


def _symmetric(crop: Values, seen: Values, percentile: float) -> Values:
    """Zero is mid-grey, the scale black and white; nothing at all is mid-grey all over."""
    return 127.5 + 127.5 * _scaled(crop, seen, percentile)


def _sigmoid(crop: Values, seen: Values, percentile: float) -> Values:
    """As symmetric, but bent: zero is mid-grey, the scale is drawn at 1 % and 99 % (Mahendran & Vedaldi, ECCV 2016)."""
    return 255 / (1 + 99.0 ** -_scaled(crop, seen, percentile))


def _minmax(crop: Values, seen: Values, percentile: float) -> Values:
    """The smallest value is black, the largest white: zero may be any grey; a constant is mid-grey."""
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    if high == low:
        return np.where(np.isnan(crop), crop, 127.5)
    return (np.clip(crop, low, high) - low) / (high - low) * 255


def _positive(crop: Values, seen: Values, percentile: float) -> Values:
    """Zero and all below is black, the scale of what is above is white."""
    return 255 * _scaled(np.maximum(crop, 0), np.maximum(seen, 0), percentile)


def _magnitude(crop: Values, seen: Values, percentile: float) -> Values:
    """The largest |x| over the channels, as a grey: zero is black, the scale is white."""
    return 255 * _scaled(np.abs(crop).max(axis=2, keepdims=True), seen, percentile)


#: What a tone makes of a crop (h, w, C), the finite values seen inside the frame, and the percentile: 0..255, not yet rounded.
TONES: dict[str, Callable[[Values, Values, float], Values]] = {
    "symmetric": _symmetric,  # zero mid-grey, one scale a tile: the default
    "shared": _symmetric,     # zero mid-grey, one scale for all tiles: brightness can be compared
    "grey": _symmetric,       # symmetric, the mean over colours: structure without the colour noise of stride and pooling
    "minmax": _minmax,        # smallest black, largest white, a tile at a time
    "positive": _positive,    # zero black, negative values not shown
    "magnitude": _magnitude,  # zero black, the strongest channel's |x| as a grey
    "sigmoid": _sigmoid,      # zero mid-grey, faint values lifted
}  # fmt: skip


def _channels_to_show(crop: npt.NDArray[np.floating], grey: bool = False) -> Values:
    """(C, h, w) -> (h, w, C) with 3 channels, or 1: the mean over channels."""
    values = np.moveaxis(np.asarray(crop, dtype=np.float64), 0, -1)
    if grey or values.shape[-1] not in (1, 3):
        with np.errstate(invalid="ignore"):  # two opposite infinities have no mean: NaN, and shown as such
            values = values.mean(axis=-1, keepdims=True)
    return values


def _finite_inside(crop: Values, inside: Window | None) -> Values:
    """Return the finite values of the part inside the frame, as one row."""
    if inside is not None:
        inside = inside.clip(*crop.shape[:2])
        crop = crop[inside.top : inside.bottom, inside.left : inside.right]
    return crop[np.isfinite(crop)]


def _scale(seen: Values, percentile: float) -> float:
    """Return the percentile of |x|, the maximum where that is zero, and 0 where there is nothing but zeros."""
    sizes = np.abs(seen)
    return float(np.percentile(sizes, percentile) or sizes.max()) if sizes.size else 0.0


def _scaled(crop: Values, seen: Values, percentile: float) -> Values:
    """Return the crop on the scale -1..1; NaN stays NaN."""
    limit = _scale(seen, percentile)
    return np.clip(crop, -limit, limit) / limit if limit else np.where(np.isnan(crop), crop, 0.0)


def _to_pixels(shown: Values) -> Pixels:
    """(h, w, 1 or 3) on the scale 0..255 -> (h, w, 3), rounded, halves to the even number."""
    pixels = np.rint(np.nan_to_num(shown)).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    pixels[np.isnan(shown).any(axis=2)] = MISSING
    return pixels
