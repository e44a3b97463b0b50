"""Put the few forms that networks share in the place of all kernels of depthwise layers; tell what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from ...zoo.errors import BadInput
from ...zoo.kernels import convolutions, patches_by_image
from ...zoo.network import Network
from ..formulas.expression import Expression
from .kernel_baselines import BASELINES, Kernels, Root
from .kernel_dictionary import NUMBERS, Dictionary, Moments, dictionary, written
from .kernel_shapes import Grid
from .kernel_substitution import KernelSubstitution, compare, finite, said

FITTED, MEASURED = 960, 480
"""So many natural patches tell what a unit sees, and others how far its responses agree."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A depthwise layer: its kernels, and the second moments of what each unit sees of photos, and of other photos."""

    kernels: Kernels
    moments: Moments
    held_out: Moments

    @property
    def root(self) -> Root:
        """Give a matrix whose product with a kernel has the norm of its responses to patches of all units."""
        size, directions = np.linalg.eigh(self.moments.mean(axis=0))
        return np.asarray(np.sqrt(np.clip(size, 0, None))[:, None] * directions.T)

    def response_r2(self, given: Kernels) -> Float[np.ndarray, " units"]:
        """Tell how far each unit responds as it did to patches held out; NaN for one that never does."""
        own, error = (values.reshape(len(values), -1) for values in (self.kernels, self.kernels - given))
        whole, left = (np.einsum("ui,uij,uj->u", each, self.held_out, each) for each in (own, error))
        return np.asarray(1 - left / np.where(whole > 0, whole, np.nan))


def watch(
    network: Network,
    layers: Sequence[str],
    photos: Num[np.ndarray, "photos ..."],
    held_out: Num[np.ndarray, "others ..."],
    *,
    seed: int,
) -> dict[str, Watched]:
    """Read the kernels of depthwise layers and what each unit sees of two sets of photos. Raises as `finite`."""
    fitted = _moments(network, layers, photos, FITTED, seed)
    measured = _moments(network, layers, held_out, MEASURED, seed)
    return {layer: Watched(finite(network, layer), fitted[layer], measured[layer]) for layer in layers}


def substitute_families(
    network: Network,
    watched: Mapping[str, Watched],
    forms: Sequence[Expression],
    members: Mapping[str, Int[np.ndarray, " units"]],
    images: Num[np.ndarray, "images ..."],
    *,
    places: Mapping[str, Sequence[str]],
    seed: int = 0,
    device: str = "cpu",
) -> tuple[KernelSubstitution, ...]:
    """Compare what a network says with and without its kernels, for each of `places`: a name, and its layers.

    `equations` puts the form that fits best in the place of every kernel; `equations of members` puts a family's form
    in the place of its members, by their number in `forms`, and leaves alone what has none (-1). Then the same
    forms with their pixels in another order, and baselines of as many numbers. Images should be others than those
    that were watched. Raises BadInput where kernels or outputs are not finite, or there are fewer than 2 images.
    """
    if len(images) < 2:
        raise BadInput(f"{len(images)} images to compare outputs on", hint="give at least 2")
    shape = next(iter(watched.values())).kernels.shape
    known = dictionary(forms, Grid(shape[2], shape[3]))
    given = _given(watched, known, members, seed)
    before, found = said(network, images, device=device), []
    for name, layers in places.items():
        rows = []
        for kind, by_layer in given.items():
            put = {layer: by_layer[layer] for layer in layers}
            response = _middle([watched[layer].response_r2(put[layer]) for layer in layers])
            rows.append(compare(network, before, kind, put, images, response=response, device=device))
        units = sum(len(watched[layer].kernels) for layer in layers)
        found.append(KernelSubstitution(network.name, name, units, len(images), NUMBERS, before.sure, tuple(rows)))
    return tuple(found)


def _given(
    watched: Mapping[str, Watched], known: Dictionary, members: Mapping[str, Int[np.ndarray, " units"]], seed: int
) -> dict[str, dict[str, Kernels]]:
    """Make all kernels that are put in the place of the network's own: by kind and layer."""
    made = {
        "equations": {layer: _written(one, known) for layer, one in watched.items()},
        "equations of members": {layer: _of_members(one, known, members[layer]) for layer, one in watched.items()},
        "scrambled forms": {layer: _written(one, known.scrambled(seed)) for layer, one in watched.items()},
    }
    for name, baseline in BASELINES.items():
        made[name] = {layer: baseline(one, NUMBERS, seed) for layer, one in watched.items()}
    return made


def _written(one: Watched, known: Dictionary) -> Kernels:
    return written(one.kernels[:, 0], one.moments, known)[:, None]


def _of_members(one: Watched, known: Dictionary, family: Int[np.ndarray, " units"]) -> Kernels:
    chosen = np.flatnonzero(family >= 0)
    allowed = family[chosen, None] == np.arange(known.of.max() + 1)
    put = one.kernels.copy()
    put[chosen, 0] = written(one.kernels[chosen, 0], one.moments[chosen], known, allowed)
    return put


def _moments(
    network: Network, layers: Sequence[str], photos: Num[np.ndarray, "photos ..."], count: int, seed: int
) -> dict[str, Moments]:
    """Average the products of what each unit sees, photo by photo: all patches at once would take gigabytes."""
    seen = {layer: one.seen[:, 0] for layer, one in convolutions(network).items() if layer in layers}
    totals: dict[str, Moments] = {}
    for shown in patches_by_image(network, photos, layers, count=count, seed=seed):
        for layer, patches in shown.items():
            values = np.moveaxis(patches.reshape(*patches.shape[:2], -1), 1, 0).astype(np.float64)
            share = np.swapaxes(values, 1, 2) @ values / count
            totals[layer] = totals[layer] + share if layer in totals else share
    return {layer: totals[layer][seen[layer]] for layer in layers}


def _middle(each: Sequence[Float[np.ndarray, " _"]]) -> float:
    values = np.concatenate(each)
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")
