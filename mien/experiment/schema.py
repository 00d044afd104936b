"""The experiment: the typed, frozen content of one YAML file, checked before anything runs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from mien.errors import MienError, nearest
from mien.experiment.merging import NAMED, Source, read_layers, read_overrides
from mien.experiment.yamlfile import KeyPath, dump_yaml
from mien.registry import Component, Kind, entry, key_of, load_plugins, names
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


class TrainSection(Section):
    """How long, in which order and precision, on what; `keep`: the last weights or the best by `monitor`.

    What is monitored, unless a file says it, is the accuracy on the choose role, for points their NME.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 64
    shuffle: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    keep: Literal["last", "best"] = "best"
    monitor: Literal["choose_accuracy", "choose_nme", "choose_loss"] = "choose_accuracy"
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    tensorboard: bool = False


Explanation = Literal["filters", "activations", "gradcam", "occlusion", "regions", "neighbours", "cases"]
# In the order in which they are told.
EXPLANATIONS: tuple[Explanation, ...] = get_args(Explanation)


class Experiment(Section):
    """One experiment. The components' parameters are checked against the signatures of what they name."""

    name: str
    # What the model tells of an image: a class, or where the 68 points of the face are.
    task: Literal["expression", "landmarks"] = "expression"
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
    # Rows with one of these flags of the data set's audit are neither fit nor chosen on; the protocol's are among them.
    exclude: tuple[str, ...] = ()
    # Views of each image whose probabilities are averaged when the run is measured, beside the image alone.
    tta: Literal["none", "flip", "flip-shifts", "ten-crop"] = "none"
    # What `mien explain` makes of the run when nothing else is named, and a training at its end.
    explain: tuple[Explanation, ...] = ()

    def to_yaml(self) -> str:
        """The whole experiment, defaults included, as a file that can be trained again."""
        # What is explained changes no number: seeds of one group may have been trained before there was such a key.
        return dump_yaml(self.model_dump(mode="json", exclude=None if self.explain else {"explain"}))


_OPS = ("preprocess", "augment")
# What stands in a section that a file doesn't mention.
_DEFAULTS: dict[str, Any] = {
    "protocol": {"name": "official"},
    "loss": {"name": "cross_entropy"},
    "schedule": {"name": "constant"},
}
# What a file can't do without, and how it may look.
_EXAMPLES = {
    "name": "name: cnn1",
    "dataset": "dataset: fer2013",
    "model": "model: cnn",
    "optimizer": "optimizer: {name: adam, lr: 1e-4}",
    "train": "train: {epochs: 40}",
}
_SECTIONS: dict[str, type[Section]] = {"dataset": DatasetSection, "train": TrainSection}
_KEYS = ("extends", *Experiment.model_fields)


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read, merge and check an experiment file; `overrides` are `key=value` with dotted keys.

    Runs the files that `plugins:` names. Raises one MienError that holds all that is wrong.
    """
    import_components()
    source = read_layers(file, overrides)
    _load_plugins(source, str(file))
    return _check(source, str(file))


def read_protocol(text: str) -> tuple[Component, tuple[str, ...]]:
    """A protocol as a command line names it, and the flags that it excludes.

    `text` is a protocol's name, a file that holds one (`ours.yaml`), or its keys (`{name: folder, share: 0.2}`).
    Raises one MienError that holds all that is wrong.

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


def _load_plugins(source: Source, file: str) -> None:
    plugins = source.content.get("plugins", [])
    # What is no list of names is said with all else that is wrong.
    files = plugins if isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins) else []
    for index, plugin in enumerate(files):
        if not Path(plugin).is_file() or Path(plugin).suffix != ".py":
            raise _problem(f"there is no Python file '{plugin}'", ("plugins", index), source, file)
    load_plugins(map(Path, files))


def _check(source: Source, file: str) -> Experiment:
    problems: list[MienError] = []
    parts: dict[str, Any] = {}
    unknown: list[str] = []
    excluded: list[str] = []
    points = source.content.get("task") == "landmarks"
    for key, value in {**_DEFAULTS, **source.content}.items():
        if points and key == "train" and isinstance(value, dict):
            value = {"monitor": "choose_nme", **value}
        if key in NAMED:
            if isinstance(value, dict):
                value = {**_DEFAULTS.get(key, {}), **value}
            if key == "protocol":
                value, flags = _protocol(value, source, problems)
                excluded += flags
            parts[key] = _component(NAMED[key], value, (key,), source, problems)
        elif key in _OPS:
            if not isinstance(value, list):
                problems.append(_problem("this is no list", (key,), source, file, expected="a list of ops"))
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
        problems.append(_problem("unknown key", (key,), source, file, nearest=meant[-1]))
    for key, example in _EXAMPLES.items():
        if key not in parts and key not in meant:
            problems.append(_problem("this key is missing", (key,), source, file, expected=f"for example '{example}'"))
    if isinstance(name := parts.get("name"), str):
        try:
            check_name(name, "an experiment")
        except MienError as error:
            problems.append(_problem(error.message, ("name",), source, file, expected=error.expected))
    for index, op in enumerate(parts.get("preprocess", [])):
        if op is not None and getattr(op.entry.build, "random", True):
            problems.append(
                _problem(f"op '{op.called}' is random", ("preprocess", index), source, file, expected="it in augment")
            )
    for index, op in enumerate(parts.get("augment", [])):
        if op is not None and not getattr(op.entry.build, "random", True):
            # It would change what is trained on, but not what is measured.
            problems.append(
                _problem(
                    f"op '{op.called}' isn't random", ("augment", index), source, file, expected="it in preprocess"
                )
            )
    parts["exclude"] = list(dict.fromkeys(excluded))
    # Of a task that there isn't nothing is known to fit; that it isn't is said below.
    if points or source.content.get("task", "expression") == "expression":
        problems += _misfits(parts, points, source, file)
    if not problems:
        try:
            return Experiment.model_validate(parts)
        except ValidationError as error:
            problems += _problems(error, (), source, file, list(Experiment.model_fields))
    first, *more = problems
    first.more = tuple(more)
    raise first


def _misfits(parts: dict[str, Any], points: bool, source: Source, file: str) -> list[MienError]:
    """What stands in the file, is right by itself, and doesn't go with the task."""
    found = []

    def problem(message: str, path: KeyPath, expected: str) -> None:
        found.append(_problem(message, path, source, file, expected=expected))

    task = "landmarks" if points else "expression"
    loss, train, ops = parts.get("loss"), parts.get("train"), parts.get("augment", [])
    targets = getattr(loss.entry.build, "targets", "label") if loss is not None else None
    if loss is not None and (targets == "points") != points:
        wanted = "a loss on points, as {name: wing}" if points else "a loss on labels or votes, as cross_entropy"
        on = "labels" if targets == "label" else targets
        problem(f"loss '{loss.called}' is on {on} and the task is {task}", ("loss",), wanted)
    if train is not None and train.monitor == ("choose_accuracy" if points else "choose_nme"):
        wanted = "choose_nme or choose_loss" if points else "choose_accuracy or choose_loss"
        problem(f"'{train.monitor}' isn't measured when the task is {task}", ("train", "monitor"), wanted)
    for index, op in enumerate(ops):
        if op is not None and op.called == "frame" and not (points and index == 0):
            wanted = "it first in augment" if points else "task: landmarks, or crop and affine instead"
            problem("op 'frame' can't stand here", ("augment", index), wanted)
    if points and "augment" in parts and (not ops or (ops[0] is not None and ops[0].called != "frame")):
        problem("faces are framed anew each time that they are trained on", ("augment",), "op 'frame' first")
    if points and "augment" not in source.content:
        problem("this key is missing", ("augment",), "at least 'augment: [{op: frame}]'")
    if points and parts.get("tta", "none") != "none":
        problem("points have no test-time augmentation", ("tta",), "none")
    if points and parts.get("explain"):
        problem("only models of expressions are explained", ("explain",), "no such key")
    dataset = parts.get("dataset")
    if points and dataset is not None and dataset.labels is not None:
        problem("points have no label scheme", ("dataset", "labels"), "no such key")
    return found


def _keys_of(part: Any) -> Iterable[str]:
    return type(part).model_fields if isinstance(part, BaseModel) else ()


def _protocol(value: Any, source: Source, problems: list[MienError]) -> tuple[Any, list[str]]:
    """A protocol's keys without `exclude`, and what that holds."""
    if not isinstance(value, dict) or "exclude" not in value:
        return value, []
    rest = {key: one for key, one in value.items() if key != "exclude"}
    return rest, _flags(value["exclude"], ("protocol", "exclude"), source, problems)


def _flags(value: Any, path: KeyPath, source: Source, problems: list[MienError]) -> list[str]:
    """A list of an audit's flags; what is none is appended to `problems`."""
    from mien.audit import FLAGS

    return _listed(value, path, source, problems, "flag", list(FLAGS), "[leaked, blank]")


def _listed(
    value: Any, path: KeyPath, source: Source, problems: list[MienError], what: str, known: list[str], example: str
) -> list[str]:
    """A list of known names; what is none is appended to `problems`."""
    if not isinstance(value, list):
        problems.append(_problem("this is no list", path, source, "", expected=f"a list of {what}s, as {example}"))
        return []
    for index, name in enumerate(value):
        if name not in known:
            shown = f"'{name}'" if isinstance(name, str) else json.dumps(name)
            problems.append(
                _problem(
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
        _problem(message, path, source, "", expected=f"'{key}' as one of " + ", ".join(choices), nearest=close)
    )
    return None


def _typed(model: type[Any], value: Any, path: KeyPath, source: Source, problems: list[MienError]) -> Any:
    """`value` as that pydantic type, or None and what is wrong appended to `problems`."""
    try:
        # Through JSON, since strict JSON takes a list for a tuple but no text or truth value for a number.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        # A protocol's flags are taken out before.
        also = ["exclude"] if path == ("protocol",) else []
        problems += _problems(error, path, source, "", [*model.model_fields, *also])
        return None


def _problems(error: ValidationError, path: KeyPath, source: Source, file: str, keys: list[str]) -> list[MienError]:
    """pydantic's errors in mien's words, one for each key."""
    found: dict[KeyPath, list[Any]] = {}
    for one in error.errors(include_url=False):
        # In the path of a union pydantic also names the member that was tried; only what the file has counts.
        here: KeyPath = path
        for step in one["loc"]:
            missing = one["type"] in ("missing", "extra_forbidden") and step == one["loc"][-1]
            if (*here, step) in source.places or missing or (here == path and step in keys):
                here = (*here, step)
        found.setdefault(here, []).append(one)
    meant = {nearest(str(here[-1]), keys) for here, ones in found.items() if ones[0]["type"] == "extra_forbidden"}
    out = []
    for here, ones in found.items():
        if ones[0]["type"] == "extra_forbidden":
            others = [key for key in keys if key not in ("name", "op")]
            out.append(
                _problem(
                    "unknown key",
                    here,
                    source,
                    file,
                    expected="one of " + ", ".join(others) if others else "no key",
                    nearest=nearest(str(here[-1]), keys),
                )
            )
        elif ones[0]["type"] == "missing":
            # A key that is only misspelt is told once.
            if here[-1] not in meant:
                what = "item" if isinstance(here[-1], int) else "key"
                out.append(_problem(f"this {what} is missing", here, source, file))
        elif not any(here == other[: len(here)] and here != other for other in found):
            # Of a union's members the one that came furthest tells more.
            expected = " or ".join(dict.fromkeys(_expected(one) for one in ones))
            shown = json.dumps(ones[0]["input"], default=str, ensure_ascii=False)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            out.append(_problem(f"{shown} can't stand here", here, source, file, expected=expected))
    return out


# pydantic's types of errors in a reader's words.
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "none_required": "nothing",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "literal_error": "{expected}",
}


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] in _EXPECTED:
        values = error.get("ctx", {}).items()
        plain = {key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in values}
        return _EXPECTED[error["type"]].format_map(plain)
    text: str = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


def _problem(
    message: str, path: KeyPath, source: Source, file: str, *, expected: str | None = None, nearest: str | None = None
) -> MienError:
    """An error at a key: its file and line, or those of the nearest section around it that a file has."""
    place: tuple[str, int | None] = (file or next((at[0] for at in source.places.values()), ""), None)
    for length in range(len(path), 0, -1):
        if path[:length] in source.places:
            place = source.places[path[:length]]
            break
    # In a file that holds a section alone, keys stand without the section's name.
    alone = bool(path) and source.files.get(str(path[0])) == place[0]
    key = ".".join(map(str, path[alone:])) or None
    return MienError(message, file=place[0] or None, line=place[1], key=key, expected=expected, nearest=nearest)


def problem_at(experiment_file: Path, overrides: Sequence[str], key: str, error: MienError) -> MienError:
    """The same error with the file and line where `key` (dotted) stands; for what only a data set or a model knows."""
    source = read_layers(experiment_file, overrides)
    # A list's items have numbers in their paths.
    path: KeyPath = tuple(int(step) if step.isdigit() else step for step in key.split("."))
    if path not in source.places and ("protocol", *path) in source.places:  # `exclude` stands here or there.
        path = ("protocol", *path)
    placed = _problem(error.message, path, source, str(experiment_file))
    placed.expected, placed.nearest, placed.more = error.expected, error.nearest, error.more
    return placed


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, with every registered component, for editors.

    Nothing is required in it, since a file that extends another holds only differences.
    """
    from mien.audit import FLAGS

    schema = Experiment.model_json_schema()
    definitions = schema["$defs"]
    for kind in ("protocol", "model", "loss", "optimizer", "schedule", "op"):
        for name in names(kind):
            own = entry(kind, name).spec.model_json_schema()
            definitions.update(own.pop("$defs", {}))
            definitions[f"{kind}_{name}"] = own
    for key, kind in NAMED.items():
        choices: list[dict[str, Any]] = [{"$ref": f"#/$defs/{kind}_{name}"} for name in names(kind)]
        schema["properties"][key] = {"anyOf": [{"enum": names(kind)}, *choices]}
    # A protocol may stand in a file, and have flags.
    file = {"type": "string", "pattern": r"\.ya?ml$", "description": "A file beside this one that holds a protocol."}
    schema["properties"]["protocol"]["anyOf"] += [
        file,
        {"type": "object", "properties": {"name": file}, "required": ["name"]},
    ]
    flags = {"type": "array", "items": {"enum": list(FLAGS)}}
    schema["properties"]["exclude"] = flags
    for name in names("protocol"):
        definitions[f"protocol_{name}"]["properties"]["exclude"] = flags
    for key in _OPS:
        choices = [{"$ref": f"#/$defs/op_{name}"} for name in names("op")]
        schema["properties"][key] = {"type": "array", "items": {"anyOf": choices}}
    dataset = schema["properties"]["dataset"]
    schema["properties"]["dataset"] = {"anyOf": [{"type": "string"}, dataset]}
    schema["properties"]["extends"] = {"type": "string", "description": "A file beside this one to build on."}
    definitions.pop("Component", None)
    for part in (schema, *definitions.values()):
        part.pop("required", None)
    for name in names("op"):
        definitions[f"op_{name}"]["required"] = ["op"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "mien experiment"}
