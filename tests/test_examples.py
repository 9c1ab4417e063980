"""The examples and the pages' Python run as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

import deconvnet
from deconvnet import rules
from support.oracle import relative

ROOT = Path(__file__).parents[1]


def test_a_layer_of_ones_own(capsys):
    """examples/own_layer.py: a function that no table knows is mirrored by one class and one line."""
    example = runpy.run_path(str(ROOT / "examples" / "own_layer.py"))
    projection = example["main"]()
    assert projection.pixels.abs().sum() > 0
    assert re.search(r"softsign +8x36x44 +8x36x44 +Activation +generalised", capsys.readouterr().out)
    images, function = torch.rand(1, 3, 9, 9), example["softsign"]
    net = deconvnet.DeconvNet(example["Softsign"](), rules=rules.replace({function: rules.Activation()}))
    recording = net.record(images - 0.5)
    layer = list(recording.records())[-1]
    signal = torch.randn(1, 3, 9, 9)
    derivative = (1 + (images - 0.5).abs()).pow(-2)
    projected = net.project_signal(recording, layer, signal, rule="gradient")
    assert relative(projected, signal * derivative) < 1e-5
    assert relative(net.project_signal(recording, layer, signal), signal.clamp(min=0)) < 1e-6


def test_readme_pictures(tmp_path):
    """examples/readme_pictures.py draws the README's pictures."""
    runpy.run_path(str(ROOT / "examples" / "readme_pictures.py"))["main"](str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} <= {path.name for path in (ROOT / "docs" / "pictures").iterdir()}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_python_of_the_pages(page, tmp_path, monkeypatch):
    """Python on a page runs, block after block."""
    if page.name.startswith("upsampling"):
        pytest.importorskip("skimage", reason="scikit-image is not installed: the page's measures need it")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(block, page.name, "exec"), scope)
