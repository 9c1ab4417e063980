"""The rule table as a type: {call: rule}, with other rules for some layers where asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..errors import OptionError, did_you_mean
from .base import AnyRule
from .call import Function, plain_name

Rows = dict[Function, AnyRule]


class Table(Mapping[Function, AnyRule]):
    """An unchangeable {call: rule}.

        >>> from deconvnet import rules
        >>> rules.DEFAULT.rule_for(torch.relu)
        ReLU(mask=False, rectify=True)

    Args:
        rows: {function, or tuple of functions: rule}.
        by_layer: for some layers other rows, as (pattern, rows); where several patterns match, the last one counts.

    Raises:
        OptionError: two rows for one function.
    """

    def __init__(self, rows: Mapping[Any, AnyRule], by_layer: Sequence[tuple[str, Rows]] = ()) -> None:
        self._rows: Rows = {}
        self.by_layer = tuple(by_layer)
        for key, rule in rows.items():
            for function in key if isinstance(key, tuple) else (key,):
                if function in self._rows:
                    raise OptionError(f"the rule table has two rows for {plain_name(function)}. Use replace() to change one.")
                self._rows[function] = rule

    def __getitem__(self, function: Function) -> AnyRule:
        return self._rows[function]

    def __iter__(self) -> Iterator[Function]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        layers = f", other rules for {', '.join(pattern for pattern, _ in self.by_layer)}" if self.by_layer else ""
        return f"Table({len(self)} calls{layers})"

    def rule_for(self, function: Function, layer: str = "") -> AnyRule | None:
        """Return the rule of a call in a layer; None where there is none."""
        for pattern, rows in reversed(self.by_layer):
            if function in rows and _matches(layer, pattern):
                return rows[function]
        return self._rows.get(function)

    def rules(self) -> list[AnyRule]:
        """Return all rules, also those of some layers only."""
        return [*self._rows.values(), *(rule for _, rows in self.by_layer for rule in rows.values())]

    def names(self) -> list[str]:
        """Return the plain names of all calls in the table, sorted."""
        return sorted({plain_name(function) for function in self})

    def replace(
        self,
        rows: Mapping[Function, AnyRule] | None = None,
        *,
        layers: str | Sequence[str] | None = None,
        **by_name: AnyRule,
    ) -> Table:
        """Return a table with rows added or replaced.

        Args:
            rows: {function: rule}.
            layers: a name or pattern of the layers that the rows are for ("features.0", "layer4", "features.*"), or several;
                a container stands for all that is in it. None: all layers.
            by_name: rules by the plain name of a call, for it and all its aliases: `relu=MyReLU()`.

        Raises:
            OptionError: no call has that name.
        """
        changed: Rows = dict(rows or {})
        for name, rule in by_name.items():
            same_name = [function for function in self if plain_name(function) == name]
            if not same_name:
                hint = did_you_mean(name, self.names())
                raise OptionError(f"the rule table has no row named {name!r}.{hint} Give a new call by its function.")
            changed.update(dict.fromkeys(same_name, rule))
        if layers is None:
            return Table({**self._rows, **changed}, self.by_layer)
        patterns = [layers] if isinstance(layers, str) else layers
        return Table(self._rows, [*self.by_layer, *((pattern, changed) for pattern in patterns)])

    def with_options(self, **options: Any) -> Table:
        """Return the table with these options set in each rule that has them."""
        return Table(
            {function: rule.with_options(**options) for function, rule in self._rows.items()},
            [
                (pattern, {function: rule.with_options(**options) for function, rule in rows.items()})
                for pattern, rows in self.by_layer
            ],
        )


def _matches(layer: str, pattern: str) -> bool:
    return layer == pattern or layer.startswith(f"{pattern}.") or fnmatchcase(layer, pattern)
