"""The file of a sweep: which experiment, which of its keys are searched and where, how many trials, by which rule."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from mien.errors import MienError, nearest
from mien.experiment.merging import COMMAND_LINE, NAMED, Source
from mien.experiment.problems import key_problem
from mien.experiment.schema import Experiment, load_experiment
from mien.experiment.yamlfile import KeyPath, read_yaml
from mien.registry import entry, names
from mien.workspace import check_name

Kind = Literal["log", "range", "int", "choices"]
KINDS: tuple[Kind, ...] = ("log", "range", "int", "choices")
MAX_TRIALS = 2_000
# Of each sampler and pruner its keys: the default, and the least value.
SAMPLERS = ("tpe", "random")
PRUNERS: dict[str, dict[str, tuple[int, int]]] = {
    "none": {},
    "median": {"trials": (5, 1), "epochs": (1, 1)},
    "halving": {"epochs": (1, 1), "factor": (3, 2)},
}
_KEYS = ("name", "experiment", "space", "trials", "sampler", "pruner", "seed")
_EXAMPLES = {
    "name": "name: rates",
    "experiment": "experiment: cnn1.yaml",
    "space": "space: {optimizer.lr: {log: [1e-4, 1e-2]}}",
    "trials": "trials: 30",
}
_OTHER_ROWS = "trials would be measured on other rows, and couldn't be compared"
# Keys that can't be searched, and why.
_FIXED = {
    "name": "runs are called as the sweep",
    "task": "trials would be measured by other scores",
    "plugins": "code isn't searched",
    "protocol": _OTHER_ROWS,
    "exclude": _OTHER_ROWS,
    "dataset.name": _OTHER_ROWS,
    "dataset.labels": _OTHER_ROWS,
    "train.seed": "a seed is chance, and the best of many is only the luckiest",
}


@dataclass(frozen=True)
class Axis:
    """One searched key: between two ends (on a logarithmic scale, on a plain one, whole numbers) or among choices.

    `when` are other keys' choices under which it is searched at all; else the trial lacks the key.
    """

    key: str
    kind: Kind
    values: tuple[Any, ...]
    when: Mapping[str, Any]

    def active(self, given: Mapping[str, Any]) -> bool:
        """Whether the key is searched in a trial that has these values already.

        >>> axis = Axis("model.width", "int", (8, 32), {"model.name": "resnet"})
        >>> axis.active({"model.name": "resnet"}), axis.active({"model.name": "cnn"}), axis.active({})
        (True, False, False)
        """
        return all(key in given and given[key] == value for key, value in self.when.items())


class Pruner(NamedTuple):
    """The rule that ends trials early, and its numbers by name."""

    name: str
    numbers: dict[str, int]


@dataclass(frozen=True)
class Sweep:
    """A sweep as its file says; `experiment` is what a trial changes, `base` its file, `overrides` laid over it."""

    file: Path
    name: str
    base: Path
    overrides: tuple[str, ...]
    experiment: Experiment
    axes: tuple[Axis, ...]
    trials: int
    sampler: str
    pruner: Pruner
    seed: int
    places: Mapping[KeyPath, int]

    def changes(self, values: Mapping[str, Any]) -> list[str]:
        """The overrides that make the experiment of a trial with these values by key."""
        # A section that names another component comes before that one's parameters.
        ordered = sorted(values.items(), key=lambda pair: pair[0].count("."))
        return [*self.overrides, f"name={self.name}", *(f"{key}={json.dumps(value)}" for key, value in ordered)]

    def ends(self) -> Iterator[tuple[Axis, KeyPath, dict[str, Any]]]:
        """For each end and each choice of every axis: the axis, the value's path in the file, and a trial with it."""
        for axis in self.axes:
            for index, value in enumerate(axis.values):
                given: dict[str, Any] = {axis.key: value, **axis.when}
                above = {one.key: one for one in self.axes}
                for key in list(axis.when):
                    _add_conditions(above[key], above, given)
                for other in self.axes:
                    if other.key not in given and other.active(given):
                        given[other.key] = other.values[0]
                yield axis, ("space", axis.key, axis.kind, index), given

    def located(self, error: MienError, axis: Axis, path: KeyPath) -> list[MienError]:
        """A trial's errors with the sweep's file and line, those first that the axis' value is to blame for."""
        of_axis: list[MienError] = []
        others: list[MienError] = []
        for one in (error, *error.more):
            blamed = axis if _is_of(one, axis.key) else next((of for of in self.axes if _is_of(one, of.key)), None)
            line = self.places.get(path if blamed is axis else ("space", blamed.key) if blamed else ())
            if blamed is not None and line is not None:
                key = f"space.{one.key}"
                one = MienError(
                    one.message, file=str(self.file), line=line, key=key, expected=one.expected, nearest=one.nearest
                )
            (of_axis if blamed is axis else others).append(one)
        return [*of_axis, *others]


def _add_conditions(axis: Axis, axes: Mapping[str, Axis], given: dict[str, Any]) -> None:
    for key, value in axis.when.items():
        given.setdefault(key, value)
        _add_conditions(axes[key], axes, given)


def _is_of(error: MienError, key: str) -> bool:
    named = error.key or ""
    return error.file == COMMAND_LINE and (named == key or named.startswith(f"{key}.") or key.startswith(f"{named}."))


def read_sweep(file: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read and check the file of a sweep; `overrides` are laid over its experiment.

    Every end and every choice is checked as the experiment of a trial. Raises one MienError that holds all problems.
    """
    content, lines = read_yaml(file, "a sweep file")
    source = Source(content, {path: (str(file), line) for path, line in lines.items()})
    problems: list[MienError] = []
    known = _checked_keys(content, source, str(file), problems)
    base = _base(file, known.get("experiment"), source, problems)
    if base is None or problems:
        raise _together(problems)
    experiment = load_experiment(base, overrides)
    axes = _axes(content["space"], source, str(file), problems)
    sweep = Sweep(
        file,
        known["name"],
        base,
        tuple(overrides),
        experiment,
        tuple(axes),
        known["trials"],
        known["sampler"],
        known["pruner"],
        known["seed"],
        lines,
    )
    if not problems:
        problems += _unknown_keys(sweep, source)
    if not problems:
        problems += _wrong_ends(sweep)
    if problems:
        raise _together(problems)
    return sweep


def _together(problems: Sequence[MienError]) -> MienError:
    first, *more = problems
    first.more = tuple(more)
    return first


def _checked_keys(content: Mapping[str, Any], source: Source, file: str, problems: list[MienError]) -> dict[str, Any]:
    """The keys of the file but for what the space holds, with defaults; what is wrong is appended to `problems`."""
    known: dict[str, Any] = {"sampler": "tpe", "pruner": "none", "seed": 0, **content}

    def wrong(message: str, path: KeyPath, expected: str | None = None, near: str | None = None) -> None:
        problems.append(key_problem(message, path, source, file, expected=expected, nearest=near))

    meant = [nearest(key, _KEYS) for key in content if key not in _KEYS]
    for key in content:
        if key not in _KEYS:
            wrong("unknown key", (key,), "one of " + ", ".join(_KEYS), nearest(key, _KEYS))
    for key, example in _EXAMPLES.items():
        if key not in content and key not in meant:
            wrong("this key is missing", (key,), f"for example '{example}'")
    for key, least, most in (("trials", 1, MAX_TRIALS), ("seed", 0, 2**31 - 1)):
        value = known.get(key, least)
        if not _is_whole(value) or not least <= value <= most:
            wrong(f"{json.dumps(value)} can't stand here", (key,), f"a whole number, {least} to {most:,}")
    if "name" in content:
        try:
            check_name(str(content["name"]) if isinstance(content["name"], str) else "", "a sweep")
        except MienError as error:
            wrong(error.message, ("name",), error.expected)
    if known["sampler"] not in SAMPLERS:
        close = nearest(str(known["sampler"]), SAMPLERS)
        wrong(f"no sampler is called {_quoted(known['sampler'])}", ("sampler",), _either(SAMPLERS), close)
    known["pruner"] = _pruner(known["pruner"], wrong)
    if "space" in content and (not isinstance(content["space"], dict) or not content["space"]):
        wrong("this holds no keys", ("space",), f"for example '{_EXAMPLES['space']}'")
    return known


def _pruner(given: Any, wrong: Any) -> Pruner:
    numbers: Any = {"name": given} if isinstance(given, str) else given
    name = numbers.get("name") if isinstance(numbers, dict) else None
    if not isinstance(name, str) or name not in PRUNERS:
        where = ("pruner", "name") if isinstance(given, dict) and name is not None else ("pruner",)
        shown = "this names no pruner" if name is None else f"no pruner is called {_quoted(name)}"
        wrong(shown, where, _either(tuple(PRUNERS)), nearest(str(name), PRUNERS))
        return Pruner("none", {})
    keys = PRUNERS[name]
    for key, value in numbers.items():
        if key == "name":
            continue
        if key not in keys:
            wrong("unknown key", ("pruner", key), "one of " + ", ".join(keys) if keys else "no key", nearest(key, keys))
        elif not _is_whole(value) or value < keys[key][1]:
            wrong(f"{json.dumps(value)} can't stand here", ("pruner", key), f"a whole number, at least {keys[key][1]}")
    return Pruner(name, {key: numbers.get(key, default) for key, (default, _) in keys.items()})


def _base(file: Path, given: Any, source: Source, problems: list[MienError]) -> Path | None:
    if given is None:
        return None
    base = file.parent / given if isinstance(given, str) else None
    if base is not None and base.is_file():
        return base
    there = [path.name for path in file.parent.glob("*.y*ml") if path != file]
    problems.append(
        key_problem(
            f"there is no file {_quoted(given)} beside this one",
            ("experiment",),
            source,
            str(file),
            expected="the file of an experiment",
            nearest=nearest(str(given), there),
        )
    )
    return None


def _axes(space: Mapping[str, Any], source: Source, file: str, problems: list[MienError]) -> list[Axis]:
    axes: dict[str, Axis] = {}
    for key, given in space.items():
        before = len(problems)
        path: KeyPath = ("space", key)
        kinds = [kind for kind in KINDS if isinstance(given, dict) and kind in given]
        if len(kinds) != 1:
            problems.append(
                key_problem(
                    "this says not where to search" if not kinds else f"{' and '.join(kinds)} exclude each other",
                    path,
                    source,
                    file,
                    expected="one of log: [1e-4, 1e-2], range: [0, 1], int: [1, 8], choices: [a, b]",
                )
            )
            continue
        (kind,) = kinds
        for other in given:
            if other not in (kind, "when"):
                close = nearest(other, [*KINDS, "when"])
                problems.append(
                    key_problem("unknown key", (*path, other), source, file, expected=f"{kind} and when", nearest=close)
                )
        expected = _misfit(kind, given[kind])
        if expected is not None:
            shown = json.dumps(given[kind], ensure_ascii=False)
            problems.append(
                key_problem(f"{shown[:60]} can't stand here", (*path, kind), source, file, expected=expected)
            )
        when = given.get("when", {})
        problems += _wrong_conditions(when, axes, path, source, file)
        if len(problems) == before:
            whole = kind in ("log", "range")
            axes[key] = Axis(key, kind, tuple(map(float, given[kind]) if whole else given[kind]), when)
    return list(axes.values())


def _misfit(kind: Kind, given: Any) -> str | None:
    """What was expected where a kind's values can't stand; None where they can."""
    if kind == "choices":
        texts = [json.dumps(one, sort_keys=True) for one in given] if isinstance(given, list) else []
        # 1, 1.0 and true are one to Optuna.
        plain = [one for one in given if isinstance(one, int | float)] if isinstance(given, list) else []
        different = len(set(texts)) == len(texts) and len(set(plain)) == len(plain)
        return None if len(texts) >= 2 and different else "a list of at least two different values"
    expected = {
        "log": "two finite numbers above 0, the lower first",
        "range": "two finite numbers, the lower first",
        "int": "two whole numbers, the lower first",
    }[kind]
    right = _is_whole if kind == "int" else _is_number
    if not isinstance(given, list) or len(given) != 2 or not all(map(right, given)) or not given[0] < given[1]:
        return expected
    return expected if kind == "log" and given[0] <= 0 else None


def _wrong_conditions(
    when: Any, axes: Mapping[str, Axis], path: KeyPath, source: Source, file: str
) -> Iterator[MienError]:
    here = (*path, "when")
    if not isinstance(when, dict):
        yield key_problem("this is no condition", here, source, file, expected="for example {model.name: resnet}")
        return
    chosen = [key for key, axis in axes.items() if axis.kind == "choices"]
    for key, value in when.items():
        if key not in chosen:
            yield key_problem(
                "no key above this one has choices and this name",
                (*here, key),
                source,
                file,
                expected="one of " + ", ".join(chosen) if chosen else "such a key above",
                nearest=nearest(key, chosen),
            )
        elif value not in axes[key].values:
            texts = [json.dumps(one) for one in axes[key].values]
            yield key_problem(
                f"{json.dumps(value)} is none of its choices",
                (*here, key),
                source,
                file,
                expected="one of " + ", ".join(texts),
                nearest=nearest(json.dumps(value), texts),
            )


def _unknown_keys(sweep: Sweep, source: Source) -> Iterator[MienError]:
    """Keys of the space that an experiment doesn't have, or that can't be searched."""
    known = _known(sweep)
    for axis in sweep.axes:
        path: KeyPath = ("space", axis.key)
        why = next((why for key, why in _FIXED.items() if axis.key == key or axis.key.startswith(f"{key}.")), None)
        if axis.key == "dataset":
            why = _OTHER_ROWS
        if why is not None:
            yield key_problem(f"this key can't be searched: {why}", path, source, str(sweep.file))
        elif axis.key not in known:
            yield key_problem(
                f"no key of the experiment is called '{axis.key}'",
                path,
                source,
                str(sweep.file),
                nearest=nearest(axis.key, [one for one in known if one not in _FIXED]),
            )
        elif any(one.partition("=")[0] == axis.key for one in sweep.overrides):
            yield key_problem("the command line sets this key, which is searched", path, source, str(sweep.file))


def _known(sweep: Sweep) -> set[str]:
    """The dotted keys that the experiment of some trial has."""
    known = set(Experiment.model_fields)
    for section in ("dataset", "train"):
        known |= {f"{section}.{key}" for key in type(getattr(sweep.experiment, section)).model_fields}
    for section, kind in NAMED.items():
        called = {getattr(sweep.experiment, section).called}
        for axis in sweep.axes:
            if axis.kind == "choices" and axis.key in (section, f"{section}.name"):
                called |= {one.get("name") if isinstance(one, dict) else one for one in axis.values}
        for name in called & set(names(kind)):
            known |= {f"{section}.{key}" for key in entry(kind, name).spec.model_fields}
    return known


def _wrong_ends(sweep: Sweep) -> list[MienError]:
    found: dict[str, MienError] = {}
    for axis, path, given in sweep.ends():
        try:
            load_experiment(sweep.base, sweep.changes(given))
        except MienError as error:
            for one in sweep.located(error, axis, path):
                found.setdefault(f"{one.line} {one.key}", one)
    return sorted(found.values(), key=lambda one: one.line or 0)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _quoted(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def _either(choices: Sequence[str]) -> str:
    return "one of " + ", ".join(choices)
