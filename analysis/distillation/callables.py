"""Functions as people bring them: PyTorch modules, functions of NumPy rows, fitted regressors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from .target import Rows

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 4096
"""Rows that a module is asked at once."""

Slopes = Callable[[Rows], Float[np.ndarray, "samples inputs"]]


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """One function of rows with one value for each; `slopes` are its gradients, where it has any."""

    name: str
    values: Callable[[Rows], Float[np.ndarray, " samples"]]
    slopes: Slopes | None


def voices(functions: Any, *, output: int | None, names: Sequence[str], rows: Rows) -> tuple[Voice, ...]:
    """Take one function, several, or several by name, and ask each for a few rows to see that it answers.

    `names` are those of the inputs. Raises BadInput for what cannot be asked, or gives other than one number
    for each row.
    """
    return tuple(_voice(one, name, output, names, rows[:2]) for name, one in named(functions))


def named(functions: Any) -> list[tuple[str, Any]]:
    """List one function or several, and what each is called in messages. Raises BadInput for none."""
    if isinstance(functions, Mapping):
        found = [(f"function {name!r}", one) for name, one in functions.items()]
    elif isinstance(functions, list | tuple) or type(functions).__name__ == "ModuleList":
        found = [(f"function {number}", one) for number, one in enumerate(functions, 1)]
    else:
        found = [("the function", functions)]
    if not found:
        raise BadInput("no functions", hint="give one or more functions of the inputs")
    return found


def _voice(function: Any, name: str, output: int | None, names: Sequence[str], rows: Rows) -> Voice:
    if is_module(function):
        values, slopes = (
            partial(_module_values, function, name, output),
            partial(_module_slopes, function, name, output),
        )
        values(rows)
        return Voice(name, values, slopes if _differentiable(slopes, rows) else None)
    call = _call(function, names)
    if call is None:
        raise BadInput(
            f"{name} is no function but {type(function).__name__}",
            hint="give PyTorch modules, functions of rows or fitted regressors; or an array, functions x samples",
        )
    values = partial(_plain_values, call, name, output)
    values(rows)
    return Voice(name, values, None)


def is_module(function: Any) -> bool:
    """Tell whether it is a PyTorch module, without importing PyTorch for those who do not use it."""
    return "torch" in sys.modules and isinstance(function, sys.modules["torch"].nn.Module)


def _call(function: Any, names: Sequence[str]) -> Callable[[Rows], Any] | None:
    """Find what to call; a regressor that was fitted to named columns gets them by name."""
    predict = getattr(function, "predict", None)
    if not callable(predict):
        return function if callable(function) else None
    if list(getattr(function, "feature_names_in_", [])) != list(names):
        return predict  # type: ignore[no-any-return]
    frame = import_module("pandas").DataFrame
    return lambda rows: predict(frame(rows, columns=list(names)))


def _plain_values(
    call: Callable[[Rows], Any], name: str, output: int | None, rows: Rows
) -> Float[np.ndarray, " samples"]:
    try:
        found = call(rows)
    except Exception as error:
        raise BadInput(
            f"{name} fails on an array of shape {rows.shape}: {str(error) or type(error).__name__}",
            hint=f"a function takes an array, samples x variables, and gives one value for each row; {_given(rows)}",
        ) from error
    return one_for_each(numbers(found, name), name, output, len(rows))


def _given(rows: Any) -> str:
    return f"inputs have {rows.shape[1]}, a range or column each"


def numbers(values: Any, name: str) -> Float[np.ndarray, "*shape"]:
    """Make an array of float64 of arrays, tensors, frames and lists. Raises BadInput for what holds no numbers."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        found = np.asarray(values)
        if np.iscomplexobj(found):
            raise TypeError("complex numbers")
        return found.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{name} gives no array of real numbers: {error}", hint="give real numbers only") from None


def one_for_each(
    found: Float[np.ndarray, "*shape"], name: str, output: int | None, samples: int
) -> Float[np.ndarray, " samples"]:
    """Take one output for each row. Raises BadInput for another shape, and for several outputs with none named."""
    if found.ndim < 1 or len(found) != samples:
        raise BadInput(
            f"{name} gives shape {found.shape} for {samples} rows",
            hint="a function takes an array, samples x variables, and gives one value for each row",
        )
    columns = found.reshape(samples, -1)
    many = columns.shape[1]
    if output is None and many != 1:
        raise BadInput(f"{name} gives {many} values for each row", hint="say which with output=0, 1, …")
    if not -many <= (output or 0) < many:
        raise BadInput(f"{name} has no output {output}", hint=f"its outputs are 0 to {many - 1}")
    return columns[:, output or 0]


# PyTorch: in the module's own precision and on its own device, as at inference


def _module_values(module: nn.Module, name: str, output: int | None, rows: Rows) -> Float[np.ndarray, " samples"]:
    import torch

    with torch.no_grad(), _evaluating(module):
        parts = [_answer(module, name, output, batch).double().cpu().numpy() for batch in _batches(module, rows)]
    return np.concatenate(parts)


def _module_slopes(module: nn.Module, name: str, output: int | None, rows: Rows) -> Float[np.ndarray, "samples inputs"]:
    import torch

    parts = []
    with torch.enable_grad(), _evaluating(module):
        for batch in _batches(module, rows):
            answer = _answer(module, name, output, batch.requires_grad_())
            (slope,) = torch.autograd.grad(answer.sum(), batch)
            parts.append(slope.double().cpu().numpy())
    return np.concatenate(parts)


def _differentiable(slopes: Slopes, rows: Rows) -> bool:
    try:
        slopes(rows)
    except RuntimeError:
        return False
    return True


def _batches(module: nn.Module, rows: Rows) -> Iterator[torch.Tensor]:
    import torch

    own = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros((), dtype=torch.float64))
    for start in range(0, len(rows), BATCH):
        yield torch.tensor(rows[start : start + BATCH], dtype=own.dtype, device=own.device)


def _answer(module: nn.Module, name: str, output: int | None, batch: torch.Tensor) -> torch.Tensor:
    try:
        found = module(batch)
    except Exception as error:
        raise BadInput(
            f"{name} fails on a tensor of shape {tuple(batch.shape)}: {str(error) or type(error).__name__}",
            hint=f"a module takes a tensor, samples x variables; {_given(batch)}; wrap what takes something else",
        ) from error
    found = found[0] if isinstance(found, tuple | list) else found
    if not hasattr(found, "detach"):
        raise BadInput(f"{name} gives {type(found).__name__}, no tensor", hint="wrap it in a function that gives one")
    one_for_each(np.broadcast_to(0.0, tuple(found.shape)), name, output, len(batch))
    return found.reshape(len(batch), -1)[:, output or 0]  # type: ignore[no-any-return]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off, and afterwards on again where it was on."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
