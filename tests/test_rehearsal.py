"""Pickles put together by hand: what passes is a state dict, and nothing in any of them is run."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import pytest
import torch

from consilience.zoo import rehearsal
from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.foreign import named_code, refuse_code
from consilience.zoo.rehearsal import Storage, rehearse

START = b"\x80\x02"
FLOATS = b"ctorch\nFloatStorage\n"
STORAGE = b"(X\x07\x00\x00\x00storage" + FLOATS + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensor(offset: bytes = b"K\x00", shape: bytes = b"K\x02K\x03\x86", stride: bytes = b"K\x03K\x01\x86") -> bytes:
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return REBUILD + b"(" + STORAGE + offset + shape + stride + hooks + b"tR"


def state(*parts: bytes) -> bytes:
    return START + b"}" + b"".join(b"X\x01\x00\x00\x00w" + part + b"s" for part in parts) + b"."


def test_a_state_dict_leaves_its_storages() -> None:
    found = rehearse(io.BytesIO(state(tensor())))
    assert found.storages == {"0": Storage("0", 6, "f4")}
    assert found.shown_bytes == 24
    assert isinstance(found.value, dict)


def test_plain_values_come_out_as_they_went_in() -> None:
    value = {"a": [1, 2.5, None, True, False, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), "é", 1 << 70], "b": {}}
    assert rehearse(io.BytesIO(pickle.dumps(value, 2))).value == value


@pytest.mark.parametrize(
    ("part", "code", "match"),
    [
        (tensor(shape=b"K\x02K\x04\x86"), "view", "shows 8 numbers of 6 stored"),
        (tensor(offset=b"K\x01"), "view", "shows 6 numbers of 6 stored"),
        (tensor(stride=b"K\x00K\x01\x86"), "view", "shows 6 numbers"),
        (tensor(stride=b"J\xff\xff\xff\xffK\x01\x86"), "damaged", "not a state dict"),
        (tensor(shape=b"K\x02\x85"), "damaged", "not a state dict"),
        (FLOATS + b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85R", "damaged", "not a state dict"),
        (
            b"cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R",
            "pickle-code",
            "run builtins.bytearray",
        ),
        (b"cbuiltins\neval\nX\x03\x00\x00\x001+1\x85R", "pickle-code", "run builtins.eval"),
        (b"(X\x04\x00\x00\x00trueiposix\nsystem\n", "pickle-code", "run posix.system"),
        (b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93", "pickle-code", "run posix.system"),
        (b"cmy.models\nNet\n)\x81", "pickle-code", "needs the code of my.models.Net"),
        (b"ccollections\nOrderedDict\n)\x81", "pickle-code", "needs the code"),
        (b"ctorch._utils\n_rebuild_sparse_tensor\n", "layout", "not plain"),
        (b"ctorch._utils\n_rebuild_qtensor\n", "layout", "not plain"),
        (b"ctorch._utils\n_rebuild_tensor_v3\n", "dtype", "unknown kind"),
        (b"ctorch\nComplexFloatStorage\n", "dtype", "unknown kind"),
        (REBUILD + b"}X\x08\x00\x00\x00__code__Nsb", "damaged", "not a state dict"),
        (b"ccollections\nOrderedDict\n]\x85R", "damaged", "not a state dict"),
        (b"ctorch._utils\n_rebuild_parameter\n(K\x01\x89NtR", "damaged", "not a state dict"),
        (b"cpathlib\nPosixPath\n)\x81", "pickle-code", "needs the code"),
        (b"cargparse\nNamespace\n)R]b" + b"]\x85R", "damaged", "not a state dict"),
        (tensor(shape=b"(" + b"K\x01" * 40 + b"t", stride=b"(" + b"K\x01" * 40 + b"t"), "damaged", "not a state dict"),
        (tensor(shape=b"K\x00\x8a\x08\0\0\0\0\0\0\0\x3f\x86"), "damaged", "not a state dict"),
        (b"h\x07", "damaged", "not a state dict"),
        (b"NN\x86Q", "damaged", "not a state dict"),
        (b"\x82\x01", "pickle-code", "needs the code"),
        (b"0000", "damaged", "not a state dict"),
    ],
)
def test_whatever_is_not_a_plain_tensor_is_refused(part: bytes, code: str, match: str) -> None:
    with pytest.raises(Refused, match=match) as caught:
        rehearse(io.BytesIO(state(part)))
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", START, state(tensor())[:-1], state(tensor())[:60], b"X\xff\xff\xff\x7fa"])
def test_a_pickle_cut_short(content: bytes) -> None:
    with pytest.raises(Refused, match="cut short") as caught:
        rehearse(io.BytesIO(content))
    assert caught.value.code == "truncated"


def test_deep_nesting_is_refused_and_does_not_overflow() -> None:
    with pytest.raises(Refused, match="nests deeper than 32 levels") as caught:
        rehearse(io.BytesIO(state(b"]" * 50_000 + b"a" * 49_999)))
    assert caught.value.code == "nesting"


def test_a_deep_key_is_refused_before_it_is_hashed() -> None:
    deep = b")" + b"\x85" * 50_000
    with pytest.raises(Refused, match="neither text nor plain numbers") as caught:
        rehearse(io.BytesIO(START + b"}" + deep + b"Ns."))
    assert caught.value.code == "keys"


@pytest.mark.parametrize(
    "key", [b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x1f", b"G\x7f\xf8" + bytes(6), b"G\x7f\xe0" + bytes(6)]
)
def test_numbers_that_may_share_a_hash_are_no_keys(key: bytes) -> None:
    with pytest.raises(Refused, match="neither text nor plain numbers") as caught:
        rehearse(io.BytesIO(START + b"}" + key + b"Ns."))
    assert caught.value.code == "keys"


def test_blanks_stand_for_what_is_not_read() -> None:
    found = rehearse(io.BytesIO(state(b"cargparse\nNamespace\n)\x81}b", b"c__builtin__\nset\n]\x85R"))).value
    assert found == {"w": rehearsal._Blank()}


def test_shared_and_cyclic_values_cost_nothing() -> None:
    value: list[object] = []
    for _ in range(25):
        value = [value] * 10
    value.append(value)
    assert isinstance(rehearse(io.BytesIO(pickle.dumps(value, 2))).value, list)


def test_memo_numbers_may_be_huge() -> None:
    assert rehearse(io.BytesIO(START + b"}r\xff\xff\xff\x7f.")).value == {}


def test_millions_of_steps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MOST_OPCODES", 100)
    with pytest.raises(Refused, match="millions of steps") as caught:
        rehearse(io.BytesIO(START + b"N" * 200 + b"."))
    assert caught.value.code == "bomb"


def test_the_same_numbers_as_thousands_of_tensors(tmp_path: Path) -> None:
    numbers = torch.zeros(1000)
    torch.save({f"w{n}": numbers.view(20, 50) for n in range(3000)}, tmp_path / "a")
    with pytest.raises(Refused, match="the same numbers as far too many tensors") as caught:
        read_checkpoint(tmp_path / "a")
    assert caught.value.code == "bomb"


@pytest.mark.parametrize("protocol", range(6))
def test_code_is_named_in_every_protocol(protocol: int) -> None:
    assert named_code(pickle.dumps({"a": Path}, protocol)) == "pathlib.Path"
    assert named_code(pickle.dumps({"a": 1}, protocol)) is None


@pytest.mark.parametrize("content", [b"", b"import os\n", b"hello", b"\x80\x02\xff", bytes(range(256))])
def test_other_bytes_name_no_code(content: bytes) -> None:
    assert named_code(content) is None


def test_names_from_a_file_stay_on_one_line() -> None:
    error = refuse_code("os.\x1b[31m\nevil" + "x" * 200)
    assert str(error).isprintable()
    assert len(str(error)) < 130
