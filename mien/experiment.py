"""The experiment: the typed, frozen content of one YAML file, checked before anything runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError

from mien.errors import MienError, nearest
from mien.layers import NAMED, Source, read_layers
from mien.registry import Component, Kind, entry, key_of, load_plugins, names
from mien.yamlfile import KeyPath, dump_yaml


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
    """How long, in which order and precision, on what; `keep`: the last weights or the best by `monitor`."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 64
    shuffle: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 42
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    keep: Literal["last", "best"] = "best"
    monitor: Literal["choose_accuracy", "choose_loss"] = "choose_accuracy"
    early_stopping: Annotated[int, Field(ge=1)] | None = None
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    tensorboard: bool = False


class Experiment(Section):
    """One experiment. The components' parameters are checked against the signatures of what they name."""

    name: str
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

    def to_yaml(self) -> str:
        """The whole experiment, defaults included, as a file that can be trained again."""
        return dump_yaml(self.model_dump(mode="json"))


_OPS = ("preprocess", "augment")
# What stands in a section that a file doesn't mention.
_DEFAULTS: dict[str, Any] = {
    "protocol": {"name": "official"},
    "loss": {"name": "cross_entropy"},
    "schedule": {"name": "constant"},
}
_SECTIONS: dict[str, type[Section]] = {"dataset": DatasetSection, "train": TrainSection}
_KEYS = ("extends", *Experiment.model_fields)


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read, merge and check an experiment file; `overrides` are `key=value` with dotted keys.

    Runs the files that `plugins:` names. Raises one MienError that holds all that is wrong.
    """
    import_components()
    source = read_layers(file, overrides)
    plugins = source.content.get("plugins", [])
    if isinstance(plugins, list) and all(isinstance(plugin, str) for plugin in plugins):
        load_plugins(map(Path, plugins))
    return _check(source, str(file))


def import_components() -> None:
    """Register everything that mien itself brings."""
    import mien.augment
    import mien.losses
    import mien.models
    import mien.optimizers
    import mien.protocols  # noqa: F401


def _check(source: Source, file: str) -> Experiment:
    problems: list[MienError] = []
    parts: dict[str, Any] = {}
    for key, value in {**_DEFAULTS, **source.content}.items():
        if key in NAMED:
            parts[key] = _component(NAMED[key], value, (key,), source, problems)
        elif key in _OPS:
            if not isinstance(value, list):
                problems.append(_problem("this is no list", (key,), source, file, expected="a list of ops"))
                continue
            parts[key] = [_component("op", one, (key, i), source, problems) for i, one in enumerate(value)]
        elif key in _SECTIONS:
            parts[key] = _typed(_SECTIONS[key], value, (key,), source, problems)
        elif key in Experiment.model_fields:
            parts[key] = value
        else:
            problems.append(_problem("unknown key", (key,), source, file, nearest=nearest(key, _KEYS)))
    for key, field in Experiment.model_fields.items():
        if field.is_required() and key not in parts:
            problems.append(_problem("this key is missing", (key,), source, file, expected=_what(key)))
    for index, op in enumerate(parts.get("preprocess", [])):
        if op is not None and getattr(entry("op", op.called).build, "random", True):
            problems.append(
                _problem(f"op '{op.called}' is random", ("preprocess", index), source, file, expected="it in 'augment'")
            )
    if not problems:
        try:
            return Experiment.model_validate(parts)
        except ValidationError as error:
            problems += _problems(error, (), source, file, list(Experiment.model_fields))
    first, *more = problems
    first.more = tuple(more)
    raise first


def _what(key: str) -> str:
    return f"a {key} with a name" if key in NAMED else "the section" if key in _SECTIONS else "a value"


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
        problems += _problems(error, path, source, "", list(model.model_fields))
        return None


def _problems(error: ValidationError, path: KeyPath, source: Source, file: str, keys: list[str]) -> list[MienError]:
    """pydantic's errors in mien's words, one for each key."""
    found: dict[KeyPath, list[Any]] = {}
    for one in error.errors(include_url=False):
        # In the path of a union pydantic also names the member that was tried; only what the file has counts.
        here: KeyPath = path
        for step in one["loc"]:
            missing = one["type"] in ("missing", "extra_forbidden") and step == one["loc"][-1]
            if (*here, step) in source.places or missing:
                here = (*here, step)
        found.setdefault(here, []).append(one)
    out = []
    for here, ones in found.items():
        kind, name = ones[0]["type"], str(ones[0]["loc"][-1]) if ones[0]["loc"] else ""
        if kind == "extra_forbidden":
            others = [key for key in keys if key not in ("name", "op")]
            out.append(
                _problem(
                    "unknown key",
                    here,
                    source,
                    file,
                    expected="one of " + ", ".join(others) if others else "no key",
                    nearest=nearest(name, keys),
                )
            )
        elif kind == "missing":
            out.append(_problem("this key is missing", here, source, file))
        else:
            expected = " or ".join(dict.fromkeys(_expected(one["msg"]) for one in ones))
            shown = json.dumps(ones[0]["input"], default=str)
            out.append(_problem(f"{shown[:60]} can't stand here", here, source, file, expected=expected))
    return out


def _expected(message: str) -> str:
    text = message.removeprefix("Input should be ").removeprefix("Value error, ")
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
    key = ".".join(map(str, path)) or None
    return MienError(message, file=place[0] or None, line=place[1], key=key, expected=expected, nearest=nearest)


def problem_at(experiment_file: Path, overrides: Sequence[str], key: str, error: MienError) -> MienError:
    """The same error with the file and line where `key` (dotted) stands; for what only a data set or a model knows."""
    source = read_layers(experiment_file, overrides)
    placed = _problem(error.message, tuple(key.split(".")), source, str(experiment_file))
    placed.expected, placed.nearest, placed.more = error.expected, error.nearest, error.more
    return placed


def json_schema() -> dict[str, Any]:
    """The JSON schema of an experiment file, with every registered component, for editors.

    Nothing is required in it, since a file that extends another holds only differences.
    """
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
