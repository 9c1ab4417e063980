"""Progress: bars on a terminal and in Jupyter, and elsewhere a line with an estimate, so that nothing works long in silence.

A bar that a caller asked for (`is_hidden(True)`) is shown on terminals and in Jupyter. Those that come by themselves where work
takes long keep to terminals only: in a notebook they would stay among the outputs that are saved.

The command may be quiet, and where no bar can be seen, in a log or a pipe, it says once what is being done and about how long
that will take, by the time of the first steps.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

PROGRESS_DELAY = 2  # seconds before a bar is shown
MEASURED = 1  # seconds after which short steps give an estimate
WORTH_A_LINE = 5  # seconds of work that a line announces where no bar is seen


@dataclass
class _Voice:
    """What the command that runs has asked for."""

    quiet: bool = False
    say: Callable[[str], object] | None = None  # prints a line where no bar is seen


_voice = _Voice()


def set_voice(*, quiet: bool, say: Callable[[str], object] | None) -> None:
    """Let bars be hidden, and say what is done through a function; the command calls it, a program need not."""
    _voice.quiet, _voice.say = quiet, say


def is_hidden(wanted: bool) -> bool:
    """Return what tqdm is given as `disable`. Jupyter's stderr says that it is no terminal, but is seen."""
    if not wanted or _voice.quiet or sys.stderr is None:  # as in a program without a console
        return True
    return not (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel."))


def is_no_terminal() -> bool:
    """Return what tqdm is given as `disable` for a bar that comes by itself."""
    return _voice.quiet or sys.stderr is None or not sys.stderr.isatty()


@dataclass
class Counter:
    """Counts the steps of some work, on a bar or by one line."""

    total: int
    what: str
    unit: str
    bar: Any
    announced: bool = False
    first: tuple[float, float] | None = None  # what was done after the first step, and in how many seconds
    started: float = field(default_factory=lambda: time.monotonic())
    done: float = 0.0

    def update(self, steps: float = 1) -> None:
        """Count further steps, of which there may be parts; the bar shows whole ones."""
        before, self.done = self.done, self.done + steps
        self.bar.update(_whole(self.done) - _whole(before))
        if not self.announced and self.done:
            self._announce(time.monotonic() - self.started)

    def _announce(self, elapsed: float) -> None:
        """Say once what is done where it takes long; the first step, which warms up, counts only where it is long itself."""
        if self.first is None:
            self.first = (self.done, elapsed)
            seconds = elapsed / self.done
            soon = elapsed < WORTH_A_LINE
        else:
            seconds = (elapsed - self.first[1]) / (self.done - self.first[0])
            soon = elapsed < MEASURED
        if not soon:
            self.announced = True
            _say(self, elapsed, seconds)


def _whole(steps: float) -> int:
    return int(steps + 1e-6)  # what adds up to a whole step may lack a rounding error


def _say(counter: Counter, elapsed: float, seconds: float) -> None:
    """Say what is being done where it takes long; `seconds` is the time of a step."""
    left = seconds * (counter.total - counter.done)
    expected = elapsed + left
    if _voice.say is not None and not _voice.quiet and left > 0 and expected >= WORTH_A_LINE:
        units = counter.unit if counter.total == 1 else f"{counter.unit}s"
        _voice.say(f"{counter.what}: {counter.total:,} {units}, about {duration_text(expected)}.")


@contextmanager
def counting(
    total: int,
    what: str,
    unit: str,
    *,
    wanted: bool | None = None,
    initial: int = 0,
    delay: float = PROGRESS_DELAY,
    **options: Any,
) -> Iterator[Counter]:
    """Count steps of work that may take long.

    Args:
        total: how many steps there are.
        what: what is done, such as "making weights random".
        unit: one of the steps, in the singular.
        wanted: whether the caller asked for progress, which is then shown in Jupyter, too; None: it comes by itself.
        initial: how many are done already.
        delay: seconds before the bar is shown.
        options: of tqdm.
    """
    from tqdm import tqdm

    disable = is_no_terminal() if wanted is None else is_hidden(wanted)
    options = {"desc": what, "unit": unit, "leave": False, "delay": delay, **options}
    with tqdm(total=total, initial=initial, disable=disable, **options) as bar:
        yield Counter(total - initial, what, unit, bar, announced=not disable or wanted is False)


def counted(items: Iterable[T], total: int, what: str, unit: str) -> Iterator[T]:
    """Yield items and count each when the next one is asked for; the arguments are those of `counting`."""
    with counting(total, what, unit) as counter:
        for item in items:
            yield item
            counter.update()


def duration_text(seconds: float) -> str:
    """Write a time as people say it.

    >>> duration_text(41), duration_text(100), duration_text(9000)
    ('41 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
