"""Classifiers of handwritten digits trained apart, and what alignment finds in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from alignment_planted import Q, cycles
from digits import NETWORKS, build, score
from digits_cnns import accuracy, recorded_set
from digits_probed import images, learned, levels, mlp, network, probe, recorded
from regression import DATA
from safetensors.numpy import load_file
from sklearn.metrics import adjusted_rand_score
from torch import Tensor, nn

from consilience.analysis.alignment.align import match
from consilience.analysis.alignment.layer_similarity import MEASURES
from consilience.analysis.alignment.null import UNTRAINED, untrain
from consilience.analysis.alignment.significance import discover
from consilience.analysis.alignment.similarity import Activations
from consilience.zoo.fingerprint import fingerprint
from consilience.zoo.layer import Layer
from consilience.zoo.lineage import kinships, lineages
from consilience.zoo.network import Network, untrained_twin

PUBLISHED = ("regression", "cca", "svcca", "pwcca")
"""What the paper compares CKA with, of the measures that are here as well (its table 2)."""
RIVALS = {
    "cka above all others of the paper": PUBLISHED,
    "cka above all others": tuple(name for name in MEASURES if name != "cka"),
}
DESCENDANTS = (
    "copies",
    "renamed copies",
    "copies of 16 bits",
    "permuted copies",
    "pruned children",
    "fine-tuned children",
    "networks of the same initialisation",
)
TWELVE = 2 * (
    ("relu", (64,)),
    ("relu", (64, 32)),
    ("tanh", (64,)),
    ("tanh", (48, 48)),
    ("gelu", (48, 32)),
    ("gelu", (96,)),
)


def same_layer(seed: int) -> Mapping[str, float]:
    """Ask every measure of layers which layer of one network is which of another."""
    networks, right = recorded_set(1000 * (seed + 1))
    found = {measure: accuracy(networks, measure) for measure in MEASURES}
    ahead = {name: found["cka"] - max(found[other] for other in others) for name, others in RIVALS.items()}
    behind = {"svcca above pwcca": found["svcca"] - found["pwcca"]}
    return found | ahead | behind | {"digits read": float(np.mean(right))}


def independent_cycles(seed: int) -> Mapping[str, float]:
    """Train five networks apart, and walk from one to another and back in both of their layers."""
    modules = [
        learned(mlp(64, (128, 128), "relu", seed=start), seed=start)
        for start in range(100 * seed + 30_000, 100 * seed + 30_005)
    ]
    networks = [network(module, str(number)) for number, module in enumerate(modules)]
    hidden = [level for role, level in levels(networks) if role == "hidden"]
    found = [cycles(level) for level in hidden]
    return {f"{name}, hidden {number + 1}": value for number, one in enumerate(found) for name, value in one.items()}


def trained_and_not(seed: int) -> Mapping[str, float]:
    """Match trained networks, and untrained ones in their places, against the same nulls."""
    starts = [40_000 + 100 * seed + number for number in range(len(TWELVE))]
    networks = [
        network(learned(mlp(64, widths, activation, seed=start), seed=start), str(start))
        for start, (activation, widths) in zip(starts, TWELVE, strict=True)
    ]
    totals = np.zeros((2, 4))
    for level in (level for role, level in levels(networks) if role == "hidden"):

        def twins(draw: int, level: list[Activations] = level) -> list[np.ndarray]:
            return [_twin(one, draw) for one in level]

        zoos = level, untrain(level, twins(10**6))
        found = [match(zoo, twins=twins) for zoo in zoos]
        bound = max(np.quantile(found[0].null_r[name], 0.99) for name in ("rotated", UNTRAINED))
        for row, zoo, one in zip(totals, zoos, found, strict=True):
            features = np.sum(discover(zoo, twins=twins).q <= Q)
            row += len(one.r), np.sum(np.abs(one.r) > bound), np.sum(one.q <= Q), features
    names = "matches", "matches above both 99 % points", f"matches at q ≤ {Q}", f"features at q ≤ {Q}"
    trained, not_trained = ({name: float(value) for name, value in zip(names, row, strict=True)} for row in totals)
    trained["share above both 99 % points"] = trained[names[1]] / trained[names[0]]
    return {f"trained: {name}": value for name, value in trained.items()} | {
        f"untrained: {name}": value for name, value in not_trained.items()
    }


@lru_cache(maxsize=2000)
def _twin_of(one: Network, draw: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return recorded(untrained_twin(one, seed=draw), probe())


def _twin(one: Activations, draw: int) -> np.ndarray:
    assert one.source is not None
    return _twin_of(one.source[0], draw)[one.source[1]][0]


def families(seed: int) -> Mapping[str, float]:
    """Train networks apart, derive others from them in many ways, and find out who descends from whom."""
    draw, zoo = np.random.default_rng(seed), []
    for number in range(6):
        start = 50_000 + 100 * seed + number
        first = mlp(64, (64, 32), "relu", seed=start)
        base = learned(deepcopy(first), seed=start)
        zoo.append((number, "", base.state_dict()))
        if number < 3:
            zoo += [(number, *made) for made in _descendants(first, base, draw, seed=start + 50)]
    tensors = [{name: tensor.numpy().copy() for name, tensor in state.items()} for _, _, state in zoo]
    kin = kinships([fingerprint(one) for one in tensors], tensors.__getitem__)
    truth = [family for family, _, _ in zoo]
    found = lineages(len(zoo), kin)
    return {
        "adjusted Rand index of lineages": float(adjusted_rand_score(truth, found)),
        **{
            f"{made} found": float(
                np.mean(
                    [found[at] == found[truth.index(family)] for at, (family, how, _) in enumerate(zoo) if how == made]
                )
            )
            for made in dict.fromkeys(how for _, how, _ in zoo if how)
        },
        "independent networks joined": float(sum(truth[edge.left] != truth[edge.right] for edge in kin)),
    }


def _descendants(
    first: nn.Module, base: nn.Module, draw: np.random.Generator, *, seed: int
) -> list[tuple[str, dict[str, Tensor]]]:
    state = base.state_dict()
    order = torch.from_numpy(draw.permutation(64))
    moved = {
        "0.weight": state["0.weight"][order],
        "0.bias": state["0.bias"][order],
        "2.weight": state["2.weight"][:, order],
    }
    least = {name: tensor.abs().quantile(0.5) * (tensor.ndim > 1) for name, tensor in state.items()}
    made = [
        state,
        {f"body.{name}": tensor for name, tensor in state.items()},
        {name: tensor.half() for name, tensor in state.items()},
        {**state, **moved},
        {name: tensor * (tensor.abs() >= least[name]) for name, tensor in state.items()},
        learned(deepcopy(base), seed=seed).state_dict(),
        learned(deepcopy(first), seed=seed + 1).state_dict(),
    ]
    return list(zip(DESCENDANTS, made, strict=True))


def named_outputs(seed: int) -> Mapping[str, float]:
    """Train eight classifiers, forget which logit is which digit, and find it out again."""
    networks, right = [], []
    for number, (kind, widths, activation) in enumerate(NETWORKS):
        start = 60_000 + 100 * seed + number
        torch.manual_seed(start)
        module = learned(build(kind, widths, activation), seed=start)
        networks.append(network(module, str(number)))
        right.append(score(module, *images()[2:]))
    fresh = _named(networks, seed)
    kept = _named(_kept_zoo(), seed)
    return {
        "least accurate network": min(right),
        **fresh,
        "digits found in data/digits": kept["digits found"],
    }


def _kept_zoo() -> list[Network]:
    found = []
    for kind, widths, activation in NETWORKS:
        name = f"{kind}-{activation}-{'x'.join(map(str, widths))}"
        tensors = load_file(DATA / "digits" / "networks" / f"{name}.safetensors")
        module = build(kind, widths, activation)
        module.load_state_dict({part: torch.from_numpy(tensor) for part, tensor in tensors.items()})
        found.append(network(module, name))
    return found


def _named(networks: Sequence[Network], seed: int) -> dict[str, float]:
    """Count the classes of which every network gave one unit and nothing else came in."""
    draw = np.random.default_rng(seed)
    (outputs,) = [level for role, level in levels(networks) if role == "output"]
    orders = [draw.permutation(10) for _ in outputs]
    mixed = [
        replace(one, values=one.values[:, order], alive=one.alive[order])
        for one, order in zip(outputs, orders, strict=True)
    ]
    found = discover(mixed, outputs=True)
    features = found.features
    members = [
        sorted((int(n), int(orders[n][u])) for n, u in zip(features.network[own], features.unit[own], strict=True))
        for own in (features.feature == feature for feature in range(len(features)))
    ]
    whole = sum(one == [(n, digit) for n in range(len(networks))] for one in members for digit in range(10))
    hidden = sum(at.role != "output" for one in outputs for at in (_place(one),))
    r = np.corrcoef(np.hstack([one.values for one in outputs]).T)
    digit, owner = np.tile(np.arange(10), len(networks)), np.repeat(np.arange(len(networks)), 10)
    apart = owner[:, None] != owner
    same = r[apart & (digit[:, None] == digit)]
    return {
        "digits found": float(whole),
        "features": float(len(features)),
        "features at q ≤ 0.05": float(np.sum(found.q <= Q)),
        "hidden units among outputs": float(hidden),
        "least r of a digit": float(same.min()),
        "median r of a digit": float(np.median(same)),
        "largest r of two digits": float(r[apart & (digit[:, None] != digit)].max()),
    }


def _place(one: Activations) -> Layer:
    assert one.source is not None
    return next(layer for layer in one.source[0].layers if layer.name == one.source[1])
