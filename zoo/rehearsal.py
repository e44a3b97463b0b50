"""Go through a pickle without running anything that it names, to know what reading it would do.

torch's own safe reader runs no foreign code, but allocates what a file tells it to. Here the same opcodes
move inert tokens about: a file passes only if every call in it rebuilds a plain tensor from bytes that the
file really holds.
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

MOST_OPCODES = 5_000_000
DEEPEST = 32
LATEST_PROTOCOL = 3

ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
_CALLS = {
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
}
_DTYPES = {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"}
_NAMES = _CALLS | {f"torch.{name}" for name in (*ITEM_BYTES, *_DTYPES)}
_SAVE_AGAIN = "save the state dict again, best as safetensors"
_ODD_TENSORS = ("sparse", "qtensor", "meta_tensor", "nested_tensor", "wrapper_subclass", "device_tensor")


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that a pickle refers to: their name in the file, and how many."""

    key: str
    count: int
    item_bytes: int


@dataclass(frozen=True, slots=True)
class _Name:
    path: str


@dataclass(frozen=True, slots=True)
class _View:
    storage: Storage


@dataclass(slots=True)
class Rehearsal:
    """What a pickle leaves: a value of inert tokens, the storages it needs, the bytes that its views show."""

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
    dtype, keys, nesting, protocol, bomb, truncated, damaged.
    """
    machine, protocol = _Machine(Rehearsal()), 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in odd text
            for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if count > MOST_OPCODES:
                    raise Refused("bomb", "is a pickle of millions of steps", hint=_SAVE_AGAIN)
                _step(machine, opcode.name, argument)
                if opcode.name == "PROTO":
                    protocol = argument or 0
        (machine.rehearsal.value,) = machine.stack
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        short = re.search("exhausted|not enough data|no newline|only .* remain", str(error))
        code, what = ("truncated", "cut short") if short else ("damaged", "not a state dict")
        raise Refused(code, f"holds a pickle that is {what}", hint=_SAVE_AGAIN) from None
    _check_depth(machine.rehearsal.value)
    if protocol > LATEST_PROTOCOL:
        raise Refused(
            "protocol",
            f"is pickled by protocol {protocol}, torch's safe reader knows {LATEST_PROTOCOL}",
            hint="save it again without pickle_protocol, or as safetensors",
        )
    return machine.rehearsal


def _step(machine: _Machine, name: str, argument: object) -> None:
    if name in _VALUES:
        machine.stack.append(argument)
    elif name in _OPCODES:
        _OPCODES[name](machine, argument)
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
        # Checked before hashing: hashing a deeply nested key overflows the C stack.
        if not isinstance(key, str | int | float | None):
            raise Refused("keys", "has keys that are neither text nor numbers", hint=_SAVE_AGAIN)
        target[key] = value


def _name(machine: _Machine, path: str) -> None:
    if path in _NAMES:
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
    item_bytes = ITEM_BYTES[dtype.path.removeprefix("torch.")]
    storage = Storage(str(key), _natural(count), item_bytes)
    if machine.rehearsal.storages.setdefault(storage.key, storage) != storage:
        raise ValueError
    machine.stack.append(storage)


def _call(machine: _Machine, _: object) -> None:
    arguments, function = _sequence(machine.stack.pop()), machine.stack.pop()
    if not isinstance(function, _Name) or function.path not in _CALLS:
        raise TypeError
    if function.path == "collections.OrderedDict":
        if arguments:
            raise TypeError
        machine.stack.append({})
    elif function.path == "torch._utils._rebuild_parameter":
        if not isinstance(arguments[0], _View):
            raise TypeError
        machine.stack.append(arguments[0])
    elif function.path.startswith("torch._utils."):
        machine.stack.append(_view(machine.rehearsal, *arguments[:4]))
    else:
        machine.stack.append(arguments)


def _view(rehearsal: Rehearsal, storage: object, offset: object, shape: object, stride: object) -> _View:
    if not isinstance(storage, Storage):
        raise TypeError
    lengths, steps = [_natural(n) for n in _sequence(shape)], [_natural(n) for n in _sequence(stride)]
    last = _natural(offset) + sum((n - 1) * step for n, step in zip(lengths, steps, strict=True))
    count = prod(lengths)
    repeats = any(n > 1 and step == 0 for n, step in zip(lengths, steps, strict=True))
    if count and (repeats or count > storage.count or last >= storage.count):
        raise Refused(
            "view",
            f"holds a tensor that shows {count:,} numbers of {storage.count:,} stored ones",
            hint="save tensor.clone() instead of a view or an expanded tensor",
        )
    rehearsal.shown_bytes += count * storage.item_bytes
    return _View(storage)


def _build(machine: _Machine, _: object) -> None:
    machine.stack.pop()
    if not isinstance(machine.stack[-1], dict):
        raise TypeError


def _natural(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


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
) | {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE8"}
_OPCODES: dict[str, Callable[[_Machine, object], None]] = {
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "EMPTY_DICT": _constant(dict),
    "EMPTY_LIST": _constant(list),
    "EMPTY_TUPLE": _constant(tuple),
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
    "SETITEM": lambda machine, _: _set(machine, [machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: _set(machine, _since_mark(machine)),
    "GLOBAL": lambda machine, argument: _name(machine, str(argument).replace(" ", ".", 1)),
    "STACK_GLOBAL": _stack_name,
    "BINPERSID": _storage,
    "REDUCE": _call,
    "BUILD": _build,
}
