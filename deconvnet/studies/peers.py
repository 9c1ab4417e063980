"""Other tools on the same units, as they are called there: Captum's neuron methods, Zennit's composites, CRP, where installed.

All hook modules, and give the gradient where an activation is none; so the layer must be a module, and nets whose ReLUs are
functions are measured as these tools see them. None knows of silent windows: what Captum and Zennit compute is
`silent="first"`, `overlap="sum"`, `lrn="derivative"`.

CRP (Achtibat et al. 2023) is layer-wise relevance propagation that starts at the unit, whose relevance is its activation. Its
heatmap is of relevance, summed over colours: a signal times the value that it meets. It is squared as all others are, or it
would be spread wider for that alone. Its package, zennit-crp, asks for a Zennit before 0.4.7, and works with newer ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..net import DeconvNet
from ..optional import require
from ..progress import counted
from ..units import Unit
from .arrays import Floats
from .masking import energy

#: What projects one unit of one image (1, C, H, W): (C, H, W), of relevance (1, H, W).
Project: TypeAlias = Callable[[Tensor, Unit], Tensor]

TOOLS = ("captum", "zennit", "crp")
CAPTUM = {"deconvnet": "NeuronDeconvolution", "guided": "NeuronGuidedBackprop", "gradient": "NeuronGradient"}
ZENNIT = {"deconvnet": "DeconvNet", "guided": "GuidedBackprop"}
CRP = {"lrp": "EpsilonPlusFlat"}  # the composite of its tutorials


def peer_energies(net: DeconvNet, images: Tensor, units: Sequence[Unit]) -> dict[str, list[Floats]]:
    """Return the energies (H, W) of K units by the methods of the other tools that are installed, "captum guided" among them.

    Args:
        net: the net.
        images: (N, C, H, W), normalised as the net expects them.
        units: the units.
    """
    pixels = project_by_peers(net, images, units)
    return {name: [energy(part) for part in parts] for name, parts in pixels.items()}


def project_by_peers(net: DeconvNet, images: Tensor, units: Sequence[Unit]) -> dict[str, Floats]:
    """Return the projections (K, C, H, W) of units, started by 1 as these tools do, by the tools' names and methods.

    Those of CRP are relevance, (K, 1, H, W), and start by the activations.

    Raises:
        MissingPackageError: none of the tools is installed.
        OptionError: the layer is no module.
    """
    if not any(map(find_spec, TOOLS)):
        require(TOOLS[0], needed_by="a comparison with other tools", extra="bench")
    layer = units[0].layer
    if layer not in dict(net.model.named_modules()):
        raise OptionError(
            f"other tools know modules only, and layer {layer!r} is none. Take another layer, or leave out peers."
        )
    projections = {}
    with torch.inference_mode(False), torch.enable_grad():
        model = _without_inplace(net.model)
        calls = peer_calls(model, layer)
        for name, project in counted(calls.items(), len(calls), "projecting by peers", "method"):
            rows = [project(images[unit.image : unit.image + 1].clone(), unit) for unit in units]
            projections[name] = torch.stack(rows).float().cpu().numpy()
    return projections


def peer_calls(model: nn.Module, layer: str) -> dict[str, Project]:
    """Return what projects a unit, by the names of tool and method; of the tools that are installed."""
    calls: dict[str, Project] = {}
    if find_spec("captum"):
        calls |= {f"captum {name}": _captum(model, layer, method) for name, method in CAPTUM.items()}
    if find_spec("zennit"):
        calls |= {f"zennit {name}": _zennit(model, layer, composite) for name, composite in ZENNIT.items()}
    if find_spec("crp"):
        calls |= {f"crp {name}": relevance_call(model, layer, _composite(rules)) for name, rules in CRP.items()}
    return calls


def _captum(model: nn.Module, layer: str, method: str) -> Project:
    import captum.attr

    def project(images: Tensor, unit: Unit) -> Tensor:
        neuron: Any = getattr(captum.attr, method)(model, model.get_submodule(layer))
        rows: Tensor = neuron.attribute(images.requires_grad_(), neuron_selector=(unit.channel, unit.row, unit.col))
        return rows[0].detach()

    return project


def _zennit(model: nn.Module, layer: str, composite: str) -> Project:
    import zennit.composites

    def project(images: Tensor, unit: Unit) -> Tensor:
        outputs: list[Tensor] = []
        with getattr(zennit.composites, composite)().context(model) as hooked:
            handle = hooked.get_submodule(layer).register_forward_hook(lambda *io: outputs.append(io[2]))
            hooked(images.requires_grad_())
            handle.remove()
            [rows] = torch.autograd.grad(outputs[0][0, unit.channel, unit.row, unit.col], images)
        return rows[0]

    return project


def _composite(name: str) -> Any:
    """Return a composite of Zennit's that merges batch norms into the convolutions before them, as LRP has it."""
    import zennit.canonizers
    import zennit.composites

    return getattr(zennit.composites, name)(canonizers=[zennit.canonizers.SequentialMergeBatchNorm()])


def relevance_call(model: nn.Module, layer: str, composite: Any) -> Project:
    """Return what spreads the relevance of one unit by CRP: (1, H, W), summed over colours.

    Args:
        model: the net.
        layer: the name of the unit's module.
        composite: Zennit's rules; None for the gradient.
    """
    from crp.attribution import CondAttribution

    def project(images: Tensor, unit: Unit) -> Tensor:
        def start(maps: Tensor) -> Tensor:
            relevance = torch.zeros_like(maps)
            relevance[0, unit.channel, unit.row, unit.col] = maps[0, unit.channel, unit.row, unit.col]
            return relevance

        condition = [{layer: [unit.channel]}]
        found: Any = CondAttribution(model)(images.requires_grad_(), condition, composite, start_layer=layer, init_rel=start)
        heatmap: Tensor = found.heatmap
        return heatmap.detach()

    return project


def _without_inplace(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose activations do not work in place, which the tools' hooks could not follow."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - mypy takes a module's attributes for tensors
    return model
