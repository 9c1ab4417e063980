"""Small nets of the kinds of AlexNet, VGG and ResNet, for docs/benchmark.md.

    deconvnet layers file:benchmarks/small_nets.py:vgg_like

They have random weights: `benchmarks/small_nets_table.py` trains them on the drawings of `deconvnet.drawings`. Each takes
pictures of 96 pixels as `tiny` does, and in the layer that is measured by default, the last rectified one, windows are 83 to 87
pixels wide, as tiny's are: what differs between the four is how they are built, and how long they were trained.
"""

from __future__ import annotations

from torch import Tensor, nn

from deconvnet.drawings import CLASSES
from deconvnet.images import Preprocess
from deconvnet.models.tiny import INPUT_SIZE, MEAN, STD

PREPROCESS = Preprocess(INPUT_SIZE, INPUT_SIZE, MEAN, STD)
HIDDEN = 128  # of the classifier


class Block(nn.Module):
    """ResNet's basic block (He et al. 2016, fig. 5, left): two convolutions with batch norms, and a shortcut around them.

    Args:
        channels: of the input.
        out_channels: of the output.
        stride: of the first convolution.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, out_channels, H', W') of (N, channels, H, W)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(maps)))))
        rectified: Tensor = self.relu2(inner + self.shortcut(maps))
        return rectified


def alexnet_like() -> tuple[nn.Module, Preprocess]:
    """Return AlexNet's layers (Krizhevsky et al. 2012, 3.5) with fewer maps; norms come after pools, as in Caffe's AlexNet.

    Its first filters are 11 x 11, with stride 2 for pictures of 96 pixels; conv2, 4 and 5 have two groups; pools overlap.
    """
    features = nn.Sequential(
        nn.Conv2d(3, 24, 11, stride=2, padding=2),  # (N, 3, 96, 96) -> (N, 24, 45, 45)
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),  # -> (N, 24, 22, 22)
        _norm(),
        nn.Conv2d(24, 64, 5, padding=2, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),  # -> (N, 64, 10, 10)
        _norm(),
        nn.Conv2d(64, 96, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(96, 96, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(96, 64, 3, padding=1, groups=2),
        nn.ReLU(),  # windows of 87 pixels
        nn.MaxPool2d(3, stride=2),  # -> (N, 64, 4, 4)
    )
    return _with_classifier(features, 64 * 4 * 4), PREPROCESS


def vgg_like() -> tuple[nn.Module, Preprocess]:
    """Return VGG's layers (Simonyan & Zisserman 2015, table 1): stacks of 3 x 3 filters, each with a pool of 2 x 2 after it."""
    layers: list[nn.Module] = []
    channels = 3
    for width, depth in ((8, 2), (16, 2), (32, 2), (64, 3)):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, stride=2))  # 96 -> 48 -> 24 -> 12 -> 6; windows of 84 pixels before the last one
    return _with_classifier(nn.Sequential(*layers), 64 * 6 * 6), PREPROCESS


def resnet_like() -> tuple[nn.Module, Preprocess]:
    """Return ResNet's layers (He et al. 2016, table 1): a strided stem, one overlapping pool, basic blocks, a mean."""
    net = nn.Sequential(
        nn.Conv2d(3, 24, 7, stride=2, padding=3, bias=False),  # (N, 3, 96, 96) -> (N, 24, 48, 48)
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),  # -> (N, 24, 24, 24)
        Block(24, 24),
        Block(24, 48, stride=2),  # -> (N, 48, 12, 12)
        Block(48, 64),  # windows of 83 pixels
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, len(CLASSES)),
    )
    return net, PREPROCESS


def _norm() -> nn.LocalResponseNorm:
    """Return AlexNet's norm as tiny has it: with a larger alpha, since its pixels reach 2 and not 128."""
    return nn.LocalResponseNorm(5, alpha=0.5, beta=0.75, k=2.0)


def _with_classifier(features: nn.Sequential, inputs: int) -> nn.Sequential:
    """Return maps with two layers above them, in place of AlexNet's and VGG's three, started as He et al. (2015) do."""
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(0.2), nn.Linear(HIDDEN, len(CLASSES))
    )
    net = nn.Sequential()
    net.add_module("features", features)
    net.add_module("classifier", classifier)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            nn.init.zeros_(parameter)
    return net


KINDS = {"alexnet-like": alexnet_like, "vgg-like": vgg_like, "resnet-like": resnet_like}
