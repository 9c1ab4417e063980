"""Results draw themselves, save themselves by the suffix, and become JSON and arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from deconvnet.errors import OptionError
from deconvnet.render import read_settings
from deconvnet.results import PIXELS, Result, json_key


@dataclass(frozen=True, eq=False)
class Part:
    name: str
    values: np.ndarray
    picture: np.ndarray = field(metadata=PIXELS)


@dataclass(frozen=True, eq=False)
class Measured(Result):
    methods: tuple[str, ...] = field(metadata=json_key("ways"))
    share: float
    map: torch.Tensor
    parts: tuple[Part, ...]
    by_name: dict[str, Any]
    settings: dict[str, Any]

    def plot(self) -> Figure:
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot(self.parts[0].values)
        return figure


@pytest.fixture
def measured():
    part = Part("eye", np.array([1.0, np.nan, np.inf]), np.zeros((2, 3, 3), np.uint8))
    return Measured(("a", "b"), 0.5, torch.ones(1, 2), (part,), {"left": np.arange(2), "right": None}, {"steps": 3})


def test_to_json_is_plain(measured):
    """Arrays and tensors become lists, NaN and infinity None, pictures are left out, and a field may have a key of its own."""
    assert measured.to_json() == {
        "ways": ["a", "b"],
        "share": 0.5,
        "map": [[1.0, 1.0]],
        "parts": [{"name": "eye", "values": [1.0, None, None]}],
        "by_name": {"left": [0, 1], "right": None},
        "settings": {"steps": 3},
    }
    json.dumps(measured.to_json(), allow_nan=False)


def test_to_arrays_is_flat(measured):
    """What is nested goes by its path, pictures are kept, settings and what is no number or text are left out."""
    arrays = measured.to_arrays()
    assert list(arrays) == ["ways", "share", "map", "parts/0/name", "parts/0/values", "parts/0/picture", "by_name/left"]
    assert arrays["ways"].tolist() == ["a", "b"]
    assert arrays["parts/0/picture"].shape == (2, 3, 3)


def test_save_writes_by_the_suffix(measured, tmp_path):
    """A figure carries the settings, .npz the arrays, .json the numbers; the paths written are returned, the bytes repeat."""
    for name in ("a.png", "b.jpg", "c.npz", "d.json", "e.pdf"):
        path = tmp_path / name
        assert measured.save(str(path)) == [path]
        first = path.read_bytes()
        measured.save(path)
        assert path.read_bytes() == first
    assert read_settings(tmp_path / "a.png") == measured.settings
    pdf = (tmp_path / "e.pdf").read_bytes()
    assert b'/Subject ({"steps": 3})' in pdf  # text and lines, not a picture of them
    assert b"/Subtype /Image" not in pdf
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf
    with np.load(tmp_path / "c.npz") as arrays:
        assert arrays["by_name/left"].tolist() == [0, 1]
    assert json.loads((tmp_path / "d.json").read_text()) == measured.to_json()


def test_save_refuses_other_suffixes(measured, tmp_path):
    """A suffix that says nothing is refused in one line."""
    with pytest.raises(OptionError) as error:
        measured.save(tmp_path / "a.txt")
    assert str(error.value) == (
        f"cannot save {str(tmp_path / 'a.txt')!r}: the suffix is '.txt'. Use one of .png, .jpg, .jpeg, .pdf, .npz, .json."
    )


def test_results_are_compared_by_identity(measured):
    """A result with arrays has no equality of fields, which would raise."""
    assert measured == measured
    assert hash(measured) == hash(measured)
