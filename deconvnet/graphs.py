"""Ways down as CUDA graphs: the kernels of one way are written down once, and launched together for further signals.

On a GPU the way down of a map or two spends its time on calls from Python, not on arithmetic (docs/speed-gpu.md). A graph makes
one call of them. It is the same kernels on the same memory, so it gives the same bytes; still nothing is taken on trust: a
graph is used only after it has given the bytes of the plain way for two signals. Where a way cannot be captured, since it waits
for the device or copies from the host, or gives other bytes, it goes on plainly, and is not tried again.

Recordings are not captured: each picture needs a tape of its own, and to copy GoogLeNet's takes Python 36 ms, where an H200
makes it anew in 46.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from .tf32 import tf32_switches

#: Carries a signal down to the pixels.
Way = Callable[[Tensor], Tensor]

#: Plain ways before one is captured: they fill what is worked out at the first and second use, outside of the graph.
PLAIN_WAYS = 2

#: Signals for which a graph has to give the bytes of the plain way.
CHECKS = 2

#: Graphs of one recording; the one that was used longest ago goes.
MOST_GRAPHS = 4

#: Bytes of the largest signal on the way: a graph keeps the memory of them all, and larger ones take longer than their calls.
MOST_BYTES = 64 * 2**20


@dataclass
class _KnownWay:
    """A way that was gone: how often plainly, and its graph."""

    plain: int = 0
    graph: Way | None = None
    checked: int = 0
    failed: bool = False


def graphs_are_possible(device: torch.device) -> bool:
    """Say whether a device has graphs."""
    return device.type == "cuda"


def arithmetic(device: torch.device) -> Hashable:
    """Return torch's switches that decide which kernels a way down takes."""
    factors = (getattr(where, name) for where, name, _ in tf32_switches())
    return *factors, torch.are_deterministic_algorithms_enabled(), torch.is_autocast_enabled(device.type)


class WayGraphs:
    """The graphs of one recording's ways down. Several threads may use it."""

    def __init__(self) -> None:
        self._ways: OrderedDict[Hashable, _KnownWay] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, key: Hashable, way: Way, signal: Tensor) -> Tensor:
        """Carry a signal down, by a graph where there is one that can be trusted.

        Args:
            key: of the way: the same for signals that differ in their numbers only.
            way: goes it plainly.
            signal: on the way's device.
        """
        with self._lock:  # the memory that a graph reads and writes is one
            known = self._ways.setdefault(key, _KnownWay())
            self._ways.move_to_end(key)
            if known.graph is not None and known.checked == CHECKS:
                return known.graph(signal)
            if known.failed or known.plain < PLAIN_WAYS:
                known.plain += 1
                return way(signal)
            if known.graph is None:
                self._drop_oldest()
            return _checked(known, way, signal)

    def _drop_oldest(self) -> None:
        """Let the graphs go that were used longest ago: they can be captured again."""
        graphs = [known for known in self._ways.values() if known.graph is not None]
        for known in graphs[: max(0, len(graphs) - MOST_GRAPHS + 1)]:
            known.graph, known.checked = None, 0


def _checked(known: _KnownWay, way: Way, signal: Tensor) -> Tensor:
    """Go a way plainly and by its graph, and write down whether both are the same."""
    pixels = way(signal)
    try:
        if known.graph is None:
            known.graph = capture(way, signal)
        known.failed = not _same_bytes(known.graph(signal), pixels)
    except RuntimeError:  # what torch raises where a capture fails
        known.failed = True
    if known.failed:
        known.graph = None
    else:
        known.checked += 1
    return pixels


def capture(way: Way, signal: Tensor) -> Way:
    """Write down the kernels of a way on CUDA; what is returned launches them for another signal.

    Raises:
        RuntimeError: the way does what cannot be written down.
    """
    held = signal.clone()
    graph = torch.cuda.CUDAGraph()
    # other threads may use the device meanwhile
    with torch.cuda.device(signal.device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        pixels = way(held)

    def replay(signal: Tensor) -> Tensor:
        held.copy_(signal)
        graph.replay()
        return pixels.clone()  # the next replay writes over it

    return replay


def _same_bytes(first: Tensor, second: Tensor) -> bool:
    """Say whether two tensors are equal to the bit, NaN included."""
    return first.shape == second.shape and torch.equal(first.view(torch.uint8), second.view(torch.uint8))
