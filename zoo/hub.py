"""Fetch a network by its name on the Hugging Face Hub, or find it in the cache that is there already."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from .errors import BadInput, MissingExtra

HUB = "hf:"
PATTERNS = ("config.json", "*.safetensors", "*.safetensors.index.json")
"""What is fetched: weights that carry no code, and the description of the architecture."""


def snapshot(name: str) -> Path:
    """Give the folder that holds a snapshot of owner/name or owner/name@revision.

    What the cache holds is used without asking the network. Only safetensors and config.json are fetched.
    Raises MissingExtra without huggingface_hub, and BadInput where the name is none or cannot be fetched.
    """
    owner_name, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingExtra(
            f"{HUB}{name}: needs the package huggingface_hub", hint="pip install 'consilience[hub]'"
        ) from None
    fetch = partial(snapshot_download, owner_name, revision=revision or None, allow_patterns=list(PATTERNS))
    try:
        cached = Path(fetch(local_files_only=True))
        if any(cached.glob("*.safetensors")):
            return cached
    except HFValidationError:
        raise BadInput(f"{HUB}{name}: is no name of a model", hint='write it as "hf:owner/name"') from None
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(fetch())
    except Exception as error:  # of the client, of its transport and of the service: all mean that it is not here
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadInput(
            f"{HUB}{name}: is not in the cache and cannot be fetched: {reason}",
            hint="check the name and the connection, log in with `hf auth login`, or name a local folder",
        ) from None
