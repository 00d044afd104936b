"""Chromium for the tests of pages: whatever it complains of fails them."""

import contextlib
import mimetypes
import shutil
from collections.abc import Iterator
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# A camera that shows a pattern, or the video that a further argument names; nobody is asked.
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@contextlib.contextmanager
def chromium(*arguments: str) -> Iterator[Any]:
    """A browser with a camera and further arguments."""
    assert CHROMIUM is not None, "there is no Chromium"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *CAMERA, *arguments]
        )
        yield opened
        opened.close()


@contextlib.contextmanager
def opened_page(browser: Any, url: str, allowed: str = "") -> Iterator[Any]:
    """A page as it is opened first, its models there; complaints fail the test, but for those with a text `allowed`."""
    context = browser.new_context(viewport={"width": 1000, "height": 900}, accept_downloads=True)
    context.set_default_timeout(120_000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.wait_for_selector("#model option", state="attached")
    yield page
    context.close()
    assert [one for one in complaints if not allowed or allowed not in one] == []


def choose(page: Any, *files: tuple[str, bytes]) -> None:
    """Choose photos and clips on the page, each by its name and bytes."""
    page.set_input_files(
        "#files",
        [
            {"name": name, "mimeType": mimetypes.guess_type(name)[0] or "image/png", "buffer": data}
            for name, data in files
        ],
    )
