"""The workspace view's API: what it shows is what stands in the folder, and it changes nothing but one file."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.special import softmax
from servers import Server, serving, settings
from sklearn.metrics import confusion_matrix
from verbs import call
from viewed import DOUBTED, content, copy_of, shows, tiny_of, write_home

from mien.data.labels import FER2013
from mien.files import write_json
from mien.images import decode
from mien.report.audit_page import finding_rows
from mien.runs.run import Run
from mien.serving.schema import Models
from mien.serving.view.schema import (
    Cell,
    Compared,
    Confusion,
    DatasetCard,
    Kept,
    Overview,
    RunDetail,
    Suspects,
)
from mien.tasks import headline
from mien.workspace import Workspace

TOKEN = "a-token-of-many-letters"
BASE = "/v1/workspace"
COLUMNS = "rank,split,id,given,suggested,p_given,p_suggested,apply"
RUN = f"{BASE}/runs/tiny/2"
# Everything that only reads, by its path.
READ = {
    "": Overview,
    "/datasets/tiny": DatasetCard,
    "/datasets/tiny/sheet": None,
    "/datasets/tiny/image?split=test&id=48": None,
    "/datasets/tiny/suspects": Suspects,
    "/runs/tiny/2": RunDetail,
    "/runs/tiny/2/confusion?role=report": Confusion,
    "/runs/tiny/2/cell?role=choose&true=happy&told=happy": Cell,
    "/runs/tiny/2/explain/filters-features-conv1.png": None,
    "/compare?a=tiny/1&b=tiny/2": Compared,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_home(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def server(home: Workspace) -> Iterator[Server]:
    with serving(shows(home)) as found:
        yield found


@pytest.fixture
def own(home: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    return copy_of(home, tmp_path / "own")


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


def test_it_is_there_only_where_it_was_asked_for(home: Workspace) -> None:
    import dataclasses

    with serving(dataclasses.replace(shows(home), show_workspace=False)) as server:
        for path in READ:
            assert server.client.get(f"{BASE}{path}").status_code == 404, path
        assert server.client.post(f"{BASE}/datasets/tiny/choices", json={}).status_code == 404
        assert Models.model_validate(server.client.get("/v1/models").json()).workspace is False
        assert not [path for path in server.client.get("/openapi.json").json()["paths"] if "workspace" in path]
    assert settings().show_workspace is False


def test_reading_changes_nothing(home: Workspace, server: Server) -> None:
    assert Models.model_validate(server.client.get("/v1/models").json()).workspace is True
    before = content(home)
    for path, kind in READ.items():
        answer = server.client.get(f"{BASE}{path}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        if kind is not None:
            kind.model_validate(answer.json())
        else:
            assert answer.headers["Content-Type"] == "image/png"
            assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content(home) == before


def test_all_data_sets_and_runs_are_listed(home: Workspace, server: Server) -> None:
    found = Overview.model_validate(server.client.get(BASE).json())
    assert [(one.name, one.labels, one.splits, one.error) for one in found.datasets] == [
        ("tiny", "fer2013-7", {"train": 210, "validation": 35, "test": 35}, None)
    ]
    told = [(one.run, one.state, one.task, one.protocol, one.epochs_done, one.epochs) for one in found.runs]
    assert told == [
        ("tiny/1", "finished", "expression", "official", 1, 1),
        ("tiny/2", "finished", "expression", "official", 6, 6),
    ]
    for one in found.runs:
        run = Run(home.runs / one.run)
        for role, line in (("choose", one.choose), ("report", one.report)):
            assert line == headline(json.loads(run.metrics_file(role).read_text()))
            assert line.endswith(f"{'validation' if role == 'choose' else 'test'} n 35")


opened: list[str] | None = None


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note each file of a run that is opened, while somebody listens; a hook stays for ever."""
    if opened is not None and event == "open" and "/runs/" in str(arguments[0]):
        opened.append(Path(str(arguments[0])).name)


def test_a_run_is_read_again_only_when_it_has_changed(own: Workspace) -> None:
    global opened
    sys.addaudithook(watch)
    metrics = own.runs / "tiny/2/metrics.json"
    with serving(shows(own)) as server:
        answers, seen = [], []
        for _ in range(3):
            opened = []
            try:
                answers.append(server.client.get(BASE).json())
            finally:
                seen.append(opened)
                opened = None
            if len(answers) == 2:
                content = json.loads(metrics.read_text())
                write_json(metrics, {**content, "n": 34})
                with (own.runs / "tiny/1/history.csv").open("a") as history:
                    history.write("2,0.1,1,0.5,1,0.5\n")
    assert answers[1] == answers[0]
    assert [names.count("metrics.json") for names in seen] == [2, 0, 2]
    assert set(seen[1]) == {"status.json"}
    one, two = answers[2]["runs"]
    assert (one["epochs_done"], two["report"]) == (2, answers[0]["runs"][1]["report"].replace("n 35", "n 34"))


def test_a_data_set_has_its_counts_and_its_audit(home: Workspace, server: Server) -> None:
    card = DatasetCard.model_validate(server.client.get(f"{BASE}/datasets/tiny").json())
    assert card.splits == {"train": [30] * 7, "validation": [5] * 7, "test": [5] * 7}
    assert (card.classes, card.sizes, card.source) == (list(FER2013.classes), {"24×24": 280}, "stripes")
    assert (card.suspects, card.problems) == (True, [])
    assert card.audit is not None
    audited = json.loads((home.datasets / "tiny/audit/audit.json").read_text())
    assert [row[0] for row in card.audit[0].rows] == [name for name, _, _ in finding_rows(audited)]
    assert [row[2:] for row in card.audit[0].rows if row[0] == "leaked"] == [["0", "0", "0", "0"]]
    assert card.audit[1].columns == ["rows of", "with a copy in", "n", "exact", "near"]


def test_pictures_are_the_data_set_s_pixels(home: Workspace, server: Server) -> None:
    dataset = tiny_of(home)
    for split in ("train", "test"):
        for id_, data in list(zip(dataset.ids(split), dataset.images(split), strict=True))[::17]:
            answer = server.client.get(f"{BASE}/datasets/tiny/image", params={"split": split, "id": id_})
            assert np.array_equal(decode(answer.content, "gray"), decode(data, "gray"))
    sheet = Image.open(io.BytesIO(server.client.get(f"{BASE}/datasets/tiny/sheet").content))
    call("data", "show", "tiny", "--workspace", home.root)
    drawn = home.datasets / "tiny/contact-sheet.png"
    assert np.array_equal(np.asarray(sheet), np.asarray(Image.open(drawn)))
    drawn.unlink()


def test_a_run_has_its_curve_scores_and_explanations(home: Workspace, server: Server) -> None:
    found = RunDetail.model_validate(server.client.get(RUN).json())
    assert (found.run, found.state, found.epochs_done, found.problems) == ("tiny/2", "finished", 6, [])
    history = list(csv.DictReader(io.StringIO((home.runs / "tiny/2/history.csv").read_text())))
    assert found.curve is not None
    assert (found.curve.score, found.curve.higher, found.curve.percent) == ("accuracy", True, False)
    assert [one.choose_score for one in found.curve.epochs] == [float(row["choose_accuracy"]) for row in history]
    assert [one.fit_loss for one in found.curve.epochs] == [float(row["fit_loss"]) for row in history]
    report, choose = found.measured
    assert [(one.role, one.split, one.n, one.confusion) for one in (report, choose)] == [
        ("report", "test", 35, True),
        ("choose", "validation", 35, True),
    ]
    metrics = json.loads((home.runs / "tiny/2/metrics.json").read_text())
    low, high = metrics["interval"]["accuracy"]
    assert report.tables[0].rows[0][:3] == ["all rows", "35", f"{metrics['accuracy']:.3f} [{low:.3f}, {high:.3f}]"]
    (filters,) = found.explanations
    assert (filters.title, filters.pictures) == ("Learned filters", ["filters-features-conv1.png"])
    picture = server.client.get(f"{RUN}/explain/{filters.pictures[0]}").content
    assert picture == (home.runs / "tiny/2/explain" / filters.pictures[0]).read_bytes()


@pytest.mark.parametrize("role", ["choose", "report"])
def test_a_cell_has_the_rows_that_it_counts(home: Workspace, server: Server, role: str) -> None:
    table = pq.read_table(home.runs / f"tiny/2/predictions/{role}.parquet").to_pydict()
    classes = list(FER2013.classes)
    logits, labels = np.array([table[name] for name in classes]).T, np.array(table["label"])
    metrics = json.loads(Run(home.runs / "tiny/2").metrics_file(role).read_text())
    given = softmax(logits / metrics["calibration"]["temperature"], axis=1)
    told = logits.argmax(axis=1)
    found = Confusion.model_validate(server.client.get(f"{RUN}/confusion?role={role}").json())
    assert found.matrix == confusion_matrix(labels, told, labels=range(7)).tolist()
    assert (found.classes, found.merged, found.n, found.dataset) == (classes, 0, 35, "tiny")
    seen = 0
    for i, j in np.ndindex(7, 7):
        asked = {"role": role, "true": classes[i], "told": classes[j]}
        cell = Cell.model_validate(server.client.get(f"{RUN}/cell", params=asked).json())
        rows = [row for row in range(35) if labels[row] == i and told[row] == j]
        rows.sort(key=lambda row: -given[row, told[row]])
        assert cell.n == len(rows) == found.matrix[i][j]
        assert [one.id for one in cell.rows] == [table["id"][row] for row in rows]
        assert [one.p_told for one in cell.rows] == pytest.approx([given[row, j] for row in rows])
        assert [one.p_true for one in cell.rows] == pytest.approx([given[row, i] for row in rows])
        seen += len(rows)
    assert seen == 35
    i, j = np.unravel_index(np.argmax(found.matrix), (7, 7))
    asked = {"role": role, "true": classes[i], "told": classes[j]}
    whole = server.client.get(f"{RUN}/cell", params=asked).json()["rows"]
    part = server.client.get(f"{RUN}/cell", params={**asked, "first": 1, "most": 1}).json()
    assert (part["n"], part["rows"]) == (len(whole), whole[1:2])


def test_the_verdict_is_that_of_mien_compare(home: Workspace, server: Server) -> None:
    known = call("compare", "tiny/1", "tiny/2", "--json", "--workspace", home.root).json
    (pair,) = known["pairs"]
    found = Compared.model_validate(server.client.get(f"{BASE}/compare?a=tiny/1&b=tiny/2").json())
    low, high = pair["interval"]
    verdict = pair["verdict"] if "better" in pair["verdict"] else f"tiny/1 and tiny/2 are {pair['verdict']}"
    p = "< 0.001" if pair["p"] < 0.001 else f"= {pair['p']:.3f}"
    difference = f"{pair['difference']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})".replace("-", "−")
    assert found.verdicts == [
        f"{verdict}: accuracy of tiny/1 less that of tiny/2 is {difference}, p {p}, on test, n = 35."
    ]
    assert found.notes == known["notes"]
    assert found.dataset == "tiny"
    labels = dict(zip(tiny_of(home).ids("test"), tiny_of(home).labels("test").tolist(), strict=True))
    assert found.disagreements
    for one in found.disagreements:
        assert one.label == FER2013.classes[labels[one.id]]
        assert one.said[0] != one.said[1]
        wanted = {"only tiny/1 is right": [0], "only tiny/2 is right": [1], "both are wrong": []}[one.kind]
        assert [place for place in (0, 1) if one.said[place] == one.label] == wanted


def test_choices_are_the_file_that_relabel_takes(own: Workspace) -> None:
    file = own.root / "suspects/tiny/looked-through.csv"
    with serving(shows(own)) as server:
        suspects, choices = f"{BASE}/datasets/tiny/suspects", f"{BASE}/datasets/tiny/choices"

        def choose(id_: str, label: str | None) -> int:
            answer = server.client.post(choices, json={"split": "test", "id": id_, "label": label})
            kept = Kept.model_validate(answer.json())
            assert kept.file == str(file)
            return kept.looked

        first = Suspects.model_validate(server.client.get(suspects).json())
        assert [(one.rank, one.id, one.given, one.suggested, one.p_given) for one in first.rows] == [
            (1, "48", "neutral", "disgust", 0.05),
            (2, "97", "neutral", "angry", 0.05),
            (3, "42", "angry", "neutral", 0.05),
        ]
        assert (first.looked, first.file, file.exists()) == (0, str(file), False)
        assert [choose("42", "angry"), choose("48", "disgust"), choose("97", "sad")] == [1, 2, 3]
        assert file.read_text() == "\n".join(
            [
                COLUMNS,
                "1,test,48,neutral,disgust,0.0500,0.7500,yes",
                "2,test,97,neutral,sad,0.0500,,yes",
                "3,test,42,angry,neutral,0.0500,0.7500,no",
                "",
            ]
        )
        assert choose("48", None) == 2
        assert choose("48", None) == 2
    # The next session goes on with it.
    with serving(shows(own)) as server:
        again = Suspects.model_validate(server.client.get(suspects).json())
        assert [one.chosen for one in again.rows] == [None, "sad", "angry"]
        assert again.looked == 2
    assert again.command == f"mien data import tiny --as tiny-2 --relabel {file} --workspace {own.root}"
    made = call(*again.command.split()[1:])
    assert made.code == 0, made.err
    before, after = (dict(zip(of.ids("test"), of.labels("test").tolist(), strict=True)) for of in both(own))
    assert {id_: label for id_, label in after.items() if label != before[id_]} == {"97": FER2013.classes.index("sad")}


def both(home: Workspace) -> tuple[Any, Any]:
    from mien.data.dataset import open_dataset

    return tiny_of(home), open_dataset(home, "tiny-2")


def test_choices_of_several_at_once_are_all_kept(own: Workspace) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with serving(shows(own)) as server, ThreadPoolExecutor(3) as pool:

        def choose(id_: str) -> int:
            body = {"split": "test", "id": id_, "label": "happy"}
            return httpx.post(f"{server.url}{BASE}/datasets/tiny/choices", json=body, timeout=None).status_code

        assert list(pool.map(choose, [id_ for id_, _ in DOUBTED])) == [200] * 3
        rows = server.client.get(f"{BASE}/datasets/tiny/suspects").json()["rows"]
    assert [row["chosen"] for row in rows] == ["happy"] * 3


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"json": {"split": "test", "id": "43", "label": "sad"}}, 404, "row '43' of test isn't among the suspects"),
        ({"json": {"split": "test", "id": "48", "label": "hapy"}}, 422, "'hapy' is no class"),
        ({"json": {"split": "test", "id": "48"}}, 422, "field required"),
        ({"json": {"split": "test", "id": "48", "label": "sad", "x": 1}}, 422, "extra inputs are not permitted"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 422, "invalid JSON: EOF while"),
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "this body isn't JSON"),
        ({"data": {"split": "test", "id": "48"}}, 415, "this body isn't JSON"),
        ({"json": {"split": "test", "id": "4" * 20_000, "label": "sad"}}, 413, "the body is too large"),
    ],
)
def test_bad_choices_are_told(server: Server, home: Workspace, sent: Any, status: int, said: str) -> None:
    answer = server.client.post(f"{BASE}/datasets/tiny/choices", **sent)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(said)
    assert not (home.root / "suspects/tiny/looked-through.csv").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("looked-through.csv", f"{COLUMNS}\n1,test,48,neutral,glad,0.05,0.75,yes\n", "'glad' is no class"),
        ("looked-through.csv", f"{COLUMNS}\n1,test,48,neutral,happy,x,0.75,yes\n", "rank or probabilities are no"),
        ("looked-through.csv", COLUMNS.replace(",", ";"), "there is no column 'split'"),
        ("looked-through.csv", f"note,{COLUMNS}\n", "this isn't as mien writes it"),
        ("suspects.csv", "\x00", "there is no column 'split'"),
        ("suspects.json", '{"fingerprint": "other"}', "these suspects aren't of the data set 'tiny' as it is now"),
        ("suspects.json", "{", "the list can't be read (JSONDecodeError: "),
    ],
)
def test_a_list_that_somebody_broke_stays_as_it_is(own: Workspace, name: str, text: str, said: str) -> None:
    file = own.root / "suspects/tiny" / name
    file.write_text(text)
    before = content(own)
    with serving(shows(own)) as server:
        body = {"split": "test", "id": "48", "label": "happy"}
        for answer in (
            server.client.get(f"{BASE}/datasets/tiny/suspects"),
            server.client.post(f"{BASE}/datasets/tiny/choices", json=body),
        ):
            status, told = problem(answer)
            assert (status, told.startswith(said)) == (422, True), told
    assert content(own) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example:8000"},
        {"Host": "127.evil.example"},
        {"Host": ""},
    ],
)
def test_other_pages_neither_read_nor_write(server: Server, home: Workspace, headers: dict[str, str]) -> None:
    before = content(home)
    body = {"split": "test", "id": "48", "label": "happy"}
    assert server.client.post(f"{BASE}/datasets/tiny/choices", json=body, headers=headers).status_code == 403
    for path in READ:
        assert server.client.get(f"{BASE}{path}", headers=headers).status_code == 403, path
    assert content(home) == before
    told = server.client.options(
        f"{BASE}/datasets/tiny/choices",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert (told.status_code, "access-control-allow-origin" in told.headers) == (405, False)


def test_the_server_s_own_page_and_named_ones(own: Workspace) -> None:
    other = "https://example.org"
    with serving(shows(own, origins=(other,))) as server:
        body = {"split": "test", "id": "48", "label": "happy"}
        choices = f"{BASE}/datasets/tiny/choices"
        page = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
        assert server.client.post(choices, json=body, headers=page).status_code == 200
        # One that --cors names may read, and only read.
        named = {"Origin": other, "Sec-Fetch-Site": "cross-site"}
        told = server.client.get(BASE, headers=named)
        assert (told.status_code, told.headers["access-control-allow-origin"]) == (200, other)
        assert server.client.post(choices, json=body, headers=named).status_code == 403


def test_a_token_is_asked_for(own: Workspace) -> None:
    with serving(shows(own, token=TOKEN)) as server:
        body = {"split": "test", "id": "48", "label": "happy"}
        choices = f"{BASE}/datasets/tiny/choices"
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            for path in READ:
                answer = server.client.get(f"{BASE}{path}", headers=headers)
                assert problem(answer) == (401, "this server asks for a token"), path
            assert server.client.post(choices, json=body, headers=headers).status_code == 401
        assert not (own.root / "suspects/tiny/looked-through.csv").exists()
        # With a token it may be called by whatever name a proxy has.
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": "mien.example.org"}
        assert server.client.get(BASE, headers=headers).status_code == 200
        assert server.client.post(choices, json=body, headers=headers).status_code == 200
        assert server.client.post(choices, json=body, headers={**headers, "Origin": "https://a.org"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/runs/../1",
        "/runs/%2e%2e/1",
        "/runs/..%2f..%2fsecret/1",
        "/runs/tiny/..",
        "/runs/tiny/0",
        "/runs/tiny/01x",
        "/runs/tiny/99999999999999999999",
        "/runs/.hidden/1",
        "/runs/secret/1",
        "/datasets/%2e%2e%2fsecret",
        "/datasets/secret",
        "/datasets/tiny%00/sheet",
        "/datasets/tiny/image?split=../test&id=48",
        "/datasets/tiny/image?split=test&id=../../card.json",
        "/datasets/tiny/image?split=test&id=%00",
        "/datasets/tiny/image?split=test",
        "/datasets/tiny/image?split=test&id=48&path=/etc/passwd",
        "/datasets/none/suspects",
        "/runs/tiny/2/explain/..%2fweights.safetensors",
        "/runs/tiny/2/explain/filters.json",
        "/runs/tiny/2/explain/%2fetc%2fpasswd",
        "/runs/tiny/2/cell?role=..&true=happy&told=sad",
        "/runs/tiny/2/cell?role=fit&true=happy&told=sad",
        "/runs/tiny/2/cell?role=report&true=joy&told=sad",
        "/runs/tiny/2/confusion?role=report-tta",
        "/compare?a=tiny/1&b=/etc/passwd",
        "/compare?a=tiny/1&b=../secret/1",
        "/compare?a=tiny/1&b=tiny/1-2",
        "/compare?a=tiny/1&b=tiny/9",
        "/compare?a=tiny/1&b=tiny/1",
    ],
)
def test_no_path_leads_out(server: Server, home: Workspace, path: str) -> None:
    secret = home.root / "secret/1"
    secret.mkdir(parents=True, exist_ok=True)
    (secret / "experiment.yaml").write_text("name: secret\n")
    answer = server.client.get(f"{BASE}{path}")
    assert answer.status_code in (404, 422), answer.text
    assert "root:" not in answer.text
    assert answer.json()["error"]["message"]


def test_links_in_a_run_that_lead_out_of_it_are_not_followed(own: Workspace, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8)).save(secret)
    folder = own.runs / "tiny/2/explain"
    (folder / "filters-secret.png").symlink_to(secret)
    (folder / "filters-text.png").write_text("no picture")
    with serving(shows(own)) as server:
        assert problem(server.client.get(f"{RUN}/explain/filters-secret.png"))[0] == 404
        status, said = problem(server.client.get(f"{RUN}/explain/filters-text.png"))
        assert (status, said) == (422, "this is no picture that mien made")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def folder_of(file: Path) -> None:
    file.unlink()
    file.mkdir()


def nothing_measured(file: Path) -> None:
    file.write_text("epoch,lr,a,fit_accuracy,c,d\n1,0,nan,inf,0,\n")


DAMAGE: list[tuple[str, Callable[[Path], Any]]] = [
    *(
        (f"runs/tiny/2/{name}", harm)
        for name in (
            *("experiment.yaml", "status.json", "environment.json", "history.csv", "metrics.json"),
            *("metrics-choose.json", "predictions/report.parquet", "explain/filters.json"),
        )
        for harm in (cut, Path.unlink, folder_of, lambda file: file.write_bytes(b"\xff\x00{"))
    ),
    ("runs/tiny/2/metrics.json", lambda file: file.write_text(file.read_text().replace('"calibration"', '"other"'))),
    ("runs/tiny/2/history.csv", lambda file: file.write_text("epoch,lr,a,b,c,d\n1,x,x,x,x,x\n")),
    ("runs/tiny/2/history.csv", nothing_measured),
    *((f"datasets/tiny/{name}", harm) for name in ("card.json", "audit/audit.json") for harm in (cut, folder_of)),
]


@pytest.mark.large
def test_what_is_damaged_is_a_line_and_never_a_failure(own: Workspace, home: Workspace) -> None:
    with serving(shows(own)) as server:
        for name, harm in DAMAGE:
            harm(own.root / name)
            told = Overview.model_validate(server.client.get(BASE).json())
            assert [one.run for one in told.runs if one.run != "tiny/2"] == ["tiny/1"], name
            answers = {path: server.client.get(f"{BASE}{path}") for path in READ}
            assert {answer.status_code for answer in answers.values()} <= {200, 404, 422}, name
            lines = [str(one.error) for one in [*told.datasets, *told.runs] if one.error]
            for path in ("/runs/tiny/2", "/datasets/tiny"):
                if answers[path].status_code == 200:
                    lines += [one["message"] for one in answers[path].json()["problems"]]
            refused = [answer for answer in answers.values() if answer.status_code != 200]
            # What is missing may not be made yet, a history that is cut is a shorter one, an audit can be made anew.
            quiet = harm in (Path.unlink, nothing_measured) or "audit" in name
            quiet |= (harm is cut and "history" in name) or (harm is folder_of and "explain" in name)
            assert lines or refused or quiet, name
            restore(home.root / name, own.root / name)
        assert {server.client.get(f"{BASE}{path}").status_code for path in READ} == {200}


@pytest.mark.parametrize("harm", [cut, Path.unlink])
def test_a_damaged_shard_is_told_where_its_pictures_are_wanted(own: Workspace, harm: Callable[[Path], Any]) -> None:
    harm(own.datasets / "tiny/test-00000.parquet")
    with serving(shows(own)) as server:
        assert server.client.get(f"{BASE}/datasets/tiny").status_code == 200
        told = problem(server.client.get(f"{BASE}/datasets/tiny/image?split=test&id=48"))
        assert told == (422, "this shard isn't the one that the card describes; import again")


def restore(whole: Path, file: Path) -> None:
    import shutil

    if file.is_dir():
        file.rmdir()
    shutil.copy2(whole, file)


def test_names_that_no_address_can_have_are_left_out(own: Workspace) -> None:
    for name in ("ü b", ".hidden", "<b>"):
        folder = own.runs / name / "1"
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text("name: x\n")
    with serving(shows(own)) as server:
        assert [one["run"] for one in server.client.get(BASE).json()["runs"]] == ["tiny/1", "tiny/2"]


@pytest.mark.large
def test_the_schema_promises_every_answer(own: Workspace, tmp_path: Path) -> None:
    with serving(shows(own)) as server:
        paths = server.client.get("/openapi.json").json()["paths"]
        told = {path: of for path, of in paths.items() if path.startswith(BASE)}
        assert len(told) == 11
        for path, methods in told.items():
            for method, of in methods.items():
                assert {"200", "403", "404", "422"} <= of["responses"].keys(), path
                assert method == ("post" if path.endswith("/choices") else "get")
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
        options = ["--include-path-regex", BASE, "--max-examples", "3", "--seed", "1", "--no-color"]
        # What is of the right type may still not be there.
        options += ["--exclude-checks", "positive_data_acceptance,unsupported_method"]
        done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_verb_asks_for_a_token_where_others_could_look() -> None:
    done = call("serve", "--show-workspace", "--host", "0.0.0.0", "--detector", "cascade")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "mien: --show-workspace: 0.0.0.0 would show the workspace to all who reach this machine; expected "
        "--token-file FILE as well, or no --host\n"
    )
