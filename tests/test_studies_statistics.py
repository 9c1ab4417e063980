"""Promises about the statistics of studies: means over pictures, their intervals, comparisons, and nulls, against slow twins."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.inputs import picture_digests
from deconvnet.render.save import read_settings
from deconvnet.studies import faithful, nulls, statistics
from deconvnet.studies.masking import energy
from deconvnet.studies.settings import study_settings
from deconvnet.studies.statistics import Estimate, compare, estimate_disagreement, estimate_mean, holm
from deconvnet.units import Unit, Window
from support.studies import Small


@pytest.fixture
def scipy():
    """SciPy, of the extra `studies`: without it there are no intervals."""
    return pytest.importorskip("scipy", reason="intervals need the extra `studies`")


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    torch.manual_seed(0)
    return deconvnet.DeconvNet(Small().eval())


def slow_interval(groups: list[list[float]], resamples: int = 4000) -> tuple[float, float]:
    """Draw whole pictures with replacement, one resample at a time, and sort the means."""
    rng = np.random.default_rng(99)
    means = []
    for _ in range(resamples):
        drawn = [groups[number] for number in rng.integers(len(groups), size=len(groups))]
        means.append(sum(sum(group) / len(group) for group in drawn) / len(drawn))
    means.sort()
    return means[round(0.025 * resamples)], means[round(0.975 * resamples)]


def test_the_interval_against_a_slow_bootstrap_of_pictures(scipy):
    """Pictures are resampled, not units: two units of a picture count once, and the interval is that of a plain loop."""
    rng = np.random.default_rng(0)
    groups = [list(rng.normal(0.4 + rng.normal(0, 0.2), 0.02, size=1 + number % 3)) for number in range(24)]
    values = [value for group in groups for value in group]
    pictures = [number for number, group in enumerate(groups) for _ in group]
    shuffled = rng.permutation(len(values))
    found = estimate_mean(np.array(values)[shuffled], np.array(pictures)[shuffled])
    assert found.mean == pytest.approx(np.mean([np.mean(group) for group in groups]))
    assert (found.low, found.high) == pytest.approx(slow_interval(groups), abs=0.006)
    assert (found.pictures, found.values, found.missing) == (24, len(values), 0)
    alone = estimate_mean(np.repeat(values, 4))  # the same numbers as if each were a picture of its own: far too sure of itself
    assert alone.high - alone.low < 0.7 * (found.high - found.low)


def test_the_interval_holds_the_truth_as_often_as_it_says(scipy):
    """Of 300 samples of 40 pictures, 95 % intervals hold the true mean about 95 times in a hundred."""
    rng = np.random.default_rng(1)
    held = [(found := estimate_mean(rng.exponential(1.0, 40))).low <= 1 <= found.high for _ in range(300)]
    assert 0.88 <= np.mean(held) <= 0.99


def test_nan_is_counted_and_never_averaged_in(scipy):
    """What is NaN is left out of the mean, its pictures with it if they have nothing else, and it is counted and printed."""
    values = [1.0, np.nan, 3.0, np.nan, np.nan, 5.0, 6.0, 7.0]
    found = estimate_mean(values, [0, 0, 1, 2, 2, 3, 4, 5])
    assert (found.mean, found.pictures, found.values, found.missing) == (pytest.approx(22 / 5), 5, 8, 3)
    assert found.text().endswith("] (3 of 8 missing)")
    assert str(estimate_mean([np.nan, np.nan])) == "- (2 of 2 missing)"
    assert str(estimate_mean([])) == "-"


def test_few_pictures_have_no_interval(scipy):
    """Of fewer than five pictures there is a mean alone; eight are needed where pictures are compared with each other."""
    assert str(estimate_mean([0.1, 0.2, 0.3, 0.4])) == "0.25"
    assert str(estimate_mean([0.1, 0.2, 0.3, 0.4] * 3, [0, 1, 2, 3] * 3)) == "0.25"
    assert estimate_mean([0.1, 0.2, 0.3, 0.4, 0.5]).has_interval
    assert not estimate_disagreement(np.full((7, 7), 0.5))[0].has_interval
    assert estimate_disagreement(np.full((8, 8), 0.5))[0].text() == "0.50 [0.50, 0.50]"
    assert Estimate(0.5, math.nan, math.nan, 3, 3, 0).bars == (0, 0)


def test_without_scipy_there_is_no_interval_but_an_advice(monkeypatch):
    """Means need no extra; that there are no intervals is said in one line with what to install."""
    import importlib

    real = importlib.import_module

    def fails(name, *rest):
        if name.startswith("scipy"):
            raise ImportError("no scipy here")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", fails)
    found = estimate_mean(range(9))
    assert (found.mean, found.has_interval, str(found)) == (4, False, "4.00")
    assert compare({"a": (range(9), range(1, 10))})[0].cells() == ("a", "-1.000", "-")
    assert statistics.interval_advice() == (
        "No intervals: an interval needs scipy, which cannot be imported (no scipy here). "
        'In a checkout: pip install -e ".[studies]"'
    )


def test_with_scipy_there_is_no_advice(scipy):
    """Where there are intervals, nothing is said."""
    assert statistics.interval_advice() == ""


def test_comparisons_are_paired(scipy):
    """Differences are taken on the same pictures: what all methods share, such as how hard a picture is, does not blur them."""
    rng = np.random.default_rng(2)
    hard, noise = rng.normal(0, 1, 40), rng.normal(0, 0.05, 40)
    found, reverse = compare({"a - b": (hard + 0.1 + noise, hard), "b - a": (hard, hard + 0.1 + noise)}, primary="a - b")
    assert 0 < found.difference.low < 0.1 < found.difference.high + 0.03
    assert found.difference.mean == pytest.approx(-reverse.difference.mean)
    assert found.is_significant
    assert found.primary
    apart = estimate_mean(hard + 0.1)
    assert apart.high - apart.low > 5 * (found.difference.high - found.difference.low)


def test_p_is_the_level_at_which_the_interval_leaves_out_zero(scipy):
    """p is below 0.05 where the 95 % interval leaves out 0, above it where it does not; no difference at all has p 1."""
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6):
        [found] = compare({"x": (rng.normal(shift, 1, 50), np.zeros(50))})
        outside = found.difference.low > 0 or found.difference.high < 0
        assert (found.p < 0.05) == outside
    assert compare({"x": (np.ones(9), np.ones(9))})[0].p == 1


def slow_holm(p_values: list[float]) -> list[float]:
    """Holm 1979, as it is told: the smallest p times all, the next times one fewer, and none below the one before it."""
    known = sorted((p, number) for number, p in enumerate(p_values) if not math.isnan(p))
    adjusted, before = [math.nan] * len(p_values), 0.0
    for rank, (p, number) in enumerate(known):
        before = min(1.0, max(before, p * (len(known) - rank)))
        adjusted[number] = before
    return adjusted


def test_holm_against_its_definition():
    """The correction is the step-down of the paper for every order of p values; NaN counts for nothing."""
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])  # by hand
    for p_values in itertools.permutations([0.001, 0.02, 0.02, 0.6, math.nan]):
        np.testing.assert_allclose(holm(p_values), slow_holm(list(p_values)))
    assert holm([]).tolist() == []
    assert np.isnan(holm([math.nan])).all()


def test_the_primary_comparison_is_not_corrected(scipy):
    """What was fixed beforehand keeps its p; the others pay for each other only."""
    rng = np.random.default_rng(4)
    pairs = {name: (rng.normal(0.4, 1, 40), np.zeros(40)) for name in ("first", "second", "third")}
    found = {each.name: each for each in compare(pairs, primary="first")}
    assert found["first"].holm == found["first"].p
    expected = slow_holm([found["second"].p, found["third"].p])
    assert [found["second"].holm, found["third"].holm] == pytest.approx(expected)
    assert found["first"].cells()[2].endswith("(primary)")
    assert found["second"].cells()[2].endswith("(Holm)")


def test_disagreement_against_a_slow_bootstrap(scipy):
    """Pictures are resampled, and pairs of different pictures are averaged: the mean and the interval are a plain loop's."""
    rng = np.random.default_rng(5)
    place = rng.random(14)
    distances = np.abs(place[:, None] - place[None, :])
    distances[2, 5] = distances[5, 2] = np.nan
    found, _ = estimate_disagreement(distances)
    pairs = [distances[i, j] for i, j in itertools.combinations(range(14), 2) if np.isfinite(distances[i, j])]
    assert found.mean == pytest.approx(np.mean(pairs))
    assert (found.pictures, found.values, found.missing) == (14, 91, 1)
    means = []
    for _ in range(3000):
        drawn = rng.integers(14, size=14)
        chosen = [distances[i, j] for i in drawn for j in drawn if i != j and np.isfinite(distances[i, j])]
        means.append(np.mean(chosen))
    expected = np.quantile(means, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.012)
    less, p = estimate_disagreement(distances, distances + 0.01)
    assert less.mean == pytest.approx(-0.01)
    assert p < 0.001


def test_edges_against_plain_sobel():
    """The edges are Sobel's two sums over nine pixels, the border mirrored; where scikit-image is installed, they are its own."""
    image = np.random.default_rng(6).random((3, 7, 9))
    grey = image.mean(0)
    across = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4
    found = nulls.edge_map(image)
    for row, col in ((0, 0), (3, 4), (6, 8), (0, 5)):
        patch = np.array([[grey[min(max(row + i, 0), 6), min(max(col + j, 0), 8)] for j in (-1, 0, 1)] for i in (-1, 0, 1)])
        expected = math.hypot((across * patch).sum(), (across.T * patch).sum()) / math.sqrt(2)
        assert found[row, col] == pytest.approx(expected)
    filters = pytest.importorskip("skimage.filters")
    np.testing.assert_allclose(found, filters.sobel(grey), atol=1e-12)


def test_no_net_is_edges_times_a_gaussian():
    """The null without a net is (edges x Gaussian of the window)^2, pixel by pixel, also where the window leaves the frame."""
    image = np.random.default_rng(7).random((1, 10, 12))
    window = Window(-3, 2, 8, 12)
    found, edges = nulls.no_net_energy(image, window), nulls.edge_map(image)
    for row, col in itertools.product(range(10), range(12)):
        down, right = (row - 0.5) / 2, (col - 7.5) / 3  # the middle, and a quarter of the sides
        assert found[row, col] == pytest.approx((edges[row, col] * math.exp(-0.5 * (down**2 + right**2))) ** 2)


def test_random_net_keeps_the_switches_of_the_trained_one(small):
    """Through random filters by this net's own switches: unpool, rectify and filter, written out, give the same projection."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    recording = small.record(image)
    maps = recording.stored_maps("features.4")
    channel = int(maps[0].amax((1, 2)).argmax())
    row, col = divmod(int(maps[0, channel].argmax()), 7)
    unit = Unit("features.4", channel, row, col, activation=float(maps[0, channel, row, col]))
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    found = nulls.project_at_random(recording, "features.4", [unit], small.table("deconvnet"), seed=11)
    features = small.model.features
    first = features[1](features[0](image)).detach()
    pooled, switches = nn.functional.max_pool2d(first, 2, return_indices=True)
    tape = nulls.with_random_filters(recording.tape, 11)
    below, above = (call.saved.weight for call in tape.calls if call.name == "conv2d")
    signal = torch.zeros_like(maps)
    signal[0, channel, row, col] = maps[0, channel, row, col]
    signal = nn.functional.conv_transpose2d(signal.clamp(min=0), above, padding=1)
    signal = signal * (pooled > 0)  # windows in which nothing fired pass nothing on
    unpooled = torch.zeros_like(first).flatten(2).scatter_add_(2, switches.flatten(2), signal.flatten(2)).view_as(first)
    expected = nn.functional.conv_transpose2d(unpooled.clamp(min=0), below, stride=2, padding=1)
    expected = nn.functional.pad(expected, (0, 32 - expected.shape[3], 0, 32 - expected.shape[2]))
    np.testing.assert_allclose(found[0], expected[0].numpy(), atol=1e-5)
    for filters, trained in ((above, before["features.3.weight"]), (below, before["features.0.weight"])):
        assert not torch.equal(filters, trained)
        assert float(filters.std()) == pytest.approx(0.88 * float(trained.std()), rel=0.1)
    assert all(torch.equal(value, before[name]) for name, value in small.model.state_dict().items())
    trained = small.project(recording, "features.4", units=[unit], rule="deconvnet").pixels[0]
    again = small.project(small.record(image), "features.4", units=[unit], rule="deconvnet").pixels[0]
    assert torch.equal(trained, again)  # nothing random stays behind


def test_the_energy_of_random_nets_is_a_mean_of_draws(small):
    """Five draws count alike, whatever their strength: each has energy 1 before they are averaged."""
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4)) - 0.5
    recording = small.record(image)
    unit = Unit("features.4", 2, 3, 3, activation=1.0)
    found = nulls.random_net_energy(small, recording, "features.4", [unit], seed=2)[0]
    draws = [
        energy(nulls.project_at_random(recording, "features.4", [unit], small.table("deconvnet"), seed=seed)[0])
        for seed in range(2, 7)
    ]
    np.testing.assert_allclose(found, sum(each / max(each.sum(), 1e-30) for each in draws) / 5, atol=1e-12)


def test_an_empty_projection_has_no_score():
    """A projection that is zero everywhere covers nothing: its score is NaN, it is counted, and the others are measured."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()).eval()
    with torch.no_grad():
        net[0].weight.fill_(0.5)
        net[2].weight.fill_(-0.1)  # all that comes down is negative, and is rectified away
        net[2].bias.fill_(2.0)
    result = faithful.run(deconvnet.DeconvNet(net), torch.rand(6, 1, 12, 12) * 0.1, layer="3", top=1, seeds=2)
    at = result.methods.index("deconvnet")
    assert np.isnan(result.scores[:, at]).all()
    assert result.means["deconvnet"].missing == 6
    assert np.isfinite(result.scores[:, result.methods.index("centre")]).all()
    assert "- (6 of 6 missing)" in result.summary()
    assert "empty" in result.table()
    assert result.plot().axes


def test_settings_say_what_was_seen_and_where(tmp_path):
    """The settings of a study hold each picture's digest, torch's version and the kind of device."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    result = faithful.run(net, [draw("cat", seed=5), draw("cat", seed=6)], top=1, seeds=2)
    assert result.settings["picture_digests"] == ["drawing cat, seed 5, 96 px", "drawing cat, seed 6, 96 px"]
    assert (result.settings["torch"], result.settings["device"]) == (torch.__version__, "cpu")
    images = torch.rand(101, 3, 2, 2)
    every = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]
    joint = hashlib.sha256("\n".join(f"sha256:{digest}" for digest in every).encode()).hexdigest()
    [digest] = study_settings(net, "evolve", inputs=images)["picture_digests"]
    assert digest == f"sha256:{joint} of the digests of 101 pictures"


def test_a_projection_says_what_was_seen_and_how_it_was_drawn(tmp_path):
    """So does a sheet: the digest of its picture, torch's version, the device, and the percentile that its tone is scaled by."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    draw("cat", seed=6).picture.save(tmp_path / "cat.png")
    recording = net.record([draw("cat", seed=5), tmp_path / "cat.png"])
    projection = net.project(recording, "features.13", top=1)
    digest = hashlib.sha256((tmp_path / "cat.png").read_bytes()).hexdigest()
    assert projection.settings["picture_digests"] == ["drawing cat, seed 5, 96 px", f"sha256:{digest}"]
    shown = net.project(recording, "features.13", top=1, image=1)
    assert shown.settings["picture_digests"] == [f"sha256:{digest}"]
    for tone, percentile in (("soft", 98.0), ("symmetric", 99.5)):
        [path] = shown.save(tmp_path / f"{tone}.png", tone=tone)
        settings = read_settings(path)
        assert (settings["tone"], settings["percentile"], settings["crop"]) == (tone, percentile, "energy")
        assert (settings["torch"], settings["device"]) == (torch.__version__, "cpu")
    assert "picture_digests" not in net.project(net.record(recording.images), "features.13", top=1).settings


def test_digests_name_what_was_seen(tmp_path):
    """A file is named by its bytes, pixels and numbers by theirs, a drawing by what draws it again."""
    drawing = draw("cat", seed=5)
    drawing.picture.save(tmp_path / "cat.png")
    found = picture_digests([tmp_path / "cat.png", drawing.picture, drawing, torch.zeros(3, 4, 4)])
    assert found[2] == "drawing cat, seed 5, 96 px"
    assert all(each.startswith("sha256:") and len(each) == 71 for each in (found[0], found[1], found[3]))
    assert len(set(found)) == 4
    assert picture_digests(draw("cat", seed=5).picture) == found[1:2]
    assert picture_digests(torch.zeros(1, 3, 4, 4)) == found[3:]
