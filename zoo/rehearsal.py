"""Go through a pickle without running anything that it names, to know what it says.

Its opcodes move inert tokens about: a file passes only if every call in it rebuilds a plain tensor from bytes
that the file really holds, or is one of a few that training leaves beside the weights (a numpy number, a
namespace of arguments), which stay unread. No unpickler ever runs, torch's own included.
"""

from __future__ import annotations

import pickletools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from typing import IO

from .errors import Refused
from .foreign import refuse_code
from .pickled_names import CALLS, DICTS, NAMES, PARAMETERS, STORAGES, TENSORS, UNREAD
from .weights import KINDS, MOST_AXES, is_shape

MOST_OPCODES = 2_000_000
DEEPEST = 32

_SAVE_AGAIN = "save the state dict again, best as safetensors"
_ODD_TENSORS = ("sparse", "qtensor", "meta_tensor", "nested_tensor", "wrapper_subclass", "device_tensor")


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that a pickle refers to: their name in the file, how many, and their kind (see `weights.KINDS`)."""

    key: str
    count: int
    kind: str

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return self.count * KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: where in which storage its entries stand, counted in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Name:
    path: str


@dataclass(frozen=True, slots=True)
class _Blank:
    """What something would be that is not read."""


_NAMESPACE = _Name("argparse.Namespace")


@dataclass(slots=True)
class Rehearsal:
    """What a pickle leaves: a value of inert tokens, the storages it needs, the bytes that reading its views takes."""

    value: object = None
    storages: dict[str, Storage] = field(default_factory=dict)
    shown_bytes: int = 0


@dataclass(slots=True)
class _Machine:
    rehearsal: Rehearsal
    stack: list[object] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)


def rehearse(file: IO[bytes] | BytesIO) -> Rehearsal:
    """Go through one pickle, leaving the file after it.

    Raises Refused: pickle-code (it names code), view (a tensor that shows more than is stored), layout,
    dtype, keys, nesting, bomb, truncated, damaged.
    """
    machine = _Machine(Rehearsal())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in odd text
            for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if count > MOST_OPCODES:
                    raise Refused("bomb", "is a pickle of millions of steps", hint=_SAVE_AGAIN)
                _step(machine, opcode.name, argument)
        (machine.rehearsal.value,) = machine.stack
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        short = re.search("exhausted|not enough data|no newline|only .* remain", str(error))
        code, what = ("truncated", "cut short") if short else ("damaged", "not a state dict")
        raise Refused(code, f"holds a pickle that is {what}", hint=_SAVE_AGAIN) from None
    _check_depth(machine.rehearsal.value)
    return machine.rehearsal


def _step(machine: _Machine, name: str, argument: object) -> None:
    if name in _VALUES:
        machine.stack.append(argument)
    elif name in _OPCODES:
        _OPCODES[name](machine, argument)
    elif name == "NEWOBJ" and machine.stack[-2:-1] == [_NAMESPACE]:
        machine.stack[-2:] = [_Blank()]
    elif name in ("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"):
        raise refuse_code(str(argument or "a class").replace(" ", ".", 1))
    elif name not in ("PROTO", "FRAME", "STOP"):
        raise ValueError(name)


def _constant(make: Callable[[], object]) -> Callable[[_Machine, object], None]:
    return lambda machine, _: machine.stack.append(make())


def _mark(machine: _Machine, _: object) -> None:
    machine.marks.append(len(machine.stack))


def _since_mark(machine: _Machine) -> list[object]:
    start = machine.marks.pop()
    items = machine.stack[start:]
    del machine.stack[start:]
    return items


def _tuple(count: int) -> Callable[[_Machine, object], None]:
    def step(machine: _Machine, _: object) -> None:
        items = machine.stack[-count:]
        del machine.stack[-count:]
        machine.stack.append(tuple(items))

    return step


def _put(machine: _Machine, argument: object) -> None:
    machine.memo[len(machine.memo) if argument is None else _natural(argument)] = machine.stack[-1]


def _get(machine: _Machine, argument: object) -> None:
    machine.stack.append(machine.memo[_natural(argument)])


def _append(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, list):
        raise TypeError
    target.extend(items)


def _set(machine: _Machine, items: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, dict) or len(items) % 2:
        raise TypeError
    for key, value in zip(items[::2], items[1::2], strict=True):
        # Checked before hashing: a deeply nested key overflows the C stack, huge numbers may all have one hash.
        if not isinstance(key, str | int | float | None) or (isinstance(key, int | float) and not abs(key) < 2**53):
            raise Refused("keys", "has keys that are neither text nor plain numbers", hint=_SAVE_AGAIN)
        target[key] = value


def _name(machine: _Machine, path: str) -> None:
    if path in NAMES:
        machine.stack.append(_Name(path))
    elif path.startswith("torch.") and any(kind in path for kind in _ODD_TENSORS):
        raise Refused("layout", f"holds a tensor that is not plain ({path})", hint="save dense CPU tensors")
    elif path == "torch._utils._rebuild_tensor_v3" or re.fullmatch(r"torch\..*Storage", path):
        raise Refused("dtype", f"holds numbers of an unknown kind ({path[:60]})", hint="save them as float32")
    else:
        raise refuse_code(path)


def _stack_name(machine: _Machine, _: object) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    _name(machine, f"{module}.{name}")


def _storage(machine: _Machine, _: object) -> None:
    kind, dtype, key, _location, count, *view = _sequence(machine.stack.pop())
    if kind != "storage" or not isinstance(dtype, _Name) or any(part is not None for part in view):
        raise ValueError
    storage = Storage(str(key), _natural(count), STORAGES[dtype.path.removeprefix("torch.")])
    if machine.rehearsal.storages.setdefault(storage.key, storage) != storage:
        raise ValueError
    machine.stack.append(storage)


def _call(machine: _Machine, _: object) -> None:
    arguments, function = _sequence(machine.stack.pop()), machine.stack.pop()
    if not isinstance(function, _Name) or function.path not in CALLS | UNREAD:
        raise TypeError
    if function.path in UNREAD:
        machine.stack.append(_Blank())
    elif function.path in DICTS:
        if not all(isinstance(argument, _Name) for argument in arguments):
            raise TypeError
        machine.stack.append({})
    elif function.path in PARAMETERS:
        if not isinstance(arguments[0], View):
            raise TypeError
        machine.stack.append(arguments[0])
    elif function.path in TENSORS:
        machine.stack.append(_view(machine.rehearsal, *arguments[:4]))
    else:
        machine.stack.append(arguments)


def _view(rehearsal: Rehearsal, storage: object, offset: object, shape: object, stride: object) -> View:
    if not isinstance(storage, Storage):
        raise TypeError
    lengths, steps = _naturals(shape), _naturals(stride)
    if not is_shape(lengths):
        raise ValueError
    first, count = _natural(offset), prod(lengths)
    span = 1 + sum((n - 1) * step for n, step in zip(lengths, steps, strict=True)) if count else 0
    repeats = any(n > 1 and step == 0 for n, step in zip(lengths, steps, strict=True))
    if count and (repeats or count > storage.count or first + span > storage.count):
        raise Refused(
            "view",
            f"holds a tensor that shows {_said(count)} numbers of {_said(storage.count)} stored ones",
            hint="save tensor.clone() instead of a view or an expanded tensor",
        )
    rehearsal.shown_bytes += max(count, span) * KINDS[storage.kind]
    return View(storage, first, lengths, steps)


def _said(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "far too many"


def _build(machine: _Machine, _: object) -> None:
    machine.stack.pop()
    if not isinstance(machine.stack[-1], dict | _Blank):
        raise TypeError


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**62:
        raise ValueError
    return value


def _naturals(value: object) -> tuple[int, ...]:
    numbers = _sequence(value)
    if len(numbers) > MOST_AXES:
        raise ValueError
    return tuple(_natural(number) for number in numbers)


def _sequence(value: object) -> tuple[object, ...]:
    if not isinstance(value, tuple):
        raise TypeError
    return value


def _check_depth(value: object) -> None:
    """Walk breadth first over distinct containers, so that shared and cyclic ones cost nothing."""
    level, seen = [value], {id(value)}
    for _ in range(DEEPEST):
        inner: list[object] = []
        for item in level:
            parts = item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
            fresh = [part for part in parts if isinstance(part, dict | list | tuple) and id(part) not in seen]
            seen.update(map(id, fresh))
            inner += fresh
        if not inner:
            return
        level = inner
    raise Refused("nesting", f"nests deeper than {DEEPEST} levels", hint=_SAVE_AGAIN)


_VALUES = frozenset(
    f"{length}{kind}" for length in ("", "SHORT_") for kind in ("BINUNICODE", "BINBYTES", "BINSTRING")
) | {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE8", "BINBYTES8"}
_OPCODES: dict[str, Callable[[_Machine, object], None]] = {
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
    "EMPTY_SET": _constant(list),
    "MARK": _mark,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(_since_mark(machine))),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": _put,
    "BINGET": _get,
    "LONG_BINGET": _get,
    "APPEND": lambda machine, _: _append(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _append(machine, _since_mark(machine)),
    "ADDITEMS": lambda machine, _: _append(machine, _since_mark(machine)),
    "SETITEM": lambda machine, _: _set(machine, [machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: _set(machine, _since_mark(machine)),
    "GLOBAL": lambda machine, argument: _name(machine, str(argument).replace(" ", ".", 1)),
    "STACK_GLOBAL": _stack_name,
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": _build,
}
