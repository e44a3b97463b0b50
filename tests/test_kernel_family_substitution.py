"""A few forms stand for all kernels of depthwise layers: what they say exactly is kept, what they do not is lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from consilience.analysis.formulas.parsing import parse
from consilience.analysis.vision.kernel_baselines import BASELINES
from consilience.analysis.vision.kernel_dictionary import dictionary, written
from consilience.analysis.vision.kernel_family_substitution import Watched, substitute_families, watch
from consilience.analysis.vision.kernel_shapes import Grid
from consilience.analysis.vision.kernel_substitution import Agreement, KernelSubstitution
from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network
from consilience.zoo.record import trace

GRID = Grid(5, 5)
FORMS = [parse(text) for text in ("exp(-(x**2 + y**2)/2)", "x*exp(-(x**2 + y**2)/2)", "y*exp(-x**2/2 - y**2/4)")]
KNOWN = dictionary(FORMS, GRID)
DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, size=(12, 24, 24, 3), dtype=np.uint8)
KINDS = ["equations", "equations of members", "scrambled forms", *BASELINES]


def made(units: int, *, seed: int) -> np.ndarray:
    """Kernels that are a form at some place, times a number, plus a number."""
    draw = np.random.default_rng(seed)
    which = draw.integers(len(KNOWN.images), size=units)
    scale = draw.choice([-1.0, 1.0], units) * draw.uniform(0.5, 2, units)
    return KNOWN.images[which] * scale[:, None, None] + draw.normal(size=units)[:, None, None] * 0.2


def network(kernels: np.ndarray) -> Network:
    """Two depthwise layers of 3 and 12 channels, and five classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = nn.Conv2d(3, 12, 5, groups=3, padding=2), nn.Conv2d(12, 12, 5, groups=12)
        for module, values in ((first, kernels[:12]), (second, kernels[12:])):
            module.weight.data = torch.from_numpy(np.ascontiguousarray(values[:, None])).float()
        parts = [first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)]
    module = nn.Sequential(*parts).eval().requires_grad_(False)
    return Network("net", "digest", "net", module, trace(module, torch.zeros(2, 3, 24, 24)).layers, (3, 24, 24))


def tried(kernels: np.ndarray, members: np.ndarray) -> tuple[KernelSubstitution, ...]:
    seeing = network(kernels)
    watched = watch(seeing, ["0", "2"], IMAGES[:6], IMAGES[6:], seed=0)
    family = {"0": members[:12], "2": members[12:]}
    return substitute_families(
        seeing, watched, FORMS, family, IMAGES[6:], places={"one": ["2"], "both": ["0", "2"]}, seed=0
    )


def row(found: KernelSubstitution, kind: str) -> Agreement:
    return next(one for one in found.rows if one.kind == kind)


def test_kernels_that_are_such_forms_are_lost_to_nobody() -> None:
    one, both = tried(made(24, seed=1), np.full(24, -1))
    assert (one.layer, one.units, both.layer, both.units, both.images) == ("one", 12, "both", 24, 6)
    for found in (one, both):
        assert [each.kind for each in found.rows] == KINDS
        equations = row(found, "equations")
        assert equations.agreement == 1.0
        assert min(equations.r2, equations.response) > 0.999
        for kind in ("scrambled forms", "shuffled", "mean"):
            assert row(found, kind).response < 0.99
            assert row(found, kind).r2 < equations.r2


def test_what_belongs_to_no_family_is_left_as_it_is() -> None:
    noise = DRAW.normal(size=(24, 5, 5))
    for found in tried(noise, np.full(24, -1)):
        kept = row(found, "equations of members")
        assert (kept.agreement, kept.r2, kept.response) == (1.0, 1.0, 1.0)
        assert row(found, "equations").r2 < 1


def test_members_get_the_form_of_their_own_family() -> None:
    kernels = np.stack([KNOWN.images[KNOWN.of == 0][12]] * 24)
    right, wrong = (row(tried(kernels, np.full(24, form))[1], "equations of members") for form in (0, 1))
    assert right.response > 0.999
    assert wrong.response < right.response


@pytest.mark.parametrize("factor", [-3.0, 0.01])
def test_scale_goes_with_the_kernel(factor: float) -> None:
    kernels, moments = DRAW.normal(size=(9, 5, 5)), np.eye(25)[None] + np.zeros((9, 1, 1))
    assert written(factor * kernels, moments, KNOWN) == pytest.approx(factor * written(kernels, moments, KNOWN))


def test_a_unit_that_sees_nothing_is_judged_by_its_pixels() -> None:
    kernels = made(6, seed=2)
    assert written(kernels, np.zeros((6, 25, 25)), KNOWN) == pytest.approx(kernels, abs=1e-9)


def test_a_kernel_of_zeros_stays_zero_and_a_level_form_is_allowed() -> None:
    level = dictionary([parse("0.2")], GRID)
    put = written(np.stack([np.zeros((5, 5)), np.ones((5, 5))]), np.stack([np.eye(25)] * 2), level)
    assert put == pytest.approx(np.stack([np.zeros((5, 5)), np.ones((5, 5))]))


def test_a_form_is_drawn_where_half_of_it_is_left() -> None:
    corner = dictionary([parse("exp(-((x - 2)**2 + (y - 2)**2))")], GRID)
    assert 9 <= len(corner.images) < 25
    assert len(dictionary(FORMS[:1], GRID).images) == 25


def test_responses_are_measured_on_patches_held_out() -> None:
    kernels = made(2, seed=3)[:, None]
    blind = Watched(kernels, np.stack([np.eye(25)] * 2), np.stack([np.zeros((25, 25)), np.eye(25)]))
    told = blind.response_r2(kernels / 2)
    assert math.isnan(told[0])
    assert told[1] == pytest.approx(0.75)


def test_what_cannot_be_put_in_place_is_said() -> None:
    with pytest.raises(BadInput, match="no form to put in the place"):
        dictionary([], GRID)
    kernels = made(24, seed=4)
    with pytest.raises(BadInput, match="a kernel, or what it sees, is not finite"):
        written(kernels * np.nan, np.stack([np.eye(25)] * 24), KNOWN)
    kernels[3] = np.nan
    with pytest.raises(BadInput, match="kernels of layer 0 of net are not finite"):
        tried(kernels, np.full(24, -1))
    seeing = network(made(24, seed=4))
    watched = watch(seeing, ["0"], IMAGES[:6], IMAGES[6:], seed=0)
    with pytest.raises(BadInput, match="1 images to compare"):
        substitute_families(seeing, watched, FORMS, {"0": np.full(12, -1)}, IMAGES[:1], places={"0": ["0"]})
