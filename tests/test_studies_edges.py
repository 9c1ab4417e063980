"""Promises about the paper's experiments on nets and with options that are not the usual ones."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

import deconvnet
from deconvnet.errors import UnknownLayerError
from deconvnet.studies import ablate, correspond, evolve, faithful, filters, invariance, occlude


class Viewing(nn.Module):
    """Views its maps as rows, as many older nets do; maps in channels_last order cannot be viewed so."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        self.top = nn.Linear(6 * 9 * 8, 4)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.pool(self.relu(self.conv(images)))
        return self.top(maps.view(len(maps), -1))


@pytest.fixture
def viewing() -> deconvnet.DeconvNet:
    torch.manual_seed(5)
    return deconvnet.DeconvNet(Viewing().eval())


def test_no_batch_is_counted_twice(viewing):
    """A net that cannot take channels_last images has every position once, and its totals are the slow loop's."""
    image = torch.randn(1, 3, 18, 16)
    result = occlude.run(viewing, image, layer="relu", square=4, stride=5, batch=3)
    model, channel = viewing.model, result.settings["channel"]
    for (row, top), (col, left) in itertools.product(enumerate(result.tops), enumerate(result.lefts)):
        hidden = image.clone()
        hidden[:, :, top : top + 4, left : left + 4] = 0
        with torch.no_grad():
            expected = model.relu(model.conv(hidden))[0, channel].sum()
        assert result.totals[row, col] == pytest.approx(float(expected), rel=1e-4)


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
        assert (torch.from_numpy(result.blocks[0].images[epoch])[alive] == maxima.argmax(0)[alive]).all()


def test_any_number_of_channels(tmp_path):
    """Images of one and of five channels are measured and drawn; five are shown as the grey of their mean."""
    for channels in (1, 5):
        torch.manual_seed(0)
        net, images = deconvnet.DeconvNet(Viewing(channels).eval()), torch.randn(2, channels, 18, 16)
        figures = [
            occlude.run(net, images[:1], layer="relu", square=6, stride=6, others=images).plot(),
            invariance.run(net, images, layers=["relu"], values={"rotation": [0, 20]}).plot(),
            correspond.run(net, images, [{"spot": [2, 3, 5, 4]}] * 2, layers=["relu"], trials=1).plot(),
            ablate.run(net, images[:1], layer="relu", signals=2).plot(),
            faithful.run(net, images, layer="relu", top=1, seeds=2).plot(),
            filters.run(net, images, second="relu", top=2).plot(),
        ]
        for number, figure in enumerate(figures):
            figure.savefig(tmp_path / f"{number}.png", dpi=20)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda net, images: occlude.run(net, images[:1], layer="rely"), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: occlude.run(net, images[:1], layer="relu", batch=-1), "batch cannot be -1: it is squares per forward pass, 1 or more."),
        (lambda net, images: invariance.run(net, images, layers=["relu", "rely"]), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: invariance.run(net, []), "the list of pictures is empty. Give one or more."),
        (lambda net, images: correspond.run(net, images, [{"a": [1, 1, 4, 4]}] * 2, layers=["rely"]), "'rely' is not a layer of Viewing. Did you mean 'relu'? See: deconvnet layers Viewing"),
        (lambda net, images: correspond.run(net, images, [{"a": [1, 1, 4]}] * 2, layers=["relu"]), "'a' in image 0: its box [1, 1, 4] is not [top, left, height, width]."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(viewing, ask, message):
    """A layer that is not there, no picture, half a box: each is refused, and none gives an empty figure."""
    with pytest.raises(deconvnet.DeconvnetError) as caught:
        ask(viewing, torch.zeros(2, 3, 18, 16))
    assert str(caught.value) == message


def test_evolve_refuses_a_layer_that_is_not_there(viewing, tmp_path):
    """A wrong layer's name is told before the checkpoints are gone through."""
    torch.save(Viewing().state_dict(), tmp_path / "epoch-1.pt")
    with pytest.raises(UnknownLayerError, match="'rely' is not a layer of Viewing"):
        evolve.run(viewing, torch.zeros(2, 3, 18, 16), checkpoints=tmp_path, layers=["rely"])
