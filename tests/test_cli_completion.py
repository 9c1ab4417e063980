"""Promises about a shell's completion: it knows the layers of the line's net or scan, and runs nobody's code for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from deconvnet import cli
from deconvnet.cli import known_layers
from support.scans import drawings


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DECONVNET_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)


def offered(line: str) -> list[str]:
    """Return what a shell offers for the last word of a line."""
    *words, incomplete = line.split(" ")
    complete = ShellComplete(cli.deconvnet, {}, "deconvnet", "_DECONVNET_COMPLETE")
    return [item.value for item in complete.get_completions(words[1:], incomplete)]


def test_layers_of_the_default_net():
    """Those of tiny, the paper's names first."""
    assert offered("deconvnet project --layer conv") == [f"conv{number}" for number in range(1, 6)]
    assert offered("deconvnet project -l features.1") == ["features.1", *(f"features.{number}" for number in range(10, 15))]
    assert offered("deconvnet sanity --select classifier.5") == ["classifier.5"]


def test_layers_of_the_net_on_the_line_and_of_the_environment(monkeypatch):
    """--model decides, or what the environment says."""
    assert "features.12" in offered("deconvnet project --model torchvision:alexnet --layer features.1")
    assert "features.14" not in offered("deconvnet project --model torchvision:alexnet --layer features.1")
    monkeypatch.setenv("DECONVNET_MODEL", "torchvision:alexnet")
    assert "features.14" not in offered("deconvnet layers torchvision:alexnet --mirror features.1")


def test_layers_are_looked_up_once(monkeypatch):
    """The second time they come from a file, and no net is made."""
    first = offered("deconvnet project --layer f")
    monkeypatch.setattr(known_layers, "_read_layers", lambda model: pytest.fail("read again"))
    assert offered("deconvnet project --layer f") == first
    assert next(iter(json.loads(known_layers.list_file().read_bytes()))).startswith("tiny ")


def test_layers_of_a_scan(run, tmp_path):
    """They are read from its file, with the paper's names of those that it has."""
    drawings(tmp_path / "in", 2)
    assert run("scan", "in", "--layer", "conv1", "--out", "a.scan")[0] == 0
    assert offered("deconvnet plate a.scan --layer ") == ["conv1", "features.1"]
    assert offered("deconvnet top a.scan -l f") == ["features.1"]


@pytest.mark.parametrize(
    "line", ["--model file:net.py:make --layer ", "--model nothing --layer ", "--model timm:none --layer "]
)
def test_no_code_is_run_and_nothing_raised(line, capsys):
    """A net in a Python file is not loaded for a shell, and an error offers nothing."""
    Path("net.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    assert offered(f"deconvnet project {line}") == []
    assert not Path("ran").exists()
    assert capsys.readouterr() == ("", "")


def test_a_broken_file_of_defaults_offers_layers_still():
    """The command itself says what is wrong with it."""
    Path("deconvnet.toml").write_text("model =")
    assert offered("deconvnet project --layer conv5") == ["conv5"]
