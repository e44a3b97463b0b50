"""Kernels: closed forms of first layers, families of depthwise kernels, and the forms put back into the networks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from ...zoo.errors import BadInput, Refused
from ...zoo.kernels import Convolution, convolutions, kernels, kernels_of
from ...zoo.network import Network
from ...zoo.store import content_key, write_atomically
from ..formulas.printing import to_text
from ..project.processes import apart
from ..project.study import Study
from ..vision.kernel_families import KernelFamily
from ..vision.kernel_families import families as kernel_families
from ..vision.kernel_forms import KernelFit, fit_form, patch_metric
from ..vision.kernel_peers import kernel_peers
from ..vision.kernel_race import Evidence, evidence_beside, fidelity, null_fits, race
from ..vision.kernel_shapes import Grid
from ..vision.kernel_short import drawn_r2, short_expression
from ..vision.kernel_substitution import sight, substitute_kernels
from .families import Family, FamilyMember, index_families
from .first_families import chance_kinds, detects, families_of_firsts
from .set_aside import none_left, setting_aside
from .stage_ingest import Ingested, ingest
from .stage_kernel_substitution import level_of, substitutions

VERSION = "kernels-4"
PATCHES = 4096
"""So many natural patches tell what a difference between kernels makes of photos."""
SHOWN, MAPS_SHOWN = 64, 6
"""Photos on which a network is compared with itself: for vectors as outputs, and for maps, which cost more."""
WIDE = 4096
"""From so many outputs on they are taken for a map."""
SMALLEST = 5
"""The least side of depthwise kernels that form families: a smaller grid holds any form."""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """What was found: families of kernels, and by network its first layer and what its kernels are."""

    families: tuple[Family, ...]
    firsts: Mapping[str, tuple[str, Mapping[str, Any]]]
    networks: Mapping[str, Network]
    key: str


def describe_kernels(study: Study) -> Described:
    """Find closed forms of first-layer kernels, and families of these and of depthwise kernels.

    What was found before is kept. Networks whose weights cannot be reached, and those without convolutions, are left
    out; one that fails is set aside. Raises BadInput where none is left.
    """
    usable = [(item, item.network) for item in ingest(study) if item.network is not None]
    held = {item.source.name: (item, network, _convolutions(network)) for item, network in usable}
    held = {name: (item, network, found) for name, (item, network, found) in held.items() if found}
    if not held:
        what = f"{study.path}: no network has convolutions whose kernels can be read"
        raise BadInput(what, hint="kernels are of vision networks; of ONNX graphs they cannot be reached")
    firsts = {}
    for name in study.each("kernels", list(held), name=str):
        item, network, found = held[name]
        first = min(found.values(), key=lambda convolution: convolution.step)
        with setting_aside(study, name):
            _check(network, found)
            firsts[name] = (first.layer, _of_first(study, item, network, first.layer))
    if not firsts:
        raise none_left(study, "described")
    held = {name: held[name] for name in firsts}
    known = [(name, item.key, network.lineage) for name, (item, network, _) in held.items()]
    key = content_key(VERSION, known, study.manifest.seed)
    file = study.store.result_path("kernels", key, ".json")
    if not file.exists():
        with threadpool_limits(1):
            made = _families(study, {name: (network, found) for name, (_, network, found) in held.items()})
            made += families_of_firsts(firsts, {name: network for name, (_, network, _) in held.items()})
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps([asdict(family.numbered(number)) for number, family in enumerate(made, 1)]))
    families = tuple(Family.read(row) for row in json.loads(file.read_text()))
    put = substitutions(study, {name: (item, network) for name, (item, network, _) in held.items()}, families)
    whole = content_key(key, list(firsts.values()), put)
    _index(study, whole, firsts, put)
    index_families(study, "K", key, families)
    return Described(families, firsts, {name: network for name, (_, network, _) in held.items()}, whole)


def _convolutions(network: Network) -> dict[str, Convolution]:
    try:
        return {name: one for name, one in convolutions(network).items() if one.weight}
    except Refused:
        return {}


def _check(network: Network, found: Mapping[str, Convolution]) -> None:
    """Raise Refused where kernels are not finite, or all zero."""
    for layer, one in found.items():
        given = kernels_of(network, one)
        if not (np.isfinite(given).all() and given.any()):
            wrong = "all zero" if not given.any() else "not finite"
            raise Refused("not-finite", f"kernels of {layer} are {wrong}", hint="leave the network out, or mend it")


def _of_first(study: Study, item: Ingested, network: Network, layer: str) -> dict[str, Any]:
    photos = study.probe.inputs if study.probe.image else None
    key = content_key(VERSION, item.key, layer, study.probe.key if photos is not None else "", study.manifest.seed)
    file = study.store.result_path("kernels", key, ".json")
    if not file.exists():
        with threadpool_limits(1):
            found = _fitted(study, network, layer, photos)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(found))
    return dict(json.loads(file.read_text()))


def _fitted(study: Study, network: Network, layer: str, photos: np.ndarray | None) -> dict[str, Any]:
    """Race the forms on every kernel; on the metric of one half of the photos, put into the network on the other."""
    given, seed = kernels(network, layer), study.manifest.seed
    live = np.flatnonzero(np.linalg.norm(given.reshape(len(given), -1), axis=1) > 1e-6 * np.linalg.norm(given))
    fits = tuple(raced[0] for raced in apart(race, given[live]))
    nulls = null_fits(given[live], seed=seed)
    evidence = evidence_beside(fits, nulls)
    more = {"units": len(given), "numbers": [dict(fit.numbers) for fit in fits], "chance": chance_kinds(nulls)}
    if photos is None:
        rows = [_row(int(unit), fit, told) for unit, fit, told in zip(live, fits, evidence, strict=True)]
        return {"kernels": rows, "substitution": [], **more}
    half = len(photos) // 2
    seen = sight(network, layer, photos[:half], count=PATCHES, seed=seed)
    metric = patch_metric(seen.patches)
    again = tuple(fit_form(given[unit], fit.form, metric=metric) for unit, fit in zip(live, fits, strict=True))
    rows = [
        _row(int(unit), fit, told) | {"fidelity": fidelity(given[unit], best.modelled, metric)}
        for unit, fit, told, best in zip(live, fits, evidence, again, strict=True)
    ]
    replaced = given.copy()
    replaced[live] = [fit.modelled for fit in again]
    size = round(float(np.mean([len(fit.numbers) + len(fit.colour) - 1 for fit in again])))
    count = SHOWN if network.layers[-1].units <= WIDE else MAPS_SHOWN
    compared = substitute_kernels(
        network, layer, replaced, photos[half:][:count], numbers=size, fitted=seen, seed=seed, device=study.device
    )
    return {
        **more,
        "kernels": rows,
        "substitution": [
            {**asdict(row), **{name: getattr(compared, name) for name in ("images", "sure", "units", "numbers")}}
            for row in compared.rows
        ],
    }


def _row(unit: int, fit: KernelFit, evidence: Evidence) -> dict[str, Any]:
    return {
        "unit": unit,
        "form": fit.form,
        "detector": detects(fit) if evidence.explained else "not reduced",
        "expression": to_text(fit.expression),
        "r2": fit.r2,
        "null_95": max(evidence.null_95.values()),
        "percentile": evidence.percentile,
        "explained": evidence.explained,
        "fidelity": None,
        "angle": fit.numbers.get("angle"),
        "frequency": fit.numbers.get("frequency"),
        "colour": fit.colour_name,
        "colour_axis": list(fit.colour),
    }


def _families(study: Study, held: Mapping[str, tuple[Network, Mapping[str, Convolution]]]) -> list[Family]:
    lineage = {name: network.lineage for name, (network, _) in held.items()}
    sizes: dict[tuple[int, int], dict[str, list[tuple[str, Float[np.ndarray, "units rows columns"]]]]] = {}
    for name, (network, found) in held.items():
        for layer, one in found.items():
            if one.depthwise and min(one.shape[2:]) >= SMALLEST:
                by_network = sizes.setdefault((one.shape[2], one.shape[3]), {})
                by_network.setdefault(name, []).append((layer, kernels_of(network, one)[:, 0]))
    made: list[Family] = []
    for size, stacks in sorted(sizes.items()):
        if len({lineage[name] for name in stacks}) < 2:
            continue
        groups = kernel_families(
            {name: np.concatenate([values for _, values in stack]) for name, stack in stacks.items()},
            seed=study.manifest.seed,
        )
        places = {
            name: [(layer, unit) for layer, values in stack for unit in range(len(values))]
            for name, stack in stacks.items()
        }
        made += [_family(one, size, places, lineage, len(set(lineage.values()))) for one in groups]
    return made


def _family(
    found: KernelFamily,
    size: tuple[int, int],
    places: Mapping[str, Sequence[tuple[str, int]]],
    lineage: Mapping[str, str],
    whole: int,
) -> Family:
    members = tuple(
        FamilyMember(name, *places[name][int(place)], 1, float("nan"))
        for name, rows in found.members.items()
        for place in rows
    )
    lineages = {lineage[name] for name in found.centres}
    expression = short_expression(found.fit.form, found.fit.numbers, Grid(*size))
    return Family(
        number=0,
        kind="kernel",
        detector=detects(found.fit),
        level=level_of(size),
        form=found.fit.form,
        members=members,
        lineages=len(lineages),
        universality=len(lineages) / whole,
        p=float("nan"),
        agreement=min(found.matches.values(), default=float("nan")),
        above_null=found.above_null,
        expression=to_text(expression),
        fidelity=drawn_r2(expression, found.centre),
        shared={name: (value, found.spread[name]) for name, value in found.fit.numbers.items()},
        by_lineage=kernel_peers(found.centres, found.fit.form),
        coverage={name: (share, found.null_coverage[name]) for name, share in found.coverage.items()},
        images={name: image.tolist() for name, image in found.centres.items()},
    )


def _index(
    study: Study,
    key: str,
    firsts: Mapping[str, tuple[str, Mapping[str, Any]]],
    put: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    with study.writing() as catalogue:
        if catalogue.indexed("kernels", "zoo") == key:
            return
        rows, replaced = [], []
        for name, (layer, kept) in firsts.items():
            rows += [{"network": name, "layer": layer, **row} for row in kept["kernels"]]
            replaced += [{"network": name, "layer": layer, **row} for row in kept["substitution"]]
            replaced += [{"network": name, **row} for row in put.get(name, ())]
        catalogue.replace({}, {"kernels": rows, "kernel_substitutions": replaced})
        catalogue.mark("kernels", "zoo", key, {"patches": PATCHES})
