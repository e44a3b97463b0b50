"""Follow a module while it runs: every call of a function that gives a tensor, whatever wrote it.

Calls of torch functions are followed, so `torch.relu(x)` counts as much as `nn.ReLU()`. Where one call hides
several steps, they are taken apart: recurrent layers by layer, nn.MultiheadAttention into what its heads give
and the projection, an nn.GELU written out in a module of its own into one step.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .errors import Refused
from .step import CELLS, CONVOLUTIONS, STATES, Followed, Step

Observe = Callable[[Step], None]

_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_WRITTEN_OUT = {
    "NewGELUActivation": "gelu",
    "FastGELUActivation": "gelu",
    "QuickGELUActivation": "gelu",
    "AccurateGELUActivation": "gelu",
    "QuickGELU": "gelu",
    "GELUTanh": "gelu",
    "MishActivation": "mish",
    "SiLUActivation": "silu",
}
"""Classes of activations that common libraries write as several calls."""


def follow(module: nn.Module, rows: torch.Tensor, observe: Observe, *, slopes: bool = False) -> torch.Tensor:
    """Run a module on rows, hand every step to an observer as it is made, and return the output.

    Values are only certain to be those of the step until the observer returns: what works in place changes
    them. Of several tensors that a module gives, in a tuple or a mapping, the first is the output. With `slopes`
    all can be differentiated. Raises Refused (input-shape, forward, output-shape).
    """
    if isinstance(module, Followed):
        steps, output = _asked(module, rows)
        for step in steps:
            observe(step)
        return output
    watch = _Watch(module, observe)
    try:
        with torch.set_grad_enabled(slopes), watch:
            output = module(rows)
    except Refused:
        raise
    except Exception as error:
        raise _failed(watch.misfit, error, rows) from None
    finally:
        watch.release()
    return first_tensor(output, len(rows))


def ask(module: Followed, rows: torch.Tensor, only: Sequence[int]) -> tuple[Mapping[int, torch.Tensor], torch.Tensor]:
    """Let a module that follows itself give what some of its steps give, and the output."""
    return _asked(module, rows, only=only)


def first_tensor(output: Any, rows: int) -> torch.Tensor:
    """Take the first tensor of what a module gives. Raises Refused (output-shape) if it has not these rows."""
    found = next(_tensors(output), None)
    if found is None or found.ndim < 1 or len(found) != rows or not found.numel():
        shape = type(output).__name__ if found is None else tuple(found.shape)
        raise Refused(
            "output-shape",
            f"gives {shape} for {rows} rows",
            hint="let the factory's module return one tensor with a row for each row of its input",
        )
    return found


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Walk through the tensors of a nest of tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
        return
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        yield from _tensors(part)


def _asked(module: Followed, rows: torch.Tensor, **wanted: Any) -> tuple[Any, torch.Tensor]:
    try:
        found, output = module.follow(rows, **wanted)
    except Refused:
        raise
    except Exception as error:
        raise _failed(None, error, rows) from None
    return found, first_tensor(output, len(rows))


def _failed(misfit: tuple[str, int, int] | None, error: Exception, rows: torch.Tensor) -> Refused:
    if misfit is None:
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:200]
        return Refused("forward", f"fails on a row of the probe: {reason}", hint="try the factory by hand")
    name, wanted, given = misfit
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


class Weights:
    """Which tensors are weights, or made of nothing else, and the layer that each belongs to."""

    def __init__(self, module: nn.Module) -> None:
        self._names: dict[int, str] = {}
        self._made: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}
        for name, part in (*module.named_buffers(), *module.named_parameters()):
            self._names[id(part)] = name.removesuffix(".weight")

    def name(self, value: Any) -> str | None:
        """Name the layer of a weight; None for everything else."""
        if not isinstance(value, torch.Tensor):
            return None
        made = self._made.get(id(value))
        return made[1] if made is not None and made[0]() is value else self._names.get(id(value))

    def derive(self, sources: Sequence[Any], result: torch.Tensor) -> None:
        """Note a result that depends on nothing but weights."""
        names = [self.name(part) for part in _tensors(list(sources))]
        if names and None not in names and id(result) not in self._names:
            self._made[id(result)] = (weakref.ref(result), str(names[0]))
        else:
            self._made.pop(id(result), None)


class _Watch(TorchFunctionMode):
    """Hand every step to an observer, with the layer or block it stands in."""

    def __init__(self, module: nn.Module, observe: Observe) -> None:
        super().__init__()
        self.observe = observe
        self.weights = Weights(module)
        self.inside: list[tuple[str, nn.Module]] = []
        self.silent = 0
        self.misfit: tuple[str, int, int] | None = None  # the layer entered last, if wrongly: wanted, given
        self.hooks = [
            hook
            for name, part in module.named_modules()
            if not isinstance(part, torch.jit.ScriptModule)
            for hook in (part.register_forward_pre_hook(self._enter(name)), part.register_forward_hook(self._leave))
        ]

    def release(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(part: nn.Module, arguments: Any) -> None:
            self.inside.append((name, part))
            self.silent += type(part).__name__ in _WRITTEN_OUT
            if isinstance(part, _LAYERS):
                wanted, axis = (part.in_features, -1) if isinstance(part, nn.Linear) else (part.in_channels, 1)
                given = tuple(arguments[0].shape)[axis:][:1] if arguments else ()
                self.misfit = (name, wanted, given[0]) if given and given[0] != wanted else None

        return hook

    def _leave(self, part: nn.Module, arguments: Any, result: Any) -> None:
        name, _ = self.inside.pop()
        written_out = _WRITTEN_OUT.get(type(part).__name__)
        if written_out:
            self.silent -= 1
            self._emit(written_out, arguments, result, name)

    def _emit(self, function: str, sources: Sequence[Any], result: torch.Tensor, module: str | None = None) -> None:
        if self.silent:
            return
        where = self.inside[-1][0] if self.inside else ""
        self.silent += 1  # an observer may compute
        self.observe(Step(function, where if module is None else module, tuple(sources), result))
        self.silent -= 1

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.silent:
            return function(*args, **kwargs)
        name, sources = _name_of(function), (*args, *kwargs.values())
        if name in STATES and isinstance(args[3], bool) and not (args[5] and args[6]):
            return self._states(name, function, *args)
        if name == "multi_head_attention_forward":
            return self._heads(function, args, kwargs)
        result = function(*args, **kwargs)
        if name == "setitem":
            self._emit(name, sources, args[0])
        elif isinstance(result, torch.Tensor):
            self._weigh(name, sources, result)
        elif isinstance(result, list | tuple) and not isinstance(result, torch.Size):
            for part in result[: 1 if name in CELLS | STATES else None]:
                if isinstance(part, torch.Tensor):
                    self.weights.derive(sources, part)
                    self._emit(name, sources, part)
        return result

    def _weigh(self, name: str, sources: tuple[Any, ...], result: torch.Tensor) -> None:
        """Tell what a layer's own weights do from what two computed tensors do to one another."""
        self.weights.derive(sources, result)
        if name == "linear" or name in CONVOLUTIONS:
            layer = self._layer(sources[1])
            self._emit(name if layer else f"{name} by computed weights", sources, result, layer)
            return
        if name in ("matmul", "mm", "addmm"):
            bias, inputs, weight = (sources[0], *sources[1:3]) if name == "addmm" else (None, *sources[:2])
            layer = self.weights.name(weight)
            if layer and weight.ndim == 2 and not self.weights.name(inputs):
                self._emit("linear", (inputs, weight, bias), result, layer)
                return
        if name == "hardtanh" and sources[1:3] == (0.0, 6.0):  # how torch computes ReLU6
            name = "relu6"
        self._emit(name, sources, result)

    def _layer(self, weight: Any) -> str | None:
        name, part = self.inside[-1] if self.inside else ("", None)
        owner = self.weights.name(weight)
        inner = owner is not None and owner.startswith(f"{name}.")
        return name if isinstance(part, _LAYERS) and not inner else owner

    def _states(self, name: str, function: Any, *args: Any) -> Any:
        """Run the layers of a recurrent network one by one, so that the states of each are seen."""
        values, start, flat, biases, layers, dropout, train, both, batch_first = args
        ways, module = 1 + both, self.inside[-1][0] if self.inside else ""
        per = len(flat) // layers
        ends = []
        for layer in range(layers):
            here = [part[layer * ways : (layer + 1) * ways] for part in (start if name == "lstm" else [start])]
            given = tuple(here) if name == "lstm" else here[0]
            mine = flat[layer * per : (layer + 1) * per]
            found = function(values, given, mine, biases, 1, dropout, train, both, batch_first)
            self._emit(name, (values,), found[0], f"{module}.{layer}".lstrip(".") if layers > 1 else module)
            values = found[0]
            ends.append(found[1:])
        return (values, *(torch.cat(parts) for parts in zip(*ends, strict=True)))

    def _heads(self, function: Any, args: Any, kwargs: Any) -> Any:
        """Take attention apart: a projection that changes nothing gives what goes into the projection."""
        given = dict(zip(_HEADS, args, strict=False)) | kwargs
        weight, bias = given["out_proj_weight"], given["out_proj_bias"]
        plain = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        heads, seen = function(**given | {"out_proj_weight": plain, "out_proj_bias": None})
        module = self.inside[-1][0] if self.inside else ""
        self._emit("multi_head_attention", [given[name] for name in _HEADS[:3]], heads)
        result = functional.linear(heads, weight, bias)
        self._emit("linear", (heads, weight, bias), result, f"{module}.out_proj".lstrip("."))
        return result, seen


_HEADS = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias"),
    *("bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias"),
)


def _name_of(function: Any) -> str:
    name = str(getattr(function, "__name__", ""))
    if name == "__get__":
        return str(getattr(function.__self__, "__name__", ""))
    return name.strip("_")
