"""Boxes show where a projection is: one size, inside the frame, with 95 % of the energy; each against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvnet.crops import ENERGY_SHARE, SMALLEST_BOX, cut_window, energy_boxes, recut
from deconvnet.units import Window


@st.composite
def projections(draw) -> tuple[list[np.ndarray], list[Window], tuple[int, int]]:
    """Return projections in windows anywhere around a frame, also larger than it, at its corners, outside it, or all zero."""
    frame = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    size = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    windows, values = [], []
    for seed in draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4)):
        window = Window(draw(st.integers(-size[0] - 2, frame[0] + 2)), draw(st.integers(-size[1] - 2, frame[1] + 2)), *size)
        inside = window.clip(*frame)
        draws = np.random.default_rng(seed)
        signal = draws.normal(size=(3, inside.height, inside.width)) ** 3
        signal *= draws.random((inside.height, inside.width)) < draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
        values.append((signal * draw(st.sampled_from([1e-30, 1.0, 1e20]))).astype(np.float32))
        windows.append(window)
    return values, windows, frame


def slow_side(values: np.ndarray) -> int:
    """Return the side of the smallest square with enough energy, by trying every square; 0 if there is no energy."""
    energy = np.square(values.astype(np.float64)).sum(0)
    for side in range(1, max(energy.shape) + 1 if energy.sum() > 0 else 0):
        for top in range(max(energy.shape[0] - side, 0) + 1):
            for left in range(max(energy.shape[1] - side, 0) + 1):
                if energy[top : top + side, left : left + side].sum() >= ENERGY_SHARE * energy.sum() * (1 - 1e-12):
                    return side
    return 0


@settings(deadline=None, max_examples=150)
@given(projections())
def test_boxes_keep_what_they_promise(case) -> None:
    """One size, as large as the slow twin says; inside the frame; at least 95 % of each projection's energy."""
    values, windows, frame = case
    boxes = energy_boxes(values, windows, frame)
    assert len({(box.height, box.width) for box in boxes}) == 1
    for signal, window, box in zip(values, windows, boxes, strict=True):
        assert box.clip(*frame) == box
        inside = recut(signal, window.clip(*frame), box).astype(np.float64)
        assert np.square(inside).sum() >= ENERGY_SHARE * np.square(signal.astype(np.float64)).sum() * (1 - 1e-9)
    needed = max(map(slow_side, values))
    if needed:
        needed = max(needed, min(SMALLEST_BOX, max(windows[0].height, windows[0].width)))
    else:
        needed = max(1, *(max(window.clip(*frame).height, window.clip(*frame).width) for window in windows))
    assert (boxes[0].height, boxes[0].width) == tuple(min(needed, side) for side in frame)


def spot(height: int, width: int, top: int, left: int) -> np.ndarray:
    """Return a projection of nothing but a bright square of 20 x 20 pixels."""
    values = np.zeros((3, height, width), np.float32)
    values[:, top : top + 20, left : left + 20] = 1
    return values


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 204), (204, 0), (204, 204), (100, 0)])
def test_units_at_corners_are_shown_whole(top: int, left: int) -> None:
    """The box of a unit whose window leaves the frame is moved into it: nothing of it is hatched."""
    window = Window(top - 40, left - 40, 100, 100)
    inside = window.clip(224, 224)
    values = [spot(inside.height, inside.width, top - inside.top, left - inside.left)]
    (box,) = energy_boxes(values, [window], (224, 224))
    assert box.clip(224, 224) == box
    assert cut_window(spot(224, 224, top, left), box).sum() >= 0.95 * 1200


def test_the_largest_square_sets_the_size_and_the_others_grow_around_theirs() -> None:
    """A smaller square is shown in the middle of its box, where the frame allows it."""
    windows = [Window(50, 60, 100, 100)] * 2
    wide = np.ones((3, 100, 100), np.float32)
    first, second = energy_boxes([wide, spot(100, 100, 40, 40)], windows, (224, 224))
    assert first.height == second.height >= 95
    assert abs((second.top + second.height / 2) - (50 + 50)) <= 3
    assert abs((second.left + second.width / 2) - (60 + 50)) <= 3


def test_filters_are_shown_as_they_are() -> None:
    """A window of up to 16 pixels is its own box, however small what it shows; at an edge it is moved into the frame."""
    values = np.zeros((3, 7, 7), np.float32)
    values[:, 2, 5] = 1
    assert energy_boxes([values], [Window(30, 40, 7, 7)], (224, 224)) == [Window(30, 40, 7, 7)]
    assert energy_boxes([values[:, :5]], [Window(-2, 40, 7, 7)], (224, 224)) == [Window(0, 40, 7, 7)]


def test_a_projection_of_nothing_is_shown_around_its_window() -> None:
    """Without energy the box is the window, moved into the frame; beside others it has their size; none gives none."""
    nothing, window = np.zeros((3, 30, 40)), Window(-10, 0, 40, 40)
    assert energy_boxes([nothing], [window], (224, 224)) == [Window(0, 0, 40, 40)]
    boxes = energy_boxes([nothing, spot(40, 40, 10, 10)], [window, Window(100, 100, 40, 40)], (224, 224))
    assert [box.height for box in boxes] == [20, 20]
    assert energy_boxes([np.zeros((3, 0, 0))], [Window(300, 300, 9, 9)], (224, 224)) == [Window(223, 223, 1, 1)]
    assert energy_boxes([], [], (224, 224)) == []


def test_windows_larger_than_the_frame_are_cut_to_where_the_energy_is() -> None:
    """A field that sees the whole picture is shown only where something arrived; a box never exceeds a low frame."""
    (box,) = energy_boxes([spot(224, 224, 150, 3)], [Window(-300, -300, 900, 900)], (224, 224))
    assert (box.height, box.width) == (20, 20)
    wide = np.ones((3, 12, 40), np.float32)
    assert energy_boxes([wide], [Window(-5, -5, 50, 50)], (12, 40)) == [Window(0, 0, 12, 38)]


def test_bad_numbers_do_not_move_a_box() -> None:
    """What is not finite counts as zero."""
    bad = spot(100, 100, 40, 40)
    bad[0, 0, 0], bad[1, 99, 99] = np.nan, np.inf
    window = [Window(0, 0, 100, 100)]
    assert energy_boxes([bad], window, (224, 224)) == energy_boxes([spot(100, 100, 40, 40)], window, (224, 224))
