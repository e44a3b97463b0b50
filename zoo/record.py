"""Watch a module while it runs: which layers it has, and what each gives before and after its nonlinearity.

Layers are found by running the module, not by reading its code: calls of torch functions are followed, so
`torch.relu(x)` counts as much as `nn.ReLU()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .errors import Refused

LARGEST_GRID = 4
ACTIVATIONS = frozenset(
    {
        "relu",
        "tanh",
        "silu",
        "gelu",
        "elu",
        "sigmoid",
        "softplus",
        "leaky_relu",
        "sin",
        "relu6",
        "selu",
        "celu",
    }
    | {"mish", "hardtanh", "hardswish", "hardsigmoid", "softsign", "tanhshrink", "logsigmoid", "prelu"}
)
ODD = frozenset({"identity", "tanh", "sin", "softsign", "tanhshrink"})
_NORMS = frozenset({"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"})
_PASSED = frozenset({"dropout", "alpha_dropout", "feature_dropout", "contiguous", "to", "float", "clone"})
_LINEAR = frozenset({"linear", "conv1d", "conv2d", "matmul", "__matmul__", "mm", "addmm"})
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class Layer:
    """A place in a network where units can be watched.

    Activation is "identity" where only linear steps follow, and "other" where something follows that is
    not one elementwise function. Depth is the rank among the layers over their number: the output has 1.
    Convolutional maps are averaged over grid x grid patches, each of which is a sample.
    """

    name: str
    kind: str
    role: str
    units: int
    depth: float
    activation: str
    grid: int = 1

    @property
    def odd(self) -> bool:
        """Whether a unit may be met with its sign flipped."""
        return self.role == "hidden" and self.activation in ODD


@dataclass(frozen=True, slots=True, eq=False)
class LayerRecord:
    """What the units of one layer gave for one batch, before and after the nonlinearity."""

    pre: Float[np.ndarray, "samples units"]
    post: Float[np.ndarray, "samples units"]


@dataclass(frozen=True, slots=True)
class Trace:
    """The layers of a module, and at which steps of its run their values stand."""

    layers: tuple[Layer, ...]
    steps: Mapping[str, tuple[int, int]]
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Step:
    function: str
    module: str
    sources: tuple[Any, ...]
    result: torch.Tensor


class _Watch(TorchFunctionMode):
    """Hand every call of a torch function that gives a tensor to an observer, with the layer it stands in."""

    def __init__(self, module: nn.Module, observe: Callable[[_Step], None]) -> None:
        super().__init__()
        self.observe = observe
        self.inside: list[str] = []
        self.misfit: tuple[str, int, int] | None = None  # the layer entered last, if wrongly: wanted, given
        self.hooks = [
            hook
            for name, layer in module.named_modules()
            if isinstance(layer, _LAYERS)
            for hook in (
                layer.register_forward_pre_hook(self._enter(name, layer)),
                layer.register_forward_hook(self._leave),
            )
        ]

    def _enter(self, name: str, layer: nn.Linear | nn.Conv1d | nn.Conv2d) -> Callable[[nn.Module, Any], None]:
        wanted, axis = (layer.in_features, -1) if isinstance(layer, nn.Linear) else (layer.in_channels, 1)

        def hook(_: nn.Module, arguments: Any) -> None:
            self.inside.append(name)
            given = tuple(arguments[0].shape)[axis:][:1] if arguments else ()
            self.misfit = (name, wanted, given[0]) if given and given[0] != wanted else None

        return hook

    def _leave(self, layer: nn.Module, arguments: Any, result: Any) -> None:
        self.inside.pop()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            sources = (*args, *(kwargs or {}).values())
            self.observe(_Step(_name_of(function), self.inside[-1] if self.inside else "", sources, result))
        return result

    def release(self) -> None:
        for hook in self.hooks:
            hook.remove()


def trace(module: nn.Module, rows: torch.Tensor) -> Trace:
    """Run a module on a few rows and find its layers, in the order in which they run.

    A layer is a Linear, Conv1d or Conv2d that runs once and gives one vector, or one map per channel, for
    each row. The last layer of a trace is the output, named for the layer whose values it is, or "output".
    Raises Refused (input-shape, forward, output-shape).
    """
    steps: list[_Step] = []
    output = _run(module, rows, steps.append)
    found = [index for index, step in enumerate(steps) if _is_layer(step, len(rows), steps)]
    units, name = output.numel() // len(rows), "output"
    if found and steps[found[-1]].result is output:
        name = steps[found.pop()].module
    elif found and steps[found[-1]].result.ndim == 2 and steps[found[-1]].result.shape[1] == units:
        found.pop()  # the output before its last scaling or nonlinearity is no finding of its own
    if name in {steps[index].module for index in found}:
        name = f"({name})"
    followed = [_follow(steps, index) for index in found]
    hidden = [
        _layer(steps[index], activation, rank / (len(found) + 1))
        for rank, (index, (_, _, activation)) in enumerate(zip(found, followed, strict=True), start=1)
    ]
    return Trace(
        layers=(*hidden, Layer(name, "dense", "output", units, 1.0, "identity")),
        steps={layer.name: (pre, post) for layer, (pre, post, _) in zip(hidden, followed, strict=True)},
        functions=tuple(step.function for step in steps),
    )


def capture(module: nn.Module, rows: torch.Tensor, *, plan: Trace) -> tuple[dict[str, LayerRecord], torch.Tensor]:
    """Run a module on a batch and copy what its hidden layers give; return that and the module's output.

    Values are copied as they arise, before a nonlinearity that works in place overwrites them. Raises
    Refused (forward) if the module takes another path than in its trace.
    """
    grids = {index: layer.grid for layer in plan.layers[:-1] for index in plan.steps[layer.name]}
    taken: dict[int, np.ndarray] = {}
    passed: list[str] = []

    def observe(step: _Step) -> None:
        index = len(passed)
        passed.append(step.function)
        if index in grids:
            taken[index] = _samples(step.result, grids[index])

    output = _run(module, rows, observe)
    if tuple(passed) != plan.functions:
        raise Refused(
            "forward",
            "computes in another way for other inputs",
            hint="take choices that depend on the data out",
        )
    return {name: LayerRecord(taken[pre], taken[post]) for name, (pre, post) in plan.steps.items()}, output


def _run(module: nn.Module, rows: torch.Tensor, observe: Callable[[_Step], None]) -> torch.Tensor:
    watch = _Watch(module, observe)
    try:
        with torch.no_grad(), watch:
            output = module(rows)
    except Exception as error:
        raise _failed(watch, error, rows) from None
    finally:
        watch.release()
    if not isinstance(output, torch.Tensor) or output.ndim < 1 or len(output) != len(rows) or not output.numel():
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
        raise Refused(
            "output-shape",
            f"gives {shape} for {len(rows)} rows",
            hint="let the factory's module return one tensor with a row for each row of its input",
        )
    return output


def _failed(watch: _Watch, error: Exception, rows: torch.Tensor) -> Refused:
    if watch.misfit is None:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
        return Refused("forward", f"fails on a row of the probe: {reason}", hint="try the factory by hand")
    name, wanted, given = watch.misfit
    width = rows[0].numel()
    said = (
        f"takes {wanted} inputs, the probe has {width}"
        if given == width
        else f"{name} takes {wanted}, is given {given}"
    )
    return Refused(
        "input-shape",
        said,
        hint="give the probe the network's variables, or leave this network out of the zoo",
    )


def _name_of(function: Any) -> str:
    name = str(getattr(function, "__name__", ""))
    return name if name.startswith("__") else name.removesuffix("_")


def _is_layer(step: _Step, rows: int, steps: Iterable[_Step]) -> bool:
    axes = {"linear": 2, "conv1d": 3, "conv2d": 4}.get(step.function)
    if not step.module or step.result.ndim != axes or len(step.result) != rows:
        return False
    return sum(other.module == step.module and other.function == step.function for other in steps) == 1


def _follow(steps: Sequence[_Step], start: int) -> tuple[int, int, str]:
    """Find where a layer's values stand before and after its nonlinearity, and which one that is."""
    pre, value, activation = start, steps[start].result, "identity"
    for index, step in enumerate(steps[start + 1 :], start=start + 1):
        if not _uses(step, value):
            continue
        direct = step.sources[0] is value
        if direct and step.function in ACTIVATIONS:
            return pre, index, step.function
        if direct and step.function in _NORMS | _PASSED:
            value = step.result
            pre = index if step.function in _NORMS else pre
        elif step.function not in _LINEAR:
            activation = "other"
            if step.result is value:  # changed in place: what follows is no longer this layer's alone
                break
    return pre, pre, activation


def _uses(step: _Step, value: torch.Tensor) -> bool:
    return any(
        source is value or (isinstance(source, list | tuple) and any(part is value for part in source))
        for source in step.sources
    )


def _layer(step: _Step, activation: str, depth: float) -> Layer:
    sides = step.result.shape[2:]
    if not sides:
        return Layer(step.module, "dense", "hidden", step.result.shape[1], depth, activation)
    side = min(sides) if len(sides) == 2 else isqrt(sides[0])
    grid = min(LARGEST_GRID, side)
    return Layer(step.module, "convolution", "hidden", step.result.shape[1], depth, activation, grid)


def _samples(values: torch.Tensor, grid: int) -> np.ndarray:
    """Bring values to samples x units: each patch of a common grid over a map is a sample of its own."""
    if values.ndim == 4:
        values = functional.adaptive_avg_pool2d(values, grid).flatten(2).transpose(1, 2).flatten(0, 1)
    elif values.ndim == 3:
        values = functional.adaptive_avg_pool1d(values, grid**2).transpose(1, 2).flatten(0, 1)
    return np.ascontiguousarray(values.detach().to("cpu", torch.float32, copy=True).numpy())
