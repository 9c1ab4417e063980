"""What the tests of upsampling share: random maps, transposed convolutions of any geometry, and their sums by plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from deconvnet.upsampling.blurs import smooth_part
from deconvnet.upsampling.part_labels import draw_labelled
from deconvnet.upsampling.transposed_forms import canvas_size

quick = settings(max_examples=40, deadline=None, derandomize=True)
seeds = st.integers(0, 2**16)
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


def noise(*shape: int, seed: int = 0, positive: bool = False) -> torch.Tensor:
    """Return normal random numbers in double precision, the negative ones set to zero if asked."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return values.clamp(min=0) if positive else values


def drawing_edges() -> torch.Tensor:
    """Return two drawings of 32 pixels without their smooth part, (2, 3, 32, 32)."""
    pictures, _ = draw_labelled(range(2), 32)
    return pictures - smooth_part(pictures)


def inner_product(first: torch.Tensor, second: torch.Tensor) -> float:
    """Return the sum of the products of all values."""
    return float((first * second).sum())


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


@st.composite
def transposed_convolutions(draw):
    """Draw a transposed convolution: small map, filters, and a geometry that leaves something of it."""
    groups, per_in, per_out = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    full = canvas_size((height, width), kernel, stride, dilation)
    padding = tuple(draw(st.integers(0, (side - 1) // 2)) for side in full)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    seed = draw(seeds)
    small = noise(draw(st.integers(1, 2)), groups * per_in, height, width, seed=seed)
    filters = noise(groups * per_in, per_out, *kernel, seed=seed + 1)
    return small, filters, stride, padding, dilation, groups, extra


def looped_iou(predicted, truth, label, width=None):
    """Count pixel by pixel; with a width, only pixels that have another label, or the outside, within it."""

    def inside(picture, number, row, col):
        if picture[number, row, col] != label:
            return False
        if width is None:
            return True
        reach = range(-width, width + 1)
        nearby = [(row + down, col + right) for down, right in itertools.product(reach, reach)]
        frame = picture.shape[1:]
        return any(not (0 <= r < frame[0] and 0 <= c < frame[1]) or picture[number, r, c] != label for r, c in nearby)

    both = either = 0
    for position in itertools.product(*map(range, truth.shape)):
        ours, theirs = inside(predicted, *position), inside(truth, *position)
        both += ours and theirs
        either += ours or theirs
    return both / either if either else math.nan
