"""The explorer: its state, its pictures, its widgets, its command, and how objects are displayed in a notebook."""

from __future__ import annotations

import base64
import contextlib
import errno
import html
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
from deconvnet.explorer.state import CELLS, PAGE, RULES, Explorer, cell_slice
from deconvnet.explorer.upload import LARGEST_UPLOAD
from deconvnet.explorer.widgets import ExplorerWidget
from deconvnet.rules import parse_rule


@pytest.fixture(scope="module")
def net() -> DeconvNet:
    return DeconvNet(deconvnet.load_model("tiny"))


@pytest.fixture
def explorer(net, picture) -> Explorer:
    return Explorer(net, str(picture))


# ---- the state


def test_begins_at_the_strongest_unit_of_the_default_layer(net, picture, explorer):
    """It begins where `project` does: at its default layer, the strongest channel, its strongest position."""
    unit = net.project(net.record([str(picture)]), top=1).units[0]
    assert (explorer.layer, explorer.channel) == (unit.layer, unit.channel)
    assert explorer.unit == unit
    assert explorer.rank == 1


@pytest.mark.parametrize("position", ["max", "map", (2, 3)])
@pytest.mark.parametrize("rule", ["deconvnet", "gradient", "FFT"])
def test_shows_what_project_gives(net, picture, explorer, position, rule):
    """Whatever is chosen, the projection is that of `DeconvNet.project`, and the line of code says how to get it."""
    explorer.choose_layer("features.5")
    explorer.choose_channel(7)
    explorer.choose_position(position)
    explorer.choose_rule(rule)
    recording = net.record([str(picture)])
    expected = net.project(recording, "features.5", channels=[7], at=position, rule=rule)
    assert torch.equal(explorer.projection.pixels, expected.pixels)
    assert explorer.unit == expected.units[0]
    repeated = eval(explorer.code(), {"net": net, "recording": recording})
    assert torch.equal(repeated.pixels, expected.pixels)


def test_a_choice_is_projected_once(explorer, monkeypatch):
    """The same choice is not projected again; another is."""
    calls = []
    project = explorer.net.project
    monkeypatch.setattr(explorer.net, "project", lambda *args, **more: calls.append(more) or project(*args, **more))
    first = explorer.projection
    explorer.choose_tone("grey")
    assert explorer.projection is first
    explorer.choose_rule("guided")
    assert explorer.projection is not first
    assert len(calls) == 2


def test_pages_hold_every_channel_once(explorer):
    """The mosaic's pages show all channels, in order of strength or number, and turn to the channel chosen."""
    for order in ("strongest", "number"):
        explorer.choose_order(order)
        explorer.turn_pages(-100)
        channels = list(explorer.page_channels)
        for _ in range(explorer.pages - 1):
            explorer.turn_pages(1)
            channels += explorer.page_channels
        explorer.turn_pages(1)
        assert explorer.page == explorer.pages - 1
        assert sorted(channels) == list(range(96))
        strengths = explorer.maps.max((1, 2))[channels]
        assert channels == sorted(channels) if order == "number" else list(strengths) == sorted(strengths, reverse=True)
    explorer.choose_channel(63)
    assert 63 in explorer.page_channels


@pytest.mark.parametrize("side", [1, 5, 13, 14, 15, 23, 46, 55])
def test_cells_divide_a_map(side):
    """Every row lies in exactly one cell, and no cell is empty."""
    count = min(side, CELLS)
    rows = [row for number in range(count) for row in range(side)[cell_slice(number, count, side)]]
    assert rows == list(range(side))
    assert all(range(side)[cell_slice(number, count, side)] for number in range(count))


def test_a_cell_gives_its_strongest_unit(explorer):
    """A click on a large map takes the strongest unit of its cell; the unit lies in the cell that was clicked."""
    explorer.choose_layer("features.1")  # 46 x 46 in 14 x 14 cells
    assert explorer.cells == (CELLS, CELLS)
    for row, col in [(0, 0), (3, 9), (13, 13)]:
        explorer.choose_cell(row, col)
        assert explorer.cell == (row, col)
        block = explorer.map[cell_slice(row, CELLS, 46), cell_slice(col, CELLS, 46)]
        assert explorer.unit.activation == pytest.approx(float(block.max()))


def test_a_layer_of_single_units_can_be_explored(explorer):
    """A linear layer has channels of 1 x 1, with units, maps and pictures like any other."""
    explorer.choose_layer("classifier.5")
    assert explorer.size == (1, 1)
    assert explorer.channel == int(explorer.recording.output[0].argmax())
    assert pictures.draw_mosaic(explorer).size == (6, 3)
    assert all(image.width for image in pictures.draw_patch_and_projection(explorer))


def test_another_picture_keeps_layer_and_channel(explorer):
    """Another picture is shown in the same channel; one that cannot be opened changes nothing."""
    explorer.choose_layer("features.9")
    explorer.choose_channel(5)
    explorer.choose_position((1, 1))
    before = explorer.projection
    with pytest.raises(PictureError, match="there is no such file"):
        explorer.open("nowhere.png")
    assert explorer.projection is before
    explorer.open(draw("cat", seed=1).picture)
    assert (explorer.layer, explorer.channel, explorer.position) == ("features.9", 5, "max")
    assert not torch.equal(explorer.projection.pixels, before.pixels)


@pytest.mark.parametrize(
    ("choose", "error", "message"),
    [
        (
            lambda e: e.choose_layer("features.33"),
            UnknownLayerError,
            "tiny has no layer 'features.33' to explore. Did you mean 'features.3' or 'features.13' or 'features.9'? "
            "See: deconvnet layers tiny",
        ),
        (lambda e: e.choose_channel(96), UnitError, "layer 'features.9' has no channel 96: it has 96, numbered from 0."),
        (
            lambda e: e.choose_position((11, 0)),
            UnitError,
            "layer 'features.9' has no position 11,0: its maps are 11x11, from 0,0.",
        ),
        (lambda e: e.choose_position("min"), OptionError, "position cannot be 'min': it is one of max, map."),
        (lambda e: e.choose_cell(0, 11), OptionError, "there is no cell 0,11: they are 11x11, from 0,0."),
        (
            lambda e: e.choose_rule("FT"),
            OptionError,
            "rule cannot be 'FT': it is one of auto, deconvnet, guided, gradient, or three bits such as FTT.",
        ),
        (
            lambda e: e.choose_tone("shared"),
            OptionError,
            "tone cannot be 'shared': it is one of soft, symmetric, grey, minmax, positive, magnitude, sigmoid.",
        ),
        (lambda e: e.choose_order("size"), OptionError, "order cannot be 'size': it is one of strongest, number."),
        (
            lambda e: e.open(torch.zeros(2, 3, 96, 96)),
            OptionError,
            "the explorer shows one picture, found 2. Give one of them.",
        ),
    ],
)
def test_what_does_not_exist_cannot_be_chosen(explorer, choose, error, message):
    """Each wrong choice is refused in one line, and the choice before stays."""
    before = explorer.code()
    with pytest.raises(error) as caught:
        choose(explorer)
    assert str(caught.value) == message
    assert explorer.code() == before


def test_layers_from_which_no_rule_leads_down_are_left_out():
    """Layers that cannot be projected are not offered; a net without any other layer is refused."""

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

    with pytest.raises(NoRuleError) as caught:
        Explorer(DeconvNet(Only()), torch.rand(1, 3, 12, 14), layer="erf")
    assert str(caught.value) == "Only has no layer from which the rules lead to the pixels. See: deconvnet layers Only"


def test_takes_one_picture(net):
    """Two images are refused."""
    with pytest.raises(OptionError, match=r"the explorer shows one picture, found 2\. Give one of them\."):
        Explorer(net, torch.zeros(2, 3, 96, 96))


# ---- the pictures


def test_mosaic_holds_each_map_on_its_own_scale(explorer):
    """A tile of the mosaic is its channel's map: 0 is black, its maximum white."""
    sheet = np.asarray(pictures.draw_mosaic(explorer))
    assert sheet.shape == (6 * 11, 6 * 11)
    for number in (0, 7, 35):
        values = explorer.maps[explorer.page_channels[number]]
        tile = sheet[number // 6 * 11 :, number % 6 * 11 :][:11, :11]
        assert np.array_equal(tile, np.rint(255 * values / values.max()))


def test_signed_maps_have_zero_at_mid_grey(explorer):
    """A convolution's map shows 0 as mid-grey, and both signs."""
    explorer.choose_layer("features.12")
    grey = pictures.grey_maps(np.array([[[-2.0, 0.0, 1.0]]], np.float32))
    assert grey.tolist() == [[[0, 128, 191]]]
    assert not pictures.grey_maps(np.zeros((1, 2, 2), np.float32)).any()


@pytest.mark.parametrize("position", [(20, 30), (0, 0)])
def test_patch_is_what_lies_where_the_projection_is(explorer, position):
    """The patch beside a projection is cut from the pixels that the net saw, where the projection's energy is."""
    explorer.choose_layer("features.1")
    explorer.choose_position(position)
    (box,) = explorer.projection.boxes
    pixels = explorer.projection.shown[0].pixels
    assert np.array_equal(pictures.cut_patch(explorer.projection), pixels[box.top : box.bottom, box.left : box.right])
    patch, projected = pictures.draw_patch_and_projection(explorer)
    assert patch.size == projected.size


def test_facts_are_escaped(net):
    """Names of pictures, layers and classes can hold anything; the page shows them as text."""
    evil = "<img src=x onerror=alert(1)>"
    loaded = deconvnet.load_model("tiny")
    loaded.classes = (evil, *loaded.classes[1:])
    explorer = Explorer(DeconvNet(loaded), draw("face", seed=3).picture)
    markup = pictures.facts_html(explorer)
    assert "&lt;img src=x" in markup
    assert evil not in markup


# ---- the widgets


def widget_of(explorer: Explorer) -> ExplorerWidget:
    pytest.importorskip("ipywidgets", reason="the explorer needs the extra `notebook`")
    return ExplorerWidget(explorer)


def test_a_click_on_a_map_shows_its_channel(explorer):
    """A click on a map changes the projection, the patch, the numbers, and the controls that follow."""
    explorer_widget = widget_of(explorer)
    before = explorer_widget.projection_image.value
    explorer_widget.maps[4].click()
    assert explorer.channel == explorer.page_channels[4] == explorer_widget.channel.value
    assert explorer_widget.projection_image.value != before
    assert f"channels=[{explorer.channel}]" in explorer_widget.facts.value
    assert f"dn-map-{4}{{" in explorer_widget.chosen_style.value
    assert explorer_widget.error.value == ""


def test_a_click_on_a_position_shows_its_unit(explorer):
    """A click on the large map chooses the unit there; the sliders follow, and choose units by keyboard."""
    explorer_widget = widget_of(explorer)
    explorer_widget.map_cells.children[3 * 11 + 6].click()
    assert explorer.position == (3, 6)
    assert (explorer_widget.row.value, explorer_widget.col.value, explorer_widget.selection.value) == (3, 6, "position")
    explorer_widget.row.value = 5
    assert explorer.position == (5, 6)
    explorer_widget.selection.value = "map"
    assert explorer.unit.row is None
    explorer_widget.selection.value = "position"
    assert explorer.unit.activation == pytest.approx(float(explorer.map.max()))


@pytest.mark.parametrize("name", ["layer", "rule", "tone", "order"])
def test_the_options_of_a_control_work(explorer, name):
    """No entry of any list fails; of the layers, every third."""
    explorer_widget = widget_of(explorer)
    control = getattr(explorer_widget, name)
    values = [option[-1] if isinstance(option, tuple) else option for option in control.options]
    for value in values[:: 3 if name == "layer" else 1]:
        control.value = value
        assert explorer_widget.error.value == ""
        assert getattr(explorer, name) == value


def test_all_maps_can_be_reached(explorer):
    """Next and Back turn the pages; the number field takes any channel and turns to it."""
    explorer.choose_layer("features.13")
    explorer_widget = widget_of(explorer)
    explorer_widget.next.click()
    assert len(explorer_widget.mosaic.children) == 64 - PAGE
    assert explorer_widget.next.disabled
    explorer_widget.back.click()
    assert len(explorer_widget.mosaic.children) == PAGE
    last = explorer.by_strength[-1]
    explorer_widget.channel.value = last
    assert explorer.page == 1
    assert explorer_widget.mosaic.children[-1].description.startswith(f"{last}")


def upload(explorer_widget: ExplorerWidget, name: str, content: bytes) -> None:
    file = {"name": name, "type": "image/png", "size": len(content), "content": memoryview(content), "last_modified": 0}
    explorer_widget._run(lambda: explorer_widget._open_upload([file]), explorer_widget._show_all)


def test_an_upload_is_shown(explorer):
    """A picture from the browser replaces the one before, and keeps its name."""
    explorer_widget, buffer = widget_of(explorer), io.BytesIO()
    draw("cat", seed=2).picture.save(buffer, "PNG")
    before = explorer_widget.picture_image.value
    upload(explorer_widget, "cat.png", buffer.getvalue())
    assert explorer_widget.error.value == ""
    assert explorer_widget.picture_image.value != before
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
    ("name", "content", "message"),
    [
        ("big.png", b"x" * (LARGEST_UPLOAD + 1), "cannot take 'big.png': it has 9.0 MiB, more than 9. Shrink it first."),
        (
            "bomb.png",
            bomb(),
            "cannot open 'bomb.png': it has more than 89,478,485 pixels, too many to be safe. Shrink it first.",
        ),
        ("none.png", b"", "cannot open 'none.png': the file is empty. Get a fresh copy."),
        (
            "<img onerror=a()>.png",
            b"no picture",
            "cannot open '<img onerror=a()>.png': it is a text, which is not read as a picture. Convert it to PNG or JPEG.",
        ),
    ],
)
def test_a_bad_upload_is_refused_on_the_page(explorer, name, content, message):
    """Too many bytes or pixels, an empty file, no picture: an error is shown, escaped, and the picture stays."""
    explorer_widget = widget_of(explorer)
    before = explorer_widget.picture_image.value
    upload(explorer_widget, name, content)
    shown = re.fullmatch(r'<span class="dn-error" role="alert">([^<]*)</span>', explorer_widget.error.value)[1]
    assert html.unescape(shown) == f"PictureError: {message}"
    assert explorer_widget.picture_image.value == before
    explorer_widget.maps[1].click()
    assert explorer_widget.error.value == ""


def test_changed_weights_are_an_error(picture):
    """After further training, an error says that the recording is stale."""
    loaded = deconvnet.load_model("tiny")
    explorer_widget = widget_of(Explorer(DeconvNet(loaded), str(picture)))
    with torch.no_grad():
        loaded.model.features[0].weight.mul_(2)
    explorer_widget.maps[3].click()
    assert "StaleRecordingError" in explorer_widget.error.value


def test_explorers_do_not_share_styles(explorer):
    """Two explorers on one page keep their own maps."""
    first, second = widget_of(explorer), widget_of(explorer)
    assert first._scope != second._scope
    assert first._scope in first.maps_style.value
    assert first._scope not in second.maps_style.value


def test_style_gives_each_button_its_part():
    """The parts of the mosaic's buttons are laid out by rows and columns."""
    sheet = style.sheet()
    assert ".dn-map-0::before{background-position:0.00% var(--row-0)}" in sheet
    assert ".dn-map-35::before{background-position:100.00% var(--row-5)}" in sheet


def test_shows_itself(explorer):
    """Jupyter displays the explorer as a widget, made of ipywidgets' own widgets only."""
    explorer_widget = widget_of(explorer)
    assert "application/vnd.jupyter.widget-view+json" in explorer_widget._repr_mimebundle_()
    import ipywidgets

    def inside(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from inside(child)

    assert {type(widget).__module__.partition(".")[0] for widget in inside(explorer_widget.widget)} == {"ipywidgets"}
    assert isinstance(explorer_widget.widget, ipywidgets.VBox)


def test_a_click_costs_one_projection(explorer, monkeypatch):
    """A click asks for one unit's projection and for no pass of the model, which makes it quick (docs/notebook.md has times)."""
    explorer_widget, projected, passes = widget_of(explorer), [], []
    project = explorer.net.project
    monkeypatch.setattr(
        explorer.net, "project", lambda *args, **options: projected.append(options) or project(*args, **options)
    )
    handle = explorer.net.model.register_forward_hook(lambda *_: passes.append(1))
    for number in range(1, 10):
        explorer_widget.maps[number].click()
        assert len(projected) == number
    handle.remove()
    assert all(len(options["channels"]) == 1 for options in projected)
    assert passes == []


def test_old_ipywidgets_a_static_figure(net, picture, monkeypatch, capsys):
    """With the ipywidgets that Colab brings, a line says which are needed, and the nine strongest channels are returned."""
    ipywidgets = pytest.importorskip("ipywidgets", reason="the explorer needs the extra `notebook`")
    monkeypatch.setattr(ipywidgets, "__version__", "7.7.1")
    explored = deconvnet.explore(net, picture)
    assert isinstance(explored, deconvnet.Projection)
    assert len(explored) == 9
    assert capsys.readouterr().err == (
        "the explorer needs ipywidgets 8 or newer, found 7.7.1. Install one and restart the kernel:"
        ' pip install "ipywidgets>=8" Until then, the nine strongest channels:\n'
    )


def test_without_ipywidgets_a_static_figure(net, picture, monkeypatch, capsys):
    """Without ipywidgets, a line says how to install it, and the nine strongest channels are returned."""
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    projection = deconvnet.explore(net, str(picture), layer="features.5")
    assert isinstance(projection, deconvnet.Projection)
    assert (projection.layer, len(projection)) == ("features.5", 9)
    assert 'In a checkout: pip install -e ".[notebook]"' in capsys.readouterr().err


def test_explore_takes_a_module_and_a_tensor():
    """Any module works with an image as it expects it; without a picture, a drawing is shown."""
    pytest.importorskip("ipywidgets", reason="the explorer needs the extra `notebook`")
    model = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU())
    explorer_widget = deconvnet.explore(model, torch.rand(1, 1, 9, 13))
    assert explorer_widget.projection.frame == (1, 9, 13)
    assert "drawing" in deconvnet.explore(deconvnet.load_model("tiny")).projection.shown[0].source


# ---- the command


def test_the_job_is_json_beside_the_notebook(tmp_path):
    """Options reach the notebook as data; the token is in a file, not on the command line; the kernel is this Python."""
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


def test_the_notebook_shows_the_job(tmp_path, monkeypatch, picture):
    """In the notebook the job becomes the explorer, with its model, options and choices; an error is shown, escaped."""
    pytest.importorskip("ipywidgets", reason="the explorer needs the extra `notebook`")
    job = {
        "cwd": str(picture.parent), "picture": picture.name, "model": "tiny", "weights": "DEFAULT", "device": "cpu",
        "preprocess": {"mean": [0.4, 0.4, 0.4], "std": None, "size": None}, "options": {"overlap": "last", "lrn": "identity"},
        "choices": {"layer": "features.5", "rule": "guided", "tone": "grey"},
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setenv(serve.JOB_VARIABLE, str(tmp_path / "job.json"))
    monkeypatch.chdir(tmp_path)
    explorer_widget = serve.explore_job()
    assert explorer_widget.projection.settings["preprocess"]["mean"] == (0.4, 0.4, 0.4)
    assert explorer_widget.projection.settings["overlap"] == "last"
    assert (explorer_widget.state.layer, explorer_widget.state.rule, explorer_widget.state.tone) == (
        "features.5",
        "guided",
        "grey",
    )
    (tmp_path / "job.json").write_text(json.dumps({**job, "picture": "<b>.png"}))
    assert "&lt;b&gt;.png" in serve.explore_job().data


def test_the_folder_is_private_and_deleted():
    """Only its owner can read the folder; it is deleted afterwards, also when the command is interrupted."""
    modes = []
    with contextlib.suppress(KeyboardInterrupt), serve._private_folder() as folder:
        modes.append(stat.S_IMODE(folder.stat().st_mode))
        (folder / "data").mkdir()
        raise KeyboardInterrupt
    assert modes == [0o700] or os.name != "posix"
    assert not folder.exists()


def test_a_port_in_use_is_refused():
    """A port that is taken is refused; 0 gives a free one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OptionError) as caught:
            serve.free_port(port)
        reason = os.strerror(errno.EADDRINUSE)
        assert str(caught.value) == f"port {port} cannot be used: {reason}. Give another port, or none for a free one."
    assert serve.free_port(0) > 0


def test_a_server_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    """If Voilà cannot start, the command shows the end of its log, and leaves no folder."""
    monkeypatch.setattr(serve.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(serve.sys, "executable", "/bin/false" if os.name == "posix" else sys.executable)
    with pytest.raises(OptionError) as caught:
        serve.serve({}, browser=False)
    assert str(caught.value) == "the explorer's server did not start. Its log is empty."
    assert not list(tmp_path.iterdir())


class Server:
    """Stands in for Voilà: it writes a line to its log, and then runs or has ended."""

    stdin = None

    def __init__(self, command: list[str], *, stdout: io.BufferedWriter, **options: object) -> None:
        stdout.write(b"first line\n  last line\n")

    def poll(self) -> int | None:
        return None

    def wait(self, timeout: float | None = None) -> int:
        return 3

    def terminate(self) -> None:
        pass


def test_a_server_that_does_not_answer_is_an_error(monkeypatch):
    """Voilà that runs but cannot be reached is an error with the last line of its log."""
    monkeypatch.setattr(serve.subprocess, "Popen", Server)
    monkeypatch.setattr(serve, "START_TIMEOUT", 0.2)
    with pytest.raises(OptionError) as caught:
        serve.serve({}, browser=False)
    assert str(caught.value) == "the explorer's server did not answer within 0.2 s. Its log ends with: last line"


def test_a_server_that_ends_is_an_error(monkeypatch):
    """Voilà that ends by itself is an error with its exit code; the address was given before."""
    addresses = []
    monkeypatch.setattr(serve.subprocess, "Popen", Server)
    monkeypatch.setattr(serve, "_wait_until_up", lambda *_: None)
    with pytest.raises(OptionError) as caught:
        serve.serve({}, browser=False, on_address=addresses.append)
    assert str(caught.value) == ("the explorer's server ended by itself, with exit code 3. Its log ends with: last line")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", addresses[0])


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


def test_errors_come_before_a_page_opens(tmp_path):
    """A picture that does not exist ends the command with one line and exit code 1."""
    pytest.importorskip("voila", reason="the command needs the extra `notebook`")
    ran = command("nowhere.png", "--no-browser")
    assert ran.returncode == 1
    assert ran.stderr == "PictureError: cannot open 'nowhere.png': there is no such file. Check the path.\n"


# ---- how objects are displayed in a notebook


def test_recordings_show_their_pictures(net, tmp_path):
    """A recording shows the pixels that the net saw, with their names, escaped, and most probable classes."""
    path = tmp_path / "<b>cat<b>.png"
    draw("cat", seed=4).picture.save(path)
    recording = net.record([str(path)])
    markup = recording._repr_html_()
    assert "&lt;b&gt;cat&lt;b&gt;.png" in markup
    assert "<b>" not in markup
    data = base64.b64decode(re.search(r"base64,([^\"]+)", markup)[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), net.project(recording, top=1).shown[0].pixels)
    assert "Recording(1 images of 3x96x96" in markup


def test_large_recordings_show_the_first_twelve():
    """More pictures than fit are counted."""
    net = DeconvNet(nn.Conv2d(3, 2, 3))
    markup = net.record(torch.rand(15, 3, 8, 8))._repr_html_()
    assert markup.count("<img") == 12
    assert "3 more images" in markup


def test_tables_are_escaped(net):
    """Layers and mirrors are displayed as tables, with their names escaped."""
    model = nn.Sequential()
    model.add_module("<i>", nn.Conv2d(3, 2, 3))
    evil_net = DeconvNet(model)
    for markup in (evil_net.layers()._repr_html_(), evil_net.mirror(evil_net.record_zeros(), "<i>")._repr_html_()):
        assert "&lt;i&gt;" in markup
        assert "<i>" not in markup
    assert net.layers()._repr_html_().count("<tr>") == len(net.layers()) + 1


def test_scans_show_themselves(net, tmp_path):
    """A scan is displayed as what was scanned and a row for each layer, escaped."""
    folder = tmp_path / "<u>"
    folder.mkdir()
    for seed in range(3):
        draw("face", seed=seed).picture.save(folder / f"{seed}.png")
    scan = deconvnet.scan(net, str(folder), str(folder / "net.scan"), layers=["features.13", "features.5"])
    markup = scan._repr_html_()
    assert "3 of 3 pictures, 2 layers" in markup
    assert "<u>" not in markup
    dead = len(scan.dead("features.13"))
    assert f"<td>features.13</td><td>64</td><td>11x11</td><td>{dead}</td>" in markup
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
@pytest.mark.parametrize("position", [(1, 2), (None, None)])
def test_steps_end_at_the_projection(rule, position):
    """The last step is the projection in the whole frame, whatever the rule and however the branches meet."""
    net = DeconvNet(Fork())
    recording = net.record(torch.randn(2, 3, 15, 17))
    unit = Unit("relu_2", 3, *position, image=1)
    steps = net.steps(recording, unit, rule=rule)
    expected = net.project(recording, "relu_2", units=[unit], rule=rule).pixels[0]
    assert torch.allclose(steps[-1][1], expected, atol=1e-6)
    assert [step.layer for step, _ in steps][:2] == ["relu_2", "last"]


def test_each_step_is_its_rule(net, picture):
    """Rectify, filter and unpool equal plain torch applied to the signal before them."""
    recording = net.record([str(picture)])
    steps = net.steps(recording, net.project(recording, top=1).units[0])
    modules = dict(net.model.named_modules())
    checked = set()
    for (_, above), (step, below) in itertools.pairwise(steps):
        if step.call == "relu":
            assert torch.equal(below, above.clamp(min=0))
        elif step.call == "conv2d" and step.layer != "features.0":
            module = modules[step.layer]
            expected = torch.nn.functional.conv_transpose2d(above[None], module.weight, padding=module.padding)[0]
            assert torch.allclose(below, expected, atol=1e-5)
        elif step.call == "max_pool2d":
            fired = recording.maps(step.layer)[0] > 0
            assert float(below.sum()) == pytest.approx(float((above * fired).sum()), rel=1e-4)
            assert int((below != 0).sum()) <= int((above != 0).sum())
        checked.add(step.call)
    assert {"relu", "conv2d", "max_pool2d", "local_response_norm"} <= checked


def test_steps_leave_the_recording_alone(net, picture):
    """Changing the signals of steps changes no later projection: they are copies."""
    recording = net.record([str(picture)])
    projection = net.project(recording, top=1)
    for _, signal in net.steps(recording, projection.units[0]):
        signal.fill_(7)
    assert torch.equal(net.project(recording, top=1).pixels, projection.pixels)


def test_steps_of_a_unit_that_does_not_exist(net, picture):
    """A unit that the layer does not have is refused as `project` refuses it."""
    with pytest.raises(UnitError, match="has no channel 99"):
        net.steps(net.record([str(picture)]), Unit("features.1", 99))


def test_every_reversal_is_offered_once():
    """The rules that can be chosen are "auto" and the eight settings of the three bits."""
    assert RULES[0] == "auto"
    assert len({tuple(parse_rule(rule).values()) for rule in RULES[1:]}) == len(RULES[1:]) == 8


@pytest.mark.parametrize(
    ("size", "cells"), [((27, 27), (14, 14)), ((13, 13), (13, 13)), ((30, 20), (14, 14)), ((1, 5), (1, 5))]
)
def test_cells_lie_over_their_units(size, cells):
    """Where a map has more units than cells, each cell is as high and wide as the units that it stands for."""
    text = style.map_style("dn-1", "data:", size, cells, None)
    rows, cols = re.search(r"grid-template:([^}]*)}", text)[1].split("/")
    for tracks, count, side in zip((rows, cols), cells, size, strict=True):
        shares = [int(share) for share in re.findall(r"minmax\(0,(\d+)fr\)", tracks)]
        assert sum(shares) == side
        edges = [sum(shares[:number]) for number in range(count + 1)]
        assert [slice(*pair) for pair in itertools.pairwise(edges)] == [
            cell_slice(number, count, side) for number in range(count)
        ]
