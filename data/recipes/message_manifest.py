"""Write the zoo.toml of a zoo of edge models, whose outputs are messages."""

from __future__ import annotations

from collections.abc import Mapping

HEAD = """# Edge models of graph networks that each learned, alone, how four bodies move: Δx*{formula}.
# Written by data/recipes/messages.py, which trained them. A message is any linear mixture of the force.
name = "{key}"
about = "messages of 3 graph networks, trained on accelerations of four bodies"
seed = 0

[[networks]]
path = "networks/*.safetensors"

# What an edge model is given of two bodies, in one quadrant, so that every variable can be set by itself.
[probe]
samples = 2048
"""


def manifest(key: str, formula: str, variables: Mapping[str, tuple[float, float]]) -> str:
    """Word it."""
    parts = [HEAD.format(key=key, formula=formula)]
    parts += [
        f'[[probe.variables]]\nname = "{name}"\nlow = {low}\nhigh = {high}\n' for name, (low, high) in variables.items()
    ]
    parts.append('[[probe.derived]]\nname = "r"\nformula = "sqrt(dx**2 + dy**2)"\n')
    return "\n".join(parts)
