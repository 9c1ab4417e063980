"""The atlas: a scan as pages that open from disk, without a server: its layers, their channels, and what excites each.

    >>> deconvnet.write_atlas(Scan.open("net.scan"), "site").index
    PosixPath('site/index.html')

Three requirements shape this package. A page that is opened from disk may load pictures, styles and scripts but cannot fetch
data, so every page holds its own text and can be read without a script; the data for search is a script, loaded when somebody
searches. Projecting takes minutes and writing pages seconds, so a sheet of tiles is drawn again only if what it was made from
has changed, while pages are always made again but written only if they differ. And nobody's files may be lost: what the atlas
has not written itself it neither overwrites nor removes.
"""

from __future__ import annotations

from .build import AtlasSummary, write_atlas

__all__ = ["AtlasSummary", "write_atlas"]
