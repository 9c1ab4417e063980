"""What the tests of scans share: pictures, a slow twin of the table, and a reader of the file that is none of the package's."""

from __future__ import annotations

import functools
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from deconvnet.drawings import draw
from deconvnet.errors import PictureWarning

Maxima = tuple[np.ndarray, np.ndarray]  # (N, C) each: of every picture's map the maximum, and the position of the first of them


@functools.cache
def drawing(seed: int) -> Image.Image:
    return draw(seed=seed).picture


def drawings(folder: Path, count: int, first: int = 0) -> list[Path]:
    """Save drawings 00.png, 01.png, ... in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:02d}.png" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        drawing(number).save(path)
    return paths


def images_of(paths: Iterable[Path], preprocess: Any) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PictureWarning)  # of animations
        return torch.stack([preprocess(path) for path in paths])


@torch.no_grad()
def slow_maxima(
    model: nn.Module,
    images: Tensor,
    layers: Sequence[str],
    batch: int = 25,
    maps: Callable[[Tensor], Tensor] = lambda output: output.flatten(2),
) -> dict[str, Maxima]:
    """Take each layer's maxima as its module returns, in plain forward passes of contiguous images.

    `maps` turns what a module returns into (N, C, places).
    """
    maxima: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {layer: [] for layer in layers}

    def hook(layer: str) -> Any:
        def take(module: nn.Module, inputs: Any, output: Tensor) -> None:
            values, positions = maps(output).max(2)  # the first among equals; now, before a call in place writes over it
            maxima[layer].append((values.numpy(), positions.numpy()))

        return take

    modules = dict(model.named_modules())
    handles = [modules[layer].register_forward_hook(hook(layer)) for layer in layers]
    for part in images.split(batch):
        model(part.contiguous())
    for handle in handles:
        handle.remove()
    return {layer: tuple(np.concatenate(column) for column in zip(*parts, strict=True)) for layer, parts in maxima.items()}


def rows(path: str | os.PathLike[str], query: str) -> list[tuple[Any, ...]]:
    """Read a scan's file with SQL."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return base.execute(query).fetchall()


#: The keys of tables with fewer than three columns.
KEYS = {"digests": "1"}


def dump(path: str | os.PathLike[str], *tables: str) -> bytes:
    """Return whole tables, every number in full, in the order of their keys."""
    return repr([rows(path, f"select * from {table} order by {KEYS.get(table, '1, 2, 3')}") for table in tables]).encode()


def table(path: str | os.PathLike[str], layer: str) -> dict[str, np.ndarray]:
    """Return a layer's table as arrays (C, ranks); all channels must have as many entries."""
    entries = rows(
        path, f"select channel, hit_rank, picture, activation, map_row, map_col from hits where layer = '{layer}' order by 1, 2"
    )
    columns = np.array(entries).reshape(entries[-1][0] + 1, -1, 6)
    assert (columns[:, :, 0] == np.arange(len(columns))[:, None]).all()
    assert (columns[:, :, 1] == 1 + np.arange(columns.shape[1])).all()
    whole = columns[:, :, [2, 4, 5]].astype(np.int64)
    return {"picture": whole[..., 0], "activation": columns[:, :, 3], "row": whole[..., 1], "col": whole[..., 2]}


def check_top(path: str | os.PathLike[str], layer: str, maxima: Maxima, width: int, top: int = 9) -> list[tuple[int, int]]:
    """Compare a layer's table with a sort of all maxima: activations within 1e-4, pictures the same except near ties.

    Where the maxima are exactly zero - what a rectifier lets through of nothing - pictures and positions must agree exactly.
    Returns (channel, rank - 1) of the entries with another position: near ties within a map, to be looked into.
    """
    values, positions = maxima
    entries = table(path, layer)
    channels = np.arange(values.shape[1])[:, None]
    order = np.lexsort((np.broadcast_to(np.arange(len(values))[:, None], values.shape), -values), axis=0)[:top].T  # (C, top)
    wanted = values[order, channels]
    near = 1e-4 * np.abs(wanted) + 1e-6 * np.abs(values).max()
    assert entries["picture"].shape == order.shape
    assert (np.abs(entries["activation"] - wanted) <= near).all()
    assert (np.abs(values[entries["picture"], channels] - wanted) <= near).all(), "another picture is in the table"
    assert all(len(set(ranks)) == len(ranks) for ranks in entries["picture"].tolist())
    nothing = (wanted == 0) & (entries["activation"] == 0)
    assert (entries["picture"] == order)[nothing].all()
    position = entries["row"] * width + entries["col"]
    other = position != positions[entries["picture"], channels]
    assert not (other & nothing).any()
    return list(zip(*map(np.ndarray.tolist, np.nonzero(other)), strict=True))
