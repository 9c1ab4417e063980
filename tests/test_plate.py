"""Plates show each example in its place and say what is missing; they are written page by page."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deconvnet.choices import PlateLayout
from deconvnet.errors import OptionError
from deconvnet.render import (
    TONES,
    DrawnExample,
    Example,
    Panel,
    apply_tone,
    draw_examples,
    draw_plate,
    plate_shape,
    read_settings,
    save_plates,
)
from deconvnet.render.example import NO_EXAMPLE, common_filter
from deconvnet.render.page import Box, ImageItem, TextItem
from deconvnet.render.plate import (
    CHANNEL_GAP,
    GUTTER,
    LEGEND,
    MARGIN,
    PADDING,
    PAPER_LEGEND,
    SQUARE_GAP,
    TILE_GAP,
    lay_out_plate,
    paper_shape,
)
from deconvnet.render.text import TITLE
from deconvnet.units import Window
from support.pdf import read_pdf


def example(
    height: int,
    width: int | None = None,
    *,
    seed: int = 0,
    inside: Window | None = None,
    activation: float = 5.0,
    channels: int = 3,
) -> Example:
    width = width or height
    draws = np.random.default_rng(seed)
    projection = draws.normal(size=(channels, height, width)).astype(np.float32)
    patch = draws.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Example(projection, patch, inside or Window(0, 0, height, width), activation, f"n{seed:08d}.jpg")


def panel(
    count: int, side: int, *, channel: int = 151, layer: str = "features.10", note: str = "", edge: bool = False
) -> Panel:
    inside = Window(side // 3, 0, side - side // 3, side) if edge else None
    examples = [example(side, seed=number, inside=inside, activation=21.4 - number / 2) for number in range(count)]
    return Panel(layer, channel, examples, note)


def words(page: Box) -> list[str]:
    return [item.text for item in page.items if isinstance(item, TextItem)]


def drawings(page: Box) -> list[ImageItem]:
    return [item for item in page.items if isinstance(item, ImageItem)]


def tile_at(block: ImageItem, place: int, side: int, across: int = 3) -> np.ndarray:
    """Cut one tile out of a block, by its place in reading order."""
    top, left = (place // across) * (side + TILE_GAP), (place % across) * (side + TILE_GAP)
    return np.asarray(block.image)[top : top + side, left : left + side]


# What a tile shows


def test_tiles_equal_their_slow_twin() -> None:
    """Small windows are enlarged pixel by pixel: zero mid-grey, the largest |x| black or white; the patch as it is."""
    sample = example(7)
    (drawn,) = draw_examples([sample], 35, tone="symmetric", percentile=100)
    limit = max(abs(float(value)) for value in sample.projection.flat)
    for row in range(35):
        for col in range(35):
            values = sample.projection[:, row // 5, col // 5]
            assert drawn.projection[row, col].tolist() == [round(127.5 + 127.5 * float(part) / limit) for part in values]
            assert drawn.patch[row, col].tolist() == sample.patch[row // 5, col // 5].tolist()


def test_large_windows_are_reduced_with_their_mean() -> None:
    """A chessboard of single pixels is drawn as even grey, not as the pixels that happen to be hit."""
    board = np.indices((200, 200)).sum(axis=0) % 2
    patch = np.repeat((255 * board).astype(np.uint8)[:, :, None], 3, axis=2)
    sample = Example((2.0 * board - 1)[None], patch, Window(0, 0, 200, 200), 1.0)
    (drawn,) = draw_examples([sample], 50)
    for shown in (drawn.projection, drawn.patch):
        assert shown.shape == (50, 50, 3)
        assert abs(float(shown.mean()) - 127.5) < 1
        assert np.ptp(shown[2:-2, 2:-2]) < 8


def test_padding_is_hatched_and_takes_no_part() -> None:
    """Beyond the edge both tiles are hatched; what lies there changes neither the scale nor the pixels beside it."""
    inside = Window(20, 0, 40, 60)
    ones = example(60, inside=inside)
    ones = replace(ones, patch=np.full_like(ones.patch, 255), projection=np.ones_like(ones.projection))
    wild = replace(ones, patch=ones.patch.copy(), projection=ones.projection.copy())
    wild.patch[:20], wild.projection[:, :20] = 0, 900
    (drawn,) = draw_examples([wild], 90)
    assert drawn.padded
    for shown in (drawn.projection, drawn.patch):
        assert np.unique(shown[30:]).tolist() == [255]
        assert np.unique(shown[:30]).tolist() == [160, 176]
    assert not draw_examples([example(60)], 90)[0].padded


def test_an_example_all_of_padding_can_be_drawn() -> None:
    """A window wholly outside the frame is hatched all over, as is one of no pixels."""
    for sample in (
        example(9, inside=Window(9, 9, 0, 0)),
        Example(np.zeros((3, 0, 0)), np.zeros((0, 0, 3), np.uint8), Window(0, 0, 0, 0), 0.0),
    ):
        (drawn,) = draw_examples([sample], 40)
        assert drawn.patch.shape == drawn.projection.shape == (40, 40, 3)
        assert set(np.unique(drawn.patch)) | set(np.unique(drawn.projection)) == {160, 176}


@pytest.mark.parametrize("tone", TONES)
def test_tones_are_those_of_all_figures(tone: str) -> None:
    """Every tone can be had, and a channel's examples are toned together."""
    examples = [example(6, seed=1), replace(example(6, seed=2), projection=example(6, seed=2).projection / 2)]
    toned = apply_tone([sample.projection for sample in examples], tone)
    for drawn, shown in zip(draw_examples(examples, 24, tone=tone), toned, strict=True):
        assert np.array_equal(drawn.projection, shown.repeat(4, axis=0).repeat(4, axis=1))


def test_shared_scale_is_shared_within_a_panel_alone() -> None:
    """With `shared` a weaker projection of the channel is fainter; another channel's strength changes nothing."""
    strong, weak = (Example(np.array([[[-x, x]]]), np.zeros((1, 2, 3), np.uint8), Window(0, 0, 1, 2), x) for x in (4.0, 2.0))
    page = lay_out_plate([Panel("a", 0, [strong, weak]), Panel("a", 1, [weak])], tone="shared", percentile=100, tile=8)
    left, _, other, _ = drawings(page)
    assert [int(np.asarray(block.image)[1, col].max()) for block, col in ((left, 7), (left, 17), (other, 7))] == [255, 191, 255]


# Where it stands


def test_examples_stand_in_reading_order() -> None:
    """Projections on the left, patches on the right, each block three by three, strongest first."""
    single = panel(9, 7)
    left, right = drawings(lay_out_plate([single], tile=28))
    assert left.image.size == right.image.size == (3 * 28 + 2 * TILE_GAP,) * 2
    assert (right.left - left.left - left.width, right.top - left.top) == (SQUARE_GAP, 0)
    for place, drawn in enumerate(draw_examples(single.examples, 28)):
        assert np.array_equal(tile_at(left, place, 28), drawn.projection)
        assert np.array_equal(tile_at(right, place, 28), drawn.patch)


def test_examples_drawn_early_give_the_same_page() -> None:
    """Drawing the examples first, the floats let go, changes no pixel of the page."""
    panels = [panel(9, 19), panel(4, 19, edge=True), panel(0, 19)]
    columns, side = plate_shape(3)
    early = [replace(panel, examples=draw_examples(panel.examples, side, tone="shared")) for panel in panels]
    assert all(isinstance(drawn, DrawnExample) for panel in early for drawn in panel.examples)
    page, same = draw_plate(panels, tone="shared", columns=columns), draw_plate(early)
    assert page.mode == "RGB"
    assert page.tobytes() == same.tobytes() == draw_plate(panels, tone="shared").tobytes()


def test_places_without_an_example_are_outlined() -> None:
    """Five examples leave four white places in each block, with a line around them."""
    for block in drawings(lay_out_plate([panel(5, 7)], tile=30)):
        for place in range(5, 9):
            empty = tile_at(block, place, 30)
            assert (empty[1:-1, 1:-1] == 255).all()
            assert {tuple(pixel) for pixel in empty[0]} == {(205, 205, 205)}


def test_a_channel_that_nothing_excites_says_so() -> None:
    """Without an example the panel keeps its size, its name and its note, and says why it is empty."""
    page = lay_out_plate([panel(9, 7), panel(0, 7, channel=7, note="dead")])
    left, right, empty = drawings(page)
    assert empty.image.size == (left.width + SQUARE_GAP + right.width, left.height)
    assert words(page)[1:] == ["features.10:151", "21.4 … 17.4", "features.10:7", "dead"]
    ink = np.argwhere((np.asarray(empty.image)[2:-2, 2:-2] < 200).any(axis=2))
    assert len(ink) > 100
    assert np.abs(ink.mean(axis=0) + 2 - np.array([left.height / 2, empty.width / 2])).max() < 6
    assert NO_EXAMPLE == "no picture excites this channel"


def test_more_than_nine_examples_make_larger_squares() -> None:
    """Sixteen examples stand four by four, on a page no wider than any other."""
    page = lay_out_plate([panel(16, 7), panel(9, 7)])
    blocks = drawings(page)
    side = plate_shape(2, examples=16)[1]
    assert {block.image.size for block in blocks} == {(4 * side + 3 * TILE_GAP,) * 2}
    drawn = draw_examples(panel(16, 7).examples, side)
    assert np.array_equal(tile_at(blocks[1], 15, side, across=4), drawn[15].patch)
    assert page.width <= 1800


def test_oblong_windows_keep_their_shape() -> None:
    """A window higher than wide is drawn so, and the places close up around it."""
    examples = [example(20, 10, seed=number) for number in range(9)]
    left, _ = drawings(lay_out_plate([Panel("conv1", 3, examples)], tile=80))
    assert left.image.size == (3 * 40 + 2 * TILE_GAP, 3 * 80 + 2 * TILE_GAP)


PLATES = {
    "1": [panel(9, 59)],
    "1 small": [panel(9, 7)],
    "1 of nothing": [panel(0, 7, note="dead")],
    "1 with one picture": [panel(1, 7, note="fires on 3 % of the pictures")],
    "3": [panel(9, 31, channel=number) for number in range(3)],
    "4": [panel(9, 163, channel=number, note="fires on 3 % of the pictures") for number in range(4)],
    "5": [panel(number, 15, channel=number) for number in range(5)],
    "12": [panel(9, 27, channel=number, edge=number % 2 == 0) for number in range(12)],
    "24": [panel(9, 7, channel=number) for number in range(24)],
    "30": [panel(2, 7, channel=number) for number in range(30)],
    "16 each": [panel(16, 7, channel=number) for number in range(4)],
    "3 layers": [panel(9, 7, channel=number, layer=layer) for layer in ("a", "b", "c") for number in range(2)],
    "long words": [panel(9, 7, layer="features." + "denseblock4.denselayer32." * 9 + "conv2", note="and so on, " * 30)] * 5,
}


@pytest.mark.parametrize("name", PLATES)
@pytest.mark.parametrize(
    "options",
    [{}, {"columns": 5}, {"tile": 24}, {"tile": 110, "columns": 2}, {"layout": "paper"}, {"layout": "paper", "tile": 30}],
    ids=str,
)
def test_nothing_overlaps_or_leaves_the_page(name: str, options: dict[str, int]) -> None:
    """Every word and drawing stands inside the margins, and no two share a pixel."""
    page = lay_out_plate(
        PLATES[name], title="features.10 " * 40, footer="torchvision:squeezenet1_0 · tone grey · " * 9, **options
    )
    boxes = np.array([(item.left, item.top, item.left + item.width, item.top + item.height) for item in page.items])
    assert boxes[:, :2].min() >= MARGIN
    assert (boxes[:, 2:] <= np.array([page.width, page.height]) - MARGIN).all()
    for place, box in enumerate(boxes):
        later = boxes[place + 1 :]
        hit = (later[:, :2] < box[2:]).all(axis=1) & (box[:2] < later[:, 2:]).all(axis=1)
        assert not hit.any(), (page.items[place], page.items[place + 1 + int(hit.argmax())])


@pytest.mark.parametrize("layout", ["panels", "paper"])
def test_a_narrow_page_says_its_title_whole(layout: PlateLayout) -> None:
    """Small tiles, as a column of a paper wants them, cut no word of the title."""
    title = "torchvision:squeezenet1_0 features.8 and features.12: top 9 of 133 pictures"
    page = lay_out_plate(PLATES["12"][:2], title=title, layout=layout, tile=20, columns=1)
    assert page.width < 300
    assert " ".join(item.text for item in page.items if getattr(item, "size", None) == TITLE) == title


@pytest.mark.parametrize("name", PLATES)
def test_pages_are_of_a_size_to_look_at(name: str) -> None:
    """By default no page is wider than 1,800 pixels, and its tiles are at least 24 pixels."""
    for layout in ("panels", "paper"):
        page = lay_out_plate(PLATES[name], layout=layout)
        assert page.width <= 1800
    assert plate_shape(len(PLATES[name]))[1] >= 24


def test_the_shape_of_a_page() -> None:
    """One panel alone, four two by two, a dozen in threes, more in fours; what is given is kept."""
    assert [plate_shape(count) for count in (1, 2, 3, 4, 5, 12, 13, 512)] == [
        (1, 160), (2, 140), (3, 90), (2, 140), (3, 90), (3, 90), (4, 65), (4, 65)
    ]  # fmt: skip
    assert plate_shape(12, columns=2) == (2, 140)
    assert plate_shape(12, tile=140) == (2, 140)
    assert plate_shape(12, tile=700) == (1, 700)
    assert plate_shape(12, columns=6, tile=50) == (6, 50)
    assert plate_shape(99, columns=40) == (40, 24)


# What it says


def test_captions_name_layer_channel_and_activations() -> None:
    """Each panel has its layer and channel, its note, the strongest activation and the last."""
    page = lay_out_plate([panel(9, 7, note="fires on 3 % of the pictures"), panel(1, 7, channel=3)], title="net", footer="tone")
    assert words(page) == [
        "net", LEGEND, "features.10:151", "fires on 3 % of the pictures", "21.4 … 17.4", "features.10:3", "21.4", "tone"
    ]  # fmt: skip


def test_a_note_without_room_gets_its_own_line() -> None:
    """On narrow panels all notes stand under the names, whole, rather than cut between name and activations."""
    note = "fires on 3 % of the pictures"
    page = lay_out_plate([panel(9, 7, note=note), panel(9, 7, channel=3)], tile=44)
    assert note in words(page)
    names = [item for item in page.items if isinstance(item, TextItem)]
    places = {item.text: item for item in names}
    assert places[note].top >= places["features.10:151"].top + places["features.10:151"].height
    assert len({item.top for item in drawings(page)}) == 1


def test_hatching_is_explained_where_there_is_any() -> None:
    """The page says what hatched paper means, if it shows any."""
    assert " ".join(words(lay_out_plate([panel(9, 21, edge=True)] * 2))[:1]) == LEGEND + PADDING
    assert words(lay_out_plate([panel(9, 21)] * 2))[0] == LEGEND


def test_the_page_of_one_channel_names_its_pictures() -> None:
    """Activation and file stand in three columns, in the order of the tiles; on pages of several there is no room."""
    page = lay_out_plate([panel(9, 7)])
    listed = [item for item in page.items if isinstance(item, TextItem)][-18:]
    assert [item.text for item in listed[1::2]] == [f"n{number:08d}.jpg" for number in range(9)]
    assert [item.text for item in listed[::2]][:2] == ["21.4", "20.9"]
    assert len({item.top for item in listed}) == len({item.left for item in listed[1::2]}) == 3
    assert "n00000001.jpg" not in words(lay_out_plate([panel(9, 7)] * 2))


def message(**options: int) -> str:
    with pytest.raises(OptionError) as caught:
        draw_plate([panel(2, 7)], **options)
    return str(caught.value)


def test_options_that_cannot_be() -> None:
    """Each refusal says what was asked, what was found and what to do."""
    assert message(columns=0) == "columns cannot be 0: a row has at least one panel."
    assert message(tile=7) == "tile cannot be 7: a tile has at least 8 pixels."
    with pytest.raises(OptionError) as caught:
        draw_plate([])
    assert str(caught.value) == "a plate without a channel cannot be drawn. Give at least one panel."
    early = replace(panel(0, 7), examples=draw_examples([example(7)], 40))
    with pytest.raises(OptionError) as caught:
        draw_plate([early], tile=50)
    assert str(caught.value) == "tiles of 40 and 50 pixels cannot stand on one page. Draw all examples with one size."
    with pytest.raises(OptionError) as caught:
        draw_examples([replace(example(7), patch=np.zeros((7, 8, 3), np.uint8))], 40)
    shapes = "a projection of shape (3, 7, 7) and a patch of shape (7, 8, 3) do not fit each other."
    assert str(caught.value) == f"{shapes} Give (C, h, w) and (h, w, 3)."


# Several layers, and the paper's layout


def test_each_layer_begins_a_row() -> None:
    """Panels of one layer stand together, those of the next on rows below, with more room between."""
    page = lay_out_plate([panel(9, 7, channel=number, layer=layer) for layer in ("a", "b") for number in range(4)], columns=3)
    names = {item.text: item for item in page.items if isinstance(item, TextItem)}
    rows = [[names[f"{layer}:{number}"].top for number in range(4)] for layer in ("a", "b")]
    for first, *others in rows:
        assert others == [first, first, others[-1]]
        assert others[-1] > first
    assert rows[1][0] - rows[0][3] > rows[0][3] - rows[0][0]
    assert names["b:0"].left == names["a:0"].left


def test_the_paper_s_layout_has_no_words_in_its_blocks() -> None:
    """A layer's projections stand together on the left, its patches on the right, in the same order; numbers stand below."""
    panels = [panel(9, 19, channel=3 * number, layer=layer) for layer, count in (("a", 5), ("b", 2)) for number in range(count)]
    page = lay_out_plate(panels, title="net", footer="tone", layout="paper")
    columns, side = paper_shape(5)
    assert words(page) == [
        "net", PAPER_LEGEND, "a", "channels, row by row: 0, 3, 6, 9, 12", "b", "channels, row by row: 0, 3", "tone"
    ]  # fmt: skip
    squares = drawings(page)
    assert len(squares) == 14
    assert {square.image.size for square in squares} == {(3 * side + 2 * TILE_GAP,) * 2}
    first = squares[:5]
    assert [square.left - first[0].left for square in first[:columns]] == [
        (first[0].width + CHANNEL_GAP) * number for number in range(columns)
    ]
    patches = squares[5:10]
    half = columns * (first[0].width + CHANNEL_GAP) - CHANNEL_GAP
    for projection, patch in zip(first, patches, strict=True):
        assert (patch.left - projection.left, patch.top) == (half + GUTTER, projection.top)
    for number, drawn in enumerate(draw_examples(panels[0].examples, side)):
        assert np.array_equal(tile_at(squares[0], number, side), drawn.projection)
        assert np.array_equal(tile_at(patches[0], number, side), drawn.patch)


def test_the_shape_of_the_paper_s_blocks() -> None:
    """A block is about square and fills half of the page; what is given is kept."""
    assert [paper_shape(count) for count in (1, 4, 12, 16, 30, 400)] == [(1, 160), (2, 140), (4, 68), (4, 68), (6, 44), (8, 32)]
    assert paper_shape(12, columns=6, tile=20) == (6, 20)
    with pytest.raises(OptionError) as caught:
        draw_plate([panel(2, 7)], layout="grid")  # type: ignore[arg-type]
    assert str(caught.value) == "layout cannot be 'grid': it is one of panels, paper."


def filter_examples(side: int, *, seed: int = 1) -> list[Example]:
    kernel = np.random.default_rng(seed).normal(size=(3, side, side)).astype(np.float32)
    return [replace(example(side, seed=number), projection=kernel * (9 - number)) for number in range(9)]


@pytest.mark.parametrize("layout", ["panels", "paper"])
def test_a_filter_fills_its_square(layout: str) -> None:
    """Where all projections are one filter, it is drawn once, as large as nine, each pixel a square; patches stay nine."""
    left, right = drawings(lay_out_plate([Panel("conv1", 3, filter_examples(7))], tile=33, layout=layout))
    assert left.image.size == right.image.size == (103, 103)
    toned = apply_tone([filter_examples(7)[0].projection])[0]
    centres = np.asarray(left.image)[7::15, 7::15][:7, :7]
    assert np.array_equal(centres, toned)
    assert len({tile_at(right, place, 33).tobytes() for place in range(9)}) == 9


def test_what_a_filter_is() -> None:
    """Projections that differ in strength alone are a filter, also where an edge has cut some; any other difference is none."""
    examples = filter_examples(7)
    assert np.array_equal(common_filter(examples), examples[0].projection)
    cut = replace(examples[0], projection=examples[0].projection.copy())
    cut.projection[:, :2] = 0
    assert np.array_equal(common_filter([cut, *examples[1:]]), examples[1].projection)
    assert common_filter([*examples[:-1], filter_examples(7, seed=2)[0]]) is None
    assert common_filter(filter_examples(19)) is None
    assert common_filter(examples[:1]) is None
    assert common_filter([replace(examples[0], projection=np.zeros((3, 7, 7)))] * 3) is None
    assert common_filter([]) is None


@pytest.mark.parametrize("layout", ["panels", "paper"])
def test_a_plate_at_twice_the_scale_is_drawn_finer(layout: str) -> None:
    """Tiles drawn for the scale are pasted as they are; the layout stays."""
    panels = [panel(9, 19, channel=number) for number in range(2)] + [panel(0, 7, channel=7)]
    small, large = (draw_plate(panels, layout=layout, scale=scale) for scale in (1, 2))
    assert large.size == (2 * small.width, 2 * small.height)
    drawn = draw_examples(panels[0].examples, 40, scale=2)
    assert (drawn[0].patch.shape, drawn[0].size, drawn[0].side) == ((80, 80, 3), (40, 40), 40)
    page = lay_out_plate([replace(panels[0], examples=drawn)], layout=layout, scale=2)
    left = drawings(page)[0].draw(2)
    assert np.array_equal(np.asarray(left)[:80, :80], drawn[0].projection)


# Files

SETTINGS = {"model": "tiny", "layer": "a (b) \\ c\n", "picture": "Žižkov"}


def page_of(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (30 + number, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pdf"])
def test_one_page_becomes_the_file_named(tmp_path: Path, suffix: str) -> None:
    """A single page is saved as any picture is, with its settings inside."""
    path = tmp_path / f"plate{suffix}"
    assert save_plates([page_of(0)], path, settings=SETTINGS) == [path]
    assert list(tmp_path.iterdir()) == [path]
    if suffix != ".pdf":
        assert read_settings(path) == SETTINGS


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_several_pages_become_numbered_files(tmp_path: Path, suffix: str) -> None:
    """plate.png becomes plate-001.png and so on, each with the settings and its number."""
    files = save_plates(map(page_of, range(3)), tmp_path / f"plate{suffix}", settings=SETTINGS)
    assert [file.name for file in files] == [f"plate-00{number}{suffix}" for number in (1, 2, 3)]
    assert sorted(tmp_path.iterdir()) == files
    for number, file in enumerate(files):
        assert read_settings(file) == {**SETTINGS, "page": number + 1}
        with Image.open(file) as image:
            assert image.size == page_of(number).size
            assert suffix == ".jpg" or image.tobytes() == page_of(number).tobytes()


@pytest.mark.parametrize("count", [2, 13])
def test_several_pages_become_one_pdf(tmp_path: Path, count: int) -> None:
    """A PDF holds every page, in order, at 150 dots per inch, and the settings; there is no date in it."""
    path = tmp_path / "plate.pdf"
    assert save_plates(map(page_of, range(count)), path, settings=SETTINGS) == [path]
    pages, subject, _ = read_pdf(path)
    assert json.loads(subject) == SETTINGS
    for number, page in enumerate(pages):
        assert page.size == pytest.approx((40 * 72 / 150, (30 + number) * 72 / 150), abs=1e-3)
        (image,) = page.images
        assert image.tobytes() == page_of(number).tobytes()
    assert len(pages) == count
    assert b"Date" not in path.read_bytes()


def test_a_pdf_knows_where_its_objects_begin(tmp_path: Path) -> None:
    """Every entry of the table points at the object of its number, as a reader that trusts it needs."""
    save_plates(map(page_of, range(5)), tmp_path / "plate.pdf", settings=SETTINGS)
    data = (tmp_path / "plate.pdf").read_bytes()
    begin = int(data.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    head, count, *entries = data[begin:].split(b"trailer")[0].split(b"\n")[:-1]
    assert (head, count) == (b"xref", b"0 %d" % len(entries))
    assert {len(entry) for entry in entries} == {19}  # and the line's end: 20 bytes
    for number, entry in enumerate(entries[1:], start=1):
        assert data[int(entry[:10]) :].startswith(b"%d 0 obj\n" % number)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".pdf"])
def test_the_same_pages_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """Two plates of the same panels are equal files, wherever they are written."""
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pages = (draw_plate([panel(9, 7, channel=number)], tile=24) for number in range(2))
        files.append(save_plates(pages, tmp_path / name / f"plate-{name}{suffix}", settings=SETTINGS))
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()


def broken(count: int) -> Iterator[Image.Image]:
    yield from map(page_of, range(count))
    raise RuntimeError("interrupted")


def test_an_interrupted_pdf_leaves_what_was_there(tmp_path: Path) -> None:
    """If a page fails, no file appears, and an older one stays as it was."""
    path = tmp_path / "plate.pdf"
    for old in (None, b"old"):
        if old is not None:
            path.write_bytes(old)
        with pytest.raises(RuntimeError, match="interrupted"):
            save_plates(broken(4), path)
        assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


def test_interrupted_numbered_pages_are_whole(tmp_path: Path) -> None:
    """Pages written before the failure stay, each complete."""
    with pytest.raises(RuntimeError, match="interrupted"):
        save_plates(broken(4), tmp_path / "plate.png")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [f"plate-00{number}.png" for number in (1, 2, 3, 4)]
    for number, file in enumerate(files):
        with Image.open(file) as image:
            assert image.tobytes() == page_of(number).tobytes()


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_pages_are_released_once_written(tmp_path: Path, suffix: str) -> None:
    """Of thirty pages from a generator no more than two are ever held."""
    references: list[weakref.ref[Image.Image]] = []
    most = 0

    def pages() -> Iterator[Image.Image]:
        nonlocal most
        for number in range(30):
            page = page_of(number)
            references.append(weakref.ref(page))
            most = max(most, sum(reference() is not None for reference in references))
            yield page
            del page

    save_plates(pages(), tmp_path / f"plate{suffix}")
    assert most == 2


def test_plates_that_cannot_be_saved(tmp_path: Path) -> None:
    """No page, an unknown suffix, or no folder: refused, the last two before any page is asked for or kept."""
    with pytest.raises(OptionError) as caught:
        save_plates([], tmp_path / "plate.pdf")
    assert str(caught.value) == f"cannot save {str(tmp_path / 'plate.pdf')!r}: there is no page to write. Give at least one."
    with pytest.raises(OptionError) as caught:
        save_plates(broken(0), tmp_path / "plate.gif")
    known = ".png, .jpg, .jpeg, .pdf"
    assert str(caught.value) == f"cannot save {str(tmp_path / 'plate.gif')!r}: the suffix is '.gif'. Use one of {known}."
    for suffix in (".pdf", ".png"):
        path = tmp_path / "none" / f"plate{suffix}"
        with pytest.raises(OptionError) as caught:
            save_plates(map(page_of, range(2)), path)
        named = path if suffix == ".pdf" else path.with_name("plate-001.png")
        assert str(caught.value) == f"cannot write {str(named)!r}: there is no folder {str(path.parent)!r}. Make it first."
