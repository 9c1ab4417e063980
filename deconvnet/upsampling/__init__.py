"""Upsampling: from a small map to a large one, by methods that all have one signature.

    upsampler(small, size, **inputs) -> large

`small` is (N, C, H', W'), floats of any range on any device; `size` is (H, W) in pixels; `large` is (N, C, H, W). Whatever a
method needs beside these is passed by keyword, under the same name everywhere:

    switches    where the maxima of a max pool were, as `unpooling.max_pool` returns them
    filters     (C, C / groups, kh, kw), of a transposed convolution: torch's layout, which is also Caffe's
    stride      pixels of the large map between neighbouring values of the small one; by default as the two sizes say
    blur        (kh, kw), not negative, sums to 1: the kernel that the large picture was convolved with
    dictionary  (M, C, kh, kw), atoms of norm 1: what sparse codes stand for

"sparse" and "adaptive" start from codes (N, M, H', W') that were found by looking at the large picture; "adaptive" takes a list
of switches and of filters, one for each of its layers. Methods that use scikit-image import it when they are called.
`comparison.compare` lays the methods side by side: `deconvnet upsample`.

    >>> import deconvnet
    >>> deconvnet.upsampling.UPSAMPLERS["bilinear"](torch.rand(1, 3, 24, 32), (48, 64)).shape
    torch.Size([1, 3, 48, 64])

The modules load when they are first used: `deconvnet.upsampling.sparse` needs no import of its own.
"""

from __future__ import annotations

import importlib
from typing import Any

#: Name -> module that it is in.
_HOMES = {
    "UPSAMPLERS": "upsamplers",
    "Upsampler": "base",
    "UpsamplingComparison": "comparison",
    "compare": "comparison",
    "map_of": "comparison",
}

_MODULES = (
    "adaptive", "adaptive_learning", "block_pooling", "blurs", "caffe", "checkerboard", "comparison", "deblur", "deconvolution",
    "dictionary", "dictionary_learning", "fcn", "figures", "filter_fitting", "interpolation", "iou", "metrics", "part_labels",
    "segment", "segmentation", "segmenter", "sparse", "transposed", "unpooling",
)  # fmt: skip

__all__ = ["UPSAMPLERS", "Upsampler", "UpsamplingComparison", "compare", "map_of", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
