"""`tiny`: ZFNet in miniature. Its weights are part of the package, so that the first picture needs no download.

`examples/train_tiny.py` trained it on the drawings of `deconvnet.drawings`; `tiny.md` beside this file has the numbers. Layers
are named as in torchvision's AlexNet: `features.0` is conv1, and so on.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..drawings import CLASSES

WEIGHTS = Path(__file__).with_name("tiny.safetensors")
EPOCHS = 64  # of its training
TRAINING_SEED, TRAINING_DRAWINGS = 10_000_000, 15_360  # it learned from the drawings of these seeds
INPUT_SIZE = 96
MEAN = (0.5, 0.5, 0.5)  # of pixels in [0, 1]: mid-grey becomes 0, black -2 and white 2
STD = (0.25, 0.25, 0.25)


class Tiny(nn.Module):
    """ZFNet's five layers of maps in its order conv, relu, pool, norm, with fewer maps, for smaller pictures.

    Zeiler & Fergus 2014, fig. 3, with two changes for pictures of 96 pixels: conv2 has stride 1 and padding 2, which leaves
    maps of 11 x 11 in layers 3 to 5 (ZFNet: 13 x 13), and there is one hidden layer of 128 instead of two of 4096.

    Args:
        classes: how many classes it tells apart.
    """

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 7, stride=2, padding=1),  # (N, 3, 96, 96) -> (N, 32, 46, 46)
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> (N, 32, 23, 23)
            _norm(),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> (N, 64, 11, 11)
            _norm(),
            nn.Conv2d(64, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(96, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(96, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),  # -> (N, 64, 5, 5)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(64 * 5 * 5, 128),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(128, classes),
        )
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)

    def forward(self, image: Tensor) -> Tensor:
        """Return class scores (N, classes) of images (N, 3, 96, 96), normalised with `MEAN` and `STD`."""
        scores: Tensor = self.classifier(self.features(image))
        return scores


def _norm() -> nn.LocalResponseNorm:
    """Return AlexNet's norm with a larger alpha: its pixels reach 128, ours 2, and with 1e-4 the norm would do nothing."""
    return nn.LocalResponseNorm(5, alpha=0.5, beta=0.75, k=2.0)


def tiny(*, pretrained: bool = True) -> Tiny:
    """Return the net in eval mode, with its trained weights or with random ones.

    >>> tiny()(torch.zeros(1, 3, 96, 96)).shape
    torch.Size([1, 18])
    """
    model = Tiny()
    if pretrained:
        model.load_state_dict({name: weight.to(torch.float32) for name, weight in load_file(WEIGHTS).items()})
    return model.eval()
