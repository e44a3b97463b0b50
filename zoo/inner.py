"""A module inside a network: what it is given while the whole runs, and itself as a network of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from .errors import BadInput, NotFound
from .network import Network, batches, feed, fitting, two
from .record import trace
from .step import Followed
from .store import content_key

INSIDE = "inner"
"""What a module is called within its network of its own."""
CLOSE = 1e-4
"""So much may what a module gives place by place differ from what it gave in the run, relative and in deviations."""
Rows = Num[np.ndarray, "samples ..."]


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """One call of a module: what it was given, the last of it by name, and what it gave."""

    given: tuple[Any, ...]
    names: tuple[str, ...]
    output: Any

    @property
    def tensors(self) -> list[torch.Tensor]:
        return [value for value in self.given if isinstance(value, torch.Tensor)]

    @property
    def pointwise(self) -> bool:
        """Whether it takes vectors, and gives one for each place where it takes them."""
        places = {value.shape[:-1] for value in self.tensors}
        numbers = all(value.is_floating_point() and value.ndim > 1 for value in self.tensors)
        return numbers and isinstance(self.output, torch.Tensor) and places == {self.output.shape[:-1]}

    @property
    def rows(self) -> torch.Tensor:
        """What it was given at each place, side by side."""
        return torch.cat([_flat(value) for value in self.tensors], dim=-1)


def given(network: Network, module: str, rows: Rows) -> Float[np.ndarray, "uses inputs"]:
    """Tell what a module is given when the network is shown rows: one line for every row and place of it.

    Its inputs are the numbers of all tensors that it takes, side by side, as it sees them. Raises NotFound
    where the network has no such module, and BadInput for one that does not take vectors.
    """
    calls = [call for part in _portions(network, rows) for call in _calls(network, module, part)]
    return torch.cat([call.rows for call in calls]).cpu().double().numpy()


def inner(network: Network, module: str, rows: Rows) -> Network:
    """Make a module inside a network a network of its own, which takes lines as `given` tells them.

    Raises as `given` does, and BadInput for a module whose places are not each by itself.
    """
    calls = _calls(network, module, rows[:512])
    lines = torch.cat([call.rows for call in calls])
    alone = _Alone(_find(network, module), calls[0]).eval()
    if not _same(alone, lines, torch.cat([_flat(call.output) for call in calls])):
        raise BadInput(
            f"{network.name}: what {module} gives at one place depends on others",
            hint="name a module that treats every place by itself, such as an MLP",
        )
    return replace(
        network,
        digest=content_key("inner", network.digest, module),
        module=alone,
        layers=trace(alone, lines[:2]).layers,
        input_shape=(lines.shape[1],),
        outputs=(),
        scaling=None,
        preprocessing=None,
    )


def are_free(network: Network, module: str, rows: Rows) -> bool:
    """Tell whether all that a module is given are inputs of the network, at no place the same one twice."""
    fed = feed(network, two(rows)[:64]).reshape(min(len(two(rows)), 64), -1)
    for call in _calls(network, module, two(rows)[:64]):
        lines = call.rows
        if len(lines) % len(fed):
            return False
        for place in lines.reshape(len(fed), -1, lines.shape[1]).unbind(dim=1):
            same = (place[:, :, None] == fed[:, None, :]).all(dim=0)
            if not same.any(dim=1).all() or len(set(same.float().argmax(dim=1).tolist())) < same.shape[0]:
                return False
    return True


def modules(network: Network) -> tuple[str, ...]:
    """Name the modules inside a network; of a graph that is run as one, none."""
    closed = isinstance(network.module, Followed | torch.jit.ScriptModule)
    return () if closed else tuple(name for name, _ in network.module.named_modules() if name)


def _find(network: Network, module: str) -> nn.Module:
    known = modules(network)
    if module in known:
        return network.module.get_submodule(module)
    near = get_close_matches(module[:80], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known[:20])}"
    closed = "it runs as one graph, of which no part can be run by itself"
    raise NotFound(f"{network.name} has no module {module[:80]!r}", hint=hint if known else closed)


def _portions(network: Network, rows: np.ndarray) -> Iterator[np.ndarray]:
    return batches(rows, fitting(trace(network.module, feed(network, two(rows))).live))


def _calls(network: Network, module: str, rows: np.ndarray) -> Sequence[_Call]:
    """Run a network and keep the calls of a module. Raises BadInput where there are none, or of another kind."""
    part, calls = _find(network, module), list[_Call]()

    def hook(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        values = tuple(_kept(value) for value in (*given, *named.values()))
        calls.append(_Call(values, tuple(named), _kept(output)))

    handle = part.register_forward_hook(hook, with_kwargs=True)
    try:
        with torch.no_grad():
            network.module(feed(network, rows))
    finally:
        handle.remove()
    if not calls:
        raise BadInput(f"{network.name} does not use {module}", hint="name a module that it runs")
    if not all(call.pointwise for call in calls):
        raise BadInput(
            f"{network.name}: {module} does not take vectors and give one for each",
            hint="name a module that does, such as an MLP",
        )
    return calls


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def _flat(values: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, values.shape[-1])


class _Alone(nn.Module):
    """A module that takes all that it is given in one line."""

    def __init__(self, part: nn.Module, call: _Call) -> None:
        super().__init__()
        self.add_module(INSIDE, part)
        self.widths = [value.shape[-1] for value in call.tensors]
        self.given, self.names = call.given, call.names

    def forward(self, lines: torch.Tensor) -> torch.Tensor:
        """Cut lines into what the module takes, and run it."""
        pieces = iter(torch.tensor_split(lines, list(accumulate(self.widths))[:-1], dim=-1))
        values = [next(pieces) if isinstance(value, torch.Tensor) else value for value in self.given]
        named = len(values) - len(self.names)
        output: torch.Tensor = self.get_submodule(INSIDE)(
            *values[:named], **dict(zip(self.names, values[named:], strict=True))
        )
        return output


def _same(alone: nn.Module, lines: torch.Tensor, expected: torch.Tensor) -> bool:
    try:
        with torch.no_grad():
            found = alone(lines)
    except Exception:  # whatever a module raises for lines where it takes maps
        return False
    if found.shape != expected.shape:
        return False
    slack = CLOSE * (expected.abs() + expected.std(dim=0, correction=0))
    return bool(((found - expected).abs() <= slack).all())
