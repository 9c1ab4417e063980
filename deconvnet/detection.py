"""torchvision's detectors: they take pictures one by one, and copy each into a canvas. Here a batch goes through at once.

Pictures of a batch have one size, so that normalising, resizing and padding all of them together gives the same numbers, by
calls that leave the images apart and have rules.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MODULE = "torchvision.models.detection.transform"


@contextmanager
def batched_transforms(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let the transforms of torchvision's detectors take a batch (N, C, H, W) as a whole while this context lasts."""
    known = getattr(sys.modules.get(_MODULE), "GeneralizedRCNNTransform", None)  # None: no detector was made in this process
    transforms = [] if known is None else [module for module in modules if is_transform(module, known)]
    for module in transforms:
        vars(module)["forward"] = partial(_prepare, module)
    try:
        yield
    finally:
        for module in transforms:
            vars(module).pop("forward", None)


def is_transform(module: nn.Module, known: Any) -> bool:
    """Say whether a module is torchvision's transform, the class `known`, with the forward that torchvision gave it."""
    return isinstance(module, known) and type(module).forward is known.forward and "forward" not in vars(module)


def _prepare(transform: Any, images: Any, targets: Any = None) -> Any:
    """Do as `GeneralizedRCNNTransform.forward` does in eval mode, with a batch."""
    if targets is not None or not isinstance(images, Tensor) or images.dim() != 4:
        return type(transform).forward(transform, images, targets)
    mean, std = (
        torch.tensor(values, dtype=images.dtype, device=images.device).view(-1, 1, 1)
        for values in (transform.image_mean, transform.image_std)
    )
    images = (images - mean) / std
    with torch._C.DisableTorchFunction():  # an empty picture tells the size, and is none of the net's calls
        height, width = transform.resize(torch.empty(images.shape[1:], device="meta"), None)[0].shape[-2:]
    if (height, width) != images.shape[-2:]:
        images = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
    margins = [-length % transform.size_divisible for length in (width, height)]
    if any(margins):
        images = F.pad(images, (0, margins[0], 0, margins[1]))
    image_list = sys.modules[_MODULE].ImageList
    return image_list(images, [(height, width)] * len(images)), None
