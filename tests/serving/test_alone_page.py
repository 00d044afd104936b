"""The page without a server, from a plain web host and without a network: what it says is what the verb says."""

import base64
import functools
import http.server
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from browsers import choose, chromium, opened_page
from clips import write_clip
from pasted_faces import scenes
from PIL import Image
from servers import png, portrait
from skimage.data import astronaut
from verbs import call

from mien.faces.detector import Box, open_detector
from mien.faces.squares import Square, crop, warped
from mien.images import REDUCED_SIDE, decode_photo, luma
from mien.inference.model import load
from mien.inference.predictor import FaceAnswer, Predictor
from mien.inference.rows import columns, nested, rows_of
from mien.landmarks.predict import open_landmarker
from mien.prediction.tracks import Tracks
from mien.workspace import Workspace

pytestmark = pytest.mark.browser

# The greatest differences of a probability: of the same pixels; of JPEGs, which browsers decode in their own ways; and
# of JPEGs that are halved, which Pillow does while it decodes.
SAME, DECODED, HALVED = 1e-4, 0.02, 0.03
# No name is looked up, so nothing but this machine can be reached.
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


class Host(NamedTuple):
    """A folder behind Python's plain web host, below a path of its own, and what was asked of it."""

    folder: Path
    url: str
    asked: list[str]


@pytest.fixture(scope="module")
def weights(real_data: Path) -> Path:
    return real_data.parent / "weights" / "face_detection_yunet.onnx"


@pytest.fixture(scope="module")
def host(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    root = tmp_path_factory.mktemp("host")
    folder = root / "some" / "where"
    done = call("export", "--page", folder, "--detector-weights", weights, "--json")
    assert done.code == 0, done.err
    assert done.json["model"].startswith("mien-s ")
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            asked.append(arguments[0])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Host(folder, f"http://127.0.0.1:{server.server_port}/some/where/", asked)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser without a network, whose camera shows a film."""
    film = tmp_path_factory.mktemp("camera") / "film.y4m"
    write_film(film)
    with chromium(ALONE, f"--use-file-for-fake-video-capture={film}") as opened:
        yield opened


@pytest.fixture(scope="module")
def page(browser: Any, host: Host) -> Iterator[Any]:
    """The page, opened once."""
    with opened_page(browser, host.url) as opened:
        yield opened


@pytest.fixture
def fresh(page: Any) -> Any:
    """The page without answers."""
    if page.is_visible("#clear"):
        page.click("#clear")
    return page


def told(page: Any, name: str, data: bytes, points: bool = False) -> list[dict[str, Any]]:
    """The rows that the page's modules give for a file."""
    script = """async ([name, data, points]) => {
        const { predict } = await import('./page/api.js');
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        return (await predict(new File([bytes], name), name, 'mien-s', points)).faces;
    }"""
    found: list[dict[str, Any]] = page.evaluate(script, [name, base64.b64encode(data).decode(), points])
    return found


@pytest.fixture(scope="module")
def predictor(weights: Path) -> Predictor:
    pointer = open_landmarker(Workspace(Path("none")), threads=1)
    return Predictor(load("mien-s", threads=1), open_detector("yunet", weights), pointer=pointer)


def expected(predictor: Predictor, name: str, data: bytes) -> list[dict[str, Any]]:
    """The rows of the verb."""
    (answers,) = predictor.answers([decode_photo(data)])
    return [nested({key: row[key] for key in columns(predictor.names, True)}) for row in rows_of(name, answers)]


def jpeg(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


@pytest.mark.parametrize(("encode", "limit"), [(png, SAME), (jpeg, DECODED)])
def test_a_hundred_scenes_are_told_as_by_the_verb(page: Any, predictor: Predictor, encode: Any, limit: float) -> None:
    differences: dict[bool, list[float]] = {False: [], True: []}
    faces, without, reasons = 0, 0, 0
    for number, scene in enumerate(scenes(100)):
        name, data = f"{number}.image", encode(scene)
        mine, verb = told(page, name, data), expected(predictor, name, data)
        assert [one["face"] for one in mine] == [one["face"] for one in verb], number
        for here, there in zip(mine, verb, strict=True):
            assert here.keys() == there.keys() - {"points"}
            if there["face"] is None:
                without += 1
                assert {key: there[key] for key in here} == here
                continue
            faces += 1
            reasons += there["uncertain"] is not None
            halved = max(scene.shape) >= 2 * REDUCED_SIDE
            apart = [abs(here["probabilities"][key] - share) for key, share in there["probabilities"].items()]
            differences[halved].append(max(apart))
            assert here["sharpness"] == pytest.approx(there["sharpness"], rel=0.1 if limit > SAME else 1e-3)
            if max(there["probabilities"].values()) > 0.5 + limit:
                assert (here["top"], here["model"]) == (there["top"], there["model"])
            if limit == SAME:
                assert (here["answer"], here["uncertain"]) == (there["answer"], there["uncertain"])
                assert here["eyes"] == pytest.approx(there["eyes"], abs=0.01)
                assert here["score"] == pytest.approx(there["score"], abs=1e-5)
    assert faces >= 100
    assert without >= 10
    assert reasons >= 5
    assert max(differences[False]) <= limit
    assert max(differences[True]) <= (SAME if limit == SAME else HALVED)


def test_the_points_are_those_of_the_verb(page: Any, predictor: Predictor) -> None:
    data = portrait()
    (mine,), (verb,) = told(page, "a.png", data, points=True), expected(predictor, "a.png", data)
    np.testing.assert_allclose(mine["points"], verb["points"], atol=0.02)


def done(page: Any, name: str, pixels: Any, *arguments: Any) -> Any:
    """What a function of resize.js makes of pixels."""
    script = """async ([name, data, [height, width, channels], given]) => {
        const module = await import('./page/resize.js');
        const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
        const made = module[name](module.image(width, height, channels, bytes), ...given);
        const letters = made.data.reduce((text, byte) => text + String.fromCharCode(byte), '');
        return { shape: [made.height, made.width, made.channels], data: btoa(letters) };
    }"""
    data = base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()
    made = page.evaluate(script, [name, data, list(pixels.shape), list(arguments)])
    return np.frombuffer(base64.b64decode(made["data"]), np.uint8).reshape(made["shape"])


def noise(height: int, width: int, channels: int = 3) -> Any:
    return np.random.default_rng(height).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("size", [(137, 91), (150, 100), (100, 100), (75, 50), (300, 199), (1, 1), (299, 20)])
def test_pixels_are_shrunk_as_opencv_does(page: Any, size: tuple[int, int]) -> None:
    image = noise(200, 300)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(done(page, "shrunk", image, *size), expected)


@pytest.mark.parametrize("size", [(120, 80), (119, 53), (61, 41), (640, 300)])
def test_pixels_are_enlarged_as_opencv_does(page: Any, size: tuple[int, int]) -> None:
    image = noise(40, 60)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(done(page, "enlarged", image, *size), expected)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("shape", [(64, 96), (61, 83), (5, 3)])
def test_pixels_are_reduced_as_pillow_does(page: Any, shape: tuple[int, int], factor: int) -> None:
    image = noise(*shape)
    np.testing.assert_array_equal(
        done(page, "reduced", image, factor), np.asarray(Image.fromarray(image).reduce(factor))
    )


def test_gray_and_squares_are_those_of_the_package(page: Any) -> None:
    image = noise(50, 70)
    np.testing.assert_array_equal(done(page, "luma", image), luma(image))
    np.testing.assert_array_equal(done(page, "cropped", image, -9, 12, 60), crop(image, Square(-9, 12, 60)))


@pytest.mark.parametrize("scale", [0.07, 0.21, 0.4, 0.9, 1.7])
@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2])
def test_faces_are_turned_as_opencv_does(page: Any, scale: float, angle: float) -> None:
    along, across = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[along, across, 20 - 210 * along], [-across, along, 17 + 30 * across]])
    turned = done(page, "warped", astronaut(), matrix.tolist(), 48)
    np.testing.assert_array_equal(turned, warped(astronaut(), matrix, 48))


def test_tracks_are_those_of_the_verb(page: Any) -> None:
    """Faces that walk, cross, leave and come, over 60 frames."""
    random = np.random.default_rng(5)
    frames, tracks, verb = [], Tracks(0.5), []
    for frame in range(60):
        time, answers = frame * 0.15 + (2 if frame > 40 else 0), []
        for face in range(4):
            if (frame // 7 + face) % 3 == 0:
                continue
            side = 40 + 8 * face + random.normal(0, 1)
            left, top = (60 * face + frame * (3 - 2 * face) + random.normal(0, 2), 50 + random.normal(0, 2))
            marks = tuple(
                (left + x * side, top + y * side)
                for x, y in ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.4, 0.8), (0.6, 0.8))
            )
            share = random.uniform(0, 1)
            shares = {"happy": share, "sad": 1 - share}
            answers.append(FaceAnswer(Box(left, top, side, side), 0.9, marks, side, 0.1, shares, 0.0, "", "m"))
        verb.append([[one.track, one.smoothed["happy"]] for one in tracks.follow(time, answers)])
        plain = [{"box": list(one.box), "marks": one.marks, "probabilities": one.probabilities} for one in answers]
        frames.append([time, plain])
    script = """async (frames) => {
        const { Tracks } = await import('./page/tracks.js');
        const tracks = new Tracks(0.5);
        return frames.map(([time, faces]) => tracks.follow(time, faces).map((one) => [one.track, one.smoothed.happy]));
    }"""
    mine = page.evaluate(script, frames)
    assert [[track for track, _ in one] for one in mine] == [[track for track, _ in one] for one in verb]
    assert max(max((one[0] for one in found), default=0) for found in verb) > 4
    for here, there in zip(mine, verb, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-9)


def shown(page: Any, name: str, said: str = "One photo was looked at.") -> dict[str, Any]:
    """A photo chosen on the page: its caption, its boxes in percent, and the bars of the first face."""
    page.wait_for_selector(f"#status:text-is('{said}')")
    boxes = "all => all.map(box => ['left', 'top', 'width', 'height'].map(key => parseFloat(box.style[key])))"
    names = page.eval_on_selector_all(".bars dt", "all => all.map(one => one.textContent)")
    shares = page.eval_on_selector_all(".bars meter", "all => all.map(one => one.value)")
    caption = page.inner_text("figcaption")
    assert caption.startswith(f"{name}: ")
    return {
        "caption": caption.removeprefix(f"{name}: "),
        "boxes": page.eval_on_selector_all(".box", boxes),
        "bars": dict(zip(names, shares, strict=True)),
    }


def test_a_photo_has_the_verb_s_boxes_and_bars_and_goes_nowhere(
    fresh: Any, host: Host, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("portrait.png").write_bytes(portrait())
    verb = call("predict", "portrait.png", "--json", "--model", "mien-s", "--detector-weights", weights).json
    (face,) = verb["faces"]
    told(fresh, "portrait.png", portrait())  # Whatever is loaded with the first photo is there.
    requests: list[str] = []
    fresh.on("request", lambda request: requests.append(request.url))
    before = len(host.asked)
    choose(fresh, ("portrait.png", portrait()))
    here = shown(fresh, "portrait.png")
    assert here["boxes"] == [pytest.approx([side / 512 * 100 for side in face["box"]], abs=1e-3)]
    assert here["bars"] == pytest.approx(face["probabilities"], abs=SAME)
    assert here["caption"].startswith(f"1 face, by {face['model']}, in ")
    assert host.asked[before:] == []
    # A picture's own address in the browser.
    assert [url for url in requests if not url.startswith("blob:")] == []


def test_several_faces_no_face_and_no_picture(fresh: Any) -> None:
    two = png(np.concatenate([astronaut()[:256, 100:356]] * 2, axis=1))
    choose(fresh, ("two.png", two))
    here = shown(fresh, "two.png")
    assert here["caption"].startswith("2 faces, by mien-s ")
    assert len(here["boxes"]) == 2
    fresh.click("#clear")
    choose(fresh, ("plain.png", png(np.full((90, 120, 3), 128, np.uint8))))
    here = shown(fresh, "plain.png")
    assert here["caption"].startswith("no face, by mien-s ")
    assert here["boxes"] == []
    assert fresh.inner_text("#table tbody tr").split("\t")[:3] == ["plain.png", "", "no face"]
    fresh.click("#clear")
    choose(fresh, ("hello.txt", b"hello"))
    assert shown(fresh, "hello.txt", "No photo could be looked at.")["caption"] == (
        "this is no picture that this browser can read; expected PNG, JPEG, WEBP, BMP or GIF"
    )


def test_turned_and_transparent_pictures_are_those_of_the_verb(page: Any, predictor: Predictor) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(astronaut(), 1)).save(file, "PNG", exif=exif)
    (turned,), (verb,) = told(page, "a.png", file.getvalue()), expected(predictor, "a.png", file.getvalue())
    assert turned["box"] == pytest.approx(verb["box"], abs=0.01)
    clear = np.dstack([astronaut(), np.full((512, 512), 255, np.uint8)])
    clear[:, :100, 3] = 0
    (over,), (verb,) = told(page, "b.png", png(clear)), expected(predictor, "b.png", png(clear))
    assert over["probabilities"] == pytest.approx(verb["probabilities"], abs=SAME)


def test_the_points_are_drawn_where_they_are(fresh: Any) -> None:
    assert "research-only" in fresh.inner_text("label:has(#points)")
    fresh.check("#points")
    choose(fresh, ("portrait.png", portrait()))
    shown(fresh, "portrait.png")
    points = fresh.eval_on_selector_all("circle", "all => all.map((one) => one.getBoundingClientRect().x)")
    box = fresh.locator(".box").bounding_box()
    fresh.uncheck("#points")
    fresh.wait_for_selector("circle", state="detached")
    assert len(points) == 68
    assert sum(box["x"] - 10 < x < box["x"] + box["width"] + 10 for x in points) >= 60


def test_what_it_is(page: Any) -> None:
    assert page.inner_text("#about").startswith("mien-s (SHA-256 ")
    assert page.inner_text("#pictures").startswith("They stay in this browser")
    assert page.is_hidden("#token")


def test_nothing_else_may_be_loaded(browser: Any, host: Host) -> None:
    html = (host.folder / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'" in html
    with opened_page(browser, host.url, "Content Security Policy") as page:
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
        assert "Content Security Policy" in said[0]
        # Nor by the worker that holds the models.
        script = """() => new Promise((done) => {
            self.addEventListener('securitypolicyviolation', (event) => done(event.violatedDirective));
            fetch('http://127.0.0.1:9/').catch(() => 0);
        })"""
        (worker,) = page.workers
        assert worker.evaluate(script) == "connect-src"


def test_models_run_in_a_thread_of_their_own(fresh: Any) -> None:
    choose(fresh, ("portrait.png", portrait()))
    shown(fresh, "portrait.png")
    script = "performance.getEntriesByType('resource').map((one) => one.name.split('/').pop())"
    (worker,) = fresh.workers
    assert {"ort.wasm", "yunet.onnx", "expression.onnx"} <= set(worker.evaluate(script))
    assert not [name for name in fresh.evaluate(script) if name.endswith((".wasm", ".onnx"))]


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("models/yunet.onnx", "the page's files can't be loaded: of models/yunet.onnx the web host says 404"),
        ("page/predictor.js", "the page's files can't be loaded"),
    ],
)
def test_a_file_that_is_missing_is_told(browser: Any, host: Host, missing: str, sentence: str) -> None:
    file = host.folder / missing
    aside = file.rename(file.with_suffix(".aside"))
    page = browser.new_page()
    try:
        page.goto(host.url)
        page.wait_for_selector(f'#status:text-is("{sentence}")')
    finally:
        page.close()
        aside.rename(file)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_room_for_all(fresh: Any, scheme: str) -> None:
    fresh.emulate_media(color_scheme=scheme)
    fresh.set_viewport_size({"width": 390, "height": 800})
    choose(fresh, ("portrait.png", portrait()))
    shown(fresh, "portrait.png")
    assert fresh.evaluate("document.documentElement.scrollWidth") == 390


def test_a_clip_is_followed(fresh: Any, host: Host, tmp_path: Path) -> None:
    before = len(host.asked)
    face, empty = np.asarray(astronaut()), np.full_like(astronaut(), 120)
    clip = write_clip(tmp_path / "clip.mp4", [face] * 15 + [empty] * 10 + [face] * 5).read_bytes()
    choose(fresh, ("clip.mp4", clip))
    fresh.wait_for_selector("figcaption:has-text('faces followed')")
    assert re.sub(r"\d+\.\d s", "T s", fresh.inner_text("figcaption")) == (
        "clip.mp4: 6 moments looked at, 2 a second, in T s; 2 faces followed; 2 moments without a face"
    )
    assert fresh.locator(".courses h3").all_inner_texts() == [
        "Track 1: 3 moments from 0.0 to 1.0 s",
        "Track 2: 1 moment from 2.5 to 2.5 s",
    ]
    assert host.asked[before:] == []
    fresh.click("#clear")
    choose(fresh, ("a.mp4", b"nothing"))
    fresh.wait_for_selector("figcaption.wrong")
    assert fresh.inner_text("figcaption") == (
        "a.mp4: this is no video that this browser can play; expected MP4 or WebM"
    )


def test_the_camera_is_followed_and_its_rate_told(fresh: Any, host: Host) -> None:
    before = len(host.asked)
    fresh.click("#camera")
    fresh.wait_for_selector(".rate:has-text(' frames a second')")
    fresh.wait_for_selector("#live .box")
    assert fresh.inner_text("#live .box span").startswith("happy ")
    assert float(fresh.inner_text(".rate").removesuffix(" frames a second")) > 0
    assert host.asked[before:] == []
    fresh.check("#points")
    fresh.wait_for_selector("#live circle")
    fresh.uncheck("#points")
    fresh.wait_for_selector("#live .box")
    assert fresh.locator("#live circle").count() == 0
    fresh.click("#camera")
    fresh.wait_for_selector("#camera:text-is('Turn the camera on')")
    assert fresh.locator("video").count() == 0


def write_film(file: Path) -> None:
    """A second of the portrait that goes to the right, as a camera's raw frames."""
    with file.open("wb") as opened:
        opened.write(b"YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420jpeg\n")
        for frame in range(10):
            picture = np.full((480, 640, 3), 90, np.uint8)
            picture[40:480, 60 + 4 * frame : 560 + 4 * frame] = astronaut()[:440, :500]
            opened.write(b"FRAME\n" + cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).tobytes())
