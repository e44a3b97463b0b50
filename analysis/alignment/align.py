"""Match units of networks, and hold every match against what the same method finds by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...zoo.errors import BadInput
from .matching import Alignment
from .methods import Alignments, align_networks, named
from .null import Twins, exceedance, null_zoos, q_values, worst
from .similarity import Activations, activations
from .subspace import Directions

DRAWS = 20
NULL_MATCHES = 2000
PAIR_MATCHES = 100
"""So many null matches tell what chance gives a pair of networks."""
CERTAIN = 1.0 - 1e-12

Given = np.ndarray | Activations
"""A layer: an array of samples x units, or what is known of it beside."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Pairs of units of two networks of a level, with p and q of their correlation.

    `p` is the largest of `p_by_null`. `null_r` holds what the same method matched in null zoos, by null;
    similarities, so never negative. `draws` says how many zoos of each null that was.
    """

    left_network: Int[np.ndarray, " matches"]
    left_unit: Int[np.ndarray, " matches"]
    right_network: Int[np.ndarray, " matches"]
    right_unit: Int[np.ndarray, " matches"]
    r: Float[np.ndarray, " matches"]
    p: Float[np.ndarray, " matches"]
    q: Float[np.ndarray, " matches"]
    p_by_null: Mapping[str, Float[np.ndarray, " matches"]]
    null_r: Mapping[str, Float[np.ndarray, " _null"]]
    draws: Mapping[str, int]

    def passed(self, q: float) -> dict[str, float]:
        """Tell how many matches of a null zoo, by null, stand as far above chance as the weakest that passes at q."""
        accepted = self.q <= q
        return {
            name: max(0.0, float(p[accepted].max(initial=0.0)) * (1 / self.draws[name] + len(p)) - 1 / self.draws[name])
            for name, p in self.p_by_null.items()
        }


def align(
    left: Given, right: Given, *, method: str = "assignment", odd: bool = False, seed: int = 0, device: str = "cpu"
) -> Alignment | Directions:
    """Align the units of two layers that saw the same samples, by one of METHODS, and tell which matches count.

    Takes plain arrays, samples x units, of any widths. `odd` says that units may be met with their signs
    flipped, as those of tanh or linear layers; not those of ReLU. Every match has a q: the false discovery
    rate at which it passes, against rotated axes and shuffled samples. Raises BadInput for an unknown method,
    for different samples, fewer than four of them, or a layer without a single live unit.

    >>> rng = np.random.default_rng(0)
    >>> units = rng.standard_normal((500, 8))
    >>> found = align(units, units[:, ::-1])
    >>> found.partner.tolist()
    [7, 6, 5, 4, 3, 2, 1, 0]
    """
    networks = [described(left, odd=odd, name="the left layer"), described(right, odd=odd, name="the right layer")]
    found = align_networks(networks, method=method, device=device)[0, 1]
    r = _strengths(found)
    chance = _chance(networks, method, device, None, seed) if len(r) else {}
    only = np.zeros(len(r), dtype=np.int64)
    p = worst({name: _p_values(np.abs(r), only, draws) for name, draws in chance.items()}, len(r))
    if isinstance(found, Directions):
        return replace(found, q=q_values(p))
    q = np.full(len(found.partner), np.nan)
    q[found.partner >= 0] = q_values(p)
    return replace(found, q=q)


def match(
    level: Sequence[Activations],
    *,
    method: str = "mutual",
    twins: Twins | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Matches:
    """Match the units of every two networks and tell how far above chance each match is.

    The same method runs on null zoos, as many as give about 2000 matches of each kind and 100 of each pair
    (at most 20). A match's p is the number of null matches per zoo that stand as far above what chance gives
    their pair of networks, over the number of matches; the largest over the nulls. Raises BadInput for a method
    that gives directions, which belong to no unit.
    """
    found = align_networks(level, method=method, device=device)
    places, r = _listed(found, method)
    chance = _chance(level, method, device, twins, seed) if len(r) else {}
    sizes = [np.sum(one.partner >= 0) for one in found.values() if isinstance(one, Alignment)]
    pair = np.repeat(np.arange(len(found)), sizes)
    p_by_null = {name: _p_values(np.abs(r), pair, draws) for name, draws in chance.items()}
    p = worst(p_by_null, len(r))
    left_network, left_unit, right_network, right_unit = places
    pooled = {name: np.concatenate([np.concatenate(draw) for draw in draws]) for name, draws in chance.items()}
    draws = {name: len(draws) for name, draws in chance.items()}
    return Matches(left_network, left_unit, right_network, right_unit, r, p, q_values(p), p_by_null, pooled, draws)


def _chance(
    level: Sequence[Activations], method: str, device: str, twins: Twins | None, seed: int
) -> dict[str, list[list[Float[np.ndarray, " _null"]]]]:
    """Collect how alike the matches are that the method finds in null zoos: by null, draw and pair of networks."""
    found: dict[str, list[list[Float[np.ndarray, " _null"]]]] = {}
    for draw in range(DRAWS):
        if draw and all(_enough(draws) for draws in found.values()):
            break
        for name, zoo in null_zoos(level, draw=draw, seed=seed, twins=twins).items():
            if name == "rotated" and not named(method).axes:
                continue
            pairs = align_networks(zoo, method=method, device=device)
            found.setdefault(name, []).append([np.abs(_strengths(one)) for one in pairs.values()] or [np.zeros(0)])
    return found


def _enough(draws: Sequence[Sequence[Float[np.ndarray, " _null"]]]) -> bool:
    """Whether there are so many null matches in all, and of every pair enough to know their mean and spread."""
    pairs = [sum(map(len, parts)) for parts in zip(*draws, strict=True)]
    return sum(pairs) >= NULL_MATCHES and min(pairs) >= PAIR_MATCHES


def _p_values(
    r: Float[np.ndarray, " matches"],
    pair: Int[np.ndarray, " matches"],
    draws: Sequence[Sequence[Float[np.ndarray, " _"]]],
) -> Float[np.ndarray, " matches"]:
    """Count the null matches that stand as far above what their pair of networks gives by chance.

    As a share of the matches found, times the draws: chance may match fewer units than there are matches, or more.
    Layers differ in what chance gives: wide ones and those of units that may be flipped match better. So
    Fisher's z of every match is taken from its own pair's mean, in units of its spread, before all are pooled.
    Pairs of which too few null matches are known are compared as they are, among themselves.
    """
    own = [np.concatenate(parts) for parts in zip(*draws, strict=True)]
    known = np.array([len(values) >= PAIR_MATCHES and values.std() > 0.0 for values in own])
    scales = np.array(
        [_centre_and_spread(values) if some else (0.0, 1.0) for values, some in zip(own, known, strict=True)]
    )
    centre, spread = scales.reshape(-1, 2).T
    p = np.ones(len(r))
    for some in (known, ~known):
        rows = some[pair]
        if rows.any():
            null = [(_z(own[k]) - centre[k]) / spread[k] for k in np.flatnonzero(some)]
            ours = (_z(r[rows]) - centre[pair[rows]]) / spread[pair[rows]]
            p[rows] = exceedance(ours, np.concatenate(null), trials=len(draws) * int(rows.sum()))
    return p


def _z(r: Float[np.ndarray, " matches"]) -> Float[np.ndarray, " matches"]:
    return np.asarray(np.arctanh(np.minimum(r, CERTAIN)))


def _centre_and_spread(r: Float[np.ndarray, " matches"]) -> tuple[float, float]:
    z = _z(r)
    return float(z.mean()), max(float(z.std()), 1e-12)


def _strengths(found: Alignment | Directions) -> Float[np.ndarray, " pairs"]:
    return found.r if isinstance(found, Directions) else found.r[found.partner >= 0]


def _listed(found: Alignments, method: str) -> tuple[list[Int[np.ndarray, " _"]], Float[np.ndarray, " matches"]]:
    """List the matches of all pairs of networks: left network and unit, right network and unit; and r."""
    rows: list[tuple[Any, ...]] = []
    for (left, right), one in found.items():
        if isinstance(one, Directions):
            raise BadInput(
                f"method {method!r} aligns directions, not units",
                hint="take one of assignment, mutual, partial, universe",
            )
        units = np.flatnonzero(one.partner >= 0)
        rows.append((np.full(len(units), left), units, np.full(len(units), right), one.partner[units], one.r[units]))
    if not rows:
        return [np.zeros(0, dtype=np.int64)] * 4, np.zeros(0)
    *places, r = (np.concatenate(column) for column in zip(*rows, strict=True))
    return places, r


def described(layer: Given, *, odd: bool, name: str) -> Activations:
    """Take a plain array for the activations of a lineage of that name.

    Raises BadInput for what is no table of numbers, for fewer than four samples and for no live unit.
    """
    if isinstance(layer, Activations):
        found = layer
    else:
        values = np.asarray(layer)
        if values.ndim != 2 or not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
            raise BadInput(
                f"{name}: an array of {values.dtype} of shape {values.shape} is no table of samples x units",
                hint="give one row for each sample and one column for each unit",
            )
        found = activations(values, odd=odd, lineage=name)
    if not found.alive.any():
        raise BadInput(
            f"{name} has no live unit: none of its {found.alive.size} varies and is finite throughout",
            hint="give the probe more varied inputs, or look for NaN in the recording",
        )
    return found
