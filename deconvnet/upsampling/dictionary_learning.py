"""Learning a dictionary from pictures.

Learning alternates: codes for the current atoms, then atoms for the current codes, and neither step raises the objective that
both share. Atoms keep norm 1: otherwise they would grow and the codes shrink, since the penalty counts the codes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from ..errors import OptionError
from ..progress import counted
from .base import check_maps
from .dictionary import CodeBorder, Dictionary, normalise
from .proximal import STEP_MARGIN, largest_eigenvalue
from .sparse import encode

#: (atoms, codes) -> pictures, linear in each.
Synthesis: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LearnedDictionary:
    """A dictionary that was learned from pictures.

    Attributes:
        dictionary: with atoms of norm 1.
        codes: (N, M, H', W'), of the pictures that it was learned from.
        objective: its value after each round.
    """

    dictionary: Dictionary
    codes: Tensor
    objective: list[float]


def learn(
    pictures: Tensor,
    *,
    atoms: int = 32,
    side: int = 9,
    penalty: float,
    rounds: int = 30,
    iterations: int = 10,
    stride: int = 1,
    border: CodeBorder = "zero",
    seed: int = 0,
) -> LearnedDictionary:
    """Learn a dictionary from pictures, starting from patches of them.

    A round is several steps of FISTA for the codes, which continue from those of the last round, and five gradient steps for
    the atoms.

    Args:
        pictures: (N, C, H, W), best without their smooth part (`blurs.smooth_part`).
        atoms: how many.
        side: of an atom, in pixels.
        penalty: the cost of a code of 1, as in `sparse.encode`.
        rounds: how many.
        iterations: steps of FISTA per round.
        stride, border: those of the dictionary.
        seed: of the choice of patches.

    Returns:
        The dictionary, the pictures' codes, and the objective after each round.

    Raises:
        OptionError: there is nothing to learn, or atoms are larger than a picture.
    """
    check_maps(pictures)
    if atoms < 1 or rounds < 1 or not 1 <= side <= min(pictures.shape[2:]):
        raise OptionError(
            f"cannot learn {atoms} atoms of {side}x{side} in {rounds} rounds "
            f"from pictures of {pictures.shape[2]}x{pictures.shape[3]}. "
            "Give at least one atom and one round, and atoms no larger than a picture."
        )
    dictionary = Dictionary(sample_atoms(pictures, atoms, side, seed), stride, border=border)
    size = (pictures.shape[2], pictures.shape[3])
    codes = pictures.new_zeros((len(pictures), atoms, *dictionary.code_size(size)))
    objective: list[float] = []
    for _ in counted(range(rounds), rounds, "learning atoms", "round"):
        codes = encode(pictures, dictionary, penalty=penalty, iterations=iterations, tolerance=0, start=codes).codes
        improved, codes = improve_atoms(dictionary.atoms, codes, partial(_synthesise, dictionary, size), pictures)
        dictionary = replace(dictionary, atoms=improved)
        objective.append(lasso_objective(dictionary.synthesise(codes, size) - pictures, codes, penalty))
    return LearnedDictionary(dictionary, codes, objective)


def sample_atoms(pictures: Tensor, count: int, side: int, seed: int) -> Tensor:
    """Cut patches out of pictures at random, with a probability proportional to their energy.

    Args:
        pictures: (N, C, H, W).
        count: of the patches.
        side: of a patch, in pixels.
        seed: of the choice.

    Returns:
        (count, C, side, side), each of norm 1.
    """
    generator = torch.Generator().manual_seed(seed)
    patches = pictures.unfold(2, side, 1).unfold(3, side, 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    energy = patches.square().sum((1, 2, 3)).double().cpu()
    chosen = torch.multinomial(energy + 1e-12, count, replacement=count > len(energy), generator=generator)
    noise = 1e-3 * torch.randn((count, *patches.shape[1:]), generator=generator)  # no two equal, none empty
    return normalise(patches[chosen.to(patches.device)] + noise.to(patches))


def improve_atoms(
    atoms: Tensor, codes: Tensor, synthesise: Synthesis, pictures: Tensor, *, steps: int = 5
) -> tuple[Tensor, Tensor]:
    """Fit the atoms better to the codes, by projected gradient steps.

    Atoms are kept within norm 1. One that ends below is scaled up and its codes down, which leaves the pictures as they are and
    lowers the cost of the codes.

    Args:
        atoms: (M, C, kh, kw).
        codes: (N, M, H', W').
        synthesise: (atoms, codes) -> pictures.
        pictures: (N, C, H, W).
        steps: how many.

    Returns:
        The atoms, each of norm 1, and the codes that go with them.
    """

    def slope(changed: Tensor, target: Tensor | float) -> Tensor:
        with torch.enable_grad():
            changed = changed.detach().requires_grad_()
            return torch.autograd.grad((synthesise(changed, codes) - target).square().sum() / 2, changed)[0]

    largest = largest_eigenvalue(lambda direction: slope(direction, 0.0), atoms, iterations=20)
    if not largest:  # all codes are zero: there is nothing to learn from
        return atoms, codes
    for _ in range(steps):
        atoms = atoms - slope(atoms, pictures) / (STEP_MARGIN * largest)
        atoms = atoms / _norms(atoms).clamp(min=1)
    return normalise(atoms), codes * _norms(atoms).view(1, -1, 1, 1)


def lasso_objective(residual: Tensor, codes: Tensor, penalty: float) -> float:
    """Return 1/2 |residual|^2 + penalty * |codes|_1, in double precision."""
    return float(residual.double().square().sum() / 2 + penalty * codes.double().abs().sum())


def _synthesise(dictionary: Dictionary, size: tuple[int, int], atoms: Tensor, codes: Tensor) -> Tensor:
    """Synthesise with other atoms."""
    return replace(dictionary, atoms=atoms).synthesise(codes, size)


def _norms(atoms: Tensor) -> Tensor:
    return atoms.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
