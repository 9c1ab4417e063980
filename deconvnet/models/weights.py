"""Weights files: read safely, unwrapped, and compared with the net that they are for."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..render.text import size_text

StateDict: TypeAlias = dict[str, Tensor]

#: The keys under which training scripts store a state dict, and the prefixes that they put before its names.
WRAPPER_KEYS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")


def read_state(path: str | os.PathLike[str]) -> StateDict:
    """Read a state dict from a .safetensors file or a pickle, and take its wrapping off.

    Pickles are read with `weights_only=True`, so nothing in them is run.

    Raises:
        WeightsError: there is no such file, or it is damaged, unsafe, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file at {str(path)!r}. Give DEFAULT, none, or a .safetensors or state-dict file.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return unwrap_state(content, path)


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable safetensors file ({first_line(error)}).") from None


def _read_pickle(path: Path) -> object:
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = first_line(error)
        if "Weights only load failed" in str(error):
            reason = "it holds more than tensors, and running what it holds is not safe"
        raise WeightsError(f"{str(path)!r} is refused: {reason}. Save model.state_dict() and give that file.") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable weights file ({first_line(error)}).") from None
    return content


def unwrap_state(content: object, path: Path) -> StateDict:
    """Take a state dict out of {"state_dict": ...} and the like, and prefixes such as "module." off its names."""
    for key in WRAPPER_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{str(path)!r} holds no state dict: names and tensors. Save model.state_dict() and give that file.")
    state = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def load_checked(model: nn.Module, state: StateDict, path: str | os.PathLike[str], name: str) -> None:
    """Load a state dict into a model, in place.

    Args:
        model: the model.
        state: the state dict. The step counters of batch norm may be missing.
        path: the file that it was read from, and
        name: the model's name, both for the error's text.

    Raises:
        WeightsError: names or sizes do not fit; the first three are named, and the model stays as it was.
    """
    expected = model.state_dict()
    faults = [f"{key} is missing" for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    faults += [f"{key} is not in the net" for key in state if key not in expected]
    faults += [
        f"{key} is {_shape_text(state[key])}, the net's {_shape_text(expected[key])}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{os.fspath(path)!r} is not for {name}: {'; '.join(faults[:3])}{more}.")
    model.load_state_dict(state, strict=False)  # not strict: the step counters of batch norm may be missing


def hash_file(path: str | os.PathLike[str]) -> str:
    """Return "sha256:..." of a file."""
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with open(path, "rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, without its full stop, or the name of its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _shape_text(tensor: Tensor) -> str:
    return size_text(tensor.shape) or "one number"
