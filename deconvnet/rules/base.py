"""What a rule is: how one kind of call is made on the way up, and mirrored on the way down."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from ..axes import Axes, default_axes, following_axes
from ..batch_axis import FIRST, MIXES, BatchAxis
from ..units import Window
from .call import CallContext, Function, Saved, UnsupportedCall, plain_name, tensors_in

Status: TypeAlias = Literal["exact", "paper", "generalised", "held"]

#: What a rule can say of itself, from the strictest to the loosest.
STATUSES: tuple[Status, ...] = ("exact", "paper", "generalised", "held")

#: One signal, or one for each input (or output) of a call, None where there is none.
Signals: TypeAlias = "Tensor | tuple[Tensor | None, ...]"

#: One window, or one for each input; None: all of the input.
Windows: TypeAlias = "Window | tuple[Window | None, ...] | None"

S = TypeVar("S", bound=Saved)


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One kind of call: `run` makes it and says what to save, `mirror` carries a signal back through it.

    Rules hold options, never state. A rule for a call with one input that descends from the image needs nothing more
    than `run` and `mirror`; `window` then means "all of the input".

    The methods from `returns_new` on are promises that make the way down fast. A subclass that has a `mirror` of its own makes
    none of them but those that it states itself: a promise of its parent's need not hold for it.
    """

    moves: ClassVar[bool] = False  # True for a call that only moves values about
    saves_like_input: ClassVar[bool] = True  # what is saved of the images has them where the first input has them

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "mirror" in vars(cls):
            for name in PROMISES:
                if name not in vars(cls):
                    setattr(cls, name, vars(Rule)[name])

    @property
    def status(self) -> Status:
        """What the rule says of itself: "exact", "paper", "generalised" or "held"."""
        return "exact"

    @property
    def needs_values(self) -> bool:
        """True where `run` saves activations, not only sizes and switches."""
        return False

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, S]:
        """Make the call (`call()`) and return its output and what to save.

        The arguments are those of the torch function. Raise `UnsupportedCall` *before* making the call where these
        arguments cannot be mirrored. Anything else that is raised here becomes a problem of the call as well: it is told when
        a projection meets the call, and never ends a recording.
        """
        check_only_first(call)
        return call(), Saved(size=input.shape)  # type: ignore[return-value]

    def mirror(self, saved: S, signal: Any) -> Signals:
        """Carry a signal of the output's shape, (K, ...), back to the input's shape.

        With several inputs that descend from the image: a tuple, one signal for each, in the order of the arguments.
        A call that makes several values gets a tuple of signals, None where nothing arrives.
        """
        raise TypeError(f"{type(self).__name__} says how its call is made, but not how it is mirrored.")

    def window(self, saved: S, window: Window) -> Windows:
        """Return the part of the input that `window` of the output depends on; None: all of it.

        For several inputs: a tuple, with `NOTHING` for one that no signal goes to.
        """
        return None

    def axes(self, saved: S, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """Return which axes of an output of `shape` are channels, rows, columns; `axes` are those of the inputs."""
        return following_axes(axes[0], shape) if axes else default_axes(shape)

    def batch(self, saved: S, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Return where the images are in an output of `shape`; `batches` says it of the inputs.

        Signals have that shape, with K in place of N. Raise `UnsupportedCall` where the rule cannot follow them.
        """
        if all(batch.is_first for batch in batches):
            return FIRST
        raise UnsupportedCall(f"{MIXES}, which are not on its first axis")

    def has_own_axes(self) -> bool:
        """Say whether `axes` follows the inputs' axes; else rows and columns are where torch has them."""
        return type(self).axes is not Rule.axes

    def with_options(self, **options: Any) -> Rule[S]:
        """Return this rule with those of the options that it has."""
        names = {item.name for item in dataclasses.fields(self)}
        return dataclasses.replace(self, **{name: value for name, value in options.items() if name in names})

    # how windows of pixels go through it: part of what `window` says

    def slides(self, saved: S) -> bool:
        """Say whether `mirror` treats all positions alike, so that a window's signal is mirrored as if it were a small frame.

        What is saved is then a `SlidingSaved`.
        """
        return False

    def keeps_positions(self, saved: S, window: Window) -> bool:
        """Say whether `window` of the output depends on the same window of every input that takes a signal, and on no more."""
        return False

    def shift(self, saved: S) -> tuple[int, int] | None:
        """Return how far (down, right) every position of the input is moved; None where it is not just moved."""
        return None

    # promises about `mirror`

    def returns_new(self) -> bool:
        """Promise that `mirror` returns a tensor that nobody else holds."""
        return False

    def keeps_channels(self) -> bool:
        """Promise that a channel which carries nothing carries nothing below."""
        return False

    def mirror_inplace(self, saved: S, signal: Tensor) -> Signals:
        """Do as `mirror` does; the signal may be written to."""
        return self.mirror(saved, signal)

    def rectifies(self) -> bool:
        """Promise that `mirror` sets what is below zero to zero, and does nothing else."""
        return False

    def passes_rectifying(self, saved: S) -> bool:
        """Promise that rectifying the signal above is the same as rectifying it below."""
        return False

    def can_rectify(self) -> bool:
        """Promise that `mirror_rectified` costs no more than `mirror`."""
        return False

    def mirror_rectified(self, saved: S, signal: Tensor) -> Tensor:
        """Do as `mirror` does, and rectify what arrives."""
        result = self.mirror(saved, signal)
        assert isinstance(result, Tensor)
        return result.clamp(min=0)

    def channel_scale(self, saved: S) -> Tensor | None:
        """Promise that `mirror` multiplies each channel by a factor: return them, (C,). None: it does something else."""
        return None

    def scaled(self, saved: S, scale: Tensor) -> S | None:
        """Return what to save so that `mirror` also multiplies each channel of its signal by `scale` (C',); None: it cannot."""
        return None

    def sliced(self, saved: S, channels: Tensor) -> S | None:
        """Return what to save so that `mirror` takes a signal of these channels only; None: it cannot."""
        return None

    def mirror_position(self, saved: S, signal: Tensor) -> Tensor | None:
        """Carry signals at single positions, (K, C'), to the window that each depends on, (K, C, h, w); None: use `mirror`."""
        return None


#: What a subclass with a `mirror` of its own does not inherit.
PROMISES = (
    "returns_new",
    "keeps_channels",
    "mirror_inplace",
    "rectifies",
    "passes_rectifying",
    "can_rectify",
    "mirror_rectified",
    "channel_scale",
    "scaled",
    "sliced",
    "mirror_position",
)

AnyRule: TypeAlias = Rule[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class SlidingSaved(Saved):
    """What a window that slides over rows and columns leaves: its geometry, the kernel's size first."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...] = (1, 1)

    def on_frame(self: SL, size: torch.Size, cut: Any) -> SL:
        """Return what to save for a small frame (1, C, h, w) without padding.

        `cut(tensor)` cuts what is saved of the images, (N, C, H', W') -> (K, C, h', w').
        """
        return dataclasses.replace(self, size=size, padding=(0,) * len(self.padding))


SL = TypeVar("SL", bound=SlidingSaved)


class Placewise(Rule[S]):
    """A call whose output has the input's axes, each position of which depends on the same position of the input."""

    def window(self, saved: S, window: Window) -> Windows:
        """The same position."""
        return window

    def keeps_positions(self, saved: S, window: Window) -> bool:
        """True where `window` says so."""
        return self.window(saved, window) == window

    def axes(self, saved: S, axes: Sequence[Axes], shape: Sequence[int]) -> Axes:
        """The same axes."""
        return axes[0] if axes else default_axes(shape)

    def batch(self, saved: S, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """The same axis."""
        return batches[0]


class Same(Placewise[Saved]):
    """A call that returns what it got: dropout in eval mode, contiguous, clone."""

    moves = True

    def mirror(self, saved: Saved, signal: Tensor) -> Tensor:
        """(K, ...) -> (K, ...), unchanged."""
        return signal

    def keeps_channels(self) -> bool:
        """Nothing moves."""
        return True

    def passes_rectifying(self, saved: Saved) -> bool:
        """Nothing changes."""
        return True


class Cast(Same):
    """type_as and to: of a second tensor only the type is taken, and the device."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Saved]:
        """Save which of the two takes a signal."""
        if not call.descends(input):
            raise UnsupportedCall("its first argument is not a value of the image as it is now")
        others = (True,) * (call.input_count - 1)
        return call(), Saved(size=input.shape, held=(False, *others) if others else (), status="exact" if others else None)

    def mirror(self, saved: Saved, signal: Tensor) -> Signals:  # type: ignore[override]
        """(K, ...) -> (K, ...), unchanged, and None for the tensor whose type was taken."""
        return (signal, *[None] * (len(saved.held) - 1)) if saved.held else signal

    def keeps_channels(self) -> bool:
        """Nothing moves."""
        return True

    def passes_rectifying(self, saved: Saved) -> bool:
        """Nothing changes."""
        return not saved.held


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedAdjoint(Saved):
    """The call's function and its arguments but the first."""

    func: Function
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    above: BatchAxis = FIRST  # where the images are in what it makes


A = TypeVar("A", bound=SavedAdjoint)


class VectorJacobian(Rule[A]):
    """Any call that is linear in its first argument: mirrored by its vector-Jacobian product, which needs sizes only."""

    def make(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Make the call; return its output, and the fields of a `SavedAdjoint`."""
        check_only_first(call)
        output, below = call(), call.batch_axis(input)
        above: BatchAxis | None = below
        if below.axis in _turned_axes(call, input.dim(), args, kwargs):
            above = None
        elif below.axis > 0 or _adds_axes_before(args):
            above = below.moved(call.func, input.shape, args, kwargs)
        elif any(not tensor.dim() or tensor.shape[0] != input.shape[0] for tensor in tensors_in(output)):
            above = None
        if above is None:
            raise UnsupportedCall(MIXES)
        return output, {"size": input.shape, "func": call.func, "args": args, "kwargs": kwargs, "above": above}

    def batch(self, saved: A, batches: Sequence[BatchAxis], shape: Sequence[int]) -> BatchAxis:
        """Where the call moved them."""
        return saved.above

    def mirror(self, saved: A, signal: Signals) -> Tensor:
        """(K, *output) -> (K, *input): the product with the transposed Jacobian at zero."""
        signals, first = signal if isinstance(signal, tuple) else (signal,), arrived(signal)
        with torch.enable_grad():
            below = first.new_zeros(saved.batch.resized(saved.size, saved.above.count(first.shape))).requires_grad_()
            above = tuple(tensors_in(saved.func(below, *saved.args, **saved.kwargs)))
            pairs = [(value, part) for value, part in zip(above, signals, strict=True) if part is not None]
            (result,) = torch.autograd.grad([value for value, _ in pairs], below, [part for _, part in pairs])
        return result


class Adjoint(VectorJacobian[SavedAdjoint]):
    """Any call that is linear in its first argument: mirrored by its vector-Jacobian product, which needs sizes only."""

    def run(self, call: CallContext, input: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, SavedAdjoint]:
        """Save the call's other arguments and the input's size."""
        output, saved = self.make(call, input, *args, **kwargs)
        return output, SavedAdjoint(**saved)


def arrived(signal: Signals) -> Tensor:
    """Return the signal of the values, of a call that may have made indices too: those carry none."""
    return next(part for part in signal if part is not None) if isinstance(signal, tuple) else signal


def _turned_axes(call: CallContext, dims: int, args: Any, kwargs: Any) -> set[int]:
    """Return the axes along which flip or roll change the order of values: sizes do not tell."""
    name = plain_name(call.func)
    if name not in ("flip", "roll"):
        return set()
    given = kwargs.get("dims", args if name == "flip" else args[1:])
    axes = numbers_in(given)
    return {axis % dims for axis in axes} if axes else set(range(dims))


def _adds_axes_before(args: Any) -> bool:
    """Say whether an index adds an axis before all others: `x[None]`."""
    index = args[0] if args else ()
    return index is None or (isinstance(index, tuple) and len(index) > 0 and index[0] is None)


def numbers_in(tree: Any) -> list[int]:
    """Return the numbers in nested tuples and lists."""
    return [tree] if isinstance(tree, int) else [number for item in tree for number in numbers_in(item)]


def on_first_axis(batches: Sequence[BatchAxis]) -> BatchAxis:
    """Return where the images are, for a call that treats all that is on the first axis alike: heads, windows, images."""
    if batches[0].axis or any(batch != batches[0] for batch in batches):
        raise UnsupportedCall(f"{MIXES}, which are not on its first axis")
    return batches[0]


def check_batch(call: CallContext, *shapes: torch.Size) -> None:
    """Refuse a call that does not leave the images of the batch apart, on the first axis."""
    if any(not shape or shape[0] != call.batch for shape in shapes):
        raise UnsupportedCall(MIXES)


def check_only_first(call: CallContext) -> None:
    """Refuse a call whose later arguments descend from the image, such as a convolution with computed weights."""
    first = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    if call.input_count > 1 or not call.descends(first):
        raise UnsupportedCall("more than its first argument descends from the image")
