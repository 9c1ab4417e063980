"""Nets of the tests of studies, and what they make of one picture, as plainly as it can be computed."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Two convolutions and a classifier, no norms: its gradient bits equal autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        )
        self.classifier = nn.Linear(8 * 7 * 7, 5)

    def forward(self, image):
        return self.classifier(self.features(image).flatten(1))


class Viewing(nn.Module):
    """Views its maps as rows, as many older nets do; maps in channels_last order cannot be viewed so."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.top = nn.Linear(6 * 9 * 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.relu(self.conv(images)))
        return self.top(maps.view(len(maps), -1))


def plain(model: nn.Module, image: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Run one image (C, H, W) by itself: a layer's activations and the probabilities."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.append(output.clone()))
    with torch.no_grad():
        output = model(image[None])
    handle.remove()
    return kept[0][0], output[0].double().softmax(0)


def sequential() -> nn.Sequential:
    """Return a net for images of 18 x 25 whose layers are quickly run."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(350, 4),
    )
    return model.eval()
