"""What the commands of all studies share: their pictures, and where figure and numbers go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import file_part, with_json, write_json
from .outputs import unused_name, with_force
from .printing import echo, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..choices import Tone
    from ..inputs import PictureInput, PictureInputs
    from ..results import Result


def find_inputs(pictures: Sequence[str]) -> PictureInputs | None:
    """Return the pictures that arguments name, files or folders; None where there are none."""
    from ..images import find_pictures

    return find_pictures(pictures) if pictures else None


def draw_several(count: int, first: int = 0) -> list[PictureInput]:
    """Return drawings of the seeds from `first` on, named by their seeds."""
    from tqdm import tqdm

    from ..drawings import draw
    from ..inputs import named_picture

    seeds = tqdm(range(first, first + count), desc="drawing", disable=None, leave=False)
    return [named_picture(draw(seed=seed).picture, f"drawing {seed}") for seed in seeds]


def with_results(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --out, --json and --npz; `finish` carries them out."""
    function = click.option("--npz", "npz_to", metavar="FILE.npz", help="Write the numbers as arrays.")(function)
    function = with_json("the numbers")(function)
    function = with_force(function)
    return click.option(
        "--out", "-o", default=None, metavar="FILE", help="The figure: .png, .jpg or .pdf. [default: STUDY-MODEL.png]"
    )(function)


def figure_name(study: str, model: str) -> str:
    """Return the file of a study's figure where --out is not given: "occlude-torchvision-vgg16.png"."""
    return f"{study}-{file_part(model)}.png"


def check_results(out: str | None, json_to: str | None, npz_to: str | None) -> None:
    """Raise `OptionError`, before any work is done, for files that could not be written."""
    from ..errors import OptionError
    from ..render.save import check_folder, check_suffix

    if out:
        check_suffix(out)
    for name in filter(None, (out, npz_to, json_to)):
        if name != "-":
            check_folder(name)
    if npz_to and not npz_to.endswith(".npz"):
        raise OptionError(f"cannot save {npz_to!r}: arrays are saved as .npz.")


def say_advice() -> None:
    """Say on stderr why there are no intervals, where SciPy is not installed."""
    from ..studies.statistics import interval_advice

    advice = interval_advice()
    if advice:
        say(advice)


def finish(
    result: Result,
    figure: Figure,
    out: str | None,
    json_to: str | None,
    npz_to: str | None,
    *,
    default: str,
    tone: Tone | None = None,
) -> None:
    """Save a result's figure and its numbers, and name each file that was written; `default` is the figure's own name."""
    from ..render.tone import tone_percentile
    from ..results import save_figure

    drawn = {} if tone is None else {"tone": tone, "percentile": tone_percentile(tone)}
    out = out or unused_name(default, result.settings)
    tell = say if json_to == "-" else echo
    save_figure(figure, out, settings={**result.settings, **drawn})
    tell(out)
    if npz_to:
        result.save(npz_to)
        tell(npz_to)
    if json_to:
        write_json(result.to_json(), json_to)
