"""Other tools' calls for one unit: Captum's NeuronDeconvolution, Zennit's DeconvNet composite, and plain autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

Unit: TypeAlias = tuple[int, int, int]  # channel, row, column


def without_inplace(model: nn.Module) -> nn.Module:
    """Return a copy whose ReLUs do not work in place, which the tools' hooks could not follow."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return model


def captum_calls(model: nn.Module, layer: str) -> Callable[[torch.Tensor, Unit], torch.Tensor]:
    """Return Captum's call for one unit."""
    from captum.attr import NeuronDeconvolution

    model = without_inplace(model)
    method = NeuronDeconvolution(model, model.get_submodule(layer))
    return lambda images, unit: method.attribute(images.clone().requires_grad_(), neuron_selector=unit)


def captum_batched(model: nn.Module, layer: str, images: torch.Tensor, units: list[Unit]) -> Callable[[], object]:
    """Return Captum's call for several units at once: a copy of the picture and a selector for each."""
    captum = captum_calls(model, layer)
    channels, rows, cols = (torch.tensor(column, device=images.device) for column in zip(*units, strict=True))
    copies, numbers = images.expand(len(units), -1, -1, -1), torch.arange(len(units), device=images.device)
    return lambda: captum(copies, lambda output: output[numbers, channels, rows, cols])  # type: ignore[arg-type]


def zennit_call(model: nn.Module, layer: str, images: torch.Tensor, unit: Unit) -> Callable[[], object]:
    """Return Zennit's call for one unit: its composite's hooks on a copy, one forward and one backward pass."""
    from zennit.composites import DeconvNet

    model = without_inplace(model)

    def call() -> object:
        outputs: list[torch.Tensor] = []
        with DeconvNet().context(model) as hooked:
            handle = hooked.get_submodule(layer).register_forward_hook(lambda *io: outputs.append(io[2]))
            inputs = images.clone().requires_grad_()
            hooked(inputs)
            handle.remove()
            return torch.autograd.grad(outputs[0][(0, *unit)], inputs)

    return call


def autograd_call(model: nn.Module, layer: str, images: torch.Tensor, unit: Unit) -> Callable[[], object]:
    """Return the backward pass of one unit on a graph that exists already (the plain gradient: no hook could be cheaper)."""
    outputs: list[torch.Tensor] = []
    images = images.clone().requires_grad_()
    handle = model.get_submodule(layer).register_forward_hook(lambda *io: outputs.append(io[2].clone()))
    model(images)
    handle.remove()
    return lambda: torch.autograd.grad(outputs[0][(0, *unit)], images, retain_graph=True)
