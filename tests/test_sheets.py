"""Sheets of projections: drawn from plain fields, saved with what is needed to make them again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import deconvnet
from deconvnet.errors import OptionError
from deconvnet.images import ShownImage
from deconvnet.render import draw_sheet, read_settings
from deconvnet.sheets import draw_projections, make_sheet, make_tiles, sheet_settings
from deconvnet.units import Unit, Window


class Fields:
    """The fields of a projection, without a net behind them: two units and a whole map of a layer."""

    def __init__(self) -> None:
        self.layer, self.frame, self.note = "conv", (3, 20, 30), "5 channels of 4x6"
        self.image_shape = self.frame
        self.units = [Unit("conv", 3, 0, 0, 7.5), Unit("conv", 1, 3, 5, 2.0), Unit("conv", 4, activation=1.0)]
        self.windows = [Window(-2, -2, 7, 7), Window(13, 23, 7, 7), Window(-2, -2, 24, 34)]
        self.settings = {
            "model": "net", "weights": "sha256:0123456789", "rule": "deconvnet", "bits": "FTT", "overlap": "sum", "lrn": "identity",
            "silent": "drop", "statuses": ["exact", "paper"], "version": "0.1.0", "layer": "conv", "channels": [3, 1, 4],
            "units": [],
        }  # fmt: skip
        self.own = None
        self.shown = {0: ShownImage("photos/cat.jpg", np.zeros((20, 30, 1), np.uint8), (("cat", 0.75),))}

    def crops(self) -> list[torch.Tensor]:
        return [torch.full((3, window.height, window.width), float(number)) for number, window in enumerate(self.windows, 1)]

    @property
    def boxes(self) -> list[Window]:
        return [Window(0, 0, 5, 5), Window(13, 23, 5, 5), Window(8, 9, 5, 5)]

    @property
    def pixels(self) -> torch.Tensor:
        return torch.ones(3, *self.frame)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"pixels": self.pixels.numpy()}

    def to_json(self) -> list[dict]:
        place = {"path": "photos/cat.jpg", "layer": "conv", "window": [0, 0, 1, 1], "box": [0, 0, 1, 1], "own": None}
        place["rule"] = "deconvnet"
        return [
            {**place, "channel": unit.channel, "row": unit.row, "col": unit.col, "activation": unit.activation}
            for unit in self.units
        ]


def test_a_tile_says_how_much_is_of_its_picture() -> None:
    """Where *own* was measured it stands below the tile, or that the projection is the same for any picture."""
    assert [tile.note for tile in make_tiles(Fields())] == [""] * 3
    fields = Fields()
    fields.own = [0.934, 0.01, None]
    assert [tile.note for tile in make_tiles(fields)] == ["own 0.93", "the same for any picture", ""]


def test_a_sheet_is_drawn_from_plain_fields() -> None:
    """Title, classes, layer, tiles and footer come from the fields alone."""
    sheet = make_sheet([Fields()], tone="grey")
    assert (sheet.title, sheet.top_classes, sheet.picture.shape) == ("cat.jpg", (("cat", 0.75),), (20, 30, 3))
    (layer,) = sheet.layers
    assert (layer.heading, layer.note, [tile.label for tile in layer.tiles]) == ("conv", "5 channels of 4x6", ["3", "1", "4"])
    assert sheet.footer == (
        "net · rule deconvnet · tone grey: grey is zero, the mean of the colours · tiles hold 95 % of the energy"
    )
    assert draw_projections([Fields()], tone="grey").tobytes() == draw_sheet(sheet, tone="grey").tobytes()


def test_tiles_show_the_box_the_window_or_the_frame() -> None:
    """By default tiles show their boxes; windows are drawn with their padding; a frame's scale is taken from the window."""
    boxes = make_tiles(Fields())
    assert [tile.pixels.shape for tile in boxes] == [(3, 5, 5)] * 3
    assert [np.unique(tile.pixels).tolist() for tile in boxes] == [[1.0], [2.0], [3.0]]
    assert [tile.inside for tile in boxes] == [None] * 3
    assert [tile.window for tile in boxes] == [*Fields().windows[:2], None]
    first, second, whole = make_tiles(Fields(), "window")
    assert [tile.pixels.shape for tile in (first, second, whole)] == [(3, 7, 7), (3, 7, 7), (3, 24, 34)]
    assert (first.inside, second.inside, whole.inside) == (Window(2, 2, 5, 5), None, Window(2, 2, 20, 30))
    frames = make_tiles(Fields(), "whole")
    assert [tile.pixels.shape for tile in frames] == [(3, 20, 30)] * 3
    assert [tile.reached for tile in frames] == [window.clip(20, 30) for window in Fields().windows]
    with pytest.raises(OptionError) as caught:
        make_tiles(Fields(), "windows")  # type: ignore[arg-type]
    assert str(caught.value) == "crop cannot be 'windows': it is one of energy, window, whole. Did you mean 'window'?"


@pytest.mark.parametrize("suffix", ["png", "jpg", "pdf", "npz", "PNG"])
def test_saving_returns_the_path(tmp_path: Path, suffix: str) -> None:
    """A sheet is saved in the format of its suffix; a list with the path comes back."""
    path = tmp_path / f"sheet.{suffix}"
    assert deconvnet.save_sheet([Fields(), Fields()], path) == [path]
    assert deconvnet.save_sheet([Fields(), Fields()], str(path)) == [path]
    assert path.stat().st_size > 250


def test_a_saved_sheet_says_how_it_was_made(tmp_path: Path) -> None:
    """The settings hold what the layers share once, and lists of what differs; arrays are named by their layer."""
    deconvnet.save_sheet([Fields(), Fields()], tmp_path / "sheet.png", tone="minmax", crop="window")
    settings = read_settings(tmp_path / "sheet.png")
    assert settings == json.loads(json.dumps(sheet_settings([Fields(), Fields()], tone="minmax", crop="window")))
    assert (settings["tone"], settings["crop"], settings["model"], "channels" in settings) == ("minmax", "window", "net", False)
    assert settings["layers"] == [{"layer": "conv", "channels": [3, 1, 4], "statuses": ["exact", "paper"]}] * 2
    assert [unit["channel"] for unit in settings["units"]] == [3, 1, 4, 3, 1, 4]
    assert list(settings["units"][0]) == ["path", "layer", "channel", "row", "col", "activation", "window", "box", "own"]
    deconvnet.save_sheet([Fields(), Fields()], tmp_path / "sheet.npz")
    with np.load(tmp_path / "sheet.npz") as arrays:
        assert arrays.files == ["conv/pixels"]


def test_sheets_that_cannot_be_made(tmp_path: Path) -> None:
    """Nothing to show, several images, and another suffix are refused in one line."""
    nothing = "a sheet shows at least one projection, found none. Give what DeconvNet.project returned."
    for name in ("sheet.png", "sheet.npz"):
        with pytest.raises(OptionError) as caught:
            deconvnet.save_sheet([], tmp_path / name)
        assert str(caught.value) == nothing
    several = Fields()
    several.units = [Unit("conv", 3, 0, 0, 7.5, image=number) for number in range(2)]
    with pytest.raises(OptionError) as caught:
        draw_projections([several])
    assert str(caught.value) == "a sheet shows the units of one image, found those of 2. Project each image by itself."
    with pytest.raises(OptionError) as caught:
        deconvnet.save_sheet([Fields()], "sheet.svg")
    assert str(caught.value) == "cannot save 'sheet.svg': the suffix is '.svg'. Use one of .png, .jpg, .jpeg, .pdf, .npz."
    assert not list(tmp_path.iterdir())


def test_layers_by_different_rules() -> None:
    """Where the rule is not the same in all layers, footer and settings say it of each, and why."""
    paper, guided = Fields(), Fields()
    guided.layer = "stem"
    guided.settings = {**guided.settings, "layer": "stem", "rule": "guided", "bits": "TTT", "rule_reason": "No max pool below."}
    footer = make_sheet([paper, guided]).footer.split(" · ")
    assert "rule deconvnet in conv, guided in stem" in footer
    assert footer[-1] == "No max pool below."
    settings = sheet_settings([guided, paper], tone="grey", crop=None)
    assert [layer["rule"] for layer in settings["layers"]] == ["guided", "deconvnet"]
    assert [layer["bits"] for layer in settings["layers"]] == ["TTT", "FTT"]
    assert "rule" not in settings
