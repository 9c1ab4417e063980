"""tiny: the packaged model is small and accurate, and its filters are within the paper's bound."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from deconvnet.drawings import CLASSES, draw
from deconvnet.models.tiny import INPUT_SIZE, MEAN, STD, TRAINING_SEED, WEIGHTS, Tiny, tiny


@pytest.fixture(scope="module")
def model():
    return tiny()


def test_fresh_drawings(model):
    """At least 93 % of 280 new drawings are classified correctly."""
    drawings = [draw(seed=seed, size=INPUT_SIZE) for seed in range(280)]
    pictures = np.stack([np.asarray(drawing.picture, dtype=np.float32) / 255 for drawing in drawings])
    image = torch.from_numpy((pictures - np.float32(MEAN)) / np.float32(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        predicted = model(image).argmax(1)
    right = (predicted == torch.tensor([drawing.label for drawing in drawings])).float().mean()
    assert right >= 0.93


def test_file_is_small_and_says_how_it_was_made():
    """The weights take at most 1 MB, and the file has the seed, the command, the epochs and the accuracy."""
    assert WEIGHTS.stat().st_size <= 1_000_000
    with safe_open(WEIGHTS, framework="pt") as file:
        facts = file.metadata()
    assert {"seed", "command", "epochs", "accuracy"} <= facts.keys()
    assert float(facts["accuracy"]) >= 0.95
    assert facts["accuracy"] in WEIGHTS.with_suffix(".md").read_text(encoding="utf-8")


def test_eval_mode_and_single_precision(model):
    """The loaded net is in eval mode and in float32."""
    assert not any(module.training for module in model.modules())
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}


def test_layers_have_zfnets_order(model):
    """Five conv layers; relu, pool and norm follow conv1 and conv2 in the paper's order; the names are AlexNet's."""
    kinds = [type(layer).__name__ for layer in model.features]
    first = ["Conv2d", "ReLU", "MaxPool2d", "LocalResponseNorm"]
    assert kinds == first + first + ["Conv2d", "ReLU"] * 3 + ["MaxPool2d"]
    assert model.get_submodule("features.0").kernel_size == (7, 7)
    assert model.classifier[-1].out_features == len(CLASSES)


def test_map_sizes(model):
    """The maps' sides are 46, 23, 11 and 5 pixels."""
    maps, sides = torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE), []
    with torch.no_grad():
        for layer in model.features:
            maps = layer(maps)
            sides.append(maps.shape[-1])
    assert sorted(set(sides), reverse=True) == [46, 23, 11, 5]


def test_filters_are_renormalised(model):
    """No conv filter's RMS exceeds 0.1 (Zeiler & Fergus 2014, 3), up to the rounding to float16."""
    for layer in model.features:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.square().mean(dim=(1, 2, 3)).sqrt().max() <= 0.1 + 1e-4


def test_training_repeats_to_the_bit():
    """The first steps of its training script give the same weights twice by the same seed, and others by another seed."""
    script = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "train_tiny.py"))
    drawn = [script["pixels_and_label"](TRAINING_SEED + number) for number in range(64)]
    pictures = torch.from_numpy(np.stack([pixels for pixels, _ in drawn])).permute(0, 3, 1, 2)
    labels = torch.tensor([label for _, label in drawn])

    def trained(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        model = Tiny().to(memory_format=torch.channels_last)
        nn.init.normal_(model.features[0].weight, std=script["FIRST_STD"])
        before = model.features[0].weight.detach().clone()
        assert list(script["train"](model, pictures, labels, 1, 64, int)) == [1]
        assert not torch.equal(model.features[0].weight, before)
        return model.state_dict()

    first, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_random_weights():
    """Without its weights the net is random, the same for the same seed."""
    torch.manual_seed(1)
    model = tiny(pretrained=False)
    torch.manual_seed(1)
    assert torch.equal(model.features[0].weight, tiny(pretrained=False).features[0].weight)
    assert not torch.equal(model.features[0].weight, tiny().features[0].weight)
    assert not model.training


def test_import_is_light():
    """Importing tiny imports neither torchvision nor matplotlib."""
    code = "import sys, deconvnet.models.tiny; print(sorted({'torchvision', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
