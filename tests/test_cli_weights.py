"""Weights brought into one order, merged and compared, as a user meets them on the command line."""

from __future__ import annotations

import json
import shutil
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import consilience
from consilience.analysis.project.study import open_study
from consilience.analysis.stages.sources import sources
from consilience.analysis.stages.stage_ingest import gather
from consilience.analysis.stages.stage_write import write_aligned
from consilience.zoo.errors import BadInput
from consilience.zoo.network import predict
from consilience.zoo.write_manifest import write_manifest

ABOVE = {
    "convolution": "import torch\nfrom torch import nn\n\n\ndef make(tensors, *, scale):\n"
    "    last = nn.Linear(4, 1)\n"
    "    module = nn.Sequential(nn.Unflatten(1, (1, 2)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), last)\n"
    "    module.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})\n"
    "    return module\n",
    "made": "import torch\nfrom torch import nn\n\n\ndef make(tensors):\n"
    "    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))\n"
    "    with torch.no_grad():\n"
    "        module[0].weight.copy_(2 * torch.tensor(tensors['inner']))\n"
    "    return module\n",
}


TWINS = """\
name = "twins"

[[networks]]
path = "networks/*.safetensors"

[[networks]]
path = "twin-1.pt"
activation = "relu"

[[networks]]
path = "twin-2.npz"
activation = "relu"

[[outputs]]
name = "y"

[probe]
samples = 64
variables = [{ name = "a", low = -1.0, high = 1.0 }, { name = "b", low = -1.0, high = 1.0 }]

[distil]
engine = "none"
"""


@cache
def trained(seed: int, *, width: int = 8) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 6), nn.ReLU(), nn.Linear(6, 1))
        rows = torch.rand(256, 2) * 2 - 1
        wanted = 3 * rows[:, :1] * rows[:, 1:] - rows[:, 1:]
        optimiser = torch.optim.LBFGS(module.parameters(), max_iter=30, line_search_fn="strong_wolfe")

        def loss() -> torch.Tensor:
            optimiser.zero_grad()
            error = (module(rows) - wanted).square().mean()
            error.backward()
            return error

        optimiser.step(loss)
    return module


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of three networks of one architecture, kept in three ways, a reordered copy and another; not to change."""
    folder = tmp_path_factory.mktemp("twins") / "tiny"
    (folder / "networks").mkdir(parents=True)
    (folder / "zoo.toml").write_text(TWINS)
    said = {"activation": "relu", "note": "kept"}
    save_file(trained(0).state_dict(), folder / "networks" / "twin-0.safetensors", metadata=said)
    save_file(reordered(trained(0).state_dict()), folder / "networks" / "copy.safetensors", metadata=said)
    save_file(trained(3, width=9).state_dict(), folder / "networks" / "wide.safetensors", metadata=said)
    state = {f"module.body.{name}": tensor for name, tensor in trained(1).state_dict().items()}
    torch.save({"state_dict": state, "step": 3}, folder / "twin-1.pt")
    np.savez(folder / "twin-2.npz", **{f"layer{n}": t.numpy() for n, t in trained(2).state_dict().items()})
    return folder


def reordered(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    order, inner = torch.randperm(8, generator=torch.Generator().manual_seed(1)), torch.tensor([3, 0, 5, 1, 4, 2])
    return {
        "0.weight": state["0.weight"][order],
        "0.bias": state["0.bias"][order],
        "2.weight": state["2.weight"][inner][:, order].contiguous(),
        "2.bias": state["2.bias"][inner],
        "4.weight": state["4.weight"][:, inner].contiguous(),
        "4.bias": state["4.bias"],
    }


@pytest.fixture(scope="session")
def aligned(twins: Path, warm, tmp_path_factory: pytest.TempPathFactory):
    """The zoo, the folder that `align --write` made of it, and what that said; to look at, not to change."""
    zoo = Path(shutil.copytree(twins, tmp_path_factory.mktemp("aligned") / "tiny"))
    return zoo, zoo.parent / "aligned", warm("align", zoo, "--write", "aligned", folder=zoo.parent)


@pytest.fixture
def zoo(twins: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(twins, tmp_path / "tiny"))


def refused_well(done, code: int, *said: str) -> None:
    """One line that says what and where, one hint, no traceback, nothing on stdout."""
    assert done.code == code, done.err
    told = [line for line in done.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert [line.split(":")[0] for line in told] == ["error", "hint"], done.err
    assert "Traceback" not in done.err
    assert "bug of ours" not in done.err
    assert done.out == ""
    for words in said:
        assert words in "\n".join(told), done.err


def predictions(folder: Path, inputs: np.ndarray) -> dict[str, np.ndarray]:
    study = open_study(folder)
    whole, _ = gather(study, sources(study))
    return {item.source.name: predict(item.network, inputs) for item in whole if item.network}


def lineages(folder: Path) -> dict[str, str | None]:
    study = open_study(folder)
    whole, _ = gather(study, sources(study))
    return {item.source.name: item.lineage for item in whole}


# --- align --write --------------------------------------------------------------------------------


def test_aligned_networks_are_written_and_compute_the_same(aligned, warm):
    zoo, folder, done = aligned
    assert done.code == 0, done.err
    assert "5 networks written to aligned, their units in one order; read again, their predictions" in done.out
    assert done.out.splitlines()[-1] == "next: consilience run aligned"
    inputs = open_study(zoo).probe.inputs
    before, after = predictions(zoo, inputs), predictions(folder, inputs)
    assert before.keys() == after.keys()
    assert lineages(zoo) == lineages(folder)
    assert lineages(zoo)["copy"] == lineages(zoo)["twin-0"] != lineages(zoo)["twin-1"]
    for name, wanted in before.items():
        assert np.abs(after[name] - wanted).max() <= 1e-4 * wanted.std()
    ran = warm("probe", folder, folder=zoo.parent)
    assert (ran.code, ran.out.splitlines()[0][:18]) == (0, "5 networks probed:"), ran.err


def test_names_and_metadata_are_the_checkpoints(aligned, warm):
    zoo, folder, _ = aligned
    files = folder / "networks"
    with safe_open(files / "twin-0.safetensors", framework="np") as file:
        assert file.metadata() == {"activation": "relu", "note": "kept"}
    assert set(load_file(files / "twin-1.safetensors")) == {f"body.{name}" for name in trained(1).state_dict()}
    assert set(load_file(files / "twin-2.safetensors")) == {f"layer{name}" for name in trained(2).state_dict()}
    tables = tomllib.loads((folder / "zoo.toml").read_text())["networks"]
    assert {table["name"] for table in tables} == {"twin-0", "twin-1", "twin-2", "copy", "wide"}
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    assert warm("align", zoo, "--write", folder, "--force", folder=zoo.parent).code == 0
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_units_of_copies_come_to_stand_at_the_same_places(aligned):
    zoo, folder, _ = aligned
    one, other = (load_file(folder / "networks" / f"{name}.safetensors") for name in ("twin-0", "copy"))
    inputs = torch.tensor(open_study(zoo).probe.inputs, dtype=torch.float32)
    alive = int((trained(0)[:2](inputs).max(0).values > 0).sum())
    assert not torch.equal(one["0.weight"], reordered(trained(0).state_dict())["0.weight"])
    assert alive > 3
    assert sum(torch.equal(*pair) for pair in zip(one["0.weight"], other["0.weight"], strict=True)) >= alive


def test_what_is_there_is_not_overwritten(zoo, warm, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    refused_well(warm("align", zoo, "--write", "full", folder=tmp_path), 2, "full: is not empty", "--force")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["a.txt"]
    refused_well(warm("align", zoo, "--write", zoo, "--force", folder=tmp_path), 2, "is the zoo itself")
    refused_well(warm("align", zoo, "--write", "full/a.txt", folder=tmp_path), 2, "is a file, not a folder")
    done = warm("align", zoo, "--write", "new", "--dry-run", folder=tmp_path)
    assert (done.code, done.out, (tmp_path / "new").exists()) == (0, "", False)
    assert "would be written to new" in done.err


def test_factories_go_along_and_what_cannot_be_written_costs_one_line(zoo, warm, tmp_path):
    for name, code in ABOVE.items():
        (zoo / f"{name}.py").write_text(code)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv1d(1, 4, 2), nn.Linear(4, 1))
        state = {"1.weight": module[0].weight, "1.bias": module[0].bias, "4.weight": module[1].weight}
        state = {name: tensor.detach() for name, tensor in (state | {"4.bias": module[1].bias}).items()}
        save_file(state, zoo / "conv.safetensors")
        save_file({"inner": torch.randn(3, 2)}, zoo / "made.safetensors")
    graph = _graph(zoo / "graph.onnx")
    text = (zoo / "zoo.toml").read_text()
    tables = (
        '[[networks]]\npath = "conv.safetensors"\narchitecture = "python:convolution:make"\noptions = { scale = 2 }\n\n'
        '[[networks]]\npath = "made.safetensors"\narchitecture = "python:made:make"\n\n'
        '[[networks]]\npath = "made.safetensors"\nname = "alone"\narchitecture = "weights"\n\n'
        f'[[networks]]\npath = "{graph}"\n\n'
    )
    (zoo / "zoo.toml").write_text(text.replace("[[outputs]]", tables + "[[outputs]]"))
    done = warm("align", zoo, "--write", "aligned", folder=tmp_path)
    assert done.code == 3, done.err
    assert "6 networks written to aligned" in done.out
    told = [line for line in done.err.splitlines() if line.startswith("not written: ")]
    assert len(told) == 3, done.err
    assert sorted(line.split()[2] for line in told) == ["alone", "graph", "made"]
    assert any("[no-symmetry]" in line for line in told)
    assert not (tmp_path / "aligned" / "networks" / "made.safetensors").exists()
    assert warm("ingest", "aligned", folder=tmp_path).out.startswith("6 checkpoints: ")


def _graph(path: Path) -> str:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name)
        for name, shape in (("a", (2, 5)), ("b", (5, 1)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 2), ("y", 1))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], weights), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, path)
    return path.name


# --- barrier --------------------------------------------------------------------------------------


def test_barriers_are_listed_for_every_pair_and_matching(zoo, warm, tmp_path):
    done = warm("barrier", "twin-0", "twin-1", "twin-2", "--zoo", zoo, folder=tmp_path)
    assert done.code == 0, done.err
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["left"], row["right"], row["matching"]) for row in found] == [
        (*pair, matching)
        for pair in (("twin-0", "twin-1"), ("twin-0", "twin-2"), ("twin-1", "twin-2"))
        for matching in ("none", "activations", "weights")
    ]
    for row in found:
        assert len(row["losses"]) == 11
        assert row["loss"] == "distance"
        assert row["at_left"] == row["losses"][0]
        assert row["barrier"] >= 0.0
    assert not (zoo / ".consilience" / "catalogue.duckdb").exists()


def test_targets_and_points_and_a_table(zoo, warm, tmp_path):
    inputs = open_study(zoo).probe.inputs
    wanted = 3 * inputs[:, 0] * inputs[:, 1] - inputs[:, 1]
    np.save(tmp_path / "y.npy", wanted)
    np.savetxt(tmp_path / "y.csv", wanted, header="y", comments="")
    np.savetxt(tmp_path / "bare.csv", wanted)
    told = [
        warm("barrier", "twin-0", "twin-1", "--targets", name, "--points", "5", "--zoo", zoo, folder=tmp_path)
        for name in ("y.npy", "y.csv", "bare.csv")
    ]
    assert {done.code for done in told} == {0}, told[0].err
    rows = [[json.loads(line) for line in done.out.splitlines()] for done in told]
    assert rows[0][0]["loss"] == "mean squared error"
    assert len(rows[0][0]["losses"]) == 5
    assert rows[0][0]["at_left"] == pytest.approx(np.mean((predictions(zoo, inputs)["twin-0"][:, 0] - wanted) ** 2))
    assert all(row["middle"] == pytest.approx(rows[0][0]["middle"]) for row in (rows[1][0], rows[2][0]))
    table = warm("barrier", "twin-0", "twin-1", "--zoo", zoo, "--format", "md", folder=tmp_path)
    assert (
        table.out.splitlines()[0]
        == "| left | right | matching | statistics | loss | at_left | at_right | middle | barrier |"
    )


def test_targets_follow_the_rows_of_a_file(zoo, tmp_path):
    rows = np.random.default_rng(3).uniform(-1, 1, size=(90, 2))
    np.save(zoo / "rows.npy", rows)
    text = (zoo / "zoo.toml").read_text()
    head, _, tail = text.partition("[probe]")
    probe = '[probe]\nrows = "rows.npy"\nsamples = 64\nvariables = [{ name = "a" }, { name = "b" }]\n\n[distil]'
    (zoo / "zoo.toml").write_text(head + probe + tail.partition("[distil]")[2])
    np.save(tmp_path / "y.npy", predictions(zoo, rows)["twin-0"])
    found = consilience.barrier(zoo, ["twin-0", "twin-1"], targets=tmp_path / "y.npy")
    assert found[0].at_left == pytest.approx(0.0, abs=1e-9)
    assert found[0].at_right > 1e-3
    np.save(tmp_path / "few.npy", np.zeros(64))
    with pytest.raises(BadInput, match=r"few.npy: holds 64 targets, 90 are needed"):
        consilience.barrier(zoo, ["twin-0", "twin-1"], targets=tmp_path / "few.npy")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["barrier", "twin-0", "twn-1"], 4, "names no network 'twn-1'"),
        (["barrier", "twin-0"], 2, "one network alone has no other"),
        (["barrier", "twin-0", "wide"], 2, "twin-0 and wide are of different architectures: tensor 0.weight is 8 x 2"),
        (["barrier", "twin-0", "twin-1", "--points", "2"], 2, "--points"),
        (["barrier", "twin-0", "twin-1", "--targets", "none.npy"], 2, "none.npy: no such file"),
        (["barrier", "twin-0", "twin-1", "--targets", "zoo.toml"], 2, "targets of an unknown kind"),
        (["barrier", "twin-0", "twin-1", "--targets", "text.csv"], 2, "text.csv"),
        (["barrier", "twin-0", "twin-1", "--targets", "short.npy"], 2, "short.npy: holds 3 targets, 64 are needed"),
        (["barrier", "twin-0", "twin-1", "--format", "xml"], 2, "'xml' is not one of"),
        (["merge", "twin-0", "twin-0", "--output", "m.safetensors"], 2, "is named twice"),
        (["merge", "twin-0", "twin-1"], 2, "--output"),
        (["merge", "twin-0", "twin-1", "--output", "m.pt"], 2, "m.pt: is no name for it"),
        (["merge", "twin-0", "twin-1", "--output", "networks/twin-0.safetensors"], 2, "is already there"),
        (["merge", "twin-0", "twin-1", "--output", "m.safetensors", "--method", "magic"], 2, "'magic'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_a_hint(zoo, warm, arguments, code, said):
    (zoo / "text.csv").write_text("a,b\nx,y\n")
    np.save(zoo / "short.npy", np.zeros(3))
    refused_well(warm(*arguments, folder=zoo), code, said)


def test_without_a_probe_there_is_nothing_to_compare_on(zoo, warm):
    text = (zoo / "zoo.toml").read_text()
    (zoo / "zoo.toml").write_text(text[: text.index("[probe]")])
    refused_well(warm("barrier", "twin-0", "twin-1", folder=zoo), 2, "has no [probe]")


# --- merge ----------------------------------------------------------------------------------------


def test_a_merged_network_takes_the_place_of_the_first(zoo, warm, tmp_path):
    merged = zoo / "networks" / "merged.safetensors"
    done = warm("merge", "twin-0", "twin-1", "twin-2", "--output", merged, "--zoo", zoo, folder=tmp_path)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(row["network"], row["role"]) for row in rows] == [
        ("twin-0", "parent"),
        ("twin-1", "parent"),
        ("twin-2", "parent"),
        ("merged", "merged"),
    ]
    assert f"the average of 3 networks written to {merged}" in done.err
    with safe_open(merged, framework="np") as file:
        assert file.metadata() == {
            "activation": "relu", "note": "kept",
            "merged_from": '["twin-0", "twin-1", "twin-2"]', "merged_by": "activations",
        }  # fmt: skip
        assert set(file.keys()) == set(trained(0).state_dict())
    known = predictions(zoo, open_study(zoo).probe.inputs)
    mean = np.mean([known[f"twin-{number}"] for number in range(3)], axis=0)
    assert rows[-1]["value"] == pytest.approx(np.mean((known["merged"] - mean) ** 2) / mean.var(), rel=1e-4)


def test_merging_is_in_python_too(zoo, tmp_path):
    file = tmp_path / "merged.safetensors"
    found = consilience.merge(zoo, ["twin-1", "twin-0"], file, method="weights", repair=False)
    assert [record.role for record in found] == ["parent", "parent", "merged"]
    assert set(load_file(file)) == {f"body.{name}" for name in trained(1).state_dict()}


# --- photos, and networks built from a config.json -----------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two vision transformers in folders of Hugging Face, two residual networks of timm, and photos to show them."""
    transformers, timm, image = (pytest.importorskip(name) for name in ("transformers", "timm", "PIL.Image"))
    draw, folder = np.random.default_rng(0), tmp_path / "photos"
    (folder / "photos").mkdir(parents=True)
    for number in range(12):
        small = image.fromarray(draw.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        small.resize((64, 64)).save(folder / "photos" / f"{number:02}.png")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=4)
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.ViTForImageClassification(config)
            for weights in model.parameters():
                weights.data += 0.1 * torch.randn_like(weights)
            model.save_pretrained(folder / f"vit-{seed}")
            state = timm.create_model("resnet18", num_classes=4).state_dict()
            save_file({name: part.contiguous() for name, part in state.items()}, folder / f"res-{seed}.safetensors")
    (folder / "zoo.toml").write_text(
        'name = "photos"\n[[networks]]\npath = "vit-*"\npreprocessing = { size = [32, 32] }\n'
        '[[networks]]\npath = "res-*.safetensors"\narchitecture = "timm:resnet18"\noptions = { num_classes = 4 }\n'
        '[probe]\nimages = ["photos/*.png"]\nside = 64\ncrops = 1\n'
    )
    return folder


@pytest.mark.slow
def test_photos_are_shown_and_configs_go_along(photos, tmp_path):
    np.save(tmp_path / "classes.npy", np.arange(12) % 4)
    for kind in ("vit", "res"):
        pair = [f"{kind}-0", f"{kind}-1"]
        for record in consilience.barrier(photos, pair, targets=tmp_path / "classes.npy", points=3):
            assert record.loss == "cross-entropy"
            assert (record.statistics != "") == (kind == "res")
        file = tmp_path / kind / "model.safetensors"
        found = consilience.merge(photos, pair, file)
        assert np.isfinite(found[-1].value)
    assert (tmp_path / "vit" / "config.json").exists()
    text = (photos / "zoo.toml").read_text()  # matching residual networks against chance takes minutes
    start, end = text.index('[[networks]]\npath = "res'), text.index("[probe]")
    (photos / "zoo.toml").write_text(text[:start] + text[end:])
    export = write_aligned(open_study(photos), tmp_path / "aligned")
    assert (export.networks, export.left_out) == (2, {})
    inputs = open_study(photos).probe.inputs
    assert (open_study(tmp_path / "aligned").probe.inputs == inputs).all()
    before, after = predictions(photos, inputs), predictions(tmp_path / "aligned", inputs)
    for name, wanted in before.items():
        assert np.abs(after[name] - wanted).max() <= 1e-4 * wanted.std()


# --- manifests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("zoo", ["gravity", "ballistics", "digits", "vision", "proteins"])
def test_a_manifest_says_the_same_after_writing(zoo, tmp_path):
    from consilience.zoo.manifest import read_manifest

    manifest = read_manifest(Path(__file__).parents[1] / "data" / zoo / "zoo.toml")
    write_manifest(manifest, tmp_path / "zoo.toml", about="a copy")
    assert read_manifest(tmp_path / "zoo.toml") == manifest
