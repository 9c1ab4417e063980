"""Train the small segmentation nets with each unpooling and three seeds; write table and figure of docs/upsampling-learned.md.

    python benchmarks/segment_unpooling.py [--steps 1200] [--seeds 3]

About seven minutes on two cores. Only the text between the two marks is replaced; the figure goes to docs/pictures/.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from deconvnet.upsampling import segment
from deconvnet.upsampling.segmentation import SegmentationComparison
from deconvnet.upsampling.segmenter import BATCH

ROOT = Path(__file__).parents[1]
PAGE, FIGURE = ROOT / "docs" / "upsampling-learned.md", ROOT / "docs" / "pictures" / "segment-unpooling.png"
MARKS = ("<!-- written by benchmarks/segment_unpooling.py -->", "<!-- end of what it wrote -->")


def pooled_spread(*rows: np.ndarray) -> float:
    """Return the standard deviation of single seeds around their unpooling's mean, the variances averaged."""
    return float(np.sqrt(np.mean([row.var(ddof=1) for row in rows])))


def measures_table(result: SegmentationComparison) -> list[str]:
    """Return mean and spread over seeds, for each unpooling and measure."""
    measures = result.measures()
    lines = ["| unpooling | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
    for index, unpooling in enumerate(result.unpoolings):
        cells = [f"{values[index].mean():.3f} ± {values[index].std(ddof=1):.3f}" for values in measures.values()]
        lines.append(f"| {unpooling} | " + " | ".join(cells) + " |")
    return lines


def differences_table(result: SegmentationComparison, first: str, second: str) -> list[str]:
    """Return how one unpooling differs from another, seed by seed, and in relation to the spread."""
    lines = [f"| {first} less {second} | mean | each seed | over the spread |", "|---|---|---|---|"]
    measures, rows = result.measures(), [result.unpoolings.index(unpooling) for unpooling in (first, second)]
    for name, values in result.differences(first, second).items():
        spread = pooled_spread(*(measures[name][row] for row in rows))
        seeds = ", ".join(f"{value:+.3f}" for value in values)
        lines.append(f"| {name} | {values.mean():+.3f} | {seeds} | {abs(values.mean()) / (spread or np.inf):.1f} |")
    return lines


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
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3, at least 2)")
    parser.add_argument("--drawings", type=int, default=2048)
    options = parser.parse_args()
    result = segment.run(seeds=range(options.seeds), steps=options.steps, drawings=options.drawings, test_drawings=280)
    training = f"{options.seeds} seeds, {options.steps} steps of {BATCH} from {options.drawings} drawings"
    training += f", {result.parameters:,} parameters"
    text = [
        f"{training}; mean ± standard deviation over seeds, on {result.settings['test_drawings']} fresh drawings.",
        "",
        *measures_table(result),
        "",
    ]
    for other in ("nearest", "fixed"):
        text += [*differences_table(result, "switch", other), ""]
    page = PAGE.read_text()
    written = "\n".join([MARKS[0], "", *text, *labels_table(result), "", MARKS[1]])
    PAGE.write_text(re.sub(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), lambda _: written, page, flags=re.S))
    result.save(FIGURE)


if __name__ == "__main__":
    main()
