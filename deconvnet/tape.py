"""Writes down every call that a model makes in one forward pass, functional calls too.

Module hooks alone miss `F.relu`, `F.max_pool2d`, `torch.cat` and `+`; symbolic tracing fails on control flow. So a
`TorchFunctionMode` sees each public torch call as it is made. Every tensor that descends from the image gets a number;
a call reads some numbers and makes new ones. Three requirements shape this file:

- nothing may be passed over in silence: a call without a rule, a rule that fails, a tensor that was changed through another
  view in a way that `views.py` cannot tell, or one that no recorded call made (a scripted function) is written down as a
  *problem*, and raises when a projection needs it - never while recording;
- an in-place call gives the same tensor object a new number, so numbers belong to (object, version) pairs;
- the tape keeps sizes and switches, not activations.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from .axes import Axes, TokenAxes, VolumeAxes, default_axes, following_axes, image_axes, relabel, whole_frame
from .batch_axis import FIRST, MIXES, BatchAxis
from .errors import NoRuleError
from .graphs import WayGraphs
from .receptive_field import NOTHING
from .rules import Table
from .rules.base import AnyRule
from .rules.call import Call, CallContext, Saved, UnsupportedCall, plain_name, tensors_in
from .rules.rectified import is_rectified
from .rules.shape import SavedSetItem
from .units import Window
from .views import Index, Layout, Write, Writes

CONSTANT = -1  # the number of a tensor that a recorded call made from nothing that descends from the image
#: What a net may do to patterns of attention before it attends with them.
MIXES_HEADS = {"linear", "conv2d", "batch_norm", "add", "sub", "mul", "div", "masked_fill", "matmul", "einsum", "sum", "cat"}
UNSEEN = "it reads a tensor that no recorded call made: a scripted function or other compiled code did"
KERNEL = "it is a kernel, called by an exported program: give the model that was exported"
CHANGED = "it reads a tensor that was changed in place through another view of it"


@dataclass
class TapeCache:
    """What the way down works out once for a recording and may use again. It can be emptied at any time."""

    calls: dict[int, dict[Any, Any]] = field(default_factory=dict)  # of each call's rule, by the call's index
    fused: dict[Any, Any] = field(default_factory=dict)  # fused ways down: see fuse.py
    pixel_windows: dict[tuple[int, Window], Window] = field(default_factory=dict)  # by (value, window of it)
    patch_sizes: dict[int, dict[int, int]] = field(default_factory=dict)  # by value: see windowed.py
    graphs: WayGraphs | None = None  # of ways down, where the recording's net wants them


@dataclass
class Tape:
    """The calls of one forward pass, in order; value 0 is the image."""

    table: Table
    calls: list[Call] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)  # of each value
    axes: list[Axes] = field(default_factory=list)  # of each value: its axes of channels, rows, columns
    batches: list[BatchAxis] = field(default_factory=list)  # of each value: where its images are
    makers: dict[int, int] = field(default_factory=dict)  # value -> index of the call that made it
    rectified: set[int] = field(default_factory=set)  # values that are zero where nothing fired, and nowhere below
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: TapeCache = field(default_factory=TapeCache, repr=False)

    @property
    def moves_batch(self) -> bool:
        """True where some value's images are not on its first axis."""
        return any(not batch.is_first for batch in self.batches)

    def origin(self, value: int) -> Call | None:
        """Return the call that computed a value, looking through calls that only move values about; None for the image."""
        while value in self.makers:
            call = self.calls[self.makers[value]]
            rule = self.table.rule_for(call.func, call.layer)
            if rule is None or not rule.moves or not call.inputs:
                return call
            value = call.inputs[0]
        return None

    def is_pattern(self, value: int) -> bool:
        """Say whether a value is made of what softmaxes made, and of nothing else: heads may be mixed, scaled or masked."""
        waiting, known = [value], set[int]()
        while waiting:
            call = self.origin(waiting.pop())
            if call is None or (call.name != "softmax" and (call.name not in MIXES_HEADS or not call.inputs)):
                return False
            if call.name != "softmax":
                waiting += [number for number in call.inputs if number not in known]
                known.update(call.inputs)
        return True

    def map_axes(self, value: int) -> Axes:
        """Return the axes of a value's maps; no channels where it has none, or none of each image by itself.

        That is so where heads or windows are counted among the images, or where those are on another axis than tokens leave.
        """
        axes, batch = self.axes[value], self.batches[value]
        images = axes.images if isinstance(axes, TokenAxes) else 0
        is_apart = batch.axis == images and batch.axis not in axes and not batch.is_folded
        # volumes with their channels last, as 3-D Swin has them, have no maps
        is_known = len(self.shapes[value]) <= 4 or isinstance(axes, VolumeAxes)
        return axes if is_apart and is_known else (None, *axes[1:])

    def down_from(self, value: int) -> Iterator[Call]:
        """Yield the calls from the one that made `value` down to the first."""
        last = self.makers.get(value)
        if last is not None:
            yield from reversed(self.calls[: last + 1])

    def rule(self, call: Call, table: Table | None = None) -> AnyRule:
        """Return the rule that mirrors a call, or raise `NoRuleError` naming the layer and the call."""
        table = self.table if table is None else table
        rule = table.rule_for(call.func, call.layer)
        if rule is None or call.problem:
            call = self._cause(call, table)
            reason = f" ({call.problem})" if call.problem else ""
            raise NoRuleError(f"no mirror rule for {call.name} in {call.layer!r}{reason}. Add one: see docs/your-own-rule.md.")
        return rule

    def _cause(self, call: Call, table: Table) -> Call:
        """Return what is to blame for a call that mixes images: above one without a rule, nobody knows where they are."""
        while call.problem and call.problem.startswith(MIXES):
            makers = (self.calls[self.makers[number]] for number in call.inputs if number in self.makers)
            unknown = [maker for maker in makers if maker.problem or table.rule_for(maker.func, maker.layer) is None]
            if not unknown:
                break
            call = unknown[0]
        return call

    def windows_below(self, value: int, window: Window) -> dict[int, Window]:
        """Return, for each value on the way down, the window of it that `window` of a value depends on, over all branches."""
        windows = {value: window}
        for call in self.down_from(value):
            reached = [windows[number] for number in call.outputs if number in windows]
            if not reached:
                continue
            above = reached[0]
            for other in reached[1:]:
                above = above.union(other)
            rule = self.rule(call)
            below = rule.window(call.saved, above)
            parts = below if isinstance(below, tuple) else (below,) * len(call.inputs)
            held = call.saved.held or (False,) * len(call.inputs)
            for number, part, hold in zip(call.inputs, parts, held, strict=True):
                if hold:  # no signal goes there
                    continue
                shape, axes = self.shapes[number], self.axes[number]
                if isinstance(axes, VolumeAxes):  # windows have two axes
                    part = None
                # a rule without axes of its own has rows and columns where torch has them, others where their first input has
                of_rule = self.axes[call.inputs[0]] if rule.has_own_axes() else following_axes(axes, shape)
                part = whole_frame(shape, axes) if part is None else relabel(part, shape, of_rule, axes)
                if part != NOTHING:
                    windows[number] = windows[number].union(part) if number in windows else part
        return windows

    def pixel_window(self, value: int, window: Window) -> Window:
        """Return the pixels that `window` of a value depends on, unclipped.

        Empty (height and width 0) where no path leads to the pixels. Worked out once.
        """
        known = self.cache.pixel_windows
        if (value, window) not in known:
            known[value, window] = self.windows_below(value, window).get(0, NOTHING)
        return known[value, window]


_active: ContextVar[Tracer | None] = ContextVar("deconvnet_tracer", default=None)


T = torch.Tensor
#: Metadata accessors: they make no tensor, and there is nothing to write down.
METADATA = {T.dim, T.size, T.numel, T.stride, T.is_contiguous, T.is_floating_point, T.item, T.__len__, T.requires_grad.__get__}  # type: ignore[attr-defined]
METADATA |= {T.shape.__get__, T.device.__get__, T.dtype.__get__, T.ndim.__get__, T.is_cuda.__get__, T.layout.__get__}  # type: ignore[attr-defined]

#: Operators that write to their first operand.
IN_PLACE_OPERATORS = {"__setitem__", "__set__"} | {f"__i{name}__" for name in ("add", "sub", "mul", "div", "truediv", "pow")}

#: Calls that take only the size, type and place of a tensor: what they make is a constant.
MAKERS = {"zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"}
MAKERS |= {"new_zeros", "new_ones", "new_full", "new_empty", "new_tensor"}

#: Calls that take only the size or type of a second tensor: what they make of a constant is one.
LIKE_ANOTHER = {"type_as", "to", "view_as", "reshape_as", "expand_as"}

#: Calls through which the image leaves torch: what comes back may be made of it.
TO_NUMPY = ("numpy", "array", "tolist")


@contextmanager
def untraced() -> Iterator[None]:
    """Use torch without any recording writing that down, and outside of the model's inference mode."""
    token = _active.set(None)
    try:
        with _outside_inference_mode():
            yield
    finally:
        _active.reset(token)


def _outside_inference_mode() -> ExitStack:
    """Leave a model's own inference mode: tensors that are made in it keep no count of writes, nor can be derived later."""
    stack = ExitStack()
    if torch.is_inference_mode_enabled():
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())  # the line before allows gradients
    return stack


class UnrecordedOps(TorchDispatchMode):
    """Sees every kernel, also those that scripted code runs, and knows what it made of the image without a recorded call."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: Any = WeakTensorKeyDictionary()  # tensor -> made of the image, not of constants
        self.in_recorded_call = False
        self.descends: Callable[[Tensor], bool] = lambda tensor: False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one kernel; outside a recorded call, note what it made."""
        with untraced():  # a kernel called from Python passes the function mode again
            output = func(*args, **(kwargs or {}))
        if not self.in_recorded_call:
            of_image = any(self.descends(tensor) or self.made.get(tensor) for tensor in tensors_in((args, kwargs)))
            self.made.update((tensor, of_image) for tensor in tensors_in(output))
        return output


class Tracer(TorchFunctionMode):
    """The mode that fills a tape; `on_call(call, outputs)` is told of each call that made something of the image.

    A tensor that no recorded call made is either a constant from before, or made by compiled code that a function mode
    does not see. `unrecorded` tells the two apart by a mode that costs more, so it is given only in a second pass.

    Args:
        modules: of the model whose parameters, buffers and attributes are constants.
        table: the rules by which calls are made.
        unrecorded: sees what compiled code makes.
        on_write: is told of each weight that is about to be written to, before it is.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        table: Table,
        unrecorded: UnrecordedOps | None = None,
        on_write: Callable[[Tensor], None] = lambda tensor: None,
    ) -> None:
        super().__init__()
        self.tape = Tape(table)
        self.met_unknown, self._unrecorded = False, unrecorded
        self._left_torch = False  # the image went through numpy: what comes back may be made of it
        self.on_call: Callable[[Call, list[Tensor]], None] = lambda call, outputs: None
        self.layer_of: Callable[[str], str] = lambda function: ""  # the name that the next call of a function will have
        self._on_write = on_write
        self._written = set[int]()  # the storages of constants that the pass wrote to
        self._filled = set[int]()  # the storages that it wrote values of the image to, perhaps through a view
        self._writes = Writes()
        # id -> (the tensor, weakly: ids are used again; its number; its version then)
        self._values: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}
        # the model's own tensors live as long as it does: their ids are safe
        self._buffers, self._modules = {id(buffer) for module in modules for buffer in module._buffers.values()}, modules
        self._attributes: set[int] | None = None  # looked for when first needed

    @contextmanager
    def tracing(self, image: Tensor) -> Iterator[Tape]:
        """Write down all calls made in this context; nested recordings see only their own."""
        self._number(image, image_axes(image.shape), FIRST)
        self.tape.device = image.device
        if self._unrecorded is not None:
            self._unrecorded.descends = lambda tensor: self.value(tensor) is not None
        token = _active.set(self)
        try:
            with self, self._unrecorded or nullcontext():
                yield self.tape
        finally:
            _active.reset(token)

    @property
    def is_active(self) -> bool:
        """True while this tracer, and not one nested in it, is the one that writes."""
        return _active.get() is self

    # what a rule may ask while a call is made: `ValueLookup`

    @property
    def batch(self) -> int:
        """How many images there are."""
        return self.tape.shapes[0][0]

    def value(self, tensor: Tensor) -> int | None:
        """Return the number of a tensor that descends from the image, else None."""
        entry = self._values.get(id(tensor))
        is_known = entry is not None and entry[0]() is tensor and entry[1] != CONSTANT and entry[2] == _version(tensor)
        return entry[1] if is_known and entry is not None else None

    def axes(self, tensor: Tensor) -> Axes:
        """Return which axes of a tensor are channels, rows and columns."""
        value = self.value(tensor)
        return default_axes(tensor.shape) if value is None else self.tape.axes[value]

    def batch_axis(self, tensor: Tensor) -> BatchAxis:
        """Return where the images are in a tensor."""
        value = self.value(tensor)
        return FIRST if value is None else self.tape.batches[value]

    def maker(self, tensor: Tensor) -> Call | None:
        """Return the call that made a tensor; None for the image."""
        value = self.value(tensor)
        return self.tape.calls[self.tape.makers[value]] if value in self.tape.makers else None

    def origin(self, tensor: Tensor) -> Call | None:
        """Return the call that computed a tensor, looking through calls that only move values about."""
        value = self.value(tensor)
        return None if value is None else self.tape.origin(value)

    def is_pattern(self, tensor: Tensor) -> bool:
        """Say whether a tensor is a pattern of attention, perhaps mixed among heads."""
        value = self.value(tensor)
        return value is not None and self.tape.is_pattern(value)

    def is_rectified(self, tensor: Tensor) -> bool:
        """Say whether a rectifier set a tensor's values to zero wherever nothing fired, and left none below."""
        return self.value(tensor) in self.tape.rectified

    def as_used(self, tensor: Tensor) -> Tensor:
        """Return a constant as it is in this pass: an alias, or a copy where the pass wrote to it and it is restored later."""
        is_written = bool(self._written) and tensor.untyped_storage().data_ptr() in self._written
        return tensor.detach().clone() if is_written else tensor.detach()

    def call_cache(self) -> dict[Any, Any]:
        """Return the cache of the call that is being made."""
        return self.tape.cache.calls.setdefault(len(self.tape.calls), {})

    # how calls are made and written down

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make one call and write it down."""
        kwargs = kwargs or {}
        if _active.get() is not self or func in METADATA:
            return func(*args, **kwargs)
        if torch.is_inference_mode_enabled():
            with _outside_inference_mode():
                return self.__torch_function__(func, types, args, kwargs)
        if self._unrecorded is None:
            return self._call(func, args, kwargs)
        self._unrecorded.in_recorded_call = True
        try:
            return self._call(func, args, kwargs)
        finally:
            self._unrecorded.in_recorded_call = False

    def _call(self, func: Any, args: Any, kwargs: Any) -> Any:
        read = tensors_in((args, kwargs))
        written = read
        if _writes_in_place(func, kwargs):
            written = tensors_in(kwargs["out"]) if kwargs.get("out") is not None else read[:1]
            self._note_write(written)
        looked_up = [self._look_up(tensor) for tensor in read]
        numbers = [number for number, _ in looked_up]
        problem = next((reason for _, reason in looked_up if reason), None)
        name = getattr(func, "__name__", "")
        if name in MAKERS or (name in LIKE_ANOTHER and looked_up[0] == (None, None)):
            return self._call_on_constants(func, args, kwargs, [])
        if problem is None and all(number is None for number in numbers):
            return self._call_on_constants(func, args, kwargs, read)
        self._left_torch = self._left_torch or plain_name(func) in TO_NUMPY
        versions = [_version(tensor) for tensor in read]
        inputs = tuple(number for number in numbers if number is not None)
        rule = self._rule(func)
        if rule is None:
            output, saved, rule_problem = func(*args, **kwargs), Saved(), KERNEL if isinstance(func, OpOverload) else None
        else:
            output, saved, rule_problem = self._run_rule(rule, func, args, kwargs, len(inputs))
            if inputs and not self.tape.batches[inputs[0]].is_first and rule.saves_like_input:
                saved = replace(saved, batch=self.tape.batches[inputs[0]])
        made = tensors_in(output)
        if not made or rule is None:  # where a rule knows the call, what it returns is what it made:
            # norms of some versions of torch count running statistics as written to, although they are not
            changed = (x for x, version in zip(read, versions, strict=True) if _version(x) != version)
            made = made + [tensor for tensor in changed if _is_in(tensor, written)]
        made = [tensor for tensor in _distinct(made) if self.value(tensor) is None]
        if made:
            self._write(func, rule, inputs, made, saved, problem or rule_problem)
        self._note_writes(read, versions, written)
        return output

    def _rule(self, func: Any) -> AnyRule | None:
        table = self.tape.table
        if not table.by_layer:
            return table.get(func)
        return table.rule_for(func, self.layer_of(plain_name(func)))

    def _note_write(self, written: Any) -> None:
        """Tell of a constant, such as a weight, that is about to be written to."""
        for tensor in tensors_in(written):
            if self.value(tensor) is None:
                self._on_write(tensor)
                self._written.add(tensor.untyped_storage().data_ptr())

    def _call_on_constants(self, func: Any, args: Any, kwargs: Any, read: list[Tensor]) -> Any:
        output = func(*args, **kwargs)
        for tensor in [*tensors_in(output), *(x for x in read if id(x) in self._values)]:
            self._values[id(tensor)] = (weakref.ref(tensor), CONSTANT, _version(tensor))
        return output

    def _run_rule(self, rule: AnyRule, func: Any, args: Any, kwargs: Any, input_count: int) -> tuple[Any, Saved, str | None]:
        """Make the call through its rule; where the rule cannot take it, make it plainly and say why."""
        call = CallContext(func, args, kwargs, self, input_count)
        try:
            output, saved = rule.run(call, *args, **kwargs)
            return output, saved, None
        except UnsupportedCall as error:
            reason = str(error)
        except Exception as error:  # whatever a rule raises: it is no reason to end the model's own pass
            has_unknown_arguments = isinstance(error, TypeError) and not call.is_made
            reason = _first_line(error) if has_unknown_arguments else _failure(error)
        # what the model itself does wrong is raised here, as if nobody looked on
        return (call.output if call.is_made else func(*args, **kwargs)), Saved(), reason

    def _write(
        self, func: Any, rule: AnyRule | None, inputs: tuple[int, ...], made: list[Tensor], saved: Saved, problem: str | None
    ) -> None:
        axes, batches = [self.tape.axes[number] for number in inputs], [self.tape.batches[number] for number in inputs]
        numbers = []
        for tensor in made:
            known_rule = None if problem else rule
            if known_rule is None and inputs and tensor.shape == self.tape.shapes[inputs[0]]:
                output_axes, output_batch = axes[0], batches[0]  # a comparison, as likely as not; nothing goes down through it
            else:
                output_axes, axes_reason = _output_axes(known_rule, saved, axes, tensor.shape)
                output_batch, batch_reason = _output_batch(known_rule, saved, batches, tensor.shape)
                problem = problem or axes_reason or batch_reason
            numbers.append(self._number(tensor, output_axes, output_batch))
            if tensor._base is not None or id(tensor) in self._buffers:
                self._filled.add(tensor.untyped_storage().data_ptr())
        outputs = tuple(numbers)
        call = Call(func, plain_name(func), "", inputs, outputs, saved, problem)
        self.tape.calls.append(call)
        self.tape.makers.update(dict.fromkeys(outputs, len(self.tape.calls) - 1))
        if is_rectified(call, rule, [number in self.tape.rectified for number in inputs]):
            self.tape.rectified.update(outputs)
        self.on_call(call, made)

    def _number(self, tensor: Tensor, axes: Axes, batch: BatchAxis) -> int:
        self.tape.shapes.append(tensor.shape)
        self.tape.axes.append(axes)
        self.tape.batches.append(batch)
        number = len(self.tape.shapes) - 1
        self._values[id(tensor)] = (weakref.ref(tensor), number, _version(tensor))
        return number

    def _look_up(self, tensor: Tensor) -> tuple[int | None, str | None]:
        """Return a tensor's number, None for a constant, and what is wrong with it where a call is about to read it."""
        if type(tensor) is nn.Parameter or id(tensor) in self._buffers:  # isinstance of a Parameter is slow
            value = self.value(tensor)  # a buffer that was written to may descend from the image
            return value, CHANGED if value is None and self._is_filled(tensor) else None
        entry = self._values.get(id(tensor))
        if entry is not None and entry[0]() is tensor:
            value = None if entry[1] == CONSTANT else entry[1]
            is_same = entry[2] == _version(tensor) or (value is None and not self._is_filled(tensor))
            return (value, None) if is_same else self._look_up_changed(tensor, value, entry[2])
        return None, self._problem_of(tensor)

    def _note_writes(self, read: list[Tensor], versions: list[int], written: list[Tensor]) -> None:
        """Note what a call wrote to, of the tensors that it read, and what that is now."""
        for tensor, version in zip(read, versions, strict=True):
            value = self.value(tensor) if _version(tensor) != version and _is_in(tensor, written) else None
            if value is not None:
                self._writes.note(tensor, value, version)

    def _look_up_changed(self, tensor: Tensor, value: int | None, version: int) -> tuple[int | None, str | None]:
        """Return the number of a tensor whose memory calls wrote to since, through views of it, as in `x[:, 1:] += y`."""
        parts = self._written_parts(tensor, value, version)
        if parts is None:
            return None, CHANGED
        for index, write in parts:
            value = self._write_part(tensor, index, value, write)
        self._values[id(tensor)] = (weakref.ref(tensor), CONSTANT if value is None else value, _version(tensor))
        return value, None

    def _written_parts(self, tensor: Tensor, value: int | None, version: int) -> list[tuple[Index, Write]] | None:
        """Return which parts of a tensor were written over since, all told before any is written down; None: it cannot be."""
        writes, parts = self._writes.since(tensor, version), []
        if writes is None:
            return None
        for write in writes:
            index = Layout.of(tensor).index_of(write.layout)
            if index is not None and self._keeps_images(index, value, write.value):
                parts.append((index, write))
            elif not write.is_apart_from(tensor):
                return None
        return parts

    def _keeps_images(self, index: Index, whole: int | None, part: int) -> bool:
        """Say whether a part has the images where the whole has them, and all of them."""
        batch = FIRST if whole is None else self.tape.batches[whole]
        place = sum(isinstance(item, slice) for item in index[: batch.axis])
        is_whole = batch.axis < len(index) and index[batch.axis] == slice(None)
        return is_whole and self.tape.batches[part] == replace(batch, axis=place)

    def _write_part(self, tensor: Tensor, index: Index, value: int | None, write: Write) -> int:
        """Write down that a part of a tensor was written over, though no call did so by the tensor's own name."""
        func, size = Tensor.__setitem__, torch.Size(write.layout.size)
        saved = SavedSetItem(size=tensor.shape, index=index, written=size, descend=(value is not None, True))
        inputs = (write.value,) if value is None else (value, write.value)
        axes, batch = default_axes(tensor.shape), FIRST
        if value is not None:
            axes, batch = self.tape.axes[value], self.tape.batches[value]
        number = self._number(tensor, axes, batch)
        self.tape.calls.append(Call(func, plain_name(func), "", inputs, (number,), saved))
        self.tape.makers[number] = len(self.tape.calls) - 1
        return number

    def _is_filled(self, tensor: Tensor) -> bool:
        return bool(self._filled) and tensor.untyped_storage().data_ptr() in self._filled

    def _problem_of(self, tensor: Tensor) -> str | None:
        """Judge a tensor that no recorded call made: one of the model's attributes, a constant, or made by compiled code."""
        if self._attributes is None:
            self._attributes = {id(attribute) for attribute in _attributes_of(self._modules)}
        if id(tensor) in self._attributes or not tensor.is_floating_point():
            return None
        self.met_unknown = True
        made = None if self._unrecorded is None else self._unrecorded.made.get(tensor)
        return UNSEEN if self._unrecorded is None or made or (self._left_torch and made is not None) else None


def _output_axes(rule: AnyRule | None, saved: Saved, axes: list[Axes], shape: torch.Size) -> tuple[Axes, str | None]:
    """Return the axes of what a call made, and what is wrong where its rule fails to say."""
    if rule is None:
        return default_axes(shape), None
    try:
        output = rule.axes(saved, axes, shape)
        if isinstance(output, VolumeAxes):
            return following_axes(output, shape), None
        return default_axes(shape) if isinstance(output, TokenAxes) and not output.fits(shape) else output, None
    except Exception as error:  # as in `run`
        return default_axes(shape), _failure(error)


def _output_batch(
    rule: AnyRule | None, saved: Saved, batches: list[BatchAxis], shape: torch.Size
) -> tuple[BatchAxis, str | None]:
    """Return where the images are in what a call made, and what is wrong where its rule cannot follow them."""
    if rule is None or not batches:
        return FIRST, None
    try:
        return rule.batch(saved, batches, shape), None
    except UnsupportedCall as error:
        return FIRST, str(error)
    except Exception as error:  # as in `run`
        return FIRST, _failure(error)


def _failure(error: Exception) -> str:
    return f"its rule failed: {type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")


def _writes_in_place(func: Any, kwargs: Any) -> bool:
    name = getattr(func, "__name__", "")
    if name.startswith("__"):
        return name in ("__setitem__", "__set__") or (
            name.startswith("__i") and name not in ("__invert__", "__int__", "__index__")
        )
    return name.endswith("_") or kwargs.get("out") is not None


def _distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _is_in(tensor: Tensor, tensors: list[Tensor]) -> bool:
    return any(tensor is other for other in tensors)


def _version(tensor: Tensor) -> int:
    try:
        return tensor._version
    except RuntimeError:  # a weight that was made in inference mode keeps no count
        return 0


def _attributes_of(modules: Sequence[nn.Module]) -> Iterator[Tensor]:
    """Yield the tensors that modules hold as plain attributes, also in lists and dictionaries."""
    for module in modules:
        for name, attribute in vars(module).items():
            if not name.startswith("_") and not isinstance(attribute, nn.Module):
                yield from tensors_in(attribute)
