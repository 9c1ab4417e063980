"""The atlas's folder: which files in it are ours, and what each was made from; no other file is ever overwritten or removed.

Whatever a scan or a list says, a file is written or removed only at a place that `AtlasFolder.place` returns: its name is one
of an atlas's, and neither it nor its folder is a link that leads elsewhere.

`atlas.json` is written first, before any file that it names, and lists them all: a file in the folder that is not in the list
is somebody else's. A file's *key* is a digest of all it was made from. A key is noted once its file is written, so a kill
loses at most the work since the list was last saved, and a half-written file is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..render.save import write_atomic

FORMAT = 1  # of atlas.json; a folder with another is refused
LIST = "atlas.json"

#: The files that an atlas may consist of, so that a list that somebody edited cannot name files elsewhere.
_OURS = re.compile(r"index\.html|atlas\.css|(atlas|find)\.js|(pictures|\d+-[\w.-]*)/(index\.html|\d+\.(html|webp))", re.A)
_LEFT_OVER = re.compile(r"\.[0-9a-f]{16}\.tmp")  # of a `write_atomic` that was killed


def digest(*parts: Any) -> str:
    """Return a short digest of JSON values: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class AtlasFolder:
    """An atlas's folder.

    Args:
        path: the folder, which need not exist yet.
        scan: the settings that distinguish this scan from others.

    Raises:
        OptionError: the folder cannot be used: it holds other files, or the atlas of another scan.
    """

    def __init__(self, path: str | os.PathLike[str], scan: Mapping[str, Any]) -> None:
        self.path, self.scan = Path(path), json.loads(json.dumps(scan))
        self.written = self.kept = self.removed = 0
        self._files: dict[str, dict[str, Any]] = self._read()
        self._leaving: list[str] = []

    def _read(self) -> dict[str, dict[str, Any]]:
        name = os.fspath(self.path)
        if os.path.lexists(self.path) and not self.path.is_dir():
            raise OptionError(f"cannot write an atlas to {name!r}: it is a file. Name a folder.")
        if not self.path.is_dir():
            if not self.path.absolute().parent.is_dir():
                raise OptionError(f"cannot write {name!r}: there is no folder {os.fspath(self.path.parent)!r}. Make it first.")
            return {}
        try:
            listed = json.loads((self.path / LIST).read_bytes())
            files, version, scan = dict(listed["files"]), listed["atlas"], listed["scan"]
        except FileNotFoundError:
            if any(not _LEFT_OVER.fullmatch(entry) for entry in os.listdir(self.path)):
                raise self._not_ours(f"{name!r} has files in it and no atlas") from None
            return {}
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise self._not_ours(f"{os.path.join(name, LIST)!r} is not the list of an atlas") from error
        if version != FORMAT or not all(_OURS.fullmatch(file) and isinstance(files[file], dict) for file in files):
            raise self._not_ours(f"{name!r} has an atlas of a format that this version does not know")
        if scan != self.scan:
            raise self._not_ours(f"{name!r} has the atlas of {_scan_text(scan)}, this one is of {_scan_text(self.scan)}")
        return files

    def _not_ours(self, found: str) -> OptionError:
        return OptionError(f"{found}. Name another folder: nothing in this one was touched.")

    def claim(self, names: Iterable[str]) -> None:
        """Declare which files the atlas will have.

        Raises:
            OptionError: one of them exists and is not ours, or the folder cannot be written.
        """
        names = list(names)
        for name in names:
            if os.path.lexists(self.place(name)) and name not in self._files:
                raise self._not_ours(f"{os.path.join(self.path, name)!r} is not of this atlas")
        with _disk_errors(self.path):
            for folder in {self.path / os.path.dirname(name) for name in names}:
                folder.mkdir(parents=True, exist_ok=True)
                for entry in folder.iterdir():
                    if _LEFT_OVER.fullmatch(entry.name):
                        entry.unlink()
        wanted = set(names)
        self._leaving = [name for name in self._files if name not in wanted]
        self._files.update({name: self._files.get(name, {}) for name in names})
        self.save()

    def place(self, name: str) -> Path:
        """Return where a file of the atlas is.

        Raises:
            OptionError: no atlas has a file of that name, or a link stands in its place.
        """
        if name != LIST and not _OURS.fullmatch(name):
            raise self._not_ours(f"{name!r} is no name of an atlas's file")
        path = self.path / name
        link = next((part for part in (path, path.parent) if part != self.path and part.is_symlink()), None)
        if link is not None:
            raise self._not_ours(f"{os.fspath(link)!r} is a link, and an atlas has none")
        return path

    def has(self, name: str) -> bool:
        """Say whether a former call wrote a file, and it is still there."""
        return name in self._files and self.place(name).is_file()

    def is_current(self, name: str, key: str) -> bool:
        """Say whether a file exists and was made from what `key` is the digest of."""
        return self._files[name].get("key") == key and self.place(name).is_file()

    def notes(self, name: str) -> dict[str, Any]:
        """Return what was noted with a file: its key, and what pages say of it."""
        return self._files[name]

    def write(self, name: str, data: bytes, **notes: Any) -> None:
        """Write a file, whole or not at all; if it has the same bytes already, only the notes."""
        path = self.place(name)
        with suppress(OSError):
            if path.read_bytes() == data:
                self._files[name] = notes
                self.kept += 1
                return
        with write_atomic(path) as handle:
            handle.write(data)
        self._files[name] = notes
        self.written += 1

    def keep(self, files: int = 1) -> None:
        """Count files that are as they should be."""
        self.kept += files

    def drop(self, name: str, **notes: Any) -> None:
        """Remove a file that cannot be made: what it showed is gone."""
        self.place(name).unlink(missing_ok=True)
        self._files[name] = notes

    def save(self) -> None:
        """Write the list."""
        listed = {"made by": "deconvnet atlas", "atlas": FORMAT, "scan": self.scan, "files": dict(sorted(self._files.items()))}
        with write_atomic(self.place(LIST)) as handle:
            handle.write(json.dumps(listed, indent=0, sort_keys=True).encode() + b"\n")

    def finish(self) -> None:
        """Remove files that are ours and no longer wanted, and folders that this leaves empty; write the list."""
        for name in self._leaving:
            with _disk_errors(self.path / name), suppress(FileNotFoundError, NotADirectoryError):
                self.place(name).unlink()
                self.removed += 1
            del self._files[name]
            with suppress(OSError):  # it holds something else
                if "/" in name:
                    (self.path / name).parent.rmdir()
        self._leaving = []
        self.save()

    def size(self) -> int:
        """Return the bytes of all files of the atlas."""
        return sum((self.path / name).stat().st_size for name in self._files if (self.path / name).is_file())


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn a failure of the disk into one line."""
    try:
        yield
    except OSError as error:
        raise OptionError(f"cannot write {os.fspath(path)!r}: {error.strerror}. Choose another place.") from error


def _scan_text(scan: Any) -> str:
    try:
        return f"{scan['model']} with weights {scan['weights']}"
    except (KeyError, TypeError):
        return "another scan"
