"""The result of a scan: its tables, and plates of its channels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..choices import CHANNEL_SORTS, ChannelSort, Crop, PlateLayout, RuleChoice, Tone
from ..errors import UnknownLayerError, check_option
from ..units import has_names
from .origin import Origin
from .ranking import best_channels, sort_channels
from .table import ScanTable

if TYPE_CHECKING:
    from ..net import DeconvNet
    from .pictures import Pictures
    from .plates import Plate
    from .source import PictureSource

OWN_CANDIDATES = 4  # channels that are projected for each one chosen by how much is of its own pictures


class Scan(ScanTable):
    """A finished or unfinished scan. Open its file with `Scan.open`, and close it at the end of the block.

        >>> with Scan.open("net.scan") as scan:
        ...     scan.top("features.10", 51)[0].path
        ...     scan.plate("features.10", [51]).save("plate.png")
        'dogs/17.jpg'
        [PosixPath('plate.png')]

    Attributes:
        path: the file.
        settings: what was scanned, and how.
        sizes: (channels, height, width) of each layer's maps, in the order in which the layers finish.
        notes: what was noticed about its pictures: those that are gone or have changed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        net: DeconvNet | None = None,
        pictures: Pictures | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(path, notes=notes)
        self.origin = Origin(self.path, self.settings, net=net, pictures=pictures)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        net: DeconvNet | None = None,
        root: str | os.PathLike[str] | None = None,
        pictures: PictureSource | None = None,
        notes: Sequence[str] = (),
    ) -> Scan:
        """Open a scan's file, which may be anybody's: it is checked, and leads only to where this user has scanned.

        Args:
            path: the file.
            net: the scanned net, which stays as it is; None: loaded by its name when it is needed, if that is a published net.
            root: the folder or URI of the pictures, if they were moved, or somebody else has scanned them.
            pictures: the Dataset, if one was scanned.
            notes: what was noticed about its pictures.

        Raises:
            StoreError: there is no such file, it is not a scan, it is damaged, or `net` has other weights than the scanned net.
            PictureError: `pictures` are no pictures.
        """
        source: Pictures | None = None
        if root is not None:
            from .source import source_at  # here: it loads torch

            source = source_at(os.fspath(root))
        elif pictures is not None:
            from .source import open_source

            source = open_source(pictures)
        return cls(path, net=net, pictures=source, notes=notes)

    @property
    def net(self) -> DeconvNet:
        """The scanned net, with the scan's preprocessing; a net that is set here stays as it is.

        Raises:
            StoreError: it has other weights than the scanned one; or it has to be named, since it is in a Python file, or its
                weights are where this user has not scanned.
        """
        return self.origin.net

    @net.setter
    def net(self, net: DeconvNet) -> None:
        self.origin.net = net

    @property
    def pictures(self) -> Pictures:
        """The scanned pictures, read from where they were.

        Raises:
            StoreError: they are the items of a dataset, or where this user has not scanned.
        """
        return self.origin.pictures

    def class_layer(self) -> str:
        """Return the scanned layer whose channels are the classes, by their names; the last of them.

        Raises:
            StoreError: the net cannot be loaded; see `net`.
            UnknownLayerError: none of the scanned layers is one.
        """
        from ..layers import output_layer  # here: they load torch
        from ..named_channels import class_layers

        recording = self.net.record_zeros(tuple(self.settings["size"]))
        layers = [layer for layer in class_layers(recording) if layer in self.sizes]
        if not layers:
            advice = f"Scan {output_layer(recording)} as well, or give numbers."
            raise UnknownLayerError(f"no scanned layer of {self.path!r} has the classes as its channels. {advice}")
        return layers[-1]

    def channel_numbers(self, layer: str, channels: Sequence[int | str]) -> list[int]:
        """Return channels' numbers, given those or, where a layer has a channel for each class, the classes' names.

        Raises:
            OptionError: the layer's channels are no classes, or there is no class of that name.
            StoreError: there are names, and the net cannot be loaded; see `net`.
            UnknownLayerError: the layer was not scanned.
        """
        layer = self.layer_name(layer)
        if not has_names(channels):
            return [int(channel) for channel in channels]
        from ..named_channels import channel_numbers  # here: it loads torch

        recording = self.net.record_zeros(tuple(self.settings["size"]))
        return channel_numbers(self.net.loaded, recording, layer, channels, among=self.layers)

    def best(self, layer: str, count: int = 12, *, by: ChannelSort = "selectivity", rule: RuleChoice = "auto") -> list[int]:
        """Return the channels of a layer that are worth showing, the best first: neither dead, nor faint; see `ranking`.

        Args:
            layer: a scanned layer.
            count: how many, 1 or more; there may be fewer.
            by: "selectivity": how much stronger a channel is on its top pictures than on others; "strength": how strong there;
                "own": how much of its projections is of their own pictures, for which the most selective channels, four times
                as many as are chosen, are projected.
            rule: by which they are projected, for "own".

        Raises:
            UnknownLayerError: the layer was not scanned.
            OptionError: `count` is below 1, or there is no such order.
        """
        check_option("sort", by, CHANNEL_SORTS)
        if by != "own":
            return best_channels(self, layer, count, by)
        return self.sort_channels(layer, best_channels(self, layer, OWN_CANDIDATES * count), by="own", rule=rule)[:count]

    def sort_channels(
        self, layer: str, channels: Sequence[int], *, by: ChannelSort = "selectivity", rule: RuleChoice = "auto"
    ) -> list[int]:
        """Return channels of a layer, the best first, among equals as they were; the options are those of `best`.

        Raises:
            UnknownLayerError: the layer was not scanned.
            UnitError: it has no such channel.
            OptionError: there is no such order.
        """
        check_option("sort", by, CHANNEL_SORTS)
        for channel in channels:
            self.check_channel(layer, channel)
        if by != "own":
            places = {channel: place for place, channel in enumerate(sort_channels(self, layer, by))}
            return sorted(channels, key=places.__getitem__)
        plate = self.plate(layer, channels, rule=rule)
        for _ in plate.examples():  # measures as it goes
            pass
        return sorted(channels, key=lambda channel: -(plate.owns[layer, channel] or 0))

    def plate(
        self,
        layer: str | Sequence[str] | Mapping[str, Sequence[int]],
        channels: Sequence[int] | None = None,
        *,
        rule: RuleChoice = "auto",
        tone: Tone = "soft",
        crop: Crop = "energy",
        layout: PlateLayout = "panels",
        inside: bool = False,
        memory: int | None = None,
        own: bool = True,
        percentile: float | None = None,
        progress: bool = False,
    ) -> Plate:
        """Project the top pictures of channels, each by itself, beside their patches (Zeiler & Fergus 2014, Fig. 2).

        Args:
            layer: a scanned layer, several, each a block, or for each layer its channels.
            channels: their numbers, on pages; None: all of each layer. See `best` and `sample`.
            rule: "auto" (the deconvnet where a max pool lies below the layer, guided where none does), or "deconvnet",
                "guided", "gradient", or three bits: mask, switches, rectify.
            tone: how signed values become pixels.
            crop: which part of pixel space tiles show: "energy", the square with 95 % of the projection's energy, of one size
                for a channel; "window", all that the unit can reach; "whole", the frame.
            layout: "panels": each channel with its caption; "paper": for each layer a block of projections beside a block of
                patches, as in the paper's figure.
            inside: leave out units whose window leaves the picture.
            memory: bytes that a batch may take; None: a quarter of what is free.
            own: measure how much of each channel's projections is of their own pictures: see `Plate.owns`.
            percentile: of |x|, above 0 and at most 100, where the tone's scale ends; None: the tone's own.
            progress: whether to show a bar, on a terminal or in Jupyter.

        Raises:
            UnknownLayerError: the layer was not scanned.
            UnitError: it has no such channel.
            OptionError: no channel is given, or there is no such rule, tone, crop, layout or memory.
        """
        from .plates import Plate  # here: it loads torch

        chosen: dict[str, tuple[int, ...]] = {}
        for asked in [layer] if isinstance(layer, str) else layer:
            numbers, name = layer[asked] if isinstance(layer, Mapping) else channels, self.layer_name(asked)
            chosen[name] = tuple(range(self.size(name)[0]) if numbers is None else numbers)
            for channel in chosen[name]:
                self.check_channel(name, channel)
        return Plate(self, self.origin, chosen, rule, tone, crop, layout, inside, memory, progress, own, percentile)

    def _repr_html_(self) -> str:
        from .html import scan_html

        return scan_html(self)
