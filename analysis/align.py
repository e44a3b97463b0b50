"""Match units of networks, and hold every match against what the same method finds by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..zoo.errors import BadInput
from .matching import Alignment
from .methods import Alignments, align_networks, named
from .null import Twins, exceedance, null_zoos, q_values, worst
from .similarity import Activations, activations
from .subspace import Directions

DRAWS = 20
NULL_MATCHES = 2000

Given = np.ndarray | Activations
"""A layer: an array of samples x units, or what is known of it beside."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Pairs of units of two networks of a level, with p and q of their correlation.

    `null_r` holds what the same method matched in null zoos, by null; similarities, so never negative.
    `draws` says how many zoos of each null that was.
    """

    left_network: Int[np.ndarray, " matches"]
    left_unit: Int[np.ndarray, " matches"]
    right_network: Int[np.ndarray, " matches"]
    right_unit: Int[np.ndarray, " matches"]
    r: Float[np.ndarray, " matches"]
    p: Float[np.ndarray, " matches"]
    q: Float[np.ndarray, " matches"]
    null_r: Mapping[str, Float[np.ndarray, " _null"]]
    draws: Mapping[str, int]


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
    null = _chance(networks, method, device, None, seed)
    p = worst({name: exceedance(np.abs(r), np.concatenate(parts)) for name, parts in null.items()}, len(r))
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

    The same method runs on null zoos, as many as give about 2000 matches of each kind (at most 20); a
    match's p is the largest share of null matches at least as strong, over the nulls. Raises BadInput for
    a method that gives directions, which belong to no unit.
    """
    places, r = _listed(align_networks(level, method=method, device=device), method)
    parts = _chance(level, method, device, twins, seed)
    pooled = {name: np.concatenate(found) for name, found in parts.items()}
    p = worst({name: exceedance(np.abs(r), null) for name, null in pooled.items()}, len(r))
    draws = {name: len(found) for name, found in parts.items()}
    left_network, left_unit, right_network, right_unit = places
    return Matches(left_network, left_unit, right_network, right_unit, r, p, q_values(p), pooled, draws)


def _chance(
    level: Sequence[Activations], method: str, device: str, twins: Twins | None, seed: int
) -> dict[str, list[Float[np.ndarray, " _null"]]]:
    """Collect how alike the pairs are that the method finds in null zoos, draw by draw."""
    found: dict[str, list[Float[np.ndarray, " _null"]]] = {}
    for draw in range(DRAWS):
        short = [name for name, parts in found.items() if sum(map(len, parts)) < NULL_MATCHES]
        if draw and not short:
            break
        for name, zoo in null_zoos(level, draw=draw, seed=seed, twins=twins).items():
            if name == "rotated" and not named(method).axes:
                continue
            pairs = align_networks(zoo, method=method, device=device)
            strengths = [np.abs(_strengths(one)) for one in pairs.values()]
            found.setdefault(name, []).append(np.concatenate(strengths) if strengths else np.zeros(0))
    return found


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
