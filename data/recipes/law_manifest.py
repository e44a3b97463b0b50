"""Write the zoo.toml of a zoo that was trained on a law, with the constants its networks were standardised by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from laws import Law

SAMPLES, SEED = 20_000, 11


@dataclass(frozen=True, slots=True)
class Scales:
    """Constants of a recipe: a network sees (input - shift) / scale, and its output is scaled back."""

    input_shift: tuple[float, ...]
    input_scale: tuple[float, ...]
    output_shift: float = 0.0
    output_scale: float = 1.0


def measure_scales(law: Law) -> Scales:
    """Take the centre and deviation of each range, and the mean and deviation of the law in its box, rounded."""
    low, high = np.array(list(law.box.values())).T
    values = law(law.draw(SAMPLES, seed=SEED))
    return Scales(
        tuple(_rounded(one) for one in (low + high) / 2),
        tuple(_rounded(one) for one in (high - low) / 12**0.5),
        _rounded(values.mean()) if abs(values.mean()) > values.std() / 100 else 0.0,
        _rounded(values.std()),
    )


def write_manifest(
    law: Law, scales: Scales, folder: Path, *, about: str = "", linked: bool = False, architecture: str = ""
) -> None:
    """Write zoo.toml beside the networks."""
    folder.mkdir(parents=True, exist_ok=True)
    text = manifest(law, scales, about=about, linked=linked, architecture=architecture)
    (folder / "zoo.toml").write_text(text, "utf-8")


def manifest(law: Law, scales: Scales, *, about: str, linked: bool, architecture: str) -> str:
    """Word a zoo.toml."""
    output = "logit" if linked else law.output
    lines = [
        f"# {about or f'Networks that each learned, alone, {law.key} of the Feynman Lectures: {law.formula}'}.",
        "# Written by its recipe, with the constants that it standardised by.",
        f'name = "{law.folder}"',
        "",
        "[[networks]]",
        'path = "networks/*.safetensors"',
        f'outputs = ["{output}"]',
        *([f'architecture = "{architecture}"'] if architecture else []),
        "",
        "[networks.scaling]",
        f"input_shift = {list(scales.input_shift)}",
        f"input_scale = {list(scales.input_scale)}",
    ]
    if not linked:
        lines += [f"output_shift = [{scales.output_shift}]", f"output_scale = [{scales.output_scale}]"]
    lines += ["", "[[outputs]]", f'name = "{output}"']
    lines += ["linked = true"] if linked else []
    for name, (low, high) in law.box.items():
        lines += ["", "[[probe.variables]]", f'name = "{name}"', f"low = {low}", f"high = {high}"]
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
