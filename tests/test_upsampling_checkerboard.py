"""Checkerboards: counted by loops, measured against the spectrum, and divided out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from deconvnet.upsampling import fcn, unpooling
from deconvnet.upsampling.checkerboard import checkerboard_energy, overlap_count
from deconvnet.upsampling.transposed import transposed_convolution
from deconvnet.upsampling.transposed_forms import canvas_size
from support.upsampling import noise, pairs, quick, seeds, transposed_convolutions


@quick
@given(pairs, pairs, pairs, pairs)
def test_overlap_count_equals_loops(size, kernel, stride, dilation):
    """The overlap count is how many taps reach a pixel."""
    full = canvas_size(size, kernel, stride, dilation)
    expected = np.zeros(full)
    for row, col, u, v in itertools.product(*map(range, (*size, *kernel))):
        expected[row * stride[0] + u * dilation[0], col * stride[1] + v * dilation[1]] += 1
    np.testing.assert_array_equal(overlap_count(size, kernel, stride, 0, dilation).numpy(), expected)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (4, 2), (7, 2), (11, 4), (8, 4), (5, 3), (6, 3), (2, 3)])
def test_overlap_is_even_where_the_stride_divides_the_kernel(kernel, stride):
    """Away from the border all pixels are reached alike if, and only if, the kernel is divisible by the stride."""
    count = overlap_count((12, 12), kernel, stride)[kernel : 12 * stride - kernel, kernel : 12 * stride - kernel]
    assert (count.unique().numel() == 1) == (kernel % stride == 0)
    assert checkerboard_energy(count[None, None], stride) == (0 if kernel % stride == 0 else pytest.approx(1, abs=0.05))


@quick
@given(st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 4), st.integers(1, 4), seeds)
def test_checkerboard_energy_is_a_share_of_the_spectrum(periods, down, across, seed):
    """The energy equals the share of the power spectrum, without its mean, at multiples of 1 / stride."""
    height, width = periods[0] * down, periods[1] * across
    assume(height * width > 1)
    x = noise(1, 1, height, width, seed=seed)
    power = np.abs(np.fft.fft2(x[0, 0].numpy())) ** 2
    power[0, 0] = 0
    expected = power[:: periods[0], :: periods[1]].sum() / power.sum()
    assert checkerboard_energy(x, (down, across)) == pytest.approx(expected, abs=1e-10)


def test_checkerboard_energy_of_plain_cases():
    """Nothing has none, flat has none, a flat bed of nails and a chess board are nothing else, and noise has little."""
    assert checkerboard_energy(torch.zeros(1, 1, 8, 8), 2) == 0
    assert checkerboard_energy(torch.full((1, 3, 8, 8), 0.3), 2) == 0
    assert checkerboard_energy(unpooling.to_top_left(torch.ones(1, 1, 4, 4), (8, 8)), 2) == pytest.approx(1)
    chess = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    assert checkerboard_energy(chess[None, None].float(), 2) == pytest.approx(1)
    assert checkerboard_energy(chess[None, None].float(), 3) < 0.1
    assert checkerboard_energy(noise(1, 1, 64, 64), 2) < 0.01


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 3), (11, 4)])
def test_overlaps_can_be_divided_out(kernel, stride):
    """A box that the stride does not divide paints a checkerboard on a flat map; divided by the count, it is flat again."""
    small, size = torch.ones(1, 2, 6, 6, dtype=torch.float64), (6 * stride, 6 * stride)
    box = torch.full((kernel, kernel), (stride / kernel) ** 2, dtype=torch.float64)
    uneven = transposed_convolution(small, size, filters=box)
    assert checkerboard_energy(uneven, stride) > 0.3
    torch.testing.assert_close(transposed_convolution(small, size, filters=box, divide="count"), torch.ones_like(uneven))


@quick
@given(transposed_convolutions())
def test_dividing_by_the_gain_keeps_flat_maps_flat(drawn):
    """Divided by what the taps add up to, a flat map comes back with its value wherever any weight reaches."""
    small, filters, stride, padding, dilation, groups, _ = drawn
    filters = filters.abs() + 0.1
    size = tuple(F.conv_transpose2d(small, filters, None, stride, padding, 0, groups, dilation).shape[2:])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    large = transposed_convolution(torch.full_like(small, 3.0), size, filters=filters, divide="gain", **geometry)
    reached = transposed_convolution(torch.ones_like(small), size, filters=filters, **geometry) > 0
    torch.testing.assert_close(large, torch.where(reached, 3.0, 0.0).to(large))


def test_bilinear_filters_of_odd_kernels_need_no_dividing():
    """Their counts are uneven, their weights even: dividing by the count makes the pattern that it should take away."""
    small, size = torch.ones(1, 1, 8, 8, dtype=torch.float64), (24, 24)
    taps = fcn.bilinear_filter(5)
    inside = (..., slice(3, -3), slice(3, -3))
    assert checkerboard_energy(transposed_convolution(small, size, filters=taps)[inside], 3) == pytest.approx(0, abs=1e-12)
    divided = transposed_convolution(small, size, filters=taps, divide="count")[inside]
    assert checkerboard_energy(divided, 3) > 0.9
