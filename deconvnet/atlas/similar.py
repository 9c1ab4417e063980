"""Which channels look for the same: those that share most of their top pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

#: Channels that share fewer pictures are not called similar: two that have nothing to do with each other share one by chance.
LEAST = 2


def similar_channels(tops: Sequence[Sequence[int]], most: int = 8, *, least: int = LEAST) -> Iterator[list[tuple[int, int]]]:
    """Yield for each channel those that share most pictures with it, as (channel, shared), most first, then by number.

    `tops`: the numbers of each channel's top pictures.

        >>> list(similar_channels([[1, 2, 3], [2, 3, 4], [3, 4, 5]]))
        [[(1, 2)], [(0, 2), (2, 2)], [(1, 2)]]
    """
    having: dict[int, list[int]] = defaultdict(list)
    for channel, pictures in enumerate(tops):
        for picture in pictures:
            having[picture].append(channel)
    arrays: Mapping[int, npt.NDArray[np.int64]] = {picture: np.array(found) for picture, found in having.items()}
    for channel, pictures in enumerate(tops):
        if not len(pictures):
            yield []
            continue
        shared = np.bincount(np.concatenate([arrays[picture] for picture in pictures]), minlength=len(tops))
        shared[channel] = 0
        best = np.flatnonzero(shared >= least)
        best = best[np.lexsort((best, -shared[best]))][:most]
        yield [(int(other), int(shared[other])) for other in best]
