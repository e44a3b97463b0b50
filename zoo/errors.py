"""What can go wrong, as situations that a caller can act on.

ConsilienceError                what happened, where, and the remedy
├── BadInput                    exit 2: nothing can go on until the user changes something
│   ├── BadManifest             zoo.toml: file, key, found, expected
│   ├── BadProbe                rows or variables that cannot be presented
│   ├── BadFormula              text that is not one of our expressions
│   └── MissingExtra            an engine or package that is not installed here
├── Refused                     one checkpoint set aside; the batch goes on, exit 3
├── NotFound                    exit 4: no such network, feature or equation
├── CatalogueLocked             exit 5: another process writes
└── CatalogueUnusable           the index is newer than the program, or broken
"""

from __future__ import annotations


class ConsilienceError(Exception):
    """What happened in one line, and what to do about it."""

    exit_code = 2

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class BadInput(ConsilienceError):
    """Nothing can go on until the user changes something."""


class BadManifest(BadInput):
    """A zoo.toml that does not say what it must."""


class BadProbe(BadInput):
    """Rows or variables that cannot be presented to the networks."""


class BadFormula(BadInput):
    """Text that is not an expression of named variables, numbers and known functions."""


class MissingExtra(BadInput):
    """A package that this job needs is not installed, or cannot be had on this platform."""


class Refused(ConsilienceError):
    """One checkpoint is set aside: a short machine-readable code, the reason, the remedy."""

    exit_code = 3

    def __init__(self, code: str, reason: str, *, hint: str = "") -> None:
        super().__init__(one_line(reason), hint=one_line(hint))
        self.code = code


class NotFound(ConsilienceError):
    """The catalogue holds nothing by that name."""

    exit_code = 4


class CatalogueLocked(ConsilienceError):
    """Another process is writing this catalogue."""

    exit_code = 5


class CatalogueUnusable(ConsilienceError):
    """The catalogue was written by a newer program, or is damaged."""


def one_line(text: str) -> str:
    """Show what strangers named things by: nothing in it moves a cursor or begins a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
