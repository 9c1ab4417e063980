"""From projections, which are signed and have no scale of their own, to pixels that can be shown.

The tone decides what a reader believes to see, so it is a named option and never left to the data. By default zero is mid-grey,
as in the paper's figures, and each tile has a scale of its own. The scale is a percentile, because one bright pixel would
otherwise flatten all the others, and it is taken inside the frame only: what lies beyond the picture's edge is padding, not
signal.

The default tone is chosen by eye, on SqueezeNet's layers and twenty photographs. Colours of a projection alternate at the
period of the first layer's stride, and their noise hides both the outlines, which the mean over the colours shows, and the
colours that are wide enough to be meant. So the mean keeps its full resolution, and the differences from it are smoothed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..choices import TONES, Tone
from ..errors import OptionError, check_option
from ..units import Window

Pixels: TypeAlias = npt.NDArray[np.uint8]
Values: TypeAlias = npt.NDArray[np.float64]

NAN_COLOUR = (255, 0, 255)  # magenta: a NaN must not pass for a grey
SMOOTHING, LARGEST_SMOOTHING = 1 / 10, 4.0  # the Gaussian's deviation: a share of a tile's side, and the most pixels
LARGEST_FILTER = 12  # pixels a side: a tile of no more shows a filter, whose colours are meant

#: What a figure says of its tone, for a reader who knows nothing of it.
TONE_WORDS: dict[Tone, str] = {
    "soft": "grey is zero, brightness as it is, colours smoothed",
    "symmetric": "grey is zero, each colour as it is",
    "shared": "grey is zero, one scale for all tiles",
    "grey": "grey is zero, the mean of the colours",
    "minmax": "from the smallest value to the largest",
    "positive": "black is zero and below",
    "magnitude": "black is zero, size without sign",
    "sigmoid": "grey is zero, faint values lifted",
}


def tone_text(tone: Tone, percentile: float | None = None) -> str:
    """Return what a figure says of its tone: "tone soft: grey is zero, brightness as it is, colours smoothed".

    A percentile is named where it is not the tone's own.
    """
    ends = "" if percentile is None else f", the scale ends at {percentile:g} % of the values"
    return f"tone {tone}: {TONE_WORDS[tone]}{ends}"


def check_percentile(percentile: float | None) -> None:
    """Raise `OptionError` unless a tone's scale can end at this percentile."""
    if percentile is not None and not 0 < percentile <= 100:
        raise OptionError(f"percentile cannot be {percentile!r}: it is above 0 and at most 100.")


def tone_percentile(tone: Tone) -> float:
    """Return the percentile of |x| that a tone is scaled by unless another one is asked for."""
    return 98.0 if tone == "soft" else 99.5


def apply_tone(
    crops: Sequence[npt.NDArray[np.floating]],
    tone: Tone = "soft",
    *,
    percentile: float | None = None,
    inside: Sequence[Window | None] | None = None,
) -> list[Pixels]:
    """Turn projections into pixels that can be shown.

    Args:
        crops: projections (C, h, w) of any sign and size. Three channels are shown as colours, any other number of channels as
            the grey of their mean.
        tone: how values become pixels. The scale s of a crop is a percentile of |x|.
            "soft": symmetric, of the mean over the channels and the smoothed differences from it: brightness at full
                resolution without the colour noise of stride and pooling. The deviation of the Gaussian is a tenth of the
                longer side, 4 pixels at most; filters, up to 12 pixels a side, keep their colours as they are.
            "symmetric": zero is mid-grey, -s black, s white: each colour as it is.
            "shared": symmetric with one scale for all crops, so that brightness can be compared.
            "grey": symmetric, of the mean over the channels: brightness alone.
            "minmax": the smallest value is black, the largest white; zero may be any grey.
            "positive": zero and everything below is black, s white.
            "magnitude": the largest |x| over the channels, as a grey: zero is black, s white.
            "sigmoid": as symmetric, with faint values lifted (Mahendran & Vedaldi, ECCV 2016).
        percentile: of |x| inside the frame, above 0 and at most 100; None: that of `tone_percentile`. Where |x| is zero
            there, the largest |x| is the scale instead: a few pixels on nothing.
        inside: for each crop the part that lies in the frame, in the crop's rows and columns; None: all of it.

    Returns:
        (h, w, 3), 0..255, for each crop. Infinities are clipped to the ends of the scale, a NaN is magenta.

    Raises:
        OptionError: the tone is unknown, or the percentile out of its range.

        >>> apply_tone([np.array([[[-2.0, 0.0, 2.0]]])], "symmetric")[0][0, :, 0]
        array([  0, 128, 255], dtype=uint8)
    """
    check_option("tone", tone, TONES)
    check_percentile(percentile)
    percentile = tone_percentile(tone) if percentile is None else percentile
    values = [_channels_to_show(crop, grey=tone == "grey") for crop in crops]
    if tone == "soft":
        values = [_smooth_colours(crop) for crop in values]
    scaled_by = [_finite_inside(crop, window) for crop, window in zip(values, inside or [None] * len(values), strict=True)]
    if tone == "shared" and values:
        scaled_by = [np.concatenate(scaled_by)] * len(values)
    return [_to_pixels(_TO_GREYS[tone](crop, inner, percentile)) for crop, inner in zip(values, scaled_by, strict=True)]


def _symmetric(crop: Values, inner: Values, percentile: float) -> Values:
    """Zero is mid-grey, the scale's ends are black and white; a crop of zeros is mid-grey."""
    return 127.5 + 127.5 * _scaled(crop, inner, percentile)


def _sigmoid(crop: Values, inner: Values, percentile: float) -> Values:
    """As symmetric, but bent: the scale's ends are drawn at 1 % and 99 % (Mahendran & Vedaldi, ECCV 2016)."""
    return 255 / (1 + 99.0 ** -_scaled(crop, inner, percentile))


def _minmax(crop: Values, inner: Values, percentile: float) -> Values:
    """The smallest value is black, the largest white; a constant is mid-grey."""
    low, high = (float(inner.min()), float(inner.max())) if inner.size else (0.0, 0.0)
    if high == low:
        return np.where(np.isnan(crop), crop, 127.5)
    return (np.clip(crop, low, high) - low) / (high - low) * 255


def _positive(crop: Values, inner: Values, percentile: float) -> Values:
    """Zero and everything below is black, the scale's end white."""
    return 255 * _scaled(np.maximum(crop, 0), np.maximum(inner, 0), percentile)


def _magnitude(crop: Values, inner: Values, percentile: float) -> Values:
    """The largest |x| over the channels, as a grey: zero is black, the scale's end white."""
    return 255 * _scaled(np.abs(crop).max(axis=2, keepdims=True), inner, percentile)


def _smooth_colours(crop: Values) -> Values:
    """Return (h, w, 3) with the differences from the mean over the channels smoothed; a bad number stays at its pixel."""
    if crop.shape[2] == 1 or max(crop.shape[:2]) <= LARGEST_FILTER:
        return crop
    with np.errstate(invalid="ignore"):
        mean = crop.mean(axis=2, keepdims=True)
        differences = np.nan_to_num(crop - mean, posinf=0, neginf=0)
    deviation = min(SMOOTHING * max(crop.shape[:2]), LARGEST_SMOOTHING)
    down, across = (_smoothing(length, deviation) for length in crop.shape[:2])
    smoothed: Values = np.moveaxis(down @ np.moveaxis(differences, 2, 0) @ across.T, 0, 2)
    return mean + smoothed


@lru_cache(maxsize=64)
def _smoothing(length: int, deviation: float) -> Values:
    """Return the matrix (length, length) that smooths a row by a Gaussian, the row continued by its reflection."""
    reach = max(1, round(4 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    extended = np.pad(np.eye(length), ((reach, reach), (0, 0)), mode="symmetric")
    matrix: Values = sum(weight * extended[start : start + length] for start, weight in enumerate(weights / weights.sum()))
    return matrix


#: tone -> what turns a crop (h, w, C), the finite values inside its frame and the percentile into 0..255, not yet rounded.
_TO_GREYS: dict[Tone, Callable[[Values, Values, float], Values]] = {
    "soft": _symmetric,
    "symmetric": _symmetric,
    "shared": _symmetric,
    "grey": _symmetric,
    "minmax": _minmax,
    "positive": _positive,
    "magnitude": _magnitude,
    "sigmoid": _sigmoid,
}


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


def _scale(inner: Values, percentile: float) -> float:
    """Return the percentile of |x|, the maximum where that is zero, and 0 where all values are zero."""
    sizes = np.abs(inner)
    return float(np.percentile(sizes, percentile) or sizes.max()) if sizes.size else 0.0


def _scaled(crop: Values, inner: Values, percentile: float) -> Values:
    """Return the crop on the scale -1..1; NaN stays NaN."""
    limit = _scale(inner, percentile)
    return np.clip(crop, -limit, limit) / limit if limit else np.where(np.isnan(crop), crop, 0.0)


def _to_pixels(greys: Values) -> Pixels:
    """(h, w, 1 or 3) on the scale 0..255 -> (h, w, 3), rounded, halves to the even number."""
    pixels = np.rint(np.nan_to_num(greys)).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    pixels[np.isnan(greys).any(axis=2)] = NAN_COLOUR
    return pixels
