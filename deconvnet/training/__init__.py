"""Watch features grow while a net trains: the paper's Figure 4, drawn during the training."""

from __future__ import annotations

from .lightning import lightning_callback
from .monitor import FeatureMonitor

__all__ = ["FeatureMonitor", "lightning_callback"]
