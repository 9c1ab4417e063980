"""Signals, volumes and prepared images from files of arrays: NumPy's .npy, and NIfTI."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PictureError
from ..optional import require

#: Files whose values are taken as the model expects them.
ARRAY_SUFFIXES = (".npy", ".nii", ".nii.gz")

#: An array may have so many values: as many as 500 slices of 512x512 pixels.
MAX_VALUES = 2**27

_AXES = "(C, L), (C, H, W) or (C, D, H, W)"


def is_array_file(path: Any) -> bool:
    """Say whether something is the path of a file of arrays."""
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).lower().endswith(ARRAY_SUFFIXES)


def read_array(path: str | os.PathLike[str]) -> npt.NDArray[np.floating]:
    """Read an array as a model expects it: nothing is scaled or cut.

    Args:
        path: an .npy file of (L,), (C, L), (C, H, W) or (C, D, H, W); or a NIfTI file, whose volume (X, Y, Z) becomes
            (1, Z, Y, X), slices first, and (X, Y, Z, T) becomes T channels.

    Returns:
        The array in float32, or in float64 where it is that; of (L,) as (1, L).

    Raises:
        PictureError: the file cannot be read, or is no array of numbers with these axes.
        MissingPackageError: a NIfTI file, and no nibabel.
    """
    name = os.fspath(path)
    array = _read_npy(name) if name.lower().endswith(".npy") else _read_nifti(name)
    if array.ndim == 1:
        array = array[None]
    if array.ndim not in (2, 3, 4) or not array.size:
        raise PictureError(f"{name!r} holds an array of {array.shape}. Give one of {_AXES}.")
    return np.ascontiguousarray(array, dtype=np.float64 if array.dtype == np.float64 else np.float32)


def _read_npy(name: str) -> np.ndarray[Any, Any]:
    try:
        array = np.load(name, mmap_mode="r", allow_pickle=False)  # the header tells its size before anything is read
    except (OSError, ValueError, EOFError) as error:
        raise PictureError(f"cannot read {name!r} as an .npy file: {str(error).splitlines()[0].rstrip('.')}.") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise PictureError(f"{name!r} holds no array of numbers. Give one of {_AXES}.")
    _check_size(name, array.shape)
    return np.array(array)


def _read_nifti(name: str) -> np.ndarray[Any, Any]:
    nibabel = require("nibabel", needed_by="NIfTI", extra="volumes")
    try:
        image = nibabel.load(name)
        _check_size(name, image.shape)
        array = np.asarray(image.dataobj, dtype=np.float32)
    except PictureError:
        raise
    except Exception as error:  # the package raises errors of many kinds
        raise PictureError(f"cannot read {name!r} as NIfTI: {(str(error).splitlines() or [''])[0].rstrip('.')}.") from error
    return array.T[None] if array.ndim == 3 else array.T


def _check_size(name: str, shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MAX_VALUES:
        raise PictureError(f"{name!r} holds {math.prod(shape):,} values, more than {MAX_VALUES:,}. Give a part of it.")
