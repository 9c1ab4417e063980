"""How far what a GPU decodes is from the exact pixels: measured at the start of each scan that uses it, and kept with it.

Decoders differ, by the version of a library and by the card, so that a figure of ours would be worth little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from ..images import Preprocess
from .device_jpegs import DeviceCrops, find_decoder
from .jpegs import LeavesJpegs
from .maxima import MaximaReducer
from .pictures import LoadedPicture, Pictures, Pixels, collate, decode_exactly
from .reading import batched

MEASURED = 64  # pictures that are read in both ways
LOOKED_AT = 256  # pictures among which they are looked for


def measure_difference(reducer: MaximaReducer, pictures: Pictures, preprocess: Preprocess, batch: int) -> dict[str, Any]:
    """Read the first pictures that a GPU decodes in both ways, run both through the net, and compare.

    Args:
        reducer: of the net, on the device.
        pictures: of the scan.
        preprocess: of the net.
        batch: pictures per forward pass.

    Returns:
        "decoder": its name and version; "pictures": how many were read in both ways; "pixels": mean, percentile_99 and maximum
        of the absolute difference of what the net sees, in levels of 255; "maxima": median and percentile_99 of the relative
        difference of the channels' maxima, where the exact ones are above 0; "other_best": the share, 0..1, of the channels
        that fire on these pictures whose strongest one is another. All with three digits; what there is nothing to measure of
        is left out.
    """
    crops = DeviceCrops(preprocess, reducer.device)
    pairs = [pair for part in batched(first_jpegs(pictures, preprocess), batch) for pair in _both_ways(crops, part)]
    measured: dict[str, Any] = {"decoder": find_decoder(reducer.device)[0], "pictures": len(pairs)}
    if pairs:
        levels = np.concatenate([np.abs(_levels(exact) - _levels(decoded)).ravel() for exact, decoded in pairs])
        measured["pixels"] = {"mean": _short(levels.mean()), **_percentile_99(levels), "maximum": _short(levels.max())}
        exact, decoded = (_maxima(reducer, preprocess, pixels, batch) for pixels in zip(*pairs, strict=True))
        fires = exact > 0
        if fires.any():
            relative = np.abs(decoded - exact)[fires] / exact[fires]
            measured["maxima"] = {"median": _short(np.median(relative)), **_percentile_99(relative)}
            other = exact.argmax(0) != decoded.argmax(0)
            measured["other_best"] = _short(other[fires.any(0)].mean())
    return measured


def first_jpegs(pictures: Pictures, preprocess: Preprocess) -> Iterator[LoadedPicture]:
    """Yield the first pictures that a GPU decodes."""
    leaves = LeavesJpegs.of(preprocess)
    loaded = (pictures.load(index, name, leaves) for index, name in enumerate(islice(pictures.names, LOOKED_AT)))
    return islice((picture for picture in loaded if picture.jpeg is not None), MEASURED)


def _both_ways(crops: DeviceCrops, pictures: Sequence[LoadedPicture]) -> Iterator[tuple[Pixels, Pixels]]:
    """Yield (exact, decoded on the device) of pictures, each (H, W, C); without those of which one is missing."""
    decoded = crops.crop([picture.jpeg for picture in pictures if picture.jpeg is not None])
    for picture, pixels in zip(pictures, decoded, strict=True):
        exact = decode_exactly(picture, crops.preprocess).pixels
        if exact is not None and pixels is not None:
            yield exact, pixels


def _levels(pixels: Any) -> npt.NDArray[np.int16]:
    return np.asarray(pixels.cpu() if hasattr(pixels, "cpu") else pixels, np.int16)


def _maxima(reducer: MaximaReducer, preprocess: Preprocess, pixels: Sequence[Pixels], batch: int) -> npt.NDArray[np.float64]:
    """Return the maxima (N, C) of pictures; those that are not finite as 0."""
    parts = [reducer.tensors(collate(part, preprocess, reducer.device))[0] for part in batched(pixels, batch)]
    return np.nan_to_num(np.concatenate([part.cpu().numpy() for part in parts]).astype(np.float64), posinf=0, neginf=0)


def _percentile_99(values: npt.NDArray[Any]) -> dict[str, float]:
    return {"percentile_99": _short(np.percentile(values, 99))}


def _short(value: Any) -> float:
    return float(f"{value:.3g}")
