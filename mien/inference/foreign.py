"""Other people's models: an ONNX file, or its predictions, with a small YAML beside it that says how to use it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from mien.data.labels import SCHEMES, LabelScheme, canonical
from mien.errors import MienError, nearest
from mien.experiment.merging import Source
from mien.experiment.problems import key_problem, validation_problems
from mien.experiment.schema import Section
from mien.experiment.yamlfile import read_yaml
from mien.images import Color
from mien.inference.onnx_files import open_session, refuse_views

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Floats = npt.NDArray[np.float32]
Channels = Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]


class InputSection(Section):
    """How an image becomes the model's input: (range of black and white − mean) / sd, in a layout.

    `range` are the numbers that black and white become; `mean` and `sd`, in those numbers, are one for all channels or
    one each. A model with one input needs no `name`.
    """

    name: str | None = None
    size: Annotated[int, Field(ge=8, le=1024)]
    color: Literal["gray", "rgb", "bgr"] = "gray"
    layout: Literal["nchw", "nhwc"] = "nchw"
    range: tuple[float, float] = (0.0, 255.0)
    mean: Channels = (0.0,)
    sd: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=3)] = (1.0,)


class OutputSection(Section):
    """What the model gives, (n, classes): probabilities or logits. A model with one output needs no `name`."""

    name: str | None = None
    gives: Literal["probabilities", "logits"]


class ForeignFile(Section):
    """The whole YAML: `model` or `predictions`, a file beside it, and the classes in the order of the outputs.

    Without both, `model` is the ONNX file of the same name. `limits` are the terms of its use.
    """

    model: str | None = None
    predictions: str | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    limits: str = ""
    input: InputSection | None = None
    output: OutputSection | None = None


@dataclass(frozen=True)
class Foreign:
    """A model of someone else, opened; `color` and `size` are those that its images are read with."""

    name: str
    scheme: LabelScheme
    limits: str
    digest: str
    size: int
    color: Color
    backend: "ForeignBackend | StoredPredictions"


def open_foreign(file: Path, threads: int | None = None) -> Foreign:
    """The model that a YAML file describes; raises one MienError that holds all problems of the file."""
    about = _read(file)
    classes = about.classes
    scheme = next((one for one in SCHEMES.values() if one.classes == classes), LabelScheme(file.stem, classes))
    if about.predictions is not None:
        stored = file.parent / about.predictions
        if not stored.is_file():
            raise MienError("there is no such file", file=str(stored), key="predictions")
        digest = hashlib.sha256(stored.read_bytes()).hexdigest()
        return Foreign(file.stem, scheme, about.limits, digest, 48, "gray", StoredPredictions(stored))
    assert about.input is not None
    assert about.output is not None
    path = file.parent / (about.model or f"{file.stem}.onnx")
    session, digest = open_session(path, threads)
    backend = ForeignBackend(session, about.input, about.output, len(classes), file)
    color: Color = "gray" if about.input.color == "gray" else "rgb"
    return Foreign(file.stem, scheme, about.limits, digest, about.input.size, color, backend)


def _read(file: Path) -> ForeignFile:
    """The content of a YAML file, checked section by section, so that each problem has its line and its valid keys."""
    content, lines = read_yaml(file)
    source = Source(content, {path: (str(file), line) for path, line in lines.items()})
    problems: list[MienError] = []
    sections: dict[str, type[Section]] = {"input": InputSection, "output": OutputSection}

    def checked(kind: type[Section], value: Any, path: tuple[str, ...]) -> Any:
        try:
            # Through JSON, since strict JSON takes a list for a tuple but no text for a number.
            return kind.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            problems.extend(validation_problems(error, path, source, str(file), list(kind.model_fields)))
            return None

    parts = {key: checked(sections[key], content[key], (key,)) for key in sections if key in content}
    about = checked(ForeignFile, {key: value for key, value in content.items() if key not in sections}, ())

    def problem(message: str, key: str, expected: str | None = None) -> None:
        problems.append(key_problem(message, (key,), source, str(file), expected=expected))

    if about is not None and about.predictions is None:
        for key, example in (("input", "{name: gray, size: 48}"), ("output", "{gives: probabilities}")):
            if key not in content:
                problem("this key is missing", key, f"for example '{key}: {example}'")
    elif about is not None and (more := [key for key in ("model", *sections) if key in content]):
        problem("predictions need no model", more[0], "either of them")
    if about is not None:
        names = [canonical(name) for name in about.classes]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            problem(f"class '{twice[0]}' stands here twice", "classes")
    if (given := parts.get("input")) is not None:
        channels = 1 if given.color == "gray" else 3
        for key in ("mean", "sd"):
            if len(getattr(given, key)) not in (1, channels):
                one = "one number" if channels == 1 else "one number or 3"
                problems.append(
                    key_problem(
                        f"this is for other colours than {given.color}", ("input", key), source, str(file), expected=one
                    )
                )
    if problems:
        first, *rest = problems
        first.more = tuple(rest)
        raise first
    checked_file: ForeignFile = about.model_copy(update=parts)
    return checked_file


class StoredPredictions:
    """What stands for a model of which there are only predictions, in `file`; see `mien.runs.predictions`."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> Floats:
        """Raises MienError: of other images nothing is known."""
        raise MienError("there are only predictions of this model", file=str(self.file), expected="its ONNX file")


class ForeignBackend:
    """Someone else's ONNX file, by numpy arrays; see `mien.inference.model.Backend`."""

    def __init__(
        self, session: "InferenceSession", given: InputSection, output: OutputSection, classes: int, file: Path
    ) -> None:
        self.session, self.given, self.probabilities = session, given, output.gives == "probabilities"
        self.input = _named(session.get_inputs(), given.name, "input", file)
        self.output = _named(session.get_outputs(), output.name, "output", file)
        self.classes, self.file = classes, file
        self.dtype = _DTYPES.get(self.input.type)
        if self.dtype is None:
            raise MienError(f"the model takes {self.input.type}", file=str(file), expected="float32, float16 or uint8")

    def outputs(self, images: npt.NDArray[np.uint8], tta: str = "none") -> Floats:
        """Logits of images (n, h, w, c), the logarithms where the model gives probabilities.

        Raises MienError for outputs that aren't one number a class, and for test-time augmentation.
        """
        refuse_views(tta)
        low, high = self.given.range
        colors = images[..., ::-1] if self.given.color == "bgr" else images
        scaled = colors.astype(np.float32) * np.float32((high - low) / 255) + np.float32(low)
        mean, sd = (np.asarray(values, np.float32) for values in (self.given.mean, self.given.sd))
        ready = (scaled - mean) / sd
        if self.given.layout == "nchw":
            ready = ready.transpose(0, 3, 1, 2)
        if np.issubdtype(self.dtype, np.integer):
            ready = np.rint(ready)
        try:
            (found,) = self.session.run([self.output.name], {self.input.name: np.ascontiguousarray(ready, self.dtype)})
        except Exception as error:  # The runtime's errors share no class of their own.
            reason = str(error).splitlines()[0].rsplit(" : ", 1)[-1]
            raise MienError(f"the model doesn't take these images ({reason})", file=str(self.file)) from error
        outputs = np.asarray(found, np.float32)
        if outputs.shape != (len(images), self.classes):
            raise MienError(
                f"the model gives outputs of shape {outputs.shape} for {len(images)} images",
                file=str(self.file),
                key="classes",
                expected=f"({len(images)}, {self.classes}), one for each class",
            )
        if not self.probabilities:
            return outputs
        sums = outputs.sum(axis=1)
        if outputs.min(initial=0) < -1e-6 or np.abs(sums - 1).max(initial=0) > 1e-2:
            raise MienError(
                f"the outputs are no probabilities: those of an image sum to {sums[np.abs(sums - 1).argmax()]:.4g}",
                file=str(self.file),
                key="output.gives",
                expected="logits",
            )
        return np.asarray(np.log(np.maximum(outputs, np.finfo(np.float32).tiny)), np.float32)


_DTYPES: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def _named(nodes: Any, name: str | None, what: str, file: Path) -> Any:
    """The input or output of that name, or the only one."""
    names = [node.name for node in nodes]
    if name is None and len(nodes) == 1:
        return nodes[0]
    if name not in names:
        raise MienError(
            f"the model has no {what} '{name}'" if name else f"the model has {len(names)} {what}s",
            file=str(file),
            key=f"{what}.name",
            expected="one of " + ", ".join(names[:10]),
            nearest=nearest(name or "", names),
        )
    return nodes[names.index(name)]
