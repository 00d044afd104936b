"""The workspace view in a real browser: a training watched, a cell's pictures, two runs compared, labels marked."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import opened_page
from conftest import REPOSITORY, TINY
from servers import Server, serving, small
from verbs import call
from viewed import content, copy_of, shows, tiny_of, write_home

from mien.data.dataset import open_dataset
from mien.data.labels import FER2013
from mien.data.synthetic.dataset import write_faces
from mien.runs.run import Run
from mien.workspace import Workspace

TOKEN = "a-token-of-many-letters"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_home(tmp_path_factory.mktemp("viewed"))


@pytest.fixture(scope="module")
def server(home: Workspace) -> Iterator[Server]:
    with serving(shows(home)) as found:
        yield found


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    # That two runs can't be compared is told, too.
    with opened_page(browser, f"{server.url}/#workspace", "the server responded with a status of 422") as opened:
        opened.wait_for_selector("#workspace table")
        yield opened


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.eval_on_selector_all(selector, "all => all.map(one => one.textContent)")
    return found


def wait_for_pictures(page: Any, selector: str) -> None:
    page.wait_for_function(
        "selector => [...document.querySelectorAll(selector)].every(one => one.complete && one.naturalWidth > 0)",
        arg=selector,
    )


def test_the_two_views_are_a_link_apart(page: Any) -> None:
    assert page.is_hidden("#photo-view")
    assert page.get_attribute("#views a[aria-current]", "href") == "#workspace"
    page.click("#views a[href='#photos']")
    page.wait_for_selector("#drop")
    assert page.is_hidden("#workspace")
    assert page.title() == "mien"
    page.go_back()
    page.wait_for_selector("#workspace table")
    assert page.title() == "Workspace – mien"
    page.goto(page.url.replace("#workspace", "#workspace/nothing"))
    page.wait_for_selector("#workspace .status.wrong:text-is('there is no such part of the workspace')")


def test_data_sets_and_runs_are_listed_and_lead_on(page: Any, home: Workspace, server: Server) -> None:
    known = server.client.get("/v1/workspace").json()
    cells = page.eval_on_selector_all(
        "#workspace tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert cells == [
        ["tiny", "fer2013-7", "280", "train 210, validation 35, test 35"],
        *(
            [
                one["run"],
                "finished",
                "tiny",
                "official",
                f"{one['epochs']}/{one['epochs']}",
                one["choose"],
                one["report"],
            ]
            for one in known["runs"]
        ),
    ]
    page.click("text=tiny/2")
    page.wait_for_selector("#workspace h2:text-is('Run tiny/2')")
    page.wait_for_selector(".matrix >> nth=1")
    curve = page.eval_on_selector_all("polyline", "all => all.map(one => one.points.numberOfItems)")
    assert curve == [6, 6, 6, 6]
    metrics = json.loads((home.runs / "tiny/2/metrics.json").read_text())
    assert f"all rows35{metrics['accuracy']:.3f} [" in texts(page, ".rows tbody tr")[0]
    assert "Learned filters" in texts(page, "#workspace h3")
    wait_for_pictures(page, ".sheet img")
    page.click("#workspace p >> text=tiny")
    page.wait_for_selector("#workspace h2:text-is('Data set tiny')")
    wait_for_pictures(page, ".sheet img")
    assert texts(page, ".rows tbody tr")[0] == "angry30 (14.3 %)5 (14.3 %)5 (14.3 %)"
    # Nothing of it stays in the browser.
    assert page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])") == '[{},{},""]'


def test_a_cell_opens_its_pictures(page: Any, server: Server) -> None:
    known = server.client.get("/v1/workspace/runs/tiny/1/confusion?role=report").json()
    i, j = max(
        ((i, j) for i in range(7) for j in range(7) if i != j), key=lambda place: known["matrix"][place[0]][place[1]]
    )
    true, told = known["classes"][i], known["classes"][j]
    asked = {"role": "report", "true": true, "told": told}
    cell = server.client.get("/v1/workspace/runs/tiny/1/cell", params=asked).json()
    assert cell["n"] > 0
    page.goto(f"{server.url}/#workspace/runs/tiny/1")
    # The matrices come when they come; the first place is that of the report role.
    name = f"true {true}, told {told}: {cell['n']} of 5, "
    button = page.locator(".confusion").first.locator(f".matrix button[aria-label^='{name}']")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".thumb img[src]")
    wait_for_pictures(page, ".thumb img")
    assert button.get_attribute("aria-pressed") == "true"
    title = f"{true} told as {told}: {cell['n']} {'row' if cell['n'] == 1 else 'rows'}, the surest first"
    assert page.evaluate("document.activeElement.textContent") == title
    captions = page.eval_on_selector_all(
        ".thumb figcaption", "all => all.map(one => [...one.children].map(line => line.textContent))"
    )
    assert [lines[-1] for lines in captions] == [f"row {row['id']} of test" for row in cell["rows"]]
    assert [lines[0] for lines in captions] == [
        f"{told} {100 * row['p_told']:.0f}\N{NO-BREAK SPACE}%" for row in cell["rows"]
    ]
    # A cell without rows opens nothing.
    assert page.locator(".matrix button:disabled").count() > 0
    assert page.locator("#workspace .wrong").count() == 0


def test_two_runs_are_compared_in_words(page: Any, home: Workspace, server: Server) -> None:
    page.click("text=Compare two runs")
    page.wait_for_selector(".pair")
    page.select_option(".pair select >> nth=0", "tiny/1")
    page.click(".pair button")
    page.wait_for_selector(".verdict")
    assert page.url.endswith("#workspace/compare/tiny/1/tiny/2")
    known = server.client.get("/v1/workspace/compare?a=tiny/1&b=tiny/2").json()
    assert texts(page, ".verdict") == known["verdicts"]
    (pair,) = call("compare", "tiny/1", "tiny/2", "--json", "--workspace", home.root).json["pairs"]
    assert known["verdicts"][0].startswith(pair["verdict"]) or pair["verdict"] in known["verdicts"][0]
    wait_for_pictures(page, ".thumb img")
    assert page.locator(".thumb").count() == len(known["disagreements"]) > 0
    # Runs that can't be compared are told in a sentence.
    page.goto(f"{server.url}/#workspace/compare/tiny/1/tiny/1")
    page.wait_for_selector("#workspace .status.wrong:has-text(\"'tiny/1' is named twice\")")


def test_a_label_marked_by_keyboard_is_in_the_file_that_relabel_takes(
    browser: Any, home: Workspace, tmp_path: Path
) -> None:
    own = copy_of(home, tmp_path / "own")
    file = own.root / "suspects/tiny/looked-through.csv"
    with serving(shows(own)) as server, opened_page(browser, f"{server.url}/#workspace/datasets/tiny") as page:
        page.click("text=Look through them")
        page.wait_for_selector(".look")
        wait_for_pictures(page, ".looked-at img")
        assert page.evaluate("document.activeElement.className") == "look"
        assert page.inner_text(".suspect").startswith(
            "neutral is the label (5 %), disgust is suggested (75 %). Row 48 of test."
        )
        page.keyboard.press("s")  # what is suggested
        page.wait_for_selector("#workspace .status:text-is('Row 48: disgust. Saved.')")
        page.keyboard.press("5")  # the fifth class, sad
        page.wait_for_selector("#workspace .status:text-is('Row 97: sad. Saved.')")
        page.keyboard.press("g")  # the label that it has
        page.wait_for_selector("#workspace .status:text-is('Row 42: angry. Saved.')")
        assert "3 looked at" in page.inner_text("#workspace")
        assert page.evaluate("document.querySelector('progress').value") == 3
        assert texts(page, "#workspace pre") == [
            str(file),
            f"mien data import tiny --as tiny-2 --relabel {file} --workspace {own.root}",
        ]
        # The next session goes on with it, and takes one back.
        page.reload()
        page.wait_for_selector(".look")
        assert page.get_attribute(".classes button >> nth=1", "aria-pressed") == "true"
        page.keyboard.press("Backspace")
        page.wait_for_selector("#workspace .status:text-is('Row 48 is taken back.')")
        command = texts(page, "#workspace pre")[1]
    rows = [(row["id"], row["suggested"], row["apply"]) for row in csv.DictReader(io.StringIO(file.read_text()))]
    assert rows == [("97", "sad", "yes"), ("42", "neutral", "no")]
    made = call(*command.split()[1:])
    assert made.code == 0, made.err
    old, new = tiny_of(own), open_dataset(own, "tiny-2")
    changed = {
        id_: FER2013.classes[label]
        for id_, label, before in zip(new.ids("test"), new.labels("test"), old.labels("test"), strict=True)
        if label != before
    }
    assert changed == {"97": "sad"}


def test_a_choice_that_cant_be_saved_is_told_and_not_shown_as_made(
    browser: Any, home: Workspace, tmp_path: Path
) -> None:
    own = copy_of(home, tmp_path / "own")
    file = own.root / "suspects/tiny/looked-through.csv"
    refused = "the server responded with a status of 422"
    with serving(shows(own)) as server:
        page_at = f"{server.url}/#workspace/datasets/tiny/suspects"
        with opened_page(browser, page_at, refused) as page:
            page.wait_for_selector(".look")
            file.write_text("broken")
            page.keyboard.press("s")
            page.wait_for_selector(
                "#workspace .status.wrong:has-text(\"Row 48 isn't saved: there is no column 'split'\")"
            )
            assert page.evaluate("document.querySelector('progress').value") == 0
    assert file.read_text() == "broken"


def test_a_training_is_watched_while_it_trains(browser: Any, tmp_path: Path) -> None:
    home = Workspace(tmp_path / "home")
    write_faces(home, "drawn", n=140, size=24, color="gray", seed=0)
    file = tmp_path / "drawn.yaml"
    file.write_text(TINY.replace("name: tiny", "name: drawn"))
    command = [sys.executable, "-m", "mien", "train", str(file), "train.epochs=100000"]
    env = {**os.environ, "MIEN_HOME": str(home.root)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY, env=env)
    points = "document.querySelector('polyline.choose')?.points.numberOfItems ?? 0"
    try:
        with serving(shows(home)) as server, opened_page(browser, f"{server.url}/#workspace") as page:
            page.wait_for_selector("#workspace h2")
            while not (home.runs / "drawn/1/experiment.yaml").is_file():
                assert process.poll() is None
                page.evaluate("0")
            page.goto(f"{server.url}/#workspace/runs/drawn/1")
            page.wait_for_selector("#workspace .status:text-is('drawn/1 is running; this page follows it.')")
            page.wait_for_function(f"() => ({points}) >= 2")
            page.evaluate("window.notReloaded = true")
            before = page.evaluate(points)
            page.wait_for_function(f"() => ({points}) > {before}")
            assert re.match(r"running, \d+ of 100000 epochs on drawn", page.inner_text("#workspace h2 + p"))
            process.send_signal(signal.SIGTERM)
            process.wait()
            page.wait_for_selector("#workspace h2 + p:has-text('stopped, ')")
            page.wait_for_selector("#workspace .status:text-is('')", state="attached")
            assert page.evaluate("window.notReloaded") is True
            assert page.evaluate(points) == Run(home.runs / "drawn/1").epochs_done > before
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("part", "title"),
    [
        ("", "Data sets"),
        ("/runs/tiny/2", "Run tiny/2"),
        ("/datasets/tiny", "Data set tiny"),
        ("/datasets/tiny/suspects", "Likely label errors of tiny"),
        ("/compare/tiny/1/tiny/2", "Compare two runs"),
    ],
)
def test_a_narrow_screen_has_room_for_all(page: Any, server: Server, scheme: str, part: str, title: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{server.url}/#workspace{part}")
    page.wait_for_selector(f"#workspace h2:text-is('{title}')")
    page.wait_for_selector("#workspace .status:text-is('')", state="attached")
    wait_for_pictures(page, "#workspace img")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # What can be used has a name, and is large enough for a finger.
    nameless = page.evaluate(
        "[...document.querySelectorAll('#workspace :is(button, select, img, a, svg, progress)')].filter(one => "
        "!(one.textContent.trim() || one.alt || one.getAttribute('aria-label') || one.labels?.length)).length"
    )
    assert nameless == 0
    assert page.evaluate(
        "[...document.querySelectorAll('#workspace :is(button, select)')]"
        ".every(one => one.offsetParent === null || one.getBoundingClientRect().height >= 44)"
    )


def test_names_are_only_ever_text(browser: Any, home: Workspace, tmp_path: Path) -> None:
    own = copy_of(home, tmp_path / "own")
    status = own.runs / "tiny/2/status.json"
    status.write_text(json.dumps({"state": "failed", "reason": "<img src=x onerror=alert(1)>"}))
    with serving(shows(own)) as server, opened_page(browser, f"{server.url}/#workspace/runs/tiny/2") as page:
        page.wait_for_selector("#workspace h2 + p")
        assert page.inner_text("#workspace h2 + p").endswith("protocol official. <img src=x onerror=alert(1)>.")
        assert page.locator("#workspace img[src='x']").count() == 0


def test_a_token_is_asked_for_first(browser: Any, home: Workspace) -> None:
    before = content(home)
    with serving(shows(home, token=TOKEN)) as server:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{server.url}/#workspace/runs/tiny/1")
        page.wait_for_selector("#token input")
        assert page.is_hidden("#views")
        page.fill("#token input", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#workspace h2:text-is('Run tiny/1')")
        page.locator(".matrix button:enabled").first.click()
        page.wait_for_selector(".thumb img[src]")
        wait_for_pictures(page, ".thumb img")
        page.close()
    assert content(home) == before


def test_without_the_flag_the_page_has_one_view(browser: Any) -> None:
    from servers import settings

    with serving(settings()) as server, opened_page(browser, f"{server.url}/#workspace") as page:
        page.set_input_files("#files", [{"name": "a.png", "mimeType": "image/png", "buffer": small()}])
        page.wait_for_selector(".bars")
        assert page.is_hidden("#views")
        assert page.is_hidden("#workspace")
