"""The source "file": a function in a Python file of the user's, "file:PATH.py:FUNCTION". It runs that file.

The function is called without arguments. It returns a module, a pair of a module and its preprocessing (a picture to (C, H, W),
such as a `deconvnet.Preprocess`), or a `LoadedModel`. While the file and the function run, modules beside the file can be
imported, random numbers are seeded, and printed text goes to stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from ..errors import UnknownModelError, did_you_mean
from .model import LoadedModel, Preprocessing
from .seeding import seeded
from .weights import first_line, hash_file, load_checked, read_state


def load(name: str, weights: str) -> LoadedModel:
    """Run the file, call the function, and load weights into the net that it returns.

    Args:
        name: "PATH.py:FUNCTION".
        weights: "DEFAULT" keeps the weights that the net has, "none" draws random ones, anything else is the path of a file.
    """
    file, function = _split_name(name)
    path, digest = Path(file).expanduser(), code_digest(name)
    with seeded(), _importable(path.parent), contextlib.redirect_stdout(sys.stderr):
        make_model = _find_function(_run_file(path, file), function, file)
        with _one_line_errors(f"{function}() in {file!r} failed", path):
            returned = make_model()
        loaded = dataclasses.replace(_as_loaded_model(returned, function, file), name=f"file:{name}", code_sha256=digest)
        loaded.model.eval()
        if weights == "none":
            loaded.weights = "random" if _randomise(loaded.model) else ""
    if weights not in ("DEFAULT", "none"):
        load_checked(loaded.model, read_state(weights, like=loaded.model), weights, loaded.name)
        loaded.weights = hash_file(weights)
    return loaded


def code_digest(name: str) -> str:
    """Return the SHA-256 of the file in "PATH.py:FUNCTION", in hexadecimal digits; nothing is run."""
    path = Path(_split_name(name)[0]).expanduser()
    return hash_file(path).removeprefix("sha256:")


def _split_name(name: str) -> tuple[str, str]:
    """Return the file and the function in "PATH.py:FUNCTION"; refuse a file that is not there."""
    file, _, function = name.rpartition(":")  # from the right: a path may begin with a drive, C:
    if not file or not function.isidentifier():
        raise UnknownModelError(f"{f'file:{name}'!r} names no function. Write file:PATH.py:FUNCTION, as in file:net.py:make.")
    if not Path(file).expanduser().is_file():
        raise UnknownModelError(f"{f'file:{name}'!r} is not a model: there is no file {file!r}. Check the path.")
    return file, function


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules in a folder be imported, as Python does for the folder of a script."""
    before = list(sys.path)
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        sys.path[:] = before


def _run_file(path: Path, file: str) -> ModuleType:
    """Execute a file as a module; no bytecode is written beside it."""
    module = ModuleType(f"deconvnet_file_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    with _one_line_errors(f"{file!r} could not be run", path):
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


@contextlib.contextmanager
def _one_line_errors(prefix: str, path: Path) -> Iterator[None]:
    """Turn whatever the user's code raises into one line that names its position; the traceback stays as the cause."""
    try:
        yield
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        text = first_line(error)
        if isinstance(error, SyntaxError):
            lines, text = [error.lineno] if error.filename == str(path) else lines, error.msg
        position = f"line {lines[-1]}: " if lines else ""
        kind = type(error).__name__
        raise UnknownModelError(f"{prefix} ({position}{kind if text == kind else f'{kind}: {text}'}).") from error


def _find_function(module: ModuleType, function: str, file: str) -> Callable[[], object]:
    value = getattr(module, function, None)
    if callable(value) and not isinstance(value, nn.Module):
        make_model: Callable[[], object] = value
        return make_model
    if value is not None:
        kind = type(value).__name__
        raise UnknownModelError(
            f"{function!r} in {file!r} is of type {kind}, not a function. Write a function that returns a net."
        )
    functions = [name for name, value in vars(module).items() if callable(value) and value.__module__ == module.__name__]
    hint = did_you_mean(function, functions) or f" It has {', '.join(functions) or 'no function at all'}."
    raise UnknownModelError(f"{file!r} has no function {function!r}.{hint}")


def _as_loaded_model(returned: object, function: str, file: str) -> LoadedModel:
    """Wrap what the user's function returned."""
    if isinstance(returned, LoadedModel):
        return returned
    where = f"{function}() in {file!r}"
    if isinstance(returned, nn.Module):
        return _wrap(returned, None, where)
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], nn.Module) and callable(returned[1]):
        return _wrap(*returned, where=where)
    types = f" of {', '.join(type(item).__name__ for item in returned)}" if isinstance(returned, tuple) else ""
    raise UnknownModelError(
        f"{where} returned an object of type {type(returned).__name__}{types}. Return a net, or a net and its preprocessing."
    )


def _wrap(model: nn.Module, preprocess: Preprocessing | None, where: str) -> LoadedModel:
    try:
        return LoadedModel.from_module(model, preprocess)
    except UnknownModelError as error:  # a scripted net
        raise UnknownModelError(f"{where}: {error}") from error


def _randomise(model: nn.Module) -> bool:
    """Draw new weights in each module that can; return whether those were all of the model's weights."""
    randomised: set[int] = set()
    for module in model.modules():
        if callable(reset := getattr(module, "reset_parameters", None)):
            reset()
            randomised |= {id(parameter) for parameter in module.parameters(recurse=False)}
    return all(id(parameter) in randomised for parameter in model.parameters())
