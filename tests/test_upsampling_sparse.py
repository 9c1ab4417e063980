"""Sparse coding: operators against loops, codes against coordinate descent and SPORCO, dictionaries learned and taken."""

from __future__ import annotations

from itertools import pairwise, product
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import deconvnet
from deconvnet.drawings import draw
from deconvnet.upsampling import blurs, dictionary_learning, figures, proximal, sparse
from deconvnet.upsampling.dictionary import CodeBorder, Dictionary, from_layer, normalise
from deconvnet.upsampling.dictionary_learning import improve_atoms, sample_atoms
from deconvnet.upsampling.panels import draw_atoms
from deconvnet.upsampling.part_labels import draw_labelled
from support.upsampling import drawing_edges, inner_product


@pytest.fixture(scope="module")
def edges():
    """Two drawings of 32 pixels without their smooth part."""
    return drawing_edges()


def looped_synthesis(codes, dictionary, size):
    """Add atom after atom, pixel after pixel."""
    count, channels, tall, wide = dictionary.atoms.shape
    picture = np.zeros((channels, *size))
    for atom, row, col in product(range(count), range(codes.shape[1]), range(codes.shape[2])):
        for channel, down, right in product(range(channels), range(tall), range(wide)):
            r, c = (
                position * dictionary.stride + tap - edge
                for position, tap, edge in zip((row, col), (down, right), dictionary.edges, strict=True)
            )
            if dictionary.border == "circular":
                r, c = r % size[0], c % size[1]
            if 0 <= r < size[0] and 0 <= c < size[1]:
                picture[channel, r, c] += codes[atom, row, col] * dictionary.atoms[atom, channel, down, right].item()
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
    """The picture that codes stand for is the sum of atoms, placed one by one, wrapped or cut at the edge."""
    dictionary = Dictionary(torch.randn(3, 2, 3, 5, dtype=torch.double), stride, padding, border)
    codes = torch.randn(1, 3, *dictionary.code_size(size), dtype=torch.double)
    assert np.allclose(dictionary.synthesise(codes, size)[0], looped_synthesis(codes[0].numpy(), dictionary, size))
    assert torch.equal(sparse.synthesise(codes, size, dictionary=dictionary), dictionary.synthesise(codes, size))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    border=st.sampled_from(get_args(CodeBorder)), kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)), stride=st.integers(1, 3),
    padding=st.none() | st.integers(0, 3), size=st.tuples(st.integers(5, 12), st.integers(5, 12)), channels=st.integers(1, 3),
)  # fmt: skip
def test_the_two_operators_are_adjoint(border, kernel, stride, padding, size, channels):
    """<synthesise x, y> = <x, correlate y>, whatever the stride, the padding and the border."""
    stride = min(stride, *kernel)
    if border == "circular":
        size = tuple(side - side % stride for side in size)
        size = tuple(max(side, -(-tall // stride) * stride) for side, tall in zip(size, kernel, strict=True))
    generator = torch.Generator().manual_seed(0)
    dictionary = Dictionary(torch.randn(4, channels, *kernel, generator=generator, dtype=torch.double), stride, padding, border)
    codes = torch.randn(2, 4, *dictionary.code_size(size), generator=generator, dtype=torch.double)
    picture = torch.randn(2, channels, *size, generator=generator, dtype=torch.double)
    assert inner_product(dictionary.synthesise(codes, size), picture) == pytest.approx(
        inner_product(codes, dictionary.correlate(picture)), abs=1e-9
    )


def dense(dictionary, size):
    """The matrix whose columns are the pictures of single codes."""
    height, width = dictionary.code_size(size)
    units = torch.eye(len(dictionary.atoms) * height * width, dtype=torch.double).view(-1, len(dictionary.atoms), height, width)
    return dictionary.synthesise(units, size).flatten(1).T.numpy()


@pytest.mark.parametrize("border", get_args(CodeBorder))
def test_largest_eigenvalue_against_a_matrix(border):
    """Power iteration finds the matrix's largest singular value squared, from below and to within the margin of the step."""
    dictionary = Dictionary(normalise(torch.randn(5, 2, 3, 3, dtype=torch.double)), border=border)
    exact = np.linalg.svd(dense(dictionary, (8, 9)), compute_uv=False)[0] ** 2
    result = dictionary.largest_eigenvalue((8, 9))
    assert exact / proximal.STEP_MARGIN < result <= exact * (1 + 1e-9)
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


@pytest.mark.parametrize("border", get_args(CodeBorder))
def test_fista_against_coordinate_descent(border):
    """FISTA ends where coordinate descent on the dense matrix ends, and fulfils the conditions of a minimum."""
    dictionary = Dictionary(normalise(torch.randn(4, 1, 3, 3, dtype=torch.double)), border=border)
    picture, penalty = torch.randn(1, 1, 7, 8, dtype=torch.double), 0.4
    result = sparse.encode(picture, dictionary, penalty=penalty, iterations=3000, tolerance=0)
    matrix = dense(dictionary, (7, 8))
    _, expected = coordinate_descent(matrix, picture.flatten().numpy(), penalty, 600)
    assert result.objective[-1] == pytest.approx(expected, rel=1e-6)
    codes = result.codes.flatten().numpy()
    pull = matrix.T @ (picture.flatten().numpy() - matrix @ codes)
    assert abs(pull).max() < penalty + 1e-4
    assert np.allclose(pull[codes != 0], penalty * np.sign(codes[codes != 0]), atol=1e-4)
    assert 0 < result.density < 0.6
    objective = (result.reconstruction - picture).square().sum() / 2 + penalty * result.codes.abs().sum()
    assert objective.item() == pytest.approx(result.objective[-1])


def test_momentum_pays(edges):
    """ISTA and FISTA never raise the objective; FISTA is further down after as many steps, and both end at the same objective."""
    dictionary = Dictionary(sample_atoms(edges, 8, 5, seed=0))
    quick = sparse.encode(edges[:1], dictionary, penalty=0.1, iterations=40, tolerance=0).objective
    slow = sparse.encode(edges[:1], dictionary, penalty=0.1, iterations=40, tolerance=0, accelerated=False).objective
    assert len(quick) == len(slow) == 41
    for course in (quick, slow):
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(course))
    assert quick[-1] < slow[-1]
    small = edges[:1, :, 8:20, 8:20].double()
    ends = [
        sparse.encode(small, dictionary, penalty=0.1, iterations=3000, tolerance=0, accelerated=fast).objective[-1]
        for fast in (True, False)
    ]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)


def test_it_stops_when_nothing_is_gained_and_continues_from_codes(edges):
    """With a tolerance it ends early; started from codes, it begins at their objective."""
    dictionary = Dictionary(sample_atoms(edges, 8, 5, seed=0))
    first = sparse.encode(edges, dictionary, penalty=0.1, iterations=400, tolerance=1e-3)
    assert len(first.objective) < 200
    again = sparse.encode(edges, dictionary, penalty=0.1, iterations=3, start=first.codes)
    assert again.objective[0] == pytest.approx(first.objective[-1], rel=1e-6)


def sporco_objective(dictionary, picture, penalty):
    """Return SPORCO's codes (M, H, W) and the objective that they reach."""
    cbpdn = pytest.importorskip("sporco.admm.cbpdn", reason="SPORCO is not installed: nothing to compare the codes with")
    atoms = dictionary.atoms.permute(2, 3, 1, 0).numpy()  # (M, C, k, k) -> (k, k, C, M)
    options = cbpdn.ConvBPDN.Options({"Verbose": False, "MaxMainIter": 400, "RelStopTol": 1e-5})
    solver = cbpdn.ConvBPDN(atoms, picture[0].permute(1, 2, 0).numpy(), penalty, options, dimK=0)
    codes = solver.solve().squeeze()
    return torch.from_numpy(codes).permute(2, 0, 1)[None]


@pytest.mark.parametrize("channels", [1, 3])
def test_against_sporco(channels):
    """With the same dictionary, picture and penalty FISTA reaches SPORCO's objective to 1e-6, and its codes."""
    pictures, _ = draw_labelled([5], 32)
    picture = (pictures - blurs.smooth_part(pictures))[:, :channels, :24].double()
    dictionary = Dictionary(normalise(torch.randn(6, channels, 5, 5, dtype=torch.double)), border="circular")
    theirs = sporco_objective(dictionary, picture, 0.1)
    ours = sparse.encode(picture, dictionary, penalty=0.1, iterations=500, tolerance=0)
    made = dictionary.synthesise(theirs, (24, 32))
    reached = ((made - picture).square().sum() / 2 + 0.1 * theirs.abs().sum()).item()
    assert ours.objective[-1] == pytest.approx(reached, rel=1e-6)
    assert ours.objective[-1] < 0.9 * ours.objective[0]
    assert (ours.codes - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_the_first_step_is_a_forward_pass(edges):
    """From zero, one step for codes that are not negative is the convolution, a bias and a ReLU."""
    dictionary = Dictionary(sample_atoms(edges, 6, 5, seed=0), stride=2)
    step = 1 / (proximal.STEP_MARGIN * dictionary.largest_eigenvalue((32, 32)))
    result = sparse.encode(edges, dictionary, penalty=0.3, iterations=1, accelerated=False, nonnegative=True)
    layer = F.relu(F.conv2d(edges, step * dictionary.atoms, bias=torch.full((6,), -0.3 * step), stride=2, padding=2))
    assert torch.allclose(result.codes, layer, atol=1e-6)
    assert result.codes.min() == 0 < result.codes.max()


def test_learning_a_dictionary(edges):
    """Each round lowers the objective, atoms keep norm 1, the seed decides; learned atoms beat those it started from."""
    learned = dictionary_learning.learn(edges, atoms=6, side=5, penalty=0.05, rounds=6, seed=1)
    assert all(after < before for before, after in pairwise(learned.objective))
    assert torch.allclose(learned.dictionary.atoms.flatten(1).norm(dim=1), torch.ones(6), atol=1e-5)
    again = dictionary_learning.learn(edges, atoms=6, side=5, penalty=0.05, rounds=1, seed=1)
    assert again.objective[0] == pytest.approx(learned.objective[0], rel=1e-6)
    started = Dictionary(sample_atoms(edges, 6, 5, seed=1))
    costs = [
        sparse.encode(edges, dictionary, penalty=0.05, iterations=100).objective[-1]
        for dictionary in (started, learned.dictionary)
    ]
    assert costs[1] < 0.95 * costs[0]
    residual = learned.dictionary.synthesise(learned.codes, (32, 32)) - edges
    assert learned.objective[-1] == pytest.approx(
        (residual.square().sum() / 2 + 0.05 * learned.codes.abs().sum()).item(), rel=1e-5
    )


def test_atoms_step_against_least_squares():
    """Enough steps for the atoms reach the least-squares solution by dense algebra, where that lies within norm 1."""
    codes = torch.randn(2, 3, 9, 9, dtype=torch.double) * (torch.rand(2, 3, 9, 9) < 0.3)
    wanted = 0.5 * normalise(torch.randn(3, 1, 3, 3, dtype=torch.double))
    pictures = Dictionary(wanted).synthesise(codes, (9, 9)) + 0.01 * torch.randn(2, 1, 9, 9, dtype=torch.double)

    def synthesise(atoms, codes):
        return Dictionary(atoms).synthesise(codes, (9, 9))

    columns = torch.stack([synthesise(unit.view(3, 1, 3, 3), codes).flatten() for unit in torch.eye(27, dtype=torch.double)], 1)
    best = torch.linalg.lstsq(columns, pictures.flatten()[:, None]).solution.view(3, 1, 3, 3)
    start = normalise(torch.randn(3, 1, 3, 3, dtype=torch.double))
    atoms, scaled = improve_atoms(start, codes, synthesise, pictures, steps=500)
    assert torch.allclose(synthesise(atoms, scaled), synthesise(best, codes), atol=1e-5)
    assert torch.allclose(atoms, normalise(best), atol=1e-4)
    assert scaled.abs().sum() < codes.abs().sum()  # atoms of half the norm were scaled up, their codes down
    unused, same = improve_atoms(start, torch.zeros_like(codes), synthesise, pictures)
    assert torch.equal(unused, start)
    assert torch.equal(same, torch.zeros_like(codes))


def test_a_layers_filters_as_dictionary(tiny):
    """A first layer becomes a dictionary of its stride and padding, each filter at norm 1, filters of zeros left out."""
    conv = tiny.model.features[0]
    dictionary = from_layer(conv)
    assert (dictionary.atoms.shape, dictionary.stride, dictionary.padding) == ((32, 3, 7, 7), 2, 1)
    assert torch.allclose(dictionary.atoms * conv.weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1), conv.weight, atol=1e-6)
    assert dictionary.code_size((96, 96)) == (46, 46)
    conv = nn.Conv2d(1, 4, 3, stride=2)
    conv.weight.data[2] = 0
    assert torch.equal(from_layer(conv).atoms, normalise(conv.weight.detach()[[0, 1, 3]]))


def test_codes_come_nearer_than_a_forward_pass(tiny):
    """With tiny's own filters, codes that were searched for make a better picture than one pass up and down, from fewer values."""
    picture = tiny.preprocess(draw("house", seed=3).picture)[None]
    dictionary = from_layer(tiny.model.features[0])
    single = sparse.encode(picture, dictionary, penalty=0.5, iterations=1, accelerated=False)
    many = sparse.encode(picture, dictionary, penalty=0.5, iterations=60)

    def error(made):
        scale = inner_product(made, picture) / inner_product(made, made)  # at its best brightness
        return (scale * made - picture).square().mean()

    assert error(many.reconstruction) < 0.35 * error(single.reconstruction)
    assert many.density < single.density


def test_squeezenet_as_dictionary(shared):
    """The first layer of a real SqueezeNet codes a photograph: the objective falls far, most codes are zero."""
    loaded = deconvnet.load_model("torchvision:squeezenet1_0", weights=str(shared / "weights" / "squeezenet1_0.safetensors"))
    photograph = min((shared / "images" / "imagenet-sample").rglob("*.*"))
    picture = loaded.preprocess(photograph)[None, :, 80:160, 80:160]
    dictionary = from_layer(loaded.model.features[0])
    assert (dictionary.stride, dictionary.padding, dictionary.atoms.shape[1:]) == (2, 0, (3, 7, 7))
    result = sparse.encode(picture, dictionary, penalty=0.3, iterations=25)
    assert result.objective[-1] < 0.3 * result.objective[0]
    assert result.density < 0.25


def test_figure_of_codes(edges):
    """The figure shows the atoms on one page and eight panels, and says how many codes there are."""
    dictionary = Dictionary(sample_atoms(edges, 5, 5, seed=0))
    result = sparse.encode(edges[:1], dictionary, penalty=0.1, iterations=5)
    figure = figures.plot_codes(edges[0] + 0.5, torch.full((3, 32, 32), 0.5), dictionary, result)
    titles = [axes.get_title() for axes in figure.get_axes()]
    assert titles[-1] == "codes of atom 3"
    assert f"made of atoms\n{int((result.codes != 0).sum()):,} codes of {5 * 32 * 32:,}" in titles
    page = draw_atoms(dictionary.atoms)
    assert page.shape == (2 * 6 + 1, 3 * 6 + 1, 3)
    assert (page[0] == 255).all()
    assert (page[7:, 13:] == 255).all()  # five atoms on six squares
