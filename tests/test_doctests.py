"""Every `>>>` of the docstrings and of the pages runs, in a folder with the pictures, checkpoints and the scan that it names."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deconvnet
from deconvnet.drawings import draw

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGE = Path(deconvnet.__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
EXTRAS = {
    "deconvnet.explorer": "ipywidgets",
    "deconvnet.atlas": "jinja2",
    "deconvnet.studies.sanity": "skimage",
    "deconvnet.upsampling.comparison": "skimage",
}


class Checker(doctest.OutputChecker):
    """Compares what an example gives with what it shows; one that shows nothing only has to run: `save` returns paths."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def modules() -> list[str]:
    names = [module.name for module in pkgutil.walk_packages(deconvnet.__path__, "deconvnet.")]
    return ["deconvnet", *(name for name in names if not name.endswith("__main__"))]


def docstring_examples() -> list[doctest.DocTest]:
    """Return what the docstrings show, without that which a module imports from another one."""
    finder = doctest.DocTestFinder()
    return [test for name in modules() for test in finder.find(importlib.import_module(name), name) if test.examples]


def page_examples() -> list[doctest.DocTest]:
    parser = doctest.DocTestParser()
    tests = [parser.get_doctest(page.read_text(), {"deconvnet": deconvnet}, page.name, str(page), 0) for page in PAGES]
    return [test for test in tests if test.examples]


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that examples name: cat.jpg, dog.jpg, face.png, photos/, the checkpoints in runs/, and net.scan."""
    folder = tmp_path_factory.mktemp("examples")
    for number, name in enumerate(("cat.jpg", "dog.jpg", "face.png", "a.jpg", "b.jpg")):
        draw(seed=number, size=128).picture.save(folder / name)
    (folder / "photos" / "dogs").mkdir(parents=True)
    for number in range(12, 22):
        draw(seed=8 + number).picture.save(folder / "photos" / "dogs" / f"{number}.jpg", quality=95)
    shutil.copytree(ROOT / "examples" / "tiny-epochs", folder / "runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        deconvnet.scan(deconvnet.DeconvNet(deconvnet.load_model("tiny")), "photos/", "net.scan", layers=["features.10"])
    return folder


@pytest.fixture
def example_names(
    example_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: deconvnet.LoadedModel
) -> dict[str, object]:
    """What examples take for granted, in a folder of their own."""
    shutil.copytree(example_files, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    net = deconvnet.DeconvNet(tiny)
    pictures = sorted(Path("photos/dogs").iterdir())[:4]
    everything = {name: getattr(deconvnet, name) for name in deconvnet.__all__}
    modules = {"deconvnet": deconvnet, "np": np, "torch": torch, "Image": Image}
    return {**everything, **modules, "net": net, "pictures": pictures, "recording": net.record(["cat.jpg"])}


@pytest.mark.parametrize("test", docstring_examples() + page_examples(), ids=lambda test: test.name)
def test_example_says_what_it_does(test, example_names):
    """An example runs, in the order in which it is read, and gives what it says."""
    for prefix, package in EXTRAS.items():
        if test.name.startswith(prefix):
            pytest.importorskip(package, reason=f"{package} is not installed: the example needs it")
    module = sys.modules.get(test.globs.get("__name__", ""), deconvnet)
    test.globs = {module.__name__.rpartition(".")[2]: module, **example_names, **test.globs}
    report: list[str] = []
    outcome = doctest.DocTestRunner(Checker(), optionflags=FLAGS).run(test, out=report.append)
    assert not outcome.failed, "".join(report)


def test_no_example_is_missed():
    """Each `>>>` in the sources is one of those that run."""
    written = sum(path.read_text().count(">>> ") for path in PACKAGE.rglob("*.py"))
    assert written == sum(len(test.examples) for test in docstring_examples())
