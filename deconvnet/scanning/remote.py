"""Pictures in object storage or at another URI, `s3://bucket/photos` or `gs://bucket/photos`, read through Arrow.

A folder is listed once, with the size of each file; every process opens it for itself, with the credentials of its machine.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import PictureError
from ..images import MAX_BYTES, SUFFIXES
from ..models import Preprocessing
from ..optional import require
from .pictures import LoadedPicture, large_file, load_file, outside_text
from .places import is_inside

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@dataclass(frozen=True)
class RemoteFiles:
    """Picture files below a URI, named by their path from there."""

    root: str
    names: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict, repr=False)

    def path(self, name: str) -> str:
        """Return where a picture is, without the URI's scheme."""
        return f"{_open_uri(self.root)[1]}/{name}"

    def size(self, name: str) -> int | None:
        """Return the bytes that a file had when it was listed, None if there was no such file."""
        return self.sizes.get(name)

    def exists(self, name: str) -> bool:
        """Return whether this process can see a file."""
        try:
            return bool(_open_uri(self.root)[0].get_file_info(self.path(name)).is_file)
        except (OSError, PictureError):
            return False

    def load(self, index: int, name: str, preprocess: Preprocessing | None) -> LoadedPicture:
        """Read and prepare one picture; errors are returned, not raised."""
        if not is_inside(name):
            return LoadedPicture(None, problem=outside_text(name, self.root))
        return load_file(lambda: self._read(name), name, preprocess)

    def _read(self, name: str) -> bytes:
        files, _ = _open_uri(self.root)
        with files.open_input_file(self.path(name)) as handle:
            if handle.size() > MAX_BYTES:
                raise large_file(name)
            data: bytes = handle.read()
            return data


def list_remote(uri: str) -> RemoteFiles:
    """List the pictures below a URI: files with a picture's suffix, sorted by path, hidden ones left out.

    Raises:
        PictureError: the URI cannot be opened or listed, holds a key, or has no pictures below it.
        MissingPackageError: pyarrow is not installed.
    """
    files, folder = _open_uri(uri)
    from pyarrow.fs import FileSelector

    try:
        entries = files.get_file_info(FileSelector(folder, recursive=True))
    except OSError as error:
        raise PictureError(f"cannot list {uri!r}: {' '.join(str(error).split())}. Check the address and the keys.") from error
    sizes = {entry.path[len(folder) :].lstrip("/"): entry.size for entry in entries if entry.is_file}
    hidden = {name for name in sizes if any(part.startswith(".") for part in name.split("/"))}
    names = sorted(name for name in sizes if name.lower().endswith(SUFFIXES) and name not in hidden)
    if not names:
        raise PictureError(f"there is no picture in {uri!r}. Looked for: {', '.join(SUFFIXES)}.")
    return RemoteFiles(uri, tuple(names), {name: sizes[name] for name in names})


@functools.lru_cache(maxsize=8)
def _open_uri(uri: str) -> tuple[FileSystem, str]:
    """Return the file system of a URI and the path in it."""
    key = re.match(r"(\w+://)[^/]*:[^/]*@", uri)
    if key:  # the URI is kept in the scan's file, which is passed on
        raise PictureError(
            f"the URI {key[1]}...@{uri[key.end() :]} holds a key. Set it in the environment (AWS_SECRET_ACCESS_KEY)."
        )
    if uri.startswith(("http://", "https://")):
        raise PictureError(f"cannot list {uri!r}: a scan reads folders, s3:// and gs://. Download the pictures to a folder.")
    file_systems = require("pyarrow.fs", needed_by=repr(uri), extra="ray")
    try:
        files, path = file_systems.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise PictureError(f"cannot open {uri!r}: {' '.join(str(error).split())}. Write s3://BUCKET/FOLDER.") from error
    return files, path.rstrip("/")
