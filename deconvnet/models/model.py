"""A model with what people need beside it: its preprocessing, its classes, and what its weights are."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from ..choices import DEVICES, Decode
from ..errors import OptionError, UnknownModelError, check_option, did_you_mean
from ..fingerprint import Fingerprint, fingerprint
from ..images import Preprocess, ValueRange
from ..provenance import weights_text
from ..render.text import size_text
from ..rules.call import tensors_in
from .answers import found_objects, found_segments
from .further_inputs import FurtherInputs, input_hashes

#: Turns a picture into an image (C, H, W). Any callable will do; only `Preprocess` also opens paths and can be undone.
Preprocessing = Callable[[Any], Tensor]

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # differs from run to run

_PLAIN_SIZE = (256, 256)  # of the picture that asks a preprocessing for its size

FEW_CLASSES = 20  # that an error lists

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(eq=False, repr=False)
class LoadedModel:
    """A model in eval mode with what belongs to it. Made by `load_model`, or from any module by `from_module`.

    Attributes:
        model: the module.
        preprocess: turns a picture into an image (C, H, W) as the model expects it; None where it is not known.
        name: as `load_model` takes it, or the module's class.
        weights: "sha256:..." of the weights' file, or "random"; empty where `weights_hash` computes it from the tensors.
        classes: the names of the classes, in the order of the output; empty where they are not known.
        input_size: (C, H, W) of the images that the model was made for.
        weights_from: what `load_model` was given: "DEFAULT", "none", or the absolute path of a file.
        code_sha256: the SHA-256 of the Python file that was run for it; empty where none was.
        own_size: `input_size` before `with_preprocess` changed it; None where it did not.
        size_is_guess: whether nobody said `input_size`; `ask_size` then asks a preprocessing of the user's own for it.
    """

    model: nn.Module
    preprocess: Preprocessing | None
    name: str
    weights: str = ""
    classes: tuple[str, ...] = ()
    input_size: tuple[int, int, int] = (3, 224, 224)
    weights_from: str = ""
    code_sha256: str = ""
    size_is_guess: bool = False
    own_size: tuple[int, int, int] | None = None
    _hashed: dict[Fingerprint, str] = field(init=False, default_factory=dict)

    @classmethod
    def from_module(cls, model: nn.Module, preprocess: Preprocessing | None = None) -> LoadedModel:
        """Wrap any module: its class names it, and its first convolution tells how many channels its images have.

        Args:
            model: the module; one inside DataParallel or torch.compile is taken out.
            preprocess: turns a picture into an image (C, H, W).

        Raises:
            UnknownModelError: this is no module, or it is scripted.
        """
        model = unwrap_module(model)
        if isinstance(preprocess, Preprocess):
            size = (preprocess.channels, *preprocess.crop_size)
        else:
            first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
            size = (first.in_channels if first else 3, 224, 224)
        return cls(
            model, preprocess, type(model).__name__, input_size=size, size_is_guess=not isinstance(preprocess, Preprocess)
        )

    def __repr__(self) -> str:
        weights = f", {weights_text(self.weights)}" if self.weights else ""
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"LoadedModel({self.name!r}{weights}, {size_text(self.input_size)}{classes}, {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the model is: the device of its first parameter or buffer."""
        first = next(iter((*self.model.parameters(), *self.model.buffers())), None)
        return torch.device("cpu") if first is None else first.device

    def to(self, device: str) -> LoadedModel:
        """Move the model to a device, in place, and return this object.

        Args:
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for a GPU if there is one.

        Raises:
            OptionError: the device is unknown or not available.
        """
        self.model.to(pick_device(device))
        return self

    def ask_size(self) -> tuple[int, int, int]:
        """Return `input_size`; where it was guessed, that of what the user's own preprocessing makes of a plain picture."""
        if self.size_is_guess and self.preprocess is not None:
            self.size_is_guess = False
            with contextlib.suppress(Exception):  # it wants another kind of picture
                picture = Image.new("L" if self.input_size[0] == 1 else "RGB", _PLAIN_SIZE, "grey")
                channels, height, width = self.preprocess(picture).shape
                self.input_size = (int(channels), int(height), int(width))
        return self.input_size

    def with_inputs(self, **inputs: Tensor) -> LoadedModel:
        """Let the model's forward be called with further inputs, the same for every picture, and return this object.

        Args:
            inputs: by the names of forward's parameters: what belongs to one picture. A batch of one, (1, ...) with two axes or
                more, and a value without a batch axis are repeated for each picture.

        Raises:
            OptionError: forward has no such parameter.
        """
        forward = self.model.forward
        signature = inspect.signature(forward)
        try:
            signature.bind_partial(None, **inputs)
        except TypeError as error:
            raise OptionError(f"forward of {self.name} takes {signature}: {error}. Name its own parameters.") from error
        self.model.forward = FurtherInputs(forward, inputs)
        return self

    def input_hashes(self) -> dict[str, str]:
        """Return "sha256:..." of each of `with_inputs`, by name, for the settings of outputs."""
        return input_hashes(self.model.forward)

    def with_preprocess(
        self,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: int | tuple[int, int] | None = None,
        value_range: ValueRange | None = None,
        decode: Decode | None = None,
    ) -> LoadedModel:
        """Return the same model with another preprocessing.

        What is not given stays as it is. A model without preprocessing gets ImageNet's mean and std for 3 channels, 0.5 for
        any other number of channels, and 224 pixels cropped from a short side of 256.

        Args:
            mean: the mean of each channel of the net, of pixels on the scale 0..1.
            std: the standard deviation of each channel, on the same scale, above 0.
            size: pixels. The short side of a picture is resized to it, and the centre cropped to `size` x `size`; of (height,
                width), the short side is resized to the larger.
            value_range: (black, white) of pictures with more than 8 bits.
            decode: how a JPEG is decoded, as `Preprocess` says.

        Raises:
            OptionError: the numbers do not fit the net, or the model's preprocessing is a function of its own, which can
                only be replaced as a whole.

            >>> load_model("tiny").with_preprocess(mean=(0.5, 0.5, 0.5), size=128).input_size
            (3, 128, 128)
        """
        if decode in ("reduced", "gpu") and type(self.preprocess) not in (Preprocess, type(None)):
            raise OptionError(f"{self.name} has a preprocessing of its own kind, which decodes in full. Leave `decode` out.")
        if self.preprocess is not None and not isinstance(self.preprocess, Preprocess):
            missing = [value is None for value in (mean, std, size)]
            if all(missing) and value_range is None:
                return self
            if any(missing):
                raise OptionError(f"{self.name} has a preprocessing of its own kind. To replace it, give mean, std and size.")
        base = self.preprocess if isinstance(self.preprocess, Preprocess) else default_preprocess(self.input_size[0])
        means = base.mean if mean is None else self._per_channel("mean", mean, base.channels)
        stds = base.std if std is None else self._per_channel("std", std, base.channels)
        values = base.value_range if value_range is None else value_range
        if size is None:
            changed = replace(base, mean=means, std=stds, value_range=values, decode=decode or base.decode)
        else:  # what a subclass did besides is replaced too
            sides = (size, size) if isinstance(size, int) else size
            if min(sides) < 1:
                raise OptionError(
                    f"size cannot be {size_text(sides) if sides[0] != sides[1] else size}: it is pixels, 1 or more."
                )
            changed = Preprocess(max(sides), size, means, stds, base.interpolation, values, decode or base.decode)
        size_of = (changed.channels, *changed.crop_size)
        own_size = self.own_size or self.input_size
        return replace(self, preprocess=changed, input_size=size_of, own_size=own_size, size_is_guess=False)

    def _per_channel(self, name: str, numbers: Sequence[float], channels: int) -> tuple[float, ...]:
        """Check the numbers of a mean or a std."""
        if len(numbers) != channels:
            expected = "one number, for its one channel" if channels == 1 else f"{channels} numbers, one for each channel"
            listed = ",".join(f"{number:g}" for number in numbers)
            raise OptionError(f"{self.name} takes a {name} of {expected}; found {len(numbers)}: {listed}.")
        for number in numbers:
            if not (0 <= number <= 1 and (number or name == "mean")):  # also refuses NaN
                above = "" if name == "mean" else ", above 0"
                raise OptionError(
                    f"{name} cannot be {number:g}: it is on the scale 0..1{above}. Divide numbers of 0..255 by 255."
                )
        return tuple(map(float, numbers))

    def weights_hash(self, known: Fingerprint | None = None) -> str:
        """Return what identifies the weights: "random", or the SHA-256 of their file, or else of their tensors.

        Args:
            known: the model's fingerprint, where it was just taken.
        """
        if self.weights:
            return self.weights
        key = known or fingerprint(self.model)
        if key not in self._hashed:
            self._hashed = {key: hash_tensors(self.model)}
        return self._hashed[key]

    def denormalise(self, image: Tensor, preprocess: Preprocessing | None = None) -> npt.NDArray[np.uint8]:
        """Return the pixels of an image: (C, H, W), normalised -> (H, W, C), 0..255.

        Where the preprocessing cannot be undone, the image's minimum..maximum is stretched over 0..255.

        Args:
            image: the image.
            preprocess: what made the image, if it was not the model's own preprocessing.
        """
        inverse: Callable[[Tensor], npt.NDArray[np.uint8]] | None = getattr(preprocess or self.preprocess, "denormalise", None)
        if inverse is not None and len(image) == self.input_size[0]:
            return inverse(image)
        values = np.nan_to_num(image.detach().float().cpu().numpy())
        low, high = float(values.min()), float(values.max())
        stretched = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, 128)
        return np.rint(stretched).astype(np.uint8).transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)

    def top_classes(self, output: object, image: int, count: int = 3) -> tuple[tuple[str, float], ...]:
        """Return the most probable classes of one image, with their probabilities.

        Args:
            output: what the model returned. Of a classifier, (N, K) scores or probabilities; scores go through a softmax. They
                may stand in a mapping, under "logits", as Transformers' models have them.
            image: the image's number in the batch.
            count: how many classes to return.

        Returns:
            (class, probability) pairs, the highest probability first; empty where the output is not a classifier's.
        """
        if isinstance(output, Mapping):
            output = output.get("logits")
        if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
            return ()
        scores = output[image].detach().double().cpu()
        is_probability = bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3
        probabilities = scores if is_probability else scores.softmax(0)
        order = np.argsort(-probabilities.numpy(), kind="stable")[:count]
        return tuple((self.class_name(int(number)), float(probabilities[number])) for number in order)

    def answer(self, output: object, image: int, frame: tuple[int, int]) -> dict[str, Any]:
        """Return what the model says of one image of a batch, as fields of a `ShownImage`: what does not fit is left out.

        Args:
            output: what the model returned.
            image: the image's number in the batch.
            frame: (H, W) of the images.
        """
        objects = found_objects(output, image, frame, self.class_name)
        if objects is not None:
            return {"objects": objects}
        segments = found_segments(output, image, frame, self.class_name, len(self.classes))
        return {"top_classes": self.top_classes(output, image)} if segments is None else {"segments": segments}

    def class_number(self, label: int | str, count: int) -> int:
        """Return the number of one of `count` classes, given that, also as text, or its name in upper or lower case.

        Raises:
            OptionError: there is no such class.
        """
        numbers = {name.lower(): number for number, name in enumerate(self.classes)}
        number = int(label) if str(label).isdigit() else numbers.get(str(label).lower())
        if number is None:
            few = f" It has {', '.join(self.classes)}." if 0 < len(self.classes) <= FEW_CLASSES else " Give its number."
            hint = did_you_mean(str(label), self.classes) or few
            raise OptionError(f"{self.name} has no class {label!r}.{hint}")
        if number >= count:
            raise OptionError(f"{self.name} has no class {number}: it has {count}, numbered from 0.")
        return number

    def class_name(self, number: int) -> str:
        """Return the name of a class, or "class 3" where names are not known."""
        return self.classes[number] if number < len(self.classes) else f"class {number}"


def default_preprocess(channels: int) -> Preprocess:
    """Return what most nets with this many channels were trained with."""
    if channels == 3:
        return Preprocess(256, 224, IMAGENET_MEAN, IMAGENET_STD)
    return Preprocess(256, 224, (0.5,) * channels, (0.5,) * channels)


def unwrap_module(model: nn.Module) -> nn.Module:
    """Return the module inside DataParallel or torch.compile; refuse a scripted one, whose calls cannot be recorded."""
    if not isinstance(model, nn.Module):
        raise UnknownModelError(
            f"a model must be an nn.Module, found {type(model).__name__}. Give load_model's result or a module."
        )
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        return unwrap_module(model.module)
    if isinstance(getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's wrapper
        return unwrap_module(model._orig_mod)  # type: ignore[arg-type]
    if isinstance(model, torch.jit.ScriptModule):
        raise UnknownModelError("the model is scripted: its calls cannot be seen. Give the Python model that was scripted.")
    return model


def pick_device(device: str) -> torch.device:
    """Return the device of that name, after checking that it is available."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    kind = device.partition(":")[0]
    check_option("device", kind, DEVICES)
    if kind == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if not available[kind]:
        known = ", ".join(name for name in available if available[name])
        raise OptionError(f"device {device!r} is not available: torch sees {known}. Give one of these, or auto.")
    return torch.device(device)


def hash_tensors(model: nn.Module) -> str:
    """Return "tensors-sha256:..." of a model's parameters and buffers, with their names, shapes and types."""
    digest = hashlib.sha256()
    state: dict[str, object] = model.state_dict()
    for name, value in state.items():
        tensors = tensors_in(value)
        if not tensors:  # what a module's get_extra_state() returns
            digest.update(f"{name}{_ADDRESS.sub('', repr(value))}".encode())
        for tensor in tensors:
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            stored = tensor.int_repr() if tensor.is_quantized else tensor
            digest.update(stored.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"tensors-sha256:{digest.hexdigest()}"
