"""The paper's draft: in the form that the journal reads, with a DOI for each reference; its numbers are in test_regenerate.py."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

PAPER = Path(__file__).parents[1] / "paper"
TEXT = (PAPER / "paper.md").read_text()
HEAD, BODY = re.fullmatch(r"---\n(.*?)\n---\n(.*)", TEXT, re.S).groups()
ENTRIES = re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", (PAPER / "paper.bib").read_text(), re.S | re.M)


def test_head_has_what_the_journal_asks_for():
    """Title, tags, authors with an affiliation, date and bibliography."""
    head = yaml.safe_load(HEAD)
    assert head.keys() == {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    assert head["authors"] == [{"name": "The deconvnet developers", "affiliation": 1}]
    assert [affiliation["index"] for affiliation in head["affiliations"]] == [1]
    assert (PAPER / head["bibliography"]).is_file()


def test_each_reference_is_cited_and_has_a_doi():
    """What is cited is in the bibliography, what is there is cited, and each entry names one DOI of its own."""
    cited = set(re.findall(r"@(\w+)", BODY))
    assert cited == {key for key, _ in ENTRIES}
    dois = [re.findall(r"^  doi = \{(10\.\d{4,5}/\S+)\}$", entry, re.M) for _, entry in ENTRIES]
    assert all(len(doi) == 1 for doi in dois)
    assert len({doi for [doi] in dois}) == len(ENTRIES)


def test_length_and_parts():
    """A statement of need, the state of the field, limitations, and 900 to 1,400 words."""
    parts = re.findall(r"^# (.+)$", BODY, re.M)
    assert {"Summary", "Statement of need", "State of the field", "Limitations", "References"} <= set(parts)
    assert 900 <= len(BODY.split()) <= 1400


def test_figures_exist():
    """Each figure is one of the documentation's, which a command makes again."""
    figures = re.findall(r"\]\(([^)]+\.png)\)", BODY)
    assert figures
    assert all((PAPER / figure).resolve().is_file() for figure in figures)
