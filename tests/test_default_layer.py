"""The layer that is shown first: late enough to respond to parts, early enough that its units do not see the whole picture.

By default a fair sample of torchvision's nets; `DECONVNET_ZOO=all` looks at all of them.
"""

from __future__ import annotations

import os

import pytest
import torch
import torchvision
from torch import nn

import deconvnet
from deconvnet.layers import default_layer, last_layer
from deconvnet.reach import field_and_stride
from deconvnet.units import LARGEST_SHARE_SEEN
from support.nets import ALL, SAMPLE

#: name -> the layer, looked over by a person.
LAYERS = {
    "alexnet": "features.9",
    "convnext_base": "features.3.0.block.4",
    "convnext_large": "features.3.0.block.4",
    "convnext_small": "features.3.0.block.4",
    "convnext_tiny": "features.3.0.block.4",
    "densenet121": "features.denseblock2.denselayer5.relu2",
    "densenet161": "features.denseblock2.denselayer5.relu2",
    "densenet169": "features.denseblock2.denselayer5.relu2",
    "densenet201": "features.denseblock2.denselayer5.relu2",
    "efficientnet_b0": "features.4.2.block.0",
    "efficientnet_b1": "features.4.1.block.0",
    "efficientnet_b2": "features.4.2.block.0",
    "efficientnet_b3": "features.4.2.block.0",
    "efficientnet_b4": "features.4.3.block.0",
    "efficientnet_b5": "features.4.3.block.0",
    "efficientnet_b6": "features.4.3.block.0",
    "efficientnet_b7": "features.4.3.block.0",
    "efficientnet_v2_l": "features.4.4.block.0",
    "efficientnet_v2_m": "features.4.6.block.0",
    "efficientnet_v2_s": "features.4.5.block.0",
    "googlenet": "inception4b",
    "inception_v3": "Mixed_5d",
    "mnasnet0_5": "layers.10.1.layers.2",
    "mnasnet0_75": "layers.10.1.layers.2",
    "mnasnet1_0": "layers.10.1.layers.2",
    "mnasnet1_3": "layers.10.1.layers.2",
    "mobilenet_v2": "features.10.conv.0",
    "mobilenet_v3_large": "features.8.block.0",
    "mobilenet_v3_small": "features.6.block.0",
    "regnet_x_16gf": "trunk_output.block3.block3-0",
    "regnet_x_1_6gf": "trunk_output.block3.block3-1",
    "regnet_x_32gf": "trunk_output.block3.block3-0",
    "regnet_x_3_2gf": "trunk_output.block3.block3-0",
    "regnet_x_400mf": "trunk_output.block3.block3-2",
    "regnet_x_800mf": "trunk_output.block3.block3-2",
    "regnet_x_8gf": "trunk_output.block3.block3-1",
    "regnet_y_128gf": "trunk_output.block3.block3-3",
    "regnet_y_16gf": "trunk_output.block3.block3-1",
    "regnet_y_1_6gf": "trunk_output.block3.block3-0",
    "regnet_y_32gf": "trunk_output.block3.block3-1",
    "regnet_y_3_2gf": "trunk_output.block3.block3-1",
    "regnet_y_400mf": "trunk_output.block3.block3-2",
    "regnet_y_800mf": "trunk_output.block3.block3-2",
    "regnet_y_8gf": "trunk_output.block3.block3-1",
    "resnet101": "layer3.1",
    "resnet152": "layer2.6",
    "resnet18": "layer2",
    "resnet34": "layer2.1",
    "resnet50": "layer3.1",
    "resnext101_32x8d": "layer3.1",
    "resnext101_64x4d": "layer3.1",
    "resnext50_32x4d": "layer3.1",
    "shufflenet_v2_x0_5": "stage3.0",
    "shufflenet_v2_x1_0": "stage3.0",
    "shufflenet_v2_x1_5": "stage3.0",
    "shufflenet_v2_x2_0": "stage3.0",
    "squeezenet1_0": "features.10",
    "squeezenet1_1": "features.9",
    "vgg11": "features.19",
    "vgg11_bn": "features.27",
    "vgg13": "features.23",
    "vgg13_bn": "features.33",
    "vgg16": "features.25",
    "vgg16_bn": "features.36",
    "vgg19": "features.26",
    "vgg19_bn": "features.38",
    "wide_resnet101_2": "layer3.1",
    "wide_resnet50_2": "layer3.1",
}

NAMES = (
    ALL
    if os.environ.get("DECONVNET_ZOO") == "all"
    else sorted({*SAMPLE, "alexnet", "resnet18", "resnet50", "squeezenet1_0", "vgg16"})
)


def record(name: str) -> deconvnet.Recording:
    """Record a picture of zeros of the size that a net was made for; weights do not matter to sizes."""
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    side = torchvision.models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    return deconvnet.DeconvNet(model).record(torch.zeros(1, 3, side, side))


def test_the_table_has_every_net():
    """No net of torchvision is left out."""
    assert sorted(LAYERS) == sorted(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nets_of_torchvision(name):
    """The layer of the table, whose units see less than two fifths of the frame; never one that sees more."""
    recording = record(name)
    layer = default_layer(recording)
    assert layer == LAYERS[name]
    (height, width), _ = field_and_stride(recording.tape, recording.value(layer))
    frame = recording.images.shape[2:]
    assert height * width < LARGEST_SHARE_SEEN * frame[0] * frame[1]


def test_project_and_the_mirror_take_it(tiny):
    """`project` and `mirror` agree; of tiny it is conv3, whose units see 51 of 96 pixels."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(torch.randn(1, 3, 96, 96))
    assert net.project(recording, top=1).layer == net.mirror(recording).layer == "features.9"


def test_the_last_layer_is_the_last_rectified_one_with_maps():
    """What studies take: before pooling or the classifier; blocks by their own name."""
    expected = {"alexnet": "features.11", "vgg11": "features.19", "resnet18": "layer4", "squeezenet1_0": "features.12"}
    for name, layer in expected.items():
        net = deconvnet.DeconvNet(deconvnet.load_model(f"torchvision:{name}", weights="none"))
        assert last_layer(net.record(torch.randn(1, 3, 96, 96))) == layer


def test_where_every_unit_sees_much_it_is_the_one_that_sees_least():
    """In a frame that all windows nearly fill, the first of the layers."""
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 4, 5, padding=2), nn.ReLU(), nn.Flatten())
    assert default_layer(deconvnet.DeconvNet(model).record(torch.randn(1, 3, 6, 6))) == "1"


class Body(nn.Module):
    """A module that holds nearly all of a net, and is no block."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(6)])
        self.relus = nn.ModuleList([nn.ReLU() for _ in range(6)])

    def forward(self, x):
        for layer, relu in zip(self.layers, self.relus, strict=True):
            x = relu(layer(x))
        return x


class Wrapped(nn.Module):
    """A stem, a body, a head."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), Body(), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


def test_what_makes_up_half_of_the_net_is_no_block():
    """Its inside is looked at: the last of its layers that sees little enough."""
    recording = deconvnet.DeconvNet(Wrapped()).record(torch.randn(1, 3, 20, 20))
    assert default_layer(recording) == "body.relus.3"  # 3 + 4 * 2 = 11 of 20 pixels a side; the next one sees 13
