"""The measured numbers in the sentences of README.md."""

from __future__ import annotations

from cannot_show_tables import percent
from pages import estimate
from prose import estimate_value, value
from prose_cannot_show import Numbers, alike, sanity_mean, share
from written_tables import times_slower

TYPED = {
    "95 % of its energy": "what a tile shows",
    "with 95 % intervals": "the level",
    "square with 95 % of the energy": "what a tile shows",
    "deconvnet 67.5 %, centre 69.6 %": "quoted from TorchRay's table",
}


def phrases(data: Numbers) -> list[str]:
    """Return the phrases of the page, from what is kept."""
    tiny, narrow = data["sanity-tiny"], estimate(data["null-width"]["shares"]["0.15"])
    slower = [value(f"{float(f'{times_slower(layer):.2g}'):.0f}") for layer in ("alexnet features.11", "alexnet features.4")]
    edges = [percent(mean).partition(" [")[0] for mean in (share(data, "no net"), narrow)]
    return [
        f"{slower[0]} times faster than Captum for AlexNet's conv5, {slower[1]} times for conv2",
        "class scores still project alike"
        f" (signed rank correlation {estimate_value(sanity_mean(tiny, 'upper half', 'deconvnet'))};"
        f" the gradient's: {estimate_value(sanity_mean(tiny, 'upper half', 'gradient'))})",
        f"and so do two channels at one place, {estimate_value(alike(tiny))}.",
        f"On drawings {value(percent(share(data, 'deconvnet')))} of the energy lies on the part",
        f"edges near the window's middle have {value(edges[0])} to {value(edges[1])} there with no net at all",
    ]
