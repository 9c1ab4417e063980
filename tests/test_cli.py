"""The command as people use it: in a process of its own where start-up counts, in this one where speed does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from deconvnet import cli
from deconvnet.choices import ATTENDINGS, CROPS, DEVICES, LRNS, OVERLAPS, SILENTS, TONES
from deconvnet.cli import option_types
from deconvnet.cli.options import file_part
from deconvnet.drawings import draw
from deconvnet.images import SUFFIXES
from deconvnet.render import read_settings
from support.pdf import read_pdf

ROOT = Path(__file__).parents[1]


def command(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a process."""
    return subprocess.run([sys.executable, "-m", "deconvnet", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run


def modules_after(*arguments):
    """Return the modules that are loaded after the command ran in a fresh process."""
    code = f"import sys\nsys.argv = ['deconvnet', *{arguments!r}]\nfrom deconvnet.cli import main\ntry:\n    main()\nexcept SystemExit: pass\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_help_imports_no_torch():
    """--help, of the group and of a command, loads neither torch nor anything else that is slow."""
    slow = {"torch", "torchvision", "matplotlib", "numpy", "PIL", "safetensors", "tqdm"}
    assert not modules_after("--help") & slow
    assert not modules_after("project", "--help") & slow


def test_tiny_imports_neither_torchvision_nor_matplotlib(tmp_path):
    """The path of the embedded default does not pay for torchvision and matplotlib, a second each."""
    loaded = modules_after("project", "--out", str(tmp_path / "a.png"))
    assert "torch" in loaded
    assert not loaded & {"torchvision", "matplotlib"}


def test_importing_the_package_loads_no_torch():
    """import deconvnet is quick; its names load what they need when first used."""
    code = "import sys, deconvnet; deconvnet.Unit; assert 'torch' not in sys.modules; deconvnet.DeconvNet; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["drawings", "models", "render", "rules", "studies", "upsampling"])
def test_packages_are_attributes(name):
    """A part of the package can be used after `import deconvnet` alone."""
    code = f"import deconvnet; assert deconvnet.{name}.__name__ == 'deconvnet.{name}'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_groups_commands_by_what_people_do(run):
    """The help lists each command under a heading, with one line."""
    code, out, _ = run("--help")
    assert code == 0
    assert out.index("See what a network sees") < out.index("  project  ") < out.index("Look around") < out.index("  layers  ")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_has_help(name):
    """Each command and each of its options says what it does."""
    command = cli.deconvnet.get_command(None, name)
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_options_offer_the_words_that_python_takes():
    """What is one of a few words in Python is the same few words on the command line."""
    offered = {
        option.name: tuple(option.type.choices)
        for option in cli.deconvnet.get_command(None, "project").params
        if isinstance(option.type, click.Choice)
    }
    expected = {
        "tone": TONES,
        "crop": CROPS,
        "overlap": OVERLAPS,
        "lrn": LRNS,
        "silent": SILENTS,
        "attention": ATTENDINGS,
        "device": DEVICES,
    }
    assert offered == expected


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("PositionType", "max", "max"),
        ("PositionType", "map", "map"),
        ("PositionType", " 6, 7", (6, 7)),
        ("RuleType", "guided", "guided"),
        ("RuleType", "auto", "auto"),
        ("RuleType", "TFT", "TFT"),
        ("NumbersType", "0.5,1,2", (0.5, 1.0, 2.0)),
        ("FactorsType", " 2, 4", (2, 4)),
        ("FillType", "white", "white"),
        ("FillType", "0.5,0,1", (0.5, 0.0, 1.0)),
        ("JsonFile", "a.json", "a.json"),
        ("JsonFile", "-", "-"),
    ],
)
def test_option_types_read_text(kind, text, value):
    """Each type turns its text into a value, and lets a value that was read before pass."""
    option = getattr(option_types, kind)()
    assert option.convert(text, None, None) == value
    assert option.convert(value, None, None) == value


def test_models_become_parts_of_file_names():
    """Colons become hyphens, and a function in a file is named without the file's folder."""
    names = ["tiny", "torchvision:vgg16", "file:nets/net.py:make", "file:C:\\nets\\net.py:make"]
    assert [file_part(name) for name in names] == ["tiny", "torchvision-vgg16", "net.py-make", "net.py-make"]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("PositionType", "6", "'6' is not max, map, or a position such as 6,6."),
        ("RuleType", "guide", "'guide' is not auto, deconvnet, guided, gradient, or three bits such as FTT."),
        ("NumbersType", "0.5,x", "'0.5,x' is not numbers such as 0.485,0.456,0.406."),
        ("FactorsType", "2,1", "'2,1' is not whole numbers of at least 2, such as 2,4."),
        ("FactorsType", "x", "'x' is not whole numbers of at least 2, such as 2,4."),
        ("FillType", "red", "'red' is not mean|picture|black|white, or a colour such as 0.5,0.5,0.5."),
        ("JsonFile", "a.jpg", "'a.jpg' does not end in .json. For stdout, write --json as the last option, or --json=-."),
    ],
)
def test_option_types_refuse_what_they_cannot_read(kind, text, message):
    """Each refusal names the text and what is possible."""
    with pytest.raises(click.BadParameter) as caught:
        getattr(option_types, kind)().convert(text, None, None)
    assert caught.value.message == message


def test_no_arguments_at_all_runs_tiny_on_a_drawing(tmp_path):
    """`deconvnet project` in an empty folder makes a picture, prints its name, and says what to try next."""
    done = command("project", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "drawing-tiny-features.9-deconvnet-soft.png\n"
    assert "the built-in net `tiny` on one of its own drawings" in done.stderr
    with Image.open(tmp_path / "drawing-tiny-features.9-deconvnet-soft.png") as sheet:
        assert sheet.width > 500


def test_from_a_checkout_without_installing(tmp_path):
    """`python cli.py` is the same command."""
    done = subprocess.run([sys.executable, ROOT / "cli.py", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == f"deconvnet {deconvnet_version()}\n"


def deconvnet_version():
    from deconvnet import __version__

    return __version__


@pytest.mark.slow
def test_the_same_call_gives_the_same_bytes(tmp_path):
    """Two processes write the same file, byte for byte."""
    for name in ("a.png", "b.png"):
        assert command("project", "--layer", "features.8", "--out", str(tmp_path / name)).returncode == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_layers_prints_a_table(run):
    """`deconvnet layers` lists name, alias, kind, output, field, stride, pools, reach, status, takers; --json the same as data."""
    code, out, _ = run("layers")
    assert code == 0
    assert out.splitlines()[0].split() == [
        "layer",
        "alias",
        "kind",
        "output",
        "field",
        "stride",
        "pools",
        "reach",
        "status",
        "taken",
        "by",
    ]
    assert out.splitlines()[1].split() == ["features.0", "Conv2d", "32x46x46", "7x7", "2x2", "0", "0x0", "exact"]
    code, out, _ = run("layers", "torchvision:squeezenet1_0", "--json", "--size", "64")
    assert json.loads(out)[0] == {
        "name": "features.0",
        "kind": "Conv2d",
        "channels": 96,
        "height": 29,
        "width": 29,
        "receptive_field": [7, 7],
        "stride": [2, 2],
        "pools": 0,
        "reach": [0, 0],
        "status": "exact",
        "output": [96, 29, 29],
        "alias": "",
        "rectified": False,
        "scanned": False,
        "default": False,
    }


def test_many_options_at_once(run, picture):
    """Layers, channels, unit, rule, overlap, lrn, silent and tone all reach the projection and its settings."""
    options = ["--layer", "features.8", "--layer", "features.4", "--channel", "3,5-6", "--at", "2,3", "--rule", "guided"]
    options += ["--overlap", "last", "--lrn", "derivative", "--silent", "first", "--tone", "shared", "--crop", "whole"]
    options += ["--device", "cpu"]
    code, out, err = run(
        "project", picture, *options, "--out", "sheet.png", "--out", "arrays.npz", "--json", "--json=units.json"
    )
    assert (code, out) == (0, "sheet.png\narrays.npz\nunits.json\n")
    settings = read_settings("sheet.png")
    assert [layer["layer"] for layer in settings["layers"]] == ["features.8", "features.4"]
    expected = {"bits": "TTT", "overlap": "last", "lrn": "derivative", "silent": "first", "tone": "shared", "crop": "whole"}
    expected["at"] = [2, 3]
    assert expected.items() <= settings.items()
    rows = json.loads(Path("units.json").read_text())
    assert [(row["layer"], row["channel"], row["row"], row["col"]) for row in rows] == [
        (layer, channel, 2, 3) for layer in ("features.8", "features.4") for channel in (3, 5, 6)
    ]
    assert rows[0]["path"] == str(picture)
    arrays = np.load("arrays.npz")
    assert arrays["features.8/pixels"].shape == (3, 3, 96, 96)


def test_sheets_for_print(run, picture):
    """--scale and --dpi draw the same sheet finer, --tile with larger tiles, --outlines more windows; sizes stay in print."""
    sheet = ["project", picture, "--layer", "features.8"]
    for options in ([], ["--scale", "2"], ["--dpi", "300"]):
        assert run(*sheet, *options, "--out", f"sheet{''.join(options)}.png")[0] == 0

    def size(name: str) -> tuple[int, int]:
        with Image.open(name) as image:
            return image.size

    sizes = [size(name) for name in ("sheet.png", "sheet--scale2.png", "sheet--dpi300.png")]
    assert sizes[1] == sizes[2] == (2 * sizes[0][0], 2 * sizes[0][1])
    run(*sheet, "--tile", "60", "--outlines", "9", "--out", "small.png")
    assert size("small.png") < sizes[0]
    code, out, err = run(*sheet, "--scale", "2", "--dpi", "300")
    assert (code, err) == (1, "OptionError: --scale and --dpi say the same. Give one of them.\n")
    run(*sheet, "--out", "sheet.pdf")
    (page,), _, _ = read_pdf(Path("sheet.pdf"))
    assert "features.8" in [line.text for line in page.lines]


def test_json_goes_to_stdout(run, picture):
    """With --json the units are the result on stdout, and file names go to stderr."""
    code, out, err = run("project", picture, "--top", 2, "--json")
    rows = json.loads(out)
    assert len(rows) == 2
    assert list(rows[0])[:7] == ["path", "layer", "channel", "row", "col", "activation", "window"]
    assert err.splitlines()[0] == "face-tiny-features.9-deconvnet-soft.png"


def test_a_folder_gives_a_sheet_for_each_picture(run, tmp_path):
    """Pictures of a folder, also those of equal stems, each get a sheet of their own."""
    (tmp_path / "in").mkdir()
    for name in ("a.png", "a.bmp", "b.jpg"):
        draw("car", seed=len(name)).picture.save(tmp_path / "in" / name)
    code, out, _ = run("project", "in", "--top", 1, "--out", "sheets/")
    assert code == 0
    assert out.split() == [
        f"sheets/{name}.png"
        for name in (
            "a-tiny-features.9-deconvnet-soft",
            "a-tiny-features.9-deconvnet-soft-2",
            "b-tiny-features.9-deconvnet-soft",
        )
    ]
    assert all(Path(name).is_file() for name in out.split())


def bad_files(folder: Path) -> None:
    """Fill a folder with what people really have."""
    draw("face", seed=1).picture.save(folder / "good.png")
    data = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    (folder / "net.pth").write_bytes(b"junk")
    (folder / "folder").mkdir()
    (folder / "locked").mkdir()


W = "Give DEFAULT, none, or a .safetensors or state-dict file."
BAD = [
    (["none.png"], "PictureError: cannot open 'none.png': there is no such file or folder. Check the path."),
    (["cut.png"], "PictureError: cannot open 'cut.png': the picture is damaged or cut short. Get a fresh copy."),
    (["empty.png"], "PictureError: cannot open 'empty.png': the file is empty. Get a fresh copy."),
    (["text.png"], "PictureError: cannot open 'text.png': it is a text, which is not read as a picture. Convert it to PNG or JPEG."),
    (["folder"], f"PictureError: no pictures in 'folder'. Looked in it and below for {', '.join(SUFFIXES)}."),
    (["good.png", "--layer", "features.99"], "UnknownLayerError: 'features.99' is not a layer of tiny. Did you mean 'features.9' or 'features.8' or 'features.7'? See: deconvnet layers tiny"),
    (["good.png", "--model", "tinny"], "UnknownModelError: 'tinny' is not a model. Did you mean 'tiny'? Models: tiny, torchvision:NAME, timm:NAME, pytorchcv:NAME, hf:NAME, zfnet, zfnet:wide, module:PACKAGE.MODULE:FUNCTION, file:PATH.py:FUNCTION."),
    (["good.png", "--weights", "missing.pth"], f"WeightsError: no weights file at 'missing.pth'. {W}"),
    (["good.png", "--channel", "999"], "UnitError: layer 'features.9' has no channel 999: it has 96, numbered from 0."),
    (["good.png", "--channel", "x"], "OptionError: 'x' is neither channels, such as 3 or 1,4-6, nor a class of tiny. Give numbers or a class."),
    (["good.png", "--at", "40,40"], "UnitError: layer 'features.9' has no position 40,40: its maps are 11x11, from 0,0."),
    (["good.png", "--out", "sheet.gif"], "OptionError: cannot save 'sheet.gif': the suffix is '.gif'. Use one of .png, .jpg, .jpeg, .pdf, .npz."),
    (["good.png", "--out", "no/sheet.png"], "OptionError: cannot write 'no/sheet.png': there is no folder 'no'. Make it first."),
    (["good.png", "good.png", "--out", "a.png"], "OptionError: 2 pictures cannot go into one file. Give a folder: --out sheets/"),
    (["good.png", "--out", "text.png/"], "OptionError: cannot make the folder 'text.png': File exists. Choose another place."),
    (["good.png", "--model", "zfnet"], "WeightsError: zfnet has no weights of its own. Give --weights FILE, or --weights none for random ones."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_gets_one_line_and_exit_1(run, tmp_path, arguments, text):
    """One line on stderr, exit 1, no traceback, and no file that was not there before."""
    bad_files(tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    code, out, err = run("project", *arguments)
    assert (code, out) == (1, "")
    assert err == text + "\n"
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


WRONG_USE = {
    ("projekt",): "no command 'projekt'. Did you mean 'project'?",
    ("project", "--at", "corner"): "'corner' is not max, map, or a position such as 6,6.",
    ("project", "--rule", "guide"): "'guide' is not auto, deconvnet, guided, gradient, or three bits such as FTT.",
    ("project", "--json", "cat.jpg"): "'cat.jpg' does not end in .json.",
    ("project", "--layr", "x"): "No such option",
    ("project", "--top", "0"): "0 is not in the range x>=1.",
}


@pytest.mark.parametrize("arguments", WRONG_USE)
def test_wrong_usage_exits_2(run, arguments):
    """What click cannot read exits 2 with a hint, without a traceback."""
    code, _, err = run(*arguments)
    assert code == 2
    assert WRONG_USE[arguments] in err


def test_an_earlier_result_survives_a_failure(run, tmp_path):
    """A run that fails does not touch what an earlier one wrote."""
    bad_files(tmp_path)
    run("project", "good.png", "--out", "sheet.png")
    before = Path("sheet.png").read_bytes()
    assert run("project", "good.png", "--layer", "nope", "--out", "sheet.png")[0] == 1
    assert Path("sheet.png").read_bytes() == before


def test_one_bad_picture_among_many_is_named_and_the_rest_goes_on(run, tmp_path):
    """In a folder, a picture that cannot be read is named on stderr; the others are done; the exit code says so."""
    (tmp_path / "in").mkdir()
    bad_files(tmp_path / "in")
    (tmp_path / "in" / "text.png").unlink()
    code, out, err = run("project", "in", "--top", "1", "--out", "sheets/")
    assert code == 1
    assert out == "sheets/good-tiny-features.9-deconvnet-soft.png\n"
    assert "in/cut.png" in err
    assert "in/empty.png" in err
    assert err.splitlines()[-1] == "PictureError: 2 of 3 pictures could not be read."


def test_runner_lists_commands():
    """The group works under click's own test runner too."""
    assert CliRunner().invoke(cli.deconvnet, ["--version"]).output.startswith("deconvnet ")
