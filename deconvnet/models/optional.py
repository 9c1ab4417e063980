"""Packages that one source alone needs: imported when it is asked for, or named with the line that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import UnknownModelError


def require(package: str, model: str) -> Any:
    """Import a package or a module of it for a model, or say in one line how it is installed; the extra is named alike."""
    extra = package.partition(".")[0]
    try:
        importlib.import_module(extra)
        return importlib.import_module(package)
    except ImportError as error:
        raise UnknownModelError(
            f'{model} needs {extra}, which cannot be imported ({error}). Install it: pip install "deconvnet[{extra}]"'
        ) from error
