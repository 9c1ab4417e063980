"""Writes down every call that a model makes in one forward pass, functional calls too.

Module hooks alone miss `F.relu`, `F.max_pool2d`, `torch.cat` and `+`; symbolic tracing fails on control flow. So a
`TorchFunctionMode` sees each public torch call as it is made. Every tensor that descends from the image gets a number;
a call reads some numbers and makes new ones. Three requirements shape this file:

- nothing may be passed over in silence: a call without a rule, a tensor that changed behind our back (through a view),
  or one that no recorded call made (a scripted function) is written down as a *problem*, and raises when a projection
  needs it - never while recording;
- an in-place call gives the same tensor object a new number, so numbers belong to (object, version) pairs;
- the tape keeps sizes and switches, not activations.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from .errors import NoRuleError
from .receptive_field import Layout, default_layout
from .units import Window

CONSTANT = -1  # a tensor made by a recorded call, from nothing that descends from the image
UNSEEN = "it reads a tensor that no recorded call made: a scripted function or other compiled code did"
CHANGED = "it reads a tensor that was changed in place through another view of it"


class Saved(SimpleNamespace):
    """What one call leaves for the way down, by name.

    `per_image` tensors have the recording's batch axis first; everything else serves all images alike.
    """

    def __init__(self, per_image: Mapping[str, Tensor] | None = None, **shared: Any) -> None:
        super().__init__(**shared, **(per_image or {}))
        self.per_image = tuple(per_image or ())

    def of(self, rows: int | Tensor | None) -> Saved:
        """Return what is kept of these images: one that all signals share (int), one for each signal, or all (None)."""
        if rows is None or not self.per_image:
            return self
        kept = Saved(**{name: value for name, value in vars(self).items() if name != "per_image"})
        for name in self.per_image:
            setattr(kept, name, _rows(getattr(self, name), rows))
        kept.per_image = self.per_image
        return kept


def _rows(tensor: Tensor, rows: int | Tensor) -> Tensor:
    if tensor.shape[0] == 1:
        return tensor
    return (
        tensor[rows : rows + 1] if isinstance(rows, int) else tensor.index_select(0, rows.to(tensor.device, non_blocking=True))
    )


@dataclass
class Call:
    """One call of the forward pass: which values it read and made, and what its rule kept."""

    func: Callable[..., Any]
    name: str  # the function's plain name: "conv2d", "add"
    layer: str  # the layer it belongs to: "features.0", "layer3.1.add"
    inputs: tuple[int, ...]  # the values that descend from the image, in the order of the arguments
    outputs: tuple[int, ...]
    kept: Saved = field(default_factory=Saved)
    problem: str | None = None  # why it cannot be mirrored


@dataclass
class Tape:
    """The calls of one forward pass, in order; value 0 is the image."""

    table: Mapping[Callable[..., Any], Any]
    calls: list[Call] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)  # of each value
    layouts: list[Layout] = field(default_factory=list)  # of each value: its axes of channels, rows, columns
    makers: dict[int, int] = field(default_factory=dict)  # value -> index of the call that made it

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)  # ways down that were prepared: see plan.py
    windows: dict[tuple[int, Window], Window] = field(default_factory=dict, repr=False)  # of pixels, by (value, window of it)

    def down_from(self, value: int) -> Iterator[Call]:
        """Yield the calls from the one that made `value` down to the first."""
        last = self.makers.get(value)
        if last is not None:
            yield from reversed(self.calls[: last + 1])

    def rule(self, call: Call, table: Mapping[Callable[..., Any], Any] | None = None) -> Any:
        """Return the rule that mirrors a call, or raise `NoRuleError` naming the layer and the call."""
        rule = (self.table if table is None else table).get(call.func)
        if rule is None or call.problem:
            why = f" ({call.problem})" if call.problem else ""
            raise NoRuleError(f"no mirror rule for {call.name} in {call.layer!r}{why}. Add one: see docs/your-own-rule.md.")
        return rule


class CallContext:
    """The call as a rule sees it in `run`: `asked()` makes it, `asked.descends(x)` says if x comes from the image."""

    def __init__(self, func: Callable[..., Any], args: Any, kwargs: Any, writer: Tracer, inputs: int) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        self.inputs = inputs  # how many tensors of its arguments descend from the image
        self.made, self.output = False, None
        self._writer = writer

    def __call__(self, func: Callable[..., Any] | None = None, **changes: Any) -> Any:
        """Make the call as the model asked for it, or by another function or with other keywords that do the same."""
        self.made = True
        self.output = (func or self.func)(*self.args, **{**self.kwargs, **changes})
        return self.output

    @property
    def batch(self) -> int:
        """How many images there are."""
        return self._writer.tape.shapes[0][0]

    def descends(self, value: Any) -> bool:
        """Say whether something is a tensor that descends from the image."""
        return isinstance(value, Tensor) and self._writer.value(value) is not None

    def value(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor on the tape; two tensors with one number are the same value."""
        return self._writer.value(tensor)

    def maker(self, tensor: Tensor) -> Call | None:
        """Return the call that made a tensor; None for the image."""
        tape, value = self._writer.tape, self._writer.value(tensor)
        return tape.calls[tape.makers[value]] if value in tape.makers else None

    def origin(self, tensor: Tensor) -> Call | None:
        """Return the call that computed a tensor, looking through calls that only move values about."""
        tape, value = self._writer.tape, self._writer.value(tensor)
        while value in tape.makers:
            call = tape.calls[tape.makers[value]]
            if not getattr(tape.table.get(call.func), "moves", False) or not call.inputs:
                return call
            value = call.inputs[0]
        return None


class UnsupportedCall(Exception):
    """Raised by a rule's `run` where it cannot mirror these arguments; the text says why.

    Best before the call is made; after it, `asked.output` is taken as what the call returned.
    """


_active: ContextVar[Tracer | None] = ContextVar("deconvnet_writer", default=None)


T = torch.Tensor
#: Questions about a tensor that make no other: nothing to write down.
TRIVIAL = {T.dim, T.size, T.numel, T.stride, T.is_contiguous, T.is_floating_point, T.item, T.__len__, T.requires_grad.__get__}  # type: ignore[attr-defined]
TRIVIAL |= {T.shape.__get__, T.device.__get__, T.dtype.__get__, T.ndim.__get__, T.is_cuda.__get__, T.layout.__get__}  # type: ignore[attr-defined]


@contextmanager
def unwatched() -> Iterator[None]:
    """Use torch without any recording writing that down."""
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


class UnrecordedOps(TorchDispatchMode):
    """Sees every kernel, also those that scripted code runs, and knows what it made of the image behind the writer's back."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: Any = WeakTensorKeyDictionary()  # tensor -> made of the image, not of constants
        self.inside = False  # of a recorded call
        self.descends: Callable[[Tensor], bool] = lambda tensor: False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one kernel; outside a recorded call, note what it made."""
        with unwatched():  # a kernel called from Python passes the function mode again
            output = func(*args, **(kwargs or {}))
        if not self.inside:
            tainted = any(self.descends(tensor) or self.made.get(tensor) for tensor in tensors_in((args, kwargs)))
            self.made.update((tensor, tainted) for tensor in tensors_in(output))
        return output


class Tracer(TorchFunctionMode):
    """The mode that fills a tape; `called(call, outputs)` is told of each call that made something of the image.

    A tensor that no recorded call made is either a constant from before, or made by compiled code that a function mode
    does not see. `strangers` tells the two apart by a mode that costs more, so it is asked only in a second pass.
    """

    def __init__(
        self, model: nn.Module, table: Mapping[Callable[..., Any], Any], strangers: UnrecordedOps | None = None
    ) -> None:
        super().__init__()
        self.tape = Tape(table)
        self.met_unknown, self._strangers = False, strangers
        self._leaked = False  # the image went through numpy: what comes back may be made of it
        self.called: Callable[[Call, list[Tensor]], None] = lambda call, outputs: None
        # id -> (the tensor, weakly: ids are used again; its number; its version then)
        self._values: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        # the model's own tensors live as long as it does: their ids are safe
        self._buffers, self._model = {id(buffer) for buffer in model.buffers()}, model
        self._attributes: set[int] | None = None  # looked for when first needed

    @contextmanager
    def writing(self, image: Tensor) -> Iterator[Tape]:
        """Write down all calls made in this context; nested recordings see only their own."""
        self._number(image, default_layout(image.shape))
        self.tape.device = image.device
        if self._strangers is not None:
            self._strangers.descends = lambda tensor: self.value(tensor) is not None
        token = _active.set(self)
        try:
            with self, self._strangers or nullcontext():
                yield self.tape
        finally:
            _active.reset(token)

    @property
    def awake(self) -> bool:
        """True while this writer, and not one nested in it, is the one that writes."""
        return _active.get() is self

    def value(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor that descends from the image, else None."""
        entry = self._values.get(id(tensor))
        known = entry is not None and entry[0]() is tensor and entry[1] != CONSTANT and entry[2] == _version(tensor)
        return entry[1] if known and entry is not None else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make one call and write it down."""
        kwargs = kwargs or {}
        if _active.get() is not self or func in TRIVIAL:
            return func(*args, **kwargs)
        if self._strangers is None:
            return self._call(func, args, kwargs)
        self._strangers.inside = True
        try:
            return self._call(func, args, kwargs)
        finally:
            self._strangers.inside = False

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        read = tensors_in((args, kwargs))
        looked_up = [self._look_up(tensor) for tensor in read]
        numbers = [number for number, _ in looked_up]
        problem = next((why for _, why in looked_up if why), None)
        if problem is None and all(number is None for number in numbers):
            return self._constant(func, args, kwargs, read)
        self._leaked = self._leaked or plain_name(func) in ("numpy", "array", "tolist")
        versions = [_version(tensor) for tensor in read]
        inputs = tuple(number for number in numbers if number is not None)
        output, kept, trouble = self._run(func, args, kwargs, len(inputs))
        made = tensors_in(output)
        if not made or func not in self.tape.table:  # where a rule knows the call, what it returns is what it made:
            # norms of some versions of torch count running statistics as written to, although they are not
            made = made + [x for x, version in zip(read, versions, strict=True) if _version(x) != version]
        made = [tensor for tensor in _distinct(made) if self.value(tensor) is None]
        if made:
            self._write(func, inputs, made, kept, problem or trouble)
        return output

    def _constant(self, func: Any, args: Any, kwargs: Any, read: list[Tensor]) -> Any:
        output = func(*args, **kwargs)
        for tensor in [*tensors_in(output), *(x for x in read if id(x) in self._values)]:
            self._values[id(tensor)] = (weakref.ref(tensor), CONSTANT, _version(tensor))
        return output

    def _run(self, func: Any, args: Any, kwargs: Any, inputs: int) -> tuple[Any, Saved, str | None]:
        """Make the call through its rule; where the rule cannot take it, make it plainly and say why."""
        rule = self.tape.table.get(func)
        if rule is None:
            return func(*args, **kwargs), Saved(), None
        asked = CallContext(func, args, kwargs, self, inputs)
        try:
            output, kept = rule.run(asked, *args, **kwargs)
            return output, kept, None
        except UnsupportedCall as error:
            return (asked.output if asked.made else func(*args, **kwargs)), Saved(), str(error)
        except TypeError as error:  # arguments that the rule does not know
            if asked.made:
                raise
            return func(*args, **kwargs), Saved(), str(error)

    def _write(self, func: Any, inputs: tuple[int, ...], made: list[Tensor], kept: Saved, problem: str | None) -> None:
        rule, layouts = self.tape.table.get(func), [self.tape.layouts[number] for number in inputs]
        of = getattr(rule, "layout", None) if not problem else None
        outputs = tuple(self._number(x, of(kept, layouts, x.shape) if of else default_layout(x.shape)) for x in made)
        call = Call(func, plain_name(func), "", inputs, outputs, kept, problem)
        self.tape.calls.append(call)
        self.tape.makers.update(dict.fromkeys(outputs, len(self.tape.calls) - 1))
        self.called(call, made)

    def _number(self, tensor: Tensor, layout: Layout) -> int:
        self.tape.shapes.append(tensor.shape)
        self.tape.layouts.append(layout)
        number = len(self.tape.shapes) - 1
        self._values[id(tensor)] = (weakref.ref(tensor), number, _version(tensor))
        return number

    def _look_up(self, tensor: Tensor) -> tuple[int | None, str | None]:
        """Return a tensor's number, None for a constant, and what is wrong with it where a call is about to read it."""
        if type(tensor) is nn.Parameter or id(tensor) in self._buffers:  # isinstance of a Parameter is slow
            return self.value(tensor), None  # a buffer that was written to may descend from the image
        entry = self._values.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            if entry[1] == CONSTANT:
                return None, None
            return (entry[1], None) if entry[2] == _version(tensor) else (None, CHANGED)
        return None, self._unknown(tensor)

    def _unknown(self, tensor: Tensor) -> str | None:
        """Judge a tensor that no recorded call made: one of the model's attributes, a constant, or a stranger's work."""
        if self._attributes is None:
            self._attributes = {id(own) for own in _attributes_of(self._model)}
        if id(tensor) in self._attributes or not tensor.is_floating_point():
            return None
        self.met_unknown = True
        made = None if self._strangers is None else self._strangers.made.get(tensor)
        return UNSEEN if self._strangers is None or made or (self._leaked and made is not None) else None


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    found: list[Tensor] = []
    if isinstance(tree, (tuple, list)):
        for item in tree:
            if isinstance(item, Tensor):  # the usual case, without a call
                found.append(item)
            elif not isinstance(item, (int, float, str, type(None))):
                found += tensors_in(item)
    elif isinstance(tree, dict):
        found = tensors_in(list(tree.values()))
    return found


@functools.cache
def plain_name(func: Callable[..., Any]) -> str:
    """Return the name people know a torch function by: `Tensor.add_`, `+=` and `torch.add` are all "add"."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "fn":  # F.max_pool2d and its kin are closures of one dispatcher
        name = next(known for known, value in vars(F).items() if value is func)
    bare = name.strip("_")
    in_place_or_reflected = name.startswith("__") and bare[:1] in "ir" and hasattr(torch.Tensor, f"__{bare[1:]}__")
    return bare[1:] if in_place_or_reflected else bare


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _version(tensor: Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # a weight that was made in inference mode keeps no count
        return 0


def _attributes_of(model: nn.Module) -> Iterator[Tensor]:
    """Yield the tensors that modules hold as plain attributes, also in lists and dictionaries."""
    for module in model.modules():
        for name, attribute in vars(module).items():
            if not name.startswith("_") and not isinstance(attribute, nn.Module):
                yield from tensors_in(attribute)
