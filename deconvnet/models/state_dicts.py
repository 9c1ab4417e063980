"""The state dict among what a training script stored, and its names as the net has them."""

from __future__ import annotations

import os
import warnings
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from typing import TypeAlias

from torch import Tensor

from ..errors import WeightsError, WeightsWarning

StateDict: TypeAlias = dict[str, Tensor]

#: The keys that lead to a state dict in what a file holds, and with a prefix of its names.
Keys: TypeAlias = tuple[str, ...]
Place: TypeAlias = tuple[Keys, str]

#: How deep a state dict may lie in what a script stored.
_DEEPEST = 4


def find_state(content: object, path: str | os.PathLike[str], expected: Collection[str] = ()) -> StateDict:
    """Return the state dict in what a weights file holds, with its names as the net has them.

    It may lie in other mappings ({"state_dict": ...}, {"net": ...}), in a pickled module, and under a prefix ("module.",
    "model.", "_orig_mod.module."). Of several, that is taken whose names fit the net best; the averaged weights of an EMA only
    where there are no others.

    Args:
        content: what was read.
        path: the file, for errors.
        expected: the names of the net's tensors; without them, no prefix is taken off but those of torch's own wrappers.

    Raises:
        WeightsError: there is no state dict, or two that fit equally well.
    """
    states = dict(_states_in(content))
    if not states:
        raise WeightsError(
            f"{os.fspath(path)!r} holds no state dict: names and tensors. Save model.state_dict() and give that file."
        )
    if not expected:
        return _strip_common(states[_largest(states)])
    expected = set(expected)
    fits = _fits(states, expected)
    best = max(fits.values())
    added = _with_prefix(states, expected)
    if len(expected & added.keys()) > best:
        return added
    keys, prefix = _choose([place for place, count in fits.items() if count == best], path) if best else (_largest(states), "")
    if not prefix:
        return states[keys]
    state = {name.removeprefix(prefix): value for name, value in states[keys].items() if name.startswith(prefix)}
    _say_what_is_left_out(states[keys], prefix, path)
    return state


def _states_in(content: object, keys: Keys = ()) -> Iterator[tuple[Keys, StateDict]]:
    """Yield the mappings of names to tensors in what a file holds, by the keys that lead to them."""
    if not isinstance(content, Mapping) or len(keys) > _DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    nested = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Mapping)}
    if tensors:
        yield keys, tensors
    elif isinstance(content, OrderedDict) and (module := dict(_module_tensors(content))):
        yield keys, module
    for name, value in nested.items():
        yield from _states_in(value, (*keys, name))


def _module_tensors(stored: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of a pickled module, of which `pickles` keeps the state as attributes."""
    state = getattr(stored, "__dict__", {})
    if depth > 50 or not isinstance(state, dict):  # as deep as no net is
        return
    for kind in ("_parameters", "_buffers"):
        values = state.get(kind)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
    children = state.get("_modules")
    for name, child in children.items() if isinstance(children, Mapping) else ():
        yield from _module_tensors(child, f"{prefix}{name}.", depth + 1)


def _fits(found: Mapping[Keys, StateDict], expected: set[str]) -> dict[Place, int]:
    """Return how many of the net's names each state dict has, as it is and without each prefix that leaves half of them."""
    fits = {(keys, ""): len(expected & state.keys()) for keys, state in found.items()}
    for keys, state in found.items():
        counts = _prefixes(state, expected)
        fits |= {(keys, prefix): count for prefix, count in counts.items() if prefix and 2 * count >= len(expected)}
    return fits


def _largest(found: Mapping[Keys, StateDict]) -> Keys:
    return max(found, key=lambda keys: len(found[keys]))


def _prefixes(state: Collection[str], expected: set[str]) -> Counter[str]:
    """Count for each prefix of a state dict's names how many of them are the net's without it."""
    counts: Counter[str] = Counter()
    for name in state:
        position = 0
        while True:
            if name[position:] in expected:
                counts[name[:position]] += 1
            dot = name.find(".", position)
            if dot < 0:
                break
            position = dot + 1
    return counts


def _choose(places: list[Place], path: str | os.PathLike[str]) -> Place:
    """Return the place to take of those that fit equally well: not an EMA, and the names as they are."""
    plain = [place for place in places if "ema" not in _place_text(place).lower()] or places
    unchanged = [place for place in plain if not place[1]] or plain
    if len(unchanged) > 1:
        first, second = (repr(_place_text(place)) for place in unchanged[:2])
        raise WeightsError(
            f"{os.fspath(path)!r} fits the net by {first} and by {second}. Save the one that you mean by itself."
        )
    others = [_place_text(place) for place in places if place not in plain]
    if others:
        taken = _place_text(unchanged[0]) or "the plain ones"
        warnings.warn(f"{os.fspath(path)!r}: {taken} taken, {', '.join(others)} left out.", WeightsWarning, stacklevel=5)
    return unchanged[0]


def _place_text(place: Place) -> str:
    keys, prefix = place
    return ".".join([*keys, prefix.rstrip(".")]).strip(".")


def _say_what_is_left_out(state: StateDict, prefix: str, path: str | os.PathLike[str]) -> None:
    others = [name for name in state if not name.startswith(prefix)]
    if others:
        first = ", ".join(others[:3])
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        warnings.warn(
            f"{os.fspath(path)!r}: the names that begin with {prefix!r} were taken, not {first}{more}.",
            WeightsWarning,
            stacklevel=4,
        )


def _own_prefix(expected: set[str]) -> str:
    """Return the prefix that all names of the net share, up to a dot: that of a net inside a wrapper of the user's."""
    first, last = min(expected), max(expected)  # what these share, all names between them share
    common = first[: next((place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
    return common[: common.rfind(".") + 1]


def _with_prefix(found: Mapping[Keys, StateDict], expected: set[str]) -> StateDict:
    """Return the state dict that fits the net with the net's own prefix before its names."""
    prefix = _own_prefix(expected)
    states = [{f"{prefix}{name}": value for name, value in state.items()} for state in found.values()]
    return max(states, key=lambda state: len(expected & set(state)))


def _strip_common(state: StateDict) -> StateDict:
    """Take off what DataParallel and torch.compile put before all names."""
    for prefix in ("module.", "_orig_mod.", "module."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state
