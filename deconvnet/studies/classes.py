"""A classifier's answer: the probabilities of classes, and the class that a number or a name means."""

from __future__ import annotations

from torch import Tensor

from ..net import DeconvNet


def class_probabilities(output: object) -> Tensor | None:
    """Return the probabilities of the classes.

    Args:
        output: what a net returned. Scores (N, K) go through a softmax, unless none is negative and each row adds up to 1.

    Returns:
        (N, K), 0..1, in double precision, on the CPU; None where the output is not a classifier's.
    """
    if not isinstance(output, Tensor) or output.dim() != 2 or output.shape[1] < 2:
        return None
    scores = output.detach().cpu().double()  # in this order: Apple's GPUs have no double precision
    are_probabilities = (scores >= 0).all() and ((scores.sum(1) - 1).abs() < 1e-3).all()
    return scores if are_probabilities else scores.softmax(1)


def class_number(net: DeconvNet, label: int | str, count: int) -> int:
    """Return a class's number.

    Args:
        net: the classifier.
        label: the class's number or its name, in upper or lower case.
        count: how many classes there are.

    Raises:
        OptionError: there is no such class.
    """
    return net.loaded.class_number(label, count)
