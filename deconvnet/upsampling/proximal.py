"""Finding codes: minimise 1/2 |R x - y|^2 + cost(x), where R, which turns codes x into a picture, is linear.

Each step follows the slope of the first term, R'(R x - y), and then makes the codes cheaper: ISTA (Daubechies, Defrise & De Mol
2004), or with momentum FISTA (Beck & Teboulle 2009). A step of one over the largest eigenvalue of R'R never overshoots. R comes
as two functions, R and its adjoint R': a transposed convolution, and the convolution that it is the transpose of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Operator: TypeAlias = Callable[[Tensor], Tensor]

STEP_MARGIN = 1.02  # power iteration comes from below: 2 % more than what it finds is on the safe side


def shrink(codes: Tensor, amount: float) -> Tensor:
    """Bring every value nearer to zero by `amount`, and those that are nearer to zero itself: the proximal step of amount *
    |x|_1.

    >>> shrink(torch.tensor([-3.0, 0.5, 2.0]), 1.0).tolist()
    [-2.0, 0.0, 1.0]
    """
    return codes.sign() * (codes.abs() - amount).clamp(min=0)


def shrink_nonnegative(codes: Tensor, amount: float) -> Tensor:
    """Do the same for codes that may not be negative: a ReLU with the bias -amount."""
    return (codes - amount).clamp(min=0)


@torch.no_grad()
def largest_eigenvalue(operator: Operator, start: Tensor, *, iterations: int = 200, tolerance: float = 1e-4) -> float:
    """Find the largest eigenvalue of a symmetric positive operator by power iteration, from below.

    Args:
        operator: maps a tensor to one of its shape.
        start: the first guess, not orthogonal to the eigenvector: random numbers will do.
        iterations: at most.
        tolerance: it ends when the value has changed by less than this, relative, twice in a row.

    Returns:
        The eigenvalue, 0.0 for an operator that maps everything to zero.
    """
    vector, eigenvalue, settled = start / start.norm(), 0.0, 0
    for _ in range(iterations):
        image = operator(vector)
        norm = float(image.norm())
        if norm == 0:
            return 0.0
        vector = image / norm
        settled = settled + 1 if abs(norm - eigenvalue) < tolerance * norm else 0
        eigenvalue = norm
        if settled == 2:
            break
    return eigenvalue


@torch.no_grad()
def minimise(
    target: Tensor,
    start: Tensor,
    *,
    synthesise: Operator,
    correlate: Operator,
    proximal_step: Callable[[Tensor, float], Tensor],
    cost: Callable[[Tensor], Tensor],
    step: float,
    iterations: int,
    accelerated: bool = True,
    tolerance: float = 0.0,
) -> tuple[Tensor, list[float]]:
    """Find codes x that make 1/2 |R x - target|^2 + cost(x) small.

    The objective never rises: without momentum, a step of one over the largest eigenvalue makes sure; with momentum, a step
    that would raise the objective is not taken, and the momentum restarts (O'Donoghue & Candes 2015).

    Args:
        target: the picture, (N, C, H, W).
        start: the first codes, (N, M, H', W').
        synthesise: R, codes to picture.
        correlate: the adjoint of R.
        proximal_step: (codes, step) -> cheaper codes: the proximal step of `cost`.
        cost: codes -> a scalar.
        step: the step's length.
        iterations: at most.
        accelerated: FISTA, else ISTA.
        tolerance: it ends when five steps together have lowered the objective by less than this, relative.

    Returns:
        The codes, and the objective at the start and after each step.
    """
    codes, ahead, age = start, start, 1.0
    picture = picture_ahead = synthesise(start)  # R is linear: R of the point ahead follows from R of the last two codes
    history = [_objective(picture, target, cost(start))]
    for _ in range(iterations):
        moved = proximal_step(ahead - step * correlate(picture_ahead - target), step)
        picture_moved = synthesise(moved)
        objective = _objective(picture_moved, target, cost(moved))
        if accelerated and objective > history[-1]:
            ahead, picture_ahead, age = codes, picture, 1.0
            history.append(history[-1])
            continue
        previous_age, age = age, (1 + (1 + 4 * age**2) ** 0.5) / 2
        momentum = (previous_age - 1) / age if accelerated else 0.0
        ahead, picture_ahead = moved + momentum * (moved - codes), picture_moved + momentum * (picture_moved - picture)
        codes, picture = moved, picture_moved
        history.append(objective)
        if len(history) > 5 and history[-6] - history[-1] < tolerance * abs(history[-1]):
            break
    return codes, history


def _objective(picture: Tensor, target: Tensor, cost: Tensor) -> float:
    return float((picture - target).double().square().sum() / 2 + cost.double())
