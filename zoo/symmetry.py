"""Which units of a network can change places without changing what it computes.

Every axis of every tensor starts as so many things that may change places; each call of one of torch's
elementary functions then says which axes count the same, and which have an order (after Ainsworth et al. 2023,
section 3, whose permutations are written by hand for each architecture). What was found so is tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, groupby
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import Refused
from .follow import first_tensor, follow
from .network import Network, precision
from .record import Followed, Step, Trace, trace
from .symmetry_axes import Atom, Axes, Axis, fix, fresh, leaves, size_of
from .symmetry_call import Call
from .symmetry_check import holding
from .symmetry_groups import Group, Place, Symmetry
from .symmetry_rules import UNIFORM, axes_of

__all__ = ["Group", "Place", "Symmetry", "symmetry"]

ROWS = 2


def symmetry(network: Network) -> Symmetry:
    """Find the groups of units of a network that can be reordered, and check that its function stays the same.

    Where a tensor holds units of several groups side by side, as after a concatenation, each has a place. Raises
    Refused (no-symmetry) for a module that torch does not run, and what a run raises.
    """
    if isinstance(network.module, Followed):
        what = "does not run in torch, so it cannot be seen which of its units can be reordered"
        raise Refused("no-symmetry", what, hint="give the weights and an architecture instead of a graph")
    rows, plan = _tried(network)
    return Symmetry(holding(network.module, rows, _proposed(network, rows, plan)))


def _tried(network: Network) -> tuple[torch.Tensor, Trace]:
    """Find rows that the module takes and answers with numbers: of any sign, positive, or whole as those of words."""
    draw, shape = torch.Generator().manual_seed(0), (ROWS, *network.input_shape)
    kinds = torch.randn(shape, generator=draw), torch.rand(shape, generator=draw) + 0.5
    for rows in (kind.to(precision(network.module)) for kind in kinds):
        with suppress(Refused), torch.no_grad():
            plan = trace(network.module, rows)
            if bool(first_tensor(network.module(rows), ROWS).isfinite().all()):
                return rows, plan
    rows = torch.randint(0, 8, shape, generator=draw).to(precision(network.module))
    return rows, trace(network.module, rows)


def _proposed(network: Network, rows: torch.Tensor, plan: Trace) -> tuple[Group, ...]:
    state = _state(network.module)
    watch = _Watch(state, rows)
    reached: list[torch.Tensor] = []

    def observe(step: Step) -> None:
        reached.append(step.result)

    with watch:
        output = follow(network.module, rows, observe)
    fix(*watch.known(output))
    fix(*(axis for name, tensor in state.items() if id(tensor) not in watch.taken for axis in watch.known(tensor)))
    names = _layers(network, plan, lambda step: watch.known(reached[step]))
    return tuple(_groups({name: watch.known(tensor) for name, tensor in state.items()}, names))


def _state(module: nn.Module) -> Mapping[str, torch.Tensor]:
    found = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, torch.Tensor)}


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keep the axes of all tensors of a run, which stay alive with it."""

    def __init__(self, state: Mapping[str, torch.Tensor], rows: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.taken: set[int] = set()
        self._uniform: set[int] = set()  # memory that holds one number everywhere: every use has axes of its own
        self._joined: dict[int, Call] = {}  # what was put together, until somebody uses it
        self._kept: dict[int, tuple[torch.Tensor, Axes]] = {}
        for tensor in state.values():
            self._keep(tensor, tuple(fresh(size) for size in tensor.shape))

    def known(self, tensor: torch.Tensor) -> Axes:
        """Tell the axes of a tensor; those of one that no call gave are fixed, for who knows what it holds."""
        if _memory(tensor) in self._uniform:
            return tuple(fresh(size) for size in tensor.shape)
        if id(tensor) in self._joined:
            self._keep(tensor, *axes_of(self._joined.pop(id(tensor)), pointwise=False))
        if id(tensor) not in self._kept:
            self._keep(tensor, tuple(fresh(size, fixed=True) for size in tensor.shape))
        return self._kept[id(tensor)][1]

    def _keep(self, tensor: torch.Tensor, axes: Axes) -> None:
        self._kept[id(tensor)] = (tensor, axes)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = function._schema
        for part in args if schema.is_mutable else ():
            if id(part) in self._joined:
                self.known(part)  # before its shape may change
        result = function(*args, **(kwargs or {}))
        given = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
        given |= {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)}
        given = {argument.name: given.get(argument.name) for argument in schema.arguments} | (kwargs or {})
        call = Call(schema.name.partition("::")[2].removesuffix("_"), given, result, self.known)
        self.taken |= set(map(id, call.tensors))
        if call.name in ("cat", "stack"):
            self._joined[id(result)] = call
            return result
        found = axes_of(call, pointwise=torch.Tag.pointwise in function.tags)
        self._uniform -= set(map(_memory, call.tensors)) if schema.is_mutable else set()
        for tensor, axes in zip(call.results, found, strict=True):
            self._keep(tensor, axes)
            if call.name in UNIFORM:
                self._uniform.add(_memory(tensor))
        return result


def _memory(tensor: torch.Tensor) -> int:
    """Name the memory that a tensor is a view of."""
    return tensor.untyped_storage()._cdata if tensor.layout == torch.strided else id(tensor)


def _layers(network: Network, plan: Trace, reached: Callable[[int], Axes]) -> dict[Atom, list[str]]:
    """Find the layers whose units are one atom."""
    found: dict[Atom, list[str]] = {}
    names = {layer.name for layer in network.layers}
    for layer in plan.layers:
        if layer.name not in names or layer.name not in plan.readings:
            continue
        axes = reached(plan.readings[layer.name][0].steps[0])
        units = leaves(axes[1 if layer.kind == "convolution" else -1])
        if len(units) == 1 and len(units[0]) == 1:
            found.setdefault(units[0][0], []).append(layer.name)
    return found


def _groups(state: Mapping[str, Axes], layers: Mapping[Atom, Sequence[str]]) -> Iterator[Group]:
    places: dict[Atom, list[Place]] = {}
    for axis in chain.from_iterable(state.values()):
        leaves(axis)  # which fixes what no place can be given
    for name, axes in state.items():
        for number, axis in enumerate(axes):
            for atom, place in _places(name, number, axis):
                places.setdefault(atom, []).append(place)
    for atom, found in places.items():
        yield Group(atom.size, tuple(_side_by_side(found, atom.size)), tuple(layers.get(atom, ())))


def _places(name: str, number: int, axis: Axis) -> Iterator[tuple[Atom, Place]]:
    start = 0
    for segment in leaves(axis):
        for at, atom in enumerate(segment):
            if not atom.fixed:
                yield atom, Place(name, number, size_of(segment[:at]), size_of(segment[at + 1 :]), start)
        start += size_of(segment)


def _side_by_side(places: Sequence[Place], size: int) -> Iterator[Place]:
    """Join places that follow one another without a gap, such as those of the gates of a recurrent layer."""
    alike: Callable[[Place], Any] = lambda place: (place.tensor, place.axis, place.after)  # noqa: E731
    for _, several in groupby(places, key=alike):
        first, *others = several
        for place in others:
            if place.start == first.start + first.before * size * first.after:
                first = Place(first.tensor, first.axis, first.before + place.before, first.after, first.start)
            else:
                yield first
                first = place
        yield first
