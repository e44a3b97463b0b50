"""Where there is no law, none is offered: networks trained on noise, untrained ones, and inputs that are hidden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from torch import Tensor

from consilience.analysis.distillation.distil import Distillation, distil
from consilience.analysis.distillation.search import ENGINES
from consilience.analysis.distillation.target import Functions, Sample, Target
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse

NETWORKS, ROWS, WIDTH = 5, 300, 24
SEEN = ("a", "b")
HIDDEN = ("c", "d")
LAWS = ("a*b + c*d", "(a + c)/(b*d)", "a*exp(-c/d) + b", "sin(a*c) + b*d", "a*c - b/d", "c*d*sqrt(a + b)")
"""Laws of four inputs, of which an equation may be written in two."""

Network = Callable[[np.ndarray], np.ndarray]


def rows(count: int, inputs: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1.0, 3.0, (count, inputs))


class Networks:
    """Five small networks, each with weights of its own; they run and are trained side by side."""

    def __init__(self, inputs: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        widths = (inputs, WIDTH, WIDTH, 1)
        self.weights: list[Tensor] = []
        for before, after in pairwise(widths):
            for shape in ((NETWORKS, before, after), (NETWORKS, 1, after)):
                start = (2 * torch.rand(shape, generator=generator) - 1) / before**0.5
                self.weights.append(start.requires_grad_())

    def __call__(self, points: Tensor) -> Tensor:
        hidden = (points - 2.0) / 0.6
        for layer in range(0, len(self.weights), 2):
            hidden = torch.baddbmm(self.weights[layer + 1], hidden, self.weights[layer])
            hidden = torch.tanh(hidden) if layer + 2 < len(self.weights) else hidden
        return hidden[..., 0]

    def train(self, points: np.ndarray, values: np.ndarray, *, steps: int) -> Networks:
        inputs, goals = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(values, dtype=torch.float32)
        optimiser = torch.optim.Adam(self.weights, lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            optimiser.zero_grad()
            (self(inputs) - goals).square().mean(dim=1).sum().backward()
            optimiser.step()
            schedule.step()
        return self

    def values(self, points: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            shared = torch.as_tensor(points, dtype=torch.float32).expand(NETWORKS, -1, -1)
            return self(shared).double().numpy()

    def slopes(self, points: np.ndarray) -> np.ndarray:
        shared = torch.as_tensor(points, dtype=torch.float32).repeat(NETWORKS, 1, 1).requires_grad_()
        (slopes,) = torch.autograd.grad(self(shared).sum(), shared)
        return slopes.double().numpy()


def noise(seed: int, *, steps: int) -> tuple[Networks, int]:
    """Every network has noise of its own at points of its own."""
    random = np.random.default_rng(seed)
    points = random.uniform(1.0, 3.0, (NETWORKS, ROWS, 2))
    return Networks(2, seed).train(points, random.normal(size=(NETWORKS, ROWS)), steps=steps), 2


def same_noise(seed: int, *, steps: int) -> tuple[Networks, int]:
    """All networks have seen the same noise at the same points."""
    random = np.random.default_rng(seed)
    points, values = random.uniform(1.0, 3.0, (ROWS, 2)), random.normal(size=ROWS)
    data = np.tile(points, (NETWORKS, 1, 1)), np.tile(values, (NETWORKS, 1))
    return Networks(2, seed).train(*data, steps=steps), 2


def untrained(seed: int, *, steps: int) -> tuple[Networks, int]:
    return Networks(2, seed), 2


def hidden(seed: int, *, steps: int) -> tuple[Networks, int]:
    """Networks see four inputs and know the law; the equation may be written in two of them."""
    random = np.random.default_rng(seed)
    points = random.uniform(1.0, 3.0, (NETWORKS, ROWS, 4))
    values = _standard(LAWS[seed % len(LAWS)], points)
    return Networks(4, seed).train(points, values, steps=steps), 4


def unseen(seed: int, *, steps: int) -> tuple[Networks, int]:
    """Networks see two inputs of a quantity that swings with two others as far, around nothing they could know."""
    random = np.random.default_rng(seed)
    points = random.uniform(1.0, 3.0, (NETWORKS, ROWS, 2))
    others = random.normal(size=(NETWORKS, ROWS, 2))
    return Networks(2, seed).train(points, (points * others).sum(axis=-1), steps=steps), 2


ZOOS = {"noise": noise, "same noise": same_noise, "untrained": untrained, "hidden": hidden, "unseen": unseen}


def _standard(law: str, points: np.ndarray) -> np.ndarray:
    flat = points.reshape(-1, 4)
    values = evaluate(parse(law), dict(zip(SEEN + HIDDEN, flat.T, strict=True)))
    return ((values - values.mean()) / values.std()).reshape(points.shape[:-1])


def target(networks: Networks, inputs: int, *, asked: bool) -> Target:
    def sample(points: np.ndarray) -> Sample:
        return Sample(points, dict(zip(SEEN, points.T, strict=False)), networks.values(points))

    names = (SEEN + HIDDEN)[:inputs]
    draw = lambda count, seed: rows(count, inputs, seed)  # noqa: E731
    functions = Functions(names, networks.values, networks.slopes, draw) if asked else None
    return Target("y", sample(rows(400, inputs, 1)), sample(rows(400, inputs, 2)), None, functions)


def distilled(kind: str, seed: int, *, asked: bool, restarts: int, evaluations: int, steps: int) -> Distillation:
    torch.set_num_threads(1)
    networks, inputs = ZOOS[kind](seed, steps=steps)
    return distil(
        target(networks, inputs, asked=asked),
        engine=ENGINES["operon"],
        restarts=restarts,
        evaluations=evaluations,
        seed=seed,
    )


CASES = list(product(ZOOS, (False, True)))


@pytest.mark.parametrize(("kind", "asked"), CASES)
def test_where_there_is_no_law_none_is_offered(kind: str, asked: bool) -> None:
    found = distilled(kind, 0, asked=asked, restarts=1, evaluations=5_000, steps=300)
    assert found.status == "no_equation", str(found.chosen.expression)
    assert found.reason


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "asked"), CASES)
def test_none_is_offered_nineteen_times_in_twenty(kind: str, asked: bool) -> None:
    said = Counter(
        distilled(kind, seed, asked=asked, restarts=2, evaluations=20_000, steps=400).status for seed in range(20)
    )
    assert said["no_equation"] >= 19, said


def test_networks_trained_on_a_law_that_they_see_do_yield_one() -> None:
    """The same training, on a law of the two inputs: where there is one, one is offered."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    points = random.uniform(1.0, 3.0, (NETWORKS, ROWS, 2))
    networks = Networks(2, 0).train(points, points[..., 0] * points[..., 1] - 4.0, steps=600)
    found = distil(target(networks, 2, asked=True), engine=None, restarts=0, evaluations=0, seed=0)
    assert found.status == "equation"
    assert found.evidence.fidelity > 0.999
