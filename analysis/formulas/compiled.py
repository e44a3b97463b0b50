"""Run one expression thousands of times with changing constants: least squares needs it fast.

The tree becomes a tape, a list of NumPy calls on numbered slots where equal steps are done once.
The Jacobian comes from a second pass over the tape in reverse, recorded when compiling, so its
cost does not grow with the number of constants. No source text is generated or evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadFormula
from .derivative import ARGUMENTS, partials
from .expression import FUNCTIONS, Constant, Expression, Variable
from .expression import constants as constants_of
from .expression import variables as variables_of

Step = tuple[Callable[..., Any], tuple[int, ...]]

LITERALS = tuple(
    sorted({value for function in FUNCTIONS for rule in partials(function) for value in constants_of(rule)})
)
"""Every number that a derivative rule mentions: the first slots of each tape."""
PLUS, MINUS = LITERALS.index(1.0), LITERALS.index(-1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Compiled:
    """An expression as a function of its constants and of X, whose columns are `variables`.

    `start` holds the constants as the expression has them, in the order of `constants`. Values
    outside a function's domain are NaN or infinite, without a warning.
    """

    expression: Expression
    variables: tuple[str, ...]
    start: Float[np.ndarray, " constants"]
    forward: tuple[Step, ...]
    backward: tuple[Step, ...]
    value: int
    gradient: tuple[int | None, ...]

    def __call__(
        self, theta: Float[np.ndarray, " constants"], X: Float[np.ndarray, "samples variables"]
    ) -> Float[np.ndarray, " samples"]:
        """Compute the values for every row of X."""
        slots = self._inputs(theta, X)
        with np.errstate(all="ignore"):
            _run(self.forward, slots)
        return np.array(np.broadcast_to(slots[self.value], (len(X),)))

    def values_and_jacobian(
        self, theta: Float[np.ndarray, " constants"], X: Float[np.ndarray, "samples variables"]
    ) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, "samples constants"]]:
        """Compute the values and their derivatives with respect to the constants.

        Where a value is finite but its derivative is not (the exponent of a negative base, a
        square root at 0), the derivative is given as 0.
        """
        slots = self._inputs(theta, X)
        jacobian = np.zeros((len(self.gradient), len(X)))
        with np.errstate(all="ignore"):
            _run(self.forward, slots)
            _run(self.backward, slots)
        values = np.array(np.broadcast_to(slots[self.value], (len(X),)))
        for row, slot in zip(jacobian, self.gradient, strict=True):
            if slot is not None:
                row[:] = slots[slot]
        if not np.isfinite(jacobian).all():
            jacobian[~np.isfinite(jacobian) & np.isfinite(values)] = 0.0
        return values, jacobian.T

    def _inputs(self, theta: Any, X: Any) -> list[Any]:
        parameters = np.asarray(theta, dtype=np.float64)
        columns = np.ascontiguousarray(np.asarray(X, dtype=np.float64).T)
        if len(parameters) != len(self.start) or len(columns) != len(self.variables):
            raise BadFormula(
                f"{len(self.start)} constants and {len(self.variables)} variables expected, "
                f"found {len(parameters)} and {len(columns)}",
                hint=f"the columns of X are {', '.join(self.variables)}",
            )
        return [*map(np.float64, LITERALS), *parameters, *columns]


def _run(steps: tuple[Step, ...], slots: list[Any]) -> None:
    for compute, places in steps:
        if len(places) == 2:
            slots.append(compute(slots[places[0]], slots[places[1]]))
        else:
            slots.append(compute(slots[places[0]]))


def compile_expression(expression: Expression, variables: tuple[str, ...]) -> Compiled:
    """Prepare an expression for repeated evaluation; `variables` name the columns of X in order.

    Raises BadFormula where the expression has a variable that X has not.
    """
    unknown = [name for name in variables_of(expression) if name not in variables]
    if unknown:
        raise BadFormula(f"no column for {', '.join(unknown)}", hint=f"X has: {', '.join(variables)}")
    start = np.array(constants_of(expression), dtype=np.float64)
    first = len(LITERALS) + len(start)
    tape = _Tape(first + len(variables))
    parameters = iter(range(len(LITERALS), first))
    value = tape.record(
        expression,
        lambda leaf: next(parameters) if isinstance(leaf, Constant) else first + variables.index(leaf.name),
    )
    forward = len(tape.steps)
    gradient = _reverse(tape, value, range(len(LITERALS), first))
    steps = tuple((FUNCTIONS[function].compute, places) for function, places in tape.steps)
    return Compiled(expression, variables, start, steps[:forward], steps[forward:], value, gradient)


class _Tape:
    """Steps recorded so far; the slot of step i is `inputs` + i."""

    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.steps: list[tuple[str, tuple[int, ...]]] = []
        self.known: dict[tuple[str, tuple[int, ...]], int] = {}

    def apply(self, function: str, *places: int) -> int:
        """Record one step, or find it where it was done before."""
        step = (function, places)
        if step not in self.known:
            self.known[step] = self.inputs + len(self.steps)
            self.steps.append(step)
        return self.known[step]

    def record(self, expression: Expression, leaf: Callable[[Constant | Variable], int]) -> int:
        """Record an expression whose leaves have slots already."""
        if isinstance(expression, Constant | Variable):
            return leaf(expression)
        return self.apply(expression.function, *[self.record(argument, leaf) for argument in expression.arguments])


def _reverse(tape: _Tape, value: int, parameters: Iterable[int]) -> tuple[int | None, ...]:
    """Record the reverse pass; give the slot of the derivative with respect to each parameter."""
    depends = set(parameters)
    forward = list(enumerate(tape.steps, start=tape.inputs))
    for slot, (_, places) in forward:
        if not depends.isdisjoint(places):
            depends.add(slot)
    adjoint = {value: PLUS}
    for slot, (function, places) in reversed(forward):
        if slot not in adjoint:
            continue
        for place, rule in zip(places, partials(function), strict=True):
            if place in depends:
                change = _chain(tape, adjoint[slot], rule, places)
                adjoint[place] = tape.apply("add", adjoint[place], change) if place in adjoint else change
    return tuple(adjoint.get(parameter) for parameter in parameters)


def _chain(tape: _Tape, outer: int, rule: Expression, places: tuple[int, ...]) -> int:
    if rule == Constant(1.0):
        return outer
    if rule == Constant(-1.0):
        return tape.apply("neg", outer)
    inner = tape.record(
        rule,
        lambda leaf: LITERALS.index(leaf.value) if isinstance(leaf, Constant) else places[ARGUMENTS.index(leaf.name)],
    )
    return inner if outer == PLUS else tape.apply("mul", outer, inner)
