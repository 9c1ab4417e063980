"""Write docs/zoo-families.md: nets of every family of timm - CNNs, hybrids, transformers - against an oracle.

    python benchmarks/zoo_families.py              # what docs/data/zoo-families.json lacks (all: about two hours on one core)
    python benchmarks/zoo_families.py NAME ...     # these, again

Of each family small nets whose names tell that they are built in different ways, at least three where there are as many, and
more of large families; and nets with unusual options. Random weights, two images, double precision. In an early, a
middle and a late module with maps a random signal goes down by the gradient rule, and is compared with `held_oracle.py`.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import re
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from held_oracle import CLOSE, by_autograd, deviation
from torch import nn

import deconvnet

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DATA = DOCS / "zoo-families.md", DOCS / "data" / "zoo-families.json"

T = torch.Tensor
SECONDS = 150  # of a processor, for one net
SIZES = (64, 84, 96, 128, None)  # sides of images, in pixels; None: as the net was made for
MEMORY = 8 << 30  # bytes that a net may take; csatv2 takes seven gigabytes
LARGEST = 310_000_000  # parameters
MANY = 75_000_000  # parameters from which on options make a net smaller
#: What names call small, the smallest first.
SMALL = [
    "test_",
    "atto",
    "femto",
    "pico",
    "xxs",
    "xxt",
    "xx_small",
    "zepto",
    "nano",
    "_002",
    "_050",
    "_00",
    "tiny",
    "mini",
    "ultra",
    "_t0",
    "18",
    "_s0",
]
SMALL += ["_m0", "_b0", "xs", "_t", "small", "lite", "micro", "_s", "26", "34", "_n0", "_0"]

#: Families by kind; all others are CNNs. Mixers of tokens count as transformers.
KINDS = {
    "transformers": """ beit cait convit crossvit davit deepseek_vit deit eva gcvit gemma4_vit hiera hieradet_sam2 mlp_mixer
        mvitv2 naflexvit nest pvt_v2 qwen3_vit sequencer swin_transformer swin_transformer_v2 swin_transformer_v2_cr tnt twins
        vision_transformer vision_transformer_relpos vision_transformer_sam volo xcit """,
    "hybrids": """ byoanet coat cpubone csatv2 edgenext efficientformer efficientformer_v2 efficientvim efficientvit_mit
        efficientvit_msra fastvit iformer levit lowformer maxxvit metaformer mobilenetv5 mobilevit nextvit pit shvit swiftformer
        tiny_vit vision_transformer_hybrid visformer vitamin """,
}

#: Names that say only how large a net is, or what it was trained on.
SIZE_WORDS = r"(_\d+|\d+)|atto|femto|pico|zepto|nano|tiny|mini|small|medium|base|large|huge|giant|gigantic|enormous|micro|ultra"
SIZE_WORDS += r"|xx*(?=_)|_[smltbhx]+(?=_|$)|plus|in\d*k|ft\d*k|tf_|ssl_|swsl_|gluon_|adv_|_ns(?=_|$)|_ap(?=_|$)|miil"

#: Large nets that timm's own options make smaller.
SMALLER: dict[str, dict[str, Any]] = {
    "transformers": {"depth": 2},
    "vgg11": {"num_classes": 0},
}

#: Nets as people build them by options, and their images' sides.
ODD: list[tuple[str, str, dict[str, Any], int]] = [
    ("vision_transformer", "vit_tiny_patch16_224", {"dynamic_img_size": True}, 80),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": (64, 96), "reg_tokens": 4}, 0),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": 64, "num_classes": 0, "in_chans": 1}, 64),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": 64, "global_pool": "avg", "class_token": False}, 64),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": 64, "global_pool": "map"}, 64),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": 64, "features_only": True}, 64),
    ("vision_transformer", "vit_tiny_patch16_224", {"img_size": 64, "init_values": 1e-5, "qk_norm": True}, 64),
    ("swin_transformer", "swin_tiny_patch4_window7_224", {"img_size": (64, 96), "features_only": True}, 0),
    ("swin_transformer", "swin_tiny_patch4_window7_224", {"strict_img_size": False}, 96),
    ("swin_transformer_v2", "swinv2_tiny_window8_256", {"img_size": 64, "in_chans": 1, "num_classes": 0}, 64),
    ("resnet", "resnet18", {"in_chans": 1, "num_classes": 0}, 64),
    ("resnet", "resnet26t", {"features_only": True}, 64),
    ("resnet", "resnet26d", {"output_stride": 8, "global_pool": "catavgmax"}, 64),
    ("resnet", "resnet18", {"global_pool": "", "num_classes": 0, "norm_layer": "groupnorm1"}, 64),
    ("convnext", "convnext_atto", {"features_only": True, "out_indices": (1, 3)}, 64),
    ("convnext", "convnextv2_atto", {"in_chans": 4, "conv_mlp": True}, 64),
    ("efficientnet", "efficientnet_b0", {"features_only": True, "output_stride": 16}, 64),
    ("mobilenetv3", "mobilenetv3_small_050", {"in_chans": 1, "global_pool": "max"}, 64),
    ("eva", "eva02_tiny_patch14_224", {"img_size": 56, "dynamic_img_size": True, "global_pool": "token"}, 70),
    ("deit", "deit_tiny_distilled_patch16_224", {"img_size": 64, "features_only": True}, 64),
    ("maxxvit", "coatnet_pico_rw_224", {"img_size": 64, "features_only": True}, 64),
    ("mobilevit", "mobilevitv2_050", {"in_chans": 1, "features_only": True}, 64),
    ("hrnet", "hrnet_w18_small", {"features_only": True}, 64),
    ("xcit", "xcit_nano_12_p8_224", {"in_chans": 1, "num_classes": 0}, 64),
]

#: Why nets are rightly refused.
AMONG_IMAGES = " It attends among the images of the batch: the queries (N, L) of one picture meet the keys of another."
NOTES = dict.fromkeys(("csatv2", "csatv2_21m"), AMONG_IMAGES)

HEAD = """# The zoo, family by family

Written by `benchmarks/zoo_families.py` with torch {torch} and timm {timm}. Of every family of timm small
nets that are built in different ways, {count} in all, with random weights, two images, double precision. In an early, a middle
and a late module a random signal goes down by the gradient rule, and is compared with an independent oracle: autograd with
patterns of attention, gates and statistics of norms held. *Agrees*: in all three modules no pixel deviates by more than 1e-5 of
the largest one.

| nets | agree | differ | refused | could not say |
|---|---|---|---|---|
{counts}

*Refused*: a call on the way has no rule, and the projection says so. *Could not say*: more than 310 million parameters,
{seconds} seconds of a processor or 8 GB of memory, or nothing to compare with. Mixers count as transformers. In brackets:
options of `timm.create_model`.

"""


class Late(BaseException):
    """A net took too long; a rule that meets it must not take it for an error of its own."""


@dataclass(frozen=True)
class Verdict:
    """What was found of a net.

    Attributes:
        outcome: "agrees", "differs", "refused" or "could not say".
        text: the largest deviation, or the reason.
    """

    outcome: str
    text: str


@dataclass(frozen=True)
class Net:
    """A net of a family, and how it is made.

    Attributes:
        family: timm's module.
        name: timm's name.
        options: of `timm.create_model`; None: whatever makes the net and its images small.
        size: of the images' sides, in pixels; 0: as the option `img_size` says.
    """

    family: str
    name: str
    options: dict[str, Any] | None = None
    size: int = 0

    @property
    def title(self) -> str:
        """The name, with the options."""
        options = ", ".join(f"{name}={value}" for name, value in (self.options or {}).items())
        return f"{self.name} ({options})" if options else self.name


@dataclass(frozen=True)
class Row:
    """A net, its family and kind, the size of its images in pixels, and what was found."""

    kind: str
    family: str
    name: str
    size: list[int]
    verdict: Verdict


def nets() -> Iterator[Net]:
    """Yield nets of each family, first the smallest of each."""
    known = {family: chosen(list(names)) for family, names in sorted(timm.models._registry._module_to_models.items())}
    for rank in range(max(map(len, known.values()))):
        yield from (Net(family, names[rank]) for family, names in known.items() if rank < len(names))
        if not rank:
            yield from (Net(*odd) for odd in ODD)


def chosen(names: list[str]) -> list[str]:
    """Return small nets of a family that are built in different ways, as far as names tell."""
    names = [name for name in names if not re.search("huge|giant|xlarge", name)]
    by_way: dict[str, str] = {}
    for name in sorted(names, key=smallness):
        by_way.setdefault(re.sub(SIZE_WORDS, "", name).strip("_"), name)
    ways = list(by_way.values())
    others = [name for name in sorted(names, key=smallness) if name not in ways]
    return (ways + others)[: max(3, (len(ways) + 2) // 3)]


def smallness(name: str) -> tuple[int, int, str]:
    """Return what to sort names by, so that small nets come first."""
    return next((rank for rank, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name


def count_parameters(name: str, options: dict[str, Any]) -> int:
    """Return how many parameters a net has, without making any."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name, pretrained=False, **options).parameters())


def kind_of(family: str) -> str:
    """Return "transformers", "hybrids" or "CNNs"."""
    return next((kind for kind, families in KINDS.items() if family in families.split()), "CNNs")


def build(net: Net) -> tuple[nn.Module, list[int]]:
    """Return a net in double precision, with no parameter that begins as zero, and the size of images that it takes."""
    model, size = smallest(net.name, kind_of(net.family)) if net.options is None else as_asked(net)
    for parameter in model.parameters():
        if parameter.numel() and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
        elif parameter.numel() and parameter.dim() <= 3 and float(parameter.abs().max()) <= 1e-4:
            nn.init.constant_(parameter, 0.3)
    return model.double(), size


def as_asked(net: Net) -> tuple[nn.Module, list[int]]:
    """Return a net with its options, and the size of its images: channels, rows, columns."""
    torch.manual_seed(0)
    options = net.options or {}
    model = timm.create_model(net.name, pretrained=False, **options).eval()
    sides = [net.size] * 2 if net.size else list(options["img_size"])
    return model, [options.get("in_chans", 3), *sides]


def smallest(name: str, kind: str) -> tuple[nn.Module, list[int]]:
    """Return a net, made for as small images as it can be made for, and their size: channels, rows, columns."""
    fewer = next((option for word, option in SMALLER.items() if word in (name, kind)), {})
    fewer = fewer if count_parameters(name, {}) > MANY else {}
    for size in SIZES:
        for options in ({"img_size": size, **fewer}, {"img_size": size}, fewer, {}):
            torch.manual_seed(0)
            try:
                if count_parameters(name, options) > LARGEST:
                    continue
                model = timm.create_model(name, pretrained=False, **options).eval()
                side = size or model.default_cfg["input_size"][1]
                with torch.no_grad():
                    model(torch.zeros(2, 3, side, side))
            except Exception:  # each net refuses other sizes and options in its own way
                continue
            return model, [3, side, side]
    raise RuntimeError("it takes no image, or has too many parameters")


def compare(chosen: Net) -> tuple[list[int], Verdict]:
    """Return the size of the images, and the worst that is to say of three modules."""
    model, size = build(chosen)
    net, images = deconvnet.DeconvNet(model), torch.randn(2, *size, dtype=torch.float64).requires_grad_()
    recording, modules = net.record(images.detach()), dict(model.named_modules())
    records = [record for record in recording.records().values() if record.value is not None and record.name in modules]
    layers = [record.name for record in records if recording.tape.map_axes(record.number)[0] is not None]
    outputs = by_autograd(model, images, layers)
    verdicts = [judge(net, recording, images, layer, output) for layer, output in outputs.items()]
    order = ("differs", "refused", "could not say", "agrees")
    return size, min(verdicts, key=lambda verdict: order.index(verdict.outcome))


def judge(net: deconvnet.DeconvNet, recording: deconvnet.Recording, images: T, layer: str, output: T) -> Verdict:
    """Compare one layer's way down with the oracle's."""
    try:
        worst = deviation(net, recording, images, layer, output)
    except deconvnet.DeconvnetError as error:
        return Verdict("could not say" if "allocate memory" in str(error) else "refused", str(error))
    if worst is None:
        return Verdict("could not say", f"{layer}: the oracle finds no way down")
    if worst < CLOSE:
        return Verdict("agrees", f"{worst:.0e}")
    return Verdict("differs" if worst == worst else "could not say", f"{layer}: {worst:.0e}")


def stop(*_: Any) -> None:
    """End a net that takes too long."""
    raise Late


def measure(net: Net) -> Row:
    """Measure one net, within bounds of time and memory."""
    size, started = [0, 0, 0], time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        size, verdict = compare(net)
    except Late:
        verdict = Verdict("could not say", f"more than {SECONDS} seconds")
    except Exception as error:
        verdict = Verdict("could not say", reason(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.collect()
    spent = time.process_time() - started
    print(f"{spent:5.1f} s {net.family} {net.title} {size}: {verdict.outcome}: {verdict.text}", file=sys.stderr, flush=True)
    return Row(kind_of(net.family), net.family, net.title, size, verdict)


def reason(error: Exception) -> str:
    """Return an error in one line."""
    return (
        "more memory" if "allocate memory" in str(error) else f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    )


def page(rows: list[Row]) -> str:
    """Return the page: counts, what does not agree and why, and all nets by name."""
    outcomes = ("agrees", "differs", "refused", "could not say")
    counts = []
    for kind in ("CNNs", "hybrids", "transformers"):
        count = Counter(row.verdict.outcome for row in rows if row.kind == kind)
        counts.append(f"| {kind} | " + " | ".join(str(count[outcome]) for outcome in outcomes) + " |")
    text = HEAD.format(
        torch=torch.__version__.split("+")[0], timm=timm.__version__, count=len(rows), seconds=SECONDS, counts="\n".join(counts)
    )
    others = [row for row in rows if row.verdict.outcome != "agrees"]
    text += "## What does not agree\n\n| net | family | outcome | why |\n|---|---|---|---|\n"
    for row in sorted(others, key=lambda row: (outcomes.index(row.verdict.outcome), row.family, row.name)):
        reason = row.verdict.text.replace("|", "\\|").replace(" Add one: see docs/your-own-rule.md.", "")
        reason += NOTES.get(row.name, "")
        text += f"| {row.name} | {row.family} | {row.verdict.outcome} | {reason} |\n"
    text += "\n## What agrees\n\n| kind | nets |\n|---|---|\n"
    for kind in ("CNNs", "hybrids", "transformers"):
        names = sorted(row.name for row in rows if row.kind == kind and row.verdict.outcome == "agrees")
        text += f"| {kind} | {', '.join(names)} |\n"
    return text


def read() -> dict[str, Row]:
    """Return what was measured, by title."""
    rows = json.loads(DATA.read_text()) if DATA.exists() else []
    return {row["name"]: Row(**{**row, "verdict": Verdict(**row["verdict"])}) for row in rows}


def write(rows: dict[str, Row]) -> None:
    """Keep what was measured, and write the page."""
    known = {net.title for net in nets()}
    ordered = sorted((row for row in rows.values() if row.name in known), key=lambda row: (row.family, row.name))
    DATA.write_text("[\n" + ",\n".join(json.dumps(dataclasses.asdict(row)) for row in ordered) + "\n]\n")
    PAGE.write_text(page(ordered))


def main() -> None:
    """Measure what is missing, or the nets that are named, and write after each: a run that is ended loses nothing."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    named, rows, known = sys.argv[1:], read(), list(nets())
    waiting = [net for net in known if net.title in named or net.name in named] if named else known
    for net in waiting:
        if named or net.title not in rows:
            row = measure(net)
            rows[row.name] = row
            write(rows)


if __name__ == "__main__":
    main()
