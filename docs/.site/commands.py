"""Fills the page of commands from the commands themselves: what it says is what `deconvnet COMMAND --help` prints."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import click

from deconvnet.cli import GROUPS, deconvnet

PAGE = "reference/commands.md"
WIDTH = 10_000  # no line of a help is broken


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Append all commands, group by group, to the page of commands; leave other pages as they are."""
    return markdown + "\n" + "\n".join(lines()) if page.file.src_uri == PAGE else markdown


def lines() -> Iterator[str]:
    """Yield the page's Markdown."""
    parent = click.Context(deconvnet, info_name="deconvnet", terminal_width=WIDTH, max_content_width=WIDTH)
    for group, names in GROUPS.items():
        yield f"\n## {group}\n"
        for name in names:
            command = deconvnet.get_command(parent, name)
            assert command is not None, name
            yield from command_lines(command, click.Context(command, parent=parent, info_name=name))


def command_lines(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the Markdown of one command: its help, usage, and options."""
    yield f"\n### {context.info_name}\n"
    for paragraph in (command.help or "").strip().split("\n\n"):
        rows = paragraph.strip().splitlines()
        if rows[0].strip() == "\b":  # click's mark of lines that stay as they are: examples
            yield "\n".join(["```sh", *(row.strip() for row in rows[1:]), "```\n"])
        else:
            yield html.escape(" ".join(row.strip() for row in rows), quote=False) + "\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```text\n{usage}\n```\n"
    yield '<dl class="options">'
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            flags, text = (html.escape(part, quote=False) for part in record)
            yield f"<dt><code>{flags}</code></dt><dd>{text}</dd>"
    yield "</dl>\n"
