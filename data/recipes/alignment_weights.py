"""MLPs of one architecture: their units found again, and the way between their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from digits_probed import images, learned, mlp, network, probe, recorded
from scipy.optimize import linear_sum_assignment
from torch import nn

from consilience.analysis.alignment.matching import assignment
from consilience.analysis.alignment.similarity import activations
from consilience.analysis.alignment.weight_matching import match_weights
from consilience.analysis.merging.barrier import barrier
from consilience.analysis.merging.merge import in_one_order
from consilience.zoo.network import Network, predict
from consilience.zoo.permute import permuted
from consilience.zoo.symmetry import symmetry

SIDE = 28
WIDTHS, WEIGHT_NOISES = (64, 128, 256, 512), (0.0, 0.3, 1.0, 2.0)
INTERPOLATED = {"64-128-128-10": (64, (128, 128)), "784-64³-10": (784, (64,) * 3), "784-512³-10": (784, (512,) * 3)}


def planted_permutation(seed: int) -> Mapping[str, float]:
    """Permute trained MLPs, put noise on their weights, and find their units again: shares of the units counted."""
    found = [_recovered(width, seed=10_000 + 100 * seed + number) for number, width in enumerate(WIDTHS)]
    return {name: float(np.divide(*np.sum([one[name] for one in found], axis=0))) for name in found[0]}


def _recovered(width: int, *, seed: int) -> dict[str, tuple[int, int]]:
    """Permute one MLP: how many units are found again, and of how many, by weights and by activations."""
    left = network(learned(mlp(784, (width,) * 3, "relu", seed=seed), seed=seed, side=SIDE), "left")
    units, draw = symmetry(left), np.random.default_rng(seed)
    orders = [draw.permutation(group.size) for group in units.groups]
    copy = permuted(left, units, orders)
    seen, other = ([recorded(one, probe(SIDE))[group.layers[0]] for group in units.groups] for one in (left, copy))
    live = [after.std(axis=0) > 0 for _, after in seen]
    found = {"dead units": (sum(int(np.sum(~one)) for one in live), 3 * width)}
    for spread in WEIGHT_NOISES:
        matched = match_weights(left, _noisy(copy, spread, seed=seed), symmetry=units).orders
        found[f"by weights, noise {spread:g} σ"] = _hits(matched, orders, live)
    for when, name in enumerate(("before", "after")):
        partners = [_partners(one[when], two[when]) for one, two in zip(seen, other, strict=True)]
        found[f"by activations {name} ReLU, live units"] = _hits(partners, orders, live)
        found[f"by activations {name} ReLU, all units"] = _hits(partners, orders, [one >= 0 for one in orders])
    return found


def _partners(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    pair = [activations(left, lineage="left"), activations(right, lineage="right")]
    return assignment(pair)[0, 1].partner


def _hits(
    partners: Sequence[np.ndarray], orders: Sequence[np.ndarray], counted: Sequence[np.ndarray]
) -> tuple[int, int]:
    right = [(one == np.argsort(order))[live] for one, order, live in zip(partners, orders, counted, strict=True)]
    return sum(int(one.sum()) for one in right), sum(map(len, right))


def _noisy(one: Network, spread: float, *, seed: int) -> Network:
    """Add noise to all weights, in standard deviations of each tensor."""
    torch.manual_seed(seed)
    module = deepcopy(one.module)
    for weight in module.parameters():
        weight += spread * weight.std() * torch.randn_like(weight)
    return replace(one, name="right", digest=f"noise {spread}", module=module)


def connectivity(seed: int) -> Mapping[str, float]:
    """Take the barrier between networks trained apart, before and after bringing their units into one order."""
    found, moved = {}, 0.0
    for number, (name, shape) in enumerate(INTERPOLATED.items()):
        heights, change = _barriers(*shape, seed=20_000 + 100 * seed + 2 * number)
        for how in ("weights", "activations"):
            heights[f"by {how}, above Git Re-Basin's"] = heights[f"by {how}"] - heights[f"Git Re-Basin's {how}"]
        found |= {f"{name} {how}": height for how, height in heights.items()}
        moved = max(moved, change)
    return found | {"change of the function by permuting": moved}


def _barriers(inputs: int, widths: Sequence[int], *, seed: int) -> tuple[dict[str, float], float]:
    """Train two networks and take all barriers between them; and how far our orders change what one computes."""
    side = int(inputs**0.5)
    begun = (mlp(inputs, widths, "relu", seed=start) for start in (seed, seed + 1))
    left, right = (network(learned(one, seed=seed + at, side=side), str(at)) for at, one in enumerate(begun))
    seen, _, unseen, labels = (part.numpy() for part in images(side))
    ours = {f"by {one}": in_one_order([left, right], seen, method=one)[1] for one in ("weights", "activations")}
    theirs = {
        "Git Re-Basin's weights": rebasin_by_weights(left, right, seed=seed),
        "Git Re-Basin's activations": rebasin_by_activations(left, right, seen),
    }
    ends = {"as they are": right, **ours, **theirs}
    heights = {how: barrier(left, one, unseen, labels).height for how, one in ends.items()}
    same = predict(right, unseen)
    return heights, max(float(np.abs(predict(one, unseen) - same).max()) for one in ours.values())


def rebasin_by_weights(left: Network, right: Network, *, seed: int) -> Network:
    """Match the raw weights of two MLPs as published (Ainsworth et al. 2023, algorithm 1)."""
    ours, theirs = (_linear(one) for one in (left, right))
    orders, draw, moved = [np.arange(len(weight)) for weight, _ in theirs], np.random.default_rng(seed), True
    while moved:
        moved = False
        for at in draw.permutation(len(orders) - 1).tolist():
            before = orders[at - 1] if at else np.arange(theirs[0][0].shape[1])
            gain = ours[at][0] @ theirs[at][0][:, before].T + np.outer(ours[at][1], theirs[at][1])
            gain += ours[at + 1][0].T @ theirs[at + 1][0][orders[at + 1]]
            better = linear_sum_assignment(gain, maximize=True)[1]
            rows = np.arange(len(better))
            if gain[rows, better].sum() > gain[rows, orders[at]].sum() + 1e-6:
                orders[at], moved = better, True
    return _reordered(right, orders)


def rebasin_by_activations(left: Network, right: Network, rows: np.ndarray) -> Network:
    """Match what hidden units give, as published: products after ReLU (the same, section 3.1)."""
    seen, other = recorded(left, rows), recorded(right, rows)
    orders = [linear_sum_assignment(seen[name][1].T @ other[name][1], maximize=True)[1] for name in seen]
    return _reordered(right, [*orders[:-1], np.arange(10)])


def _linear(one: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    layers = [part for part in one.module if isinstance(part, nn.Linear)]
    return [(part.weight.double().numpy(), part.bias.double().numpy()) for part in layers]


def _reordered(one: Network, orders: Sequence[np.ndarray]) -> Network:
    names, units = [layer.name for layer in one.layers], symmetry(one)
    return permuted(one, units, [orders[names.index(group.layers[0])] for group in units.groups])
