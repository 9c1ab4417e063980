"""Results: numbers with the settings that made them, which draw themselves, save themselves and become JSON, all in one way.

A result is a frozen dataclass that inherits from `Result` and ends in the field `settings`. Fields may be numbers, text,
arrays, tensors, further dataclasses, and tuples or dictionaries of these.
"""

from __future__ import annotations

import dataclasses
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from .json_text import finite, json_text
from .render.save import PICTURE_SUFFIXES, check_scale, check_suffix, save_arrays, save_picture, write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from matplotlib.figure import Figure

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

DOTS_PER_INCH = 150  # of a saved figure
#: Metadata of a field that holds pictures: it is drawn and stands in the .npz, but is left out of the JSON.
PIXELS = {"pixels": True}


def json_key(key: str) -> dict[str, str]:
    """Return metadata for a field that is called otherwise in JSON and .npz files than in Python."""
    return {"key": key}


class Result(ABC):
    """A result of a study or a comparison: its numbers are fields, and `settings` says what they were measured with."""

    settings: dict[str, Any]

    @abstractmethod
    def plot(self) -> Figure:
        """Draw the result as a matplotlib figure, which Jupyter shows and `savefig` writes."""

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Save the result: as a figure, as arrays or as JSON, by the suffix of the path.

        Args:
            path: a .png, .jpg or .pdf file for the figure with the settings inside, .npz for the arrays, .json for the numbers.

        Returns:
            The paths of the files written.

        Raises:
            OptionError: the suffix is none of these, or the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        check_suffix(path, (*PICTURE_SUFFIXES, ".npz", ".json"))
        if suffix == ".npz":
            save_arrays(path, **self.to_arrays())
        elif suffix == ".json":
            save_json(path, self.to_json())
        else:
            save_figure(self.plot(), path, settings=self.settings)
        return [path]

    def to_json(self) -> dict[str, Any]:
        """Return the fields, pictures left out, as plain lists, numbers and text; NaN and infinity become None."""
        return to_json(_as_dataclass(self))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays and numbers by name, ready for `numpy.savez`."""
        return to_arrays(_as_dataclass(self))


def to_json(result: DataclassInstance) -> dict[str, Any]:
    """Return a dataclass's fields, pictures left out, as plain lists, numbers and text; NaN and infinity become None."""
    return {key: _plain(value) for key, value in _fields(result, pictures=False).items()}


def to_arrays(result: DataclassInstance) -> dict[str, npt.NDArray[Any]]:
    """Return a dataclass's arrays and numbers by name; of a dictionary or a nested dataclass each under "field/key"."""
    return {name: np.asarray(value) for name, value in _flat(_fields(result)) if _is_array_like(value)}


def save_figure(figure: Figure, path: str | os.PathLike[str], *, settings: Mapping[str, Any], scale: float = 1) -> None:
    """Save a figure as PNG, JPEG or PDF with its settings inside; the same figure and settings give the same bytes.

    A PDF has real text and vectors, as matplotlib writes them.

    Args:
        figure: the figure.
        path: the file.
        settings: what made it.
        scale: how many times finer its pixels are, and in a PDF those of its pictures; 1 is 150 dots per inch.

    Raises:
        OptionError: another suffix, no such scale, or a file that cannot be written.
    """
    check_suffix(path)
    check_scale(scale)
    if Path(path).suffix.lower() == ".pdf":
        from matplotlib import rc_context

        metadata = {"Subject": json_text(settings, default=str), "CreationDate": None}
        with rc_context({"pdf.fonttype": 42}), write_atomic(path) as handle:  # 42: TrueType, which can be edited
            figure.savefig(handle, format="pdf", dpi=scale * DOTS_PER_INCH, metadata=metadata)
        return
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=scale * DOTS_PER_INCH)
    with Image.open(drawn) as image:
        save_picture(image.convert("RGB"), path, settings=settings)


def save_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a value as JSON to a file, whole or not at all."""
    with write_atomic(path) as handle:
        handle.write(json_text(value, indent=2).encode() + b"\n")


def _as_dataclass(result: Any) -> DataclassInstance:
    """Return a result as what each one is, although the base class is no dataclass itself."""
    assert dataclasses.is_dataclass(result), f"{type(result).__name__} is not a dataclass"
    return result  # type: ignore[return-value]  # is_dataclass also admits classes


def _fields(result: DataclassInstance, *, pictures: bool = True) -> dict[str, Any]:
    """Return a dataclass's values by their names in files."""
    return {
        field.metadata.get("key", field.name): getattr(result, field.name)
        for field in dataclasses.fields(result)
        if pictures or not field.metadata.get("pixels")
    }


def _flat(fields: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of all fields, also of those in dictionaries, dataclasses and tuples of dataclasses; not settings."""
    for name, value in fields.items():
        if isinstance(value, (list, tuple)):
            nested = value and dataclasses.is_dataclass(value[0])
            value = {str(number): item for number, item in enumerate(value)} if nested else np.asarray(value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = _fields(value)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}/") if name != "settings" else ()
        else:
            yield f"{before}{name}", value


def _is_array_like(value: Any) -> bool:
    """Tell arrays, tensors, numbers and text from everything else, without loading torch."""
    return isinstance(value, (bool, int, float, str)) or hasattr(value, "__array__")


def _plain(value: Any) -> Json:
    """Return a value as JSON can hold it."""
    if hasattr(value, "tolist"):  # an array, one of its elements, or a tensor
        return _plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    plain: Json = finite(value)
    return plain
