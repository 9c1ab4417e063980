"""The source "file": a function in a Python file of the user's, "file:PATH.py:FUNCTION". It runs that file.

While the file and the function run, modules in the working folder, beside the file, and in the package that the file belongs to
can be imported, relative imports included.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

from ..errors import UnknownModelError
from .model import LoadedModel
from .user_function import load_from
from .weights import hash_file


def load(name: str, weights: str) -> LoadedModel:
    """Run the file, call the function, and load weights into the net that it returns.

    Args:
        name: "PATH.py:FUNCTION".
        weights: "DEFAULT" keeps the weights that the net has, "none" draws random ones, anything else is the path of a file.
    """
    file, function = _split_name(name)
    path, digest = Path(file).expanduser(), code_digest(name)
    run = partial(_run_file, path, _package_of(path.absolute())[1])
    loaded = load_from(run, function, f"file:{name}", weights, where=file, folders=folders_of(name))
    loaded.code_sha256 = digest
    return loaded


def folders_of(name: str) -> list[str]:
    """Return the folders that the file in "PATH.py:FUNCTION" imports from."""
    path = Path(_split_name(name)[0]).expanduser()
    return [str(path.parent), str(_package_of(path.absolute())[0]), "."]


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


def _package_of(path: Path) -> tuple[Path, str]:
    """Return the folder that a file's package lies in, and the package's name with dots.

    Folders with an __init__.py are packages. Of a file without one, each folder between the working folder and the file is
    taken for a package, as Python does.
    """
    folder = path.parent
    names: list[str] = []
    while (folder / "__init__.py").is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    if names:
        return folder, ".".join(names)
    below = path.parent.relative_to(Path.cwd()).parts if path.parent.is_relative_to(Path.cwd()) else ()
    if below and all(name.isidentifier() for name in below):
        return Path.cwd(), ".".join(below)
    return path.parent, ""


def _run_file(path: Path, package: str) -> ModuleType:
    """Execute a file as a module of its package; no bytecode is written beside it."""
    module = ModuleType(f"deconvnet_file_{path.stem}")
    module.__file__ = str(path)
    module.__package__ = package or _package_of_neighbours(path.parent)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    if package and (path.parent / "__init__.py").is_file():
        importlib.import_module(package)
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _package_of_neighbours(folder: Path) -> str:
    """Make a package of a folder that is none, so that the file can import what is beside it by `from .blocks import Block`."""
    package = ModuleType("deconvnet_file_neighbours")
    package.__path__ = [str(folder.absolute())]
    for name in [name for name in sys.modules if name.startswith(f"{package.__name__}.")]:
        del sys.modules[name]  # of another folder
    sys.modules[package.__name__] = package
    return package.__name__
