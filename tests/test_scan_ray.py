"""A scan on a real Ray cluster of two nodes on this machine: the same bytes as the local engine, even if workers die."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.errors import EngineError, MissingPackageError, OptionError, PictureError
from support.scans import drawings, dump, rows

pytest.importorskip("pyarrow")
ray = pytest.importorskip("ray")
pyarrow_fs = pytest.importorskip("pyarrow.fs")

from deconvnet.scanning import ray_engine, ray_pool  # noqa: E402
from deconvnet.scanning.engine import Job, Shard, ShardResult  # noqa: E402
from deconvnet.scanning.engine_local import run_shard  # noqa: E402
from deconvnet.scanning.maxima import MaximaReducer, scanned_layers  # noqa: E402
from deconvnet.scanning.ray_worker import Worker  # noqa: E402
from deconvnet.scanning.replicas import Replicas  # noqa: E402
from deconvnet.scanning.source import open_source  # noqa: E402
from deconvnet.scanning.topk import EMPTY, TopK  # noqa: E402
from deconvnet.scanning.wire import pack, size_of, unpack  # noqa: E402

TABLES = ("hits", "channels", "pictures", "shards")
LAYERS = {"tiny": ["features.1", "features.13"], "torchvision:squeezenet1_0": ["features.1", "features.5"]}
OPTIONS = {"shard": 25, "batch": 8}
STORE = 80 * 2**20  # bytes of shared memory a node: little, as in a container


@pytest.fixture(scope="module")
def cluster():
    """Two nodes, each with its own processes and object store; the first is the head."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_memory_monitor_refresh_ms"] = "0"  # noqa: SIM112 - what others here hold is not Ray's business
    node = {"num_cpus": 1, "object_store_memory": STORE}
    nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    nodes.add_node(**node)
    yield nodes
    nodes.shutdown()


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """A worker on one core computes with one thread; with another number the last digits of a float may differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def subject(request, tmp_path_factory):
    """(model, weights, folder): the real SqueezeNet and 500 photographs, or `tiny` and 200 drawings if they are missing."""
    try:
        shared = request.getfixturevalue("shared")
    except pytest.skip.Exception:
        folder = tmp_path_factory.mktemp("drawings")
        drawings(folder, 200)
        return "tiny", "DEFAULT", folder
    return "torchvision:squeezenet1_0", str(shared / "weights/squeezenet1_0.safetensors"), shared / "images/imagenet-sample"


@pytest.fixture(scope="module")
def net(subject):
    return deconvnet.DeconvNet(deconvnet.load_model(subject[0], weights=subject[1]))


@pytest.fixture(scope="module")
def local(subject, net, tmp_path_factory):
    path = tmp_path_factory.mktemp("local") / "a.scan"
    deconvnet.scan(net, subject[2], path, layers=LAYERS[subject[0]], **OPTIONS)
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


def test_the_same_bytes_as_the_local_engine(cluster, subject, net, local, tmp_path):
    """500 photographs on two nodes: every table equals the local engine's, byte for byte; Ray is left afterwards."""
    options = {"engine": "ray", "address": cluster.address, **OPTIONS}
    scan = deconvnet.scan(net, subject[2], tmp_path / "a.scan", layers=LAYERS[subject[0]], **options)
    assert dump(scan.path, *TABLES) == local
    assert not ray.is_initialized()


def start(subject, path: Path, address: str) -> subprocess.Popen[str]:
    """Start the command as people do."""
    model, weights, folder = subject
    options = [f"--layer={layer}" for layer in LAYERS[model]] + [f"--{name}={value}" for name, value in OPTIONS.items()]
    options += [f"--weights={weights}", "--device=cpu", f"--out={path}", "--engine=ray", f"--address={address}"]
    command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "deconvnet", "scan", str(folder), "--model", model]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_shards(process: subprocess.Popen[str], path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not rows(path, "select 1 from sqlite_master where name = 'channels'") or done(path) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def done(path: Path) -> int:
    return rows(path, "select count(*) from shards where done")[0][0]


def test_the_command_is_killed_and_continues(cluster, subject, local, tmp_path):
    """kill -9 on the command: whole shards are kept; the same command ends in the same bytes. stdout has the file's name only."""
    path = tmp_path / "a.scan"
    process = start(subject, path, cluster.address)
    wait_for_shards(process, path, 2)
    process.kill()
    process.communicate()
    before = done(path)
    total = rows(path, "select count(*) from shards")[0][0]
    assert process.returncode == -signal.SIGKILL
    assert 2 <= before < total
    again = start(subject, path, cluster.address)
    out, err = again.communicate(timeout=150)
    assert again.returncode == 0, err
    assert out == f"{path}\n"
    assert re.search(r"(?m)^\d+ of \d+ pictures, 2 layers, \d+ channels: ", err.replace("\r", "\n")), err
    assert not re.search(r"(?i)ray|warning|\bE \d", err.replace(str(path), "")), err
    assert dump(path, *TABLES) == local


@pytest.mark.filterwarnings("ignore:a worker on .* died")  # if it had started already
def test_a_node_is_killed_in_the_middle(cluster, subject, net, local, tmp_path, monkeypatch):
    """If a machine dies with results that it had not sent, the others compute them again, once: the same bytes."""
    node, killed, unpack_result = cluster.add_node(num_cpus=1, object_store_memory=STORE), [], ray_pool.unpack

    def unpacking(packed):
        result = unpack_result(packed)
        if not killed:
            killed.append(node)
            cluster.remove_node(node, allow_graceful=False)
        return result

    monkeypatch.setattr(ray_pool, "unpack", unpacking)
    options = {"engine": "ray", "address": cluster.address, "workers": 3, **OPTIONS}
    scan = deconvnet.scan(net, subject[2], tmp_path / "a.scan", layers=LAYERS[subject[0]], **options)
    assert killed
    assert dump(scan.path, *TABLES) == local


# Workers that die, pictures that cannot be read: tiny on a few drawings


class Deadly:
    """A preprocessing that kills its process at one picture, the first `times` times."""

    def __init__(self, preprocess, at: float, notes: Path, times: int) -> None:
        self.preprocess, self.at, self.notes, self.times = preprocess, at, notes, times

    def __call__(self, picture):
        image = self.preprocess(picture)
        if float(image.sum()) == self.at and len(list(self.notes.iterdir())) < self.times:
            (self.notes / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return image


@pytest.fixture
def deadly(tiny, few, tmp_path):
    """Make nets whose preprocessing kills its process at the eighth picture, a given number of times."""
    notes = tmp_path / "notes"
    notes.mkdir()
    sys.modules[__name__].__dict__.setdefault("Deadly", Deadly)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    at = float(tiny.preprocess(few[7]).sum())
    yield lambda times: deconvnet.DeconvNet(tiny.model, preprocess=Deadly(tiny.preprocess, at, notes, times))
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_a_worker_that_dies_is_replaced_and_counted_once(cluster, deadly, few, tmp_path):
    """A process that is killed in the middle of a shard: another one does the shard, and nothing is counted twice."""
    options = {"engine": "ray", "address": cluster.address, "workers": 2}
    scan_few(deadly(0), few, tmp_path / "local.scan")
    with pytest.warns(UserWarning, match=f"a worker on {socket.gethostname()} died; its pictures go to the next free worker"):
        scan = scan_few(deadly(1), few, tmp_path / "a.scan", **options)
    assert len(list((tmp_path / "notes").iterdir())) == 1
    assert (scan.statistics("features.5")["pictures"] == 12).all()
    assert dump(scan.path, *TABLES) == dump(tmp_path / "local.scan", *TABLES)


def test_pictures_that_kill_every_worker_are_named(cluster, deadly, few, tmp_path):
    """Three workers dead over one shard: one line that names its pictures; the shards before are kept."""
    with pytest.raises(EngineError) as error, pytest.warns(UserWarning, match="a worker on .* died"):
        scan_few(deadly(99), few[0].parent, tmp_path / "a.scan", engine="ray", address=cluster.address, workers=1)
    text = str(error.value)
    assert re.match(r"3 workers died over the pictures '06.png' to '08.png': .*\. See Ray's logs; a smaller", text), text
    assert "\n" not in text
    assert rows(tmp_path / "a.scan", "select done from shards")[:2] == [(1,), (1,)]
    assert not ray.is_initialized()


def test_what_cannot_be_read_is_named_as_by_the_local_engine(cluster, tiny_net, few, tmp_path):
    """A torn file, an empty one, a text: the same reasons for the same names as locally; and the same names at a URI."""
    folder = tmp_path / "in"
    drawings(folder, 3)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    (folder / "torn.png").write_bytes(few[0].read_bytes()[:2000])
    scan_few(tiny_net, folder, tmp_path / "local.scan")
    options = {"engine": "ray", "address": cluster.address, "workers": 1}
    scan = scan_few(tiny_net, folder, tmp_path / "a.scan", **options)
    assert [path for path, _ in scan.skipped()] == ["empty.png", "text.png", "torn.png"]
    assert dump(scan.path, *TABLES) == dump(tmp_path / "local.scan", *TABLES)
    far = scan_few(tiny_net, folder.as_uri(), tmp_path / "far.scan", **options)
    assert [path for path, _ in far.skipped()] == [path for path, _ in scan.skipped()]
    assert dump(far.path, "hits", "channels") == dump(scan.path, "hits", "channels")


# Pictures in object storage


@pytest.fixture
def bucket():
    """A bucket of an S3 server on this machine: (its file system, the URI of a folder in it)."""
    server = pytest.importorskip("moto.server", reason="no moto here, which is a server for S3").ThreadedMotoServer(
        "127.0.0.1", 0
    )
    server.start()
    host = ":".join(map(str, server.get_host_and_port()))
    keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in keys.items():
            environment.setenv(name, value)
        options = {"scheme": "http", "endpoint_override": host, "region": "us-east-1"}
        files = pyarrow_fs.S3FileSystem(allow_bucket_creation=True, **options)
        files.create_dir("bucket")
        yield files, "s3://bucket/photos?" + "&".join(f"{name}={value}" for name, value in options.items())
    server.stop()


def test_pictures_in_object_storage(bucket, tiny_net, few, tmp_path):
    """The same pictures in a bucket, by the local engine and on a Ray that the command starts: the same entries and hashes."""
    files, uri = bucket
    folder = few[0].parent
    for path in few:
        with files.open_output_stream(f"bucket/photos/{path.name}") as handle:
            handle.write(path.read_bytes())
    for name, data in (("deep/empty.png", b""), (".hidden.png", few[0].read_bytes()), ("notes.txt", b"no picture")):
        with files.open_output_stream(f"bucket/photos/{name}") as handle:
            handle.write(data)
    near = scan_few(tiny_net, folder, tmp_path / "near.scan")
    far = scan_few(tiny_net, uri, tmp_path / "far.scan")
    options = ["--layer=features.5", "--shard=3", "--batch=2", "--workers=1", "--engine=ray", f"--out={tmp_path / 'ray.scan'}"]
    command = [sys.executable, "-m", "deconvnet", "scan", uri, "--model=tiny", *options]
    done = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (skipped,) = far.skipped()
    assert skipped == ("deep/empty.png", "cannot open 'deep/empty.png': the file is empty. Get a fresh copy.")
    assert dump(tmp_path / "ray.scan", *TABLES) == dump(far.path, *TABLES)
    query = (
        "select path, bytes, sha256, hit_rank, channel, activation from hits join pictures using (picture)"
        " order by channel, hit_rank"
    )
    assert rows(far.path, query) == rows(near.path, query)
    far.close()
    again = deconvnet.Scan.open(tmp_path / "far.scan", net=tiny_net)
    assert again.pictures.exists(few[0].name)
    plate = again.plate("features.5", [0])  # reads them once more
    plate.save(tmp_path / "plate.png")
    assert not plate.changed


def test_what_is_wrong_with_a_bucket(bucket, tiny_net, tmp_path):
    """A bucket or folder that does not exist, and a key that would be kept in the scan's file: one line, and no file."""
    _, uri = bucket
    for wrong, said in (
        (uri.replace("bucket", "no-bucket"), r"cannot list 's3://no-bucket.*\. Check the address and the keys\."),
        (uri.replace("photos", "nowhere"), r"cannot list 's3://bucket/nowhere.*\. Check the address and the keys\."),
        ("s3://[bucket/photos", r"cannot open 's3://\[bucket/photos'.*\. Write s3://BUCKET/FOLDER\."),
        ("s3://key:secret@bucket/photos", r"the URI s3://\.\.\.@bucket/photos holds a key\. Set it in the environment .*"),
    ):
        with pytest.raises(PictureError) as error:
            scan_few(tiny_net, wrong, tmp_path / "a.scan")
        assert re.fullmatch(said, str(error.value)), error.value
        assert "secret@" not in str(error.value)
        assert not (tmp_path / "a.scan").exists()


# What is wrong is said in one line


def error_text(net, pictures, path, **options) -> str:
    with pytest.raises(EngineError) as error:
        scan_few(net, pictures, path, engine="ray", **options)
    return str(error.value)


def test_without_ray(tiny_net, few, tmp_path, monkeypatch):
    """If Ray is missing: the line that installs it, and no file. The local engine neither needs nor imports it."""
    for package in ("ray", "pyarrow"):
        with monkeypatch.context() as missing:
            missing.setitem(sys.modules, package, None)
            with pytest.raises(MissingPackageError) as error:
                scan_few(tiny_net, few, tmp_path / "a.scan", engine="ray")
            assert re.fullmatch(
                r"--engine ray needs (ray|pyarrow), which cannot be imported \(.*\)\. "
                r'In a checkout: pip install -e "\.\[ray\]"',
                str(error.value),
            )
            assert not (tmp_path / "a.scan").exists()
            assert scan_few(tiny_net, few[:2], tmp_path / f"{package}.scan").progress() == (2, 2)
    code = "import sys, deconvnet.scanning; deconvnet.Scan; print({'ray', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_an_address_that_does_not_answer(tiny_net, few, tmp_path, monkeypatch):
    """Nothing listens there, it is no address, no Ray runs here: a line, and no file; Ray, which would try for minutes, is not asked."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setattr(ray, "init", lambda **options: pytest.fail("Ray was asked"))
    path = tmp_path / "a.scan"
    text = error_text(tiny_net, few, path, address=address)
    assert re.fullmatch(rf"Ray at '{address}' does not answer: .*\. Check the address; there, run: ray status", text), text
    text = error_text(tiny_net, few, path, address="nowhere")
    assert text == "'nowhere' is not an address of Ray. Give HOST:PORT, as in 10.0.0.1:6379, or auto."
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    text = error_text(tiny_net, few, path, address="auto")
    assert text == "no Ray runs on this machine. Start one (ray start --head), or give its --address HOST:PORT."
    assert not path.exists()


def test_a_ray_that_expects_its_token(tiny_net, few, tmp_path, monkeypatch, capfd):
    """Ray's library writes to stderr, many times over, why it was refused, and raises an error without it: one line says it."""

    def init(**options):
        for _ in range(20):
            os.write(2, b"Failed to get cluster ID from GCS server: Unauthenticated: RPC error: InvalidAuthToken\n")
        raise ConnectionError("Failed to connect to Ray cluster")

    monkeypatch.setattr(ray, "init", init)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        text = error_text(tiny_net, few, tmp_path / "a.scan", address=address)
    assert text == (
        f"Ray at '{address}' does not accept this process: it expects its token. Set RAY_AUTH_MODE=token, and put the token of"
        " Ray's first machine into ~/.ray/auth_token or RAY_AUTH_TOKEN."
    )
    assert capfd.readouterr().err == ""
    os.write(2, b"heard again\n")
    assert capfd.readouterr().err == "heard again\n"
    assert not (tmp_path / "a.scan").exists()


def test_options_of_ray_need_ray(tiny_net, few, tmp_path):
    """An address for a local scan, and an engine that does not exist."""
    for name, value in (("address", "auto"), ("gpus_per_worker", 1), ("cpus_per_worker", 2)):
        with pytest.raises(OptionError) as error:
            scan_few(tiny_net, few, tmp_path / "a.scan", **{name: value})
        assert str(error.value) == f"{name} is for scans on Ray, this one is local. Leave it out, or take the engine 'ray'."
    with pytest.raises(OptionError) as error:
        scan_few(tiny_net, few, tmp_path / "a.scan", engine="spark")
    assert str(error.value) == "engine cannot be 'spark': it is one of local, ray."


@pytest.mark.parametrize(
    ("resources", "options", "expected"),
    [
        ({"CPU": 16.0}, {}, (16, 0, 1)),
        ({"CPU": 16.0}, {"cpus": 4}, (4, 0, 4)),
        ({"CPU": 16.0}, {"workers": 3}, (3, 0, 1)),
        ({"CPU": 16.0, "GPU": 4.0}, {}, (4, 1, 4)),
        ({"CPU": 16.0, "GPU": 4.0}, {"gpus": 0.5}, (8, 0.5, 2)),
        ({"CPU": 16.0, "GPU": 4.0}, {"gpus": 0.5, "cpus": 1}, (8, 0.5, 1)),
        ({"CPU": 16.0, "GPU": 4.0}, {"gpus": 0}, (16, 0, 1)),
        ({"CPU": 2.0, "GPU": 4.0}, {}, (4, 1, 1)),
    ],
)
def test_what_each_worker_has(resources, options, expected):
    """One worker per GPU with a fair share of the cores, or one per core; what is given comes first."""
    engine = ray_engine.RayEngine(**options, ray=SimpleNamespace(cluster_resources=lambda: resources))
    engine._share_out()
    assert (engine.workers, engine.gpus, engine.cpus) == expected


def test_more_gpus_than_there_are(cluster, tiny_net, few, tmp_path):
    """One GPU per worker on a cluster without any is refused at once."""
    text = error_text(tiny_net, few, tmp_path / "a.scan", address=cluster.address, gpus_per_worker=1)
    assert text == "cannot give each worker 1 GPUs: Ray has 0. Ask for fewer, or for 0."


def test_a_worker_that_does_not_see_the_pictures(cluster, tiny_net, few, tmp_path, monkeypatch):
    """A folder that a worker does not have is noticed before any of its pictures is called unreadable."""
    monkeypatch.setattr(ray_engine, "find_probe", lambda job, shards: "only-here.png")
    text = error_text(tiny_net, few, tmp_path / "a.scan", address=cluster.address)
    where = socket.gethostname()
    assert text == (
        f"a worker on {where} cannot see the picture 'only-here.png'. Use a folder that all machines share, or s3://, gs://."
    )
    assert rows(tmp_path / "a.scan", "select distinct done from shards") == [(0,)]


def test_a_worker_without_the_package_and_a_ray_that_was_there(cluster, tiny_net, few, tmp_path):
    """A worker that cannot import deconvnet is reported in a line; a running Ray is used, and left running."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['deconvnet'] = None")  # as if it were not there
    environment = {"env_vars": {"PYTHONPATH": str(tmp_path)}}
    ray.init(address=cluster.address, log_to_driver=False, runtime_env=environment)
    try:
        text = error_text(tiny_net, few, tmp_path / "a.scan")
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert re.fullmatch(
        r"a worker cannot import what it needs: No module named 'deconvnet.*'\. "
        r"Install deconvnet .* and the net's packages on every machine of Ray\.",
        text,
    )


@pytest.mark.parametrize("found", [{"version": "0.0.1"}, {"torch": "1.0.0"}])
def test_a_worker_of_another_version(found):
    """Another deconvnet is refused, another torch gives a warning."""
    whole = {"host": "node-7", "version": deconvnet.__version__, "torch": torch.__version__, "sees_probe": True, **found}
    if "version" in found:
        with pytest.raises(EngineError) as error:
            ray_pool.check_worker(whole, None)
        assert str(error.value) == (
            f"a worker on node-7 has deconvnet 0.0.1, this is {deconvnet.__version__}. Install the same on every machine."
        )
    else:
        text = f"a worker on node-7 has torch 1.0.0, this is {torch.__version__}: last digits may differ."
        with pytest.warns(UserWarning, match=f"^{re.escape(text)}$"):
            ray_pool.check_worker(whole, None)


# What docs/cluster.md gives to be copied


def test_the_recipes_can_be_read():
    """Ray's launcher takes the cluster's file, with whole commands in it; bash reads the job for SLURM."""
    import yaml

    page = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    cluster = yaml.safe_load(written)
    assert cluster["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "10.0.0.3"]}
    commands = [*cluster["setup_commands"], *cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]
    assert all(re.fullmatch(r"pip install .*|ray stop|(RAY_\w+=\w+ )+ray start --.*", command) for command in commands), (
        commands
    )
    (job,) = re.findall(r"```sh\n(#!/bin/bash.*?)```", page, re.S)
    assert subprocess.run(["bash", "-n"], input=job, text=True, capture_output=True, check=True).stderr == ""


# What travels


def test_a_net_travels_from_a_script_that_imports_torch(few, tmp_path):
    """Pickle names some of torch's objects by the first module that holds torch: it must not be the script, which workers lack."""
    code = """
import multiprocessing, sys  # before torch: it registers the script under a second name
import torch, deconvnet, ray
from deconvnet.scanning.ray_engine import pack_job
from deconvnet.scanning.engine import Job
from deconvnet.scanning.source import open_source
from deconvnet.scanning.maxima import MaximaReducer, scanned_layers

net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
net.model.format = torch.preserve_format  # as a user's net may hold
reducer = MaximaReducer(net, scanned_layers(net.record_zeros((3, 96, 96)), ["features.1"]), (3, 96, 96))
open(sys.argv[2], "wb").write(pack_job(Job(reducer, open_source(sys.argv[1]), net.preprocess, 2, 3), ray))
"""
    packed = tmp_path / "job"
    subprocess.run([sys.executable, "-c", code, str(few[0].parent), str(packed)], check=True, timeout=60)
    worker = Worker(packed.read_bytes())
    assert worker.job.reducer.net.model.format is torch.preserve_format
    assert worker.ready(few[0].name)["sees_probe"]


class Drifting(nn.Module):
    """Writes to a parameter in each forward pass."""

    def __init__(self):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.ones(()))

    @torch.no_grad()
    def forward(self, x):
        self.scale.mul_(2)
        return (self.conv(x) * self.scale).relu()


def test_a_net_that_changes_itself_travels(tmp_path):
    """On a worker, too, every batch meets the parameters as they were: a shard run twice gives the same, as locally."""
    net, images = deconvnet.DeconvNet(Drifting()), torch.randn(6, 3, 9, 9)
    recording = net.record_zeros((3, 9, 9))
    reducer = MaximaReducer(net, scanned_layers(recording, ["relu"]), (3, 9, 9), recording.written)
    assert [parameter is net.model.scale for parameter in reducer.written] == [True]
    source = open_source(images)
    job, shard = Job(reducer, source, None, 2, 3), Shard(1, 0, source.names, range(6))
    floor = np.full(4, -np.inf, np.float32)
    with Replicas(reducer, None) as replicas:
        local = run_shard(job, shard, (source.load(number, "", None) for number in range(6)), floor, replicas)
    worker = Worker(ray_engine.pack_job(job, ray))
    for _ in range(2):
        assert np.array_equal(unpack(worker.run(shard, floor)).top.scores, local.top.scores)
    assert net.model.scale.item() == 1


def test_a_shard_travels_whole_but_for_what_cannot_enter():
    """Packed and unpacked, everything is as before except entries below the floor; the fewer entries, the less is sent."""
    chance = np.random.default_rng(0)
    best = TopK.empty(500, 9)
    best.add(chance.random((500, 40), np.float32), np.arange(40), chance.integers(0, 99, (500, 40)).astype(np.int32))
    best.put(slice(0, 3), TopK.empty(3, 9))
    files = [(0, 7, "ab", None), (1, None, None, "gone"), (2, 0, "cd", "empty")]
    result = ShardResult(3, best, chance.integers(0, 40, 500), chance.integers(0, 2**40, 500), 39, files)
    everything = pack(result, np.full(500, -np.inf, np.float32))
    again = unpack(everything)
    for name in ("scores", "pictures", "positions"):
        assert (getattr(again.top, name) == getattr(best, name)).all()
        assert getattr(again.top, name).dtype == getattr(best, name).dtype
    assert (again.shard, again.readable, again.files) == (3, 39, files)
    assert (again.fired == result.fired).all()
    assert (again.total == result.total).all()
    floor = np.full(500, 0.97, np.float32)
    less = unpack(pack(result, floor)).top
    entering = best.scores >= 0.97
    assert 0 < entering.mean() < 0.5
    assert (less.pictures == np.where(entering, best.pictures, EMPTY)).all()
    assert (less.scores == np.where(entering, best.scores, -np.inf)).all()
    assert size_of(pack(result, floor)) < 0.6 * size_of(everything)
