"""What a network loses: against targets, or, where there are none, against other networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from ...zoo.errors import BadInput

Outputs = Float[np.ndarray, "samples outputs"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss by its name, and how to take it of outputs."""

    name: str
    of: Callable[[Outputs], float]


def loss_against(targets: Num[np.ndarray, "samples ..."], *, outputs: int) -> Loss:
    """Take cross-entropy where targets are classes (whole numbers, one a sample), mean squared error elsewhere.

    Networks of one output predict numbers, also whole ones. Raises BadInput for targets that are not finite,
    classes that are none, and another number of columns than of outputs.
    """
    if not np.isfinite(targets).all():
        raise BadInput("the targets hold NaN or infinite numbers", hint="leave those samples out of probe and targets")
    flat = targets.reshape(len(targets), -1)
    if flat.shape[1] == 1 and outputs > 1 and np.issubdtype(targets.dtype, np.integer):
        classes = flat[:, 0]
        if classes.min() < 0 or classes.max() >= outputs:
            what = (
                f"the targets are classes from {classes.min()} to {classes.max()}, the networks have {outputs} outputs"
            )
            raise BadInput(
                what, hint=f"give classes from 0 to {outputs - 1}; or numbers with a point, one for each output"
            )
        return Loss("cross-entropy", lambda given: _cross_entropy(given, classes))
    if flat.shape[1] != outputs:
        what = f"the targets have {flat.shape[1]} columns, the networks {outputs} outputs"
        raise BadInput(what, hint="give one column for each output; or classes as whole numbers, one a sample")
    return Loss("mean squared error", lambda given: float(np.mean((given - flat) ** 2)))


def loss_beside(predictions: Float[np.ndarray, "networks samples outputs"]) -> Loss:
    """Take the mean squared distance from what networks predict on average, as a share of its variance.

    It needs no labels, and tells how far a network is from doing what these do, not whether they are right: 1 is
    as bad as a constant.
    """
    mean = predictions.mean(axis=0)
    spread = float(mean.var(axis=0).mean()) or 1.0
    return Loss("distance", lambda given: float(np.mean((given - mean) ** 2)) / spread)


def _cross_entropy(logits: Outputs, classes: Int[np.ndarray, " samples"]) -> float:
    top = logits.max(axis=1, keepdims=True)
    scale = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return float(np.mean(scale - logits[np.arange(len(classes)), classes]))
