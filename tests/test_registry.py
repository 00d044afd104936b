"""What a file can name: signatures as types, what mien supplies, plugins and their mistakes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from mien import registry
from mien.errors import MienError
from mien.experiment.schema import import_components
from mien.registry import SUPPLIED, build, entry, load_plugins, names, register

import_components()


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    yield
    for name in [name for name in sys.modules if name.startswith("mien_plugin_")]:
        del sys.modules[name]


def plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("from mien.registry import register\n" + text)
    return file


def problem(folder: Path, text: str, *load: Path) -> str:
    with pytest.raises(MienError) as error:
        load_plugins([*load, plugin(folder, text)])
    return str(error.value).replace(f"{folder}/", "")


def test_the_signature_is_the_type() -> None:
    @register("model", "probe")
    class Probe:
        """A probe.

        More of it.
        """

        def __init__(
            self, num_classes: int, in_channels: int, *, width: Annotated[int, Field(ge=1)], names: tuple[str, ...] = ()
        ) -> None:
            self.given = (num_classes, in_channels, width, names)

    spec = entry("model", "probe").spec
    assert list(spec.model_fields) == ["name", "width", "names", "pretrained", "freeze"]
    assert spec.__doc__ == "A probe."
    given = spec(width=3, names=["a"])
    assert given.called == "probe"
    assert given.parameters == {"width": 3, "names": ("a",)}
    assert (given.shared("freeze"), given.shared("pretrained")) == ((), None)
    # What mien itself sees to stands there where it is used.
    assert given.model_dump() == {"name": "probe", "width": 3, "names": ("a",)}
    frozen = spec(width=3, freeze=["a"])
    assert frozen.shared("freeze") == ("a",)
    assert frozen.model_dump(mode="json") == {"name": "probe", "width": 3, "names": [], "freeze": ["a"]}
    assert build("model", frozen, num_classes=7, in_channels=1).given == (7, 1, 3, ())
    made = build("model", given, num_classes=7, in_channels=1, image_size=48)
    assert made.given == (7, 1, 3, ("a",))
    for wrong in (
        {},
        {"width": 0},
        {"width": 1, "depth": 2},
        {"width": 1, "num_classes": 7},
        {"width": 1, "name": "x"},
    ):
        with pytest.raises(ValidationError):
            spec(**wrong)
    with pytest.raises(ValidationError, match="frozen"):
        given.width = 4  # type: ignore[attr-defined]


def test_ops_are_named_by_op() -> None:
    @register("op", "probe")
    def probe(*, name_of: str = "x") -> str:
        """Its parameter."""
        return name_of

    assert entry("op", "probe").spec(op="probe", name_of="y").model_dump() == {"op": "probe", "name_of": "y"}
    assert build("op", entry("op", "probe").spec()) == "x"


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(MienError) as error:
        entry("optimizer", "adamv")
    assert (
        str(error.value)
        == "no optimizer is called 'adamv'; expected one of adam, adamw, muon, sgd. Did you mean 'adam'?"
    )
    with pytest.raises(MienError) as error:
        register("modell", "x")  # type: ignore[arg-type]
    assert str(error.value) == "no kind of component is called 'modell'. Did you mean 'model'?"


def test_every_component_of_mien_can_be_checked() -> None:
    load_plugins([])  # Other tests' plugins are forgotten.
    kinds = {kind: names(kind) for kind in SUPPLIED}
    assert kinds["model"] == ["cnn", "compact", "googlenet", "landmarks-small", "mobilenet_v2", "resnet", "xception"]
    assert kinds["loss"] == ["cross_entropy", "distill", "l1", "mse", "soft_cross_entropy", "wing"]
    assert kinds["optimizer"] == ["adam", "adamw", "muon", "sgd"]
    assert kinds["schedule"] == ["constant", "cosine", "step"]
    assert kinds["protocol"] == [
        "folder",
        "k-fold",
        "leave-one-subject-out",
        "official",
        "paper-2021",
        "splits",
    ]
    for kind, known in kinds.items():
        for name in known:
            spec = entry(kind, name).spec
            assert spec.__doc__, f"{kind} {name}"
            assert spec.model_json_schema()["additionalProperties"] is False


def test_a_name_is_taken_once_but_a_cell_runs_twice() -> None:
    def make(origin: str) -> None:
        def probe() -> None:
            """One of many."""

        probe.__qualname__ = origin
        register("loss", "probe")(probe)

    make("first")
    make("first")
    with pytest.raises(MienError) as error:
        make("second")
    assert str(error.value) == "the loss 'probe' is there already, as test_registry.first; expected another name"


def test_plugins_register_and_are_forgotten(tmp_path: Path) -> None:
    first = plugin(tmp_path, "@register('loss', 'mine')\ndef mine(*, a: int = 1): return a\n")
    load_plugins([first])
    given = entry("loss", "mine").spec(a=5)
    second = plugin(tmp_path, "@register('loss', 'mine')\ndef mine(*, b: int = 1): return -b\n", "other.py")
    load_plugins([second])
    assert list(entry("loss", "mine").spec.model_fields) == ["name", "b"]
    assert build("loss", entry("loss", "mine").spec()) == -1
    # What was checked against the first is built by the first.
    assert build("loss", given) == 5
    load_plugins([])
    assert "mine" not in names("loss")
    assert "cross_entropy" in names("loss")


def test_two_plugins_of_one_name_stand_side_by_side(tmp_path: Path) -> None:
    one = plugin(tmp_path / "a", "@register('loss', 'one')\ndef mine(): return 1\n")
    two = plugin(tmp_path / "b", "@register('loss', 'two')\ndef mine(): return 2\n")
    load_plugins([one, two])
    assert [build("loss", entry("loss", name).spec()) for name in ("one", "two")] == [1, 2]
    load_plugins([two, one])
    assert [build("loss", entry("loss", name).spec()) for name in ("one", "two")] == [1, 2]


def test_two_plugins_cannot_share_a_component_s_name(tmp_path: Path) -> None:
    text = "@register('loss', 'one')\ndef mine(): return 1\n"
    first = plugin(tmp_path / "a", text)
    assert problem(tmp_path / "b", text, first) == (
        "mine.py:2: the loss 'one' is there already, as mien_plugin_0_mine.mine; expected another name"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef (:\n", "mine.py:3: the plugin failed (SyntaxError: invalid syntax)"),
        ("\nraise ValueError('no\\nway')\n", "mine.py:3: the plugin failed (ValueError: no)"),
        ("raise ValueError\n", "mine.py:2: the plugin failed (ValueError)"),
        ("import nosuchthing\n", "mine.py:2: the plugin failed (ModuleNotFoundError: No module named 'nosuchthing')"),
        ("import sys\nsys.exit(3)\n", "mine.py:3: the plugin failed (SystemExit: 3)"),
        (
            "@register('model', 'cnn')\nclass Mine:\n    pass\n",
            "mine.py:2: the model 'cnn' is there already, as mien.models.cnn.CNN; expected another name",
        ),
        ("register('modle', 'x')\n", "mine.py:2: no kind of component is called 'modle'. Did you mean 'model'?"),
    ],
)
def test_a_plugin_that_fails_says_where(tmp_path: Path, text: str, message: str) -> None:
    assert problem(tmp_path, text) == message


@pytest.mark.parametrize("name", ["none.py", "notes.txt", "."])
def test_a_plugin_is_a_python_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(MienError) as error:
        load_plugins([tmp_path / name])
    assert error.value.message == f"there is no Python file '{(tmp_path / name).name}'"
    assert error.value.file == str(tmp_path / name)


PLAIN = "expected plain types, as int, float, str, bool or lists of them"


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (
            "a: int, **more: int",
            "mine.py:3: the loss 'mine' takes *more; "
            "expected parameters with names, so that a file can be checked against them",
        ),
        ("width=3", "mine.py:3: parameter 'width' of the loss 'mine' has no type; expected a type, as in 'width: int'"),
        (
            "called: int",
            "mine.py:3: parameter 'called' of the loss 'mine' has a name that mien uses itself; expected another name",
        ),
        (
            "name: str",
            "mine.py:3: parameter 'name' of the loss 'mine' has a name that mien uses itself; expected another name",
        ),
        (
            "a: 'Nope'",
            "mine.py:3: the parameters of the loss 'mine' can't be checked (NameError: name 'Nope' is not defined); "
            + PLAIN,
        ),
    ],
)
def test_a_signature_that_cannot_be_checked(tmp_path: Path, signature: str, message: str) -> None:
    # The decorator's line is the first of a function.
    load_plugins([plugin(tmp_path, f"\n@register('loss', 'mine')\ndef mine({signature}): pass\n")])
    with pytest.raises(MienError) as error:
        _ = entry("loss", "mine").spec
    assert str(error.value).replace(f"{tmp_path}/", "") == message


def test_a_component_that_fails_says_where(tmp_path: Path) -> None:
    text = (
        "@register('loss', 'mine')\ndef mine(*, a: int):\n    return helper(a)\n\ndef helper(a):\n    return 1 // a\n"
    )
    load_plugins([plugin(tmp_path, text)])
    assert build("loss", entry("loss", "mine").spec(a=1)) == 1
    with pytest.raises(MienError) as error:
        build("loss", entry("loss", "mine").spec(a=0))
    assert str(error.value).replace(f"{tmp_path}/", "") == (
        "mine.py:7: the loss 'mine' can't be built (ZeroDivisionError: integer division or modulo by zero)"
    )
