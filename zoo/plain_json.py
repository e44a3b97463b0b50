"""Read JSON that a stranger wrote: bounded in size and depth, without a key that stands twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .errors import Refused
from .store import open_regular

DEEPEST = 64
_HINT = "get the file again"


def read_json(path: Path, name: str, *, largest: int) -> Any:
    """Read a JSON file that lies beside a checkpoint; `name` is what to call it.

    Raises Refused (bomb, nesting, damaged, and what `open_regular` raises).
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise too_large(name, size, largest)
        return parse_json(file.read(largest + 1), name)


def too_large(name: str, size: int, largest: int) -> Refused:
    """Word the refusal of a description that is far larger than any that is needed."""
    return Refused("bomb", f"has a {name} of {size:,} bytes where at most {largest:,} are plausible", hint=_HINT)


def parse_json(text: bytes, name: str) -> Any:
    """Read JSON; `name` is what to call it. Raises Refused (nesting, damaged)."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=lambda pairs: _unique(pairs, name))
    except RecursionError:
        raise _nested(name) from None
    except ValueError:
        raise _broken(name, "it is not JSON") from None
    _check_depth(value, name)
    return value


def _unique(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _broken(name, "it has the same key twice")
    return found


def _check_depth(value: object, name: str) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [part for item in level for part in _parts(item) if isinstance(part, dict | list)]
        if not level:
            return
    raise _nested(name)


def _parts(item: object) -> list[object]:
    return list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []


def _nested(name: str) -> Refused:
    return Refused("nesting", f"has a {name} that nests deeper than {DEEPEST} levels", hint=_HINT)


def _broken(name: str, why: str) -> Refused:
    return Refused("damaged", f"has a broken {name}: {why}", hint=_HINT)
