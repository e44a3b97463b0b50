"""Write networks that were changed to files, and read the files again to see that they are what they should be."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...zoo.bundle import Located
from ...zoo.checkpoint import CONFIG
from ...zoo.errors import Refused
from ...zoo.manifest import NetworksTable
from ...zoo.network import Network, predict
from ...zoo.rewrite import as_arrays, rewritten, save_safetensors
from ...zoo.store import write_atomically
from ..project.study import Study
from .sources import Source
from .stage_ingest import Ingested, gather

MODEL = "model.safetensors"
"""What the weights are called where a config.json lies beside them."""
TOLERANCE = 1e-4
"""Of the outputs' spread on the probe: by so much predictions may differ after writing and reading."""


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """A network to be written, what its original was read from, the file, and what the file is to say of itself.

    `meant` is the network that it must predict the same as: itself, or the original.
    """

    item: Ingested
    network: Network
    file: Path
    metadata: Mapping[str, str]
    meant: Network


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What became of it: what zoo.toml has to say of the file, or why there is none.

    `deviation` is the largest difference of predictions on the probe from those that were meant, as a share of
    their spread.
    """

    table: NetworksTable | None
    deviation: float
    refusal: Refused | None = None


def write(study: Study, writings: Sequence[Writing]) -> tuple[Written, ...]:
    """Write networks as safetensors under the names of their checkpoints, or else under those of their modules.

    Each file is read again as a part of the study and must predict on its probe what the network does. One that
    does not is removed, with the reason; the others go on. Raises BadInput where the disk is full or not writable.
    """
    found: dict[int, Written] = {}
    for own_names in (True, False):
        left = [number for number in range(len(writings)) if number not in found or found[number].refusal]
        tables = {number: _put(study, writings[number], own_names) for number in left}
        found |= {number: Written(None, np.inf, why) for number, why in tables.items() if isinstance(why, Refused)}
        there = {number: table for number, table in tables.items() if isinstance(table, NetworksTable)}
        found |= dict(zip(there, _check(study, [writings[n] for n in there], list(there.values())), strict=True))
    for number, outcome in found.items():
        if outcome.refusal:
            writings[number].file.unlink(missing_ok=True)
    return tuple(found[number] for number in range(len(writings)))


def _put(study: Study, writing: Writing, own_names: bool) -> NetworksTable | Refused:
    item, state = writing.item, writing.network.module.state_dict()
    assert item.checkpoint is not None
    assert item.network is not None
    file, metadata = writing.file, dict(writing.metadata)
    path = file.relative_to(study.folder).as_posix() if file.is_relative_to(study.folder) else str(file)
    # In one order also weights of networks trained apart resemble one another: their lineage has to be said.
    said = {"path": path, "name": item.source.name, "lineage": item.lineage}
    table = item.source.table.model_copy(update=said)
    if own_names:
        try:
            tensors = rewritten(item.checkpoint, item.network.module.state_dict(), state)
        except Refused as refusal:
            return refusal
    else:
        tensors = as_arrays(state)
        table = table.model_copy(update={"strip_prefix": "", "rename": {}})
        hidden = [layer.activation for layer in item.network.layers if layer.role == "hidden"]
        metadata = {"activation": hidden[0], **metadata} if len(set(hidden)) == 1 else metadata
    save_safetensors(file, tensors, metadata)
    if needs_config(item):
        with write_atomically(file.with_name(CONFIG)) as temporary:
            temporary.write_text(json.dumps(dict(item.checkpoint.config)))
    return table


def needs_config(item: Ingested) -> bool:
    """Tell whether a network is built from a config.json that lies beside its weights."""
    checkpoint = item.checkpoint
    return checkpoint is not None and bool(checkpoint.config) and CONFIG in checkpoint.beside


def _check(study: Study, writings: Sequence[Writing], tables: Sequence[NetworksTable]) -> list[Written]:
    if not writings:
        return []
    with tempfile.TemporaryDirectory(prefix="consilience-write-") as scratch:
        bench = replace(study, home=Path(scratch))
        named = [
            Source(writing.item.source.name, Located(writing.file, writing.file.parent), table)
            for writing, table in zip(writings, tables, strict=True)
        ]
        whole, _ = gather(bench, named)
        return [
            _compared(bench, writing, table, item) for writing, table, item in zip(writings, tables, whole, strict=True)
        ]


def _compared(study: Study, writing: Writing, table: NetworksTable, item: Ingested) -> Written:
    if item.network is None:
        return Written(None, np.inf, item.refusal or Refused("not-written", "is not run when it is read again"))
    wanted, given = (predict(one, study.probe.inputs, device=study.device) for one in (writing.meant, item.network))
    spread = float(wanted.std()) or 1.0
    deviation = float(np.abs(given - wanted).max()) / spread if given.shape == wanted.shape else np.inf
    if deviation <= TOLERANCE:
        return Written(table, deviation)
    what = f"predicts something else when it is read again (by {deviation:.1g} of the outputs' spread)"
    return Written(None, deviation, Refused("not-written", what, hint="consilience.zoo.permute gives it in Python"))
