"""Convolutional sparse coding: a picture as the sum of a few atoms, each at a few positions.

    argmin over x of 1/2 | sum_m d_m * x_m - s |^2 + penalty * sum_m |x_m|_1        (Bristow, Eriksson & Lucey 2013)

Codes x become a picture by a transposed convolution with the dictionary d: the same operation as the "deconvolution" of a
convnet. What differs is where the codes come from. A convnet's maps come from one forward pass; codes come from an iteration
that compares with the picture at every step, until nothing more is gained (`proximal.minimise`). The first step of that
iteration, from zero, is a forward pass: a convolution with the atoms, then a shrinking, which for codes that may not be
negative is a ReLU with a bias.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import OptionError
from .base import block_sides, check_inputs, check_maps
from .dictionary import CodeBorder, Dictionary
from .proximal import STEP_MARGIN, minimise, shrink, shrink_nonnegative


def synthesise(
    small: Tensor,
    size: tuple[int, int],
    *,
    dictionary: Tensor | Dictionary,
    stride: int | None = None,
    border: CodeBorder = "zero",
) -> Tensor:
    """Upsample from sparse codes to the picture that they stand for.

    Args:
        small: the codes, (N, M, H', W').
        size: (H, W) of the picture.
        dictionary: atoms (M, C, kh, kw), or a `Dictionary`, which has a stride and a border of its own.
        stride: pixels between the positions of neighbouring codes; by default as the two sizes say.
        border: what lies beyond the picture's edge.

    Returns:
        (N, C, H, W).

    Raises:
        OptionError: the codes do not fit the dictionary and the size.

    >>> atoms = torch.tensor([[[[4.0, 5.0, 6.0]]]])
    >>> synthesise(torch.tensor([[[[1.0, 0.0, 2.0]]]]), (1, 3), dictionary=atoms).tolist()
    [[[[5.0, 14.0, 10.0]]]]
    """
    check_inputs(small, size)
    if isinstance(dictionary, Tensor):
        stride = max(block_sides(small, size)) if stride is None else stride
        dictionary = Dictionary(dictionary, stride, border=border)
    dictionary = dictionary.to(small)
    expected = (dictionary.atoms.shape[0], *dictionary.code_size(size))
    if tuple(small.shape[1:]) != expected:
        found, wanted = ("x".join(map(str, shape)) for shape in (small.shape[1:], expected))
        raise OptionError(f"these codes are {found}: for {size[0]}x{size[1]} pixels this dictionary takes {wanted}.")
    return dictionary.synthesise(small, size)


@dataclass(frozen=True, eq=False)
class Codes:
    """The sparse codes of a picture.

    Attributes:
        codes: (N, M, H', W').
        reconstruction: the picture that they stand for, (N, C, H, W).
        objective: its value at the start and after each step.
    """

    codes: Tensor
    reconstruction: Tensor
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
    """Find the sparse codes of a picture.

    Args:
        picture: (N, C, H, W), best without its smooth part, which takes many atoms and says little (`blurs.smooth_part`).
        dictionary: with C channels.
        penalty: the cost of a code of 1, above 0, in the unit of squared pixels: the larger, the fewer codes.
        iterations: at most.
        accelerated: FISTA (Beck & Teboulle 2009), else ISTA (Daubechies et al. 2004).
        nonnegative: whether codes may not be negative.
        tolerance: stop when five steps together lower the objective by less than this, relative.
        start: codes to begin with, (N, M, H', W'); by default zeros.

    Returns:
        The codes, the picture that they stand for, and the objective.

    Raises:
        OptionError: the penalty is not above 0, or picture and dictionary do not fit.
    """
    check_maps(picture)
    if penalty <= 0:
        raise OptionError(f"penalty cannot be {penalty!r}: codes that cost nothing are not sparse. Give a number above 0.")
    if picture.shape[1] != dictionary.atoms.shape[1]:
        raise OptionError(
            f"the picture has {picture.shape[1]} channels, and the atoms have {dictionary.atoms.shape[1]}. Give as many."
        )
    size, dictionary = (picture.shape[2], picture.shape[3]), dictionary.to(picture)
    shrink_codes = shrink_nonnegative if nonnegative else shrink
    if start is None:
        start = picture.new_zeros((len(picture), len(dictionary.atoms), *dictionary.code_size(size)))
    codes, objective = minimise(
        picture,
        start,
        synthesise=lambda codes: dictionary.synthesise(codes, size),
        correlate=dictionary.correlate,
        proximal_step=lambda codes, step: shrink_codes(codes, penalty * step),
        cost=lambda codes: penalty * codes.abs().sum(),
        step=1 / (STEP_MARGIN * dictionary.largest_eigenvalue(size)),
        iterations=iterations,
        accelerated=accelerated,
        tolerance=tolerance,
    )
    return Codes(codes, dictionary.synthesise(codes, size), objective)
