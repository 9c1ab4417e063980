"""Dictionaries: atoms, and the two linear operators between sparse codes and pictures that they define.

What lies beyond the picture's edge must be said. `border="circular"`: the picture continues at its other side, as in SPORCO,
and an atom's first pixel is at the position of its code. `border="zero"`: atoms reach over the edge and are cut off there, as
in the padded convolution of a CNN, and their centre is at the position of their code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import OptionError, check_option
from .proximal import largest_eigenvalue

#: What lies beyond the edge of a coded picture.
CodeBorder: TypeAlias = Literal["circular", "zero"]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Atoms, and how they are placed; `synthesise` and `correlate` are each other's adjoint.

    Attributes:
        atoms: (M, C, kh, kw), floats.
        stride: pixels between the positions of neighbouring codes, at most an atom's side.
        padding: rows and columns beyond the edge that atoms can reach, where the picture counts as zero; None is half the atom,
            which with stride 1 and odd atoms gives codes of the picture's size. A circular border has no padding.
        border: what lies beyond the edge.

    Raises:
        OptionError: the atoms, stride or border are none of these.
    """

    atoms: Tensor
    stride: int = 1
    padding: int | None = None
    border: CodeBorder = "zero"

    def __post_init__(self) -> None:
        check_option("border", self.border, get_args(CodeBorder))
        if self.atoms.dim() != 4 or not self.atoms.is_floating_point() or 0 in self.atoms.shape:
            raise OptionError(
                f"a dictionary takes atoms (M, C, kh, kw), found {tuple(self.atoms.shape)}. "
                "Pass a single grey atom as atom[None, None]."
            )
        height, width = self.atoms.shape[2:]
        if not 1 <= self.stride <= min(height, width):
            raise OptionError(
                f"stride cannot be {self.stride}: atoms of {height}x{width} would leave gaps. Give 1 to {min(height, width)}."
            )

    @property
    def edges(self) -> tuple[int, int]:
        """The rows and columns beyond each edge that atoms can reach."""
        height, width = self.atoms.shape[2:]
        if self.border == "circular":
            return 0, 0
        return (height // 2, width // 2) if self.padding is None else (self.padding, self.padding)

    def code_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size of a picture's codes.

        Args:
            size: (H, W) of the picture.

        Returns:
            (H', W') of the codes.

        Raises:
            OptionError: the atoms do not fit the picture.
        """
        sides = list(zip(size, self.atoms.shape[2:], self.edges, strict=True))
        if self.border == "circular":
            if any(side % self.stride or side < kernel for side, kernel, _ in sides):
                raise OptionError(
                    f"a circular picture of {size[0]}x{size[1]} does not fit atoms "
                    f"of {self.atoms.shape[2]}x{self.atoms.shape[3]} every {self.stride} pixels. "
                    "Crop it to a multiple of the stride, no smaller than an atom."
                )
            return size[0] // self.stride, size[1] // self.stride
        if any(side + 2 * edge < kernel for side, kernel, edge in sides):
            raise OptionError(f"a picture of {size[0]}x{size[1]} has no room for an atom. Give a larger one, or padding.")
        height, width = ((side + 2 * edge - kernel) // self.stride + 1 for side, kernel, edge in sides)
        return height, width

    def synthesise(self, codes: Tensor, size: tuple[int, int]) -> Tensor:
        """Add up the atoms, each at its code's position and times its code.

        Args:
            codes: (N, M, H', W').
            size: (H, W) of the picture.

        Returns:
            (N, C, H, W).
        """
        if self.border == "circular":
            return _fold(F.conv_transpose2d(codes, self.atoms, stride=self.stride), size)
        sides = zip(size, self.atoms.shape[2:], self.edges, strict=True)
        remainder = tuple((side + 2 * edge - kernel) % self.stride for side, kernel, edge in sides)
        return F.conv_transpose2d(codes, self.atoms, stride=self.stride, padding=self.edges, output_padding=remainder)

    def correlate(self, picture: Tensor) -> Tensor:
        """Take the inner product of every atom with the picture at every position: the adjoint of `synthesise`.

        Args:
            picture: (N, C, H, W).

        Returns:
            (N, M, H', W').
        """
        if self.border == "circular":
            picture = _wrap(picture, self.atoms.shape[2] - self.stride, self.atoms.shape[3] - self.stride)
        return F.conv2d(picture, self.atoms, stride=self.stride, padding=self.edges)

    def to(self, like: Tensor) -> Dictionary:
        """Return the dictionary with its atoms on the device and of the type of another tensor."""
        return replace(self, atoms=self.atoms.to(like))

    def largest_eigenvalue(self, size: tuple[int, int]) -> float:
        """Return the largest eigenvalue of `correlate` followed by `synthesise`, for pictures of (H, W)."""
        start = torch.randn((1, self.atoms.shape[1], *size), generator=torch.Generator().manual_seed(0)).to(self.atoms)
        return largest_eigenvalue(lambda picture: self.synthesise(self.correlate(picture), size), start)


def from_layer(conv: nn.Module) -> Dictionary:
    """Take a convolution's filters as atoms, placed as the layer places its windows.

    Args:
        conv: a `Conv2d` without groups or dilation, such as a net's first layer. The picture that goes with its filters is the
            one that the layer sees, normalised.

    Returns:
        A dictionary with the layer's stride and padding, each filter at norm 1; filters that are all zero are left out.

    Raises:
        OptionError: the module is no such convolution.
    """
    if not isinstance(conv, nn.Conv2d):
        raise OptionError(
            f"a {type(conv).__name__} has no filters to take as atoms. Give a Conv2d, such as a net's first layer."
        )
    strides, paddings = set(conv.stride), set(conv.padding)
    if conv.groups > 1 or set(conv.dilation) > {1} or len(strides) > 1 or len(paddings) > 1 or conv.padding_mode != "zeros":
        raise OptionError(
            f"{conv} cannot be taken as a dictionary. "
            "Give a Conv2d with one stride and one padding for both axes, padded with zeros, without groups or dilation."
        )
    filters = conv.weight.detach()
    norms = filters.flatten(1).norm(dim=1)
    nonzero = norms > 1e-6 * norms.max()
    return Dictionary(normalise(filters[nonzero]), conv.stride[0], int(conv.padding[0]))


def normalise(atoms: Tensor) -> Tensor:
    """Scale each atom (M, C, kh, kw) to norm 1."""
    return atoms / atoms.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, 1, 1, 1)


def _wrap(picture: Tensor, rows: int, columns: int) -> Tensor:
    """Continue the picture with its first rows and columns below and to the right."""
    picture = torch.cat([picture, picture[:, :, :rows]], 2)
    return torch.cat([picture, picture[:, :, :, :columns]], 3)


def _fold(canvas: Tensor, size: tuple[int, int]) -> Tensor:
    """Add what lies below and to the right of the frame to its first rows and columns: the adjoint of `_wrap`."""
    frame = canvas[:, :, : size[0]].clone()
    frame[:, :, : canvas.shape[2] - size[0]] += canvas[:, :, size[0] :]
    folded = frame[:, :, :, : size[1]].clone()
    folded[:, :, :, : canvas.shape[3] - size[1]] += frame[:, :, :, size[1] :]
    return folded
