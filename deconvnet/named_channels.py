"""Channels by the names of classes: which layers have a channel for each class, and which number a name has there.

Those are the layer of the scores, and what stands between it and the last filters: a net that averages a map for each class
has the names there, too. A layer further down that happens to have as many channels has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .errors import OptionError, did_you_mean
from .layers import output_layer
from .models.model import LoadedModel
from .recording import Recording
from .rules.conv import SavedConv
from .rules.linear import SavedLinear


def channel_numbers(
    loaded: LoadedModel, recording: Recording, layer: str, channels: Sequence[int | str], *, among: Sequence[str] = ()
) -> list[int]:
    """Return channels' numbers, given those or, where a layer has a channel for each class, the classes' names.

    Args:
        loaded: the model, which knows its classes.
        recording: of it.
        layer: the channels' layer.
        channels: numbers, which stay as they are, and names in upper or lower case.
        among: the layers that there are to choose from, if not all: an error suggests one of them.

    Raises:
        OptionError: the layer's channels are no classes, or there is no class of that name.
    """
    names = [channel for channel in channels if isinstance(channel, str)]
    if not names:
        return [int(channel) for channel in channels]
    count = len(loaded.classes)
    layers = class_layers(recording)
    if layer not in layers or recording.stored_maps(layer).shape[1] != count:
        known = [name for name in layers if name in among] or [output_layer(recording)]
        last = f" Take --layer {known[-1]}, or a number." if loaded.classes else " Give a number."
        raise OptionError(f"channels of layer {layer!r} have no names, and {names[0]!r} is one.{last}")
    for name in names:
        if name.lower() not in map(str.lower, loaded.classes):
            hint = did_you_mean(name, loaded.classes)
            raise OptionError(
                f"{name!r} is neither channels, such as 3 or 1,4-6, nor a class of {loaded.name}.{hint}"
                " Give numbers or a class."
            )
    return [loaded.class_number(channel, count) if isinstance(channel, str) else channel for channel in channels]


def class_layers(recording: Recording) -> list[str]:
    """Return the layers whose channels are the classes, if the net has classes: from the last filters to the scores."""
    values = set(_down_to_filters(recording))
    return [name for name, record in recording.records().items() if record.value is not None and record.number in values]


def class_map_layer(recording: Recording) -> str:
    """Return the layer of the maps whose averages are the scores of the classes; that of the scores where there is none.

    It is the layer with the filters, below any rectifier: from above one, gradient and guided backpropagation would have
    nothing to show wherever the unit does not fire in a random net.
    """
    tape, layer = recording.tape, output_layer(recording)
    layers = {record.number: name for name, record in recording.records().items()}
    for value in _down_to_filters(recording):
        if tape.shapes[value][2:].numel() > 1 and value in layers and tape.map_axes(value)[0] == 1:
            layer = layers[value]
    return layer


def _down_to_filters(recording: Recording) -> Iterator[int]:
    """Yield the values from the scores down to what the last filters made, as long as each is made of one other."""
    tape, value = recording.tape, recording.value(output_layer(recording))
    while value in tape.makers:
        yield value
        call = tape.calls[tape.makers[value]]
        if isinstance(call.saved, (SavedConv, SavedLinear)) or len(call.inputs) != 1:
            break
        value = call.inputs[0]
