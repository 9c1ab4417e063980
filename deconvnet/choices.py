"""Options that take one of a few words: the same words in Python, as flags, in files and in captions.

Nothing is imported here, so that a command can offer these words without loading what they stand for.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

#: How signed values become pixels: see `deconvnet.render.tone`.
Tone: TypeAlias = Literal["soft", "symmetric", "shared", "grey", "minmax", "positive", "magnitude", "sigmoid"]

#: Which part of pixel space a tile shows: where the projection's energy is, the unit's window, or the whole frame.
Crop: TypeAlias = Literal["energy", "window", "whole"]

#: How a plate is laid out: captioned panels, or blocks without words in them, as the paper's Figure 2.
PlateLayout: TypeAlias = Literal["panels", "paper"]

#: What channels are sorted by: how much stronger they are on their best pictures than on others, how strong they are there, or
#: how much of their projections is of their own pictures.
TableSort: TypeAlias = Literal["selectivity", "strength"]
ChannelSort: TypeAlias = Literal["selectivity", "strength", "own"]

#: What reverses ReLUs and max pools: by name, or by the bits mask, switches, rectify ("FTT" is "deconvnet").
RuleName: TypeAlias = Literal[
    "deconvnet", "guided", "gradient", "FFF", "FFT", "FTF", "FTT", "TFF", "TFT", "TTF", "TTT"
]  # fmt: skip

#: A rule, or "auto": the deconvnet where switches lie between a layer and the pixels, guided where none do.
RuleChoice: TypeAlias = Literal[
    "auto", "deconvnet", "guided", "gradient", "FFF", "FFT", "FTF", "FTT", "TFF", "TFT", "TTF", "TTT"
]  # fmt: skip

#: What a pixel receives that is the maximum of several pooling windows: all that comes down, or the last.
Overlap: TypeAlias = Literal["sum", "last"]

#: What becomes of the signal of a pooling window in which nothing fired, and which so has no maximum: it is dropped, or goes to
#: the window's first place, as in autograd.
Silent: TypeAlias = Literal["drop", "first"]

#: What a pool takes of each window.
Pool: TypeAlias = Literal["max", "mean"]

#: How a segmentation net unpools: by switches, into a fixed corner, or by repeating each value.
Unpooling: TypeAlias = Literal["switch", "fixed", "nearest"]

#: What a signal does where a net attends: the pattern of attention is held, as switches are, or is a factor of a product.
Attending: TypeAlias = Literal["held", "product"]

#: How local response normalisation is mirrored.
LRN: TypeAlias = Literal["identity", "derivative"]

#: What a projection starts from: the unit's activation, or 1.
Start: TypeAlias = Literal["activation", "one"]

#: Where to compute; "auto" takes a GPU if there is one.
Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]

#: What reads the pictures of a scan beside the net: threads of the same process, or processes.
ReaderKind: TypeAlias = Literal["threads", "processes"]

#: What a scan computes with: float32, NVIDIA's TF32, or bfloat16 where autocast takes it.
Precision: TypeAlias = Literal["fp32", "tf32", "bf16"]

#: How a JPEG is decoded: by Pillow; a large one at a half, a quarter or an eighth of its sides; or, in a scan, by the GPU.
Decode: TypeAlias = Literal["exact", "reduced", "gpu"]

#: How a picture is resized: Pillow's filters.
Interpolation: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]

#: What a study's covered pixels become; "edge" continues the border, where a picture is moved.
FillName: TypeAlias = Literal["mean", "picture", "black", "white"]
BorderName: TypeAlias = Literal["mean", "picture", "black", "white", "edge"]

#: What makes a map the strongest of its layer: its total activation, or its maximum.
StrongestBy: TypeAlias = Literal["total", "max"]

#: Along which axis `invariance` translates pictures, how it takes pixels from between pixels, and how it measures distances.
TranslationAxis: TypeAlias = Literal["vertical", "horizontal"]
GridInterpolation: TypeAlias = Literal["bilinear", "bicubic", "nearest"]
Distance: TypeAlias = Literal["relative", "rms", "plain"]

#: What runs a scan: this process, or workers on the machines of a Ray cluster.
EngineName: TypeAlias = Literal["local", "ray"]

TONES: tuple[Tone, ...] = get_args(Tone)
CROPS: tuple[Crop, ...] = get_args(Crop)
PLATE_LAYOUTS: tuple[PlateLayout, ...] = get_args(PlateLayout)
TABLE_SORTS: tuple[TableSort, ...] = get_args(TableSort)
CHANNEL_SORTS: tuple[ChannelSort, ...] = get_args(ChannelSort)
OVERLAPS: tuple[Overlap, ...] = get_args(Overlap)
SILENTS: tuple[Silent, ...] = get_args(Silent)
POOLS: tuple[Pool, ...] = get_args(Pool)
UNPOOLINGS: tuple[Unpooling, ...] = get_args(Unpooling)
ATTENDINGS: tuple[Attending, ...] = get_args(Attending)
LRNS: tuple[LRN, ...] = get_args(LRN)
STARTS: tuple[Start, ...] = get_args(Start)
DEVICES: tuple[Device, ...] = get_args(Device)
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)
FILLS: tuple[FillName, ...] = get_args(FillName)
BORDERS: tuple[BorderName, ...] = get_args(BorderName)
STRONGEST_BY: tuple[StrongestBy, ...] = get_args(StrongestBy)
TRANSLATION_AXES: tuple[TranslationAxis, ...] = get_args(TranslationAxis)
GRID_INTERPOLATIONS: tuple[GridInterpolation, ...] = get_args(GridInterpolation)
DISTANCES: tuple[Distance, ...] = get_args(Distance)
DECODES: tuple[Decode, ...] = get_args(Decode)
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
READERS: tuple[ReaderKind, ...] = get_args(ReaderKind)
