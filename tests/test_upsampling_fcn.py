"""FCN's bilinear upsampling: interpolation inside, faded at the border, fixed or trained."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from deconvnet.upsampling import caffe, fcn, interpolation
from support.upsampling import noise, quick, seeds


@quick
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 6), seeds)
def test_fcn_is_bilinear_interpolation_inside(factor, height, width, seed):
    """FCN's layer, fixed or to be trained, and Caffe's recipe equal bilinear interpolation but for the border, where they fade."""
    small = noise(1, 2, height, width, seed=seed)
    size = (factor * height, factor * width)
    kernel, stride, padding = fcn.bilinear_geometry(factor)
    assert (kernel, stride, padding) == (2 * factor - factor % 2, factor, math.ceil((factor - 1) / 2))
    result = fcn.upsample(small, size, stride=factor)
    assert result.shape[2:] == size
    for trained in (False, True):
        layer = fcn.BilinearUpsampling(2, factor, trained=trained).double()
        with torch.no_grad():
            layer.weight.copy_(fcn.bilinear_filter(kernel).expand_as(layer.weight))  # float32 rounded them
        torch.testing.assert_close(layer(small).detach(), result)
    torch.testing.assert_close(caffe.upsample(small, size, stride=factor), result)
    edge = factor // 2
    inside = (..., slice(edge, size[0] - edge), slice(edge, size[1] - edge))
    torch.testing.assert_close(result[inside], interpolation.bilinear(small, size)[inside])
    # outside the map there is zero: interpolating between it and the edge gives the border
    framed = interpolation.bilinear(F.pad(small, (1, 1, 1, 1)), (size[0] + 2 * factor, size[1] + 2 * factor))
    torch.testing.assert_close(result, framed[:, :, factor:-factor, factor:-factor])


def test_fcn_equals_scikit_images_rescale():
    """As Caffe's comment on its filler says: out = skimage.transform.rescale(in, f, mode="constant", cval=0)."""
    transform = pytest.importorskip("skimage.transform")
    small = noise(1, 1, 5, 7)
    for factor in (2, 3, 4):
        expected = transform.rescale(small[0, 0].numpy(), factor, order=1, mode="constant", cval=0)
        result = fcn.upsample(small, (5 * factor, 7 * factor))[0, 0].numpy()
        inside = slice(factor, -factor)
        np.testing.assert_allclose(result[inside, inside], expected[inside, inside], atol=1e-10)


def test_fcn_fixed_and_trained():
    """A fixed layer's filters stay what they are under an optimiser; a trained layer's go where the loss leads."""
    small = noise(1, 1, 4, 4).float()
    fixed, trained = fcn.BilinearUpsampling(1, 2), fcn.BilinearUpsampling(1, 2, trained=True)
    assert not fixed.weight.requires_grad
    optimiser = torch.optim.SGD(trained.parameters(), lr=0.05)
    before = trained.weight.detach().clone()
    losses = []
    for _ in range(20):
        loss = (trained(small) + interpolation.nearest(small, (8, 8))).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert not torch.equal(trained.weight, before)
    assert torch.equal(fixed.weight, before)
