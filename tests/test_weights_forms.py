"""Weights as people have them: in the wrappings of training scripts, in shards, beside other things; and files that are none."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import io
import json
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import deconvnet
from deconvnet.errors import WeightsError, WeightsWarning
from deconvnet.models import pickles
from deconvnet.models.model import hash_tensors
from deconvnet.models.weights import count_classes, hash_file, load_checked, read_state

HINT = "Save model.state_dict() and give that file."


class Net(nn.Module):
    """A net with parameters, buffers and counters, in modules inside modules."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


def state_of(seed=0):
    torch.manual_seed(seed)
    state = Net().state_dict()
    return {name: torch.randn_like(value) if value.is_floating_point() else value + seed for name, value in state.items()}


STATE, OTHER = state_of(1), state_of(2)


def before(prefix, state=STATE):
    return {f"{prefix}{name}": value for name, value in state.items()}


def loaded(path):
    model = Net()
    load_checked(model, read_state(path, like=model), path, "Net")
    return model.state_dict()


def equal(state, expected=STATE):
    return state.keys() == expected.keys() and all(torch.equal(state[name], value) for name, value in expected.items())


def refused(call):
    with pytest.raises(WeightsError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


class Config:
    """A class of the training script's own, which is not here when the weights are read."""

    def __init__(self):
        self.lr, self.schedule = 0.1, [1, 2]


class Tags(dict):
    """A mapping with attributes, as Lightning and OmegaConf store settings."""


FORMS = {
    "a plain state dict": STATE,
    "DataParallel": before("module."),
    "torch.compile": before("_orig_mod."),
    "compiled DataParallel": before("_orig_mod.module."),
    "Lightning": {
        "epoch": 1,
        "pytorch-lightning_version": "2.6",
        "state_dict": before("model."),
        "hyper_parameters": {"lr": 0.1},
    },
    "Lightning in DataParallel": {"state_dict": before("module.model.")},
    "a backbone": before("backbone."),
    "a prefix of three parts": before("trainer.student.net."),
    "a segmentation framework": {"meta": {"epoch": 3}, "state_dict": before("backbone.")},
    **{
        f"under {key}": {key: STATE, "epoch": 3, "acc": 90.0}
        for key in ("net", "network", "params", "weight", "weights", "model_state", "model", "module", "ema", "generator")
    },
    "with an optimiser": {
        "model_state": STATE,
        "optimizer_state": {"state": {0: {"exp_avg": torch.zeros(9), "step": torch.ones(1)}}},
    },
    "EMA alone": {"state_dict_ema": before("module.")},
    "two levels down": {"checkpoint": {"net": {"params": STATE}}},
    "a Namespace beside it": {"model": STATE, "args": argparse.Namespace(lr=0.1, name="run")},
    "paths, logs and dates beside it": {
        "state_dict": STATE,
        "dir": pathlib.Path("runs"),
        "log": collections.defaultdict(list, {"loss": [1.0, 2.0]}),
        "best": np.float64(0.5),
        "when": dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc),
        "sizes": {1, 2},
    },
    "settings of the script's own class": {"model": STATE, "config": Config(), "tags": Tags(a=1)},
    "numbers of NumPy beside it": {"state_dict": STATE, "mean": np.arange(3.0)},
}


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_is_found_in_every_form(tmp_path, form, is_old):
    """Wherever a training script put it, under whatever prefix, and whatever stands beside it, the net gets its weights."""
    path = saved(tmp_path / "a.ckpt", FORMS[form], _use_new_zipfile_serialization=not is_old)
    assert equal(loaded(path))


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"model": net, "epoch": 1}, nn.DataParallel])
def test_a_whole_pickled_net_gives_its_weights(tmp_path, monkeypatch, wrap):
    """Of `torch.save(model)` the weights are taken; none of the net's own code is imported or run."""
    net = Net()
    net.load_state_dict(STATE)
    path = saved(tmp_path / "a.pth", wrap(net))
    monkeypatch.setattr(Net, "__init__", lambda self: pytest.fail("the net was made"))
    monkeypatch.setattr(Net, "__setstate__", lambda self, state: pytest.fail("its state was set"), raising=False)
    assert equal(read_state(path, like=list(STATE)))


def test_a_whole_pickled_net_of_the_old_format_is_refused(tmp_path):
    """The format before torch 1.6 stores a net's source with it: that is not read."""
    path = saved(tmp_path / "a.pth", Net(), _use_new_zipfile_serialization=False)
    text = "it holds more than tensors, and running what it holds is not safe"
    assert refused(lambda: read_state(path)) == f"{str(path)!r} is refused: {text}. {HINT}"


def test_a_net_inside_a_wrapper_takes_bare_weights(tmp_path):
    """Where the net has a prefix that the file lacks, it is put before the names."""
    outer = nn.ModuleDict({"model": Net()})
    path = saved(tmp_path / "a.pth", {"state_dict": STATE})
    load_checked(outer, read_state(path, like=outer), path, "outer")
    assert equal(outer["model"].state_dict())


def test_of_two_that_fit_the_plain_one_is_taken(tmp_path):
    """Averaged weights are taken only where there are no others, and a note says so; two equals are not guessed at."""
    path = tmp_path / "a.pth"
    for content, taken, left in (
        ({"model": STATE, "model_ema": OTHER}, "model", "model_ema"),
        (
            {"state_dict": {**before("model."), **before("ema_model.module.", OTHER)}},
            "state_dict.model",
            "state_dict.ema_model.module",
        ),
    ):
        saved(path, content)
        with pytest.warns(WeightsWarning) as warned:
            assert equal(loaded(path))
        assert f"{str(path)!r}: {taken} taken, {left} left out." in [str(warning.message) for warning in warned]
    saved(path, {"student": STATE, "teacher": OTHER})
    assert refused(lambda: loaded(path)) == (
        f"{str(path)!r} fits the net by 'student' and by 'teacher'. Save the one that you mean by itself."
    )


def test_what_a_prefix_leaves_out_is_said(tmp_path):
    """Tensors outside the prefix that fits, such as a loss's, are left out with a note."""
    names = [f"loss.{number}" for number in range(5)]
    path = saved(tmp_path / "a.pth", {"state_dict": {**before("model."), **{name: torch.ones(1) for name in names}}})
    with pytest.warns(WeightsWarning) as warned:
        assert equal(loaded(path))
    text = f"{str(path)!r}: the names that begin with 'model.' were taken, not loss.0, loss.1, loss.2 and 2 more."
    assert [str(warning.message) for warning in warned] == [text]


def test_a_prefix_is_one_only_if_it_makes_half_the_names_fit(tmp_path):
    """A file for another net, of which a few names happen to fit behind a prefix, is refused with its own names."""
    path = saved(tmp_path / "a.pth", {"other.head.bias": torch.ones(2), "more.weight": torch.ones(3)})
    text = refused(lambda: loaded(path))
    assert text == (
        f"{str(path)!r} is not for Net: features.0.weight is missing; features.0.bias is missing;"
        " features.1.weight is missing, and 7 more."
    )


def test_without_a_net_only_torchs_wrappers_are_taken_off(tmp_path):
    """`read_state` by itself keeps the names, without "module." and "_orig_mod."."""
    assert read_state(saved(tmp_path / "a.pth", before("module._orig_mod."))).keys() == STATE.keys()
    assert read_state(saved(tmp_path / "b.pth", before("model."))).keys() == before("model.").keys()


# Shards and folders


def write_shards(folder, suffix="safetensors"):
    names = sorted(STATE)
    parts = {f"model-0000{number + 1}-of-00003.{suffix}": names[number::3] for number in range(3)}
    for file, part in parts.items():
        tensors = {name: STATE[name] for name in part}
        save_file(tensors, folder / file) if suffix == "safetensors" else torch.save(tensors, folder / file)
    stem = "model.safetensors" if suffix == "safetensors" else "pytorch_model.bin"
    index = folder / f"{stem}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": {name: file for file, part in parts.items() for name in part}}))
    return index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_joined(tmp_path, suffix):
    """An index of shards, or the folder with it, gives all tensors; the hash is of all files."""
    index = write_shards(tmp_path, suffix)
    assert equal(loaded(index))
    assert equal(loaded(tmp_path))
    first = hash_file(index)
    assert first == hash_file(tmp_path)
    shard = min(tmp_path.glob("model-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    assert hash_file(index) != first


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_hugging_face_is_read(tmp_path, name):
    """The folder of a downloaded net may be given in place of the file in it."""
    (tmp_path / "config.json").write_text("{}")
    path = tmp_path / name
    save_file(STATE, path) if name.endswith("safetensors") else torch.save(before("model."), path)
    assert equal(loaded(tmp_path))


def test_an_index_leads_nowhere_else(tmp_path):
    """Shards stand beside their index: other paths, missing files and broken indices are refused."""
    index = write_shards(tmp_path)
    content = json.loads(index.read_text())
    for name in ("../secret.bin", "/etc/passwd", "gone.safetensors", "..\\secret.bin"):
        index.write_text(json.dumps({"weight_map": {**content["weight_map"], "x": name}}))
        text = f"{str(index)!r} lists {name!r}, which is no file beside it. Get all of its files."
        assert refused(lambda: read_state(index)) == text
    for text, reason in (
        ("{", "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "TypeError: list indices must be integers or slices, not str"),
        ("{}", "KeyError: 'weight_map'"),
        ('{"weight_map": {"a": 3}}', "ValueError: it lists no files"),
    ):
        index.write_text(text)
        assert refused(lambda: read_state(index)) == f"{str(index)!r} is not an index of weights files ({reason})."
    (tmp_path / "empty").mkdir()
    names = "model.safetensors, model.safetensors.index.json, diffusion_pytorch_model.safetensors, open_clip_model.safetensors"
    assert refused(lambda: read_state(tmp_path / "empty")) == (
        f"no weights file in {str(tmp_path / 'empty')!r}. Looked for {names}, pytorch_model.bin, pytorch_model.bin.index.json."
    )


def test_content_decides_how_a_file_is_read(tmp_path):
    """safetensors called .pth, and a pickle called .safetensors, are read as what they are."""
    save_file(STATE, tmp_path / "a.pth")
    assert equal(loaded(tmp_path / "a.pth"))


# Files that hold none


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


NONE = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5000000\n",
            "a pointer of Git LFS, in place of the file itself (git lfs pull fetches it)"),
    "annex": (b"/annex/objects/SHA256E-s5--00.pth\n", "a pointer of git-annex, in place of the file itself (git annex get fetches it)"),
    "html": (b"<!DOCTYPE html><html>Sign in</html>", "a web page (HTML)"),
    "json": (b'{"error": "gone"}', "a JSON text"),
    "text": (b"404: Not Found", "a text"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes them"),
    "keras 3": (zipped("config.json", "model.weights.h5"), "a Keras model"),
    "torchscript": (zipped("net/constants.pkl", "net/data.pkl", "net/code/a.py"), "a TorchScript archive, whose calls cannot be seen"),
    "exported": (zipped("net/archive_format", "net/models/model.json"), "a program of torch.export (.pt2)"),
    "arrays": (zipped("a.npy"), "an archive of NumPy arrays (.npz)"),
    "array": (b"\x93NUMPY\1\0" + bytes(90), "a NumPy array (.npy)"),
    "zip": (zipped("readme"), "a ZIP archive"),
    "gzip": (b"\x1f\x8b" + bytes(90), "a gzip archive"),
    "gguf": (b"GGUF" + bytes(90), "a GGUF file of language models"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.4.0" + bytes(90), "an ONNX model"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
@pytest.mark.parametrize("kind", NONE)
def test_a_file_that_holds_no_weights_is_called_what_it_is(tmp_path, kind, suffix):
    """Pointers, web pages, other libraries' files and programs are named, whatever they are called."""
    content, what = NONE[kind]
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    text = f"{str(path)!r} is {what}, not a weights file of torch. Give a .safetensors or state-dict file."
    assert refused(lambda: read_state(path)) == text


# Strangers' pickles


class Runs:
    """Unpickling it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def touch(path):
    return {
        "os.system": Runs(os.system, f"touch {path}"),
        "eval": Runs(eval, f"open({str(path)!r}, 'w')"),
        "open": Runs(open, str(path), "w"),
        "pathlib": Runs(pathlib.Path.touch, path),
        "a function of a library": Runs(np.save, str(path), 0),
        "a file of numpy": Runs(np.memmap, str(path), "u1", "w+", 0, (9,)),
        "runpy": Runs(__import__("runpy").run_path, str(path)),
        "getattr": Runs(getattr, 3, "bit_length"),
    }


#: Functions of other packages are read as values, which do nothing; those of Python itself are refused.
INERT = ("a function of a library", "a file of numpy")


@pytest.mark.parametrize("is_old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("attack", list(touch("")))
def test_nothing_in_a_pickle_runs(tmp_path, monkeypatch, attack, is_old):
    """Whatever a pickle would call is refused, or read as an inert value; the weights beside it may still load."""
    target = tmp_path / "never"
    path = saved(
        tmp_path / "a.pth", {"state_dict": STATE, "x": touch(target)[attack]}, _use_new_zipfile_serialization=not is_old
    )
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it ran"))
    if attack in INERT:
        assert equal(loaded(path))
    else:
        assert "holds more than tensors" in refused(lambda: loaded(path))
    assert not target.exists()
    assert not any(name.startswith("never") for name in os.listdir(tmp_path))


def test_functions_of_python_are_refused_by_name(tmp_path):
    """The message names what the file would run."""
    path = saved(tmp_path / "a.pth", {"state_dict": STATE, "x": Runs(eval, "1")})
    text = "it holds more than tensors (builtins.eval), and running what it holds is not safe"
    assert refused(lambda: read_state(path)) == f"{str(path)!r} is refused: {text}. {HINT}"


def test_older_torch_does_not_read_pickles(tmp_path, monkeypatch):
    """Below torch 2.10 a pickle can get round weights_only: it is refused, and safetensors proposed, which still load."""
    path = saved(tmp_path / "a.pth", STATE)
    save_file(STATE, tmp_path / "a.safetensors")
    for version, is_safe in (("2.9.1+cu128", False), ("2.6.0", False), ("2.10.0", True), ("2.14.1+cu130", True)):
        monkeypatch.setattr(torch, "__version__", version)
        assert equal(loaded(tmp_path / "a.safetensors"))
        if is_safe:
            assert equal(loaded(path))
            continue
        assert refused(lambda: read_state(path)) == (
            f"{str(path)!r} is refused: torch {version} cannot read a pickle safely (CVE-2026-24747)."
            " Give a .safetensors file, or update torch to 2.10."
        )


def test_a_tensor_that_claims_more_than_its_file_has_builds_no_net(tmp_path):
    """2 KB that claim a classifier of two billion classes are refused, however they say it."""
    huge = torch.zeros(1).expand(2_000_000_000)
    path = saved(tmp_path / "a.pth", {"classifier.6.bias": huge, "classifier.6.weight": torch.zeros(1, 1)})
    assert path.stat().st_size < 3000
    text = f"{str(path)!r} is refused: classifier.6.bias claims 2,000,000,000 numbers, which the file does not have. {HINT}"
    for name in ("torchvision:alexnet", "zfnet"):
        assert refused(lambda name=name: deconvnet.load_model(name, weights=str(path))) == text


def test_classes_are_counted_by_a_weight_that_fits():
    """A classifier's rows are classes only if it reads what the net's classifier reads."""
    usual = {"fc.weight": torch.zeros(10, 4)}
    assert count_classes({"fc.weight": torch.zeros(7, 4)}, usual, "fc.weight") == 7
    assert count_classes({"fc.weight": torch.zeros(7, 5)}, usual, "fc.weight") is None
    assert count_classes({"fc.weight": torch.zeros(())}, usual, "fc.weight") is None
    assert count_classes({}, usual, "fc.weight") is None


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    """torch stores tensors as they are: an archive of packed zeros is refused before it fills the memory."""
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("a/data/0", bytes(pickles.CLAIMED_BYTES * 2))
    unpacked = sum(entry.file_size for entry in zipfile.ZipFile(path).infolist())
    assert refused(lambda: read_state(path)) == f"{str(path)!r} is refused: it unpacks to {unpacked:,} bytes. {HINT}"


def test_numbers_of_another_kind_are_not_cast(tmp_path):
    """int8, bool and complex weights for a float net are named; half and double precision are the same numbers."""
    for dtype, name in ((torch.int8, "int8"), (torch.bool, "bool"), (torch.complex64, "complex64")):
        path = saved(tmp_path / "a.pth", {**STATE, "head.bias": STATE["head.bias"].to(dtype)})
        assert (
            refused(lambda path=path: loaded(path)) == f"{str(path)!r} is not for Net: head.bias is {name}, the net's float32."
        )
    sparse = {**STATE, "head.weight": torch.zeros(2, 4).to_sparse()}
    path = saved(tmp_path / "a.pth", sparse)
    assert refused(lambda: loaded(path)) == f"{str(path)!r} is not for Net: head.weight is no plain tensor."
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        path = saved(tmp_path / "a.pth", {name: v.to(dtype) if v.is_floating_point() else v for name, v in STATE.items()})
        assert loaded(path).keys() == STATE.keys()


def test_state_that_is_no_tensor_is_left_as_it_is(tmp_path):
    """A module with `get_extra_state` is loaded without it; its hash is the same in every run, whatever that state is."""

    class Extra(Net):
        def get_extra_state(self):
            return {"step": object(), "seed": self.seed}

        def set_extra_state(self, state):
            pass

    path = saved(tmp_path / "a.pth", STATE)
    models = [Extra(), Extra(), Extra()]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        model.seed = seed
        load_checked(model, read_state(path, like=model), path, "Extra")
        assert torch.equal(model.head.bias, STATE["head.bias"])
    first, same, other = map(hash_tensors, models)
    assert first == same != other


def test_a_fine_tuned_net_is_found_in_its_wrapping(tmp_path):
    """The number of classes is counted in the state dict that was found, not in the file."""
    import torchvision

    state = torchvision.models.resnet18(weights=None, num_classes=7).state_dict()
    path = saved(tmp_path / "a.ckpt", {"state_dict": before("model.", state), "args": argparse.Namespace(a=1)})
    assert deconvnet.load_model("torchvision:resnet18", weights=path).model.fc.out_features == 7
