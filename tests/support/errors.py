"""Errors as users meet them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deconvnet.errors import DeconvnetError, UnknownModelError


def refused(call: Callable[[], object], kind: type[DeconvnetError] = UnknownModelError) -> str:
    """Return the one line that a call is refused with, by an error of exactly this kind."""
    with pytest.raises(DeconvnetError) as error:
        call()
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)
