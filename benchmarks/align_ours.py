"""What is measured of Consilience, for benchmarks/align.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import combinations, count
from typing import Any

import numpy as np
from align_child import Arrays, Work, layers_of, serve

from consilience.analysis.alignment.similarity import Activations, activations

FOUNDERS = 8
"""So many networks are clustered before others are added one by one."""


def _level(layers: Sequence[np.ndarray], *, odd: bool = False) -> list[Activations]:
    return [activations(layer, odd=odd, lineage=str(number)) for number, layer in enumerate(layers)]


def _method(method: str) -> Work:
    def work(data: Arrays) -> Callable[[], Arrays]:
        from consilience.analysis.alignment.methods import align_networks

        layers = layers_of(data)
        align_networks(_level([layer[:, :8] for layer in layers[:2]]), method=method)  # which imports what it needs

        def run() -> Arrays:
            found = align_networks(_level(layers), method=method)
            return {"pairs": np.array(list(found)), "partners": np.array([_partner(one) for one in found.values()])}

        return run

    return work


def _partner(found: Any) -> np.ndarray:
    """Give every left unit its partner; for mixtures of units the heaviest one."""
    if hasattr(found, "partner"):
        return np.asarray(found.partner)
    partner = np.full(len(found.left), -1)
    partner[found.left.argmax(axis=0)] = found.right.argmax(axis=0)
    return partner


def three_layers(data: Arrays) -> Callable[[], Arrays]:
    """Align layer by layer of two networks, without nulls."""
    from consilience.analysis.alignment.methods import align_networks

    layers = layers_of(data)
    pairs = list(zip(layers[::2], layers[1::2], strict=True))

    def run() -> Arrays:
        found = [align_networks(_level(pair), method="assignment")[0, 1] for pair in pairs]
        return {"partners": np.array([_partner(one) for one in found])}

    return run


def three_with_nulls(data: Arrays) -> Callable[[], Arrays]:
    from consilience.analysis.alignment.align import align

    layers = layers_of(data)
    pairs = list(zip(layers[::2], layers[1::2], strict=True))

    def run() -> Arrays:
        found: list[Any] = [align(*pair, method="assignment") for pair in pairs]
        return {"partners": np.array([one.partner for one in found]), "q": np.array([one.q for one in found])}

    return run


def cka(data: Arrays) -> Callable[[], Arrays]:
    from consilience.analysis.alignment.similarity import cka as compare

    layers = layers_of(data)

    def run() -> Arrays:
        table = np.eye(len(layers))
        for first, second in combinations(range(len(layers)), 2):
            table[first, second] = table[second, first] = compare(layers[first], layers[second])
        return {"table": table}

    return run


def cka_table(data: Arrays) -> Callable[[], Arrays]:
    from consilience.analysis.alignment.similarity import cka_table as compare

    layers = layers_of(data)
    return lambda: {"table": compare(layers)}


def weights(data: Arrays) -> Callable[[], Arrays]:
    import torch
    from align_peers import module_of

    from consilience.analysis.alignment.weight_matching import match_weights
    from consilience.zoo.network import Network
    from consilience.zoo.record import trace

    networks = []
    for side in ("left", "right"):
        module = module_of(data, side).requires_grad_(False)
        shape = (module[0].in_features,)
        layers = trace(module, torch.zeros(2, *shape)).layers
        networks.append(Network(side, side, side, module, layers, shape))

    def run() -> Arrays:
        found = match_weights(*networks)
        # Groups are told by their places, since they come in any order.
        where = [{place.tensor for place in group.places} for group in found.symmetry.groups]
        return {
            f"order{number}": order
            for number in range(len(where))
            for names, order in zip(where, found.orders, strict=True)
            if f"{2 * number}.bias" in names
        }

    return run


def zoo(data: Arrays) -> Callable[[], Arrays]:
    from consilience.analysis.alignment.cluster import cluster

    layers = layers_of(data)

    def run() -> Arrays:
        level = _level(layers, odd=True)
        return _grouped(level, cluster(level))

    return run


def one_by_one(data: Arrays) -> Callable[[], Arrays]:
    """Cluster some networks and let the others join, each timed by itself, in seconds of the processor."""
    from consilience.analysis.alignment.cluster import cluster
    from consilience.analysis.alignment.insert import insert, standing

    layers = layers_of(data)
    fastest = np.full(len(layers) - FOUNDERS, np.inf)

    def run() -> Arrays:
        level = _level(layers, odd=True)
        found = standing(level[:FOUNDERS], cluster(level[:FOUNDERS]))
        for number, newcomer in enumerate(layers[FOUNDERS:]):
            start = time.process_time()
            found = insert(found, activations(newcomer, odd=True, lineage=str(number + FOUNDERS)))
            fastest[number] = min(fastest[number], time.process_time() - start)
        return {**_grouped(level, found), "seconds": fastest}

    return run


def _grouped(level: Sequence[Activations], found: Any) -> Arrays:
    """Give the group of every unit; units without company have groups of their own."""
    alone = count(int(np.max(found.feature, initial=-1)) + 1)
    groups = [np.full(one.alive.size, -1) for one in level]
    for feature, network, unit in zip(found.feature, found.network, found.unit, strict=True):
        groups[network][unit] = feature
    return {"groups": np.array([group if group >= 0 else next(alone) for group in np.concatenate(groups)])}


def nearest(data: Arrays) -> Callable[[], Arrays]:
    """Find the nearest units of two layers on disk."""
    from consilience.analysis.alignment.nearest import mutual
    from consilience.analysis.alignment.nearest import nearest as search

    left, right = (np.load(f"{data['folder']}/{side}.npy", mmap_mode="r") for side in ("left", "right"))

    def run() -> Arrays:
        first, second = mutual(search(left, right))
        return {"left": first, "right": second}

    return run


if __name__ == "__main__":
    methods = ("assignment", "mutual", "universe", "soft", "partial")
    works = (three_layers, three_with_nulls, cka, cka_table, weights, zoo, one_by_one, nearest)
    serve({name: _method(name) for name in methods} | {work.__name__: work for work in works})
