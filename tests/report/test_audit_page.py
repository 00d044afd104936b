"""The audit as a page and as a verb."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from test_audit import VOTED, Row, build, photo, plain
from verbs import call

from mien.audit import audit, last_audit
from mien.data.dataset import Dataset
from mien.data.labels import FER2013
from mien.errors import FailedError
from mien.images import encode_png
from mien.report.audit_page import finding_rows, suggested, worst, write_audit_page
from mien.workspace import Workspace


class Page(HTMLParser):
    """What a page shows: its text, headings, pictures, and everything that it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.pictures: list[str] = []
        self.alt: list[str] = []
        self.loads: list[str] = []
        self.policy = ""
        self.words: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what a tag says."""
        self._tag = tag
        given = {key: value or "" for key, value in attrs}
        if tag == "img":
            self.pictures.append(given["src"])
            self.alt.append(given["alt"])
        elif tag in ("script", "link", "iframe"):
            self.loads.append(tag)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if self._tag == "h2" and data.strip():
            self.headings.append(data)
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(dataset: Dataset) -> Page:
    audit(dataset)
    path = write_audit_page(dataset)
    assert path == dataset.folder / "audit" / "audit.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def copied(workspace: Workspace) -> Dataset:
    """Exact and near copies, a blank picture, votes, a column of persons, and an id that is no HTML."""
    a, b, c = (photo(seed) for seed in range(3))
    pictures = [
        ("train", "<script>alert(1)</script>", a, 0),
        ("train", "b", b, 1),
        ("train", "black", np.zeros((48, 48), np.uint8), 2),
        ("train", "c", c, 3),
        ("test", "a again", a, 0),
        ("test", "b mirrored", b[:, ::-1], 4),
    ]
    votes = [VOTED[0][1], VOTED[1][1], VOTED[7][1], VOTED[3][1], VOTED[1][1], VOTED[1][1]]
    rows: list[Row] = [
        (split, key, encode_png(image), label, {"votes": of, "person": "ann"})
        for (split, key, image, label), of in zip(pictures, votes, strict=True)
    ]
    return build(workspace, rows, columns={"votes": pa.list_(pa.int16(), 10), "person": pa.string()})


def test_what_the_page_shows(copied: Dataset) -> None:
    page = page_of(copied)
    assert page.headings == [
        "Shared by column person",
        "Findings",
        "Across splits",
        "Classes",
        "Agreement with the raters",
        "Exact copies in two or more splits",
        "Near copies in two or more splits",
        "Near copies with different labels",
        "Blank",
        "Not a face",
        "How copies are found",
    ]
    assert page.alt == [
        *("train <script>alert(1)</script>", "test a again"),
        *("train b", "test b mirrored") * 2,
        *("train black",) * 2,
    ]
    assert "1 value stands in both train and test by column person: a person, or a source, of both splits." in page.text
    assert "An experiment leaves rows out by the names below: exclude: [near_leaked, conflict" not in page.text
    assert "exclude: [near_leaked, blank, not_a_face] ." in page.text
    assert "1 row has the same pixels as an earlier one (groups: 1, rows in them: 2)" in page.text
    assert "With near copies: 2 (groups: 2, rows in them: 4)" in page.text
    assert "n = 6: train 4, test 2 ·" in page.text
    assert "leaked an exact copy stands in another split 1 25.0 % 1 50.0 % 2 33.3 %" in page.text.replace("\xa0", " ")


def test_the_worst_comes_first_and_nothing_is_told_as_nothing(workspace: Workspace) -> None:
    columns = {"person": pa.string()}
    whole = [("train", "a", photo(0), "ann"), ("train", "b", photo(1), "bob"), ("test", "c", photo(2), "cid")]
    clean = build(workspace, _of_persons(whole), columns=columns)
    audit(clean)
    content = last_audit(clean)
    assert content is not None
    sentence = "No row has copies, shows nothing or doesn't decode, and no two splits are known to share a person."
    assert worst(content) == ("", sentence)
    assert suggested(content) == []
    text = Page(write_audit_page(clean).read_text(encoding="utf-8")).text
    assert sentence in text
    assert "No flag has rows that an experiment should leave out." in text
    assert "exclude: [" not in text
    assert "No value of person stands in two splits." in text
    assert "<b>0</b>" not in (clean.folder / "audit" / "audit.html").read_text()
    copied = [*whole, ("test", "a again", photo(0), "dan"), ("train", "black", np.zeros((48, 48), np.uint8), "eve")]
    content = audit(build(workspace, _of_persons(copied), name="copied", columns=columns))
    assert worst(content) == ("2", "rows have the same pixels as a row of another split.")
    assert suggested(content) == ["near_leaked", "blank"]
    assert [row[0] for row in finding_rows(content)][:5] == [
        "leaked",
        "near_leaked",
        "duplicate",
        "near_duplicate",
        "blank",
    ]
    shared = [*copied, ("test", "d", photo(3), "ann"), ("test", "e", photo(4), "bob")]
    made = build(workspace, _of_persons(shared), name="shared", columns=columns)
    what = "values stand in both train and test by column person: a person, or a source, of both splits."
    assert worst(audit(made)) == ("2", what)
    shown = call("data", "audit", "shared", "--workspace", workspace.root).out
    assert shown.startswith(f"2 {what}\nshared by column person\n")


def _of_persons(rows: list[tuple[str, str, np.ndarray, str]]) -> list[Row]:
    return [(split, key, encode_png(image), 0, {"person": person}) for split, key, image, person in rows]


def test_the_page_loads_nothing_and_runs_nothing(copied: Dataset) -> None:
    page = page_of(copied)
    assert page.policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert page.loads == []
    for source in page.pictures:
        head, _, data = source.partition(",")
        assert head == "data:image/jpeg;base64"
        pixels = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
        assert pixels is not None
        assert pixels.shape == (48, 48)


def test_many_groups_and_large_ones_are_cut_short_and_counted(workspace: Workspace) -> None:
    rows = [("train", f"{i} {k}", photo(i), 0) for i in range(30) for k in range(2)]
    rows += [("train", f"many {k}", photo(99), 0) for k in range(8)]
    rows += [("train", f"black {k}", np.zeros((48, 48), np.uint8), 0) for k in range(50)]
    # The first row of the last group stands first, so that it is shown.
    made = build(workspace, plain(rows[60], *rows[:60], *rows[61:]))
    page = page_of(made)
    assert "32 groups; here are the first 24, 8 more are in audit.parquet" in page.text
    assert "50 pictures; here are the first 36, 14 more are in audit.parquet" in page.text
    assert "and 2" in page.text
    assert len(page.pictures) == 6 + 23 * 2 + 36


def test_a_large_group_shows_other_splits_and_labels_first(workspace: Workspace) -> None:
    rows = [("train", f"{k}", photo(0), 0) for k in range(9)]
    made = build(workspace, plain(*rows, ("train", "other", photo(0), 1), ("test", "leaked", photo(0), 0)))
    shown = page_of(made).alt[:6]
    assert shown == ["train 0", "train 1", "train 2", "train 3", "train other", "test leaked"]


def test_a_page_takes_an_audit(workspace: Workspace) -> None:
    made = build(workspace, plain(("train", "a", photo(0), 0)))
    with pytest.raises(FailedError, match=r"^data set 'set' has no audit; expected mien data audit set$"):
        write_audit_page(made)


def test_only_findings_that_apply_are_told(workspace: Workspace) -> None:
    made = build(workspace, plain(("train", "a", photo(0), 0)))
    assert [name for name, _, _ in finding_rows(audit(made, near=False))] == [
        *("leaked", "duplicate", "conflict", "blank", "tiny", "undecodable")
    ]
    assert "near_leaked" in [name for name, _, _ in finding_rows(audit(made))]


def test_the_verb(copied: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    done = call("data", "audit", "set", "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json["exact"] == {"groups": 1, "rows": 2, "extra": 1}
    assert done.json["near"] == {"groups": 2, "rows": 4, "extra": 2}
    assert done.json["across"] == {"train/test": 1, "test/train": 1}
    assert done.json["blank"] == 1
    assert Path(done.json["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")

    done = call("data", "audit", "set")
    lines = [re.sub(r"\s+", " ", line).strip() for line in done.out.splitlines()]
    assert lines[0].startswith("1 value stands in both train and test by column person: a person, or a source")
    assert "set: rows by finding, n = 6 (train 4, test 2)" in lines
    assert "flag meaning train test all" in lines
    assert "near_leaked a near copy stands in another split 2 (50.0 %) 2 (100.0 %) 4 (66.7 %)" in lines
    assert "exact copies: groups 1, rows 2, beyond the first of each group 1" in lines
    assert "near copies, exact ones among them: groups 2, rows 4, beyond the first of each group 2" in lines
    assert "groups whose labels disagree: 0, with near copies 1" in lines
    assert "test train 2 1 (50.0 %) 2 (100.0 %)" in lines
    assert "test train 1 2" in lines
    assert lines[-1] == f"audit: {copied.folder / 'audit' / 'audit.html'}"


def test_show_tells_of_the_last_audit(copied: Dataset, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    assert call("data", "show", "set").out.splitlines()[-1] == "audit: none; mien data audit set makes one"
    assert call("data", "show", "set", "--json").json["audit"] is None
    made = audit(copied, near=False)["made"][:10]
    last = call("data", "show", "set").out.splitlines()[-1]
    assert last == f"audit of {made}: exact copies of earlier rows: 1; near ones not looked for; " + (
        "rows with a copy in another split: 2"
    )
    audit(copied)
    assert call("data", "show", "set").out.splitlines()[-1] == (
        f"audit of {made}: exact copies of earlier rows: 1; with near ones: 2; rows with a copy in another split: 4"
    )


def test_an_unknown_data_set(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_HOME", str(workspace.root))
    done = call("data", "audit", "nobody", "--json")
    assert done.code == 2
    assert done.json["error"]["message"] == "no data set is called 'nobody'"


def test_classes_of_the_scheme_are_all_told(copied: Dataset) -> None:
    content = audit(copied)
    assert list(content["classes"]["test"]) == list(FER2013.classes)
    assert sum(content["classes"]["test"].values()) == 2
