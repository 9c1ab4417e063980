"""What the commands that draw from a scan share: the options of projections, and where net and pictures are now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import Command, with_memory, with_rule, with_tone

if TYPE_CHECKING:
    from ..scanning import Scan


def with_projection(function: Command) -> Command:
    """Add --rule and --tone."""
    return with_rule(with_tone(function))


def with_origin(function: Command) -> Command:
    """Add --root, --model and --weights, which `open_scan` takes, and --memory."""
    function = with_memory(function)
    for option in (
        click.option("--weights", metavar="FILE", help="The weights, if they were moved. [default: the scan's]"),
        click.option(
            "--model", "-m", metavar="MODEL", help="The model, if it has another name now. [default: the scan's name for it]"
        ),
        click.option("--root", type=click.Path(), help="Where the pictures are now, if they were moved."),
    ):
        function = option(function)
    return function


def open_scan(path: str, *, root: str | None, model: str | None, weights: str | None) -> Scan:
    """Open a scan; give it its net if that has another name now, or its weights were moved."""
    from ..scanning import Scan

    scan = Scan.open(path, root=root)
    if model or weights:
        from ..models import load_model
        from ..net import DeconvNet

        name, weights_from = scan.settings["model"], scan.settings["weights_from"]
        scan.net = DeconvNet(load_model(model or name, weights=weights or weights_from or "DEFAULT", device="auto"))
    return scan
