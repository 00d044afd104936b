"""Tests each of the report's conclusions on rows that no run was trained or chosen on.

The rule, the same for all (`RULE` says it to the reader). A difference is tested by `mien.comparison`; p values of one
conclusion are adjusted together by Holm.
- "a is better than b" holds where the difference is above 0 with p < .05. It does not hold where it is below 0 with
  p < .05, or its whole 95 % interval lies below `MARGIN`: then there is no advantage worth the name.
- "a is as good as b" holds where the whole interval lies within ± `MARGIN` and p ≥ .05. It does not hold where p < .05.
- All else can't be told. A conclusion of several differences holds where all hold, and does not where one does not.

A single run doesn't show how much its score would vary with another seed. Where one side has a single run, the variance
over seeds of the CNNs is added to the variance over images (`with_seeds`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import norm, t

from mien.comparison import Contender, compare, without_copies
from mien.errors import MienError
from mien.intervals import CONFIDENCE, Estimate, holm, with_interval
from mien.reading import read_json
from mien.report.reading import read_history
from mien.reproduce.paper import PARTS, part_named
from mien.reproduce.plan import Planned
from mien.reproduce.scores import contender_of
from mien.workspace import Workspace

Verdict = Literal["holds", "does not hold", "can't be told"]
Way = Literal["better", "same"]

# The smallest step of accuracy that the report itself draws a conclusion from: .87 on the full image, .89 on faces.
MARGIN = 0.02
RULE = (
    "Two models are compared by their accuracy on the same images of PrivateTest, without those that have an exact "
    "copy among the images trained or chosen on. “Better” holds if the difference is above 0 with p < 0.05; it does "
    f"not hold if it is below 0 with p < 0.05, or if its whole 95 % interval lies below {MARGIN:.2f}. “No difference” "
    f"holds if the whole interval lies within ± {MARGIN:.2f} and p ≥ 0.05; it does not hold if p < 0.05. Anything else "
    f"can't be told. {MARGIN:.2f} is the smallest step that the report draws a conclusion from (0.87 to 0.89). A "
    "conclusion of several differences holds if all of them do, and does not if one of them does not; their p values "
    "are adjusted together (Holm). Intervals and p hold the chance of images and of seeds. Seeds of one experiment are "
    "compared as a group; a model with one seed is taken to vary over seeds as much as the CNNs do, which have several."
)


@dataclass(frozen=True)
class Pair:
    """A claimed difference between two parts: `a` is better than `b`, or the same.

    Where the runs of an `optional` pair are missing, the other pairs decide.
    """

    a: str
    b: str
    way: Way
    optional: bool = False


@dataclass(frozen=True)
class Claim:
    """A conclusion of the report, and the pairs that test it; `said` tells the reader what is compared.

    A conclusion without pairs has a test of its own in `conclusions`. `unlike` says where the test isn't the report's.
    """

    key: str
    text: str
    said: str
    pairs: tuple[Pair, ...] = ()
    unlike: str = ""


_RANDOM = "all of these began from random weights, the report's from ImageNet's"
CLAIMS = (
    Claim(
        "layers",
        "More fully connected layers make no significant difference",
        "CNN 1, 2 and 3 have 3, 5 and 7 of them, of other widths; their convolutions and their training are the same.",
        (Pair("cnn2", "cnn1", "same"), Pair("cnn3", "cnn1", "same"), Pair("cnn3", "cnn2", "same")),
    ),
    Claim(
        "kernels",
        "Smaller kernels make no difference",
        "CNN 4 is CNN 1 with 3×3 in place of 5×5.",
        (Pair("cnn4", "cnn1", "same"),),
    ),
    Claim(
        "pretrained",
        "A pre-trained net is better",
        "MobileNetV2 from ImageNet's weights and from random ones, at two sizes of image; and the pre-trained one "
        "against CNN 1. GoogLeNet from ImageNet's weights, the report's own, comes in where these can be had.",
        (
            Pair("mobilenet-imagenet-48", "mobilenet-scratch-48", "better"),
            Pair("mobilenet-imagenet-96", "mobilenet-scratch-96", "better"),
            Pair("mobilenet-imagenet-48", "cnn1", "better"),
            Pair("googlenet-imagenet", "googlenet", "better", optional=True),
            Pair("googlenet-imagenet", "cnn1", "better", optional=True),
        ),
    ),
    Claim(
        "epochs",
        "Validation flattens around epoch 20",
        "Accuracy on PublicTest, which no epoch trains on, in the CNNs' 40 epochs: is it better in 16–20 than in "
        "6–10, and in 36–40 no different from 16–20? Where the first is no better, it had flattened before. "
        "Intervals and p are over runs (Student's t), not over images.",
    ),
    Claim(
        "face",
        "The face set beats the full image",
        "GoogLeNet from random weights on images cut to the face and on whole ones, for 10 epochs and for as long as "
        "validation improves. The report's began from ImageNet's.",
        (Pair("googlenet-face", "googlenet", "better"), Pair("googlenet-face-long", "googlenet-long", "better")),
        _RANDOM,
    ),
    Claim(
        "mouth",
        "The mouth set is on a par with the face set",
        "The same on images cut to the mouth and to the face.",
        (
            Pair("googlenet-mouth", "googlenet-face", "same"),
            Pair("googlenet-mouth-long", "googlenet-face-long", "same"),
        ),
        _RANDOM,
    ),
    Claim(
        "regions",
        "The first layers look at eyes and mouth",
        "How much of the true class's probability CNN 1 loses when eyes, or mouth, are blurred out, less what it loses "
        "by random patches of equal size in the same face: that asks the whole net. Its first layers are asked by how "
        "much that changes what they give, as a share of its size, again less what random patches change; and whether "
        "it is more than before training, since any filter answers to edges, and eyes and mouth have many. Without "
        "these numbers nothing is concluded of the first layers. Intervals are over images (bootstrap); there is no p.",
    ),
)


class Spread(NamedTuple):
    """The standard deviation of accuracy over seeds, pooled over experiments, and its degrees of freedom."""

    sd: float
    df: int


class Judged(NamedTuple):
    """The result of testing one conclusion, as plain data: see `conclusions`."""

    verdict: Verdict
    pairs: list[dict[str, Any]]
    missing: list[str]


def conclusions(workspace: Workspace, plan: Sequence[Planned]) -> list[dict[str, Any]]:
    """For each claim `key`, `text`, `said`, `verdict`, `differences` and `missing`; `told` adds `because`.

    A difference has `what`, `way`, `n`, `on`, `difference`, `interval`, `p`, `p_holm` (None where there is none) and
    `verdict`; `seeds` are the numbers of runs of both sides. `missing` says in words what a test lacks.
    """
    special: dict[str, Callable[[], Judged]] = {
        "epochs": lambda: _epochs(plan),
        "regions": lambda: _regions(plan),
    }
    groups = [contender_of(part.name, plan) for part in PARTS if part.kind == "cnn"]
    spread = seed_spread([of.correct.mean(axis=1) for of in groups if of is not None])
    found = []
    for claim in CLAIMS:
        judged = special[claim.key]() if claim.key in special else _by_pairs(workspace, plan, claim.pairs, spread)
        found.append(
            {
                "key": claim.key,
                "text": claim.text,
                "said": claim.said,
                "verdict": judged.verdict,
                "differences": judged.pairs,
                "missing": judged.missing,
            }
        )
    return found


def told(found: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Conclusions of `conclusions`, perhaps of an older mien, in today's words: `text`, `said` and `because`."""
    by_key = {claim.key: claim for claim in CLAIMS}
    return [
        {**one, "text": by_key[one["key"]].text, "said": by_key[one["key"]].said, "because": because(one, parts)}
        for one in found
    ]


def verdict(way: Way, difference: float, interval: Sequence[float], p: float | None) -> Verdict:
    """The verdict of one difference, by the rule above; without `p`, whether the interval holds 0 takes its place.

    >>> verdict("better", 0.03, (0.01, 0.05), 0.004), verdict("better", 0.0, (-0.01, 0.01), 0.9)
    ('holds', 'does not hold')
    >>> verdict("same", 0.0, (-0.01, 0.01), 0.9), verdict("same", 0.01, (-0.02, 0.04), 0.5)
    ('holds', "can't be told")
    """
    told = p < 1 - CONFIDENCE if p is not None else not interval[0] <= 0 <= interval[1]
    if way == "better":
        if told:
            return "holds" if difference > 0 else "does not hold"
        return "does not hold" if interval[1] < MARGIN else "can't be told"
    if told:
        return "does not hold"
    return "holds" if interval[0] > -MARGIN and interval[1] < MARGIN else "can't be told"


def overall(verdicts: Sequence[Verdict], complete: bool) -> Verdict:
    """The verdict of a claim from those of its differences: one that fails decides, and all must hold.

    `complete` says whether no difference is missing; while one is, the claim can't hold.

    >>> overall(["holds", "holds"], complete=True), overall(["holds"], complete=False)
    ('holds', "can't be told")
    >>> overall(["does not hold"], complete=False)
    'does not hold'
    """
    if "does not hold" in verdicts:
        return "does not hold"
    return "holds" if complete and verdicts and set(verdicts) == {"holds"} else "can't be told"


def because(one: Mapping[str, Any], parts: Sequence[Mapping[str, Any]] = ()) -> str:
    """Why a conclusion of `conclusions` has its verdict: the differences that decide it, with their intervals.

    `parts` are those of `scores.gather`: where the nets compared aren't the report's, or one of them was hardly
    trained, the reason says so.

    >>> of = {"what": "B − A", "way": "same", "difference": 0.0, "interval": [-0.01, 0.01], "verdict": "holds"}
    >>> because({"key": "kernels", "verdict": "holds", "differences": [of]})
    'no difference beyond ± 0.02: B − A +0.000 [−0.010, +0.010]'
    """
    if not one["differences"]:
        return "nothing is measured yet"
    if one["key"] == "regions":
        return _of_regions(one["differences"])
    found: dict[str, list[str]] = {}
    # What decides stands first.
    for of in sorted(one["differences"], key=lambda of: of["verdict"] != one["verdict"]):
        found.setdefault(_phrase(of), []).append(_numbers(of))
    told = "; ".join(f"{phrase}: {', '.join(those)}" for phrase, those in found.items())
    claim = next(claim for claim in CLAIMS if claim.key == one["key"])
    by_name = {part["name"]: part for part in parts}
    caveats = [claim.unlike] if claim.unlike else []
    if claim.key == "pretrained" and not any("GoogLeNet" in of["what"] for of in one["differences"]):
        caveats.append("the report's own pre-trained net, GoogLeNet, isn't among these")
    for name in dict.fromkeys(name for pair in claim.pairs for name in (pair.a, pair.b)):
        if ended := ended_early(name, by_name):
            caveats.append(f"{_title(name)}, {ended}")
    told = "; ".join([told, *caveats])
    if one["key"] == "epochs" and one["verdict"] == "does not hold":
        later = one["differences"][1]["verdict"] == "does not hold"
        return f"{'it still changes after that' if later else 'it flattens earlier'}; {told}"
    return told


def _numbers(of: Mapping[str, Any]) -> str:
    return f"{of['what']} {with_interval(of['difference'], of['interval'], '+.3f')}"


def _of_regions(differences: Sequence[Mapping[str, Any]]) -> str:
    """What is told of the net, and of its first layers where these were measured."""
    net = [of for of in differences if not of.get("layer")]
    whole = "the net as a whole does" if _all_hold(net) else "the net as a whole isn't shown to do so"
    whole += f" ({_listed(net)})"
    layers = [of for of in differences if of.get("layer")]
    if not layers:
        return f"{whole}; its first layers by themselves aren't measured"
    plain = [of for of in layers if not of["beyond_untrained"]]
    beyond = [of for of in layers if of["beyond_untrained"]]
    if not _all_hold(plain):
        shown = "its first layers aren't shown to answer to both more than to random patches"
        return f"{shown} ({_listed(plain)}); {whole}"
    more = "and do so more than before training"
    if any(of["verdict"] == "does not hold" for of in beyond):
        more = "but not all of it more than before training: in part less"
    elif not _all_hold(beyond):
        more = "but that training made it more isn't shown for each"
    return f"its first layers answer to both more than to random patches, {more} ({_listed(beyond)}); {whole}"


def _all_hold(differences: Sequence[Mapping[str, Any]]) -> bool:
    return all(of["verdict"] == "holds" for of in differences)


def _listed(differences: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(map(_numbers, differences))


def ended_early(name: str, by_name: Mapping[str, Mapping[str, Any]]) -> str:
    """In words that a "long" part of `scores.gather` was trained for fewer epochs than the one it is to outlast.

    Empty for other parts, and where it went on for longer.
    """
    long, short = (by_name.get(one, {"runs": []})["runs"] for one in (name, name.removesuffix("-long")))
    if not long or not short or long[0]["epochs"] >= short[0]["epochs"]:
        return ""
    return f"stopped improving early, so it was trained for {long[0]['epochs']} epochs, not {short[0]['epochs']}"


def _phrase(of: Mapping[str, Any]) -> str:
    """What a difference's verdict says, in a few words."""
    if of["way"] == "better":
        if of["verdict"] == "does not hold":
            return "a loss is shown" if of["interval"][1] < 0 else f"a gain of {MARGIN:.2f} is ruled out"
        return "a gain is shown" if of["verdict"] == "holds" else "a gain is neither shown nor ruled out"
    if of["verdict"] == "does not hold":
        return "a difference is shown"
    if of["verdict"] == "holds":
        return f"no difference beyond ± {MARGIN:.2f}"
    return "a difference is neither shown nor ruled out"


def seed_spread(scores: Sequence[Any]) -> Spread | None:
    """The pooled spread of the scores of several experiments, (seeds,) each; None where none has two seeds.

    >>> found = seed_spread([[0.50, 0.52], [0.40, 0.42], [0.3]])
    >>> round(found.sd, 4), found.df
    (0.0141, 2)
    """
    several = [np.asarray(one, np.float64) for one in scores if len(one) > 1]
    df = sum(len(one) - 1 for one in several)
    return Spread(float(np.sqrt(sum(((one - one.mean()) ** 2).sum() for one in several) / df)), df) if df else None


def with_seeds(difference: float, interval: Sequence[float], single: int, spread: Spread) -> Estimate:
    """A difference with its 95 % interval and p, when `single` (1 or 2) of its two models have only one seed.

    For each of those, the variance over seeds is added to that of the interval. Student's t has the spread's degrees
    of freedom, since these are few.

    >>> found = with_seeds(0.024, (0.005, 0.043), 2, Spread(0.017, 8))
    >>> round(found.interval[0], 2), round(found.interval[1], 2), round(found.p, 2)
    (-0.04, 0.08, 0.38)
    """
    error = (interval[1] - interval[0]) / (2 * float(norm.ppf(0.5 + CONFIDENCE / 2)))
    total = (error**2 + single * spread.sd**2) ** 0.5
    half = float(t.ppf(0.5 + CONFIDENCE / 2, spread.df)) * total
    p = 2 * float(t.sf(abs(difference) / total, spread.df)) if total else float(difference == 0)
    return Estimate(difference, (difference - half, difference + half), p)


def _by_pairs(workspace: Workspace, plan: Sequence[Planned], pairs: Sequence[Pair], spread: Spread | None) -> Judged:
    sides = {name: contender_of(name, plan) for pair in pairs for name in (pair.a, pair.b)}
    tested: list[dict[str, Any]] = []
    missing = []
    for pair in pairs:
        a, b = sides[pair.a], sides[pair.b]
        if a is not None and b is not None:
            try:
                tested.append(_compared(workspace, pair, a, b, spread))
            except MienError as error:
                missing.append(f"{_title(pair.a)} and {_title(pair.b)} can't be compared: {error.message}.")
    _judge(tested)
    needed = {name for pair in pairs if not pair.optional for name in (pair.a, pair.b) if sides[name] is None}
    if needed:
        missing.append(
            f"Still to be trained and measured: {'; '.join(_title(name) for name in sides if name in needed)}."
        )
    found = overall([one["verdict"] for one in tested], complete=not missing)
    if gone := [name for name in sides if sides[name] is None and part_named(name).optional]:
        missing.append(f"Judged without {'; '.join(map(_title, gone))}: there is no such run.")
    return Judged(found, tested, missing)


def _title(name: str) -> str:
    return part_named(name).title


def _judge(differences: list[dict[str, Any]]) -> None:
    """Add `p_holm` and `verdict` to differences that are tested together."""
    for one, p in zip(differences, holm([one["p"] for one in differences]), strict=True):
        one["p_holm"] = p
        one["verdict"] = verdict(one["way"], one["difference"], one["interval"], p)


def _compared(workspace: Workspace, pair: Pair, a: Contender, b: Contender, spread: Spread | None) -> dict[str, Any]:
    left = without_copies([a, b])
    of = compare(left or [a, b])["pairs"][0]
    what = "without exact copies" if left else "with copies of rows trained on, which weren't looked for"
    interval, p = of["interval"], of["p"]
    single = [len(a.runs), len(b.runs)].count(1)
    if single and spread is not None:
        _, ends, p = with_seeds(of["difference"], interval, single, spread)
        interval = list(ends)
        what += f"; one seed varies by sd {spread.sd:.3f}, as the CNNs' do (Student's t, df {spread.df})"
    elif single:
        what += "; what another seed would give is not in it"
    return {
        "what": f"{_title(pair.a)} − {_title(pair.b)}",
        "way": pair.way,
        "on": f"{of['split']}, {what}",
        **{key: of[key] for key in ("n", "difference")},
        "interval": interval,
        "p": p,
        "seeds": [len(a.runs), len(b.runs)],
    }


# The epochs whose mean accuracies are compared, both ends included.
_EARLY, _MIDDLE, _LATE = (6, 10), (16, 20), (36, 40)


def _epochs(plan: Sequence[Planned]) -> Judged:
    histories = []
    for one in plan:
        if one.part.kind == "cnn" and one.state == "finished" and one.run is not None:
            history = read_history(one.run.history)
            if history is not None and len(history["epoch"]) >= _LATE[1]:
                histories.append(history["choose_accuracy"])
    if len(histories) < 2:
        lacking = f"At least two runs of CNNs with {_LATE[1]} epochs are needed; there is {len(histories) or 'none'}."
        return Judged("can't be told", [], [lacking])
    early, middle, late = (
        np.array([of[first - 1 : last].mean() for of in histories]) for first, last in (_EARLY, _MIDDLE, _LATE)
    )
    pairs: list[dict[str, Any]] = []
    for what, way, values in (
        ("epochs 16–20 − epochs 6–10", "better", middle - early),
        ("epochs 36–40 − epochs 16–20", "same", late - middle),
    ):
        found = over_runs(values)
        about = {"what": what, "way": way, "n": len(values), "on": f"PublicTest, {len(values)} runs of CNN 1 to 4"}
        pairs.append(
            {**about, "difference": found.value, "interval": list(found.interval), "p": found.p, "seeds": None}
        )
    _judge(pairs)
    return Judged(overall([one["verdict"] for one in pairs], complete=True), pairs, [])


def over_runs(values: Any) -> Estimate:
    """The mean of differences (runs,), its 95 % interval, and the two-sided p of its being 0: Student's t over runs.

    >>> over_runs(np.array([0.01, 0.02, 0.03])).value
    0.02
    """
    n, mean = len(values), float(np.mean(values))
    error = float(np.std(values, ddof=1)) / n**0.5
    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    p = 2 * float(t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Estimate(mean, (mean - half, mean + half), p)


def _regions(plan: Sequence[Planned]) -> Judged:
    """Whether CNN 1, in the first run that was explained, answers to eyes and to the mouth more than to random patches.

    The conclusion is about its first two convolutions. Where only the whole net was looked at, by an older mien, it
    can't be told.
    """
    runs = [one.run for one in plan if one.part.name == "cnn1" and one.state == "finished" and one.run is not None]
    file = next((path for run in runs if (path := run.folder / "explain" / "regions.json").is_file()), None)
    if file is None:
        asked = f"mien explain {runs[0].name} regions" if runs else "train CNN 1, then mien explain cnn1 regions"
        return Judged("can't be told", [], [f"Nobody has looked yet: {asked}."])
    content: Mapping[str, Any] = read_json(file)
    on = f"{content['split']} ({content['role']} role), seed {', '.join(map(str, content['seeds']))}"
    parts = {one["part"]: one for one in content["parts"] if one["class"] == "all"}
    pairs: list[dict[str, Any]] = []
    for name in ("eyes", "mouth"):
        if (of := parts.get(name)) is None:
            return Judged("can't be told", pairs, [f"No {name} among the regions."])
        what = f"{name} − random patch"
        decided = verdict("better", of["difference"], of["difference_interval"], None)
        pairs.append(_region(what, of["n"], on, of["difference"], of["difference_interval"], decided))
    layers = [
        _of_layer(number, layer["name"], of, beyond, on)
        for beyond in (False, True)
        for number, layer in zip(("first", "second"), content.get("layers", []), strict=False)
        for of in layer["parts"]
        if of["part"] in ("eyes", "mouth")
    ]
    decided = overall([one["verdict"] for one in layers], complete=True)
    return Judged(decided, [*layers, *pairs], [])


def _of_layer(number: str, layer: str, of: Mapping[str, Any], beyond: bool, on: str) -> dict[str, Any]:
    """How much more a layer's answer changes without a part than without random patches, or `beyond` the untrained's.

    `MARGIN` is one of accuracy, so only an interval that leaves out 0 decides.
    """
    value, interval = (of[f"{'beyond' if beyond else 'difference'}{end}"] for end in ("", "_interval"))
    decided: Verdict = "can't be told" if interval[0] <= 0 <= interval[1] else "holds" if value > 0 else "does not hold"
    what = f"{of['part']} − random patch in the {number} convolution"
    what += ", more than before training" if beyond else ""
    return {**_region(what, of["n"], on, value, interval, decided), "layer": layer, "beyond_untrained": beyond}


def _region(what: str, n: int, on: str, value: float, interval: Sequence[float], decided: Verdict) -> dict[str, Any]:
    about = {"what": what, "way": "better", "n": n, "on": on, "difference": value, "interval": list(interval)}
    return {**about, "p": None, "p_holm": None, "seeds": None, "verdict": decided}
