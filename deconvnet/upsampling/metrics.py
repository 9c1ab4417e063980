"""How near two maps are, and what a method costs: peak signal-to-noise ratio, structural similarity, multiply-adds, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..optional import require

TIMED_CALLS, TIMED_SECONDS = 9, 1.0  # a call is timed so often, or until that much time is spent


def psnr(truth: Tensor, estimate: Tensor, span: float) -> float:
    """Return the peak signal-to-noise ratio, in decibels.

    Args:
        truth, estimate: (1, C, H, W).
        span: the difference of white and black.

    Returns:
        Decibels, infinite if nothing differs.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    metrics = require("skimage.metrics", needed_by="comparing", extra="upsampling")
    if torch.equal(truth, estimate):
        return math.inf
    return float(metrics.peak_signal_noise_ratio(truth.double().numpy(), estimate.double().numpy(), data_range=span))


def ssim(truth: Tensor, estimate: Tensor, span: float) -> float:
    """Return the mean structural similarity (Wang et al. 2004) in windows of 7 pixels, fewer on smaller maps.

    Args:
        truth, estimate: (1, C, H, W), at least 3 pixels high and wide.
        span: the difference of white and black.

    Returns:
        The similarity, at most 1.

    Raises:
        MissingPackageError: scikit-image is not installed.
    """
    metrics = require("skimage.metrics", needed_by="comparing", extra="upsampling")
    side = min(7, *truth.shape[2:])
    maps = (values[0].double().numpy() for values in (truth, estimate))
    return float(metrics.structural_similarity(*maps, data_range=span, channel_axis=0, win_size=side - 1 + side % 2))


def count_multiply_adds(call: Callable[[], Tensor]) -> int:
    """Count the multiply-adds of the convolutions, matrix products and interpolations in a call; placing values costs none."""
    interpolations = {torch.ops.aten.upsample_bilinear2d: _flops(4), torch.ops.aten.upsample_bicubic2d: _flops(16)}
    with FlopCounterMode(display=False, custom_mapping=interpolations) as counter:
        call()
    return int(counter.get_total_flops()) // 2


def shortest_time(call: Callable[[], Tensor]) -> float:
    """Time a call on one thread, several times; return the seconds of the fastest, since other load can only add to it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine take a hundred times as long
    try:
        seconds = [_time(call)]
        while len(seconds) < TIMED_CALLS and sum(seconds) < TIMED_SECONDS:
            seconds.append(_time(call))
    finally:
        torch.set_num_threads(threads)
    return min(seconds)


def _time(call: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _flops(taps: int) -> Callable[..., int]:
    """Return how `FlopCounterMode` counts an interpolation: two operations per tap and new pixel."""

    def flops(*shapes: Any, out_shape: Sequence[int], **options: Any) -> int:
        return 2 * taps * math.prod(out_shape)

    return flops
