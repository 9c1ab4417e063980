"""What the commands that draw from a scan share: the options of projections, and where net and pictures are now."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..choices import TONES
from .option_types import RuleType

if TYPE_CHECKING:
    from ..scanning import Scan


def with_projection(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --rule and --tone."""
    function = click.option(
        "--tone", type=click.Choice(TONES), default="symmetric", show_default=True, help="How signed values become pixels."
    )(function)
    return click.option(
        "--rule", type=RuleType(), default="deconvnet", show_default=True, help="Or the bits mask, switches, rectify."
    )(function)


def with_origin(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --root, --model, --weights and --memory; `open_scan` and `in_bytes` take them."""
    for option in (
        click.option(
            "--memory",
            type=click.IntRange(min=1),
            metavar="MIB",
            help="Bound a batch's memory. [default: a quarter of what is free]",
        ),
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


def in_bytes(mebibytes: int | None) -> int | None:
    """Return an option's MiB in bytes."""
    return None if mebibytes is None else mebibytes * 2**20
