"""Beside Captum: the same where it is right, and where it is silently wrong."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from support.oracle import project_by_autograd, relative

attr = pytest.importorskip("captum.attr", reason="captum is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum", "ignore:Setting forward, backward hooks")


def ours(model, images, target):
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    layer = list(recording.records())[-1]
    signal = torch.zeros_like(recording.activations(layer))
    signal[:, target] = 1
    return net.project_signal(recording, layer, signal, silent="first")


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "squeezenet1_1", "resnet18"])
def test_equal_where_captum_is_right(name):
    """On nets whose ReLUs are modules, each called once, Captum's Deconvolution is ours to 1e-5, silent windows included."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for module in model.modules():  # Captum's hooks do not go with calls in place
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images = torch.randn(1, 3, 96, 96)
    theirs = attr.Deconvolution(model).attribute(images.clone().requires_grad_(), target=7)
    assert relative(ours(model, images, 7), theirs.detach()) < 1e-5


class Functional(nn.Module):
    """Two convolutions with `F.relu` between."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.second(F.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


def test_functional_relu_is_where_captum_is_silently_wrong():
    """With F.relu Captum gives the plain gradient; ours equals the oracle."""
    torch.manual_seed(0)
    model, images = Functional().eval(), torch.randn(1, 3, 16, 16)
    theirs = attr.Deconvolution(model).attribute(images.clone().requires_grad_(), target=2).detach()
    signal = torch.zeros(1, 5)
    signal[0, 2] = 1
    oracle = project_by_autograd(model, images, "head", signal)
    assert relative(ours(model, images, 2), oracle) < 1e-5
    assert relative(theirs, oracle) > 0.1
    assert relative(theirs, project_by_autograd(model, images, "head", signal, "gradient")) < 1e-5
