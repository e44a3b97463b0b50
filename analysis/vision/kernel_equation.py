"""A kernel's closed form as an expression of the place (x, y) on its grid, in pixels from the centre, y down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ..formulas.expression import Apply, Constant, Expression, Variable, substitute

X, Y, U, V = (Variable(name) for name in ("x", "y", "u", "v"))
Numbers = Mapping[str, float]


def kernel_expression(form: str, numbers: Numbers) -> Expression:
    """Write a fitted form in x and y; a channel's values are these times its colour weight.

    For `gabor`, whose channels have phases of their own, this is the part along the colour axis;
    `channel_expression` has each channel in full.
    """
    return placed(profile(form, numbers), numbers)


def channel_expression(form: str, numbers: Numbers, colour: tuple[float, ...], channel: int) -> Expression:
    """Write what a fitted form says of one channel, in x and y."""
    if form != "gabor":
        return colour[channel] * kernel_expression(form, numbers)
    turn = 2 * math.pi * numbers["frequency"] * U
    cosine, sine, level = (numbers[f"{name}_{channel}"] for name in ("cosine", "sine", "level"))
    wave = cosine * Apply("cos", (turn,)) + sine * Apply("sin", (turn,)) + level
    return placed(wave * envelope(numbers), numbers)


def profile(form: str, numbers: Numbers) -> Expression:
    """Write a fitted form in u and v, the coordinates along its angle and across it from its own centre."""
    return PROFILES[form](numbers)


def placed(expression: Expression, numbers: Numbers) -> Expression:
    """Put x and y in the place of u and v, and write nothing for a shift or an angle that is zero."""
    across, down = _less(X, numbers.get("x0", 0.0)), _less(Y, numbers.get("y0", 0.0))
    angle = numbers.get("angle", 0.0)
    if angle == 0.0:
        return substitute(expression, {"u": across, "v": down})
    if angle == math.pi / 2:
        return substitute(expression, {"u": down, "v": across})  # v is -across, and counts only by its square
    cosine, sine = math.cos(angle), math.sin(angle)
    return substitute(expression, {"u": cosine * across + sine * down, "v": cosine * down - sine * across})


def _less(variable: Variable, shift: float) -> Expression:
    return variable - shift if shift else variable


def _constant(numbers: Numbers) -> Expression:
    return Constant(numbers["amplitude"])


def _gaussian(numbers: Numbers) -> Expression:
    return numbers["amplitude"] * _round(numbers["sigma"])


def _elongated_gaussian(numbers: Numbers) -> Expression:
    return numbers["amplitude"] * envelope(numbers)


def _difference_of_gaussians(numbers: Numbers) -> Expression:
    centre, surround = numbers["sigma"], numbers["sigma"] * numbers["ratio"]
    return numbers["amplitude"] * (_round(centre) - numbers["surround"] * _round(surround))


def _sum_of_gaussians(numbers: Numbers) -> Expression:
    centre, wide = numbers["sigma"], numbers["sigma"] * numbers["ratio"]
    return numbers["amplitude"] * (_round(centre) + numbers["pedestal"] * _round(wide))


def _first_derivative(numbers: Numbers) -> Expression:
    return numbers["amplitude"] / numbers["sigma_u"] * U * envelope(numbers)


def _second_derivative(numbers: Numbers) -> Expression:
    return numbers["amplitude"] * (1 - U**2 / _square(numbers["sigma_u"])) * envelope(numbers)


def _axis_gabor(numbers: Numbers) -> Expression:
    return _wave(numbers) * envelope(numbers)


def _gabor(numbers: Numbers) -> Expression:
    wave, level = _wave(numbers), numbers["level"]
    return (wave + level if level else wave) * envelope(numbers)


PROFILES: dict[str, Callable[[Numbers], Expression]] = {
    "constant": _constant,
    "gaussian": _gaussian,
    "elongated_gaussian": _elongated_gaussian,
    "difference_of_gaussians": _difference_of_gaussians,
    "sum_of_gaussians": _sum_of_gaussians,
    "first_derivative": _first_derivative,
    "second_derivative": _second_derivative,
    "axis_gabor": _axis_gabor,
    "gabor": _gabor,
}


def _wave(numbers: Numbers) -> Expression:
    turn, amplitude = 2 * math.pi * numbers["frequency"] * U, numbers["amplitude"]
    if numbers["phase"] == math.pi / 2:
        return -amplitude * Apply("sin", (turn,))
    return amplitude * Apply("cos", (turn + numbers["phase"] if numbers["phase"] else turn,))


def envelope(numbers: Numbers) -> Expression:
    """Write the Gaussian that ends a form, round where its two widths are one."""
    if numbers["sigma_u"] == numbers["sigma_v"]:
        return _round(numbers["sigma_u"])
    along, across = 2 * _square(numbers["sigma_u"]), 2 * _square(numbers["sigma_v"])
    return _exp(-(U**2 / along) - V**2 / across)


def _round(sigma: float) -> Expression:
    return _exp(-(U**2 + V**2) / (2 * _square(sigma)))


def _exp(exponent: Apply) -> Apply:
    return Apply("exp", (exponent,))


def _square(sigma: float) -> float:
    return sigma * sigma
