"""What the commands that draw from a scan share: the options of projections, and where net and pictures are now."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from .inputs import INPUTS
from .options import Command, from_context, with_inputs, with_memory, with_rule, with_tone

if TYPE_CHECKING:
    from ..scanning import Scan
    from ..scanning.table import ScanTable


def with_projection(function: Command) -> Command:
    """Add --rule and --tone."""
    return with_rule(with_tone(function))


def with_origin(function: Command) -> Command:
    """Add --root, --model and --weights, which `open_scan` takes, --input and --memory."""
    root = click.option(
        "--root", type=click.Path(), help="Where the pictures are, if they were moved, or somebody else has scanned them."
    )
    return root(with_scanned_net(with_memory(function)))


def with_scanned_net(function: Command) -> Command:
    """Add --model and --weights, of the scanned net, and --input."""
    function = with_inputs(function)
    for option in (
        click.option(
            "--weights",
            metavar="FILE",
            help="The weights, if they were moved, or the scan is somebody else's. [default: the scan's]",
        ),
        click.option(
            "--model",
            "-m",
            metavar="MODEL",
            help="The model, if it has another name now; file:PATH.py:FUNCTION always has to be named. [default: the scan's]",
        ),
    ):
        function = option(function)
    return function


def open_scan(path: str, *, root: str | None, model: str | None, weights: str | None) -> Scan:
    """Open a scan; give it its net if that has another name now, or its weights were moved.

    Where the scan has its pictures in a place that this user has not scanned, a person at a terminal is asked; a yes is noted.
    """
    from ..scanning import Scan
    from ..scanning.places import remember

    scan = Scan.open(path, root=root)
    if not scan.origin.knows_root and _is_somebody_there():
        place = scan.settings["root"]
        question = f"{path!r} has its pictures at {place!r}, which was not scanned from this account. Read them there?"
        if click.confirm(question, err=True):
            remember([place])
    if scan.settings["root"] is not None:
        _ = scan.pictures  # raises, before a net is loaded
        _check_place(path, str(root or scan.settings["root"]), named=root is not None)
    load_scanned_net(scan, model, weights)
    scan.origin.check()
    return scan


def load_scanned_net(scan: Scan, model: str | None, weights: str | None) -> None:
    """Load a scan's net where it has another name now, its weights were moved, or it takes further inputs."""
    inputs = from_context(INPUTS)
    if model or weights or inputs:
        scan.origin.load_net(model, weights, inputs)


def _check_place(path: str, place: str, *, named: bool) -> None:
    """Raise `PictureError` where the folder of a scan's pictures is not there: each of them would be missed by itself."""
    from ..errors import PictureError

    if "://" in place or os.path.isdir(place):
        return
    if named:
        raise PictureError(f"there is no folder {place!r} with the pictures of {path!r}. Check --root.")
    raise PictureError(
        f"the pictures of {path!r} were in {place!r}, which is not there. Say where they are now: --root FOLDER."
    )


def check_named(table: ScanTable, layers: Iterable[str]) -> None:
    """Raise `OptionError`, with the layers of the scan, where none of them is named."""
    from ..errors import OptionError

    if not list(layers):
        raise OptionError(f"name a layer of {table.path!r} by --layer. Scanned: {', '.join(table.layers)}.")


def _is_somebody_there() -> bool:
    """Say whether there is a terminal to ask at."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
