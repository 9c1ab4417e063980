"""What the figures of studies share: names stand on them as they are, whatever they hold."""

from __future__ import annotations

import io

import numpy as np
import pytest

import deconvnet
from deconvnet.drawings import draw
from deconvnet.inputs import named_picture
from deconvnet.studies import ablate, occlude, sanity
from deconvnet.studies.figure import add_footer, new_figure
from support.studies import Small

HOSTILE = "a$\\frac{$x_{\x1b[2J漢.png"
SHOWN = "a$\\frac{$x_{\\x1b[2J\\u6f22.png"
SETTINGS = {"model": HOSTILE, "weights": "random", "version": "1"}


def test_names_are_no_formulas():
    """Titles, labels, legends and the footer are drawn letter by letter; the numbers at the ticks of a log axis stay formulas."""
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot([1, 100], [1, 100], label=HOSTILE)
    axes.set(title=f"{HOSTILE}\nsecond line", xlabel=HOSTILE, yscale="log")
    axes.legend()
    axes.text(1, 1, HOSTILE)
    figure.suptitle(HOSTILE)
    add_footer(figure, SETTINGS, HOSTILE)
    figure.savefig(io.BytesIO(), format="png")  # a missing letter is a warning, and a warning is an error here
    assert axes.get_title() == f"{SHOWN}\nsecond line"
    assert (axes.get_xlabel(), axes.texts[0].get_text(), figure.get_suptitle()) == (SHOWN, SHOWN, SHOWN)
    assert axes.get_legend().get_texts()[0].get_text() == SHOWN
    ticks = [label for label in axes.get_yticklabels() if "mathdefault" in label.get_text()]
    assert ticks
    assert all(label.get_parse_math() for label in ticks)


@pytest.mark.parametrize("study", [ablate, sanity, occlude])
def test_a_picture_may_have_any_name(study):
    """A study of a picture whose name reads as a broken formula, or has letters that the font lacks, is drawn and saved."""
    if study is sanity:
        pytest.importorskip("scipy", reason="sanity needs the extra `studies`")
    preprocess = deconvnet.Preprocess(30, 30, (0.5,) * 3, (0.5,) * 3)
    net = deconvnet.DeconvNet(Small().eval(), preprocess)
    net.name = HOSTILE
    picture = named_picture(draw("face", seed=3, size=64).picture, HOSTILE)
    figure = study.run(net, picture, **({"seeds": 1} if study is sanity else {})).plot()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    assert np.frombuffer(drawn.getvalue(), np.uint8).size > 1000
