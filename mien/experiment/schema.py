"""The experiment: the typed, frozen content of one YAML file, checked before anything runs."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    WithJsonSchema,
)

from mien.errors import MienError, nearest
from mien.experiment.merging import COMMAND_LINE, NAMED, Source, read_layers, read_overrides
from mien.experiment.problems import key_problem, validation_problems
from mien.experiment.yamlfile import KeyPath, dump_yaml
from mien.registry import Component, Kind, entry, key_of, load_plugins, names
from mien.tasks import EXPRESSION, Task, find_task
from mien.workspace import check_name


class Section(BaseModel):
    """A part of the experiment with fixed keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSection(Section):
    """Which data set, decoded at which size and colour, under which label scheme (its own when none is named)."""

    name: str
    size: Annotated[int, Field(ge=8, le=1024)] = 48
    color: Literal["gray", "rgb"] = "gray"
    labels: str | None = None


# Keys of `train` that came later; unused, they change no number, and a file doesn't show them.
_LATER = ("ema", "mixup", "cutmix", "votes", "devices", "nodes")


def monitors() -> list[str]:
    """What a training can go by: the score of each registered task on the choose role, or the loss."""
    return [*(find_task(name).monitor for name in names("task")), "choose_loss"]


def _monitor(value: Any) -> str:
    if value not in monitors():
        raise ValueError(_either(monitors()))
    return str(value)


def _either(choices: Sequence[str]) -> str:
    *others, last = (f"'{choice}'" for choice in choices)
    return f"{', '.join(others)} or {last}"


class TrainSection(Section):
    """How long, in which order and precision, on what; `keep`: the last weights or the best by `monitor`.

    Without `monitor`, it is the task's score on the choose role. `ema` is the decay of the weights' moving average,
    `mixup` and `cutmix` the alpha by which images are mixed: see `mien.training.mixing`. `votes` is the weight of a
    second head's loss on the raters' votes: see `mien.training.votes_head`. `devices` of each of `nodes` machines share
    every batch: see `mien.training.devices`.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 64
    shuffle: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Annotated[int, Field(ge=1)] = 1
    nodes: Annotated[int, Field(ge=1)] = 1
    keep: Literal["last", "best"] = "best"
    monitor: Annotated[str, PlainValidator(_monitor), WithJsonSchema({"type": "string"})] = "choose_accuracy"
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    mixup: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    cutmix: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    votes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tensorboard: bool = False


def _tta(value: Any) -> Any:
    known = ["none", *names("tta")]
    if value not in known:
        *most, last = (f"'{name}'" for name in known)
        raise ValueError(f"{', '.join(most)} or {last}")
    return value


Explanation = Literal["filters", "activations", "gradcam", "occlusion", "regions", "neighbours", "cases"]
# In the order in which a report shows them; `mien.explain` registers what makes each.
EXPLANATIONS: tuple[Explanation, ...] = get_args(Explanation)


class Experiment(Section):
    """One experiment. The components' parameters are checked against the signatures of what they name."""

    name: str
    # What the model tells of an image; a file has the name.
    task: Annotated[InstanceOf[Task], PlainSerializer(lambda task: task.name), WithJsonSchema({"type": "string"})]
    plugins: tuple[str, ...] = ()
    dataset: DatasetSection
    protocol: SerializeAsAny[Component]
    preprocess: tuple[SerializeAsAny[Component], ...] = ()
    augment: tuple[SerializeAsAny[Component], ...] = ()
    model: SerializeAsAny[Component]
    loss: SerializeAsAny[Component]
    optimizer: SerializeAsAny[Component]
    schedule: SerializeAsAny[Component]
    train: TrainSection
    # Rows with one of these flags of the data set's audit, or listed by a CSV of suspects, are neither fit nor chosen
    # on; the protocol's are among them.
    exclude: tuple[str, ...] = ()
    # Evaluation also averages the probabilities of these views of each image.
    tta: Annotated[str, BeforeValidator(_tta)] = "none"
    # What `mien explain` makes by default, and every training at its end.
    explain: tuple[Explanation, ...] = ()

    def to_yaml(self) -> str:
        """The whole experiment, defaults included, as a file that can be trained again."""
        # Without them, runs from before there were the keys match later seeds.
        unused = {key: True for key in _LATER if getattr(self.train, key) == TrainSection.model_fields[key].default}
        without: dict[str, Any] = {"train": unused, **({} if self.explain else {"explain": True})}
        return dump_yaml(self.model_dump(mode="json", exclude=without))


# The sections that are lists of ops.
OPS = ("preprocess", "augment")
# The content of sections that a file doesn't have.
_DEFAULTS: dict[str, Any] = {
    "task": EXPRESSION,
    "protocol": {"name": "official"},
    "loss": {"name": "cross_entropy"},
    "schedule": {"name": "constant"},
}
# The keys that a file must have, each with an example.
_EXAMPLES = {
    "name": "name: cnn1",
    "dataset": "dataset: fer2013",
    "model": "model: cnn",
    "optimizer": "optimizer: {name: adam, lr: 1e-4}",
    "train": "train: {epochs: 40}",
}
_SECTIONS: dict[str, type[Section]] = {"dataset": DatasetSection, "train": TrainSection}
_KEYS = ("extends", *Experiment.model_fields)


def load_experiment(file: Path, overrides: Sequence[str] = (), *, named: bool = True) -> Experiment:
    """Read, merge and check an experiment file; `overrides` are `key=value` with dotted keys.

    Runs the files that `plugins:` names, in this file if it was `named` by the user, in files that it extends beside it
    and on the command line; all others if `mien.trust` knows them. Raises one MienError that holds all problems.
    """
    import_components()
    source = read_layers(file, overrides)
    _load_plugins(source, file, named)
    return _check(source, str(file))


def read_protocol(text: str) -> tuple[Component, tuple[str, ...]]:
    """A protocol as a command line names it, and the flags that it excludes.

    `text` is a protocol's name, a file that holds one (`ours.yaml`), or its keys (`{name: folder, share: 0.2}`).
    Raises one MienError that holds all problems.

    >>> read_protocol("{name: folder, share: 0.2, exclude: [blank]}")
    (protocol_folder(name='folder', share=0.2, seed=0), ('blank',))
    """
    import_components()
    source = read_overrides([f"protocol={text}"])
    problems: list[MienError] = []
    value, excluded = _protocol(source.content["protocol"], source, problems)
    component = _component("protocol", value, ("protocol",), source, problems)
    if component is not None and not problems:
        return component, tuple(excluded)
    first, *more = problems
    first.more = tuple(more)
    raise first


def import_components() -> None:
    """Register everything that mien itself brings."""
    import mien.augment
    import mien.losses
    import mien.models
    import mien.optimizers
    import mien.protocols  # noqa: F401


def _load_plugins(source: Source, file: Path, named: bool) -> None:
    plugins = source.content.get("plugins", [])
    # If `plugins` isn't a list of names, `_check` reports it with all other problems.
    files = plugins if isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins) else []
    for index, plugin in enumerate(files):
        if not Path(plugin).is_file() or Path(plugin).suffix != ".py":
            raise key_problem(f"there is no Python file '{plugin}'", ("plugins", index), source, str(file))
    # Whoever wrote the file could have written what stands beside it; a file elsewhere may be someone else's.
    own = [
        Path(plugin)
        for index, plugin in enumerate(files)
        if named
        and (origin := source.places["plugins", index][0])
        and (origin == COMMAND_LINE or Path(origin).parent.resolve() == file.parent.resolve())
    ]
    load_plugins(map(Path, files), own)


def _check(source: Source, file: str) -> Experiment:
    problems: list[MienError] = []
    parts: dict[str, Any] = {}
    unknown: list[str] = []
    excluded: list[str] = []
    task = _task({**_DEFAULTS, **source.content}["task"], source, problems)
    for key, value in {**_DEFAULTS, **source.content}.items():
        if task is not None and key == "train" and isinstance(value, dict):
            value = {"monitor": task.monitor, **value}
        if key == "task":
            parts[key] = task
        elif key in NAMED:
            if isinstance(value, dict):
                value = {**_DEFAULTS.get(key, {}), **value}
            if key == "protocol":
                value, flags = _protocol(value, source, problems)
                excluded += flags
            parts[key] = _component(NAMED[key], value, (key,), source, problems)
        elif key in OPS:
            if not isinstance(value, list):
                problems.append(key_problem("this is no list", (key,), source, file, expected="a list of ops"))
                continue
            parts[key] = [_component("op", one, (key, i), source, problems) for i, one in enumerate(value)]
        elif key in _SECTIONS:
            parts[key] = _typed(_SECTIONS[key], value, (key,), source, problems)
        elif key == "exclude":
            excluded = [*_flags(value, (key,), source, problems), *excluded]
        elif key == "explain":
            parts[key] = _listed(value, (key,), source, problems, "explanation", [*EXPLANATIONS], "[filters, gradcam]")
        elif key in Experiment.model_fields:
            parts[key] = value
        else:
            unknown.append(key)
    meant = []
    for key in unknown:
        inside = [f"{section}.{key}" for section, part in parts.items() if key in _keys_of(part)]
        meant.append(inside[0] if inside else nearest(key, _KEYS))
        problems.append(key_problem("unknown key", (key,), source, file, nearest=meant[-1]))
    for key, example in _EXAMPLES.items():
        if key not in parts and key not in meant:
            problems.append(
                key_problem("this key is missing", (key,), source, file, expected=f"for example '{example}'")
            )
    if isinstance(name := parts.get("name"), str):
        try:
            check_name(name, "an experiment")
        except MienError as error:
            problems.append(key_problem(error.message, ("name",), source, file, expected=error.expected))
    for index, op in enumerate(parts.get("preprocess", [])):
        if op is not None and getattr(op.entry.build, "random", True):
            problems.append(
                key_problem(
                    f"op '{op.called}' is random", ("preprocess", index), source, file, expected="it in augment"
                )
            )
    for index, op in enumerate(parts.get("augment", [])):
        if op is not None and not getattr(op.entry.build, "random", True):
            # It would change what is trained on, but not what is measured.
            problems.append(
                key_problem(
                    f"op '{op.called}' isn't random", ("augment", index), source, file, expected="it in preprocess"
                )
            )
    parts["exclude"] = list(dict.fromkeys(excluded))
    if task is not None:
        problems += [
            key_problem(message, path, source, file, expected=expected)
            for message, path, expected in task.all_misfits(parts, source.content)
        ]
    if not problems:
        try:
            return Experiment.model_validate(parts)
        except ValidationError as error:
            problems += validation_problems(error, (), source, file, list(Experiment.model_fields))
    first, *more = problems
    first.more = tuple(more)
    raise first


def _task(name: Any, source: Source, problems: list[MienError]) -> Task | None:
    """The task of that name; for another name None, and a problem."""
    if isinstance(name, str) and name in names("task"):
        return find_task(name)
    message, expected = f"{json.dumps(name)} can't stand here", _either(names("task"))
    problems.append(key_problem(message, ("task",), source, "", expected=expected))
    return None


def _keys_of(part: Any) -> Iterable[str]:
    return type(part).model_fields if isinstance(part, BaseModel) else ()


def _protocol(value: Any, source: Source, problems: list[MienError]) -> tuple[Any, list[str]]:
    """A protocol's keys without `exclude`, and the flags of `exclude`."""
    if not isinstance(value, dict) or "exclude" not in value:
        return value, []
    rest = {key: one for key, one in value.items() if key != "exclude"}
    return rest, _flags(value["exclude"], ("protocol", "exclude"), source, problems)


def _flags(value: Any, path: KeyPath, source: Source, problems: list[MienError]) -> list[str]:
    """A list of an audit's flags and of CSVs of suspects; unknown ones are appended to `problems`."""
    from mien.audit import FLAGS

    files = [one for one in value if isinstance(one, str) and one.endswith(".csv")] if isinstance(value, list) else []
    return _listed(value, path, source, problems, "flag", [*FLAGS, *files], "[leaked, blank]")


def _listed(
    value: Any, path: KeyPath, source: Source, problems: list[MienError], what: str, known: list[str], example: str
) -> list[str]:
    """A list of known names; unknown ones are appended to `problems`."""
    if not isinstance(value, list):
        problems.append(key_problem("this is no list", path, source, "", expected=f"a list of {what}s, as {example}"))
        return []
    for index, name in enumerate(value):
        if name not in known:
            shown = f"'{name}'" if isinstance(name, str) else json.dumps(name)
            problems.append(
                key_problem(
                    f"no {what} is called {shown}",
                    (*path, index),
                    source,
                    "",
                    expected="one of " + ", ".join(known),
                    nearest=nearest(name, known) if isinstance(name, str) else None,
                )
            )
    return [name for name in value if name in known]


def _component(kind: Kind, value: Any, path: KeyPath, source: Source, problems: list[MienError]) -> Component | None:
    key = key_of(kind)
    name = value.get(key) if isinstance(value, dict) else None
    if isinstance(name, str) and name in names(kind):
        component: Component | None = _typed(entry(kind, name).spec, value, path, source, problems)
        return component
    choices = names(kind)
    if isinstance(name, str):
        message, close = f"no {kind} is called '{name}'", nearest(name, choices)
        path = (*path, key)
    else:
        message, close = f"this names no {kind}", None
    problems.append(
        key_problem(message, path, source, "", expected=f"'{key}' as one of " + ", ".join(choices), nearest=close)
    )
    return None


def _typed(model: type[Any], value: Any, path: KeyPath, source: Source, problems: list[MienError]) -> Any:
    """`value` as that pydantic type; or None, with its problems appended to `problems`."""
    try:
        # Through JSON, since strict JSON takes a list for a tuple but no text or truth value for a number.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # A protocol's flags are taken out before.
        also = ["exclude"] if path == ("protocol",) else []
        problems += validation_problems(error, path, source, "", [*model.model_fields, *also])
        return None
