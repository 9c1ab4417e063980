"""Recurrent layers: their way down equals autograd through their equations, with gates as constants."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import deconvnet
from support.oracle import relative
from support.recurrent import slow_cell, slow_recurrent

SIZES = {"input": 3, "hidden": 4, "length": 5}


def double(module):
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    return module.double().eval()


class Sequence(nn.Module):
    """Pixels of each picture, one after the other, through a recurrent layer, or through its twin."""

    def __init__(self, layer, read="output", twin=None):
        super().__init__()
        self.layer, self.read, self.twin = layer, read, twin

    def forward(self, x):
        sequence = x.flatten(2)  # (N, C, L)
        sequence = sequence.transpose(1, 2) if self.layer.batch_first else sequence.permute(2, 0, 1)
        output, states = self.layer(sequence) if self.twin is None else slow_recurrent(self.layer, sequence, rule=self.twin)
        if self.read == "output":
            return (output if self.layer.batch_first else output.transpose(0, 1)) * 1
        states = states if isinstance(states, (tuple, list)) else (states,)
        return states[self.read].transpose(0, 1).flatten(1) * 1


LAYERS = {
    "lstm": (nn.LSTM, {}),
    "lstm, time first": (nn.LSTM, {"batch_first": False, "bias": False}),
    "lstm, both ways, two layers": (nn.LSTM, {"bidirectional": True, "num_layers": 2}),
    "lstm, projected": (nn.LSTM, {"proj_size": 2, "bidirectional": True, "num_layers": 2}),
    "lstm, projected, without biases": (nn.LSTM, {"proj_size": 2, "bias": False}),
    "gru": (nn.GRU, {}),
    "gru, both ways, time first": (nn.GRU, {"bidirectional": True, "batch_first": False, "num_layers": 2}),
    "rnn": (nn.RNN, {"bidirectional": True}),
    "rnn of relu": (nn.RNN, {"nonlinearity": "relu", "num_layers": 2}),
}


def layer_of(name):
    kind, options = LAYERS[name]
    return double(kind(SIZES["input"], SIZES["hidden"], **{"batch_first": True, **options}))


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize(("name", "rule"), list(itertools.product(LAYERS, ("gradient", "deconvnet", "guided"))))
def test_the_way_down_is_autograd_with_the_gates_held(name, rule):
    """Output and last states, under three rules, for any direction, depth and order of axes; the layer's output is torch's."""
    layer = layer_of(name)
    images = torch.randn(2, 3, 1, 5, dtype=torch.float64)
    for read in ("output", 0, 1)[: 3 if layer.mode == "LSTM" else 2]:
        model = Sequence(layer, read)
        net = deconvnet.DeconvNet(model)
        leaf = images.clone().requires_grad_()
        output = Sequence(layer, read, twin=rule)(leaf)
        recording = net.record(images)
        assert relative(recording.activations("mul"), output.detach()) < 1e-12
        signal = torch.randn(output.shape, dtype=torch.float64)
        found = net.project_signal(recording, "mul", signal, rule=rule)
        (expected,) = torch.autograd.grad(output, leaf, signal)
        assert relative(found, expected) < 1e-12


class Steps(nn.Module):
    """A cell that reads three columns of a picture one after the other, from a state that comes from the picture."""

    def __init__(self, cell, twin=None):
        super().__init__()
        self.cell, self.twin = cell, twin

    def forward(self, x):
        state = (x.mean((1, 3)), x.amax((1, 3)))[: 2 if isinstance(self.cell, nn.LSTMCell) else 1]
        for column in x.unbind(3):
            if self.twin is not None:
                state = slow_cell(self.cell, column.flatten(1), state, self.twin)
            else:
                state = self.cell(column.flatten(1), state if len(state) == 2 else state[0])
                state = state if isinstance(state, tuple) else (state,)
        return torch.cat(state, 1)


CELLS = {
    "LSTMCell": nn.LSTMCell(6, 3),
    "LSTMCell without biases": nn.LSTMCell(6, 3, bias=False),
    "GRUCell": nn.GRUCell(6, 3),
    "RNNCell": nn.RNNCell(6, 3),
    "RNNCell of ReLU": nn.RNNCell(6, 3, nonlinearity="relu"),
}


@pytest.mark.parametrize(("name", "rule"), list(itertools.product(CELLS, ("gradient", "deconvnet", "guided"))))
def test_cells_are_autograd_with_the_gates_held(name, rule):
    """Signals go to a cell's input and to both of its states."""
    model = double(Steps(CELLS[name]))
    images = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    output = Steps(CELLS[name], twin=rule)(leaf)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    signal = torch.randn(output.shape, dtype=torch.float64)
    found = net.project_signal(recording, "cat", signal, rule=rule, silent="first")
    (expected,) = torch.autograd.grad(output, leaf, signal)
    assert relative(found, expected) < 1e-12


class Encoded(nn.Module):
    """A layer whose first states come from the image, too: a decoder's."""

    def __init__(self, layer, twin=None):
        super().__init__()
        self.layer, self.twin = layer, twin

    def forward(self, x):
        first = x.mean((2, 3)).repeat(1, 2)[None, :, :4].contiguous()
        states = (first, 2 * first) if self.layer.mode == "LSTM" else first
        if self.twin is None:
            return self.layer(x.flatten(2).transpose(1, 2), states)[0].neg()
        states = states if isinstance(states, tuple) else (states,)
        return slow_recurrent(self.layer, x.flatten(2).transpose(1, 2), states, self.twin)[0].neg()


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_first_states_may_come_from_the_image(name):
    """A signal goes to them too."""
    layer = layer_of(name)
    images = torch.randn(2, 3, 1, 5, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    output = Encoded(layer, twin="deconvnet")(leaf)
    net = deconvnet.DeconvNet(Encoded(layer))
    signal = torch.randn(output.shape, dtype=torch.float64)
    found = net.project_signal(net.record(images), "neg", signal, rule="deconvnet")
    (expected,) = torch.autograd.grad(output, leaf, signal)
    assert relative(found, expected) < 1e-12


class Rows(nn.Module):
    """Rows of each map go through an LSTM, both ways, as in Sequencer: they are counted among the images."""

    def __init__(self, twin=None):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 3, stride=2)
        self.rows, self.norm, self.twin = nn.LSTM(4, 5, batch_first=True, bidirectional=True), nn.LayerNorm(10), twin

    def forward(self, x):
        x = self.patches(x).permute(0, 2, 3, 1)
        rows = x.reshape(-1, *x.shape[2:])
        rows = self.rows(rows)[0] if self.twin is None else slow_recurrent(self.rows, rows, rule=self.twin)[0]
        return rows.reshape(*x.shape[:3], -1).permute(0, 3, 1, 2) * 2


def test_units_of_rows_among_the_images():
    """Maps keep their rows and columns through the folding; a unit of one picture's row has that picture's gates."""
    model = double(Rows())
    images = torch.randn(3, 3, 9, 13, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    slow = Rows(twin="gradient").double()
    slow.load_state_dict(model.state_dict())
    output = slow(leaf)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    assert recording.maps("mul").shape == (3, 10, 4, 6)
    found = net.project(recording, "mul", rule="gradient", channels=[2, 7], top=2, image=1, start="one")
    for unit, pixels in zip(found.units, found.pixels, strict=True):
        (expected,) = torch.autograd.grad(output[1, unit.channel, unit.row, unit.col], leaf, retain_graph=True)
        assert relative(pixels, expected[1]) < 1e-10


def test_what_is_met_is_said():
    """The list of layers says that an LSTM's gates are held."""
    net = deconvnet.DeconvNet(Sequence(layer_of("lstm")))
    recording = net.record(torch.randn(1, 3, 2, 3, dtype=torch.float64))
    call = next(call for call in recording.tape.calls if call.name == "lstm")
    assert (call.problem, recording.tape.rule(call).status) == (None, "held")


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x):
        sequences = nn.utils.rnn.PackedSequence(x.flatten(2).transpose(1, 2).flatten(0, 1), torch.full((4,), 1))
        return self.layer(sequences)[0].data * 2


class OneStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.GRU(3, 4, batch_first=True)

    def forward(self, x):
        return self.layer(x.mean((2, 3))[:, None])[0] * 2


class Confused(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(3, 4)

    def forward(self, x):
        return self.layer(x.flatten(2).transpose(1, 2))[0] * 2


@pytest.mark.parametrize(
    ("model", "call", "reason"),
    [
        (Packed, "lstm", "its input is a packed sequence: give one of a fixed length"),
        (OneStep, "gru", "of one step, its output and its last state cannot be told apart: they have the same size"),
        (Confused, "lstm", "it mixes the images of the batch"),
    ],
)
def test_what_is_refused_says_why(model, call, reason):
    """A packed sequence, one step of one picture with its batch first, and pictures along the axis of time."""
    net = deconvnet.DeconvNet(model().eval())
    recording = net.record(torch.randn(1 if model is not Confused else 2, 3, 2, 2))
    with pytest.raises(deconvnet.NoRuleError) as caught:
        net.project_signal(recording, "mul", torch.ones_like(recording.activations("mul")))
    assert str(caught.value) == f"no mirror rule for {call} in 'layer' ({reason}). Add one: see docs/your-own-rule.md."
