"""An index leads to its shards and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from consilience.zoo.bundle import Bundle, Located, add_parts
from consilience.zoo.checkpoint import Wanted, read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.sharded import MOST_SHARDS, check_names
from consilience.zoo.store import Store

FIRST = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
SECOND = {"b.weight": torch.arange(2.0).reshape(1, 2)}
SHARDS = ("part-1", "sub/part-2")
HOMES = dict.fromkeys(FIRST, SHARDS[0]) | dict.fromkeys(SECOND, SHARDS[1])


def index(path: Path, homes: object) -> None:
    path.write_text(json.dumps({"metadata": {"total_size": 40}, "weight_map": homes}))


@pytest.fixture(params=[save_file, torch.save])
def beside(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Path]:
    index(tmp_path / "index", HOMES)
    request.param(FIRST, tmp_path / "x")
    request.param(SECOND, tmp_path / "y")
    return dict(zip(SHARDS, (tmp_path / "x", tmp_path / "y"), strict=True))


def test_the_shards_make_one_checkpoint(beside: dict[str, Path], tmp_path: Path) -> None:
    found = read_checkpoint(tmp_path / "index", beside)
    assert found.format in ("safetensors", "torch")
    assert list(found.tensors) == list(HOMES)
    for name, tensor in (FIRST | SECOND).items():
        np.testing.assert_array_equal(found.tensors[name], tensor.numpy())
    assert found.warnings == ()
    assert found.file == tmp_path / "index"


def test_missing_shards_are_asked_for(beside: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Wanted) as caught:
        read_checkpoint(tmp_path / "index")
    assert caught.value.names == SHARDS
    with pytest.raises(Wanted, match="sub/part-2"):
        read_checkpoint(tmp_path / "index", {SHARDS[0]: beside[SHARDS[0]]})


@pytest.mark.parametrize(
    ("homes", "code", "match"),
    [
        ({"a.weight": "../x"}, "outside", "not beside it"),
        ({"a.weight": "/etc/passwd"}, "outside", "not beside it"),
        ({"a.weight": "a/../../x"}, "outside", "not beside it"),
        ({"a.weight": "./x"}, "outside", "not beside it"),
        ({"a.weight": "a//x"}, "outside", "not beside it"),
        ({"a.weight": ""}, "outside", "not beside it"),
        ({"a.weight": "a\\x"}, "outside", "not beside it"),
        ({"a.weight": "C:x"}, "outside", "not beside it"),
        ({"a.weight": "a\0"}, "outside", "not beside it"),
        ({"a.weight": "x" * 2000}, "outside", "not beside it"),
        ({"a.weight": 1}, "damaged", "without a weight_map"),
        ({}, "damaged", "without a weight_map"),
        ([], "damaged", "without a weight_map"),
        ({"n" * 2000: "x"}, "bomb", "far too long"),
        ({str(n): f"x{n}" for n in range(MOST_SHARDS + 1)}, "bomb", "names 4,097 files"),
        ({"c.weight": "part-1"}, "damaged", "names c.weight, which is not in part-1"),
    ],
)
def test_an_index_that_lies(beside: dict[str, Path], tmp_path: Path, homes: object, code: str, match: str) -> None:
    index(tmp_path / "index", homes)
    with pytest.raises(Refused, match=match) as caught:
        read_checkpoint(tmp_path / "index", beside)
    assert caught.value.code == code
    assert str(caught.value).isprintable()


def test_a_weight_map_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "index").write_text('{"x": "\\"weight_map\\""}')
    with pytest.raises(Refused, match="JSON, but no index"):
        read_checkpoint(tmp_path / "index")
    (tmp_path / "index").write_text('["weight_map"]')
    with pytest.raises(Refused, match="known format"):
        read_checkpoint(tmp_path / "index")
    (tmp_path / "index").write_text('{"weight_map": {"a": "b"}')
    with pytest.raises(Refused, match="broken index: it is not JSON"):
        read_checkpoint(tmp_path / "index")


def test_what_is_wrong_with_a_shard_is_said_of_it(beside: dict[str, Path], tmp_path: Path) -> None:
    content = beside[SHARDS[0]].read_bytes()
    beside[SHARDS[0]].write_bytes(content[:-3])
    with pytest.raises(Refused, match=r"has a part, part-1, that is .*cut short") as caught:
        read_checkpoint(tmp_path / "index", beside)
    assert caught.value.code == "truncated"
    with pytest.raises(Refused, match="has a part, part-1, that is an index itself"):
        read_checkpoint(tmp_path / "index", beside | {SHARDS[0]: tmp_path / "index"})
    np.save(tmp_path / "z.npy", np.zeros(3))
    with pytest.raises(Refused, match="has a part, part-1, that is npy"):
        read_checkpoint(tmp_path / "index", beside | {SHARDS[0]: tmp_path / "z.npy"})


def test_tensors_that_the_index_leaves_out_are_counted(beside: dict[str, Path], tmp_path: Path) -> None:
    index(tmp_path / "index", {"a.weight": SHARDS[0]})
    found = read_checkpoint(tmp_path / "index", beside)
    assert list(found.tensors) == ["a.weight"]
    assert found.warnings == ("left-out: 1 tensors of the shards that the index does not name",)


def test_names_are_checked_wherever_they_come_from(tmp_path: Path) -> None:
    check_names(("a", "b/c.bin", "weights 1.bin"))
    with pytest.raises(Refused, match="not beside it"):
        check_names(("a", "b/.."))
    place = Located(tmp_path / "a", tmp_path)
    with pytest.raises(Refused, match="not beside it"):
        add_parts(Bundle(place, "0"), ["../a"], Store(tmp_path / "store"))
    with pytest.raises(Refused, match="asks twice"):
        add_parts(Bundle(place, "0", {"b": "1"}), ["b"], Store(tmp_path / "store"))
