"""mien: a workbench for facial-expression models. One file is one experiment.

`import mien` is cheap: what a name stands for is imported when it is asked for, and torch when a model is.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mien.api import *  # noqa: F403

__version__ = "0.1.0"


def _face() -> Any:
    from importlib import import_module

    return import_module("mien.api")


def __getattr__(name: str) -> Any:
    # A module of mien that isn't imported yet is asked for here first.
    if name in ("__path__", "__all__") or name not in _face().__all__:
        raise AttributeError(f"module 'mien' has no attribute '{name}'")
    return getattr(_face(), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_face().__all__})
