"""Turn kernels, maps and photos into colours that all can tell apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.colors import Colormap, LinearSegmentedColormap

from ..pictures.plot_style import COLOURS

DIVERGING = ("#053061", "#2166ac", "#67a9cf", "#f3f3f3", "#ef8a62", "#b2182b", "#67001f")
"""Blue below zero, light grey at it, red above (Brewer's RdBu with a grey middle)."""
DOUBT = ("#f3f3f3", "#c2a5cf", "#762a83", "#40004b")
"""From agreement to disagreement: one hue that is neither end of the other scale."""
KINDS = {
    "edge": "#0072B2",
    "line": "#56B4E9",
    "oriented": "#0072B2",
    "orientation": "#332288",
    "colour": "#CC79A7",
    "spot": "#E69F00",
    "curve": "#009E73",
    "frequency": "#999933",
    "not reduced": "#d4d4d4",
    "silent": "#9a9a9a",
}
"""Colour of each kind of detector, the same in all pictures."""
LAST = ("not reduced", "silent")
PIXELS = 320
"""Longer side to which photos are thinned before they are drawn."""
REACH = 99.0
"""Percentile of the absolute values at which a map's colour is full: a single corner must not pale the rest."""

Image = Num[np.ndarray, "height width 3"]
Colours = Float[np.ndarray, "down across 3"]


def diverging() -> Colormap:
    """Give the map of colours for what has a sign."""
    return LinearSegmentedColormap.from_list("signed", DIVERGING)


def doubting() -> Colormap:
    """Give the map of colours for disagreement, which has none."""
    return LinearSegmentedColormap.from_list("doubt", DOUBT)


def steps(colours: Colormap) -> Float[np.ndarray, "steps 3"]:
    """Give the colours of a map in order, for its scale."""
    return np.asarray(colours(np.linspace(0.0, 1.0, 128))[:, :3], dtype=np.float64)


def kind_colours(kinds: Iterable[str]) -> dict[str, str]:
    """Give kinds of detectors their colours, in the order of KINDS, strangers after them and what is none last."""
    wanted = dict.fromkeys(kinds)
    known = [kind for kind in KINDS if kind in wanted and kind not in LAST]
    strange = [kind for kind in wanted if kind not in KINDS]
    free = [colour for colour in COLOURS if colour not in KINDS.values()]
    found = {kind: KINDS[kind] for kind in known}
    if "edge" in found and "oriented" in found:  # the same colour, since one picture mostly has one of them
        found["oriented"] = free.pop()
    found |= {kind: free[place % len(free)] for place, kind in enumerate(strange)}
    return found | {kind: KINDS[kind] for kind in LAST if kind in wanted}


def kernel_colours(kernel: Float[np.ndarray, "channels rows columns"], *, reach: float) -> Colours:
    """Colour a kernel of one channel by its sign, one of three channels as red, green and blue with grey as zero.

    Full colour is at ±`reach`. Places that are not finite are white.
    """
    scaled = np.moveaxis(np.asarray(kernel, dtype=np.float64), 0, -1) / (reach if reach > 0 else 1.0)
    scaled = np.clip(0.5 + 0.5 * scaled, 0.0, 1.0)
    known = np.isfinite(scaled).all(axis=-1, keepdims=True)
    filled = np.where(known, scaled, 0.5)
    colours = filled if filled.shape[-1] == 3 else diverging()(filled[..., 0])[..., :3]
    return np.asarray(np.where(known, colours, 1.0), dtype=np.float64)


def reach(*arrays: Float[np.ndarray, "*shape"]) -> float:
    """Give the value at which colours are full: the largest absolute one, or the REACHth percentile of many."""
    finite = [np.abs(array[np.isfinite(array)]) for array in arrays]
    together = np.concatenate(finite) if finite else np.zeros(0)
    if not together.size:
        return 1.0
    highest = float(np.percentile(together, REACH)) if together.size > 200 else float(together.max())
    return highest or float(together.max()) or 1.0


def photo(image: Image) -> Colours:
    """Give a photo (0..255 where it holds whole numbers, else 0..1) as colours, thinned to PIXELS."""
    step = -(-max(image.shape[:2]) // PIXELS)
    thinned = image[::step, ::step]
    scaled = thinned / 255.0 if np.issubdtype(image.dtype, np.integer) else thinned
    return np.clip(np.nan_to_num(scaled.astype(np.float64), nan=1.0), 0.0, 1.0)


def laid_over(image: Image, values: Float[np.ndarray, "rows columns"], *, full: float, colours: Colormap) -> Colours:
    """Lay a map over the whole of a photo in grey: full colour at ±`full`, clear at 0, stripes where not finite.

    A map of two signs takes a diverging map of colours. One without signs takes any other.
    """
    grey = photo(image) @ np.array([0.299, 0.587, 0.114])
    ground = np.repeat((0.35 + 0.6 * grey)[..., None], 3, axis=-1)
    share = np.clip(_resized(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), ground.shape[:2]) / full, -1, 1)
    # The pale middle of the colours would put a halo around zero: there the photo itself shows through
    strength = 0.4 + 0.6 * np.abs(share)
    tint = colours(0.5 + 0.5 * np.sign(share) * strength if colours.name == "signed" else strength)[..., :3]
    opaque = np.minimum(1.3 * np.abs(share) ** 1.3, 0.92)[..., None]
    mixed = (1 - opaque) * ground + opaque * tint
    unknown = _resized((~np.isfinite(values)).astype(np.float64), ground.shape[:2]) > 0.5
    return np.asarray(np.where(unknown[..., None], _stripes(unknown), mixed), dtype=np.float64)


def _resized(values: Float[np.ndarray, "rows columns"], shape: tuple[int, ...]) -> Float[np.ndarray, "height width"]:
    from scipy.ndimage import zoom  # only pictures with maps wait for it

    factors = [new / old for new, old in zip(shape, values.shape, strict=True)]
    return np.asarray(
        zoom(values.astype(np.float64), factors, order=1, mode="nearest", grid_mode=True), dtype=np.float64
    )


def _stripes(like: Bool[np.ndarray, "height width"]) -> Colours:
    rows, columns = np.indices(like.shape)
    period = max(like.shape[0] // 24, 2)
    dark = (rows + columns) // period % 2 == 0
    return np.repeat(np.where(dark, 0.82, 1.0)[..., None], 3, axis=-1)
