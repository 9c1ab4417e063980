"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

MODEL_HELP = "tiny, torchvision:NAME, zfnet or zfnet:wide."


def with_weights(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --weights and --device."""
    function = click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes a GPU if there is one.",
    )(function)
    return click.option(
        "--weights",
        default="DEFAULT",
        show_default=True,
        metavar="DEFAULT|none|FILE",
        help="The model's own weights, random ones, or a .safetensors or state-dict file.",
    )(function)


def say(text: str) -> None:
    """Tell how it goes, on stderr: results alone go to stdout."""
    click.echo(text, err=True)
