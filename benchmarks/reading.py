"""Measure how many pictures a second are read, by threads and by processes, one and more at once; write docs/reading.md.

    python benchmarks/reading.py photos/ [--rounds 5] [--workers 1,2]

Photographs are resized to short sides of 256 and 375 pixels, and set together to mosaics of 1,000, 2,000 and 4,000, which have
as much detail; they are saved as JPEG of quality 90. The rest is what a scan does before the net: the file is read and hashed,
and its picture decoded, resized and cropped to 224 x 224. Rounds are interleaved; medians are shown.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from deconvnet.choices import READERS, Decode, ReaderKind
from deconvnet.images import Preprocess, find_pictures, open_picture
from deconvnet.images.preprocess import REDUCED_SIDES
from deconvnet.scanning.engine_local import READ_TOGETHER
from deconvnet.scanning.reading import batched, prefetch, reading
from deconvnet.scanning.source import open_source

ROOT = Path(__file__).parents[1]
PREPROCESS = Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

COMPARED: tuple[Decode, ...] = ("exact", "reduced")

#: Short sides, and how many pictures of each are read in a round.
SIZES = {256: 1000, 375: 600, 1000: 120, 2000: 48, 4000: 16}


def picture_of(pictures: Sequence[str], number: int, short: int) -> Image.Image:
    """Return a picture of 4:3 with a short side: one photograph, or a mosaic of some that have about 250 pixels each."""
    side = max(1, short // 250)
    tile = (short * 4 // 3 // side, short // side)
    mosaic = Image.new("RGB", (tile[0] * side, tile[1] * side))
    for at in range(side * side):
        path = pictures[(number * side * side + at) % len(pictures)]
        mosaic.paste(open_picture(path).resize(tile, Image.Resampling.BICUBIC), (at % side * tile[0], at // side * tile[1]))
    return mosaic


def save_sizes(pictures: Sequence[str], folder: Path) -> dict[int, float]:
    """Save pictures of all sizes, and return the mean kilobytes of each."""
    kilobytes = {}
    for short, count in SIZES.items():
        place = folder / str(short)
        place.mkdir()
        for number in range(min(count, 200)):
            picture_of(pictures, number, short).save(place / f"{number:03}.jpg", quality=90)
        kilobytes[short] = statistics.mean(path.stat().st_size for path in place.iterdir()) / 1000
    return kilobytes


def differences(folder: Path) -> tuple[float, float]:
    """Return by how many levels pixels differ where the decoder reduces: their mean, and what one in a hundred exceeds."""
    reduced = replace(PREPROCESS, decode="reduced")
    values = [
        np.abs(reduced.crop_pixels(path).astype(int) - PREPROCESS.crop_pixels(path)).ravel()
        for path in sorted(folder.iterdir())
    ]
    return float(np.concatenate(values).mean()), float(np.percentile(np.concatenate(values), 99))


def rate(folder: Path, count: int, kind: ReaderKind, workers: int, decode: Decode = "exact") -> float:
    """Return how many pictures a second are read."""
    source = open_source(folder)
    items = [(number % len(source.names), source.names[number % len(source.names)]) for number in range(count)]
    with reading(replace(PREPROCESS, decode=decode), workers, kind) as (pool, preprocess, _):

        def read(part: Sequence[tuple[int, str]]) -> None:
            for item in part:
                assert source.load(*item, preprocess).pixels is not None

        list(prefetch(pool, read, batched(items[: 4 * workers], 1), workers))  # processes start
        started = time.perf_counter()
        for _ in prefetch(pool, read, batched(items, READ_TOGETHER), workers + 3):
            pass
        return count / (time.perf_counter() - started)


def row(short: int, kilobytes: float, rates: dict[tuple[ReaderKind, int], list[float]], workers: Sequence[int]) -> str:
    """Return a row of the table: rates, and by how much the most workers are faster than one thread of the same kind."""
    medians = [f"{statistics.median(rates[kind, number]):,.0f}" for kind in READERS for number in workers]
    gains = [
        f"{statistics.median(many / one for one, many in zip(rates[kind, 1], rates[kind, workers[-1]], strict=True)):.2f}"
        for kind in READERS
    ]
    return f"| {short:,} px, {kilobytes:,.0f} KB | " + " | ".join(medians + gains) + " |"


def measure_reduced(folder: Path, rounds: int, workers: int) -> list[str]:
    """Return rows on decoding at a part of the size: pictures a second, in full and so, and how far the pixels are."""
    rows = []
    for short in (size for size in SIZES if size >= 2 * REDUCED_SIDES * PREPROCESS.resize):
        place, count = folder / str(short), SIZES[short]
        pairs = [tuple(rate(place, count, "processes", workers, decode) for decode in COMPARED) for _ in range(rounds)]
        full, part = (statistics.median(column) for column in zip(*pairs, strict=True))
        gain = statistics.median(fast / slow for slow, fast in pairs)
        mean, most = differences(place)
        rows.append(f"| {short:,} px | {full:,.0f} | {part:,.0f} | {gain:.1f} | {mean:.2f} | {most:.0f} |")
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", help="a folder of photographs")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--workers", default="1,2", help="how many pictures at once (default 1,2)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reading.md", help="the page to write")
    options = parser.parse_args()
    workers = [int(word) for word in options.workers.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        kilobytes = save_sizes([str(path) for path in find_pictures(options.pictures)], Path(folder))
        for short, count in SIZES.items():
            rates: dict[tuple[ReaderKind, int], list[float]] = {(kind, number): [] for kind in READERS for number in workers}
            for _ in range(options.rounds):
                for (kind, number), measured in rates.items():
                    measured.append(rate(Path(folder, str(short)), count, kind, number))
            rows.append(row(short, kilobytes[short], rates, workers))
            print(rows[-1], flush=True)
        reduced = measure_reduced(Path(folder), options.rounds, workers[-1])
    heads = [f"{kind}, {number}" for kind in READERS for number in workers]
    heads += [f"{kind}: {workers[-1]} against 1" for kind in READERS]
    table = "\n".join([f"| short side | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|", *rows])
    about = {"rounds": options.rounds, "cores": os.cpu_count(), "pillow": PIL.__version__, "workers": workers[-1]}
    options.out.write_text(PAGE.format(table=table, reduced="\n".join(reduced), **about))


PAGE = """# How fast pictures are read

Written by `benchmarks/reading.py`: pictures a second, on {cores} cores, Pillow {pillow}, medians of {rounds} interleaved
rounds. A picture is read, hashed, decoded, resized to a short side of 256 and cropped to 224 x 224, as for a scan; the files
are JPEGs of quality 90, 4:3, the larger ones mosaics of photographs.

{table}

Processes keep the memory of one picture for the next, which is what large pictures gain by; small ones lose to the way through
the pipes. Two at once are no more than 1.7 times as fast as one where a picture takes a millisecond, since the thread that
takes them over needs its share of two cores. With few cores the net uses them too, so that a scan is as fast with either: up to
four workers are threads. Of many threads all but about four wait for the interpreter's lock; hence processes, from five workers
on. `--workers 1,8,16` measures that on a machine with as many cores.

JPEGs are decoded by Pillow, unless a [GPU decodes them](scan.md#decoding-on-a-gpu). torchvision's decoder is the same library,
but deprecated there, and would cost each process the start and the memory of torch.

## Large photographs

`--decode reduced` (`Preprocess(decode="reduced")`) lets the decoder reduce a JPEG to a half, a quarter or an eighth of its
sides, as long as the short side keeps twice what it is resized to. The rest is as before, on the same grid; the file of the
scan keeps the choice, and plates see the same pixels. Pictures a second, {workers} processes, and by how many of 255 levels the
pixels differ that the net sees:

| short side | exact | reduced | ratio | mean difference | one in a hundred above |
|---|---|---|---|---|---|
{reduced}
"""


if __name__ == "__main__":
    main()
