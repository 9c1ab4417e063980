"""Blurs and their undoing, against plain loops and formulas."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deconvnet.drawings import draw
from deconvnet.upsampling import blurs, deblur, deconvolution
from deconvnet.upsampling.part_labels import draw_labelled


def looped_convolve(plane, kernel, border):
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


@pytest.mark.parametrize("border", blurs.BORDERS)
def test_convolution_against_loops(border):
    """Blurring flips its kernel, channel by channel, and continues beyond the edge as asked."""
    picture = torch.rand(2, 3, 7, 9, dtype=torch.double)
    blurred = blurs.convolve(picture, LOPSIDED, border=border)
    for image, channel in product(range(2), range(3)):
        expected = looped_convolve(picture[image, channel].numpy(), LOPSIDED.numpy(), border)
        assert np.allclose(blurred[image, channel], expected)


def test_convolution_without_a_border_and_with_noise():
    """Without a border the frame shrinks by what the blur needs; noise has the deviation asked for and follows the seed."""
    picture = torch.rand(1, 2, 40, 50)
    whole, inside = blurs.convolve(picture, LOPSIDED), blurs.convolve(picture, LOPSIDED, border="none")
    assert torch.allclose(whole[:, :, 1:-1, 1:-1], inside, atol=1e-6)
    noisy = blurs.convolve(picture, LOPSIDED, noise=0.1, seed=4)
    assert (noisy - whole).std().item() == pytest.approx(0.1, rel=0.05)
    assert torch.equal(noisy, blurs.convolve(picture, LOPSIDED, noise=0.1, seed=4))
    assert not torch.equal(noisy, blurs.convolve(picture, LOPSIDED, noise=0.1, seed=5))


def test_kernels():
    """Kernels sum to 1, have a centre, and are symmetric around it; a quarter turn of the motion transposes its kernel."""
    kernels = [blurs.gaussian_blur(1.3), blurs.motion_blur(7), blurs.motion_blur(8, 33.0)]
    kernels += [blurs.box_blur(factor) for factor in (1, 2, 3, 4)]
    for kernel in kernels:
        assert all(side % 2 for side in kernel.shape)
        assert kernel.sum().item() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(kernel, kernel.flip(0, 1), atol=1e-6 if kernel.shape != (9, 9) else 0.02)
    assert blurs.gaussian_blur(2.0, 1)[1, 1] / blurs.gaussian_blur(2.0, 1)[0, 1] == pytest.approx(math.exp(1 / 8))
    assert torch.equal(blurs.motion_blur(7)[3] > 0, torch.ones(7, dtype=torch.bool))
    assert torch.allclose(blurs.motion_blur(7, 90.0), blurs.motion_blur(7).T, atol=0.01)
    assert blurs.motion_blur(9, 30.0)[6, 7] > 0  # clockwise from the right: down and to the right
    assert torch.allclose(blurs.box_blur(2), torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16)


def test_wiener_against_its_formula():
    """With a circular border it is conj(H) Y / (|H|^2 + balance |L|^2), L the Laplacian, once the picture is extended."""
    pytest.importorskip("skimage")
    blur, balance = blurs.gaussian_blur(1.0, 2).double(), 0.02
    picture = torch.rand(1, 2, 12, 16, dtype=torch.double)
    blurred = blurs.convolve(picture, blur, border="circular")
    restored = deconvolution.wiener(blurred, (12, 16), blur=blur, balance=balance, border="circular")
    tall, wide = 2 * 5, 2 * 5  # the margins that the picture is extended by
    plane = np.pad(blurred[0, 1].numpy(), ((tall, tall), (wide, wide)), mode="wrap")

    def spectrum(kernel):
        frame = np.zeros_like(plane)
        for row, col in product(range(kernel.shape[0]), range(kernel.shape[1])):
            frame[row - kernel.shape[0] // 2, col - kernel.shape[1] // 2] = kernel[row, col]
        return np.fft.fft2(frame)

    response, rough = spectrum(blur.numpy()), spectrum(np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0.0]]))
    filtered = response.conj() / (abs(response) ** 2 + balance * abs(rough) ** 2) * np.fft.fft2(plane)
    expected = np.fft.ifft2(filtered).real[tall:-tall, wide:-wide]
    assert np.allclose(restored[0, 1], expected, atol=1e-10)


def test_richardson_lucy_against_its_formula():
    """x <- x * (k' * (y / (k * x))), from one half everywhere, with black beyond: plain loops, lopsided kernel."""
    pytest.importorskip("skimage")
    blurred = torch.rand(1, 1, 6, 7, dtype=torch.double)
    restored = deconvolution.richardson_lucy(blurred, (6, 7), blur=LOPSIDED, iterations=3, border="zero")
    plane, top = np.pad(blurred[0, 0].numpy(), 6), blurred.max().item()
    guess = np.full_like(plane, 0.5)
    for _ in range(3):
        ratio = plane / top / (looped_convolve(guess, LOPSIDED.numpy(), "zero") + 1e-12)
        guess = guess * looped_convolve(ratio, LOPSIDED.numpy()[::-1, ::-1], "zero")
    assert np.allclose(restored[0, 0], top * guess[6:-6, 6:-6], atol=1e-8)


def test_deconvolution_undoes_a_circular_blur():
    """Without noise, and where the picture really wraps around, Wiener's filter brings back nearly everything."""
    pytest.importorskip("skimage")
    picture = torch.rand(1, 3, 24, 30, dtype=torch.double)
    blur = blurs.gaussian_blur(0.8)
    blurred = blurs.convolve(picture, blur, border="circular")
    restored = deconvolution.wiener(blurred, (24, 30), blur=blur, balance=1e-9, border="circular")
    assert (restored - picture).abs().max() < 1e-3 < 0.1 < (blurred - picture).abs().max()


def test_upsampling_by_deconvolution():
    """Without a blur of its own the average over blocks is undone: a little nearer than interpolation, and for any maps."""
    pytest.importorskip("skimage")
    drawn = torch.from_numpy(np.array(draw("bicycle", seed=5, size=128).picture)).permute(2, 0, 1) / 255
    large = torch.cat([drawn, torch.zeros(1, 128, 128)])[None]  # four channels, one of them empty
    small = F.avg_pool2d(large, 4)
    plain = F.interpolate(small, (128, 128), mode="bicubic")
    sharper, lucy = deconvolution.wiener(small, (128, 128)), deconvolution.richardson_lucy(small, (128, 128))
    assert (sharper - large).square().mean() < 0.97 * (plain - large).square().mean()
    assert (lucy - large).square().mean() < 0.97 * (plain - large).square().mean()
    assert torch.equal(lucy[:, 3], large[:, 3])
    assert torch.equal(deconvolution.wiener(small, (32, 32)), small)  # nothing was averaged, nothing is to be undone
    assert torch.allclose(deconvolution.wiener(3 - 7 * small, (128, 128)), 3 - 7 * sharper, atol=1e-4)


def test_restorations():
    """Both methods come nearer to the sharp picture; what is assumed beyond the edge counts; decibels are as defined."""
    pytest.importorskip("skimage")
    scene = draw_labelled([7], 108)[0]
    result = deblur.run(scene, blurs.gaussian_blur(1.5), noise=0.005, iterations=20)
    assert result.sharp.shape == (1, 3, 72, 72)
    assert torch.equal(result.sharp, scene[:, :, 18:-18, 18:-18])
    restored = {restoration.name: restoration for restoration in result.restorations}
    error = (restored["blurred"].picture - result.sharp).double().square()
    assert restored["blurred"].psnr == pytest.approx(-10 * math.log10(error.mean().item()), abs=1e-6)
    assert restored["blurred"].inside == pytest.approx(-10 * math.log10(error[:, :, 5:-5, 5:-5].mean().item()), abs=1e-6)
    for method in ("wiener", "richardson-lucy"):
        assert restored[f"{method}, edge"].psnr > restored["blurred"].psnr + 0.5
        assert restored[f"{method}, edge"].psnr > restored[f"{method}, circular"].psnr
        assert restored[f"{method}, edge"].psnr > restored[f"{method}, zero"].psnr + 1
    figure = result.plot()
    assert sum(bool(axes.get_title()) for axes in figure.get_axes()) == 9
    numbers = result.to_json()
    assert [set(numbers), set(numbers["restorations"][0])] == [{"blur", "restorations", "settings"}, {"name", "psnr", "inside"}]
    assert result.to_arrays()["restorations/0/picture"].shape == (1, 3, 72, 72)
