"""The `deconvnet` command: one file per command. Neither this file nor the top of a command's file imports torch."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import signal
import sys
import traceback
import warnings
from typing import TextIO

import click

from ..errors import DeconvnetError, DeconvnetWarning, ModelError, did_you_mean
from ..version import __version__
from .completion import with_completion
from .defaults import default_map, origin_of, with_defaults
from .printing import be_quiet, complain, say, with_results_apart

#: What people do -> command, which is also the name of its file in this folder -> one line of help.
GROUPS = {
    "See what a network sees": {
        "project": "Project a picture's strongest channels back to pixels.",
        "scan": "Find the pictures of a data set that excite each channel most.",
        "plate": "Draw a scan's channels as the paper's Figure 2.",
        "atlas": "Write a scan as HTML pages that open from disk.",
        "top": "Print the pictures that excite a channel most.",
        "report": "List dead and rare channels, and how strong the others are.",
    },
    "The paper's experiments": {
        "occlude": "Slide a square over a picture: how do a map and the class change? (Fig. 7)",
        "invariance": "Translate, scale and rotate pictures: how far do features move? (Fig. 5)",
        "correspond": "Mask the same part in several pictures: do features change alike? (Table 1)",
        "evolve": "Follow channels through the checkpoints of a training. (Fig. 4)",
    },
    "Check what a projection shows": {
        "filters": "Look for dead, dominant and aliased filters: the paper's Figure 6.",
        "ablate": "Project a unit with all eight settings of mask, switches and rectification.",
        "sanity": "Randomise the weights: do the projections change?",
        "faithful": "Score units: does a projection point at what excites its unit?",
        "benchmark": "Measure every rule and every open choice on the same units.",
    },
    "Upsampling": {
        "upsample": "Pool a picture or a map, and upsample it by each method, side by side.",
        "segment": "Train small nets that label parts: does it matter how they unpool?",
    },
    "Look around": {
        "explore": "Explore a picture in a browser: click a layer's maps and units.",
        "layers": "List a model's layers: size, receptive field, stride, rule status.",
        "samples": "List the pictures to begin with, such as sample:cat, or write them to a folder.",
    },
}

_traceback = {"wanted": False}

COMMANDS = tuple(name for group in GROUPS.values() for name in group)


class _Commands(click.Group):
    """Lists its commands by what people do, and loads a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command: click.Command = getattr(module, cmd_name)
        return _completed(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}.{did_you_mean(args[0], COMMANDS)}")
        name, command, rest = super().resolve_command(ctx, args)
        if name and command and not {"-h", "--help"} & set(rest):  # help is there whatever a file says
            try:
                ctx.default_map = {name: default_map(command, ctx)}
            except DeconvnetError:
                if not ctx.resilient_parsing:  # a shell asks for words, not for errors
                    raise
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl(list(commands.items()))


def _completed(command: click.Command) -> click.Command:
    """Give a command --traceback, --quiet and the defaults of environment and file, and keep its stdout for results; once."""
    if command.callback is not None and not hasattr(command.callback, "has_results_apart"):
        command.callback = with_results_apart(with_defaults(command.callback))
        with_completion(command)
        command.params.append(
            click.Option(
                ["--traceback"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=lambda context, _, value: _traceback.update(wanted=value),
                help="Where the command fails, print Python's traceback, too.",
            )
        )
        command.params.append(
            click.Option(
                ["--quiet", "-q"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=lambda context, _, value: be_quiet(value, context),
                help="Print results and failures only: no notes, no progress.",
            )
        )
    return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="deconvnet %(version)s")
def deconvnet() -> None:
    """See what a convolutional network sees: Zeiler & Fergus's deconvnet, for any CNN.

    Start with: deconvnet project
    """


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _discard_output() -> None:
    """Let Python, which flushes standard output at its end, not fail at that a second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our own warnings as plain lines, and all others as Python does."""
    if issubclass(category, DeconvnetWarning):
        say(f"note: {message}")
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def _show(error: click.ClickException) -> None:
    """Print wrong usage as one line: what the user typed, what would do, and where more is said."""
    is_help = type(error).__name__ == "NoArgsIsHelpError"  # of click 8.2 and later: what a group alone prints
    if is_help or not isinstance(error, click.UsageError):
        shown = io.StringIO()
        error.show(shown)
        complain(shown.getvalue().rstrip("\n"))
        return
    text = error.format_message().rstrip(".")
    words = re.search(r"'([^']*)' is not one of (.*)", text)
    hint = did_you_mean(words[1], re.findall(r"'([^']*)'", words[2])) if words else ""
    origin = origin_of(error) if isinstance(error, click.BadParameter) else ""
    source = f" It is from {origin}." if origin else ""
    command = " ".join(["deconvnet", *filter(None, [_named_command(error)])])
    complain(f"Error: {text}{'' if text.endswith(('?', '?)')) else '.'}{hint}{source} See: {command} --help")


def _named_command(error: click.UsageError) -> str | None:
    """Return the command that was used wrongly; what an option lacks, click says without it."""
    if error.ctx is None:
        return next((word for word in sys.argv[1:] if word in COMMANDS), None)
    return error.ctx.info_name if error.ctx.parent else None


def main() -> None:
    """Run the command; an expected failure is one line on stderr and exit code 1, and what is odd one line.

    SIGTERM and SIGHUP end it as Ctrl-C does: what is half-written is removed.
    """
    warnings.showwarning = _show_warning
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(getattr(signal, name), _end)
    try:
        deconvnet.main(standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk can still be said
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:  # wrong usage: exit code 2
        _show(error)
        sys.exit(error.exit_code)
    except DeconvnetError as error:
        if _traceback["wanted"]:
            traceback.print_exc()
        hint = " --traceback shows more." if isinstance(error, ModelError) and not _traceback["wanted"] else ""
        complain(f"{type(error).__name__}: {error}{hint}")
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt):
        complain("stopped.")
        sys.exit(130)
    except BrokenPipeError:  # `deconvnet layers | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno is None:
            raise
        complain(f"cannot go on: {error.strerror} ({error.filename or 'standard output'}).")
        _discard_output()
        sys.exit(1)
