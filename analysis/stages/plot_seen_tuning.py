"""Read off what units are tuned to what pictures show of it: curves over their law, shares of detectors by layer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ...zoo.store import content_key
from ..formulas.fit import predict
from ..formulas.parsing import parse
from ..vision.plot_shares import LayerShare, draw_shares
from ..vision.plot_tuning import Scale, TuningCurve, TuningPanel, draw_tuning
from ..vision.tuning import alternate
from ..vision.tuning_cuts import CUTS
from .drawing import Drawing
from .families import Family, FamilyMember
from .findings import Findings
from .stage_tuning import FAMILIES, OWN, Tuning, counts, family_rows

VERSION = "seen-tuning-1"
CURVES = 5
"""Curves of one network in a picture of tuning at the most."""
ROUND: Mapping[str, Scale] = {"orientation": "orientation", "direction": "direction", "hue": "direction"}
PERIOD = {"orientation": math.pi, "direction": 2 * math.pi, "hue": 2 * math.pi}
GAINS = {"a": 1.0, "b": 0.0, "A": 0.0, "B": 1.0}
RESPONSE = "response, from the least to the most of each unit"
EVENLY = f"Of each network at most {CURVES} units are drawn, evenly from the best described to the worst."


def tuning_pictures(findings: Findings) -> Iterator[Drawing]:
    """Draw the tuning curves of every family over an angle or a hue, with its law."""
    found = findings.tuning
    families = [family for family in found.families if FAMILIES[family.detector] in ROUND]
    if families:
        most = max(family.lineages for family in families)
        laws = "law of tuning is" if len(families) == 1 else "laws of tuning are"
        finding = f"{len(families)} {laws} shared, by up to {most} lineages"
        yield "tuning", content_key(VERSION, found.key), partial(_draw, found, families, finding)


def tuning_family_pictures(findings: Findings) -> Iterator[tuple[str, str, Drawing]]:
    """Draw the tuning curves of each family by itself, with its name and a caption."""
    found = findings.tuning
    for family in found.families:
        if FAMILIES[family.detector] in ROUND:
            name = f"T{family.number}"
            finding = f"{len(family.members):,} units, {family.lineages} lineages"
            draw = partial(_draw, found, [family], finding)
            caption = f"{name} {family.detector}: responses of units over their common law."
            yield name, caption, (f"tuning-{name}", content_key(VERSION, found.key, family.number), draw)


def _draw(found: Tuning, families: Sequence[Family], finding: str) -> Figure:
    panels = [_panel(found, family) for family in families]
    return draw_tuning(panels, finding=finding, response=RESPONSE, note=EVENLY)


def _panel(found: Tuning, family: Family) -> TuningPanel:
    kind, letter = FAMILIES[family.detector], f"T{family.number}"
    (coordinate,), rows = CUTS[kind].coordinates, family_rows(FAMILIES[family.detector])
    fine = np.linspace(0.0, PERIOD[kind], 181)
    constants = {name: np.full(len(fine), value) for name, value in {OWN[kind][0]: 0.0, **GAINS}.items()}
    law = predict(parse(family.expression), {coordinate: fine, **constants}, len(fine))
    return TuningPanel(
        coordinate=f"{letter} {family.detector}",
        scale=ROUND[kind],
        curves=[_curve(found, member, kind, rows) for member in _some(family.members)],
        law_places=fine,
        law_responses=_scaled(law),
        formula=family.expression,
        law=family.form,
        r2=family.fidelity,
        around=coordinate,
    )


def _some(members: Sequence[FamilyMember]) -> list[FamilyMember]:
    """Take some members of each network, evenly from the one that the law does best for to the worst."""
    best = sorted(members, key=lambda member: -member.r)
    chosen = []
    for name in dict.fromkeys(member.network for member in members):
        own = [member for member in best if member.network == name]
        places = np.linspace(0, len(own) - 1, min(len(own), CURVES)).round().astype(int)
        chosen += [own[place] for place in places]
    return chosen


def _curve(found: Tuning, member: FamilyMember, kind: str, rows: Float[np.ndarray, "samples one"]) -> TuningCurve:
    unit = found.results[member.network][member.layer]["units"][member.unit]
    fine = np.linspace(0.0, PERIOD[kind], 361)
    told = predict(parse(unit["laws"][kind]["expression"]), {CUTS[kind].coordinates[0]: fine}, len(fine))
    values = _scaled(np.array(unit["curves"][kind], dtype=np.float64))
    return TuningCurve(member.network, rows[:, 0], values, alternate(rows), float(fine[np.argmax(told)]))


def _scaled(values: Float[np.ndarray, " places"]) -> Float[np.ndarray, " places"]:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low if high > low else 1.0))


def share_pictures(findings: Findings) -> Iterator[Drawing]:
    """Draw the share of every kind of detector by layer and network, beside that of untrained twins."""
    found = findings.tuning
    yield "shares", content_key(VERSION, found.key), partial(_draw_shares, found)


def _draw_shares(found: Tuning) -> Figure:
    twins: dict[tuple[str, str], dict[str, int]] = {}
    for count in counts(found.results):
        if not count.parts:  # those of a sum are there already
            twins.setdefault((count.network, count.layer), {})[count.detector] = count.null_units
    rows = [
        LayerShare(
            network, layer, dict(Counter(unit["detector"] for unit in kept["units"])), twins.get((network, layer), {})
        )
        for network, layers in found.results.items()
        for layer, kept in layers.items()
    ]
    whole, left, silent = watched(found)
    finding = f"{whole - left - silent:,} of {whole:,} units detect what a law describes, {left:,} are not reduced"
    finding += f", {silent:,} silent" if silent else ""
    return draw_shares(rows, finding=finding)


def watched(found: Tuning) -> tuple[int, int, int]:
    """Count the units that were shown stimuli, those of them that are not reduced, and those that never vary."""
    detectors = [
        unit["detector"] for layers in found.results.values() for kept in layers.values() for unit in kept["units"]
    ]
    return len(detectors), detectors.count("not reduced"), detectors.count("silent")
