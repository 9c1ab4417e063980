"""The scan's table against brute force: merging, the table itself, what does not change it, and which layers it takes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.convnext import CNBlock
from torchvision.models.feature_extraction import create_feature_extractor

import deconvnet
from deconvnet.errors import NoRuleError, OptionError, StoreError, UnitError, UnknownLayerError
from deconvnet.scanning.topk import EMPTY, TopK, merge
from support.scans import check_top, drawings, dump, images_of, rows, slow_maxima, table

DEFAULT = ["features.1", "features.5", "features.9", "features.11", "features.13"]  # tiny's rectified layers


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("drawings"), 24)


@pytest.fixture(scope="module")
def maxima(net, paths):
    return slow_maxima(net.model, images_of(paths, net.preprocess), DEFAULT)


# Merging

SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.5, -3.0, float("inf"), float("-inf"), float("nan")]) | st.floats(width=32)


@st.composite
def parts(draw):
    """Scores (C, N) of N pictures, cut into parts of any sizes, in any order; the last number is the table's size."""
    channels, count = draw(st.integers(1, 3)), draw(st.integers(1, 14))
    scores = np.array(draw(st.lists(SCORES, min_size=channels * count, max_size=channels * count)), np.float32)
    order = np.array(draw(st.permutations(range(count))))
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=4)))
    return scores.reshape(channels, count), np.split(order, cuts), draw(st.integers(1, 6))


def sorted_entries(scores, count):
    """Return (score, picture) of the best, by Python's own sort."""
    entries = [(-score, picture) for picture, score in enumerate(scores.tolist()) if score > float("-inf")]
    return [(-score, picture) for score, picture in sorted(entries)[:count]]


def entries_of(best, channel):
    entries = zip(best.scores[channel].tolist(), best.pictures[channel].tolist(), best.positions[channel].tolist(), strict=True)
    return [(score, picture, place) for score, picture, place in entries if picture != EMPTY]


@settings(max_examples=200, deadline=None)
@given(parts())
def test_any_split_in_any_order_merges_to_the_sorted_whole(case):
    """Parts of the pictures, added one by one or merged as tables, give what sorting all of them gives.

    Score descending, equal scores by picture number; -inf and NaN are no entries; a table with room has empty places last.
    """
    scores, split, count = case
    added, merged = TopK.empty(len(scores), count), TopK.empty(len(scores), count)
    for pictures in split:
        positions = (7 * pictures + np.arange(len(scores))[:, None]).astype(np.int32)
        part = TopK.empty(len(scores), count)
        for top in (added, part):
            top.add(scores[:, pictures], pictures, positions)
        merged = merge(merged, part)
    for channel, row in enumerate(scores):
        wanted = [(score, picture, 7 * picture + channel) for score, picture in sorted_entries(row, count)]
        for best in (added, merged):
            assert entries_of(best, channel) == wanted
            assert (best.scores[channel, len(wanted) :] == -np.inf).all()
            assert (best.positions[channel, len(wanted) :] == -1).all()


def test_the_floor_is_what_an_entry_must_reach():
    """A table's floor is -inf while it has room, then its weakest score; an equal score enters by its picture number only."""
    best = TopK.empty(1, 2)
    best.add(np.array([[5.0]], np.float32), np.array([3]), np.array([[0]], np.int32))
    assert best.floor.tolist() == [-np.inf]
    best.add(np.array([[4.0]], np.float32), np.array([4]), np.array([[0]], np.int32))
    assert best.floor.tolist() == [4.0]
    best.add(np.array([[4.0, 4.0]], np.float32), np.array([9, 2]), np.array([[0, 0]], np.int32))
    assert best.pictures.tolist() == [[3, 2]]


# The table


def test_the_table_equals_brute_force_on_tiny(net, paths, maxima, tmp_path):
    """For every channel of every default layer: the nine strongest of 24 drawings, their activations and positions."""
    scan = deconvnet.scan(net, paths[0].parent, tmp_path / "a.scan", shard=10)
    assert scan.layers == DEFAULT
    assert scan.progress() == (24, 24)
    assert rows(scan.path, "select path from pictures order by picture") == [(path.name,) for path in paths]
    for layer, slow in maxima.items():
        width = scan.size(layer)[2]
        others = check_top(scan.path, layer, slow, width)
        assert len(others) <= 3, "maxima at other positions"
        for channel, rank in others:  # near ties within a map
            hit = scan.top(layer, channel)[rank]
            maps = net.record([paths[hit.picture]], layers=[layer]).activations(layer)[0, channel]
            assert float(maps[hit.row, hit.col]) == pytest.approx(float(maps.max()), rel=1e-4)


@pytest.mark.slow
def test_the_table_equals_brute_force_on_a_real_net(shared, tmp_path):
    """SqueezeNet with its real weights on 500 photographs: all 9,376 channels of all its layers of features."""
    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights/squeezenet1_0.safetensors"))
    net, folder = deconvnet.DeconvNet(loaded), shared / "images/imagenet-sample"
    scan = deconvnet.scan(net, folder, tmp_path / "a.scan", layers=["features.*"])
    modules = [name for name, _ in net.model.named_modules() if name.startswith("features.")]
    assert sorted(scan.layers) == sorted(modules)
    images = images_of(sorted(folder.glob("*.jpg")), net.preprocess)
    assert len(images) == 500
    others = set()
    for layer, slow in slow_maxima(net.model, images, scan.layers).items():
        others |= {(layer, channel, rank) for channel, rank in check_top(scan.path, layer, slow, scan.size(layer)[2])}
    assert len(others) < 84_384 / 1000, "maxima at other positions"
    for layer, channel, rank in sorted(others)[::20]:  # near ties within a map
        hit = scan.top(layer, channel)[rank]
        maps = net.record(images[hit.picture, None], layers=[layer]).activations(layer)[0, channel]
        assert float(maps[hit.row, hit.col]) == pytest.approx(float(maps.max()), rel=1e-4)


@pytest.mark.slow
def test_the_table_equals_brute_force_on_a_vision_transformer(shared, tmp_path):
    """A ViT of timm with random weights on 500 photographs: every neuron of three layers, and the patch that it looks at."""
    pytest.importorskip("timm")
    torch.manual_seed(0)
    net = deconvnet.DeconvNet(deconvnet.load_model("timm:vit_tiny_patch16_224", weights="none"))
    folder, layers = shared / "images/imagenet-sample", [f"blocks.{number}.mlp.act" for number in (0, 5, 11)]
    scan = deconvnet.scan(net, folder, tmp_path / "a.scan", layers=layers)
    assert [scan.size(layer) for layer in layers] == [(768, 14, 14)] * 3
    images = images_of(sorted(folder.glob("*.jpg")), net.preprocess)
    patches = slow_maxima(
        net.model, images, layers, maps=lambda tokens: tokens[:, 1:].transpose(1, 2)
    )  # without the class token
    others = [found for layer, slow in patches.items() for found in check_top(scan.path, layer, slow, 14)]
    assert len(others) < 3 * 768 * 9 / 1000, "maxima at other patches"


def test_windows_are_those_of_projections(net, paths, tmp_path):
    """The window beside each entry is what the unit's projection reaches: for conv1, 7 x 7 pixels, two apart, from -1 on."""
    scan = deconvnet.scan(net, paths, tmp_path / "a.scan", layers=["features.1", "features.13"])
    for hit in scan.top("features.1", 3):
        assert hit.window.to_list() == [2 * hit.row - 1, 2 * hit.col - 1, 7, 7]
    for hit in scan.top("features.13", 5)[:3]:
        recording = net.record([paths[hit.picture]])
        projection = net.project(recording, "features.13", units=[(5, hit.row, hit.col)])
        assert projection.windows == [hit.window]
        assert projection.units[0].activation == pytest.approx(hit.activation, rel=1e-4)


INSIDE_LAYERS = ["features.0", "features.1", "features.5", "features.13", "features.14"]


@pytest.fixture(scope="module")
def windows_of(net, paths):
    """The window of each unit of some layers, projected one by one."""
    recording = net.record([paths[0]])
    return {
        layer: {
            (row, col): net.project(recording, layer, units=[(0, row, col)]).windows[0]
            for row, col in np.ndindex(*recording.maps(layer).shape[2:])
        }
        for layer in INSIDE_LAYERS[:4]
    }


@torch.no_grad()
@pytest.mark.parametrize("workers", [1, 3])
def test_inside_counts_only_units_whose_window_lies_in_the_picture(net, paths, windows_of, tmp_path, workers):
    """Each entry equals a brute search over the positions whose window lies inside, layer by layer; the rest has none."""
    layers = INSIDE_LAYERS
    scan = deconvnet.scan(net, paths, tmp_path / "a.scan", layers=layers, inside=True, workers=workers)
    assert scan.layers == layers[:4]  # a unit of the last sees more than the picture
    assert scan.settings["inside"] is True
    recording = net.record(list(paths))
    for layer in scan.layers:
        maps = recording.maps(layer).float().numpy()
        windows = windows_of[layer]
        lying = [place for place, window in windows.items() if window.clip(96, 96) == window]
        assert 0 < len(lying) < len(windows)
        values = np.stack([maps[:, :, row, col] for row, col in lying])  # (positions, pictures, channels)
        for channel in range(0, maps.shape[1], 7):
            best = np.sort(values[:, :, channel].max(0))[::-1][:9]
            hits = scan.top(layer, channel)
            np.testing.assert_allclose([hit.activation for hit in hits], best, rtol=1e-4, atol=1e-6)
            for hit in hits:
                assert (hit.row, hit.col) in lying
                assert maps[hit.picture, channel, hit.row, hit.col] == pytest.approx(hit.activation, rel=1e-4, abs=1e-6)
                assert hit.window == windows[hit.row, hit.col]
        fired = (values.max(0) > 0).sum(0)
        assert scan.statistics(layer)["fired"].tolist() == fired.tolist()
    with pytest.raises(StoreError, match="other settings: inside true, not false"):
        deconvnet.scan(net, paths, tmp_path / "a.scan", layers=layers[:4])
    with pytest.raises(OptionError) as caught:
        deconvnet.scan(net, paths, tmp_path / "b.scan", layers=["features.14"], inside=True)
    assert str(caught.value) == (
        "no unit of these layers has a window inside the picture. Name earlier layers, or leave `inside` out."
    )


def test_counts_equal_brute_force(net, paths, maxima, tmp_path):
    """For each channel: pictures read, on how many its maximum was above 0, mean and maximum of the maxima, dead or not."""
    scan = deconvnet.scan(net, paths, tmp_path / "a.scan", shard=5)
    for layer, (values, _) in maxima.items():
        counted = scan.statistics(layer)
        assert (counted["pictures"] == 24).all()
        assert (counted["fired"] == (values > 0).sum(0)).all()
        np.testing.assert_allclose(counted["mean"], values.mean(0, dtype=np.float64), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(counted["maximum"], values.max(0), rtol=1e-4, atol=1e-6)
        assert scan.dead(layer) == np.flatnonzero((values <= 0).all(0)).tolist()


def test_fewer_pictures_than_places(net, paths, tmp_path):
    """Three pictures give three entries per channel."""
    scan = deconvnet.scan(net, paths[:3], tmp_path / "a.scan", layers=["features.1"])
    assert [hit.rank for hit in scan.top("features.1", 0)] == [1, 2, 3]
    assert sorted(hit.picture for hit in scan.top("features.1", 0)) == [0, 1, 2]


# What does not change the table

TABLES = ("hits", "channels", "pictures", "shards")


def test_workers_do_not_change_a_byte(net, paths, tmp_path):
    """One worker or four, the same command twice: every table has the same bytes."""
    for name, workers in (("a", 1), ("b", 4), ("c", 4)):
        deconvnet.scan(net, paths, tmp_path / name, shard=7, batch=4, workers=workers)
    assert dump(tmp_path / "a", *TABLES) == dump(tmp_path / "b", *TABLES) == dump(tmp_path / "c", *TABLES)


@pytest.mark.parametrize("batch", [1, 3, 24])
def test_batches_change_near_ties_only(net, paths, maxima, tmp_path, batch):
    """With any batch the activations agree within 1e-4, and the pictures up to swaps among near ties; so do the counts."""
    scan = deconvnet.scan(net, paths, tmp_path / "a.scan", batch=batch, shard=11)
    for layer, slow in maxima.items():
        check_top(scan.path, layer, slow, scan.size(layer)[2])
        assert (scan.statistics(layer)["fired"] == (slow[0] > 0).sum(0)).all()


def test_pictures_added_at_a_shard_s_end_give_the_bytes_of_one_scan(net, paths, maxima, tmp_path):
    """A scan of 16 pictures, then of 24, equals one of 24 if the shards are the same; if not, up to near ties."""
    for name, first in (("once", 24), ("alike", 16), ("else", 13)):
        for count in (first, 24):
            deconvnet.scan(net, paths[:count], tmp_path / name, shard=8)
    assert dump(tmp_path / "alike", *TABLES) == dump(tmp_path / "once", *TABLES)
    assert rows(tmp_path / "else", "select first_picture, picture_count from shards") == [(0, 8), (8, 5), (13, 8), (21, 3)]
    for layer, slow in maxima.items():
        width = {"features.1": 46, "features.5": 23}.get(layer, 11)
        check_top(tmp_path / "else", layer, slow, width)


# Layers


class Twice(nn.Module):
    """One ReLU, called twice, in place on the output of a convolution."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.relu = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.two(self.relu(self.one(x))))


class Alike(nn.Module):
    """A functional call, a module that is called twice, and another module, all with one name."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.relu_2 = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Identity()

    def forward(self, x):
        x = nn.functional.relu(self.conv(x))
        x = self.relu(x - 0.1)
        return self.relu_2(self.relu(x - 0.1) * 2)


class Listed(nn.Module):
    """A stage that returns a list."""

    class Stage(nn.Module):
        def forward(self, x):
            return [x.relu(), nn.functional.avg_pool2d(x, 2)]

    def __init__(self):
        super().__init__()
        self.conv, self.stage = nn.Conv2d(3, 4, 3), self.Stage()

    def forward(self, x):
        return self.stage(self.conv(x))[1]


def made(folder, model, images, layers, **options):
    """Scan a tensor (N, C, H, W); each row is a picture."""
    return deconvnet.scan(deconvnet.DeconvNet(model), images, folder / "a.scan", layers=layers, **options)


def check_maps(scan, layer, maps):
    """Hold a layer's table against its maps (N, C, H', W')."""
    flat = maps.flatten(2)
    assert scan.size(layer) == tuple(maps.shape[1:])
    assert not check_top(scan.path, layer, (flat.amax(2).numpy(), flat.argmax(2).numpy()), maps.shape[3])


@torch.no_grad()
def test_a_module_called_twice_and_in_place(tmp_path):
    """`relu` and `relu_1` are its two calls; the convolution's layer has the values from before the ReLU in place."""
    model, images = Twice(), torch.randn(10, 3, 12, 15)
    scan = made(tmp_path, model, images, ["one", "relu", "two", "relu_1"], batch=3)
    first = nn.functional.conv2d(images, model.one.weight, model.one.bias)
    second = nn.functional.conv2d(first.clamp(min=0), model.two.weight, model.two.bias)
    assert first.amin() < 0
    for layer, maps in (("one", first), ("relu", first.clamp(min=0)), ("two", second), ("relu_1", second.clamp(min=0))):
        check_maps(scan, layer, maps)


@torch.no_grad()
@pytest.mark.parametrize("layers", [["relu", "relu_1", "relu_2", "relu_3"], ["relu_1"], ["relu_3"], ["relu_2"]], ids=str)
def test_modules_and_calls_of_one_name(tmp_path, layers):
    """If a functional call and modules share a name, each layer is the one with that name in a recording."""
    model, images = Alike(), torch.randn(10, 3, 12, 15)
    recording = deconvnet.DeconvNet(model).record(images)
    assert {"relu", "relu_1", "relu_2", "relu_3"} <= set(recording.records())
    first = nn.functional.conv2d(images, model.conv.weight, model.conv.bias).clamp(min=0)
    second = (first - 0.1).clamp(min=0)
    third = (second - 0.1).clamp(min=0)
    known = {"relu": first, "relu_1": second, "relu_2": 2 * third, "relu_3": third}
    scan = made(tmp_path, model, images, layers)
    for layer in layers:
        check_maps(scan, layer, known[layer])


@torch.no_grad()
def test_functional_layers_equal_torchvision_s_own_extractor(tmp_path):
    """ResNet's sums and the second call of a block's ReLU, by torchvision's names: the same maxima as its extractor's maps."""
    model = torchvision.models.resnet18(weights=None).eval()
    images, layers = torch.randn(11, 3, 40, 56), ["layer1.0.add", "layer1.0.relu_1", "layer2.1.conv1", "layer2.1.relu"]
    scan = made(tmp_path, model, images, layers, batch=4)
    for module in model.modules():  # the extractor's maps would be written over
        if isinstance(module, nn.ReLU):
            module.inplace = False
    maps = create_feature_extractor(model, layers)(images)
    assert maps["layer1.0.add"].amin() < 0
    for layer in layers:
        check_maps(scan, layer, maps[layer])


@torch.no_grad()
def test_an_item_of_a_list_is_a_layer(tmp_path):
    """`stage[1]` is the second map that the stage returns; a pattern takes both."""
    model, images = Listed(), torch.randn(10, 3, 12, 15)
    scan = made(tmp_path, model, images, ["stage[1]"])
    maps = nn.functional.conv2d(images, model.conv.weight, model.conv.bias)
    check_maps(scan, "stage[1]", nn.functional.avg_pool2d(maps, 2))
    (tmp_path / "more").mkdir()
    assert made(tmp_path / "more", model, images, ["stage*"]).layers == ["stage[0]", "stage[1]"]


@torch.no_grad()
def test_channels_last_blocks(tmp_path):
    """ConvNeXt's layers (N, H', W', C) are maps all the same: channels by their own axis, rows and columns by theirs."""
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), CNBlock(8, 1.0, 0.0)).eval()
    images = torch.randn(10, 3, 24, 36)
    scan = made(tmp_path, model, images, ["1.block.2", "1.block.4", "1"])
    block = model[1].block
    normed = block[:3](model[0](images))
    acted = block[4](block[3](normed))
    assert acted.shape == (10, 6, 9, 32)
    check_maps(scan, "1.block.2", normed.permute(0, 3, 1, 2))
    check_maps(scan, "1.block.4", acted.permute(0, 3, 1, 2))
    check_maps(scan, "1", model(images))


@torch.no_grad()
def test_flat_layers_count_as_maps_of_one_place(net, paths, tmp_path):
    """A layer (N, C), given by name, has units at 0, 0."""
    scan = deconvnet.scan(net, paths, tmp_path / "a.scan", layers=["classifier.2"])
    scores = net.model.features(images_of(paths, net.preprocess)).flatten(1)
    check_maps(scan, "classifier.2", net.model.classifier[2](scores)[:, :, None, None])


def test_layers_by_pattern(net, paths, tmp_path):
    """Patterns take layers with maps, in the order in which they finish, each once; names are taken as they are."""
    scan = deconvnet.scan(net, paths[:2], tmp_path / "a.scan", layers=["features.1[0-3]", "features.4", "features.1*"])
    assert scan.layers == ["features.1", "features.4", *(f"features.{number}" for number in range(10, 15))]


def test_blocks_stand_for_what_is_in_them():
    """By default a block that returns rectified maps is taken, and not the layers inside it."""
    net = deconvnet.DeconvNet(torchvision.models.resnet18(weights=None), preprocess=None)
    from deconvnet.layers import choose_layers

    assert choose_layers(net.record_zeros((3, 64, 64)), None) == ["relu", "layer1", "layer2", "layer3", "layer4"]


WRONG = [
    (["feature.1"], "'feature.1' is not a layer of tiny. Did you mean 'features.1' or 'features.14' or 'features.13'? See: deconvnet layers tiny"),
    (["conv*"], "'conv*' is not a layer of tiny. See: deconvnet layers tiny"),
    (["features.99"], "'features.99' is not a layer of tiny. Did you mean 'features.9' or 'features.8' or 'features.7'? See: deconvnet layers tiny"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "text"), WRONG, ids=[names[0] for names, _ in WRONG])
def test_unknown_layers(net, paths, tmp_path, layers, text):
    """A name or pattern without a layer is refused, with close ones, and leaves no file."""
    with pytest.raises(UnknownLayerError) as error:
        deconvnet.scan(net, paths, tmp_path / "a.scan", layers=layers)
    assert str(error.value) == text
    assert not (tmp_path / "a.scan").exists()


def test_a_single_name_is_no_list(net, paths, tmp_path):
    """layers="features.1" would be taken letter by letter: it is refused."""
    with pytest.raises(OptionError) as error:
        deconvnet.scan(net, paths, tmp_path / "a.scan", layers="features.1")
    assert (
        str(error.value) == "layers must be a list of names, found the single name 'features.1'. Write layers=['features.1']."
    )


@pytest.mark.parametrize("name", ["top", "shard", "batch", "workers"])
def test_counts_are_one_or_more(net, paths, tmp_path, name):
    """Zero entries, pictures per shard or batch, or workers are refused."""
    with pytest.raises(OptionError) as error:
        deconvnet.scan(net, paths, tmp_path / "a.scan", **{name: 0})
    assert str(error.value) == f"{name} cannot be 0: it is a number, 1 or more."


def test_a_channel_that_is_not_there(net, paths, tmp_path):
    """Asking for a channel or a layer that was not scanned says which there are."""
    scan = deconvnet.scan(net, paths[:2], tmp_path / "a.scan", layers=["features.1"])
    with pytest.raises(UnitError) as error:
        scan.top("features.1", 32)
    assert str(error.value) == "layer 'features.1' has no channel 32: it has 32, numbered from 0."
    with pytest.raises(UnknownLayerError) as error:
        scan.statistics("features.2")
    assert str(error.value) == f"{scan.path!r} has no layer 'features.2'. Did you mean 'features.1'? Scanned: features.1."


def test_a_net_without_windows_is_refused_before_the_work(tmp_path):
    """If the way down to the pixels meets a call without a rule, the scan says so before it reads the pictures."""

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return torch.cumsum(self.conv(x), 2).relu()

    class Untouched(torch.utils.data.Dataset):
        seen = 0

        def __len__(self):
            return 100

        def __getitem__(self, number):
            self.seen += 1
            return torch.zeros(3, 8, 8)

    pictures = Untouched()
    with pytest.raises(NoRuleError) as error:
        made(tmp_path, Summed(), pictures, None)
    assert str(error.value) == "no mirror rule for cumsum in 'cumsum'. Add one: see docs/your-own-rule.md."
    assert pictures.seen == 1  # for the size


def test_nan_and_nothing_never_enter(tmp_path):
    """A map with a NaN has no entry, nor has one that is -inf everywhere; infinity is the strongest of all."""
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())
    nn.init.ones_(model[0].weight)
    images = torch.full((6, 1, 3, 4), 2.0)
    images[1, 0, 2, 1] = float("nan")
    images[2] = 9.0
    images[4, 0, 1, 2] = float("inf")
    images[5] = float("-inf")
    with pytest.warns(deconvnet.errors.DeconvnetWarning) as warned:
        scan = made(tmp_path, model, images, ["0", "1"])
    text = "layer '0' has maps whose maximum is NaN: they count as not firing. Look for what overflows."
    assert text in {str(warning.message) for warning in warned}
    assert [hit.picture for hit in scan.top("0", 1)] == [4, 2, 0, 3]
    assert [hit.activation for hit in scan.top("0", 1)] == [float("inf"), 9, 2, 2]
    assert (scan.top("0", 1)[0].row, scan.top("0", 1)[0].col) == (1, 2)
    assert [hit.picture for hit in scan.top("1", 1)] == [4, 2, 0, 3, 5]  # the ReLU makes a 0 of it
    (tmp_path / "none").mkdir()
    with pytest.warns(deconvnet.errors.DeconvnetWarning):
        none = made(tmp_path / "none", model, torch.full((2, 1, 3, 4), float("nan")), ["0"])
    assert none.top("0", 0) == []
    assert none.statistics("0")["maximum"].tolist() == [-np.inf, -np.inf]
    assert none.dead("0") == []
    assert none.not_a_number("0") == [0, 1]


# The model


class Counting(nn.Module):
    """Writes to a buffer in each call, has a part in training mode, and can be made to fail."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        self.register_buffer("calls", torch.zeros(()))
        self.fails = False

    def forward(self, x):
        self.calls += 1
        x = self.drop(self.norm(self.conv(x)))
        if self.fails and float(x.sum()) == float(x.sum()) and len(x) == 2:
            raise RuntimeError("out of luck")
        return x.relu()


def state(model):
    """Return all that a scan could leave behind."""
    hooks = [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks), module.training)
        for name, module in model.named_modules()
    ]
    flags = [(name, parameter.requires_grad, parameter.grad) for name, parameter in model.named_parameters()]
    return hooks, flags, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("layers", [["norm"], ["relu"]], ids=["by hooks", "by calls"])
def test_the_model_comes_back_untouched(tmp_path, layers):
    """Hooks, training flags, gradients, weights and buffers are as before, also if forward raises half-way."""
    model, images = Counting(), torch.randn(8, 3, 9, 9)
    model.drop.eval()
    model.conv.weight.requires_grad = False
    before = state(model)
    for fails in (False, True):
        model.fails = fails
        folder = tmp_path / str(fails)
        folder.mkdir()
        if fails:
            with pytest.raises(RuntimeError, match="out of luck"):
                made(folder, model, images, layers=["relu"], batch=2)
        else:
            made(folder, model, images, layers, batch=2)
        after = state(model)
        assert after[:2] == before[:2]
        assert all(torch.equal(value, before[2][name]) for name, value in after[2].items())


def test_a_scan_runs_in_eval_mode(tmp_path):
    """Dropout and batch norm do what they do after training, whatever the flags say."""
    model, images = Counting().train(), torch.randn(8, 3, 9, 9)
    training = made(tmp_path, model, images, ["norm"], batch=2)
    (tmp_path / "eval").mkdir()
    evaluating = made(tmp_path / "eval", model.eval(), images, ["norm"], batch=2)
    assert dump(training.path, "hits") == dump(evaluating.path, "hits")
    assert table(training.path, "norm")["activation"].max() > 0


def test_a_model_that_views_its_maps_as_rows(tmp_path):
    """A model that only works in torch's usual order of memory is scanned in that order."""

    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

        def forward(self, x):
            x = self.conv(x)
            return self.relu(x.view(len(x), -1).view(x.shape))

    model, images = Viewing(), torch.randn(10, 3, 8, 9)
    scan = made(tmp_path, model, images, ["relu"])
    with torch.no_grad():
        check_maps(scan, "relu", model(images))


# Its name


def test_scan_is_a_function(net, paths, tmp_path):
    """deconvnet.scan(...) scans; opening the file gives the same table."""
    scan = deconvnet.scan(net, paths[:3], tmp_path / "a.scan", layers=["features.1"])
    assert isinstance(scan, deconvnet.Scan)
    assert callable(deconvnet.scan)
    opened = deconvnet.Scan.open(tmp_path / "a.scan")
    assert opened.top("features.1", 7) == scan.top("features.1", 7)
    assert repr(opened) == f"Scan({str(tmp_path / 'a.scan')!r}, 3 of 3 pictures, 1 layer)"
    opened.close()


def test_naming_scan_loads_torch_and_importing_the_package_does_not():
    """import deconvnet loads no torch; naming deconvnet.scan does, and can be called at once."""
    code = "import sys, deconvnet; assert 'torch' not in sys.modules; deconvnet.scan; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
