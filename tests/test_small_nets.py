"""Promises about benchmarks/small_nets.py: three kinds of nets whose units see as much as tiny's, trained to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import CLASSES, draw
from support.scripts import BENCHMARKS, module

pytest.importorskip("scipy", reason="intervals need the extra `studies`")

LAYERS = {
    "alexnet-like": ("features.13", 10),
    "vgg-like": ("features.20", 12),
    "resnet-like": ("6", 12),
}  # and their maps' sides


small_nets, training = module("small_nets"), module("train_small_nets")
KINDS = pytest.mark.parametrize("kind", small_nets.KINDS)


def load(kind: str, weights: str = "DEFAULT") -> deconvnet.DeconvNet:
    path = BENCHMARKS / "small_nets.py"
    return deconvnet.DeconvNet(deconvnet.load_model(f"file:{path}:{small_nets.KINDS[kind].__name__}", weights=weights))


@KINDS
def test_windows_are_as_wide_as_tinys(kind):
    """The layer that is measured, the last rectified one, has maps and windows of tiny's size, within five pixels."""
    net = load(kind)
    recording = net.record(draw("cat", seed=5).picture)
    layer, side = LAYERS[kind]
    assert recording.stored_maps(layer).shape[2:] == (side, side)
    projection = net.project(recording, layer, top=1)
    assert max(window.height for window in projection.windows) in range(83, 88)
    with torch.no_grad():
        assert net.model(recording.images).shape == (1, len(CLASSES))


@KINDS
def test_the_gradient_is_autograds(kind):
    """With nothing of the paper's choices, the way down is autograd's; random weights, batch norms that have seen drawings."""
    torch.manual_seed(3)
    net = load(kind)
    images = net.record([draw(seed=number).picture for number in range(2)]).images.clone()
    with torch.no_grad():
        net.model.train()(images)
    net.model.eval()
    whole = deconvnet.DeconvNet(net.loaded, silent="first", overlap="sum", lrn="derivative")
    recording = whole.record(images)
    layer = LAYERS[kind][0]
    found = whole.project(recording, layer, top=1, rule="gradient", start="one")
    images.requires_grad_()
    kept: list[torch.Tensor] = []
    handle = net.model.get_submodule(layer).register_forward_hook(lambda *io: kept.append(io[2]))
    net.model(images)
    handle.remove()
    for unit, pixels in zip(found.units, found.pixels, strict=True):
        [gradient] = torch.autograd.grad(kept[0][unit.image, unit.channel, unit.row, unit.col], images, retain_graph=True)
        assert (gradient[unit.image] - pixels).abs().max() < 1e-4 * gradient.abs().max()


def test_training_repeats_to_the_bit(tmp_path):
    """The same seed gives the same weights, another others; they are loaded by the tool's own means."""
    first, again, other = (training.train("resnet-like", seed, drawings=64, epochs=1).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    net = small_nets.KINDS["resnet-like"]()[0]
    net.load_state_dict(first)
    training.save(net, tmp_path / "a.safetensors")
    loaded = load("resnet-like", str(tmp_path / "a.safetensors")).model.state_dict()
    assert all(torch.equal(loaded[name], first[name]) for name in first)


def test_what_a_net_is_trained_on_is_what_it_is_shown():
    """The script's own normalisation is the preprocessing that comes with the nets."""
    pictures, labels = training.draw_many(7, 3)
    shown = torch.stack([small_nets.PREPROCESS(draw(seed=seed).picture) for seed in (7, 8, 9)])
    assert torch.allclose(training.normalised(pictures), shown, atol=1e-6)
    assert labels.tolist() == [draw(seed=seed).label for seed in (7, 8, 9)]


def test_each_drawing_is_shown_once_an_epoch_and_moved():
    """Batches hold all drawings, each once, with every batch moved by up to six pixels."""
    pictures = torch.arange(70, dtype=torch.uint8).view(70, 1, 1, 1).expand(70, 3, 96, 96)
    torch.manual_seed(0)
    found = [*training.batches(pictures, torch.arange(70))]
    assert [len(labels) for _, labels in found] == [32, 32, 6]
    assert sorted(torch.cat([labels for _, labels in found]).tolist()) == list(range(70))
    for images, labels in found:
        assert torch.allclose(images[:, 0, 0, 0], training.normalised(pictures[labels])[:, 0, 0, 0])
    slope = torch.arange(96, dtype=torch.uint8).view(1, 1, 1, 96).expand(64, 3, 96, 96)
    shifts = {float(images[0, 0, 0, 48]) for images, _ in training.batches(slope, torch.arange(64))}
    assert len(shifts) == 2


class Constant(nn.Module):
    """A net that says "cat" of everything."""

    def forward(self, images):
        scores = torch.zeros(len(images), len(CLASSES))
        scores[:, CLASSES.index("cat")] = 1
        return scores


def test_accuracy_and_its_interval():
    """The share that is right, and Wilson's interval by its formula."""
    _, labels = training.draw_many(training.FIRST_FRESH, 120)
    found = training.accuracy(Constant(), 120)
    right = int((labels == CLASSES.index("cat")).sum())
    assert (found["right"], found["of"], found["share"]) == (right, 120, right / 120)
    z, n, share = 1.959964, 120, right / 120
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert (found["low"], found["high"]) == pytest.approx((middle - half, middle + half), abs=1e-6)
