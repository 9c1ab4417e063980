"""The user's own net: its package, its further inputs, what it raises and prints, and names that a terminal would obey."""

from __future__ import annotations

import copy
import csv
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvnet
from deconvnet.errors import ModelError, OptionError, PictureError
from deconvnet.images import OwnPreprocess, Preprocess
from deconvnet.models import RUN_CODE, load_model
from deconvnet.render.save import read_settings
from deconvnet.user_code import failing_in_a_line
from deconvnet.visible import visible
from support.errors import refused
from support.scans import drawing


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write Python files into the working folder; what they import is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def call(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield call
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


# Where a net may import from

NET = "from torch import nn\ndef make(): return nn.Sequential(block(), act())\n"
BLOCK = "from torch import nn\ndef block(): return nn.Conv2d(3, 4, 3)\n"
ACT = "from torch import nn\ndef act(): return nn.ReLU()\n"


@pytest.mark.parametrize("is_package", [True, False], ids=["__init__.py", "namespace"])
@pytest.mark.parametrize("form", ["relative", "absolute", "beside"])
def test_a_net_inside_a_repository_imports_its_neighbours(write, form, is_package):
    """A file in a package imports from it, by relative imports too, and from the working folder."""
    imports = {
        "relative": "from .blocks import block\nfrom ..top import act\nimport tools\n",
        "absolute": "from pkg.models.blocks import block\nfrom pkg.top import act\nimport tools\n",
        "beside": "from blocks import block\nfrom pkg.top import act\n",
    }
    write("pkg/models/net.py", imports[form] + NET)
    write("pkg/models/blocks.py", BLOCK)
    write("pkg/top.py", ACT)
    write("tools.py")
    if is_package:
        write("pkg/__init__.py")
        write("pkg/models/__init__.py")
    assert len(load_model("file:pkg/models/net.py:make").model) == 2
    if form != "beside":
        assert len(load_model("module:pkg.models.net:make").model) == 2


def test_a_net_imports_its_package_from_anywhere(write, monkeypatch, tmp_path):
    """The package is found from the file, whatever the working folder; a file without a package imports what is beside it."""
    write("repo/pkg/net.py", "from .blocks import block\nfrom pkg.top import act\n" + NET)
    for name, text in (("__init__", ""), ("blocks", BLOCK), ("top", ACT)):
        write(f"repo/pkg/{name}.py", text)
    write("alone/net.py", "from .blocks import block, act\n" + NET)
    write("alone/blocks.py", BLOCK + ACT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = list(sys.path)
    assert len(load_model(f"file:{tmp_path}/repo/pkg/net.py:make").model) == 2
    assert len(load_model(f"file:{tmp_path}/alone/net.py:make").model) == 2
    assert sys.path == before


def test_another_net_never_gets_this_ones_modules(write):
    """Two nets with modules of one name each get their own, and a file that has changed is read anew."""
    for folder, maps in (("one", 4), ("two", 7)):
        write(f"{folder}/net.py", "import parts\nfrom torch import nn\ndef make(): return nn.Conv2d(3, parts.MAPS, 3)\n")
        write(f"{folder}/parts.py", f"MAPS = {maps}\n")
    assert [load_model(f"file:{name}/net.py:make").model.out_channels for name in ("one", "two", "one")] == [4, 7, 4]
    write("two/parts.py", "MAPS = 12\n")
    assert load_model("file:two/net.py:make").model.out_channels == 12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("module:pkg", "'module:pkg' names no function. Write module:PACKAGE.MODULE:FUNCTION, as in module:nets.small:make."),
        ("module:a-b:make", "'module:a-b:make' names no function. Write module:PACKAGE.MODULE:FUNCTION, as in module:nets.small:make."),
        ("module:gone.net:make", "'gone.net' could not be run (ModuleNotFoundError: No module named 'gone')."),
        ("module:pkg.net:mak", "'pkg.net' has no function 'mak'. Did you mean 'make'?"),
        ("module:pkg.net:fails", "fails() in 'pkg.net' failed (parts.py, line 2: ZeroDivisionError: division by zero)."),
        ("file:pkg/net.py:fails", "fails() in 'pkg/net.py' failed (parts.py, line 2: ZeroDivisionError: division by zero)."),
        ("module:pkg.bad:make", "'pkg.bad' could not be run (bad.py, line 2: NameError: name 'nothing' is not defined)."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_module_gets_one_line(write, name, text):
    """Each error names the module, and the file and line that failed, wherever that is."""
    write("pkg/net.py", "from torch import nn\nfrom .parts import fails\ndef make(): return nn.Conv2d(3, 4, 3)\n")
    write("pkg/parts.py", "def fails():\n    1 / 0\n")
    write("pkg/bad.py", "x = 1\nnothing\n")
    assert refused(lambda: load_model(name)) == text


def test_modules_are_suggested_and_named_as_running_code(write):
    """A name with dots and a function is taken for a module; both sources that run code are told by name."""
    assert "Did you mean 'module:pkg.net:make'?" in refused(lambda: load_model("pkg.net:make"))
    assert RUN_CODE == ("module", "file")


# What it raises


class Fails(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 4, 3), error

    def forward(self, images):
        images = self.conv(images)
        raise self.error


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


LINE = Fails.forward.__code__.co_firstlineno + 2


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("stage5"), "KeyError: 'stage5'"),
        (RuntimeError("half-way.\nand more"), "RuntimeError: half-way"),
        (NotImplementedError(), "NotImplementedError"),
        (OSError(2, "no such file"), "FileNotFoundError: [Errno 2] no such file"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec can't decode byte 0x78 in position 0: bad"),
        (Odd(1, 2), "Odd: (1, 2)"),
        (torch.OutOfMemoryError("too much"), "OutOfMemoryError: too much"),
    ],
)  # fmt: skip
def test_what_forward_raises_names_the_users_line(error, text):
    """One line with the user's file and line, of a type that catches both as ours and as what was raised."""
    net = deconvnet.DeconvNet(Fails(error))
    with pytest.raises(ModelError) as caught:
        net.record(torch.rand(1, 3, 9, 9))
    assert str(caught.value).startswith("the forward pass of Fails failed in ")
    assert str(caught.value).endswith(f"{__file__.rpartition('/')[2]}, line {LINE} ({text}).")
    assert caught.value.__cause__ is error
    assert isinstance(caught.value, type(error)) or isinstance(error, (UnicodeDecodeError, Odd))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (ModelError, str(caught.value))


def test_another_kind_of_input_is_explained():
    """A net that indexes what it is given by a name or a number is told to be wrapped; our own errors pass as they are."""

    class Wants(nn.Module):
        def forward(self, batch):
            return batch["image"]

    net = deconvnet.DeconvNet(Wants())
    with pytest.raises(ModelError) as caught:
        net.record(torch.rand(1, 3, 9, 9))
    hint = "It was called with a batch of images; a net that takes another input needs a module that wraps it and takes images."
    assert str(caught.value).endswith(hint)
    with pytest.raises(PictureError, match=r"^plain$"), failing_in_a_line("this"):
        raise PictureError("plain")


def test_a_preprocessing_that_fails_names_the_users_line(picture):
    """So does a preprocessing, with what it was given."""

    def own(opened):
        return opened.nothing

    with pytest.raises(ModelError) as caught:
        OwnPreprocess(own, 3)(picture)
    line = own.__code__.co_firstlineno + 1
    text = "AttributeError: 'PngImageFile' object has no attribute 'nothing'"
    assert str(caught.value).endswith(f"line {line} ({text}). It was given a PIL picture of mode RGB.")


OWN = """
import numpy as np, torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, images):
        print("forward was here")
        return self.conv(images)
class Bad(Net):
    def forward(self, images):
        raise KeyError("stage5")
class Fixed(Net):
    def __init__(self):
        super().__init__(); self.out = nn.Linear(4 * 30 * 14, 2)
    def forward(self, images):
        return self.out(self.conv(images).flatten(1))
class Further(Net):
    def forward(self, images, meta, other=None):
        return self.conv(images) + meta.mean() * 0 + (0 if other is None else other.sum())
def own(): return Fixed(), lambda picture: torch.from_numpy(np.asarray(picture.resize((16, 32)), "float32").transpose(2, 0, 1) / 255)
def path(): return Fixed(), lambda path: 1 / 0
"""


def test_the_command_prints_one_line_and_the_rest_if_it_is_asked(run, write):
    """What forward raises is a line on stderr; --traceback prints Python's traceback before it."""
    write("net.py", OWN)
    code, out, err = run("layers", "file:net.py:Bad", "--size", "9")
    line = "ModelError: the forward pass of Bad failed in net.py, line 12 (KeyError: 'stage5')."
    assert (code, out, err) == (1, "", f"{line} --traceback shows more.\n")
    code, out, err = run("layers", "file:net.py:Bad", "--size", "9", "--traceback")
    assert (code, out) == (1, "")
    assert err.startswith("Traceback (most recent call last):")
    assert err.endswith(f"\n{line}\n")
    assert err.count("KeyError: 'stage5'") >= 2


def test_what_the_users_code_prints_is_no_result(run, write):
    """Text that forward prints goes to stderr: --json is JSON."""
    write("net.py", OWN)
    code, out, err = run("layers", "file:net.py:Net", "--size", "9", "--json")
    assert code == 0
    assert json.loads(out)[0]["name"] == "conv"
    assert "forward was here" in err


def test_what_forward_imports_is_found_by_the_command(run, write, monkeypatch):
    """A module that only forward imports is found beside the file while a command runs."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(
        "nets/net.py",
        OWN + "class Late(Net):\n    def forward(self, images):\n        import late\n        return late.call(self, images)\n",
    )
    write("nets/late.py", "def call(net, images): return net.conv(images)\n")
    code, out, err = run("layers", "file:nets/net.py:Late", "--size", "9")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[0] == "conv"


# Sizes


def test_layers_asks_a_preprocessing_of_ones_own_for_the_size(run, write):
    """A net that takes one size only is listed by what its preprocessing makes; --size takes height and width."""
    write("net.py", OWN)
    code, out, _ = run("layers", "file:net.py:own")
    assert code == 0
    assert out.splitlines()[1].split()[2] == "4x30x14"
    assert run("layers", "file:net.py:Fixed", "--size", "32x16")[0] == 0
    code, _, err = run("layers", "file:net.py:path")
    assert code == 1
    assert err.startswith("PictureError: file:net.py:path cannot take images of 3x224x224 (")
    for size in ("0", "x", "3x", "3x0", "2x3x4", "-5"):
        code, _, err = run("layers", "file:net.py:Net", f"--size={size}")
        assert code == 2
        text = f"{size!r} is not a number of pixels, 1 or more, or a height and a width such as 256x128."
        assert text in " ".join(err.split())


def test_a_size_of_height_and_width():
    """The short side is resized to the larger, and height x width cropped; a size that somebody gave is not asked for."""
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(3, 4, 3)).with_preprocess(size=(40, 24))
    assert (loaded.preprocess.resize, loaded.preprocess.crop, loaded.input_size) == (40, (40, 24), (3, 40, 24))
    assert loaded.preprocess(Image.new("RGB", (90, 50))).shape == (3, 40, 24)
    with pytest.raises(OptionError) as caught:
        loaded.with_preprocess(size=(3, 0))
    assert str(caught.value) == "size cannot be 3x0: it is pixels, 1 or more."
    asked = []
    own = deconvnet.LoadedModel(nn.Conv2d(3, 4, 3), lambda picture: asked.append(picture), "own", input_size=(3, 9, 9))
    assert (own.ask_size(), asked) == ((3, 9, 9), [])


def test_a_range_reaches_the_net(run, write, tmp_path):
    """--range LOW,HIGH is black and white of deep pictures; what is no range is wrong usage."""
    Image.fromarray(np.full((96, 96), 1500, np.uint16)).save(tmp_path / "a.png")
    write("net.py", OWN)
    assert run("project", "a.png", "--range", "1000,3000", "--top", "1", "--device", "cpu", "--out", "a-sheet.png")[0] == 0
    stored = read_settings("a-sheet.png")
    assert stored["preprocess"]["value_range"] == [1000, 3000]
    run("project", "a.png", "--top", "1", "--device", "cpu", "--out", "b-sheet.png")
    assert "value_range" not in read_settings("b-sheet.png")["preprocess"]
    for value in ("3", "3,2", "a,b", "1,2,3", "nan,4"):
        code, _, err = run("project", "a.png", "--range", value)
        assert code == 2
        assert f"{value!r} is not black and white, the smaller number first, such as 0,4095." in " ".join(err.split())
    loaded = deconvnet.LoadedModel.from_module(nn.Conv2d(3, 4, 3), lambda picture: torch.zeros(3, 9, 9))
    with pytest.raises(OptionError, match="has a preprocessing of its own kind"):
        loaded.with_preprocess(value_range=(0, 4095))


# Further inputs


def test_further_inputs_reach_forward(run, write, tmp_path):
    """--input gives forward what it takes besides the picture, in listing, projecting and scanning."""
    write("net.py", OWN)
    np.save("v.npy", np.arange(4.0))
    (tmp_path / "in").mkdir()
    for seed in range(5):
        drawing(seed).save(tmp_path / "in" / f"{seed}.png")
    model = ["--model", "file:net.py:Further", "--input", "meta=v.npy", "--size", "32", "--device", "cpu"]
    assert run("layers", "file:net.py:Further", "--input", "meta=v.npy", "--size", "9")[0] == 0
    assert run("project", "in/0.png", *model, "--layer", "conv", "--top", "1", "--out", "a.png")[0] == 0
    code, _, err = run("scan", "in", *model, "--layer", "conv", "--batch", "2", "--out", "a.scan")
    assert code == 0, err
    with deconvnet.Scan.open("a.scan") as scan:
        digest = scan.settings["inputs"]["meta"]
    assert digest == read_settings("a.png")["inputs"]["meta"]
    np.save("w.npy", np.arange(1.0, 5.0))
    other = [part.replace("v.npy", "w.npy") for part in model]
    code, _, err = run("scan", "in", *other, "--layer", "conv", "--batch", "2", "--out", "a.scan")
    assert code == 1
    assert "\nStoreError: 'a.scan' was scanned with other settings: inputs " in err
    plate = ["plate", "a.scan", "--layer", "conv", "--channel", "1", "--out", "plate.png", "--model", "file:net.py:Further"]
    assert run(*plate, "--input", "meta=v.npy")[0] == 0
    hint = "Give those of the scan: --input NAME=FILE.npy, or LoadedModel.with_inputs()."
    found = next(
        iter(
            deconvnet.LoadedModel.from_module(Takes()).with_inputs(meta=torch.arange(1.0, 5.0).double()).input_hashes().values()
        )
    )
    for given, text in ((["--input", "meta=w.npy"], f"meta ({found[:15]}...)"), ([], "none")):
        code, _, err = run(*plate, *given)
        assert code == 1
        assert err == (
            f"StoreError: 'a.scan' was scanned with the further inputs meta ({digest[:15]}...), found {text}. {hint}\n"
        )


class Takes(nn.Module):
    """A net that takes one thing besides its images."""

    def __init__(self):
        super().__init__()
        self.got, self.scale = [], nn.Parameter(torch.ones(1))

    def forward(self, images, meta):
        self.got.append(meta)
        return images * self.scale


def test_a_copy_of_a_net_with_further_inputs_is_a_copy():
    """A deep copy, such as one for each checkpoint of a training, runs by its own weights, with the same inputs."""
    loaded = deconvnet.LoadedModel.from_module(Takes()).with_inputs(meta=torch.arange(4.0))
    other = copy.deepcopy(loaded.model)
    with torch.no_grad():
        other.scale.fill_(3)
        assert float(other(torch.ones(1, 3, 2, 2)).max()) == 3
        assert float(loaded.model(torch.ones(1, 3, 2, 2)).max()) == 1
    assert (len(other.got), len(loaded.model.got)) == (1, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.arange(4.0), (3, 4)),  # a vector for each picture
        (torch.zeros(1, 4), (3, 4)),  # a batch of one
        (torch.tensor(2.0), (3,)),  # a number
        (torch.zeros(3, 9, 9), (3, 3, 9, 9)),  # a second picture
        (torch.zeros(1, 3, 9, 9), (3, 3, 9, 9)),
        (torch.arange(4), (3, 4)),  # whole numbers stay whole
    ],
)
def test_a_further_input_is_repeated_for_each_picture(value, expected):
    """What belongs to one picture gets the batch's axis; floats become of the images' type, whole numbers stay."""
    loaded = deconvnet.LoadedModel.from_module(Takes()).with_inputs(meta=value.double() if value.is_floating_point() else value)
    loaded.model(torch.zeros(3, 3, 9, 9))
    got = loaded.model.got
    assert tuple(got[0].shape) == expected
    assert got[0].dtype == (torch.float32 if value.is_floating_point() else torch.int64)
    assert torch.equal(got[0][2].reshape(-1).double(), value.reshape(-1).double())
    net = deconvnet.DeconvNet(loaded)
    assert net.record(torch.rand(2, 3, 9, 9)).output.shape == (2, 3, 9, 9)


def test_further_inputs_that_cannot_be(run, write):
    """A name that forward does not have, a file that is none, an array of objects, and text are refused in a line."""
    write("net.py", OWN)
    np.save("v.npy", np.arange(4.0))
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save("words.npy", np.array(["a", "b"]))
    write("junk.npy", "junk")
    Path("photo.npy").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    Path("bytes.npy").write_bytes(bytes(range(128, 168)))
    save = "Save it by numpy.save."
    for given, answer in (
        ("gone.npy", "there is no file 'gone.npy'. Check the path."),
        (
            "objects.npy",
            f"'objects.npy' is not an array of numbers (Object arrays cannot be loaded when allow_pickle=False). {save}",
        ),
        ("junk.npy", f"'junk.npy' is not an array of numbers (it is a text). {save}"),
        ("photo.npy", f"'photo.npy' is not an array of numbers (it is a PNG picture). {save}"),
        ("bytes.npy", f"'bytes.npy' is not an array of numbers (it is a file of another kind). {save}"),
    ):
        code, out, err = run("layers", "file:net.py:Further", "--input", f"meta={given}", "--size", "9")
        assert (code, out, err) == (1, "", f"OptionError: --input meta: {answer}\n")
    assert run("layers", "file:net.py:Further", "--input", "meta=words.npy", "--size", "9")[0] == 1
    code, _, err = run("layers", "file:net.py:Further", "--input", "mata=v.npy", "--size", "9")
    assert code == 1
    assert err == (
        "OptionError: forward of file:net.py:Further takes (images, meta, other=None): got an unexpected keyword argument 'mata'."
        " Name its own parameters.\n"
    )
    for given in ("v.npy", "=v.npy", "meta=", "a b=v.npy"):
        code, _, err = run("layers", "file:net.py:Further", f"--input={given}")
        assert code == 2
        assert f"{given!r} is not a name and a file, such as meta=vector.npy." in " ".join(err.split())


# Names that a terminal would obey

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\u202egnp\x9b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.png", "plain name.png"),
        ("лиса 图 ü.png", "лиса 图 ü.png"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x07\r\x9b\x7f", "\\x07\\x0d\\x9b\\x7f"),
        ("\u202e\u2066\u200f\ufeff", "\\u202e\\u2066\\u200f\\ufeff"),
        ("\u2028\U000e0001", "\\u2028\\U000e0001"),
        ("gr\udcfcn", "gr\\udcfcn"),
        ("नमस्\u200dते می\u200cخواهم", "नमस्\u200dते می\u200cخواهم"),
    ],
)
def test_what_a_terminal_obeys_is_shown_as_its_code(text, shown):
    """Escapes, bells, returns and marks of direction become codes; letters of every language stay, with their joiners."""
    assert visible(text) == shown


def obeyed(text):
    return [letter for letter in text if letter != "\n" and visible(letter) != letter]


@pytest.mark.slow
def test_hostile_names_do_not_reach_the_terminal(tmp_path):
    """Of pictures, folders, outputs and arguments, in results, notes, errors and usage: in a process of its own."""
    folder = tmp_path / f"in{HOSTILE}"
    folder.mkdir()
    drawing(1).save(folder / f"a{HOSTILE}.png")
    (folder / f"b{HOSTILE}.png").write_text("no picture")
    (folder / f"c{HOSTILE}.heic").touch()
    for arguments in (
        ["project", str(folder), "--top", "1", "--out", str(tmp_path / f"out{HOSTILE}")],
        ["project", str(folder / f"b{HOSTILE}.png")],
        ["project", f"gone{HOSTILE}.png"],
        ["project", "--layer", HOSTILE],
        ["project", f"--no{HOSTILE}"],
        ["scan", str(folder), "--layer", "features.1", "--out", str(tmp_path / f"a{HOSTILE}.scan")],
        ["top", str(tmp_path / f"a{HOSTILE}.scan"), "--layer", "features.1", "--channel", "3"],
        ["top", str(tmp_path / f"a{HOSTILE}.scan"), "--layer", "features.1", "--channel", "3", "--csv"],
        ["report", str(tmp_path / f"a{HOSTILE}.scan")],
        [HOSTILE],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "deconvnet", *arguments], capture_output=True, text=True, cwd=tmp_path, encoding="utf-8"
        )
        assert obeyed(done.stdout + done.stderr) == [], arguments
        assert "Traceback" not in done.stderr, arguments


def test_cells_of_a_table_are_no_formulas(tmp_path, run, monkeypatch):
    """A picture that is called like a formula stands behind an apostrophe, which makes it text."""
    monkeypatch.chdir(tmp_path)
    names = ["=cmd|' !A1.png", "+1.png", "-1.png", "@SUM(1).png", "plain.png"]
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(names):
        drawing(seed).save(tmp_path / "in" / name)
    assert run("scan", "in", "--layer", "features.1", "--out", "a.scan")[0] == 0
    code, out, _ = run("top", "a.scan", "--layer", "features.1", "--channel", "3", "--csv")
    assert code == 0
    paths = [row["path"] for row in csv.DictReader(io.StringIO(out))]
    assert sorted(paths) == sorted([f"'{name}" for name in names[:4]] + ["plain.png"])


def test_a_preprocess_makes_another_one_like_it():
    """The settings of a preprocessing, written to JSON and back, make an equal one; an open range leaves them as they were."""
    for preprocess in (Preprocess(9, 8, (0.5,), (0.5,)), Preprocess(9, (8, 7), (0.5,), (0.5,), "bicubic", (0, 4095))):
        fields = preprocess.settings()
        assert Preprocess(**fields) == preprocess
        assert ("value_range" in fields) == (preprocess.value_range is not None)
