"""A function of the user's that makes a net: found in a module, called, and what it returns made a `LoadedModel`.

The function is called without arguments. It returns a module, a pair of a module and its preprocessing (a picture to
(C, H, W), such as a `deconvnet.Preprocess`), or a `LoadedModel`. While it runs, random numbers are seeded, and printed text
goes to stderr.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

from torch import nn

from ..errors import UnknownModelError, did_you_mean
from .model import LoadedModel, Preprocessing
from .seeding import seeded
from .weights import first_line, hash_file, load_checked, read_state


def load_from(
    import_module: Callable[[], ModuleType], function: str, name: str, weights: str, *, where: str, folders: Iterable[str]
) -> LoadedModel:
    """Run a module, call a function of it, and load weights into the net that it returns.

    Args:
        import_module: runs the module.
        function: the function's name.
        name: of the model, as `load_model` takes it.
        weights: "DEFAULT" keeps the weights that the net has, "none" draws random ones, anything else is the path of a file.
        where: the module as errors call it, and
        folders: what can be imported from meanwhile; what fails there is the user's line.
    """
    folders = [os.path.abspath(folder) for folder in folders]
    with seeded(), _importable(folders), contextlib.redirect_stdout(sys.stderr):
        with _one_line_errors(f"{where!r} could not be run", folders):
            module = import_module()
        make_model = _find_function(module, function, where)
        with _one_line_errors(f"{function}() in {where!r} failed", folders):
            returned = make_model()
        loaded = dataclasses.replace(_as_loaded_model(returned, f"{function}() in {where!r}"), name=name)
        loaded.model.eval()
        if weights == "none":
            loaded.weights = "random" if _randomise(loaded.model) else ""
    if weights not in ("DEFAULT", "none"):
        load_checked(loaded.model, read_state(weights, like=loaded.model), weights, loaded.name)
        loaded.weights = hash_file(weights)
    return loaded


_imported: dict[str, ModuleType] = {}  # of the user's, by the last model: another one may have modules of the same names


@contextlib.contextmanager
def _importable(folders: list[str]) -> Iterator[None]:
    """Let modules in folders be imported, as Python does for a script's folder; those of an earlier model are forgotten."""
    for name, module in _imported.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _imported.clear()
    before, known = list(sys.path), set(sys.modules)
    sys.path[:0] = dict.fromkeys(folders)
    try:
        yield
    finally:
        sys.path[:] = before
        for name in set(sys.modules) - known:
            module = sys.modules[name]
            place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
            if _is_inside(place, folders) and "-packages" not in place:
                _imported[name] = module


@contextlib.contextmanager
def _one_line_errors(prefix: str, folders: list[str]) -> Iterator[None]:
    """Turn whatever the user's code raises into one line that names its position; the traceback stays as the cause."""
    try:
        yield
    except UnknownModelError:
        raise
    except (Exception, SystemExit) as error:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_inside(frame.filename, folders)]
        place, text = (frames[-1].filename, frames[-1].lineno) if frames else ("", None), first_line(error)
        if isinstance(error, SyntaxError):
            place, text = (error.filename or "", error.lineno), error.msg
        kind = type(error).__name__
        raise UnknownModelError(
            f"{prefix} ({_place_text(*place, prefix)}{kind if text == kind else f'{kind}: {text}'})."
        ) from error


def _place_text(file: str, line: int | None, prefix: str) -> str:
    """Return "line 8: ", with the file's name where that is another file than the one that is spoken of."""
    if line is None:
        return ""
    name = os.path.basename(file)
    return f"line {line}: " if name in prefix else f"{name}, line {line}: "


def _is_inside(file: str, folders: list[str]) -> bool:
    path = os.path.abspath(file)
    return (
        bool(file)
        and not file.startswith("<")
        and any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)
    )


def _find_function(module: ModuleType, function: str, where: str) -> Callable[[], object]:
    value = getattr(module, function, None)
    if callable(value) and not isinstance(value, nn.Module):
        make_model: Callable[[], object] = value
        return make_model
    if value is not None:
        kind = type(value).__name__
        raise UnknownModelError(
            f"{function!r} in {where!r} is of type {kind}, not a function. Write a function that returns a net."
        )
    functions = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    hint = did_you_mean(function, functions) or f" It has {', '.join(functions) or 'no function at all'}."
    raise UnknownModelError(f"{where!r} has no function {function!r}.{hint}")


def _as_loaded_model(returned: object, where: str) -> LoadedModel:
    """Wrap what the user's function returned."""
    if isinstance(returned, LoadedModel):
        return returned
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
