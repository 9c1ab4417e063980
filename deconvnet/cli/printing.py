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

from ..visible import visible

Function = TypeVar("Function", bound=Callable[..., Any])

_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


def echo(text: object) -> None:
    """Print a result to stdout."""
    click.echo(visible(str(text)), file=results())


def say(text: str) -> None:
    """Print progress and remarks to stderr: stdout is for results."""
    click.echo(visible(text), err=True)


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
