"""Pairs of inputs that share an invariant, and nothing else: what Siamese networks are shown.

Anchors are drawn evenly from ranges (those of matrices that are antisymmetric, from N(0, 1)). A positive is where
a transformation that keeps the invariant takes its anchor. Were a second quantity kept as well, a latent
could be any mixture of both; so each transformation is chosen to reach everything with the same value:

- trace: add a matrix without trace (similarity would keep the determinant too).
- determinant: similarity P A P⁻¹, all matrices having the trace 1, so that only the determinant varies.
- antisymmetric: rotation Q A Qᵀ; three numbers are such a matrix, the others are their negatives or 0.
- fields: a Lorentz boost of E and B, which keeps E·B and E² − B², then E → λE, B → B/λ, which keeps E·B alone.
- oscillator, cubic: where the motion is after some time; orbits are the levels of energy.
- wave (force −cos x): the same, its angle brought back by turns of 2π, in half of the pairs with time
  reversed: faster than the highest hill, motion to the left and to the right never meet.
- central: motion in a force k/r, whose strength k is drawn anew, and again midway, for each pair: energy
  would be kept only with k known. Kicks and drifts keep the angular momentum at any length of step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from consilience.analysis.formulas.derivative import derivative
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

TRACE = 1.0
FASTEST = 0.6
STIFFEST = 0.7
REACH = 10.0
TIME, STEP = 8.0, 0.01
STRENGTH, NEAREST, FARTHEST = 2.0, 0.1, 3.0
TRIES = 40

Rows = Float[np.ndarray, "samples inputs"]
Numbers = Float[np.ndarray, " samples"]
Moved = Callable[[Rows, np.random.Generator], Rows]


@dataclass(frozen=True, slots=True)
class Concept:
    """An invariant, the ranges of its inputs, and a transformation that keeps it; rows that it loses are NaN."""

    key: str
    about: str
    formula: str
    inputs: Mapping[str, tuple[float, float]]
    move: Moved
    derived: Mapping[str, str] = field(default_factory=dict)
    normal: bool = False

    @property
    def shift(self) -> Float[np.ndarray, " inputs"]:
        """The middle of each range."""
        return np.array([0.5 * (low + high) for low, high in self.inputs.values()])

    @property
    def scale(self) -> Float[np.ndarray, " inputs"]:
        """Half of each range."""
        return np.array([0.5 * (high - low) for low, high in self.inputs.values()])

    def invariant(self, rows: Rows) -> Numbers:
        """Tell what stays the same."""
        return np.asarray(evaluate(parse(self.formula), self._columns(rows)))

    def gradient(self, rows: Rows) -> Rows:
        """Differentiate the invariant with respect to its inputs."""
        parts = [evaluate(derivative(parse(self.formula), name), self._columns(rows)) for name in self.inputs]
        return np.stack([np.broadcast_to(part, len(rows)) for part in parts], axis=1)

    def _columns(self, rows: Rows) -> dict[str, Numbers]:
        return dict(zip(self.inputs, rows.T, strict=True))

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Draw rows evenly from the ranges."""
        return self.shift + self.scale * rng.uniform(-1.0, 1.0, (count, len(self.inputs)))

    def pairs(self, count: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
        """Draw anchors and their positives."""
        drawn = 2 * count  # some are lost
        anchors = rng.standard_normal((drawn, len(self.inputs))) if self.normal else self.sample(drawn, rng)
        positives = self.move(anchors, rng)
        kept = np.flatnonzero(np.isfinite(positives).all(axis=1))[:count]
        return anchors[kept], positives[kept]


def add_traceless(rows: Rows, rng: np.random.Generator) -> Rows:
    """Draw other entries in [0, 1] that have the same trace."""
    trace = rows[:, 0] + rows[:, 3]
    first = rng.uniform(np.maximum(trace - 1.0, 0.0), np.minimum(trace, 1.0))
    second, third = rng.uniform(size=(2, len(rows)))
    return np.column_stack([first, second, third, trace - first])


def transform_similarly(rows: Rows, rng: np.random.Generator) -> Rows:
    """Change the basis of 2×2 matrices of a fixed trace, at random until their entries stay in range."""
    matrices = np.stack([rows[:, 0], rows[:, 1], rows[:, 2], TRACE - rows[:, 0]], axis=1).reshape(-1, 2, 2)
    moved = np.full_like(matrices, np.nan)
    for _ in range(TRIES):
        left = np.flatnonzero(np.isnan(moved[:, 0, 0]))
        basis = rng.standard_normal((len(left), 2, 2))
        basis[np.abs(np.linalg.det(basis)) < 0.1] = np.eye(2)
        tried = basis @ matrices[left] @ np.linalg.inv(basis)
        inside = (np.abs(tried[:, [0, 0, 1], [0, 1, 0]]) <= REACH).all(axis=1)
        moved[left[inside]] = tried[inside]
    return moved.reshape(-1, 4)[:, :3]


def rotate_antisymmetric(rows: Rows, rng: np.random.Generator) -> Rows:
    """Rotate antisymmetric 3×3 matrices, which are given by x2, x3 and x6."""
    upper = ([0, 0, 1], [1, 2, 2])
    matrices = np.zeros((len(rows), 3, 3))
    matrices[:, *upper] = rows
    matrices -= matrices.transpose(0, 2, 1)
    turns = np.linalg.qr(rng.standard_normal(matrices.shape)).Q
    return np.asarray((turns @ matrices @ turns.transpose(0, 2, 1))[:, *upper])


def boost(rows: Rows, rng: np.random.Generator) -> Rows:
    """Boost E and B in a random direction (Jackson 1999, eq. 11.149, c = 1), then scale them against each other."""
    electric, magnetic = rows[:, :3], rows[:, 3:]
    direction = rng.standard_normal((len(rows), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    speed = FASTEST * rng.uniform(size=(len(rows), 1))
    gamma, velocity = 1.0 / np.sqrt(1.0 - speed**2), speed * direction
    along = (gamma - 1.0) * direction
    seen_electric = gamma * (electric + np.cross(velocity, magnetic)) - along * _dot(direction, electric)
    seen_magnetic = gamma * (magnetic - np.cross(velocity, electric)) - along * _dot(direction, magnetic)
    stretch = np.exp(STIFFEST * rng.uniform(-1.0, 1.0, (len(rows), 1)))
    return np.concatenate([stretch * seen_electric, seen_magnetic / stretch], axis=1)


def _dot(left: Rows, right: Rows) -> Float[np.ndarray, "samples 1"]:
    return np.asarray((left * right).sum(axis=1, keepdims=True))


def follow(force: Callable[[Numbers], Numbers]) -> Moved:
    """Give the motion along a line in a force: where it is after a random time (Runge and Kutta's fourth order)."""

    def slope(state: Rows) -> Rows:
        return np.column_stack([state[:, 1], force(state[:, 0])])

    def move(rows: Rows, rng: np.random.Generator) -> Rows:
        steps = round(TIME / STEP)
        h = (STEP * rng.uniform(size=len(rows)))[:, None]
        state = rows
        for _ in range(steps):
            first = slope(state)
            second = slope(state + 0.5 * h * first)
            third = slope(state + 0.5 * h * second)
            fourth = slope(state + h * third)
            state = state + h / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
        return state

    return move


def follow_wave(rows: Rows, rng: np.random.Generator) -> Rows:
    """Follow the motion in the force −cos x, which repeats along the line and in reversed time."""
    place, speed = follow(lambda x: -np.cos(x))(rows, rng).T
    turned = (place + np.pi) % (2.0 * np.pi) - np.pi
    return np.column_stack([turned, speed * rng.choice([-1.0, 1.0], len(rows))])


def follow_central(rows: Rows, rng: np.random.Generator) -> Rows:
    """Follow the motion in a plane in a force k/r from the middle; what comes too near it or too far is lost."""
    place, speed = rows[:, :2].copy(), rows[:, 2:].copy()
    h = (STEP * rng.uniform(size=len(rows)))[:, None]
    lost = np.zeros(len(rows), dtype=bool)
    for _ in range(2):
        strength = rng.uniform(-STRENGTH, STRENGTH, (len(rows), 1))
        for _ in range(round(0.25 * TIME / STEP)):
            place += 0.5 * h * speed
            squared = _dot(place, place)
            lost |= squared[:, 0] < NEAREST**2
            speed += h * strength * place / np.maximum(squared, NEAREST**2)
            place += 0.5 * h * speed
    moved = np.concatenate([place, speed], axis=1)
    moved[lost | (np.abs(moved).max(axis=1) > FARTHEST)] = np.nan
    return moved


def _range(names: str, low: float, high: float) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names.split(), (low, high))


CONCEPTS = {
    concept.key: concept
    for concept in (
        Concept(
            "trace",
            "the trace of a 2×2 matrix",
            "x1 + x4",
            _range("x1 x2 x3 x4", 0.0, 1.0),
            add_traceless,
        ),
        Concept(
            "determinant",
            "the determinant of a 2×2 matrix of trace 1",
            f"x1*({TRACE:g} - x1) - x2*x3",
            _range("x1 x2 x3", -REACH, REACH),
            transform_similarly,
            derived={"x4": f"{TRACE:g} - x1"},
        ),
        Concept(
            "antisymmetric",
            "what rotations keep of an antisymmetric 3×3 matrix",
            "x2**2 + x3**2 + x6**2",
            _range("x2 x3 x6", -1.5, 1.5),
            rotate_antisymmetric,
            normal=True,
        ),
        Concept(
            "fields",
            "the product E·B of electric and magnetic fields",
            "e1*b1 + e2*b2 + e3*b3",
            _range("e1 e2 e3 b1 b2 b3", 0.0, 2.0),
            boost,
        ),
        Concept(
            "oscillator",
            "the energy of an oscillator",
            "x**2 + v**2",
            _range("x v", -2.0, 2.0),
            follow(lambda x: -x),
        ),
        Concept(
            "cubic",
            "the energy of motion in the force -x - x^3",
            "v**2/2 + x**2/2 + x**4/4",
            _range("x", -1.5, 1.5) | _range("v", -2.0, 2.0),
            follow(lambda x: -x - x * x * x),
        ),
        Concept(
            "wave",
            "the energy of motion in the force -cos(x)",
            "v**2/2 + sin(x)",
            _range("x", -np.pi, np.pi) | _range("v", -2.0, 2.0),
            follow_wave,
        ),
        Concept(
            "central",
            "the angular momentum of motion in a plane in a force k/r",
            "x1*v2 - x2*v1",
            _range("x1 x2 v1 v2", -2.0, 2.0),
            follow_central,
        ),
    )
}
