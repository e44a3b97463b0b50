"""Which checkpoints a path means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from consilience.zoo.errors import BadInput
from consilience.zoo.locate import locate, locate_given, name_of


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(places: list, folder: Path) -> list[str]:
    return [place.file.relative_to(folder).as_posix() for place in places]


def test_a_file_a_glob_and_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.pt", "b.pt", "deep/c.npz", "deep/er/d.onnx", "notes.md", "rows.csv", ".hidden/e.pt", ".f.pt")
    assert found(locate("a.pt", folder=tmp_path), tmp_path) == ["a.pt"]
    assert found(locate("*.pt", folder=tmp_path), tmp_path) == [".f.pt", "a.pt", "b.pt"]
    assert found(locate("deep", folder=tmp_path), tmp_path) == ["deep/c.npz", "deep/er/d.onnx"]
    whole = ["a.pt", "b.pt", "deep/c.npz", "deep/er/d.onnx"]
    assert found(locate(".", folder=tmp_path), tmp_path) == whole
    assert found(locate_given(str(tmp_path)), tmp_path) == whole
    assert found(locate_given(f"{tmp_path}/*.pt"), tmp_path) == [".f.pt", "a.pt", "b.pt"]
    assert {place.inside for place in locate_given(str(tmp_path / "deep"))} == {tmp_path / "deep"}
    assert locate("missing.pt", folder=tmp_path)[0].file == tmp_path / "missing.pt"
    assert locate("*.nothing", folder=tmp_path) == []


def test_a_file_whose_name_has_signs_of_a_glob(tmp_path: Path) -> None:
    put(tmp_path, "a[1].pt")
    assert found(locate_given(str(tmp_path / "a[1].pt")), tmp_path) == ["a[1].pt"]


def test_shards_count_once(tmp_path: Path) -> None:
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    put(tmp_path, *shards, "model.safetensors.index.json", "alone-00001-of-00009.safetensors")
    expected = ["alone-00001-of-00009.safetensors", "model.safetensors.index.json"]
    assert found(locate(".", folder=tmp_path), tmp_path) == expected
    assert found(locate("*", folder=tmp_path), tmp_path) == expected
    assert found(locate("*.safetensors", folder=tmp_path), tmp_path) == expected
    assert [name_of(place) for place in locate(".", folder=tmp_path)] == ["alone-00001-of-00009", "model"]


def test_a_hugging_face_folder_is_one_network(tmp_path: Path) -> None:
    put(tmp_path, "zoo/bert/config.json", "zoo/bert/model.safetensors", "zoo/bert/tokenizer.json", "zoo/a.pt")
    assert found(locate("zoo", folder=tmp_path), tmp_path) == ["zoo/a.pt", "zoo/bert"]
    assert found(locate("zoo/*", folder=tmp_path), tmp_path) == ["zoo/a.pt", "zoo/bert"]
    assert found(locate_given(str(tmp_path / "zoo/bert")), tmp_path) == ["zoo/bert"]
    assert [name_of(place) for place in locate("zoo", folder=tmp_path)] == ["a", "bert"]


def test_a_package(tmp_path: Path) -> None:
    (place,) = locate("package:consilience/py.typed", folder=tmp_path)
    assert place.file.is_file()
    with pytest.raises(BadInput, match="'nowhere_to_be' is not installed") as caught:
        locate("package:nowhere_to_be/a.pt", folder=tmp_path)
    assert "pip install nowhere-to-be" in caught.value.hint


def test_a_glob_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\*\*a"):
        locate("/*/**a/../*", folder=tmp_path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hub with one model in it, laid out as huggingface_hub does: links to blobs."""
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants as constants

    root = tmp_path / "hub"
    model = root / "models--owner--tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    put(model, "blobs/aaa", "blobs/bbb")
    (model / "blobs/bbb").write_text(json.dumps({"model_type": "bert"}))
    (model / "refs").mkdir()
    (model / "refs/main").write_text(commit)
    (model / "snapshots" / commit).mkdir(parents=True)
    (model / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/aaa")
    (model / "snapshots" / commit / "config.json").symlink_to("../../blobs/bbb")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


def test_a_name_on_the_hub_is_found_in_its_cache(cache: Path, tmp_path: Path) -> None:
    (place,) = locate("hf:owner/tiny", folder=tmp_path)
    assert place.file.parent.parent == place.inside == cache / "models--owner--tiny"
    assert place.linked
    assert name_of(place) == "owner/tiny"


@pytest.mark.parametrize(
    ("name", "said"), [("hf:owner/other", "cannot be fetched"), ("hf:a/b/c", "no name of a model")]
)
def test_a_name_on_the_hub_that_is_not_there(cache: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        locate(name, folder=tmp_path)
