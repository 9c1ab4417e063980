"""The glossary is alphabetical, and what it names exists: Python names, commands, flags, pages."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

import deconvnet
from deconvnet.cli import COMMANDS

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"
CODE = sorted(set(re.findall(r"`([^`]+)`", PAGE.read_text())))


def test_entries_are_alphabetical():
    """A reader finds a word where the alphabet has it, once."""
    words = re.findall(r"^\*\*(.+?)\*\*", PAGE.read_text(), re.M)
    assert [word.lower() for word in words] == sorted({word.lower() for word in words})
    assert len(words) > 50


@pytest.mark.parametrize("name", [code for code in CODE if re.fullmatch(r"deconvnet(\.\w+)+", code)])
def test_python_names_exist(name):
    """Each dotted name is an attribute of the package."""
    target = deconvnet
    for part in name.split(".")[1:]:
        target = getattr(target, part)
    assert target is not None


@pytest.mark.parametrize("code", [code for code in CODE if re.match(r"deconvnet [a-z]", code)])
def test_commands_and_their_flags_exist(code):
    """Each command is one, and has the flags that stand behind it."""
    name, *words = code.split()[1:]
    flags = {flag for parameter in command(name).params for flag in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= flags


@pytest.mark.parametrize(
    "flag", sorted({flag for code in CODE if code.startswith("--") for flag in re.findall(r"--\w+", code)})
)
def test_flags_exist(flag):
    """Each flag is one of some command's."""
    parameters = [parameter for name in COMMANDS for parameter in command(name).params]
    assert any(flag in (*parameter.opts, *parameter.secondary_opts) for parameter in parameters)


def test_pages_exist():
    """Links lead to pages beside it."""
    for link in re.findall(r"\]\(([\w-]+\.md)\)", PAGE.read_text()):
        assert (PAGE.parent / link).is_file()


def command(name: str):
    return getattr(import_module(f"deconvnet.cli.{name}"), name)
