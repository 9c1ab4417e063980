"""All upsampling methods by name."""

from __future__ import annotations

from functools import partial

from . import adaptive, caffe, deconvolution, fcn, interpolation, sparse, unpooling
from .base import Upsampler
from .transposed import transposed_convolution

#: Name -> upsampler. The names are those of `deconvnet upsample --ways`.
UPSAMPLERS: dict[str, Upsampler] = {
    "nearest": interpolation.nearest,
    "bilinear": interpolation.bilinear,
    "bicubic": interpolation.bicubic,
    "unpool-top-left": unpooling.to_top_left,
    "unpool-centre": unpooling.to_centre,
    "unpool-nearest": unpooling.to_whole_block,
    "unpool-switches": unpooling.to_switches,
    "unpool-last": partial(unpooling.to_switches, overlap="last"),
    "transposed": transposed_convolution,
    "transposed-even": partial(transposed_convolution, divide="count"),
    "transposed-learned": transposed_convolution,
    "transposed-fcn": fcn.upsample,
    "transposed-caffe": caffe.upsample,
    "sparse": sparse.synthesise,
    "adaptive": adaptive.reconstruct,
    "wiener": deconvolution.wiener,
    "richardson-lucy": deconvolution.richardson_lucy,
}
