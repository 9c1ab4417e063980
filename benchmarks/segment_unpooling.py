"""Train the small segmenting nets with each unpooling and three seeds; write table and figure of docs/upsampling-learned.md.

    python benchmarks/segment_unpooling.py [--steps 1200] [--seeds 3]

About seven minutes on two cores. The page keeps what stands outside the two marks; the figure goes to docs/pictures/.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from deconvnet.results import save_figure
from deconvnet.upsampling import segment
from deconvnet.upsampling.figures import plot_comparison

ROOT = Path(__file__).parents[1]
PAGE, FIGURE = ROOT / "docs" / "upsampling-learned.md", ROOT / "docs" / "pictures" / "segment-unpooling.png"
MARKS = ("<!-- written by benchmarks/segment_unpooling.py -->", "<!-- end of what it wrote -->")


def pooled_spread(*rows: np.ndarray) -> float:
    """Return the deviation of single seeds around their ways' means, the ways' variances averaged."""
    return float(np.sqrt(np.mean([row.var(ddof=1) for row in rows])))


def table(result: segment.Comparison) -> list[str]:
    """Mean and spread over seeds, of every way and measure."""
    measures = result.measures()
    lines = ["| unpooling | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
    for place, way in enumerate(result.ways):
        cells = [f"{values[place].mean():.3f} ± {values[place].std(ddof=1):.3f}" for values in measures.values()]
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    return lines


def differences(result: segment.Comparison, one: str, other: str) -> list[str]:
    """One way against another, seed by seed, and against the spread."""
    lines = [f"| {one} less {other} | mean | each seed | over the spread |", "|---|---|---|---|"]
    measures, places = result.measures(), [result.ways.index(way) for way in (one, other)]
    for name, values in result.differences(one, other).items():
        spread = pooled_spread(*(measures[name][place] for place in places))
        seeds = ", ".join(f"{value:+.3f}" for value in values)
        lines.append(f"| {name} | {values.mean():+.3f} | {seeds} | {abs(values.mean()) / (spread or np.inf):.1f} |")
    return lines


def by_label(result: segment.Comparison) -> list[str]:
    """Means over seeds, label by label."""
    lines = [
        "| label | " + " | ".join(f"{way}: IoU | boundary" for way in result.ways) + " |",
        "|---" * (1 + 2 * len(result.ways)) + "|",
    ]
    for number, label in enumerate(result.labels):
        cells = [
            f"{a:.3f} | {b:.3f}" for a, b in zip(*(m[:, :, number].mean(1) for m in (result.iou, result.boundary)), strict=True)
        ]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Train, and write the page's part and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default 3, at least 2)")
    parser.add_argument("--drawings", type=int, default=2048)
    options = parser.parse_args()
    result = segment.run(seeds=range(options.seeds), steps=options.steps, drawings=options.drawings, test_drawings=280)
    said = f"{options.seeds} seeds, {options.steps} steps of {segment.BATCH} from {options.drawings} drawings"
    said += f", {result.parameters:,} parameters"
    text = [
        f"{said}; mean ± deviation over seeds, on {result.settings['test_drawings']} fresh drawings.",
        "",
        *table(result),
        "",
    ]
    for other in ("nearest", "fixed"):
        text += [*differences(result, "switch", other), ""]
    page = PAGE.read_text()
    written = "\n".join([MARKS[0], "", *text, *by_label(result), "", MARKS[1]])
    PAGE.write_text(re.sub(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), lambda _: written, page, flags=re.S))
    save_figure(plot_comparison(result), FIGURE, settings=result.settings)


if __name__ == "__main__":
    main()
