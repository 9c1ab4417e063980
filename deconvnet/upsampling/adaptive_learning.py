"""Learning the filters of an adaptive deconvolutional network, layer by layer, from pictures alone.

A layer alternates as a single dictionary does (`dictionary_learning.learn`): maps and switches for the current filters, then
filters for the current maps; the layers below stay as they are. Zeiler, Taylor & Fergus (2011) solve for the filters by
conjugate gradients; here they take a few projected gradient steps, which cannot raise the objective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..errors import OptionError
from ..progress import counted
from .adaptive import ReconstructionOperator, infer, infer_layer
from .base import check_maps
from .dictionary_learning import improve_atoms, lasso_objective, sample_atoms


@dataclass(frozen=True, eq=False)
class LearnedFilters:
    """Filters that were learned from pictures.

    Attributes:
        filters: of each layer, from the picture upwards, (K, C, side, side), of norm 1.
        objective: its value after each round, for each layer.
    """

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
) -> LearnedFilters:
    """Learn the filters of each layer in turn, starting from patches of what the layer below found.

    A round is an inference that continues from the last round's maps, then gradient steps for the layer's filters.

    Args:
        pictures: (N, C, H, W), best without their smooth part (`blurs.smooth_part`).
        maps: how many each layer has.
        side: of the filters, in pixels, odd.
        penalty: the cost of a value of 1 in any layer's maps, as in `adaptive.infer`.
        rounds: per layer.
        iterations: steps of ISTA per round.
        seed: of the choice of patches.

    Returns:
        The filters of each layer, and the objective after each round.

    Raises:
        OptionError: there is nothing to learn, or the side is even.
    """
    check_maps(pictures)
    if not maps or min(maps) < 1 or side < 1 or side % 2 == 0 or rounds < 1:
        raise OptionError(
            f"cannot learn maps {list(maps)} with filters of {side}x{side} in {rounds} rounds. "
            "Give at least one map per layer and one round, and an odd side."
        )
    filters: list[Tensor] = []
    objective: list[list[float]] = []
    for count in maps:
        below = infer(pictures, filters, penalty=penalty, iterations=3 * iterations) if filters else []
        first = sample_atoms(below[-1].pooled if below else pictures, count, side, seed)
        switches = tuple(layer.switches for layer in below)
        operator = ReconstructionOperator((*filters, first), switches, (pictures.shape[2], pictures.shape[3]))
        operator, history = _learn_layer(pictures, operator, penalty, rounds, iterations)
        filters.append(operator.filters[-1])
        objective.append(history)
    return LearnedFilters(filters, objective)


def _learn_layer(
    pictures: Tensor, operator: ReconstructionOperator, penalty: float, rounds: int, iterations: int
) -> tuple[ReconstructionOperator, list[float]]:
    """Alternate: maps for the current filters of the highest layer, then filters for the current maps."""
    maps, history = torch.zeros_like(operator.correlate(pictures)), []
    for _ in counted(range(rounds), rounds, f"learning layer {len(operator.filters)}", "round"):
        maps = infer_layer(pictures, operator, penalty, iterations, maps).maps
        improved, maps = improve_atoms(operator.filters[-1], maps, partial(_synthesise, operator), pictures)
        operator = _with_top(operator, improved)
        history.append(lasso_objective(operator.synthesise(maps) - pictures, maps, penalty))
    return operator, history


def _synthesise(operator: ReconstructionOperator, top: Tensor, maps: Tensor) -> Tensor:
    """Synthesise with other filters of the highest layer."""
    return _with_top(operator, top).synthesise(maps)


def _with_top(operator: ReconstructionOperator, filters: Tensor) -> ReconstructionOperator:
    """Replace the filters of the highest layer."""
    return replace(operator, filters=(*operator.filters[:-1], filters))
