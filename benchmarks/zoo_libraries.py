"""Write docs/zoo-libraries.md: nets of other libraries than timm, as their users build them, against an oracle.

    python benchmarks/zoo_libraries.py             # what docs/data/zoo-libraries.json lacks
    python benchmarks/zoo_libraries.py NAME ...    # these, again, such as "transformers Swin"

None of these libraries is a dependency: those that are not installed are left out. Random weights, small settings, two images,
double precision. In an early, a middle and a late module with maps a random signal goes down by the gradient rule, and is
compared with `held_oracle.py`; one unit of each is projected by the deconvnet's rule.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import importlib.metadata
import json
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from held_oracle import CLOSE, by_autograd, deviation
from torch import nn

import deconvnet
from deconvnet import rules
from deconvnet.layer_table import NO_RULE, list_layers

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DATA = DOCS / "zoo-libraries.md", DOCS / "data" / "zoo-libraries.json"

T = torch.Tensor

HEAD = """# The zoo: other libraries

Written by `benchmarks/zoo_libraries.py` with torch {torch}. Nets of other libraries as their users build them - in small
settings, with random weights, two images, double precision. *Layers* have maps, and can be asked for; from those
*projected* a way leads down to the pixels, and why not from the first other one is said. In an early, a middle and a late
module of them a random signal goes down by the gradient rule: the deviation is that of any
pixel from an independent oracle - autograd with patterns of attention, gates and statistics of norms held - relative to the
largest pixel. One unit of each was projected by the deconvnet's rule besides. None of these libraries is needed to use the
package; a net is given in Python, or as `file:PATH.py:FUNCTION`.

| library | net | images | layers | projected | deviation |
|---|---|---|---|---|---|
{rows}
"""


@dataclass(frozen=True)
class Net:
    """A net of a library.

    Attributes:
        library: as it is installed.
        name: the net's, with its settings.
        make: returns it.
        size: of an image, (C, H, W); of a volume (C, D, H, W), of a signal (C, L).
    """

    library: str
    name: str
    make: Callable[[], nn.Module]
    size: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """What was found of a net."""

    library: str
    version: str
    name: str
    size: list[int]
    layers: int
    projected: int
    outcome: str


def of(path: str, *args: Any, **kwargs: Any) -> Callable[[], nn.Module]:
    """Return a function that calls one of a module's, `package.module:name`, once it is needed."""

    def make() -> nn.Module:
        module, name = path.split(":")
        function = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
        made: nn.Module = function(*args, **kwargs)  # type: ignore[operator]
        return made

    return make


def from_config(name: str, config: str, **settings: Any) -> Callable[[], nn.Module]:
    """Return a function that makes a net of Transformers from a config."""

    def make() -> nn.Module:
        import transformers

        made: nn.Module = getattr(transformers, name)(getattr(transformers, config)(**settings))
        return made

    return make


class FromPixels(nn.Module):
    """A net whose images go by a keyword, such as `pixel_values`, and which takes further arguments."""

    def __init__(self, model: nn.Module, **kwargs: Any) -> None:
        super().__init__()
        self.model, self.kwargs = model, kwargs

    def forward(self, images: T) -> Any:
        """Give the images on."""
        return self.model(pixel_values=images, **self.kwargs)


def yolo(name: str) -> Callable[[], nn.Module]:
    """Return a function that makes a net of ultralytics from its settings."""

    def make() -> nn.Module:
        tasks = importlib.import_module("ultralytics.nn.tasks")
        kinds = {"seg": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel", "cls": "ClassificationModel"}
        kind = kinds.get(name.partition("-")[2], "RTDETRDetectionModel" if "rtdetr" in name else "DetectionModel")
        made: nn.Module = getattr(tasks, kind)(f"{name}.yaml", verbose=False)
        return made

    return make


def clip(**vision: Any) -> Callable[[], nn.Module]:
    """Return a function that makes the image tower of an OpenCLIP model."""

    def make() -> nn.Module:
        import open_clip

        cfg = open_clip.CLIPVisionCfg(image_size=64, **vision)
        text = open_clip.CLIPTextCfg(context_length=8, vocab_size=32, width=32, heads=2, layers=1)
        tower: nn.Module = open_clip.CLIP(32, cfg, text).visual
        return tower

    return make


class Pair(nn.Module):
    """An optical flow net: the second picture is the first one, moved."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: T) -> Any:
        """Return the flow."""
        return self.model(images, images.roll(2, 3), num_flow_updates=2)


def nets() -> list[Net]:
    """Return all nets."""
    return [*torchvision_nets(), *transformers_nets(), *ultralytics_nets(), *segmentation_nets(), *monai_nets(), *other_nets()]


def torchvision_nets() -> list[Net]:
    """Return detectors, segmenters, and nets of video and optical flow."""
    small, plain = {"min_size": 96, "max_size": 128}, {"weights": None, "weights_backbone": None}
    detection, frame = "torchvision.models.detection", (3, 96, 96)
    kinds = ["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_fpn"]
    kinds += ["retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn"]
    found = [Net("torchvision", kind, of(f"{detection}:{kind}", **plain, **small), frame) for kind in kinds]
    found += [
        Net("torchvision", kind, of(f"{detection}:{kind}", **plain), frame)
        for kind in ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")
    ]
    segmentation = "torchvision.models.segmentation"
    for kind in ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"):
        found.append(Net("torchvision", kind, of(f"{segmentation}:{kind}", **plain), frame))
    for kind in ("r3d_18", "mc3_18", "r2plus1d_18"):
        found.append(Net("torchvision", kind, of(f"torchvision.models.video:{kind}", weights=None), (3, 8, 32, 32)))
    found.append(Net("torchvision", "s3d", of("torchvision.models.video:s3d", weights=None), (3, 16, 224, 224)))
    found.append(Net("torchvision", "swin3d_t", of("torchvision.models.video:swin3d_t", weights=None), (3, 8, 64, 64)))
    raft = of("torchvision.models.optical_flow:raft_small", weights=None)
    return [*found, Net("torchvision", "raft_small", lambda: Pair(raft()), (3, 128, 128))]


def transformers_nets() -> list[Net]:
    """Return nets of Transformers from small configs."""
    frame = (3, 64, 64)
    vit = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "image_size": 64,
        "patch_size": 8,
    }
    resnet = {
        "embedding_size": 8,
        "hidden_sizes": [8, 16, 24, 32],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
        "out_features": ["stage2", "stage3", "stage4"],
    }
    decoder = {
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
    }
    decoder |= {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_queries": 6, "num_labels": 5}

    def net(name: str, model: str, config: str, **settings: Any) -> Net:
        return Net("transformers", name, from_config(model, config, **settings), frame)

    def with_backbone(model: str, config: str, **settings: Any) -> Callable[[], nn.Module]:
        def make() -> nn.Module:
            import transformers

            backbone = transformers.ResNetConfig(**resnet)
            made: nn.Module = getattr(transformers, model)(getattr(transformers, config)(backbone_config=backbone, **settings))
            return made

        return make

    return [
        net("ViT", "ViTForImageClassification", "ViTConfig", **vit),
        net("DeiT, distilled", "DeiTForImageClassificationWithTeacher", "DeiTConfig", **vit),
        net("DINOv2", "Dinov2Model", "Dinov2Config", **{**vit, "mlp_ratio": 2}),
        net("DINOv2 with registers", "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", **vit, num_register_tokens=4),
        net("DINOv3 ViT", "DINOv3ViTModel", "DINOv3ViTConfig", **vit, num_register_tokens=2),
        net("BEiT", "BeitForImageClassification", "BeitConfig", **vit, use_relative_position_bias=True),
        net(
            "Swin",
            "SwinForImageClassification",
            "SwinConfig",
            image_size=64,
            patch_size=2,
            embed_dim=8,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        ),
        net(
            "Swin v2",
            "Swinv2ForImageClassification",
            "Swinv2Config",
            image_size=64,
            patch_size=2,
            embed_dim=8,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        ),
        net(
            "SegFormer",
            "SegformerForSemanticSegmentation",
            "SegformerConfig",
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 2, 4],
            decoder_hidden_size=16,
        ),
        net("CLIP vision", "CLIPVisionModelWithProjection", "CLIPVisionConfig", **vit, projection_dim=16),
        net("SigLIP vision", "SiglipVisionModel", "SiglipVisionConfig", **vit),
        net(
            "SigLIP 2 vision, as a classifier",
            "SiglipForImageClassification",
            "SiglipConfig",
            vision_config=vit,
            text_config={
                "hidden_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "intermediate_size": 32,
                "vocab_size": 64,
            },
        ),
        net("ViT MAE", "ViTMAEModel", "ViTMAEConfig", **vit, mask_ratio=0.0),
        net("YOLOS", "YolosForObjectDetection", "YolosConfig", **{**vit, "image_size": [64, 64]}, num_detection_tokens=5),
        net(
            "ConvNeXt v2",
            "ConvNextV2ForImageClassification",
            "ConvNextV2Config",
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 2, 1],
        ),
        net(
            "LeViT",
            "LevitForImageClassification",
            "LevitConfig",
            image_size=64,
            hidden_sizes=[16, 24, 32],
            num_attention_heads=[2, 3, 4],
            depths=[1, 1, 1],
            key_dim=[8, 8, 8],
        ),
        net(
            "PVT v2",
            "PvtV2ForImageClassification",
            "PvtV2Config",
            image_size=64,
            hidden_sizes=[8, 16, 24, 32],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 2, 2, 4],
        ),
        net(
            "MobileViT",
            "MobileViTForImageClassification",
            "MobileViTConfig",
            image_size=64,
            hidden_sizes=[16, 24, 32],
            neck_hidden_sizes=[8, 8, 16, 16, 24, 24, 32],
        ),
        net(
            "DPT",
            "DPTForSemanticSegmentation",
            "DPTConfig",
            **{**vit, "num_hidden_layers": 4},
            is_hybrid=False,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=16,
        ),
        net(
            "Depth Anything",
            "DepthAnythingForDepthEstimation",
            "DepthAnythingConfig",
            backbone_config={
                "model_type": "dinov2",
                **vit,
                "out_features": ["stage1", "stage2", "stage3"],
                "reshape_hidden_states": False,
            },
            reassemble_hidden_size=32,
            patch_size=8,
            neck_hidden_sizes=[8, 16, 16],
            fusion_hidden_size=16,
            reassemble_factors=[4, 2, 1],
        ),
        net(
            "UPerNet on Swin",
            "UperNetForSemanticSegmentation",
            "UperNetConfig",
            backbone_config={
                "model_type": "swin",
                "image_size": 64,
                "patch_size": 2,
                "embed_dim": 8,
                "depths": [1, 1, 1, 1],
                "num_heads": [1, 2, 2, 4],
                "window_size": 4,
                "out_features": ["stage1", "stage2", "stage3", "stage4"],
            },
            hidden_size=16,
            auxiliary_in_channels=32,
        ),
        Net(
            "transformers",
            "DETR",
            with_backbone(
                "DetrForObjectDetection",
                "DetrConfig",
                **{**decoder, "num_labels": 5},
                use_timm_backbone=False,
                use_pretrained_backbone=False,
            ),
            frame,
        ),
        Net(
            "transformers",
            "Conditional DETR",
            with_backbone(
                "ConditionalDetrForObjectDetection",
                "ConditionalDetrConfig",
                **decoder,
                use_timm_backbone=False,
                use_pretrained_backbone=False,
            ),
            frame,
        ),
        Net(
            "transformers",
            "Mask2Former on Swin",
            from_config(
                "Mask2FormerForUniversalSegmentation",
                "Mask2FormerConfig",
                backbone_config={
                    "model_type": "swin",
                    "image_size": 64,
                    "patch_size": 4,
                    "embed_dim": 8,
                    "depths": [1, 1, 1, 1],
                    "num_heads": [1, 2, 2, 4],
                    "window_size": 4,
                    "out_features": ["stage1", "stage2", "stage3", "stage4"],
                },
                feature_size=32,
                mask_feature_size=32,
                hidden_dim=32,
                encoder_feedforward_dim=32,
                dim_feedforward=32,
                encoder_layers=2,
                decoder_layers=2,
                num_attention_heads=4,
                num_queries=6,
            ),
            frame,
        ),
        Net(
            "transformers",
            "MaskFormer on Swin",
            from_config(
                "MaskFormerForInstanceSegmentation",
                "MaskFormerConfig",
                backbone_config={
                    "model_type": "swin",
                    "image_size": 64,
                    "patch_size": 4,
                    "embed_dim": 8,
                    "depths": [1, 1, 1, 1],
                    "num_heads": [1, 2, 2, 4],
                    "window_size": 4,
                    "out_features": ["stage1", "stage2", "stage3", "stage4"],
                },
                decoder_config={"model_type": "detr", **decoder, "num_labels": 5},
                fpn_feature_size=32,
                mask_feature_size=32,
            ),
            frame,
        ),
        Net(
            "transformers",
            "CLIP, with a text",
            lambda: FromPixels(
                from_config(
                    "CLIPModel",
                    "CLIPConfig",
                    vision_config=vit,
                    text_config={
                        "hidden_size": 32,
                        "num_hidden_layers": 1,
                        "num_attention_heads": 4,
                        "intermediate_size": 32,
                        "vocab_size": 64,
                    },
                    projection_dim=16,
                )(),
                input_ids=torch.arange(8).view(2, 4),
            ),
            frame,
        ),
    ]


def ultralytics_nets() -> list[Net]:
    """Return YOLOs from their settings."""
    names = [
        "yolov5n",
        "yolov8n",
        "yolov8n-seg",
        "yolov8n-pose",
        "yolov9t",
        "yolov10n",
        "yolo11n",
        "yolo11n-seg",
        "yolo11n-cls",
    ]
    names += ["yolo11n-obb", "yolo12n", "yolo26n", "rtdetr-resnet50"]
    return [Net("ultralytics", name, yolo(name), (3, 64, 64)) for name in names]


def segmentation_nets() -> list[Net]:
    """Return the architectures of segmentation-models-pytorch."""
    smp, plain = "segmentation_models_pytorch", {"encoder_weights": None, "classes": 3}
    kinds = [
        "Unet",
        "UnetPlusPlus",
        "FPN",
        "PSPNet",
        "Linknet",
        "MAnet",
        "PAN",
        "DeepLabV3",
        "DeepLabV3Plus",
        "Segformer",
        "UPerNet",
    ]
    found = [
        Net("segmentation-models-pytorch", f"{kind}, resnet18", of(f"{smp}:{kind}", "resnet18", **plain), (3, 128, 128))
        for kind in kinds
    ]
    for kind, encoder in (
        ("Unet", "mit_b0"),
        ("Unet", "efficientnet-b0"),
        ("FPN", "tu-convnext_atto"),
        ("Segformer", "mit_b0"),
    ):
        found.append(
            Net("segmentation-models-pytorch", f"{kind}, {encoder}", of(f"{smp}:{kind}", encoder, **plain), (3, 64, 64))
        )
    dpt = of(
        f"{smp}:DPT",
        "tu-vit_tiny_patch16_224",
        encoder_depth=4,
        decoder_intermediate_channels=(16, 16, 24, 24),
        decoder_fusion_channels=16,
        **plain,
    )
    scse = of(f"{smp}:Unet", "resnet18", decoder_attention_type="scse", aux_params={"classes": 4}, **plain)
    return [
        *found,
        Net("segmentation-models-pytorch", "DPT, vit_tiny", dpt, (3, 224, 224)),
        Net("segmentation-models-pytorch", "Unet, resnet18, scse, with a label", scse, (3, 64, 64)),
    ]


def monai_nets() -> list[Net]:
    """Return nets of pictures and of volumes."""
    monai, flat, deep = "monai.networks.nets", (1, 32, 32), (1, 32, 32, 32)
    unet = {"in_channels": 1, "out_channels": 2, "channels": (4, 8, 16), "strides": (2, 2)}
    pair = {"in_channels": 1, "out_channels": 2}
    kernels = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}
    return [
        Net("monai", "UNet, 2-D", of(f"{monai}:UNet", spatial_dims=2, num_res_units=2, **unet), flat),
        Net("monai", "UNet, 3-D", of(f"{monai}:UNet", spatial_dims=3, num_res_units=2, **unet), deep),
        Net("monai", "AttentionUnet, 3-D", of(f"{monai}:AttentionUnet", spatial_dims=3, **unet), deep),
        Net("monai", "BasicUNet, 3-D", of(f"{monai}:BasicUNet", spatial_dims=3, features=(4, 4, 8, 8, 16, 4), **pair), deep),
        Net("monai", "DynUNet, 3-D", of(f"{monai}:DynUNet", spatial_dims=3, **pair, **kernels), deep),
        Net("monai", "SegResNet, 3-D", of(f"{monai}:SegResNet", spatial_dims=3, init_filters=8, **pair), deep),
        Net("monai", "VNet, 3-D", of(f"{monai}:VNet", spatial_dims=3, **pair), deep),
        Net("monai", "SwinUNETR, 2-D", of(f"{monai}:SwinUNETR", spatial_dims=2, feature_size=12, **pair), (1, 64, 64)),
        Net("monai", "SwinUNETR, 3-D", of(f"{monai}:SwinUNETR", spatial_dims=3, feature_size=12, **pair), (1, 64, 64, 64)),
        Net(
            "monai",
            "UNETR, 3-D",
            of(f"{monai}:UNETR", img_size=32, feature_size=4, hidden_size=24, mlp_dim=32, num_heads=4, **pair),
            deep,
        ),
        Net(
            "monai",
            "DenseNet, 3-D",
            of(f"{monai}:DenseNet", spatial_dims=3, init_features=8, growth_rate=4, block_config=(2, 2), **pair),
            deep,
        ),
        Net(
            "monai",
            "ViT, 3-D",
            of(
                f"{monai}:ViT",
                in_channels=1,
                img_size=32,
                patch_size=8,
                hidden_size=24,
                mlp_dim=32,
                num_layers=2,
                num_heads=4,
                classification=True,
            ),
            deep,
        ),
    ]


def other_nets() -> list[Net]:
    """Return towers of OpenCLIP, nets of faces, and nets of kornia."""
    faces, frame = "facenet_pytorch.models", (3, 48, 48)
    found = [Net("facenet-pytorch", name, of(f"{faces}.mtcnn:{name}", pretrained=False), frame) for name in ("PNet", "ONet")]
    found.append(Net("facenet-pytorch", "InceptionResnetV1", of(f"{faces}.inception_resnet_v1:InceptionResnetV1"), (3, 96, 96)))
    return [
        Net("open_clip_torch", "ViT", clip(layers=3, width=32, head_width=8, patch_size=8), (3, 64, 64)),
        Net(
            "open_clip_torch",
            "ViT, attentional pool",
            clip(
                layers=2,
                width=32,
                head_width=8,
                patch_size=8,
                attentional_pool=True,
                attn_pooler_queries=4,
                attn_pooler_heads=4,
            ),
            (3, 64, 64),
        ),
        Net("open_clip_torch", "ResNet", clip(layers=[1, 1, 1, 1], width=8, head_width=8, patch_size=None), (3, 64, 64)),
        *found,
        Net("kornia", "HardNet", of("kornia.feature:HardNet", pretrained=False), (1, 32, 32)),
        Net("kornia", "SOSNet", of("kornia.feature:SOSNet", pretrained=False), (1, 32, 32)),
        Net(
            "kornia",
            "TinyViT",
            of(
                "kornia.models.tiny_vit:TinyViT",
                img_size=64,
                embed_dims=(16, 24, 32, 32),
                depths=(1, 1, 2, 1),
                num_heads=(2, 3, 4, 4),
                window_sizes=(4, 4, 4, 2),
            ),
            (3, 64, 64),
        ),
    ]


def measure(net: Net) -> Row | None:
    """Measure one net; None where its library is not installed."""
    started, row = time.process_time(), Row(net.library, "", net.name, list(net.size), 0, 0, "")
    try:
        row = dataclasses.replace(row, version=importlib.metadata.version(net.library))
    except ImportError as error:
        print(f"{net.library} {net.name}: left out: {error}", file=sys.stderr)
        return None
    try:
        torch.manual_seed(0)
        model = net.make()
        row = dataclasses.replace(row, **compare(model.double().eval(), net.size))
    except Exception as error:
        row = dataclasses.replace(row, outcome=f"could not say: {type(error).__name__}: {first_line(error)}")
    gc.collect()
    print(
        f"{time.process_time() - started:5.1f} s {net.library} {net.name}: {row.layers} {row.projected} {row.outcome}",
        file=sys.stderr,
        flush=True,
    )
    return row


def first_line(error: Exception) -> str:
    """Return the first line of an error, its files without the folders of this machine."""
    return re.sub(r"(?:/[\w.-]+)+/(?=[\w-]+\.py)", "", (str(error).splitlines() or [""])[0])


def compare(model: nn.Module, size: tuple[int, ...]) -> dict[str, Any]:
    """Return the numbers of layers, of layers with maps, and what three of them deviate by, or why one cannot go down."""
    for parameter in model.parameters():
        if parameter.is_floating_point() and not parameter.detach().any():
            nn.init.normal_(parameter, std=0.02)
    images = torch.randn(2, *size, dtype=torch.float64)
    net = deconvnet.DeconvNet(model, lrn="derivative")
    recording, modules = net.record(images), dict(model.named_modules())
    layers = list_layers(recording, rules.DEFAULT)
    free = [layer.name for layer in layers if layer.status != NO_RULE]
    refused = next((layer.name for layer in layers if layer.status == NO_RULE), None)
    images.requires_grad_()
    outputs = by_autograd(model, images, [name for name in free if name in modules])
    found = {layer: deviation(net, recording, images, layer, output, None) for layer, output in outputs.items()}
    for layer in outputs:
        net.project(recording, layer, channels=[0], image=1)
    outcome = verdict(found) + (f"; {reason(net, recording, refused)}" if refused else "")
    return {"layers": len(layers), "projected": len(free), "outcome": outcome}


def verdict(found: dict[str, float | None]) -> str:
    """Return the largest deviation, and whether it is one; or where the oracle has none to compare with."""
    if not found:
        return "could not say: no module has maps that a signal can begin from"
    unknown = next((layer for layer, worst in found.items() if worst is None), None)
    if unknown:
        return f"could not say: {unknown}: the oracle finds no way down"
    worst = max(worst for worst in found.values() if worst is not None)
    return f"{worst:.0e}" if worst < CLOSE else f"differs: {worst:.0e}"


def reason(net: deconvnet.DeconvNet, recording: deconvnet.Recording, layer: str) -> str:
    """Return why a layer is refused."""
    try:
        net.project(recording, layer, channels=[0])
    except deconvnet.DeconvnetError as error:
        return str(error)
    return f"{layer} is listed as refused, and is not"


def page(rows: list[Row]) -> str:
    """Return the page."""
    lines = []
    for row in rows:
        outcome = re.sub(r"\|", "\\|", row.outcome).replace(" Add one: see docs/your-own-rule.md.", "")
        size = "x".join(map(str, row.size))
        lines.append(f"| {row.library} {row.version} | {row.name} | {size} | {row.layers} | {row.projected} | {outcome} |")
    return HEAD.format(torch=torch.__version__.split("+")[0], rows="\n".join(lines))


def main() -> None:
    """Measure what is missing, or the nets that are named, and write the page after each."""
    warnings.simplefilter("ignore")
    named = sys.argv[1:]
    rows = {f"{row['library']} {row['name']}": Row(**row) for row in (json.loads(DATA.read_text()) if DATA.exists() else [])}
    every = {f"{net.library} {net.name}": net for net in nets()}
    for title in [title for title in every if title in named or (not named and title not in rows)]:
        row = measure(every[title])
        if row is not None:
            rows[title] = row
            ordered = [rows[known] for known in every if known in rows]
            DATA.write_text("[\n" + ",\n".join(json.dumps(dataclasses.asdict(row)) for row in ordered) + "\n]\n")
            PAGE.write_text(page(ordered))


if __name__ == "__main__":
    main()
