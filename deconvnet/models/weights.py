"""Weights files: read safely, unwrapped, and compared with the net that they are for."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from ..render.text import size_text
from .pickles import CLAIMED_BYTES, first_line, read_pickle
from .state_dicts import StateDict, find_state
from .weight_files import check_kind, find_files, hash_file, is_safetensors

__all__ = ["StateDict", "count_classes", "first_line", "hash_file", "load_checked", "read_state"]


def read_state(path: str | os.PathLike[str], like: nn.Module | Collection[str] = ()) -> StateDict:
    """Read a state dict from a .safetensors file or a pickle, and take its wrapping off.

    What the file is, its content decides. Nothing in a pickle is run.

    Args:
        path: the file, an index of shards, or a folder with a net's weights.
        like: the net that it is for, or the names of its tensors: they decide which prefix is taken off.

    Raises:
        WeightsError: there is no such file, or it is damaged, unsafe, or holds no state dict.
    """
    expected = like.state_dict().keys() if isinstance(like, nn.Module) else like
    files = find_files(path)
    contents = [_read_file(file) for file in files]
    if len(files) > 1:  # shards: each a plain state dict
        contents = [{name: value for content in contents if isinstance(content, Mapping) for name, value in content.items()}]
    state = find_state(contents[0], path, expected)
    for name, tensor in state.items():
        _check_claim(name, tensor, path)
    return state


def load_checked(model: nn.Module, state: StateDict, path: str | os.PathLike[str], name: str) -> None:
    """Load a state dict into a model, in place.

    Args:
        model: the model.
        state: the state dict. The step counters of batch norm, and state that is no tensor, may be missing.
        path: the file that it was read from, and
        name: the model's name, both for the error's text.

    Raises:
        WeightsError: names, sizes or types do not fit; the first three are named, and the model stays as it was.
    """
    expected = {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}
    faults = [f"{key} is missing" for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    faults += [f"{key} is not in the net" for key in state if key not in expected]
    faults += [fault for key in expected if key in state and (fault := _misfit(key, state[key], expected[key]))]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{os.fspath(path)!r} is not for {name}: {'; '.join(faults[:3])}{more}.")
    model.load_state_dict(state, strict=False)  # not strict: the step counters of batch norm may be missing


def count_classes(state: StateDict, expected: Mapping[str, Tensor], weight: str) -> int | None:
    """Return for how many classes a state dict is: the rows of its classifier's weight, if that fits the net otherwise.

    Args:
        state: the state dict.
        expected: that of the net with its usual number of classes.
        weight: the name of the classifier's weight.
    """
    given, usual = state.get(weight), expected.get(weight)
    if given is None or usual is None or not given.dim() or given.shape[1:] != usual.shape[1:]:
        return None
    return len(given)


def _read_file(path: Path) -> object:
    if is_safetensors(path) or (path.suffix == ".safetensors" and not path.stat().st_size):
        return _read_safetensors(path)
    check_kind(path)
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)


def _read_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # SafetensorError, and what torch raises for sizes that cannot be
        raise WeightsError(f"{str(path)!r} is not a readable safetensors file ({first_line(error)}).") from None


def _check_claim(name: str, tensor: Tensor, path: str | os.PathLike[str]) -> None:
    """Refuse a tensor that claims to be much larger than what the file stores for it: nets are built by its sizes."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return
    claimed = tensor.numel() * tensor.element_size()
    if claimed > CLAIMED_BYTES and claimed > tensor.untyped_storage().nbytes():
        raise WeightsError(
            f"{os.fspath(path)!r} is refused: {name} claims {tensor.numel():,} numbers, which the file does not have."
            " Save model.state_dict() and give that file."
        )


def _misfit(key: str, given: Tensor, expected: Tensor) -> str | None:
    """Say why a tensor cannot be loaded, None where it can; numbers are never turned into another kind of numbers."""
    if given.shape != expected.shape:
        return f"{key} is {_shape_text(given)}, the net's {_shape_text(expected)}"
    if given.layout is not torch.strided or given.is_meta or given.is_quantized != expected.is_quantized:
        return f"{key} is no plain tensor"
    if _kind(given) != _kind(expected) and expected.numel() != 0:
        return f"{key} is {_type_text(given)}, the net's {_type_text(expected)}"
    return None


def _kind(tensor: Tensor) -> str:
    if tensor.is_complex():
        return "complex"
    if tensor.dtype == torch.bool:
        return "bool"
    return "float" if tensor.is_floating_point() else "int"


def _type_text(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape_text(tensor: Tensor) -> str:
    return size_text(tensor.shape) or "one number"
