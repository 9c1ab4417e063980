"""The explorer's widgets: plain ipywidgets, so that nothing has to be built, installed or registered in a front end.

None of them says where a picture was clicked, so each map, and each position on a map, is a button of its own (see style.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..errors import DeconvnetError
from ..inputs import PictureInput
from ..projection import Projection
from ..render.html import data_uri
from ..render.text import activation_text
from . import pictures, style
from .state import ORDERS, PAGE, RULES, SINGLE_TONES, Explorer, Selection
from .upload import open_upload

if TYPE_CHECKING:
    from ipywidgets import Box, Button, Widget


class ExplorerWidget:
    """The explorer in a notebook; it displays itself.

        >>> explorer = deconvnet.explore(deconvnet.load_model("tiny"), "face.png")
        >>> explorer.projection.save("unit.png")
        [PosixPath('unit.png')]

    Args:
        state: what is chosen.

    Attributes:
        state: what is chosen.
        widget: the widget that is displayed.
    """

    def __init__(self, state: Explorer) -> None:
        import ipywidgets

        self.state, self._widgets = state, ipywidgets
        self._scope = f"dn-{secrets.token_hex(4)}"  # a CSS class: several explorers may stand on one page
        self._quiet = False  # while the explorer itself sets a control
        self._make_controls()
        self._make_maps()
        self._make_unit()
        self.widget = self._lay_out()
        self._show_all()

    @property
    def projection(self) -> Projection:
        """The projection that is shown."""
        return self.state.projection

    def open(self, picture: PictureInput) -> None:
        """Show another picture."""
        self.state.open(picture)
        self._show_all()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    # ---- making the widgets

    def _make_controls(self) -> None:
        state, make = self.state, self._widgets
        layers = [
            (f"{layer.name} · {layer.kind} · {layer.channels} maps of {layer.height}x{layer.width}", layer.name)
            for layer in state.layers.values()
        ]
        rules = [(rule if rule in RULES[:4] else f"bits {rule}", rule) for rule in dict.fromkeys((*RULES, state.rule))]
        selections = [("strongest position", "max"), ("whole map", "map"), ("one position", "position")]
        self.layer = self._field(make.Dropdown(options=layers, value=state.layer, description="Layer"), "310px")
        self.rule = self._field(make.Dropdown(options=rules, value=state.rule, description="Rule"), "120px")
        self.tone = self._field(make.Dropdown(options=SINGLE_TONES, value=state.tone, description="Tone"), "120px")
        self.selection = self._field(make.Dropdown(options=selections, value="max", description="Unit"), "150px")
        self.upload = make.FileUpload(accept="image/*", multiple=False, description="Another picture")
        self.error = make.HTML()
        self._on_change(self.layer, state.choose_layer, self._show_all)
        self._on_change(self.rule, state.choose_rule, self._show_unit)
        self._on_change(self.tone, state.choose_tone, self._show_unit)
        self._on_change(self.selection, self._choose_selection, self._show_unit)
        self._on_change(self.upload, self._open_upload, self._show_all)

    def _make_maps(self) -> None:
        state, make = self.state, self._widgets
        orders = [("strongest first", ORDERS[0]), ("by number", ORDERS[1])]
        self.order = self._field(make.Dropdown(options=orders, description="Order"), "130px")
        self.channel = self._field(make.BoundedIntText(description="Channel", min=0), "80px")
        self.back = make.Button(description="Back", tooltip="The previous page", layout={"width": "64px"})
        self.next = make.Button(description="Next", tooltip="The next page", layout={"width": "64px"})
        self.page = make.HTML()
        self.maps = [make.Button(layout=make.Layout()) for _ in range(PAGE)]
        for number, button in enumerate(self.maps):
            button.add_class(f"dn-map-{number}")
            button.on_click(self._on_click(partial(self._choose_map, number), self._show_channel))
        self.mosaic = self._with_class(make.Box(), "dn-mosaic")
        self.maps_style, self.chosen_style = make.HTML(), make.HTML()
        self._on_change(self.order, state.choose_order, self._show_maps)
        self._on_change(self.channel, state.choose_channel, self._show_all)
        self.back.on_click(self._on_click(lambda: state.turn_pages(-1), self._show_maps))
        self.next.on_click(self._on_click(lambda: state.turn_pages(1), self._show_maps))

    def _make_unit(self) -> None:
        make = self._widgets
        self.picture_image, self.patch_image, self.projection_image = make.HTML(), make.HTML(), make.HTML()
        self.facts, self.map_title, self.map_style = make.HTML(), make.HTML(), make.HTML()
        self.map_cells = self._with_class(make.Box(), "dn-cells")
        self._cells: list[Button] = []  # all buttons that were ever needed
        self._grid: tuple[int, int] = (0, 0)  # their rows and columns now
        self.row = make.IntSlider(description="Row", continuous_update=False)
        self.col = make.IntSlider(description="Column", continuous_update=False)
        for slider in (self.row, self.col):
            slider.layout.width, slider.style.description_width = "auto", "56px"
            self._on_change(slider, self._choose_position, self._show_unit)

    def _lay_out(self) -> Box:
        make, classed = self._widgets, self._with_class
        controls = classed(make.Box([self.layer, self.selection, self.rule, self.tone, self.upload]), "dn-row")
        paging = classed(make.Box([self.order, self.channel, self.back, self.next, self.page]), "dn-row")
        maps = classed(make.VBox([paging, self.mosaic]), "dn-maps")
        chosen_map = make.VBox([self.map_title, self.map_cells, self.row, self.col])
        upper = classed(make.Box([self.patch_image, self.projection_image]), "dn-pair")
        lower = classed(make.Box([chosen_map, self.picture_image]), "dn-pair")
        unit = classed(make.VBox([upper, lower, self.facts]), "dn-unit")
        styles = [make.HTML(style.sheet()), self.maps_style, self.chosen_style, self.map_style]
        hidden = make.Box(styles, layout={"display": "none"})
        whole = make.VBox([hidden, controls, self.error, classed(make.Box([maps, unit]), "dn-body")])
        return classed(classed(whole, "dn"), self._scope)

    def _field(self, control: Any, width: str) -> Any:
        """Give a control its width, and its label above it."""
        control.layout.width, control.layout.max_width = width, "100%"
        return self._with_class(control, "dn-field")

    @staticmethod
    def _with_class(widget: Any, name: str) -> Any:
        widget.add_class(name)
        return widget

    # ---- what controls do

    def _on_change(self, control: Widget, choose: Callable[[Any], object], show: Callable[[], object]) -> None:
        """When a control is set, choose its value and show what that changes."""

        def changed(change: Mapping[str, Any]) -> None:
            if not self._quiet:
                self._run(lambda: choose(change["new"]), show)

        control.observe(changed, "value")

    def _on_click(self, choose: Callable[[], object], show: Callable[[], object]) -> Callable[[Button], None]:
        return lambda button: self._run(choose, show)

    def _run(self, choose: Callable[[], object], show: Callable[[], object]) -> None:
        """Make a choice and show what it changes; an error is shown instead of being raised."""
        message = ""
        try:
            choose()
            show()
        except DeconvnetError as error:
            message = f'<span class="dn-error" role="alert">{escape(f"{type(error).__name__}: {error}")}</span>'
        self.error.value = message

    def _choose_map(self, number: int) -> None:
        self.state.choose_channel(self.state.page_channels[number])

    def _choose_cell(self, number: int) -> None:
        self.state.choose_cell(*divmod(number, self._grid[1]))

    def _choose_selection(self, selection: Selection) -> None:
        if selection == "position":  # the strongest one to begin with, also after a whole map
            self.state.choose_position("max")
            unit = self.state.unit
            self.state.choose_position((unit.row or 0, unit.col or 0))
        else:
            self.state.choose_position(selection)

    def _choose_position(self, value: int) -> None:
        self.state.choose_position((self.row.value, self.col.value))

    def _open_upload(self, files: Sequence[Mapping[str, object]]) -> None:
        try:
            if files:
                self.state.open(open_upload(files[0]))
        finally:
            with self._quietly():
                self.upload.value = ()  # so that the same file can be chosen again

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set controls without making choices."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    # ---- showing the state

    def _show_all(self) -> None:
        self._show_maps()
        self._show_unit()

    def _show_channel(self) -> None:
        self._mark_chosen()
        self._show_unit()

    def _show_maps(self) -> None:
        state = self.state
        channels = state.page_channels
        mosaic = _image_uri(pictures.draw_mosaic(state))
        self.maps_style.value = style.maps_style(self._scope, mosaic, state.size, len(channels))
        for button, channel in zip(self.maps, channels, strict=False):
            strongest = float(state.maps[channel].max())
            button.description = f"{channel}" if strongest <= 0 else f"{channel}: {activation_text(strongest)}"
        if len(self.mosaic.children) != len(channels):
            self.mosaic.children = self.maps[: len(channels)]
        self.page.value = f"page {state.page + 1} of {state.pages}"
        self.back.disabled, self.next.disabled = state.page == 0, state.page == state.pages - 1
        self._mark_chosen()

    def _mark_chosen(self) -> None:
        channels, channel = self.state.page_channels, self.state.channel
        number = channels.index(channel) if channel in channels else None
        self.chosen_style.value = style.chosen_style(self._scope, number)

    def _show_unit(self) -> None:
        state = self.state
        patch, projected = pictures.draw_patch_and_projection(state)  # first what can fail: the rule may not lead down
        unit = state.unit
        where = "the whole map" if unit.row is None else f"row {unit.row}, column {unit.col}"
        name = f"channel {unit.channel}, {where}"
        picture = pictures.draw_picture(state)
        self.projection_image.value = figure("projection", projected, f"the projection of {name}")
        self.patch_image.value = figure("patch", patch, f"the part of the picture where the projection of {name} is")
        self.picture_image.value = figure("the picture, as the net sees it", picture, f"the picture with the window of {name}")
        self.facts.value = pictures.facts_html(state)
        self._show_map(unit.channel)
        self._set_controls()

    def _show_map(self, channel: int) -> None:
        state = self.state
        if self._grid != state.cells:
            self._set_cells(*state.cells)
        hint = "" if state.cells == state.size else ": a click takes the strongest unit there"
        self.map_title.value = f"<h4>map {channel}{hint}</h4>"
        image = _image_uri(pictures.draw_map(state))
        self.map_style.value = style.map_style(self._scope, image, state.size, state.cells, state.cell)

    def _set_cells(self, rows: int, cols: int) -> None:
        """Lay out one button for each cell; buttons made before are used again."""
        make = self._widgets
        self._grid = (rows, cols)
        while len(self._cells) < rows * cols:
            number = len(self._cells)
            shared = {"layout": self._cells[0].layout, "style": self._cells[0].style} if self._cells else {}
            button = make.Button(tabbable=False, **shared)  # by keyboard, sliders are quicker than 196 stops
            button.on_click(self._on_click(partial(self._choose_cell, number), self._show_unit))
            self._cells.append(button)
        for number, button in enumerate(self._cells[: rows * cols]):
            row, col = divmod(number, cols)
            button.tooltip = f"cell {row}, {col}"
        self.map_cells.children = self._cells[: rows * cols]

    def _set_controls(self) -> None:
        """Set the controls to what is chosen."""
        state = self.state
        unit, (height, width) = state.unit, state.size
        with self._quietly():
            self.layer.value, self.selection.value = state.layer, state.selection
            self.channel.max = len(state.maps) - 1
            self.channel.value = unit.channel
            self.row.max, self.col.max = height - 1, width - 1
            if unit.row is not None and unit.col is not None:
                self.row.value, self.col.value = unit.row, unit.col


def figure(title: str, image: Image.Image, alt: str) -> str:
    """Return a picture below its heading, as HTML."""
    return f'<h4>{escape(title)}</h4><figure><img src="{_image_uri(image)}" alt="{escape(alt)}"></figure>'


def _image_uri(image: Image.Image) -> str:
    """Return a picture as a data URI, compressed lightly, since it does not travel far."""
    return data_uri(image, compress_level=1)
