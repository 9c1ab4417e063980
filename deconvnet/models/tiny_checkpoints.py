"""The weights of `tiny` after some epochs of its training, which only `evolve` needs.

Together they are seven times as large as the package, and so no part of it: a checkout and the sdist have them beside the
examples, an installed wheel fetches them when they are first asked for.
"""

from __future__ import annotations

from http.client import HTTPException
from pathlib import Path

from ..errors import WeightsError
from ..progress import is_hidden
from ..version import __version__
from .tiny import EPOCHS, WEIGHTS
from .weight_files import hash_file

FOLDER = "examples/tiny-epochs"
IN_CHECKOUT = Path(__file__).parents[2] / FOLDER
ADDRESS = f"https://raw.githubusercontent.com/deconvnet/deconvnet/v{__version__}/{FOLDER}"

#: The SHA-256 of the file of each epoch.
HASHES = {
    1: "cb0e1a54e59497190beb8b60a3e5a504e9230d504b47659ff2a437bc27061a48",
    2: "01e417727c4cfd2a9a4161b182aa979d51e7617ebd50c0964f8626ca2f961db9",
    5: "7337283dbef56dc4b9a7b2537f87935ea72b7f9195901ae291461e29860fca32",
    10: "f6aea9981575c552dd18dccf60550e9b219e2e33e993864a44470b12111a1fa0",
    20: "9ece3ee5b368d44b0e4b21fd3542ae841e02864e155f88dc913019f1698c0e2c",
    30: "1973adbbfa71f8b2bbf655222607eb5c6781b9acff8756a48d1103385dd035d5",
    40: "c7c08e76a3b6d74c4e249e99d41b70113c2f38d0e611d7107e94aba60bcdbb04",
}


def checkpoints() -> dict[str, Path]:
    """Return the weights files of tiny's training by epoch: those of the paper's figure 4, 1, 2, 5, 10, 20, 30, 40, and 64.

    Raises:
        WeightsError: this is no checkout, and a file could not be downloaded.
    """
    return {**{str(epoch): _find(epoch) for epoch in HASHES}, str(EPOCHS): WEIGHTS}


def _find(epoch: int) -> Path:
    """Return the file of an epoch: that of the checkout, else the one fetched before, else a fetched one."""
    import torch.hub

    name = f"epoch-{epoch:02}.safetensors"
    if (IN_CHECKOUT / name).is_file():
        return IN_CHECKOUT / name
    path = Path(torch.hub.get_dir()) / "checkpoints" / "deconvnet-tiny" / name
    if not path.is_file() or hash_file(path) != f"sha256:{HASHES[epoch]}":
        _download(epoch, path)
    return path


def _download(epoch: int, path: Path) -> None:
    """Download the file of an epoch; it takes its name only when it is whole and its hash is right."""
    import torch.hub

    address = f"{ADDRESS}/{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(address, str(path), HASHES[epoch], progress=not is_hidden(True))
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: of the hash
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"the checkpoint of tiny's epoch {epoch} could not be downloaded from {address} ({reason}). A checkout and the"
            f" sdist have all seven (6.4 MB): give --weights {FOLDER}, or put them into {str(path.parent)!r}."
        ) from None
