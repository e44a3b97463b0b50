"""How alike whole layers are, by the measures of the literature, and how well each tells which layer is which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Num
from scipy.optimize import linear_sum_assignment

from ...zoo.errors import BadInput
from .similarity import FEWEST_SAMPLES, cka, standardise
from .subspace import VARIANCE, basis, transport

Layer = Num[np.ndarray, "_samples _units"]


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A layer with what measures need of it, made once: its principal components, of length one, and their lengths."""

    values: Layer
    standard: Float[np.ndarray, "samples live"]
    centred: Float[np.ndarray, "samples live"]
    lengths: Float[np.ndarray, " rank"]
    components: Float[np.ndarray, "samples rank"]


def likeness(left: Layer, right: Layer, *, measure: str = "cka") -> float:
    """Compare two layers that saw the same samples by one of MEASURES, 1 for the same layer.

    `cka`, `soft` and `one_to_one` are at most 1 and about 0 for unrelated layers; the others lie in [0, 1],
    as they were published: fitted and judged on the same samples, so they rise with units per sample. A
    layer without a live unit gives 0. Raises BadInput for an unknown measure, for different samples and for
    fewer than four of them.
    """
    return float(layer_table([left], [right], measure=measure)[0, 0])


def layer_table(
    left: Sequence[Layer], right: Sequence[Layer], *, measure: str = "cka"
) -> Float[np.ndarray, "left right"]:
    """Compare every layer of one network with every layer of another; takes and raises what `likeness` does."""
    if measure not in COMPARE:
        raise BadInput(f"no measure of layers {measure!r}", hint=f"choose one of {', '.join(COMPARE)}")
    samples = sorted({len(values) for values in (*left, *right)})
    if len(samples) > 1:
        raise BadInput(f"layers with {samples} samples cannot be compared", hint="record both on the same probe")
    if samples and samples[0] < FEWEST_SAMPLES:
        raise BadInput(f"{samples[0]} samples are too few to compare layers", hint=f"give at least {FEWEST_SAMPLES}")
    rows, columns = [_prepare(values) for values in left], [_prepare(values) for values in right]
    compare = COMPARE[measure]
    table = [[compare(one, two) if one.lengths.size and two.lengths.size else 0.0 for two in columns] for one in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), len(columns))


def identified(table: Float[np.ndarray, "layers layers"]) -> float:
    """Tell for which share of layers the most similar one in the other network has the same index.

    Both ways; the test of Kornblith et al. 2019 (section 6.1, table 2). Chance is one in the number of layers.
    """
    own = np.arange(len(table))
    return float(np.mean([table.argmax(axis=1) == own, table.argmax(axis=0) == own]))


def _prepare(values: Layer) -> _Prepared:
    standard = standardise(values)
    live = standard.any(axis=0)
    centred = np.asarray(values[:, live], dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    components = centred @ basis(centred)
    lengths = np.linalg.norm(components.T @ centred, axis=1)
    return _Prepared(values, standard[:, live], centred, lengths, components)


def _cka(left: _Prepared, right: _Prepared) -> float:
    return cka(left.values, right.values)


def _soft(left: _Prepared, right: _Prepared) -> float:
    """Sum correlations over the optimal transport of unit masses (Khosla & Williams 2024, equation 9)."""
    r = left.standard.T @ right.standard
    return float(np.sum(transport(r) * r))


def _one_to_one(left: _Prepared, right: _Prepared) -> float:
    """Average the correlations of units matched one to one, as many as the narrower layer has (Li et al. 2016)."""
    r = left.standard.T @ right.standard
    return float(r[linear_sum_assignment(r, maximize=True)].mean())


def _procrustes(left: _Prepared, right: _Prepared) -> float:
    """Take the nuclear norm of what layers of length one have in common (Ding et al. 2021, Williams et al. 2021)."""
    cross = _nuclear(left.centred.T @ right.centred)
    return cross / float(np.linalg.norm(left.lengths) * np.linalg.norm(right.lengths))


def _cca(left: _Prepared, right: _Prepared) -> float:
    """Average the canonical correlations, as many as the narrower layer has directions (Kornblith et al. 2019)."""
    return _mean_rho(left.components, right.components)


def _svcca(left: _Prepared, right: _Prepared) -> float:
    """Do so among the directions that hold 99 % of each layer's variance (Raghu et al. 2017)."""
    return _mean_rho(*(side.components[:, : _enough(side)] for side in (left, right)))


def _pwcca(left: _Prepared, right: _Prepared) -> float:
    """Weigh canonical correlations by how much of the layer with fewer directions they carry (Morcos et al. 2018)."""
    if len(left.lengths) > len(right.lengths):
        left, right = right, left
    turn, rho, _ = np.linalg.svd(left.components.T @ right.components, full_matrices=False)
    weight = np.abs((left.components @ turn).T @ left.centred).sum(axis=1)
    return float(np.clip(rho, 0.0, 1.0) @ weight / weight.sum())


def _regression(left: _Prepared, right: _Prepared) -> float:
    """Tell which share of the right layer's variance the left one predicts linearly (Kornblith et al. 2019)."""
    explained = np.linalg.norm((left.components.T @ right.components) * right.lengths) ** 2
    return float(explained / np.sum(right.lengths**2))


def _mean_rho(left: Float[np.ndarray, "samples left"], right: Float[np.ndarray, "samples right"]) -> float:
    return float(_nuclear(left.T @ right) / min(left.shape[1], right.shape[1]))


def _nuclear(matrix: Float[np.ndarray, "left right"]) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _enough(layer: _Prepared) -> int:
    share = np.cumsum(layer.lengths**2) / np.sum(layer.lengths**2)
    return int(np.searchsorted(share, VARIANCE)) + 1


COMPARE: dict[str, Callable[[_Prepared, _Prepared], float]] = {
    "cka": _cka,
    "soft": _soft,
    "one_to_one": _one_to_one,
    "procrustes": _procrustes,
    "cca": _cca,
    "pwcca": _pwcca,
    "svcca": _svcca,
    "regression": _regression,
}
MEASURES: dict[str, Callable[[Layer, Layer], float]] = {name: partial(likeness, measure=name) for name in COMPARE}
