"""What is published of runs, and what `make results` writes of it."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY
from pages import assert_in_order

from mien.errors import MienError
from mien.files import PUBLISHED
from mien.reading import read_json
from mien.report import results as written
from mien.report.publishing import publish
from mien.runs.run import Run

RESULTS = REPOSITORY / "results"
MADE = {
    "device": "cpu",
    "gpus": [],
    "cores": 2,
    "threads": 2,
    "cpu": "AMD EPYC",
    "duration_s": 2784.3,
    "precision": "float32",
    "dataset": {"roles": {"fit": {"split": "Training", "n": 28709}}},
}


def scores(accuracy: float, n: int) -> dict[str, Any]:
    """Scores with intervals of .02 to both sides."""
    values = {"accuracy": accuracy, "balanced_accuracy": accuracy - 0.01, "macro_f1": accuracy - 0.02}
    interval = {key: [value - 0.02, value + 0.02] for key, value in values.items()}
    return {"n": n, **values, "weighted_f1": accuracy, "interval": interval | {"weighted_f1": [0, 1]}, "per_class": {}}


def metrics(**changes: Any) -> dict[str, Any]:
    """Metrics of a run under its own protocol."""
    return {
        "run": "cnn1/1",
        "dataset": "fer2013",
        "labels": "fer2013-7",
        "protocol": "official",
        "role": "report",
        "split": "PrivateTest",
        "seeds": [42],
        **scores(0.476, 3589),
        "contaminated": 0.0,
        "overlap": {"rows": 0.0, "exact": 0.087, "near": None},
        "clean": scores(0.439, 3275),
        "near_clean": None,
        "tta": None,
        "dropped": {"rows": 0, "classes": {}},
        **changes,
    }


PAPER = metrics(
    protocol="paper-2021",
    split="Training + PrivateTest",
    **scores(0.9, 32298),
    contaminated=28709 / 32298,
    overlap={"rows": 28709 / 32298, "exact": 0.899, "near": 0.9},
    near_clean=scores(0.438, 3233),
)
AWAY = metrics(
    protocol="test",
    dataset="away",
    split="test",
    **scores(0.3, 700),
    overlap={"rows": 0.0, "exact": 0.0, "near": None},
    clean=scores(0.3, 700),
    dropped={"rows": 88, "classes": {"contempt": 88}},
)
GROUP = {
    "name": "small/1-3",
    "kind": "seeds",
    "experiment": "small",
    "runs": ["small/1", "small/2", "small/3"],
    "seeds": [1, 2, 3],
    "n": 3589,
    "split": "PrivateTest",
    "protocol": "official",
    "dataset": "fer2013",
    "labels": "fer2013-7",
    "contaminated": 0.0,
    "accuracy": {"mean": 0.5, "sd": 0.0041, "each": [0.496, 0.5, 0.504], "interval": [0.48, 0.52]},
    "macro_f1": {"mean": 0.45, "sd": 0.01, "each": [0.44, 0.45, 0.46], "interval": [0.43, 0.47]},
}


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A published run, measured under three protocols, and a published group."""
    folder = tmp_path / "results"
    write_json(folder / "cnn1" / "metrics.json", metrics())
    write_json(folder / "cnn1" / "evaluations" / "paper-2021" / "metrics.json", PAPER)
    write_json(folder / "cnn1" / "evaluations" / "test@away" / "metrics.json", AWAY)
    write_json(folder / "cnn1" / "environment.json", MADE)
    with (folder / "cnn1" / "history.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["epoch"], *([epoch] for epoch in range(40))])
    write_json(folder / "small" / "group.json", GROUP)
    write_json(folder / "small" / "environment.json", MADE)
    return folder


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip() for cell in line.strip("|\n ").split(" | ")]


def test_the_table_has_both_numbers_of_a_run_and_the_mean_of_a_group(results: Path) -> None:
    head, _, run, group = written.table("results/", results).splitlines()
    assert dict(zip(cells(head), cells(run), strict=True)) == {
        "run": "[cnn1](results/cnn1/report.html)",
        "protocol": "official",
        "measured on": "fer2013, PrivateTest, n = 3,589",
        "accuracy": "0.476 [0.456, 0.496]",
        "without exact copies": "0.439 [0.419, 0.459], n = 3,275",
        "balanced accuracy": "0.466 [0.446, 0.486]",
        "macro F1": "0.456 [0.436, 0.476]",
        "seeds": "42",
        "trained": "40 epochs, 46 min, float32 on 2 cores (AMD EPYC)",
    }
    assert cells(group) == [
        "[small](results/small/group.json), 3 seeds",
        "official",
        "fer2013, PrivateTest, n = 3,589",
        "0.500 [0.480, 0.520], sd 0.0041",
        "–",
        "–",
        "0.450 [0.430, 0.470], sd 0.0100",
        "1, 2, 3",
        "float32 on 2 cores (AMD EPYC)",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"clean": None}, "– (no row is left)"),
        ({"clean": None, "overlap": {"exact": None, "near": None}}, "– (not looked for)"),
        (
            {"tta": {"name": "flip", "views": 2, **scores(0.5, 3589), "clean": scores(0.46, 3275)}},
            "0.439 [0.419, 0.459], n = 3,275<br>flip, 2 views: 0.460 [0.440, 0.480]",
        ),
    ],
)
def test_the_clean_twin_or_why_there_is_none(results: Path, changes: dict[str, Any], told: str) -> None:
    write_json(results / "cnn1" / "metrics.json", metrics(**changes))
    line = cells(written.table("", results).splitlines()[2])
    assert line[4] == told
    if changes.get("tta"):
        assert line[3] == "0.476 [0.456, 0.496]<br>flip, 2 views: 0.500 [0.480, 0.520]"


def test_start_weights_are_told(results: Path) -> None:
    begun = {"name": "own.pth", "file": "own.pth", "sha256": "0123456789abcdef", "input": {"used": True}}
    write_json(results / "cnn1" / "environment.json", {**MADE, "start_weights": begun})
    line = cells(written.table("", results).splitlines()[2])
    assert line[-1].endswith("on 2 cores (AMD EPYC), start weights: own.pth (SHA-256 01234567)")


def test_a_run_of_an_older_mien_says_so(results: Path) -> None:
    older = {key: value for key, value in metrics(tta="none").items() if key not in ("overlap", "clean", "near_clean")}
    write_json(results / "cnn1" / "metrics.json", older)
    assert cells(written.table("", results).splitlines()[2])[4] == "– (measured by an older mien)"


def test_the_page_shows_protocols_side_by_side_and_why_one_is_high(results: Path) -> None:
    text = written.page(results)
    lines = text.splitlines()
    start = lines.index("The same weights, measured under each protocol and on each data set:") + 4
    assert [cells(line) for line in lines[start : start + 3]] == [
        [
            "official",
            "fer2013, PrivateTest, n = 3,589",
            "0.476 [0.456, 0.496]",
            "0.439 [0.419, 0.459], n = 3,275",
            "– (not looked for)",
        ],
        [
            "paper-2021, **contaminated** (88.9 % of the rows trained on)",
            "fer2013, Training + PrivateTest, n = 32,298",
            "0.900 [0.880, 0.920]",
            "0.439 [0.419, 0.459], n = 3,275",
            "0.438 [0.418, 0.458], n = 3,233",
        ],
        [
            "test",
            "away, test, n = 700; left out: 88 rows: contempt 88",
            "0.300 [0.280, 0.320]",
            "0.300 [0.280, 0.320], n = 700",
            "– (not looked for)",
        ],
    ]
    (why,) = [line for line in lines if line.startswith("**Why so high?**")]
    assert_in_order(
        why,
        *("paper-2021", "32,298 rows", "28,709 rows of Training", "89 %", "0.900 [0.880, 0.920]"),
        "0.439 (95 % interval 0.419–0.459, n = 3,275)",
    )


def test_the_page_shows_every_seed_of_a_group(results: Path) -> None:
    text = written.page(results)
    assert (
        "3 seeds of one experiment (small/1, small/2, small/3; seeds 1, 2, 3), protocol official, fer2013, "
        "PrivateTest, n = 3,589."
    ) in text
    assert "| accuracy | 0.500 [0.480, 0.520] | 0.0041 | 0.496, 0.500, 0.504 |\n" in text
    assert "| macro F1 | 0.450 [0.430, 0.470] | 0.0100 | 0.440, 0.450, 0.460 |\n" in text
    assert "weighted F1" not in text


def test_the_page_links_what_stands_beside_it(results: Path) -> None:
    assert "- [" not in written.page(results)
    (results / "comparisons" / "seeds").mkdir(parents=True)
    (results / "comparisons" / "seeds" / "comparison.md").write_text("# Five seeds\n")
    (results / "audit.md").write_text("# What the audit finds\n")
    (results / "README.md").write_text("# Results\n")
    assert (
        "\n- [Five seeds](comparisons/seeds/comparison.md)\n- [What the audit finds](audit.md)\n\n## cnn1\n"
    ) in written.page(results)


def test_experiments_tell_their_scores_once(results: Path) -> None:
    text = "# CNN 1.\n# mien train x/cnn1.yaml\nname: cnn1\n"
    told = (
        "# CNN 1.\n# mien train x/cnn1.yaml    2 cores: 46 min    "
        "PrivateTest 0.476 [0.456, 0.496], n = 3,589, seeds: 1\nname: cnn1\n"
    )
    assert written.with_header(text, "cnn1", results) == told
    assert written.with_header(told, "cnn1", results) == told
    assert written.with_header(text, "cnn2", results) == text

    small = "# mien train small.yaml\n# mien train small.yaml --seeds 3\n"
    told = small[:-1] + "    PrivateTest 0.500 [0.480, 0.520], sd 0.0041, n = 3,589, seeds: 3\n"
    assert written.with_header(small, "small", results) == told
    assert written.with_header(told, "small", results) == told


def reproduction(device: str, epochs: int = 10) -> dict[str, Any]:
    """What `mien reproduce` writes, as far as it is told here: CNN 2 with two seeds, and a part that isn't trained."""
    mean = {"mean": 0.5, "sd": 0.01, "interval": [0.48, 0.52]}
    run = {
        "device": device,
        "minutes": 3.6,
        "epochs": epochs,
        "start": "random",
        "precision": "float32",
        "official": metrics(),
        "paper": PAPER,
    }
    seeds = {"split": "PrivateTest", "n": 3589, "seeds": [42, 43], "accuracy": mean}
    clean = {"n": 3275, "accuracy": {**mean, "mean": 0.47}}
    part = {
        "name": "cnn2",
        "title": "CNN 2",
        "claimed": {"accuracy": 0.83},
        "runs": [run],
        "seeds": {**seeds, "clean": clean},
    }
    return {
        "parts": [part, {"name": "cnn3", "title": "CNN 3", "claimed": {"accuracy": 0.77}, "runs": [], "seeds": None}],
        "conclusions": [
            {"text": "Smaller kernels make no difference", "verdict": "can't be told", "because": "it may be both"}
        ],
    }


def test_a_reproduction_is_told_with_its_claims_and_conclusions(results: Path) -> None:
    assert written.report_table("results/", results) == ""
    write_json(results / "paper-2021" / "reproduction.json", reproduction("NVIDIA H200"))
    text = written.report_table("results/", results)
    assert text.startswith(
        "The 2021 report's accuracies, claimed and obtained ([paper-2021](results/paper-2021/README.md)). "
        "As it measured: Training + PrivateTest, n = 32,298, 88.9 % of them trained on; "
        "PrivateTest: n = 3,589:\n\n| model | claimed |"
    )
    lines = text.splitlines()
    assert cells(lines[4]) == [
        "CNN 2",
        "0.83",
        "0.900 [0.880, 0.920]",
        "0.500 [0.480, 0.520], sd 0.0100",
        "0.470 [0.480, 0.520], sd 0.0100, n = 3,275",
        "42, 43",
        "random",
        "10 epochs, float32 on NVIDIA H200",
    ]
    assert lines[-1] == "- Smaller kernels make no difference: **can't be told**; it may be both."
    assert "CNN 3" not in text
    assert f"\n{text}" in written.with_table(f"a\n{written.START}\n{written.END}\n", "results/", results)


@pytest.mark.parametrize(
    ("device", "before", "after"),
    [
        ("NVIDIA H200", "", "    NVIDIA H200: 4 min"),
        ("NVIDIA H200", "    2 cores: about 45 min", "    2 cores: about 45 min    NVIDIA H200: 4 min"),
        ("2 cores (AMD EPYC)", "    2 cores: about 45 min", "    2 cores: 4 min"),
    ],
)
def test_experiments_tell_what_a_reproduction_scored(results: Path, device: str, before: str, after: str) -> None:
    write_json(results / "paper-2021" / "reproduction.json", reproduction(device))
    text = f"# CNN 2.\n# mien train x/cnn2.yaml{before}\nname: cnn2\n"
    told = (
        f"# CNN 2.\n# mien train x/cnn2.yaml{after}    "
        "PrivateTest 0.500 [0.480, 0.520], sd 0.0100, n = 3,589, seeds: 2\nname: cnn2\n"
    )
    assert written.with_header(text, "cnn2", results) == told
    assert written.with_header(told, "cnn2", results) == told
    assert written.with_header(text, "cnn3", results) == text


def test_a_part_of_the_cores_is_told() -> None:
    assert written.processor(MADE) == "2 cores (AMD EPYC)"
    assert written.processor({**MADE, "threads": 1}) == "1 of 2 cores (AMD EPYC)"
    assert written.processor({**MADE, "device": "cuda", "gpus": ["A"]}) == "A"


def measured_run(tmp_path: Path) -> Run:
    folder = tmp_path / "runs" / "cnn1" / "1"
    write_json(folder / "metrics.json", metrics())
    write_json(folder / "evaluations" / "paper-2021" / "metrics.json", PAPER)
    write_json(folder / "environment.json", MADE)
    for name in (
        "experiment.yaml",
        "report.html",
        "figures/curves.png",
        "weights.safetensors",
        "evaluations.jsonl",
        "roles.parquet",
        "status.json",
        "predictions/report.parquet",
        "predictions/report-tta.parquet",
        "evaluations/paper-2021/predictions.parquet",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"name: {name}\n")
    return Run(folder)


def test_published_is_what_everyone_may_see(tmp_path: Path) -> None:
    publish(measured_run(tmp_path), tmp_path / "shown")
    assert sorted(path.relative_to(tmp_path / "shown").as_posix() for path in (tmp_path / "shown").rglob("*.*")) == [
        "environment.json",
        "evaluations/paper-2021/metrics.json",
        "experiment.yaml",
        "figures/curves.png",
        "metrics.json",
        "published.json",
        "report.html",
    ]


@pytest.mark.parametrize("name", ["runs/cnn1/1", "runs/cnn1/1/new", "runs", "datasets/new", "reproductions/x"])
def test_nothing_is_published_into_the_workspace(tmp_path: Path, name: str) -> None:
    run = measured_run(tmp_path)
    before = sorted(run.workspace.root.rglob("*"))
    with pytest.raises(MienError) as raised:
        publish(run, run.workspace.root / name)
    assert raised.value.message == "this folder is the workspace's own"
    assert sorted(run.workspace.root.rglob("*")) == before


def test_a_folder_of_the_users_is_not_published_into(tmp_path: Path) -> None:
    run = measured_run(tmp_path)
    for name in ("metrics.json", "thesis.tex", ".git/config"):
        write_json(tmp_path / "mine" / name, {})
    with pytest.raises(MienError, match="this folder holds something else"):
        publish(run, tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == [
        ".git",
        "config",
        "metrics.json",
        "thesis.tex",
    ]


def test_what_a_user_adds_to_a_published_folder_stays(tmp_path: Path) -> None:
    run, folder = measured_run(tmp_path), tmp_path / "shown"
    publish(run, folder)
    (folder / "notes.txt").write_text("mine")
    (run.folder / "figures" / "curves.png").unlink()
    publish(run, folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "figures").exists()


def test_what_is_published_in_results_can_be_published_again() -> None:
    """Every published folder of the repository lists all its files, so that `--to` takes it."""
    folders = {path.parent for name in ("metrics", "group", "reproduction") for path in RESULTS.glob(f"*/{name}.json")}
    assert folders
    for folder in folders:
        listed = read_json(folder / PUBLISHED)["files"]
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert sorted(there - {PUBLISHED}) == listed


def test_what_was_measured_by_an_older_mien_is_not_published(tmp_path: Path) -> None:
    run = measured_run(tmp_path)
    write_json(run.folder / "metrics.json", {key: value for key, value in metrics().items() if key != "overlap"})
    with pytest.raises(MienError) as raised:
        publish(run, tmp_path / "shown")
    assert str(raised.value) == "run cnn1/1 was measured by an older mien; expected mien evaluate cnn1/1 again"
    assert not (tmp_path / "shown").exists()


def test_what_ships_stands_beside_what_people_use(results: Path) -> None:
    less = {"value": 0.0299, "interval": [0.014, 0.045], "p": 2e-4}
    ours = {"all": scores(0.698, 3589) | {"less_best": less}, "clean": scores(0.685, 3275) | {"less_best": less}}
    write_json(
        results / "best" / "best.json",
        {
            "dataset": "fer2013",
            "split": "PrivateTest",
            "best_peer": "big",
            "machine": {"cpu": "AMD EPYC", "cores": 2},
            "rows": [
                {"name": "mien-m", "bytes": 2471096, "seeds": [1, 2], **ours},
                {
                    "name": "big",
                    "bytes": 855000,
                    "seeds": None,
                    "all": scores(0.668, 3589),
                    "clean": scores(0.646, 3275),
                },
            ],
            "speeds": [
                {"name": name, "threads": threads, "batch": batch, "faces_per_second": rate * threads * batch}
                for name, rate in (("mien-m", 1975.6), ("big", 709.4))
                for threads in (1, 2)
                for batch in (1, 8)
            ],
        },
    )
    page = written.page(results)
    assert "without exact copies of Training n = 3,275; no detector, one view." in page
    assert "one thread, one at a time, AMD EPYC." in page
    head, _, first, second = [cells(line) for line in page.splitlines() if line.startswith("| ")][:4]
    assert head[4] == "less big"
    assert first == [
        "mien-m",
        "2,471",
        "1, 2",
        "0.698 [0.678, 0.718]",
        "+3.0 [+1.4, +4.5]",
        "0.685 [0.665, 0.705]",
        "+3.0 [+1.4, +4.5]",
        "1,976",
    ]
    assert second == ["big", "855", "–", "0.668 [0.648, 0.688]", "–", "0.646 [0.626, 0.666]", "–", "709"]
