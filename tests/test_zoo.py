"""The zoo: every CNN of torchvision's classification nets, and nets of timm, against the oracle.

By default a fair sample; `DECONVNET_ZOO=all` runs all of them (about half an hour on two cores).
"""

from __future__ import annotations

import os
import warnings

import pytest
import torch
import torchvision
from oracle import project_by_autograd, relative
from torch import nn

import deconvnet

NOT_CNNS = ("vit_", "swin", "maxvit")
SAMPLE = ("convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v3_small")
SAMPLE += ("regnet_y_400mf", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11_bn")
ALL = [name for name in torchvision.models.list_models(module=torchvision.models) if not name.startswith(NOT_CNNS)]
TIMM_SAMPLE = (
    "hrnet_w18_small",
    "dla34",
    "repvgg_a0",
    "nfnet_l0",
    "convnext_atto",
    "mobilenetv3_small_050",
    "regnetx_002",
    "eca_resnet33ts",
)
TIMM = ("resnet50", "densenet121", "efficientnet_b0", "mobilenetv3_large_100", "inception_v4", "vgg16", "xception41", "dpn68")
TIMM += (
    "res2net50_26w_4s",
    "skresnet18",
    "seresnet50",
    "resnest14d",
    "ghostnet_100",
    "convnextv2_atto",
    "dm_nfnet_f0",
    "tresnet_m",
)
TIMM += (
    "efficientnetv2_s",
    "tf_efficientnet_b0",
    "resnet18d",
    "resnetblur50",
    "cspresnet50",
    "darknet53",
    "legacy_seresnet18",
    "mixnet_s",
)
EVERY = os.environ.get("DECONVNET_ZOO") == "all"


def stir(model):
    """Give batch norms statistics and weights that are not all ones, so that a rule that forgets them is caught."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
        if hasattr(module, "layer_scale"):
            nn.init.uniform_(module.layer_scale, 0.5, 1.5)
    return model.eval()


def three_layers(recording, model):
    """Return an early, a middle and a late leaf layer."""
    leaves = {path for path, module in model.named_modules() if not [*module.children()]}
    names = [
        place.name
        for place in recording.places().values()
        if place.value
        and not place.is_call
        and place.name.partition("_")[0]
        and (place.name in leaves or base(place.name) in leaves)
    ]
    return [names[len(names) * part // 8] for part in (1, 4, 7)]


def base(name):
    return name.rpartition("_")[0]


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
            assert relative(projected, expected) < 1e-4, (layer, rule)


@pytest.mark.parametrize("name", ALL if EVERY else SAMPLE)
def test_torchvision(name):
    """Early, middle and late layers of a torchvision net come down as the oracle brings them, to 1e-4."""
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name in ("googlenet", "inception_v3"):
        options["transform_input"] = True
    torch.manual_seed(0)
    check(stir(torchvision.models.get_model(name, weights=None, **options)), 96 if name == "inception_v3" else 64)


@pytest.mark.parametrize("name", TIMM_SAMPLE + TIMM if EVERY else TIMM_SAMPLE)
def test_timm(name):
    """The same for nets of timm, with gates, layer scales, standardised weights and split attention."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        timm = pytest.importorskip("timm", reason="the extra deconvnet[timm] is not installed")
    torch.manual_seed(0)
    check(stir(timm.create_model(name, pretrained=False)), 96)
