"""Write the networks of a zoo with their units in one order, as a zoo of its own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...zoo.errors import BadInput, Refused
from ...zoo.manifest import Manifest, NetworksTable, ProbeTable
from ...zoo.permute import permuted
from ...zoo.write_manifest import write_manifest
from ..project.study import Study
from .sources import shown, spare
from .stage_align import align
from .stage_ingest import Ingested, ingest
from .universal_order import Ordered, universal_orders
from .written import MODEL, Writing, Written, needs_config, write

ABOUT = "Written by consilience align --write: the units of each network in the order of the universe of its levels."


@dataclass(frozen=True, slots=True, eq=False)
class Export:
    """A folder of networks that compute what they did: how many, and which are left out and why.

    `deviation` is the largest difference between predictions, as a share of their spread on the probe.
    """

    folder: Path
    networks: int
    deviation: float
    left_out: Mapping[str, Refused]

    def lines(self) -> tuple[str, ...]:
        """Say what was written, what was checked, and what to type next."""
        return (
            f"{self.networks} networks written to {self.folder}, their units in one order; read again, their "
            f"predictions on the probe differ by at most {self.deviation:.1g} of the outputs' spread",
            f"next: consilience run {shlex.quote(str(self.folder))}",
        )

    def refusals(self) -> tuple[str, ...]:
        """Say of every network that was left out why."""
        return tuple(
            f"not written: {shown(name)} {why.what} [{why.code}]" + (f"; hint: {why.hint}" if why.hint else "")
            for name, why in self.left_out.items()
        )


def write_aligned(study: Study, folder: Path, *, force: bool = False) -> Export:
    """Write every network with its units in the order of the universe, and a zoo.toml beside them.

    It says the lineages that were found in the originals. Each file is read again and must predict what the
    original does, to 1e-4 of the outputs' spread on the probe. What is no module of torch, or cannot be written,
    is left out with the reason. Raises what `align` and `check_folder` raise, and BadInput where no network is left.
    """
    check_folder(study, folder, force=force)
    with study.alone():
        aligned = align(study)
        items = {item.source.name: item for item in ingest(study)}
    ordered = {
        aligned.observed[number].network.name: found
        for number, found in universal_orders(aligned, device=study.device).items()
    }
    left_out = {name: item.refusal or _NOT_RUN for name, item in items.items() if name not in ordered}
    left_out |= {name: found for name, found in ordered.items() if isinstance(found, Refused)}
    files = dict(zip(items, _files(list(items.values())), strict=True))
    spare(study, [folder / "zoo.toml", *(folder / file for file in files.values())])
    writings = [
        _writing(items[name], found, folder.resolve() / files[name])
        for name, found in ordered.items()
        if isinstance(found, Ordered)
    ]
    _bring_along(study, folder)
    bench = replace(study, path=folder.resolve() / "zoo.toml", manifest=_manifest(study, []))
    written = write(bench, writings)
    for writing, outcome in zip(writings, written, strict=True):
        if outcome.refusal:
            left_out[writing.item.source.name] = outcome.refusal
    tables = [outcome.table for outcome in written if outcome.table]
    if not tables:
        raise BadInput(f"{study.path}: no network can be written", hint=_first(left_out))
    write_manifest(_manifest(study, tables), folder / "zoo.toml", about=ABOUT)
    return Export(folder, len(tables), _worst(written), left_out)


_NOT_RUN = Refused("not-run", "is not run, its weights are compared alone", hint="name an architecture in zoo.toml")


def check_folder(study: Study, folder: Path, *, force: bool) -> None:
    """Check that a folder can take a zoo.

    Raises BadInput where it is a file, the zoo's own, or not empty and `force` is not set.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: is a file, not a folder", hint="--write takes a folder, which need not be there")
    if folder.resolve() == study.folder.resolve():
        raise BadInput(f"{folder}: is the zoo itself", hint="write to another folder")
    if not force and folder.is_dir() and any(folder.iterdir()):
        command = f"consilience align {shlex.quote(str(study.path))} --write {shlex.quote(str(folder))} --force"
        raise BadInput(f"{folder}: is not empty", hint=f"{command} overwrites what has the same name")


def _writing(item: Ingested, ordered: Ordered, file: Path) -> Writing:
    assert item.network is not None
    assert item.checkpoint is not None
    network = permuted(item.network, ordered.symmetry, ordered.orders)
    return Writing(item, network, file, item.checkpoint.metadata, item.network)


def _files(items: Sequence[Ingested]) -> Iterator[str]:
    """Name files for networks; names that no file could have become so, and none comes twice."""
    taken: set[str] = set()
    for item in items:
        plain = stem = re.sub(r"[^A-Za-z0-9._+=-]", "_", item.source.name).lstrip(".")[:100] or "network"
        number = 1
        while stem.lower() in taken:
            number += 1
            stem = f"{plain}-{number}"
        taken.add(stem.lower())
        yield f"networks/{stem}/{MODEL}" if needs_config(item) else f"networks/{stem}.safetensors"


def _bring_along(study: Study, folder: Path) -> None:
    """Copy what the zoo.toml names beside the networks: the rows of the probe, the user's own factories."""
    folder.mkdir(parents=True, exist_ok=True)
    if study.probe_table.rows is not None:
        rows = study.folder / study.probe_table.rows
        shutil.copyfile(rows, folder / rows.name)
    for table in study.manifest.networks:
        kind, _, detail = (table.architecture or "").partition(":")
        top = detail.partition(":")[0].partition(".")[0]
        if kind == "python" and (study.folder / f"{top}.py").is_file():
            shutil.copyfile(study.folder / f"{top}.py", folder / f"{top}.py")
        elif kind == "python" and (study.folder / top).is_dir():
            shutil.copytree(study.folder / top, folder / top, dirs_exist_ok=True, ignore=_CACHES)


_CACHES = shutil.ignore_patterns("__pycache__", ".*")


def _manifest(study: Study, tables: Sequence[NetworksTable]) -> Manifest:
    probe = study.probe_table
    moved: dict[str, object] = {}
    if probe.rows is not None:
        moved["rows"] = Path(probe.rows).name
    if probe.images:
        moved["images"] = tuple(os.path.normpath(study.folder / pattern) for pattern in probe.images)
    networks = tuple(tables) or study.manifest.networks
    return study.manifest.model_copy(
        update={"networks": networks, "probe": ProbeTable.model_validate(probe.model_dump() | moved)}
    )


def _worst(written: Sequence[Written]) -> float:
    return max(outcome.deviation for outcome in written if outcome.table)


def _first(left_out: Mapping[str, Refused]) -> str:
    name, refusal = next(iter(left_out.items()))
    return f"the first: {name} {refusal.what}"
