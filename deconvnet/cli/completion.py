"""What a shell offers for the value of an option: the layers of the scan or the net that stands on the line already.

A shell asks while somebody types, so the answer has to come at once, and nothing may be run or downloaded for it: a scan's
layers are read from its file, a net's from a list that is kept for each version of the net's package, and where a net is not in
it yet, from the net with random weights. A net whose Python code would be run is not loaded; errors offer nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: The options that take a layer.
LAYER_OPTIONS = ("--layer", "--mirror", "--second", "--select")


class LayerType(click.ParamType):
    """Takes any text; a shell is offered the layers of the line's scan or model that begin with what was typed."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the layers."""
        from click.shell_completion import CompletionItem  # here, since a command starts faster without them

        from .known_layers import layers_of_model, layers_of_scan

        names: list[str] = []
        with contextlib.suppress(Exception):  # whatever is wrong with the line, the command itself will say
            scan, model = _value(ctx, "scan"), _value(ctx, "model") or "tiny"
            names = layers_of_scan(scan) if scan else layers_of_model(model)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def with_completion(command: click.Command) -> None:
    """Let a shell complete a command's layers."""
    for param in command.params:
        if set(param.opts) & set(LAYER_OPTIONS):
            param.type = LayerType()


def _value(context: click.Context, name: str) -> str | None:
    """Return what the line says of a parameter; of an argument, click leaves it among the words while a line is unfinished."""
    is_argument = any(isinstance(param, click.Argument) and param.name == name for param in context.command.params)
    return context.args[0] if is_argument and context.args else context.params.get(name)
