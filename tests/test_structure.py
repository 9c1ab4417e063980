"""Promises about the project itself: the direction of imports, the README, what the package names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deconvnet
from deconvnet.cli import COMMANDS
from support.imports import circles, imports, modules

ROOT = Path(__file__).parents[1]
PACKAGE = Path(deconvnet.__file__).parent
MODULES = modules(PACKAGE)

#: Each file or folder imports from those above it only, inside functions and for types, too.
ORDER = [
    "errors",
    "choices",
    "units",
    "paper_names",
    "version",
    "progress",
    "memory",
    "optional",
    "json_text",
    "file_kinds",
    "visible",
    "user_code",
    "provenance",
    "images",
    "crops",
    "render",
    "results",
    "sheet_kinds",
    "sheets",
    "drawings",
    "samples",
    "receptive_field",
    "axes",
    "batch_axis",
    "rules",
    "views",
    "tf32",
    "graphs",
    "tape",
    "model_state",
    "detection",
    "forward",
    "fingerprint",
    "recording",
    "fuse",
    "mirror",
    "windowed",
    "reach",
    "layers",
    "layer_table",
    "select",
    "projection",
    "own",
    "models",
    "named_channels",
    "inputs",
    "net",
    "display",
    "scanning",
    "studies",
    "training",
    "upsampling",
    "explorer",
    "atlas",
    "__init__",
    "cli",
    "__main__",
]


def part_of(module: str) -> str:
    """Return the file or folder below `deconvnet/` that a module belongs to."""
    return [*module.split("."), "__init__"][1]


def imports_of(module: str, source: str | None = None) -> set[str]:
    return imports(MODULES[module].read_text() if source is None else source, module, MODULES)


def upward(module: str, source: str | None = None) -> set[str]:
    """Return a module's imports from below it, as "importer -> imported"."""
    here = ORDER.index(part_of(module))
    return {f"{module} -> {other}" for other in imports_of(module, source) if ORDER.index(part_of(other)) > here}


def circles_within(part: str) -> list[set[str]]:
    graph = {module: imports_of(module) for module in MODULES if part_of(module) == part}
    return circles({module: others & graph.keys() for module, others in graph.items()})


@pytest.mark.parametrize("module", [module for module in MODULES if module != "deconvnet"])
def test_imports_go_up_the_list(module):
    """No file imports from one that stands below it, neither at its top nor in a function nor for types."""
    assert upward(module) == set()


@pytest.mark.parametrize("part", sorted({part_of(module) for module in MODULES} - {"__init__"}))
def test_no_circles(part):
    """The modules of a folder do not import each other in a circle."""
    assert circles_within(part) == []


def test_commands_do_not_share_by_importing_each_other():
    """A command imports no other command: what two of them need has a file of its own."""
    files = {f"deconvnet.cli.{command}" for command in COMMANDS}
    assert {f"{file} -> {other}" for file in files for other in imports_of(file) & files} == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from ..net import DeconvNet",
        "from .. import net",
        "from .. import DeconvNet",
        "import deconvnet",
        "import deconvnet.net",
        "from deconvnet.net import DeconvNet",
        "from deconvnet import net",
        "importlib.import_module('deconvnet.net')",
        "importlib.import_module('..net', __package__)",
    ],
)
@pytest.mark.parametrize("place", ["def planted():\n    {}", "if TYPE_CHECKING:\n    {}", "{}"])
def test_a_planted_arrow_is_seen(planted, place):
    """An import from below is seen wherever it stands in a file, and however it is written."""
    module = "deconvnet.render.tone"
    source = MODULES[module].read_text()
    assert upward(module, source) == set()
    target = "deconvnet.net" if "net" in planted.replace("deconvnet", "") else "deconvnet"
    assert upward(module, f"{source}\n{place.format(planted)}\n") == {f"{module} -> {target}"}


def test_a_planted_circle_is_seen():
    """A circle is seen, a chain is not one."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]


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
    assert re.search(r'^dynamic = \[.*"version"', (ROOT / "pyproject.toml").read_text(), re.M)
