"""The weights are found in whatever training saves around them, and what is left out is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from consilience.zoo.errors import Refused
from consilience.zoo.nesting import AVERAGED, RAW, unpack
from consilience.zoo.rehearsal import Storage, View

ONE = View(Storage("0", 2, "f4"), 0, (2,), (1,))
TWO = View(Storage("1", 3, "f4"), 0, (3,), (1,))
STATE = {"fc.weight": ONE, "fc.bias": TWO}


@pytest.mark.parametrize("nest", [*RAW, *AVERAGED])
def test_one_level_down(nest: str) -> None:
    found = unpack({"epoch": 3, nest: STATE, "optimizer": {"state": {0: {"exp_avg": ONE}}, "lr": 0.1}})
    assert found.tensors == STATE
    assert found.warnings == []
    assert found.metadata["epoch"] == "3"
    assert ("averaged" in found.metadata) == (nest in AVERAGED)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (STATE, ["fc.weight", "fc.bias"]),
        ({"model": {"state_dict": STATE, "name": "a"}}, ["fc.weight", "fc.bias"]),
        ({"checkpoint": {"weights": STATE}}, ["fc.weight", "fc.bias"]),
        ({"my_net": STATE}, ["fc.weight", "fc.bias"]),
        ({"encoder": STATE, "decoder": STATE, "optimizer_g": STATE, "amp": STATE, "scheduler": {"t": ONE}}, None),
        ({"state": {0: STATE}, "model": STATE}, ["fc.weight", "fc.bias"]),
    ],
)
def test_deeper_or_by_other_names(content: Mapping[str, Any], names: list[str] | None) -> None:
    both = [f"{part}.{name}" for part in ("encoder", "decoder") for name in STATE]
    assert list(unpack(content).tensors) == (names or both)


def test_raw_weights_go_before_averaged_ones() -> None:
    found = unpack({"model_ema": {"w": TWO}, "model": {"w": ONE}})
    assert found.tensors == {"w": ONE}
    assert found.warnings == ["averaged: model_ema is there too, model is taken"]
    assert found.metadata == {"raw": "model"}


def test_what_is_left_out_is_said() -> None:
    found = unpack({"model": {"w": ONE}, "mean": TWO, "std": TWO, "critic": {"w": TWO}})
    assert found.tensors == {"w": ONE}
    assert found.warnings == ["left-out: mean and 2 more, beside the weights that are taken"]
    assert unpack({"w": ONE, "critic": {"w": TWO}}).warnings == ["left-out: critic, beside the weights that are taken"]


def test_the_prefix_of_lightning_goes_only_there() -> None:
    state = {"model.fc": ONE, "model.out": TWO}
    assert list(unpack({"pytorch-lightning_version": "2.1", "state_dict": state}).tensors) == ["fc", "out"]
    assert list(unpack({"state_dict": state}).tensors) == list(state)
    mixed = state | {"loss.w": ONE}
    assert list(unpack({"pytorch-lightning_version": "2.1", "state_dict": mixed}).tensors) == list(mixed)


def test_long_text_and_huge_numbers_are_not_said() -> None:
    found = unpack({"w": ONE, "a": "x" * 5000, "b": 1 << 100_000, "c": "y", "d": -(1 << 62), "e": True, "f": 0.5})
    assert found.metadata == {"c": "y", "e": "True", "f": "0.5", "d": str(-(1 << 62))}
    assert len(unpack({"w": ONE} | {str(n): n for n in range(5000)}).metadata) == 1000


@pytest.mark.parametrize("content", [[ONE], ONE, None, "text"])
def test_what_is_no_state_dict(content: object) -> None:
    with pytest.raises(Refused, match="is not a state dict") as caught:
        unpack(content)
    assert caught.value.code == "no-tensors"


@pytest.mark.parametrize("content", [{1: ONE}, {"model": {0: ONE}}, {None: ONE, "w": ONE}])
def test_tensors_need_names(content: object) -> None:
    with pytest.raises(Refused, match="tensors without a name") as caught:
        unpack(content)
    assert caught.value.code == "keys"


@pytest.mark.parametrize("content", [{}, {"a": {"b": {"c": {"d": {"e": STATE}}}}}, {"optimizer": STATE}, {"a": [ONE]}])
def test_nothing_is_found_where_nobody_would_look(content: object) -> None:
    assert unpack(content).tensors == {}


def test_a_cycle_ends() -> None:
    loop: dict[str, object] = {"x": 1}
    loop["model"] = loop
    assert unpack(loop).tensors == {}


def test_the_same_thing_in_a_million_places_is_looked_at_once() -> None:
    value: dict[str, object] = {"w": 1}
    for _ in range(6):
        value = {str(n): value for n in range(1000)}
    assert unpack(value).tensors == {}


def test_the_same_tensor_by_a_million_names_is_refused() -> None:
    value: dict[str, object] = {str(n): ONE for n in range(1000)}
    with pytest.raises(Refused, match="far too many tensors") as caught:
        unpack({str(n): value for n in range(1000)})
    assert caught.value.code == "bomb"
