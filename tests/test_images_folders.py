"""Folders: linked ones are read, what cannot be read is named, and nothing is passed over in silence."""

from __future__ import annotations

import os

import pytest

from deconvnet.errors import PictureError, PictureWarning
from deconvnet.images import find_pictures


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder):
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder)]


@pytest.fixture
def link():
    def call(place, target):
        try:
            place.symlink_to(target, target_is_directory=True)
        except OSError:
            pytest.skip("this system has no links for this user")

    return call


def test_linked_class_folders_are_read(tmp_path, link):
    """Folders and pictures that are links are read by the name that they have here, two links to one folder both."""
    make(tmp_path / "store", "a.png", "sub/b.png")
    make(tmp_path / "train", "own/c.png")
    link(tmp_path / "train" / "cat", tmp_path / "store")
    link(tmp_path / "train" / "pet", tmp_path / "store")
    (tmp_path / "train" / "d.png").symlink_to(tmp_path / "store" / "a.png")
    (tmp_path / "train" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert names(tmp_path / "train") == ["cat/a.png", "cat/sub/b.png", "d.png", "own/c.png", "pet/a.png", "pet/sub/b.png"]


def test_links_in_a_circle_end(tmp_path, link):
    """A link to a folder above it is not followed; links across end, however they lead."""
    make(tmp_path / "in", "a/1.png", "b/2.png")
    link(tmp_path / "in" / "a" / "up", tmp_path / "in")
    link(tmp_path / "in" / "a" / "self", tmp_path / "in" / "a")
    link(tmp_path / "in" / "b" / "across", tmp_path / "in" / "a")
    found = names(tmp_path / "in")
    assert found[0] == "a/1.png"
    assert set(found) >= {"a/1.png", "b/2.png", "b/across/1.png"}
    assert len(found) == len(set(found)) < 10


def test_folders_that_cannot_be_listed_are_named(tmp_path, monkeypatch):
    """A folder below that may not be read is left out with a warning; the folder that was asked for is refused."""
    make(tmp_path / "in", "a.png", "closed/b.png")
    closed, scandir = str(tmp_path / "in" / "closed"), os.scandir

    def denied(place):
        if os.fspath(place) == closed:
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", denied)  # root may read everything
    with pytest.warns(PictureWarning) as warned:
        assert names(tmp_path / "in") == ["a.png"]
    assert [str(warning.message) for warning in warned] == [f"the folder {closed!r} is left out: Permission denied."]
    with pytest.raises(PictureError) as caught:
        find_pictures(closed)
    assert str(caught.value) == f"cannot list {closed!r}: Permission denied. Change its permissions."


def test_pictures_that_are_not_read_are_counted(tmp_path):
    """Pictures in formats that are not read are counted by their suffix; notes and lists are no pictures."""
    make(tmp_path, "a.png", "b.heic", "sub/c.HEIC", "d.psd", "notes.txt", ".hidden.psd")
    with pytest.warns(PictureWarning) as warned:
        assert names(tmp_path) == ["a.png"]
    text = f"3 files are left out of {str(tmp_path)!r}, in formats that are not read: 2 .heic, 1 .psd."
    assert [str(warning.message) for warning in warned] == [text]
    (tmp_path / "d.psd").unlink()
    (tmp_path / "sub" / "c.HEIC").unlink()
    with pytest.warns(PictureWarning, match=r"^1 file is left out of .*, in formats that are not read: 1 \.heic\.$"):
        find_pictures(tmp_path)
