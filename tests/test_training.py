"""Promises about FeatureMonitor: what it draws is what evolve finds in checkpoints, and the training does not notice it."""

from __future__ import annotations

import copy
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import deconvnet
from deconvnet import FeatureMonitor, OptionError
from deconvnet.drawings import draw
from deconvnet.render import read_settings
from deconvnet.studies import evolve
from deconvnet.training.rows import Rows

ROOT = Path(__file__).parents[1]


def small_net() -> nn.Module:
    """A net with all that a forward pass in the wrong mode would change: running statistics, dropout, buffers."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(8 * 8 * 7, 4),
    )


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, 16, 14, generator=torch.Generator().manual_seed(seed))


class Training:
    """A training loop, with whatever shall be called after each step."""

    def __init__(self, *, autocast: bool = False) -> None:
        self.model = small_net().train()
        self.optimiser = torch.optim.SGD(self.model.parameters(), 0.05, momentum=0.9)
        self.autocast = autocast

    def run(self, steps: int, after=lambda: None) -> None:
        torch.manual_seed(11)
        np.random.seed(11)  # the state that users' scripts have
        random.seed(11)
        for _ in range(steps):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.autocast):
                scores = self.model(torch.randn(9, 3, 16, 14))
                loss = nn.functional.cross_entropy(scores, torch.randint(4, (9,)))
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
                after()

    def state(self) -> list[bytes]:
        """Everything that the training has made, as bytes."""
        tensors = [*self.model.state_dict().values(), *(parameter.grad for parameter in self.model.parameters())]
        tensors += [value for slot in self.optimiser.state.values() for value in slot.values()]
        generators = [
            torch.get_rng_state().numpy().tobytes(),
            np.random.get_state()[1].tobytes(),
            repr(random.getstate()).encode(),
        ]
        return [*(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors), *generators]


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
def test_the_training_does_not_notice(autocast, tmp_path):
    """Weights, statistics, gradients, the optimiser and all generators end in the same bytes with and without a monitor."""
    alone, watched = Training(autocast=autocast), Training(autocast=autocast)
    alone.run(6)
    monitor = FeatureMonitor(watched.model, images(5), out=tmp_path, every=2)
    watched.run(6, monitor.step)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "features.png",
        "step-000002.png",
        "step-000004.png",
        "step-000006.png",
    ]
    assert watched.state() == alone.state()
    assert watched.model.training
    assert all(module.training for module in watched.model.modules())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in watched.model.modules())


def test_it_is_evolve_while_training(tmp_path):
    """The rows are those that `evolve` finds afterwards in checkpoints of the same steps."""
    training, pictures = Training(), images(7)
    monitor = FeatureMonitor(training.model, pictures, every=3, layers=["2", "5"], channels=[0, 4, 5])
    files = {}

    def after() -> None:
        monitor.step()
        if monitor.steps % 3 == 0:
            files[str(monitor.steps)] = tmp_path / f"{monitor.steps}.pt"
            torch.save(training.model.state_dict(), files[str(monitor.steps)])

    training.run(9, after)
    net = deconvnet.DeconvNet(copy.deepcopy(training.model).eval())
    expected = evolve.run(net, pictures, checkpoints=files, layers=["2", "5"], channels=[0, 4, 5])
    found = monitor.evolution
    assert found.names == expected.names == ("3", "6", "9")
    assert len(set(found.weights)) == 3
    for mine, theirs in zip(found.layers, expected.layers, strict=True):
        assert mine.layer == theirs.layer
        for name in ("channels", "images", "rows", "cols", "windows"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), err_msg=name)
        np.testing.assert_allclose(mine.activations, theirs.activations, rtol=1e-5)
        np.testing.assert_allclose(mine.crops, theirs.crops, rtol=1e-4, atol=1e-6)
    assert found.plot().axes[0].get_ylabel() == "step"
    assert expected.plot().axes[0].get_ylabel() == "epoch"


def test_random_channels_are_those_of_the_seed():
    """Without channels, `count` random ones of each layer are followed, the same for the same seed, and alive ones."""
    net = small_net()
    with torch.no_grad():
        net[0].weight[:3], net[1].bias[:3] = 0, -1  # dead
    monitors = [FeatureMonitor(net, images(4), count=3, seed=seed) for seed in (0, 0, 1)]
    assert monitors[0].layers == ["2", "5"]
    assert monitors[0].channels == monitors[1].channels != monitors[2].channels
    assert monitors[0].channels["2"] == [3, 4, 5]
    assert repr(FeatureMonitor(net, images(4), layers=["2"], channels=[4])) == (
        "FeatureMonitor('Sequential', {'2': [4]}, every 500 steps, now 0)"
    )


@given(most=st.integers(2, 9), count=st.integers(1, 200))
@settings(deadline=None)
def test_rows_are_bounded_and_even(most, count):
    """Of any number of drawings, at most `rows` are held: the first, the newest, and between them every 2^k-th."""
    rows = Rows(most)
    for number in range(count):
        rows.add(10 * number, number)
    held = [sorted({*range(0, count, 2**k), count - 1}) for k in range(9)]
    assert rows.items == next(numbers for numbers in held if len(numbers) <= most)
    rows.add(10 * (count - 1), "again")
    assert rows.items[-1] == "again"
    assert len(rows.items) <= most


def test_evolution_holds_as_many_rows():
    """A monitor's evolution has `rows` drawings at most, the newest among them."""
    monitor = FeatureMonitor(small_net(), images(2), layers=["2"], channels=[1], every=1, rows=3)
    for _ in range(6):
        monitor.step()
    assert monitor.evolution.names == ("1", "5", "6")


def test_counting_by_somebody_else():
    """Given the number of steps, it draws where `every` is reached or passed, once."""
    writer = Writer()
    monitor = FeatureMonitor(small_net(), images(2), out=writer, layers=["2"], channels=[1], every=10)
    for number in (1, 9, 10, 10, 19, 25, 25, 41):
        monitor.step(number)
    assert [step for _, _, step, _ in writer.given] == [10, 25, 41]
    assert monitor.steps == 41
    assert monitor.evolution.names == ("10", "25", "41")


def test_a_folder_gets_a_picture_for_each_drawing(tmp_path):
    """Each picture has its settings inside; drawing the same step again replaces it; features.png holds the rows so far."""
    net = small_net()
    monitor = FeatureMonitor(net, images(4), out=tmp_path / "a" / "b", layers=["2", "5"], channels=[1, 3])
    first = monitor.draw()
    assert [path.name for path in first] == ["step-000000.png", "features.png"]
    before = [path.read_bytes() for path in first]
    assert [path.read_bytes() for path in monitor.draw()] == before
    inside = read_settings(first[0])
    assert (inside["model"], inside["layers"], inside["step"], inside["tone"]) == ("Sequential", ["2", "5"], 0, "soft")
    assert inside["weights"] == monitor.evolution.weights[0] == deconvnet.DeconvNet(net).loaded.weights_hash()
    with torch.no_grad():
        net[0].weight.mul_(-1)
    (second, newest) = monitor.step(500)
    assert second.name == "step-000500.png"
    assert newest.read_bytes() != before[1]
    assert monitor.evolution.names == ("0", "500")
    with Image.open(second) as changed, Image.open(first[0]) as unchanged:
        assert np.asarray(changed).shape == np.asarray(unchanged).shape
        assert not np.array_equal(np.asarray(changed), np.asarray(unchanged))


def test_weights_of_a_file_are_left_behind(tiny):
    """What is fine-tuned is named by its tensors, not by the file that it came from; the loaded model keeps its name."""
    loaded = deconvnet.load_model("tiny")
    monitor = FeatureMonitor(loaded, [draw(seed=1)], layers=["features.1"], channels=[2])
    monitor.draw()
    assert monitor.evolution.settings["weights"].startswith("tensors-sha256:")
    assert loaded.weights == tiny.weights
    assert monitor.net.model is loaded.model


class Writer:
    """Keeps what a SummaryWriter would be given."""

    def __init__(self) -> None:
        self.given: list[tuple[str, np.ndarray, int, str]] = []

    def add_image(self, tag, img_tensor, global_step, *, dataformats):
        self.given.append((tag, img_tensor, global_step, dataformats))


def test_a_writer_gets_an_image_for_each_layer():
    """TensorBoard's writer is handed pixels 0..255, (H, W, 3), by layer and step; no file is named."""
    writer = Writer()
    monitor = FeatureMonitor(small_net(), images(3), out=writer, every=2, layers=["2", "5"], channels=[0, 1])
    assert [monitor.step() for _ in range(4)] == [[], [], [], []]
    assert [(tag, step, form) for tag, _, step, form in writer.given] == [
        ("features/2", 2, "HWC"),
        ("features/5", 2, "HWC"),
        ("features/2", 4, "HWC"),
        ("features/5", 4, "HWC"),
    ]
    assert all(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 for _, pixels, _, _ in writer.given)
    assert all(pixels.std() > 5 for _, pixels, _, _ in writer.given)


def test_weights_that_are_not_numbers_do_not_end_a_training():
    """A training that has gone to NaN is not drawn, which a warning says, and goes on."""
    net, writer = small_net(), Writer()
    monitor = FeatureMonitor(net, images(3), out=writer, layers=["2", "5"], channels=[0], every=5)
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    with pytest.warns(deconvnet.DeconvnetWarning) as caught:
        assert monitor.step(5) == []
    (warning,) = caught
    assert str(warning.message) == (
        "step 5 is not drawn: the activation of 2:0@0,0 is NaN or infinite: nothing can be projected. Look for what overflows."
    )
    assert writer.given == []


def test_errors(tmp_path):
    """Bad arguments are refused in one line, before the training begins."""
    (tmp_path / "file").touch()
    cases = [
        ({"every": 0}, "every cannot be 0: it is the number of steps between two drawings, 1 or more."),
        ({"rows": 1}, "rows cannot be 1: the first drawing and the last are always shown. Give 2 or more."),
        ({"count": 0}, "count cannot be 0: it is the number of channels of each layer, 1 or more."),
        (
            {"tone": "sift"},
            "tone cannot be 'sift': it is one of soft, symmetric, shared, grey, minmax, positive, magnitude, sigmoid. Did you mean 'soft'?",
        ),
        ({"out": tmp_path / "file"}, f"out must be a folder, and {str(tmp_path / 'file')!r} is a file. Give another path."),
        (
            {"out": 3},
            "out must be a folder or a writer with add_image(), found int. Give a path, or a torch.utils.tensorboard.SummaryWriter.",
        ),
    ]
    for arguments, text in cases:
        with pytest.raises(OptionError) as caught:
            FeatureMonitor(small_net(), images(2), **arguments)
        assert str(caught.value) == text
    with pytest.raises(deconvnet.UnknownLayerError) as unknown:
        FeatureMonitor(small_net(), images(2), layers=["conv9"])
    assert str(unknown.value) == "'conv9' is not a layer of Sequential. See: deconvnet layers Sequential"
    monitor = FeatureMonitor(small_net(), images(2), every=7)
    monitor.step()
    with pytest.raises(OptionError) as caught:
        _ = monitor.evolution
    assert str(caught.value) == "nothing has been drawn yet: 1 of the first 7 steps are made. Call draw()."


def test_lightning_that_is_missing(monkeypatch):
    """Without Lightning, one line says how to install it."""
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    with pytest.raises(deconvnet.MissingPackageError) as caught:
        deconvnet.lightning_callback(FeatureMonitor(small_net(), images(2)))
    assert str(caught.value) == (
        "a callback for Lightning needs lightning, which cannot be imported (import of lightning halted; None in sys.modules)."
        ' In a checkout: pip install -e ".[lightning]"'
    )
