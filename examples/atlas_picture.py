"""Draw the picture of docs/atlas.md: tiny's atlas on 180 drawings, as a browser shows it.

pip install -e ".[atlas]" playwright
python examples/atlas_picture.py docs/pictures
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

import deconvnet
from deconvnet.drawings import CLASSES, draw

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def main(folder: str = "docs/pictures", page: str = "2-features.13/28.html", each: int = 10) -> None:
    """Save atlas.png: `page` of the atlas, on `each` drawings of each class."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as work:
        photos = Path(work, "drawings")
        photos.mkdir()
        for name in CLASSES:
            for seed in range(each):
                draw(name, seed=1000 + seed).picture.save(photos / f"{name}-{seed}.png")
        net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
        scan = deconvnet.scan(net, photos, Path(work, "tiny.scan"), layers=["features.9", "features.13"])
        site = deconvnet.write_atlas(scan, Path(work, "site")).index.parent
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            shown = browser.new_page(viewport={"width": 1280, "height": 1150})
            shown.goto((site / page).as_uri(), wait_until="networkidle")
            shown.screenshot(path=Path(work, "shown.png"))
            browser.close()
        with Image.open(Path(work, "shown.png")) as picture:
            picture.convert("RGB").quantize(256).save(Path(folder, "atlas.png"), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
