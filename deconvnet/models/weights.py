"""Weights files: read safely, unwrapped, and compared with the net they are for."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError

State = dict[str, Tensor]

#: What training scripts wrap a state dict in, and put before its names.
WRAPPINGS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")


def read_state(path: str | Path) -> State:
    """Read a .safetensors file or a pickled state dict (`weights_only=True`, always), without its wrappings."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights file at {str(path)!r}. Give DEFAULT, none, or a .safetensors or state-dict file.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    return unwrap(content, path)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable safetensors file ({_first_line(error)}).") from None


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = _first_line(error)
        if "Weights only load failed" in str(error):
            reason = "it holds more than tensors, and running what it holds is not safe"
        raise WeightsError(f"{str(path)!r} is refused: {reason}. Save model.state_dict() and give that file.") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{str(path)!r} is not a readable weights file ({_first_line(error)}).") from None


def unwrap(content: Any, path: Path) -> State:
    """Take a state dict out of {"state_dict": ...} and the like, and "module." off its names."""
    for key in WRAPPINGS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{str(path)!r} holds no state dict: names and tensors. Save model.state_dict() and give that file.")
    state = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def load_checked(model: nn.Module, state: State, path: str | Path, name: str) -> None:
    """Load a state dict into a model, or say in one line which of its names and sizes do not fit."""
    own = model.state_dict()
    faults = [f"{key} is missing" for key in own if key not in state and not key.endswith("num_batches_tracked")]
    faults += [f"{key} is not in the net" for key in state if key not in own]
    faults += [
        f"{key} is {_size(state[key])}, the net's {_size(own[key])}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{str(path)!r} is not for {name}: {'; '.join(faults[:3])}{more}.")
    model.load_state_dict(state, strict=False)  # not strict: the step counters of batch norm may be missing


def hash_file(path: str | Path) -> str:
    """Return "sha256:..." of a file."""
    with open(path, "rb") as handle:
        return (
            f"sha256:{hashlib.file_digest(handle, 'sha256').hexdigest()}"
            if hasattr(hashlib, "file_digest")
            else _digest(handle)
        )


def _digest(handle: Any) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    for piece in iter(lambda: handle.read(1 << 20), b""):
        digest.update(piece)
    return f"sha256:{digest.hexdigest()}"


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
