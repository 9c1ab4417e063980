"""Every `deconvnet ...` that a page tells to type is one that the command understands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from deconvnet.cli import COMMANDS, deconvnet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def shell_lines(text: str) -> list[str]:
    """Return the lines of shell blocks, fenced or indented, that begin with `deconvnet`; a backslash joins lines."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    lines = [
        line for language, block in blocks if language in ("sh", "bash", "") for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"^ {4}(deconvnet .*)$", outside, re.M)
    return [part for line in lines for part in line.strip().split(" && ") if part.startswith("deconvnet ")]


def words(line: str) -> list[str]:
    """Return a line's words as a shell passes them on, up to a pipe or a redirection.

    A sum of the shell's is a number, a variable behind an option some value, and one on its own stands for options.
    """
    line = re.sub(r"\$\(\(.*?\)\)", "8", line)
    line = re.sub(r"(--[\w-]+ \"?)\$\w+", r"\1value", line)
    given = shlex.split(line, comments=True)
    stop = next((number for number, word in enumerate(given) if re.match(r"[|>]", word)), len(given))
    return [word for word in given[:stop] if not word.startswith("$")][1:]


CALLS = [(page.name, line) for page in PAGES for line in shell_lines(page.read_text()) if "..." not in line]


def test_there_are_many():
    """The pages tell to type a good part of all commands."""
    assert len(CALLS) > 50
    assert len({words(line)[0] for _, line in CALLS} & set(COMMANDS)) >= len(COMMANDS) - 3


@pytest.mark.parametrize(("page", "line"), CALLS, ids=lambda value: value[:70])
def test_a_line_of_a_page_is_understood(page, line):
    """Command, options and values are such as the command takes; nothing is run."""
    name, *arguments = words(line)
    if name.startswith("-"):
        return
    parent = click.Context(deconvnet, info_name="deconvnet")
    command = deconvnet.get_command(parent, name)
    assert command is not None, f"{page}: no command {name!r}"
    command.make_context(name, arguments, parent=parent)
