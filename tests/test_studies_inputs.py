"""Promises about what studies take: one picture or several, whatever kind they are of."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

import deconvnet
from deconvnet.drawings import draw
from deconvnet.errors import DeconvnetError
from deconvnet.models.tiny_checkpoints import checkpoints
from deconvnet.studies import ablate, correspond, evolve, faithful, filters, invariance, occlude, sanity

KINDS = ("path", "PIL picture", "drawing", "tensor")

#: What each study is asked for here, so that it is quick; those that take one picture, and those that take several.
QUICK: dict[Any, dict[str, Any]] = {
    occlude: {"stride": 48},
    ablate: {"layer": "features.5", "signals": 2},
    invariance: {"layers": ["features.1"], "values": {"translation": [0, 5], "scale": [1.2], "rotation": [90]}},
    evolve: {"layers": ["features.5"], "channels": [3], "checkpoints": dict(list(checkpoints().items())[-1:])},
    filters: {"top": 2},
    sanity: {"layer": "features.5", "top": 2, "seeds": 1},
    faithful: {"top": 1, "seeds": 2},
}
ONE_PICTURE = (occlude, ablate)
SEVERAL_PICTURES = tuple(study for study in QUICK if study not in ONE_PICTURE)


def named(study: Any) -> str:
    return study.__name__.rpartition(".")[2]


def numbers(result: Any) -> dict[str, Any]:
    """Return a result's numbers, without what differs between kinds: names, and what rests on the truth that drawings alone have."""
    unlike = ("settings", "sources", "pictures", "truth", "share_means", "comparisons")
    return {name: value for name, value in result.to_json().items() if name not in unlike}


@pytest.fixture
def kinds(net, picture) -> dict[str, Any]:
    """Return one drawing of a face as each kind of picture."""
    drawing = draw("face", seed=3)
    return dict(zip(KINDS, (picture, drawing.picture, drawing, net.preprocess(drawing.picture)[None]), strict=True))


@pytest.mark.parametrize("study", QUICK, ids=named)
def test_one_picture_of_any_kind(study, net, kinds):
    """One path, PIL picture, drawing or tensor gives the same numbers, alone and in a list."""
    if study is sanity:
        pytest.importorskip("scipy")
        pytest.importorskip("skimage")
    results = [numbers(study.run(net, value, **QUICK[study])) for value in (*kinds.values(), [kinds["path"]])]
    for result in results[1:]:
        assert result == results[0]


@pytest.mark.parametrize("study", SEVERAL_PICTURES, ids=named)
def test_several_pictures_of_any_kind(study, net, kinds):
    """A list of all kinds, and one tensor of as many images, give the same numbers."""
    if study is sanity:
        pytest.importorskip("scipy")
        pytest.importorskip("skimage")
    mixed = study.run(net, list(kinds.values())[1:3], **QUICK[study])
    stacked = study.run(net, torch.cat([kinds["tensor"]] * 2), **QUICK[study])
    assert numbers(mixed) == numbers(stacked)


@pytest.mark.parametrize("study", ONE_PICTURE, ids=named)
def test_studies_of_one_picture_refuse_several(study, net, kinds):
    """Where one picture makes sense, two are refused."""
    for pictures in (list(kinds.values())[:2], torch.cat([kinds["tensor"]] * 2)):
        with pytest.raises(DeconvnetError) as caught:
            study.run(net, pictures, **QUICK[study])
        assert str(caught.value) == "this study takes one picture, found 2. Give one at a time."


def test_correspond_takes_any_kinds(net, kinds):
    """Pictures of any kind are compared, boxes meaning the same pixels in each."""
    boxes = [{"spot": [20, 30, 16, 24]}] * 2
    results = [
        correspond.run(net, pictures, boxes, layers=["features.9"], trials=1)
        for pictures in ([kinds["path"], kinds["PIL picture"]], [kinds["drawing"]] * 2, torch.cat([kinds["tensor"]] * 2))
    ]
    for result in results[1:]:
        assert numbers(result) == numbers(results[0])


@pytest.mark.parametrize("kind", KINDS)
def test_correspond_refuses_one_picture(kind, net, kinds):
    """One picture has nothing to be compared with."""
    with pytest.raises(DeconvnetError) as caught:
        correspond.run(net, kinds[kind], [{"spot": [20, 30, 16, 24]}])
    assert str(caught.value) == "pictures are compared in pairs, found 1. Give two or more."


def test_studies_are_attributes():
    """After `import deconvnet` each study is there without an import of its own, and loads torch only when it is used."""
    code = (
        "import sys, deconvnet; deconvnet.studies; assert 'torch' not in sys.modules;"
        "print(sorted(dir(deconvnet.studies)), all(callable(getattr(deconvnet.studies, name).run) for name in dir(deconvnet.studies)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "['ablate', 'benchmark', 'correspond', 'evolve', 'faithful', 'filters', 'invariance', 'occlude', 'sanity'] True"
    )
    with pytest.raises(AttributeError, match=r"^module 'deconvnet\.studies' has no attribute 'occlusion'$"):
        _ = deconvnet.studies.occlusion
