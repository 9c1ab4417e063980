"""Draw the picture of docs/notebook.md: the explorer on a drawing of a face, as a browser shows it.

pip install -e ".[notebook]" playwright
python examples/explorer_picture.py docs/pictures
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from deconvnet.drawings import draw

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def main(folder: str = "docs/pictures", layer: str = "features.13", seed: int = 3) -> None:
    """Save explorer.png: a layer's maps, its strongest channel, and the unit where that is strongest."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as work:
        draw("face", seed=seed).picture.save(Path(work, "face.png"))
        command = [sys.executable, "-m", "deconvnet", "explore", str(Path(work, "face.png")), "--no-browser", "--layer", layer]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as started:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 1120})
            page.goto(address, timeout=120_000)
            page.locator(".dn-mosaic button").nth(35).wait_for(timeout=120_000)
            page.wait_for_timeout(1000)  # the last pictures appear
            page.screenshot(path=Path(work, "shown.png"), full_page=True)
            browser.close()
            server.terminate()
        with Image.open(Path(work, "shown.png")) as picture:
            picture.convert("RGB").quantize(256).save(Path(folder, "explorer.png"), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
