"""`deconvnet scan`, `plate`, `top` and `report`, as people type them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys

import pytest
from PIL import Image

import deconvnet
from deconvnet.drawings import CLASSES, draw
from deconvnet.render import read_settings
from support.pdf import read_pdf


def width(path):
    with Image.open(path) as image:
        return image.width


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve drawings, a file that is no picture, and the scan of them."""
    place = tmp_path_factory.mktemp("cli")
    (place / "in").mkdir()
    for seed in range(12):
        draw(CLASSES[seed], seed=seed).picture.save(place / "in" / f"{seed:02}.png")
    (place / "in" / "bad.png").write_text("no picture")
    return place


@pytest.fixture
def run(run, folder, monkeypatch):
    """Run the command in the folder; return its exit code, stdout, stderr."""
    monkeypatch.chdir(folder)
    return run


@pytest.fixture
def scanned(run, folder):
    """The scan's file, made by the command."""
    if not (folder / "a.scan").exists():
        code, out, err = run("scan", "in", "--layer", "features.5", "--layer", "features.1[13]", "--out", "a.scan")
        assert (code, out) == (0, "a.scan\n")
        assert "12 of 13 pictures, 3 layers, 224 channels: a.scan" in err
        assert "skipped: cannot open '" in err
        assert "deconvnet plate a.scan --layer features.5" in err
    return "a.scan"


def test_the_same_command_again_has_nothing_to_do(run, scanned, folder):
    """A finished scan stays as it is, byte for byte."""
    before = (folder / scanned).read_bytes()
    code, out, err = run("scan", "in", "--layer", "features.5", "--layer", "features.1[13]", "--out", scanned)
    assert (code, out) == (0, "a.scan\n"), err
    assert (folder / scanned).read_bytes() == before


def test_top_prints_rows(run, scanned):
    """A table, JSON with exactly the promised keys, or CSV: the same rows."""
    code, out, _ = run("top", scanned, "-l", "features.5", "-c", "3")
    assert code == 0
    assert out.startswith("features.5 channel 3\nrank  activation  row  col  window")
    assert len(out.splitlines()) == 11
    rows = json.loads(run("top", scanned, "-l", "features.5", "-c", "3", "--json")[1])
    assert [list(row) for row in rows] == [["layer", "channel", "rank", "path", "activation", "row", "col", "window"]] * 9
    assert {(row["layer"], row["channel"]) for row in rows} == {("features.5", 3)}
    table = list(csv.DictReader(io.StringIO(run("top", scanned, "-l", "features.5", "-c", "3", "--csv")[1])))
    assert [row["path"] for row in table] == [row["path"] for row in rows]
    assert list(table[0])[:3] == ["layer", "channel", "rank"]
    assert {(row["layer"], row["channel"]) for row in table} == {("features.5", "3")}
    both = json.loads(run("top", scanned, "-l", "features.5", "-c", "3,5", "--json")[1])
    assert [row["channel"] for row in both] == [3] * 9 + [5] * 9


def test_report_writes_a_row_for_each_channel(run, scanned):
    """CSV: state, share of the pictures, mean and maximum of each channel, as the report has them in JSON."""
    table = list(csv.DictReader(io.StringIO(run("report", scanned, "--csv")[1])))
    reports = json.loads(run("report", scanned, "--json")[1])
    assert list(table[0]) == ["layer", "channel", "state", "fires", "mean", "maximum"]
    assert len(table) == sum(report["channels"] for report in reports)
    for report in reports:
        rows = [row for row in table if row["layer"] == report["layer"]]
        assert [float(row["fires"]) for row in rows] == report["fires"]
        for state in ("dead", "rare"):
            assert [int(row["channel"]) for row in rows if row["state"] == state] == report[state]
    code, out, err = run("report", scanned, "--csv", "--json")
    assert (code, out) == (1, "")
    assert err == "OptionError: --json and --csv both write to stdout. Give --json a file, or one of them.\n"


def test_a_scan_knows_the_papers_names(run, scanned):
    """conv2 of a scan of tiny is features.5: in top, report and plate, and in Python."""
    assert run("top", scanned, "-l", "conv2", "-c", "3") == run("top", scanned, "-l", "features.5", "-c", "3")
    assert run("report", scanned, "-l", "conv2")[1] == run("report", scanned, "-l", "features.5")[1]
    assert run("plate", scanned, "-l", "conv2", "-c", "3", "--out", "n.png")[0] == 0
    with deconvnet.Scan.open(scanned) as scan:
        assert scan.layer_name("conv5") == scan.layer_name("features.13") == "features.13"
        assert scan.top("conv2", 3) == scan.top("features.5", 3)
        assert scan.plate("conv2", [3]).channels == {"features.5": (3,)}
        with pytest.raises(deconvnet.UnknownLayerError, match="has no layer 'conv1'"):
            scan.layer_name("conv1")


def test_plate_draws_pages(run, scanned, folder):
    """One page, or several; random channels are the same for the same seed."""
    code, out, _ = run("plate", scanned, "-c", "0", "--no-own")  # of the layer that is worth seeing first
    assert (code, out) == (0, "plate-tiny-features.5-deconvnet-soft.png\n")
    code, out, err = run("plate", scanned, "-l", "features.13", "--random", 4, "--seed", 3, "--out", "p.png")
    assert (code, out) == (0, "p.png\n"), err
    first = (folder / "p.png").read_bytes()
    run("plate", scanned, "-l", "features.13", "--random", 4, "--seed", 3, "--out", "p.png")
    assert (folder / "p.png").read_bytes() == first
    code, out, _ = run("plate", scanned, "-l", "features.5", "-c", "0-2", "--page", 2, "--out", "q.png")
    assert out.split() == ["q-001.png", "q-002.png"]
    assert width(folder / "q-001.png") > 400
    assert run("plate", scanned, "-l", "features.5", "-c", "0-2", "--page", 2, "--out", "q.pdf")[1] == "q.pdf\n"


def test_plate_takes_several_layers(run, scanned, folder):
    """Each layer is a block, with its own channels: the best, random ones, or those named, sorted."""
    layers = ["-l", "features.5", "-l", "features.13"]
    code, out, err = run("plate", scanned, *layers, "--best", 3, "--layout", "paper", "--inside", "--out", "both.png")
    assert (code, out) == (0, "both.png\n"), err
    settings = read_settings(folder / "both.png")
    with deconvnet.Scan.open(folder / scanned) as scan:
        assert settings["channels"] == {layer: scan.best(layer, 3) for layer in ("features.5", "features.13")}
        strongest = scan.best("features.5", 64, by="strength")
    assert (settings["layout"], settings["inside"]) == ("paper", True)
    run("plate", scanned, "-l", "features.5", "--best", 2, "--sort", "strength", "--out", "strong.png")
    assert read_settings(folder / "strong.png")["channels"] == {"features.5": strongest[:2]}
    named = sorted(strongest[:3])
    run("plate", scanned, "-l", "features.5", "-c", ",".join(map(str, named)), "--sort", "strength", "--out", "strong.png")
    assert read_settings(folder / "strong.png")["channels"] == {"features.5": strongest[:3]}
    code, out, _ = run("plate", scanned, *layers, "--random", 2, "--out", "random.png")
    assert {layer: len(numbers) for layer, numbers in read_settings(folder / "random.png")["channels"].items()} == {
        "features.5": 2, "features.13": 2
    }  # fmt: skip


def test_plates_for_print(run, scanned, folder):
    """--scale and --dpi draw the same page finer, --tile with larger tiles; a PDF keeps its size."""
    plate = ["plate", scanned, "-l", "features.5", "-c", "1"]
    run(*plate, "--out", "one.png")
    for options in (["--scale", 2], ["--dpi", 300]):
        assert run(*plate, *options, "--out", "two.png")[0] == 0
        assert width(folder / "two.png") == 2 * width(folder / "one.png")
    run(*plate, "--tile", 40, "--out", "small.png")
    assert width(folder / "small.png") < width(folder / "one.png")
    for scale in (1, 2):
        run(*plate, "--scale", scale, "--out", f"{scale}.pdf")
    (first,), (second,) = (read_pdf(folder / f"{scale}.pdf")[0] for scale in (1, 2))
    assert first.size == second.size
    assert second.images[0].width == 2 * first.images[0].width


def test_report_tells_of_layers(run, scanned, folder):
    """A row for each layer, the dead and rare channels as --channel reads them, JSON, and a figure."""
    code, out, _ = run("report", scanned)
    assert code == 0
    assert out.splitlines()[0].split()[:4] == ["layer", "channels", "dead", "rare"]
    assert [line.split()[0] for line in out.splitlines()[1:4]] == ["features.5", "features.11", "features.13"]
    rows = json.loads(run("report", scanned, "--json")[1])
    for row in rows:
        assert row["dead"] == [number for number, share in enumerate(row["fires"]) if not share]
    assert run("report", scanned, "--out", "r.png")[0] == 0
    assert width(folder / "r.png") > 800


@pytest.mark.parametrize(
    "words",
    [["top", "-l", "features.5", "-c", "0"], ["report"], ["report", "--out", "figure.png"]],
    ids=["top", "report", "a figure"],
)
def test_reading_a_scan_loads_no_torch(scanned, folder, tmp_path, words):
    """`deconvnet top` and `report` do not wait for torch, and neither does `Scan.open`."""
    path, (command, *options) = str(folder / scanned), words
    code = (
        f"import sys, deconvnet\ndeconvnet.Scan.open({path!r}).close()\n"
        f"sys.argv = ['deconvnet', {command!r}, {path!r}, *{options!r}]\n"
        "from deconvnet.cli import main\nmain()\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("top", "no.scan", "-l", "x", "-c", "1"), "StoreError: there is no scan at 'no.scan'. Make one: deconvnet scan PICTURES --out no.scan\n"),
        (("top", "a.scan", "-l", "features.6", "-c", "1"), "UnknownLayerError: 'a.scan' has no layer 'features.6'. Did you mean .*\n"),
        (("top", "a.scan", "-l", "features.5", "-c", "64"), "UnitError: layer 'features.5' has no channel 64: it has 64, numbered from 0.\n"),
        (("top", "a.scan", "-l", "features.5", "-c", "1", "--csv", "--json"), "OptionError: --json and --csv exclude each other. Give one of them.\n"),
        (("plate", "a.scan", "-l", "features.5", "-c", "1", "--random", "2"), "OptionError: --channel, --random and --best exclude each other. Give one of them.\n"),
        (("plate", "a.scan", "-l", "features.5", "--scale", "2", "--dpi", "300"), "OptionError: --scale and --dpi say the same. Give one of them.\n"),
        (("plate", "a.scan", "-l", "features.5", "--scale", "17"), "OptionError: scale cannot be 17: it is above 0 and at most 16; 1 is 150 dots per inch.\n"),
        (("plate", "a.scan", "-l", "features.5", "-l", "features.6", "--best", "3"), "UnknownLayerError: 'a.scan' has no layer 'features.6'. Did you mean .*\n"),
        (("plate", "a.scan", "-l", "features.5", "--out", "x.gif"), "OptionError: cannot save 'x.gif'.*\n"),
        (("scan", "nowhere", "--out", "b.scan"), "PictureError: cannot open 'nowhere': there is no such file or folder. Check the path.\n"),
        (("scan", "in", "--layer", "conv9", "--out", "b.scan"), "UnknownLayerError: 'conv9' is not a layer of tiny.*\n"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(run, scanned, folder, words, text):
    """One line, exit 1, and no file that was not there before."""
    before = {path.name for path in folder.iterdir()}
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    pattern = text if ".*" in text else re.escape(text)
    assert re.fullmatch(pattern, err), err
    assert {path.name for path in folder.iterdir()} == before


def test_where_nothing_could_be_read_no_new_scan_is_left(run, folder):
    """One line, and no file; a scan that was there before stays as it was, with what it held."""
    (folder / "unread").mkdir()
    (folder / "unread" / "a.png").write_text("no picture")
    place = str(folder / "unread" / "a.png")
    line = f"cannot open {place!r}: it is a text, which is not read as a picture. Convert it to PNG or JPEG.\n"
    words = ("scan", "unread", "--layer", "features.5", "--out", "unread.scan")
    assert run(*words) == (1, "", f"PictureError: the one picture could not be read: {line}")
    assert not (folder / "unread.scan").exists()
    deconvnet.scan(
        deconvnet.DeconvNet(deconvnet.load_model("tiny")), folder / "unread", folder / "unread.scan", layers=["features.5"]
    ).close()
    (folder / "unread" / "b.png").write_text("nor this")
    code, out, err = run(*words)
    assert (code, out, err) == (1, "", f"PictureError: none of the 2 pictures could be read. The first: {line}")
    assert [path for path, _ in deconvnet.Scan.open(folder / "unread.scan").skipped()] == ["a.png", "b.png"]


def test_top_takes_the_net_of_a_scan_by_another_name(run, folder):
    """Where a scan's net is no published one, it is named for the names of classes, as for plates; numbers need none."""
    (folder / "net.py").write_text("import deconvnet\n\ndef build():\n    return deconvnet.load_model('tiny')\n")
    words = ("scan", "in", "--limit", "3", "--layer", "classifier.5", "--model", "file:net.py:build", "--out", "mine.scan")
    assert run(*words)[:2] == (0, "mine.scan\n")
    code, out, err = run("top", "mine.scan", "--channel", "cat")
    assert (code, out) == (1, "")
    assert err.startswith("StoreError: 'mine.scan' was scanned with the net of a Python file, 'file:net.py:build'")
    code, named, _ = run("top", "mine.scan", "--channel", "cat", "--model", "file:net.py:build")
    assert (code, named) == run("top", "mine.scan", "--layer", "classifier.5", "--channel", "1")[:2]
    assert named.startswith("classifier.5 channel 1\nrank")
