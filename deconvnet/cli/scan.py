"""`deconvnet scan`: the pictures that excite every channel most, found in a data set and kept in one file."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from ..choices import DECODES, ENGINES, PRECISIONS, READERS, EngineName, Precision, ReaderKind
from ..errors import DeconvnetError, PictureError
from .option_types import CountType
from .options import DECODE, LIMIT, from_context, load_net, say_if_for_drawings, with_limit, with_model
from .printing import echo, say

if TYPE_CHECKING:
    from ..scanning import Scan


@click.command()
@click.argument("pictures", metavar="PICTURES", type=click.Path())
@with_model
@with_limit
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    help="A layer's name or a pattern such as 'features.*'; may be repeated. [default: every rectified layer or block]",
)
@click.option("--top", type=click.IntRange(min=1), default=9, show_default=True, help="Pictures to keep for each channel.")
@click.option("--inside", is_flag=True, help="Count only units whose window lies inside the picture.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="What the net computes with: tf32 on NVIDIA's GPUs, bf16 by autocast; a scan goes on with what it began with.",
)
@click.option(
    "--decode",
    type=click.Choice(DECODES),
    expose_value=False,
    callback=lambda context, _, value: context.meta.update({DECODE: value}),
    help="How a JPEG is decoded: reduced, at 1/2, 1/4 or 1/8 of its sides, where these are large; gpu, by NVIDIA's GPU, as are"
    " resizing and cropping (extra: gpu). [default: exact]",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Pictures per forward pass; on a CPU up to 8 passes run at once. [default: 4, on a GPU 64]",
)
@click.option(
    "--shard",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Pictures that a kill loses at most.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Pictures that are read at once [default: one per core, 2 to 32]; with --engine ray, processes that hold the net"
    " [default: one per GPU, or one per core].",
)
@click.option(
    "--readers",
    type=click.Choice(READERS),
    help="What reads them. [default: threads; processes from five workers on, which keep more cores busy]",
)
@click.option(
    "--gpus",
    type=CountType(),
    metavar="N|all",
    help="Of this machine's GPUs; from two on, each has its own process (extra: ray). [default: the one of --device]",
)
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="What runs the scan: this process, or workers on the machines of a Ray cluster (extra: ray).",
)
@click.option("--address", metavar="auto|HOST:PORT", help="Where Ray runs. [default: $RAY_ADDRESS, or one is started here]")
@click.option("--gpus-per-worker", type=click.FloatRange(min=0), help="On Ray. [default: 1 if it has any, else 0]")
@click.option(
    "--cpus-per-worker",
    type=click.FloatRange(min=0, min_open=True),
    help="On Ray: cores. [default: 1; beside GPUs, a fair share]",
)
@click.option(
    "--out", "-o", required=True, metavar="FILE.scan", help="The scan's file; what it already holds of this scan is kept."
)
def scan(
    pictures: str,
    model: str,
    weights: str,
    device: str,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: int | tuple[int, int] | None,
    layers: tuple[str, ...],
    top: int,
    inside: bool,
    precision: Precision,
    batch: int | None,
    shard: int,
    workers: int | None,
    readers: ReaderKind | None,
    gpus: int | Literal["all"] | None,
    engine: EngineName,
    address: str | None,
    gpus_per_worker: float | None,
    cpus_per_worker: float | None,
    out: str,
) -> None:
    """Find the pictures that excite every channel most, in PICTURES: a folder, s3://BUCKET/FOLDER, a glob in quotes,
    or a list file (.txt).

    The same command again continues where it was stopped, and adds pictures that are new. The file is SQLite, which many
    tools read.

    \b
    deconvnet scan photos/ --model torchvision:alexnet --out alexnet.scan
    deconvnet plate alexnet.scan --layer features.11 --random 12 --out figure2.png
    """
    from ..scanning import scan as run

    say_if_for_drawings([pictures])
    net = load_net(model=model, weights=weights, device=device, mean=mean, std=std, size=size)
    if engine == "ray" and device == "cpu" and gpus_per_worker is None:
        gpus_per_worker = 0
    options: dict[str, Any] = {
        "layers": layers or None,
        "top": top,
        "inside": inside,
        "precision": precision,
        "limit": from_context(LIMIT),
        "batch": batch,
        "shard": shard,
        "workers": workers,
        "readers": readers,
        "gpus": gpus,
        "engine": engine,
        "address": address,
        "gpus_per_worker": gpus_per_worker,
        "cpus_per_worker": cpus_per_worker,
    }
    was_there = os.path.exists(out)
    try:
        with _warnings_as_notes(quiet=engine == "ray"):
            result = run(net, pictures, out, progress=True, **options)
    except KeyboardInterrupt:
        _say_how_to_continue(out)
        raise
    with result:
        skipped = result.skipped()
        if not skipped or result.progress()[0] > len(skipped):
            say(result.summary())
            echo(out)
            say(_what_next(result))
            return
    if not was_there:
        os.remove(out)  # there is nothing in it, and the pictures that were missed would be missed again
    raise _nothing_read(skipped)


@contextlib.contextmanager
def _warnings_as_notes(*, quiet: bool) -> Iterator[None]:
    """Show warnings as lines beside the bar; `quiet`: hide what Ray prints about a lost machine, pages of its log."""
    from tqdm import tqdm

    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere if quiet else sys.stderr),
        warnings.catch_warnings(),
    ):
        warnings.showwarning = lambda message, *_: tqdm.write(f"note: {message}", file=sys.stderr)
        yield


def _nothing_read(skipped: Sequence[tuple[str, str]]) -> PictureError:
    """Return what to say where not one picture could be read, by each path and its problem."""
    path, problem = skipped[0]
    reason = problem if path in problem else f"{path}: {problem}"
    if len(skipped) == 1:
        return PictureError(f"the one picture could not be read: {reason}")
    return PictureError(f"none of the {len(skipped):,} pictures could be read. The first: {reason}")


def _say_how_to_continue(out: str) -> None:
    from ..scanning.table import ScanTable

    try:
        with ScanTable(out) as table:
            done, total = table.progress()
    except DeconvnetError:  # stopped before it had begun
        return
    say(f"\n{done:,} of {total:,} pictures are done and kept in {out}. The same command continues from there.")


def _what_next(scan: Scan) -> str:
    path, layer = shlex.quote(scan.path), shlex.quote(scan.default_layer())
    return (
        f"Try next:\n  deconvnet plate {path} --layer {layer} --random 12 --out plate.png\n"
        f"  deconvnet top {path} --layer {layer} --channel 0\n  deconvnet report {path}\n"
        f"  deconvnet atlas {path} --out site"
    )
