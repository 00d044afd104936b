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
from browsers import choose, opened_page
from clips import write_clip
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


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    # That a bad file is refused is told, too.
    with opened_page(browser, server.url, "the server responded with a status of 4") as opened:
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
    assert len(list(PAGE.iterdir())) == 18


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
    page.wait_for_selector('#status:text-is("2 photos were looked at, 1 couldn\'t be.")')
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
    assert page.inner_text(".which") == "Face 2 of 2. Choose another in the picture."
    assert [text.split()[0] for text in page.locator(".box").all_inner_texts()] == ["1", "2"]
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    # What can be used has a name.
    nameless = page.evaluate(
        "[...document.querySelectorAll('button, input, select, img, meter')].filter(one => "
        "!(one.textContent.trim() || one.alt || one.getAttribute('aria-label') || one.labels?.length)).length"
    )
    assert nameless == 0


def test_what_is_shown_is_looked_at_anew_by_another_model_or_with_points(page: Any) -> None:
    choose(page, ("a.png", small()), ("bad.png", b"hello"))
    page.wait_for_selector('#status:text-is("One photo was looked at, 1 couldn\'t be.")')
    assert page.locator("circle").count() == 0
    page.check("#points")
    page.wait_for_selector("circle")
    page.select_option("#model", "mien-s")
    page.wait_for_selector("figcaption:has-text(', by mien-s ')")
    page.wait_for_selector('#status:text-is("One photo was looked at, 1 couldn\'t be.")')
    assert page.locator("circle").count() == 68
    assert [name.split(":")[0] for name in page.locator("figcaption").all_inner_texts()] == ["a.png", "bad.png"]
    assert page.locator("#table tbody tr").count() == 1
    page.click("#clear")
    choose(page, ("bad.png", b"hello"))
    page.wait_for_selector("#status:text-is('No photo could be looked at.')")


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


def test_a_clip_has_the_verb_s_boxes_and_courses(page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    face, empty = np.asarray(astronaut()), np.full_like(astronaut(), 120)
    clip = write_clip(tmp_path / "clip.mp4", [face] * 15 + [empty] * 10 + [face] * 5).read_bytes()
    done = call("predict", "clip.mp4", "--fps", "2", "--detector", "cascade", "--out", "told.jsonl")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in Path("told.jsonl").read_text().splitlines()]
    assert [(row["time"], row["track"]) for row in rows] == [(0, 1), (0.5, 1), (1, 1), (1.5, None), (2, None), (2.5, 2)]
    choose(page, ("clip.mp4", clip))
    page.wait_for_selector("figcaption:has-text('faces followed')")
    caption = re.sub(r"\d+\.\d s", "T s", page.inner_text("figcaption"))
    assert caption == ("clip.mp4: 6 moments looked at, 2 a second, in T s; 2 faces followed; 2 moments without a face")
    assert page.locator(".courses h3").all_inner_texts() == [
        "Track 1: 3 moments from 0.0 to 1.0 s",
        "Track 2: 1 moment from 2.5 to 2.5 s",
    ]
    # Each strip has the smoothed probabilities, and the share of the moments in which its class led.
    drawn = page.eval_on_selector_all(
        ".course:first-of-type svg",
        "all => all.map(one => [...one.children].map(rect => Number(rect.getAttribute('fill-opacity'))))",
    )
    expected = [[row["smoothed"][name] for row in rows[:3]] for name in rows[0]["probabilities"]]
    np.testing.assert_allclose(drawn[:7], expected, atol=0.0006)
    assert page.locator(".course").first.locator(".share").all_inner_texts()[3] == "100 %"
    # The boxes are those of the moment that is shown; a click on a strip goes there.
    page.wait_for_selector(".stage .box")
    strip = page.locator(".course svg").first
    strip.click(position={"x": strip.bounding_box()["width"] * 3.5 / 6, "y": 5})
    page.wait_for_selector(".stage .box", state="detached")
    assert page.evaluate("document.querySelector('video').currentTime") == 1.5
    strip.click(position={"x": strip.bounding_box()["width"] * 2.5 / 6, "y": 5})
    page.wait_for_selector(".stage .box")
    place = page.eval_on_selector(".box", "box => ['left', 'top', 'width', 'height'].map(key => box.style[key])")
    assert [float(side.removesuffix("%")) * 512 / 100 for side in place] == pytest.approx(rows[2]["box"], abs=1e-3)
    table = page.locator("#table tr").all_inner_texts()
    assert table[0].split("\t")[:6] == ["path", "face", "answer", "uncertain", "time", "track"]
    assert [line.split("\t")[4:6] for line in table[1:]] == [
        [f"{row['time']:.3f}", str(row["track"] or "")] for row in rows
    ]
    assert page.inner_text("#status") == "One file was looked at."


def test_what_is_no_clip_and_what_breaks_off_is_told(page: Any, tmp_path: Path) -> None:
    choose(page, ("a.mp4", b"nothing"))
    page.wait_for_selector("figcaption.wrong")
    assert page.inner_text("figcaption") == (
        "a.mp4: this can't be opened as a video (Invalid data found when processing input); expected a video"
    )
    whole = write_clip(tmp_path / "clip.mkv", [np.asarray(astronaut())] * 60, gop=5).read_bytes()
    choose(page, ("cut.mkv", whole[: len(whole) // 2]))
    page.wait_for_selector("figcaption.wrong:has-text('breaks off')")
    assert page.locator(".courses h3").count() == 1
    page.click("#clear")
    assert page.locator("figure").count() == 0


def test_what_was_told_of_a_clip_stays_when_the_rest_fails(page: Any, server: Server, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [np.asarray(astronaut())] * 10).read_bytes()
    answer = server.client.post("/v1/predict/stream?fps=2", files={"video": ("clip.mp4", clip)})
    page.route("**/v1/predict/stream?*", lambda route: route.fulfill(body=answer.text + "no JSON\n"))
    choose(page, ("clip.mp4", clip))
    page.wait_for_selector("figcaption.wrong:has-text('2 moments looked at')")
    assert page.locator(".courses h3").all_inner_texts() == ["Track 1: 2 moments from 0.0 to 0.5 s"]
    assert page.locator("#table tbody tr").count() == 2


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
