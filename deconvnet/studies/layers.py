"""Which layers studies look at where none is named."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from ..errors import OptionError
from ..projection import as_maps, rectified_values
from ..recording import Recording
from ..rules import Same
from ..tape import Call, Tape

FILTERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # layers with filters


def first_layer(recording: Recording) -> str:
    """Return the first rectified layer with maps: where the paper measures "layer 1"."""
    tape, rectified = recording.tape, rectified_values(recording.tape)
    places = [(place.value, name) for name, place in recording.places().items() if place.value in rectified]
    names = [name for value, name in sorted(places, key=lambda pair: (pair[0] or 0, -len(pair[1]))) if _has_maps(tape, value)]
    if not names:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    return names[0]


def top_layer(recording: Recording) -> str:
    """Return the last rectified layer that another layer with filters stands on: where the paper measures "layer 7"."""
    places = recording.places()
    filters = [name for name, module in recording.model.named_modules() if isinstance(module, FILTERS)]
    last = max((places[name].first for name in filters if name in places), default=0)
    tape, rectified = recording.tape, rectified_values(recording.tape)
    below = [place.value for place in places.values() if place.value in rectified and place.last <= last]
    if not below:
        raise OptionError(
            f"{recording.name} has no rectified layer below its last filters. Name the layers: see deconvnet layers."
        )
    value: int = max(below)
    while isinstance(tape.table.get(tape.calls[tape.makers[value]].func), Same):  # dropout hands on what it gets
        value = tape.calls[tape.makers[value]].inputs[0]
    same = [place for place in places.values() if place.value == value]
    same = [place for place in same if place.first or place.last == 1] or same  # not the whole trunk of the net
    return min((place.name for place in same), key=len)


def spread_layers(recording: Recording, most: int = 5) -> list[str]:
    """Return up to five rectified layers with more than one place, evenly from the first to the last."""
    tape, rectified = recording.tape, rectified_values(recording.tape)
    names: dict[int, str] = {}
    for name, place in recording.places().items():
        if place.value in rectified and tape.layouts[place.value][1] is not None and (place.first or place.last == 1):
            maps = as_maps(recording.kept_activations(name), tape.layouts[place.value], name)
            if maps.shape[2] * maps.shape[3] > 1:
                names[place.value] = min(names.get(place.value, name), name, key=len)  # a block, not the last call in it
    if not names:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    there = [names[value] for value in sorted(names)]
    return [there[int(at)] for at in np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round())]


def last_layer(recording: Recording) -> str:
    """Return the layer that the net answers with: a class's score has every layer below it."""
    places = [place for place in recording.places().values() if place.value is not None]
    last = max(place.value or 0 for place in places)
    return min((place for place in places if place.value == last), key=lambda place: (-place.first, len(place.name))).name


def first_convolution(tape: Tape) -> Call:
    """Return the first convolution that a picture meets, of two axes and not by groups."""
    return _convolutions(tape)[0]


def second_layer(recording: Recording) -> str:
    """Return the first rectified layer that stands on a second convolution."""
    tape = recording.tape
    calls = _convolutions(tape)
    if len(calls) < 2:
        raise OptionError(f"{recording.name} has one convolution only. Name a second layer: see deconvnet layers.")
    above = [number for number in sorted(rectified_values(tape)) if number >= calls[1].outputs[0]]
    places = [place for place in recording.places().values() if above and place.value == above[0]]
    if not places:
        raise OptionError(f"{recording.name} rectifies nothing above {calls[1].layer!r}. Name a second layer.")
    return min(places, key=lambda place: len(place.name)).name


def _convolutions(tape: Tape) -> list[Call]:
    found = [call for call in tape.calls if call.name == "conv2d" and call.inputs]
    if not found:
        raise OptionError("this net has no convolution over rows and columns: there are no filters to look at.")
    return found


def _has_maps(tape: Any, value: int | None) -> bool:
    return tape.layouts[value or 0][1] is not None
