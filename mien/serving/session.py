"""The models of one thread, and what they say of photos: the road of `mien predict`, with the server's limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mien import trust
from mien.errors import MienError, unknown
from mien.faces.detector import Detector, open_detector
from mien.images import Photo, decode_photo
from mien.inference.model import Model, card_of, load
from mien.inference.predictor import Predictor
from mien.inference.rows import Row, columns, nested, rows_of
from mien.landmarks.predict import PACKAGED, open_landmarker
from mien.prediction.photos import Counts, about
from mien.serving.schema import Card, Models, Question
from mien.serving.settings import Limits, Settings
from mien.tasks import EXPRESSION
from mien.workspace import Workspace


class Upload(NamedTuple):
    """An image file as it was sent, and its name."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Session:
    """The models by name, the detector that all threads share, and what finds points, if anything does."""

    models: Mapping[str, Model]
    detector: Detector
    pointer: Model | None

    def predictor(self, question: Question, limits: Limits) -> Predictor:
        """What tells faces as a question asks; raises MienError for a model or a class that isn't there."""
        if question.model and question.model not in self.models:
            raise unknown(f"no model '{question.model}' is served", question.model, self.models, key="model")
        if question.points and self.pointer is None:
            raise MienError("this server was installed without a model of points", key="points", expected="false")
        try:
            return Predictor(
                self.models[question.model or next(iter(self.models))],
                self.detector,
                tuple(name.strip() for name in question.classes.split(",") if name.strip()),
                question.min_size,
                question.min_score,
                question.largest,
                question.min_confidence,
                self.pointer if question.points else None,
                limits.faces,
            )
        except MienError as error:  # It names the verb's option.
            error.key = error.key and error.key.removeprefix("--").replace("-", "_")
            raise

    def about(self, predictor: Predictor) -> dict[str, Any]:
        """What stands above the answers of a predictor of this session."""
        return about(predictor, *(one for one in (predictor.model, predictor.pointer) if isinstance(one, Model)))


def open_session(settings: Settings) -> Session:
    """A session with all models of a server; raises MienError for one that can't be served."""
    home = Workspace(settings.workspace)
    trust.use(home)
    models: dict[str, Model] = {}
    for reference in settings.models:
        model = load(reference, home, threads=settings.threads)
        if model.task != EXPRESSION:
            raise MienError(f"{model.name} tells no expressions", expected=f"a model whose task is {EXPRESSION}")
        if model.name in models:
            raise MienError(f"two models are called {model.name}", expected="each model once, by a name of its own")
        models[model.name] = model
    detector = open_detector(settings.detector, settings.detector_weights)
    pointer = open_landmarker(home, threads=settings.threads) if PACKAGED.is_file() else None
    return Session(models, detector, pointer)


def models(session: Session) -> Models:
    """What each model says of itself, and the terms of the points."""
    cards = [
        Card(
            name=name,
            sha256=model.digest,
            classes=list(model.scheme.classes),
            size=model.size,
            color=model.color,
            temperature=model.temperature,
            limits=model.limits,
            card=card_of(name, model.digest),
        )
        for name, model in session.models.items()
    ]
    return Models(models=cards, points=None if session.pointer is None else session.pointer.limits)


def tell(session: Session, uploads: Sequence[Upload], question: Question, limits: Limits) -> dict[str, Any]:
    """What `mien predict --json` prints of image files; raises MienError, with the image's name, for a bad one."""
    predictor = session.predictor(question, limits)
    rows: list[Row] = []
    counts = Counts()
    for number, upload in enumerate(uploads, start=1):
        try:
            # One at a time: no more than one photo's pixels are in memory.
            (answers,) = predictor.answers([decode_photo(upload.data, limits.pixels)])
        except MienError as error:
            error.file = upload.name or f"image {number}"
            raise
        own = rows_of(upload.name, answers)
        counts += Counts.of(own)
        rows += own
    names = columns(predictor.names, question.points)
    faces = [nested({name: row[name] for name in names}) for row in rows]
    return {**session.about(predictor), **vars(counts), "faces": faces}


def tell_photo(session: Session, photo: Photo, question: Question, limits: Limits) -> Any:
    """The answers of one photo, whatever their probability, as tracks take them."""
    plain = question.model_copy(update={"min_confidence": 0.0})
    return session.predictor(plain, limits).answers([photo])[0]
