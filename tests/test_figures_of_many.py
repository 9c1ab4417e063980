"""Promises about figures of many pictures, long names and empty projections: nothing is cut, hidden or left unexplained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from deconvnet.drawings import draw
from deconvnet.inputs import named_picture
from deconvnet.scanning.report import LayerReport
from deconvnet.studies import invariance, occlude
from deconvnet.studies.figure import add_footer, new_figure, source_label

LONG = "photographs/of/dogs/n02108089_boxer_with_a_very_long_name_{}.jpg"


def pictures(count):
    return [named_picture(draw(seed=seed).picture, LONG.format(seed)) for seed in range(count)]


@pytest.mark.parametrize("count", [2, 12])
def test_every_curve_of_invariance_is_named_and_told_apart(net, count):
    """A key for any number of pictures; no two lines of one plot look alike, and each picture's frame is as its lines."""
    values = {"translation": [0, 4], "scale": [1, 1.5], "rotation": [0, 90]}
    figure = invariance.run(net, pictures(count), layers=["conv1"], values=values).plot()
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    (texts,) = [[text.get_text() for text in legend.get_texts()] for legend in legends]
    assert len(texts) == count
    assert all(f"_{seed}.jpg" in text for seed, text in enumerate(texts))
    tiles, distances, classes, *_ = figure.axes
    looks = [(line.get_color(), line.get_linestyle()) for line in distances.lines]
    assert len(set(looks)) == count
    assert looks == [(line.get_color(), line.get_linestyle()) for line in classes.lines]
    assert [patch.get_linestyle() for patch in tiles.patches] == [style for _, style in looks]


def test_footers_and_keys_stay_on_the_figure(net):
    """A narrow figure breaks its footer into lines, none wider than itself; a key above the plots covers nothing."""
    figure = new_figure(3, 2)
    figure.subplots()
    settings = {"model": "torchvision:squeezenet1_0", "weights": "random", "version": "1"}
    add_footer(figure, settings, *["a note that says what was done"] * 4)
    box = figure._supxlabel.get_window_extent()
    assert "\n" in figure._supxlabel.get_text()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    values = {"translation": [0, 4], "scale": [1, 1.5], "rotation": [0, 90]}
    many = invariance.run(net, pictures(12), layers=["conv1"], values=values).plot()
    many.draw_without_rendering()
    key = many.legends[0].get_window_extent()
    assert not any(key.overlaps(axes.get_tightbbox()) for axes in many.axes)
    assert not key.overlaps(many._supxlabel.get_window_extent())


def test_titles_are_names_without_folders(net):
    """What is cut is the middle of a name, never its beginning; samples are named as they are typed."""
    assert source_label("a/b/cat.jpg", 2) == "cat.jpg"
    assert source_label("sample:drawing/face", 2) == "sample:drawing/face"
    cut = source_label(LONG.format(1), 1)
    assert cut.startswith("n02")
    assert cut.endswith(".jpg")
    assert "…" in cut
    result = occlude.run(net, "sample:drawing/cat", square=48, stride=48, others=pictures(2))
    titles = [axes.get_title() for axes in result.plot().axes]
    assert any(title.startswith("same map in\nn02108089") for title in titles)
    assert not any("photographs/" in title for title in titles)


def test_a_few_dead_channels_among_many_are_seen():
    """The bar of six channels among a thousand is a visible share of the plot's height."""
    from matplotlib.figure import Figure

    from deconvnet.scanning import report

    fires = np.concatenate([np.zeros(6), np.ones(994)])
    layer = LayerReport("conv5", 1000, list(range(6)), [], [], fires, fires, np.where(fires, 13860.0, 0.0))
    axes = Figure().subplots()
    report._plot_fires(axes, layer)
    bar = axes.patches[0]
    top, bottom, highest = axes.transData.transform([(0, bar.get_height()), (0, 0), (0, axes.get_ylim()[1])])[:, 1]
    assert (top - bottom) / (highest - bottom) > 0.1
    assert layer.row()[-1] == "13860"
    assert dataclasses.replace(layer, maximum=np.full(1000, 1.23456)).row()[-1] == "1.235"


def test_an_empty_projection_says_so(net):
    """A panel of sanity in which nothing arrives is no grey picture of something."""
    pytest.importorskip("scipy", reason="sanity needs the extra `studies`")
    pytest.importorskip("skimage", reason="sanity needs the extra `studies`")
    from deconvnet.studies import sanity

    result = sanity.run(net, "sample:drawing/cat", layer="conv2", seeds=1)
    pixels = result.pixels.copy()
    pixels[1, -1] = 0
    figure = dataclasses.replace(result, pixels=pixels).plot()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("nothing left") == sum(not pixels[rule, step].any() for rule, step in np.ndindex(*pixels.shape[:2]))
    assert "nothing left" in texts


def test_measures_of_a_segmentation_begin_at_zero(run, tmp_path, monkeypatch):
    """Differences are seen beside what they differ from, and a single short training is called that."""
    from deconvnet.upsampling import segment

    result = segment.run(steps=1, drawings=8, test_drawings=9, size=16, shown=1)
    figure = result.plot()
    below = figure.subfigs[1]
    assert {axes.get_ylim()[0] for axes in below.axes} == {0}
    assert all(axes.get_ylim()[1] >= 0.05 for axes in below.axes)
    assert below._supxlabel.get_text() == "1 training of 1 steps for each: a mark for each seed, a line at their mean"
    monkeypatch.chdir(tmp_path)
    options = ("--drawings", 8, "--size", 16, "--out", "a.png")
    note = (
        "note: 1 training of 1 steps for each: what differs here may be chance, or change with more steps."
        " To compare: --seeds 3 --steps 1200\n"
    )
    assert note in run("segment", "--seeds", 1, "--steps", 1, *options)[2]
