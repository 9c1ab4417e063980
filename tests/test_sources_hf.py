"""Vision models of Transformers, built from configurations and saved to folders: offline, with random weights."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import deconvnet
from deconvnet import load_model
from deconvnet.errors import MissingPackageError, UnknownModelError, WeightsError
from support.oracle import relative

transformers = pytest.importorskip("transformers", reason='no Transformers (pip install -e ".[hf]")')

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
TOKENS = {**SMALL, "image_size": 32, "patch_size": 8}
NAMES = {0: "tabby, tabby cat", 1: "boxer", 2: "lynx", 3: "fox"}
LABELS = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
STAGES = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}

#: the class, its configuration, a layer and how many channels of how many rows it has
MODELS = {
    "vit": ("ViTForImageClassification", "ViTConfig", {**TOKENS, **LABELS}, (32, 4)),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**SMALL, "image_size": 28, "patch_size": 14}, (32, 2)),
    "swin": (
        "SwinForImageClassification",
        "SwinConfig",
        {"image_size": 32, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        (32, 4),
    ),
    "segformer": (
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        {**STAGES, "num_attention_heads": [1, 1, 2, 2], "decoder_hidden_size": 16},
        (16, 8),
    ),
    "resnet": ("ResNetForImageClassification", "ResNetConfig", {**STAGES, "embedding_size": 8, "layer_type": "basic"}, (16, 8)),
    "convnext": ("ConvNextForImageClassification", "ConvNextConfig", STAGES, (16, 8)),
    "yolos": (
        "YolosForObjectDetection",
        "YolosConfig",
        {**SMALL, "image_size": [32, 32], "patch_size": 8, "num_detection_tokens": 5},
        None,
    ),
    "clip": ("CLIPModel", "CLIPConfig", {"vision_config": TOKENS, "text_config": SMALL}, (32, 4)),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with each model, as `save_pretrained` writes it."""
    root = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    for name, (kind, config, options, _) in MODELS.items():
        getattr(transformers, kind)(getattr(transformers, config)(**options)).save_pretrained(root / name)
    (root / "vit" / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "image_processor_type": "ViTImageProcessor",
                "size": {"height": 32, "width": 32},
                "do_resize": True,
                "do_normalize": True,
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "resample": 3,
                "image_mean": [0.4, 0.5, 0.6],
                "image_std": [0.2, 0.3, 0.4],
            }
        )
    )
    return root


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_is_loaded_and_projected(saved, name):
    """The same weights, in eval mode; some layer in its middle goes down to the pixels, one image of two alone."""
    loaded = load_model(f"hf:{saved / name}")
    assert not any(module.training for module in loaded.model.modules())
    assert loaded.weights.startswith("sha256:")
    net, images = deconvnet.DeconvNet(loaded), torch.randn(2, 3, *loaded.input_size[1:])
    recording = net.record(images)
    with torch.no_grad():
        expected, found = loaded.model(images), recording.output
    assert torch.allclose(expected[0], found[0], atol=1e-5)
    layers = [layer for layer in net.layers(loaded.input_size) if layer.height > 1]
    assert layers
    middle = layers[len(layers) // 2].name
    both, alone = net.record(images), net.record(images[1:])
    first, again = net.project(both, middle, top=2, image=1), net.project(alone, middle, top=2)
    assert first.pixels.abs().max() > 0
    assert relative(first.pixels, again.pixels) < 1e-4
    expected_size = MODELS[name][3]
    if expected_size is not None:
        assert expected_size in {(layer.channels, layer.height) for layer in layers} or name in (
            "segformer",
            "resnet",
            "convnext",
        )


def test_what_belongs_to_a_model(saved, tmp_path):
    """Class names up to their first comma, the classes of a picture, and the processor's size, mean and filter."""
    loaded = load_model(f"hf:{saved / 'vit'}")
    assert loaded.classes == ("tabby", "boxer", "lynx", "fox")
    assert loaded.preprocess.mean == (0.4, 0.5, 0.6)
    assert loaded.preprocess.interpolation == "bicubic"
    picture = Image.linear_gradient("L").convert("RGB").resize((90, 60))
    image = loaded.preprocess(picture)
    whole = torch.from_numpy(__import__("numpy").asarray(picture.resize((32, 32), Image.Resampling.BICUBIC)).copy())
    expected = (whole.permute(2, 0, 1) / 255 - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)  # fmt: skip
    assert torch.allclose(image, expected, atol=1e-6)
    net = deconvnet.DeconvNet(loaded)
    projection = net.project(net.record(picture, layers=["vit.layers.1.mlp"], stop=False), "vit.layers.1.mlp", top=2)
    assert projection.shown[0].top_classes[0][0] in loaded.classes
    assert load_model(f"hf:{saved / 'dinov2'}").classes == ()


def test_weights_of_a_file_and_random_ones(saved):
    """A file's tensors fit or are refused; random weights are the same each time."""
    name, file = f"hf:{saved / 'vit'}", saved / "vit" / "model.safetensors"
    loaded, random, again = load_model(name, weights=file), load_model(name, weights=None), load_model(name, weights=None)
    assert loaded.weights == load_model(name).weights
    assert random.weights == "random"
    first, second = (next(iter(each.model.parameters())) for each in (random, again))
    assert torch.equal(first, second)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model(image).logits, load_model(name).model(image).logits)
    with pytest.raises(WeightsError, match=r"model.safetensors' is not for hf:"):
        load_model(name, weights=saved / "resnet" / "model.safetensors")


def test_what_cannot_be_loaded_says_so(saved, tmp_path, monkeypatch):
    """No name, no such folder or repository, a pickle instead of safetensors, no package: one line each."""
    with pytest.raises(UnknownModelError, match="hf: needs a name"):
        load_model("hf:")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"hf:no/such-model could not be loaded .*\. Give the folder that it was saved to"):
        load_model("hf:no/such-model")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((saved / "vit" / "config.json").read_text())
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="holds no vision model"):
        load_model(f"hf:{pickled}")
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r'pip install -e ".\[hf\]"'):
        load_model("hf:google/vit-base-patch16-224")


def test_code_of_a_repository_is_not_run(saved, tmp_path):
    """A folder whose configuration names a file of code is refused, and the file is not read."""
    folder = tmp_path / "evil"
    folder.mkdir()
    config = {"model_type": "unheard_of", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(WeightsError, match="holds no vision model"):
        load_model(f"hf:{folder}")
    assert not (tmp_path / "ran").exists()
