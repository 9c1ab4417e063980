"""A pass over a data set that finds, for every channel, the pictures that excite it most, and where: the paper's Figure 2.

>>> scan = deconvnet.scan(net, "photos/", "net.scan", layers=["features.10"])
>>> scan.top("features.10", 51)[0].path
'dogs/17.jpg'
"""

from __future__ import annotations

from .run import scan
from .table import Hit, Scan

__all__ = ["Hit", "Scan", "scan"]
