"""Open the bottlenecks of the zoo `symtorch/mixtures` as what is distilled: units, each a mixture of the same parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from law_cases import FITTING, HELD_OUT, OUTSIDE, SAMPLES, Rowed, open_networks
from laws import SYMTORCH
from oracle import exact
from torch import Tensor, nn

from consilience import open_study
from consilience.analysis.distillation.target import Functions, Target
from consilience.analysis.formulas.expression import Expression
from consilience.analysis.formulas.fit import predict
from consilience.analysis.formulas.parsing import parse

LAW = SYMTORCH["mixtures"]
LEAST = 0.1
"""What either part must weigh in a unit whose deviation is 1."""

Rows = Float[np.ndarray, "samples inputs"]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Units of several bottlenecks, standardised and turned the same way: each has its own scale and sign."""

    encoders: tuple[nn.Module, ...]
    places: tuple[int, ...]
    means: Float[np.ndarray, " units"]
    scales: Float[np.ndarray, " units"]

    def values(self, rows: Rows) -> Float[np.ndarray, "units samples"]:
        """Compute all units."""
        found = [self._unit(k, torch.from_numpy(rows)).detach().numpy() for k in range(len(self.encoders))]
        return (np.stack(found) - self.means[:, None]) / self.scales[:, None]

    def slopes(self, rows: Rows) -> Float[np.ndarray, "units samples inputs"]:
        """Differentiate all units."""
        found = []
        for k in range(len(self.encoders)):
            points = torch.from_numpy(rows).requires_grad_()
            (slopes,) = torch.autograd.grad(self._unit(k, points).sum(), points)
            found.append(slopes.numpy() / self.scales[k])
        return np.stack(found)

    def _unit(self, k: int, rows: Tensor) -> Tensor:
        values: Tensor = self.encoders[k](rows)[:, self.places[k]]
        return values


def mixture_target(folder: Path, *, samples: int = SAMPLES, seed: int = 0) -> Target:
    """Open the stronger unit of every network's bottleneck, that on which the output leans most, as a target."""
    study = open_study(folder)
    networks = open_networks(study)
    encoders = tuple(network.module.encode for network in networks)
    raw = Rowed(study, lambda rows: np.zeros((len(networks), len(rows))))
    rows = torch.from_numpy(raw.draw(samples, seed + FITTING))
    places, means, scales = [], [], []
    for network, encode in zip(networks, encoders, strict=True):
        with torch.no_grad():
            units, weights = encode(rows).numpy(), network.module.read.weight[0].numpy()
        place = int(np.argmax(np.abs(weights) * units.std(axis=0)))
        places.append(place)
        means.append(units[:, place].mean())
        scales.append(units[:, place].std() * np.sign(weights[place]))
    found = Units(encoders, tuple(places), np.array(means), np.array(scales))
    drawn = Rowed(study, found.values)
    return Target(
        name="unit",
        fit=drawn.drawn(samples, seed=seed + FITTING),
        held_out=drawn.drawn(samples, seed=seed + HELD_OUT),
        outside=drawn.outside(samples, seed=seed + OUTSIDE),
        functions=Functions(drawn.names, found.values, found.slopes, drawn.draw),
    )


def is_mixture(found: Expression, target: Target) -> bool:
    """Tell whether `found` is a + b x0² + c sin x4 with whichever numbers lie nearest to it, b and c not nearly 0."""
    columns = target.fit.columns
    parts = np.stack([np.ones(len(columns["x0"])), columns["x0"] ** 2, np.sin(columns["x4"])], axis=1)
    a, b, c = np.linalg.lstsq(parts, predict(found, columns, len(parts)), rcond=None)[0]
    return min(abs(b), abs(c)) > LEAST and exact(found, parse(f"{a} + {b}*x0**2 + {c}*sin(x4)"), LAW.box)
