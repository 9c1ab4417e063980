"""Numbers of the pages: those that are kept, nowhere typed, and found again by running what made them."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support.scripts import BENCHMARKS, module

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    """The scripts of benchmarks/ are modules here, as they are for each other."""
    monkeypatch.syspath_prepend(BENCHMARKS)


drift, filled_pages, outputs, pages, prose, regenerate = map(
    module, ("drift", "filled_pages", "outputs", "pages", "prose", "regenerate")
)
PAGES = filled_pages.PAGES
FILLED = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)


@FILLED
def test_a_page_says_what_is_kept(page):
    """Tables and sentences have the numbers of docs/data, no measured number is typed, and what is claimed holds."""
    assert page.faults((ROOT / page.path).read_text()) == []


@FILLED
def test_every_number_that_moves_is_found(page):
    """Of each value of each phrase, and of each table, another digit is a fault, and writing the page mends it."""
    text = (ROOT / page.path).read_text()
    places = [place.span(group) for place in map_phrases(page, text) for group in range(1, len(place.groups()) + 1)]
    places += [found.span(2) for found in re.finditer(r"<!-- begin: (.+?) -->(.*?)<!-- end: \1 -->", text, re.S)]
    assert places
    for start, end in places:
        wrong = text[:start] + re.sub(r"\d(?=\D*$)", another_digit, text[start:end]) + text[end:]
        assert wrong != text
        assert page.written(wrong).split() == text.split(), text[start:end]
    assert any("not what is kept" in fault for fault in page.faults(wrong))


@FILLED
def test_a_typed_number_is_found(page):
    """A sentence with a number that no phrase fills is a fault, a percentage as well."""
    text = (ROOT / page.path).read_text()
    for number in ("0.123", "47 %"):
        [fault] = page.faults(f"{text}\nIt is {number} of all.\n")
        assert fault == f"{page.path}: nothing fills {number.split()[0]}: It is {number} of all."


def map_phrases(page, text):
    return [prose._place(text, phrase) for phrase in page.phrases(page.numbers)]


def another_digit(found: re.Match[str]) -> str:
    return str((int(found[0]) + 3) % 10)


def test_a_table_without_numbers_is_refused():
    """Markers that nothing fills, and a table without markers, are named."""
    page = PAGES[0]
    text = (ROOT / page.path).read_text()
    [fault] = page.faults(text + "<!-- begin: more -->\n<!-- end: more -->\n")
    assert "more" in fault.partition("and its tables are")[0]
    with pytest.raises(
        ValueError, match=re.escape("<!-- begin: one --> and <!-- end: one --> once; the page has them 0 times")
    ):
        pages.with_tables("nothing", {"one": ["| a |"]})


def test_claims_are_checked():
    """A claim that the numbers do not bear out, or that the page does not make, is found."""
    page = "By insertion\nnone differs."
    assert prose.untrue(page, {"insertion none differs": True}) == []
    assert prose.untrue(page, {"insertion none differs": False}) == ["insertion none differs"]
    message = "the page is to say once, with any numbers, and says 0 times: 'all differ'"
    with pytest.raises(ValueError, match=re.escape(message)):
        prose.untrue(page, {"all differ": True})


VALUES = [  # as it stands, as it is filled, as it reads then
    ("by 0.062 [0.038, 0.087] less", "0.070 [-0.001, 0.1]", "by 0.070 [-0.001, 0.1] less"),
    ("by 0.062 [0.038,\n0.087] less", "0.062 [0.038, 0.087]", "by 0.062 [0.038,\n0.087] less"),
    ("by 0.062 [0.038,\n0.087] less", "-0.1 [-0.2, 0.3]", "by -0.1 [-0.2,\n0.3] less"),
    ("by p <\n0.001 less", "p 0.022", "by p 0.022 less"),
    ("by\n  0.062  less", "-0.5", "by\n  -0.5  less"),
    ("by p < 0.001 less", "p 0.022", "by p 0.022 less"),
    ("by p 0.88 less", "p < 0.001", "by p < 0.001 less"),
    ("by 72 % [65, 78] less", "9 % [8, 10]", "by 9 % [8, 10] less"),
    ("by 110 less", "7", "by 7 less"),
]


@pytest.mark.parametrize(("page", "text", "filled"), VALUES)
def test_a_value_finds_its_place_by_its_words(page, text, filled):
    """Whatever numbers stand there, and wherever lines break, which they do then as before."""
    assert prose.with_values(page, [f"by {prose.value(text)} less"]) == filled


def test_a_phrase_that_is_reworded_is_named():
    """A phrase that is not there, or twice, is an error, not left out."""
    for page, times in (("by far less", 0), ("by 1 less, by 2 less", 2)):
        with pytest.raises(ValueError, match=f"and says {times} times: 'by 3 less'"):
            prose.with_values(page, [f"by {prose.value('3')} less"])


def test_what_counts_as_a_measured_number():
    """Decimals and percentages in sentences: not in code, in links, in names, in what is said to be typed."""
    page = "`a 0.1` [b](c.md#0.2) features.13 v1.2.3\n## Typed\n0.3\n## More\nalpha 0.4, -0.5 and 6 %, 7 units\n```\n0.8\n```\n"
    assert prose.unfilled(page, [], ["## Typed"]) == ["0.4, -0.5, 6: alpha 0.4, -0.5 and 6 %, 7 units"]
    assert prose.unfilled(page, [f"0.4, {prose.value('-0.5')} and"], ["## Typed", "alpha 0.4", "6 %"]) == []
    with pytest.raises(ValueError, match=re.escape("said to be typed, and not on the page: 'beta 0.4'")):
        prose.unfilled(page, [], ["beta 0.4"])


JSON_DRIFTS = [  # kept, made, what is said
    ({"a": 0.5}, {"a": 0.504}, []),
    ({"a": 0.5}, {"a": 0.506}, ["a.json/a: 0.5 -> 0.506"]),
    ({"a": None}, {"a": None}, []),
    ({"a": None}, {"a": 0.0}, ["a.json/a: None -> 0.0"]),
    ({"a": "x", "torch": "2.1"}, {"a": "y", "torch": "2.2"}, ["a.json/a: 'x' -> 'y'"]),
    ({"a": 1}, {"b": 1}, ["a.json/a: only in what is kept", "a.json/b: only in what is made"]),
    ([1, 2], [1], ["a.json: 2 entries were kept, 1 made"]),
    ([{"name": "n", "holm": 0.02}], [{"name": "n", "holm": 0.04}], []),
    (
        [{"name": "n", "holm": 0.048}],
        [{"name": "n", "holm": 0.05}],
        ["a.json/n/holm: 0.048 -> 0.05, on the other side of 0.05"],
    ),
    ([{"name": "n", "p": None}], [{"name": "n", "p": 0.2}], ["a.json/n/p: None -> 0.2, on the other side of 0.05"]),
    ({"a": True}, {"a": False}, ["a.json/a: True -> False"]),
    (list(range(9)), [9] * 9, [*(f"a.json/{n}: {n} -> 9" for n in range(5)), "and 4 more"]),
]


@pytest.mark.parametrize(("kept", "made", "lines"), JSON_DRIFTS)
def test_drift_of_numbers(tmp_path, kept, made, lines):
    """Beyond the tolerance, a number is drift, and of p which side of the level it is on; versions are none."""
    for name, value in (("old", kept), ("new", made)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").write_text(json.dumps(value))
    assert drift.drift(tmp_path / "old" / "a.json", tmp_path / "new" / "a.json", 0.005) == lines


def test_drift_of_text_and_pictures(tmp_path):
    """Words, numbers beyond the tolerance, sizes and pixels count; what is missing is said."""
    old, new = tmp_path / "a.md", tmp_path / "b.md"
    old.write_text("| a | 0.50 [0.40, 0.60] |\n")
    new.write_text("| a | 0.50 [0.41, 0.60] |\n")
    assert drift.drift(old, new, 0.01) == []
    assert drift.drift(old, new, 0.005) == ["a.md, line 1: | a | 0.50 [0.40, 0.60] | -> | a | 0.50 [0.41, 0.60] |"]
    new.write_text("| b | 0.50 [0.40, 0.60] |\nmore\n")
    assert len(drift.drift(old, new, 1)) == 2
    pixels = np.zeros((8, 10, 3), np.uint8)
    for name, value in (("old", pixels), ("near", pixels + 1), ("far", pixels + 2), ("small", pixels[:4])):
        Image.fromarray(value).save(tmp_path / f"{name}.png")
    kept = tmp_path / "old.png"
    assert drift.drift(kept, tmp_path / "near.png", 1.0) == []
    assert drift.drift(kept, tmp_path / "far.png", 1.0) == ["old.png: pixels differ by 2.00 of 255 on average"]
    assert drift.drift(kept, tmp_path / "small.png", 1.0) == ["old.png: 10x8 pixels were kept, 10x4 made"]
    assert drift.drift(kept, tmp_path / "no.png", 1.0) == ["no.png was not made"]


def test_everything_that_is_shown_is_listed():
    """Each figure and each file of numbers is made by one command of the list, and each command's script and page exist."""
    made = [path for output in outputs.OUTPUTS for path in output.makes if not path.endswith(".md")]
    assert len(set(made)) == len(made)
    kept = {path.relative_to(ROOT).as_posix() for folder in ("data", "pictures") for path in (ROOT / "docs" / folder).iterdir()}
    assert kept - set(made) == {"docs/pictures/training.png"}, "of a training that was watched, with other weights"
    assert set(made) - kept == set()
    assert len({output.name for output in outputs.OUTPUTS}) == len(outputs.OUTPUTS)
    for output in outputs.OUTPUTS:
        assert (ROOT / output.command.split()[0]).is_file(), output.name
        page = (ROOT / output.page).read_text()
        for path in output.makes:
            assert path == output.page or not path.endswith(".md"), path
            if path.startswith("docs/pictures/"):
                shown = [page, *(text.read_text() for text in (ROOT / "docs").glob("*.md"))]
                assert any(path.removeprefix("docs/") in text for text in shown), path


def test_every_script_that_measures_is_listed():
    """What can be run in benchmarks/ makes something of the list, but for two that check the others and a refactoring."""
    run = {output.command.split()[0] for output in outputs.OUTPUTS}
    scripts = {f"benchmarks/{path.name}" for path in BENCHMARKS.glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    assert scripts - run == {"benchmarks/regenerate.py", "benchmarks/fixed_outputs.py"}


def test_every_marker_is_filled():
    """No page has markers but those that a command writes between."""
    written = {page.path for page in PAGES} | {path for output in outputs.OUTPUTS for path in output.makes}
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        if pages.markers(path.read_text()):
            assert path.relative_to(ROOT).as_posix() in written


def test_numbers_are_of_the_pinned_weights():
    """What is kept of SqueezeNet was measured with weights whose tensors have one hash, and names no photograph."""
    kept = [json.loads(path.read_text())["settings"] for path in sorted((ROOT / "docs" / "data").glob("*-squeezenet.json"))]
    assert len({settings["weights"] for settings in kept}) == 1
    assert all("pictures" not in settings and settings["picture_digests"] for settings in kept)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs benchmarks/regenerate.py with options, and returns its exit code or message, and what it printed."""

    def called(*options: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["regenerate.py", *options])
        try:
            ended: object = regenerate.main() or 0
        except SystemExit as stopped:
            ended = stopped.code
        return ended, capsys.readouterr().out

    return called


FAST = [output for output in outputs.OUTPUTS if output.fast]


@pytest.mark.parametrize("output", FAST, ids=lambda output: output.name)
def test_the_fast_ones_have_not_drifted(output, run):
    """What takes seconds is made again, and equals what is kept within its tolerance."""
    if any(path.endswith(".json") for path in output.makes):
        pytest.importorskip("scipy", reason="intervals need the extra `studies`")
    ended, printed = run("--check", "--fast", "--only", output.name)
    assert ended == 0
    assert f"{output.name}: made, " in printed


def test_some_are_fast():
    """Numbers and figures are among them, and all together take a quarter of a minute at most."""
    assert {Path(path).suffix for output in FAST for path in output.makes} == {".json", ".png"}
    assert sum(60 * output.minutes for output in FAST) <= 15


def test_drift_ends_the_check(monkeypatch, tmp_path):
    """A number that was made again and moved is named, and so is a command that fails."""
    output = outputs.Output("moved", "README.md", "benchmarks/moved.py", ("docs/data/moved.json",), 0.1)
    copied = tmp_path / "root"
    for folder in ("benchmarks", "docs/data"):
        (copied / folder).mkdir(parents=True)
    (copied / "docs/data/moved.json").write_text('{"mean": 0.5}')
    monkeypatch.setattr(regenerate, "ROOT", copied)
    monkeypatch.setattr(regenerate, "PAGES", ())
    script = "import pathlib; pathlib.Path('docs/data/moved.json').write_text('{\"mean\": %s}')"
    (copied / "benchmarks/moved.py").write_text(script % "0.51")
    nothing = {"weights": None, "photos": None}
    assert regenerate.check([output], nothing) == ["moved.json/mean: 0.5 -> 0.51"]
    assert json.loads((copied / "docs/data/moved.json").read_text()) == {"mean": 0.5}, "a check changes nothing"
    (copied / "benchmarks/moved.py").write_text(script % "0.503")
    assert regenerate.check([output], nothing) == []
    (copied / "benchmarks/moved.py").write_text("raise SystemExit('no such file')")
    assert regenerate.check([output], nothing) == [
        "moved: `benchmarks/moved.py` ended with 1: no such file",
        "moved.json was not made",
    ]


def test_what_cannot_be_made_here_is_skipped_and_says_so(run):
    """Weights, photographs and packages that are missing are named."""
    output = outputs.Output("a", "README.md", "a.py {weights} {photos}", (), 1, None, ("no_such_package", "json"))
    assert (
        regenerate.missing(output, {"weights": None, "photos": Path("photos")}) == "skipped, needs --weights, no_such_package"
    )
    assert regenerate.missing(output, {"weights": None, "photos": None}).startswith("skipped, needs --weights, --photos, no_")
    assert run("--only", "silent-squeezenet", "--check") == (0, "silent-squeezenet: skipped, needs --weights, --photos\n")


def test_other_inputs_are_refused(run, tmp_path):
    """Weights and photographs of other hashes are not those of the pages; what is not there is named."""
    (tmp_path / "w.safetensors").write_bytes(b"other")
    ended, _ = run("--only", "own-squeezenet", "--weights", str(tmp_path / "w.safetensors"), "--photos", str(tmp_path))
    digest = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa"
    path = str(tmp_path / "w.safetensors")
    assert ended == f"--weights: {path!r} has the SHA-256 {digest}; the pages' numbers are of {outputs.WEIGHTS}"
    ended, _ = run("--only", "own-squeezenet", "--photos", str(tmp_path / "no"))
    assert ended == f"--photos: there is no {str(tmp_path / 'no')!r}"


def test_photographs_are_known_by_their_bytes(tmp_path):
    """A folder's digest is that of the sorted digests of its pictures, whatever these are called."""
    for name, shade in (("a.png", 1), ("b.png", 2)):
        Image.new("L", (2, 2), shade).save(tmp_path / name)
    digests = sorted(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.png", "b.png"))
    expected = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    assert regenerate.photos_digest(tmp_path) == expected
    (tmp_path / "a.png").rename(tmp_path / "z.png")
    assert regenerate.photos_digest(tmp_path) == expected
    Image.new("L", (2, 2), 3).save(tmp_path / "z.png")
    assert regenerate.photos_digest(tmp_path) != expected


def test_without_options_it_lists(run):
    """All that there is, with its page, how long it takes, and what it needs; a page that is unknown is refused."""
    ended, printed = run()
    assert ended == 0
    lines = printed.splitlines()
    assert len(lines) == len(outputs.OUTPUTS)
    assert lines[0].split() == ["readme-pictures", "README.md", "3", "s", "within", "1"]
    ended, _ = run("--only", "docs/no.md")
    assert str(ended).startswith("nothing is made for 'docs/no.md'; pages are README.md, docs/atlas.md, ")


def test_a_page_names_all_that_it_is_filled_from():
    """`--only PAGE` makes what the page shows, and the numbers of other pages that fill its sentences."""
    asked = argparse.Namespace(only="paper/paper.md", fast=False)
    names = {output.name for output in regenerate.chosen(asked)}
    assert names == set(next(page.data for page in PAGES if page.path == "paper/paper.md"))
    asked = argparse.Namespace(only="README.md", fast=True)
    assert {output.name for output in regenerate.chosen(asked)} == {"readme-pictures", "null-width"}


def test_writing_runs_nothing(run):
    """The pages already say what is kept."""
    assert run("--write") == (0, "the pages say what docs/data says\n")
