"""What covered pixels become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor

from ..choices import FILLS, FillName
from ..errors import OptionError, check_option
from ..images import Preprocess
from ..net import DeconvNet

#: A word, or a colour: a number for each channel, 0..1.
Fill: TypeAlias = "FillName | Sequence[float]"


def fill_colour(net: DeconvNet, image: Tensor, fill: Fill) -> Tensor:
    """Return the colour that covers pixels of an image.

    Args:
        net: the net that sees the image.
        image: (C, H, W), normalised as the net expects it.
        fill: "mean" is the mean that the preprocessing subtracts, which becomes 0 (the mean of ImageNet is nearly grey); where
            the preprocessing is not known, it is 0 as well. "picture" is the image's own mean. "black", "white", or a number
            for each channel, 0..1.

    Returns:
        (C, 1, 1), normalised as the image is.

    Raises:
        OptionError: `fill` is none of these, or the preprocessing that it needs is not known.
    """
    if not isinstance(fill, str):
        return _normalised(net, image, tuple(map(float, fill)))
    check_option("fill", fill, FILLS)
    if fill == "picture":
        return image.mean((1, 2), keepdim=True)
    if fill == "mean":
        return image.new_zeros((len(image), 1, 1))
    return _normalised(net, image, (float(fill == "white"),) * len(image))


def _normalised(net: DeconvNet, image: Tensor, colour: Sequence[float]) -> Tensor:
    preprocess = net.preprocess
    if not isinstance(preprocess, Preprocess) or preprocess.channels != len(image):
        raise OptionError(f"{net.name} has no preprocessing that says what a colour becomes. Use fill='mean' or 'picture'.")
    if len(colour) != len(image) or not all(0 <= number <= 1 for number in colour):
        raise OptionError(f"fill cannot be {tuple(colour)}: it is {len(image)} numbers, 0..1, one for each channel.")
    scaled = [(number - mean) / std for number, mean, std in zip(colour, preprocess.mean, preprocess.std, strict=True)]
    return image.new_tensor(scaled).view(-1, 1, 1)
