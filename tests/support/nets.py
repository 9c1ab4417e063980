"""The zoo: nets of torchvision and timm, with random weights that catch a rule which forgets something."""

from __future__ import annotations

import torchvision
from torch import nn

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


def randomise_norms(model):
    """Draw norms' weights and statistics at random, so that a rule that forgets them is caught; return the model in eval mode."""
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
        for place in recording.records().values()
        if place.value
        and not place.is_call
        and place.name.partition("_")[0]
        and (place.name in leaves or base(place.name) in leaves)
    ]
    return [names[len(names) * part // 8] for part in (1, 4, 7)]


def base(name):
    return name.rpartition("_")[0]
