"""Progress bars are shown on a terminal and in Jupyter, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

import deconvnet
from support.scans import drawings


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


#: Like stderr in a Jupyter kernel: it says that it is no terminal, but shows what is written to it.
OutStream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})


@pytest.mark.parametrize(
    ("stream", "progress", "visible"),
    [
        (Terminal, True, True),
        (OutStream, True, True),
        (io.StringIO, True, False),
        (Terminal, False, False),
        (OutStream, False, False),
    ],
)
def test_a_bar_is_shown_on_terminals_and_in_jupyter(tiny, tmp_path, monkeypatch, stream, progress, visible):
    """A scan with `progress` shows one bar on a terminal and in Jupyter; without it, or into a log, it is silent."""
    drawings(tmp_path / "in", 3)
    stderr = stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    deconvnet.scan(deconvnet.DeconvNet(tiny), tmp_path / "in", tmp_path / "a.scan", layers=["features.1"], progress=progress)
    assert ("3/3" in stderr.getvalue()) == visible
    assert bool(stderr.getvalue()) == visible


def test_no_bar_without_a_console(tiny, tmp_path, monkeypatch):
    """Where a program has no stderr at all, a scan runs as usual."""
    drawings(tmp_path / "in", 2)
    monkeypatch.setattr(sys, "stderr", None)
    net = deconvnet.DeconvNet(tiny)
    scan = deconvnet.scan(net, tmp_path / "in", tmp_path / "a.scan", layers=["features.1"], progress=True)
    assert scan.progress() == (2, 2)
