"""Models from timm, pytorchcv and the user's own files, and other preprocessing: offline, with random weights."""

from __future__ import annotations

import hashlib
import re
import sys
from types import ModuleType

import click
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import deconvnet
from deconvnet import cli
from deconvnet.errors import MissingPackageError, OptionError, PictureError, WeightsError
from deconvnet.images import Preprocess
from deconvnet.models import FORMS, SOURCES, load_model
from deconvnet.models.model import hash_tensors
from support.errors import refused

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="timm is not installed: pip install -e '.[timm]'")


@pytest.fixture
def store():
    """The part of pytorchcv that fetches weights."""
    name = "pytorchcv.models.common.model_store"
    return pytest.importorskip(name, reason="pytorchcv is not installed: pip install -e '.[pytorchcv]'")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a Python file, net.py unless named, into the working folder."""
    monkeypatch.chdir(tmp_path)

    def call(text, name="net.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"import torch\nfrom torch import nn\n{text}\n")
        return path

    return call


def noise(width, height):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_every_source_is_named_where_models_are_listed():
    """The error text and the command's help name each source."""
    from deconvnet.cli.options import MODEL_HELP

    for text in (FORMS, MODEL_HELP):
        assert {word.partition(":")[0] for word in re.findall(r"[\w:.]+", text)} >= set(SOURCES)


@pytest.mark.parametrize(("package", "name"), [("timm", "timm:resnet18"), ("pytorchcv", "pytorchcv:zfnet")])
def test_a_missing_package_is_named_with_its_install_line(monkeypatch, package, name):
    """Without the package, one line says how to install it."""
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    text = refused(lambda: load_model(name, weights="none"), MissingPackageError)
    reason = f"import of {package} halted; None in sys.modules"
    assert text == f'{name} needs {package}, which cannot be imported ({reason}). In a checkout: pip install -e ".[{package}]"'


# --- timm -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(500, 375), (97, 301), (224, 224), (61, 1)])
@pytest.mark.parametrize("name", ["resnet18", "resnet18.tv_in1k", "tf_efficientnet_b0", "resnet10t"])
def test_timms_preprocessing_is_timms_own(timm, name, size):
    """A picture becomes, bit for bit, what timm's evaluation transform makes of it: sizes, crop, filter, mean and std."""
    loaded = load_model(f"timm:{name}", weights="none")
    config = timm.data.resolve_model_data_config(loaded.model)
    assert type(loaded.preprocess) is Preprocess
    assert torch.equal(loaded.preprocess(noise(*size)), timm.data.create_transform(**config, is_training=False)(noise(*size)))


CONFIGS = {
    "squash": {"crop_mode": "squash", "crop_pct": 1.0},
    "squash and crop": {"crop_mode": "squash", "crop_pct": 0.9},
    "border": {"crop_mode": "border"},
    "padded": {"crop_pct": 1.15},
    "not square": {"input_size": (3, 40, 64)},
    "squash, not square": {"input_size": (3, 40, 64), "crop_mode": "squash"},
    "nearest": {"interpolation": "nearest"},
}


@pytest.mark.parametrize("size", [(50, 37), (37, 301)])
@pytest.mark.parametrize("case", CONFIGS)
def test_other_crop_modes_of_timm(timm, case, size):
    """Squashed, bordered, padded and oblong frames too are timm's bit for bit, and can be undone to the pixels seen."""
    from deconvnet.models.from_timm import _preprocess

    config = {"input_size": (3, 48, 48), "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}
    config |= {"mean": IMAGENET[0], "std": IMAGENET[1], **CONFIGS[case]}
    ours = _preprocess(timm, config)
    image = ours(noise(*size))
    assert torch.equal(image, timm.data.create_transform(**config, is_training=False)(noise(*size)))
    assert np.array_equal(ours.denormalise(image), np.asarray(ours.crop_picture(noise(*size))))
    assert ours.crop_size == config["input_size"][1:] == image.shape[1:]


def test_timms_random_interpolation_is_bilinear(timm):
    """The filter that timm chooses at random in training is bilinear here."""
    from deconvnet.models.from_timm import _preprocess

    config = {"input_size": (3, 48, 48), "interpolation": "random", "crop_pct": 0.9, "crop_mode": "center"}
    changed = _preprocess(timm, {**config, "mean": IMAGENET[0], "std": IMAGENET[1]})
    assert changed == Preprocess(53, (48, 48), *IMAGENET, "bilinear")


def test_a_long_picture_is_refused_before_it_fills_the_memory(timm):
    """timm's own steps are guarded as our preprocessing is."""
    from deconvnet.models.from_timm import _preprocess

    config = {"input_size": (3, 200, 300), "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "center"}
    ours = _preprocess(timm, {**config, "mean": IMAGENET[0], "std": IMAGENET[1]})
    text = refused(lambda: ours.crop_picture(Image.new("RGB", (2000, 1))), PictureError)
    assert text == "a picture of 1 x 2000 pixels is too long to resize to 300. Crop it first."


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_timms_nets_record_and_project(timm, name, picture):
    """A timm net with seeded random weights projects a picture; its classes have ImageNet's names."""
    loaded = load_model(f"timm:{name}", weights="none")
    assert (loaded.name, loaded.weights, loaded.model.training) == (f"timm:{name}", "random", False)
    assert loaded.input_size == loaded.model.pretrained_cfg["input_size"]
    assert loaded.classes[:2] == ("tench", "goldfish")
    assert len(loaded.classes) == 1000
    net = deconvnet.DeconvNet(loaded)
    projection = net.project(net.record([picture]), top=2)
    assert projection.pixels.abs().sum() > 0
    assert hash_tensors(load_model(f"timm:{name}", weights="none").model) == hash_tensors(loaded.model)


def test_timms_names_have_hints(timm):
    """A bad net and a bad set of weights each get one line with close matches."""
    where = f"is not a model of timm {timm.__version__}."
    assert refused(lambda: load_model("timm:resnet1888")).startswith(f"'timm:resnet1888' {where} Did you mean 'timm:resnet18'")
    text = refused(lambda: load_model("timm:resnet18.tv_in2k"))
    assert text.startswith(f"'timm:resnet18.tv_in2k' {where} Did you mean 'timm:resnet18.tv_in1k'")
    assert refused(lambda: load_model("timm:")) == f"'timm:' {where}"
    assert refused(lambda: load_model("timm:hf-hub:a/b")) == f"'timm:hf-hub:a/b' {where}"


def timm_state(timm, **options):
    return timm.create_model("resnet10t", **options).state_dict()


@pytest.mark.parametrize("classes", [1000, 7])
def test_timms_weights_from_a_file(timm, tmp_path, classes):
    """The net gets as many classes as the file has; only ImageNet's thousand classes have names."""
    path = tmp_path / "w.safetensors"
    save_file(state := timm_state(timm, num_classes=classes), path)
    loaded = load_model("timm:resnet10t", weights=str(path))
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in state.items())
    assert loaded.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert loaded.class_name(1) == ("goldfish" if classes == 1000 else "class 1")


def test_timms_weights_as_first_published(timm, tmp_path):
    """The names of ConvNeXt's tensors in their first publication are renamed as timm does."""
    model = timm.create_model("convnext_atto")
    theirs = {}
    for key, value in model.state_dict().items():
        for ours, first in (("stem.", "downsample_layers.0."), ("head.norm.", "norm."), ("head.fc.", "head.")):
            key = key.replace(ours, first) if key.startswith(ours) else key
        key = re.sub(r"stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", key)
        key = re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", key)
        for ours, first in (("conv_dw", "dwconv"), ("mlp.fc1", "pwconv1"), ("mlp.fc2", "pwconv2")):
            key = key.replace(ours, first)
        theirs[key] = value
    torch.save(theirs, tmp_path / "w.pth")
    loaded = load_model("timm:convnext_atto", weights=str(tmp_path / "w.pth"))
    assert hash_tensors(loaded.model) == hash_tensors(model)


def test_timms_weights_that_do_not_fit(timm, tmp_path):
    """A file for another net names what does not fit, also where timm's own renaming fails."""
    path = tmp_path / "w.pth"
    torch.save({"stem.weight": torch.zeros(2)}, path)
    for name in ("resnet10t", "convnext_atto", "resnet18"):
        text = refused(lambda name=name: load_model(f"timm:{name}", weights=str(path)), WeightsError)
        assert text.startswith(f"{str(path)!r} is not for timm:{name}: ")


def test_timms_download(timm, monkeypatch, tmp_path):
    """DEFAULT loads the file that timm downloads."""
    path = tmp_path / "model.safetensors"
    save_file(timm_state(timm), path)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", lambda *_, **__: str(path))
    loaded = load_model("timm:resnet10t")
    expected = timm.create_model("resnet10t", checkpoint_path=str(path))
    assert hash_tensors(loaded.model) == hash_tensors(expected) == loaded.weights_hash()


def test_timms_download_that_fails(timm, monkeypatch):
    """Offline, one line names the file, where it is published, and what works without a download."""

    def offline(*_, **__):
        raise ConnectionError("no network\nlong explanations")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", offline)
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_url", offline)
    text = refused(lambda: load_model("timm:resnet18.a1_in1k"), WeightsError)
    assert text == (
        "the weights of timm:resnet18.a1_in1k could not be loaded (no network). Get model.safetensors from "
        "https://huggingface.co/timm/resnet18.a1_in1k and give it by --weights FILE, "
        "or take --model tiny, which needs no download."
    )
    bare = timm.models.get_pretrained_cfg("resnet18.a1_in1k")
    bare.hf_hub_id = None
    monkeypatch.setattr("timm.models.get_pretrained_cfg", lambda _: bare)
    text = refused(lambda: load_model("timm:resnet18.a1_in1k"), WeightsError)
    assert f"(no network). Get {bare.url} and give it by --weights FILE, or take --model tiny" in text


def test_timms_nets_without_published_weights(timm):
    """A net without published weights is refused in one line."""
    name = next(name for name in timm.list_models("*net*") if not timm.models.is_model_pretrained(name))
    text = refused(lambda: load_model(f"timm:{name}"), WeightsError)
    assert text == f"timm has no weights for {name}. Give --weights FILE, or --weights none for random ones."


# --- pytorchcv ------------------------------------------------------------------------------------------------------


def test_pytorchcvs_zfnet_records_and_projects(store, picture):
    """pytorchcv's ZFNet has the paper's sizes, and projects from conv5, whose windows are 139 pixels wide."""
    loaded = load_model("pytorchcv:zfnet", weights="none")
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == 62_357_608
    assert loaded.preprocess == Preprocess(256, (224, 224), *IMAGENET)
    assert (loaded.input_size, loaded.weights, loaded.classes[1]) == ((3, 224, 224), "random", "goldfish")
    net = deconvnet.DeconvNet(loaded)
    projection = net.project(net.record([picture]), top=2)
    assert projection.layer == "features.stage3.unit3"
    assert projection.windows[0].height == 139
    assert projection.pixels.abs().sum() > 0


SIZES = {
    "efficientnet_b1": Preprocess(273, (240, 240), *IMAGENET),  # tested with 0.882 of the short side
    "inceptionv3": Preprocess(342, (299, 299), *IMAGENET),
    "nin_cifar10": Preprocess(32, 32, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "resnet18_cub": Preprocess(256, (224, 224), *IMAGENET),
}


@pytest.mark.parametrize("name", SIZES)
def test_pytorchcvs_sizes(store, name):
    """Each net gets its own size, short side and normalisation; only ImageNet's thousand classes have names."""
    loaded = load_model(f"pytorchcv:{name}", weights="none")
    assert loaded.preprocess == SIZES[name]
    assert loaded.input_size == (3, *SIZES[name].crop_size)
    assert len(loaded.classes) == (0 if "_c" in name else 1000)


def test_pytorchcvs_names_have_hints(store):
    """A wrong name gets close matches; a net that does not take pictures is refused."""
    text = refused(lambda: load_model("pytorchcv:zfnett"))
    assert (
        text
        == "'pytorchcv:zfnett' is not a model of pytorchcv. Did you mean 'pytorchcv:zfnet' or 'pytorchcv:zfnetb' or 'pytorchcv:pfpcnet'?"
    )
    text = refused(lambda: load_model("pytorchcv:raft_things", weights="none"))
    assert text == "pytorchcv:raft_things cannot be used: it does not take a picture. Choose a net that classifies pictures."


def test_pytorchcvs_nets_may_need_packages(store, monkeypatch):
    """If a net needs another package that is missing, the error names it."""
    package = ModuleType("librosa")
    package.__path__ = []
    monkeypatch.setitem(sys.modules, "librosa", package)
    monkeypatch.setitem(sys.modules, "librosa.filters", None)
    text = refused(lambda: load_model("pytorchcv:jasper5x3", weights="none"))
    assert text == "pytorchcv:jasper5x3 cannot be built (import of librosa.filters halted; None in sys.modules)."


def pytorchcv_state(**options):
    from pytorchcv.model_provider import get_model

    return get_model("resnet10", **options).state_dict()


@pytest.mark.parametrize("classes", [1000, 7])
def test_pytorchcvs_weights_from_a_file(store, tmp_path, classes):
    """The net gets as many classes as the file has, and all other names must fit."""
    path = tmp_path / "w.safetensors"
    save_file(state := pytorchcv_state(num_classes=classes), path)
    loaded = load_model("pytorchcv:resnet10", weights=str(path))
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in state.items())
    assert loaded.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert loaded.class_name(1) == ("goldfish" if classes == 1000 else "class 1")
    save_file({**state, "more": torch.zeros(1)}, path)
    text = refused(lambda: load_model("pytorchcv:resnet10", weights=str(path)), WeightsError)
    assert text == f"{str(path)!r} is not for pytorchcv:resnet10: more is not in the net."


def test_pytorchcvs_download(store, monkeypatch, tmp_path, capsys):
    """DEFAULT reads the file that pytorchcv downloads, without running its pickle; progress goes to stderr."""
    path = tmp_path / "resnet10.pth"
    torch.save({**(state := pytorchcv_state()), "left over": torch.zeros(1)}, path)

    def fetch(name):
        print(f"Downloading {name}...")
        return str(path)

    monkeypatch.setattr(store, "get_model_file", fetch)
    loaded = load_model("pytorchcv:resnet10")
    assert all(torch.equal(loaded.model.state_dict()[key], value) for key, value in state.items())
    assert loaded.weights == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert capsys.readouterr() == ("", "Downloading resnet10...\n")


def test_pytorchcvs_download_that_fails(store, monkeypatch, tmp_path):
    """Offline, one line names the archive and where its file belongs; once there, the file is read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))

    def offline(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(store, "_download", offline)
    text = refused(lambda: load_model("pytorchcv:zfnet"), WeightsError)
    error_value, checksum, release = store.get_model_name_suffix_data("zfnet")
    file = f"zfnet-{error_value}-{checksum[:8]}.pth"
    place = tmp_path / ".torch" / "models" / file
    assert text == (
        "the weights of pytorchcv:zfnet could not be downloaded (no network). "
        f"Unzip https://github.com/osmr/imgclsmob/releases/download/{release}/{file}.zip to {str(place)!r}, "
        "give --weights FILE, or take --model tiny, which needs no download."
    )
    place.write_bytes(b"not weights at all")
    monkeypatch.setattr(store, "_check_sha1", lambda *_: True)
    assert str(place) in refused(lambda: load_model("pytorchcv:zfnet"), WeightsError)


def test_pytorchcvs_nets_without_published_weights(store):
    """A net without published weights is refused in one line."""
    from pytorchcv.model_provider import _models

    name = next(name for name in _models if name not in store.get_model_metainfo_dict())
    text = refused(lambda: load_model(f"pytorchcv:{name}"), WeightsError)
    assert text == f"pytorchcv has no weights for {name}. Give --weights FILE, or --weights none for random ones."


# --- the user's own file --------------------------------------------------------------------------------------------

NET = "def make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU())"


def test_a_net_from_a_file(write):
    """The function's net is in eval mode, has the name that was asked for and no preprocessing, and is seeded."""
    write(NET)
    loaded, again = load_model("file:net.py:make"), load_model("file:net.py:make")
    assert (loaded.name, loaded.preprocess, loaded.input_size) == ("file:net.py:make", None, (3, 224, 224))
    assert not loaded.model.training
    assert loaded.weights_hash() == again.weights_hash()
    assert loaded.weights_hash().startswith("tensors-sha256:")
    assert not list(write("", "other.py").parent.rglob("*.pyc"))


def test_a_class_and_an_absolute_path(write):
    """A class without arguments works like a function, dataclasses work in the file, and paths may be absolute."""
    text = "from __future__ import annotations\nimport dataclasses\nfrom torch import nn\n"
    text += "@dataclasses.dataclass\nclass Sizes:\n    maps: int = 7\n"
    text += "class Net(nn.Sequential):\n    def __init__(self):\n        super().__init__(nn.Conv2d(1, Sizes().maps, 3))"
    path = write("")
    path.write_text(text)
    loaded = load_model(f"file:{path}:Net")
    assert loaded.input_size == (1, 224, 224)
    assert loaded.model[0].out_channels == 7


def test_a_net_with_its_preprocessing(write):
    """A pair has the preprocessing, ours or any function; a LoadedModel has everything."""
    write(
        "import deconvnet\nfrom deconvnet.images import Preprocess\n"
        "NET = nn.Sequential(nn.Conv2d(1, 4, 3))\n"
        "def ours(): return NET, Preprocess(40, 32, (0.4,), (0.2,))\n"
        "def any(): return NET, lambda picture: torch.zeros(1, 20, 20)\n"
        "def loaded(): return deconvnet.LoadedModel(NET, None, 'mine', 'sha256:1', ('cat',), (1, 9, 9))\n"
    )
    ours = load_model("file:net.py:ours")
    assert (ours.preprocess, ours.input_size) == (Preprocess(40, 32, (0.4,), (0.2,)), (1, 32, 32))
    assert load_model("file:net.py:any").preprocess(None).shape == (1, 20, 20)
    loaded = load_model("file:net.py:loaded")
    assert (loaded.name, loaded.weights, loaded.classes, loaded.input_size) == (
        "file:net.py:loaded",
        "sha256:1",
        ("cat",),
        (1, 9, 9),
    )


def test_weights_for_a_net_from_a_file(write, tmp_path):
    """A file's weights are loaded; "none" draws new ones, which are called random only if all could be drawn."""
    write(NET + "\ndef scaled():\n    net = make()\n    net[0].scale = nn.Parameter(torch.ones(1))\n    return net")
    state = {key: torch.ones_like(value) for key, value in load_model("file:net.py:make").model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    filled = load_model("file:net.py:make", weights="w.safetensors")
    assert all(torch.equal(filled.model.state_dict()[key], value) for key, value in state.items())
    assert filled.weights == f"sha256:{hashlib.sha256((tmp_path / 'w.safetensors').read_bytes()).hexdigest()}"
    assert load_model("file:net.py:make", weights="none").weights == "random"
    text = refused(lambda: load_model("file:net.py:scaled", weights="w.safetensors"), WeightsError)
    assert text == "'w.safetensors' is not for file:net.py:scaled: 0.scale is missing."


def test_none_draws_trained_weights_anew(write):
    """With "none", the function's weights are replaced; a model with others keeps a hash of its tensors."""
    text = "    for p in net.parameters(): nn.init.ones_(p)\n    return net"
    write(f"def make():\n    net = nn.Sequential(nn.Conv2d(3, 4, 3))\n{text}")
    trained, random, again = (load_model("file:net.py:make", weights=kind) for kind in ("DEFAULT", "none", "none"))
    assert bool((trained.model[0].weight == 1).all())
    assert not bool((random.model[0].weight == 1).any())
    assert (random.weights, hash_tensors(random.model)) == ("random", hash_tensors(again.model))
    write(
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.scale = nn.Parameter(torch.ones(1))"
    )
    assert load_model("file:net.py:Net", weights="none").weights_hash().startswith("tensors-sha256:")


def test_a_files_neighbours_can_be_imported(write, monkeypatch):
    """Modules beside the file can be imported in the file and in the function; afterwards sys.path is as before."""
    write("def conv():\n    return nn.Conv2d(3, 4, 3)", "nets/neighbour_one.py")
    write("def relu():\n    return nn.ReLU()", "nets/neighbour_two.py")
    text = "import neighbour_one\ndef make():\n    import neighbour_two\n    print('built')\n"
    write(text + "    return nn.Sequential(neighbour_one.conv(), neighbour_two.relu())\ndef fail(): 1 / 0", "nets/net.py")
    before = list(sys.path)
    try:
        assert len(load_model("file:nets/net.py:make").model) == 2
        refused(lambda: load_model("file:nets/net.py:fail"))
        assert sys.path == before
    finally:
        for name in ("neighbour_one", "neighbour_two"):
            sys.modules.pop(name, None)


BAD_FILE = """
def make(): return nn.Identity()
def fails():
    raise RuntimeError('out of luck\\nand more')
def stops(): raise SystemExit
def number(): return 3
def pair(): return nn.Identity(), 3
def scripted(): return torch.jit.script(nn.Conv2d(3, 4, 3))
net = nn.Identity()
"""
PLAIN = "Return a net, or a net and its preprocessing."
BAD = {
    "net.py": "'file:net.py' names no function. Write file:PATH.py:FUNCTION, as in file:net.py:make.",
    "C:\\nets\\net.py": "'file:C:\\\\nets\\\\net.py' names no function. Write file:PATH.py:FUNCTION, as in file:net.py:make.",
    "C:\\nets\\net.py:make": "'file:C:\\\\nets\\\\net.py:make' is not a model: there is no file 'C:\\\\nets\\\\net.py'. Check the path.",
    "no.py:make": "'file:no.py:make' is not a model: there is no file 'no.py'. Check the path.",
    "net.py:mak": "'net.py' has no function 'mak'. Did you mean 'make'?",
    "net.py:zzz": "'net.py' has no function 'zzz'. It has make, fails, stops, number, pair, scripted.",
    "empty.py:make": "'empty.py' has no function 'make'. It has no function at all.",
    "net.py:net": "'net' in 'net.py' is of type Identity, not a function. Write a function that returns a net.",
    "net.py:fails": "fails() in 'net.py' failed (line 6: RuntimeError: out of luck).",
    "net.py:stops": "stops() in 'net.py' failed (line 7: SystemExit).",
    "net.py:number": f"number() in 'net.py' returned an object of type int. {PLAIN}",
    "net.py:pair": f"pair() in 'net.py' returned an object of type tuple of Identity, int. {PLAIN}",
    "net.py:scripted": "scripted() in 'net.py': the model is scripted: its calls cannot be seen. Give the Python model that was scripted.",
    "syntax.py:make": "'syntax.py' could not be run (line 3: SyntaxError: '(' was never closed).",
    "raises.py:make": "'raises.py' could not be run (line 4: NameError: name 'nothing' is not defined).",
    "imports.py:make": "'imports.py' could not be run (line 3: ModuleNotFoundError: No module named 'not_there').",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_file_gets_one_line(write, name):
    """Each error is one line with the file, the line in it, and what to do; the traceback stays as the cause."""
    write(BAD_FILE)
    write("", "empty.py")
    write("make(", "syntax.py")
    write("def make(): return 1\nnothing", "raises.py")
    write("import not_there", "imports.py")
    assert refused(lambda: load_model(f"file:{name}")) == BAD[name]


def test_a_drive_letter_is_part_of_the_path(write):
    """The function's name is split off from the right, so that C: stays with the path."""
    write(NET, "C:net.py")
    assert load_model("file:C:net.py:make").name == "file:C:net.py:make"


def test_a_forgotten_source_is_suggested(write):
    """A path such as net.py:make, without `file:`, is not run, but suggested."""
    assert refused(lambda: load_model("net.py:make")) == (
        f"'net.py:make' is not a model. Did you mean 'file:net.py:make'? Models: {FORMS}."
    )


# --- another preprocessing -----------------------------------------------------------------------------------


def test_what_is_not_given_stays(tiny):
    """Mean, std and size each replace one part; the model is the same, and the original stays as it was."""
    assert tiny.with_preprocess().preprocess == tiny.preprocess
    changed = tiny.with_preprocess(mean=(0.1, 0.2, 0.3))
    assert changed.preprocess == Preprocess(96, 96, (0.1, 0.2, 0.3), tiny.preprocess.std)
    assert changed.model is tiny.model
    assert tiny.preprocess.mean == (0.5, 0.5, 0.5)
    changed = tiny.with_preprocess(std=[1, 1, 1], size=128)
    assert changed.preprocess == Preprocess(128, 128, tiny.preprocess.mean, (1.0, 1.0, 1.0))
    assert (changed.input_size, changed.name, changed.weights) == ((3, 128, 128), tiny.name, tiny.weights)


def test_the_filter_stays():
    """Another size keeps the source's interpolation."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(3, 1, 1), Preprocess(64, 32, *IMAGENET, "bicubic"))
    assert loaded.with_preprocess(size=40).preprocess == Preprocess(40, 40, *IMAGENET, "bicubic")


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_without_a_preprocessing_a_default_is_used(channels):
    """A plain module gets ImageNet's normalisation for 3 channels, 0.5 for others; arguments replace a part of it."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(channels, 4, 3))
    usual = IMAGENET if channels == 3 else ((0.5,) * channels, (0.5,) * channels)
    assert loaded.preprocess is None
    assert loaded.with_preprocess().preprocess == Preprocess(256, 224, *usual)
    assert loaded.with_preprocess(size=64).preprocess == Preprocess(64, 64, *usual)
    assert loaded.with_preprocess(mean=(0.25,) * channels).preprocess.mean == (0.25,) * channels


def test_one_channel_takes_one_number():
    """A net for grey pictures takes a single number each."""
    changed = deconvnet.LoadedModel.from_module(nn.Conv2d(1, 4, 3)).with_preprocess(mean=[0.1], std=[0.3], size=28)
    assert changed.preprocess == Preprocess(28, 28, (0.1,), (0.3,))
    assert changed.preprocess(noise(40, 30)).shape == (1, 28, 28)


def test_a_preprocessing_function_is_replaced_as_a_whole():
    """A preprocessing that is any function is only replaced by mean, std and size together."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(3, 4, 3), lambda picture: torch.zeros(3, 9, 9))
    assert loaded.with_preprocess() is loaded
    text = refused(lambda: loaded.with_preprocess(size=9), OptionError)
    assert text == "Conv2d has a preprocessing of its own kind. To replace it, give mean, std and size."
    changed = loaded.with_preprocess(mean=(0.1, 0.2, 0.3), std=(1, 1, 1), size=9)
    assert changed.preprocess == Preprocess(9, 9, (0.1, 0.2, 0.3), (1, 1, 1))


SCALE = "it is on the scale 0..1"
DIVIDE = "Divide numbers of 0..255 by 255."
BAD_NUMBERS = [
    ({"mean": (0.5,)}, "tiny takes a mean of 3 numbers, one for each channel; found 1: 0.5."),
    ({"std": (1, 1, 1, 2)}, "tiny takes a std of 3 numbers, one for each channel; found 4: 1,1,1,2."),
    ({"mean": (104, 117, 123)}, f"mean cannot be 104: {SCALE}. {DIVIDE}"),
    ({"mean": (0.1, float("nan"), 0)}, f"mean cannot be nan: {SCALE}. {DIVIDE}"),
    ({"std": (0.1, 0, 0.1)}, f"std cannot be 0: {SCALE}, above 0. {DIVIDE}"),
    ({"std": (57.0, 57.0, 57.0)}, f"std cannot be 57: {SCALE}, above 0. {DIVIDE}"),
    ({"size": 0}, "size cannot be 0: it is pixels, 1 or more."),
]


@pytest.mark.parametrize(("options", "text"), BAD_NUMBERS, ids=[str(options) for options, _ in BAD_NUMBERS])
def test_numbers_that_do_not_fit_get_one_line(tiny, options, text):
    """Too few or too many numbers, on the scale 0..255, or not above zero: one line each."""
    assert refused(lambda: tiny.with_preprocess(**options), OptionError) == text


def test_a_grey_net_refuses_three_numbers():
    """The error for a net with one channel asks for one number."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(1, 4, 3))
    text = refused(lambda: loaded.with_preprocess(mean=(0.5, 0.5, 0.5)), OptionError)
    assert text == "Conv2d takes a mean of one number, for its one channel; found 3: 0.5,0.5,0.5."


#: What the command says of `NET`, which has no pool.
NO_POOL = (
    "No max pool lies below 3: the deconvnet's projection would be the same for any picture, so it is made by guided"
    " backpropagation (Springenberg et al. 2015).\n"
)


def test_the_command_takes_mean_std_and_size(run, write, picture):
    """--mean, --std and --size reach the net: its picture is of that size, a sheet's name leaves a file's folder out."""
    write(NET, "nets/net.py")
    options = ["--mean", "0.1,0.2,0.3", "--std=.4,.5,.6", "--size", "40", "--top", "2", "--device", "cpu"]
    code, out, err = run("project", picture, "--model", "file:nets/net.py:make", *options)
    assert (code, out, err) == (0, "face-net.py-make-3-guided-soft.png\n", NO_POOL)
    code, out, _ = run("project", picture, "--model", "file:nets/net.py:make", *options, "--out", "a.npz")
    assert np.load("a.npz")["pixels"].shape == (2, 3, 40, 40)


def test_the_command_says_which_preprocessing_it_assumes(run, write, picture):
    """For a net without preprocessing, one line on stderr says what is assumed."""
    write(NET)
    code, _, err = run("project", picture, "--model", "file:net.py:make", "--top", "1", "--size", "32", "--device", "cpu")
    assert (code, err) == (
        0,
        "file:net.py:make has no preprocessing. Assumed: short side 32, centre 32, mean 0.485,0.456,0.406, "
        f"std 0.229,0.224,0.225. To change it: --size, --mean, --std.\n{NO_POOL}",
    )


def test_the_command_refuses_what_does_not_fit(run, picture, tmp_path, monkeypatch):
    """Numbers that do not fit the net exit 1 with one line; text that is not numbers exits 2."""
    monkeypatch.chdir(tmp_path)
    code, out, err = run("project", picture, "--mean", "0.5")
    assert (code, out) == (1, "")
    assert err == "OptionError: tiny takes a mean of 3 numbers, one for each channel; found 1: 0.5.\n"
    code, _, err = run("project", picture, "--std", "0.5,x")
    assert code == 2
    assert "'0.5,x' is not numbers such as 0.485,0.456,0.406." in err
    assert run("project", picture, "--size", "0")[0] == 2


def test_layers_of_a_net_from_a_file(run, write):
    """`deconvnet layers file:net.py:make` lists its layers."""
    write(NET)
    code, out, _ = run("layers", "file:net.py:make", "--size", "20")
    assert code == 0
    assert out.splitlines()[1].split() == ["0", "Conv2d", "4x18x18", "3x3", "1x1", "0", "0x0", "exact"]


def test_help_says_that_a_file_is_run():
    """The help of --model warns that a file and a module are run."""
    command = cli.deconvnet.get_command(None, "project")
    text = next(option.help for option in command.params if isinstance(option, click.Option) and option.name == "model")
    assert text.endswith("or module:PACKAGE.MODULE:FUNCTION or file:PATH.py:FUNCTION, which run that Python code.")
