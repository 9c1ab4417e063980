"""Promises about evolve: at each checkpoint a channel's strongest unit is the one that a plain loop finds."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

import deconvnet
from deconvnet.cli import deconvnet as command
from deconvnet.drawings import draw
from deconvnet.errors import UnknownLayerError
from deconvnet.models.tiny import TRAINING_DRAWINGS
from deconvnet.models.tiny_checkpoints import checkpoints
from deconvnet.studies import (
    evolve,
)
from deconvnet.units import Window
from support.studies import Viewing, plain

LAYER = "features.13"


@pytest.fixture
def viewing() -> deconvnet.DeconvNet:
    torch.manual_seed(5)
    return deconvnet.DeconvNet(Viewing().eval())


def test_evolve_is_the_slow_loop(net):
    """At each checkpoint the unit is the strongest over all pictures, and its projection that of a net with these weights."""
    pictures = [draw(seed=seed).picture for seed in range(30, 42)]
    files = {name: path for name, path in checkpoints().items() if name in ("1", "20", "64")}
    before = copy.deepcopy(net.model.state_dict())
    result = evolve.run(net, pictures, checkpoints=files, layers=["features.5", LAYER], channels=[3, 9])
    assert result.names == ("1", "20", "64")
    images = torch.stack([net.preprocess(picture) for picture in pictures])
    for epoch, path in enumerate(files.values()):
        one = deconvnet.DeconvNet(deconvnet.load_model("tiny", weights=str(path)))
        for block in result.layers:
            maps = torch.stack([plain(one.model, image, block.layer)[0] for image in images])
            for k, channel in enumerate(block.channels.tolist()):
                place = int(maps[:, channel].flatten().argmax())
                image, row, col = np.unravel_index(place, maps[:, channel].shape)
                assert block.activations[epoch, k] == pytest.approx(float(maps[image, channel, row, col]), rel=1e-4)
                assert (block.images[epoch, k], block.rows[epoch, k], block.cols[epoch, k]) == (image, row, col)
                recording = one.record(images[image : image + 1])
                expected = one.project(recording, block.layer, units=[(channel, int(row), int(col))]).pixels[0]
                window = Window(*block.windows[epoch, k].tolist())
                inside = window.clip(96, 96)
                cut = expected[:, inside.top : inside.bottom, inside.left : inside.right].numpy()
                crop = block.crops[epoch, k]
                top, left = inside.top - window.top, inside.left - window.left
                np.testing.assert_allclose(
                    crop[:, top : top + inside.height, left : left + inside.width], cut, rtol=1e-3, atol=1e-5
                )
                assert np.abs(crop).sum() == pytest.approx(np.abs(cut).sum(), rel=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in net.model.state_dict().items())


def test_without_pictures_the_training_drawings_are_searched(tmp_path, monkeypatch):
    """As the paper searched its training set: the drawings of the first seeds that `tiny` learned from."""
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(
        "deconvnet.cli.evolve.draw_several",
        lambda count, first=0: asked.append((count, first)) or [draw(seed=first).picture],
    )
    command.main(["evolve", "--drawings", "7", "--layer", "features.1", "--count", "1"], standalone_mode=False)
    assert asked == [(7, 10_000_000)]
    assert TRAINING_DRAWINGS == 15_360
    note = (Path(deconvnet.__file__).parent / "models" / "tiny.md").read_text()
    assert f"- drawings: {TRAINING_DRAWINGS}" in note
    assert "pulled towards smooth ones" in note


def test_checkpoints_of_a_folder_go_by_number(tmp_path):
    """A folder's files are ordered by the numbers in their names, and named by the last of them where all are named alike."""
    for name in ("run2-epoch-10.pt", "run2-epoch-9.pt", "run2-epoch-100.safetensors", "notes.txt", ".run2-epoch-1.pt"):
        (tmp_path / name).touch()
    assert list(evolve.list_checkpoints(tmp_path)) == ["9", "10", "100"]
    assert list(evolve.list_checkpoints([tmp_path / "best.pt", tmp_path / "run2-epoch-9.pt"])) == ["best", "run2-epoch-9"]


def test_random_channels_are_alive(net):
    """Channels that no picture excites at the last checkpoint are not among the random ones; the seed picks them."""
    pictures = [draw(seed=seed).picture for seed in range(4)]
    files = dict(list(checkpoints().items())[-2:])
    runs = [evolve.run(net, pictures, checkpoints=files, layers=[LAYER], count=99, seed=seed) for seed in (0, 1)]
    assert runs[0].layers[0].channels.tolist() == runs[1].layers[0].channels.tolist()  # all that are alive
    assert (runs[0].layers[0].activations[-1] > 0).all()
    few = [
        evolve.run(net, pictures, checkpoints=files, layers=[LAYER], count=3, seed=seed).layers[0].channels
        for seed in (0, 0, 5)
    ]
    assert few[0].tolist() == few[1].tolist() != few[2].tolist()


def test_the_strongest_picture_is_the_right_one(viewing, tmp_path):
    """Also over several batches of such a net, pictures are numbered as they were given."""
    images, files = torch.rand(70, 3, 18, 16), []
    images[67] *= 3
    for epoch in (1, 2):
        torch.manual_seed(epoch)
        files.append(tmp_path / f"epoch-{epoch}.pt")
        torch.save(Viewing().state_dict(), files[-1])
    result = evolve.run(viewing, images, checkpoints=files, layers=["relu"], channels=range(6))
    for epoch, file in enumerate(files):
        model = Viewing().eval()
        model.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            maxima = model.relu(model.conv(images)).amax((2, 3))
        alive = maxima.amax(0) > 0
        assert alive.any()
        assert (torch.from_numpy(result.layers[0].images[epoch])[alive] == maxima.argmax(0)[alive]).all()


def test_evolve_refuses_a_layer_that_is_not_there(viewing, tmp_path):
    """A wrong layer's name is told before the checkpoints are gone through."""
    torch.save(Viewing().state_dict(), tmp_path / "epoch-1.pt")
    with pytest.raises(UnknownLayerError, match="'rely' is not a layer of Viewing"):
        evolve.run(viewing, torch.zeros(2, 3, 18, 16), checkpoints=tmp_path, layers=["rely"])
