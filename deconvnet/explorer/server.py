"""Voilà as a child that ends with the command that started it: `python -m deconvnet.explorer.server NOTEBOOK`.

Its standard input is a pipe whose other end only that command holds. Where the command is killed, or its terminal closed, the
pipe closes; the server then ends as on SIGTERM, with its kernels, and deletes the folder that its notebook is in.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    """Serve the notebook named by the last argument until SIGTERM, or until the parent is gone."""
    orphaned = threading.Event()

    def end_with_parent() -> None:
        while sys.stdin.buffer.read(1):
            pass
        orphaned.set()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        importlib.import_module("voila.app").main()
    finally:
        if orphaned.is_set():  # else the parent deletes it
            shutil.rmtree(Path(sys.argv[-1]).parent, ignore_errors=True)


if __name__ == "__main__":
    main()
