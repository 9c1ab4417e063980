"""What is prepared for speed changes nothing: folded batch norms, rectifying in place, windows guessed from three places."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from deconvnet import Window, rules
from deconvnet.fuse import FOLD_FROM, steps_down
from deconvnet.memory import AT_ONCE, BATCH_BYTES, batch_bytes, free_bytes
from deconvnet.mirror import project_value
from deconvnet.projection import project_units
from deconvnet.rules.activation import ReLU
from deconvnet.rules.norm import BatchNorm
from deconvnet.windowed import unit_windows
from support.nets import randomise_norms
from support.oracle import relative

CPU = torch.device("cpu")


def stirred(name):
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    return randomise_norms(torchvision.models.get_model(name, weights=None, **options))


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18", "layer3"), ("googlenet", "inception4b"), ("mobilenet_v2", "features.7")]
)
@pytest.mark.parametrize("rule", ["deconvnet", "gradient"])
def test_folded_norms_change_nothing(name, layer, rule):
    """Many signals, whose norms are folded, come down as each does by itself, whose norms are not."""
    net = deconvnet.DeconvNet(stirred(name))
    recording = net.record(torch.randn(1, 3, 64, 73))
    table = net.rules.with_options(**rules.parse_rule(rule))
    tape, value = recording.tape_for(layer, table), recording.value(layer)
    signals = torch.randn(FOLD_FROM, *tape.shapes[value][1:])
    alone = [project_value(tape, value, signal[None], table, 0) for signal in signals]
    together = project_value(tape, value, signals, table, 0)
    assert len(steps_down(tape, value, table, FOLD_FROM)) < len(list(tape.down_from(value)))
    for one, other in zip(alone, together, strict=True):
        assert relative(other, one[0]) < 1e-5


@pytest.mark.parametrize(
    ("name", "layer"),
    [("alexnet", "features.11"), ("vgg11", "features.19"), ("resnet50", "layer3"), ("mobilenet_v2", "features.7")],
)
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "FFT"])
def test_the_second_and_third_time_give_the_same(name, layer, rule):
    """Rectifiers folded and filters laid out, as is done for what is asked for again, give what the plain way down gave."""
    net = deconvnet.DeconvNet(stirred(name))
    recording = net.record(torch.randn(1, 3, 96, 107))
    for unit in ("map", "max"):
        first, *others = [net.project(recording, layer, channels=[3, 1], at=unit, rule=rule).pixels for _ in range(4)]
        assert all(relative(other, first) < 1e-5 for other in others)
        assert torch.equal(others[-1], others[-2])


def test_rectifiers_go_into_the_convolution_above():
    """Also through a pool whose windows lie apart; not through one whose windows overlap, and not where two read the value."""
    apart, overlapping = (
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(size, 2), nn.Conv2d(4, 5, 3), nn.ReLU()) for size in (2, 3)
    )
    for model, expected in ((apart, 1), (overlapping, 2), (Forked(), 2)):
        net = deconvnet.DeconvNet(model.eval())
        channels = next(model.parameters()).shape[1]
        recording = net.record(torch.randn(1, channels, 19, 21))
        value = recording.value(list(recording.records())[-1])
        steps = steps_down(recording.tape, value, net.rules, FOLD_FROM)
        assert sum(isinstance(step.rule, ReLU) for step in steps) == expected


@pytest.mark.parametrize(
    "options",
    [{}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 4}, {"padding": "same"}, {"stride": 3, "groups": 2}],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_filters_laid_out_once(options, dtype):
    """Filters laid out for oneDNN give the sums of the transposed convolution, rectified or not, whatever the geometry."""
    model = nn.Sequential(nn.Conv2d(8, 8, 3, **options), nn.ReLU(), nn.Conv2d(8, 8, 3, **options)).to(dtype)
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 8, 23, 25, dtype=dtype))
    signal = torch.randn(recording.tape.shapes[recording.value("2")], dtype=dtype)
    first, *others = [net.project_signal(recording, "2", signal) for _ in range(4)]
    assert all(relative(other, first) < 1e-6 for other in others)


def test_filters_laid_out_for_another_count():
    """Filters that were laid out for some signals serve a few more or fewer: the same sums."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1)))
    recording = net.record(torch.randn(1, 3, 13, 17))
    value = recording.value("2")
    signals = torch.randn(7, *recording.tape.shapes[value][1:])
    alone = torch.cat([project_value(recording.tape, value, signal[None], net.rules, 0) for signal in signals])
    for count in (4, 4, 7, 5, 6, 4):
        assert relative(project_value(recording.tape, value, signals[:count], net.rules, 0), alone[:count]) < 1e-6


class Forked(nn.Module):
    """A convolution that is read twice, once by its norm: the norm must not be folded."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.last = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3)
        randomise_norms(self)

    def forward(self, x):
        middle = self.conv(x)
        return F.relu(self.last(F.relu(self.norm(middle)) + middle))


def test_a_norm_whose_input_is_read_elsewhere_stays():
    """Folding there would scale the other branch too."""
    net = deconvnet.DeconvNet(Forked().eval())
    recording = net.record(torch.randn(1, 2, 11, 13))
    value = recording.value("relu_1")
    assert any(step.call.name == "batch_norm" for step in steps_down(recording.tape, value, net.rules, 8))
    signals = torch.randn(8, *recording.tape.shapes[value][1:])
    alone = torch.cat([net.project_signal(recording, "relu_1", signal[None]) for signal in signals])
    assert relative(project_value(recording.tape, value, signals, net.rules, 0), alone) < 1e-6


def test_the_weights_are_never_written_to():
    """Folding and rectifying in place leave the model, the recording and the caller's signal as they were."""
    model = stirred("resnet18")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 64, 64), layers=["layer2"])
    activations, signal = recording.activations("layer2"), torch.randn(1, 128, 8, 8)
    copy = signal.clone()
    first = net.project(recording, "layer2", top=8).pixels
    net.project_signal(recording, "layer2", signal)
    assert torch.equal(net.project(recording, "layer2", top=8).pixels, first)
    assert torch.equal(signal, copy)
    assert torch.equal(recording.activations("layer2"), activations)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@dataclasses.dataclass(frozen=True)
class Halved(ReLU):
    """A user's idea, which inherits the rest from ReLU."""

    def mirror(self, kept, signal):
        return super().mirror(kept, signal) / 2


def test_a_subclass_is_asked_itself():
    """What is done in place is done for torch's ReLU rule alone: a rule derived from it mirrors as it says."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
    images = torch.randn(1, 1, 9, 10)
    usual = deconvnet.DeconvNet(model)
    halved = deconvnet.DeconvNet(model, rules=rules.DEFAULT.replace(relu=Halved()))
    signal = torch.rand(1, 4, 5, 6)
    expected = usual.project_signal(usual.record(images), "3", signal) / 4
    assert torch.allclose(halved.project_signal(halved.record(images), "3", signal), expected)


@pytest.mark.parametrize(
    ("name", "layer"),
    [("alexnet", "features.8"), ("resnet18", "layer3"), ("densenet121", "features.denseblock2"), ("googlenet", "inception4a")],
)
def test_windows_of_many_units_are_those_of_each(name, layer):
    """Windows found from three places equal those found one by one, at every place of the map."""
    net = deconvnet.DeconvNet(stirred(name))
    recording = net.record(torch.randn(1, 3, 96, 128), layers=[layer])
    tape, value = recording.tape, recording.value(layer)
    places = [(row, col) for row in range(tape.shapes[value][2]) for col in range(tape.shapes[value][3])]
    assert unit_windows(tape, value, places) == [tape.pixel_window(value, Window(*place, 1, 1)) for place in places]


class Bent(nn.Module):
    """Windows that do not slide: enlarged, pooled into bins, and broadcast."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        x = F.interpolate(self.conv(x), size=(17, 19), mode="bilinear")
        x = F.adaptive_avg_pool2d(x, (7, 5))
        return F.relu(x + x.mean(3, keepdim=True))


def test_windows_that_do_not_slide_are_found_one_by_one():
    """Where a call's window is not linear in the place, no guess is made."""
    net = deconvnet.DeconvNet(Bent())
    recording = net.record(torch.randn(1, 2, 23, 29))
    tape, value = recording.tape, recording.value("relu")
    places = [(row, col) for row in range(7) for col in range(5)]
    assert unit_windows(tape, value, places) == [tape.pixel_window(value, Window(*place, 1, 1)) for place in places]


def test_memory_bounds_the_batch():
    """`memory` sets what a batch may take; without it a fair share of what is free, and never more than is fast."""
    assert batch_bytes(CPU, memory=AT_ONCE * 1000) == 1000
    assert batch_bytes(CPU, memory=1) == 1
    assert batch_bytes(CPU, memory=2**50) == BATCH_BYTES["cpu"]
    assert 0 < batch_bytes(CPU) <= BATCH_BYTES["cpu"]
    assert free_bytes(CPU) > 2**20


def test_little_memory_gives_the_same_projections(tiny):
    """Batches of one unit are slower, not different."""
    net = deconvnet.DeconvNet(tiny)
    recording = net.record(torch.randn(1, 3, 64, 64), layers=["features.8"])
    much, little = (net.project(recording, "features.8", top=12, memory=memory).pixels for memory in (None, 1))
    assert relative(little, much) < 1e-5
    with pytest.raises(deconvnet.DeconvnetError, match=r"^memory cannot be 0: it is a number of bytes, 1 or more\.$"):
        net.project(recording, "features.8", memory=0)


@pytest.mark.parametrize(("name", "layer"), [("alexnet", "features.11"), ("alexnet", "features.5"), ("resnet18", "layer2")])
def test_a_map_takes_the_filters_of_its_channel_alone(name, layer):
    """Leaving out the filters of channels that carry nothing changes nothing: maps add up to the signal of all of them."""
    net = deconvnet.DeconvNet(stirred(name))
    recording = net.record(torch.randn(1, 3, 96, 101))
    value = recording.value(layer)
    signal = torch.rand(recording.tape.shapes[value])
    table = net.rules.with_options(**rules.parse_rule("TFF"))  # no bit that looks at signs: the way down is linear
    whole = project_value(recording.tape_for(layer, table), value, signal, table, 0)
    some = torch.zeros_like(signal).repeat(signal.shape[1] // 8, 1, 1, 1)
    for number in range(len(some)):
        some[number, 8 * number : 8 * number + 8] = signal[0, 8 * number : 8 * number + 8]
    parts = sum(project_value(recording.tape_for(layer, table), value, one[None], table, 0) for one in some)
    assert relative(parts, whole) < 1e-5


class Counted(rules.Conv):
    """A user's convolution that weighs its filters anew: it mirrors as its parent does."""

    def run(self, call, input, weight, bias=None, *args):
        """Make the call as it is."""
        return super().run(call, input, weight, bias, *args)


class CountedReLU(rules.ReLU):
    """A user's rectifier with a name of its own."""


def counted_calls(monkeypatch, net, recording, layer):
    """Project twelve units twice; return how often, and on how many values, each rule's work was done."""
    work = Counter()
    for kind, name in (
        (rules.Conv, "mirror"),
        (rules.Conv, "mirror_rectified"),
        (rules.Conv, "mirror_position"),
        (rules.Conv, "scaled"),
        (ReLU, "mirror"),
        (ReLU, "mirror_inplace"),
        (BatchNorm, "mirror"),
        (BatchNorm, "mirror_inplace"),
    ):
        real, key = getattr(kind, name), f"{kind.__name__}.{name}"

        def watched(rule, saved, signal, real=real, key=key):
            work[key] += 1
            work[f"{key}, values"] += signal.numel()
            return real(rule, saved, signal)

        monkeypatch.setattr(kind, name, watched)
    for _ in range(2):
        net.project(recording, layer, top=12)
    monkeypatch.undo()
    return work


@pytest.mark.parametrize(("name", "layer"), [("vgg11_bn", "features.21"), ("resnet18", "layer2"), ("alexnet", "features.11")])
def test_a_subclass_is_as_fast_as_its_parent(name, layer, monkeypatch):
    """A user's subclass of Conv and of ReLU is windowed and fused as the originals are: the same calls on as many values."""
    model, images = stirred(name), torch.randn(1, 3, 96, 107)
    own = rules.replace(conv2d=Counted(), relu=CountedReLU())
    counts, pixels = [], []
    for table in (rules.DEFAULT, own):
        net = deconvnet.DeconvNet(model, rules=table)
        recording = net.record(images)
        counts.append(counted_calls(monkeypatch, net, recording, layer))
        pixels.append(net.project(recording, layer, top=12).pixels)
    assert counts[0] == counts[1]
    assert counts[0]["Conv.mirror_rectified"] > 0  # rectifiers were fused
    assert counts[0]["BatchNorm.mirror"] == 0
    assert torch.equal(*pixels)


class Doubled(rules.Conv):
    """A convolution with a mirror of its own: nothing may be fused into it that it does not promise."""

    def mirror(self, saved, signal):
        """Twice what its parent sends down."""
        return 2 * super().mirror(saved, signal.clamp(min=-1))


def test_a_mirror_of_ones_own_withdraws_the_promises():
    """What a parent promises of its mirror does not hold for another one, unless the subclass says so itself."""
    assert rules.Conv().can_rectify()
    assert not Doubled().can_rectify()
    assert not Halved().rectifies()
    assert Counted().can_rectify()
    assert CountedReLU().rectifies()
    model = stirred("vgg11_bn")
    net = deconvnet.DeconvNet(model, rules=rules.replace(conv2d=Doubled()))
    recording = net.record(torch.randn(1, 3, 64, 64))
    value = recording.value("features.13")
    signals = torch.randn(FOLD_FROM, *recording.tape.shapes[value][1:])
    alone = [project_value(recording.tape, value, signal[None], net.rules, 0) for signal in signals]
    together = project_value(recording.tape, value, signals, net.rules, 0)
    assert relative(together, torch.cat(alone)) < 1e-5
    projected = net.project(recording, "features.13", top=4)
    _, full = project_units(recording, "features.13", projected.units, net.rules, windowed=False)
    _, parts = project_units(recording, "features.13", projected.units, net.rules)
    for part, whole in zip(parts, full, strict=True):
        assert relative(part, whole) < 1e-5
