"""Everything that can go wrong and is expected to, each said in one line: asked, found, do.

    DeconvnetError
    ├── UnknownLayerError       no layer of that name in this net
    ├── UnknownModelError       no model of that name
    ├── MissingPackageError     an optional package that is not installed
    ├── WeightsError            a weights file that is missing, unsafe, or made for another net
    ├── PictureError            a picture that cannot be opened or does not fit the net
    ├── NoRuleError             the way down meets a call that has no mirror rule
    ├── StaleRecordingError     the weights changed after the recording was made
    ├── UnstableModelError      two passes of the model over one image differ
    ├── UnitError               a channel, row, column or image that the layer does not have
    ├── StoreError              a scan's file that cannot be used
    ├── EngineError             Ray, or one of its workers, that cannot be used
    ├── ModelError              a model whose own code failed
    └── OptionError             an option's value that is not one of its values

What is odd, but no failure, is a warning; the command prints it as one line on stderr.

    DeconvnetWarning
    ├── PictureWarning          what was left out of a picture, or of a folder of pictures
    └── WeightsWarning          what was chosen among the weights of a file

`DeconvnetError` is a `ValueError`, so plain Python code can catch it without importing this module.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "DeconvnetError",
    "DeconvnetWarning",
    "EngineError",
    "MissingPackageError",
    "ModelError",
    "NoRuleError",
    "OptionError",
    "PictureError",
    "PictureWarning",
    "StaleRecordingError",
    "StoreError",
    "UnitError",
    "UnknownLayerError",
    "UnknownModelError",
    "UnstableModelError",
    "WeightsError",
    "WeightsWarning",
]


class DeconvnetError(ValueError):
    """An expected failure; its message is one line that says what was asked, found, and what to do."""


class DeconvnetWarning(UserWarning):
    """Something odd that the user should know of; its message is one line."""


class UnknownLayerError(DeconvnetError):
    """No layer of that name in this net."""


class UnknownModelError(DeconvnetError):
    """No model of that name."""


class MissingPackageError(DeconvnetError):
    """An optional package that is not installed."""


class WeightsError(DeconvnetError):
    """A weights file that is missing, unsafe to read, or made for another net."""


class PictureError(DeconvnetError):
    """A picture that cannot be opened, or that does not fit the net."""


class NoRuleError(DeconvnetError):
    """The way down to the pixels meets a call that has no mirror rule."""


class StaleRecordingError(DeconvnetError):
    """The model's weights changed between the recording and what is asked of it now."""


class UnstableModelError(DeconvnetError):
    """The model's passes over one image differ: it keeps state, or adds noise."""


class UnitError(DeconvnetError):
    """A channel, row, column or image that the layer does not have."""


class StoreError(DeconvnetError):
    """A scan's file cannot be used: it belongs to other settings, is no scan, or is in use."""


class EngineError(DeconvnetError):
    """What a scan was to run on cannot be used: it is missing, does not answer, or has no worker that can do it."""


class OptionError(DeconvnetError):
    """An option's value that is not one of its values."""


class ModelError(DeconvnetError):
    """The model's own code failed. Its cause is what was raised, and it is of that type too."""

    def __str__(self) -> str:
        """Return the message as it is: the type that it shares might quote it."""
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[type[ModelError], tuple[str]]:
        """Pickle as a plain `ModelError`: the shared type exists in this process only."""
        return ModelError, (str(self),)


class PictureWarning(DeconvnetWarning):
    """What was left out of a picture, or of a folder of pictures."""


class WeightsWarning(DeconvnetWarning):
    """What was chosen among the weights that a file holds."""


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return " Did you mean 'a' or 'b'?" for close matches of `name` among `known`, else ""; `prefix` stands before each."""
    import difflib  # here, since a command starts faster without it

    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(prefix + match) for match in close)}?" if close else ""


def check_option(name: str, value: object, known: Iterable[str]) -> None:
    """Raise `OptionError` unless `value` is one of `known`; every known value is listed."""
    known = list(known)
    if value not in known:
        raise OptionError(f"{name} cannot be {value!r}: it is one of {', '.join(known)}.{did_you_mean(str(value), known)}")
