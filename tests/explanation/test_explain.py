"""Explanations: the rows and layers that they are of, each against a second way to the same numbers, and the verb."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, write_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Page
from torch import nn
from verbs import call

import mien.explanation.execute  # noqa: F401
from mien.data.dataset import Dataset, open_dataset, write_dataset
from mien.data.labels import FER2013
from mien.data.synthetic.dataset import write_faces
from mien.errors import FailedError, MienError
from mien.evaluation import evaluate
from mien.experiment.building import build_model
from mien.experiment.schema import EXPLANATIONS, load_experiment
from mien.explanation.activations import activations
from mien.explanation.cases import SHOWN, cases, confident_errors, least_certain
from mien.explanation.context import Context, open_context
from mien.explanation.filters import filters
from mien.explanation.layers import choose_layers, feature_layer, inputs_of, map_layers, outputs_of
from mien.explanation.neighbours import EXACT, NEAREST, neighbours
from mien.explanation.rows import named_rows, surest, typical_rows
from mien.explanation.storage import read, store
from mien.images import decode, encode_png
from mien.inference.weights import save_weights
from mien.metrics.probabilities import probabilities
from mien.registry import names
from mien.report import explain_tiles as tiles
from mien.report.page import write_report
from mien.report.publishing import publish
from mien.report.style import Caption
from mien.runs.ledger import entries
from mien.runs.run import Run, new_run
from mien.workspace import Workspace

REPEATED = TINY.replace("{op: normalize}", "{op: repeat_channels, n: 3}, {op: normalize}").replace(
    "channels: [4]", "channels: [4, 6]"
)

PLUGIN = """
from torch import nn
from mien.registry import register

@register("model", "odd")
class Odd(nn.Module):
    def __init__(self, in_channels: int, image_size: int, num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.ModuleDict({
            "first": nn.Conv2d(in_channels, width, 3, stride=2, bias=False),
            "again": nn.Conv2d(width, width, 3, padding=1),
        })
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(width, num_classes)

    def forward(self, images):
        maps = self.act(self.body["first"](images))
        for _ in range(2):
            maps = maps + self.act(self.body["again"](maps))
        return self.head(maps.mean(dim=(2, 3)))

@register("model", "flat")
def flat(in_channels: int, image_size: int, num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, num_classes))
"""


def finished(workspace: Workspace, dataset: Dataset, text: str, folder: Path) -> Run:
    """A finished run of an experiment on a data set: weights as they were drawn, measured on choose and report."""
    file = folder / "made.yaml"
    file.write_text(text)
    experiment = load_experiment(file)
    run = new_run(workspace, experiment)
    model = build_model(experiment, dataset.card.scheme)
    save_weights(run.weights, model.state_dict(), experiment, dataset.card.scheme, dataset.card.fingerprint)
    about = {"name": dataset.card.name, "fingerprint": dataset.card.fingerprint}
    run.write_environment({"dataset": about, "seed": experiment.train.seed})
    run.set_state("finished")
    evaluate(workspace, run, "choose")
    return run


def parsed(html: str) -> Any:
    """A page taken apart."""
    return Page(html)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the stripes; its model takes gray repeated to three channels."""
    folder = tmp_path_factory.mktemp("stripes")
    home = Workspace(folder / "home")
    return finished(home, write_tiny(home), REPEATED, folder)


@pytest.fixture(scope="module")
def context(stripes: Run) -> Context:
    return open_context(stripes)


# The rows


def test_a_context_has_the_rows_of_its_role_and_what_was_predicted_of_them(stripes: Run, context: Context) -> None:
    dataset = open_dataset(Workspace(stripes.folder.parents[2]), "tiny")
    assert (context.role, context.split, len(context)) == ("choose", "validation", 35)
    assert context.ids == tuple(dataset.ids("validation"))
    assert context.labels.tolist() == dataset.labels("validation").tolist()
    decoded = np.stack([decode(data, "gray", 24) for data in dataset.images("validation")])
    np.testing.assert_array_equal(context.images, decoded.transpose(0, 3, 1, 2))
    with torch.inference_mode():
        logits = context.network(torch.from_numpy(context.images.copy())).numpy()
    np.testing.assert_allclose(context.logits, logits, atol=1e-5)
    assert context.inputs([0, 1]).shape == (2, 3, 24, 24)
    assert context.about == {
        "run": "tiny/1",
        "seeds": [1],
        "dataset": "tiny",
        "protocol": "official",
        "split": "validation",
        "role": "choose",
        "n": 35,
        "contaminated": 0.0,
    }


def test_logits_are_computed_where_none_are_stored(stripes: Run, context: Context) -> None:
    file = stripes.predictions("choose")
    kept = file.read_bytes()
    try:
        file.unlink()
        again = open_context(stripes)
    finally:
        file.write_bytes(kept)
    np.testing.assert_allclose(again.logits, context.logits, atol=1e-5)


def test_looking_at_report_rows_is_written_into_the_ledger(stripes: Run) -> None:
    before = len(entries(stripes.folder))
    found = open_context(stripes, "report", ["mien", "explain", "tiny", "--role", "report"])
    line = entries(stripes.folder)[-1]
    assert len(entries(stripes.folder)) == before + 1
    assert (line["role"], line["split"], line["n"]) == ("report", "test", len(found))
    assert line["command"] == ["mien", "explain", "tiny", "--role", "report"]


def test_rows_that_were_fit_on_are_told(workspace: Workspace, tiny: Dataset, tmp_path: Path) -> None:
    overlapping = "protocol: {name: splits, fit: [train], choose: [validation], report: [train, test]}\n"
    run = finished(workspace, tiny, TINY + overlapping, tmp_path)
    found = open_context(run, "report")
    assert found.contaminated == 210 / 245
    assert (found.split, found.about["contaminated"]) == ("train + test", 210 / 245)


def test_a_run_on_points_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "points.yaml"
    file.write_text(
        "name: points\ntask: landmarks\ndataset: {name: faces, size: 32}\naugment: [{op: frame}]\n"
        "model: {name: xception}\nloss: {name: wing}\noptimizer: {name: adam}\ntrain: {epochs: 1}\n"
    )
    run = new_run(workspace, load_experiment(file))
    with pytest.raises(MienError, match="run points/1 finds points and no classes"):
        open_context(run)


def test_rows_are_found_by_id_and_by_split_and_id(context: Context) -> None:
    first, last = context.ids[0], context.ids[-1]
    assert named_rows(context, [last, f"validation/{first}", last]) == [34, 0]
    with pytest.raises(MienError) as error:
        named_rows(context, ["x1"])
    assert error.value.message == "no row of the choose role of tiny/1 (validation, n = 35) is called 'x1'"


def test_typical_rows_are_right_and_most_sure(context: Context) -> None:
    sure = probabilities(context.logits, context.temperature or 1.0)
    for row, name in zip(typical_rows(context), ("happy", "surprise", "angry"), strict=True):
        label = FER2013.classes.index(name)
        own = [i for i in range(35) if context.labels[i] == label]
        right = [i for i in own if sure[i].argmax() == label]
        assert row == max(right or own, key=lambda i: sure[i, label])


TABLES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=n, max_size=n),
    )
)


@given(TABLES)
@settings(deadline=None)
def test_orders_of_rows_are_those_of_a_second_implementation(table: tuple[list[int], list[list[int]]]) -> None:
    labels, rows = np.array(table[0]), np.array(table[1], dtype=float)
    given = rows / rows.sum(axis=1, keepdims=True)
    tops = [max(row) for row in given.tolist()]
    answers = [row.index(max(row)) for row in given.tolist()]
    wrong = [i for i, answer in enumerate(answers) if answer != labels[i]]
    assert confident_errors(labels, given).tolist() == sorted(wrong, key=lambda i: (-tops[i], i))
    assert least_certain(given).tolist() == sorted(range(len(labels)), key=lambda i: (tops[i], i))
    found = surest(labels, given, range(3)).tolist()
    assert labels[found].tolist() == sorted(set(labels.tolist()))
    for row in found:
        own = [i for i in range(len(labels)) if labels[i] == labels[row]]
        right = [i for i in own if answers[i] == labels[i]]
        assert row in (right or own)
        assert given[row, labels[row]] == max(given[i, labels[i]] for i in right or own)


# The layers


class Odd(nn.Module):
    """A convolution that is called twice, before a ReLU that works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(2, 3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv(images))
        out: torch.Tensor = self.out(self.relu(self.conv(maps)))
        return out.flatten(1)


def test_layers_are_heard_at_their_first_call_and_before_what_works_in_place() -> None:
    torch.manual_seed(0)
    net, images = Odd(), torch.randn(5, 2, 4, 4)
    found = map_layers(net, images)
    assert [(layer.name, layer.shape, layer.convolution) for layer in found] == [
        ("conv", (2, 4, 4), True),
        ("relu", (2, 4, 4), False),
        ("out", (3, 1, 1), True),
    ]
    heard = outputs_of(net, ["conv", "out"], images)
    with torch.no_grad():
        torch.testing.assert_close(heard["conv"], net.conv(images))
        torch.testing.assert_close(heard["out"].flatten(1), net(images))
    assert (heard["conv"] < 0).any()
    torch.testing.assert_close(inputs_of(net, "conv", images), images)
    assert feature_layer(net, images) == "out"
    assert not any(module._forward_hooks for module in net.modules())


def test_layers_are_named_and_mistakes_told(context: Context) -> None:
    layers = map_layers(context.network.model, context.inputs([0]))
    assert [layer.name for layer in choose_layers(layers, ())] == ["features.conv1", "features.conv2"]
    assert [layer.name for layer in choose_layers(layers, ["features.pool1"])] == ["features.pool1"]
    with pytest.raises(MienError) as error:
        choose_layers(layers, ["features.conv3"])
    assert error.value.message == "no layer that gives maps is called 'features.conv3'"
    assert error.value.nearest in ("features.conv1", "features.conv2")
    with pytest.raises(MienError, match=r"layer 'features\.pool1' has no filters"):
        choose_layers(layers, ["features.pool1"], only_convolutions=True)
    with pytest.raises(MienError, match="the model has no convolution that gives a map"):
        choose_layers((), ())


# What is explained


def test_filters_are_the_weights_summed_over_inputs_that_are_one_picture(context: Context) -> None:
    result, arrays = filters(context)
    features = context.network.model.get_submodule("features")
    first, second = (layer.weight.detach().numpy() for layer in (features.conv1, features.conv2))  # type: ignore[union-attr,operator]
    np.testing.assert_allclose(arrays["layer0"], first.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(arrays["layer1"], second)
    assert [(layer["name"], layer["summed"], layer["inputs"]) for layer in result["layers"]] == [
        ("features.conv1", True, 3),
        ("features.conv2", False, 4),
    ]
    assert result["layers"][1]["largest"] == pytest.approx(np.abs(second).max())


def test_activations_are_convolutions_of_the_images(context: Context) -> None:
    result, arrays = activations(context, chosen=[3, 5])
    conv = context.network.model.get_submodule("features.conv1")
    ready = context.network.inputs(context.pixels(context.images[[3, 5]]))
    weight, bias = conv.weight, conv.bias
    assert isinstance(weight, torch.Tensor)
    assert isinstance(bias, torch.Tensor)
    windows = nn.functional.unfold(ready, 5)
    expected = (weight.flatten(1) @ windows + bias[:, None]).reshape(2, 4, 20, 20).detach()
    np.testing.assert_allclose(arrays["layer0"], expected, atol=1e-4)
    np.testing.assert_array_equal(arrays["images"], context.images[[3, 5]])
    assert [row["id"] for row in result["rows"]] == [context.ids[3], context.ids[5]]
    assert result["layers"][0] == {"name": "features.conv1", "kind": "Conv2d", "shape": [4, 20, 20], "channels_kept": 4}
    assert [row["label"] for row in result["drawn"]] == ["happy", "surprise", "angry"]
    assert arrays["drawn_images"].shape == (3, 1, 24, 24)
    again = outputs_of(
        context.network.model, ["features.conv1"], context.network.inputs(context.pixels(arrays["drawn_images"]))
    )
    np.testing.assert_allclose(arrays["drawn_layer0"], again["features.conv1"], atol=1e-5)


def test_cases_are_the_surest_errors_and_the_least_sure_rows(context: Context) -> None:
    result, arrays = cases(context)
    sure = probabilities(context.logits, context.temperature or 1.0)
    wrong = [i for i in range(35) if sure[i].argmax() != context.labels[i]]
    wrong.sort(key=lambda i: (-sure[i].max(), i))
    assert result["wrong"] == len(wrong)
    assert [row["id"] for row in result["errors"]] == [context.ids[i] for i in wrong[:SHOWN]]
    np.testing.assert_array_equal(arrays["errors"], context.images[wrong[:SHOWN]])
    tops = [row["p_predicted"] for row in result["uncertain"]]
    assert tops == sorted(tops)
    # The stripes' raters give eight of ten votes to the label.
    assert all(row["raters"] == row["label"] for row in (*result["errors"], *result["uncertain"]))


def twins(workspace: Workspace) -> Dataset:
    """Noise of three classes; every fourth row to choose by is a copy of a row to fit, one has another label."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (40, 24, 24), dtype=np.uint8)
    with write_dataset(workspace, "twins", FER2013, source="noise", format="test") as writer:
        for index, picture in enumerate(pictures):
            writer.add("train", f"t{index}", encode_png(picture), index % 3, size=(24, 24))
        for index in range(12):
            copy = pictures[index] if index % 4 == 0 else random.integers(0, 256, (24, 24), dtype=np.uint8)
            writer.add("validation", f"v{index}", encode_png(copy), (index + (index == 4)) % 3, size=(24, 24))
            writer.add("test", f"r{index}", encode_png(pictures[index]), index % 3, size=(24, 24))
    return open_dataset(workspace, "twins")


def test_neighbours_are_the_fit_rows_with_the_highest_cosine(workspace: Workspace, tmp_path: Path) -> None:
    text = TINY.replace("name: tiny, size", "name: twins, size")
    run = finished(workspace, twins(workspace), text, tmp_path)
    context = open_context(run)
    fit = [decode(data, "gray", 24) for data in context.dataset.images("train")]
    layers = context.network.model.get_submodule("classifier")
    assert isinstance(layers, nn.Sequential)

    def features(images: Any) -> Any:
        with torch.no_grad():
            maps = context.network.model.get_submodule("features")(context.network.inputs(context.pixels(images)))
            found = layers[:-1](maps).double().numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    cosines = features(context.images) @ features(np.stack(fit).transpose(0, 3, 1, 2)).T
    result, arrays = neighbours(context, chosen=list(range(12)))
    assert result["features"] == "classifier.logits"
    labels = context.dataset.labels("train")
    for index, row in enumerate(result["rows"]):
        order = np.argsort(-cosines[index])[:NEAREST]
        assert [other["id"] for other in row["nearest"]] == [f"t{place}" for place in order]
        assert [other["similarity"] for other in row["nearest"]] == pytest.approx(cosines[index][order], abs=1e-3)
        assert [other["copy"] for other in row["nearest"]] == [EXACT if index % 4 == 0 else None, *[None] * 4]
        np.testing.assert_array_equal(arrays["nearest"][index, 0, 0], fit[order[0]][:, :, 0])
    nearest = cosines.argmax(axis=1)
    assert (result["copies"], result["found"], result["fit"]) == (3, 3, {"split": "train", "n": 40})
    assert result["same_label"]["value"] == np.mean(labels[nearest] == context.labels)
    assert result["as_predicted"]["value"] == np.mean(labels[nearest] == context.predicted)
    np.testing.assert_allclose(arrays["similarity"], cosines.max(axis=1), atol=1e-5)
    shown, _ = neighbours(context)
    by_why: dict[str, list[str]] = {}
    for row in shown["rows"]:
        by_why.setdefault(row["why"], []).append(row["id"])
    first = [context.ids[row] for row in typical_rows(context)]
    others = [index for index in range(12) if index % 4 and context.ids[index] not in first]
    likest = sorted(others, key=lambda index: -cosines[index].max())[:4]
    assert list(by_why.values()) == [
        first,
        [id_ for id_ in ("v0", "v4", "v8") if id_ not in first],
        [context.ids[index] for index in likest],
    ]


def test_a_row_that_was_fit_on_isnt_its_own_neighbour(workspace: Workspace, tmp_path: Path) -> None:
    protocol = "protocol: {name: splits, fit: [train], choose: [validation], report: [train]}\n"
    text = TINY.replace("name: tiny, size", "name: twins, size") + protocol
    result, _ = neighbours(open_context(finished(workspace, twins(workspace), text, tmp_path), "report"), chosen=[0, 7])
    assert [row["id"] for row in result["rows"]] == ["t0", "t7"]
    for row in result["rows"]:
        assert row["id"] not in [other["id"] for other in row["nearest"]]
    assert result["copies"] == 0


# What is kept


def test_what_is_stored_is_read_again_and_replaced_whole(stripes: Run, context: Context) -> None:
    arrays = {"maps": np.arange(6, dtype=np.float32).reshape(2, 3)}
    store(stripes, "cases", {**context.about, "own": [1]}, arrays)
    found = read(stripes, "cases")
    assert found is not None
    assert found[0] == {**context.about, "own": [1]}
    np.testing.assert_array_equal(found[1]["maps"], arrays["maps"])
    store(stripes, "cases", context.about)
    assert read(stripes, "cases") == (context.about, {})
    assert read(stripes, "gradcam") is None
    with pytest.raises(ValueError, match="the result of cases doesn't say split, role"):
        store(stripes, "cases", {key: value for key, value in context.about.items() if key not in ("split", "role")})
    (stripes.folder / "explain" / "cases.json").write_text("{")
    with pytest.raises(FailedError, match="the explanation can't be read"):
        read(stripes, "cases")
    (stripes.folder / "explain" / "cases.json").unlink()


def test_a_full_disk_leaves_the_explanation_that_was_there(
    stripes: Run, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    store(stripes, "cases", {**context.about, "own": [1]}, {"maps": np.zeros(2)})
    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", full)
        with pytest.raises(OSError, match="full") as error:
            store(stripes, "cases", {**context.about, "own": [2]}, {"maps": np.ones(2)})
    assert error.value.filename == str(stripes.folder / "explain" / "cases.npz")
    found = read(stripes, "cases")
    assert found is not None
    assert (found[0]["own"], found[1]["maps"].tolist()) == ([1], [0.0, 0.0])
    for path in (stripes.folder / "explain").glob("cases.*"):
        path.unlink()


# The key of the experiment


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            "[cases, gradcm]",
            "explain.1: no explanation is called 'gradcm'; expected one of filters, activations, gradcam, occlusion, "
            "regions, neighbours, cases. Did you mean 'gradcam'?",
        ),
        ("gradcam", "explain: this is no list; expected a list of explanations, as [filters, gradcam]"),
    ],
)
def test_the_key_takes_a_list_of_names(tiny_file: Path, value: str, told: str) -> None:
    with pytest.raises(MienError) as error:
        load_experiment(tiny_file, [f"explain={value}"])
    assert str(error.value) == f"the command line: {told}"


def test_the_key_is_written_where_it_says_something(tiny_file: Path) -> None:
    assert "explain" not in load_experiment(tiny_file).to_yaml()
    stored = tiny_file.with_name("again.yaml")
    stored.write_text(load_experiment(tiny_file, ["explain=[cases, filters]"]).to_yaml())
    assert load_experiment(stored).explain == ("cases", "filters")


# The pictures


def test_colours_stand_for_numbers() -> None:
    found = tiles.colored(np.array([[-2.0, -1, 0, 1, 2]]), -1, 1, tiles.SIGNED)
    blue, vermilion = [0, 114, 178], [213, 94, 0]
    assert found[0].tolist() == [blue, blue, [255, 255, 255], vermilion, vermilion]
    assert tiles.colored(np.ones((1, 1)), 1, 1, tiles.SIGNED)[0, 0].tolist() == [255, 255, 255]


def test_a_grid_puts_tiles_in_lines() -> None:
    one = np.zeros((4, 4, 3), np.uint8)
    shown = [
        tiles.Tile(one, "a", begins=True),
        tiles.Tile(one, "b"),
        tiles.Tile(None),
        tiles.Tile(one, "c", begins=True),
    ]
    made = tiles.grid("Heading", Caption(("of rows",)), shown, 3)
    (ax,) = made.axes
    corners = [(image.get_extent()[0], image.get_extent()[3]) for image in ax.images]
    assert [text.get_text() for text in ax.texts] == ["a", "b", "c"]
    (left, top), (right, beside), (below, under) = corners
    assert left == below < right
    assert top == beside < under
    assert [text.get_text() for text in made.texts] == ["Heading", "of rows"]


# The verb


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Run, Any]:
    """A plugin's model on drawn faces, of which everything was explained by the verb."""
    folder = tmp_path_factory.mktemp("drawn")
    home = Workspace(folder / "home")
    (folder / "odd.py").write_text(PLUGIN)
    text = (
        "name: odd\nplugins: [odd.py]\ndataset: {name: faces, size: 24}\nmodel: odd\noptimizer: {name: adam}\n"
        "train: {epochs: 1, device: cpu}\n"
    )
    run = finished(home, write_faces(home, "faces", n=140, size=24, color="gray", seed=0), text, folder)
    evaluate(home, run, "report")
    return home, run, call("explain", "odd", "--json", "--workspace", home.root)


def test_everything_is_explained_of_a_plugins_model(drawn: tuple[Workspace, Run, Any]) -> None:
    _, run, done = drawn
    assert (done.code, done.json["left_out"]) == (0, {})
    assert list(done.json["explanations"]) == list(EXPLANATIONS)
    assert (done.json["run"], done.json["role"], done.json["split"], done.json["n"]) == (
        "odd/1",
        "choose",
        "validation",
        14,
    )
    for name, result in done.json["explanations"].items():
        stored = json.loads((run.folder / "explain" / f"{name}.json").read_text())
        assert stored == result
        assert (result["role"], result["split"]) == ("choose", "validation")
    names = {Path(file).stem for file in done.json["pictures"]}
    assert {"filters-body-first", "activations-body-again", "cases-uncertain", "neighbours-1"} <= names
    assert all(Path(file).read_bytes()[1:4] == b"PNG" for file in done.json["pictures"])


def test_the_report_shows_explanations_with_their_rows(drawn: tuple[Workspace, Run, Any]) -> None:
    _, run, _ = drawn
    html = (run.folder / "report.html").read_text()
    page = parsed(html)
    assert "choose: faces validation, n = 14, protocol official, seed 42" in page.text.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == len(list((run.folder / "explain").glob("*.png")))
    assert all(one["src"].startswith("data:image/png;base64,") and len(one["alt"]) > 20 for one in pictures)
    headings = [page.words[i] for i, word in enumerate(page.words) if word in ("Learned filters", "Errors and doubts")]
    assert headings == ["Learned filters", "Errors and doubts"]
    assert "<script" not in html


def test_what_is_published_shows_no_row(drawn: tuple[Workspace, Run, Any], tmp_path: Path) -> None:
    _, run, _ = drawn
    publish(run, tmp_path / "public")
    names = {file.name for file in (tmp_path / "public" / "explain").iterdir()}
    assert {"filters.json", "cases.json", "filters-body-first.png", "activations-body-first.png"} <= names
    assert not [name for name in names if name.startswith(("neighbours-", "cases-")) or name.endswith(".npz")]
    before = {file.name: file.read_bytes() for file in (tmp_path / "public").rglob("*") if file.is_file()}
    # With noise in place of the data set's pictures nothing changes.
    random = np.random.default_rng(0)
    other = Run(tmp_path / "odd" / "1")
    shutil.copytree(run.folder, other.folder)
    for file in (other.folder / "explain").glob("*.npz"):
        arrays = dict(np.load(file))
        for name in ("images", "nearest", "errors", "uncertain"):
            if name in arrays:
                arrays[name] = random.integers(0, 256, arrays[name].shape).astype(arrays[name].dtype)
        np.savez_compressed(file, **arrays)
    publish(other, tmp_path / "again")
    after = {file.name: file.read_bytes() for file in (tmp_path / "again").rglob("*") if file.is_file()}
    assert after.keys() == before.keys()
    assert [name for name, content in after.items() if content != before[name]] == []
    assert "No row of the data set is shown here" in parsed((tmp_path / "again" / "report.html").read_text()).text


def test_mistakes_are_told_and_leave_nothing(drawn: tuple[Workspace, Run, Any]) -> None:
    home, run, _ = drawn
    before = {file: file.stat().st_mtime_ns for file in (run.folder / "explain").iterdir()}
    for arguments, message in (
        (("filtrs",), "no explanation is called 'filtrs'"),
        (
            ("activations", "--image", "nobody"),
            "no row of the choose role of odd/1 (validation, n = 14) is called 'nobody'",
        ),
        (("filters", "--layer", "act"), "layer 'act' has no filters"),
        (("--role", "fit"), "Invalid value for '--role': Value error, 'fit' is not one of 'choose', 'report'"),
    ):
        done = call("explain", "odd", *arguments, "--json", "--workspace", home.root)
        assert (done.code, done.error.message) == (2, message)
    assert {file: file.stat().st_mtime_ns for file in (run.folder / "explain").iterdir()} == before


def test_what_cant_be_made_is_left_out_only_where_nobody_asked(tmp_path: Path) -> None:
    home = Workspace(tmp_path / "home")
    (tmp_path / "odd.py").write_text(PLUGIN)
    text = "plugins: [odd.py]\n" + TINY.replace("name: tiny\n", "name: flat\n", 1).replace(
        "{name: cnn, channels: [4], kernel_size: 5, fc: [16], dropout: 0.2}", "flat"
    )
    run = finished(home, write_faces(home, "tiny", n=70, size=24, color="gray", seed=0), text, tmp_path)
    done = call("explain", "flat", "--json", "--workspace", home.root)
    assert done.code == 0
    assert {"filters", "activations", "gradcam"} == set(done.json["left_out"])
    assert done.json["left_out"]["filters"] == "the model has no convolution that gives a map"
    assert {"neighbours", "cases"} <= set(done.json["explanations"])
    done = call("explain", "flat", "filters", "--json", "--workspace", home.root)
    assert (done.code, done.error.message) == (2, "the model has no convolution that gives a map")
    assert write_report(run.folder).is_file()


def test_a_training_ends_with_what_its_experiment_wants_explained(workspace: Workspace, tiny_file: Path) -> None:
    write_tiny(workspace)
    key = ("train.epochs=1", "explain=[filters]", "--json", "--workspace", workspace.root)
    done = call("train", tiny_file, *key)
    assert done.code == 0
    folder = workspace.runs / "tiny" / "1"
    assert [file.name for file in sorted((folder / "explain").glob("*.json"))] == ["filters.json"]
    assert "Learned filters" in parsed((folder / "report.html").read_text()).text


def test_each_explanation_is_registered_once_and_in_the_schema() -> None:
    assert names("explanation") == sorted(EXPLANATIONS)
