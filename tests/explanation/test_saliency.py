"""Grad-CAM and occlusion against second implementations, how alike maps are, and the pictures of a run."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr
from torch import nn

from mien.augment import Pipeline
from mien.errors import MienError
from mien.experiment.building import build_model, scheme_for
from mien.experiment.schema import load_experiment
from mien.explanation import saliency
from mien.explanation.context import Context, open_context
from mien.explanation.rows import RULE
from mien.explanation.saliency import (
    balanced,
    compare,
    gradcam,
    gradcam_maps,
    last_map,
    occlusion,
    occlusion_maps,
    rank_correlations,
    take,
    twins_of,
)
from mien.explanation.storage import read, store
from mien.inference.network import Network
from mien.inference.weights import save_weights
from mien.intervals import percentile_interval, resampled_means
from mien.models.cnn import CNN
from mien.models.googlenet import GoogLeNet
from mien.models.resnet import ResNet
from mien.report.explain_page import sections
from mien.report.saliency_figures import _alike, _none, outlined, placed
from mien.runs.run import new_run
from mien.workspace import Workspace


def untrained(workspace: Workspace, file: Path) -> Context:
    """The choose role under a run that was never trained: its weights are those that its seed draws."""
    dataset = write_tiny(workspace)
    experiment = load_experiment(file)
    run = new_run(workspace, experiment)
    names = scheme_for(experiment, dataset)
    fingerprint = dataset.card.fingerprint
    save_weights(run.weights, build_model(experiment, names).state_dict(), experiment, names, fingerprint)
    run.write_environment({"dataset": {"name": "tiny", "fingerprint": fingerprint}})
    run.set_state("finished")
    return open_context(run)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """35 rows of stripes and a small CNN with the weights of seed 1."""
    root = tmp_path_factory.mktemp("home")
    file = root / "tiny.yaml"
    file.write_text(TINY)
    return untrained(Workspace(root), file)


def small() -> nn.Module:
    """Two convolutions, of which the second strides, with weights drawn by seed 3."""
    torch.manual_seed(3)
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)).eval()


def test_gradcam_is_what_its_paper_says() -> None:
    model, inputs, targets = small(), torch.randn(6, 1, 14, 14), np.array([0, 1, 2, 3, 4, 0])
    layer = last_map(model, inputs)
    assert (layer.name, layer.height, layer.width) == ("0.3", 6, 6)  # not the pooling to 2×2 behind it
    assert layer.module is model[0][3]
    inner = model[0][3]
    found = gradcam_maps(model, inner, inputs, targets)
    for row, target in enumerate(targets):
        maps = model[0](inputs[row : row + 1]).detach().requires_grad_()
        model[3](model[2](model[1](maps)))[0, target].backward()
        weights = maps.grad[0].mean(dim=(1, 2))
        wanted = (weights[:, None, None] * maps[0]).sum(dim=0).clamp(min=0)
        np.testing.assert_allclose(found[row], wanted.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert found.shape == (6, 6, 6)
    assert found.max() > 0


def test_gradcam_works_on_frozen_weights_and_layers_in_place() -> None:
    model = small()
    inputs, targets = torch.randn(2, 1, 14, 14), np.array([1, 2])
    wanted = gradcam_maps(model, model[0][2], inputs, targets)
    model[0][3] = nn.ReLU(inplace=True)
    model.requires_grad_(False)
    np.testing.assert_allclose(gradcam_maps(model, model[0][2], inputs, targets), wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "size", "name", "cells", "cover"),
    [
        # 5×5, pool 4, 5×5, pool 4, all without padding: 48 → 34, whose cells are a pixel apart.
        (CNN(1, 48, 7), 48, "features.pool2", 34, 34 / 48),
        (ResNet(1, 48, 7, width=4), 48, "stages.3.1.relu2", 6, 1.0),
        # Its last maps have 3×3 and 2×2 cells of 48 px.
        (GoogLeNet(3, 48, 7), 48, "inception3b", 6, 1.0),
        # A pooling to 3×3 behind a convolution of 12×12 shows less than this.
        (nn.Sequential(nn.Conv2d(1, 2, 5), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(18, 7)), 16, "0", 12, 12 / 16),
        # All maps are small: the last of the largest.
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 7)), 6, "1", 4, 1.0),
    ],
)
def test_the_last_map_of_useful_size_is_what_the_convolutions_hand_on(
    model: nn.Module, size: int, name: str, cells: int, cover: float
) -> None:
    channels = next(iter(model.parameters())).shape[1]
    layer = last_map(model.eval(), torch.zeros(1, channels, size, size))
    assert (layer.name, layer.height, layer.width) == (name, cells, cells)
    assert layer.cover == pytest.approx(cover)


def test_a_layer_that_is_called_twice_is_not_the_last_map() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.linear = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.relu(self.relu(self.conv(x)).mean(dim=(2, 3))))

    assert last_map(Twice(), torch.zeros(1, 1, 8, 8)).name == "conv"


def test_a_model_without_convolutions_has_no_map() -> None:
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(MienError, match="the model gives no map that Grad-CAM could show"):
        last_map(model, torch.zeros(1, 1, 4, 4))


def test_occlusion_is_the_mean_loss_of_the_squares_over_a_pixel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 24 * 24, 3))
    with torch.no_grad():
        model[1].weight *= 0.01
    network = Network(model.eval(), Pipeline([]))
    images = np.random.default_rng(0).integers(0, 256, (3, 2, 24, 24)).astype(np.uint8)
    targets = np.array([0, 2, 1])
    found = occlusion_maps(network, images, targets, "cpu", 2.0)
    for image, target, one in zip(images.astype(np.float32), targets, found, strict=True):
        whole = float(network.probabilities(torch.from_numpy(image[None]), 2.0)[0, target])
        total, count = np.zeros((24, 24)), np.zeros((24, 24))
        for top in range(0, 21, 2):  # 4×4, in steps of 2
            for left in range(0, 21, 2):
                covered = image.copy()
                covered[:, top : top + 4, left : left + 4] = image.mean(axis=(1, 2))[:, None, None]
                left_over = float(network.probabilities(torch.from_numpy(covered[None]), 2.0)[0, target])
                total[top : top + 4, left : left + 4] += whole - left_over
                count[top : top + 4, left : left + 4] += 1
        np.testing.assert_allclose(one, total / count, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 40), st.integers(1, 5))
def test_rank_correlations_are_spearmans(seed: int, cells: int, levels: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, levels + 1, (2, 3, cells)).astype(np.float64)
    a[:, 0], b[:, 0] = -1, 7  # so that no row is constant
    wanted = [spearmanr(one, other).statistic for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlations(a, b), wanted, atol=1e-12)


def test_maps_like_their_twins_are_alike_by_1_and_turned_ones_by_minus_1() -> None:
    maps = np.random.default_rng(0).random((30, 4, 5)).astype(np.float32)
    labels = np.repeat([0, 2], 15)
    found, arrays = compare(maps, np.stack([maps, 3 * maps]), labels, ("a", "b", "c"))
    assert [(entry["class"], entry["n"]) for entry in found["classes"]] == [("all", 30), ("a", 15), ("c", 15)]
    assert all(entry["alike"] == pytest.approx(1) for entry in [*found["classes"], found["single"]])
    assert all(entry["interval"] == pytest.approx([1, 1]) for entry in found["classes"])
    np.testing.assert_allclose(arrays["mean"][2], maps[15:].mean(axis=0), rtol=1e-5)
    assert found["classes"][0] == compare(maps, np.stack([maps, 3 * maps]), labels, ("a", "b", "c"))[0]["classes"][0]
    turned, _ = compare(maps, -maps[None], labels, ("a", "b", "c"))
    assert turned["classes"][0]["alike"] == pytest.approx(-1)
    # A twin that is like the model and one that is its opposite: the interval holds both.
    mixed, _ = compare(maps, np.stack([maps, -maps]), labels, ("a", "b", "c"))
    assert mixed["classes"][0]["alike"] == pytest.approx(0)
    assert mixed["classes"][0]["interval"] == pytest.approx([-1, 1])


def test_maps_without_a_difference_are_like_nothing() -> None:
    maps = np.random.default_rng(0).random((6, 3, 3)).astype(np.float32)
    found, _ = compare(maps, np.zeros((1, 6, 3, 3), np.float32), np.zeros(6, np.int64), ("a",))
    nothing = {"alike": None, "interval": None}
    assert found["classes"] == [{"class": "all", "n": 6, **nothing}, {"class": "a", "n": 6, **nothing}]
    assert found["single"] == {"n": 0, **nothing}
    assert found["empty"] == {"model": 0, "twins": [6]}


def test_bootstrap_means_have_the_standard_error_of_a_mean() -> None:
    table = np.random.default_rng(1).normal(5, 2, (400, 2))
    samples = resampled_means(table, 2000)
    np.testing.assert_allclose(samples.std(axis=0), table.std(axis=0) / 20, rtol=0.1)
    np.testing.assert_allclose(samples.mean(axis=0), table.mean(axis=0), atol=0.02)
    assert np.array_equal(samples, resampled_means(table, 2000))
    low, high = percentile_interval(samples[:, 0], float(table[:, 0].mean()))
    assert high - low == pytest.approx(2 * 1.96 * table[:, 0].std() / 20, rel=0.1)


def test_twins_have_fresh_weights_of_seeds_that_are_not_the_runs(context: Context) -> None:
    twins, seeds = twins_of(context)
    assert seeds == [0, 2, 3]  # the run's is 1
    firsts = [next(one.model.parameters()) for one in (context.network, *twins)]
    assert len({float(first.detach().sum()) for first in firsts}) == 4
    seeded = context.run.experiment.model_copy(
        update={"train": context.run.experiment.train.model_copy(update={"seed": 2})}
    )
    wanted = build_model(seeded, context.names).state_dict()
    assert all(torch.equal(wanted[name], tensor) for name, tensor in twins[1].model.state_dict().items())
    assert not any(one.model.training for one in twins)


def test_gradcam_of_a_run(context: Context) -> None:
    result, arrays = gradcam(context, [5, 6])
    assert result["n"] == len(context) == 35
    assert (result["split"], result["role"], result["layer"]) == ("validation", "choose", "features.pool1")
    assert result["map"] == [17, 17]
    assert [row["id"] for row in result["rows"]] == [context.ids[5], context.ids[6]]
    layer = last_map(context.network.model, context.inputs(slice(0, 1))).module
    maps = gradcam_maps(context.network.model, layer, context.inputs(slice(None)), context.labels)
    sums = maps.sum(axis=(1, 2), keepdims=True)
    shares = np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0)
    np.testing.assert_allclose(arrays["mean"][0], shares.mean(axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(arrays["mean"][4], shares[context.labels == 3].mean(axis=0), rtol=1e-4, atol=1e-7)
    said = context.predicted[[5, 6]]
    wanted = gradcam_maps(context.network.model, layer, context.inputs([5, 6]), said)
    np.testing.assert_allclose(arrays["maps"], wanted, rtol=1e-4, atol=1e-6)


def test_without_named_rows_the_typical_ones_are_shown(context: Context) -> None:
    result, arrays = gradcam(context)
    assert {row["label"] for row in result["rows"]} == {"happy", "surprise", "angry"}
    assert result["rule"] == RULE
    assert arrays["images"].shape == (3, 1, 24, 24)


def test_occlusion_takes_as_many_rows_of_each_class(context: Context) -> None:
    result, arrays = occlusion(context, [0], per_class=2)
    assert (result["n"], result["of"], result["window"], result["step"]) == (14, 35, 4, 2)
    assert [entry["n"] for entry in result["classes"]] == [14, *[2] * 7]
    drawn = balanced(context.labels, 2)
    maps = occlusion_maps(context.network, context.images[drawn], context.labels[drawn], "cpu")
    np.testing.assert_allclose(arrays["mean"][0], maps.mean(axis=0), atol=1e-6)
    assert take(context, drawn).ids == tuple(context.ids[place] for place in drawn)


def test_pictures_come_from_the_files_and_public_ones_show_no_row(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saliency, "TWINS", 1)
    for name, made in (("gradcam", gradcam(context)), ("occlusion", occlusion(context, per_class=1))):
        store(context.run, name, *made)
        assert read(context.run, name)[0] == made[0]
    found = {one.name: (section.name, one) for section in sections(context.run) for one in section.pictures}
    assert list(found) == ["gradcam-classes", "gradcam-rows", "occlusion-classes", "occlusion-rows"]
    public = [one.name for section in sections(context.run, public=True) for one in section.pictures]
    assert public == ["gradcam-classes", "occlusion-classes"]
    assert all(section == name.partition("-")[0] for name, (section, _) in found.items())
    assert "all (n = 35): alike" in found["gradcam-classes"][1].text
    assert max(len(one.png) for _, one in found.values()) < 200_000
    assert Image.open(io.BytesIO(found["gradcam-rows"][1].png)).width == 1152


def test_nothing_stored_is_no_picture(tmp_path: Path, context: Context) -> None:
    run = replace(context).run.__class__(tmp_path / "runs" / "none" / "1")
    assert sections(run) == []


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 12), st.sampled_from([1.0, 0.75, 0.5]))
def test_a_placed_map_has_its_middle_where_the_image_has(cells: int, cover: float) -> None:
    ramp = np.tile(np.arange(cells, dtype=np.float32), (cells, 1))
    drawn = placed(ramp, cover, 48)
    assert np.isfinite(drawn).sum() == round(48 * cover) ** 2
    # Left and right are the same distance from the middle, whose value is the map's middle.
    np.testing.assert_allclose(drawn + drawn[:, ::-1], np.where(np.isnan(drawn), np.nan, cells - 1), atol=0.02 * cells)


def test_an_outline_is_drawn_on_a_copy() -> None:
    plain = np.full((96, 96, 3), 255, np.uint8)
    drawn = outlined(plain, np.full((68, 2), 0.5))
    assert (plain == 255).all()
    assert (drawn != 255).any(axis=2).sum() < 10  # all points in one place
    assert (drawn[48, 48] < 255).all()


def test_a_map_that_is_there_is_not_said_to_be_none() -> None:
    """A twin without a map leaves nothing to compare with; the model's own map is there all the same."""
    assert (_none(np.eye(3)), _none(np.zeros((3, 3)))) == ("", ", no map")
    assert _alike({"alike": None, "interval": None}) == "not compared"
    assert _alike({"alike": 0.5, "interval": [0.4, 0.6]}) == "alike 0.50\n[0.40, 0.60]"
