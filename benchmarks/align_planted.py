"""Layers, networks and zoos in which it is known what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

Order = np.ndarray
INPUTS = 3
WIDTHS = (64, 512, 512, 512, 10)
"""The MLP whose weights are matched."""
COMMON, PRESENT, TWICE = 40, 0.5, 3
"""A zoo has so many functions in common; a network has each with this chance, and so many units twice."""


def waves(inputs: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
    """Draw smooth functions of a few inputs, of unit variance, many of them alike."""
    phases = draw.uniform(0, 2 * np.pi, count)
    values = np.sin(inputs @ draw.normal(0, 4, (inputs.shape[1], count)) + phases)
    return np.asarray(values / values.std(axis=0))


def plant_layers(
    networks: int, width: int, *, samples: int, noise: float, seed: int
) -> tuple[list[np.ndarray], list[Order]]:
    """Give networks the same functions in an order of their own, with noise; and those orders."""
    draw = np.random.default_rng([seed, networks, width])
    common = waves(draw.uniform(-1, 1, (samples, INPUTS)), width, draw).astype(np.float32)
    orders = [draw.permutation(width) for _ in range(networks)]
    return [common[:, order] + noise * draw.standard_normal(common.shape, np.float32) for order in orders], orders


def recovered(orders: Sequence[Order], pairs: np.ndarray, partners: np.ndarray) -> float:
    """Give the share of units that were matched to the unit that has their function."""
    right = [
        orders[second][np.maximum(partner, 0)][partner >= 0] == orders[first][partner >= 0]
        for (first, second), partner in zip(pairs, partners, strict=True)
    ]
    return float(sum(map(np.sum, right)) / partners.size)


def plant_similar(width: int, *, samples: int, layers: int, seed: int) -> list[np.ndarray]:
    """Give layers that have nothing in common, and last the first one once more, rotated."""
    draw = np.random.default_rng([seed, width])
    found = [draw.standard_normal((samples, width), np.float32) for _ in range(layers - 1)]
    basis = np.linalg.qr(draw.standard_normal((width, width)))[0]
    return [*found, (found[0] @ basis).astype(np.float32)]


def plant_weights(*, noise: float, seed: int) -> tuple[dict[str, np.ndarray], list[Order]]:
    """Give an MLP, and a copy with other weights by so much and its hidden units in another order."""
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(width) for width in WIDTHS[1:-1]]
    before, tensors = np.arange(WIDTHS[0]), {}
    for number, (inputs, outputs) in enumerate(pairwise(WIDTHS)):
        after = orders[number] if number < len(orders) else np.arange(outputs)
        for name, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
            part = draw.uniform(-1, 1, shape) * inputs**-0.5
            other = part + noise * part.std() * draw.standard_normal(shape)
            other = other[after][:, before] if name == "weight" else other[after]
            tensors |= {f"left.{number}.{name}": part.astype("f4"), f"right.{number}.{name}": other.astype("f4")}
        before = after
    return tensors, orders


def plant_zoo(
    networks: int, width: int, *, samples: int, noise: float, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Give networks some of the functions that a zoo has in common, among private ones and with some twice."""
    draw = np.random.default_rng([seed, networks])
    inputs = draw.uniform(-1, 1, (samples, INPUTS))
    common = waves(inputs, COMMON, draw)
    zoo, truth, fresh = [], [], COMMON
    for _ in range(networks):
        label = np.flatnonzero(draw.random(COMMON) < PRESENT)
        private = np.arange(fresh, fresh + width - TWICE - len(label))
        fresh += len(private)
        columns = np.hstack([common[:, label], waves(inputs, len(private), draw)])
        kept = draw.permutation(np.append(np.arange(width - TWICE), draw.integers(0, width - TWICE, TWICE)))
        values = columns[:, kept] + noise * draw.standard_normal((samples, width))
        zoo.append((values * draw.choice([-1, 1], width) * draw.lognormal(size=width)).astype(np.float32))
        truth.append(np.concatenate([label, private])[kept])
    return zoo, truth


def plant_large(folder: Path, width: int, *, samples: int, noise: float, seed: int) -> Order:
    """Write two wide layers to left.npy and right.npy, a block of samples at a time; and give the right one's order."""
    draw = np.random.default_rng(seed)
    slopes, phases = draw.normal(0, 4, (8, width)).astype("f4"), draw.uniform(0, 2 * np.pi, width).astype("f4")
    order = draw.permutation(width)
    files = [
        np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.float32, (samples, width))
        for side in ("left", "right")
    ]
    for start in range(0, samples, 500):
        rows = slice(start, min(start + 500, samples))
        common = np.sin(draw.uniform(-1, 1, (rows.stop - start, 8)).astype("f4") @ slopes + phases)
        for file, columns in zip(files, (common, common[:, order]), strict=True):
            file[rows] = columns + noise * 0.7 * draw.standard_normal(columns.shape, np.float32)
    for file in files:
        file.flush()
    return order
