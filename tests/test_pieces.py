"""The straight pieces of small networks: equal to them, bounded by what bounds them, and as a tree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.exact_forms.cone import cone
from consilience.analysis.exact_forms.halfspace import Box, bounds, condition
from consilience.analysis.exact_forms.piece_tree import Leaf, ask, leaves, piece_tree, tree_python, tree_text
from consilience.analysis.exact_forms.pieces import Pieces, pieces
from consilience.analysis.formulas.plane import Plane
from consilience.zoo.dense import Dense, read_dense
from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network, Scaling, predict
from consilience.zoo.record import trace

DRAW = np.random.default_rng(0)
BOX = Box(np.full(3, -3.0), np.full(3, 3.0))
ROWS, FRESH = DRAW.uniform(-3.0, 3.0, size=(2000, 3)), DRAW.uniform(-3.0, 3.0, size=(5000, 3))
NAMES = ("a", "b", "lambda")
MADE: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.3),
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "hardsigmoid": nn.Hardsigmoid,
}


def network(make: Callable[[], nn.Module], precision: torch.dtype = torch.float64) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = nn.Sequential(nn.Linear(3, 3), make(), nn.Linear(3, 2), make(), nn.Linear(2, 2))
    module = module.to(precision).eval().requires_grad_(False)
    for layer in (module[0], module[2]):
        layer.weight *= 2
    scaling = Scaling((0.5,), (2.0, 0.5, 1.0), (10.0,), (3.0,))
    return Network("n", "d", "n", module, trace(module, torch.zeros(2, 3, dtype=precision)).layers, (3,), (), scaling)


def said(found: Pieces, rows: np.ndarray) -> np.ndarray:
    which, values = found.which(rows), np.full(len(rows), np.nan)
    for number, piece in enumerate(found.pieces):
        values[which == number] = piece.plane(rows[which == number])
    return values


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", MADE)
def test_pieces_and_tree_are_the_network(name, precision):
    given, tolerance = network(MADE[name], precision), 1e-9 if precision == torch.float64 else 1e-5
    part = cone(read_dense(given), 2, 1)
    found, tree = pieces(part, ROWS, box=BOX), piece_tree(part, ROWS, box=BOX)
    seen, fresh = predict(given, ROWS)[:, 1], predict(given, FRESH)[:, 1]
    scale = np.abs(seen).max()
    assert len(found.pieces) >= 4
    assert np.abs(said(found, ROWS) - seen).max() < tolerance * scale
    reached = found.which(FRESH) >= 0
    assert reached.mean() > 0.98
    assert np.abs(said(found, FRESH) - fresh)[reached].max() < tolerance * scale
    assert np.abs(ask(tree, ROWS) - seen).max() < tolerance * scale
    assert np.abs(ask(tree, FRESH) - fresh)[reached].max() < tolerance * scale
    assert sum(piece.rows for piece in found.pieces) == sum(leaf.rows for leaf in leaves(tree)) == len(ROWS)
    assert [piece.rows for piece in found.pieces] == sorted((piece.rows for piece in found.pieces), reverse=True)
    code = tree_python(tree, NAMES, name="y")
    space: dict[str, Callable[..., float]] = {}
    exec(code, space)
    assert np.abs(np.array([space["y"](*row) for row in ROWS[:300]]) - seen[:300]).max() < tolerance * scale


@pytest.mark.parametrize("name", MADE)
def test_every_bound_bounds(name):
    """Without any one of them, there would be points of the box in the cell where that unit is on another piece."""
    found = pieces(cone(read_dense(network(MADE[name])), 2, 0), ROWS, box=BOX)
    for cell in (cell for piece in found.pieces for cell in piece.cells):
        for side in cell.sides:
            assert least(side, [other for other in cell.sides if other is not side], BOX) < -1e-8


def relu(weight: list[list[float]], bias: list[float], name: str = "1", activation: str = "relu") -> Dense:
    return Dense(name, np.array(weight), np.array(bias), activation, np.zeros((len(bias), 0)))


def test_the_absolute_value_in_two_pieces():
    layers = [relu([[1.0], [-1.0]], [0.0, 0.0]), relu([[1.0, 1.0]], [0.0], "2", "identity")]
    rows = np.linspace(-1.0, 2.0, 30)[:, None]
    part = cone(layers, 1, 0)
    found = pieces(part, rows)
    assert [str(piece.plane.expression(["x"])) for piece in found.pieces] == ["x", "-x"]
    assert [[condition(side, ["x"]) for side in piece.cells[0].sides] for piece in found.pieces] == [
        ["x >= 0"],
        ["-x >= 0"],
    ]
    assert tree_text(piece_tree(part, rows), ["x"]) == [
        "where x >= 0  [unit 0 of layer 1]",
        "    x  [20 rows]",
        "otherwise",
        "    -x  [10 rows]",
    ]


def test_regions_of_equal_planes_are_one_piece():
    """|x| - |x - 1| is -1 and 1 on both sides of y = 0, which a unit tests that adds nothing in the end."""
    first = relu([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]], [0.0, 0.0, 0.0])
    second = relu([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]], [0.0, 0.0, 0.0], "2")
    last = relu([[1.0, 1.0, -1.0]], [0.0], "3", "identity")
    rows = DRAW.uniform(-1.0, 1.0, size=(500, 2))
    found = pieces(cone([first, second, last], 2, 0), rows)
    assert sorted(str(piece.plane.expression(["x", "y"])) for piece in found.pieces) == ["-x", "x"]
    assert sum(len(piece.cells) for piece in found.pieces) == 4
    np.testing.assert_allclose(said(found, rows), np.abs(rows[:, 0]), atol=1e-12)
    tree = piece_tree(cone([first, second, last], 2, 0), rows)
    assert sum(1 for _ in leaves(tree)) == 2


def test_one_plane_needs_no_test():
    layers = [relu([[1.0, 1.0]], [5.0]), relu([[2.0]], [1.0], "2", "identity")]
    rows = DRAW.uniform(-1.0, 1.0, size=(50, 2))
    (piece,) = pieces(cone(layers, 1, 0), rows).pieces
    assert piece.cells[0].sides == ()
    tree = piece_tree(cone(layers, 1, 0), rows)
    assert isinstance(tree, Leaf)
    assert tree_text(tree, ["x", "y"]) == ["2*x + 2*y + 11  [50 rows]"]


def test_too_many_pieces_are_refused_with_their_number():
    part = cone(read_dense(network(nn.ReLU)), 2, 0)
    count = len(pieces(part, ROWS).pieces)
    with pytest.raises(BadInput, match=f"there are {count} pieces where 2,000 rows lie, more than 3"):
        pieces(part, ROWS, most=3)
    with pytest.raises(BadInput, match=r"there are \d+ pieces"):
        piece_tree(part, ROWS, most=3)
    assert len(pieces(part, ROWS, most=count).pieces) == count


def test_smooth_functions_have_no_pieces():
    with pytest.raises(BadInput, match="layer 0: tanh is smooth: it has no straight pieces"):
        pieces(cone(read_dense(network(nn.Tanh)), 2, 0), ROWS)


# --- bounds --------------------------------------------------------------------------------------


def plane(*numbers: float) -> Plane:
    return Plane(np.array(numbers[:-1]), numbers[-1])


def test_bounds_that_others_imply_are_left_out():
    box, inside = Box(np.zeros(2), np.ones(2)), np.array([0.3, 0.3])
    tight, loose, outside = plane(-1.0, 0.0, 0.5), plane(-1.0, 0.0, 0.8), plane(-1.0, -1.0, 9.0)
    assert bounds([loose, tight, outside], inside, box) == (tight,)
    corner = plane(-1.0, -1.0, 1.0)  # touches the square below one half in nothing but a corner
    other = plane(0.0, -1.0, 0.5)
    assert bounds([tight, other, corner], inside, box) == (tight, other)
    assert bounds([tight, plane(-2.0, 0.0, 1.0)], inside, box) == (tight,)
    assert bounds([], inside, box) == ()


@pytest.mark.parametrize("inputs", [1, 2, 5, 20])
def test_bounds_of_random_regions_are_what_linear_programming_says(inputs):
    draw = np.random.default_rng(inputs)
    box, inside = Box(np.full(inputs, -1.0), np.ones(inputs)), np.zeros(inputs)
    given = [Plane(draw.normal(size=inputs), float(draw.uniform(0.05, 1.0))) for _ in range(30)]
    kept = bounds(given, inside, box)
    rows = draw.uniform(-1.0, 1.0, size=(50_000, inputs)) * draw.uniform(0.0, 1.0, size=(50_000, 1))
    every = np.all([one(rows) >= 0 for one in given], axis=0)
    some = np.all([one(rows) >= 0 for one in kept], axis=0)
    assert (every == some).all()
    for one in kept:
        assert least(one, [other for other in kept if other is not one], box) < -1e-8


def least(one: Plane, others: list[Plane], box: Box) -> float:
    from scipy.optimize import linprog

    weights = np.array([-other.weights for other in others]).reshape(len(others), len(box.low))
    limits = (weights, [other.constant for other in others]) if others else (None, None)
    return linprog(one.weights, *limits, bounds=[*zip(box.low, box.high, strict=True)]).fun + one.constant
