"""A model with what people need beside it: its preprocessing, its classes, and what its weights are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import OptionError, UnknownModelError, check_option
from ..images import Preprocess
from ..record import fingerprint

Preprocessing = Callable[[Any], Tensor]


@dataclass
class Loaded:
    """A model in eval mode; `preprocess` turns a picture into (C, H, W). Made by `load_model`."""

    model: nn.Module
    preprocess: Preprocessing | None
    name: str
    weights: str = ""  # "sha256:..." of the weights' file, or "random"; empty: computed from the tensors
    classes: tuple[str, ...] = ()
    input_size: tuple[int, int, int] = (3, 224, 224)  # (C, H, W)
    _hashed: dict[Any, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, model: nn.Module, preprocess: Preprocessing | None = None) -> Loaded:
        """Take any module as it is: its class names it, the first layer tells its channels."""
        model = unwrapped(model)
        if isinstance(preprocess, Preprocess):
            size = (preprocess.channels, *preprocess.crop_size)
        else:
            first = next((part for part in model.modules() if isinstance(part, nn.Conv2d)), None)
            size = (first.in_channels if first else 3, 224, 224)
        return cls(model, preprocess, type(model).__name__, input_size=size)

    def to(self, device: str) -> Loaded:
        """Move the model to "cpu", "cuda", "mps", or the best there is ("auto")."""
        self.model.to(pick_device(device))
        return self

    def weights_hash(self) -> str:
        """Return what the weights are: "random", or the SHA-256 of their file, or else of their tensors."""
        if self.weights:
            return self.weights
        key = fingerprint(self.model)
        if key not in self._hashed:
            self._hashed = {key: hash_tensors(self.model)}
        return self._hashed[key]

    def undo(self, image: Tensor, preprocess: Preprocessing | None = None) -> np.ndarray[Any, Any]:
        """Return the pixels of an image (C, H, W), as (H, W, C) uint8.

        Where the preprocessing is not known, the image's minimum..maximum is stretched over 0..255.
        """
        undo = getattr(preprocess or self.preprocess, "undo", None)
        if undo is not None and len(image) == self.input_size[0]:
            pixels: np.ndarray[Any, Any] = undo(image)
            return pixels
        values = np.nan_to_num(image.detach().float().cpu().numpy())
        low, high = float(values.min()), float(values.max())
        stretched = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 128)
        return np.rint(stretched).astype(np.uint8).transpose(1, 2, 0)

    def answers(self, output: Any, image: int, count: int = 3) -> tuple[tuple[str, float], ...]:
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
