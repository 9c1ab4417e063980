"""Ways of going up: from a small map to a large one, a way a file, all with one signature.

    way(small, size, **needs) -> large

`small` is (N, C, H', W'), floats of any range on any device; `size` is (H, W) in pixels; `large` is (N, C, H, W) in the same
range. What a way needs beside these comes by keyword, under the same name everywhere:

    switches    where the maxima of a max pool stood, as `unpool.max_pool` returns them
    filters     (C, C / groups, k, k), of a transposed convolution: torch's layout, which is Caffe's too
    stride      how many pixels apart the small map's values are in the large one; by default as the two sizes say
    blur        (k, k), non-negative, sums to 1: what the large picture was convolved with before it was made small
    dictionary  (M, C, k, k), atoms of unit norm: what sparse codes are written in

"sparse" and "adaptive" go up from codes, (N, M, H', W'), that were found by looking at the large picture; the switches and
filters of "adaptive" are one for each of its layers. A way whose every keyword has a default goes up without help. Those that
use scikit-image import it when called. `compare.py` lays the ways side by side: `deconvnet upsample`.

    >>> from deconvnet.upsampling import WAYS
    >>> WAYS["bilinear"](torch.rand(1, 3, 24, 32), (48, 64)).shape
    torch.Size([1, 3, 48, 64])
"""

from __future__ import annotations

from functools import partial

from . import adaptive, bilinear, caffe, deconvolve, interpolate, sparse, transpose, unpool
from .base import Upsampler

#: Name -> way. The name is that of `deconvnet upsample --ways`.
WAYS: dict[str, Upsampler] = {
    "nearest": interpolate.nearest,
    "bilinear": interpolate.bilinear,
    "bicubic": interpolate.bicubic,
    "unpool-top-left": unpool.top_left,
    "unpool-centre": unpool.centre,
    "unpool-nearest": unpool.repeated,
    "unpool-switches": unpool.switched,
    "unpool-last": partial(unpool.switched, overlap="last"),
    "transposed": transpose.transposed,
    "transposed-even": partial(transpose.transposed, divide="count"),
    "transposed-learned": transpose.transposed,
    "transposed-fcn": bilinear.fcn,
    "transposed-caffe": caffe.deconvolution,
    "sparse": sparse.synthesise,
    "adaptive": adaptive.reconstruct,
    "wiener": deconvolve.wiener,
    "richardson-lucy": deconvolve.richardson_lucy,
}
