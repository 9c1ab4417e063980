"""The adaptive deconvolutional network, where switches come from (Zeiler, Taylor & Fergus 2011).

A model of pictures, not of classes, built from the picture upwards; no layer ever sees a label. Each layer explains the picture
by sparse maps z: they go down through its filters F, are unpooled U by the switches of the layer below, filtered again, and so
on to the pixels. Every layer is compared with the picture itself, not with the layer below:

    argmin over z of 1/2 | F1 U1 F2 U2 ... Fl z - y |^2 + penalty * |z|_1

Pooling is three-dimensional: the largest |z| of 2 x 2 pixels in two neighbouring maps is kept, and a switch says which of the
eight it was. Switches are found together with the maps: each step of the inference follows the slope, shrinks, pools and
unpools, so that values which cannot survive pooling explain nothing. Shrinking and then keeping the largest gives the cheapest
codes with one value per block (the proximal step of the penalty under that constraint), which is why the objective never rises
although values compete.

Two years later Zeiler & Fergus kept this way down, unpool by switches and filter, and took the maps and switches from a trained
convnet's forward pass instead: the deconvnet that this package is named after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import OptionError
from .base import check_inputs, check_maps
from .block_pooling import BlockSwitches, keep_one_per_block, pool, pool_by, unpool
from .dictionary import Dictionary
from .proximal import STEP_MARGIN, largest_eigenvalue, minimise, shrink


def reconstruct(
    small: Tensor, size: tuple[int, int], *, filters: Sequence[Tensor], switches: Sequence[BlockSwitches]
) -> Tensor:
    """Upsample from the pooled maps of the highest layer to the picture: unpool by the switches, filter, and so on to the
    pixels.

    Nothing is rectified: maps have both signs here.

    Args:
        small: the pooled maps, (N, K', H', W').
        size: (H, W) of the picture.
        filters: of each layer, from the picture upwards, (K, C, kh, kw) with odd sides.
        switches: of each layer's pooling, in the same order.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: filters, switches and sizes do not fit each other.
    """
    check_inputs(small, size)
    if len(filters) != len(switches) or not filters:
        raise OptionError(f"{len(filters)} layers of filters take as many switches, found {len(switches)}.")
    pooled, height, width = tuple(switches[-1].offsets.shape[1:]), *switches[0].size[1:]
    if pooled != tuple(small.shape[1:]) or (height, width) != tuple(size):
        raise OptionError(
            f"these switches go from {pooled} to {height}x{width}, "
            f"not from {tuple(small.shape[1:])} to {size[0]}x{size[1]}. Take those of these maps."
        )
    operator = ReconstructionOperator(tuple(filters), tuple(switches[:-1]), size)
    return operator.synthesise(unpool(small, switches[-1]))


@dataclass(frozen=True, eq=False)
class ReconstructionOperator:
    """The linear operator R from a layer's maps to the picture, and its adjoint, with the switches of the layers below fixed.

    Attributes:
        filters: of the l layers, from the picture upwards.
        switches: of the l - 1 layers below the highest.
        size: (H, W) of the picture.
    """

    filters: tuple[Tensor, ...]
    switches: tuple[BlockSwitches, ...]
    size: tuple[int, int]

    def synthesise(self, maps: Tensor) -> Tensor:
        """Apply R: the highest layer's maps (N, K, H', W') -> the picture (N, C, H, W)."""
        for filters, switches in zip(self.filters[:0:-1], self.switches[::-1], strict=True):
            pooled = Dictionary(filters).synthesise(maps, (switches.offsets.shape[2], switches.offsets.shape[3]))
            maps = unpool(pooled, switches)
        return Dictionary(self.filters[0]).synthesise(maps, self.size)

    def correlate(self, picture: Tensor) -> Tensor:
        """Apply the adjoint of R: the picture (N, C, H, W) -> maps (N, K, H', W')."""
        maps = Dictionary(self.filters[0]).correlate(picture)
        for filters, switches in zip(self.filters[1:], self.switches, strict=True):
            maps = Dictionary(filters).correlate(pool_by(maps, switches))
        return maps


@dataclass(frozen=True, eq=False)
class InferredLayer:
    """What one layer found in pictures.

    Attributes:
        maps: z, (N, K, H, W), at most one value per block.
        pooled: (N, K', H', W').
        switches: of the pooling.
        reconstruction: the pictures that the maps stand for, (N, C, H, W).
        objective: its value at the start and after each step.
    """

    maps: Tensor
    pooled: Tensor
    switches: BlockSwitches
    reconstruction: Tensor
    objective: list[float]


def infer(
    picture: Tensor, filters: Sequence[Tensor], *, penalty: float, iterations: int = 30, start: Sequence[Tensor] = ()
) -> list[InferredLayer]:
    """Find each layer's maps and switches, layer by layer from the picture upwards, by ISTA.

    Args:
        picture: (N, C, H, W), best without its smooth part (`blurs.smooth_part`).
        filters: (K, C, kh, kw) with odd sides for each layer; C is the number of the picture's channels, and above it half the
            number of the maps below.
        penalty: the cost of a value of 1 in any layer's maps, above 0.
        iterations: steps per layer.
        start: maps to begin with, of the first so many layers; by default zeros.

    Returns:
        What each layer found.

    Raises:
        OptionError: the filters do not fit each other, or the penalty is not above 0.
    """
    check_maps(picture)
    check_filters(filters, picture.shape[1])
    if penalty <= 0:
        raise OptionError(f"penalty cannot be {penalty!r}: maps that cost nothing are not sparse. Give a number above 0.")
    layers: list[InferredLayer] = []
    for number in range(len(filters)):
        below = tuple(layer.switches for layer in layers)
        operator = ReconstructionOperator(tuple(filters[: number + 1]), below, (picture.shape[2], picture.shape[3]))
        maps = start[number] if number < len(start) else torch.zeros_like(operator.correlate(picture))
        layers.append(infer_layer(picture, operator, penalty, iterations, maps))
    return layers


def infer_layer(
    picture: Tensor, operator: ReconstructionOperator, penalty: float, iterations: int, start: Tensor
) -> InferredLayer:
    """Find the maps and switches of the operator's highest layer: step down the slope, shrink, pool and unpool, repeatedly."""
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(0)).to(start)
    largest = largest_eigenvalue(lambda maps: operator.correlate(operator.synthesise(maps)), noise)
    maps, objective = minimise(
        picture,
        start,
        synthesise=operator.synthesise,
        correlate=operator.correlate,
        proximal_step=lambda maps, step: keep_one_per_block(shrink(maps, penalty * step)),
        cost=lambda maps: penalty * maps.abs().sum(),
        step=1 / (STEP_MARGIN * largest),
        iterations=iterations,
        accelerated=False,  # as in the paper; with momentum there would be more than one value per block
    )
    pooled, switches = pool(maps)
    return InferredLayer(maps, pooled, switches, operator.synthesise(maps), objective)


def check_filters(filters: Sequence[Tensor], channels: int) -> None:
    """Raise `OptionError` unless each layer's filters fit the maps below, and the first layer's a picture of `channels`."""
    if not filters:
        raise OptionError("a model has one layer of filters or more, found none.")
    for number, layer in enumerate(filters, 1):
        if layer.dim() != 4 or layer.shape[1] != channels or any(side % 2 == 0 for side in layer.shape[2:]):
            raise OptionError(
                f"the filters of layer {number} are {tuple(layer.shape)}: they must be (K, {channels}, kh, kw) with odd sides."
            )
        channels = -(-layer.shape[0] // 2)
