"""What chance gives: three null zoos beside the real one, and p-values held against all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.stats import false_discovery_control

from ...zoo.errors import BadInput
from .moments import measure
from .similarity import Activations, standardise

# Untrained twins of all networks of a level, in its order: draw number -> activations on the same probe.
Twins = Callable[[int], Sequence[Num[np.ndarray, "samples _units"]]]
# Twins of one kind, or of several by their names.
Kinds = Twins | Mapping[str, Twins]
Null = Callable[[Sequence[Activations], np.random.Generator], "list[Activations] | None"]


def rotate(level: Sequence[Activations], rng: np.random.Generator) -> list[Activations] | None:
    """Mix the live units of every network by a random orthogonal matrix: the same space, other axes.

    Not defined (None) where a network has a single live unit, which has no other axis.
    """
    if any(int(one.alive.sum()) == 1 for one in level):
        return None
    return [replace(one, values=_rotated(one, rng)) for one in level]


def shuffle(level: Sequence[Activations], rng: np.random.Generator) -> list[Activations]:
    """Reorder the samples of every network on its own: the same units, nothing in common."""
    return [replace(one, values=one.values[_ranked(one)[rng.permutation(len(one.values))]]) for one in level]


NULLS: dict[str, Null] = {"rotated": rotate, "shuffled": shuffle}
UNTRAINED = "untrained"


def untrain(level: Sequence[Activations], twins: Sequence[Num[np.ndarray, "samples _units"]]) -> list[Activations]:
    """Put untrained twins in the networks' places.

    Raises BadInput when they do not fit the networks one by one.
    """
    shapes = [one.values.shape for one in level]
    if [values.shape for values in twins] != shapes:
        raise BadInput(
            f"untrained twins of shapes {[values.shape for values in twins]} do not fit {shapes}",
            hint="give one array per network, of the same samples and units",
        )
    return [replace(one, values=values, alive=measure(values).alive) for one, values in zip(level, twins, strict=True)]


def null_zoos(
    level: Sequence[Activations], *, draw: int, seed: int, twins: Kinds | None = None
) -> dict[str, list[Activations]]:
    """Draw one zoo of every null that is defined here; the same seed and draw give the same zoos."""
    found: dict[str, list[Activations]] = {}
    for position, (name, null) in enumerate(NULLS.items()):
        zoo = null(level, np.random.default_rng([seed, draw, position]))
        if zoo is not None:
            found[name] = zoo
    kinds = {UNTRAINED: twins} if callable(twins) else twins or {}
    return found | {name: untrain(level, kind(draw)) for name, kind in kinds.items()}


def above(observed: Float[np.ndarray, " findings"], null: Float[np.ndarray, " chance"]) -> Int[np.ndarray, " findings"]:
    """Count the chance values that are at least as large as each finding."""
    return len(null) - np.searchsorted(np.sort(null), observed, side="left")


def exceedance(
    observed: Float[np.ndarray, " findings"],
    null: Float[np.ndarray, " chance"],
    *,
    trials: int | None = None,
) -> Float[np.ndarray, " findings"]:
    """Give the share of what chance gave that is at least as large, (1 + k) / (1 + n).

    `trials` is n where chance had more, or fewer, occasions than findings. At most 1, never 0.
    """
    return np.minimum(1.0, (1.0 + above(observed, null)) / (1.0 + (len(null) if trials is None else trials)))


def worst(p_values: Mapping[str, Float[np.ndarray, " findings"]], findings: int) -> Float[np.ndarray, " findings"]:
    """Take the largest p over the nulls; 1 where no null is defined."""
    rows: Iterable[Float[np.ndarray, " findings"]] = p_values.values()
    stacked = list(rows)
    return np.max(stacked, axis=0) if stacked else np.ones(findings)


def q_values(p: Float[np.ndarray, " findings"]) -> Float[np.ndarray, " findings"]:
    """Turn p-values into the false discovery rates at which they would pass (Benjamini & Hochberg 1995)."""
    return np.asarray(false_discovery_control(p), dtype=np.float64) if p.size else p


def _rotated(one: Activations, rng: np.random.Generator) -> Float[np.ndarray, "samples units"]:
    live = np.flatnonzero(one.alive)
    standard = standardise(one.values[:, live])
    # The draw must not depend on how units are ordered and turned: so they come by their moments.
    squares = standard * standard
    order = np.argsort(np.einsum("su,su->u", squares, squares), kind="stable")
    turn = np.where(np.einsum("su,su->u", squares, standard) < 0.0, -1.0, 1.0)
    basis, triangle = np.linalg.qr(rng.standard_normal((len(live), len(live)), dtype=np.float32))
    # The signs of the diagonal make the rotation uniform over the orthogonal group.
    basis *= np.sign(np.diag(triangle))
    values = np.zeros(one.values.shape, dtype=np.float32)
    values[:, live] = (standard * turn)[:, order].astype(np.float32) @ basis
    return values


def _ranked(one: Activations) -> Int[np.ndarray, " samples"]:
    """Put samples into an order of their own, whatever theirs: by how far they lie from the mean."""
    standard = standardise(one.values[:, one.alive])
    return np.argsort(np.einsum("su,su->s", standard, standard), kind="stable")
