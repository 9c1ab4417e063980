"""The rule table: for each call of torch that a net can make, how it is mirrored. One row a call, looked up exactly.

A call without a row is recorded all the same, and raises `NoRuleError` when a projection's path to the pixels meets it.
To add one: `rules.DEFAULT.replace(relu=MyReLU())`, or by function, `rules.DEFAULT.replace({my_function: MyRule()})`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import OptionError, did_you_mean
from ..tape import Asked, Kept, Unmirrorable, plain_name
from .conv import Conv2d
from .join import Add, Cat
from .linear import Linear
from .norm import BatchNorm, LocalResponseNorm
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .relu import ReLU
from .rule import STATUSES, Adjoint, Rule, Same
from .shape import Dropout, Pad, Reshape

__all__ = [
    "BITS",
    "DEFAULT",
    "STATUSES",
    "Adjoint",
    "Asked",
    "Kept",
    "Rule",
    "Same",
    "Table",
    "Unmirrorable",
    "read_bits",
    "replace",
]

Function = Callable[..., Any]


class Table(Mapping[Function, Rule]):
    """An unchangeable {call: rule}."""

    def __init__(self, rows: Mapping[Any, Rule]) -> None:
        self._rows: dict[Function, Rule] = {}
        for key, rule in rows.items():
            for function in key if isinstance(key, tuple) else (key,):
                if function in self._rows:
                    raise OptionError(f"the rule table has two rows for {plain_name(function)}. Use replace() to change one.")
                self._rows[function] = rule

    def __getitem__(self, function: Function) -> Rule:
        return self._rows[function]

    def __iter__(self) -> Iterator[Function]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def names(self) -> list[str]:
        """Return the plain names of all calls in the table, sorted."""
        return sorted({plain_name(function) for function in self})

    def replace(self, rows: Mapping[Function, Rule] | None = None, **by_name: Rule) -> Table:
        """Return a table with rows added or replaced: by function, or by name for a call and all its aliases."""
        changed = {**self._rows, **(rows or {})}
        for name, rule in by_name.items():
            same_name = [function for function in self if plain_name(function) == name]
            if not same_name:
                hint = did_you_mean(name, self.names())
                raise OptionError(f"the rule table has no row named {name!r}.{hint} Give a new call by its function.")
            changed.update(dict.fromkeys(same_name, rule))
        return Table(changed)

    def given(self, **options: Any) -> Table:
        """Return the table with these options set in each rule that has them."""
        return Table({function: rule.given(**options) for function, rule in self._rows.items()})


T = Tensor
DEFAULT = Table(
    {
        (torch.conv2d,): Conv2d(),
        (F.linear,): Linear(),
        (F.relu, torch.relu, torch.relu_, T.relu, T.relu_): ReLU(),
        (F.max_pool2d, F.max_pool2d_with_indices, torch.max_pool2d): MaxPool2d(),
        (F.avg_pool2d,): AvgPool2d(),
        (F.adaptive_avg_pool2d,): AdaptiveAvgPool2d(),
        (F.batch_norm,): BatchNorm(),
        (F.local_response_norm,): LocalResponseNorm(),
        (torch.add, T.add, T.add_, T.__add__, T.__iadd__, T.__radd__): Add(),
        (torch.cat, torch.concat, torch.concatenate): Cat(),
        (torch.flatten, T.flatten, T.view, T.reshape, torch.reshape): Reshape(),
        (F.pad,): Pad(),
        (F.dropout, F.dropout2d): Dropout(),
        (T.contiguous,): Same(),
    }
)
replace = DEFAULT.replace

#: mask, switches, rectify (Mahendran & Vedaldi 2016): the reversals that have a name.
BITS = {"deconvnet": "FTT", "guided": "TTT", "gradient": "TTF"}


def read_bits(rule: str) -> dict[str, bool]:
    """Read a rule's name or its three bits: "deconvnet" or "FTT" -> mask=False, switches=True, rectify=True."""
    bits = BITS.get(rule, rule)
    if len(bits) != 3 or set(bits) - set("FT"):
        hint = did_you_mean(rule, BITS)
        raise OptionError(f"rule cannot be {rule!r}: it is one of {', '.join(BITS)}, or three bits such as FTT.{hint}")
    return {name: bit == "T" for name, bit in zip(("mask", "switches", "rectify"), bits, strict=True)}
