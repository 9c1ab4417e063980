"""The way down as the fewest exact steps: batch norms folded into convolutions, rectifiers done by the convolution above them,
or in place where nobody else looks.

All change nothing in what is computed but the order of a few factors. They matter because a signal's way down is
limited by memory: each pass over it that is saved is a good part of the time (docs/speed.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .rules.activation import ReLU
from .rules.base import Same
from .rules.conv import Conv, ConvTranspose
from .rules.norm import AtenBatchNorm, BatchNorm
from .rules.onednn import Layout
from .rules.pool import AvgPool2d, MaxPool2d
from .tape import Call, Saved, Tape

Table = Mapping[Callable[..., Any], Any]

#: Rules that make a new tensor for the signal they return. Others may return the very signal they were given.
MAKERS = (Conv, ConvTranspose, MaxPool2d, AvgPool2d, BatchNorm, AtenBatchNorm, ReLU)

#: How many signals make folding pay at once: it reads and writes the filters. Fewer get it the second time.
FOLD_FROM = 4


def plan(tape: Tape, value: int, table: Table, signals: int) -> list[Call]:
    """Return the calls from the one that made `value` down to the first; where it pays, norms and rectifiers are folded.

    A folded call is no longer there, and its convolution does its work. Saved on the tape for the next time.
    """
    key = (value, id(table))
    if signals < FOLD_FROM and key not in tape.plans:
        tape.plans[key] = (table, None)  # the table lives as long as its id is used
        return list(tape.down_from(value))
    if tape.plans.get(key, (table, None))[1] is None:
        calls = _folded(tape, list(tape.down_from(value)), table)
        tape.plans[key] = (table, _rectified(tape, calls, table))
    planned: list[Call] = tape.plans[key][1]
    return planned


def _folded(tape: Tape, calls: list[Call], table: Table) -> list[Call]:
    readers = Counter(number for call in calls for number in call.inputs)
    norms = {
        call.inputs[0]: call
        for call in calls
        if _is_fixed_norm(call, table) and readers[call.inputs[0]] == 1 and _made_by_conv(tape, call.inputs[0], table)
    }
    folded = {id(norm) for norm in norms.values()}
    return [
        _with_norm(call, norms[call.outputs[0]]) if len(call.outputs) == 1 and call.outputs[0] in norms else call
        for call in calls
        if id(call) not in folded
    ]


def _is_fixed_norm(call: Call, table: Table) -> bool:
    fixed = type(table.get(call.func)) in (BatchNorm, AtenBatchNorm) and getattr(call.kept, "status", "") != "held"
    return fixed and call.problem is None


def _made_by_conv(tape: Tape, value: int, table: Table) -> bool:
    maker = tape.calls[tape.makers[value]] if value in tape.makers else None
    return maker is not None and type(table.get(maker.func)) is Conv and maker.problem is None


def _with_norm(conv: Call, norm: Call) -> Call:
    """Return a convolution with the norm's scale in its filters: the sums are the same."""
    kept = Saved(**{name: value for name, value in vars(conv.kept).items() if name != "per_image"})
    scale = BatchNorm.scale(norm.kept).to(kept.weight.dtype)
    _set_weight(kept, kept.weight.detach() * scale.view(-1, *[1] * (kept.weight.dim() - 1)))
    return replace(conv, outputs=norm.outputs, kept=kept)


def _set_weight(kept: Saved, weight: Tensor) -> None:
    """Give a convolution other filters, and forget how the old ones were laid out."""
    kept.weight, kept.phases, kept.laid_out = weight, {}, Layout()


def _rectified(tape: Tape, calls: list[Call], table: Table) -> list[Call]:
    """Let a convolution rectify what it sends to a rectifier and to nobody else, itself or through what only moves values."""
    readers = Counter(number for call in calls for number in call.inputs)
    makers = {number: call for call in calls for number in call.outputs}
    gone: set[int] = set()
    rectifying: set[int] = set()
    inputs: dict[int, tuple[int, ...]] = {}  # of calls that reach past a rectifier which is gone
    for conv in calls:
        if type(table.get(conv.func)) is not Conv or conv.problem:
            continue
        last, value = conv, conv.inputs[0]
        while readers[value] == 1 and value in makers and _lets_through(makers[value], table):
            last, value = makers[value], makers[value].inputs[0]
        below = makers.get(value)
        if readers[value] == 1 and below is not None and _is_rectifier(below, table):
            gone.add(id(below))
            rectifying.add(id(conv))
            inputs[id(last)] = below.inputs
    return [_with_rectifier(call, id(call) in rectifying, inputs.get(id(call))) for call in calls if id(call) not in gone]


def _with_rectifier(call: Call, rectify: bool, inputs: tuple[int, ...] | None) -> Call:
    if rectify:
        kept = Saved(**{name: value for name, value in vars(call.kept).items() if name != "per_image"})
        kept.rectify = True
        call = replace(call, kept=kept)
    return call if inputs is None else replace(call, inputs=inputs)


def _is_rectifier(call: Call, table: Table) -> bool:
    rule = table.get(call.func)
    return type(rule) is ReLU and rule.rectify and not rule.mask and not call.problem


def _lets_through(call: Call, table: Table) -> bool:
    """Say whether rectifying above a call is the same as below it: it moves each value to a place of its own."""
    rule, kept = table.get(call.func), call.kept
    if call.problem or len(call.inputs) != 1 or len(call.outputs) != 1:
        return False
    apart = (
        type(rule) is MaxPool2d
        and kept.dilation == (1, 1)
        and kept.kernel[0] <= kept.stride[0]
        and kept.kernel[1] <= kept.stride[1]
    )
    return apart or type(rule) is Same


def carry(rule: Any, kept: Saved, signal: Tensor, owned: bool) -> Any:
    """Carry one signal through a call; one that nobody else holds (`owned`) may be changed in place.

    Only for these very rules: a subclass may mirror otherwise.
    """
    if owned and type(rule) is ReLU and rule.rectify:
        signal = torch.clamp_(signal, min=0)
        return signal.mul_(kept.positive) if rule.mask else signal
    if owned and type(rule) in (BatchNorm, AtenBatchNorm):
        return signal.mul_(BatchNorm.scale(kept, signal))
    return rule.mirror(kept, signal)


def nonzero_channels(signal: Tensor) -> Tensor | None:
    """Return which channels of a start signal (K, C, H, W) carry anything, where they are few: those of a map or two."""
    if signal.dim() != 4 or signal.device.type != "cpu":  # a GPU would have to be waited for
        return None
    busy = signal.ne(0).flatten(2).any(2).any(0).nonzero()[:, 0]
    return busy if 0 < len(busy) <= signal.shape[1] // 4 else None


def slice_filters(rule: Any, kept: Saved, signal: Tensor, busy: Tensor) -> tuple[Saved, Tensor]:
    """Leave out the filters of channels that carry nothing, in the first convolution below the start."""
    if type(rule) is not Conv or kept.groups != 1 or signal.dim() != 4:
        return kept, signal
    thin = Saved(**{name: value for name, value in vars(kept).items() if name != "per_image"})
    _set_weight(thin, kept.weight[busy])
    return thin, signal[:, busy].contiguous(memory_format=torch.channels_last)


def keeps_channels(rule: Any) -> bool:
    """Say whether a rule leaves a signal in the channels that it came in."""
    return isinstance(rule, Same) or type(rule) in (ReLU, BatchNorm, AtenBatchNorm, MaxPool2d, AvgPool2d)


def returns_new(rule: Any) -> bool:
    """Say whether what a rule's `mirror` returns is a tensor that nobody else holds."""
    return type(rule) in MAKERS and (type(rule) is not ReLU or rule.rectify or rule.mask)
