"""A draft says what a folder shows, marks what it does not, and always holds as a zoo.toml."""

from __future__ import annotations

import os
import pickle
import tomllib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from consilience.analysis.project.study import open_study
from consilience.analysis.stages.stage_ingest import sources
from consilience.zoo.draft import draft_manifest
from consilience.zoo.errors import BadInput
from consilience.zoo.globs import cover
from consilience.zoo.manifest import Manifest, read_manifest
from consilience.zoo.sketch import MANY, plain, quoted

TANH = {"activation": "tanh"}


def mlp(folder: Path, name: str, *, widths: Sequence[int] = (3, 8, 1), metadata: dict[str, str] | None = TANH) -> Path:
    """Write a small MLP."""
    rng = np.random.default_rng(len(name))
    tensors = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        tensors[f"{layer}.weight"] = rng.normal(size=(outputs, inputs)).astype(np.float32)
        tensors[f"{layer}.bias"] = rng.normal(size=outputs).astype(np.float32)
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata=metadata)
    return path


def cnn(folder: Path, name: str) -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    save_file({"0.weight": kernel}, folder / name, metadata=TANH)


def draft(folder: Path) -> tuple[tuple[str, ...], str, Manifest]:
    lines = draft_manifest(folder)
    assert all(line.isprintable() for line in lines)
    path = folder / "zoo.toml"
    return lines, path.read_text(encoding="utf-8"), read_manifest(path)


def paths(manifest: Manifest) -> list[str]:
    return [table.path for table in manifest.networks]


def line(lines: Sequence[str], start: str) -> str:
    (found,) = [text for text in lines if text.startswith(start)]
    return found


def refused(folder: Path, match: str) -> BadInput:
    with pytest.raises(BadInput, match=match) as caught:
        draft_manifest(folder)
    assert caught.value.what.isprintable()
    return caught.value


def test_networks_that_agree_are_one_glob(tmp_path: Path) -> None:
    for number in range(3):
        mlp(tmp_path, f"networks/{number}.safetensors", widths=(3, 8 + number, 1))
    lines, text, manifest = draft(tmp_path)
    assert paths(manifest) == ["networks/*.safetensors"]
    assert [(v.name, v.low, v.high) for v in manifest.probe.variables] == [
        (f"x{number}", -1.0, 1.0) for number in (1, 2, 3)
    ]
    assert manifest.name == tmp_path.name
    assert "activation =" not in text
    assert "3 MLPs with 3 inputs and 1 output" in text
    assert "low = -1.0  # could not tell: set the range and a name with a meaning" in text
    assert lines[0] == "found 3 MLPs, 3 inputs, 1 output, activation tanh: networks/*.safetensors"
    assert line(lines, "could not tell: the ranges")
    assert lines[-2] == f"wrote {tmp_path / 'zoo.toml'}"
    assert lines[-1].endswith(f"consilience run {tmp_path / 'zoo.toml'}")


def test_the_draft_as_a_whole(tmp_path: Path) -> None:
    """The text that a newcomer reads; change it with care."""
    folder = tmp_path / "mine"
    mlp(folder, "a.safetensors", widths=(1, 4, 1), metadata=None)
    assert draft(folder)[1] == (
        """\
# A first draft by consilience init. Lines marked with “could not tell” wait for somebody who knows
# these networks.
#   consilience run zoo.toml
name = "mine"
about = ""  # one sentence for readers: what the networks were trained on
seed = 0

# 1 MLP with 1 input and 1 output; widths and depths are read off the weights. The activation
# between layers must be said: one of relu, tanh, silu, gelu, elu, sigmoid, softplus, leaky_relu,
# identity, sin, mish, selu.
[[networks]]
path = "a.safetensors"
# activation = "relu"  # could not tell: the files do not say it
# Could not tell: whether inputs were scaled in training. If so (one number stands for all):
# scaling = { input_shift = [0.0], input_scale = [1.0], output_shift = [0.0], output_scale = [1.0] }

# Could not tell: whether an output means the same in every network. If so, name it here: its
# equation then keeps the name and the unit. If not, leave this out: which outputs belong together
# is then found.
# [[outputs]]
# name = "y1"
# unit = ""

# What all networks are shown: points spread evenly (Sobol) over the box of the variables' ranges.
# Or the rows of a file: rows = "FILE.csv" (or .parquet, .npy); or photos: images =
# ["photos/*.jpg"].
[probe]
samples = 2048

[[probe.variables]]
name = "x1"
low = -1.0  # could not tell: set the range and a name with a meaning
high = 1.0
# unit = ""
"""
    )


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors", metadata=None)
    path = tmp_path / "zoo.toml"
    draft_manifest(tmp_path)
    settings = ("# activation", "# scaling", "# [[outputs]]", "# name", "# unit")
    text = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(one.removeprefix("# ") if one.startswith(settings) else one for one in text))
    manifest = read_manifest(path)
    assert manifest.networks[0].activation == "relu"
    assert manifest.networks[0].scaling is not None
    assert manifest.outputs[0].name == "y1"


def test_an_activation_that_is_not_known_is_never_guessed(tmp_path: Path) -> None:
    mlp(tmp_path, "tanh-1.safetensors")
    mlp(tmp_path, "tanh-2.safetensors")
    mlp(tmp_path, "b-1.safetensors", metadata=None)
    mlp(tmp_path, "b-2.safetensors", metadata=None)
    mlp(tmp_path, "odd.safetensors", metadata={"activation": 'x"\ny'})
    lines, text, manifest = draft(tmp_path)
    assert paths(manifest) == ["b-*.safetensors", "odd.safetensors", "tanh-*.safetensors"]
    assert all(table.activation is None for table in manifest.networks)
    assert '# activation = "relu"  # could not tell: the files do not say it' in text
    assert line(lines, "could not tell: the activation of b-*.safetensors").endswith("do not say it")
    assert r"""the files say 'x"\ny', which is not known here""" in text
    assert line(lines, "could not tell: the activation of odd.safetensors")


def test_a_linear_network_needs_no_activation(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors", widths=(3, 2), metadata=None)
    lines, text, _ = draft(tmp_path)
    assert "activation =" not in text
    assert lines[0] == "found 1 MLP, 3 inputs, 2 outputs: a.safetensors"


def test_another_width_is_left_out_and_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "d"):
        mlp(tmp_path, f"{name}.safetensors")
    mlp(tmp_path, "c.safetensors", widths=(4, 8, 1))
    lines, text, manifest = draft(tmp_path)
    assert "# Left out: c.safetensors takes 4 inputs, not 3." in text
    assert line(lines, "left out") == "left out: c.safetensors takes 4 inputs, not 3"
    assert paths(manifest) == ["a.safetensors", "b.safetensors", "d.safetensors"]
    assert len(manifest.probe.variables) == 3


def test_the_majority_settles_what_one_network_leaves_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    both_ways = {"left.weight": rng.normal(size=(2, 5)), "right.weight": rng.normal(size=(5, 2))}
    save_file(both_ways, tmp_path / "a.safetensors", metadata=TANH)
    mlp(tmp_path, "b.safetensors", widths=(5, 4, 1))
    lines, _, manifest = draft(tmp_path)
    assert lines[0] == "found 2 MLPs, 5 inputs, 1 or 5 outputs, activation tanh: *.safetensors"
    assert len(manifest.probe.variables) == 5


def test_another_architecture_is_left_for_the_user_to_name(tmp_path: Path) -> None:
    cnn(tmp_path, "cnn-1.safetensors")
    cnn(tmp_path, "cnn-2.safetensors")
    mlp(tmp_path, "mlp-1.safetensors")
    lines, text, manifest = draft(tmp_path)
    assert paths(manifest) == ["mlp-1.safetensors", "cnn-*.safetensors"]
    assert '# architecture = "python:my_module:factory"  # could not tell: ' in text
    assert lines[1] == "found 2 networks of an unknown kind: cnn-*.safetensors"
    assert line(lines, "could not tell: the architecture of cnn-*.safetensors")


def test_nothing_but_unknown_architectures(tmp_path: Path) -> None:
    cnn(tmp_path, "cnn.safetensors")
    lines, text, manifest = draft(tmp_path)
    assert manifest.probe is None
    assert "# [probe]" in text
    assert "how many inputs there are" in text
    assert "could not tell: how many inputs the networks take" in lines


def test_many_variables_stand_in_a_list(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors", widths=(MANY + 1, 8, 1))
    _, text, manifest = draft(tmp_path)
    assert len(manifest.probe.variables) == MANY + 1
    assert '    { name = "x1", low = -1.0, high = 1.0 },' in text


def test_rows_that_fit_are_shown(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    rows = "\n".join(["m1,m2,r", *(f"{n},{n + 1},{n / 2}" for n in range(9))])
    (tmp_path / "rows.csv").write_text(rows)
    lines, _, manifest = draft(tmp_path)
    assert manifest.probe.rows == "rows.csv"
    assert [v.name for v in manifest.probe.variables] == ["m1", "m2", "r"]
    assert "found rows to show them: rows.csv" in lines
    assert not any("range" in text or "what the inputs mean" in text for text in lines)
    assert open_study(tmp_path).probe.inputs.shape == (9, 3)


def test_rows_without_names_below_the_folder(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    (tmp_path / "data [1]").mkdir()
    np.save(tmp_path / "data [1]" / "rows.npy", np.random.default_rng(0).normal(size=(20, 3)))
    np.save(tmp_path / "labels.npy", np.arange(20))
    lines, text, manifest = draft(tmp_path)
    assert manifest.probe.rows == "data [1]/rows.npy"
    assert [v.name for v in manifest.probe.variables] == ["x1", "x2", "x3"]
    assert 'name = "x1"  # could not tell: set a name with a meaning' in text
    assert line(lines, "not used").startswith("not used: labels.npy: is an array of shape")
    assert open_study(tmp_path).probe.inputs.shape == (20, 3)


def test_rows_of_images_need_no_names(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors", widths=(64, 8, 10))
    np.save(tmp_path / "images.npy", np.random.default_rng(0).normal(size=(20, 8, 8)))
    manifest = draft(tmp_path)[2]
    assert manifest.probe.rows == "images.npy"
    assert manifest.probe.variables == ()


def test_rows_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    (tmp_path / "all.csv").write_text("m1,m2,r,force\n" + "1,2,3,4\n" * 9)
    (tmp_path / "bad.csv").write_text("m1,m2,r\n" + "1,2,3\n" * 9 + "1,2,\n")
    os.mkfifo(tmp_path / "pipe.csv")
    lines, _, manifest = draft(tmp_path)
    assert manifest.probe.rows is None
    notes = [text for text in lines if text.startswith("not used: ")]
    assert notes == [
        "not used: all.csv: has 4 columns of numbers, the networks take 3",
        "not used: bad.csv: holds NaN or infinite numbers in 1 of 10 rows, the first at row 10, r",
        "not used: pipe.csv: is no plain file of moderate size",
    ]


def test_which_rows_is_said_where_several_fit(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    for name in ("test", "train"):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(20, 3)))
    lines = draft(tmp_path)[0]
    assert "could not tell: which rows to show; took test.npy, could be train.npy" in lines


def test_refused_files_are_reported_and_never_matched(tmp_path: Path) -> None:
    for number in range(12):
        mlp(tmp_path, f"net-{number:02}.safetensors")
    cut = tmp_path / "net-05.safetensors"
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(print))
    (tmp_path / "README.md").write_text("nothing to see")
    lines, _, manifest = draft(tmp_path)
    aside = [text for text in lines if text.startswith("set aside: ")]
    assert [text.split()[2] for text in aside] == ["evil.pt", "net-05.safetensors"]
    assert len(sources(open_study(tmp_path))) == 11
    assert "net-1*.safetensors" in paths(manifest)
    assert all(not (tmp_path / "net-05.safetensors").match(path) for path in paths(manifest))


def test_odd_weights_are_reported(tmp_path: Path) -> None:
    weights = {"0.weight": np.full((2, 3), np.nan, np.float32)}
    save_file(weights, tmp_path / "a.safetensors")
    assert "odd: a.safetensors: nan: 0.weight" in draft(tmp_path)[0]


HOSTILE = [
    *("a[1].safetensors", "a1.safetensors", "*.safetensors", "?.safetensors", "b.safetensors", "[!a].npz"),
    *('quo"te.safetensors', "back\\slash", "new\nline.safetensors", "package:os", "bell\x07.safetensors"),
    *("bell\x7f.safetensors", "\u202egpj.safetensors", "'''.safetensors", '"""', "zoo.toml.safetensors"),
    *("b.npz", "[x]/a[1].safetensors", "package:sys/a.safetensors", "#.safetensors", "ü.safetensors"),
]


def test_names_that_strangers_chose_are_matched_literally(tmp_path: Path) -> None:
    for number, name in enumerate(HOSTILE):
        mlp(tmp_path, name, metadata=TANH if number % 2 else None)
    _, _, manifest = draft(tmp_path)
    found = sources(open_study(tmp_path))
    assert sorted(source.place.file.relative_to(tmp_path).as_posix() for source in found) == sorted(HOSTILE)
    assert all(table.activation is None for table in manifest.networks)


def test_a_name_that_is_not_text_is_set_aside(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    try:
        os.rename(mlp(tmp_path, "b.safetensors"), os.fsencode(tmp_path) + b"/b\xff.safetensors")
    except OSError:
        pytest.skip("this file system knows no such names")
    lines, _, manifest = draft(tmp_path)
    assert "has a name that is not text (rename the file)" in line(lines, "set aside")
    assert paths(manifest) == ["a.safetensors"]


def test_files_that_differ_in_the_suffix_alone_are_named(tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.st", "c.safetensors"):
        mlp(tmp_path, name)
    _, _, manifest = draft(tmp_path)
    assert [table.name for table in manifest.networks] == [None, "a.safetensors", "a.st"]
    assert {source.name for source in sources(open_study(tmp_path))} == {"a.safetensors", "a.st", "c"}


def test_the_same_name_in_two_folders(tmp_path: Path) -> None:
    mlp(tmp_path, "one/a.safetensors")
    mlp(tmp_path, "two/a.safetensors")
    assert paths(draft(tmp_path)[2]) == ["*/*.safetensors"]
    assert {source.name for source in sources(open_study(tmp_path))} == {"one/a", "two/a"}


def test_a_glob_without_suffix_does_not_match_the_draft_itself(tmp_path: Path) -> None:
    for name in ("net1", "net2"):
        mlp(tmp_path, name)
    assert paths(draft(tmp_path)[2]) == ["net*"]


def test_hidden_files_are_passed_by_and_deeper_ones_found(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    mlp(tmp_path, ".hidden.safetensors")
    mlp(tmp_path, ".consilience/b.safetensors")
    (tmp_path / "one").mkdir()
    mlp(tmp_path / "one", "two/c.safetensors")
    assert paths(draft(tmp_path)[2]) == ["a.safetensors", "one/two/c.safetensors"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.sets(
        st.text("ab-1[*?", min_size=1, max_size=4).map("{}.x".format)
        | st.text("ab", min_size=1, max_size=2).map("d/{}.y".format),
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_patterns_match_the_files_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, present: set[str], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cover")
    (folder / "d").mkdir()
    for file in present:
        (folder / file).touch()
    wanted = data.draw(st.sets(st.sampled_from(sorted(present)), min_size=1))
    patterns = cover(folder, sorted(wanted), coming="zoo.toml")
    matched = [{path.relative_to(folder).as_posix() for path in folder.glob(pattern)} for pattern, _ in patterns]
    assert [set(files) for _, files in patterns] == matched
    assert set().union(*matched) == wanted
    assert sum(map(len, matched)) == len(wanted)
    if wanted == present and len({Path(file).suffix for file in wanted}) == 1:
        assert len(patterns) == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives_quoting(text: str) -> None:
    assert tomllib.loads(f"a = {quoted(text)}  # {plain(text)}") == {"a": text}


def test_nothing_is_overwritten_unless_forced(tmp_path: Path) -> None:
    mlp(tmp_path, "a.safetensors")
    path = tmp_path / "zoo.toml"
    path.write_text("mine")
    assert "--force" in refused(tmp_path, r"zoo\.toml: is already there").hint
    assert path.read_text() == "mine"
    draft_manifest(tmp_path, force=True)
    assert read_manifest(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.safetensors", "zoo.toml"]


def test_a_link_in_the_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    mlp(tmp_path, "zoo/a.safetensors")
    (tmp_path / "zoo" / "zoo.toml").symlink_to(tmp_path / "elsewhere")
    refused(tmp_path / "zoo", "is already there")
    draft_manifest(tmp_path / "zoo", force=True)
    assert not (tmp_path / "elsewhere").exists()


def test_no_such_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none", "no such folder").hint


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    assert refused(mlp(tmp_path, "a.safetensors"), "is a file, not a folder").hint


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "safetensors, torch, npz" in refused(tmp_path, "holds no checkpoint$").hint
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"")
    assert refused(tmp_path, r"none of 1 checkpoint can be read, the first: a\.pt is empty").hint
    assert not (tmp_path / "zoo.toml").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    assert refused(tmp_path, "Permission denied").hint


def test_the_same_folder_gives_the_same_draft(tmp_path: Path) -> None:
    for number, name in enumerate(HOSTILE):
        mlp(tmp_path, name, metadata=TANH if number % 3 else None)
    first = draft(tmp_path)[1]
    draft_manifest(tmp_path, force=True)
    assert (tmp_path / "zoo.toml").read_text(encoding="utf-8") == first
