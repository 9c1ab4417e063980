"""What the critics' studies run on: pictures as given, or the bundled drawings, and a layer's activations as maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from PIL.Image import Image
from torch import Tensor

from ..drawings import Drawing, draw
from ..errors import PictureError
from ..images import Picture
from ..net import DeconvNet
from ..projection import as_maps, default_layer
from ..recording import Recording
from .result import as_images

StudyInput: TypeAlias = "Picture | Drawing | Tensor"


def drawings(count: int, first: int = 0) -> list[Drawing]:
    """Return the bundled drawings of seeds `first` on: what a study runs on where no picture is given."""
    return [draw(seed=seed) for seed in range(first, first + count)]


def as_list(pictures: StudyInput | Sequence[StudyInput] | None, *, otherwise: int = 1) -> list[Any]:
    """Return pictures as a list: one as a list of one, images (N, C, H, W) one by one, none as `otherwise` drawings."""
    if pictures is None:
        return drawings(otherwise) if otherwise > 1 else [draw("cat", seed=5)]
    if isinstance(pictures, Tensor):
        return [image[None] for image in pictures]
    if isinstance(pictures, (str, os.PathLike, Image, Drawing)) or not isinstance(pictures, Sequence):
        return [pictures]
    if not pictures:
        raise PictureError("no picture to study: the list is empty.")
    return list(pictures)


def as_batch(net: DeconvNet, pictures: Sequence[StudyInput]) -> Tensor:
    """Return pictures as the net expects them, (N, C, H, W)."""
    return torch.cat([_image(net, picture) for picture in pictures])


def name_of(picture: StudyInput) -> str:
    """Return a picture's path, or what a drawing is of."""
    if isinstance(picture, Drawing):
        return f"drawing of a {picture.name}"
    if isinstance(picture, Tensor):
        return "image"
    return str(getattr(picture, "filename", "") or "picture") if isinstance(picture, Image) else str(picture)


def net_maps(recording: Recording, layer: str | None) -> tuple[str, Tensor]:
    """Return a layer's name, the last rectified one where none is given, and its activations (N, C', H', W')."""
    layer = layer or default_layer(recording)
    return layer, as_maps(recording.kept_activations(layer), recording.layout(layer), layer)


def _image(net: DeconvNet, picture: StudyInput) -> Tensor:
    if isinstance(picture, Tensor):
        return picture if picture.dim() == 4 else picture[None]
    return as_images(net, [picture.picture if isinstance(picture, Drawing) else picture])
