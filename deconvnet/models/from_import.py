"""The source "module": a function in a module of the user's, "module:PACKAGE.MODULE:FUNCTION". It imports that module.

What is installed can be imported, and what is in the working folder.
"""

from __future__ import annotations

import importlib
import re
from functools import partial

from ..errors import UnknownModelError
from .model import LoadedModel
from .user_function import load_from


def load(name: str, weights: str) -> LoadedModel:
    """Import the module, call the function, and load weights into the net that it returns.

    Args:
        name: "PACKAGE.MODULE:FUNCTION".
        weights: "DEFAULT" keeps the weights that the net has, "none" draws random ones, anything else is the path of a file.
    """
    module, _, function = name.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", module) or not function.isidentifier():
        raise UnknownModelError(
            f"{f'module:{name}'!r} names no function. Write module:PACKAGE.MODULE:FUNCTION, as in module:nets.small:make."
        )
    import_module = partial(importlib.import_module, module)
    return load_from(import_module, function, f"module:{name}", weights, where=module, folders=folders_of(name))


def folders_of(name: str) -> list[str]:
    """Return the folders that a module imports from, beside what is installed: the working folder."""
    return ["."]
