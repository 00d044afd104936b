"""Merging: an experiment file laid over what it extends, overrides over both, and the place where each key is set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import MienError, nearest
from mien.experiment.yamlfile import KeyPath, parse_value, read_yaml
from mien.registry import Kind

# The sections that name a component of a kind.
NAMED: dict[str, Kind] = {
    "protocol": "protocol",
    "model": "model",
    "loss": "loss",
    "optimizer": "optimizer",
    "schedule": "schedule",
}

COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class Source:
    """Plain content, not yet checked, and the file and line of each key (overrides have no line).

    `files` names the file of each section that has a file of its own.
    """

    content: dict[str, Any]
    places: dict[KeyPath, tuple[str, int | None]]
    files: dict[str, str] = field(default_factory=dict)


def read_layers(file: Path, overrides: Sequence[str] = ()) -> Source:
    """Merge a file with the files that it extends, and with `key=value` overrides.

    Mappings are merged key by key; any other value is replaced as a whole. A section that names another component than
    before keeps none of the old parameters. `protocol: ours.yaml` takes the content of that file.
    """
    return merge(_read(file, ()), read_overrides(overrides))


def _read(file: Path, seen: tuple[Path, ...]) -> Source:
    content, lines = read_yaml(file)
    content = _shorthands(content)
    # A plugin's path is relative to the file that names it.
    if isinstance(content.get("plugins"), list):
        content["plugins"] = [
            str(file.parent / plugin) if isinstance(plugin, str) else plugin for plugin in content["plugins"]
        ]
    own = _inlined(Source(content, {path: (str(file), line) for path, line in lines.items()}), file.parent)
    content = own.content
    if "extends" not in content:
        return own
    base = content.pop("extends")
    seen = (*seen, file.resolve())
    place: dict[str, Any] = {"file": str(file), "line": lines["extends",], "key": "extends"}
    if not isinstance(base, str):
        raise MienError("this is no file name", **place, expected="a file beside this one, as base.yaml")
    parent = file.parent / base
    if not parent.is_file():
        there = [path.name for path in file.parent.glob("*.yaml") if path.resolve() not in seen]
        raise MienError(f"there is no file '{base}' beside this one", **place, nearest=nearest(base, there))
    if parent.resolve() in seen:
        circle = " → ".join(path.name for path in (*seen[seen.index(parent.resolve()) :], parent))
        raise MienError(f"the file extends itself ({circle})", **place)
    return merge(_read(parent, seen), own)


def read_overrides(overrides: Sequence[str]) -> Source:
    """The content that `key=value` overrides set; the path of a protocol's file is relative to the current folder."""
    content: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        *parents, last = key.split(".")
        if not equals or not last or not all(parents):
            raise MienError(f"'{text}' isn't an override", file=COMMAND_LINE, expected="key=value, as train.epochs=5")
        where: Any = content
        for parent in parents:
            where = where.setdefault(parent, {})
            if not isinstance(where, dict):
                break
        if not isinstance(where, dict) or last in where:
            raise MienError("this key is set twice", file=COMMAND_LINE, key=key)
        where[last] = parse_value(value)
        # Expanded after each override, so that `model=resnet model.width=16` sets two keys of one section.
        content = _shorthands(content)
    if "extends" in content:
        raise MienError("a file extends, an override can't", file=COMMAND_LINE, key="extends")
    return _inlined(Source(content, dict.fromkeys(_paths(content), (COMMAND_LINE, None))), Path())


def _paths(content: Any, path: KeyPath = ()) -> list[KeyPath]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    paths: list[KeyPath] = []
    for key, value in items:
        paths += [(*path, key), *_paths(value, (*path, key))]
    return paths


def _shorthands(content: dict[str, Any]) -> dict[str, Any]:
    """`protocol: official` is `protocol: {name: official}`, wherever a component is named."""
    return {
        key: {"name": value} if key in (*NAMED, "dataset") and isinstance(value, str) else value
        for key, value in content.items()
    }


def _inlined(source: Source, folder: Path) -> Source:
    """Replace a protocol whose name is a file by that file's content, with the section's other keys merged into it."""
    section = source.content.get("protocol")
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(name, str) or Path(name).suffix not in (".yaml", ".yml"):
        return source
    file = folder / name
    if not file.is_file():
        origin, line = source.places.get(("protocol", "name"), source.places["protocol",])
        there = [path for path in file.parent.glob("*.y*ml") if str(path) != origin]
        raise MienError(
            f"there is no file '{name}'" + (" beside this one" if line else ""),
            file=origin,
            line=line,
            key="protocol",
            nearest=nearest(name, [str(Path(name).with_name(path.name)) for path in there]),
        )
    content, lines = read_yaml(file)
    if "name" not in content:
        raise MienError(
            "this names no protocol",
            file=str(file),
            expected="'name: splits' with fit, choose and report, or another protocol by its name",
        )
    places: dict[KeyPath, tuple[str, int | None]] = {
        ("protocol", *path): (str(file), line) for path, line in lines.items()
    }
    # Problems of the whole protocol are reported at the line of its name.
    places["protocol",] = places["protocol", "name"]
    own = {path: place for path, place in source.places.items() if path[:1] == ("protocol",)}
    more = Source(
        {"protocol": {key: value for key, value in section.items() if key != "name"}},
        {path: place for path, place in own.items() if path not in (("protocol",), ("protocol", "name"))},
    )
    laid = merge(Source({"protocol": content}, places), more)
    rest = {path: place for path, place in source.places.items() if path not in own}
    return Source({**source.content, **laid.content}, {**rest, **laid.places}, {"protocol": str(file)})


def merge(base: Source, over: Source) -> Source:
    """Merge `over` into `base`: mappings key by key, other values as a whole.

    A section that names another component than the base's, or has a file of its own, keeps nothing of the base's.
    """
    content, places = dict(base.content), dict(base.places)

    def lay(target: dict[str, Any], values: Mapping[str, Any], path: KeyPath) -> None:
        for key, value in values.items():
            here = (*path, key)
            old = target.get(key)
            whole = path == () and key in over.files
            if isinstance(value, dict) and isinstance(old, dict) and not whole and not _renames(here, old, value):
                target[key] = dict(old)
                lay(target[key], value, here)
            else:
                for known in [known for known in places if known[: len(here)] == here]:
                    del places[known]
                target[key] = value
            places.update({known: place for known, place in over.places.items() if known[: len(here)] == here})

    lay(content, over.content, ())
    return Source(content, places, {**base.files, **over.files})


def _renames(path: KeyPath, old: dict[str, Any], new: dict[str, Any]) -> bool:
    return path[0] in NAMED and len(path) == 1 and "name" in old and new.get("name", old["name"]) != old["name"]
