"""How alike two units, or two whole layers, are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Num

from ...zoo.errors import BadInput
from .moments import measure

BLOCK = 1024
# Likeness of whole layers is told well by a few hundred samples, and all of them would cost their square.
TABLE_SAMPLES = 512
FEWEST_SAMPLES = 4  # the unbiased estimator of HSIC divides by n - 3


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What the units of one layer of one network gave on the probe.

    odd: whether a unit of this layer may stand for its negative (tanh, linear; never outputs).
    lineage: networks of one lineage are one witness. alive: dead units are never matched.
    source: the Network and the name of its layer, where that is known: weight matching needs them.
    """

    values: Num[np.ndarray, "samples units"]
    odd: bool
    lineage: str
    alive: Bool[np.ndarray, " units"]
    source: tuple[Any, str] | None = None


def activations(
    values: Num[np.ndarray, "samples units"],
    *,
    odd: bool = False,
    lineage: str,
    alive: Bool[np.ndarray, " units"] | None = None,
    source: tuple[Any, str] | None = None,
) -> Activations:
    """Describe a layer's activations, marking dead units unless the caller knows them already.

    Raises BadInput for fewer than four samples.
    """
    if len(values) < FEWEST_SAMPLES:
        raise BadInput(
            f"{len(values)} samples are too few to compare units",
            hint=f"give the probe at least {FEWEST_SAMPLES} samples, better a thousand",
        )
    varies = measure(values).alive
    return Activations(values, odd, lineage, varies if alive is None else varies & alive, source)


def standardise(
    layer: Num[np.ndarray, "samples units"], *, alive: Bool[np.ndarray, " units"] | None = None
) -> Float[np.ndarray, "samples units"]:
    """Centre every unit and scale it to length one, so that products are correlations; dead units give 0."""
    moments = measure(layer)
    live = moments.alive if alive is None else moments.alive & alive
    mean = np.where(live, moments.mean, 0.0)
    length = np.sqrt(np.where(live, moments.squares, 1.0))
    return np.where(live, (np.where(live, layer, 0.0) - mean) / length, 0.0)


def correlate(
    left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "_samples right"]
) -> Float[np.ndarray, "left right"]:
    """Correlate every left unit with every right unit over the same samples.

    Pearson's r, in [-1, 1]; a unit that never varies correlates 0 with everything.
    """
    _same_samples(left, right)
    reference = standardise(right)
    r = np.empty((left.shape[1], right.shape[1]))
    for start in range(0, left.shape[1], BLOCK):
        r[start : start + BLOCK] = standardise(left[:, start : start + BLOCK]).T @ reference
    return np.clip(r, -1.0, 1.0)


def product(
    left: Float[np.ndarray, "samples left"], right: Float[np.ndarray, "samples right"], *, device: str = "cpu"
) -> Float[np.ndarray, "left right"]:
    """Multiply standardised units in the precision they have, on a device: their correlations."""
    if device == "cpu":
        r: Float[np.ndarray, "left right"] = left.T @ right
        return r
    import torch

    first, second = (torch.from_numpy(np.ascontiguousarray(side)).to(device) for side in (left, right))
    return np.asarray((first.T @ second).cpu().numpy())


def resemblance(
    r: Float[np.ndarray, "left right"],
    *,
    left_odd: Bool[np.ndarray, " left"] | bool,
    right_odd: Bool[np.ndarray, " right"] | bool,
) -> Float[np.ndarray, "left right"]:
    """Drop the sign of r where one of the two units may be flipped, keep it elsewhere."""
    either = np.asarray(left_odd).reshape(-1, 1) | np.asarray(right_odd).reshape(1, -1)
    return np.where(either, np.abs(r), r)


def cka(left: Num[np.ndarray, "samples left"], right: Num[np.ndarray, "_samples right"]) -> float:
    """Compare two layers by unbiased linear CKA, about 0 for unrelated ones and 1 for the same.

    HSIC of Song et al. 2012 (equation 5), CKA of Kornblith et al. 2019 in the unbiased form of Nguyen
    et al. 2021, in float64, through the smaller of the two Gram matrices. Layers without a live unit give 0.
    Raises BadInput for fewer than four samples.
    """
    _same_samples(left, right)
    first, second = _centred(left), _centred(right)
    if max(first.shape[1], second.shape[1]) < len(first):
        cross = _feature_hsic(first, second)
        scale = _feature_hsic(first, first) * _feature_hsic(second, second)
    else:
        one, two = centred_gram(first), centred_gram(second)
        cross, scale = float(np.vdot(one, two)), float(np.vdot(one, one) * np.vdot(two, two))
    return cross / float(np.sqrt(scale)) if scale > 0.0 else 0.0


def centred_gram(layer: Num[np.ndarray, "samples units"]) -> Float[np.ndarray, "samples samples"]:
    """Centre a layer's sample Gram matrix without its diagonal, so that inner products are unbiased.

    The U-centring of Székely & Rizzo 2014: <K, L> / n(n-3) is HSIC_1 of Song et al. 2012.
    """
    centred = _centred(layer)
    n = len(centred)
    gram: Float[np.ndarray, "samples samples"] = centred @ centred.T
    np.fill_diagonal(gram, 0.0)
    rows = gram.sum(axis=0) / (n - 2)
    gram += rows.sum() / (n - 1) - rows[:, None] - rows
    np.fill_diagonal(gram, 0.0)
    return gram


def _feature_hsic(left: Float[np.ndarray, "samples left"], right: Float[np.ndarray, "samples right"]) -> float:
    # n(n-3) HSIC_1 with centred features: no sample x sample matrix is ever formed.
    n = len(left)
    left_own, right_own = (np.einsum("su,su->s", side, side) for side in (left, right))
    trace = np.sum((left.T @ right) ** 2) - left_own @ right_own
    total = left_own.sum() * right_own.sum() / ((n - 1) * (n - 2))
    # Centred features: the row sums of the Gram matrix without its diagonal are minus that diagonal.
    return float(trace + total - 2.0 / (n - 2) * (left_own @ right_own))


def _centred(layer: Num[np.ndarray, "samples units"]) -> Float[np.ndarray, "samples live"]:
    if len(layer) < FEWEST_SAMPLES:
        raise BadInput(f"{len(layer)} samples are too few for CKA", hint=f"give at least {FEWEST_SAMPLES} samples")
    moments = measure(layer)
    live = moments.alive
    centred: Float[np.ndarray, "samples live"] = layer[:, live].astype(np.float64) - moments.mean[live]
    return centred


def same_samples(networks: Sequence[Activations]) -> None:
    """Raise BadInput for networks recorded on different samples."""
    if len({len(one.values) for one in networks}) > 1:
        raise BadInput(
            f"networks with {sorted({len(one.values) for one in networks})} samples cannot be aligned",
            hint="record all networks on the same probe",
        )


def _same_samples(left: Num[np.ndarray, "some left"], right: Num[np.ndarray, "others right"]) -> None:
    if len(left) != len(right):
        raise BadInput(
            f"{len(left)} samples on one side, {len(right)} on the other",
            hint="record both layers on the same probe",
        )


def cka_table(layers: Sequence[Num[np.ndarray, "samples _units"]]) -> Float[np.ndarray, "layers layers"]:
    """Compare every two layers by unbiased linear CKA on at most 512 evenly spaced samples.

    Gram matrices are made once a layer. Raises BadInput when the layers were recorded on different samples.
    """
    samples = {len(values) for values in layers}
    if len(samples) > 1:
        raise BadInput(
            f"layers of one kind have {sorted(samples)} samples", hint="record all networks on the same probe"
        )
    total = samples.pop() if samples else 0
    rows = np.unique(np.linspace(0, total - 1, min(TABLE_SAMPLES, total)).astype(int))
    directions = np.stack([_direction(values[rows]) for values in layers])
    return np.asarray(directions @ directions.T, dtype=np.float64)


def _direction(values: Num[np.ndarray, "samples units"]) -> Float[np.ndarray, " pairs"]:
    gram = centred_gram(values)
    flat = gram[np.triu_indices(len(gram), k=1)]
    length = float(np.linalg.norm(flat))
    return (flat / length if length > 0.0 else flat).astype(np.float32)
