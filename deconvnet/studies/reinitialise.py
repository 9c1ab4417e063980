"""A copy of a model with some of its weights made random, block by block.

Every parameter gets normal numbers with mean 0 and the standard deviation of its trained values, cut off at two deviations
(Adebayo et al. 2018 take truncated normals of one fixed deviation; with each layer's own, signals neither die nor explode).
Norms keep their values, in random order: their variances must stay positive. The model passed in stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..layers import FILTER_MODULES
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


def group_blocks(count: int, steps: int | None) -> list[int]:
    """Return after how many blocks, from the top down, a cascade stops to look.

    The top block, the upper half, all but the first and all are always among them; further stops halve the longest stretch.

    Args:
        count: of blocks.
        steps: the most stops, 4 or more; None: one after each block.

        >>> group_blocks(10, 5)
        [1, 3, 5, 9, 10]
    """
    if steps is None or count <= steps:
        return list(range(1, count + 1))
    stops = sorted({1, count // 2, count - 1, count})
    while len(stops) < steps:
        longest = max(range(len(stops) - 1), key=lambda at: stops[at + 1] - stops[at])
        stops.insert(longest + 1, (stops[longest] + stops[longest + 1]) // 2)
    return stops


def reinitialised(model: nn.Module, paths: Sequence[str], seed: int) -> nn.Module:
    """Return a copy of a model in which the weights and biases of some modules are random.

    Args:
        model: the model, which stays as it is.
        paths: the modules, by their paths in the model.
        seed: of the random numbers; the same seed gives the same weights.
    """
    return next(reinitialise_in_steps(model, [paths], seed))


def reinitialise_in_steps(model: nn.Module, steps: Sequence[Sequence[str]], seed: int) -> Iterator[nn.Module]:
    """Yield one copy of a model, in which the modules of one step more are random each time: no weight is drawn twice.

    Args:
        model: the model, which stays as it is.
        steps: paths of modules; at each step all those before it are random too, as `reinitialised` makes them.
        seed: of the random numbers.
    """
    changed, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    modules = dict(changed.named_modules())
    for paths in steps:
        with torch.no_grad():
            for path in paths:
                _make_random(modules[path], generator)
        yield changed


def _make_random(module: nn.Module, generator: torch.Generator) -> None:
    buffers = [buffer for buffer in module.buffers(recurse=False) if buffer.is_floating_point()]
    for tensor in (*module.parameters(recurse=False), *buffers):
        is_filter = isinstance(module, FILTER_MODULES)
        tensor.copy_(random_like(tensor, generator) if is_filter else _shuffled(tensor, generator))


def random_like(tensor: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return truncated normal numbers of a tensor's own standard deviation, in its shape."""
    deviation = float(tensor.float().std()) if tensor.numel() > 1 else float(tensor.abs())
    numbers = nn.init.trunc_normal_(torch.empty(tensor.shape), std=1.0, a=-LIMIT, b=LIMIT, generator=generator)
    return (deviation * numbers).to(tensor)


def _shuffled(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator).to(tensor.device)
    return tensor.flatten()[order].reshape(tensor.shape)
