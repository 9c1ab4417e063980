"""Drawings: the same seed gives the same bytes, and the masks say where the parts are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from deconvnet.drawings import CLASSES, SCENES, draw
from deconvnet.errors import OptionError


def test_classes():
    """There are at least 14 classes, each with a scene, in the order of the labels."""
    assert len(CLASSES) >= 14
    assert tuple(SCENES) == CLASSES


@pytest.mark.parametrize("name", CLASSES)
def test_same_seed_same_bytes(name):
    """The same seed gives the same picture and masks; another seed gives another picture."""
    first, again, other = draw(name, seed=5), draw(name, seed=5), draw(name, seed=6)
    assert first.picture.tobytes() == again.picture.tobytes() != other.picture.tobytes()
    assert first.parts.keys() == again.parts.keys()
    assert all(np.array_equal(first.parts[part], again.parts[part]) for part in first.parts)


@pytest.mark.parametrize("name", CLASSES)
def test_parts(name):
    """Every part has a mask of the picture's shape and is visible; the parts together do not fill the picture."""
    for seed in range(4):
        drawing = draw(name, seed=seed)
        assert (drawing.name, CLASSES[drawing.label]) == (name, name)
        assert len(drawing.parts) >= 1
        for mask in drawing.parts.values():
            assert (mask.dtype, mask.shape) == (bool, (96, 96))
            assert mask.any()
        assert 0.03 < np.any(list(drawing.parts.values()), axis=0).mean() < 0.95


@pytest.mark.parametrize("seed", range(6))
def test_left_is_left_in_the_picture(seed):
    """'left' and 'right' are the picture's sides, also in mirrored scenes."""
    parts = draw("car", seed=seed).parts
    assert np.nonzero(parts["left wheel"])[1].mean() < np.nonzero(parts["right wheel"])[1].mean()


def test_masks_lie_on_their_parts():
    """A car's tyres are black, so the wheels' mask is darker than the rest of the car."""
    for seed in range(6):
        drawing = draw("car", seed=seed)
        grey = np.asarray(drawing.picture.convert("L"), dtype=float)
        assert np.median(grey[drawing.parts["left wheel"]]) < np.median(grey[drawing.parts["body"]]) + 20


def test_a_later_part_hides_an_earlier_one():
    """The eyes lie on the head: where an eye fills a pixel, the head does not."""
    parts = draw("face", seed=1).parts
    overlap = parts["left eye"] & parts["head"]
    assert overlap.sum() < 0.5 * parts["left eye"].sum()


@pytest.mark.parametrize("size", [64, 96, 150, 224])
def test_sizes(size):
    """Picture and masks have the size asked for, and the same seed shows the same scene at every size."""
    drawing, usual = draw(seed=11, size=size), draw(seed=11)
    assert drawing.picture.size == (size, size)
    assert {mask.shape for mask in drawing.parts.values()} == {(size, size)}
    assert drawing.name == usual.name
    small, large = (np.asarray(d.picture.resize((12, 12), reducing_gap=3.0), dtype=float) for d in (drawing, usual))
    assert abs(small - large).mean() < 12


def test_seed_picks_the_class():
    """Without a name the seed picks one of all classes, and naming that class changes nothing."""
    names = {draw(seed=seed, size=24).name for seed in range(200)}
    assert names == set(CLASSES)
    drawing = draw(seed=9)
    assert draw(drawing.name, seed=9).picture.tobytes() == drawing.picture.tobytes()


def test_unknown_name():
    """An unknown name lists all the classes and suggests close ones."""
    with pytest.raises(OptionError) as caught:
        draw("hous")
    assert str(caught.value) == (
        "name cannot be 'hous': it is one of face, cat, bird, fish, butterfly, flower, tree, house, car, bicycle, train, boat, "
        "clock, cup, letters, checks, stripes, dots. Did you mean 'house'?"
    )


def test_import_is_light():
    """Importing the drawings imports neither torch nor torchvision nor matplotlib."""
    code = "import sys, deconvnet.drawings; print(sorted({'torch', 'torchvision', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
