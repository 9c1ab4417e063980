"""Where a scan came from: its net and its pictures, opened again when they are needed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..images import Preprocess

if TYPE_CHECKING:
    from ..net import DeconvNet
    from .pictures import Pictures


class Origin:
    """The net and the pictures of a scan.

    Args:
        path: the scan's file, for messages.
        settings: of the scan.
        net: the scanned net; None: loaded by its name.
        pictures: the scanned pictures; None: read from where they were.

    Raises:
        StoreError: the net has other weights than the scanned one.
    """

    def __init__(
        self, path: str, settings: Mapping[str, Any], *, net: DeconvNet | None = None, pictures: Pictures | None = None
    ) -> None:
        self.path, self.settings = path, settings
        self._net = None if net is None else self._adopt(net)
        self._pictures = pictures

    @property
    def net(self) -> DeconvNet:
        """The scanned net, with the scan's preprocessing.

        Raises:
            StoreError: it cannot be loaded by its name, or has other weights than the scanned one.
        """
        if self._net is None:
            from ..models import load_model  # here: they load torch
            from ..net import DeconvNet

            name, weights = self.settings["model"], self.settings["weights_from"]
            if not weights:
                raise StoreError(f"{self.path!r} was scanned with your own net, {name}. Give it: Scan.open(path, net=net).")
            self._net = self._adopt(DeconvNet(load_model(name, weights=weights, device="auto")))
        return self._net

    @net.setter
    def net(self, net: DeconvNet) -> None:
        self._net = self._adopt(net)

    @property
    def pictures(self) -> Pictures:
        """The scanned pictures, read from where they were.

        Raises:
            StoreError: they are the items of a dataset.
        """
        if self._pictures is None:
            if self.settings["root"] is None:
                raise StoreError(f"{self.path!r} was made from a dataset. Give it: Scan.open(path, pictures=dataset).")
            from .source import source_at  # here: it loads torch

            self._pictures = source_at(self.settings["root"])
        return self._pictures

    def _adopt(self, net: DeconvNet) -> DeconvNet:
        """Return a net with the scan's preprocessing, a copy where its own is another one; refuse other weights."""
        weights, scanned = net.loaded.weights_hash(), self.settings["weights"]
        if weights != scanned:
            raise StoreError(
                f"{self.path!r} was scanned with weights {scanned}, found {weights} for {net.name}."
                " Give the weights of the scan."
            )
        preprocess = scanned_preprocess(self.settings)
        if preprocess is None or preprocess == net.preprocess:
            return net
        net = copy.copy(net)  # the caller's net stays as it is
        net.preprocess = preprocess
        return net


def scanned_preprocess(settings: Mapping[str, Any]) -> Preprocess | None:
    """Return a scan's preprocessing, None where it was a function of the user's."""
    fields = settings["preprocess"]
    if fields is None:
        return None
    crop = fields["crop"] if isinstance(fields["crop"], int) else tuple(fields["crop"])
    return Preprocess(**{**fields, "crop": crop, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
