"""A trained model in use: numpy in, numpy out, and what it is said by itself."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mien import environment
from mien.data.labels import LabelScheme
from mien.errors import FailedError, MienError, nearest
from mien.experiment.schema import Experiment
from mien.extras import require
from mien.faces.detector import Detector, open_detector
from mien.faces.ibug import POINTS
from mien.images import Color, Photo, Pixels
from mien.inference.foreign import open_foreign
from mien.inference.onnx_files import OnnxBackend, open_session, read_about
from mien.inference.predictor import Predictor
from mien.inference.weights import read_header
from mien.runs.model_file import is_model_file
from mien.runs.run import Run, find_run, list_runs
from mien.tasks import EXPRESSION, LANDMARKS
from mien.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from mien.inference.faces import Channels, Faces

Floats = npt.NDArray[np.float32]

# What mien ships, by name; licences and cards stand beside the files.
_HERE = Path(__file__).with_name("packaged")
SHIPPED: Mapping[str, Path] = MappingProxyType(
    {
        "mien-m": _HERE / "mien-m.onnx",
        "mien-m-int8": _HERE / "mien-m-int8.onnx",
        "mien-s": _HERE / "mien-s.onnx",
        "mien-s-int8": _HERE / "mien-s-int8.onnx",
        "landmarks-small": Path(__file__).parents[1] / "landmarks" / "packaged" / "landmarks-small.onnx",
    }
)
# The model that photos are told by, unless another is named.
DEFAULT = "mien-m"
# Images that are in work at once.
_BATCH = 256


class Backend(Protocol):
    """What runs a model's network."""

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> Floats:
        """Outputs, float32 (n, k), of images (n, h, w, c); with `tta` those averaged over its views."""


@dataclass(frozen=True)
class Model:
    """A trained model: what it is, and what it says of images.

    `scheme` is its classes in the order of its outputs, `size` and `color` the images that it was trained on.
    `temperature` is None until it was fitted on the choose role. `tta` is the test-time augmentation that it is
    measured with beside the image alone, `limits` what its use is bound to, `digest` the SHA-256 of its weights file.
    """

    name: str
    task: str
    scheme: LabelScheme
    temperature: float | None
    tta: str
    limits: str
    digest: str
    size: int
    color: Color
    backend: Backend = field(repr=False)

    def logits(self, images: npt.NDArray[np.uint8], *, tta: str = "none") -> Floats:
        """Logits, float32 (n, classes), of images uint8 (n, h, w) or (n, h, w, c) of the model's size and colour.

        `tta` names a test-time augmentation: then they are the logarithm of the mean probabilities of its views.
        Raises MienError for other images, and for a model of points.
        """
        self._require(EXPRESSION, "logits")
        pixels = _pixels(images)
        wanted = (self.size, self.size, 1 if self.color == "gray" else 3)
        if pixels.shape[1:] != wanted:
            shown, own = (" × ".join(map(str, shape)) for shape in (pixels.shape[1:], wanted))
            raise MienError(f"these images are {shown}", expected=f"height × width × channels of {own}")
        return self.outputs(pixels, tta)

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """What a user is told, float64 (n, classes), rows summing to 1: the softmax of logits over the temperature."""
        from mien.metrics.probabilities import probabilities

        return probabilities(self.logits(images), self.temperature or 1.0)

    def predict(
        self,
        images: Any,
        *,
        detector: str | Detector = "auto",
        classes: Sequence[str] = (),
        min_size: float = 0.0,
        min_score: float = 0.0,
        largest: bool = False,
        min_confidence: float = 0.0,
        channels: "Channels" = "rgb",
    ) -> "Faces":
        """Find the faces of photos and tell each one's expression; may be called by several threads at once.

        Parameters
        ----------
        images : path, array, picture or list
            A path, an array (h, w) or (h, w, 3) of uint8, uint16 or floats of 0 to 1, a picture of Pillow, or several.
        detector : str or Detector
            "auto", "yunet", "cascade", "none" for images that are faces, or a file with YuNet's weights.
        classes : sequence of str
            Only these may be answers; their probabilities are made to sum to 1.
        min_size, min_score : float
            Faces smaller than so many pixels, or of which the detector is less sure, are left out.
        largest : bool
            Only the largest face of each image.
        min_confidence : float
            Answers with a lower highest probability are uncertain.
        channels : {"rgb", "bgr"}
            The order of an array's channels.
        """
        from mien.inference.faces import photos_of

        finder = open_detector(detector) if isinstance(detector, str) else detector
        return self._predicted(
            Predictor(self, finder, tuple(classes), min_size, min_score, largest, min_confidence),
            *photos_of(images, channels),
        )

    def predict_faces(self, images: Any, *, channels: "Channels" = "rgb") -> "Faces":
        """Tell the expressions of images that are faces already, as `predict` takes images: no faces are looked for."""
        return self.predict(images, detector="none", channels=channels)

    def _predicted(self, predictor: Predictor, names: Sequence[str], photos: Sequence[Photo]) -> "Faces":
        from mien.inference.faces import Faces

        self._require(EXPRESSION, "expressions")
        answers = predictor.answers(photos)
        return Faces(
            tuple(answer for own in answers for answer in own),
            tuple(place for place, own in enumerate(answers) for _ in own),
            tuple(names),
            tuple(photos),
            predictor.names,
        )

    def points(self, images: Sequence[Pixels] | npt.NDArray[np.uint8]) -> Floats:
        """The points, float32 (n, 68, 2), pixel centres from 0, of images, uint8 (h, w, 1 or 3), that a face fills.

        Images may have any sizes; one that isn't square is stretched to a square for the net. Raises MienError for a
        model of classes.
        """
        self._require(LANDMARKS, "points")
        found = np.empty((len(images), POINTS, 2), np.float32)
        shapes = [image.shape for image in images]
        for shape in dict.fromkeys(shapes):
            here = [place for place, one in enumerate(shapes) if one == shape]
            shares = self.outputs(np.stack([images[place] for place in here])).reshape(-1, POINTS, 2)
            found[here] = (shares + 0.5) * [shape[1], shape[0]] - 0.5
        return found

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> Floats:
        """What the network gives, float32 (n, k): logits, or points as shares of the image's side from its middle."""
        pixels = _pixels(images)
        starts = range(0, max(len(pixels), 1), _BATCH)
        outputs = np.concatenate([self.backend.outputs(pixels[start : start + _BATCH], tta) for start in starts])
        if not np.isfinite(outputs).all():
            raise FailedError(f"{self.name} gives numbers that aren't finite", expected="weights that aren't damaged")
        return outputs

    def _require(self, task: str, what: str) -> None:
        if self.task != task:
            raise MienError(f"{self.name} gives no {what}", expected=f"a model whose task is {task}")


def _pixels(images: Any) -> npt.NDArray[np.uint8]:
    """Images as uint8 (n, h, w, c)."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = images.dtype if isinstance(images, np.ndarray) else type(images).__name__
        raise MienError(f"these images are {kind}", expected="a numpy array of uint8, values 0 to 255")
    pixels = images[..., None] if images.ndim == 3 else images
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise MienError(
            f"these images are an array of shape {images.shape}",
            expected="(n, height, width), or (n, height, width, channels) with 1 or 3 channels",
        )
    return pixels


def load(reference: str | Path, workspace: Workspace | None = None, *, threads: int | None = None) -> Model:
    """The model that a reference means: a file, a run of the workspace by folder or name, or a shipped model.

    A file holds weights, or is ONNX that mien exported, or someone else's with its YAML (see docs/export.md); ONNX runs
    without torch, on `threads` threads, or on all cores. A run comes before a shipped model of the same name. Raises
    MienError where there is none.

    >>> load("landmarks-small", Workspace(Path("none"))).size
    64
    """
    path, home = Path(reference), workspace or find_workspace()
    if is_model_file(str(path)):
        return load_file(path, threads)
    if path.is_file():
        return _opened(None, path)
    if path.suffix == ".safetensors":
        raise MienError("there is no such weights file", file=str(path))
    try:
        run = find_run(home, str(reference))
    except MienError as error:
        if str(reference) in SHIPPED:
            return load_shipped(str(reference), threads)
        known = [*SHIPPED, *(name for run in list_runs(home) for name in (run.folder.parent.name, run.name))]
        shipped = ", ".join(SHIPPED)
        raise MienError(
            f"there is no model '{reference}'",
            expected=f"a weights or ONNX file, a run of {home.root.resolve()}, or a shipped model: {shipped}",
            nearest=nearest(str(reference), known),
        ) from error
    return load_run(run)


def list_shipped() -> list[dict[str, Any]]:
    """The models that mien ships: `name`, `task`, `bytes`, `sha256`, and `card`, the file that says what it is for."""
    return [
        {
            "name": name,
            "task": _header(path)["task"],
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "card": str(_card(name)),
        }
        for name, path in SHIPPED.items()
        if path.is_file()
    ]


def _header(path: Path) -> dict[str, Any]:
    """What a shipped file says of itself."""
    header = file_header(path)
    assert header is not None
    return header


def _card(name: str) -> Path:
    """The file that says what a shipped model is for: it is of all its precisions."""
    path = SHIPPED[name]
    return (
        path.with_name("README.md") if name == "landmarks-small" else path.with_name(name.removesuffix("-int8") + ".md")
    )


def card_of(name: str, digest: str) -> str | None:
    """The card of a model by its name and its file's SHA-256, as Markdown; None for one that mien doesn't ship."""
    path = SHIPPED.get(name)
    if path is None or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        return None
    return _card(name).read_text(encoding="utf-8")


def load_shipped(name: str, threads: int | None = None) -> Model:
    """The model of that name that mien ships; raises MienError where it was installed without."""
    path = SHIPPED[name]
    if not path.is_file():
        raise MienError(
            f"this mien was installed without its model {name}",
            file=str(path),
            expected="a run of the workspace, by name",
        )
    return replace(load_file(path, threads), name=name)


def load_file(path: Path, threads: int | None = None) -> Model:
    """The model of an ONNX file, or of the YAML that says how another's is used.

    Raises MienError for an unsafe or broken file, and for another's ONNX file without a YAML beside it.
    """
    described = path.with_suffix(".yaml")
    if path.suffix == ".onnx":
        session, digest = open_session(path, threads)
        if (about := read_about(session, path)) is not None:
            return _of_header(path.stem, about, digest, OnnxBackend(session, about["raw_output"]))
        if not described.is_file():
            raise MienError(
                "mien didn't export this file",
                file=str(path),
                expected=f"{described.name} beside it, which says how it is used: docs/export.md",
            )
    other = open_foreign(described, threads)
    return Model(
        name=other.name,
        task=EXPRESSION,
        scheme=other.scheme,
        temperature=None,
        tta="none",
        limits=other.limits,
        digest=other.digest,
        size=other.size,
        color=other.color,
        backend=other.backend,
    )


def file_header(path: Path) -> dict[str, Any] | None:
    """What a file that mien exported says of itself; None for the model of someone else."""
    return read_about(open_session(path, 1)[0], path) if path.suffix == ".onnx" else None


def load_run(run: Run) -> Model:
    """The model of a finished run; raises MienError for a run without weights."""
    _require_torch()
    return _opened(run.name, own_weights(run), run.experiment)


def own_weights(run: Run) -> Path:
    """The weights file of a finished run; a MienError says why there is none."""
    if run.published:
        name = run.folder.name
        shipped = f"; mien ships that model: give its name, {name}" if name in SHIPPED else ""
        raise MienError(
            f"what is published of {name} are its numbers and pages, without weights",
            file=str(run.folder),
            expected=f"the run itself{shipped}",
        )
    if not run.weights.exists():
        raise MienError(
            f"run {run.name} is {run.state} and has no weights",
            file=str(run.folder),
            expected=f"a finished run: mien train --resume {run.name}",
        )
    return run.weights


def _require_torch() -> None:
    require("a run or a file of weights, unlike ONNX,", "torch")


def _opened(name: str | None, path: Path, experiment: Experiment | None = None) -> Model:
    _require_torch()
    header = read_header(path)
    # Only now, so that torch is loaded when a model is.
    from mien.inference.network import TorchBackend, load_network

    device = environment.device("auto")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    backend = TorchBackend(load_network(path, device, experiment), device)
    return _of_header(name or header["experiment"], header, digest, backend, experiment.tta if experiment else "none")


def _of_header(name: str, header: Mapping[str, Any], digest: str, backend: Backend, tta: str = "none") -> Model:
    return Model(
        name=name,
        task=header["task"],
        scheme=LabelScheme(header["labels"], tuple(header["classes"])),
        temperature=header.get("temperature"),
        tta=tta,
        limits=header.get("limits", ""),
        digest=digest,
        size=header["input"]["size"],
        color=header["input"]["color"],
        backend=backend,
    )
