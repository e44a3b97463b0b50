"""Draw laws by a seed: random formulas of two to five quantities, none of them chosen by hand.

A formula takes each quantity once or twice, sometimes through a function, and joins them by + - * / in random order.
It is kept if it is finite and tame on its box, if every quantity matters there, and if no plane fits it.

Run as: python data/recipes/random_laws.py [--count 10] [--seed 0] [--networks 3] [--error 1e-5] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from law_manifest import measure_scales, write_manifest
from law_networks import DATA, train_zoo
from laws import Box, Law

from consilience.analysis.formulas.expression import Apply, Constant, Expression, Variable, complexity, variables
from consilience.analysis.formulas.printing import to_text
from consilience.analysis.formulas.simplify import simplify

NAMES = "abcdh"
RANGES = ((1.0, 5.0), (1.0, 3.0), (0.5, 2.0), (2.0, 6.0))
JOINS = {"mul": 0.4, "div": 0.25, "add": 0.2, "sub": 0.15}
FUNCTIONS = {"square": 0.3, "sqrt": 0.2, "sin": 0.12, "cos": 0.13, "exp": 0.15, "log": 0.1}
NUMBERS = (0.5, 2.0, 3.0, 4.0)

TWICE, APPLIED, NUMBERED = 0.3, 0.25, 0.2
"""How often a formula names a quantity again, applies a function to a part, multiplies a part by a number."""
SAMPLES = 4096
SIZES = (7, 21)
"""Fewest and most nodes."""
TAME, LEAST, PLANE = 6.0, 0.02, 0.97
"""Largest distance from the mean in deviations; least share of the variance that moves with each quantity; most
that a plane may explain."""

Rows = Float[np.ndarray, "samples variables"]


def random_laws(count: int, *, seed: int) -> tuple[Law, ...]:
    """Draw so many laws; the same seed draws the same ones, and more of them go on from there."""
    return tuple(islice(_laws(seed), count))


def _laws(seed: int) -> Iterator[Law]:
    random, number, met = np.random.default_rng(seed), 0, set[str]()
    while True:
        names = NAMES[: random.integers(2, len(NAMES) + 1)]
        box = {name: RANGES[random.integers(len(RANGES))] for name in names}
        found = simplify(grow(random, names))
        text = to_text(found)
        if text in met or not _sound(found, box, seed=number):
            continue
        met.add(text)
        number += 1
        yield Law(f"R{seed}.{number}", text, "y", box)


def grow(random: np.random.Generator, names: Sequence[str]) -> Expression:
    """Grow a formula from its leaves: two parts at a time are joined until one is left."""
    again = [name for name in names if random.random() < TWICE / len(names) * 2]
    parts: list[Expression] = [_dressed(random, Variable(name)) for name in (*names, *again)]
    while len(parts) > 1:
        left, right = (parts.pop(random.integers(len(parts))) for _ in range(2))
        parts.append(_dressed(random, Apply(_chosen(random, JOINS), (left, right))))
    return parts[0]


def _dressed(random: np.random.Generator, part: Expression) -> Expression:
    """Apply a function or a number to a part, or leave it."""
    if random.random() < NUMBERED:
        part = Constant(NUMBERS[random.integers(len(NUMBERS))]) * part
    if random.random() >= APPLIED or _has_function(part):
        return part
    function = _chosen(random, FUNCTIONS)
    if function == "exp" and random.random() < 0.7:
        return Apply("exp", (-part,))  # decay is more frequent than growth
    return part**2.0 if function == "square" else Apply(function, (part,))


def _has_function(part: Expression) -> bool:
    """Tell whether a function has been applied: laws seldom nest them."""
    return isinstance(part, Apply) and (
        part.function in {*FUNCTIONS, "pow"} or any(_has_function(argument) for argument in part.arguments)
    )


def _chosen(random: np.random.Generator, weights: dict[str, float]) -> str:
    return str(random.choice(list(weights), p=list(weights.values())))


def _sound(formula: Expression, box: Box, *, seed: int) -> bool:
    """Tell whether a formula is worth learning: finite, tame, of all its quantities, and no plane."""
    law = Law("", to_text(formula), "y", box)
    if not SIZES[0] <= complexity(formula) <= SIZES[1] or set(variables(formula)) != set(box):
        return False
    rows = law.draw(SAMPLES, seed=seed)
    values = law(rows)
    if not np.isfinite(values).all() or not 1e-3 < values.std() < 1e4:
        return False
    scaled = (values - values.mean()) / values.std()
    tame = float(np.abs(scaled).max()) < TAME
    return tame and _unlike_a_plane(rows, scaled) and all(_matters(law, rows, values, p) for p in range(len(box)))


def _unlike_a_plane(rows: Rows, scaled: Float[np.ndarray, " samples"]) -> bool:
    design = np.column_stack([rows, np.ones(len(rows))])
    rest = scaled - design @ np.linalg.lstsq(design, scaled, rcond=None)[0]
    return float(np.mean(rest**2)) > 1 - PLANE


def _matters(law: Law, rows: Rows, values: Float[np.ndarray, " samples"], place: int) -> bool:
    """Tell whether the law changes when one quantity is drawn again (Sobol's total effect)."""
    other = rows.copy()
    other[:, place] = np.roll(rows[:, place], 1)
    return float(np.mean((law(other) - values) ** 2) / 2) > LEAST * float(values.var())


def _about(law: Law) -> str:
    return f"Networks that each learned, alone, {law.key} of the laws drawn by a seed: {law.formula}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train zoos on the laws that the command line asks for."""
    parser = argparse.ArgumentParser(description="Train zoos on random laws.")
    parser.add_argument("--count", type=int, default=10, help="laws")
    parser.add_argument("--seed", type=int, default=0, help="of the laws and of the networks")
    parser.add_argument("--networks", type=int, default=3, help="networks of each zoo")
    parser.add_argument("--error", type=float, default=1e-5, help="1 - R² on fresh rows, about")
    parser.add_argument("--out", type=Path, default=DATA / "random", help="folder of the zoos")
    parser.add_argument("--show", action="store_true", help="print the laws, train nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    for law in random_laws(options.count, seed=options.seed):
        print(f"{law.key:8} {law.formula}   {law.box}" if options.show else f"{law.key:8} {law.formula}", flush=True)
        folder = options.out / law.folder
        if not options.show and not (folder / "zoo.toml").exists():
            train_zoo(law, folder, error=options.error, networks=options.networks, seed=options.seed)
            write_manifest(law, measure_scales(law), folder, about=_about(law))


if __name__ == "__main__":
    main()
