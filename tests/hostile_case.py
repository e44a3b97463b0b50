"""What a file of the hostile corpus is: where it lies, what is in it, why it is there, what must become of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECRET = "the-secret-that-must-not-leave"
REFUSED = ("refused",)
ANY = ("refused", "ok", "warned")
READ = ("ok", "warned")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of the corpus, a folder beside it that nothing may read, and one that no payload may write to.

    Only a `vast` corpus has files with holes of terabytes: whoever copies them fills the disk.
    """

    corpus: Path
    outside: Path
    canaries: Path
    vast: bool = False

    def shell(self, name: str) -> str:
        """Give the command that a payload would run."""
        return f"touch '{self.canaries / name}'"

    def python(self, name: str) -> str:
        """Give the statement that a payload would run."""
        return f"open({str(self.canaries / name)!r}, 'w').close()"

    def up(self, path: str, target: str) -> str:
        """Give the relative path by which the file at a path of the corpus would name a file outside."""
        return os.path.relpath(self.outside / target, (self.corpus / path).parent)


@dataclass(frozen=True, slots=True)
class Case:
    """One file; `limited` where only the sandbox's limits of time and memory can be what stops it, `reads` where
    it is whole, though no network: what hostile files are made from must itself be read, or they prove nothing.

    What lies beside it and is no case of its own (shards, external data) is named in `parts`.
    """

    path: str
    why: str
    content: bytes | Callable[[Path], object]
    becomes: tuple[str, ...] = REFUSED
    limited: bool = False
    reads: bool = False
    parts: tuple[str, ...] = ()

    def write(self, place: Place) -> None:
        """Put the file where it belongs."""
        path = place.corpus / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(self.content):
            self.content(path)
        else:
            path.write_bytes(self.content)
