"""Where a scan came from: its net and its pictures, opened again when they are needed.

What a scan's file names is opened only if this user has scanned it, or names it: a file that somebody sends may name anything.
A net in a Python file is never run because a scan names it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from .form import scanned_preprocess
from .places import is_remembered

if TYPE_CHECKING:
    from ..net import DeconvNet
    from .pictures import Pictures

#: The models that are loaded because a scan names them: this package's, and those of the packages that publish them.
_PUBLISHED = re.compile(r"(tiny|zfnet)(:\w+)?|(torchvision|timm|pytorchcv):[\w.-]+", re.A)
_RUNS_CODE = "file:"


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
            self.load_net()
        assert self._net is not None
        self._check_inputs(self._net)
        return self._net

    @net.setter
    def net(self, net: DeconvNet) -> None:
        self._net = self._adopt(net)

    def load_net(self, model: str | None = None, weights: str | None = None, inputs: Mapping[str, str] | None = None) -> None:
        """Load the scanned net, by another name or from another file if it has moved.

        Args:
            model: as `load_model` takes it; None: as the scan names it, if that is a published net.
            weights: "DEFAULT", "none" or a file; None: as the scan names them, if this user has scanned with that file.
            inputs: the files of what the net's forward takes besides the pictures, by name.

        Raises:
            StoreError: the scan names a net or a file that only the user may name, or the net has other weights.
        """
        from ..models import load_model  # here: they load torch
        from ..models.further_inputs import read_inputs
        from ..net import DeconvNet

        name = self._published_model() if model is None else model
        source = self._weights() if weights is None else weights
        self._check_code(name)
        loaded = load_model(name, weights=source, device="auto")
        self._net = self._adopt(DeconvNet(loaded.with_inputs(**read_inputs(inputs)) if inputs else loaded))

    def check(self) -> None:
        """Check, before any work, that all that the file names may be opened; nothing is.

        Raises:
            StoreError: the user has to name a net, weights or pictures.
        """
        if self.settings["weights_from"]:  # else the net has to be given, where it is needed
            self.check_net()
        if self.settings["root"] is not None:
            _ = self.pictures

    def check_net(self) -> None:
        """Check that the net was given, or may be loaded by what the file says; it is not.

        Raises:
            StoreError: the user has to name a net or weights.
        """
        if self._net is None:
            self._published_model()
            self._weights()

    def _published_model(self) -> str:
        name: str = self.settings["model"]
        if name.startswith(_RUNS_CODE):
            raise StoreError(
                f"{self.path!r} was scanned with the net of a Python file, {name!r}, which would run as you."
                " If you trust the file, name it: --model file:PATH.py:FUNCTION, or Scan.open(path, net=net)."
            )
        if not self.settings["weights_from"]:
            raise StoreError(f"{self.path!r} was scanned with your own net, {name}. Give it: Scan.open(path, net=net).")
        if not _PUBLISHED.fullmatch(name):
            raise StoreError(f"{self.path!r} was scanned with {name!r}, which is no published net. Name it: --model MODEL.")
        return name

    def _weights(self) -> str:
        source: str = self.settings["weights_from"] or "DEFAULT"
        if source not in ("DEFAULT", "none") and not is_remembered(source):
            raise StoreError(
                f"{self.path!r} has its weights from {source!r}, which was not scanned from this account."
                " If you trust that, name it: --weights FILE, or Scan.open(path, net=net)."
            )
        return source

    def _check_code(self, name: str) -> None:
        """Compare a Python file with the scanned one before it is run; files of former versions do not know it."""
        from ..models.from_file import code_digest

        scanned = self.settings.get("model_sha256")
        if scanned is None or not name.startswith(_RUNS_CODE):
            return
        digest = code_digest(name.removeprefix(_RUNS_CODE))
        if digest != scanned:
            raise StoreError(
                f"{self.path!r} was scanned with a Python file of SHA-256 {scanned[:12]}..., {name} has {digest[:12]}..."
                " It was not run. Give the file of the scan, or Scan.open(path, net=net)."
            )

    @property
    def pictures(self) -> Pictures:
        """The scanned pictures, read from where they were.

        Raises:
            StoreError: they are the items of a dataset, or this user has not scanned where they are.
        """
        if self._pictures is None:
            root = self.settings["root"]
            if root is None:
                raise StoreError(f"{self.path!r} was made from a dataset. Give it: Scan.open(path, pictures=dataset).")
            if not self.knows_root:
                raise StoreError(
                    f"{self.path!r} has its pictures at {root!r}, which was not scanned from this account."
                    " If you trust that, name it: --root FOLDER, or Scan.open(path, root=folder)."
                )
            from .source import source_at  # here: it loads torch

            self._pictures = source_at(root)
        return self._pictures

    @property
    def knows_root(self) -> bool:
        """Whether the pictures were given, or this user has scanned where they are."""
        root = self.settings["root"]
        return self._pictures is not None or not root or is_remembered(root)

    def _check_inputs(self, net: DeconvNet) -> None:
        """Refuse a net whose forward gets other things besides the pictures than the scanned one got."""
        scanned, found = self.settings.get("inputs", {}), net.loaded.input_hashes()
        if scanned != found:
            raise StoreError(
                f"{self.path!r} was scanned with the further inputs {_inputs_text(scanned)}, found {_inputs_text(found)}."
                " Give those of the scan: --input NAME=FILE.npy, or LoadedModel.with_inputs()."
            )

    def _adopt(self, net: DeconvNet) -> DeconvNet:
        """Return a net with the scan's preprocessing, a copy where its own is another one; refuse other weights."""
        weights, scanned = net.loaded.weights_hash(), self.settings["weights"]
        if weights != scanned:
            raise StoreError(
                f"{self.path!r} was scanned with weights {scanned}, found {weights} for {net.name}."
                " Give the weights of the scan."
            )
        preprocess = scanned_preprocess(self.settings["preprocess"])
        if preprocess is None or preprocess == net.preprocess:
            return net
        net = copy.copy(net)  # the caller's net stays as it is
        net.preprocess = preprocess
        return net


def _inputs_text(inputs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:15]}...)" for name, digest in sorted(inputs.items())) or "none"
