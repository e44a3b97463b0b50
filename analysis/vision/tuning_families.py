"""One equation for many units: some numbers shared by all, others, such as the preferred angle, each unit's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from ...zoo.errors import BadInput
from ..formulas.expression import Constant, Expression, Variable, substitute
from ..formulas.fit import DIGITS
from .tuning import alternate, share
from .tuning_fit import Bound, bind, bounds, canonical, fit_law
from .tuning_laws import TuningLaw

Rows = Float[np.ndarray, "samples coordinates"]
Values = Float[np.ndarray, "units samples"]
Thetas = Float[np.ndarray, "units parameters"]

EVALUATIONS = 40

ROBUST = 1.349
"""Interquartile range of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True, eq=False)
class FamilyFit:
    """One equation for all units of a family.

    In `expression` the shared numbers are numbers and each unit's own are variables: the columns of `own`, named by
    `own_names`. `r2` is pooled over units that were each scaled to variance 1, `unit_r2` each unit's, both on held-out
    stimuli. `spread` says by how much units differ in each shared number when each is fitted alone (standard
    deviation, from the quartiles).
    """

    law: str
    expression: Expression
    shared: Mapping[str, float]
    own_names: tuple[str, ...]
    own: Float[np.ndarray, "units own"]
    r2: float
    unit_r2: Float[np.ndarray, " units"]
    spread: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A lineage that had no part in the shared numbers: how well they do on it.

    `r2` is pooled over its units on held-out stimuli, their own numbers fitted; `alone` the same with all numbers each
    unit's own. `ratio` is the one's error over the other's: about 1 if the family's numbers are as good as its own.
    """

    lineage: str
    units: int
    r2: float
    alone: float
    ratio: float


def fit_family(
    law: TuningLaw,
    rows: Rows,
    values: Values,
    own: Sequence[str] = ("angle0",),
    *,
    names: Sequence[str] | None = None,
    held_out: Bool[np.ndarray, " samples"] | None = None,
) -> FamilyFit:
    """Fit one law to all units at once: `own` numbers and those that set gain and offset are each unit's own.

    `names` are those of the coordinates, by default the law's. Every unit counts alike: it is scaled to variance 1
    while shared numbers are fitted. Raises BadInput where the law has no such number, or none that is shared, or cannot
    be fitted to these stimuli.
    """
    bound = bind(law, tuple(names or law.coordinates))
    mine = _own(bound, own)
    out = alternate(np.asarray(rows, dtype=np.float64)) if held_out is None else held_out
    curves, scales = _scaled(values)
    alone = _each(bound, rows[~out], curves[:, ~out])
    together = _together(bound, rows[~out], curves[:, ~out], alone, mine)
    errors = np.square(_evaluate(bound, rows, together) - curves)[:, out]
    keep = [place for place in range(len(bound.parameters)) if place not in mine]
    return FamilyFit(
        law=law.name,
        expression=_with_own(bound, together[0], mine),
        shared={bound.parameters[place]: float(together[0, place]) for place in keep},
        own_names=tuple(bound.parameters[place] for place in mine),
        own=_rescaled(bound, together, scales)[:, mine],
        r2=_pooled(errors, curves[:, out]),
        unit_r2=np.array([share(*pair) for pair in zip(errors, curves[:, out], strict=True)]),
        spread={bound.parameters[place]: _spread(alone[:, place]) for place in keep},
    )


def leave_lineages_out(
    law: TuningLaw,
    rows: Rows,
    values: Values,
    lineages: Sequence[str],
    own: Sequence[str] = ("angle0",),
    *,
    names: Sequence[str] | None = None,
    held_out: Bool[np.ndarray, " samples"] | None = None,
) -> tuple[LeftOut, ...]:
    """Fit the shared numbers without each lineage in turn, then only the own numbers to its units, and score those.

    `lineages` names each unit's. Raises BadInput where there is one lineage only, and as `fit_family` does.
    """
    named = tuple(dict.fromkeys(lineages))
    if len(named) < 2:
        raise BadInput("one lineage only: none can be left out", hint="give units of two lineages or more")
    bound = bind(law, tuple(names or law.coordinates))
    mine = _own(bound, own)
    out = alternate(np.asarray(rows, dtype=np.float64)) if held_out is None else held_out
    curves, _ = _scaled(values)
    alone = _each(bound, rows[~out], curves[:, ~out])
    found = []
    for lineage in named:
        inside = np.array([one == lineage for one in lineages])
        others = _together(bound, rows[~out], curves[~inside][:, ~out], alone[~inside], mine)
        shared = {name: float(others[0, at]) for at, name in enumerate(bound.parameters) if at not in mine}
        told = _each(bound, rows[~out], curves[inside][:, ~out], shared)
        goal = curves[inside][:, out]
        pooled = [_pooled(np.square(_evaluate(bound, rows[out], t) - goal), goal) for t in (told, alone[inside])]
        ratio = float(np.sqrt(max(1 - pooled[0], 1e-12) / max(1 - pooled[1], 1e-12)))
        found.append(LeftOut(lineage, int(inside.sum()), pooled[0], pooled[1], ratio))
    return tuple(found)


def _own(bound: Bound, own: Sequence[str]) -> list[int]:
    """Say where the numbers stand that are each unit's own."""
    unknown = [name for name in own if name not in bound.parameters]
    mine = {*own, *bound.law.linear, *bound.law.gain}
    if unknown or not {*bound.parameters} - mine:
        what = f"no number {unknown[0]!r}" if unknown else "no number that units could share"
        raise BadInput(f"the law {bound.law.name!r} has {what}", hint=f"it has {', '.join(bound.parameters)}")
    return [place for place, name in enumerate(bound.parameters) if name in mine]


def _scaled(values: Values) -> tuple[Values, Float[np.ndarray, " units"]]:
    """Scale each unit to variance 1; one that does not vary stays."""
    curves = np.asarray(values, dtype=np.float64)
    scales = curves.std(axis=1)
    scales = np.where(scales > 1e-10 * np.abs(curves).max(axis=1), scales, 1.0)
    return curves / scales[:, None], scales


def _rescaled(bound: Bound, thetas: Thetas, scales: Float[np.ndarray, " units"]) -> Thetas:
    """Give the numbers that set gain and offset in the units' own responses again."""
    full, amplitudes = thetas.copy(), bound.index(*bound.law.linear, *bound.law.gain)
    full[:, amplitudes] *= scales[:, None]
    return full


def _each(bound: Bound, rows: Rows, curves: Values, held: Mapping[str, float] = MappingProxyType({})) -> Thetas:
    """Fit each unit by itself, with some numbers held."""
    thetas = fit_law(bound.law, rows, curves, bound.compiled.variables, held=held)
    if thetas is None:
        raise BadInput(
            f"the law {bound.law.name!r} cannot be fitted to these {len(rows)} stimuli",
            hint="show more, within the law's domain",
        )
    return thetas


def _together(bound: Bound, rows: Rows, curves: Values, alone: Thetas, mine: Sequence[int]) -> Thetas:
    """Fit all units at once, from the medians of what each says alone.

    The Jacobian is sparse: own numbers touch one unit only. SciPy's trust region with LSMR (Fong & Saunders 2011).
    """
    from scipy.optimize import least_squares

    keep = [place for place in range(len(bound.parameters)) if place not in mine]
    middle = np.median(alone, axis=0)
    start = _each(bound, rows, curves, {bound.parameters[place]: float(middle[place]) for place in keep})
    low, high = (np.concatenate([b[keep], np.tile(b[list(mine)], len(curves))]) for b in bounds(bound.law, rows))

    def thetas(packed: Float[np.ndarray, " free"]) -> Thetas:
        full = np.empty_like(start)
        full[:, keep], full[:, list(mine)] = packed[: len(keep)], packed[len(keep) :].reshape(len(curves), -1)
        return full

    found = least_squares(
        lambda packed: (_evaluate(bound, rows, thetas(packed)) - curves).ravel(),
        np.clip(np.concatenate([middle[keep], start[:, list(mine)].ravel()]), low, high),
        jac=lambda packed: _jacobian(bound, rows, thetas(packed), keep, mine),
        bounds=(low, high),
        x_scale="jac",
        tr_solver="lsmr",
        max_nfev=EVALUATIONS,
    )
    rounded = np.array([[float(f"{value:.{DIGITS}g}") for value in theta] for theta in thetas(found.x)])
    return np.stack([canonical(bound, theta) for theta in rounded])


def _jacobian(bound: Bound, rows: Rows, thetas: Thetas, keep: Sequence[int], mine: Sequence[int]) -> object:
    """Write the slopes as a sparse matrix: shared numbers first, then each unit's own beside its own samples."""
    from scipy.sparse import block_diag, csr_array, hstack

    slopes = np.stack([bound.slopes(theta, rows) for theta in thetas])
    shared = csr_array(slopes[:, :, list(keep)].reshape(-1, len(keep)))
    return hstack([shared, block_diag(list(slopes[:, :, list(mine)]))], format="csr")


def _evaluate(bound: Bound, rows: Rows, thetas: Thetas) -> Values:
    return np.stack([bound.values(theta, rows) for theta in thetas])


def _pooled(errors: Values, values: Values) -> float:
    """Compute R² over all units, the squares of each about its own mean."""
    return share(errors.ravel(), (values - values.mean(axis=1, keepdims=True)).ravel())


def _spread(numbers: Float[np.ndarray, " units"]) -> float:
    low, high = np.percentile(numbers, [25, 75])
    return float(high - low) / ROBUST


def _with_own(bound: Bound, theta: Float[np.ndarray, " parameters"], mine: Sequence[int]) -> Expression:
    """Write the shared numbers as numbers and each unit's own as variables."""
    law, names = bound.law, bound.compiled.variables
    numbers: dict[str, Expression] = {
        name: Variable(name) if place in mine else Constant(float(theta[place]))
        for place, name in enumerate(bound.parameters)
    }
    return substitute(
        law.expression, {**numbers, **{own: Variable(n) for own, n in zip(law.coordinates, names, strict=True)}}
    )
