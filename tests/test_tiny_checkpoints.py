"""Promises about the checkpoints of tiny's training: a checkout has them, anything else fetches them once, whole and unchanged."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

import deconvnet
from deconvnet.models import tiny_checkpoints
from deconvnet.models.weight_files import hash_file

FILES = Path(__file__).parents[1] / "examples" / "tiny-epochs"
EPOCHS = ["1", "2", "5", "10", "20", "30", "40", "64"]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that has no examples beside it, and downloads from FILES; returns where what is fetched belongs."""
    monkeypatch.setattr(tiny_checkpoints, "IN_CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(tiny_checkpoints, "ADDRESS", FILES.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints" / "deconvnet-tiny"


def test_tiny_brings_the_papers_epochs(tiny):
    """Checkpoints of epochs 1, 2, 5, 10, 20, 30, 40 and 64: each fits, all differ, the last is tiny itself."""
    if not tiny_checkpoints.IN_CHECKOUT.is_dir():
        pytest.skip("this package is not that of a checkout")
    paths = tiny_checkpoints.checkpoints()
    assert list(paths) == EPOCHS
    firsts = [deconvnet.load_model("tiny", weights=str(path)).model.features[0].weight for path in paths.values()]
    assert all(not torch.equal(*pair) for pair in itertools.combinations(firsts, 2))
    assert torch.equal(firsts[-1], tiny.model.features[0].weight)


def test_every_file_has_its_hash():
    """The hashes that a download is held to are those of the files in the repository, and no file is without one."""
    hashes = {int(path.stem[-2:]): hash_file(path).removeprefix("sha256:") for path in FILES.glob("*.safetensors")}
    assert hashes == tiny_checkpoints.HASHES


def test_an_installation_fetches_them_once(installed, monkeypatch):
    """What is fetched equals the repository's files; a damaged file is fetched again, a good one is not."""
    paths = tiny_checkpoints.checkpoints()
    assert list(paths) == EPOCHS
    assert sorted(path.name for path in installed.iterdir()) == sorted(path.name for path in FILES.glob("*.safetensors"))
    assert all(path.read_bytes() == (FILES / path.name).read_bytes() for path in list(paths.values())[:-1])
    paths["5"].write_bytes(b"damaged")
    addresses = []
    real = torch.hub.download_url_to_file

    def download(url: str, *args: object, **kwargs: object) -> None:
        addresses.append(url)
        real(url, *args, **kwargs)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    again = tiny_checkpoints.checkpoints()
    assert addresses == [f"{FILES.as_uri()}/epoch-05.safetensors"]
    assert again["5"].read_bytes() == (FILES / "epoch-05.safetensors").read_bytes()


def test_other_bytes_are_refused(installed, tmp_path, monkeypatch):
    """A file with another hash than ours never takes its place, and the line says where the right one is."""
    other = tmp_path / "other"
    shutil.copytree(FILES, other)
    (other / "epoch-01.safetensors").write_bytes(b"not the weights")
    monkeypatch.setattr(tiny_checkpoints, "ADDRESS", other.as_uri())
    with pytest.raises(deconvnet.WeightsError) as caught:
        tiny_checkpoints.checkpoints()
    address, place = f"{other.as_uri()}/epoch-01.safetensors", str(installed)
    wanted = tiny_checkpoints.HASHES[1]
    assert str(caught.value).startswith(
        f'the checkpoint of tiny\'s epoch 1 could not be downloaded from {address} (invalid hash value (expected "{wanted}", got'
    )
    assert str(caught.value).endswith(
        f"). A checkout and the sdist have all seven (6.4 MB): give --weights examples/tiny-epochs, or put them into {place!r}."
    )
    assert list(installed.iterdir()) == []


def test_offline_one_line_says_where_they_are(installed, monkeypatch):
    """Without a network the line has the address, and two ways without one."""

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(deconvnet.WeightsError) as caught:
        tiny_checkpoints.checkpoints()
    assert str(caught.value) == (
        f"the checkpoint of tiny's epoch 1 could not be downloaded from {FILES.as_uri()}/epoch-01.safetensors (no network)."
        " A checkout and the sdist have all seven (6.4 MB): give --weights examples/tiny-epochs,"
        f" or put them into {str(installed)!r}."
    )


def test_the_address_is_that_of_the_version():
    """A released wheel asks for the files of its own tag."""
    assert f"/v{deconvnet.__version__}/examples/tiny-epochs" in tiny_checkpoints.ADDRESS
