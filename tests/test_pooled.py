"""What lineages share is pooled, and only what differs by more than mistakes explain is split."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from planted import planted

from consilience.analysis.distillation.pooled import Pooled, pool
from consilience.analysis.formulas.parsing import parse

LAW = "2.31*a + 1.72*b*c + 0.63"


def _split(found: Pooled) -> list[int]:
    numbers = [found.scale, *found.numbers, found.offset]
    return [place for place, number in enumerate(numbers) if not number.shared]


def test_shared_numbers_stay_shared() -> None:
    split = [_split(pool(planted([LAW] * 8, seed=seed), parse(LAW))) for seed in range(10)]
    assert sum(map(len, split)) <= 0.05 * 10 * 5


@pytest.mark.slow
@pytest.mark.parametrize("law", ["2.3*a*b/c**2", LAW, "1.7*exp(-0.4*a)*b + 0.8*sin(1.3*c)"])
@pytest.mark.parametrize("sizes", [[1.0] * 8, list(np.geomspace(0.5, 2.0, 8))])
def test_shared_numbers_stay_shared_in_forty_zoos(law: str, sizes: list[float]) -> None:
    found = [pool(planted([law] * 8, seed=seed, sizes=sizes), parse(law)) for seed in range(40)]
    assert sum(len(_split(one)) for one in found) <= 0.05 * sum(len(one.numbers) + 2 for one in found)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_number_that_differs_is_found_and_no_other(place: int) -> None:
    for seed in range(4):
        spread = np.random.default_rng(seed).normal(size=8)
        spread *= (0.1, 0.08, 0.5)[place]  # about five times what lineages err by
        laws = [LAW.replace(n, str(float(n) + x)) for x in spread for n in [("2.31", "1.72", "0.63")[place]]]
        found = pool(planted(laws, seed=seed), parse(LAW))
        assert _split(found) == [place + 1]
        each = np.array(found.numbers[place].each)
        assert np.corrcoef(each, spread)[0, 1] > 0.98
        assert found.numbers[place].p < 0.01
        assert not found.linked


def test_scales_and_offsets_of_lineages_are_links() -> None:
    random = np.random.default_rng(0)
    laws = [
        f"{x}*(a**2*b + 3.0*sin(c)) + {y}"
        for x, y in zip(random.normal(3, 0.4, 8), random.normal(0, 9, 8), strict=True)
    ]
    found = pool(planted(laws, seed=0), parse("3.01*(a**2*b + 3.0*sin(c)) + 0.01"))
    assert _split(found) == [1, 4]  # the skeleton has a factor and an offset already
    assert not found.linked
    bare = pool(planted(laws, seed=0), parse("a**2*b + 3.0*sin(c)"))
    assert _split(bare) == [0, 3]
    assert bare.linked
    assert np.corrcoef(bare.scale.each, [float(law.split("*")[0]) for law in laws])[0, 1] > 0.98


def test_one_lineage_and_exact_lineages_share_everything() -> None:
    assert _split(pool(planted([LAW], seed=0), parse(LAW))) == []
    assert _split(pool(planted([LAW] * 5, seed=0, mistake=0.0), parse(LAW))) == []
    assert _split(pool(planted([LAW] * 2, seed=0), parse(LAW))) == []


def test_what_is_said_is_plain_data() -> None:
    found = pool(planted([LAW] * 5, seed=0), parse(LAW))
    assert json.loads(json.dumps(asdict(found)))["numbers"][0]["value"] == pytest.approx(2.31, rel=0.02)
    assert 1 < found.effective < 100
