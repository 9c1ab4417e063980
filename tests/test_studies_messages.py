"""Promises about what studies refuse: each impossible option by one line that says what was found and what to do."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import deconvnet
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import draw
from deconvnet.errors import DeconvnetError, MissingPackageError
from deconvnet.layers import first_layer, spread_layers, top_layer
from deconvnet.studies import ablate, correspond, evolve, faithful, filters, ground_truth, invariance, occlude, sanity
from deconvnet.studies.fill import fill_colour
from deconvnet.studies.similarity import hog, ssim
from deconvnet.studies.transform import Transform
from support.studies import Viewing

FORM = 'Write {"picture.jpg": {"part": [top, left, height, width]}}'


def bare(*layers: nn.Module) -> deconvnet.DeconvNet:
    """A net without a preprocessing, whose name is Sequential."""
    return deconvnet.DeconvNet(nn.Sequential(*layers).eval())


def silent() -> deconvnet.DeconvNet:
    """A net no channel of which ever fires."""
    net = bare(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    with torch.no_grad():
        net.model[2].bias.fill_(-100.0)
    return net


@pytest.fixture
def have(tiny: deconvnet.LoadedModel) -> SimpleNamespace:
    """What the cases below need: nets, and images for each."""
    return SimpleNamespace(
        tiny=deconvnet.DeconvNet(tiny),
        foreign=deconvnet.DeconvNet(tiny.model, lambda picture: torch.zeros(3, 96, 96)),
        images=torch.zeros(2, 3, 96, 96),
        cups=[draw("cup", seed=0), draw("cup", seed=1)],
        conv=bare(nn.Conv2d(3, 4, 3), nn.ReLU()),
        linear=bare(nn.Flatten(), nn.Linear(3 * 8 * 8, 4), nn.ReLU(), nn.Linear(4, 2)),
        plain=bare(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)),
        silent=silent(),
        small=torch.rand(2, 3, 8, 8),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        # occlude
        (lambda have: occlude.run(have.tiny, have.images), "this study takes one picture, found 2. Give one at a time."),
        (lambda have: occlude.run(have.tiny, have.images[:1], square=97), "square cannot be 97: it is pixels, 1 to 96, the picture's short side."),
        (lambda have: occlude.run(have.tiny, have.images[:1], stride=0), "stride cannot be 0: it is pixels, 1 or more."),
        (lambda have: occlude.run(have.tiny, have.images[:1], batch=-1), "batch cannot be -1: it is squares per forward pass, 1 or more."),
        (lambda have: occlude.run(have.tiny, have.images[:1], strongest_by="mean"), "strongest_by cannot be 'mean': it is one of total, max."),
        (lambda have: occlude.run(have.tiny, have.images[:1], layer="features.99"), "'features.99' is not a layer of tiny. Did you mean 'features.9' or 'features.8' or 'features.7'? See: deconvnet layers tiny"),
        (lambda have: occlude.run(have.tiny, have.images[:1], channel=64), "layer 'features.13' has no channel 64: it has 64, numbered from 0."),
        (lambda have: occlude.run(have.tiny, have.images[:1], label="fich"), "tiny has no class 'fich'. Did you mean 'fish'?"),
        (lambda have: occlude.run(have.tiny, have.images[:1], label=18), "tiny has no class 18: it has 18, numbered from 0."),
        (lambda have: occlude.run(have.linear, have.small[:1], layer="2", label="cat"), "Sequential has no class 'cat'. Give its number."),
        (lambda have: occlude.run(have.tiny, have.images[:1], fill="red"), "fill cannot be 'red': it is one of mean, picture, black, white."),
        (lambda have: occlude.run(have.tiny, have.images[:1], fill=(2, 0, 0)), "fill cannot be (2.0, 0.0, 0.0): it is 3 numbers, 0..1, one for each channel."),
        (lambda have: fill_colour(have.conv, have.small[0], "white"), "Sequential has no preprocessing that says what a colour becomes. Use fill='mean' or 'picture'."),
        # invariance
        (lambda have: invariance.run(have.tiny, []), "the list of pictures is empty. Give one or more."),
        (lambda have: invariance.run(have.tiny, have.images, axis="up"), "axis cannot be 'up': it is one of vertical, horizontal."),
        (lambda have: invariance.run(have.tiny, have.images, distance="far"), "distance cannot be 'far': it is one of relative, rms, plain."),
        (lambda have: invariance.run(have.tiny, have.images, interpolation="linear"), "interpolation cannot be 'linear': it is one of bilinear, bicubic, nearest. Did you mean 'bilinear' or 'nearest'?"),
        (lambda have: invariance.run(have.tiny, have.images, labels=["cat"]), "labels must be one for each of the 2 pictures, found 1."),
        (lambda have: invariance.run(have.tiny, have.images, layers=["features.1", "rely"]), "'rely' is not a layer of tiny. See: deconvnet layers tiny"),
        (lambda have: invariance.run(have.tiny, have.images, values={"scale": [0]}), "scale cannot be 0: it is a ratio above 0; 1 leaves the picture as it is."),
        (lambda have: invariance.run(have.tiny, have.images, values={"rotation": []}), "the values of rotation must be a list of numbers, one or more, found []."),
        (lambda have: invariance.run(have.tiny, have.images, values={"shear": [1]}), "values cannot be 'shear': it is one of translation, scale, rotation."),
        (lambda have: Transform(fill="grey")(have.tiny, have.images[0], "scale", [2]), "fill cannot be 'grey': it is one of mean, picture, black, white, edge."),
        (lambda have: first_layer(have.plain.record(have.small)), "Sequential has no rectified layer with maps. Name the layers: see deconvnet layers."),
        (lambda have: top_layer(have.conv.record(have.small)), "Sequential has no rectified layer below its last filters. Name the layers: see deconvnet layers."),
        # correspond
        (lambda have: correspond.run(have.tiny, have.images[:1], [{"nose": [1, 2, 3, 4]}]), "pictures are compared in pairs, found 1. Give two or more."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [1, 2, 3, 4]}]), "parts must be one for each of the 2 pictures, found 1."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [1, 2, 3, 4]}, {"ear": [1, 2, 3, 4]}]), "all pictures must have the same parts: 'ear' is not in all of them (image 1)."),
        (lambda have: correspond.run(have.tiny, have.images, [{"random": [1, 2, 3, 4]}] * 2), "parts must have names, one or more besides 'object', and none may be 'random' or 'on the object': these are the controls."),
        (lambda have: correspond.run(have.tiny, have.images, [{}] * 2), "parts must have names, one or more besides 'object', and none may be 'random' or 'on the object': these are the controls."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [1, 2, 3, 4]}] * 2, trials=0), "trials cannot be 0: it is the number of random masks of each picture, 1 or more."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [99, 2, 3, 4]}] * 2), "'nose' in image 0: its box [99, 2, 3, 4] is not in what the net sees."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [1, 1, 4]}] * 2), "'nose' in image 0: its box [1, 1, 4] is not [top, left, height, width]."),
        (lambda have: correspond.run(have.tiny, have.images, [{"nose": [1, 1, 4, 4]}] * 2, layers=["rely"]), "'rely' is not a layer of tiny. See: deconvnet layers tiny"),
        (lambda have: correspond.run(have.foreign, have.cups, [{"rim": [1, 1, 4, 4]}] * 2), "Tiny has a preprocessing of its own kind: give images as a tensor, and boxes in them."),
        (lambda have: correspond.boxes_of(have.cups[0], ["nose"]), "this cup shows no 'nose'. It shows body, drink, handle, rim, saucer."),
        # evolve
        (lambda have: evolve.run(have.tiny, have.images, checkpoints=[]), "checkpoints must be weights files, each one once. Give two or more, or a folder of them."),
        (lambda have: evolve.run(have.conv, have.small), "Sequential comes without checkpoints. Give its weights files, or a folder of them."),
        (lambda have: evolve.run(have.tiny, have.images, count=0), "count cannot be 0: it is the number of channels of each layer, 1 or more."),
        (lambda have: evolve.run(have.tiny, have.images, layers=["rely"]), "'rely' is not a layer of tiny. See: deconvnet layers tiny"),
        (lambda have: evolve.run(have.tiny, have.images, layers=["features.1"], channels=[32]), "layer 'features.1' has no channel 32: it has 32, numbered from 0."),
        (lambda have: spread_layers(have.plain.record(have.small)), "Sequential has no rectified layer with maps. Name the layers: see deconvnet layers."),
        # filters
        (lambda have: filters.run(have.tiny, bands=(0.3, 0.2)), "bands cannot be (0.3, 0.2): they are two rising numbers of cycles per pixel, above 0 and below 0.5."),
        (lambda have: filters.run(have.tiny, have.images, top=0), "top cannot be 0: it is the number of second-layer units to project, 1 or more."),
        (lambda have: filters.run(have.linear, have.small), "this net has no convolution over rows and columns: there are no filters to look at."),
        (lambda have: filters.run(have.conv, have.small), "Sequential has one convolution only. Name a second layer: see deconvnet layers."),
        (lambda have: filters.run(have.plain, have.small), "Sequential rectifies nothing above '1'. Name a second layer."),
        (lambda have: filters.run(have.silent, have.small), "no channel of '3' fires on these pictures. Give others."),
        # ablate
        (lambda have: ablate.run(have.tiny, have.images), "this study takes one picture, found 2. Give one at a time."),
        (lambda have: ablate.run(have.tiny, signals=1), "signals cannot be 1: it is the number of random signals, which are compared, 2 or more."),
        # faithful
        (lambda have: faithful.run(have.tiny, area=1.0), "area cannot be 1: it is the share of the window to cover, above 0 and below 1."),
        (lambda have: faithful.run(have.tiny, seeds=1), "seeds cannot be 1: it is the number of random regions to compare with, 2 or more."),
        (lambda have: faithful.run(have.silent, have.small, layer="3"), "none of these channels of '3' fires on these pictures: nothing could drop. Take others."),
        (lambda have: ground_truth.part_masks(have.foreign, have.cups[0]), "Tiny has a preprocessing of its own kind: where it puts the parts is not known."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(have, call, message):
    """Each impossible option is refused by a line that says what was found and what to do."""
    with pytest.raises(DeconvnetError) as caught:
        call(have)
    assert str(caught.value) == message


@pytest.fixture
def viewing() -> deconvnet.DeconvNet:
    torch.manual_seed(5)
    return deconvnet.DeconvNet(Viewing().eval())


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda net, images: occlude.run(net, images[:1], layer="rely"), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: occlude.run(net, images[:1], layer="relu", batch=-1), "batch cannot be -1: it is squares per forward pass, 1 or more."),
        (lambda net, images: invariance.run(net, images, layers=["relu", "rely"]), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: invariance.run(net, []), "the list of pictures is empty. Give one or more."),
        (lambda net, images: correspond.run(net, images, [{"a": [1, 1, 4, 4]}] * 2, layers=["rely"]), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: correspond.run(net, images, [{"a": [1, 1, 4]}] * 2, layers=["relu"]), "'a' in image 0: its box [1, 1, 4] is not [top, left, height, width]."),
    ],
)  # fmt: skip
def test_a_layer_that_is_not_there_is_told_with_those_like_it(viewing, ask, message):
    """A layer that is not there, no picture, half a box: each is refused, and none gives an empty figure."""
    with pytest.raises(deconvnet.DeconvnetError) as caught:
        ask(viewing, torch.zeros(2, 3, 18, 16))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds cannot be 0: it is how often the weights are drawn, 1 or more."),
        ({"top": 1}, "top cannot be 1: it is the number of channels to compare, 2 or more."),
        ({"steps": 3}, "steps cannot be 3: it is the most steps of the cascade, 4 or more."),
    ],
)
def test_sanity_refuses_what_cannot_be(options, message, have):
    """No seed, one channel, or too few steps are refused."""
    _needs_measures()
    with pytest.raises(DeconvnetError) as caught:
        sanity.run(have.tiny, **options)
    assert str(caught.value) == message


class Unweighted(nn.Module):
    """A net whose first rectifier stands on no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.conv = nn.ReLU(), nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(self.relu(images))


def test_sanity_refuses_a_layer_without_weights_below():
    """Where there is nothing to make random, that is said."""
    _needs_measures()
    with pytest.raises(DeconvnetError) as caught:
        sanity.run(deconvnet.DeconvNet(Unweighted().eval()), torch.rand(1, 3, 8, 8), layer="relu")
    assert str(caught.value) == "no layer below 'relu' has weights: nothing can be made random. Name a higher layer."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read boxes from {path!r}: No such file or directory. Check the path."),
        ("{", f"cannot read boxes from {{path!r}}: it is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). {FORM}."),
        ([], f"{{path!r}} holds no boxes of parts. {FORM}."),
        ({"a.jpg": {}}, f"{{path!r}} holds no boxes of parts. {FORM}."),
        ({"a.jpg": {"nose": [1, 2, 3]}}, f"{{path!r}}: the box of 'nose' in 'a.jpg' is [1, 2, 3]. {FORM}, in whole pixels."),
        ({"a.jpg": {"nose": [1, 2, 3, 4.5]}}, f"{{path!r}}: the box of 'nose' in 'a.jpg' is [1, 2, 3, 4.5]. {FORM}, in whole pixels."),
    ],
)  # fmt: skip
def test_files_of_boxes_that_cannot_be_read(content, message, tmp_path):
    """No file, no JSON, no boxes, half a box: each is refused."""
    path = tmp_path / "boxes.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DeconvnetError) as caught:
        correspond.read_boxes(path)
    assert str(caught.value) == message.replace("{path!r}", repr(str(path)))


def test_a_folder_without_checkpoints(tmp_path):
    """A folder that holds none is refused, with the suffixes that were looked for."""
    with pytest.raises(DeconvnetError) as caught:
        evolve.list_checkpoints(tmp_path)
    assert str(caught.value) == f"no checkpoints in {str(tmp_path)!r}. Looked for .safetensors, .pt, .pth, .ckpt, .bin."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evolve", "--model", "zfnet"], "zfnet comes without checkpoints. Give --weights FILE several times, or a folder."),
        (["occlude", "--out", "no/such/folder.png"], "cannot write 'no/such/folder.png': there is no folder 'no/such'. Make it first."),
        (["occlude", "--npz", "numbers.json"], "cannot save 'numbers.json': arrays are saved as .npz."),
        (["occlude", "--out", "figure.gif"], "cannot save 'figure.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf."),
    ],
)  # fmt: skip
def test_commands_refuse_what_cannot_be_written(arguments, message):
    """Files that could not be written are refused before any work is done."""
    with pytest.raises(DeconvnetError) as caught:
        command.main(arguments, standalone_mode=False)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("call", "package", "subject"),
    [
        (lambda net: sanity.run(net), "scipy", "sanity"),
        (lambda net: sanity.run(net), "skimage", "sanity"),
        (lambda net: ssim(torch.rand(8, 8).numpy(), torch.rand(8, 8).numpy()), "skimage", "SSIM"),
        (lambda net: hog(torch.rand(8, 8).numpy(), torch.rand(8, 8).numpy()), "skimage", "HOG"),
    ],
)
def test_missing_extras_are_named(call, package, subject, have, monkeypatch):
    """Without SciPy or scikit-image one line names it and the extra."""
    _needs_measures()
    import importlib

    real = importlib.import_module

    def fails(name, *rest):
        if name.startswith(package):
            raise ImportError(f"no {package} here")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", fails)
    with pytest.raises(MissingPackageError) as caught:
        call(have.tiny)
    reason = f"{package}, which cannot be imported (no {package} here)"
    assert str(caught.value) == f'{subject} needs {reason}. In a checkout: pip install -e ".[studies]"'


def _needs_measures() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("skimage")
