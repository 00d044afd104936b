"""The page of a landmark run, before and after it is measured, and what is published of it."""

import base64
import json
import re
import shutil

import numpy as np
import pytest
from pages import Page

from mien.data.dataset import open_dataset
from mien.data.framing import stored_points
from mien.data.synthetic.dataset import write_faces
from mien.errors import FailedError
from mien.evaluation import evaluate
from mien.experiment.schema import load_experiment
from mien.faces.squares import cut, detector_squares
from mien.images import decode
from mien.metrics.nme import image_errors, measure_points
from mien.report import figures, landmark_faces, style
from mien.report.page import write_report
from mien.report.publishing import publish
from mien.report.reading import read_history, read_metrics
from mien.runs.predictions import read_points
from mien.runs.run import Run, new_run
from mien.tasks import LOSS, NME
from mien.training.fit import train
from mien.workspace import Workspace

EXPERIMENT = """
name: points
task: landmarks
dataset: {name: drawn, size: 32, color: gray}
protocol: {name: splits, fit: [train], choose: [validation], report: [test]}
preprocess: [{op: normalize}]
augment: [{op: frame}]
model: {name: landmarks-small, width: 8}
loss: wing
optimizer: {name: adamw, lr: 2e-3}
train: {epochs: 1, batch_size: 32, seed: 1, precision: float32, device: cpu}
"""
CLEAN = 5


def words(html):
    """The page taken apart, its text without what keeps numbers together."""
    page = Page(html)
    page.text = page.text.replace("\N{WORD JOINER}", "")
    return page


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one epoch in its workspace, its page before the report role was opened, and its figures then."""
    folder = tmp_path_factory.mktemp("points")
    home = Workspace(folder / "home")
    write_faces(home, "drawn", n=60, size=64, color="gray", seed=0)
    (folder / "points.yaml").write_text(EXPERIMENT)
    run = new_run(home, load_experiment(folder / "points.yaml"))
    train(home, run, ["mien", "train", "points.yaml"])
    evaluate(home, run, "choose")
    before = write_report(run.folder).read_text()
    drawn = {path.name for path in (run.folder / "figures").iterdir()}
    return home, run, before, drawn


@pytest.fixture(scope="module")
def measured(trained):
    """The same when the report role was measured: workspace, run, metrics and page."""
    home, run, _, _ = trained
    metrics = evaluate(home, run)
    return home, run, metrics, write_report(run.folder).read_text()


@pytest.fixture
def alone(measured, tmp_path):
    """A copy of the measured run, without its workspace and its choose role."""
    folder = tmp_path / "runs" / "points" / "1"
    shutil.copytree(measured[1].folder, folder)
    (folder / "metrics-choose.json").unlink()
    return folder


def share(of, key):
    low, high = of["interval"][key]
    return f"{100 * of[key]:.2f} % {100 * low:.2f}–{100 * high:.2f} %"


def measures(of):
    auc = "{:.3f} {:.3f}–{:.3f}".format(of["auc_8"], *of["interval"]["auc_8"])
    errors = [share(of, key) for key in ("nme_outer_eyes", "nme_inter_pupil", "median")]
    return [str(of["n"]), *errors, auc, share(of, "failure_rate_8")]


def pictures(page):
    return [(a["alt"], base64.b64decode(a["src"].split(",")[1])) for tag, a in page.tags if tag == "img"]


def test_before_the_report_role_is_opened_the_page_tells_the_choose_role(trained):
    _, run, html, drawn = trained
    page = words(html)
    metrics = json.loads((run.folder / "metrics-choose.json").read_text())
    assert (
        "The report role hasn't been opened yet. The numbers here are of the choose role, by which choices are made, "
        "so they lean towards being too good. mien evaluate points/1 measures the report role."
    ) in page.text
    assert [cell.replace("\N{WORD JOINER}", "") for cell in page.row("48 px")] == measures(metrics["sizes"]["48"])
    assert "report: test" not in page.text
    assert drawn == {
        f"{name}.{suffix}"
        for name in ("curves", "error-curve-choose", "error-by-group-choose")
        for suffix in ("png", "svg")
    }
    assert [alt.split(":")[0] for alt, _ in pictures(page)] == [
        "Faces with predicted and true points, the largest errors",
        "Faces with predicted and true points, the first rows",
    ]


def test_the_headlines_name_size_split_n_interval_normaliser_protocol_and_seed(measured):
    _, _, metrics, html = measured
    text = words(html).text
    large, small = (share(metrics["sizes"][size], "nme_outer_eyes") for size in ("128", "48"))
    assert (
        f"{large} NME (normalised mean error of the 68 points) at 128 px on 6 faces of test , and its 95 % interval, "
        "as a share of the distance of the outer eye corners (points 37 and 46); seed 1. The report role of protocol "
        "splits; the model was trained on none of these rows."
    ) in text
    assert (
        f"{small} At 48 px : the NME on the same 6 faces of test in smaller squares, by the same distance; seed 1."
    ) in text
    assert "None of these rows has an exact copy among the rows trained or chosen on." in text
    assert "model landmarks-small · data set drawn · protocol splits · seed 1" in text
    assert "mien train points.yaml mien evaluate points/1" in text
    assert "The report role of this run was opened once" in text
    assert "Choices are made by this role" in text
    assert "research-only" not in text


def test_the_table_has_every_measure_with_its_interval(measured):
    _, _, metrics, html = measured
    page = words(html)
    caption = (
        "Errors with 95 % intervals, as shares of the distance that is named; report: test, n = 6, protocol splits"
    )
    assert caption in page.text
    for name, of in (
        ("128 px", metrics["sizes"]["128"]),
        ("48 px", metrics["sizes"]["48"]),
        ("mean shape", metrics["mean_shape"]),
    ):
        assert [cell.replace("\N{WORD JOINER}", "") for cell in page.row(name)] == measures(of)
    # Nothing was copied, so the same is not told twice.
    assert "no exact copies" not in page.text


def test_the_page_needs_nothing_from_elsewhere_and_can_be_read_aloud(measured):
    html = measured[3]
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"https?://", html)
    assert all(attributes["src"].startswith("data:image/png;base64,") for tag, attributes in page.tags if tag == "img")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    drawings = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 6
    assert drawings[0].startswith("Share of the faces by largest error on report, test, n = 6, by outer eye corners: ")
    assert html.count("<table") == html.count("<caption") == html.count("<thead") == 2
    assert len(html.encode()) < 1_500_000


def test_the_worst_faces_come_first_and_the_others_in_order(measured, monkeypatch):
    home, run, metrics, _ = measured
    given = []

    def kept(images, predicted, true, captions, **said):
        given.append((images, predicted, true, captions))
        return overlays(images[:1], predicted[:1], true[:1], captions[:1], **said)  # Drawing them all takes seconds.

    overlays = landmark_faces.overlays
    monkeypatch.setattr(landmark_faces, "overlays", kept)
    found = landmark_faces.measured_faces(run, {"role": "report", **read_metrics(run.metrics_file("report"))})
    assert [gallery.heading for gallery in found.shown] == ["The 6 largest errors", "The first 6 rows, in order"]

    dataset = open_dataset(home, "drawn")
    ids, squares = dataset.ids("test"), detector_squares(stored_points(dataset, "test"), dataset.ids("test"))
    cuts = [cut(decode(data, "gray"), one, 128) for data, one in zip(dataset.images("test"), squares, strict=True)]
    rows, true, predicted = read_points(run.predictions("report"), 128)
    errors = image_errors(predicted, true)
    assert errors.mean() == pytest.approx(metrics["sizes"]["128"]["nme_outer_eyes"])
    assert [id_ for _, id_ in rows] == ids
    for (images, guessed, known, captions), order in zip(given, (np.argsort(-errors), np.arange(6)), strict=True):
        assert captions == [f"{ids[at]}\nNME {100 * errors[at]:.2f} %" for at in order]
        for image, at in zip(images, order, strict=True):
            np.testing.assert_array_equal(image, cuts[at])
        np.testing.assert_allclose(image_errors(guessed, known), errors[order], rtol=1e-4)
        np.testing.assert_allclose(known, (true[order] + 0.5) * 128 - 0.5, atol=1e-4)


def test_what_is_published_shows_drawn_faces_and_none_of_the_data_set(measured, tmp_path):
    _, run, metrics, html = measured
    folder = tmp_path / "published"
    publish(run, folder)
    names = ("curves", "error-curve-choose", "error-curve-report", "error-by-group-choose", "error-by-group-report")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "environment.json",
        "experiment.yaml",
        "history.csv",
        "metrics.json",
        "published.json",
        "metrics-choose.json",
        "report.html",
        "figures/drawn-faces.png",
        *(f"figures/{name}.{suffix}" for name in names for suffix in ("png", "svg")),
    }
    text = (folder / "report.html").read_text()
    page = words(text)
    own = pictures(Page(html))
    ((alt, picture),) = pictures(page)
    assert len(own) == 2
    assert picture == (folder / "figures" / "drawn-faces.png").read_bytes()
    assert alt.startswith("Drawn faces with predicted and true points: NME ")
    for path in folder.rglob("*"):
        for _, real in own:
            assert path.is_dir() or real[200:400] not in path.read_bytes()
    assert base64.b64encode(own[0][1])[300:500].decode() not in text
    assert "The faces that the run was measured on aren't published" in page.text
    assert [cell.replace("\N{WORD JOINER}", "") for cell in page.row("128 px")] == measures(metrics["sizes"]["128"])
    assert (run.folder / "report.html").read_text() == html
    assert not (run.folder / "figures" / "drawn-faces.png").exists()


def test_drawn_faces_are_measured_by_their_exact_points(measured, monkeypatch):
    given = []

    def kept(images, predicted, true, captions, **said):
        given.append((images, predicted, true, captions, said))
        return overlays(images[:1], predicted[:1], true[:1], captions[:1], **said)  # Drawing them all takes seconds.

    overlays = landmark_faces.overlays
    monkeypatch.setattr(landmark_faces, "overlays", kept)
    landmark_faces.drawn_faces(measured[1])
    ((images, predicted, true, captions, said),) = given
    assert [image.shape for image in images] == [(128, 128, 1)] * 8
    assert said["heading"] == "8 drawn faces, no photographs"
    value = measure_points(predicted, true)["nme_outer_eyes"]
    assert f"NME by outer eye corners: {100 * value:.2f} % [" in said["caption"].lines[1]
    errors = image_errors(predicted, true)
    assert captions == [f"drawn {i}\nNME {100 * error:.2f} %" for i, error in enumerate(errors)]
    # Framed tightly: the points' box is about a 1.25th of the square.
    sides = np.ptp(true, axis=1).max(axis=1) / 128
    assert ((sides > 0.6) & (sides < 1)).all()


def changed(folder, **changes):
    content = json.loads((folder / "metrics.json").read_text()) | changes
    (folder / "metrics.json").write_text(json.dumps(content))
    return content


def test_without_the_data_set_or_the_points_it_is_said_why_there_are_no_faces(alone):
    metrics = {"role": "report", **read_metrics(alone / "metrics.json")}
    assert landmark_faces.measured_faces(Run(alone), metrics) == (
        [],
        "No faces are shown: no data set is called 'drawn'.",
    )
    shutil.rmtree(alone / "predictions")
    assert landmark_faces.measured_faces(Run(alone), metrics) == ([], "No faces are shown: report.parquet is missing.")


def test_limits_copies_and_contamination_are_told(alone):
    content = json.loads((alone / "metrics.json").read_text())
    random = np.random.default_rng(0)
    true = random.normal(size=(CLEAN, 68, 2))
    clean = measure_points(true + 0.02, true)
    sizes = {size: {**of, "clean": clean} for size, of in content["sizes"].items()}
    changed(
        alone,
        limits="trained on research-only annotations",
        sizes=sizes,
        mean_shape={**content["mean_shape"], "clean": None},
        contaminated=1 / 6,
        overlap={"rows": 1 / 6, "exact": 1 / 6, "near": None},
    )
    html = write_report(alone).read_text()
    page = words(html)
    low, high = (100 * end for end in clean["interval"]["nme_outer_eyes"])
    told = f"{100 * clean['nme_outer_eyes']:.2f} % [{low:.2f}, {high:.2f}]"
    assert "These weights were trained on research-only annotations." in page.text
    assert (
        "16.7 % of these rows have an exact copy among the rows trained or chosen on; without them NME (outer eye "
        f"corners) is {told} at 128 px, {told} at 48 px, n = 5. Near copies weren't looked for."
    ) in page.text
    assert "<title>CONTAMINATED: points/1</title>" in html
    assert "Contaminated: 17 % of the rows that this was measured on were trained on." in page.text
    assert "the model was trained on none" not in page.text
    assert page.text.count("no exact copies") == 2
    warning = "contaminated: 17 % of these rows were trained on"
    for name in ("error-curve-report", "error-by-group-report"):
        text = (alone / "figures" / f"{name}.svg").read_text()
        assert f">{warning}</text>" in text
        assert ">without exact copies: n = 5 · 128 px " in text


def test_other_data_sets_stand_beside_its_own(alone):
    own = json.loads((alone / "metrics.json").read_text())
    path = alone / "evaluations" / "all-rows@away" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({**own, "protocol": "all-rows", "dataset": "away", "split": "faces"}))
    page = words(write_report(alone).read_text())
    rows = [[cell.strip().replace("\N{WORD JOINER}", "") for cell in row] for row in page.rows]
    cells = [
        f"{share(of, 'nme_outer_eyes')} n = 6" for of in (own["sizes"]["128"], own["sizes"]["48"], own["mean_shape"])
    ]
    assert ["splits its own", "drawn, test", *cells] in rows
    assert ["all-rows", "away, faces These are all 6 rows of away: faces.", *cells] in rows
    assert "No faces are shown: no data set is called 'drawn'." in page.text
    assert pictures(page) == []


def test_curves_of_errors_are_in_percent_and_the_lowest_is_marked(trained):
    history = read_history(trained[1].history, "nme")
    assert list(history) == ["epoch", "fit_loss", "fit_nme", "choose_loss", "choose_nme"]
    history = {name: np.array([1.0, 2.0, 3.0]) for name in history}
    history |= {"fit_nme": np.array([0.3, 0.2, 0.1]), "choose_nme": np.array([0.2, 0.0482, 0.06])}
    assert figures.best_epoch(history, NME) == 2
    made = figures.curves(history, style.Caption(("points/1",)), (LOSS, NME), 60)
    assert made.texts[0].get_text() == "Training: loss and NME (outer eye corners)"
    ax = made.axes[1]
    assert ax.get_ylabel() == "NME (outer eye corners), %"
    np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), [20, 4.82, 6])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["fit", "choose", "lowest: 4.82 %, epoch 2"]


def test_broken_files_are_named(alone):
    with pytest.raises(FailedError, match="the history can't be read") as raised:
        read_history(alone / "history.csv")
    assert raised.value.file == str(alone / "history.csv")
    content = json.loads((alone / "metrics.json").read_text())
    del content["mean_shape"], content["normaliser"]
    (alone / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(FailedError, match="the metrics lack mean_shape, normaliser") as raised:
        write_report(alone)
    assert raised.value.file == str(Run(alone).metrics_file("report"))
