"""Kernels of first layers are a family where two lineages have them beyond chance, whatever their size and angle."""

from __future__ import annotations

import numpy as np
import pytest
from planted_vision import gabor

from consilience.analysis.formulas.expression import variables
from consilience.analysis.vision.kernel_first_families import (
    Explained,
    FirstFamily,
    FirstKernels,
    family_expression,
    first_families,
    member_r2,
)
from consilience.analysis.vision.kernel_forms import fit_form
from consilience.analysis.vision.kernel_race import null_fits, race
from consilience.zoo.errors import BadInput

EDGE = ("axis_gabor", "edge", "luminance")
SPOT = ("gaussian", "colour", "red-green")


def edges(count: int, *, size: int, seed: int) -> tuple[Explained, ...]:
    """Gabors of any angle and frequency, half a wavelength wide along it and across, with a little noise."""
    draw, made = np.random.default_rng(seed), []
    for unit in range(count):
        frequency = draw.uniform(1.8, 2.2) / size
        one = gabor(draw.uniform(0, np.pi), frequency, np.pi / 2, size=size, sigma=0.4 / frequency)
        kernel = one[None] / np.linalg.norm(one) + 0.02 * draw.normal(size=(1, size, size)) / size
        made.append(Explained(unit, EDGE, fit_form(kernel, "axis_gabor").numbers, kernel))
    return tuple(made)


def layer(lineage: str, explained: tuple[Explained, ...], *, chance: int = 0, of: int = 24) -> FirstKernels:
    return FirstKernels(lineage, explained, of, {EDGE: chance}, 32)


@pytest.fixture(scope="module")
def family() -> FirstFamily:
    layers = {
        "small": layer("a", edges(8, size=9, seed=0)),
        "large": layer("b", edges(6, size=13, seed=1)),
        "other": layer("c", (), of=60),
    }
    found = first_families(layers)
    assert len(found) == 1
    return found[0]


def test_edges_of_two_sizes_and_any_angle_are_one_family(family: FirstFamily) -> None:
    assert family.kind == EDGE
    assert {name: len(own) for name, own in family.members.items()} == {"small": 8, "large": 6}
    for value, spread in family.shared.values():
        assert value == pytest.approx(0.4, rel=0.05)
        assert spread < 0.02
    assert family.p < 0.01
    assert family.r2 > 0.98


def test_its_equation_holds_what_is_shared_and_names_what_is_not(family: FirstFamily) -> None:
    assert set(variables(family.expression)) == {"u", "v", "phase"}
    u = np.linspace(-1, 1, 9)
    drawn = family.expression.numpy(["u", "v", "phase"])(u, 0 * u, 0 * u - np.pi / 2)
    assert drawn == pytest.approx(np.exp(-(u**2) / 0.32) * np.sin(2 * np.pi * u), abs=0.05)


def test_a_lineage_left_out_is_told_by_the_other(family: FirstFamily) -> None:
    assert set(family.by_lineage) == {"a", "b"}
    assert all(r2 > 0.97 and 0.9 < ratio < 2 for r2, ratio in family.by_lineage.values())
    assert all(member_r2(one, {"cycles_u": 2.0, "cycles_v": 0.1}) < 0.9 for one in family.members["small"])


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (("b", 6, 12), "chance gives as many"),
        (("b", 1, 0), "one alone is not beyond chance"),
        (("a", 6, 0), "relatives are one witness"),
    ],
)
def test_what_two_lineages_do_not_have_is_no_family(second: tuple[str, int, int], why: str) -> None:
    lineage, count, chance = second
    layers = {
        "left": layer("a", edges(8, size=9, seed=0)),
        "right": layer(lineage, edges(count, size=9, seed=1), chance=chance),
    }
    assert first_families(layers) == (), why


def test_networks_without_explained_kernels_have_no_family() -> None:
    assert first_families({"left": layer("a", ()), "right": layer("b", ())}) == ()
    assert first_families({}) == ()


def test_forms_without_a_shared_number_still_have_an_equation() -> None:
    assert str(family_expression(SPOT, {}))
    rings = family_expression(("difference_of_gaussians", "spot", "luminance"), {"ratio": 2.0, "surround": 0.25})
    assert rings.numpy(["u", "v"])(np.zeros(1), np.zeros(1)) == pytest.approx([0.75])
    edge = family_expression(("first_derivative", "edge", "luminance"), {"aspect": 1.5})
    assert set(variables(edge)) == {"u", "v"}


@pytest.mark.parametrize("bad", [np.zeros((4, 3, 5, 5)), np.full((4, 3, 5, 5), np.nan)])
def test_nulls_of_no_kernels_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(BadInput, match="not finite, or all zero"):
        null_fits(bad, seed=0)
    with pytest.raises(BadInput, match="zero or not finite"):
        race(bad[0])
