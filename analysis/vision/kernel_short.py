"""A kernel's closed form in as few words as it can truthfully have: what cannot be told from it is left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Float

from ..formulas.expression import Expression
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from .kernel_equation import X, Y, kernel_expression
from .kernel_forms import TOLD
from .kernel_shapes import Grid, places

DIGITS = (3, 4, 5)
"""Significant digits that are tried, fewest first."""
SLIGHT = 0.1
"""By how much of a quarter turn an angle or phase may miss it, to be tried there."""

Numbers = Mapping[str, float]


def short_expression(form: str, numbers: Numbers, grid: Grid) -> Expression:
    """Write a form as `kernel_expression` does, shorter: on a grid its image changes by less than TOLD of its squares.

    In this order: angle and phase at a quarter turn, the centre at the origin, a round envelope, three digits.
    """
    whole, kept = _drawn(kernel_expression(form, numbers), grid), dict(numbers)
    for simpler in SIMPLER:
        for change in simpler(form, kept):
            if _same(kernel_expression(form, kept | change), whole, grid):
                kept |= change
    exact = kernel_expression(form, kept)
    rounded = (parse(to_text(exact, digits=digits)) for digits in DIGITS)
    return next((one for one in rounded if _same(one, whole, grid)), exact)


def drawn_r2(expression: Expression, image: Float[np.ndarray, "rows columns"]) -> float:
    """Measure how much of an image an expression in x and y gives: 1 - SSE/sum of squares."""
    left = image.ravel() - _drawn(expression, Grid(*image.shape))
    return 1 - float(left @ left) / float(np.sum(image**2))


def _straight(form: str, numbers: Numbers) -> Iterator[dict[str, float]]:
    """Turn an angle to the nearest quarter turn; half a turn mirrors u, as in `canonical`."""
    if "angle" in numbers and (turns := _turns(numbers["angle"])) is not None:
        mirrored = turns % 4 >= 2
        change = {"angle": (turns % 2) * math.pi / 2}
        if mirrored and form == "first_derivative":
            change["amplitude"] = -numbers["amplitude"]
        if mirrored and "phase" in numbers:
            change["phase"] = -numbers["phase"]
        yield change


def _level_phase(form: str, numbers: Numbers) -> Iterator[dict[str, float]]:
    if "phase" in numbers and (turns := _turns(numbers["phase"])) is not None:
        sign = -1.0 if turns % 4 >= 2 else 1.0
        yield {"phase": (turns % 2) * math.pi / 2, "amplitude": sign * numbers["amplitude"]}


def _centred(form: str, numbers: Numbers) -> Iterator[dict[str, float]]:
    if "x0" in numbers:
        yield {"x0": 0.0}
        yield {"y0": 0.0}


def _round(form: str, numbers: Numbers) -> Iterator[dict[str, float]]:
    if "sigma_u" in numbers:
        middle = math.sqrt(numbers["sigma_u"] * numbers["sigma_v"])
        yield {"sigma_u": middle, "sigma_v": middle}


SIMPLER: tuple[Callable[[str, Numbers], Iterator[dict[str, float]]], ...] = (_straight, _level_phase, _centred, _round)


def _turns(angle: float) -> int | None:
    turns = angle / (math.pi / 2)
    return round(turns) if abs(turns - round(turns)) < SLIGHT else None


def _same(expression: Expression, whole: Float[np.ndarray, " places"], grid: Grid) -> bool:
    change = _drawn(expression, grid) - whole
    return float(change @ change) <= TOLD * float(whole @ whole)


def _drawn(expression: Expression, grid: Grid) -> Float[np.ndarray, " places"]:
    x, y = places(grid)
    values = np.asarray(expression.numpy([X.name, Y.name])(x, y), dtype=float)
    return np.array(np.broadcast_to(values, x.shape))
