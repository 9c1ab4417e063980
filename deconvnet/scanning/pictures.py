"""Pictures as a scan takes them: read, decoded, cropped, checked and stacked to batches, wherever they come from."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import ModelError, PictureError
from ..images import MAX_BYTES, OnNote, OwnPreprocess, Picture, Preprocess
from ..models import Preprocessing
from .jpegs import Jpeg, LeavesJpegs

_ESCAPED = re.compile(r"\\(x(?:5c|[89a-f][0-9a-f]))")

Size: TypeAlias = tuple[int, int, int]  # (C, H, W)
#: (H, W, C) uint8, still to be normalised, on a GPU if that decoded it; or (C, H, W) of floats, as the model expects it.
Pixels: TypeAlias = "npt.NDArray[np.uint8] | Tensor"


@dataclass(frozen=True, eq=False)
class LoadedPicture:
    """One picture as the net gets it, or still as a JPEG, or the problem that keeps it from being used."""

    pixels: Pixels | None
    size: int | None = None  # bytes of the file
    sha256: str | None = None
    problem: str | None = None
    note: str | None = None  # what was left out of it
    jpeg: Jpeg | None = None  # which a GPU decodes


@runtime_checkable
class Pictures(Protocol):
    """Pictures by name, in a fixed order."""

    @property
    def root(self) -> str | None:
        """The folder or URI that names are relative to; None where names are no paths."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all pictures, each once."""

    def path(self, name: str) -> str:
        """Return where a picture is."""

    def size(self, name: str) -> int | None:
        """Return the bytes of a picture's file, None if it has no file."""

    def exists(self, name: str) -> bool:
        """Return whether this process can see a picture."""

    def load(self, index: int, name: str, preprocess: Preprocessing | None) -> LoadedPicture:
        """Read and prepare the picture at an index of `names`; errors are returned, not raised."""


def load_file(read: Callable[[], bytes], name: str, preprocess: Preprocessing | None) -> LoadedPicture:
    """Read a file and prepare its picture; errors are returned, not raised."""
    size, digest = None, None
    try:
        data = read()
        size, digest = len(data), hashlib.sha256(data).hexdigest()
        if not data:
            raise empty_file(name)
        jpeg = preprocess.jpeg(data, name) if isinstance(preprocess, LeavesJpegs) else None
    except Exception as error:
        return LoadedPicture(None, size, digest, error_text(error))
    loaded = LoadedPicture(None, size, digest, jpeg=jpeg)
    return loaded if jpeg is not None else _decoded(loaded, name, data, preprocess)


def decode_exactly(picture: LoadedPicture, preprocess: Preprocessing | None) -> LoadedPicture:
    """Return a picture that is still a JPEG as Pillow decodes it; errors are returned, not raised."""
    assert picture.jpeg is not None
    return _decoded(replace(picture, jpeg=None), picture.jpeg.path, picture.jpeg.data, preprocess)


def _decoded(loaded: LoadedPicture, name: str, data: bytes | bytearray, preprocess: Preprocessing | None) -> LoadedPicture:
    notes: list[str] = []
    try:
        pixels = prepare(name, preprocess, data=io.BytesIO(data), on_note=notes.append)
        return replace(loaded, pixels=pixels, note=" ".join(notes) or None)
    except Exception as error:  # a user's own preprocessing may raise anything
        return replace(loaded, problem=error_text(error))


def prepare(
    picture: Picture | Tensor,
    preprocess: Preprocessing | None,
    *,
    data: IO[bytes] | None = None,
    on_note: OnNote | None = None,
) -> Pixels:
    """Return a picture's pixels, to be stacked by `collate`.

    Args:
        picture: a path, a PIL picture, or an image (C, H, W) as the model expects it.
        preprocess: turns a picture into such an image; None where all pictures are images already.
        data: the bytes of the file, if they were read already.
        on_note: is told of what was left out of the picture; None: that is a warning.

    Returns:
        (H, W, C) uint8 where `preprocess` is a `Preprocess`, which `collate` normalises; else the image (C, H, W).

    Raises:
        PictureError: it is not a picture, it needs a preprocessing, or its image has another form.
    """
    if isinstance(picture, Tensor):
        return _check_image(picture)
    if preprocess is None:
        raise PictureError(
            f"cannot prepare a picture of type {type(picture).__name__}: the net has no preprocessing."
            " Pass preprocess= to DeconvNet, or give tensors."
        )
    if isinstance(preprocess, Preprocess):
        return preprocess.crop_pixels(picture, data=data, on_note=on_note)
    reader = preprocess if isinstance(preprocess, OwnPreprocess) else OwnPreprocess(preprocess, channels=3)
    return _check_image(reader(picture, data=data, on_note=on_note))


def size_of(pixels: Pixels) -> Size:
    """Return (C, H, W) of what `prepare` returns."""
    first, second, third = pixels.shape
    return (first, second, third) if _is_image(pixels) else (third, first, second)


def _is_image(pixels: Pixels) -> bool:
    """Say whether this is an image as the model expects it, not pixels that are still to be normalised."""
    return isinstance(pixels, Tensor) and pixels.is_floating_point()


def check_size(picture: LoadedPicture, size: Size) -> LoadedPicture:
    """Return a picture as it is, or as a problem if its size is not the (C, H, W) that the scan's maps belong to."""
    if picture.pixels is None or size_of(picture.pixels) == size:
        return picture
    found, expected = ("x".join(map(str, numbers)) for numbers in (size_of(picture.pixels), size))
    problem = f"it is {found}, the scan's pictures are {expected}. Crop them alike."
    return replace(picture, pixels=None, problem=problem)


def collate(pictures: Sequence[Pixels], preprocess: Preprocessing | None, device: torch.device | None = None) -> Tensor:
    """Stack what `prepare` returned to a batch (N, C, H, W) float32; bytes are normalised exactly as by `Preprocess`.

    Args:
        pictures: B of them; pixels that a GPU decoded are on `device`.
        preprocess: of the net.
        device: where the batch is wanted; None: the CPU. A GPU copies it while it computes, and normalises it.
    """
    device = device or torch.device("cpu")
    if any(_is_image(pixels) for pixels in pictures):
        images = [pixels if isinstance(pixels, Tensor) else collate([pixels], preprocess)[0] for pixels in pictures]
        return _moved(torch.stack(images), device)
    assert isinstance(preprocess, Preprocess)  # nothing else leaves bytes
    stacked = _stacked(pictures, device)
    count, height, width, channels = stacked.shape
    # row by row, as pixels lie in memory: in half the time that three channels take, one by one. Factors are tensors: by a
    # number, a GPU multiplies with its inverse, which differs in the last digit
    rows = stacked.view(count, height, width * channels).float()
    depth, mean, std = (
        _moved(torch.tensor(values, dtype=torch.float32).repeat(width), device)
        for values in ((255.0,) * channels, preprocess.mean, preprocess.std)
    )
    return rows.div_(depth).sub_(mean).div_(std).view(count, height, width, channels).permute(0, 3, 1, 2)


def _stacked(pictures: Sequence[Pixels], device: torch.device) -> Tensor:
    """Stack pixels on a device, (N, H, W, C) uint8; those that are not there yet are moved together."""
    here = [np.asarray(pixels) for pixels in pictures if not isinstance(pixels, Tensor)]
    moved = _moved(torch.from_numpy(np.stack(here)), device) if here else torch.empty(0)
    if len(here) == len(pictures):
        return moved
    left = iter(moved)
    return torch.stack([pixels if isinstance(pixels, Tensor) else next(left) for pixels in pictures])


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """Return values on a device. A GPU copies them from pinned memory, beside what it computes, and nobody waits."""
    if device.type != "cuda":
        return values.to(device)
    copies, computes = _copy_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copies):
        moved = values.pin_memory().to(device, non_blocking=True)
    computes.wait_stream(copies)
    moved.record_stream(computes)
    return moved


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def printable_name(name: str) -> str:
    """Return a name that can be stored and printed: bytes that are not UTF-8 are escaped, as in "gr\\xfcn.png".

    The backslash of a name that reads so itself is escaped too: no two files get one name.
    """
    return os.fsencode(_ESCAPED.sub(r"\\x5c\1", name)).decode("utf-8", "backslashreplace")


def file_name(printable: str) -> str:
    """Return the name that `printable_name` was given."""
    return re.sub(r"\\x(5c|[89a-f][0-9a-f])", lambda match: os.fsdecode(bytes.fromhex(match[1])), printable)


def error_text(error: Exception) -> str:
    """Return an error as one line, as it is kept in the scan's file; the type is left out if the text is written for users."""
    text = printable_name(" ".join(str(error).split()))
    return text if isinstance(error, (PictureError, ModelError)) else f"{type(error).__name__}: {text}"


def outside_text(name: str, root: str | None) -> str:
    """Return why a picture that a scan's file names is not read: it is somewhere else than its pictures are."""
    where = f"is not below {root!r}" if root else "is a path of its own"
    return f"{name!r} {where}, and this user has scanned nothing there. It is not read."


def empty_file(name: str) -> PictureError:
    """Return the error of a file without a byte."""
    return PictureError(f"cannot open {name!r}: the file is empty. Get a fresh copy.")


def large_file(name: str) -> PictureError:
    """Return the error of a file with more than `MAX_BYTES`."""
    return PictureError(f"cannot open {name!r}: it has more than {MAX_BYTES:,} bytes, too many to be safe. Shrink it first.")


def _check_image(image: Any) -> Tensor:
    if not isinstance(image, Tensor) or image.dim() != 3 or not image.is_floating_point():
        found = f"{tuple(image.shape)} of {str(image.dtype).removeprefix('torch.')}" if isinstance(image, Tensor) else image
        raise PictureError(f"an image must be a float tensor (C, H, W), found {found}.")
    return image
