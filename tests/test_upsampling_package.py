"""The package loads its modules when they are first used, and lists them."""

from __future__ import annotations

import subprocess
import sys

import pytest

import deconvnet

LAZY = """
import sys
import deconvnet
import deconvnet.upsampling
assert "torch" not in sys.modules, "torch"
module = deconvnet.upsampling.sparse
assert "torch" in sys.modules
assert "deconvnet.upsampling.segment" not in sys.modules, "segment"
print(module.__name__, deconvnet.upsampling.segment.__name__, deconvnet.upsampling.compare.__name__)
"""


def test_modules_load_when_they_are_used():
    """`import deconvnet` is enough, and loads neither torch nor any module of the package."""
    printed = subprocess.run([sys.executable, "-c", LAZY], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["deconvnet.upsampling.sparse", "deconvnet.upsampling.segment", "compare"]


def test_all_names_exist():
    """Whatever dir() lists can be had."""
    for name in dir(deconvnet.upsampling):
        assert getattr(deconvnet.upsampling, name) is not None


def test_an_unknown_name_of_the_package():
    """A misspelt attribute raises as in any module, and the real ones are listed."""
    with pytest.raises(AttributeError) as error:
        _ = deconvnet.upsampling.spares
    assert str(error.value) == "module 'deconvnet.upsampling' has no attribute 'spares'"
    assert {"UPSAMPLERS", "compare", "sparse", "segment"} <= set(dir(deconvnet.upsampling))
