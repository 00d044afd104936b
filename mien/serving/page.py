"""The page: a few files of the package, and a policy by which a browser loads nothing else."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from starlette.responses import Response

from mien.serving.policy import POLICY

_FOLDER = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
        "Cache-Control": "no-cache",
    }
)


def page_files() -> dict[str, Response]:
    """The answers for all files of the page, by name."""
    return {
        file.name: Response(file.read_bytes(), media_type=_TYPES[file.suffix], headers=dict(HEADERS))
        for file in sorted(_FOLDER.iterdir())
    }
