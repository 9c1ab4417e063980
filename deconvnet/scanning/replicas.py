"""Copies of a net that run batches side by side on a CPU, each on cores of its own.

A batch on all cores leaves some idle between the net's calls, and while Python takes the maxima; batches side by side keep them
busy. The copies share the net's weights.
"""

from __future__ import annotations

import copy
import math
import queue
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..model_state import eval_pass
from ..models import Preprocessing
from ..net import DeconvNet
from .maxima import Maxima, MaximaReducer
from .pictures import Pixels, collate
from .reading import prefetch

#: More would need the memory of as many batches, and wait for the interpreter's lock.
MOST_REPLICAS = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Pictures that go through the net together.

    Attributes:
        pictures: those that could be read; there may be none.
        numbers: theirs.
        floor: (C,) the score that a channel's entry must reach to matter.
        taken: how many pictures were to be read.
    """

    pictures: Sequence[Pixels]
    numbers: Sequence[int]
    floor: npt.NDArray[np.float32]
    taken: int


class Replicas:
    """Reduces batches side by side, as a context.

    Args:
        reducer: of a net on the CPU. One that writes to its weights, draws random numbers or cannot be copied stays alone.
        preprocess: of the net.
    """

    def __init__(self, reducer: MaximaReducer, preprocess: Preprocessing | None) -> None:
        self.preprocess = preprocess
        self.threads = torch.get_num_threads()
        self.cores = math.ceil(self.threads / MOST_REPLICAS)  # of each
        shares_cores = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
        count = self.threads // self.cores if shares_cores and reducer.can_be_copied else 1
        self.reducers = [reducer]
        self.pool = ThreadPoolExecutor(count, thread_name_prefix="net", initializer=self._take_cores if count > 1 else None)
        if count > 1:
            try:
                self.reducers += self.pool.submit(_copies, reducer, count - 1).result()
            except BaseException:  # Ctrl-C, before anybody has entered this
                self.__exit__()
                raise
        self.free: queue.SimpleQueue[MaximaReducer] = queue.SimpleQueue()
        for each in self.reducers:
            self.free.put(each)

    def _take_cores(self) -> None:
        """Let a thread compute with its share of the cores: OpenMP keeps that number for each thread."""
        torch.set_num_threads(self.cores)

    def __enter__(self) -> Replicas:
        return self

    def __exit__(self, *error: object) -> None:
        """Wait for what is being computed, and give torch its threads back."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.threads)  # a thread that starts later would get what was set last

    def run(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Maxima | None]]:
        """Yield batches and their maxima, None of no pictures, in order; one more than there are replicas is taken ahead."""
        return prefetch(self.pool, self._reduce, batches, len(self.reducers) + 1)

    def _reduce(self, batch: Batch) -> tuple[Batch, Maxima | None]:
        if not batch.pictures:
            return batch, None
        reducer = self.free.get()
        try:
            return batch, reducer(collate(batch.pictures, self.preprocess), batch.floor)
        finally:
            self.free.put(reducer)


def _copies(reducer: MaximaReducer, count: int) -> list[MaximaReducer]:
    """Return copies of a reducer with the same weights; none where they do not compute by themselves what the net does.

    Such a net has a forward that leads back to the original, as a closure does, or none that Python can copy.
    """
    try:
        copies = [reducer.for_net(_copy_net(reducer.net)) for _ in range(count)]
        nothing, original = torch.zeros(1, *reducer.size), list(reducer.net.model.modules())
        expected = reducer.scores(nothing)
        with eval_pass(original), _calls_of(original) as calls:
            found = [copied.scores(nothing) for copied in copies]
    except Exception:  # a user's class may raise anything where it is copied
        return []
    return copies if not calls and all(np.array_equal(scores, expected, equal_nan=True) for scores in found) else []


@contextmanager
def _calls_of(modules: Iterable[nn.Module]) -> Iterator[list[nn.Module]]:
    """Give a list of those modules that are called in the block."""
    calls: list[nn.Module] = []
    with ExitStack() as hooks:
        for module in modules:
            if not isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                hooks.callback(module.register_forward_pre_hook(lambda module, _: calls.append(module)).remove)
        yield calls


def _copy_net(net: DeconvNet) -> DeconvNet:
    """Return a net with modules of its own and the same parameters."""
    parameters = {id(parameter): parameter for parameter in net.model.parameters()}
    other = copy.copy(net)
    other.model = copy.deepcopy(net.model, parameters)
    other.loaded = replace(net.loaded, model=other.model)
    return other
