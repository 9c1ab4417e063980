"""The way down as the fewest exact steps: batch norms folded into convolutions, rectifiers done by the convolution above them,
or in place where nobody else looks.

All change nothing in what is computed but the order of a few factors. They matter because a signal's way down is
limited by memory: each pass over it that is saved is a good part of the time (docs/speed.md). What may be fused is said by the
rules themselves: see the promises of `rules.base.Rule`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .rules import Table
from .rules.base import AnyRule, Signals
from .rules.call import Call, Saved
from .tape import Tape

#: How many signals make folding worthwhile at once: it reads and writes the filters. Fewer get it the second time.
FOLD_FROM = 4

#: Channels that carry nothing are left out where at most one in this many carries anything.
SPARSE_SHARE = 4


@dataclass(frozen=True, eq=False)
class FusedStep:
    """One step of the way down: a call, its rule, and what it does for others that were fused into it."""

    call: Call
    rule: AnyRule | None  # None where the call cannot be mirrored
    saved: Saved
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rectify: bool = False  # it also rectifies what it sends down

    @classmethod
    def of(cls, call: Call, table: Table) -> FusedStep:
        """Return the step that mirrors a call as it is."""
        rule = None if call.problem else table.rule_for(call.func, call.layer)
        return cls(call, rule, call.saved, call.inputs, call.outputs)

    def mirror(self, saved: Saved, signal: Tensor, *, owned: bool) -> Signals:
        """Carry one signal through the step; one that nobody else holds (`owned`) may be changed in place."""
        assert self.rule is not None  # `steps_down` raises where there is none
        if self.rectify:
            return self.rule.mirror_rectified(saved, signal)
        return self.rule.mirror_inplace(saved, signal) if owned else self.rule.mirror(saved, signal)


def steps_down(tape: Tape, value: int, table: Table, signals: int) -> list[FusedStep]:
    """Return the steps from the call that made `value` down to the first, norms and rectifiers fused where it is worthwhile.

    Kept on the tape for the next time.
    """
    key, cache = (value, id(table)), tape.cache.fused
    if signals < FOLD_FROM and key not in cache:
        cache[key] = (table, None)  # the table lives as long as its id is used
        return [FusedStep.of(call, table) for call in tape.down_from(value)]
    if cache.get(key, (table, None))[1] is None:
        steps = [FusedStep.of(call, table) for call in tape.down_from(value)]
        cache[key] = (table, _with_rectifiers(_with_norms(steps)))
    fused: list[FusedStep] = cache[key][1]
    return fused


def _with_norms(steps: Sequence[FusedStep]) -> list[FusedStep]:
    """Fold norms that scale each channel into the convolutions below them that nobody else reads."""
    readers, makers = _readers(steps), _makers(steps)
    norms: dict[
        int, tuple[FusedStep, Saved]
    ] = {}  # by the value between convolution and norm: the norm, what the convolution saves
    for norm in steps:
        below = makers.get(norm.inputs[0]) if len(norm.inputs) == 1 else None
        scale = None if norm.rule is None else norm.rule.channel_scale(norm.saved)
        if scale is None or below is None or below.rule is None or readers[norm.inputs[0]] != 1:
            continue
        scaled = below.rule.scaled(below.saved, scale) if len(below.outputs) == 1 else None
        if scaled is not None:
            norms[norm.inputs[0]] = norm, scaled
    folded = {id(norm) for norm, _ in norms.values()}
    result = []
    for step in steps:
        if len(step.outputs) == 1 and step.outputs[0] in norms:
            norm, saved = norms[step.outputs[0]]
            result.append(replace(step, outputs=norm.outputs, saved=saved))
        elif id(step) not in folded:
            result.append(step)
    return result


def _with_rectifiers(steps: Sequence[FusedStep]) -> list[FusedStep]:
    """Let a step rectify what it sends to a rectifier and to nobody else, itself or through what only moves values."""
    readers, makers = _readers(steps), _makers(steps)
    gone: set[int] = set()
    rectifying: set[int] = set()
    inputs: dict[int, tuple[int, ...]] = {}  # of steps that reach past a rectifier which is gone
    for step in steps:
        if step.rule is None or not step.rule.can_rectify():
            continue
        last, value = step, step.inputs[0]
        while readers[value] == 1 and value in makers and _passes_rectifying(makers[value]):
            last, value = makers[value], makers[value].inputs[0]
        below = makers.get(value)
        if readers[value] == 1 and below is not None and below.rule is not None and below.rule.rectifies():
            gone.add(id(below))
            rectifying.add(id(step))
            inputs[id(last)] = below.inputs
    return [
        replace(step, rectify=id(step) in rectifying, inputs=inputs.get(id(step), step.inputs))
        for step in steps
        if id(step) not in gone
    ]


def _passes_rectifying(step: FusedStep) -> bool:
    single = len(step.inputs) == 1 and len(step.outputs) == 1
    return single and step.rule is not None and step.rule.passes_rectifying(step.saved)


def _readers(steps: Sequence[FusedStep]) -> Counter[int]:
    return Counter(number for step in steps for number in step.inputs)


def _makers(steps: Sequence[FusedStep]) -> dict[int, FusedStep]:
    return {number: step for step in steps for number in step.outputs}


def nonzero_channels(signal: Tensor) -> Tensor | None:
    """Return which channels of a start signal (K, C, H, W) carry anything, where they are few: those of a map or two."""
    if signal.dim() != 4 or signal.device.type != "cpu":  # a GPU would have to be waited for
        return None
    channels = signal.ne(0).flatten(2).any(2).any(0).nonzero()[:, 0]
    return channels if 0 < len(channels) <= signal.shape[1] // SPARSE_SHARE else None


def slice_filters(rule: AnyRule, saved: Saved, signal: Tensor, channels: Tensor) -> tuple[Saved, Tensor]:
    """Leave out the filters of channels that carry nothing, in the first convolution below the start."""
    sliced = rule.sliced(saved, channels) if signal.dim() == 4 else None
    if sliced is None:
        return saved, signal
    return sliced, signal[:, channels].contiguous(memory_format=torch.channels_last)
