"""Forward passes of many images: each layer's activations are handed over where they are made, to be reduced there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError, check_option
from ..images import Preprocess, to_rgb
from ..net import DeconvNet
from ..projection import as_maps, default_layer
from ..recording import Recording, run_model

#: Images a forward pass, and on a CPU how many bytes the largest map of all of them may take: more leaves the caches.
BATCH, MOST_BYTES = 64, 32 * 2**20

Reduce = Callable[[str, Tensor], Any]
Number = np.ndarray[Any, Any]

#: What a pixel that is taken away can become, beside a colour.
FILLS = ("mean", "picture", "black", "white")


class Forward:
    """Runs batches of images through a net to the end, and hands over the activations of some layers.

    Nothing of the way down is kept, so this is faster than recording, and its memory is that of a plain forward pass.
    `recording`: of any image of that size; its maps tell how many images a batch should have.
    """

    def __init__(self, net: DeconvNet, layers: Sequence[str], recording: Recording | None = None) -> None:
        self.net, self.layers = net, list(dict.fromkeys(layers))
        parameter = next((p for p in net.model.parameters() if p.is_floating_point()), torch.zeros(1))
        self.device, self.dtype = parameter.device, parameter.dtype
        self.batch = BATCH if self.device.type == "cuda" else 8 if recording is None else _fitting(recording)
        self.order = torch.channels_last

    def __call__(self, images: Tensor, reduce: Reduce) -> tuple[Any, dict[str, Any]]:
        """Run one batch (B, C, H, W); return the net's answer, and of each layer `reduce(layer, activations)`."""
        images = images.to(self.device, self.dtype)
        found: dict[str, Any] = {}
        try:
            run = run_model(
                self.net.model,
                images.contiguous(memory_format=self.order),
                {},
                self.layers,
                stop=False,
                keep=lambda layer, activations: found.update({layer: reduce(layer, activations)}),
            )
        except RuntimeError as error:
            if "view" not in str(error) or self.order is torch.contiguous_format:
                raise
            self.order = torch.contiguous_format  # a model that views its maps as rows needs them in that order
            return self(images, reduce)
        return run.output, found


def _fitting(recording: Recording) -> int:
    largest = max(shape[1:].numel() for shape in recording.tape.shapes) * recording.images.element_size()
    return max(1, min(BATCH, MOST_BYTES // largest))


@dataclass(frozen=True)
class Features:
    """What a batch of images made of some layers, and the net's answer."""

    layers: dict[str, Tensor]  # (B, ...) each, as they left the layer
    output: Any


def features(net: DeconvNet, images: Tensor, layers: Sequence[str]) -> Iterator[Features]:
    """Yield the activations of layers, whole, and the answer, batch by batch of images (N, C, H, W)."""
    forward = Forward(net, layers)
    for some in torch.split(images, forward.batch):
        output, found = forward(some, _whole)
        yield Features(found, output)


def check_layers(recording: Recording, layers: Sequence[str]) -> None:
    """Refuse layers that a recording does not know: a forward pass would hand over nothing of them, and not say so."""
    for layer in layers:
        recording.value(layer)


def seen_pixels(net: DeconvNet, image: Tensor) -> Number:
    """Return what the net saw as pixels that can be shown: (C, H, W) as the net expects it -> (H, W, 3) uint8."""
    return to_rgb(net.loaded.denormalise(image, net.preprocess))


def net_maps(recording: Recording, layer: str | None) -> tuple[str, Tensor]:
    """Return a layer's name, by default the last rectified one's, and its activations as maps (N, C', H', W')."""
    layer = layer or default_layer(recording)
    return layer, as_maps(recording.kept_activations(layer), recording.layout(layer), layer)


def _whole(layer: str, activations: Tensor) -> Tensor:
    return activations.detach().clone()  # a later call in place may write over them


def strongest(net: DeconvNet, images: Tensor, recording: Recording, layers: Sequence[str]) -> dict[str, tuple[Number, Number]]:
    """Return for each layer every map's maximum, (N, C), and its place, row * W' + col; the first among equals.

    `recording`: of any image of that size; it tells the layers' axes.
    """
    forward = Forward(net, layers, recording)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def maxima(layer: str, activations: Tensor) -> tuple[Tensor, Tensor]:
        values, places = as_maps(activations, recording.layout(layer), layer).flatten(2).max(2)
        return values.float().cpu(), places.cpu()

    for some in torch.split(images, forward.batch):
        for name, pair in forward(some, maxima)[1].items():
            found[name].append(pair)
    return {
        name: (torch.cat([values for values, _ in parts]).numpy(), torch.cat([places for _, places in parts]).numpy())
        for name, parts in found.items()
    }


def fill_colour(net: DeconvNet, image: Tensor, fill: str | Sequence[float]) -> Tensor:
    """Return the colour (C, 1, 1), in the net's own numbers, that stands where pixels of an image (C, H, W) are taken away.

    `fill`: "mean", the mean that the preprocessing subtracts, so that it becomes 0 (the mean pixel of ImageNet is nearly
    grey); "picture", this picture's own mean; "black", "white"; or a number for each channel, 0..1. Where the preprocessing
    is not known, 0 is taken for "mean".
    """
    if not isinstance(fill, str):
        return _normalised(net, image, tuple(map(float, fill)))
    check_option("fill", fill, FILLS)
    if fill == "picture":
        return image.mean((1, 2), keepdim=True)
    if fill == "mean":
        return image.new_zeros((len(image), 1, 1))
    return _normalised(net, image, (float(fill == "white"),) * len(image))


def _normalised(net: DeconvNet, image: Tensor, colour: Sequence[float]) -> Tensor:
    preprocess = net.preprocess
    if not isinstance(preprocess, Preprocess) or preprocess.channels != len(image):
        raise OptionError(f"{net.name} has no preprocessing that tells what a colour becomes. Use fill='mean' or 'picture'.")
    if len(colour) != len(image) or not all(0 <= part <= 1 for part in colour):
        raise OptionError(f"fill cannot be {tuple(colour)}: it is {len(image)} numbers, 0..1, one for each channel.")
    scaled = [(part - mean) / std for part, mean, std in zip(colour, preprocess.mean, preprocess.std, strict=True)]
    return image.new_tensor(scaled).view(-1, 1, 1)
