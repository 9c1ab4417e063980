"""How near two maps are, and what a way costs: peak signal-to-noise ratio, structural similarity, multiply-adds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..optional import require

RUNS, FOLD_FROM = 9, 1.0  # a call is timed so often, or for so many seconds


def psnr(truth: Tensor, found: Tensor, span: float) -> float:
    """Return the peak signal-to-noise ratio in decibels; infinity where nothing differs. Both (1, C, H, W)."""
    metrics = require("skimage.metrics", needed_by="comparing", extra="upsampling")
    if torch.equal(truth, found):
        return math.inf
    return float(metrics.peak_signal_noise_ratio(truth.double().numpy(), found.double().numpy(), data_range=span))


def ssim(truth: Tensor, found: Tensor, span: float) -> float:
    """Return the mean structural similarity in windows of 7 pixels, fewer on smaller maps. Both (1, C, H, W)."""
    metrics = require("skimage.metrics", needed_by="comparing", extra="upsampling")
    side = min(7, *truth.shape[2:])
    maps = (values[0].double().numpy() for values in (truth, found))
    return float(metrics.structural_similarity(*maps, data_range=span, channel_axis=0, win_size=side - 1 + side % 2))


def multiply_adds(go: Callable[[], Tensor]) -> int:
    """Count the multiply-adds of the convolutions, products of matrices and interpolations in a call."""
    interpolations = {torch.ops.aten.upsample_bilinear2d: _taps(4), torch.ops.aten.upsample_bicubic2d: _taps(16)}
    with FlopCounterMode(display=False, custom_mapping=interpolations) as counter:
        go()
    return int(counter.get_total_flops()) // 2


def fastest(go: Callable[[], Tensor]) -> float:
    """Return the seconds of the fastest of several runs on one thread: whatever else the machine does can only add to it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine take a hundred times as long
    try:
        seconds = [_seconds(go)]
        while len(seconds) < RUNS and sum(seconds) < FOLD_FROM:
            seconds.append(_seconds(go))
    finally:
        torch.set_num_threads(threads)
    return min(seconds)


def _seconds(go: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    go()
    return time.perf_counter() - start


def _taps(count: int) -> Callable[..., int]:
    def flops(*shapes: Any, out_shape: Sequence[int], **_: Any) -> int:
        return 2 * count * math.prod(out_shape)

    return flops
