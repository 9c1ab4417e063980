"""Three-dimensional pooling: the largest |z| in each block of 2 maps x 2 rows x 2 columns (Zeiler, Taylor & Fergus 2011)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import check_maps


@dataclass(frozen=True, eq=False)
class BlockSwitches:
    """Which of the eight positions of its block each pooled value came from.

    Attributes:
        offsets: (N, K', H', W') uint8, 4 * map + 2 * row + column within the block.
        size: (K, H, W) before pooling.
    """

    offsets: Tensor
    size: tuple[int, int, int]


def pool(maps: Tensor) -> tuple[Tensor, BlockSwitches]:
    """Keep the largest |z| of each block, with its sign.

    Args:
        maps: (N, K, H, W).

    Returns:
        The pooled maps (N, K', H', W'), sizes halved and rounded up, and the switches. Of several equal values the first
        counts, by map, then row, then column.

    Raises:
        OptionError: `maps` is not a batch of maps.

    >>> pooled, switches = pool(torch.tensor([[[[1.0, -5.0], [2.0, 3.0]]]]))
    >>> pooled.tolist(), switches.offsets.tolist()
    ([[[[-5.0]]]], [[[[1]]]])
    """
    check_maps(maps)
    blocks = _split(maps, fill=float("nan"))
    offsets = blocks.abs().nan_to_num(nan=-1.0).argmax(-1, keepdim=True)  # beyond the edge nothing is ever chosen
    size = (maps.shape[1], maps.shape[2], maps.shape[3])
    return blocks.gather(-1, offsets)[..., 0], BlockSwitches(offsets[..., 0].to(torch.uint8), size)


def unpool(pooled: Tensor, switches: BlockSwitches) -> Tensor:
    """Put each value back where it was, and zero elsewhere: (N, K', H', W') -> (N, K, H, W)."""
    count, height, width = switches.size
    offsets = switches.offsets.expand(pooled.shape).long()[..., None]
    blocks = pooled.new_zeros((*pooled.shape, 8)).scatter(-1, offsets, pooled[..., None])
    blocks = blocks.view(*pooled.shape, 2, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)  # (N, K', 2, H', 2, W', 2)
    maps = blocks.reshape(len(pooled), 2 * pooled.shape[1], 2 * pooled.shape[2], 2 * pooled.shape[3])
    return maps[:, :count, :height, :width]


def pool_by(maps: Tensor, switches: BlockSwitches) -> Tensor:
    """Read each block's value at its switch, the adjoint of `unpool`: (N, K, H, W) -> (N, K', H', W')."""
    offsets = switches.offsets.expand(len(maps), -1, -1, -1).long()[..., None]
    return _split(maps, fill=0.0).gather(-1, offsets)[..., 0]


def keep_one_per_block(maps: Tensor) -> Tensor:
    """Pool and unpool: keep the largest |z| of each block, and set the others to zero."""
    return unpool(*pool(maps))


def _split(maps: Tensor, fill: float) -> Tensor:
    """(N, K, H, W) -> (N, K', H', W', 8), in the order map, row, column; blocks at the far edges are filled up."""
    count, height, width = maps.shape[1:]
    maps = F.pad(maps, (0, width % 2, 0, height % 2, 0, count % 2), value=fill)
    blocks = maps.view(len(maps), maps.shape[1] // 2, 2, maps.shape[2] // 2, 2, maps.shape[3] // 2, 2)
    return blocks.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)
