"""Write a zoo.toml that says what a manifest says."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .manifest import Manifest, check_manifest
from .sketch import quoted
from .store import write_atomically


def write_manifest(manifest: Manifest, path: Path, *, about: str) -> None:
    """Write a manifest as TOML below a comment, leaving out what is as it would be without being said."""
    said = manifest.model_dump(mode="python", exclude_defaults=True)
    lines = [f"# {about}", *_lines({key: value for key, value in said.items() if not _is_table(value)})]
    for key, value in said.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{key}]", *_lines(value)]
        elif _is_table(value):
            lines += [line for part in value for line in ("", f"[[{key}]]", *_lines(part))]
    text = "\n".join(lines) + "\n"
    assert check_manifest(tomllib.loads(text), path=path) == manifest
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _is_table(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    return isinstance(value, Mapping) or listed


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else quoted(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_value(held)}" for key, held in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
