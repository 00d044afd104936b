"""The page, in a real browser: a photo in, the verb's boxes and bars out; by keyboard, and on a narrow screen."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import choose, chromium, opened_page
from servers import Server, png, portrait, serving, settings, small
from skimage.data import astronaut
from verbs import call

from mien.serving.policy import POLICY

PAGE = Path(__file__).parents[2] / "mien" / "serving" / "page"
TOKEN = "a-token-of-many-letters"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(settings(models=("mien-m", "mien-s"))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    # That a bad photo is refused is told, too.
    with opened_page(browser, server.url, "the server responded with a status of 415") as opened:
        yield opened


def test_only_the_package_s_own_files_are_loaded(server: Server) -> None:
    for path in ("/", "/page/main.js", "/page/page.css", "/page/icon.svg"):
        answer = server.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    for file in PAGE.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace('https://"', "")
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == [], file.name
        assert not re.search(r"\bon\w+=|\bstyle=|innerHTML|eval\(", text), file.name
    assert len(list(PAGE.iterdir())) == 17


def test_a_photo_has_the_verb_s_boxes_and_bars(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("portrait.png").write_bytes(portrait())
    (face,) = call("predict", "portrait.png", "--json", "--detector", "cascade").json["faces"]
    choose(page, ("portrait.png", portrait()))
    page.wait_for_selector(".bars")
    place = page.eval_on_selector(".box", "box => ['left', 'top', 'width', 'height'].map(key => box.style[key])")
    assert [float(side.removesuffix("%")) * 512 / 100 for side in place] == pytest.approx(face["box"], abs=1e-3)
    names = page.eval_on_selector_all(".bars dt", "all => all.map(one => one.textContent)")
    shares = page.eval_on_selector_all(".bars meter", "all => all.map(one => one.value)")
    assert dict(zip(names, shares, strict=True)) == pytest.approx(face["probabilities"], abs=1e-6)
    assert page.inner_text(".box span") == "happy 91 %"
    assert (
        re.sub(r"\d+\.\d\d s", "T s", page.inner_text("figcaption"))
        == f"portrait.png: 1 face, by {face['model']}, in T s"
    )
    # And on the screen, over the picture's own face.
    image, box = page.locator(".stage img").bounding_box(), page.locator(".box").bounding_box()
    scale = image["width"] / 512
    assert (box["x"] - image["x"]) / scale == pytest.approx(face["box"][0], abs=1)
    assert box["width"] / scale == pytest.approx(face["box"][2], abs=1)


def test_several_photos_a_bad_one_and_the_table(page: Any) -> None:
    two = png(np.concatenate([astronaut()[:256, 100:356]] * 2, axis=1))
    choose(page, ("=two.png", two), ("bad.png", b"hello"), ("<b>.png", small()))
    page.wait_for_selector("#status:text-is('3 photos were looked at.')")
    captions = page.eval_on_selector_all("figcaption", "all => all.map(one => one.textContent)")
    assert captions[0].startswith("=two.png: 2 faces, by mien-m ")
    assert captions[1] == ("bad.png: this is no image of a known format; expected PNG, JPEG, WEBP, BMP, TIFF, GIF, PPM")
    assert captions[2].startswith("<b>.png: 1 face, by mien-m ")
    with page.expect_download() as download:
        page.click("#download")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [(row["path"], row["face"], row["answer"]) for row in rows] == [
        ("'=two.png", "1", "happy"),
        ("'=two.png", "2", "happy"),
        ("<b>.png", "1", "happy"),
    ]
    assert sum(
        float(rows[0][name]) for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    ) == (pytest.approx(1, abs=1e-5))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.wait_for_selector("#status:text-is('The table is copied.')")
    assert page.evaluate("navigator.clipboard.readText()").splitlines()[0].split("\t")[:4] == [
        *("path", "face", "answer", "uncertain"),
    ]
    page.click("#clear")
    assert page.locator("figure").count() == 0
    assert page.is_hidden("#table")


def test_the_keyboard_is_enough(page: Any) -> None:
    two = png(np.concatenate([astronaut()[:256, 100:356]] * 2, axis=1))
    choose(page, ("two.png", two))
    page.wait_for_selector(".bars")
    seen = []
    page.focus("#model")
    for _ in range(9):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
    assert seen[:4] == ["files", "camera", "clear", "points"]
    assert [re.sub(r"\d+ %", "", one) for one in seen[4:6]] == ["Face 1: happy ", "Face 2: happy "]
    assert seen[6:8] == ["copy", "download"]
    page.focus(".box:nth-of-type(2)")
    page.keyboard.press("Enter")
    assert page.get_attribute(".bars", "aria-label") == "Face 2: probabilities"
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    # What can be used has a name.
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, img, meter')].filter(one => "
        "!(one.textContent.trim() || one.alt || one.getAttribute('aria-label') || one.labels?.length)).length"
    )
    assert nameless == 0


def test_a_pasted_and_a_dropped_photo_are_looked_at(page: Any) -> None:
    drop = """data => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(data)], 'a.png', {type: 'image/png'}));
        document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true}));
    }"""
    paste = drop.replace(
        "document.querySelector('#drop').dispatchEvent(new DragEvent('drop', {dataTransfer",
        ("document.dispatchEvent(new ClipboardEvent('paste', {clipboardData"),
    )
    for number, script in enumerate((drop, paste)):
        page.evaluate(script, list(small()))
        page.locator(".bars").nth(number).wait_for()


def test_the_camera_is_on_between_two_clicks(page: Any, server: Server) -> None:
    before = server.service.metrics.images._value.get()
    assert page.locator("video").count() == 0
    page.click("#camera")
    page.wait_for_selector("#camera:text-is('Turn the camera off')")
    page.wait_for_selector("video")
    while server.service.metrics.images._value.get() < before + 2:
        page.evaluate("0")
    track = page.evaluate_handle("document.querySelector('video').srcObject.getTracks()[0]")
    page.click("#camera")
    page.wait_for_selector("#camera:text-is('Turn the camera on')")
    assert page.locator("video").count() == 0
    assert track.evaluate("track => track.readyState") == "ended"


def test_what_is_served_and_its_card_are_shown(page: Any) -> None:
    assert page.inner_text("#about").startswith("mien-m (SHA-256 ")
    page.select_option("#model", "mien-s")
    assert page.inner_text("#about").startswith("mien-s (SHA-256 ")
    page.click("summary")
    assert page.inner_text("#card").startswith("# mien-s\n")
    choose(page, ("a.png", small()))
    page.wait_for_selector(".bars")
    assert ", by mien-s " in page.inner_text("figcaption")
    # Two sentences of what can't be told.
    assert page.inner_text("#limits").count(". ") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_room_for_all(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    choose(page, ("portrait.png", portrait()))
    page.wait_for_selector(".bars")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # The bars are below the picture, and change nothing of where its boxes are.
    image, box, bars = (page.locator(name).bounding_box() for name in (".stage img", ".box", ".bars"))
    assert bars["y"] >= image["y"] + image["height"]
    assert box["height"] * 512 / image["height"] == pytest.approx(97, abs=1)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 25, 30)"}[scheme]
    assert page.evaluate(
        "[...document.querySelectorAll('main button:not(.box), .button, select')]"
        ".every(one => one.offsetParent === null || one.getBoundingClientRect().height >= 44)"
    )


def test_a_token_is_asked_for_and_kept_by_the_page_alone(browser: Any) -> None:
    with serving(settings(token=TOKEN)) as server:
        page = browser.new_page()
        page.set_default_timeout(120_000)
        page.goto(server.url)
        page.wait_for_selector("#token input")
        page.fill("#token input", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#model option", state="attached")
        choose(page, ("a.png", small()))
        page.wait_for_selector(".bars")
        assert page.is_hidden("#token")
        assert page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])") == json.dumps(
            [{}, {}, ""], separators=(",", ":")
        )
        page.close()
