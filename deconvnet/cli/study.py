"""What the commands of all studies share: their pictures, and where figure and numbers go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from .options import SCALE, from_context, limited, say_if_for_drawings, with_json, with_scale, write_json
from .outputs import study_name, unused_name, with_force, wrote
from .printing import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..choices import Tone
    from ..inputs import PictureInput, PictureInputs
    from ..results import Result


def find_inputs(pictures: Sequence[str]) -> PictureInputs | None:
    """Return the pictures that arguments name, files, folders or samples; None where there are none."""
    from .. import inputs

    say_if_for_drawings(pictures)
    return limited(inputs.find_inputs(pictures)) if pictures else None


def draw_several(count: int, first: int = 0) -> list[PictureInput]:
    """Return drawings of the seeds from `first` on, named by their seeds."""
    from ..drawings import draw
    from ..inputs import named_picture
    from ..progress import counted

    seeds = counted(range(first, first + count), count, "drawing", "picture")
    return [named_picture(draw(seed=seed).picture, f"drawing {seed}") for seed in seeds]


def with_results(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --out, --scale, --json and --npz; `finish` carries them out."""
    function = click.option("--npz", "npz_to", metavar="FILE.npz", help="Write the numbers as arrays.")(function)
    function = with_json("the numbers")(function)
    function = with_scale(with_force(function))
    return click.option(
        "--out",
        "-o",
        default=None,
        metavar="FILE",
        help="The figure: .png, .jpg or .pdf. [default: named by the command, model, layer and tone]",
    )(function)


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
    result: Result, figure: Figure, out: str | None, json_to: str | None, npz_to: str | None, *, tone: Tone | None = None
) -> None:
    """Save a result's figure and its numbers, and name each file that was written; `tone` is that of its projections."""
    from ..render.tone import tone_percentile
    from ..results import save_figure

    drawn = {} if tone is None else {"tone": tone, "percentile": tone_percentile(tone)}
    settings = {**result.settings, **drawn}
    out = out or unused_name(study_name(settings, tone), settings)
    save_figure(figure, out, settings=settings, scale=from_context(SCALE) or 1)
    wrote(out, quietly=json_to == "-")
    if npz_to:
        result.save(npz_to)
        wrote(npz_to, quietly=json_to == "-")
    if json_to:
        write_json(result.to_json(), json_to)
