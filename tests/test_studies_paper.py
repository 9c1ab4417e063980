"""Promises about the paper's experiments: occlude, invariance, correspond and evolve equal a slow, plain re-computation."""

from __future__ import annotations

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import deconvnet
from deconvnet import cli
from deconvnet.choices import DISTANCES
from deconvnet.drawings import draw
from deconvnet.models.tiny import checkpoints
from deconvnet.studies import correspond, evolve, invariance, occlude
from deconvnet.studies.fill import fill_colour
from deconvnet.studies.forward import Forward
from deconvnet.studies.transform import Transform
from deconvnet.units import Window

LAYER = "features.13"


@pytest.fixture(scope="module")
def net(tiny) -> deconvnet.DeconvNet:
    return deconvnet.DeconvNet(tiny)


@pytest.fixture
def small() -> deconvnet.DeconvNet:
    """A net for images of 18 x 25 whose layers are quickly run, without a preprocessing."""
    torch.manual_seed(3)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(350, 4),
    )
    return deconvnet.DeconvNet(model.eval())


def plain(model: nn.Module, image: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Run one image (C, H, W) by itself: a layer's activations and the probabilities."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: kept.append(output.clone()))
    with torch.no_grad():
        output = model(image[None])
    handle.remove()
    return kept[0][0], output[0].double().softmax(0)


# occlude


def test_occlude_is_the_slow_loop(small):
    """Every position's total, probability and class are those of that one picture, occluded and run by itself."""
    image = torch.randn(1, 3, 18, 25)
    result = occlude.run(small, image, layer="4", square=5, stride=4, label=2, batch=7)
    assert result.tops.tolist() == [0, 4, 8, 12, 13]
    assert result.lefts.tolist() == [0, 4, 8, 12, 16, 20]
    maps, shares = plain(small.model, image[0], "4")
    channel = int(maps.sum((1, 2)).argmax())
    assert result.settings["channel"] == channel
    assert result.total == pytest.approx(float(maps[channel].sum()), rel=1e-5)
    assert result.share == pytest.approx(float(shares[2]), rel=1e-5)
    for (row, top), (col, left) in itertools.product(enumerate(result.tops), enumerate(result.lefts)):
        hidden = image[0].clone()
        hidden[:, top : top + 5, left : left + 5] = 0
        maps, shares = plain(small.model, hidden, "4")
        assert result.totals[row, col] == pytest.approx(float(maps[channel].sum()), rel=1e-4, abs=1e-5)
        assert result.shares[row, col] == pytest.approx(float(shares[2]), rel=1e-4)
        assert result.answers[row, col] == int(shares.argmax())
    signal = torch.zeros(1, 5, *maps.shape[1:])
    recording = small.record(image)
    signal[:, channel] = recording.activations("4")[:, channel]
    expected = small.project_signal(recording, "4", signal)[0].numpy()
    np.testing.assert_allclose(result.projection, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("length", "square", "stride"), [(224, 27, 7), (96, 12, 3), (10, 10, 3), (11, 3, 4), (9, 1, 1), (7, 2, 9)]
)
def test_squares_cover_the_picture_once(length, square, stride):
    """Positions are all different, lie inside, cover the last pixel and, with a stride up to the square's side, all pixels."""
    starts = occlude.square_starts(length, square, stride)
    assert len(set(starts.tolist())) == len(starts)
    assert starts.min() == 0
    assert starts.max() + square == length
    covered = {pixel for start in starts.tolist() for pixel in range(start, start + square)}
    assert stride > square or covered == set(range(length))


def test_occlude_computes_each_position_once(net, monkeypatch):
    """As many pictures go through the net as there are positions: none twice."""
    seen = []
    call = Forward.__call__
    monkeypatch.setattr(
        Forward, "__call__", lambda self, images, keep: (seen.append(images.clone()), call(self, images, keep))[1]
    )
    result = occlude.run(net, draw("fish", seed=5).picture, stride=16)
    images = torch.cat(seen)
    assert len(images) == result.totals.size == 7 * 7
    assert len(torch.unique(images.flatten(1), dim=0)) == len(images)


def test_occlude_has_the_papers_grey_in_proportion(net):
    """At 96 pixels the square is 12 and the stride 3; the mean becomes 0, and other fills are what they say."""
    image = net.preprocess(draw("fish", seed=5).picture)
    assert occlude._default_sizes(None, None, 224, 300) == (27, 7)
    assert occlude._default_sizes(None, None, 96, 96) == (12, 3)
    assert fill_colour(net, image, "mean").flatten().tolist() == [0, 0, 0]
    assert fill_colour(net, image, "white").flatten().tolist() == [2, 2, 2]
    assert fill_colour(net, image, "black").flatten().tolist() == [-2, -2, -2]
    assert fill_colour(net, image, (0.5, 0.75, 0.25)).flatten().tolist() == [0, 1, -1]
    torch.testing.assert_close(fill_colour(net, image, "picture").flatten(), image.mean((1, 2)))


def test_occlude_shows_other_pictures_only(small):
    """The picture itself, in the folder it was taken from, is not one of its others; those are the strongest that are left."""
    torch.manual_seed(3)
    images = torch.randn(5, 3, 18, 25)
    own = int(small.record(images, layers=["4"]).activations("4")[:, 2].amax((1, 2)).argmax())
    result = occlude.run(small, images[own : own + 1], layer="4", channel=2, square=6, stride=6, others=images)
    found = [(round(one.activation, 4), one.source) for one in result.others]
    maxima = small.record(images, layers=["4"]).activations("4")[:, 2].amax((1, 2))
    best = [number for number in maxima.argsort(descending=True).tolist() if number != own and maxima[number] > 0][:3]
    assert found == [(round(float(maxima[number]), 4), f"image {number}") for number in best]
    assert best


def test_occlude_without_classes(small):
    """A net that is no classifier still has the map's totals; probabilities are left out, in the figure too."""
    bare = deconvnet.DeconvNet(small.model[:5])
    result = occlude.run(bare, torch.randn(1, 3, 18, 25), square=6, stride=6)
    assert result.shares is None
    assert result.answers is None
    assert result.to_json()["shares"] is None
    assert len(result.plot().axes) == 2 * 3  # panels, and below each what its colours mean


class Viewing(nn.Module):
    """Views its maps as rows, which fails where channels come last in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 7 * 9, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.conv(images))
        return self.linear(maps.view(len(maps), -1))


def test_a_net_that_views_its_maps_is_run_again_and_counted_once():
    """Where a batch fails in one order of memory it is run in the other, and nothing of the first try is kept."""
    torch.manual_seed(1)
    net = deconvnet.DeconvNet(Viewing().eval())
    image = torch.randn(1, 3, 16, 20)
    result = occlude.run(net, image, layer="relu", square=5, stride=4)
    hidden = image[0].clone()
    hidden[:, 4:9, 8:13] = 0
    with torch.no_grad():
        maps, output = torch.relu(net.model.conv(hidden[None]))[0], net.model(hidden[None])[0]
    assert result.totals.shape == (4, 5)
    assert result.totals[1, 2] == pytest.approx(float(maps[result.settings["channel"]].sum()), rel=1e-4)
    assert result.shares[1, 2] == pytest.approx(float(output.softmax(0)[result.settings["label"]]), rel=1e-4)


# invariance


@pytest.mark.parametrize("axis", ["vertical", "horizontal"])
def test_translation_by_whole_pixels_is_exact(small, axis):
    """A picture moved by whole pixels is that picture's rows or columns elsewhere, and the fill beside them."""
    image = torch.randn(3, 18, 25)
    moved = Transform(axis)(small, image, "translation", [4, 0, -7])
    expected = torch.zeros(3, *image.shape)
    if axis == "vertical":
        expected[0, :, 4:], expected[1], expected[2, :, :-7] = image[:, :-4], image, image[:, 7:]
    else:
        expected[0, :, :, 4:], expected[1], expected[2, :, :, :-7] = image[:, :, :-4], image, image[:, :, 7:]
    torch.testing.assert_close(moved, expected, rtol=1e-6, atol=1e-6)


def test_rotation_by_a_quarter_is_exact(small):
    """A quarter turn counter-clockwise is `rot90`; so are two and three."""
    image = torch.randn(3, 19, 19)
    turned = Transform()(small, image, "rotation", [0, 90, 180, 270])
    for quarters, one in enumerate(turned):
        torch.testing.assert_close(one, torch.rot90(image, quarters, (1, 2)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "value"), [("scale", 1.6), ("scale", 0.7), ("rotation", 33), ("translation", 2.25)])
def test_transforms_are_the_slow_loop(small, kind, value):
    """Each pixel is the bilinear mean of the four around the place that it comes from, with the fill beyond the border."""
    image = torch.rand(3, 9, 14, dtype=torch.float64)
    moved = Transform()(small, image, kind, [value])[0]
    middle = (4.0, 6.5)
    for row, col in itertools.product(range(9), range(14)):
        down, right = row - middle[0], col - middle[1]
        if kind == "translation":
            down -= value
        elif kind == "scale":
            down, right = down / value, right / value
        else:
            cosine, sine = math.cos(math.radians(value)), math.sin(math.radians(value))
            down, right = cosine * down + sine * right, cosine * right - sine * down
        y, x = down + middle[0], right + middle[1]
        total = torch.zeros(3, dtype=torch.float64)
        for j, i in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
            if 0 <= j < 9 and 0 <= i < 14:
                total += (1 - abs(y - j)) * (1 - abs(x - i)) * image[:, j, i]
        torch.testing.assert_close(moved[:, row, col], total, rtol=1e-9, atol=1e-9)


def test_invariance_is_the_slow_loop(net):
    """Distances and probabilities are those of each transformed picture, run by itself."""
    drawings = [draw("clock", seed=5), draw("car", seed=5)]
    values = {"translation": [-9, 0, 26], "scale": [1.0, 1.45], "rotation": [90]}
    layers = ["features.1", "classifier.3"]
    pictures = [drawing.picture for drawing in drawings]
    results = {
        how: invariance.run(net, pictures, layers=layers, labels=["clock", "car"], values=values, distance=how)
        for how in DISTANCES
    }
    assert results["plain"].classes == ("clock", "car")
    for number, drawing in enumerate(drawings):
        image = net.preprocess(drawing.picture)
        for kind, at in itertools.product(values, range(3)):
            if at >= len(values[kind]):
                continue
            moved = Transform()(net, image, kind, values[kind])[at]
            for layer in layers:
                still, _ = plain(net.model, image, layer)
                features, shares = plain(net.model, moved, layer)
                length = float((features - still).double().pow(2).sum().sqrt())
                expected = {"plain": length, "rms": length / still.numel() ** 0.5, "relative": length / float(still.norm())}
                for how, result in results.items():
                    found = getattr(result, kind).distances[layer][number, at]
                    assert found == pytest.approx(expected[how], rel=1e-4, abs=1e-5)
            assert getattr(results["rms"], kind).shares[number, at] == pytest.approx(float(shares[drawing.label]), rel=1e-4)


def test_invariance_has_the_papers_ranges():
    """-60..60 pixels of 224, 1..1.8, 0..350 degrees; translations in proportion, whole pixels, each once, 0 among them."""
    paper, ours = invariance.swept_values((224, 224)), invariance.swept_values((96, 96))
    assert (paper["translation"][0], paper["translation"][-1]) == (-60, 60)
    assert (paper["scale"][0], round(paper["scale"][-1], 9)) == (1, 1.8)
    assert paper["rotation"].tolist() == list(range(0, 360, 10))
    assert (ours["translation"][0], ours["translation"][-1]) == (-26, 26)
    assert 0 in ours["translation"]
    assert (ours["translation"] == ours["translation"].round()).all()


def test_edge_fill_goes_on_with_the_border(small):
    """With fill="edge" what comes in is the border's own pixels."""
    image = torch.randn(3, 8, 9)
    moved = Transform(fill="edge")(small, image, "translation", [3])[0]
    torch.testing.assert_close(moved[:, :3], image[:, :1].expand(3, 3, 9), rtol=1e-6, atol=1e-6)


# correspond


def test_correspond_is_the_slow_loop(net):
    """Distances are the share of features whose sign of change differs, pair by pair; the table holds mean and deviation."""
    drawings = [draw("face", seed=seed) for seed in range(3)]
    parts = [correspond.boxes_of(drawing, ["nose", "left eye"]) for drawing in drawings]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=[LAYER, "classifier.3"], trials=2)
    assert [row.name for row in result.rows] == ["nose", "left eye", "random"]
    for row in result.rows[:2]:
        for layer in result.layers:
            signs = []
            for drawing in drawings:
                image = net.preprocess(drawing.picture)
                ys, xs = np.nonzero(drawing.parts[row.name])
                hidden = image.clone()
                hidden[:, ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = 0
                whole, masked = plain(net.model, image, layer)[0], plain(net.model, hidden, layer)[0]
                change = whole - masked
                signs.append(torch.where(change.abs() <= 1e-5 * whole.abs().max(), 0.0, change.sign()).flatten())
            expected = [float((signs[i] != signs[j]).double().mean()) for i, j in ((0, 1), (0, 2), (1, 2))]
            np.testing.assert_allclose(row.distances[layer][0], expected, atol=2e-3)  # a sign may hang on the last bit
            assert row.mean[layer] == pytest.approx(np.mean(expected), abs=2e-3)
            assert row.spread[layer] == pytest.approx(np.std(expected), abs=2e-3)
            assert f"{row.mean[layer]:.3f} ± {row.spread[layer]:.3f}" in result.table()
    assert result.rows[2].distances[LAYER].shape == (2, 3)


def test_faces_correspond_more_than_random_places(net):
    """In tiny's layer 5 the same part of five faces moves features more alike than random places do, as in the paper."""
    drawings = [draw("face", seed=seed) for seed in range(5)]
    parts = [correspond.boxes_of(drawing, ["left eye", "right eye"]) for drawing in drawings]
    result = correspond.run(net, [drawing.picture for drawing in drawings], parts, layers=["classifier.3"])
    left, right, control = (row.mean["classifier.3"] for row in result.rows)
    assert max(left, right) < control


def test_unchanged_features_have_no_sign(net):
    """A mask that changes nothing leaves all signs 0: distances are 0, and nothing is said to have changed."""
    images = torch.zeros(2, 3, 96, 96)  # the fill itself
    result = correspond.run(net, images, [{"spot": [3, 4, 20, 30]}] * 2, layers=[LAYER], trials=1)
    assert result.rows[0].mean[LAYER] == result.rows[0].changed[LAYER] == result.rows[1].mean[LAYER] == 0


def test_boxes_go_the_pictures_way(tiny, tmp_path):
    """A box in a JSON file is in the picture's pixels; what is masked are the pixels that it becomes by resizing and cropping."""
    Image.new("RGB", (384, 192)).save(tmp_path / "wide.png")
    Image.new("RGB", (96, 288)).save(tmp_path / "tall.png")
    boxes = {"wide.png": {"spot": [50, 150, 40, 100]}, "tall.png": {"spot": [150, 0, 25, 50]}}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    pictures, parts = correspond.read_boxes(tmp_path / "boxes.json")
    assert [path.name for path in pictures] == ["wide.png", "tall.png"]
    result = correspond.run(deconvnet.DeconvNet(tiny), pictures, parts, layers=[LAYER], trials=1)
    assert result.boxes["spot"].tolist() == [[25, 27, 20, 50], [54, 0, 25, 50]]  # halved and 48 off; as it is and 96 off


# evolve


def test_evolve_is_the_slow_loop(net):
    """At each checkpoint the unit is the strongest over all pictures, and its projection that of a net with these weights."""
    pictures = [draw(seed=seed).picture for seed in range(30, 42)]
    files = {name: path for name, path in checkpoints().items() if name in ("1", "20", "64")}
    before = copy.deepcopy(net.model.state_dict())
    result = evolve.run(net, pictures, checkpoints=files, layers=["features.5", LAYER], channels=[3, 9])
    assert result.names == ("1", "20", "64")
    images = torch.stack([net.preprocess(picture) for picture in pictures])
    for epoch, path in enumerate(files.values()):
        one = deconvnet.DeconvNet(deconvnet.load_model("tiny", weights=str(path)))
        for block in result.blocks:
            maps = torch.stack([plain(one.model, image, block.layer)[0] for image in images])
            for k, channel in enumerate(block.channels.tolist()):
                place = int(maps[:, channel].flatten().argmax())
                image, row, col = np.unravel_index(place, maps[:, channel].shape)
                assert block.activations[epoch, k] == pytest.approx(float(maps[image, channel, row, col]), rel=1e-4)
                assert (block.images[epoch, k], block.rows[epoch, k], block.cols[epoch, k]) == (image, row, col)
                recording = one.record(images[image : image + 1])
                expected = one.project(recording, block.layer, units=[(channel, int(row), int(col))]).pixels[0]
                window = Window(*block.windows[epoch, k].tolist())
                inside = window.clip(96, 96)
                cut = expected[:, inside.top : inside.bottom, inside.left : inside.right].numpy()
                crop = block.crops[epoch, k]
                top, left = inside.top - window.top, inside.left - window.left
                np.testing.assert_allclose(
                    crop[:, top : top + inside.height, left : left + inside.width], cut, rtol=1e-3, atol=1e-5
                )
                assert np.abs(crop).sum() == pytest.approx(np.abs(cut).sum(), rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())


def test_tiny_brings_the_papers_epochs(tiny):
    """Checkpoints of epochs 1, 2, 5, 10, 20, 30, 40 and 64 are packed; each fits, all differ, the last is tiny itself."""
    files = checkpoints()
    assert list(files) == ["1", "2", "5", "10", "20", "30", "40", "64"]
    firsts = [deconvnet.load_model("tiny", weights=str(path)).model.features[0].weight for path in files.values()]
    assert all(not torch.equal(*pair) for pair in itertools.combinations(firsts, 2))
    assert torch.equal(firsts[-1], tiny.model.features[0].weight)


def test_checkpoints_of_a_folder_go_by_number(tmp_path):
    """A folder's files are ordered by the numbers in their names, and named by the last of them where all are named alike."""
    for name in ("run2-epoch-10.pt", "run2-epoch-9.pt", "run2-epoch-100.safetensors", "notes.txt", ".run2-epoch-1.pt"):
        (tmp_path / name).touch()
    assert list(evolve.list_checkpoints(tmp_path)) == ["9", "10", "100"]
    assert list(evolve.list_checkpoints([tmp_path / "best.pt", tmp_path / "run2-epoch-9.pt"])) == ["best", "run2-epoch-9"]


def test_random_channels_are_alive(net):
    """Channels that no picture excites at the last checkpoint are not among the random ones; the seed picks them."""
    pictures = [draw(seed=seed).picture for seed in range(4)]
    files = dict(list(checkpoints().items())[-2:])
    runs = [evolve.run(net, pictures, checkpoints=files, layers=[LAYER], count=99, seed=seed) for seed in (0, 1)]
    assert runs[0].blocks[0].channels.tolist() == runs[1].blocks[0].channels.tolist()  # all that are alive
    assert (runs[0].blocks[0].activations[-1] > 0).all()
    few = [
        evolve.run(net, pictures, checkpoints=files, layers=[LAYER], count=3, seed=seed).blocks[0].channels
        for seed in (0, 0, 5)
    ]
    assert few[0].tolist() == few[1].tolist() != few[2].tolist()


# all


def test_commands_from_nothing(tmp_path, monkeypatch):
    """Each command draws its figure and writes its numbers without a picture; the table goes to stdout."""
    monkeypatch.chdir(tmp_path)
    quick = {
        "occlude": ["--stride", "28"],
        "invariance": ["--layer", "features.1"],
        "correspond": ["--count", "2", "--trials", "1"],
        "evolve": ["--layer", LAYER, "--count", "1"],
    }
    monkeypatch.setattr("deconvnet.cli.evolve.draw_several", lambda count, first=0: [draw(seed=first).picture])
    monkeypatch.setattr("deconvnet.cli.occlude.draw_several", lambda count, first=0: [draw(seed=first).picture])
    for name, options in quick.items():
        asked = [name, *options, "--json", f"{name}.json", "--npz", f"{name}.npz"]
        done = CliRunner().invoke(cli.deconvnet, asked, catch_exceptions=False)
        assert done.exit_code == 0
        assert done.stdout.splitlines()[-3:] == [f"{name}-tiny.png", f"{name}.npz", f"{name}.json"]
        assert (name == "correspond") == ("sign change" in done.stdout)
        numbers = json.loads((tmp_path / f"{name}.json").read_text())
        assert numbers["settings"]["study"] == name
        assert numbers["settings"]["model"] == "tiny"
        with Image.open(tmp_path / f"{name}-tiny.png") as figure:
            assert figure.width > 700
            assert json.loads(figure.info["deconvnet"])["study"] == name
        with np.load(tmp_path / f"{name}.npz") as arrays:
            assert len(arrays.files) > 5


def test_the_same_study_gives_the_same_bytes(net, tmp_path):
    """Two runs have equal numbers and figures, byte by byte."""
    pictures, parts = [draw("cat", seed=seed).picture for seed in (1, 2)], [{"spot": [30, 40, 20, 20]}] * 2
    files = []
    for name in ("a.png", "b.png"):
        result = correspond.run(net, pictures, parts, layers=[LAYER], trials=2)
        [path] = result.save(tmp_path / name)
        files.append((path.read_bytes(), {key: value.tobytes() for key, value in result.to_arrays().items()}))
    assert files[0] == files[1]


def test_on_photographs(shared, tmp_path):
    """On the real SqueezeNet: hiding the hen's head costs its class; features move most in the lowest layer; boxes work."""
    weights = str(shared / "weights" / "squeezenet1_0.safetensors")
    net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=weights))
    photographs = sorted((shared / "images" / "imagenet-sample").iterdir())
    hen = next(path for path in photographs if "hen" in path.name)
    result = occlude.run(net, hen, square=60, stride=54)
    assert result.shares.shape == (5, 5)  # 0, 54, 108, 162 and 164
    assert result.shares.min() < result.share
    values = {"translation": [-20, 0, 20], "scale": [1.2], "rotation": [90]}
    moved = invariance.run(net, [hen], values=values)
    assert list(moved.translation.distances) == ["features.1", "features.12"]
    assert moved.translation.distances["features.12"][0, 1] < 1e-4
    assert moved.translation.shares[0, 0] < moved.translation.shares[0, 1]
    pair = correspond.run(net, photographs[:2], [{"spot": [100, 100, 60, 60]}] * 2, trials=1)
    assert 0 < pair.rows[0].mean["features.12"] < 1
