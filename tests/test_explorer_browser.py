"""The explorer in a real browser: in JupyterLab, and served by `deconvnet explore`.

These tests need the extra `notebook`, Playwright and Chromium, and are skipped where one is missing.
Screenshots go to the folder that DECONVNET_SCREENSHOTS names, if it is set.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deconvnet.drawings import draw

ROOT = Path(__file__).parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine (apt-get install chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright (pip install playwright)")
for package in ("jupyterlab", "voila", "ipywidgets"):
    pytest.importorskip(package, reason='no JupyterLab or Voilà (pip install -e ".[notebook]")')

QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
PAGE_TIMEOUT = 120_000  # milliseconds for a page of Jupyter's to appear


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield chromium
        chromium.close()


class Tab:
    """A page that collects its errors."""

    def __init__(self, browser: Any, width: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 1000})
        self.page, self.errors = self.context.new_page(), []
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(request.url))

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("DECONVNET_SCREENSHOTS"):
            self.page.screenshot(path=f"{folder}/{name}.png", full_page=True)

    def changes(self, selector: str, act: Any) -> str:
        """Do something, wait until the element has changed, and return its new HTML."""
        element = self.page.locator(selector).first
        before = element.inner_html()
        act()
        deadline = time.monotonic() + 20
        while element.inner_html() == before:
            assert time.monotonic() < deadline, f"{selector} did not change"
            self.page.wait_for_timeout(50)
        return element.inner_html()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(folder: Path) -> dict[str, str]:
    """Everything that a server writes goes to the test's folder."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    folders = {name: str(folder / name.lower()) for name in names}
    return {**os.environ, **folders, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


# ---- JupyterLab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab whose notebook has the explorer in a cell that was not run yet."""
    folder = tmp_path_factory.mktemp("lab")
    source = "import deconvnet\n\nexplorer = deconvnet.explore(deconvnet.load_model('tiny'))\nexplorer"
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "explorer.ipynb").write_text(json.dumps(notebook))
    port = free_port()
    options = [f"--port={port}", "--ip=127.0.0.1", "--IdentityProvider.token=word", f"--ServerApp.root_dir={folder}"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *options]
    news_off = ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, *news_off], env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/api")
        yield f"http://127.0.0.1:{port}/doc/tree/explorer.ipynb?token=word"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def wait_until_up(address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"{address} does not answer"
            time.sleep(0.2)


@pytest.mark.parametrize("width", [1280, 390])
def test_in_jupyterlab(browser, lab, width):
    """The explorer is displayed below its cell; maps, positions, sliders and lists work by mouse and by keyboard; no error."""
    tab = Tab(browser, width)
    page = tab.page
    page.goto(lab, timeout=PAGE_TIMEOUT)
    page.locator(".jp-CodeCell .cm-content").first.click(timeout=PAGE_TIMEOUT)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(
        timeout=PAGE_TIMEOUT, state="attached"
    )  # the kernel is there
    page.keyboard.press("Shift+Enter")
    page.locator(".dn-mosaic button").nth(35).wait_for(timeout=PAGE_TIMEOUT)
    walk_through(tab)
    tab.shoot(f"lab-{width}")
    assert tab.errors == []
    tab.context.close()


def walk_through(tab: Tab) -> None:
    """Click a map, then a position; choose by keyboard; the projection, the patch and the numbers change."""
    page, code = tab.page, playwright.expect(tab.page.locator(".dn code"))
    picture, projection = ".dn-unit figure >> nth=2", ".dn-unit figure >> nth=1"
    number = re.match(r"\d+", page.locator(".dn-map-4").inner_text())[0]
    tab.changes(projection, page.locator(".dn-map-4").click)
    code.to_contain_text(f"channels=[{number}])")
    tab.changes(picture, page.locator(".dn-cells button").nth(5 * 11 + 6).click)
    code.to_contain_text("at=(5, 6)")
    page.locator(".dn-map-7").focus()
    tab.changes(projection, lambda: page.keyboard.press("Enter"))
    code.not_to_contain_text("at=")  # a new map begins at its strongest position
    page.locator(".dn [role=slider], .dn .noUi-handle").first.focus()
    tab.changes(picture, lambda: page.keyboard.press("ArrowRight"))
    code.to_contain_text("at=(")
    tab.changes(projection, lambda: page.get_by_label("Rule").select_option("gradient"))
    code.to_contain_text("rule='gradient'")
    tab.changes(projection, lambda: page.get_by_label("Tone").select_option("grey"))
    page.get_by_label("Layer").select_option(index=1)
    code.to_contain_text("'features.1'")
    page.get_by_label("Layer").select_option(index=13)
    code.to_contain_text("'features.13'")
    assert page.locator(".dn figure img").count() == 3
    assert all(page.locator(".dn figure img").evaluate_all("images => images.map(image => image.alt)"))
    edges = "explorer => [...explorer.querySelectorAll('button, img, select')].map(part => part.getBoundingClientRect().right)"
    box = page.locator(".dn").bounding_box()
    assert max(page.locator(".dn").evaluate(edges)) <= box["x"] + box["width"] + 1  # nothing runs off the side


# ---- the command


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """`deconvnet explore` in an empty folder, as the user of an empty home: its address and that home."""
    home = tmp_path_factory.mktemp("home")
    (home / "work").mkdir()
    short = tempfile.mkdtemp(prefix="dn", dir="/tmp" if os.name == "posix" else None)  # a socket's path may not be long
    (home / "tmp").symlink_to(short)
    folders = {"HOME": str(home), "TMPDIR": short, "XDG_CONFIG_HOME": str(home / ".config")}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "deconvnet", "explore", "--no-browser", "--layer", "features.13"]
    server = subprocess.Popen(
        command,
        cwd=home / "work",
        env={**os.environ, **folders, **paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield server.stdout.readline().strip(), home
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr.read().endswith("ended.\n")
        remaining = [path for folder in (home, Path(short)) for path in folder.rglob("*") if path.is_file()]
        assert remaining == []  # neither in the home, nor in the working folder, nor in the temporary one
    finally:
        server.kill()
        server.stdout.close()
        server.stderr.close()
        shutil.rmtree(short)


def choose_file(page: Any, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Another picture").click()
    chooser.value.set_files(str(path))


@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(browser, served, width):
    """The page shows the explorer and nothing else; maps, positions, lists and uploads work; no error."""
    tab = Tab(browser, width)
    page = tab.page
    page.goto(served[0], timeout=PAGE_TIMEOUT)
    page.locator(".dn-mosaic button").nth(35).wait_for(timeout=PAGE_TIMEOUT)
    walk_through(tab)
    upload = served[1] / "cat.png"
    draw("cat", seed=5).picture.save(upload)
    tab.changes(".dn-unit figure >> nth=2", lambda: choose_file(page, upload))
    upload.write_text("no picture")
    choose_file(page, upload)
    page.get_by_role("alert").get_by_text("cannot open 'cat.png'").wait_for()
    upload.write_bytes(bytes(12 * 2**20))
    choose_file(page, upload)
    page.get_by_role("alert").get_by_text("it has 12.0 MiB, more than 9").wait_for()
    upload.unlink()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    tab.shoot(f"explore-{width}")
    assert tab.errors == []
    tab.context.close()


def test_the_page_asks_for_its_token(browser, served):
    """Without the token there is no explorer, and other machines cannot connect."""
    address = served[0].partition("?")[0]
    tab = Tab(browser, 800)
    tab.page.goto(address)
    assert "/login" in tab.page.url
    assert tab.page.locator(".dn").count() == 0
    tab.context.close()
    port = int(re.search(r":(\d+)/", address)[1])
    for family, *_, target in socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM):
        if not target[0].startswith("127.") and target[0] != "::1":
            with socket.socket(family) as probe:
                assert probe.connect_ex(target) != 0


def test_the_page_serves_no_files(served):
    """The files in the folder, the settings with the token and the job, cannot be fetched, even with the token."""
    address, _, query = served[0].partition("?")
    for path in ("voila/files/voila.json", "voila/files/job.json", "voila/files/log"):
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}{path}?{query}", timeout=5)


def test_the_page_answers_to_its_own_name_only(served):
    """A page of another name that leads to this machine (DNS rebinding) is refused, with or without the token."""
    address, _, query = served[0].partition("?")
    for url in (address, f"{address}?{query}"):
        request = urllib.request.Request(url, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=5)
        assert refused.value.code == 403
        refused.value.close()


def test_the_kernel_listens_on_no_port(served):
    """The server talks to its kernels through sockets in its private folder."""
    files = list((served[1] / "tmp").resolve().rglob("kernel-*.json"))
    assert files, "no page was opened before"
    assert {json.loads(file.read_text())["transport"] for file in files} == {"ipc"}


def start_explorer(home: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start `deconvnet explore` in a home of its own; its first line is the page's address."""
    (home / "tmp").mkdir()
    folders = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "XDG_CONFIG_HOME": str(home / ".config")}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "deconvnet", "explore", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, cwd=home, env={**os.environ, **folders, **paths, **variables}, **pipes)


@pytest.mark.parametrize("ending", ["SIGKILL", "SIGHUP", "SIGTERM"])
def test_the_server_ends_with_the_command(tmp_path, ending):
    """However the command ends - killed, or its terminal closed - nothing listens afterwards, and nothing is left."""
    command = start_explorer(tmp_path, "--no-browser")
    try:
        port = int(re.search(r":(\d+)/", command.stdout.readline())[1])
        command.send_signal(getattr(signal, ending))
        command.wait(30)
        deadline = time.monotonic() + 30
        while is_open(port) or list((tmp_path / "tmp").glob("deconvnet-*")):
            assert time.monotonic() < deadline, "the server goes on without its command"
            time.sleep(0.1)
    finally:
        command.kill()
        command.stdout.close()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_browser_is_not_told_the_token_in_its_arguments(tmp_path):
    """All users can read a command line: the browser opens a file that only its owner can read, which leads to the page."""
    browser = tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\nprintf "%s" "$1" > "{tmp_path}/argument"\ncat "${{1#file://}}" > "{tmp_path}/page"\n')
    browser.chmod(0o700)
    command = start_explorer(tmp_path, "--browser", BROWSER=f"{browser} %s")
    try:
        address = command.stdout.readline().strip()
        deadline = time.monotonic() + 30
        while not (tmp_path / "page").exists() or not (tmp_path / "page").stat().st_size:
            assert time.monotonic() < deadline, "no browser was opened"
            time.sleep(0.1)
        token = address.partition("token=")[2]
        assert (tmp_path / "argument").read_text().startswith("file:///")
        assert token not in (tmp_path / "argument").read_text()
        assert address in (tmp_path / "page").read_text()
    finally:
        command.send_signal(signal.SIGINT)
        command.wait(30)
        command.stdout.close()
