"""Options that several commands share, so that they are the same everywhere, and what carries them out."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..choices import ATTENDINGS, CROPS, DEVICES, LRNS, OVERLAPS, SILENTS, TONES
from ..errors import OptionError
from ..json_text import count_non_finite, json_text
from ..units import parse_named_channels
from .inputs import INPUTS, InputType
from .option_types import ChannelType, JsonFile, NumbersType, RangeType, RuleType, SizeType
from .printing import REMARK, echo, say

if TYPE_CHECKING:
    from ..models import LoadedModel
    from ..net import DeconvNet

Command = TypeVar("Command", bound=Callable[..., Any])

#: What stands in the help of --layer where a picture is looked at.
DEFAULT_LAYER = "the last rectified one whose units see less than two fifths of the picture"

MODEL_HELP = (
    "tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, "
    "or module:PACKAGE.MODULE:FUNCTION or file:PATH.py:FUNCTION, which run that Python code."
)

RANGE, DECODE = "deconvnet.range", "deconvnet.decode"  # in the click context's `meta`
LIMIT = "deconvnet.limit"
SCALE = "deconvnet.scale"


def with_device(function: Command) -> Command:
    """Add --device."""
    return click.option(
        "--device",
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where to compute; auto takes a GPU if there is one.",
    )(function)


def with_weights(function: Command) -> Command:
    """Add --weights and --device."""
    return click.option(
        "--weights",
        default="DEFAULT",
        show_default=True,
        metavar="DEFAULT|none|FILE",
        help="The model's own weights, random ones, or a .safetensors or state-dict file, or a folder with one.",
    )(with_device(function))


def with_preprocess(function: Command) -> Command:
    """Add --mean, --std, --size and --range, which replace the model's preprocessing; `apply_preprocess` takes them."""
    function = click.option(
        "--range",
        type=RangeType(),
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({RANGE: value}),
        help="Black and white of pictures with more than 8 bits, such as 0,4095. [default: by each picture's values]",
    )(function)
    function = click.option(
        "--size",
        type=SizeType(),
        metavar=SizeType.name,
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


def with_inputs(function: Command) -> Command:
    """Add --input, which `load_with_inputs` reads."""
    return click.option(
        "--input",
        multiple=True,
        type=InputType(),
        metavar=InputType.name,
        expose_value=False,
        callback=lambda context, _, values: context.meta.update({INPUTS: dict(values)}),
        help="What forward() takes besides the picture, by its parameter's name: an array for one picture; may be repeated.",
    )(function)


def with_model(function: Command) -> Command:
    """Add --model, --weights, --device, --input, --mean, --std, --size and --range; `load_net` takes them."""
    function = with_inputs(with_weights(with_preprocess(function)))
    return click.option("--model", "-m", default="tiny", show_default=True, metavar="MODEL", help=MODEL_HELP)(function)


def with_rule(function: Command) -> Command:
    """Add --rule."""
    return click.option(
        "--rule",
        type=RuleType(),
        default="auto",
        show_default=True,
        help="How ReLUs and max pools are reversed: by name, or by the bits mask, switches, rectify; FTT is deconvnet. "
        "auto: deconvnet where a max pool lies below the layer, guided where none does.",
    )(function)


def with_net_options(function: Command) -> Command:
    """Add --overlap, --lrn, --silent and --attention, options of `DeconvNet`."""
    function = click.option(
        "--attention",
        type=click.Choice(ATTENDINGS),
        default="held",
        show_default=True,
        help="Hold this picture's patterns of attention as switches are held, or let queries and keys take a signal, too.",
    )(function)
    function = with_silent(function)
    function = click.option(
        "--lrn",
        type=click.Choice(LRNS),
        default="identity",
        show_default=True,
        help="Mirror local response normalisation by the identity, or by its derivative.",
    )(function)
    return click.option(
        "--overlap",
        type=click.Choice(OVERLAPS),
        default="sum",
        show_default=True,
        help="Where pooling windows share a maximum, pass down the sum of their signals, or the last one.",
    )(function)


def with_silent(function: Command) -> Command:
    """Add --silent, an option of `DeconvNet`."""
    return click.option(
        "--silent",
        type=click.Choice(SILENTS),
        default="drop",
        show_default=True,
        help="Where nothing fired in a pooling window, drop its signal, or send it to the window's first place.",
    )(function)


def with_tone(function: Command) -> Command:
    """Add --tone."""
    return click.option(
        "--tone", type=click.Choice(TONES), default="soft", show_default=True, help="How signed values become pixels."
    )(function)


def with_percentile(function: Command) -> Command:
    """Add --percentile."""
    return click.option(
        "--percentile",
        type=click.FloatRange(0, 100, min_open=True),
        help="Where the tone's scale ends: a percentile of the sizes of a projection's values; lower shows faint parts."
        " [default: 98 for soft, 99.5 for others]",
    )(function)


def with_crop(function: Command) -> Command:
    """Add --crop."""
    return click.option(
        "--crop",
        type=click.Choice(CROPS),
        default="energy",
        show_default=True,
        help="What tiles show: where 95 % of the projection's energy is, the unit's window, or the whole frame.",
    )(function)


def with_print(function: Command) -> Command:
    """Add --tile, --scale and --dpi; `page_scale` takes the last two."""
    function = click.option(
        "--dpi",
        type=click.FloatRange(min=0, min_open=True),
        help="The same as --scale, in dots per inch of the printed page: 150 is --scale 1.",
    )(function)
    function = click.option(
        "--scale",
        type=click.FloatRange(min=0, min_open=True),
        help="Draw everything so many times finer, for print or fine screens; a PDF's text is always sharp. [default: 1]",
    )(function)
    return click.option(
        "--tile",
        type=click.IntRange(min=8),
        metavar="PIXELS",
        help="A tile's longer side. [default: so that the page is filled]",
    )(function)


def page_scale(scale: float | None, dpi: float | None) -> float:
    """Return how many times finer a page is drawn, from --scale or --dpi."""
    if scale is not None and dpi is not None:
        raise OptionError("--scale and --dpi say the same. Give one of them.")
    from ..render.save import RESOLUTION

    return (dpi / RESOLUTION if dpi is not None else scale) or 1


def with_memory(function: Command) -> Command:
    """Add --memory, in MiB; the command gets bytes."""
    return click.option(
        "--memory",
        type=click.IntRange(min=1),
        callback=lambda ctx, param, value: None if value is None else value * 2**20,
        metavar="MIB",
        help="Bound a batch's memory. [default: a quarter of what is free]",
    )(function)


def with_channels(more: str = "", *, default: str = "", required: bool = False) -> Callable[[Command], Command]:
    """Add --channel, which may be repeated; the command gets a list of numbers and names of classes, or None.

    `more` goes into the help.
    """
    return click.option(
        "--channel",
        "-c",
        "channels",
        multiple=True,
        required=required,
        callback=lambda ctx, param, texts: [channel for text in texts for channel in parse_named_channels(text)] or None,
        help=f"Channels such as 3 or 1,4-6{more}; of the class scores also a class's name; may be repeated."
        + (f" [default: {default}]" if default else ""),
    )


def with_channel(what: str, *, default: str = "the strongest") -> Callable[[Command], Command]:
    """Add --channel, one channel by its number or, of the class scores, its class's name; `what` is what it is."""
    return click.option(
        "--channel",
        "-c",
        type=ChannelType(),
        help=f"{what}, of the class scores also its class's name. [default: {default}]",
    )


def with_json(what: str) -> Callable[[Command], Command]:
    """Add --json, to stdout without a file's name; `what` is written, such as "the units"."""
    return click.option(
        "--json", "json_to", type=JsonFile(), is_flag=False, flag_value="-", help=f"Write {what} as JSON, to stdout or a file."
    )


def load_net(
    *,
    model: str,
    weights: str = "DEFAULT",
    device: str = "auto",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: int | tuple[int, int] | None = None,
    **options: Any,
) -> DeconvNet:
    """Return the net that the options of `with_model` name; further options are those of `DeconvNet`."""
    from ..net import DeconvNet

    loaded = load_with_inputs(model, weights=weights, device=device)
    return DeconvNet(apply_preprocess(loaded, mean, std, size), **options)


def load_with_inputs(model: str, **options: Any) -> LoadedModel:
    """Load a model, whose forward gets what --input names; options are those of `load_model`."""
    from ..models import code_folders, load_model
    from ..models.further_inputs import read_inputs

    loaded = load_model(model, **options)
    sys.path += [folder for folder in code_folders(model) if folder not in sys.path]  # a forward may import, too
    inputs = from_context(INPUTS)
    return loaded.with_inputs(**read_inputs(inputs)) if inputs else loaded


def with_scale(function: Command) -> Command:
    """Add --scale for figures that have no tiles; what saves them reads it from the context."""
    return click.option(
        "--scale",
        type=click.FloatRange(0, 16, min_open=True),
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({SCALE: value}),
        help="Draw the figure so many times finer, for print or fine screens. [default: 1, 150 dots per inch]",
    )(function)


def with_limit(function: Command) -> Command:
    """Add --limit; `limited` carries it out."""
    return click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({LIMIT: value}),
        help="Take the first N of the pictures only.",
    )(function)


def limited(pictures: list[Any]) -> list[Any]:
    """Return the first pictures, as many as --limit allows."""
    return pictures[: from_context(LIMIT)]


def is_typed(option: str) -> bool:
    """Say whether an option stands in the command line, by its parameter's name."""
    return click.get_current_context().get_parameter_source(option) is ParameterSource.COMMANDLINE


def say_if_for_drawings(pictures: Iterable[str]) -> None:
    """Remark at the end, where nobody chose a model and there is a picture, that the built-in net was trained on drawings."""
    context = click.get_current_context()
    if context.get_parameter_source("model") is not ParameterSource.DEFAULT:
        return
    if any(not str(picture).startswith("sample:drawing/") for picture in pictures):
        context.meta[REMARK] = (
            "note: without --model the net is tiny, which was trained on drawings. For photographs: --model torchvision:alexnet"
        )


def from_context(key: str) -> Any:
    """Return what an option left in the context of the command that runs, None outside of commands."""
    context = click.get_current_context(silent=True)
    return context.meta.get(key) if context else None


def apply_preprocess(
    loaded: LoadedModel,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | tuple[int, int] | None,
) -> LoadedModel:
    """Give a model the preprocessing of `with_preprocess`, and say what is assumed where nobody gives it."""
    changed = loaded.with_preprocess(
        mean=mean, std=std, size=size, value_range=from_context(RANGE), decode=from_context(DECODE)
    )
    if loaded.preprocess is None and None in (mean, std, size) and not _reads_arrays_alone():
        assumed: Any = changed.preprocess
        say(
            f"{changed.name} has no preprocessing. Assumed: short side {assumed.resize}, centre {_size_text(assumed.crop)}, "
            f"mean {_text(assumed.mean)}, std {_text(assumed.std)}. To change it: --size, --mean, --std."
        )
    return changed


def _reads_arrays_alone() -> bool:
    """Say whether all that the command was given are signals and volumes, which no preprocessing touches."""
    from ..images import is_array_file

    context = click.get_current_context(silent=True)
    pictures = context.params.get("pictures") if context else None
    return bool(pictures) and all(is_array_file(picture) for picture in pictures or ())


def _size_text(size: int | tuple[int, int]) -> str:
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


def _text(numbers: tuple[float, ...]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def file_part(model: str) -> str:
    """Return a model's name as a part of a file's name: "torchvision:vgg16" -> "torchvision-vgg16".

    Of a function in a file, without the file's folder: "file:nets/net.py:make" -> "net.py-make".
    """
    return re.sub(r".*[/\\]", "", model).replace(":", "-")


def write_json(value: object, to: str) -> None:
    """Write JSON to stdout (-) or, whole or not at all, to a file, whose name is then printed."""
    text, missing = json_text(value, indent=2), count_non_finite(value)
    if missing:
        say(f"{missing} numbers are NaN or infinite: they are null in the JSON.")
    if to == "-":
        echo(text)
        return
    from ..render.save import write_atomic

    with write_atomic(to) as handle:
        handle.write(text.encode() + b"\n")
    echo(to)
