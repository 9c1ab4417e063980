"""Defaults of options that nobody types ten times: from DECONVNET_MODEL, DECONVNET_WEIGHTS and a deconvnet.toml in the folder.

An option on the command line wins over the environment, which wins over the file. The environment is the user's own; a file may
come with a folder of somebody else's, so it chooses among options but runs nothing: no model of a Python file or module.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from ..errors import OptionError, did_you_mean
from .printing import REMARK, say

FILE = "deconvnet.toml"
VARIABLES = {"DECONVNET_MODEL": "model", "DECONVNET_WEIGHTS": "weights"}

#: What a file may set: options of the same name, in every command that has them.
KEYS = ("model", "weights", "device", "mean", "std", "size", "rule", "overlap", "lrn", "silent", "tone", "crop", "scale")

#: What belongs to a model, and is left out where another one is chosen than the one named beside it.
OF_A_MODEL = ("weights", "mean", "std", "size")

#: The sources of models that a file may name: they run none of the user's code, and fetch nothing that anybody may publish.
SAFE_SOURCES = ("tiny", "zfnet", "torchvision", "timm", "pytorchcv")

LARGEST_FILE = 2**16  # bytes

_LEVELS = "deconvnet.defaults"  # in the click context's `meta`: {option: Level}


@dataclass(frozen=True, eq=False)
class Level:
    """Where defaults come from, and what they are, each as it would be typed."""

    name: str
    values: Mapping[str, str]


def default_map(command: click.Command, context: click.Context) -> dict[str, str]:
    """Return what environment and file set for a command's options, and note for `with_defaults` which came from where.

    Raises:
        OptionError: the file cannot be read, is no TOML, or sets what cannot be set.
    """
    names = _settable(command)
    levels: dict[str, Level] = {}
    for level in (read_file(), read_environment()):
        levels.update({key: level for key in level.values if key in names})
    context.meta[_LEVELS] = levels
    return {key: level.values[key] for key, level in levels.items()}


def with_defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command's function say which defaults it took, without those of another model, and at its end a remark."""

    @functools.wraps(function)
    def run(*args: Any, **values: Any) -> Any:
        context = click.get_current_context()
        levels: dict[str, Level] = context.meta.get(_LEVELS, {})
        taken = {
            key: level for key, level in levels.items() if context.get_parameter_source(key) is ParameterSource.DEFAULT_MAP
        }
        for level in dict.fromkeys(taken.values()):
            _settle(level, [key for key in taken if taken[key] is level], values)
        result = function(*args, **values)
        if remark := context.meta.get(REMARK):
            say(remark)
        return result

    return run


def origin_of(error: click.BadParameter) -> str:
    """Return where a value came from that an option refuses; empty where it was typed."""
    if error.ctx is None or error.param is None or error.param.name is None:
        return ""
    if error.ctx.get_parameter_source(error.param.name) is not ParameterSource.DEFAULT_MAP:
        return ""
    level = error.ctx.meta.get(_LEVELS, {}).get(error.param.name)
    return level.name if level else ""


def read_environment() -> Level:
    """Return what the environment sets; a variable that is empty sets nothing."""
    return Level("environment", {key: os.environ[name] for name, key in VARIABLES.items() if os.environ.get(name)})


def read_file() -> Level:
    """Return what deconvnet.toml in the working folder sets; nothing where there is none.

    Raises:
        OptionError: it cannot be read, is no TOML, or sets what cannot be set.
    """
    if not os.path.lexists(FILE):
        return Level(FILE, {})
    if sys.version_info >= (3, 11):  # here, since a command without the file starts faster
        import tomllib
    else:
        import tomli as tomllib

    try:
        status = os.stat(FILE)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            raise OptionError(f"{FILE} in this folder is no text file of options. Rename it, or go to another folder.")
        with open(FILE, "rb") as handle:
            content = tomllib.load(handle)
    except OSError as error:
        raise OptionError(f"cannot read {FILE} in this folder: {error.strerror}. Change its permissions.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f'{FILE} in this folder is not TOML: {error}. Write lines such as model = "tiny".') from error
    return Level(FILE, {key: _typed(key, value) for key, value in content.items()})


def _typed(key: str, value: object) -> str:
    """Return a value as it would be typed on the command line."""
    if key not in KEYS:
        raise OptionError(f"{FILE} sets {key!r}, which it cannot.{did_you_mean(key, KEYS)} It may set {', '.join(KEYS)}.")
    items = value if isinstance(value, list) and value else [value]
    numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items)
    if not numbers and not isinstance(value, str):
        raise OptionError(f"{FILE} sets {key} to {value!r}: it takes a text in quotes, a number, or a list of numbers.")
    if key == "weights":
        return _weights(str(value))
    return ("x" if key == "size" else ",").join(map(str, items))


def _weights(value: str) -> str:
    """Return the path of weights; one on another machine would be asked for with the user's name and password on Windows."""
    if value.startswith(("//", "\\\\")):
        raise OptionError(f"{FILE} sets weights to {value!r}, on another machine. Copy them, or give them by --weights.")
    return os.path.expanduser(value)


def _settable(command: click.Command) -> set[str]:
    """Return the options of a command that a default is for: of a model's only where the command has one of its own.

    A command that takes its model from a scan, or takes none unless it is told to, keeps to that.
    """
    options = {option.name: option for option in command.params if option.name and not getattr(option, "multiple", False)}
    has_model = "model" in options and isinstance(options["model"].default, str)
    return {name for name in options if has_model or name not in ("model", *OF_A_MODEL)}


def _settle(level: Level, keys: list[str], values: dict[str, Any]) -> None:
    """Say which values come from a level, after leaving out what belongs to a model that was not chosen."""
    model = level.values.get("model")
    if "model" in keys and level.name == FILE:
        _check_model(str(model))
    foreign = [key for key in keys if key in OF_A_MODEL and model not in (None, values.get("model"))]
    for key in foreign:
        values[key] = "DEFAULT" if key == "weights" else None
    taken = ", ".join(f"{key} {level.values[key]}" for key in keys if key not in foreign)
    left_out = f"not {', '.join(foreign)}, of {model}" if foreign else ""
    say(f"{level.name}: {'; '.join(filter(None, (taken, left_out)))}")


def _check_model(model: str) -> None:
    if model.partition(":")[0] not in SAFE_SOURCES:
        raise OptionError(
            f"{FILE} names the model {model!r}. A file in a folder may not name what runs Python code, or what anybody may"
            " publish: name it by --model, or in the variable DECONVNET_MODEL."
        )
