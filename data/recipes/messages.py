"""Graph networks learn how bodies move, and their messages are to be the forces (Cranmer et al. 2020).

Run as: python data/recipes/messages.py [spring_bottleneck r2_l1 ...]

Four bodies in a plane; from where they are, a network tells the accelerations: an edge model makes a message of
every pair, a node model reads the sum of the messages that a body gets. The regularisers are those of the
paper (arXiv 2006.11287, hidden 300): none, a message of two numbers (bottleneck), the sum of its absolute
values (L1), or its divergence from a normal distribution (KL). What is kept of each network is its edge model.

Other than in the paper, the edge model is given Δx and Δy themselves, not the places of both bodies; bodies stay
apart, so that the law needs no softening; masses and charges are drawn from ranges, so that they can be asked one
by one; and the node model reads the messages alone: given the mass or charge of its body as well, it could
put that in by itself, and messages would be forces up to any function of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from message_manifest import manifest
from regression import DATA, mlp
from safetensors import safe_open
from torch import Tensor, nn
from weights import save_weights

ZOOS = DATA / "messages"
BODIES, DIMENSIONS, MESSAGES, HIDDEN = 4, 2, 100, (64, 64)
ACTIVATIONS = ("silu", "tanh", "gelu")
NEAREST = 0.4
QUADRANT = (0.3, 2.0)
GRAPHS, BATCH, RATE = 4000, 32, 0.005
SEED, APART, TRIES = 2000, 1000, 3
STUCK = 0.05
"""A network that leaves more of the variance of accelerations has not learned."""
TEST_GRAPHS, TEST_SEED = 1000, 0

Places = Float[Tensor, "graphs bodies 2"]
Charges = Float[Tensor, "graphs bodies"]
Edges = Float[Tensor, "*edges 4"]
Vectors = Float[Tensor, "*edges 2"]


@dataclass(frozen=True, slots=True)
class Law:
    """A force between two bodies: what it is along Δx, of the distance and the bodies' masses or charges."""

    name: str
    formula: str
    factor: Callable[[Tensor, Tensor, Tensor], Tensor]
    attribute: str
    range: tuple[float, float]

    def __call__(self, edges: Edges) -> Vectors:
        """Give the acceleration for every pair: Δx times the factor."""
        steps, own, other = edges[..., :2], edges[..., 2], edges[..., 3]
        return steps * self.factor(steps.norm(dim=-1), own, other)[..., None]

    @property
    def names(self) -> tuple[str, ...]:
        """What an edge model is given."""
        return ("dx", "dy", f"{self.attribute}1", f"{self.attribute}2")

    @property
    def box(self) -> dict[str, tuple[float, float]]:
        """The ranges in which edge models are asked: one quadrant, so that every variable can be set by itself."""
        return dict(zip(self.names, (QUADRANT, QUADRANT, self.range, self.range), strict=True))


MASS, CHARGE = (0.5, 2.0), (-1.5, 1.5)
LAWS = {
    law.name: law
    for law in (
        Law("spring", "(r - 1)/r", lambda r, own, other: (r - 1) / r, "m", MASS),
        Law("r2", "m2/r**3", lambda r, own, other: other / r**3, "m", MASS),
        Law("r1", "m2/r**2", lambda r, own, other: other / r**2, "m", MASS),
        Law("charge", "q1*q2/r**3", lambda r, own, other: own * other / r**3, "q", CHARGE),
    )
}


@dataclass(frozen=True, slots=True)
class Regulariser:
    """How long a message is, and what it costs beside the mean absolute error of the accelerations.

    The paper weighs the sum over the edges of a graph by 1e-2 (L1) and 1 (KL) and divides by its bodies, beside the sum
    of the errors; here are means over edges and over errors.
    """

    name: str
    messages: int
    cost: Callable[[Float[Tensor, "edges outputs"]], Tensor]
    weight: float
    steps: int = 6000
    noisy: bool = False

    @property
    def outputs(self) -> int:
        """How many numbers the edge model gives: with noise, means and then logarithms of variances."""
        return 2 * self.messages if self.noisy else self.messages


def _divergence(outputs: Float[Tensor, "edges outputs"]) -> Tensor:
    mean, spread = outputs.chunk(2, dim=1)
    return 0.5 * (spread.exp() + mean.square() - spread - 1.0).sum(dim=1).mean()


_SHARE = (BODIES - 1) / (DIMENSIONS * BODIES)
REGULARISERS = {
    one.name: one
    for one in (
        Regulariser("none", MESSAGES, lambda outputs: outputs.new_zeros(()), 0.0, steps=3000),
        Regulariser("bottleneck", DIMENSIONS, lambda outputs: outputs.new_zeros(()), 0.0),
        Regulariser("l1", MESSAGES, lambda outputs: outputs.abs().sum(dim=1).mean(), 1e-2 * _SHARE),
        Regulariser("kl", MESSAGES, _divergence, _SHARE, steps=2000, noisy=True),
    )
}


class GraphNetwork(nn.Module):
    """An edge model, and a node model that reads the sum of messages."""

    def __init__(self, regulariser: Regulariser, activation: str) -> None:
        super().__init__()
        self.noisy = regulariser.noisy
        self.edge = mlp(4, HIDDEN, activation, outputs=regulariser.outputs)
        self.node = mlp(regulariser.messages, HIDDEN, activation, outputs=DIMENSIONS)

    def forward(self, edges: Float[Tensor, "graphs bodies others 4"]) -> tuple[Tensor, Tensor]:
        """Give accelerations, and what the edge model said."""
        said = self.edge(edges)
        messages = self._drawn(said) if self.noisy else said
        return self.node(messages.sum(dim=2)), said.flatten(0, 2)

    def _drawn(self, said: Tensor) -> Tensor:
        mean, spread = said.chunk(2, dim=-1)
        return mean + torch.randn_like(mean) * (0.5 * spread).exp()


def train_zoo(law: Law, regulariser: Regulariser, folder: Path) -> None:
    """Train the networks of a zoo and write their edge models, with a zoo.toml, to a folder."""
    first = SEED + 100 * list(LAWS).index(law.name) + 10 * list(REGULARISERS).index(regulariser.name)
    for index, activation in enumerate(ACTIVATIONS):
        seed, network = train_until_learned(law, regulariser, activation, seed=first + index)
        edge = edge_model(network)
        r2, error = force_r2(law, edge), acceleration_error(law, network)
        metadata = {
            "activation": activation,
            "recipe": "data/recipes/messages.py",
            "seed": str(seed),
            "force_r2": f"{r2:.4f}",
            "acceleration_r2": f"{1.0 - error:.5f}",
        }
        save_weights(edge, folder / "networks" / f"{activation}.safetensors", metadata=metadata)
        print(f"{folder.name:18} {activation:5} R² of messages {r2:.4f}, of accelerations {1 - error:.5f}", flush=True)
    (folder / "zoo.toml").write_text(manifest(folder.name, law.formula, law.box), "utf-8")


def train_until_learned(law: Law, regulariser: Regulariser, activation: str, *, seed: int) -> tuple[int, GraphNetwork]:
    """Train a network, again from another seed where its accelerations tell that it got stuck, unless by its noise."""
    for own in range(seed, seed + TRIES * APART, APART):
        network = train(law, regulariser, activation, seed=own)
        if regulariser.noisy or acceleration_error(law, network) < STUCK:
            break
    return own, network


def train(law: Law, regulariser: Regulariser, activation: str, *, seed: int, steps: int | None = None) -> GraphNetwork:
    """Train one network on graphs of its own."""
    torch.manual_seed(seed)
    edges = pair_up(*draw_bodies(law.range, GRAPHS, seed=seed))
    wanted = law(edges).sum(dim=2)
    network, steps = GraphNetwork(regulariser, activation), steps or regulariser.steps
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for batch in _batches(steps):
        found, said = network(edges[batch])
        loss = nn.functional.l1_loss(found, wanted[batch]) + regulariser.weight * regulariser.cost(said)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def _batches(steps: int) -> Iterator[Tensor]:
    return (torch.randint(GRAPHS, (BATCH,)) for _ in range(steps))


def draw_bodies(charges: tuple[float, float], graphs: int, *, seed: int) -> tuple[Places, Charges]:
    """Draw places from N(0, 1), no two bodies nearer than NEAREST, and masses or charges from their range."""
    rng = np.random.default_rng(seed)
    kept: list[np.ndarray] = []
    while sum(map(len, kept)) < graphs:
        places = rng.standard_normal((graphs, BODIES, DIMENSIONS))
        apart = np.linalg.norm(places[:, :, None] - places[:, None], axis=-1) + 9.0 * np.eye(BODIES)
        kept.append(places[apart.min(axis=(1, 2)) > NEAREST])
    drawn = rng.uniform(*charges, (graphs, BODIES))
    return torch.tensor(np.concatenate(kept)[:graphs]).float(), torch.tensor(drawn).float()


def pair_up(places: Places, charges: Charges) -> Float[Tensor, "graphs bodies others 4"]:
    """List for every body what the edge model is given of it and each other one."""
    others = torch.tensor([[other for other in range(BODIES) if other != body] for body in range(BODIES)])
    steps = places[:, others] - places[:, :, None]
    own = charges[:, :, None].expand(-1, -1, BODIES - 1)
    return torch.cat([steps, own[..., None], charges[:, others][..., None]], dim=-1)


def unseen_edges(law: Law) -> Float[Tensor, "graphs bodies others 4"]:
    """Draw the pairs of bodies on which all networks are measured; none has seen them."""
    return pair_up(*draw_bodies(law.range, TEST_GRAPHS, seed=TEST_SEED))


def edge_model(network: GraphNetwork) -> nn.Sequential:
    """Take the edge model out of a network; of messages with noise, their means."""
    if not network.noisy:
        return network.edge
    *hidden, last = network.edge
    means = nn.Linear(last.in_features, last.out_features // 2)
    means.load_state_dict({name: value.chunk(2)[0] for name, value in last.state_dict().items()})
    return nn.Sequential(*hidden, means)


@torch.no_grad()
def force_r2(law: Law, edge: nn.Module) -> float:
    """Measure how far the two message components that vary most are linear in the force: their mean R²."""
    edges = unseen_edges(law).flatten(0, 2)
    return linear_r2(edge(edges).double().numpy(), law(edges).double().numpy())


def told(folder: Path) -> list[float]:
    """Read from the files of a zoo how far their messages were the force when they were written."""
    files = sorted((folder / "networks").glob("*.safetensors"))
    return [float(safe_open(file, "pt").metadata()["force_r2"]) for file in files]


def linear_r2(messages: Float[np.ndarray, "edges components"], force: Float[np.ndarray, "edges 2"]) -> float:
    """Regress the two components of largest variance on the force by least squares: their mean R²."""
    top = messages[:, np.argsort(-messages.var(axis=0))[:DIMENSIONS]]
    top = top - top.mean(axis=0)
    design = force - force.mean(axis=0)
    left = top - design @ np.linalg.lstsq(design, top, rcond=None)[0]
    return float(np.mean(1.0 - left.var(axis=0) / top.var(axis=0)))


@torch.no_grad()
def acceleration_error(law: Law, network: GraphNetwork) -> float:
    """Measure the share of the variance of accelerations that a network leaves; messages without their noise."""
    edges = unseen_edges(law)
    wanted = law(edges).sum(dim=2)
    found = network.node(edge_model(network)(edges).sum(dim=2))
    return float((found - wanted).square().mean() / wanted.square().mean())


def main() -> None:
    """Train the zoos that the command line names, or all."""
    known = {f"{law}_{one}": (LAWS[law], REGULARISERS[one]) for one in REGULARISERS for law in LAWS}
    parser = argparse.ArgumentParser(description="Train graph networks on four laws of force.")
    parser.add_argument("keys", nargs="*", metavar="KEY", help=", ".join(known))
    parser.add_argument("--out", type=Path, default=ZOOS, help="folder of the zoos")
    options = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    for key in options.keys or known:
        train_zoo(*known[key], options.out / key)


if __name__ == "__main__":
    main()
