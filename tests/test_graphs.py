"""Ways down as graphs, on a stand-in for CUDA's: the same bytes as without, and where that fails, plainly."""

from __future__ import annotations

import functools
import threading

import pytest
import torch
import torchvision

import deconvnet
from deconvnet import graphs, mirror
from deconvnet.graphs import CHECKS, MOST_GRAPHS, PLAIN_WAYS, WayGraphs
from deconvnet.mirror import project_value
from support import kernels
from support.nets import randomise_norms

NETS = {
    "squeezenet1_1": "features.7",
    "resnet18": "layer3",
    "googlenet": "inception4a",
    "densenet121": "features.denseblock1",
    "mobilenet_v3_small": "features.5",
    "convnext_tiny": "features.3.1",
    "efficientnet_b0": "features.3",
    "shufflenet_v2_x0_5": "stage3",
}


@pytest.fixture
def captures(monkeypatch):
    """Let the CPU have graphs, those of the stand-in; return a list that has an entry for each that was captured."""
    taken = []

    def capture(way, signal):
        taken.append(signal.shape)
        return kernels.capture(way, signal)

    monkeypatch.setattr(graphs, "capture", capture)
    monkeypatch.setattr("deconvnet.recording.graphs_are_possible", lambda device: True)
    monkeypatch.setattr(mirror, "nonzero_channels", lambda signal: None)  # as on a GPU, which would have to be waited for
    return taken


@functools.cache
def model_of(name):
    torch.manual_seed(0)
    weights = {"init_weights": False} if name == "googlenet" else {}
    return randomise_norms(torchvision.models.get_model(name, weights=None, **weights))


def net_of(name, **options):
    return deconvnet.DeconvNet(model_of(name), **options)


@pytest.mark.parametrize(
    ("name", "rule"),
    [*((name, "deconvnet") for name in NETS), *(("squeezenet1_1", rule) for rule in ("guided", "gradient", "FFT"))],
)
def test_the_same_bytes_as_without(name, rule, captures):
    """Kernels that were written down once give each further map what the plain way gives it, to the bit."""
    net = net_of(name, graphs=True)
    recording, layer = net.record(torch.randn(1, 3, 75, 64), layers=[NETS[name]]), NETS[name]
    calls = [{"channels": [channel], "at": "map", "rule": rule} for channel in range(6)]
    found = [net.project(recording, layer, **call).pixels for call in calls]
    assert len(captures) == 1
    (known,) = recording.tape_for(layer, net.table(rule)).cache.graphs._ways.values()
    assert (known.plain, known.checked, known.failed) == (PLAIN_WAYS, CHECKS, False)
    plain = net_of(name)
    expected = [plain.project(plain.record(recording.images, layers=[layer]), layer, **call).pixels for call in calls]
    again = plain.record(recording.images, layers=[layer])
    fused = [plain.project(again, layer, **call).pixels for call in calls]  # the first way folds no norms: last digits differ
    assert [torch.equal(*pair) for pair in zip(found, fused, strict=True)] == [True] * 6
    assert found[-1].any()
    assert all(
        torch.allclose(*pair, rtol=1e-3, atol=1e-5 * float(pair[1].abs().max())) for pair in zip(found, expected, strict=True)
    )


def test_ways_are_told_apart(captures):
    """Another layer, rule, number of maps, picture or arithmetic has a graph of its own, or goes plainly."""
    net, plain = net_of("squeezenet1_1", graphs=True), net_of("squeezenet1_1")
    images = torch.randn(2, 3, 64, 64)
    recordings = net.record(images), plain.record(images)
    for layer, options in [
        ("features.4", {"channels": [1], "at": "map", "image": 0}),
        ("features.4", {"channels": [1], "at": "map", "image": 1}),
        ("features.4", {"channels": [1, 2], "at": "map", "image": 0}),
        ("features.4", {"channels": [1], "at": "map", "image": 0, "rule": "guided"}),
        ("features.4", {"channels": [1], "at": "map", "image": 0, "silent": "first"}),
        ("features.8", {"channels": [1], "at": "map", "image": 0}),
    ]:
        for _ in range(6):
            found, expected = (
                each.project(recording, layer, **options).pixels
                for each, recording in zip((net, plain), recordings, strict=True)
            )
            assert torch.equal(found, expected)
    assert len(captures) == 6


def test_switches_of_torch_are_part_of_the_way(captures):
    """Kernels that torch chose with other switches are not used."""
    net = net_of("squeezenet1_1", graphs=True)
    recording = net.record(torch.randn(1, 3, 64, 64))
    for _ in range(5):
        net.project(recording, "features.4", channels=[1], at="map")
    assert len(captures) == 1
    torch.use_deterministic_algorithms(True)
    try:
        net.project(recording, "features.4", channels=[1], at="map")
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(recording.tape.cache.graphs._ways) == 2


def test_what_was_given_stays(captures):
    """A projection is the caller's own: the next replay does not write over it, nor over the caller's signal."""
    net = net_of("resnet18", graphs=True)
    recording = net.record(torch.randn(1, 3, 64, 64))
    tape, value = recording.tape_for("layer2", net.rules), recording.value("layer2")
    signals = [torch.randn(1, *tape.shapes[value][1:]) for _ in range(7)]
    before = [signal.clone() for signal in signals]
    pixels = [project_value(tape, value, signal, net.rules, 0) for signal in signals]
    assert all(torch.equal(*pair) for pair in zip(signals, before, strict=True))
    again = [project_value(tape, value, signal, net.rules, 0) for signal in signals]
    # the first two ways fold no norms yet, or look no filters up: their last digits may differ
    assert all(torch.equal(*pair) for pair in zip(pixels[PLAIN_WAYS:], again[PLAIN_WAYS:], strict=True))


class Way:
    """A way down that counts how often it is gone plainly."""

    def __init__(self, function):
        self.function, self.gone = function, 0

    def __call__(self, signal):
        self.gone += 1
        return self.function(signal)


def test_a_way_that_waits_for_the_device_goes_plainly(captures):
    """What a graph refuses is tried once; the answers are right each time."""
    way, known = Way(lambda signal: signal * float(signal.sum())), WayGraphs()
    for number in range(8):
        assert torch.equal(known.run("way", way, torch.full((2,), number + 1.0)), torch.full((2,), 2.0 * (number + 1) ** 2))
    assert len(captures) == 1
    assert way.gone == 8 + 1  # once more in the attempt


def test_a_way_that_python_decides_goes_plainly(captures):
    """A graph keeps what Python decided when it was captured; that the next signal is decided otherwise is noticed."""
    way, known = Way(lambda signal: signal * way.gone), WayGraphs()
    for _ in range(10):
        found = known.run("way", way, torch.ones(2))
        assert torch.equal(found, torch.ones(2) * (way.gone - (way.gone == 4)))  # the third one was gone again, to be captured
    assert len(captures) == 1
    (state,) = known._ways.values()
    assert state.failed
    assert state.graph is None


def test_a_change_that_only_the_second_signal_shows(captures):
    """One equal answer is not enough."""
    way, known = Way(lambda signal: signal * (2 if way.gone <= 4 else 3)), WayGraphs()
    answers = [float(known.run("way", way, torch.ones(1))) for _ in range(8)]
    assert answers == [2, 2, 2, 3, 3, 3, 3, 3]
    assert next(iter(known._ways.values())).failed


def test_bytes_count(captures):
    """A NaN equals itself; a zero of another sign does not."""
    assert graphs._same_bytes(torch.tensor([float("nan"), 1]), torch.tensor([float("nan"), 1]))
    assert not graphs._same_bytes(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not graphs._same_bytes(torch.zeros(2), torch.zeros(1, 2))


def test_few_graphs_are_kept(captures):
    """The graph that was used longest ago goes, and is captured again if it is asked for."""
    known, count = WayGraphs(), MOST_GRAPHS + 2
    ways = [Way(lambda signal, factor=factor: signal * factor) for factor in range(count)]

    def go(number):
        assert float(known.run(number, ways[number], torch.ones(1))) == number

    for number in range(count):
        for _ in range(PLAIN_WAYS + CHECKS + 2):
            go(number)
        assert sum(state.graph is not None for state in known._ways.values()) == min(number + 1, MOST_GRAPHS)
    assert len(captures) == count
    for _ in range(CHECKS + 1):
        go(0)
    assert len(captures) == count + 1
    gone = ways[0].gone
    go(0)
    assert ways[0].gone == gone
    assert [state.graph is not None for state in known._ways.values()] == [False, False, True, True, True, True]


def test_large_signals_and_pictures_of_many_go_plainly(captures, monkeypatch):
    """Where arithmetic takes longer than calls nothing is kept."""
    net = net_of("squeezenet1_1", graphs=True)
    recording = net.record(torch.randn(2, 3, 64, 64))
    for _ in range(6):
        net.project(recording, "features.4", channels=[1], at="map")  # of both pictures: the rows are a tensor
    monkeypatch.setattr(mirror, "MOST_BYTES", 64 * 64 * 3 * 4 - 1)
    for _ in range(6):
        net.project(recording, "features.4", channels=[1], at="map", image=0)
    assert not captures


def test_threads_share_graphs(captures):
    """Several threads that go one way get each their own answer."""
    net = net_of("squeezenet1_1", graphs=True)
    recording = net.record(torch.randn(1, 3, 64, 64))
    tape, value = recording.tape_for("features.8", net.rules), recording.value("features.8")
    signals = [torch.randn(1, *tape.shapes[value][1:]) for _ in range(4)]
    expected = [mirror._carry_down(tape, value, mirror.preferred_format(signal), net.rules, 0) for signal in signals]
    expected = [mirror._carry_down(tape, value, mirror.preferred_format(signal), net.rules, 0) for signal in signals]
    wrong = []

    def go(number):
        for _ in range(10):
            if not torch.equal(project_value(tape, value, signals[number], net.rules, 0), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(captures) == 1


def test_a_cpu_has_none():
    """Asked for on a CPU, everything is as without."""
    net, plain = net_of("squeezenet1_1", graphs=True), net_of("squeezenet1_1")
    images = torch.randn(1, 3, 64, 64)
    recording = net.record(images)
    for _ in range(4):
        pixels = net.project(recording, "features.4", top=1, at="map").pixels
    assert recording.tape.cache.graphs is None
    again = plain.record(images)
    for _ in range(4):
        expected = plain.project(again, "features.4", top=1, at="map").pixels
    assert torch.equal(pixels, expected)
    assert deconvnet.DeconvNet(net.loaded, **net.options).graphs


@pytest.mark.parametrize("name", [*NETS, "swin_t"])
def test_no_recording_waits_for_the_device(name):
    """Nor does a recording ask the device for anything on its way up, but for the state of the random numbers."""
    net, images = net_of(name), torch.randn(1, 3, 75, 64)
    net.record(images)  # what is worked out once
    with kernels.Kernels() as written:
        net.record(images)
    assert written.calls
