"""What networks agree on, and how far each lies from the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput


def consensus(values: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, " samples"]:
    """Average over lineages, one vote each."""
    return np.asarray(values.mean(axis=0))


def peers(values: Float[np.ndarray, "lineages samples"]) -> Float[np.ndarray, "lineages samples"]:
    """Give each lineage the consensus of all the others.

    Raises BadInput for fewer than two lineages: one witness has no peers.
    """
    lineages = len(values)
    if lineages < 2:
        raise BadInput("one lineage has no peers", hint="add networks that were trained apart")
    return np.asarray((values.sum(axis=0) - values) / (lineages - 1))


def disagreement(values: Float[np.ndarray, "lineages samples"]) -> float:
    """Measure how far a lineage typically lies from its peers: mean absolute deviation, in the target's unit."""
    return float(np.abs(peers(values) - values).mean())


@dataclass(frozen=True, slots=True)
class PeerRatio:
    """Error of an equation on networks that it was not fitted to, in units of the error of their peers.

    About 1: the equation is as good a witness of an unseen network as the other networks are. `error`
    is a standard error over lineages and over regions of the inputs; `each` lists the lineages.
    """

    value: float
    error: float
    each: tuple[float, ...]


def peer_ratio(
    predictions: Float[np.ndarray, "lineages samples"],
    values: Float[np.ndarray, "lineages samples"],
    regions: Float[np.ndarray, "samples regions"],
) -> PeerRatio:
    """Compare an equation's errors on left-out lineages with those of their peers' consensus.

    Row i of `predictions` comes from constants fitted without lineage i. Errors are mean absolute ones:
    networks err most in the corners of the inputs, and squares would let a handful of corner points
    decide. `regions` marks with 1 the samples of each region of the inputs; the standard error adds the
    spread over lineages and a jackknife over regions, since a network's mistakes are smooth and
    neighbouring samples repeat each other.
    """
    mistakes, expected = np.abs(predictions - values), np.abs(peers(values) - values)
    each = mistakes.mean(axis=1) / np.maximum(expected.mean(axis=1), np.finfo(float).tiny)
    kept = 1.0 - regions
    without = ((mistakes @ kept) / np.maximum(expected @ kept, np.finfo(float).tiny)).mean(axis=0)
    count = regions.shape[1]
    over_regions = (count - 1) / count * np.square(without - without.mean()).sum()
    over_lineages = each.var(ddof=1) / len(each)
    return PeerRatio(float(each.mean()), float(np.sqrt(over_regions + over_lineages)), tuple(map(float, each)))


def divide(inputs: Float[np.ndarray, "samples variables"], *, count: int = 16) -> Float[np.ndarray, "samples regions"]:
    """Divide the inputs into compact regions (k-means on standardised inputs); column k marks region k."""
    from sklearn.cluster import KMeans

    spread = inputs.std(axis=0)
    standardised = (inputs - inputs.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    count = min(count, len(np.unique(standardised, axis=0)))
    labels = KMeans(count, n_init=1, random_state=0).fit_predict(standardised)
    return np.asarray(np.eye(count)[labels])


def relevance(
    values: Float[np.ndarray, " samples"], shuffled: Float[np.ndarray, "variables samples"]
) -> Float[np.ndarray, " variables"]:
    """Measure how much a function depends on each variable.

    Row j of `shuffled` holds the function where variable j alone was redrawn from the probe; the result
    is the mean absolute change, in the function's unit.
    """
    return np.asarray(np.abs(shuffled - values).mean(axis=1))
