"""Build modules of libraries without filling them, then give them the numbers of a checkpoint.

So weights are never held twice, nothing is drawn at random, and what a description asks for is counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.modules import module as registration
from torch.overrides import TorchFunctionMode

from .chain import tensor
from .errors import Refused

Made = TypeVar("Made")

SLACK_TENSORS = 256
SLACK_NUMBERS = 1 << 26
TIMES = 4
"""How many times as many tensors and numbers as the checkpoint has a module may have."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many parameters and buffers a module may have, and how many numbers in them."""

    tensors: int
    numbers: int


def allowance(shapes: Mapping[str, tuple[int, ...]]) -> Allowance:
    """Allow a module a few times what its checkpoint holds: tied weights and tables of positions are not in it."""
    numbers = sum(int(np.prod(shape, dtype=np.float64)) for shape in shapes.values())
    return Allowance(TIMES * len(shapes) + SLACK_TENSORS, TIMES * numbers + SLACK_NUMBERS)


@contextmanager
def counted(allowed: Allowance) -> Iterator[None]:
    """Count parameters and buffers as modules get them. Raises Refused (config) past what is allowed."""
    tensors = numbers = 0

    def count(_module: nn.Module, _name: str, part: torch.Tensor | None) -> None:
        nonlocal tensors, numbers
        if part is not None:
            tensors, numbers = tensors + 1, numbers + part.numel()
        if tensors > allowed.tensors or numbers > allowed.numbers:
            raise Refused(
                "config",
                "asks for far more weights than it holds",
                hint="get the file and its config.json again, or correct options in zoo.toml",
            )

    with ExitStack() as stack:
        for register in (
            registration.register_module_parameter_registration_hook,
            registration.register_module_buffer_registration_hook,
        ):
            stack.callback(register(count).remove)
        yield


class Unfilled(TorchFunctionMode):
    """Leave parameters as they come from the allocator: memory that is never written to costs nothing.

    Libraries fill new parameters at random and in place, which takes most of the time of building a module.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Skip a function that changes a parameter in place."""
        name = str(getattr(function, "__name__", ""))
        target = next(iter((*args, *(kwargs or {}).values())), None)
        if name.endswith("_") and not name.endswith("__") and isinstance(target, nn.Parameter):
            return target
        return function(*args, **(kwargs or {}))


def fill(module: nn.Module, tensors: Mapping[str, np.ndarray], *, name: str) -> nn.Module:
    """Give a module the numbers of a checkpoint in place of its own, read one after the other.

    What the checkpoint does not have are counters, which stay. Half precision becomes single. Raises Refused
    (dtype) for whole numbers where weights are wanted.
    """
    own = module.state_dict()
    state = {key: value for key, value in own.items() if key not in tensors}
    for key, array in tensors.items():
        if own[key].is_floating_point() and array.dtype.kind != "f":
            raise Refused(
                "dtype",
                f"has {array.dtype} in {key[:80]}, where {name} takes weights",
                hint="get the checkpoint before it was quantised",
            )
        state[key] = tensor(array) if own[key].is_floating_point() else tensor(array).to(own[key].dtype)
    module.load_state_dict(state, assign=True)
    double = any(part.dtype == torch.float64 for part in state.values())
    return module.double() if double else module


def shown(module: nn.Module, input_shape: tuple[int, ...]) -> nn.Module:
    """Note at a module what shape of a sample it takes."""
    module.__dict__["input_shape"] = input_shape
    return module


def imported(package: str) -> Any:
    """Import the library that knows an architecture. Raises Refused (missing-package).

    It may be there and still fail: torchvision does beside a torch that it was not built for.
    """
    try:
        with quiet():
            return import_module(package)
    except ModuleNotFoundError as error:
        raise not_installed((error.name or package).partition(".")[0], package) from None
    except Exception as error:
        what = f"needs the package {package.partition('.')[0]}, which cannot be imported here: {_reason(error)}"
        raise Refused("missing-package", what, hint=_extra(package)) from None


def not_installed(missing: str, package: str) -> Refused:
    """Word the refusal of what needs a package that is missing, for an architecture of a library."""
    return Refused("missing-package", f"needs the package {missing}, which is not installed", hint=_extra(package))


def _extra(package: str) -> str:
    return f"pip install 'consilience[{package.partition('.')[0]}]'"


def attempted(make: Callable[[], Made], *, name: str, code: str, hint: str) -> Made:
    """Call a library, and word what it raises as a refusal with this code; it may not warn."""
    try:
        with quiet():
            return make()
    except Refused:
        raise
    except Exception as error:
        raise Refused(code, f"cannot be built as {name}: {_reason(error)}", hint=hint) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings of libraries from the user: they are about other ways to call them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
