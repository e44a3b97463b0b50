"""Train networks on what SymTorch (2026) shows in its notebooks, five of each kind, each alone.

regression: x0² + 3 sin x4 - 4 on 10,000 rows of U(0, 1)⁵ with noise of 5 % of its deviation; MLPs 5-64-64-1.

mixtures: 2.5x0² - 1.3 sin x4, likewise; an MLP whose 16 outputs are weighted and summed, and pruned to 2 while
training: every so often those that vary least are masked, and half way two are left. Each is then some mixture
of x0² and sin x4, of its own in every network.

heat: u_t = alpha u_xx with u(x, 0) = sin(pi x) and u = 0 at both ends; a physics-informed network (Raissi et al.
2019) that has ten values of exp(-0.2 pi² t) sin(pi x), and alpha to learn.

The notebooks use ReLU and dropout for the first two; here activations are smooth, and networks stop by rows unseen.

Run as: python data/recipes/symtorch_networks.py [regression mixtures heat] [--networks 5] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from early import Schedule, train_early
from jaxtyping import Float
from law_manifest import Scales, write_manifest
from law_networks import DATA, Form, mlp
from laws import SYMTORCH, Law
from torch import Tensor, nn
from torch.nn import functional
from weights import save_weights

sys.path.append(str(DATA / "symtorch" / "mixtures"))

from bottleneck_networks import Bottleneck

POINTS, NOISE = 10_000, 0.05
SCHEDULE = Schedule(epochs=60, batch=100, rate=0.004, decay=1e-3)
FORMS = tuple(Form(name, (64, 64)) for name in ("silu", "tanh", "gelu", "silu", "tanh"))
WIDTH, FIRST_UNITS, UNITS = 64, 16, 2
PINNS = tuple(Form(name, (32, 32)) for name in ("tanh", "silu", "gelu", "tanh", "silu"))
KNOWN, COLLOCATED, PINN_STEPS, PINN_RATE = 10, 100, 5000, 0.004
EQUATION, START, ENDS = 1.0, 5.0, 5.0
"""Weights of the equation, the start and the ends in the loss, as in the notebook."""
TEST_ROWS, TEST_SEED = 4096, 77_777

Rows = Float[Tensor, "samples variables"]
Values = Float[Tensor, " samples"]


def regression(law: Law, index: int, *, seed: int) -> nn.Module:
    """Train an MLP on noisy rows."""
    inputs, targets = noisy(law, seed=seed)
    network = mlp(len(law.box), FORMS[index % len(FORMS)])
    return train_early(network, inputs, targets, loss=functional.mse_loss, schedule=SCHEDULE)


def mixtures(law: Law, index: int, *, seed: int) -> nn.Module:
    """Train a network with a bottleneck that is pruned on the way, and leave out what was pruned."""
    inputs, targets = noisy(law, seed=seed)
    network = Bottleneck(len(law.box), WIDTH, FIRST_UNITS)
    last = SCHEDULE.epochs * (len(inputs) // SCHEDULE.batch) // 2

    @torch.no_grad()
    def prune(network: Bottleneck, step: int) -> None:
        left = max(UNITS, round(FIRST_UNITS * (UNITS / FIRST_UNITS) ** (step / last)))
        if left < int((network.read.weight != 0).sum()):
            spread = network.encode(inputs[:1000]).std(dim=0) * (network.read.weight[0] != 0)
            network.masked = spread.argsort()[:-left]
        if getattr(network, "masked", None) is not None:
            network.read.weight[:, network.masked] = 0.0

    trained = train_early(
        network, inputs, targets, loss=functional.mse_loss, schedule=SCHEDULE, after_step=prune, settled=0.6
    )
    return without_masked(trained)


@torch.no_grad()
def without_masked(network: Bottleneck) -> Bottleneck:
    """Leave out the units of the bottleneck that nothing reads."""
    kept = network.read.weight[0].nonzero()[:, 0]
    variables = network.encode[0].in_features
    small = Bottleneck(variables, WIDTH, len(kept))
    weights = network.state_dict()
    for name in ("encode.4.weight", "encode.4.bias"):
        weights[name] = weights[name][kept]
    weights["read.weight"] = weights["read.weight"][:, kept]
    small.load_state_dict(weights)
    return small


def heat(law: Law, index: int, *, seed: int) -> nn.Module:
    """Train a physics-informed network on ten values, the equation, the start and the ends."""
    rows = law.draw(KNOWN, seed=seed)
    known, values = torch.from_numpy(rows).float(), torch.from_numpy(law(rows)).float()
    network, alpha = mlp(2, PINNS[index % len(PINNS)]), nn.Parameter(torch.zeros(()))
    optimiser = torch.optim.Adam([*network.parameters(), alpha])
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, PINN_RATE, total_steps=PINN_STEPS)
    for _ in range(PINN_STEPS):
        loss = functional.mse_loss(network(known)[:, 0], values) + _physics(network, alpha, torch.rand(COLLOCATED, 2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rates.step()
    return network


def _physics(network: nn.Module, alpha: Tensor, points: Rows) -> Tensor:
    """Sum up by how much the equation, the start and the ends are missed."""
    points.requires_grad_()
    (slopes,) = torch.autograd.grad(network(points).sum(), points, create_graph=True)
    (curved,) = torch.autograd.grad(slopes[:, 0].sum(), points, create_graph=True)
    x, t = points.detach().T
    none = torch.zeros_like(x)
    start = network(torch.stack([x, none], 1))[:, 0] - torch.sin(torch.pi * x)
    ends = network(torch.cat([torch.stack([none, t], 1), torch.stack([none + 1, t], 1)]))
    missed = slopes[:, 1] - alpha * curved[:, 0]
    return EQUATION * missed.square().mean() + START * start.square().mean() + ENDS * ends.square().mean()


def noisy(law: Law, *, seed: int) -> tuple[Rows, Values]:
    """Draw rows and values with noise."""
    random = np.random.default_rng(seed)
    rows = law.draw(POINTS, seed=random)
    values = law(rows)
    values = values + random.normal(0.0, NOISE * values.std(), POINTS)
    return torch.from_numpy(rows).float(), torch.from_numpy(values).float()


@torch.no_grad()
def score(law: Law, network: nn.Module) -> float:
    """Measure 1 - R² against the law itself on fresh rows."""
    rows = law.draw(TEST_ROWS, seed=TEST_SEED)
    truth = law(rows)
    found = network(torch.from_numpy(rows).float())[:, 0].double().numpy()
    return float(np.mean((found - truth) ** 2) / truth.var())


KINDS: dict[str, Callable[..., nn.Module]] = {"regression": regression, "mixtures": mixtures, "heat": heat}


def train_zoo(name: str, folder: Path, *, networks: int, seed: int) -> None:
    """Train the networks of a zoo and write them and their zoo.toml to `folder`."""
    law = SYMTORCH[name]
    for index in range(networks):
        start, own = time.process_time(), seed + index
        torch.manual_seed(own)
        network = KINDS[name](law, index, seed=own)
        missed = score(law, network)
        metadata = {
            "recipe": "data/recipes/symtorch_networks.py",
            "seed": str(own),
            "test_1_minus_r2": f"{missed:.2e}",
        }
        if name != "mixtures":
            metadata["activation"] = (PINNS if name == "heat" else FORMS)[index % len(FORMS)].activation
        save_weights(network, folder / "networks" / f"{index + 1:02}.safetensors", metadata=metadata)
        print(f"{name:10} {index + 1}  1-R² {missed:.1e}  {time.process_time() - start:.0f} s", flush=True)
    none = Scales((0.0,) * len(law.box), (1.0,) * len(law.box))
    architecture = "python:bottleneck_networks:pruned" if name == "mixtures" else ""
    about = f"Networks that each learned, alone, {law.formula}, as in SymTorch's notebooks"
    write_manifest(law, none, folder, about=about, architecture=architecture)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the zoos that the command line names."""
    parser = argparse.ArgumentParser(description="Train zoos on what SymTorch shows.")
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--networks", type=int, default=5, help="networks of each zoo")
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the next ones count on")
    parser.add_argument("--out", type=Path, default=DATA / "symtorch", help="folder of the zoos")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    for name in options.names:
        train_zoo(name, options.out / name, networks=options.networks, seed=options.seed)


if __name__ == "__main__":
    main()
