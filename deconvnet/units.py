"""The things a projection is about: units, the windows of pixels they see, and how people write them.

>>> parse_unit("features.10:151@6,6")
Unit(layer='features.10', channel=151, row=6, col=6, activation=None, image=0)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import UnitError

#: The layer that is shown first has units whose windows are a smaller share of the frame.
LARGEST_SHARE_SEEN = 0.4


@dataclass(frozen=True)
class Unit:
    """One place in one feature map of one image; `row` and `col` are None for a whole map.

    `activation` is the unit's value in the recording (for a whole map: its maximum), None where not looked up.
    """

    layer: str
    channel: int
    row: int | None = None
    col: int | None = None
    activation: float | None = None
    image: int = 0

    def __str__(self) -> str:
        place = "" if self.row is None else f"@{self.row},{self.col}"
        return f"{self.layer}:{self.channel}{place}"


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, rows `top` .. `top + height - 1`; `top` and `left` may be negative."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row below the last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The column right of the last one."""
        return self.left + self.width

    def clip(self, height: int, width: int) -> Window:
        """Return the part of the window that lies inside a frame of height x width pixels."""
        top, left = min(max(self.top, 0), height), min(max(self.left, 0), width)
        bottom, right = min(max(self.bottom, 0), height), min(max(self.right, 0), width)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    def union(self, other: Window) -> Window:
        """Return the smallest window that holds both; an empty one adds nothing."""
        if not (self.height and self.width):
            return other
        if not (other.height and other.width):
            return self
        top, left = min(self.top, other.top), min(self.left, other.left)
        return Window(top, left, max(self.bottom, other.bottom) - top, max(self.right, other.right) - left)

    def within(self, other: Window) -> Window:
        """Return the window as it lies in the rows and columns of another one."""
        return Window(self.top - other.top, self.left - other.left, self.height, self.width)

    def covers(self, height: int, width: int) -> bool:
        """Say whether the window holds a whole frame of height x width pixels."""
        return self.top <= 0 and self.left <= 0 and self.bottom >= height and self.right >= width

    def to_list(self) -> list[int]:
        """Return [top, left, height, width], as written in JSON."""
        return [self.top, self.left, self.height, self.width]


_UNIT = re.compile(r"(?P<layer>[^:@]+):(?P<channel>\d+)(@(?P<row>\d+),(?P<col>\d+))?")


def parse_unit(text: str) -> Unit:
    """Read "layer:channel" or "layer:channel@row,col"."""
    match = _UNIT.fullmatch(text.strip())
    if match is None:
        raise UnitError(f"{text!r} is not a unit. Write layer:channel or layer:channel@row,col, as in features.10:151@6,6.")
    row, col = match["row"], match["col"]
    return Unit(match["layer"], int(match["channel"]), None if row is None else int(row), None if col is None else int(col))


def parse_named_channels(text: str) -> list[int] | list[str]:
    """Read channels as `parse_channels` does; what is written with other signs is the name of a class."""
    return parse_channels(text) if re.fullmatch(r"[\d\s,-]*", text) else [text]


def has_names(channels: Sequence[int | str] | None) -> bool:
    """Say whether there are names of classes among channels."""
    return any(isinstance(channel, str) for channel in channels or ())


def parse_channels(text: str) -> list[int]:
    """Read channel numbers and ranges: "3" -> [3], "1,4-6" -> [1, 4, 5, 6]."""
    channels: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", piece)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UnitError(f"{text!r} is not a list of channels. Write numbers and ranges, as in 3 or 1,4-6.")
        channels.extend(range(first, last + 1))
    return channels
