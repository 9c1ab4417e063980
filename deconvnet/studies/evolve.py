"""How features grow while a net learns (Zeiler & Fergus 2014, 4, Fig. 4): channels at a series of checkpoints, a row for each.

At each checkpoint a channel is shown by its strongest unit over a set of pictures, projected. As the paper says, a jump from
one row to the next comes from a change of the picture that excites the channel most; such rows are marked.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..inputs import PictureInputs, as_batch
from ..layers import find_layers, output_layer, spread_layers
from ..models.weights import hash_file
from ..named_channels import channel_numbers
from ..net import DeconvNet
from ..progress import counted
from ..units import has_names
from .checkpoints import Checkpoints, list_checkpoints, load_nets, packed_checkpoints
from .evolve_result import Evolution, LayerEvolution
from .settings import study_settings
from .strongest import choose_channels, layer_evolution, strongest_units

__all__ = ["Evolution", "LayerEvolution", "list_checkpoints", "run"]


def run(
    net: DeconvNet,
    pictures: PictureInputs,
    *,
    checkpoints: Checkpoints | None = None,
    layers: Sequence[str] | None = None,
    channels: Sequence[int | str] | None = None,
    count: int = 4,
    seed: int = 0,
) -> Evolution:
    """Follow channels through a series of checkpoints; the net itself is left as it is.

    Args:
        net: the net to study, of which the checkpoints are.
        pictures: one picture or several: paths, PIL pictures, drawings, or images (N, C, H, W) as the net expects them.
        checkpoints: weights files in order, a folder of them, or {name: file}; by default those of `tiny`'s training.
        layers: by default up to five rectified ones, evenly from the first to the last with maps.
        channels: the channels of each layer, of the class scores also names of classes; by default `count` random ones among
            those that the pictures excite at the last checkpoint.
        count: random channels per layer.
        seed: of the random channels.

    Returns:
        The strongest units of each channel at each checkpoint, and their projections.

    Raises:
        PictureError: there is no picture, or one cannot be opened.
        UnknownLayerError: the net has no such layer.
        UnitError: a layer has no such channel.
        WeightsError: a checkpoint cannot be read, is of another net, or could not be downloaded.
        OptionError: there are no checkpoints, or another option's value is not possible.

        >>> evolve.run(net, pictures, checkpoints="runs/", layers=["features.13"]).layers[0].activations.shape
        (7, 4)
    """
    files = packed_checkpoints(net) if checkpoints is None else list_checkpoints(checkpoints)
    paths = list(files.values())
    images = as_batch(net, pictures)
    last = next(load_nets(net, paths[-1:]))
    recording = last.record(images[:1], stop=False)
    if not layers:
        layers = [output_layer(recording)] if has_names(channels) else spread_layers(recording)
    layers = find_layers(recording, layers)
    numbers = None
    for layer in layers if channels else ():  # each of which is to have these channels, or these classes
        numbers = channel_numbers(net.loaded, recording, layer, channels or ())
    chosen = choose_channels(last, images, recording, layers, numbers, count, seed)
    nets = counted(load_nets(net, paths), len(paths), "following", "checkpoint")
    snapshots = [strongest_units(at_checkpoint, images, recording, chosen) for at_checkpoint in nets]
    hashes = tuple(hash_file(path) for path in paths)
    settings = study_settings(
        net,
        "evolve",
        inputs=pictures,
        layers=layers,
        rules={layer: last.choose_rule(recording, layer).rule for layer in layers},
        pictures=len(images),
        seed=seed,
        checkpoints=dict(zip(files, hashes, strict=True)),
    )
    return Evolution(
        names=tuple(files),
        weights=hashes,
        layers=tuple(
            layer_evolution(layer, chosen[layer], [units[layer] for units in snapshots], images.shape[2:]) for layer in layers
        ),
        settings=settings | {"weights": hashes[-1]},
    )
