"""A model's card: what it is for and not for, what it was trained on, and every number with its rows and interval."""

from collections.abc import Iterable, Sequence
from typing import Any

from mien.comparison.tables import markdown_lines, without_tags
from mien.intervals import wilson, with_interval
from mien.report.wording import scored, seeds
from mien.runs.run import Run
from mien.runs.stored import read_metrics
from mien.tasks import EXPRESSION, require

# What a data set's card doesn't tell: the terms of the sets that mien knows.
_TERMS = {
    "fer2013": "FER2013's images come from a web search for a research challenge of 2013 and have no licence of their "
    "own; the FER+ votes are under the MIT licence. The weights hold no image. Whether a use of them is lawful where "
    "you are is for you to find out.",
}
_FILES = ("file", "bytes", "accuracy", "without exact copies", "SHA-256")
_NOT_FOR = """It tells which of the classes people would name for a face in a picture, no more. A face that looks sad
is not a person who is sad: it can't tell what somebody feels, thinks, intends or is like. It is not for judging persons
or deciding about them: in hiring, at work, in schools, by police, at borders, in courts, in insurance or in health. In
the European Union the AI Act forbids inferring emotions from faces at work and in education, and makes most other uses
high-risk. It has not been measured by age, gender or skin colour, since its data don't tell them."""


def model_card(run: Run, name: str, files: Sequence[Sequence[str]] = ()) -> str:
    """The card of a measured run on expressions, as Markdown, for a model that goes by `name`.

    `files` are its files, each with name, bytes, accuracy, the same without exact copies, and SHA-256. Raises MienError
    for a run that isn't measured or on another task.
    """
    # Of a published run there are no predictions, only what was measured.
    metrics = read_metrics(run.metrics_file("report")) if run.published else run.measured()
    made = run.environment
    require(run.task, EXPRESSION, run.name, str(run.folder))
    content = run.content
    data = metrics["dataset"]
    roles, section = made["dataset"]["roles"], content["dataset"]
    rows = f"{metrics['split']} of {data}, n = {metrics['n']:,}"
    parts = [
        f"# {name}",
        f"Tells {without_tags(', '.join(metrics['per_class']))} from a face of {section['size']} × {section['size']} "
        f"pixels, {section['color']}. {scored(metrics)} of {rows}, in brackets the 95 % interval.",
        "## What it is for, and not for",
        " ".join(_NOT_FOR.split()),
        "## Training",
        f"Fit on {roles['fit']['split']} ({roles['fit']['n']:,} rows) of {data}, chosen on {roles['choose']['split']} "
        f"({roles['choose']['n']:,}), {seeds(metrics)}, {content['train']['epochs']} epochs in {made['precision']} on "
        f"{made['cpu'] if made['device'] == 'cpu' else ', '.join(made['gpus'])}. Protocol: {metrics['protocol']}. "
        + _learnt_from(made, content),
        *([_TERMS[data]] if data in _TERMS else []),
        *(f"Of the data set: {without_tags(note)}." for note in made["dataset"].get("notes", [])),
        "## How good it is",
        _table(
            ("rows", "n", "accuracy", "balanced accuracy", "macro F1"),
            [
                (label, f"{of['n']:,}", scored(of), scored(of, "balanced_accuracy"), scored(of, "macro_f1"))
                for label, of in (
                    (metrics["split"], metrics),
                    ("without exact copies of what it has seen", metrics["clean"]),
                    ("without near copies either", metrics["near_clean"]),
                )
                if of
            ],
        ),
        f"By class, {rows}:",
        _table(
            ("class", "n", "precision", "recall", "F1"),
            [
                (
                    label,
                    f"{of['support']:,}",
                    f"{of['precision']:.3f}",
                    _share(of["recall"], of["support"]),
                    f"{of['f1']:.3f}",
                )
                for label, of in metrics["per_class"].items()
            ],
        ),
        *_calibration(metrics),
        *_slices(metrics),
        *(["## Files", _table(_FILES, files)] if files else []),
    ]
    return "\n\n".join(parts) + "\n"


def _learnt_from(made: dict[str, Any], content: dict[str, Any]) -> str:
    words = []
    if content["train"].get("votes"):
        words.append("A second head learnt the raters' votes of the same rows.")
    if teachers := made.get("teachers"):
        words.append(f"It learnt from {', '.join(one['name'] for one in teachers)}.")
    return " ".join(words)


def _share(value: float, n: int) -> str:
    """A share of n rows with Wilson's interval."""
    return with_interval(value, wilson(round(value * n), n)) if n else "–"


def _calibration(metrics: dict[str, Any]) -> list[str]:
    if not metrics["calibration"]:
        return []
    before, after = metrics["calibration"]["before"], metrics["calibration"]["after"]
    rows = [
        (label, f"{of['temperature']:.2f}", scored(of, "ece_corrected"), scored(of, "nll"), scored(of, "brier"))
        for label, of in (("as trained", before), ("as shipped", after))
    ]
    head = f"Calibration, {metrics['split']}, n = {before['n']:,}; the temperature was fitted on the choose role:"
    return [head, _table(("probabilities", "temperature", "calibration error", "NLL", "Brier score"), rows)]


def _slices(metrics: dict[str, Any]) -> list[str]:
    if "agreement" not in metrics["slices"]:
        return []
    # Slices with too few rows have no accuracy.
    told = [one for one in metrics["slices"]["agreement"] if one["accuracy"] is not None]
    rows = [(one["slice"], f"{one['n']:,}", _share(one["accuracy"], one["n"])) for one in told]
    head = f"By the share of FER+ raters who agree with the label, {metrics['split']}:"
    return [head, _table(("agreement", "n", "accuracy"), rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(markdown_lines(head, rows))
