"""Transposed convolution: its equal forms, its adjoint, and the filter fitted to a map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from deconvnet.upsampling import unpooling
from deconvnet.upsampling.filter_fitting import fit_filter
from deconvnet.upsampling.transposed import transposed_convolution
from deconvnet.upsampling.transposed_forms import FORMS
from support.upsampling import looped_transposed, noise, quick, seeds, transposed_convolutions


@quick
@given(transposed_convolutions())
def test_equal_forms(drawn):
    """torch's own, scatter, zero insertion with flipped filters, sub-pixel convolution and plain loops give the same sums."""
    small, filters, stride, padding, dilation, groups, extra = drawn
    expected = F.conv_transpose2d(small, filters, None, stride, padding, extra, groups, dilation)
    size = tuple(expected.shape[2:])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for form in FORMS:
        result = transposed_convolution(small, size, filters=filters, form=form, **geometry)
        torch.testing.assert_close(result, expected, atol=1e-10, rtol=0, msg=form)
    looped = looped_transposed(small.numpy(), filters.numpy(), stride, padding, dilation, groups, size)
    np.testing.assert_allclose(expected.numpy(), looped, atol=1e-10)


def test_equal_forms_in_float32():
    """In single precision the forms agree to 1e-6 of the largest value, at a size that people use."""
    small, filters = noise(1, 16, 14, 14).float(), noise(16, 8, 5, 5, seed=1).float()
    results = [transposed_convolution(small, (28, 28), filters=filters, form=form) for form in FORMS]
    for result in results[1:]:
        assert (result - results[0]).abs().max() <= 1e-6 * results[0].abs().max()


@quick
@given(transposed_convolutions())
def test_zero_insertion_is_what_the_text_says(drawn):
    """Enlarge, fill with zeros, convolve with flipped filters padded by dilation * (k - 1) - padding: a transposed convolution."""
    small, filters, stride, padding, dilation, groups, _ = drawn
    edge = [d * (k - 1) - p for d, k, p in zip(dilation, filters.shape[2:], padding, strict=True)]
    assume(min(edge) >= 0)
    spaced = small.new_zeros((*small.shape[:2], (small.shape[2] - 1) * stride[0] + 1, (small.shape[3] - 1) * stride[1] + 1))
    spaced[:, :, :: stride[0], :: stride[1]] = small
    parts = [
        F.conv2d(part, block.flip(2, 3).transpose(0, 1), padding=edge, dilation=dilation)
        for part, block in zip(spaced.chunk(groups, 1), filters.chunk(groups, 0), strict=True)
    ]
    expected = F.conv_transpose2d(small, filters, None, stride, padding, 0, groups, dilation)
    torch.testing.assert_close(torch.cat(parts, 1), expected, atol=1e-10, rtol=0)


@quick
@given(transposed_convolutions())
def test_transposed_is_the_backward_pass_of_a_convolution(drawn):
    """It equals autograd's gradient of the convolution with the same filters, and is its adjoint: <conv x, y> = <x, y painted>."""
    small, filters, stride, padding, dilation, groups, extra = drawn
    size = tuple(F.conv_transpose2d(small, filters, None, stride, padding, extra, groups, dilation).shape[2:])
    x = noise(len(small), filters.shape[1] * groups, *size, seed=5).requires_grad_()
    y = F.conv2d(x, filters, None, stride, padding, dilation, groups)
    assume(y.shape == small.shape)  # more output padding than the stride makes windows that no value came from
    (y * small).sum().backward()
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    large = transposed_convolution(small, size, filters=filters, **geometry)
    torch.testing.assert_close(large, x.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close((y * small).sum(), (x * large).sum(), atol=1e-9, rtol=0)


def test_it_does_not_undo_the_convolution():
    """A "deconvolution" is no inverse: painting what a convolution made does not give back what it was made of."""
    x, filters = noise(1, 1, 8, 8), noise(1, 1, 3, 3, seed=1)
    back = transposed_convolution(F.conv2d(x, filters, padding=1), (8, 8), filters=filters, stride=1, padding=1)
    assert (back - x).norm() > x.norm()


def test_one_filter_for_all_channels():
    """A filter (k, k) serves each channel by itself, and the small map's type is kept."""
    small, taps = noise(2, 3, 4, 5).float(), noise(3, 3)
    result = transposed_convolution(small, (8, 10), filters=taps)
    alone = [transposed_convolution(small[:, c : c + 1], (8, 10), filters=taps[None, None]) for c in range(3)]
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, torch.cat(alone, 1))


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 4), (3, 5), (4, 7), (4, 8)])
def test_filters_stand_in_the_middle_of_their_blocks(stride, kernel):
    """Without padding given, a symmetric filter's picture of one value is centred on its block, to half a pixel."""
    small = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    small[0, 0, 2, 2] = 1
    large = transposed_convolution(small, (5 * stride, 5 * stride), filters=torch.ones(kernel, kernel))[0, 0]
    rows = torch.arange(len(large), dtype=torch.float64)
    assert abs(float((large.sum(1) * rows).sum() / large.sum()) - (2 * stride + (stride - 1) / 2)) <= 0.5


@quick
@given(st.integers(1, 4), st.integers(1, 6), seeds)
def test_learned_filter_is_the_one_that_painted(stride, kernel, seed):
    """The least-squares filter finds back the filter that a large map was painted with, or one as good."""
    taps, small = noise(kernel, kernel, seed=seed), noise(2, 2, 7, 8, seed=seed + 1)
    large = transposed_convolution(small, (7 * stride, 8 * stride), filters=taps, stride=stride)
    result = fit_filter(small, large, kernel)
    torch.testing.assert_close(
        transposed_convolution(small, large.shape[2:], filters=result, stride=stride), large, atol=1e-8, rtol=0
    )


def test_learned_filter_cannot_be_bettered():
    """Its residual stands at a right angle to what any change of a tap would do: the normal equations hold."""
    large = noise(1, 3, 16, 20, positive=True)
    small, _ = unpooling.max_pool(large, 2)
    result = fit_filter(small, large, 4)
    residual = transposed_convolution(small, (16, 20), filters=result) - large
    for row, col in itertools.product(range(4), range(4)):
        tap = torch.zeros(4, 4, dtype=torch.float64)
        tap[row, col] = 1
        assert abs(float((residual * transposed_convolution(small, (16, 20), filters=tap)).sum())) < 1e-8
