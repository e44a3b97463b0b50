"""Ingest: every checkpoint that a zoo.toml names becomes a network that can be run, or a refusal that says why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...zoo.architecture import build_network, infer
from ...zoo.checkpoint import Checkpoint
from ...zoo.errors import BadInput, Refused
from ...zoo.health import health
from ...zoo.inspection import Inspected, Located, inspect
from ...zoo.network import Network, Scaling
from ...zoo.preprocess import Preprocessing
from ...zoo.sandbox import Sandbox
from ...zoo.store import content_key, write_atomically
from ..project.study import Study
from .kinship import Descendant, Kin, lineages_of
from .set_aside import forget_failures
from .sources import Source, shown, sources

VERSION = "ingest-3"
WEIGHTS = "weights"
"""The architecture of a checkpoint that is catalogued and compared, but not run."""
HEALTH_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Ingested:
    """What became of one source; `network` is None where it was refused or is not to be run.

    `key` names the network's content; `flags` say what is odd about its weights and on the probe.
    """

    source: Source
    digest: str
    key: str
    checkpoint: Checkpoint | None
    network: Network | None
    refusal: Refused | None
    lineage: str | None = None
    flags: tuple[str, ...] = ()


def ingest(study: Study) -> tuple[Ingested, ...]:
    """Read every checkpoint of the zoo, safely, and list all of them in the catalogue.

    A checkpoint that cannot be used is refused with its reason and the others go on. While the study is alone it is
    done once. Raises BadInput where none is left.
    """
    return study.once("ingest", lambda: _ingest_all(study))


def _ingest_all(study: Study) -> tuple[Ingested, ...]:
    whole, kin = gather(study, sources(study))
    _index(study, whole, kin)
    if all(item.refusal for item in whole):
        first = next(item.refusal for item in whole if item.refusal)
        why = ", ".join(
            f"{shown(item.source.place.file.name)} {item.refusal.what}" for item in whole[:3] if item.refusal
        )
        more = "; consilience networks lists all" if len(whole) > 3 else ""
        raise BadInput(f"{study.path}: no checkpoint can be used: {why}", hint=f"{first.hint}{more}")
    return whole


def gather(study: Study, named: Sequence[Source]) -> tuple[tuple[Ingested, ...], tuple[Kin, ...]]:
    """Read checkpoints, build their networks and compare their weights; the catalogue is left alone."""
    places = list(dict.fromkeys(source.place for source in named))  # members of one file are read once
    with Sandbox() as sandbox, closing(inspect(places, store=study.store, sandbox=sandbox)) as inspected:
        seen = _Seen(places, inspected)
        found = [_ingest(study, source, seen(source)) for source in study.each("ingest", named, name=lambda s: s.name)]
    return _with_lineages(study, found, seen)


class _Seen:
    """Give what was read of a source as soon as it is there."""

    def __init__(self, places: Sequence[Located], inspected: Iterator[Inspected]) -> None:
        self._coming = zip(places, inspected, strict=True)
        self._there: dict[Located, Inspected] = {}

    def __call__(self, source: Source) -> Inspected:
        while source.place not in self._there:
            place, inspected = next(self._coming)
            self._there[place] = inspected
        return self._there[source.place]


def _ingest(study: Study, source: Source, seen: Inspected) -> Ingested:
    if seen.checkpoint is None:
        return Ingested(source, seen.digest, "", None, None, seen.refusal)
    said = source.table.model_dump(mode="json", exclude={"path", "name", "lineage", "metadata"})
    key = content_key(VERSION, seen.digest, said, _code(study, source))
    whole = Ingested(source, seen.digest, key, seen.checkpoint, None, None, flags=seen.checkpoint.warnings)
    if source.table.architecture == WEIGHTS:
        return whole
    try:
        network = build(study, source, key, seen.checkpoint)
        return replace(whole, network=network, flags=(*whole.flags, *_health(study, network)))
    except Refused as refusal:
        return replace(whole, refusal=refusal)


def build(study: Study, source: Source, key: str, checkpoint: Checkpoint) -> Network:
    """Build the network of a checkpoint as zoo.toml says. Raises what `build_network` does."""
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
        preprocessing=Preprocessing(**table.preprocessing.model_dump()) if table.preprocessing else None,
        strip_prefix=table.strip_prefix,
        rename=table.rename,
        layers=table.layers,
        example=study.probe.inputs[:2] if study.manifest.probe else None,
        search_path=study.folder,
    )


def _health(study: Study, network: Network) -> tuple[str, ...]:
    """Say what is odd about a network on the first rows of the probe, or take what is kept of that."""
    if study.manifest.probe is None:
        return ()
    file = study.store.result_path("health", content_key(VERSION, network.digest, study.probe.key), ".json")
    if not file.exists():
        rows = 8 if study.probe.image else HEALTH_ROWS
        flags = health(network, study.probe.inputs[:rows], device=study.device)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(flags))
    return tuple(json.loads(file.read_text()))


def _code(study: Study, source: Source) -> str:
    """Hash the user's own factory, so that a changed one counts as another network."""
    architecture = source.table.architecture or ""
    module = architecture.removeprefix("python:").partition(":")[0].replace(".", "/")
    for file in (study.folder / f"{module}.py", study.folder / module / "__init__.py"):
        if architecture.startswith("python:") and file.is_file():
            return content_key(file.read_text(errors="replace"))
    return ""


def _with_lineages(
    study: Study, found: Sequence[Ingested], seen: Callable[[Source], Inspected]
) -> tuple[tuple[Ingested, ...], tuple[Kin, ...]]:
    """Give every usable network its lineage, and say of what it is a relative."""
    usable = [item for item in found if item.refusal is None]
    sharing = Counter(item.digest for item in usable)
    named, kin = lineages_of(study, [_descendant(item, seen(item.source), sharing) for item in usable])
    return tuple(_in_lineage(item, named, kin) for item in found), kin


def _descendant(item: Ingested, seen: Inspected, sharing: Mapping[str, int]) -> Descendant:
    """Compare networks by the file's weights, or by their own where several come out of one file."""
    assert item.checkpoint is not None
    name, declared = item.source.name, item.source.table.lineage
    if sharing[item.digest] > 1 and item.network is not None and (own := _weights(item.network)):
        return Descendant(name, item.key, declared, own, None)
    return Descendant(name, item.digest, declared, item.checkpoint.tensors, seen.fingerprint)


def _weights(network: Network) -> Mapping[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in network.module.state_dict().items()}


def _in_lineage(item: Ingested, named: Mapping[str, str], kin: Sequence[Kin]) -> Ingested:
    name = item.source.name
    if name not in named:
        return item
    flags = tuple(_told(edge) for edge in kin if edge.network == name)
    network = replace(item.network, lineage=named[name]) if item.network else None
    return replace(item, lineage=named[name], network=network, flags=(*item.flags, *flags))


def _told(edge: Kin) -> str:
    told = f"{edge.relation}: of {edge.relative}" if edge.relation == "copy" else f"{edge.relation}: {edge.relative}"
    return told if edge.counted else f"{told}, though zoo.toml says otherwise"


def _index(study: Study, whole: Sequence[Ingested], kin: Sequence[Kin]) -> None:
    rows = {item.source.name: _row(study, item) for item in whole}
    keys = {item.source.name: content_key([item.key, rows[item.source.name]]) for item in whole}
    with study.writing() as catalogue:
        catalogue.keep_only("network", list(rows), ("networks", "layers", "units", "levels", "members"))
        catalogue.replace({}, {"kinships": [asdict(edge) for edge in kin]})
        forget_failures(catalogue)
        known = catalogue.all_indexed("ingest")
        changed = {name: key for name, key in keys.items() if known.get(name) != key}
        networks = [item.network for item in whole if item.network and item.source.name in changed]
        catalogue.replace(
            {"network": list(changed)},
            {
                "networks": [rows[name] for name in changed],
                "layers": [row for network in networks for row in layer_rows(network)],
                "units": [],
            },
        )
        catalogue.forget("probe", list(changed))
        catalogue.mark_all("ingest", changed, {})


def _row(study: Study, item: Ingested) -> dict[str, Any]:
    network, checkpoint, refusal = item.network, item.checkpoint, item.refusal
    file, table = item.source.place.file, item.source.table
    inside = file.is_relative_to(study.folder)
    return {
        "network": item.source.name,
        "status": status_of(item),
        "code": refusal.code if refusal else None,
        "message": refusal.what if refusal else None,
        "hint": refusal.hint if refusal else None,
        "file": shown(str(file.relative_to(study.folder))) if inside else table.path,
        "format": checkpoint.format if checkpoint else None,
        "digest": item.digest or None,
        "architecture": table.architecture or (infer(checkpoint) if checkpoint and network else None),
        "activation": _activation(network),
        "parameters": _parameters(item),
        "lineage": item.lineage,
        "warnings": list(item.flags),
        "metadata": json.dumps({**(checkpoint.metadata if checkpoint else {}), **table.metadata}, sort_keys=True),
    }


def status_of(item: Ingested) -> str:
    """Tell ok, warned or refused; a few dead units are the rule, and no reason to warn."""
    if item.refusal is not None:
        return "refused"
    return "warned" if any(not flag.startswith("dead:") for flag in item.flags) else "ok"


def _parameters(item: Ingested) -> int | None:
    if item.network is not None and (count := sum(p.numel() for p in item.network.module.parameters())):
        return count
    if item.checkpoint is None or item.refusal:
        return None
    return sum(int(np.prod(shape)) for shape in item.checkpoint.shapes.values())


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
