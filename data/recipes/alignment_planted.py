"""Layers in which it is known what belongs together, or that nothing does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, permutations

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import adjusted_rand_score

from consilience.analysis.alignment.align import align
from consilience.analysis.alignment.cluster import cluster
from consilience.analysis.alignment.feature import Pool, pool
from consilience.analysis.alignment.matching import Alignment, pair_by_mutual_choice
from consilience.analysis.alignment.methods import METHODS, align_networks
from consilience.analysis.alignment.moments import measure_pair, update_pair
from consilience.analysis.alignment.seeds import link
from consilience.analysis.alignment.significance import group
from consilience.analysis.alignment.similarity import Activations, activations, cka, correlate

NOISE_SAMPLES, NOISE_UNITS, NOISE_NETWORKS, TOP = 1000, 512, 5, 5
Q = 0.05
MATCHING = ("assignment", "mutual", "partial", "universe")
OF_ARRAYS = tuple(name for name in METHODS if name != "weights")
PLANTED_SAMPLES, COMMON, PRESENT, NARROWEST, WIDEST = 1024, 40, 0.5, 34, 94
KINDS = ("waves", "mixtures", "networks")
SIZES, NOISES, LINKED = (6, 20, 60), (0.3, 0.8), (6, 20)

Layer = Float[np.ndarray, "samples units"]


def noise(seed: int) -> Mapping[str, float]:
    """Align layers that have nothing in common, by every method."""
    layers = noise_layers(seed)
    first, second = (activations(layer, odd=True, lineage=name) for layer, name in zip(layers, "ab", strict=False))
    found = {f"`{method}`": _passing(first, second, method) for method in OF_ARRAYS}
    found["features of five networks that pass"] = float(np.sum(group(layers, odd=True).q <= Q))
    return found | accepted_without_null(layers)


def noise_layers(seed: int) -> list[Layer]:
    """Draw layers that have nothing in common."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((NOISE_SAMPLES, NOISE_UNITS)) for _ in range(NOISE_NETWORKS)]


def accepted_without_null(layers: Sequence[Layer]) -> Mapping[str, float]:
    """Give the share of the first layer's units that rules of others accept, which know no chance."""
    alike = [np.abs(correlate(layers[0], layer)) for layer in layers[1:]]
    passed = [_rosetta(table) for table in alike]
    return {
        "mutual nearest neighbours, no null": len(pair_by_mutual_choice(alike[0])[0]) / NOISE_UNITS,
        "Rosetta rule, no null": float(np.mean(passed[0])),
        "Rosetta rule over five networks": float(np.mean(np.all(passed, axis=0))),
    }


def _passing(first: Activations, second: Activations, method: str) -> float:
    found = align_networks([first, second], method=method)[0, 1]
    if not found.r.any():  # nothing to hold against chance, which would take long to find nothing as often
        return 0.0
    q = align(first, second, method=method).q
    assert q is not None
    return float(np.sum(q <= Q)) / NOISE_UNITS


def _rosetta(alike: Float[np.ndarray, "left right"]) -> np.ndarray:
    """Tell of which left units the most alike right unit has them among its own few (Dravid et al. 2023)."""
    best = alike.argmax(axis=1)
    rank = np.sum(alike[:, best] > alike[np.arange(len(best)), best], axis=0)
    return np.asarray(rank < TOP)


def planted_zoo(kind: str, networks: int, noise: float, *, seed: int) -> tuple[list[Activations], list[np.ndarray]]:
    """Give networks some functions that the zoo has in common among private ones, and some of their units twice."""
    rng = np.random.default_rng([seed, networks, int(10 * noise)])
    inputs = rng.uniform(-1, 1, (PLANTED_SAMPLES, 3))
    common, fresh = _functions(kind, inputs, COMMON, rng), COMMON
    level, truth = [], []
    for number in range(networks):
        width, twice = int(rng.integers(NARROWEST, WIDEST + 1)), int(rng.integers(1, 5))
        shared = rng.permutation(np.flatnonzero(rng.random(COMMON) < PRESENT))[: width - twice - 1]
        private = width - twice - len(shared)
        label = np.concatenate([shared, np.arange(fresh, fresh + private)])
        fresh += private
        columns = np.hstack([common[:, shared], _functions(kind, inputs, private, rng)])
        kept = rng.permutation(np.append(np.arange(len(label)), rng.integers(0, len(label), twice)))
        values = columns[:, kept] + noise * rng.standard_normal((PLANTED_SAMPLES, width))
        values *= rng.choice([-1.0, 1.0], width) * rng.lognormal(size=width)
        level.append(activations(values.astype(np.float32), odd=True, lineage=str(number)))
        truth.append(label[kept])
    return level, truth


def _functions(kind: str, inputs: Float[np.ndarray, "samples 3"], count: int, rng: np.random.Generator) -> Layer:
    """Draw functions of three inputs, of unit variance: sines, sums of eight, networks of two hidden layers."""
    if kind == "waves":
        columns = np.sin(inputs @ rng.normal(0, 4, (3, count)) + rng.uniform(0, 2 * np.pi, count))
    elif kind == "mixtures":
        waves = np.sin(inputs @ rng.normal(0, 2, (3, 8 * count)) + rng.uniform(0, 2 * np.pi, 8 * count))
        columns = (waves * rng.standard_normal(8 * count)).reshape(len(inputs), count, 8).sum(axis=2)
    else:
        columns = np.column_stack([_network(inputs, rng) for _ in range(count)])
    return np.asarray(columns / columns.std(axis=0))


def _network(inputs: Float[np.ndarray, "samples 3"], rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    hidden = np.tanh(2.0 * inputs @ rng.standard_normal((3, 24)) + rng.standard_normal(24))
    return np.asarray(np.tanh(hidden @ rng.normal(0, 0.7, (24, 16))) @ rng.standard_normal(16))


def heterogeneous(seed: int) -> Mapping[str, float]:
    """Cluster zoos of different widths, signs and scales, and compare with what was planted."""
    found = {}
    for kind in KINDS:
        for networks in SIZES:
            for spoiled in NOISES:
                level, truth = planted_zoo(kind, networks, spoiled, seed=seed)
                found[f"{kind}, {networks} networks, noise {spoiled}"] = rand_index(level, truth)
    for networks in LINKED:
        level, truth = planted_zoo(KINDS[0], networks, NOISES[-1], seed=seed)
        found[f"{networks} networks at the best cut"] = _best_cut(pool(level), np.concatenate(truth))
    return found


def _best_cut(units: Pool, truth: Int[np.ndarray, " units"]) -> float:
    """Give what average linkage reaches at the cut that knows the truth."""
    cuts = np.arange(0.5, 0.7, 0.01)
    return max(float(adjusted_rand_score(truth, link(units.standard, units.odd, cut)[0])) for cut in cuts)


def rand_index(level: list[Activations], truth: list[Int[np.ndarray, " _units"]]) -> float:
    """Compare features with the truth by the adjusted Rand index; a unit without a feature is one of its own."""
    features = cluster(level)
    found = [-1 - np.arange(len(one)) - 1000 * number for number, one in enumerate(truth)]
    for feature, network, unit in zip(features.feature, features.network, features.unit, strict=True):
        found[network][unit] = feature
    return float(adjusted_rand_score(np.concatenate(truth), np.concatenate(found)))


def invariances(seed: int) -> Mapping[str, float]:
    """Change what does not matter, and see how far the outcome moves."""
    level, _ = planted_zoo("mixtures", 2, 0.3, seed=seed)
    rng = np.random.default_rng(seed)
    moved = {method: _moved(level, method, rng) for method in MATCHING}
    noises = [rng.standard_normal((2, 128, 128)) for _ in range(20)]
    return {
        **{f"partners changed, `{method}`": partners for method, (partners, _) in moved.items()},
        "change of r": max(r for _, r in moved.values()),
        "units whose twin is missed": _missed_twins(level[0]),
        "NaN from constant units": _not_numbers(level),
        "streamed r from two-pass r": _streamed(level[0].values, level[1].values, rng),
        "unbiased CKA of noise, 128 × 128": float(np.mean([cka(*pair) for pair in noises])),
        "biased CKA of it": float(np.mean([_biased(*pair) for pair in noises])),
    }


def _moved(level: list[Activations], method: str, rng: np.random.Generator) -> tuple[float, float]:
    """Reorder samples and units, turn and stretch units: which share of partners moves, and how far r does."""
    rows, orders, turned = rng.permutation(PLANTED_SAMPLES), [], []
    for one in level:
        order = rng.permutation(one.alive.size)
        scale = rng.choice([-1.0, 1.0], order.size) * rng.lognormal(size=order.size)
        values = one.values[rows][:, order] * scale + rng.standard_normal(order.size)
        turned.append(activations(values, odd=True, lineage=one.lineage))
        orders.append(order)
    plain, other = (align_networks(zoo, method=method)[0, 1] for zoo in (level, turned))
    assert isinstance(plain, Alignment)
    assert isinstance(other, Alignment)
    partner = np.where(other.partner >= 0, orders[1][other.partner], -1)
    back = np.argsort(orders[0])
    kept = partner[back] == plain.partner
    return float(np.mean(~kept)), float(np.abs(np.abs(other.r[back]) - np.abs(plain.r))[kept].max())


def _missed_twins(one: Activations) -> float:
    """Give a network every unit twice, the copy turned and stretched: how many do not cluster with their copies."""
    level = [
        activations(np.hstack([one.values, -2.0 * one.values]), odd=True, lineage=name) for name in ("one", "other")
    ]
    features = cluster(level)
    label = dict(zip(zip(features.network, features.unit, strict=True), features.feature, strict=True))
    units = one.alive.size
    return float(sum(label.get((n, u), -1) != label.get((n, u + units), -2) for n in (0, 1) for u in range(units)))


def _not_numbers(level: list[Activations]) -> float:
    """Append constant units, and count what is not finite in all outcomes."""
    dead = [
        activations(np.hstack([one.values, np.full((PLANTED_SAMPLES, 3), 0.1)]), odd=True, lineage=one.lineage)
        for one in level
    ]
    r = [align_networks(dead, method=method)[0, 1].r for method in OF_ARRAYS]
    features = cluster(dead)
    return float(sum(np.sum(~np.isfinite(values)) for values in (*r, features.prototypes, features.support)))


def _streamed(left: Layer, right: Layer, rng: np.random.Generator) -> float:
    """Take r over uneven batches of samples sorted by a unit, far from zero, and all at once."""
    order = np.argsort(left[:, 0])
    first, second = left[order] + np.float32(100.0), right[order]
    edges = np.unique([0, *rng.integers(1, len(first), 12), 1, len(first)])
    batches = [(first[a:b], second[a:b]) for a, b in pairwise(edges)]
    moments = measure_pair(*batches[0])
    for batch in batches[1:]:
        moments = update_pair(moments, *batch)
    return float(np.abs(moments.correlation - correlate(first, second)).max())


def _biased(left: Layer, right: Layer) -> float:
    one, two = (layer - layer.mean(axis=0) for layer in (left, right))
    cross, *own = (np.linalg.norm(a.T @ b) for a, b in ((one, two), (one, one), (two, two)))
    return float(cross**2 / (own[0] * own[1]))


def cycles(level: list[Activations]) -> Mapping[str, float]:
    """Walk from network to network and back to the first: which share of units comes home, by either method."""
    found, mean = {}, {}
    for method in ("assignment", "universe"):
        maps = align_networks(level, method=method)
        walks = [_walk(maps, triple) for triple in permutations(range(len(level)), 3)]
        found[f"units lost by `{method}`"] = float(np.mean([lost for lost, _ in walks]))
        found[f"walks broken off by `{method}`"] = float(np.mean([broken for _, broken in walks]))
        mean[method] = float(np.mean([_mean_r(level, maps, pair) for pair in combinations(range(len(level)), 2)]))
        found[f"mean r by `{method}`"] = mean[method]
    return found | {"mean r given up by a universe": mean["assignment"] - mean["universe"]}


def _walk(maps: Mapping[tuple[int, int], Alignment], triple: tuple[int, int, int]) -> tuple[float, float]:
    """Of the first network's units: the shares that come back to another unit, and that find no partner on the way."""
    at = start = np.arange(len(_map(maps, triple[0], triple[1])))
    for left, right in pairwise((*triple, triple[0])):
        at = np.where(at >= 0, _map(maps, left, right)[at], -1)
    return float(np.mean((at >= 0) & (at != start))), float(np.mean(at < 0))


def _map(maps: Mapping[tuple[int, int], Alignment], left: int, right: int) -> Int[np.ndarray, " units"]:
    if left < right:
        return maps[left, right].partner
    partner = maps[right, left].partner
    back = np.full(max(partner.max() + 1, len(partner)), -1)
    back[partner[partner >= 0]] = np.flatnonzero(partner >= 0)
    return back


def _mean_r(level: list[Activations], maps: Mapping[tuple[int, int], Alignment], pair: tuple[int, int]) -> float:
    """Sum what matched units correlate, over the live units of the narrower network: nothing is gained by dropping."""
    return float(np.abs(maps[pair].r).sum() / min(level[one].alive.sum() for one in pair))
