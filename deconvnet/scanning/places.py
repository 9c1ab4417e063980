"""Where this user has scanned: the folders and addresses of pictures, and the files of weights, that a scan may name.

A scan says where its pictures and its weights are. In a scan that somebody sends, that may be any folder or address. So every
scan that is made writes its places down in a list of this user's, and a scan that is opened may lead only to places in it; to
others, `--root` and `--weights` lead, or a yes. A place is in the list as it was scanned: the folders in it are not.

The list is one file, $XDG_STATE_HOME/deconvnet/scanned or ~/.local/state/deconvnet/scanned, with a JSON string a line. It is
the same for all machines that share a home.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

#: The places of this process, also where the list cannot be written.
_scanned_here: set[str] = set()


def list_file() -> Path:
    """Return where the list is."""
    folder = os.environ.get("XDG_STATE_HOME")
    if not folder and sys.platform == "win32":
        folder = os.environ.get("LOCALAPPDATA")
    return Path(folder or Path.home() / ".local" / "state") / "deconvnet" / "scanned"


def remember(places: Iterable[str]) -> bool:
    """Add places to the list; return whether they are in it now, or only known to this process."""
    places = set(places)
    new = sorted(places - _listed())
    _scanned_here.update(places)
    if not new:
        return True
    try:
        file = list_file()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="ascii") as handle:
            handle.write("".join(f"{json.dumps(place)}\n" for place in new))  # in one piece: two scans may end together
    except (OSError, RuntimeError):  # a home that may only be read, or none
        return False
    return True


def is_remembered(place: str) -> bool:
    """Say whether a place is in the list."""
    return place in _scanned_here or place in _listed()


def is_inside(name: str) -> bool:
    """Say whether a picture's name leads from its folder to a file below it, on this system."""
    drive, rest = os.path.splitdrive(name)
    parts = rest.replace(os.sep, "/").split("/")
    return not drive and parts[0] != "" and ".." not in parts


def folders_of(root: str, names: Iterable[str]) -> set[str]:
    """Return the folders of those pictures that are not below the folder of their scan; "" is none."""
    outside = (os.path.join(root, name) for name in names if not (root and is_inside(name)))
    return {os.path.dirname(os.path.abspath(path)) for path in outside}


def _listed() -> frozenset[str]:
    try:
        file = list_file()
        return _read(file, file.stat().st_mtime_ns, file.stat().st_size)
    except (OSError, RuntimeError):  # there is none yet, or no home
        return frozenset()


@lru_cache(maxsize=2)
def _read(file: Path, changed: int, size: int) -> frozenset[str]:
    """Read the list, whose time of change and size tell one state of it from another; a line cut short is passed over."""
    places = set()
    for line in file.read_text(encoding="ascii", errors="replace").splitlines():
        try:
            place = json.loads(line)
        except ValueError:
            continue
        if isinstance(place, str):
            places.add(place)
    return frozenset(places)
