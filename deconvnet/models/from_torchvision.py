"""The source "torchvision": its classification nets, with their own weights, transforms and class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.error import URLError

from torch import nn

from ..errors import UnknownModelError, WeightsError, did_you_mean
from ..images import Preprocess
from .model import LoadedModel
from .seeding import seeded
from .weights import StateDict, count_classes, hash_file, load_checked, read_state

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum
    from torchvision.transforms._presets import ImageClassification

#: Nets whose published weights were made for inputs in -1..1, and which convert torchvision's own normalisation inside.
CONVERTS_INPUT = ("googlenet", "inception_v3")


def load(name: str, weights: str) -> LoadedModel:
    """Load a model of torchvision.

    Args:
        name: the net, "alexnet".
        weights: "DEFAULT" for torchvision's default weights, "none" for random ones, or the path of a file.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        hint = did_you_mean(name, known, prefix="torchvision:") or " Take one of torchvision.models.list_models()."
        raise UnknownModelError(f"'torchvision:{name}' is not a model of torchvision {torchvision.__version__}.{hint}")
    default = torchvision.models.get_model_weights(name).DEFAULT
    if weights == "DEFAULT":
        model, identity = _download(name, default)
    else:
        model, identity = _build(name, weights)
    preset = default.transforms()
    classes = tuple(default.meta["categories"])
    return LoadedModel(
        model=model.eval(),
        preprocess=_preprocess(preset),
        name=f"torchvision:{name}",
        weights=identity,
        classes=classes if _count_classes(model) == len(classes) else (),
        input_size=(3, *_sides(preset.crop_size)),
    )


def _download(name: str, default: WeightsEnum) -> tuple[nn.Module, str]:
    import torch.hub
    import torchvision

    path = f"{torch.hub.get_dir()}/checkpoints/{default.url.rsplit('/', 1)[-1]}"
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=default)
    except (URLError, OSError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"the weights of torchvision:{name} could not be downloaded ({reason}). Put {default.url} at {path!r}, "
            "give --weights FILE, or take --model tiny, which needs no download."
        ) from None
    except RuntimeError as error:  # torch.hub's check of the file's hash
        raise WeightsError(f"the weights at {path!r} are damaged ({error}). Delete that file and try again.") from None
    return model, hash_file(path)


def _build(name: str, weights: str) -> tuple[nn.Module, str]:
    if weights == "none":
        return _build_for(name, {}), "random"
    state = read_state(weights, like=_build_empty(name))
    model = _build_for(name, state)
    load_checked(model, state, weights, f"torchvision:{name}")
    return model, hash_file(weights)


def _build_empty(name: str) -> nn.Module:
    """Build the net, with all its side branches, for the names of its tensors: they have sizes, but no numbers."""
    import torch
    import torchvision

    options = {"init_weights": False, "aux_logits": True} if name in CONVERTS_INPUT else {}
    with torch.device("meta"):
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


def _build_for(name: str, state: StateDict) -> nn.Module:
    """Build the net with random weights and with as many classes as a state dict for it has."""
    import torchvision

    options: dict[str, bool] = {}
    if name in CONVERTS_INPUT:
        # they were trained with side branches, which a file may leave out and which eval mode never runs
        auxiliary = any(key.lower().startswith("aux") for key in state)
        options = {"init_weights": False, "aux_logits": auxiliary, "transform_input": bool(state)}
    with seeded():
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
        expected = model.state_dict()
        last = next(reversed(expected))  # the classifier's bias
        classes = count_classes(state, expected, last.replace("bias", "weight"))
        if classes and classes != len(expected[last]):
            model = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    return model


def _count_classes(model: nn.Module) -> int:
    return len(next(reversed(model.state_dict().values())))


def _sides(size: int | Sequence[int]) -> tuple[int, int]:
    sides = [size] if isinstance(size, int) else list(size)
    return sides[0], sides[-1]


def _preprocess(preset: ImageClassification) -> Preprocess:
    """Return torchvision's own transform as one that can be undone; a test compares it with the original."""
    return Preprocess(
        resize=_sides(preset.resize_size)[0],
        crop=_sides(preset.crop_size),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
    )
