"""What a command prints: results to stdout, all else to stderr, and nothing that a terminal would obey.

What the user's own code prints - a net's forward, a preprocessing - is no result: while a command runs, it goes to stderr.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TextIO, TypeVar

import click

from ..progress import set_voice
from ..visible import visible

Function = TypeVar("Function", bound=Callable[..., Any])

REMARK = "deconvnet.remark"  # in the click context's `meta`: what is said after the results

_quiet = {"wanted": False}

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


def echo(text: object) -> None:
    """Print a result to stdout."""
    with _beside_bars():
        click.echo(visible(str(text)), file=results())


def say(text: str) -> None:
    """Print progress and remarks to stderr, unless --quiet was given: stdout is for results."""
    if not _quiet["wanted"]:
        complain(text)


def complain(text: str) -> None:
    """Print to stderr why a command fails."""
    with _beside_bars():
        click.echo(visible(text), err=True)


def be_quiet(wanted: bool, context: click.Context) -> None:
    """Let only results and failures be printed, and no bar be drawn, until the command ends."""
    _quiet["wanted"] = wanted
    set_voice(quiet=wanted, say=say)
    context.call_on_close(_speak_again)


def _speak_again() -> None:
    _quiet["wanted"] = False
    set_voice(quiet=False, say=None)


def _beside_bars() -> contextlib.AbstractContextManager[object]:
    """Take a progress bar away while a line is printed, so that both do not share one; none is there without tqdm."""
    tqdm = sys.modules.get("tqdm")
    return contextlib.nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=sys.stderr)


def results() -> TextIO:
    """Return the stream of results."""
    return _results.get() or sys.stdout


@contextlib.contextmanager
def results_apart() -> Iterator[None]:
    """Keep stdout for results: what others print in this context goes to stderr."""
    token = _results.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results.reset(token)


def with_results_apart(function: Function) -> Function:
    """Run a command's function within `results_apart`."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with results_apart():
            return function(*args, **kwargs)

    run.has_results_apart = True  # type: ignore[attr-defined]
    return run  # type: ignore[return-value]
