"""A scan's table on a device, by the same code on a CPU; what it computes with; and the thread that commits."""

from __future__ import annotations

import sqlite3
import threading
import warnings
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import deconvnet
from deconvnet.errors import DeconvnetWarning, OptionError, StoreError
from deconvnet.projection import fetch
from deconvnet.scanning import examples, run
from deconvnet.scanning.best import Committing
from deconvnet.scanning.device_table import DeviceTable
from deconvnet.scanning.engine import ShardResult
from deconvnet.scanning.engine_local import LocalEngine
from deconvnet.scanning.maxima import Maxima, MaximaReducer
from deconvnet.scanning.pictures import collate, prepare
from deconvnet.scanning.precision import computing
from deconvnet.scanning.topk import TopK
from support.scans import drawing, drawings, dump, rows


@pytest.fixture(autouse=True)
def one_thread():
    """Let torch compute with one thread, as a scan does on a CPU: with more, the last digits may differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


TABLES = ("layers", "pictures", "shards", "hits", "channels", "digests")
VALUES = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0**-24, float("nan"), float("inf"), float("-inf"), 3e38)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    drawings(folder, 23)
    (folder / "05.png").write_bytes(b"no picture")
    (folder / "30.png").write_bytes((folder / "03.png").read_bytes())  # a tie on every channel
    return folder


class Given:
    """A reducer whose maxima are given: a batch of images is the number of the batch."""

    device, layers = torch.device("cpu"), ()

    def __init__(self, batches):
        self.batches, self.channels = batches, batches[0][0].shape[1]

    def tensors(self, images):
        scores, positions = self.batches[int(images)]
        return torch.from_numpy(scores), torch.from_numpy(positions)


@st.composite
def shards(draw):
    """Batches of scores and positions: few different values, so that most are ties."""
    channels, seed = draw(st.integers(1, 5)), draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    return [
        (chance.choice(np.array(VALUES, np.float32), (size, channels)), chance.integers(0, 50, (size, channels)))
        for size in sizes
    ]


@settings(max_examples=200, deadline=None)
@given(shards(), st.integers(1, 7))
def test_the_table_on_a_device_is_that_of_numpy(batches, top):
    """Ties, NaN, infinities, negative zeros, gaps in the numbers: entries and counts are those of the CPU's table."""
    given_maxima, number = Given(batches), 100
    table, twin = DeviceTable(given_maxima, top), ShardResult.empty(3, given_maxima.channels, top)
    for index, (scores, positions) in enumerate(batches):
        numbers = [number + 2 * offset for offset in range(len(scores))]
        number = numbers[-1] + 1
        table.add(torch.tensor(index), numbers)
        plain = np.where(np.isnan(scores), -np.inf, scores).astype(np.float32)
        twin.add(Maxima(plain, positions.astype(np.int32)), numbers)
    result = table.result(3)
    for name in ("scores", "pictures", "positions"):
        assert np.array_equal(getattr(result.top, name), getattr(twin.top, name)), name
    assert np.array_equal(result.fired, twin.fired)
    assert np.array_equal(result.total, twin.total)
    assert (result.shard, result.readable) == (3, twin.readable)
    assert [values.dtype for values in vars(result.top).values()] == [
        values.dtype for values in vars(TopK.empty(1, 1)).values()
    ]


@pytest.mark.parametrize("options", [{}, {"inside": True}, {"batch": 1}, {"top": 3}], ids=str)
def test_a_scan_on_a_device_gives_the_same_bytes(net, photos, tmp_path, monkeypatch, options):
    """The whole scan by the device's code gives the CPU's table, byte for byte: unreadable pictures, ties and added ones too."""
    for name, on_device in (("host", False), ("device", True)):
        monkeypatch.setattr(MaximaReducer, "is_on_device", on_device)
        for limit in (13, None):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                deconvnet.scan(net, photos, tmp_path / name, shard=7, limit=limit, **options).close()
    assert dump(tmp_path / "host", *TABLES) == dump(tmp_path / "device", *TABLES)


class Overflowing(nn.Module):
    """Its second channel is NaN on bright pictures."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        bright = x.mean((1, 2, 3), keepdim=True) > 0.5
        return self.relu(torch.cat([x[:, :1], torch.where(bright, torch.nan, 1.0) * x[:, 1:2]], 1))


def test_a_nan_on_a_device_is_named(tmp_path, monkeypatch):
    """Maps with a NaN count as not firing, and a line names their layer, as on a CPU."""
    images = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.2, 2, 8)[:, None, None, None]
    for name, on_device in (("host", False), ("device", True)):
        monkeypatch.setattr(MaximaReducer, "is_on_device", on_device)
        text = "^layer 'relu' has maps whose maximum is NaN: they count as not firing. Look for what overflows.$"
        with pytest.warns(DeconvnetWarning, match=text):
            deconvnet.scan(deconvnet.DeconvNet(Overflowing()), images, tmp_path / name, layers=["relu"]).close()
    assert dump(tmp_path / "host", *TABLES) == dump(tmp_path / "device", *TABLES)
    fired = rows(tmp_path / "device", "select fired from channels order by channel")
    assert fired[0] == (8,)
    assert 0 < fired[1][0] < 8


def test_batches_are_normalised_by_division(net):
    """A batch of pixels is that of the preprocessing, picture by picture, to the bit."""
    preprocess = net.preprocess
    pixels = [prepare(drawing(seed), preprocess) for seed in range(3)]
    assert torch.equal(collate(pixels, preprocess), torch.stack([preprocess(drawing(seed)) for seed in range(3)]))


# What it computes with


def test_bfloat16_is_kept_and_close(net, photos, tmp_path):
    """A scan in bfloat16 says so in its settings, is not continued in another precision, and is near the one in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exact = deconvnet.scan(net, photos, tmp_path / "exact", layers=["features.4"])
        rough = deconvnet.scan(net, photos, tmp_path / "rough", layers=["features.4"], precision="bf16")
    assert "precision" not in exact.settings
    assert rough.settings["precision"] == "bf16"
    tops = [scan.statistics("features.4")["maximum"] for scan in (exact, rough)]
    assert not np.array_equal(*tops)
    assert np.allclose(*tops, rtol=0.1)
    for path, asked, found, given_ in (
        (tmp_path / "rough", "fp32", '"bf16"', '"fp32"'),
        (tmp_path / "exact", "bf16", '"fp32"', '"bf16"'),
    ):
        with pytest.raises(StoreError) as caught:
            deconvnet.scan(net, photos, path, layers=["features.4"], precision=asked)
        text = f"was scanned with other settings: precision {found}, not {given_}. Give the same ones, or choose another name."
        assert str(caught.value) == f"{str(path)!r} {text}"
    plate = rough.plate("features.4", channels=[0, 1])
    assert sum(len(examples) for _, examples in plate.examples()) == 18
    assert not plate.changed


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        ("double", "precision cannot be 'double': it is one of fp32, tf32, bf16."),
        ("tf32", "precision cannot be 'tf32' on cpu: only NVIDIA's GPUs have it. Choose fp32 or bf16."),
    ],
)
def test_other_precisions_are_refused(net, photos, tmp_path, precision, text):
    """Precisions have three names, one of which is a GPU's."""
    with pytest.raises(OptionError) as caught:
        deconvnet.scan(net, photos, tmp_path / "net.scan", precision=precision)
    assert str(caught.value) == text
    assert not (tmp_path / "net.scan").exists()


def test_a_precision_that_no_scan_has(net, photos, tmp_path):
    """A file that names another precision is no scan's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deconvnet.scan(net, photos, tmp_path / "net.scan", layers=["features.1"], precision="bf16").close()
    base = sqlite3.connect(tmp_path / "net.scan")
    base.execute("""update settings set json_text = '"fp8"' where name = 'precision'""")
    base.commit()
    base.close()
    with pytest.raises(StoreError) as caught:
        deconvnet.Scan.open(tmp_path / "net.scan")
    text = f"{str(tmp_path / 'net.scan')!r} has no usable setting 'precision'. Get a fresh copy, or scan again."
    assert str(caught.value) == text


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_torch_s_own_switches_come_back(precision):
    """Whatever a user has set torch's switches of TF32 to, they are ours inside the block, and the user's behind it."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    is_new = hasattr(cudnn, "conv")
    name, on, off = ("fp32_precision", "tf32", "ieee") if is_new else ("allow_tf32", True, False)
    places = (cuda, cudnn.conv, cudnn.rnn) if is_new else (cuda, cudnn)
    before = [getattr(place, name) for place in places]
    expected = on if precision == "tf32" else off

    def look_and_stop() -> None:
        with computing(precision, torch.device("cuda")):
            assert [getattr(place, name) for place in places] == [expected] * len(places)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        look_and_stop()
    assert [getattr(place, name) for place in places] == before


# Plates


@pytest.mark.parametrize("count", [11, 64])
def test_plates_are_the_same_whatever_is_recorded_at_once(net, photos, tmp_path, monkeypatch, count):
    """As many pictures at once as a GPU takes: the same examples up to rounding, each compared with the same other picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan = deconvnet.scan(net, photos, tmp_path / "net.scan", layers=["features.4"], top=5)
    plates = []
    for batch in (8, count):
        monkeypatch.setitem(examples.RECORD_BATCH, "cpu", batch)
        plates.append(dict(scan.plate("features.4", channels=range(12)).examples()))
    assert plates[0].keys() == plates[1].keys()
    for few, many in zip(*(chain.from_iterable(plate.values()) for plate in plates), strict=True):
        assert few.hit == many.hit
        assert few.box == many.box
        assert np.allclose(few.example.projection, many.example.projection, rtol=1e-4, atol=1e-5)
        if count % examples.OWN_GROUP == 0:
            assert (few.own is None) == (many.own is None)
            assert few.own is None or abs(few.own - many.own) < 1e-3


def test_parts_come_from_a_device_in_one_transfer(monkeypatch):
    """Parts of several sizes, views among them, are fetched at once, each as it was."""
    pixels = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    parts = [pixels[0], pixels[1, :, 1:3, 2:5], pixels[2, :, :0]]

    class OnDevice(torch.Tensor):
        device = torch.device("cuda")

    moved = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: moved.append(self.shape) or self)
    fetched = fetch([part.as_subclass(OnDevice) for part in parts])
    assert len(moved) == 1
    assert all(torch.equal(a, b) for a, b in zip(fetched, parts, strict=True))


# Several GPUs


def made_engine(**options):
    given = dict.fromkeys(("workers", "readers", "gpus", "address", "gpus_per_worker", "cpus_per_worker"))
    return run._make_engine(options.pop("engine", "local"), **{**given, **options})


def test_each_gpu_has_a_process(monkeypatch):
    """Several of this machine's GPUs are workers of a Ray of this machine's own, with one each; one is this process."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    for gpus, count in (("all", 4), (2, 2)):
        engine = made_engine(gpus=gpus)
        assert (engine.address, engine.workers, engine.gpus) == ("local", count, 1)
    assert made_engine(gpus=1, workers=7) == LocalEngine(7)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"gpus": 5}, "gpus cannot be 5: torch sees 4 on this machine. Ask for as many, or leave it out."),
        ({"gpus": 0}, "gpus cannot be 0: torch sees 4 on this machine. Ask for as many, or leave it out."),
        (
            {"gpus": 2, "engine": "ray"},
            "gpus is for scans on this machine, this one is on Ray. Leave it out, or take the engine 'local'.",
        ),
        (
            {"gpus": 2, "readers": "threads"},
            "readers is for scans by this process, this one is on Ray. Leave it out, or take the engine 'local'.",
        ),
    ],
)
def test_gpus_that_are_not_there(monkeypatch, options, text):
    """More GPUs than there are, or on machines of a cluster, are refused in a line."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(OptionError) as caught:
        made_engine(**options)
    assert str(caught.value) == text


# The thread that commits


def test_the_next_shard_runs_while_one_is_committed():
    """A commit does not hold up what comes after it; a second one waits for the first, and leaving waits for the last."""
    seen, may_end = [], threading.Event()

    def commit(number):
        may_end.wait(10)
        seen.append(number)

    with Committing(commit) as commit_beside:
        commit_beside(1)
        assert not seen  # it is running, and we are here
        may_end.set()
        commit_beside(2)
        assert seen[0] == 1
    assert seen == [1, 2]


def test_an_error_of_a_commit_is_raised():
    """What a commit raises comes out at the next result, or at the end; an error of the block goes first."""

    def commit(number):
        raise StoreError(f"no room for {number}")

    def run_all(*numbers, stop=False):
        with Committing(commit) as commit_beside:
            for number in numbers:
                commit_beside(number)
            if stop:
                raise KeyboardInterrupt

    for numbers in ((1,), (1, 2)):
        with pytest.raises(StoreError) as caught:
            run_all(*numbers)
        assert str(caught.value) == "no room for 1"
    with pytest.raises(KeyboardInterrupt):
        run_all(1, stop=True)


def test_what_was_run_is_committed_when_a_scan_is_stopped(net, photos, tmp_path):
    """An error in a later shard loses none before it, although they are committed beside it."""

    class Stopping(LocalEngine):
        def run(self, job, shards, **options):
            for number, result in enumerate(super().run(job, shards, **options)):
                if number == 2:
                    raise RuntimeError("stop")
                yield result

    with pytest.raises(RuntimeError, match="stop"):
        deconvnet.scan(net, photos, tmp_path / "net.scan", layers=["features.1"], shard=7, engine=Stopping())
    assert rows(tmp_path / "net.scan", "select done from shards order by shard") == [(1,), (1,), (0,), (0,)]
