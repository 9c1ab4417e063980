"""Every rule against a slow independent twin: autograd's Jacobian in float64, on tiny unequal sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracle import jacobian, relative
from torch import nn
from torch.overrides import TorchFunctionMode

from deconvnet import rules
from deconvnet.errors import NoRuleError, OptionError
from deconvnet.mirror import project_value
from deconvnet.record import run_model
from deconvnet.rules.pool import MaxPool2d, to_indices, unpool, unpool_by_offsets
from deconvnet.tape import Kept, plain_name

# torch says that a "same" convolution with an even kernel copies its input; so it does, and so what
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

GRADIENT = rules.DEFAULT.given(mask=True, rectify=False, lrn="derivative")


class Of(nn.Module):
    """A module that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def weights(*shape):
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def conv(*shape, **options):
    module = nn.Module()
    module.weight, module.bias = weights(*shape), weights(shape[0])
    module.forward = lambda x: F.conv2d(x, module.weight, module.bias, **options)
    return module


def double(module):
    return module.double().eval()


def norm():
    module = nn.BatchNorm2d(4).double().eval()
    for tensor in (module.weight, module.bias, module.running_mean):
        nn.init.uniform_(tensor, -1, 1)
    nn.init.uniform_(module.running_var, 0.5, 2)
    return module


# name: (module, size of the input without the batch axis); each row of the table must be met by one
CASES = {
    "conv": (conv(6, 4, 3, 2), (4, 7, 5)),
    "conv stride": (conv(6, 4, 3, 3, stride=(2, 3), padding=1), (4, 8, 9)),
    "conv stride leaves rows": (conv(6, 4, 3, 3, stride=4), (4, 9, 10)),
    "conv dilation": (conv(6, 4, 3, 3, dilation=(2, 1), padding=(1, 2)), (4, 9, 6)),
    "conv groups": (conv(6, 2, 3, 3, groups=2, padding=1), (4, 5, 6)),
    "conv depthwise": (conv(4, 1, 3, 3, groups=4, stride=2), (4, 7, 6)),
    "conv same": (conv(6, 4, 3, 5, padding="same"), (4, 7, 6)),
    "conv same, even kernel": (conv(6, 4, 4, 2, padding="same", dilation=(1, 3)), (4, 7, 6)),
    "conv valid": (conv(6, 4, 2, 2, padding="valid"), (4, 7, 6)),
    "conv reflect": (double(nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect")), (4, 7, 5)),
    "conv replicate": (double(nn.Conv2d(4, 6, 3, padding=1, padding_mode="replicate")), (4, 7, 5)),
    "conv circular": (double(nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", stride=2)), (4, 7, 6)),
    "linear": (double(nn.Linear(5, 3)), (4, 5)),
    "relu": (nn.ReLU(), (4, 3, 5)),
    "relu in place": (Of(lambda x: F.relu(x + 0.0, inplace=True)), (4, 3, 5)),
    "torch.relu": (Of(torch.relu), (4, 3, 5)),
    "torch.relu_": (Of(lambda x: torch.relu_(x + 0.0)), (4, 3, 5)),
    "Tensor.relu": (Of(lambda x: x.relu()), (4, 3, 5)),
    "Tensor.relu_": (Of(lambda x: (x + 0.0).relu_()), (4, 3, 5)),
    "max pool": (nn.MaxPool2d(2), (4, 6, 8)),
    "max pool overlapping": (nn.MaxPool2d(3, stride=2), (4, 9, 8)),
    "max pool padded": (nn.MaxPool2d(3, stride=2, padding=1), (4, 7, 8)),
    "max pool dilated": (nn.MaxPool2d((2, 3), stride=1, dilation=(3, 2)), (4, 8, 9)),
    "max pool ceil": (nn.MaxPool2d(3, stride=2, ceil_mode=True), (4, 8, 10)),
    "max pool ceil padded": (nn.MaxPool2d(3, stride=3, padding=1, ceil_mode=True), (4, 9, 11)),
    "max pool large": (nn.MaxPool2d(17, stride=3, padding=8), (4, 20, 19)),
    "max pool with indices": (Of(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]), (4, 6, 5)),
    "torch.max_pool2d": (Of(lambda x: torch.max_pool2d(x, 2, 1)), (4, 6, 5)),
    "avg pool": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (4, 7, 8)),
    "avg pool ceil": (nn.AvgPool2d((2, 3), ceil_mode=True), (4, 7, 8)),
    "adaptive avg pool": (nn.AdaptiveAvgPool2d((3, 2)), (4, 7, 5)),
    "global avg pool": (nn.AdaptiveAvgPool2d(1), (4, 7, 5)),
    "batch norm": (norm(), (4, 3, 5)),
    "lrn": (nn.LocalResponseNorm(3, alpha=0.7, beta=0.6, k=1.5), (6, 3, 5)),
    "dropout": (nn.Dropout(0.5).eval(), (4, 3, 5)),
    "dropout2d": (nn.Dropout2d(0.5).eval(), (4, 3, 5)),
    "contiguous": (Of(lambda x: x.contiguous(memory_format=torch.channels_last)), (4, 3, 5)),
    "flatten": (nn.Flatten(), (4, 3, 5)),
    "torch.flatten": (Of(lambda x: torch.flatten(x, 2)), (4, 3, 5)),
    "view": (Of(lambda x: x.view(x.shape[0], -1, 5)), (4, 3, 5)),
    "Tensor.reshape": (Of(lambda x: x.reshape(-1, 60)), (4, 3, 5)),
    "torch.reshape": (Of(lambda x: torch.reshape(x, (x.size(0), 12, 5))), (4, 3, 5)),
    "add": (Of(lambda x: torch.add(x, x, alpha=3)), (4, 3, 5)),
    "x + x": (Of(lambda x: x + x), (4, 3, 5)),
    "1 + x": (Of(lambda x: 1 + x), (4, 3, 5)),
    "x += constant": (Of(lambda x: (x + 0.0).add_(torch.ones(5).double())), (4, 3, 5)),
    "add broadcasts": (Of(lambda x: x + F.adaptive_avg_pool2d(x, (1, 5))), (4, 3, 5)),
    "cat": (Of(lambda x: torch.cat([x, torch.ones(2, 1, 3, 5).double(), x], 1)), (4, 3, 5)),
    "cat rows": (Of(lambda x: torch.concat([x, x], dim=-2)), (4, 3, 5)),
    "concatenate": (Of(lambda x: torch.concatenate([x, x], axis=3)), (4, 3, 5)),
    "pad": (Of(lambda x: F.pad(x, (1, 2, 0, 3))), (4, 3, 5)),
    "pad crops": (Of(lambda x: F.pad(x, (-1, 1, 2, -2), value=3.0)), (4, 4, 5)),
}


def run_case(name, table=GRADIENT):
    module, size = CASES[name]
    x = torch.randn(2, *size, dtype=torch.float64)
    run = run_model(module, x, table)
    output = run.output
    return module, x, run.tape, len(run.tape.shapes) - 1, output


@pytest.mark.parametrize("name", CASES)
def test_mirror_is_the_transposed_jacobian(name):
    """Under the gradient bits each rule carries a signal back as the transposed Jacobian does."""
    module, x, tape, value, output = run_case(name)
    if output.dtype == torch.int64:
        pytest.skip("indices carry no signal")
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    signal = torch.randn(output.shape, dtype=torch.float64)
    projected = project_value(tape, value, signal, GRADIENT)
    matrix = jacobian(lambda x: module(x), x)
    expected = (signal.flatten() @ matrix).view_as(x)
    assert projected.shape == x.shape
    assert relative(projected, expected) < 1e-12


@pytest.mark.parametrize("name", CASES)
def test_signals_of_one_image_share_its_recording(name):
    """Three signals that belong to image 1 come down as the same three, each with a recording of its own."""
    _, _, tape, value, output = run_case(name)
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    signal = torch.randn(3, *output.shape[1:], dtype=torch.float64)
    shared = project_value(tape, value, signal, GRADIENT, rows=1)
    one_each = project_value(tape, value, signal, GRADIENT, rows=torch.tensor([1, 1, 1]))
    as_images = torch.cat(
        [project_value(tape, value, part.expand(2, *part.shape[1:]).contiguous(), GRADIENT)[1:] for part in signal.split(1)]
    )
    assert relative(shared, as_images) < 1e-12
    assert torch.equal(shared, one_each)


@pytest.mark.parametrize("name", CASES)
def test_the_call_itself_is_unchanged(name):
    """A recorded call returns the bits that the plain call returns."""
    module, x, _, _, output = run_case(name)
    with torch.no_grad():
        assert torch.equal(output, module(x))


@pytest.mark.parametrize("name", [name for name in CASES if len(CASES[name][1]) == 3])
def test_window_holds_all_that_a_place_depends_on(name):
    """No pixel outside a unit's window has an influence on the unit."""
    from deconvnet.field import pixel_window
    from deconvnet.units import Window

    module, x, tape, value, output = run_case(name)
    value = next(v for v in range(value, -1, -1) if tape.shapes[v] == output.shape)
    if output.dim() != 4:
        window = pixel_window(tape, value, Window(0, 0, 1, 1))
        assert window.covers(*x.shape[2:]) or "lin" in name
        return
    for row in range(output.shape[2]):
        for col in range(output.shape[3]):
            signal = torch.zeros(output.shape, dtype=torch.float64)
            signal[:, :, row, col] = 1 + torch.rand(output.shape[:2], dtype=torch.float64)
            inside = pixel_window(tape, value, Window(row, col, 1, 1)).clip(*x.shape[2:])
            reached = project_value(tape, value, signal, GRADIENT)
            reached[:, :, inside.top : inside.bottom, inside.left : inside.right] = 0
            assert not reached.any()


def test_every_row_of_the_table_has_a_case():
    """A rule that no case meets is a rule that nobody checked."""
    met = set()

    class Meet(TorchFunctionMode):  # not the tape: dropout in eval mode returns its input, and makes no value
        def __torch_function__(self, func, types, args=(), kwargs=None):
            met.add(plain_name(func))
            return func(*args, **(kwargs or {}))

    for module, size in CASES.values():
        with Meet():
            module(torch.randn(2, *size, dtype=torch.float64))
    assert {plain_name(func) for func in rules.DEFAULT} <= met


def test_relu_rectifies_the_signal_and_masks_by_bits():
    """The eight settings of mask and rectify do what their names say, on numbers one can check by eye."""
    x = torch.tensor([[-1.0, 2.0, 3.0, -4.0]])
    signal = torch.tensor([[5.0, -6.0, 7.0, -8.0]])
    expected = {
        "FTT": [5.0, 0.0, 7.0, 0.0],
        "TTT": [0.0, 0.0, 7.0, 0.0],
        "TTF": [0.0, -6.0, 7.0, 0.0],
        "FTF": [5.0, -6.0, 7.0, -8.0],
    }
    for bits, values in expected.items():
        table = rules.DEFAULT.given(**rules.read_bits(bits))
        tape = run_model(nn.ReLU(), x, table).tape
        assert project_value(tape, 1, signal, table).tolist() == [values]


def slow_unpool(signal, indices, size, overlap):
    """A loop over pooled places in row-major order, adding or overwriting."""
    result = torch.zeros(*signal.shape[:2], size[0] * size[1], dtype=signal.dtype)
    for n in range(signal.shape[0]):
        for c in range(signal.shape[1]):
            for value, index in zip(signal[n, c].flatten(), indices[n, c].flatten(), strict=True):
                result[n, c, index] = value + (result[n, c, index] if overlap == "sum" else 0)
    return result.view(*signal.shape[:2], *size)


POOLS = [(3, 2, 0, 1, True), (3, 2, 1, 1, False), ((2, 3), (1, 2), (1, 0), (2, 1), False), (3, 1, 1, 2, True)]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("overlap", ["sum", "last"])
def test_unpooling_equals_a_plain_loop(pool, overlap):
    """Colliding switches add up, or the last in row-major order stays, as a plain loop over places has it."""
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    output, indices = F.max_pool2d(x, *pool[:4], ceil_mode=pool[4], return_indices=True)
    rule = MaxPool2d(overlap=overlap)
    table = rules.DEFAULT.replace(max_pool2d=rule)
    tape = run_model(nn.MaxPool2d(*pool[:4], ceil_mode=pool[4]), x, table).tape
    signal = torch.randn_like(output)
    assert relative(project_value(tape, 1, signal, table), slow_unpool(signal, indices, (9, 8), overlap)) < 1e-12
    assert torch.equal(to_indices(tape.calls[0].kept.switches, tape.calls[0].kept), indices)


@pytest.mark.parametrize("pool", POOLS)
def test_unpooling_offset_by_offset_is_the_same(pool):
    """The deterministic way that GPUs take equals the fast way that the CPU takes."""
    x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    tape = run_model(nn.MaxPool2d(*pool[:4], ceil_mode=pool[4]), x, rules.DEFAULT).tape
    kept, signal = tape.calls[0].kept, torch.randn(tape.shapes[1], dtype=torch.float64)
    assert relative(unpool_by_offsets(signal, kept.switches, kept), unpool(signal, kept.switches, kept)) < 1e-12


def test_switches_take_one_byte_each():
    """Switches are offsets within the pooling window: one byte, four where a window has more than 256 places."""
    x = torch.randn(1, 2, 40, 40)
    for kernel, type_ in ((3, torch.uint8), (16, torch.uint8), (17, torch.int32)):
        tape = run_model(nn.MaxPool2d(kernel), x, rules.DEFAULT).tape
        assert tape.calls[0].kept.switches.dtype == type_


def test_without_switches_values_go_to_the_middle():
    """With the switches bit off, each value is put in the middle of its window, inside the frame."""
    table = rules.DEFAULT.given(switches=False)
    tape = run_model(nn.MaxPool2d(3), torch.randn(1, 1, 6, 6), table).tape
    result = project_value(tape, 1, torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), table)
    expected = torch.zeros(1, 1, 6, 6)
    expected[0, 0, 1::3, 1::3] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert torch.equal(result, expected)
    tape = run_model(nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), torch.randn(1, 1, 6, 5), table).tape
    assert project_value(tape, 1, torch.ones(1, 1, *tape.shapes[1][2:]), table).sum() == tape.shapes[1].numel()


@pytest.mark.parametrize("name", ["conv stride", "avg pool", "pad crops", "linear", "max pool overlapping", "batch norm"])
def test_linear_calls_are_adjoint(name):
    """<A x, y> = <x, A' y> for the calls that are linear (with the biases taken off)."""
    module, x, tape, value, output = run_case(name)
    y = torch.randn_like(output)
    matrix = jacobian(lambda x: module(x), x)
    up = (matrix @ x.flatten()).view_as(output)
    down = project_value(tape, value, y, rules.DEFAULT.given(mask=True, rectify=False))
    assert torch.allclose((up * y).sum(), (x * down).sum())


def test_batch_statistics_are_held():
    """Batch norm without running statistics takes its scale from the image, holds it, and says so."""
    module = nn.BatchNorm2d(3, track_running_stats=False).double().eval()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    tape = run_model(module, x, rules.DEFAULT).tape
    assert tape.calls[0].kept.status == "held"
    signal = torch.randn_like(x)
    scale = (x.var((0, 2, 3), unbiased=False) + module.eps).rsqrt().view(1, 3, 1, 1)
    assert relative(project_value(tape, 1, signal, rules.DEFAULT), signal * scale) < 1e-12


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: F.conv2d(x, x[:, :, :1, :1]), "more than its first argument descends from the image"),
        (lambda x: torch.cat([x, x], 0), "it mixes the images of the batch"),
        (lambda x: x.view(1, -1, 3, 3), "it mixes the images of the batch"),
        (lambda x: F.dropout(x), "it drops values at random even in eval mode"),
        (lambda x: torch.add(x, x, out=torch.zeros_like(x)), "it writes into out="),
    ],
)
def test_arguments_that_a_rule_cannot_mirror_raise_when_projected(function, why):
    """A call with arguments beyond its rule records, and raises with the reason when a projection meets it."""
    module = Of(function)
    tape = run_model(module, torch.randn(2, 2, 3, 3), rules.DEFAULT).tape
    call = next(call for call in tape.calls if call.problem)
    with pytest.raises(NoRuleError) as error:
        project_value(tape, call.outputs[0], torch.randn(tape.shapes[call.outputs[0]]), rules.DEFAULT)
    text = f"no mirror rule for {call.name} in '{call.layer}' ({why}). Add one: see docs/your-own-rule.md."
    assert str(error.value) == text


def test_table_refuses_a_second_row():
    """Two rows for one call raise: a registry must not overwrite in silence."""
    with pytest.raises(OptionError) as error:
        rules.Table({(torch.relu,): rules.Same(), (torch.relu, torch.tanh): rules.Same()})
    assert str(error.value) == "the rule table has two rows for relu. Use replace() to change one."


def test_replace_by_name_changes_all_aliases():
    """rules.replace(relu=...) replaces the rule of every way to call ReLU, and leaves the default table alone."""
    rule = rules.Same()
    table = rules.replace(relu=rule)
    assert all(table[func] is rule for func in (F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_))
    assert rules.DEFAULT[F.relu] is not rule


def test_replace_says_what_it_does_not_know():
    """An unknown name raises with close matches."""
    with pytest.raises(OptionError) as error:
        rules.replace(rellu=rules.Same())
    assert str(error.value) == "the rule table has no row named 'rellu'. Did you mean 'relu'? Give a new call by its function."


def test_rule_names_and_bits():
    """A rule is a name or its three bits; anything else is refused with the names."""
    assert rules.read_bits("guided") == rules.read_bits("TTT") == {"mask": True, "switches": True, "rectify": True}
    with pytest.raises(OptionError) as error:
        rules.read_bits("deconv")
    expected = "rule cannot be 'deconv': it is one of deconvnet, guided, gradient, or three bits such as FTT."
    assert str(error.value) == f"{expected} Did you mean 'deconvnet'?"


def test_kept_picks_rows_of_images():
    """Per-image tensors are picked by image, shared ones are left."""
    kept = Kept({"a": torch.arange(6).view(3, 2)}, size=(3, 2))
    assert kept.of(1).a.tolist() == [[2, 3]]
    assert kept.of(torch.tensor([2, 0])).a.tolist() == [[4, 5], [0, 1]]
    assert kept.of(None) is kept
    assert kept.of(1).size == (3, 2)
