"""Write the weights of a network that runs back under the names of the checkpoint it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from torch import Tensor

from .checkpoint import Checkpoint
from .errors import Refused
from .store import write_atomically

State = Mapping[str, Tensor]
TURNS = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}
"""How Keras lays out what torch calls (outputs, inputs, ...): the axes to take, by their number."""


def rewritten(checkpoint: Checkpoint, before: State, after: State) -> dict[str, np.ndarray]:
    """Put changed weights of a module in the place of the same weights of its checkpoint.

    Which tensor of the checkpoint became which of the module is told by its numbers, as they are or turned, and
    where several hold the same by their names. Dtypes are the checkpoint's; what the module does not hold stays.
    Raises Refused (not-written) where a weight has changed that the checkpoint does not hold as such.
    """
    sources = _by_content(before)
    found, taken, written = dict[str, np.ndarray](), set[str](), set[str]()
    for name, array in checkpoint.tensors.items():
        found[name] = array
        for digest, back in _readings(array):
            if digest in sources:
                source = _nearest(name, [one for one in sources[digest] if one not in taken] or sources[digest])
                taken.add(source)
                written.add(_digest(_numbers(after[source])))
                found[name] = back(_numbers(after[source])).astype(array.dtype)
                break
    changed = [name for name in before if not bool((before[name] == after[name]).all())]
    lost = [name for name in changed if _digest(_numbers(after[name])) not in written]
    if lost:
        what = f"makes its weights out of what the file holds: {lost[0]} is not there as it runs"
        raise Refused("not-written", what, hint="consilience.zoo.permute gives the module itself in Python")
    return found


def save_safetensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors; equal tensors and metadata give equal bytes.

    The library leaves the order of the metadata to chance, so the header is written anew, in order.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, metadata=dict(metadata))
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned to 8 bytes
    with write_atomically(path) as temporary:
        temporary.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])


def as_arrays(state: State) -> dict[str, np.ndarray]:
    """Give the tensors of a module as arrays, under its own names."""
    return {name: _numbers(tensor) for name, tensor in state.items()}


def _by_content(state: State) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, tensor in state.items():
        found.setdefault(_digest(_numbers(tensor)), []).append(name)
    return found


def _readings(array: np.ndarray) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """Give the digest of a tensor as it is, then turned, each with the way back."""
    yield _digest(array), lambda given: given
    if (turn := TURNS.get(array.ndim)) is not None:
        back = tuple(int(axis) for axis in np.argsort(turn))
        yield _digest(array.transpose(turn)), lambda given: given.transpose(back)


def _digest(array: np.ndarray) -> str:
    plain = np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64)
    return hashlib.sha256(repr(array.shape).encode() + plain.tobytes()).hexdigest()


def _nearest(name: str, candidates: Sequence[str]) -> str:
    """Choose the name that ends most like another."""
    return max(candidates, key=lambda one: len(list(takewhile(lambda pair: pair[0] == pair[1], _ends(one, name)))))


def _ends(one: str, other: str) -> Iterator[tuple[str, str]]:
    return zip(reversed(one), reversed(other), strict=False)


def _numbers(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())
