"""What is said of numbers, on pages and in results/: never one without its rows, its interval and its warnings."""

from collections.abc import Mapping, Sequence
from typing import Any

from mien.intervals import percent

OLDER = "measured by an older mien"


def span(ends: Sequence[float] | None) -> str:
    """An interval as tables show it; a score that no resample changed is not a sure one: it has none.

    >>> span([0.4599, 0.4927]), span([1.0, 1.0]), span(None)
    ('0.460–0.493', '–', '–')
    """
    if ends is None or ends[0] == ends[1]:
        return "–"
    return f"{ends[0]:.3f}–{ends[1]:.3f}"


def scored(of: Mapping[str, Any], key: str = "accuracy") -> str:
    """A score with its 95 % interval in brackets.

    >>> scored({"accuracy": 0.4762, "interval": {"accuracy": [0.4599, 0.4927]}})
    '0.476 [0.460, 0.493]'
    """
    low, high = of["interval"][key]
    return f"{of[key]:.3f} [{low:.3f}, {high:.3f}]"


def spoken(of: Mapping[str, Any], key: str = "accuracy") -> str:
    """A score in a sentence: with its interval and n."""
    return f"{of[key]:.3f} (95 % interval {span(of['interval'][key])}, n = {of['n']:,})"


def seeds(metrics: Mapping[str, Any]) -> str:
    """The seeds that trained what was measured.

    >>> seeds({"seeds": [42]}), seeds({"seeds": [1, 2]})
    ('seed 42', 'seeds 1, 2')
    """
    numbers = metrics["seeds"]
    return f"seed{'s' if len(numbers) != 1 else ''} {', '.join(map(str, numbers)) or 'unknown'}"


def start_weights(record: Mapping[str, Any]) -> str:
    """What a training began with, of the record that `mien.training.start_weights.start` gives.

    >>> start_weights({"name": "random"})
    'random'
    >>> start_weights({"name": "imagenet", "source": "https://example.org/net-1378be20.pth"})
    'imagenet, to be downloaded from https://example.org/net-1378be20.pth'
    >>> start_weights({"name": "own.pth", "file": "own.pth", "sha256": "0123456789abcdef", "input": {"used": False}})
    'own.pth (SHA-256 01234567), input not normalised as theirs was'
    """
    if "sha256" not in record:
        return f"{record['name']}, to be downloaded from {record['source']}" if "source" in record else record["name"]
    file = "" if record["file"] == record["name"] else f"{record['file']}, "
    unlike = "" if record["input"]["used"] else ", input not normalised as theirs was"
    return f"{record['name']} ({file}SHA-256 {record['sha256'][:8]}){unlike}"


def warning(metrics: Mapping[str, Any]) -> str:
    """What stands beside every number of rows that were trained on; "" where they weren't."""
    if not metrics["contaminated"]:
        return ""
    known = "were trained on" if fit_on(metrics) else "were trained or chosen on, or are copies of such rows"
    return f"contaminated: {percent(metrics['contaminated'])} of these rows {known}"


def fit_on(metrics: Mapping[str, Any]) -> bool:
    """Whether the share of contamination is of fit rows alone, not of rows chosen on and of copies as well.

    >>> fit_on({"contaminated": 0.9, "overlap": {"rows": 0.9, "exact": 0.95, "near": None}})
    True
    >>> fit_on({"contaminated": 1.0, "overlap": {"rows": 0.0, "exact": 1.0, "near": None}})
    False
    """
    overlap = metrics.get("overlap")
    return not overlap or bool(metrics["contaminated"] == overlap["rows"])


def view(tta: Mapping[str, Any]) -> str:
    """The views of an image that a number is the mean of.

    >>> view({"name": "flip", "views": 2})
    'flip, 2 views'
    """
    return f"{tta['name']}, {tta['views']} views"


def twins(metrics: Mapping[str, Any]) -> list[str]:
    """How many of the rows have copies among those trained or chosen on, and what is scored without them; sentences.

    None where nobody looked, as for the role that choices are made by.
    """
    if not metrics["overlap"]:
        return []
    return copies(metrics["overlap"], _without(metrics["clean"]), _without(metrics["near_clean"]))


def copies(overlap: Mapping[str, Any], clean: str, near_clean: str = "") -> list[str]:
    """How many rows have copies, in sentences; the others say what is scored without exact and near ones."""
    exact, near = overlap["exact"], overlap["near"]
    if exact:
        told = [f"{percent(exact, 1)} of these rows have an exact copy among the rows trained or chosen on; {clean}"]
    else:
        told = ["None of these rows has an exact copy among the rows trained or chosen on."]
    if near is None:
        told.append("Near copies weren't looked for.")
    elif near == exact:
        told.append("None has a near copy besides." if exact else "None has a near copy either.")
    else:
        told.append(f"{percent(near, 1)} have a near copy or an exact one{f'; {near_clean}' if near_clean else '.'}")
    return told


def _without(of: Mapping[str, Any] | None) -> str:
    return f"without them accuracy is {spoken(of)}." if of else "without them no row is left."


def augmented(metrics: Mapping[str, Any]) -> list[str]:
    """What test-time augmentation scores, in a sentence; none where the experiment names no such thing."""
    tta = metrics["tta"]
    if not tta:
        return []
    text = f"With test-time augmentation ({view(tta)}) accuracy is {spoken(tta)}"
    return [f"{text}; without exact copies {spoken(tta['clean'])}." if tta.get("clean") else f"{text}."]


def why_high(metrics: Mapping[str, Any], fit: Mapping[str, Any] | None) -> str:
    """Why a contaminated number says little, in plain words; `fit` is the split and n that the run was trained on."""
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
    """How often report roles were opened, by a ledger's lines, the oldest first; "" for none."""
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
    told = []
    for role, counts in content.items():
        flags = ", ".join(f"{flag} {n:,}" for flag, n in counts.items() if flag != "rows")
        if counts.get("rows"):
            told.append(f"{role} {counts['rows']:,} rows" + (f" ({flags})" if flags else ""))
    return "; ".join(told)


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
    """What a run was trained on, of its environment, as `1 of 2 cores (AMD EPYC)`."""
    if made["device"] == "cuda":
        return ", ".join(made["gpus"])
    used = "" if made["threads"] == made["cores"] else f"{made['threads']} of "
    return f"{used}{made['cores']} cores ({made['cpu']})"
