"""The adaptive deconvolutional network, where switches come from (Zeiler, Taylor & Fergus 2011).

A model of pictures, not of classes, built from the picture upwards; no layer ever looks at labels. A layer explains the
picture by sparse maps z: they go down through its filters F, are unpooled U by the switches of the layer below, through its
filters, and so to pixels. Every layer is held against the picture itself, not against the layer beneath:

    argmin over z of 1/2 | F1 U1 F2 U2 ... Fl z - y |^2 + penalty * |z|_1

Pooling is three-dimensional: the largest |z| of 2 x 2 pixels in two neighbouring maps stays, and a switch says which of the
eight it was. The switches are found with the maps, not after them: each step of the inference goes down the slope, shrinks,
pools and unpools, so that what cannot survive pooling explains nothing. Shrinking and then keeping the largest is just the
cheapest codes with one a block (the proximal step of the penalty with that constraint), which is why the objective never
rises although blocks compete.

Two years later Zeiler & Fergus kept the way down, unpool by switches and filter, and took the maps and switches from a trained
convnet's forward pass instead: the deconvnet that this package is named after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError
from .base import check_sizes
from .proximal import MARGIN, largest_eigenvalue, minimise, shrink
from .sparse import Dictionary


@dataclass(frozen=True)
class Switches:
    """Which of the eight places of its block each pooled value came from, and the size that pooling started from.

    `places` (N, K', H', W') uint8, 4 * map + 2 * row + column within the block; `size` is (K, H, W) before pooling.
    """

    places: Tensor
    size: tuple[int, int, int]


def pool(maps: Tensor) -> tuple[Tensor, Switches]:
    """Keep the largest |z| of each block of 2 maps x 2 rows x 2 columns: (N, K, H, W) -> (N, K', H', W').

    Sizes are halved and rounded up. Signs are kept. Of equals the first counts: map before row before column.

        >>> pooled, switches = pool(torch.tensor([[[[1.0, -5.0], [2.0, 3.0]]]]))
        >>> pooled.tolist(), switches.places.tolist()
        ([[[[-5.0]]]], [[[[1]]]])
    """
    check_sizes(maps, (1, 1))
    blocks = _blocks(maps, value=float("nan"))
    places = blocks.abs().nan_to_num(nan=-1.0).argmax(-1, keepdim=True)  # beyond the edge nothing is ever chosen
    return blocks.gather(-1, places)[..., 0], Switches(
        places[..., 0].to(torch.uint8), (maps.shape[1], maps.shape[2], maps.shape[3])
    )


def unpool(pooled: Tensor, switches: Switches) -> Tensor:
    """Put each value back where it stood: (N, K', H', W') -> (N, K, H, W), zero elsewhere."""
    count, height, width = switches.size
    places = switches.places.expand(pooled.shape).long()[..., None]
    blocks = pooled.new_zeros((*pooled.shape, 8)).scatter(-1, places, pooled[..., None])
    blocks = blocks.view(*pooled.shape, 2, 2, 2).permute(0, 1, 4, 2, 5, 3, 6)  # (N, K', 2, H', 2, W', 2)
    whole = blocks.reshape(len(pooled), 2 * pooled.shape[1], 2 * pooled.shape[2], 2 * pooled.shape[3])
    return whole[:, :count, :height, :width]


def pool_by(maps: Tensor, switches: Switches) -> Tensor:
    """Read each block's value at its switch, the adjoint of `unpool`: (N, K, H, W) -> (N, K', H', W')."""
    places = switches.places.expand(len(maps), -1, -1, -1).long()[..., None]
    return _blocks(maps, value=0.0).gather(-1, places)[..., 0]


def _blocks(maps: Tensor, value: float) -> Tensor:
    """(N, K, H, W) -> (N, K', H', W', 8), in the order map, row, column; blocks at the far edges are filled up."""
    count, height, width = maps.shape[1:]
    maps = F.pad(maps, (0, width % 2, 0, height % 2, 0, count % 2), value=value)
    split = maps.view(len(maps), maps.shape[1] // 2, 2, maps.shape[2] // 2, 2, maps.shape[3] // 2, 2)
    return split.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)


def reconstruct(small: Tensor, size: tuple[int, int], *, filters: Sequence[Tensor], switches: Sequence[Switches]) -> Tensor:
    """Go up from the pooled maps of the highest layer to the picture: (N, K', H', W') -> (N, C, H, W).

    `filters`: those of each layer, from the picture upwards, (K, C, k, k) with odd k; `switches`: as many, of each layer's
    pooling. From the top: unpool by the switches, filter, and so on down to pixels. Nothing is rectified: maps have both
    signs here.
    """
    check_sizes(small, size)
    if len(filters) != len(switches) or not filters:
        raise OptionError(f"going up through {len(filters)} layers takes as many switches, found {len(switches)}.")
    if tuple(switches[-1].places.shape[1:]) != tuple(small.shape[1:]) or tuple(switches[0].size[1:]) != tuple(size):
        found, wanted = (tuple(shape) for shape in (small.shape[1:], switches[-1].places.shape[1:]))
        first = switches[0].size
        raise OptionError(f"these switches go from {wanted} to {first[1]}x{first[2]}, not from {found} to {size[0]}x{size[1]}.")
    return Stack(tuple(filters), tuple(switches[:-1]), size).synthesise(unpool(small, switches[-1]))


@dataclass(frozen=True)
class Stack:
    """The way between a layer's maps and the picture: R and its adjoint, with the switches of the layers beneath held.

    `filters` of l layers, `switches` of the l - 1 beneath the highest; `size` (H, W) of the picture.
    """

    filters: tuple[Tensor, ...]
    switches: tuple[Switches, ...]
    size: tuple[int, int]

    def synthesise(self, maps: Tensor) -> Tensor:
        """R: the highest layer's maps (N, K, H', W') -> the picture (N, C, H, W)."""
        for filters, switches in zip(self.filters[:0:-1], self.switches[::-1], strict=True):
            pooled = Dictionary(filters).synthesise(maps, (switches.places.shape[2], switches.places.shape[3]))
            maps = unpool(pooled, switches)
        return Dictionary(self.filters[0]).synthesise(maps, self.size)

    def correlate(self, picture: Tensor) -> Tensor:
        """R': the picture (N, C, H, W) -> maps (N, K, H', W'); convolve, read at the switches, and so on up."""
        maps = Dictionary(self.filters[0]).correlate(picture)
        for filters, switches in zip(self.filters[1:], self.switches, strict=True):
            maps = Dictionary(filters).correlate(pool_by(maps, switches))
        return maps


@dataclass(frozen=True)
class Layer:
    """What one layer found: maps z (N, K, H, W), pooled maps, switches, the picture they make, the objective's course."""

    maps: Tensor
    pooled: Tensor
    switches: Switches
    made: Tensor
    objective: list[float]


def infer(
    picture: Tensor, filters: Sequence[Tensor], *, penalty: float, iterations: int = 30, start: Sequence[Tensor] = ()
) -> list[Layer]:
    """Find each layer's maps and switches for pictures (N, C, H, W), layer by layer from below, by ISTA.

    `filters`: (K, C, k, k) for each layer, C being the channels of the picture and then half the maps of the layer below.
    `penalty`: what a value of 1 costs in any layer's maps. `start`: maps to begin with, of the first so many layers; else
    zeros.
    """
    check_sizes(picture, (1, 1))
    check_filters(filters, picture.shape[1])
    if penalty <= 0:
        raise OptionError(f"penalty cannot be {penalty!r}: maps that cost nothing are not sparse. Give a number above 0.")
    layers: list[Layer] = []
    for number in range(len(filters)):
        beneath = tuple(layer.switches for layer in layers)
        stack = Stack(tuple(filters[: number + 1]), beneath, (picture.shape[2], picture.shape[3]))
        first = start[number] if number < len(start) else torch.zeros_like(stack.correlate(picture))
        layers.append(infer_layer(picture, stack, penalty, iterations, first))
    return layers


def infer_layer(picture: Tensor, stack: Stack, penalty: float, iterations: int, first: Tensor) -> Layer:
    """Step down the slope, shrink, pool and unpool, again and again."""
    noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(0)).to(first)
    largest = largest_eigenvalue(lambda maps: stack.correlate(stack.synthesise(maps)), noise)
    maps, objective = minimise(
        picture,
        first,
        synthesise=stack.synthesise,
        correlate=stack.correlate,
        cheaper=lambda maps, step: one_a_block(shrink(maps, penalty * step)),
        cost=lambda maps: penalty * maps.abs().sum(),
        step=1 / (MARGIN * largest),
        iterations=iterations,
        accelerated=False,  # as in the paper; momentum would leave the codes with one a block
    )
    pooled, switches = pool(maps)
    return Layer(maps, pooled, switches, stack.synthesise(maps), objective)


def one_a_block(maps: Tensor) -> Tensor:
    """Pool and unpool: keep the largest |z| of each block, and make the others zero."""
    return unpool(*pool(maps))


def check_filters(filters: Sequence[Tensor], channels: int) -> None:
    """Refuse filters that do not stand on each other."""
    if not filters:
        raise OptionError("a model has one layer of filters or more, found none.")
    for number, layer in enumerate(filters, 1):
        if layer.dim() != 4 or layer.shape[1] != channels or min(layer.shape[2:]) % 2 == 0 or max(layer.shape[2:]) % 2 == 0:
            raise OptionError(
                f"the filters of layer {number} are {tuple(layer.shape)}: they must be (K, {channels}, k, k) with odd k."
            )
        channels = -(-layer.shape[0] // 2)
