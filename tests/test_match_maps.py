"""Units of early vision are found again in other networks wherever they are, and chance is called chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from consilience.analysis.vision.law_agreement import law_agreement
from consilience.analysis.vision.map_features import map_features, register
from consilience.analysis.vision.match_maps import (
    SHIFTS,
    MapUnits,
    common_places,
    map_units,
    match_maps,
    sample_shifts,
    sampled,
)
from consilience.zoo.errors import BadInput
from consilience.zoo.network import Network
from consilience.zoo.shuffle import shuffled_twin

SIDE, UNITS, STRIDE = 64, 16, 2
STEP = STRIDE / SIDE


def images(crops: int = 50, *, seed: int = 0) -> np.ndarray:
    """Smooth noise, wrapped around at its borders: circles of 1/f, as photos have them."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)) + 1 / SIDE
    noise = np.fft.fft2(rng.standard_normal((crops, SIDE, SIDE))) / frequency**0.5
    found = np.fft.ifft2(noise).real
    return np.asarray(found / found.std(), dtype=np.float32)


def filters(*, seed: int, units: int = UNITS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((units, 5, 5)).astype(np.float32)


def maps_of(kernels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Convolve with circular borders at stride two."""
    padded = np.pad(shown, ((0, 0), (2, 2), (2, 2)), mode="wrap")[:, None]
    return np.asarray(conv2d(torch.from_numpy(padded), torch.from_numpy(kernels[:, None]), stride=STRIDE).numpy())


def seen(maps: np.ndarray, name: str, *, odd: bool = True) -> MapUnits:
    values = sample_shifts([{"conv": maps[:20]}, {"conv": maps[20:]}], common_places(len(maps)), STEP)
    return map_units(values, network=name, lineage=name, step=STEP, odd=odd)


def planted(shown: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give maps, and those of the same units in another order, moved by cells and with other signs and scales."""
    rng = np.random.default_rng(1)
    maps = maps_of(filters(seed=0), shown)
    order, signs = rng.permutation(UNITS), rng.choice([-1.0, 1.0], UNITS)
    moves = SHIFTS[rng.integers(0, len(SHIFTS), UNITS)]
    turned = [
        sign * rng.lognormal() * np.roll(maps[:, unit], move.astype(int), axis=(1, 2)) + rng.standard_normal()
        for unit, sign, move in zip(order, signs, moves, strict=True)
    ]
    return maps, np.stack(turned, axis=1).astype(np.float32), order, signs, moves


def test_planted_units_are_matched_with_their_shifts_and_signs() -> None:
    maps, turned, order, signs, moves = planted(images())
    found = match_maps(seen(turned, "left"), seen(maps, "right"))
    assert found.left_unit.tolist() == list(range(UNITS))
    assert found.right_unit.tolist() == order.tolist()
    assert (np.sign(found.r) == signs).all()
    # What lies a cell further on the left is met on the right by looking a cell back.
    np.testing.assert_array_equal(found.shift, -moves)
    assert np.abs(found.r).min() > 0.99
    assert found.mutual.all()
    assert (found.q <= 0.05).all()


def test_signs_are_kept_where_units_cannot_be_flipped() -> None:
    maps, turned, order, signs, _ = planted(images())
    found = match_maps(seen(turned, "left", odd=False), seen(maps, "right", odd=False))
    assert (found.r > 0.0).all()
    same = signs > 0
    assert (found.right_unit[same] == order[same]).all()
    assert (found.q[~same] > 0.05).any()


def test_maps_of_another_size_and_stride_come_to_the_same_places() -> None:
    places = common_places(3)
    rows, columns = (np.arange(n) for n in (32, 48))
    for side in (rows, columns):
        centre = (side + 0.5) / len(side)
        maps = np.stack(np.broadcast_arrays(centre[:, None], centre[None, :]))[None].repeat(3, axis=0)
        values = sampled(maps.astype(np.float32), places)
        np.testing.assert_allclose(values, places.reshape(-1, 2), atol=1e-6)
        moved = sampled(maps.astype(np.float32), places, (STEP, -STEP))
        np.testing.assert_allclose(moved - values, np.tile([STEP, -STEP], (len(values), 1)), atol=1e-6)


def test_independent_random_networks_match_no_better_than_their_twins() -> None:
    shown = images()
    left, right = (seen(maps_of(filters(seed=seed), shown), str(seed)) for seed in (10, 11))

    def twins(draw: int) -> list[np.ndarray]:
        drawn = [seen(maps_of(filters(seed=100 + 2 * draw + side), shown), "") for side in (0, 1)]
        return [one.activations.values for one in drawn]

    found = match_maps(left, right, twins={"shuffled kernels": twins}, draws=10)
    assert set(found.null_r) == {"rotated", "shuffled", "shuffled kernels"}
    assert (found.q > 0.05).all()
    # Correlated images find partners for anything: shuffled samples alone would call these matches.
    assert np.median(np.abs(found.r)) > 2 * np.median(found.null_r["shuffled"])


def test_translation_of_all_images_leaves_matches_as_they_are() -> None:
    shown = images()
    found = []
    for move in (0, 6):
        moved = np.roll(shown, (move, -move), axis=(1, 2))
        maps, turned, *_ = planted(moved)
        found.append(match_maps(seen(turned, "left"), seen(maps, "right"), draws=1))
    np.testing.assert_array_equal(found[0].right_unit, found[1].right_unit)
    np.testing.assert_array_equal(found[0].shift, found[1].shift)
    np.testing.assert_array_equal(np.sign(found[0].r), np.sign(found[1].r))


def test_units_that_never_vary_match_nothing() -> None:
    maps, turned, order, *_ = planted(images())
    turned[:, 3] = 0.5
    found = match_maps(seen(turned, "left"), seen(maps, "right"), draws=1)
    assert 3 not in found.left_unit
    assert (found.right_unit == np.delete(order, 3)).all()


def test_units_are_registered_to_those_of_the_widest_network() -> None:
    maps, turned, _, _, moves = planted(images())
    wide = np.concatenate([maps, maps_of(filters(seed=9, units=2), images())], axis=1)
    level = [seen(wide, "wide").activations, seen(turned, "moved").activations]
    still, choice = register(level)
    assert (SHIFTS[still] == 0.0).all()
    np.testing.assert_array_equal(SHIFTS[choice], moves)


def test_features_have_the_units_that_were_planted_and_no_others() -> None:
    shown, rng = images(), np.random.default_rng(4)
    shared, networks, truth = filters(seed=0, units=8), [], []
    for number in range(4):
        own = np.concatenate([shared, filters(seed=50 + number, units=8)])
        maps = maps_of(own + 0.1 * rng.standard_normal(own.shape).astype(np.float32), shown)
        order = rng.permutation(UNITS)
        moves = SHIFTS[rng.integers(0, len(SHIFTS), UNITS)] * (number > 0)
        moved = [np.roll(maps[:, unit], move.astype(int), axis=(1, 2)) for unit, move in zip(order, moves, strict=True)]
        networks.append(seen(np.stack(moved, axis=1), str(number)))
        truth.append(order)
    found = map_features(networks, draws=8)
    passed = [feature for feature in found.features if feature.q <= 0.05]
    planted_units = [{truth[int(member.network)][member.unit] for member in feature.members} for feature in passed]
    assert sorted(min(units) for units in planted_units) == list(range(8))
    assert all(len(units) == 1 for units in planted_units)
    assert all(feature.lineages == feature.witnesses == 4 for feature in passed)
    assert all(feature.agreement > 0.95 > feature.chance for feature in passed)


def test_random_networks_yield_no_family() -> None:
    shown = images(40)

    def networks(seed: int) -> list[MapUnits]:
        return [seen(maps_of(filters(seed=seed + number), shown), str(number)) for number in range(3)]

    def twins(draw: int) -> list[np.ndarray]:
        return [one.activations.values for one in networks(100 + 3 * draw)]

    found = map_features(networks(10), twins={"untrained": twins}, draws=4)
    assert not [feature for feature in found.features if feature.q <= 0.05]


def test_networks_read_in_other_steps_or_of_one_lineage_are_refused() -> None:
    one = seen(maps_of(filters(seed=0), images()), "one")
    with pytest.raises(BadInput, match="same steps"):
        match_maps(one, replace(one, step=2 * STEP))
    with pytest.raises(BadInput, match="one lineage"):
        map_features([one, one])
    with pytest.raises(BadInput, match="same steps"):
        map_features([one, replace(one, step=2 * STEP, lineage="other")])
    with pytest.raises(BadInput, match="places of 3 crops"):
        sample_shifts([{"conv": np.zeros((4, 1, 8, 8), dtype=np.float32)}], common_places(3), STEP)
    with pytest.raises(BadInput, match="no place"):
        common_places(3, margin=0.5)


def test_law_parameters_agree_where_they_are_the_same_round_the_clock() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(0.0, np.pi, 40)
    turned = (angles + 0.05 * rng.standard_normal(40)) % np.pi
    turned[0] = np.nan
    found = law_agreement(angles, turned, np.pi, permutations=999)
    assert found.pairs == 39
    assert found.p <= 0.001
    assert found.distance < 0.1 < 0.6 < found.chance < 1.0
    unrelated = law_agreement(angles, rng.permutation(angles), np.pi, permutations=999)
    assert unrelated.p > 0.05
    assert law_agreement(angles[:1], angles[:1], np.pi).p == 1.0


def test_agreement_without_a_period_is_that_of_plain_numbers() -> None:
    octaves = np.random.default_rng(0).uniform(-4.0, -1.0, 30)
    assert law_agreement(octaves, octaves + 0.3, permutations=999).p < 0.01
    assert law_agreement(octaves, octaves[::-1].copy(), permutations=999).p > 0.05


def test_a_shuffled_twin_keeps_each_filters_numbers_and_nothing_else() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2)).eval()
    module(torch.zeros(2, 3, 8, 8))
    network = Network("net", "digest", "line", module, (), (3, 8, 8))
    twin, again, other = (shuffled_twin(network, seed=seed) for seed in (0, 0, 1))
    for place in (0, 3):
        kept, mixed = module[place].weight.detach().flatten(1), twin.module[place].weight.flatten(1)
        assert not torch.equal(kept, mixed)
        assert torch.equal(kept.sort(dim=1).values, mixed.sort(dim=1).values)
        assert torch.equal(twin.module[place].weight, again.module[place].weight)
        assert not torch.equal(twin.module[place].weight, other.module[place].weight)
        assert torch.equal(twin.module[place].bias, module[place].bias)
    assert twin.lineage not in ("line", other.lineage)
    with pytest.raises(BadInput, match="no filters"):
        shuffled_twin(replace(network, module=nn.Identity()), seed=0)
