"""Run a network while other values stand in the place of some of its units."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn
from torch.nn import functional

from .errors import BadInput, Refused
from .find import Reading
from .follow import follow
from .layer import Layer
from .network import BATCH_BYTES, LARGEST_BATCH, Network, predict, to_module
from .record import Trace, trace
from .sample import View, evenly
from .step import Followed, Step

Place = int | tuple[float, ...]
"""A unit by its number, after the nonlinearity; or a direction by the weights of all units, before it."""
Replacements = Mapping[str, Mapping[Place, Num[np.ndarray, "_samples ..."]]]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What some components of a layer's values become: columns of `weights` say which, one matrix a row what."""

    weights: Float[np.ndarray, "units components"]
    values: Float[np.ndarray, "samples positions components"]

    def part(self, rows: slice) -> Change:
        """Take the values of some rows."""
        return replace(self, values=self.values[rows])


def predict_with(
    network: Network, inputs: Num[np.ndarray, "samples ..."], replacements: Replacements, *, device: str = "cpu"
) -> Float[np.ndarray, "samples outputs"]:
    """Predict while given values stand in the place of units, or of directions, of the layers that are named.

    A place gets one value for each row, or for each row and position of its layer; places of the output layer get
    theirs in physical units. Whatever else a layer gives stays as it is: of a direction, the component along it
    is replaced; where a position is the mean of a patch of a map, the whole patch is shifted. Raises BadInput
    for a layer or unit that is not there and values of another shape, and Refused (no-substitution) where
    nothing can be put into a run.
    """
    if not len(inputs):
        return predict(network, inputs, device=device)
    plan = trace(network.module, _first(network, inputs))
    inner: list[tuple[Reading, Change]] = []
    outer: list[Change] = []
    for name, wanted in replacements.items():
        for before, change in _changes(network, _layer(plan, name), wanted, len(inputs)):
            if name == plan.layers[-1].name:
                outer.append(change)
            else:
                inner.append((_reading(network, plan, name, before=before), change))
    rows = _batches(plan, len(inputs))
    parts = [
        predict(_within(network, plan, inner, part), inputs[part], batch=LARGEST_BATCH, device=device) for part in rows
    ]
    return _outputs(np.concatenate(parts), outer)


def _first(network: Network, inputs: Num[np.ndarray, "samples ..."]) -> torch.Tensor:
    return to_module(
        inputs[:2] if len(inputs) > 1 else np.repeat(inputs, 2, axis=0),
        module=network.module,
        input_shape=network.input_shape,
        scaling=network.scaling,
        preprocessing=network.preprocessing,
    )


def _batches(plan: Trace, samples: int) -> Iterator[slice]:
    size = int(np.clip(BATCH_BYTES // max(plan.live, 1), 1, LARGEST_BATCH))
    return (slice(start, start + size) for start in range(0, samples, size))


def _layer(plan: Trace, name: str) -> Layer:
    found = next((layer for layer in plan.layers if layer.name == name), None)
    if found is None:
        known = ", ".join(layer.name for layer in plan.layers[:10])
        raise BadInput(f"there is no layer {name[:80]!r}", hint=f"there are {known}; consilience layers lists them")
    return found


def _changes(
    network: Network, layer: Layer, wanted: Mapping[Place, np.ndarray], samples: int
) -> Iterator[tuple[bool, Change]]:
    """Join units into one change after the nonlinearity, and directions into one before it."""
    for before in (False, True):
        places = [place for place in wanted if isinstance(place, tuple) == before]
        if places:
            values = [_values(network, layer, wanted[place], samples) for place in places]
            yield (
                before,
                Change(np.stack([_weights(layer, place) for place in places], axis=1), np.stack(values, axis=2)),
            )


def _weights(layer: Layer, place: Place) -> Float[np.ndarray, " units"]:
    if isinstance(place, tuple):
        if len(place) != layer.units:
            raise BadInput(f"a direction of {len(place)} weights", hint=f"{layer.name} has {layer.units} units")
        return np.array(place, dtype=np.float64)
    if not 0 <= place < layer.units:
        raise BadInput(f"layer {layer.name} has no unit {place}", hint=f"its units are 0 to {layer.units - 1}")
    return np.asarray(np.eye(layer.units)[place])


def _values(
    network: Network, layer: Layer, given: Num[np.ndarray, "_samples ..."], samples: int
) -> Float[np.ndarray, "samples positions"]:
    if given.shape not in {(samples, layer.positions), (samples,) if layer.positions == 1 else ()}:
        raise BadInput(
            f"{network.name}: values of shape {given.shape} for {samples} rows of layer {layer.name}",
            hint=f"give {samples} rows of {layer.positions} values, one for each position",
        )
    return given.reshape(samples, layer.positions).astype(np.float64)


def _reading(network: Network, plan: Trace, name: str, *, before: bool) -> Reading:
    """Find where values are put in. Raises Refused (no-substitution)."""
    if isinstance(network.module, Followed):
        what = "runs as an ONNX graph, in which no unit can be given another value"
        raise Refused("no-substitution", what, hint="give its weights and an architecture instead of the graph")
    pre, post = plan.readings[name]
    reading = pre if before else post
    if len(reading.steps) > 1:
        what = f"computes {name} step by step from what it was before: no value can be put in its place"
        raise Refused("no-substitution", what, hint="take features of other layers")
    return reading


def _within(network: Network, plan: Trace, changes: Sequence[tuple[Reading, Change]], rows: slice) -> Network:
    if not changes:
        return network
    now = [(reading, change.part(rows)) for reading, change in changes]
    return replace(network, module=_Overridden(network.module, plan, now))


class _Overridden(nn.Module):
    """A module that is run with changes; one batch of rows, those that the changes hold values for."""

    def __init__(self, module: nn.Module, plan: Trace, changes: Sequence[tuple[Reading, Change]]) -> None:
        super().__init__()
        self.module, self.plan, self.changes = module, plan, changes

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Run rows, each step of which a later one sees as it was changed."""
        places = count()

        def observe(step: Step) -> None:
            place = next(places)
            if self.plan.functions[place : place + 1] != (step.function,):
                raise Refused(
                    "forward",
                    "computes in another way with other values in it",
                    hint="take choices that depend on the data out",
                )
            for reading, change in self.changes:
                if reading.steps == (place,):
                    step.result.copy_(_changed(step.result, reading.view, change))

        return follow(self.module, rows, observe)


def _changed(result: torch.Tensor, view: View, change: Change) -> torch.Tensor:
    """Move what a step gave as little as possible, so that what `samples` reads of it has the components asked for."""
    exact = result.cpu().double()  # not every device has double precision
    pieces = exact.reshape(view.split).permute(view.order)
    laid = pieces.reshape(len(pieces), *view.places, view.units)
    for axis, shift in enumerate(view.shifts, start=1):
        laid = laid.roll(-shift, axis)
    moved = _moved(laid, view, change)
    for axis, shift in enumerate(view.shifts, start=1):
        moved = moved.roll(shift, axis)
    back = sorted(range(len(view.order)), key=view.order.__getitem__)
    return moved.reshape(pieces.shape).permute(back).reshape(result.shape)


def _moved(laid: torch.Tensor, view: View, change: Change) -> torch.Tensor:
    if view.image is None:
        return _replaced(laid, _means(view.places, view), change)
    before, height, width = view.image
    patches = slice(before, before + height * width)
    inner = laid[:, patches].reshape(len(laid), height, width, view.units)
    moved = laid.clone()
    moved[:, patches] = _replaced(inner, _means((height, width), view), change).flatten(1, 2)
    return moved


def _means(sides: Sequence[int], view: View) -> list[torch.Tensor]:
    """Give for every axis of places the matrix that makes positions of them: means of patches, or a choice."""
    if view.pooled:
        pool: Callable[..., torch.Tensor] = functional.adaptive_avg_pool1d
        sizes = zip(sides, view.pooled, strict=True)
        return [pool(torch.eye(side, dtype=torch.float64)[None], to)[0].T for side, to in sizes]
    sizes = zip(sides, view.picked, strict=True)
    return [torch.eye(side, dtype=torch.float64)[evenly(side, to)] for side, to in sizes]


def _replaced(laid: torch.Tensor, means: Sequence[torch.Tensor], change: Change) -> torch.Tensor:
    weights, values = torch.from_numpy(change.weights), torch.from_numpy(change.values)
    seen = laid @ weights
    for axis, mean in enumerate(means, start=1):
        seen = _along(seen, mean, axis)
    missing = values.reshape(seen.shape) - seen
    for axis, mean in enumerate(means, start=1):
        missing = _along(missing, torch.linalg.pinv(mean), axis)
    moved: torch.Tensor = laid + missing @ torch.linalg.pinv(weights)
    return moved


def _along(values: torch.Tensor, matrix: torch.Tensor, axis: int) -> torch.Tensor:
    product: torch.Tensor = torch.tensordot(values, matrix, dims=([axis], [1]))
    return product.movedim(-1, axis)


def _outputs(
    outputs: Float[np.ndarray, "samples outputs"], changes: Sequence[Change]
) -> Float[np.ndarray, "samples outputs"]:
    for change in changes:
        missing = change.values[:, 0] - outputs @ change.weights
        outputs = outputs + missing @ np.linalg.pinv(change.weights)
    return outputs
