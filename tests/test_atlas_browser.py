"""The atlas in a real browser, opened from disk: clicks, keys, deep links, search, and what axe says of it.

Needs Playwright, axe-playwright-python and a Chromium (`pip install playwright axe-playwright-python`; Debian: `chromium`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from torch import nn

import deconvnet
from support.scans import drawings

jinja = pytest.importorskip("jinja2", reason='jinja2 is missing: pip install -e ".[atlas]"')
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing: pip install axe-playwright-python")

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on the path")

EVIL_PICTURE = "<img src=x onerror=name='broken'>.png"
EVIL_LAYER = "<img src=x onerror=name='broken'>"
EVIL_FOLDER = "1-_img_src_x_onerror_name__broken__"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def site(tiny, tmp_path_factory):
    """An atlas of two layers, one with a bad name, on drawings, one with a bad name."""
    model = nn.Sequential()
    for place, layer in enumerate(tiny.model.features[:10]):
        model.add_module({5: EVIL_LAYER, 9: "last"}.get(place, f"part{place}"), layer)
    folder = tmp_path_factory.mktemp("browser")
    drawings(folder / "photos", 14)
    (folder / "photos" / "03.png").rename(folder / "photos" / EVIL_PICTURE)
    net = deconvnet.DeconvNet(model.eval(), preprocess=tiny.preprocess)
    scan = deconvnet.scan(net, folder / "photos", folder / "a.scan", layers=[EVIL_LAYER, "last"])
    return deconvnet.write_atlas(scan, folder / "site", tile=48).index.parent


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


class Visit:
    """A page in its own window; whatever goes wrong in it is kept."""

    def __init__(self, browser, site: Path, **options) -> None:
        self.site, self.wrong = site, []
        self.context = browser.new_context(**{"viewport": WIDE, **options})
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", lambda request: request.url.startswith(("file:", "data:")) or self.wrong.append(request.url))

    def _failed(self, request) -> None:
        if "ABORTED" not in (request.failure or ""):  # left while its pictures were still coming
            self.wrong.append(f"{request.url}: {request.failure}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *error):
        assert kind or not self.wrong, self.wrong
        self.context.close()

    def open(self, name: str, rest: str = ""):
        self.page.goto((self.site / name).as_uri() + rest)
        return self.page

    def here(self) -> str:
        return self.page.url.removeprefix(self.site.as_uri() + "/")

    def until(self, name: str) -> None:
        self.page.wait_for_url(f"**/{name}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.getAttribute('href')")


def test_clicks_lead_from_layers_to_channels_and_on(browser, site):
    """A layer opens its channels, a channel its page, a similar one the next, and the links at the top lead back."""
    with Visit(browser, site) as visit:
        page = visit.open("index.html")
        page.click("text=last")
        visit.until("2-last/index.html")
        assert page.locator(".channels li").count() == 96
        page.click("#c7")
        visit.until("2-last/7.html")
        assert page.locator("h1").inner_text() == "last:7"
        loaded = "image => image.complete && image.naturalWidth > 0"
        assert page.locator(".half img").evaluate_all(f"images => images.every({loaded})")
        page.locator(".similar a").first.click()
        page.wait_for_function("!location.href.endsWith('2-last/7.html')")
        page.click("text=Atlas")
        visit.until("index.html")


def test_arrows_walk(browser, site):
    """Arrows walk layers and channels, Enter opens, Escape goes back up."""
    with Visit(browser, site) as visit:
        page = visit.open("index.html")
        visit.press("ArrowRight", "ArrowRight")
        assert visit.focused() == "2-last/index.html"
        visit.press("Enter")
        visit.until("2-last/index.html")
        visit.press("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft")
        columns = page.evaluate("getComputedStyle(document.querySelector('.channels')).gridTemplateColumns.split(' ').length")
        assert visit.focused() == f"{columns}.html"
        visit.press("ArrowUp")
        assert visit.focused() == "0.html"
        visit.press("ArrowLeft")
        assert visit.focused() == "0.html"
        visit.press("Enter")
        visit.until("2-last/0.html")
        visit.press("ArrowLeft")
        visit.press("ArrowRight")
        visit.until("2-last/1.html")
        visit.press("ArrowRight")
        visit.until("2-last/2.html")
        visit.press("ArrowLeft")
        visit.until("2-last/1.html")
        visit.press("Escape")
        visit.until("2-last/index.html#c1")
        assert visit.focused() == "1.html"
        visit.press("Escape")
        visit.until("index.html")


def test_keys_are_left_alone_in_fields_and_with_modifiers(browser, site):
    """Keys do not walk while the search field has the focus, or with a modifier."""
    with Visit(browser, site) as visit:
        page = visit.open("2-last/5.html")
        page.fill("input[type=search]", "abc")
        visit.press("ArrowLeft", "ArrowRight", "Escape")
        page.focus("main")
        visit.press("Shift+ArrowRight")
        page.wait_for_timeout(100)
        assert visit.here() == "2-last/5.html"


def test_deep_links(browser, site):
    """A layer and a channel can be linked to by name, also escaped, also from an open page; a wrong link gives a message."""
    with Visit(browser, site) as visit:
        page = visit.open("index.html", "#last:95")
        visit.until("2-last/95.html")
        page.click("dd a")
        visit.until("2-last/95.html")
        visit.open("index.html", "#last")
        visit.until("2-last/index.html")
        page = visit.open(f"{EVIL_FOLDER}/3.html")
        page.click("dd a")
        visit.until("3.html")
        page = visit.open("index.html")
        page.evaluate("location.hash = '#last:4'")
        visit.until("2-last/4.html")
        page = visit.open("index.html", "#last:96")
        assert page.inner_text("#told") == "last has no channel 96: it has 96, numbered from 0."
        page.evaluate("location.hash = '#<img src=x>/1'")
        page.wait_for_function("document.getElementById('told').textContent.includes('no layer')")
        assert page.inner_text("#told") == "This atlas has no layer <img src=x>."


def test_search_finds_channels_and_pictures(browser, site):
    """A channel's number, a layer's name and a part of a picture's name are found, from every page, and lead there."""
    with Visit(browser, site) as visit:
        page = visit.open("2-last/5.html")
        page.fill("input[type=search]", "last:12")
        visit.press("Enter")
        page.wait_for_selector("#results a")
        assert page.locator("#results a").all_inner_texts() == ["last:12"]
        assert page.inner_text("#told") == "1 layer or channel and 0 pictures found for “last:12”."
        page.fill("input[type=search]", "07.png")
        page.wait_for_selector(".hit")
        assert page.locator(".hit h3").all_inner_texts() == ["07.png"]
        link = page.locator(".hit a").first
        target = link.get_attribute("href")
        link.click()
        visit.until(target)
        assert "07.png" in page.locator(".pictures").inner_text()
        page.click(".pictures a:text-is('07.png')")
        page.wait_for_selector(".hit")
        assert page.input_value("input[type=search]") == "07.png"
        page.fill("input[type=search]", "nowhere")
        page.wait_for_function("document.getElementById('told').textContent.startsWith('0 layers')")
        page.fill("input[type=search]", "")
        assert page.is_hidden("#found")


def test_names_do_nothing(browser, site):
    """A picture and a layer named as an element that runs a script are text, on every page and in the search's results."""
    with Visit(browser, site) as visit:
        page = visit.open("index.html")
        page.fill("input[type=search]", "onerror")
        page.wait_for_selector(".hit")
        assert page.locator(".hit h3").all_inner_texts() == [EVIL_PICTURE]
        assert EVIL_LAYER in page.inner_text("#results")
        for name, rest in (
            ("index.html", ""),
            ("index.html", "?find=%3Cimg"),
            *((f"{EVIL_FOLDER}/{page_name}.html", "") for page_name in ("index", 0, 1, 2)),
        ):
            page = visit.open(name, rest)
            page.wait_for_timeout(50)
            assert not page.locator("img[src=x]").count()
            assert page.evaluate("window.name") == ""


def test_order_of_channels(browser, site):
    """A layer's channels can be ordered strongest or rarest first, and by number again; arrows walk in that order."""
    with Visit(browser, site) as visit:
        page = visit.open("2-last/index.html")
        numbers = "rows => rows.map(row => Number(row.dataset.maximum))"
        page.select_option("#order", "maximum")
        maxima = page.locator(".channels li").evaluate_all(numbers)
        assert maxima == sorted(maxima, reverse=True)
        assert len(set(maxima)) > 50
        page.select_option("#order", "fires")
        fires = page.locator(".channels li").evaluate_all("rows => rows.map(row => Number(row.dataset.fires))")
        assert fires == sorted(fires)
        page.select_option("#order", "number")
        assert page.locator(".channels a").first.get_attribute("id") == "c0"


def test_projections_in_their_places(browser, site):
    """The checkbox lays each projection over its box: its tile covers the square that is drawn there."""
    with Visit(browser, site) as visit:
        page = visit.open("2-last/7.html")
        assert page.locator(".tile").first.is_hidden()
        page.focus("#in-place")
        visit.press("Space")
        assert page.locator(".tile").first.is_visible()
        for number in range(9):
            frame = page.locator(".frame").nth(number)
            tile, mark = frame.locator(".tile").bounding_box(), frame.locator("rect.box").bounding_box()
            edge = frame.bounding_box()
            left, top = max(tile["x"], edge["x"]), max(tile["y"], edge["y"])
            right = min(tile["x"] + tile["width"], edge["x"] + edge["width"])
            bottom = min(tile["y"] + tile["height"], edge["y"] + edge["height"])
            sides = [left, top, right, bottom]
            assert sides == pytest.approx([mark["x"], mark["y"], mark["x"] + mark["width"], mark["y"] + mark["height"]], abs=3)


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark"])
def test_axe_finds_nothing(browser, site, scheme, size):
    """On every kind of page, light and wide, dark and on a phone, axe finds no fault."""
    for name, rest in (("index.html", ""), ("index.html", "?find=1"), ("2-last/index.html", ""), ("2-last/7.html", "")):
        with Visit(browser, site, color_scheme=scheme, viewport=size) as visit:
            page = visit.open(name, rest)
            if rest:
                page.wait_for_selector(".hit")
            faults = axe.Axe().run(page, options={"preload": False}).response["violations"]
            assert [(fault["id"], [node["html"] for node in fault["nodes"]][:3]) for fault in faults] == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_nothing_is_cut(browser, site, size):
    """No page is wider than the window, whatever the names on it."""
    for name, rest in (
        ("index.html", ""),
        ("index.html", "?find=img"),
        (f"{EVIL_FOLDER}/index.html", ""),
        ("2-last/7.html", ""),
    ):
        with Visit(browser, site, viewport=size) as visit:
            page = visit.open(name, rest)
            if rest:
                page.wait_for_selector(".hit")
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_without_javascript(browser, site):
    """Pages can be read and walked by links without a script; what needs one is hidden, and the first page says so."""
    with Visit(browser, site, java_script_enabled=False) as visit:
        page = visit.open("index.html")
        assert page.is_hidden("form")
        assert "Search needs JavaScript" in page.inner_text("main")
        page.click("text=last")
        assert page.is_hidden("#order")
        page.click("#c7")
        assert page.locator("h1").inner_text() == "last:7"
        page.check("#in-place")
        assert page.locator(".tile").first.is_visible()
        page.click("a[rel=next]")
        assert page.locator("h1").inner_text() == "last:8"


def test_pictures_load_when_they_are_seen(browser, site):
    """A layer's page loads the sheets near the window, and the others when they are scrolled to."""
    with Visit(browser, site, viewport=NARROW) as visit:
        page = visit.open("2-last/index.html")
        page.wait_for_function("document.querySelector('#c0 img').naturalWidth > 0")
        page.wait_for_timeout(200)
        loaded = "images => images.filter(image => image.naturalWidth > 0).length"
        assert 0 < page.locator(".channels img").evaluate_all(loaded) < 40
        page.locator("#c95").scroll_into_view_if_needed()
        page.wait_for_function("document.querySelector('#c95 img').naturalWidth > 0")
