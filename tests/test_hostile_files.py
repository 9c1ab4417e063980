"""Damaged files of strangers are opened or refused in a line: a small share of what benchmarks/hostile_files.py tries."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[1] / "benchmarks" / "hostile_files.py"


@pytest.fixture(scope="module")
def harness():
    return runpy.run_path(str(HARNESS))


@pytest.mark.parametrize(("kind", "count"), [("pictures", 240), ("weights", 90), ("safetensors", 30)])
def test_damaged_files_are_opened_or_refused(harness, kind, count):
    """Of damaged pictures, pickles and safetensors none ends in a traceback, some are refused, and some still open."""
    outcomes = list(harness["outcomes"](kind, range(count), 1))
    assert [outcome for outcome in outcomes if outcome[2] not in ("opened", "refused")] == []
    counts = Counter(outcome for _, _, outcome in outcomes)
    assert min(counts["opened"], counts["refused"]) > 0


def test_the_harness_sees_what_is_neither(harness, tmp_path):
    """An error that is not ours, and one of several lines, are told from a refusal."""
    from deconvnet.errors import PictureError

    def fail(error):
        def call(path):
            raise error

        return harness["attempt"](call, tmp_path)

    assert fail(KeyError("x")) == "KeyError: 'x'"
    assert fail(RecursionError("deep")) == "RecursionError: deep"
    assert fail(PictureError("a\nb")).startswith("an error of several lines")
    assert (fail(PictureError("a")), harness["attempt"](lambda path: None, tmp_path)) == ("refused", "opened")


def test_the_harness_watches_its_processes(harness, monkeypatch):
    """A file that its process does not finish, or that ends it, is counted as that, and the next one is tried."""

    class Child:
        def __init__(self, command, **options):
            self.start = int(command[4])
            self.stdout = iter([f'[{self.start}, "a.png", "opened"]\n'] if self.start == 0 else [])

        def kill(self):
            """Do nothing: it is over already."""

        def wait(self):
            return -9 if self.start == 2 else 1

    monkeypatch.setattr("subprocess.Popen", Child)
    assert [outcome for _, _, outcome in harness["watched"]("pictures", 3, 0)] == ["opened", "died: 1", "hang"]
