"""A pass over a data set that finds, for every channel, the pictures that excite it most, and where: the paper's Figure 2.

    >>> scan = deconvnet.scan(net, "photos/", "net.scan", layers=["features.10"])
    >>> scan.top("features.10", 151)[0].path
    'dogs/17.jpg'

This package is itself the function `scan`: `deconvnet.scan(...)` and `deconvnet.scan.Scan` both work.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .result import Hit, Scan
from .run import scan

__all__ = ["Hit", "Scan", "scan"]


class _Callable(ModuleType):
    """Python binds a package's name to its module on import, over any function of that name; so the module is callable."""

    def __call__(self, *args: Any, **kwargs: Any) -> Scan:
        return scan(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
_Callable.__call__.__doc__ = scan.__doc__
