"""Tune: find what units of vision networks are tuned to, against untrained twins, and the families that they form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from ...zoo.stimuli import find_stimulus
from ...zoo.store import content_key, write_atomically
from ..alignment.null import q_values
from ..formulas.printing import to_text
from ..project.processes import apart
from ..project.study import Study
from ..vision.detector_counts import (
    PASSING,
    TOGETHER,
    Count,
    count_detectors,
    names_of,
    shared_by_two,
    twins_apart,
)
from ..vision.shown import Shown
from ..vision.tuned import Tuned, tune_units
from ..vision.tuning_cuts import CUTS, SIZES
from ..vision.tuning_families import fit_family, leave_lineages_out
from ..vision.tuning_indices import ABOUT, suppression
from ..vision.tuning_laws import LAWS, TuningLaw
from .families import Family, FamilyMember, index_families
from .set_aside import none_left, setting_aside
from .stage_present import STIMULI, Field, Presented, present, present_twin, shown
from .stage_second import Second, present_second

VERSION = "tuning-3"
JUDGED = "judged-1"
"""Changes with how what was found is counted and put together."""
TWINS = 2
"""So many untrained twins of every network are shown the same."""
KINDS: Mapping[str, str] = {"oriented": "orientation", **ABOUT}
"""What the law of a detector, or of several together, is about."""
OWN: Mapping[str, tuple[str, ...]] = {
    "orientation": ("angle0",),
    "direction": ("angle0",),
    "hue": ("hue0",),
    "position position": ("x0", "y0"),
}
"""What of a law is each unit's own beside gain and offset: where it lies, not what shape it has."""
FAMILIES: Mapping[str, str] = {name: kind for name, kind in KINDS.items() if kind in OWN}
"""Detectors that may form families."""


@dataclass(frozen=True, slots=True, eq=False)
class Tuning:
    """What was found: families, by network and layer what every unit is tuned to, and where the responses are kept."""

    families: tuple[Family, ...]
    results: Mapping[str, Mapping[str, Any]]
    presented: tuple[Presented, ...]
    key: str


def tune(study: Study) -> Tuning:
    """Find what units are tuned to and the families that they form; what was found before is kept.

    Raises what `present` raises.
    """
    seen = present(study)
    results = {}
    for one in study.each("tuning", seen, name=_name):
        with setting_aside(study, _name(one)):
            results[_name(one)] = _of_network(study, one)
    seen = tuple(one for one in seen if _name(one) in results)
    if not seen:
        raise none_left(study, "tuned")
    key = content_key(VERSION, JUDGED, [(one.key, one.network.lineage) for one in seen], study.manifest.seed)
    file = study.store.result_path("tuning", key, ".json")
    if not file.exists():
        with threadpool_limits(1):
            found = _families(seen, results)
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps([asdict(family) for family in found]))
    families = tuple(Family.read(row) for row in json.loads(file.read_text()))
    _index(study, key, results)
    index_families(study, "T", key, families)
    return Tuning(families, results, seen, key)


def _name(presented: Presented) -> str:
    return presented.network.name


def _of_network(study: Study, presented: Presented) -> dict[str, Any]:
    second = present_second(study, presented)
    key = content_key(VERSION, presented.key, TWINS, second.key if second else "")
    file = study.store.result_path("tuning", key, ".json")
    if not file.exists():
        seen = (presented, *(present_twin(study, presented, draw) for draw in range(TWINS)))
        layers = [layer.name for layer in presented.layers]
        tuned = apart(
            _tuned, [_given(one, layer, second if one is presented else None) for layer in layers for one in seen]
        )
        found = {
            layer: {
                "units": [_plain(unit) for unit in next(tuned)],
                "twins": [[unit.detector for unit in next(tuned)] for _ in range(TWINS)],
                "field": asdict(presented.field(layer)),
                "rows": second.rows(layer) if second else {},
            }
            for layer in layers
        }
        with write_atomically(file) as temporary:
            temporary.write_text(json.dumps(found))
    return dict(json.loads(file.read_text()))


def _given(presented: Presented, layer: str, second: Second | None) -> tuple[Mapping[str, Shown], Field]:
    """Gather what the units of a layer gave, less that to grey, and what they see."""
    grey = presented.blank(layer)[:, None].astype(np.float64)
    stimuli = {
        name: Shown(find_stimulus(name).names, shown(name), presented.responses(layer, name) - grey) for name in STIMULI
    }
    return {**stimuli, **(second.shown(layer, grey) if second else {})}, presented.field(layer)


def _tuned(given: tuple[Mapping[str, Shown], Field]) -> tuple[Tuned, ...]:
    stimuli, field = given
    return tune_units(stimuli, lattice=field.lattice, centre=(field.middle, field.middle))


def _plain(unit: Tuned) -> dict[str, Any]:
    return {
        "unit": unit.unit,
        "detector": unit.detector,
        "indices": None if unit.indices is None else asdict(unit.indices),
        "laws": {
            kind: {
                "law": fit.law,
                "expression": to_text(fit.expression),
                "r2": fit.r2,
                "reduced": fit.reduced,
                "suppression": suppression(unit.curves[kind]) if kind in SIZES else None,
            }
            for kind, fit in unit.laws.items()
        },
        "curves": {kind: curve.tolist() for kind, curve in unit.curves.items()},
    }


def counts(results: Mapping[str, Mapping[str, Any]]) -> tuple[Count, ...]:
    """Count detectors by layer, in the networks and in their untrained twins."""
    return count_detectors(results, KINDS)


def _families(seen: Sequence[Presented], results: Mapping[str, Mapping[str, Any]]) -> list[Family]:
    """Put together the units of every detector that two lineages have, in the layers that have more than their twins.

    The p-values of detectors are corrected for how many there are (Benjamini & Hochberg 1995).
    """
    lineage = {one.network.name: one.network.lineage for one in seen}
    told = {name: [count for count in counts(results) if count.detector == name] for name in FAMILIES}
    shared = q_values(np.array([shared_by_two(layers, lineage) for layers in told.values()])).tolist()
    found = []
    for (name, layers), p in zip(told.items(), shared, strict=True):
        passed = [count for count in layers if count.above_null]
        units = [
            (count, unit)
            for count in passed
            for unit in results[count.network][count.layer]["units"]
            if unit["detector"] in names_of(name)
        ]
        if p <= PASSING and len({lineage[count.network] for count in passed}) > 1:
            found.append(_family(name, units, lineage, p=p))
    ranked = sorted(found, key=lambda family: (-family.lineages, -len(family.members)))
    return [family.numbered(number) for number, family in enumerate(ranked, 1)]


def _level(detector: str, kind: str) -> str:
    """Say what a family is about, and where its units are in another family too."""
    about, parts = f"{kind.split()[0]} tuning", TOGETHER.get(detector, ())
    whole = [name for name, others in TOGETHER.items() if detector in others]
    return about + (f" of {', '.join(parts)} together" if parts else f", also in {whole[0]}" if whole else "")


def _family(
    detector: str, units: Sequence[tuple[Count, Mapping[str, Any]]], lineage: Mapping[str, str], *, p: float
) -> Family:
    """Fit the law that does best for all units at once, and then without each lineage in turn.

    Where laws have no number that units could share, the family is of those that follow the commonest law.
    """
    kind = FAMILIES[detector]
    laws = [law for law in LAWS[kind] if {number.name for number in law.numbers} - {*OWN[kind], *law.gain}]
    found = _shared(kind, laws, units, lineage) if laws else _alike(kind, units)
    lineages = {lineage[count.network] for count, _ in found.units}
    return Family(
        number=0,
        kind="tuning",
        detector=detector,
        level=_level(detector, kind),
        form=found.law,
        members=tuple(
            FamilyMember(count.network, count.layer, int(unit["unit"]), 1, r2)
            for (count, unit), r2 in zip(found.units, found.unit_r2, strict=True)
        ),
        lineages=len(lineages),
        universality=len(lineages) / len(set(lineage.values())),
        p=p,
        agreement=found.r2,
        above_null=len(lineages) > 1,
        expression=found.expression,
        fidelity=found.r2,
        shared=found.shared,
        by_lineage=found.by_lineage,
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """The law of a family, its units, and how well it does for each."""

    law: str
    expression: str
    units: Sequence[tuple[Count, Mapping[str, Any]]]
    unit_r2: Sequence[float]
    r2: float
    shared: Mapping[str, tuple[float, float]]
    by_lineage: Mapping[str, tuple[float, float]]


def _shared(
    kind: str,
    laws: Sequence[TuningLaw],
    units: Sequence[tuple[Count, Mapping[str, Any]]],
    lineage: Mapping[str, str],
) -> _Found:
    rows, values = family_rows(kind), np.array([unit["curves"][kind] for _, unit in units])
    fits = [(law, fit_family(law, rows, values, OWN[kind])) for law in laws]
    law, best = max(fits, key=lambda pair: round(pair[1].r2, 2))
    left_out = leave_lineages_out(law, rows, values, [lineage[count.network] for count, _ in units], OWN[kind])
    return _Found(
        best.law,
        to_text(best.expression),
        units,
        best.unit_r2.tolist(),
        best.r2,
        {name: (value, best.spread[name]) for name, value in best.shared.items()},
        {one.lineage: (one.r2, one.ratio) for one in left_out},
    )


def _alike(kind: str, units: Sequence[tuple[Count, Mapping[str, Any]]]) -> _Found:
    """Keep the units that follow the commonest law, all of whose numbers are each unit's own."""
    name = Counter(unit["laws"][kind]["law"] for _, unit in units).most_common(1)[0][0]
    own = [(count, unit) for count, unit in units if unit["laws"][kind]["law"] == name]
    scores = [float(unit["laws"][kind]["r2"]) for _, unit in own]
    text = next(law.text for law in LAWS[kind] if law.name == name)
    return _Found(name, text, own, scores, float(np.median(scores)), {}, {})


def family_rows(kind: str) -> Float[np.ndarray, "samples coordinates"]:
    """Give the values of the coordinates at which units of a family were shown stimuli."""
    cut = CUTS[kind]
    rows = shown(cut.stimulus)
    return Shown(find_stimulus(cut.stimulus).names, rows, np.zeros((0, len(rows)))).rows_of(*cut.coordinates)


def _index(study: Study, key: str, results: Mapping[str, Mapping[str, Any]]) -> None:
    with study.writing() as catalogue:
        if catalogue.indexed("tuning", "zoo") == key:
            return
        tunings, laws = [], []
        for network, layers in results.items():
            for layer, kept in layers.items():
                seen = {"receptive_field": int(kept["field"]["size"]), "stride": kept["field"]["stride"]}
                for unit in kept["units"]:
                    at = {"network": network, "layer": layer, "unit": unit["unit"]}
                    tunings.append({**at, **_indices(unit), **seen})
                    laws += [
                        {**at, "stimulus": CUTS[kind].stimulus, "coordinate": kind, **law}
                        for kind, law in unit["laws"].items()
                    ]
        rows = [{**asdict(count), "above_null": count.above_null} for count in counts(results)]
        catalogue.replace({}, {"tunings": tunings, "laws": laws, "detectors": rows})
        beyond, of = twins_apart(results)
        held = {"twins": TWINS, "twins_beyond": beyond, "of_counts": of}
        catalogue.mark("tuning", "zoo", key, held | {"stimuli": {name: dict(STIMULI[name]) for name in STIMULI}})


def _indices(unit: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        *("angle", "frequency", "phase", "selectivity", "orthogonal", "f1_f0", "modulation", "half_width"),
        *("bandwidth", "separability", "colour", "aliased"),
    )
    found = unit["indices"] or {}
    return {"detector": unit["detector"], **{name: found.get(name) for name in names}}
