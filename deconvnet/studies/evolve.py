"""How features grow while a net learns (Zeiler & Fergus 2014, 4, Fig. 4): channels at a series of checkpoints, a row an epoch.

At each checkpoint the strongest unit of a channel over a set of pictures is looked for, and projected. As the paper says, a
jump from one row to the next comes from a change of the picture that excites the channel most; such rows are marked.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..choices import Tone
from ..errors import OptionError, WeightsError
from ..inputs import PictureInputs, as_batch
from ..models.weights import hash_file, load_checked, read_state
from ..net import DeconvNet
from ..projection import PROGRESS_DELAY, as_maps, check_unit, rectified_values
from ..recording import Recording
from ..render.tone import apply_tone
from ..units import Unit, Window
from .forward import check_layers, strongest
from .result import PIXELS, add_footer, cut_window, new_figure, settings_of, shown_window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PathLike: TypeAlias = "str | os.PathLike[str]"

#: The files of a folder that are taken for checkpoints.
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
MARK = "tab:orange"


@dataclass(frozen=True)
class Block:
    """One layer: K channels at E checkpoints, each by its strongest unit over all pictures."""

    layer: str
    channels: np.ndarray[Any, Any]  # (K,)
    activations: np.ndarray[Any, Any]  # (E, K)
    images: np.ndarray[Any, Any]  # (E, K): which picture
    rows: np.ndarray[Any, Any]  # (E, K): where in the map
    cols: np.ndarray[Any, Any]  # (E, K)
    windows: np.ndarray[Any, Any]  # (E, K, 4): top, left, height, width of what is drawn
    crops: np.ndarray[Any, Any] = field(metadata=PIXELS)  # (E, K, C, h, w): the projections there, signed


@dataclass(frozen=True)
class Evolution:
    """A series of E checkpoints; `names` are their epochs where the files tell, `weights` the files' SHA-256."""

    names: tuple[str, ...]
    weights: tuple[str, ...]
    blocks: tuple[Block, ...]
    settings: dict[str, Any]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    *,
    checkpoints: PathLike | Sequence[PathLike] | Mapping[str, PathLike] | None = None,
    layers: Sequence[str] | None = None,
    channels: Sequence[int] | None = None,
    count: int = 4,
    seed: int = 0,
) -> Evolution:
    """Follow channels through a series of checkpoints; the net itself is left as it is.

    `checkpoints`: weights files, a folder of them, or {name: file}; by default those packed with `tiny`. Files are ordered as
    given, those of a folder by the numbers in their names. `layers`: by default up to five rectified ones, from the first to
    the last with maps. `channels`: in each layer; by default `count` random ones among those that the last checkpoint's
    pictures excite at all.

        >>> evolve.run(net, pictures, checkpoints="runs/", layers=["features.13"]).blocks[0].activations.shape
        (7, 4)
    """
    files = _packed(net) if checkpoints is None else list_checkpoints(checkpoints)
    images = as_batch(net, pictures)
    nets = _nets(net, list(files.values()))
    last = next(_nets(net, list(files.values())[-1:]))
    recording = last.record(images[:1], stop=False)
    layers = list(dict.fromkeys(layers)) if layers else spread_layers(recording)
    check_layers(recording, layers)
    chosen = _choose(last, images, recording, layers, channels, count, seed)
    steps = tqdm(nets, total=len(files), desc="checkpoints", delay=PROGRESS_DELAY, leave=False, disable=None)
    found = [_at(one, images, recording, chosen) for one in steps]
    blocks = [_block(layer, chosen[layer], [each[layer] for each in found]) for layer in layers]
    weights = tuple(hash_file(path) for path in files.values())
    series = dict(zip(files, weights, strict=True))
    settings = settings_of(net, "evolve", layers=layers, pictures=len(images), seed=seed, checkpoints=series)
    return Evolution(tuple(files), weights, tuple(blocks), settings | {"weights": weights[-1]})


def list_checkpoints(given: PathLike | Sequence[PathLike] | Mapping[str, PathLike]) -> dict[str, Path]:
    """Return {epoch or file's name: file}, in order: of files, or of a folder's, or of both."""
    if isinstance(given, Mapping):
        return {str(name): Path(path) for name, path in given.items()}
    paths = [Path(given)] if isinstance(given, (str, os.PathLike)) else [Path(path) for path in given]
    files = [file for path in paths for file in (_inside(path) if path.is_dir() else [path])]
    alike = len({re.sub(r"\d+", "", file.stem) for file in files}) == 1  # "epoch-05", "epoch-10": their numbers tell
    names = [_epoch(file) if alike else file.stem for file in files]
    if len(set(names)) < len(names):
        names = [file.stem for file in files]
    if len(set(names)) < len(names):
        names = [str(file) for file in files]
    if not files or len(set(names)) < len(names):
        raise OptionError("checkpoints must be weights files, each one once. Give two or more, or a folder of them.")
    return dict(zip(names, files, strict=True))


def _packed(net: DeconvNet) -> dict[str, Path]:
    from ..models.tiny import checkpoints

    if net.name != "tiny":
        raise OptionError(f"{net.name} comes without checkpoints. Give its weights files, or a folder of them.")
    return checkpoints()


def _inside(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise WeightsError(f"no checkpoints in {str(folder)!r}. Looked for {', '.join(SUFFIXES)}.")
    return sorted(files, key=lambda path: (_numbers(path.stem), path.name))


def _numbers(stem: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", stem)]


def _epoch(file: Path) -> str:
    """Return the last number in a file's name: "epoch-05" is 5."""
    numbers = _numbers(file.stem)
    return str(numbers[-1]) if numbers else file.stem


def _nets(net: DeconvNet, files: Sequence[Path]) -> Iterator[DeconvNet]:
    """Yield a copy of the net with each file's weights: a recording never sees weights that change."""
    for file in files:
        model = copy.deepcopy(net.model)
        load_checked(model, read_state(file), file, net.name)
        loaded = dataclasses.replace(net.loaded, model=model, weights=hash_file(file), _hashed={})
        yield DeconvNet(loaded, net.preprocess, rules=net.rules, overlap=net.overlap, lrn=net.lrn)


def spread_layers(recording: Recording, most: int = 5) -> list[str]:
    """Return up to five rectified layers with more than one place, evenly from the first to the last."""
    tape, rectified = recording.tape, rectified_values(recording.tape)
    names: dict[int, str] = {}
    for name, place in recording.places().items():
        if place.value in rectified and tape.layouts[place.value][1] is not None and (place.first or place.last == 1):
            maps = as_maps(recording.kept_activations(name), tape.layouts[place.value], name)
            if maps.shape[2] * maps.shape[3] > 1:
                names[place.value] = min(names.get(place.value, name), name, key=len)  # a block, not the last call in it
    if not names:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    there = [names[value] for value in sorted(names)]
    return [there[int(at)] for at in np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round())]


def _choose(
    net: DeconvNet,
    images: Tensor,
    recording: Recording,
    layers: Sequence[str],
    channels: Sequence[int] | None,
    count: int,
    seed: int,
) -> dict[str, list[int]]:
    """Return the channels of each layer: those asked for, or random ones that the pictures excite."""
    if channels is not None:
        for layer in layers:
            maps = as_maps(recording.kept_activations(layer), recording.layout(layer), layer)
            for channel in channels:
                check_unit(Unit(layer, channel), maps.shape[1:])
        return {layer: list(channels) for layer in layers}
    if count < 1:
        raise OptionError(f"count cannot be {count}: it is the number of channels of each layer, 1 or more.")
    rng, chosen = np.random.default_rng(seed), {}
    for layer, (values, _) in strongest(net, images, recording, layers).items():
        alive = np.flatnonzero(values.max(0) > 0)
        alive = alive if len(alive) else np.arange(values.shape[1])
        chosen[layer] = sorted(rng.choice(alive, min(count, len(alive)), replace=False).tolist())
    return chosen


def _at(net: DeconvNet, images: Tensor, recording: Recording, chosen: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
    """Return for each layer and channel (unit, window drawn, whole projection) at one checkpoint."""
    maxima = strongest(net, images, recording, list(chosen))
    found: dict[str, list[Any]] = {}
    for layer, channels in chosen.items():
        values, places = maxima[layer]
        width = as_maps(recording.kept_activations(layer), recording.layout(layer), layer).shape[3]
        best = [int(values[:, channel].argmax()) for channel in channels]
        kept = sorted(set(best))
        recorded = net.record(images[kept], layers=[layer])
        units = [
            Unit(layer, channel, *divmod(int(places[image, channel]), width), image=kept.index(image))
            for channel, image in zip(channels, best, strict=True)
        ]
        projection = net.project(recorded, layer, units=units)
        windows = [shown_window(window, projection.frame) for window in projection.windows]
        whole = projection.pixels.numpy()
        found[layer] = list(zip(projection.units, best, windows, whole, strict=True))
    return found


def _block(layer: str, channels: Sequence[int], found: Sequence[list[Any]]) -> Block:
    """Put one layer's units of all checkpoints together; all crops are as large as the largest window."""
    height = max(window.height for row in found for _, _, window, _ in row)
    width = max(window.width for row in found for _, _, window, _ in row)
    windows = [[Window(one[2].top, one[2].left, height, width) for one in row] for row in found]
    crops = [
        [cut_window(one[3], window) for one, window in zip(row, some, strict=True)]
        for row, some in zip(found, windows, strict=True)
    ]
    return Block(
        layer=layer,
        channels=np.array(channels),
        activations=np.array([[unit.activation for unit, _, _, _ in row] for row in found]),
        images=np.array([[image for _, image, _, _ in row] for row in found]),
        rows=np.array([[unit.row for unit, _, _, _ in row] for row in found]),
        cols=np.array([[unit.col for unit, _, _, _ in row] for row in found]),
        windows=np.array([[window.to_list() for window in row] for row in windows]),
        crops=np.array(crops),
    )


def plot(result: Evolution, *, tone: Tone = "symmetric") -> Figure:
    """Draw a block for each layer, a column a channel, a row a checkpoint; marked is where another picture takes over."""
    counts = [len(block.channels) for block in result.blocks]
    side = 0.85
    figure = new_figure(max(5.0, side * sum(counts) + 0.35 * len(counts) + 0.6), side * len(result.names) + 1.2)
    axes = figure.subplots(1, len(counts), squeeze=False, gridspec_kw={"width_ratios": counts})[0]
    for block, one in zip(result.blocks, axes, strict=True):
        _draw_block(one, block, tone)
    axes[0].set_yticks(np.arange(len(result.names)) + 0.5, result.names, fontsize=8)
    axes[0].set_ylabel("epoch" if all(name.isdigit() for name in result.names) else "checkpoint", fontsize=9)
    notes = f"strongest of {result.settings['pictures']} pictures", "orange: another picture than in the row above"
    add_footer(figure, result.settings, *notes)
    return figure


def _draw_block(axes: Any, block: Block, tone: Tone) -> None:
    epochs, count = block.activations.shape
    tones = apply_tone([crop for row in block.crops for crop in row], tone)
    for at, tile in enumerate(tones):
        row, col = divmod(at, count)
        axes.imshow(tile, extent=(col + 0.03, col + 0.97, row + 0.97, row + 0.03), interpolation="nearest")
        if row and block.images[row, col] != block.images[row - 1, col]:
            axes.plot([col + 0.03, col + 0.97], [row, row], color=MARK, linewidth=2, solid_capstyle="butt")
    height, width = block.crops.shape[-2:]
    axes.set(xlim=(0, count), ylim=(epochs, -0.03), aspect=height / width, yticks=[], frame_on=False)
    axes.set_xticks(np.arange(count) + 0.5, [str(channel) for channel in block.channels], fontsize=7)
    axes.tick_params(length=0)
    axes.set_title(f"{block.layer}\n{height}x{width} px", fontsize=8)
