"""Train small nets of one kind from several seeds, and measure them for docs/benchmark.md and docs/benchmark-nets.md.

python benchmarks/small_nets_table.py vgg-like
python benchmarks/small_nets_table.py vgg-like --trained weights/   # keeps the weights there, and takes those that are there

Keeps in docs/data/benchmark-KIND.json the means and comparisons of all trainings together, the picture being the unit of
analysis, and beside them each training's own, its accuracy on drawings that it has not seen, and the hash of its weights.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmark_table import KEPT
from pages import DOCS, keep
from small_nets import KINDS
from train_small_nets import accuracy, save, train

import deconvnet
from deconvnet.studies import benchmark

SEEDS = 2


def trained(kind: str, seed: int, folder: Path) -> tuple[deconvnet.DeconvNet, dict[str, Any]]:
    """Return a net, loaded as a user would load it, and its accuracy; it is trained if its weights are not there."""
    path = folder / f"{kind}-{seed}.safetensors"
    if not path.is_file():
        save(train(kind, seed), path)
    model = f"file:benchmarks/small_nets.py:{KINDS[kind].__name__}"
    net = deconvnet.DeconvNet(deconvnet.load_model(model, weights=str(path)))
    return net, accuracy(net.model)


def measure(kind: str, seeds: int, folder: Path) -> None:
    """Measure all trainings, and keep their numbers and their figure."""
    results, trainings = [], []
    for seed in range(seeds):
        net, right = trained(kind, seed, folder)
        result = benchmark.run(net, planted=False)
        weights, found = result.settings["weights"], result.to_json()["comparisons"]
        trainings.append({"seed": seed, "weights": weights, "accuracy": right, "comparisons": found})
        results.append(result)
        print(f"seed {seed}: right on {right['share']:.3f}\n\n{result.table()}\n\n{result.summary()}\n", flush=True)
    together = benchmark.merge(results)
    numbers = together.to_json()
    keep(f"benchmark-{kind}", {**{key: numbers[key] for key in KEPT}, "trainings": trainings}, of_photographs=False)
    together.save(DOCS / "pictures" / f"benchmark-{kind}.png")
    print(f"{together.table()}\n\n{together.summary()}")


def main() -> None:
    """Train, measure, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many trainings")
    parser.add_argument("--trained", type=Path, metavar="FOLDER", help="of weights; without it they are not kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options.kind, options.seeds, options.trained or Path(folder))


if __name__ == "__main__":
    main()
