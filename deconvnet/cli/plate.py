"""`deconvnet plate`: the paper's Figure 2, from a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..choices import CHANNEL_SORTS, PLATE_LAYOUTS, ChannelSort, Crop, PlateLayout, RuleChoice, Tone
from ..errors import OptionError, UnitError
from ..units import has_names
from .options import file_part, page_scale, with_channels, with_crop, with_percentile, with_print
from .outputs import figure_name, layers_part, rules_part, unused_name, with_force, wrote
from .printing import say
from .scan_options import open_scan, with_origin, with_projection

if TYPE_CHECKING:
    from ..scanning import Plate, Scan


@click.command()
@click.argument("scan", metavar="SCAN", type=click.Path())
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    help="A scanned layer; may be repeated: a block each. [default: that of project]",
)
@with_channels(default="all")
@click.option(
    "--random",
    "count",
    type=click.IntRange(min=1),
    help="This many channels at random of each layer, as in the paper; dead ones are left out.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Which random channels.")
@click.option(
    "--best", type=click.IntRange(min=1), help="This many channels of each layer that are worth showing: not dead, not faint."
)
@click.option(
    "--sort",
    type=click.Choice(CHANNEL_SORTS),
    help="The best channels first: those that few pictures excite, the strongest, or those whose projections are most of their "
    "own pictures. [default of --best: selectivity]",
)
@with_projection
@with_percentile
@with_crop
@click.option("--inside", is_flag=True, help="Leave out units whose window leaves the picture.")
@click.option(
    "--own/--no-own",
    default=True,
    show_default=True,
    help="Measure how much of a channel's projections is of their own pictures: 0 is the same for any, 1 shares nothing.",
)
@click.option(
    "--layout",
    type=click.Choice(PLATE_LAYOUTS),
    default="panels",
    show_default=True,
    help="Panels with captions, or the paper's blocks: all projections beside all patches.",
)
@with_print
@click.option("--page", type=click.IntRange(min=1), help="Channels on a page. [default: 12, in the paper's layout 48]")
@with_origin
@click.option(
    "--out", "-o", default=None, metavar="FILE", help="A .png, .jpg or .pdf file. [default: plate-MODEL-LAYER-RULE-TONE.png]"
)
@with_force
def plate(
    scan: str,
    layers: tuple[str, ...],
    channels: list[int | str] | None,
    count: int | None,
    seed: int,
    best: int | None,
    sort: ChannelSort | None,
    rule: RuleChoice,
    tone: Tone,
    percentile: float | None,
    crop: Crop,
    inside: bool,
    own: bool,
    layout: PlateLayout,
    tile: int | None,
    scale: float | None,
    dpi: float | None,
    page: int | None,
    root: str | None,
    model: str | None,
    weights: str | None,
    memory: int | None,
    out: str | None,
) -> None:
    """Draw channels of SCAN as the paper's Figure 2: nine projections beside the nine patches they came from.

    Each of the nine is projected by itself. More channels than fit on a page become pages of a PDF, or numbered files.

    \b
    deconvnet plate alexnet.scan --layer features.11 --channel 151 --out plate.png
    deconvnet plate squeezenet.scan --channel tabby --channel boxer
    deconvnet plate alexnet.scan --layer features.11 --out layer.pdf
    deconvnet plate alexnet.scan -l features.4 -l features.11 --best 12 --layout paper --out figure2.pdf
    """
    from ..render.save import check_scale, check_suffix

    scale = page_scale(scale, dpi)
    if out:
        check_suffix(out)
    check_scale(scale)
    if sum(map(bool, (channels, count, best))) > 1:
        raise OptionError("--channel, --random and --best exclude each other. Give one of them.")
    with open_scan(scan, root=root, model=model, weights=weights) as opened:
        default = opened.class_layer if has_names(channels) else opened.default_layer
        names = dict.fromkeys(map(opened.layer_name, layers or [default()]))
        chosen = {layer: _choose_channels(opened, layer, channels, count, seed, best, sort, rule) for layer in names}
        look: dict[str, Any] = {"rule": rule, "tone": tone, "crop": crop, "layout": layout, "inside": inside, "own": own}
        drawn = opened.plate(chosen, **look, percentile=percentile, memory=memory, progress=True)
        for file in drawn.save(out or _default_name(drawn), per_page=page, tile=tile, scale=scale):
            wrote(file)
        for line in [*drawn.rule_reasons, *drawn.changed]:
            say(line)


def _default_name(drawn: Plate) -> str:
    settings = drawn.settings()
    rules = rules_part(chosen.rule for chosen in drawn.chosen.values())
    name = figure_name("plate", file_part(settings["model"]), layers_part(drawn.channels), rules, drawn.tone)
    return unused_name(name, settings)


def _choose_channels(
    scan: Scan,
    layer: str,
    channels: Sequence[int | str] | None,
    count: int | None,
    seed: int,
    best: int | None,
    sort: ChannelSort | None,
    rule: RuleChoice,
) -> Sequence[int]:
    """Return the channels of a layer that were asked for, in the order that was asked for."""
    if best:
        chosen: Sequence[int] = scan.best(layer, best, by=sort or "selectivity", rule=rule)
    elif count:
        chosen = scan.sample(layer, count, seed)
    else:
        chosen = range(scan.size(layer)[0]) if channels is None else scan.channel_numbers(layer, channels)
    if not chosen:
        raise UnitError(
            f"layer {layer!r} has no channel that fired{' enough' if best else ''}. See: deconvnet report {scan.path}"
        )
    return scan.sort_channels(layer, chosen, by=sort, rule=rule) if sort and not best else chosen
