"""How exactly a scan computes: in float32, with TF32's factors of ten bits, or in bfloat16 where autocast allows it.

And by how much its activations may therefore differ from those of plates, which compute in float32 on exact pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ..choices import PRECISIONS, Precision
from ..errors import OptionError, check_option
from ..tf32 import tf32_switches

#: By how much of itself an activation may differ from the same one in float32; more is another picture, or another net.
TOLERANCES: dict[Precision, float] = {"fp32": 1e-3, "tf32": 1e-2, "bf16": 1e-1}

#: The same, where a GPU decoded the pictures. Of the entries of SqueezeNet's table on 500 photographs, a decoder by which two
#: by two pixels share one colour changes 99 of 100 by at most 0.08 of themselves (benchmarks/scan_differences.py).
DECODE_TOLERANCE = 0.25


def tolerance(settings: Mapping[str, Any]) -> float:
    """Return by how much of itself an activation of a scan with these settings may differ from the exact one."""
    by_precision = TOLERANCES[settings.get("precision", "fp32")]
    by_gpu = (settings["preprocess"] or {}).get("decode") == "gpu"
    return max(by_precision, DECODE_TOLERANCE) if by_gpu else by_precision


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise `OptionError` for a precision that does not exist, or not on this device."""
    check_option("precision", precision, PRECISIONS)
    if precision == "tf32" and device.type != "cuda":
        raise OptionError(f"precision cannot be 'tf32' on {device.type}: only NVIDIA's GPUs have it. Choose fp32 or bf16.")


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let a net compute with a precision inside the block; torch's own settings come back."""
    if precision == "bf16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
        return
    if device.type != "cuda":
        yield
        return
    switches = tf32_switches()
    before = [getattr(where, name) for where, name, _ in switches]
    try:
        for where, name, values in switches:
            setattr(where, name, values[precision == "tf32"])
        yield
    finally:
        for (where, name, _), value in zip(switches, before, strict=True):
            setattr(where, name, value)
