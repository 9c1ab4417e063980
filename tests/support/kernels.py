"""A stand-in for CUDA's graphs on a CPU: the kernels of a call are written down with their tensors, and run again.

As on a GPU, what Python decided while it was written down is decided for good, memory is the same each time, and what would wait
for the device is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Kernels whose result, or its size, Python has to wait for.
WAITING = {
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "is_nonzero",
        "equal",
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
    )
}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


class Kernels(TorchDispatchMode):
    """Writes down the kernels that run in it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if waits(func, args):
            raise RuntimeError(f"{func} is not permitted while kernels are written down: it waits for the device")
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, _tensors(result)))
        return result

    def replay(self) -> None:
        """Run all kernels again, into the memory that they wrote to at first."""
        for func, args, kwargs, results in self.calls:
            for held, new in zip(results, _tensors(func(*args, **kwargs)), strict=True):
                if held.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():  # no view, and not in place
                    held.copy_(new)


def waits(func: Any, args: tuple[Any, ...]) -> bool:
    """Say whether a kernel would be waited for on a GPU."""
    name = func._schema.name
    by_mask = name in INDEXING and any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    return name in WAITING or by_mask


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def capture(way, signal):
    """Do as `deconvnet.graphs.capture` does, on a CPU."""
    held, kernels = signal.clone(), Kernels()
    with kernels:
        pixels = way(held)

    def replay(signal):
        held.copy_(signal)
        kernels.replay()
        return pixels.clone()

    return replay
