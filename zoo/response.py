"""One unit or direction of a network as a function of the network's inputs: its values, and its slopes.

Where a network is asked often, in small batches, its layers are looked for once only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import prod

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from .errors import BadInput, NotFound, Refused
from .follow import ask, first_tensor, follow
from .layer import Layer
from .network import Network, Place, batches, feed, fitting, placed, spread, two
from .record import Trace, trace
from .sample import laid
from .step import Followed, Step


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """A unit after its nonlinearity, or a direction before it, as a function of rows in physical units.

    Outputs are in physical units as well. `weights` tell how much each unit of the layer counts.
    """

    network: Network
    layer: Layer
    weights: Float[np.ndarray, " units"]
    before: bool
    plan: Trace

    def values(
        self, inputs: Num[np.ndarray, "samples ..."], *, batch: int | None = None
    ) -> Float[np.ndarray, " samples"]:
        """Ask for the values at rows, or photos."""
        shift = float(self._shift() @ self.weights)
        parts = []
        for rows in batches(inputs, batch or fitting(self.plan.live)):
            with torch.no_grad():
                parts.append(self._respond(feed(self.network, rows)).cpu().numpy() + shift)
        return np.concatenate(parts) if parts else np.empty(0)

    def slopes(
        self, inputs: Num[np.ndarray, "samples ..."], *, batch: int | None = None
    ) -> Float[np.ndarray, "samples inputs"]:
        """Differentiate with respect to the inputs, at every row.

        Raises Refused (not-differentiable) where the module cuts the gradient.
        """
        parts = [self._differentiate(rows) for rows in batches(inputs, batch or fitting(2 * self.plan.whole))]
        return np.concatenate(parts) if parts else np.empty((0, prod(self.network.input_shape)))

    def _differentiate(self, rows: np.ndarray) -> np.ndarray:
        point = feed(self.network, rows).requires_grad_()
        with torch.enable_grad():
            values = self._respond(point)
        slope = torch.autograd.grad(values.sum(), point, allow_unused=True)[0] if values.requires_grad else None
        if slope is None:
            raise Refused(
                "not-differentiable",
                "has no gradient",
                hint="onnxruntime gives none; from a factory's module, take detach() and no_grad() out",
            )
        found: np.ndarray = slope.cpu().double().reshape(len(rows), -1).numpy()
        scaling = self.network.scaling
        return found if scaling is None else found / spread(scaling.input_scale, 1.0, found.shape[1], "input_scale")

    def _respond(self, point: torch.Tensor) -> torch.Tensor:
        """Ask the module, in double precision from its layer on."""
        weights = torch.from_numpy(self.weights * self._scale())
        module = self.network.module
        point = point.to(next(module.parameters(), point).device)
        units = _output(module, point) if self._is_output else self._hidden(module, point)
        return units.double() @ weights.to(units.device)

    def _hidden(self, module: nn.Module, point: torch.Tensor) -> torch.Tensor:
        reading = self.plan.readings[self.layer.name][0 if self.before else 1]
        if isinstance(module, Followed):
            taken = dict(ask(module, point, reading.steps)[0])
        else:
            taken = _taken(module, point, self.plan, reading.steps)
        values = [taken[place] for place in reading.steps]
        return laid(values[0] if len(values) == 1 else torch.stack(values, dim=1), reading.view)

    @property
    def _is_output(self) -> bool:
        return self.layer.name == self.plan.layers[-1].name

    def _scale(self) -> np.ndarray:
        scaling = self.network.scaling
        numbers = scaling.output_scale if scaling is not None and self._is_output else ()
        return spread(numbers, 1.0, len(self.weights), "output_scale")

    def _shift(self) -> np.ndarray:
        scaling = self.network.scaling
        numbers = scaling.output_shift if scaling is not None and self._is_output else ()
        return spread(numbers, 0.0, len(self.weights), "output_shift")


def respond(network: Network, place: Place, *, layer: str | None = None, device: str = "cpu") -> Response:
    """Make a function of a unit, by its number, or a direction, by its weights; of the outputs by default.

    Raises NotFound for a layer that is not there, IndexError for a unit that it has not, and BadInput for a
    layer that gives more than one sample for a row.
    """
    module = placed(network.module, device)
    plan = trace(module, feed(network, two(np.zeros((1, prod(network.input_shape))))).to(device))
    found = next((one for one in plan.layers if one.name == layer), None) if layer is not None else plan.layers[-1]
    if found is None:
        known = [one.name for one in plan.layers]
        raise NotFound(
            f"{network.name} has no layer {str(layer)[:80]!r}", hint=f"its layers are {', '.join(known[:20])}"
        )
    if found.positions > 1:
        raise BadInput(
            f"{network.name}: layer {found.name} has {found.positions} values for each row",
            hint="ask layers that have one value for each row",
        )
    before = isinstance(place, tuple)
    return Response(replace(network, module=module), found, _weights(found, place), before, plan)


def _weights(layer: Layer, place: Place) -> Float[np.ndarray, " units"]:
    many = 1 if isinstance(place, int) else len(place)
    if isinstance(place, tuple) and many == layer.units:
        return np.array(place, dtype=np.float64)
    if isinstance(place, tuple):
        raise IndexError(f"{many} weights for {layer.units} units")
    if not 0 <= place < layer.units:
        raise IndexError(f"{layer.role} unit {place} of {layer.units}")
    weights = np.zeros(layer.units)
    weights[place] = 1.0
    return weights


def _output(module: nn.Module, point: torch.Tensor) -> torch.Tensor:
    return first_tensor(module(point), len(point)).reshape(len(point), -1)


def _taken(module: nn.Module, point: torch.Tensor, plan: Trace, places: Sequence[int]) -> dict[int, torch.Tensor]:
    """Take what some steps of a run give, before anything overwrites it."""
    taken: dict[int, torch.Tensor] = {}
    numbers = count()

    def observe(step: Step) -> None:
        place = next(numbers)
        if plan.functions[place : place + 1] != (step.function,):
            raise Refused(
                "forward",
                "computes in another way for other inputs",
                hint="take choices that depend on the data out",
            )
        if place in places:
            taken[place] = step.result.clone()

    follow(module, point, observe, slopes=point.requires_grad)
    return taken
