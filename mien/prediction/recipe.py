"""What photos are told by, as it was asked for: plain data, from which another process or machine makes the same."""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from mien import __version__, trust
from mien.errors import MienError
from mien.faces import yunet
from mien.faces.detector import open_detector
from mien.inference.model import DEFAULT, Model, load, load_shipped
from mien.inference.predictor import Predictor
from mien.landmarks.predict import open_landmarker
from mien.prediction.photos import about
from mien.runs.model_file import ModelFile, is_model_file
from mien.tasks import EXPRESSION
from mien.workspace import Workspace


class Opened(NamedTuple):
    """What tells photos, and the models in it: that of expressions, and with points that of landmarks."""

    predictor: Predictor
    models: tuple[Model, ...]
    note: str

    @property
    def about(self) -> dict[str, Any]:
        """What stands above answers; see `mien.prediction.photos.about`."""
        return about(self.predictor, *self.models)


@dataclass(frozen=True)
class Recipe:
    """The options of `mien predict` that say how a face is told; see `mien.inference.predictor.Predictor`."""

    model: str | None = None
    detector: str = "auto"
    weights: Path | None = None
    classes: tuple[str, ...] = ()
    min_size: float = 0.0
    min_score: float = 0.0
    largest: bool = False
    min_confidence: float = 0.0
    points: bool = False

    def open(self, home: Workspace, threads: int | None) -> Opened:
        """Load the models, each on `threads` threads or on all cores; MienError where that fails."""
        teller = load(self.model, home, threads=threads) if self.model else load_shipped(DEFAULT, threads)
        if teller.task != EXPRESSION:
            raise MienError(
                f"{teller.name} tells no expressions", key="--model", expected=f"a model whose task is {EXPRESSION}"
            )
        finder = open_detector(self.detector, self.weights)
        pointer = open_landmarker(home, threads=threads) if self.points else None
        limits = (self.min_size, self.min_score, self.largest, self.min_confidence)
        predictor = Predictor(teller, finder, self.classes, *limits, pointer)
        return Opened(predictor, (teller, *([] if pointer is None else [pointer])), finder.note)

    def marks(self, opened: Opened) -> dict[str, Any]:
        """What has to be the same in all parts of a list, beside models and detector."""
        return {
            "min-size": self.min_size,
            "min-score": self.min_score,
            "largest": self.largest,
            "min-confidence": self.min_confidence,
            "classes": list(opened.predictor.names),
            "points": opened.models[1].digest[:12] if self.points else None,
        }


class Packed(NamedTuple):
    """A recipe with the files that it names, by name, and what it comes to where it was packed."""

    recipe: Recipe
    files: dict[str, bytes]
    home: Path
    comes_to: dict[str, Any]


_YUNET = "yunet.onnx"


def pack(recipe: Recipe, opened: Opened, home: Workspace) -> Packed:
    """A recipe for machines that haven't its files; a run's stay where they are, on a disk that all share."""
    files: dict[str, bytes] = {}
    if recipe.model is not None and Path(recipe.model).is_file():
        path = Path(recipe.model)
        for file in ModelFile(path, home).files() if is_model_file(recipe.model) else [path]:
            files[str(file.relative_to(path.parent))] = file.read_bytes()
        recipe = replace(recipe, model=path.name)
    detector, weights = opened.predictor.detector.name, recipe.weights
    if detector == "yunet":
        own = weights or (yunet.path() if recipe.detector in ("auto", "yunet") else Path(recipe.detector))
        files[_YUNET], weights = own.read_bytes(), Path(_YUNET)
    recipe = replace(recipe, detector=detector, weights=weights)
    return Packed(recipe, files, home.root.resolve(), _comes_to(recipe, opened))


def unpack(packed: Packed) -> Predictor:
    """What tells photos on this machine, by one thread; MienError where it isn't what it was where it was packed."""
    recipe, home = packed.recipe, Workspace(packed.home)
    trust.use(home)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        for path, content in packed.files.items():
            (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / path).write_bytes(content)
        if recipe.model in packed.files:
            recipe = replace(recipe, model=str(Path(name) / recipe.model))
        if recipe.weights is not None:
            recipe = replace(recipe, weights=Path(name) / recipe.weights)
        opened = recipe.open(home, 1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if (here := _comes_to(packed.recipe, opened)) != packed.comes_to:
        key = next(key for key in here if here[key] != packed.comes_to[key])
        raise MienError(f"a worker has another {key}, {here[key]}", expected=f"{packed.comes_to[key]}, as here")
    return opened.predictor


def _comes_to(recipe: Recipe, opened: Opened) -> dict[str, Any]:
    told = opened.about
    return {"mien": __version__, "model": told["model"], "detector": told["detector"], **recipe.marks(opened)}
