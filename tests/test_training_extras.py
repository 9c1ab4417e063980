"""Promises about a monitor in Lightning's Trainer, and with TensorBoard's own writer."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deconvnet import FeatureMonitor, lightning_callback
from test_training import images, small_net


@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning_counts_steps_of_the_optimiser(package, tmp_path, monkeypatch):
    """The callback draws after every so many optimiser steps, not batches, and the weights are those without it."""
    pytest.importorskip(package.partition(".")[0], reason="Lightning is not installed: the extra `lightning`")
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lightning", "pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    lightning = importlib.import_module(package)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = small_net()

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.05)

    def fit(folder: Path | None) -> dict[str, torch.Tensor]:
        module = Module()
        callbacks = []
        if folder:
            callbacks = [lightning_callback(FeatureMonitor(module.net, images(4), out=folder, every=2))]
            assert isinstance(callbacks[0], lightning.Callback)
        torch.manual_seed(5)
        data = torch.utils.data.TensorDataset(images(24, seed=1), torch.arange(24) % 4)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = lightning.Trainer(max_epochs=2, accumulate_grad_batches=2, accelerator="cpu", callbacks=callbacks, **quiet)
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=4, shuffle=True))
        assert trainer.global_step == 6
        return module.state_dict()

    alone, watched = fit(None), fit(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000002.png", "step-000004.png", "step-000006.png"]
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


@pytest.mark.filterwarnings("ignore")  # theirs
def test_tensorboard_reads_what_was_drawn(tmp_path):
    """A SummaryWriter writes the images, and TensorBoard reads them: a tag for each layer, with the steps."""
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:
        monitor = FeatureMonitor(small_net(), images(4), out=writer, every=2, layers=["2", "5"], channels=[0, 3])
        for _ in range(4):
            monitor.step()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["images"] == ["features/2", "features/5"]
    shown = events.Images("features/5")
    assert [event.step for event in shown] == [2, 4]
    assert all(event.width > 200 and event.height > 100 for event in shown)
    assert np.frombuffer(shown[0].encoded_image_string, np.uint8).size > 500
