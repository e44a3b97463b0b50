"""The shapes a kernel is compared with: their basis images, where fitting starts, and its bounds.

Coordinates are pixels of the kernel's grid from its centre, x to the right, y down. A shape is a sum of
basis images that depend on few numbers; the weights of the basis images are the linear part of the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Columns = Mapping[str, Float[np.ndarray, "starts 1"]]
Places = Float[np.ndarray, "starts places"]
Basis = Float[np.ndarray, "starts terms places"]
Kernel = Float[np.ndarray, "channels rows columns"]
Start: TypeAlias = dict[str, float]

PEAKS = 3
"""So many peaks of a kernel's spectrum give starts."""
SMALLEST = 0.3
"""The least width in pixels; below it a Gaussian is one pixel whatever its width."""
ANGLES = np.arange(8) * np.pi / 8


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of a kernel, row by row."""

    rows: int
    columns: int

    @property
    def side(self) -> int:
        """Give the shorter side in pixels."""
        return min(self.rows, self.columns)


@cache
def places(grid: Grid) -> Float[np.ndarray, "2 places"]:
    """List x and y of every place, row by row."""
    y, x = np.mgrid[: grid.rows, : grid.columns].astype(float)
    return np.stack([(x - (grid.columns - 1) / 2).ravel(), (y - (grid.rows - 1) / 2).ravel()])


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: the numbers that it depends on, and its basis images for many choices of them at once.

    `seeds` gives groups of starts; the best of each group is worth refining.
    """

    parameters: tuple[str, ...]
    images: Callable[[Columns, Places, Places], Basis]
    seeds: Callable[[Kernel], list[list[Start]]]
    terms: int = 1

    def basis(self, numbers: Float[np.ndarray, "starts numbers"], grid: Grid) -> Basis:
        """Draw the basis images, for every row of numbers."""
        columns = {name: numbers[:, place, None] for place, name in enumerate(self.parameters)}
        x, y = np.broadcast_to(places(grid)[:, None], (2, len(numbers), grid.rows * grid.columns))
        return self.images(columns, x, y)

    def bounds(self, grid: Grid) -> tuple[list[float], list[float]]:
        """Bound the numbers to what the grid can tell apart."""
        limits = _limits(grid)
        pairs = [limits[name] for name in self.parameters]
        return [low for low, _ in pairs], [high for _, high in pairs]

    def numbers(self, channels: int) -> int:
        """Count what is fitted, weights of the channels included."""
        return len(self.parameters) + self.terms * channels


def _limits(grid: Grid) -> dict[str, tuple[float, float]]:
    sigma, free = (SMALLEST, float(grid.side)), (-np.inf, np.inf)
    return {
        "x0": (-grid.columns / 2, grid.columns / 2),
        "y0": (-grid.rows / 2, grid.rows / 2),
        "angle": free,
        "phase": free,
        # From half a cycle on the grid to one that alternates from pixel to pixel.
        "frequency": (0.5 / grid.side, 0.5),
        "sigma": sigma,
        "sigma_u": sigma,
        "sigma_v": sigma,
        "ratio": (1.1, 6.0),
        "surround": (0.0, 2.0),
        "pedestal": (0.0, 1.0),
    }


# Basis images


def _turned(p: Columns, x: Places, y: Places) -> tuple[Places, Places]:
    right, down = x - p["x0"], y - p["y0"]
    cosine, sine = np.cos(p["angle"]), np.sin(p["angle"])
    return right * cosine + down * sine, down * cosine - right * sine


def _envelope(p: Columns, x: Places, y: Places) -> tuple[Places, Places]:
    u, v = _turned(p, x, y)
    return u, np.exp(-0.5 * (u / p["sigma_u"]) ** 2 - 0.5 * (v / p["sigma_v"]) ** 2)


def _single(image: Places) -> Basis:
    return np.asarray(image[:, None])


def _constant(p: Columns, x: Places, y: Places) -> Basis:
    return _single(np.ones_like(x))


def _round(p: Columns, x: Places, y: Places, sigma: Float[np.ndarray, "starts 1"]) -> Places:
    return np.asarray(np.exp(-0.5 * ((x - p["x0"]) ** 2 + (y - p["y0"]) ** 2) / sigma**2))


def _gaussian(p: Columns, x: Places, y: Places) -> Basis:
    return _single(_round(p, x, y, p["sigma"]))


def _elongated_gaussian(p: Columns, x: Places, y: Places) -> Basis:
    return _single(_envelope(p, x, y)[1])


def _difference_of_gaussians(p: Columns, x: Places, y: Places) -> Basis:
    around = _round(p, x, y, p["sigma"] * p["ratio"])
    return _single(_round(p, x, y, p["sigma"]) - p["surround"] * around)


def _sum_of_gaussians(p: Columns, x: Places, y: Places) -> Basis:
    around = _round(p, x, y, p["sigma"] * p["ratio"])
    return _single(_round(p, x, y, p["sigma"]) + p["pedestal"] * around)


def _first_derivative(p: Columns, x: Places, y: Places) -> Basis:
    u, envelope = _envelope(p, x, y)
    return _single(u / p["sigma_u"] * envelope)


def _second_derivative(p: Columns, x: Places, y: Places) -> Basis:
    u, envelope = _envelope(p, x, y)
    return _single((1 - (u / p["sigma_u"]) ** 2) * envelope)


def _axis_gabor(p: Columns, x: Places, y: Places) -> Basis:
    u, envelope = _envelope(p, x, y)
    return _single(np.cos(2 * np.pi * p["frequency"] * u + p["phase"]) * envelope)


def _gabor(p: Columns, x: Places, y: Places) -> Basis:
    u, envelope = _envelope(p, x, y)
    turn = 2 * np.pi * p["frequency"] * u
    return np.stack([np.cos(turn) * envelope, np.sin(turn) * envelope, envelope], axis=1)


# Starts, from the spectrum and the energy of the kernel


def _nowhere(kernel: Kernel) -> list[list[Start]]:
    return [[{}]]


def _spots(kernel: Kernel) -> list[list[Start]]:
    return [_joined(_middles(kernel), [{"sigma": width}]) for width in _widths(kernel)]


def _ringed_spots(kernel: Kernel) -> list[list[Start]]:
    rings = _crossed(ratio=[1.5, 3.0], surround=[0.2, 0.7, 1.2])
    return [_joined(group, rings) for group in _spots(kernel)]


def _raised_spots(kernel: Kernel) -> list[list[Start]]:
    pedestals = _crossed(ratio=[1.5, 3.0], pedestal=[0.2, 0.7])
    return [_joined(group, pedestals) for group in _spots(kernel)]


def _turned_spots(kernel: Kernel) -> list[list[Start]]:
    widths = _crossed(sigma_u=_widths(kernel), sigma_v=_widths(kernel))
    return [_joined(_middles(kernel), [{"angle": angle}], widths) for angle in ANGLES]


def _waves(kernel: Kernel) -> list[list[Start]]:
    widths = _crossed(sigma_u=_widths(kernel), sigma_v=_widths(kernel))
    tops = [{"angle": angle, "frequency": frequency} for angle, frequency in peaks(kernel)]
    return [_joined(_middles(kernel), [top], widths) for top in tops]


def _phased_waves(kernel: Kernel) -> list[list[Start]]:
    phases = _crossed(phase=[0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4])
    return [_joined(group, phases) for group in _waves(kernel)]


def _crossed(**choices: list[float]) -> list[Start]:
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def _joined(*parts: list[Start]) -> list[Start]:
    return [{name: value for part in parts for name, value in part.items()} for parts in product(*parts)]


def _middles(kernel: Kernel) -> list[Start]:
    """Offer the centre of the energy and the centre of the grid."""
    energy = (kernel**2).sum(axis=0)
    x, y = places(Grid(*energy.shape))
    share = energy.ravel() / energy.sum()
    return [{"x0": float(share @ x), "y0": float(share @ y)}, {"x0": 0.0, "y0": 0.0}]


def _widths(kernel: Kernel) -> list[float]:
    side = min(kernel.shape[1:])
    return [max(side / 8, 0.6), side / 3.5]


def peaks(kernel: Kernel) -> list[tuple[float, float]]:
    """Find the strongest peaks of the spectrum of all channels: angle, and frequency in cycles per pixel."""
    size = 4 * max(kernel.shape[1:])
    power = (np.abs(np.fft.fft2(kernel, s=(size, size))) ** 2).sum(axis=0)
    around = [np.roll(power, step, (0, 1)) for step in product((-1, 0, 1), repeat=2) if any(step)]
    down, right = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    half = (down > 0) | ((down == 0) & (right > 0))
    # Where there are too few peaks, the strongest other frequencies follow them.
    height = np.where(half, power, -1.0) * np.where(power >= np.max(around, axis=0), 1.0, 1e-9)
    order = np.argsort(-height, axis=None, kind="stable")[:PEAKS]
    angles = np.arctan2(down.ravel()[order], right.ravel()[order]) % np.pi
    return list(zip(angles.tolist(), np.hypot(down, right).ravel()[order].tolist(), strict=True))


_TURNED = ("x0", "y0", "angle", "sigma_u", "sigma_v")
_WAVE = (*_TURNED, "frequency")

SHAPES: dict[str, Shape] = {
    "constant": Shape((), _constant, _nowhere),
    "gaussian": Shape(("x0", "y0", "sigma"), _gaussian, _spots),
    "elongated_gaussian": Shape(_TURNED, _elongated_gaussian, _turned_spots),
    "difference_of_gaussians": Shape(
        ("x0", "y0", "sigma", "ratio", "surround"), _difference_of_gaussians, _ringed_spots
    ),
    "sum_of_gaussians": Shape(("x0", "y0", "sigma", "ratio", "pedestal"), _sum_of_gaussians, _raised_spots),
    "first_derivative": Shape(_TURNED, _first_derivative, _turned_spots),
    "second_derivative": Shape(_TURNED, _second_derivative, _turned_spots),
    "axis_gabor": Shape((*_WAVE, "phase"), _axis_gabor, _phased_waves),
    "gabor": Shape(_WAVE, _gabor, _waves, terms=3),
}
