"""Pictures in object storage or behind another URI, `s3://bucket/photos` or `gs://bucket/photos`, read through Arrow.

A place is listed once, with the size of each file; every reader opens it for itself, with the credentials of its machine.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..errors import PictureError
from ..images import SUFFIXES
from ..optional import require
from .source import MAX_BYTES, LoadedPicture, decode, error_text, prepare


@dataclass(frozen=True)
class RemoteFiles:
    """Picture files below a URI, named by their path from there."""

    root: str
    names: tuple[str, ...]
    sizes: dict[str, int] = field(default_factory=dict, repr=False)

    def path(self, name: str) -> str:
        """Return where a picture lies, without the URI's scheme."""
        return f"{_opened(self.root)[1]}/{name}"

    def size(self, name: str) -> int | None:
        """Return the bytes that a file had when it was listed, None where there was none."""
        return self.sizes.get(name)

    def exists(self, name: str) -> bool:
        """Return whether this process can see a file."""
        try:
            return bool(_opened(self.root)[0].get_file_info(self.path(name)).is_file)
        except (OSError, PictureError):
            return False

    def load(self, number: int, name: str, preprocess: Callable[[Any], Tensor] | None) -> LoadedPicture:
        """Read and prepare one picture; a trouble with it is told, not raised."""
        size, digest = None, None
        try:
            files, _ = _opened(self.root)
            with files.open_input_file(self.path(name)) as handle:
                if handle.size() > MAX_BYTES:
                    raise PictureError(f"cannot open {name!r}: it has more than {MAX_BYTES:,} bytes. Shrink it first.")
                data = handle.read()
            size, digest = len(data), hashlib.sha256(data).hexdigest()
            if not data:
                raise PictureError(f"cannot open {name!r}: the file is empty. Get a fresh copy.")
            return LoadedPicture(prepare(decode(data, name), preprocess), size, digest)
        except Exception as error:  # also what a preprocessing of one's own raises
            return LoadedPicture(None, size, digest, error_text(error))


def find_far(uri: str) -> RemoteFiles:
    """List the pictures below a URI: those with a picture's suffix, sorted by path, hidden ones left out."""
    files, folder = _opened(uri)
    from pyarrow.fs import FileSelector

    try:
        found = files.get_file_info(FileSelector(folder, recursive=True))
    except OSError as error:
        raise PictureError(f"cannot list {uri!r}: {' '.join(str(error).split())}. Check the address and the keys.") from error
    sizes = {one.path[len(folder) :].lstrip("/"): one.size for one in found if one.is_file}
    hidden = {name for name in sizes if any(part.startswith(".") for part in name.split("/"))}
    names = sorted(name for name in sizes if name.lower().endswith(SUFFIXES) and name not in hidden)
    if not names:
        raise PictureError(f"there is no picture in {uri!r}. Looked for: {', '.join(SUFFIXES)}.")
    return RemoteFiles(uri, tuple(names), {name: sizes[name] for name in names})


@functools.lru_cache(maxsize=8)
def _opened(uri: str) -> tuple[Any, str]:
    """Return the file system of a URI and the path in it."""
    key = re.match(r"(\w+://)[^/]*:[^/]*@", uri)
    if key:  # the URI is kept in the scan's file, which is passed on
        place = key[1] + "...@" + uri[key.end() :]
        raise PictureError(f"the URI {place} holds a key. Set it in the environment (AWS_SECRET_ACCESS_KEY).")
    file_systems = require("pyarrow.fs", needed_by=repr(uri), extra="ray")
    try:
        files, path = file_systems.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise PictureError(f"cannot open {uri!r}: {' '.join(str(error).split())}. Write s3://BUCKET/FOLDER.") from error
    return files, path.rstrip("/")
