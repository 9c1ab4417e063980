"""Train the packaged model `tiny` on drawings; about ten minutes on two cores.

    python examples/train_tiny.py --seed 0 --out deconvnet/models/tiny.safetensors --checkpoints checkpoints

It draws the pictures once, trains, tests on new drawings, and writes the weights, notes on them (.md) and the checkpoints.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from deconvnet import FeatureMonitor
from deconvnet.drawings import CLASSES, draw
from deconvnet.models.tiny import INPUT_SIZE, MEAN, STD, TRAINING_SEED, Tiny
from deconvnet.models.zfnet import renormalise_filters

CHECKPOINTS = (1, 2, 5, 10, 20, 30, 40, 64)  # the epochs of Zeiler & Fergus 2014, fig. 4
WATCHED = 100  # of the fresh drawings: what channels are drawn from during the training
FRESH = 3_600  # drawings for the test; their seeds come from another range than those of the training
BATCH, RATE, DECAY = 32, 0.015, 0.01
SHIFT = 6  # pixels: drawings are moved at random by up to this much
FIRST_STD, SMOOTHING = 0.03, 0.03  # conv1 starts small and is kept smooth, or its initial noise stays in the pictures

SMOOTHED = """While it learned, the filters of its first layer were pulled towards smooth ones after each update (`smooth`), or
the noise that they began with would stay in them. Zeiler & Fergus do no such thing, and every picture of tiny depends on it."""


def pixels_and_label(seed: int) -> tuple[np.ndarray, int]:
    drawing = draw(seed=seed, size=INPUT_SIZE)
    return np.asarray(drawing.picture), drawing.label


def draw_many(first: int, count: int) -> tuple[Tensor, Tensor]:
    """Return pictures, uint8 (count, 3, H, W), channels last, and their labels (count,)."""
    with Pool() as pool:
        pictures, labels = zip(*pool.imap(pixels_and_label, range(first, first + count), chunksize=64), strict=True)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2), torch.tensor(labels)


def normalise(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (pictures.float() / 255 - mean) / std


def batches(pictures: Tensor, labels: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `count` random drawings in batches, each moved by a few pixels."""
    for chosen in torch.randperm(len(labels))[:count].split(BATCH):
        top, left = torch.randint(2 * SHIFT + 1, (2,)).tolist()
        moved = pad(normalise(pictures[chosen]), (SHIFT,) * 4, mode="replicate")
        yield moved[..., top : top + INPUT_SIZE, left : left + INPUT_SIZE], labels[chosen]


@torch.no_grad()
def smooth(model: Tiny, rate: float) -> None:
    """Move each weight of conv1 towards its four neighbours: a step of gradient descent on their squared differences."""
    weight = model.features[0].weight
    wide = pad(weight, (1, 1, 1, 1), mode="replicate")
    beside, above = wide[..., 1:-1, 2:] + wide[..., 1:-1, :-2], wide[..., 2:, 1:-1] + wide[..., :-2, 1:-1]
    weight.add_(rate * SMOOTHING * (beside + above - 4 * weight))


@torch.no_grad()
def confusion_matrix(model: Tiny, pictures: Tensor, labels: Tensor) -> Tensor:
    """Return how often class r was taken for class c: (classes, classes)."""
    model.eval()
    predicted = torch.cat([model(normalise(batch)).argmax(1) for batch in pictures.split(200)])
    return torch.bincount(labels * len(CLASSES) + predicted, minlength=len(CLASSES) ** 2).view(len(CLASSES), -1)


def accuracy(confusions: Tensor) -> float:
    return float(confusions.trace() / confusions.sum())


def save(model: Tiny, path: Path, **facts: object) -> None:
    """Save the weights as float16, with facts about them as metadata."""
    weights = {name: weight.half().contiguous() for name, weight in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path, metadata={key: str(value) for key, value in facts.items()})


def note(confusions: Tensor, facts: dict[str, object]) -> str:
    """Write the note that lies beside the weights."""
    lines = ["# tiny", "", "Trained by `examples/train_tiny.py`, which also wrote this note.", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    lines += ["", SMOOTHED]
    lines += ["", "| class | fresh drawings | right | taken for |", "|---|---|---|---|"]
    for name, row in zip(CLASSES, confusions.tolist(), strict=True):
        right = row[CLASSES.index(name)]
        wrong = sorted(((times, other) for other, times in zip(CLASSES, row, strict=True) if other != name), reverse=True)
        taken = ", ".join(f"{other} {times}" for times, other in wrong if times)
        lines.append(f"| {name} | {sum(row)} | {right / sum(row):.1%} | {taken} |")
    return "\n".join(lines) + "\n"


def train(
    model: Tiny, pictures: Tensor, labels: Tensor, epochs: int, per_epoch: int, after_step: Callable[[], object]
) -> Iterator[int]:
    """Train with SGD, a warm-up and then a cosine down to zero; yield the number of each epoch after it."""
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY, nesterov=True)
    updates = epochs * -(-per_epoch // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, updates, pct_start=0.1, cycle_momentum=False)
    for epoch in range(1, epochs + 1):
        model.train()
        for image, label in batches(pictures, labels, per_epoch):
            optimiser.zero_grad()
            cross_entropy(model(image), label, label_smoothing=0.05).backward()
            optimiser.step()
            smooth(model, schedule.get_last_lr()[0])
            renormalise_filters(model)  # Zeiler & Fergus 2014, 3: no filter dominates
            schedule.step()
            after_step()
        yield epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    number = partial(parser.add_argument, type=int)
    number("--seed", default=0, help="of the weights, the order and the drawings (default 0)")
    number("--epochs", default=64, help="default 64, the last of the paper's fig. 4")
    number("--drawings", default=15_360, help="how many to draw (default 15360)")
    number("--per-epoch", default=2_048, help="how many of them, at random, are an epoch (default 2048)")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--checkpoints", type=Path, help="folder for the weights after epochs 1, 2, 5, 10, 20, 30, 40, 64")
    parser.add_argument("--features", type=Path, help="folder for drawings of channels while it trains")
    number("--every", default=512, help="updates between two of these drawings (default 512, 8 epochs)")
    options = parser.parse_args()

    started = time.monotonic()
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    first = TRAINING_SEED * (options.seed + 1)  # far from the small seeds that people and tests use
    pictures, labels = draw_many(first, options.drawings)
    fresh = draw_many(first + 5_000_000, FRESH)
    print(f"{options.drawings + FRESH} drawings after {time.monotonic() - started:.0f} s", file=sys.stderr)

    model = Tiny().to(memory_format=torch.channels_last)
    torch.nn.init.normal_(model.features[0].weight, std=FIRST_STD)
    watch = None
    if options.features:
        watch = FeatureMonitor(model, normalise(fresh[0][:WATCHED]), out=options.features, every=options.every, count=3)
    after_step = watch.step if watch else int
    for epoch in train(model, pictures, labels, options.epochs, options.per_epoch, after_step):
        confusions = confusion_matrix(model, fresh[0][:720], fresh[1][:720])
        print(
            f"epoch {epoch}: {accuracy(confusions):.3f} after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True
        )
        if options.checkpoints and epoch in CHECKPOINTS:
            path = options.checkpoints / f"epoch-{epoch:02}.safetensors"
            save(model, path, epoch=epoch, accuracy=f"{accuracy(confusions):.4f}", seed=options.seed)

    confusions = confusion_matrix(model.half().float(), *fresh)  # rounded as in the file
    facts = {
        "command": shlex.join(["python", *sys.argv]),
        "seed": options.seed,
        "epochs": options.epochs,
        "drawings": options.drawings,
        "torch": torch.__version__,
        "minutes": f"{(time.monotonic() - started) / 60:.1f}",
        "accuracy": f"{accuracy(confusions):.4f}",
        "fresh": FRESH,
    }
    save(model, options.out, **facts)
    options.out.with_suffix(".md").write_text(note(confusions, facts))


if __name__ == "__main__":
    main()
