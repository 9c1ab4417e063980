"""See what a convolutional network sees: Zeiler & Fergus's deconvnet, for any CNN.

    >>> import deconvnet
    >>> net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    >>> recording = net.record(["cat.jpg"])
    >>> net.project(recording, "features.10").save("grid.png")

Importing this package loads no torch: the names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import *  # noqa: F403  # all of them: errors is a list of classes
from .units import Unit, Window
from .version import __version__

if TYPE_CHECKING:
    from . import drawings, rules, studies, upsampling
    from .atlas import write_atlas
    from .display import show
    from .explorer import explore
    from .images import Preprocess
    from .layer_table import Layer, Layers
    from .mirror import Mirror
    from .models import LoadedModel, load_model
    from .net import DeconvNet
    from .projection import Projection
    from .recording import Recording
    from .scanning import Engine, Hit, Plate, Scan, scan
    from .sheets import save_sheet
    from .training import FeatureMonitor, lightning_callback

__all__ = [
    "DeconvNet",
    "Engine",
    "FeatureMonitor",
    "Hit",
    "Layer",
    "Layers",
    "LoadedModel",
    "Mirror",
    "Plate",
    "Preprocess",
    "Projection",
    "Recording",
    "Scan",
    "Unit",
    "Window",
    "__version__",
    "drawings",
    "explore",
    "lightning_callback",
    "load_model",
    "rules",
    "save_sheet",
    "scan",
    "show",
    "studies",
    "upsampling",
    "write_atlas",
    *errors.__all__,
]

_HOMES = {
    "DeconvNet": "net",
    "Engine": "scanning",
    "FeatureMonitor": "training",
    "Hit": "scanning",
    "Layer": "layer_table",
    "Layers": "layer_table",
    "LoadedModel": "models",
    "Mirror": "mirror",
    "Plate": "scanning",
    "Preprocess": "images",
    "Projection": "projection",
    "Recording": "recording",
    "Scan": "scanning",
    "explore": "explorer",
    "lightning_callback": "training",
    "load_model": "models",
    "save_sheet": "sheets",
    "scan": "scanning",
    "show": "display",
    "write_atlas": "atlas",
}

#: Packages that are attributes of this one, without an import of their own.
_PACKAGES = ("drawings", "models", "render", "rules", "studies", "upsampling")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module 'deconvnet' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
