"""Planted zoos: lineages that know a law, each with smooth mistakes of its own, as networks' mistakes are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from consilience.analysis.distillation.target import Functions, Sample, Target
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

BOX = {"a": (1.0, 4.0), "b": (1.0, 4.0), "c": (1.0, 3.0)}
Function = Callable[[np.ndarray], np.ndarray]


def smooth(random: np.random.Generator, inputs: int, size: float) -> Function:
    """A random smooth function of the inputs with the given standard deviation."""
    directions, phases = random.normal(size=(40, inputs)), random.uniform(0, 2 * np.pi, 40)
    return lambda rows: size * np.sqrt(2 / 40) * np.cos(rows @ directions.T + phases).sum(axis=1)


def planted(
    laws: Sequence[str],
    *,
    seed: int,
    mistake: float = 0.01,
    sizes: Sequence[float] | None = None,
    box: Mapping[str, tuple[float, float]] = BOX,
    rows: int = 250,
    asked: bool = False,
) -> Target:
    """One lineage for each law; `mistake` is its own in standard deviations of the first law, times its size."""
    random, (low, high) = np.random.default_rng(seed), np.array([*box.values()]).T
    known = [parse(law) for law in laws]

    def draw(samples: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).uniform(low, high, (samples, len(box)))

    def columns(points: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(box, points.T, strict=True))

    scale = evaluate(known[0], columns(draw(1000, 0))).std()
    own = [smooth(random, len(box), mistake * scale * size) for size in sizes or [1.0] * len(laws)]

    def values(points: np.ndarray) -> np.ndarray:
        return np.stack([evaluate(law, columns(points)) + f(points) for law, f in zip(known, own, strict=True)])

    samples = [
        Sample(points, columns(points), values(points)) for points in (draw(rows, seed + 1), draw(rows, ~seed & 0xFFFF))
    ]
    functions = Functions(tuple(box), values, None, draw) if asked else None
    return Target("y", *samples, None, functions)
