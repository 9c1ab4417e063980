"""Ways of going up that learn or iterate: labelled parts, deconvolution, sparse codes, adaptive deconvolution, each with a slow twin."""

from __future__ import annotations

import json
import math
import re
import runpy
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deconvnet.drawings import draw
from deconvnet.errors import OptionError
from deconvnet.upsampling import adaptive, adaptive_learning, deconvolve, dictionary, figures, proximal, segment, sparse
from deconvnet.upsampling import deblur as restore
from deconvnet.upsampling import part_labels as parts
from deconvnet.upsampling.iou import boundary_iou, iou
from deconvnet.upsampling.sparse import Dictionary

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def labelled():
    """Sixteen drawings of 32 pixels and their labels."""
    return parts.draw_labelled(range(500, 516), 32)


@pytest.fixture(scope="module")
def edges():
    """Two drawings of 32 pixels without their smooth part."""
    pictures, _ = parts.draw_labelled(range(2), 32)
    return pictures - deconvolve.smooth(pictures)


def inner(one, other):
    return float((one * other).sum())


# Parts and overlaps


def test_every_part_of_a_line_is_drawn_somewhere():
    """No name among the thin parts is misspelt, and eyes, ears, wheels and windows get their labels whatever has them."""
    seen = {part for name, seed in product(parts.SCENES, range(6)) for part in draw(name, seed=seed, size=48).parts}
    kinds = {part.removeprefix("left ").removeprefix("right ") for part in seen}
    assert kinds >= parts.LINES
    named = {part: parts.LABELS[parts.label_of(part)] for part in seen}
    assert (named["left wheel"], named["wheels"], named["windows"], named["right eye"]) == ("wheel", "wheel", "window", "eye")
    assert (named["hull"], named["whiskers"], named["left ear"]) == ("thing", "line", "ear")


def test_labels_are_the_masks():
    """A pixel has the highest label among the parts that cover it, 0 where none does: pixel by pixel."""
    drawing = draw("cat", seed=4, size=40)
    labels = parts.label_parts(drawing)
    for row, col in product(range(40), range(40)):
        covering = [parts.label_of(part) for part, mask in drawing.parts.items() if mask[row, col]]
        assert labels[row, col] == max(covering, default=0)
    pictures, many = parts.draw_labelled(range(len(parts.SCENES)), 24)
    assert (pictures.shape, many.shape, many.dtype) == ((14, 3, 24, 24), (14, 24, 24), torch.int64)
    assert 0 <= pictures.min() < pictures.max() <= 1


def slow_iou(answer, truth, label, width=None):
    """Count pixel by pixel; with a width only those that see another label, or the outside, within it."""

    def inside(picture, number, row, col):
        if picture[number, row, col] != label:
            return False
        if width is None:
            return True
        reach = range(-width, width + 1)
        around = [(row + down, col + right) for down, right in product(reach, reach)]
        frame = picture.shape[1:]
        return any(not (0 <= r < frame[0] and 0 <= c < frame[1]) or picture[number, r, c] != label for r, c in around)

    both = either = 0
    for place in product(*map(range, truth.shape)):
        here, there = inside(answer, *place), inside(truth, *place)
        both += here and there
        either += here or there
    return both / either if either else math.nan


def test_overlaps_against_counting():
    """IoU and boundary IoU equal a count by hand over all pictures together; a label that nobody has is NaN."""
    truth = torch.zeros(2, 12, 15, dtype=torch.int64)
    truth[0, 2:9, 3:12], truth[1, :6, 5:], truth[1, 8:, 2:4] = 1, 2, 1
    answer = truth.roll((1, 1), (1, 2))
    answer[0, 4, 4] = 2
    whole, borders, wide = (
        iou(answer, truth, 4),
        boundary_iou(answer, truth, 4, width=1),
        boundary_iou(answer, truth, 4, width=2),
    )
    for label in range(4):
        assert whole[label].item() == pytest.approx(slow_iou(answer, truth, label), nan_ok=True)
        assert borders[label].item() == pytest.approx(slow_iou(answer, truth, label, 1), nan_ok=True)
        assert wide[label].item() == pytest.approx(slow_iou(answer, truth, label, 2), nan_ok=True)
    assert whole[3].isnan()
    assert torch.equal(boundary_iou(truth, truth, 3), torch.ones(3, dtype=torch.float64))
    assert 0.02 * math.hypot(64, 64) == pytest.approx(1.81, abs=0.01)  # so that 64 pixels have a band of two
    large = torch.zeros(1, 64, 64, dtype=torch.int64)
    large[:, 10:40, 10:50] = 1
    moved = large.roll(1, 1)
    assert torch.equal(boundary_iou(moved, large, 2), boundary_iou(moved, large, 2, width=2))


# The learned decoder


def test_fixed_unpooling_is_strided_deconvolution():
    """Into the top left corner and a transposed convolution of stride 1: one transposed convolution of stride 2."""
    small, conv = torch.randn(2, 5, 4, 6, dtype=torch.double), nn.ConvTranspose2d(5, 3, 3, padding=1).double()
    unpooled = segment.DECODERS["fixed"](small, (8, 12), None)
    strided = F.conv_transpose2d(small, conv.weight, conv.bias, stride=2, padding=1, output_padding=1)
    assert torch.allclose(conv(unpooled), strided, atol=1e-12)


@pytest.mark.parametrize("size", [(32, 40), (27, 35)])
def test_the_net_against_torch(size):
    """The net that unpools by switches is torch's own pools and unpools in a row; sizes need not be multiples of eight."""
    model = segment.Segmenter("switch").eval()
    pictures = torch.rand(2, 3, *size)
    signal, kept = 4 * pictures - 2, []
    for block in model.down:
        signal = block(signal)
        kept.append(signal.shape)
        signal, switches = F.max_pool2d(signal, 2, ceil_mode=True, return_indices=True)
        kept.append(switches)
    signal = model.waist(signal)
    for block in model.up:
        switches, large = kept.pop(), kept.pop()
        signal = block(F.max_unpool2d(signal, switches, 2, output_size=large[2:]))
    with torch.no_grad():
        assert torch.allclose(model(pictures), model.scores(signal), atol=1e-5)
        assert model(pictures).shape == (2, 7, *size)
    assert torch.equal(segment.segment(model, pictures), model(pictures).argmax(1))


def test_only_the_unpooling_differs(labelled):
    """Each way's net has the same parameters and first weights, the same seed trains the same net, and its loss falls."""
    pictures, labels = labelled
    before = torch.random.get_rng_state()
    firsts, first_losses = [], []
    for way in segment.DECODERS:
        torch.manual_seed(3)
        firsts.append(nn.utils.parameters_to_vector(segment.Segmenter(way).parameters()))
    torch.random.set_rng_state(before)
    assert all(torch.equal(first, firsts[0]) for first in firsts)
    for way in segment.DECODERS:
        model, losses = segment.train(way, pictures, labels, seed=3, steps=16)
        assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
        assert not model.training
        first_losses.append(losses[0])
    assert len(set(first_losses)) == 3  # one net, three ways
    again, _ = segment.train(way, pictures, labels, seed=3, steps=16)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_any_number_of_steps(labelled):
    """A training may be as short as one step."""
    for steps in (1, 2, 3, 4, 9):
        assert len(segment.train("nearest", *labelled, steps=steps)[1]) == steps


def test_label_weights(labelled):
    """A label's weight falls with the root of its share, and the weights of all pixels average 1."""
    weights = segment.label_weights(labelled[1])
    counts = [(labelled[1] == label).sum().item() for label in range(7)]
    assert all(counts)
    assert torch.allclose(weights[1:] / weights[:1], torch.tensor([math.sqrt(counts[0] / count) for count in counts[1:]]))
    assert weights[labelled[1]].mean().item() == pytest.approx(1)


@pytest.fixture(scope="module")
def compared():
    return segment.run(ways=("switch", "nearest"), seeds=(0, 5), steps=24, drawings=16, test_drawings=14, size=32, shown=3)


def test_comparison(compared):
    """A comparison holds what its docstring says; its measures are means over labels, its differences are seed by seed."""
    assert compared.iou.shape == compared.boundary.shape == (2, 2, 7)
    assert (compared.losses.shape, compared.answers.shape, compared.pictures.shape) == (
        (2, 2, 24),
        (2, 3, 32, 32),
        (3, 32, 32, 3),
    )
    assert compared.parameters == sum(parameter.numel() for parameter in segment.Segmenter("fixed").parameters())
    pictures, labels = parts.draw_labelled(range(segment.TRAINING_SEEDS, segment.TRAINING_SEEDS + 16), 32)
    fresh, truth = parts.draw_labelled(range(segment.TEST_SEEDS, segment.TEST_SEEDS + 14), 32)
    model, _ = segment.train("nearest", pictures, labels, seed=5, steps=24)
    answer = segment.segment(model, fresh)
    expected = [slow_iou(answer, truth, label) for label in range(7)]
    assert compared.iou[1, 1] == pytest.approx(np.array(expected), abs=0.02)  # a pixel may flip with the memory's layout
    assert compared.measures()["mean IoU"][1, 1] == pytest.approx(np.nanmean(compared.iou[1, 1]))
    lines = compared.iou[:, :, parts.LABELS.index("line")]
    assert compared.differences("switch", "nearest")["IoU of lines"] == pytest.approx(lines[0] - lines[1])


def test_figure_of_the_comparison(compared):
    """The figure shows a row a drawing, with truth and a column a way, and a dot for each seed."""
    figure = figures.plot_comparison(compared)
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert titles[:4] == ["drawing", "truth", "switch", "nearest"]
    assert {"mean IoU", "boundary IoU", "IoU of lines"} <= set(titles)
    assert len(figure.get_axes()) == 3 * 4 + 3
    dots = [line for line in figure.get_axes()[-1].get_lines() if len(line.get_xdata()) == 1]
    assert len(dots) == 4


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ways": ["max"]}, "way cannot be 'max': it is one of switch, fixed, nearest."),
        ({"ways": []}, "cannot compare ways [] with seeds [0]: give one of each or more, none twice."),
        (
            {"seeds": (1, 1)},
            "cannot compare ways ['switch', 'fixed', 'nearest'] with seeds [1, 1]: give one of each or more, none twice.",
        ),
        ({"steps": 0}, "cannot train 0 steps on 140 drawings of 64 pixels: give a step, 8 drawings and 16 pixels or more."),
        ({"drawings": 7}, "cannot train 400 steps on 7 drawings of 64 pixels: give a step, 8 drawings and 16 pixels or more."),
    ],
)
def test_comparisons_that_cannot_be(asked, said):
    """What cannot be compared is refused before anything is drawn."""
    with pytest.raises(OptionError) as caught:
        segment.run(**asked)
    assert str(caught.value) == said


def test_command(tmp_path, monkeypatch):
    """`deconvnet segment` trains, prints the table, and writes figure and numbers."""
    from deconvnet.cli.segment import segment as command

    monkeypatch.chdir(tmp_path)
    options = ["--ways", "switch,fixed", "--seeds", "2", "--steps", "1", "--drawings", "8", "--size", "16", "--device", "cpu"]
    done = CliRunner().invoke(command, [*options, "--json", "table.json"], catch_exceptions=False)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["unpooling", "mean", "IoU", "boundary", "IoU", "IoU", "of", "lines"]
    assert [line.split()[0] for line in lines[1:3]] == ["switch", "fixed"]
    assert lines[3:] == ["segment.png", "table.json"]
    numbers = json.loads((tmp_path / "table.json").read_text())
    assert np.shape(numbers["iou"]) == (2, 2, 7)
    assert numbers["settings"]["steps"] == 1


# Proper deconvolution


def slow_convolve(plane, kernel, border):
    """Sum by sum, the kernel flipped: out[i] = sum over j of kernel[j] * plane[i - j], from its middle."""
    height, width = plane.shape
    tall, wide = kernel.shape[0] // 2, kernel.shape[1] // 2
    index = {
        "reflect": lambda at, side: -at if at < 0 else 2 * (side - 1) - at if at >= side else at,
        "edge": lambda at, side: min(max(at, 0), side - 1),
        "circular": lambda at, side: at % side,
        "zero": lambda at, side: at if 0 <= at < side else None,
    }[border]
    out = np.zeros_like(plane)
    for row, col, down, right in product(range(height), range(width), range(-tall, tall + 1), range(-wide, wide + 1)):
        r, c = index(row - down, height), index(col - right, width)
        if r is not None and c is not None:
            out[row, col] += kernel[down + tall, right + wide] * plane[r, c]
    return out


LOPSIDED = torch.tensor([[0.0, 1.0, 2.0], [0.0, 3.0, 0.0], [4.0, 0.0, 0.0]], dtype=torch.double) / 10


@pytest.mark.parametrize("border", deconvolve.BORDERS)
def test_convolution_against_loops(border):
    """Blurring flips its kernel, channel by channel, and goes on beyond the edge as asked."""
    picture = torch.rand(2, 3, 7, 9, dtype=torch.double)
    blurred = deconvolve.convolve(picture, LOPSIDED, border=border)
    for image, channel in product(range(2), range(3)):
        expected = slow_convolve(picture[image, channel].numpy(), LOPSIDED.numpy(), border)
        assert np.allclose(blurred[image, channel], expected)


def test_convolution_without_a_border_and_with_noise():
    """Without a border the frame shrinks by what the blur needs; noise has the deviation asked for and follows the seed."""
    picture = torch.rand(1, 2, 40, 50)
    whole, inside = deconvolve.convolve(picture, LOPSIDED), deconvolve.convolve(picture, LOPSIDED, border="none")
    assert torch.allclose(whole[:, :, 1:-1, 1:-1], inside, atol=1e-6)
    noisy = deconvolve.convolve(picture, LOPSIDED, noise=0.1, seed=4)
    assert (noisy - whole).std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(noisy, deconvolve.convolve(picture, LOPSIDED, noise=0.1, seed=4))
    assert not torch.equal(noisy, deconvolve.convolve(picture, LOPSIDED, noise=0.1, seed=5))


def test_kernels():
    """Kernels sum to 1, have a middle, and stand around it; a quarter turn of the motion transposes its kernel."""
    kernels = [deconvolve.gaussian_blur(1.3), deconvolve.motion_blur(7), deconvolve.motion_blur(8, 33.0)]
    kernels += [deconvolve.box_blur(factor) for factor in (1, 2, 3, 4)]
    for kernel in kernels:
        assert all(side % 2 for side in kernel.shape)
        assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-6 if kernel.shape != (9, 9) else 0.02)
    assert deconvolve.gaussian_blur(2.0, 1)[1, 1] / deconvolve.gaussian_blur(2.0, 1)[0, 1] == pytest.approx(math.exp(1 / 8))
    assert torch.equal(deconvolve.motion_blur(7)[3] > 0, torch.ones(7, dtype=torch.bool))
    assert torch.allclose(deconvolve.motion_blur(7, 90.0), deconvolve.motion_blur(7).T, atol=0.01)
    assert deconvolve.motion_blur(9, 30.0)[6, 7] > 0  # clockwise from the right: down and to the right
    assert torch.allclose(deconvolve.box_blur(2), torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)


def test_wiener_against_its_formula():
    """With a circular border it is conj(H) Y / (|H|^2 + balance |L|^2), L the Laplacian, once the picture is continued."""
    pytest.importorskip("skimage")
    blur, balance = deconvolve.gaussian_blur(1.0, 2).double(), 0.02
    picture = torch.rand(1, 2, 12, 16, dtype=torch.double)
    seen = deconvolve.convolve(picture, blur, border="circular")
    made = deconvolve.wiener(seen, (12, 16), blur=blur, balance=balance, border="circular")
    tall, wide = 2 * 5, 2 * 5  # the margins that the picture is continued by
    plane = np.pad(seen[0, 1].numpy(), ((tall, tall), (wide, wide)), mode="wrap")

    def spectrum(kernel):
        frame = np.zeros_like(plane)
        for row, col in product(range(kernel.shape[0]), range(kernel.shape[1])):
            frame[row - kernel.shape[0] // 2, col - kernel.shape[1] // 2] = kernel[row, col]
        return np.fft.fft2(frame)

    response, rough = spectrum(blur.numpy()), spectrum(np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0.0]]))
    filtered = response.conj() / (abs(response) ** 2 + balance * abs(rough) ** 2) * np.fft.fft2(plane)
    expected = np.fft.ifft2(filtered).real[tall:-tall, wide:-wide]
    assert np.allclose(made[0, 1], expected, atol=1e-10)


def test_richardson_lucy_against_its_formula():
    """x <- x * (k' * (y / (k * x))), from one half everywhere, with black beyond: plain loops, lopsided kernel."""
    pytest.importorskip("skimage")
    seen = torch.rand(1, 1, 6, 7, dtype=torch.double)
    made = deconvolve.richardson_lucy(seen, (6, 7), blur=LOPSIDED, iterations=3, border="zero")
    plane, top = np.pad(seen[0, 0].numpy(), 6), seen.max().item()
    guess = np.full_like(plane, 0.5)
    for _ in range(3):
        ratio = plane / top / (slow_convolve(guess, LOPSIDED.numpy(), "zero") + 1e-12)
        guess = guess * slow_convolve(ratio, LOPSIDED.numpy()[::-1, ::-1], "zero")
    assert np.allclose(made[0, 0], top * guess[6:-6, 6:-6], atol=1e-8)


def test_deconvolution_undoes_a_circular_blur():
    """Without noise, and where the picture really wraps around, Wiener's filter brings back nearly everything."""
    pytest.importorskip("skimage")
    picture = torch.rand(1, 3, 24, 30, dtype=torch.double)
    blur = deconvolve.gaussian_blur(0.8)
    seen = deconvolve.convolve(picture, blur, border="circular")
    made = deconvolve.wiener(seen, (24, 30), blur=blur, balance=1e-9, border="circular")
    assert (made - picture).abs().max() < 1e-3 < 0.1 < (seen - picture).abs().max()


def test_going_up_by_deconvolution():
    """Without a blur of its own the average over blocks is undone: a little nearer than interpolation, and for any maps."""
    pytest.importorskip("skimage")
    drawn = torch.from_numpy(np.array(draw("bicycle", seed=5, size=128).picture)).permute(2, 0, 1) / 255
    large = torch.cat([drawn, torch.zeros(1, 128, 128)])[None]  # four channels, one of them empty
    small = F.avg_pool2d(large, 4)
    plain = F.interpolate(small, (128, 128), mode="bicubic")
    sharper, lucy = deconvolve.wiener(small, (128, 128)), deconvolve.richardson_lucy(small, (128, 128))
    assert (sharper - large).square().mean() < 0.97 * (plain - large).square().mean()
    assert (lucy - large).square().mean() < 0.97 * (plain - large).square().mean()
    assert torch.equal(lucy[:, 3], large[:, 3])
    assert torch.equal(deconvolve.wiener(small, (32, 32)), small)  # nothing was averaged, nothing is to be undone
    assert torch.allclose(deconvolve.wiener(3 - 7 * small, (128, 128)), 3 - 7 * sharper, atol=1e-4)


def test_restorations():
    """Both ways come nearer to the sharp picture; what is assumed beyond the edge counts; decibels are as defined."""
    pytest.importorskip("skimage")
    scene = parts.draw_labelled([7], 108)[0]
    result = restore.run(scene, deconvolve.gaussian_blur(1.5), noise=0.005, iterations=20)
    assert result.sharp.shape == (1, 3, 72, 72)
    assert torch.equal(result.sharp, scene[:, :, 18:-18, 18:-18])
    found = {one.name: one for one in result.tried}
    error = (found["blurred"].made - result.sharp).double().square()
    assert found["blurred"].psnr == pytest.approx(-10 * math.log10(error.mean().item()), abs=1e-6)
    assert found["blurred"].inside == pytest.approx(-10 * math.log10(error[:, :, 5:-5, 5:-5].mean().item()), abs=1e-6)
    for way in ("wiener", "richardson-lucy"):
        assert found[f"{way}, edge"].psnr > found["blurred"].psnr + 0.5
        assert found[f"{way}, edge"].psnr > found[f"{way}, circular"].psnr
        assert found[f"{way}, edge"].psnr > found[f"{way}, zero"].psnr + 1
    figure = figures.plot_restorations(result)
    assert sum(bool(axes.get_title()) for axes in figure.get_axes()) == 9


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: deconvolve.gaussian_blur(0), "sigma cannot be 0: a blur has a width above 0 pixels."),
        (lambda: deconvolve.motion_blur(0), "length cannot be 0: a motion goes over one pixel or more."),
        (lambda: deconvolve.box_blur(0), "factor cannot be 0: a block has one pixel or more."),
        (lambda: deconvolve.convolve(torch.rand(1, 1, 9, 9), torch.full((2, 2), 0.25)),
         "a blur is (k, k) with odd sides, so that it has a middle, found (2, 2). Pad it with zeros."),
        (lambda: deconvolve.convolve(torch.rand(1, 1, 9, 9), torch.ones(3, 3)),
         "a blur has no negative values and sums to 1, found a sum of 9. Divide it by that."),
        (lambda: deconvolve.convolve(torch.rand(1, 1, 4, 9), deconvolve.box_blur(5), border="none"),
         "the blur of 5x5 is larger than the picture. Give a border, or a larger one."),
        (lambda: deconvolve.convolve(torch.rand(1, 1, 2, 9), deconvolve.box_blur(5)),
         "a picture of 2x9 cannot go on for 2x2 by 'reflect'. Use 'edge'."),
        (lambda: deconvolve.convolve(torch.rand(1, 1, 9, 9), deconvolve.box_blur(3), border="white"),
         "border cannot be 'white': it is one of reflect, edge, circular, zero, none."),
        (lambda: deconvolve.wiener(torch.rand(1, 1, 9, 9), (9, 9), balance=0),
         "balance cannot be 0: it is above 0, or the noise would be all that is seen."),
        (lambda: deconvolve.richardson_lucy(-torch.ones(1, 1, 9, 9), (9, 9)),
         "richardson-lucy takes no negative values: it counts light. Give a picture in 0..1 or a rectified map."),
        (lambda: deconvolve.richardson_lucy(torch.ones(1, 1, 9, 9), (9, 9), iterations=0),
         "iterations cannot be 0: give 1 or more."),
        (lambda: restore.run(torch.rand(1, 3, 30, 30), deconvolve.box_blur(13)),
         "a scene of 30x30 is too small for a blur of 13x13: it is cut by a sixth on every side. "
         "Give one of three times the blur or more."),
    ],
)  # fmt: skip
def test_deconvolutions_that_cannot_be(call, said):
    """What cannot be blurred or undone is refused in one line."""
    pytest.importorskip("skimage")
    with pytest.raises(OptionError) as caught:
        call()
    assert str(caught.value) == said


# Sparse coding


def slow_synthesis(codes, given, size):
    """Put down atom after atom, pixel after pixel."""
    count, channels, tall, wide = given.atoms.shape
    picture = np.zeros((channels, *size))
    for atom, row, col in product(range(count), range(codes.shape[1]), range(codes.shape[2])):
        for channel, down, right in product(range(channels), range(tall), range(wide)):
            r, c = (
                place * given.stride + at - edge for place, at, edge in zip((row, col), (down, right), given.edges, strict=True)
            )
            if given.border == "circular":
                r, c = r % size[0], c % size[1]
            if 0 <= r < size[0] and 0 <= c < size[1]:
                picture[channel, r, c] += codes[atom, row, col] * given.atoms[atom, channel, down, right].item()
    return picture


@pytest.mark.parametrize(
    ("border", "stride", "padding", "size"),
    [
        ("circular", 1, None, (6, 8)),
        ("circular", 2, None, (6, 8)),
        ("zero", 1, None, (6, 8)),
        ("zero", 2, 1, (7, 8)),
        ("zero", 3, 0, (9, 8)),
    ],
)
def test_synthesis_against_loops(border, stride, padding, size):
    """The picture that codes stand for is atoms put down one by one, wrapped or cut at the edge."""
    given = Dictionary(torch.randn(3, 2, 3, 5, dtype=torch.double), stride, padding, border)
    codes = torch.randn(1, 3, *given.code_size(size), dtype=torch.double)
    assert np.allclose(given.synthesise(codes, size)[0], slow_synthesis(codes[0].numpy(), given, size))
    assert torch.equal(sparse.synthesise(codes, size, dictionary=given), given.synthesise(codes, size))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    border=st.sampled_from(sparse.BORDERS), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), stride=st.integers(1, 3),
    padding=st.none() | st.integers(0, 3), size=st.tuples(st.integers(5, 12), st.integers(5, 12)), channels=st.integers(1, 3),
)  # fmt: skip
def test_the_two_operators_are_adjoint(border, kernel, stride, padding, size, channels):
    """<put down x, y> = <x, hold against y>, whatever the stride, the padding and the border."""
    stride = min(stride, *kernel)
    if border == "circular":
        size = tuple(side - side % stride for side in size)
        size = tuple(max(side, -(-tall // stride) * stride) for side, tall in zip(size, kernel, strict=True))
    generator = torch.Generator().manual_seed(0)
    given = Dictionary(torch.randn(4, channels, *kernel, generator=generator, dtype=torch.double), stride, padding, border)
    codes = torch.randn(2, 4, *given.code_size(size), generator=generator, dtype=torch.double)
    picture = torch.randn(2, channels, *size, generator=generator, dtype=torch.double)
    assert inner(given.synthesise(codes, size), picture) == pytest.approx(inner(codes, given.correlate(picture)), abs=1e-9)


def dense(given, size):
    """The matrix whose columns are the pictures of single codes."""
    height, width = given.code_size(size)
    units = torch.eye(len(given.atoms) * height * width, dtype=torch.double).view(-1, len(given.atoms), height, width)
    return given.synthesise(units, size).flatten(1).T.numpy()


@pytest.mark.parametrize("border", sparse.BORDERS)
def test_largest_eigenvalue_against_a_matrix(border):
    """Power iteration finds the matrix's largest singular value squared, from below and to within the margin of the step."""
    given = Dictionary(dictionary.normalised(torch.randn(5, 2, 3, 3, dtype=torch.double)), border=border)
    exact = np.linalg.svd(dense(given, (8, 9)), compute_uv=False)[0] ** 2
    found = given.eigenvalue((8, 9))
    assert exact / proximal.MARGIN < found <= exact * (1 + 1e-9)
    assert proximal.largest_eigenvalue(torch.zeros_like, torch.ones(3)) == 0


def coordinate_descent(matrix, target, penalty, rounds):
    """Minimise the same objective one code at a time, each exactly: nothing shared with FISTA but the objective."""
    codes, rest, norms = np.zeros(matrix.shape[1]), target.copy(), (matrix**2).sum(0)
    for _ in range(rounds):
        for column in np.flatnonzero(norms > 1e-12):
            reach = matrix[:, column] @ rest + norms[column] * codes[column]
            new = np.sign(reach) * max(abs(reach) - penalty, 0) / norms[column]
            rest -= matrix[:, column] * (new - codes[column])
            codes[column] = new
    return codes, rest @ rest / 2 + penalty * abs(codes).sum()


@pytest.mark.parametrize("border", sparse.BORDERS)
def test_fista_against_coordinate_descent(border):
    """FISTA ends where coordinate descent on the dense matrix ends, and fulfils the conditions of a minimum."""
    given = Dictionary(dictionary.normalised(torch.randn(4, 1, 3, 3, dtype=torch.double)), border=border)
    picture, penalty = torch.randn(1, 1, 7, 8, dtype=torch.double), 0.4
    found = sparse.encode(picture, given, penalty=penalty, iterations=3000, tolerance=0)
    matrix = dense(given, (7, 8))
    _, expected = coordinate_descent(matrix, picture.flatten().numpy(), penalty, 600)
    assert found.objective[-1] == pytest.approx(expected, rel=1e-6)
    codes = found.codes.flatten().numpy()
    pull = matrix.T @ (picture.flatten().numpy() - matrix @ codes)
    assert abs(pull).max() < penalty + 1e-4
    assert np.allclose(pull[codes != 0], penalty * np.sign(codes[codes != 0]), atol=1e-4)
    assert 0 < found.density < 0.6
    objective = (found.made - picture).square().sum() / 2 + penalty * found.codes.abs().sum()
    assert objective.item() == pytest.approx(found.objective[-1])


def test_momentum_pays(edges):
    """ISTA and FISTA never raise the objective; FISTA is further down after as many steps, and both end at one place."""
    given = Dictionary(dictionary.first_atoms(edges, 8, 5, seed=0))
    quick = sparse.encode(edges[:1], given, penalty=0.1, iterations=40, tolerance=0).objective
    slow = sparse.encode(edges[:1], given, penalty=0.1, iterations=40, tolerance=0, accelerated=False).objective
    assert len(quick) == len(slow) == 41
    for course in (quick, slow):
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(course))
    assert quick[-1] < slow[-1]
    small = edges[:1, :, 8:20, 8:20].double()
    ends = [
        sparse.encode(small, given, penalty=0.1, iterations=3000, tolerance=0, accelerated=fast).objective[-1]
        for fast in (True, False)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


def test_it_stops_when_nothing_is_saved_and_goes_on_from_codes(edges):
    """With a tolerance it ends early; started from codes, it begins at their objective."""
    given = Dictionary(dictionary.first_atoms(edges, 8, 5, seed=0))
    first = sparse.encode(edges, given, penalty=0.1, iterations=400, tolerance=1e-3)
    assert len(first.objective) < 200
    again = sparse.encode(edges, given, penalty=0.1, iterations=3, start=first.codes)
    assert again.objective[0] == pytest.approx(first.objective[-1], rel=1e-6)


def sporco_objective(given, picture, penalty):
    """Return SPORCO's codes (M, H, W) and the objective that they reach."""
    cbpdn = pytest.importorskip("sporco.admm.cbpdn", reason="SPORCO is not installed: nothing to hold the codes against")
    atoms = given.atoms.permute(2, 3, 1, 0).numpy()  # (M, C, k, k) -> (k, k, C, M)
    options = cbpdn.ConvBPDN.Options({"Verbose": False, "MaxMainIter": 400, "RelStopTol": 1e-5})
    solver = cbpdn.ConvBPDN(atoms, picture[0].permute(1, 2, 0).numpy(), penalty, options, dimK=0)
    codes = solver.solve().squeeze()
    return torch.from_numpy(codes).permute(2, 0, 1)[None]


@pytest.mark.parametrize("channels", [1, 3])
def test_against_sporco(channels):
    """With the same dictionary, picture and penalty FISTA reaches SPORCO's objective to 1e-6, and its codes."""
    pictures, _ = parts.draw_labelled([5], 32)
    picture = (pictures - deconvolve.smooth(pictures))[:, :channels, :24].double()
    given = Dictionary(dictionary.normalised(torch.randn(6, channels, 5, 5, dtype=torch.double)), border="circular")
    theirs = sporco_objective(given, picture, 0.1)
    ours = sparse.encode(picture, given, penalty=0.1, iterations=500, tolerance=0)
    made = given.synthesise(theirs, (24, 32))
    reached = ((made - picture).square().sum() / 2 + 0.1 * theirs.abs().sum()).item()
    assert ours.objective[-1] == pytest.approx(reached, rel=1e-6)
    assert ours.objective[-1] < 0.9 * ours.objective[0]
    assert (ours.codes - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_the_first_step_is_a_forward_pass(edges):
    """From zero, one step for codes that are not negative is the convolution, a bias and a ReLU."""
    given = Dictionary(dictionary.first_atoms(edges, 6, 5, seed=0), stride=2)
    step = 1 / (proximal.MARGIN * given.eigenvalue((32, 32)))
    found = sparse.encode(edges, given, penalty=0.3, iterations=1, accelerated=False, nonnegative=True)
    layer = F.relu(F.conv2d(edges, step * given.atoms, bias=torch.full((6,), -0.3 * step), stride=2, padding=2))
    assert torch.allclose(found.codes, layer, atol=1e-6)
    assert found.codes.min() == 0 < found.codes.max()


def test_learning_a_dictionary(edges):
    """Each round lowers the objective, atoms keep norm 1, the seed decides; learned atoms beat those it started from."""
    learned = dictionary.learn(edges, atoms=6, side=5, penalty=0.05, rounds=6, seed=1)
    assert all(after < before for before, after in pairwise(learned.objective))
    assert torch.allclose(learned.dictionary.atoms.flatten(1).norm(dim=1), torch.ones(6), atol=1e-5)
    again = dictionary.learn(edges, atoms=6, side=5, penalty=0.05, rounds=1, seed=1)
    assert again.objective[0] == pytest.approx(learned.objective[0], rel=1e-6)
    started = Dictionary(dictionary.first_atoms(edges, 6, 5, seed=1))
    costs = [sparse.encode(edges, given, penalty=0.05, iterations=100).objective[-1] for given in (started, learned.dictionary)]
    assert costs[1] < 0.95 * costs[0]
    rest = learned.dictionary.synthesise(learned.codes, (32, 32)) - edges
    assert learned.objective[-1] == pytest.approx((rest.square().sum() / 2 + 0.05 * learned.codes.abs().sum()).item(), rel=1e-5)


def test_atoms_step_against_least_squares():
    """Enough steps for the atoms reach the least-squares solution by dense algebra, where that lies within norm 1."""
    codes = torch.randn(2, 3, 9, 9, dtype=torch.double) * (torch.rand(2, 3, 9, 9) < 0.3)
    wanted = 0.5 * dictionary.normalised(torch.randn(3, 1, 3, 3, dtype=torch.double))
    pictures = Dictionary(wanted).synthesise(codes, (9, 9)) + 0.01 * torch.randn(2, 1, 9, 9, dtype=torch.double)

    def make(atoms, codes):
        return Dictionary(atoms).synthesise(codes, (9, 9))

    columns = torch.stack([make(unit.view(3, 1, 3, 3), codes).flatten() for unit in torch.eye(27, dtype=torch.double)], 1)
    best = torch.linalg.lstsq(columns, pictures.flatten()[:, None]).solution.view(3, 1, 3, 3)
    start = dictionary.normalised(torch.randn(3, 1, 3, 3, dtype=torch.double))
    atoms, scaled = dictionary.better_atoms(start, codes, make, pictures, steps=500)
    assert torch.allclose(make(atoms, scaled), make(best, codes), atol=1e-5)
    assert torch.allclose(atoms, dictionary.normalised(best), atol=1e-4)
    assert scaled.abs().sum() < codes.abs().sum()  # atoms of half the norm were scaled up, their codes down
    unused, same = dictionary.better_atoms(start, torch.zeros_like(codes), make, pictures)
    assert torch.equal(unused, start)
    assert torch.equal(same, torch.zeros_like(codes))


def test_a_layers_filters_as_dictionary(tiny):
    """A first layer becomes a dictionary of its stride and padding, each filter at norm 1, dead ones left out."""
    conv = tiny.model.features[0]
    given = dictionary.from_layer(conv)
    assert (given.atoms.shape, given.stride, given.padding) == ((32, 3, 7, 7), 2, 1)
    assert torch.allclose(given.atoms * conv.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1), conv.weight, atol=1e-6)
    assert given.code_size((96, 96)) == (46, 46)
    dead = nn.Conv2d(1, 4, 3, stride=2)
    dead.weight.data[2] = 0
    assert torch.equal(dictionary.from_layer(dead).atoms, dictionary.normalised(dead.weight.detach()[[0, 1, 3]]))


def test_codes_come_nearer_than_a_forward_pass(tiny):
    """With tiny's own filters, codes that were searched for make a better picture than one pass up and down, from fewer values."""
    picture = tiny.preprocess(draw("house", seed=3).picture)[None]
    given = dictionary.from_layer(tiny.model.features[0])
    one = sparse.encode(picture, given, penalty=0.5, iterations=1, accelerated=False)
    many = sparse.encode(picture, given, penalty=0.5, iterations=60)

    def error(made):
        scale = inner(made, picture) / inner(made, made)  # at its best brightness
        return (scale * made - picture).square().mean()

    assert error(many.made) < 0.35 * error(one.made)
    assert many.density < one.density


def test_squeezenet_as_dictionary(shared):
    """The first layer of a real SqueezeNet codes a photograph: the objective falls far, most codes are zero."""
    import deconvnet

    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights" / "squeezenet1_0.safetensors"))
    photograph = sorted((shared / "images" / "imagenet-sample").rglob("*.*"))[0]
    picture = loaded.preprocess(photograph)[None, :, 80:160, 80:160]
    given = dictionary.from_layer(loaded.model.features[0])
    assert (given.stride, given.padding, given.atoms.shape[1:]) == (2, 0, (3, 7, 7))
    found = sparse.encode(picture, given, penalty=0.3, iterations=25)
    assert found.objective[-1] < 0.3 * found.objective[0]
    assert found.density < 0.25


def test_figure_of_codes(edges):
    """The figure shows the atoms on one page and eight panels, and says how many codes there are."""
    given = Dictionary(dictionary.first_atoms(edges, 5, 5, seed=0))
    found = sparse.encode(edges[:1], given, penalty=0.1, iterations=5)
    figure = figures.plot_codes(edges[0] + 0.5, torch.full((3, 32, 32), 0.5), given, found)
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert titles[-1] == "codes of atom 3"
    assert f"made of atoms\n{int((found.codes != 0).sum()):,} codes of {5 * 32 * 32:,}" in titles
    page = figures.draw_atoms(given.atoms)
    assert page.shape == (2 * 6 + 1, 3 * 6 + 1, 3)
    assert (page[0] == 255).all()
    assert (page[7:, 13:] == 255).all()  # five atoms in six places


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Dictionary(torch.rand(3, 5, 5)), "a dictionary is atoms (M, C, kh, kw), found (3, 5, 5). One grey atom: atom[None, None]."),
        (lambda: Dictionary(torch.rand(2, 1, 3, 5), 4), "stride cannot be 4: atoms of 3x5 would leave gaps. Give 1 to 3."),
        (lambda: Dictionary(torch.rand(2, 1, 3, 5), border="mirror"), "border cannot be 'mirror': it is one of circular, zero."),
        (lambda: Dictionary(torch.rand(2, 1, 4, 4), 2, border="circular").code_size((9, 8)),
         "a circular picture of 9x8 does not fit atoms of 4x4 every 2. Crop it to a multiple of the stride, no smaller than an atom."),
        (lambda: Dictionary(torch.rand(2, 1, 5, 5), padding=0).code_size((4, 8)),
         "a picture of 4x8 has no room for an atom. Give a larger one, or padding."),
        (lambda: sparse.synthesise(torch.rand(1, 3, 8, 8), (8, 8), dictionary=torch.rand(2, 1, 3, 3)),
         "these codes are 3x8x8: for 8x8 pixels this dictionary takes 2x8x8."),
        (lambda: sparse.encode(torch.rand(1, 1, 8, 8), Dictionary(torch.rand(2, 1, 3, 3)), penalty=0),
         "penalty cannot be 0: codes that cost nothing are not sparse. Give a number above 0."),
        (lambda: sparse.encode(torch.rand(1, 3, 8, 8), Dictionary(torch.rand(2, 1, 3, 3)), penalty=1),
         "the picture has 3 channels, the atoms 1. Give as many."),
        (lambda: dictionary.learn(torch.rand(1, 3, 8, 8), side=9, penalty=1),
         "cannot learn 32 atoms of 9x9 in 30 rounds from pictures of 8x8: "
         "give an atom and a round or more, and atoms no larger than a picture."),
        (lambda: dictionary.from_layer(nn.Linear(2, 2)),
         "a Linear has no filters to take as atoms. Give a Conv2d, such as a net's first layer."),
        (lambda: dictionary.from_layer(nn.Conv2d(4, 4, 3, groups=2)),
         "Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), groups=2) cannot be taken as a dictionary: "
         "its groups or dilation, stride or padding are uneven. Give a plain one."),
    ],
)  # fmt: skip
def test_codes_that_cannot_be(call, said):
    """What cannot be coded is refused in one line."""
    with pytest.raises(OptionError) as caught:
        call()
    assert str(caught.value) == said


# Adaptive deconvolution


def slow_pool(maps):
    """Block by block: the place of the largest |z|, the first of equals."""
    count, height, width = maps.shape
    pooled = np.zeros((-(-count // 2), -(-height // 2), -(-width // 2)))
    places = np.zeros_like(pooled, dtype=int)
    for block in np.ndindex(pooled.shape):
        best = -1.0
        for offset in product(range(2), repeat=3):
            at = tuple(2 * corner + step for corner, step in zip(block, offset, strict=True))
            if all(a < side for a, side in zip(at, maps.shape, strict=True)) and abs(maps[at]) > best:
                best = abs(maps[at])
                pooled[block], places[block] = maps[at], 4 * offset[0] + 2 * offset[1] + offset[2]
    return pooled, places


@settings(max_examples=30, deadline=None, derandomize=True)
@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)), coarse=st.booleans())
def test_three_dimensional_pooling(shape, coarse):
    """Pooling is as counted block by block; unpooling keeps exactly the maxima and nothing else, and is the adjoint of reading."""
    generator = torch.Generator().manual_seed(sum(shape))
    maps = torch.randn(2, *shape, generator=generator, dtype=torch.double)
    if coarse:
        maps = maps.round()  # ties and zeros
    pooled, switches = adaptive.pool(maps)
    for image in range(2):
        expected = slow_pool(maps[image].numpy())
        assert np.array_equal(pooled[image], expected[0])
        assert np.array_equal(switches.places[image], expected[1])
    kept = adaptive.unpool(pooled, switches)
    assert kept.shape == maps.shape
    assert torch.equal(kept[kept != 0], maps[kept != 0])
    assert int((kept != 0).sum()) == int((pooled != 0).sum())
    assert torch.equal(adaptive.pool(kept)[0], pooled)
    signal = torch.randn(pooled.shape, generator=generator, dtype=torch.double)
    assert inner(adaptive.unpool(signal, switches), maps) == pytest.approx(
        inner(signal, adaptive.pool_by(maps, switches)), abs=1e-9
    )


def test_shrink_and_pool_is_the_cheapest():
    """Shrinking, then keeping the largest of a block, minimises 1/2 |z - v|^2 + b |z|_1 with at most one value a block."""
    wanted, cost = torch.randn(1, 2, 2, 2, dtype=torch.double), 0.3
    found = adaptive.one_a_block(proximal.shrink(wanted, cost)).flatten()

    def price(codes):
        return ((codes - wanted.flatten()).square().sum() / 2 + cost * codes.abs().sum()).item()

    grid = torch.linspace(-4, 4, 8001, dtype=torch.double)
    tried = []
    for place in range(8):
        rest = wanted.flatten().square().sum() - wanted.flatten()[place] ** 2
        tried.append((((grid - wanted.flatten()[place]).square() + rest) / 2 + cost * grid.abs()).min().item())
    assert (found != 0).sum() <= 1
    assert price(found) <= min(tried) + 1e-12
    assert price(found) == pytest.approx(min(tried), abs=1e-6)


@pytest.fixture(scope="module")
def stacked(edges):
    """Random filters of two layers and what they find in two drawings."""
    torch.manual_seed(1)
    filters = [dictionary.normalised(torch.randn(6, 3, 5, 5)), dictionary.normalised(torch.randn(8, 3, 3, 3))]
    return filters, adaptive.infer(edges, filters, penalty=0.05, iterations=12)


def test_the_slope_against_autograd(edges, stacked):
    """R'(R z - y), through two layers and their switches, is autograd's gradient of half the squares."""
    filters, layers = stacked
    filters = tuple(layer.double() for layer in filters)
    stack = adaptive.Stack(filters, (layers[0].switches,), (32, 32))
    maps = torch.randn(2, 8, 16, 16, dtype=torch.double, requires_grad=True)
    rest = stack.synthesise(maps) - edges.double()
    (expected,) = torch.autograd.grad(rest.square().sum() / 2, maps)
    assert torch.allclose(stack.correlate(rest.detach()), expected, atol=1e-10)


def test_inference(edges, stacked):
    """In both layers the objective falls at every step, at most one value a block is left, and the picture comes nearer."""
    filters, layers = stacked
    for number, layer in enumerate(layers):
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(layer.objective))
        assert layer.objective[-1] < 0.8 * layer.objective[0]
        assert torch.equal(adaptive.unpool(layer.pooled, layer.switches), layer.maps)
        price = (layer.made - edges).square().sum() / 2 + 0.05 * layer.maps.abs().sum()
        assert layer.objective[-1] == pytest.approx(price.item(), rel=1e-5)
        switches = [beneath.switches for beneath in layers[: number + 1]]
        again = adaptive.reconstruct(layer.pooled, (32, 32), filters=filters[: number + 1], switches=switches)
        assert torch.allclose(again, layer.made, atol=1e-5)


def test_reconstruction_against_torch(stacked):
    """From the top: values put at their switches one by one, a transposed convolution by torch, and the same once more."""
    filters, layers = stacked
    signal = layers[1].pooled[:1]
    for number in (1, 0):
        switches = layers[number].switches
        large = torch.zeros(1, *switches.size)
        for block in np.ndindex(signal.shape[1:]):
            offset = np.unravel_index(int(switches.places[(0, *block)]), (2, 2, 2))
            large[(0, *(2 * corner + int(step) for corner, step in zip(block, offset, strict=True)))] = signal[(0, *block)]
        signal = F.conv_transpose2d(large, filters[number], padding=filters[number].shape[2] // 2)
    assert torch.allclose(signal, layers[1].made[:1], atol=1e-5)


@pytest.fixture(scope="module")
def learned_layers(edges):
    return adaptive_learning.learn(edges, maps=(8, 12), side=5, penalty=0.03, rounds=6, iterations=6)


def test_other_switches_lose_the_picture(edges, learned_layers):
    """The same pooled maps with another drawing's switches make nearly nothing of the picture: structure is in the switches."""
    filters, layers = learned_layers.filters, adaptive.infer(edges, learned_layers.filters, penalty=0.03)
    own = [layer.switches for layer in layers]
    others = [replace(switches, places=switches.places.roll(1, 0)) for switches in own]
    made, wrong = (adaptive.reconstruct(layers[1].pooled, (32, 32), filters=filters, switches=each) for each in (own, others))
    empty = edges.square().mean()
    assert (made - edges).square().mean() < 0.45 * empty
    assert (wrong - edges).square().mean() > 0.85 * empty


def test_learning_layers(edges, learned_layers):
    """Layer after layer the objective falls with every round, filters keep norm 1 and fit on each other."""
    learned = learned_layers
    assert [tuple(layer.shape) for layer in learned.filters] == [(8, 3, 5, 5), (12, 4, 5, 5)]
    for layer, course in zip(learned.filters, learned.objective, strict=True):
        assert torch.allclose(layer.flatten(1).norm(dim=1), torch.ones(len(layer)), atol=1e-5)
        assert len(course) == 6
        assert all(after < before for before, after in pairwise(course))
    layers = adaptive.infer(edges, learned.filters, penalty=0.05, iterations=5)
    smooth = torch.full_like(edges[0], 0.5)
    picture = (smooth + edges[0]).clamp(0, 1)
    figure = figures.plot_layers(picture, smooth, layers, learned.filters[0], [("other switches", picture - smooth)])
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert [title.split("\n")[0] for title in titles] == [
        "filters of layer 1", "picture", "its smooth part", "layer 1", "layer 2", "other switches",
    ]  # fmt: skip
    assert titles[-1].split("\n")[1] == "exact"
    error = ((smooth + layers[0].made[0]).clamp(0, 1) - picture).square().mean().item()
    assert titles[3].split("\n")[1] == f"{-10 * math.log10(error):.1f} dB"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda edges, filters, layers: adaptive.infer(edges, [], penalty=1), "a model has one layer of filters or more, found none."),
        (lambda edges, filters, layers: adaptive.infer(edges, [filters[0], filters[0][:, :2]], penalty=1),
         "the filters of layer 2 are (6, 2, 5, 5): they must be (K, 3, k, k) with odd k."),
        (lambda edges, filters, layers: adaptive.infer(edges, filters, penalty=-1),
         "penalty cannot be -1: maps that cost nothing are not sparse. Give a number above 0."),
        (lambda edges, filters, layers: adaptive.reconstruct(layers[1].pooled, (32, 32), filters=filters, switches=[]),
         "going up through 2 layers takes as many switches, found 0."),
        (lambda edges, filters, layers: adaptive.reconstruct(layers[1].pooled, (32, 30), filters=filters, switches=[layer.switches for layer in layers]),
         "these switches go from (4, 8, 8) to 32x32, not from (4, 8, 8) to 32x30."),
        (lambda edges, filters, layers: adaptive_learning.learn(edges, side=4, penalty=1),
         "cannot learn maps [16, 32] with filters of 4x4 in 20 rounds: give one or more, side odd."),
    ],
)  # fmt: skip
def test_layers_that_cannot_be(edges, stacked, call, said):
    """What cannot be inferred or reconstructed is refused in one line."""
    with pytest.raises(OptionError) as caught:
        call(edges, *stacked)
    assert str(caught.value) == said


# Example and benchmark


def test_pictures_of_the_page(tmp_path):
    """examples/upsampling_pictures.py draws the pictures of docs/upsampling-learned.md."""
    pytest.importorskip("skimage")
    runpy.run_path(str(ROOT / "examples" / "upsampling_pictures.py"))["main"](str(tmp_path), rounds=1, drawings=2, size=24)
    drawn = {path.name for path in tmp_path.iterdir()}
    page = (ROOT / "docs" / "upsampling-learned.md").read_text()
    assert {Path(name).name for name in re.findall(r"\]\((pictures/.*?\.png)\)", page)} == drawn | {"segment-unpooling.png"}


def test_tables_of_the_benchmark(compared):
    """benchmarks/segment_unpooling.py writes means, deviations, and differences seed by seed, over the spread."""
    numbers = np.random.default_rng(0)
    compared = replace(compared, iou=numbers.random((2, 2, 7)), boundary=numbers.random((2, 2, 7)))
    written = runpy.run_path(str(ROOT / "benchmarks" / "segment_unpooling.py"))
    switch, nearest = compared.measures()["boundary IoU"]
    row = written["table"](compared)[2].split("|")
    assert row[1].strip() == "switch"
    spreads = [abs(values[0] - values[1]) / math.sqrt(2) for values in (switch, nearest)]  # the deviation of two values
    assert row[3].strip() == f"{switch.mean():.3f} ± {spreads[0]:.3f}"
    row = [cell.strip() for cell in written["differences"](compared, "switch", "nearest")[3].split("|")]
    spread = math.sqrt((spreads[0] ** 2 + spreads[1] ** 2) / 2)
    difference = switch.mean() - nearest.mean()
    each = f"{switch[0] - nearest[0]:+.3f}, {switch[1] - nearest[1]:+.3f}"
    assert row[1:-1] == ["boundary IoU", f"{difference:+.3f}", each, f"{abs(difference) / spread:.1f}"]
    labels = written["by_label"](compared)[2:]
    assert [line.split("|")[1].strip() for line in labels] == list(parts.LABELS)
    assert labels[1].split("|")[2].strip() == f"{compared.iou[0, :, 1].mean():.3f}"
