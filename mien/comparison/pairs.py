"""The scores of contenders on the same rows, and the differences of all pairs, in all and by class."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mien.comparison.contenders import Contender, Correct, aligned
from mien.errors import MienError
from mien.intervals import (
    CONFIDENCE,
    Estimate,
    holm,
    mcnemar,
    paired_interval,
    percentile_interval,
    resample_seeds,
    seeds_difference,
    seeds_mean,
    wilson,
)
from mien.metrics.classification import resampled_scores

UNDECIDED = "not distinguishable"
EXACT, STUDENT = "McNemar, exact", "Student's t over seeds and rows"


def compare(contenders: Sequence[Contender]) -> dict[str, Any]:
    """All pairs of two or more contenders, as plain data.

    `contenders` gives for each its `name`, `runs`, `seeds`, `n`, `accuracy` with its `interval`, `sd` and `each` over
    seeds, `protocol` and share of contamination (None: not known). `pairs` gives `a`, `b`, `split`, `n`, `protocol`,
    `difference` (accuracy of a less that of b), `interval` (95 %, of this pair alone), `p`, `p_holm` (over all pairs),
    `verdict` ("not distinguishable", or "… is better" where `p_holm` < .05), `test`, `contaminated` (the larger
    share; None where one isn't known and the other is none) and `per_class`: the same of recall, `p_holm` over all
    classes of all pairs, None where a class has no rows.
    Raises MienError when the rows, the labels or the classes differ, saying whose and which.
    """
    names = [one.name for one in contenders]
    if len(names) < 2:
        raise MienError("there is nothing to compare with", expected="two runs or more, or a run and --predictions")
    parts = [name for one in contenders for name in one.names or (str(one.runs[0].file),)]
    for listed in (names, parts):
        twice = next((name for place, name in enumerate(listed) if name in listed[:place]), None)
        if twice is not None:
            raise MienError(f"'{twice}' is named twice")
    same = aligned(contenders)
    first = same[0].runs[0]
    correct = [one.correct for one in same]
    rows_of = [np.flatnonzero(first.labels == label) for label in range(len(first.classes))]
    pairs, of_classes = [], []
    for i, j in combinations(range(len(same)), 2):
        pairs.append(_pair(same[i], same[j], correct[i], correct[j]))
        of_classes += [_pair(same[i], same[j], correct[i][:, rows], correct[j][:, rows]) for rows in rows_of]
    judge(pairs)
    judge(of_classes)
    for place, pair in enumerate(pairs):
        part = of_classes[place * len(first.classes) : (place + 1) * len(first.classes)]
        pair["per_class"] = {
            name: {key: one[key] for key in ("n", "difference", "interval", "p", "p_holm", "verdict")}
            for name, one in zip(first.classes, part, strict=True)
        }
    return {
        "n": len(first),
        "split": _split(same[0]),
        "contenders": [_described(one, right) for one, right in zip(same, correct, strict=True)],
        "pairs": pairs,
        "notes": _notes(same),
    }


def describe_group(contender: Contender) -> dict[str, Any]:
    """A contender by itself, as plain data: `name`, `runs`, `seeds`, `split`, `n`, `protocol`, `contaminated`, scores.

    `scores` has those of `metrics.SCORES`, each with `mean`, `sd` (None for one seed) and `each` over
    the seeds, and the 95 % `interval` of the mean: as if seeds and rows had both been drawn from many.
    """
    labels = contender.runs[0].labels
    predicted = np.stack([run.predicted for run in contender.runs])
    k = len(contender.runs[0].classes)
    cells = [np.bincount(labels * k + one, minlength=k * k).reshape(k, k) for one in predicted]
    resampled = resample_seeds(labels, predicted, k)
    right = _described(contender, contender.correct)
    scores = {"accuracy": {"mean": right["accuracy"], **{key: right[key] for key in ("sd", "each", "interval")}}}
    for name, score in resampled_scores().items():
        each = score.of(np.stack(cells))
        mean = float(each.mean())
        scores[name] = {
            "mean": mean,
            "sd": float(each.std(ddof=1)) if len(each) > 1 else None,
            "each": each.tolist(),
            "interval": list(percentile_interval(score.of(resampled).mean(axis=1), mean)),
        }
    kept = {key: right[key] for key in ("name", "runs", "seeds", "n", "protocol", "contaminated")}
    return {**kept, "split": _split(contender), "scores": scores}


def _split(contender: Contender) -> str:
    return " + ".join(dict.fromkeys(contender.runs[0].splits))


def _described(one: Contender, correct: Correct) -> dict[str, Any]:
    each = correct.mean(axis=1)
    if len(correct) == 1:
        interval = wilson(int(correct.sum()), correct.shape[1])
    else:
        interval = seeds_mean(correct.astype(np.float64)).interval
    return {
        "name": one.name,
        "runs": list(one.names),
        "seeds": list(one.seeds),
        "n": correct.shape[1],
        "accuracy": float(each.mean()),
        "interval": list(interval),
        "sd": float(each.std(ddof=1)) if len(each) > 1 else None,
        "each": each.tolist(),
        "protocol": one.protocol,
        "contaminated": one.contaminated,
    }


def _pair(a: Contender, b: Contender, right_a: Correct, right_b: Correct) -> dict[str, Any]:
    n = right_a.shape[1]
    found: Estimate | None = None
    if len(right_a) == len(right_b) == 1:
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        how: dict[str, Any] = {"test": EXACT, "only_a": only_a, "only_b": only_b}
        if n:
            found = Estimate((only_a - only_b) / n, paired_interval(only_a, only_b, n), mcnemar(only_a, only_b))
    else:
        how = {"test": STUDENT}
        if n:
            found = seeds_difference(right_a.astype(np.float64), right_b.astype(np.float64))
    return {
        "a": a.name,
        "b": b.name,
        "split": _split(a),
        "n": n,
        "protocol": " and ".join(dict.fromkeys(one.protocol for one in (a, b) if one.protocol)) or None,
        "difference": found and found.value,
        "interval": found and list(found.interval),
        "p": found and found.p,
        **how,
        "contaminated": _contaminated(a.contaminated, b.contaminated),
    }


def _contaminated(*shares: float | None) -> float | None:
    """The largest known share; None where one is unknown and the others are 0."""
    most = max((share for share in shares if share is not None), default=0.0)
    return None if most == 0 and None in shares else most


def judge(pairs: Sequence[dict[str, Any]], *, higher: bool = True) -> None:
    """Add `p_holm` and `verdict` to pairs that are tested together; `higher` says that more is better."""
    tested = [pair for pair in pairs if pair["p"] is not None]
    for pair in pairs:
        pair["p_holm"], pair["verdict"] = None, UNDECIDED
    for pair, p in zip(tested, holm([pair["p"] for pair in tested]), strict=True):
        pair["p_holm"] = p
        if p < 1 - CONFIDENCE:
            better = pair["a"] if (pair["difference"] > 0) == higher else pair["b"]
            pair["verdict"] = f"{better} is better"


def _notes(contenders: Sequence[Contender]) -> list[str]:
    notes = list(dict.fromkeys(note for one in contenders for note in one.notes))
    sets = {one.dataset for one in contenders if one.dataset}
    if len(sets) > 1:
        told = ", ".join(sorted(f"{name} ({fingerprint[:8]})" for name, fingerprint in sets))
        notes.append(f"the data sets aren't the same ({told}); rows are matched by split and id alone")
    protocols = sorted({one.protocol for one in contenders if one.protocol})
    if len(protocols) > 1:
        notes.append(f"the protocols differ ({', '.join(protocols)}): the models were fit on different rows")
    return notes
