"""Indices of shards that lead elsewhere, and folders whose config.json says strange things."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from hostile_case import ANY, READ, REFUSED, Case, Place
from hostile_safetensors import network, written

Files = Mapping[str, bytes | Callable[[Path], object]]


def folder(files: Files) -> Callable[[Path], None]:
    """Write files into the folder in which a case lies."""

    def write(path: Path) -> None:
        for name, content in files.items():
            target = path.parent / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(target)
            else:
                target.write_bytes(content)

    return write


def sharded(seed: int) -> dict[str, bytes]:
    tensors = network(seed)
    first, last = ("0.weight", "0.bias"), ("2.weight", "2.bias")
    shards = {f"model-0000{n}-of-00002.safetensors": names for n, names in ((1, first), (2, last))}
    content = {shard: written({name: tensors[name] for name in names}) for shard, names in shards.items()}
    where = {name: shard for shard, names in shards.items() for name in names}
    return content | {"model.safetensors.index.json": index(where)}


def index(where: object) -> bytes:
    return json.dumps({"metadata": {"total_size": 104}, "weight_map": where}).encode()


def index_cases(place: Place) -> Iterator[Case]:
    """Lead a reader of indices astray."""
    shard = "model-00001-of-00001.safetensors"
    outside = place.outside / "secret.safetensors"
    good = {shard: written(network(60))}
    pickled = pickle_of(place, "shard")
    names = list(network(60))
    here = dict.fromkeys(names, shard)

    def leads(target: str, more: Files | None = None) -> Files:
        return (more or {}) | {"model.safetensors.index.json": index(dict.fromkeys(names, target))}

    up = place.up("index/x/model", "secret.safetensors")
    tricks: dict[str, tuple[str, Files]] = {
        "absolute": ("a shard by its absolute path", leads(str(outside))),
        "up": ("a shard in a folder above", leads(up)),
        "up-and-down": ("a shard above, by way of a folder that is there", leads(f"a/../{up}", {"a/x.txt": b""})),
        "backslash": ("a shard above, written as Windows does", leads("..\\..\\outside\\secret.safetensors")),
        "url": ("a shard on the web", leads("https://example.org/model.safetensors")),
        "file-url": ("a shard as a file URL", leads(f"file://{outside}")),
        "nul": ("a shard with a NUL in its name", leads("model\0.safetensors")),
        "empty": ("a shard without a name", leads("")),
        "itself": ("an index that names itself", leads("model.safetensors.index.json")),
        "missing": ("a shard that is not there", leads(shard)),
        "folder": ("a shard that is a folder", leads(shard, {f"{shard}/x.txt": b""})),
        "link": ("a shard that is a link to the outside", leads(shard, {shard: lambda p: p.symlink_to(outside)})),
        "linked-folder": (
            "a shard in a linked folder",
            leads("sub/secret.safetensors", {"sub": lambda p: p.symlink_to(place.outside)}),
        ),
        "pipe": ("a shard that is a pipe", leads(shard, {shard: os.mkfifo})),
        "device": ("a shard that is a device", leads(shard, {shard: lambda p: p.symlink_to("/dev/zero")})),
        "pickle": ("a shard that is a pickle", leads(shard, {shard: pickled})),
        "broken": ("a shard that is broken", leads(shard, {shard: b"\x02" + bytes(9)})),
        "surrogate": ("a shard whose name is half a letter", leads("\ud800.safetensors")),
        "long": ("a shard with a name of 100,000 letters", leads("n" * 100_000)),
        "not-text": ("a shard that is a number", good | {"model.safetensors.index.json": index({"w": 5})}),
        "not-map": ("a list in place of the map", good | {"model.safetensors.index.json": index([1])}),
        "no-map": ("no map", good | {"model.safetensors.index.json": b"{}"}),
        "not-json": ("no JSON", good | {"model.safetensors.index.json": b"weight_map"}),
        "deep": ("JSON of 100,000 levels", good | {"model.safetensors.index.json": b'{"weight_map":' + b"[" * 100_000}),
        "twice": (
            "a name twice",
            good | {"model.safetensors.index.json": f'{{"weight_map":{{"a":"{shard}","a":"{shard}"}}}}'.encode()},
        ),
        "too-many": (
            "an index of 200,000 shards",
            good | {"model.safetensors.index.json": index({f"w{n}": f"{n}.safetensors" for n in range(200_000)})},
        ),
        "lacking": (
            "a tensor that its shard does not have",
            good | {"model.safetensors.index.json": index(here | {"w": shard})},
        ),
        "hidden": (
            "a tensor that the index does not name",
            good | {"model.safetensors.index.json": index({"0.bias": shard})},
        ),
        "spelt": (
            "one shard under two spellings",
            good | {"model.safetensors.index.json": index(here | {"0.bias": f"./{shard}"})},
        ),
    }
    for trick, (why, files) in tricks.items():
        becomes = ANY if trick in ("spelt", "hidden") else REFUSED
        parts = tuple(f"index/{trick}/{name}" for name in files if not name.endswith(".json"))
        yield Case(f"index/{trick}/model.safetensors.index.json", why, folder(files), becomes, parts=parts)


def own_cases() -> Iterator[Case]:
    """Name the program's own files as weights, from the folder in which it keeps them."""
    own = ".consilience/catalogue.duckdb"
    yield Case("own.safetensors.index.json", "the catalogue as a shard", index({"0.weight": own}))
    yield Case("own-lock.safetensors.index.json", "the lock as a shard", index({"0.weight": ".consilience/run.lock"}))


def folder_cases(place: Place) -> Iterator[Case]:
    """Say strange things in a config.json that lies beside good weights."""
    weights = written(network(80))
    evil = place.python("remote").encode()
    secret = place.outside / "secret.json"
    bert = {"model_type": "bert", "architectures": ["BertModel"]}
    configs: dict[str, tuple[str, bytes | Callable[[Path], object]]] = {
        "remote-code": (
            "code of its own",
            json.dumps(
                {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
            ).encode(),
        ),
        "remote-known": (
            "code of its own under a known name",
            json.dumps(bert | {"auto_map": {"AutoModel": "evil.Model"}}).encode(),
        ),
        "billions": ("billions of layers", json.dumps(bert | {"num_hidden_layers": 10**9}).encode()),
        "wide": (
            "layers of terabytes",
            json.dumps(bert | {"hidden_size": 10**9, "num_attention_heads": 1, "vocab_size": 10**9}).encode(),
        ),
        "vast-positions": (
            "a table of positions of terabytes",
            json.dumps(bert | {"max_position_embeddings": 10**11}).encode(),
        ),
        "labels": ("a trillion labels", json.dumps(bert | {"num_labels": 10**12}).encode()),
        "negative": ("negative sizes", json.dumps(bert | {"hidden_size": -768}).encode()),
        "texts": (
            "texts in place of sizes",
            json.dumps(bert | {"hidden_size": "__import__('os')", "num_hidden_layers": None}).encode(),
        ),
        "zero-heads": ("no heads", json.dumps(bert | {"num_attention_heads": 0}).encode()),
        "nested-model": ("a network in a network in a network", json.dumps(nested_config(400)).encode()),
        "type-path": ("a path in place of a type", json.dumps({"model_type": "../../evil"}).encode()),
        "type-list": (
            "a list in place of a type",
            json.dumps({"model_type": ["bert"], "architectures": "BertModel"}).encode(),
        ),
        "hub": (
            "a name on the Hub to go on with",
            json.dumps(
                bert
                | {"_name_or_path": "https://example.org/x", "backbone": "owner/evil", "use_pretrained_backbone": True}
            ).encode(),
        ),
        "timm": (
            "a timm network that there is not",
            json.dumps(
                {"architecture": "../evil", "pretrained_cfg": {"url": "http://example.org", "file": str(secret)}}
            ).encode(),
        ),
        "timm-args": (
            "arguments that would fetch weights",
            json.dumps(
                {
                    "architecture": "resnet18",
                    "pretrained_cfg": {"hf_hub_id": "owner/evil"},
                    "model_args": {"pretrained": True, "checkpoint_path": str(secret)},
                }
            ).encode(),
        ),
        "deep": ("JSON of 100,000 levels", b'{"model_type":' + b"[" * 100_000),
        "large": ("a config.json of 30 MB", b'{"model_type":"' + b"x" * (30 << 20) + b'"}'),
        "digits": ("a number of 500,000 digits", b'{"model_type":"bert","hidden_size":' + b"9" * 500_000 + b"}"),
        "not-json": ("no JSON", b"\xff\xfe\x00"),
        "list": ("a list", b"[1, 2]"),
        "not-a-number": (
            "not-a-number as a size",
            b'{"model_type":"bert","hidden_size":NaN,"layer_norm_eps":Infinity}',
        ),
        "surrogates": ("half letters", b'{"model_type":"\\ud800","id2label":{"0":"\\udfff"}}'),
        "link": ("a config.json that is a link to the outside", lambda path: path.symlink_to(secret)),
        "pipe": ("a config.json that is a pipe", os.mkfifo),
    }
    for trick, (why, config) in configs.items():
        files: Files = {"config.json": config, "model.safetensors": weights, "evil.py": evil, "modeling_evil.py": evil}
        whole = trick != "pipe"
        name = f"hub/{trick}" if whole else f"hub/{trick}/model.safetensors"
        yield Case(
            name, why, _beside(files, inside=whole), ANY, parts=(f"hub/{trick}/model.safetensors", f"hub/{trick}")
        )
    linked: Files = {
        "config.json": b"{}",
        "model.safetensors": lambda path: path.symlink_to(place.outside / "secret.safetensors"),
    }
    yield Case("hub/linked-weights", "weights that are a link to the outside", _beside(linked, inside=True))
    pickled: Files = {"config.json": b'{"model_type":"bert"}', "pytorch_model.bin": pickle_of(place, "hub")}
    yield Case("hub/pickled", "a pickle in the place of the weights", _beside(pickled, inside=True))


def pickle_of(place: Place, case: str) -> bytes:
    """Pickle a call that would leave a canary behind."""
    return b"\x80\x02cposix\nsystem\n(V" + place.shell(case).encode() + b"\ntR."


def nested_config(depth: int) -> dict[str, object]:
    config: dict[str, object] = {"model_type": "bert"}
    for _ in range(depth):
        config = {"model_type": "encoder-decoder", "encoder": config, "decoder": {"model_type": "bert"}}
    return config


def _beside(files: Files, *, inside: bool) -> Callable[[Path], None]:
    write = folder(files)
    return lambda path: write(path / "x" if inside else path)


def honest() -> Iterator[Case]:
    """Write what users have."""
    shards = sharded(6)
    parts = tuple(f"honest/sharded/{name}" for name in shards if not name.endswith(".json"))
    yield Case(
        "honest/sharded/model.safetensors.index.json", "shards and their index", folder(shards), READ, parts=parts
    )
    config: Files = {"config.json": b'{"hidden_act": "tanh"}', "model.safetensors": written(network(7))}
    yield Case("honest/folder", "a folder with config.json", _beside(config, inside=True), READ)


def cases(place: Place) -> Iterator[Case]:
    """Give all cases of this module."""
    yield from honest()
    yield from index_cases(place)
    yield from own_cases()
    yield from folder_cases(place)
