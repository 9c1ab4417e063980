"""Promises about the project itself: the direction of imports, the README, what the package names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import deconvnet

ROOT = Path(__file__).parents[1]

#: Each file or folder imports from those above it only.
ORDER = [
    "version",
    "errors",
    "choices",
    "units",
    "memory",
    "progress",
    "optional",
    "provenance",
    "crops",
    "images",
    "drawings",
    "render",
    "results",
    "sheets",
    "receptive_field",
    "tape",
    "rules",
    "fuse",
    "recording",
    "mirror",
    "windowed",
    "projection",
    "models",
    "inputs",
    "net",
    "scanning",
    "studies",
    "upsampling",
    "explorer",
    "atlas",
    "cli",
    "__main__",
]


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "deconvnet").parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the parts of the package that a file imports at its top, relative imports only; types do not count."""
    parts = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            here = path.relative_to(ROOT / "deconvnet").with_suffix("").parts
            base = here[: len(here) - node.level]
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            parts |= {base[0]} if base else set(names)
    return parts


@pytest.mark.parametrize("path", sorted((ROOT / "deconvnet").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_up_the_list(path):
    """No file imports from one that stands below it in the architecture."""
    own = part_of(path)
    if own == "__init__":
        return
    for other in imported(path) - {own}:
        assert ORDER.index(other) < ORDER.index(own), f"{path.name} imports {other}"


def test_public_names_exist():
    """Every name in __all__ can be had, and dir() lists them."""
    for name in deconvnet.__all__:
        assert getattr(deconvnet, name) is not None
    assert set(deconvnet.__all__) <= set(dir(deconvnet))
    with pytest.raises(AttributeError, match="no attribute 'Deconvnet'"):
        _ = deconvnet.Deconvnet


def shell_lines() -> list[str]:
    """Return the lines of the README's first shell block."""
    return re.search(r"```(?:sh|bash|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1].strip().splitlines()


def test_readme_starts_with_the_two_commands():
    """The first shell block opens with the line that runs the main job and the line that passes the tests."""
    run, test = shell_lines()[:2]
    assert run.endswith("deconvnet project")
    assert "pytest" in test


def test_readme_python_runs(tmp_path, monkeypatch):
    """The README's Python works as it stands."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    from deconvnet.drawings import draw

    draw("face", seed=1).picture.save("face.png")
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    assert list(tmp_path.glob("*.png"))


def test_version_stands_in_one_place():
    """pyproject.toml, the package and the changelog agree."""
    assert f"[{deconvnet.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
