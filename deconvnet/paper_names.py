"""The paper's names of layers, conv1 to conv5, in the nets that have its five: AlexNet, ZFNet, `tiny` and VGG.

Zeiler & Fergus number the layers of feature maps from 1 to 5 (2014, Fig. 3). In nets with five convolutions each is the
rectified output of one; in VGG, which has a block of convolutions for each, that of the block's last (conv5_3 in VGG-16).
"""

from __future__ import annotations

import re

#: The convolutions of VGG's five blocks.
_VGG = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}

_ZFNET = (1, 5, 9, 11, 13)
_ALEXNET = (1, 4, 7, 9, 11)


def paper_layers(model: str) -> dict[str, str]:
    """Return the layers that the paper's names stand for, by name; none where a net has not its five.

    Args:
        model: the net's name, as `load_model` takes it.

        >>> paper_layers("torchvision:alexnet")["conv5"], paper_layers("torchvision:resnet50")
        ('features.11', {})
    """
    source, _, rest = model.partition(":")
    net = rest.partition(".")[0]  # timm writes a set of weights behind a point
    if source in ("tiny", "zfnet"):
        names = [f"features.{index}" for index in _ZFNET]
    elif model == "torchvision:alexnet":
        names = [f"features.{index}" for index in _ALEXNET]
    elif source in ("torchvision", "timm") and net.removesuffix("_bn") in _VGG:
        names = _vgg_layers(_VGG[net.removesuffix("_bn")], step=3 if net.endswith("_bn") else 2)
    elif source == "pytorchcv":
        names = _pytorchcv_layers(net)
    else:
        names = []
    return {f"conv{number}": name for number, name in enumerate(names, 1)}


def full_name(model: str, layer: str) -> str:
    """Return the layer that a name stands for: that of the paper's, or the name itself."""
    return paper_layers(model).get(layer, layer)


def _vgg_layers(blocks: tuple[int, ...], step: int) -> list[str]:
    """Return the last rectified layer of each block; `step` modules belong to a convolution, and a pool ends a block."""
    names, index = [], 0
    for convolutions in blocks:
        index += step * convolutions
        names.append(f"features.{index - 1}")
        index += 1
    return names


def _pytorchcv_layers(net: str) -> list[str]:
    if re.fullmatch("(alexnet|zfnet)b?", net):
        return [f"features.stage{stage}.unit{unit}" for stage, unit in ((1, 1), (2, 1), (3, 1), (3, 2), (3, 3))]
    blocks = _VGG.get(net.removeprefix("bn_").removesuffix("b"), ())
    return [f"features.stage{stage}.unit{count}" for stage, count in enumerate(blocks, 1)]
