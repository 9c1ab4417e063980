"""What scans and atlases refuse, word by word, where no other test holds the whole text."""

from __future__ import annotations

import builtins
import errno
import os
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.atlas.manifest import AtlasFolder
from deconvnet.cli.plate import plate as plate_command
from deconvnet.errors import EngineError, OptionError, PictureError, StoreError, UnitError
from deconvnet.images import SUFFIXES
from deconvnet.scanning import pictures, remote
from deconvnet.scanning.report import layer_report
from deconvnet.scanning.source import open_source
from deconvnet.scanning.store import Store
from support.scans import drawings

LAYERS = ["features.1"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    drawings(folder, 3)
    return folder


@pytest.fixture
def scan(net, photos, tmp_path):
    return deconvnet.scan(net, photos, tmp_path / "a.scan", layers=LAYERS)


def refused(kind, call, *arguments, **options) -> str:
    """Return what a call is refused with."""
    with pytest.raises(kind) as error:
        call(*arguments, **options)
    return str(error.value)


# Pictures


def test_a_file_that_cannot_be_read(photos, monkeypatch):
    """A picture that exists and cannot be read is a problem with its reason."""

    def failing(path, *mode):
        raise PermissionError(errno.EACCES, "Permission denied")

    source = open_source(photos)
    monkeypatch.setattr(builtins, "open", failing)
    loaded = source.load(0, "00.png", None)
    assert loaded.problem == f"cannot open {str(photos / '00.png')!r}: Permission denied. Check the path."


def test_what_a_uri_is_refused_with(photos, tmp_path, monkeypatch):
    """A folder without pictures, a key in the address, a file that is too large."""
    pytest.importorskip("pyarrow.fs", reason='pyarrow is missing: pip install -e ".[ray]"')
    uri = tmp_path.as_uri()
    assert refused(PictureError, open_source, uri) == f"there is no picture in {uri!r}. Looked for: {', '.join(SUFFIXES)}."
    assert refused(PictureError, open_source, "s3://key:secret@bucket/photos") == (
        "the URI s3://...@bucket/photos holds a key. Set it in the environment (AWS_SECRET_ACCESS_KEY)."
    )
    monkeypatch.setattr(remote, "MAX_BYTES", 10)
    monkeypatch.setattr(pictures, "MAX_BYTES", 10)
    loaded = open_source(photos.as_uri()).load(0, "00.png", None)
    assert loaded.problem == "cannot open '00.png': it has more than 10 bytes, too many to be safe. Shrink it first."


def test_pictures_from_another_kind_of_place(net, scan, photos):
    """A scan of files takes no pictures from a URI: it could not know which are the same."""
    pytest.importorskip("pyarrow.fs", reason='pyarrow is missing: pip install -e ".[ray]"')
    uri = photos.as_uri()
    assert refused(StoreError, deconvnet.scan, net, uri, scan.path, layers=LAYERS) == (
        f"{scan.path!r} has pictures from {str(photos)!r}, not from {uri!r}. Choose another name."
    )


# The file, the report, the commands


def test_a_file_that_may_only_be_read(scan):
    """SQLite's reason is given, with what to do."""
    with Store(scan.path) as store:
        store.connection.execute("pragma query_only = on")
        text = refused(StoreError, store.extend, ["new.png"], 4)
    assert text == f"cannot use {scan.path!r}: attempt to write a readonly database. Check the path and the disk."


def test_a_scan_that_was_closed(scan):
    """A scan is closed at the end of its block; to use it then is refused, with what to do."""
    with scan:
        assert scan.progress() == (3, 3)
    assert refused(StoreError, scan.top, "features.1", 0) == f"{scan.path!r} is closed. Open it again: Scan.open(path)."
    with deconvnet.Scan.open(scan.path) as opened:
        assert len(opened.top("features.1", 0)) == 3


@pytest.mark.parametrize("rare", [-0.1, 1.5])
def test_rare_is_a_share(scan, rare):
    """A share is from 0 to 1."""
    text = refused(OptionError, layer_report, scan, "features.1", rare)
    assert text == f"rare cannot be {rare:g}: it is a share of the pictures, 0..1."


def test_a_layer_in_which_nothing_fires(net, tmp_path):
    """Random channels are of those that fired: where none did, the command says so."""
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -99.0)
    scan = deconvnet.scan(deconvnet.DeconvNet(model), torch.rand(2, 3, 8, 8), tmp_path / "a.scan", layers=["1"])
    arguments = [scan.path, "--layer", "1", "--random", "2", "--out", str(tmp_path / "plate.png")]
    text = refused(UnitError, plate_command.main, arguments, standalone_mode=False)
    assert text == f"layer '1' has no channel that fired. See: deconvnet report {scan.path}"


def test_no_other_name():
    """The package has the names that it lists."""
    text = refused(AttributeError, getattr, deconvnet.scanning, "Scam")
    assert text == "module 'deconvnet.scanning' has no attribute 'Scam'"


# The atlas


def test_an_atlas_on_a_full_disk(scan, tmp_path, monkeypatch):
    """A folder that cannot be made is one line."""

    def failing(path, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = AtlasFolder(tmp_path / "site", scan.settings)
    monkeypatch.setattr(Path, "mkdir", failing)
    text = refused(OptionError, folder.claim, ["index.html"])
    assert text == f"cannot write {str(tmp_path / 'site')!r}: No space left on device. Choose another place."


# Ray


@pytest.fixture
def ray():
    pytest.importorskip("pyarrow", reason='pyarrow is missing: pip install -e ".[ray]"')
    return pytest.importorskip("ray", reason='Ray is missing: pip install -e ".[ray]"')


def test_what_cannot_travel(ray, tiny, photos):
    """A net or pictures that cannot be pickled are refused with the reason."""
    from deconvnet.scanning.engine import Job
    from deconvnet.scanning.maxima import MaximaReducer
    from deconvnet.scanning.ray_engine import pack_job

    class Locked(torch.utils.data.Dataset):
        lock = None

        def __len__(self):
            return 1

    pictures = Locked()
    pictures.lock = threading.Lock()
    net = deconvnet.DeconvNet(tiny)
    job = Job(MaximaReducer(net, [], (3, 96, 96)), open_source(pictures), net.preprocess, 4, 9)
    text = refused(EngineError, pack_job, job, ray)
    assert text == "cannot send tiny or its pictures to workers: cannot pickle '_thread.lock' object."


@pytest.mark.parametrize(
    ("address", "what"),
    [(None, "start Ray on this machine"), ("127.0.0.1:1", "use Ray at '127.0.0.1:1'")],
    ids=["here", "there"],
)
def test_a_ray_that_does_not_start(ray, monkeypatch, address, what):
    """The last line of Ray's error is given, with how to see more."""
    from deconvnet.scanning import ray_connect

    def init(**options):
        raise RuntimeError("one thing\nand another.\n")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_connect, "check_listening", lambda address: None)
    monkeypatch.setattr(ray, "init", init)
    text = refused(EngineError, ray_connect.connect, ray, address)
    assert text == f"cannot {what}: and another. To see why, start it by hand: ray start --head"
