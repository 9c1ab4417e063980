"""The zoo: every CNN of torchvision's classification nets, and nets of timm, against the oracle.

By default a fair sample; `DECONVNET_ZOO=all` runs all of them (about half an hour on two cores).
"""

from __future__ import annotations

import os
import warnings

import pytest
import torch
import torchvision

import deconvnet
from support.nets import ALL, SAMPLE, TIMM, TIMM_SAMPLE, randomise_norms, three_layers
from support.oracle import project_by_autograd, relative

EVERY = os.environ.get("DECONVNET_ZOO") == "all"


def check(model, size):
    """Compare three layers with the oracle under the deconvnet, guided and gradient rules."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, size, size)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    with torch.no_grad():
        plain = model(images)
    if isinstance(plain, torch.Tensor):
        assert torch.equal(recording.output, plain)
    for layer in three_layers(recording, model):
        signal = torch.randn_like(recording.activations(layer))
        for rule in ("deconvnet", "guided", "gradient"):
            projected = net.project_signal(recording, layer, signal, rule=rule)
            expected = project_by_autograd(model, images, layer, signal, rule)
            assert relative(projected, expected) < 1e-5, (layer, rule)


@pytest.mark.parametrize("name", ALL if EVERY else SAMPLE)
def test_torchvision(name):
    """Early, middle and late layers of a torchvision net come down as the oracle brings them, to 1e-5."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in ("googlenet", "inception_v3"):
        options["transform_input"] = True
    torch.manual_seed(0)
    check(randomise_norms(torchvision.models.get_model(name, weights=None, **options)), 96 if name == "inception_v3" else 64)


@pytest.mark.parametrize("name", TIMM_SAMPLE + TIMM if EVERY else TIMM_SAMPLE)
def test_timm(name):
    """The same for nets of timm, with gates, layer scales, standardised weights and split attention."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = pytest.importorskip("timm", reason="the extra deconvnet[timm] is not installed")
    torch.manual_seed(0)
    check(randomise_norms(timm.create_model(name, pretrained=False)), 96)
