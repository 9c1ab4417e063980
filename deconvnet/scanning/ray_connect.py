"""Connecting to Ray, quietly, and with one line that says what is wrong."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import EngineError
from ..optional import require

CONNECT_TIMEOUT = 5.0  # seconds that an address has to answer


def require_ray() -> Any:
    """Import Ray and Arrow.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    require("pyarrow", needed_by="--engine ray", extra="ray")
    return require("ray", needed_by="--engine ray", extra="ray")


def connect(ray: Any, address: str | None) -> None:
    """Connect to a running Ray, or start one on this machine.

    Args:
        ray: the imported module.
        address: "auto" or "HOST:PORT"; None: $RAY_ADDRESS, or a new Ray on this machine.

    Raises:
        EngineError: Ray does not answer, does not accept this process, or cannot be started.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address != "local":
        check_listening(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody has agreed to be counted
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr), capture_stderr() as read_stderr:
        warnings.simplefilter("ignore")
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
            if "Unauthenticated" in read_stderr() or "AuthenticationError" in f"{error!r}":
                raise EngineError(
                    f"Ray at {address!r} does not accept this process: it expects its token. Set RAY_AUTH_MODE=token, and put"
                    " the token of Ray's first machine into ~/.ray/auth_token or RAY_AUTH_TOKEN."
                ) from error
            what = "start Ray on this machine" if address == "local" else f"use Ray at {address!r}"
            raise EngineError(f"cannot {what}: {last_line(error)}. To see why, start it by hand: ray start --head") from error


@contextlib.contextmanager
def capture_stderr() -> Iterator[Callable[[], str]]:
    """Keep off the terminal what Ray's library writes to stderr, bypassing Python, and let it be read: only it says why."""
    with tempfile.TemporaryFile() as file:

        def read() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)


def check_listening(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for minutes, and then end the process.

    Raises:
        EngineError: no Ray runs here ("auto"), or the address is malformed or does not answer.
    """
    if address == "auto":
        address = _address_of_this_machine()
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise EngineError(f"{address!r} is not an address of Ray. Give HOST:PORT, as in 10.0.0.1:6379, or auto.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
    except OSError as error:
        raise EngineError(f"Ray at {address!r} does not answer: {error}. Check the address; there, run: ray status") from error


def _address_of_this_machine() -> str:
    """Return the address in Ray's own note, which a cluster that was killed leaves behind."""
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    address = note.read_text().strip() if note.is_file() else ""
    if not address:
        raise EngineError("no Ray runs on this machine. Start one (ray start --head), or give its --address HOST:PORT.")
    return address


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, where Ray says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__).rstrip(".")
