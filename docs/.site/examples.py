"""Lets griffe read the examples of our docstrings, which stand at their end, behind the sections of arguments and errors."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes):$", re.M)
_EXAMPLE = re.compile(r"\n\n(?= *>>> )")


class Examples(griffe.Extension):
    """Gives an example that ends a docstring its heading."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Put "Examples:" before it, unless it stands before all sections, where it is shown as it is."""
        if not obj.docstring or not (section := _SECTION.search(obj.docstring.value)):
            return
        value = obj.docstring.value
        if found := _EXAMPLE.search(value, section.end()):
            lines = (
                line if line.startswith("    ") or not line else f"    {line}" for line in value[found.end() :].splitlines()
            )
            obj.docstring.value = "\n".join([f"{value[: found.start()]}\n\nExamples:", *lines])
