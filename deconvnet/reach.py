"""What the units of a layer reach: their field and stride, the max pools below, and so which rule shows the picture.

The deconvnet takes two things from the picture: the unit's activation, and the switches of the max pools below. Where there is
no pool, nothing of the picture is in a projection but its scale. Springenberg et al. 2015 (section 3.4) made guided
backpropagation for such nets: its forward masks are of the picture, too. What wins another maximum, and where
attention looks, is of the picture as switches are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from .axes import map_size
from .choices import RuleChoice, RuleName
from .errors import NoRuleError
from .mirror import calls_below
from .rules import parse_rule
from .rules.activation import Activation, ReLU
from .rules.call import Call
from .rules.extreme import SavedChoice, SavedReduction
from .rules.indexed_pool import SavedBins, places_of
from .rules.product import SavedAttention, SavedHeads, SavedProduct
from .rules.switches import SavedMaxPool
from .tape import Tape
from .units import Window


@dataclass(frozen=True)
class Pools:
    """The max pools between a layer and the pixels.

    Attributes:
        count: how many there are, on all paths.
        reach: how many pixels (down, across) their switches can move a value, on the path where that is most.
    """

    count: int
    reach: tuple[int, int]


@dataclass(frozen=True)
class ChosenRule:
    """A rule, and where that needs saying, why it was chosen or what it cannot show.

    Attributes:
        rule: a name, or three bits; never "auto".
        reason: one sentence; "" where there is nothing to say.
    """

    rule: RuleName
    reason: str = ""


def field_and_stride(tape: Tape, value: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return a middle unit's window size and its distance to the neighbour's; (0, 0) where no rule leads down."""
    height, width = map_size(tape.shapes[value], tape.axes[value])
    row, col = height // 2, width // 2
    try:
        window = tape.pixel_window(value, Window(row, col, 1, 1))
        above = tape.pixel_window(value, Window(row - (height > 1), col - (width > 1), 1, 1))
    except NoRuleError:
        return (0, 0), (0, 0)
    return (window.height, window.width), (window.top - above.top, window.left - above.left)


def pools_below(tape: Tape, value: int) -> Pools:
    """Return the max pools between a value and the pixels, and how far their switches can move what travels down."""
    reaches: dict[int, tuple[int, int]] = {0: (0, 0)}
    count = 0
    for call in calls_below(tape, value):
        below = [reaches[number] for number in call.inputs if number in reaches]
        down, right = (max((reach[axis] for reach in below), default=0) for axis in (0, 1))
        if is_max_pool(call):
            count += 1
            more = _pool_reach(tape, call)
            down, right = down + more[0], right + more[1]
        reaches.update(dict.fromkeys(call.outputs, (down, right)))
    return Pools(count, reaches.get(value, (0, 0)))


def is_max_pool(call: Call) -> bool:
    """Say whether a call is a max pool, whose switches are saved."""
    return isinstance(call.saved, (SavedMaxPool, SavedBins))


def follows_picture(call: Call) -> bool:
    """Say whether a call sends a signal where this picture has it: to the switches of a pool, to a maximum, along attention."""
    saved = call.saved
    is_attention = isinstance(saved, (SavedAttention, SavedHeads)) or (isinstance(saved, SavedProduct) and any(saved.held))
    return is_max_pool(call) or is_attention or isinstance(saved, (SavedReduction, SavedChoice))


def _pool_reach(tape: Tape, call: Call) -> tuple[int, int]:
    """Return how far apart the first and the last place of a pool's window are, in pixels."""
    saved = call.saved
    places: Sequence[int]
    if isinstance(saved, SavedMaxPool):
        places = [(kernel - 1) * step for kernel, step in zip(saved.kernel, saved.dilation, strict=True)]
    else:
        assert isinstance(saved, SavedBins)
        places = places_of(saved)
    _, (down, right) = field_and_stride(tape, call.inputs[0])
    return places[0] * down, places[1] * right


def choose_rule(tape: Tape, layer: str, value: int, asked: RuleChoice) -> ChosenRule:
    """Return the rule that "auto" stands for: the deconvnet where a max pool lies below a layer, guided where none does.

    A layer of first filters, with no activation below but its own, is projected by the deconvnet all the same: by either rule
    its units show their filters.

    Args:
        tape: of the recording.
        layer: the layer's name, for the reason.
        value: the number of its value.
        asked: "auto", or the rule that was asked for, which is then the one.
    """
    if asked not in ("auto", "deconvnet", "FTT") or not _needs_masks(tape, value):
        return ChosenRule("deconvnet" if asked == "auto" else asked)
    if asked == "auto":
        return ChosenRule(
            "guided",
            f"No max pool lies below {layer}: the deconvnet's projection would be the same for any picture, "
            "so it is made by guided backpropagation (Springenberg et al. 2015).",
        )
    return ChosenRule(
        asked,
        f"No max pool lies below {layer}: by the deconvnet rule the projection is the same for any picture. "
        "The rule guided takes more of the picture into it.",
    )


def check_rule(rule: str) -> RuleChoice:
    """Return a rule that may be "auto".

    Raises:
        OptionError: it is no rule.
    """
    if rule != "auto":
        parse_rule(rule, also=("auto",))
    return cast(RuleChoice, rule)


def _needs_masks(tape: Tape, value: int) -> bool:
    """Say whether no switch, but an activation's mask, could bring the picture into the projections of a value's units."""
    calls = calls_below(tape, value)
    if any(follows_picture(call) for call in calls):
        return False
    maker = tape.origin(value)
    rules = (tape.table.rule_for(call.func, call.layer) for call in calls if call is not maker)
    return any(isinstance(rule, (Activation, ReLU)) for rule in rules)
