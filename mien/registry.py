"""What a file can name: models, losses, ops, tasks, … One decorator registers them, one call checks and builds them.

A component is a class or function with annotated parameters. mien supplies some of them (`SUPPLIED`: a model gets
`num_classes`); all others are the keys that a file may set, with the types, ranges and defaults of the signature.
"""

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
)

from mien.errors import MienError, nearest, reason, unknown
from mien.trust import require

Kind = Literal["model", "loss", "op", "optimizer", "schedule", "protocol", "importer", "task", "tta", "explanation"]

# What mien passes to a component of each kind when its signature asks for it by name.
SUPPLIED: dict[Kind, tuple[str, ...]] = {
    "model": ("in_channels", "image_size", "num_classes"),
    "loss": ("num_classes", "class_counts"),
    "op": (),
    "optimizer": ("parameters",),
    "schedule": ("steps_per_epoch", "total_steps"),
    "protocol": ("dataset",),
    "importer": ("source", "asked"),
    "task": (),
    "tta": ("images",),
    "explanation": ("context", "chosen", "layers", "workspace", "landmarks"),
}

# Keys that a file may set of every component of a kind, with type and default: mien itself sees to them. One that a
# signature has too is as the signature says, and passed.
SHARED: dict[Kind, dict[str, tuple[Any, Any]]] = {
    # See `mien.training.start_weights` and `mien.experiment.building.freeze`.
    "model": {"pretrained": (str | None, None), "freeze": (tuple[str, ...], ())},
    # See `mien.experiment.building.build_optimizer`.
    "optimizer": {"body": (Annotated[float, Field(gt=0, le=1)], 1.0)},
}

T = TypeVar("T", bound=Callable[..., Any])

_PLUGIN = "mien_plugin_"


class Component(BaseModel):
    """A named component and its parameters, as a file gives them; each component has its own subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    _entry: ClassVar["Entry"]

    @property
    def entry(self) -> "Entry":
        """The registered component of that name; it stays the same when plugins are loaded again."""
        return type(self)._entry

    @property
    def called(self) -> str:
        """The component's name, under whichever key it stands."""
        return str(getattr(self, "op", None) or getattr(self, "name", ""))

    @property
    def parameters(self) -> dict[str, Any]:
        """The component's own parameters, without its name and without what is shared by its kind."""
        other = ("name", "op", *self._shared())
        return {key: getattr(self, key) for key in type(self).model_fields if key not in other}

    def shared(self, key: str) -> Any:
        """What a file says under a key of `SHARED`; the default where the component has a parameter of that name."""
        return getattr(self, key) if key in self._shared() else SHARED[self.entry.kind][key][1]

    def _shared(self) -> dict[str, Any]:
        """The defaults of the kind's shared keys that aren't the component's own."""
        own = inspect.signature(self.entry.build).parameters
        return {key: default for key, (_, default) in SHARED.get(self.entry.kind, {}).items() if key not in own}

    @model_serializer(mode="wrap")
    def _without_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without shared keys that aren't used, so that what was stored before there were any reads the same."""
        unused = [key for key, default in self._shared().items() if getattr(self, key) == default]
        return {key: value for key, value in handler(self).items() if key not in unused}


@dataclass(frozen=True)
class Entry:
    """One registered component."""

    kind: Kind
    name: str
    build: Callable[..., Any]

    @cached_property
    def spec(self) -> type[Component]:
        """The pydantic type of this component in a file: its name and the parameters that a file may set."""
        try:
            spec = create_model(
                f"{self.kind}_{self.name}",
                __base__=Component,
                __doc__=(inspect.getdoc(self.build) or "").split("\n\n")[0],
                **_fields(self),
            )
        except MienError as error:
            error.file, error.line = _written_in(self.build)
            raise
        except Exception as error:
            file, line = _written_in(self.build)
            raise MienError(
                f"the parameters of {self} can't be checked ({reason(error)})",
                file=file,
                line=line,
                expected="plain types, as int, float, str, bool or lists of them",
            ) from error
        spec._entry = self
        return spec

    def __str__(self) -> str:
        return f"the {self.kind} '{self.name}'"


def _fields(entry: Entry) -> dict[str, Any]:
    """What a file may set of a component, as pydantic wants it: (type, default) by name."""
    build = entry.build
    hints = get_type_hints(build.__init__ if inspect.isclass(build) else build, include_extras=True)
    fields: dict[str, Any] = {key_of(entry.kind): (Literal[entry.name], entry.name)}
    for parameter in inspect.signature(build).parameters.values():
        name = parameter.name
        if name in SUPPLIED[entry.kind]:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise MienError(
                f"{entry} takes *{name}", expected="parameters with names, so that a file can be checked against them"
            )
        if name not in hints:
            raise MienError(f"parameter '{name}' of {entry} has no type", expected=f"a type, as in '{name}: int'")
        if name in ("name", "op") or hasattr(Component, name):
            raise MienError(f"parameter '{name}' of {entry} has a name that mien uses itself", expected="another name")
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    return fields | {key: shared for key, shared in SHARED.get(entry.kind, {}).items() if key not in fields}


_entries: dict[tuple[Kind, str], Entry] = {}


def key_of(kind: Kind) -> str:
    """The key that names a component in a file: `op` for ops, `name` for all others."""
    return "op" if kind == "op" else "name"


def register(kind: Kind, name: str) -> Callable[[T], T]:
    """Make a class or function nameable in files: `@register("model", "mynet")`."""
    if kind not in SUPPLIED:
        raise MienError(f"no kind of component is called '{kind}'", nearest=nearest(kind, SUPPLIED))

    def decorate(build: T) -> T:
        registered = _entries.get((kind, name))
        # A notebook's cell may run again and register the same component.
        if registered is not None and _origin(registered.build) != _origin(build):
            raise MienError(
                f"{registered} is there already, as {_origin(registered.build)}",
                expected="another name",
            )
        _entries[kind, name] = Entry(kind, name, build)
        return build

    return decorate


def _origin(build: Callable[..., Any]) -> str:
    return f"{build.__module__}.{build.__qualname__}"


def names(kind: Kind) -> list[str]:
    """The registered names of one kind, sorted."""
    return sorted(name for of_kind, name in _entries if of_kind == kind)


def entry(kind: Kind, name: str) -> Entry:
    """The component of that kind and name; an unknown name is an error with the nearest one."""
    if (kind, name) not in _entries:
        raise unknown(f"no {kind} is called '{name}'", name, names(kind))
    return _entries[kind, name]


def component(kind: Kind, content: Mapping[str, Any]) -> Component:
    """A component from data that mien wrote itself; raises MienError for an unknown name or parameter."""
    spec = entry(kind, content[key_of(kind)]).spec
    try:
        return spec.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise MienError(
            f"the {kind} '{content[key_of(kind)]}' has other parameters ({error.errors()[0]['msg']})"
        ) from error


def call(kind: Kind, name: str, **supplied: Any) -> Any:
    """Call a component that a file names without parameters with what its signature asks for of what mien supplies."""
    found = entry(kind, name).build
    wanted = inspect.signature(found).parameters
    return found(**{key: value for key, value in supplied.items() if key in wanted})


def build(kind: Kind, component: Component, **supplied: Any) -> Any:
    """Call a component with its parameters from the file, and those of the `supplied` ones that its signature has."""
    registered = component.entry
    accepted = inspect.signature(registered.build).parameters
    try:
        return registered.build(
            **{key: value for key, value in supplied.items() if key in accepted}, **component.parameters
        )
    except MienError:
        raise
    except Exception as error:
        file, line = _written_in(registered.build)
        if file is not None:
            line = _line_in(error, Path(file)) or line
        raise MienError(f"{registered} can't be built ({reason(error)})", file=file, line=line) from error


def load_plugins(files: Iterable[Path], named: Collection[Path] | None = None) -> None:
    """Run plugin files, which register components; components of plugins loaded before are forgotten.

    Those that the user has `named` are run as they are, all of them by default, others if `mien.trust` knows them.
    """
    files = list(files)
    if named is not None:
        require(file for file in files if file not in named and file.is_file())
    for key in [key for key, registered in _entries.items() if registered.build.__module__.startswith(_PLUGIN)]:
        del _entries[key]
    for number, file in enumerate(files):
        spec = importlib.util.spec_from_file_location(f"{_PLUGIN}{number}_{file.stem}", file)
        if not file.is_file() or spec is None or spec.loader is None:
            raise MienError(f"there is no Python file '{file.name}'", file=str(file))
        sys.modules[spec.name] = loaded = importlib.util.module_from_spec(spec)
        try:
            # From its source: a stranger's folder may hold compiled code that is another's.
            exec(compile(file.read_bytes(), str(file), "exec"), vars(loaded))
        except MienError as error:
            error.file, error.line = str(file), _line_in(error, file)
            raise
        except (Exception, SystemExit) as error:
            line = error.lineno if isinstance(error, SyntaxError) else _line_in(error, file)
            raise MienError(f"the plugin failed ({reason(error)})", file=str(file), line=line) from error


def _written_in(build: Callable[..., Any]) -> tuple[str | None, int | None]:
    """File and line of a plugin's component; None for mien's own, which a user can't mend."""
    if not build.__module__.startswith(_PLUGIN):
        return None, None
    file = sys.modules[build.__module__].__file__
    code = getattr(build.__init__ if inspect.isclass(build) else build, "__code__", None)
    # An inherited __init__ is in another file.
    return file, code.co_firstlineno if code is not None and code.co_filename == file else None


def _line_in(error: BaseException, file: Path) -> int | None:
    line, trace = None, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
