"""Which part of one tensor another one is, and what was written to either: against elements that are numbered."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deconvnet.views import Layout, Write, Writes


@st.composite
def tensors(draw):
    """A tensor whose elements have memory of their own: in any order of axes, and itself a part of another one."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    memory = torch.arange(torch.Size(sizes).numel()).view(sizes)
    return part_of(draw, memory).permute(draw(st.permutations(range(memory.dim()))))


def part_of(draw, tensor, numbers=False):
    """Return a part that slices, and if wanted numbers, take of a tensor; slices keep one element at least."""
    index = []
    for length in tensor.shape:
        start = draw(st.integers(0, length - 1))
        if numbers and draw(st.integers(0, 3)) == 0:
            index.append(start)
        elif draw(st.booleans()):
            index.append(slice(None))
        else:
            index.append(slice(start, draw(st.integers(start + 1, length)), draw(st.integers(1, 3))))
    return tensor[tuple(index)]


def elements(tensor):
    return tensor.flatten().tolist()


@settings(max_examples=300)
@given(st.data())
def test_a_part_has_an_index(data):
    """What slices and numbers take of a tensor is found, whatever its layout; by it the same elements are taken."""
    whole = data.draw(tensors())
    part = part_of(data.draw, whole, numbers=True)
    index = Layout.of(whole).index_of(Layout.of(part))
    assert index is not None
    assert whole[index].shape == part.shape
    assert elements(whole[index]) == elements(part)


@settings(max_examples=300)
@given(st.data())
def test_an_index_takes_the_same_elements(data):
    """Of any two views of a memory: where one has an index in the other, it takes those elements, and no others."""
    memory = torch.arange(48).view(2, 4, 6)
    first, second = (part_of(data.draw, memory, numbers=True) for _ in range(2))
    order = data.draw(st.permutations(range(second.dim())))
    second = second.permute(order)
    index = Layout.of(first).index_of(Layout.of(second))
    if index is not None:
        assert elements(first[index]) == elements(second)
        assert first[index].shape == second.shape
    is_apart = Write(Layout.of(first), Layout.of(memory), 0, 0, 1).is_apart_from(second)
    assert not is_apart or set(elements(first)).isdisjoint(elements(second))
    if order == sorted(order):
        assert is_apart == set(elements(first)).isdisjoint(elements(second))


def test_what_slices_do_not_take_has_no_index():
    """Turned axes, elements that share memory, a part of something larger, another order."""
    whole = torch.arange(24).view(4, 6)
    layout = Layout.of(whole)
    for part in (whole.T, whole.view(2, 12), whole[:, None], whole.view(-1)[3:9], whole.unfold(1, 3, 1)):
        assert layout.index_of(Layout.of(part)) is None
    windows = torch.arange(8).unfold(0, 3, 1)  # a number stands in up to three of them
    assert Layout.of(windows).index_of(Layout.of(windows[1:3])) is None
    expanded = torch.arange(3)[None].expand(4, 3)
    assert Layout.of(expanded).index_of(Layout.of(expanded[1:])) is None
    assert Layout.of(whole[1:, 2:]).index_of(layout) is None


def test_writes_are_known_one_after_the_other():
    """Those since a version, in order; None where one was not noted."""
    memory = torch.zeros(4, 6)
    first, second, writes = memory[:2], memory[2:], Writes()
    start = memory._version
    assert writes.since(memory, start) == []
    for value, view in ((7, first), (8, second), (9, memory)):
        before = view._version
        view.add_(1)
        writes.note(view, value, before)
    assert [write.value for write in writes.since(first, start) or ()] == [7, 8, 9]
    assert [write.value for write in writes.since(memory, start + 2) or ()] == [9]
    first.mul_(2)
    assert writes.since(memory, start) is None
    assert writes.since(memory, memory._version) == []
