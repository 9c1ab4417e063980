"""Provenance: the settings that every output carries, so that it can be made again."""

from __future__ import annotations

from typing import Any

from .version import __version__


def output_settings(*, model: str, weights: str, preprocess: dict[str, Any] | None, **details: Any) -> dict[str, Any]:
    """Return the settings of an output: what made it, the details of how, and this package's version.

    Args:
        model: the model's name, as `load_model` takes it.
        weights: "sha256:..." of the weights, or "random".
        preprocess: the fields of the preprocessing, None where it is not known.
        details: what the output was asked for, by name.
    """
    return {"model": model, "weights": weights, "preprocess": preprocess, **details, "version": __version__}


def weights_text(weights: str) -> str:
    """Return weights as a caption says them: "sha256:0123456789" -> "weights sha256 01234567", "random" -> "random weights"."""
    kind, _, digest = weights.partition(":")
    return f"weights {kind} {digest[:8]}" if digest else f"{kind} weights"
