"""The simplest equations first: a constant, a plane, a product of powers, sparse polynomials.

Everything here is solved by least squares in closed form, so simple things get simple answers in a
fraction of a second, before any search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import combinations, combinations_with_replacement, product

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Constant, Expression, Variable

Columns = Mapping[str, Float[np.ndarray, " samples"]]
TERMS = 10
LIBRARY = 2_000
PAIRS = 12
PARALLEL = 0.9999
"""Correlation of two products above which they are taken for one."""
POSITIVE = (1, 2, 3)
EXPONENTS = (-3, -2, -1, 1, 2, 3)

Monomial = Mapping[str, int]


def ladder(columns: Columns, values: Float[np.ndarray, " samples"]) -> Iterator[Expression]:
    """Climb from a constant to sparse polynomials of third degree, each fitted to the values."""
    yield Constant(float(values.mean()))
    if not columns:
        return
    yield _plane(columns, values)
    yield from _power_law(columns, values)
    for degree in (1, 2, 3):
        yield from sparse_polynomials(columns, values, degree=degree)


def _plane(columns: Columns, values: Float[np.ndarray, " samples"]) -> Expression:
    names = list(columns)
    design = np.column_stack([*columns.values(), np.ones(len(values))])
    *slopes, offset = _solve(design, values)
    return _sum([Constant(float(slope)) * Variable(name) for name, slope in zip(names, slopes, strict=True)], offset)


def _power_law(columns: Columns, values: Float[np.ndarray, " samples"]) -> Iterator[Expression]:
    """Fit c · x^a · y^b … as a plane in logarithms, where everything is of one sign."""
    sign = float(np.sign(values[0]))
    if sign == 0 or not all((column > 0).all() for column in (sign * values, *columns.values())):
        return
    design = np.column_stack([*map(np.log, columns.values()), np.ones(len(values))])
    *exponents, scale = _solve(design, np.log(sign * values))
    if not np.isfinite(np.exp(scale)):
        return
    product: Expression = Constant(sign * float(np.exp(scale)))
    for name, exponent in zip(columns, exponents, strict=True):
        product = product * Variable(name) ** float(exponent)
    yield product


def sparse_polynomials(
    columns: Columns, values: Float[np.ndarray, " samples"], *, degree: int, most: int = TERMS
) -> Iterator[Expression]:
    """Add one monomial at a time, each time the one that lowers the squared error most."""
    monomials = [dict(Counter(names)) for names in _monomials(list(columns), degree)]
    yield from _sparse_sums(monomials, columns, values, most=most)


def laurent(columns: Columns, values: Float[np.ndarray, " samples"], *, most: int = 4) -> Iterator[Expression]:
    """Add one product of powers at a time, negative ones too, of up to three variables that are never zero."""
    usable = [name for name, column in columns.items() if np.abs(column).min() > 1e-6 * np.abs(column).max()]
    products = [
        dict(zip(chosen, powers, strict=True))
        for count in range(1, min(len(columns), 3) + 1)
        for chosen in combinations(columns, count)
        for powers in product(*(EXPONENTS if name in usable else POSITIVE for name in chosen))
    ]
    yield from _sparse_sums(products, columns, values, most=most)
    yield from _best_pairs(products, columns, values)


def _best_pairs(
    monomials: Sequence[Monomial], columns: Columns, values: Float[np.ndarray, " samples"]
) -> Iterator[Expression]:
    """Try all sums of two: one at a time misses two that only together are right, such as x - x/r."""
    if not 2 <= len(monomials) <= LIBRARY:
        return
    library = _library(monomials, columns)
    centred, goal = library - library.mean(axis=0), values - values.mean()
    centred = centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300)
    alike, share = centred.T @ centred, centred.T @ goal
    with np.errstate(all="ignore"):
        gains = (share[:, None] ** 2 + share**2 - 2 * np.outer(share, share) * alike) / (1 - alike**2)
    gains[~np.isfinite(gains) | (np.abs(alike) > PARALLEL)] = -1.0
    best = np.argsort(-np.triu(gains, 1), axis=None, kind="stable")[:PAIRS]
    for left, right in zip(*np.unravel_index(best, gains.shape), strict=True):
        yield _polynomial([monomials[left], monomials[right]], library[:, [left, right]], values)


def _library(monomials: Sequence[Monomial], columns: Columns) -> Float[np.ndarray, "samples terms"]:
    return np.column_stack(
        [np.prod([columns[name] ** power for name, power in monomial.items()], axis=0) for monomial in monomials]
    )


def _sparse_sums(
    monomials: Sequence[Monomial], columns: Columns, values: Float[np.ndarray, " samples"], *, most: int
) -> Iterator[Expression]:
    """Choose from a library by orthogonal least squares (Chen, Billings & Luo 1989).

    The candidates are kept orthogonal to what is already in, so every step is one pass over the library.
    """
    if len(monomials) > LIBRARY:
        return
    library = _library(monomials, columns)
    residual, remaining = values - values.mean(), library - library.mean(axis=0)
    scale = np.linalg.norm(remaining, axis=0)
    chosen: list[int] = []
    for _ in range(min(most, len(monomials))):
        norms = np.linalg.norm(remaining, axis=0)
        usable = norms > 1e-6 * scale
        usable[chosen] = False
        if not usable.any():
            return
        gains = np.where(usable, np.abs(residual @ remaining) / np.where(usable, norms, 1.0), -1.0)
        best = int(np.argmax(gains))
        chosen.append(best)
        direction = remaining[:, best] / norms[best]
        residual = residual - direction * (direction @ residual)
        remaining = remaining - np.outer(direction, direction @ remaining)
        yield _polynomial([monomials[k] for k in chosen], library[:, chosen], values)


def _monomials(names: Sequence[str], degree: int) -> list[tuple[str, ...]]:
    return [monomial for order in range(1, degree + 1) for monomial in combinations_with_replacement(names, order)]


def _polynomial(
    monomials: Sequence[Monomial],
    library: Float[np.ndarray, "samples terms"],
    values: Float[np.ndarray, " samples"],
) -> Expression:
    *weights, offset = _solve(np.column_stack([library, np.ones(len(values))]), values)
    return _sum([float(w) * _product(m) for w, m in zip(weights, monomials, strict=True)], offset)


def _product(monomial: Monomial) -> Expression:
    factors = [Variable(name) ** float(power) if power != 1 else Variable(name) for name, power in monomial.items()]
    return reduce(lambda left, right: left * right, factors)


def _sum(terms: Sequence[Expression], offset: float) -> Expression:
    return reduce(lambda left, right: left + right, [*terms, Constant(float(offset))])


def _solve(
    design: Float[np.ndarray, "samples terms"], values: Float[np.ndarray, " samples"]
) -> Float[np.ndarray, " terms"]:
    """Solve least squares with columns scaled to one, so that units do not matter."""
    scale = np.linalg.norm(design, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray(np.linalg.lstsq(design / scale, values, rcond=None)[0] / scale)
