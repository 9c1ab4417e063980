"""`deconvnet correspond`: the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .option_types import FillType
from .options import is_typed, load_net, with_model
from .printing import echo, say
from .study import check_results, finish, say_advice, with_results

if TYPE_CHECKING:
    from ..inputs import PictureInputs
    from ..studies.boxes import Boxes
    from ..studies.fill import Fill

#: The parts of a drawn face that are masked by default.
FACE = ("left eye", "right eye", "nose", "mouth")


@click.command()
@click.argument("boxes", required=False, metavar="[BOXES.json]", type=click.Path())
@with_model
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    help="A layer; may be repeated. [default: the last rectified one with maps, and the last below the classifier]",
)
@click.option("--drawing", default="face", show_default=True, help="Without BOXES.json: the class of the drawings.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    help="Without BOXES.json: a part of the drawings to mask; may be repeated. [default: of a face its eyes, nose and mouth]",
)
@click.option(
    "--count", type=click.IntRange(min=2), default=60, show_default=True, help="How many drawings; the paper had 5 pictures."
)
@click.option("--fill", type=FillType(), default="mean", show_default=True, help="What fills a mask; the mean is nearly grey.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="Random masks of each picture, and as many on the object: the controls.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the random masks.")
@with_results
def correspond(
    boxes: str | None,
    layers: tuple[str, ...],
    drawing: str,
    parts: tuple[str, ...],
    count: int,
    fill: Fill,
    trials: int,
    seed: int,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    **model: Any,
) -> None:
    """Mask the same part in several pictures: do the features move alike? (Zeiler & Fergus, Table 1)

    Prints the table: for each part and layer the share of features whose signs of change differ between two pictures, among
    those that both masks changed, with its 95 % interval over pictures; 0.5 is chance. The last rows are the controls; each
    part is compared with masks on the object that change as many features. BOXES.json holds
    {"picture.jpg": {"part": [top, left, height, width]}}, in pixels, and, as "object", where masks of the control lie; without
    it drawings are used, whose parts are known.

    \b
    deconvnet correspond
    deconvnet correspond dogs.json --model torchvision:alexnet --layer features.11 --layer classifier.5
    deconvnet correspond --drawing cat --part "left ear" --part "right ear" --json
    """
    if boxes and any(map(is_typed, ("drawing", "parts", "count"))):
        raise click.UsageError("--drawing, --part and --count choose drawings: leave them out, or BOXES.json.")
    check_results(out, json_to, npz_to)

    from ..studies.correspond import read_boxes, run

    net = load_net(**model)
    pictures: PictureInputs
    pictures, part_boxes = read_boxes(boxes) if boxes else _drawings(drawing, parts, count)
    result = run(net, pictures, part_boxes, layers=layers or None, fill=fill, trials=trials, seed=seed)
    (say if json_to == "-" else echo)(result.summary())
    say_advice()
    finish(result, result.plot(), out, json_to, npz_to)


def _drawings(name: str, parts: tuple[str, ...], count: int) -> tuple[PictureInputs, Sequence[Boxes]]:
    """Draw a class several times, with the boxes of its parts; of other classes than faces the parts that all show."""
    from ..drawings import CLASSES, draw
    from ..errors import check_option
    from ..inputs import named_picture
    from ..studies.correspond import boxes_of, object_box

    check_option("drawing", name, CLASSES)
    drawings = [draw(name, seed=seed) for seed in range(count)]
    common = sorted(set.intersection(*(set(drawing.parts) for drawing in drawings)))
    names = parts or (FACE if name == "face" else tuple(common))
    pictures = [named_picture(drawing.picture, f"drawing {seed} of a {name}") for seed, drawing in enumerate(drawings)]
    return pictures, [{**boxes_of(drawing, names), "object": object_box(drawing)} for drawing in drawings]
