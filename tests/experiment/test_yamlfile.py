"""YAML as plain data: YAML 1.2's values, the line of each key, and what is refused."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mien.errors import MienError
from mien.experiment.yamlfile import MAX_BYTES, dump_yaml, parse_value, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001),
        ("1E5", 100000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+3", 3),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", float("inf")),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("2020-01-01", "2020-01-01"),
        ("2020-13-45", "2020-13-45"),
        ("1:30", "1:30"),
        ("'3'", "3"),
        ("é ü 表情", "é ü 表情"),
        ("[1, a, 2.5]", [1, "a", 2.5]),
        ("{a: 1, b: {c: x}}", {"a": 1, "b": {"c": "x"}}),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    content, _ = parse_yaml(f"key: {text}\n", "a.yaml")
    assert content == {"key": value}
    assert type(content["key"]) is type(value)
    assert parse_value(text) == value


def test_each_key_and_item_has_its_line() -> None:
    text = "# first\nname: a\n\nmodel: {name: cnn,\n  fc: [1, 2]}\naugment:\n"
    text += "  - op: flip\n    p: 0.5\n  -\n    op: noise\n"
    content, lines = parse_yaml(text, "a.yaml")
    assert content == {
        "name": "a",
        "model": {"name": "cnn", "fc": [1, 2]},
        "augment": [{"op": "flip", "p": 0.5}, {"op": "noise"}],
    }
    assert lines == {
        ("name",): 2,
        ("model",): 4,
        ("model", "name"): 4,
        ("model", "fc"): 5,
        ("model", "fc", 0): 5,
        ("model", "fc", 1): 5,
        ("augment",): 6,
        ("augment", 0): 7,
        ("augment", 0, "op"): 7,
        ("augment", 0, "p"): 8,
        ("augment", 1): 10,
        ("augment", 1, "op"): 10,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but this\n", "---\n"])
def test_an_empty_file_holds_nothing(text: str) -> None:
    assert parse_yaml(text, "a.yaml") == ({}, {})


EXTENDS = "expected 'extends:' for what several files share"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c", "a.yaml:2: this isn't YAML: expected ',' or '}', but got its end"),
        ("a: 1\n b: 2", "a.yaml:2: this isn't YAML: mapping values are not allowed here"),
        (
            "a:\n\tb: 3",
            "a.yaml:2: this isn't YAML: found character '\\t' that cannot start any token; "
            "expected blanks instead of tabs",
        ),
        ("a: \x07", "a.yaml: this isn't YAML: unacceptable character #x0007: special characters are not allowed"),
        ("a: 1\nb: 2\na: 3", "a.yaml:3: the key 'a' is here twice"),
        ("a: {b: 1,\n b: 2}", "a.yaml:2: the key 'b' is here twice"),
        ("a: &x [1]\nb: [*x, *x]", f"a.yaml:1: anchors and aliases (&name, *name) aren't taken; {EXTENDS}"),
        ("a: 1\nb: *x", f"a.yaml:2: anchors and aliases (&name, *name) aren't taken; {EXTENDS}"),
        ("a: {<<: {b: 1}}", f"a.yaml:1: merge keys (<<) aren't taken; {EXTENDS}"),
        ("a: !!python/object/apply:os.system [x]", None),
        ("a: !!binary aGVsbG8=", "a.yaml:1: tags (!!binary) aren't taken; expected plain values"),
        ("a: 1\nb: !mine 2", "a.yaml:2: tags (!mine) aren't taken; expected plain values"),
        ("a: 1\n3: x", "a.yaml:2: 3 can't be a key; expected text"),
        ("true: x", "a.yaml:1: true can't be a key; expected text"),
        ("a: {b: {~: x}}", "a.yaml:1: null can't be a key; expected text"),
        ("[1, 2]: x", "a.yaml:1: [1, 2] can't be a key; expected text"),
        ("a: 1\n---\nb: 1", "a.yaml:2: a second document begins here; expected one experiment a file"),
        ("- a\n- b", "a.yaml:1: the file holds no keys; expected lines such as 'name: cnn1'"),
        ("cnn1", "a.yaml:1: the file holds no keys; expected lines such as 'name: cnn1'"),
        ("a: " + "9" * 5000, "a.yaml: a number is too long; expected at most 4,300 digits"),
        ("a: " + "[" * 21 + "]" * 21, "a.yaml:1: this is nested too deep; expected at most 20 levels"),
        (
            "\n".join(" " * i + "a:" for i in range(200)),
            "a.yaml:21: this is nested too deep; expected at most 20 levels",
        ),
    ],
)
def test_what_is_no_plain_yaml_is_refused_at_its_line(text: str, message: str | None) -> None:
    with pytest.raises(MienError) as error:
        parse_yaml(text, "a.yaml")
    assert str(error.value) == (
        message or "a.yaml:1: tags (!!python/object/apply:os.system) aren't taken; expected plain values"
    )


def test_a_deep_file_is_refused_before_it_costs_time() -> None:
    started = time.process_time()
    with pytest.raises(MienError, match="nested too deep"):
        parse_yaml("a: " + "[" * 2000 + "]" * 2000, "a.yaml")
    assert time.process_time() - started < 5


def test_files_that_are_no_experiment(tmp_path: Path) -> None:
    def problem(name: str, content: bytes | None = None) -> str:
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(MienError) as error:
            read_yaml(file)
        return str(error.value).removeprefix(str(tmp_path) + "/")

    assert problem("none.yaml") == "none.yaml: no such file; expected an experiment file"
    assert problem("big.yaml", b"#" * (MAX_BYTES + 1)) == (
        "big.yaml: the file is too large for an experiment; expected at most 32 KB"
    )
    assert problem("latin.yaml", b"name: caf\xe9\n") == (
        "latin.yaml: the file isn't text (UTF-8); expected an experiment file"
    )
    assert problem("latin.yaml/x.yaml") == "latin.yaml/x.yaml: no such file; expected an experiment file"
    assert problem("latim.yaml") == (
        f"latim.yaml: no such file; expected an experiment file. Did you mean '{tmp_path / 'latin.yaml'}'?"
    )
    (tmp_path / "folder").mkdir()
    assert problem("folder") == "folder: this is a folder; expected an experiment file"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfname: a\n", b"name: a\r\n"], ids=["byte order mark", "CRLF"])
def test_files_of_other_systems_are_read(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    assert read_yaml(file) == ({"name": "a"}, {("name",): 1})


@pytest.mark.parametrize("text", ["a: b", "[1", "*x", "!t 3", "1\nother: 2", "{"])
def test_an_override_that_is_no_yaml_is_text(text: str) -> None:
    assert parse_value(text) == text


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text("aé表 :-#'\"\\[]{},&*!%@?|>~0.e1\n\t", max_size=12)
    | st.sampled_from(
        ["1e-4", "on", "no", "null", "~", "3", "true", "2020-01-01", "<<", "*a", "&a", "!t", "- x", "a: b"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcde_1", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@example({"a": ["?>", "??", "?0", "? x", ": 0", ":"], "b": "?0", "?c": 1, "d": "a\x85", "e\x85": 2, ": f": 3})
@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=5), PLAIN, max_size=4))
def test_what_is_written_is_read_again(content: dict[str, object]) -> None:
    assert parse_yaml(dump_yaml(content), "a.yaml")[0] == content


def test_lists_of_plain_values_stand_on_one_line() -> None:
    assert dump_yaml({"model": {"name": "cnn", "fc": [120, 250]}, "augment": [{"op": "flip"}], "lr": 1e-4}) == (
        "model:\n  name: cnn\n  fc: [120, 250]\naugment:\n- op: flip\nlr: 0.0001\n"
    )
