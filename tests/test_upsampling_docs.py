"""What makes docs/upsampling*.md and the notebook on upsampling still runs, and gives what is committed."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deconvnet.upsampling import part_labels, segment

ROOT = Path(__file__).parents[1]


def test_pictures_of_the_page(tmp_path):
    """examples/upsampling_pictures.py draws the pictures of docs/upsampling-learned.md."""
    pytest.importorskip("skimage")
    runpy.run_path(str(ROOT / "examples" / "upsampling_pictures.py"))["main"](str(tmp_path), rounds=1, drawings=2, size=24)
    drawn = {path.name for path in tmp_path.iterdir()}
    page = (ROOT / "docs" / "upsampling-learned.md").read_text()
    assert {Path(name).name for name in re.findall(r"\]\((pictures/.*?\.png)\)", page)} == drawn | {"segment-unpooling.png"}


def test_tables_of_the_benchmark(monkeypatch):
    """benchmarks/segment_unpooling.py writes means over seeds with intervals, and differences paired by seed, corrected by Holm."""
    pytest.importorskip("scipy", reason="intervals need the extra `studies`")
    compared = segment.run(unpoolings=("switch", "nearest"), seeds=(0, 5), steps=1, drawings=8, test_drawings=8, size=16)
    numbers = np.random.default_rng(0)
    compared = replace(compared, iou=numbers.random((2, 6, 7)), boundary=numbers.random((2, 6, 7)), seeds=tuple(range(6)))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "segment_unpooling.py"))
    switch, nearest = compared.measures()["boundary IoU"]
    row = [cell.strip() for cell in benchmark["measures_table"](compared)[2].split("|")]
    assert (row[1], row[3][:6]) == ("switch", f"{switch.mean():.3f} ")

    def slow(values):  # the middle 95 % of the means of resampled seeds, one resample at a time
        means = sorted(np.mean([values[at] for at in numbers.integers(6, size=6)]) for _ in range(4000))
        return means[100], means[3900]

    low, high = map(float, row[3].split("[")[1].rstrip("]").split(","))
    assert (low, high) == pytest.approx(slow(switch), abs=0.012)
    rows = [[cell.strip() for cell in line.split("|")] for line in benchmark["differences_table"](compared)[2:]]
    assert [row[1] for row in rows] == [f"{name}: switch - nearest" for name in compared.measures()]
    [found] = [row for row in rows if row[1] == "boundary IoU: switch - nearest"]
    assert found[2].startswith(f"{(switch - nearest).mean():+.3f} [")
    assert [row[3].rpartition("(")[2] for row in rows] == ["Holm)", "primary)", "Holm)"]
    low, high = map(float, found[2].split("[")[1].rstrip("]").split(","))
    assert (low, high) == pytest.approx(slow(switch - nearest), abs=0.02)
    labels = benchmark["labels_table"](compared)[2:]
    assert [line.split("|")[1].strip() for line in labels] == list(part_labels.LABELS)
    assert labels[1].split("|")[2].strip() == f"{compared.iou[0, :, 1].mean():.3f}"


def test_the_benchmark_keeps_what_its_figure_shows(tmp_path):
    """The figure can be drawn again, byte by byte, from the numbers and pictures that are kept; so can that of the page."""
    compared = segment.run(unpoolings=("switch", "nearest"), seeds=(0, 5), steps=1, drawings=8, test_drawings=8, size=16)
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "segment_unpooling.py"))
    benchmark["keep"](compared, tmp_path / "kept.npz")
    again = benchmark["read_kept"](tmp_path / "kept.npz")
    assert (again.to_json(), again.settings) == (compared.to_json(), compared.settings)
    for name, result in (("before.png", compared), ("after.png", again)):
        result.save(tmp_path / name)
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()
    kept = benchmark["read_kept"](benchmark["KEPT"])
    page = (ROOT / "docs" / "upsampling-learned.md").read_text()
    for table in ("measures_table", "differences_table", "labels_table"):
        assert "\n".join(benchmark[table](kept)) in page


def test_few_seeds_have_deviations_and_each_difference():
    """Where seeds are too few for an interval, the page has their deviation, and the difference of each."""
    compared = segment.run(unpoolings=("switch", "nearest"), seeds=(0, 5), steps=1, drawings=8, test_drawings=8, size=16)
    iou = np.array([[[0.5] * 7, [0.7] * 7], [[0.4] * 7, [0.4] * 7]])
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "segment_unpooling.py"))
    few = replace(compared, iou=iou, boundary=iou)
    assert benchmark["measures_table"](few)[2] == "| switch | 0.600 ± 0.141 | 0.600 ± 0.141 | 0.600 ± 0.141 |"
    assert benchmark["differences_table"](few)[2] == "| mean IoU: switch - nearest | +0.200 | +0.100, +0.300 |"


def test_notebook_is_whole():
    """The notebook that tries a text has been run from top to bottom, without an error, and is small."""
    path = ROOT / "notebooks" / "04_upsampling.ipynb"
    notebook = json.loads(path.read_text())
    ran = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in ran] == list(range(1, len(ran) + 1))
    kinds = {output["output_type"] for cell in ran for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert not [output for cell in ran for output in cell["outputs"] if output.get("name") == "stderr"]
    assert path.stat().st_size < 500_000


def test_notebook_still_runs(monkeypatch):
    """Its cells that need no training still run as plain Python, and print what stands in the notebook."""
    pytest.importorskip("skimage")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    notebook = json.loads((ROOT / "notebooks" / "04_upsampling.ipynb").read_text())
    scope: dict[str, object] = {}
    slow = ("Adam", "trained_on", "encode", "richardson_lucy", "recording", "display(", "edges")
    ran = 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] != "code" or any(word in source for word in slow):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "04_upsampling.ipynb", "exec"), scope)
        kept = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        for now, then in zip(printed.getvalue().splitlines(), kept.splitlines(), strict=True):
            assert now.split(":")[0] == then.split(":")[0] or "difference" in now
            assert ("True" in now, "False" in now) == ("True" in then, "False" in then)
        ran += 1
    assert ran >= 15
