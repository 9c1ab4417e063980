"""Promises about the explorer: what it looks at, what its widgets do, how the command hands over, how things show themselves."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvnet
from deconvnet import DeconvNet, Unit
from deconvnet.drawings import draw
from deconvnet.errors import NoRuleError, OptionError, PictureError, UnitError, UnknownLayerError
from deconvnet.explorer import pictures, serve, style
from deconvnet.explorer.state import CELLS, PAGE, RULES, Explorer, span
from deconvnet.explorer.widgets import LARGEST_UPLOAD, Board
from deconvnet.rules import parse_rule


@pytest.fixture(scope="module")
def net() -> DeconvNet:
    return DeconvNet(deconvnet.load_model("tiny"))


@pytest.fixture
def explorer(net, picture) -> Explorer:
    return Explorer(net, str(picture))


# ---- the state


def test_begins_at_the_strongest_unit_of_the_last_layer(net, picture, explorer):
    """It begins where `project` does: the last rectified layer, its strongest channel, its strongest place."""
    unit = net.project(net.record([str(picture)]), top=1).units[0]
    assert (explorer.layer, explorer.channel) == (unit.layer, unit.channel)
    assert explorer.unit == unit
    assert explorer.rank == 1


@pytest.mark.parametrize("place", ["max", "map", (2, 3)])
@pytest.mark.parametrize("rule", ["deconvnet", "gradient", "FFT"])
def test_shows_what_project_gives(net, picture, explorer, place, rule):
    """Whatever is chosen, the projection is that of `DeconvNet.project`, and the line of code says how to get it."""
    explorer.choose_layer("features.5")
    explorer.choose_channel(7)
    explorer.choose_place(place)
    explorer.choose_rule(rule)
    recording = net.record([str(picture)])
    expected = net.project(recording, "features.5", channels=[7], at=place, rule=rule)
    assert torch.equal(explorer.projection.pixels, expected.pixels)
    assert explorer.unit == expected.units[0]
    told = eval(explorer.code(), {"net": net, "recording": recording})
    assert torch.equal(told.pixels, expected.pixels)


def test_a_question_is_worked_out_once(explorer, monkeypatch):
    """The same choice is not projected again; another is."""
    asked = []
    project = explorer.net.project
    monkeypatch.setattr(explorer.net, "project", lambda *args, **more: asked.append(more) or project(*args, **more))
    first = explorer.projection
    explorer.choose_tone("grey")
    assert explorer.projection is first
    explorer.choose_rule("guided")
    assert explorer.projection is not first
    assert len(asked) == 2


def test_pages_hold_every_channel_once(explorer):
    """The mosaic's pages show all channels, in order of strength or number, and turn to the channel chosen."""
    for order in ("strongest", "number"):
        explorer.choose_order(order)
        explorer.turn(-100)
        seen = list(explorer.shown)
        for _ in range(explorer.pages - 1):
            explorer.turn(1)
            seen += explorer.shown
        explorer.turn(1)
        assert explorer.page == explorer.pages - 1
        assert sorted(seen) == list(range(64))
        strengths = explorer.maps.max((1, 2))[seen]
        assert seen == sorted(seen) if order == "number" else list(strengths) == sorted(strengths, reverse=True)
    explorer.choose_channel(63)
    assert 63 in explorer.shown


@pytest.mark.parametrize("side", [1, 5, 13, 14, 15, 23, 46, 55])
def test_cells_part_a_map(side):
    """Every row lies in one cell and no other, and no cell is empty."""
    count = min(side, CELLS)
    rows = [row for number in range(count) for row in range(side)[span(number, count, side)]]
    assert rows == list(range(side))
    assert all(range(side)[span(number, count, side)] for number in range(count))


def test_a_cell_gives_its_strongest_unit(explorer):
    """A click on a large map takes the strongest unit of its cell; the unit lies in the cell that was clicked."""
    explorer.choose_layer("features.1")  # 46 x 46 in 14 x 14 cells
    assert explorer.cells == (CELLS, CELLS)
    for row, col in [(0, 0), (3, 9), (13, 13)]:
        explorer.choose_cell(row, col)
        assert explorer.cell == (row, col)
        block = explorer.map[span(row, CELLS, 46), span(col, CELLS, 46)]
        assert explorer.unit.activation == pytest.approx(float(block.max()))


def test_a_layer_of_single_units_can_be_explored(explorer):
    """A linear layer is channels of 1 x 1: its units, its maps and its pictures are there."""
    explorer.choose_layer("classifier.5")
    assert explorer.size == (1, 1)
    assert explorer.channel == int(explorer.recording.output[0].argmax())
    assert pictures.mosaic(explorer).size == (6, 3)
    assert all(image.width for image in pictures.patch_and_projection(explorer))


def test_another_picture_keeps_layer_and_channel(explorer):
    """Another picture is looked at in the same channel; one that cannot be opened changes nothing."""
    explorer.choose_layer("features.9")
    explorer.choose_channel(5)
    explorer.choose_place((1, 1))
    before = explorer.projection
    with pytest.raises(PictureError, match="there is no such file"):
        explorer.open("nowhere.png")
    assert explorer.projection is before
    explorer.open(draw("cat", seed=1).picture)
    assert (explorer.layer, explorer.channel, explorer.place) == ("features.9", 5, "max")
    assert not torch.equal(explorer.projection.pixels, before.pixels)


@pytest.mark.parametrize(
    ("choose", "error", "message"),
    [
        (lambda e: e.choose_layer("features.33"), UnknownLayerError, "tiny has no layer 'features.33' to explore."),
        (lambda e: e.choose_channel(64), UnitError, "layer 'features.13' has no channel 64: it has 64, numbered from 0."),
        (
            lambda e: e.choose_place((11, 0)),
            UnitError,
            "layer 'features.13' has no position 11,0: its maps are 11x11, from 0,0.",
        ),
        (lambda e: e.choose_place("min"), OptionError, "place cannot be 'min': it is one of max, map."),
        (lambda e: e.choose_cell(0, 11), OptionError, "there is no cell 0,11: they are 11x11, from 0,0."),
        (lambda e: e.choose_rule("FT"), OptionError, "rule cannot be 'FT'"),
        (lambda e: e.choose_tone("shared"), OptionError, "tone cannot be 'shared'"),
        (lambda e: e.choose_order("size"), OptionError, "order cannot be 'size'"),
    ],
)
def test_what_is_not_there_cannot_be_chosen(explorer, choose, error, message):
    """Each wrong choice is refused in one line, and what is looked at stays."""
    before = explorer.code()
    with pytest.raises(error, match=re.escape(message)):
        choose(explorer)
    assert explorer.code() == before


def test_layers_from_which_no_rule_leads_down_are_left_out():
    """What cannot be projected is not offered; a net of which nothing can is refused."""

    class Waves(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            return self.second(torch.erf(self.relu(self.first(x))))

    explorer = Explorer(DeconvNet(Waves()), torch.rand(1, 3, 12, 14))
    assert list(explorer.layers) == ["first", "relu"]
    assert explorer.size == (10, 12)

    class Only(nn.Module):
        def forward(self, x):
            return torch.erf(x)

    with pytest.raises(NoRuleError, match="Only has no layer from which the rules lead to the pixels"):
        Explorer(DeconvNet(Only()), torch.rand(1, 3, 12, 14), layer="erf")


def test_takes_one_picture(net):
    """Two images are refused."""
    with pytest.raises(OptionError, match=r"the explorer shows one picture, found 2\. Give one of them\."):
        Explorer(net, torch.zeros(2, 3, 96, 96))


# ---- the pictures


def test_mosaic_holds_each_map_on_its_own_scale(explorer):
    """A tile of the mosaic is its channel's map: 0 is black, its maximum white."""
    sheet = np.asarray(pictures.mosaic(explorer))
    assert sheet.shape == (6 * 11, 6 * 11)
    for number in (0, 7, 35):
        own = explorer.maps[explorer.shown[number]]
        tile = sheet[number // 6 * 11 :, number % 6 * 11 :][:11, :11]
        assert np.array_equal(tile, np.rint(255 * own / own.max()))


def test_signed_maps_have_zero_at_mid_grey(explorer):
    """A convolution's map shows 0 as mid-grey, and both signs."""
    explorer.choose_layer("features.12")
    grey = pictures.grey_maps(np.array([[[-2.0, 0.0, 1.0]]], np.float32))
    assert grey.tolist() == [[[0, 128, 191]]]
    assert not pictures.grey_maps(np.zeros((1, 2, 2), np.float32)).any()


def test_patch_is_what_the_window_holds(explorer):
    """The patch beside a projection is cut from the very pixels that the net saw; beyond the edge it is hatched."""
    explorer.choose_layer("features.1")
    explorer.choose_place((20, 30))
    window = explorer.projection.windows[0]
    seen = explorer.projection.shown[0].pixels
    cut = pictures._patch(explorer.projection, (7, 7))
    assert np.array_equal(cut, seen[window.top : window.bottom, window.left : window.right])
    explorer.choose_place((0, 0))
    patch, projected = pictures.patch_and_projection(explorer)
    assert patch.size == projected.size
    assert patch.getpixel((6, 6)) == projected.getpixel((6, 6))  # both hatched


def test_facts_are_escaped(net):
    """A picture's name, a layer's or a class's can hold anything: the page shows it as text."""
    evil = "<img src=x onerror=alert(1)>"
    loaded = deconvnet.load_model("tiny")
    loaded.classes = (evil, *loaded.classes[1:])
    explorer = Explorer(DeconvNet(loaded), draw("face", seed=3).picture)
    shown = pictures.facts_table(explorer)
    assert "&lt;img src=x" in shown
    assert evil not in shown


# ---- the widgets


def board(explorer: Explorer) -> Board:
    pytest.importorskip("ipywidgets", reason="the board needs the extra `notebook`")
    return Board(explorer)


def test_a_click_on_a_map_shows_its_channel(explorer):
    """A click on a map changes the projection, the patch, the numbers, and the controls that follow."""
    shown = board(explorer)
    before = shown.projected.value
    shown.maps[4].click()
    assert explorer.channel == explorer.shown[4] == shown.channel.value
    assert shown.projected.value != before
    assert f"channels=[{explorer.channel}]" in shown.facts.value
    assert f"dn-map-{4}{{" in shown.chosen_style.value
    assert shown.trouble.value == ""


def test_a_click_on_a_place_shows_its_unit(explorer):
    """A click on the large map looks at the unit there; the sliders follow, and lead back by keyboard."""
    shown = board(explorer)
    shown.places.children[3 * 11 + 6].click()
    assert explorer.place == (3, 6)
    assert (shown.row.value, shown.col.value, shown.place.value) == (3, 6, "one")
    shown.row.value = 5
    assert explorer.place == (5, 6)
    shown.place.value = "map"
    assert explorer.unit.row is None
    shown.place.value = "one"
    assert explorer.unit.activation == pytest.approx(float(explorer.map.max()))


@pytest.mark.parametrize("name", ["layer", "rule", "tone", "order"])
def test_the_options_of_a_control_work(explorer, name):
    """No entry of any list fails; of the layers, every third."""
    shown = board(explorer)
    control = getattr(shown, name)
    values = [option[-1] if isinstance(option, tuple) else option for option in control.options]
    for value in values[:: 3 if name == "layer" else 1]:
        control.value = value
        assert shown.trouble.value == ""
        assert getattr(explorer, name) == value


def test_all_maps_can_be_reached(explorer):
    """Next and Back turn the pages; the number field takes any channel and turns to it."""
    shown = board(explorer)
    shown.forth.click()
    assert len(shown.mosaic.children) == 64 - PAGE
    assert shown.forth.disabled
    shown.back.click()
    assert len(shown.mosaic.children) == PAGE
    last = explorer.by_strength[-1]
    shown.channel.value = last
    assert explorer.page == 1
    assert shown.mosaic.children[-1].description.startswith(f"#{last}")


def upload(shown: Board, name: str, content: bytes) -> None:
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": 0}
    shown._do(lambda: shown._take_upload([file]), shown._show_all)


def test_an_upload_is_looked_at(explorer):
    """A picture from the browser takes the place of the one before, by its name."""
    shown, buffer = board(explorer), io.BytesIO()
    draw("cat", seed=2).picture.save(buffer, "PNG")
    before = shown.picture.value
    upload(shown, "cat.png", buffer.getvalue())
    assert shown.trouble.value == ""
    assert shown.picture.value != before
    assert explorer.projection.shown[0].source == "cat.png"


def bomb() -> bytes:
    """A small PNG that says it is 30,000 pixels a side."""
    buffer = io.BytesIO()
    Image.new("1", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("big.png", b"x" * (LARGEST_UPLOAD + 1), "it has 9.0 MiB, more than 9"),
        ("bomb.png", bomb(), "too many to be safe"),
        ("none.png", b"", "the file is empty"),
        ("<img onerror=a()>.png", b"no picture", "&lt;img onerror=a()&gt;.png"),
    ],
)
def test_a_bad_upload_is_refused_on_the_board(explorer, name, content, said):
    """Too many bytes, too many pixels, nothing, no picture: the board says so, escaped, and shows what it showed."""
    shown = board(explorer)
    before = shown.picture.value
    upload(shown, name, content)
    assert said in shown.trouble.value
    assert "<img" not in shown.trouble.value
    assert shown.picture.value == before
    shown.maps[1].click()
    assert shown.trouble.value == ""


def test_weights_that_changed_are_said(picture):
    """After training on, the board says that the recording is stale instead of showing what no longer holds."""
    loaded = deconvnet.load_model("tiny")
    shown = board(Explorer(DeconvNet(loaded), str(picture)))
    with torch.no_grad():
        loaded.model.features[0].weight.mul_(2)
    shown.maps[3].click()
    assert "StaleRecordingError" in shown.trouble.value


def test_boards_do_not_share_styles(explorer):
    """Two boards on one page keep their own maps."""
    one, two = board(explorer), board(explorer)
    assert one._scope != two._scope
    assert one._scope in one.maps_style.value
    assert one._scope not in two.maps_style.value


def test_style_gives_each_button_its_part():
    """The parts of the mosaic's buttons are laid out by rows and columns."""
    sheet = style.sheet()
    assert ".dn-map-0::before{background-position:0.00% var(--row-0)}" in sheet
    assert ".dn-map-35::before{background-position:100.00% var(--row-5)}" in sheet


def test_shows_itself(explorer):
    """The board is shown by Jupyter as its widget, of ipywidgets' own kinds only."""
    shown = board(explorer)
    assert "application/vnd.jupyter.widget-view+json" in shown._repr_mimebundle_()
    import ipywidgets

    def inside(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from inside(child)

    assert {type(widget).__module__.partition(".")[0] for widget in inside(shown.widget)} == {"ipywidgets"}
    assert isinstance(shown.widget, ipywidgets.VBox)


def test_a_click_costs_one_projection(explorer, monkeypatch):
    """A click asks for one unit's projection and for no pass of the model, which makes it quick (docs/notebook.md has times)."""
    shown, projected, passes = board(explorer), [], []
    project = explorer.net.project
    monkeypatch.setattr(
        explorer.net, "project", lambda *args, **options: projected.append(options) or project(*args, **options)
    )
    handle = explorer.net.model.register_forward_hook(lambda *_: passes.append(1))
    for number in range(1, 10):
        shown.maps[number].click()
        assert len(projected) == number
    handle.remove()
    assert all(len(options["channels"]) == 1 for options in projected)
    assert passes == []


def test_without_ipywidgets_a_static_figure(net, picture, monkeypatch, capsys):
    """Where ipywidgets is missing, the line that installs it is said, and the nine strongest channels are returned."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    shown = deconvnet.explore(net, str(picture), layer="features.5")
    assert isinstance(shown, deconvnet.Projection)
    assert (shown.layer, len(shown)) == ("features.5", 9)
    assert 'In a checkout: pip install -e ".[notebook]"' in capsys.readouterr().err


def test_explore_takes_a_module_and_a_tensor():
    """Any module with an image as it expects it; and without a picture a drawing."""
    pytest.importorskip("ipywidgets", reason="the board needs the extra `notebook`")
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU())
    shown = deconvnet.explore(model, torch.rand(1, 1, 9, 13))
    assert shown.projection.frame == (1, 9, 13)
    assert "drawing" in deconvnet.explore(deconvnet.load_model("tiny")).projection.shown[0].source


# ---- the command


def test_the_job_is_json_beside_the_notebook(tmp_path):
    """What was asked for reaches the notebook as data; the token stands in a file, not in the command; the kernel is this Python."""
    job = {"picture": "'); import os #.png", "cwd": str(tmp_path)}
    serve.write_files(tmp_path, job, 8123, "secret")
    assert json.loads((tmp_path / "job.json").read_text()) == job
    assert "import os" not in (tmp_path / "explore.ipynb").read_text()
    settings = json.loads((tmp_path / "voila.json").read_text())["Voila"]
    assert (settings["ip"], settings["port"], settings["token"]) == ("127.0.0.1", 8123, "secret")
    kernel = json.loads(next(tmp_path.rglob("kernel.json")).read_text())
    assert kernel["argv"][0] == sys.executable
    inside = serve.environment(tmp_path)
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        assert Path(inside[name]).is_relative_to(tmp_path)


def test_the_notebook_shows_what_was_handed_over(tmp_path, monkeypatch, picture):
    """In the notebook the job becomes the explorer, with its model, options and choices; what fails is said, escaped."""
    pytest.importorskip("ipywidgets", reason="the board needs the extra `notebook`")
    job = {
        "cwd": str(picture.parent), "picture": picture.name, "model": "tiny", "weights": "DEFAULT", "device": "cpu",
        "preprocess": {"mean": [0.4, 0.4, 0.4], "std": None, "size": None}, "options": {"overlap": "last", "lrn": "identity"},
        "choices": {"layer": "features.5", "rule": "guided", "tone": "grey"},
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setenv(serve.JOB_VARIABLE, str(tmp_path / "job.json"))
    monkeypatch.chdir(tmp_path)
    shown = serve.explore_job()
    assert shown.projection.settings["preprocess"]["mean"] == (0.4, 0.4, 0.4)
    assert shown.projection.settings["overlap"] == "last"
    assert (shown.explorer.layer, shown.explorer.rule, shown.explorer.tone) == ("features.5", "guided", "grey")
    (tmp_path / "job.json").write_text(json.dumps({**job, "picture": "<b>.png"}))
    assert "&lt;b&gt;.png" in serve.explore_job().data


def test_the_folder_is_private_and_goes():
    """Only its owner can look into the folder; it is gone afterwards, also when the command is stopped."""
    seen = []
    with contextlib.suppress(KeyboardInterrupt), serve._private_folder() as folder:
        seen.append(stat.S_IMODE(folder.stat().st_mode))
        (folder / "data").mkdir()
        raise KeyboardInterrupt
    assert seen == [0o700] or os.name != "posix"
    assert not folder.exists()


def test_a_port_in_use_is_said():
    """A port that is taken is refused; 0 gives a free one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OptionError, match=f"port {port} cannot be used: .* Give another port, or none for a free one."):
            serve.free_port(port)
    assert serve.free_port(0) > 0


def test_a_server_that_dies_is_said(tmp_path, monkeypatch):
    """Where Voilà cannot start, the command says its last words, and leaves no folder."""
    monkeypatch.setattr(serve.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(serve.sys, "executable", "/bin/false" if os.name == "posix" else sys.executable)
    with pytest.raises(OptionError, match=r"the explorer's server did not start\. Its log is empty\."):
        serve.serve({}, browser=False)
    assert not list(tmp_path.iterdir())


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deconvnet", "explore", *arguments],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_without_the_extra_the_command_says_one_line(tmp_path):
    """Without Voilà the command says how to install it, and exits 1."""
    (tmp_path / "voila.py").write_text("raise ImportError('No module named voila')\n")
    ran = command(PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr == (
        "MissingPackageError: deconvnet explore needs voila, which cannot be imported (No module named voila)."
        ' In a checkout: pip install -e ".[notebook]"\n'
    )


def test_what_is_wrong_is_said_before_a_page_opens(tmp_path):
    """A picture that is not there ends the command with one line and exit code 1."""
    pytest.importorskip("voila", reason="the command needs the extra `notebook`")
    ran = command("nowhere.png", "--no-browser")
    assert ran.returncode == 1
    assert ran.stderr == "PictureError: cannot open 'nowhere.png': there is no such file. Check the path.\n"


# ---- what shows itself in a notebook


def test_recordings_show_their_pictures(net, tmp_path):
    """A recording shows the very pixels that the net saw, with names, escaped, and what the net says."""
    path = tmp_path / "<b>cat<b>.png"
    draw("cat", seed=4).picture.save(path)
    recording = net.record([str(path)])
    shown = recording._repr_html_()
    assert "&lt;b&gt;cat&lt;b&gt;.png" in shown
    assert "<b>" not in shown
    data = base64.b64decode(re.search(r"base64,([^\"]+)", shown)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), net.project(recording, top=1).shown[0].pixels)
    assert "Recording(1 images of 3x96x96" in shown


def test_large_recordings_show_the_first_twelve():
    """More pictures than fit are counted."""
    net = DeconvNet(nn.Conv2d(3, 2, 3))
    shown = net.record(torch.rand(15, 3, 8, 8))._repr_html_()
    assert shown.count("<img") == 12
    assert "3 more images" in shown


def test_tables_are_escaped(net):
    """Layers and mirrors show themselves as tables; a name cannot bring markup."""
    model = nn.Sequential()
    model.add_module("<i>", nn.Conv2d(3, 2, 3))
    own = DeconvNet(model)
    for shown in (own.layers()._repr_html_(), own.mirror(own.record_zeros(), "<i>")._repr_html_()):
        assert "&lt;i&gt;" in shown
        assert "<i>" not in shown
    assert net.layers()._repr_html_().count("<tr>") == len(net.layers()) + 1


def test_scans_show_themselves(net, tmp_path):
    """A scan shows what was scanned and a row for each layer, escaped."""
    folder = tmp_path / "<u>"
    folder.mkdir()
    for seed in range(3):
        draw("face", seed=seed).picture.save(folder / f"{seed}.png")
    scan = deconvnet.scan(net, str(folder), str(folder / "net.scan"), layers=["features.13", "features.5"])
    shown = scan._repr_html_()
    assert "3 of 3 pictures, 2 layers" in shown
    assert "<u>" not in shown
    dead = len(scan.dead("features.13"))
    assert f"<td>features.13</td><td>64</td><td>11x11</td><td>{dead}</td>" in shown
    scan.close()


# ---- steps


class Fork(nn.Module):
    """Two branches that meet twice: by a sum and by a concatenation."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.pool, self.last = nn.MaxPool2d(3, 2), nn.Conv2d(8, 5, 3)

    def forward(self, x):
        x = self.stem(x).relu()
        left, right = self.left(x).relu(), self.right(x)
        return self.last(self.pool(torch.cat([left + right, x], 1))).relu()


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient", "FFT"])
@pytest.mark.parametrize("place", [(1, 2), (None, None)])
def test_steps_end_at_the_projection(rule, place):
    """The last step is the projection in the whole frame, whatever the rule and however the branches meet."""
    net = DeconvNet(Fork())
    recording = net.record(torch.randn(2, 3, 15, 17))
    unit = Unit("relu_2", 3, *place, image=1)
    steps = net.steps(recording, unit, rule=rule)
    expected = net.project(recording, "relu_2", units=[unit], rule=rule).pixels[0]
    assert torch.allclose(steps[-1][1], expected, atol=1e-6)
    assert [step.layer for step, _ in steps][:2] == ["relu_2", "last"]


def test_each_step_is_its_rule(net, picture):
    """Rectify, filter and unpool are what plain torch makes of the signal before them."""
    recording = net.record([str(picture)])
    steps = net.steps(recording, net.project(recording, top=1).units[0])
    modules = dict(net.model.named_modules())
    checked = set()
    for (_, above), (step, below) in itertools.pairwise(steps):
        if step.call == "relu":
            assert torch.equal(below, above.clamp(min=0))
        elif step.call == "conv2d" and step.layer != "features.0":
            module = modules[step.layer]
            made = torch.nn.functional.conv_transpose2d(above[None], module.weight, padding=module.padding)[0]
            assert torch.allclose(below, made, atol=1e-5)
        elif step.call == "max_pool2d":
            assert float(below.sum()) == pytest.approx(float(above.sum()), rel=1e-4)
            assert int((below != 0).sum()) <= int((above != 0).sum())
        checked.add(step.call)
    assert {"relu", "conv2d", "max_pool2d", "local_response_norm"} <= checked


def test_steps_leave_the_recording_alone(net, picture):
    """Asking for steps changes no later projection: what is handed out is a copy."""
    recording = net.record([str(picture)])
    projection = net.project(recording, top=1)
    for _, signal in net.steps(recording, projection.units[0]):
        signal.fill_(7)
    assert torch.equal(net.project(recording, top=1).pixels, projection.pixels)


def test_steps_of_a_unit_that_is_not_there(net, picture):
    """A unit that the layer does not have is refused as `project` refuses it."""
    with pytest.raises(UnitError, match="has no channel 99"):
        net.steps(net.record([str(picture)]), Unit("features.1", 99))


def test_every_reversal_is_offered_once():
    """The rules that can be chosen are the eight settings of the three bits."""
    assert len({tuple(parse_rule(rule).values()) for rule in RULES}) == len(RULES) == 8
