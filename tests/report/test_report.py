"""Figures and the page of a run, from run folders made of drawn predictions."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page, assert_in_order
from PIL import Image

from mien.data.votes import measure as measure_votes
from mien.errors import FailedError, MienError
from mien.evaluation.slices import slices
from mien.intervals import wilson
from mien.metrics.calibration import bin_rows, measure_calibration, risk_coverage
from mien.metrics.classification import confusion, measure
from mien.metrics.probabilities import probabilities
from mien.report import figures, style, tables, wording
from mien.report.facts import opened
from mien.report.page import write_report
from mien.report.rendering import render
from mien.report.wording import scored
from mien.runs.run import Run
from mien.tasks import ACCURACY, LOSS

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SUPPORT = (49, 6, 53, 88, 59, 42, 63)
CAPTION = style.Caption(("cnn1/3 · protocol official · report: PrivateTest", "n = 360 · accuracy 0.500 [0.449, 0.551]"))


def drawn_predictions(names=NAMES, support=SUPPORT, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(names)), support)
    logits = random.normal(size=(len(labels), len(names))).astype(np.float32)
    logits[np.arange(len(labels)), labels] += 1.2
    return labels, logits


def drawn_history(epochs=12):
    epoch = np.arange(1, epochs + 1.0)
    return {
        "epoch": epoch,
        "lr": np.full(epochs, 1e-4),
        "fit_loss": 1.9 * np.exp(-epoch / 20),
        "fit_accuracy": 1 - 0.75 * np.exp(-epoch / 20),
        "choose_loss": 1.4 + 0.01 * (epoch - 5) ** 2,
        "choose_accuracy": 0.5 - 0.003 * (epoch - 7) ** 2,
    }


def make_run(
    parent,
    roles=("choose",),
    *,
    names=NAMES,
    contaminated=0.0,
    split="PrivateTest",
    protocol="official",
    state="finished",
    keep="best",
    history=True,
    sure=False,
    exact=0.0,
    tta=False,
    votes=False,
    older=False,
):
    """A run's folder; `exact` is the share of its report rows, the first ones, that have an exact copy elsewhere."""
    folder = parent / "cnn1" / "3"
    (folder / "predictions").mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        f"name: cnn1 # <script>alert('no')</script>\nmodel: {{name: cnn}}\nprotocol: {{name: {protocol}}}\n"
        f"train: {{epochs: 12, keep: {keep}, monitor: choose_accuracy}}\n"
    )
    (folder / "status.json").write_text(json.dumps({"state": state, "reason": "the loss is nan"}))
    environment = {
        "mien": "0.1.0",
        "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
        "gpus": [],
        "commit": None,
        "seed": 42,
        "duration_s": 1204.3,
        "command": ["mien", "train", "my experiments/cnn1.yaml"],
        "dataset": {
            "name": "drawn",
            "fingerprint": "0123abcd",
            "roles": {"fit": {"split": "Training", "n": 2871}, "choose": {"split": "PublicTest", "n": 360}},
            "excluded": {"fit": {"leaked": 12, "blank": 3, "rows": 14}, "choose": {"rows": 0}},
        },
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    if history:
        columns = drawn_history()
        with (folder / "history.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    for number, role in enumerate(roles):
        labels, logits = drawn_predictions(names, SUPPORT[: len(names)], seed=number)
        if sure:
            logits = np.eye(len(names), dtype=np.float32)[labels]
        where = split if role == "report" else "PublicTest"
        columns = {"id": [str(i) for i in range(len(labels))], "split": [where] * len(labels), "label": labels}
        columns |= {name: logits[:, i] for i, name in enumerate(names)}
        pq.write_table(pa.table(columns), folder / "predictions" / f"{role}.parquet")
        metrics = {"protocol": protocol, "role": role, "split": where, **measure(labels, logits, names)}
        metrics["contaminated"] = contaminated if role == "report" else 0.0
        if not older:
            metrics |= {"dataset": "drawn", "labels": "drawn-7", "seeds": [42]}
            metrics |= newer_keys(labels, logits, names, role, exact, tta, votes)
            if role == "report":
                metrics["overlap"]["rows"] = contaminated
        name = "metrics.json" if role == "report" else f"metrics-{role}.json"
        (folder / name).write_text(json.dumps(metrics))
    return folder


def newer_keys(labels, logits, names, role, exact, tta, votes):
    """What an evaluation writes beside the scores. Of the rows with an exact copy, one more has a near one."""
    report, few = role == "report", round(exact * len(labels))
    order = np.random.default_rng(1).permutation(len(labels))

    def parts(given):
        return {
            name: measure(labels[order[without:]], given[order[without:]], names) if report else None
            for name, without in (("clean", few), ("near_clean", few + 1))
        }

    views = np.asarray(logits, dtype=np.float64) * np.array([1.5, *[1.0] * (len(names) - 1)])
    given = np.zeros((len(labels), 10), dtype=int)
    given[np.arange(len(labels)), np.array([4, 5, 6, 1, 3, 2, 0])[labels]] = np.where(np.arange(len(labels)) % 9, 8, 5)
    given[:, 7] = 10 - given.sum(axis=1)
    return {
        "overlap": {"rows": 0.0, "exact": few / len(labels), "near": (few + 1) / len(labels)} if report else None,
        **parts(logits),
        "tta": {"name": "flip", "views": 2, **measure(labels, views, names), **parts(views)} if tta else None,
        "calibration": {
            "temperature": 1.4,
            "before": measure_calibration(labels, logits),
            "after": measure_calibration(labels, logits, 1.4),
        },
        "votes": measure_votes(given, labels, logits, names) if votes else None,
        "slices": {"image_quality": slices(labels, logits, names, ["bad"] * 29 + ["good"] * (len(labels) - 29))},
        "dropped": {"rows": 0, "classes": {}},
        "excluded": {},
    }


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs"), ("choose", "report"), exact=0.05, tta=True, votes=True)
    html = write_report(folder).read_text()
    return folder, html, Page(html)


# Figures


def all_figures(caption=CAPTION):
    labels, logits = drawn_predictions()
    matrix = confusion(labels, logits.argmax(axis=1), len(NAMES))
    correct = logits.argmax(axis=1) == labels
    sure, calm = (probabilities(logits, scale).max(axis=1) for scale in (1.0, 1.4))
    bins = {"as trained": bin_rows(sure, correct), "temperature 1.40": bin_rows(calm, correct)}
    return {
        "curves": figures.curves(drawn_history(), caption),
        "confusion": figures.confusion_matrix(matrix, NAMES, caption),
        "per-class": figures.per_class(measure(labels, logits, NAMES)["per_class"], caption),
        "reliability": figures.reliability(bins, caption),
        "risk-coverage": figures.risk_coverage(*risk_coverage(sure, correct), caption),
    }


def test_figures_are_light(tmp_path):
    for name, made in all_figures().items():
        style.save(made, tmp_path / name)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 10
    assert {name for name, size in sizes.items() if size > 60_000} == set()
    widths = {}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            widths[path.stem] = image.width
    assert widths == {"curves": 1152, **dict.fromkeys(("confusion", "per-class", "reliability", "risk-coverage"), 672)}
    assert "<dc:date>" not in (tmp_path / "curves.svg").read_text()


@pytest.mark.parametrize("name", ["curves", "confusion", "per-class", "reliability", "risk-coverage"])
def test_each_figure_says_what_was_measured(name):
    warned = style.Caption(CAPTION.lines, "contaminated: 89 % of these rows were trained on")
    text = style.svg(all_figures(warned)[name])
    for line in (*warned.lines, warned.warning):
        assert f">{line}</text>" in text


def test_a_long_caption_is_broken_into_lines():
    made = all_figures(style.Caption(("word " * 40,)))["confusion"]
    with style.styled():
        made.draw_without_rendering()
        edge = max(text.get_window_extent().x1 for text in made.texts)
    assert edge <= made.bbox.x1
    assert len(made.texts) == 1 + 4


def test_confusion_matrix_shows_shares_and_counts():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [1, 1, 6]])
    made = figures.confusion_matrix(matrix, ["a", "b", "$c$"], CAPTION)
    written = [text.get_text() for text in made.axes[0].texts]
    assert written == ["75", "3", "25", "1", "0", "0", "12", "1", "12", "1", "75", "6"]
    assert "$c$" in style.svg(made)


def test_best_epoch_is_the_first_best_and_skips_what_was_not_measured():
    history = drawn_history(6)
    history["choose_loss"] = np.array([np.nan, 1.3, 1.1, 1.2, 1.1, np.nan])
    history["choose_accuracy"] = np.array([np.nan, 0.3, 0.5, 0.6, 0.6, np.nan])
    assert figures.best_epoch(history, LOSS) == 3
    assert figures.best_epoch(history, ACCURACY) == 4
    labels = [text.get_text() for text in figures.curves(history, CAPTION).axes[0].get_legend().get_texts()]
    assert labels == ["fit", "choose", "lowest: 1.100, epoch 3"]
    history["choose_loss"] = np.full(6, np.nan)
    assert figures.best_epoch(history, LOSS) is None
    labels = [text.get_text() for text in figures.curves(history, CAPTION).axes[0].get_legend().get_texts()]
    assert labels == ["fit", "choose"]


def test_the_best_accuracy_has_an_interval_where_the_rows_are_known():
    made = figures.curves(drawn_history(12), CAPTION, [ACCURACY], 360)
    labels = [text.get_text() for text in made.axes[0].get_legend().get_texts()]
    low, high = wilson(180, 360)
    assert labels == ["fit", "choose", f"best: 0.500 [{low:.3f}, {high:.3f}] at 7"]


def test_reliability_shows_each_bin_with_its_interval_and_n():
    confidence = np.array([0.03, 0.5, 0.51, 0.52, 0.97, 1.0])
    correct = np.array([False, True, False, True, True, True])
    made = figures.reliability({"as trained": bin_rows(confidence, correct)}, CAPTION)
    ax, below = made.axes
    ideal, line = ax.get_lines()
    assert ideal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert line.get_xydata().round(3).tolist() == [[0.03, 0], [0.51, 0.667], [0.985, 1]]
    ends = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    assert ends == [list(wilson(*counts)) for counts in ((0, 1), (2, 3), (2, 2))]
    # The first, eighth and last of 15 bins.
    bars = [(int((bar.get_x() + bar.get_width() / 2) * 15), bar.get_height()) for bar in below.patches]
    assert bars == [(0, 1), (7, 3), (14, 2)]


def test_risk_by_coverage_begins_with_the_surest_and_ends_with_all():
    correct = np.arange(1000) < 700
    made = figures.risk_coverage(*risk_coverage(np.linspace(1, 0, 1000), correct), CAPTION)
    line, all_rows = made.axes[0].get_lines()
    assert len(line.get_xydata()) == 100
    assert line.get_xydata()[0].tolist() == [0.001, 0]
    assert line.get_xydata()[-1].tolist() == pytest.approx([1, 0.3])
    assert all_rows.get_ydata() == [0.3, 0.3]


def test_drawing_leaves_matplotlib_as_it_was_and_needs_neither_pyplot_nor_torch():
    code = (
        "import sys, matplotlib, numpy as np\n"
        "before = {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'}\n"
        "import mien.report.page; from mien.report import figures, style\n"
        "style.png(figures.confusion_matrix(np.eye(2, dtype=int), 'ab', style.Caption(())))\n"
        "assert all(matplotlib.rcParams[k] == before[k] for k in before)\n"
        "print([name for name in ('matplotlib.pyplot', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# The page


def test_report_role_comes_first_with_its_numbers(evaluated):
    folder, html, page = evaluated
    metrics = json.loads((folder / "metrics.json").read_text())
    parts = [of[part] if part else of for of in (metrics, metrics["tta"]) for part in ("", "clean", "near_clean")]
    assert page.row("Macro") == [
        f"{of['macro_f1']:.3f} {of['interval']['macro_f1'][0]:.3f}–{of['interval']['macro_f1'][1]:.3f}" for of in parts
    ]
    assert [of["n"] for of in parts] == [360, 342, 341] * 2
    assert page.row("all")[:2] == ["no exact copies n = 342", "no near copies n = 341"]
    low, high = metrics["interval"]["accuracy"]
    assert f"{metrics['accuracy']:.3f} {low:.3f}–{high:.3f} accuracy on 360 rows of PrivateTest" in page.text
    assert "report: PrivateTest, n = 360, protocol official, seed 42" in page.text
    fear = metrics["per_class"]["fear"]
    row = page.row("fear")
    assert row[0] == "53"
    assert [cell.split(" ")[0] for cell in row[1:]] == [f"{fear[key]:.3f}" for key in ("precision", "recall", "f1")]
    assert all(re.fullmatch(r"0\.\d{3} 0\.\d{3}–0\.\d{3}", cell) for cell in row[1:])
    assert html.index("Report: PrivateTest") < html.index("Choose: PublicTest")
    assert "Always answering “happy” would score 0.244." in page.text
    assert "contaminated" not in page.text.lower()
    assert "hasn't been opened" not in page.text
    assert "older mien" not in page.text
    assert "Other protocols" not in page.text


def test_copies_and_test_time_views_are_told_under_the_headline(evaluated):
    folder, _, page = evaluated
    metrics = json.loads((folder / "metrics.json").read_text())

    def spoken(of):
        return f"{of['accuracy']:.3f} (95 % interval {wording.span(of['interval']['accuracy'])}, n = {of['n']})"

    assert_in_order(
        page.text.replace("\N{WORD JOINER}", ""),
        *("5.0 %", "exact copy", spoken(metrics["clean"]), "5.3 %", "near copy", spoken(metrics["near_clean"])),
        *("flip, 2 views", spoken(metrics["tta"]), spoken(metrics["tta"]["clean"])),
    )


def test_calibration_is_shown_before_and_after_the_temperature(evaluated):
    folder, _, page = evaluated
    content = json.loads((folder / "metrics.json").read_text())["calibration"]
    before, after = content["before"], content["after"]

    def cells(key):
        return [f"{side[key]:.3f} {wording.span(side['interval'][key])}" for side in (before, after)]

    assert page.row("NLL") == cells("nll")
    assert page.row("Brier") == cells("brier")
    assert page.row("AURC") == cells("aurc")
    assert page.row("ECE, 15 bins calibration error, without what chance adds") == cells("ece_corrected")
    assert page.row("ECE, equal mass, as found") == [f"{side['ece_equal_mass']:.3f}" for side in (before, after)]
    assert "The temperature 1.40, fitted on the choose role alone" in page.text
    labels, logits = drawn_predictions(seed=1)
    confidence = probabilities(logits, 1.4).max(axis=1)
    wrong = int((logits.argmax(axis=1) != labels)[np.argsort(-confidence)[:180]].sum())
    low, high = wilson(wrong, 180)
    told = f"{wrong / 1.8:.1f} % of these answers are wrong (95 % interval {low:.3f}–{high:.3f}, n = 180)"
    assert told in page.text.replace("\N{WORD JOINER}", "")


def test_slices_below_the_least_n_have_no_number(evaluated):
    folder, _, page = evaluated
    (_, good) = json.loads((folder / "metrics.json").read_text())["slices"]["image_quality"]
    assert "No number is shown for a part with fewer than 30 rows." in page.text
    assert "By image quality, with 95 % intervals; report: PrivateTest, n = 360" in page.text
    assert page.row("bad") == ["29", "–", "–"]
    assert page.row("good") == [
        "331",
        *(f"{good[key]:.3f} {wording.span(good['interval'][key])}" for key in ("accuracy", "balanced_accuracy")),
    ]


def test_votes_are_told_with_their_rule(evaluated):
    folder, _, page = evaluated
    votes = json.loads((folder / "metrics.json").read_text())["votes"]
    assert votes["n"] == 320
    assert "320 of 360 rows have a majority among the model's classes; the others: tie 40." in page.text
    assert f"The rule: {votes['rule']}." in page.text
    for label, of in (
        ("The model's class is the majority's", votes["accuracy"]),
        ("The label is the majority's", votes["agreement"]),
        ("Two raters of a row agree", votes["one_more_rater"]["rater"]),
        ("A rater says what the model does", votes["model_with_rater"]),
    ):
        assert page.row(label) == ["320", f"{of['value']:.3f} {wording.span(of['interval'])}"]


def test_what_isnt_known_of_votes_yet_still_has_a_line():
    given = {"new": {"thing": {"n": 5, "value": 0.5, "interval": [0.4, 0.6]}}, "none": {"n": 0, "value": None}}
    assert tables.vote_table(given) == [("new, thing", "0.500", "0.400–0.600", "5")]


def test_page_holds_experiment_environment_data_set_and_commands(evaluated):
    _, html, page = evaluated
    assert "name: cnn1 # <script>alert('no')</script>" in page.text
    assert "<script" not in html
    for words in (
        "model cnn · data set drawn · protocol official · seed 42",
        "excluded fit 14 rows (leaked 12, blank 3)",
        "12 epochs; kept: the weights of epoch 7, the best by choose accuracy.",
        "packages torch 2.13.0, numpy 2.4.6",
        "gpus none",
        "commit unknown",
        "duration 20 min 4 s",
        "fingerprint 0123abcd",
        "roles fit Training (2,871 rows), choose PublicTest (360 rows)",
        "mien train 'my experiments/cnn1.yaml' mien evaluate cnn1/3",
        "fit: Training, n = 2,871 · choose: PublicTest, n = 360",
        "lowest: 1.400, epoch 5",
    ):
        assert words in page.text


def test_page_needs_nothing_from_elsewhere(evaluated):
    _, html, page = evaluated
    assert len(html.encode()) < 250_000
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    kinds = {tag for tag, _ in page.tags}
    assert not kinds & {"script", "link", "iframe", "img", "object", "embed"}
    for _, attributes in page.tags:
        assert attributes.get("href", "#").startswith("#")
        assert "src" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
    assert ("meta", {"charset": "utf-8"}) in page.tags
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_page_can_be_read_aloud(evaluated):
    _, html, page = evaluated
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', html)
    assert used
    assert {one or other for one, other in used} <= set(ids)
    pictures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(pictures) == 8
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 40 for attributes in pictures)
    assert pictures[0]["aria-label"].startswith(
        "Confusion matrix of report, PrivateTest, n = 360. Commonest mistakes: "
    )
    assert html.count("<table") == html.count("<caption") == html.count("<thead") == 12
    assert all(attributes.get("scope") in ("col", "row", "colgroup") for tag, attributes in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_files_beside_the_page(evaluated):
    folder, _, _ = evaluated
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(
        f"{name}.{suffix}"
        for name in (
            "curves",
            "confusion-choose",
            "confusion-report",
            "per-class-choose",
            "per-class-report",
            "reliability-report",
            "risk-coverage-report",
        )
        for suffix in ("png", "svg")
    )
    text = (folder / "classification_report.txt").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert text.startswith(
        f"cnn1/3 · protocol official · report: drawn PrivateTest · seed 42 · n = 360 · accuracy {scored(metrics)} · "
        f"without exact copies: n = 342 · accuracy {scored(metrics['clean'])}\n\n"
    )
    rows = list(csv.DictReader(io.StringIO((folder / "classification_report.csv").read_text())))
    assert [row["class"] for row in rows] == [*NAMES, "accuracy", "macro avg", "weighted avg"]
    assert float(rows[-2]["f1"]) == pytest.approx(metrics["macro_f1"])
    assert r"\toprule" in (folder / "classification_report.tex").read_text()


def test_after_training_only_the_choose_role_is_told_and_that_it_is(tmp_path):
    folder = make_run(tmp_path, names=NAMES[:3], keep="last")
    page = Page(write_report(folder).read_text())
    assert "The report role hasn't been opened yet." in page.text
    assert "mien evaluate cnn1/3" in page.text
    assert "PrivateTest" not in page.text
    assert "12 epochs; kept: the weights of the last one." in page.text
    assert sorted(path.stem for path in (folder / "figures").glob("*.png")) == [
        "confusion-choose",
        "curves",
        "per-class-choose",
        "reliability-choose",
        "risk-coverage-choose",
    ]
    text = (folder / "classification_report.txt").read_text()
    assert text.startswith("cnn1/3 · protocol official · choose: drawn PublicTest · seed 42 · n = 108 · accuracy 0.")
    assert "copy among" not in page.text

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_contaminated_numbers_are_marked_wherever_they_stand(tmp_path):
    both, few = "Training + PrivateTest", NAMES[:3]
    folder = make_run(
        tmp_path, ("report",), contaminated=0.8889, protocol="paper-2021", split=both, names=few, history=False
    )
    html = write_report(folder).read_text()
    page = Page(html)
    assert "<title>CONTAMINATED: cnn1/3</title>" in html
    assert "Contaminated: 89 % of the rows that this was measured on were trained on." in page.text
    assert "the model was trained on none" not in page.text
    assert page.text.count("report: Training + PrivateTest, n = 108, protocol paper-2021, seed 42, contaminated") == 5
    warning = "contaminated: 89 % of these rows were trained on"
    for name in ("confusion-report", "per-class-report", "reliability-report", "risk-coverage-report"):
        assert f">{warning}</text>" in (folder / "figures" / f"{name}.svg").read_text()
    assert (folder / "classification_report.txt").read_text().splitlines()[0].endswith(f" · {warning}")
    assert "Why the number is so high Protocol paper-2021 reports on Training + PrivateTest: 108 rows, " in page.text


def add_evaluation(folder, name, **changes):
    content = json.loads((folder / "metrics.json").read_text()) | changes
    path = folder / "evaluations" / name / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return content


def test_other_protocols_and_data_sets_stand_side_by_side_with_the_reason(tmp_path):
    folder = make_run(tmp_path, ("report",), exact=0.05, names=NAMES[:3], history=False)
    own = json.loads((folder / "metrics.json").read_text())
    large = measure(*drawn_predictions(NAMES[:3], [490, 60, 530]), NAMES[:3])
    both = add_evaluation(
        folder,
        "paper-2021",
        protocol="paper-2021",
        split="Training + PrivateTest",
        contaminated=2871 / 3231,
        overlap={**own["overlap"], "rows": 2871 / 3231},
        **(large | {"n": 3231}),
    )
    add_evaluation(
        folder,
        "official@away",
        dataset="away",
        split="test",
        dropped={"rows": 88, "classes": {"contempt": 80, "unsure": 8}},
        overlap={"rows": 0.0, "exact": 0.0, "near": None},
        near_clean=None,
    )
    page = Page(write_report(folder).read_text())
    rows = [[cell.strip() for cell in row] for row in page.rows if row[0].startswith(("official", "paper-2021"))]

    def cell(of):
        return f"{of['accuracy']:.3f} {wording.span(of['interval']['accuracy'])} n = {of['n']:,}"

    assert rows == [
        ["official its own", "drawn, PrivateTest", cell(own), cell(own["clean"]), cell(own["near_clean"])],
        [
            "official",
            "away, test left out: 88 rows: contempt 80, unsure 8",
            cell(own),
            cell(own["clean"]),
            "– not looked for",
        ],
        [
            "paper-2021 contaminated 88.9 % trained on",
            "drawn, Training + PrivateTest",
            cell(both),
            cell(own["clean"]),
            cell(own["near_clean"]),
        ],
    ]
    assert_in_order(
        page.text.replace("\N{WORD JOINER}", ""),
        *(
            "Other protocols and data sets",
            "paper-2021",
            "3,231 rows",
            "2,871 rows of Training",
            "89 %",
            scored(both),
        ),
        f"{own['clean']['accuracy']:.3f} (95 % interval {wording.span(own['clean']['interval']['accuracy'])}, n = 103)",
    )
    assert "CONTAMINATED" not in page.text


def test_a_protocol_that_leaves_no_row_says_so():
    metrics = {"protocol": "p", "split": "s", "contaminated": 1.0, "clean": None, "near_clean": None}
    metrics |= {"overlap": {"rows": 1.0, "exact": 1.0, "near": None}, **measure(*drawn_predictions(), NAMES)}
    exact, near = wording.twins(metrics)
    assert_in_order(exact, "100.0 %", "exact copy", "no row is left")
    assert near == "Near copies weren't looked for."
    told = wording.why_high(metrics, {"split": "Training", "n": 2})
    assert_in_order(told, "Protocol p", "360 rows", "trained on (100 %)", scored(metrics), "No row is left")


def test_rows_that_were_chosen_on_are_not_called_trained_on():
    metrics = {"protocol": "p", "split": "s", "contaminated": 1.0, "clean": None, "near_clean": None}
    metrics |= {"overlap": {"rows": 0.0, "exact": 1.0, "near": None}, **measure(*drawn_predictions(), NAMES)}
    assert wording.warning(metrics) == (
        "contaminated: 100 % of these rows were trained or chosen on, or are copies of such rows"
    )
    told = wording.why_high(metrics, {"split": "Training", "n": 360})
    assert_in_order(told, "360 rows", "trained or chosen on, or copies of such rows (100 %)", scored(metrics))
    row = tables.other_rows([{**metrics, "n": 360, "dataset": "d", "dropped": {"rows": 0}, "older": False}], None)[0]
    assert row["contaminated"] == "100.0 % trained or chosen on, or copies"


def test_what_the_card_of_the_data_set_warns_of_is_told(tmp_path):
    folder = make_run(tmp_path, names=NAMES[:3], history=False)
    made = json.loads((folder / "environment.json").read_text())
    made["dataset"]["notes"] = ["mouth of 'drawn'; by the mean shape, where those failed the checks: train 5 of 1,000"]
    (folder / "environment.json").write_text(json.dumps(made))
    page = Page(write_report(folder).read_text())
    assert made["dataset"]["notes"][0] in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert ("p", {"class": "note"}) in page.tags


@given(st.floats(0, 1, exclude_min=True, exclude_max=True), st.integers(0, 2))
def test_a_share_is_never_called_nothing_or_all(share, digits):
    told = wording.percent(share, digits)
    number = float(re.search(r"[0-9.]+", told)[0])
    assert 0 < number < 100
    if told.startswith("less than "):
        assert 100 * share < number
    elif told.startswith("more than "):
        assert 100 * share > number
    else:
        assert 100 * share == pytest.approx(number, abs=0.51 * 10**-digits)


@pytest.mark.parametrize(
    ("exact", "near", "told"),
    [
        (0.0, 0.0, "None of these rows has an exact copy among the rows trained or chosen on. None has a near copy"),
        (0.0, None, "None of these rows has an exact copy among the rows trained or chosen on. Near copies weren't"),
        (0.0187, 0.0187, "1.9 % of these rows have an exact copy among the rows trained or chosen on; without them "),
        (0.0001, 0.02, "less than 0.1 % of these rows have an exact copy among the rows trained or chosen on; "),
    ],
)
def test_copies_in_words(exact, near, told):
    few = {"accuracy": 0.5, "interval": {"accuracy": [0.4, 0.6]}, "n": 99}
    metrics = {"overlap": {"exact": exact, "near": near}, "clean": few, "near_clean": few}
    assert " ".join(wording.twins(metrics)).startswith(told)
    assert wording.twins(metrics | {"overlap": None}) == []


def test_the_ledger_is_counted_without_names(tmp_path):
    folder = make_run(tmp_path / "home" / "runs", ("report",), names=NAMES[:3], history=False)
    line = {"who": "mallory@host", "protocol": "official", "dataset": "drawn", "split": "PrivateTest", "n": 360}
    lines = [
        line | {"when": f"2026-11-{day}T10:00:00+00:00", "run": run, "role": role}
        for day, run, role in (
            ("23", "cnn1/3", "report"),
            ("21", "cnn1/3", "report"),
            ("20", "cnn1/3", "choose"),
            ("25", "cnn1/2", "report"),
        )
    ]

    def write(path, lines):
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))

    run, own = Run(folder), {"dataset": "drawn", "split": "PrivateTest"}
    assert opened(run, own) == ""
    write(folder / "evaluations.jsonl", lines[:1])
    assert opened(run, own) == "The report role of this run was opened once, 2026-11-23 10:00 UTC."
    write(folder / "evaluations.jsonl", lines[:3])
    write(tmp_path / "home" / "evaluations.jsonl", [*lines, lines[3] | {"split": "Training"}])
    told = (
        "The report role of this run was opened 2 times, first 2026-11-21 10:00, last 2026-11-23 10:00 UTC. In its "
        "workspace PrivateTest of drawn was opened 3 times (by 2 runs), first 2026-11-21 10:00, last 2026-11-25 10:00 "
        "UTC."
    )
    assert opened(run, own) == told
    html = write_report(folder).read_text()
    assert told in Page(html).text
    assert "mallory" not in html
    (folder / "evaluations.jsonl").write_text("{}\n{")
    with pytest.raises(FailedError, match=r"evaluations.jsonl: the ledger can't be read"):
        opened(run, own)


def test_a_run_of_an_older_mien_says_what_to_do(tmp_path):
    folder = make_run(tmp_path, ("choose", "report"), names=NAMES[:3], history=False, older=True)
    (folder / "metrics.json").write_text(
        json.dumps(json.loads((folder / "metrics.json").read_text()) | {"tta": "none", "run": "cnn1/3"})
    )
    page = Page(write_report(folder).read_text())
    assert_in_order(page.text, "measured by an older mien", "mien evaluate cnn1/3 again")
    assert "copy among" not in page.text
    assert "seeds unknown" in page.text


def test_a_run_that_stopped_before_its_first_epoch_has_a_page(tmp_path):
    folder = make_run(tmp_path, (), state="failed", history=False)
    page = Page(write_report(folder).read_text())
    assert "This run is failed : the loss is nan." in page.text
    assert "No epoch is finished yet." in page.text
    assert "The report role hasn't been opened yet. mien evaluate cnn1/3" in page.text
    assert not (folder / "figures").exists()
    assert not (folder / "classification_report.txt").exists()


def test_a_run_that_stopped_on_its_way_shows_its_curves(tmp_path):
    folder = make_run(tmp_path, (), state="stopped")
    assert "12 epochs so far." in Page(write_report(folder).read_text()).text
    assert (folder / "figures" / "curves.png").exists()


def test_a_page_of_another_kind_has_the_same_look():
    """What the audit's page builds on."""
    html = render("base.html.j2", {})
    assert "--alarm: #8a1c0e" in html
    assert Page(html).text.strip().startswith("Written by mien ")


def test_names_of_classes_are_text_and_not_html(tmp_path):
    folder = make_run(tmp_path, names=("<b>sad</b>", 'a "&" b', 'id="x" 表情'), history=False)
    html = write_report(folder).read_text()
    page = Page(html)
    assert "<b>sad" not in html
    assert page.row("<b>sad</b>")[0] == "49"
    assert any("<b>sad</b>" in attributes.get("aria-label", "") for _, attributes in page.tags)


def test_without_errors_there_are_intervals_too(tmp_path):
    folder = make_run(tmp_path, names=("sad", "happy"), sure=True, history=False)
    page = Page(write_report(folder).read_text())
    assert page.row("Accuracy") == ["1.000 0.935–1.000"]
    assert page.row("sad")[:3] == ["49", "1.000 0.927–1.000", "1.000 0.927–1.000"]
    assert "No row was predicted wrong." in page.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics-choose.json", "{", "what was measured can't be read (JSONDecodeError: "),
        (
            "metrics-choose.json",
            "{}",
            "what was measured can't be read (field required)",
        ),
        ("history.csv", "epoch,fit_loss\n1,2\n", "the history can't be read (KeyError: 'fit_accuracy')"),
        ("predictions/choose.parquet", "PAR1", "the predictions can't be read"),
    ],
)
def test_a_broken_file_is_named(tmp_path, file, content, message):
    folder = make_run(tmp_path)
    (folder / file).write_text(content)
    with pytest.raises(FailedError) as raised:
        write_report(folder)
    assert str(folder / file) in str(raised.value)
    assert message in str(raised.value)
    assert not (folder / "report.html").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(MienError) as raised:
        write_report(tmp_path)
    assert str(raised.value) == f"{tmp_path}: this folder isn't a run; expected a folder with experiment.yaml"
    assert list(Path(tmp_path).iterdir()) == []
