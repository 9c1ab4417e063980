"""Promises about notebooks/: each runs from top to bottom, offline, and what is committed is what it prints.

To commit what they give now: DECONVNET_ACCEPT_NOTEBOOKS=1 python -m pytest tests/test_notebooks.py
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat", reason="the notebooks need the extra `notebook`")
nbclient = pytest.importorskip("nbclient", reason="the notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="the notebooks need the extra `notebook`")

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(
    path for path in FOLDER.glob("*.ipynb") if not path.name.startswith("04")
)  # tests/test_upsampling_docs.py has that
ACCEPT = "DECONVNET_ACCEPT_NOTEBOOKS" in os.environ
LARGEST = 1_400_000  # bytes of a notebook: the tour has eight figures


@pytest.fixture
def quiet_jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that takes whatever Jupyter and IPython write."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]))
    work = tmp_path / "work"
    work.mkdir()
    return work


def printed(cell: Any) -> str:
    return "".join(output["text"] for output in cell.get("outputs", ()) if output["output_type"] == "stream")


def shape_of(text: str) -> str:
    """What a text says, without its numbers: those may differ in their last digits between machines."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "N", re.sub(r" +", " ", text))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's own event loop
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_from_top_to_bottom(path, quiet_jupyter):
    """It runs in a fresh kernel, in an empty folder, without an error or a warning, and prints what stands in it."""
    if path.stem.startswith("03"):
        pytest.importorskip("skimage", reason="the tour's measures need the extra `studies`")
    committed = nbformat.read(path, 4)
    fresh = nbformat.read(path, 4)
    options = {"timeout": 120, "kernel_name": "python3", "store_widget_state": False}
    nbclient.NotebookClient(fresh, resources={"metadata": {"path": str(quiet_jupyter)}}, **options).execute()
    for cell in fresh.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output["text"]
        assert not re.search(r"\bFalse\b", printed(cell)), cell.source  # what a notebook tries holds
    if ACCEPT:
        path.write_text(nbformat.writes(slim(fresh)) + "\n")
        committed = fresh
    for now, then in zip(fresh.cells, committed.cells, strict=True):
        assert shape_of(printed(now)) == shape_of(printed(then))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_whole_and_small(path):
    """It was committed after a run from top to bottom, with its outputs, and without a widget's state; the whole is small."""
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code)
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < LARGEST


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_first_cell_switches_the_net(path):
    """The first cell with code names the net, its weights and the pictures, and nothing else."""
    notebook = nbformat.read(path, 4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert first.startswith("MODEL, WEIGHTS")
    assert '"tiny"' in first
    assert "torchvision:alexnet" in first


def slim(notebook: Any) -> Any:
    """Drop what does not last - times, temporary folders, a widget's view - and make pictures narrow and of 192 colours."""
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "application/vnd.jupyter.widget-view+json" in data:
                data.pop("application/vnd.jupyter.widget-view+json")
                data["text/plain"] = "the explorer: run this cell to see it"
            for kind in ("text/html", "text/plain"):
                if kind in data:
                    data[kind] = re.sub(re.escape(tempfile.gettempdir()) + r"/tmp\w+/", "", data[kind])
            if "image/png" in data:
                data["image/png"] = packed(data["image/png"])
    return notebook


def packed(png: str) -> str:
    import base64

    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.thumbnail((1200, 2000))
    picture = picture.quantize(192, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
