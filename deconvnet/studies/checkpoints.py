"""The checkpoints of a training: their files in order, and a net with the weights of each."""

from __future__ import annotations

import copy
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ..errors import OptionError, WeightsError
from ..models.tiny_checkpoints import checkpoints as tiny_checkpoints
from ..models.weights import hash_file, load_checked, read_state
from ..net import DeconvNet

PathLike: TypeAlias = "str | os.PathLike[str]"
#: Weights files, a folder of them, or the file of each checkpoint by its name.
Checkpoints: TypeAlias = "PathLike | Sequence[PathLike] | Mapping[str, PathLike]"

#: The files of a folder that are taken for checkpoints.
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def list_checkpoints(checkpoints: Checkpoints) -> dict[str, Path]:
    """Return the files of checkpoints by name, in order.

    Args:
        checkpoints: weights files in the order of the training; folders of them, whose files are ordered by the numbers in
            their names; or {name: file}.

    Returns:
        {epoch: file}, where the names of all files differ in their numbers only ("epoch-05", "epoch-10"), else
        {file's name: file}.

    Raises:
        OptionError: there is no checkpoint, or a file is given twice.
        WeightsError: a folder holds no checkpoints.
    """
    if isinstance(checkpoints, Mapping):
        return {str(name): Path(path) for name, path in checkpoints.items()}
    paths = [Path(checkpoints)] if isinstance(checkpoints, (str, os.PathLike)) else [Path(path) for path in checkpoints]
    files = [file for path in paths for file in (_files_in(path) if path.is_dir() else [path])]
    names = _names(files)
    if not files or len(set(names)) < len(names):
        raise OptionError("checkpoints must be weights files, each one once. Give two or more, or a folder of them.")
    return dict(zip(names, files, strict=True))


def packed_checkpoints(net: DeconvNet) -> dict[str, Path]:
    """Return the checkpoints that come with a net, by epoch: only `tiny` has any.

    Raises:
        OptionError: the net comes without checkpoints.
        WeightsError: they are not on this machine, and could not be downloaded.
    """
    if net.name != "tiny":
        raise OptionError(f"{net.name} comes without checkpoints. Give its weights files, or a folder of them.")
    return tiny_checkpoints()


def load_nets(net: DeconvNet, files: Sequence[Path]) -> Iterator[DeconvNet]:
    """Yield a copy of the net with each file's weights: a recording never sees weights that change."""
    for file in files:
        model = copy.deepcopy(net.model)
        load_checked(model, read_state(file, like=model), file, net.name)
        loaded = dataclasses.replace(net.loaded, model=model, weights=hash_file(file))
        yield DeconvNet(loaded, net.preprocess, rules=net.rules, **net.options)


def _names(files: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell files apart: epochs, the files' names without a suffix, or the paths."""
    stems = [file.stem for file in files]
    same_form = len({re.sub(r"\d+", "", stem) for stem in stems}) == 1
    for names in (map(_epoch, stems) if same_form else stems, stems, map(str, files)):
        candidates = list(names)
        if len(set(candidates)) == len(candidates):
            break
    return candidates


def _files_in(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith(".")]
    if not files:
        raise WeightsError(f"no checkpoints in {str(folder)!r}. Looked for {', '.join(SUFFIXES)}.")
    return sorted(files, key=lambda path: (_numbers(path.stem), path.name))


def _numbers(stem: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", stem)]


def _epoch(stem: str) -> str:
    """Return the last number in a file's name: that of "epoch-05" is 5."""
    numbers = _numbers(stem)
    return str(numbers[-1]) if numbers else stem
