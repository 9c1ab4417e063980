"""The merge is pure: torch's own launcher gives the local engine's table, by the example in examples/."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import deconvnet
from support.scans import drawings, dump, rows

TABLES = ("hits", "channels", "pictures", "shards")
EXAMPLE = Path(__file__).parents[1] / "examples" / "scan_by_torchrun.py"


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch was built without torch.distributed")
def test_two_processes_of_torchrun_give_the_local_table(tiny, tmp_path):
    """Two processes over gloo continue a scan with two of five shards done: its file equals the local engine's, byte for byte."""
    paths = drawings(tmp_path / "in", 37)
    net, path, before = deconvnet.DeconvNet(tiny), tmp_path / "a.scan", torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        deconvnet.scan(net, tmp_path / "in", tmp_path / "b.scan", shard=8)
        moved = [path.rename(tmp_path / path.name) for path in paths[16:]]
        deconvnet.scan(net, tmp_path / "in", path, shard=8)
        for picture in moved:
            picture.rename(tmp_path / "in" / picture.name)
    finally:
        torch.set_num_threads(before)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(EXAMPLE)]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1]), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [*command, str(tmp_path / "in"), str(path)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"37 of 37 pictures, 5 layers, {len(rows(path, 'select * from channels'))} channels: {path}\n"
    assert dump(path, *TABLES) == dump(tmp_path / "b.scan", *TABLES)
