"""Panels of figures: pictures, maps and atoms as pixels, and axes that show them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from torch import Tensor

from ..render import apply_tone
from ..render.tone import Pixels

TITLE_POINTS = 7


def show_pixels(axes: Axes, pixels: Pixels, title: str = "") -> None:
    """Show (H, W, 3) pixels as squares in a thin frame, without ticks."""
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#999999")
    axes.spines[:].set_linewidth(0.5)
    if title:
        axes.set_title(title, fontsize=TITLE_POINTS)


def to_pixels(picture: Tensor) -> Pixels:
    """(C, H, W) in 0..1, values beyond clipped -> (H, W, 3), 0..255."""
    values = picture.detach().cpu().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0).numpy()
    return np.rint(255 * values).astype(np.uint8)


def to_signed_pixels(picture: Tensor) -> Pixels:
    """(C, H, W), zero mid-grey -> (H, W, 3), 0..255."""
    return apply_tone([picture.detach().cpu().numpy()])[0]


def to_grey(values: npt.NDArray[Any]) -> Pixels:
    """(H, W), zero black and the largest value white -> (H, W, 3)."""
    return apply_tone([values[None]], "positive", percentile=100)[0]


def to_ink(values: npt.NDArray[Any]) -> Pixels:
    """(H, W), zero white and the largest value black -> (H, W, 3)."""
    return 255 - to_grey(values)


def draw_atoms(atoms: Tensor) -> Pixels:
    """Draw atoms (M, C, h, w) as a grid of squares, zero mid-grey, each on its own scale: (H, W, 3), 0..255."""
    tiles = apply_tone(list(atoms.detach().cpu().numpy()))
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width = tiles[0].shape[0] + 1, tiles[0].shape[1] + 1
    page = np.full((math.ceil(len(tiles) / columns) * height + 1, columns * width + 1, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * height + 1, index % columns * width + 1
        page[top : top + height - 1, left : left + width - 1] = tile
    return page


def psnr_text(truth: Tensor, estimate: Tensor) -> str:
    """Return the peak signal-to-noise ratio of pictures in 0..1 in words: "19.5 dB", or "exact"."""
    error = float((truth - estimate.clamp(0, 1)).double().square().mean())
    return f"{-10 * math.log10(error):.1f} dB" if error else "exact"
