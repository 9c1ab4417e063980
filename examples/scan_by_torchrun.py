"""Scan with torch's own launcher, without Ray: of n processes each takes every n-th shard, and the first keeps all results.

torchrun --nproc-per-node 2 examples/scan_by_torchrun.py photos/ net.scan
"""

import sys
import tempfile
from collections.abc import Iterator

import torch
import torch.distributed as dist

import deconvnet
from deconvnet.scanning.engine_local import LocalEngine


class ByTorchrun(LocalEngine):
    """An engine: every process runs its share of the shards by the local engine, and sends the results to the others."""

    def run(self, job, shards, *, floor, on_progress) -> Iterator:
        """Yield the results of all shards, in every process; only the first one knows which shards are still to be done."""
        rank, count, waiting = dist.get_rank(), dist.get_world_size(), [shards]
        dist.broadcast_object_list(waiting)
        share = super().run(job, waiting[0][rank::count], floor=floor, on_progress=lambda pictures: None)
        for _ in range(0, len(waiting[0]), count):  # in step: at most one result of each process is on its way
            results = [None] * count
            dist.all_gather_object(results, next(share, None))
            for result in filter(None, results):
                on_progress(len(result.files))
                yield result


def main(pictures: str, path: str) -> None:
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny"))
    is_first = dist.get_rank() == 0
    with tempfile.TemporaryDirectory() as folder:  # the others' files are thrown away
        file = path if is_first else f"{folder}/a.scan"
        scan = deconvnet.scan(net, pictures, file, shard=8, engine=ByTorchrun(1), progress=is_first)
    if is_first:
        print(scan.summary())
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
