"""Where a scan's pictures come from: a folder, a glob, a list file, a URI, or a torch Dataset."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import OptionError, PictureError
from ..images import MAX_BYTES, find_pictures, open_picture
from ..models import Preprocessing
from ..samples import is_sample
from .pictures import (
    LoadedPicture,
    Pictures,
    empty_file,
    error_text,
    file_name,
    large_file,
    load_file,
    outside_text,
    prepare,
    printable_name,
)
from .places import folders_of, is_inside, is_remembered
from .remote import RemoteFiles, list_remote

#: A file with one of these suffixes lists pictures, one path per line, relative to the folder that the list is in.
LIST_SUFFIXES = (".txt", ".lst", ".list")

#: What `open_source` takes; sequences and tensors (N, C, H, W) count as datasets.
PictureSource: TypeAlias = (
    "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Sequence[Image] | Tensor | Dataset[Any] | Pictures"
)


@dataclass(frozen=True)
class LocalFiles:
    """Picture files below a folder, named by their path from there."""

    root: str
    names: tuple[str, ...]

    def path(self, name: str) -> str:
        """Return where a picture is."""
        path, plain = os.path.join(self.root, file_name(name)), os.path.join(self.root, name)
        if path == plain:
            return path
        # scans of former versions did not escape the backslash of a name that reads as an escaped one
        return plain if os.path.exists(plain) and not os.path.exists(path) else path

    def may_read(self, name: str) -> bool:
        """Return whether a picture is below the folder, or in one that this user has scanned."""
        return bool(self.root and is_inside(file_name(name))) or all(map(is_remembered, folders_of(self.root, [name])))

    def named_from(self, root: str) -> LocalFiles:
        """Return the same files, named by their path from another folder."""
        return name_files([Path(self.path(name)) for name in self.names], Path(root))

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None if there is no such file, or if it may not be read."""
        try:
            return os.stat(self.path(name)).st_size if self.may_read(name) else None
        except OSError:
            return None

    def exists(self, name: str) -> bool:
        """Return whether this process can see a file."""
        return os.path.isfile(self.path(name))

    def load(self, index: int, name: str, preprocess: Preprocessing | None) -> LoadedPicture:
        """Read and prepare one picture; errors are returned, not raised.

        A name that was not listed, but comes from a scan's file, is read below the folder and where this user has scanned.
        """
        is_listed = 0 <= index < len(self.names) and self.names[index] == name
        if not is_listed and not self.may_read(name):
            return LoadedPicture(None, problem=outside_text(name, self.root))
        path = self.path(name)
        return load_file(lambda: _read(path), path, preprocess)


@dataclass(frozen=True, eq=False)
class DatasetItems:
    """The items of a torch Dataset: images (C, H, W) as the model expects them, or PIL pictures; of a tuple the first."""

    dataset: Any
    names: tuple[str, ...]
    root: str | None = None  # "" where the names are paths

    def path(self, name: str) -> str:
        """Return an item's name."""
        return name

    def size(self, name: str) -> int | None:
        """Return the bytes of an item's file, None if it has no file."""
        return None if self.root is None else LocalFiles(self.root, ()).size(name)

    def exists(self, name: str) -> bool:
        """Return True: a Dataset is where this process is."""
        return True

    def load(self, index: int, name: str, preprocess: Preprocessing | None) -> LoadedPicture:
        """Get and prepare one item; errors are returned, not raised."""
        try:
            if index < 0:
                raise PictureError("the dataset no longer has this item. Give the one that the scan began with.")
            item = self.dataset[index]
            item = item[0] if isinstance(item, (tuple, list)) else item
            notes: list[str] = []
            pixels = prepare(item, preprocess, on_note=notes.append)
            return replace(self._file(name), pixels=pixels, note=" ".join(notes) or None)
        except Exception as error:  # a Dataset may raise anything for a bad item
            return LoadedPicture(None, problem=error_text(error))

    def _file(self, name: str) -> LoadedPicture:
        """Return size and digest of an item's file, by which it is known when it is read by its name."""
        try:
            data = b"" if self.root is None else _read(LocalFiles(self.root, ()).path(name))
        except PictureError:  # its name is no path after all
            data = b""
        return LoadedPicture(None, len(data), hashlib.sha256(data).hexdigest()) if data else LoadedPicture(None)


def source_at(root: str) -> Pictures:
    """Return the pictures of a folder or a URI, to be read by their names from there; nothing is listed."""
    return RemoteFiles(root, ()) if "://" in root else LocalFiles(root, ())


def open_source(pictures: PictureSource) -> Pictures:
    """List pictures, in a fixed order.

    Args:
        pictures: a folder (with all folders below it), s3://BUCKET/FOLDER or another URI, a glob ("photos/**/*.jpg"), a list
            file (.txt, one path per line), paths, or a torch Dataset of PIL pictures or of images (C, H, W).

    Raises:
        PictureError: there is no such folder or file, it has no pictures, or `pictures` is of another type.
    """
    source = _list(pictures)
    if not source.names:
        raise PictureError("there is no picture to scan: the list is empty. Give at least one.")
    return source


def first_pictures(source: Pictures, limit: int | None) -> Pictures:
    """Return the first pictures of a source, `limit` of them at most; None: all.

    Raises:
        OptionError: the source is of a kind of its own, which cannot be cut.
    """
    if limit is None or len(source.names) <= limit:
        return source
    if not isinstance(source, (LocalFiles, RemoteFiles, DatasetItems)):
        raise OptionError(f"limit cannot be {limit} for pictures of type {type(source).__name__}. Give fewer of them.")
    return replace(source, names=source.names[:limit])


def _list(pictures: Any) -> Pictures:
    if isinstance(pictures, Pictures):
        return pictures
    if isinstance(pictures, str) and "://" in pictures:
        return list_remote(pictures)
    if isinstance(pictures, (str, os.PathLike)):
        return _list_path(pictures)
    if isinstance(pictures, (list, tuple)) and all(isinstance(path, (str, os.PathLike)) for path in pictures):
        return name_files(find_pictures(pictures), Path.cwd())
    if hasattr(pictures, "__getitem__") and hasattr(pictures, "__len__"):
        return _list_items(pictures)
    kind = type(pictures).__name__
    raise PictureError(f"pictures cannot be of type {kind}. Give a folder, a glob, a list file, paths, or a Dataset.")


def _list_path(name: str | os.PathLike[str]) -> LocalFiles:
    if is_sample(name):
        raise PictureError(
            f"a scan reads files, and {name!r} is none. Write the samples to a folder, and scan that:"
            " deconvnet samples --out samples"
        )
    path = Path(name)
    if path.is_dir():
        return name_files(find_pictures(path), path)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return name_files([path.parent / line for line in _read_lines(path)], path.parent)
    if not path.exists() and glob.has_magic(str(name)):
        files = sorted(Path(match) for match in glob.glob(str(name), recursive=True) if os.path.isfile(match))
        if not files:
            raise PictureError(f"no pictures match {str(name)!r}. Check the pattern.")
        return name_files(files, Path.cwd())
    return name_files(find_pictures(path), path.parent)


def _list_items(dataset: Any) -> DatasetItems:
    samples = getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)  # torchvision's folders name theirs
    if samples and len(samples) == len(dataset):
        return DatasetItems(dataset, tuple(printable_name(str(sample[0])) for sample in samples), root="")
    return DatasetItems(dataset, tuple(f"item {number}" for number in range(len(dataset))))


def name_files(paths: Iterable[Path], root: Path) -> LocalFiles:
    """Name files by their path from `root`, or by their whole path if they are not below it; each once."""
    folder = os.path.abspath(root)
    whole = (os.path.abspath(path) for path in paths)
    names = (os.path.relpath(name, folder) if name.startswith(folder + os.sep) else name for name in whole)
    return LocalFiles(folder, tuple(dict.fromkeys(printable_name(name.replace(os.sep, "/")) for name in names)))


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(
            f"cannot read the list {str(path)!r}: {error}. Give a text file with one path per line, in UTF-8."
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise PictureError(f"the list {str(path)!r} names no picture. Give one path per line.")
    return lines


def _read(path: str) -> bytes:
    try:
        if not os.path.isfile(path):
            open_picture(path)  # raises, and says what is there instead
        if os.path.getsize(path) > MAX_BYTES:
            raise large_file(path)
        with open(path, "rb") as handle:
            data = handle.read()
    except OSError as error:
        raise PictureError(f"cannot open {path!r}: {error.strerror}. Check the path.") from error
    if not data:
        raise empty_file(path)
    return data
