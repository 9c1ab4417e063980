"""Scan with torch's own launcher, no Ray: each process takes every n-th shard, the first one keeps what all have found.

torchrun --nproc-per-node 2 examples/scan_by_torchrun.py photos/ net.scan
"""

import sys
import tempfile
from collections.abc import Iterator

import torch
import torch.distributed as dist

import deconvnet
from deconvnet.scanning.engine import LocalEngine


class ByTorchrun(LocalEngine):
    """An engine: every process runs its own shards by the local engine, and tells the others what they gave."""

    def run(self, job, shards, *, floor, tell) -> Iterator:
        """Yield what all shards give, in every process; which are still to be done, the first one knows."""
        rank, count, waiting = dist.get_rank(), dist.get_world_size(), [shards]
        dist.broadcast_object_list(waiting)
        own = super().run(job, waiting[0][rank::count], floor=floor, tell=lambda pictures: None)
        for _ in range(0, len(waiting[0]), count):  # in step: at most one shard of each process is on its way
            found = [None] * count
            dist.all_gather_object(found, next(own, None))
            for part in filter(None, found):
                tell(len(part.files))
                yield part


def main(pictures: str, path: str) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    is_first = dist.get_rank() == 0
    with tempfile.TemporaryDirectory() as folder:  # the others' files are thrown away
        own = path if is_first else f"{folder}/a.scan"
        scan = deconvnet.scan(net, pictures, own, shard=8, engine=ByTorchrun(1), progress=is_first)
    if is_first:
        print(scan.summary())
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
