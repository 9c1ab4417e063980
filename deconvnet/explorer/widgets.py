"""The explorer's widgets: plain ipywidgets, so that nothing has to be built, installed or registered in a front end.

No widget of theirs tells where a picture was clicked; so each map and each place is a button of its own (see style.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from io import BytesIO
from typing import Any

from PIL import Image

from ..errors import DeconvnetError, PictureError
from ..images import Picture, open_picture
from ..projection import Projection
from ..render.html import data_uri
from ..render.text import activation_text
from . import pictures, style
from .state import ORDERS, PAGE, RULES, TONES_OF_ONE, Explorer

#: The largest file that is taken from the browser, in bytes: Jupyter's server drops a connection that sends over 10 MiB.
LARGEST_UPLOAD = 9 * 2**20


class Board:
    """The explorer in a notebook: shows itself; `projection` is what is looked at, `explorer` holds the choices.

    >>> board = deconvnet.explore(deconvnet.load_model("tiny"), "face.png")
    >>> board.projection.save("this-one.png")
    """

    def __init__(self, explorer: Explorer) -> None:
        import ipywidgets

        self.explorer, self._widgets = explorer, ipywidgets
        self._scope = f"dn-{secrets.token_hex(4)}"
        self._quiet = False  # while the board itself sets a control
        self._make_controls()
        self._make_maps()
        self._make_unit()
        self.widget = self._laid_out()
        self._show_all()

    @property
    def projection(self) -> Projection:
        """The projection that is shown."""
        return self.explorer.projection

    def open(self, picture: Picture) -> None:
        """Look at another picture."""
        self.explorer.open(picture)
        self._show_all()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    # ---- the widgets

    def _make_controls(self) -> None:
        state, make = self.explorer, self._widgets
        names = [
            (f"{row.name} · {row.kind} · {row.channels} maps of {row.height}x{row.width}", row.name)
            for row in state.layers.values()
        ]
        rules = [rule if rule in RULES[:3] else f"bits {rule}" for rule in RULES]
        extra = [] if state.rule in RULES else [(f"bits {state.rule}", state.rule)]
        self.layer = self._field(make.Dropdown(options=names, value=state.layer, description="Layer"), "310px")
        self.rule = self._field(
            make.Dropdown(options=[*zip(rules, RULES, strict=True), *extra], value=state.rule, description="Rule"), "120px"
        )
        self.tone = self._field(make.Dropdown(options=TONES_OF_ONE, value=state.tone, description="Tone"), "120px")
        self.place = self._field(
            make.Dropdown(
                options=[("strongest place", "max"), ("whole map", "map"), ("one place", "one")],
                value="max",
                description="Unit",
            ),
            "140px",
        )
        self.upload = make.FileUpload(accept="image/*", multiple=False, description="Another picture")
        self.trouble = make.HTML()
        self._on(self.layer, self.explorer.choose_layer, self._show_all)
        self._on(self.rule, self.explorer.choose_rule, self._show_unit)
        self._on(self.tone, self.explorer.choose_tone, self._show_unit)
        self._on(self.place, self._choose_kind, self._show_unit)
        self._on(self.upload, self._take_upload, self._show_all)

    def _make_maps(self) -> None:
        make = self._widgets
        self.order = self._field(
            make.Dropdown(options=[("strongest first", ORDERS[0]), ("by number", ORDERS[1])], description="Order"), "130px"
        )
        self.channel = self._field(make.BoundedIntText(description="Channel", min=0), "80px")
        self.back = make.Button(description="Back", tooltip="The page before", layout={"width": "64px"})
        self.forth = make.Button(description="Next", tooltip="The next page", layout={"width": "64px"})
        self.page = make.HTML()
        self.maps = [make.Button(layout=make.Layout()) for _ in range(PAGE)]
        for number, button in enumerate(self.maps):
            button.add_class(f"dn-map-{number}")
            button.on_click(self._clicked(partial(self._choose_map, number), self._show_channel))
        self.mosaic = make.Box()
        self.mosaic.add_class("dn-mosaic")
        self.maps_style, self.chosen_style = make.HTML(), make.HTML()
        self._on(self.order, self.explorer.choose_order, self._show_maps)
        self._on(self.channel, self.explorer.choose_channel, self._show_all)
        self.back.on_click(self._clicked(lambda: self.explorer.turn(-1), self._show_maps))
        self.forth.on_click(self._clicked(lambda: self.explorer.turn(1), self._show_maps))

    def _make_unit(self) -> None:
        make = self._widgets
        self.picture, self.patch, self.projected, self.facts = make.HTML(), make.HTML(), make.HTML(), make.HTML()
        self.map_title, self.places_style = make.HTML(), make.HTML()
        self.places = make.Box()
        self._cells: list[Any] = []
        self.places.add_class("dn-places")
        self._grid: tuple[int, int] = (0, 0)
        self.row = make.IntSlider(description="Row", continuous_update=False)
        self.col = make.IntSlider(description="Column", continuous_update=False)
        for slider in (self.row, self.col):
            slider.layout.width, slider.style.description_width = "auto", "56px"
            self._on(slider, self._choose_slid, self._show_unit)

    def _laid_out(self) -> Any:
        make = self._widgets
        controls = self._classed(make.Box([self.layer, self.place, self.rule, self.tone, self.upload]), "dn-row")
        paging = self._classed(make.Box([self.order, self.channel, self.back, self.forth, self.page]), "dn-row")
        maps = self._classed(make.VBox([paging, self.mosaic]), "dn-maps")
        chosen = make.VBox([self.map_title, self.places, self.row, self.col])
        pair, second = make.Box([self.patch, self.projected]), make.Box([chosen, self.picture])
        unit = make.VBox([self._classed(pair, "dn-pair"), self._classed(second, "dn-pair"), self.facts])
        body = self._classed(make.Box([maps, self._classed(unit, "dn-unit")]), "dn-body")
        styles = [make.HTML(style.sheet()), self.maps_style, self.chosen_style, self.places_style]
        hidden = make.Box(styles, layout={"display": "none"})
        board = make.VBox([hidden, controls, self.trouble, body])
        board.add_class("dn")
        board.add_class(self._scope)
        return board

    def _field(self, control: Any, width: str) -> Any:
        control.layout.width, control.layout.max_width = width, "100%"
        return self._classed(control, "dn-field")

    @staticmethod
    def _classed(widget: Any, name: str) -> Any:
        widget.add_class(name)
        return widget

    # ---- what happens

    def _on(self, control: Any, choose: Callable[[Any], Any], show: Callable[[], Any]) -> None:
        """Do as a control says, and show what that changes."""

        def changed(change: Any) -> None:
            if not self._quiet:
                self._do(lambda: choose(change["new"]), show)

        control.observe(changed, "value")

    def _clicked(self, choose: Callable[[], Any], show: Callable[[], Any]) -> Callable[[Any], None]:
        return lambda button: self._do(choose, show)

    def _do(self, choose: Callable[[], Any], show: Callable[[], Any]) -> None:
        """Carry out a choice; what cannot be done is said on the board."""
        said = ""
        try:
            choose()
            show()
        except DeconvnetError as error:
            said = f'<span class="dn-trouble" role="alert">{escape(f"{type(error).__name__}: {error}")}</span>'
        self.trouble.value = said

    def _choose_map(self, number: int) -> None:
        self.explorer.choose_channel(self.explorer.shown[number])

    def _choose_cell(self, number: int) -> None:
        self.explorer.choose_cell(*divmod(number, self._grid[1]))

    def _choose_kind(self, kind: str) -> None:
        unit = self.explorer.unit
        if kind == "one":  # begins where the strongest is, also after a whole map
            self.explorer.choose_place("max")
            unit = self.explorer.unit
        self.explorer.choose_place((unit.row or 0, unit.col or 0) if kind == "one" else kind)

    def _choose_slid(self, value: int) -> None:
        self.explorer.choose_place((self.row.value, self.col.value))

    def _take_upload(self, files: Any) -> None:
        try:
            if files:
                self.explorer.open(uploaded(files[0]))
        finally:
            with self._quietly():
                self.upload.value = ()  # so that the same file can be chosen again

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    # ---- what is shown

    def _show_all(self) -> None:
        self._show_maps()
        self._show_unit()

    def _show_channel(self) -> None:
        self._mark_chosen()
        self._show_unit()

    def _show_maps(self) -> None:
        state = self.explorer
        shown = state.shown
        self.maps_style.value = style.maps_style(self._scope, _packed(pictures.mosaic(state)), state.size, len(shown))
        for button, channel in zip(self.maps, shown, strict=False):
            strongest = float(state.maps[channel].max())
            button.description = f"#{channel}" if strongest <= 0 else f"#{channel} {activation_text(strongest)}"
        if len(self.mosaic.children) != len(shown):
            self.mosaic.children = self.maps[: len(shown)]
        self.page.value = f"page {state.page + 1} of {state.pages}"
        self.back.disabled, self.forth.disabled = state.page == 0, state.page == state.pages - 1
        self._mark_chosen()

    def _mark_chosen(self) -> None:
        state = self.explorer
        self.chosen_style.value = style.chosen_style(
            self._scope, state.shown.index(state.channel) if state.channel in state.shown else None
        )

    def _show_unit(self) -> None:
        state = self.explorer
        patch, projected = pictures.patch_and_projection(state)  # first what can fail: the rule may not lead down
        unit = state.unit
        where = "the whole map" if unit.row is None else f"row {unit.row}, column {unit.col}"
        name = f"channel {unit.channel}, {where}"
        self.projected.value = figure("projection", projected, f"the projection of {name}")
        self.patch.value = figure("patch", patch, f"the part of the picture that {name} depends on")
        self.picture.value = figure(
            "the picture, as the net sees it", pictures.picture(state), f"the picture with the window of {name}"
        )
        self.facts.value = pictures.facts_table(state)
        self._show_map(unit.channel)
        self._follow()

    def _show_map(self, channel: int) -> None:
        state = self.explorer
        rows, cols = state.cells
        if self._grid != (rows, cols):
            self._set_cells(rows, cols)
        large = "" if state.cells == state.size else ": a click takes the strongest unit there"
        self.map_title.value = f"<h4>map {channel}{large}</h4>"
        self.places_style.value = style.places_style(
            self._scope, _packed(pictures.one_map(state)), state.size, state.cells, state.cell
        )

    def _set_cells(self, rows: int, cols: int) -> None:
        """Lay out one button for each place; those made before are used again."""
        make = self._widgets
        self._grid = (rows, cols)
        while len(self._cells) < rows * cols:
            number = len(self._cells)
            shared = {"layout": self._cells[0].layout, "style": self._cells[0].style} if self._cells else {}
            button = make.Button(tabbable=False, **shared)  # by keyboard, the sliders are quicker than 196 stops
            button.on_click(self._clicked(partial(self._choose_cell, number), self._show_unit))
            self._cells.append(button)
        for number, button in enumerate(self._cells[: rows * cols]):
            row, col = divmod(number, cols)
            button.tooltip = f"place {row}, {col}"
        self.places.children = self._cells[: rows * cols]

    def _follow(self) -> None:
        """Set the controls to what is looked at."""
        state = self.explorer
        unit, (height, width) = state.unit, state.size
        with self._quietly():
            self.layer.value, self.place.value = state.layer, state.place_kind
            self.channel.max = len(state.maps) - 1
            self.channel.value = unit.channel
            self.row.max, self.col.max = height - 1, width - 1
            if unit.row is not None and unit.col is not None:
                self.row.value, self.col.value = unit.row, unit.col


def uploaded(file: Any) -> Image.Image:
    """Open a file that the browser sent: bounded in bytes here, and in pixels as every picture is."""
    name, content = str(file["name"]), bytes(file["content"])
    if len(content) > LARGEST_UPLOAD:
        found, most = len(content) / 2**20, LARGEST_UPLOAD / 2**20
        raise PictureError(f"cannot take {name!r}: it has {found:.1f} MiB, more than {most:.0f}. Shrink it first.")
    if not content:
        raise PictureError(f"cannot open {name!r}: the file is empty. Get a fresh copy.")
    picture = open_picture(name, data=BytesIO(content))
    picture.filename = name  # type: ignore[attr-defined]  # what the numbers call it
    return picture


def figure(title: str, image: Image.Image, alt: str) -> str:
    """Return a picture with its heading, as HTML."""
    return f'<h4>{escape(title)}</h4><figure><img src="{_packed(image)}" alt="{escape(alt)}"></figure>'


def _packed(image: Image.Image) -> str:
    """Return a picture for the browser: packed lightly, for it travels no further."""
    return data_uri(image, compress_level=1)
