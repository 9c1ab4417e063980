"""Tones with known values, sheets on which nothing overlaps or is cut, files that are complete and the same every time."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deconvnet.errors import OptionError, PictureError
from deconvnet.images import FoundObject, Segments
from deconvnet.render import (
    COLOURS,
    TONES,
    LayerTiles,
    Sheet,
    Tile,
    apply_tone,
    draw_sheet,
    draw_windows,
    read_settings,
    save_arrays,
    save_picture,
    write_atomic,
)
from deconvnet.render.overlay import enlarge
from deconvnet.render.page import Box, ImageItem, TextItem, hstack, paint, text_line, vstack
from deconvnet.render.save import check_folder
from deconvnet.render.sheet import MARGIN, lay_out_sheet
from deconvnet.render.table import table_html, table_text
from deconvnet.render.text import (
    BODY,
    SMALL,
    activation_text,
    fit,
    font,
    font_file,
    line_height,
    number_text,
    percent,
    printable,
    size_text,
    text_width,
    wrap,
)
from deconvnet.render.tile import caption_form, draw_tile, tile_colours, tile_rows
from deconvnet.render.tone import TONE_WORDS, tone_text
from deconvnet.units import Window


def signal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Tone


def slow_symmetric(crop: np.ndarray, percentile: float) -> list[list[list[int]]]:
    """The default tone once more, in plain Python: sort |x|, read the percentile off, map each value."""
    channels, height, width = crop.shape
    sizes = sorted(abs(float(value)) for value in crop.flat)
    place = (len(sizes) - 1) * percentile / 100
    low = math.floor(place)
    limit = sizes[low] + (sizes[min(low + 1, len(sizes) - 1)] - sizes[low]) * (place - low)
    pixels = [[[0] * 3 for _ in range(width)] for _ in range(height)]
    for row in range(height):
        for col in range(width):
            for channel in range(3):
                value = float(crop[channel if channels == 3 else 0, row, col])
                pixels[row][col][channel] = round(127.5 + 127.5 * max(-1.0, min(1.0, value / limit)))
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("percentile", [50, 99.5, 100])
def test_symmetric_equals_its_slow_twin(channels: int, percentile: float) -> None:
    """The default tone is |x|'s percentile to black and white, zero to mid-grey, halves rounded to even."""
    crop = signal(channels, 5, 7)
    assert apply_tone([crop], "symmetric", percentile=percentile)[0].tolist() == slow_symmetric(crop, percentile)


def slow_soft(crop: np.ndarray, percentile: float) -> np.ndarray:
    """The soft tone's values once more, pixel by pixel: the mean, and each colour's difference from it, smoothed."""
    _, height, width = crop.shape
    deviation = min(max(height, width) / 10, 4.0)
    reach = max(1, round(4 * deviation))
    weights = [math.exp(-(step**2) / (2 * deviation**2)) for step in range(-reach, reach + 1)]

    def reflected(place: int, length: int) -> int:
        place %= 2 * length
        return place if place < length else 2 * length - 1 - place

    def smooth(values: np.ndarray) -> np.ndarray:
        result = np.zeros((height, width))
        for row in range(height):
            for col in range(width):
                for down, outer in zip(range(-reach, reach + 1), weights, strict=True):
                    for across, inner in zip(range(-reach, reach + 1), weights, strict=True):
                        place = reflected(row + down, height), reflected(col + across, width)
                        result[row, col] += outer * inner * values[place] / sum(weights) ** 2
        return result

    mean = crop.astype(np.float64).mean(0)
    return np.stack([mean + smooth(colour - mean) for colour in crop.astype(np.float64)])


@pytest.mark.parametrize("shape", [(13, 7), (20, 33), (1, 41)])
def test_soft_equals_its_slow_twin(shape: tuple[int, int]) -> None:
    """The default tone is the symmetric one of the mean and the smoothed colours, with the 98th percentile as its scale."""
    crop = signal(3, *shape)
    softened = slow_soft(crop, 98)
    assert np.abs(apply_tone([crop])[0].astype(int) - np.array(slow_symmetric(softened, 98))).max() <= 1


def test_soft_keeps_brightness_and_wide_colours() -> None:
    """Colours that alternate by the pixel vanish, a wide red stays red, and what is grey is as in the tone grey."""
    noise = np.where(np.indices((96, 96)).sum(0) % 2, 1.0, -1.0)
    alternating = np.stack([1 + noise, 1 - noise, np.ones((96, 96))])
    assert np.ptp(apply_tone([alternating], "symmetric")[0]) > 100
    assert np.ptp(apply_tone([alternating])[0][8:-8, 8:-8].astype(int), axis=2).max() <= 3
    red = np.zeros((3, 96, 96))
    red[0, 30:66, 30:66] = 1
    assert apply_tone([red])[0][48, 48].tolist() == apply_tone([red], "symmetric")[0][48, 48].tolist() == [255, 128, 128]
    grey = np.repeat(signal(1, 40, 40), 3, axis=0)
    assert np.array_equal(apply_tone([grey], percentile=99)[0], apply_tone([grey], "grey", percentile=99)[0])


def test_filters_of_a_few_pixels_keep_their_colours() -> None:
    """A first layer's filter is shown exactly."""
    for side in (7, 11, 12):
        crop = signal(3, side, side)
        assert np.array_equal(apply_tone([crop])[0], apply_tone([crop], "symmetric", percentile=98)[0])


def test_a_bad_number_does_not_spread_in_soft() -> None:
    """A NaN is one magenta pixel, also where colours are smoothed."""
    crop = signal(3, 40, 40)
    crop[1, 20, 20] = np.nan
    pixels = apply_tone([crop])[0]
    assert (pixels == (255, 0, 255)).all(axis=2).sum() == 1


def test_every_tone_has_words() -> None:
    """Each tone says what it did, in words that differ."""
    assert list(TONE_WORDS) == list(TONES)
    assert len(set(TONE_WORDS.values())) == len(TONES)
    assert tone_text("soft") == "tone soft: grey is zero, brightness as it is, colours smoothed"


@pytest.mark.parametrize(
    ("tone", "greys"),
    [
        ("soft", [0, 64, 128, 191, 255]),
        ("symmetric", [0, 64, 128, 191, 255]),
        ("shared", [0, 64, 128, 191, 255]),
        ("grey", [0, 64, 128, 191, 255]),
        ("minmax", [0, 64, 128, 191, 255]),
        ("positive", [0, 0, 0, 128, 255]),
        ("magnitude", [255, 128, 0, 128, 255]),
        ("sigmoid", [3, 23, 128, 232, 252]),
    ],
)
def test_tones_of_a_ramp(tone: str, greys: list[int]) -> None:
    """Each tone maps -2..2 to these greys."""
    pixels = apply_tone([np.array([[[-2.0, -1.0, 0.0, 1.0, 2.0]]])], tone, percentile=100)[0]
    assert pixels.shape == (1, 5, 3)
    assert pixels[0].tolist() == [[grey] * 3 for grey in greys]


def test_every_tone_is_in_the_ramp_test() -> None:
    """A new tone needs its known values."""
    (mark,) = test_tones_of_a_ramp.pytestmark
    assert {tone for tone, _ in mark.args[1]} == set(TONES)


@pytest.mark.parametrize("tone", TONES)
def test_nothing_is_shown_as_nothing(tone: str) -> None:
    """A projection of zeros is uniform, mid-grey or black, without a division by zero; an empty one, or none, is no error."""
    grey = 0 if tone in ("positive", "magnitude") else 128
    assert np.unique(apply_tone([np.zeros((3, 4, 5))], tone)[0]).tolist() == [grey]
    assert apply_tone([np.zeros((3, 0, 5))], tone)[0].shape == (0, 5, 3)
    assert apply_tone([], tone) == []


@pytest.mark.parametrize("tone", TONES)
def test_bad_numbers_are_visible_and_do_not_spread(tone: str) -> None:
    """A NaN is magenta, an infinity is the end of the scale, all other pixels stay as they were."""
    crop = signal(3, 4, 5)
    bad = crop.copy()
    bad[1, 0, 0], bad[:, 0, 1] = np.nan, np.inf
    pixels = apply_tone([bad], tone, percentile=100)[0]
    assert pixels[0, 0].tolist() == [255, 0, 255]
    assert pixels[0, 1].min() == pixels.max(axis=(0, 1)).min()
    assert apply_tone([np.full((3, 2, 2), np.nan)], tone)[0].reshape(-1, 3).tolist() == [[255, 0, 255]] * 4


def test_the_scale_is_taken_inside_the_frame() -> None:
    """Padding takes no part in the scale, wherever it lies."""
    crop = np.array([[[9.0, 9.0, 1.0, -0.5]]])
    assert apply_tone([crop], percentile=100, inside=[Window(0, 2, 1, 2)])[0][0, :, 0].tolist() == [255, 255, 255, 64]
    assert apply_tone([crop], percentile=100, inside=[Window(-3, 2, 9, 9)])[0][0, :, 0].tolist() == [255, 255, 255, 64]


def test_a_few_bright_pixels_on_nothing_are_visible() -> None:
    """Where the percentile is zero, the largest value is the scale."""
    crop = np.zeros((1, 100, 100))
    crop[0, 3, 4] = 0.001
    assert apply_tone([crop])[0][3, 4, 0] == 255


def test_shared_scale_compares_tiles() -> None:
    """With `shared` a projection half as strong is half as bright; by itself each tile fills its scale."""
    crops = [np.array([[[-4.0, 4.0]]]), np.array([[[-2.0, 2.0]]])]
    assert [pixels[0, 1, 0] for pixels in apply_tone(crops, "shared", percentile=100)] == [255, 191]
    assert [pixels[0, 1, 0] for pixels in apply_tone(crops, percentile=100)] == [255, 255]


def test_other_channel_counts_are_the_grey_of_their_mean() -> None:
    """Two or five channels are shown as the mean over the channels."""
    pixels = apply_tone([np.array([[[1.0, 1.0]], [[-1.0, 3.0]]])], percentile=100)[0]
    assert pixels[0].tolist() == [[128] * 3, [255] * 3]


def test_tone_options_that_cannot_be() -> None:
    """An unknown tone lists all tones; a percentile is above 0 and at most 100."""
    with pytest.raises(OptionError) as caught:
        apply_tone([], "symetric")
    known = "soft, symmetric, shared, grey, minmax, positive, magnitude, sigmoid"
    assert str(caught.value) == f"tone cannot be 'symetric': it is one of {known}. Did you mean 'symmetric'?"
    with pytest.raises(OptionError) as caught:
        apply_tone([], percentile=0)
    assert str(caught.value) == "percentile cannot be 0: it is above 0 and at most 100."


# Text


def test_letters_without_a_glyph_are_replaced() -> None:
    """The font's gaps show as a plain form or a code, never as an empty box; line breaks become spaces."""
    assert printable("Žižkov – ñandú\n ßtraße 图→√.jpg") == "Žižkov – ñandú ßtraße \\u56fe→√.jpg"
    assert printable("ﾊﾟ Ⅷ 𝐀 q\u0301") == "\\uff8a\\uff9f Ⅷ A q"
    assert printable("tabby, 61.2 % · #3 'x' (a) [b]_c") == "tabby, 61.2 % · #3 'x' (a) [b]_c"
    assert printable("\x07a\u0301\u200b") == "\\x07á\\u200b"


@pytest.mark.parametrize("width", [0, 5, 30, 100, 1000])
def test_text_is_cut_to_its_width(width: int) -> None:
    """No text is wider than it may be; what is cut shows an ellipsis, at the end or in the middle."""
    text = "n01484850_great_white_shark.jpg"
    for keep_end in (False, True):
        cut = fit(text, 12, width, keep_end=keep_end)
        assert text_width(cut, 12) <= width
        assert cut == text or "…" in cut or width < 10
    assert fit(text, 12, 100, keep_end=True).endswith(".jpg")
    assert fit(text, 12, 100).endswith("…")


def test_wrapped_text_loses_no_word() -> None:
    """Wrapping keeps every word, in order; only a word wider than the line is shortened."""
    text = "torchvision:alexnet · rule deconvnet (FTT) · tone symmetric"
    lines = wrap(text, 11, 120)
    assert " ".join(lines) == text
    assert max(text_width(part, 11) for part in lines) <= 120
    assert text_width(wrap("x" * 200, 11, 120)[0], 11) <= 120
    assert wrap("", 11, 120) == []


@pytest.mark.parametrize(
    ("activation", "text"),
    [(None, ""), (0.0, "inactive"), (-3.0, "inactive"), (12.345, "12.3"), (1.0, "1.00"), (123.4, "123"), (12345.0, "12300"),
     (0.0123, "0.0123"), (0.00099999, "0.00100"), (999.7, "1000"), (1e-7, "1.0e-7"), (1.54e8, "1.5e8"), (math.inf, "inf"), (math.nan, "nan")],
)  # fmt: skip
def test_activations_are_written_with_three_digits(activation: float | None, text: str) -> None:
    """Three significant digits; zero and below is inactive."""
    assert activation_text(activation) == text


@given(st.floats(min_value=-1e12, max_value=1e12))
def test_numbers_have_three_significant_digits(value: float) -> None:
    """Whatever the number, at most three digits are not zeros at an end, and it is right to half a unit of the last."""
    text = number_text(value)
    assert len(re.sub(r"e.*|[.-]", "", text).strip("0")) <= 3
    assert math.isclose(float(text), value, rel_tol=0.051 if "e" in text else 0.0051)


def test_the_font_is_dejavu_with_matplotlib_or_without() -> None:
    """The font's file is found where matplotlib lies; where it keeps its data elsewhere, matplotlib says where."""
    from matplotlib import get_data_path

    assert font_file() == Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    assert font(12).getname() == ("DejaVu Sans", "Book")


def test_words_stand_apart() -> None:
    """Between the letters of two words lies more white than between the letters of one."""
    for size in (SMALL, BODY):
        word, gap = (text_width(text, size) for text in ("weightssha256", "weights sha256"))
        assert gap - word >= size / 3


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [(0.0, None, "0 %"), (0.000123, None, "0.012 %"), (0.0345, None, "3.5 %"), (0.0999, None, "10 %"), (0.349, None, "35 %"),
     (1.0, None, "100 %"), (0.0, 1, "0.0 %"), (0.0001, 1, "< 0.1 %"), (0.0006, 1, "0.1 %"), (0.8487, 1, "84.9 %"),
     (1.0, 1, "100.0 %"), (0.0004, 2, "0.04 %"), (0.004, 0, "< 1 %")],
)  # fmt: skip
def test_shares_are_written_in_percent(share: float, decimals: int | None, text: str) -> None:
    """Two significant digits, or a fixed number of decimals, where something is never written as nothing."""
    assert percent(share, decimals=decimals) == text


def test_sizes_are_written_with_crosses() -> None:
    """Sizes of any number of axes stand in one word."""
    assert [size_text(size) for size in [(64, 55, 55), (3,), ()]] == ["64x55x55", "3", ""]


def test_tables_are_written_as_text_and_as_html() -> None:
    """Columns are aligned without trailing spaces; HTML escapes every word."""
    rows = [("layer", "size"), ("<b>", "3"), ("features.10", "")]
    assert table_text(rows) == "layer        size\n<b>          3\nfeatures.10"
    assert table_html(rows[:2]) == (
        "<table><thead><tr><th>layer</th><th>size</th></tr></thead><tbody><tr><td>&lt;b&gt;</td><td>3</td></tr></tbody></table>"
    )


# Windows


def test_a_window_is_drawn_around_its_pixels() -> None:
    """At scale 10 the window's outline is a halo, then the colour, on the window's own first and last pixels."""
    image = np.asarray(draw_windows(np.zeros((20, 30, 3), np.uint8), [Window(3, 4, 5, 6)], [COLOURS[0]], 10))
    assert image.shape == (200, 300, 3)
    drawn = np.argwhere(image.any(axis=2))
    assert (drawn.min(axis=0).tolist(), drawn.max(axis=0).tolist()) == ([30, 40], [79, 99])
    assert image[30, 60].tolist() == [255, 255, 255]
    assert image[31, 60].tolist() == image[32, 60].tolist() == list(COLOURS[0])
    assert image[33, 60].tolist() == [255, 255, 255]
    assert not image[34:76, 44:96].any()


def test_windows_that_show_nothing_are_not_drawn() -> None:
    """No rectangle for None, for a window that covers the picture, or for one outside it."""
    picture = np.full((8, 9, 3), 7, np.uint8)
    windows = [None, Window(-1, -1, 20, 20), Window(0, 0, 8, 9), Window(50, 50, 3, 3), Window(0, 0, 0, 0)]
    assert np.array_equal(np.asarray(draw_windows(picture, windows, list(COLOURS[:5]))), picture)


def test_windows_at_the_edge_are_clipped_to_the_picture() -> None:
    """A window with negative corners is drawn as far as the picture goes."""
    image = draw_windows(np.zeros((10, 10, 3), np.uint8), [Window(-4, -4, 8, 8)], [COLOURS[1]], 8)
    assert image.getpixel((31, 31)) == (255, 255, 255)
    assert image.getpixel((40, 40)) == (0, 0, 0)


def test_coinciding_windows_share_their_rectangle() -> None:
    """The colours of coinciding windows alternate, so none is hidden; the first window lies over later ones."""
    picture = np.zeros((30, 30, 3), np.uint8)
    image = draw_windows(picture, [Window(5, 5, 20, 20)] * 3 + [Window(5, 9, 20, 12)], list(COLOURS[:4]), 4)
    colours = {colour for _, colour in image.getcolors(1 << 16) or []}
    assert set(COLOURS[:4]) <= colours
    assert image.getpixel((60, 21)) in COLOURS[:3]


def test_each_window_needs_a_colour() -> None:
    """A colour too few is refused, not cycled in silence."""
    with pytest.raises(OptionError) as caught:
        draw_windows(np.zeros((8, 9, 3), np.uint8), [None], [])
    assert str(caught.value) == "1 windows have 0 colours. Give one colour for each window."


def test_colours_differ() -> None:
    """Nine colours, no two of them near each other."""
    assert len(COLOURS) == 9
    assert min(math.dist(first, other) for first, other in combinations(COLOURS, 2)) > 60


def test_few_pixels_stay_crisp_and_many_turn_smooth() -> None:
    """From four times on, pixels of a filter are equal blocks without new colours; of others the size alone is promised."""
    pixels = np.zeros((3, 3, 3), np.uint8)
    pixels[1, 1] = 255
    image = np.asarray(enlarge(pixels, 5))
    assert np.array_equal(image, pixels.repeat(5, axis=0).repeat(5, axis=1))
    assert enlarge(pixels, 14 / 3).size == (14, 14)
    larger = np.zeros((13, 3, 3), np.uint8)
    larger[:7] = 255
    assert len(np.unique(np.asarray(enlarge(larger, 5)))) > 2
    assert enlarge(np.zeros((30, 20, 3), np.uint8), 1.5).size == (30, 45)
    assert enlarge(np.zeros((300, 2, 3), np.uint8), 0.1).size == (1, 30)


# Tiles


def test_padding_cannot_be_mistaken_for_signal() -> None:
    """What lies outside the frame is hatched paper; what lies inside is the tile's own pixels."""
    toned = np.full((10, 10, 3), 128, np.uint8)
    image = np.asarray(draw_tile(toned, Window(4, 0, 6, 10), 100, COLOURS[0]))
    assert image.shape == (104, 104, 3)
    assert (image[42:102, 2:102] == 128).all()
    assert image[2:42, 2:102].min() > 150
    assert len(np.unique(image[2:42, 2:102])) == 2
    assert (image[:2] == COLOURS[0]).all()
    assert (image[:, -2:] == COLOURS[0]).all()


def test_a_tile_that_no_pixel_reaches_is_all_padding() -> None:
    """A projection of no pixels, or wholly outside the frame, is drawn as padding."""
    for toned, inside in ((np.zeros((0, 0, 3), np.uint8), None), (np.zeros((5, 5, 3), np.uint8), Window(9, 9, 3, 3))):
        assert np.asarray(draw_tile(toned, inside, 50, None)).min() > 150


def test_tiles_without_a_window_of_their_own_get_no_colour() -> None:
    """As many windows smaller than the picture as are outlined get a colour each, whole-map tiles and further ones none."""
    whole, small = Window(-5, -5, 99, 99), Window(1, 2, 3, 4)
    tiles = [Tile(signal(3, 4, 5), window) for window in [None, small, whole, *[small] * 10]]
    assert tile_colours(tiles, 20, 30, 9) == [None, COLOURS[0], None, *COLOURS[1:], None, None]
    assert tile_colours(tiles, 20, 30, 2) == [None, COLOURS[0], None, COLOURS[1], *[None] * 9]
    assert tile_colours(tiles, 20, 30, 0) == [None] * 13


def test_captions_take_the_fullest_form_that_fits_all() -> None:
    """Place and value on one line where there is room for every tile, then without the place, then on two lines."""
    tiles = [Tile(signal(3, 4, 5), None, "151", 12.3, 6, 6), Tile(signal(3, 4, 5), None, "7", 0.0, 11, 10)]
    assert [caption_form(tiles, width) for width in (150, 90, 50)] == ["positioned", "plain", "stacked"]
    assert caption_form([Tile(signal(3, 4, 5), label="151")], 10) == "plain"


def test_notes_stand_on_a_line_of_their_own() -> None:
    """If any tile has a note, each has room for one, so that rows stay aligned; without one nothing changes."""
    plain = [Tile(signal(3, 4, 5), None, str(number), 1.5) for number in range(3)]
    noted = [replace(plain[0], note="own 0.93"), *plain[1:]]
    toned = apply_tone([tile.pixels for tile in plain])
    without, with_notes = (tile_rows(tiles, toned, [None] * 3, 1, 100) for tiles in (plain, noted))
    assert with_notes.height - without.height == 3 * line_height(SMALL)
    assert [item.text for item in with_notes.items if isinstance(item, TextItem)][2] == "own 0.93"
    assert "own 0.93" not in [item.text for item in without.items if isinstance(item, TextItem)]


# Sheets


def tiles_of(count: int, side: int, *, height: int = 224, width: int = 224, channels: int = 3) -> list[Tile]:
    draws = np.random.default_rng(count)
    tiles = []
    for number in range(count):
        row, col = int(draws.integers(0, 13)), int(draws.integers(0, 13))
        window = Window(row * height // 13 - side // 2, col * width // 13 - side // 2, side, side)
        clipped = window.clip(height, width)
        inside = Window(clipped.top - window.top, clipped.left - window.left, clipped.height, clipped.width)
        activation = 50.0 - number if number < 45 else 0.0
        tiles.append(Tile(signal(channels, side, side), window, str(100 * number % 512), activation, row, col, inside))
    return tiles


def sheet_of(*layers: LayerTiles, height: int = 224, width: int = 224, long: bool = False) -> Sheet:
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    title = "n01484850_" + "a_very_long_name_" * 20 * long + "shark.jpg"
    answers = [("great white shark, man-eater" + ", and more" * 60 * long, 0.612), ("hammerhead", 0.05)]
    return Sheet(picture, title, answers, list(layers), "torchvision:alexnet · rule deconvnet (FTT) · " + "more " * 80 * long)


def layer_of(count: int, side: int, *, long: bool = False, **sizes: int) -> LayerTiles:
    heading = "features." + "denseblock4.denselayer32." * 12 * long + "10"
    return LayerTiles(heading, "256 maps of 13 x 13, field 163 px" + ", and so on" * 40 * long, tiles_of(count, side, **sizes))


SHEETS = {
    "1 tile": sheet_of(layer_of(1, 163)),
    "2 tiles": sheet_of(layer_of(2, 11)),
    "9 tiles": sheet_of(layer_of(9, 163)),
    "9 small tiles": sheet_of(layer_of(9, 11)),
    "16 tiles": sheet_of(layer_of(16, 51)),
    "64 tiles": sheet_of(layer_of(64, 11)),
    "512 tiles": sheet_of(layer_of(512, 11)),
    "3 blocks": sheet_of(layer_of(9, 11), layer_of(9, 51), layer_of(9, 163)),
    "3 uneven blocks": sheet_of(layer_of(1, 11), layer_of(12, 51), LayerTiles("empty")),
    "portrait": sheet_of(layer_of(9, 31, height=200, width=120), height=200, width=120),
    "landscape": sheet_of(layer_of(2, 31, height=30, width=200), layer_of(3, 31), height=30, width=200),
    "grey": sheet_of(layer_of(9, 5, height=28, width=28, channels=1), height=28, width=28),
    "whole maps": sheet_of(LayerTiles("fc", "", [Tile(signal(3, 224, 224), None, "281", 9.5), Tile(signal(3, 224, 224))])),
    "long words": sheet_of(layer_of(4, 31, height=200, width=60, long=True), height=200, width=60, long=True),
    "long words, 2 blocks": sheet_of(layer_of(1, 31, long=True), layer_of(2, 31, long=True), long=True),
    "objects": replace(sheet_of(layer_of(9, 163)), objects=[FoundObject("a dog " * n, 0.9, (0, 0, 9, 9)) for n in range(1, 7)]),
    "objects, 2 blocks": replace(sheet_of(layer_of(9, 11), layer_of(3, 31)), objects=[]),
    "segments": replace(sheet_of(layer_of(2, 31)), segments=Segments(np.arange(9)[None], {n: 9 * f"{n}x " for n in range(9)})),
    "no block": sheet_of(),
    "no tile": sheet_of(LayerTiles("features.10", "no unit is active")),
    "no words": Sheet(np.zeros((8, 9, 3), np.uint8), layers=[LayerTiles("", tiles=[Tile(signal(3, 4, 5))])]),
}


@pytest.mark.parametrize("name", SHEETS)
@pytest.mark.parametrize("options", [{}, {"columns": 5}, {"tile_size": 24}], ids=str)
def test_nothing_overlaps_or_leaves_the_page(name: str, options: dict[str, int]) -> None:
    """Every word and drawing stands inside the margins, and no two share a pixel."""
    page = lay_out_sheet(SHEETS[name], **options)
    boxes = [(item.left, item.top, item.left + item.width, item.top + item.height) for item in page.items]
    for left, top, right, bottom in boxes:
        assert left >= MARGIN
        assert top >= MARGIN
        assert right <= page.width - MARGIN
        assert bottom <= page.height - MARGIN
    array = np.array(boxes)
    for place, box in enumerate(array):
        later = array[place + 1 :]
        hit = (later[:, :2] < box[2:]).all(axis=1) & (box[:2] < later[:, 2:]).all(axis=1)
        assert not hit.any(), (page.items[place], page.items[place + 1 + int(hit.argmax())])


def test_drawn_ink_stays_in_its_box() -> None:
    """What a line of text paints lies inside the box that the layout gave it, tails and all."""
    for size in (11, 12, 14, 16):
        box = text_line("Éjpqgy_|()Ăß§,; 61.2 % #9", size, 400)
        ink = np.argwhere((np.asarray(paint(Box(420, box.height + 20, box.moved(10, 10)))) < 250).any(axis=2))
        (words,) = box.items
        assert ink[:, 0].min() >= 10
        assert ink[:, 0].max() < 10 + box.height
        assert ink[:, 1].max() <= 10 + words.width


def texts(sheet: Sheet, **options: int) -> list[str]:
    return [item.text for item in lay_out_sheet(sheet, **options).items if isinstance(item, TextItem)]


def test_a_sheet_says_what_it_shows() -> None:
    """Title, size, answers, heading, note, channels, places, activations and footer are all on the page."""
    words = texts(SHEETS["2 tiles"])
    assert words[:2] == ["n01484850_shark.jpg", "224x224 pixels, as the net sees them"]
    assert words[2:6] == ["61.2 %", "great white shark, man-eater", "5.0 %", "hammerhead"]
    assert words[6:8] == ["features.10", "256 maps of 13 x 13, field 163 px"]
    assert words[9:12:2] == ["50.0", "49.0"]
    assert words[8].startswith("0@")
    assert words[10].startswith("100@")
    assert words[12:] == ["torchvision:alexnet · rule deconvnet (FTT) ·"]


def test_a_sheet_says_when_windows_are_left_out() -> None:
    """With more windows than outlines the page says how many are drawn, and zero activations are inactive."""
    words = texts(SHEETS["64 tiles"])
    assert words[1] == "224x224 pixels, as the net sees them; outlined: the windows of the first 3"
    assert words.count("inactive") == 19
    assert "256 maps of 13 x 13, field 163 px; outlined: the windows of the first 3" in texts(SHEETS["3 uneven blocks"])
    for outlines in (0, 9):
        assert texts(SHEETS["9 tiles"], outlines=outlines)[1] == "224x224 pixels, as the net sees them"


def test_tile_and_window_carry_one_colour() -> None:
    """Each coloured tile's frame colour is found on the picture's copy, and a whole map draws no rectangle."""
    page = lay_out_sheet(SHEETS["9 small tiles"], outlines=9)
    picture, *tiles = [item.image for item in page.items if isinstance(item, ImageItem)]
    frames = [tile.getpixel((0, 0)) for tile in tiles]
    assert frames == list(COLOURS)
    colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert set(frames) <= colours
    picture, *tiles = [item.image for item in lay_out_sheet(SHEETS["9 small tiles"]).items if isinstance(item, ImageItem)]
    colours = {colour for _, colour in picture.getcolors(1 << 20) or []}
    assert colours & set(COLOURS) == set(COLOURS[:3]) == {tile.getpixel((0, 0)) for tile in tiles} & set(COLOURS)
    sheet = SHEETS["whole maps"]
    whole = next(item.image for item in lay_out_sheet(sheet).items if isinstance(item, ImageItem))
    assert np.array_equal(np.asarray(whole), np.asarray(enlarge(sheet.picture, 2)))


def test_columns_and_tile_size_are_obeyed() -> None:
    """`columns` tiles stand in a row, each with its longer side `tile_size` pixels inside its frame."""
    drawings = [
        item for item in lay_out_sheet(SHEETS["9 tiles"], columns=4, tile_size=50).items if isinstance(item, ImageItem)
    ][1:]
    assert [sum(item.top == top for item in drawings) for top in sorted({item.top for item in drawings})] == [4, 4, 1]
    assert {item.image.size for item in drawings} == {(54, 54)}


def test_default_sheets_are_of_a_size_to_look_at() -> None:
    """One block of up to 16 fits a screen, 512 tiles stay below 2,600 pixels either way, and drawing twice gives the same."""
    for name in ("1 tile", "2 tiles", "9 tiles", "9 small tiles", "16 tiles", "3 blocks"):
        page = lay_out_sheet(SHEETS[name])
        assert page.width <= 1440
        assert page.height <= 720
    many = lay_out_sheet(SHEETS["512 tiles"])
    assert max(many.width, many.height) < 2600
    assert draw_sheet(SHEETS["9 tiles"]).tobytes() == draw_sheet(SHEETS["9 tiles"]).tobytes()


def test_shared_tone_is_shared_by_all_blocks() -> None:
    """With `shared`, a faint block beside a strong one is drawn faint."""
    strong, faint = (Tile(np.full((3, 8, 8), value)) for value in (4.0, 1.0))
    sheet = sheet_of(LayerTiles("a", tiles=[strong]), LayerTiles("b", tiles=[faint]))
    for tone, greys in (("shared", [255, 159]), ("symmetric", [255, 255])):
        drawings = [item.image for item in lay_out_sheet(sheet, tone=tone).items if isinstance(item, ImageItem)]
        assert [drawings[place].getpixel((40, 40))[0] for place in (1, 3)] == greys


def test_sheet_options_that_cannot_be() -> None:
    """Each option's refusal names the value and what is possible."""
    cases = [
        ({"columns": 0}, "columns cannot be 0: a row has at least one tile."),
        ({"tile_size": 7}, "tile_size cannot be 7: a tile has at least 8 pixels."),
        ({"outlines": 10}, "outlines cannot be 10: it is how many windows are drawn, 0 to 9."),
    ]
    for options, message in cases:
        with pytest.raises(OptionError) as caught:
            draw_sheet(SHEETS["9 tiles"], **options)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(OptionError) as caught:
        draw_sheet(Sheet(np.zeros((3, 8, 8), np.uint8)))
    assert str(caught.value) == "a picture of shape (3, 8, 8) cannot be drawn. Give (H, W, 3)."


def test_boxes_stand_beside_and_below() -> None:
    """Boxes are moved by the sizes of those before them and the gaps; no boxes are an empty box."""
    first, second = text_line("a", 12, 30), text_line("b", 12, 40)
    assert [(item.left, item.top) for item in hstack([first, second], 5).items] == [(0, 0), (35, 0)]
    assert [(item.left, item.top) for item in vstack([first, second], 5).items] == [(0, 0), (0, first.height + 5)]
    assert (hstack([first, second], 5).width, vstack([first, second], 5).width) == (75, 40)
    assert hstack([]) == vstack([]) == Box(0, 0)


# Files


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8))


SETTINGS = {"model": "tiny", "units": ["conv3:4@1,2"], "percentile": 99.5, "name": "ñ 图"}


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "pdf", "PNG"])
def test_files_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """Two saves, years apart and under other names, give equal bytes, and leave nothing else behind."""
    now = time.gmtime
    for name, years in (("a", 0), ("b", 3)):
        monkeypatch.setattr(time, "gmtime", lambda *_, years=years: now(1e9 + years * 3e7))
        monkeypatch.setattr(time, "time", lambda years=years: 1e9 + years * 3e7)
        save_picture(picture(), tmp_path / f"{name}.{suffix}", settings=SETTINGS)
    first, second = sorted(tmp_path.iterdir())
    assert first.read_bytes() == second.read_bytes()
    assert b"Date" not in first.read_bytes()


def test_settings_come_back(tmp_path: Path) -> None:
    """Settings survive in PNG and JPEG, and stand in the PDF as its subject; PNG keeps the pixels."""
    for suffix in ("png", "jpg"):
        save_picture(picture(), tmp_path / f"a.{suffix}", settings=SETTINGS)
        assert read_settings(tmp_path / f"a.{suffix}") == SETTINGS
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(picture()))
    save_picture(picture(), tmp_path / "a.pdf", settings={"model": "tiny"})
    assert b'/Subject ({"model": "tiny"})' in (tmp_path / "a.pdf").read_bytes()


def test_settings_that_are_missing_are_said_to_be(tmp_path: Path) -> None:
    """No settings, somebody else's comment, no picture, no file: one line each."""
    plain, foreign, text, gone = (tmp_path / name for name in ("a.png", "b.jpg", "c.txt", "d.png"))
    save_picture(picture(), plain)
    picture().save(foreign, comment=b"made with love")
    text.write_text("x")
    none = "there are none. Give a PNG or JPEG that deconvnet saved."
    reasons = {
        plain: none, foreign: none, text: "it is not a PNG or JPEG. Check the path.",
        gone: "No such file or directory. Check the path.",
    }  # fmt: skip
    for path, reason in reasons.items():
        with pytest.raises(PictureError) as caught:
            read_settings(path)
        assert str(caught.value) == f"cannot read settings from {str(path)!r}: {reason}"


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    """Unknown suffix, missing folder, a folder in the way, settings too long for a JPEG: one line each, nothing written."""
    (tmp_path / "folder.png").mkdir()
    cases = {
        "a.bmp": "cannot save {}: the suffix is '.bmp'. Use one of .png, .jpg, .jpeg, .pdf.",
        "a": "cannot save {}: the suffix is ''. Use one of .png, .jpg, .jpeg, .pdf.",
        "gone/a.png": "cannot write {}: there is no folder " + repr(str(tmp_path / "gone")) + ". Make it first.",
        "folder.png": "cannot write {}: it is a folder. Name a file in it.",
        "a.jpg": "cannot save {}: its settings are too long for a JPEG comment. Save it as .png.",
        "x" * 300 + ".png": "cannot write {}: File name too long. Choose another place.",
    }
    for name, message in cases.items():
        with pytest.raises(OptionError) as caught:
            save_picture(picture(), tmp_path / name, settings={"x": "y" * 70_000})
        assert str(caught.value) == message.format(repr(str(tmp_path / name)))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_folder_that_does_not_exist_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's folder, also the working folder, is checked before anything is written."""
    monkeypatch.chdir(tmp_path)
    check_folder("a.png")
    check_folder(tmp_path / "a.png")
    with pytest.raises(OptionError) as caught:
        check_folder("gone/a.png")
    assert str(caught.value) == "cannot write 'gone/a.png': there is no folder 'gone'. Make it first."


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    """After an error the old file stands as it was, and no half-written one beside it."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(error: BaseException) -> None:
        with write_atomic(path) as handle:
            handle.write(b"new")
            raise error

    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(OSError, match="not of the disk"):
        fail(OSError("not of the disk"))
    with pytest.raises(OptionError) as caught:
        fail(OSError(28, "No space left on device"))
    assert str(caught.value) == f"cannot write {str(path)!r}: No space left on device. Choose another place."
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_a_write_goes_through_a_link_and_keeps_plain_permissions(tmp_path: Path) -> None:
    """A link stays a link, and a new file may be read like any other new file."""
    (tmp_path / "plain").touch()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with write_atomic(tmp_path / "link") as handle:
        handle.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_arrays_come_back_and_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are loaded as saved, and two saves give equal bytes whatever the clock says."""
    arrays = {"crops": signal(2, 3, 4, 5), "windows": np.arange(8).reshape(2, 4), "layer": np.array("features.10")}
    save_arrays(tmp_path / "a.npz", **arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2_000_000_000))
    save_arrays(tmp_path / "b.npz", **arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as loaded:
        assert sorted(loaded) == sorted(arrays)
        assert all(np.array_equal(loaded[name], value) for name, value in arrays.items())


def test_arrays_that_cannot_be_saved(tmp_path: Path) -> None:
    """Another suffix, and Python objects that numpy would pickle, are refused."""
    path = tmp_path / "a.npy"
    with pytest.raises(OptionError) as caught:
        save_arrays(path, a=[1])
    assert str(caught.value) == f"cannot save {str(path)!r}: the suffix is '.npy'. Arrays are saved as .npz."
    with pytest.raises(OptionError) as caught:
        save_arrays(tmp_path / "a.npz", units=[None])
    assert str(caught.value) == "cannot save 'units': it holds Python objects. Give numbers or text."


def test_rendering_loads_no_torch() -> None:
    """Opening and drawing pictures starts without torch, torchvision and matplotlib."""
    code = "import sys, json, deconvnet.render, deconvnet.images; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert not {"torch", "torchvision", "matplotlib"} & set(modules)
