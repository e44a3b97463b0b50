"""What units of small networks are, exactly, in Python and on the command line, on zoos of real files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import consilience
from consilience.analysis.formulas.expression import evaluate
from consilience.analysis.formulas.parsing import parse
from consilience.analysis.project.study import open_study
from consilience.analysis.stages.exact import FORMS, exact, facts
from consilience.zoo.errors import BadInput, NotFound
from consilience.zoo.network import predict, record

DATA = Path(__file__).parents[1] / "data"
ZOO = """\
name = "small"

[[networks]]
path = "*.safetensors"

[networks.scaling]
input_shift = [2.0, 0.0]
input_scale = [0.5, 2.0]
output_shift = [1.0]
output_scale = [4.0]

[probe]
samples = 2048
variables = [{ name = "mass", low = 1.0, high = 3.0 }, { name = "speed", low = -4.0, high = 4.0 }]
"""


def mlp(seed: int, make: type[nn.Module], *, outputs: int = 1) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 6), make(), nn.Linear(6, 3), make(), nn.Linear(3, outputs))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of a ReLU, a tanh and a GELU network and a CNN; to look at, not to change."""
    folder = tmp_path_factory.mktemp("small")
    for name, make in (("relu", nn.ReLU), ("tanh", nn.Tanh), ("gelu", nn.GELU)):
        save_file(mlp(0, make).state_dict(), folder / f"{name}.safetensors", metadata={"activation": name})
    save_file(mlp(1, nn.ReLU, outputs=3).state_dict(), folder / "many.safetensors", metadata={"activation": "relu"})
    (folder / "zoo.toml").write_text(ZOO)
    return folder


def network(zoo: Path, name: str):
    from consilience.analysis.stages.sources import sources
    from consilience.analysis.stages.stage_ingest import gather

    study = open_study(zoo)
    (item,), _ = gather(study, [source for source in sources(study) if source.name == name])
    return item.network, study.probe.inputs


def columns(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"mass": rows[:, 0], "speed": rows[:, 1]}


@pytest.mark.parametrize("form", ["pieces", "tree", "expression"])
def test_every_form_of_the_output_is_what_the_network_predicts(zoo, form):
    given, rows = network(zoo, "relu")
    expected = predict(given, rows)[:, 0]
    told = exact(zoo, "relu", form=form)
    assert (told.layer, told.unit, told.form, told.names) == ("4", 0, form, ("mass", "speed"))
    (first, *others) = facts(told)
    if form == "expression":
        found = evaluate(parse(first["expression"]), columns(rows))
    elif form == "tree":
        space: dict[str, object] = {}
        exec(first["python"], space)
        found = np.array([space["relu_4_0"](*row) for row in rows])
    else:
        found = np.full(len(rows), np.nan)
        for row in (first, *others):
            cells = [
                np.all([evaluate(parse(side.removesuffix(" >= 0")), columns(rows)) >= 0 for side in cell], axis=0)
                for cell in row["where"]
            ]
            inside = np.any(cells, axis=0)
            assert abs(inside.mean() - row["share"]) < 0.002
            found[inside] = evaluate(parse(row["expression"]), columns(rows))[inside]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_neurons_as_they_are(zoo):
    given, rows = network(zoo, "tanh")
    batches = [*record(given, rows)]
    first, second = (np.concatenate([batch[layer].post for batch in batches]) for layer in ("0", "2"))
    one, two = exact(zoo, "tanh", unit="0:4"), exact(zoo, "tanh", unit="2:1")
    assert (one.form, one.names) == ("unit", ("mass", "speed"))
    assert str(one.found.expression).startswith("tanh(")
    np.testing.assert_allclose(evaluate(one.found.expression, columns(rows)), first[:, 4], atol=1e-5)
    assert two.names == ("h1_0", "h1_1", "h1_2", "h1_3", "h1_4", "h1_5")
    states = dict(zip(two.names, first.T.astype(np.float64), strict=True))
    np.testing.assert_allclose(evaluate(two.found.expression, states), second[:, 1], atol=1e-5)
    (row,) = facts(exact(zoo, "gelu", unit="0:0"), digits=3)
    assert (row["activation"], row["expression"]) == ("gelu", None)


def test_an_output_may_go_by_its_name(zoo):
    given, rows = network(zoo, "many")
    text = (zoo / "zoo.toml").read_text()
    named = zoo / "named.toml"
    outputs = "".join(f'[[outputs]]\nname = "{name}"\n' for name in ("x", "y", "z"))
    named.write_text(text.replace('path = "*.safetensors"', 'path = "many.safetensors"') + outputs)
    told = exact(named, "many", unit="y", form="expression", most=5000)
    assert told.unit == 1
    expected = predict(given, rows)[:, 1]
    assert np.abs(evaluate(told.found, columns(rows)) - expected).max() < 1e-5 * np.abs(expected).max()


def test_it_is_public(zoo):
    assert consilience.exact is exact
    assert list(FORMS) == ["unit", "pieces", "tree", "expression"]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"network": "rely"}, NotFound, "names no network 'rely'"),
        ({"network": "relu", "form": "poem"}, BadInput, "'poem' is no exact form"),
        ({"network": "relu", "unit": "9:0"}, NotFound, "relu: has no unit '9:0'"),
        ({"network": "relu", "unit": "0:6"}, NotFound, "relu: layer 0 has no unit 6"),
        ({"network": "many"}, BadInput, "many: has 3 outputs"),
        ({"network": "relu", "most": 2}, BadInput, r"relu: there are \d+ pieces where 2,048 rows lie, more than 2"),
        ({"network": "tanh"}, BadInput, "tanh: layer 0: tanh is smooth"),
        ({"network": "gelu", "form": "expression"}, BadInput, "gelu: layer 0: no equation can be written with gelu"),
        ({"network": "tanh", "form": "expression", "most": 9}, BadInput, "tanh: unit 0 of layer 4 is an expression of"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_exactly(zoo, arguments, error, said):
    with pytest.raises(error, match=said):
        exact(zoo, **arguments)


def test_only_multilayer_perceptrons_on_named_variables_have_exact_forms(tmp_path):
    digits = Path(shutil.copytree(DATA / "digits", tmp_path / "digits", ignore=shutil.ignore_patterns(".consilience")))
    with pytest.raises(BadInput, match=r"^cnn-relu-8x16: computes conv2d"):
        exact(digits, "cnn-relu-8x16", unit="0:0")
    (row,) = facts(exact(digits, "mlp-relu-48", unit="0:5"), digits=3)
    assert row["activation"] == "relu"
    for shade in range(8):
        Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(digits / f"{shade}.png")
    text = (digits / "zoo.toml").read_text()
    (digits / "zoo.toml").write_text(text[: text.index("[probe]")] + '[probe]\nimages = ["*.png"]\nside = 8\n')
    with pytest.raises(BadInput, match="shows photos, whose points have no names"):
        exact(digits, "mlp-relu-48")


# --- the command ----------------------------------------------------------------------------------


def test_the_command_answers_in_every_format(zoo, warm, tmp_path):
    asked = ("exact", "relu", "--zoo", zoo)
    rows = [json.loads(line) for line in warm(*asked, folder=tmp_path).out.splitlines()]
    assert [row["piece"] for row in rows] == [*range(1, len(rows) + 1)]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert json.loads(warm(*asked, "--format", "json", folder=tmp_path).out) == rows
    table = warm(*asked, "--format", "table", "--digits", "3", folder=tmp_path)
    assert "where" in table.out.splitlines()[0]
    assert "speed" in table.out
    tree = warm(*asked, "--as", "tree", "--format", "table", "--digits", "3", folder=tmp_path)
    assert tree.out.startswith("where ")
    assert " rows]" in tree.out
    unit = json.loads(warm("exact", "gelu", "--unit", "0:0", "--zoo", zoo, folder=tmp_path).out)
    assert (unit["layer"], unit["unit"], unit["expression"]) == ("0", 0, None)
    assert not (zoo / ".consilience" / "catalogue.duckdb").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["rely"], 4, "names no network 'rely'"),
        (["relu", "--unit", "0:99"], 4, "relu: layer 0 has no unit 99"),
        (["relu", "--as", "poem"], 2, "'poem' is no exact form"),
        (["relu", "--most", "2"], 2, "more than 2"),
        (["tanh"], 2, "tanh: layer 0: tanh is smooth"),
        (["relu", "--format", "xml"], 2, "'xml' is not one of"),
    ],
)
def test_the_command_says_in_one_line_what_it_cannot_do(zoo, warm, tmp_path, arguments, code, said):
    done = warm("exact", *arguments, "--zoo", zoo, folder=tmp_path)
    told = [line for line in done.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert done.code == code, done.err
    assert [line.split(":")[0] for line in told] == ["error", "hint"]
    assert said in told[0]
    assert done.out == ""
    if "--most" in arguments:
        count = re.search(r"there are (\d+) pieces", told[0])
        assert count is not None
        assert f"--most {count[1]} " in told[1]
