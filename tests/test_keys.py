"""Names are matched as zoo.toml says; where they differ, the nearest are named and the remedy can be typed."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.zoo.blueprint import Blueprint
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.keys import fit, renamed

WANTED = {"conv.weight": (4, 3), "bn.weight": (4,), "bn.bias": (4,), "bn.num_batches_tracked": (), "fc.weight": (2, 4)}


def blueprint(shapes: Mapping[str, tuple[int, ...]], **said: Any) -> Blueprint:
    tensors = {name: np.full(shape, number) for number, (name, shape) in enumerate(shapes.items())}
    said = {"options": {}} | said
    return Blueprint(Checkpoint("torch", tensors, {}), "", None, inputs=None, search_path=Path(), **said)


def under(prefix: str) -> dict[str, tuple[int, ...]]:
    return {prefix + name: shape for name, shape in WANTED.items()}


def refused(shapes: Mapping[str, tuple[int, ...]], match: str, **said: Any) -> Refused:
    with pytest.raises(Refused, match=match) as caught:
        fit(blueprint(shapes, **said), WANTED, name="timm:net")
    return caught.value


def test_equal_names_fit_in_the_order_of_the_architecture() -> None:
    found = fit(blueprint(dict(reversed(WANTED.items()))), WANTED, name="timm:net")
    assert list(found) == [name for name in WANTED if name != "bn.num_batches_tracked"]
    assert found["fc.weight"].shape == (2, 4)
    assert (found["fc.weight"] == 0).all()


def test_counters_of_training_and_profiling_do_not_matter() -> None:
    extra = {"bn.total_ops": (1,), "total_params": (1,), "other.num_batches_tracked": (), "n_averaged": ()}
    assert len(fit(blueprint(WANTED | extra), WANTED, name="timm:net")) == 4


@pytest.mark.parametrize("prefix", ["backbone.", "backbone"])
def test_a_prefix_is_taken_off(prefix: str) -> None:
    found = fit(blueprint(under("backbone."), strip_prefix=prefix), WANTED, name="timm:net")
    assert set(found.names.values()) <= set(under("backbone."))


def test_names_are_taken_over_by_their_longest_beginning() -> None:
    shapes = {
        "stem.0.weight": (4, 3),
        "stem.1.weight": (4,),
        "stem.1.bias": (4,),
        "top.weight": (2, 4),
        "aux.weight": (9,),
    }
    rename = {"stem.0": "conv", "stem": "bn", "stem.1.": "bn.", "top.weight": "fc.weight", "aux": "-"}
    with pytest.raises(Refused, match="begins with 'stem', which rename says"):
        fit(blueprint(shapes, rename=rename), WANTED, name="timm:net")
    del rename["stem"]
    found = fit(blueprint(shapes, rename=rename), WANTED, name="timm:net")
    assert found.names["bn.bias"] == "stem.1.bias"
    assert found.names["fc.weight"] == "top.weight"


def test_a_beginning_ends_where_a_name_ends() -> None:
    names = renamed(blueprint({"fc.weight": (1,), "fc2.weight": (1,)}, rename={"fc": "head"})).names
    assert set(names) == {"head.weight", "fc2.weight"}


def test_nothing_stands_for_the_beginning_of_all() -> None:
    assert set(renamed(blueprint({"a": (1,), "b": (1,)}, rename={"": "net."})).names) == {"net.a", "net.b"}


def test_a_star_stands_for_one_part_of_a_name() -> None:
    shapes = {f"body.{n}.conv.{m}.weight": (n, m) for n in (1, 12) for m in (0, 3)}
    rename = {"body.*.conv.0": "body.*.first", "body.*.conv.3.": "body.*.last.", "body.1.conv.3.": "body.1.end."}
    assert set(renamed(blueprint(shapes, rename=rename)).names) == {
        *("body.1.first.weight", "body.12.first.weight"),
        *("body.1.end.weight", "body.12.last.weight"),
    }


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"strip_prefix": "model."}, r"no key that begins with 'model\.', which strip_prefix says"),
        ({"rename": {"bn3": "bn"}}, "no key that begins with 'bn3', which rename says"),
        ({"rename": {"bn.weight": "conv.weight"}}, "two tensors for 'conv.weight'"),
        ({"rename": {"bn.*": "bn"}}, r"of which only one has a \*"),
    ],
)
def test_what_zoo_toml_says_in_vain_is_refused(said: dict[str, Any], match: str) -> None:
    refusal = refused(WANTED, match, **said)
    assert refusal.code == "keys"
    assert refusal.hint


def test_keys_that_are_too_many_or_too_few_are_explained() -> None:
    shapes = {name: shape for name, shape in WANTED.items() if not name.startswith("fc")} | {"fcc.weight": (2, 4)}
    refusal = refused(
        shapes, r"^has 1 key that timm:net lacks, first 'fcc.weight' \(nearest: 'fc.weight'\), and lacks 1 key"
    )
    assert refusal.code == "keys"
    assert 'rename = { "fcc" = "fc" } in zoo.toml' in refusal.hint
    assert refused({}, "^lacks 4 keys that timm:net needs, first 'conv.weight'$")
    assert refused(WANTED | {"x": (1,)}, "^has 1 key that timm:net lacks, first 'x'$")


def test_the_remedy_can_be_typed() -> None:
    hint = refused(under("encoder."), "has 4 keys").hint
    assert fit(
        blueprint(under("encoder."), **tomllib.loads(hint.partition(" in zoo.toml")[0])), WANTED, name="timm:net"
    )
    odd = {f"{number}.{name.rpartition('.')[2]}": shape for number, (name, shape) in enumerate(WANTED.items())}
    hint = refused(odd, "has 4 keys").hint.partition(": ")[2]
    found = fit(blueprint(odd, **tomllib.loads(hint.partition(" in zoo.toml")[0])), WANTED, name="timm:net")
    assert found.names == {
        "conv.weight": "0.weight",
        "bn.weight": "1.weight",
        "bn.bias": "2.bias",
        "fc.weight": "4.weight",
    }


def test_order_alone_does_not_match_roles_or_shapes_that_differ() -> None:
    order = {"options": {"match": "order"}}
    shapes = {"a.weight": (4, 3), "b.bias": (4,), "b.weight": (4,), "c.weight": (2, 4)}
    assert refused(shapes, r"where it has 'b.bias' of shape \(4,\), timm:net has 'bn.weight'", **order).code == "keys"
    short = refused({"a.weight": (4, 3)}, "has 1 tensors, timm:net takes 4", **order)
    assert 'rename = { "NAME" = "-" }' in short.hint


def test_a_shape_that_differs_is_told_with_the_remedy() -> None:
    refusal = refused(WANTED | {"fc.weight": (7, 4)}, r"has fc.weight of shape \(7, 4\), timm:net takes \(2, 4\)")
    assert refusal.code == "shapes"
    assert "options = { num_classes = 7 }" in refusal.hint
    assert "another" not in refusal.hint
    assert "name the architecture" in refused(WANTED | {"fc.weight": (2, 4, 1)}, "of shape").hint


def test_only_a_head_that_is_cut_off_may_be_left_over() -> None:
    shapes = {name: shape for name, shape in WANTED.items() if not name.startswith("fc")}
    assert len(fit(blueprint(WANTED), shapes, name="timm:net", spare=("fc",))) == 3
    with pytest.raises(Refused, match=r"first 'fcc\.weight'"):
        fit(blueprint(WANTED | {"fcc.weight": (1,)}), shapes, name="timm:net", spare=("fc",))


@given(st.lists(st.text(alphabet="a.*/[(+\\1", max_size=30), max_size=6), st.text(alphabet="a./[(+\\1", max_size=30))
def test_no_pattern_breaks_or_takes_long(entries: list[str], name: str) -> None:
    rename = {entry: entry.replace("a", "b") for entry in entries}
    with suppress(Refused):
        assert len(renamed(blueprint({name: (1,)}, rename=rename))) == 1


def test_hostile_names_cost_little() -> None:
    shapes = {f"{'a' * 1000}{number}": (1,) for number in range(20_000)}
    start = time.perf_counter()
    refused(shapes, "has 20000 keys")
    with pytest.raises(Refused, match="which rename says"):
        renamed(blueprint(shapes, rename={"a*a*a*a*b": "*.*.*.*"}))
    assert time.perf_counter() - start < 10
