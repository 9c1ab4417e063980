"""Pictures in folders: links are followed, and what is left out is said."""

from __future__ import annotations

import difflib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..errors import PictureError, PictureWarning
from .formats import SUFFIXES, UNREAD_SUFFIXES

NEARLY = 0.8  # how alike two names are, 0..1, of which one may be meant for the other
LOOKED_AT = 10_000  # names in a folder, for one that is nearly the name of what is missing


def find_pictures(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """List the pictures in files and folders, in order.

    Args:
        paths: one path or several. A file stands for itself; a folder for the pictures in and below it that have a suffix of
            `SUFFIXES`, sorted by path, without hidden files and folders. Links to folders are followed.

    Raises:
        PictureError: there is no such path, or a folder has no pictures.

    Warns:
        PictureWarning: a folder below cannot be read, or has pictures in formats that are not read.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if not os.path.exists(path):  # Path.exists raises if a name is too long
            raise PictureError(_missing_text(os.fspath(given)))
        files += _pictures_below(path) if path.is_dir() else [path]
    return files


def _missing_text(path: str) -> str:
    """Say that there is no such path, and what was probably meant."""
    if "://" in path:
        return f"cannot open {path!r}: it is an address, not a file. Download the picture, and give its file."
    text = f"cannot open {path!r}: there is no such file or folder."
    home = os.path.expanduser(path)
    if home != path:
        return f"{text} Write {home!r}: a ~ in quotes is not your home folder."
    return f"{text}{_similar_text(path) or ' Check the path.'}"


def _similar_text(path: str) -> str:
    """Name what stands in the same folder under nearly the same name."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or ".") as listed:
            names = [entry.name for entry, _ in zip(listed, range(LOOKED_AT), strict=False)]
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(name, [other for other in names if not other.startswith(".")], n=2, cutoff=NEARLY)
    return f" Did you mean {' or '.join(repr(os.path.join(folder, other)) for other in close)}?" if close else ""


def _pictures_below(folder: Path) -> list[Path]:
    unread: Counter[str] = Counter()
    pictures: list[Path] = []
    for path in _files_below(folder):
        suffix = os.path.splitext(path)[1].lower()
        if suffix in SUFFIXES:
            pictures.append(Path(path))
        elif suffix in UNREAD_SUFFIXES:
            unread[suffix] += 1
    if unread:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
        files = "files are" if unread.total() > 1 else "file is"
        _warn(f"{unread.total()} {files} left out of {str(folder)!r}, in formats that are not read: {counts}.")
    if not pictures:
        raise PictureError(f"no pictures in {str(folder)!r}. Looked in it and below for {', '.join(SUFFIXES)}.")
    return sorted(pictures, key=lambda path: path.as_posix())


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the files in and below a folder, without hidden ones. Each link is followed once, and none to a folder above it."""
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [(os.fspath(folder), frozenset())]
    followed: set[tuple[int, int]] = set()
    while waiting:
        place, above = waiting.pop()
        try:
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in above:
                continue
            with os.scandir(place) as listed:
                entries = sorted((entry for entry in listed if not entry.name.startswith(".")), key=lambda entry: entry.name)
        except OSError as error:
            if place == os.fspath(folder):
                raise PictureError(f"cannot list {place!r}: {error.strerror}. Change its permissions.") from error
            _warn(f"the folder {place!r} is left out: {error.strerror}.")
            continue
        inside = above | {(status.st_dev, status.st_ino)}
        for entry in entries:
            if _is(entry.is_file):
                yield entry.path
            elif _is(entry.is_dir) and (not entry.is_symlink() or (status.st_dev, entry.inode()) not in followed):
                if entry.is_symlink():
                    followed.add((status.st_dev, entry.inode()))
                waiting.append((entry.path, inside))


def _is(question: Callable[[], bool]) -> bool:
    """Answer a question about an entry of a folder; a link that leads nowhere, or where nobody may look, is nothing."""
    try:
        return question()
    except OSError:
        return False


def _warn(text: str) -> None:
    warnings.warn(text, PictureWarning, stacklevel=4)
