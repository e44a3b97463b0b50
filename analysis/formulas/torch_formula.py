"""An expression as a PyTorch module, to stand in a network and be trained with it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .expression import Apply, Constant, Expression, Variable, constants, with_constants
from .fit import free
from .formula import apply, as_array, bind, order, signature
from .printing import to_text


class TorchFormula(nn.Module):
    """An expression whose free numbers c1, c2 … are parameters; simple ones (2, 1/2, pi) are structure and stay.

    Takes tensors in the order of `arguments`, or by name; they broadcast. Parameters are float64 scalars, which
    leave the precision to the tensors. Raises BadFormula where a variable is no argument.
    """

    def __init__(self, expression: Expression, arguments: Sequence[str] | None = None) -> None:
        super().__init__()
        self.arguments = order(expression, arguments)
        self._start = expression
        self._names = _parameters(expression, self.arguments)
        self.skeleton = _with_names(expression, self._names)
        for place, name in self._names.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(constants(expression)[place], dtype=torch.float64)))

    @property
    def __signature__(self) -> inspect.Signature:
        return signature(self.arguments)

    @property
    def expression(self) -> Expression:
        """The expression with the numbers that the parameters have now."""
        numbers = list(constants(self._start))
        for place, name in self._names.items():
            numbers[place] = float(self.get_parameter(name).detach())
        return with_constants(self._start, numbers)

    def forward(self, *values: Any, **named: Any) -> Tensor:
        """Compute the values; raises TypeError for arguments that do not fit, as every function does."""
        given = bind(self.arguments, values, named)
        columns = {name: torch.as_tensor(value) * 1.0 for name, value in given.items()}
        shape = torch.broadcast_shapes(*(column.shape for column in columns.values()))  # type: ignore[no-untyped-call]
        result = apply(self.skeleton, torch, {**columns, **dict(self.named_parameters())})
        return torch.broadcast_to(as_array(result, torch, columns), shape)

    def extra_repr(self) -> str:
        """Show the formula where PyTorch prints its modules."""
        return to_text(self.skeleton)


def _parameters(expression: Expression, taken: Sequence[str]) -> dict[int, str]:
    """Name the free numbers, by their place among the constants; pi is one that is not free."""
    values = constants(expression)
    places = [place for place in free(expression) if abs(values[place]) != math.pi]
    names = [name for k in range(1, len(places) + len(taken) + 1) if (name := f"c{k}") not in taken]
    return dict(zip(places, names, strict=False))


def _with_names(expression: Expression, names: Mapping[int, str]) -> Expression:
    """Put variables of these names in the places of the constants that they stand for."""
    places = iter(range(len(constants(expression))))

    def named(node: Expression) -> Expression:
        if isinstance(node, Constant):
            place = next(places)
            return Variable(names[place]) if place in names else node
        if isinstance(node, Apply):
            return Apply(node.function, tuple(named(argument) for argument in node.arguments))
        return node

    return named(expression)
