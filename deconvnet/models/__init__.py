"""Models and where they come from: a name such as "torchvision:alexnet" stands for a net, its preprocessing and its classes.

Each source is a module of this package that is imported when it is first used: `tiny` needs neither torchvision nor a download.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import TypeAlias

from ..errors import UnknownModelError, WeightsError, did_you_mean
from .model import LoadedModel, Preprocessing

__all__ = ["RUN_CODE", "SOURCES", "LoadedModel", "Preprocessing", "load_model"]

#: "DEFAULT", None (random), or the path of a file; "none" is how a command writes None.
Weights: TypeAlias = "str | os.PathLike[str] | None"

#: The part of a name before the colon -> the module that has `load(name, weights) -> LoadedModel`.
SOURCES = {
    "tiny": "from_tiny",
    "zfnet": "from_zfnet",
    "torchvision": "from_torchvision",
    "timm": "from_timm",
    "pytorchcv": "from_pytorchcv",
    "hf": "from_hf",
    "module": "from_import",
    "file": "from_file",
}

#: The sources that run code of the user's: a model's name that a stranger's file holds must not be loaded by them unasked.
RUN_CODE = ("module", "file")

#: How the names of each source are written.
FORMS = (
    "tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION,"
    " file:PATH.py:FUNCTION"
)


def load_model(name: str = "tiny", *, weights: Weights = "DEFAULT", device: str = "auto") -> LoadedModel:
    """Load a model in eval mode, with its preprocessing and its classes.

    Args:
        name: one of

            - "tiny": a small net that is part of this package;
            - "torchvision:NAME", "timm:NAME", "pytorchcv:NAME": a net of that package;
            - "hf:NAME" or "hf:FOLDER": a vision model of Hugging Face's Transformers, from the hub, its cache or a folder;
            - "zfnet", "zfnet:wide": the net of Zeiler & Fergus 2014, whose weights must be given;
            - "file:PATH.py:FUNCTION": that Python file is run and the function called. It returns a net, a net and its
              preprocessing, or a `LoadedModel`. Its package and the working folder can be imported;
            - "module:PACKAGE.MODULE:FUNCTION": the same for a module, in the working folder or installed.
        weights: "DEFAULT" for the published weights (of a function in a file: those that it returns), None or "none" for random
            weights, the same each time, or the path of a .safetensors or state-dict file, of an index of shards, or of a
            folder with a net's weights. Nothing in a pickle is run.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU if there is one.

    Raises:
        UnknownModelError: there is no such model, or the file does not give one.
        WeightsError: the weights are missing, unsafe to read, or made for another net.
        MissingPackageError: the package that has the model is not installed.
        OptionError: the device is unknown or not available.

        >>> load_model("torchvision:alexnet", weights=None).name
        'torchvision:alexnet'
    """
    source, _, rest = name.partition(":")
    if source not in SOURCES:
        hint = _hint_at_source(name) or _hint_at_typo(source, rest)
        raise UnknownModelError(f"{name!r} is not a model.{hint} Models: {FORMS}.")
    weights = "none" if weights is None else os.fspath(weights)
    if not weights:
        raise WeightsError("weights cannot be empty. Give DEFAULT, none, or a file.")
    loaded: LoadedModel = importlib.import_module(f".{SOURCES[source]}", __package__).load(rest, weights)
    loaded.weights_from = weights if weights in ("DEFAULT", "none") else os.path.abspath(weights)
    return loaded.to(device)


def code_folders(name: str) -> list[str]:
    """Return the folders that a model's own code imports from; none where it runs no code of the user's."""
    source, _, rest = name.partition(":")
    if source not in RUN_CODE:
        return []
    folders: list[str] = importlib.import_module(f".{SOURCES[source]}", __package__).folders_of(rest)
    return [os.path.abspath(folder) for folder in folders]


def _hint_at_typo(source: str, rest: str) -> str:
    """Offer sources of nearly this name, with the rest of what was typed; tiny has none."""
    hint = did_you_mean(source, SOURCES)
    return re.sub(r"'(?!tiny')(\w+)'", lambda close: repr(f"{close[1]}:{rest}"), hint) if rest else hint


def _hint_at_source(name: str) -> str:
    """Guess what was meant by a name without a source: a function in a file, or a net of torchvision."""
    source, mark, rest = re.sub("/", ":", name, count=1).partition(":")
    if ".py:" in name:
        return f" Did you mean 'file:{name}'?"
    if name.endswith(".py"):
        return f" Did you mean 'file:{name}:FUNCTION'?"
    if mark and source.lower() in SOURCES:
        return f" Did you mean '{source.lower()}:{rest}'?"
    if re.fullmatch(r"[\w.]+\.\w+:\w+", name):
        return f" Did you mean 'module:{name}'?"
    if not name.isidentifier():
        return ""
    import torchvision  # takes a second, which only a mistake has to wait

    known = torchvision.models.list_models(module=torchvision.models)
    names = [name.lower()] if name.lower() in known else known
    return did_you_mean(name.lower(), names, prefix="torchvision:")
