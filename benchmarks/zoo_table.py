"""Write docs/zoo.md: every CNN of torchvision and a choice of timm's, compared with the oracle of the tests.

    python benchmarks/zoo_table.py              # all of them: writes the page
    python benchmarks/zoo_table.py NAME ...     # some of them: prints their rows

Random weights, two images, three layers each - early, middle, late - under the deconvnet, guided and gradient rules.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import deconvnet  # noqa: E402
from support.nets import ALL, TIMM, TIMM_SAMPLE, randomise_norms, three_layers  # noqa: E402
from support.oracle import project_by_autograd, relative  # noqa: E402

HEAD = """# The zoo

Written by `benchmarks/zoo_table.py` with torch {torch}, torchvision {torchvision} and, where installed, timm. Random
weights, two images. *Layers* counts the layers that can be asked for, *calls* the calls of one forward pass; the next four
columns count calls by status, which says how they are mirrored. *Deviation* is the largest deviation of any pixel from an
independent oracle, relative to the largest pixel, over an early, a middle and a late layer and the deconvnet, guided and
gradient rules.

| model | layers | calls | exact | paper | generalised | held | deviation |
|---|---|---|---|---|---|---|---|
"""


def table_row(name: str, model: torch.nn.Module, size: int) -> str:
    """Measure one model, and return its row."""
    torch.manual_seed(0)
    images = torch.randn(2, 3, size, size)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    statuses = Counter(step.status for step in net.mirror(recording, list(recording.records())[-1]).steps)
    worst = 0.0
    for layer in three_layers(recording, model):
        signal = torch.randn_like(recording.activations(layer))
        for rule in ("deconvnet", "guided", "gradient"):
            expected = project_by_autograd(model, images, layer, signal, rule)
            worst = max(worst, relative(net.project_signal(recording, layer, signal, rule=rule), expected))
    counts = " | ".join(str(statuses[status] or "") for status in ("exact", "paper", "generalised", "held"))
    return f"| {name} | {len(recording.records())} | {sum(statuses.values())} | {counts} | {worst:.0e} |"


def models(names: list[str]) -> Iterator[tuple[str, torch.nn.Module, int]]:
    """Yield (name, model, input size) of these models, or of all."""
    for name in ALL:
        if not names or name in names:
            options = {"init_weights": False, "transform_input": True} if name in ("googlenet", "inception_v3") else {}
            torch.manual_seed(0)
            yield (
                name,
                randomise_norms(torchvision.models.get_model(name, weights=None, **options)),
                96 if "inception" in name else 64,
            )
    try:
        import timm
    except ImportError:
        return
    for name in sorted(TIMM_SAMPLE + TIMM):
        if not names or f"timm:{name}" in names:
            torch.manual_seed(0)
            yield f"timm:{name}", randomise_norms(timm.create_model(name, pretrained=False)), 96


def main() -> None:
    """Measure all models and write the page; or print the rows of those named."""
    warnings.simplefilter("ignore")
    rows = []
    for name, model, size in models(sys.argv[1:]):
        started = time.perf_counter()
        rows.append(table_row(name, model, size))
        print(f"{rows[-1]}  {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if sys.argv[1:]:
        print("\n".join(rows))
        return
    head = HEAD.format(torch=torch.__version__.split("+")[0], torchvision=torchvision.__version__.split("+")[0])
    (ROOT / "docs" / "zoo.md").write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
