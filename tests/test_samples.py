"""Promises about samples: pictures to begin with, by name, wherever a picture is taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from deconvnet import optional
from deconvnet.drawings import CLASSES, draw
from deconvnet.errors import MissingPackageError, PictureError
from deconvnet.inputs import as_batch, file_stem, find_inputs, open_input, source_names
from deconvnet.render import read_settings
from deconvnet.samples import list_samples, open_sample

PHOTOGRAPHS = [sample.name for sample in list_samples() if "drawing" not in sample.name]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_skimage(monkeypatch):
    """Let scikit-image be missing."""

    def refuse(name):
        raise ImportError("No module named 'skimage'")

    monkeypatch.setattr(optional, "importlib", SimpleNamespace(import_module=refuse))


def test_the_list_names_each_picture_with_origin_and_licence():
    """A dozen photographs and a drawing of each class, each name once, all of them free."""
    listed = list_samples()
    assert len({sample.name for sample in listed}) == len(listed) == len(PHOTOGRAPHS) + len(CLASSES)
    assert {"sample:cat", "sample:astronaut", "sample:coffee", "sample:rocket"} <= set(PHOTOGRAPHS)
    assert {sample.licence for sample in listed} == {"CC0", "public domain", "MIT"}
    assert all(sample.shows and sample.origin for sample in listed)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_those_that_scikit_image_brings(name):
    """Each is the picture that scikit-image's own function of it returns, and is found without it and its network."""
    data = pytest.importorskip("skimage.data")
    functions = {"sample:hubble": "hubble_deep_field"}
    expected = getattr(data, functions.get(name, name.removeprefix("sample:")))()
    assert np.array_equal(np.asarray(open_sample(name)), expected)


def test_a_drawing_is_that_of_its_class_and_seed():
    """The seed is 7, or the number behind the class; its parts are known."""
    for name, seed in (("sample:drawing/face", 7), ("sample:drawing/face/3", 3)):
        opened, expected = open_sample(name), draw("face", seed=seed)
        assert opened.picture.tobytes() == expected.picture.tobytes()
        assert opened.parts.keys() == expected.parts.keys()
        assert opened.source == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sample:", "'sample:' is not a sample. See: deconvnet samples"),
        ("sample:cta", "'sample:cta' is not a sample. Did you mean 'cat'? See: deconvnet samples"),
        (
            "sample:drawing/fce",
            "'sample:drawing/fce' is not a sample. Did you mean 'drawing/face' or 'drawing/cup' or 'drawing/cat'? See: deconvnet samples",
        ),
        (
            "sample:drawing/face/x",
            "'sample:drawing/face/x' is not a sample. Did you mean 'drawing/face' or 'drawing/cup' or 'drawing/cat'? See: deconvnet samples",
        ),
        ("sample:../../etc/passwd", "'sample:../../etc/passwd' is not a sample. See: deconvnet samples"),
    ],
)
def test_an_unknown_sample_is_refused(name, message, run):
    """In Python and by the command, with what it may be."""
    with pytest.raises(PictureError) as caught:
        open_sample(name)
    assert str(caught.value) == message
    assert run("project", name) == (1, "", f"PictureError: {message}\n")


def test_a_missing_package_is_named(no_skimage):
    """Photographs need scikit-image, drawings nothing."""
    with pytest.raises(MissingPackageError) as caught:
        open_sample("sample:cat")
    assert str(caught.value) == (
        "sample:cat needs skimage, which cannot be imported (No module named 'skimage')."
        ' In a checkout: pip install -e ".[studies]"'
    )
    assert open_sample("sample:drawing/cat").name == "cat"


def test_a_scikit_image_without_the_file_is_named(tmp_path, monkeypatch):
    """A package that lacks a photograph is said to, with its version."""

    class Package:
        __file__ = str(tmp_path / "__init__.py")
        __version__ = "0.99"

    monkeypatch.setattr("deconvnet.samples.require", lambda *_, **__: Package)
    with pytest.raises(MissingPackageError) as caught:
        open_sample("sample:cat")
    assert str(caught.value) == (
        "sample:cat is not among the pictures of this scikit-image 0.99: there is no chelsea.png."
        " Take another one: deconvnet samples"
    )


def test_samples_stand_wherever_a_picture_is_taken(net):
    """Alone or in a list, in Python too: the batch is that of the picture, the name is the sample's."""
    expected = net.preprocess(draw("cat", seed=7).picture)[None]
    assert torch.equal(as_batch(net, "sample:drawing/cat"), expected)
    assert torch.equal(as_batch(net, ["sample:drawing/cat", expected]), torch.cat([expected, expected]))
    assert source_names(["sample:drawing/cat", expected]) == ["sample:drawing/cat", "image 1"]
    assert net.record("sample:drawing/cat").show is not None
    assert open_input("sample:drawing/cat").tobytes() == draw("cat", seed=7).picture.tobytes()
    assert open_input("cat.jpg") == "cat.jpg"


def test_a_file_of_such_a_name_can_be_had():
    """`./sample:cat` is a file; folders and samples mix in their order."""
    Path("sample:cat").write_bytes(b"")
    Path("folder").mkdir()
    draw("face").picture.save("folder/a.png")
    assert find_inputs("./sample:cat") == [Path("sample:cat")]
    assert find_inputs(["sample:drawing/cat", "folder"]) == ["sample:drawing/cat", Path("folder/a.png")]


def test_project_takes_samples_and_names_sheets_by_them(run):
    """The sheet is named by the sample, and its settings say which it was."""
    assert run("project", "sample:drawing/cat", "--top", 1)[:2] == (0, "drawing-cat-tiny-features.9-deconvnet-soft.png\n")
    assert {unit["path"] for unit in read_settings("drawing-cat-tiny-features.9-deconvnet-soft.png")["units"]} == {
        "sample:drawing/cat"
    }
    assert file_stem("sample:drawing/cat/3") == "drawing-cat-3"


@pytest.mark.parametrize(
    "arguments",
    [
        ("ablate", "sample:drawing/cat", "--signals", 2),
        ("occlude", "sample:drawing/cat", "--square", 48, "--stride", 48, "--others", "sample:drawing/cat/2"),
        ("filters", "sample:drawing/cat", "--top", 1),
    ],
)
def test_studies_take_samples(run, arguments):
    """A study's numbers say that they are of the sample."""
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    assert "sample:drawing/cat" in out
    assert json.loads(out)


def test_upsample_takes_samples(run):
    """Upsampling, too, which opens its picture by itself."""
    pytest.importorskip("skimage")
    code, out, _ = run("upsample", "sample:drawing/cat", "--ways", "nearest", "--factor", 2)
    assert code == 0
    assert out.endswith("upsample-drawing-cat.png\n")


def test_boxes_of_samples_are_read(tmp_path):
    """Names of samples in a file of boxes are no files beside it."""
    from deconvnet.studies.boxes import read_boxes

    boxes = {"sample:cat": {"nose": [1, 2, 3, 4]}, "dog.jpg": {"nose": [1, 2, 3, 4]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    assert read_boxes(tmp_path / "boxes.json")[0] == ["sample:cat", tmp_path / "dog.jpg"]


def test_a_scan_says_how_to_get_files(run):
    """A scan reads files: the line says how to write the samples into a folder."""
    message = (
        "PictureError: a scan reads files, and 'sample:cat' is none. Write the samples to a folder, and scan that:"
        " deconvnet samples --out samples\n"
    )
    assert run("scan", "sample:cat", "--out", "a.scan", "--model", "tiny") == (1, "", message)


def test_the_command_lists_them(run):
    """As a table, and as JSON."""
    code, out, _ = run("samples")
    assert code == 0
    assert out.splitlines()[0].split() == ["sample", "shows", "origin", "licence"]
    assert len(out.splitlines()) == 1 + len(list_samples())
    rows = json.loads(run("samples", "--json")[1])
    assert [row["name"] for row in rows] == [sample.name for sample in list_samples()]
    assert rows[0].keys() == {"name", "shows", "origin", "licence"}


def test_the_command_writes_them(run):
    """One file each, the same pixels; again over the same files, but over no other picture."""
    pytest.importorskip("skimage")
    assert run("samples", "--out", "s") == (0, "s\n", "")
    assert len(list(Path("s").iterdir())) == len(list_samples())
    assert np.array_equal(np.asarray(Image.open("s/cat.png")), np.asarray(open_sample("sample:cat")))
    assert run("samples", "--out", "s")[0] == 0
    Image.new("RGB", (3, 2)).save("s/cat.png")
    message = "OptionError: 's/cat.png' is there already, and is another picture. Choose an empty folder.\n"
    assert run("samples", "--out", "s") == (1, "", message)


def test_the_command_writes_what_can_be_had(run, monkeypatch):
    """Without scikit-image the drawings are written, and the package is named once."""

    def refuse(package, *, needed_by, extra):
        raise MissingPackageError(f'{needed_by} needs {package}. In a checkout: pip install -e ".[{extra}]"')

    monkeypatch.setattr("deconvnet.samples.require", refuse)
    code, out, err = run("samples", "--out", "s")
    assert (code, out) == (0, "s\n")
    assert err == 'each photograph needs skimage. In a checkout: pip install -e ".[studies]"\n'
    assert len(list(Path("s").iterdir())) == len(CLASSES)
