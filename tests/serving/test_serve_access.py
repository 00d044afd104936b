"""All views by axe-core: what it calls serious or critical would keep people out."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import choose, opened_page
from servers import Server, portrait, serving
from viewed import shows, write_home

VIEWS = (
    "#workspace",
    "#workspace/datasets/tiny",
    "#workspace/datasets/tiny/suspects",
    "#workspace/runs/tiny/1",
    "#workspace/compare/tiny/1/tiny/2",
)
SIZES = {"wide": (1280, 900), "phone": (390, 800)}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(shows(write_home(tmp_path_factory.mktemp("access")))) as found:
        yield found


def findings(page: Any) -> list[tuple[str, str]]:
    """The rules of axe that are broken, with the first place of each."""
    found = Axe().run(page).response["violations"]
    return [(one["id"], str(one["nodes"][0]["target"])) for one in found if one["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_no_serious_finding(browser: Any, server: Server, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    with opened_page(browser, server.url) as page:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        assert findings(page) == []
        choose(page, ("portrait.png", portrait()))
        page.wait_for_selector(".bars")
        assert findings(page) == []
        for view in VIEWS:
            page.goto(f"{server.url}/{view}")
            page.wait_for_selector("#workspace h2")
            page.wait_for_load_state("networkidle")
            assert (view, findings(page)) == (view, [])
