"""Recording: what it names, keeps, and leaves untouched."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvnet
from deconvnet.errors import NoRuleError, PictureError, StaleRecordingError, UnknownLayerError
from deconvnet.forward import ModelInputs, trace
from deconvnet.rules import DEFAULT
from support.oracle import project_by_autograd, relative


class HalfWay(nn.Sequential):
    """A layer, and then nothing but trouble."""

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3))

    def forward(self, x):
        super().forward(x)
        raise RuntimeError("half-way")


class Branches(nn.Module):
    """A net of everything that module hooks alone miss."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
        self.counter: torch.Tensor
        self.register_buffer("counter", torch.zeros(()))
        self.fail = False

    def forward(self, x):
        self.counter += 1
        x = self.relu(self.conv(x))
        y = self.relu(self.block(x) + x)
        if self.fail:
            raise RuntimeError("half-way")
        y = torch.cat([F.relu(y), F.relu(x), y], 1)
        return {"maps": y, "pair": (F.max_pool2d(y, 2), x)}


def names(model, size=(3, 8, 8)):
    return list(trace(model, ModelInputs(torch.randn(1, *size)), DEFAULT).records)


def test_names_follow_the_contract():
    """Module paths, functional calls, second calls with _1, in-place names bare, containers, indexed outputs."""
    expected = ["conv", "relu", "block.0", "block.1", "block", "add", "relu_1", "relu_2", "relu_3", "cat", "max_pool2d"]
    assert names(Branches()) == expected


def test_names_equal_torchvision_feature_extraction():
    """The names of leaf modules and functional calls are those of torchvision's feature extraction."""
    from torchvision.models.feature_extraction import get_graph_node_names

    for name in ("alexnet", "resnet18", "densenet121", "squeezenet1_0"):
        model = torchvision.models.get_model(name, weights=None).eval()
        theirs = get_graph_node_names(model)[1][1:]  # without the input
        places = trace(model, ModelInputs(torch.randn(1, 3, 64, 64)), DEFAULT).records.values()
        containers = {path for path, module in model.named_modules() if [*module.children()]}
        ours = [place.name for place in places if place.name not in containers]
        assert ours == [node for node in theirs if "dropout" not in node or node in ours]


class Returns(nn.Module):
    def forward(self, x):
        return [F.relu(x), {"out": x + 1}]


def test_lists_and_dicts_are_indexed():
    """What a module returns in a list or dict is named by its index or key."""
    model = nn.Sequential()
    model.stage = Returns()
    assert names(model) == ["stage.relu", "stage.add", "stage[0]", "stage[1][out]"]


def state_of(model):
    """Return all that a recording could leave behind on a model."""
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()]
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    grads = [(p.requires_grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
    return hooks, [m.training for m in model.modules()], tensors, grads


def assert_same(before, after):
    assert before[0] == after[0]
    assert before[1] == after[1]
    assert all(torch.equal(tensor, after[2][name]) for name, tensor in before[2].items())
    for (required, grad), (required_now, grad_now) in zip(before[3], after[3], strict=True):
        assert required == required_now
        assert (grad is None) == (grad_now is None)
        assert grad is None or torch.equal(grad, grad_now)


@pytest.fixture
def worn():
    """A model in the middle of training: mixed flags, frozen weights, gradients, a user's own hook."""
    model = Branches()
    model.train()
    model.block.eval()
    model.conv.weight.requires_grad_(False)
    model.block[0].weight.grad = torch.randn_like(model.block[0].weight)
    model.conv.register_forward_hook(lambda *_: None)
    return model


def test_the_model_comes_back_as_it_was(worn):
    """Hooks, training flags of every submodule, requires_grad, gradients, weights and buffers are as before."""
    before = state_of(worn)
    net = deconvnet.DeconvNet(worn)
    recording = net.record(torch.randn(2, 3, 8, 8))
    net.project(recording, "relu_1")
    net.project(recording, "relu_1", rule="gradient")
    assert_same(before, state_of(worn))
    assert torch.is_grad_enabled()


def test_the_model_comes_back_when_forward_raises(worn):
    """Also when the forward pass raises in the middle."""
    worn.fail = True
    before = state_of(worn)
    with pytest.raises(RuntimeError, match="half-way"):
        deconvnet.DeconvNet(worn).record(torch.randn(1, 3, 8, 8))
    assert_same(before, state_of(worn))
    assert torch.relu(torch.ones(1)) == 1  # no mode is left behind
    assert torch.overrides._get_current_function_mode() is None


def test_the_model_comes_back_when_registering_raises(worn, monkeypatch):
    """Also when a hook cannot be registered half-way through the modules."""
    before = state_of(worn)
    monkeypatch.setattr(worn.block[0], "register_forward_hook", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deconvnet.DeconvNet(worn).record(torch.randn(1, 3, 8, 8))
    assert_same(before, state_of(worn))


def test_nested_recordings_do_not_mix():
    """A recording made inside another one's forward pass leaves both as if made alone."""
    model, images = Branches(), torch.randn(1, 3, 8, 8)
    inner = []

    def record_inside(module, inputs, output):
        handle.remove()
        inner.append(trace(model, ModelInputs(images), DEFAULT))

    handle = model.block.register_forward_hook(record_inside)
    outer = trace(model, ModelInputs(images), DEFAULT)
    alone = trace(model, ModelInputs(images), DEFAULT)
    for run in (outer, inner[0]):
        assert list(run.records) == list(alone.records)
        assert [(c.name, c.inputs, c.outputs) for c in run.tape.calls] == [
            (c.name, c.inputs, c.outputs) for c in alone.tape.calls
        ]


@pytest.mark.parametrize("name", ["googlenet", "densenet121"])
def test_output_is_bit_equal(name):
    """The recorded forward pass returns the bits of the plain one."""
    options = {"init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(deconvnet.DeconvNet(model).record(images).output, model(images))


def test_forward_stops_after_the_deepest_layer_asked_for():
    """With layers named, nothing beyond the deepest runs, and the output is not made."""
    ran = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    model[2].register_forward_pre_hook(lambda *_: ran.append(True))
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 8, 8), layers=["0", "1"])
    assert not ran
    assert recording.output is None
    assert net.record(torch.randn(1, 3, 8, 8), layers=["1"], stop=False).output is not None


def kept_half_way() -> weakref.ref[torch.Tensor]:
    """Keep a layer's maps in a pass that fails, as studies do; return them as they will be when nobody holds them."""
    kept: list[torch.Tensor] = []
    with suppress(RuntimeError):
        trace(
            HalfWay(),
            ModelInputs(torch.randn(1, 3, 8, 8)),
            DEFAULT,
            ["0"],
            stop=False,
            on_layer=lambda layer, maps: kept.append(maps),
        )
    return weakref.ref(kept[0])


def test_what_was_kept_goes_with_the_recording():
    """Nothing waits for Python to look for cycles: one big batch after another takes the memory of one."""
    net = deconvnet.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()))
    handed: list[weakref.ref[torch.Tensor]] = []
    gc.collect()
    gc.disable()
    try:
        recording = net.record(torch.randn(1, 3, 8, 8), layers=["1"])
        kept = weakref.ref(recording.stored_activations("1"))
        net.project(recording, "1")
        assert kept() is not None
        del recording
        assert kept() is None
        trace(
            net.model,
            ModelInputs(torch.randn(1, 3, 8, 8)),
            DEFAULT,
            ["1"],
            on_layer=lambda layer, maps: handed.append(weakref.ref(maps)),
        )
        assert [one() for one in handed] == [None]
        assert kept_half_way()() is None  # also where memory ran out half-way, say
    finally:
        gc.enable()


def test_asked_later_equals_asked_at_once():
    """A layer beyond where the pass stopped comes from a second pass over the kept images, with the same bits."""
    model, images = torchvision.models.squeezenet1_1(weights=None), torch.randn(1, 3, 64, 64)
    net = deconvnet.DeconvNet(model)
    early = net.record(images, layers=["features.3"])
    late = net.record(images, layers=["features.9"])
    assert torch.equal(early.activations("features.9"), late.activations("features.9"))
    pixels = [net.project(recording, "features.9").pixels for recording in (early, late)]
    assert torch.equal(*pixels)


def test_activations_are_as_they_left_the_layer():
    """A conv's activations are not those that an in-place ReLU made of them, and changing the copy changes nothing."""
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), torch.randn(1, 3, 8, 8)
    recording = deconvnet.DeconvNet(model).record(images, layers=["0", "1"])
    with torch.no_grad():
        assert torch.equal(recording.activations("0"), model[0](images))
    recording.activations("0").zero_()
    assert recording.activations("0").abs().sum() > 0


@pytest.mark.parametrize("change", ["optimizer step", "load_state_dict", "new parameter", "buffer", "data"])
def test_changed_weights_raise(change):
    """Weights that changed after the recording raise, whatever way they changed."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 8, 8))
    if change == "optimizer step":
        with torch.no_grad():
            model[0].weight.add_(1e-3)
    elif change == "load_state_dict":
        model.load_state_dict(model.state_dict())
    elif change == "new parameter":
        model[0].weight = nn.Parameter(model[0].weight.detach().clone())
    elif change == "data":
        model[0].weight.data.mul_(1.5)
    else:
        model[1].running_var.mul_(2)
    with pytest.raises(StaleRecordingError) as error:
        net.project(recording, "2")
    assert str(error.value) == "the weights of Sequential changed after this recording was made. Record again."


def test_a_model_that_counts_its_calls_is_not_stale():
    """Buffers that the forward pass itself writes to are restored, and do not spoil the recording."""
    model = Branches()
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.randn(1, 3, 8, 8), layers=["relu"])
    net.project(recording, "relu_1")
    net.project(recording, "relu_1", rule="gradient")
    assert model.counter == 0


def test_unknown_layer_has_a_hint():
    """An unknown layer raises one line with close matches."""
    net = deconvnet.DeconvNet(torchvision.models.alexnet(weights=None))
    with pytest.raises(UnknownLayerError) as error:
        net.record(torch.randn(1, 3, 64, 64), layers=["features.33"])
    text = "'features.33' is not a layer of AlexNet. Did you mean 'features.3' or 'features.9' or 'features.8'?"
    assert str(error.value) == f"{text} See: deconvnet layers AlexNet"


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(3, 8, 8), "(3, 8, 8) of float32. One picture: image.unsqueeze(0)."),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "(1, 3, 8, 8) of uint8."),
        (torch.zeros(0, 3, 8, 8), "(0, 3, 8, 8) of float32."),
    ],
)
def test_images_of_another_shape_are_refused(images, found):
    """What is not a batch of images gets one line."""
    with pytest.raises(PictureError) as error:
        deconvnet.DeconvNet(nn.Conv2d(3, 4, 3)).record(images)
    expected = f"images must be a float tensor (N, C, H, W), found {found}"
    assert str(error.value) == expected


def test_a_call_without_a_rule_raises_only_when_projected():
    """record never raises for a missing rule; a projection that meets one names the layer and the call."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

        def forward(self, x):
            return self.after(torch.special.entr(self.conv(x).abs() + 1))

    net = deconvnet.DeconvNet(Odd())
    recording = net.record(torch.randn(1, 3, 8, 8))
    assert len(net.project(recording, "conv")) == 4
    with pytest.raises(NoRuleError) as error:
        net.project(recording, "after")
    assert str(error.value) == "no mirror rule for special_entr in 'special_entr'. Add one: see docs/your-own-rule.md."


class Scripted(nn.Module):
    """A net with a scripted function in one of two branches."""

    def __init__(self):
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.script = torch.jit.trace(lambda x: x.sin() * 2, torch.randn(1, 4, 6, 6))

    def forward(self, x):
        x = self.conv(x)
        return self.after(x + self.script(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_function_never_drops_a_branch_in_silence():
    """A tensor that no recorded call made raises when a projection reads it."""
    net = deconvnet.DeconvNet(Scripted())
    recording = net.record(torch.randn(1, 3, 8, 8))
    with pytest.raises(NoRuleError, match=r"no mirror rule for add in 'add' \(it reads a tensor that no recorded call made"):
        net.project(recording, "after")


@pytest.mark.parametrize("kind", ["global", "closure", "numpy"])
def test_constants_from_elsewhere_are_constants(kind):
    """A tensor that was there before, wherever the model found it, is a constant: it needs no buffer."""
    stray = torch.rand(1, 4, 1, 1) + 1

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

        def forward(self, x):
            scale = torch.from_numpy(stray.numpy()) if kind == "numpy" else STRAY if kind == "global" else stray
            return self.after(self.conv(x) * scale + scale)

    model, images = Scaled(), torch.randn(1, 3, 9, 9)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    signal = torch.randn(1, 2, 5, 5)
    expected = project_by_autograd(model, images, "after", signal)
    assert relative(net.project_signal(recording, "after", signal), expected) < 1e-5


def test_a_detour_through_numpy_is_noticed():
    """What comes back from numpy after the image went there is not taken for a constant."""

    class Detour(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            y = torch.from_numpy(self.conv(x).numpy() * 2)
            return self.conv(x) + y

    net = deconvnet.DeconvNet(Detour())
    recording = net.record(torch.randn(1, 3, 9, 9))
    with pytest.raises(NoRuleError, match="a tensor that no recorded call made"):
        net.project(recording, "add")


STRAY = torch.full((1, 4, 1, 1), 2.0)


@pytest.mark.parametrize("layout", ["images", "model", "both"])
def test_channels_last(layout):
    """channels_last images and models are recorded as they are, and come down as the oracle brings them."""
    model = torchvision.models.resnet18(weights=None).eval()
    images = torch.randn(2, 3, 64, 64)
    if layout != "images":
        model = model.to(memory_format=torch.channels_last)
    if layout != "model":
        images = images.to(memory_format=torch.channels_last)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    signal = torch.randn_like(recording.activations("layer3"))
    expected = project_by_autograd(model, images, "layer3", signal)
    assert relative(net.project_signal(recording, "layer3", signal), expected) < 1e-5


def test_control_flow_that_depends_on_the_data():
    """A model that branches on its input is recorded as it ran."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.light, self.dark = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 5, padding=1)

        def forward(self, x):
            for _ in range(int(x.mean() > 0) + 1):
                x = x * 2
            return self.light(x) if x.mean() > 0 else self.dark(x)

    model = Branching()
    for images, layer in ((torch.rand(1, 3, 8, 8), "light"), (-torch.rand(1, 3, 8, 8), "dark")):
        net = deconvnet.DeconvNet(model)
        recording = net.record(images)
        signal = torch.randn_like(recording.activations(layer))
        expected = project_by_autograd(model, images, layer, signal)
        assert relative(net.project_signal(recording, layer, signal), expected) < 1e-5


class Changed(nn.Module):
    """A net that changes what a convolution made, in place, and reads it again."""

    def __init__(self, change):
        super().__init__()
        self.conv, self.after, self.change = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), change

    def forward(self, x):
        return self.after(self.change(self.conv(x)))


def add_to_part(x):
    y = x * 0.5
    x[:, 1:] += y[:, :3]
    return x


def add_by_name(x):
    y = x * 0.5
    x[:, 1:, 2::2].add_(y[:, :3, 2::2])
    return x


def rectify_part(x):
    torch.relu_(x[:, :2])
    return x


def change_halves(x):
    first, second = x[:, :2], x[:, 2:]
    first += 0.3 * second
    second *= 2  # which the first half is no part of
    return nn.functional.relu(x, inplace=True)


def change_one_channel(x):
    x[:, 1] -= 3 * x[:, 2]
    x[..., 1:3] *= 2
    return x


def change_a_part_of_a_part(x):
    part = x[:, 1:]
    corner = part[:, :, 1:, :3]
    corner += part[:, :, :-1, 1:4]
    return x


def fill_a_canvas(x):
    canvas = torch.zeros(len(x), 4, 8, 9, dtype=x.dtype)
    canvas[:, :, 1:7, 2:8] += x
    return canvas


@pytest.mark.parametrize(
    "change",
    [add_to_part, add_by_name, rectify_part, change_halves, change_one_channel, change_a_part_of_a_part, fill_a_canvas],
)
def test_what_is_written_to_a_view_is_followed(change):
    """x[...] += y and its kin: the gradient is autograd's, and so is what each of several images gets."""
    torch.manual_seed(0)
    model, images = Changed(change).double(), torch.randn(2, 3, 8, 8, dtype=torch.float64)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    signal = torch.randn_like(recording.activations("after"))
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf), leaf, signal)
    assert relative(net.project_signal(recording, "after", signal, rule="gradient"), expected) < 1e-12
    parts = net.project(recording, "after", channels=[1], image=1, start="one", rule="gradient")
    unit = parts.units[0]
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf)[1, 1, unit.row, unit.col], leaf)
    assert relative(parts.pixels[0], expected[1]) < 1e-12


def turn(x):
    x.transpose(2, 3).mul_(2)
    return x


def change_what_a_part_is_of(x):
    part = x[:, :2].exp()
    half = x[:, :2]
    x *= 2
    return torch.cat((part, half), 1)


def change_twice(x):
    part, turned = x[:, :2], x.transpose(2, 3)
    torch.relu_(part)  # which alone would be followed
    turned.mul_(2)
    _ = x + 1  # a first look, after which the second is no wiser
    return x


def add_to_one_image(x):
    x[:1] += 1
    return x


@pytest.mark.parametrize("change", [turn, change_twice, change_what_a_part_is_of, add_to_one_image])
def test_a_change_through_another_view_is_noticed(change):
    """What slices do not tell - turned axes, a part read after the whole was changed, some images - raises where it is read."""
    net = deconvnet.DeconvNet(Changed(change))
    recording = net.record(torch.randn(2, 3, 8, 8))
    with pytest.raises(NoRuleError, match=r"changed in place through another view of it|mixes the images"):
        net.project(recording, "after")


def test_assignment_into_a_slice_is_followed():
    """x[...] = y makes a new value of a constant, and what was written comes down to the image."""

    class Assigned(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x):
            canvas = torch.zeros(x.shape)
            canvas[:, :, 1:] = x[:, :, 1:]
            return self.conv(canvas)

    model, images = Assigned(), torch.randn(1, 3, 8, 8)
    net = deconvnet.DeconvNet(model)
    recording = net.record(images)
    signal = torch.randn(1, 4, 6, 6)
    expected = project_by_autograd(model, images, "conv", signal)
    assert relative(net.project_signal(recording, "conv", signal), expected) < 1e-5
    assert not expected[:, :, 0].any()


def test_inside_inference_mode():
    """A caller in inference mode gets the same projection, gradient bits included."""
    model, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LocalResponseNorm(3), nn.ReLU()), torch.randn(1, 3, 8, 8)
    net = deconvnet.DeconvNet(model, lrn="derivative")
    outside = net.project(net.record(images), "2", rule="gradient").pixels
    with torch.inference_mode():
        recording = net.record(images.clone())
        assert torch.equal(net.project(recording, "2", rule="gradient").pixels, outside)
        net.project_signal(recording, "2", torch.ones(1, 4, 6, 6))


def test_a_module_called_twice_has_two_layers():
    """Each call of one module is a layer of its own, with its own activations and projection."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)

        def forward(self, x):
            return self.pool(self.conv(self.pool(self.conv(x))))

    net = deconvnet.DeconvNet(Twice())
    recording = net.record(torch.randn(1, 3, 16, 16))
    assert recording.activations("pool").shape[2:] == (8, 8)
    assert recording.activations("pool_1").shape[2:] == (4, 4)
    assert net.project(recording, "pool_1", top=1).windows[0].height == 10


def test_nothing_is_kept_alive():
    """A recording that is dropped frees its tape: no reference from the model or from module state."""
    model = Branches()
    recording = deconvnet.DeconvNet(model).record(torch.randn(1, 3, 8, 8))
    ref = weakref.ref(recording.tape)
    del recording
    gc.collect()
    assert ref() is None


def test_the_tape_keeps_switches_not_activations():
    """Without layers named, what is kept of a VGG is about a byte for each pooled value."""
    model = torchvision.models.vgg11(weights=None).features
    recording = deconvnet.DeconvNet(model).record(torch.randn(1, 3, 64, 64))
    kept = sum(tensor.nbytes for call in recording.tape.calls for tensor in call.saved.image_tensors())
    pooled = sum(
        shape.numel()
        for call in recording.tape.calls
        if call.name == "max_pool2d"
        for shape in [recording.tape.shapes[call.outputs[0]]]
    )
    assert kept == pooled


class WritesToItself(nn.Module):
    """A net that binds a buffer anew, writes to one through .data, bounds its weights, and sets a bias and an attribute."""

    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), None
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x):
        x.mul_(2)
        self.conv.weight.data = torch.renorm(self.conv.weight.data, p=2, dim=0, maxnorm=0.1)
        y = self.conv(x)
        self.mean = 0.9 * self.mean + 0.1 * y.mean((0, 2, 3))
        self.steps.data += 1
        self.conv.bias.copy_(-y.mean((0, 2, 3)))
        self.last = y if self.last is None else self.last + y
        return nn.functional.relu(self.last)


def test_all_that_a_pass_writes_is_put_back():
    """Input, weights, buffers and attributes are what they were, the recording stays good, and its filters are those used."""
    model = WritesToItself().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(1, 3, 9, 9)
    given = images.clone()
    net = deconvnet.DeconvNet(model)
    first = net.record(given)
    net.record(given)
    assert torch.equal(given, images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.last is None
    used = torch.renorm(before["conv.weight"], p=2, dim=0, maxnorm=0.1)
    signal = first.activations("conv")
    expected = 2 * nn.functional.conv_transpose2d(signal, used)
    assert torch.allclose(net.project_signal(first, "conv", signal), expected, atol=1e-6)
    assert any(parameter is model.conv.bias for parameter in first.written)


class Expanded(nn.Module):
    """A net with a buffer whose rows are one row of memory, which a pass writes to."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("rows", torch.arange(7.0).expand(1, 4, 5, 7))

    def forward(self, x):
        x = self.conv(x) + self.rows
        self.rows[0, 0, 0].add_(1)
        return nn.functional.relu(x)


def test_an_expanded_buffer_is_put_back():
    """Its elements share memory, which torch refuses to write to at once."""
    model = Expanded().eval()
    recording = deconvnet.DeconvNet(model).record(images := torch.rand(1, 3, 7, 9))
    assert torch.equal(model.rows, torch.arange(7.0).expand(1, 4, 5, 7))
    assert model.rows.stride() == (0, 0, 0, 1)
    expected = (nn.functional.conv2d(images, model.conv.weight, model.conv.bias) + model.rows).relu()
    assert torch.allclose(recording.output, expected)


class CountsPasses(nn.Module):
    """A net that counts how often it runs, and with `noise` gives other values each time."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.conv, self.noise, self.passes = nn.Conv2d(3, 4, 3), noise, []

    def forward(self, x):
        self.passes.append(len(x))
        y = nn.functional.relu(self.conv(x))
        y = y + self.noise * len(self.passes)
        return nn.functional.relu(y, inplace=True)


def test_a_recording_runs_the_model_once():
    """What the first pass made is held: projections, activations, maps and the mirror need no other pass."""
    net = deconvnet.DeconvNet(CountsPasses())
    recording = net.record(torch.rand(1, 3, 9, 9))
    net.project(recording, "relu_1", top=2, rule="deconvnet")
    assert torch.equal(recording.maps("relu"), recording.activations("relu"))
    net.mirror(recording, "conv")
    assert len(net.model.passes) == 1
    recording.activations("add")  # was written over by the call in place
    recording.activations("relu")
    assert len(net.model.passes) == 2


def test_a_further_pass_that_differs_is_refused():
    """Units and switches would be of different passes."""
    net = deconvnet.DeconvNet(CountsPasses(noise=1.0))
    recording = net.record(torch.rand(1, 3, 9, 9))
    net.project(recording, "relu_1", top=2, rule="deconvnet")
    with pytest.raises(deconvnet.UnstableModelError) as error:
        recording.activations("add")
    assert str(error.value) == (
        "CountsPasses gives other activations each time it runs: it keeps state, or adds noise."
        " Record with layers=[...], so that all comes from one pass."
    )


class FailingRule(deconvnet.rules.ReLU):
    """A rule with a fault."""

    def run(self, call, input, inplace=False):
        """Fail."""
        raise ZeroDivisionError("a fault")


def test_a_rule_that_fails_does_not_end_the_recording():
    """What goes wrong inside a rule is a problem of the call: what lies below is projected, and above it is told."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    net = deconvnet.DeconvNet(model, rules=deconvnet.rules.replace(relu=FailingRule()))
    recording = net.record(torch.rand(1, 3, 9, 9))
    assert len(net.project(recording, "0", top=2)) == 2
    with pytest.raises(deconvnet.NoRuleError) as error:
        net.project(recording, "2", top=2)
    assert str(error.value) == (
        "no mirror rule for relu in '1' (its rule failed: ZeroDivisionError: a fault). Add one: see docs/your-own-rule.md."
    )


def test_a_rule_for_some_layers_only():
    """`layers=` takes a name, a pattern or a container; elsewhere the table's own rule holds."""
    twice = deconvnet.rules.replace(relu=deconvnet.rules.ReLU(rectify=False), layers="block.*")
    assert repr(twice).startswith("Table(")
    model = nn.Sequential()
    model.add_module("block", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    model.add_module("after", nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()))
    net = deconvnet.DeconvNet(model, rules=twice)
    recording = net.record(torch.rand(1, 3, 9, 9))
    rules_met = {step.layer: step.rule for step in net.mirror(recording, "after.1").steps}
    assert rules_met["block.1"] == rules_met["after.1"] == "ReLU"
    assert not net.rules.rule_for(torch.nn.functional.relu, "block.1").rectify
    assert net.rules.rule_for(torch.nn.functional.relu, "after.1").rectify


def test_what_forward_takes_besides():
    """Further arguments go to forward; a call without them is refused in a line that says what it takes."""

    class Gained(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, image, gain, shift=0.0):
            return self.conv(image) * gain + shift

    net = deconvnet.DeconvNet(Gained())
    images = torch.rand(1, 3, 9, 9)
    expected = 2 * net.model.conv(images) + 1
    assert torch.allclose(net.record(images, 2.0, shift=1.0).output, expected, atol=1e-6)
    with pytest.raises(deconvnet.OptionError) as error:
        net.record(images)
    assert str(error.value) == (
        "forward of Gained takes (image, gain, shift=0.0): missing a required argument: 'gain'. Pass what it takes besides the"
        " images to record(images, ...), or wrap the net in a module that takes images alone."
    )


def test_a_hook_that_gives_an_earlier_pass_s_tensors():
    """Where a hook keeps a tensor of one pass and gives it in the next, a line says so: no projection mixes the two."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()).eval()
    kept: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor | None:
        kept.append(output)
        return None if len(kept) == 1 else kept[0]

    model[1].register_forward_hook(keep)
    net = deconvnet.DeconvNet(model)
    recording = net.record(torch.rand(1, 3, 12, 12))
    with pytest.raises(deconvnet.UnstableModelError) as error:
        net.project(recording, "3", top=2)
    text = (
        "layer '3' of Sequential is made by other calls each time it runs: the net, or a hook on it, gives tensors of an earlier"
        " pass. Remove that, and record again."
    )
    assert str(error.value) == text


class KeepsAnchors(nn.Module):
    """A head that works out its anchors in the first pass, in the type of its maps, and keeps them: as YOLO's do."""

    def __init__(self):
        super().__init__()
        self.conv, self.anchors = nn.Conv2d(3, 2, 3), None

    def forward(self, x):
        x = self.conv(x)
        if self.anchors is None:
            self.anchors = torch.arange(float(x.shape[-1])).type_as(x) + 0.5
        return x * self.anchors


def test_anchors_that_are_kept_from_the_first_pass_are_constants():
    """A constant in the type of something from the image is none of the image's: the second pass makes the same calls."""
    model = KeepsAnchors()
    net = deconvnet.DeconvNet(model)
    images = torch.rand(2, 3, 6, 7)
    recording = net.record(images)
    pixels = net.project(recording, "mul", channels=[1], image=1, start="one", rule="gradient").pixels[0]
    unit = net.project(recording, "mul", channels=[1], image=1).units[0]
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(leaf)[1, 1, unit.row, unit.col], leaf)
    assert relative(torch.as_tensor(pixels), expected[1]) < 1e-6
