"""The scores of contenders on the same rows, and the differences of all pairs, in all and by class."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from mien.comparison.contenders import Contender, Correct, aligned
from mien.comparison.pairing import pairing, told
from mien.errors import MienError
from mien.intervals import (
    CONFIDENCE,
    Counts,
    Estimate,
    by_group,
    clusters,
    holm,
    mcnemar,
    paired_interval,
    percentile_interval,
    resample_seeds,
    resampled_means,
    seeds_difference,
    seeds_mean,
    share_interval,
)
from mien.metrics.classification import resampled_scores

UNDECIDED = "not distinguishable"
EXACT, STUDENT = "McNemar, exact", "Student's t over seeds and rows"
GROUPED, GROUPED_SEEDS = "Obuchowski, over groups", "Student's t over seeds and groups"


def compare(contenders: Sequence[Contender], baseline: str | None = None) -> dict[str, Any]:
    """All pairs of two or more contenders, as plain data; with a `baseline` each other contender and that one.

    `contenders` gives for each its `name`, `runs`, `seeds`, `n`, `accuracy` with its `interval`, `sd` and `each` over
    seeds, `protocol` and share of contamination (None: not known). `pairs` gives `a`, `b`, `split`, `n`, `protocol`,
    `difference` (accuracy of a less that of b), `interval` (95 %, of this pair alone), `p`, `p_holm` (over all pairs),
    `verdict` ("not distinguishable", or "… is better" where `p_holm` < .05), `test`, `contaminated` (the larger
    share; None where one isn't known and the other is none) and `per_class`: the same of recall, `p_holm` over all
    classes of all pairs, None where a class has no rows. Where a data set says which rows belong together, all of these
    are over whole groups: `groups` of them, by the column `grouped_by`; else both are None.
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
    people = next((one.runs[0].people for one in same if one.runs[0].people is not None), None)
    groups = None if people is None else clusters(people.names)
    correct = [one.correct for one in same]
    rows_of = [np.flatnonzero(first.labels == label) for label in range(len(first.classes))]
    pairs, of_classes = [], []
    for i, j in pairing(names, baseline):
        pairs.append(_pair(same[i], same[j], correct[i], correct[j], groups))
        of_classes += [
            _pair(same[i], same[j], correct[i][:, rows], correct[j][:, rows], _groups_at(groups, rows))
            for rows in rows_of
        ]
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
        "groups": None if groups is None else int(groups.max()) + 1,
        "grouped_by": people and people.column,
        "contenders": [_described(one, right, groups) for one, right in zip(same, correct, strict=True)],
        "pairs": pairs,
        "notes": [*_notes(same), *([told(baseline, len(pairs))] if baseline is not None else [])],
    }


def _groups_at(groups: Counts | None, rows: Counts) -> Counts | None:
    return None if groups is None else clusters(groups[rows].tolist())


def describe_group(contender: Contender) -> dict[str, Any]:
    """A contender by itself, as plain data: `name`, `runs`, `seeds`, `split`, `n`, `protocol`, `contaminated`, scores.

    `scores` has those of `metrics.SCORES`, each with `mean`, `sd` (None for one seed) and `each` over
    the seeds, and the 95 % `interval` of the mean: as if seeds and rows had both been drawn from many, or seeds and
    whole groups: `groups` of them by the column `grouped_by`.
    """
    labels = contender.runs[0].labels
    predicted = np.stack([run.predicted for run in contender.runs])
    k = len(contender.runs[0].classes)
    cells = [np.bincount(labels * k + one, minlength=k * k).reshape(k, k) for one in predicted]
    people, groups = contender.runs[0].people, contender.runs[0].groups
    resampled = resample_seeds(labels, predicted, k, groups=groups)
    right = _described(contender, contender.correct, groups)
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
    about = {"groups": None if groups is None else int(groups.max()) + 1, "grouped_by": people and people.column}
    return {**kept, **about, "split": _split(contender), "scores": scores}


def _split(contender: Contender) -> str:
    return " + ".join(dict.fromkeys(contender.runs[0].splits))


def _described(one: Contender, correct: Correct, groups: Counts | None) -> dict[str, Any]:
    each = correct.mean(axis=1)
    if len(correct) == 1:
        interval = share_interval(correct[0], groups)
    else:
        interval = seeds_mean(by_group(correct.astype(np.float64), groups)).interval
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


def _pair(a: Contender, b: Contender, right_a: Correct, right_b: Correct, groups: Counts | None) -> dict[str, Any]:
    n = right_a.shape[1]
    found: Estimate | None = None
    if len(right_a) == len(right_b) == 1:
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        how: dict[str, Any] = {"test": EXACT, "only_a": only_a, "only_b": only_b}
        if groups is not None:
            how["test"] = GROUPED
            found = _over_groups(right_a[0].astype(np.float64) - right_b[0], groups)
        elif n:
            found = Estimate((only_a - only_b) / n, paired_interval(only_a, only_b, n), mcnemar(only_a, only_b))
    else:
        how = {"test": STUDENT if groups is None else GROUPED_SEEDS}
        if n:
            found = seeds_difference(*(by_group(right.astype(np.float64), groups) for right in (right_a, right_b)))
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


def _over_groups(difference: npt.NDArray[np.float64], groups: Counts) -> Estimate:
    """The mean difference (n,) of two models, its interval by a cluster bootstrap, and p by Obuchowski's test.

    With Student's t in place of the normal distribution, for few groups; see `by_group` for the source.
    """
    value, number = float(difference.mean()), int(groups.max()) + 1
    interval = percentile_interval(resampled_means(difference[:, None], groups=groups)[:, 0], value)
    if interval[0] == interval[1]:
        # Nothing varies: as if each group were for one of the two as a whole, or for none.
        sums = np.bincount(groups, weights=difference)
        low, high = paired_interval(int((sums > 0).sum()), int((sums < 0).sum()), number)
        interval = min(low, value), max(high, value)
    error = float(by_group(difference, groups).std(ddof=1)) / number**0.5
    p = float(2 * t.sf(abs(value) / error, number - 1)) if error else float(value == 0)
    return Estimate(value, interval, p)


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
