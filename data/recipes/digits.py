"""Eight networks, four convolutional and four not, learn to read scikit-learn's handwritten digits.

Half of the 1,797 images are held out for testing; each network trains on its own random draw from
the other half. 600 of the held-out images become the probe, and their labels are written beside it
for tests only: zoo.toml does not say which output stands for which digit.

Run as: python data/recipes/digits.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from regression import DATA, mlp
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from weights import count_parameters, save_weights

sys.path.append(str(DATA / "digits"))
from digits_networks import untrained_cnn

NETWORKS = (
    ("cnn", (8, 16), "relu"),
    ("cnn", (12, 16), "tanh"),
    ("cnn", (8, 24), "gelu"),
    ("cnn", (16, 16), "relu"),
    ("mlp", (48,), "relu"),
    ("mlp", (64, 32), "tanh"),
    ("mlp", (48, 32), "gelu"),
    ("mlp", (64,), "tanh"),
)
SEED, SPLIT_SEED = 300, 0
STEPS, BATCH, RATE = 600, 64, 0.005
PIXEL_SCALE = 16.0  # stated in zoo.toml as well
PROBE_ROWS = 600

Images = Float[Tensor, "samples pixels"]
Labels = Int[Tensor, " samples"]


def train_zoo(folder: Path) -> None:
    """Train all networks and write them, the probe and its labels to `folder`."""
    images, labels = load_digits(return_X_y=True)
    split = train_test_split(images, labels, test_size=0.5, stratify=labels, random_state=SPLIT_SEED)
    seen, unseen, seen_labels, unseen_labels = split
    for index, (kind, widths, activation) in enumerate(NETWORKS):
        seed = SEED + index
        torch.manual_seed(seed)
        network = build(kind, widths, activation)
        train(network, scale(seen), torch.tensor(seen_labels))
        accuracy = score(network, scale(unseen), torch.tensor(unseen_labels))
        name = f"{kind}-{activation}-{'x'.join(map(str, widths))}"
        metadata = {
            "activation": activation,
            "recipe": "data/recipes/digits.py",
            "seed": str(seed),
            "test_accuracy": f"{accuracy:.4f}",
        }
        save_weights(network, folder / "networks" / f"{name}.safetensors", metadata=metadata)
        print(f"{name:14}  {count_parameters(network)} parameters  test accuracy {accuracy:.4f}", flush=True)
    np.save(folder / "probe.npy", unseen[:PROBE_ROWS].astype(np.uint8))
    np.save(folder / "labels.npy", unseen_labels[:PROBE_ROWS].astype(np.uint8))


def build(kind: str, widths: tuple[int, ...], activation: str) -> nn.Sequential:
    """Build an untrained network of either kind; both take rows of 64 pixels."""
    if kind == "mlp":
        return mlp(64, widths, activation, outputs=10)
    first, second = widths
    return untrained_cnn((first, second), activation)


def scale(images: np.ndarray) -> Images:
    """Bring pixels from 0 … 16 to 0 … 1."""
    return torch.tensor(images / PIXEL_SCALE, dtype=torch.float32)


def train(network: nn.Module, images: Images, labels: Labels) -> None:
    """Train in place, on as many images as there are, drawn with replacement."""
    own = torch.randint(len(images), (len(images),))
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        batch = own[torch.randint(len(own), (BATCH,))]
        loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def score(network: nn.Module, images: Images, labels: Labels) -> float:
    """Measure the share of images that are read right, in [0, 1]."""
    return (network(images).argmax(dim=1) == labels).double().mean().item()


def main() -> None:
    """Train the zoo that the command line asks for."""
    parser = argparse.ArgumentParser(description="Train the networks of the zoo 'digits'.")
    parser.add_argument("--out", type=Path, default=DATA / "digits", help="folder of the zoo")
    torch.set_num_threads(1)  # sums in one order: the same weights on any number of cores
    train_zoo(parser.parse_args().out)


if __name__ == "__main__":
    main()
