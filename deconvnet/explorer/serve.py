"""The explorer for people without a notebook: Voilà serves `explore.ipynb` to a browser on this machine.

What there is to keep safe: the page listens on the loopback address only and asks for its token; all that Jupyter, IPython and
Voilà write goes to one temporary folder, which ends with the command; and what was asked for reaches the notebook as JSON in
that folder, never as code.
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
from typing import Any

from ..errors import DeconvnetError, OptionError

HOST = "127.0.0.1"
JOB = "DECONVNET_EXPLORE"  # the environment variable that names the job's file
LARGEST_MESSAGE = 64 * 2**20  # bytes: an upload that is too large is refused in words up to here, beyond by the server
PATIENCE = 60  # seconds for Voilà to come up
GRACE = 10  # seconds for it to end

#: Voilà's own template asks a server far away for an icon font: here that becomes an empty style sheet.
TEMPLATE = """{%- extends 'voila/templates/lab/index.html.j2' -%}
{%- block notebook_css -%}
{{ super() | replace('https://cdn.jsdelivr.net/', 'data:text/css,') }}
{%- endblock notebook_css -%}
"""


def serve(job: dict[str, Any], *, port: int = 0, browser: bool = True, tell: Callable[[str], Any] = print) -> None:
    """Serve the explorer until it is interrupted; `tell` is told the page's address.

    `job`: what `handed_over` reads in the notebook. `port`: 0 takes a free one.
    """
    port = free_port(port)
    token = secrets.token_urlsafe(24)
    with _folder() as folder, _served(folder, job, port, token) as server:
        address = f"http://{HOST}:{port}/?token={token}"
        tell(address)
        if browser:
            webbrowser.open(address)
        code = server.wait()
        raise OptionError(f"the explorer's server ended by itself ({code}). {_last_words(folder)}")


def free_port(port: int) -> int:
    """Return a port that can be listened on: the one asked for, or for 0 any."""
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was left a moment ago is free
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OptionError(f"port {port} cannot be used: {error.strerror}. Give another, or none for a free one.") from error
        return int(probe.getsockname()[1])


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that only its owner can read; it goes whatever happens, also when the command is told to end."""
    folder = Path(tempfile.mkdtemp(prefix="deconvnet-explore-"))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def _served(folder: Path, job: dict[str, Any], port: int, token: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run Voilà in the folder, in a session of its own: Ctrl-C is for us, who then end it in order."""
    write_files(folder, job, port, token)
    command = [sys.executable, "-m", "voila", str(folder / "explore.ipynb")]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        _wait_for(server, port, folder)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(GRACE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last:
        if server.poll() is not None:
            raise OptionError(f"the explorer's server did not start. {_last_words(folder)}")
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise OptionError(f"the explorer's server did not answer within {PATIENCE} s. {_last_words(folder)}")


def _last_words(folder: Path) -> str:
    lines = (folder / "log").read_text(errors="replace").strip().splitlines()
    return f"Its last words: {lines[-1].strip()}" if lines else "It said nothing."


def write_files(folder: Path, job: dict[str, Any], port: int, token: str) -> None:
    """Write what Voilà reads: notebook, job, template, a kernel that is this very Python, the settings with the token."""
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
    (folder / "voila.json").write_text(json.dumps(settings(folder, port, token)))  # not in the command: everybody reads that


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
            "tornado_settings": {"websocket_max_message_size": LARGEST_MESSAGE},
        },
        "VoilaConfiguration": {
            "template": "deconvnet",
            "strip_sources": True,
            "show_tracebacks": False,
            "file_allowlist": [],
            "file_denylist": [".*"],
        },
    }


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which all that Jupyter and IPython keep lies in the folder, and this package is found."""
    own = str(Path(__file__).parents[2])
    return {
        **os.environ,
        JOB: str(folder / "job.json"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": os.pathsep.join([own, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def handed_over() -> Any:
    """Return the explorer that the job asks for: called by the notebook; what cannot be shown is said on the page."""
    from . import explore

    job = json.loads(Path(os.environ[JOB]).read_text())
    os.chdir(job["cwd"])  # paths in the job mean what they meant in the command
    try:
        return explore(loaded_net(job), job["picture"], **job["choices"])
    except DeconvnetError as error:
        display = importlib.import_module("IPython.display")
        return display.HTML(f'<p role="alert">{escape(f"{type(error).__name__}: {error}")}</p>')


def loaded_net(job: dict[str, Any]) -> Any:
    """Return the net that a job asks for."""
    from ..models import load_model
    from ..net import DeconvNet

    loaded = load_model(job["model"], weights=job["weights"], device=job["device"])
    return DeconvNet(loaded.with_preprocess(**job["preprocess"]), **job["options"])
