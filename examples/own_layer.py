"""Write a layer of your own and the rule that mirrors it: one class, and one line.

    python examples/own_layer.py

`Softsign` is x / (1 + |x|). Its calls - abs, add, div - could be mirrored one by one, but as a whole it is an activation, and
is mirrored as one: the signal is rectified. A Python function is recorded as one call if it takes part in torch's function
protocol.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

import deconvnet
from deconvnet import rules


def softsign(x: Tensor) -> Tensor:
    """Return x / (1 + |x|), as one call that a recording sees."""
    if has_torch_function_unary(x):
        return handle_torch_function(softsign, (x,), x)
    return x / (1 + x.abs())


class Softsign(nn.Module):
    """The same as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        return softsign(x)


def main() -> deconvnet.Projection:
    """Project through the new layer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 5), Softsign(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), Softsign())
    net = deconvnet.DeconvNet(model, rules=rules.replace({softsign: rules.Activation()}))
    recording = net.record(torch.rand(1, 3, 40, 48))
    print(net.mirror(recording, "4"))
    return net.project(recording, "4", rule="guided")


if __name__ == "__main__":
    print([str(unit) for unit in main().units])
