"""Watch a module while it runs: which layers it has, and what each gives before and after its nonlinearity.

Layers are found by running the module, not by reading its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from .blocks import streams
from .errors import Refused
from .find import Found, Reading, find, lost
from .follow import ask, follow
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
        live=_live(run.nodes) // len(rows),
        whole=sum(node.bytes for node in run.nodes) // len(rows),
    )


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
        raise Refused(
            "forward",
            "computes in another way for other inputs",
            hint="take choices that depend on the data out",
        )
    return _records(plan, taken), output


def _read(reading: Reading, values: Mapping[int, torch.Tensor]) -> np.ndarray:
    if len(reading.steps) == 1:
        return samples(values[reading.steps[0]], reading.view)
    return samples(torch.stack([values[index] for index in reading.steps], dim=1), reading.view)


def _all(plan: Trace) -> list[Reading]:
    return [reading for both in plan.readings.values() for reading in both]


def _records(plan: Trace, taken: Mapping[Reading, np.ndarray]) -> dict[str, LayerRecord]:
    return {name: LayerRecord(taken[pre], taken[post]) for name, (pre, post) in plan.readings.items()}


def _run(module: nn.Module, rows: torch.Tensor) -> tuple[Recorder, torch.Tensor]:
    """Run a module; where the rules do not tell what the axes of a layer count, once more with one more row.

    It runs once before, since some modules keep what they have computed once from their weights.
    """
    if not isinstance(module, Followed):
        with torch.no_grad(), suppress(Exception):  # which the next run tells
            module(rows)
    recorder, output = _once(module, rows, {})
    if not any(lost(node, len(rows)) for node in recorder.nodes):
        return recorder, output
    longer, _ = _once(module, torch.cat([rows, rows[:1]]), {})
    return _once(module, rows, anchors(recorder.nodes, longer.nodes, len(rows)))


def _once(module: nn.Module, rows: torch.Tensor, known: Mapping[int, Layout]) -> tuple[Recorder, torch.Tensor]:
    recorder = Recorder(rows, known)
    return recorder, follow(module, rows, recorder)


def _live(nodes: Sequence[Node]) -> int:
    """Count the bytes that the largest step needs, twice: something else is always kept beside it."""
    sizes = [node.bytes + sum(nodes[source].bytes for source in set(node.sources) if source >= 0) for node in nodes]
    return 2 * max(sizes, default=0)


def _layer(found: Found, depth: float) -> Layer:
    view = found.pre.view
    return Layer(found.name, found.kind, "hidden", view.units, depth, found.activation, found.axes, view.positions)
