"""Adaptive deconvolutional networks: pooling against loops, slopes against autograd, layers that explain pictures."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvnet.upsampling import adaptive, adaptive_learning, block_pooling, figures, proximal
from deconvnet.upsampling.dictionary import normalise
from support.upsampling import drawing_edges, inner_product


@pytest.fixture(scope="module")
def edges():
    """Two drawings of 32 pixels without their smooth part."""
    return drawing_edges()


def looped_pool(maps):
    """Block by block: the position of the largest |z|, the first of equals."""
    count, height, width = maps.shape
    pooled = np.zeros((-(-count // 2), -(-height // 2), -(-width // 2)))
    offsets = np.zeros_like(pooled, dtype=int)
    for block in np.ndindex(pooled.shape):
        best = -1.0
        for offset in product(range(2), repeat=3):
            at = tuple(2 * corner + step for corner, step in zip(block, offset, strict=True))
            if all(a < side for a, side in zip(at, maps.shape, strict=True)) and abs(maps[at]) > best:
                best = abs(maps[at])
                pooled[block], offsets[block] = maps[at], 4 * offset[0] + 2 * offset[1] + offset[2]
    return pooled, offsets


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)), coarse=st.booleans())
def test_three_dimensional_pooling(shape, coarse):
    """Pooling is as counted block by block; unpooling keeps exactly the maxima and nothing else, and is the adjoint of reading."""
    generator = torch.Generator().manual_seed(sum(shape))
    maps = torch.randn(2, *shape, generator=generator, dtype=torch.double)
    if coarse:
        maps = maps.round()  # ties and zeros
    pooled, switches = block_pooling.pool(maps)
    for image in range(2):
        expected = looped_pool(maps[image].numpy())
        assert np.array_equal(pooled[image], expected[0])
        assert np.array_equal(switches.offsets[image], expected[1])
    kept = block_pooling.unpool(pooled, switches)
    assert kept.shape == maps.shape
    assert torch.equal(kept[kept != 0], maps[kept != 0])
    assert int((kept != 0).sum()) == int((pooled != 0).sum())
    assert torch.equal(block_pooling.pool(kept)[0], pooled)
    signal = torch.randn(pooled.shape, generator=generator, dtype=torch.double)
    assert inner_product(block_pooling.unpool(signal, switches), maps) == pytest.approx(
        inner_product(signal, block_pooling.pool_by(maps, switches)), abs=1e-9
    )


def test_shrink_and_pool_is_the_cheapest():
    """Shrinking, then keeping the largest of a block, minimises 1/2 |z - v|^2 + b |z|_1 with at most one value per block."""
    wanted, cost = torch.randn(1, 2, 2, 2, dtype=torch.double), 0.3
    result = block_pooling.keep_one_per_block(proximal.shrink(wanted, cost)).flatten()

    def price(codes):
        return ((codes - wanted.flatten()).square().sum() / 2 + cost * codes.abs().sum()).item()

    grid = torch.linspace(-4, 4, 8001, dtype=torch.double)
    tried = []
    for position in range(8):
        rest = wanted.flatten().square().sum() - wanted.flatten()[position] ** 2
        tried.append((((grid - wanted.flatten()[position]).square() + rest) / 2 + cost * grid.abs()).min().item())
    assert (result != 0).sum() <= 1
    assert price(result) <= min(tried) + 1e-12
    assert price(result) == pytest.approx(min(tried), abs=1e-6)


@pytest.fixture(scope="module")
def two_layers(edges):
    """Random filters of two layers and what they find in two drawings."""
    torch.manual_seed(1)
    filters = [normalise(torch.randn(6, 3, 5, 5)), normalise(torch.randn(8, 3, 3, 3))]
    return filters, adaptive.infer(edges, filters, penalty=0.05, iterations=12)


def test_the_slope_against_autograd(edges, two_layers):
    """R'(R z - y), through two layers and their switches, is autograd's gradient of half the squares."""
    filters, layers = two_layers
    filters = tuple(layer.double() for layer in filters)
    operator = adaptive.ReconstructionOperator(filters, (layers[0].switches,), (32, 32))
    maps = torch.randn(2, 8, 16, 16, dtype=torch.double, requires_grad=True)
    rest = operator.synthesise(maps) - edges.double()
    (expected,) = torch.autograd.grad(rest.square().sum() / 2, maps)
    assert torch.allclose(operator.correlate(rest.detach()), expected, atol=1e-10)


def test_inference(edges, two_layers):
    """In both layers the objective falls at every step, at most one value per block is left, and the picture comes nearer."""
    filters, layers = two_layers
    for number, layer in enumerate(layers):
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(layer.objective))
        assert layer.objective[-1] < 0.8 * layer.objective[0]
        assert torch.equal(block_pooling.unpool(layer.pooled, layer.switches), layer.maps)
        price = (layer.reconstruction - edges).square().sum() / 2 + 0.05 * layer.maps.abs().sum()
        assert layer.objective[-1] == pytest.approx(price.item(), rel=1e-5)
        switches = [below.switches for below in layers[: number + 1]]
        again = adaptive.reconstruct(layer.pooled, (32, 32), filters=filters[: number + 1], switches=switches)
        assert torch.allclose(again, layer.reconstruction, atol=1e-5)


def test_reconstruction_against_torch(two_layers):
    """From the top: values put at their switches one by one, a transposed convolution by torch, and the same once more."""
    filters, layers = two_layers
    signal = layers[1].pooled[:1]
    for number in (1, 0):
        switches = layers[number].switches
        large = torch.zeros(1, *switches.size)
        for block in np.ndindex(signal.shape[1:]):
            offset = np.unravel_index(int(switches.offsets[(0, *block)]), (2, 2, 2))
            large[(0, *(2 * corner + int(step) for corner, step in zip(block, offset, strict=True)))] = signal[(0, *block)]
        signal = F.conv_transpose2d(large, filters[number], padding=filters[number].shape[2] // 2)
    assert torch.allclose(signal, layers[1].reconstruction[:1], atol=1e-5)


@pytest.fixture(scope="module")
def learned_layers(edges):
    """Filters of two layers, learned from two drawings."""
    return adaptive_learning.learn(edges, maps=(8, 12), side=5, penalty=0.03, rounds=6, iterations=6)


def test_other_switches_lose_the_picture(edges, learned_layers):
    """The same pooled maps with another drawing's switches make nearly nothing of the picture: structure is in the switches."""
    filters, layers = learned_layers.filters, adaptive.infer(edges, learned_layers.filters, penalty=0.03)
    switches = [layer.switches for layer in layers]
    others = [replace(layer, offsets=layer.offsets.roll(1, 0)) for layer in switches]
    right, wrong = (
        adaptive.reconstruct(layers[1].pooled, (32, 32), filters=filters, switches=each) for each in (switches, others)
    )
    empty = edges.square().mean()
    assert (right - edges).square().mean() < 0.45 * empty
    assert (wrong - edges).square().mean() > 0.85 * empty


def test_learning_layers(edges, learned_layers):
    """Layer after layer the objective falls with every round, filters keep norm 1 and fit each other."""
    learned = learned_layers
    assert [tuple(layer.shape) for layer in learned.filters] == [(8, 3, 5, 5), (12, 4, 5, 5)]
    for layer, course in zip(learned.filters, learned.objective, strict=True):
        assert torch.allclose(layer.flatten(1).norm(dim=1), torch.ones(len(layer)), atol=1e-5)
        assert len(course) == 6
        assert all(after < before for before, after in pairwise(course))
    layers = adaptive.infer(edges, learned.filters, penalty=0.05, iterations=5)
    smooth = torch.full_like(edges[0], 0.5)
    picture = (smooth + edges[0]).clamp(0, 1)
    figure = figures.plot_layers(picture, smooth, layers, learned.filters[0], [("other switches", picture - smooth)])
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert [title.split("\n")[0] for title in titles] == [
        "filters of layer 1", "picture", "its smooth part", "layer 1", "layer 2", "other switches",
    ]  # fmt: skip
    assert titles[-1].split("\n")[1] == "exact"
    error = ((smooth + layers[0].reconstruction[0]).clamp(0, 1) - picture).square().mean().item()
    assert titles[3].split("\n")[1] == f"{-10 * math.log10(error):.1f} dB"
