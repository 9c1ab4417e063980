"""Models: where they come from, which weights they take, and the errors for files that do not fit."""

from __future__ import annotations

import hashlib
import os
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import deconvnet
from deconvnet.errors import OptionError, UnknownModelError, WeightsError
from deconvnet.images import Preprocess
from deconvnet.models.model import hash_tensors
from deconvnet.models.tiny import tiny
from deconvnet.models.weights import first_line, read_state
from deconvnet.models.zfnet import MAPS, ZFNet, renormalise_filters


def test_random_weights_are_seeded():
    """weights="none" gives the same random weights each time, and leaves the caller's random numbers alone."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    hashes = {hash_tensors(deconvnet.load_model("torchvision:squeezenet1_1", weights="none").model) for _ in range(2)}
    assert len(hashes) == 1
    assert torch.rand(1) == expected


@pytest.mark.parametrize("weights", [None, "none", "file"])
def test_weights_are_random_or_a_file(tmp_path, weights):
    """None and "none" are random weights; a file may be named by a path object."""
    tensors = tiny().state_dict()
    save_file(tensors, tmp_path / "w.safetensors")
    loaded = deconvnet.load_model("tiny", weights=tmp_path / "w.safetensors" if weights == "file" else weights)
    assert loaded.weights_from == (str(tmp_path / "w.safetensors") if weights == "file" else "none")
    assert (loaded.weights == "random") == (weights != "file")
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in tensors.items()) == (weights == "file")


def test_a_loaded_model_fits_on_a_line():
    """The name, the weights, the input size, the classes and the device say what was loaded; the module is not printed."""
    loaded = deconvnet.load_model("tiny", device="cpu")
    assert repr(loaded) == f"LoadedModel('tiny', weights sha256 {loaded.weights[7:15]}, 3x96x96, 18 classes, cpu)"
    assert repr(deconvnet.load_model("tiny", weights=None, device="cpu")).startswith("LoadedModel('tiny', random weights, ")
    assert repr(deconvnet.LoadedModel.from_module(nn.Conv2d(1, 2, 3))) == "LoadedModel('Conv2d', 1x224x224, cpu)"
    assert deconvnet.LoadedModel.from_module(nn.ReLU()).device == torch.device("cpu")
    assert deconvnet.LoadedModel.from_module(nn.Conv2d(1, 2, 3, device="meta")).device == torch.device("meta")


def test_zfnet_has_the_papers_sizes():
    """Maps of 110, 55, 26, 13, 13, 13, 6 pixels and 62,357,608 parameters (science: Zeiler & Fergus, fig. 3)."""
    net = deconvnet.DeconvNet(deconvnet.load_model("zfnet", weights="none"))
    assert sum(p.numel() for p in net.model.parameters()) == 62_357_608
    heights = {layer.name: layer.height for layer in net.layers()}
    assert [heights[f"features.{number}"] for number in (0, 2, 4, 6, 8, 10, 12, 14)] == [110, 55, 26, 13, 13, 13, 13, 6]
    assert next(layer for layer in net.layers() if layer.name == "features.12").receptive_field == (139, 139)


def test_wide_zfnet_has_the_papers_maps():
    """The wide variant has 512, 1024 and 512 maps in layers 3 to 5."""
    with torch.device("meta"):
        channels = [part.out_channels for part in ZFNet(maps=MAPS["wide"]).features if isinstance(part, nn.Conv2d)]
    assert channels == [96, 256, 512, 1024, 512]


def test_filters_are_renormalised():
    """Filters whose RMS exceeds 0.1 are scaled back to it, the others stay (paper, section 3)."""
    model = nn.Sequential(nn.Conv2d(3, 2, 5))
    with torch.no_grad():
        model[0].weight[0].fill_(0.05)
        model[0].weight[1].normal_()
    assert renormalise_filters(model) == 1
    rms = model[0].weight.square().mean((1, 2, 3)).sqrt()
    assert rms.tolist() == pytest.approx([0.05, 0.1])


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf"])
@pytest.mark.parametrize("size", [(500, 375), (97, 301), (224, 224)])
def test_preprocessing_is_torchvisions_own(name, size):
    """A picture becomes, bit for bit, the output of torchvision's own transform."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    ours = deconvnet.load_model(f"torchvision:{name}", weights="none").preprocess(picture)
    assert torch.equal(ours, weights.transforms()(picture))


def small_state():
    return torchvision.models.squeezenet1_1(weights=None).state_dict()


@pytest.mark.parametrize("wrap", ["plain", "safetensors", "state_dict", "module.", "both"])
def test_weights_files_of_many_forms(tmp_path, wrap):
    """State dicts load from .safetensors and pickles, also from inside "state_dict" and with the prefix "module."."""
    state = small_state()
    content = {f"module.{key}": value for key, value in state.items()} if wrap in ("module.", "both") else state
    path = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pth")
    if wrap == "safetensors":
        save_file(content, path)
    else:
        torch.save({"state_dict": content, "epoch": 3} if wrap in ("state_dict", "both") else content, path)
    loaded = deconvnet.load_model("torchvision:squeezenet1_1", weights=str(path))
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in state.items())
    assert loaded.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_fine_tuned_nets_have_their_own_number_of_classes(tmp_path):
    """A file with ten classes makes a net with ten, whose classes are numbered."""
    path = tmp_path / "ten.pth"
    torch.save(torchvision.models.resnet18(weights=None, num_classes=10).state_dict(), path)
    loaded = deconvnet.load_model("torchvision:resnet18", weights=str(path))
    assert loaded.model.fc.out_features == 10
    assert loaded.class_name(3) == "class 3"


def refused(call, kind=WeightsError):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


def test_weights_that_do_not_fit(tmp_path):
    """A file for another net names the first names and sizes that do not fit."""
    path = tmp_path / "other.pth"
    state = small_state()
    state["features.0.weight"] = torch.zeros(64, 3, 5, 5)
    state["extra"] = state.pop("features.3.squeeze.weight")
    torch.save(state, path)
    text = refused(lambda: deconvnet.load_model("torchvision:squeezenet1_1", weights=str(path)))
    faults = "features.3.squeeze.weight is missing; extra is not in the net; features.0.weight is 64x3x5x5, the net's 64x3x3x3"
    assert text == f"{str(path)!r} is not for torchvision:squeezenet1_1: {faults}."


class _Evil:
    def __reduce__(self):
        return os.system, ("touch never",)


def test_pickles_are_never_run(tmp_path, monkeypatch):
    """A pickle that holds more than tensors is refused, and nothing in it runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": _Evil()}, path)
    text = refused(lambda: read_state(path))
    reason = "it holds more than tensors (posix.system), and running what it holds is not safe"
    assert text == f"{str(path)!r} is refused: {reason}. Save model.state_dict() and give that file."
    assert not (tmp_path / "never").exists()


def test_weights_files_that_cannot_be_read(tmp_path):
    """Missing and damaged files, and files of something else, each get one line."""
    missing = tmp_path / "none.pth"
    assert refused(lambda: read_state(missing)) == (
        f"no weights file at {str(missing)!r}. Give DEFAULT, none, or a .safetensors or state-dict file."
    )
    list_file = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], list_file)
    hint = "Save model.state_dict() and give that file."
    assert refused(lambda: read_state(list_file)) == f"{str(list_file)!r} holds no state dict: names and tensors. {hint}"
    junk = tmp_path / "junk.pth"
    junk.write_bytes(b"not weights at all")
    what = "Give a .safetensors or state-dict file."
    assert refused(lambda: read_state(junk)) == f"{str(junk)!r} is a text, not a weights file of torch. {what}"
    assert refused(lambda: deconvnet.load_model(weights="")) == "weights cannot be empty. Give DEFAULT, none, or a file."


@pytest.mark.parametrize("name", ["junk.safetensors", "empty.safetensors", "empty.pth", "cut.pth"])
def test_damaged_weights_files_give_the_readers_reason(tmp_path, name):
    """A file that its reader rejects gets one line with the first line of the reader's reason."""
    path = tmp_path / name
    torch.save({"weight": torch.zeros(999)}, path)
    path.write_bytes({"junk": b"\x00not weights", "empty": b"", "cut": path.read_bytes()[:-99]}[path.stem])
    read, kind = (load_file, "safetensors") if path.suffix == ".safetensors" else (torch.load, "weights")
    with pytest.raises(Exception) as reason:  # noqa: PT011
        read(path)
    assert refused(lambda: read_state(path)) == f"{str(path)!r} is not a readable {kind} file ({first_line(reason.value)})."


MODELS = {
    "tinny": "'tinny' is not a model. Did you mean 'tiny'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    "alexnet": "'alexnet' is not a model. Did you mean 'torchvision:alexnet'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    "tim:resnet18": "'tim:resnet18' is not a model. Did you mean 'timm:resnet18'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    "tinny:2": "'tinny:2' is not a model. Did you mean 'tiny'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION.",
    "tiny:2": "'tiny:2' is not a model. Did you mean 'tiny'?",
    "zfnet:huge": "'zfnet:huge' is not a model. Models: zfnet, zfnet:wide.",
    "torchvision:alexnett": (
        f"'torchvision:alexnett' is not a model of torchvision {torchvision.__version__}. Did you mean 'torchvision:alexnet'?"
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_unknown_models_have_hints(name):
    """A wrong name gets one line with close matches."""
    assert refused(lambda: deconvnet.load_model(name), UnknownModelError) == MODELS[name]


def test_zfnet_needs_weights():
    """The paper's net has no published weights, and the error says so."""
    text = refused(lambda: deconvnet.load_model("zfnet"))
    assert text == "zfnet has no weights of its own. Give --weights FILE, or --weights none for random ones."


def test_a_download_that_fails_says_where_to_put_the_file(monkeypatch, tmp_path):
    """Offline, one line names the file's address, where to put it, and what works without a download."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    text = refused(lambda: deconvnet.load_model("torchvision:squeezenet1_1"))
    weights = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT
    place = f"{tmp_path}/hub/checkpoints/{weights.url.rsplit('/', 1)[-1]}"
    assert text == (
        f"the weights of torchvision:squeezenet1_1 could not be downloaded (no network). Put {weights.url} at {place!r}, "
        "give --weights FILE, or take --model tiny, which needs no download."
    )


def test_a_damaged_download_says_which_file_to_delete(monkeypatch, tmp_path):
    """Where torch finds another hash than the file's name says, one line names the file."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def damaged(*_, **__):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr("torchvision.models.get_model", damaged)
    text = refused(lambda: deconvnet.load_model("torchvision:squeezenet1_1"))
    name = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.url.rsplit("/", 1)[-1]
    path = f"{tmp_path}/hub/checkpoints/{name}"
    assert text == f"the weights at {path!r} are damaged (invalid hash value). Delete that file and try again."


def test_devices_that_are_not_available():
    """A device that torch does not see, and one that does not exist, get one line."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    text = refused(lambda: deconvnet.load_model("tiny", device="cuda"), OptionError)
    assert text == "device 'cuda' is not available: torch sees cpu. Give one of these, or auto."
    text = refused(lambda: deconvnet.load_model("tiny", device="gpu"), OptionError)
    assert text == "device cannot be 'gpu': it is one of auto, cpu, cuda, mps. Did you mean 'cpu'?"


def test_wrapped_models_are_unwrapped():
    """The module inside DataParallel and compiled models is used."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert deconvnet.DeconvNet(nn.DataParallel(model)).model is model
    assert deconvnet.DeconvNet(torch.compile(model)).model is model


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_scripted_models_are_refused():
    """A scripted model, whose calls cannot be seen, and an object that is no module are refused."""
    script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3)))
    text = refused(lambda: deconvnet.DeconvNet(script), UnknownModelError)
    assert text == "the model is scripted: its calls cannot be seen. Give the Python model that was scripted."
    text = refused(lambda: deconvnet.DeconvNet(len), UnknownModelError)
    assert text == "a model must be an nn.Module, found builtin_function_or_method. Give load_model's result or a module."


def test_the_hash_of_a_plain_module_follows_its_weights():
    """A module without a file is identified by a hash of its tensors, which changes with them."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(3, 4, 3), Preprocess(32, 32, (0.5,) * 3, (0.5,) * 3))
    first = loaded.weights_hash()
    assert first == loaded.weights_hash()
    assert first.startswith("tensors-sha256:")
    nn.init.zeros_(loaded.model.weight)
    assert loaded.weights_hash() != first
    assert loaded.input_size == (3, 32, 32)


def test_top_classes_of_a_classifier():
    """(N, K) scores become probabilities; outputs that sum to one are probabilities already; maps have no classes."""
    loaded = deconvnet.LoadedModel.from_module(nn.Identity())
    scores = torch.tensor([[0.0, 2.0, 1.0]])
    shares = scores.double().softmax(1)[0]
    assert loaded.top_classes(scores, 0, 2) == (
        ("class 1", pytest.approx(float(shares[1]))),
        ("class 2", pytest.approx(float(shares[2]))),
    )
    assert loaded.top_classes(torch.tensor([[0.25, 0.75]]), 0, 1) == (("class 1", 0.75),)
    assert loaded.top_classes(torch.zeros(1, 3, 4, 4), 0) == ()


def test_real_weights_recognise_real_photographs(shared):
    """The real SqueezeNet classifies at least half of fifty photographs correctly (its published top-1 is 58 to 61 %)."""
    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights/squeezenet1_0.safetensors"))
    net = deconvnet.DeconvNet(loaded)
    paths = sorted((shared / "images/imagenet-sample").glob("*.jpg"))[::10]
    recording = net.record(paths)
    names = [loaded.top_classes(recording.output, number, 1)[0][0] for number in range(len(paths))]
    right = sum(path.stem.split("_", 1)[1].replace("_", " ") == name for path, name in zip(paths, names, strict=True))
    assert right >= len(paths) // 2
