from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from consilience.zoo import wire
from consilience.zoo.errors import Refused
from consilience.zoo.wire import RAW, Outline, outline


def outlined(folder: Path, content: bytes) -> Outline:
    path = folder / "a.onnx"
    path.write_bytes(content)
    with path.open("rb") as file:
        return outline(file)


def graph(*arrays: np.ndarray) -> bytes:
    held = [numpy_helper.from_array(array, f"w{place}") for place, array in enumerate(arrays)]
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [], held)
    return bytes(helper.make_model(inner).SerializeToString())


def test_numbers_are_left_where_they_are_and_all_else_is_kept(tmp_path: Path) -> None:
    arrays = [np.arange(100_000, dtype="f4"), np.ones((2, 2))]
    content = graph(*arrays)
    found = outlined(tmp_path, content)
    assert len(found.content) < 300
    kept = onnx.ModelProto.FromString(found.content)
    whole = onnx.ModelProto.FromString(content)
    assert kept.graph.node == whole.graph.node
    assert [(t.name, t.dims) for t in kept.graph.initializer] == [(t.name, t.dims) for t in whole.graph.initializer]
    for array, places in zip(arrays, found.numbers, strict=True):
        offset, length = places[RAW]
        assert content[offset : offset + length] == array.tobytes()


@pytest.mark.parametrize(
    ("match", "content"),
    [
        ("no graph", b"\x08\x08"),
        ("several graphs", graph() + graph()),
        ("fields of an unknown kind", b"\x08\x08\x0b"),
        ("a number does not end", b"\x08" + b"\xff" * 11),
        ("cut short", b"\x3a\xff\x01"),
        ("numbers twice", b"\x3a\x08\x2a\x06\x4a\x01a\x4a\x01b"),
    ],
)
def test_what_is_not_one_graph_is_refused(tmp_path: Path, match: str, content: bytes) -> None:
    with pytest.raises(Refused, match=match):
        outlined(tmp_path, content)


def test_a_graph_that_is_long_without_its_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST_GRAPH", 1 << 16)
    with pytest.raises(Refused, match="describes its graph with more than"):
        outlined(tmp_path, b"\x3a" + b"\x80\x80\x08" + bytes([0x0A]) + b"\xfc\xff\x07" + bytes((1 << 17) - 4))


def test_very_many_fields_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MOST_FIELDS", 1000)
    with pytest.raises(Refused, match="far too many nodes"):
        outlined(tmp_path, b"\x08\x01" * 1001)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_any_bytes_are_outlined_or_refused(
    tmp_path_factory: pytest.TempPathFactory, tail, place: int, byte: int
) -> None:
    content = bytearray(graph(np.ones((4, 4), "f4")) + tail)
    content[place % len(content)] = byte
    with suppress(Refused):
        assert len(outlined(tmp_path_factory.getbasetemp(), bytes(content)).content) <= len(content) + 16
