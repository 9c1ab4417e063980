"""Maxima that follow from those of other layers: the same, to the bit, as when every map is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import deconvnet
from deconvnet.scanning.derived import Derived
from deconvnet.scanning.maxima import MaximaReducer, scanned_layers


class Joined(nn.Module):
    """A fire module with names for everything, a max pool of any geometry, and what looks like them and is not."""

    def __init__(self, pool=(3, 2, 0, True)):
        super().__init__()
        kernel, stride, padding, ceil = pool
        self.first, self.left, self.right = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 1), nn.Conv2d(6, 5, 3, padding=1)
        self.relu, self.left_relu, self.right_relu = nn.ReLU(inplace=True), nn.ReLU(), nn.ReLU(inplace=True)
        self.both, self.same, self.pool = Cat(1), nn.Identity(), nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
        self.halves = Cat(2)

    def forward(self, x):
        x = self.relu(self.first(x))
        left, right = self.left_relu(self.left(x)), self.right_relu(self.right(x))
        both = self.pool(self.same(self.both(left, right)))
        return self.halves(both, both)


class Cat(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, *parts):
        return torch.cat(parts, self.axis)


LAYERS = ("first", "relu", "left", "left_relu", "right", "right_relu", "both", "same", "pool", "halves")


def coarse(model, levels=2):
    """Give a model small whole weights, so that maxima are tied nearly everywhere."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-levels, levels + 1, parameter.shape).float())
    return model.eval()


def reducers(model, images, layers=LAYERS):
    """Return a reducer, and one that reads every map."""
    net = deconvnet.DeconvNet(model)
    size = tuple(images.shape[1:])
    chosen = scanned_layers(net.record_zeros(size), layers)
    plain = [replace(layer, derived=None) for layer in chosen]
    return MaximaReducer(net, chosen, size), MaximaReducer(net, plain, size)


def check_same(model, images, floors):
    """Scores and positions of every layer are those of a reducer that reads every map."""
    derived, plain = reducers(model, images)
    for floor in floors(derived.channels):
        found, expected = derived(images, floor), plain(images, floor)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.positions, expected.positions)
    return derived


def some_floors(channels):
    """No floor, floors that differ among layers of the same values, and one that nothing reaches."""
    rng = np.random.default_rng(0)
    yield np.full(channels, -np.inf, np.float32)
    yield rng.integers(-3, 40, channels).astype(np.float32)
    yield np.where(rng.random(channels) < 0.5, -np.inf, np.inf).astype(np.float32)
    yield np.full(channels, np.inf, np.float32)


def test_which_layers_follow_from_which():
    """Rectified, joined, same and pooled ones are found; joined rows, uncovered edges and dilated windows are not."""
    derived, _ = reducers(Joined(), torch.zeros(1, 3, 12, 12))
    found = {layer.name: layer.derived for layer in derived.layers}
    assert found == {
        "first": None,
        "relu": Derived("rectified", ("first",)),
        "left": None,
        "left_relu": Derived("rectified", ("left",)),
        "right": None,
        "right_relu": Derived("rectified", ("right",)),
        "both": Derived("joined", ("left_relu", "right_relu")),
        "same": Derived("same", ("both",)),
        "pool": Derived("pooled", ("both",), (3, 2, 0)),
        "halves": None,
    }
    for pool in ((3, 2, 0, False), (2, 3, 0, False)):
        derived, _ = reducers(Joined(pool), torch.zeros(1, 3, 12, 12))
        assert {layer.name: layer.derived for layer in derived.layers}["pool"] is None
    dilated = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2, 1, padding=1, dilation=2))
    derived, _ = reducers(dilated, torch.zeros(1, 3, 9, 9), layers=["0", "1"])
    assert [layer.derived for layer in derived.layers] == [None, None]


class JoinedWithConstant(nn.Module):
    """Joins what descends from the picture with coordinates, which do not."""

    def __init__(self):
        super().__init__()
        self.conv, self.join = nn.Conv2d(3, 4, 1), Cat(1)
        self.register_buffer("rows", torch.arange(6.0).view(1, 1, 6, 1).expand(1, 1, 6, 6))

    def forward(self, x):
        return self.join(self.conv(x), self.rows.expand(len(x), -1, -1, -1))


def test_what_is_joined_with_a_constant_is_read():
    """Its maxima are not known from the layers."""
    images = torch.randn(3, 3, 6, 6)
    derived, _ = reducers(JoinedWithConstant(), images, layers=["conv", "join"])
    assert [layer.derived for layer in derived.layers] == [None, None]
    assert (derived(images, np.full(9, -np.inf, np.float32)).scores[:, 8] == 5).all()


@torch.no_grad()
@settings(max_examples=60)
@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 4),
    padding=st.integers(0, 2),
    ceil=st.booleans(),
    height=st.integers(5, 12),
    width=st.integers(5, 12),
    seed=st.integers(0, 1000),
    channels_last=st.booleans(),
)
def test_maxima_are_those_of_maps_that_are_read(kernel, stride, padding, ceil, height, width, seed, channels_last):
    """With ties nearly everywhere, by any pool, floor and layout: every score and every position."""
    torch.manual_seed(seed)
    model = coarse(Joined((kernel, stride, min(padding, kernel // 2), ceil)))
    images = torch.randint(-2, 3, (3, 3, height, width)).float()
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    check_same(model, images, some_floors)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:layer .* has maps whose maximum is NaN")
def test_nan_and_empty_maps_are_those_of_maps_that_are_read():
    """A picture with NaN fires nowhere, in derived layers too; a map without a value above 0 has its maximum first."""
    torch.manual_seed(0)
    model = coarse(Joined())
    with torch.no_grad():
        model.left.bias.fill_(-1e6)
    images = torch.randint(-2, 3, (4, 3, 9, 10)).float()
    images[1, :, 4, 4] = torch.nan
    derived = check_same(model, images, some_floors)
    scores = derived(images, np.full(derived.channels, -np.inf, np.float32)).scores
    assert (scores[1] == -np.inf).any()


class Tokens(nn.Module):
    """Joins the channels of (N, H, W, C), in other axes than maps have."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two, self.join = nn.Conv2d(3, 4, 2, 2), nn.Linear(4, 5), nn.Linear(4, 3), Cat(3)

    def forward(self, x):
        x = self.conv(x).permute(0, 2, 3, 1)
        return self.join(F.relu(self.one(x)), F.relu(self.two(x))).mean((1, 2))


@torch.no_grad()
def test_channels_that_come_last_are_joined():
    """Maps are found by the axes of the layer, wherever these are."""
    torch.manual_seed(0)
    images = torch.randn(3, 3, 8, 8)
    derived, plain = reducers(Tokens(), images, layers=["conv", "one", "relu", "two", "relu_1", "join"])
    assert derived.layers[-1].derived == Derived("joined", ("relu", "relu_1"))
    for floor in some_floors(derived.channels):
        found, expected = derived(images, floor), plain(images, floor)
        np.testing.assert_array_equal(found.scores, expected.scores)
        np.testing.assert_array_equal(found.positions, expected.positions)
