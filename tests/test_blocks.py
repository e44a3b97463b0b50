"""What blocks are called, and which sums belong to one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from consilience.zoo.blocks import shared
from consilience.zoo.record import trace


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (("a.b.c", "a.b.d"), "a.b"),
        (("a.b", "a.b"), "a.b"),
        (("a.b", "a.b.c"), "a.b"),
        (("a.1", "a.10"), "a"),
        (("", "a"), ""),
        (("a", "b"), ""),
        (("a.b.c", "a.b", "a.c"), "a"),
    ],
)
def test_names_share_whole_parts(names: tuple[str, ...], common: str) -> None:
    assert shared(*names) == common


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + self.inner(tokens)


class Attend(nn.Module):
    """Self-attention as one argument takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.attention(tokens, tokens, tokens)[0]


def mlp() -> nn.Module:
    return nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))


class Tokens(nn.Module):
    """Parts one after the other on tokens, then the mean."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            tokens = part(tokens)
        return tokens.mean(1)


def residuals(*parts: nn.Module) -> list[str]:
    plan = trace(Tokens(nn.Linear(3, 8), *parts).eval(), torch.randn(2, 5, 3))
    return [layer.name for layer in plan.layers if layer.kind == "residual"]


def test_sums_of_one_member_of_a_list_are_one_block() -> None:
    def block() -> nn.Module:
        return nn.Sequential(Residual(Attend()), Residual(mlp()))

    assert residuals(block(), block()) == ["parts.1", "parts.2"]


def test_sums_of_members_of_their_own_are_blocks_of_their_own() -> None:
    assert residuals(Residual(mlp()), Residual(mlp())) == ["parts.1", "parts.2"]


def test_parallel_branches_are_one_block() -> None:
    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.attend, self.mlp = nn.LayerNorm(8), Attend(), mlp()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            inner = self.norm(tokens)
            return tokens + self.attend(inner) + self.mlp(inner)

    assert residuals(Parallel(), Parallel()) == ["parts.1", "parts.2"]


def test_rows_and_maps_have_no_stream() -> None:
    rows = nn.Sequential(nn.Linear(3, 8), Residual(mlp()), nn.Linear(8, 1))
    plan = trace(rows.eval(), torch.randn(4, 3))
    assert [(layer.name, layer.kind) for layer in plan.layers] == [
        *(("0", "dense"), ("1.inner.1", "dense"), ("1.inner.3", "dense"), ("2", "dense")),
    ]
    maps = nn.Sequential(nn.Conv2d(1, 4, 3), Residual(nn.Conv2d(4, 4, 3, padding=1)), nn.Flatten(), nn.Linear(144, 1))
    plan = trace(maps.eval(), torch.randn(4, 1, 8, 8))
    assert [layer.kind for layer in plan.layers] == ["convolution", "convolution", "dense"]


def test_the_norm_that_ends_a_network_is_not_the_blocks() -> None:
    class Ends(nn.Module):
        def __init__(self, inside: bool) -> None:
            super().__init__()
            self.embed, self.inside = nn.Linear(3, 8), inside
            self.block = nn.ModuleDict({"part": Residual(mlp()), "norm": nn.LayerNorm(8)})
            self.last = nn.LayerNorm(8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            tokens = self.block["part"](self.embed(tokens))
            return self.last(tokens).mean(1)

    module = Ends(False).eval()
    plan = trace(module, torch.randn(2, 5, 3))
    (stream,) = [layer for layer in plan.layers if layer.kind == "residual"]
    pre, _ = plan.readings[stream.name]
    assert plan.functions[pre.steps[0]] == "add"


def test_a_sum_with_the_queries_is_no_residual_stream() -> None:
    class Pools(nn.Module):
        """Attention that adds its queries, with weights on the way to its keys and values alone."""

        def __init__(self) -> None:
            super().__init__()
            self.all, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
            self.proj = nn.Linear(8, 8)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            query = self.all(tokens)
            weights = (query @ self.key(tokens).mT).softmax(-1)
            return self.proj(weights @ self.value(tokens) + query)

    plan = trace(Tokens(nn.Linear(3, 8), Residual(Pools())).eval(), torch.randn(2, 5, 3))
    assert [(layer.name, layer.kind, layer.activation) for layer in plan.layers[1:-1]] == [
        ("parts.1.inner", "attention", "other"),
        ("parts.1", "residual", "identity"),
    ]
