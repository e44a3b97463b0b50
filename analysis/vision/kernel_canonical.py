"""One way to write each fitted kernel, so that fits can be compared: colour axis, angle, phase, sign."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

COLOURS: dict[str, tuple[float, float, float]] = {
    "luminance": (1.0, 1.0, 1.0),
    "red-green": (1.0, -1.0, 0.0),
    "blue-yellow": (-1.0, -1.0, 2.0),
}
NEAR = 0.9
"""The least cosine at which a colour axis bears a name."""

Weights = Float[np.ndarray, "channels terms"]


def colour_axis(modelled: Float[np.ndarray, "channels places"]) -> Float[np.ndarray, " channels"]:
    """Take the strongest direction over the channels, with the sign of the most alike of COLOURS."""
    axis = np.linalg.svd(modelled, full_matrices=False)[0][:, 0]
    known = [_unit(colour) for colour in COLOURS.values()] if len(axis) == 3 else np.eye(len(axis))
    most = max((float(colour @ axis) for colour in known), key=abs)
    return np.asarray(axis if most >= 0 else -axis)


def colour_name(colour: tuple[float, ...]) -> str:
    """Name a colour axis: one of COLOURS, `other`, or `none` for a single channel."""
    if len(colour) != 3:
        return "other" if len(colour) > 1 else "none"
    cosines = {name: abs(float(_unit(axis) @ np.array(colour))) for name, axis in COLOURS.items()}
    best = max(cosines, key=cosines.__getitem__)
    return best if cosines[best] >= NEAR else "other"


def canonical(
    form: str, fitted: Mapping[str, float], weights: Weights, colour: Float[np.ndarray, " channels"]
) -> dict[str, float]:
    """Name the numbers of a fit in the one way that all fits share: angle and phase in [0, pi).

    `weights` are the images' weights for each channel; the amplitude along `colour` bears the sign.
    """
    along = (colour @ weights).tolist()
    numbers = dict(fitted) | (_wave_numbers(weights, along) if form == "gabor" else {"amplitude": along[0]})
    if form == "elongated_gaussian" and numbers["sigma_u"] > numbers["sigma_v"]:
        numbers |= {"sigma_u": numbers["sigma_v"], "sigma_v": numbers["sigma_u"]}
        numbers["angle"] += math.pi / 2
    _turn_angle(form, numbers)
    _turn_phase(numbers)
    return numbers


def beside(form: str, numbers: Mapping[str, float], reference: Mapping[str, float]) -> dict[str, float]:
    """Write the same kernel with angle and phase within a quarter turn of a reference's, to compare the rest."""
    near = dict(numbers)
    if "angle" in near:
        odd = round((near["angle"] - reference["angle"]) / math.pi)
        near["angle"] -= odd * math.pi
        _mirror(form, near, odd=odd % 2 == 1)
    if "phase" in near:
        odd = round((near["phase"] - reference["phase"]) / math.pi)
        near["phase"] -= odd * math.pi
        near["amplitude"] *= -1 if odd % 2 else 1
    return near


def _turn_angle(form: str, numbers: dict[str, float]) -> None:
    """Bring the angle into [0, pi)."""
    if "angle" in numbers:
        odd = numbers["angle"] % (2 * math.pi) >= math.pi
        numbers["angle"] %= math.pi
        _mirror(form, numbers, odd=odd)


def _mirror(form: str, numbers: dict[str, float], *, odd: bool) -> None:
    """Follow an odd number of half turns of the angle, which change the signs of u and v."""
    for name in numbers:
        if odd and (name == "phase" or name.startswith("sine_") or (name, form) == ("amplitude", "first_derivative")):
            numbers[name] = -numbers[name]


def _turn_phase(numbers: dict[str, float]) -> None:
    """Bring the phase into [0, pi): half a turn of it changes the sign of the amplitude."""
    if "phase" in numbers:
        odd = numbers["phase"] % (2 * math.pi) >= math.pi
        numbers["phase"] %= math.pi
        numbers["amplitude"] *= -1 if odd else 1


def _wave_numbers(weights: Weights, along: list[float]) -> dict[str, float]:
    names = ("cosine", "sine", "level")
    own = {
        f"{name}_{channel}": float(value)
        for channel, row in enumerate(weights)
        for name, value in zip(names, row, strict=True)
    }
    cosine, sine, level = along
    return {"amplitude": math.hypot(cosine, sine), "phase": math.atan2(-sine, cosine), "level": level} | own


def _unit(axis: tuple[float, ...]) -> Float[np.ndarray, " channels"]:
    return np.asarray(np.array(axis) / np.linalg.norm(axis))
