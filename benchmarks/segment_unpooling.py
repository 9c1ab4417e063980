"""Train the small segmentation nets with each unpooling and ten seeds; write table and figure of docs/upsampling-learned.md.

    python benchmarks/segment_unpooling.py [--steps 1200] [--seeds 10]
    python benchmarks/segment_unpooling.py --redraw

About 25 minutes on two cores; with three seeds, as the page has it, 14 on one. Only the text between the two marks is replaced;
the figure goes to docs/pictures/, and all that it shows to docs/data/, from which `--redraw` writes both again. The numbers
repeat only on as many threads: others round otherwise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pages import with_tables

from deconvnet.render.save import save_arrays
from deconvnet.studies.statistics import FEWEST, compare, estimate_mean
from deconvnet.upsampling import segment
from deconvnet.upsampling.segmentation import SegmentationComparison
from deconvnet.upsampling.segmenter import BATCH

ROOT = Path(__file__).parents[1]
PAGE, FIGURE = ROOT / "docs" / "upsampling-learned.md", ROOT / "docs" / "pictures" / "segment-unpooling.png"
KEPT = ROOT / "docs" / "data" / "segment-unpooling.npz"
PRIMARY = "boundary IoU: switch - nearest"
MARKER = "segmentation"


def measures_table(result: SegmentationComparison) -> list[str]:
    """Return the means over seeds, for each unpooling and measure, with 95 % intervals; of few seeds, with their deviation."""
    measures = result.measures()
    lines = ["| unpooling | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
    for index, unpooling in enumerate(result.unpoolings):
        cells = [_mean_text(values[index]) for values in measures.values()]
        lines.append(f"| {unpooling} | " + " | ".join(cells) + " |")
    return lines


def _mean_text(values: npt.NDArray[np.float64]) -> str:
    """Return a mean over seeds: "0.348 [0.345, 0.351]", or "0.348 ± 0.003" where they are too few for an interval."""
    estimate = estimate_mean(values)
    return estimate.text(".3f") if estimate.has_interval else f"{values.mean():.3f} ± {values.std(ddof=1):.3f}"


def differences_table(result: SegmentationComparison) -> list[str]:
    """Return how switches differ from the other unpoolings, paired by seed; of few seeds, each one's difference."""
    measures = result.measures()
    pairs = {
        f"{name}: switch - {other}": tuple(values[result.unpoolings.index(each)] for each in ("switch", other))
        for other in ("nearest", "fixed")
        if other in result.unpoolings
        for name, values in measures.items()
    }
    lines = ["| paired by seed | difference | |", "|---|---|---|"]
    for comparison, (first, second) in zip(compare(pairs, primary=PRIMARY), pairs.values(), strict=True):
        name, difference, p = comparison.cells()
        each = ", ".join(f"{value:+.3f}" for value in first - second)
        lines.append(f"| {name} | {difference} | {each if p == '-' else p} |")
    return lines


def labels_table(result: SegmentationComparison) -> list[str]:
    """Return means over seeds, label by label."""
    heading = "| label | " + " | ".join(f"{unpooling}: IoU | boundary" for unpooling in result.unpoolings) + " |"
    lines = [heading, "|---" * (1 + 2 * len(result.unpoolings)) + "|"]
    for index, label in enumerate(result.labels):
        means = zip(result.iou[:, :, index].mean(1), result.boundary[:, :, index].mean(1), strict=True)
        lines.append(f"| {label} | " + " | ".join(f"{area:.3f} | {border:.3f}" for area, border in means) + " |")
    return lines


def keep(result: SegmentationComparison, path: Path) -> None:
    """Write all that a comparison holds, its settings and the pictures among it."""
    save_arrays(path, **result.to_arrays(), settings=json.dumps(result.settings))


def read_kept(path: Path) -> SegmentationComparison:
    """Return the comparison that `keep` wrote."""
    with np.load(path) as kept:
        values: dict[str, Any] = {
            field.name: kept[field.metadata.get("key", field.name)] for field in fields(SegmentationComparison)
        }
    for name in ("unpoolings", "seeds", "labels"):
        values[name] = tuple(values[name].tolist())
    settings = json.loads(str(values["settings"]))
    return SegmentationComparison(**values | {"parameters": int(values["parameters"]), "settings": settings})


def write_page(result: SegmentationComparison) -> None:
    """Write the page's part between the two marks, and the figure."""
    settings, seeds = result.settings, len(result.seeds)
    training = f"{seeds} seeds, {settings['steps']} steps of {BATCH} from {settings['drawings']} drawings"
    means = "means over seeds with 95 % intervals" if seeds >= FEWEST else "mean ± standard deviation over seeds"
    text = [f"{training}, {result.parameters:,} parameters; {means}, on {settings['test_drawings']} fresh drawings.", ""]
    text += [*measures_table(result), "", *differences_table(result), "", *labels_table(result)]
    PAGE.write_text(with_tables(PAGE.read_text(), {MARKER: text}))
    result.save(FIGURE)


def main() -> None:
    """Train, and write the page's part and the figure; or write them again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--drawings", type=int, default=2048)
    parser.add_argument("--redraw", action="store_true", help="train nothing: write them from docs/data")
    options = parser.parse_args()
    if options.redraw:
        write_page(read_kept(KEPT))
        return
    result = segment.run(seeds=range(options.seeds), steps=options.steps, drawings=options.drawings, test_drawings=280)
    keep(result, KEPT)
    write_page(result)


if __name__ == "__main__":
    main()
