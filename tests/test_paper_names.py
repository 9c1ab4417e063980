"""Promises about the paper's names of layers: conv1 to conv5 are the rectified layers that they seem, wherever a layer is named."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.paper_names import full_name, paper_layers
from deconvnet.studies.forward import choose_layer

FIVE = [f"conv{number}" for number in range(1, 6)]
TORCHVISION = ["alexnet", *(f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn"))]


def five_blocks(model: nn.Module) -> list[str]:
    """Return the paper's layers from the modules themselves: the ReLU after each of five convolutions, or before five pools."""
    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    kinds = [type(module) for _, module in leaves]
    convolutions = [index for index, kind in enumerate(kinds) if kind is nn.Conv2d]
    if len(convolutions) == 5:
        return [leaves[kinds.index(nn.ReLU, index)][0] for index in convolutions]
    pools = [index for index, kind in enumerate(kinds) if kind is nn.MaxPool2d]
    assert len(pools) == 5
    assert all(kinds[index - 1] is nn.ReLU for index in pools)
    return [leaves[index - 1][0] for index in pools]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_names_are_those_of_the_modules(name):
    """AlexNet's five convolutions, and the ends of VGG's five blocks."""
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, **({} if name == "alexnet" else {"init_weights": False}))
    assert paper_layers(f"torchvision:{name}") == dict(zip(FIVE, five_blocks(model), strict=True))


@pytest.mark.parametrize("name", ["tiny", "zfnet", "zfnet:wide"])
def test_names_of_our_own_nets(name):
    """ZFNet's layers, in all its sizes."""
    model = deconvnet.load_model(name, weights="none").model
    assert paper_layers(name) == dict(zip(FIVE, five_blocks(model), strict=True))


@pytest.mark.parametrize("name", ["vgg11", "vgg16_bn", "vgg19.tv_in1k"])
def test_timm_names(name):
    """timm's VGG has torchvision's names, whichever its weights."""
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model = timm.create_model(name)
    assert paper_layers(f"timm:{name}") == dict(zip(FIVE, five_blocks(model), strict=True))


@pytest.mark.parametrize("name", ["alexnet", "alexnetb", "zfnet", "zfnetb", "vgg11", "vgg16", "bn_vgg13", "bn_vgg19b"])
def test_pytorchcv_names(name):
    """pytorchcv's blocks end with the rectifier of their convolution."""
    known = pytest.importorskip("pytorchcv.model_provider")._models
    with torch.device("meta"):
        model = known[name]()
    assert paper_layers(f"pytorchcv:{name}") == {
        alias: layer.removesuffix(".activ") for alias, layer in zip(FIVE, five_blocks(model), strict=True)
    }


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:repvgg_a0", "file:vgg16.py:make", "module:a:vgg16", "x", ""])
def test_other_nets_have_none(name):
    """Nets without the paper's five layers, and those that only sound like it."""
    assert paper_layers(name) == {}
    assert full_name(name, "conv1") == "conv1"


def test_they_stand_wherever_a_layer_is_named(tiny):
    """In a net, its recordings and projections, its studies, with the layer's own name in what comes out."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record("sample:drawing/cat", layers=["conv3"])
    projection = net.project(recording, "conv3", top=2)
    assert projection.layer == projection.units[0].layer == "features.9"
    assert torch.equal(projection.pixels, net.project(recording, "features.9", top=2).pixels)
    assert str(net.mirror(recording, "conv3")) == str(net.mirror(recording, "features.9"))
    assert choose_layer(recording, "conv3")[0] == "features.9"
    assert net.layers()["conv3"].name == "features.9"
    assert "conv3" in net.layers()
    assert "conv6" not in net.layers()


def test_studies_take_them():
    """Each study that takes a layer takes its name of the paper."""
    from deconvnet.studies import ablate, correspond, evolve, faithful, filters, invariance, occlude

    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    cat, other = "sample:drawing/cat", "sample:drawing/cat/2"
    boxes = [{"nose": [40, 40, 20, 20]}] * 2
    assert ablate.run(net, cat, layer="conv2", signals=2).settings["layer"] == "features.5"
    assert faithful.run(net, cat, layer="conv2", top=1, seeds=2).settings["layer"] == "features.5"
    assert filters.run(net, cat, second="conv2", top=1).settings["second"] == "features.5"
    assert occlude.run(net, cat, layer="conv2", square=48, stride=48).settings["layer"] == "features.5"
    assert invariance.run(net, cat, layers=["conv2"]).settings["layers"] == ["features.5"]
    assert correspond.run(net, [cat, other], boxes, layers=["conv2"], trials=1).settings["layers"] == ["features.5"]
    assert evolve.run(net, [cat], layers=["conv2"], count=1).settings["layers"] == ["features.5"]


def test_unknown_names_are_refused(run):
    """There is no conv6, and no conv1 where a net has none of the paper's layers."""
    code, _, err = run("project", "sample:drawing/cat", "--layer", "conv6")
    hint = "Did you mean 'conv5' or 'conv4' or 'conv3'?"
    assert (code, err) == (1, f"UnknownLayerError: 'conv6' is not a layer of tiny. {hint} See: deconvnet layers tiny\n")


def test_layers_lists_them_with_who_takes_which(run):
    """The alias of each, and the layers that a scan and a projection take where none is named."""
    code, out, _ = run("layers", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert {row["alias"]: name for name, row in rows.items() if row["alias"]} == paper_layers("tiny")
    assert [name for name, row in rows.items() if row["default"]] == ["features.9"]
    assert [name for name, row in rows.items() if row["scanned"]] == list(paper_layers("tiny").values())
    table = run("layers")[1].splitlines()
    assert next(line for line in table if line.startswith("features.9 ")).split()[1:3] == ["conv3", "ReLU"]
    assert next(line for line in table if line.startswith("features.9 ")).endswith("  scan, project")


def test_layers_can_be_filtered_and_written_as_csv(run):
    """Rectified ones alone; the same rows as CSV; and what excludes each other is one line."""
    listed = [row["name"] for row in json.loads(run("layers", "--json", "--rectified")[1])]
    assert listed == ["features.1", "features.5", "features.9", "features.11", "features.13", "classifier.3", "classifier.4"]
    lines = run("layers", "--csv", "--rectified")[1].splitlines()
    assert lines[0].startswith("layer,alias,kind,channels,height,width,field_height,")
    assert lines[1] == "features.1,conv1,ReLU,32,46,46,7,7,2,2,0,0,0,paper,scan"
    assert len(lines) == 1 + len(listed)
    exclude = "OptionError: --json and --csv exclude each other. Give one of them.\n"
    assert run("layers", "--csv", "--json") == (1, "", exclude)
    mirror = "OptionError: --mirror prints calls, not layers: --rectified and --csv are for those. Give one of them.\n"
    assert run("layers", "--mirror", "conv2", "--rectified") == (1, "", mirror)


def test_layers_above_a_call_without_a_rule_have_none():
    """Nothing can be projected from them, so their status says so, and not that of their own calls."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 2, 3), nn.ReLU()

        def forward(self, image):
            return self.second(torch.fft.fft2(self.first(image)).real)

    net = deconvnet.DeconvNet(Odd().eval())
    table = net.layers((3, 12, 16))
    assert table["first"].status == "exact"
    assert table["second"].status == "no rule"
    with pytest.raises(deconvnet.NoRuleError):
        net.project(net.record(torch.ones(1, 3, 12, 16)), "second")
