"""The comparison's page: pixels as they are, details, words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deconvnet.render import read_settings
from deconvnet.units import Window
from deconvnet.upsampling import comparison_page
from deconvnet.upsampling.comparison import compare
from support.upsampling import noise


def comparison_of_noise(side: int = 48, limits: tuple[float, float] = (0.0, 1.0)):
    pytest.importorskip("skimage")
    large = noise(1, 3, side, side, positive=True).float()
    methods = ("nearest", "unpool-switches")
    return compare(large, methods=methods, factors=(2,), limits=limits, source={"picture": "noise"})


def test_page_shows_pixels_as_they_are():
    """Maps are drawn in whole multiples of their pixels, black at the lower limit and white at the upper one."""
    comparison = comparison_of_noise(limits=(0.0, 2.0))
    large = comparison.round_trips[0].downsampled.large
    page = np.asarray(comparison.draw())
    expected = np.rint(255 * (large[0] / 2).clamp(0, 1).numpy()).astype(np.uint8).transpose(1, 2, 0)
    scale = comparison_page.CELL_WIDTH // 48
    part = page[comparison_page.PAGE_MARGIN :, comparison_page.PAGE_MARGIN :][:400, : 48 * scale]
    rows = [
        row for row in range(len(part) - 48 * scale) if np.array_equal(part[row : row + 48 * scale][::scale, ::scale], expected)
    ]
    assert rows


def test_page_of_a_large_map_shows_details_alone():
    """A map wider than a cell is shown once, shrunk, and by its details; the page is no wider for it."""
    cell, gap = comparison_page.CELL_WIDTH, comparison_page.CELL_GAP
    small, large = (comparison_of_noise(side).draw() for side in (cell, cell * 2))
    assert large.width <= small.width + cell + gap
    assert large.height < small.height


def test_detail_is_the_busiest_window():
    """The detail's window has the largest variance of all on its grid, and lies on whole blocks."""
    large = torch.zeros(1, 3, 96, 96)
    large[:, :, 40:56, 60:80] = noise(1, 3, 16, 20).float()
    window = comparison_page.busiest_window(large, 4)
    assert window.height == window.width == 32
    assert window.top % 4 == window.left % 4 == 0
    grey = large[0].mean(0).numpy()
    spreads = {(top, left): grey[top : top + 32, left : left + 32].var() for top in range(0, 65, 4) for left in range(0, 65, 4)}
    assert spreads[window.top, window.left] == pytest.approx(max(spreads.values()))
    assert comparison_page.busiest_window(torch.rand(1, 1, 6, 9), 2) == Window(
        0, comparison_page.busiest_window(torch.rand(1, 1, 6, 9), 2).left, 6, 6
    )


def test_same_comparison_same_bytes(tmp_path):
    """A page holds no times: made twice it is the same file, with its settings inside."""
    for name in ("a.png", "b.png"):
        comparison_of_noise().save(tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    settings = read_settings(tmp_path / "a.png")
    assert settings["factors"] == [2]
    assert [row["way"] for row in settings["results"]] == ["nearest", "unpool-switches"]
    assert "milliseconds" not in settings["results"][0]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (46_656, "46.7 k"),
        (338_688, "339 k"),
        (2_408_448, "2.41 M"),
        (5 * 10**11, "500 G"),
    ],
)
def test_counts_are_written_with_three_digits(count, text):
    """Large counts have a unit."""
    assert comparison_page.count_text(count) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0"), (1e-17, "0"), (0.0001, "< 0.1 %"), (0.0006, "0.1 %"), (0.8487, "84.9 %"), (1.0, "100.0 %")]
)
def test_shares_are_written_in_percent(share, text):
    """What is not nothing is not written as nothing."""
    assert comparison_page.share_text(share) == text
