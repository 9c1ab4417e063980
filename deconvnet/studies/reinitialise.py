"""A copy of a model with some of its weights made random, block by block.

Every parameter gets normal numbers with mean 0 and the standard deviation of its trained values, cut off at two deviations
(Adebayo et al. 2018 take truncated normals of one fixed deviation; with each layer's own, signals neither die nor explode).
Norms keep their values, in random order: their variances must stay positive. The model passed in stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..layers import FILTER_MODULES
from ..models.seeding import seeded
from ..recording import Recording

MOST_SINGLE_LAYERS = 12  # layers with filters: where there are more, they are taken together by block
LIMIT = 2.0  # standard deviations


def weight_blocks(recording: Recording, layer: str) -> list[tuple[str, list[str]]]:
    """Return the blocks of layers with weights that a signal from a layer meets.

    A block is a layer with filters and the norms behind it; in nets of more than twelve such layers, all that share the first
    two parts of their path: `layer3.1`, `features.5`. Blocks above `layer` are left out: nothing of them enters its projection.

    Args:
        recording: of the whole net.
        layer: where the signal starts.

    Returns:
        The blocks from the top down: (name, module paths).
    """
    tape, records = recording.tape, recording.records()
    met = {call.layer for call in tape.down_from(recording.value(layer))}
    modules = dict(recording.model.named_modules())
    paths = [path for path in records if path in met and path in modules and list(modules[path].parameters(recurse=False))]
    filters = [path for path in paths if isinstance(modules[path], FILTER_MODULES)]
    blocks: dict[str, list[str]] = {}
    name = ""
    for path in paths:
        if path in filters or not name:
            name = path if len(filters) <= MOST_SINGLE_LAYERS else ".".join(path.split(".")[:2])
        blocks.setdefault(name, []).append(path)
    return list(blocks.items())[::-1]


def layers_above(recording: Recording, blocks: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Return the layers with filters that are in none of the blocks: making them random changes no projection from below."""
    inside = {path for _, paths in blocks for path in paths}
    modules = dict(recording.model.named_modules())
    return [path for path in recording.records() if isinstance(modules.get(path), FILTER_MODULES) and path not in inside]


def reinitialised(model: nn.Module, paths: Sequence[str], seed: int) -> nn.Module:
    """Return a copy of a model in which the weights and biases of some modules are random.

    Args:
        model: the model, which stays as it is.
        paths: the modules, by their paths in the model.
        seed: of the random numbers; the same seed gives the same weights.
    """
    changed = copy.deepcopy(model)
    modules = dict(changed.named_modules())
    with seeded(seed), torch.no_grad():
        for path in paths:
            module = modules[path]
            buffers = [buffer for buffer in module.buffers(recurse=False) if buffer.is_floating_point()]
            for tensor in (*module.parameters(recurse=False), *buffers):
                tensor.copy_(random_like(tensor) if isinstance(module, FILTER_MODULES) else _shuffled(tensor))
    return changed


def random_like(tensor: Tensor) -> Tensor:
    """Return truncated normal numbers of a tensor's own standard deviation, in its shape."""
    deviation = float(tensor.float().std()) if tensor.numel() > 1 else float(tensor.abs())
    numbers = nn.init.trunc_normal_(torch.empty(tensor.shape), std=1.0, a=-LIMIT, b=LIMIT)
    return (deviation * numbers).to(tensor)


def _shuffled(tensor: Tensor) -> Tensor:
    return tensor.flatten()[torch.randperm(tensor.numel()).to(tensor.device)].reshape(tensor.shape)
