import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from consilience.zoo import format_keras
from consilience.zoo.checkpoint import Checkpoint, read_checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.format_keras import read_keras
from consilience.zoo.held import Held
from consilience.zoo.weights import Weights

DRAW = np.random.default_rng(0)
Write = Callable[[h5py.File], object]


def numbers(*shape: int) -> np.ndarray:
    return DRAW.normal(size=shape).astype("f4")


def read(folder: Path, *write: Write, **settings: Any) -> Checkpoint:
    path = folder / "a.weights.h5"
    with h5py.File(path, "w", **settings) as file:
        for one in write:
            one(file)
    return read_checkpoint(path)


def layer(path: str, *arrays: np.ndarray, name: str = "") -> Write:
    """Write a layer as Keras 3 does: its variables by number."""

    def write(file: h5py.File) -> None:
        group = file.create_group(f"{path}/vars")
        for place, array in enumerate(arrays):
            group[str(place)] = array
        if name:
            group.attrs["name"] = name

    return write


def test_weights_of_keras_3_have_the_names_of_their_layers(tmp_path: Path) -> None:
    arrays = numbers(3, 3, 1, 4), numbers(4), numbers(4, 2), numbers(2)
    found = read(
        tmp_path,
        layer("layers/conv2d", *arrays[:2], name="stem"),
        layer("layers/dense", *arrays[2:], name="dense_7"),
        layer("head", numbers(2, 1), name="dense_8"),
    )
    assert found.format == "keras"
    assert isinstance(found.tensors, Weights)
    assert list(found.tensors) == ["head/kernel", "stem/kernel", "stem/bias", "dense_7/kernel", "dense_7/bias"]
    for name, array in zip(list(found.tensors)[1:], arrays, strict=True):
        np.testing.assert_array_equal(found.tensors[name], array)


@pytest.mark.parametrize(
    ("group", "shapes", "roles"),
    [
        ("dense", [(3, 4), (4,)], ["kernel", "bias"]),
        ("embedding", [(10, 4)], ["embeddings"]),
        ("batch_normalization", [(4,)] * 4, ["gamma", "beta", "moving_mean", "moving_variance"]),
        ("layer_normalization", [(4,), (4,)], ["gamma", "beta"]),
        ("lstm/cell", [(3, 8), (2, 8), (8,)], ["kernel", "recurrent_kernel", "bias"]),
        ("gru/cell", [(3, 6), (2, 6), (2, 6)], ["kernel", "recurrent_kernel", "bias"]),
        ("separable_conv2d", [(3, 3, 2, 1), (1, 1, 2, 4), (4,)], ["depthwise_kernel", "pointwise_kernel", "bias"]),
        ("own", [(3,), (4,), (3, 4)], ["0", "1", "2"]),
    ],
)
def test_variables_are_named_by_their_shapes(tmp_path: Path, group: str, shapes, roles) -> None:
    found = read(tmp_path, layer(f"layers/{group}", *(numbers(*shape) for shape in shapes)))
    assert dict(found.shapes) == {f"{group}/{role}": shape for role, shape in zip(roles, shapes, strict=True)}


def test_numbered_layers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = read(tmp_path, *(layer(f"layers/dense_{n}", numbers(2, 2)) for n in (10, 2, 1)))
    assert list(found.tensors) == ["dense_1/kernel", "dense_2/kernel", "dense_10/kernel"]


def test_layers_of_one_name_keep_their_paths(tmp_path: Path) -> None:
    twice = (layer(f"layers/dense{n}", numbers(2, 2), name="same") for n in ("", "_1"))
    assert list(read(tmp_path, *twice).tensors) == ["layers/dense/vars/0", "layers/dense_1/vars/0"]


def test_the_state_of_training_is_left_out(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        layer("layers/dense", numbers(2, 2)),
        layer("layers/dropout/seed_generator", np.zeros(2, "u4")),
        layer("optimizer", np.array(1), numbers(2, 2)),
    )
    assert list(found.tensors) == ["dense/kernel"]


def legacy(file: h5py.Group) -> None:
    """Write two layers as Keras 2 does."""
    file.attrs["layer_names"] = np.array([b"second", b"first"])
    file.attrs["keras_version"] = "2.11.0"
    for name, shape in (("second", (3, 4)), ("first", (4, 2))):
        group = file.create_group(name)
        group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()])
        group[f"{name}/kernel:0"], group[f"{name}/bias:0"] = numbers(*shape), numbers(shape[1])


def test_weights_of_keras_2_are_in_the_order_that_they_are_listed_in(tmp_path: Path) -> None:
    found = read(tmp_path, legacy)
    assert list(found.tensors) == ["second/kernel", "second/bias", "first/kernel", "first/bias"]
    assert found.metadata == {"keras_version": "2.11.0"}


def dense(activation: str) -> dict[str, object]:
    return {"class_name": "Dense", "config": {"activation": activation}}


def config(*layers: object, kind: str = "Sequential") -> dict[str, object]:
    return {"class_name": kind, "module": "keras", "config": {"name": "m", "layers": list(layers)}}


def test_a_whole_model_of_keras_2_is_read_without_its_optimizer(tmp_path: Path) -> None:
    said = config({"class_name": "InputLayer", "config": {}}, dense("tanh"), dense("linear"))
    found = read(
        tmp_path,
        lambda file: legacy(file.create_group("model_weights")),
        lambda file: file.create_group("optimizer_weights").create_dataset("m", data=numbers(3)),
        lambda file: file.attrs.__setitem__("model_config", json.dumps(said)),
    )
    assert list(found.tensors) == ["second/kernel", "second/bias", "first/kernel", "first/bias"]
    assert found.config == said
    assert found.metadata["activation"] == "tanh"
    assert not found.warnings


@pytest.mark.parametrize(
    ("said", "activation"),
    [
        (config(dense("relu"), dense("relu"), dense("linear")), "relu"),
        (config(dense("relu"), dense("tanh"), dense("linear")), None),
        (config(dense("relu"), dense("sigmoid")), None),
        (config(dense("relu"), dense("linear"), kind="Functional"), None),
        (config(dense("relu"), {"class_name": "ReLU", "config": {}}, dense("linear")), None),
        (config(), None),
        ([], None),
    ],
)
def test_an_activation_is_told_only_where_it_is_plain(tmp_path: Path, said, activation: str | None) -> None:
    path = archive(tmp_path, said)
    assert read_keras(path, {}).metadata.get("activation") == activation


def archive(folder: Path, said: object, packed: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    read(folder, layer("layers/dense", np.arange(6, dtype="f4").reshape(3, 2), np.zeros(2, "f4")))
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", said if isinstance(said, bytes) else json.dumps(said))
        file.write(folder / "a.weights.h5", "model.weights.h5")
    return path


@pytest.mark.parametrize(("packed", "kind"), [(zipfile.ZIP_STORED, Weights), (zipfile.ZIP_DEFLATED, Held)])
def test_a_keras_archive_is_read(tmp_path: Path, packed: int, kind: type) -> None:
    found = read_checkpoint(archive(tmp_path, config(dense("linear")), packed))
    assert isinstance(found.tensors, kind)
    np.testing.assert_array_equal(found.tensors["dense/kernel"], np.arange(6).reshape(3, 2))
    assert dict(found.shapes) == {"dense/kernel": (3, 2), "dense/bias": (2,)}


@pytest.mark.parametrize(
    ("part", "warning"),
    [
        ({"class_name": "Lambda", "config": {}}, "code: a Lambda layer, not run"),
        ({"class_name": "__lambda__", "config": {"code": "4wEA"}}, "code: a function, not run"),
        ({"class_name": "function", "module": "builtins", "config": "os.system"}, "code: a function, not run"),
        ({"class_name": "function", "module": "os", "config": "system"}, "code: os.function, not run"),
        ({"class_name": "Mine", "module": "my.code"}, "code: my.code.Mine, not run"),
        ({"class_name": "exec", "module": "builtins"}, "code: builtins.exec, not run"),
    ],
)
def test_code_in_a_description_is_told_and_not_run(tmp_path: Path, part, warning: str) -> None:
    assert read_keras(archive(tmp_path, config(part)), {}).warnings == (warning,)


def test_plain_arrays_of_every_kind_are_read(tmp_path: Path) -> None:
    """Also packed, in pieces, in the other order of bytes, and from files that no Keras wrote."""
    arrays = {
        "a": numbers(3, 4).astype(">f8"),
        "b": np.array([True, False]),
        "c": numbers(64, 64),
        "d": np.arange(5, dtype="i2"),
        "e": numbers(7).astype("f2"),
        "deep/er": numbers(2),
        "empty": np.zeros((0, 3), "f4"),
        "one": np.float32(3),
    }
    packed = {"c": {"compression": "gzip", "shuffle": True, "fletcher32": True}, "a": {"compression": "lzf"}}
    write = [lambda file, n=n, a=a: file.create_dataset(n, data=a, **packed.get(n, {})) for n, a in arrays.items()]
    found = read(tmp_path, *write, userblock_size=0)
    assert isinstance(found.tensors, Held)
    assert found.tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found.tensors[name], array)
        assert found.tensors[name].dtype == array.dtype.newbyteorder("=")


def dataset(*settings: Any, **more: Any) -> Write:
    return lambda file: file.create_dataset("w", *settings, **more)


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(2,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", shape=(2,))
    file.create_virtual_dataset("w", layout)


def link(kind: Any) -> Write:
    return lambda file: file.__setitem__("w", kind)


@pytest.mark.parametrize(
    ("code", "match", "write"),
    [
        ("outside", "links to what may lie elsewhere", link(h5py.ExternalLink("other.h5", "/w"))),
        ("outside", "links to what may lie elsewhere", link(h5py.SoftLink("/layers"))),
        ("outside", "numbers in another file", dataset((2,), "f4", external=[("other.bin", 0, 8)])),
        ("outside", "numbers in another file", virtual),
        ("damaged", "holds the same twice", lambda file: file["layers"].__setitem__("again", file["/"])),
        ("damaged", "holds the same twice", lambda file: file.__setitem__("again", file["layers/dense/vars/0"])),
        ("damaged", "declares numbers that are not there", dataset((1 << 20, 1 << 20), "f4")),
        ("damaged", "declares numbers that are not there", dataset((1 << 20, 1 << 20), "f4", chunks=(8, 8))),
        ("bomb", "far more than is plausible", dataset(data=np.zeros(20 << 20, "f4"), compression="gzip")),
        ("dtype", "unknown kind .object", dataset(data=["a", "b"], dtype=h5py.string_dtype())),
        ("dtype", "unknown kind .object", dataset((3,), h5py.vlen_dtype("f4"))),
        ("dtype", "unknown kind .object", dataset((3,), h5py.ref_dtype)),
        ("dtype", "unknown kind", dataset(data=np.zeros(2, [("a", "f4")]))),
        ("dtype", "unknown kind .complex64", dataset(data=np.zeros(2, "c8"))),
        ("dtype", "unknown kind .nothing", dataset(data=h5py.Empty("f4"))),
        ("layout", "packed in an unknown way", dataset(data=np.ones((64, 64), "f4"), scaleoffset=2)),
        ("nesting", "deeper than 32 levels", lambda file: file.create_group("/".join("g" * 40))),
        ("keys", "names that are not plain text", lambda file: file.create_dataset("a\nb", data=[1.0])),
        (
            "bomb",
            "names that are far too long",
            lambda file: file.create_dataset("/".join(["n" * 400] * 3), data=[1.0]),
        ),
    ],
)
def test_what_is_not_plain_is_refused(tmp_path: Path, code: str, match: str, write: Write) -> None:
    with pytest.raises(Refused, match=match) as caught:
        read(tmp_path, layer("layers/dense", numbers(2, 2)), write)
    assert caught.value.code == code


def test_very_many_groups_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(format_keras, "MOST_OBJECTS", 50)
    with pytest.raises(Refused, match="far too many groups"):
        read(tmp_path, *(lambda file, n=n: file.create_group(f"a{n % 3}/g{n}") for n in range(60)))
    with pytest.raises(Refused, match="far too many groups"):
        read(tmp_path, *(lambda file, n=n: file.create_group(f"g{n}") for n in range(60)))


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="holds no weights"):
        read(tmp_path, lambda file: file.create_group("layers"))


def test_an_archive_without_weights_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(Refused, match=r"without model\.weights\.h5"):
        read_keras(tmp_path / "a.keras", {})


def test_a_description_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"config\.json of 5,000,000 bytes"):
        read_keras(archive(tmp_path, b" " * 5_000_000, zipfile.ZIP_DEFLATED), {})


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    read(tmp_path, layer("layers/dense", numbers(200, 200)))
    path = tmp_path / "a.weights.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(Refused, match="cannot be read as HDF5"):
        read_keras(path, {})
