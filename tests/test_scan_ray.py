"""A scan on a real Ray cluster of two nodes on this machine: the same bytes as the local engine, whoever dies."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scans import drawings, dump, rows

import deconvnet
from deconvnet.errors import EngineError, OptionError

pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")

from deconvnet.scan import engine_ray  # noqa: E402
from deconvnet.scan.arrow import pack, size_of, unpack  # noqa: E402
from deconvnet.scan.engine import Found  # noqa: E402
from deconvnet.scan.topk import NOBODY, Top  # noqa: E402

TABLES = ("top", "channels", "pictures", "shards")
LAYERS = {"tiny": ["features.1", "features.13"], "torchvision:squeezenet1_0": ["features.1", "features.5"]}
OPTIONS = {"shard": 25, "batch": 8}
STORE = 80 * 2**20  # bytes of shared memory a node: little, as in a container


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, each with processes and an object store of its own; the first is the head."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # what others on the machine hold is not Ray's business here
    node = {"num_cpus": 1, "object_store_memory": STORE}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.add_node(**node)
    yield made
    made.shutdown()


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """A worker on one core computes with one thread; with another number the last digits of a float may differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def asked(request, tmp_path_factory):
    """(model, weights, folder): the real SqueezeNet and 500 photographs, where they are absent `tiny` and 200 drawings."""
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        folder = tmp_path_factory.mktemp("drawings")
        drawings(folder, 200)
        return "tiny", "DEFAULT", folder
    return "torchvision:squeezenet1_0", str(shared / "weights/squeezenet1_0.safetensors"), shared / "images/imagenet-sample"


@pytest.fixture(scope="module")
def net(asked):
    return deconvnet.DeconvNet(deconvnet.load_model(asked[0], weights=asked[1]))


@pytest.fixture(scope="module")
def local(asked, net, tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "a.scan"
    deconvnet.scan(net, asked[2], path, layers=LAYERS[asked[0]], **OPTIONS)
    return dump(path, *TABLES)


@pytest.fixture(scope="module")
def tiny_net(tiny):
    return deconvnet.DeconvNet(tiny)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return drawings(tmp_path_factory.mktemp("few"), 12)


def scan_few(net, pictures, path, **options):
    return deconvnet.scan(net, pictures, path, **{"layers": ["features.5"], "shard": 3, "batch": 2, **options})


# The same table


def test_the_same_bytes_as_the_local_engine(cluster, asked, net, local, tmp_path):
    """500 photographs on two nodes: every table equals the local engine's, byte for byte; Ray is let go afterwards."""
    options = {"engine": "ray", "address": cluster.address, **OPTIONS}
    scan = deconvnet.scan(net, asked[2], tmp_path / "a.scan", layers=LAYERS[asked[0]], **options)
    assert dump(scan.path, *TABLES) == local
    assert not ray.is_initialized()


def start(asked, path: Path, address: str) -> subprocess.Popen[str]:
    """Start the command as people do."""
    model, weights, folder = asked
    layers = [word for layer in LAYERS[model] for word in ("--layer", layer)]
    options = [f"--{name}={value}" for name, value in OPTIONS.items()]
    command = ["scan", str(folder), "--model", model, "--weights", weights, "--device", "cpu", *layers, *options, "--out", str(path)]
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "deconvnet", *command, "--engine", "ray", "--address", address]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_shards(process: subprocess.Popen[str], path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not rows(path, "select 1 from sqlite_master where name = 'channels'") or done(path) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def done(path: Path) -> int:
    return rows(path, "select count(*) from shards where done")[0][0]


def test_the_driver_is_killed_and_goes_on(cluster, asked, local, tmp_path):
    """kill -9 on the command: whole shards are kept; the same command ends in the same bytes. stdout has the file's name only."""
    path = tmp_path / "a.scan"
    process = start(asked, path, cluster.address)
    wait_for_shards(process, path, 2)
    process.kill()
    process.communicate()
    kept = done(path)
    total = rows(path, "select count(*) from shards")[0][0]
    assert process.returncode == -signal.SIGKILL
    assert 2 <= kept < total
    again = start(asked, path, cluster.address)
    out, err = again.communicate(timeout=150)
    assert again.returncode == 0, err
    assert out == f"{path}\n"
    assert re.match(r"\d+ of \d+ pictures, 2 layers, \d+ channels: ", err.replace("\r", "\n").splitlines()[-5]), err
    assert not re.search(r"(?i)ray|warning|\bE \d", err.replace(str(path), "")), err
    assert dump(path, *TABLES) == local


def test_a_node_is_killed_in_the_middle(cluster, asked, net, local, tmp_path, monkeypatch):
    """Where a machine goes with all that it had done and not sent, the others do it again, once: the same bytes."""
    node, killed, commit = cluster.add_node(num_cpus=1, object_store_memory=STORE), [], engine_ray.unpack

    def unpacking(packed):
        found = commit(packed)
        if not killed:
            killed.append(node)
            cluster.remove_node(node, allow_graceful=False)
        return found

    monkeypatch.setattr(engine_ray, "unpack", unpacking)
    options = {"engine": "ray", "address": cluster.address, "workers": 3, **OPTIONS}
    scan = deconvnet.scan(net, asked[2], tmp_path / "a.scan", layers=LAYERS[asked[0]], **options)
    assert killed
    assert dump(scan.path, *TABLES) == local


# Workers that die, pictures that cannot be read: tiny on a few drawings


class Deadly:
    """A preprocessing that kills its process at one picture, the first `times`."""

    def __init__(self, preprocess, name: str, notes: Path, times: int) -> None:
        self.preprocess, self.name, self.notes, self.times = preprocess, name, notes, times

    def __call__(self, picture):
        if self.preprocess(picture).sum() == self.name and len(list(self.notes.iterdir())) < self.times:
            (self.notes / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.preprocess(picture)
