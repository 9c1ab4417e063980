"""Finding codes: minimise 1/2 |R x - y|^2 + what the codes cost, where R, the way to the picture, is linear.

Each step goes down the first term's slope, R'(R x - y), and then makes the codes cheaper: ISTA (Daubechies, Defrise & De Mol
2004), or with momentum FISTA (Beck & Teboulle 2009). A step of one over the largest eigenvalue of R'R never overshoots. R
comes as two functions, R and its adjoint: a transposed convolution and the convolution whose transpose it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]

MARGIN = 1.02  # power iteration comes from below: 2 % more than it found is on the safe side


def shrink(codes: Tensor, by: float) -> Tensor:
    """Bring every value nearer to zero, and what is nearer than `by` to zero itself: the step that belongs to `by` * |x|_1.

    >>> shrink(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    return codes.sign() * (codes.abs() - by).clamp(min=0)


def shrink_positive(codes: Tensor, by: float) -> Tensor:
    """The same for codes that may not be negative: a ReLU with the bias -by."""
    return (codes - by).clamp(min=0)


@torch.no_grad()
def largest_eigenvalue(operator: Operator, start: Tensor, *, iterations: int = 200, tolerance: float = 1e-4) -> float:
    """Find the largest eigenvalue of a symmetric positive operator by power iteration, from below.

    `start` gives the shape, and a first guess that is not orthogonal to what is looked for: random numbers will do. It ends
    when the value has changed by less than `tolerance`, relative, twice in a row.
    """
    vector, value, still = start / start.norm(), 0.0, 0
    for _ in range(iterations):
        image = operator(vector)
        norm = float(image.norm())
        if norm == 0:
            return 0.0
        vector = image / norm
        still = still + 1 if abs(norm - value) < tolerance * norm else 0
        value = norm
        if still == 2:
            break
    return value


@torch.no_grad()
def minimise(
    target: Tensor,
    start: Tensor,
    *,
    synthesise: Operator,
    correlate: Operator,
    cheaper: Callable[[Tensor, float], Tensor],
    cost: Callable[[Tensor], Tensor],
    step: float,
    iterations: int,
    accelerated: bool = True,
    tolerance: float = 0.0,
) -> tuple[Tensor, list[float]]:
    """Find codes x that make 1/2 |R x - target|^2 + cost(x) small; return them and the objective's course.

    The course is the objective at the start and after each step. `synthesise` is R, `correlate` its adjoint; `cheaper(x,
    step)` the proximal step of `cost`. The objective never rises: without momentum a step of one over the largest eigenvalue
    sees to that; with it (`accelerated`), a step that would raise the objective is not taken, and the momentum starts anew
    (O'Donoghue & Candes 2015). It ends early once five steps together have lowered the objective by less than `tolerance`,
    relative.
    """
    codes, ahead, age = start, start, 1.0
    made = made_ahead = synthesise(start)  # R is linear: R of the point ahead follows from R of the last two codes
    history = [_objective(made, target, cost(start))]
    for _ in range(iterations):
        moved = cheaper(ahead - step * correlate(made_ahead - target), step)
        made_moved = synthesise(moved)
        objective = _objective(made_moved, target, cost(moved))
        if accelerated and objective > history[-1]:
            ahead, made_ahead, age = codes, made, 1.0
            history.append(history[-1])
            continue
        older, age = age, (1 + (1 + 4 * age**2) ** 0.5) / 2
        momentum = (older - 1) / age if accelerated else 0.0
        ahead, made_ahead = moved + momentum * (moved - codes), made_moved + momentum * (made_moved - made)
        codes, made = moved, made_moved
        history.append(objective)
        if len(history) > 5 and history[-6] - history[-1] < tolerance * abs(history[-1]):
            break
    return codes, history


def _objective(made: Tensor, target: Tensor, cost: Tensor) -> float:
    return float((made - target).double().square().sum() / 2 + cost.double())
