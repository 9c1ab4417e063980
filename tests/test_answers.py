"""What a net says in its own terms: a detector's boxes, a segmenter's classes, and nothing where nothing fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvnet
from deconvnet.images import FoundObject, Segments, ShownImage
from deconvnet.models.answers import found_objects, found_segments
from deconvnet.models.model import LoadedModel
from deconvnet.render import LayerTiles, Sheet, Tile
from deconvnet.render.answer import SEGMENTS, objects_box, segments_box
from deconvnet.render.page import TextItem
from deconvnet.render.palette import COLOURS, PALE
from deconvnet.render.sheet import lay_out_sheet
from support.scans import drawing

NAMES = ("nothing", "cat", "dog")


def name_of(number):
    return NAMES[number] if number < len(NAMES) else f"class {number}"


# Reading what a model returned


def test_torchvision_s_boxes():
    """The strongest objects of the image that is asked for, by score, at least one half, at most six; top before left."""
    scores = torch.tensor([0.4, 0.9, 0.5, 0.6, 0.99, 0.7, 0.8, 0.95])
    boxes = torch.arange(32.0).view(8, 4)
    output = [{"boxes": boxes[:0], "labels": torch.zeros(0, dtype=torch.long), "scores": scores[:0]}]
    output.append({"boxes": boxes, "labels": torch.arange(8), "scores": scores, "masks": torch.zeros(8, 1, 5, 5)})
    assert found_objects(output, 0, (5, 5), name_of) == ()
    found = found_objects(output, 1, (5, 5), name_of)
    assert [item.name for item in found] == ["class 4", "class 7", "cat", "class 6", "class 5", "class 3"]
    assert found[0] == FoundObject("class 4", pytest.approx(0.99), (17.0, 16.0, 19.0, 18.0))


def test_detr_s_queries():
    """Centre, width and height as shares of the frame become corners in pixels; the last class is no object."""
    logits = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 0.0, 9.0], [0.0, 3.0, 0.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1], [0.25, 0.75, 0.5, 0.5]]])
    cat, dog = found_objects({"logits": logits, "pred_boxes": boxes}, 0, (100, 200), name_of)
    assert (cat.name, dog.name) == ("nothing", "cat")
    assert cat.score == pytest.approx(float(torch.softmax(logits[0, 0], 0)[0]))
    assert cat.box == pytest.approx((30, 80, 70, 120))
    assert dog.box == pytest.approx((50, 0, 100, 100))


@pytest.mark.parametrize(
    "output", [None, [], torch.zeros(2, 3), "boxes", [torch.zeros(3)], {"logits": torch.zeros(1, 3)}, 3.5], ids=str
)
def test_what_is_no_detector_s(output):
    """Classes, text and lists of other things are no objects."""
    assert found_objects(output, 0, (5, 5), name_of) is None


def test_segments_of_mappings_and_tensors():
    """The most probable class of each pixel, on the net's own grid; a plain tensor counts only if as many classes are known."""
    scores = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    twin = np.array([[max(range(3), key=lambda k: float(scores[1, k, y, x])) for x in range(6)] for y in range(4)])
    for output in ({"out": scores}, {"logits": scores, "other": 1}):
        segments = found_segments(output, 1, (64, 96), name_of, 0)
        assert np.array_equal(segments.labels, twin)
        assert segments.names == {number: NAMES[number] for number in np.unique(twin)}
    assert np.array_equal(found_segments(scores, 1, (4, 6), name_of, 3).labels, twin)
    assert found_segments(scores, 1, (4, 6), name_of, 0) is None  # it may be a picture
    assert found_segments(scores, 1, (8, 12), name_of, 3) is None
    for other in (None, scores[:, :1], {"logits": scores[..., 0]}, {"out": None}, torch.zeros(2, 3)):
        assert found_segments(other, 0, (4, 6), name_of, 3) is None


def test_shares_count_pixels():
    """Shares are of all pixels, the largest first."""
    segments = Segments(np.array([[0, 0, 2], [0, 2, 1]]), {0: "nothing", 1: "cat", 2: "dog"})
    assert segments.shares() == [(0, 0.5), (2, pytest.approx(1 / 3)), (1, pytest.approx(1 / 6))]


def test_words():
    """A line says what the net says first: classes, objects, or segments."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert ShownImage("a", pixels, (("cat", 0.75), ("dog", 0.2), ("cow", 0.001))).words() == "cat 75%, dog 20%"
    assert ShownImage("a", pixels, objects=(FoundObject("dog", 0.6, (0, 0, 1, 1)),)).words() == "dog 60%"
    assert ShownImage("a", pixels, objects=()).words() == "no object"
    assert ShownImage("a", pixels, segments=Segments(np.zeros((2, 2), int), {0: "sky"})).words(1) == "sky 100% of the pixels"
    assert ShownImage("a", pixels).words() == ""


# On a sheet


class Detector(nn.Module):
    """Finds the same two objects in every picture."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        self.relu(self.conv(x))
        boxes = x.new_tensor([[10.0, 20.0, 40.0, 60.0], [0.5, 0.5, 95.5, 30.0]])
        detections = {"boxes": boxes, "labels": torch.tensor([1, 2]), "scores": x.new_tensor([0.9, 0.6])}
        return [detections for _ in x]


class Segmenter(nn.Module):
    """Tells the upper half from the lower one."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        x = self.relu(self.conv(x))
        upper = torch.zeros_like(x[:, :2])
        upper[:, 0, : x.shape[2] // 2] = 1
        upper[:, 1, x.shape[2] // 2 :] = 1
        return {"out": upper}


@pytest.mark.parametrize(("kind", "field"), [(Detector, "objects"), (Segmenter, "segments")])
def test_a_projection_knows_what_the_net_says(kind, field):
    """What a detector or a segmenter returned of the picture is with its projections, and the classes are empty."""
    torch.manual_seed(0)
    net = deconvnet.DeconvNet(LoadedModel.from_module(kind()).with_preprocess(size=96))
    shown = net.project(net.record([drawing(1)]), "relu", top=2).shown[0]
    assert shown.top_classes == ()
    if field == "objects":
        assert [(item.name, item.box) for item in shown.objects] == [
            ("class 1", (20, 10, 60, 40)),
            ("class 2", (0.5, 0.5, 30, 95.5)),
        ]
    else:
        assert shown.segments.shares() == [(0, 0.5), (1, 0.5)]
        assert shown.objects is None


def sheet_with(layers=1, **answer):
    tiles = [Tile(np.ones((3, 8, 8), np.float32), label=str(number)) for number in range(4)]
    picture = np.full((60, 90, 3), 100, np.uint8)
    return Sheet(picture, "a.png", layers=[LayerTiles(f"layer {number}", tiles=tiles) for number in range(layers)], **answer)


def texts(box):
    return [item.text for item in box.items if isinstance(item, TextItem)]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_sheet_shows_boxes(layers):
    """Boxes are drawn on a copy of the picture, in the colours of their rows; scores stand before names."""
    objects = (FoundObject("cat", 0.98, (10.2, 20, 40, 50)), FoundObject("a dog", 0.61, (0, 0, 60, 90)))
    page = lay_out_sheet(sheet_with(layers, objects=objects))
    assert "the net finds" in texts(page)
    assert [text for text in texts(page) if text in ("98 %", "cat", "61 %", "a dog")] == ["98 %", "cat", "61 %", "a dog"]
    assert "the net finds no object" in texts(lay_out_sheet(sheet_with(layers, objects=())))
    assert not any(text.startswith("the net") for text in texts(lay_out_sheet(sheet_with(layers))))


def test_boxes_lie_where_the_detector_says():
    """The outline of a box runs along the pixels that it touches."""
    picture = np.full((100, 200, 3), 90, np.uint8)
    box = objects_box(picture, [FoundObject("cat", 0.9, (30.4, 40.6, 79.5, 120.2))], 448)
    copy = np.asarray(box.items[0].draw(1), int)
    assert copy.shape == (100, 200, 3)
    coloured = np.argwhere((copy == COLOURS[0]).all(2))
    assert coloured.min(0).tolist() == [31, 41]  # the halo is outside
    assert coloured.max(0).tolist() == [78, 119]


def test_segments_are_painted_where_they_are():
    """Each pixel has the colour of its class over the grey picture, on a coarse grid, too; rare classes share a grey."""
    picture = np.zeros((120, 200, 3), np.uint8)
    labels = np.repeat(np.arange(8)[None], 6, 0)  # (6, 8)
    labels[:, :3] = 0
    names = {number: f"class {number}" for number in np.unique(labels)}
    box = segments_box(picture, Segments(labels, names), 448)
    copy = np.asarray(box.items[0].draw(1), float)
    for col, ink in ((10, COLOURS[0]), (60, COLOURS[0]), (80, COLOURS[1]), (199, COLOURS[5])):
        assert np.abs(copy[60, col] - 0.55 * np.array(ink)).max() <= 1
    assert texts(box)[0] == "the net's class of each pixel"
    assert len(texts(box)) == 1 + 2 * len(names)
    many = Segments(np.arange(8)[None], {number: str(number) for number in range(8)})
    rest = segments_box(picture, many, 448)
    assert texts(rest)[-2:] == ["25 %", "2 more"]
    painted = np.asarray(rest.items[0].draw(1), float)
    assert np.abs(painted[60, 199] - 0.55 * np.array(PALE)).max() <= 1
    assert len(texts(rest)) == 1 + 2 * (SEGMENTS + 1)


def test_the_command_shows_a_segmenter_s_classes(run, tmp_path, monkeypatch):
    """`deconvnet project` of a net from a file draws what it says of the picture."""
    monkeypatch.chdir(tmp_path)
    drawing(1).save("a.png")
    source = (
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.conv = nn.Conv2d(3, 4, 3, padding=1)\n"
        "    def forward(self, x):\n        x = torch.relu(self.conv(x))\n        return {'out': x[:, :2]}\n"
        "def make():\n    return Net().eval()\n"
    )
    (tmp_path / "net.py").write_text(source)
    command = "project a.png --model file:net.py:make --weights none --layer relu --size 64 --out sheet.pdf"
    code, out, err = run(*command.split())
    assert (code, out) == (0, "sheet.pdf\n"), err
    assert b"%PDF" in (tmp_path / "sheet.pdf").read_bytes()[:10]
