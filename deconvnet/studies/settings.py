"""The settings of a study's result: all that is needed to run the study again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from ..images import Preprocess
from ..inputs import PictureInputs, picture_digests
from ..net import DeconvNet
from ..provenance import output_settings


class Digests(tuple[str, ...]):
    """What `picture_digests` returned, kept so that pictures need not be read again."""


MOST_DIGESTS = 100  # that a figure carries one by one


def study_settings(net: DeconvNet, study: str, *, inputs: PictureInputs | Digests, **details: Any) -> dict[str, Any]:
    """Return the settings of a result.

    Args:
        net: the net that was studied.
        study: the study's name, as its command is called.
        inputs: the pictures, of which the digests are kept (of a drawing, its class, seed and size), or these digests.
        details: what the study was asked for, by name.
    """
    preprocess = net.preprocess.settings() if isinstance(net.preprocess, Preprocess) else None
    return output_settings(
        model=net.name,
        weights=net.loaded.weights_hash(),
        preprocess=preprocess,
        study=study,
        **details,
        picture_digests=_few(inputs if isinstance(inputs, Digests) else picture_digests(inputs)),
        overlap=net.overlap,
        lrn=net.lrn,
        silent=net.silent,
        attention=net.attention,
        torch=torch.__version__,
        device=net.device.type,
    )


def _few(digests: Sequence[str]) -> list[str]:
    """Return digests, or where there are very many one of them all, in order."""
    if len(digests) <= MOST_DIGESTS:
        return list(digests)
    return [f"sha256:{hashlib.sha256(chr(10).join(digests).encode()).hexdigest()} of the digests of {len(digests)} pictures"]
