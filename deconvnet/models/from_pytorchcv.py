"""The source "pytorchcv": hundreds of nets with published weights, `zfnet` and `zfnetb`, the paper's own nets, among them."""

from __future__ import annotations

import contextlib
import math
import sys
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import UnknownModelError, WeightsError, did_you_mean
from ..images import Preprocess
from ..optional import require
from .model import LoadedModel
from .seeding import seeded
from .weights import State, _first_line, hash_file, load_checked, read_state

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, std
#: Its nets for 32 pixels, SVHN's too, were trained with these (osmr/imgclsmob, pytorch/datasets/cifar10_cls_dataset.py).
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def load(name: str, weights: str) -> LoadedModel:
    """Load a pytorchcv model with its published weights, a file's, or random ones."""
    full = f"pytorchcv:{name}"
    known = require("pytorchcv.model_provider", needed_by=full, extra="pytorchcv")._models
    if name not in known:
        raise UnknownModelError(f"{full!r} is not a model of pytorchcv.{did_you_mean(name, known)}")
    store = require("pytorchcv.models.common.model_store", needed_by=full, extra="pytorchcv")
    path = _download(store, name) if weights == "DEFAULT" else weights
    model = _new(full, known[name])
    if weights != "none":
        model = _filled(full, known[name], model, path, published=weights == "DEFAULT")
    size: tuple[int, int] = model.in_size
    return LoadedModel(
        model=model.eval(),
        preprocess=_preprocess(size, _scale(store, name)),
        name=full,
        weights="random" if weights == "none" else hash_file(path),
        classes=_imagenet() if getattr(model, "num_classes", 0) == 1000 else (),
        input_size=(3, *size),
    )


def _new(full: str, function: Any, **options: Any) -> Any:
    with seeded():
        try:
            model = function(**options)
        except ImportError as error:  # nets for sound want librosa
            raise UnknownModelError(f"{full} cannot be built ({error}).") from error
    if not hasattr(model, "in_size"):
        raise UnknownModelError(f"{full} cannot be used: it does not take a picture. Choose a net that classifies pictures.")
    return model


def _filled(full: str, function: Any, model: Any, path: str, *, published: bool) -> nn.Module:
    """Load a file, into a net with as many classes as it has; published files may hold more than the net needs."""
    state, own = read_state(path), model.state_dict()
    if published:
        state = {key: value for key, value in state.items() if key in own}
    found, there = _classes_in(state, model), getattr(model, "num_classes", None)
    filled: nn.Module = model if found in (None, there) else _new(full, function, num_classes=found)
    load_checked(filled, state, path, full)
    return filled


def _classes_in(state: State, model: Any) -> int | None:
    """Return how many classes a state dict has: the size of what is the classifier's last tensor in the net."""
    count = getattr(model, "num_classes", None)
    last = [key for key, value in model.state_dict().items() if value.dim() and len(value) == count]
    return len(state[last[-1]]) if last and last[-1] in state and state[last[-1]].dim() else None


def _download(store: Any, name: str) -> str:
    """Return the path of the published weights; only their file is pytorchcv's work, for it would run the pickle."""
    if name not in store.get_model_metainfo_dict():
        raise WeightsError(f"pytorchcv has no weights for {name}. Give --weights FILE, or --weights none for random ones.")
    error_value, checksum, release = store.get_model_name_suffix_data(name)
    file = f"{name}-{error_value}-{checksum[:8]}.pth"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it prints its progress
            path: str = store.get_model_file(name)
    except Exception as error:  # whatever requests, zipfile and the disk raise
        raise WeightsError(
            f"the weights of pytorchcv:{name} could not be downloaded ({_first_line(error)}). "
            f"Unzip {store.imgclsmob_repo_url}/releases/download/{release}/{file}.zip to {str(_folder() / file)!r}, "
            "give --weights FILE, or take --model tiny, which needs no download."
        ) from error
    return path


def _folder() -> Path:
    return Path("~/.torch/models").expanduser()


def _scale(store: Any, name: str) -> float:
    """Return which part of the resized short side is seen, from pytorchcv's own list of how its nets were tested."""
    header, *rows = store.load_csv(store.get_model_metainfos_file_path())
    found = next((row[header.index("img_scale")] for row in rows if row[0] == name), "NA")
    return 0.875 if found == "NA" else float(found)


def _preprocess(size: tuple[int, int], scale: float) -> Preprocess:
    if size == (32, 32):
        return Preprocess(32, 32, *CIFAR)
    return Preprocess(math.ceil(max(size) / scale), size, *IMAGENET)


def _imagenet() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
