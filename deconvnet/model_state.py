"""Puts a model in eval mode for one forward pass, and puts back all that the pass changes.

A model comes back as it was: training flags, parameters, buffers and plain attributes, also those that are bound anew, written
through `.data` or by a fused kernel, and also when its forward raises half-way. What large weights hold is copied only when
somebody is about to write to them: see `ModelState.before_write`.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class ModelState:
    """What a forward pass may change of a model.

    Args:
        modules: all of the model's.
        written: parameters that the pass is known to write to; they are copied at once.
    """

    def __init__(self, modules: Iterable[nn.Module], written: Iterable[Tensor] = ()) -> None:
        modules = [module for module in modules if not isinstance(module, torch.jit.ScriptModule)]  # those keep their own
        self._training = [module for module in modules if module.training]
        self._bindings = [
            (cast("dict[str, Tensor | None]", holder), dict(holder))
            for module in modules
            for holder in (module._parameters, module._buffers)
            if holder
        ]
        self._attributes = [(module, _plain_attributes(module)) for module in modules if not is_torch_module(module)]
        self._storages = [
            (parameter, parameter.data)
            for module in modules
            for parameter in module._parameters.values()
            if parameter is not None and not is_lazy(parameter)
        ]
        self._buffers = [
            (buffer, buffer.detach().clone())
            for module in modules
            for buffer in module._buffers.values()
            if buffer is not None and not (is_lazy(buffer) or buffer.is_inference())
        ]
        self._copies: dict[int, list[tuple[Tensor, Tensor]]] = {}  # storage -> parameters in it, and what they held
        for parameter in written:
            self.before_write(parameter)

    @property
    def written(self) -> list[Tensor]:
        """The parameters that were written to."""
        return [parameter for pairs in self._copies.values() for parameter, _ in pairs]

    def before_write(self, tensor: Tensor) -> None:
        """Copy the parameters that share memory with a tensor that is about to be written to."""
        address = tensor.untyped_storage().data_ptr()
        if address not in self._copies:
            shared = [(parameter, data) for parameter, data in self._storages if data.untyped_storage().data_ptr() == address]
            if shared:
                self._copies[address] = [(parameter, data.clone()) for parameter, data in shared]

    def restore(self) -> None:
        """Put everything back."""
        for holder, tensors in self._bindings:
            if any(holder.get(name) is not tensor for name, tensor in tensors.items()) or len(holder) != len(tensors):
                holder.clear()
                holder.update(tensors)
        for weight, data in self._storages:
            if weight.data_ptr() != data.data_ptr():
                weight.data = data
        for parameter, value in (pair for pairs in self._copies.values() for pair in pairs):
            parameter.data.copy_(value)
        for buffer, value in self._buffers:
            if buffer.shape == value.shape:
                _fill(buffer.data, value)  # by `data`, which is not counted as a write and leaves earlier recordings valid
            else:
                buffer.data = value
        for module, attributes in self._attributes:
            _restore_attributes(module, attributes)
        for module in self._training:
            module.training = True


def _fill(buffer: Tensor, values: Tensor) -> None:
    """Write values into a buffer; of an expanded one, into the elements that it repeats."""
    for axis, stride in enumerate(buffer.stride() if buffer.layout == torch.strided else ()):
        if not stride and buffer.shape[axis]:
            buffer, values = buffer.narrow(axis, 0, 1), values.narrow(axis, 0, 1)
    buffer.copy_(values)


@contextmanager
def eval_pass(modules: Sequence[nn.Module], written: Iterable[Tensor] = ()) -> Iterator[ModelState]:
    """Put all modules of a model in eval mode, and all that the block changes of the model back afterwards."""
    state = ModelState(modules, written)
    try:
        for module in modules:
            if module.training:
                module.training = False  # not .eval(): models override train() with side effects
        yield state
    finally:
        with torch.no_grad():
            state.restore()


class _Uncompiled:
    """Torch's stance, which is one for all threads: the first pass sets it, and the last one puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes = 0
        self._stance = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if not self._passes:
                self._stance.enter_context(torch.compiler.set_stance("force_eager"))
            self._passes += 1

    def leave(self) -> None:
        with self._lock:
            self._passes -= 1
            if not self._passes:
                self._stance.close()


_uncompiled = _Uncompiled()


@contextmanager
def run_uncompiled() -> Iterator[None]:
    """Run what is compiled as it was written: the calls inside compiled code cannot be seen.

    That holds for `torch.compile(part)`, `net.compile()` and a compiled `forward`.
    """
    if "torch._dynamo" not in sys.modules:  # nothing was compiled yet, and importing it takes a second
        yield
        return
    _uncompiled.enter()
    try:
        yield
    finally:
        _uncompiled.leave()


def random_state(device: torch.device) -> tuple[object, ...]:
    """Return the state of the generators that a forward pass may draw from: torch's, numpy's and Python's."""
    name, keys, *rest = np.random.get_state(legacy=True)
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return (*(state.numpy().tobytes() for state in states), random.getstate(), name, np.asarray(keys).tobytes(), *rest)


def is_torch_module(module: nn.Module) -> bool:
    """Say whether a module is one that torch brings."""
    return type(module).__module__.startswith("torch.nn")


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_") and name != "training"}


def _restore_attributes(module: nn.Module, before: dict[str, Any]) -> None:
    now = _plain_attributes(module)
    for name in now.keys() - before.keys():
        del vars(module)[name]
    for name, value in before.items():
        if now.get(name) is not value:
            vars(module)[name] = value
