"""What a scan's file may hold: the form of its rows and settings. A file that somebody sends may hold anything.

Everything that reads a scan relies on it: that a picture's number is a number, which then names a file; that a layer has as
many rows of counts as channels, so that none asks for ten million; that no size asks for more memory than a picture may take.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from ..choices import PRECISIONS
from ..images import MAX_PIXELS, Preprocess

LONGEST_TEXT = 32_767  # characters of a path or a name
LONGEST_SETTING = 2**24  # characters of a setting's JSON; the list of layers is the longest
LARGEST_NUMBER = 2**31 - 1  # of positions in maps, and of a window's pixels
MOST_TOP = 65_536  # entries per channel

#: What a scan keeps of how far what a GPU decodes is from the exact pixels: see `decode_difference.py`.
MEASURES = {"pixels": {"mean", "percentile_99", "maximum"}, "maxima": {"median", "percentile_99"}}
DIFFERENCES = {"decoder", "pictures", "other_best", *MEASURES}

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXT = "typeof({0}) = 'text' and length({0}) between 1 and {1} and instr({0}, char(0)) = 0"
_NUMBER = "typeof({0}) = 'integer' and {0} between {1} and {2}"


def _text(column: str) -> str:
    return _TEXT.format(column, LONGEST_TEXT)


def _number(column: str, lowest: int | str = 0, highest: int | str = LARGEST_NUMBER) -> str:
    return _NUMBER.format(column, lowest, highest)


#: For each table what holds for each of its rows, in SQL.
ROWS = {
    "settings": (
        "settings",
        f"{_text('name')} and typeof(json_text) = 'text' and length(json_text) <= {LONGEST_SETTING}",
    ),
    "layers": (
        "layers",
        f"{_text('layer')} and {_number('layer_number', 0, '(select count(*) from layers) - 1')} and {_number('channels', 1)}"
        f" and {_number('height', 1)} and {_number('width', 1)} and height * width <= {LARGEST_NUMBER}"
        " and channels = (select count(*) from channels where channels.layer = layers.layer)",
    ),
    "shards": ("shards", f"{_number('first_picture')} and {_number('picture_count', 1)} and {_number('done', 0, 1)}"),
    "pictures": (
        "pictures",
        f"{_number('picture', 0, '(select count(*) from pictures) - 1')} and {_text('path')}"
        f" and (bytes is null or {_number('bytes', 0, 2**62)})"
        " and (sha256 is null or typeof(sha256) = 'text' and length(sha256) = 64)"
        f" and (problem is null or typeof(problem) = 'text' and length(problem) <= {LONGEST_TEXT})",
    ),
    "hits": (
        "hits left join layers using (layer)",
        f"{_number('channel', 0, 'channels - 1')} and {_number('hit_rank', 1, ':top')}"
        f" and {_number('picture', 0, ':pictures - 1')} and typeof(activation) = 'real'"
        f" and {_number('map_row', 0, 'height - 1')} and {_number('map_col', 0, 'width - 1')}"
        f" and {_number('window_top', -LARGEST_NUMBER)} and {_number('window_left', -LARGEST_NUMBER)}"
        f" and {_number('window_height')} and {_number('window_width')}",
    ),
    "channels": (
        "channels left join layers using (layer)",
        f"{_number('channel', 0, 'layers.channels - 1')} and {_number('pictures', 0, ':pictures')}"
        f" and {_number('fired', 0, 'pictures')} and typeof(total) = 'integer'",
    ),
}


def malformed_table(connection: sqlite3.Connection, settings: Mapping[str, Any] | None = None) -> str | None:
    """Return the first table with a row that no scan has.

    Args:
        connection: to a file with the tables of a scan.
        settings: those of the file, after `check_settings`. None: look at the settings' own table.
    """
    if settings is None:
        return "settings" if _has_others(connection, "settings", {}) else None
    pictures = connection.execute("select count(*) from pictures").fetchone()[0]
    values = {"top": settings["top"], "pictures": pictures}
    for table in ROWS:
        if table != "settings" and _has_others(connection, table, values):
            return table
    if not _follow_each_other(connection, pictures):
        return "shards"
    layers = [name for (name,) in connection.execute("select layer from layers order by layer_number")]
    return None if layers == settings["layers"] else "layers"


def _has_others(connection: sqlite3.Connection, table: str, values: Mapping[str, int]) -> bool:
    source, condition = ROWS[table]
    query = f"select exists (select 1 from {source} where ({condition}) is not true)"
    return bool(connection.execute(query, values).fetchone()[0])


def _follow_each_other(connection: sqlite3.Connection, pictures: int) -> bool:
    """Say whether each shard begins with the picture after the last one's, and the last ends with the last picture."""
    end = 0
    for first, count in connection.execute("select first_picture, picture_count from shards order by shard"):
        if first != end:
            return False
        end = first + count
    return end == pictures


def settings_fault(settings: Mapping[str, Any]) -> str | None:
    """Return the name of the first setting that is missing, or that no scan has."""
    checks: dict[str, Callable[[Any], bool]] = {
        "model": _is_name,
        "weights": _is_name,
        "weights_from": lambda value: value == "" or _is_text(value),
        "size": _is_size,
        "preprocess": lambda value: value is None or _is_preprocess(value),
        "layers": lambda value: isinstance(value, list) and all(map(_is_name, value)),
        "top": lambda value: _is_count(value, MOST_TOP),
        "shard": lambda value: _is_count(value),
        "root": lambda value: value is None or value == "" or _is_text(value),
    }
    missing = [name for name in checks if name not in settings]
    wrong = missing or [name for name, check in checks.items() if not check(settings[name])]
    if not wrong and not _is_optional_text(settings.get("model_sha256")):
        return "model_sha256"
    if not wrong and settings.get("inside") not in (None, True):
        return "inside"
    if not wrong and settings.get("precision") not in (None, *PRECISIONS):
        return "precision"
    if not wrong and not _is_difference(settings.get("decode_difference", {})):
        return "decode_difference"
    if not wrong and not _are_inputs(settings.get("inputs", {})):
        return "inputs"
    return wrong[0] if wrong else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_TEXT and "\0" not in value


def _is_name(value: Any) -> bool:
    """Say whether this is text that a line of a terminal or a title can hold."""
    return _is_text(value) and not _CONTROLS.search(value)


def _are_inputs(value: Any) -> bool:
    """Say whether these are the digests of further inputs, by their names."""
    return isinstance(value, dict) and len(value) <= 100 and all(_is_name(name) and _is_name(value[name]) for name in value)


def _is_difference(value: Any) -> bool:
    """Say whether this is what `decode_difference` measures: names, numbers, and names of numbers."""
    if not isinstance(value, dict) or not value.keys() <= DIFFERENCES:
        return False
    parts = {name: part for name, part in value.items() if name in ("pixels", "maxima")}
    return all(
        isinstance(part, dict) and part.keys() == MEASURES[name] and all(map(_is_number, part.values()))
        for name, part in parts.items()
    ) and all(_is_name(item) if name == "decoder" else _is_number(item) for name, item in value.items() if name not in parts)


def _is_optional_text(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_count(value: Any, most: int = LARGEST_NUMBER) -> bool:
    return type(value) is int and 1 <= value <= most


def _is_size(value: Any) -> bool:
    """Say whether this is (C, H, W) of an image that may be opened."""
    counts = isinstance(value, list) and len(value) == 3 and all(map(_is_count, value))
    return counts and value[1] * value[2] <= MAX_PIXELS and math.prod(value) <= LARGEST_NUMBER


def _is_preprocess(value: Any) -> bool:
    """Say whether these are the fields of a `Preprocess` that takes no more memory than a picture may."""
    if not isinstance(value, dict) or not all(_is_field(item) for item in value.values()):
        return False
    try:
        preprocess = scanned_preprocess(value)
    except (TypeError, ValueError):  # other fields, or what `Preprocess` itself refuses
        return False
    assert preprocess is not None
    sides = (preprocess.resize, *preprocess.crop_size)
    numbers = (*preprocess.mean, *preprocess.std)
    return (
        len(sides) == 3 and all(map(_is_count, sides)) and preprocess.resize**2 <= MAX_PIXELS and all(map(_is_number, numbers))
    )


def _is_field(value: Any) -> bool:
    """Say whether this is a word, or one or several finite numbers."""
    if isinstance(value, list):
        return all(map(_is_number, value))
    return isinstance(value, str) or value is None or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER  # which no NaN is


def scanned_preprocess(fields: Mapping[str, Any] | None) -> Preprocess | None:
    """Return a scan's preprocessing, None where it was a function of the user's.

    Args:
        fields: the setting `preprocess`.
    """
    if fields is None:
        return None
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Preprocess(**values)
