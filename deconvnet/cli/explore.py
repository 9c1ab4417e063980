"""`deconvnet explore`: the explorer in a browser, without a notebook."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from ..choices import LRN, TONES, Attending, Overlap, RuleChoice, Silent, Tone
from .inputs import INPUTS
from .option_types import RuleType
from .options import DEFAULT_LAYER, RANGE, from_context, load_net, say_if_for_drawings, with_model, with_net_options
from .printing import echo, say

if TYPE_CHECKING:
    from ..explorer.serve import Job


@click.command()
@click.argument("picture", required=False, type=click.Path())
@with_model
@click.option("--layer", "-l", help=f"The layer to begin with. [default: {DEFAULT_LAYER}]")
@click.option("--rule", type=RuleType(), default="auto", show_default=True, help="The rule to begin with.")
@click.option(
    "--tone",
    type=click.Choice([tone for tone in TONES if tone != "shared"]),
    default="soft",
    show_default=True,
    help="How signed values become pixels, to begin with.",
)
@with_net_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The page's port. [default: a free one]")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page, or only print its address.")
def explore(
    picture: str | None,
    model: str,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | tuple[int, int] | None,
    layer: str | None,
    rule: RuleChoice,
    tone: Tone,
    overlap: Overlap,
    lrn: LRN,
    silent: Silent,
    attention: Attending,
    port: int,
    browser: bool,
) -> None:
    """Explore PICTURE in a browser: choose a layer, click a map or a unit, see its projection, patch and numbers.

    The page is served to this machine only and asks for the token in its address. Ctrl-C ends it, and nothing is kept. Without
    PICTURE, a drawing is shown; other pictures can be uploaded on the page. Needs the extra `notebook`.

    \b
    deconvnet explore
    deconvnet explore cat.jpg --model torchvision:alexnet
    """
    from ..optional import require

    for package in ("voila", "ipywidgets", "ipykernel"):
        require(package, needed_by="deconvnet explore", extra="notebook")
    from ..explorer.serve import free_port, serve

    free_port(port)  # refuse one that is taken before any work is done
    job: Job = {
        "cwd": os.getcwd(),
        "picture": picture,
        "model": model,
        "weights": weights,
        "device": device,
        "preprocess": {"mean": mean, "std": std, "size": size, "value_range": from_context(RANGE)},
        "inputs": from_context(INPUTS) or {},
        "options": {"overlap": overlap, "lrn": lrn, "silent": silent, "attention": attention},
        "choices": {"layer": layer, "rule": rule, "tone": tone},
    }
    say_if_for_drawings(filter(None, [picture]))
    _check(job)
    say("The explorer is at the address below, for this machine only. Ctrl-C ends it.")
    try:
        serve(job, port=port, browser=browser, on_address=echo)
    except KeyboardInterrupt:
        say("ended.")


def _check(job: Job) -> None:
    """Make the explorer once before the page opens: errors are shown here, and downloads happen here."""
    from ..explorer.state import Explorer
    from ..inputs import default_picture

    preprocess = {name: job["preprocess"][name] for name in ("mean", "std", "size")}  # load_net knows of --range
    net = load_net(model=job["model"], weights=job["weights"], device=job["device"], **preprocess, **job["options"])
    Explorer(net, job["picture"] or default_picture(), **job["choices"])
