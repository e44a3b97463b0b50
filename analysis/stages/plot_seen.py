"""Read off what was seen in vision networks what pictures show of it: kernels, tuning, detectors, shares, a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from ...zoo.kernels import kernels
from ...zoo.maps import record_maps
from ...zoo.network import Network
from ...zoo.stimuli import find_stimulus, render
from ...zoo.store import content_key
from ..formulas.fit import predict
from ..formulas.parsing import parse
from ..formulas.printing import to_text
from ..project.study import Study
from ..vision.kernel_forms import fit_form
from ..vision.plot_detectors import DetectorMember, draw_detector
from ..vision.plot_kernels import KernelCell, KernelRow, draw_kernels
from ..vision.plot_map_agreement import draw_agreement_map
from ..vision.plot_shares import LayerShare, draw_shares
from ..vision.plot_table import TableCell, draw_table
from ..vision.plot_tuning import Scale, TuningCurve, TuningPanel, draw_tuning
from ..vision.tuned import COORDINATES
from ..vision.tuning import alternate
from .families import Family, FamilyMember
from .stage_kernels import Described, describe_kernels
from .stage_tuning import FAMILIES, OWN, Tuning, family_rows, tune

VERSION = "seen-2"
CURVES = 5
"""Curves of one network in a picture of tuning at the most, those that the law does best for."""
CROPS = 9
"""Crops that a unit answers most to."""
PHOTOS = 64
"""Photos among which these are looked for."""
DIGITS = 3
"""Digits of the numbers of formulas in pictures."""
SIDE = 48
"""The side in pixels of crops, and of stimuli that stand for a feature in a table."""
LEAST = 16
"""The least side in pixels of a crop, so that something can be made out."""
GRID = 56
"""Places along a side of maps that are compared."""
ROUND: Mapping[str, Scale] = {"orientation": "orientation", "direction": "direction", "hue": "direction"}
PERIOD = {"orientation": math.pi, "direction": 2 * math.pi, "hue": 2 * math.pi}
GAINS = {"a": 1.0, "b": 0.0, "A": 0.0, "B": 1.0}
TWINS_SAID = "Of untrained twins some units follow a law as well: consilience tune tells how many."
POOLED = "Each map is the mean of all of a network's members in one layer."

Drawing = tuple[str, str, Callable[[], Figure]]


def kernel_pictures(study: Study) -> Iterator[Drawing]:
    """Draw families of depthwise kernels, and the best kernels of first layers, network by network."""
    found = describe_kernels(study)
    if found.families:
        yield "kernels", content_key(VERSION, found.key), partial(_draw_families, found)
    if any(kept["kernels"] for _, kept in found.firsts.values()):
        yield "kernels-first", content_key(VERSION, found.key), partial(_draw_first, found)


def _draw_families(found: Described) -> Figure:
    rows = [
        KernelRow(
            name=f"K{family.number} {family.detector}",
            cells={name: _cell(np.array(image), family.form) for name, image in family.images.items()},
            formula=_short(family),
            detail=f"{family.form.replace('_', ' ')}, {len(family.members):,} kernels",
        )
        for family in found.families
    ]
    networks = list(dict.fromkeys(name for family in found.families for name in family.images))
    above = sum(family.above_null for family in found.families)
    finding = f"{above} of {len(found.families)} forms of depthwise kernels are shared above chance"
    return draw_kernels(rows, networks=networks, finding=finding)


def _short(family: Family) -> str:
    return to_text(parse(family.expression), digits=DIGITS)


def _cell(image: Float[np.ndarray, "rows columns"], form: str) -> KernelCell:
    fit = fit_form(image[None], form)
    return KernelCell(image[None], fit.modelled, fit.r2)


def _draw_first(found: Described) -> Figure:
    """Draw for each form the kernel of every network that it explains best."""
    best: dict[str, dict[str, Mapping[str, object]]] = {}
    for name, (_, kept) in found.firsts.items():
        for row in sorted(kept["kernels"], key=lambda row: row["r2"]):
            if row["explained"]:
                best.setdefault(row["form"], {})[name] = row
    rows = [
        KernelRow(form.replace("_", " "), {name: _first(found, name, row) for name, row in by_network.items()})
        for form, by_network in sorted(best.items(), key=lambda pair: -len(pair[1]))
    ]
    whole = sum(len(kept["kernels"]) for _, kept in found.firsts.values())
    explained = sum(row["explained"] for _, kept in found.firsts.values() for row in kept["kernels"])
    finding = f"{explained} of {whole} kernels of first layers have a closed form above chance"
    return draw_kernels(rows, networks=list(found.firsts), finding=finding, note="The best of each form is drawn.")


def _first(found: Described, name: str, row: Mapping[str, object]) -> KernelCell:
    unit, form = int(str(row["unit"])), str(row["form"])
    kernel = kernels(found.networks[name], found.firsts[name][0])[unit]
    return KernelCell(kernel, fit_form(kernel, form).modelled, float(str(row["r2"])), f"unit {unit}")


def tuning_pictures(study: Study) -> Iterator[Drawing]:
    """Draw the tuning curves of every family over an angle or a hue, over its law."""
    found = tune(study)
    if any(FAMILIES[family.detector] in ROUND for family in found.families):
        yield "tuning", content_key(VERSION, found.key), partial(_draw_tuning, found)


def _draw_tuning(found: Tuning) -> Figure:
    families = [family for family in found.families if FAMILIES[family.detector] in ROUND]
    return draw_tuning(
        [_panel(found, family) for family in families],
        finding=f"{len(families)} laws of tuning are shared, by up to {max(f.lineages for f in families)} lineages",
        response="response [from least to most]",
        note=f"Of each network at most {CURVES} units are drawn, those that the law does best for.",
    )


def _panel(found: Tuning, family: Family) -> TuningPanel:
    kind, letter = FAMILIES[family.detector], f"T{family.number}"
    (coordinate,), rows = COORDINATES[kind], family_rows(FAMILIES[family.detector])
    fine = np.linspace(0.0, PERIOD[kind], 181)
    constants = {name: np.full(len(fine), value) for name, value in {OWN[kind][0]: 0.0, **GAINS}.items()}
    law = predict(parse(family.expression), {coordinate: fine, **constants}, len(fine))
    return TuningPanel(
        coordinate=f"{letter} {family.detector}",
        scale=ROUND[kind],
        curves=[_curve(found, member, kind, rows) for member in _some(family.members)],
        law_places=fine,
        law_responses=_scaled(law),
        formula=_short(family),
        law=family.form,
        r2=family.fidelity,
    )


def _some(members: Sequence[FamilyMember]) -> list[FamilyMember]:
    """Take the members of each network that the law does best for."""
    best = sorted(members, key=lambda member: -member.r)
    networks = dict.fromkeys(member.network for member in members)
    return [one for name in networks for one in [m for m in best if m.network == name][:CURVES]]


def _curve(found: Tuning, member: FamilyMember, kind: str, rows: Float[np.ndarray, "samples one"]) -> TuningCurve:
    unit = found.results[member.network][member.layer]["units"][member.unit]
    fine = np.linspace(0.0, PERIOD[kind], 361)
    told = predict(parse(unit["laws"][kind]["expression"]), {COORDINATES[kind][0]: fine}, len(fine))
    values = _scaled(np.array(unit["curves"][kind], dtype=np.float64))
    return TuningCurve(member.network, rows[:, 0], values, alternate(rows), float(fine[np.argmax(told)]))


def _scaled(values: Float[np.ndarray, " places"]) -> Float[np.ndarray, " places"]:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low if high > low else 1.0))


def share_pictures(study: Study) -> Iterator[Drawing]:
    """Draw the share of every kind of detector by layer and network."""
    found = tune(study)
    yield "shares", content_key(VERSION, found.key), partial(_draw_shares, found)


def _draw_shares(found: Tuning) -> Figure:
    rows = [
        LayerShare(network, layer, dict(Counter(unit["detector"] for unit in kept["units"])))
        for network, layers in found.results.items()
        for layer, kept in layers.items()
    ]
    whole = sum(sum(row.counts.values()) for row in rows)
    left = sum(row.counts.get("not reduced", 0) + row.counts.get("silent", 0) for row in rows)
    return draw_shares(rows, finding=f"{whole - left:,} of {whole:,} units follow a law of tuning", note=TWINS_SAID)


def table_pictures(study: Study) -> Iterator[Drawing]:
    """Draw all families as a table: what they detect, in how many lineages, and their equation."""
    kernel, tuning = describe_kernels(study), tune(study)
    if kernel.families or tuning.families:
        yield "table", content_key(VERSION, kernel.key, tuning.key), partial(_draw_table, study, kernel, tuning)


def _draw_table(study: Study, kernel: Described, tuning: Tuning) -> Figure:
    lineages = {one.network.lineage for one in tuning.presented} | {one.lineage for one in kernel.networks.values()}
    cells = [
        TableCell(
            f"K{family.number}",
            family.detector,
            family.lineages,
            len(lineages),
            kernel=np.mean([np.array(image) for image in family.images.values()], axis=0)[None],
            formula=_short(family),
        )
        for family in kernel.families
        if family.above_null
    ]
    cells += [
        TableCell(
            f"T{family.number}",
            family.detector,
            family.lineages,
            len(lineages),
            stimulus=_liked(tuning, family),
            formula=_short(family),
            percentile=100 * (1 - family.p),
        )
        for family in tuning.families
    ]
    finding = f"{len(cells)} kinds of detectors are shared by networks that were trained apart"
    return draw_table(
        cells, finding=finding, note="Percentiles are those of the weakest lineage among untrained twins."
    )


def _liked(tuning: Tuning, family: Family) -> Float[np.ndarray, "height width 3"]:
    """Render the grating, or the colour, that the family's best member likes best."""
    best = max(family.members, key=lambda member: member.r)
    unit = tuning.results[best.network][best.layer]["units"][best.unit]
    if family.detector == "colour":
        fine = np.linspace(0.0, 2 * np.pi, 361)
        told = predict(parse(unit["laws"]["hue"]["expression"]), {"hue": fine}, len(fine))
        row = {"hue": float(fine[np.argmax(told)]), "saturation": 1.0, "luminance": 0.5}
        return np.asarray(render(find_stimulus("colour"), np.array([list(row.values())]), side=SIDE)[0])
    indices = unit["indices"]
    row = {"angle": indices["angle"], "frequency": 2.0 / SIDE, "phase": indices["phase"], "contrast": 1.0}
    return np.asarray(render(find_stimulus("grating"), np.array([list(row.values())]), side=SIDE)[0])


def detector_pictures(study: Study) -> Iterator[Drawing]:
    """Draw every family in all networks: the photos that its best unit answers most to, and its map over one photo."""
    found = tune(study)
    for family in found.families if study.probe.image else ():
        key = content_key(VERSION, found.key, study.probe.key, family.number)
        yield f"detector-T{family.number}", key, partial(_draw_detector, study, found, family)
        yield f"detector-map-T{family.number}", key, partial(_draw_map, study, found, family)


def _best(family: Family) -> dict[str, FamilyMember]:
    return {member.network: member for member in sorted(family.members, key=lambda member: member.r)}


def _draw_detector(study: Study, found: Tuning, family: Family) -> Figure:
    networks = {one.network.name: one.network for one in found.presented}
    photos = study.probe.inputs[:PHOTOS]
    members = {
        name: _seen(networks[name], member, photos, found.results[name][member.layer]["field"])
        for name, member in _best(family).items()
    }
    return draw_detector(
        members,
        networks=list(networks),
        name=f"T{family.number}",
        detector=family.detector,
        lineages=family.lineages,
        of=len({network.lineage for network in networks.values()}),
        formula=family.expression,
        image=photos[0],
        note="Of each network the unit is shown that the law does best for.",
    )


def _seen(
    network: Network, member: FamilyMember, photos: UInt8[np.ndarray, "photos side side 3"], field: Mapping[str, float]
) -> DetectorMember:
    """Find the pieces of photos that a unit answers most to, one of each photo, as large as what it sees."""
    maps = np.concatenate(
        [batch[member.layer].post[:, member.unit] for batch in record_maps(network, photos, [member.layer])]
    )
    peaks = maps.reshape(len(maps), -1)
    best = np.argsort(-peaks.max(axis=1))[:CROPS]
    share = min(1.0, max(float(field["size"]), LEAST) / _side(network, photos.shape[1]))
    crops = [_crop(photos[n], divmod(int(peaks[n].argmax()), maps.shape[2]), maps.shape[1:], share) for n in best]
    return DetectorMember(
        f"{member.layer}[{member.unit}]", crops=np.stack(crops), response=maps[0].astype(np.float64), r=member.r
    )


def _side(network: Network, shown: int) -> int:
    """Tell the side of what a network is shown of photos, in its own pixels."""
    size = network.preprocessing.size if network.preprocessing is not None else None
    return size[0] if size else shown


def _crop(
    photo: UInt8[np.ndarray, "side side 3"], place: Sequence[int], places: Sequence[int], share: float
) -> UInt8[np.ndarray, "size size 3"]:
    """Cut a square out of a photo round a place of a map, enlarged to one size."""
    from PIL import Image

    half, side = max(2, round(share * len(photo) / 2)), len(photo)
    row, column = (
        int(np.clip((at + 0.5) / of * side, half, side - half)) for at, of in zip(place, places, strict=True)
    )
    piece = Image.fromarray(photo[row - half : row + half, column - half : column + half])
    return np.asarray(piece.resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _draw_map(study: Study, found: Tuning, family: Family) -> Figure:
    networks = {one.network.name: one.network for one in found.presented}
    photo = study.probe.inputs[:1]
    maps = {name: _energy(networks[name], family, name, photo) for name in _best(family)}
    return draw_agreement_map(
        photo[0], maps, networks=list(networks), name=f"T{family.number} {family.detector}", note=POOLED
    )


def _energy(network: Network, family: Family, name: str, photo: np.ndarray) -> Float[np.ndarray, "rows columns"]:
    """Take the mean of what all a network's members of a family give at each place, on one grid for all networks."""
    from scipy.ndimage import zoom

    total: np.ndarray | None = None
    own = [member for member in family.members if member.network == name]
    layer = Counter(member.layer for member in own).most_common(1)[0][0]
    units = [member.unit for member in own if member.layer == layer]
    for batch in record_maps(network, photo, [layer]):
        total = batch[layer].post[0, units].astype(np.float64).mean(axis=0)
    assert total is not None
    grid = zoom(total, [GRID / side for side in total.shape], order=1, grid_mode=True, mode="nearest")
    return np.asarray((grid - grid.mean()) / max(float(grid.std()), 1e-12))


SEEN: dict[str, Callable[[Study], Iterator[Drawing]]] = {
    "kernels": kernel_pictures,
    "tuning": tuning_pictures,
    "shares": share_pictures,
    "table": table_pictures,
    "detectors": detector_pictures,
}
"""Pictures of vision networks."""
