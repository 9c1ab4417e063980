"""The settings of a study's result: all that is needed to run the study again."""

from __future__ import annotations

from typing import Any

import torch

from ..images import Preprocess
from ..inputs import PictureInputs, picture_digests
from ..net import DeconvNet
from ..provenance import output_settings


def study_settings(net: DeconvNet, study: str, *, inputs: PictureInputs, **details: Any) -> dict[str, Any]:
    """Return the settings of a result.

    Args:
        net: the net that was studied.
        study: the study's name, as its command is called.
        inputs: the pictures, of which the digest is kept; of a drawing, its class, seed and size.
        details: what the study was asked for, by name.
    """
    preprocess = net.preprocess.settings() if isinstance(net.preprocess, Preprocess) else None
    return output_settings(
        model=net.name,
        weights=net.loaded.weights_hash(),
        preprocess=preprocess,
        study=study,
        **details,
        picture_digests=picture_digests(inputs),
        overlap=net.overlap,
        lrn=net.lrn,
        silent=net.silent,
        torch=torch.__version__,
        device=net.device.type,
    )
