"""The paper's other experiments and its critics' tests, one per module: `run` measures and returns a result.

    >>> import deconvnet
    >>> result = deconvnet.studies.occlude.run(net, "dog.jpg")
    >>> result.save("occlude.png")

Every result is a `deconvnet.results.Result`: `plot()` draws its figure, `save()` writes the figure or the numbers, `to_json()`
returns the numbers, and `settings` holds all that is needed to run it again.
"""

from __future__ import annotations

import importlib
from types import ModuleType

#: The studies, each a module that is loaded when it is first used.
STUDIES = ("ablate", "benchmark", "correspond", "evolve", "faithful", "filters", "invariance", "occlude", "sanity")


def __getattr__(name: str) -> ModuleType:
    if name not in STUDIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted(STUDIES)
