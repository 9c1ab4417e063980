"""Train the small segmentation nets with each unpooling and ten seeds; write table and figure of docs/upsampling-learned.md.

    python benchmarks/segment_unpooling.py [--steps 1200] [--seeds 10]

About 25 minutes on two cores. Only the text between the two marks is replaced; the figure goes to docs/pictures/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pages import with_tables

from deconvnet.studies.statistics import compare, estimate_mean
from deconvnet.upsampling import segment
from deconvnet.upsampling.segmentation import SegmentationComparison
from deconvnet.upsampling.segmenter import BATCH

ROOT = Path(__file__).parents[1]
PAGE, FIGURE = ROOT / "docs" / "upsampling-learned.md", ROOT / "docs" / "pictures" / "segment-unpooling.png"
PRIMARY = "boundary IoU: switch - nearest"
MARKER = "segmentation"


def measures_table(result: SegmentationComparison) -> list[str]:
    """Return the means over seeds with their 95 % intervals, for each unpooling and measure."""
    measures = result.measures()
    lines = ["| unpooling | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
    for index, unpooling in enumerate(result.unpoolings):
        cells = [estimate_mean(values[index]).text(".3f") for values in measures.values()]
        lines.append(f"| {unpooling} | " + " | ".join(cells) + " |")
    return lines


def differences_table(result: SegmentationComparison) -> list[str]:
    """Return how switches differ from the other unpoolings, seed by seed; what was fixed beforehand first."""
    measures = result.measures()
    pairs = {
        f"{name}: switch - {other}": tuple(values[result.unpoolings.index(each)] for each in ("switch", other))
        for other in ("nearest", "fixed")
        if other in result.unpoolings
        for name, values in measures.items()
    }
    lines = ["| paired by seed | difference | |", "|---|---|---|"]
    return lines + [f"| {' | '.join(comparison.cells())} |" for comparison in compare(pairs, primary=PRIMARY)]


def labels_table(result: SegmentationComparison) -> list[str]:
    """Return means over seeds, label by label."""
    heading = "| label | " + " | ".join(f"{unpooling}: IoU | boundary" for unpooling in result.unpoolings) + " |"
    lines = [heading, "|---" * (1 + 2 * len(result.unpoolings)) + "|"]
    for index, label in enumerate(result.labels):
        means = zip(result.iou[:, :, index].mean(1), result.boundary[:, :, index].mean(1), strict=True)
        lines.append(f"| {label} | " + " | ".join(f"{area:.3f} | {border:.3f}" for area, border in means) + " |")
    return lines


def main() -> None:
    """Train, and write the page's part and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=10, help="how many (default 10)")
    parser.add_argument("--drawings", type=int, default=2048)
    options = parser.parse_args()
    result = segment.run(seeds=range(options.seeds), steps=options.steps, drawings=options.drawings, test_drawings=280)
    training = f"{options.seeds} seeds, {options.steps} steps of {BATCH} from {options.drawings} drawings"
    training += f", {result.parameters:,} parameters"
    text = [
        f"{training}; means over seeds with 95 % intervals, on {result.settings['test_drawings']} fresh drawings.",
        "",
        *measures_table(result),
        "",
    ]
    text += [*differences_table(result), ""]
    PAGE.write_text(with_tables(PAGE.read_text(), {MARKER: [*text, *labels_table(result)]}))
    result.save(FIGURE)


if __name__ == "__main__":
    main()
