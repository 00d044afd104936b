"""The facts on every run's page: how it was trained, on which data, with which software, by which commands."""

import shlex
from collections.abc import Mapping
from typing import Any

from mien.experiment.yamlfile import read_yaml
from mien.protocols.roles import ALL_ROWS, UNSEEN_ROWS
from mien.report import figures, wording
from mien.report.pictures import curve_caption, curve_pictures
from mien.report.reading import read_content, read_history, read_ledger
from mien.runs.model_file import ModelFile
from mien.runs.run import Run
from mien.tasks import ACCURACY, LOSS, Score

# What a page shows in a place of its own, or twice.
_ELSEWHERE = ("dataset", "command", "sessions")
_OF_DATASET = ("excluded", "notes")


def common(run: Run, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What every task's page says of a run, by the names that the templates use; `measured` are its metrics by role.

    The curves are written into the run's folder.
    """
    environment, score = read_content(run.folder / "environment.json"), run.task.score
    history = read_history(run.history, score.key)
    said, rows = curve_caption(run, environment, measured)
    return {
        "name": run.name,
        "about": about(run, environment),
        "state": run.state,
        "reason": read_content(run.folder / "status.json").get("reason"),
        "opened": "report" in measured,
        "ledger": opened(run, measured.get("report")),
        "curves": curve_pictures(run, history, said, rows, (LOSS, score)) if history else [],
        "training": training(run, history, score),
        **record(run, environment),
    }


def file_facts(file: ModelFile, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the page says of a file of a model, by the same names; of its training mien knows nothing."""
    described = file.path.with_suffix(".yaml")
    # These two are what a measurement without a protocol is on.
    by = "" if metrics["protocol"] in (ALL_ROWS, UNSEEN_ROWS) else f" --protocol {metrics['protocol']}"
    return {
        "name": file.name,
        "about": f"model {metrics['model']}" if "model" in metrics else "",
        "state": "finished",
        "reason": None,
        "opened": True,
        "ledger": f"The report role of this file was opened {wording.opened(read_ledger(file.folder))}.",
        "curves": [],
        "training": "",
        "commands": [f"mien evaluate {file.name} --dataset {metrics['dataset']}{by}"],
        "dataset": [],
        "excluded": "",
        "notes": [],
        "experiment": described.read_text(encoding="utf-8") if described.is_file() else "",
        "environment": [],
    }


def record(run: Run, environment: Mapping[str, Any]) -> dict[str, Any]:
    """The last part of every task's page, by the names that the macro `record` uses."""
    made = environment.get("dataset", {})
    return {
        "commands": commands(run, environment),
        "dataset": facts({key: value for key, value in made.items() if key not in _OF_DATASET}),
        "excluded": wording.excluded(made.get("excluded", {})),
        # Of a data set that was cut they tell how, and which share of its rows by the mean shape.
        "notes": list(made.get("notes", [])),
        "experiment": run.experiment_file.read_text(encoding="utf-8"),
        "environment": facts({key: environment[key] for key in environment if key not in _ELSEWHERE}),
    }


def opened(run: Run, own: Mapping[str, Any] | None) -> str:
    """How often the report role was opened, by the run's ledger, and by the workspace's for the same rows."""
    mine = wording.opened(read_ledger(run.folder))
    if not mine or own is None:
        return ""
    text = f"The report role of this run was opened {mine}."
    lines = read_ledger(run.workspace.root)
    same = [line for line in lines if (line.get("dataset"), line.get("split")) == (own["dataset"], own["split"])]
    if len({line["run"] for line in same}) > 1:
        text += f" In its workspace {own['split']} of {own['dataset']} was opened {wording.opened(same)}."
    return text


def about(run: Run, environment: Mapping[str, Any]) -> str:
    """Model, data set, protocol, seed and start weights in one line."""
    content = read_yaml(run.experiment_file)[0]
    parts = {
        "model": content.get("model", {}).get("name"),
        "data set": environment.get("dataset", {}).get("name"),
        "protocol": content.get("protocol", {}).get("name"),
        "seed": environment.get("seed"),
    }
    if start := environment.get("start_weights"):
        parts["start weights"] = wording.start_weights(start)
    return " · ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def training(run: Run, history: figures.History | None, score: Score = ACCURACY) -> str:
    """How long it trained and which weights it kept, in one sentence."""
    if not history:
        return "No epoch is finished yet."
    section = read_yaml(run.experiment_file)[0].get("train", {})
    epochs = int(history["epoch"][-1])
    text = f"{epochs} epoch{'s' if epochs > 1 else ''}"
    if run.state != "finished":
        return f"{text} so far."
    if section.get("keep") == "best":
        by = LOSS if section.get("monitor") == f"choose_{LOSS.key}" else score
        best = figures.best_epoch(history, by)
        return f"{text}; kept: the weights of epoch {best}, the best by choose {by.label}."
    return f"{text}; kept: the weights of the last one."


def facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested data as lines of name and text."""
    return [(key.removesuffix("_s").replace("_", " "), _fact(key, value)) for key, value in content.items()]


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() == {"split", "n"}:
        return f"{value['split']} ({value['n']:,} rows)"
    if isinstance(value, Mapping) and value.keys() == {"name"}:
        return str(value["name"])
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_fact(str(name), of)}" for name, of in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_fact(key, one) for one in value) or "none"
    if key == "duration_s":
        return wording.duration(float(value))
    return "unknown" if value is None else str(value)


def commands(run: Run, environment: Mapping[str, Any]) -> list[str]:
    """The commands that trained the run and that measure it."""
    given = environment.get("command") or ["mien", "train", f"runs/{run.name}/experiment.yaml"]
    if len(given) == 1:  # A call from Python.
        given = given[0]
    return [given if isinstance(given, str) else shlex.join(given), f"mien evaluate {run.name}"]
