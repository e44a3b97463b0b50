"""Any bytes are read or refused, never anything else: the parsers of foreign files under thousands of inputs.

In the checks every target gets some hundred inputs, always the same. For a long run, with new ones each time:

    CONSILIENCE_FUZZ_SECONDS=600 pytest tests/test_fuzz.py
"""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import struct
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_safetensors

from consilience.zoo.architecture import build_network, infer
from consilience.zoo.archive import list_archive
from consilience.zoo.checkpoint import Checkpoint, Wanted, read_checkpoint
from consilience.zoo.description import restore
from consilience.zoo.errors import BadInput, BadManifest, ConsilienceError, Refused
from consilience.zoo.foreign import named_code
from consilience.zoo.inspection import Located, inspect
from consilience.zoo.locate import locate
from consilience.zoo.manifest import check_manifest, read_manifest
from consilience.zoo.rehearsal import rehearse
from consilience.zoo.sandbox import Sandbox
from consilience.zoo.store import Store

# The type checker looks at random items of lists, and what it draws is taken for a draw of ours.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

SECONDS = float(os.environ.get("CONSILIENCE_FUZZ_SECONDS", "0"))
EXAMPLES = 100
TARGETS: list[str] = []
LARGEST = 256 << 20
"""What a file of some kilobytes may unpack to; see ALWAYS in format_npz."""


def target(function: Callable[..., None]) -> Callable[..., None]:
    """Count a test, so that all share the time of a long run."""
    TARGETS.append(function.__name__)
    return function


def survive(values: st.SearchStrategy[Any], check: Callable[[Any], object], *, examples: int = EXAMPLES) -> None:
    """Try a check on some hundred inputs, or on as many as there is time for."""
    end = time.monotonic() + SECONDS / (len(TARGETS) + len(SEEDS) + len(APART) - 2)
    config = settings(
        max_examples=examples,
        deadline=10_000,  # milliseconds for one file
        derandomize=not SECONDS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run = config(given(values)(_silent(check)))
    run()
    while time.monotonic() < end:
        run()


def _silent(check: Callable[[Any], object]) -> Callable[[Any], None]:
    def run(value: Any) -> None:
        check(value)

    return run


# Inputs

TENSORS = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2), "half": torch.ones(2, 2).bfloat16()}


def _saved(save: Callable[..., None], *content: Any, **settings: Any) -> bytes:
    file = io.BytesIO()
    save(file, *content, **settings)
    return file.getvalue()


ARRAYS = {name: tensor.float().numpy() for name, tensor in TENSORS.items()}
SEEDS: dict[str, bytes] = {
    "safetensors": save_safetensors(TENSORS, {"activation": "tanh"}),
    "torch": _saved(lambda file: torch.save({"epoch": 1, "state_dict": TENSORS}, file)),
    "legacy": _saved(lambda file: torch.save(TENSORS, file, _use_new_zipfile_serialization=False)),
    "npz": _saved(lambda file: np.savez(file, **ARRAYS, version="1.0", layers=3)),
    "packed": _saved(lambda file: np.savez_compressed(file, **ARRAYS)),
    "npy": _saved(np.save, ARRAYS["0.weight"]),
    "index": json.dumps({"weight_map": {"0.weight": "a.safetensors", "0.bias": "b.safetensors"}}).encode(),
    "pickle": pickle.dumps({"w": Path}, 4),
}
HDF = b"\x89HDF"
WORDS = [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\xff" * 8, b"\x7f" * 4, b"{", b"[", b"]", b"}", b'"', b"-", b"1e999"]
WORDS += [b"NaN", b"null", b"true", b"\\ud800", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x02", b"cos\nsystem\n", b"(", b"."]
WORDS += [b"\x85", b"R", b"0" * 5000, b"..", b"/", b"|O", b"<f8", b"False", b"\x93NUMPY\x01\x00"]


@st.composite
def spoilt(draw: st.DrawFn, seed: bytes) -> bytes:
    """Change a good file in some places: other bytes, words put in, pieces taken out or doubled, or its end cut."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        match draw(st.sampled_from(["byte", "word", "number", "cut", "double", "end"])):
            case "byte":
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "word":
                word = draw(st.sampled_from(WORDS) | st.binary(max_size=20))
                content[place : place + draw(st.sampled_from([0, len(word)]))] = word
            case "number":
                number = draw(
                    st.sampled_from([0, 1, 255, 1 << 16, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, (1 << 63) - 1])
                )
                content[place : place + 8] = struct.pack(draw(st.sampled_from("<>")) + "Q", number)
            case "cut":
                del content[place : place + draw(st.integers(1, 100))]
            case "double":
                content[place:place] = content[place : place + draw(st.integers(1, 200))]
            case "end":
                del content[place:]
    return bytes(content)


NUMBERS = st.one_of(
    st.integers(-2, 40),
    st.sampled_from([1 << 31, 1 << 32, (1 << 48) - 1, 1 << 62, 1 << 63, 1 << 64, 10**30]),
    st.floats(),
    st.booleans(),
)
PLAIN = st.recursive(
    st.none() | NUMBERS | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["0.weight", "0.bias", "2.weight", "a.b.c", "", "..", "\ud800", "\x1b[2J", "w\0", "__metadata__"]
)
NAMES |= st.text(max_size=12)


def _mostly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, PLAIN)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Write a header of safetensors that is nearly right, and as many bytes as it needs, or nearly."""
    header: dict[str, object] = {}
    place = 0
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        shape = draw(_mostly(st.lists(NUMBERS, max_size=4)))
        end = place + draw(st.integers(0, 64))
        entry = {"dtype": draw(_mostly(st.sampled_from(["F32", "BF16", "BOOL", "I8", "F8_E4M3"]))), "shape": shape}
        entry["data_offsets"] = draw(_mostly(st.just([place, end]) | st.lists(NUMBERS, min_size=2, max_size=2)))
        header[name], place = entry, end
    if draw(st.booleans()):
        header["__metadata__"] = draw(_mostly(st.dictionaries(st.text(max_size=5), st.text(max_size=5))))
    text = json.dumps(header).encode()
    return (
        struct.pack("<Q", len(text))
        + text
        + bytes(place + draw(st.sampled_from([0, 0, 0, 1, -1]) if place else st.just(0)))
    )


OPCODES = {opcode.name: opcode for opcode in pickletools.opcodes}
LIKELY = ["MARK", "TUPLE", "EMPTY_DICT", "EMPTY_LIST", "NONE", "NEWTRUE", "BINPUT", "BINGET", "SETITEM", "SETITEMS"]
LIKELY += ["REDUCE", "BUILD", "BINPERSID", "TUPLE1", "TUPLE2", "APPEND", "APPENDS", "MEMOIZE", "GLOBAL", "STACK_GLOBAL"]
GLOBALS = [
    "collections\nOrderedDict",
    "torch._utils\n_rebuild_tensor_v2",
    "torch\nFloatStorage",
    "torch\nSize",
    "os\nsystem",
]
GLOBALS += [
    "torch._utils\n_rebuild_parameter",
    "torch\nfloat32",
    "torch\ndevice",
    "torch._utils\n_rebuild_sparse_tensor",
]


@st.composite
def steps(draw: st.DrawFn) -> bytes:
    """Write a pickle of some steps, each of which has an argument of its kind."""
    content = b"\x80\x02"
    for _ in range(draw(st.integers(0, 30))):
        kind = OPCODES[draw(st.sampled_from(LIKELY) | st.sampled_from(sorted(OPCODES)))]
        content += kind.code.encode("latin-1") + _argument(draw, kind)
    return content + b"."


def _argument(draw: st.DrawFn, kind: pickletools.OpcodeInfo) -> bytes:
    if kind.arg is None:
        return b""
    if kind.name in ("GLOBAL", "INST"):
        return draw(st.sampled_from(GLOBALS)).encode() + b"\n"
    size = kind.arg.n
    if size > 0:
        return draw(st.binary(min_size=size, max_size=size) | st.just(bytes(size)) | st.just(b"\x01" + bytes(size - 1)))
    text = draw(st.sampled_from([b"storage", b"0", b"cpu", b"\xff\xfe", b"weight", b"-5", b"9" * 50]))
    counted = {pickletools.TAKEN_FROM_ARGUMENT1: "<B", pickletools.TAKEN_FROM_ARGUMENT4: "<i"}
    counted |= {pickletools.TAKEN_FROM_ARGUMENT4U: "<I", pickletools.TAKEN_FROM_ARGUMENT8U: "<Q"}
    return struct.pack(counted[size], len(text)) + text if size in counted else text + b"\n"


@st.composite
def array_headers(draw: st.DrawFn) -> bytes:
    """Write an npy file whose header is nearly right."""
    kinds = [
        "'<f4'",
        "'<f8'",
        "'|O'",
        "'|b1'",
        "'<U1'",
        "'|S3'",
        "[('a', '<f4')]",
        "('<f4', (2,))",
        "'>f2'",
        "'<M8[s]'",
        "'f4,O'",
    ]
    shape = draw(_mostly(st.lists(NUMBERS, max_size=4).map(tuple)))
    fortran = draw(st.sampled_from(["True", "False", "1", "None", "x"]))
    header = f"{{'descr': {draw(st.sampled_from(kinds))}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}"
    text = header.encode("utf-8", "surrogatepass")
    version = draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"]))
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + size + text + draw(st.binary(max_size=64))


@st.composite
def archives(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Write a zip archive of members with likely names, then change some bytes of its directory."""
    names = [
        "archive/data.pkl",
        "archive/data/0",
        "archive/version",
        "archive/byteorder",
        "w.npy",
        "0.weight.npy",
        "a/b/../c",
    ]
    names += [
        "config.json",
        "model.weights.h5",
        "metadata.json",
        "archive/.data/serialization_id",
        "ARCHIVE/DATA.PKL",
        "\ud83d"[:0],
    ]
    file = io.BytesIO()
    packing = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name in draw(st.lists(st.sampled_from(names), max_size=5, unique=True)):
            archive.writestr(_always_the_same(name, packing), draw(contents))
    content = bytearray(file.getvalue())
    directory = content.find(b"PK\x01\x02")
    for place in draw(st.lists(st.integers(max(directory, 0), len(content) - 1), max_size=3)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content)


def _always_the_same(name: str, packing: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # not of this moment
    info.compress_type = packing
    return info


# What must hold


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes], None]:
    """Read bytes as a checkpoint: they are refused in one line with a hint, or give plain arrays of likely size."""
    path = tmp_path / "file"

    def check(content: bytes) -> None:
        if HDF in content:  # its library is in C and would take this process with it: see below
            return
        path.write_bytes(content)
        try:
            found = read_checkpoint(path)
            for name in found.tensors:
                array = found.tensors[name]
                assert isinstance(name, str)
                assert type(array) is np.ndarray
                assert array.dtype.kind in "fiub"
                assert array.nbytes <= LARGEST
                assert array.shape == found.shapes[name]
            assert all(isinstance(part, str) for pair in found.metadata.items() for part in pair)
            json.dumps([*found.metadata, *found.metadata.values(), *found.tensors]).encode()
        except Refused as refusal:
            _well_said(refusal)
        except Wanted as wanted:
            _harmless(wanted.names)

    return check


def _well_said(refusal: Refused) -> None:
    assert refusal.code
    _said(refusal)
    assert "\n" not in refusal.what + refusal.hint


def _said(error: ConsilienceError) -> None:
    assert error.what
    assert error.hint


def _harmless(names: tuple[str, ...]) -> None:
    for name in names:
        assert name
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert "\0" not in name


@target
@pytest.mark.parametrize("kind", SEEDS)
def test_spoilt_files(kind: str, read: Callable[[bytes], None]) -> None:
    survive(spoilt(SEEDS[kind]), read)


@target
def test_any_bytes(read: Callable[[bytes], None]) -> None:
    survive(st.binary(max_size=300), read)


@target
def test_any_bytes_behind_a_known_beginning(read: Callable[[bytes], None]) -> None:
    heads = st.sampled_from([seed[:cut] for seed in SEEDS.values() for cut in (2, 8, 16, 40)])
    survive(st.tuples(heads, st.binary(max_size=200)).map(b"".join), read)


@target
def test_headers_of_safetensors(read: Callable[[bytes], None]) -> None:
    survive(headers(), read, examples=2 * EXAMPLES)


@target
def test_headers_of_arrays(read: Callable[[bytes], None]) -> None:
    survive(array_headers(), read)


@target
def test_archives_of_arrays(read: Callable[[bytes], None]) -> None:
    survive(archives(array_headers()), read)


@target
def test_archives_of_pickles(read: Callable[[bytes], None]) -> None:
    survive(archives(steps()), read)


@target
def test_archives_of_anything(read: Callable[[bytes], None]) -> None:
    survive(archives(st.binary(max_size=100) | headers() | st.sampled_from(sorted(SEEDS.values()))), read)


@target
def test_directories(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with path.open("rb") as file:
            try:
                list_archive(file)
            except Refused as refusal:
                _well_said(refusal)

    survive(st.one_of(*(spoilt(SEEDS[kind]) for kind in ("npz", "packed", "torch")), archives(st.just(b"x"))), check)


@target
def test_rehearsals() -> None:
    def check(content: bytes) -> None:
        try:
            rehearse(io.BytesIO(content))
        except Refused as refusal:
            _well_said(refusal)
        named = named_code(content)
        assert named is None or isinstance(named, str)

    good = pickle.dumps({"a": [1, 2.5, None, ("x",)], "b": {"c": 1 << 70}}, 2)
    survive(
        steps() | spoilt(good) | st.binary(max_size=60).map(lambda rest: b"\x80\x02" + rest),
        check,
        examples=3 * EXAMPLES,
    )


@target
def test_indices(read: Callable[[bytes], None]) -> None:
    shards = st.sampled_from(
        ["a.safetensors", "../a.safetensors", "/etc/passwd", "", "a/../../b", "a\0", "a\\b", ".", "\ud800"]
    )
    where = st.dictionaries(NAMES, _mostly(shards), max_size=4)
    index = st.fixed_dictionaries({"weight_map": _mostly(where)}, optional={"metadata": PLAIN})
    survive(_mostly(index).map(lambda value: json.dumps(value).encode()), read)


@target
def test_descriptions(tmp_path: Path) -> None:
    """What a child of the sandbox says is taken for no more than what strangers made."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    homes, kinds = st.sampled_from(["", "", "", "/"]), st.sampled_from(["<f4", "<bf2", ">i8", "<u1", "|O"])
    axes = st.lists(
        st.tuples(st.sampled_from([1 << 40, 5, 2, 0]), st.sampled_from([0, 1, 1 << 40])), min_size=1, max_size=2
    )
    shapes = axes.map(lambda pairs: [[length for length, _ in pairs], [step for _, step in pairs]])
    offsets = st.sampled_from([0, 0, 0, 96, 1 << 40, -1, 0.5])
    entry = st.tuples(homes, offsets, kinds, shapes).map(lambda said: [*said[:3], *said[3]])
    good = {"format": "torch", "metadata": {}, "warnings": [], "config": {}}
    likely = st.dictionaries(st.sampled_from("ab"), entry, min_size=1).map(lambda tensors: good | {"tensors": tensors})
    odd = st.dictionaries(st.sampled_from([*good, "tensors"]), PLAIN, max_size=5).map(lambda more: good | more)

    def check(said: object) -> None:
        try:
            found = restore(said, {"": path})
        except ValueError as error:
            # The type checker reads a tensor to see its type: what breaks there is no refusal.
            if type(error.__cause__).__name__ == "TypeCheckError" and "'tensors'" in str(error.__cause__):
                raise error.__cause__ from None
            return
        for name in found.tensors:
            assert found.tensors[name].nbytes <= 400

    survive(likely | odd | PLAIN, check, examples=2 * EXAMPLES)


# Formats that libraries in C read: in a process apart, as the program does

LIMITED = {"crashed", "timed-out", "memory"}


def _onnx_seed() -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size]) for name, size in (("x", 3), ("y", 2))
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], name="/0/Gemm", transB=1),
        helper.make_node("Relu", ["a"], ["y"], name="/1/Relu"),
    ]
    weights = [to_tensor(ARRAYS["0.weight"], "w"), to_tensor(ARRAYS["0.bias"], "b")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _h5_seed() -> bytes:
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        parts = opened.create_group("layers/dense/vars")
        parts["0"], parts["1"] = ARRAYS["0.weight"], ARRAYS["0.bias"]
        opened["layers"].create_dataset("packed", data=np.zeros((64, 64), "f4"), compression="gzip", shuffle=True)
        opened.attrs["layer_names"] = np.array([b"dense"])
    return file.getvalue()


def _keras_seed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (("config.json", b"{}"), ("metadata.json", b"{}"), ("model.weights.h5", _h5_seed())):
            archive.writestr(_always_the_same(name, zipfile.ZIP_STORED), content)
    return file.getvalue()


APART: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "onnx": (_onnx_seed, set()),
    "h5": (_h5_seed, LIMITED),
    "keras": (_keras_seed, LIMITED),
    "safetensors": (lambda: SEEDS["safetensors"], set()),
    "torch": (lambda: SEEDS["torch"], set()),
}


@target
@pytest.mark.parametrize("kind", APART)
def test_spoilt_files_in_a_process_apart(kind: str, tmp_path: Path) -> None:
    seed, allowed = APART[kind]
    path = tmp_path / "file"
    place = [Located(path, tmp_path)]

    with Sandbox(workers=1) as sandbox:

        def check(content: bytes) -> None:
            path.write_bytes(content)
            (found,) = inspect(place, store=Store(tmp_path / "store"), sandbox=sandbox)
            if found.refusal is None:
                assert found.checkpoint is not None
                assert sum(array.nbytes for array in found.checkpoint.tensors.values()) <= LARGEST
                return
            _well_said(found.refusal)
            assert found.refusal.code not in LIMITED - allowed, found.refusal
            assert "breaks its reader" not in found.refusal.what, found.refusal

        survive(spoilt(seed()), check, examples=EXAMPLES // 2)


# Networks of any shape, and what config.json says of them

PARTS = [
    "0",
    "1",
    "2",
    "10",
    "layers",
    "conv1",
    "fc",
    "bn",
    "encoder",
    "self_attn",
    "weight_ih_l0",
    "module",
    "kernel",
    "",
]
ENDS = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked", "kernel", "gamma", "weight_g", "x"]
CONFIGS = ["model_type", "architecture", "pretrained_cfg", "hidden_size", "num_hidden_layers", "num_labels", "auto_map"]


@st.composite
def networks(draw: st.DrawFn) -> Checkpoint:
    """Give tensors likely names and shapes, most of which fit no network."""
    tensors = {}
    for _ in range(draw(st.integers(0, 6))):
        name = ".".join([*draw(st.lists(st.sampled_from(PARTS), max_size=2)), draw(st.sampled_from(ENDS))])
        shape = draw(st.lists(st.sampled_from([0, 1, 2, 3, 4, 3]), max_size=5))
        kind = draw(st.sampled_from(["f4", "f4", "f4", "f8", "f2", "i8", "u1", "b1"]))
        tensors[name] = np.ones(shape, kind)
    config = draw(st.just({}) | st.dictionaries(st.sampled_from(CONFIGS), PLAIN | st.sampled_from(["mlp", "resnet18"])))
    return Checkpoint("torch", tensors, draw(st.just({}) | st.just({"activation": "tanh"})), config=config)


@target
def test_networks(tmp_path: Path) -> None:
    rows = np.zeros((2, 3))

    def check(drawn: tuple[Checkpoint, str | None, str, dict[str, str], bool]) -> None:
        checkpoint, activation, prefix, rename, given = drawn
        assert infer(checkpoint)
        try:
            found = build_network(
                checkpoint,
                name="n",
                digest="0",
                lineage="n",
                activation=activation,
                strip_prefix=prefix,
                rename=rename,
                example=rows if given else None,
                search_path=tmp_path,
            )
            assert found.layers
        except Refused as refusal:
            _well_said(refusal)

    words = st.sampled_from(["", "0", "layers.", "*", "module.", "(", "\\", ".weight"])
    renames = st.dictionaries(words, words, max_size=2)
    activations = st.sampled_from([None, "tanh", "relu", "__class__"])
    for config in ({"model_type": "bert"}, {"architecture": "resnet18", "pretrained_cfg": {}}):  # what is imported once
        check((Checkpoint("torch", {"w": np.ones(1)}, {}, config=config), None, "", {}, False))
    survive(st.tuples(networks(), activations, words, renames, st.booleans()), check)


# Manifests, and the paths in them

MANIFEST = b"""name = "m"
[[networks]]
path = "*.safetensors"
options = { a = [1, 2] }
[[outputs]]
name = "y"
[probe]
samples = 64
[[probe.variables]]
name = "a"
low = 0.0
high = 1.0
"""
TABLES = ["name", "about", "seed", "networks", "outputs", "probe", "align", "cluster", "distil", "path", "variables"]
TABLES += ["low", "high", "rows", "images", "side", "samples", "derived", "formula", "options", "rename", "scaling"]


def _mannered(check: Callable[[], object]) -> None:
    try:
        check()
    except BadManifest as error:
        _said(error)


@target
def test_manifests_of_any_text(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        _mannered(lambda: read_manifest(path))

    survive(spoilt(MANIFEST) | st.binary(max_size=100) | st.text(max_size=100).map(_encoded), check)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@target
def test_manifests_of_any_content(tmp_path: Path) -> None:
    keys = st.sampled_from(TABLES) | st.text(max_size=8)
    content = st.recursive(
        NUMBERS | st.text(max_size=10) | st.dates(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
        max_leaves=20,
    )
    good: Mapping[str, Any] = {"name": "m", "networks": [{"path": "*"}], "outputs": [{"name": "y"}]}
    given_keys = st.dictionaries(keys, content, max_size=6)
    survive(
        given_keys.map(lambda more: good | more), lambda more: _mannered(lambda: check_manifest(more, path=tmp_path))
    )


@target
def test_paths(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    (tmp_path / "b").mkdir()
    parts = st.sampled_from(
        ["*", "**", "..", ".", "/", "[", "[!a]", "?", "\0", "package:", "b", "a.safetensors", "~", "x" * 300, "\ud800"]
    )

    def check(path: str) -> None:
        try:
            for found in locate(path, folder=tmp_path):
                assert isinstance(found.file, Path)
        except BadInput as error:
            _said(error)

    survive(
        st.lists(parts | st.text(max_size=5), max_size=6).map("".join).filter(lambda path: not path.startswith("/")),
        check,
    )
