"""Whatever upsampling cannot do is refused in one line that says what was asked, what was found, and what to do."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.errors import MissingPackageError, OptionError, UnitError
from deconvnet.upsampling import (
    UPSAMPLERS,
    adaptive,
    block_pooling,
    blurs,
    caffe,
    checkerboard,
    deblur,
    deconvolution,
    dictionary_learning,
    fcn,
    metrics,
    segment,
    sparse,
    transposed,
    unpooling,
)
from deconvnet.upsampling.adaptive_learning import learn
from deconvnet.upsampling.comparison import COMPARABLE_METHODS, compare, map_of
from deconvnet.upsampling.dictionary import Dictionary, from_layer
from deconvnet.upsampling.segmenter import Segmenter

SMALL, SWITCHES = unpooling.max_pool(torch.linspace(0, 1, 96).view(1, 2, 6, 8), 2)  # (1, 2, 3, 4)
PICTURE = torch.linspace(0, 1, 81).view(1, 1, 9, 9)
SQUARE = torch.zeros(1, 1, 2, 2)
LARGE = torch.linspace(0, 1, 256).view(1, 1, 16, 16)
EDGES = torch.zeros(1, 3, 8, 8)
FILTERS = (torch.ones(6, 3, 5, 5), torch.ones(8, 3, 3, 3))
POOLED, BLOCK_SWITCHES = block_pooling.pool(torch.ones(1, 6, 8, 8))
ATOMS = Dictionary(torch.ones(2, 1, 3, 3))


def unpool(small=SMALL, size=(6, 8), **options):
    return unpooling.to_switches(small, size, switches=SWITCHES, **options)


def convolve(filters, **options):
    return transposed.transposed_convolution(SMALL, (6, 8), filters=filters, **options)


def layer(**options):
    return caffe.DeconvolutionLayer(**{"channels": 3, "num_output": 3, "kernel_size": 3, **options})


CASES = {
    # inputs that all upsamplers check
    "no batch": (
        lambda: UPSAMPLERS["nearest"](torch.zeros(4, 5), (8, 10)),
        "expected a float tensor (N, C, H, W), found (4, 5) of float32. Pass a single map as map[None, None].",
    ),
    "no floats": (
        lambda: UPSAMPLERS["bicubic"](torch.zeros(1, 1, 4, 5, dtype=torch.int64), (8, 10)),
        "expected a float tensor (N, C, H, W), found (1, 1, 4, 5) of int64. Pass a single map as map[None, None].",
    ),
    "no size": (
        lambda: UPSAMPLERS["bilinear"](SMALL, (8, 0)),
        "size cannot be (8, 0): give the height and width to upsample to, in pixels, such as (96, 128).",
    ),
    "blocks do not fill": (
        lambda: UPSAMPLERS["unpool-top-left"](SMALL, (9, 9), stride=2),
        "cannot upsample 3x4 to 9x9 by blocks of 2x2: they do not fill it. "
        "Give a size that is the map's times the stride, or less than one block short of it.",
    ),
    # unpooling
    "switches of another size": (
        lambda: unpool(size=(6, 7)),
        "these switches go from 1x2x3x4 to 6x8, not from 1x2x3x4 to 6x7. Pool a map of the size to upsample to.",
    ),
    "switches of other channels": (
        lambda: unpool(SMALL[:, :1]),
        "these switches go from 1x2x3x4 to 6x8, not from 1x1x3x4 to 6x8. Pool a map of the size to upsample to.",
    ),
    "overlap": (lambda: unpool(overlap="first"), "overlap cannot be 'first': it is one of sum, last."),
    # transposed convolution
    "filters of other channels": (
        lambda: convolve(torch.zeros(3, 1, 2, 2)),
        "filters of shape (3, 1, 2, 2) in 1 groups do not fit 2 channels. Give (C', C / groups, kh, kw), or (kh, kw) for all.",
    ),
    "form": (
        lambda: convolve(torch.zeros(2, 2), form="scater"),
        "form cannot be 'scater': it is one of torch, scatter, zeros, sub-pixel. Did you mean 'scatter'?",
    ),
    "divide": (
        lambda: convolve(torch.zeros(2, 2), divide="cuont"),
        "divide cannot be 'cuont': it is one of nothing, count, gain. Did you mean 'count'?",
    ),
    # Caffe
    "pad": (
        lambda: layer(channels=1, num_output=1, pad=2)(torch.zeros(1, 1, 1, 2)),
        "pad (2, 2) leaves nothing of 1x2: the output would be -1x0. Give less padding.",
    ),
    "group": (lambda: layer(num_output=4, group=2), "group cannot be 2: it must divide the 3 inputs and the 4 outputs."),
    "filler": (
        lambda: layer(weight_filler="bilinaer"),
        "weight_filler cannot be 'bilinaer': it is one of constant, bilinear, gaussian. Did you mean 'bilinear'?",
    ),
    "blob": (
        lambda: caffe.bilinear_filler((1, 1, 3, 4)),
        "the bilinear filler cannot fill a blob of shape (1, 1, 3, 4). Give (inputs, outputs / group, k, k).",
    ),
    "Caffe's two factors": (
        lambda: caffe.upsample(SQUARE, (4, 6)),
        "Caffe's recipe cannot upsample by 2 rows and 3 columns at once. Give a size with one factor for both.",
    ),
    # FCN
    "tap": (lambda: fcn.bilinear_filter(0), "kernel cannot be 0: a filter has at least one tap."),
    "FCN's factor": (lambda: fcn.bilinear_geometry(0), "factor cannot be 0: give a whole number of at least 1."),
    "FCN's two factors": (
        lambda: fcn.upsample(SQUARE, (4, 6)),
        "FCN's square filter cannot upsample by 2 rows and 3 columns at once. Give a size with one factor for both.",
    ),
    # checkerboards
    "stride": (
        lambda: checkerboard.checkerboard_energy(torch.zeros(1, 1, 3, 8), 4),
        "a map of 3x8 is smaller than the stride, 4x4. Give a larger map.",
    ),
    # the comparison
    "method": (
        lambda: compare(LARGE, methods=["transposed-fnc"]),
        f"method cannot be 'transposed-fnc': it is one of {', '.join(COMPARABLE_METHODS)}. "
        "Did you mean 'transposed-fcn' or 'transposed' or 'transposed-even'?",
    ),
    "factor of one": (lambda: compare(LARGE, factors=[1]), "factors cannot be [1]: give whole numbers of at least 2."),
    "no factor": (lambda: compare(LARGE, factors=[]), "factors cannot be []: give whole numbers of at least 2."),
    "too small": (
        lambda: compare(LARGE[..., :1, :1], factors=[2, 4]),
        "a map of 1x1 is too small for factors of 2 and 4. Give a larger map, or smaller factors.",
    ),
    "too many taps": (
        lambda: compare(torch.rand(1, 1, 400, 400), methods=["transposed-learned"], factors=[400]),
        "factor cannot be 400 with transposed-learned: its 800x800 filter takes 3,052 GiB to fit, more than this machine has. "
        "Give a smaller factor, or leave that method out.",
    ),
    "two maps": (
        lambda: compare(torch.rand(2, 1, 8, 8)),
        "one map at a time is compared, found 2. Give (1, C, H, W).",
    ),
    "flat": (
        lambda: compare(torch.full((1, 1, 8, 8), 0.5)),
        "the map is 0.5 everywhere: there is nothing to compare. Give another channel or picture.",
    ),
    "pool": (lambda: compare(LARGE, pool="maximum"), "pool cannot be 'maximum': it is one of max, mean. Did you mean 'max'?"),
    "kernel": (
        lambda: compare(LARGE, factors=[4], kernel=3),
        "kernel cannot be 3: give at least the factor, 4, and less than twice the map's shorter side.",
    ),
    # nets for segmentation
    "unpooling": (lambda: segment.run(unpoolings=["max"]), "unpooling cannot be 'max': it is one of switch, fixed, nearest."),
    "unpooling of a net": (lambda: Segmenter("max"), "unpooling cannot be 'max': it is one of switch, fixed, nearest."),
    "no unpooling": (
        lambda: segment.run(unpoolings=[]),
        "cannot compare unpoolings [] with seeds [0]. Give at least one of each, none twice.",
    ),
    "seeds twice": (
        lambda: segment.run(seeds=(1, 1)),
        "cannot compare unpoolings ['switch', 'fixed', 'nearest'] with seeds [1, 1]. Give at least one of each, none twice.",
    ),
    "no step": (
        lambda: segment.run(steps=0),
        "cannot train 0 steps on 140 drawings of 64 pixels. Give at least one step, 8 drawings and 16 pixels.",
    ),
    "few drawings": (
        lambda: segment.run(drawings=7),
        "cannot train 400 steps on 7 drawings of 64 pixels. Give at least one step, 8 drawings and 16 pixels.",
    ),
    # blurs
    "sigma": (lambda: blurs.gaussian_blur(0), "sigma cannot be 0: give the blur's standard deviation, above 0 pixels."),
    "length": (lambda: blurs.motion_blur(0), "length cannot be 0: give 1 pixel or more."),
    "box": (lambda: blurs.box_blur(0), "factor cannot be 0: give 1 pixel or more."),
    "even blur": (
        lambda: blurs.convolve(PICTURE, torch.full((2, 2), 0.25)),
        "expected a blur (kh, kw) with odd sides, so that it has a centre, found (2, 2). Pad it with zeros.",
    ),
    "blur's sum": (
        lambda: blurs.convolve(PICTURE, torch.ones(3, 3)),
        "expected a blur that is not negative and sums to 1, found a sum of 9. Divide it by that.",
    ),
    "large blur": (
        lambda: blurs.convolve(PICTURE[:, :, :4], blurs.box_blur(5), border="none"),
        "the blur of 5x5 is larger than the picture. Give a border, or a larger picture.",
    ),
    "reflect": (
        lambda: blurs.convolve(PICTURE[:, :, :2], blurs.box_blur(5)),
        "a picture of 2x9 cannot be extended by 2x2 with 'reflect'. Use 'edge'.",
    ),
    "border": (
        lambda: blurs.convolve(PICTURE, blurs.box_blur(3), border="white"),
        "border cannot be 'white': it is one of reflect, edge, circular, zero, none.",
    ),
    "border of an extension": (
        lambda: blurs.extend(PICTURE, (1, 1), "none"),
        "border cannot be 'none': it is one of reflect, edge, circular, zero.",
    ),
    # deconvolution
    "balance": (
        lambda: deconvolution.wiener(PICTURE, (9, 9), balance=0),
        "balance cannot be 0: give a number above 0, or noise would be all that is left.",
    ),
    "negative": (
        lambda: deconvolution.richardson_lucy(-PICTURE, (9, 9)),
        "richardson-lucy takes no negative values. Give a picture in 0..1 or a rectified map.",
    ),
    "iterations": (
        lambda: deconvolution.richardson_lucy(PICTURE, (9, 9), iterations=0),
        "iterations cannot be 0: give 1 or more.",
    ),
    "small scene": (
        lambda: deblur.run(torch.rand(1, 3, 30, 30), blurs.box_blur(13)),
        "a scene of 30x30 is too small for a blur of 13x13: a sixth is cut off on every side. "
        "Give a scene of at least three times the blur.",
    ),
    # sparse coding
    "atoms": (
        lambda: Dictionary(torch.rand(3, 5, 5)),
        "a dictionary takes atoms (M, C, kh, kw), found (3, 5, 5). Pass a single grey atom as atom[None, None].",
    ),
    "gaps": (
        lambda: Dictionary(torch.rand(2, 1, 3, 5), 4),
        "stride cannot be 4: atoms of 3x5 would leave gaps. Give 1 to 3.",
    ),
    "border of codes": (
        lambda: Dictionary(torch.rand(2, 1, 3, 5), border="mirror"),
        "border cannot be 'mirror': it is one of circular, zero.",
    ),
    "circular": (
        lambda: Dictionary(torch.rand(2, 1, 4, 4), 2, border="circular").code_size((9, 8)),
        "a circular picture of 9x8 does not fit atoms of 4x4 every 2 pixels. "
        "Crop it to a multiple of the stride, no smaller than an atom.",
    ),
    "no room": (
        lambda: Dictionary(torch.rand(2, 1, 5, 5), padding=0).code_size((4, 8)),
        "a picture of 4x8 has no room for an atom. Give a larger one, or padding.",
    ),
    "codes": (
        lambda: sparse.synthesise(torch.rand(1, 3, 8, 8), (8, 8), dictionary=ATOMS.atoms),
        "these codes are 3x8x8: for 8x8 pixels this dictionary takes 2x8x8.",
    ),
    "penalty": (
        lambda: sparse.encode(PICTURE, ATOMS, penalty=0),
        "penalty cannot be 0: codes that cost nothing are not sparse. Give a number above 0.",
    ),
    "channels": (
        lambda: sparse.encode(EDGES, ATOMS, penalty=1),
        "the picture has 3 channels, and the atoms have 1. Give as many.",
    ),
    "large atoms": (
        lambda: dictionary_learning.learn(EDGES, side=9, penalty=1),
        "cannot learn 32 atoms of 9x9 in 30 rounds from pictures of 8x8. "
        "Give at least one atom and one round, and atoms no larger than a picture.",
    ),
    "no convolution": (
        lambda: from_layer(nn.Linear(2, 2)),
        "a Linear has no filters to take as atoms. Give a Conv2d, such as a net's first layer.",
    ),
    "groups": (
        lambda: from_layer(nn.Conv2d(4, 4, 3, groups=2)),
        "Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), groups=2) cannot be taken as a dictionary. "
        "Give a Conv2d with one stride and one padding for both axes, padded with zeros, without groups or dilation.",
    ),
    # adaptive deconvolution
    "no layer": (lambda: adaptive.infer(EDGES, [], penalty=1), "a model has one layer of filters or more, found none."),
    "layers that do not fit": (
        lambda: adaptive.infer(EDGES, [FILTERS[0], FILTERS[0][:, :2]], penalty=1),
        "the filters of layer 2 are (6, 2, 5, 5): they must be (K, 3, kh, kw) with odd sides.",
    ),
    "penalty of maps": (
        lambda: adaptive.infer(EDGES, FILTERS, penalty=-1),
        "penalty cannot be -1: maps that cost nothing are not sparse. Give a number above 0.",
    ),
    "no switches": (
        lambda: adaptive.reconstruct(POOLED, (8, 8), filters=FILTERS, switches=[]),
        "2 layers of filters take as many switches, found 0.",
    ),
    "switches of other maps": (
        lambda: adaptive.reconstruct(POOLED, (8, 6), filters=FILTERS[:1], switches=[BLOCK_SWITCHES]),
        "these switches go from (3, 4, 4) to 8x8, not from (3, 4, 4) to 8x6. Take those of these maps.",
    ),
    "even side": (
        lambda: learn(EDGES, side=4, penalty=1),
        "cannot learn maps [16, 32] with filters of 4x4 in 20 rounds. "
        "Give at least one map per layer and one round, and an odd side.",
    ),
}


@pytest.mark.parametrize(("call", "text"), CASES.values(), ids=CASES)
def test_refusals(call, text):
    """The whole message is as promised."""
    pytest.importorskip("skimage")
    with pytest.raises(OptionError) as error:
        call()
    assert str(error.value) == text


def test_a_channel_that_the_layer_does_not_have(tiny):
    """The layer, its channels and the one asked for are named."""
    with pytest.raises(UnitError) as error:
        map_of(deconvnet.DeconvNet(tiny), draw("face", seed=3).picture, "features.13", 1000)
    assert str(error.value) == "layer 'features.13' has 64 channels, numbered from 0; found 1000."


@pytest.mark.parametrize(
    ("module", "call", "needed_by"),
    [
        ("skimage.metrics", lambda: metrics.ssim(PICTURE, PICTURE, 1.0), "comparing"),
        ("skimage.metrics", lambda: metrics.psnr(PICTURE, PICTURE, 1.0), "comparing"),
        ("skimage.restoration", lambda: deconvolution.wiener(PICTURE, (9, 9)), "wiener"),
        ("skimage.restoration", lambda: deconvolution.richardson_lucy(PICTURE, (9, 9)), "richardson-lucy"),
    ],
)
def test_a_missing_package(monkeypatch, module, call, needed_by):
    """Without scikit-image the message says what needs it and how it is installed."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "skimage", sys)  # found, but without the module
    with pytest.raises(MissingPackageError) as error:
        call()
    assert str(error.value) == (
        f"{needed_by} needs skimage, which cannot be imported (import of {module} halted; None in sys.modules). "
        'In a checkout: pip install -e ".[upsampling]"'
    )
