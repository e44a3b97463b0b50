"""Read checkpoints that lie in several files, by the index that says which tensor is in which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from .checkpoint import LONGEST_NAME, MOST_TENSORS, Checkpoint, Wanted
from .errors import Refused, one_line
from .plain_json import read_json
from .weights import Place, Weights

LARGEST_INDEX = 16 << 20
MOST_SHARDS = 4096
FORMATS = ("safetensors", "torch")
_HINT = "get the index and all files that it names again"


def read_index(path: Path, beside: Mapping[str, Path], read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Read the tensors that an index names out of the shards beside it; `read` reads one shard.

    Raises Wanted where shards are not among `beside` yet, and Refused (damaged, outside, bomb, and what
    reading a shard raises).
    """
    homes = _homes(path)
    shards = tuple(dict.fromkeys(homes.values()))
    if missing := tuple(shard for shard in shards if shard not in beside):
        raise Wanted(missing)
    parts = {shard: _read_shard(shard, beside[shard], read) for shard in shards}
    places = {name: _place(name, shard, parts[shard]) for name, shard in homes.items()}
    beyond = sum(len(part.tensors) for part in parts.values()) - len(places)
    odd = (f"left-out: {beyond} tensors of the shards that the index does not name",) if beyond else ()
    formats = sorted({part.format for part in parts.values()})
    metadata = {key: value for part in parts.values() for key, value in part.metadata.items()}
    return Checkpoint(formats[0], Weights(places), metadata, odd)


def check_names(names: tuple[str, ...]) -> None:
    """Refuse names of files that are not plain ways down from where the main file lies.

    Raises Refused (outside, bomb).
    """
    if len(names) > MOST_SHARDS:
        raise Refused("bomb", f"names {len(names):,} files beside it", hint=_HINT)
    for name in names:
        parts = name.split("/")
        if len(name) > LONGEST_NAME or not name.isprintable() or "\\" in name or {"", ".", ".."} & set(parts):
            raise Refused("outside", f"names a file that is not beside it ({_shown(name)})", hint=_HINT)
        if PurePosixPath(name).is_absolute() or ":" in parts[0]:
            raise Refused("outside", f"names a file that is not beside it ({_shown(name)})", hint=_HINT)


def _homes(path: Path) -> dict[str, str]:
    index = read_json(path, "index", largest=LARGEST_INDEX)
    homes = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(homes, dict) or not homes or not all(isinstance(shard, str) for shard in homes.values()):
        raise Refused("damaged", "is an index without a weight_map from tensors to files", hint=_HINT)
    if len(homes) > MOST_TENSORS or any(len(name) > LONGEST_NAME for name in homes):
        raise Refused("bomb", "names far too many tensors, or by names that are far too long", hint=_HINT)
    check_names(tuple(dict.fromkeys(homes.values())))
    return homes


def _read_shard(name: str, path: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    try:
        found = read(path)
    except Refused as refusal:
        raise Refused(refusal.code, f"has a part, {_shown(name)}, that {refusal.what}", hint=refusal.hint) from None
    if found.format not in FORMATS:
        raise Refused("damaged", f"has a part, {_shown(name)}, that is {found.format}", hint=_HINT)
    return found


def _place(name: str, shard: str, part: Checkpoint) -> Place:
    assert isinstance(part.tensors, Weights)  # as those of FORMATS are
    if name not in part.tensors:
        raise Refused("damaged", f"names {_shown(name)}, which is not in {_shown(shard)}", hint=_HINT)
    return part.tensors.places[name]


def _shown(name: str) -> str:
    return one_line(name[:80])
