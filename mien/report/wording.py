"""Sentences and short texts about numbers, for pages and results/: each number with its n, interval and warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.intervals import choice_of, percent, with_interval
from mien.protocols import ALL_ROWS, UNSEEN_ROWS

# With fewer groups a cluster bootstrap is too narrow: A. C. Cameron, J. B. Gelbach, D. L. Miller (2008),
# Bootstrap-based improvements for inference with clustered errors, Review of Economics and Statistics 90.
FEW_GROUPS = 20

OLDER = "measured by an older mien"


def span(ends: Sequence[float] | None, form: str = ".3f") -> str:
    """An interval as tables show it; "–" for none, and for one without width, which no resampled row has changed.

    >>> span([0.4599, 0.4927]), span([1.0, 1.0]), span(None)
    ('0.460–0.493', '–', '–')
    """
    if ends is None or ends[0] == ends[1]:
        return "–"
    return f"{ends[0]:{form}}–{ends[1]:{form}}"


def scored(of: Mapping[str, Any], key: str = "accuracy", form: str = ".3f") -> str:
    """A score with its 95 % interval in brackets; "–" where it wasn't measured, or on too few rows.

    >>> scored({"accuracy": 0.4762, "interval": {"accuracy": [0.4599, 0.4927]}}), scored({"accuracy": None})
    ('0.476 [0.460, 0.493]', '–')
    """
    return "–" if of.get(key) is None else with_interval(of[key], of["interval"][key], form)


def in_percent(of: Mapping[str, Any], key: str, digits: int = 2, unit: str = "") -> str:
    """A share in per cent with its 95 % interval in brackets.

    >>> in_percent({"median": 0.0412, "interval": {"median": [0.04, 0.0433]}}, "median", unit=" %")
    '4.12 % [4.00, 4.33]'
    """
    return with_interval(of[key], of["interval"][key], f".{digits}f", scale=100, unit=unit)


def spoken(of: Mapping[str, Any], key: str = "accuracy") -> str:
    """A score with its interval and n, as part of a sentence."""
    return f"{of[key]:.3f} (95 % interval {span(of['interval'][key])}, n = {of['n']:,})"


def seeds(metrics: Mapping[str, Any]) -> str:
    """The seeds of the measured runs.

    >>> seeds({"seeds": [42]}), seeds({"seeds": [1, 2]})
    ('seed 42', 'seeds 1, 2')
    """
    numbers = metrics["seeds"]
    return f"seed{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers)) or 'unknown'}"


def start_weights(record: Mapping[str, Any]) -> str:
    """The weights that a training began with, by the record that `mien.training.start_weights.start` gives.

    >>> start_weights({"name": "random"})
    'random'
    >>> start_weights({"name": "imagenet", "source": "https://example.org/net-1378be20.pth"})
    'imagenet, to be downloaded from https://example.org/net-1378be20.pth'
    >>> start_weights({"name": "own.pth", "file": "own.pth", "sha256": "0123456789abcdef", "input": {"used": False}})
    'own.pth (SHA-256 01234567), input not normalised as theirs was'
    >>> of = {"run": "base/1", "last_layer": "new", "optimizer": "new", "input": {"used": True}}
    >>> start_weights({"name": "base/1", "file": "weights.safetensors", "sha256": "0123456789abcdef", **of})
    "run base/1's (SHA-256 01234567), the last layer and the optimiser's state new"
    """
    if "sha256" not in record:
        return f"{record['name']}, to be downloaded from {record['source']}" if "source" in record else record["name"]
    unlike = "" if record["input"]["used"] else ", input not normalised as theirs was"
    if "run" in record:
        new = "the last layer and the optimiser's state" if record["last_layer"] == "new" else "the optimiser's state"
        return f"run {record['run']}'s (SHA-256 {record['sha256'][:8]}), {new} new{unlike}"
    file = "" if record["file"] == record["name"] else f"{record['file']}, "
    return f"{record['name']} ({file}SHA-256 {record['sha256'][:8]}){unlike}"


def warning(metrics: Mapping[str, Any]) -> str:
    """The warning beside each number that was measured on rows the model has seen; "" where it has seen none."""
    if not metrics["contaminated"]:
        return ""
    known = "were trained on" if fit_on(metrics) else "were trained or chosen on, or are copies of such rows"
    return f"contaminated: {percent(metrics['contaminated'])} of these rows {known}"


def over(metrics: Mapping[str, Any]) -> str:
    """A sentence: what the intervals are over, and what they can't know where rows of a person aren't known.

    >>> over({"groups": 118, "grouped_by": "subject"})
    'Intervals are over the choice of persons (118 groups by subject): whole groups are drawn.'
    """
    if metrics.get("groups"):
        few = "" if metrics["groups"] >= FEW_GROUPS else ", and so few of them make such intervals too narrow"
        return f"Intervals are {choice_of(metrics)}: whole groups are drawn{few}."
    if column := metrics.get("grouped_by"):
        return f"Intervals are over the choice of rows: by {column} each shows another person, or all show one."
    if "grouped_by" not in metrics:
        return "Intervals are over the choice of rows."
    return (
        "Intervals are over the choice of rows, as if these were independent: the data set has no column that names "
        "persons (mien data import --group), so they can't know of several pictures of one person, and are then too "
        "narrow."
    )


def constant(metrics: Mapping[str, Any]) -> str:
    """The accuracy of always answering the commonest class of the measured rows, in a sentence.

    >>> constant({"n": 40, "per_class": {"sad": {"support": 10}, "happy": {"support": 30}}})
    'Always answering “happy” would score 0.750.'
    """
    name, of = max(metrics["per_class"].items(), key=lambda item: item[1]["support"])
    return f"Always answering “{name}” would score {of['support'] / metrics['n']:.3f}."


# A wider interval of accuracy than that of some 400 rows tells few models apart.
WIDE = 0.1


def wide(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence where the interval of accuracy is wide: what would make it narrower.

    >>> wide({"interval": {"accuracy": [0.61, 0.78]}, "groups": None})[0].partition(":")[0]
    'The interval of accuracy is 0.17 wide'
    """
    low, high = metrics["interval"]["accuracy"]
    if high - low <= WIDE:
        return []
    more = "more persons" if metrics.get("groups") else "more rows"
    return [
        f"The interval of accuracy is {high - low:.2f} wide: {more} to report on would narrow it, and several seeds "
        "(mien train --seeds 5) say how far training moves it."
    ]


def which_rows(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences: which rows of another data set were measured where nobody named a protocol, and what isn't known.

    >>> which_rows({"protocol": "all-rows", "n": 927, "dataset": "ours", "split": "train + test", "overlap": {}})[0]
    'These are all 927 rows of ours: train + test.'
    """
    n, where = f"{metrics['n']:,}", f"{metrics['dataset']}: {metrics['split']}"
    dropped = " whose class the model has" if (metrics.get("dropped") or {}).get("rows") else ""
    sentences = {
        ALL_ROWS: [f"These are all {n} rows of {where}{dropped}."],
        UNSEEN_ROWS: [f"These are the {n} rows of {where}{dropped}, that the model was neither trained nor chosen on."],
    }.get(metrics["protocol"], [])
    if metrics.get("role") == "report" and metrics.get("overlap", {}) is None:
        sentences.append("Which of them the model has seen isn't known.")
    return sentences


def fit_on(metrics: Mapping[str, Any]) -> bool:
    """Whether all contaminated rows were fit on; some may only have been chosen on, or be copies of such rows.

    >>> fit_on({"contaminated": 0.9, "overlap": {"rows": 0.9, "exact": 0.95, "near": None}})
    True
    >>> fit_on({"contaminated": 1.0, "overlap": {"rows": 0.0, "exact": 1.0, "near": None}})
    False
    """
    overlap = metrics.get("overlap")
    return not overlap or bool(metrics["contaminated"] == overlap["rows"])


def view(tta: Mapping[str, Any]) -> str:
    """The kind of test-time augmentation, and how many views of an image are averaged.

    >>> view({"name": "flip", "views": 2})
    'flip, 2 views'
    """
    return f"{tta['name']}, {tta['views']} views"


def twins(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences: how many rows have copies among the fit and choose rows, and the accuracy without these rows.

    No sentence where copies weren't looked for, as in the choose role.
    """
    if not metrics["overlap"]:
        return []
    return copies(metrics["overlap"], _without(metrics["clean"]), _without(metrics["near_clean"]))


def copies(overlap: Mapping[str, Any], clean: str, near_clean: str = "") -> list[str]:
    """Sentences: how many rows have copies. `clean` and `near_clean` tell the scores without exact and near ones."""
    exact, near, where = overlap["exact"], overlap["near"], "among the rows trained or chosen on"
    if exact:
        sentences = [f"{percent(exact, 1)} of these rows have an exact copy {where}; {clean}"]
    else:
        sentences = [f"None of these rows has an exact copy {where}."]
    if near is None:
        sentences.append("Near copies weren't looked for.")
    elif near == exact:
        sentences.append("None has a near copy besides." if exact else "None has a near copy either.")
    else:
        sentences.append(
            f"{percent(near, 1)} have a near copy or an exact one{f'; {near_clean}' if near_clean else '.'}"
        )
    return sentences


def _without(of: Mapping[str, Any] | None) -> str:
    return f"without them accuracy is {spoken(of)}." if of else "without them no row is left."


def augmented(metrics: Mapping[str, Any]) -> list[str]:
    """A sentence with the accuracy under test-time augmentation; none where the experiment has no such."""
    tta = metrics["tta"]
    if not tta:
        return []
    text = f"With test-time augmentation ({view(tta)}) accuracy is {spoken(tta)}"
    return [f"{text}; without exact copies {spoken(tta['clean'])}." if tta.get("clean") else f"{text}."]


def why_high(metrics: Mapping[str, Any], fit: Mapping[str, Any] | None) -> str:
    """A paragraph: why a contaminated number says little. `fit` is the split and n of the fit role."""
    trained, n = round(metrics["contaminated"] * metrics["n"]), metrics["n"]
    share = percent(metrics["contaminated"])
    whole = fit is not None and fit["n"] == trained
    rows = f"all {trained:,} rows of {fit['split']}" if fit and whole else f"{trained:,} rows"
    left, unseen = metrics.get("clean"), "seen neither in training nor in choosing, nor as an exact copy"
    known = (
        f"{rows} that the model was trained on ({share}). It has been told their answers, so there it can score by "
        "remembering."
        if fit_on(metrics)
        else f"{trained:,} rows that the model was trained or chosen on, or copies of such rows ({share}). Training "
        "and choosing went by their answers."
    )
    return (
        f"Protocol {metrics['protocol']} reports on {metrics['split']}: {n:,} rows, among them {known} Accuracy "
        f"comes out as {scored(metrics)} and says little about new faces. "
        + (
            f"On the rows that it has {unseen}, it is {spoken(left)}."
            if left
            else f"No row is left that it has {unseen}."
        )
    )


def opened(lines: Sequence[Mapping[str, Any]]) -> str:
    """How often a report role was opened: the lines of a ledger, the oldest first, in words; "" for no line."""
    if not lines:
        return ""
    runs = len({line["run"] for line in lines})
    first, last = (str(line["when"])[:16].replace("T", " ") for line in (lines[0], lines[-1]))
    if len(lines) == 1:
        return f"once, {first} UTC"
    return f"{len(lines)} times" + (f" (by {runs} runs)" if runs > 1 else "") + f", first {first}, last {last} UTC"


def left_out(dropped: Mapping[str, Any]) -> str:
    """The rows of a data set whose classes the model doesn't have; "" where it has all.

    >>> left_out({"rows": 1088, "classes": {"contempt": 1088}})
    '1,088 rows: contempt 1,088'
    """
    if not dropped["rows"]:
        return ""
    classes = ", ".join(f"{name} {n:,}" for name, n in dropped["classes"].items())
    return f"{dropped['rows']:,} rows: {classes}"


def excluded(content: Mapping[str, Mapping[str, int]]) -> str:
    """How many rows of a role were dropped by the audit's flags, in words; "" for none.

    >>> excluded({"fit": {"leaked": 3, "blank": 1, "rows": 4}, "choose": {"rows": 0}})
    'fit 4 rows (leaked 3, blank 1)'
    """
    texts = []
    for role, counts in content.items():
        flags = ", ".join(f"{flag} {n:,}" for flag, n in counts.items() if flag != "rows")
        if counts.get("rows"):
            texts.append(f"{role} {counts['rows']:,} rows" + (f" ({flags})" if flags else ""))
    return "; ".join(texts)


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(59.2), duration(1204), duration(7322)
    ('59 s', '20 min 4 s', '2 h 2 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def processor(made: Mapping[str, Any]) -> str:
    """The processor that trained a run, by its environment, as `1 of 2 cores (AMD EPYC)`."""
    devices, nodes = made.get("devices", 1), made.get("nodes", 1)
    many = "" if devices * nodes == 1 else f", {devices} processes"
    many += "" if nodes == 1 else f" on each of {nodes} machines"
    if made["device"] == "cuda":
        return ", ".join(made["gpus"]) + many
    used = "" if made["threads"] == made["cores"] else f"{made['threads']} of "
    return f"{used}{made['cores']} cores ({made['cpu']}){many}"
