"""Pictures of any kind become one batch and its names, in the same way for every command and study.

A picture is a file's path, the name of a sample such as "sample:cat", a PIL picture, a bundled drawing, or a tensor that is
normalised as the model expects it. Functions that take pictures take one, or a sequence of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from .drawings import Drawing, draw
from .errors import PictureError
from .images import OwnPreprocess, Picture, Preprocess, find_pictures, is_array_file, read_array
from .models.weight_files import hash_file
from .render.text import size_text
from .samples import PREFIX, is_sample, open_sample

#: What to do with a tensor that has no batch axis.
ONE_PICTURE = " One picture: image.unsqueeze(0)."

PictureInput: TypeAlias = "Picture | Drawing | Tensor"
PictureInputs: TypeAlias = "PictureInput | Sequence[PictureInput]"


class TakesPictures(Protocol):
    """What pictures are prepared for: a net, with its name and its preprocessing."""

    @property
    def name(self) -> str:
        """The name that errors call it by."""

    @property
    def picture_reader(self) -> Preprocess | OwnPreprocess | None:
        """Opens a picture and turns it into a tensor (C, H, W), normalised; None where that is not known."""


def check_images(images: Tensor, *, others: bool = False) -> Tensor:
    """Return images, which must be a batch of floats, (N, C, H, W).

    Args:
        images: the batch.
        others: signals (N, C, L) and volumes (N, C, D, H, W) will do, too.

    Raises:
        PictureError: `images` has other axes, is not of floats, or is empty.
    """
    if images.dim() not in ((3, 4, 5) if others else (4,)) or not images.is_floating_point() or 0 in images.shape:
        form = f"{tuple(images.shape)} of {str(images.dtype).removeprefix('torch.')}"
        advice = {2: ONE_PICTURE, 3: ONE_PICTURE, 5: " Volumes can be recorded and projected alone."}.get(images.dim(), "")
        raise PictureError(f"images must be a float tensor (N, C, H, W), found {form}.{advice}")
    return images


def as_list(inputs: PictureInputs, *, others: bool = False) -> list[PictureInput]:
    """Return pictures as a list, one item for each.

    Args:
        inputs: a path, a sample's name, a PIL picture, a drawing, a tensor (N, C, H, W), or a sequence of these, in which a
            tensor may be (C, H, W) too.
        others: tensors may also hold signals, (N, C, L) or one (C, L), and volumes (N, C, D, H, W).

    Returns:
        The pictures in order; samples are opened, and every tensor is (1, C, H, W).

    Raises:
        PictureError: the sequence is empty, a tensor has another shape or type, or there is no such sample.
        MissingPackageError: a sample's package is not installed.
    """
    if isinstance(inputs, Tensor):
        return list(torch.split(check_images(inputs, others=others), 1))
    if isinstance(inputs, (str, os.PathLike)) or not isinstance(inputs, Sequence):
        return _as_items(inputs, others)
    if not inputs:
        raise PictureError("the list of pictures is empty. Give one or more.")
    return [picture for item in inputs for picture in _as_items(item, others)]


def as_batch(net: TakesPictures, inputs: PictureInputs, *, others: bool = False) -> Tensor:
    """Return pictures as one batch for a net.

    Args:
        net: what the pictures are prepared for.
        inputs: as for `as_list`; tensors are taken as they are.
        others: tensors and files may also hold signals and volumes.

    Returns:
        (N, C, H, W), normalised as the net expects it; a tensor (N, C, H, W) itself, not a copy of it.

    Raises:
        PictureError: there is no picture, one cannot be opened, the net has no preprocessing for it, or the images that the
            pictures become differ in size.
    """
    if isinstance(inputs, Tensor):
        return check_images(inputs, others=others)
    images = [check_images(_as_image(net, picture), others=others) for picture in as_list(inputs, others=others)]
    first = images[0]
    for image in images:
        if image.shape != first.shape:
            sizes = " and ".join(size_text(size) for size in (first.shape[1:], image.shape[1:]))
            raise PictureError(f"pictures must become images of one size, found {sizes}. Resize them, or take them one by one.")
    return torch.cat([image.to(first) for image in images])


def source_names(inputs: PictureInputs) -> list[str]:
    """Return the name of each picture: its path, its sample, "drawing of a cat", or "image 3" for the fourth if it is a tensor.

    A PIL picture is named by the file that it was opened from, "picture" without one; `named_picture` gives it a name.
    """
    return [_source_name(picture, number) for number, picture in enumerate(as_list(inputs, others=True))]


def picture_digests(inputs: PictureInputs) -> list[str]:
    """Return what identifies each picture: "sha256:..." of a file, of a PIL picture's pixels or of a tensor's numbers.

    A drawing is named by what draws it again: "drawing cat, seed 5, 96 px".
    """
    return [_picture_digest(picture) for picture in as_list(inputs, others=True)]


def only_picture(inputs: PictureInputs, *, user: str = "this study") -> PictureInput:
    """Return the one picture of `inputs`.

    Args:
        inputs: one picture, or a sequence that holds one.
        user: what takes one picture, as the subject of an error.

    Raises:
        PictureError: there are several pictures, or none.
    """
    pictures = as_list(inputs)
    if len(pictures) != 1:
        raise PictureError(f"{user} takes one picture, found {len(pictures)}. Give one at a time.")
    return pictures[0]


def find_inputs(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str | Path]:
    """List pictures that are named by the user, in order: as `find_pictures` does, and the names of samples as they are.

    Args:
        paths: one or several: a file, a folder, which stands for the pictures in and below it, or the name of a sample.

    Raises:
        PictureError: there is no such path or sample, or a folder has no pictures.
        MissingPackageError: a sample's package is not installed.
    """
    found: list[str | Path] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        if is_sample(path):
            open_sample(path)  # refused here, before a net is loaded
        found += [path] if is_sample(path) else find_pictures(path)
    return found


def open_input(picture: Picture) -> Picture:
    """Return a picture that `open_picture` takes: itself, or that of a sample's name."""
    opened = open_sample(picture) if is_sample(picture) else picture
    return opened.picture if isinstance(opened, Drawing) else opened


def file_stem(picture: object) -> str:
    """Return what the name of a picture's figure begins with: that of its file without the suffix, or of its sample.

    >>> file_stem(Path("photos/cat.jpg")), file_stem("sample:drawing/face"), file_stem(None)
    ('cat', 'drawing-face', 'drawing')
    """
    if is_sample(picture):
        return picture.removeprefix(PREFIX).replace("/", "-")
    return Path(picture).stem if isinstance(picture, (str, os.PathLike)) else "drawing"


def named_picture(picture: Image.Image, name: str) -> Image.Image:
    """Return a copy of a PIL picture whose source is called `name`."""
    copy: Any = picture.copy()
    copy.filename = name
    return copy


def default_picture() -> Image.Image:
    """Return what is shown where no picture is given: a drawing of a face."""
    return named_picture(draw("face", seed=7).picture, "a drawing of a face")


def _as_items(item: PictureInput, others: bool) -> list[PictureInput]:
    """Return an item of a sequence as pictures: a tensor may hold one image or several, a sample's name is opened."""
    if isinstance(item, Tensor):
        return list(
            torch.split(check_images(item[None] if item.dim() in ((2, 3) if others else (3,)) else item, others=others), 1)
        )
    return [open_sample(item) if is_sample(item) else item]


def _as_image(net: TakesPictures, picture: PictureInput) -> Tensor:
    """Return a picture as the net expects it, (1, C, H, W)."""
    if isinstance(picture, Tensor):
        return picture
    reader = net.picture_reader
    if is_array_file(picture) and not isinstance(reader, OwnPreprocess):
        return torch.from_numpy(read_array(picture))[None]  # type: ignore[arg-type]
    if reader is None:
        raise PictureError(f"{net.name} has no preprocessing for pictures. Pass preprocess=, or a tensor (N, C, H, W).")
    return reader(picture.picture if isinstance(picture, Drawing) else picture)[None]


def _picture_digest(picture: PictureInput) -> str:
    if isinstance(picture, Drawing):
        return f"drawing {picture.name}, seed {picture.seed}, {picture.picture.width} px"
    if isinstance(picture, Tensor):
        content = picture.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    elif isinstance(picture, Image.Image):
        content = f"{picture.mode} {picture.size} ".encode() + picture.tobytes()
    else:
        return hash_file(picture)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _source_name(picture: PictureInput, number: int) -> str:
    if isinstance(picture, Tensor):
        return f"image {number}"
    if isinstance(picture, Drawing):
        return picture.source or f"drawing of a {picture.name}"
    if isinstance(picture, Image.Image):
        return str(getattr(picture, "filename", "") or "picture")
    return str(picture)
