"""Similar channels: those that share most of their top pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

#: Channels that share fewer pictures are not called similar: two unrelated ones share one by chance.
LEAST_SHARED = 2


def similar_channels(
    tops: Sequence[Sequence[int]], most: int = 8, *, least: int = LEAST_SHARED
) -> Iterator[list[tuple[int, int]]]:
    """Yield for each channel those that share most pictures with it, as (channel, shared), most first, then by number.

        >>> list(similar_channels([[1, 2, 3], [2, 3, 4], [3, 4, 5]]))
        [[(1, 2)], [(0, 2), (2, 2)], [(1, 2)]]

    Args:
        tops: the numbers of each channel's top pictures.
        most: how many similar channels to yield.
        least: how many pictures they share at least.
    """
    excited: dict[int, list[int]] = defaultdict(list)
    for channel, pictures in enumerate(tops):
        for picture in pictures:
            excited[picture].append(channel)
    channels_of = {picture: np.array(channels) for picture, channels in excited.items()}
    for channel, pictures in enumerate(tops):
        if not len(pictures):
            yield []
            continue
        shared = np.bincount(np.concatenate([channels_of[picture] for picture in pictures]), minlength=len(tops))
        shared[channel] = 0
        best = np.flatnonzero(shared >= least)
        best = best[np.lexsort((best, -shared[best]))][:most]
        yield [(int(other), int(shared[other])) for other in best]
