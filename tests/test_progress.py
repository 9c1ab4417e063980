"""Progress bars: seen where somebody looks, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

import deconvnet
from support.scans import drawings


class Terminal(io.StringIO):
    """A stream that somebody watches."""

    def isatty(self):
        return True


#: What a Jupyter kernel has for stderr: no terminal by its own word, but what is written there is seen.
OutStream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})


@pytest.mark.parametrize(
    ("stream", "wanted", "shown"),
    [
        (Terminal, True, True),
        (OutStream, True, True),
        (io.StringIO, True, False),
        (Terminal, False, False),
        (OutStream, False, False),
    ],
)
def test_a_bar_is_shown_where_it_is_seen(tiny, tmp_path, monkeypatch, stream, wanted, shown):
    """A scan with `progress` shows one bar on a terminal and in Jupyter; without it, or into a log, it is silent."""
    drawings(tmp_path / "in", 3)
    seen = stream()
    monkeypatch.setattr(sys, "stderr", seen)
    deconvnet.scan(deconvnet.DeconvNet(tiny), tmp_path / "in", tmp_path / "a.scan", layers=["features.1"], progress=wanted)
    assert ("3/3" in seen.getvalue()) == shown
    assert bool(seen.getvalue()) == shown


def test_no_bar_without_a_console(tiny, tmp_path, monkeypatch):
    """Where a program has no stderr at all, a scan runs as ever."""
    drawings(tmp_path / "in", 2)
    monkeypatch.setattr(sys, "stderr", None)
    net = deconvnet.DeconvNet(tiny)
    scan = deconvnet.scan(net, tmp_path / "in", tmp_path / "a.scan", layers=["features.1"], progress=True)
    assert scan.progress() == (2, 2)
