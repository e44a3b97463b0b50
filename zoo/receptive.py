"""Find which part of an image a place of a map sees, by where the map's slope is not zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from .errors import Refused
from .find import Reading
from .maps import grid, plan_maps
from .network import Network, feed
from .record import follow_until
from .step import Followed

IMAGES = 4
"""So many random images are shown: of what a rectifier or a maximum hides in one, another shows a part."""
COARSEST = 64
"""Images grow by multiples of this, so that every stride that divides it meets the border as it did before."""
LARGER = (0, 2, 4, 8)
MOST_BYTES = 1 << 30
"""What the steps of one image may take, by estimate, before no larger one is tried."""


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What a map sees of an image, alike along both axes, in pixels.

    A place sees a square of `size` pixels, and its neighbour one that lies `stride` further. `offset` is where the
    square of place 0 has its middle, counted from the middle of the image. Where a place sees all that can be
    shown (`whole`), the size is only the least that it can be, and stride and offset are those of a map that is
    spread evenly over the image.
    """

    size: int
    stride: float
    offset: float
    whole: bool

    def coordinates(self, places: int) -> Float[np.ndarray, " places"]:
        """Give the image coordinate of the rows, or columns, of a map: x to the right, y down, 0 in the middle."""
        return self.offset + self.stride * np.arange(places)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What two neighbours in the middle of a map see of an image: first and last pixel, down and across."""

    places: int
    spans: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    side: int

    @property
    def inside(self) -> bool:
        """Whether all of it lies within the image, and there are two places."""
        within = all(low > 0 and high < self.side - 1 for span in self.spans for low, high in span)
        return within and len(self.spans) > 1


def receptive_field(network: Network, layer: str, *, side: int) -> ReceptiveField | None:
    """Find what a place of a layer's map sees of images with this side, shown pixel for pixel.

    Random images are shown and the slopes of the units at two places in the middle are taken back to the pixels:
    those with a slope are seen (the theoretical receptive field; what counts in practice is smaller, Luo et al.
    2016). Where the square does not lie within the image larger ones are shown, if the network takes them. None
    for a network without slopes. Raises as `plan_maps` does.
    """
    if isinstance(network.module, Followed):
        return None
    first = None
    for seen in _shown(network, layer, side):
        if seen is None:
            return None
        if seen.inside:
            return _inside(seen, side)
        first = first or seen
    return _whole(first) if first is not None else None


def _shown(network: Network, layer: str, side: int) -> Iterator[_Seen | None]:
    """Show images of this side, then larger ones for as long as the network takes them and memory allows."""
    for more in LARGER:
        edge = side + more * COARSEST
        try:
            plan = plan_maps(network, _images(network, edge, 1).shape[1:], (layer,))
        except Refused:
            if not more:
                raise
            return
        if more and plan.whole > MOST_BYTES:
            return
        yield _look(network, plan.readings[layer][0], edge)


def _images(network: Network, side: int, count: int) -> torch.Tensor:
    return feed(network, np.random.default_rng(0).random((count, side, side, 3), dtype=np.float32))


def _look(network: Network, reading: Reading, side: int) -> _Seen | None:
    """Find all pixels with a slope in several random images, until one shows nothing new or reaches the border.

    None where there are no slopes at all.
    """
    summed, seen = list[torch.Tensor](), None
    for image in _images(network, side, IMAGES):
        slopes, places = _slopes(network, reading, image[None], side)
        summed = [one + more for one, more in zip(summed, slopes, strict=True)] if summed else slopes
        if not summed or not all(one.any() for one in summed):
            continue
        before = seen
        seen = _Seen(places, tuple((_span(one.sum(dim=1)), _span(one.sum(dim=0))) for one in summed), side)
        if seen == before or not seen.inside:
            break
    return seen


def _slopes(network: Network, reading: Reading, image: torch.Tensor, side: int) -> tuple[list[torch.Tensor], int]:
    """Differentiate the units at two neighbouring places in the middle, each unit with a weight of its own.

    Gives the sizes of the slopes at every pixel, and how many places the map has along an axis.
    """
    point = image.clone().requires_grad_()
    values = follow_until(network.module, point, lambda _: None, last=reading.steps[0], slopes=True)
    maps = grid(values, reading.view)[0]
    places = min(maps.shape[1:])
    if not maps.requires_grad:
        return [], places
    weights = torch.randn(len(maps), generator=torch.Generator().manual_seed(0)).to(maps.dtype)
    middles = [places // 2 - 1, places // 2] if places > 1 else [0]
    found = [torch.autograd.grad(weights @ maps[:, at, at], point, retain_graph=True)[0] for at in middles]
    return [_at_pixels(slope, side) for slope in found], places


def _at_pixels(slope: torch.Tensor, side: int) -> torch.Tensor:
    """Sum over channels, wherever these stand."""
    return slope.abs().sum(dim=[axis for axis, size in enumerate(slope.shape) if size != side])


def _span(slopes: torch.Tensor) -> tuple[int, int]:
    seen = slopes.nonzero().flatten()
    return int(seen[0]), int(seen[-1])


def _inside(seen: _Seen, side: int) -> ReceptiveField:
    """Measure what lies within the image; larger images only grew at their far ends."""
    (before, _), (span, across) = seen.spans
    stride = (sum(span) - sum(before)) / 2
    size = 1 + max(span[1] - span[0], across[1] - across[0])
    start = sum(span) / 2 - stride * (seen.places // 2)
    return ReceptiveField(size, stride, start - (side - 1) / 2, whole=False)


def _whole(seen: _Seen) -> ReceptiveField:
    stride = seen.side / seen.places
    size = 1 + max(high - low for span in seen.spans for low, high in span)
    return ReceptiveField(size, stride, -stride * (seen.places - 1) / 2, whole=True)
