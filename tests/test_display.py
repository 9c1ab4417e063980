"""Promises about `deconvnet.show` and torch.hub's entry points."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ImageShow

import deconvnet
from deconvnet.drawings import draw

ROOT = Path(__file__).parents[1]


@pytest.fixture
def notebook(monkeypatch):
    """What a kernel's IPython offers; returns the pictures that it is given to display."""
    shown = []
    shell = SimpleNamespace(kernel=object())
    fake = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    return shown


@pytest.fixture
def viewer(monkeypatch):
    """No notebook, and a viewer that keeps what it is given."""
    shown = []
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(ImageShow, "_viewers", [])
    monkeypatch.setattr(ImageShow, "show", lambda image, title=None: shown.append((image, title)) or True)
    return shown


def test_in_a_notebook_each_picture_is_displayed(notebook, tiny):
    """A sheet for each picture, that of `project`; nothing is returned, which the cell would show once more."""
    net = deconvnet.DeconvNet(tiny)
    pictures = [draw("face", seed=1), draw("cat", seed=2)]
    assert deconvnet.show(pictures, net, "features.9", top=3, tone="symmetric") is None
    expected = net.project(net.record(pictures), "features.9", top=3)
    assert len(notebook) == 2
    for number, sheet in enumerate(notebook):
        np.testing.assert_array_equal(np.asarray(sheet), np.asarray(expected.of_image(number).figure(tone="symmetric")))


@pytest.mark.parametrize("form", ["name", "loaded", "module"])
def test_a_model_may_be_given_in_any_form(form, viewer, tiny):
    """By name, loaded, or as a module; outside of notebooks a viewer gets the sheet."""
    model = {"name": "tiny", "loaded": tiny, "module": tiny.model}[form]
    deconvnet.show(torch.zeros(1, 3, 96, 96) + 0.3 if form == "module" else None, model, channels=[4, 7])
    ((image, title),) = viewer
    assert title == "deconvnet"
    assert image.width > 300


def test_a_terminal_of_ipython_is_no_notebook(viewer, monkeypatch, tiny):
    """IPython's terminal would print an object's address: there, too, a viewer gets the sheet."""
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace()))
    deconvnet.show(None, tiny)
    assert len(viewer) == 1


def test_without_notebook_and_viewer_a_line_says_what_to_do(viewer, monkeypatch, tiny):
    """On a machine without a screen, one line says how to save the sheet."""
    monkeypatch.setattr(ImageShow, "show", lambda image, title=None: False)
    with pytest.raises(deconvnet.OptionError) as caught:
        deconvnet.show(None, tiny)
    assert str(caught.value) == (
        "there is neither a notebook nor a picture viewer to show it. Save it: DeconvNet(...).project(...).save('sheet.png')."
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's own event loop
def test_a_real_kernel_shows_it(tmp_path, monkeypatch):
    """In a real kernel, a call in the middle of a cell puts a PNG into its output, and warns of nothing."""
    nbformat = pytest.importorskip("nbformat", reason="a kernel needs the extra `notebook`")
    nbclient = pytest.importorskip("nbclient", reason="a kernel needs the extra `notebook`")
    pytest.importorskip("ipykernel", reason="a kernel needs the extra `notebook`")
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.chdir(ROOT)
    cell = nbformat.v4.new_code_cell("import deconvnet\ndeconvnet.show()\nprint('done')")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    kinds = [(output.output_type, *sorted(output.get("data", {}))) for output in notebook.cells[0].outputs]
    assert kinds[-1] == ("stream",)
    assert any("image/png" in kind for kind in kinds)
    assert all(output.get("name") != "stderr" for output in notebook.cells[0].outputs)


def test_torch_hub_loads_what_it_lists(monkeypatch, tmp_path, tiny):
    """`torch.hub` lists the entry points with their help, and loads the packed net and a DeconvNet from a checkout."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    entries = {
        name: value for name, value in runpy.run_path(str(ROOT / "hubconf.py")).items() if callable(value) and name[0] != "_"
    }
    assert sorted(entries) == ["deconvnet", "tiny"]
    assert all(entry.__doc__.startswith("Return ") for entry in entries.values())
    model = torch.hub.load(str(ROOT), "tiny", source="local")
    assert all(torch.equal(value, tiny.model.state_dict()[name]) for name, value in model.state_dict().items())
    assert not model.training
    net = torch.hub.load(str(ROOT), "deconvnet", "zfnet", weights=None, device="cpu", source="local", lrn="derivative")
    assert (net.name, net.lrn) == ("zfnet", "derivative")
