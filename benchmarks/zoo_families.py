"""Write docs/zoo-families.md: nets of every family of timm - CNNs, hybrids, transformers - against an oracle.

    python benchmarks/zoo_families.py              # all of them: writes the page (about half an hour on one core)
    python benchmarks/zoo_families.py NAME ...     # some of them: prints what is found

Of each family one small net, as far as names tell. Random weights, two images, double precision. In an early, a middle and a
late module with maps a random signal goes down by the gradient rule, and is compared with autograd with the same things held:
patterns of attention, gates, statistics of norms, and the smaller factor or divisor of two of different sizes.
"""

from __future__ import annotations

import gc
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
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import deconvnet

PAGE = Path(__file__).parents[1] / "docs" / "zoo-families.md"

T = torch.Tensor
SECONDS = 30  # of a processor, for one net
SIZES = (64, 128, None)  # sides of images, in pixels; None: as the net was made for
MEMORY = 6 << 30  # bytes that a net may take; csatv2 takes seven gigabytes
LARGEST = 90_000_000  # parameters
CLOSE = 1e-5  # deviation, relative to the largest pixel
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

#: What was found out about a net whose row needs it.
NOTES = {
    "iformer_t": " (the oracle holds a sigmoid of which the net takes half as values: where it does not, both agree to 1e-15)",
}

GATES = (F.softmax, torch.softmax, T.softmax, torch.sigmoid, T.sigmoid, T.sigmoid_, F.sigmoid, F.hardsigmoid)
PRODUCTS = (torch.mul, T.mul, T.mul_, torch.div, T.div, T.true_divide)

HEAD = """# The zoo, family by family

Written by `benchmarks/zoo_families.py` with torch {torch} and timm {timm}. Of every family of timm one small
net, with random weights, two images, double precision. In an early, a middle and a late module a random signal
goes down by the gradient rule, and is compared with an independent oracle: autograd with patterns of attention, gates and
statistics of norms held. *Agrees*: in all three modules no pixel deviates by more than 1e-5 of the largest one.

| nets | agree | differ | refused | could not say |
|---|---|---|---|---|
{counts}

*Refused*: a call on the way has no rule, and the projection says so. *Could not say*: more than 90 million parameters, 30
seconds of a processor or 6 GB of memory, or nothing to compare with. Mixers count as transformers.

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
class Row:
    """A net, its family and kind, the side of its images in pixels, and what was found."""

    kind: str
    family: str
    name: str
    size: int
    verdict: Verdict


class Held(TorchFunctionMode):
    """Lets autograd see what the mirror holds as constants."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in GATES:
            return func(*args, **kwargs).detach()
        if func in PRODUCTS and len(args) > 1 and all(isinstance(x, T) and x.requires_grad for x in args[:2]):
            return held_product(func, args, kwargs)
        if func is F.scaled_dot_product_attention:
            return held_attention(*args, **kwargs)
        if func in (F.layer_norm, F.group_norm):
            return held_norm(func, *args, **kwargs)
        if func is F.normalize:
            dim = kwargs.get("dim", args[2] if len(args) > 2 else 1)
            return args[0] / args[0].norm(dim=dim, keepdim=True).clamp(min=1e-12).detach()
        return func(*args, **kwargs)


def held_product(func: Any, args: Any, kwargs: Any) -> T:
    """Hold the smaller of two factors, and a divisor that is smaller than what it divides."""
    first, second = args[:2]
    if second.numel() < first.numel():
        second = second.detach()
    elif first.numel() < second.numel() and "mul" in func.__name__:
        first = first.detach()
    return func(first, second, *args[2:], **kwargs)


def held_attention(
    q: T, k: T, v: T, attn_mask: T | None = None, dropout_p: float = 0, scale: float | None = None, **rest: Any
) -> T:
    """Attention from its definition, with the pattern held."""
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1).detach() @ v


def held_norm(func: Any, x: T, groups: Any, weight: T | None = None, bias: T | None = None, eps: float = 1e-5) -> T:
    """A layer norm, or a group norm, from its definition, with its statistics held."""
    rows = x.flatten(-len(groups)) if func is F.layer_norm else x.reshape(len(x), groups, -1)
    mean, variance = rows.mean(-1, keepdim=True).detach(), rows.var(-1, unbiased=False, keepdim=True).detach()
    normed = ((rows - mean) / (variance + eps).sqrt()).reshape(x.shape)
    size = () if func is F.layer_norm else (1, -1, *[1] * (x.dim() - 2))
    for parameter, call in ((weight, torch.mul), (bias, torch.add)):
        if parameter is not None:
            normed = call(normed, parameter.reshape(size) if size else parameter)
    return normed


def families() -> Iterator[tuple[str, str]]:
    """Yield (family, net), a small net of each family, as far as names tell."""
    for family, names in sorted(timm.models._registry._module_to_models.items()):
        yield family, min(names, key=smallness)


def smallness(name: str) -> tuple[int, int, str]:
    """Return what to sort names by, so that small nets come first."""
    return next((rank for rank, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name


def count_parameters(name: str) -> int:
    """Return how many parameters a net has, without making any."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name, pretrained=False).parameters())


def kind_of(family: str) -> str:
    """Return "transformers", "hybrids" or "CNNs"."""
    return next((kind for kind, families in KINDS.items() if family in families.split()), "CNNs")


def build(name: str) -> tuple[nn.Module, int]:
    """Return a net in double precision, with no parameter that begins as zero, and the smallest of some sizes that it takes."""
    model, size = smallest(name)
    for parameter in model.parameters():
        if parameter.numel() and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
        elif parameter.numel() and parameter.dim() <= 3 and float(parameter.abs().max()) <= 1e-4:
            nn.init.constant_(parameter, 0.3)
    return model.double(), size


def smallest(name: str) -> tuple[nn.Module, int]:
    """Return a net, made for as small images as it can be made for, and their side."""
    for size in SIZES:
        for options in ({"img_size": size}, {}):
            torch.manual_seed(0)
            try:
                model = timm.create_model(name, pretrained=False, **options).eval()
                side = size or model.default_cfg["input_size"][1]
                with torch.no_grad():
                    model(torch.zeros(2, 3, side, side))
            except Exception:  # each net refuses other sizes in its own way
                continue
            return model, side
    raise RuntimeError("it takes no image")


def compare(name: str) -> tuple[int, Verdict]:
    """Return the side of the images, and the worst that is to say of three modules."""
    model, size = build(name)
    net, images = deconvnet.DeconvNet(model), torch.randn(2, 3, size, size, dtype=torch.float64).requires_grad_()
    recording, modules = net.record(images.detach()), dict(model.named_modules())
    records = [record for record in recording.records().values() if record.value is not None and record.name in modules]
    layers = [record.name for record in records if recording.tape.map_axes(record.number)[0] is not None]
    layers = [layers[at] for at in (len(layers) // 4, len(layers) // 2, len(layers) - 1)]
    outputs = by_autograd(model, images, layers)
    verdicts = [judge(net, recording, images, layer, outputs[layer]) for layer in layers]
    order = ("differs", "refused", "could not say", "agrees")
    return size, min(verdicts, key=lambda verdict: order.index(verdict.outcome))


def by_autograd(model: nn.Module, images: T, layers: list[str]) -> dict[str, T]:
    """Run a net once with what is held held, and return what the first call of each layer made."""
    outputs: dict[str, T] = {}

    def keep(layer: str, output: Any) -> None:
        outputs.setdefault(layer, first_of(output) * 1)

    hooks = [
        model.get_submodule(layer).register_forward_hook(lambda _, inputs, output, layer=layer: keep(layer, output))
        for layer in layers
    ]
    with Held():
        model(images)
    for hook in hooks:
        hook.remove()
    return outputs


def judge(net: deconvnet.DeconvNet, recording: deconvnet.Recording, images: T, layer: str, output: T) -> Verdict:
    """Compare one layer's way down with the oracle's."""
    start = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    try:
        found = net.project_signal(recording, layer, start, rule="gradient", silent="first")
        net.project(recording, layer, channels=[0], image=1)  # a unit goes down, too
    except deconvnet.DeconvnetError as error:
        return Verdict("could not say" if "allocate memory" in str(error) else "refused", str(error))
    (expected,) = torch.autograd.grad(output, images, start, allow_unused=True, retain_graph=True)
    if expected is None or not expected.any():
        return Verdict("could not say", f"{layer}: the oracle finds no way down")
    worst = float((found - expected).abs().max() / expected.abs().max())
    if worst < CLOSE:
        return Verdict("agrees", f"{worst:.0e}")
    return Verdict("differs" if worst == worst else "could not say", f"{layer}: {worst:.0e}")


def first_of(output: Any) -> T:
    """Return a tensor, or the first of several."""
    return output if isinstance(output, T) else first_of(next(iter(output)))


def stop(*_: Any) -> None:
    """End a net that takes too long."""
    raise Late


def row(family: str, name: str) -> Row:
    """Measure one net, within bounds of time and memory."""
    size, started = 0, time.process_time()
    try:
        if family and count_parameters(name) > LARGEST:
            verdict = Verdict("could not say", "more than 90 million parameters")
        else:
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            size, verdict = compare(name)
    except Late:
        verdict = Verdict("could not say", f"more than {SECONDS} seconds")
    except Exception as error:
        verdict = Verdict("could not say", reason(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.collect()
    spent = time.process_time() - started
    print(f"{spent:5.1f} s {family} {name} {size}: {verdict.outcome}: {verdict.text}", file=sys.stderr, flush=True)
    return Row(kind_of(family), family, name, size, verdict)


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
    text = HEAD.format(torch=torch.__version__.split("+")[0], timm=timm.__version__, counts="\n".join(counts))
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


def main() -> None:
    """Measure all families and write the page; or print what is found of those named."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    named, rows = sys.argv[1:], []
    for family, name in [("", name) for name in named] or families():
        rows.append(row(family, name))
        if not named:  # after each: what was measured stays where a run is ended
            PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
