"""Stands in for juliacall in a process of its own: PySR's Python side runs for real, up to the call of Julia.

It answers nothing that Julia would find: the search itself raises NeedsJulia, and what was asked is kept in ASKED.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

ASKED: dict[str, Any] = {}


class NeedsJulia(Exception):
    """Here Julia would begin to work."""


class Thing:
    """Whatever Julia has, by how it was reached; it may be called, indexed and set."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, part: str) -> Any:
        if part.startswith("__"):
            raise AttributeError(part)
        return Thing(f"{self.name}.{part}")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        match self.name.rpartition(".")[2]:
            case "seval" | "Symbol":
                return Thing(arguments[0])
            case "include_string":
                return Thing(arguments[1])
            case "Options":
                ASKED["options"] = named
            case "_jl_call_nogil":
                ASKED["data"], ASKED["search"] = arguments, named
                raise NeedsJulia
            case "PyArray" | "copy":
                return arguments[0]
            case "NamedTuple":
                return {key.name: value for key, value in arguments[0].items()}
        return Thing(self.name)

    def __getitem__(self, key: Any) -> Thing:
        return self

    def __setitem__(self, key: int, value: Any) -> None:
        ASKED[f"{self.name} {key}"] = value

    def __repr__(self) -> str:
        return self.name


def stand_in() -> None:
    """Take the place of juliacall, which has not been imported."""
    module = ModuleType("juliacall")
    module.Main = Thing("Main")  # type: ignore[attr-defined]
    module.AnyValue = module.VectorValue = Thing  # type: ignore[attr-defined]
    module.JuliaError = RuntimeError  # type: ignore[attr-defined]
    module.convert = lambda kind, value: list(value)  # type: ignore[attr-defined]
    sys.modules["juliacall"] = module
