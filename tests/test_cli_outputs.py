"""What commands do with their outputs: names, modes, full disks, and ends that come too early."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from deconvnet.cli import deconvnet
from deconvnet.drawings import draw
from deconvnet.render.save import read_settings, write_atomic

COMMAND = [sys.executable, "-m", "deconvnet"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


@pytest.fixture
def two_cats(tmp_path, monkeypatch):
    """Two pictures of one name in two folders."""
    for seed, folder in enumerate(("monday", "tuesday")):
        (tmp_path / folder).mkdir()
        draw("cat", seed=seed).picture.save(tmp_path / folder / "cat.png")
    monkeypatch.chdir(tmp_path)
    return ["monday/cat.png", "tuesday/cat.png"]


def run(*arguments):
    result = CliRunner().invoke(deconvnet, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize(
    ("command", "default"),
    [
        (("project", "--top", "1"), "cat-tiny-features.9-deconvnet-soft.png"),
        (("upsample", "--factor", "2", "--ways", "nearest"), "upsample-cat.png"),
        (("ablate", "--layer", "features.4"), "ablate-tiny-features.4-soft.png"),
    ],
)
def test_a_default_name_never_replaces_another_figure(two_cats, command, default):
    """The same picture again replaces its figure; another one gets a number, which is said; --force replaces it."""
    name, *options = command
    if name == "upsample":
        pytest.importorskip("skimage", reason="upsampling's metrics need the extra `upsampling`")
    numbered = default.replace(".png", "-2.png")
    run(name, two_cats[0], *options)
    first = Path(default).read_bytes()
    run(name, two_cats[0], *options)
    assert sorted(path.name for path in Path().glob("*.png")) == [default]
    result = run(name, two_cats[1], *options)
    assert Path(default).read_bytes() == first
    assert f"note: {default} is another figure: this is {numbered}. --force would replace it." in result.stderr
    assert numbered in result.stdout
    assert two_cats[1] in str(read_settings(numbered))
    run(name, two_cats[1], *options, "--force")
    assert two_cats[1] in str(read_settings(default))


def test_a_file_of_somebody_else_is_not_replaced(two_cats):
    """A file under the default name that no command of ours wrote stays."""
    Path("cat-tiny-features.9-deconvnet-soft.png").write_text("my notes")
    run("project", two_cats[0], "--top", "1")
    assert Path("cat-tiny-features.9-deconvnet-soft.png").read_text() == "my notes"
    assert Path("cat-tiny-features.9-deconvnet-soft-2.png").exists()


def test_other_settings_are_another_figure(two_cats):
    """Layer, rule and tone are in the name; whatever else differs makes a number, and not a picture that is lost."""
    for options, name in [
        ((), "cat-tiny-features.9-deconvnet-soft.png"),
        (("--layer", "conv2", "--rule", "guided", "--tone", "grey"), "cat-tiny-features.5-guided-grey.png"),
        (("--layer", "conv1", "--layer", "conv2"), "cat-tiny-features.1+features.5-deconvnet-soft.png"),
        (("--channel", "3"), "cat-tiny-features.9-deconvnet-soft-2.png"),
        (("--percentile", "50"), "cat-tiny-features.9-deconvnet-soft-3.png"),
        (("--channel", "3"), "cat-tiny-features.9-deconvnet-soft-2.png"),
    ]:
        assert run("project", two_cats[0], "--top", "1", *options).stdout == f"{name}\n"
    layers = [option for number in (1, 2, 3) for option in ("--layer", f"conv{number}")]
    assert "cat-tiny-3-layers-" in run("project", two_cats[0], "--top", "1", *layers).stdout


def test_the_first_file_is_shown_on_request(two_cats, monkeypatch):
    """--open hands the first file that was written to the program for it; where there is none, a line says so."""
    shown = []
    monkeypatch.setattr("click.launch", lambda path: shown.append(path) or 0)
    written = run("project", *two_cats, "--top", "1", "--out", "sheets/", "--open").stdout.split()
    assert len(written) == 2
    assert shown == written[:1]
    monkeypatch.setattr("click.launch", lambda path: 1)
    result = run("project", two_cats[0], "--top", "1", "--out", "a.png", "--open")
    assert "a.png could not be shown: no program for it was found." in result.stderr


def test_quiet_leaves_results_and_failures(two_cats):
    """--quiet prints neither notes nor progress; names of files and errors stay."""
    result = run("project", two_cats[0], "--top", "1", "--quiet")
    assert (result.stdout, result.stderr) == ("cat-tiny-features.9-deconvnet-soft.png\n", "")
    assert "trained on drawings" in run("project", two_cats[0], "--top", "1").stderr


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_keeps_its_mode(tmp_path, mode):
    """What only its owner could read is not opened to others by being written anew; a new file follows the umask."""
    path = tmp_path / "sheet.png"
    path.write_bytes(b"old")
    path.chmod(mode)
    with write_atomic(path) as handle:
        handle.write(b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)
    umask = os.umask(0o027)
    try:
        with write_atomic(tmp_path / "new.png") as handle:
            handle.write(b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new.png").stat().st_mode) == 0o640


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [("--version",), ("layers",), ("project", "--json", "-", "--top", "1")])
def test_a_full_output_is_a_line(tmp_path, arguments):
    """Nothing can be written to standard output: one line says so, and nothing else is printed."""
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*COMMAND, *arguments], cwd=tmp_path, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 1
    lines = [
        line for line in result.stderr.splitlines() if not line.endswith(".png") and not line.startswith(("This is", "  "))
    ]
    assert lines == ["cannot go on: No space left on device (standard output)."]


def test_a_name_that_is_too_long_is_a_line(tmp_path):
    """300 letters are more than a file's name may have."""
    name = "x" * 300 + ".png"
    result = subprocess.run(
        [*COMMAND, "project", "--top", "1", "--out", name], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert result.stderr == f"cannot go on: File name too long ({name}).\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_command_that_is_ended_leaves_nothing(tmp_path, name):
    """The half-written file beside the target goes, whichever signal ends the command."""
    script = (
        "import signal, sys, time, deconvnet.cli, deconvnet.render.save as save\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs begin with it ignored
        "def slowly(image, handle, *settings):\n"
        "    handle.write(b'half'); handle.flush(); print('writing', file=sys.__stdout__, flush=True); time.sleep(60)\n"
        "save._WRITERS['.png'] = slowly\n"
        "sys.argv = ['deconvnet', 'project', '--top', '1', '--out', 'sheet.png']\n"
        "deconvnet.cli.main()\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, **pipes)
    assert process.stdout.readline() == "writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    process.send_signal(getattr(signal, name))
    started = time.monotonic()
    process.communicate(timeout=30)
    assert time.monotonic() - started < 30
    assert process.returncode == (130 if name == "SIGINT" else 128 + getattr(signal, name))
    assert list(tmp_path.iterdir()) == []
