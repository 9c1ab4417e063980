"""A pass over many pictures that finds, for every channel, those that excite it most, and where (Zeiler & Fergus 2014, Fig. 2).

    >>> scan = deconvnet.scan(net, "photos/", "net.scan", layers=["features.10"])
    >>> scan.top("features.10", 51)[0].path
    'dogs/17.jpg'

Importing this package loads no torch: reading a scan's tables needs none.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .plates import Plate
    from .result import Scan
    from .run import scan
    from .table import Hit

__all__ = ["Engine", "Hit", "Plate", "Scan", "scan"]

_HOMES = {"Engine": "engine", "Hit": "table", "Plate": "plates", "Scan": "result", "scan": "run"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
