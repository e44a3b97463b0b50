"""Copy checkpoints into the store, have them read in a process apart, and say what they are and where they lie.

This process opens what strangers made only to copy it, and later to read plain numbers at places that are
known. All that is parsed is parsed in a child of the sandbox, which writes down what it found.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .bundle import Bundle, Located, add_parts, gather
from .checkpoint import Checkpoint, Wanted, examine, open_checkpoint
from .description import describe, restore
from .errors import Refused
from .fingerprint import fingerprint as take_fingerprint
from .fingerprint import write_fingerprint
from .sandbox import Limits, Sandbox, in_order
from .store import Store, content_key, write_atomically
from .weights import Weights, keep

__all__ = ["Inspected", "Located", "inspect", "inspect_job"]

VERSION = "checkpoint-1"
STAGE = "checkpoint"
MAIN, WRITTEN = "", "/"
"""What a description calls the main file, and the numbers written beside it; parts go by their names."""
MOST_ROUNDS = 4
"""A reader that was given what it asked for asks again at most so often."""
BASE_SECONDS, BYTES_A_SECOND = 10.0, 20e6
BASE_MEMORY, BASE_WRITTEN, MOST_UNPACKED = 1 << 30, 128 << 20, 25
_PASSING = {"crashed", "timed-out", "memory", "missing-package", "missing", "unreadable", "no-room"}
"""Refusals that may be the machine's doing: they are not kept."""
_PRELOADS = {
    b"\x89": ("h5py", "consilience.zoo.format_keras"),
    b"\x08": ("onnx", "consilience.zoo.format_onnx"),
}
"""Packages that the reader of a format takes long to import, by the first byte of its files."""


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """What was found: the digest of the content, the weights (read when asked for), the file of their fingerprint.

    Where it was refused there is neither. A single file has the sha256 of its bytes for a digest, several
    have a key of their names and digests; it is empty where a file could not be copied.
    """

    digest: str
    checkpoint: Checkpoint | None
    fingerprint: Path | None
    refusal: Refused | None


def inspect(files: Sequence[Located], *, store: Store, sandbox: Sandbox) -> Generator[Inspected, None, None]:
    """Read checkpoints into the store and describe them, several at once, and give them in their order.

    What was described before is not read again. Threads write into the store until it is at its end or closed.
    Raises BadInput where the store cannot be written.
    """
    anchored = replace(store, root=store.root.absolute())  # children work elsewhere, tensors are read later
    inspector = _Inspector(anchored, sandbox)
    try:
        yield from in_order(inspector.inspect, files, workers=sandbox.workers)
    finally:
        inspector.tidy()


def inspect_job(path: str, beside: Mapping[str, str], weights: str, fingerprint: str) -> dict[str, Any]:
    """Read a checkpoint within the sandbox, write its fingerprint, and describe it as JSON.

    Tensors that do not lie in its files as plain numbers are written to `weights`. Where it needs more files
    it says which.
    """
    parts = {name: Path(part) for name, part in beside.items()}
    try:
        found = open_checkpoint(Path(path), parts)
    except Wanted as more:
        return {"wanted": list(more.names)}
    if not isinstance(found.tensors, Weights):
        found = replace(found, tensors=keep(Path(weights), found.tensors))
    found = examine(found)
    write_fingerprint(Path(fingerprint), take_fingerprint(found.tensors))
    homes = {part: name for name, part in parts.items()}
    return describe(found, homes | {Path(path): MAIN, Path(weights): WRITTEN})


def warm_up() -> None:
    """Do the job once for a file of our own, so that every child finds in place what it imports and sets up."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]}}).encode()
    numbers = struct.pack("<64f", *(number % 7 for number in range(64)))
    with TemporaryDirectory(prefix="consilience-") as folder:
        path = Path(folder) / "a"
        path.write_bytes(struct.pack("<Q", len(header)) + header + numbers)
        inspect_job(str(path), {}, f"{folder}/b", f"{folder}/c")


@dataclass(slots=True)
class _Inspector:
    store: Store
    sandbox: Sandbox
    _busy: dict[str, threading.Lock] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _useless: set[str] = field(default_factory=set)

    def inspect(self, place: Located) -> Inspected:
        digest = ""
        try:
            bundle = gather(place, self.store)
            for _ in range(MOST_ROUNDS):
                digest = bundle.digest
                with self._busy.setdefault(digest, threading.Lock()):  # several files of the same bytes are read once
                    found = self._described(bundle)
                if isinstance(found, Inspected):
                    return found
                bundle = add_parts(bundle, found, self.store)
            raise Refused("damaged", "asks for ever more files beside it", hint="get the file again")
        except Refused as refusal:
            return Inspected(digest, None, None, refusal)

    def tidy(self) -> None:
        """Forget the copies of what was refused, unless another checkpoint needs the same bytes."""
        for digest in self._useless - self._used:
            self.store.forget_object(digest)

    def _described(self, bundle: Bundle) -> Inspected | list[str]:
        """Give what a checkpoint is, or the names of the files that it needs too."""
        key = content_key(VERSION, bundle.main, dict(bundle.parts))
        file = self.store.result_path(STAGE, key, ".json")
        try:
            return self._restored(bundle, json.loads(file.read_bytes()), file)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # not kept, or no longer whole
            plain = self._read_apart(bundle, file)
        try:
            return self._restored(bundle, plain, file)
        except (ValueError, KeyError, TypeError):
            raise Refused("crashed", "makes its reader say what is not so", hint="get the file again") from None

    def _restored(self, bundle: Bundle, plain: Any, file: Path) -> Inspected | list[str]:
        if "refused" in plain:
            code, what, hint = plain["refused"]
            self._useless.add(bundle.main)
            return Inspected(bundle.digest, None, None, Refused(code, what, hint=hint))
        if "wanted" in plain:
            return [str(name) for name in plain["wanted"]]
        self._used.update((bundle.main, *bundle.parts.values()))
        main, parts = self.store.object_path(bundle.main), bundle.files(self.store)
        files, written, fingerprint = {MAIN: main} | parts, file.with_suffix(".weights"), file.with_suffix(".npz")
        if written.exists():
            files[WRITTEN] = written
        if not fingerprint.exists():
            raise ValueError("no fingerprint")
        checkpoint = replace(restore(plain, files), file=main, beside=parts)
        return Inspected(bundle.digest, checkpoint, fingerprint, None)

    def _read_apart(self, bundle: Bundle, file: Path) -> Any:
        main, parts = self.store.object_path(bundle.main), bundle.files(self.store)
        size = sum(path.stat().st_size for path in (main, *parts.values()))
        with (
            write_atomically(file.with_suffix(".weights")) as weights,
            write_atomically(file.with_suffix(".npz")) as fingerprint,
        ):
            try:
                plain = self.sandbox.call(
                    "inspection:inspect_job",
                    preload=_preload(main),
                    limits=_limits(size),
                    path=str(main),
                    beside={name: str(path) for name, path in parts.items()},
                    weights=str(weights),
                    fingerprint=str(fingerprint),
                )
            except Refused as refusal:
                if refusal.code in _PASSING:
                    raise
                plain = {"refused": [refusal.code, refusal.what, refusal.hint]}
                for begun in (weights, fingerprint):
                    begun.unlink(missing_ok=True)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(plain))
        return plain


def _preload(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        return _PRELOADS.get(file.read(1), ())


def _limits(size: int) -> Limits:
    """Allow what reading honest files of this size takes."""
    return Limits(
        seconds=BASE_SECONDS + size / BYTES_A_SECOND,
        memory=BASE_MEMORY + 3 * size,
        file=BASE_WRITTEN + MOST_UNPACKED * size,
    )
