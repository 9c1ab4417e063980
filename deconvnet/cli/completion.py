"""What a shell offers for the value of an option: the layers of the scan or the net that stands on the line already.

A shell asks while somebody types, so the answer has to come at once, and nothing may be run or downloaded for it: a scan's
layers are read from its file, a net's from a list that is kept for each version of the net's package, and where a net is not in
it yet, from the net with random weights. A net whose Python code would be run is not loaded; errors offer nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ..paper_names import paper_layers
from ..version import __version__
from .defaults import SAFE_SOURCES

#: The options that take a layer.
LAYER_OPTIONS = ("--layer", "--mirror", "--second", "--select")


class LayerType(click.ParamType):
    """Takes any text; a shell is offered the layers of the line's scan or model that begin with what was typed."""

    name = "text"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the layers."""
        names: list[str] = []
        with contextlib.suppress(Exception):  # whatever is wrong with the line, the command itself will say
            scan, model = _value(ctx, "scan"), _value(ctx, "model") or "tiny"
            names = _layers_of_scan(scan) if scan else _layers_of_model(model)
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


def _layers_of_scan(path: str) -> list[str]:
    from ..scanning.table import ScanTable

    with ScanTable(path) as table:
        paper = paper_layers(str(table.settings["model"]))
        return [*(name for name, layer in paper.items() if layer in table.sizes), *table.layers]


def _layers_of_model(model: str) -> list[str]:
    if model.partition(":")[0] not in SAFE_SOURCES:
        return []
    known = list_file()
    try:
        lists = dict(json.loads(known.read_bytes()))
    except (OSError, ValueError):
        lists = {}
    key = f"{model} {__version__}"
    if key not in lists:
        lists[key] = _read_layers(model)
        with contextlib.suppress(OSError):
            from ..render.save import write_atomic

            known.parent.mkdir(parents=True, exist_ok=True)
            with write_atomic(known) as handle:
                handle.write(json.dumps(lists).encode())
    return [str(name) for name in lists[key]]


def list_file() -> Path:
    """Return the file with the layers of nets that were asked for before."""
    folder = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(folder or Path.home() / ".cache") / "deconvnet" / "layers.json"


def _read_layers(model: str) -> list[str]:
    """Return a net's layers with maps, and its names of the paper; nothing is downloaded, and nothing printed."""
    with _silenced():
        from ..models import load_model
        from ..net import DeconvNet

        layers = DeconvNet(load_model(model, weights="none", device="cpu")).layers()
    return [*paper_layers(model), *layers.names]


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
