"""Pages for print: everything is drawn anew at another scale, and a PDF has real text and lossless pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deconvnet.errors import OptionError
from deconvnet.render import LayerTiles, Sheet, Tile, save_picture, save_plates
from deconvnet.render.page import Box, ImageItem, TextItem, image_box, paint, text_line, vstack
from deconvnet.render.sheet import lay_out_sheet
from deconvnet.render.text import text_width
from deconvnet.units import Window
from support.pdf import read_pdf


def sheet() -> Box:
    draws = np.random.default_rng(0)
    tiles = [
        Tile(draws.normal(size=(3, 31, 31)), Window(20 * number, 30, 31, 31), str(number), 9.0 - number, number, 3)
        for number in range(4)
    ]
    picture = draws.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    layer = LayerTiles("features.10", "64 channels of 13x13", tiles)
    return lay_out_sheet(Sheet(picture, "Žižkov – macaw.jpg", [("macaw", 0.93)], [layer], "net · tone soft"))


@pytest.mark.parametrize("scale", [0.5, 1, 1.5, 2, 4])
def test_a_page_is_painted_at_any_scale(scale: float) -> None:
    """All lengths grow; tiles keep their places, and are drawn at the scale's own resolution."""
    page = sheet()
    image = paint(page, scale)
    assert image.size == (round(page.width * scale), round(page.height * scale))
    for item in page.items:
        if isinstance(item, ImageItem):
            drawn = item.draw(scale)
            assert abs(drawn.width - item.width * scale) <= 2
            assert abs(drawn.height - item.height * scale) <= 2
            left, top = round(item.left * scale), round(item.top * scale)
            assert np.array_equal(np.asarray(image)[top : top + drawn.height, left : left + drawn.width], np.asarray(drawn))


def test_a_tile_at_twice_the_scale_has_more_detail_than_one_enlarged() -> None:
    """Pixels are taken from the projection again, not from the smaller drawing."""
    item = [item for item in sheet().items if isinstance(item, ImageItem)][1]
    large, small = item.draw(2), item.draw(0.5)
    assert np.abs(np.asarray(large, float) - np.asarray(small.resize(large.size, Image.Resampling.NEAREST), float)).mean() > 5


@pytest.mark.parametrize("scale", [0.5, 1, 1.3, 2, 3])
@pytest.mark.parametrize("align", ["left", "right"])
def test_text_stays_in_its_box_at_any_scale(scale: float, align: str) -> None:
    """A line is no wider than its box, and stays at the end to which it is aligned."""
    line = text_line("Éjpqgy_|()Ăß§,; 61.2 % @9 weights sha256", 14, 400, align=align)  # type: ignore[arg-type]
    (item,) = line.items
    ink = np.argwhere((np.asarray(paint(line, scale)) < 200).any(axis=2))
    assert ink[:, 1].min() >= item.left * scale - 1.5
    assert ink[:, 1].max() <= (item.left + item.width) * scale + 1.5
    if align == "right":
        assert ink[:, 1].max() >= 400 * scale - 4 - scale


def test_a_pdf_has_the_page_s_words_where_they_stand(tmp_path: Path) -> None:
    """Each line is text that can be searched, at its place; it is stretched by so little that nobody sees it."""
    page = sheet()
    save_picture(page, tmp_path / "a.pdf", settings={"model": "tiny"})
    (read,), subject, _ = read_pdf(tmp_path / "a.pdf")
    assert subject == '{"model": "tiny"}'
    texts = [item for item in page.items if isinstance(item, TextItem)]
    assert [line.text for line in read.lines] == [item.text for item in texts]
    assert "Žižkov – macaw.jpg" in [line.text for line in read.lines]
    points = 72 / 150
    assert read.size == pytest.approx((page.width * points, page.height * points), abs=1e-3)
    for line, item in zip(read.lines, texts, strict=True):
        place = (item.left * points, (page.height - item.baseline) * points, item.size * points)
        assert (line.left, line.bottom, line.size) == pytest.approx(place, abs=1e-3)


def test_a_pdf_stretches_text_by_little(tmp_path: Path) -> None:
    """The widths of the layout, which are whole pixels, differ from the font's own by a few percent at most."""
    page = vstack(
        [text_line("rule deconvnet · tone soft: grey is zero, brightness as it is", size, 900) for size in (11, 12, 14, 16)]
    )
    save_picture(page, tmp_path / "a.pdf")
    stretches = [float(row.split()[-1]) for row in (tmp_path / "a.pdf").read_text("latin-1").split(" Tz")[:-1]]
    assert len(stretches) == 4
    assert all(95 < stretch < 106 for stretch in stretches)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_pdf_s_pictures_are_lossless(tmp_path: Path, scale: float) -> None:
    """The pixels in the file are those that were drawn, at the scale that was asked for; the page's size stays."""
    page = sheet()
    save_picture(page, tmp_path / "a.pdf", scale=scale)
    (read,), _, _ = read_pdf(tmp_path / "a.pdf")
    items = [item for item in page.items if isinstance(item, ImageItem)]
    assert len(read.images) == len(items) == 5
    assert read.size == pytest.approx((page.width * 0.48, page.height * 0.48), abs=1e-3)
    for image, place, item in zip(read.images, read.places, items, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(item.draw(scale)))
        bottom = page.height - item.top - item.height
        assert place == pytest.approx([0.48 * length for length in (item.left, bottom, item.width, item.height)], abs=1e-3)


def test_the_embedded_font_has_the_letters_of_all_pages(tmp_path: Path) -> None:
    """The font is a small subset of DejaVu Sans that draws every letter of every page, each under its own number."""
    pages = [text_line("abc", 12, 400), text_line("xyz – Ž ?", 12, 400)]
    save_plates(pages, tmp_path / "a.pdf")
    read, _, font = read_pdf(tmp_path / "a.pdf")
    assert [line.text for page in read for line in page.lines] == ["abc", "xyz – Ž ?"]
    content = (tmp_path / "a.pdf").read_bytes()
    numbers = {int(part[place : place + 4], 16) for part in _shown(content) for place in range(0, len(part), 4)}
    drawn = {number for number in numbers if font["glyf"][font.getGlyphName(number)].numberOfContours}
    assert len(numbers) == len("abcxyz–Ž? ")
    assert len(drawn) == len(numbers) - 1  # all but the space
    assert len(content) < 60_000


def _shown(content: bytes) -> list[str]:
    return [part.split("<")[-1] for part in content.decode("latin-1").split("> Tj")[:-1]]


def test_letters_that_need_two_code_units(tmp_path: Path) -> None:
    """A letter beyond the 65,536 first is written so that readers find it."""
    page = text_line("𝔸", 12, 100)
    save_picture(page, tmp_path / "a.pdf")
    (read,), _, _ = read_pdf(tmp_path / "a.pdf")
    assert [line.text for line in read.lines] == [item.text for item in page.items if isinstance(item, TextItem)]


@pytest.mark.parametrize("suffix", ["png", "jpg", "pdf"])
def test_a_page_has_the_same_bytes_every_time(tmp_path: Path, suffix: str) -> None:
    """Two saves of one page give equal files, at any scale."""
    for scale in (1, 2):
        first, second = (tmp_path / f"{name}-{scale}.{suffix}" for name in "ab")
        save_picture(sheet(), first, scale=scale, settings={"a": 1})
        save_picture(sheet(), second, scale=scale, settings={"a": 1})
        assert first.read_bytes() == second.read_bytes()


def test_pictures_say_how_large_they_print(tmp_path: Path) -> None:
    """PNG and JPEG know their dots per inch, so that a finer one prints as large."""
    for suffix in ("png", "jpg"):
        for scale in (1, 2):
            save_picture(sheet(), tmp_path / f"a.{suffix}", scale=scale)
            with Image.open(tmp_path / f"a.{suffix}") as image:
                assert image.info["dpi"] == pytest.approx((150 * scale, 150 * scale), abs=0.1)


@pytest.mark.parametrize("scale", [0, -1, 17, float("nan")])
def test_scales_that_cannot_be(tmp_path: Path, scale: float) -> None:
    """A scale is refused before anything is written."""
    for save in (save_picture, lambda page, path, **options: save_plates([page], path, **options)):
        with pytest.raises(OptionError) as caught:
            save(image_box(Image.new("RGB", (8, 8))), tmp_path / "a.png", scale=scale)
        assert str(caught.value) == f"scale cannot be {scale:g}: it is above 0 and at most 16; 1 is 150 dots per inch."
    assert not list(tmp_path.iterdir())


def test_the_widths_of_text_are_whole_pixels() -> None:
    """A layout's lengths are whole, so that a page at scale 1 is sharp."""
    assert isinstance(text_width("weights sha256", 12), int)
