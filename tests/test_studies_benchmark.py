"""Promises about benchmark: each measure against a slow twin, other tools beside ours, the planted cause, tables and figure."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from torch import nn

import deconvnet
from deconvnet import cli
from deconvnet.drawings import draw
from deconvnet.drawings.planted import PLANTED, draw_planted
from deconvnet.errors import MissingPackageError, OptionError
from deconvnet.studies import benchmark, contenders, masking, nulls, peers, perturb, planted
from deconvnet.studies.benchmark_result import FEWEST_STARRED
from deconvnet.studies.statistics import compare, estimate_mean
from deconvnet.units import Unit, Window
from support.studies import Small

stats = pytest.importorskip("scipy.stats", reason="benchmark needs the extra `studies`")

LAYER = "features.4"


@pytest.fixture(scope="module")
def small() -> deconvnet.DeconvNet:
    torch.manual_seed(1)
    return deconvnet.DeconvNet(Small().eval())


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5


@pytest.fixture(scope="module")
def result(small, images) -> benchmark.Benchmark:
    return benchmark.run(small, images, layer=LAYER, planted=False)


def strongest(net, images) -> list[Unit]:
    """Return the strongest unit of each image, found by plain torch."""
    maps = net.model.features(images).detach()
    units = []
    for number, image in enumerate(maps):
        channel, row, col = (int(index) for index in np.unravel_index(int(image.argmax()), image.shape))
        units.append(Unit(LAYER, channel, row, col, image=number, activation=float(image[channel, row, col])))
    return units


def activation(net, image, unit) -> float:
    return float(net.model.features(image[None]).detach()[0, unit.channel, unit.row, unit.col])


def plain_correlation(first, second) -> float:
    """Return numpy's correlation; NaN where one of the two is empty."""
    return float(np.corrcoef(first, second)[0, 1]) if first.any() and second.any() else float("nan")


def test_occlusion_against_plain_loops(small, images):
    """It is Spearman's correlation of the energy in squares, and of what a forward pass of each covered picture loses."""
    unit = strongest(small, images)[0]
    window = small.project(small.record(images), LAYER, units=[unit]).windows[0]
    inside = window.clip(32, 32)
    covered = perturb.cover_squares(small, images[0], unit, window)
    side = min(round(27 * 32 / 224), inside.height // 4, inside.width // 4)
    assert {(square.height, square.width) for square in covered.squares} == {(side, side)}
    values = np.random.default_rng(0).random((32, 32))
    sums, drops = [], []
    step = max(1, side // 2)
    for top in sorted({*range(0, inside.height - side, step), inside.height - side}):
        for left in sorted({*range(0, inside.width - side, step), inside.width - side}):
            rows = slice(inside.top + top, inside.top + top + side)
            cols = slice(inside.left + left, inside.left + left + side)
            grey = images[0].clone()
            grey[:, rows, cols] = 0
            sums.append(values[rows, cols].sum())
            drops.append(1 - activation(small, grey, unit) / unit.activation)
    np.testing.assert_allclose(covered.drops, drops, atol=1e-5)
    assert perturb.measure_occlusion(values, covered) == pytest.approx(stats.spearmanr(sums, drops).statistic, abs=1e-3)
    assert np.isnan(perturb.measure_occlusion(np.zeros((32, 32)), covered))


def test_insertion_and_deletion_against_plain_loops(small, images):
    """Pixels come back or go, the most energy first, and the areas are numpy's trapezoids of the activations left."""
    unit = strongest(small, images)[1]
    window = small.project(small.record(images), LAYER, units=[unit]).windows[0]
    inside = window.clip(32, 32)
    values = np.random.default_rng(1).random((32, 32))
    part = values[inside.top : inside.bottom, inside.left : inside.right]
    smooth = masking.blurred(part, 0.05 * part.size**0.5)
    order = sorted(np.ndindex(*part.shape), key=lambda at: -smooth[at])
    back, left = [], []
    for tenth in range(11):
        first = set(order[: round(tenth / 10 * len(order))])
        for kept, chosen in ((back, lambda at, first=first: at not in first), (left, lambda at, first=first: at in first)):
            image = images[1].clone()
            for row, col in filter(chosen, order):
                image[:, inside.top + row, inside.left + col] = 0
            kept.append(activation(small, image, unit) / unit.activation)
    found = perturb.measure_perturbation(small, images[1], unit, window, values)
    expected = [sum((a + b) / 2 for a, b in itertools.pairwise(curve)) / 10 for curve in (back, left)]
    assert found == pytest.approx(expected, abs=1e-4)
    assert np.isnan(perturb.measure_perturbation(small, images[1], unit, window, np.zeros((32, 32)))).all()


def test_insertion_beats_deletion_for_what_excites():
    """A unit that hears its window's upper left alone: energy there inserts at once and deletes at once, energy elsewhere last."""
    conv = nn.Conv2d(1, 1, 9, padding=4, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, :3, :3] = 1.0
    net = deconvnet.DeconvNet(nn.Sequential(conv, nn.ReLU()).eval())
    unit, window = Unit("1", 0, 12, 12, activation=9.0), Window(8, 8, 9, 9)
    there, elsewhere = np.zeros((24, 24)), np.zeros((24, 24))
    there[8:11, 8:11], elsewhere[14:17, 14:17] = 1, 1
    insertion, deletion = perturb.measure_perturbation(net, torch.ones(1, 24, 24), unit, window, there)
    late_insertion, late_deletion = perturb.measure_perturbation(net, torch.ones(1, 24, 24), unit, window, elsewhere)
    assert insertion > 0.85
    assert deletion < 0.15
    assert late_insertion < insertion - 0.3
    assert late_deletion > deletion + 0.3


def test_shares_against_plain_loops(small, images):
    """own is the projection's own; selectivity and learned are numpy's correlations of |x| in the window."""
    units = strongest(small, images)
    recording = small.record(images)
    beside = [Unit(LAYER, (unit.channel + 1) % 8, unit.row, unit.col, image=unit.image, activation=1.0) for unit in units]
    table = small.table("guided")
    found = contenders.Projections.of(recording, LAYER, units, table)
    others = contenders.Projections.of(recording, LAYER, beside, table)
    expected = small.project(recording, LAYER, units=units, rule="guided", own=True).own
    np.testing.assert_allclose(contenders.measure_own_share(found), expected, atol=1e-6)
    first = small.project(recording, LAYER, units=units, rule="guided").pixels.abs().amax(1).numpy()
    second = small.project(recording, LAYER, units=beside, rule="guided").pixels.abs().amax(1).numpy()
    draws = [nulls.project_at_random(recording, LAYER, units, table, seed=seed) for seed in range(7, 12)]
    selective, learned = contenders.measure_selective_share(found, others), contenders.measure_learned_share(found, seed=7)
    for number, window in enumerate(found.windows):
        inside = window.clip(32, 32)
        cut = np.s_[inside.top : inside.bottom, inside.left : inside.right]
        trained = first[number][cut].ravel()
        other = plain_correlation(trained, second[number][cut].ravel())
        random = [plain_correlation(trained, np.abs(draw[number]).max(0)[cut].ravel()) for draw in draws]
        assert 1 - selective[number] == pytest.approx(other, abs=1e-5, nan_ok=True)
        assert 1 - learned[number] == pytest.approx(np.mean(random), abs=1e-5, nan_ok=True)
    assert np.isfinite(selective).any()
    assert np.isfinite(learned).any()


def test_contenders_are_the_choices_and_all_bits(tiny):
    """The net's own way is first; what it is not made with comes next; then each other setting of the three bits."""
    names = [each.name for each in contenders.contenders(deconvnet.DeconvNet(tiny))]
    bits = ["guided", "gradient", "FTF", "FFT", "TFT", "TFF", "FFF"]
    assert names == ["deconvnet", "silent=first", "overlap=last", "lrn=derivative", *bits]
    other = deconvnet.DeconvNet(tiny, silent="first", overlap="last", lrn="derivative")
    assert [each.name for each in contenders.contenders(other)][:4] == [
        "deconvnet",
        "silent=drop",
        "overlap=sum",
        "lrn=identity",
    ]
    recording = other.record(draw("cat", seed=5).picture)
    [unit] = other.project(recording, "features.5", top=1, rule="deconvnet").units
    for contender, options in zip(
        contenders.contenders(other), ({}, {"silent": "drop"}, {"overlap": "sum"}, {"lrn": "identity"}), strict=False
    ):
        made = deconvnet.DeconvNet(tiny, **{**other.options, **options})
        expected = made.project(made.record(draw("cat", seed=5).picture), "features.5", units=[unit], rule="deconvnet").crops()[
            0
        ]
        found = contenders.Projections.of(recording, "features.5", [unit], contender.table).parts[0]
        np.testing.assert_allclose(found, expected[:, : found.shape[1], : found.shape[2]], atol=1e-6)


def test_what_makes_the_same_pictures_is_said_and_not_compared(result):
    """In a net without norms and overlaps these choices change nothing: they are named, and no comparison is spent on them."""
    assert {name: result.same[name] for name in ("overlap=last", "lrn=derivative")} == {
        "overlap=last": "deconvnet",
        "lrn=derivative": "deconvnet",
    }
    assert not any("lrn" in comparison.name for comparison in result.comparisons)
    assert result.cell("occlusion", "lrn=derivative") == "as deconvnet"


def test_rounding_makes_no_other_picture(small, images):
    """Pictures that differ by less than 0.00001 of the largest value are the same, by more are not; one in many is enough."""
    units = strongest(small, images)
    first = contenders.Projections.of(small.record(images), LAYER, units, small.table("deconvnet"))
    for apart, expected in ((0.0, True), (0.5, True), (2.0, False)):
        parts = [part.clone() for part in first.parts]
        parts[1][0, 0, 0] += apart * contenders.ROUNDING * parts[1].abs().max()
        assert first.equals(dataclasses.replace(first, parts=parts)) is expected
    empty = dataclasses.replace(first, parts=[torch.zeros_like(part) for part in first.parts])
    assert empty.equals(empty)
    assert not empty.equals(first)


def test_run_measures_each_unit(small, images, result):
    """The values of a run are those of its measures, one by one, its means those over pictures."""
    recording = small.record(images)
    units = strongest(small, images)
    assert result.units == tuple(map(str, units))
    at = {name: number for number, name in enumerate(result.contenders)}
    measures = {name: number for number, name in enumerate(result.measures)}
    for rule in ("deconvnet", "gradient"):
        projection = small.project(recording, LAYER, units=units, rule=rule, own=True)
        for number, unit in enumerate(units):
            values = np.square(projection.pixels[number].double().numpy()).sum(0)
            covered = perturb.cover_squares(small, images[number], unit, projection.windows[number])
            row = result.values[number, at[rule]]
            assert row[measures["occlusion"]] == pytest.approx(perturb.measure_occlusion(values, covered), abs=1e-3)
            areas = perturb.measure_perturbation(small, images[number], unit, projection.windows[number], values)
            assert tuple(row[[measures["insertion"], measures["deletion"]]]) == pytest.approx(areas, abs=1e-3)
            assert row[measures["own"]] == pytest.approx(projection.own[number], abs=1e-6)
    assert np.isnan(result.values[..., measures["on the part"]]).all()  # photographs have no known parts
    assert result.means["occlusion"]["gradient"].mean == pytest.approx(
        np.mean(result.values[:, at["gradient"], measures["occlusion"]])
    )
    assert [comparison.name for comparison in result.comparisons if comparison.primary] == [benchmark.PRIMARY]
    assert set(result.means) == {"occlusion", "insertion", "deletion", "own", "selectivity", "learned"}


def test_the_other_channel_is_the_strongest_beside_a_unit(small, images):
    """It is at the unit's own position, and another channel."""
    maps = small.record(images).stored_maps(LAYER)
    units = strongest(small, images)
    for unit, other in zip(units, benchmark._next_channels(maps, units), strict=True):
        column = maps[unit.image, :, unit.row, unit.col].clone()
        column[unit.channel] = -1
        assert (other.channel, other.row, other.col, other.image) == (int(column.argmax()), unit.row, unit.col, unit.image)


def test_stars_need_pictures_and_a_small_p(result):
    """A star stands where the corrected p is below 0.05 and there are twenty pictures, and nowhere else."""
    rng = np.random.default_rng(0)
    for count, apart, expected in ((FEWEST_STARRED, 1.0, True), (FEWEST_STARRED - 1, 1.0, False), (FEWEST_STARRED, 0.0, False)):
        noise = rng.standard_normal(count) * 0.1
        found = compare({"occlusion: guided - deconvnet": (noise + apart, np.zeros(count) + noise.mean() * (apart == 0))})
        made = benchmark.Benchmark(
            **{**vars(result), "comparisons": found, "means": {"occlusion": {"guided": estimate_mean(noise)}}}
        )
        assert made.differs("occlusion", "guided") is expected
        assert made.cell("occlusion", "guided").endswith("*") is expected


@pytest.fixture(scope="module")
def trainings(images, result) -> list[benchmark.Benchmark]:
    """The small net twice, with other weights the second time."""
    torch.manual_seed(2)
    other = deconvnet.DeconvNet(Small().eval())
    return [result, benchmark.run(other, images, layer=LAYER, planted=False)]


def test_trainings_taken_together(trainings):
    """A picture's values by both nets are averaged first, so that there are as many pictures as before; all are corrected anew."""
    merged = benchmark.merge(trainings)
    assert merged.units == trainings[0].units + trainings[1].units
    assert merged.settings["trainings"] == [each.settings["weights"] for each in trainings]
    assert len(set(merged.settings["trainings"])) == 2
    for measure in ("occlusion", "own"):
        for name in ("deconvnet", "gradient", "FFT"):
            columns = [
                each.values[:, each.contenders.index(each.same.get(name, name)), each.measures.index(measure)]
                for each in trainings
            ]
            expected = [np.mean([value[picture] for value in columns]) for picture in range(3)]
            found = merged.means[measure][name]
            assert found.pictures == 3
            assert found.mean == pytest.approx(np.mean(expected), nan_ok=True)
    difference = merged.compared("occlusion", "gradient")
    expected = np.mean([each.compared("occlusion", "gradient").difference.mean for each in trainings])
    assert difference.difference.mean == pytest.approx(expected)
    assert [each.name for each in merged.comparisons if each.primary] == [benchmark.PRIMARY]
    assert merged.same == {name: twin for name, twin in trainings[0].same.items() if trainings[1].same.get(name) == twin}
    assert {"overlap=last", "lrn=derivative"} <= set(merged.same)
    assert merged.plot().get_suptitle().startswith("layer features.4, 6 units of 3 pictures")


def test_what_is_the_same_in_one_training_only_keeps_its_values(trainings):
    """A choice that changes nothing in one of the nets has the deconvnet's values there, and is compared."""
    first, second = trainings
    at = first.contenders.index("silent=first")
    without = np.delete(first.values, at, axis=1)
    names = tuple(name for name in first.contenders if name != "silent=first")
    same = dataclasses.replace(first, values=without, contenders=names, same={**first.same, "silent=first": "deconvnet"})
    merged = benchmark.merge([same, second])
    occlusion = first.measures.index("occlusion")
    expected = np.concatenate([first.values[:, 0, occlusion], second.values[:, at, occlusion]])
    np.testing.assert_array_equal(merged.values[:, merged.contenders.index("silent=first"), occlusion], expected)
    assert "silent=first" not in merged.same
    assert merged.compared("occlusion", "silent=first")


def test_other_pictures_are_not_taken_together(small, images, trainings):
    """Results of other pictures, or none, are refused."""
    fewer = benchmark.run(small, images[:2], layer=LAYER, planted=False)
    for results in ([], [*trainings, fewer]):
        with pytest.raises(OptionError) as caught:
            benchmark.merge(results)
        assert str(caught.value) == (
            f"{len(results)} results to be taken together are not of the same pictures. Measure all on the same."
        )


def test_other_tools_compute_the_same_where_they_compute_it(tiny):
    """Captum's and Zennit's pictures of tiny's units are ours with the choices that autograd makes."""
    pytest.importorskip("captum", reason="captum is not installed")
    pytest.importorskip("zennit", reason="zennit is not installed")
    net = deconvnet.DeconvNet(tiny, silent="first", overlap="sum", lrn="derivative")
    recording = net.record([draw("cat", seed=5).picture, draw("bicycle", seed=2).picture])
    projections = {rule: net.project(recording, "features.9", top=2, rule=rule, start="one") for rule in peers.CAPTUM}
    with pytest.warns(UserWarning, match="hooks"):
        found = peers.project_by_peers(net, recording.images, projections["guided"].units)
    signals = {name: pixels for name, pixels in found.items() if not name.startswith("crp")}
    assert list(signals) == ["captum deconvnet", "captum guided", "captum gradient", "zennit deconvnet", "zennit guided"]
    for name, pixels in signals.items():
        ours = projections[name.split()[1]].pixels.numpy()
        assert np.abs(pixels - ours).max() < 1e-4 * np.abs(ours).max(), name
    assert all(not module.inplace for module in peers._without_inplace(net.model).modules() if isinstance(module, nn.ReLU))


def test_crp_computes_the_gradient_without_rules(tiny):
    """Conditioned on a unit, and started at its activation, its relevance is our gradient's, summed over colours."""
    pytest.importorskip("crp", reason="zennit-crp is not installed")
    net = deconvnet.DeconvNet(tiny, silent="first", overlap="sum", lrn="derivative")
    recording = net.record([draw("cat", seed=5).picture, draw("bicycle", seed=2).picture])
    projection = net.project(recording, "features.9", top=2, rule="gradient", start="activation")
    call = peers.relevance_call(peers._without_inplace(net.model), "features.9", None)
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        found = call(recording.images[unit.image : unit.image + 1].clone(), unit)
        assert (found[0] - pixels.sum(0)).abs().max() < 1e-5 * pixels.sum(0).abs().max()


def test_crp_by_the_epsilon_rule_is_the_gradient_times_the_image(small, images):
    """In a net of convolutions, ReLUs and max pools; by the rules of its tutorials it is something else."""
    pytest.importorskip("crp", reason="zennit-crp is not installed")
    from zennit.composites import LayerMapComposite
    from zennit.rules import Epsilon, Pass
    from zennit.types import Activation, Convolution

    net = deconvnet.DeconvNet(small.model, silent="first")
    recording = net.record(images)
    projection = net.project(recording, LAYER, units=strongest(net, images), rule="gradient", start="one")
    model = peers._without_inplace(net.model)
    epsilon = LayerMapComposite([(Activation, Pass()), (Convolution, Epsilon(epsilon=1e-9))])
    by_epsilon = peers.relevance_call(model, LAYER, epsilon)
    by_tutorial = peers.peer_calls(model, LAYER)["crp lrp"]
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        image = images[unit.image : unit.image + 1]
        expected = (pixels * image[0]).sum(0)
        assert (by_epsilon(image.clone(), unit)[0] - expected).abs().max() < 1e-4 * expected.abs().max()
        other = by_tutorial(image.clone(), unit)[0]
        assert torch.corrcoef(torch.stack([other.flatten(), expected.flatten()]))[0, 1] < 0.9
        assert float(other.sum()) == pytest.approx(unit.activation, rel=0.5)  # relevance is conserved, but for biases


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return F.relu(self.conv(images))


def test_refusals(small, images, monkeypatch):
    """What cannot be measured is refused in one line."""
    net = deconvnet.DeconvNet(Functional().eval())
    with pytest.raises(OptionError) as caught:
        benchmark.run(net, images, layer="relu", planted=False, peers=True)
    assert str(caught.value) == (
        "other tools know modules only, and layer 'relu' is none. Take another layer, or leave out peers."
    )
    monkeypatch.setattr(peers, "TOOLS", ("no_such_tool",))
    with pytest.raises(MissingPackageError) as caught:
        benchmark.run(small, images, layer=LAYER, planted=False, peers=True)
    assert str(caught.value) == (
        "a comparison with other tools needs no_such_tool, which cannot be imported (No module named 'no_such_tool'). In a"
        ' checkout: pip install -e ".[bench]"'
    )


def test_drawings_with_a_planted_cause():
    """The same seed gives the same bytes; one part, all of it in the picture; both classes; the part is a tenth at most."""
    drawings = [draw_planted(seed=seed) for seed in range(40)]
    assert draw_planted(seed=3).picture.tobytes() == drawings[3].picture.tobytes()
    assert {drawing.name for drawing in drawings} == set(PLANTED)
    for drawing in drawings:
        assert list(drawing.parts) == ["cause"]
        assert drawing.name == PLANTED[drawing.label]
        assert drawing.picture.size == (64, 64)
        assert 0.01 < drawing.parts["cause"].mean() < 0.1
        border = drawing.parts["cause"].copy()
        border[1:-1, 1:-1] = False
        assert not border.any()


@pytest.mark.slow
def test_the_small_net_rests_on_the_planted_cause(monkeypatch):
    """It is right on fresh drawings, the same again by the same seed, and the deconvnet finds the cause better than no net."""
    monkeypatch.setattr(benchmark, "DRAWINGS", 12)
    quick = planted.train_planted
    monkeypatch.setattr(benchmark, "train_planted", lambda seed, count: quick(seed=seed, count=count, drawings=160, epochs=5))
    first = quick(seed=2, count=4, drawings=64, epochs=1).net.model.state_dict()
    again = quick(seed=2, count=4, drawings=64, epochs=1).net.model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    found = benchmark._measure_planted(deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())), 0)
    assert found.accuracy > 0.8
    mean = dict(zip(found.methods, np.nanmean(found.shares, 0), strict=True))
    assert mean["deconvnet"] > mean["no net"] > mean["window"]
    assert mean["window"] < 0.15


def test_the_command(tmp_path, monkeypatch):
    """It prints its tables with intervals, and writes JSON, arrays and a figure."""
    monkeypatch.chdir(tmp_path)
    asked = ["benchmark", "sample:drawing/cat", "--layer", "features.1", "--no-planted", "-o", "a.png", "--json", "a.json"]
    done = CliRunner().invoke(cli.deconvnet, [*asked, "--npz", "a.npz", "--silent", "first"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "deletion (less is better)" in done.stdout
    assert "occlusion: no net - deconvnet" in done.stdout
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert numbers["settings"]["study"] == "benchmark"
    assert numbers["means"]["on the part"].keys() >= {"deconvnet", "no net", "window"}
    assert "crops" not in numbers
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["values"].shape == (1, len(numbers["contenders"]), len(numbers["measures"]))
    with Image.open(tmp_path / "a.png") as figure:
        assert figure.width > 1000
        assert json.loads(figure.info["deconvnet"])["silent"] == "first"
