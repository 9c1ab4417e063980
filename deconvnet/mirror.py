"""Walks a tape down: the mirrored deconvnet. Unpool by the switches, rectify, filter, until the pixels are reached."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from .fuse import nonzero_channels, slice_filters, steps_down
from .graphs import MOST_BYTES, arithmetic
from .render.table import table_html, table_text
from .render.text import size_text
from .rules import Table
from .rules.base import AnyRule
from .rules.call import Call
from .tape import Tape

P = ParamSpec("P")
R = TypeVar("R")


def deterministic(way_down: Callable[P, R]) -> Callable[P, R]:
    """Make a function use cuDNN's deterministic algorithms: the same call is to give the same bytes on a GPU too."""

    @functools.wraps(way_down)
    def with_flags(*args: P.args, **kwargs: P.kwargs) -> R:
        cudnn = torch.backends.cudnn
        before = cudnn.deterministic, cudnn.benchmark
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            return way_down(*args, **kwargs)
        finally:
            cudnn.deterministic, cudnn.benchmark = before

    return with_flags


def project_value(tape: Tape, value: int, signal: Tensor, table: Table, rows: int | Tensor | None = None) -> Tensor:
    """Carry a signal (K, *shape of the value) down to the pixels, (K, C, H, W).

    Where a value was read by several calls, what comes back from them adds up.

    Args:
        tape: of the recording.
        value: the number of the value that the signal starts at.
        signal: K signals; where the net keeps its images elsewhere than on the first axis, K is there.
        table: the rules to mirror by.
        rows: which image of the recording each signal belongs to: one for all (int), one each ((K,) int64), or signal k to
            image k (None).

    Raises:
        NoRuleError: the way down meets a call that cannot be mirrored.
    """
    graphs = tape.cache.graphs
    way = functools.partial(_carry_down, tape, value, table=table, rows=rows)
    if graphs is None or isinstance(rows, Tensor) or not _is_small(tape, value, signal):
        return way(signal)
    # the way itself keeps the table on the tape (`steps_down`), so that its id is used once
    key = value, id(table), rows, signal.shape, signal.dtype, arithmetic(tape.device)
    return graphs.run(key, way, preferred_format(signal))


def _is_small(tape: Tape, value: int, signal: Tensor) -> bool:
    """Say whether no signal on the way down is so large that its arithmetic takes longer than its calls."""
    largest = max(shape[1:].numel() for shape in tape.shapes[: value + 1])
    return tape.batches[value].count(signal.shape) * largest * signal.element_size() <= MOST_BYTES


@torch.no_grad()
@deterministic
def _carry_down(tape: Tape, value: int, signal: Tensor, table: Table, rows: int | Tensor | None) -> Tensor:
    """Go the way of `project_value`, call by call."""
    count = tape.batches[value].count(signal.shape)
    rows = all_rows(tape, rows, count)
    signals, owned, channels = {value: preferred_format(signal)}, set[int](), nonzero_channels(signal)
    for step in steps_down(tape, value, table, count):
        above = [signals.pop(number, None) for number in step.outputs]
        if all(part is None for part in above):
            continue
        rule, saved = tape.rule(step.call, table), step.saved.for_images(rows)
        if len(above) == 1 and above[0] is not None:
            single = above[0]
            if channels is not None:
                saved, single = slice_filters(rule, saved, single, channels)
                channels = channels if rule.keeps_channels() else None
            below = step.mirror(saved, single, owned=step.outputs[0] in owned)
        else:
            below, channels = rule.mirror(saved, tuple(above)), None
        for number, part in zip(step.inputs, below if isinstance(below, tuple) else (below,), strict=True):
            if part is None:
                continue
            if number in signals:
                signals[number] = signals[number].add_(part) if number in owned else signals[number] + part
                owned.add(number)
            else:
                signals[number] = part
                if step.rectify or rule.returns_new():
                    owned.add(number)
    shape = (count, *tape.shapes[0][1:])
    return signals[0].reshape(shape).contiguous() if 0 in signals else signal.new_zeros(shape)


@torch.no_grad()
def walk_down(
    tape: Tape, value: int, signal: Tensor, table: Table, rows: int | Tensor | None = None
) -> Iterator[tuple[Call, int, Tensor]]:
    """Carry a signal down as `project_value` does, but one call at a time, with no short cut.

    Yields, for each call and each of its inputs that takes a signal, the call, the input's number and the signal there:
    where other calls read it too, what has come back from them so far is in it.
    """
    rows = all_rows(tape, rows, tape.batches[value].count(signal.shape))
    signals = {value: signal}
    for call in tape.down_from(value):
        above = tuple(signals.pop(number, None) for number in call.outputs)
        if all(part is None for part in above):
            continue
        below = tape.rule(call, table).mirror(call.saved.for_images(rows), above[0] if len(above) == 1 else above)
        for number, part in zip(call.inputs, below if isinstance(below, tuple) else (below,), strict=True):
            if part is not None:
                signals[number] = signals[number] + part if number in signals else part
                yield call, number, signals[number]


def all_rows(tape: Tape, rows: int | Tensor | None, count: int) -> int | Tensor | None:
    """Return the image of each of `count` signals where a net folds its images into other axes; else `rows` as they are."""
    if not tape.moves_batch or isinstance(rows, Tensor):
        return rows
    return torch.arange(count) if rows is None else torch.full((count,), rows)


def preferred_memory_format(device: torch.device) -> torch.memory_format:
    """Return the memory format in which a device's convolutions and pools are fastest: on a GPU, in float32, torch's own."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def preferred_format(signal: Tensor) -> Tensor:
    """Return a signal (K, C, H, W) in its device's fastest memory format."""
    return signal.contiguous(memory_format=preferred_memory_format(signal.device)) if signal.dim() == 4 else signal


def calls_below(tape: Tape, value: int) -> list[Call]:
    """Return the calls on some path that a signal takes from a value to the pixels, from the pixels up: not inside gates."""
    reached, calls = {value}, []
    for call in tape.down_from(value):
        if reached.intersection(call.outputs):
            held = call.saved.held or (False,) * len(call.inputs)
            reached.update(number for number, hold in zip(call.inputs, held, strict=True) if not hold)
            calls.append(call)
    return calls[::-1]


@dataclass(frozen=True)
class Step:
    """One call of the mirror: how it is undone on the way down."""

    layer: str
    call: str
    input_size: tuple[int, ...]  # of what goes in on the way up, without the batch axis
    output_size: tuple[int, ...]
    rule: str
    status: str


@dataclass(frozen=True)
class Mirror:
    """The mirrored deconvnet of a layer: its calls from the pixels up. Prints as a table."""

    layer: str
    steps: tuple[Step, ...]

    def statuses(self) -> list[str]:
        """Return the statuses met, each once, in order of appearance."""
        return list(dict.fromkeys(step.status for step in self.steps))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows, the heading first."""
        rows: list[tuple[str, ...]] = [("layer", "call", "in", "out", "rule", "status")]
        return rows + [
            (step.layer, step.call, size_text(step.input_size), size_text(step.output_size), step.rule, step.status)
            for step in self.steps
        ]

    def __str__(self) -> str:
        return table_text(self.rows())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return table_html(self.rows())


def describe(tape: Tape, layer: str, value: int, table: Table) -> Mirror:
    """Return the mirror of a layer's value; a call without a rule has the status "no rule"."""
    return Mirror(layer, tuple(step_of(tape, call, table) for call in calls_below(tape, value)))


def step_of(tape: Tape, call: Call, table: Table) -> Step:
    """Return one call as a row of the mirror's table."""
    rule = table.rule_for(call.func, call.layer)
    size_in = tuple(tape.shapes[call.inputs[0]][1:]) if call.inputs else ()
    size_out = tuple(tape.shapes[call.outputs[0]][1:])
    return Step(call.layer, call.name, size_in, size_out, type(rule).__name__ if rule else "-", status(call, rule))


def status(call: Call, rule: AnyRule | None) -> str:
    """Return what a call's rule says of itself: exact, paper, generalised, held, or "no rule"."""
    if rule is None or call.problem:
        return "no rule"
    return call.saved.status or rule.status
