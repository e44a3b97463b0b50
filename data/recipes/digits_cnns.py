"""Ten plain networks of seven convolutions learn to read scikit-learn's handwritten digits, each from its own seed.

They are made to ask which layer of one network is which of another (Kornblith et al. 2019, section 6.1): like
theirs, but less deep, on small images. They are no zoo and are not kept: a test trains them, some seconds each.

Run as: python data/recipes/digits_cnns.py [--sets 5]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from consilience.analysis.alignment.layer_similarity import MEASURES, identified, layer_table

NETWORKS = 10
PLAN = ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (64, 1))  # channels and stride
STEPS, BATCH, RATE = 400, 64, 0.01
PROBE_IMAGES = 450
GRID = 2  # positions a side at which all layers are compared: those of the deepest ones

Images = Float[Tensor, "samples channel height width"]
Layers = list[Float[np.ndarray, "samples _channels"]]


def digits() -> tuple[Images, Int[Tensor, " samples"], Images, Int[Tensor, " samples"]]:
    """Give images and labels to learn from, and others to judge and probe with."""
    images, labels = load_digits(return_X_y=True)
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        images, labels, test_size=0.5, stratify=labels, random_state=0
    )
    fresh, known = (torch.tensor(part.reshape(-1, 1, 8, 8) / 16.0, dtype=torch.float32) for part in (unseen, seen))
    return known, torch.tensor(seen_labels), fresh, torch.tensor(unseen_labels)


def trained(images: Images, labels: Int[Tensor, " samples"], *, seed: int) -> nn.Sequential:
    """Train one network: its own first weights and batches."""
    torch.manual_seed(seed)
    before = (1, *(channels for channels, _ in PLAN))
    blocks = [block(width, channels, stride) for width, (channels, stride) in zip(before, PLAN, strict=False)]
    network = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before[-1], 10))
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(images), (BATCH,))
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def block(before: int, channels: int, stride: int) -> nn.Sequential:
    """Build a convolution, normalised and rectified."""
    convolution = nn.Conv2d(before, channels, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


@torch.no_grad()
def recorded(network: nn.Sequential, images: Images) -> Layers:
    """Record all convolutions, channels as units: every position on the common grid of every image is a sample."""
    layers = []
    for step in list(network)[: len(PLAN)]:
        images = step(images)
        pooled = nn.functional.adaptive_avg_pool2d(images, GRID)
        layers.append(pooled.permute(0, 2, 3, 1).reshape(-1, images.shape[1]).numpy())
    return layers


def recorded_set(first_seed: int) -> tuple[list[Layers], list[float]]:
    """Train and record a set of networks; and say which share of unseen digits each reads right."""
    known, labels, fresh, fresh_labels = digits()
    networks = [trained(known, labels, seed=first_seed + number) for number in range(NETWORKS)]
    with torch.no_grad():
        right = [float((network(fresh).argmax(1) == fresh_labels).double().mean()) for network in networks]
    return [recorded(network, fresh[:PROBE_IMAGES]) for network in networks], right


def accuracy(networks: Sequence[Layers], measure: str) -> float:
    """Tell how often a measure finds the same layer in another network, over all pairs, both ways."""
    tables = (layer_table(left, right, measure=measure) for left, right in combinations(networks, 2))
    return float(np.mean([identified(table) for table in tables]))


def main() -> None:
    """Print for every measure how often it finds the same layer, over fresh sets of networks."""
    parser = argparse.ArgumentParser(description="Ask which layer of one network is which of another.")
    parser.add_argument("--sets", type=int, default=5, help="sets of networks to train")
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for number in range(parser.parse_args().sets):
        networks, right = recorded_set(1000 * (number + 1))
        print(f"set {number + 1}: networks read {min(right):.3f} to {max(right):.3f} of unseen digits", flush=True)
        for measure, values in found.items():
            values.append(accuracy(networks, measure))
            print(f"  {measure:12} {100 * values[-1]:5.1f} %", flush=True)
    for measure, values in found.items():
        print(f"{measure:12} {100 * np.mean(values):5.1f} % ± {100 * np.std(values, ddof=len(values) > 1):.1f}")


if __name__ == "__main__":
    main()
