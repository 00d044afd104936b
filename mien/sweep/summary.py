"""What a sweep came to, as plain data: trials, the best, how far that is luck, and which keys mattered."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from mien.intervals import DRAWS, Values, percentile_interval
from mien.sweep.study import Study
from mien.tasks import Score

# With fewer trials a forest says nothing.
_LEAST = 5
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "ended early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}


def score_of(study: Study) -> Score:
    """The score on the choose role that the trials are chosen by."""
    return Score(**study.plan["score"])


def summary(study: Study) -> dict[str, Any]:
    """All that is told of a sweep.

    `states` counts trials; `trials` has each, the best first, then those without a score; `best` is the first of them
    or None, and `best_interval` the 95 % interval of the best score over the choice of trials; `importance` the share
    of the score's variance by key (fANOVA), None for a key that some finished trial lacks; {} of few trials.
    """
    score = score_of(study)
    trials = study.trials()
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    finished.sort(key=lambda trial: -_value(trial) if score.higher else _value(trial))
    rest = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    told = [_told(trial) for trial in (*finished, *rest)]
    values = np.array([_value(trial) for trial in finished])
    return {
        "sweep": study.name,
        "plan": study.plan,
        "states": {name: sum(one["state"] == name for one in told) for name in _STATES.values()},
        "tried": len(trials) - sum(trial.state in (TrialState.RUNNING, TrialState.WAITING) for trial in trials),
        "best": told[0] if finished else None,
        "best_interval": list(best_interval(values, score.higher)) if finished else None,
        "importance": importance(study, finished),
        "trials": told,
    }


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _told(trial: FrozenTrial) -> dict[str, Any]:
    attributes = trial.user_attrs
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return {
        "trial": trial.number + 1,
        "state": _STATES[trial.state],
        "run": attributes.get("run"),
        "host": attributes.get("host"),
        "score": trial.value if trial.state == TrialState.COMPLETE else None,
        **attributes.get("choose", {"split": None, "n": None, "interval": None}),
        "epochs": trial.last_step or 0,
        "seconds": None if seconds is None else round(seconds, 1),
        "error": attributes.get("error"),
        "values": dict(trial.params),
    }


def best_interval(values: Values, higher: bool, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the best of n scores (n,), by a bootstrap over the trials that they are of.

    It says how far the best hangs on which values were drawn, and nothing of the rows that it was measured on.
    Source: B. Efron, R. J. Tibshirani (1993), An introduction to the bootstrap, chapter 13.

    >>> best_interval(np.array([0.5, 0.6, 0.7, 0.9]), higher=True)
    (0.6, 0.9)
    """
    random = np.random.default_rng(seed)
    drawn = values[random.integers(0, len(values), (draws, len(values)))]
    best = values.max() if higher else values.min()
    return percentile_interval(drawn.max(axis=1) if higher else drawn.min(axis=1), float(best))


def importance(study: Study, finished: Sequence[FrozenTrial]) -> dict[str, float | None]:
    """The share of the score's variance that each key explains over the space (fANOVA), the largest first.

    Source: F. Hutter, H. Hoos, K. Leyton-Brown (2014), An efficient approach for assessing hyperparameter importance,
    ICML.
    """
    keys = [axis["key"] for axis in study.plan["space"]]
    in_all = [key for key in keys if all(key in trial.params for trial in finished)]
    varied = [key for key in in_all if len({trial.params[key] for trial in finished}) > 1]
    if len(finished) < _LEAST or not varied or len({trial.value for trial in finished}) < 2:
        return {}
    # Of these alone: the study in the storage also has the trials that ended early.
    own = optuna.create_study(direction=study.study.direction)
    own.add_trials(finished)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = get_param_importances(own, evaluator=FanovaImportanceEvaluator(seed=0), params=varied, normalize=False)
    found = {key: float(share) for key, share in shares.items()}
    return {**found, **{key: 0.0 if key in in_all else None for key in keys if key not in found}}


def told_value(value: Any) -> str:
    """A searched value in few letters.

    >>> told_value(0.000123456), told_value("resnet"), told_value(12)
    ('0.0001235', 'resnet', '12')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def honest_line(told: dict[str, Any], score: Score) -> str:
    """What the best score of a sweep is worth, in a sentence; "" where no trial is finished."""
    best = told["best"]
    if best is None:
        return ""
    low, high = told["best_interval"]
    return (
        f"The best of {told['tried']:,} trials was picked by this very score, so it is optimistic: part of it is luck. "
        f"Over the choice of trials the best is {score.bracketed(best['score'], (low, high))} (95 %, bootstrap over "
        f"{told['states']['finished']:,} finished trials). Rows that chose nothing tell what it is worth: "
        f"mien evaluate {best['run']}"
    )
