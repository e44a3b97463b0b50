"""Hugging Face folders compute what transformers does with them; a config.json that a stranger wrote costs little."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from consilience.zoo import build_transformers
from consilience.zoo.architecture import build_network
from consilience.zoo.blueprint import Blueprint
from consilience.zoo.build_transformers import assemble
from consilience.zoo.checkpoint import Checkpoint
from consilience.zoo.errors import Refused
from consilience.zoo.network import Network, predict, untrained_twin

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS: dict[str, Any] = {"vocab_size": 40, "max_position_embeddings": 24}
SQUARE: dict[str, Any] = {"image_size": 16, "patch_size": 8}
GPT: dict[str, Any] = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24}
RESNET: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vit": ("ViTModel", "ViTConfig", SMALL | SQUARE),
    "vit classifier": ("ViTForImageClassification", "ViTConfig", SMALL | SQUARE | {"num_labels": 5}),
    "dinov2": ("Dinov2Model", "Dinov2Config", {"image_size": 28, **dict(list(SMALL.items())[:3])}),
    "bert": ("BertModel", "BertConfig", SMALL | WORDS),
    "bert fill-in": ("BertForMaskedLM", "BertConfig", SMALL | WORDS),
    "gpt2": ("GPT2Model", "GPT2Config", GPT),
    "gpt2 writer": ("GPT2LMHeadModel", "GPT2Config", GPT),
    "gpt2 classifier": ("GPT2ForSequenceClassification", "GPT2Config", GPT),
    "llama": ("LlamaForCausalLM", "LlamaConfig", SMALL | WORDS | {"num_key_value_heads": 2}),
    "mixtral": (
        "MixtralForCausalLM",
        "MixtralConfig",
        SMALL | WORDS | {"num_key_value_heads": 2, "num_local_experts": 2},
    ),
    "albert": ("AlbertModel", "AlbertConfig", SMALL | WORDS | {"embedding_size": 8}),
    "t5": (
        "T5Model",
        "T5Config",
        {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    ),
    "resnet": ("ResNetModel", "ResNetConfig", RESNET),
    "resnet classifier": ("ResNetForImageClassification", "ResNetConfig", RESNET | {"num_labels": 5}),
    "swin": (
        "SwinModel",
        "SwinConfig",
        {"image_size": 32, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
    ),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": SMALL | WORDS, "vision_config": SMALL | SQUARE, "projection_dim": 8},
    ),
}


@pytest.fixture(scope="module")
def transformers() -> Iterator[ModuleType]:
    module = pytest.importorskip("transformers")
    module.logging.set_verbosity_error()
    module.logging.disable_progress_bar()
    yield module
    assert module.logging.get_verbosity() == module.logging.ERROR


@pytest.fixture(scope="module")
def folder_of(transformers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save a tiny model as its makers do, once."""
    folders: dict[str, Path] = {}

    def save(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("folder")
            kind, config, settings = MODELS[name]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = getattr(transformers, kind)(getattr(transformers, config)(**settings))
                for weights in model.parameters():  # none is left as zero or one
                    weights.data += 0.05 * torch.randn_like(weights)
                model.save_pretrained(folders[name])
        return folders[name]

    return save


def read(folder: Path, **more: Any) -> Checkpoint:
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    return Checkpoint("safetensors", tensors, {}, config=config | more)


def build(source: Checkpoint, **changes: Any) -> Network:
    settings: dict[str, Any] = {"name": "n", "digest": "d", "lineage": "n", "example": None, "search_path": Path()}
    return build_network(source, **(settings | changes))


def refused(source: Checkpoint, match: str, **changes: Any) -> Refused:
    with pytest.raises(Refused, match=match) as caught:
        build(source, **changes)
    assert caught.value.hint
    return caught.value


def rows_for(network: Network) -> np.ndarray:
    generator = np.random.default_rng(0)
    if len(network.input_shape) == 3:
        return generator.normal(size=(3, *network.input_shape))
    return generator.integers(0, 40, size=(3, *network.input_shape)).astype(float)


def said_by(model: Any, rows: np.ndarray, name: str) -> np.ndarray:
    """Ask transformers' own model for what is taken of it."""
    if name == "clip":
        model = model.vision_model
    elif name == "t5":
        model = model.encoder
    elif name == "gpt2 classifier":
        model.config.pad_token_id = -1
    inputs = torch.tensor(rows, dtype=torch.float32 if rows.ndim == 4 else torch.int64)
    with torch.no_grad():
        found = model(inputs)
    value = next(found[key] for key in ("logits", "pooler_output", "last_hidden_state") if found.get(key) is not None)
    if value.ndim == 3:
        value = value[:, -1] if name in ("gpt2 writer", "llama", "mixtral") else value.mean(1)
    return value.flatten(1).numpy()


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_computes_what_transformers_does(
    name: str, transformers: ModuleType, folder_of: Callable[[str], Path]
) -> None:
    folder = folder_of(name)
    network = build(read(folder), options={"part": "vision_model"} if name == "clip" else {})
    rows = rows_for(network)
    model = getattr(transformers, MODELS[name][0]).from_pretrained(folder)
    np.testing.assert_allclose(predict(network, rows), said_by(model, rows, name), atol=1e-6)


@pytest.mark.parametrize("name", ["vit", "dinov2", "bert", "gpt2", "resnet"])
def test_the_auto_class_says_the_same(name: str, transformers: ModuleType, folder_of: Callable[[str], Path]) -> None:
    network = build(read(folder_of(name)))
    rows = rows_for(network)
    model = transformers.AutoModel.from_pretrained(folder_of(name))
    np.testing.assert_allclose(predict(network, rows), said_by(model, rows, name), atol=1e-6)


def test_layers_keep_the_names_of_the_model(folder_of: Callable[[str], Path]) -> None:
    network = build(read(folder_of("vit")))
    assert "embeddings.patch_embeddings.projection" in [layer.name for layer in network.layers]
    assert network.input_shape == (3, 16, 16)
    assert set(network.module.state_dict()) == set(network.module.runs[0].state_dict())


def test_a_copy_stands_on_its_own(folder_of: Callable[[str], Path]) -> None:
    network = build(read(folder_of("bert")))
    rows = rows_for(network)
    before = predict(network, rows)
    twin = untrained_twin(network, seed=1)
    assert np.abs(predict(twin, rows) - before).max() > 1e-3
    np.testing.assert_array_equal(predict(network, rows), before)
    double = copy.deepcopy(network.module).double()
    assert double(torch.tensor(rows)).dtype == torch.float64


def test_the_probe_says_how_long_a_text_is_and_how_large_an_image(folder_of: Callable[[str], Path]) -> None:
    tokens = np.random.default_rng(0).integers(0, 40, size=(3, 7)).astype(float)
    network = build(read(folder_of("bert")), example=tokens)
    assert network.input_shape == (7,)
    assert predict(network, tokens).shape == (3, 16)
    photos = np.zeros((2, 20, 20, 3), dtype=np.uint8)
    assert build(read(folder_of("vit")), example=photos).input_shape == (3, 16, 16)
    pixels = np.zeros((2, 3 * 64 * 64))
    assert build(read(folder_of("resnet")), example=pixels).input_shape == (3, 64, 64)


def test_options_choose_what_is_taken(folder_of: Callable[[str], Path]) -> None:
    source = read(folder_of("gpt2 writer"))
    taken = {}
    for positions in ("first", "last", "mean", "all"):
        network = build(source, options={"positions": positions})
        taken[positions] = predict(network, rows_for(network))
    assert taken["all"].shape == (3, 16 * 40)
    whole = taken["all"].reshape(3, 16, 40)
    np.testing.assert_allclose(taken["first"], whole[:, 0], atol=1e-6)
    np.testing.assert_allclose(taken["last"], whole[:, -1], atol=1e-6)
    np.testing.assert_allclose(taken["mean"], whole.mean(1), atol=1e-6)
    np.testing.assert_array_equal(predict(build(source), rows_for(build(source))), taken["last"])
    hidden = build(read(folder_of("bert")), options={"output": "last_hidden_state", "positions": "first"})
    assert predict(hidden, rows_for(hidden)).shape == (3, 16)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"poistions": "last"}, "options.poistions is not known"),
        ({"positions": "middle"}, "options.positions is 'middle'"),
        ({"part": "nothing.there"}, "cannot be built as BertModel"),
        ({"output": "nothing"}, "gives no nothing"),
    ],
)
def test_options_that_are_none_are_refused(
    options: Mapping[str, object], match: str, folder_of: Callable[[str], Path]
) -> None:
    assert refused(read(folder_of("bert")), match, options=options).code == "options"


def test_a_model_runs_without_its_head(transformers: ModuleType, folder_of: Callable[[str], Path]) -> None:
    source = read(folder_of("bert fill-in"))
    network = build(source, options={"head": False})
    rows = rows_for(network)
    model = transformers.BertModel.from_pretrained(folder_of("bert fill-in"), add_pooling_layer=False)
    np.testing.assert_allclose(predict(network, rows), said_by(model, rows, "bert"), atol=1e-6)


def test_what_does_not_fit_is_explained(folder_of: Callable[[str], Path]) -> None:
    source = read(folder_of("bert"))
    tensors = dict(source.tensors)
    moved = tensors.pop("encoder.layer.1.output.dense.weight")
    odd = Checkpoint("safetensors", tensors | {"encoder.layer.1.outptu.dense.weight": moved}, {}, config=source.config)
    refusal = refused(
        odd, r"has 1 key that transformers:bert lacks, first 'encoder.layer.1.outptu.dense.weight' \(nearest"
    )
    assert refusal.code == "keys"
    assert "head = false" in refusal.hint
    again = build(odd, rename={"encoder.layer.1.outptu": "encoder.layer.1.output"})
    np.testing.assert_array_equal(predict(again, rows_for(again)), predict(build(source), rows_for(again)))
    refusal = refused(
        read(folder_of("bert"), vocab_size=50), r"of shape \(40, 16\), transformers:bert takes \(50, 16\)"
    )
    assert refusal.code == "shapes"
    headless = read(folder_of("bert"), architectures=["BertForMaskedLM"])
    assert refused(headless, "lacks [0-9] keys that transformers:bert needs").code == "keys"


def test_what_older_versions_saved_though_it_is_computed_does_not_matter(folder_of: Callable[[str], Path]) -> None:
    source = read(folder_of("bert"))
    more = {"embeddings.position_ids": np.arange(24)[None]}
    old = Checkpoint("torch", source.tensors | more, {}, config=source.config)
    np.testing.assert_array_equal(
        predict(build(old), rows_for(build(old))), predict(build(source), rows_for(build(old)))
    )


def test_without_a_config_there_is_no_model(folder_of: Callable[[str], Path]) -> None:
    source = read(folder_of("bert"))
    bare = Checkpoint("safetensors", source.tensors, {})
    assert refused(bare, "has no config.json that says", architecture="transformers:").code == "no-config"
    assert refused(bare, "has no config.json that says", architecture="transformers:bert").code == "no-config"


def test_a_missing_library_stops_only_this_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    source = Checkpoint("safetensors", {"w": np.ones(1)}, {}, config={"model_type": "bert"})
    refusal = refused(source, "needs the package transformers")
    assert refusal.code == "missing-package"
    assert refusal.hint == "pip install 'consilience[transformers]'"


VAST = "far beyond its weights"
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "layers": ({"num_hidden_layers": 10**9}, VAST),
    "layers, fewer": ({"num_hidden_layers": 1100}, "asks for far more weights than it holds"),
    "width": ({"hidden_size": 10**9}, VAST),
    "width, less": ({"hidden_size": 100_000}, "far more weights"),
    "words": ({"vocab_size": 10**400}, "a number of many digits"),
    "positions": ({"max_position_embeddings": 10**9}, VAST),
    "labels": ({"num_labels": 10**12}, VAST),
    "nested": ({"text_config": {"depths": [1, 10**9]}}, VAST),
    "negative": ({"hidden_size": -768}, "cannot be built as transformers:bert"),
    "texts": ({"hidden_size": "__import__('os')"}, "cannot be built as transformers:bert"),
    "floats": ({"num_hidden_layers": 1e9}, "cannot be built as transformers:bert"),
    "no heads": ({"num_attention_heads": 0}, "cannot be built as transformers:bert"),
    "activation": ({"hidden_act": "os.system"}, "cannot be built as transformers:bert"),
    "labels in a list": ({"id2label": [1, 2]}, "cannot be built as transformers:bert"),
    "unknown type": ({"model_type": "mine", "auto_map": {"AutoModel": "evil.Model"}}, "does not know: 'mine'"),
    "type is a path": ({"model_type": "../../evil"}, "does not know"),
    "type without a model": ({"model_type": "align_text_model"}, "that has no model"),
    "quantised": ({"quantization_config": {"quant_method": "gptq"}}, "holds quantised weights"),
    "other type": ({"model_type": "gpt2"}, "transformers:gpt2 (lacks|needs|takes)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_strangers_config_costs_little(case: str, folder_of: Callable[[str], Path]) -> None:
    settings, match = HOSTILE[case]
    source = read(folder_of("bert"), **settings)
    assert refused(source, match).code in ("config", "keys", "shapes")


HARMLESS: dict[str, dict[str, Any]] = {
    "code of its own": {
        "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"},
        "trust_remote_code": True,
    },
    "kernels": {"attn_implementation": "evil/kernels", "_attn_implementation": "evil/kernels", "use_kernels": True},
    "names of methods": {"to_dict": 1, "__class__": "x", "__dict__": {}, "get_text_config": {}},
    "types": {"dtype": "load", "torch_dtype": "float16"},
    "weights elsewhere": {"transformers_weights": "../secret.bin", "_name_or_path": "evil/model"},
    "classes": {"architectures": ["os"]},
    "classes in classes": {"architectures": [["BertModel"]]},
}


@pytest.mark.parametrize("case", HARMLESS)
def test_what_describes_no_model_is_not_looked_at(case: str, folder_of: Callable[[str], Path]) -> None:
    honest = build(read(folder_of("bert")))
    network = build(read(folder_of("bert"), **HARMLESS[case]))
    np.testing.assert_array_equal(predict(network, rows_for(network)), predict(honest, rows_for(network)))


def test_nothing_is_asked_of_the_network(folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    backbone = {"backbone": "evil/model", "use_pretrained_backbone": True, "use_timm_backbone": False}
    source = read(folder_of("bert"), model_type="detr", **backbone)
    assert refused(source, "cannot be built|far more|lacks").code in ("config", "keys")
    with pytest.raises(Refused, match=r"cannot be built|far more|lacks"):  # in this process, whose sockets are watched
        assemble(Blueprint(source, "", None, {}, None, Path()))


def test_what_fits_no_weights_is_met_in_a_process_apart(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_: Blueprint) -> None:
        raise AssertionError("built here")

    monkeypatch.setattr(build_transformers, "assemble", forbidden)
    for settings, match in HOSTILE.values():
        assert refused(read(folder_of("bert"), **settings), match).code in ("config", "keys", "shapes")
    with pytest.raises(AssertionError, match="built here"):
        build(read(folder_of("bert")))
