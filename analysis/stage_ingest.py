"""Ingest: every checkpoint that a zoo.toml names becomes a network that can be run, or a refusal that says why."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..zoo.architecture import build_network
from ..zoo.checkpoint import Checkpoint, read_checkpoint
from ..zoo.errors import BadInput, BadManifest, Refused
from ..zoo.manifest import NetworksTable
from ..zoo.network import Network, Scaling
from ..zoo.store import content_key
from .study import Study

PACKAGE = "package:"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that should hold a network: where it is, under which folder it must lie, what is said of it."""

    name: str
    file: Path
    inside: Path
    table: NetworksTable


@dataclass(frozen=True, slots=True, eq=False)
class Ingested:
    """What became of one source; `network` is None where it was refused. `key` names the network's content."""

    source: Source
    digest: str
    key: str
    checkpoint: Checkpoint | None
    network: Network | None
    refusal: Refused | None


def ingest(study: Study) -> tuple[Ingested, ...]:
    """Read every checkpoint of the zoo, safely, and list all of them in the catalogue.

    A checkpoint that cannot be used is refused with its reason and the others go on. Raises BadInput where
    none is left.
    """
    read = _Reader(study)
    found = [_ingest(study, source, read) for source in study.each("ingest", sources(study), name=lambda s: s.name)]
    whole = _count_copies_once(found)
    _index(study, whole)
    if not any(item.network for item in whole):
        first = next(item.refusal for item in whole if item.refusal)
        why = ", ".join(f"{_text(item.source.file.name)} {item.refusal.what}" for item in whole[:3] if item.refusal)
        more = "; consilience networks lists all" if len(whole) > 3 else ""
        raise BadInput(f"{study.path}: no checkpoint can be used: {why}", hint=f"{first.hint}{more}")
    return whole


def sources(study: Study) -> tuple[Source, ...]:
    """Find the files that a zoo.toml names, in the order of their tables and names.

    Raises BadManifest where a path matches nothing or a name stands twice.
    """
    found: list[Source] = []
    for number, table in enumerate(study.manifest.networks, 1):
        files = list(_files(study.folder, table))
        if not files:
            raise BadManifest(
                f"{study.path}: networks[{number}].path: nothing matches {table.path!r}",
                hint="paths begin at the folder of zoo.toml",
            )
        if table.name and len(files) > 1:
            raise BadManifest(
                f"{study.path}: networks[{number}].name: one name for {len(files)} files",
                hint="leave the name out: each is named for its file",
            )
        found += [Source(table.name or _text(file.stem), file, inside, table) for file, inside in files]
    names = [source.name for source in found]
    clashing = {name for name in names if names.count(name) > 1}
    whole = [replace(s, name=_long_name(study.folder, s)) if s.name in clashing else s for s in found]
    names = [source.name for source in whole]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadManifest(f"{study.path}: networks: {twice[0]!r} stands twice", hint="give one of them a name")
    return tuple(whole)


def _files(folder: Path, table: NetworksTable) -> Iterator[tuple[Path, Path]]:
    if table.path.startswith(PACKAGE):
        package, _, inner = table.path.removeprefix(PACKAGE).partition("/")
        root = _package_folder(package)
        yield root / inner, root
        return
    if not any(sign in table.path for sign in "*?["):
        yield folder / table.path, folder
        return
    try:
        matches = sorted(folder.glob(table.path))
    except (ValueError, NotImplementedError) as error:
        raise BadManifest(f"networks.path: {table.path!r}: {error}", hint="paths begin at zoo.toml") from None
    for path in matches:
        if not path.is_dir():
            yield path, folder


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise BadManifest(
            f"networks.path: the package {package!r} is not installed",
            hint=f"pip install {package.replace('_', '-')}, or for our examples: pip install 'consilience[examples]'",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _long_name(folder: Path, source: Source) -> str:
    if source.table.name or not source.file.is_relative_to(folder):
        return source.name
    return _text(source.file.relative_to(folder).with_suffix("").as_posix())


def _text(name: str) -> str:
    """Write a file name that is no Unicode so that it can be stored and printed."""
    return name.encode("utf-8", "backslashreplace").decode()


def _ingest(study: Study, source: Source, read: _Reader) -> Ingested:
    digest, checkpoint, key = "", None, ""
    try:
        digest, checkpoint = read(source)
        said = source.table.model_dump(mode="json", exclude={"path", "name", "lineage", "metadata"})
        key = content_key(digest, said, _code(study, source))
        network = _build(study, source, key, checkpoint)
    except Refused as refusal:
        return Ingested(source, digest, key, checkpoint, None, refusal)
    return Ingested(source, digest, key, checkpoint, network, None)


class _Reader:
    """Read checkpoints into the store; members of one file, which follow each other, are read once."""

    def __init__(self, study: Study) -> None:
        self._store = study.store
        self._last: tuple[Path, str, Checkpoint] | None = None

    def __call__(self, source: Source) -> tuple[str, Checkpoint]:
        if self._last is None or self._last[0] != source.file:
            digest = self._store.add_object(source.file, inside=source.inside)
            self._last = (source.file, digest, read_checkpoint(self._store.object_path(digest)))
        return self._last[1:]


def _build(study: Study, source: Source, key: str, checkpoint: Checkpoint) -> Network:
    table, declared = source.table, tuple(output.name for output in study.manifest.outputs)
    return build_network(
        checkpoint,
        name=source.name,
        digest=key,
        lineage=table.lineage or source.name,
        architecture=table.architecture,
        activation=table.activation,
        options=table.options,
        outputs=table.outputs if table.outputs is not None else declared,
        scaling=Scaling(**table.scaling.model_dump()) if table.scaling else None,
        example=study.probe.inputs[:2],
        search_path=study.folder,
    )


def _code(study: Study, source: Source) -> str:
    """Hash the user's own factory, so that a changed one counts as another network."""
    architecture = source.table.architecture or ""
    module = architecture.removeprefix("python:").partition(":")[0].replace(".", "/")
    for file in (study.folder / f"{module}.py", study.folder / module / "__init__.py"):
        if architecture.startswith("python:") and file.is_file():
            return content_key(file.read_text(errors="replace"))
    return ""


def _count_copies_once(found: list[Ingested]) -> tuple[Ingested, ...]:
    """Give exact copies the lineage of the first of them: they are one witness."""
    first: dict[str, str] = {}
    whole = []
    for item in found:
        if item.network is not None and item.source.table.lineage is None:
            lineage = first.setdefault(item.key, item.network.lineage)
            item = replace(item, network=replace(item.network, lineage=lineage))
        whole.append(item)
    return tuple(whole)


def _index(study: Study, whole: tuple[Ingested, ...]) -> None:
    names = [item.source.name for item in whole]
    with study.writing() as catalogue:
        catalogue.keep_only("network", names, ("networks", "layers", "units", "levels", "members"))
        for item in whole:
            key = content_key([item.key, _row(study, item)])
            if catalogue.indexed("ingest", item.source.name) == key:
                continue
            gone: dict[str, list[Any]] = {"layers": [], "units": []} if item.refusal else {}
            catalogue.replace({"network": item.source.name}, {"networks": [_row(study, item)], **gone})
            if item.refusal:
                catalogue.forget("probe", item.source.name)
            catalogue.mark("ingest", item.source.name, key, {})


def _row(study: Study, item: Ingested) -> dict[str, Any]:
    network, checkpoint, refusal = item.network, item.checkpoint, item.refusal
    file = item.source.file
    warnings = list(checkpoint.warnings) if checkpoint else []
    if network is not None and network.lineage != (item.source.table.lineage or item.source.name):
        warnings.append(f"copy: of {network.lineage}")
    return {
        "network": item.source.name,
        "status": "refused" if refusal else "warned" if warnings else "ok",
        "code": refusal.code if refusal else None,
        "message": refusal.what if refusal else None,
        "hint": refusal.hint if refusal else None,
        "file": _text(str(file.relative_to(study.folder)))
        if file.is_relative_to(study.folder)
        else item.source.table.path,
        "format": checkpoint.format if checkpoint else None,
        "digest": item.digest or None,
        "architecture": item.source.table.architecture or ("mlp" if network else None),
        "activation": _activation(network),
        "parameters": sum(p.numel() for p in network.module.parameters()) if network else None,
        "lineage": network.lineage if network else None,
        "warnings": warnings,
        "metadata": json.dumps(
            {**(checkpoint.metadata if checkpoint else {}), **item.source.table.metadata}, sort_keys=True
        ),
    }


def _activation(network: Network | None) -> str | None:
    if network is None:
        return None
    return ", ".join(dict.fromkeys(layer.activation for layer in network.layers if layer.role == "hidden")) or None


def layer_rows(network: Network) -> list[dict[str, Any]]:
    """Describe the layers of a network as rows of the catalogue, without what the probe will add."""
    return [
        {"network": network.name, "position": position, "dead": None}
        | {("layer" if key == "name" else key): value for key, value in asdict(layer).items()}
        for position, layer in enumerate(network.layers, 1)
    ]
