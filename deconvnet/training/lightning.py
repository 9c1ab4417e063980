"""A callback for Lightning, by either of its names: `lightning` or `pytorch_lightning`."""

from __future__ import annotations

import sys
from typing import Any

from ..optional import require
from .monitor import FeatureMonitor


def lightning_callback(monitor: FeatureMonitor) -> Any:
    """Return a callback for Lightning's Trainer that counts its optimiser steps by a monitor.

        trainer = Trainer(callbacks=[lightning_callback(FeatureMonitor(module.net, pictures, out="features"))])

    Of several processes, the first one draws. TensorBoard's writer of a logger is `trainer.logger.experiment`.

    Args:
        monitor: of the net that is trained, or of the LightningModule itself if its forward takes images.

    Raises:
        MissingPackageError: Lightning cannot be imported.
    """
    old_name_only = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
    package = "pytorch_lightning" if old_name_only else "lightning.pytorch"
    lightning = require(package, needed_by="a callback for Lightning", extra="lightning")

    class FeatureMonitorCallback(lightning.Callback):  # type: ignore[misc,name-defined]
        """Calls `monitor.step` after each step of the optimiser."""

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            """Draw if it is time."""
            if trainer.is_global_zero:
                monitor.step(trainer.global_step)

    return FeatureMonitorCallback()
