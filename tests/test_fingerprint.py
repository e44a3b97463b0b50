"""Fingerprints: small, the same for the same content, and taken from whatever a file may hold."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from consilience.zoo.errors import Refused
from consilience.zoo.fingerprint import Fingerprint, fingerprint, read_fingerprint, write_fingerprint
from consilience.zoo.folding import BUDGET, folded
from consilience.zoo.marks import direction_marks, is_fixed, rare, value_marks
from consilience.zoo.units import centred, is_ordered, table

Tensors = Mapping[str, np.ndarray]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def mlp(*widths: int, seed: int = 0) -> dict[str, np.ndarray]:
    pairs = list(enumerate(pairwise(widths)))
    weights = {f"{2 * place}.weight": draw(outputs, inputs, seed=seed) for place, (inputs, outputs) in pairs}
    return weights | {f"{2 * place}.bias": draw(outputs, seed=seed) for place, (_, outputs) in pairs}


def same(left: Fingerprint, right: Fingerprint) -> bool:
    plain = ("digests", "unordered", "telling", "rounded", "values", "directions")
    return (
        (left.names, left.shapes) == (right.names, right.shapes)
        and all(np.array_equal(getattr(left, name), getattr(right, name)) for name in plain)
        and all(np.array_equal(a.numbers, b.numbers) for a, b in zip(left.sketches, right.sketches, strict=True))
        and all(np.array_equal(a.rows, b.rows) for a, b in zip(left.leads, right.leads, strict=True))
        and [(s.shape, s.units, s.size, s.spread) for s in left.sketches]
        == [(s.shape, s.units, s.size, s.spread) for s in right.sketches]
    )


ODD = {
    "nan": np.full((16, 16), np.nan, np.float32),
    "some nan": np.where(draw(30, 30) > 1, np.nan, draw(30, 30)),
    "infinite": np.where(draw(16, 16) > 0, np.inf, draw(16, 16)),
    "no rows": np.zeros((0, 5), np.float32),
    "no columns": np.zeros((8, 0, 3)),
    "scalar": np.array(3.0, np.float32),
    "counter": np.array(3),
    "integers": np.arange(400).reshape(20, 20),
    "bytes": np.arange(64, dtype=np.uint8).reshape(8, 8),
    "truth": draw(30, 30) > 0,
    "half": draw(32, 32).astype(np.float16),
    "double": draw(32, 32).astype(np.float64) / 3,
    "large": draw(16, 16) * np.float32(1e37),
    "too large for single": draw(16, 16).astype(np.float64) * 1e300,
    "subnormal": draw(16, 16) * np.float32(1e-44),
    "subnormal double": draw(16, 16).astype(np.float64) * 1e-310,
    "one number": draw(1, 1, 1),
    "one row": draw(1, 2000),
    "one column": draw(2000, 1),
    "turned": np.asfortranarray(draw(40, 30)),
    "backwards": draw(20, 20)[::-1, ::2],
    "constant": np.ones((20, 20), np.float32),
    "identity": np.eye(32, dtype=np.float32),
    "many axes": draw(2, 3, 4, 5, 6),
    "": draw(9, 9),
    "\ud800": draw(9, 9),
}


@pytest.mark.parametrize("name", ODD)
def test_whatever_a_file_holds_has_a_fingerprint(name: str, tmp_path: Path) -> None:
    marks = fingerprint({name: ODD[name], "beside": draw(9, 9)})
    assert marks.names == (name, "beside")
    assert marks.shapes == (ODD[name].shape, (9, 9))
    write_fingerprint(tmp_path / "marks", marks)
    assert same(read_fingerprint(tmp_path / "marks"), marks)
    assert not [sketch for sketch in marks.sketches if not np.isfinite(sketch.numbers).all()]


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12),
    )
)
@settings(max_examples=150, deadline=None)
def test_any_array_has_a_fingerprint_which_depends_on_nothing_else(array: np.ndarray) -> None:
    assert same(fingerprint({"a": array}), fingerprint({"a": array.copy()}))


def test_no_tensor_at_all(tmp_path: Path) -> None:
    write_fingerprint(tmp_path / "marks.npz", fingerprint({}))
    assert read_fingerprint(tmp_path / "marks.npz").names == ()


def test_the_order_of_bytes_in_memory_does_not_matter() -> None:
    array = draw(48, 32)
    assert same(fingerprint({"a": array}), fingerprint({"a": np.asfortranarray(array)}))


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_wider_kind_of_the_same_numbers_counts_as_the_same(kind: type) -> None:
    array = draw(16, 16).astype(kind)
    for wider in (np.float32, np.float64):
        assert same(fingerprint({"a": array}), fingerprint({"a": array.astype(wider)}))


def test_one_changed_number_changes_the_digest() -> None:
    left, right = mlp(3, 16, 1), mlp(3, 16, 1)
    right["0.weight"][3, 2] = np.nextafter(right["0.weight"][3, 2], np.float32(9))
    marks = fingerprint(left), fingerprint(right)
    assert (marks[0].digests != marks[1].digests).any(axis=1).tolist() == [True, False, False, False]


def test_permuted_and_turned_units_keep_what_has_no_order() -> None:
    array, order = draw(24, 16), np.random.default_rng(0).permutation(24)
    turned = np.where(order[:, None] % 2, -array[order], array[order])
    left, right = fingerprint({"a": array}), fingerprint({"a": turned})
    assert np.array_equal(left.unordered, right.unordered)
    assert np.array_equal(left.values, right.values)


class Counted(dict[str, np.ndarray]):
    """Tensors that are made when asked for; counts how often, and how many are still in use then."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__({name: np.zeros(0) for name in sizes})
        self.sizes, self.read = sizes, list[str]()

    def __getitem__(self, name: str) -> np.ndarray:
        self.read.append(name)
        return np.random.default_rng(len(self.read)).standard_normal((1024, self.sizes[name]), dtype=np.float32)


def test_every_tensor_is_read_once_and_one_is_held_at_a_time() -> None:
    tensors = Counted({"a": 8192, "b": 8192, "c": 8192})
    tracemalloc.start()
    inspect.unwrap(fingerprint)(tensors)  # checking its arguments' types would read some of them
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tensors.read == ["a", "b", "c"]
    assert peak < 2 * 1024 * 8192 * 4


def test_it_stays_small(tmp_path: Path) -> None:
    def block(place: int) -> Iterator[tuple[str, np.ndarray]]:
        for part, shape in {"qkv": (192, 64), "out": (64, 64), "up": (256, 64), "down": (64, 256)}.items():
            yield f"block.{place}.{part}.weight", draw(*shape, seed=place)

    write_fingerprint(tmp_path / "deep", fingerprint(dict(item for place in range(24) for item in block(place))))
    write_fingerprint(tmp_path / "varied", fingerprint({f"{n}": draw(16 + n, 24 + n) for n in range(200)}))
    assert (tmp_path / "deep").stat().st_size < 120_000
    assert (tmp_path / "varied").stat().st_size < 160_000
    assert sum(len(sketch.numbers) for sketch in read_fingerprint(tmp_path / "varied").sketches) <= BUDGET


def test_what_is_no_fingerprint_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write_fingerprint(whole, fingerprint(mlp(3, 16, 1)))
    content = whole.read_bytes()
    damaged = [b"", b"hello", content[: len(content) // 2], content.replace(b"sketches", b"sketchus")]
    for number, part in enumerate(damaged):
        file = tmp_path / f"{number}"
        file.write_bytes(part)
        with pytest.raises(Refused, match="is no fingerprint"):
            read_fingerprint(file)


@pytest.mark.parametrize("change", ["missing", "kind", "axes", "lengths", "pickle"])
def test_a_fingerprint_of_another_make_is_refused(change: str, tmp_path: Path) -> None:
    file = tmp_path / "marks.npz"
    write_fingerprint(file, fingerprint(mlp(3, 16, 1)))
    arrays_of = dict(np.load(file))
    if change == "missing":
        del arrays_of["values"]
    elif change == "kind":
        arrays_of["telling"] = arrays_of["telling"].astype(np.int8)
    elif change == "axes":
        arrays_of["values"] = arrays_of["values"][None]
    elif change == "lengths":
        arrays_of["numbers"] = arrays_of["numbers"][:-1]
    else:
        arrays_of["values"] = np.array([{"a": 1}], object)
    np.savez(file, **arrays_of)
    with pytest.raises(Refused, match="is no fingerprint"):
        read_fingerprint(file)


def test_a_bomb_is_no_fingerprint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("about.npy", bytes(1 << 24))
    with pytest.raises(Refused, match="is no fingerprint"):
        read_fingerprint(tmp_path / "bomb")


def test_a_child_process_needs_numpy_only() -> None:
    code = "import consilience.zoo.fingerprint, sys; print({'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_shorter_sketch_is_the_longer_one_folded() -> None:
    (sketch,) = fingerprint({"a": draw(64, 64)}).sketches
    assert len(sketch.numbers) == 4096
    assert np.allclose(folded(sketch.numbers, 256), sketch.numbers.reshape(16, 256).sum(axis=0), atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_products_of_sketches_stay_what_they_were(seed: int) -> None:
    left = draw(96, 80, seed=seed)
    right = left + draw(96, 80, seed=seed + 1)
    first, second = (fingerprint({"a": array}).sketches[0].numbers for array in (left, right))
    cosine = first @ second / np.sqrt((first @ first) * (second @ second))
    assert cosine == pytest.approx(np.corrcoef(left.ravel(), right.ravel())[0, 1], abs=0.08)


def test_networks_that_share_a_tenth_of_their_weights_share_marks() -> None:
    array = draw(64, 64)
    pruned = np.where(np.abs(array) > np.quantile(np.abs(array), 0.9), array, 0)
    shared = np.intersect1d(fingerprint({"a": array}).values, fingerprint({"a": pruned}).values)
    assert len(shared) >= 8
    assert len(np.intersect1d(fingerprint({"a": array}).values, fingerprint({"a": draw(64, 64, seed=1)}).values)) < 4


def test_zeros_round_numbers_and_half_width_numbers_are_no_marks() -> None:
    plain = np.array([0, 1, -0.5, 0.125, 3, np.inf, np.nan], np.float32)
    half = draw(100).astype(np.float16).astype(np.float32)
    found = rare(np.concatenate([plain, half]).view(np.uint32) & np.uint32(0x7FFFFFFF))
    assert len(value_marks([found])) == 0


def test_directions_forget_length_and_sign() -> None:
    units = draw(40, 5)
    scaled = units * np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32) * 7
    assert len(np.intersect1d(direction_marks(units), direction_marks(scaled))) >= 38


def positions(count: int, width: int) -> np.ndarray:
    angles = np.arange(count)[:, None] * np.exp(-np.arange(0, width, 2) * np.log(1e4) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("table", positions(12, 32)),
        ("table", positions(512, 64)),
        ("mask", np.tril(np.ones((32, 32), np.float32))),
        ("grid", draw(4, 64)),
        ("features.pos_embed", draw(16, 64)),
        ("input_mean", draw(3, 15)),
        ("levels", np.round(draw(64, 64))),
        ("sorted", np.sort(draw(32, 1), axis=0)),
        ("index", np.arange(64).reshape(8, 8)),
        ("bias", draw(64)),
    ],
)
def test_fixed_tables_and_vectors_tell_nothing_of_descent(name: str, array: np.ndarray) -> None:
    assert not fingerprint({name: array}).telling.any()


@pytest.mark.parametrize("name", ["0.weight", "mean.weight", "dense/kernel", "W", "position_bias_mlp.weight"])
def test_weights_tell_of_descent_whatever_their_module_is_called(name: str) -> None:
    assert not is_fixed(name)
    assert fingerprint({name: draw(16, 8)}).telling.all()


def test_units_in_random_order_are_not_ordered() -> None:
    tables = [table(draw(64, 32, seed=seed), most_units=64, most_numbers=64) for seed in range(50)]
    assert not any(is_ordered(centred(units)) for units in tables)


@pytest.mark.parametrize(("axis", "fold"), [(0, 1), (0, 4), (1, 1), (1, 4)])
def test_units_are_laid_out_along_either_axis_also_in_parts(axis: int, fold: int) -> None:
    array = draw(24, 20, 3)
    units = table(array, axis=axis, fold=fold, most_units=64, most_numbers=512) * np.abs(array).max()
    count = array.shape[axis] // fold
    assert units.shape == (count, array.size // count)
    wanted = array[[0, 6, 12, 18]] if axis == 0 else array[:, :4]
    wanted = {(0, 1): array[:1], (1, 1): array[:, :1]}.get((axis, fold), wanted)
    assert np.allclose(np.sort(units[0]), np.sort(wanted.ravel()), atol=1e-6)


def test_what_ties_a_unit_to_its_own_number_is_evened_out() -> None:
    array = np.eye(16, dtype=np.float32) * 5 + 0.1 * draw(16, 16)
    assert np.abs(table(array, most_units=16, most_numbers=16) * np.abs(array).max()).max() < 1
