"""What a net's forward takes besides the pictures, the same for each of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import OptionError
from ..file_kinds import HEAD_BYTES, kind_of, picture_kind_of


@dataclass(eq=False)
class FurtherInputs:
    """A forward that is also given further inputs, repeated for each image of the batch."""

    forward: Callable[..., Any]
    inputs: dict[str, Tensor]

    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Call forward with images, the further inputs, and what else it is called with."""
        inputs = {name: _for_each(value, images) for name, value in self.inputs.items()}
        return self.forward(images, *args, **{**inputs, **kwargs})


def input_hashes(forward: object) -> dict[str, str]:
    """Return "sha256:..." of each further input of a forward, by name; none for a forward without."""
    if not isinstance(forward, FurtherInputs):
        return {}
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in forward.inputs.items()}
    texts = {name: f"{array.dtype.str}{array.shape}".encode() for name, array in arrays.items()}
    hashes = {name: f"sha256:{hashlib.sha256(texts[name] + array.tobytes()).hexdigest()}" for name, array in arrays.items()}
    return {**input_hashes(forward.forward), **hashes}


def _for_each(value: Tensor, images: Tensor) -> Tensor:
    """Return one picture's value for each image of a batch, where the images are; floats in their type."""
    value = value.to(images.device, images.dtype if value.is_floating_point() else value.dtype)
    has_batch_axis = value.dim() > 1 and len(value) == 1
    return (value if has_batch_axis else value[None]).expand(len(images), *value.shape[has_batch_axis:])


def read_inputs(files: Mapping[str, str]) -> dict[str, Tensor]:
    """Read the arrays of --input; pickles in them are never run.

    Raises:
        OptionError: a file cannot be read, or does not hold numbers.
    """
    inputs = {}
    for name, file in files.items():
        try:
            inputs[name] = torch.from_numpy(np.load(file, allow_pickle=False))
        except Exception as error:  # numpy raises anything for a damaged file, and torch for what are no numbers
            if not os.path.isfile(file):
                raise OptionError(f"--input {name}: there is no file {file!r}. Check the path.") from error
            reason = _kind_of_file(file) or (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise OptionError(
                f"--input {name}: {file!r} is not an array of numbers ({reason}). Save it by numpy.save."
            ) from error
    return inputs


def _kind_of_file(file: str) -> str | None:
    """Say what a file is that is no array; numpy takes it for a pickle and advises to run that."""
    with open(file, "rb") as handle:
        head = handle.read(HEAD_BYTES)
    if not head or head.startswith((b"\x93NUMPY", b"PK")):
        return None
    return f"it is {kind_of(head) or picture_kind_of(head) or 'a file of another kind'}"
