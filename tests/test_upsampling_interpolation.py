"""Interpolation: each method against sums over the old pixels with its kernel's weights."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deconvnet.upsampling import UPSAMPLERS
from support.upsampling import noise


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
        position = (new + 0.5) * short / long - 0.5
        if name == "nearest":
            weights[new, min(math.floor((new + 0.5) * short / long), short - 1)] = 1
            continue
        reach, kernel = KERNELS[name]
        first = math.floor(position) - reach // 2 + 1
        for old in range(first, first + reach):
            weights[new, min(max(old, 0), short - 1)] += kernel(position - old)
    return weights


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(6, 10), (7, 11), (3, 5), (2, 13)])
def test_interpolation_weights_old_pixels_by_distance(name, size):
    """Each interpolation equals sums over old pixels with its kernel's weights, for whole and broken factors, up and down."""
    small = noise(2, 3, 3, 5)
    down, across = row_weights(3, size[0], name), row_weights(5, size[1], name)
    expected = np.einsum("ij,kl,ncjl->ncik", down, across, small.numpy())
    np.testing.assert_allclose(UPSAMPLERS[name](small, size).numpy(), expected, atol=1e-12)
