"""Caffe's deconvolution layer: its sizes, its filters, its fillers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given

from deconvnet.upsampling import caffe, fcn
from support.upsampling import looped_transposed, noise, quick, transposed_convolutions


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "dilation", "expected"),
    [
        (1, 1, 1, 0, 1, 1),
        (5, 3, 1, 0, 1, 7),
        (5, 3, 1, 1, 1, 5),
        (7, 4, 2, 1, 1, 14),  # FCN's factor 2
        (16, 4, 2, 0, 1, 34),  # FCN-8s upscore2, without padding
        (70, 16, 8, 0, 1, 568),  # FCN-8s upscore8
        (34, 16, 8, 0, 1, 280),
        (10, 64, 32, 0, 1, 352),  # FCN-32s
        (1, 7, 1, 0, 1, 7),  # Noh's fc6-deconv
        (5, 3, 1, 0, 2, 9),
        (5, 3, 2, 2, 3, 11),
        (1, 2, 3, 0, 4, 5),
    ],
)
def test_caffe_size(size, kernel, stride, pad, dilation, expected):
    """The size formula gives Caffe's numbers, and the layer's output has that size."""
    assert caffe.output_size(size, kernel, stride, pad, dilation) == expected
    layer = caffe.DeconvolutionLayer(1, num_output=1, kernel_size=kernel, stride=stride, pad=pad, dilation=dilation)
    assert layer(torch.zeros(1, 1, size, size)).shape == (1, 1, expected, expected)


@quick
@given(transposed_convolutions())
def test_caffe_layer_equals_loops(drawn):
    """The layer equals its definition in loops - each input times its filter, summed over the outputs - plus its bias."""
    small, filters, stride, padding, dilation, groups, _ = drawn
    kernel = tuple(filters.shape[2:])
    layer = caffe.DeconvolutionLayer(
        small.shape[1],
        num_output=filters.shape[1] * groups,
        kernel_size=kernel,
        stride=stride,
        pad=padding,
        dilation=dilation,
        group=groups,
    ).double()
    with torch.no_grad():
        layer.weight.copy_(filters)
        layer.bias.copy_(noise(*layer.bias.shape, seed=9))
    size = tuple(map(caffe.output_size, small.shape[2:], kernel, stride, padding, dilation))
    looped = looped_transposed(small.numpy(), filters.numpy(), stride, padding, dilation, groups, size)
    expected = looped + layer.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(layer(small).detach().numpy(), expected, atol=1e-10)


def test_caffe_weights_are_torchs():
    """A Caffe blob can be loaded into torch's layer as it is, groups and all."""
    layer = caffe.DeconvolutionLayer(6, num_output=4, kernel_size=(3, 2), stride=2, pad=1, group=2, weight_filler="gaussian")
    twin = torch.nn.ConvTranspose2d(6, 4, (3, 2), stride=2, padding=1, groups=2)
    twin.load_state_dict(layer.state_dict())
    small = noise(2, 6, 5, 4).float()
    torch.testing.assert_close(layer(small), twin(small))
    assert 0.005 < layer.weight.std() < 0.02


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6, 7, 16])
def test_bilinear_filler(kernel):
    """The filler equals its formula, position by position, for every pair of an input and an output; and FCN's own formula."""
    f = math.ceil(kernel / 2.0)
    c = (2 * f - 1 - f % 2) / (2.0 * f)  # as it is for the kernels of the recipe, 2 f - f % 2
    blob = caffe.bilinear_filler((2, 3, kernel, kernel))
    for y, x in itertools.product(range(kernel), range(kernel)):
        centre = (kernel - 1) / (2.0 * f)
        expected = (1 - abs(x / f - centre)) * (1 - abs(y / f - centre))
        np.testing.assert_allclose(blob[:, :, y, x].numpy(), expected, atol=1e-12)
        if kernel == 2 * f - f % 2:
            assert centre == pytest.approx(c)
    torch.testing.assert_close(blob[0, 0], fcn.bilinear_filter(kernel))


def test_caffe_interpolates_only_with_the_bilinear_filler():
    """By default the filters are 0, and so is what comes out; and without groups the bilinear filler adds channels up."""
    small = noise(1, 3, 4, 4).float()
    recipe = {"num_output": 3, "kernel_size": 4, "stride": 2, "pad": 1, "bias_term": False}
    assert not caffe.DeconvolutionLayer(3, **recipe)(small).any()
    grouped = caffe.DeconvolutionLayer(3, **recipe, group=3, weight_filler="bilinear")(small)
    torch.testing.assert_close(grouped, fcn.upsample(small, (8, 8)))
    mixed = caffe.DeconvolutionLayer(3, **recipe, weight_filler="bilinear")(small)
    torch.testing.assert_close(mixed, grouped.sum(1, keepdim=True).expand_as(mixed))
