"""On a GPU: the same projections as on the CPU, and the same bytes each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

import deconvnet
from deconvnet.errors import MissingPackageError
from deconvnet.graphs import CHECKS, PLAIN_WAYS
from deconvnet.images import Preprocess
from deconvnet.images.plain_jpeg import plain_jpeg_size
from deconvnet.projection import project_units
from deconvnet.rules.pool import MaxPool2d
from deconvnet.rules.switches import unpool, unpool_by_offsets
from deconvnet.scanning.device_jpegs import DeviceCrops, find_decoder
from deconvnet.scanning.device_resize import crop_frames
from deconvnet.scanning.jpegs import Jpeg
from deconvnet.scanning.pictures import collate, prepare
from support.nets import randomise_norms
from support.oracle import relative
from support.scans import drawing, drawings, dump, rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

LAYERS = {
    "alexnet": ("features.4", "features.11", "classifier.2"),
    "vgg11": ("features.7", "features.19"),
    "resnet50": ("layer2", "layer4"),
    "googlenet": ("inception3a", "inception4e"),
    "densenet121": ("features.denseblock2",),
    "mobilenet_v3_small": ("features.5",),
    "convnext_tiny": ("features.3.1",),
}


@pytest.fixture(autouse=True)
def full_precision():
    """Compare without TF32, which rounds factors to ten bits."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def net_of(name, device, dtype=torch.float32, **options):
    torch.manual_seed(0)
    weights = {"init_weights": False} if name == "googlenet" else {}
    model = randomise_norms(torchvision.models.get_model(name, weights=None, **weights)).to(device, dtype)
    return deconvnet.DeconvNet(model, **options)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient", "FFT"])
def test_equals_the_cpu(name, rule):
    """In double precision, where no switch flips by rounding, units and whole maps are those of the CPU."""
    images = torch.randn(2, 3, 107, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gpu, cpu = net_of(name, "cuda", torch.float64), net_of(name, "cpu", torch.float64)
    gpu_recording, cpu_recording = gpu.record(images), cpu.record(images)
    for layer in LAYERS[name]:
        for unit in ("max", "map"):
            on_gpu, on_cpu = (
                net.project(recording, layer, top=5, at=unit, rule=rule, image=1)
                for net, recording in ((gpu, gpu_recording), (cpu, cpu_recording))
            )
            assert [str(unit) for unit in on_gpu.units] == [str(unit) for unit in on_cpu.units]
            assert on_gpu.windows == on_cpu.windows
            assert relative(on_gpu.pixels, on_cpu.pixels) < 1e-6  # hardswish's kernels differ by that in double, too


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("overlap", ["sum", "last"])
def test_windowed_equals_full(name, overlap, monkeypatch):
    """Patches of many units, moved by one call for all, are what the full frame gives; float32, one recording."""
    net = net_of(name, "cuda", overlap=overlap)
    recording = net.record(torch.randn(2, 3, 107, 128))
    for layer in LAYERS[name]:
        channels, rows, cols = recording.stored_maps(layer).shape[1:]
        positions = [(n % channels, (n * 5) % rows, (n * 3) % cols) for n in range(12)] + [(0, rows - 1, cols - 1), (1, 0, 0)]
        units = net.project(recording, layer, units=positions).units
        monkeypatch.setattr("deconvnet.windowed.MIN_SAVED_VALUES", 0)
        _, parts = project_units(recording, layer, units, net.rules, "one")
        _, full = project_units(recording, layer, units, net.rules, "one", windowed=False)
        for part, whole in zip(parts, full, strict=True):
            assert part.shape == whole.shape
            assert relative(part, whole) < 1e-4 or not (part.any() or whole.any())


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg11"])
def test_same_bytes(name):
    """The same call gives the same bytes, for single units and whole maps, where pools overlap too."""
    net = net_of(name, "cuda")
    recording = net.record(torch.randn(1, 3, 224, 224))
    layer = LAYERS[name][-2]
    for unit in ("max", "map"):
        first = net.project(recording, layer, top=32, at=unit).pixels
        for _ in range(5):
            assert torch.equal(net.project(recording, layer, top=32, at=unit).pixels, first)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "resnet50", "vgg11", "densenet121", "convnext_tiny"])
@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_graphs_give_the_same_bytes(name, rule):
    """Each further map by a graph has the bytes of the plain way, and there is one graph: none of these nets refuses it."""
    images, layer = torch.randn(1, 3, 224, 224), LAYERS[name][0]
    plain, graphed = net_of(name, "cuda"), net_of(name, "cuda", graphs=True)
    recordings = [net.record(images, layers=[layer]) for net in (plain, graphed)]
    for channel in range(8):
        expected, found = (
            net.project(recording, layer, channels=[channel], at="map", rule=rule).pixels
            for net, recording in zip((plain, graphed), recordings, strict=True)
        )
        assert torch.equal(found, expected)
    (known,) = recordings[1].tape_for(layer, graphed.table(rule)).cache.graphs._ways.values()
    assert (known.plain, known.checked, known.failed) == (PLAIN_WAYS, CHECKS, False)
    assert found.any()


@pytest.mark.parametrize("geometry", [(3, 2, 0, 1), (3, 2, 1, 1), (2, 2, 0, 1), (5, 1, 2, 1), (3, 1, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unpooling(geometry, dtype):
    """ATen's kernel equals the plain way, is the same each time although many windows share a switch, and obeys when forbidden."""
    kernel, stride, padding, dilation = geometry
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 3, (4, 32, 63, 61), generator=generator).to("cuda", dtype)  # many equal values
    images += torch.rand((4, 32, 1, 1), generator=generator).to("cuda", dtype)

    class Pool(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.max_pool2d(x, kernel, stride, padding, dilation)

    recording = deconvnet.DeconvNet(Pool()).record(images)
    (call,) = (call for call in recording.tape.calls if isinstance(recording.tape.rule(call), MaxPool2d))
    saved = call.saved
    signal = torch.randn(saved.switches.shape, generator=generator).to("cuda", dtype)
    first = unpool(signal, saved.switches, saved)
    assert relative(first, unpool_by_offsets(signal, saved.switches, saved)) < 1e-6
    assert all(torch.equal(unpool(signal, saved.switches, saved), first) for _ in range(20))
    torch.use_deterministic_algorithms(True)
    try:
        assert relative(unpool(signal, saved.switches, saved), first) < 1e-6
    finally:
        torch.use_deterministic_algorithms(False)


def test_untouched():
    """The model comes back on its device, with its flags and weights."""
    net = net_of("resnet50", "cuda")
    before = {name: value.clone() for name, value in net.model.state_dict().items()}
    net.project(net.record(torch.randn(2, 3, 96, 96)), "layer3")
    assert all(torch.equal(value, before[name]) and value.is_cuda for name, value in net.model.state_dict().items())


def test_memory_is_bounded():
    """Two thousand units stream through in batches: the peak stays far below what they would take at once."""
    net = net_of("vgg11", "cuda")
    recording = net.record(torch.randn(1, 3, 224, 224), layers=["features.19"])
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    base = torch.cuda.memory_allocated()
    units = [(n % 512, n % 14, n // 14 % 14) for n in range(500)]
    net.project(recording, "features.19", units=units, memory=2**30)
    assert torch.cuda.max_memory_allocated() - base < 2**31  # at once: 500 x 64 maps of 224x224 alone are 6 GiB


def test_real_net(shared):
    """The real SqueezeNet on a photograph: float32 on both devices, each on its own recording."""
    weights = str(shared / "weights" / "squeezenet1_0.safetensors")
    picture = sorted((shared / "images" / "imagenet-sample").glob("*.jpg"))[3]
    projections = []
    for device in ("cuda", "cpu"):
        net = deconvnet.DeconvNet(deconvnet.load_model("torchvision:squeezenet1_0", weights=weights, device=device))
        projections.append(net.project(net.record([picture]), "features.10"))
    assert [str(unit) for unit in projections[0].units] == [str(unit) for unit in projections[1].units]
    assert relative(projections[0].pixels, projections[1].pixels) < 1e-3


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    drawings(folder, 90)
    (folder / "05.png").write_bytes(b"no picture")
    return folder


TABLES = ("layers", "pictures", "shards", "hits", "channels", "digests")


@pytest.mark.parametrize("options", [{}, {"readers": "processes"}, {"batch": 7}], ids=str)
def test_a_scan_is_the_cpu_s_up_to_near_ties(photos, tmp_path, options):
    """Activations within 1e-4 of the CPU's, pictures up to swaps among near ties; two runs, one of them continued, are equal."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny", device="cuda"))
    layers = ["features.1", "features.4"]
    for name, limits in (("a", (None,)), ("b", (64, None))):
        for limit in limits:
            deconvnet.scan(net, photos, tmp_path / name, layers=layers, shard=32, limit=limit, **options).close()
    assert dump(tmp_path / "a", *TABLES) == dump(tmp_path / "b", *TABLES)
    on_cpu = deconvnet.DeconvNet(deconvnet.load_model("tiny", device="cpu"))
    with deconvnet.scan(on_cpu, photos, tmp_path / "cpu", layers=layers, shard=32) as scan:
        for layer in layers:
            pairs = [activations(path, layer) for path in (tmp_path / "a", tmp_path / "cpu")]
            assert pairs[0] == pytest.approx(pairs[1], rel=1e-4, abs=1e-6)
            assert scan.statistics(layer)["fired"].sum() > 0


def activations(path, layer):
    return [value for (value,) in rows(path, f"select activation from hits where layer = '{layer}' order by channel, hit_rank")]


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_rougher_precisions_are_near(photos, tmp_path, precision):
    """The strongest activation of each channel is that of float32 up to the precision, which is kept."""
    net = deconvnet.DeconvNet(deconvnet.load_model("tiny", device="cuda"))
    exact, rough = (
        deconvnet.scan(net, photos, tmp_path / name, layers=["features.4"], precision=name) for name in ("fp32", precision)
    )
    maxima = [scan.statistics("features.4")["maximum"] for scan in (exact, rough)]
    assert maxima[1] == pytest.approx(maxima[0], rel=0.1)
    assert rough.settings["precision"] == precision
    assert not rough.plate("features.4", channels=[0, 1]).changed


def test_batches_are_normalised_as_on_the_cpu(photos):
    """Bytes that are normalised on the device are the CPU's, to the bit."""
    preprocess = deconvnet.load_model("tiny").preprocess
    pixels = [prepare(path, preprocess) for path in sorted(photos.glob("1*.png"))]
    assert torch.equal(collate(pixels, preprocess, torch.device("cuda")).cpu(), collate(pixels, preprocess))


def test_plates_are_the_cpu_s(photos, tmp_path):
    """A plate on the GPU, 64 pictures at once, shows what one on the CPU shows."""
    nets = [deconvnet.DeconvNet(deconvnet.load_model("tiny", device=device)) for device in ("cuda", "cpu")]
    deconvnet.scan(nets[1], photos, tmp_path / "net.scan", layers=["features.4"]).close()
    plates = []
    for net in nets:
        with deconvnet.Scan.open(tmp_path / "net.scan", net=net) as scan:
            plates.append([example for _, examples in scan.plate("features.4").examples() for example in examples])
    pairs = list(zip(*plates, strict=True))
    assert all(ours.hit == theirs.hit for ours, theirs in pairs)
    same = [(ours.example.projection, theirs.example.projection) for ours, theirs in pairs if ours.box == theirs.box]
    assert len(same) >= 0.99 * len(pairs)  # a box may move by a pixel where energies are nearly equal
    assert all(np.abs(ours - theirs).max() <= 1e-3 * np.abs(theirs).max() for ours, theirs in same)


# JPEGs decoded on the GPU


@pytest.fixture(scope="module")
def decoder():
    """What decodes JPEGs on this GPU; without one these tests are left out, and say why."""
    try:
        return find_decoder(torch.device("cuda"))
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    """JPEGs of many sizes and kinds, of which one is damaged, and a PNG among them."""
    folder = tmp_path_factory.mktemp("jpegs")
    for number in range(80):
        picture = drawing(number % 20).resize((150 + 3 * number, 131 + 11 * (number % 9)))
        options = {"quality": 50 + number % 50, "subsampling": number % 3, "progressive": number % 4 == 1}
        picture.convert("L" if number % 7 == 3 else "RGB").save(folder / f"{number:02}.jpg", **options)
    whole = (folder / "05.jpg").read_bytes()
    (folder / "80.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "81.jpg").write_bytes(whole[:150] + b"\xff\xd9")
    drawing(3).save(folder / "82.png")
    return folder


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(500, 375), (375, 500), (4000, 3000), (97, 400), (60, 41)])
def test_resizing_has_pillow_s_bytes(size, interpolation, tf32):
    """Pictures that are resized and cropped on the device are Pillow's to the bit, also where products are switched to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = tf32
    picture = drawing(4).resize(size)
    for channels in (1, 3):
        preprocess = Preprocess(256, 224, (0.5,) * channels, (0.25,) * channels, interpolation)
        frames = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].cuda()
        ours = crop_frames(frames.repeat(3, 1, 1, 1), preprocess).permute(0, 2, 3, 1).cpu().numpy()
        assert all(np.array_equal(pixels, preprocess.crop_pixels(picture)) for pixels in ours)


def test_pixels_of_the_gpu_are_near(decoder, jpegs):
    """Decoded together or one by one a picture has the same pixels, on average within two levels of Pillow's."""
    preprocess = Preprocess(128, 112, (0.5,) * 3, (0.25,) * 3, decode="gpu")
    data = [path.read_bytes() for path in sorted(jpegs.glob("[0-7]*.jpg"))]
    asked = [Jpeg("a.jpg", bytearray(values), plain_jpeg_size(values)) for values in data]
    crops = DeviceCrops(preprocess, torch.device("cuda"))
    together = crops.crop(asked)
    decoded = [number for number, pixels in enumerate(together) if pixels is not None]
    assert len(decoded) >= 0.9 * len(asked)
    for number in decoded:
        assert together[number].is_cuda
        assert torch.equal(together[number], crops.crop([asked[number]])[0])
        exact = preprocess.crop_pixels(sorted(jpegs.glob("[0-7]*.jpg"))[number])
        assert np.abs(together[number].cpu().numpy().astype(int) - exact).mean() < 2


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_scan_that_decodes_on_the_gpu(decoder, jpegs, tmp_path, precision):
    """Two runs, one of them continued, are equal; the same files are skipped with the same lines; activations are near."""
    loaded = deconvnet.load_model("tiny", device="cuda")
    nets = {decode: deconvnet.DeconvNet(loaded.with_preprocess(decode=decode)) for decode in ("gpu", "exact")}
    options = {"layers": ["features.1", "features.4"], "shard": 32, "batch": 16, "precision": precision}
    for name, limits in (("a", (None,)), ("b", (64, None))):
        for limit in limits:
            deconvnet.scan(nets["gpu"], jpegs, tmp_path / name, limit=limit, **options).close()
    parts = ("layers", "pictures", "shards", "hits", "channels")
    assert dump(tmp_path / "a", *parts) == dump(tmp_path / "b", *parts)
    with (
        deconvnet.scan(nets["exact"], jpegs, tmp_path / "exact", **options) as exact,
        deconvnet.Scan.open(tmp_path / "a", net=nets["gpu"]) as scan,
    ):
        assert scan.skipped() == exact.skipped()
        assert len(scan.skipped()) == 2
        maxima = [found.statistics("features.4")["maximum"] for found in (scan, exact)]
        assert np.median(np.abs(maxima[0] - maxima[1]) / maxima[1]) < 0.1
        assert scan.settings["decode_difference"]["pictures"] == 64
        assert scan.settings["decode_difference"]["decoder"] == decoder[0]
        plate = scan.plate("features.4", channels=range(8))
        assert sum(len(examples) for _, examples in plate.examples()) == 72
        assert len(plate.changed) <= 4  # drawings have hard edges between colours, which decoders smooth in other ways
