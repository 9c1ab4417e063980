"""Print the table of docs/transformers.md: how much of a transformer's projections is of the picture, by depth.

    python benchmarks/own_transformers.py PICTURE ...

timm's smallest ViT with random weights, queries and keys four times their usual size, the four strongest neurons of each
picture, the deconvnet rule; each unit against up to eight other pictures. Once with the picture's patterns of attention, once
with one pattern for all, once so without the layer norms. Means over pictures with 95 % intervals, by scipy's bootstrap.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import timm
import torch
from scipy.stats import bootstrap
from torch import nn

import deconvnet

BLOCKS = (1, 4, 8, 11)
HALF = (0.5, 0.5, 0.5)


def build(*, uniform: bool, norms: bool) -> nn.Module:
    """Return the net; `uniform` lets every token look at all alike."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    for block in model.blocks:
        block.attn.qkv.weight.data *= 4
        if uniform:
            for tensor in (block.attn.qkv.weight, block.attn.qkv.bias):
                tensor.data[: 2 * len(tensor) // 3] = 0  # queries and keys
    for module in [] if norms else list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, nn.Identity())
    return model


def mean_text(net: deconvnet.DeconvNet, layer: str, pictures: list[str]) -> str:
    """Measure the units of a layer, and return the mean over pictures with its interval."""
    recording = net.record(pictures, layers=[layer])
    projection = net.project(recording, layer, top=4, rule="deconvnet", own=True)
    by_picture: dict[int, list[float]] = {}
    for unit, own in zip(projection.units, projection.own or [], strict=True):
        by_picture.setdefault(unit.image, []).append(np.nan if own is None else own)
    means = np.array([np.nanmean(values) for values in by_picture.values()])
    low, high = bootstrap((means,), np.mean, rng=0).confidence_interval if means.std() > 0 else (means.mean(),) * 2
    return f"{means.mean():.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Print a row a layer."""
    warnings.simplefilter("ignore")
    preprocess = deconvnet.Preprocess(resize=256, crop=224, mean=HALF, std=HALF)
    cases = ({"uniform": False, "norms": True}, {"uniform": True, "norms": True}, {"uniform": True, "norms": False})
    nets = [deconvnet.DeconvNet(build(**case), preprocess) for case in cases]
    print("| layer | patterns held | one pattern for all | the same without norms |")
    for number in BLOCKS:
        layer = f"blocks.{number}.mlp.act"
        print("|", layer, "|", " | ".join(mean_text(net, layer, sys.argv[1:]) for net in nets), "|", flush=True)


if __name__ == "__main__":
    main()
