"""The layers that a shell offers: of a scan from its file, of a net from a list that is kept for each version of its package.

This is loaded only when a shell asks: a command would start slower for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..paper_names import paper_layers
from ..version import __version__
from .defaults import SAFE_SOURCES


def layers_of_scan(path: str) -> list[str]:
    """Return a scan's layers, those with a name of the paper's first under that name."""
    from ..scanning.table import ScanTable

    with ScanTable(path) as table:
        paper = paper_layers(str(table.settings["model"]))
        return [*(name for name, layer in paper.items() if layer in table.sizes), *table.layers]


def layers_of_model(model: str) -> list[str]:
    """Return a net's layers with maps; none of a net whose Python code would be run."""
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
