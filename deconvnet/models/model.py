"""A model with what people need beside it: its preprocessing, its classes, and what its weights are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import OptionError, UnknownModelError, check_option
from ..images import Preprocess
from ..recording import Fingerprint, fingerprint

Preprocessing = Callable[[Any], Tensor]


@dataclass
class LoadedModel:
    """A model in eval mode; `preprocess` turns a picture into (C, H, W). Made by `load_model`."""

    model: nn.Module
    preprocess: Preprocessing | None
    name: str
    weights: str = ""  # "sha256:..." of the weights' file, or "random"; empty: computed from the tensors
    classes: tuple[str, ...] = ()
    input_size: tuple[int, int, int] = (3, 224, 224)  # (C, H, W)
    weights_from: str = ""  # what `load_model` was given: "DEFAULT", "none", or a file's path
    _hashed: dict[Any, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: nn.Module, preprocess: Preprocessing | None = None) -> LoadedModel:
        """Take any module as it is: its class names it, the first layer tells its channels."""
        model = unwrapped(model)
        if isinstance(preprocess, Preprocess):
            size = (preprocess.channels, *preprocess.crop_size)
        else:
            first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
            size = (first.in_channels if first else 3, 224, 224)
        return cls(model, preprocess, type(model).__name__, input_size=size)

    def to(self, device: str) -> LoadedModel:
        """Move the model to "cpu", "cuda", "mps", or the best there is ("auto")."""
        self.model.to(pick_device(device))
        return self

    def with_preprocess(
        self, *, mean: Sequence[float] | None = None, std: Sequence[float] | None = None, size: int | None = None
    ) -> LoadedModel:
        """Return the same model with a preprocessing of your own; what is not given stays as it is.

        `mean` and `std`: a number for each channel of the net, of pixels on the scale 0..1. `size`: pixels; a picture's short
        side is resized to it, and the centre cropped to `size` x `size`. A model that brings no preprocessing gets ImageNet's
        mean and std for 3 channels, 0.5 for any other count, at 224 pixels from a short side of 256.

            >>> load_model("tiny").with_preprocess(mean=(0.5, 0.5, 0.5), size=128).input_size
            (3, 128, 128)
        """
        own = self.preprocess
        if own is not None and not isinstance(own, Preprocess):
            given = [value is not None for value in (mean, std, size)]
            if not any(given):
                return self
            if not all(given):
                raise OptionError(f"{self.name} has a preprocessing of its own kind. To replace it, give mean, std and size.")
        base = own if isinstance(own, Preprocess) else _usual(self.input_size[0])
        means = base.mean if mean is None else self._per_channel("mean", mean, base.channels)
        stds = base.std if std is None else self._per_channel("std", std, base.channels)
        if size is None:
            made = replace(base, mean=means, std=stds)
        elif size < 1:
            raise OptionError(f"size cannot be {size}: it is pixels, 1 or more.")
        else:
            made = Preprocess(size, size, means, stds, base.interpolation)
        return replace(self, preprocess=made, input_size=(made.channels, *made.crop_size))

    def _per_channel(self, what: str, numbers: Sequence[float], channels: int) -> tuple[float, ...]:
        """Check the numbers of a mean or a std."""
        if len(numbers) != channels:
            wanted = "one number, for its one channel" if channels == 1 else f"{channels} numbers, one for each channel"
            raise OptionError(f"{self.name} takes a {what} of {wanted}; found {len(numbers)}: {_listed(numbers)}.")
        for number in numbers:
            if not (0 <= number <= 1 and (number or what == "mean")):  # also refuses NaN
                above = "" if what == "mean" else ", above 0"
                raise OptionError(
                    f"{what} cannot be {number:g}: it is on the scale 0..1{above}. Divide numbers of 0..255 by 255."
                )
        return tuple(map(float, numbers))

    def weights_hash(self, known: Fingerprint | None = None) -> str:
        """Return what the weights are: "random", or the SHA-256 of their file, or else of their tensors.

        `known`: their fingerprint, where it was just taken.
        """
        if self.weights:
            return self.weights
        key = known or fingerprint(self.model)
        if key not in self._hashed:
            self._hashed = {key: hash_tensors(self.model)}
        return self._hashed[key]

    def denormalise(self, image: Tensor, preprocess: Preprocessing | None = None) -> np.ndarray[Any, Any]:
        """Return the pixels of an image (C, H, W), as (H, W, C) uint8.

        Where the preprocessing is not known, the image's minimum..maximum is stretched over 0..255.
        """
        inverse = getattr(preprocess or self.preprocess, "denormalise", None)
        if inverse is not None and len(image) == self.input_size[0]:
            pixels: np.ndarray[Any, Any] = inverse(image)
            return pixels
        values = np.nan_to_num(image.detach().float().cpu().numpy())
        low, high = float(values.min()), float(values.max())
        stretched = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 128)
        return np.rint(stretched).astype(np.uint8).transpose(1, 2, 0)

    def top_classes(self, output: Any, image: int, count: int = 3) -> tuple[tuple[str, float], ...]:
        """Return the likeliest classes with their probabilities where the output is a classifier's, (N, K), else ()."""
        if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
            return ()
        scores = output[image].detach().double().cpu()
        is_probability = bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3
        shares = scores if is_probability else scores.softmax(0)
        order = np.argsort(-shares.numpy(), kind="stable")[:count]
        return tuple((self.class_name(int(number)), float(shares[number])) for number in order)

    def class_name(self, number: int) -> str:
        """Return a class's name, or its number where names are not known."""
        return self.classes[number] if number < len(self.classes) else f"class {number}"


def _listed(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def _usual(channels: int) -> Preprocess:
    """Return what most nets of so many channels were trained with."""
    if channels == 3:
        return Preprocess(256, 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return Preprocess(256, 224, (0.5,) * channels, (0.5,) * channels)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel or torch.compile; refuse a scripted one, whose calls cannot be seen."""
    if not isinstance(model, nn.Module):
        raise UnknownModelError(
            f"a model must be an nn.Module, found {type(model).__name__}. Give load_model's result or a module."
        )
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrapped(model.module)
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's wrapper
        return unwrapped(model._orig_mod)  # type: ignore[arg-type]
    if isinstance(model, torch.jit.ScriptModule):
        raise UnknownModelError("the model is scripted: its calls cannot be seen. Give the Python model that was scripted.")
    return model


def pick_device(device: str) -> torch.device:
    """Return the device of that name, after checking that it is there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = device.partition(":")[0]
    check_option("device", kind, ["auto", *there])
    if kind == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there[kind]:
        raise OptionError(f"device {device!r} is not there: torch sees {', '.join(name for name in there if there[name])}.")
    return torch.device(device)


def hash_tensors(model: nn.Module) -> str:
    """Return the SHA-256 of a model's parameters and buffers, by name."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return f"tensors-sha256:{digest.hexdigest()}"
