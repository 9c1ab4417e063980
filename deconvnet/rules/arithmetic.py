"""Where branches meet: sums, concatenations, products."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..receptive_field import NOTHING, Layout, default_layout
from ..tape import CallContext, Saved, UnsupportedCall
from ..units import Window
from .activation import derivative
from .base import Rule

#: A factor computed by one of these, or broadcast, is a gate: held, as attention over channels is.
GATES = frozenset({"sigmoid", "hardsigmoid", "tanh", "softmax"})


class Pairwise(Rule):
    """A call of two operands of which one or both descend from the image; smaller ones are broadcast."""

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """Those of the operand with as many axes."""
        return layouts[0] if layouts else default_layout(shape)

    def window(self, kept: Saved, window: Window) -> tuple[Window | None, ...]:
        """The same place of each operand; all of one that was broadcast along rows or columns; nothing of one held."""
        return tuple(
            NOTHING if held else window if size == kept.size or len(size) != 4 else _narrow(window, size, kept.size)
            for size, held in zip(kept.sizes, kept.held, strict=True)
        )


def _operands(asked: CallContext, *operands: Any, out: Tensor | None = None) -> list[Tensor]:
    """Return the operands that descend from the image, after checking that none mixes the images."""
    if out is not None:
        raise UnsupportedCall("it writes into out=")
    dims = max(operand.dim() for operand in operands if isinstance(operand, Tensor))
    own = [operand for operand in operands if asked.descends(operand)]
    if any(operand.dim() != dims or operand.shape[0] != asked.batch for operand in own):
        raise UnsupportedCall("it mixes the images of the batch")
    return own


@dataclasses.dataclass(frozen=True)
class Add(Pairwise):
    """a + alpha b, a - alpha b or b - alpha a: the signal goes to each summand, summed where it was broadcast."""

    signs: tuple[int, int] = (1, 1)

    def run(
        self, asked: CallContext, input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None
    ) -> tuple[Any, Saved]:
        """Keep the summands' sizes and factors."""
        own = _operands(asked, input, other, out=out)
        # of b - alpha a, alpha goes with a
        factors = (self.signs[0] * (alpha if self.signs[0] < 0 else 1), self.signs[1] * (alpha if self.signs[0] > 0 else 1))
        own_factors = [factor for part, factor in zip((input, other), factors, strict=True) if asked.descends(part)]
        sizes = [part.shape for part in own]  # from before an addition in place
        output = asked()
        return output, Saved(size=output.shape, sizes=sizes, factors=own_factors, held=[False] * len(sizes))

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, ...) -> one (K, ...) for each summand."""
        parts = [sum_to(signal, size) for size in kept.sizes]
        return tuple(part if factor == 1 else part * factor for part, factor in zip(parts, kept.factors, strict=True))


class Scaled(Pairwise):
    """A call that scales each operand's signal by a factor that is kept; the operand is held where that is None."""

    def keep(self, asked: CallContext, own: list[Tensor], factors: list[Any]) -> tuple[Any, Saved]:
        """Make the call and keep the factors of the operands that descend from the image, cut by image where they have one."""
        names = {f"factor{number}": factor for number, factor in enumerate(factors)}
        per_image = {name: factor for name, factor in names.items() if _has_batch(asked, factor, own[0].dim())}
        kept = Saved(per_image, **{name: factor for name, factor in names.items() if name not in per_image})
        kept.sizes, kept.held = [operand.shape for operand in own], [factor is None for factor in factors]
        kept.status = "held" if any(kept.held) else "exact"
        output = asked()
        kept.size = output.shape
        return output, kept

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor | None, ...]:
        """(K, ...) -> one (K, ...) for each operand, None for one that is held."""
        factors = [getattr(kept, f"factor{number}") for number in range(len(kept.sizes))]
        return tuple(
            None if factor is None else sum_to(signal * _of_type(factor, signal), size)
            for factor, size in zip(factors, kept.sizes, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Mul(Scaled):
    """a * b. With a constant: a scale. Where both descend from the image:

    - x * sigmoid(x) is SiLU, mirrored as an activation;
    - a gate - the direct output of a sigmoid, hardsigmoid, tanh or softmax, or a factor that was broadcast - is held:
      the signal takes its scale, and none goes into the gate;
    - otherwise the product rule, for which both factors are kept.
    """

    mask: bool = False
    rectify: bool = True

    @property
    def needs_values(self) -> bool:  # type: ignore[override]
        """Only SiLU's derivative asks for more than is kept anyway."""
        return self.mask

    def run(self, asked: CallContext, input: Any, other: Any, *, out: Tensor | None = None) -> tuple[Any, Saved]:
        """Keep for each operand the factor that its signal takes."""
        own = _operands(asked, input, other, out=out)
        if len(own) == 1:
            return self.keep(asked, own, [other if asked.descends(input) else input])
        silu = _silu_input(asked, input, other)
        if silu is not None:
            return self._silu(asked, own, silu)
        if _is_gate(asked, other, input):
            return self.keep(asked, own, [other.clone(), None])
        if _is_gate(asked, input, other):
            return self.keep(asked, own, [None, input.clone()])
        return self.keep(asked, own, [other.clone(), input.clone()])

    def _silu(self, asked: CallContext, own: list[Tensor], number: int) -> tuple[Any, Saved]:
        kept = Saved({"input": own[number].clone()} if self.mask else None, silu=number, status="generalised")
        kept.sizes, kept.held, kept.size = [own[0].shape] * 2, [number != 0, number != 1], own[0].shape
        return asked(), kept

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor | None, ...]:
        """(K, ...) -> one (K, ...) for each operand, None for a gate."""
        if not hasattr(kept, "silu"):
            return super().mirror(kept, signal)
        signal = signal.clamp(min=0) if self.rectify else signal
        signal = derivative(F.silu, kept.input, signal) if self.mask else signal
        return (signal, None) if kept.silu == 0 else (None, signal)


@dataclasses.dataclass(frozen=True)
class Div(Scaled):
    """a / b: by a constant a scale, by a gate or a broadcast divisor a scale that is held, otherwise the quotient rule."""

    reflected: bool = False  # b / a: as `1 / x` calls it

    def run(
        self, asked: CallContext, input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
    ) -> tuple[Any, Saved]:
        """Keep for each operand the factor that its signal takes."""
        if rounding_mode is not None:
            raise UnsupportedCall("it rounds")
        own = _operands(asked, input, other, out=out)
        above, below = (other, input) if self.reflected else (input, other)
        factors = []
        if asked.descends(above):
            factors.append(1 / below)
        if asked.descends(below):
            held = asked.descends(above) and _is_gate(asked, below, above)
            factors.append(None if held else -above / (below * below))
        return self.keep(asked, own, factors[::-1] if self.reflected else factors)


@dataclasses.dataclass(frozen=True)
class AddCMul(Scaled):
    """a + value b c, where at most one of b and c descends from the image."""

    def run(
        self,
        asked: CallContext,
        input: Tensor,
        tensor1: Tensor,
        tensor2: Tensor,
        *,
        value: float = 1,
        out: Tensor | None = None,
    ) -> tuple[Any, Saved]:
        """Keep for each operand the factor that its signal takes."""
        own = _operands(asked, input, tensor1, tensor2, out=out)
        if asked.descends(tensor1) and asked.descends(tensor2):
            raise UnsupportedCall("both of its factors descend from the image")
        factors: list[Any] = [1] if asked.descends(input) else []
        factors += [factor * value for part, factor in ((tensor1, tensor2), (tensor2, tensor1)) if asked.descends(part)]
        return self.keep(asked, own, factors)


class Cat(Rule):
    """Maps side by side: each part gets its own slice of the signal."""

    def run(
        self, asked: CallContext, tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
    ) -> tuple[Any, Saved]:
        """Keep where each part that descends from the image begins, and its length."""
        dim = (dim if axis is None else axis) % tensors[0].dim()
        if dim == 0 or out is not None:
            raise UnsupportedCall("it mixes the images of the batch" if dim == 0 else "it writes into out=")
        slices, start = [], 0
        for part in tensors:
            if asked.descends(part):
                slices.append((start, part.shape[dim]))
            start += part.shape[dim]
        return asked(), Saved(dim=dim, slices=slices)

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, ...) -> one (K, ...) for each part."""
        return tuple(signal.narrow(kept.dim, start, length) for start, length in kept.slices)

    def layout(self, kept: Saved, layouts: Sequence[Layout], shape: Sequence[int]) -> Layout:
        """Those of the parts; what the window needs of them is kept too."""
        kept.axes = layouts[0][1:]
        return layouts[0]

    def window(self, kept: Saved, window: Window) -> tuple[Window | None, ...]:
        """The same place, moved by the part's offset where maps are joined along rows or columns."""
        if kept.dim not in kept.axes:
            return (window,) * len(kept.slices)
        return tuple(_part(window, kept.axes.index(kept.dim), start, length) for start, length in kept.slices)


class Stack(Rule):
    """Values side by side on a new axis."""

    def run(self, asked: CallContext, tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> tuple[Any, Saved]:
        """Keep which parts descend from the image."""
        dim = dim % (tensors[0].dim() + 1)
        if dim == 0 or out is not None:
            raise UnsupportedCall("it mixes the images of the batch" if dim == 0 else "it writes into out=")
        numbers = [number for number, part in enumerate(tensors) if asked.descends(part)]
        return asked(), Saved(dim=dim, numbers=numbers, places=dim <= tensors[0].dim() - 2)

    def mirror(self, kept: Saved, signal: Tensor) -> tuple[Tensor, ...]:
        """(K, ...) -> one (K, ...) for each part."""
        return tuple(signal.select(kept.dim, number) for number in kept.numbers)

    def window(self, kept: Saved, window: Window) -> tuple[Window | None, ...]:
        """The same place where rows and columns stay the last axes, else all."""
        return (window if kept.places else None,) * len(kept.numbers)


def sum_to(signal: Tensor, size: torch.Size) -> Tensor:
    """Sum a signal over the axes along which a value of `size` was broadcast, never over the batch axis."""
    axes = [axis for axis in range(1, len(size)) if size[axis] == 1 and signal.shape[axis] != 1]
    return signal.sum(axes, keepdim=True) if axes else signal


def _is_gate(asked: CallContext, factor: Tensor, other: Tensor) -> bool:
    if factor.numel() < other.numel():
        return True
    maker = asked.origin(factor)
    return (maker is not None and maker.name in GATES) or getattr(asked.maker(factor), "name", "") in ("expand", "expand_as")


def _silu_input(asked: CallContext, *factors: Tensor) -> int | None:
    """Return which of two factors is x where the other is sigmoid(x), or None."""
    for number in (0, 1):
        maker = asked.maker(factors[1 - number])
        if maker is not None and maker.name == "sigmoid" and maker.inputs == (asked.value(factors[number]),):
            return number
    return None


def _has_batch(asked: CallContext, factor: Any, dims: int) -> bool:
    return isinstance(factor, Tensor) and factor.dim() == dims and factor.shape[0] == asked.batch


def _of_type(factor: Any, signal: Tensor) -> Any:
    return factor.to(signal.dtype) if isinstance(factor, Tensor) else factor


def _narrow(window: Window, size: torch.Size, full: torch.Size) -> Window | None:
    if len(full) != 4:
        return None
    top, height = (0, 1) if size[2] == 1 != full[2] else (window.top, window.height)
    left, width = (0, 1) if size[3] == 1 != full[3] else (window.left, window.width)
    return Window(top, left, height, width)


def _part(window: Window, axis: int, start: int, length: int) -> Window:
    first, size = (window.top, window.height) if axis == 0 else (window.left, window.width)
    low, high = max(first - start, 0), min(first + size - start, length)
    if high <= low:
        return NOTHING
    if axis == 0:
        return Window(low, window.left, high - low, window.width)
    return Window(window.top, low, window.height, high - low)
