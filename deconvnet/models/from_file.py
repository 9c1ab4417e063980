"""The source "file": a function in a Python file of the user's, `file:path.py:function`. It runs that file.

The function is called without arguments and returns an `nn.Module`, or a pair of it and its preprocessing (a picture to
(C, H, W), such as `deconvnet.images.Preprocess`), or a
`LoadedModel`. While the file and the function run, the file's folder can
be imported from, random numbers are seeded, and what they print goes to stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import UnknownModelError, did_you_mean
from .model import LoadedModel
from .seeding import seeded
from .weights import _first_line, hash_file, load_checked, read_state


def load(name: str, weights: str) -> LoadedModel:
    """Run the file, call the function, and take its net as it is ("DEFAULT"), with a file's weights, or random ones."""
    file, _, function = name.rpartition(":")  # from the right: a path may begin with a drive, C:
    if not file or not function.isidentifier():
        raise UnknownModelError(f"{f'file:{name}'!r} names no function. Write file:PATH.py:FUNCTION, as in file:net.py:make.")
    path = Path(file).expanduser()
    if not path.is_file():
        raise UnknownModelError(f"{f'file:{name}'!r} is not a model: there is no file {file!r}. Check the path.")
    with seeded(), _at_home_in(path.parent), contextlib.redirect_stdout(sys.stderr):
        make = _find(_run(path, file), function, file)
        with _failures(f"{function}() in {file!r} failed", path):
            made = make()
        loaded = dataclasses.replace(_understood(made, function, file), name=f"file:{name}")
        loaded.model.eval()
        if weights == "none":
            loaded.weights = "random" if _randomise(loaded.model) else ""
    if weights not in ("DEFAULT", "none"):
        load_checked(loaded.model, read_state(weights), weights, loaded.name)
        loaded.weights = hash_file(weights)
    return loaded


@contextlib.contextmanager
def _at_home_in(folder: Path) -> Iterator[None]:
    """Let a folder be imported from, as Python does for a script's."""
    before = list(sys.path)
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        sys.path[:] = before


def _run(path: Path, file: str) -> ModuleType:
    """Execute a file as a module; no bytecode is left beside it."""
    module = ModuleType(f"deconvnet_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    with _failures(f"{file!r} could not be run", path):
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


@contextlib.contextmanager
def _failures(what: str, path: Path) -> Iterator[None]:
    """Turn whatever the user's code raises into one line with its place; the traceback stays as the cause."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        text = _first_line(error)
        if isinstance(error, SyntaxError):
            lines, text = [error.lineno] if error.filename == str(path) else lines, error.msg
        place = f"line {lines[-1]}: " if lines else ""
        kind = type(error).__name__
        raise UnknownModelError(f"{what} ({place}{kind if text == kind else f'{kind}: {text}'}).") from error


def _find(module: ModuleType, function: str, file: str) -> Callable[[], Any]:
    found = getattr(module, function, None)
    if callable(found) and not isinstance(found, nn.Module):
        make: Callable[[], Any] = found
        return make
    if found is not None:
        kind = type(found).__name__
        raise UnknownModelError(
            f"{function!r} in {file!r} is no function but of type {kind}. Write a function that returns a net."
        )
    own = [name for name, value in vars(module).items() if callable(value) and value.__module__ == module.__name__]
    hint = did_you_mean(function, own) or f" It has {', '.join(own) or 'no function at all'}."
    raise UnknownModelError(f"{file!r} has no function {function!r}.{hint}")


def _understood(made: Any, function: str, file: str) -> LoadedModel:
    """Take what the function returned for what it is."""
    if isinstance(made, LoadedModel):
        return made
    if isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and callable(made[1]):
        return _taken(*made, where=f"{function}() in {file!r}")
    if isinstance(made, nn.Module):
        return _taken(made, None, where=f"{function}() in {file!r}")
    inside = f" of {', '.join(type(part).__name__ for part in made)}" if isinstance(made, tuple) else ""
    raise UnknownModelError(
        f"{function}() in {file!r} returned a {type(made).__name__}{inside}. Return a net, or a net and its preprocessing."
    )


def _taken(model: nn.Module, preprocess: Any, where: str) -> LoadedModel:
    try:
        return LoadedModel.of(model, preprocess)
    except UnknownModelError as error:  # a scripted net
        raise UnknownModelError(f"{where}: {error}") from error


def _randomise(model: nn.Module) -> bool:
    """Draw the weights anew in each module that knows how; tell whether that was all of them."""
    drawn: set[int] = set()
    for part in model.modules():
        if callable(reset := getattr(part, "reset_parameters", None)):
            reset()
            drawn |= {id(parameter) for parameter in part.parameters(recurse=False)}
    return all(id(parameter) in drawn for parameter in model.parameters())
