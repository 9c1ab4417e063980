"""Names of figures that were given none: they say what is shown, and never take the place of another figure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from .options import Command, file_part
from .printing import echo, say

FORCE = "deconvnet.force"  # in the click context's `meta`
OPEN = "deconvnet.open"

LAYERS_NAMED = 2  # in a file's name; of more, their number

#: What differs between two writings of the same figure.
_INCIDENTAL = ("version", "torch", "device", "page", "results")


def with_force(function: Command) -> Command:
    """Add --force, which `unused_name` reads, and --open, which `wrote` carries out."""
    function = with_open(function)
    return click.option(
        "--force",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({FORCE: value}),
        help="Let a figure without --out take the place of another one; else it gets a number.",
    )(function)


def with_open(function: Command) -> Command:
    """Add --open, which `wrote` carries out."""
    return click.option(
        "--open",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({OPEN: value}),
        help="Show the first file that was written in its usual program.",
    )(function)


def wrote(path: object, *, quietly: bool = False) -> None:
    """Print the name of a file that was written; with --open, show it if it is the first.

    Args:
        path: the file.
        quietly: to stderr, since stdout has other results.
    """
    (say if quietly else echo)(str(path))
    context = click.get_current_context()
    if context.meta.pop(OPEN, False) and click.launch(str(path)) != 0:
        say(f"{path} could not be shown: no program for it was found.")


def figure_name(*parts: str) -> str:
    """Return a file's name of what it shows: "cat", "tiny", "features.9", "soft" -> "cat-tiny-features.9-soft.png"."""
    return "-".join(re.sub(r"[^\w.\[\]+-]", "_", part) for part in parts if part) + ".png"


def study_name(settings: Mapping[str, Any], tone: str | None) -> str:
    """Return the name of a study's figure: "occlude-torchvision-vgg16-features.29-soft.png".

    Args:
        settings: the study's.
        tone: of its projections; None where it has none.
    """
    layers = settings.get("layers") or [settings["second"] if "second" in settings else settings["layer"]]
    return figure_name(settings["study"], file_part(settings["model"]), layers_part(layers), tone or "")


def layers_part(layers: Iterable[str]) -> str:
    """Return layers as a part of a file's name: "features.4+features.8", or "3-layers"."""
    names = list(dict.fromkeys(layers))
    return "+".join(names) if len(names) <= LAYERS_NAMED else f"{len(names)}-layers"


def rules_part(rules: Iterable[str]) -> str:
    """Return rules as a part of a file's name: "deconvnet", or "deconvnet+guided" where layers differ."""
    return "+".join(sorted(set(rules)))


def unused_name(default: str, settings: Mapping[str, Any]) -> str:
    """Return the name of a figure that was given none: the default, with a number where another figure has that name.

    Args:
        default: the name.
        settings: those of the new figure.
    """
    path, number = Path(default), 1
    while not click.get_current_context().meta.get(FORCE) and _is_taken(path, settings):
        number += 1
        path = Path(default).with_stem(f"{Path(default).stem}-{number}")
    if number > 1:
        say(f"note: {default} is another figure: this is {path}. --force would replace it.")
    return str(path)


def _is_taken(path: Path, settings: Mapping[str, Any]) -> bool:
    """Say whether a file of that name, or its first page, is there and is not this figure."""
    from ..errors import PictureError
    from ..render.save import read_settings

    existing = next(filter(Path.exists, (path, path.with_stem(f"{path.stem}-001"))), None)
    try:
        return existing is not None and _lasting(read_settings(existing)) != _lasting(settings)
    except PictureError:  # not ours at all
        return True


def _lasting(settings: Mapping[str, Any]) -> object:
    """Return settings as a file has them, without what two writings of one figure may differ in."""
    from ..json_text import json_text

    return json.loads(json_text({key: settings[key] for key in settings if key not in _INCIDENTAL}, default=str))
