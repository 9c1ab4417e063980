"""The user's own code - a net's forward, a preprocessing - and what is said where it fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DeconvnetError, ModelError

#: Code of others that the user's code goes through: a failure is the user's line that led there.
_LIBRARIES = (
    str(Path(__file__).parent),
    *(os.path.join(path, "") for path in sys.path if "-packages" in path),
    os.path.dirname(os.__file__),  # Python's own modules
)


@contextmanager
def failing_in_a_line(what: str, hint: str = "") -> Iterator[None]:
    """Turn whatever the user's code raises into a `ModelError` of one line, which names the user's file and line.

    The error is also of the type that was raised, so that code which catches that type still does.

    Args:
        what: whose code runs: "the forward pass of Net".
        hint: a sentence for errors that come from an unexpected input.
    """
    try:
        yield
    except DeconvnetError:
        raise
    except Exception as error:
        place, kind = _user_line(error), type(error).__name__
        text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        advice = f" {hint}" if hint and isinstance(error, (IndexError, TypeError, AttributeError)) else ""
        raise _of_both_types(f"{what} failed{place} ({f'{kind}: {text}' if text else kind}).{advice}", error) from error


def _user_line(error: Exception) -> str:
    """Return " in net.py, line 8": the innermost line of the traceback that is no library's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    users = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    if not users:
        return ""
    name, here = users[-1].filename, os.path.join(os.getcwd(), "")
    return f" in {name.removeprefix(here)}, line {users[-1].lineno}"


def _of_both_types(text: str, error: Exception) -> ModelError:
    """Return a `ModelError` that is also of another error's type, where Python can make one."""
    try:
        both: type[ModelError] = type("ModelError", (ModelError, type(error)), {"__module__": ModelError.__module__})
        return both(text)
    except TypeError:  # a type with other arguments, or with fields of its own
        return ModelError(text)
