"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from ..choices import DEVICES
from .option_types import NumbersType

if TYPE_CHECKING:
    from ..models import LoadedModel

MODEL_HELP = (
    "tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, zfnet, zfnet:wide, "
    "or file:PATH.py:FUNCTION, which runs that Python file."
)


def with_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes a GPU if there is one.",
    )(function)


def with_weights(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --weights and --device."""
    return click.option(
        "--weights",
        default="DEFAULT",
        show_default=True,
        metavar="DEFAULT|none|FILE",
        help="The model's own weights, random ones, or a .safetensors or state-dict file.",
    )(with_device(function))


def with_preprocess(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --mean, --std and --size, which replace what the model brings; `prepared` carries them out."""
    function = click.option(
        "--size",
        type=click.IntRange(min=1),
        metavar="PIXELS",
        help="Resize the short side to this and crop the centre. [default: the model's own, else 224 of 256]",
    )(function)
    function = click.option(
        "--std",
        type=NumbersType(),
        help="Deviation of each channel, 0..1, with commas. [default: the model's own, else ImageNet's; one channel: 0.5]",
    )(function)
    return click.option(
        "--mean",
        type=NumbersType(),
        help="Mean of each channel, 0..1, with commas. [default: the model's own, else ImageNet's; one channel: 0.5]",
    )(function)


def prepared(loaded: LoadedModel, mean: Any, std: Any, size: int | None) -> LoadedModel:
    """Give a model the preprocessing asked for; say so where it brings none and not all was asked for."""
    made = loaded.with_preprocess(mean=mean, std=std, size=size)
    if loaded.preprocess is None and None in (mean, std, size):
        used: Any = made.preprocess
        say(
            f"{made.name} brings no preprocessing. Taken: short side {used.resize}, centre {used.crop}, "
            f"mean {_text(used.mean)}, std {_text(used.std)}. To change it: --size, --mean, --std."
        )
    return made


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def say(text: str) -> None:
    """Tell how it goes, on stderr: results alone go to stdout."""
    click.echo(text, err=True)


def write_json(rows: Any, to: str) -> None:
    """Write JSON to stdout (-) or, whole or not at all, to a file, whose name is then told."""
    text = json.dumps(rows, indent=2)
    if to == "-":
        click.echo(text)
        return
    from ..render.save import write_atomic

    with write_atomic(to) as handle:
        handle.write(text.encode() + b"\n")
    click.echo(to)
