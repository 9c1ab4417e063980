"""Promises about defaults that nobody types ten times: environment, deconvnet.toml, and what a stranger's file cannot do."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from deconvnet import cli
from deconvnet.cli.defaults import KEYS, LARGEST_FILE, SAFE_SOURCES
from deconvnet.models import RUN_CODE, SOURCES
from deconvnet.render import read_settings

NOTE = "note: without --model the net is tiny, which was trained on drawings. For photographs: --model torchvision:alexnet\n"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DECONVNET_MODEL", "DECONVNET_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


def write(text: str) -> None:
    Path("deconvnet.toml").write_text(text)


def drawn(run, *arguments):
    """Project a drawing; return the sheet's settings and what was said."""
    code, out, err = run("project", "sample:drawing/cat", "--top", 1, "--out", "a.png", *arguments)
    assert (code, out) == (0, "a.png\n")
    return read_settings("a.png"), err


def test_a_file_sets_defaults_and_is_named(run):
    """Model, weights, size and tone come from the file, as its line on stderr says."""
    write(
        'model = "torchvision:alexnet"\nweights = "none"\ntone = "symmetric"\nsize = 128\nmean = [0.5, 0.4, 0.3]\nrule = "guided"\n'
    )
    settings, err = drawn(run)
    assert err == (
        "deconvnet.toml: model torchvision:alexnet, weights none, tone symmetric, size 128, mean 0.5,0.4,0.3, rule guided\n"
    )
    assert (settings["model"], settings["weights"], settings["tone"], settings["rule"]) == (
        "torchvision:alexnet",
        "random",
        "symmetric",
        "guided",
    )
    assert settings["preprocess"]["crop"] == 128


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(run, monkeypatch):
    """Each level is said for what came from it; what belongs to a model that was not chosen is left out."""
    write('model = "zfnet"\nweights = "none"\ntone = "grey"\n')
    monkeypatch.setenv("DECONVNET_MODEL", "tiny")
    settings, err = drawn(run)
    assert settings["model"] == "tiny"
    assert settings["weights"] != "random"
    assert err == "environment: model tiny\ndeconvnet.toml: tone grey; not weights, of zfnet\n"
    settings, err = drawn(run, "--model", "zfnet", "--weights", "none", "--tone", "symmetric")
    assert (settings["model"], settings["tone"], err) == ("zfnet", "symmetric", "")


def test_weights_of_the_environment_are_for_the_model_beside_them(run, monkeypatch):
    """Alone they are for any model; beside another model than the chosen one they are left out."""
    monkeypatch.setenv("DECONVNET_WEIGHTS", "none")
    settings, err = drawn(run)
    assert (settings["weights"], err) == ("random", "environment: weights none\n")
    monkeypatch.setenv("DECONVNET_MODEL", "zfnet")
    settings, err = drawn(run, "--model", "tiny")
    assert settings["weights"] != "random"
    assert err == "environment: not weights, of zfnet\n"


def test_commands_take_what_they_have(run):
    """A key that a command has no option for is no error, and what takes its model from elsewhere keeps it."""
    write('model = "torchvision:alexnet"\nweights = "none"\nsize = 128\ncrop = "whole"\n')
    code, out, err = run("layers")
    assert (code, err) == (0, "deconvnet.toml: model torchvision:alexnet, size 128\n")
    assert "64x31x31" in out
    assert run("samples")[2] == ""
    for name in ("plate", "atlas", "segment", "upsample"):  # the scan's model; none; the picture itself
        command = cli.deconvnet.get_command(None, name)
        context = click.Context(command)
        assert not set(cli.default_map(command, context)) & {"model", "weights", "size"}


def test_every_key_is_an_option_of_some_command():
    """What a file may set is what can be typed."""
    options = {option.name for name in cli.COMMANDS for option in cli.deconvnet.get_command(None, name).params}
    assert set(KEYS) <= options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'tones = "grey"',
            "deconvnet.toml sets 'tones', which it cannot. Did you mean 'tone'? It may set model, weights, device, mean, std,"
            " size, rule, overlap, lrn, silent, tone, crop, scale.",
        ),
        (
            'out = "/home/you/.bashrc"',
            "deconvnet.toml sets 'out', which it cannot. It may set model, weights, device, mean, std, size, rule, overlap, lrn,"
            " silent, tone, crop, scale.",
        ),
        ("size = true", "deconvnet.toml sets size to True: it takes a text in quotes, a number, or a list of numbers."),
        ("size = []", "deconvnet.toml sets size to []: it takes a text in quotes, a number, or a list of numbers."),
        (
            "[model]\nname = 'tiny'",
            "deconvnet.toml sets model to {'name': 'tiny'}: it takes a text in quotes, a number, or a list of numbers.",
        ),
        (
            'weights = "//server/share/w.pt"',
            "deconvnet.toml sets weights to '//server/share/w.pt', on another machine. Copy them, or give them by --weights.",
        ),
    ],
)
def test_a_file_that_sets_something_else_is_refused(run, text, message):
    """Unknown keys and values of another kind are one line, before anything is done."""
    write(text)
    assert run("project") == (1, "", f"OptionError: {message}\n")
    assert list(Path().iterdir()) == [Path("deconvnet.toml")]


def test_bad_toml_is_one_line(run):
    """The line says where it ends to be TOML, and what it might look like."""
    write("model =")
    code, out, err = run("project")
    assert (code, out) == (1, "")
    assert err.startswith("OptionError: deconvnet.toml in this folder is not TOML: ")
    assert err.endswith('. Write lines such as model = "tiny".\n')
    assert err.count("\n") == 1
    Path("deconvnet.toml").write_bytes(b'model = "\xff"')
    assert run("project")[2].startswith("OptionError: deconvnet.toml in this folder is not TOML: ")


def test_help_is_there_whatever_a_file_says(run):
    """A broken file does not keep anybody from reading the help."""
    write("model =")
    assert run("project", "--help")[0] == 0


def test_a_value_that_an_option_refuses_names_the_file(run):
    """The error says that nobody typed it."""
    write('tone = "gray"')
    code, _, err = run("project")
    assert code == 2
    assert "Did you mean 'grey'? It is from deconvnet.toml. See: deconvnet project --help\n" in err


@pytest.mark.parametrize("source", RUN_CODE)
def test_a_file_runs_no_code(run, source, monkeypatch):
    """A folder's file may not name a model whose Python code would be run; the command line and the environment may."""
    Path("net.py").write_text("import pathlib\npathlib.Path('ran').touch()\nfrom deconvnet.models.tiny import Tiny as make\n")
    name = {"file": "file:net.py:make", "module": "module:net:make"}[source]
    write(f'model = "{name}"\nweights = "none"\nsize = 96\n')
    message = (
        f"OptionError: deconvnet.toml names the model '{name}'. A file in a folder may not name what runs Python code, or what"
        " anybody may publish: name it by --model, or in the variable DECONVNET_MODEL.\n"
    )
    for command in ("project", "layers"):
        assert run(command) == (1, "", message)
    assert not Path("ran").exists()
    monkeypatch.setenv("DECONVNET_MODEL", name)
    if source == "file":
        assert run("layers")[0] == 0
        assert Path("ran").exists()


def test_safe_sources_are_all_that_run_no_code():
    """A source of models that is new is refused in a file until somebody says that it runs nothing."""
    assert set(SAFE_SOURCES) == set(SOURCES) - set(RUN_CODE) - {"hf"}  # of the hub, where anybody publishes


def test_a_file_fetches_nothing_of_the_hub(run):
    """A model that anybody may publish is not fetched because a folder's file says so."""
    write('model = "hf:somebody/net"')
    assert run("layers")[0] == 1
    assert "deconvnet.toml names the model 'hf:somebody/net'." in run("project")[2]


@pytest.mark.parametrize("kind", ["fifo", "folder", "large"])
def test_what_is_no_file_of_options_is_refused(run, kind):
    """A pipe, which would wait for ever, a folder, and a file too large to be one."""
    if kind == "fifo":
        os.mkfifo("deconvnet.toml")
    elif kind == "folder":
        Path("deconvnet.toml").mkdir()
    else:
        write("#" * (LARGEST_FILE + 1))
    message = "OptionError: deconvnet.toml in this folder is no text file of options. Rename it, or go to another folder.\n"
    assert run("project") == (1, "", message)


def test_only_the_folder_itself_is_looked_in(run, tmp_path, monkeypatch):
    """A file in a folder above is not taken."""
    write("model =")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert run("samples")[0] == 0


@pytest.mark.parametrize("command", ["project", "ablate"])
def test_a_picture_without_a_model_is_remarked_on(run, command, picture):
    """A file might be a photograph, and nobody chose the net; a drawing of ours and a chosen net are as they should be."""
    few = {"project": ("--top", 1), "ablate": ("--signals", 2)}[command]
    assert NOTE in run(command, picture, *few)[2]
    assert NOTE not in run(command, "sample:drawing/cat", *few)[2]
    assert NOTE not in run(command, picture, *few, "--model", "tiny")[2]
