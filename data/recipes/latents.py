"""Siamese networks learn what stays the same: eight invariants, five networks each (Wetzel & Patel 2024).

Run as: python data/recipes/latents.py [trace determinant ...]

A network is shown an anchor, a positive that shares the invariant, and a negative that does not; its one
latent is to be nearer to the positive, by a margin of 1 (arXiv 2409.05305: d-256-256-256-1, ReLU). What it
learns is the invariant up to a monotone map and a sign of its own. Here layers are narrower, so that files
stay small, and smooth activations stand beside ReLU. How positives are made is told by `latent_pairs.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from latent_pairs import CONCEPTS, Concept
from law_cases import SAMPLES, zoo_target
from regression import DATA, mlp
from safetensors import safe_open
from torch import Tensor, nn
from weights import count_parameters, save_weights

from consilience import open_study
from consilience.analysis.distillation.target import Sample, Target
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

ZOOS = DATA / "latents"
NETWORKS = (("relu", 96), ("relu", 64), ("silu", 48), ("tanh", 48), ("gelu", 48))
HIDDEN = 3
PAIRS = 20_000
STEPS, BATCH, RATE = 5000, 256, 0.005
MARGIN = 1.0
SEED, APART, TRIES = 900, 1000, 5
STUCK = 0.1
"""A triplet loss above this is that of a network that has not learned; those that have reach 0.05 and less."""
TEST_ROWS, TEST_SEED = 2048, 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Anchors and positives as a network sees them: standardised."""

    anchors: Float[Tensor, "pairs inputs"]
    positives: Float[Tensor, "pairs inputs"]


def train_zoo(concept: Concept, folder: Path) -> None:
    """Train all networks of one invariant and write them, with a zoo.toml, to a folder."""
    for index, (activation, width) in enumerate(NETWORKS):
        seed, network = train_until_learned(
            concept, activation, width, seed=SEED + 10 * list(CONCEPTS).index(concept.key) + index
        )
        cosine = alignment(concept, network)
        name = f"{activation}-{'x'.join([str(width)] * HIDDEN)}"
        metadata = {
            "activation": activation,
            "recipe": "data/recipes/latents.py",
            "seed": str(seed),
            "gradient_cosine": f"{cosine:.4f}",
        }
        save_weights(network, folder / "networks" / f"{name}.safetensors", metadata=metadata)
        print(f"{concept.key:14} {name:14} {count_parameters(network)} parameters  |cosine| {cosine:.4f}", flush=True)
    (folder / "zoo.toml").write_text(manifest(concept), "utf-8")


def train_until_learned(concept: Concept, activation: str, width: int, *, seed: int) -> tuple[int, nn.Sequential]:
    """Train a network, again from another seed where it got stuck: that its loss on unseen pairs tells."""
    for own in range(seed, seed + TRIES * APART, APART):
        network = train(concept, activation, width, seed=own)
        if unseen_loss(concept, network, seed=own + 1) < STUCK:
            break
    return own, network


@torch.no_grad()
def unseen_loss(concept: Concept, network: nn.Module, *, seed: int) -> float:
    """Measure the triplet loss on pairs that were not trained on."""
    pairs = draw_pairs(concept, TEST_ROWS, seed=seed)
    return float(triplet_loss(network, pairs.anchors, pairs.positives, pairs.positives.roll(1, dims=0)))


def train(concept: Concept, activation: str, width: int, *, seed: int, steps: int = STEPS) -> nn.Sequential:
    """Train one network on pairs of its own."""
    torch.manual_seed(seed)
    pairs = draw_pairs(concept, PAIRS, seed=seed)
    network = mlp(len(concept.inputs), (width,) * HIDDEN, activation)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(steps):
        batch, others = torch.randint(len(pairs.anchors), (2, BATCH))
        loss = triplet_loss(network, pairs.anchors[batch], pairs.positives[batch], pairs.positives[others])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


def latent_target(folder: Path, *, samples: int = SAMPLES, seed: int = 0) -> Target:
    """Open a zoo's latents as what is distilled: up to a link, in its inputs and in what is derived from them."""
    target = zoo_target(folder, samples=samples, seed=seed, linked=True)
    return with_derived(target, folder)


def with_derived(target: Target, folder: Path) -> Target:
    """Let equations be written in the derived variables of zoo.toml as well."""
    derived = open_study(folder).probe_table.derived

    def widened(sample: Sample) -> Sample:
        computed = {one.name: evaluate(parse(one.formula), sample.columns) for one in derived}
        return replace(sample, columns=dict(sample.columns) | computed)

    outside = None if target.outside is None else widened(target.outside)
    functions = target.functions and replace(
        target.functions, derived={one.name: parse(one.formula) for one in derived}
    )
    return replace(
        target, fit=widened(target.fit), held_out=widened(target.held_out), outside=outside, functions=functions
    )


def told(folder: Path) -> list[float]:
    """Read from the files of a zoo how parallel their latents were to the invariant when they were written."""
    files = sorted((folder / "networks").glob("*.safetensors"))
    return [float(safe_open(file, "pt").metadata()["gradient_cosine"]) for file in files]


def triplet_loss(
    network: nn.Module,
    anchors: Float[Tensor, "batch inputs"],
    positives: Float[Tensor, "batch inputs"],
    negatives: Float[Tensor, "batch inputs"],
) -> Float[Tensor, ""]:
    """Ask that negatives be farther from anchors than positives are, by the margin.

    Negatives are positives of other pairs: both lie where transformations lead, so that this tells them nothing.
    """
    anchor, positive, negative = network(torch.cat([anchors, positives, negatives]))[:, 0].chunk(3)
    nearer, farther = (anchor - positive).abs(), (anchor - negative).abs()
    return torch.relu(nearer - farther + MARGIN).mean()


def draw_pairs(concept: Concept, count: int, *, seed: int) -> Pairs:
    """Draw pairs, standardised as zoo.toml says."""
    anchors, positives = concept.pairs(count, np.random.default_rng(seed))
    shift, scale = concept.shift, concept.scale
    seen = [torch.tensor((rows - shift) / scale, dtype=torch.float32) for rows in (anchors, positives)]
    return Pairs(*seen)


def alignment(concept: Concept, network: nn.Module) -> float:
    """Measure the mean |cosine| between the gradients of latent and invariant, over the standardised box."""
    rows = concept.sample(TEST_ROWS, np.random.default_rng(TEST_SEED))
    seen = torch.tensor((rows - concept.shift) / concept.scale, dtype=torch.float32, requires_grad=True)
    (learned,) = torch.autograd.grad(network(seen).sum(), seen)
    truth = concept.gradient(rows) * concept.scale
    return float(np.mean(np.abs(cosines(learned.numpy().astype(np.float64), truth))))


def cosines(
    left: Float[np.ndarray, "samples inputs"], right: Float[np.ndarray, "samples inputs"]
) -> Float[np.ndarray, " samples"]:
    """Compare directions, row by row."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / np.maximum(lengths, np.finfo(float).tiny))


def manifest(concept: Concept) -> str:
    """Word the zoo.toml of one invariant."""
    variables = "".join(
        f'[[probe.variables]]\nname = "{name}"\nlow = {low:.6g}\nhigh = {high:.6g}\n\n'
        for name, (low, high) in concept.inputs.items()
    )
    derived = "".join(
        f'[[probe.derived]]\nname = "{name}"\nformula = "{formula}"\n\n' for name, formula in concept.derived.items()
    )
    return (
        TEMPLATE.format(
            key=concept.key,
            about=concept.about,
            shift=_listed(concept.shift),
            scale=_listed(concept.scale),
            variables=variables + derived,
        ).rstrip()
        + "\n"
    )


TEMPLATE = """# Five Siamese networks that each learned, alone, what stays the same: {about}.
# Written by data/recipes/latents.py, which trained them. Their latents are that quantity up to a monotone
# map and a sign, other ones in every network.
name = "{key}"
about = "latents of 5 Siamese networks: {about}"
seed = 0

[[networks]]
path = "networks/*.safetensors"
outputs = ["latent"]

[networks.scaling]
input_shift = {shift}
input_scale = {scale}

[[outputs]]
name = "latent"
linked = true

[probe]
samples = 2048

{variables}"""


def _listed(numbers: Sequence[float]) -> str:
    return "[" + ", ".join(f"{number:.6g}" for number in numbers) + "]"


def main() -> None:
    """Train the zoos that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Train Siamese networks.")
    parser.add_argument("keys", nargs="*", metavar="KEY", help=", ".join(CONCEPTS))
    parser.add_argument("--out", type=Path, default=ZOOS, help="folder of the zoos")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    for key in options.keys or CONCEPTS:
        train_zoo(CONCEPTS[key], options.out / key)


if __name__ == "__main__":
    main()
