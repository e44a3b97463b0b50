"""A zoo.toml says what it must, or one line says where it does not: file, key, found, expected."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consilience.zoo.errors import BadManifest
from consilience.zoo.manifest import (
    AlignTable,
    DerivedTable,
    DistilTable,
    InnerTable,
    Manifest,
    NetworksTable,
    OutputTable,
    PreprocessingTable,
    ProbeTable,
    ScalingTable,
    VariableTable,
    check_manifest,
    read_manifest,
)

SHORT = """
name = "gravity"
[[networks]]
path = "networks/*.safetensors"
[[outputs]]
name = "F"
[probe]
[[probe.variables]]
name = "m1"
low = 1.0
high = 5.0
"""
LONG = """
name = "gravity"
about = "12 MLPs"
seed = 7

[[networks]]
path = "networks/a.safetensors"
name = "a"
architecture = "python:module:factory"
activation = "tanh"
options = { width = 32, nested = { deep = [1, "two"] } }
strip_prefix = "backbone."
rename = { "old." = "new." }
layers = ["stem", "blocks.0.*"]
lineage = "first run"
outputs = ["F"]
metadata = { recipe = "gravity.py" }

[networks.scaling]
input_shift = [3.0]
input_scale = [1.15]
output_shift = [2]
output_scale = [4.0]

[networks.preprocessing]
size = [224, 224]
crop = 0.875
channels = "bgr"
scale = 255.0
mean = [104, 117, 123]
std = [1, 1, 1]
layout = "nchw"
interpolation = "bicubic"

[[outputs]]
name = "F"
unit = "N"
linked = true

[probe]
samples = 512
rows = "rows.csv"

[[probe.variables]]
name = "m1"
low = 1.0
high = 5.0
unit = "kg"

[[probe.derived]]
name = "heavy"
formula = "m1**2"
unit = "kg^2"

[align]
q = 0.01
null_draws = 5
method = "universe"

[distil]
variables = ["heavy"]
outputs = ["F"]
engine = "auto"
budget = "quick"
restarts = 2
evaluations = 1000
samples = 64
features = 0

[[distil.inner]]
module = "message"
variables = ["dx", "dy"]

[[distil.inner.derived]]
name = "r"
formula = "sqrt(dx**2 + dy**2)"
"""
PARSED = Manifest(
    name="gravity",
    about="12 MLPs",
    seed=7,
    networks=(
        NetworksTable(
            path="networks/a.safetensors",
            name="a",
            architecture="python:module:factory",
            activation="tanh",
            options={"width": 32, "nested": {"deep": [1, "two"]}},
            lineage="first run",
            outputs=("F",),
            scaling=ScalingTable(input_shift=(3.0,), input_scale=(1.15,), output_shift=(2.0,), output_scale=(4.0,)),
            strip_prefix="backbone.",
            rename={"old.": "new."},
            layers=("stem", "blocks.0.*"),
            preprocessing=PreprocessingTable(
                size=(224, 224),
                crop=0.875,
                channels="bgr",
                scale=255.0,
                mean=(104.0, 117.0, 123.0),
                std=(1.0, 1.0, 1.0),
                layout="nchw",
                interpolation="bicubic",
            ),
            metadata={"recipe": "gravity.py"},
        ),
    ),
    outputs=(OutputTable(name="F", unit="N", linked=True),),
    probe=ProbeTable(
        variables=(VariableTable(name="m1", low=1.0, high=5.0, unit="kg"),),
        derived=(DerivedTable(name="heavy", formula="m1**2", unit="kg^2"),),
        rows="rows.csv",
        samples=512,
    ),
    align=AlignTable(q=0.01, null_draws=5, method="universe"),
    distil=DistilTable(
        variables=("heavy",),
        outputs=("F",),
        inner=(
            InnerTable(
                module="message",
                variables=("dx", "dy"),
                derived=(DerivedTable(name="r", formula="sqrt(dx**2 + dy**2)"),),
            ),
        ),
        engine="auto",
        budget="quick",
        restarts=2,
        evaluations=1000,
        samples=64,
        features=0,
    ),
)


def read(tmp_path: Path, text: str) -> Manifest:
    path = tmp_path / "zoo.toml"
    path.write_text(text, encoding="utf-8")
    return read_manifest(path)


def refused(tmp_path: Path, text: str) -> tuple[str, str]:
    with pytest.raises(BadManifest) as caught:
        read(tmp_path, text)
    path = tmp_path / "zoo.toml"
    assert caught.value.what.startswith(f"{path}: ")
    assert caught.value.what.isprintable()
    assert caught.value.hint
    return caught.value.what.removeprefix(f"{path}: "), caught.value.hint


def test_every_key_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, LONG) == PARSED


def test_the_long_example_names_every_key() -> None:
    content = tomllib.loads(LONG)
    tables = {
        Manifest: content,
        NetworksTable: content["networks"][0],
        ScalingTable: content["networks"][0]["scaling"],
        OutputTable: content["outputs"][0],
        PreprocessingTable: content["networks"][0]["preprocessing"],
        ProbeTable: content["probe"] | dict.fromkeys(("images", "side", "crops", "whiten")),  # of photos alone
        VariableTable: content["probe"]["variables"][0],
        DerivedTable: content["probe"]["derived"][0],
        AlignTable: content["align"],
        DistilTable: content["distil"],
        InnerTable: content["distil"]["inner"][0],
    }
    for model, table in tables.items():
        assert set(table) == set(model.model_fields)


def test_a_manifest_survives_being_written_as_json() -> None:
    assert Manifest.model_validate_json(PARSED.model_dump_json()) == PARSED
    assert check_manifest(json.loads(PARSED.model_dump_json()), path=Path("zoo.toml")) == PARSED


def test_defaults(tmp_path: Path) -> None:
    manifest = read(tmp_path, SHORT)
    assert (manifest.seed, manifest.probe.samples, manifest.distil.engine) == (0, 2048, "operon")
    assert manifest.networks[0].activation is None
    assert manifest.networks[0].outputs is None


@pytest.mark.parametrize("folder", ["gravity", "ballistics", "digits", "tglfnn/step", "tglfnn/multimachine"])
def test_our_own_zoos_are_valid(folder: str) -> None:
    read_manifest(Path(__file__).parents[1] / "data" / folder / "zoo.toml")


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ('name = "gravity"', 'nmae = "gravity"', "nmae: unknown key", "did you mean 'name'?"),
        ("[[networks]]", "[[network]]", "network: unknown key", "did you mean 'networks'?"),
        ("path =", "pth =", "networks[1].pth: unknown key", "did you mean 'path'?"),
        ("low = 1.0", "lwo = 1.0", "probe.variables[1].lwo: unknown key", "did you mean 'low'?"),
        (
            "[probe]",
            "[align]\nzzz = 1\n[probe]",
            "align.zzz: unknown key",
            "the keys here are q, null_draws",
        ),
        (
            "[[outputs]]",
            "[networks.scaling]\ninput_shft = [1.0]\n[[outputs]]",
            "networks[1].scaling.input_shft: unknown key",
            "did you mean 'input_shift'?",
        ),
        ('name = "gravity"', "", "name: missing", "add name; consilience init"),
        ('name = "F"', "", "outputs[1].name: missing", "add name;"),
        (
            'name = "gravity"',
            'name = "gravity"\nseed = "soon"',
            "seed: found 'soon', expected: a valid integer",
            "correct that line",
        ),
        (
            "[probe]",
            "[probe]\nsamples = 3",
            "probe.samples: found 3, expected: greater than or equal to 8",
            "correct that line",
        ),
        (
            "[probe]",
            '[distil]\nengine = "opern"\n[probe]',
            "distil.engine: found 'opern', expected: 'operon', 'pysr', 'auto' or 'none'",
            "correct that line",
        ),
        (
            "low = 1.0",
            "low = nan",
            "probe.variables[1].low: found nan, expected: a finite number",
            "correct that line",
        ),
        (
            'name = "m1"',
            'name = "m 1"',
            "probe.variables[1].name: found 'm 1', expected: String should match",
            "",
        ),
        ("low = 1.0", "low = 9.0", "probe.variables[1]: low 9.0 is not below high 5.0", ""),
        (
            "low = 1.0\nhigh = 5.0",
            "low = -1e308\nhigh = 1e308",
            "probe.variables[1]: the range is too wide",
            "",
        ),
        ("low = 1.0", "", "probe: variable 'm1' needs low and high (there are no rows)", ""),
        ('name = "m1"', 'name = "pi"', "probe: no variable can be called 'pi'", ""),
        (
            "high = 5.0",
            'high = 5.0\n[[probe.derived]]\nname = "m1"\nformula = "m1"',
            "probe: the name 'm1' stands twice",
            "",
        ),
        ("[probe]", '[[outputs]]\nname = "F"\n[probe]', "the name 'F' stands twice", ""),
        (
            "[probe]",
            '[distil]\noutputs = ["G"]\n[probe]',
            "distil.outputs: 'G' has no [[outputs]] table",
            "",
        ),
        (
            "path =",
            'outputs = ["G"]\npath =',
            "networks.outputs: 'G' has no [[outputs]] table",
            "",
        ),
        (
            "[probe]",
            '[distil]\nvariables = ["m3"]\n[probe]',
            "distil.variables: 'm3' is not one of m1",
            "",
        ),
        ("[probe]", 'probe = 3\n"x\\n\\u001b[31m" = 1\n[other]', r"outputs[1].probe: unknown key", ""),
        (
            "[[networks]]",
            '["x\\n\\u001b[31m"]\n[[networks]]',
            r"'x\n\x1b[31m': unknown key",
            "the keys here are name, about",
        ),
        ('name = "gravity"', f'name = "{"x" * 300}"', "name: found 'xxx", ""),
    ],
)
def test_errors_name_key_found_and_expected(tmp_path: Path, old: str, new: str, what: str, hint: str) -> None:
    assert old in SHORT
    said, remedy = refused(tmp_path, SHORT.replace(old, new, 1))
    assert what in said
    assert said.startswith(what) or "unknown" not in what
    assert hint in remedy
    assert len(said) < 300


def test_a_probe_needs_variables_or_rows(tmp_path: Path) -> None:
    bare = SHORT[: SHORT.index("[[probe.variables]]")]
    assert refused(tmp_path, bare)[0] == (
        'probe: needs [[probe.variables]] with ranges, rows = "FILE" or images = ["*.png"]'
    )
    assert read(tmp_path, f'{bare}rows = "rows.npy"').probe.rows == "rows.npy"
    assert read(tmp_path, f'{bare}images = ["*.jpg"]').probe.images == ("*.jpg",)
    assert "images stand alone" in refused(tmp_path, f'{bare}images = ["*.jpg"]\nrows = "rows.npy"')[0]
    assert read(tmp_path, bare.partition("[probe]")[0]).probe is None


def test_at_least_one_network(tmp_path: Path) -> None:
    said, _ = refused(tmp_path, 'name = "a"\nnetworks = []\n[probe]\nrows = "a.csv"')
    assert said.startswith("networks: found [], expected: Tuple should have at least 1 item")


@pytest.mark.parametrize(
    "text",
    [
        "name = ",
        'name = "a"\nname = "b"',
        f"seed = {'9' * 5000}",
        f"a = {'[' * 50_000}",
        "a = \x01",
    ],
    ids=["cut", "twice", "digits", "deep", "control"],
)
def test_what_is_not_toml_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    said, hint = refused(tmp_path, text)
    assert said.startswith("not TOML: ")
    assert "consilience init" in hint


def test_what_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "zoo.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadManifest, match="not TOML: this is no text") as caught:
        read_manifest(path)
    assert "not a checkpoint" in caught.value.hint


def test_a_number_too_long_to_show(tmp_path: Path) -> None:
    said, _ = refused(tmp_path, f"seed = 0x{'f' * 5000}\n{SHORT}")
    assert said.startswith("seed: found a huge number, expected: ")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"zoo\.toml: no such file") as caught:
        read_manifest(tmp_path / "zoo.toml")
    assert caught.value.hint == "consilience init FOLDER writes one"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match="directory") as caught:
        read_manifest(tmp_path)
    assert caught.value.hint == "give the path of a zoo.toml"


KEYS = st.sampled_from(
    ["name", "networks", "path", "probe", "variables", "low", "rows", "scaling", "options", "distil"]
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS | st.text(max_size=4), DATA, max_size=6))
def test_arbitrary_data_is_refused_in_one_line(content: dict[str, Any]) -> None:
    with pytest.raises(BadManifest) as caught:
        check_manifest(content, path=Path("zoo.toml"))
    assert "\n" not in caught.value.what
    assert caught.value.hint


@given(st.sampled_from(sorted(PARSED.model_dump())), DATA)
def test_a_whole_manifest_with_one_table_replaced(key: str, value: Any) -> None:
    content = {**PARSED.model_dump(), key: value}
    with suppress(BadManifest):
        manifest = check_manifest(content, path=Path("zoo.toml"))
        assert manifest.model_dump(exclude={key}) == PARSED.model_dump(exclude={key})


def test_importing_it_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, consilience.zoo.manifest; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
