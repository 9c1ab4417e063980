"""Ways of going up: each held against plain loops, against its equals, and against what the papers say of it."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

import deconvnet.cli as cli
from deconvnet.errors import MissingPackageError, OptionError, UnitError
from deconvnet.render import read_settings
from deconvnet.units import Window
from deconvnet.upsampling import WAYS, bilinear, caffe, checkerboard, interpolate, sheet, transpose, unpool
from deconvnet.upsampling import metrics as measure
from deconvnet.upsampling.compare import COMPARED, GIVEN, SHOWN, compare, descend, map_of, report

quick = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)


def noise(*shape: int, seed: int = 0, positive: bool = False) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.clamp(min=0) if positive else values


# ---- interpolation


def keys_cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


KERNELS = {"bilinear": (2, lambda x: max(0.0, 1 - abs(x))), "bicubic": (4, keys_cubic)}


def row_weights(short: int, long: int, name: str) -> np.ndarray:
    """Return (long, short): how much of each old value a new one takes, edges repeated, pixels as squares."""
    weights = np.zeros((long, short))
    for new in range(long):
        place = (new + 0.5) * short / long - 0.5
        if name == "nearest":
            weights[new, min(math.floor((new + 0.5) * short / long), short - 1)] = 1
            continue
        reach, kernel = KERNELS[name]
        first = math.floor(place) - reach // 2 + 1
        for old in range(first, first + reach):
            weights[new, min(max(old, 0), short - 1)] += kernel(place - old)
    return weights


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(6, 10), (7, 11), (3, 5), (2, 13)])
def test_interpolation_weights_old_pixels_by_distance(name, size):
    """Each interpolation equals sums over old pixels with its kernel's weights, for whole and broken factors, up and down."""
    small = noise(2, 3, 3, 5)
    down, across = row_weights(3, size[0], name), row_weights(5, size[1], name)
    expected = np.einsum("ij,kl,ncjl->ncik", down, across, small.numpy())
    np.testing.assert_allclose(WAYS[name](small, size).numpy(), expected, atol=1e-12)


# ---- unpooling


def looped_pool(x, kernel, stride, padding, dilation):
    """Return the pooled maxima and where each stood, (row, col), by plain loops over one map (H, W)."""
    height, width = x.shape
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x.shape, kernel, stride, padding, dilation, strict=True)
    ]
    values, places = np.zeros(out), {}
    for row, col in itertools.product(*map(range, out)):
        best = None
        for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
            r, c = row * stride[0] - padding[0] + i * dilation[0], col * stride[1] - padding[1] + j * dilation[1]
            if 0 <= r < height and 0 <= c < width and (best is None or x[r, c] > x[best]):
                best = (r, c)
        values[row, col], places[row, col] = x[best], best
    return values, places


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
    """Pooled values go back to where the maxima stood, by plain loops: added up, or the last one left."""
    size, kernel, stride, padding, dilation = pool
    x = noise(1, 1, *size, seed=seed)
    small, switches = unpool.max_pool(x, kernel, stride, padding, dilation)
    values, places = looped_pool(x[0, 0].numpy(), kernel, stride, padding, dilation)
    np.testing.assert_array_equal(small[0, 0].numpy(), values)
    signal = noise(*small.shape, seed=seed + 1)
    added, last = np.zeros(size), np.zeros(size)
    for (row, col), place in places.items():
        added[place] += signal[0, 0, row, col]
        last[place] = signal[0, 0, row, col]
    np.testing.assert_allclose(unpool.switched(signal, size, switches=switches)[0, 0].numpy(), added, atol=1e-12)
    np.testing.assert_array_equal(unpool.switched(signal, size, switches=switches, overlap="last")[0, 0].numpy(), last)


@quick
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), seeds)
def test_pool_then_unpool_keeps_exactly_the_maxima(down, across, rows, columns, seed):
    """Where windows do not overlap, max pool and unpool are a sieve: one value a window stays, as it was, the rest is zero."""
    size = (down * rows, across * columns)
    x = noise(2, 3, *size, seed=seed)
    small, switches = unpool.max_pool(x, (down, across))
    back = unpool.switched(small, size, switches=switches)
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
    small, switches = unpool.max_pool(x, kernel, stride, padding, dilation)
    _, places = looped_pool(x[0, 0].numpy(), kernel, stride, padding, dilation)
    wins = np.zeros(size)
    for place in places.values():
        wins[place] += 1
    values = x[0, 0].numpy()
    last = unpool.switched(small, size, switches=switches, overlap="last")[0, 0].numpy()
    np.testing.assert_array_equal(last, np.where(wins > 0, values, 0))
    added = unpool.switched(small, size, switches=switches)[0, 0].numpy()
    np.testing.assert_allclose(added, wins * values, atol=1e-12)


def test_overlapping_windows_do_share_maxima():
    """With AlexNet's 3x3 windows two apart, one peak wins four windows: "sum" returns it four times as high."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 7
    small, switches = unpool.max_pool(x, 3, 2)
    assert small.tolist() == [[[[7, 7], [7, 7]]]]
    assert unpool.switched(small, (5, 5), switches=switches)[0, 0, 2, 2] == 28
    assert unpool.switched(small, (5, 5), switches=switches, overlap="last")[0, 0, 2, 2] == 7


@quick
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), seeds)
def test_switches_never_do_worse_than_a_fixed_place(stride, rows, columns, seed):
    """For maps that are not negative, the squared error of switched unpooling is at most that of any fixed place."""
    size = (stride * rows, stride * columns)
    x = noise(1, 2, *size, seed=seed, positive=True)
    small, switches = unpool.max_pool(x, stride)
    error = (unpool.switched(small, size, switches=switches) - x).square().sum()
    for fixed in (unpool.top_left, unpool.centre):
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
    np.testing.assert_array_equal(unpool.top_left(small, size, stride=stride)[0].numpy(), corner)
    np.testing.assert_array_equal(unpool.centre(small, size, stride=stride)[0].numpy(), middle)
    np.testing.assert_array_equal(unpool.repeated(small, size, stride=stride)[0].numpy(), filled)


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_nearest_unpooling_is_nearest_interpolation(factor):
    """For whole factors the two are one."""
    small = noise(2, 3, 4, 5)
    size = (4 * factor, 5 * factor)
    assert torch.equal(unpool.repeated(small, size), interpolate.nearest(small, size))


def test_gradients_go_through_unpooling():
    """A decoder that unpools can be trained: the gradient is the value taken back from the switch."""
    small, switches = unpool.max_pool(noise(2, 3, 6, 8), 2)
    signal = small.clone().requires_grad_()
    large = unpool.switched(signal, (6, 8), switches=switches)
    weights = noise(*large.shape, seed=1)
    (large * weights).sum().backward()
    expected = weights.flatten(2).gather(2, F.max_pool2d(noise(2, 3, 6, 8), 2, return_indices=True)[1].flatten(2))
    torch.testing.assert_close(signal.grad.flatten(2), expected)


# ---- transposed convolution


def looped_transposed(small, filters, stride, padding, dilation, groups, size):
    """Paint each value's filter, by plain loops: (N, C', H', W') -> (N, C, H, W)."""
    batch, inputs, height, width = small.shape
    per, (tall, wide) = filters.shape[1], filters.shape[2:]
    large = np.zeros((batch, per * groups, *size))
    for n, i, row, col in itertools.product(*map(range, small.shape)):
        group = i // (inputs // groups)
        for o, u, v in itertools.product(range(per), range(tall), range(wide)):
            r, c = row * stride[0] + u * dilation[0] - padding[0], col * stride[1] + v * dilation[1] - padding[1]
            if 0 <= r < size[0] and 0 <= c < size[1]:
                large[n, group * per + o, r, c] += small[n, i, row, col] * filters[i, o, u, v]
    return large


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def paintings(draw):
    """Draw a transposed convolution: small map, filters, and geometry that leaves something of it."""
    groups, per_in, per_out = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    full = transpose.reach((height, width), kernel, stride, dilation)
    padding = tuple(draw(st.integers(0, (side - 1) // 2)) for side in full)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    seed = draw(seeds)
    small = noise(draw(st.integers(1, 2)), groups * per_in, height, width, seed=seed)
    filters = noise(groups * per_in, per_out, *kernel, seed=seed + 1)
    return small, filters, stride, padding, dilation, groups, extra


@quick
@given(paintings())
def test_equal_forms(painting):
    """torch's own, scatter, zero insertion with flipped filters, sub-pixel convolution and plain loops give the same sums."""
    small, filters, stride, padding, dilation, groups, extra = painting
    expected = F.conv_transpose2d(small, filters, None, stride, padding, extra, groups, dilation)
    size = tuple(expected.shape[2:])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for form in transpose.FORMS:
        found = transpose.transposed(small, size, filters=filters, form=form, **geometry)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0, msg=form)
    looped = looped_transposed(small.numpy(), filters.numpy(), stride, padding, dilation, groups, size)
    np.testing.assert_allclose(expected.numpy(), looped, atol=1e-10)


def test_equal_forms_in_float32():
    """In single precision the forms agree to 1e-6 of the largest value, at a size that people use."""
    small, filters = noise(1, 16, 14, 14).float(), noise(16, 8, 5, 5, seed=1).float()
    results = [transpose.transposed(small, (28, 28), filters=filters, form=form) for form in transpose.FORMS]
    for found in results[1:]:
        assert (found - results[0]).abs().max() <= 1e-6 * results[0].abs().max()


@quick
@given(paintings())
def test_zero_insertion_is_what_the_text_says(painting):
    """Enlarge, fill with zeros, convolve with flipped filters padded by dilation * (k - 1) - padding: a transposed convolution."""
    small, filters, stride, padding, dilation, groups, _ = painting
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
@given(paintings())
def test_transposed_is_the_backward_pass_of_a_convolution(painting):
    """It equals autograd's gradient of the convolution with the same filters, and is its adjoint: <conv x, y> = <x, y painted>."""
    small, filters, stride, padding, dilation, groups, extra = painting
    size = tuple(F.conv_transpose2d(small, filters, None, stride, padding, extra, groups, dilation).shape[2:])
    x = noise(len(small), filters.shape[1] * groups, *size, seed=5).requires_grad_()
    y = F.conv2d(x, filters, None, stride, padding, dilation, groups)
    assume(y.shape == small.shape)  # more output padding than the stride makes windows that no value came from
    (y * small).sum().backward()
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    large = transpose.transposed(small, size, filters=filters, **geometry)
    torch.testing.assert_close(large, x.grad, atol=1e-10, rtol=0)
    torch.testing.assert_close((y * small).sum(), (x * large).sum(), atol=1e-9, rtol=0)


def test_it_does_not_undo_the_convolution():
    """A "deconvolution" is no inverse: painting what a convolution made does not give back what it was made of."""
    x, filters = noise(1, 1, 8, 8), noise(1, 1, 3, 3, seed=1)
    back = transpose.transposed(F.conv2d(x, filters, padding=1), (8, 8), filters=filters, stride=1, padding=1)
    assert (back - x).norm() > x.norm()


def test_one_filter_for_all_channels():
    """A filter (k, k) serves each channel by itself, and the small map's type is kept."""
    small, taps = noise(2, 3, 4, 5).float(), noise(3, 3)
    found = transpose.transposed(small, (8, 10), filters=taps)
    alone = [transpose.transposed(small[:, c : c + 1], (8, 10), filters=taps[None, None]) for c in range(3)]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.cat(alone, 1))


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 4), (3, 5), (4, 7), (4, 8)])
def test_filters_stand_in_the_middle_of_their_blocks(stride, kernel):
    """Without padding given, a symmetric filter's picture of one value is centred on its block, to half a pixel."""
    small = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    small[0, 0, 2, 2] = 1
    large = transpose.transposed(small, (5 * stride, 5 * stride), filters=torch.ones(kernel, kernel))[0, 0]
    rows = torch.arange(len(large), dtype=torch.float64)
    assert abs(float((large.sum(1) * rows).sum() / large.sum()) - (2 * stride + (stride - 1) / 2)) <= 0.5


@quick
@given(st.integers(1, 4), st.integers(1, 6), seeds)
def test_learned_filter_is_the_one_that_painted(stride, kernel, seed):
    """The least-squares filter finds back the filter that a large map was painted with, or one as good."""
    taps, small = noise(kernel, kernel, seed=seed), noise(2, 2, 7, 8, seed=seed + 1)
    large = transpose.transposed(small, (7 * stride, 8 * stride), filters=taps, stride=stride)
    found = transpose.learn_filter(small, large, kernel)
    torch.testing.assert_close(
        transpose.transposed(small, large.shape[2:], filters=found, stride=stride), large, atol=1e-8, rtol=0
    )


def test_learned_filter_cannot_be_bettered():
    """Its residual stands at a right angle to what any change of a tap would do: the normal equations hold."""
    large = noise(1, 3, 16, 20, positive=True)
    small, _ = unpool.max_pool(large, 2)
    found = transpose.learn_filter(small, large, 4)
    residual = transpose.transposed(small, (16, 20), filters=found) - large
    for row, col in itertools.product(range(4), range(4)):
        tap = torch.zeros(4, 4, dtype=torch.float64)
        tap[row, col] = 1
        assert abs(float((residual * transpose.transposed(small, (16, 20), filters=tap)).sum())) < 1e-8


# ---- Caffe


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
@given(paintings())
def test_caffe_layer_equals_loops(painting):
    """The layer equals its definition in loops - each input times its filter, summed over the outputs - plus its bias."""
    small, filters, stride, padding, dilation, groups, _ = painting
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
    """The filler equals its formula, place by place, for every pair of an input and an output; and FCN's own formula."""
    f = math.ceil(kernel / 2.0)
    c = (2 * f - 1 - f % 2) / (2.0 * f)  # as it is for the kernels of the recipe, 2 f - f % 2
    blob = caffe.bilinear_filler((2, 3, kernel, kernel))
    for y, x in itertools.product(range(kernel), range(kernel)):
        centre = (kernel - 1) / (2.0 * f)
        expected = (1 - abs(x / f - centre)) * (1 - abs(y / f - centre))
        np.testing.assert_allclose(blob[:, :, y, x].numpy(), expected, atol=1e-12)
        if kernel == 2 * f - f % 2:
            assert centre == pytest.approx(c)
    torch.testing.assert_close(blob[0, 0], bilinear.bilinear_filter(kernel))


def test_caffe_interpolates_only_with_the_bilinear_filler():
    """By default the filters are 0, and so is what comes out; and without groups the bilinear filler adds channels up."""
    small = noise(1, 3, 4, 4).float()
    recipe = {"num_output": 3, "kernel_size": 4, "stride": 2, "pad": 1, "bias_term": False}
    assert not caffe.DeconvolutionLayer(3, **recipe)(small).any()
    grouped = caffe.DeconvolutionLayer(3, **recipe, group=3, weight_filler="bilinear")(small)
    torch.testing.assert_close(grouped, bilinear.fcn(small, (8, 8)))
    mixed = caffe.DeconvolutionLayer(3, **recipe, weight_filler="bilinear")(small)
    torch.testing.assert_close(mixed, grouped.sum(1, keepdim=True).expand_as(mixed))


def test_caffe_refusals():
    """Each misuse of the layer is one line that says what is wrong."""
    layer = caffe.DeconvolutionLayer(1, num_output=1, kernel_size=3, pad=2)
    for call, text in [
        (
            lambda: layer(torch.zeros(1, 1, 1, 2)),
            "pad (2, 2) leaves nothing of 1x2: it would come out at -1x0.",
        ),
        (
            lambda: caffe.DeconvolutionLayer(3, num_output=4, kernel_size=3, group=2),
            "group cannot be 2: it must divide the 3 inputs and the 4 outputs.",
        ),
        (
            lambda: caffe.DeconvolutionLayer(3, num_output=3, kernel_size=3, weight_filler="bilinaer"),
            "weight_filler cannot be 'bilinaer': it is one of constant, bilinear, gaussian. Did you mean 'bilinear'?",
        ),
        (
            lambda: caffe.bilinear_filler((1, 1, 3, 4)),
            "the bilinear filler cannot fill a blob of shape (1, 1, 3, 4). Give (inputs, outputs / group, k, k).",
        ),
        (
            lambda: caffe.deconvolution(torch.zeros(1, 1, 2, 2), (4, 6)),
            "Caffe's recipe has one factor: it cannot go up by 2 rows and 3 columns at once.",
        ),
    ]:
        with pytest.raises(OptionError) as error:
            call()
        assert str(error.value) == text


# ---- FCN


@quick
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6), seeds)
def test_fcn_is_bilinear_interpolation_inside(factor, height, width, seed):
    """FCN's layer, fixed or to be trained, and Caffe's recipe equal bilinear interpolation but for the border, where they fade."""
    small = noise(1, 2, height, width, seed=seed)
    size = (factor * height, factor * width)
    kernel, stride, padding = bilinear.geometry(factor)
    assert (kernel, stride, padding) == (2 * factor - factor % 2, factor, math.ceil((factor - 1) / 2))
    found = bilinear.fcn(small, size, stride=factor)
    assert found.shape[2:] == size
    for trained in (False, True):
        layer = bilinear.BilinearUpsampling(2, factor, trained=trained).double()
        with torch.no_grad():
            layer.weight.copy_(bilinear.bilinear_filter(kernel).expand_as(layer.weight))  # float32 rounded them
        torch.testing.assert_close(layer(small).detach(), found)
    torch.testing.assert_close(caffe.deconvolution(small, size, stride=factor), found)
    edge = factor // 2
    inside = (..., slice(edge, size[0] - edge), slice(edge, size[1] - edge))
    torch.testing.assert_close(found[inside], interpolate.bilinear(small, size)[inside])
    # outside the map there is zero: interpolating between it and the edge gives the border
    framed = interpolate.bilinear(F.pad(small, (1, 1, 1, 1)), (size[0] + 2 * factor, size[1] + 2 * factor))
    torch.testing.assert_close(found, framed[:, :, factor:-factor, factor:-factor])


def test_fcn_equals_scikit_images_rescale():
    """As Caffe's comment on its filler says: out = skimage.transform.rescale(in, f, mode="constant", cval=0)."""
    transform = pytest.importorskip("skimage.transform")
    small = noise(1, 1, 5, 7)
    for factor in (2, 3, 4):
        expected = transform.rescale(small[0, 0].numpy(), factor, order=1, mode="constant", cval=0)
        found = bilinear.fcn(small, (5 * factor, 7 * factor))[0, 0].numpy()
        inside = slice(factor, -factor)
        np.testing.assert_allclose(found[inside, inside], expected[inside, inside], atol=1e-10)


def test_fcn_fixed_and_trained():
    """A fixed layer's filters stay what they are under an optimiser; a trained layer's go where the loss leads."""
    small = noise(1, 1, 4, 4).float()
    fixed, trained = bilinear.BilinearUpsampling(1, 2), bilinear.BilinearUpsampling(1, 2, trained=True)
    assert not fixed.weight.requires_grad
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    before = trained.weight.detach().clone()
    losses = []
    for _ in range(20):
        loss = (trained(small) + interpolate.nearest(small, (8, 8))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert not torch.equal(trained.weight, before)
    assert torch.equal(fixed.weight, before)


def test_fcn_refusals():
    """What has no bilinear filter is said in one line."""
    for call, text in [
        (lambda: bilinear.bilinear_filter(0), "kernel cannot be 0: a filter has at least one tap."),
        (lambda: bilinear.geometry(0), "factor cannot be 0: going up takes a whole factor of at least 1."),
        (
            lambda: bilinear.fcn(torch.zeros(1, 1, 2, 2), (4, 6)),
            "FCN's filter is square: it cannot go up by 2 rows and 3 columns at once.",
        ),
    ]:
        with pytest.raises(OptionError) as error:
            call()
        assert str(error.value) == text


# ---- checkerboards


@quick
@given(pairs, pairs, pairs, pairs)
def test_overlap_count_equals_loops(size, kernel, stride, dilation):
    """The overlap count is how many taps reach a pixel."""
    full = transpose.reach(size, kernel, stride, dilation)
    expected = np.zeros(full)
    for row, col, u, v in itertools.product(*map(range, (*size, *kernel))):
        expected[row * stride[0] + u * dilation[0], col * stride[1] + v * dilation[1]] += 1
    np.testing.assert_array_equal(checkerboard.overlap_count(size, kernel, stride, 0, dilation).numpy(), expected)


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 2), (4, 2), (7, 2), (11, 4), (8, 4), (5, 3), (6, 3), (2, 3)])
def test_overlap_is_even_where_the_stride_divides_the_kernel(kernel, stride):
    """Away from the border all pixels are reached alike if, and only if, the kernel is divisible by the stride."""
    count = checkerboard.overlap_count((12, 12), kernel, stride)[kernel : 12 * stride - kernel, kernel : 12 * stride - kernel]
    assert (count.unique().numel() == 1) == (kernel % stride == 0)
    assert checkerboard.checkerboard(count[None, None], stride) == (0 if kernel % stride == 0 else pytest.approx(1, abs=0.05))


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
    assert checkerboard.checkerboard(x, (down, across)) == pytest.approx(expected, abs=1e-10)


def test_checkerboard_energy_of_plain_cases():
    """Nothing has none, flat has none, a flat bed of nails and a chess board are nothing else, and noise has little."""
    assert checkerboard.checkerboard(torch.zeros(1, 1, 8, 8), 2) == 0
    assert checkerboard.checkerboard(torch.full((1, 3, 8, 8), 0.3), 2) == 0
    assert checkerboard.checkerboard(unpool.top_left(torch.ones(1, 1, 4, 4), (8, 8)), 2) == pytest.approx(1)
    chess = (torch.arange(8)[:, None] + torch.arange(8)) % 2
    assert checkerboard.checkerboard(chess[None, None].float(), 2) == pytest.approx(1)
    assert checkerboard.checkerboard(chess[None, None].float(), 3) < 0.1
    assert checkerboard.checkerboard(noise(1, 1, 64, 64), 2) < 0.01
    with pytest.raises(OptionError) as error:
        checkerboard.checkerboard(torch.zeros(1, 1, 3, 8), 4)
    assert str(error.value) == "a map of 3x8 is smaller than the stride, 4x4."


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (5, 3), (11, 4)])
def test_overlaps_can_be_divided_out(kernel, stride):
    """A box that the stride does not divide paints a checkerboard on a flat map; divided by the count, it is flat again."""
    small, size = torch.ones(1, 2, 6, 6, dtype=torch.float64), (6 * stride, 6 * stride)
    box = torch.full((kernel, kernel), (stride / kernel) ** 2, dtype=torch.float64)
    uneven = transpose.transposed(small, size, filters=box)
    assert checkerboard.checkerboard(uneven, stride) > 0.3
    torch.testing.assert_close(transpose.transposed(small, size, filters=box, divide="count"), torch.ones_like(uneven))


@quick
@given(paintings())
def test_dividing_by_the_gain_keeps_flat_maps_flat(painting):
    """Divided by what the taps add up to, a flat map comes back with its value wherever any weight reaches."""
    small, filters, stride, padding, dilation, groups, _ = painting
    filters = filters.abs() + 0.1
    size = tuple(F.conv_transpose2d(small, filters, None, stride, padding, 0, groups, dilation).shape[2:])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    large = transpose.transposed(torch.full_like(small, 3.0), size, filters=filters, divide="gain", **geometry)
    reached = transpose.transposed(torch.ones_like(small), size, filters=filters, **geometry) > 0
    torch.testing.assert_close(large, torch.where(reached, 3.0, 0.0).to(large))


def test_bilinear_filters_of_odd_kernels_need_no_dividing():
    """Their counts are uneven, their weights even: dividing by the count makes the pattern that it should take away."""
    small, size = torch.ones(1, 1, 8, 8, dtype=torch.float64), (24, 24)
    taps = bilinear.bilinear_filter(5)
    inside = (..., slice(3, -3), slice(3, -3))
    assert checkerboard.checkerboard(transpose.transposed(small, size, filters=taps)[inside], 3) == pytest.approx(0, abs=1e-12)
    divided = transpose.transposed(small, size, filters=taps, divide="count")[inside]
    assert checkerboard.checkerboard(divided, 3) > 0.9


# ---- measures


def looped_ssim(x: np.ndarray, y: np.ndarray, span: float, side: int = 7) -> float:
    """Wang et al. 2004, with a uniform window and unbiased variances, over all windows inside the picture; mean over channels."""
    scores = []
    for a, b in zip(x, y, strict=True):
        for row, col in itertools.product(*(range(n - side + 1) for n in a.shape)):
            p, q = (z[row : row + side, col : col + side].ravel() for z in (a, b))
            (pp, pq), (_, qq) = np.cov(p, q)
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            scores.append(
                (2 * p.mean() * q.mean() + c1) * (2 * pq + c2) / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (pp + qq + c2))
            )
    return float(np.mean(scores))


def test_psnr_and_ssim_equal_their_formulas():
    """Both measures equal their formulas, whatever the span of values."""
    pytest.importorskip("skimage")
    x, y = noise(1, 2, 12, 13), noise(1, 2, 12, 13, seed=1)
    for span in (1.0, 6.0):
        expected = 10 * math.log10(span**2 / float((x - y).square().mean()))
        assert measure.psnr(x, y, span) == pytest.approx(expected)
        assert measure.ssim(x, y, span) == pytest.approx(looped_ssim(x[0].numpy(), y[0].numpy(), span), abs=1e-9)
    assert measure.psnr(x, x, 1.0) == math.inf
    assert measure.ssim(x, x, 1.0) == 1
    assert measure.ssim(x[..., :4, :4], y[..., :4, :4], 1.0) == pytest.approx(
        looped_ssim(x[0, :, :4, :4].numpy(), y[0, :, :4, :4].numpy(), 1.0, side=3), abs=1e-9
    )


def test_multiply_adds_are_counted_by_hand():
    """Placing costs none, interpolations their taps a pixel, transposed convolutions their taps a small value."""
    small = torch.zeros(1, 3, 5, 6)
    pixels, values = 3 * 10 * 12, 3 * 5 * 6
    cost = {
        way: measure.multiply_adds(lambda way=way: WAYS[way](small, (10, 12))) for way in ("nearest", "bilinear", "bicubic")
    }
    assert cost == {"nearest": 0, "bilinear": 4 * pixels, "bicubic": 16 * pixels}
    assert measure.multiply_adds(lambda: unpool.top_left(small, (10, 12))) == 0
    assert measure.multiply_adds(lambda: bilinear.fcn(small, (10, 12))) == 16 * values
    dense = torch.zeros(3, 2, 5, 5)
    for form, times in {"torch": 1, "scatter": 1}.items():
        go = measure.multiply_adds(lambda form=form: transpose.transposed(small, (10, 12), filters=dense, form=form))
        assert go == times * 25 * 2 * values
    # zeros are multiplied too: one product a tap and pixel of the canvas, stride^2 times the work and more
    zeros = measure.multiply_adds(lambda: transpose.transposed(small, (10, 12), filters=dense, form="zeros"))
    assert zeros == 13 * 15 * 25 * 3 * 2


def test_time_is_taken_on_one_thread():
    """Timing leaves the number of threads as it was, also when the call fails."""
    before, inside = torch.get_num_threads(), []
    assert measure.fastest(lambda: inside.append(torch.get_num_threads())) >= 0
    assert set(inside) == {1}
    with pytest.raises(ZeroDivisionError):
        measure.fastest(lambda: 1 / 0)
    assert torch.get_num_threads() == before


# ---- the comparison


@pytest.mark.parametrize("way", COMPARED)
def test_every_way_has_the_one_signature(way):
    """A small map and a size go in, a map of that size comes out, of the same type; what went in stays as it was."""
    pytest.importorskip("skimage")
    large = noise(1, 3, 12, 18, positive=True)
    descent = descend(large, 3)
    given = GIVEN.get(way, lambda _: {})(descent)
    before = descent.small.clone()
    for dtype in (torch.float64, torch.float32):
        found = WAYS[way](descent.small.to(dtype), (12, 18), **given)
        assert found.shape == large.shape
        assert found.dtype == dtype
        assert found.isfinite().all()
    assert torch.equal(descent.small, before)


def test_ways_refuse_what_does_not_fit():
    """What is no map, no size, or does not fit is refused in one line."""
    small, switches = unpool.max_pool(torch.rand(1, 2, 6, 8), 2)
    for call, text in [
        (
            lambda: WAYS["nearest"](torch.zeros(4, 5), (8, 10)),
            "going up takes a float tensor (N, C, H, W), found (4, 5) of float32. One map: map[None, None].",
        ),
        (
            lambda: WAYS["bicubic"](torch.zeros(1, 1, 4, 5, dtype=torch.int64), (8, 10)),
            "going up takes a float tensor (N, C, H, W), found (1, 1, 4, 5) of int64. One map: map[None, None].",
        ),
        (
            lambda: WAYS["bilinear"](small, (8, 0)),
            "size cannot be (8, 0): it is the height and width to go up to, in pixels, such as (96, 128).",
        ),
        (
            lambda: WAYS["unpool-top-left"](small, (9, 9), stride=2),
            "cannot unpool 3x4 to 9x9 by blocks of 2x2: that many do not fill it. "
            "Give a size that is the map's times the stride, or less than a block short of it.",
        ),
        (
            lambda: WAYS["unpool-switches"](small, (6, 7), switches=switches),
            "these switches go from 1x2x3x4 to 6x8, not from 1x2x3x4 to 6x7. Pool a map of the size to go up to.",
        ),
        (
            lambda: WAYS["unpool-switches"](small[:, :1], (6, 8), switches=switches),
            "these switches go from 1x2x3x4 to 6x8, not from 1x1x3x4 to 6x8. Pool a map of the size to go up to.",
        ),
        (
            lambda: WAYS["transposed"](small, (6, 8), filters=torch.zeros(3, 1, 2, 2)),
            "filters of shape (3, 1, 2, 2) in 1 groups do not fit 2 channels. Give (C', C / groups, k, k), or (k, k) for all.",
        ),
        (
            lambda: WAYS["transposed"](small, (6, 8), filters=torch.zeros(2, 2), form="scater"),
            "form cannot be 'scater': it is one of torch, scatter, zeros, sub-pixel. Did you mean 'scatter'?",
        ),
        (
            lambda: WAYS["transposed"](small, (6, 8), filters=torch.zeros(2, 2), divide="cuont"),
            "divide cannot be 'cuont': it is one of nothing, count, gain. Did you mean 'count'?",
        ),
    ]:
        with pytest.raises(OptionError) as error:
            call()
        assert str(error.value) == text


def test_comparison_goes_down_once_and_up_by_each_way():
    """Each factor has its small map, the max or the mean over windows, and each way's result stands as the way returns it."""
    pytest.importorskip("skimage")
    large = noise(1, 3, 26, 25, positive=True).float()
    for down, pool in (("max", F.max_pool2d), ("mean", F.avg_pool2d)):
        courses = compare(large, ways=["nearest", "unpool-switches"], factors=[2, 3], down=down)
        for (descent, ascents), factor in zip(courses, (2, 3), strict=True):
            cut = large[:, :, :24, :24]
            assert torch.equal(descent.small, pool(cut, factor))
            assert torch.equal(ascents[0].large, interpolate.nearest(descent.small, (24, 24)))
            _, switches = unpool.max_pool(cut, factor)
            assert torch.equal(ascents[1].large, unpool.switched(descent.small, (24, 24), switches=switches))
            span = float(cut.max() - cut.min())
            for ascent in ascents:
                assert ascent.psnr == measure.psnr(cut, ascent.large, span)
                assert ascent.ssim == measure.ssim(cut, ascent.large, span)
                assert ascent.checkerboard == checkerboard.checkerboard(ascent.large, factor)


def test_overlapping_windows_in_the_comparison():
    """With a kernel larger than the factor windows overlap; there are as many as blocks, and "sum" and "last" differ."""
    pytest.importorskip("skimage")
    large = noise(1, 1, 24, 24, positive=True)
    for factor, kernel in [(2, 3), (2, 4), (3, 4), (3, 7), (4, 5)]:
        [(descent, (added, last))] = compare(large, ways=["unpool-switches", "unpool-last"], factors=[factor], kernel=kernel)
        assert descent.small.shape[2:] == (24 // factor, 24 // factor)
        assert added.large.sum() > last.large.sum()
        assert last.psnr > added.psnr
        descend(large, factor, down="mean", kernel=kernel)


def test_an_exact_way_is_said_to_be_exact():
    """Where nothing differs the PSNR is infinite, and None in the report, so that JSON can hold it."""
    pytest.importorskip("skimage")
    flat = interpolate.nearest(noise(1, 1, 4, 4), (8, 8))
    courses = compare(flat, ways=["nearest"], factors=[2])
    assert courses[0][1][0].psnr == math.inf
    (row,) = report(courses)
    assert row["psnr"] is None
    assert row["ssim"] == 1
    json.dumps(row, allow_nan=False)


def test_a_flat_picture_can_be_compared():
    """A picture of one colour, within the limits of pictures, has numbers for every way, and no checkerboard but the nails'."""
    pytest.importorskip("skimage")
    [(_, ascents)] = compare(torch.full((1, 3, 16, 16), 0.5), factors=[2], limits=(0.0, 1.0))
    found = {ascent.way: ascent for ascent in ascents}
    assert found["nearest"].psnr == math.inf
    assert found["bilinear"].checkerboard == 0
    assert found["unpool-top-left"].checkerboard == pytest.approx(1)
    assert all(math.isfinite(ascent.ssim) for ascent in ascents)


def test_comparison_refusals():
    """What cannot be compared is refused in one line."""
    large = torch.rand(1, 1, 16, 16)
    known = ", ".join(COMPARED)
    for call, text in [
        (
            lambda: compare(large, ways=["transposed-fnc"]),
            f"way cannot be 'transposed-fnc': it is one of {known}. Did you mean 'transposed-fcn' or 'transposed' or 'transposed-even'?",
        ),
        (lambda: compare(large, factors=[1]), "factors cannot be [1]: give whole numbers of at least 2."),
        (lambda: compare(large, factors=[]), "factors cannot be []: give whole numbers of at least 2."),
        (
            lambda: compare(large[..., :1, :1], factors=[2, 4]),
            "a map of 1x1 is too small to go down by 2 and 4. Take a larger one, or smaller factors.",
        ),
        (lambda: compare(torch.rand(2, 1, 8, 8)), "one map at a time is compared, found 2. Give (1, C, H, W)."),
        (
            lambda: compare(torch.full((1, 1, 8, 8), 0.5)),
            "the map is 0.5 everywhere: there is nothing to compare. Take another channel or picture.",
        ),
        (lambda: compare(large, down="maximum"), "down cannot be 'maximum': it is one of max, mean. Did you mean 'max'?"),
        (
            lambda: compare(large, factors=[4], kernel=3),
            "kernel cannot be 3: windows 4 apart are at least so large, and fit the map.",
        ),
    ]:
        with pytest.raises(OptionError) as error:
            call()
        assert str(error.value) == text


def test_a_missing_package_is_one_line(monkeypatch):
    """Without scikit-image the comparison says which package it needs and how it is installed."""
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(MissingPackageError) as error:
        measure.ssim(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8), 1.0)
    text = str(error.value)
    assert text.startswith("comparing needs skimage, which cannot be imported (")
    assert text.endswith('). In a checkout: pip install -e ".[upsampling]"')


def test_a_map_of_a_real_layer(tiny):
    """By default the last rectified layer's strongest map is taken; layer and channel can be named."""
    import deconvnet
    from deconvnet.drawings import draw

    net, picture = deconvnet.DeconvNet(tiny), draw("face", seed=3).picture
    maps, layer, channel = map_of(net, picture)
    assert layer == "features.13"
    activations = net.record([picture]).activations("features.13")[0]
    assert channel == int(activations.amax((1, 2)).argmax())
    assert torch.equal(maps[0, 0], activations[channel])
    assert torch.equal(map_of(net, picture, "features.4", 3)[0][0, 0], net.record([picture]).activations("features.4")[0, 3])
    with pytest.raises(UnitError) as error:
        map_of(net, picture, "features.13", 1000)
    count = len(activations)
    assert str(error.value) == f"layer 'features.13' has {count} channels, numbered from 0; found 1000."


def test_switches_keep_the_structure_of_real_maps(shared):
    """On maps of the real SqueezeNet, switched unpooling is nearer than fixed by decibels, and far nearer in structure."""
    pytest.importorskip("skimage")
    import deconvnet

    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights/squeezenet1_0.safetensors"))
    picture = sorted((shared / "images/imagenet-sample").iterdir())[0]
    net = deconvnet.DeconvNet(loaded)
    for layer in ("features.1", "features.7"):
        large, _, _ = map_of(net, picture, layer)
        [(_, (fixed, switched))] = compare(large, ways=["unpool-top-left", "unpool-switches"], factors=[2])
        assert switched.psnr > fixed.psnr + 1
        assert switched.ssim > fixed.ssim + 0.1
        assert switched.checkerboard < fixed.checkerboard / 10


# ---- the page


def drawn(side: int = 48, ways=("nearest", "unpool-switches"), factors=(2,)):
    pytest.importorskip("skimage")
    return compare(noise(1, 3, side, side, positive=True).float(), ways=ways, factors=factors)


def test_page_shows_pixels_as_they_are(tmp_path):
    """Maps stand on the page in whole multiples of their pixels, black at the lower limit and white at the upper one."""
    courses = drawn()
    large = courses[0][0].large
    page = np.asarray(sheet.draw_comparison(courses, title="noise", limits=(0.0, 2.0)))
    expected = np.rint(255 * (large[0] / 2).clamp(0, 1).numpy()).astype(np.uint8).transpose(1, 2, 0)
    scale = sheet.CELL // 48
    found = page[sheet.MARGIN :, sheet.MARGIN :][:400, : 48 * scale]
    rows = [
        row
        for row in range(len(found) - 48 * scale)
        if np.array_equal(found[row : row + 48 * scale][::scale, ::scale], expected)
    ]
    assert rows


def test_page_of_a_large_map_shows_details_alone():
    """A map wider than a cell is shown once, shrunk, and by its details; the page is no wider for it."""
    pytest.importorskip("skimage")
    small, large = (sheet.draw_comparison(drawn(side), title="t", limits=(0, 1)) for side in (sheet.CELL, sheet.CELL * 2))
    assert large.width <= small.width + sheet.CELL + sheet.GAP
    assert large.height < small.height


def test_detail_is_where_most_happens():
    """The detail's window has the largest variance of all on its grid, and lies on whole blocks."""
    large = torch.zeros(1, 3, 96, 96)
    large[:, :, 40:56, 60:80] = noise(1, 3, 16, 20).float()
    window = sheet.busiest_window(large, 4)
    assert window.height == window.width == 32
    assert window.top % 4 == window.left % 4 == 0
    grey = large[0].mean(0).numpy()
    spreads = {(top, left): grey[top : top + 32, left : left + 32].var() for top in range(0, 65, 4) for left in range(0, 65, 4)}
    assert spreads[window.top, window.left] == pytest.approx(max(spreads.values()))
    assert sheet.busiest_window(torch.rand(1, 1, 6, 9), 2) == Window(
        0, sheet.busiest_window(torch.rand(1, 1, 6, 9), 2).left, 6, 6
    )


def test_same_comparison_same_bytes(tmp_path):
    """A page holds no times: made twice it is the same file, with its settings inside."""
    for name in ("a.png", "b.png"):
        sheet.save_comparison(drawn(), tmp_path / name, source={"picture": "noise"}, limits=(0.0, 1.0))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    settings = read_settings(tmp_path / "a.png")
    assert settings["factors"] == [2]
    assert [row["way"] for row in settings["results"]] == ["nearest", "unpool-switches"]
    assert "milliseconds" not in settings["results"][0]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (46_656, "46.7 k"),
        (338_688, "339 k"),
        (2_408_448, "2.41 M"),
        (5 * 10**11, "500 G"),
    ],
)
def test_counts_are_written_with_three_digits(count, text):
    """Large counts have a unit."""
    assert sheet.count_text(count) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0"), (1e-17, "0"), (0.0001, "< 0.1 %"), (0.0006, "0.1 %"), (0.8487, "84.9 %"), (1.0, "100.0 %")]
)
def test_shares_are_written_in_percent(share, text):
    """What is not nothing is not written as nothing."""
    assert sheet.share_text(share) == text


# ---- the command


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command in this process and in an empty folder; return (exit code, stdout, stderr)."""
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["deconvnet", "upsample", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_command_without_a_picture(run, tmp_path):
    """A drawing is taken; the table stands on stdout and the page beside it is named last."""
    code, out, _ = run("--factor", "2", "--size", "48")
    assert code == 0
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == list(SHOWN)
    assert lines[0].split() == ["factor", "way", "PSNR", "dB", "SSIM", "multiply-adds", "ms", "checkerboard"]
    assert lines[-1] == "upsample-drawing.png"
    with Image.open(tmp_path / lines[-1]) as image:
        assert image.width > 1000
    assert read_settings(tmp_path / lines[-1])["picture"] == "drawing of a face"


def test_command_on_a_picture(run, picture, tmp_path):
    """Ways, factors, kernel and the way down are those asked for, and JSON alone goes to stdout."""
    arguments = ["--factor", "2,3", "--ways", "unpool-last,nearest", "--down", "mean", "--kernel", "3", "--size", "60"]
    code, out, err = run(picture, *arguments, "--out", "page.jpg", "--json")
    assert code == 0
    rows = json.loads(out)
    assert [(row["factor"], row["way"]) for row in rows] == [
        (2, "unpool-last"), (2, "nearest"), (3, "unpool-last"), (3, "nearest"),
    ]  # fmt: skip
    assert {(row["down"], row["kernel"], row["picture"]) for row in rows} == {("mean", 3, str(picture))}
    assert rows[0]["size"] == [60, 60]
    assert err.strip() == "page.jpg"
    assert read_settings(tmp_path / "page.jpg")["kernel"] == [3, 3]


def test_command_on_a_map(run, picture):
    """With a layer the map of a model is taken down, by default the strongest; a layer without a model is tiny's."""
    code, out, _ = run(
        picture, "--layer", "features.4", "--channel", "2", "--ways", "unpool-switches", "--factor", "2", "--json"
    )
    assert code == 0
    (row,) = json.loads(out)
    assert (row["model"], row["layer"], row["channel"]) == ("tiny", "features.4", 2)
    code, out, _ = run(picture, "--model", "tiny", "--ways", "nearest", "--factor", "2")
    assert code == 0
    assert out.splitlines()[-1] == "upsample-face-tiny.png"


def test_command_lists_the_ways(run):
    """`--ways list` names every way that can be compared."""
    code, out, _ = run("--ways", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(COMPARED)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--factor", "1"), 2, "'1' is not whole numbers of at least 2, such as 2,4."),
        (("--factor", "2,x"), 2, "'2,x' is not whole numbers of at least 2, such as 2,4."),
        (("--mean", "0.5"), 2, "--mean and --std are of a model's pictures: give --model, or leave them out."),
        (("--ways", "nearest,sparse"), 1, "OptionError: way cannot be 'sparse': it is one of nearest,"),
        (
            ("--out", "page.gif"),
            1,
            "OptionError: cannot save 'page.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf.",
        ),
        (("missing.jpg",), 1, "PictureError: cannot open 'missing.jpg': there is no such file. Check the path."),
        (("--layer", "features.99"), 1, "UnknownLayerError: 'features.99' is not a layer of tiny."),
    ],
)
def test_command_refusals(run, arguments, code, text, tmp_path):
    """Wrong usage exits with 2, what fails with 1, each with one line on stderr, and nothing is written."""
    found, out, err = run(*arguments)
    assert found == code
    assert text in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.glob("upsample*"))


# ---- the notebook


def test_notebook_is_whole():
    """The notebook that walks through a text has been run from top to bottom, without an error, and is small."""
    path = Path(__file__).parents[1] / "notebooks" / "04_upsampling.ipynb"
    notebook = json.loads(path.read_text())
    ran = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    kinds = {output["output_type"] for cell in ran for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert not [output for cell in ran for output in cell["outputs"] if output.get("name") == "stderr"]
    assert path.stat().st_size < 500_000


def test_notebook_still_runs(monkeypatch):
    """Its cells that need no training still run as plain Python, and print what stands in the notebook."""
    pytest.importorskip("skimage")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    notebook = json.loads((Path(__file__).parents[1] / "notebooks" / "04_upsampling.ipynb").read_text())
    scope: dict[str, object] = {}
    slow = ("Adam", "trained_on", "encode", "richardson_lucy", "recording", "display(", "edges")
    ran = 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or any(word in source for word in slow):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "04_upsampling.ipynb", "exec"), scope)
        kept = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        for now, then in zip(printed.getvalue().splitlines(), kept.splitlines(), strict=True):
            assert now.split(":")[0] == then.split(":")[0] or "difference" in now
            assert ("True" in now, "False" in now) == ("True" in then, "False" in then)
        ran += 1
    assert ran >= 15
