"""A study: one zoo.toml, the folder where its facts are kept, and the verbs strung together."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

from ...zoo.errors import BadInput, BadManifest, NotFound
from ...zoo.manifest import Manifest, ProbeTable, read_manifest
from ...zoo.probe import Probe, make_probe
from ...zoo.store import Store, content_key
from .catalogue import Catalogue, reading, writing
from .lock import locked

FOLDER = ".consilience"
PATIENCE = 30.0
"""Seconds that a write waits for those who read."""
Item = TypeVar("Item")
Made = TypeVar("Made")


class Stopped(Exception):
    """The user asked to stop; what is finished is saved, and the same command goes on from there."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How a long stage tells what it does: the stage, what it works on, how many are done of how many."""

    stage: str
    subject: str
    done: int
    total: int


def _silent(progress: Progress) -> None:
    pass


@dataclass(frozen=True)
class Study:
    """A zoo and its project folder, `.consilience` beside the zoo.toml."""

    path: Path
    manifest: Manifest
    device: str = "cpu"
    wait_for_lock: float = 0.0
    report: Callable[[Progress], None] = field(default=_silent, repr=False)
    stop: Callable[[], bool] = field(default=lambda: False, repr=False)
    home: Path | None = None
    _held: list[dict[str, Any]] = field(default_factory=list, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The folder of the zoo.toml, where relative paths begin."""
        return self.path.parent

    @property
    def project(self) -> Path:
        """Where facts and the catalogue are kept: `home`, or .consilience beside the zoo.toml.

        There a zoo that is not called zoo.toml has a folder of its own.
        """
        if self.home is not None:
            return self.home
        shared = self.folder / FOLDER
        return shared if self.path.name == "zoo.toml" else shared / self.path.stem

    @property
    def catalogue_path(self) -> Path:
        """The DuckDB file."""
        return self.project / "catalogue.duckdb"

    @property
    def key(self) -> str:
        """The content of the zoo.toml: a catalogue made with another one is out of date."""
        return content_key(self.manifest.model_dump(mode="json"))

    @cached_property
    def store(self) -> Store:
        """The content-addressed files."""
        return Store(self.project)

    @property
    def probe_table(self) -> ProbeTable:
        """What zoo.toml says of the probe. Raises BadManifest where it says nothing: ingest alone needs none."""
        if self.manifest.probe is None:
            raise BadManifest(
                f"{self.path}: has no [probe]: nothing says what the networks are to be shown",
                hint="consilience init FOLDER shows how a [probe] looks",
            )
        return self.manifest.probe

    @property
    def photos_only(self) -> bool:
        """Whether networks are shown photos and have no output in common: what they see is all there is to compare."""
        return bool(self.manifest.probe and self.manifest.probe.images) and not self.manifest.outputs

    @cached_property
    def probe(self) -> Probe:
        """What all networks are shown. Raises BadManifest where zoo.toml does not say it."""
        return make_probe(self.probe_table, folder=self.folder, seed=self.manifest.seed)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of this project for as long as a verb works; readers may look between writes.

        Raises CatalogueLocked.
        """
        with locked(self.project / "run.lock", wait=self.wait_for_lock):
            self._held.append({})
            try:
                yield
            finally:
                self._held.pop()

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """Make something once while the study is alone, and as often as it is asked for otherwise: files may change."""
        if not self._held:
            return make()
        held, name = self._held[-1], f"{what} {self.key}"
        if name not in held:
            held[name] = make()
        return cast(Made, held[name])

    def writing(self) -> AbstractContextManager[Catalogue]:
        """Open the catalogue for writing; see `catalogue.writing`. Readers are brief, so they are waited for."""
        return writing(self.catalogue_path, wait=max(PATIENCE, self.wait_for_lock))

    def reading(self) -> AbstractContextManager[Catalogue]:
        """Open the catalogue for reading; see `catalogue.reading`."""
        return reading(self.catalogue_path)

    def each(self, stage: str, items: Iterable[Item], *, name: Callable[[Item], str]) -> Iterator[Item]:
        """Go through items, telling progress, and stop between two of them when asked to.

        Raises Stopped.
        """
        known = list(items)
        for done, item in enumerate(known):
            if self.stop():
                raise Stopped
            self.report(Progress(stage, name(item), done, len(known)))
            yield item
        self.report(Progress(stage, "", len(known), len(known)))


def open_study(path: str | Path = "zoo.toml", **settings: Any) -> Study:
    """Open the zoo that a zoo.toml describes; a folder means the zoo.toml in it.

    Raises BadManifest for a zoo.toml that does not say what it must, BadInput for a device that is not there.
    """
    given = Path(path)
    file = (given / "zoo.toml" if given.is_dir() else given).resolve()
    study = Study(file, read_manifest(file), **settings)
    _check_derived(study)
    if study.device != "cpu":
        _check_device(study.device)
    return study


def find_study(start: Path, **settings: Any) -> Study:
    """Open the study of this folder, or of the nearest one above it.

    Raises NotFound where there is none.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "zoo.toml").is_file():
            return open_study(folder / "zoo.toml", **settings)
    raise NotFound(
        f"no zoo.toml in {start.resolve()} or above it",
        hint="consilience init FOLDER writes one; or say where it is",
    )


def versions() -> dict[str, str]:
    """Name what a result depends on beside its settings."""
    packages = ("numpy", "scipy", "torch", "scikit-learn", "duckdb")
    return {"python": platform.python_version(), "consilience": version("consilience")} | {
        package: version(package) for package in packages
    }


def _check_device(device: str) -> None:
    """Try a device before hours of work; torch has several kinds of error for one that is not there."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].split(". ")[0][:120]
        raise BadInput(f"device {device!r} cannot be used: {reason}", hint="--device takes cpu, cuda or mps") from None


def _check_derived(study: Study) -> None:
    from ...zoo.errors import BadFormula
    from ..formulas.expression import FUNCTIONS, variables
    from ..formulas.parsing import parse

    table = study.manifest.probe
    if table is None:
        return
    names = [v.name for v in table.variables] + [d.name for d in table.derived]
    for name in (*names, *(output.name for output in study.manifest.outputs)):
        if name in FUNCTIONS:
            raise BadManifest(
                f"{study.path}: {name!r} is a function and cannot name a variable or an output",
                hint="give it another name",
            )
    known = {variable.name for variable in table.variables}
    for number, derived in enumerate(table.derived, 1):
        key = f"{study.path}: probe.derived[{number}].formula"
        try:
            used = variables(parse(derived.formula))
        except BadFormula as error:
            raise BadManifest(f"{key}: {error.what}", hint=error.hint) from None
        unknown = [name for name in used if known and name not in known]
        if unknown:
            raise BadManifest(
                f"{key}: {unknown[0]!r} is not an input", hint=f"the inputs are {', '.join(sorted(known))}"
            )
