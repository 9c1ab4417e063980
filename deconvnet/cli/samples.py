"""`deconvnet samples`: the pictures to begin with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import with_json, write_json
from .printing import echo, say

if TYPE_CHECKING:
    from PIL import Image

    from ..samples import Sample


@click.command()
@click.option("--out", "-o", metavar="FOLDER", help="Write each as a PNG into this folder, for a scan.")
@with_json("the list")
def samples(out: str | None, json_to: str | None) -> None:
    """List the pictures to begin with: what they show, who made them, and under which licence.

    Their names stand wherever a picture is taken. Drawings come with this package; photographs with scikit-image, which the
    extra studies installs. Of a drawing, sample:drawing/face/3 is the one of seed 3; without a number it is seed 7.

    \b
    deconvnet samples
    deconvnet project sample:cat --model torchvision:alexnet
    deconvnet samples --out samples
    """
    from ..samples import list_samples

    listed = list_samples()
    if out:
        _write(listed, Path(out), quiet=json_to == "-")
    if json_to:
        write_json([dataclasses.asdict(sample) for sample in listed], json_to)
    elif not out:
        echo(_table(listed))


def _table(listed: Sequence[Sample]) -> str:
    from ..render.table import table_text

    rows = [(sample.name, sample.shows, sample.origin, sample.licence) for sample in listed]
    return table_text([("sample", "shows", "origin", "licence"), *rows])


def _write(listed: Sequence[Sample], folder: Path, quiet: bool) -> None:
    """Write the samples that can be opened; a package that is missing is named once."""
    from ..drawings import Drawing
    from ..errors import MissingPackageError
    from ..inputs import file_stem
    from ..render.save import make_folder
    from ..samples import open_sample

    make_folder(folder)
    reasons: dict[str, None] = {}
    for sample in listed:
        try:
            opened = open_sample(sample.name)
        except MissingPackageError as error:
            reasons[str(error).replace(sample.name, "each photograph", 1)] = None
            continue
        _write_png(opened.picture if isinstance(opened, Drawing) else opened, folder / f"{file_stem(sample.name)}.png")
    for reason in reasons:
        say(reason)
    (say if quiet else echo)(str(folder))


def _write_png(picture: Image.Image, path: Path) -> None:
    """Write a sample's file; one that is there already must be the same."""
    from ..errors import OptionError
    from ..render.save import write_atomic

    buffer = BytesIO()
    picture.save(buffer, "PNG")
    if path.exists() and path.read_bytes() != buffer.getvalue():
        raise OptionError(f"{str(path)!r} is there already, and is another picture. Choose an empty folder.")
    with write_atomic(path) as handle:
        handle.write(buffer.getvalue())
