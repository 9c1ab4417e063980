"""Which files hold a net's weights - one, the shards of an index, those of a folder - and what a file is that holds none."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path

from ..errors import WeightsError
from ..file_kinds import HEAD_BYTES, kind_of, picture_kind_of

#: The files of a folder that hold a net's weights, as Hugging Face's libraries write them; the first that exists is taken.
FOLDER_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)

#: A file in a ZIP archive whose name ends like this -> what the archive is.
_ARCHIVES = (
    ("constants.pkl", "a TorchScript archive, whose calls cannot be seen"),
    ("archive_format", "a program of torch.export (.pt2)"),
    ("data.pkl", ""),  # what torch.save writes
    ("model.weights.h5", "a Keras model"),
    (".npy", "an archive of NumPy arrays (.npz)"),
)


def find_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that hold the weights that a path names.

    Args:
        path: a weights file, an index of shards (model.safetensors.index.json), or a folder with one of `FOLDER_FILES`.

    Raises:
        WeightsError: there is no such file, the folder has none, or an index lists what is no file beside it.
    """
    path = Path(path)
    if path.is_dir():
        inside = next((path / name for name in FOLDER_FILES if (path / name).is_file()), None)
        if inside is None:
            raise WeightsError(f"no weights file in {str(path)!r}. Looked for {', '.join(FOLDER_FILES)}.")
        path = inside
    if not path.is_file():
        raise WeightsError(f"no weights file at {str(path)!r}. Give DEFAULT, none, or a .safetensors or state-dict file.")
    return _shards(path) if path.name.endswith(".index.json") else [path]


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return "sha256:..." of a weights file; of several, of their bytes in the order of their names."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    for file in find_files(path):
        with open(file, "rb") as handle:
            while piece := handle.read(1 << 20):
                digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def is_safetensors(path: Path) -> bool:
    """Say by a file's first bytes whether it is a safetensors file: the length of a JSON text, and its beginning."""
    head = _head(path)
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= path.stat().st_size


def check_kind(path: Path) -> None:
    """Raise `WeightsError`, with what it is, for a file that holds no weights by its first bytes."""
    head = _head(path)
    kind = _archive_kind(path) if head.startswith(b"PK") else kind_of(head) or picture_kind_of(head)
    if kind is None and head[:1] == b"\x08" and (path.suffix == ".onnx" or b"onnx" in head.lower() or b"pytorch" in head):
        kind = "an ONNX model"
    if kind:
        raise WeightsError(f"{str(path)!r} is {kind}, not a weights file of torch. Give a .safetensors or state-dict file.")


def _archive_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return None  # torch's own reader says what is wrong with it
    kinds = [kind for ending, kind in _ARCHIVES if any(name.endswith(ending) for name in names)]
    return kinds[0] if kinds else "a ZIP archive"


def _shards(index: Path) -> list[Path]:
    """Return the files that an index of shards lists; they stand beside it."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("it lists no files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{str(index)!r} is not an index of weights files ({type(error).__name__}: {error}).") from error
    for name in names:
        if os.path.basename(name) != name or "\\" in name or not (index.parent / name).is_file():
            raise WeightsError(f"{str(index)!r} lists {name!r}, which is no file beside it. Get all of its files.")
    return [index.parent / name for name in names]


def _head(path: Path) -> bytes:
    with open(path, "rb") as handle:
        return handle.read(HEAD_BYTES)
