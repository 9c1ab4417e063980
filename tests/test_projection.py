"""Units, maps and channels to projections: what is chosen, what starts the signal, where it can reach."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvnet
from deconvnet import Unit, Window, rules
from deconvnet.errors import OptionError, PictureError, UnitError
from deconvnet.projection import unit_window
from deconvnet.render import read_settings
from deconvnet.sheets import make_tiles
from deconvnet.units import parse_channels, parse_unit
from support.oracle import project_by_autograd, relative


def small():
    """A net with padding and overlapping pools, so that windows leave the frame."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()


@pytest.fixture
def net():
    return deconvnet.DeconvNet(small())


@pytest.fixture
def recording(net):
    return net.record(torch.randn(2, 3, 37, 44))


def test_a_unit_is_its_activation_and_zeros(net, recording):
    """A unit's projection is that of a signal with its activation at its place and zero everywhere else."""
    model, activations = net.model, recording.activations("4")
    projection = net.project(recording, "4", units=[(3, 2, 5), (0, 0, 0)], image=1)
    for number, unit in enumerate(projection.units):
        signal = torch.zeros_like(activations)
        signal[1, unit.channel, unit.row, unit.col] = activations[1, unit.channel, unit.row, unit.col]
        expected = project_by_autograd(model, recording.images, "4", signal)[1]
        assert relative(projection.pixels[number], expected) < 1e-5 or not expected.any()
        assert projection.activations[number] == activations[1, unit.channel, unit.row, unit.col]


def test_a_map_is_all_its_units(net, recording):
    """at="map" starts from the whole map of one channel."""
    activations = recording.activations("4")
    projection = net.project(recording, "4", channels=[2], at="map", image=0)
    signal = torch.zeros_like(activations)
    signal[0, 2] = activations[0, 2]
    expected = project_by_autograd(net.model, recording.images, "4", signal)[0]
    assert relative(projection.pixels[0], expected) < 1e-5
    assert projection.units == [Unit("4", 2, None, None, float(activations[0, 2].max()), 0)]


def test_pixels_are_signed(net, recording):
    """The last step is the filtering: pixels are not rectified."""
    pixels = net.project(recording, "4", image=0).pixels
    assert pixels.min() < 0 < pixels.max()


def test_the_strongest_channels_come_first(net, recording):
    """Without channels, the `top` strongest by their maximum, each at its strongest position."""
    maps = recording.activations("4")[0]
    projection = net.project(recording, "4", top=3, image=0)
    by_hand = sorted(range(8), key=lambda channel: (-maps[channel].max().item(), channel))[:3]
    assert [unit.channel for unit in projection.units] == by_hand
    for unit in projection.units:
        assert maps[unit.channel, unit.row, unit.col] == maps[unit.channel].max() == pytest.approx(unit.activation)


def test_all_images_are_projected(net, recording):
    """Without `image` every image has its own strongest channels, and each image's are what it gives alone."""
    both = net.project(recording, "4", top=3)
    assert [unit.image for unit in both.units] == [0, 0, 0, 1, 1, 1]
    for image in (0, 1):
        alone, part = net.project(recording, "4", top=3, image=image), both.of_image(image)
        assert part.units == alone.units
        assert relative(part.pixels, alone.pixels) < 1e-5
        assert list(part.shown) == [image]
    assert both._repr_png_() is None  # a sheet shows one image
    assert repr(both) == "Projection(6 units of '4' in 2 images of 3x37x44)"


def test_a_layer_is_named_by_its_module(net, recording):
    """The module itself stands for its name; one of another model is refused."""
    by_name, by_module = (net.project(recording, layer, image=0) for layer in ("4", net.model[4]))
    assert by_module.units == by_name.units
    assert net.record(recording.images, layers=[net.model[1]]).output is None
    with pytest.raises(deconvnet.UnknownLayerError) as error:
        net.project(recording, nn.ReLU())
    assert str(error.value) == "this ReLU is not a module inside Sequential. Give one of net.model's own."


def test_top_may_exceed_the_channels(net, recording):
    """More channels than there are: all of them."""
    assert len(net.project(recording, "4", top=100, image=0)) == 8


def test_ties_are_broken_in_row_major_order():
    """Among equal activations the first in row-major order is taken, among equal channels the first."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU()))
    nn.init.ones_(net.model[0].weight)
    projection = net.project(net.record(torch.ones(1, 1, 4, 5)), "1")
    assert [(unit.channel, unit.row, unit.col) for unit in projection.units] == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]


def test_one_position_for_all(net, recording):
    """at=(row, col) takes that position, and ranks channels by their value there."""
    maps = recording.activations("4")[0]
    projection = net.project(recording, "4", at=(3, 7), top=4, image=0)
    assert [unit.activation for unit in projection.units] == sorted(maps[:, 3, 7].tolist(), reverse=True)[:4]
    assert {(unit.row, unit.col) for unit in projection.units} == {(3, 7)}


def test_start_one_is_the_same_up_to_scale(net, recording):
    """Without biases a projection is homogeneous: starting from 1 instead of the activation scales it."""
    usual, one = (net.project(recording, "4", channels=[2], start=start, image=0) for start in ("activation", "one"))
    assert relative(one.pixels * usual.units[0].activation, usual.pixels) < 1e-5


def test_windows_and_crops(net, recording):
    """Crops have the window's size, padded with zeros beyond the frame; outside its window a projection is zero."""
    units = [(2, row, col) for row in range(10) for col in range(11)]
    projection = net.project(recording, "4", units=units, start="one")
    net_pixels = net.project_signal
    for unit, window, crop, pixels in zip(
        projection.units, projection.windows, projection.crops(), projection.pixels, strict=True
    ):
        assert window == Window(unit.row * 4 - 8, unit.col * 4 - 8, 17, 17)
        assert crop.shape == (3, 17, 17)
        signal = torch.zeros_like(recording.activations("4"))
        signal[0, 2, unit.row, unit.col] = 1
        full = net_pixels(recording, "4", signal)[0]
        assert relative(pixels, full) < 1e-5 or not full.any()
        assert crop.sum() == pytest.approx(full.sum().item(), abs=1e-5)


def test_fully_connected_units(net, recording):
    """An (N, F) layer counts as F channels of 1x1, and sees what the maps below it see."""
    projection = net.project(recording, "7", top=2, image=0)
    signal = torch.zeros(2, 5)
    channel = projection.units[0].channel
    signal[0, channel] = recording.activations("7")[0, channel]
    expected = project_by_autograd(net.model, recording.images, "7", signal)[0]
    assert relative(projection.pixels[0], expected) < 1e-5
    assert projection.windows[0].covers(37, 44)


def test_batches_do_not_change_the_result(net, recording, monkeypatch):
    """Units projected in batches of one are those projected together."""
    together = net.project(recording, "4", top=8, image=0).pixels
    monkeypatch.setattr("deconvnet.projection.batch_bytes", lambda device, memory=None: 1)
    assert relative(net.project(recording, "4", top=8, image=0).pixels, together) < 1e-6


def test_units_of_several_images(net, recording):
    """Units may belong to different images of the recording; each goes down by its own switches."""
    both = net.project(recording, "4", units=[Unit("4", 1, 3, 3, image=0), Unit("4", 1, 3, 3, image=1)], start="one")
    for image in (0, 1):
        alone = net.project(recording, "4", units=[(1, 3, 3)], image=image, start="one")
        assert relative(both.pixels[image], alone.pixels[0]) < 1e-6


ONE_LINE = {
    "'features.10:x' is not a unit. Write layer:channel or layer:channel@row,col, as in features.10:151@6,6.": lambda net, r: (
        parse_unit("features.10:x")
    ),
    "'5-3' is not a list of channels. Write numbers and ranges, as in 3 or 1,4-6.": lambda net, r: parse_channels("5-3"),
    "layer '4' has no channel 8: it has 8, numbered from 0.": lambda net, r: net.project(r, "4", channels=[8]),
    "layer '4' has no position 10,0: its maps are 10x11, from 0,0.": lambda net, r: net.project(r, "4", at=(10, 0)),
    "the recording has no image 2: it has 2, numbered from 0.": lambda net, r: net.project(
        r, "4", units=[Unit("4", 0, 0, 0, image=2)]
    ),
    "unit 3:1@0,0 is not of layer '4'. Project each layer by itself.": lambda net, r: net.project(
        r, "4", units=[Unit("3", 1, 0, 0)]
    ),
    "at cannot be 'min': it is 'max', 'map', or a position (row, col).": lambda net, r: net.project(r, "4", at="min"),
    "top cannot be 0: it is the number of channels to show, 1 or more.": lambda net, r: net.project(r, "4", top=0),
    "image cannot be 2: the recording has 2, numbered from 0.": lambda net, r: net.project(r, "4", image=2),
    "start cannot be 'two': it is one of activation, one.": lambda net, r: net.project(r, "4", start="two"),
    "overlap cannot be 'max': it is one of sum, last.": lambda net, r: deconvnet.DeconvNet(small(), overlap="max"),
    "lrn cannot be 'none': it is one of identity, derivative.": lambda net, r: deconvnet.DeconvNet(small(), lrn="none"),
    "layers must be a list of names, found the single name '4'. Write layers=['4'].": lambda net, r: net.record(
        torch.zeros(1, 3, 9, 9), layers="4"
    ),
    "Sequential has no preprocessing for pictures. Pass preprocess=, or a tensor (N, C, H, W).": lambda net, r: net.record(
        "a.jpg"
    ),
}


@pytest.mark.parametrize("text", ONE_LINE)
def test_wrong_arguments_get_one_line(net, recording, text):
    """Each expected failure says what was asked, what was found, and what to do."""
    with pytest.raises((OptionError, UnitError, PictureError)) as error:
        ONE_LINE[text](net, recording)
    assert str(error.value) == text


def test_images_that_the_model_cannot_take():
    """An image too small for the net, or of other channels, gets one line with torch's reason."""
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:alexnet", weights="none"))
    with pytest.raises(PictureError) as error:
        net.record(torch.zeros(1, 3, 16, 16))
    assert str(error.value).startswith("torchvision:alexnet cannot take images of 3x16x16 (")
    assert str(error.value).endswith("). Its own size is 3x224x224.")
    with pytest.raises(PictureError, match=r"cannot take images of 1x64x64 \(.*channels.*\)\. Its own size is 3x224x224\.$"):
        net.record(torch.zeros(1, 1, 64, 64))


def test_units_are_written_as_they_are_read():
    """str(unit) and parse_unit are inverse."""
    for text in ("features.10:151@6,6", "layer3:7"):
        assert str(parse_unit(text)) == text
    assert parse_channels("3") == [3]
    assert parse_channels("1, 4-6") == [1, 4, 5, 6]


def test_saves_picture_arrays_and_settings(net, recording, tmp_path):
    """A PNG carries its settings, a .npz its arrays; the same projection gives the same bytes."""
    projection = net.project(recording, "4", top=4, image=0)
    for name in ("a.png", "b.png", "a.jpg", "b.jpg", "a.pdf", "b.pdf", "a.npz", "b.npz"):
        projection.save(tmp_path / name)
    for suffix in ("png", "jpg", "pdf", "npz"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    settings = read_settings(tmp_path / "a.png")
    assert settings["model"] == "Sequential"
    assert settings["bits"] == "FTT"
    assert [unit["channel"] for unit in settings["units"]] == [unit.channel for unit in projection.units]
    arrays = np.load(tmp_path / "a.npz")
    assert np.array_equal(arrays["pixels"], projection.pixels.numpy())
    assert arrays["windows"].tolist() == [window.to_list() for window in projection.windows]
    assert arrays["boxes"].tolist() == [box.to_list() for box in projection.boxes]


def test_the_whole_frame_is_no_padding(net, recording):
    """A tile of the whole frame takes its scale from the unit's window; what lies outside it is zero, not padding."""
    projection = net.project(recording, "4", units=[(2, 5, 5)])
    (tile,) = make_tiles(projection, "whole")
    assert tile.pixels.shape == (3, 37, 44)
    assert tile.inside is None
    assert tile.reached == projection.windows[0].clip(37, 44)
    (tile,) = make_tiles(projection, "window")
    assert tile.pixels.shape == (3, 17, 17)
    assert tile.inside is None


def test_boxes_hold_most_of_what_arrived(net, recording):
    """Boxes are of one size within the frame, each holds 95 % of the energy, and tiles show what lies in them."""
    projection = net.project(recording, "4", top=5, image=0)
    assert len({(box.height, box.width) for box in projection.boxes}) == 1
    for box, pixels, tile in zip(projection.boxes, projection.pixels, make_tiles(projection), strict=True):
        assert box.clip(37, 44) == box
        shown = pixels[:, box.top : box.bottom, box.left : box.right]
        assert np.array_equal(tile.pixels, shown.numpy())
        assert float(shown.square().sum()) >= 0.9499 * float(pixels.square().sum())


def test_inside_takes_units_whose_window_lies_in_the_picture(net, recording):
    """Each map's strongest position is searched where the window lies inside; the channels are ranked by what is found."""
    projection = net.project(recording, "4", top=5, image=0, inside=True)
    maps = recording.maps("4")[0]
    found = {}
    for channel in range(len(maps)):
        for row, col in np.ndindex(*maps.shape[1:]):
            window = unit_window(recording.tape, recording.value("4"), Unit("4", channel, row, col))
            value = float(maps[channel, row, col])
            if window.clip(37, 44) == window and value > found.get(channel, (-1.0,))[0]:
                found[channel] = (value, row, col)
    ranked = sorted(found, key=lambda channel: -found[channel][0])[:5]
    assert [unit.channel for unit in projection.units] == ranked
    assert [(unit.activation, unit.row, unit.col) for unit in projection.units] == [found[channel] for channel in ranked]
    assert all(window.clip(37, 44) == window for window in projection.windows)


def test_inside_is_for_the_strongest_positions(net, recording):
    """It chooses units, so it cannot be had with units that are named, or positions, or where no window lies inside."""
    cases = [
        ({"units": [(0, 1, 1)]}, "inside chooses units, and units names them. Leave one of them out."),
        ({"at": "map"}, "inside is for the strongest position of each map, and at is 'map'. Leave one of them out."),
        ({"at": (1, 1)}, "inside is for the strongest position of each map, and at is (1, 1). Leave one of them out."),
    ]
    for options, text in cases:
        with pytest.raises(OptionError) as caught:
            net.project(recording, "4", inside=True, **options)
        assert str(caught.value) == text
    with pytest.raises(OptionError) as caught:
        net.project(recording, "7", inside=True)
    assert str(caught.value) == (
        "no unit of layer '7' has a window inside the picture. Name an earlier layer, or leave `inside` out."
    )


def test_json_has_a_row_for_each_unit(net, recording):
    """to_json gives path, layer, channel, row, col, activation, window, and what is needed to make it again."""
    rows = json.loads(json.dumps(net.project(recording, "4", top=2, image=0).to_json()))
    assert len(rows) == 2
    assert {"path", "layer", "channel", "row", "col", "activation", "window", "model", "weights", "rule", "version"} <= set(
        rows[0]
    )


def test_shows_itself_in_a_notebook(net, recording):
    """A projection in Jupyter is its picture."""
    assert Image.open(io.BytesIO(net.project(recording, "4", image=0)._repr_png_())).format == "PNG"


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_inputs_of_other_channel_counts(channels, tmp_path):
    """One-channel and many-channel nets are recorded, projected and drawn."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU()))
    projection = net.project(net.record(torch.rand(1, channels, 12, 15)), "1")
    assert projection.pixels.shape[1] == channels
    projection.save(tmp_path / "sheet.png")


def test_a_dead_layer_is_drawn(tmp_path):
    """Where nothing fires, tiles are grey and labelled, and nothing divides by zero."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -100)
    net = deconvnet.DeconvNet(model)
    projection = net.project(net.record(torch.rand(1, 3, 12, 15)), "1")
    assert not projection.pixels.any()
    projection.save(tmp_path / "sheet.png")


def test_mirror_prints_as_a_table(net, recording):
    """net.mirror is a table from the pixels to the layer: call, sizes, rule, status."""
    mirror = net.mirror(recording, "4")
    lines = str(mirror).splitlines()
    assert lines[0].split() == ["layer", "call", "in", "out", "rule", "status"]
    assert lines[1].split() == ["0", "conv2d", "3x37x44", "6x19x22", "Conv", "exact"]
    assert [step.call for step in mirror.steps] == ["conv2d", "relu", "max_pool2d", "conv2d", "relu"]
    assert mirror.statuses() == ["exact", "paper"]


def test_layers_list_sizes_fields_and_strides():
    """layers() gives AlexNet's published receptive fields and strides."""
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:alexnet", weights="none"))
    layers = {layer.name: layer for layer in net.layers()}
    fields = {"features.0": 11, "features.2": 19, "features.3": 51, "features.5": 67, "features.6": 99, "features.8": 131}
    fields |= {"features.10": 163, "features.12": 195}
    for name, field in fields.items():
        assert layers[name].receptive_field == (field, field)
    assert layers["features.10"].stride == (16, 16)
    assert (layers["features.12"].channels, layers["features.12"].height) == (256, 6)
    assert layers["features.1"].status == "paper"
    assert layers["features"].status == "paper"
    assert layers["features.0"].status == "exact"


def test_a_rule_of_ones_own(net, recording):
    """rules.replace(relu=...) changes how ReLU is mirrored, in this net alone."""

    class Halved(rules.Same):
        def mirror(self, kept, signal):
            return signal / 2

    own = deconvnet.DeconvNet(net.model, rules=rules.replace(relu=Halved()))
    signal = torch.rand_like(recording.activations("1"))
    halved = own.project_signal(own.record(recording.images), "1", signal)
    assert relative(halved * 2, net.project_signal(recording, "1", signal)) < 1e-6
