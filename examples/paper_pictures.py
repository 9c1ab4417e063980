"""Draw the pictures of docs/studies.md, each by the command that it shows; about half a minute on two cores.

python examples/paper_pictures.py [FOLDER]
"""

import sys
from pathlib import Path

from deconvnet.cli import deconvnet

COMMANDS = {
    "occlude": [],
    "invariance": [],
    "correspond": [],
    "evolve": ["--count", "3"],
}


def main(folder: str = "docs/pictures") -> None:
    for name, options in COMMANDS.items():
        deconvnet.main([name, *options, "--out", str(Path(folder, f"{name}.png"))], standalone_mode=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
