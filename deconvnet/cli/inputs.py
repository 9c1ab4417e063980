"""--input NAME=FILE.npy: what a net's forward takes besides the picture."""

from __future__ import annotations

import click

INPUTS = "deconvnet.inputs"  # in the click context's `meta`: {name: file}


class InputType(click.ParamType):
    """Takes the name of a parameter and a file with its value."""

    name = "NAME=FILE.npy"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return (name, file)."""
        if isinstance(value, tuple):
            return value
        name, _, file = value.partition("=")
        if not name.isidentifier() or not file:
            self.fail(f"{value!r} is not a name and a file, such as meta=vector.npy.", param, ctx)
        return name, file
