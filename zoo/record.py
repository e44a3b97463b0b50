"""Watch a module while it runs: which layers it has, and what each gives before and after its nonlinearity.

Layers are found by running the module, not by reading its code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import torch
from torch import nn

from .blocks import streams
from .errors import Refused
from .find import Found, Reading, find, lost
from .follow import Observe, ask, follow
from .graph import Node, Recorder, Run, anchors
from .layer import ACTIVATIONS, ODD, Layer, LayerRecord
from .layout import Layout
from .sample import samples
from .step import Followed, Step

__all__ = ["ACTIVATIONS", "ODD", "Followed", "Layer", "LayerRecord", "Step", "Trace", "capture", "trace"]


@dataclass(frozen=True, slots=True)
class Trace:
    """The layers of a module, and where in its run their values stand.

    `live` is how many bytes its steps need at a time for each row, `whole` how many they make in all.
    """

    layers: tuple[Layer, ...]
    readings: Mapping[str, tuple[Reading, Reading]]
    functions: tuple[str, ...]
    live: int
    whole: int


def trace(module: nn.Module, rows: torch.Tensor) -> Trace:
    """Run a module on a few rows and find its layers, in the order in which they run.

    See `Layer` for what is one. Something that gives one vector or map for each row, or for each of the
    places of a row, is a layer only if it is clear which of its values belong to which row and place. The last
    layer of a trace is the output, named for the layer whose values it is, or "output". A layer that runs
    more than once has a name for each time: name, name#2, ... Raises Refused (input-shape, forward,
    output-shape).
    """
    rows = rows if len(rows) > 1 else torch.cat([rows, rows])  # one row cannot be told from an axis of length one
    recorder, output = _run(module, rows)
    run = Run(recorder.nodes, recorder.ancestors, streams(recorder.nodes, recorder.ancestors))
    found, units, name = find(run, len(rows)), output.numel() // len(rows), "output"
    if found and recorder.gave(found[-1].step, output):
        name = found.pop().name
    elif found and found[-1].kind == "dense" and run.nodes[found[-1].step].shape == (len(rows), units):
        found.pop()  # the output before its last scaling or nonlinearity is no finding of its own
    if name in {layer.name for layer in found}:
        name = f"({name})"
    hidden = [_layer(layer, rank / (len(found) + 1)) for rank, layer in enumerate(found, start=1)]
    return Trace(
        layers=(*hidden, Layer(name, "dense", "output", units, 1.0, "identity")),
        readings={layer.name: (layer.pre, layer.post) for layer in found},
        functions=tuple(node.function for node in run.nodes),
        live=live_bytes(run.nodes) // len(rows),
        whole=sum(node.bytes for node in run.nodes) // len(rows),
    )


class _Enough(BaseException):
    """Nothing that comes after this step is asked for; no `except Exception` of a module stops it."""


def narrow(plan: Trace, names: Collection[str]) -> Trace:
    """Keep the hidden layers of these names, and the output: nothing else is copied from a run."""
    layers = tuple(layer for layer in plan.layers if layer.name in names or layer.role == "output")
    return replace(
        plan,
        layers=layers,
        readings={name: both for name, both in plan.readings.items() if name in names},
    )


def follow_until(
    module: nn.Module, rows: torch.Tensor, observe: Observe, *, last: int, slopes: bool = False
) -> torch.Tensor:
    """Follow a module no further than the step of this number, and return what that gives.

    What comes later never runs. Raises as `follow` does, and Refused (forward) where there are fewer steps.
    """
    numbers, ends = count(), list[torch.Tensor]()

    def counted(step: Step) -> None:
        observe(step)
        if next(numbers) == last:
            ends.append(step.result)
            raise _Enough

    with suppress(_Enough):
        follow(module, rows, counted, slopes=slopes)
    if not ends:
        raise astray()
    return ends[0]


def nodes_until(module: nn.Module, rows: torch.Tensor, *, last: int) -> Sequence[Node]:
    """Run a module no further than a step and describe the steps so far, for rows of any size that it takes."""
    return _run(module, rows, last)[0].nodes


def astray() -> Refused:
    """Word the refusal of what does not take the same path for all inputs."""
    hint = "take choices that depend on the data out"
    return Refused("forward", "computes in another way for other inputs", hint=hint)


def capture(module: nn.Module, rows: torch.Tensor, *, plan: Trace) -> tuple[dict[str, LayerRecord], torch.Tensor]:
    """Run a module on a batch and copy what its hidden layers give; return that and the module's output.

    Values are copied as they arise, before a nonlinearity that works in place overwrites them. Raises
    Refused (forward) if the module takes another path than in its trace.
    """
    wanted: dict[int, list[Reading]] = {}
    for reading in {reading for both in plan.readings.values() for reading in both}:
        for index in reading.steps:
            wanted.setdefault(index, []).append(reading)
    if isinstance(module, Followed):
        values, output = ask(module, rows, tuple(wanted))
        return _records(plan, {reading: _read(reading, values) for reading in _all(plan)}), output
    taken: dict[Reading, np.ndarray] = {}
    parts: dict[Reading, dict[int, torch.Tensor]] = {}
    passed: list[str] = []

    def observe(step: Step) -> None:
        index = len(passed)
        passed.append(step.function)
        astray = passed != list(plan.functions[: index + 1]) if index in wanted else True
        for reading in () if astray else wanted[index]:
            held = parts.setdefault(reading, {})
            held[index] = step.result if len(reading.steps) == 1 else step.result.clone()
            if len(held) == len(reading.steps):
                taken[reading] = _read(reading, parts.pop(reading))

    output = follow(module, rows, observe)
    if tuple(passed) != plan.functions:
        raise astray()
    return _records(plan, taken), output


def _read(reading: Reading, values: Mapping[int, torch.Tensor]) -> np.ndarray:
    if len(reading.steps) == 1:
        return samples(values[reading.steps[0]], reading.view)
    return samples(torch.stack([values[index] for index in reading.steps], dim=1), reading.view)


def _all(plan: Trace) -> list[Reading]:
    return [reading for both in plan.readings.values() for reading in both]


def _records(plan: Trace, taken: Mapping[Reading, np.ndarray]) -> dict[str, LayerRecord]:
    return {name: LayerRecord(taken[pre], taken[post]) for name, (pre, post) in plan.readings.items()}


def _run(module: nn.Module, rows: torch.Tensor, last: int | None = None) -> tuple[Recorder, torch.Tensor]:
    """Run a module; where the rules do not tell what the axes of a layer count, once more with one more row.

    A whole run has another before it, since some modules keep what they have computed once from their weights.
    """
    if last is None and not isinstance(module, Followed):
        with torch.no_grad(), suppress(Exception):  # which the next run tells
            module(rows)
    recorder, output = _once(module, rows, {}, last)
    if not any(lost(node, len(rows)) for node in recorder.nodes):
        return recorder, output
    longer, _ = _once(module, torch.cat([rows, rows[:1]]), {}, last)
    return _once(module, rows, anchors(recorder.nodes, longer.nodes, len(rows)), last)


def _once(
    module: nn.Module, rows: torch.Tensor, known: Mapping[int, Layout], last: int | None
) -> tuple[Recorder, torch.Tensor]:
    recorder = Recorder(rows, known)
    if last is not None:
        return recorder, follow_until(module, rows, recorder, last=last)
    return recorder, follow(module, rows, recorder)


def live_bytes(nodes: Sequence[Node]) -> int:
    """Count the bytes that the largest step needs, twice: something else is always kept beside it."""
    sizes = [node.bytes + sum(nodes[source].bytes for source in set(node.sources) if source >= 0) for node in nodes]
    return 2 * max(sizes, default=0)


def _layer(found: Found, depth: float) -> Layer:
    view = found.pre.view
    return Layer(found.name, found.kind, "hidden", view.units, depth, found.activation, found.axes, view.positions)
