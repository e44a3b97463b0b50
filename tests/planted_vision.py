"""A planted zoo of vision networks: first layers of known Gabors, colour blobs and noise, then known small kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, SIZE = 48, 9
ANGLES = np.deg2rad(np.repeat(np.arange(8) * 22.5 + 10.0, 2))
FREQUENCIES = np.tile([0.2, 0.2, 0.3, 0.3], 4)
PHASES = np.tile([0.0, np.pi / 2], 8)
GABORS, BLOBS, UNITS, SMALL = 16, 18, 24, 96
"""Where Gabors, blobs and noise end in the first layer, and how many small kernels follow."""
FACTORY = '''
import torch
from torch import nn


class Seeing(nn.Module):
    """A colour convolution, a depthwise one, and four numbers read off their mean."""

    input_shape = (3, 48, 48)

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 24, 9, padding=4)
        self.each = nn.Conv2d(24, 96, 5, padding=2, groups=24)
        self.last = nn.Linear(96, 4)

    def forward(self, images):
        maps = torch.relu(self.each(torch.relu(self.first(images))))
        return self.last(maps.mean(dim=(2, 3)))


def build(tensors):
    module = Seeing()
    module.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return module
'''


def gabor(angle: float, frequency: float, phase: float, *, size: int = SIZE, sigma: float = 2.0) -> np.ndarray:
    """A Gabor on a grid, x to the right and y down."""
    places = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(places, places, indexing="ij")
    u = x * np.cos(angle) + y * np.sin(angle)
    return np.exp(-(x**2 + y**2) / (2 * sigma**2)) * np.cos(2 * np.pi * frequency * u + phase)


def first_layer(random: np.random.Generator) -> np.ndarray:
    """Sixteen Gabors in luminance, two red-green blobs, six kernels of noise."""
    kernels = np.empty((UNITS, 3, SIZE, SIZE))
    for unit in range(GABORS):
        one = gabor(ANGLES[unit], FREQUENCIES[unit], PHASES[unit])
        kernels[unit] = one[None] / np.linalg.norm(one)
    for unit in range(GABORS, BLOBS):
        blob = gabor(0.0, 0.0, 0.0, sigma=1.2 + 0.4 * (unit - GABORS))
        kernels[unit] = np.array([1.0, -1.0, 0.0])[:, None, None] * blob / np.linalg.norm(blob)
    noise = random.normal(size=(6, 3, SIZE, SIZE))
    kernels[BLOBS:] = noise / np.linalg.norm(noise.reshape(6, -1), axis=1)[:, None, None, None]
    return kernels + 0.005 * random.normal(size=kernels.shape)


def each_channel(random: np.random.Generator) -> np.ndarray:
    """Spots and edges in equal parts, each with a little noise, in no order."""
    places = np.arange(5) - 2.0
    y, x = np.meshgrid(places, places, indexing="ij")
    spot = np.exp(-(x**2 + y**2) / 2)
    kinds = [spot, x * spot, y * spot]
    kernels = np.stack([kinds[unit % 3] / np.linalg.norm(kinds[unit % 3]) for unit in range(SMALL)])
    kernels += 0.03 * random.normal(size=kernels.shape)
    return (random.permutation(kernels) * random.choice([1.0, -1.0], SMALL)[:, None, None])[:, None]


def plant(folder: Path, *, networks: int = 2) -> Path:
    """Write the networks, photos and a zoo.toml."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "seeing.py").write_text(FACTORY)
    tables = []
    for seed in range(networks):
        random = np.random.default_rng(seed)
        order = random.permutation(UNITS)
        tensors = {
            "first.weight": first_layer(random)[order],
            "first.bias": np.full(UNITS, 0.01),
            "each.weight": each_channel(random),
            "each.bias": np.full(SMALL, 0.01),
            "last.weight": random.normal(size=(4, SMALL)),
            "last.bias": np.zeros(4),
        }
        save_file({name: values.astype(np.float32) for name, values in tensors.items()}, folder / f"{seed}.safetensors")
        np.save(folder / f"order-{seed}.npy", order)
        tables.append(
            f'[[networks]]\npath = "{seed}.safetensors"\nname = "net{seed}"\narchitecture = '
            '"python:seeing:build"\nlayers = ["first"]\n'
            "preprocessing = { size = [48, 48], mean = [0.5], std = [0.25] }\n"
        )
    (folder / "photos").mkdir()
    for number in range(12):
        photo(number).save(folder / "photos" / f"{number:02}.png")
    probe = '[probe]\nimages = ["photos/*.png"]\nside = 48\ncrops = 2\n'
    tail = '[align]\nnull_draws = 1\n[distil]\nengine = "none"\n'
    (folder / "zoo.toml").write_text("\n".join(['name = "seeing"', *tables, probe, tail]))
    return folder


def photo(seed: int, side: int = 96) -> Image.Image:
    """Noise with the spectrum of natural photos, in three channels."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side), indexing="ij"))
    frequency[0, 0] = 1.0
    planes = np.fft.ifft2(np.fft.fft2(random.normal(size=(3, side, side))) / frequency).real
    planes = (planes - planes.mean()) / planes.std()
    return Image.fromarray(np.clip(128 + 50 * np.moveaxis(planes, 0, 2), 0, 255).astype(np.uint8))
