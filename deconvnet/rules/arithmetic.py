"""Where branches meet: sums, concatenations, products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..axes import Axes, TokenAxes, default_axes
from ..batch_axis import MIXES, BatchAxis
from ..receptive_field import NOTHING
from ..units import Window
from .activation import derivative
from .base import Rule, Signals, Windows
from .call import CallContext, Saved, UnsupportedCall, per_image

#: A factor computed by one of these, or broadcast, is a gate: held, as attention over channels is.
GATES = frozenset({"sigmoid", "hardsigmoid", "tanh", "softmax"})

#: What a signal is multiplied by on its way to an operand; None: the operand is held, and takes none.
Factor: TypeAlias = "Tensor | float | None"


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedOperands(Saved):
    """The sizes of the operands that descend from the image, and of what they made."""

    output: torch.Size
    sizes: tuple[torch.Size, ...]


P = TypeVar("P", bound=SavedOperands)


class Pairwise(Rule[P]):
    """A call of two operands of which one or both descend from the image; smaller ones are broadcast."""

    def axes(self, saved: P, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Those of the operand with as many axes."""
        return axes[0] if axes else default_axes(shape)

    def batch(self, saved: P, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the operands have them."""
        return batches[0]

    def window(self, saved: P, window: Window) -> Windows:
        """The same position in each operand; all of one that was broadcast along rows or columns; nothing of one held."""
        held = saved.held or (False,) * len(saved.sizes)
        return tuple(
            NOTHING if hold else window if size == saved.output or len(size) != 4 else _narrow(window, size, saved.output)
            for size, hold in zip(saved.sizes, held, strict=True)
        )


def image_operands(call: CallContext, *operands: Any, out: Tensor | None = None) -> list[Tensor]:
    """Return the operands that descend from the image, after checking that none mixes the images."""
    if out is not None:
        raise UnsupportedCall("it writes into out=")
    dims = max(operand.dim() for operand in operands if isinstance(operand, Tensor))
    descending = [operand for operand in operands if call.descends(operand)]
    if not descending:
        raise UnsupportedCall("none of its operands is a value of the image as it is now")
    batch = call.batch_axis(descending[0])
    for operand in descending:
        is_apart = operand.dim() == dims > batch.axis and call.batch_axis(operand) == batch
        if not is_apart or batch.count(operand.shape) != call.batch:
            raise UnsupportedCall(MIXES)
    return descending


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedSum(SavedOperands):
    """What each summand was multiplied by."""

    factors: tuple[float, ...]


@dataclass(frozen=True)
class Add(Pairwise[SavedSum]):
    """a + alpha b, a - alpha b or b - alpha a: the signal goes to each summand, summed where it was broadcast."""

    signs: tuple[int, int] = (1, 1)

    def run(
        self, call: CallContext, input: Any, other: Any, *, alpha: float = 1, out: Tensor | None = None
    ) -> tuple[Any, SavedSum]:
        """Save the summands' sizes and factors."""
        summands = image_operands(call, input, other, out=out)
        # of b - alpha a, alpha goes with a
        factors = (self.signs[0] * (alpha if self.signs[0] < 0 else 1), self.signs[1] * (alpha if self.signs[0] > 0 else 1))
        used = tuple(factor for part, factor in zip((input, other), factors, strict=True) if call.descends(part))
        sizes = tuple(part.shape for part in summands)  # from before an addition in place
        output = call()
        return output, SavedSum(size=sizes[0], output=output.shape, sizes=sizes, factors=used)

    def mirror(self, saved: SavedSum, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each summand."""
        parts = [sum_to(signal, size, saved.batch.axis) for size in saved.sizes]
        return tuple(part if factor == 1 else part * factor for part, factor in zip(parts, saved.factors, strict=True))

    def keeps_positions(self, saved: SavedSum, window: Window) -> bool:
        """Where nothing was broadcast along rows or columns."""
        return True


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedFactors(SavedOperands):
    """The factor of each operand's signal, and whether it has a row for each image."""

    factors: tuple[Factor, ...]
    by_image: tuple[bool, ...]

    has_images = True

    def with_tensors(self, change: Callable[[Tensor, bool], Tensor | None]) -> SavedFactors | None:
        """Return a copy with each factor that is a tensor changed."""
        factors: list[Factor] = []
        for factor, is_per_image in zip(self.factors, self.by_image, strict=True):
            changed = change(factor, is_per_image) if isinstance(factor, Tensor) else factor
            if changed is None and factor is not None:
                return None
            factors.append(changed)
        return replace(self, factors=tuple(factors))


F_ = TypeVar("F_", bound=SavedOperands)


class Scaled(Pairwise[F_]):
    """A call that scales each operand's signal by a factor that is saved; the operand is held where that is None."""

    def make(self, call: CallContext, operands: Sequence[Tensor], factors: Sequence[Factor]) -> tuple[Any, SavedFactors]:
        """Make the call and save the factors of the operands that descend from the image."""
        by_image = tuple(_has_images(call, factor, operands[0]) for factor in factors)
        held, sizes = tuple(factor is None for factor in factors), tuple(operand.shape for operand in operands)
        output = call()
        saved = SavedFactors(
            size=sizes[0],
            output=output.shape,
            sizes=sizes,
            held=held,
            status="held" if any(held) else "exact",
            factors=tuple(factors),
            by_image=by_image,
        )
        return output, saved


def _mirror_factors(saved: SavedFactors, signal: Tensor) -> tuple[Tensor | None, ...]:
    return tuple(
        None if factor is None else sum_to(signal * _of_type(factor, signal), size, saved.batch.axis)
        for factor, size in zip(saved.factors, saved.sizes, strict=True)
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedSiLU(SavedOperands):
    """Which operand is x in x * sigmoid(x), and x itself where the derivative is taken."""

    number: int
    input: Tensor | None = per_image()


@dataclass(frozen=True)
class Mul(Scaled["SavedFactors | SavedSiLU"]):
    """a * b. With a constant: a scale. Where both descend from the image:

    - x * sigmoid(x) is SiLU, mirrored as an activation;
    - a gate - the direct output of a sigmoid, hardsigmoid, tanh or softmax, or a factor that was broadcast - is held:
      the signal takes its scale, and none goes into the gate;
    - otherwise the product rule, for which both factors are saved.
    """

    mask: bool = False
    rectify: bool = True

    @property
    def needs_values(self) -> bool:
        """Only SiLU's derivative asks for more than is saved anyway."""
        return self.mask

    def run(
        self, call: CallContext, input: Any, other: Any, *, out: Tensor | None = None
    ) -> tuple[Any, SavedFactors | SavedSiLU]:
        """Save for each operand the factor that its signal takes."""
        operands = image_operands(call, input, other, out=out)
        if len(operands) == 1:
            return self.make(call, operands, [_constant(call, other if call.descends(input) else input)])
        number = _silu_input(call, input, other)
        if number is not None:
            return self._silu(call, operands, number)
        if _is_gate(call, other, input):
            return self.make(call, operands, [other.clone(), None])
        if _is_gate(call, input, other):
            return self.make(call, operands, [None, input.clone()])
        return self.make(call, operands, [other.clone(), input.clone()])

    def _silu(self, call: CallContext, operands: list[Tensor], number: int) -> tuple[Any, SavedSiLU]:
        size = operands[0].shape
        saved = SavedSiLU(
            size=size,
            output=size,
            sizes=(size, size),
            held=(number != 0, number != 1),
            status="generalised",
            number=number,
            input=operands[number].clone() if self.mask else None,
        )
        return call(), saved

    def mirror(self, saved: SavedFactors | SavedSiLU, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand, None for a gate."""
        if isinstance(saved, SavedFactors):
            return _mirror_factors(saved, signal)
        signal = signal.clamp(min=0) if self.rectify else signal
        if self.mask and saved.input is not None:
            signal = derivative(F.silu, saved.input, signal)
        return (signal, None) if saved.number == 0 else (None, signal)

    def keeps_positions(self, saved: SavedFactors | SavedSiLU, window: Window) -> bool:
        """Where nothing was broadcast along rows or columns, and no constant differs along them."""
        return isinstance(saved, SavedSiLU) or not any(
            isinstance(factor, Tensor) and not is_per_image and any(length != 1 for length in factor.shape[-2:])
            for factor, is_per_image in zip(saved.factors, saved.by_image, strict=True)
        )


@dataclass(frozen=True)
class Div(Scaled[SavedFactors]):
    """a / b: by a constant a scale, by a gate or a broadcast divisor a scale that is held, otherwise the quotient rule."""

    reflected: bool = False  # b / a: as `1 / x` calls it

    def run(
        self, call: CallContext, input: Any, other: Any, *, rounding_mode: str | None = None, out: Tensor | None = None
    ) -> tuple[Any, SavedFactors]:
        """Save for each operand the factor that its signal takes."""
        if rounding_mode is not None:
            raise UnsupportedCall("it rounds")
        operands = image_operands(call, input, other, out=out)
        above, below = (other, input) if self.reflected else (input, other)
        factors: list[Factor] = []
        if call.descends(above):
            factors.append(1 / below)
        if call.descends(below):
            held = call.descends(above) and _is_gate(call, below, above)
            factors.append(None if held else -above / (below * below))
        return self.make(call, operands, factors[::-1] if self.reflected else factors)

    def mirror(self, saved: SavedFactors, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand, None for one that is held."""
        return _mirror_factors(saved, signal)


@dataclass(frozen=True)
class AddCMul(Scaled[SavedFactors]):
    """a + value b c, where at most one of b and c descends from the image."""

    def run(
        self,
        call: CallContext,
        input: Tensor,
        tensor1: Tensor,
        tensor2: Tensor,
        *,
        value: float = 1,
        out: Tensor | None = None,
    ) -> tuple[Any, SavedFactors]:
        """Save for each operand the factor that its signal takes."""
        operands = image_operands(call, input, tensor1, tensor2, out=out)
        if call.descends(tensor1) and call.descends(tensor2):
            raise UnsupportedCall("both of its factors descend from the image")
        factors: list[Factor] = [1] if call.descends(input) else []
        factors += [factor * value for part, factor in ((tensor1, tensor2), (tensor2, tensor1)) if call.descends(part)]
        return self.make(call, operands, factors)

    def mirror(self, saved: SavedFactors, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each operand."""
        return _mirror_factors(saved, signal)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedCat(Saved):
    """Where each part that descends from the image begins along the axis, and its length."""

    dim: int
    slices: tuple[tuple[int, int], ...]
    rows_cols: tuple[int | None, int | None]  # the axes of rows and columns


class Cat(Rule[SavedCat]):
    """Maps side by side: each part gets its own slice of the signal."""

    def run(
        self, call: CallContext, tensors: Any, dim: int = 0, *, axis: int | None = None, out: Tensor | None = None
    ) -> tuple[Any, SavedCat]:
        """Save the parts' slices."""
        dim = (dim if axis is None else axis) % tensors[0].dim()
        batches = {call.batch_axis(part) for part in tensors if call.descends(part)}
        mixes = len(batches) != 1 or dim == next(iter(batches)).axis
        if mixes or out is not None:
            raise UnsupportedCall(MIXES if mixes else "it writes into out=")
        slices, start, first = [], 0, None
        for part in tensors:
            if call.descends(part):
                first = part if first is None else first
                slices.append((start, part.shape[dim]))
            start += part.shape[dim]
        axes = default_axes(()) if first is None else call.axes(first)
        rows_cols = (None, None) if isinstance(axes, TokenAxes) else axes[1:]
        return call(), SavedCat(dim=dim, slices=tuple(slices), rows_cols=rows_cols)

    def mirror(self, saved: SavedCat, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each part."""
        return tuple(signal.narrow(saved.dim, start, length) for start, length in saved.slices)

    def axes(self, saved: SavedCat, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Those of the parts; tokens that come before a grid have no place in it."""
        first = axes[0] if axes else default_axes(shape)
        grids = [
            (start, part)
            for (start, _), part in zip(saved.slices, axes, strict=True)
            if isinstance(part, TokenAxes) and part.tokens == saved.dim
        ]
        if not grids:
            return first
        start, grid = grids[0]
        prefix = grid.prefix + start
        is_whole = len(grids) == 1 and shape[grid.tokens] == prefix + grid.height * grid.width
        return grid.at(grid[0], grid.tokens, prefix=prefix) if is_whole else default_axes(shape)

    def batch(self, saved: SavedCat, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the parts have them."""
        return batches[0]

    def window(self, saved: SavedCat, window: Window) -> Windows:
        """The same position, moved by the part's offset where maps are joined along rows or columns."""
        if saved.dim not in saved.rows_cols:
            return (window,) * len(saved.slices)
        return tuple(_part(window, saved.rows_cols.index(saved.dim), start, length) for start, length in saved.slices)

    def keeps_positions(self, saved: SavedCat, window: Window) -> bool:
        """Where channels are joined."""
        return saved.dim == 1


class HStack(Cat):
    """hstack: cat along the second axis."""

    def run(self, call: CallContext, tensors: Any, *, out: Tensor | None = None) -> tuple[Any, SavedCat]:  # type: ignore[override]
        """Save the parts' slices."""
        if tensors[0].dim() < 2:
            raise UnsupportedCall(MIXES)
        return super().run(call, tensors, 1, out=out)


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedStack(Saved):
    """Which parts descend from the image, and whether rows and columns stay the last axes."""

    dim: int
    numbers: tuple[int, ...]
    keeps_last: bool


class Stack(Rule[SavedStack]):
    """Values side by side on a new axis."""

    def run(self, call: CallContext, tensors: Any, dim: int = 0, *, out: Tensor | None = None) -> tuple[Any, SavedStack]:
        """Save which parts descend from the image."""
        dim = dim % (tensors[0].dim() + 1)
        mixes = len({call.batch_axis(part) for part in tensors if call.descends(part)}) != 1
        if mixes or out is not None:
            raise UnsupportedCall(MIXES if mixes else "it writes into out=")
        numbers = tuple(number for number, part in enumerate(tensors) if call.descends(part))
        return call(), SavedStack(dim=dim, numbers=numbers, keeps_last=dim <= tensors[0].dim() - 2)

    def mirror(self, saved: SavedStack, signal: Tensor) -> Signals:
        """(K, ...) -> one (K, ...) for each part."""
        return tuple(signal.select(saved.dim, number) for number in saved.numbers)

    def batch(self, saved: SavedStack, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the parts have them, one further if the new axis comes before."""
        return replace(batches[0], axis=batches[0].axis + (saved.dim <= batches[0].axis))

    def window(self, saved: SavedStack, window: Window) -> Windows:
        """The same position where rows and columns stay the last axes, else all."""
        return (window if saved.keeps_last else None,) * len(saved.numbers)


def sum_to(signal: Tensor, size: torch.Size, batch: int = 0) -> Tensor:
    """Sum a signal over the axes along which a value of `size` was broadcast, never over that of the images."""
    axes = [axis for axis in range(len(size)) if size[axis] == 1 and signal.shape[axis] != 1 and axis != batch]
    return signal.sum(axes, keepdim=True) if axes else signal


def _constant(call: CallContext, factor: Any) -> Factor:
    return call.as_used(factor) if isinstance(factor, Tensor) else factor


def _is_gate(call: CallContext, factor: Tensor, other: Tensor) -> bool:
    if factor.numel() < other.numel():
        return True
    origin, maker = call.origin(factor), call.maker(factor)
    return (origin is not None and origin.name in GATES) or (maker is not None and maker.name in ("expand", "expand_as"))


def _silu_input(call: CallContext, *factors: Tensor) -> int | None:
    """Return which of two factors is x where the other is sigmoid(x), or None."""
    for number in (0, 1):
        maker = call.maker(factors[1 - number])
        if maker is not None and maker.name == "sigmoid" and maker.inputs == (call.value(factors[number]),):
            return number
    return None


def _has_images(call: CallContext, factor: Factor, operand: Tensor) -> bool:
    if not isinstance(factor, Tensor) or factor.dim() != operand.dim():
        return False
    axis = call.batch_axis(operand).axis
    return factor.shape[axis] == operand.shape[axis]


def _of_type(factor: Tensor | float, signal: Tensor) -> Tensor | float:
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
