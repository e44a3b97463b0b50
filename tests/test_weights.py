"""A tensor is read from where it lies, by itself, whatever its kind and order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consilience.zoo.errors import Refused
from consilience.zoo.weights import KINDS, Place, Weights, is_shape, keep, read_place


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("bf2", "b1")])
def test_every_kind_in_both_orders(tmp_path: Path, kind: str, order: str) -> None:
    array = np.arange(6).astype(kind).reshape(2, 3)
    (tmp_path / "a").write_bytes(b"head" + array.astype(array.dtype.newbyteorder(order)).tobytes())
    found = read_place(Place(tmp_path / "a", 4, order + kind, (2, 3)))
    assert found.dtype == np.dtype(kind)
    assert found.dtype.isnative
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("shape", [(), (1,), (2, 2)])
@pytest.mark.parametrize("byte", [0, 1, 2, 128, 255])
def test_a_truth_value_is_read_from_any_byte(tmp_path: Path, byte: int, shape: tuple[int, ...]) -> None:
    (tmp_path / "a").write_bytes(bytes([byte]) * 4)
    found = read_place(Place(tmp_path / "a", 0, "<b1", shape))
    assert found.dtype == np.bool_
    assert found.shape == shape
    assert found.view(np.uint8).max() == (byte > 0)  # whatever asks how it is stored finds 0 or 1
    np.testing.assert_array_equal(found, np.full(shape, byte > 0))


def test_strides_and_spans(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(np.arange(12, dtype="<f4").tobytes())
    place = Place(tmp_path / "a", 4, "<f4", (3, 2), (1, 4))
    assert place.span == 7
    assert place.end == 32
    np.testing.assert_array_equal(read_place(place), [[1, 5], [2, 6], [3, 7]])
    empty = Place(tmp_path / "a", 0, "<f4", (0, 5), (7, 7))
    assert empty.span == 0
    assert read_place(empty).shape == (0, 5)


def test_names_and_shapes_are_free(tmp_path: Path) -> None:
    weights = Weights({"a": Place(tmp_path / "none", 0, "<f4", (2, 3)), "b": Place(tmp_path / "none", 0, "<f4", ())})
    assert list(weights) == ["a", "b"]
    assert len(weights) == 2
    assert "a" in weights
    assert "c" not in weights
    assert weights.shapes == {"a": (2, 3), "b": ()}
    with pytest.raises(KeyError):
        weights["c"]


def test_a_file_that_shrank_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(10))
    with pytest.raises(Refused, match="cut short") as caught:
        read_place(Place(tmp_path / "a", 0, "<f4", (3,)))
    assert caught.value.code == "truncated"


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    tensors = {
        "a": np.arange(6, dtype=">f8").reshape(2, 3).T,
        "b": np.array([True, False]),
        "c": np.array(3, dtype=np.int8),
        "d": np.zeros((2, 0), dtype=np.float16),
    }
    found = keep(tmp_path / "k", tensors)
    assert list(found) == list(tensors)
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(Refused, match="unknown kind") as caught:
        keep(tmp_path / "k", {"a": np.zeros(2, dtype=complex)})
    assert caught.value.code == "dtype"


def test_shapes_that_overflow_are_none() -> None:
    assert is_shape((0, 1 << 40))
    assert is_shape(())
    assert not is_shape((0, 1 << 40, 1 << 40))
    assert not is_shape((1,) * 33)
