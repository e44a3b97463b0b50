"""Whatever is moved, cut and reshaped: rows, places and units are found again where they stand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from consilience.zoo.follow import follow
from consilience.zoo.graph import Recorder
from consilience.zoo.layout import Layout, axis, image_of, merged, reshaped, rolled, shape_of, sliced
from consilience.zoo.sample import samples, view_last

ROWS, PLACES, UNITS = 3, 12, 4
EYE = torch.eye(UNITS)
ORDER = torch.arange(PLACES)


class Does(torch.nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("eye", EYE)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Make the units by a layer of its own, so that they are known as such."""
        self.found = self.function(inputs @ self.eye)
        return inputs


def coded(places: int = PLACES) -> torch.Tensor:
    """Numbers that tell their row, place and unit."""
    row, place, unit = torch.meshgrid(*map(torch.arange, (ROWS, places, UNITS)), indexing="ij")
    return (row * 10_000 + place * 100 + unit).float()


def laid(function: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> tuple[torch.Tensor, Layout | None]:
    """Run a function and tell its result and how that is laid out."""
    module = Does(function)
    recorder = Recorder(inputs, {})
    follow(module, inputs, recorder)
    return module.found, recorder._layout(module.found)


def read(function: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor | None = None) -> np.ndarray:
    """Read samples × units from the result of a function."""
    found, layout = laid(function, coded() if inputs is None else inputs)
    assert layout is not None
    assert shape_of(layout) == tuple(found.shape)
    view = view_last(layout)
    assert view is not None
    return samples(found, view)


WHOLE = coded().reshape(-1, UNITS).numpy()

MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "nothing": lambda x: x,
    "transpose": lambda x: x.transpose(0, 1),
    "swapaxes": lambda x: torch.swapaxes(x, 1, 0),
    "permute": lambda x: x.permute((1, 0, 2)),
    "permuted twice": lambda x: x.permute(2, 0, 1).permute(dims=(1, 2, 0)),
    "movedim": lambda x: x.movedim(1, 0),
    "moved both": lambda x: torch.movedim(x, (0, 1), (1, 0)),
    "mT": lambda x: x.mT.mT,
    "T": lambda x: x.flatten(0, 1).T.T,
    "t": lambda x: x.flatten(0, 1).t().t(),
    "flat, rows outer": lambda x: x.flatten(0, 1),
    "flat, rows inner": lambda x: x.transpose(0, 1).reshape(-1, UNITS),
    "unflattened": lambda x: x.flatten(0, 1).unflatten(0, (ROWS, PLACES)),
    "split in three": lambda x: x.view(ROWS, 2, 3, 2, UNITS).permute(2, 0, 3, 1, 4).contiguous(),
    "joined otherwise": lambda x: x.view(ROWS, 3, 4, UNITS).permute(2, 0, 1, 3).reshape(4, -1, UNITS),
    "heads apart and together": lambda x: x.view(ROWS, PLACES, 2, 2).transpose(1, 2).transpose(1, 2).flatten(2),
    "unsqueezed": lambda x: x.unsqueeze(0).unsqueeze(-2),
    "squeezed": lambda x: x[:, None].squeeze(1),
    "None and dots": lambda x: x[None, ..., None, :][0, ..., 0, :],
    "sliced": lambda x: x[:, :, :][:],
    "stacked": lambda x: torch.stack([x, -x], dim=1)[:, 0],
    "unbound": lambda x: torch.stack(x.unbind(1), 1),
    "split": lambda x: torch.cat(x.split(5, dim=1), 1),
    "chunked": lambda x: torch.cat(torch.chunk(x, 3, dim=1), dim=1),
    "narrowed": lambda x: torch.cat([x.narrow(1, 0, 2), torch.narrow(x, 1, 2, PLACES - 2)], 1),
    "selected": lambda x: torch.cat([x.select(1, k).unsqueeze(1) for k in range(PLACES)], 1),
    "units joined": lambda x: torch.cat([x, x], -1)[..., :UNITS],
    "index_select": lambda x: x.index_select(1, ORDER),
    "indexed": lambda x: x[:, ORDER],
    "indexed by a list": lambda x: x[:, ORDER.tolist()],
    "places of every row": lambda x: x[torch.arange(ROWS)[:, None], ORDER.expand(ROWS, -1)],
    "rolled and rolled back": lambda x: x.roll(3, 1).roll(shifts=(-1,), dims=(1,)),
    "gathered": lambda x: x.gather(1, ORDER[None, :, None].expand(ROWS, -1, UNITS)),
    "index_add": lambda x: torch.zeros_like(x).index_add(1, ORDER, x),
    "index_add to nothing": lambda x: torch.zeros(ROWS, PLACES, UNITS).index_add_(1, ORDER, x),
    "scatter_add": lambda x: torch.zeros(x.shape).scatter_add(1, ORDER[None, :, None].expand(ROWS, -1, UNITS), x),
    "nodes of all rows on one axis": lambda x: x.flatten(0, 1)[torch.arange(ROWS * PLACES)],
    "summed over edges of all rows": lambda x: torch.zeros(ROWS * PLACES, UNITS).index_add(
        0, torch.arange(ROWS * PLACES), x.flatten(0, 1)
    ),
    "written one by one": lambda x: written(x),
    "written whole": lambda x: put(torch.zeros(x.shape), (slice(None), ..., slice(None)), x),
    "einsum": lambda x: torch.einsum("r t c, c d -> t r d", x, EYE),
    "einsum of a list": lambda x: torch.einsum("rtc->crt", [x]).permute(1, 2, 0),
    "matmul": lambda x: torch.eye(PLACES) @ x,
    "bmm": lambda x: torch.bmm(torch.eye(PLACES).expand(ROWS, -1, -1), x),
    "baddbmm": lambda x: torch.baddbmm(torch.zeros(1), torch.eye(PLACES).expand(ROWS, -1, -1), x),
    "broadcast": lambda x: x.sum(1, keepdim=True) * 0 + x,
    "constants": lambda x: torch.zeros(1, PLACES, UNITS) + x * torch.ones(UNITS),
    "softmax": lambda x: x.softmax(1) * 0 + x,
    "expanded": lambda x: x.unsqueeze(1).expand(-1, 5, -1, -1)[:, 3],
    "mean of copies": lambda x: x[:, None].expand(-1, 2, -1, -1).mean(1),
    "summed over two": lambda x: x[:, None, :, None].expand(-1, 2, -1, 3, -1).sum((1, 3)) / 6,
    "largest": lambda x: torch.stack([x, x - 1], 1).max(dim=1).values,
    "in place": lambda x: x.mul_(2).div_(2),
}


def written(values: torch.Tensor) -> torch.Tensor:
    found = torch.zeros(values.shape)
    for place in range(PLACES):
        found[:, place] = values[:, place]
    return found


def put(target: torch.Tensor, index: object, values: torch.Tensor) -> torch.Tensor:
    target[index] = values
    return target


@pytest.mark.parametrize("name", MOVES)
def test_what_is_moved_is_read_in_its_order(name: str) -> None:
    np.testing.assert_allclose(read(MOVES[name]), WHOLE, rtol=1e-6)


AWAY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rows turned round": lambda x: x.flip(0),
    "places that every row chooses": lambda x: x[:, x[:, :2, 0].long() % PLACES],
    "some rows": lambda x: x[1:],
    "one row": lambda x: x[0],
    "rows picked": lambda x: x.flatten(0, 1)[torch.tensor([0, 5, 13, 14, 30, 7])],
    "rows in another order": lambda x: x.flatten(0, 1)[torch.arange(ROWS * PLACES - 1, -1, -1)],
    "rows one behind the other": lambda x: torch.cat([x, x]),
    "places turned round": lambda x: x.flip(1),
    "rows by number": lambda x: x[torch.arange(ROWS - 1, -1, -1)[:, None], ORDER],
    "rows rolled": lambda x: x.roll(1, 0),
    "rows against rows": lambda x: x[:, 0] @ x[:, 0].T,
    "no rows": lambda x: torch.ones(ROWS, UNITS),
    "mean over rows": lambda x: x.mean(0),
    "masked": lambda x: x[x[:, :, 0] > -1],
    "rows repeated": lambda x: x.repeat(2, 1, 1),
    "unknown": lambda x: torch.cdist(x, x[:, :5]),
    "pieces rolled": lambda x: x.view(ROWS, 2, 6, UNITS).transpose(1, 2).flatten(1, 2).roll(1, 1),
}


@pytest.mark.parametrize("name", AWAY)
def test_where_rows_do_not_stand_on_their_own_nothing_is_said(name: str) -> None:
    _, layout = laid(AWAY[name], coded())
    assert layout is None or view_last(layout) is None


@pytest.mark.parametrize("name", ["transposed", "units against units"])
def test_places_that_hold_units_are_not_read(name: str) -> None:
    function = {"transposed": lambda x: x.transpose(1, 2), "units against units": lambda x: x.mT @ x}[name]
    _, layout = laid(function, coded())
    assert layout is not None
    assert view_last(layout) is None


@given(order=st.permutations(range(4)), cut=st.sampled_from([(2, 6), (3, 4), (6, 2)]), join=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_any_order_of_pieces_is_read_back(order: list[int], cut: tuple[int, int], join: int) -> None:
    def moved(values: torch.Tensor) -> torch.Tensor:
        pieces = values.view(ROWS, *cut, 2, 2).permute(*order, 4)  # the last stays where it is
        if order[3] == 3 and join < 2:
            pieces = pieces.flatten(3)
        return pieces.flatten(join, join + 1) if join < 2 else pieces

    found, layout = laid(moved, coded())
    assert layout is not None
    assert shape_of(layout) == tuple(found.shape)
    if order[3] == 3 and join < 2:
        view = view_last(layout)
        assert view is not None
        np.testing.assert_array_equal(samples(found, view), WHOLE)


@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4),
    other=st.lists(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1, max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_a_layout_has_the_shape_it_was_made_for(sizes: list[int], other: list[int]) -> None:
    layout = (axis("row", 5), *(axis("token", size) for size in sizes))
    found = reshaped(layout, (5, *other))
    assert found is None or shape_of(found) == (5, *other)
    if np.prod(sizes) != np.prod(other):
        assert found is None
    back = found and reshaped(found, (5, *sizes))
    assert back is None or back == layout


def test_more_places_than_sixteen_are_thinned_evenly() -> None:
    inputs = coded(40)
    wanted = coded(40)[:, np.linspace(0, 39, 16).round().astype(int)].reshape(-1, UNITS)
    np.testing.assert_array_equal(read(lambda x: x.transpose(0, 1), inputs), wanted.numpy())


@pytest.mark.parametrize("before", [0, 1, 5])
def test_an_image_is_known_behind_other_tokens(before: int) -> None:
    maps = (axis("row", 2), axis("unit", 3), axis("y", 4), axis("x", 6))
    tokens = reshaped(maps, (2, 3, 24))
    assert tokens is not None
    assert image_of(tokens[2]) == (0, 4, 6)
    extra = torch.zeros(2, before, 3)

    class Patches(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = torch.nn.Parameter(torch.ones(3, 1, 1, 1))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            maps = torch.nn.functional.conv2d(inputs, self.kernel)
            self.found = torch.cat([extra, maps.flatten(2).transpose(1, 2)], 1)
            return inputs

    module, inputs = Patches(), torch.zeros(2, 1, 4, 6)
    recorder = Recorder(inputs, {})
    follow(module, inputs, recorder)
    layout = recorder._layout(module.found)
    assert layout is not None
    assert image_of(layout[1]) == (before, 4, 6)
    alone = sliced(layout[1], before, 24)
    assert alone is not None
    assert image_of(alone) == (0, 4, 6)
    assert image_of(sliced(layout[1], before + 1, 23) or ()) is None


def test_maps_that_are_rolled_are_rolled_back() -> None:
    maps = rolled(axis("y", 6), 2)
    assert maps is not None
    assert maps[0].root.shift == 2
    back = rolled(maps, -2)
    assert back is not None
    assert back[0].root.shift == 0
    assert rolled(axis("row", 3), 1) is None


def test_what_is_known_goes_before_what_is_not() -> None:
    row, unit = axis("row", 2), axis("unit", 5)
    found = merged([(row, axis("input", 7), axis("lost", 5)), (axis("token", 7), unit)], (2, 7, 5))
    assert found is not None
    assert [pieces[0].root.label for pieces in found] == ["row", "token", "unit"]
    assert merged([(axis("token", 7), unit)], (7, 5)) is None


def test_the_same_places_on_two_axes_count_apart() -> None:
    _, layout = laid(lambda x: x[:, :, None] + x[:, None], coded())
    assert layout is not None
    view = view_last(layout)
    assert view is not None
    assert view.axes == ("row", "token", "token")
