"""The source "pytorchcv": hundreds of nets with published weights, `zfnet` and `zfnetb`, the paper's own nets, among them."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from torch import nn

from ..errors import UnknownModelError, WeightsError, did_you_mean
from ..images import Preprocess
from ..optional import require
from .model import IMAGENET_MEAN, IMAGENET_STD, LoadedModel
from .seeding import seeded
from .weights import StateDict, count_classes, first_line, hash_file, load_checked, read_state

#: Mean and std with which its nets for 32 pixels, SVHN's too, were trained (osmr/imgclsmob,
#: pytorch/datasets/cifar10_cls_dataset.py).
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def load(name: str, weights: str) -> LoadedModel:
    """Load a model of pytorchcv.

    Args:
        name: the net, "zfnet".
        weights: "DEFAULT" for the published weights, "none" for random ones, or the path of a file.
    """
    full = f"pytorchcv:{name}"
    known = require("pytorchcv.model_provider", needed_by=full, extra="pytorchcv")._models
    if name not in known:
        raise UnknownModelError(f"{full!r} is not a model of pytorchcv.{did_you_mean(name, known, prefix='pytorchcv:')}")
    store = require("pytorchcv.models.common.model_store", needed_by=full, extra="pytorchcv")
    path = _download(store, name) if weights == "DEFAULT" else weights
    model = _build(full, known[name])
    if weights != "none":
        model = _load_weights(full, known[name], model, path, published=weights == "DEFAULT")
    size: tuple[int, int] = model.in_size  # type: ignore[assignment]
    return LoadedModel(
        model=model.eval(),
        preprocess=_preprocess(size, _scale(store, name)),
        name=full,
        weights="random" if weights == "none" else hash_file(path),
        classes=_imagenet_classes() if getattr(model, "num_classes", 0) == 1000 else (),
        input_size=(3, *size),
    )


def _build(full: str, function: Callable[..., nn.Module], **options: int) -> nn.Module:
    with seeded():
        try:
            model = function(**options)
        except ImportError as error:  # nets for sound want librosa
            raise UnknownModelError(f"{full} cannot be built ({error}).") from error
    if not hasattr(model, "in_size"):
        raise UnknownModelError(f"{full} cannot be used: it does not take a picture. Choose a net that classifies pictures.")
    return model


def _load_weights(full: str, function: Callable[..., nn.Module], model: nn.Module, path: str, *, published: bool) -> nn.Module:
    """Load a file into a net with as many classes as the file has; published files may hold more than the net needs."""
    state, expected = read_state(path, like=model), model.state_dict()
    if published:
        state = {key: value for key, value in state.items() if key in expected}
    classes = _count_classes(state, model)
    if classes not in (None, getattr(model, "num_classes", None)):
        model = _build(full, function, num_classes=classes)
    load_checked(model, state, path, full)
    return model


def _count_classes(state: StateDict, model: nn.Module) -> int | None:
    """Return the number of classes of a state dict: the rows of what is the classifier's last weight in the net."""
    count, expected = getattr(model, "num_classes", None), model.state_dict()
    last = [key for key, value in expected.items() if value.dim() > 1 and len(value) == count]
    return count_classes(state, expected, last[-1]) if last else None


def _download(store: ModuleType, name: str) -> str:
    """Return the path of the published weights. pytorchcv fetches the file but does not read it: it would run the pickle."""
    if name not in store.get_model_metainfo_dict():
        raise WeightsError(f"pytorchcv has no weights for {name}. Give --weights FILE, or --weights none for random ones.")
    error_value, checksum, release = store.get_model_name_suffix_data(name)
    file = f"{name}-{error_value}-{checksum[:8]}.pth"
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it prints its progress
            path: str = store.get_model_file(name)
    except Exception as error:  # whatever requests, zipfile and the disk raise
        raise WeightsError(
            f"the weights of pytorchcv:{name} could not be downloaded ({first_line(error)}). "
            f"Unzip {store.imgclsmob_repo_url}/releases/download/{release}/{file}.zip to {str(_folder() / file)!r}, "
            "give --weights FILE, or take --model tiny, which needs no download."
        ) from error
    return path


def _folder() -> Path:
    return Path("~/.torch/models").expanduser()


def _scale(store: ModuleType, name: str) -> float:
    """Return how much of the resized short side is cropped, 0..1, from pytorchcv's own list of how its nets were tested."""
    header, *rows = store.load_csv(store.get_model_metainfos_file_path())
    scale = next((row[header.index("img_scale")] for row in rows if row[0] == name), "NA")
    return 0.875 if scale == "NA" else float(scale)


def _preprocess(size: tuple[int, int], scale: float) -> Preprocess:
    if size == (32, 32):
        return Preprocess(32, 32, *CIFAR)
    return Preprocess(math.ceil(max(size) / scale), size, IMAGENET_MEAN, IMAGENET_STD)


def _imagenet_classes() -> tuple[str, ...]:
    import torchvision

    return tuple(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])
