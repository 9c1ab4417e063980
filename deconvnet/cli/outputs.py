"""Names of figures that were given none: never one that shows other pictures already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .options import Command
from .printing import say

FORCE = "deconvnet.force"  # in the click context's `meta`


def with_force(function: Command) -> Command:
    """Add --force, which `unused_name` reads."""
    return click.option(
        "--force",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({FORCE: value}),
        help="Let a figure without --out take the place of one of other pictures; else it gets a number.",
    )(function)


def unused_name(default: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a figure that was given none: the default, with a number where that is a figure of other pictures.

    Args:
        default: the name.
        settings: those of the new figure.
    """
    from ..errors import PictureError
    from ..render.save import read_settings

    path, number = Path(default), 1
    while path.exists() and not click.get_current_context().meta.get(FORCE):
        try:
            if _pictures(read_settings(path)) == _pictures(settings):
                break
        except PictureError:  # not ours at all
            pass
        number += 1
        path = Path(default).with_stem(f"{Path(default).stem}-{number}")
    if number > 1:
        say(f"note: {default} shows other pictures: this is {path}. --force would replace it.")
    return str(path)


def _pictures(settings: Mapping[str, Any]) -> list[str]:
    """Return which pictures a figure shows, by the settings in it."""
    shown = settings.get("pictures", settings.get("picture"))
    if shown is None:
        shown = sorted({unit["path"] for unit in settings.get("units", ())})
    return [str(name) for name in shown] if isinstance(shown, (list, tuple)) else [str(shown)]
