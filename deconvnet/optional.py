"""Optional packages: the one place that imports them, and that says how to install what is missing."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingPackageError


def require(package: str, *, needed_by: str, extra: str) -> Any:
    """Import an optional package, or a module of one.

    Args:
        package: its import name, such as "timm" or "pytorchcv.model_provider".
        needed_by: what needs it, as the subject of a sentence: "the explorer", "timm:resnet18".
        extra: the extra of this project that installs it.

    Returns:
        The imported module.

    Raises:
        MissingPackageError: it cannot be imported. The message says how to install it.
    """
    name = package.partition(".")[0]
    try:
        importlib.import_module(name)
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f'{needed_by} needs {name}, which cannot be imported ({error}). In a checkout: pip install -e ".[{extra}]"'
        ) from error
