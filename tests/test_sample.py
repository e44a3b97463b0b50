"""Tensors are read as samples × units: every row, the same positions, in their order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from consilience.zoo.layout import Layout, axis, reshaped, rolled
from consilience.zoo.sample import evenly, samples, view_last, view_map, view_rows


def laid(**axes: int) -> Layout:
    return tuple(axis(name.rstrip("_"), size) for name, size in axes.items())


def test_rows_are_copied() -> None:
    values = torch.arange(6.0).view(3, 2)
    found = samples(values, view_rows((2, 2)))
    np.testing.assert_array_equal(found, values.numpy())
    values.zero_()
    assert found.sum() == 15
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("shape", "positions"),
    [((2, 5, 9, 11), 16), ((2, 5, 3, 7), 9), ((2, 5, 1, 1), 1), ((2, 5, 30), 16), ((2, 5, 7), 4), ((2, 5, 4, 5, 6), 8)],
)
def test_maps_are_averaged_over_patches(shape: tuple[int, ...], positions: int) -> None:
    view = view_map(shape)
    assert (view.units, view.positions, view.axes) == (5, positions, ("row", "place"))
    values = torch.randn(3, *shape[1:])
    found = samples(values, view)
    assert found.shape == (3 * positions, 5)
    rows = found.reshape(3, positions, 5)
    pool = {1: functional.adaptive_avg_pool1d, 2: functional.adaptive_avg_pool2d, 3: functional.adaptive_avg_pool3d}
    pooled = pool[len(shape) - 2](values, view.pooled).flatten(2)
    np.testing.assert_array_equal(rows, pooled.transpose(1, 2).numpy())


@pytest.mark.parametrize(("size", "count"), [(1, 1), (5, 5), (40, 16), (17, 16), (9, 4), (2, 2)])
def test_places_are_even_and_hold_both_ends(size: int, count: int) -> None:
    places = evenly(size, count).tolist()
    assert len(set(places)) == len(places) == count
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == size - 1
    steps = np.diff(places)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_axes_are_named_for_what_they_count() -> None:
    def axes(layout: Layout) -> tuple[tuple[str, ...], int] | None:
        view = view_last(layout)
        return view and (view.axes, view.positions)

    assert axes(laid(row=3, unit=4)) == (("row",), 1)
    assert axes(laid(row=3, input=20, unit=4)) == (("row", "token"), 16)
    assert axes(laid(step=5, row=3, unit=4)) == (("row", "step"), 5)
    assert axes(laid(row=3, edge=7, unit=4)) == (("row", "edge"), 7)
    assert axes(laid(row=3, input=7, token=3, unit=4)) == (("row", "token", "token"), 15)
    assert axes(laid(row=3, input=2, token=30, unit=4)) == (("row", "token", "token"), 16)
    assert axes(laid(row=3, input=30, token=2, unit=4)) == (("row", "token", "token"), 16)
    assert axes(laid(row=3, y=6, x=5, unit=4)) == (("row", "token"), 16)
    assert axes(laid(row=3, y=2, x=5, unit=4)) == (("row", "token"), 4)


def test_what_is_not_clear_is_not_read() -> None:
    assert view_last(laid(input=3, unit=4)) is None
    assert view_last(laid(row=3, unit=4, unit_=4)) is None
    assert view_last(laid(row=3, mixed=4, unit=4)) is None
    assert view_last(laid(unit=4, row=3)) is None
    assert view_last(laid(row=3, input=4, token=5, step=6, unit=7)) is None
    assert view_last(laid(row=3, z=4, y=5, x=6, unit=7)) is None


def test_maps_lie_the_same_way_whichever_side_comes_first() -> None:
    values = torch.randn(2, 6, 8, 3)
    upright, lying = view_last(laid(row=2, y=6, x=8, unit=3)), view_last(laid(row=2, x=8, y=6, unit=3))
    assert upright is not None
    assert lying is not None
    np.testing.assert_allclose(samples(values, upright), samples(values.transpose(1, 2), lying), rtol=1e-6)


def test_what_was_rolled_is_rolled_back() -> None:
    values = torch.randn(2, 6, 8, 3)
    row, y, x, unit = laid(row=2, y=6, x=8, unit=3)
    plain = view_last((row, y, x, unit))
    turned = (row, rolled(y, 2) or (), rolled(x, -3) or (), unit)
    windows = reshaped(turned, (2, 3, 2, 4, 2, 3))
    assert plain is not None
    assert windows is not None
    view = view_last(windows)
    assert view is not None
    moved = values.roll((2, -3), (1, 2)).reshape(2, 3, 2, 4, 2, 3)
    np.testing.assert_allclose(samples(moved, view), samples(values, plain), rtol=1e-6)
    part = reshaped(turned, (2, 6, 4, 2, 3))
    assert part is not None
    assert view_last((*part[:3], part[4])) is None  # half of what was rolled cannot be rolled back


def test_images_within_sequences_leave_other_tokens_out() -> None:
    row, token, unit = laid(row=2, token=27, unit=3)
    root = replace(token[0].root, image=(3, 4, 6))
    view = view_last((row, (replace(token[0], root=root),), unit))
    assert view is not None
    values = torch.randn(2, 27, 3)
    maps = values[:, 3:].reshape(2, 4, 6, 3).permute(0, 3, 1, 2)
    wanted = functional.adaptive_avg_pool2d(maps, 4).flatten(2).transpose(1, 2).flatten(0, 1)
    np.testing.assert_allclose(samples(values, view), wanted.numpy(), rtol=1e-6)
