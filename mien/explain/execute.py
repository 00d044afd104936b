"""All explanations of a run by name: what `mien explain` makes, one after the other, into the run's folder."""

from collections.abc import Callable, Sequence
from typing import Any

from mien.errors import MienError
from mien.experiment.schema import EXPLANATIONS
from mien.explain import check_names
from mien.explain.context import Subject, open_subject
from mien.explain.rows import named_rows, typical_rows
from mien.explain.storage import Arrays, store
from mien.protocols import Role
from mien.runs.run import Run
from mien.workspace import Workspace

Made = tuple[dict[str, Any], Arrays]


def explain(
    workspace: Workspace,
    run: Run,
    names: Sequence[str] = (),
    *,
    role: Role = "choose",
    images: Sequence[str] = (),
    layers: Sequence[str] = (),
    landmarks: str | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Make explanations anew: those named, else those of the experiment's key `explain`, else all.

    `images` are ids of rows that are looked at one by one, `layers` those whose filters and activations are wanted,
    `landmarks` the run that finds the points of faces ("stored": the data set's own, which is the default where it has
    some; else the model that mien ships). Returns `run`, `role`, `split`, `n`, `explanations` (results by name) and
    `left_out` (reasons by name): where nobody named any, what can't be made of this run is left out; what was named
    and can't be made is a MienError. Asking for the report role is written into the ledger.
    """
    check_names(names)
    asked = tuple(names) or run.experiment.explain
    wanted = [name for name in EXPLANATIONS if name in (asked or EXPLANATIONS)]
    subject = open_subject(run, role, command)
    chosen = named_rows(subject, images)
    makers = _makers(workspace, subject, chosen, layers, landmarks)
    results, left_out = {}, {}
    for name in wanted:
        try:
            result, arrays = makers[name]()
        except MienError as error:
            if asked:
                raise
            left_out[name] = error.message
            continue
        store(run, name, result, arrays)
        results[name] = result
    about = {key: subject.about[key] for key in ("run", "role", "split", "n")}
    return {**about, "explanations": results, "left_out": left_out}


def _makers(
    workspace: Workspace, subject: Subject, chosen: list[int], layers: Sequence[str], landmarks: str | None
) -> dict[str, Callable[[], Made]]:
    """What makes each explanation; heavy parts are imported by those that need them."""
    shown = chosen or typical_rows(subject)

    def filters() -> Made:
        from mien.explain.filters import filters

        return filters(subject, layers)

    def activations() -> Made:
        from mien.explain.activations import activations

        return activations(subject, chosen, layers)

    def gradcam() -> Made:
        from mien.explain.saliency import gradcam

        return gradcam(subject, shown)

    def occlusion() -> Made:
        from mien.explain.saliency import occlusion

        return occlusion(subject, shown)

    def regions() -> Made:
        from mien.explain.by_region import regions
        from mien.explain.face_points import face_points
        from mien.landmarks.predict import open_landmarker

        own = landmarks == "stored" or (landmarks is None and subject.dataset.has_points)
        landmarker = None if own else open_landmarker(workspace, landmarks)
        return regions(subject, face_points(subject.dataset, subject.rows, landmarker), shown)

    def neighbours() -> Made:
        from mien.explain.neighbours import neighbours

        return neighbours(subject, chosen)

    def cases() -> Made:
        from mien.explain.cases import cases

        return cases(subject)

    return {
        "filters": filters,
        "activations": activations,
        "gradcam": gradcam,
        "occlusion": occlusion,
        "regions": regions,
        "neighbours": neighbours,
        "cases": cases,
    }
