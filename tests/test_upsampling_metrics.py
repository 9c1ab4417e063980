"""Measures: PSNR and SSIM against their formulas, multiply-adds counted by hand, times on one thread."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from deconvnet.upsampling import UPSAMPLERS, fcn, unpooling
from deconvnet.upsampling.metrics import count_multiply_adds, psnr, shortest_time, ssim
from deconvnet.upsampling.transposed import transposed_convolution
from support.upsampling import noise


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
        assert psnr(x, y, span) == pytest.approx(expected)
        assert ssim(x, y, span) == pytest.approx(looped_ssim(x[0].numpy(), y[0].numpy(), span), abs=1e-9)
    assert psnr(x, x, 1.0) == math.inf
    assert ssim(x, x, 1.0) == 1
    assert ssim(x[..., :4, :4], y[..., :4, :4], 1.0) == pytest.approx(
        looped_ssim(x[0, :, :4, :4].numpy(), y[0, :, :4, :4].numpy(), 1.0, side=3), abs=1e-9
    )


def test_multiply_adds_are_counted_by_hand():
    """Placing costs none, interpolations their taps per pixel, transposed convolutions their taps per small value."""
    small = torch.zeros(1, 3, 5, 6)
    pixels, values = 3 * 10 * 12, 3 * 5 * 6
    cost = {
        method: count_multiply_adds(lambda method=method: UPSAMPLERS[method](small, (10, 12)))
        for method in ("nearest", "bilinear", "bicubic")
    }
    assert cost == {"nearest": 0, "bilinear": 4 * pixels, "bicubic": 16 * pixels}
    assert count_multiply_adds(lambda: unpooling.to_top_left(small, (10, 12))) == 0
    assert count_multiply_adds(lambda: fcn.upsample(small, (10, 12))) == 16 * values
    dense = torch.zeros(3, 2, 5, 5)
    for form, times in {"torch": 1, "scatter": 1}.items():
        count = count_multiply_adds(lambda form=form: transposed_convolution(small, (10, 12), filters=dense, form=form))
        assert count == times * 25 * 2 * values
    # zeros are multiplied too: one product per tap and pixel of the canvas, stride^2 times the work and more
    zeros = count_multiply_adds(lambda: transposed_convolution(small, (10, 12), filters=dense, form="zeros"))
    assert zeros == 13 * 15 * 25 * 3 * 2


def test_time_is_taken_on_one_thread():
    """Timing leaves the number of threads as it was, also when the call fails."""
    before, inside = torch.get_num_threads(), []
    assert shortest_time(lambda: inside.append(torch.get_num_threads())) >= 0
    assert set(inside) == {1}
    with pytest.raises(ZeroDivisionError):
        shortest_time(lambda: 1 / 0)
    assert torch.get_num_threads() == before
