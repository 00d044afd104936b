"""What an install without extras lacks: which extra brings a package, and the one sentence for what needs it."""

import importlib.util

from mien.errors import MienError

# Packages that the base lacks, by the name they are imported by: what they are called, and the extra that brings them.
PACKAGES = {
    "pyarrow": ("pyarrow", "data"),
    "scipy": ("scipy", "data"),
    "sklearn": ("scikit-learn", "data"),
    "joblib": ("joblib", "data"),
    "threadpoolctl": ("threadpoolctl", "data"),
    "matplotlib": ("matplotlib", "data"),
    "jinja2": ("Jinja2", "data"),
    "markupsafe": ("MarkupSafe", "data"),
    "safetensors": ("safetensors", "data"),
    "torch": ("PyTorch", "train"),
    "pytorch_lightning": ("Lightning", "train"),
    "torchmetrics": ("torchmetrics", "train"),
    "kornia": ("kornia", "train"),
    "captum": ("captum", "train"),
    "av": ("PyAV", "video"),
    "tensorboard": ("TensorBoard", "tensorboard"),
    "pandas": ("pandas", "notebook"),
    "fastapi": ("FastAPI", "serve"),
    "starlette": ("Starlette", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "python_multipart": ("python-multipart", "serve"),
    "websockets": ("websockets", "serve"),
    "prometheus_client": ("prometheus-client", "serve"),
    "optuna": ("Optuna", "sweep"),
    "psycopg": ("Psycopg", "postgresql"),
    "ray": ("Ray", "ray"),
}


def require(what: str, *packages: str) -> None:
    """Raise MienError where one of the packages isn't installed, before any work; `what` is what needs them.

    Packages are named as they are imported, and none is imported here.

    >>> require("looking", "json")
    """
    for package in packages:
        if not is_installed(package):
            raise _missing(what, package)


def is_installed(package: str) -> bool:
    """Whether a package can be imported, by its name in an import.

    >>> is_installed("json"), is_installed("nosuchthing")
    (True, False)
    """
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # Something on the way refuses it.
        return False


def installed() -> list[str]:
    """The extras of which nothing is missing."""
    all_there: dict[str, bool] = {}
    for package, (_, extra) in PACKAGES.items():
        all_there[extra] = all_there.get(extra, True) and is_installed(package)
    return [extra for extra, there in all_there.items() if there]


def missing(error: ImportError) -> MienError | None:
    """What a user is told where a package of an extra turns out to be missing; None for any other module."""
    package = (error.name or "").partition(".")[0]
    return _missing("this", package) if package in PACKAGES and not is_installed(package) else None


def _missing(what: str, package: str) -> MienError:
    name, extra = PACKAGES[package]
    return MienError(f"{what} needs {name}, which isn't installed", expected=f"pip install 'mien[{extra}]'")
