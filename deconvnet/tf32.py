"""Torch's switches of TF32, NVIDIA's float32 with factors of ten bits."""

from __future__ import annotations

from typing import Any

import torch


def tf32_switches() -> list[tuple[Any, str, tuple[Any, Any]]]:
    """Return torch's switches of TF32: where they are, their name, and their values for off and on.

    From torch 2.9 on, each kind of operation has one; those of before refuse to be read once a user has set one of these.
    """
    cuda: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    if hasattr(cudnn, "conv") and hasattr(cudnn.conv, "fp32_precision"):
        places = (cuda, cudnn.conv, cudnn.rnn)
        return [(place, "fp32_precision", ("ieee", "tf32")) for place in places]
    return [(place, "allow_tf32", (False, True)) for place in (cuda, cudnn)]
