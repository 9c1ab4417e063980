"""Copies of a net that run batches of a scan side by side: the same table, and a net that cannot be copied runs alone."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch
from torch import nn
from torch._dynamo import eval_frame

import deconvnet
from deconvnet.errors import ModelError
from deconvnet.model_state import run_uncompiled
from deconvnet.scanning import engine_local
from deconvnet.scanning.maxima import MaximaReducer, scanned_layers
from deconvnet.scanning.replicas import MOST_REPLICAS, Replicas
from support.scans import dump

TABLES = ("layers", "pictures", "shards", "hits", "channels", "digests")


@pytest.fixture(autouse=True)
def own_threads():
    """Each test may set the number of torch's threads."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


class Plain(nn.Module):
    """A net of modules, with a buffer that its forward counts in."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.deep = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += len(x)
        return self.deep(self.relu(self.conv(x)) * self.seen).relu()


class Writing(Plain):
    """Writes to a weight in each forward pass."""

    @torch.no_grad()
    def forward(self, x):
        self.conv.weight.mul_(1.1)
        return super().forward(x)


class Drawing(Plain):
    """Draws random numbers, on which no layer hangs."""

    def forward(self, x):
        torch.rand(3)
        return super().forward(x)


class Uncopied(Plain):
    """Refuses to be copied."""

    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


class Closed(Plain):
    """Its forward is a closure, and a copy's leads back to the original."""

    def __init__(self):
        super().__init__()
        self.forward = lambda x: Plain.forward(self, x)


class Partly(Plain):
    """A part of its forward leads back to the original's: the hooks are the copy's, but what it calls is not."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Identity()
        self.part = [lambda x: self.inner(x)]

    def forward(self, x):
        return super().forward(self.part[0](x))


def reducer_of(model):
    net = deconvnet.DeconvNet(model.eval())
    recording = net.record_zeros((3, 9, 9))
    layers = scanned_layers(recording, [name for name in recording.records() if name not in ("mul", "add_", "inner")])
    return MaximaReducer(net, layers, (3, 9, 9), recording.written, draws=recording.draws)


@pytest.mark.parametrize(
    ("kind", "count"),
    [(Plain, 4), (Writing, 1), (Drawing, 1), (Uncopied, 1), (Closed, 1), (Partly, 1)],
)
def test_nets_that_cannot_be_copied_run_alone(kind, count):
    """A copy has the very weights and buffers of its own; what writes, draws, or cannot be copied has none."""
    torch.manual_seed(0)
    torch.set_num_threads(4)
    reducer = reducer_of(kind())
    with Replicas(reducer, None) as replicas:
        assert len(replicas.reducers) == count
        assert replicas.reducers[0] is reducer
        for copied in replicas.reducers[1:]:
            assert copied.net.model.conv.weight is reducer.net.model.conv.weight
            assert copied.net.model.seen is not reducer.net.model.seen
            assert copied.engine.model is copied.net.model is copied.net.loaded.model


@pytest.mark.parametrize("kind", [Plain, Writing, Drawing, Uncopied, Closed, Partly])
def test_side_by_side_gives_the_table_of_one_after_the_other(kind, tmp_path):
    """Whatever the net, and however many run at once: the same bytes, and the net and torch's threads as they were."""
    torch.manual_seed(0)
    net, images = deconvnet.DeconvNet(kind().eval()), torch.randn(40, 3, 9, 9)
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        deconvnet.scan(net, images, tmp_path / f"{threads}", layers=["relu", "deep"], shard=11, batch=2).close()
        assert torch.get_num_threads() == threads
        assert later_threads() == threads
    assert dump(tmp_path / "1", *TABLES) == dump(tmp_path / "2", *TABLES) == dump(tmp_path / "5", *TABLES)
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())


def later_threads():
    """Return with how many threads torch computes in a thread that starts now."""
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize(("threads", "count", "each"), [(1, 1, 1), (2, 2, 1), (8, 8, 1), (9, 4, 2), (16, 8, 2), (64, 8, 8)])
def test_cores_are_shared_out(threads, count, each, monkeypatch):
    """Up to eight batches at once, each on as many cores as there are for it."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)  # which a small machine has not
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    with Replicas(reducer_of(Plain()), None) as replicas:
        assert (len(replicas.reducers), replicas.cores) == (count, each)
    assert count <= MOST_REPLICAS


def test_batches_run_at_once(tmp_path, monkeypatch):
    """Two passes meet: each waits in its forward for the other."""
    torch.set_num_threads(2)
    meeting, original = threading.Barrier(2), Plain.forward

    def forward(self, x):
        if threading.current_thread().name.startswith("net") and len(x) == 2:
            meeting.wait(timeout=30)
        return original(self, x)

    monkeypatch.setattr(Plain, "forward", forward)
    net = deconvnet.DeconvNet(Plain().eval())
    deconvnet.scan(net, torch.randn(8, 3, 9, 9), tmp_path / "scan", layers=["relu"], batch=2).close()


def test_an_error_in_one_of_them_ends_the_scan(tmp_path, monkeypatch):
    """The error is the scan's; torch's threads are given back, and the net's hooks removed."""
    torch.set_num_threads(2)
    original = Plain.forward

    def forward(self, x):
        if x.max() > 50:
            raise ValueError("too bright")
        return original(self, x)

    monkeypatch.setattr(Plain, "forward", forward)
    net, images = deconvnet.DeconvNet(Plain().eval()), torch.randn(8, 3, 9, 9)
    images[5] = 99
    with pytest.raises(ModelError, match="too bright"):
        deconvnet.scan(net, images, tmp_path / "scan", layers=["relu"], batch=2)
    assert torch.get_num_threads() == later_threads() == 2
    assert not any(module._forward_hooks for module in net.model.modules())


def test_ctrl_c_while_copies_are_made_gives_the_threads_back(monkeypatch):
    """Stopped before the first batch, torch computes with as many threads as before, in later threads, too."""
    torch.set_num_threads(2)

    def stop(reducer, count):
        raise KeyboardInterrupt

    monkeypatch.setattr("deconvnet.scanning.replicas._copies", stop)
    with pytest.raises(KeyboardInterrupt):
        Replicas(reducer_of(Plain()), None)
    assert torch.get_num_threads() == later_threads() == 2


def test_a_net_that_is_partly_compiled_runs_as_written(tmp_path):
    """Torch's stance is one for all threads: passes that overlap leave it as it was, whichever ends first."""
    assert eval_frame._stance.stance == "default"
    first, second = run_uncompiled(), run_uncompiled()
    first.__enter__()
    second.__enter__()
    assert eval_frame._stance.stance == "force_eager"
    first.__exit__(None, None, None)
    assert eval_frame._stance.stance == "force_eager"
    second.__exit__(None, None, None)
    assert eval_frame._stance.stance == "default"
    torch.set_num_threads(2)
    model = Plain().eval()
    plain, images = deconvnet.DeconvNet(model), torch.randn(20, 3, 9, 9)
    deconvnet.scan(plain, images, tmp_path / "plain", layers=["relu"]).close()
    model.relu.compile()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deconvnet.scan(plain, images, tmp_path / "compiled", layers=["relu"]).close()
    assert dump(tmp_path / "plain", *TABLES) == dump(tmp_path / "compiled", *TABLES)
    assert eval_frame._stance.stance == "default"


def test_as_many_pictures_are_held_as_are_at_work():
    """Batches are taken as they can be used: one waits for each that is computed, and no more."""
    torch.set_num_threads(2)
    taken = []

    def batches():
        for number in range(20):
            taken.append(number)
            yield engine_local.Batch([], [], None, 1)

    with Replicas(reducer_of(Plain()), None) as replicas:
        for done, _ in enumerate(replicas.run(batches()), 1):
            assert len(taken) <= done + 2
