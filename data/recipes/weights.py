"""Write a network's weights the same way every time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import nn


def save_weights(network: nn.Module, path: Path, *, metadata: Mapping[str, str]) -> None:
    """Write a state dict as safetensors; equal weights and metadata give equal bytes.

    The library leaves the order of the metadata to chance, so the header is written anew, in order.
    """
    content = save(network.state_dict(), metadata={"format": "pt", **metadata})
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned to 8 bytes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])


def count_parameters(network: nn.Module) -> int:
    """Count the numbers that training may change."""
    return sum(parameter.numel() for parameter in network.parameters())
