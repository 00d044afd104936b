"""Figures and the page of a run, from run folders made of drawn predictions."""

import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mien.errors import FailedError, MienError
from mien.metrics import confusion, measure
from mien.report import figures, style
from mien.report.page import write_report

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
):
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
        name = "metrics.json" if role == "report" else f"metrics-{role}.json"
        (folder / name).write_text(json.dumps(metrics))
    return folder


class Page(HTMLParser):
    """What a page is made of; fails on tags that don't close."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words, self.rows = [], [], [], []
        self.feed(html)
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if self.open and {"th", "td"} & set(self.open):
            self.rows[-1][-1] += data.strip() + " "

    def row(self, first):
        """The first row of a table that begins with this."""
        return next([cell.strip() for cell in row[1:]] for row in self.rows if row[0].split(" ")[0] == first)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs"), ("choose", "report"))
    html = write_report(folder).read_text()
    return folder, html, Page(html)


# Figures


def all_figures(caption=CAPTION):
    labels, logits = drawn_predictions()
    matrix = confusion(labels, logits.argmax(axis=1), len(NAMES))
    return {
        "curves": figures.curves(drawn_history(), caption),
        "confusion": figures.confusion_matrix(matrix, NAMES, caption),
        "per-class": figures.per_class(measure(labels, logits, NAMES)["per_class"], caption),
    }


def test_figures_are_light(tmp_path):
    for name, made in all_figures().items():
        style.save(made, tmp_path / name)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert len(sizes) == 6
    assert {name for name, size in sizes.items() if size > 60_000} == set()
    widths = {}
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            widths[path.stem] = image.width
    assert widths == {"curves": 1152, "confusion": 672, "per-class": 672}
    assert "<dc:date>" not in (tmp_path / "curves.svg").read_text()


@pytest.mark.parametrize("name", ["curves", "confusion", "per-class"])
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
    assert figures.best_epoch(history, "loss") == 3
    assert figures.best_epoch(history, "accuracy") == 4
    labels = [text.get_text() for text in figures.curves(history, CAPTION).axes[0].get_legend().get_texts()]
    assert labels == ["fit", "choose", "lowest: 1.100, epoch 3"]
    history["choose_loss"] = np.full(6, np.nan)
    assert figures.best_epoch(history, "loss") is None
    labels = [text.get_text() for text in figures.curves(history, CAPTION).axes[0].get_legend().get_texts()]
    assert labels == ["fit", "choose"]


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
    low, high = metrics["interval"]["macro_f1"]
    assert page.row("Macro") == [f"{metrics['macro_f1']:.3f}", f"{low:.3f}–{high:.3f}"]
    low, high = metrics["interval"]["accuracy"]
    assert (
        f"{metrics['accuracy']:.3f} accuracy on 360 rows of PrivateTest , 95 % interval {low:.3f}–{high:.3f}. "
        "The report role of protocol official; the model was trained on none of these rows."
    ) in page.text
    fear = metrics["per_class"]["fear"]
    row = page.row("fear")
    assert row[0] == "53"
    assert [cell.split(" ")[0] for cell in row[1:]] == [f"{fear[key]:.3f}" for key in ("precision", "recall", "f1")]
    assert all(re.fullmatch(r"0\.\d{3} 0\.\d{3}–0\.\d{3}", cell) for cell in row[1:])
    assert html.index("Report: PrivateTest") < html.index("Choose: PublicTest")
    assert "Always answering “happy” would score 0.244." in page.text
    assert "contaminated" not in page.text.lower()
    assert "hasn't been opened" not in page.text


def test_page_holds_experiment_environment_data_set_and_commands(evaluated):
    _, html, page = evaluated
    assert "name: cnn1 # <script>alert('no')</script>" in page.text
    assert "<script" not in html
    for words in (
        "model cnn · data set drawn · protocol official · seed 42",
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
    assert len(pictures) == 6
    assert all(attributes["role"] == "img" and len(attributes["aria-label"]) > 40 for attributes in pictures)
    assert pictures[0]["aria-label"].startswith(
        "Confusion matrix of report, PrivateTest, n = 360. Commonest mistakes: "
    )
    tables = html.count("<table")
    assert tables == html.count("<caption") == html.count("<thead") == 6
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags


def test_files_beside_the_page(evaluated):
    folder, _, _ = evaluated
    assert sorted(path.name for path in (folder / "figures").iterdir()) == sorted(
        f"{name}.{suffix}"
        for name in ("curves", "confusion-choose", "confusion-report", "per-class-choose", "per-class-report")
        for suffix in ("png", "svg")
    )
    text = (folder / "classification_report.txt").read_text()
    assert text.startswith("cnn1/3 · protocol official · report: PrivateTest · n = 360\n\n")
    rows = list(csv.DictReader(io.StringIO((folder / "classification_report.csv").read_text())))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [row["class"] for row in rows] == [*NAMES, "accuracy", "macro avg", "weighted avg"]
    assert float(rows[-2]["f1"]) == pytest.approx(metrics["macro_f1"])
    assert r"\toprule" in (folder / "classification_report.tex").read_text()


def test_after_training_only_the_choose_role_is_told_and_that_it_is(tmp_path):
    folder = make_run(tmp_path, keep="last")
    page = Page(write_report(folder).read_text())
    assert (
        "The report role hasn't been opened yet. The numbers here are of the choose role, by which choices are made, "
        "so they lean towards being too good. mien evaluate cnn1/3 measures the report role."
    ) in page.text
    assert "PrivateTest" not in page.text
    assert "12 epochs; kept: the weights of the last one." in page.text
    assert sorted(path.stem for path in (folder / "figures").glob("*.png")) == [
        "confusion-choose",
        "curves",
        "per-class-choose",
    ]
    text = (folder / "classification_report.txt").read_text()
    assert text.startswith("cnn1/3 · protocol official · choose: PublicTest · n = 360\n")

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    write_report(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_contaminated_numbers_are_marked_wherever_they_stand(tmp_path):
    folder = make_run(tmp_path, ("report",), contaminated=0.8889, protocol="paper-2021", split="Training + PrivateTest")
    html = write_report(folder).read_text()
    page = Page(html)
    assert "<title>CONTAMINATED: cnn1/3</title>" in html
    assert "Contaminated: 89 % of the rows that this was measured on were trained on." in page.text
    assert "the model was trained on none" not in page.text
    assert "report: Training + PrivateTest, n = 360, protocol paper-2021, contaminated" in page.text
    warning = "contaminated: 89 % of these rows were trained on"
    for name in ("confusion-report", "per-class-report"):
        assert f">{warning}</text>" in (folder / "figures" / f"{name}.svg").read_text()
    assert (folder / "classification_report.txt").read_text().splitlines()[0].endswith(f"n = 360 · {warning}")


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


def test_names_of_classes_are_text_and_not_html(tmp_path):
    folder = make_run(tmp_path, names=("<b>sad</b>", 'a "&" b', 'id="x" 表情'))
    html = write_report(folder).read_text()
    page = Page(html)
    assert "<b>sad" not in html
    assert page.row("<b>sad</b>")[0] == "49"
    assert any("<b>sad</b>" in attributes.get("aria-label", "") for _, attributes in page.tags)


def test_without_errors_only_shares_have_intervals(tmp_path):
    folder = make_run(tmp_path, names=("sad", "happy"), sure=True)
    page = Page(write_report(folder).read_text())
    assert page.row("Accuracy") == ["1.000", "0.935–1.000"]
    assert page.row("Macro") == ["1.000", "–"]
    assert page.row("sad") == ["49", "1.000 0.927–1.000", "1.000 0.927–1.000", "1.000 –"]
    assert "No row was predicted wrong." in page.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics-choose.json", "{", "the file isn't JSON"),
        ("metrics-choose.json", "{}", "the metrics lack accuracy, balanced_accuracy, contaminated, interval"),
        ("history.csv", "epoch,fit_loss\n1,2\n", "the history can't be read ('fit_accuracy')"),
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
