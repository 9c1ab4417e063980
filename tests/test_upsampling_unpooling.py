"""Unpooling: against plain loops, and what it keeps of a pooled map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.upsampling import interpolation, unpooling
from support.upsampling import noise, quick, seeds


def looped_pool(x, kernel, stride, padding, dilation):
    """Return the pooled maxima and where each was, (row, col), by plain loops over one map (H, W)."""
    height, width = x.shape
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x.shape, kernel, stride, padding, dilation, strict=True)
    ]
    values, positions = np.zeros(out), {}
    for row, col in itertools.product(*map(range, out)):
        best = None
        for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
            r, c = row * stride[0] - padding[0] + i * dilation[0], col * stride[1] - padding[1] + j * dilation[1]
            if 0 <= r < height and 0 <= c < width and (best is None or x[r, c] > x[best]):
                best = (r, c)
        values[row, col], positions[row, col] = x[best], best
    return values, positions


@st.composite
def pools(draw):
    """Draw a map's size and a pool that fits it: kernel, stride, padding, dilation."""
    kernel, stride = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    size = tuple(draw(st.integers(d * (k - 1) + 1, 8)) for k, d in zip(kernel, dilation, strict=True))
    return size, kernel, stride, padding, dilation


@quick
@given(pools(), seeds)
def test_switched_unpooling_equals_loops(pool, seed):
    """Pooled values go back to where the maxima were, by plain loops: added up, or the last one left."""
    size, kernel, stride, padding, dilation = pool
    x = noise(1, 1, *size, seed=seed)
    small, switches = unpooling.max_pool(x, kernel, stride, padding, dilation)
    values, positions = looped_pool(x[0, 0].numpy(), kernel, stride, padding, dilation)
    np.testing.assert_array_equal(small[0, 0].numpy(), values)
    signal = noise(*small.shape, seed=seed + 1)
    added, last = np.zeros(size), np.zeros(size)
    for (row, col), position in positions.items():
        added[position] += signal[0, 0, row, col]
        last[position] = signal[0, 0, row, col]
    np.testing.assert_allclose(unpooling.to_switches(signal, size, switches=switches)[0, 0].numpy(), added, atol=1e-12)
    np.testing.assert_array_equal(unpooling.to_switches(signal, size, switches=switches, overlap="last")[0, 0].numpy(), last)


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), seeds)
def test_pool_then_unpool_keeps_exactly_the_maxima(down, across, rows, columns, seed):
    """Where windows do not overlap, max pool and unpool are a sieve: one value per window stays, as it was, the rest is zero."""
    size = (down * rows, across * columns)
    x = noise(2, 3, *size, seed=seed)
    small, switches = unpooling.max_pool(x, (down, across))
    back = unpooling.to_switches(small, size, switches=switches)
    kept = back != 0
    assert torch.equal(back[kept], x[kept])
    windows = x.unfold(2, down, down).unfold(3, across, across).flatten(4)
    assert torch.equal(
        kept.unfold(2, down, down).unfold(3, across, across).flatten(4), windows == windows.amax(-1, keepdim=True)
    )


@quick
@given(pools(), seeds)
def test_overlapping_pool_then_unpool(pool, seed):
    """Where windows overlap, "last" is the same sieve; "sum" has each maximum as often as it won a window."""
    size, kernel, stride, padding, dilation = pool
    x = noise(1, 1, *size, seed=seed)
    small, switches = unpooling.max_pool(x, kernel, stride, padding, dilation)
    _, positions = looped_pool(x[0, 0].numpy(), kernel, stride, padding, dilation)
    wins = np.zeros(size)
    for position in positions.values():
        wins[position] += 1
    values = x[0, 0].numpy()
    last = unpooling.to_switches(small, size, switches=switches, overlap="last")[0, 0].numpy()
    np.testing.assert_array_equal(last, np.where(wins > 0, values, 0))
    added = unpooling.to_switches(small, size, switches=switches)[0, 0].numpy()
    np.testing.assert_allclose(added, wins * values, atol=1e-12)


def test_overlapping_windows_do_share_maxima():
    """With AlexNet's 3x3 windows two apart, one peak wins four windows: "sum" returns it four times as high."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 7
    small, switches = unpooling.max_pool(x, 3, 2)
    assert small.tolist() == [[[[7, 7], [7, 7]]]]
    assert unpooling.to_switches(small, (5, 5), switches=switches)[0, 0, 2, 2] == 28
    assert unpooling.to_switches(small, (5, 5), switches=switches, overlap="last")[0, 0, 2, 2] == 7


@quick
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), seeds)
def test_switches_never_do_worse_than_a_fixed_position(stride, rows, columns, seed):
    """For maps that are not negative, the squared error of switched unpooling is at most that of any fixed position."""
    size = (stride * rows, stride * columns)
    x = noise(1, 2, *size, seed=seed, positive=True)
    small, switches = unpooling.max_pool(x, stride)
    error = (unpooling.to_switches(small, size, switches=switches) - x).square().sum()
    for fixed in (unpooling.to_top_left, unpooling.to_centre):
        assert error <= (fixed(small, size) - x).square().sum() + 1e-12


@quick
@given(st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.data())
def test_fixed_unpooling_equals_loops(blocks, stride, data):
    """Each value stands at its block's corner or centre, or all over it; blocks at the far edge may be cut."""
    size = tuple((n - 1) * s + data.draw(st.integers(1, s)) for n, s in zip(blocks, stride, strict=True))
    small = noise(1, 2, *blocks)
    corner, middle, filled = (np.zeros((2, *size)) for _ in range(3))
    for row, col in itertools.product(*map(range, blocks)):
        top, left = row * stride[0], col * stride[1]
        value = small[0, :, row, col].numpy()
        corner[:, top, left] = value
        middle[:, min(top + stride[0] // 2, size[0] - 1), min(left + stride[1] // 2, size[1] - 1)] = value
        filled[:, top : top + stride[0], left : left + stride[1]] = value[:, None, None]
    np.testing.assert_array_equal(unpooling.to_top_left(small, size, stride=stride)[0].numpy(), corner)
    np.testing.assert_array_equal(unpooling.to_centre(small, size, stride=stride)[0].numpy(), middle)
    np.testing.assert_array_equal(unpooling.to_whole_block(small, size, stride=stride)[0].numpy(), filled)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_nearest_unpooling_is_nearest_interpolation(factor):
    """For whole factors the two are one."""
    small = noise(2, 3, 4, 5)
    size = (4 * factor, 5 * factor)
    assert torch.equal(unpooling.to_whole_block(small, size), interpolation.nearest(small, size))


def test_gradients_go_through_unpooling():
    """A decoder that unpools can be trained: the gradient is the value taken back from the switch."""
    small, switches = unpooling.max_pool(noise(2, 3, 6, 8), 2)
    signal = small.clone().requires_grad_()
    large = unpooling.to_switches(signal, (6, 8), switches=switches)
    weights = noise(*large.shape, seed=1)
    (large * weights).sum().backward()
    expected = weights.flatten(2).gather(2, F.max_pool2d(noise(2, 3, 6, 8), 2, return_indices=True)[1].flatten(2))
    torch.testing.assert_close(signal.grad.flatten(2), expected)
