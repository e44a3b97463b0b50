"""Put equations in the place of a layer's kernels, and tell what is left of what the network says.

Only kernels: a tuning curve says what a unit does on stimuli and gives no value on a natural image, so that
there is nothing to put in the place of a feature's units there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from torch import nn

from ...zoo.errors import BadInput
from ...zoo.kernels import convolutions, kernels, natural_patches, with_all_kernels
from ...zoo.network import FEW, Network, predict
from .kernel_baselines import BASELINES, Kernels, Root

PATCHES = 2000
"""So many patches tell how far the responses of a layer agree."""
Outputs = Float[np.ndarray, "images outputs"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a network still says with other kernels in a layer, beside what it says as it is.

    `agreement` is the share of images with the same first choice, `confident` that of the images of which the
    network as it is was sure; NaN where outputs are no classes, or there are no such images. `r2` is 1 - SSE / SS
    about the mean of each output over the images, `correlation` Pearson's r of outputs less that mean, all
    outputs together; `cosine` is that between an image's outputs before and after, on average. `response` is the
    R² of the layer's own responses to natural patches (see `response_r2`): the median over its units.
    """

    kind: str
    agreement: float
    confident: float
    r2: float
    correlation: float
    cosine: float
    response: float


@dataclass(frozen=True, slots=True)
class KernelSubstitution:
    """What happens with other kernels in a layer: a row for each replacement, then for baselines of the same size.

    `numbers` is how many a baseline has for each kernel, `sure` how many images the network was sure of.
    """

    network: str
    layer: str
    units: int
    images: int
    numbers: int
    sure: int
    rows: tuple[Agreement, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """The kernels of a layer, natural patches of its input map, and which channels of these each unit sees."""

    kernels: Kernels
    patches: Float[np.ndarray, "patches inputs rows columns"]
    seen: Int[np.ndarray, "units channels"]

    @property
    def root(self) -> Root:
        """Give a matrix whose product with a kernel has the norm of its responses to patches.

        Where units see different channels, every kernel is asked on patches of all of them.
        """
        groups = np.unique(self.seen, axis=0)
        shown = [self.patches[first :: len(groups), group] for first, group in enumerate(groups)]
        return np.asarray(np.linalg.qr(np.concatenate(shown).reshape(-1, self.kernels[0].size)).R)


def sight(network: Network, layer: str, images: Num[np.ndarray, "images ..."], *, count: int, seed: int) -> Sight:
    """Read the kernels of a layer and what they see of images. Raises as `natural_patches`, and as `finite`."""
    held = finite(network, layer)
    patches = natural_patches(network, images, layer, count=count, seed=seed)
    return Sight(held, patches, convolutions(network)[layer].seen)


def finite(network: Network, layer: str) -> Kernels:
    """Read the kernels of a layer. Raises as `kernels`, and BadInput where they are not finite."""
    held = kernels(network, layer)
    if not np.isfinite(held).all():
        what = f"kernels of layer {layer} of {network.name} are not finite"
        raise BadInput(what, hint="leave the network out, or mend it")
    return held


def substitute_kernels(
    network: Network,
    layer: str,
    replacements: Kernels,
    images: Num[np.ndarray, "images ..."],
    *,
    numbers: int,
    others: Mapping[str, Kernels] | None = None,
    fitted: Sight | None = None,
    classes: bool | None = None,
    sure: float = 0.5,
    seed: int = 0,
    device: str = "cpu",
) -> KernelSubstitution:
    """Compare what a network says of images with and without the kernels of a layer.

    Images should be others than those that the replacements were fitted on; what a layer saw there is `fitted`,
    from which the baselines are then made too. `numbers` is how many a replacement has for each kernel, and what
    PCA gets; `others` are more replacements, by name. Outputs are classes, as logits or probabilities, if
    `classes` says so, or, where it is not told, if a dense layer gives several; the network is sure of an image
    where one has a probability above `sure`. Raises as `with_kernels`, BadInput for fewer than 2 images.
    """
    if len(images) < 2:
        raise BadInput(f"{len(images)} images to compare outputs on", hint="give at least 2")
    before = said(network, images, classes=classes, sure=sure, device=device)
    seen = sight(network, layer, images, count=PATCHES, seed=seed)
    given = {"equations": replacements, **(others or {})}
    given |= {name: baseline(fitted or seen, numbers, seed) for name, baseline in BASELINES.items()}
    rows = [
        compare(network, before, kind, {layer: put}, images, response=_median_response(seen, put), device=device)
        for kind, put in given.items()
    ]
    return KernelSubstitution(network.name, layer, len(seen.kernels), len(images), numbers, before.sure, tuple(rows))


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What a network says of images as it is; `certain` tells of which it is sure, None where they are no classes."""

    outputs: Outputs
    certain: Bool[np.ndarray, " images"] | None

    @property
    def sure(self) -> int:
        """Count the images of which the network is sure."""
        return 0 if self.certain is None else int(self.certain.sum())


def said(
    network: Network,
    images: Num[np.ndarray, "images ..."],
    *,
    classes: bool | None = None,
    sure: float = 0.5,
    device: str = "cpu",
) -> Said:
    """Ask a network as it is; see `substitute_kernels`. Raises as `predict`, and BadInput for outputs not finite."""
    outputs = predict(network, images, device=device, batch=FEW)
    if not np.isfinite(outputs).all():
        raise BadInput(f"{network.name} gives NaN or infinity for images", hint="leave the network out, or mend it")
    return Said(outputs, _surely(outputs, sure) if (_classifies(network) if classes is None else classes) else None)


def compare(
    network: Network,
    before: Said,
    kind: str,
    given: Mapping[str, Kernels],
    images: Num[np.ndarray, "images ..."],
    *,
    response: float,
    device: str = "cpu",
) -> Agreement:
    """Compare what a network said of images with what it says with other kernels in some layers."""
    after = predict(with_all_kernels(network, given), images, device=device, batch=FEW)
    return _agreement(kind, before.outputs, after, before.certain, response=response)


def refit(replacements: Kernels, seen: Sight) -> Kernels:
    """Scale each replacement and add a constant to each of its channels, so that responses to patches fit best.

    Ordinary least squares: 1 + channels numbers for each kernel. What patches leave open stays as it is.
    """
    fitted = np.array(replacements, dtype=np.float64)
    for unit, (kernel, replacement) in enumerate(zip(seen.kernels, replacements, strict=True)):
        shown = seen.patches[:, seen.seen[unit]].astype(np.float64)
        columns = np.column_stack([_told(shown, replacement), shown.sum(axis=(2, 3))])
        change = np.linalg.lstsq(columns, _told(shown, kernel - replacement))[0]
        fitted[unit] += change[0] * replacement + change[1:, None, None]
    return fitted


def response_r2(replacements: Kernels, seen: Sight) -> Float[np.ndarray, " units"]:
    """Tell how far each unit responds to natural patches as it did: 1 - SSE / sum of squares, bias apart.

    NaN for a unit that never responds.
    """
    own, other = _responses(seen.kernels, seen), _responses(replacements, seen)
    whole = np.square(own).sum(axis=0)
    return np.asarray(1 - np.square(other - own).sum(axis=0) / np.where(whole > 0, whole, np.nan))


def _told(
    shown: Float[np.ndarray, "patches channels rows columns"], kernel: Float[np.ndarray, "channels rows columns"]
) -> Float[np.ndarray, " patches"]:
    return np.asarray(np.tensordot(shown, kernel, axes=3))


def _responses(given: Kernels, seen: Sight) -> Float[np.ndarray, "patches units"]:
    responses = np.empty((len(seen.patches), len(given)))
    for group in np.unique(seen.seen, axis=0):
        units = np.flatnonzero((seen.seen == group).all(axis=1))
        responses[:, units] = np.tensordot(seen.patches[:, group], given[units], axes=([1, 2, 3], [1, 2, 3]))
    return responses


def _median_response(seen: Sight, put: Kernels) -> float:
    each = response_r2(put, seen)
    return float(np.nanmedian(each)) if np.isfinite(each).any() else math.nan


def _classifies(network: Network) -> bool:
    """Take several outputs of a dense layer for classes: those of an embedding or a map come from elsewhere."""
    last = network.layers[-1]
    return last.units > 1 and isinstance(dict(network.module.named_modules()).get(last.name), nn.Linear)


def _surely(outputs: Outputs, sure: float) -> Bool[np.ndarray, " images"]:
    from scipy.special import softmax

    chances = (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3)
    return np.asarray((outputs if chances else softmax(outputs, axis=1)).max(axis=1) > sure)


def _agreement(
    kind: str, before: Outputs, after: Outputs, chosen: Bool[np.ndarray, " images"] | None, *, response: float
) -> Agreement:
    same = (before.argmax(axis=1) == after.argmax(axis=1)) & np.isfinite(after).all(axis=1)
    agreement = math.nan if chosen is None else float(same.mean())
    confident = math.nan if chosen is None or not chosen.any() else float(same[chosen].mean())
    left, right = before - before.mean(axis=0), after - after.mean(axis=0)
    return Agreement(
        kind,
        agreement,
        confident,
        r2=1 - _ratio(np.square(after - before).sum(), np.square(left).sum()),
        correlation=_cosine(left.ravel(), right.ravel()),
        cosine=float(np.mean([_cosine(*pair) for pair in zip(before, after, strict=True)])),
        response=response,
    )


def _cosine(left: Float[np.ndarray, " values"], right: Float[np.ndarray, " values"]) -> float:
    return float(np.clip(_ratio(left @ right, np.linalg.norm(left) * np.linalg.norm(right)), -1, 1))


def _ratio(part: float | np.floating, whole: float | np.floating) -> float:
    return float(part / whole) if whole > 0 else math.nan
