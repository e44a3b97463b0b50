"""Networks of a zoo between one another: barriers between them, and one that is made of several."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ...zoo.errors import BadInput, NotFound
from ...zoo.network import Network, predict
from ...zoo.symmetry import symmetry
from ..merging.averaging import has_statistics, same_architecture
from ..merging.barrier import POINTS
from ..merging.barrier import barrier as between
from ..merging.loss import Loss, loss_against, loss_beside
from ..merging.merge import MATCHINGS, in_one_order
from ..merging.merge import merge as merge_networks
from ..project.study import Study, open_study
from .labels import Targets, read_targets
from .sources import sources, spare
from .stage_ingest import WEIGHTS, Ingested, gather
from .written import MODEL, Writing, needs_config, write


@dataclass(frozen=True, slots=True)
class BarrierRecord:
    """The loss between two networks: at both ends, in the middle, along the line, and how far it rises.

    `matching` says what brought the right network's units to the left's, `statistics` whether those of batch
    norms were averaged too or gathered anew.
    """

    left: str
    right: str
    matching: str
    statistics: str
    loss: str
    at_left: float
    at_right: float
    middle: float
    barrier: float
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MergeRecord:
    """What a network loses on the probe: one of those merged, or the one made of them."""

    network: str
    role: str
    loss: str
    value: float


def barrier(
    study: Study | str | Path, networks: Sequence[str], *, targets: str | Path | None = None, points: int = POINTS
) -> tuple[BarrierRecord, ...]:
    """Take the loss barrier between every two of these networks: as they are, and with their units matched.

    Targets are a file (npy, csv), one row for each row of the probe; without them the loss is the distance from
    the two networks' mean prediction, which needs no labels. See `Barrier.height`. Raises NotFound for a network
    that the zoo does not have, and BadInput for fewer than two, for different architectures, and targets that do
    not fit.
    """
    opened = study if isinstance(study, Study) else open_study(study)
    _check(networks, points=points)
    wanted = _targets(opened, targets)
    items = _chosen(opened, networks)
    runs = same_architecture([_run(items[name]) for name in networks])
    pairs = list(combinations(runs, 2))
    return tuple(
        record
        for left, right in opened.each("barrier", pairs, name=lambda pair: f"{pair[0].name} and {pair[1].name}")
        for record in _records(opened, left, right, wanted, points)
    )


def merge(
    study: Study | str | Path,
    networks: Sequence[str],
    output: str | Path,
    *,
    method: str = "activations",
    repair: bool = True,
    targets: str | Path | None = None,
    force: bool = False,
) -> tuple[MergeRecord, ...]:
    """Average these networks, their units brought to the first's, and write the result as safetensors.

    The method is one of MATCHINGS; with `repair` units get back the spread that averaging takes. The file has the
    names and metadata of the first network's checkpoint. Returns what each network and the result lose on the
    probe: against the targets, else the distance from the networks' mean prediction. Raises what `barrier` does,
    and BadInput for a file that is there unless `force` is set, or that cannot be written.
    """
    opened, file = study if isinstance(study, Study) else open_study(study), Path(output)
    _check(networks, points=POINTS)
    if len(set(networks)) < len(networks):
        raise BadInput("a network is named twice", hint="an average takes each network once")
    wanted = _targets(opened, targets)
    items = _chosen(opened, networks)
    first = items[networks[0]]
    _check_output(file, first, force=force)
    spare(opened, [file])
    parents, inputs = same_architecture([_run(items[name]) for name in networks]), opened.probe.inputs
    seed, device = opened.manifest.seed, opened.device
    merged = merge_networks(parents, inputs, method=method, repair=repair, seed=seed, device=device)
    _put(opened, first, merged, file.resolve(), {"merged_from": json.dumps(list(networks)), "merged_by": method})
    predicted = [predict(network, inputs, device=device) for network in (*parents, merged)]
    loss = _loss(wanted, np.stack(predicted[:-1]))
    roles = [*((name, "parent") for name in networks), (file.stem, "merged")]
    return tuple(
        MergeRecord(name, role, loss.name, loss.of(given)) for (name, role), given in zip(roles, predicted, strict=True)
    )


def _records(
    study: Study, left: Network, right: Network, targets: Targets | None, points: int
) -> Iterator[BarrierRecord]:
    inputs, found = study.probe.inputs, symmetry(left)
    for method in MATCHINGS:
        one, other = in_one_order(
            [left, right], inputs, method=method, symmetry=found, seed=study.manifest.seed, device=study.device
        )
        for reset in (False, True) if has_statistics(left) else (False,):
            line = between(one, other, inputs, targets, points=points, reset=reset, device=study.device)
            losses = line.losses.tolist()
            yield BarrierRecord(
                left.name,
                right.name,
                method,
                ("reset" if reset else "averaged") if has_statistics(left) else "",
                line.loss,
                losses[0],
                losses[-1],
                float(np.interp(0.5, line.t, line.losses)),
                line.height,
                tuple(losses),
            )


def _check(networks: Sequence[str], *, points: int) -> None:
    if len(networks) < 2:
        raise BadInput("one network alone has no other", hint="name two networks or more; consilience networks -q")
    if points < 3:
        raise BadInput(f"{points} points do not tell a barrier", hint="take at least 3")


def _chosen(study: Study, names: Sequence[str]) -> Mapping[str, Ingested]:
    """Read the networks of these names. Raises NotFound, and BadInput for one that cannot be run."""
    known = {source.name: source for source in sources(study)}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or list(known)[:5]
            raise NotFound(f"{study.path}: names no network {name!r}", hint=f"there are {', '.join(near)}")
    study.probe  # noqa: B018  said first, where there is none
    whole, _ = gather(study, [known[name] for name in dict.fromkeys(names)])
    return {item.source.name: item for item in whole}


def _run(item: Ingested) -> Network:
    if item.network is not None:
        return item.network
    if item.refusal is not None:
        raise BadInput(f"{item.source.name}: {item.refusal.what}", hint=item.refusal.hint)
    what = f"{item.source.name}: is not run, zoo.toml says architecture = {WEIGHTS!r}"
    raise BadInput(what, hint="name an architecture there")


def _targets(study: Study, path: str | Path | None) -> Targets | None:
    return None if path is None else read_targets(study, Path(path))


def _loss(targets: Targets | None, predictions: np.ndarray) -> Loss:
    if targets is None:
        return loss_beside(predictions)
    return loss_against(targets, outputs=predictions.shape[2])


def _check_output(file: Path, first: Ingested, *, force: bool) -> None:
    name = MODEL if needs_config(first) else "FILE.safetensors"
    if file.suffix != ".safetensors" or (needs_config(first) and file.name != MODEL):
        raise BadInput(f"{file}: is no name for it", hint=f"what is written is a {name}")
    if file.is_dir() or (file.exists() and not force):
        raise BadInput(f"{file}: is already there", hint=f"--force overwrites {shlex.quote(str(file))}")


def _put(study: Study, first: Ingested, merged: Network, file: Path, said: Mapping[str, str]) -> None:
    assert first.checkpoint is not None
    writing = Writing(first, merged, file, {**first.checkpoint.metadata, **said}, merged)
    (outcome,) = write(study, [writing])
    if outcome.refusal:
        raise BadInput(f"{file}: cannot be written: it {outcome.refusal.what}", hint=outcome.refusal.hint)
