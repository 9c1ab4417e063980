"""Promises about long work: bars count whole steps, and where none can be seen a line says what is done and how long it takes."""

from __future__ import annotations

import io
import re
import sys

import pytest

from deconvnet import progress
from deconvnet.cli import printing
from deconvnet.progress import counted, counting, duration_text


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to; time.monotonic tells its time."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def said():
    """The lines that are said while nothing is seen of a bar."""
    lines: list[str] = []
    progress.set_voice(quiet=False, say=lines.append)
    yield lines
    progress.set_voice(quiet=False, say=None)


def work(clock, steps, seconds, **options):
    with counting(steps, "covering", "unit", **options) as counter:
        for _ in range(steps):
            clock[0] += seconds
            counter.update()


def test_a_log_gets_one_line_with_an_estimate(clock, said):
    """After the first steps, by their time; one that is long is announced when it is over."""
    work(clock, 1200, 0.5)
    assert said == ["covering: 1,200 units, about 10 min."]
    said.clear()
    with counting(10, "covering", "unit") as counter:
        clock[0] += 30
        counter.update()
        assert said == ["covering: 10 units, about 5 min."]


def test_what_warms_up_is_no_measure(clock, said):
    """The first of many short steps may take a hundred times as long as the others."""
    with counting(1200, "training", "step") as counter:
        clock[0] += 3
        counter.update()
        clock[0] += 0.05
        counter.update()
    assert said == ["training: 1,200 steps, about 63 s."]


def test_short_work_is_silent(clock, said):
    """Under five seconds nobody waits; and work of one step is over when its time is known."""
    work(clock, 9, 0.5)
    work(clock, 1, 60)
    assert said == []


def test_what_nobody_asked_to_see_is_silent(clock, said):
    """A caller that wants no progress gets none."""
    work(clock, 100, 1, wanted=False)
    assert said == []
    work(clock, 100, 1, wanted=True)
    assert said == ["covering: 100 units, about 2 min."]


def test_quiet_work_is_silent(clock, said, monkeypatch):
    """Neither a line nor a bar."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    progress.set_voice(quiet=True, say=said.append)
    work(clock, 100, 1, delay=0)
    assert (said, stderr.getvalue()) == ([], "")


def test_a_terminal_gets_a_bar_of_whole_steps(clock, said, monkeypatch):
    """Parts of steps add up: the bar never shows a fraction, and ends at the total."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with counting(12, "drawing", "channel", delay=0, mininterval=0) as counter:
        for _ in range(36):
            clock[0] += 1
            counter.update(1 / 3)
        assert counter.bar.n == 12
    assert said == []
    assert "drawing" in stderr.getvalue()
    assert "." not in stderr.getvalue().split("channel")[0].split("|")[-1]


def test_steps_that_were_done_before_do_not_count_for_the_estimate(clock, said):
    """A scan that goes on estimates what is left."""
    with counting(1000, "scanning", "picture", initial=900) as counter:
        for _ in range(2):
            clock[0] += 1
            counter.update()
    assert said == ["scanning: 100 pictures, about 2 min."]


def test_items_are_counted_as_they_are_used(clock, said):
    """The items come through as they are."""
    assert list(counted(iter("abc"), 3, "reading", "letter")) == ["a", "b", "c"]


def test_times_are_said_as_people_say_them():
    """Seconds, minutes, hours."""
    assert [duration_text(seconds) for seconds in (4.6, 89, 90, 5399, 5400, 86400)] == [
        "5 s", "89 s", "2 min", "90 min", "1.5 h", "24.0 h",
    ]  # fmt: skip


def test_lines_and_bars_do_not_share_a_line(monkeypatch, capsys):
    """A bar is taken away while a line is printed beside it, and drawn again below."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    with counting(3, "drawing", "channel", delay=0, mininterval=0) as counter:
        counter.update()
        before = stderr.getvalue()
        printing.complain("a line")
        after = stderr.getvalue()[len(before) :]
    cleared, _, redrawn = after.partition("a line\n")
    assert cleared.strip("\r\n").strip() == ""
    assert cleared.endswith("\r")
    assert "drawing" in redrawn


@pytest.mark.parametrize(
    "arguments",
    [("correspond", "--count", 2, "--trials", 2), ("ablate", "--signals", 2)],
)
def test_studies_say_what_takes_long(run, tmp_path, monkeypatch, arguments):
    """The command says it on stderr, once for each part of the work; here everything counts as long."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "WORTH_A_LINE", 0)
    code, _, err = run(*arguments)
    assert code == 0
    assert re.search(r"^[a-z ]+: \d+ \w+s, about \d+ s\.$", err, re.M)
    assert run(*arguments, "--quiet")[2] == ""
