"""Train zoos on known laws: every network alone, on rows and with weights of its own, to a wanted error.

Adam first, then Levenberg-Marquardt in double precision until 1 - R² on rows that no network has seen falls to
the wanted level, so that the networks of a zoo are equally good and differ in what they get wrong. The step that
passes the level is shortened to end just below it.

Run as: python data/recipes/law_networks.py [I.8.14 III.17.37 ...] [--error 1e-5] [--networks 5] [--out FOLDER]
Of several errors each has a folder of its own in --out.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from law_manifest import Scales, measure_scales, write_manifest
from laws import FEYNMAN, LAWS, Law
from torch import Tensor, nn
from torch.nn import functional
from weights import count_parameters, save_weights

DATA = Path(__file__).resolve().parent.parent
WARM_UP, BATCH, RATE, LOOK = 1500, 256, 0.01, 25
STEPS = 400
ROWS, TEST_ROWS, TEST_SEED = (4000, 6000), 4096, 987_654
CLOSEST = 0.6
"""A network is stopped at this to 1 of the wanted error."""

Rows = Float[Tensor, "samples variables"]
Values = Float[Tensor, " samples"]


@dataclass(frozen=True, slots=True)
class Form:
    """The shape of a network, and its activation."""

    activation: str
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name the form."""
        return f"{self.activation}-{'x'.join(map(str, self.widths))}"


FORMS = (
    Form("tanh", (32, 32)),
    Form("silu", (32, 24)),
    Form("gelu", (28, 28)),
    Form("softplus", (32, 32)),
    Form("silu", (24, 20, 16)),
    Form("tanh", (24, 24)),
    Form("gelu", (36, 24)),
    Form("silu", (28, 28)),
    Form("tanh", (24, 20, 16)),
    Form("softplus", (28, 24)),
)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
}


def _silu_slope(values: Tensor) -> Tensor:
    gate = torch.sigmoid(values)
    return gate * (1 + values * (1 - gate))


def _gelu_slope(values: Tensor) -> Tensor:
    density = torch.exp(-values.square() / 2) / math.sqrt(2 * math.pi)
    return torch.special.ndtr(values) + values * density


SLOPES: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda values: 1 - torch.tanh(values).square(),
    "silu": _silu_slope,
    "gelu": _gelu_slope,
    "softplus": torch.sigmoid,
}


def train_zoo(law: Law, folders: Mapping[float, Path], *, networks: int, seed: int) -> None:
    """Train the networks of a zoo, once for all wanted errors, and write those of each with a zoo.toml to a folder."""
    scales = measure_scales(law)
    for index in range(networks):
        form, own = FORMS[index % len(FORMS)], seed + index
        start = time.process_time()
        for error, network in train(law, scales, form, errors=tuple(folders), seed=own).items():
            reached = score(law, scales, network)
            metadata = {
                "activation": form.activation,
                "recipe": "data/recipes/law_networks.py",
                "seed": str(own),
                "test_1_minus_r2": f"{reached:.2e}",
            }
            file = folders[error] / "networks" / f"{index + 1:02}-{form.name}.safetensors"
            save_weights(network, file, metadata=metadata)
            spent = time.process_time() - start
            said = f"{count_parameters(network)} parameters  1-R² {reached:.1e}  {spent:.0f} s"
            print(f"{law.key:10} {form.name:14} {said}", flush=True)
    for folder in folders.values():
        write_manifest(law, scales, folder)


def train(law: Law, scales: Scales, form: Form, *, errors: Sequence[float], seed: int) -> Mapping[float, nn.Sequential]:
    """Train one network until 1 - R² on fresh rows is at most the least of `errors`, or as far as it gets.

    Gives a copy of it at each of them.
    """
    torch.manual_seed(seed)
    inputs, targets = drawn(law, scales, int(torch.randint(*ROWS, ())), seed=seed)
    network = mlp(len(law.box), form).double()
    unseen = drawn(law, scales, TEST_ROWS, seed=TEST_SEED)
    left, found = sorted(errors), dict[float, nn.Sequential]()
    before = weights_of(network)
    for after in descent(network, form, inputs, targets, seed=seed):
        while left and _unexplained(network, *unseen) <= left[-1]:
            _stop_between(network, before, after, unseen, error=left[-1])
            found[left.pop()] = copy.deepcopy(network).float()
            set_weights(network, after)
        if not left:
            return found
        before = after
    return {**found, left[0]: network.float()}


def mlp(variables: int, form: Form, *, outputs: int = 1) -> nn.Sequential:
    """Build Linear, activation, …, Linear: the plain network that Consilience infers from weights alone."""
    layers: list[nn.Module] = []
    sizes = (variables, *form.widths)
    for left, right in pairwise(sizes):
        layers += [nn.Linear(left, right), ACTIVATIONS[form.activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def drawn(law: Law, scales: Scales, samples: int, *, seed: int) -> tuple[Rows, Values]:
    """Draw rows and values of the law as a network sees them."""
    rows = law.draw(samples, seed=seed)
    inputs = (rows - np.array(scales.input_shift)) / np.array(scales.input_scale)
    targets = (law(rows) - scales.output_shift) / scales.output_scale
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def descent(network: nn.Sequential, form: Form, inputs: Rows, targets: Values, *, seed: int) -> Iterator[Tensor]:
    """Train with Adam and then with Levenberg-Marquardt; gives the weights every so often."""
    yield from warm_up(network, inputs, targets, seed=seed)
    yield from islice(marquardt(network, form, inputs, targets), STEPS)


def warm_up(network: nn.Module, inputs: Rows, targets: Values, *, seed: int) -> Iterator[Tensor]:
    """Train with Adam on batches; gives the weights every LOOK steps."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=WARM_UP)
    for step in range(1, WARM_UP + 1):
        batch = torch.randint(len(inputs), (BATCH,), generator=generator)
        loss = functional.mse_loss(network(inputs[batch])[:, 0], targets[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % LOOK == 0:
            yield weights_of(network)


@torch.no_grad()
def marquardt(network: nn.Sequential, form: Form, inputs: Rows, targets: Values) -> Iterator[Tensor]:
    """Step as Marquardt (1963), each step lowering the squared error; gives the weights after each.

    Ends where no step lowers it.
    """
    weights, damping = weights_of(network), 1e-2
    loss = _loss(network, inputs, targets)
    while damping < 1e8:
        slopes = jacobian(network, form, inputs)
        residual = targets - network(inputs)[:, 0]
        curvature, downhill = slopes.T @ slopes / len(inputs), slopes.T @ residual / len(inputs)
        while damping < 1e8:
            step = _solve(curvature, downhill, damping)
            set_weights(network, weights + step)
            if (lower := _loss(network, inputs, targets)) < loss:
                break
            damping *= 4
        else:
            set_weights(network, weights)
            return
        weights, loss, damping = weights + step, lower, max(damping / 3, 1e-12)
        yield weights


def jacobian(network: nn.Sequential, form: Form, inputs: Rows) -> Float[Tensor, "samples weights"]:
    """Differentiate the output at every row with respect to every weight, in the order of the parameters."""
    slope = SLOPES[form.activation]
    layers = [part for part in network if isinstance(part, nn.Linear)]
    entering, waiting, values = [], [], inputs
    for layer in layers:
        entering.append(values)
        waiting.append(layer(values))
        values = network[1](waiting[-1])
    back = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    parts: list[Tensor] = []
    for place in reversed(range(len(layers))):
        parts += [back, (back[:, :, None] * entering[place][:, None, :]).flatten(1)]
        if place:
            back = (back @ layers[place].weight) * slope(waiting[place - 1])
    return torch.cat(parts[::-1], dim=1)


def _solve(
    curvature: Float[Tensor, "weights weights"], downhill: Float[Tensor, " weights"], damping: float
) -> Float[Tensor, " weights"]:
    damped = curvature + damping * torch.eye(len(curvature), dtype=curvature.dtype)
    return torch.cholesky_solve(downhill[:, None], torch.linalg.cholesky(damped))[:, 0]


@torch.no_grad()
def _stop_between(
    network: nn.Sequential, before: Tensor, after: Tensor, unseen: tuple[Rows, Values], *, error: float
) -> None:
    """Halve the last step until the error is just below the wanted one."""
    low, high = 0.0, 1.0
    for _ in range(20):
        if CLOSEST * error <= _unexplained(network, *unseen) <= error:
            return
        middle = (low + high) / 2
        set_weights(network, torch.lerp(before, after, middle))
        low, high = (middle, high) if _unexplained(network, *unseen) > error else (low, middle)


def weights_of(network: nn.Module) -> Float[Tensor, " weights"]:
    """Write all weights in one row."""
    return nn.utils.parameters_to_vector(network.parameters()).detach().clone()


@torch.no_grad()
def set_weights(network: nn.Module, weights: Float[Tensor, " weights"]) -> None:
    """Put weights into a network."""
    nn.utils.vector_to_parameters(weights, network.parameters())


@torch.no_grad()
def _loss(network: nn.Module, inputs: Rows, targets: Values) -> float:
    return float((network(inputs)[:, 0] - targets).square().mean())


def _unexplained(network: nn.Module, inputs: Rows, targets: Values) -> float:
    return _loss(network, inputs, targets) / float(targets.var(correction=0))


@torch.no_grad()
def score(law: Law, scales: Scales, network: nn.Module) -> float:
    """Measure 1 - R² against the law itself on rows that no network has seen, with weights in single precision."""
    inputs, targets = drawn(law, scales, TEST_ROWS, seed=TEST_SEED + 1)
    found = _unexplained(network.double(), inputs, targets)
    network.float()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the zoos that the command line names."""
    parser = argparse.ArgumentParser(description="Train zoos on known laws.")
    parser.add_argument("keys", nargs="*", metavar="LAW", default=list(FEYNMAN), help=", ".join(LAWS))
    parser.add_argument("--error", type=float, nargs="+", default=[1e-5], help="1 - R² on fresh rows, about")
    parser.add_argument("--networks", type=int, default=5, help="networks of each zoo")
    parser.add_argument("--seed", type=int, default=0, help="of the first network; the next ones count on")
    parser.add_argument("--out", type=Path, default=DATA / "laws", help="folder of the zoos")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    for key in options.keys:
        law, one = LAWS[key], len(options.error) == 1
        folders = {error: options.out / ("" if one else f"{error:.0e}") / law.folder for error in options.error}
        train_zoo(law, folders, networks=options.networks, seed=options.seed)


if __name__ == "__main__":
    main()
