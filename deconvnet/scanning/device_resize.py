"""Pictures resized and cropped on any device, to the very bytes of Pillow.

Pillow resizes 8-bit pictures in two passes, along rows and then along columns. In each, a level is a sum of neighbours with
weights in 2^-22, rounded to a whole one. Here a pass is a product with a matrix of these weights. They have 23 bits, which is
too many for exact sums in float32, so that they are split into two halves, whose products with levels, and mostly their sums,
float32 holds exactly: also as TF32, to which another thread may have switched the device.

Torch's own resizing with antialiasing rounds once, and its weights: of photographs, one level in 30 is then another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor

from ..choices import Interpolation
from ..images import Preprocess

Values: TypeAlias = npt.NDArray[np.float64]

_BITS, _HALF = 22, 11  # of a weight behind the point, and of its lower half
_GREY = (19595, 38470, 7471)  # of 2^16: Pillow's grey, from R, G and B


def crop_frames(frames: Tensor, preprocess: Preprocess) -> Tensor:
    """Resize and crop RGB pictures of one size as `Preprocess.crop_picture` does: (N, 3, H, W) -> (N, C, H', W'), uint8."""
    height, width = frames.shape[2:]
    (new_width, new_height), (top, left) = preprocess.crop_geometry((width, height))
    crop_height, crop_width = preprocess.crop_size
    if preprocess.channels == 1:
        weights = torch.tensor(_GREY, dtype=torch.int32, device=frames.device).view(3, 1, 1)
        frames = (((frames * weights).sum(1, keepdim=True, dtype=torch.int32) + 2**15) >> 16).byte()
    kind = preprocess.interpolation
    if columns_first((width, height), (new_width, new_height)):
        frames = _resize_rows(frames.transpose(2, 3), new_height, top, crop_height, kind).transpose(2, 3)
        return _resize_rows(frames, new_width, left, crop_width, kind)
    frames = _resize_rows(frames, new_width, left, crop_width, kind)
    return _resize_rows(frames.transpose(2, 3), new_height, top, crop_height, kind).transpose(2, 3)


def columns_first(size: tuple[int, int], new_size: tuple[int, int]) -> bool:
    """Say whether Pillow resizes along columns first: from version 13 on, if that loses more than twice as many lines."""
    lost_columns, lost_rows = (old - new for old, new in zip(size, new_size, strict=True))
    return int(PIL.__version__.split(".")[0]) >= 13 and lost_rows > max(0, 2 * lost_columns)


def _resize_rows(frames: Tensor, length: int, first: int, count: int, kind: Interpolation) -> Tensor:
    """Resize rows to `length` pixels, of which `count` are wanted from `first` on: (..., W) -> (..., count)."""
    if frames.shape[-1] == length:
        return frames[..., first : first + count]
    matrix = _matrix(frames.shape[-1], length, first, count, kind, frames.device)
    with torch.autocast(frames.device.type, enabled=False):  # which somebody may have put around a whole scan
        sums = (frames.float() @ matrix).int()
    high, low = sums.chunk(2, -1)
    return (((high << _HALF) + low + (1 << (_BITS - 1))) >> _BITS).clamp_(0, 255).byte()


@functools.lru_cache(maxsize=128)  # pictures of a data set mostly have a few sizes
def _matrix(size: int, length: int, first: int, count: int, kind: Interpolation, device: torch.device) -> Tensor:
    """Return the halves of the weights as a matrix (size, 2 * count): first the upper ones, then the lower ones."""
    weights = pillow_weights(size, length, first, count, kind)
    halves = np.concatenate([weights >> _HALF, weights & ((1 << _HALF) - 1)], 1)
    return torch.from_numpy(halves.astype(np.float32)).to(device)


def pillow_weights(size: int, length: int, first: int, count: int, kind: Interpolation) -> npt.NDArray[np.int64]:
    """Return with what weight, in 2^-22, each of `size` pixels enters each of `count` of `length`: (size, count)."""
    support, function = FILTERS[kind]
    scale = size / length
    stretch = max(scale, 1.0)
    centres = (np.arange(first, first + count) + 0.5) * scale
    lowest = np.maximum(np.trunc(centres - support * stretch + 0.5), 0)
    end = np.minimum(np.trunc(centres + support * stretch + 0.5), size)
    pixels = np.arange(size)[:, None]
    values = function((pixels - centres + 0.5) * (1 / stretch)) * ((pixels >= lowest) & (pixels < end))
    values /= values.sum(0)
    return np.trunc(values * (1 << _BITS) + np.copysign(0.5, values)).astype(np.int64)


def _bilinear(distances: Values) -> Values:
    return np.maximum(1 - np.abs(distances), 0)


def _bicubic(distances: Values, a: float = -0.5) -> Values:
    x = np.abs(distances)
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(distances: Values) -> Values:
    return np.where(np.abs(distances) < 3, np.sinc(distances) * np.sinc(distances / 3), 0)


#: How far each of Pillow's filters reaches, in pixels of the smaller picture, and its value at a distance.
FILTERS: dict[Interpolation, tuple[float, Callable[[Values], Values]]] = {
    "bilinear": (1.0, _bilinear),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}
