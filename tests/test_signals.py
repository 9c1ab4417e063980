"""Signals (N, C, L) and volumes (N, C, D, H, W): recorded, projected, drawn, and read from files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import video

import deconvnet
from deconvnet import rules
from deconvnet.errors import MissingPackageError, OptionError, PictureError
from deconvnet.images import read_array
from deconvnet.layer_table import list_layers
from deconvnet.sheet_kinds import draw_volume, part_word, strongest_slice
from support.oracle import ReplacedBackward, relative

NET = """
import torch
from torch import nn

def signal():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv1d(2, 6, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ReLU())

def volume():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(6, 8, 3, padding=1), nn.ReLU())
"""


class Residual(nn.Module):
    """A block of a signal's net, with a pool of another kind."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.pool = nn.Conv1d(6, 6, 3, padding=1), nn.BatchNorm1d(6), nn.AdaptiveMaxPool1d(9)

    def forward(self, x):
        return self.pool(x + self.norm(self.conv(x)).relu())


def signal_net(pool=None):
    return (
        nn.Sequential(
            nn.Conv1d(2, 6, 5, stride=2, padding=2),
            nn.ReLU(),
            pool or nn.MaxPool1d(3, 2, 1),
            Residual(),
            nn.Conv1d(6, 4, 3, padding=1),
            nn.ReLU(),
        )
        .double()
        .eval()
    )


def volume_net(pool=None):
    return (
        nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1),
            nn.ReLU(),
            pool or nn.MaxPool3d(2),
            nn.Conv3d(4, 4, 3, padding=1),
            nn.BatchNorm3d(4),
            nn.ReLU(),
            nn.AdaptiveMaxPool3d((2, 3, 2)),
        )
        .double()
        .eval()
    )


POOLS_1D = [nn.MaxPool1d(2), nn.MaxPool1d(3, 2, 1), nn.MaxPool1d(3, 2, ceil_mode=True), nn.MaxPool1d(2, 1, dilation=3), nn.AvgPool1d(3, 2, 1)]  # fmt: skip
POOLS_3D = [nn.MaxPool3d(2), nn.MaxPool3d((1, 3, 2), (1, 2, 1), (0, 1, 1)), nn.MaxPool3d(3, 2, 1, ceil_mode=True), nn.MaxPool3d(2, 1, dilation=(1, 2, 1))]  # fmt: skip
NETS = [(signal_net, pool, (3, 2, 41)) for pool in POOLS_1D] + [(volume_net, pool, (3, 1, 8, 9, 7)) for pool in POOLS_3D]


@pytest.mark.parametrize(("make", "pool", "size"), NETS, ids=[f"{pool}" for _, pool, _ in NETS])
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_the_way_down_is_autograd_with_another_backward(make, pool, size, rule):
    """Any pool of one or three axes, several inputs at once: to 1e-10."""
    model, images = make(pool), torch.randn(size, dtype=torch.float64, requires_grad=True)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images.detach())
    layer = str(len(model) - 1)
    with ReplacedBackward(rule, silent="first"):
        output = model(images)
    signal = torch.randn_like(output)
    (expected,) = torch.autograd.grad(output, images, signal)
    assert relative(net.project_signal(recording, layer, signal, rule=rule, silent="first"), expected) < 1e-10


def slow_unpool(signal, pooled, indices, size, silent, overlap):
    """Put back one value after the other, in row-major order, in flat places."""
    frame = torch.zeros(*size[:2], int(np.prod(size[2:])), dtype=signal.dtype)
    for image in range(size[0]):
        for channel in range(size[1]):
            values, places, maxima = (part[image, channel].flatten().tolist() for part in (signal, indices, pooled))
            for value, place, largest in zip(values, places, maxima, strict=True):
                if largest == 0 and silent == "drop":
                    continue
                before = frame[image, channel, place] if overlap == "sum" else 0
                frame[image, channel, place] = before + value
    return frame.view(size)


@pytest.mark.parametrize("silent", ["drop", "first"])
@pytest.mark.parametrize("overlap", ["sum", "last"])
@pytest.mark.parametrize("pool", [POOLS_1D[1], nn.AdaptiveMaxPool1d(5), POOLS_3D[1], nn.AdaptiveMaxPool3d((2, 3, 4))], ids=str)
def test_a_pool_equals_a_plain_loop(pool, silent, overlap):
    """Silent windows dropped or not, colliding switches added or overwritten."""
    axes = 1 if "1d" in str(pool) else 3
    x = torch.randn(2, 3, *((11,) if axes == 1 else (5, 6, 7)), dtype=torch.float64) - 1.2
    pool.return_indices = True
    pooled, indices = pool(x.relu())
    pool.return_indices = False
    assert (pooled == 0).any()
    net = deconvnet.DeconvNet(nn.Sequential(nn.Identity(), nn.ReLU(), pool), overlap=overlap, silent=silent)
    signal = torch.rand_like(pooled)
    recording = net.record(x)
    result = net.project_signal(recording, "2", signal, rule="FTF")
    assert relative(result, slow_unpool(signal, pooled, indices, x.shape, silent, overlap)) < 1e-12


@pytest.mark.parametrize(("pool", "size", "places"), [
    (nn.MaxPool1d(3, 2, 1), (1, 1, 8), [0, 2, 4, 6]),
    (nn.AdaptiveMaxPool1d(2), (1, 1, 8), [2, 6]),
    (nn.MaxPool3d((2, 1, 3)), (1, 1, 2, 2, 6), [13, 16, 19, 22]),
])  # fmt: skip
def test_without_switches_values_go_to_the_middle(pool, size, places):
    """As Mahendran & Vedaldi have it in two axes."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Identity(), pool))
    recording = net.record(torch.rand(size))
    result = net.project_signal(recording, "1", torch.ones(recording.activations("1").shape), rule="FFF")
    assert result.flatten().nonzero()[:, 0].tolist() == places


def test_a_unit_of_a_signal_sees_its_window_alone():
    """A change outside the window changes nothing, one at its edges does; projections lie inside."""
    model = nn.Sequential(
        nn.Conv1d(2, 6, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool1d(3, 2, 1), nn.Conv1d(6, 4, 3), nn.ReLU()
    )
    for conv in (model[0], model[3]):
        conv.weight.data.abs_()
        conv.bias.data.fill_(0.1)
    net, images = deconvnet.DeconvNet(model.eval()), torch.rand(1, 2, 60)
    recording = net.record(images)
    projection = net.project(recording, "4", at=(0, 6))
    (window, *_), first = projection.windows, projection.units[0]
    assert (window.top, window.height, window.width) == (0, 1, 17)
    reached = projection.pixels[0].abs().sum(0).nonzero()[:, 0]
    assert window.left <= reached.min()
    assert reached.max() < window.right
    before = recording.activations("4")[0, first.channel, 6]
    seen = []
    for sample in range(60):
        changed = images.clone()
        changed[:, :, sample] += 100
        if net.record(changed).activations("4")[0, first.channel, 6] != before:
            seen.append(sample)
    assert (seen[0], seen[-1]) == (window.left, window.right - 1)
    assert projection.pixels.shape == (4, 2, 60)
    assert net.layers((2, 60))["4"].output == (4, 13)


def test_units_of_a_volume_are_numbered_slice_by_slice():
    """Row r of a map is row r % H of slice r // H; the projection has the volume's own axes."""
    net, images = deconvnet.DeconvNet(volume_net()), torch.randn(2, 1, 8, 10, 6, dtype=torch.float64)
    recording = net.record(images)
    maps, values = recording.maps("5"), recording.activations("5")
    assert maps.shape == (2, 4, 4 * 5, 3)
    assert torch.equal(maps[1, 2, 3 * 5 + 4], values[1, 2, 3, 4])
    projection = net.project(recording, "5", units=[(2, 3 * 5 + 4, 1)], image=1, rule="gradient", start="one")
    inputs = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net.model[:6](inputs)[1, 2, 3, 4, 1], inputs)
    reference = net.project(recording, "5", units=[(2, 19, 1)], image=1, rule="gradient", start="one", silent="first")
    assert relative(reference.pixels[0], expected[1]) < 1e-10
    assert projection.pixels.shape == (1, 1, 8, 10, 6)
    table = str(net.layers((1, 8, 10, 6)))
    assert "4x4x5x3" in table
    assert "whole" in table


def test_a_signal_may_come_as_a_picture_of_one_row():
    """A net that takes (N, C, 1, L) and squeezes it: its layers are signals' all the same."""

    class AsPicture(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = signal_net().float()

        def forward(self, x):
            return self.net(x.squeeze(2))

    net = deconvnet.DeconvNet(AsPicture())
    recording = net.record(torch.rand(1, 2, 1, 41))
    projection = net.project(recording, "net.1", top=2)
    assert projection.pixels.shape == (2, 2, 1, 41)
    assert projection.windows[0].width == 5


def test_a_picture_without_a_batch_axis_is_no_signal():
    """Convolutions of two axes tell: the line says what to do."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    with pytest.raises(PictureError) as caught:
        net.record(torch.rand(3, 20, 20))
    line = "images must be a float tensor (N, C, H, W), found (3, 20, 20) of float32. One picture: image.unsqueeze(0)."
    assert str(caught.value) == line


@pytest.mark.parametrize(("count", "size"), [(2, (2, 400)), (3, (14, 40)), (1, (1, 5000))])
def test_signals_are_drawn_as_curves(count, size, tmp_path):
    """A sheet, and its numbers, of few samples and many, of few channels and many."""
    model = nn.Sequential(nn.Conv1d(size[0], 6, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(6, 8, 3), nn.ReLU())
    net = deconvnet.DeconvNet(model.eval())
    projection = net.project(net.record(torch.randn(1, *size)), "4", top=count)
    for crop in ("energy", "window", "whole"):
        figure = np.asarray(projection.figure(crop=crop).convert("RGB"))
        blue = (figure == (0, 114, 178)).all(-1)
        assert blue.any()  # the projection's curve
        assert ((figure == (160, 160, 160)).all(-1)).any()  # the input's
    (path,) = projection.save(tmp_path / "sheet.pdf")
    assert path.stat().st_size > 1000
    arrays = dict(np.load(projection.save(tmp_path / "arrays.npz")[0]))
    assert arrays["pixels"].shape == (count, *size)


def test_volumes_are_drawn_by_their_strongest_slices():
    """Each tile is the slice with most energy; an empty volume shows its middle."""
    volume = np.zeros((2, 5, 4, 4))
    assert strongest_slice(volume) == 2
    volume[1, 4, 2, 2] = -3
    volume[0, 0] = 0.5
    assert strongest_slice(volume) == 4
    net = deconvnet.DeconvNet(volume_net().float())
    projection = net.project(net.record(torch.rand(1, 1, 8, 20, 18)), "5", top=3)
    figure = projection.figure()
    assert figure.width > 600
    rows = projection.to_json()
    assert len(rows) == 3
    json.dumps(rows)


@pytest.mark.parametrize(("channels", "word"), [(1, "slice"), (3, "frame")])
def test_parts_of_videos_are_called_frames(channels, word):
    """A volume of three colours is a video; the tile's note, the picture's, and the footer's words say so."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv3d(channels, 2, 3), nn.ReLU()))
    projection = net.project(net.record(torch.rand(1, channels, 6, 9, 8)), "1", top=1)
    kind = draw_volume(projection, projection.shown[0], "energy")
    assert re.fullmatch(rf"{word} \d of 6", kind.tiles[0].note)
    assert re.fullmatch(rf"{word} \d of 6, 9x8 pixels, as the net sees it", kind.note)
    assert part_word(projection) == word


def test_files_of_arrays(tmp_path, run, monkeypatch):
    """An .npy file goes from the command to a sheet; NIfTI's axes are turned; what is no array is refused by one line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    np.save("ecg.npy", np.random.default_rng(0).normal(size=(2, 120)).astype(np.float32))
    np.save("ct.npy", np.random.default_rng(0).normal(size=(1, 6, 16, 12)))
    for name, maker in (("ecg.npy", "signal"), ("ct.npy", "volume")):
        code, _, told = run("project", name, "--model", f"file:net.py:{maker}", "--layer", "4", "--out", f"{maker}.png")
        assert code == 0, told
        assert "Assumed" not in told  # no preprocessing: nothing of a file is scaled
        assert (tmp_path / f"{maker}.png").stat().st_size > 3000
    assert read_array("ecg.npy").shape == (2, 120)
    assert read_array("ct.npy").dtype == np.float64
    np.save("line.npy", np.arange(5))
    assert read_array("line.npy").tolist() == [[0, 1, 2, 3, 4]]


class UNet(nn.Module):
    """A step down by a max pool, one up by a transposed convolution, joined with what was there before."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.middle, self.join = block(1, 4), block(4, 6), block(8, 4)
        self.pool, self.up, self.head = nn.MaxPool3d(2), nn.ConvTranspose3d(6, 4, 2, 2), nn.Conv3d(4, 2, 1)

    def forward(self, x):
        first = self.down(x)
        return self.head(self.join(torch.cat((self.up(self.middle(self.pool(first))), first), 1)))


def block(inputs, outputs):
    return nn.Sequential(nn.Conv3d(inputs, outputs, 3, padding=1), nn.BatchNorm3d(outputs), nn.ReLU())


def video_net():
    """Return r3d_18 as torchvision has it."""
    return video.r3d_18()


def randomised(make):
    """Return a net whose norms scale and shift."""
    torch.manual_seed(0)
    model = make().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
    return model


VOLUMES = {
    "u-net": (UNet, (1, 6, 12, 10), ["pool", "middle.2", "join.2", "head"]),
    "r3d_18": (video_net, (3, 4, 16, 16), ["stem.2", "layer2.0", "layer4"]),
}


@pytest.mark.parametrize("name", VOLUMES)
def test_known_nets_of_volumes_equal_autograd(name):
    """A segmenter of volumes and a net of videos, layers of each depth, a signal from everywhere and a single unit."""
    make, size, layers = VOLUMES[name]
    model = randomised(make).double()
    inputs = torch.randn(1, *size, dtype=torch.float64, requires_grad=True)
    net = deconvnet.DeconvNet(model, silent="first")
    recording = net.record(inputs.detach())
    for rule in ("deconvnet", "guided", "gradient"):
        for layer, output in outputs_of(model, inputs, layers, rule).items():
            signal = torch.randn_like(output)
            (expected,) = torch.autograd.grad(output, inputs, signal, retain_graph=True)
            assert relative(net.project_signal(recording, layer, signal, rule=rule), expected) < 1e-10
            channel, depth, row, col = (length - 1 for length in output.shape[1:])
            unit = (channel, depth * output.shape[3] + row, col)
            projection = net.project(recording, layer, units=[unit], rule=rule, start="one")
            (expected,) = torch.autograd.grad(output[0, channel, depth, row, col], inputs, retain_graph=True)
            assert relative(projection.pixels, expected) < 1e-10


def outputs_of(model, inputs, layers, rule):
    """Run a net whose backward pass is a rule's, and return what some layers made."""
    outputs = {}

    def keep(layer):
        return lambda module, args, output: outputs.update({layer: output})

    hooks = [model.get_submodule(layer).register_forward_hook(keep(layer)) for layer in layers]
    with ReplacedBackward(rule, silent="first"):
        model(inputs)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("name", VOLUMES)
def test_known_nets_of_volumes_go_from_a_file_to_a_sheet(name, tmp_path, run, monkeypatch):
    """By the command, with the picture's strongest slice in it; `.npz` has the projections whole."""
    monkeypatch.chdir(tmp_path)
    make, size, layers = VOLUMES[name]
    source = Path(__file__).read_text().split("class UNet")[1].split("def randomised")[0]
    lines = "import torch\nfrom torch import nn\nfrom torchvision.models import video\n\n\nclass UNet"
    Path("net.py").write_text(lines + source)
    np.save("scan.npy", np.random.default_rng(0).normal(size=(size[0], size[1], 24, 20)).astype(np.float32))
    command = ("project", "scan.npy", "--model", f"file:net.py:{make.__name__}", "--layer", layers[1], "--top", "3")
    for file in ("sheet.png", "arrays.npz"):
        code, _, told = run(*command, "--out", file)
        assert code == 0, told
    sheet = np.asarray(Image.open("sheet.png").convert("RGB"))
    assert sheet.std() > 20
    arrays = np.load("arrays.npz")
    assert arrays["pixels"].shape == (3, *size[:2], 24, 20)
    assert np.abs(arrays["pixels"]).max((1, 2, 3, 4)).min() > 0


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((2, 2, 2, 2, 2)), "'bad.npy' holds an array of (2, 2, 2, 2, 2). Give one of (C, L), (C, H, W) or (C, D, H, W)."),
    (np.zeros((0, 4)), "'bad.npy' holds an array of (0, 4). Give one of (C, L), (C, H, W) or (C, D, H, W)."),
    (np.array(["a"]), "'bad.npy' holds no array of numbers. Give one of (C, L), (C, H, W) or (C, D, H, W)."),
])  # fmt: skip
def test_arrays_that_are_none(array, message, tmp_path, monkeypatch):
    """Other axes, nothing in it, no numbers."""
    monkeypatch.chdir(tmp_path)
    np.save("bad.npy", array)
    with pytest.raises(PictureError) as caught:
        read_array("bad.npy")
    assert str(caught.value) == message


def test_files_that_are_no_arrays(tmp_path, monkeypatch):
    """A pickle is never run, a huge header asks for no memory."""
    monkeypatch.chdir(tmp_path)
    np.save("pickle.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(PictureError, match=r"cannot read 'pickle.npy' as an .npy file: "):
        read_array("pickle.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(PictureError, match=r"cannot read 'text.npy' as an .npy file: "):
        read_array("text.npy")
    np.lib.format.open_memmap("huge.npy", "w+", np.uint8, (2**27 + 1,))
    with pytest.raises(PictureError) as caught:
        read_array("huge.npy")
    assert str(caught.value) == "'huge.npy' holds 134,217,729 values, more than 134,217,728. Give a part of it."


def test_nifti(tmp_path):
    """(X, Y, Z) becomes (1, Z, Y, X)."""
    nibabel = pytest.importorskip("nibabel", reason='no nibabel (pip install -e ".[volumes]")')
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "ct.nii.gz")
    volume = read_array(tmp_path / "ct.nii.gz")
    assert volume.shape == (1, 4, 3, 2)
    assert float(volume[0, 3, 2, 1]) == values[1, 2, 3]
    (tmp_path / "broken.nii").write_bytes(b"no header")
    with pytest.raises(PictureError, match=r"cannot read .* as NIfTI: "):
        read_array(tmp_path / "broken.nii")


def test_nifti_without_its_package(tmp_path, monkeypatch):
    """The line says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    (tmp_path / "ct.nii").write_bytes(b"")
    with pytest.raises(MissingPackageError, match=r'In a checkout: pip install -e ".\[volumes\]"'):
        read_array(tmp_path / "ct.nii")


def test_own_is_measured_of_signals_and_volumes():
    """Against other inputs of the same size: pools bring some of the input into it, without pools there is none."""
    for make, size in ((signal_net, (2, 41)), (volume_net, (1, 8, 9, 7))):
        net = deconvnet.DeconvNet(make().float())
        recording = net.record(torch.randn(3, *size))
        owns = net.project(recording, "4" if make is signal_net else "5", top=2, own=True).own
        assert any(own is not None and own > 0.1 for own in owns)
    with pytest.raises(OptionError, match="the other pictures must have the size of this one"):
        net.project(recording, "5", others=torch.randn(1, 1, 8, 9, 8))


def test_linear_layers_over_positions_see_them_all():
    """A mixer's layer works along the tokens: the window of each of its units is the whole picture."""

    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches, self.mix, self.act = nn.Conv2d(3, 4, 4, 4), nn.Linear(16, 16), nn.ReLU()

        def forward(self, x):
            return self.act(self.mix(self.patches(x).flatten(2)))

    net = deconvnet.DeconvNet(Mixer())
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    projection = net.project(net.record(images.detach()), "mix", channels=[1], at=(2, 3), rule="gradient", start="one")
    assert projection.windows[0].covers(16, 16)
    patches = net.model.patches(images).flatten(2)
    (expected,) = torch.autograd.grad(F.linear(patches, net.model.mix.weight)[0, 1, 11], images)
    assert relative(projection.pixels[0], expected[0]) < 1e-5


def test_a_size_that_nobody_said_is_not_claimed():
    """The size of a signal's net is not known: the line asks for it."""
    net = deconvnet.DeconvNet(signal_net().float())
    with pytest.raises(PictureError, match=r"cannot take images of 3x224x224 \(.*\)\. Give the size that it was made for\.$"):
        net.layers()


class ChannelsLast(nn.Module):
    """Volumes with their channels last inside, as 3-D Swin has them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv3d(1, 2, 2), nn.LayerNorm(2)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3).flatten(1)


def test_volumes_with_channels_last_are_not_listed():
    """Every layer that is listed can be asked for; a signal of the whole layer goes down from the others."""
    net = deconvnet.DeconvNet(ChannelsLast())
    recording = net.record(torch.rand(1, 1, 3, 4, 5))
    listed = list_layers(recording, rules.DEFAULT)
    assert "conv" in listed
    assert "norm" not in listed
    for layer in listed:
        net.project(recording, layer.name, channels=[0])
    with pytest.raises(deconvnet.UnitError) as caught:
        net.project(recording, "norm", channels=[0])
    assert str(caught.value) == "layer 'norm' has no maps: its output is 2x3x4x2, not channels x rows x columns."
    signal = torch.ones_like(recording.activations("norm"))
    assert net.project_signal(recording, "norm", signal).shape == (1, 1, 3, 4, 5)
