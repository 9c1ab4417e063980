"""When progress bars are shown: on a terminal and in Jupyter. A log has no use for them.

For bars that somebody asked for. Those that come by themselves where work takes long keep to tqdm's rule, terminals only: in a
notebook they would stay among the outputs that are saved.
"""

from __future__ import annotations

import sys


def is_hidden(wanted: bool) -> bool:
    """Return what tqdm is given as `disable`. Jupyter's stderr says that it is no terminal, but is seen."""
    if not wanted or sys.stderr is None:  # as in a program without a console
        return True
    return not (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel."))
