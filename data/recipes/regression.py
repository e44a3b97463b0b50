"""Train a zoo on a known law: each network apart from the others, on noisy samples of its own.

Every network has its own seed, and with it its own rows, noise level, initial weights and order of
batches, as if twelve laboratories had measured the same thing. None of them is perfect; what they
get wrong, they get wrong independently. That is what their agreement is worth.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from weights import count_parameters, save_weights

DATA = Path(__file__).resolve().parent.parent
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU, "gelu": nn.GELU}
WIDTHS = ((32, 32), (64, 48), (40, 32, 24))
STEPS, BATCH, RATE = 3000, 256, 0.01
TEST_ROWS, TEST_SEED = 4096, 0

Rows = Float[Tensor, "samples variables"]
Values = Float[Tensor, " samples"]


@dataclass(frozen=True, slots=True)
class Law:
    """What the networks of a zoo learn, and the constants that zoo.toml states as their scaling."""

    name: str
    formula: Callable[[Rows], Values]
    ranges: tuple[tuple[float, float], ...]
    input_shift: tuple[float, ...]
    input_scale: tuple[float, ...]
    output_shift: float
    output_scale: float
    noise: tuple[float, float]  # least and most of any network, in output scales
    rows: tuple[int, int]  # fewest and most of any network
    seed: int  # of the first network; the next ones count on


def train_zoo(law: Law, folder: Path) -> None:
    """Train all networks of a zoo and write them to `folder/networks`."""
    for index, (activation, widths) in enumerate(product(ACTIVATIONS, WIDTHS)):
        seed = law.seed + index
        network = train(law, activation, widths, seed=seed)
        r2 = score(law, network)
        name = f"{activation}-{'x'.join(map(str, widths))}"
        metadata = {
            "activation": activation,
            "recipe": f"data/recipes/{law.name}.py",
            "seed": str(seed),
            "test_r2": f"{r2:.5f}",
        }
        save_weights(network, folder / "networks" / f"{name}.safetensors", metadata=metadata)
        print(f"{name:14}  {count_parameters(network)} parameters  test R² {r2:.5f}", flush=True)


def train(law: Law, activation: str, widths: tuple[int, ...], *, seed: int) -> nn.Sequential:
    """Train one network on its own noisy rows. It sees inputs and output standardised."""
    torch.manual_seed(seed)
    rows = int(torch.randint(*law.rows, ()))
    noise = math.exp(torch.empty(()).uniform_(*map(math.log, law.noise)))
    inputs = sample(law, rows)
    targets = (law.formula(inputs) - law.output_shift) / law.output_scale + noise * torch.randn(rows)
    inputs = standardise(law, inputs)

    network = mlp(len(law.ranges), widths, activation)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(rows, (BATCH,))
        loss = nn.functional.mse_loss(network(inputs[batch])[:, 0], targets[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


@torch.no_grad()
def score(law: Law, network: nn.Module) -> float:
    """Measure R² against the law itself, without noise, on rows that no network has seen."""
    inputs = sample(law, TEST_ROWS, generator=torch.Generator().manual_seed(TEST_SEED))
    truth = law.formula(inputs)
    error = network(standardise(law, inputs))[:, 0] * law.output_scale + law.output_shift - truth
    return 1 - (error.square().mean() / truth.var(correction=0)).item()


def sample(law: Law, rows: int, *, generator: torch.Generator | None = None) -> Rows:
    """Draw rows evenly from the ranges of the law."""
    low, high = torch.tensor(law.ranges).T
    return low + (high - low) * torch.rand(rows, len(low), generator=generator)


def standardise(law: Law, inputs: Rows) -> Rows:
    """Shift and scale inputs from their units to what a network sees."""
    return (inputs - torch.tensor(law.input_shift)) / torch.tensor(law.input_scale)


def mlp(variables: int, widths: tuple[int, ...], activation: str, *, outputs: int = 1) -> nn.Sequential:
    """Build Linear, activation, …, Linear: the plain network that Consilience infers from weights alone."""
    layers: list[nn.Module] = []
    for left, right in pairwise((variables, *widths)):
        layers += [nn.Linear(left, right), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def main(law: Law) -> None:
    """Train the zoo that the command line asks for."""
    parser = argparse.ArgumentParser(description=f"Train the networks of the zoo {law.name!r}.")
    parser.add_argument("--out", type=Path, default=DATA / law.name, help="folder of the zoo")
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    train_zoo(law, parser.parse_args().out)
