"""Has a model changed? A fingerprint of its weights that is cheap enough to be taken at every call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

#: Where each tensor lies and its version; and some bytes of them all.
Fingerprint: TypeAlias = "tuple[tuple[tuple[int, int], ...], tuple[bytes, ...]]"

#: Views of some values of all weights, by type and device.
Samples: TypeAlias = "list[list[Tensor]]"

#: Values of each tensor that are looked at.
SAMPLED_VALUES = 8

Marks: TypeAlias = "tuple[tuple[int, int], ...]"


@torch.no_grad()
def fingerprint(model: nn.Module, known: dict[Marks, Samples] | None = None) -> Fingerprint:
    """Return what changes when a parameter or buffer is written to or replaced.

    Its address and version tell of most changes; a write through `.data` leaves both, so eight values of each tensor are looked
    at too. One single value changed through `.data` can escape.

    Args:
        model: any module.
        known: where the sampled values lie, from the last call; updated.
    """
    tensors = [
        tensor
        for module in model.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None and tensor.layout == torch.strided
    ]
    marks = tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors)
    known = {} if known is None else known
    if marks not in known:
        known.clear()
        known[marks] = _samples(tensors)
    values = tuple(torch.cat(views).view(torch.uint8).cpu().numpy().tobytes() for views in known[marks])
    return marks, values


def _samples(tensors: Sequence[Tensor]) -> Samples:
    """Return views of eight values of each tensor, those of one type and device together."""
    samples: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        count = tensor.numel() if tensor.is_contiguous() else min(tensor.numel(), tensor.untyped_storage().nbytes() // 8)
        if count:
            step = max(1, count // SAMPLED_VALUES)
            view = tensor.as_strided((min(SAMPLED_VALUES, count),), (step,))  # in memory's order: no copy
            samples.setdefault((tensor.dtype, tensor.device), []).append(view)
    return list(samples.values())
