"""Fit one law to the responses of many units at the same stimuli: grid, linear numbers, Levenberg–Marquardt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from ..formulas.compiled import Compiled, compile_expression
from ..formulas.expression import Constant, Expression, Variable, constants, substitute, walk, with_constants
from ..formulas.fit import DIGITS
from ..formulas.least_squares import levenberg_marquardt
from .tuning_laws import ROLES, TuningLaw

Rows = Float[np.ndarray, "samples coordinates"]
Theta = Float[np.ndarray, " parameters"]

STARTS = 2
"""So many points of the grid are polished: the best, and the best away from it."""

STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A law in the coordinates of a sample, as a function of its numbers."""

    law: TuningLaw
    parameters: tuple[str, ...]
    compiled: Compiled
    literals: Float[np.ndarray, " constants"]
    places: Float[np.ndarray, "constants parameters"]

    def values(self, theta: Theta, rows: Rows) -> Float[np.ndarray, " samples"]:
        """Compute the law at every row."""
        return self.compiled(self.literals + self.places @ theta, rows)

    def slopes(self, theta: Theta, rows: Rows) -> Float[np.ndarray, "samples parameters"]:
        """Differentiate it with respect to its numbers."""
        slopes = self.compiled.values_and_jacobian(self.literals + self.places @ theta, rows)[1]
        return np.asarray(np.nan_to_num(slopes, posinf=0.0, neginf=0.0) @ self.places)

    def expression(self, theta: Theta) -> Expression:
        """Write the law with its numbers, in the names of the coordinates."""
        return with_constants(self.compiled.expression, (self.literals + self.places @ theta).tolist())

    def index(self, *names: str) -> list[int]:
        """Say where numbers of these names stand."""
        return [self.parameters.index(name) for name in names]


@lru_cache(maxsize=256)
def bind(law: TuningLaw, names: tuple[str, ...]) -> Bound:
    """Compile a law in coordinates of these names, one for each of the law's own in order."""
    tree, parameters = law.expression, law.parameters
    leaves = [leaf for leaf in walk(tree) if isinstance(leaf, Constant) or _is_one_of(leaf, parameters)]
    places = np.array([[isinstance(leaf, Variable) and leaf.name == name for name in parameters] for leaf in leaves])
    renamed = {own: Variable(name) for own, name in zip(law.coordinates, names, strict=True)}
    tree = substitute(tree, {**{name: Constant(0.0) for name in parameters}, **renamed})
    literals = np.array(constants(tree))
    return Bound(law, parameters, compile_expression(tree, names), literals, places.astype(np.float64))


def _is_one_of(leaf: Expression, names: tuple[str, ...]) -> bool:
    return isinstance(leaf, Variable) and leaf.name in names


def fit_law(
    law: TuningLaw,
    rows: Rows,
    values: Float[np.ndarray, "units samples"],
    names: tuple[str, ...],
    *,
    held: Mapping[str, float] = MappingProxyType({}),
) -> Float[np.ndarray, "units parameters"] | None:
    """Fit a law's numbers to each unit by least squares; None where it has no value at these rows, or too many numbers.

    The start comes from a grid over the numbers that are not linear, with the linear ones solved at each of its points
    (variable projection, Golub & Pereyra 1973), for all units at once. Numbers that are `held` stay as they are.
    """
    bound = bind(law, names)
    if len(bound.parameters) - len(held) >= len(rows) and law.name != "constant":
        return None
    grid = _grid(bound, rows, held)
    if not len(grid):
        return None
    free = [place for place, name in enumerate(bound.parameters) if name not in held]
    starts = _starts(bound, rows, values, grid)
    return np.array([_best(bound, rows, *each, free) for each in zip(values, starts, strict=True)])


def bounds(law: TuningLaw, rows: Rows) -> tuple[Theta, Theta]:
    """Say between which values each number may lie."""
    limits = {number.name: _limits(number.role, rows[:, number.coordinate]) for number in law.numbers}
    every = [limits.get(name, (-np.inf, np.inf)) for name in law.parameters]
    return np.array([low for low, _ in every]), np.array([high for _, high in every])


def _limits(role: str, column: Float[np.ndarray, " samples"]) -> tuple[float, float]:
    unit = ROLES[role].unit(column)
    return ROLES[role].low * unit, ROLES[role].high * unit


def _grid(bound: Bound, rows: Rows, held: Mapping[str, float]) -> Float[np.ndarray, "starts parameters"]:
    """Lay out every start of the numbers that are not linear, where the law has values; the linear ones are 0."""
    law = bound.law
    each = [
        [held[number.name]] if number.name in held else ROLES[number.role].starts(rows[:, number.coordinate])
        for number in law.numbers
    ]
    points = np.zeros((int(np.prod([len(starts) for starts in each])), len(bound.parameters)))
    points[:, bound.index(*law.nonlinear)] = np.array(list(product(*each)))
    probe = points.copy()
    probe[:, bound.index(*law.linear)] = 1.0
    return points[[bool(np.isfinite(bound.values(theta, rows)).all()) for theta in probe]]


def _basis(bound: Bound, theta: Theta, rows: Rows) -> Float[np.ndarray, "samples linear"]:
    """Give what linear numbers multiply, or the law itself where it has a gain."""
    if bound.law.gain:
        return bound.values(theta, rows)[:, None]
    return bound.slopes(theta, rows)[:, bound.index(*bound.law.linear)]


def _starts(
    bound: Bound,
    rows: Rows,
    values: Float[np.ndarray, "units samples"],
    grid: Float[np.ndarray, "starts parameters"],
) -> list[list[Theta]]:
    """Find for each unit the points of the grid that explain most of it."""
    bases = [_basis(bound, theta, rows) for theta in grid]
    explained = np.stack([_explained(basis, values, signed=bool(bound.law.gain)) for basis in bases])
    order = np.argsort(-explained, axis=0, kind="stable")[:STARTS].T
    return [
        [_solved(bound, grid[place], bases[place], curve) for place in places]
        for places, curve in zip(order, values, strict=True)
    ]


def _explained(
    basis: Float[np.ndarray, "samples linear"], values: Float[np.ndarray, "units samples"], *, signed: bool
) -> Float[np.ndarray, " units"]:
    """Measure the squares that a basis explains of each unit; with a gain it must be positive."""
    axes, sizes, _ = np.linalg.svd(basis, full_matrices=False)
    along = values @ axes[:, sizes > 1e-9 * max(float(sizes.max()), 1e-300)]
    if signed:
        along = np.where((values @ basis) > 0, along, 0.0)
    return np.asarray(np.square(along).sum(axis=1))


def _solved(
    bound: Bound, theta: Theta, basis: Float[np.ndarray, "samples linear"], curve: Float[np.ndarray, " samples"]
) -> Theta:
    """Set the linear numbers, or the gain, by least squares."""
    solution, law, full = np.linalg.lstsq(basis, curve, rcond=None)[0], bound.law, theta.copy()
    if law.gain:
        full[bound.index(*law.gain)] *= max(float(solution[0]), 1e-9)
    else:
        full[bound.index(*law.linear)] = solution
    return full


def _best(
    bound: Bound, rows: Rows, curve: Float[np.ndarray, " samples"], starts: list[Theta], free: list[int]
) -> Theta:
    """Polish each start, unless all free numbers are linear, and keep what errs least."""
    if len(free) > len(bound.law.linear):
        starts = [_polished(bound, rows, curve, start, free) for start in starts]
    errors = [float(np.square(bound.values(theta, rows) - curve).sum()) for theta in starts]
    return canonical(bound, starts[int(np.argmin(errors))])


def _polished(
    bound: Bound,
    rows: Rows,
    values: Float[np.ndarray, " samples"],
    start: Theta,
    free: list[int],
    *,
    steps: int = STEPS,
) -> Theta:
    """Fit the free numbers to one unit from a start; steps out of bounds are turned back."""
    low, high = bounds(bound.law, rows)

    def full(some: Float[np.ndarray, " free"]) -> Theta:
        theta = start.copy()
        theta[free] = some
        return theta

    def residuals(some: Float[np.ndarray, " free"]) -> Float[np.ndarray, " samples"]:
        theta = full(some)
        if (theta < low).any() or (theta > high).any():
            return np.full(len(values), np.inf)
        return np.asarray(bound.values(theta, rows) - values)

    def jacobian(some: Float[np.ndarray, " free"]) -> Float[np.ndarray, "samples free"]:
        return bound.slopes(full(some), rows)[:, free]

    return full(levenberg_marquardt(residuals, jacobian, start[free], steps=STEPS))


def canonical(bound: Bound, theta: Theta) -> Theta:
    """Turn angles into their period, make a flipped number positive, round as `fit` does."""
    named = dict(zip(bound.parameters, theta.tolist(), strict=True))
    if bound.law.flip:
        name, angle, by = bound.law.flip
        if named[name] < 0:
            named |= {name: -named[name], angle: named[angle] + by}
    for number in bound.law.numbers:
        if turn := ROLES[number.role].turn:
            named[number.name] %= turn
    return np.array([float(f"{value:.{DIGITS}g}") for value in named.values()])


def named(bound: Bound, theta: Theta) -> Mapping[str, float]:
    """Give the numbers by their names."""
    return dict(zip(bound.parameters, theta.tolist(), strict=True))
