"""Promises about pictures on their way into a net: whatever kind they are of, they become one batch and its names."""

from __future__ import annotations

import pytest
import torch

import deconvnet
from deconvnet.drawings import draw
from deconvnet.errors import PictureError
from deconvnet.inputs import as_batch, as_list, default_picture, named_picture, only_picture, source_names


@pytest.fixture
def bare() -> deconvnet.DeconvNet:
    """A net that brings no preprocessing."""
    return deconvnet.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU()).eval())


def kinds(path):
    """Return the same picture as everything that it can be handed over as, with the name that it then has."""
    drawing = draw("face", seed=3)
    image = deconvnet.load_model("tiny").preprocess(drawing.picture)
    return {
        "path": (path, str(path)),
        "text": (str(path), str(path)),
        "PIL picture": (drawing.picture, "picture"),
        "drawing": (drawing, "drawing of a face"),
        "tensor": (image[None], "image 0"),
    }


@pytest.mark.parametrize("kind", ["path", "text", "PIL picture", "drawing", "tensor"])
def test_any_kind_becomes_the_same_batch(net, picture, kind):
    """A path, a PIL picture, a drawing and a tensor of one picture give the same image, alone, in a list and in a tuple."""
    value, name = kinds(picture)[kind]
    expected = net.preprocess(draw("face", seed=3).picture)[None]
    for inputs in (value, [value], (value,)):
        assert torch.equal(as_batch(net, inputs), expected)
        assert source_names(inputs) == [name]
        assert len(as_list(inputs)) == 1
        assert source_names(only_picture(inputs)) == [name]


def test_kinds_mix_in_their_order(net, picture):
    """A list may hold all kinds; a tensor in it is one image, (C, H, W), or several."""
    path, drawing, tensor = (kinds(picture)[kind][0] for kind in ("path", "drawing", "tensor"))
    inputs = [path, tensor[0] * 0, drawing, torch.cat([tensor * 2, tensor * 3])]
    batch = as_batch(net, inputs)
    for image, factor in zip(batch, (1, 0, 1, 2, 3), strict=True):
        assert torch.equal(image, tensor[0] * factor)
    assert source_names(inputs) == [str(path), "image 1", "drawing of a face", "image 3", "image 4"]


def test_a_tensor_is_taken_as_it_is(bare):
    """A batch is not copied, and needs no preprocessing; as a list it is one image after another."""
    images = torch.rand(3, 3, 5, 7)
    assert as_batch(bare, images) is images
    assert source_names(images) == ["image 0", "image 1", "image 2"]
    assert [tuple(image.shape) for image in as_list(images)] == [(1, 3, 5, 7)] * 3


def test_pictures_have_the_names_that_they_are_given(picture):
    """A PIL picture is called as its file, or as it was named; naming leaves the picture itself as it was."""
    from PIL import Image

    plain = draw("cup", seed=0).picture
    with Image.open(picture) as opened:
        assert source_names([opened, named_picture(plain, "my cup"), plain]) == [str(picture), "my cup", "picture"]
    assert source_names(default_picture()) == ["a drawing of a face"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: as_list([]), "the list of pictures is empty. Give one or more."),
        (lambda net: as_batch(net, ()), "the list of pictures is empty. Give one or more."),
        (lambda net: as_batch(net, torch.rand(3, 5, 7)), "images must be a float tensor (N, C, H, W), found (3, 5, 7) of float32. One picture: image.unsqueeze(0)."),
        (lambda net: as_batch(net, torch.rand(1, 1, 4, 5, 6)), "images must be a float tensor (N, C, H, W), found (1, 1, 4, 5, 6) of float32. Volumes can be recorded and projected alone."),
        (lambda net: as_list([torch.rand(5, 7)]), "images must be a float tensor (N, C, H, W), found (5, 7) of float32. One picture: image.unsqueeze(0)."),
        (lambda net: as_batch(net, default_picture()), "Sequential has no preprocessing for pictures. Pass preprocess=, or a tensor (N, C, H, W)."),
        (lambda net: as_batch(net, [torch.rand(3, 5, 7), torch.rand(3, 6, 7)]), "pictures must become images of one size, found 3x5x7 and 3x6x7. Resize them, or take them one by one."),
        (lambda net: only_picture(["a.png", "b.png"]), "this study takes one picture, found 2. Give one at a time."),
        (lambda net: only_picture(torch.rand(3, 3, 5, 7), user="the explorer"), "the explorer takes one picture, found 3. Give one at a time."),
        (lambda net: as_batch(deconvnet.DeconvNet(net.model, lambda picture: torch.zeros(3, 4, 4)), 5), "a picture must be a path or a PIL picture, found int."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(bare, call, message):
    """No picture, too many, another shape, a net that takes tensors only: each is refused by one line."""
    with pytest.raises(PictureError) as caught:
        call(bare)
    assert str(caught.value) == message
