"""Tell what is odd about a network when it runs: units that never vary, an output that says nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from .network import Network, record

STILL = 1e-7
"""A unit whose spread is at most this share of its largest value does not vary."""


def health(network: Network, inputs: Shaped[np.ndarray, "samples ..."], *, device: str = "cpu") -> tuple[str, ...]:
    """Run a network on some rows and flag values that are not finite, constant outputs and dead units.

    A flag is a code and what it concerns: "dead: 3 of 64 units of fc1, on 256 rows". Raises what `record` does.
    """
    low: dict[str, Float32[np.ndarray, " units"]] = {}
    high: dict[str, Float32[np.ndarray, " units"]] = {}
    for batch in record(network, inputs, device=device):
        for name, values in batch.items():
            least, most = values.post.min(axis=0), values.post.max(axis=0)
            low[name], high[name] = np.minimum(low.get(name, least), least), np.maximum(high.get(name, most), most)
    odd = {name: ~(np.isfinite(low[name]) & np.isfinite(high[name])) for name in low}
    still = {name: ~odd[name] & _still(low[name], high[name]) for name in low}
    (output,) = (layer.name for layer in network.layers if layer.role == "output")
    hidden = {name: units for name, units in still.items() if name != output}
    found = [*_flag("not-finite", odd), *_flag("constant-output", {output: still[output]}), *_flag("dead", hidden)]
    return tuple(f"{flag}, on {len(inputs)} rows" for flag in found)


def _still(low: np.ndarray, high: np.ndarray) -> Bool[np.ndarray, " units"]:
    with np.errstate(invalid="ignore"):
        return np.asarray(high - low <= STILL * np.maximum(np.abs(low), np.abs(high)))


def _flag(code: str, units: dict[str, Bool[np.ndarray, " units"]]) -> Iterator[str]:
    """Count what is odd, by the name of its layer where it is in one alone."""
    odd = {name: found for name, found in units.items() if found.any()}
    if not odd:
        return
    where = f"units of {next(iter(odd))}" if len(odd) == 1 else f"units in {len(odd)} layers"
    yield f"{code}: {sum(int(f.sum()) for f in odd.values())} of {sum(len(f) for f in odd.values())} {where}"
