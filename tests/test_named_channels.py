"""Promises about channels by the names of classes: the same in every command and study that takes a channel."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import CLASSES, draw
from deconvnet.errors import DeconvnetError
from deconvnet.named_channels import channel_numbers, class_layers, class_map_layer
from deconvnet.studies import ablate, benchmark, evolve, faithful, occlude, sanity
from deconvnet.upsampling.comparison import map_of

NAMES = ("cat", "dog", "bird", "fish")


class Averaging(nn.Module):
    """Four scores that are averages of four maps, above four features that are no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.classes, self.relu = nn.Conv2d(4, 4, 1), nn.ReLU()

    def forward(self, image):
        return self.relu(self.classes(self.features(image))).mean((2, 3))


@pytest.fixture
def averaging():
    """A net with names for its four classes."""
    torch.manual_seed(0)
    loaded = deconvnet.LoadedModel.from_module(Averaging().eval())
    return deconvnet.DeconvNet(dataclasses.replace(loaded, classes=NAMES, input_size=(3, 32, 32)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six drawings, a scan of them with the layer of the scores, and one without."""
    place = tmp_path_factory.mktemp("named")
    (place / "in").mkdir()
    for seed in range(6):
        draw(CLASSES[seed], seed=seed).picture.save(place / "in" / f"{seed}.png")
    for name, layers in (("scores", ["classifier.5", "conv2"]), ("maps", ["conv2"])):
        words = [word for layer in layers for word in ("--layer", layer)]
        command.main(["scan", str(place / "in"), "--out", str(place / f"{name}.scan"), *words], standalone_mode=False)
    return place


@pytest.fixture
def run(run, folder, monkeypatch):
    """Run the command in the folder; return its exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    return run


def test_layers_of_classes(averaging, net):
    """The maps that the scores are averages of have the names, too; features of as many channels have none."""
    recording = averaging.record(torch.rand(1, 3, 32, 32))
    layers = class_layers(recording)
    assert {"classes", "relu"} <= set(layers)
    assert not [layer for layer in layers if layer.startswith("features")]
    assert class_map_layer(recording) == "classes"
    for layer in layers:
        assert channel_numbers(averaging.loaded, recording, layer, ["Bird", 0, "cat"]) == [2, 0, 0]
    assert class_layers(net.record_zeros()) == ["classifier.5", "classifier"]  # a block whose last layer they are


@pytest.mark.parametrize(
    ("layer", "channels", "among", "message"),
    [
        (
            "features.0",
            ["dog"],
            (),
            "channels of layer 'features.0' have no names, and 'dog' is one. Take --layer mean, or a number.",
        ),
        (
            "features.0",
            [1, "dog"],
            ("features.0", "classes"),
            "channels of layer 'features.0' have no names, and 'dog' is one. Take --layer classes, or a number.",
        ),
        (
            "classes",
            ["brid"],
            (),
            "'brid' is neither channels, such as 3 or 1,4-6, nor a class of Averaging. Did you mean 'bird'? Give numbers or a class.",
        ),
    ],
)
def test_names_that_are_none(averaging, layer, channels, among, message):
    """What was asked, what there is, and what comes close."""
    recording = averaging.record(torch.rand(1, 3, 32, 32))
    with pytest.raises(DeconvnetError) as caught:
        channel_numbers(averaging.loaded, recording, layer, channels, among=among)
    assert str(caught.value) == message


def test_a_net_without_names(averaging):
    """Numbers are asked for."""
    bare = deconvnet.DeconvNet(averaging.model)
    with pytest.raises(DeconvnetError) as caught:
        bare.project(bare.record(torch.rand(1, 3, 32, 32)), channels=["cat"])
    assert str(caught.value) == "channels of layer 'mean' have no names, and 'cat' is one. Give a number."


def test_studies_take_names(net):
    """A name is the number that it stands for, in the layer of the scores where none is named."""
    drawing, number, layer = draw("cat", seed=5), net.loaded.classes.index("cat"), "classifier.5"
    for study, options in ((ablate, {"signals": 2}), (occlude, {"square": 40, "stride": 40})):
        named = study.run(net, drawing, channel="Cat", **options).to_json()
        assert named == study.run(net, drawing, channel=number, layer=layer, **options).to_json()
    named = evolve.run(net, [drawing], channels=["cat"])
    assert [each.layer for each in named.layers] == [layer]
    assert named.layers[0].channels.tolist() == [number]


def test_studies_that_need_an_extra_take_names(net):
    """So do those of many pictures."""
    pytest.importorskip("scipy")
    pytest.importorskip("skimage")
    drawing, number, layer = draw("cat", seed=5), net.loaded.classes.index("cat"), "classifier.5"
    named = sanity.run(net, drawing, channel="cat", seeds=1, top=2)
    assert named.units == (f"{layer}:{number}@0,0",)
    named = faithful.run(net, drawing, channels=["cat"], seeds=2)
    assert [str(unit).partition("#")[0] for unit in named.units] == [f"{layer}:{number}@0,0"]
    named = benchmark.run(net, drawing, channels=["cat"], planted=False)
    assert [str(unit).partition("#")[0] for unit in named.units] == [f"{layer}:{number}@0,0"]


def test_a_map_of_a_class_is_upsampled(averaging):
    """A name takes the layer with a map for each class, which the scores have not."""
    image = draw("cat", seed=5, size=32).picture
    averaging.preprocess = deconvnet.Preprocess(32, 32, (0.5,) * 3, (0.5,) * 3)
    values, layer, channel = map_of(averaging, image, channel="bird")
    assert (layer, channel) == ("classes", 2)
    assert torch.equal(values[0, 0], averaging.record([image]).activations("classes")[0, 2])


def test_top_and_plate_take_names(run):
    """A scan's commands find the class in the scanned layer of the scores, by its number or its name."""
    number = CLASSES.index("fish")
    for words in (["fish"], ["fish", "--layer", "classifier.5"]):
        code, out, _ = run("top", "scores.scan", "--channel", *words, "--json")
        assert code == 0
        assert out == run("top", "scores.scan", "--channel", number, "--layer", "classifier.5", "--json")[1]
    assert {row["channel"] for row in json.loads(out)} == {number}
    code, out, _ = run("plate", "scores.scan", "--channel", "fish", "--channel", "1", "--out", "named.png")
    assert (code, out.strip()) == (0, "named.png")
    with deconvnet.Scan.open("scores.scan") as scan:
        assert scan.channel_numbers("classifier.5", ["fish", 1]) == [number, 1]
        assert scan.class_layer() == "classifier.5"


@pytest.mark.parametrize("words", [("top",), ("plate",)])
@pytest.mark.parametrize(
    ("scan", "options", "message"),
    [
        (
            "maps",
            ["--channel", "fish"],
            "UnknownLayerError: no scanned layer of 'maps.scan' has the classes as its channels. Scan classifier.5 as well, or give"
            " numbers.",
        ),
        (
            "scores",
            ["--channel", "fish", "--layer", "conv2"],
            "OptionError: channels of layer 'features.5' have no names, and 'fish' is one. Take --layer classifier.5, or a number.",
        ),
        (
            "scores",
            ["--channel", "fihs"],
            "OptionError: 'fihs' is neither channels, such as 3 or 1,4-6, nor a class of tiny. Did you mean 'fish'? Give numbers or"
            " a class.",
        ),
    ],
)
def test_names_that_a_scan_has_not(run, words, scan, options, message):
    """Both commands answer alike."""
    code, _, error = run(*words, f"{scan}.scan", *options)
    assert (code, error.strip()) == (1, message)


@pytest.mark.parametrize("name", ["ablate", "occlude", "sanity", "upsample"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2", "'1,2' is 2 channels, and one is taken here, such as 3."),
        ("-1", "'-1' is not a channel. Write its number, such as 3, or the name of a class."),
    ],
)
def test_commands_of_one_channel(run, name, text, message):
    """A list, or what is no number, is wrong usage."""
    code, _, error = run(name, "in/1.png", "--channel", text)
    assert (code, error.strip()) == (
        2,
        f"Error: Invalid value for '--channel' / '-c': {message} See: deconvnet {name} --help",
    )


def test_every_command_with_a_channel_takes_names():
    """By one of the two shared options: no command reads channels of its own."""
    for name in command.list_commands(None):
        for param in command.get_command(None, name).params:
            if "--channel" in param.opts:
                assert "class" in str(param.help), name
