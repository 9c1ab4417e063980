"""Fifty-seven nets as strangers write them: each is projected as autograd has it or refused in a line, and comes back as it was."""

from __future__ import annotations

import contextlib
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

import deconvnet
from support.hostile import run
from support.odd_nets import NETS, make, state_of
from support.oracle import relative
from support.scans import drawing

ENDS_ITSELF = ("leaves the program", "is stopped")  # what the user's code decides is not ours to change
GROWS = "grows a layer"  # which stays, as a lazy module's weights do: each pass would draw others


def by_autograd(name, images, record, unit, value):
    """Return the gradient of one unit, by autograd in another copy of the net."""
    fresh, outputs = make(name).eval(), []
    fresh = fresh.module if isinstance(fresh, torch.nn.DataParallel) else fresh
    fresh.get_submodule(record.key.path).register_forward_hook(lambda module, inputs, output: outputs.append(output * 1))
    images = images.clone().requires_grad_()
    with patch("torch.inference_mode", lambda: contextlib.nullcontext()), torch.enable_grad():
        fresh(images * 1)
    signal = torch.zeros_like(outputs[-1])
    signal[0][unit] = value
    return torch.autograd.grad(outputs[-1], images, signal)[0][0].float()


def last_layer(recording):
    """Return the record of the last module that has maps."""
    modules = [record for record in recording.records().values() if not record.is_call and record.value is not None]
    return next(record for record in reversed(modules) if recording.activations(record.name).dim() == 4)


def project(net, images):
    """Return a layer's record, a unit, its activation, and its projection over the whole image."""
    recording = net.record(images)
    record = last_layer(recording)
    maps = recording.activations(record.name)
    unit = tuple((maps[0] > 0).nonzero()[-1].tolist())
    signal = torch.zeros_like(maps)
    signal[0][unit] = maps[0][unit]
    options = {"rule": "gradient", "silent": "first"}
    full = net.project_signal(recording, record.name, signal, **options)[0]
    alone = net.project(recording, record.name, units=[unit], **options)
    assert alone.pixels.isfinite().all()
    return record, unit, maps[0][unit], full.float()


def unchanged(name, model, before):
    """Say whether a model is as it was."""
    after = state_of(model)
    keys = before.keys() if name == GROWS else before.keys() | after.keys()
    pairs = [(before.get(key), after.get(key)) for key in keys]
    return all(torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new for old, new in pairs)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore")  # they talk
def test_a_net_is_projected_as_autograd_has_it_or_refused(name):
    """Nothing is wrong in silence, and the net is as it was before."""
    model, expected = make(name), NETS[name][1]
    before, dtype = state_of(model), next(model.parameters()).dtype
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)).to(dtype)
    try:
        record, unit, value, pixels = project(deconvnet.DeconvNet(model), images)
    except BaseException as error:
        is_ours = isinstance(error, deconvnet.errors.DeconvnetError) or name in ENDS_ITSELF
        if not (is_ours and type(error).__name__ == expected):
            raise
    else:
        assert expected in ("exact", "held")
        if expected == "exact":
            tolerance = 2e-2 if "bfloat16" in name else 1e-5  # a bfloat16 has three digits
            assert relative(pixels, by_autograd(name, images, record, unit, value)) < tolerance
    assert unchanged(name, model, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NETS if name not in ENDS_ITSELF])
def test_the_command_answers_with_a_picture_or_a_line(name, tmp_path, monkeypatch):
    """No traceback, no hang, one line of error at most, and no file but the one that was asked for."""
    monkeypatch.chdir(tmp_path)
    drawing(3).save("in.png")
    Path("net.py").write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import torch; from support.odd_nets import make as made\n"
        f"def make(): return made({name!r})\n"
    )
    sizes = ["--size", "16", "--mean", "0,0,0", "--std", "1,1,1"]
    outcome = run(["project", "in.png", "--model", "file:net.py:make", "--weights", "none", *sizes, "--out", "out.png"])
    assert outcome.fault == ""
    assert Path("out.png").exists() == (outcome.code == 0)
    assert {path.name for path in tmp_path.iterdir()} <= {"in.png", "net.py", "out.png", "__pycache__"}
