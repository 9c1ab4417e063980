"""Models and where they come from: one string names one, `load_model` brings it with its preprocessing and classes.

A source is a row of `SOURCES`. Nothing of it is imported before it is asked for: `tiny` needs neither torchvision nor
a download.
"""

from __future__ import annotations

import importlib
import os

from ..errors import UnknownModelError, WeightsError, did_you_mean
from .model import LoadedModel, Preprocessing

__all__ = ["SOURCES", "LoadedModel", "Preprocessing", "load_model"]

#: prefix -> the module that has `load(name, weights) -> LoadedModel`
SOURCES = {
    "tiny": "from_tiny",
    "zfnet": "from_zfnet",
    "torchvision": "from_torchvision",
    "timm": "from_timm",
    "pytorchcv": "from_pytorchcv",
    "file": "from_file",
}

#: how each is written
FORMS = "tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, zfnet, zfnet:wide, file:PATH.py:FUNCTION"


def load_model(name: str = "tiny", *, weights: str = "DEFAULT", device: str = "cpu") -> LoadedModel:
    """Load a model in eval mode, with its preprocessing.

    `name`: "tiny" (in the package, needs no download), "torchvision:NAME", "timm:NAME" and "pytorchcv:NAME" (where those
    packages are installed), "zfnet" and "zfnet:wide" (the paper's net, for which weights must be given), or
    "file:PATH.py:FUNCTION": that Python file is run, and its function called, which returns a net, a net and its
    preprocessing, or a `LoadedModel`. `weights`: "DEFAULT" (of a file's function: what it returns), "none" (random, seeded), or
    a .safetensors or state-dict file; pickles of weights are only ever read with `weights_only=True`. `device`: "cpu",
    "cuda", "mps", or "auto" for the best there is.

        >>> load_model("torchvision:alexnet", weights="none").name
        'torchvision:alexnet'
    """
    source, _, rest = name.partition(":")
    if source not in SOURCES:
        hint = did_you_mean(source, SOURCES) or _with_source(name)
        raise UnknownModelError(f"{name!r} is not a model.{hint} Models: {FORMS}.")
    if not weights:
        raise WeightsError("weights cannot be empty. Give DEFAULT, none, or a file.")
    loaded: LoadedModel = importlib.import_module(f".{SOURCES[source]}", __package__).load(rest, weights)
    loaded.weights_from = weights if weights in ("DEFAULT", "none") else os.path.abspath(weights)
    return loaded.to(device)


def _with_source(name: str) -> str:
    """Offer what somebody may mean who names no source: a file's function, or a net of torchvision."""
    if ".py:" in name:
        return f" Did you mean 'file:{name}'?"
    return f" Did you mean 'torchvision:{name}'?" if name.isidentifier() else ""
