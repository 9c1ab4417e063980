"""Which values a rectifier let through: zero where nothing fired, above zero elsewhere.

Only in such values can a pooling window be silent. Where no rectifier stands below a pool, a maximum of zero or less is a real
maximum. A norm that shifts its values, such as a batch norm, is no rectifier, and what passes one is not rectified any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from .activation import SavedActivation
from .arithmetic import Cat, Stack
from .base import AnyRule
from .call import Call
from .indexed_pool import AdaptiveMaxPool
from .norm import LocalResponseNorm
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .shape import GetItem, Parts, SavedPad

#: Calls that set to zero what is below zero, by their plain names; and those that do with a lower bound of zero.
RECTIFIERS, BOUNDED = {"relu", "relu6"}, {"hardtanh", "clamp"}

#: Rules of calls that keep zero at zero, and what is above it above; besides those that only move values about.
KEEPS_ZERO = (AdaptiveAvgPool2d, AdaptiveMaxPool, AvgPool2d, Cat, GetItem, LocalResponseNorm, MaxPool2d, Parts, Stack)


def is_rectified(call: Call, rule: AnyRule | None, inputs: Sequence[bool]) -> bool:
    """Say whether what a call made is zero where nothing fired and above zero elsewhere; `inputs` say it of what it read."""
    if call.name in RECTIFIERS or (call.name in BOUNDED and _lower_bound(call) == 0):
        return True
    keeps = isinstance(rule, KEEPS_ZERO) or (rule is not None and rule.moves) or _pads_below(call)
    return keeps and bool(inputs) and all(inputs)


def _lower_bound(call: Call) -> float | None:
    """Return the lower bound of hardtanh or clamp; None where it has none, or another one in each place."""
    if not isinstance(call.saved, SavedActivation):
        return None
    names = ("min_val", "min")
    given = [call.saved.kwargs[name] for name in names if name in call.saved.kwargs]
    bound = next(iter([*given, *call.saved.args]), None)
    return bound if isinstance(bound, (int, float)) else None


def _pads_below(call: Call) -> bool:
    """Say whether a call pads with values of its own, with zero, or with less, which no maximum takes."""
    return isinstance(call.saved, SavedPad) and (call.saved.mode != "constant" or call.saved.fill <= 0)
