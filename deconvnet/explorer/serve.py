"""The explorer without a notebook: Voilà serves `explore.ipynb` to a browser on this machine.

For safety, the server listens on the loopback address only, answers to no other name, and asks for a token. The token stands in
no command line, since all users can read those. Server and kernel talk through sockets, where the system has them, in one
temporary folder that nobody else can open. Everything that Jupyter, IPython and Voilà write goes to that folder; it is deleted
when the command ends. The command's options reach the notebook as JSON in it, never as code. However the command ends, the
server ends with it: `deconvnet.explorer.server`.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..errors import DeconvnetError, OptionError

if TYPE_CHECKING:
    from ..net import DeconvNet

HOST = "127.0.0.1"
JOB_VARIABLE = "DECONVNET_EXPLORE"  # the environment variable that names the job's file
LARGEST_MESSAGE = 64 * 2**20  # bytes: larger uploads are cut off by the server, those up to here get a message on the page
LONGEST_SOCKET = 104  # bytes that a socket's path may have on macOS; Linux allows 108
START_TIMEOUT = 60  # seconds for Voilà to start
STOP_TIMEOUT = 10  # seconds for it to end

#: Voilà's own template fetches an icon font from the internet; here an empty style sheet stands in for it.
TEMPLATE = """{%- extends 'voila/templates/lab/index.html.j2' -%}
{%- block notebook_css -%}
{{ super() | replace('https://cdn.jsdelivr.net/', 'data:text/css,') }}
{%- endblock notebook_css -%}
"""


class Job(TypedDict):
    """What the command hands to the notebook.

    Attributes:
        cwd: the folder that paths are relative to.
        picture: a path; None: a drawing.
        model, weights, device: those of `load_model`.
        preprocess: the arguments of `LoadedModel.with_preprocess`.
        inputs: the files of what forward takes besides the picture, by name.
        options: the options of `DeconvNet`.
        choices: the options of `explore`.
    """

    cwd: str
    picture: str | None
    model: str
    weights: str
    device: str
    preprocess: dict[str, Any]
    inputs: dict[str, str]
    options: dict[str, Any]
    choices: dict[str, Any]


def serve(job: Job, *, port: int = 0, browser: bool = True, on_address: Callable[[str], object] = print) -> None:
    """Serve the explorer until it is interrupted.

    Args:
        job: what to explore.
        port: the port to listen on; 0 takes a free one.
        browser: open the page in the user's browser.
        on_address: called with the page's address once it can be opened.

    Raises:
        OptionError: the port cannot be used, or the server does not start or ends by itself.
    """
    port = free_port(port)
    token = secrets.token_urlsafe(24)
    with _private_folder() as folder, _running_server(folder, job, port, token) as server:
        address = f"http://{HOST}:{port}/?token={token}"
        on_address(address)
        if browser:
            webbrowser.open(_redirect(folder, address))
        code = server.wait()
        raise OptionError(f"the explorer's server ended by itself, with exit code {code}. {_last_line(folder)}")


def _redirect(folder: Path, address: str) -> str:
    """Write a page that leads to the address, and return its own: a browser's command line can be read by all users."""
    page = folder / "open.html"
    target = escape(address, quote=True)
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}"><title>deconvnet</title>'
    )
    return page.as_uri()


def free_port(port: int) -> int:
    """Return the port if it can be listened on, or any free port for 0."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was closed a moment ago is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OptionError(
                f"port {port} cannot be used: {error.strerror}. Give another port, or none for a free one."
            ) from error
        return int(probe.getsockname()[1])


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder that only its owner can read, and delete it in any case, also if the command is terminated."""
    folder = Path(tempfile.mkdtemp(prefix="deconvnet-"))
    ending = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [signal.signal(number, _interrupt) for number in ending]
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for number, handler in zip(ending, before, strict=True):
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def _running_server(folder: Path, job: Job, port: int, token: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Voilà in the folder, in a session of its own, so that Ctrl-C reaches only the command, which then ends Voilà."""
    write_files(folder, job, port, token)
    command = [sys.executable, "-m", "deconvnet.explorer.server", str(folder / "explore.ipynb")]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            stdin=subprocess.PIPE,  # closes when this process ends, also by SIGKILL: the server then ends too
            start_new_session=True,
        )
    try:
        _wait_until_up(server, port, folder)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdin:
            server.stdin.close()


def _wait_until_up(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise OptionError(f"the explorer's server did not start. {_last_line(folder)}")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise OptionError(f"the explorer's server did not answer within {START_TIMEOUT} s. {_last_line(folder)}")


def _last_line(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    return f"Its log ends with: {lines[-1].strip()}" if lines else "Its log is empty."


def write_files(folder: Path, job: Job, port: int, token: str) -> None:
    """Write what Voilà reads: notebook, job, template, a kernel that runs this Python, and the settings with the token."""
    shutil.copyfile(Path(__file__).with_name("explore.ipynb"), folder / "explore.ipynb")
    (folder / "job.json").write_text(json.dumps(job))
    kernel = folder / "data" / "kernels" / "deconvnet"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "deconvnet", "language": "python"}))
    template = folder / "data" / "voila" / "templates" / "deconvnet"
    template.mkdir(parents=True)
    (template / "conf.json").write_text(json.dumps({"base_template": "lab"}))
    (template / "index.html.j2").write_text(TEMPLATE)
    (folder / "voila.json").write_text(
        json.dumps(settings(folder, port, token))
    )  # not on the command line, which all users can read


def settings(folder: Path, port: int, token: str) -> dict[str, Any]:
    """Return Voilà's settings."""
    return {
        "Voila": {
            "ip": HOST,
            "port": port,
            "port_retries": 0,
            "token": token,
            "open_browser": False,
            "root_dir": str(folder),
            "connection_dir_root": str(folder),
            "tornado_settings": {
                "websocket_max_message_size": LARGEST_MESSAGE,
                "allow_remote_access": False,  # Voilà's default is True: no request is then asked which host it is for
                "local_hostnames": ["localhost"],
            },
        },
        "KernelManager": {"transport": _transport(folder)},
        "VoilaConfiguration": {
            "template": "deconvnet",
            "strip_sources": True,
            "show_tracebacks": False,
            "file_allowlist": [],
            "file_denylist": [".*"],
        },
    }


def _transport(folder: Path) -> str:
    """Return how server and kernel talk: through sockets in the folder, or ports, where a socket's path is too long."""
    longest = f"{folder}/voila_12345678/kernel-{'0' * 36}-ipc-5"
    return "ipc" if os.name == "posix" and len(os.fsencode(longest)) < LONGEST_SOCKET else "tcp"


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which Jupyter and IPython write to the folder only, and this package can be imported."""
    package = str(Path(__file__).parents[2])
    return {
        **os.environ,
        JOB_VARIABLE: str(folder / "job.json"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def explore_job() -> object:
    """Return the explorer that the job describes, or an error as HTML; called by the notebook."""
    from . import explore

    job: Job = json.loads(Path(os.environ[JOB_VARIABLE]).read_text())
    os.chdir(job["cwd"])  # the job's paths are relative to it
    try:
        return explore(load_net(job), job["picture"], **job["choices"])
    except DeconvnetError as error:
        display = importlib.import_module("IPython.display")
        return display.HTML(f'<p role="alert">{escape(f"{type(error).__name__}: {error}")}</p>')


def load_net(job: Job) -> DeconvNet:
    """Return the net that a job names."""
    from ..models import load_model
    from ..models.further_inputs import read_inputs
    from ..net import DeconvNet

    loaded = load_model(job["model"], weights=job["weights"], device=job["device"])
    if inputs := job.get("inputs"):
        loaded.with_inputs(**read_inputs(inputs))
    return DeconvNet(loaded.with_preprocess(**job["preprocess"]), **job["options"])
