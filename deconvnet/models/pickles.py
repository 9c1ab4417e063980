"""Pickles of torch read without running anything that is in them.

`torch.load(weights_only=True)` refuses whatever is not a tensor, so also the settings, paths and logs that training scripts
store beside their weights. Each of those is read as an empty mapping that keeps what it was given: none of its code is
imported.
"""

from __future__ import annotations

import pickle
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import WeightsError

#: The first version of torch in which a file cannot get round `weights_only=True` (CVE-2026-24747).
SAFE_TORCH = (2, 10)

#: What of Python's own modules may stand beside weights: values, not functions that do something.
HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib(\._local)?\.\w*Path|collections\.(defaultdict|deque|OrderedDict)"
    r"|datetime\.\w+|decimal\.Decimal|fractions\.Fraction|uuid\.UUID|builtins\.(list|dict|tuple|int|float|str|bool|bytes|range"
    r"|slice|frozenset|object)|copyreg\._reconstructor|__builtin__\.(list|dict|tuple|int|long|float|str|unicode|bool|object)"
    r"|enum\.\w+|functools\.partial|logging\.\w+|re\._compile|types\.MappingProxyType|typing\.\w+"
)

#: A tensor that claims to be larger than what the file stores for it is refused from this size on, in bytes.
CLAIMED_BYTES = 64 * 2**20

_UNKNOWN_GLOBAL = re.compile(r"Unsupported global: GLOBAL (\S+) was not an allowed global")
_MOST_GLOBALS = 500


class Stored(OrderedDict):
    """Stands for any class that a file names: what is read is an empty mapping, with the object's state as its attributes."""

    def __new__(cls, *args: object, **kwargs: object) -> Any:
        """Return a plain OrderedDict: torch's reader fills no other kind of mapping."""
        return OrderedDict()


class Opaque:
    """Stands for values of NumPy, whose state is no mapping."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Take whatever the value was made of."""

    def __setstate__(self, state: object) -> None:
        """Take no state."""


def read_pickle(path: Path) -> object:
    """Return what a file holds that `torch.save` wrote.

    Raises:
        WeightsError: it is damaged, would run something, claims more than it has, or this torch cannot read it safely.
    """
    _check_torch(path)
    _check_unpacked_size(path)
    globals_ = _globals_in(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old protocols and storages: they are read
            return _load(path, globals_)
    except WeightsError:
        raise
    except pickle.UnpicklingError as error:
        raise _refusal(path, _reason(error)) from None
    except (Exception, RecursionError) as error:  # a damaged pickle makes its reader raise anything
        raise WeightsError(f"{str(path)!r} is not a readable weights file ({first_line(error)}).") from None


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop, or the name of its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _load(path: Path, globals_: set[str]) -> object:
    """Read a file; a class that turns up only now, as in files of old versions, is added, and the file read again."""
    for _ in range(_MOST_GLOBALS):
        try:
            with torch.serialization.safe_globals(_stand_ins(path, globals_)):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            match = _UNKNOWN_GLOBAL.search(str(error))
            if match is None:
                raise
            name = match[1] if "." in match[1] else f"builtins.{match[1]}"
            if name in globals_:
                raise
            globals_ = {*globals_, name}
    raise _refusal(path, f"it names more than {_MOST_GLOBALS} classes")


def _stand_ins(path: Path, globals_: Iterable[str]) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what torch reads in place of each global; refuse functions of Python's own modules."""
    for name in sorted(globals_):
        root = name.partition(".")[0]
        if (root in sys.stdlib_module_names or root == "__builtin__") and not HARMLESS.fullmatch(name):
            raise _refusal(path, f"it holds more than tensors ({name}), and running what it holds is not safe")
    return [(Opaque if name.startswith("numpy.") else Stored, name) for name in sorted(globals_)]


def _globals_in(path: Path) -> set[str]:
    """Return the names in a file that torch does not know, as far as they can be told without reading it."""
    try:
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # no file of a present version: they turn up while it is read
        return set()


def _check_torch(path: Path) -> None:
    version = tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2])
    if version < SAFE_TORCH:
        raise WeightsError(
            f"{str(path)!r} is refused: torch {torch.__version__} cannot read a pickle safely (CVE-2026-24747)."
            " Give a .safetensors file, or update torch to 2.10."
        )


def _check_unpacked_size(path: Path) -> None:
    """Refuse an archive that unpacks to much more than it is: torch stores tensors as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return
    if unpacked > 2 * path.stat().st_size + CLAIMED_BYTES:
        raise _refusal(path, f"it unpacks to {unpacked:,} bytes")


def _reason(error: pickle.UnpicklingError) -> str:
    text = str(error)
    if "Weights only load failed" not in text:
        return first_line(error)
    blocked = re.search(r"GLOBAL (\S+) whose module", text)
    what = f" ({blocked[1]})" if blocked else ""
    return f"it holds more than tensors{what}, and running what it holds is not safe"


def _refusal(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"{str(path)!r} is refused: {reason}. Save model.state_dict() and give that file.")
