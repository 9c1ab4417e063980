"""What the tests share: markers, seeds, a picture, small nets, and the shared folder of real weights and photographs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
import torch

import deconvnet
from deconvnet import cli
from deconvnet.drawings import draw

pytest.register_assert_rewrite("support")

SHARED = Path(os.environ.get("DECONVNET_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_configure() -> None:
    """Let Ctrl-C be heard: a shell's background jobs begin with it ignored, and tests send it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real weights, a browser or Ray, each told by a fixture or a file's name."""
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)
        if item.path.stem.endswith("_browser"):
            item.add_marker(pytest.mark.browser)
        if item.path.stem.startswith("test_scan_ray"):
            item.add_marker(pytest.mark.ray)


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory):
    """Keep what the tests scan out of the list of what the user has scanned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with real weights and photographs; its tests skip where it is absent."""
    if not (SHARED / "weights").is_dir():
        pytest.skip(f"no real weights and photographs at {SHARED} (set DECONVNET_SHARED)")
    return SHARED


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A drawing of a face, as a file."""
    path = tmp_path / "face.png"
    draw("face", seed=3).picture.save(path)
    return path


@pytest.fixture(scope="session")
def tiny() -> deconvnet.LoadedModel:
    return deconvnet.load_model("tiny")


@pytest.fixture(scope="module")
def net(tiny) -> deconvnet.DeconvNet:
    """The mirror of `tiny`."""
    return deconvnet.DeconvNet(tiny)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process; return (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["deconvnet", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call
