"""The public API, written down: a change of a name, a parameter, a default or a type must be meant.

To accept what the package has now: DECONVNET_ACCEPT=1 python -m pytest tests/test_api.py
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import importlib
import inspect
import os
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import deconvnet
from deconvnet import studies, upsampling

SNAPSHOT = Path(__file__).parent / "snapshots" / "api.txt"
MODULES = ("deconvnet", "deconvnet.errors", "deconvnet.results", "deconvnet.rules", "deconvnet.drawings")
SPECIAL = ("__call__", "__contains__", "__enter__", "__getitem__", "__iter__", "__len__", "__mul__", "__add__")


def public_modules() -> list[ModuleType]:
    """Return the modules that users import, with those that `studies` and `upsampling` name."""
    folders = [getattr(folder, name) for folder in (studies, upsampling) for name in dir(folder)]
    modules = [importlib.import_module(name) for name in MODULES]
    return [*modules, upsampling, *(value for value in folders if isinstance(value, ModuleType))]


def public_names(module: ModuleType) -> list[str]:
    """Return what a module offers: `__all__`, or else the functions and classes without an underscore that it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    return sorted(name for name, value in own.items() if not name.startswith("_") and callable(value))


@functools.cache
def public_classes() -> frozenset[type]:
    values = (getattr(module, name) for module in public_modules() for name in public_names(module))
    return frozenset(value for value in values if inspect.isclass(value))


def signature(function: Any) -> str:
    """Write a signature with its types as they stand in the source, and nothing that differs between two runs."""
    written = inspect.signature(function)
    parts, starred = [], False
    for parameter in written.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        kind = "" if parameter.annotation is parameter.empty else f": {annotation(parameter.annotation)}"
        default = "" if parameter.default is parameter.empty else f" = {default_text(parameter.default)}"
        parts.append(f"{stars}{parameter.name}{kind}{default}")
    returns = "" if written.return_annotation is written.empty else f" -> {annotation(written.return_annotation)}"
    return f"({', '.join(parts)}){returns}"


def annotation(kind: Any) -> str:
    return kind if isinstance(kind, str) else inspect.formatannotation(kind)


def default_text(value: Any) -> str:
    """Write a default as in the source; of an object, such as the table of rules, only what it is."""
    if type(value).__name__ == "_HAS_DEFAULT_FACTORY_CLASS":  # of a dataclass
        return "<factory>"
    plain = (str, int, float, bool, type(None), tuple, list, dict, frozenset)
    return repr(value) if isinstance(value, plain) else f"<{type(value).__name__}>"


def describe(name: str, value: Any) -> Iterator[str]:
    """Yield a line for a function or a constant, and for a class its line and one for each public member."""
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"class {name}({bases})"
        if issubclass(value, enum.Enum):
            yield from (f"    {member.name} = {member.value!r}" for member in value)
        if "__init__" in vars(value) and not (issubclass(value, BaseException) or getattr(value, "_is_protocol", False)):
            yield f"    __init__{signature(value.__init__)}"
        yield from members(value)
    elif inspect.isroutine(value):
        yield f"{name}{signature(value)}"
    elif isinstance(value, ModuleType):
        yield f"module {name}"
    elif typing.get_origin(value) is typing.Literal:
        yield f"{name} = Literal[{', '.join(map(repr, typing.get_args(value)))}]"
    elif typing.get_origin(value) is not None:
        yield f"{name}: a type"
    else:
        yield f"{name}: {type(value).__name__}"


def members(cls: type) -> Iterator[str]:
    """Yield a class's methods, properties and constants, without those of a base that stands in the list itself."""
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    listed = {base for public in cls.__mro__[1:] if public in public_classes() for base in public.__mro__}
    bases = [base for base in cls.__mro__[1:] if base.__module__.startswith("deconvnet") and base not in listed]
    for name in sorted({name for base in (cls, *bases) for name in vars(base)}):
        member = inspect.getattr_static(cls, name)
        if name in fields or (name.startswith("_") and name not in SPECIAL):
            continue
        if isinstance(member, (property, functools.cached_property)):
            getter = member.fget if isinstance(member, property) else member.func
            yield f"    {name}: {annotation(inspect.signature(getter).return_annotation)}  (property)"
        elif isinstance(member, (classmethod, staticmethod)):
            yield f"    {name}{signature(getattr(cls, name))}  ({type(member).__name__})"
        elif callable(member):
            yield f"    {name}{signature(member)}"
        elif not isinstance(member, enum.Enum) and not inspect.isdatadescriptor(member):
            yield f"    {name} = {default_text(member)}"


def public_api() -> str:
    lines = []
    for module in public_modules():
        lines += ["", f"# {module.__name__}"]
        for name in public_names(module):
            lines += describe(name, getattr(module, name))
    return "\n".join(lines).strip() + "\n"


def test_public_api_is_the_one_written_down():
    """Every public name, member, parameter, default and type is the one in tests/snapshots/api.txt."""
    api = public_api()
    if os.environ.get("DECONVNET_ACCEPT"):
        SNAPSHOT.parent.mkdir(exist_ok=True)
        SNAPSHOT.write_text(api)
    written = SNAPSHOT.read_text() if SNAPSHOT.is_file() else ""
    changes = difflib.unified_diff(written.splitlines(), api.splitlines(), "written down", "now", lineterm="", n=1)
    assert not [*changes], "the public API changed; if that is meant, set DECONVNET_ACCEPT=1 and commit the file"


def test_nothing_public_is_left_out():
    """What `deconvnet` names publicly is described, and a change would show."""
    api = public_api()
    for name in deconvnet.__all__:
        assert re.search(rf"^(class |module )?{name}\b", api, re.M), name
