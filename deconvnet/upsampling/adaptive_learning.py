"""Learning the filters of an adaptive deconvolutional network, one layer after the other, from pictures alone.

A layer takes turns as a single dictionary does (`dictionary.learn`): maps and switches for the filters at hand, then filters
for the maps at hand; the layers beneath stay as they are. Zeiler, Taylor & Fergus (2011) solve for the filters by conjugate
gradients; here they take a few projected gradient steps, which cannot raise the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import OptionError
from .adaptive import Stack, infer, infer_layer
from .base import check_sizes
from .dictionary import better_atoms, first_atoms


@dataclass(frozen=True)
class Learned:
    """The filters of each layer, from the picture upwards, and the objective after each round of each."""

    filters: list[Tensor]
    objective: list[list[float]]


def learn(
    pictures: Tensor,
    *,
    maps: Sequence[int] = (16, 32),
    side: int = 7,
    penalty: float,
    rounds: int = 20,
    iterations: int = 10,
    seed: int = 0,
) -> Learned:
    """Learn the filters of one layer after the other from pictures (N, C, H, W) without their smooth part.

    `maps` of each layer, `side` of their filters (odd). A round is an inference that goes on from the last round's maps, then a
    step for the layer's filters with maps and switches held; the layers beneath stay as they are.
    """
    check_sizes(pictures, (1, 1))
    if not maps or min(maps) < 1 or side < 1 or side % 2 == 0 or rounds < 1:
        raise OptionError(
            f"cannot learn maps {list(maps)} with filters of {side}x{side} in {rounds} rounds: give one or more, side odd."
        )
    filters: list[Tensor] = []
    objective: list[list[float]] = []
    for count in maps:
        beneath = infer(pictures, filters, penalty=penalty, iterations=3 * iterations) if filters else []
        source = beneath[-1].pooled if beneath else pictures
        stack = Stack(
            (*filters, first_atoms(source, count, side, seed)), tuple(layer.switches for layer in beneath), _size(pictures)
        )
        stack, history = _learn_layer(pictures, stack, penalty, rounds, iterations)
        filters.append(stack.filters[-1])
        objective.append(history)
    return Learned(filters, objective)


def _learn_layer(pictures: Tensor, stack: Stack, penalty: float, rounds: int, iterations: int) -> tuple[Stack, list[float]]:
    """Take turns: maps for the filters at hand, then filters for the maps at hand."""
    maps, history = torch.zeros_like(stack.correlate(pictures)), []
    for _ in tqdm(range(rounds), desc=f"layer {len(stack.filters)}", unit="round", disable=None):
        maps = infer_layer(pictures, stack, penalty, iterations, maps).maps
        better, maps = better_atoms(stack.filters[-1], maps, partial(_made, stack), pictures)
        stack = _with_top(stack, better)
        rest = stack.synthesise(maps) - pictures
        history.append(float(rest.double().square().sum() / 2 + penalty * maps.double().abs().sum()))
    return stack, history


def _made(stack: Stack, top: Tensor, maps: Tensor) -> Tensor:
    return _with_top(stack, top).synthesise(maps)


def _with_top(stack: Stack, filters: Tensor) -> Stack:
    """Change the filters of the highest layer."""
    return replace(stack, filters=(*stack.filters[:-1], filters))


def _size(pictures: Tensor) -> tuple[int, int]:
    return pictures.shape[2], pictures.shape[3]
