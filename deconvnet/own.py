"""*own*: how much of a unit's projection is of this picture, and how much is the same for any.

A projection is made of the filters, which are the net's, and of switches and masks, which are the picture's. So the same unit
is projected again, from the same signal, by the switches and masks of other pictures: own = 1 - the mean cosine with these. At
0 the picture is in the filters alone, and any other would have given the same projection; at 1 nothing is shared.

The unit itself counts as firing in all of them: its own activation's mask is left out, since few units fire on most pictures. A
projection that is empty all the same, by what lies below, shares nothing: its cosine is 0. Where this picture's own projection
is empty, there is nothing to compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from .axes import from_maps
from .choices import Start
from .errors import OptionError
from .mirror import project_value
from .projection import project_units, start_signal, unit_window
from .recording import Recording
from .render.text import size_text
from .rules import Table
from .rules.activation import Activation, ReLU
from .rules.arithmetic import Cat
from .units import Unit

#: How many other pictures a unit is compared with: bundled drawings where there are no others.
OTHERS = 8

#: Projections by other pictures that are held at once, in bytes.
HELD_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class Projected:
    """Units of a layer and their projections.

    Attributes:
        recording: of their images.
        layer: the layer's name.
        units: the K units.
        parts: what arrived within window and frame, (C, h, w) each, as `project_units` returns it.
        table: the rules that they were projected by.
        start: what their signals began as.
    """

    recording: Recording
    layer: str
    units: Sequence[Unit]
    parts: Sequence[Tensor]
    table: Table
    start: Start = "activation"


def measure_own(
    projected: Projected, others: Recording, images: Sequence[Sequence[int]], *, memory: int | None = None
) -> list[float | None]:
    """Compare projections with the same units' by the switches and masks of other pictures.

    Args:
        projected: K units, and their projections.
        others: a recording of other pictures, or the same one.
        images: for each unit, the numbers of the pictures in `others` that it is compared with.
        memory: bytes that a batch may take; None: a quarter of what is free.

    Returns:
        For each unit 1 - the mean cosine: from 0, the same for any picture, to 1, nothing shared; above 1 where projections
        point in opposite directions. None where the unit's own projection is empty, or it is compared with no picture.

    Raises:
        OptionError: the other pictures have another size.
    """
    expected, found = (size_text(tuple(each.images.shape[1:])) for each in (projected.recording, others))
    if found != expected:
        raise OptionError(f"the other pictures must have the size of this one, {expected}; found {found}. Resize them.")
    pairs = [(number, image) for number, chosen in enumerate(images) for image in chosen]
    projected = replace(projected, table=_with_unit_firing(projected))
    largest = max((part.numel() * part.element_size() for part in projected.parts), default=1)
    step = max(1, HELD_BYTES // max(largest, 1))
    cosines: list[list[float]] = [[] for _ in projected.units]
    for first in range(0, len(pairs), step):
        batch = pairs[first : first + step]
        for (number, _), part in zip(batch, _project_again(projected, others, batch, memory), strict=True):
            cosines[number].append(_cosine(projected.parts[number], part))
    return [
        1 - math.fsum(values) / len(values) if values and bool(part.any()) else None
        for values, part in zip(cosines, projected.parts, strict=True)
    ]


def _with_unit_firing(projected: Projected) -> Table:
    """Return the table without the masks of the activations that computed the layer's value."""
    recording, table = projected.recording, projected.table
    tape, values = recording.tape, [recording.value(projected.layer)]
    while values:
        maker = tape.makers.get(values.pop())
        call = None if maker is None else tape.calls[maker]
        rule = None if call is None else table.rule_for(call.func, call.layer)
        if call is None or rule is None:
            continue
        if isinstance(rule, (Activation, ReLU)):
            table = table.replace({call.func: rule.with_options(mask=False)}, layers=call.layer)
        elif rule.moves or isinstance(rule, Cat):
            values += call.inputs
    return table


def _project_again(
    projected: Projected, others: Recording, pairs: Sequence[tuple[int, int]], memory: int | None
) -> Sequence[Tensor]:
    """Project units, by number, by the switches and masks of other pictures: for each pair what arrives."""
    units, layer = projected.units, projected.layer
    if all(units[number].row is not None for number, _ in pairs):  # a signal of one value: its scale does not matter
        again = [replace(units[number], image=image) for number, image in pairs]
        return project_units(others, layer, again, projected.table, "one", memory=memory)[1]
    return [_project_map(projected, others, number, image) for number, image in pairs]


def _project_map(projected: Projected, others: Recording, number: int, image: int) -> Tensor:
    """Carry the signal of a unit, which may be a whole map, down by another picture's switches and masks."""
    unit, layer = projected.units[number], projected.layer
    tape, value = others.tape_for(layer, projected.table), others.value(layer)
    signal = from_maps(start_signal(projected.recording.stored_maps(layer), [unit], projected.start), tape.axes[value])
    inside = unit_window(tape, value, unit).clip(*others.frame)
    pixels = project_value(tape, value, signal, projected.table, image)[0]
    return pixels[:, inside.top : inside.bottom, inside.left : inside.right]


def _cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine of two projections as vectors; 0 where one of them is empty."""
    a, b = (part.cpu().double().flatten() for part in (first, second))
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths > 0 else 0.0
