"""Read off families of vision networks what they see in photos: crops, maps over one photo, where networks agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from ...zoo.maps import record_maps
from ...zoo.network import Network
from ...zoo.store import content_key
from ..project.study import Study
from ..vision.plot_detectors import DetectorMember, draw_detector
from ..vision.plot_map_agreement import draw_agreement_map
from .drawing import Drawing
from .families import Family, FamilyMember
from .findings import Findings
from .stage_tuning import Tuning

VERSION = "seen-detectors-1"
CROPS = 9
"""Crops that a unit answers most to."""
PHOTOS = 64
"""Photos among which these are looked for."""
SIDE = 48
"""The side in pixels of crops."""
LEAST = 16
"""The least side in pixels of a crop, so that something can be made out."""
GRID = 56
"""Places along a side of maps that are compared."""
MATCHED = 4
"""Features of maps that are drawn: the first, which are in most lineages."""
POOLED = "Each map is the mean of all of a network's members in one layer, less its mean over the photo."
BEST = {
    "tuning": "Of each network the unit is shown that the law does best for.",
    "map": "Of each network the unit is shown that is most like the others.",
}
SCORES = {"tuning": "R²", "map": "r"}


def detector_pictures(findings: Findings) -> Iterator[Drawing]:
    """Draw families of tuning, and the first features of maps, in all networks: best crops, and maps over one photo."""
    for _, _, drawing in detector_family_pictures(findings):
        yield drawing


def detector_family_pictures(findings: Findings) -> Iterator[tuple[str, str, Drawing]]:
    """Draw the same, with the name of the family and a caption for each picture."""
    study, found = findings.study, findings.tuning
    if not study.probe.image:
        return
    matched = findings.matched[:MATCHED]
    for letter, family in [*(("T", one) for one in found.families), *(("M", one) for one in matched)]:
        name = f"{letter}{family.number}"
        key = content_key(VERSION, found.key, study.probe.key, name, [str(member) for member in family.members])
        seen = partial(_draw_detector, study, found, name, family)
        yield name, f"{name} {family.detector}: what its units answer most to.", (f"detector-{name}", key, seen)
        where = partial(_draw_map, study, found, name, family)
        yield name, f"{name} {family.detector}: where networks agree.", (f"detector-map-{name}", key, where)


def _best(family: Family) -> dict[str, FamilyMember]:
    return {member.network: member for member in sorted(family.members, key=lambda member: abs(member.r))}


def _draw_detector(study: Study, found: Tuning, name: str, family: Family) -> Figure:
    networks = {one.network.name: one.network for one in found.presented}
    photos = study.probe.inputs[:PHOTOS]
    members = {
        network: _seen(networks[network], member, photos, found.results[network][member.layer]["field"])
        for network, member in _best(family).items()
    }
    return draw_detector(
        members,
        networks=list(networks),
        name=name,
        detector=family.detector,
        lineages=family.lineages,
        of=len({network.lineage for network in networks.values()}),
        formula="" if family.unreduced else family.expression,
        image=photos[0],
        score=SCORES[family.kind],
        note=BEST[family.kind],
    )


def _seen(
    network: Network, member: FamilyMember, photos: UInt8[np.ndarray, "photos side side 3"], field: Mapping[str, float]
) -> DetectorMember:
    """Find the pieces of photos that a unit answers most to, one of each photo, as large as what it sees."""
    recorded = record_maps(network, photos, [member.layer])
    # Copies: views of one unit would keep the maps of all.
    own = [batch[member.layer].post[:, member.unit].astype(np.float64) for batch in recorded]
    maps = member.sign * np.concatenate(own)
    peaks = maps.reshape(len(maps), -1)
    best = np.argsort(-peaks.max(axis=1))[:CROPS]
    share = min(1.0, max(float(field["size"]), LEAST) / _side(network, photos.shape[1]))
    crops = [_crop(photos[n], divmod(int(peaks[n].argmax()), maps.shape[2]), maps.shape[1:], share) for n in best]
    return DetectorMember(
        f"{member.layer}[{member.unit}]",
        crops=np.stack(crops),
        response=maps[0] - np.median(maps[0]),
        r=member.sign * member.r,
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


def _draw_map(study: Study, found: Tuning, name: str, family: Family) -> Figure:
    networks = {one.network.name: one.network for one in found.presented}
    photo = study.probe.inputs[:1]
    maps = {network: _energy(networks[network], family, network, photo) for network in _best(family)}
    return draw_agreement_map(
        photo[0],
        maps,
        networks=list(networks),
        name=f"{name} {family.detector}",
        unit="standard deviations of each map",
        note=POOLED,
    )


def _energy(network: Network, family: Family, name: str, photo: np.ndarray) -> Float[np.ndarray, "rows columns"]:
    """Take the mean of what all a network's members of a family give at each place, on one grid for all networks."""
    from scipy.ndimage import zoom

    own = [member for member in family.members if member.network == name]
    layer = Counter(member.layer for member in own).most_common(1)[0][0]
    kept = [member for member in own if member.layer == layer]
    signs = np.array([member.sign for member in kept])[:, None, None]
    (batch,) = record_maps(network, photo, [layer])
    total = (signs * batch[layer].post[0, [member.unit for member in kept]].astype(np.float64)).mean(axis=0)
    grid = zoom(total, [GRID / side for side in total.shape], order=1, grid_mode=True, mode="nearest")
    return np.asarray((grid - grid.mean()) / max(float(grid.std()), 1e-12))
