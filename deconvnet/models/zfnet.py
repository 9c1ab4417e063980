"""ZFNet: the net of Zeiler & Fergus 2014, fig. 3, for people who have weights for it or train them.

The paper gives filter sizes, strides and map counts, but no padding. Maps of 110, 55, 26, 13, 13, 13 and 6 pixels, and
62,357,608 parameters, follow from padding 1 in conv1, none in conv2, and pools that round up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Maps of layers 3, 4 and 5, by the name of the variant; the wide ones are those of the paper's model (b).
MAPS = {"": (384, 384, 256), "wide": (512, 1024, 512)}


class ZFNet(nn.Module):
    """The paper's net, with the paper's initial weights: (N, 3, 224, 224) -> class scores (N, classes).

    Args:
        classes: how many classes it tells apart.
        maps: maps of layers 3, 4 and 5.
    """

    def __init__(self, classes: int = 1000, *, maps: tuple[int, int, int] = MAPS[""]) -> None:
        super().__init__()
        third, fourth, fifth = maps
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 7, stride=2, padding=1),  # -> 96 x 110 x 110
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> 96 x 55 x 55
            _contrast_norm(),
            nn.Conv2d(96, 256, 5, stride=2),  # -> 256 x 26 x 26
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> 256 x 13 x 13
            _contrast_norm(),
            nn.Conv2d(256, third, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(third, fourth, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fourth, fifth, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # -> fifth x 6 x 6
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(fifth * 36, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )
        for module in self.modules():  # "all weights are initialized to 1e-2 and biases are set to 0" (section 3)
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(module.weight, std=1e-2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Return class scores (N, classes) of normalised images (N, 3, 224, 224)."""
        scores: Tensor = self.classifier(self.features(image))
        return scores


def _contrast_norm() -> nn.LocalResponseNorm:
    """Return the norm of Krizhevsky 2012, b = a / (k + alpha sum a^2)^beta with k 2, n 5, alpha 1e-4, beta 0.75.

    Torch divides alpha by n.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


@torch.no_grad()
def renormalise_filters(model: nn.Module, radius: float = 0.1) -> int:
    """Scale each convolution filter whose RMS exceeds `radius` back to it, in place (Zeiler & Fergus 2014, section 3).

    Args:
        model: the net; its convolutions are changed.
        radius: the largest RMS, the paper's 0.1 by default.

    Returns:
        How many filters were scaled.
    """
    scaled = 0
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            rms = module.weight.square().mean((1, 2, 3), keepdim=True).sqrt()
            module.weight.mul_((radius / rms).clamp(max=1))
            scaled += int((rms > radius).sum())
    return scaled
