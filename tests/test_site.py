"""The documentation as a site: it builds without a warning, is whole, loads nothing from elsewhere, and reads well in a browser.

Needs the extra `docs`; the tests in a browser also Playwright, axe-playwright-python and a Chromium.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

import deconvnet
from deconvnet.cli import COMMANDS
from deconvnet.cli import deconvnet as command_group

pytest.importorskip("material", reason='mkdocs-material is missing: pip install -e ".[docs]"')
pytest.importorskip("mkdocstrings_handlers.python", reason='mkdocstrings-python is missing: pip install -e ".[docs]"')

ROOT = Path(__file__).parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
KINDS = ("", "project/", "studies/", "cannot-show/", "faq/")  # pictures, code, wide tables, questions
LONG = ("reference/commands/", "reference/python/")  # thousands of elements, whose colours are those of other pages' code


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The site, built as it is published; a warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    environment = {
        **os.environ,
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Parsed(HTMLParser):
    """What a page loads, where it leads, and which of its parts can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads, self.leads, self.ids, self.without_text = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if "id" in given:
            self.ids.add(given["id"])
        if tag in ("script", "img", "iframe", "source", "video") and given.get("src"):
            self.loads.append(given["src"])
        if tag == "img" and not given.get("alt"):
            self.without_text.append(given.get("src"))
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(given["href"])
        if tag == "a" and given.get("href"):
            self.leads.append(given["href"])


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Parsed]:
    return {path: Parsed(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def test_every_page_of_docs_is_in_the_site(pages, site):
    """Each Markdown file of docs/ is a page, and the navigation leads to it from the first."""
    names = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    built = {path.parent.relative_to(site).as_posix() for path in pages}
    assert built == {"." if name == "index" else name for name in names}
    first = {urlsplit(link).path.strip("./") for link in pages[site / "index.html"].leads}
    assert names - {"index"} <= first


def test_nothing_is_loaded_from_elsewhere(pages, site):
    """Pages, styles and scripts name no other host for fonts, scripts, styles or pictures."""
    assert {load for page in pages.values() for load in page.loads if urlsplit(load).netloc} == set()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.findall(r"url\(['\"]?(?:https?:)?//[^)]+\)|@import[^;]+//[^;]+", styles)


def test_no_link_is_broken(pages, site):
    """Each link inside the site leads to a file, and to a part of it where it names one; each picture is there."""
    broken = []
    for path, page in pages.items():
        for link in [*page.leads, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids
            ):
                broken.append((path.parent.name, link))
    assert broken == []


def test_links_of_the_pages_themselves(site):
    """In docs/ as it is read on the repository's pages, links between files lead somewhere, too; the README's as well."""
    for page in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if not urlsplit(link).scheme and urlsplit(link).path:
                assert (page.parent / urlsplit(link).path).exists(), f"{page.name}: {link}"


def test_pictures_have_words(pages):
    """Each picture says what it shows to those who do not see it."""
    assert {str(path): page.without_text for path, page in pages.items() if page.without_text} == {}


def test_every_option_of_every_command_is_there(site):
    """The page of commands has each command with each option and its help, as `--help` has them."""
    text = (site / "reference" / "commands" / "index.html").read_text()
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
    context = click.Context(command_group, info_name="deconvnet", terminal_width=10_000, max_content_width=10_000)
    for name in COMMANDS:
        command = command_group.get_command(context, name)
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record:
                for part in record:
                    assert " ".join(part.split()) in text, (name, part)


def test_every_public_name_is_there(pages, site):
    """The page of Python has each name of `deconvnet.__all__`."""
    ids = pages[site / "reference" / "python" / "index.html"].ids
    missing = {name for name in deconvnet.__all__ if not any(f".{known}".endswith(f".{name}") for known in ids)}
    assert missing <= {"__version__", "studies", "upsampling"}  # packages: what is in them has its own entries


def test_examples_of_docstrings_are_code(site):
    """The examples at the end of our docstrings are shown as code, not as errors that are raised."""
    text = (site / "reference" / "python" / "index.html").read_text()
    assert not re.findall(r"<code>\s*(?:&gt;&gt;&gt;|\.\.\.)[^<]*</code>\s*(?:<[^>]+>\s*)*–", text)


@pytest.fixture(scope="session")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")
    if CHROMIUM is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the path")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, address):
    """Opens pages; at the end nothing may have been asked of another host, and no script may have failed."""
    wrong, contexts = [], []

    def opened(name: str, *, size=WIDE, scheme="light"):
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith((address, "data:", "blob:")) or wrong.append(request.url))
        page.goto(f"{address}/{name}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def faults(page, **options) -> list[tuple[str, list[str]]]:
    """Return what axe finds on a page: the rule, and the first elements that break it."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing: pip install axe-playwright-python"
    )
    page.wait_for_load_state("networkidle")
    found = axe.Axe().run(page, options={"preload": False, **options}).response["violations"]
    return [(fault["id"], [node["html"][:160] for node in fault["nodes"]][:3]) for fault in found]


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")])
@pytest.mark.parametrize("name", KINDS)
def test_axe_finds_nothing(visit, name, size, scheme):
    """On each kind of page, light and dark, wide and on a phone, axe finds no fault, and nothing is wider than the window."""
    page = visit(name, size=size, scheme=scheme)
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("name", LONG)
def test_axe_finds_nothing_on_the_references(visit, name):
    """Nor on the long pages of commands and of Python, on a phone."""
    page = visit(name, size=NARROW)
    assert faults(page, rules={"color-contrast": {"enabled": False}}) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("silent window", "cannot-show/"),
        ("outlines", "reference/commands/"),
        ("FeatureMonitor", "training/"),
        ("out of memory", "faq/"),
    ],
)
def test_search_finds_words_and_options(visit, typed, expected):
    """What is typed leads to pages: words, an option, a name of Python, a trouble."""
    page = visit("")
    page.click("input.md-search__input")
    page.keyboard.type(typed)
    page.wait_for_selector(f".md-search-result__list a[href*='{expected}']", state="attached", timeout=30_000)


def test_a_click_opens_a_picture(visit):
    """A picture's link leads to its file."""
    page = visit("project/", size=NARROW)
    page.click("a.picture >> nth=0")
    page.wait_for_url("**/pictures/bicycle.png")
