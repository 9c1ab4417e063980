"""Where a scan's pictures come from: a folder, a glob, a list file, a URI (`far.py`), or a torch Dataset; in a stable order."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import PictureError
from ..images import Preprocess, find_pictures, open_picture

#: A file with one of these suffixes lists pictures, a path a line, relative to the folder that it lies in.
LISTS = (".txt", ".lst", ".list")

#: A larger file is not read: no picture that is small enough to be decoded needs more.
MAX_BYTES = 2**30

Size = tuple[int, int, int]


@dataclass(frozen=True)
class LoadedPicture:
    """One picture as the net gets it, or why it does not."""

    pixels: npt.NDArray[np.uint8] | Tensor | None  # (H, W, C) to be normalised, or (C, H, W) as the model expects it
    size: int | None = None  # bytes of the file
    sha256: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class LocalFiles:
    """Picture files below a folder, named by their path from there."""

    root: str
    names: tuple[str, ...]

    def path(self, name: str) -> str:
        """Return where a picture lies."""
        path = os.path.join(self.root, name)
        return path if os.path.exists(path) else os.path.join(self.root, _file_name(name))

    def named_from(self, root: str) -> LocalFiles:
        """Return the same files, named by their path from another folder."""
        return _files([Path(self.path(name)) for name in self.names], Path(root))

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None where there is none."""
        try:
            return os.stat(self.path(name)).st_size
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        """Return whether this process can see a file."""
        return os.path.isfile(self.path(name))

    def load(self, number: int, name: str, preprocess: Callable[[Any], Tensor] | None) -> LoadedPicture:
        """Read and prepare one picture; a trouble with it is told, not raised."""
        path, size, digest = self.path(name), None, None
        try:
            data, size = _read(path)
            digest = hashlib.sha256(data).hexdigest()
            return LoadedPicture(prepare(decode(data, path), preprocess), size, digest)
        except Exception as error:  # also what a preprocessing of one's own raises
            return LoadedPicture(None, size, digest, error_text(error))


@dataclass(frozen=True)
class DatasetItems:
    """The items of a torch Dataset: tensors (C, H, W) as the model expects them, or PIL pictures; first of a tuple."""

    dataset: Any
    names: tuple[str, ...]
    root: str | None = None  # "" where the names are paths

    def path(self, name: str) -> str:
        """Return an item's name."""
        return name

    def size(self, name: str) -> int | None:
        """An item has no file."""
        return None

    def exists(self, name: str) -> bool:
        """The data set is where this process is."""
        return True

    def load(self, number: int, name: str, preprocess: Callable[[Any], Tensor] | None) -> LoadedPicture:
        """Get one item; whatever the data set raises is told, not raised."""
        try:
            if number < 0:
                raise PictureError("the data set has no such item now. Give the one that was begun with.")
            item = self.dataset[number]
            item = item[0] if isinstance(item, (tuple, list)) else item
            return LoadedPicture(prepare(item, preprocess))
        except Exception as error:  # a Dataset may raise anything for a bad item
            return LoadedPicture(None, problem=error_text(error))


class Pictures(Protocol):
    """Pictures by name, in one order; `root` is what the names are relative to, None where they are no paths."""

    @property
    def root(self) -> str | None:
        """A folder or a URI."""

    @property
    def names(self) -> Sequence[str]:
        """All names, each once."""

    def path(self, name: str) -> str:
        """Return where a picture lies."""

    def size(self, name: str) -> int | None:
        """Return its bytes, None where it is no file."""

    def exists(self, name: str) -> bool:
        """Return whether this process can see it."""

    def load(self, number: int, name: str, preprocess: Callable[[Any], Tensor] | None) -> LoadedPicture:
        """Read and prepare it; a trouble is told, not raised."""


def source_at(root: str) -> Pictures:
    """Return the pictures of a folder or a URI by their names from there, without listing them."""
    if "://" in root:
        from .remote import RemoteFiles

        return RemoteFiles(root, ())
    return LocalFiles(root, ())


def open_source(pictures: Any) -> Pictures:
    """Take a folder, s3://BUCKET/FOLDER, a glob ("photos/**/*.jpg"), a list file (.txt), paths, or a torch Dataset."""
    found = _found(pictures)
    if not found.names:
        raise PictureError("there is no picture to scan: the list is empty. Give at least one.")
    return found


def _found(pictures: Any) -> Pictures:
    if hasattr(pictures, "load") and hasattr(pictures, "names"):
        return pictures
    if isinstance(pictures, str) and "://" in pictures:
        from .remote import find_far

        return find_far(pictures)
    if isinstance(pictures, (list, tuple)) and all(isinstance(one, (str, os.PathLike)) for one in pictures):
        return _files(find_pictures(pictures), Path.cwd())
    if hasattr(pictures, "__getitem__") and hasattr(pictures, "__len__") and not isinstance(pictures, str):
        return _items(pictures)
    if not isinstance(pictures, (str, os.PathLike)):
        what = type(pictures).__name__
        raise PictureError(f"cannot take pictures from a {what}. Give a folder, a glob, a list file, paths, or a Dataset.")
    path = Path(pictures)
    if path.is_dir():
        return _files(find_pictures(path), path)
    if path.suffix.lower() in LISTS and path.is_file():
        return _files([path.parent / line for line in _lines(path)], path.parent)
    if not path.exists() and glob.has_magic(str(pictures)):
        found = sorted(Path(name) for name in glob.glob(str(pictures), recursive=True) if os.path.isfile(name))
        if not found:
            raise PictureError(f"no pictures match {str(pictures)!r}. Check the pattern.")
        return _files(found, Path.cwd())
    return _files(find_pictures(path), path.parent)


def prepare(picture: Any, preprocess: Callable[[Any], Tensor] | None) -> npt.NDArray[np.uint8] | Tensor:
    """Return the pixels that the net sees, (H, W, C) uint8, where they are normalised in batches later; else (C, H, W)."""
    if isinstance(picture, Tensor):
        return _checked(picture)
    if preprocess is None:
        raise PictureError(f"a {type(picture).__name__} needs a preprocessing. Pass preprocess= to DeconvNet, or give tensors.")
    if isinstance(preprocess, Preprocess):
        pixels: npt.NDArray[np.uint8] = np.asarray(preprocess.crop_picture(picture))
        return pixels if pixels.ndim == 3 else pixels[:, :, None]
    return _checked(preprocess(open_picture(picture)))


def size_of(pixels: npt.NDArray[np.uint8] | Tensor) -> Size:
    """Return (C, H, W) of what `prepare` returns."""
    first, second, third = pixels.shape
    return (first, second, third) if isinstance(pixels, Tensor) else (third, first, second)


def check_size(seen: LoadedPicture, size: Size) -> LoadedPicture:
    """Return what was seen, as a problem where it is not of the size (C, H, W) that the scan's maps belong to."""
    if seen.pixels is None or size_of(seen.pixels) == size:
        return seen
    found, wanted = ("x".join(map(str, one)) for one in (size_of(seen.pixels), size))
    return replace(seen, pixels=None, problem=f"it is {found} where the scan's pictures are {wanted}. Crop them alike.")


def collate(seen: Sequence[npt.NDArray[np.uint8] | Tensor], preprocess: Any) -> Tensor:
    """Return a batch (N, C, H, W) float32: bytes are normalised as `Preprocess` does it, bit for bit."""
    if any(isinstance(one, Tensor) for one in seen):
        return torch.stack([one if isinstance(one, Tensor) else collate([one], preprocess)[0] for one in seen])
    pixels = torch.from_numpy(np.stack([np.asarray(one) for one in seen])).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std))
    return pixels.float().div_(255).sub_(mean).div_(std)


def _items(dataset: Any) -> DatasetItems:
    samples = getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)  # torchvision's folders name theirs
    if samples and len(samples) == len(dataset):
        return DatasetItems(dataset, tuple(_text(str(sample[0])) for sample in samples), root="")
    return DatasetItems(dataset, tuple(f"item {number}" for number in range(len(dataset))))


def _files(paths: Sequence[Path], root: Path) -> LocalFiles:
    """Name files by their path from `root`, or in full where they do not lie below it; each once."""
    folder = os.path.abspath(root)
    names = (os.path.abspath(path) for path in paths)
    short = (os.path.relpath(name, folder) if name.startswith(folder + os.sep) else name for name in names)
    return LocalFiles(folder, tuple(dict.fromkeys(_text(name.replace(os.sep, "/")) for name in short)))


def _text(name: str) -> str:
    """Return a name that can be stored and printed: bytes that are no UTF-8 are written as in "gr\\xfcn.png"."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _file_name(text: str) -> str:
    """Return the name that `_text` was given."""
    return re.sub(r"\\x([89a-f][0-9a-f])", lambda found: os.fsdecode(bytes.fromhex(found[1])), text)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(f"cannot read the list {str(path)!r}: {error}. Give a text file with a path a line.") from error
    found = [line for line in lines if line]
    if not found:
        raise PictureError(f"the list {str(path)!r} names no picture. Give a path a line.")
    return found


def _read(path: str) -> tuple[bytes, int]:
    name = repr(path)
    try:
        if not os.path.isfile(path):
            open_picture(path)  # says what is there instead
        if os.path.getsize(path) > MAX_BYTES:
            raise PictureError(
                f"cannot open {name}: it has more than {MAX_BYTES:,} bytes, too many to be safe. Shrink it first."
            )
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        raise PictureError(f"cannot open {name}: {error.strerror}. Check the path.") from error
    if not data:
        raise PictureError(f"cannot open {name}: the file is empty. Get a fresh copy.")
    return data, len(data)


def _checked(image: Tensor) -> Tensor:
    if not isinstance(image, Tensor) or image.dim() != 3 or not image.is_floating_point():
        found = f"{tuple(image.shape)} of {str(image.dtype).removeprefix('torch.')}" if isinstance(image, Tensor) else image
        raise PictureError(f"an image must be a float tensor (C, H, W), found {found}.")
    return image


def error_text(error: Exception) -> str:
    """Return what is written down of a failure, on one line."""
    text = _text(" ".join(str(error).split()))
    return text if isinstance(error, PictureError) else f"{type(error).__name__}: {text}"


def decode(data: bytes, path: str) -> Any:
    """Open a picture from its bytes; the path only names it."""
    return open_picture(path, data=io.BytesIO(data))
