"""Files on what they extend, and overrides on both."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.errors import MienError
from mien.experiment.merging import COMMAND_LINE, Source, merge, read_layers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problem(file: str, *overrides: str) -> str:
    with pytest.raises(MienError) as error:
        read_layers(Path(file), overrides)
    return str(error.value)


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(text)


def lay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    return merge(Source(base, {}), Source(over, {})).content


def naive(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Laying on as one would write it down for plain mappings."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = naive(out[key], value) if both else copy.deepcopy(value)
    return out


LEAF = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.text("ab", max_size=2), st.lists(st.integers(0, 3)))
SECTION = st.dictionaries(st.sampled_from("uvw"), LEAF, max_size=3)
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "name": LEAF,
        "other": LEAF,
        "train": SECTION,
        "deep": st.fixed_dictionaries({}, optional={"x": SECTION, "y": LEAF}),
    },
)


@settings(deadline=None, max_examples=60)
@given(PLAIN, PLAIN, PLAIN)
def test_laying_is_associative_and_the_child_wins(a: Any, b: Any, c: Any) -> None:
    before = copy.deepcopy((a, b, c))
    assert lay(lay(a, b), c) == lay(a, lay(b, c)) == naive(naive(a, b), c)
    assert lay(a, {}) == lay({}, a) == lay(a, a) == a
    assert (a, b, c) == before


def test_every_key_comes_with_the_file_and_line_that_set_it(folder: Path) -> None:
    write(
        base="train:\n  epochs: 40\n  seed: 1\naugment: [{op: flip}]\n",
        middle="extends: base.yaml\ntrain: {seed: 2}\n",
        top="# Its own.\nextends: middle.yaml\naugment:\n  - op: noise\n  - op: blur\n",
    )
    source = read_layers(Path("top.yaml"), ["train.epochs=5", "train.keep=last"])
    assert source.content == {
        "train": {"epochs": 5, "seed": 2, "keep": "last"},
        "augment": [{"op": "noise"}, {"op": "blur"}],
    }
    assert source.places == {
        ("train",): (COMMAND_LINE, None),
        ("train", "epochs"): (COMMAND_LINE, None),
        ("train", "keep"): (COMMAND_LINE, None),
        ("train", "seed"): ("middle.yaml", 2),
        ("augment",): ("top.yaml", 3),
        ("augment", 0): ("top.yaml", 4),
        ("augment", 0, "op"): ("top.yaml", 4),
        ("augment", 1): ("top.yaml", 5),
        ("augment", 1, "op"): ("top.yaml", 5),
    }


def test_a_component_with_another_name_takes_no_parameters_along(folder: Path) -> None:
    write(
        base="model: {name: cnn, fc: [1]}\nloss: cross_entropy\noptimizer: {name: adam, lr: 1}\n"
        "dataset: {name: a, size: 8}\n",
        top="extends: base.yaml\nmodel: {name: resnet, width: 8}\noptimizer: {lr: 2}\nloss: {label_smoothing: 0.1}\n"
        "dataset: b\n",
    )
    assert read_layers(Path("top.yaml")).content == {
        "model": {"name": "resnet", "width": 8},
        "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
        "optimizer": {"name": "adam", "lr": 2},
        # A data set has no parameters of its own: the size is the experiment's.
        "dataset": {"name": "b", "size": 8},
    }
    overrides = ["optimizer=sgd", "optimizer.lr=3", "model.name=cnn"]
    content = read_layers(Path("top.yaml"), overrides).content
    assert content["optimizer"] == {"name": "sgd", "lr": 3}
    assert content["model"] == {"name": "cnn"}
    assert read_layers(Path("top.yaml"), ["model=resnet"]).content["model"] == {"name": "resnet", "width": 8}


def test_what_is_extended_stands_beside_the_file(folder: Path) -> None:
    (folder / "sub").mkdir()
    write(
        base="name: base\nplugins: [mine.py]\n",
        **{"sub/top": "extends: ../base.yaml\n", "sub/own": "plugins: [x.py]\n"},
    )
    content = read_layers(Path("sub/top.yaml")).content
    assert content["name"] == "base"
    assert Path(content["plugins"][0]).resolve() == folder / "mine.py"
    assert read_layers(Path("sub/own.yaml")).content == {"plugins": ["sub/x.py"]}


def test_extends_that_leads_nowhere(folder: Path) -> None:
    write(
        top="name: x\nextends: bse.yaml\n",
        base="name: base\n",
        folder="extends: sub\n",
        nothing="extends:\n",
        many="extends: [base.yaml]\n",
        itself="extends: itself.yaml\n",
        one="extends: two.yaml\n",
        two="\nextends: ./one.yaml\n",
        broken="extends: [\n",
        over_broken="extends: broken.yaml\n",
    )
    (folder / "sub").mkdir()
    what = "this is no file name; expected a file beside this one, as base.yaml"
    assert problem("top.yaml") == (
        "top.yaml:2: extends: there is no file 'bse.yaml' beside this one. Did you mean 'base.yaml'?"
    )
    assert problem("folder.yaml") == "folder.yaml:1: extends: there is no file 'sub' beside this one"
    assert problem("nothing.yaml") == f"nothing.yaml:1: extends: {what}"
    assert problem("many.yaml") == f"many.yaml:1: extends: {what}"
    assert problem("itself.yaml") == "itself.yaml:1: extends: the file extends itself (itself.yaml → itself.yaml)"
    assert problem("one.yaml") == "two.yaml:2: extends: the file extends itself (one.yaml → two.yaml → one.yaml)"
    assert problem("over_broken.yaml").startswith("broken.yaml:2: this isn't YAML: ")
    assert problem("base.yaml", "extends=top.yaml") == "the command line: extends: a file extends, an override can't"


@pytest.mark.parametrize("text", ["epochs", "=3", "", "train..epochs=3", ".epochs=3", "train.=3"])
def test_an_override_is_key_and_value(folder: Path, text: str) -> None:
    write(a="name: a\n")
    assert problem("a.yaml", text) == (
        f"the command line: '{text}' isn't an override; expected key=value, as train.epochs=5"
    )


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["train.epochs=1", "train.epochs=2"], "train.epochs"),
        (["train=x", "train.epochs=2"], "train.epochs"),
        (["model.width=8", "model=resnet"], "model"),
        (["model=resnet", "model.name=cnn"], "model.name"),
        (["name=a", "name=b"], "name"),
    ],
)
def test_no_override_hides_another(folder: Path, overrides: list[str], key: str) -> None:
    write(a="name: a\n")
    assert problem("a.yaml", *overrides) == f"the command line: {key}: this key is set twice"


def test_overrides_are_yaml(folder: Path) -> None:
    write(a="model: {name: cnn, fc: [1, 2], dropout: 0.5}\n")
    overrides = ["model.fc=[3]", "optimizer={name: sgd, lr: 1e-2}", "name=a=b", "train.keep=", "augment=[{op: flip}]"]
    assert read_layers(Path("a.yaml"), overrides).content == {
        "model": {"name": "cnn", "fc": [3], "dropout": 0.5},
        "optimizer": {"name": "sgd", "lr": 0.01},
        "name": "a=b",
        "train": {"keep": None},
        "augment": [{"op": "flip"}],
    }


def test_a_protocol_in_a_file_of_its_own_stands_whole(folder: Path) -> None:
    (folder / "sub").mkdir()
    write(
        base="protocol: {name: folder, share: 0.5, seed: 3}\n",
        **{"sub/ours": "\nname: folder\nexclude: [blank]\n"},
        top="extends: base.yaml\nprotocol: sub/ours.yaml\n",
        more="extends: base.yaml\nprotocol:\n  name: sub/ours.yaml\n  seed: 4\n",
    )
    source = read_layers(Path("top.yaml"))
    # The base's share is not the file's.
    assert source.content == {"protocol": {"name": "folder", "exclude": ["blank"]}}
    assert source.places == {
        ("protocol",): ("sub/ours.yaml", 2),
        ("protocol", "name"): ("sub/ours.yaml", 2),
        ("protocol", "exclude"): ("sub/ours.yaml", 3),
        ("protocol", "exclude", 0): ("sub/ours.yaml", 3),
    }
    assert source.files == {"protocol": "sub/ours.yaml"}
    source = read_layers(Path("more.yaml"), ["protocol.share=0.2"])
    assert source.content == {"protocol": {"name": "folder", "exclude": ["blank"], "seed": 4, "share": 0.2}}
    assert source.places["protocol", "seed"] == ("more.yaml", 4)
    assert source.places["protocol", "share"] == (COMMAND_LINE, None)
    assert source.places["protocol", "name"] == ("sub/ours.yaml", 2)
    overrides = ["protocol=sub/ours.yaml", "protocol.seed=5"]
    assert read_layers(Path("base.yaml"), overrides).content == {
        "protocol": {"name": "folder", "exclude": ["blank"], "seed": 5}
    }
    assert read_layers(Path("top.yaml"), ["protocol=official"]).content == {"protocol": {"name": "official"}}
