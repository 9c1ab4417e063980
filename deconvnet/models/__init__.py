"""Models and where they come from: one string names one, `load_model` brings it with its preprocessing and classes.

A source is a row of `SOURCES`. Nothing of it is imported before it is asked for: `tiny` needs neither torchvision nor
a download.
"""

from __future__ import annotations

import importlib

from ..errors import UnknownModelError, WeightsError, did_you_mean
from .loaded import Loaded, Preprocessing

__all__ = ["SOURCES", "Loaded", "Preprocessing", "load_model"]

#: prefix -> the module that has `load(name, weights) -> Loaded`
SOURCES = {"tiny": "from_tiny", "zfnet": "from_zfnet", "torchvision": "from_torchvision"}


def load_model(name: str = "tiny", *, weights: str = "DEFAULT", device: str = "cpu") -> Loaded:
    """Load a model in eval mode, with its preprocessing.

    `name`: "tiny" (in the package, needs no download), "torchvision:NAME", or "zfnet" and "zfnet:wide" (the paper's net,
    for which weights must be given). `weights`: "DEFAULT", "none" (random, seeded), or a .safetensors or state-dict file;
    pickles are only ever read with `weights_only=True`. `device`: "cpu", "cuda", "mps", or "auto" for the best there is.

        >>> load_model("torchvision:alexnet", weights="none").name
        'torchvision:alexnet'
    """
    source, _, rest = name.partition(":")
    if source not in SOURCES:
        hint = did_you_mean(source, SOURCES) or _as_torchvision(name)
        raise UnknownModelError(f"{name!r} is not a model.{hint} Models: tiny, torchvision:NAME, zfnet, zfnet:wide.")
    if not weights:
        raise WeightsError("weights cannot be empty. Give DEFAULT, none, or a file.")
    loaded: Loaded = importlib.import_module(f".{SOURCES[source]}", __package__).load(rest, weights)
    return loaded.to(device)


def _as_torchvision(name: str) -> str:
    return f" Did you mean 'torchvision:{name}'?" if name.isidentifier() else ""
