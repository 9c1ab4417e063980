"""The explorer's style: plain CSS in an HTML widget, for every front end that shows ipywidgets, light or dark.

Each map is a real button, for mouse, keyboard and screen reader; its picture is a part of one mosaic. The units of a map are
buttons too, laid over it.
"""

from __future__ import annotations

from .pictures import COLUMNS
from .state import PAGE, cell_slice

_SHEET = """
.dn { max-width: 1180px; }
.dn .widget-html, .dn .widget-html-content { height: auto; line-height: 1.35; }
.dn .dn-row { display: flex; flex-flow: row wrap; gap: 6px 14px; align-items: end; overflow: visible; padding-bottom: 4px; }
.dn .dn-row > * { margin: 0; }
.dn .dn-field { flex-direction: column; height: auto; align-items: start; }
.dn .dn-field .widget-label { text-align: left; width: auto; height: 20px; line-height: 20px; font-size: 12px; opacity: .8; }
.dn .dn-field select, .dn .dn-field input { width: 100%; flex: none; height: 28px; }
.dn .dn-row button { height: 28px; width: auto; line-height: 28px; }
.dn .dn-body { display: flex; flex-flow: row wrap; gap: 20px 26px; align-items: start; margin-top: 12px; }
.dn .dn-maps { flex: 1 1 320px; max-width: 520px; min-width: 0; }
.dn .dn-unit { flex: 1 1 320px; max-width: 620px; min-width: 0; }
.dn .dn-pair { display: flex; flex-flow: row wrap; gap: 14px; margin: 0 0 12px; overflow: visible; }
.dn .dn-pair > * { flex: 1 1 260px; max-width: 303px; min-width: 0; margin: 0; }
.dn h4 { margin: 0 0 4px; font-size: 13px; font-weight: 600; }
.dn .dn-pair .widget-html { margin: 0; }
.dn figure { margin: 0; }
.dn figure img { display: block; width: 100%; max-width: 303px; }
.dn .dn-mosaic { display: grid; grid-template-columns: repeat(COLUMNS, 1fr); gap: 5px; overflow: visible;
  align-items: start; }
.dn .dn-mosaic button { display: block; width: auto; height: auto; margin: 0; padding: 2px; line-height: 17px; font-size: 11px;
  overflow: hidden; white-space: normal; box-shadow: none; background: transparent; color: inherit;
  border: 2px solid transparent; }
.dn .dn-mosaic button::before { content: ""; display: block; width: 100%; image-rendering: pixelated; }
.dn .dn-mosaic button:hover { border-color: #86b6da; }
.dn button:focus-visible { outline: 3px solid #0072b2; outline-offset: 1px; z-index: 1; }
.dn .dn-cells { display: grid; gap: 0; width: 100%; overflow: visible;
  background-size: 100% 100%; image-rendering: pixelated; }
.dn .dn-cells button { width: auto; height: auto; min-width: 0; margin: 0; padding: 0; background: transparent; border: 0;
  border-radius: 0; box-shadow: none; line-height: 0; min-height: 0; overflow: hidden; }
.dn .dn-cells button:hover { box-shadow: inset 0 0 0 2px #56b4e9; }
.dn table { border-collapse: collapse; font-size: 13px; }
.dn th { text-align: left; font-weight: 600; padding: 1px 12px 1px 0; vertical-align: top; white-space: nowrap; }
.dn td { padding: 1px 0; overflow-wrap: anywhere; }
.dn code { display: block; margin-top: 8px; font-size: 12px; overflow-wrap: anywhere; white-space: pre-wrap; }
.dn .dn-error { color: #a3001e; font-weight: 600; background: #fff; padding: 2px 6px; }
""".replace("COLUMNS", str(COLUMNS))


def sheet() -> str:
    """Return the style that all explorers share, with the part of the mosaic that each button shows."""
    return f"<style>{_SHEET}{''.join(map(_button_style, range(PAGE)))}</style>"


def _button_style(number: int) -> str:
    row, col = divmod(number, COLUMNS)
    return f".dn .dn-map-{number}::before{{background-position:{col / (COLUMNS - 1):.2%} var(--row-{row})}}\n"


def maps_style(scope: str, image: str, size: tuple[int, int], shown: int) -> str:
    """Return the style that gives the buttons of one explorer their maps.

    Args:
        scope: the CSS class of this explorer.
        image: the data URI of the mosaic.
        size: (height, width) of a map.
        shown: how many maps the mosaic holds.
    """
    rows = -(-shown // COLUMNS)
    tops = ";".join(f"--row-{row}:{row / max(rows - 1, 1):.2%}" for row in range(rows))
    height, width = size
    return (
        f"<style>.{scope}{{{tops}}}\n.{scope} .dn-mosaic button::before{{background-image:url({image});"
        f"background-size:{COLUMNS * 100}% {rows * 100}%;aspect-ratio:{width}/{height}}}</style>"
    )


def chosen_style(scope: str, number: int | None) -> str:
    """Return the style that marks the chosen map; `number` is its button's, None if it is on another page."""
    return (
        "" if number is None else f"<style>.{scope} .dn-map-{number}{{border-color:#d55e00 !important;font-weight:700}}</style>"
    )


def map_style(scope: str, image: str, size: tuple[int, int], cells: tuple[int, int], cell: tuple[int, int] | None) -> str:
    """Return the style that lays a map under its cells, and marks the chosen cell.

    Args:
        scope: the CSS class of this explorer.
        image: the data URI of the map.
        size: (height, width) of the map.
        cells: its rows and columns of cells.
        cell: the chosen one; None for a whole map.
    """
    rows, cols = (_tracks(count, side) for count, side in zip(cells, size, strict=True))
    grid = f".{scope} .dn-cells{{background-image:url({image});aspect-ratio:{size[1]}/{size[0]};grid-template:{rows}/{cols}}}"
    number = None if cell is None else cell[0] * cells[1] + cell[1] + 1
    mark = (
        f".{scope} .dn-cells button:nth-child({number}){{box-shadow:inset 0 0 0 2px #d55e00,0 0 0 1px #fff}}" if number else ""
    )
    return f"<style>{grid}{mark}</style>"


def _tracks(count: int, side: int) -> str:
    """Return how high (or wide) the cells are: as many shares as rows of the map lie in each, so that they lie over those."""
    slices = (cell_slice(number, count, side) for number in range(count))
    return " ".join(f"minmax(0,{rows.stop - rows.start}fr)" for rows in slices)
