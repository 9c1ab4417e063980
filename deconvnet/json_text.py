"""JSON that every parser takes: the standard has no NaN and no infinity, so they become null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def json_text(value: Any, **options: Any) -> str:
    """Return a value as JSON; NaN and infinity become null.

    Args:
        value: numbers, text, lists, dictionaries.
        options: those of `json.dumps`.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        return json.dumps(finite(value), allow_nan=False, **options)


def finite(value: Any) -> Any:
    """Return a value with None in place of every NaN and infinity in its lists and dictionaries."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def count_non_finite(value: Any) -> int:
    """Count the NaN and infinities in a value's lists and dictionaries."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return sum(map(count_non_finite, value.values()))
    return sum(map(count_non_finite, value)) if isinstance(value, (list, tuple)) else 0
