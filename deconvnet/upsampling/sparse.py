"""Convolutional sparse coding: a picture as the sum of a few atoms, each put down at a few places.

    argmin over x of 1/2 | sum_m d_m * x_m - s |^2 + penalty * sum_m |x_m|_1        (Bristow, Eriksson & Lucey 2013)

Codes x become a picture by a transposed convolution with the dictionary d: the same operation as the "deconvolution" of a
convnet. What differs is where the codes come from. A convnet's maps come from one forward pass; codes come from an iteration
that looks back at the picture until nothing can be saved (`proximal.minimise`). The first step of that iteration, from zero,
is the forward pass: a convolution with the atoms, then a shrinking, which for codes that may not be negative is a ReLU with a
bias.

What lies beyond the picture's edge has to be said. `border="circular"`: the picture goes on at its other side, as SPORCO has
it, and an atom's first pixel stands at its code's place. `border="zero"`: atoms reach over the edge and are cut there, as in
a padded convolution of a CNN, and stand around their code's place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, check_option
from .base import check_sizes
from .proximal import MARGIN, largest_eigenvalue, minimise, shrink, shrink_positive
from .unpool import strides_between

BORDERS = ("circular", "zero")


@dataclass(frozen=True)
class Dictionary:
    """Atoms and how they are put down; its two operators are each other's adjoint.

    `atoms` (M, C, kh, kw). `stride`: pixels between the places of codes. `padding`: rows and columns of the edge that count
    as zeros, so that atoms can reach over it; None is half the atom, which with stride 1 and odd atoms gives codes of the
    picture's size. `border`: see above; a circular one has no padding.
    """

    atoms: Tensor
    stride: int = 1
    padding: int | None = None
    border: str = "zero"

    def __post_init__(self) -> None:
        check_option("border", self.border, BORDERS)
        if self.atoms.dim() != 4 or not self.atoms.is_floating_point() or 0 in self.atoms.shape:
            raise OptionError(
                f"a dictionary is atoms (M, C, kh, kw), found {tuple(self.atoms.shape)}. One grey atom: atom[None, None]."
            )
        if self.stride < 1 or self.stride > min(self.atoms.shape[2:]):
            tall, wide = self.atoms.shape[2:]
            raise OptionError(
                f"stride cannot be {self.stride}: atoms of {tall}x{wide} would leave gaps. Give 1 to {min(tall, wide)}."
            )

    @property
    def edges(self) -> tuple[int, int]:
        """The rows and columns beyond each edge that atoms can reach."""
        tall, wide = self.atoms.shape[2:]
        if self.border == "circular":
            return 0, 0
        return (tall // 2, wide // 2) if self.padding is None else (self.padding, self.padding)

    def code_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (H', W') of the codes of a picture of `size` (H, W)."""
        sides = list(zip(size, self.atoms.shape[2:], self.edges, strict=True))
        if self.border == "circular":
            if any(side % self.stride or side < kernel for side, kernel, _ in sides):
                raise OptionError(
                    f"a circular picture of {size[0]}x{size[1]} does not fit atoms "
                    f"of {self.atoms.shape[2]}x{self.atoms.shape[3]} every {self.stride}. "
                    "Crop it to a multiple of the stride, no smaller than an atom."
                )
            return size[0] // self.stride, size[1] // self.stride
        if any(side + 2 * edge < kernel for side, kernel, edge in sides):
            raise OptionError(f"a picture of {size[0]}x{size[1]} has no room for an atom. Give a larger one, or padding.")
        height, width = ((side + 2 * edge - kernel) // self.stride + 1 for side, kernel, edge in sides)
        return height, width

    def synthesise(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Put the atoms down: (N, M, H', W') -> (N, C, H, W)."""
        if self.border == "circular":
            return _fold(F.conv_transpose2d(codes, self.atoms, stride=self.stride), size)
        sides = zip(size, self.atoms.shape[2:], self.edges, strict=True)
        rest = tuple((side + 2 * edge - kernel) % self.stride for side, kernel, edge in sides)
        return F.conv_transpose2d(codes, self.atoms, stride=self.stride, padding=self.edges, output_padding=rest)

    def correlate(self, picture: Tensor) -> Tensor:
        """Hold every atom against every place: (N, C, H, W) -> (N, M, H', W'), the adjoint of `synthesise`."""
        if self.border == "circular":
            picture = _wrap(picture, self.atoms.shape[2] - self.stride, self.atoms.shape[3] - self.stride)
        return F.conv2d(picture, self.atoms, stride=self.stride, padding=self.edges)

    def to(self, like: Tensor) -> Dictionary:
        """Return the dictionary with its atoms on the device and of the type of another tensor."""
        return replace(self, atoms=self.atoms.to(like))

    def eigenvalue(self, size: tuple[int, int]) -> float:
        """Return the largest eigenvalue of the two operators in a row, for pictures of `size`."""
        start = torch.randn((1, self.atoms.shape[1], *size), generator=torch.Generator().manual_seed(0)).to(self.atoms)
        return largest_eigenvalue(lambda picture: self.synthesise(self.correlate(picture), size), start)


def _wrap(picture: Tensor, rows: int, columns: int) -> Tensor:
    """Let the picture go on with its first rows and columns below and to the right."""
    picture = torch.cat([picture, picture[:, :, :rows]], 2)
    return torch.cat([picture, picture[:, :, :, :columns]], 3)


def _fold(canvas: Tensor, size: tuple[int, int]) -> Tensor:
    """Add what stands below and to the right of the frame to its first rows and columns: the adjoint of `_wrap`."""
    frame = canvas[:, :, : size[0]].clone()
    frame[:, :, : canvas.shape[2] - size[0]] += canvas[:, :, size[0] :]
    folded = frame[:, :, :, : size[1]].clone()
    folded[:, :, :, : canvas.shape[3] - size[1]] += frame[:, :, :, size[1] :]
    return folded


def synthesise(
    small: Tensor, size: tuple[int, int], *, dictionary: Tensor | Dictionary, stride: int | None = None, border: str = "zero"
) -> Tensor:
    """Go up from sparse codes to the picture that they stand for: (N, M, H', W') -> (N, C, H, W).

    `dictionary`: atoms (M, C, kh, kw), put down `stride` pixels apart, by default as the two sizes say; or a `Dictionary`,
    which brings its own stride and border.

        >>> synthesise(torch.tensor([[[[1.0, 0.0, 2.0]]]]), (1, 3), dictionary=torch.tensor([[[[4.0, 5.0, 6.0]]]])).tolist()
        [[[[5.0, 14.0, 10.0]]]]
    """
    check_sizes(small, size)
    if isinstance(dictionary, Tensor):
        stride = max(strides_between(small, size)) if stride is None else stride
        dictionary = Dictionary(dictionary, stride, border=border)
    dictionary = dictionary.to(small)
    expected = (dictionary.atoms.shape[0], *dictionary.code_size(size))
    if tuple(small.shape[1:]) != expected:
        found, wanted = ("x".join(map(str, shape)) for shape in (small.shape[1:], expected))
        raise OptionError(f"these codes are {found}: for {size[0]}x{size[1]} pixels this dictionary takes {wanted}.")
    return dictionary.synthesise(small, size)


@dataclass(frozen=True)
class Codes:
    """Sparse codes (N, M, H', W'), the picture (N, C, H, W) that they make, and the objective's course."""

    codes: Tensor
    made: Tensor
    objective: list[float]

    @property
    def density(self) -> float:
        """The share of codes that are not zero, 0..1."""
        return float((self.codes != 0).double().mean())


def encode(
    picture: Tensor,
    dictionary: Dictionary,
    *,
    penalty: float,
    iterations: int = 200,
    accelerated: bool = True,
    nonnegative: bool = False,
    tolerance: float = 1e-5,
    start: Tensor | None = None,
) -> Codes:
    """Find the sparse codes of a picture by FISTA, or ISTA without `accelerated`.

    `picture` (N, C, H, W), best without its smooth part, which takes many atoms and tells little (`deconvolve.smooth`).
    `penalty`: what a code of 1 costs, in the unit of squared pixels: the larger, the fewer. `tolerance`: stop when five steps
    together lower the objective by less, relative. `start`: codes to go on from.
    """
    check_sizes(picture, (1, 1))
    if penalty <= 0:
        raise OptionError(f"penalty cannot be {penalty!r}: codes that cost nothing are not sparse. Give a number above 0.")
    if picture.shape[1] != dictionary.atoms.shape[1]:
        raise OptionError(f"the picture has {picture.shape[1]} channels, the atoms {dictionary.atoms.shape[1]}. Give as many.")
    size, dictionary = (picture.shape[2], picture.shape[3]), dictionary.to(picture)
    smaller = shrink_positive if nonnegative else shrink
    if start is None:
        start = picture.new_zeros((len(picture), len(dictionary.atoms), *dictionary.code_size(size)))
    codes, objective = minimise(
        picture,
        start,
        synthesise=lambda codes: dictionary.synthesise(codes, size),
        correlate=dictionary.correlate,
        cheaper=lambda codes, step: smaller(codes, penalty * step),
        cost=lambda codes: penalty * codes.abs().sum(),
        step=1 / (MARGIN * dictionary.eigenvalue(size)),
        iterations=iterations,
        accelerated=accelerated,
        tolerance=tolerance,
    )
    return Codes(codes, dictionary.synthesise(codes, size), objective)
