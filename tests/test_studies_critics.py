"""The critics' studies: filters, ablate, sanity, faithful. Every number against a slow, plain re-computation."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import draw
from deconvnet.layers import output_layer
from deconvnet.studies import (
    ablate,
    faithful,
    filters,
    masking,
    reinitialise,
    sanity,
    selectivity,
    similarity,
    spectrum,
)
from deconvnet.units import Unit, Window


@pytest.fixture(scope="module")
def tiny_net() -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(deconvnet.load_model("tiny"))


@pytest.fixture
def measures():
    """The extra `studies`; its tests skip where it is absent, and are run in a stage of their own in CI."""
    pytest.importorskip("scipy")
    pytest.importorskip("skimage")


class Small(nn.Module):
    """Two convolutions and a classifier, no norms: its gradient bits equal autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()
        )
        self.classifier = nn.Linear(8 * 7 * 7, 5)

    def forward(self, image):
        return self.classifier(self.features(image).flatten(1))


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(Small().eval())


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5


# -------------------------------------------------------------------------------------------------------------- ablate


def test_ablate_projects_the_unit_by_all_eight_settings(tiny_net):
    """Each picture is what `project` makes of the unit by that rule, and the tables are numpy's own correlations of them."""
    result = ablate.run(tiny_net, draw("face", seed=3), layer="features.9", signals=2)
    recording = tiny_net.record(draw("face", seed=3).picture)
    assert sorted(result.rules) == sorted({f"{a}{b}{c}" for a in "FT" for b in "FT" for c in "FT"})
    unit = deconvnet.units.parse_unit(result.unit)
    flat, sizes = [], []
    for number, rule in enumerate(result.rules):
        [crop] = tiny_net.project(recording, "features.9", units=[unit], rule=rule).crops()
        np.testing.assert_allclose(result.pixels[number, 0], crop.numpy(), atol=1e-4 * float(crop.abs().max()))
        flat.append(crop.double().flatten())
        sizes.append(crop.double().abs().amax(0).flatten())
    for row in range(8):
        for col in range(8):
            cosine = float(flat[row] @ flat[col] / flat[row].norm() / flat[col].norm())
            assert result.cosine[row, col] == pytest.approx(cosine, abs=1e-4)
    np.testing.assert_allclose(result.correlation, np.corrcoef(torch.stack(sizes).numpy()), atol=1e-4)


def test_ablate_random_signals_are_positive_at_the_units_place(tiny_net):
    """Without rectification a projection is linear: the random signal's is the sum of its channels' by themselves."""
    result = ablate.run(tiny_net, draw("face", seed=3), layer="features.5", signals=2, seed=4)
    unit = deconvnet.units.parse_unit(result.unit)
    recording = tiny_net.record(draw("face", seed=3).picture)
    numbers = np.abs(np.random.default_rng(4).standard_normal((2, 64)))
    units = [Unit("features.5", channel, unit.row, unit.col) for channel in range(64)]
    for rule in ("TTF", "FFF"):
        alone = tiny_net.project(recording, "features.5", units=units, rule=rule, start="one").crops()
        added = sum(float(number) * crop.double() for number, crop in zip(numbers[0], alone, strict=True))
        made = result.pixels[result.rules.index(rule), 1]
        np.testing.assert_allclose(made, added.numpy(), atol=1e-4 * np.abs(made).max())
        size, other = np.abs(result.pixels[result.rules.index(rule)]).max(1)
        expected = np.corrcoef(size.ravel(), other.ravel())[0, 1]
        assert result.random_correlation[result.rules.index(rule), 0] == pytest.approx(expected, abs=1e-4)


def test_ablate_takes_classes(small, image):
    """A layer without positions works too."""
    result = ablate.run(small, image, layer="classifier")
    assert result.unit.startswith("classifier:")
    assert result.plot().axes


# ------------------------------------------------------------------------------------------------------------- filters


def test_filters_of_a_net_made_by_hand():
    """A dominant, a faint and a silent filter are found, the others not; RMS and shares are those of the weights."""
    net = nn.Sequential(nn.Conv2d(1, 5, 8, stride=4), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.ReLU()).eval()
    x = torch.arange(8.0)
    with torch.no_grad():
        net[0].weight[0] = 0.9  # a blob: low
        net[0].weight[1] = torch.cos(2 * np.pi * 3 / 16 * x).expand(8, 8) * 0.09  # between 1/8 and 1/4
        net[0].weight[2] = torch.cos(np.pi * x).expand(8, 8) * 0.09  # as high as it gets
        net[0].weight[3] = torch.cos(np.pi * x).expand(8, 8) * 1e-4
        net[0].weight[4] = -torch.ones(8, 8) * 0.09
        net[0].bias.zero_()
        net[0].bias[4] = -1.0
        net[2].weight.abs_()
    result = filters.run(deconvnet.DeconvNet(net), torch.rand(2, 1, 64, 64), top=2)
    slow = [np.sqrt(sum(value**2 for value in one.flatten().tolist()) / one.numel()) for one in net[0].weight.detach()]
    np.testing.assert_allclose(result.rms, slow, rtol=1e-5)
    assert result.dominance == pytest.approx(max(slow) / sorted(slow)[2])
    assert (result.layer, result.second, result.stride) == ("0", "3", (4, 4))
    assert result.over_cap.tolist() == [at for at, one in enumerate(slow) if one > 0.1]
    assert (result.faint.tolist(), result.silent.tolist()) == ([3], [4])
    assert result.shares.argmax(1).tolist() == [0, 1, 2, 2, 0]
    assert result.plot().axes


def test_band_shares_against_a_plain_fourier_sum():
    """The shares are those of the discrete Fourier transform, summed term by term, over 64 x 64 frequencies."""
    weight = np.random.default_rng(0).standard_normal((2, 3, 4))
    energy = np.zeros(3)
    rows, cols = np.mgrid[0:3, 0:4]
    for down in np.arange(-32, 32) / 64:
        for across in np.arange(-32, 32) / 64:
            wave = np.exp(-2j * np.pi * (down * rows + across * cols))
            radius = np.hypot(down, across)
            band = 0 if radius < 0.1 else 1 if radius < 0.3 else 2
            energy[band] += sum(abs((one * wave).sum()) ** 2 for one in weight)
    np.testing.assert_allclose(spectrum.band_shares(weight, (0.1, 0.3)), energy / energy.sum(), rtol=1e-9)


def test_grid_measures_what_repeats_with_the_stride():
    """Dots at every fourth pixel are nearly all grid, a smooth blob none, noise the flat share; stride 1 makes no grid."""
    dots = np.zeros((1, 64, 64))
    dots[:, ::4, ::4] = 1
    assert spectrum.measure_grid(dots, (4, 4)) > 0.85
    assert spectrum.measure_grid(dots, (1, 1)) == 0
    rows, cols = np.mgrid[-32:32, -32:32]
    assert spectrum.measure_grid(np.exp(-(rows**2 + cols**2) / 100.0)[None], (4, 4)) < 1e-6
    noise = np.random.default_rng(0).standard_normal((64, 64, 64))
    for stride in (2, 4):
        assert spectrum.flat_grid((stride, stride)) == pytest.approx((stride**2 - 1) / (16 * stride**2))
        assert spectrum.measure_grid(noise, (stride, stride)) == pytest.approx(spectrum.flat_grid((stride, stride)), rel=0.05)


def test_second_layer_units_are_the_strongest_over_all_pictures(tiny_net):
    """Each channel is projected where it fires most, in whichever picture: as a plain loop finds."""
    drawings = [draw(seed=seed) for seed in range(3)]
    result = filters.run(tiny_net, drawings, top=4)
    maps = torch.cat([tiny_net.record(one.picture).activations("features.5") for one in drawings])
    best = {}
    for image, channel, row, col in np.argwhere(maps.numpy() > 0):
        value = float(maps[image, channel, row, col])
        if value > best.get(int(channel), (0.0, ""))[0]:
            best[int(channel)] = (value, f"features.5:{channel}@{row},{col}")
    assert set(result.units) == {name for _, name in sorted(best.values(), reverse=True)[:4]}


# ------------------------------------------------------------------------------------------------------------ faithful


def test_drops_against_the_plain_forward_pass(small, image):
    """A drop is what a forward pass of the covered picture says, one at a time."""
    rng = np.random.default_rng(0)
    masks = rng.random((5, 32, 32)) < 0.3
    maps = small.model.features(image).detach()
    channel = int(maps[0].amax((1, 2)).argmax())
    row, col = divmod(int(maps[0, channel].argmax()), 7)
    unit = Unit("features.4", channel, row, col, activation=float(maps[0, channel, row, col]))
    found = masking.measure_drops(small, image[0], masks, unit)
    for mask, drop in zip(masks, found, strict=True):
        covered = image.clone()
        covered[:, :, torch.from_numpy(mask)] = 0
        left = small.model.features(covered).detach()[0, channel, row, col]
        assert drop == pytest.approx(1 - float(left / maps[0, channel, row, col]), abs=1e-5)


def test_regions_hold_their_share_of_the_window():
    """A region lies in its window, has the share asked for, and keeps it when moved; the middle one is in the middle."""
    inside = Window(4, 6, 20, 30)
    values = np.zeros((40, 50))
    values[10:14, 20:24] = 1.0
    region = masking.strongest_region(values, inside, 0.1)
    assert region.sum() == 60
    assert region[10:14, 20:24].all()
    outside = region.copy()
    outside[4:24, 6:36] = False
    assert not outside.any()
    rng = np.random.default_rng(0)
    others = [masking.randomly_moved(region, inside, rng) for _ in range(6)]
    assert {int(one.sum()) for one in others} == {60}
    assert len({one.tobytes() for one in others}) > 3
    assert not any(one[:4].any() or one[24:].any() or one[:, :6].any() or one[:, 36:].any() for one in others)
    rows, cols = np.nonzero(masking.middle_region(Window(-4, 6, 28, 30), (40, 50), 0.1))
    assert (rows.mean(), cols.mean()) == (pytest.approx(9.5, abs=0.5), pytest.approx(20.5, abs=0.5))


def test_blur_against_a_plain_sum():
    """The blur is the Gaussian's weighted sum, zero beyond the edge."""
    values = np.random.default_rng(0).random((6, 7))
    taps = {step: np.exp(-0.5 * (step / 1.2) ** 2) for step in range(-4, 5)}
    total = sum(taps.values())
    for row, col in ((0, 0), (3, 4), (5, 6)):
        expected = sum(
            taps[down] * taps[across] * values[row + down, col + across] / total**2
            for down in taps
            for across in taps
            if 0 <= row + down < 6 and 0 <= col + across < 7
        )
        assert masking.blurred(values, 1.2)[row, col] == pytest.approx(expected)


def test_faithful_score_of_a_unit_that_hears_one_corner():
    """A unit that hears only its window's upper left pixels: covering them takes all, other regions nothing, and so it scores."""
    conv = nn.Conv2d(1, 1, 9, padding=4, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, :3, :3] = 1.0
    net = deconvnet.DeconvNet(nn.Sequential(conv, nn.ReLU()).eval())
    result = faithful.run(net, torch.ones(1, 1, 24, 24), layer="1", top=1, area=9 / 81, seeds=12)
    first = result.methods.index("deconvnet")
    assert result.drops[0, first] == pytest.approx(1.0)
    assert result.drops[0, result.methods.index("centre")] == pytest.approx(0.0)
    assert 0.6 < result.scores[0, first] <= 1.0
    np.testing.assert_allclose(result.scores, result.drops - result.random_drops.mean(2))
    assert result.plot().axes


def test_faithful_sorts_units_and_knows_the_parts(tiny_net):
    """Units come by score; on drawings the exciting part is the one whose loss costs most, and the shares lie on it."""
    drawings = [draw("face", seed=3), draw("car", seed=1)]
    result = faithful.run(tiny_net, drawings, top=2, seeds=2)
    assert (np.diff(result.scores[:, 0]) <= 0).all()
    assert result.truth is not None
    images = torch.cat([tiny_net.record(one.picture).images for one in drawings])
    for number, text in enumerate(result.units):
        unit, drawing = deconvnet.units.parse_unit(text), drawings[int(result.images[number])]
        image = images[result.images[number]][None]
        lost = {}
        for name, mask in drawing.parts.items():
            covered = image.clone()
            covered[:, :, torch.from_numpy(mask)] = 0
            maps = tiny_net.record(covered).activations("features.13")
            lost[name] = 1 - float(maps[0, unit.channel, unit.row, unit.col]) / result.activations[number]
        part = max(lost, key=lost.__getitem__)
        if lost[part] < 0.1:
            assert result.truth.parts[number] == ""
            continue
        assert result.truth.parts[number] == part
        assert result.truth.drops[number] == pytest.approx(lost[part], abs=1e-4)
        weight = np.square(result.projections[number].astype(float)).sum(0)
        on = np.zeros((96, 96), bool)
        for row, col in np.argwhere(drawing.parts[part]):
            on[max(row - 2, 0) : row + 3, max(col - 2, 0) : col + 3] = True
        assert result.truth.shares[number, 0] == pytest.approx(weight[on].sum() / weight.sum(), rel=1e-4)
    rows = result.to_json()
    assert rows["truth"]["parts"] == list(result.truth.parts)
    assert "projections" not in rows


def test_faithful_on_pictures(tiny_net, picture):
    """Photographs have no ground truth."""
    assert faithful.run(tiny_net, picture, top=1, seeds=2).truth is None


# -------------------------------------------------------------------------------------------------------------- sanity


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


def test_blocks_are_those_below_the_unit(tiny_net):
    """Blocks come top first; those above a unit's layer are told apart, and making them random changes nothing at all."""
    recording = tiny_net.record(draw("face", seed=3).picture, stop=False)
    names = [name for name, _ in reinitialise.weight_blocks(recording, "classifier.5")]
    assert names == ["classifier.5", "classifier.2", "features.12", "features.10", "features.8", "features.4", "features.0"]
    blocks = reinitialise.weight_blocks(recording, "features.9")
    assert [name for name, _ in blocks] == ["features.8", "features.4", "features.0"]
    above = reinitialise.layers_above(recording, blocks)
    assert above == ["features.10", "features.12", "classifier.2", "classifier.5"]
    other = deconvnet.DeconvNet(reinitialise.reinitialised(tiny_net.model, above, 0), tiny_net.preprocess)
    there = other.project(other.record(recording.images), "features.9").pixels
    assert torch.equal(there, tiny_net.project(recording, "features.9").pixels)


def test_blocks_of_a_deep_net_are_taken_together():
    """SqueezeNet's 26 convolutions make ten blocks, ResNet's norms stand with their convolutions."""
    for model, count, first in (("squeezenet1_0", 10, "classifier.1"), ("resnet18", 10, "fc")):
        net = deconvnet.DeconvNet(deconvnet.load_model(f"torchvision:{model}", weights="none"))
        recording = net.record_zeros((3, 64, 64))
        blocks = reinitialise.weight_blocks(recording, output_layer(recording))
        assert (len(blocks), blocks[0][0]) == (count, first)
        assert not reinitialise.layers_above(recording, blocks)


def test_selectivity_against_plain_pairs(tiny_net):
    """The mean over pairs is that of a double loop; the place is where activations add up to most."""
    recording = tiny_net.record([draw("face", seed=3).picture])
    maps = recording.activations("features.13")
    result = selectivity.measure_selectivity(tiny_net, recording, "features.13", maps, 3)
    [(row, col)] = result.positions
    assert float(maps[0].sum(0)[row, col]) == float(maps[0].sum(0).max())
    strongest = maps[0, :, row, col].argsort(descending=True)[:3].tolist()
    assert result.channels[0].tolist() == strongest
    for number, rule in enumerate(result.rules):
        crops = tiny_net.project(recording, "features.13", channels=strongest, at=(row, col), rule=rule).crops()
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
    result = sanity.run(small, image, select="features.4", top=3, seed=5)
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
        found = dict(zip(result.measures, result.alike[result.ways.index(way), 1, at, 0], strict=True))
        assert found["signed rank"] == pytest.approx(slow_rank(trained, made), abs=1e-3)
        assert found["rank"] == pytest.approx(slow_rank(np.abs(trained).max(0), np.abs(made).max(0)), abs=1e-3)
        assert found["ssim"] == pytest.approx(slow_ssim(trained.mean(0), made.mean(0)), abs=1e-3)
    assert np.abs(result.noise[..., :2]).max() < 0.15


def test_sanity_of_a_unit_inside_tells_what_stands_above(tiny_net, measures):
    """A unit inside the net: the layers above it are listed, not measured; several pictures are held against each other."""
    result = sanity.run(tiny_net, [draw("face", seed=3), draw("car", seed=1)], layer="features.9", top=2)
    assert result.blocks == ("features.8", "features.4", "features.0")
    assert result.above == ("features.10", "features.12", "classifier.2", "classifier.5")
    assert result.alike.shape == (2, 3, 3, 2, 4)
    np.testing.assert_allclose(result.alike[0, 0], result.alike[1, 0])  # the top block alone is where both ways begin
    dead = ~np.isfinite(result.alike[..., 1])
    assert not dead[:, :, 0].any()  # the deconvnet of a unit that no longer fires is something, its gradient may be nothing
    assert np.isfinite(result.others).all()
    assert result.plot().axes


# ------------------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["ablate", "--layer", "features.5", "--signals", "2"], "random_correlation"),
        (["filters", "--top", "2"], "dominance"),
        (["faithful", "--top", "1", "--seeds", "2"], "scores"),
    ],
)
def test_commands_from_nothing(arguments, key, tmp_path, monkeypatch, picture, capsys):
    """Each draws its figure of one picture, the same bytes twice, and writes its numbers as JSON and arrays."""
    monkeypatch.chdir(tmp_path)
    for out in ("a.png", "b.png"):
        command.main(
            [*arguments[:1], str(picture), *arguments[1:], "-o", out, "--json=-", "--npz", "x.npz"], standalone_mode=False
        )
        numbers = json.loads(capsys.readouterr().out)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert numbers["settings"]["study"] == arguments[0]
    assert numbers[key] == np.load(tmp_path / "x.npz")[key].tolist()


def test_sanity_command(tmp_path, monkeypatch, picture, capsys, measures):
    """It draws the figure and writes all numbers, NaN as null."""
    monkeypatch.chdir(tmp_path)
    command.main(["sanity", str(picture), "--layer", "features.9", "--json=-"], standalone_mode=False)
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["others"][0][0] == [None] * 4
    assert (tmp_path / "sanity-tiny.png").stat().st_size > 10_000


@pytest.mark.parametrize("study", [filters, faithful])
def test_on_the_real_squeezenet(study, shared, tmp_path):
    """Each runs on real weights and photographs: SqueezeNet has dead filters of none, and its units are faithful on the whole."""
    weights = shared / "weights" / "squeezenet1_0.safetensors"
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=str(weights)))
    photos = sorted((shared / "images" / "imagenet-sample").iterdir())[::250]
    if study is filters:
        result = filters.run(net, photos, top=4)
        assert (result.layer, result.stride, len(result.rms)) == ("features.0", (2, 2), 96)
    else:
        result = faithful.run(net, photos, layer="features.8", top=1, seeds=2)
        assert result.scores[:, 0].mean() > 0
    assert result.save(tmp_path / "numbers.npz") == [tmp_path / "numbers.npz"]
    assert result.plot().axes
