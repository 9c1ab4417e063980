"""The source "hf": vision models of Hugging Face's Transformers, from a folder, from the cache or from the hub.

Only safetensors are read, and no code of a model's repository is run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image
from torch import nn

from ..choices import Interpolation
from ..errors import UnknownModelError, WeightsError
from ..images import OnNote, Picture, Preprocess, open_picture
from ..optional import require
from .model import LoadedModel
from .seeding import seeded
from .weights import first_line, hash_file, read_state

#: Pillow's filters by number, as image processors name them.
FILTERS: dict[int, Interpolation] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


def load(name: str, weights: str) -> LoadedModel:
    """Load a vision model of Transformers.

    Args:
        name: of a repository, "google/vit-base-patch16-224", or a folder that `save_pretrained` wrote.
        weights: "DEFAULT" for those beside its configuration, "none" for random ones, or the path of a file.
    """
    transformers = require("transformers", needed_by=f"hf:{name}", extra="hf")
    if not name:
        raise UnknownModelError("hf: needs a name, such as hf:google/vit-base-patch16-224, or a folder.")
    config = _read(transformers.AutoConfig, name, trust_remote_code=False)
    kind = _model_class(transformers, config, name)
    if weights == "DEFAULT":
        model, identity = _read(kind, name, use_safetensors=True), _identity(name)
    elif weights == "none":
        with seeded():
            model, identity = kind(config), "random"
    else:
        model, identity = _from_file(kind, config, weights, name), hash_file(weights)
    model = getattr(model, "vision_model", model)  # of a model of pictures and words
    preprocess = _preprocess(_processor(transformers, name), config)
    return LoadedModel(
        model=model.eval(),
        preprocess=preprocess,
        name=f"hf:{name}",
        weights=identity,
        classes=_classes(config),
        input_size=(preprocess.channels, *preprocess.crop_size),
    )


def _read(kind: Any, name: str, **options: Any) -> Any:
    """Read a part of a model from a folder, the cache or the hub; each of these fails in its own way."""
    try:
        return kind.from_pretrained(name, **options)
    except Exception as error:
        if os.path.isdir(name):
            raise WeightsError(f"the folder {name!r} holds no vision model ({first_line(error)}).") from error
        raise WeightsError(
            f"hf:{name} could not be loaded ({first_line(error)}). Give the folder that it was saved to, hf:FOLDER,"
            " or take --model tiny, which needs no download."
        ) from error


def _from_file(kind: Any, config: Any, path: str, name: str) -> nn.Module:
    """Build the model, and load a file by Transformers' own names, old ones and new."""
    state = read_state(path, like=kind(config))
    try:
        model, found = kind.from_pretrained(None, config=config, state_dict=dict(state), output_loading_info=True)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path!r} is not for hf:{name}: {first_line(error)}.") from error
    if lost := [*found["missing_keys"], *found["mismatched_keys"]]:
        raise WeightsError(f"{path!r} is not for hf:{name}: {lost[0]} and {len(lost) - 1} more are missing or of another size.")
    loaded: nn.Module = model
    return loaded


def _model_class(transformers: Any, config: Any, name: str) -> type[nn.Module]:
    """Return the class that a configuration names, or the one that goes with it."""
    for architecture in config.architectures or ():
        if (kind := getattr(transformers, architecture, None)) is not None:
            found: type[nn.Module] = kind
            return found
    try:
        known: type[nn.Module] = transformers.MODEL_MAPPING[type(config)]
    except KeyError as error:
        raise UnknownModelError(f"'hf:{name}' is no model of transformers {transformers.__version__}.") from error
    return known


def _processor(transformers: Any, name: str) -> Mapping[str, Any]:
    """Return the settings of a model's image processor; none where it has none."""
    try:
        settings: dict[str, Any] = transformers.AutoImageProcessor.from_pretrained(name).to_dict()
    except (OSError, ValueError, ImportError):
        return {}
    return settings


def _classes(config: Any) -> tuple[str, ...]:
    """Return the classes' names, as far as they are names; "tabby, tabby cat" becomes "tabby"."""
    labels = getattr(config, "id2label", None) or {}
    names = tuple(str(labels[number]).partition(",")[0] for number in sorted(labels))
    return () if all(name.startswith("LABEL_") for name in names) else names


def _identity(name: str) -> str:
    """Return the SHA-256 of a folder's file of weights; "" where the tensors have to be asked."""
    file = os.path.join(name, "model.safetensors")
    return hash_file(file) if os.path.isfile(file) else ""


@dataclass(frozen=True)
class SquashPreprocess(Preprocess):
    """The whole picture becomes the frame, whichever its shape, as many image processors do it."""

    def crop_picture(self, picture: Picture, *, data: IO[bytes] | None = None, on_note: OnNote | None = None) -> Image.Image:
        """Return the pixels that the net sees."""
        image = open_picture(picture, data=data, value_range=self.value_range, on_note=on_note)
        height, width = self.crop_size
        return image.resize((width, height), Image.Resampling[self.interpolation.upper()])


def _preprocess(settings: Mapping[str, Any], config: Any) -> Preprocess:
    """Return what an image processor does, by Pillow: resizing to a short side or to a frame, cropping, normalising."""
    of_config = getattr(getattr(config, "vision_config", config), "image_size", None)
    size = settings.get("size") or of_config or 224
    if isinstance(size, (int, list, tuple)):
        size = {"shortest_edge": size} if isinstance(size, int) else {"height": size[0], "width": size[1]}
    common: dict[str, Any] = {
        "mean": tuple(settings.get("image_mean") or (0.5, 0.5, 0.5)),
        "std": tuple(settings.get("image_std") or (0.5, 0.5, 0.5)),
        "interpolation": FILTERS.get(settings.get("resample") or 2, "bilinear"),
    }
    if settings.get("do_normalize") is False:
        common |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    frame = (size["height"], size["width"]) if "height" in size else None
    short = size.get("shortest_edge") or min(frame or (224, 224))
    crop = settings.get("crop_size") if settings.get("do_center_crop") else None
    if frame and not crop:
        return SquashPreprocess(max(frame), frame, **common)
    if crop:
        sides = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
        return Preprocess(max(short, *sides), sides, **common)
    share = settings.get("crop_pct")  # ConvNeXt: the frame, from a picture that is a little larger
    return Preprocess(round(short / share) if share and short < 384 else short, (short, short), **common)
