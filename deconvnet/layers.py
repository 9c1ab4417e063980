"""Every answer to "which layer?": the default one, the paper's first and top ones, those that patterns stand for.

All of them look at *rectified* layers: those whose values a rectifier let through, as they are or joined and passed on. The
paper projects from there (Zeiler & Fergus 2014, 2.1).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from fnmatch import fnmatchcase

import numpy as np
from torch import nn

from .axes import has_positions, map_size
from .errors import OptionError, UnknownLayerError, did_you_mean
from .forward import LayerRecord
from .paper_names import full_name
from .reach import field_and_stride
from .recording import Recording
from .rules.activation import Activation, ReLU
from .rules.arithmetic import GATES, Cat, SavedSiLU
from .rules.base import Same
from .rules.call import Call
from .rules.conv import SavedConv
from .tape import Tape
from .units import LARGEST_SHARE_SEEN

#: Modules that hold filters.
FILTER_MODULES = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def default_layer(recording: Recording) -> str:
    """Return the layer that is worth seeing first: the last rectified one whose units see less than two fifths of the frame.

    Late layers respond to parts, but the windows of the last ones cover most of the frame, so that little of their pictures is
    about the unit. A block stands for what is in it (`features.10` for the layers of a fire module, `layer2` for its last
    block), a sequence of blocks for none but the last. Where the units of all rectified layers see more, it is the one whose
    units see least.

    Raises:
        UnknownLayerError: the net has no layer with feature maps.
    """
    candidates = _without_insides(recording, _body(recording))
    shares = {record.number: _share_seen(recording, record.number) for record in candidates}
    small = [record for record in candidates if shares[record.number] < LARGEST_SHARE_SEEN]
    least = min(shares.values())
    return _outermost_last(small or [record for record in candidates if shares[record.number] == least])


def last_layer(recording: Recording) -> str:
    """Return the last rectified layer with more than one position, before pooling or the classifier: the paper's layer 5.

    Where a block returns the rectified value as it is, the block names it (`layer4`, not `layer4.2.relu_2`), unless it is the
    whole trunk of the net.

    Raises:
        UnknownLayerError: the net has no layer with feature maps.
    """
    return _outermost_last(_body(recording))


def _body(recording: Recording) -> list[LayerRecord]:
    """Return the rectified layers with more than one position, without the classifier: the last of the model's children.

    One that ends in rectified maps is no classifier. Where there are none, those of the classifier, or those that nothing
    rectified.
    """
    records = _image_records(recording)
    tape, rectified = recording.tape, rectified_values(recording.tape)
    with_maps = [record for record in records if tape.map_axes(record.number)[0] is not None]
    spatial = [record for record in with_maps if record.value in rectified and _positions(tape, record) > 1]
    children = [record for record in records if "." not in record.name and not record.is_call]
    head = max(children, key=lambda record: record.last) if children else None
    if head in spatial:  # it ends in rectified maps: the last stage of a net without a classifier
        head = None
    body = [record for record in spatial if head is None or not f"{record.name}.".startswith(f"{head.name}.")]
    candidates = body or spatial or [record for record in with_maps if _positions(tape, record) > 1]
    if not candidates:
        raise UnknownLayerError(
            f"{recording.name} has no layer with feature maps, so none is taken by itself."
            f" To see what it has: deconvnet layers {recording.name}"
        )
    return [record for record in candidates if not _is_trunk(record)] or candidates


def _outermost_last(records: Sequence[LayerRecord]) -> str:
    """Return the name of the last value, as that of the outermost block that returns it."""
    return max(records, key=lambda record: (record.number, -record.first, -len(record.name))).name


def _without_insides(recording: Recording, records: Sequence[LayerRecord]) -> list[LayerRecord]:
    """Leave out what lies inside a block that hands on what rectifiers let through, pooled or not.

    Neither a sequence of modules nor what makes up half of the net is a block.
    """
    modules, tape = dict(recording.model.named_modules()), recording.tape
    rectified = rectified_values(tape) | tape.rectified
    whole = [record for record in _image_records(recording) if record.value in rectified and not _is_trunk(record)]
    whole = [record for record in whole if 2 * (record.last - record.first) < len(tape.calls)]
    blocks = [f"{record.name}." for record in whole if not isinstance(modules.get(record.name), nn.Sequential)]
    outside = [record for record in records if not record.name.startswith(tuple(blocks))]
    return outside or list(records)


def _share_seen(recording: Recording, value: int) -> float:
    """Return the share of the frame's pixels that the window of a value's middle unit has, 0..1."""
    field, _ = field_and_stride(recording.tape, value)
    frame = recording.frame
    height, width = (min(length, size) / size for length, size in zip(field, frame, strict=True))
    return float(height * width) or 1.0  # no rule leads down


def first_layer(recording: Recording) -> str:
    """Return the first rectified layer with maps: where the paper measures "layer 1" (Zeiler & Fergus 2014, Fig. 5).

    Raises:
        OptionError: the net has no such layer.
    """
    tape, rectified = recording.tape, rectified_values(recording.tape)
    records = [record for record in _image_records(recording) if record.value in rectified and _has_rows(tape, record)]
    if not records:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    return min(records, key=lambda record: (record.number, -len(record.name))).name


def second_layer(recording: Recording) -> str:
    """Return the first rectified layer above a second convolution.

    Raises:
        OptionError: the net has one convolution only, or rectifies nothing above the second one.
    """
    tape, calls = recording.tape, convolutions(recording.tape)
    if len(calls) < 2:
        raise OptionError(f"{recording.name} has one convolution only. Name a second layer: see deconvnet layers.")
    above = [value for value in sorted(rectified_values(tape)) if value >= calls[1].outputs[0]]
    records = [record for record in recording.records().values() if above and record.value == above[0]]
    if not records:
        raise OptionError(f"{recording.name} rectifies nothing above {calls[1].layer!r}. Name a second layer.")
    return min(records, key=lambda record: len(record.name)).name


def top_layer(recording: Recording) -> str:
    """Return the last rectified layer below the net's last filters: where the paper measures "layer 7" (Fig. 5).

    Raises:
        OptionError: the net has no such layer.
    """
    records, tape = recording.records(), recording.tape
    filters = [name for name, module in recording.model.named_modules() if isinstance(module, FILTER_MODULES)]
    last = max((records[name].first for name in filters if name in records), default=0)
    rectified = rectified_values(tape)
    below = [record.number for record in records.values() if record.value in rectified and record.last <= last]
    if not below:
        raise OptionError(
            f"{recording.name} has no rectified layer below its last filters. Name the layers: see deconvnet layers."
        )
    value = max(below)
    while isinstance(tape.table.get(tape.calls[tape.makers[value]].func), Same):  # dropout passes on what it gets
        value = tape.calls[tape.makers[value]].inputs[0]
    same = [record for record in records.values() if record.value == value]
    same = [record for record in same if not _is_trunk(record)] or same
    return min((record.name for record in same), key=len)


def output_layer(recording: Recording) -> str:
    """Return the layer of the net's answer: every other layer stands below a class's score."""
    records = _image_records(recording)
    last = max(record.number for record in records)
    return min(
        (record for record in records if record.value == last), key=lambda record: (-record.first, len(record.name))
    ).name


def spread_layers(recording: Recording, most: int = 5) -> list[str]:
    """Return at most `most` rectified layers with more than one position, evenly from the first to the last.

    Raises:
        OptionError: the net has no such layer.
    """
    tape, rectified = recording.tape, rectified_values(recording.tape)
    names: dict[int, str] = {}
    for record in _image_records(recording):
        spatial = _has_rows(tape, record) and _positions(tape, record) > 1
        if record.value in rectified and spatial and not _is_trunk(record):
            names[record.number] = min(
                names.get(record.number, record.name), record.name, key=len
            )  # a block, not its last call
    if not names:
        raise OptionError(f"{recording.name} has no rectified layer with maps. Name the layers: see deconvnet layers.")
    ordered = [names[value] for value in sorted(names)]
    return [ordered[int(at)] for at in np.unique(np.linspace(0, len(ordered) - 1, min(most, len(ordered))).round())]


def choose_layers(recording: Recording, layers: Sequence[str] | None) -> list[str]:
    """Return the layers that names and patterns stand for, in the order in which they finish.

    A value that has several names is taken once by a pattern, by its shortest name.

    Args:
        recording: of the whole net.
        layers: names, or patterns such as "features.*"; None: every rectified layer with maps that is not inside another one
            (a block stands for what is in it).

    Raises:
        OptionError: `layers` is a single name.
        UnknownLayerError: no layer has that name, or matches that pattern.
    """
    if isinstance(layers, str):
        raise OptionError(f"layers must be a list of names, found the single name {layers!r}. Write layers=[{layers!r}].")
    records = {record.name: record for record in _image_records(recording)}
    shortest: dict[int, str] = {}
    for name, record in records.items():
        if _has_rows(recording.tape, record) and not _is_trunk(record):
            shortest[record.number] = min(shortest.get(record.number, name), name, key=len)
    if layers is None:
        rectified = rectified_values(recording.tape)
        chosen = _outermost([name for value, name in shortest.items() if value in rectified])
    else:
        candidates = list(shortest.values())
        patterns = [full_name(recording.name, layer) for layer in layers]
        chosen = [name for pattern in patterns for name in _matching(pattern, records, candidates, recording.name)]
    order = list(records)
    return sorted(dict.fromkeys(chosen), key=order.index)


def find_layers(recording: Recording, layers: Iterable[str]) -> list[str]:
    """Return the layers that names stand for, the paper's among them, each once.

    Raises:
        UnknownLayerError: the recording has no such layer, or it does not depend on the image.
    """
    names = list(dict.fromkeys(full_name(recording.name, layer) for layer in layers))
    for name in names:
        recording.value(name)
    return names


def rectified_values(tape: Tape) -> set[int]:
    """Return the values on a tape that hold what rectifiers let through: also joined or passed on."""
    rectified: set[int] = set()
    for call in tape.calls:
        rule = tape.table.get(call.func)
        passes_on = isinstance(rule, Cat) or (rule is not None and rule.moves)
        if _is_rectifier(tape, call) or (passes_on and call.inputs and rectified.issuperset(call.inputs)):
            rectified.update(call.outputs)
    return rectified


def convolutions(tape: Tape) -> list[Call]:
    """Return the convolutions over rows and columns that the image meets, in order.

    Raises:
        OptionError: the net has none.
    """
    calls = [call for call in tape.calls if call.name == "conv2d" and call.inputs and isinstance(call.saved, SavedConv)]
    if not calls:
        raise OptionError("this net has no convolution over rows and columns: there are no filters to look at.")
    return calls


def _image_records(recording: Recording) -> list[LayerRecord]:
    return [record for record in recording.records().values() if record.value is not None]


def _is_trunk(record: LayerRecord) -> bool:
    """Say whether a module holds all calls from the image on: its value has a better name."""
    return record.first == 0 and record.last > 1 and not record.is_call


def _has_rows(tape: Tape, record: LayerRecord) -> bool:
    return has_positions(tape.axes[record.number])


def _positions(tape: Tape, record: LayerRecord) -> int:
    height, width = map_size(tape.shapes[record.number], tape.axes[record.number])
    return height * width


def _is_rectifier(tape: Tape, call: Call) -> bool:
    """Say whether a call is an activation, x * sigmoid(x) among them, and not a gate."""
    rule = tape.table.get(call.func)
    is_activation = isinstance(rule, (Activation, ReLU)) and call.name not in GATES | {"log_softmax"}
    return is_activation or isinstance(call.saved, SavedSiLU)


def _outermost(names: Sequence[str]) -> list[str]:
    known = set(names)
    outer = {name: [name[:at] for at, letter in enumerate(name) if letter == "."] for name in names}
    return [name for name in names if not known.intersection(outer[name])]


def _matching(pattern: str, records: Container[str], candidates: Sequence[str], model: str) -> list[str]:
    if pattern in records:
        return [pattern]
    names = [name for name in candidates if fnmatchcase(name, pattern)]
    if not names:
        hint = did_you_mean(pattern, candidates)
        raise UnknownLayerError(f"{pattern!r} is not a layer of {model}.{hint} See: deconvnet layers {model}")
    return names
