"""How far what was made again lies from what is kept: numbers in JSON and in text, pixels of figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deconvnet.studies.statistics import LEVEL

ENVIRONMENT = {"torch", "version", "device"}  # may differ: said, and no drift
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
FEW = 5  # lines that are told of each file


def drift(old: Path, new: Path, tolerance: float) -> list[str]:
    """Return in what a file that was made again differs from the one that is kept; nothing within the tolerance.

    Args:
        old: the file that is kept.
        new: the file of the same kind that was made.
        tolerance: of numbers; of figures for the mean over all pixels, 0..255.
    """
    missing = [f"{path.name} was not {done}" for path, done in ((old, "kept"), (new, "made")) if not path.is_file()]
    if missing:
        return missing
    if old.suffix == ".json":
        lines = [*_json_drift(json.loads(old.read_text()), json.loads(new.read_text()), tolerance, "")]
    elif old.suffix == ".md":
        lines = [*_text_drift(old.read_text(), new.read_text(), tolerance)]
    else:
        lines = [*_picture_drift(old, new, tolerance)]
    more = [f"and {len(lines) - FEW} more"] if len(lines) > FEW else []
    return [f"{old.name}{line}" for line in lines[:FEW]] + more


def environments(old: Path, new: Path) -> str:
    """Return the versions with which two files of numbers were made; "" where they are the same, or the files no numbers."""
    if old.suffix != ".json" or not (old.is_file() and new.is_file()):
        return ""
    first, second = (json.loads(path.read_text()).get("settings", {}) for path in (old, new))
    pairs = [f"{key} {first.get(key)} -> {second.get(key)}" for key in sorted(ENVIRONMENT) if first.get(key) != second.get(key)]
    return ", ".join(pairs)


def _json_drift(old: Any, new: Any, tolerance: float, place: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            if key not in old or key not in new:
                yield f"{place}/{key}: only in what is {'kept' if key in old else 'made'}"
            elif key not in ENVIRONMENT:
                compared = _level_drift if key in ("p", "holm") else _json_drift
                yield from compared(old[key], new[key], tolerance, f"{place}/{key}")
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{place}: {len(old)} entries were kept, {len(new)} made"
        for index, pair in enumerate(zip(old, new, strict=False)):
            yield from _json_drift(*pair, tolerance, f"{place}/{_name(pair[0], index)}")
    elif not _same(old, new, tolerance):
        yield f"{place}: {old!r} -> {new!r}"


def _level_drift(old: Any, new: Any, tolerance: float, place: str) -> Iterator[str]:
    """A corrected p jumps by its factor, so what counts is whether it is below the level."""
    if (old is None) != (new is None) or (old is not None and (old < LEVEL) != (new < LEVEL)):
        yield f"{place}: {old!r} -> {new!r}, on the other side of {LEVEL}"


def _name(entry: Any, index: int) -> str:
    return str(entry.get("name", index)) if isinstance(entry, dict) else str(index)


def _same(old: Any, new: Any, tolerance: float) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (old, new))
    return abs(old - new) <= tolerance if numbers else old == new


def _text_drift(old: str, new: str, tolerance: float) -> Iterator[str]:
    for number, (before, after) in enumerate(zip(old.splitlines(), new.splitlines(), strict=False), 1):
        words = [NUMBER.sub("#", line) for line in (before, after)]
        values = [list(map(float, NUMBER.findall(line))) for line in (before, after)]
        if words[0] != words[1] or any(abs(a - b) > tolerance * 1.001 for a, b in zip(*values, strict=True)):
            yield f", line {number}: {before} -> {after}"
    if len(old.splitlines()) != len(new.splitlines()):
        yield f": {len(old.splitlines())} lines were kept, {len(new.splitlines())} made"


def _picture_drift(old: Path, new: Path, tolerance: float) -> Iterator[str]:
    before, after = (np.asarray(Image.open(path).convert("RGB"), float) for path in (old, new))
    if before.shape != after.shape:
        yield f": {before.shape[1]}x{before.shape[0]} pixels were kept, {after.shape[1]}x{after.shape[0]} made"
    elif (apart := float(np.abs(before - after).mean())) > tolerance:
        yield f": pixels differ by {apart:.2f} of 255 on average"
