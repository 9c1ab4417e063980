"""Promises about sanity: random weights, and measures of how alike projections are, against slow, plain twins."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import draw
from deconvnet.layers import output_layer
from deconvnet.mirror import project_value
from deconvnet.named_channels import class_map_layer
from deconvnet.studies import (
    followed,
    reinitialise,
    sanity,
    selectivity,
    similarity,
)
from deconvnet.studies.nulls import edge_map
from deconvnet.units import Unit, Window, parse_unit
from support.studies import Small


@pytest.fixture
def measures():
    """The extra `studies`; its tests skip where it is absent, and are run in a stage of their own in CI."""
    pytest.importorskip("scipy")
    pytest.importorskip("skimage")


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(Small().eval())


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5


def test_reinitialising_leaves_the_model_as_it_is(small):
    """Only the copy changes, only in the modules named, by the same numbers for the same seed, at the old size."""
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    made, again = (reinitialise.reinitialised(small.model, ["features.3"], 1) for _ in range(2))
    for name, value in small.model.state_dict().items():
        assert torch.equal(value, before[name])
        same = torch.equal(made.state_dict()[name], value)
        assert same is not name.startswith("features.3")
        assert torch.equal(made.state_dict()[name], again.state_dict()[name])
    old, new = before["features.3.weight"], made.features[3].weight.detach()
    assert float(new.std()) == pytest.approx(0.88 * float(old.std()), rel=0.1)  # of a normal cut off at two deviations
    assert float(new.abs().max()) <= 2 * float(old.std()) + 1e-6


def test_norms_are_shuffled():
    """A norm keeps its values in another order: none of its variances becomes negative."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU()).eval()
    net[1].running_var.uniform_(0.5, 2)
    made = reinitialise.reinitialised(net, ["0", "1"], 0)
    assert torch.equal(made[1].running_var.sort().values, net[1].running_var.sort().values)
    assert not torch.equal(made[1].running_var, net[1].running_var)


def test_blocks_are_those_below_the_unit(net):
    """Blocks come top first; those above a unit's layer are told apart, and making them random changes nothing at all."""
    recording = net.record(draw("face", seed=3).picture, stop=False)
    names = [name for name, _ in reinitialise.weight_blocks(recording, "classifier.5")]
    assert names == ["classifier.5", "classifier.2", "features.12", "features.10", "features.8", "features.4", "features.0"]
    blocks = reinitialise.weight_blocks(recording, "features.9")
    assert [name for name, _ in blocks] == ["features.8", "features.4", "features.0"]
    above = reinitialise.layers_above(recording, blocks)
    assert above == ["features.10", "features.12", "classifier.2", "classifier.5"]
    other = deconvnet.DeconvNet(reinitialise.reinitialised(net.model, above, 0), net.preprocess)
    there = other.project(other.record(recording.images), "features.9").pixels
    assert torch.equal(there, net.project(recording, "features.9").pixels)


def test_blocks_of_a_deep_net_are_taken_together():
    """SqueezeNet's 26 convolutions make ten blocks, ResNet's norms stand with their convolutions."""
    for model, count, first in (("squeezenet1_0", 10, "classifier.1"), ("resnet18", 10, "fc")):
        net = deconvnet.DeconvNet(deconvnet.load_model(f"torchvision:{model}", weights="none"))
        recording = net.record_zeros((3, 64, 64))
        blocks = reinitialise.weight_blocks(recording, output_layer(recording))
        assert (len(blocks), blocks[0][0]) == (count, first)
        assert not reinitialise.layers_above(recording, blocks)


def test_selectivity_against_plain_pairs(net):
    """The mean over pairs is that of a double loop; the place is where activations add up to most."""
    recording = net.record([draw("face", seed=3).picture])
    maps = recording.activations("features.13")
    result = selectivity.measure_selectivity(net, recording, "features.13", maps, 3)
    [(row, col)] = result.positions
    assert float(maps[0].sum(0)[row, col]) == float(maps[0].sum(0).max())
    strongest = maps[0, :, row, col].argsort(descending=True)[:3].tolist()
    assert result.channels[0].tolist() == strongest
    for number, rule in enumerate(result.rules):
        crops = net.project(recording, "features.13", channels=strongest, at=(row, col), rule=rule).crops()
        sizes = [crop.double().abs().amax(0).flatten().numpy() for crop in crops]
        pairs = [np.corrcoef(sizes[a], sizes[b])[0, 1] for a in range(3) for b in range(a)]
        assert result.correlation[0, number] == pytest.approx(np.mean(pairs), abs=1e-4)
        flat = [crop.double().flatten() for crop in crops]
        cosines = [float(flat[a] @ flat[b] / flat[a].norm() / flat[b].norm()) for a in range(3) for b in range(a)]
        assert result.cosine[0, number] == pytest.approx(np.mean(cosines), abs=1e-4)


def slow_rank(one, other):
    """Spearman's rank correlation: the plain correlation of ranks, equals sharing the mean of theirs."""

    def ranks(values):
        return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])

    return np.corrcoef(ranks(one.ravel()), ranks(other.ravel()))[0, 1]


def slow_ssim(one, other):
    """SSIM in windows of 5 x 5, one at a time, as Wang et al. 2004 define it, with the sample's own variance."""
    a, b = one / np.abs(one).max(), other / np.abs(other).max()
    low, high = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    values = []
    for row in range(a.shape[0] - 4):
        for col in range(a.shape[1] - 4):
            x, y = a[row : row + 5, col : col + 5], b[row : row + 5, col : col + 5]
            shared = ((x - x.mean()) * (y - y.mean())).sum() / 24
            top = (2 * x.mean() * y.mean() + low) * (2 * shared + high)
            values.append(top / ((x.mean() ** 2 + y.mean() ** 2 + low) * (x.var(ddof=1) + y.var(ddof=1) + high)))
    return np.mean(values)


def test_measures_against_slow_twins(measures):
    """Rank correlation and SSIM are their definitions; HOG is 1 for the same, little for noise; nothing has no rank."""
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((3, 24, 20)), rng.standard_normal((3, 24, 20))
    other = np.round(other + 0.8 * one, 1)  # with ties
    found = similarity.compare_projections(one, other)
    assert found["signed rank"] == pytest.approx(slow_rank(one, other))
    assert found["rank"] == pytest.approx(slow_rank(np.abs(one).max(0), np.abs(other).max(0)))
    assert found["ssim"] == pytest.approx(slow_ssim(one.mean(0), other.mean(0)))
    assert similarity.hog(one[0], one[0]) == pytest.approx(1.0)
    assert abs(similarity.hog(rng.standard_normal((96, 96)), rng.standard_normal((96, 96)))) < 0.25
    assert np.isnan(similarity.rank_correlation(np.zeros(4), np.arange(4)))
    known = similarity.mean_known(np.array([[1.0, np.nan], [3.0, np.nan]]), 0)
    assert known[0] == 2
    assert np.isnan(known[1])


def test_sanity_against_autograd_of_the_random_copy(small, image, measures):
    """What a cascade compares is the gradient of the same class's score in the net whose weights are random from there up."""
    result = sanity.run(small, image, select="features.4", top=3, seeds=1, seed=5, independent=True)
    assert result.blocks == ("classifier", "features.3", "features.0")
    channel = int(small.model(image)[0].argmax())
    assert result.units == (f"classifier:{channel}@0,0",)

    def gradient(model):
        wanted = image.clone().requires_grad_()
        model(wanted)[0, channel].backward()
        return wanted.grad[0].numpy()

    trained = gradient(small.model)
    at = result.rules.index("gradient")
    for way, some in (("cascading", ["classifier", "features.3"]), ("independent", ["features.3"])):
        made = gradient(reinitialise.reinitialised(small.model, some, 5))
        found = dict(zip(result.measures, result.similarity[result.orders.index(way), 1, at, 0], strict=True))
        assert found["signed rank"] == pytest.approx(slow_rank(trained, made), abs=1e-3)
        assert found["rank"] == pytest.approx(slow_rank(np.abs(trained).max(0), np.abs(made).max(0)), abs=1e-3)
        assert found["ssim"] == pytest.approx(slow_ssim(trained.mean(0), made.mean(0)), abs=1e-3)
    assert np.abs(result.noise[..., :2]).max() < 0.15


def test_sanity_of_a_unit_inside_tells_what_stands_above(net, measures):
    """A unit inside the net: the layers above it are listed, not measured; several pictures are held against each other."""
    result = sanity.run(net, [draw("face", seed=3), draw("car", seed=1)], layer="features.9", top=2, seeds=1, independent=True)
    assert result.blocks == ("features.8", "features.4", "features.0")
    assert result.above == ("features.10", "features.12", "classifier.2", "classifier.5")
    assert result.similarity.shape == (2, 3, 3, 2, 4)
    np.testing.assert_allclose(result.similarity[0, 0], result.similarity[1, 0])  # the top block alone is where both ways begin
    dead = ~np.isfinite(result.similarity[..., 1])
    assert not dead[:, :, 0].any()  # the deconvnet of a unit that no longer fires is something, its gradient may be nothing
    assert np.isfinite(result.others).all()
    assert result.plot().axes


def test_sanity_command(tmp_path, monkeypatch, picture, capsys, measures):
    """It draws the figure and writes all numbers, NaN as null."""
    monkeypatch.chdir(tmp_path)
    command.main(["sanity", str(picture), "--layer", "features.9", "--seeds", "2", "--json=-"], standalone_mode=False)
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["others"][0][0] == [None] * 4
    assert (tmp_path / "sanity-tiny-features.9-soft.png").stat().st_size > 10_000


class Averaging(nn.Module):
    """Scores that are averages of a map for each class, as SqueezeNet's are."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2))
        self.classes, self.relu = nn.Conv2d(6, 4, 1), nn.ReLU()

    def forward(self, image):
        return self.relu(self.classes(self.features(image))).mean((2, 3))


def test_a_map_of_each_class_is_followed_at_its_strongest_place(small, image, measures):
    """Where scores are averages of maps, the most probable class's map is followed where it is strongest; else the score."""
    torch.manual_seed(1)
    net = deconvnet.DeconvNet(Averaging().eval())
    images = torch.cat([image, image.flip(2) * 2])
    recording = net.record(images, stop=False)
    assert class_map_layer(recording) == "classes"  # below the rectifier
    result = sanity.run(net, images, seeds=1)
    maps = net.record(images, layers=["classes"]).activations("classes")
    scores = net.model(images)
    expected = []
    for number in range(2):
        channel = int(scores[number].argmax())
        row, col = divmod(int(maps[number, channel].argmax()), maps.shape[3])
        expected.append(f"classes:{channel}@{row},{col}")
    assert [unit.rpartition("#")[0] or unit for unit in result.units] == expected
    assert class_map_layer(small.record(image, stop=False)) == "classifier"


def test_squeezenet_follows_its_class_map():
    """SqueezeNet's scores are averages of classifier.1, rectified; ResNet's and AlexNet's are no averages of maps."""
    for model, layer in (("squeezenet1_0", "classifier.1"), ("resnet18", "fc"), ("alexnet", "classifier.6")):
        net = deconvnet.DeconvNet(deconvnet.load_model(f"torchvision:{model}", weights="none"))
        assert class_map_layer(net.record_zeros((3, 64, 64))) == layer


def test_ranks_are_those_of_all_values(measures):
    """Zeros that are not sorted have the rank they would have, among ties, signs and nothing else too."""
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(0)
    sparse = np.round(random.normal(size=500), 1) * (random.random(500) < 0.4)
    for values in (sparse, np.abs(sparse), -np.abs(sparse), np.zeros(7), random.normal(size=9), np.array([0.0, -0.0, 1.0])):
        ranks = stats.rankdata(values)
        assert (similarity._ranks(values) == ranks - ranks.mean()).all()


@pytest.mark.parametrize("rule", sanity.RULES)
def test_a_class_map_is_followed_inside_its_windows(rule):
    """Units with windows, of pictures of their own, project as in the whole frame, where all of it is computed."""
    torch.manual_seed(0)
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=None))
    recording = deconvnet.DeconvNet(net.model, rules=net.table("gradient")).record(torch.randn(2, 3, 96, 128), stop=False)
    tape, layer = recording.tape, "classifier.1"
    units = [Unit(layer, 7, 0, 1, image=0), Unit(layer, 400, 2, 3, image=1)]
    signal = torch.zeros(tape.shapes[recording.value(layer)])
    signal[0, 7, 0, 1] = signal[1, 400, 2, 3] = 1
    frames = project_value(tape, recording.value(layer), signal, net.table(rule)).numpy()
    carried = followed.carry(recording, layer, units, net.table(rule))
    assert frames.any(axis=(1, 2, 3)).all()
    np.testing.assert_allclose(carried, frames, rtol=0, atol=1e-5 * np.abs(frames).max())


def test_one_recording_serves_all_rules(small, image, measures):
    """Projections by the one recording of the gradient's rule are those that `project` makes by each rule, rule by rule."""
    recording = small.record(torch.cat([image, image.flip(3)]))
    units = sanity._followed_units(recording, "classifier", None, by_score=True)
    found = followed.Followed(small, recording, "classifier", units).pixels
    for number, rule in enumerate(sanity.RULES):
        expected = small.project(recording, "classifier", units=units, rule=rule, start="one").pixels
        np.testing.assert_allclose(found[number], expected.numpy(), atol=1e-5)


def test_empty_projections_have_no_similarity(measures):
    """SSIM, HOG and both ranks of an empty projection are NaN, so that they can be counted."""
    something = np.random.default_rng(0).standard_normal((3, 20, 20))
    for first, second in ((something, np.zeros((3, 20, 20))), (np.zeros((3, 20, 20)), np.zeros((3, 20, 20)))):
        assert np.isnan(list(similarity.compare_projections(first, second).values())).all()


def test_means_are_over_pictures(net, measures):
    """A picture's value is the mean over seeds; the table prints the mean over pictures with its interval, and compares rules."""
    result = sanity.run(net, [draw(seed=seed) for seed in range(6)], layer="features.9", top=2, seeds=2, independent=True)
    signed, step = result.measures.index("signed rank"), 1
    for number, rule in enumerate(result.rules):
        by_picture = result.similarity[0, step, number, :, signed]
        estimate = result.means[result.blocks[step]][rule]["signed rank"]
        assert estimate.mean == pytest.approx(np.nanmean(by_picture))
        assert (estimate.pictures, estimate.values) == (int(np.isfinite(by_picture).sum()), 12)
        assert str(estimate) in result.table()
    cascade = sanity.run(net, [draw(seed=seed) for seed in range(6)], layer="features.9", top=2, seeds=2)
    np.testing.assert_array_equal(cascade.similarity[0], result.similarity[0])
    assert np.isnan(cascade.similarity[1]).all()
    assert cascade.plot().axes
    assert [comparison.name for comparison in result.comparisons if comparison.primary] == [sanity.PRIMARY]
    assert str(result.selectivity.means["cosine"]["deconvnet"]) in result.summary()
    other = result.means["others"]["deconvnet"]["ssim"]
    assert other.mean == pytest.approx(result.others[0, :, result.measures.index("ssim")].mean())


def test_measures_are_taken_inside_the_window(small, image, measures):
    """A unit inside the net is compared where its window lies in the frame, cut out by hand; not where all is zero anyway."""
    images = torch.cat([image, image.flip(3), image.flip(2)])
    result = sanity.run(small, images, layer="features.3", select="features.4", top=2, seeds=1, seed=5)
    names = result.measures
    recording = small.record(images)
    units = [parse_unit(unit) for unit in result.units]
    random = deconvnet.DeconvNet(reinitialise.reinitialised(small.model, ["features.3"], 5))
    for number, unit in enumerate(units):
        unit = dataclasses.replace(unit, image=number)
        projection = small.project(recording, "features.3", units=[unit], rule="deconvnet", start="one")
        here = projection.windows[0].clip(*images.shape[2:])
        assert result.windows[number] == here
        assert not here.covers(*images.shape[2:])
        after = random.project(random.record(images), "features.3", units=[unit], rule="deconvnet", start="one")
        rows, cols = slice(here.top, here.bottom), slice(here.left, here.right)
        one, other = (np.asarray(each.pixels[0])[:, rows, cols] for each in (projection, after))
        found = dict(zip(names, result.similarity[0, 0, 0, number], strict=True))
        assert found["signed rank"] == pytest.approx(slow_rank(one, other), abs=1e-3)
        assert found["rank"] == pytest.approx(slow_rank(np.abs(one).max(0), np.abs(other).max(0)), abs=1e-3)
        edges = dict(zip(names, result.edges[0, number], strict=True))
        sobel = result.edge_map if number == 0 else edge_map(images[number].numpy())
        assert edges["rank"] == pytest.approx(slow_rank(np.abs(one).max(0), sobel[rows, cols]), abs=1e-3)


def test_other_pictures_are_compared_unit_upon_unit(small, image, measures):
    """Two units' projections lie upon each other by their windows' corners, as far as both are inside the frame."""
    images = torch.cat([image, image.flip(3)])
    result = sanity.run(small, images, layer="features.3", select="features.4", top=2, seeds=1)
    units = [dataclasses.replace(parse_unit(unit), image=number) for number, unit in enumerate(result.units)]
    projections = [
        small.project(small.record(images), "features.3", units=[unit], rule="guided", start="one") for unit in units
    ]
    windows = [projection.windows[0] for projection in projections]
    values = []
    for row, col in np.ndindex(windows[0].height, windows[0].width):  # in both windows, from their corners
        places = [(window.top + row, window.left + col) for window in windows]
        if all(0 <= down < images.shape[2] and 0 <= right < images.shape[3] for down, right in places):
            values.append(
                [np.asarray(p.pixels[0])[:, down, right] for p, (down, right) in zip(projections, places, strict=True)]
            )
    one, other = np.moveaxis(np.array(values), 1, 0)
    at = result.rules.index("guided")
    for number in range(2):  # each is the other's next
        assert result.others[at, number, result.measures.index("signed rank")] == pytest.approx(slow_rank(one, other), abs=1e-3)


def test_windows_are_laid_upon_each_other():
    """The part that both have inside the frame, corner upon corner; nothing where they have none."""
    assert followed.overlay(Window(-2, 1, 5, 6), Window(4, 5, 5, 6), (10, 10)) == (Window(0, 1, 3, 5), Window(6, 5, 3, 5))
    same = Window(-3, -3, 40, 40)
    assert followed.overlay(same, same, (10, 12)) == (Window(0, 0, 10, 12),) * 2
    at, there = followed.overlay(Window(-4, 0, 5, 5), Window(9, 0, 5, 5), (10, 10))
    assert at.height == there.height == 0


@pytest.mark.parametrize("shape", [(3, 0, 4), (3, 1, 1), (3, 4, 30), (3, 5, 5), (3, 6, 6)])
def test_small_windows_have_no_ssim_or_hog(shape, measures):
    """Below SSIM's 5 x 5 and HOG's blocks there is nothing to compare, and that is NaN, not an error."""
    rng = np.random.default_rng(0)
    found = similarity.compare_projections(rng.standard_normal(shape), rng.standard_normal(shape))
    assert np.isfinite(found["ssim"]) == (min(shape[1:]) >= 5)
    assert np.isfinite(found["hog"]) == (min(shape[1:]) >= 6)
    assert np.isfinite(found["rank"]) == (shape[1] * shape[2] > 1)


def test_mean_ranks_are_scipys(measures):
    """Of ties, signs, infinities, nothing and NaN."""
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    ties = np.round(rng.standard_normal(300), 1)
    for values in (
        rng.standard_normal(200).astype(np.float32),
        ties,
        np.zeros(5),
        np.array([]),
        np.array([np.inf, 1, -np.inf]),
    ):
        np.testing.assert_array_equal(similarity._mean_ranks(values), stats.rankdata(values))
    np.testing.assert_array_equal(similarity._mean_ranks(np.array([1, np.nan, 2])), stats.rankdata([1, np.nan, 2]))


@pytest.mark.parametrize("count", range(1, 20))
@pytest.mark.parametrize("steps", [4, 5, 7, None])
def test_steps_of_the_cascade(count, steps):
    """They go up to the last block, with the top one, the upper half and all but the first among them; no more than asked."""
    depths = reinitialise.group_blocks(count, steps)
    assert depths == sorted(set(depths))
    assert {1, max(count // 2, 1), max(count - 1, 1), count} <= set(depths) <= set(range(1, count + 1))
    assert len(depths) == (count if steps is None else min(count, steps))


def test_a_cascade_draws_each_weight_once(small):
    """At each step the copy is the one that all blocks up to there would make at once; the model stays as it is."""
    before = {name: value.clone() for name, value in small.model.state_dict().items()}
    blocks = [["classifier"], ["features.3"], ["features.0"]]
    for number, model in enumerate(reinitialise.reinitialise_in_steps(small.model, blocks, 7)):
        paths = [path for block in blocks[: number + 1] for path in block]
        expected = reinitialise.reinitialised(small.model, paths, 7).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in small.model.state_dict().items())


def test_fewer_steps_are_steps_of_all(net, measures):
    """By default blocks are taken together, said in the summary; what is measured is what all steps measure there."""
    pictures = [draw("face", seed=3), draw("car", seed=1)]
    few = sanity.run(net, pictures, top=2, seeds=1)
    every = sanity.run(net, pictures, top=2, seeds=1, steps=None)
    assert (few.depths, every.depths) == ((1, 3, 4, 6, 7), (1, 2, 3, 4, 5, 6, 7))
    assert few.blocks == tuple(every.blocks[depth - 1] for depth in few.depths)
    np.testing.assert_array_equal(few.similarity[0], every.similarity[0][[depth - 1 for depth in few.depths]])
    assert [str(each) for each in few.comparisons] == [str(each) for each in every.comparisons]
    line = "measured inside each unit's window, 100 % of the picture; 7 blocks of weights in"
    assert f"{line} 5 steps (all: --steps 7)\n" in few.summary()
    assert f"{line} 7 steps\n" in every.summary()
    assert "trained: another picture" in few.summary()


def test_names_are_looked_up_before_the_time_is_said(run, measures):
    """One line says what is wrong, and none before it how long the work would take."""
    line = "UnknownLayerError: 'nope' is not a layer of tiny. See: deconvnet layers tiny\n"
    assert run("sanity", "--select", "nope", "--top", "2") == (1, "", line)
