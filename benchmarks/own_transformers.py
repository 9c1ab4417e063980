"""Print the table of docs/transformers.md: how much of a transformer's projections is of the picture, by depth.

    python benchmarks/own_transformers.py photos/

timm's smallest ViT with random weights, queries and keys four times their usual size, the four strongest neurons of each
picture, the deconvnet rule; each unit against up to eight other pictures. Once with the picture's patterns of attention, once
with one pattern for all, once so without the layer norms. Means over pictures with 95 % intervals.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import asdict

import numpy as np
import timm
import torch
from critics_table import choose_pictures
from pages import heading, keep, row
from torch import nn

import deconvnet
from deconvnet.inputs import PictureInput
from deconvnet.studies.settings import study_settings
from deconvnet.studies.statistics import Estimate, estimate_mean

BLOCKS, PHOTOS = (1, 4, 8, 11), 12
CASES = {
    "held": {"uniform": False, "norms": True},
    "one pattern": {"uniform": True, "norms": True},
    "without norms": {"uniform": True, "norms": False},
}
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


def own_mean(net: deconvnet.DeconvNet, layer: str, pictures: list[PictureInput]) -> Estimate:
    """Measure the units of a layer, and return the mean over pictures with its interval."""
    recording = net.record(pictures, layers=[layer])
    projection = net.project(recording, layer, top=4, rule="deconvnet", own=True)
    owns = [np.nan if own is None else own for own in projection.own or []]
    return estimate_mean(owns, [unit.image for unit in projection.units])


def main() -> None:
    """Measure, keep the numbers in docs/data/own-vit.json, and print a row a layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", help="a folder, of which twelve are taken, spread evenly")
    pictures = choose_pictures(parser.parse_args().photos, PHOTOS)
    warnings.simplefilter("ignore")
    preprocess = deconvnet.Preprocess(resize=256, crop=224, mean=HALF, std=HALF)
    nets = {name: deconvnet.DeconvNet(build(**case), preprocess) for name, case in CASES.items()}
    print("\n".join(heading("layer", list(CASES))))
    layers = {}
    for number in BLOCKS:
        layer = f"blocks.{number}.mlp.act"
        means = {name: own_mean(net, layer, pictures) for name, net in nets.items()}
        layers[layer] = {name: asdict(mean) for name, mean in means.items()}
        print(row(layer, [mean.text(".3f") for mean in means.values()]), flush=True)
    settings = study_settings(nets["held"], "own_transformers", inputs=pictures, top=4)
    keep("own-vit", {"layers": layers, "settings": settings}, of_photographs=True)


if __name__ == "__main__":
    main()
