"""Which closed form a kernel has, and what that is worth: shape evidence against nulls, fidelity to responses.

The two are never one number: on a small grid a Gabor also fits noise, and the responses to natural
patches, whose energy lies in a few directions, are explained well even by the fit of a noise kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...zoo.errors import BadInput
from ..project.processes import apart
from .kernel_forms import KernelFit, Metric, fit_form, raced_forms
from .kernel_shapes import SHAPES, Kernel

SMALL = 7
"""Up to this side a grid is so small that R² counts as evidence only above SMALL_FLOOR."""
SMALL_FLOOR = 0.9
FLOOR = 0.5
"""On larger grids noise is easily beaten by what has a trace of a form; a form gives at least half of the squares."""
STRONG = 6.0
"""A difference of BIC that is strong evidence (Kass and Raftery 1995)."""
NULLS = 32
"""So many kernels of each null are raced."""

Kernels = Float[np.ndarray, "kernels channels rows columns"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a kernel's R² stands beside what the same race gives on kernels without shape.

    `null_95` is the 95th percentile of R² for each null, `percentile` the share (0 to 100) of the
    hardest null's kernels that the R² exceeds, `floor` the least R² that counts on a grid of this size.
    """

    r2: float
    null_95: Mapping[str, float]
    percentile: float
    floor: float

    @property
    def explained(self) -> bool:
        """Tell whether the closed form says more than chance would; otherwise the kernel is not reduced."""
        return self.r2 > max(self.floor, *self.null_95.values())


def race(kernel: Kernel, *, metric: Metric | None = None) -> tuple[KernelFit, ...]:
    """Fit every form that the kernel has values enough for; the chosen one comes first, then by BIC.

    Chosen is the form of fewest numbers against which no other has strong evidence, a BIC lower by
    STRONG. Raises BadInput where the kernel is zero, not finite, or of too few values for any form.
    """
    fits = [fit_form(kernel, form, metric=metric) for form in raced_forms(kernel.shape) or ("constant",)]
    least = min(fit.bic for fit in fits)
    chosen = min((fit for fit in fits if fit.bic <= least + STRONG), key=lambda fit: (_size(fit), fit.bic))
    return (chosen, *sorted((fit for fit in fits if fit is not chosen), key=lambda fit: fit.bic))


def _size(fit: KernelFit) -> int:
    return SHAPES[fit.form].numbers(len(fit.colour))


def fidelity(kernel: Kernel, modelled: Kernel, metric: Metric) -> float:
    """Measure how much of a kernel's response to natural patches its model gives: R², 1 - SSE/sum of squares."""
    error, whole = (kernel - modelled).ravel(), kernel.ravel()
    return 1 - float(error @ metric.gram @ error) / float(whole @ metric.gram @ whole)


def kernel_nulls(kernels: Kernels, seed: int) -> dict[str, Kernels]:
    """Make kernels without shape, as many as there are of each kind.

    `random`: independent normal values. `shuffled`: a kernel's places in another order, the channels of
    a place together. `smooth`: normal noise with the kernels' own mean spectrum, channels together.
    """
    generator = np.random.default_rng(seed)
    flat = kernels.reshape(*kernels.shape[:2], -1)
    orders = generator.permuted(np.broadcast_to(np.arange(flat.shape[2]), (len(flat), flat.shape[2])), axis=1)
    return {
        "random": generator.normal(size=kernels.shape),
        "shuffled": np.take_along_axis(flat, orders[:, None], axis=2).reshape(kernels.shape),
        "smooth": _smooth(kernels, generator),
    }


def null_fits(kernels: Kernels, *, seed: int, nulls: int = NULLS) -> dict[str, tuple[KernelFit, ...]]:
    """Race the forms on kernels without shape, `nulls` of each kind, made of a layer's own.

    Raises BadInput where a kernel is not finite, or all are zero.
    """
    if not np.isfinite(kernels).all() or not kernels.any():
        raise BadInput("kernels are not finite, or all zero: nulls cannot be made of them", hint="leave the layer out")
    made = {name: null[:nulls] for name, null in kernel_nulls(_repeated(kernels, nulls), seed).items()}
    return {name: tuple(raced[0] for raced in apart(race, null)) for name, null in made.items()}


def shape_evidence(
    kernels: Kernels, fits: tuple[KernelFit, ...], *, seed: int, nulls: int = NULLS
) -> tuple[Evidence, ...]:
    """Compare the R² of each kernel's fit with the race of the layer's nulls. Raises as `null_fits`."""
    return evidence_beside(fits, null_fits(kernels, seed=seed, nulls=nulls))


def evidence_beside(fits: tuple[KernelFit, ...], chance: Mapping[str, tuple[KernelFit, ...]]) -> tuple[Evidence, ...]:
    """Compare the R² of each fit with those of the nulls of its layer, by kind."""
    scores = {name: np.array([fit.r2 for fit in null]) for name, null in chance.items()}
    null_95 = {name: float(np.percentile(score, 95)) for name, score in scores.items()}
    hardest = scores[max(null_95, key=null_95.__getitem__)]
    return tuple(
        Evidence(fit.r2, null_95, 100 * float(np.mean(hardest < fit.r2)), _floor(fit.modelled)) for fit in fits
    )


def _floor(kernel: Kernel) -> float:
    return SMALL_FLOOR if min(kernel.shape[1:]) <= SMALL else FLOOR


def _repeated(kernels: Kernels, least: int) -> Float[np.ndarray, "more channels rows columns"]:
    """Repeat the kernels of a narrow layer until there are enough to make nulls from."""
    return np.concatenate([kernels] * -(-least // len(kernels)))


def _smooth(kernels: Kernels, generator: np.random.Generator) -> Kernels:
    """Draw stationary normal noise; padding keeps its ends from meeting, as on a torus they would."""
    rows, columns = kernels.shape[2:]
    size = (2 * rows, 2 * columns)
    spectrum = np.fft.fft2(kernels, s=size).transpose(2, 3, 1, 0)
    variance, directions = np.linalg.eigh(spectrum @ spectrum.conj().swapaxes(2, 3) / len(kernels))
    root = directions * np.sqrt(np.clip(variance, 0, None))[:, :, None] @ directions.conj().swapaxes(2, 3)
    noise = np.fft.fft2(generator.normal(size=(*kernels.shape[:2], *size))).transpose(2, 3, 1, 0)
    drawn = np.fft.ifft2((root @ noise).transpose(3, 2, 0, 1)).real
    return np.asarray(drawn[:, :, :rows, :columns])
