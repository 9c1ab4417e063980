"""Where dictionaries come from: learned from pictures, or taken from a convnet's first layer.

Learning takes turns: codes for the atoms at hand, then atoms for the codes at hand, and neither step raises the one objective
that both share. Atoms keep norm 1: without that they would grow and the codes shrink, for the penalty counts the codes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import OptionError
from .base import check_sizes
from .proximal import MARGIN, largest_eigenvalue
from .sparse import Dictionary, encode


@dataclass(frozen=True)
class Learned:
    """A dictionary, the codes (N, M, H', W') of the pictures it was learned from, and the objective after each round."""

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
    border: str = "zero",
    seed: int = 0,
) -> Learned:
    """Learn a dictionary of `atoms` atoms, `side` pixels a side, from pictures (N, C, H, W) without their smooth part.

    It starts from patches of the pictures. A round is `iterations` steps of FISTA for the codes, which go on from those of the
    last round, and five steps down the slope for the atoms. `penalty`, `stride` and `border` are those of `encode` and
    `Dictionary`.
    """
    check_sizes(pictures, (1, 1))
    if atoms < 1 or rounds < 1 or not 1 <= side <= min(pictures.shape[2:]):
        raise OptionError(
            f"cannot learn {atoms} atoms of {side}x{side} in {rounds} rounds "
            f"from pictures of {pictures.shape[2]}x{pictures.shape[3]}: "
            "give an atom and a round or more, and atoms no larger than a picture."
        )
    dictionary = Dictionary(first_atoms(pictures, atoms, side, seed), stride, border=border)
    size = (pictures.shape[2], pictures.shape[3])
    codes: Tensor | None = None
    objective: list[float] = []
    for _ in tqdm(range(rounds), unit="round", disable=None):
        codes = encode(pictures, dictionary, penalty=penalty, iterations=iterations, tolerance=0, start=codes).codes
        better, codes = better_atoms(dictionary.atoms, codes, partial(_made, dictionary, size), pictures)
        dictionary = replace(dictionary, atoms=better)
        rest = dictionary.synthesise(codes, size) - pictures
        objective.append(float(rest.double().square().sum() / 2 + penalty * codes.double().abs().sum()))
    assert codes is not None  # there was a round
    return Learned(dictionary, codes, objective)


def _made(dictionary: Dictionary, size: tuple[int, int], atoms: Tensor, codes: Tensor) -> Tensor:
    return replace(dictionary, atoms=atoms).synthesise(codes, size)


def first_atoms(pictures: Tensor, count: int, side: int, seed: int) -> Tensor:
    """Cut `count` patches out of the pictures, the likelier the more there is in them: (count, C, side, side), norm 1."""
    generator = torch.Generator().manual_seed(seed)
    patches = pictures.unfold(2, side, 1).unfold(3, side, 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    energy = patches.square().sum((1, 2, 3)).double().cpu()
    chosen = torch.multinomial(energy + 1e-12, count, replacement=count > len(energy), generator=generator)
    noise = 1e-3 * torch.randn((count, *patches.shape[1:]), generator=generator)  # no two alike, none empty
    return normalised(patches[chosen.to(patches.device)] + noise.to(patches))


def normalised(atoms: Tensor) -> Tensor:
    """Scale each atom (M, C, k, k) to norm 1."""
    return atoms / atoms.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)


def better_atoms(
    atoms: Tensor, codes: Tensor, make: Callable[[Tensor, Tensor], Tensor], pictures: Tensor, *, steps: int = 5
) -> tuple[Tensor, Tensor]:
    """Bring the atoms nearer to what the codes need, by projected gradient steps; return atoms of norm 1 and codes to match.

    `make(atoms, codes)` -> pictures, linear in each. Atoms are kept within norm 1; one that ends below is scaled up and its
    codes down, which leaves the pictures as they are and lowers what the codes cost.
    """

    def slope(moved: Tensor, target: Tensor | float) -> Tensor:
        with torch.enable_grad():
            moved = moved.detach().requires_grad_()
            return torch.autograd.grad((make(moved, codes) - target).square().sum() / 2, moved)[0]

    largest = largest_eigenvalue(lambda direction: slope(direction, 0.0), atoms, iterations=20)
    if not largest:  # no codes: nothing to be learned from
        return atoms, codes
    for _ in range(steps):
        atoms = atoms - slope(atoms, pictures) / (MARGIN * largest)
        atoms = atoms / _norms(atoms).clamp(min=1)
    norms = _norms(atoms)
    return normalised(atoms), codes * norms.view(1, -1, 1, 1)


def _norms(atoms: Tensor) -> Tensor:
    return atoms.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def from_layer(conv: nn.Module) -> Dictionary:
    """Take a convolution's filters as atoms, put down where the layer looks: its stride, its padding, each filter at norm 1.

    Filters that are all zero are left out. The picture that goes with them is the one that the layer sees, normalised.
    """
    if not isinstance(conv, nn.Conv2d):
        raise OptionError(
            f"a {type(conv).__name__} has no filters to take as atoms. Give a Conv2d, such as a net's first layer."
        )
    strides, paddings = set(conv.stride), set(conv.padding)
    if conv.groups > 1 or set(conv.dilation) > {1} or len(strides) > 1 or len(paddings) > 1 or conv.padding_mode != "zeros":
        raise OptionError(
            f"{conv} cannot be taken as a dictionary: its groups or dilation, stride or padding are uneven. Give a plain one."
        )
    filters = conv.weight.detach()
    norms = filters.flatten(1).norm(dim=1)
    alive = norms > 1e-6 * norms.max()
    return Dictionary(normalised(filters[alive]), conv.stride[0], int(conv.padding[0]))
