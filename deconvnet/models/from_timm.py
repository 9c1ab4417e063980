"""The source "timm": the nets of pytorch-image-models, with their own weights, preprocessing and class names."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import IO, Any

from PIL.Image import Image
from torch import nn

from ..errors import UnknownModelError, WeightsError, did_you_mean
from ..images import OnNote, Picture, Preprocess, open_picture
from ..optional import require
from .model import LoadedModel
from .seeding import seeded
from .weights import StateDict, count_classes, first_line, hash_file, load_checked, read_state


def load(name: str, weights: str) -> LoadedModel:
    """Load a model of timm.

    Args:
        name: the net, "resnet18", or one set of its published weights, "resnet18.a1_in1k".
        weights: "DEFAULT" for the published weights, "none" for random ones, or the path of a file.
    """
    timm = require("timm", needed_by=f"timm:{name}", extra="timm")
    _check_name(timm, name)
    with seeded():
        if weights == "DEFAULT":
            model, identity = _download(timm, name), ""
        elif weights == "none":
            model, identity = timm.create_model(name), "random"
        else:
            model, identity = _from_file(timm, name, weights), hash_file(weights)
    config = timm.data.resolve_model_data_config(model)
    return LoadedModel(
        model=model.eval(),
        preprocess=_preprocess(timm, config),
        name=f"timm:{name}",
        weights=identity,
        classes=_classes(timm, model),
        input_size=tuple(config["input_size"]),
    )


def _check_name(timm: ModuleType, name: str) -> None:
    """Refuse a name that timm does not have; if the net is known, suggest the names of its weights."""
    if not timm.is_model(name) or set(name) & set(":/\\"):
        close = did_you_mean(name, timm.list_models(), prefix="timm:")
    elif name not in (tagged := [name.partition(".")[0], *timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)]):
        close = did_you_mean(name, tagged, prefix="timm:")
    else:
        return
    raise UnknownModelError(f"'timm:{name}' is not a model of timm {timm.__version__}.{close}")


def _download(timm: ModuleType, name: str) -> nn.Module:
    if not timm.models.is_model_pretrained(name):
        raise WeightsError(f"timm has no weights for {name}. Give --weights FILE, or --weights none for random ones.")
    try:
        model: nn.Module = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm downloads through packages that each raise exceptions of their own
        raise WeightsError(
            f"the weights of timm:{name} could not be loaded ({first_line(error)}). {_address_text(timm, name)}, "
            "or take --model tiny, which needs no download."
        ) from error
    return model


def _address_text(timm: ModuleType, name: str) -> str:
    """Return where a net's weights are published, and what to do with the file."""
    config = timm.models.get_pretrained_cfg(name)
    if config.hf_hub_id:
        address = f"https://huggingface.co/{config.hf_hub_id.partition('@')[0]}"
        return f"Get {config.hf_hub_filename or 'model.safetensors'} from {address} and give it by --weights FILE"
    return f"Get {config.url} and give it by --weights FILE"


def _from_file(timm: ModuleType, name: str, path: str) -> nn.Module:
    """Build a net with as many classes as the file's classifier has, and load the file."""
    model: nn.Module = timm.create_model(name)
    state = read_state(path, like=model)
    state = _rename_as_timm(model, state)
    classifier = model.pretrained_cfg.get("classifier") or ""  # type: ignore[union-attr, operator]
    head = classifier if isinstance(classifier, str) else classifier[0]
    expected = model.state_dict()
    classes = count_classes(state, expected, f"{head}.weight")
    if classes and classes != len(expected[f"{head}.weight"]):
        model = timm.create_model(name, num_classes=classes)
    load_checked(model, state, path, f"timm:{name}")
    return model


def _rename_as_timm(model: nn.Module, state: StateDict) -> StateDict:
    """Rename the tensors of a net's first publishers (Facebook, OpenAI, ...) by timm's own table, where it has one."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None or set(model.state_dict()) <= set(state):
        return state
    try:
        renamed: StateDict = convert(dict(state), model)
    except Exception:  # a file for another net: `load_checked` says what does not fit
        return state
    return renamed


def _classes(timm: ModuleType, model: nn.Module) -> tuple[str, ...]:
    """Return the names of ImageNet's classes, or of a larger ImageNet's, recognised by the number of classes."""
    subset = timm.data.infer_imagenet_subset(model)
    if subset is None:
        return ()
    return tuple(text.partition(",")[0] for text in timm.data.ImageNetInfo(subset).label_descriptions())


@dataclass(frozen=True)
class _TimmPreprocess(Preprocess):
    """What a short side and a centre cannot describe: squashed pictures, borders, frames that are not square."""

    steps: tuple[Callable[[Image], Image], ...] = ()

    def crop_picture(self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None) -> Image:
        """Return the pixels that the net sees, made by timm's own steps."""
        image = open_picture(picture, data=data, value_range=self.value_range, on_note=on_note)
        self._resized_size(*image.size)  # refuses what would fill the memory
        for step in self.steps:
            image = step(image)
        return image


def _preprocess(timm: ModuleType, config: dict[str, Any]) -> Preprocess:
    """Return timm's own evaluation transform as one that can be undone; a test compares it with the original."""
    if config["interpolation"] == "random":  # for training
        config = {**config, "interpolation": "bilinear"}
    crop = tuple(config["input_size"][1:])
    height, width = (math.floor(side / config["crop_pct"]) for side in crop)
    common = {"mean": tuple(config["mean"]), "std": tuple(config["std"]), "interpolation": config["interpolation"]}
    if config["crop_mode"] == "center" and height == width >= max(crop):
        return Preprocess(height, crop, **common)
    *steps, _ = timm.data.create_transform(**config, is_training=False, use_prefetcher=True).transforms  # the last: to tensor
    return _TimmPreprocess(max(height, width, *crop), crop, **common, steps=tuple(steps))
