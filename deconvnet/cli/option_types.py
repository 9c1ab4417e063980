"""Types of options that click does not have: each turns the text of an option into a value, or fails as wrong usage."""

from __future__ import annotations

import math
import re
from typing import Literal, TypeAlias, get_args

import click

from ..choices import FILLS, RuleChoice
from ..errors import UnitError
from ..units import parse_named_channels

#: What click tells a type: the option that it converts for, and the command.
Option: TypeAlias = "click.Parameter | None"
Context: TypeAlias = "click.Context | None"


class PositionType(click.ParamType):
    """Takes "max", "map" or a position in a map, "ROW,COL"."""

    name = "max|map|ROW,COL"

    def convert(self, value: str | tuple[int, int], param: Option, ctx: Context) -> str | tuple[int, int]:
        """Return the word, or (row, col)."""
        if value in ("max", "map") or isinstance(value, tuple):
            return value
        match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", value)
        if match is None:
            self.fail(f"{value!r} is not max, map, or a position such as 6,6.", param, ctx)
        return int(match[1]), int(match[2])


class ChannelType(click.ParamType):
    """Takes one channel, by its number or the name of its class."""

    name = "CHANNEL"

    def convert(self, value: str | int, param: Option, ctx: Context) -> str | int:
        """Return the number, or the name."""
        channels = [value] if isinstance(value, int) else self._parse(value, param, ctx)
        if len(channels) != 1:
            self.fail(f"{value!r} is {len(channels)} channels, and one is taken here, such as 3.", param, ctx)
        return channels[0]

    def _parse(self, text: str, param: Option, ctx: Context) -> list[int] | list[str]:
        try:
            return parse_named_channels(text)
        except UnitError:
            self.fail(f"{text!r} is not a channel. Write its number, such as 3, or the name of a class.", param, ctx)


class RuleType(click.ParamType):
    """Takes a rule by name, or by its three bits, or "auto"."""

    name = "auto|deconvnet|guided|gradient|BITS"

    def convert(self, value: str, param: Option, ctx: Context) -> str:
        """Return the rule as it was given."""
        if value not in get_args(RuleChoice):
            self.fail(f"{value!r} is not auto, deconvnet, guided, gradient, or three bits such as FTT.", param, ctx)
        return value


class NumbersType(click.ParamType):
    """Takes numbers with commas between them."""

    name = "NUMBER,..."

    def convert(self, value: str | tuple[float, ...], param: Option, ctx: Context) -> tuple[float, ...]:
        """Return the numbers."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(map(float, value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not numbers such as 0.485,0.456,0.406.", param, ctx)


class SizeType(click.ParamType):
    """Takes the side of a square, or height and width."""

    name = "PIXELS|HEIGHTxWIDTH"

    def convert(self, value: str | int | tuple[int, int], param: Option, ctx: Context) -> int | tuple[int, int]:
        """Return the side, or (height, width)."""
        if not isinstance(value, str):
            return value
        match = re.fullmatch(r"\s*(\d{1,6})\s*(?:x\s*(\d{1,6})\s*)?", value)
        sides = [int(side) for side in match.groups() if side] if match else [0]
        if min(sides) < 1:
            self.fail(f"{value!r} is not a number of pixels, 1 or more, or a height and a width such as 256x128.", param, ctx)
        return sides[0] if len(sides) == 1 else (sides[0], sides[1])


class CountType(click.ParamType):
    """Takes a number, 1 or more, or "all"."""

    name = "N|all"

    def convert(self, value: str | int, param: Option, ctx: Context) -> int | Literal["all"]:
        """Return the number, or the word."""
        if value == "all":
            return "all"
        if not re.fullmatch(r"[1-9]\d{0,5}", str(value)):
            self.fail(f"{value!r} is not all, or a number such as 2.", param, ctx)
        return int(value)


class RangeType(click.ParamType):
    """Takes two numbers, black and white."""

    name = "BLACK,WHITE"

    def convert(self, value: str | tuple[float, float], param: Option, ctx: Context) -> tuple[float, float]:
        """Return (black, white)."""
        if not isinstance(value, str):
            return value
        try:
            black, white = map(float, value.split(","))
        except ValueError:
            black = white = 0.0
        if not -math.inf < black < white < math.inf:  # refuses NaN too
            self.fail(f"{value!r} is not black and white, the smaller number first, such as 0,4095.", param, ctx)
        return black, white


class FactorsType(click.ParamType):
    """Takes whole numbers, 2 or more, with commas between them."""

    name = "NUMBER,..."

    def convert(self, value: str | tuple[int, ...], param: Option, ctx: Context) -> tuple[int, ...]:
        """Return the numbers."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", value) or min(map(int, value.split(","))) < 2:
            self.fail(f"{value!r} is not whole numbers of at least 2, such as 2,4.", param, ctx)
        return tuple(map(int, value.split(",")))


class FillType(click.ParamType):
    """Takes what covers a part of a picture: a word, or a colour of numbers 0..1."""

    def __init__(self, words: tuple[str, ...] = FILLS) -> None:
        """Take these words, or a colour."""
        self.words = words
        self.name = f"{'|'.join(words)}|NUMBER,..."

    def convert(self, value: str | tuple[float, ...], param: Option, ctx: Context) -> str | tuple[float, ...]:
        """Return the word, or the colour."""
        if not isinstance(value, str) or value in self.words:
            return value
        try:
            return tuple(map(float, value.split(",")))
        except ValueError:
            self.fail(f"{value!r} is not {'|'.join(self.words)}, or a colour such as 0.5,0.5,0.5.", param, ctx)


class JsonFile(click.ParamType):
    """Takes a file name that ends in .json, or - for stdout."""

    name = "FILE.json"

    def convert(self, value: str, param: Option, ctx: Context) -> str:
        """Return the name."""
        if value != "-" and not value.endswith(".json"):  # so that a picture after --json is never overwritten
            self.fail(f"{value!r} does not end in .json. For stdout, write --json as the last option, or --json=-.", param, ctx)
        return value
