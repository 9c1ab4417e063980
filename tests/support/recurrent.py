"""Slow twins of torch's recurrent layers: the equations of its documentation, step by step, with gates as constants."""

from __future__ import annotations

import torch
from torch import nn

from .oracle import _Activation


def tanh_by(rule):
    """Return tanh with a rule's backward: "gradient", "deconvnet" or "guided"."""
    if rule == "gradient":
        return torch.tanh
    return lambda x: _Activation.apply(x, torch.tanh, rule == "guided")


def relu_by(rule):
    """Return ReLU with a rule's backward."""
    if rule == "gradient":
        return torch.relu
    return lambda x: _Activation.apply(x, torch.relu, rule == "guided")


def lstm_step(x, state, w, u, b, c, tanh):
    h, cell = state
    i, f, g, o = (x @ w.T + b + h @ u.T + c).chunk(4, -1)
    cell = f.sigmoid().detach() * cell + i.sigmoid().detach() * tanh(g)
    return o.sigmoid().detach() * tanh(cell), cell


def gru_step(x, state, w, u, b, c, tanh):
    (h,) = state
    (r, z, n), (r_h, z_h, n_h) = (x @ w.T + b).chunk(3, -1), (h @ u.T + c).chunk(3, -1)
    r, z = (r + r_h).sigmoid().detach(), (z + z_h).sigmoid().detach()
    return ((1 - z) * tanh(n + r * n_h) + z * h,)


def plain_step(x, state, w, u, b, c, tanh):
    return (tanh(x @ w.T + b + state[0] @ u.T + c),)


STEPS = {"LSTM": lstm_step, "GRU": gru_step, "RNN_TANH": plain_step, "RNN_RELU": plain_step}


def slow_recurrent(layer: nn.RNNBase, x, states=None, rule="gradient"):
    """Return (output, last states) as the layer does, by loops; `x` and states as the layer takes them."""
    x = x.transpose(0, 1) if layer.batch_first else x
    ways = 2 if layer.bidirectional else 1
    widths = [layer.proj_size or layer.hidden_size] + [layer.hidden_size] * (layer.mode == "LSTM")
    if states is None:
        states = [x.new_zeros(layer.num_layers * ways, x.shape[1], width) for width in widths]
    activation = relu_by(rule) if layer.mode == "RNN_RELU" else tanh_by(rule)
    last = [[] for _ in states]
    for number in range(layer.num_layers):
        outputs = []
        for way in range(ways):
            suffix = f"l{number}" + "_reverse" * way
            w, u = getattr(layer, f"weight_ih_{suffix}"), getattr(layer, f"weight_hh_{suffix}")
            b, c = (getattr(layer, f"bias_{kind}_{suffix}") if layer.bias else w.new_zeros(()) for kind in ("ih", "hh"))
            state, made = tuple(each[number * ways + way] for each in states), []
            for time in range(len(x) - 1, -1, -1) if way else range(len(x)):
                state = STEPS[layer.mode](x[time], state, w, u, b, c, activation)
                if layer.proj_size:
                    state = (state[0] @ getattr(layer, f"weight_hr_{suffix}").T, *state[1:])
                made.append(state[0])
            outputs.append(torch.stack(made[::-1] if way else made))
            for parts, part in zip(last, state, strict=True):
                parts.append(part)
        x = torch.cat(outputs, -1)
    states = [torch.stack(parts) for parts in last]
    return x.transpose(0, 1) if layer.batch_first else x, states


def slow_cell(cell: nn.RNNCellBase, x, state, rule="gradient"):
    """Return the next state of a cell: a tuple."""
    step = {"LSTMCell": lstm_step, "GRUCell": gru_step}.get(type(cell).__name__, plain_step)
    activation = relu_by(rule) if getattr(cell, "nonlinearity", "") == "relu" else tanh_by(rule)
    zero = cell.weight_ih.new_zeros(())
    b, c = (cell.bias_ih, cell.bias_hh) if cell.bias else (zero, zero)
    return step(x, state, cell.weight_ih, cell.weight_hh, b, c, activation)
