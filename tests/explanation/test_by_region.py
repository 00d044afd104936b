"""Parts of faces by their points, patches, blurring, and a model that looks at one part and is found out."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, Delaunay
from test_cropping import known

from mien.data.synthetic.dataset import write_faces
from mien.errors import MienError
from mien.experiment.building import build_model, scheme_for
from mien.experiment.schema import load_experiment
from mien.explanation.by_region import (
    PARTS,
    PATCHES,
    Losses,
    blurred,
    changes,
    first_layers,
    losses,
    part_masks,
    random_patch,
    regions,
    summarize,
)
from mien.explanation.context import Context, open_context
from mien.explanation.face_points import face_points, outline
from mien.explanation.storage import read, store
from mien.faces.regions import MEAN_SHAPE
from mien.inference.weights import save_weights
from mien.report.explain_page import sections
from mien.runs.run import new_run
from mien.workspace import Workspace

# The more edges there are where most mouths are, the surer the model is of class 0; of all else it sees nothing.
MOUTHNET = """
import torch
from torch import nn

from mien.registry import register


@register("model", "mouthnet")
class MouthNet(nn.Module):
    '''Edges at the mouth.'''

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.edges = nn.Conv2d(in_channels, 1, 3, padding=1, bias=False)
        self.rest = num_classes - 1
        with torch.no_grad():
            self.edges.weight.copy_(torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).expand(1, in_channels, 3, 3))

    def forward(self, images):
        detail = self.edges(images)[:, 0, 34:40, 18:30].abs().mean(dim=(1, 2))
        return torch.stack([0.5 * detail, *[torch.full_like(detail, 2.0)] * self.rest], dim=1)
"""
FILE = """
name: mouthnet
dataset: {name: drawn, size: 48, color: gray}
model: {name: mouthnet}
optimizer: {name: sgd, lr: 0.1}
train: {epochs: 1, seed: 4, device: cpu}
plugins: [mouthnet.py]
"""
MEAN = MEAN_SHAPE.astype(np.float32)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """20 drawn faces and a plugin's model that looks at their mouths."""
    root = tmp_path_factory.mktemp("home")
    (root / "mouthnet.py").write_text(MOUTHNET)
    (root / "mouthnet.yaml").write_text(FILE)
    workspace = Workspace(root)
    dataset = write_faces(workspace, "drawn", n=200, size=48, color="gray", seed=5)
    experiment = load_experiment(root / "mouthnet.yaml")
    run = new_run(workspace, experiment)
    names = scheme_for(experiment, dataset)
    fingerprint = dataset.card.fingerprint
    save_weights(run.weights, build_model(run.experiment, names).state_dict(), run.experiment, names, fingerprint)
    run.write_environment({"dataset": {"name": "drawn", "fingerprint": fingerprint}})
    run.set_state("finished")
    return open_context(run)


def test_a_part_is_the_hull_of_its_points_and_two_pixels_more() -> None:
    masks, face = part_masks(MEAN, 48)
    assert list(PARTS) == ["brows", "eyes", "nose", "mouth", "background"]
    y, x = np.mgrid[0:48, 0:48]
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    for name, points in (("nose", range(27, 36)), ("mouth", range(48, 68))):
        hull = MEAN_SHAPE[list(points)] * 48 - 0.5
        inside = (Delaunay(hull[ConvexHull(hull).vertices]).find_simplex(pixels) >= 0).reshape(48, 48)
        wide = cv2.dilate(inside.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))) > 0
        mask = masks[list(PARTS).index(name)]
        # OpenCV counts all pixels that the hull's rim touches, one more at a sharp corner.
        assert not (wide & ~mask).any()
        assert not (mask & ~(cv2.dilate(wide.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)).any()
    assert np.array_equal(masks[4], ~face)
    # The forehead is the face's, the upper corners and those beside the chin aren't.
    assert face[2, 24]
    assert not face[[1, 1, 46, 46], [1, 46, 1, 46]].any()
    # Two eyes and two brows that don't touch.
    assert [cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 for mask in masks[:4]] == [2, 2, 1, 1]


def test_a_face_outside_of_the_image_has_no_parts() -> None:
    masks, face = part_masks(MEAN + 3, 48)
    assert not face.any()
    assert not masks[:4].any()
    assert masks[4].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(0, 900), st.sampled_from([1, 2]))
def test_a_patch_has_its_area_and_lies_in_the_face(seed: int, area: int, pieces: int) -> None:
    _, face = part_masks(MEAN, 32)
    patch = random_patch(face, area, pieces, np.random.default_rng(seed))
    assert patch.sum() == min(area, face.sum())
    assert not (patch & ~face).any()


def test_blurring_takes_structure_out_of_the_mask_and_leaves_the_rest() -> None:
    stripes = np.tile(np.where((np.arange(48) // 3) % 2, 255, 0).astype(np.float32), (1, 48, 1))
    masks, _ = part_masks(MEAN, 48)
    found, areas = blurred(stripes, masks)
    soft = cv2.GaussianBlur(masks[3].astype(np.float32), (0, 0), 1.0, borderType=cv2.BORDER_REPLICATE)
    assert areas[3] == pytest.approx(soft.mean(), rel=1e-5)
    assert np.array_equal(found[3][0, :20], stripes[0, :20])  # far from the mouth
    inner = soft > 0.99
    assert inner.sum() > 50
    assert np.ptp(found[3][0][inner]) < 0.1 * 255
    assert abs(found[3][0][inner].mean() - 127.5) < 20


def test_a_model_that_looks_at_the_mouth_is_found_out(context: Context) -> None:
    faces = face_points(context.dataset, context.rows, None)
    result, arrays = regions(context, faces)
    assert (result["split"], result["role"], result["n"], result["fallback"]) == ("validation", "choose", 20, 0)
    assert (result["sd"], result["landmarks"]["name"]) == (8.0, "stored")
    found = {entry["part"]: entry for entry in result["parts"] if entry["class"] == "all"}
    assert list(found) == list(PARTS)
    mouth = found["mouth"]["predicted"]
    assert mouth["drop"] > 0.2
    assert mouth["interval"][0] > 0.1
    assert mouth["difference"] > 0.1
    assert mouth["difference_interval"][0] > 0
    assert mouth["difference"] == pytest.approx(mouth["drop"] - mouth["random"]["drop"])
    assert abs(found["brows"]["predicted"]["drop"]) < 0.02
    assert abs(found["eyes"]["predicted"]["drop"]) < 0.02
    # A patch of the same size; the soft edges of pieces that touch count once.
    for part in PARTS:
        assert found[part]["random"]["area"] == pytest.approx(found[part]["area"], rel=0.15)
    classes = [entry for entry in result["parts"] if entry["part"] == "mouth"][1:]
    assert sum(entry["n"] for entry in classes) == 20
    assert sum(entry["n"] * entry["drop"] for entry in classes) / 20 == pytest.approx(found["mouth"]["drop"])
    assert arrays["images"].shape[1:] == (6, 1, 48, 48)
    assert np.array_equal(arrays["images"][0, 0], context.images[context.ids.index(result["rows"][0]["id"])])


def test_losses_are_what_the_model_says_of_the_blurred_image(context: Context) -> None:
    faces = face_points(context.dataset, context.rows, None)
    found = losses(context, faces.points)
    again = losses(context, faces.points)
    assert all(
        np.array_equal(one, other) for one, other in zip(vars(found).values(), vars(again).values(), strict=True)
    )
    masks, _ = part_masks(faces.points[7], 48)
    image = context.images[7].astype(np.float32)
    both = torch.from_numpy(np.concatenate([image[None], blurred(image, masks[3:4])[0]]))
    probability = context.network.probabilities(both, context.temperature or 1.0)[
        :, [context.labels[7], context.predicted[7]]
    ].numpy()
    np.testing.assert_allclose(found.part[7, 3], probability[0] - probability[1], atol=1e-6)
    np.testing.assert_allclose(found.whole[7], probability[0], atol=1e-6)


def test_first_layers_are_asked_by_how_far_their_maps_change(context: Context) -> None:
    points = face_points(context.dataset, context.rows, None).points
    (found,) = changes(context, points, [context.network], ["edges"])
    masks, _ = part_masks(points[7], 48)
    image = context.images[7].astype(np.float32)
    maps = [
        context.network.model.edges(context.network.inputs(torch.from_numpy(one)))
        for one in (image[None], blurred(image, masks[1:2])[0])
    ]
    expected = ((maps[1] - maps[0]).norm() / maps[0].norm()).item()
    assert found[0, 7, 1, 0] == pytest.approx(expected, rel=1e-5)
    (layer,) = first_layers(context, points, np.ones(len(context), np.bool_))
    assert layer["name"] == "edges"
    assert [entry["part"] for entry in layer["parts"]] == list(PARTS)
    eyes = layer["parts"][1]
    assert eyes["n"] == 20
    assert eyes["change"] == pytest.approx(found[0, :, 1, 0].mean())
    assert eyes["difference"] == pytest.approx((found[0, :, 1, 0] - found[0, :, 1, 1]).mean())
    # Eyes have more edges than other skin; but this layer was never trained.
    assert eyes["difference_interval"][0] > 0
    assert eyes["untrained"] == pytest.approx(eyes["difference"])
    assert (eyes["beyond"], eyes["beyond_interval"]) == (0, [0, 0])


def test_a_layer_that_has_learned_to_see_less_of_a_part_is_found_out(context: Context) -> None:
    points = face_points(context.dataset, context.rows, None).points
    edges = context.network.model.edges
    before = edges.weight.detach().clone()
    with torch.no_grad():
        edges.weight.fill_(1 / edges.weight[0].numel())  # Only the brightness is left.
    try:
        (layer,) = first_layers(context, points, np.ones(len(context), np.bool_))
    finally:
        with torch.no_grad():
            edges.weight.copy_(before)
    mouth = layer["parts"][3]
    assert mouth["beyond"] == pytest.approx(mouth["difference"] - mouth["untrained"])
    # A layer that sees brightness alone loses less with a blurred mouth than one that sees edges.
    assert mouth["beyond_interval"][1] < 0


def test_means_intervals_and_rows_without_a_part() -> None:
    n, parts = 60, len(PARTS)
    random = np.random.default_rng(0)
    part, patch = random.normal(0.3, 0.1, (n, parts, 2)), random.normal(0.1, 0.1, (n, parts, 2))
    area = np.full((n, parts), 0.1)
    for one in (part, patch, area):
        one[:20, 0] = np.nan  # twenty images have no brows
    found = Losses(part, patch, area, area, np.ones((n, 2)))
    labels = np.arange(n) % 2
    entries = {(entry["part"], entry["class"]): entry for entry in summarize(found, labels, ("a", "b", "c"))}
    assert len(entries) == parts * 3  # all, a and b; c has no rows
    assert [entries[name, "all"]["n"] for name in PARTS] == [40, 60, 60, 60, 60]
    eyes = entries["eyes", "a"]
    assert eyes["drop"] == pytest.approx(part[::2, 1, 0].mean())
    assert eyes["predicted"]["random"]["drop"] == pytest.approx(patch[::2, 1, 1].mean())
    differences = part[::2, 1, 0] - patch[::2, 1, 0]
    low, high = eyes["difference_interval"]
    assert low < eyes["difference"] < high
    assert high - low == pytest.approx(2 * 1.96 * differences.std() / 30**0.5, rel=0.15)
    nothing = Losses(*(np.full_like(one, np.nan) for one in vars(found).values()))
    assert summarize(nothing, labels, ("a", "b")) == []


def test_rows_whose_points_fail_are_counted_apart(context: Context) -> None:
    wrong = np.zeros((68, 2), np.float32)
    first = context.ids[0]
    model = known(context.dataset, **{f"row{first}": wrong})
    faces = face_points(context.dataset, context.rows, model)
    assert faces.fallback.tolist() == [True] + [False] * 19
    np.testing.assert_allclose(faces.points[0], MEAN, atol=1e-6)
    true = face_points(context.dataset, context.rows, None)
    np.testing.assert_allclose(faces.points[1:], true.points[1:], atol=1e-6)
    # Kept: another look predicts nothing, and of other splits nothing was predicted.
    assert len(model.seen) == 40
    face_points(context.dataset, context.rows, model)
    assert len(model.seen) == 40
    result, _ = regions(context, faces, [0])
    assert (result["n"], result["fallback"], result["rows"][0]["fallback"]) == (19, 1, True)
    assert [(entry["part"], entry["n"]) for entry in result["fallback_parts"]] == [(name, 1) for name in PARTS]
    assert result["parts"][0]["n"] == 19


def test_the_middle_face_is_that_of_the_points_or_the_mean_shape(context: Context, tiny) -> None:
    points = face_points(context.dataset, context.rows, None).points
    np.testing.assert_allclose(outline(context.dataset, context.splits), np.median(points, axis=0), atol=1e-6)
    np.testing.assert_allclose(outline(tiny, ["test"]), MEAN)
    with pytest.raises(MienError, match="data set 'tiny' has no points"):
        face_points(tiny, [("test", tiny.ids("test")[0])], None)


def test_pictures_of_regions(context: Context) -> None:
    made = regions(context, face_points(context.dataset, context.rows, None))
    store(context.run, "regions", *made)
    assert read(context.run, "regions")[0] == made[0]
    ((shown,), (public,)) = ([of.pictures for of in sections(context.run, public)] for public in (False, True))
    assert [one.name for one in shown] == [one.name for one in public] == ["regions", "regions-blurred"]
    assert shown[0].png == public[0].png
    assert shown[1].png != public[1].png
    assert "mouth +" in shown[0].text
    assert PATCHES == 3
    assert all(len(one.png) < 150_000 for one in shown)


def test_cut_data_sets_know_their_points_by_how_they_were_cut(tmp_path: Path) -> None:
    from mien.cropping import crop_dataset

    workspace = Workspace(tmp_path)
    drawn = write_faces(workspace, "drawn", n=10, size=48, color="gray", seed=5)
    wrong = known(drawn, **{f"row{drawn.ids('test')[0]}": np.zeros((68, 2), np.float32)})
    cut = crop_dataset(workspace, "drawn", "mouth", "mouths", wrong)
    found = face_points(cut, [("test", cut.ids("test")[0]), ("train", cut.ids("train")[0])], None)
    assert found.fallback.tolist() == [True, False]
    masks, face = part_masks(found.points[1], 48)
    assert masks[3].mean() > 0.5  # the lips fill what was cut out by them
    assert not masks[0].any()  # and the brows are far away
    assert face.all()
