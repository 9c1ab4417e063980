"""How much memory a batch of signals may take."""

from __future__ import annotations

import os

import torch

from .errors import OptionError

#: Signals go down in batches whose largest map takes at most this much. Larger ones are no faster on a CPU, where they
#: leave the caches and touch new pages; a GPU wants more of them.
BATCH_BYTES = {"cpu": 16 * 2**20, "cuda": 256 * 2**20}

#: A batch holds about this many maps of that size at once: signals at forks, a convolution's input, output and workspace.
AT_ONCE = 6


def check_memory(memory: int | None) -> None:
    """Raise `OptionError` unless `memory` is None or a number of bytes, 1 or more."""
    if memory is not None and memory < 1:
        raise OptionError(f"memory cannot be {memory}: it is a number of bytes, 1 or more.")


def batch_bytes(device: torch.device, memory: int | None = None) -> int:
    """Return how many bytes the largest map of a batch may take: `memory` bytes in all, or a quarter of what is free."""
    fair = free_bytes(device) // 4 if memory is None else memory
    return max(1, min(BATCH_BYTES.get(device.type, BATCH_BYTES["cpu"]), fair // AT_ONCE))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; where it cannot be told, 4 GiB."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return 4 * 2**30


def machine_bytes() -> int | None:
    """Return how much memory this machine has in all, None where it cannot be told."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return None
