"""Nets that do something odd: they draw random numbers, are compiled, scripted, quantised, or turn their images about."""

from __future__ import annotations

import itertools
import json
import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvnet
from deconvnet.errors import DeconvnetWarning, NoRuleError, UnitError, UnstableModelError
from deconvnet.json_text import count_non_finite, json_text
from support.oracle import relative


def small_net(*more):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, (3, 5), stride=(1, 2)), nn.ReLU(), nn.MaxPool2d((2, 3)), nn.Conv2d(6, 8, 3), nn.ReLU(), *more
    )


class Turned(nn.Module):
    """Permutes its images first, and joins what a second permutation makes of them."""

    def __init__(self, order, *, branch=False):
        super().__init__()
        self.order, self.branch, self.net = order, branch, small_net()

    def forward(self, x):
        y = x.permute(*self.order)
        if self.branch:  # labels of the two operands differ: one was turned twice, the other never
            back = [self.order.index(axis) for axis in range(4)]
            y = y + F.relu(y).permute(*back).permute(*self.order)
        return self.net(y)


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("order", [order for order in itertools.permutations(range(4)) if order[0] == 0])
def test_windows_of_turned_images_hold_the_whole_projection(order, branch):
    """Whatever a net does with the axes of its images, a unit's window is where the full projection is, and no larger."""
    turned = [0] * 4
    for axis, length in zip(order, (1, 3, 40, 47), strict=True):
        turned[axis] = length
    net = deconvnet.DeconvNet(Turned(order, branch=branch))
    recording = net.record(torch.rand(turned, generator=torch.Generator().manual_seed(1)))
    maps = recording.activations("net.4")
    positions = (maps[0] > 0).nonzero().tolist()[::37]
    assert len(positions) > 5
    projection = net.project(recording, "net.4", units=[tuple(position) for position in positions])
    for unit, window, pixels in zip(projection.units, projection.windows, projection.pixels, strict=True):
        signal = torch.zeros_like(maps)
        signal[0, unit.channel, unit.row, unit.col] = unit.activation
        full = net.project_signal(recording, "net.4", signal)[0]
        assert relative(pixels, full) < 1e-6
        if full.any():
            _, rows, cols = full.nonzero().T
            assert window.top <= rows.min()
            assert rows.max() < window.bottom
            assert window.left <= cols.min()
            assert cols.max() < window.right
        if order.index(1) == 1:  # rows and columns of the image are rows and columns of the maps, perhaps the other way round
            fields = {2: 3 + 1 + 4, 3: 5 + 2 * 2 + 6 * 2}
            assert (window.height, window.width) == (fields[order.index(2)], fields[order.index(3)])


class Noisy(nn.Module):
    """Adds noise from one of the usual sources behind its first layer, also in eval mode."""

    def __init__(self, source):
        super().__init__()
        self.below, self.above, self.source = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), source
        nn.init.constant_(self.above.bias, 3.0)  # so that something fires

    def forward(self, x):
        y = F.relu(self.below(x))
        noise = {
            "torch": lambda: torch.randn(y.shape),
            "numpy": lambda: torch.from_numpy(np.random.rand(*y.shape)).float(),
            "python": lambda: torch.full(y.shape, random.random()),
            "seeded": lambda: (torch.manual_seed(3), torch.randn(y.shape))[1],
            "unused": lambda: torch.zeros(torch.rand(2).shape[0], 1, 1)[:1],
        }[self.source]()
        return F.relu(self.above(y + noise))


@pytest.mark.parametrize("source", ["torch", "numpy", "python"])
def test_what_hangs_on_random_numbers_is_refused(source):
    """A unit above the noise is refused, one below it is projected; recording itself never fails."""
    net = deconvnet.DeconvNet(Noisy(source))
    recording = net.record(torch.rand(1, 3, 12, 12))
    assert net.project(recording, "relu").units
    with pytest.raises(UnstableModelError) as error:
        net.project(recording, "relu_1")
    assert str(error.value) == (
        "layer 'relu_1' of Noisy changes each time it runs: forward draws random numbers."
        " Turn that off for eval mode, or seed it in forward: torch.manual_seed(0)."
    )


@pytest.mark.parametrize("source", ["seeded", "unused"])
def test_random_numbers_that_change_nothing_are_no_obstacle(source):
    """Seeded noise is a constant, and numbers that nobody reads are nobody's business."""
    net = deconvnet.DeconvNet(Noisy(source))
    assert net.project(net.record(torch.rand(1, 3, 12, 12)), "relu_1").units


def compiled_in_place(net):
    net.compile(backend="eager")
    return net


def compiled_part(net):
    net[0] = torch.compile(net[0], backend="eager")
    return net


def compiled_forward(net):
    net.forward = torch.compile(net.forward, backend="eager")
    return net


@pytest.mark.parametrize("compiled", [compiled_in_place, compiled_part, compiled_forward])
def test_compiled_nets_run_as_they_were_written(compiled):
    """What is compiled is recorded and scanned like what it was compiled from, and is compiled again afterwards."""
    image = torch.rand(1, 3, 30, 40)
    plain, net = deconvnet.DeconvNet(small_net()), deconvnet.DeconvNet(compiled(small_net()))
    expected, projection = (each.project(each.record(image), "4") for each in (plain, net))
    assert torch.equal(projection.pixels, expected.pixels)
    assert torch.equal(net.model(image), plain.model(image))


def test_a_scripted_part_is_a_problem_of_what_lies_above_it():
    """It takes no hooks and shows no calls: what lies above it is refused, and nothing else fails."""
    model = small_net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would rather compile
        model[0] = torch.jit.script(model[0])
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.rand(1, 3, 30, 40))
    with pytest.raises(NoRuleError, match="a scripted function or other compiled code did"):
        net.project(recording, "4")


def test_an_exported_program_is_named():
    """Its calls are kernels: the error says what to give instead."""
    image = torch.rand(1, 3, 30, 40)
    net = deconvnet.DeconvNet(torch.export.export(small_net(), (image,)).module())
    recording = net.record(image)
    with pytest.raises(NoRuleError) as error:
        net.project(recording, next(name for name in recording.records() if "relu" in name))
    assert "it is a kernel, called by an exported program: give the model that was exported" in str(error.value)


@pytest.mark.parametrize("per_channel", [False, True])
def test_rounding_for_quantisation_passes_the_signal(per_channel):
    """The straight-through estimator: the projection is that of the net without rounding, by its own activations."""
    scale, zero = torch.full((8,), 2.0**-10), torch.zeros(8, dtype=torch.int32)

    class Rounds(nn.Module):
        def forward(self, x):
            if per_channel:
                return torch.fake_quantize_per_channel_affine(x, scale, zero, 1, -(2**15), 2**15 - 1)
            return torch.fake_quantize_per_tensor_affine(x, 2.0**-10, 0, -(2**15), 2**15 - 1)

    image = torch.rand(1, 3, 30, 40)
    plain, net = deconvnet.DeconvNet(small_net()), deconvnet.DeconvNet(small_net(Rounds()))
    unit = plain.project(plain.record(image), "4", top=1).units[0]
    position = (unit.channel, unit.row, unit.col)
    expected = plain.project(plain.record(image), "4", units=[position], start="one")
    projection = net.project(net.record(image), "5", units=[position], start="one")
    assert torch.equal(projection.pixels, expected.pixels)
    assert "generalised" in projection.settings["statuses"]


def test_extra_state_and_quantised_weights_have_a_hash():
    """What a module keeps beside its tensors counts, and a quantised net is recorded although it has no way down."""

    class Extra(nn.Conv2d):
        extra = 1

        def get_extra_state(self):
            return {"extra": self.extra}

        def set_extra_state(self, state):
            self.extra = state["extra"]

    layer = Extra(3, 4, 3)
    hashes = []
    for Extra.extra in (1, 1, 2):
        hashes.append(deconvnet.DeconvNet(layer).loaded.weights_hash())
    assert hashes[0] == hashes[1] != hashes[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is about to move
        rounded = nn.Module()
        rounded.register_buffer("weight", torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8))
        assert deconvnet.DeconvNet(rounded).loaded.weights_hash().startswith("tensors-sha256:")


def overflowing_net():
    net = small_net()
    net[0].weight.data[1] = float("nan")
    net[0].bias.data[2] = float("inf")
    return net


def test_activations_that_are_not_finite_are_counted_and_left_out():
    """They are never the strongest, and asked for by name they are refused."""
    net = deconvnet.DeconvNet(overflowing_net())
    recording = net.record(torch.rand(1, 3, 12, 24))
    count = 2 * 10 * 10
    with pytest.warns(DeconvnetWarning) as warned:
        projection = net.project(recording, "1")
    assert [str(warning.message) for warning in warned] == [
        f"{count} of 600 activations of layer '1' are NaN or infinite: they are left out."
    ]
    assert {unit.channel for unit in projection.units} == {0, 3, 4, 5}
    json.loads(json.dumps(projection.to_json(), allow_nan=False))
    for options in ({"channels": [1]}, {"channels": [2], "at": "map"}, {"channels": [2], "at": (0, 0)}):
        with pytest.warns(DeconvnetWarning), pytest.raises(UnitError) as error:
            net.project(recording, "1", **options)
        assert str(error.value) == (
            f"the activation of 1:{options['channels'][0]} is NaN or infinite: nothing can be projected. Look for what overflows."
        )
    with pytest.raises(UnitError, match=r"^the activation of 1:2@0,0 is NaN or infinite: nothing can be projected\."):
        net.project(recording, "1", units=[(2, 0, 0)])


def test_json_is_always_json():
    """NaN and infinity, which the standard lacks, become null, wherever they stand; they can be counted."""
    value = {"a": [1.5, float("nan")], "b": {"c": (float("inf"), "NaN", None, 3, True)}}
    assert json.loads(json_text(value)) == {"a": [1.5, None], "b": {"c": [None, "NaN", None, 3, True]}}
    assert count_non_finite(value) == 2
    assert json_text({"a": 0.1}, indent=2) == json.dumps({"a": 0.1}, indent=2)


def test_the_command_says_what_is_odd_in_a_line(monkeypatch, capsys, tmp_path):
    """A warning of ours is a note on stderr; numbers that JSON cannot hold are counted."""
    from deconvnet.cli import _show_warning
    from deconvnet.cli.options import write_json

    monkeypatch.setattr(warnings, "showwarning", _show_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", _show_warning)
        warnings.warn("seven of nine", DeconvnetWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: seven of nine\n"
    write_json([float("nan"), 1.0], str(tmp_path / "numbers.json"))
    assert json.loads((tmp_path / "numbers.json").read_text()) == [None, 1.0]
    assert "1 numbers are NaN or infinite: they are null in the JSON." in capsys.readouterr().err


class MakesConstants(nn.Module):
    """Takes only a size from what descends from its image."""

    def __init__(self, make):
        super().__init__()
        self.make, self.net = make, small_net()

    def forward(self, x):
        constant = self.make(x)
        return self.net(x + 0.0 * constant)


@pytest.mark.parametrize(
    "make",
    [
        torch.zeros_like,
        lambda x: torch.full_like(x, 0.5),
        lambda x: torch.ones_like(x[:, :1]),
        lambda x: x.new_zeros(x.shape),
        lambda x: x.new_tensor([0.5]),
        lambda x: x.new_full((1, 1, 1, 1), 2.0),
    ],
)
def test_makers_take_only_a_size_from_the_image(make):
    """What they make is a constant, and what they took the size from still descends from the image."""
    image = torch.rand(1, 3, 30, 40)
    plain, net = deconvnet.DeconvNet(small_net()), deconvnet.DeconvNet(MakesConstants(make))
    expected = plain.project(plain.record(image), "4")
    recording = net.record(image)
    assert torch.equal(net.project(recording, "net.4").pixels, expected.pixels)
    assert len([call for call in recording.tape.calls if call.name == "mul"]) == 0  # of constants alone: not on the tape
